//! The addresses of guests in NAT mode that nobody else has chosen: Xen's `vif-nat` made them up by two rules of thumb, which
//! guests' configurations rely on. Here they are kept where they give a usable address.

use std::net::Ipv4Addr;

use ipnetwork::{IpNetwork, Ipv4Network};

use super::VifId;
use crate::error::{Error, ErrorKind};

/// How far a guest's gateway lies behind the guest, in the last octet.
const AHEAD: u8 = 127;

/// The address of a guest whose vif line names none: `10.<domid / 256>.<domid % 256>.<devid + 1>`.
///
/// ```
/// use xennet_core::VifId;
/// use xennet_core::model::vifnat::guest_address;
///
/// let vif = VifId::from_vif_name("vif300.0").unwrap();
/// assert_eq!(guest_address(vif)?.to_string(), "10.1.44.1");
/// # Ok::<(), xennet_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Invalid`] where there is no such address: for a vif with an index of more than 253.
pub fn guest_address(id: VifId) -> Result<Ipv4Addr, Error> {
    let last = u8::try_from(id.devid.get()).ok().and_then(|n| n.checked_add(1)).filter(|n| *n < 255);
    let [third, fourth] = id.domid.get().to_be_bytes();
    let Some(last) = last else {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "{id}: there is no usual address for it, which would be 10.{third}.{fourth}.{}",
                u32::from(id.devid.get()) + 1
            ),
        )
        .with_object(id.to_string())
        .unchanged()
        .with_hint("name the guest's address: ip=10.0.0.1"));
    };
    Ok(Ipv4Addr::new(10, third, fourth, last))
}

/// This domain's address on a guest's vif, its gateway: in the guest's own /24, [127 behind](guest_address) the guest, as
/// `vif-nat` has it. Where that is no usable address of the /24, or taken, it is the highest one there that is free: .254,
/// .253 and so on. Never one of the guest's own.
///
/// `taken` says whether an address is another guest's.
///
/// ```
/// use std::convert::Infallible;
/// use xennet_core::model::vifnat::router;
///
/// let nobody = |_| Ok::<bool, Infallible>(false);
/// let of = |guest: &str| router(&[guest.parse().unwrap()], nobody).unwrap().unwrap().to_string();
/// assert_eq!(of("10.0.0.1/32"), "10.0.0.128");
/// assert_eq!(of("10.0.0.200/32"), "10.0.0.254"); // where vif-nat tried 10.0.0.327
/// ```
///
/// # Errors
/// What `taken` says. `None` if the guest has no IPv4 address, or all of the /24 is taken.
pub fn router<E>(
    guest: &[IpNetwork],
    mut taken: impl FnMut(Ipv4Addr) -> Result<bool, E>,
) -> Result<Option<Ipv4Addr>, E> {
    let own: Vec<Ipv4Network> =
        guest.iter().filter_map(|n| if let IpNetwork::V4(n) = n { Some(*n) } else { None }).collect();
    let Some(first) = own.first() else { return Ok(None) };
    let [a, b, c, last] = first.ip().octets();
    let usual = last.checked_add(AHEAD).filter(|n| *n < 255);
    let candidates = usual.into_iter().chain((1..255).rev()).map(|last| Ipv4Addr::new(a, b, c, last));
    for candidate in candidates {
        if !own.iter().any(|n| n.contains(candidate)) && !taken(candidate)? {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn of(guest: &[&str], taken: &[&str]) -> Option<String> {
        let guest: Vec<IpNetwork> = guest.iter().map(|g| g.parse().unwrap()).collect();
        let taken: Vec<Ipv4Addr> = taken.iter().map(|t| t.parse().unwrap()).collect();
        router(&guest, |a| Ok::<bool, Infallible>(taken.contains(&a))).unwrap().map(|a| a.to_string())
    }

    #[test]
    fn another_one_is_chosen_where_the_usual_one_cannot_be() {
        assert_eq!(of(&["10.0.0.127"], &[]).unwrap(), "10.0.0.254");
        assert_eq!(of(&["10.0.0.128"], &[]).unwrap(), "10.0.0.254", "not the broadcast address");
        assert_eq!(of(&["10.0.0.254"], &[]).unwrap(), "10.0.0.253", "not the guest's own");
        assert_eq!(of(&["10.0.0.1"], &["10.0.0.128"]).unwrap(), "10.0.0.254", "not another guest's");
        assert_eq!(of(&["10.0.0.1"], &["10.0.0.128", "10.0.0.254"]).unwrap(), "10.0.0.253");
        assert_eq!(of(&["10.0.0.1", "10.0.0.128"], &[]).unwrap(), "10.0.0.254", "not the guest's second");
        assert_eq!(of(&["10.0.0.1", "10.0.0.128/25"], &[]).unwrap(), "10.0.0.127", "not in a network of the guest's");
        assert_eq!(of(&["10.0.0.0/24"], &[]), None);
        assert_eq!(of(&["2001:db8::1"], &[]), None);
        assert_eq!(of(&["2001:db8::1", "10.0.0.1"], &[]).unwrap(), "10.0.0.128");
    }

    #[test]
    fn indexes_beyond_the_last_octet_have_no_usual_address() {
        let of = |name: &str| guest_address(VifId::from_vif_name(name).unwrap()).map(|a| a.to_string());
        assert_eq!(of("vif5.253").unwrap(), "10.0.5.254");
        for index in [254, 255, 256, 65535] {
            let e = of(&format!("vif5.{index}")).unwrap_err();
            assert!(e.message().contains(&format!("10.0.5.{}", index + 1)) && e.hint().is_some(), "{e}");
        }
    }
}
