//! Addresses of the network layer as attributes carry them.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

/// `AF_INET`.
pub(crate) const AF_INET: u8 = 2;
/// `AF_INET6`.
pub(crate) const AF_INET6: u8 = 10;

/// An address of this family.
pub(crate) fn address(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// A network of this family; without a value the one that holds every address.
pub(crate) fn network(family: u8, value: Option<&[u8]>, prefix: u8) -> Option<IpNetwork> {
    let address = match (value, family) {
        (Some(value), _) => address(family, value)?,
        (None, AF_INET) => IpAddr::from([0; 4]),
        (None, AF_INET6) => IpAddr::from([0; 16]),
        (None, _) => return None,
    };
    IpNetwork::new(address, prefix).ok()
}
