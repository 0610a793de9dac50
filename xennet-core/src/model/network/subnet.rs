//! Guests' subnets, dom0's addresses in them, and the ranges that are given out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::invalid;
use crate::error::Error;

/// A subnet of guests, and dom0's address in it.
///
/// ```
/// use xennet_core::Subnet;
/// let subnet = Subnet::new("10.0.0.0/24".parse().unwrap())?;
/// assert_eq!(subnet.gateway().to_string(), "10.0.0.254");
/// assert!(subnet.with_gateway("192.168.9.9".parse().unwrap()).is_err());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias = "ipam")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "SubnetDocument")]
pub struct Subnet {
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    network: IpNetwork,
    gateway: IpAddr,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct SubnetDocument {
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    network: IpNetwork,
    gateway: IpAddr,
}

impl TryFrom<SubnetDocument> for Subnet {
    type Error = Error;
    fn try_from(d: SubnetDocument) -> Result<Self, Error> {
        Subnet::new(d.network)?.with_gateway(d.gateway)
    }
}

impl Subnet {
    /// A subnet with its default gateway: the last usable address of an IPv4 subnet (10.0.0.254 of 10.0.0.0/24), the first of an IPv6
    /// subnet (`…::1`).
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if host bits are set, or if guests cannot have addresses in it.
    pub fn new(network: IpNetwork) -> Result<Self, Error> {
        Subnet::check(network).map_err(|rule| invalid(&network, "a subnet", &rule))
    }

    pub(crate) fn check(network: IpNetwork) -> Result<Self, String> {
        if network.ip() != network.network() {
            let right = IpNetwork::new(network.network(), network.prefix()).map_err(|e| e.to_string())?;
            return Err(format!("the network's own address comes before the slash: {right}"));
        }
        if unusable(network.ip()) || network.prefix() < 4 {
            return Err("a network that guests can have addresses of".into());
        }
        let gateway = match network {
            IpNetwork::V4(n) if n.prefix() >= 31 => IpAddr::V4(n.ip()),
            IpNetwork::V4(n) => IpAddr::V4((u32::from(n.broadcast()) - 1).into()),
            IpNetwork::V6(n) if n.prefix() == 128 => IpAddr::V6(n.ip()),
            IpNetwork::V6(n) => IpAddr::V6(Ipv6Addr::from(u128::from(n.network()) + 1)),
        };
        if unusable(gateway) {
            return Err(format!("a network whose gateway a host can have, and {gateway} is none"));
        }
        Ok(Subnet { network, gateway })
    }

    /// Sets dom0's address in the subnet.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if the address is not in the subnet, or is reserved there.
    pub fn with_gateway(self, gateway: IpAddr) -> Result<Self, Error> {
        self.check_gateway(gateway).map_err(|rule| invalid(&gateway, "a gateway", &rule))
    }

    pub(crate) fn check_gateway(self, gateway: IpAddr) -> Result<Self, String> {
        if !self.network.contains(gateway) {
            return Err(format!("a gateway is an address of its subnet, {}", self.network));
        }
        if unusable(gateway) {
            return Err("the address of a single host".into());
        }
        match self.reserved(gateway) {
            Some(what) => Err(what.into()),
            None => Ok(Subnet { gateway, ..self }),
        }
    }

    /// The subnet, by its network address.
    pub const fn network(&self) -> IpNetwork {
        self.network
    }

    /// dom0's address in it: what guests use as their gateway.
    pub const fn gateway(&self) -> IpAddr {
        self.gateway
    }

    /// Whether it has the default gateway.
    pub(crate) fn has_default_gateway(&self) -> bool {
        Subnet::check(self.network).is_ok_and(|usual| usual == *self)
    }

    /// What an address of it is reserved for, if it is.
    pub(crate) fn reserved(&self, address: IpAddr) -> Option<&'static str> {
        match self.network {
            IpNetwork::V4(n) if n.prefix() < 31 && address == IpAddr::V4(n.network()) => {
                Some("the network's own address is no host's")
            }
            IpNetwork::V4(n) if n.prefix() < 31 && address == IpAddr::V4(n.broadcast()) => {
                Some("the broadcast address is no host's")
            }
            IpNetwork::V6(n) if n.prefix() < 127 && address == IpAddr::V6(n.network()) => {
                Some("the network's own address is every router's (RFC 4291, 2.6.1)")
            }
            _ => None,
        }
    }
}

