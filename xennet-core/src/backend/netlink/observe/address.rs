//! Addresses.
//!
//! Source: `include/uapi/linux/if_addr.h`, `net/ipv4/devinet.c` (`inet_fill_ifaddr`), `net/ipv6/addrconf.c`
//! (`inet6_fill_ifaddr`).

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use super::ip;
use crate::backend::netlink::wire::{self, Attributes};
use crate::model::IfName;
use crate::snapshot::Address;

/// `RTM_NEWADDR`.
pub(crate) const NEW: u16 = 20;

/// Bytes of `struct ifaddrmsg`.
const HEADER: usize = 8;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_BROADCAST: u16 = 4;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_RT_PRIORITY: u16 = 9;

/// `IFA_F_TEMPORARY` as well.
const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_PERMANENT: u32 = 0x80;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;

/// Reads the body of an `RTM_NEWADDR`; `name` tells the name of a link.
pub(crate) fn read(body: &[u8], mut name: impl FnMut(u32) -> Option<IfName>) -> Option<Address> {
    let family = wire::u8(body)?;
    let prefix = wire::u8(body.get(1..)?)?;
    let mut flags = u32::from(wire::u8(body.get(2..)?)?);
    let scope = wire::u8(body.get(3..)?)?;
    let link = name(wire::u32(body.get(4..)?)?)?;
    let (mut address, mut local, mut label, mut broadcast, mut lifetime) = (None, None, None, None, None);
    let mut metric = 0;
    for (kind, value) in Attributes::after(body, HEADER) {
        match kind {
            IFA_ADDRESS => address = ip::address(family, value),
            IFA_LOCAL => local = ip::address(family, value),
            IFA_LABEL => label = Some(String::from_utf8_lossy(wire::text(value)).into_owned()),
            IFA_BROADCAST => broadcast = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from),
            IFA_FLAGS => flags = wire::u32(value)?,
            IFA_RT_PRIORITY => metric = wire::u32(value)?,
            // struct ifa_cacheinfo: preferred, valid, and two stamps.
            IFA_CACHEINFO => lifetime = wire::u32(value.get(4..)?).zip(wire::u32(value)),
            _ => {}
        }
    }
    // IFA_LOCAL is the address and IFA_ADDRESS the other end; IPv6 leaves IFA_LOCAL out where there is no other end.
    let own = local.or(address)?;
    let peer: Option<IpAddr> = address.filter(|other| *other != own);
    Some(Address {
        link,
        address: IpNetwork::new(own, prefix).ok()?,
        peer,
        broadcast,
        scope,
        label: label.filter(|label| link != **label),
        secondary: flags & IFA_F_SECONDARY != 0,
        no_prefix_route: flags & IFA_F_NOPREFIXROUTE != 0,
        nodad: flags & IFA_F_NODAD != 0,
        metric,
        flags: flags & (Address::TRAVELS | Address::IS_DUPLICATE),
        lifetime: lifetime.filter(|times| flags & IFA_F_PERMANENT == 0 && *times != (u32::MAX, u32::MAX)),
    })
}
