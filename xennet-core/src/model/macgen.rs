//! Making MAC addresses. Pure: entropy comes from the caller, as bytes; [`surroundings::entropy`](crate::surroundings::entropy) is where
//! most take it from.

use std::fmt;
use std::str::FromStr;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{DevId, GuestMac, IfName, MacAddr};
use crate::error::{Error, ErrorKind};

/// A way to make a guest's address.
///
/// | scheme | form | made from | bits |
/// |---|---|---|---|
/// | `libxl` | `00:16:3e`, top bit of octet 4 clear | entropy | 23 |
/// | `xen24` | `00:16:3e` | entropy | 24 |
/// | `local` | locally administered unicast | entropy | 46 |
/// | `uuid` | locally administered unicast | SHA-256 of (seed, devid) | 46 |
/// | `xapi` | locally administered unicast | XAPI's MD5 chain of (seed, devid) | 46 |
///
/// With 23 bits the chance of a collision on one segment passes 1 % near 410 vifs and 50 % near 3400; with 46 bits near
/// 1.2 million and 9.9 million. `uuid` is the one to use where a guest shall keep its address without a record of it:
/// xl draws a new one at each `xl create` of a config without `mac=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Scheme {
    /// As libxl and xend draw it: 23 random bits under `00:16:3e` (`libxl_nic.c`).
    Libxl,
    /// As libvirt's Xen driver draws it: 24 random bits under `00:16:3e` (`virmacaddr.c`).
    Xen24,
    /// As the manual advises: 46 random bits, locally administered (`xl-network-configuration(5)`).
    Local,
    /// 46 bits of the SHA-256 of the domain's UUID and the vif's index; see [`from_uuid`].
    Uuid,
    /// XAPI's hash chain; see [`from_xapi_seed`].
    Xapi,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: &'static [Scheme] = &[Scheme::Libxl, Scheme::Xen24, Scheme::Local, Scheme::Uuid, Scheme::Xapi];

    /// The name used on the command line and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Scheme::Libxl => "libxl",
            Scheme::Xen24 => "xen24",
            Scheme::Local => "local",
            Scheme::Uuid => "uuid",
            Scheme::Xapi => "xapi",
        }
    }

    /// Whether the address follows from a seed and the vif's index alone, so that the same input gives it again.
    pub const fn is_deterministic(self) -> bool {
        matches!(self, Scheme::Uuid | Scheme::Xapi)
    }

    /// Makes an address: from `entropy` for the random schemes, from `seed` and `devid` for the deterministic ones.
    ///
    /// The random schemes use the first three bytes (`libxl`, `xen24`) or all six (`local`); the caller takes them from
    /// the system's generator. The others ignore them.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if a deterministic scheme has no seed, or in the one case of [`from_xapi_seed`].
    pub fn generate(self, seed: Option<&str>, devid: DevId, entropy: [u8; 6]) -> Result<GuestMac, Error> {
        let [a, b, c, ..] = entropy;
        match (self, seed) {
            (Scheme::Libxl, _) => Ok(from_libxl_draw([a, b, c])),
            (Scheme::Xen24, _) => Ok(from_xen24_draw([a, b, c])),
            (Scheme::Local, _) => Ok(from_local_draw(entropy)),
            (Scheme::Uuid, Some(seed)) => Ok(from_uuid(seed, devid)),
            (Scheme::Xapi, Some(seed)) => from_xapi_seed(seed, devid),
            (Scheme::Uuid | Scheme::Xapi, None) => Err(Error::new(
                ErrorKind::Invalid,
                format!("scheme {self} makes the address from a seed, none was given"),
            )
            .with_object(self.name())
            .with_hint("give the domain's UUID as seed, or use the scheme local")),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Scheme {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|s| s.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("{} is no scheme for MAC addresses", super::flaw::quoted(text)))
                .with_object(super::flaw::beginning(text))
                .with_hint("the schemes are libxl, xen24, local, uuid and xapi")
        })
    }
}

/// `00:16:3e` and 23 of 24 random bits: libxl clears the top bit of the fourth octet.
///
/// Source: `tools/libs/light/libxl_nic.c`, `libxl__device_nic_setdefault` (bytes 0 to 2 of a fresh UUID).
pub(crate) fn from_libxl_draw(entropy: [u8; 3]) -> GuestMac {
    let [a, b, c] = entropy;
    xen([a & 0x7f, b, c])
}

/// The address of a link that this domain makes, always the same for the same machine and name: the first six octets of
/// SHA-256(machine's id ‖ name), made locally administered. This rule never changes: a new one would give bridges other addresses.
pub(crate) fn of_machine(machine: &[u8], name: &IfName) -> MacAddr {
    let mut hash = Sha256::new();
    hash.update(machine);
    hash.update(name.as_str().as_bytes());
    let digest = hash.finalize();
    MacAddr::new([digest[0] & 0xfc | 0x02, digest[1], digest[2], digest[3], digest[4], digest[5]])
}

/// `00:16:3e` and 24 random bits.
pub(crate) fn from_xen24_draw(entropy: [u8; 3]) -> GuestMac {
    xen(entropy)
}

