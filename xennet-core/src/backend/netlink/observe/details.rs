//! What is no state: carriers, counters, learned entries, and other programs' tables.
//!
//! Source: `include/uapi/linux/if_link.h`, `net/core/rtnetlink.c` (`rtnl_fill_ifinfo`), `net/bridge/br_netlink.c`,
//! `net/ipv4/proc.c`, `net/ipv6/proc.c`, `net/netfilter/x_tables.c` (`xt_proto_init`).

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::link::LinkMessage;
use rtnetlink::packet_route::neighbour::NeighbourMessage;

use super::link::{
    self, HEADER, IFF_LOWER_UP, IFLA_IFNAME, IFLA_INFO_DATA, IFLA_INFO_KIND, IFLA_INFO_SLAVE_DATA,
    IFLA_INFO_SLAVE_KIND, IFLA_LINK, IFLA_LINK_NETNSID, IFLA_LINKINFO,
};
use super::neighbour::{self, Learned};
use super::or_none;
use crate::backend::netlink::Netlink;
use crate::backend::netlink::needs;
use crate::backend::netlink::nft::Nft;
use crate::backend::netlink::refusal::Refusal;
use crate::backend::netlink::sysctl;
use crate::backend::netlink::wire::{self, Attributes};
use crate::backend::{BackendError, Missed};
use crate::error::Errno;
use crate::model::{IfName, ViolationCount};
use crate::snapshot::{Counters, Details, LearnedNeighbour, LinkDetails, OperState, PortForwarding, Station};

const IFLA_OPERSTATE: u16 = 16;
const IFLA_STATS64: u16 = 23;
const IFLA_BR_MCAST_QUERIER: u16 = 25;
const IFLA_BR_MCAST_QUERIER_STATE: u16 = 47;
const BRIDGE_QUERIER_IP_ADDRESS: u16 = 1;
const BRIDGE_QUERIER_IPV6_ADDRESS: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_VLAN_ID: u16 = 1;

/// Files with the names of the tables of iptables-legacy, each with the family. They are there once the module is loaded; to read them
/// loads nothing.
const LEGACY: [(&str, &str); 3] =
    [("ip", "/proc/net/ip_tables_names"), ("ip6", "/proc/net/ip6_tables_names"), ("arp", "/proc/net/arp_tables_names")];

/// A link as told, the link below it by its number.
struct Told {
    index: u32,
    name: IfName,
    lower: Option<u32>,
    details: LinkDetails,
}

/// Looks at all of it. What cannot be looked at is told beside it.
pub(in crate::backend::netlink) fn details(netlink: &mut Netlink) -> (Details, Vec<Missed>) {
    let mut found = Details::default();
    let mut missed = Vec::new();
    let mut names = BTreeMap::new();
    match links(netlink) {
        Ok(links) => {
            names.extend(links.iter().map(|told| (told.index, told.name)));
            for Told { name, lower, mut details, .. } in links {
                details.lower = lower.and_then(|index| names.get(&index).copied());
                found.links.insert(name, details);
            }
        }
        Err(e) => missed.push(Missed::new("carriers and counters", e.about("links"))),
    }
    match neighbours(netlink, &names) {
        Ok(neighbours) => found.neighbours.extend(neighbours),
        Err(e) => missed.push(Missed::new("learned neighbours", e.about("neighbours"))),
    }
    match stations(netlink, &names) {
        Ok(stations) => found.stations.extend(stations),
        Err(e) => missed.push(Missed::new("stations that bridges have learned", e.about("forwarding entries"))),
    }
    match foreign(netlink, &mut found) {
        Ok(()) => {}
        Err(e) => missed.push(Missed::new("other programs' nft tables", e)),
    }
    match violations(netlink) {
        Ok(violations) => found.violations.extend(violations),
        Err(e) => missed.push(Missed::new("what guests were denied", e)),
    }
    for (family, path) in LEGACY {
        match read(netlink, path) {
            Ok(text) => found.legacy.extend(text.lines().map(|name| format!("{family} {}", name.trim_end()))),
            Err(e) => {
                missed.push(Missed::new("tables of iptables-legacy", e));
                break;
            }
        }
    }
    for (path, parse) in [("/proc/net/snmp", snmp as fn(&str) -> Vec<(String, u64)>), ("/proc/net/snmp6", snmp6)] {
        match read(netlink, path) {
            Ok(text) => found.checksum_errors.extend(parse(&text)),
            Err(e) => missed.push(Missed::new("counters of wrong checksums", e)),
        }
    }
    (found, missed)
}

