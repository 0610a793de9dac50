//! The guard: what guests may send at a bridge, as one nft table.
//!
//! The table has a constant number of rules, and sets whose elements are per vif: what a packet costs, and what a hotplug
//! call costs, does not grow with the number of guests. It is of the bridge family, so it sees every frame that comes
//! in through a port, to other guests and to this domain alike, and needs no br_netfilter.
//!
//! Vifs are known to it by the names of their links, which is what administrators read in `nft list`. The elements of a vif
//! are added before its link goes up, and go after it is down.

mod discovery;
mod packets;
pub(crate) mod reserved;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::OnceLock;

use super::rules::{
    COUNTING, IGMP, NO_ADDRESS, VIOLATION, accept, denied, denied_in, dhcp_client, drop, goto, jump, lookup,
    other_than, over, rule, violation,
};
use super::{Derived, Section, Sections, SetDef, Table, logging};
use crate::gather;
use crate::model::{MacAddr, Violation};
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftCmp, NftExpr, NftField, NftFrom, NftHeader, NftHook, NftKey, NftPolicy,
    NftRule, NftTable, NftTableId, NftType, NftValue,
};

/// Links whose guests may use declared addresses only.
pub(crate) const DECLARED: &str = "declared";
/// Links whose guests are bound to their MAC only.
pub(crate) const BOUND: &str = "bound";
/// Link and MAC.
pub(crate) const MACS: &str = "macs";
/// Link, MAC, and the first or the last four bytes of that MAC, as a mark has them. What a message says of a link-layer address can be
/// compared with these: it is no field that nft 1.0 can look up.
pub(crate) const MAC_ENDS: [&str; 2] = ["macs-first", "macs-last"];
/// Links whose guests may send frames with a VLAN tag. Of which VLANs is for the bridge to check.
pub(crate) const TAGGED: &str = "tagged";
/// Link, MAC and a single address.
pub(crate) const HOSTS: [&str; 2] = ["host4", "host6"];
/// Link, MAC and a network: a set of ranges, which is slower to change and to search.
pub(crate) const NETWORKS: [&str; 2] = ["net4", "net6"];

/// Links that are closed: nothing passes that their guests send, and nothing is sent to them.
pub(crate) const CLOSED: &str = "closed";

/// A chain: what comes from a closed link.
const SHUT: &str = "shut";

/// All reserved addresses that a port may forward (`PortState::group_forward`). Else the bridge would learn the sources of
/// frames to them, and hand them to this domain, before any filter sees them.
pub(crate) const RESERVED: u16 = 0xfffd;

/// The table.
pub(crate) static GUARD: Table = Table {
    id: NftTableId::guard,
    sections: &SECTIONS,
    frames: [const { OnceLock::new() }; Sections::CHOICES],
    chains,
    derived,
    follows: derived,
    ways_out: ["detach the guests with ip=", "attach them again"],
};

/// What every vif needs; what closed links need; what guests need that are bound to their MAC and may not use reserved addresses; the two logs. A
/// host without such guests has none of it, so its frames cost nothing more.
static SECTIONS: [Section; 5] = [
    Section::of(
        0xc560_2469,
        &[
            // In the order of their names, as a scope has them.
            ("advertised", 6),
            ("advertising", 5),
            ("asking4", 4),
            ("asking6", 9),
            ("authenticated", 9),
            ("bound", 5),
            ("datagrams4", 8),
            ("datagrams6", 7),
            ("declared", 31),
            ("groups", 7),
            ("looking", 7),
            ("messages4", 7),
            ("messages6", 20),
            (logging::NOTED, 1),
            ("packets4", 11),
            ("packets6", 10),
            ("plain-datagrams4", 2),
            ("plain-datagrams6", 2),
            ("plain4", 3),
            ("plain6", 3),
            ("prerouting", 2),
            ("probing", 5),
            ("soliciting", 11),
            ("to-all", 4),
            ("to-one", 5),
            (VIOLATION, 71),
        ],
        &SETS,
    ),
    Section::of(0xe9fd_f6e8, &[("from-closed", 1), (SHUT, 5), ("to-closed", 1)], &CLOSING),
    reserved::section(),
    logging::kernel(0x2835_84c6),
    logging::nflog(0xf116_32c9),
];

const CLOSING: [SetDef; 1] = [SetDef::of(CLOSED, &[NftType::IfName])];