fn xen(low: [u8; 3]) -> GuestMac {
    let [x, y, z] = MacAddr::XEN_OUI;
    GuestMac::generated([x, y, z, low[0], low[1], low[2]]).expect("00:16:3e is unicast, not zero, not the backend's")
}

/// Six random octets with the two lowest bits of the first set to `10`: locally administered, unicast.
///
/// Of the 2^46 addresses one, `fe:ff:ff:ff:ff:ff`, belongs to the backend; the draw that hits it gives
/// `fe:ff:ff:ff:ff:fe` instead.
pub fn from_local_draw(entropy: [u8; 6]) -> GuestMac {
    let mut octets = entropy;
    octets[0] = (octets[0] | 0x02) & 0xfe;
    GuestMac::generated(octets).unwrap_or_else(|| {
        octets[5] ^= 1;
        GuestMac::generated(octets).expect("only one address with these two bits is refused, and this is another")
    })
}

/// The address of a domain's vif, always the same for the same UUID and index: the first six octets of
/// SHA-256(`"xennet mac 1\0"` ‖ UUID ‖ `"\0"` ‖ devid as decimal text), made locally administered as [`from_local_draw`]
/// does.
///
/// The UUID is lower-cased and taken as text; any other text works as well. This rule never changes: a new one would get
/// a new number in its first word.
///
/// ```
/// use xennet_core::{DevId, macgen};
/// let mac = macgen::from_uuid("7c8d1f2e-5b3a-4c6d-9e8f-0a1b2c3d4e5f", DevId::FIRST);
/// assert_eq!(mac, macgen::from_uuid("7C8D1F2E-5B3A-4C6D-9E8F-0A1B2C3D4E5F", DevId::FIRST));
/// assert!(mac.get().is_local());
/// ```
pub fn from_uuid(uuid: &str, devid: DevId) -> GuestMac {
    let digest = Sha256::new()
        .chain_update(b"xennet mac 1\0")
        .chain_update(uuid.to_ascii_lowercase())
        .chain_update(b"\0")
        .chain_update(devid.to_string())
        .finalize();
    let mut octets = [0; 6];
    octets.copy_from_slice(&digest[..6]);
    from_local_draw(octets)
}

/// The address XAPI gives to device `devid` of a VM whose `other_config:mac_seed` is `seed`.
///
/// H is MD5 applied 2·devid+1 times to the seed's bytes (raw digests in between), G is MD5 of H; the octets are
/// `H[0] H[1] H[2] H[3] G[1] G[2]`, the first one made locally administered and unicast.
///
/// xenopsd computes the same chain from the VM's id and then replaces a first octet `fe` by `fd`. That is a defect which is
/// not imitated here: bit 0 of `fd` is set, the result is a multicast address.
///
/// # Errors
/// [`ErrorKind::Invalid`] if the chain ends in `fe:ff:ff:ff:ff:ff` (once in 2^46 seeds).
///
/// Source: xen-api `ocaml/xapi/xapi_vif_helpers.ml`, `ocaml/libs/mac/mac.ml`.
pub fn from_xapi_seed(seed: &str, devid: DevId) -> Result<GuestMac, Error> {
    let mut h = Md5::digest(seed.as_bytes());
    for _ in 0..2 * u32::from(devid.get()) {
        h = Md5::digest(h);
    }
    let g = Md5::digest(h);
    GuestMac::new(MacAddr::new([(h[0] | 0x02) & 0xfe, h[1], h[2], h[3], g[1], g[2]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_keep_their_fixed_bits() {
        assert_eq!(from_libxl_draw([0xff; 3]).to_string(), "00:16:3e:7f:ff:ff");
        assert_eq!(from_xen24_draw([0xff; 3]).to_string(), "00:16:3e:ff:ff:ff");
        assert_eq!(from_local_draw([0xff; 6]).to_string(), "fe:ff:ff:ff:ff:fe", "the backend's own is stepped over");
        assert_eq!(from_local_draw([0; 6]).to_string(), "02:00:00:00:00:00");
    }

    #[test]
    fn the_uuid_scheme_never_changes() {
        let uuid = "7c8d1f2e-5b3a-4c6d-9e8f-0a1b2c3d4e5f";
        let macs: Vec<String> = (0..3).map(|n| from_uuid(uuid, DevId::new(n).unwrap()).to_string()).collect();
        // printf 'xennet mac 1\0%s\0%s' UUID N | sha256sum, first octet |2 &fe
        assert_eq!(macs, MACS);
    }
    const MACS: [&str; 3] = ["fa:3c:d5:5b:43:3e", "c2:8d:61:e8:cb:71", "92:5b:d8:b4:f7:d6"];

    #[test]
    fn schemes_have_names_and_say_what_they_need() {
        for scheme in Scheme::ALL {
            assert_eq!(scheme.name().parse::<Scheme>().unwrap(), *scheme);
            assert_eq!(scheme.generate(None, DevId::FIRST, [7; 6]).is_err(), scheme.is_deterministic());
            assert!(scheme.generate(Some("s"), DevId::FIRST, [7; 6]).is_ok());
        }
        assert!("LIBXL".parse::<Scheme>().is_err());
    }
}