/// All links. Unlike the snapshot's question this one asks for the counters.
fn links(netlink: &mut Netlink) -> Result<Vec<Told>, Refusal> {
    let tells = needs::tells_queriers(&needs::release());
    netlink.list(&Rtnl::GetLink(LinkMessage::default()), link::NEW, |body| read_link(body, tells))
}

fn read_link(body: &[u8], tells_queriers: bool) -> Option<Told> {
    let index = wire::u32(body.get(4..)?)?;
    let flags = wire::u32(body.get(8..)?)?;
    let mut details = LinkDetails { carrier: flags & IFF_LOWER_UP != 0, ..LinkDetails::default() };
    let (mut name, mut lower, mut elsewhere, mut is_pair) = (None, None, false, false);
    for (kind, value) in Attributes::after(body, HEADER) {
        match kind {
            IFLA_IFNAME => name = Some(link::name(wire::text(value), index)),
            IFLA_LINK => lower = wire::u32(value),
            IFLA_LINK_NETNSID => elsewhere = true,
            IFLA_OPERSTATE => details.state = oper_state(wire::u8(value)?),
            IFLA_STATS64 => details.counters = counters(value)?,
            IFLA_LINKINFO => {
                let info = Attributes::of(value);
                let kind = info.find(IFLA_INFO_KIND).map(wire::text);
                is_pair = kind == Some(b"veth");
                let data = info.find(IFLA_INFO_DATA).map(Attributes::of);
                match (kind, data) {
                    (Some(b"bridge"), Some(data)) => read_querier(data, tells_queriers, &mut details),
                    (Some(b"vlan"), Some(data)) => details.vlan = data.find(IFLA_VLAN_ID).and_then(wire::u16),
                    _ => {}
                }
                if info.find(IFLA_INFO_SLAVE_KIND).is_some_and(|kind| wire::text(kind) == b"bridge") {
                    let state = info.find(IFLA_INFO_SLAVE_DATA).map(Attributes::of);
                    details.port_state =
                        state.and_then(|port| port.find(IFLA_BRPORT_STATE)).and_then(wire::u8).and_then(port_state);
                }
            }
            _ => {}
        }
    }
    // A link on itself is on none; the other end of a veth is not below it.
    let lower = lower.filter(|lower| *lower != index && *lower != 0 && !elsewhere && !is_pair);
    Some(Told { index, name: name?, lower, details })
}

/// Whether multicast groups are asked for: by the bridge itself, or by somebody whose address the kernel knows
/// (`br_multicast_dump_querier_state`, which tells nothing of a family that nobody asks in).
fn read_querier(bridge: Attributes<'_>, tells: bool, details: &mut LinkDetails) {
    details.querier = bridge.find(IFLA_BR_MCAST_QUERIER).and_then(wire::u8).is_some_and(|on| on != 0);
    let by_others = bridge.find(IFLA_BR_MCAST_QUERIER_STATE).is_some_and(|state| {
        let state = Attributes::of(state);
        [BRIDGE_QUERIER_IP_ADDRESS, BRIDGE_QUERIER_IPV6_ADDRESS].iter().any(|kind| state.find(*kind).is_some())
    });
    details.querier_seen = (tells || details.querier || by_others).then_some(details.querier || by_others);
}

fn oper_state(number: u8) -> OperState {
    match number {
        1 => OperState::NotPresent,
        2 => OperState::Down,
        3 => OperState::LowerLayerDown,
        4 => OperState::Testing,
        5 => OperState::Dormant,
        6 => OperState::Up,
        _ => OperState::Unknown,
    }
}

fn port_state(number: u8) -> Option<PortForwarding> {
    Some(match number {
        0 => PortForwarding::Disabled,
        1 => PortForwarding::Listening,
        2 => PortForwarding::Learning,
        3 => PortForwarding::Forwarding,
        4 => PortForwarding::Blocking,
        _ => return None,
    })
}