const SETS: [SetDef; 12] = {
    use NftType::{EtherAddr, IfName, Ipv4Addr, Ipv6Addr, Mark};
    const V4: &[NftType] = &[IfName, EtherAddr, Ipv4Addr];
    const V6: &[NftType] = &[IfName, EtherAddr, Ipv6Addr];
    const END: &[NftType] = &[IfName, EtherAddr, Mark];
    [
        SetDef::of(DECLARED, &[IfName]),
        SetDef::of(BOUND, &[IfName]),
        SetDef::of(TAGGED, &[IfName]),
        SetDef::of(MACS, &[IfName, EtherAddr]),
        SetDef::of(MAC_ENDS[0], END),
        SetDef::of(MAC_ENDS[1], END),
        SetDef::of(HOSTS[0], V4),
        SetDef::of(HOSTS[1], V6),
        SetDef::ranges(NETWORKS[0], V4),
        SetDef::ranges(NETWORKS[1], V6),
        COUNTING[0],
        COUNTING[1],
    ]
};

/// The first and the last four bytes of a MAC as the values of a mark that has these bytes.
pub(crate) fn ends(mac: MacAddr) -> [NftValue; 2] {
    let [a, b, c, d, e, f] = mac.octets();
    [[a, b, c, d], [c, d, e, f]].map(|bytes| NftValue::U32(u32::from_ne_bytes(bytes)))
}

/// What follows from the elements of another version's guard. Earlier versions had no ends of MACs, and let every guest send frames with a
/// tag: guests that run keep that until they are attached again.
fn derived(found: &NftTable) -> Derived {
    let keys = |set: &str| found.sets.get(set).into_iter().flat_map(|set| set.elements.keys());
    let mut out = Vec::new();
    if !found.sets.contains_key(TAGGED) {
        out.push((TAGGED, keys(DECLARED).cloned().collect()));
    }
    for (at, set) in MAC_ENDS.into_iter().enumerate().filter(|(_, set)| !found.sets.contains_key(*set)) {
        let end = |key: &NftKey| match key.first[..] {
            [NftValue::Name(link), NftValue::Mac(mac)] => {
                Some(NftKey::exact([NftValue::Name(link), NftValue::Mac(mac), ends(mac)[at].clone()]))
            }
            _ => None,
        };
        out.push((set, keys(MACS).filter_map(end).collect()));
    }
    out
}

/// Why a rule drops.
const NO_MAC: &str = "no MAC of this guest";

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const SERVICE_VLAN: u16 = 0x88a8;

fn chains() -> BTreeMap<String, NftChain> {
    use NftField::IifName;
    let entry = vec![
        rule([lookup(&[IifName], DECLARED), goto(DECLARED)], None),
        rule([lookup(&[IifName], BOUND), goto(BOUND)], None),
    ];
    // Behind NF_BR_PRI_NAT_DST_BRIDGED stands nothing that could have changed the frame.
    let base =
        NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: -300, policy: NftPolicy::Accept };
    let of = |rules| NftChain { base: None, rules };
    let own = [
        ("prerouting", NftChain { base: Some(base), rules: entry }),
        (DECLARED, of(declared())),
        (BOUND, of(bound())),
        (VIOLATION, of(violation())),
    ];
    let own = own.into_iter().chain(closed()).chain(reserved::chains()).chain(logging::chains());
    let others = packets::chains().into_iter().chain(discovery::chains());
    gather::map(own.chain(others.map(|(name, rules)| (name, of(rules)))).map(|(n, c)| (n.to_owned(), c)))
}

