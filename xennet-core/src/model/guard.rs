//! What a guest may send: its own address, and nothing in another's name.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{GuestMac, MacAddr, PacketLog};
use crate::gather;

/// What the guard lets pass that a guest sends at a bridge.
///
/// With `addresses` only frames from the guest's MAC and from these addresses pass: IPv4, IPv6 and the sender of ARP, besides
/// what a station needs before it has an address (DHCP requests, ARP probes, duplicate address detection, router solicitations), the
/// link-local IPv6 address that is made from the MAC, and RARP as it is sent after a migration. Everything else is dropped, other
/// protocols and frames of VLANs that the vif is not in included; and from the guest's own addresses what speaks for others or in a
/// router's role: answers of DHCP servers and relays, router advertisements and redirects of both families, neighbour messages about other
/// addresses or with another's link-layer address, queries of IGMP and MLD, VRRP, HSRP, PIM; and what cannot be told, as it comes in
/// pieces.
///
/// Without `addresses` the MAC alone is bound: the guest may send any protocol, and from any address that is not `reserved`. A guest with
/// `further_macs` may use each of them like its own. A `closed` guest sends nothing, and gets nothing.
#[doc(alias("spoofing", "antispoof", "anti-spoofing", "nwfilter"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guard {
    /// The guest's address on the wire.
    pub mac: MacAddr,
    /// Its addresses and networks; `None` to bind the MAC only. Host bits of networks are ignored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<BTreeSet<crate::schema::Net>>"))]
    pub addresses: Option<BTreeSet<IpNetwork>>,
    /// Whether frames with a VLAN tag pass, where addresses are declared: of which VLANs is for the bridge to check. An attachment with
    /// tagged VLANs says so by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tagged: bool,
    /// Further addresses of the guest's on the wire, as of macvlans or bonds in it: each may be used with each of `addresses`. VRRP's
    /// virtual MACs are among them only if they are named here.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub further_macs: BTreeSet<MacAddr>,
    /// Addresses that the guest does not use although only its MAC is bound: they are others'. Those of them that are its own are in `own`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeSet<crate::schema::Net>"))]
    pub reserved: BTreeSet<IpNetwork>,
    /// Addresses that are declared for the guest, where only its MAC is bound and others are reserved.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "BTreeSet<crate::schema::Net>"))]
    pub own: BTreeSet<IpNetwork>,
    /// Where packets that do not pass are logged.
    #[serde(default, skip_serializing_if = "PacketLog::is_off")]
    pub log: PacketLog,
    /// Whether nothing passes, neither from the guest nor to it, whatever else is said.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

impl Guard {
    /// Binds MAC and addresses: what `ip=` of a vif line asks for.
    pub fn declared(mac: GuestMac, addresses: impl IntoIterator<Item = IpNetwork>) -> Self {
        Guard { addresses: Some(gather::set(addresses)), ..Guard::mac_only(mac) }
    }

    /// Binds the MAC only.
    pub fn mac_only(mac: GuestMac) -> Self {
        Guard {
            mac: mac.get(),
            addresses: None,
            tagged: false,
            further_macs: BTreeSet::new(),
            reserved: BTreeSet::new(),
            own: BTreeSet::new(),
            log: PacketLog::Off,
            closed: false,
        }
    }

    /// Closes the guest: it is connected, and nothing passes.
    pub fn closed(mac: GuestMac) -> Self {
        Guard { closed: true, ..Guard::mac_only(mac) }
    }

    /// The same guard of a guest that has these MACs as well.
    #[must_use]
    pub fn with_further_macs(mut self, macs: impl IntoIterator<Item = GuestMac>) -> Self {
        self.further_macs = gather::set(macs.into_iter().map(GuestMac::get));
        self
    }

    /// The same guard. Packets that do not pass are logged there.
    #[must_use]
    pub const fn with_log(mut self, log: PacketLog) -> Self {
        self.log = log;
        self
    }