fn counters(value: &[u8]) -> Option<Counters> {
    let number = |at: usize| {
        let bytes = value.get(at.checked_mul(8)?..)?.get(..8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    Some(Counters {
        rx_packets: number(0)?,
        tx_packets: number(1)?,
        rx_bytes: number(2)?,
        tx_bytes: number(3)?,
        rx_errors: number(4)?,
        tx_errors: number(5)?,
        rx_dropped: number(6)?,
        tx_dropped: number(7)?,
    })
}

fn neighbours(netlink: &mut Netlink, names: &BTreeMap<u32, IfName>) -> Result<Vec<LearnedNeighbour>, Refusal> {
    let found = netlink.list(&Rtnl::GetNeighbour(NeighbourMessage::default()), neighbour::NEW, |body| {
        neighbour::read_learned(body).filter(|l| l.address.is_some())
    });
    let named = |Learned { index, address, mac, silent, .. }| {
        Some(LearnedNeighbour { link: *names.get(&index)?, address: address?, mac, silent })
    };
    Ok(or_none(found)?.into_iter().filter_map(named).collect())
}

fn stations(netlink: &mut Netlink, names: &BTreeMap<u32, IfName>) -> Result<Vec<Station>, Refusal> {
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Bridge;
    let found = netlink.list(&Rtnl::GetNeighbour(question), neighbour::NEW, neighbour::read_station);
    let named = |Learned { index, mac, vlan, .. }| Some(Station { port: *names.get(&index)?, mac: mac?, vlan });
    Ok(or_none(found)?.into_iter().filter_map(named).collect())
}

/// Tables of others. Where nf_tables is a module that is not loaded, nobody has one, and looking does not load it.
fn foreign(netlink: &mut Netlink, found: &mut Details) -> Result<(), BackendError> {
    if !netlink.may_have_tables() {
        return Ok(());
    }
    let tables = netlink.nft().and_then(Nft::observe_foreign);
    found.foreign = super::or_no_table(tables)?;
    Ok(())
}

/// What the guard and the gate have dropped and counted.
pub(in crate::backend::netlink) fn violations(netlink: &mut Netlink) -> Result<Vec<ViolationCount>, BackendError> {
    if !netlink.may_have_tables() {
        return Ok(Vec::new());
    }
    let counted = netlink.nft().and_then(Nft::violations);
    super::or_no_table(counted)
}

/// A file of the calling thread's network namespace; what is not there is empty.
fn read(netlink: &Netlink, path: &str) -> Result<String, BackendError> {
    sysctl::check(netlink.namespace.as_ref()).map_err(|e| e.about(path))?;
    match fs::read_to_string(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|e| BackendError::new(Errno::from_io(&e), path)),
    }
}

/// `/proc/net/snmp`: of each protocol a line with names, and one with numbers.
fn snmp(text: &str) -> Vec<(String, u64)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for pair in lines.chunks_exact(2) {
        let [names, numbers] = pair else { continue };
        let protocol = names.split(':').next().unwrap_or_default().to_ascii_lowercase();
        let number = names
            .split_whitespace()
            .zip(numbers.split_whitespace())
            .find(|(name, _)| *name == "InCsumErrors")
            .and_then(|(_, number)| number.parse().ok());
        if let Some(number) = number.filter(|n| *n > 0 && ["tcp", "udp", "icmp"].contains(&protocol.as_str())) {
            found.push((protocol, number));
        }
    }
    found
}

/// `/proc/net/snmp6`: a line for each counter.
fn snmp6(text: &str) -> Vec<(String, u64)> {
    let number = |line: &str| {
        let (name, number) = line.split_once(char::is_whitespace)?;
        let protocol = match name {
            "Udp6InCsumErrors" => "udp6",
            "Icmp6InCsumErrors" => "icmp6",
            _ => return None,
        };
        Some((protocol.to_owned(), number.trim().parse().ok().filter(|n| *n > 0)?))
    };
    text.lines().filter_map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_checksums_are_told_by_protocol() {
        let text = "Ip: Forwarding DefaultTTL\nIp: 1 64\nTcp: RtoAlgorithm InCsumErrors\nTcp: 1 3\n\
                    Udp: InDatagrams InCsumErrors IgnoredMulti\nUdp: 5 17 0\nUdpLite: InDatagrams InCsumErrors\nUdpLite: 5 9\n";
        assert_eq!(snmp(text), [("tcp".to_owned(), 3), ("udp".to_owned(), 17)]);
        assert_eq!(snmp("Udp: InCsumErrors"), []);
        assert_eq!(snmp6("Ip6InReceives   7\nUdp6InCsumErrors                \t12\n"), [("udp6".to_owned(), 12)]);
    }

    #[test]
    fn counters_that_are_cut_short_are_none() {
        assert_eq!(counters(&[0; 63]), None);
        let mut stats = vec![0; 8 * 8];
        stats[7 * 8] = 4;
        assert_eq!(counters(&stats).unwrap().tx_dropped, 4);
    }
}