/// What closes links: before any other rule for what comes in by them, and behind all others for what leaves by them, whether it comes
/// from another port or from this domain.
fn closed() -> [(&'static str, NftChain); 3] {
    let base = |hook, priority, rule| {
        let base = NftBase { kind: NftChainKind::Filter, hook, priority, policy: NftPolicy::Accept };
        NftChain { base: Some(base), rules: vec![rule] }
    };
    let from = denied_in(SHUT, [lookup(&[NftField::IifName], CLOSED)], Violation::Closed, None);
    let to = rule([lookup(&[NftField::OifName], CLOSED), drop()], None);
    [
        ("from-closed", base(NftHook::Prerouting, -301, from)),
        (SHUT, NftChain { base: None, rules: violation() }),
        ("to-closed", base(NftHook::Postrouting, 301, to)),
    ]
}

/// What a guest with declared addresses may send.
fn declared() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IifName, Ip6Saddr, IpDaddr, IpSaddr};
    let families = [(IPV4, IpSaddr, [HOSTS[0], NETWORKS[0]]), (IPV6, Ip6Saddr, [HOSTS[1], NETWORKS[1]])];
    let mut rules: Vec<NftRule> = [(IPV4, packets::PLAIN[0]), (IPV6, packets::PLAIN[1])]
        .map(|(protocol, chain)| rule(packets::untagged(protocol).into_iter().chain([jump(chain)]), None))
        .into();
    rules.push(to_the_bridge());
    rules.extend(tags());
    // An address of one's own is no leave to say everything from it.
    rules.push(rule([is(IPV4), jump(packets::IPV4_PACKETS)], None));
    rules.push(rule([is(IPV6), jump(packets::IPV6_PACKETS)], None));
    for (protocol, source, sets) in families {
        for set in sets {
            rules.push(rule([is(protocol), lookup(&[IifName, EtherSaddr, source], set), accept()], None));
        }
    }
    rules.push(denied([other_than(&[IifName, EtherSaddr], MACS)], Violation::Mac, Some(NO_MAC)));
    rules.extend(resolution());
    rules.push(announcement());
    rules.push(dhcp_client(is(IPV4)));
    let nobody = NftExpr::eq(IpSaddr, NftValue::Ipv4(Ipv4Addr::UNSPECIFIED));
    let routers = NftExpr::eq(IpDaddr, NftValue::Ipv4(Ipv4Addr::new(224, 0, 0, 22)));
    let groups = [is(IPV4), nobody, routers, over(IGMP), accept()];
    rules.push(rule(groups, Some("IGMPv3 reports without an address (RFC 3376)")));
    rules.extend(discovery::without_address());
    rules.extend([IPV4, IPV6, ARP].map(|protocol| denied([is(protocol)], Violation::Address, Some(NO_ADDRESS))));
    rules.push(denied([], Violation::Protocol, Some("neither IP nor ARP")));
    rules
}

/// Frames of VLANs that the link is not in. A tag with VLAN 0 has only a priority in it, and passes.
fn tags() -> [NftRule; 2] {
    let tag = NftExpr::Match {
        field: NftField::Payload { header: NftHeader::Link, offset: 14, bytes: 2 },
        mask: Some(NftValue::Bytes(vec![0x0f, 0xff])),
        op: NftCmp::Ne,
        value: NftValue::Bytes(vec![0, 0]),
    };
    let tagged = NftExpr::eq(NftField::EtherType, NftValue::U16(VLAN));
    let twice = NftExpr::eq(NftField::EtherType, NftValue::U16(SERVICE_VLAN));
    [
        denied([tagged, tag, other_than(&[NftField::IifName], TAGGED)], Violation::Vlan, Some("no VLAN of this guest")),
        denied([twice], Violation::Vlan, Some("tags of providers (IEEE 802.1ad)")),
    ]
}

/// Who asks or answers for an IPv4 address, without a tag and with one: the fields of ARP have these names in rules that look
/// into the ethernet header for it only, and there a tag stands in its place.
fn resolution() -> Vec<NftRule> {
    use NftField::{ArpDaddrIp, ArpSaddrEther, ArpSaddrIp, EtherSaddr, IifName};
    let mut rules = Vec::new();
    for tag in TAGS {
        let sent = |operation: Option<u16>| {
            ethernet_arp(tag, operation).into_iter().chain([lookup(&[IifName, ArpSaddrEther], MACS)])
        };
        for set in [HOSTS[0], NETWORKS[0]] {
            rules.push(rule(sent(None).chain([lookup(&[IifName, EtherSaddr, ArpSaddrIp], set), accept()]), None));
            // A probe for another's address would keep it from being used.
            let probe = [
                NftExpr::eq(ArpSaddrIp, NftValue::Ipv4(Ipv4Addr::UNSPECIFIED)),
                lookup(&[IifName, EtherSaddr, ArpDaddrIp], set),
                accept(),
            ];
            rules.push(rule(sent(Some(1)).chain(probe), Some("ARP probe (RFC 5227)")));
        }
    }
    rules
}