/// A range of addresses to give to guests, both ends included.
#[doc(alias("ipam", "dhcp-range"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "(IpAddr, IpAddr)", into = "(IpAddr, IpAddr)")]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    pub(crate) const RULE: &'static str = "a range goes from a lower to a higher address of one family";

    /// The range from the first to the last address.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) if they are of two families, or the last comes before the first.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, Error> {
        AddressRange::check(first, last)
            .ok_or_else(|| invalid(&format_args!("{first}-{last}"), "a range", AddressRange::RULE))
    }

    pub(crate) fn check(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(AddressRange { first, last })
    }

    /// The first address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The last address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether this address is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

impl std::fmt::Display for AddressRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl TryFrom<(IpAddr, IpAddr)> for AddressRange {
    type Error = Error;
    fn try_from((first, last): (IpAddr, IpAddr)) -> Result<Self, Error> {
        AddressRange::new(first, last)
    }
}

impl From<AddressRange> for (IpAddr, IpAddr) {
    fn from(range: AddressRange) -> Self {
        (range.first, range.last)
    }
}

/// Whether two networks, or the networks of two addresses, have an address in common.
pub(crate) fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.ip()) || b.contains(a.ip())
}

/// The smallest network that contains two of one family.
pub(crate) fn covering(a: IpNetwork, b: IpNetwork) -> IpNetwork {
    let shorter = if a.prefix() <= b.prefix() { a } else { b };
    let of = |prefix| IpNetwork::new(shorter.ip(), prefix).ok();
    (0..=shorter.prefix()).rev().filter_map(of).find(|n| n.contains(a.ip()) && n.contains(b.ip())).unwrap_or(shorter)
}

/// Whether no single host can have this address.
pub(crate) fn unusable(address: IpAddr) -> bool {
    address.is_multicast()
        || address.is_loopback()
        || address.is_unspecified()
        || address == IpAddr::V4(Ipv4Addr::BROADCAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_and_its_gateway_are_what_guests_can_have() {
        let subnet = |text: &str| Subnet::new(text.parse().unwrap()).map_err(|e| e.message().to_owned());
        for (text, gateway) in [
            ("10.0.0.0/24", "10.0.0.254"),
            ("192.0.2.4/31", "192.0.2.4"),
            ("192.0.2.9/32", "192.0.2.9"),
            ("fd00:1::/64", "fd00:1::1"),
            ("fd00:1::7/128", "fd00:1::7"),
        ] {
            assert_eq!(subnet(text).unwrap().gateway().to_string(), gateway, "{text}");
            assert!(subnet(text).unwrap().has_default_gateway());
        }
        let own = "the network's own address comes before the slash: 10.0.0.0/24";
        assert_eq!(subnet("10.0.0.1/24").unwrap_err(), format!("10.0.0.1/24 cannot be a subnet: {own}"));
        for bad in ["224.0.0.0/8", "127.0.0.0/8", "126.0.0.0/7", "0.0.0.0/0", "::/0", "ff00::/64"] {
            assert!(subnet(bad).is_err(), "{bad}");
        }
        let with = |gateway: &str| subnet("10.0.0.0/24").unwrap().with_gateway(gateway.parse().unwrap());
        assert_eq!(with("10.0.0.1").unwrap().gateway().to_string(), "10.0.0.1");
        assert!(!with("10.0.0.1").unwrap().has_default_gateway());
        for bad in ["192.168.9.9", "10.0.0.0", "10.0.0.255", "fd00::1"] {
            assert!(with(bad).is_err(), "{bad}");
        }
        assert!(subnet("f000::/4").unwrap().with_gateway("ff02::1".parse().unwrap()).is_err(), "multicast");
        let read = |text: &str| serde_json::from_str::<Subnet>(text);
        let whole = subnet("10.0.0.0/24").unwrap();
        assert_eq!(read(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
        assert!(read(r#"{"network": "10.0.0.0/24", "gateway": "10.0.1.1"}"#).is_err());
    }

    #[test]
    fn a_range_goes_up_in_one_family() {
        let range = |a: &str, b: &str| AddressRange::new(a.parse().unwrap(), b.parse().unwrap());
        let ten = range("10.0.0.1", "10.0.0.9").unwrap();
        assert!(ten.contains("10.0.0.9".parse().unwrap()) && !ten.contains("10.0.0.10".parse().unwrap()));
        assert_eq!(serde_json::from_str::<AddressRange>(&serde_json::to_string(&ten).unwrap()).unwrap(), ten);
        assert_eq!(ten.to_string(), "10.0.0.1-10.0.0.9");
        assert!(range("10.0.0.9", "10.0.0.1").is_err());
        assert!(range("10.0.0.9", "::1").is_err());
        assert!(serde_json::from_str::<AddressRange>(r#"["10.0.0.9", "10.0.0.1"]"#).is_err());
    }
}