    /// The same guard of a guest that may not use these addresses, unless they are its own.
    #[must_use]
    pub(crate) fn with_reserved(
        mut self,
        reserved: impl IntoIterator<Item = IpNetwork>,
        own: impl IntoIterator<Item = IpNetwork>,
    ) -> Self {
        self.reserved = gather::set(apart(reserved));
        self.own = gather::set(apart(own));
        self
    }

    /// All MACs, the guest's first.
    pub(crate) fn macs(&self) -> impl Iterator<Item = MacAddr> + '_ {
        [self.mac].into_iter().chain(self.further_macs.iter().copied().filter(|mac| *mac != self.mac))
    }

    /// The networks and single hosts that may be used as a source from each MAC, the link-local addresses that belong to the MACs
    /// included, none within another. Empty if only MACs are bound.
    pub(crate) fn sources(&self) -> Vec<IpNetwork> {
        let Some(addresses) = &self.addresses else { return Vec::new() };
        let link_local = self.macs().map(|mac| IpNetwork::from(IpAddr::V6(link_local(mac))));
        apart(addresses.iter().copied().chain(link_local))
    }
}

/// The networks and single hosts that these are, without host bits, none within another.
pub(crate) fn apart(addresses: impl IntoIterator<Item = IpNetwork>) -> Vec<IpNetwork> {
    let mut all: Vec<IpNetwork> = addresses.into_iter().map(network).collect();
    all.sort_unstable();
    all.dedup();
    let mut apart: Vec<IpNetwork> = Vec::new();
    // In order of their first addresses, the larger network first: what contains another one stands right before it.
    for network in all {
        if !apart.last().is_some_and(|outer| outer.contains(network.ip())) {
            apart.push(network);
        }
    }
    apart
}

/// The network without host bits.
fn network(address: IpNetwork) -> IpNetwork {
    // The prefix is of the same family, so it fits.
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}

/// The link-local address that IPv6 makes from a MAC (RFC 4291, appendix A: modified EUI-64).
pub(crate) fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 0x02, b, c, 0xff, 0xfe, d, e, f])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(list: &[&str]) -> Vec<String> {
        let guard =
            Guard::declared("00:16:3e:01:02:03".parse().unwrap(), list.iter().map(|a| a.parse::<IpNetwork>().unwrap()));
        guard.sources().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_lies_within_another_is_said_once() {
        let own = "fe80::216:3eff:fe01:203/128";
        assert_eq!(sources(&["10.0.0.2"]), ["10.0.0.2/32", own]);
        assert_eq!(
            sources(&["10.0.0.2/24", "10.0.0.9", "10.0.0.0/25", "10.0.1.0/25"]),
            ["10.0.0.0/24", "10.0.1.0/25", own]
        );
        assert_eq!(sources(&["10.0.0.1/24", "10.0.0.2/24"]), ["10.0.0.0/24", own], "host bits do not count");
        assert_eq!(sources(&["fe80::/10", "::/0"]), ["::/0"]);
        assert_eq!(sources(&["10.0.0.0/8", "10.1.0.0/16", "10.2.0.3", "11.0.0.1"]), ["10.0.0.0/8", "11.0.0.1/32", own]);
        assert_eq!(sources(&[]), [own], "nothing declared: only what every station has");
        assert_eq!(Guard::mac_only("00:16:3e:01:02:03".parse().unwrap()).sources(), []);
    }

    /// Comparing each with each would take minutes here.
    #[test]
    fn many_addresses_are_compared_with_their_neighbours_only() {
        let all = (0..100_000_u32).map(|i| IpNetwork::from(IpAddr::from((0x0a00_0000 + 2 * i).to_be_bytes())));
        let nets = [IpNetwork::new(IpAddr::from([10, 0, 0, 0]), 24).unwrap()];
        assert_eq!(apart(all.chain(nets)).len(), 100_000 - 128 + 1);
    }
}