/// A reverse request for the own MAC from no address: how a device model tells the switches where the guest is after a migration.
fn announcement() -> NftRule {
    let network = |offset, bytes: &[u8]| {
        let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
        let field = NftField::Payload { header: NftHeader::Network, offset, bytes: length };
        NftExpr::eq(field, NftValue::Bytes(bytes.to_vec()))
    };
    let mut exprs = vec![NftExpr::eq(NftField::EtherType, NftValue::U16(RARP)), network(0, &[0, 1, 8, 0, 6, 4, 0, 3])];
    exprs.extend(own_mac(NftHeader::Network, 8));
    exprs.push(network(14, &[0; 4]));
    exprs.extend(own_mac(NftHeader::Network, 18));
    exprs.extend([NftExpr::SetMark(0), accept()]);
    rule(exprs, Some("RARP after a migration"))
}

/// That the six bytes at this place are the MAC that the frame comes from, and one of the guest's: put into the mark four at a time. The
/// rule that asks so puts the mark back to 0 at its end.
fn own_mac(header: NftHeader, offset: u8) -> impl Iterator<Item = NftExpr> {
    MAC_ENDS.into_iter().zip([offset, offset + 2]).flat_map(move |(set, offset)| {
        let from = NftFrom::Field(NftField::Payload { header, offset, bytes: 4 });
        let key = [NftField::IifName, NftField::EtherSaddr, NftField::Mark];
        [NftExpr::Write { field: NftField::Mark, from }, lookup(&key, set)]
    })
}

/// What a guest may send that is bound to its MAC.
fn bound() -> Vec<NftRule> {
    use NftField::{ArpSaddrEther, EtherSaddr, IifName};
    let mut rules =
        vec![to_the_bridge(), denied([other_than(&[IifName, EtherSaddr], MACS)], Violation::Mac, Some(NO_MAC))];
    rules.extend(TAGS.map(|tag| {
        let other = [other_than(&[IifName, ArpSaddrEther], MACS)];
        denied(ethernet_arp(tag, None).into_iter().chain(other), Violation::Mac, Some(NO_MAC))
    }));
    rules
}

/// Spanning tree, link aggregation, port authentication, LLDP: what the ends of a cable say to each other. Guests are no
/// bridges. Here because their ports forward it ([`RESERVED`]).
fn to_the_bridge() -> NftRule {
    let to = NftExpr::Match {
        field: NftField::EtherDaddr,
        mask: Some(NftValue::Mac(MacAddr::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]))),
        op: NftCmp::Eq,
        value: NftValue::Mac(MacAddr::new([0x01, 0x80, 0xc2, 0, 0, 0])),
    };
    denied([to], Violation::BridgeControl, Some("for bridges only (IEEE 802.1D)"))
}

/// The protocols in the ethernet header of frames with ARP: none but ARP's own, and one that carries a tag before it.
const TAGS: [Option<u16>; 2] = [None, Some(VLAN)];

/// ARP for IPv4 over ethernet: only there the fields are where they are looked for. As the nft tool joins fields that lie side
/// by side.
fn ethernet_arp(tag: Option<u16>, operation: Option<u16>) -> Vec<NftExpr> {
    let bytes = |header, offset, bytes: &[u8]| {
        let field = NftField::Payload { header, offset, bytes: u8::try_from(bytes.len()).unwrap_or(u8::MAX) };
        NftExpr::eq(field, NftValue::Bytes(bytes.to_vec()))
    };
    let mut exprs = vec![NftExpr::eq(NftField::EtherType, NftValue::U16(tag.unwrap_or(ARP)))];
    if tag.is_some() {
        // Any tag; without a word about it nft leaves the tag out of its listing.
        let tag = NftField::Payload { header: NftHeader::Link, offset: 14, bytes: 2 };
        let (mask, value) = (Some(NftValue::Bytes(vec![0x0f, 0xff])), NftValue::Bytes(vec![0, 0]));
        exprs.push(NftExpr::Match { field: tag, mask, op: NftCmp::Ge, value });
        exprs.push(bytes(NftHeader::Link, 16, &ARP.to_be_bytes()));
    }
    exprs.push(bytes(NftHeader::Network, 0, &[0, 1, 8, 0]));
    match operation {
        None => exprs.push(bytes(NftHeader::Network, 4, &[6, 4])),
        Some(operation) => {
            let [high, low] = operation.to_be_bytes();
            exprs.push(bytes(NftHeader::Network, 4, &[6, 4, high, low]));
        }
    }
    exprs
}

fn is(protocol: u16) -> NftExpr {
    NftExpr::eq(NftField::Protocol, NftValue::U16(protocol))
}
