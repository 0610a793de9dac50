//! The guard: what guests may send at a bridge, as one nft table.
//!
//! The table has a constant number of rules, and sets whose elements are per vif: what a packet costs, and what a hotplug
//! call costs, does not grow with the number of guests. It is of the bridge family, so it sees every frame that comes
//! in through a port, to other guests and to this domain alike, and needs no br_netfilter.
//!
//! Vifs are known to it by the names of their links, which is what administrators read in `nft list`. The elements of a vif
//! are added before its link goes up, and go after it is down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::rules::{
    ICMPV6, TCP, UDP, accept, back, dhcp_client, drop, first_fragment, goto, jump, lookup, other_than, over, rule,
};
use super::{Level, SetDef, Table};
use crate::gather;
use crate::model::MacAddr;
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftCmp, NftExpr, NftField, NftFrom, NftHeader, NftHook, NftPolicy, NftRule,
    NftTableId, NftType, NftValue,
};

/// Links whose guests may use declared addresses only.
pub(crate) const DECLARED: &str = "declared";
/// Links whose guests are bound to their MAC only.
pub(crate) const BOUND: &str = "bound";
/// A chain: what guests say about addresses and roles in IPv6, whatever source they say it from.
const CLAIMS: &str = "claims";
/// Chains: of these, the messages of ICMPv6, and the datagrams of UDP.
const MESSAGES: &str = "messages";
const DATAGRAMS: &str = "datagrams";
/// A chain: who looks whether an address is free.
const PROBING: &str = "probing";
/// Chains: what is said of an address, to all and to one.
const ADVERTISED: &str = "advertised";
const TO_ALL: &str = "to-all";
const TO_ONE: &str = "to-one";
/// Link and MAC.
pub(crate) const MACS: &str = "macs";
/// Link, MAC and a single address.
pub(crate) const HOSTS: [&str; 2] = ["host4", "host6"];
/// Link, MAC and a network: a set of ranges, which is slower to change and to search.
pub(crate) const NETWORKS: [&str; 2] = ["net4", "net6"];

/// All reserved addresses that a port may forward (`PortState::group_forward`). Else the bridge would learn the sources of
/// frames to them, and hand them to this domain, before any filter sees them.
pub(crate) const RESERVED: u16 = 0xfffd;

/// The table.
pub(crate) static GUARD: Table = Table {
    id: NftTableId::guard,
    levels: &LEVELS,
    chains,
    ways_out: ["detach the guests with ip=", "attach them again"],
};

/// One level: all of it is needed for every vif.
static LEVELS: [Level; 1] = [Level {
    version: 0x0814_21e4,
    uses: &[
        // In the order of their names, as a scope has them.
        (ADVERTISED, 5),
        (BOUND, 6),
        (CLAIMS, 3),
        (DATAGRAMS, 2),
        (DECLARED, 26),
        (MESSAGES, 4),
        ("prerouting", 2),
        (PROBING, 4),
        (TO_ALL, 4),
        (TO_ONE, 5),
    ],
    sets: &SETS,
    frame: LazyLock::new(|| GUARD.frame(0)),
}];

const SETS: [SetDef; 7] = {
    use NftType::{EtherAddr, IfName, Ipv4Addr, Ipv6Addr};
    const V4: &[NftType] = &[IfName, EtherAddr, Ipv4Addr];
    const V6: &[NftType] = &[IfName, EtherAddr, Ipv6Addr];
    [
        SetDef::of(DECLARED, &[IfName]),
        SetDef::of(BOUND, &[IfName]),
        SetDef::of(MACS, &[IfName, EtherAddr]),
        SetDef::of(HOSTS[0], V4),
        SetDef::of(HOSTS[1], V6),
        SetDef::ranges(NETWORKS[0], V4),
        SetDef::ranges(NETWORKS[1], V6),
    ]
};

/// All stations on a link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

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
    gather::map([
        ("prerouting".into(), NftChain { base: Some(base), rules: entry }),
        (DECLARED.into(), of(declared())),
        (BOUND.into(), of(bound())),
        (CLAIMS.into(), of(claims())),
        (DATAGRAMS.into(), of(datagrams())),
        (MESSAGES.into(), of(messages())),
        (PROBING.into(), of(about_own(NftField::Ip6Saddr, Some(Ipv6Addr::UNSPECIFIED), &accept()))),
        (ADVERTISED.into(), of(advertised())),
        (TO_ALL.into(), of(about_own(NftField::Ip6Daddr, Some(ALL_NODES), &back()))),
        // Where it came from is the guest's own as well, and stays another one of its addresses.
        (TO_ONE.into(), of(about_own(NftField::Ip6Saddr, None, &accept()))),
    ])
}

/// What a guest with declared addresses may send.
fn declared() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IcmpType, IifName, Ip6Saddr, IpSaddr, L4Proto, ThDport};
    let mut rules = vec![to_the_bridge()];
    // An address of one's own is no leave to give out addresses. Clients do not care which port the answer comes from.
    let dhcp = [is(IPV4), over(UDP), NftExpr::eq(ThDport, NftValue::U16(68)), first_fragment(), drop()];
    rules.push(rule(dhcp, Some("no DHCP servers among guests")));
    rules.push(rule([is(IPV6), NftExpr::ne(L4Proto, NftValue::U8(TCP)), jump(CLAIMS)], None));
    // What nearly all frames are.
    for (protocol, source, sets) in
        [(IPV4, IpSaddr, [HOSTS[0], NETWORKS[0]]), (IPV6, Ip6Saddr, [HOSTS[1], NETWORKS[1]])]
    {
        for set in sets {
            rules.push(rule([is(protocol), lookup(&[IifName, EtherSaddr, source], set), accept()], None));
        }
    }
    rules.push(rule([other_than(&[IifName, EtherSaddr], MACS), drop()], None));
    rules.extend(resolution());
    rules.push(dhcp_client(is(IPV4)));
    // Multicast listener reports and done, which go with duplicate address detection.
    rules.extend([131, 132, 143].map(|kind| {
        let exprs = [is(IPV6), from_nobody6(), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind)), accept()];
        rule(exprs, Some("duplicate address detection (RFC 4862)"))
    }));
    rules.push(rule([drop()], None));
    rules
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

/// What a guest with declared addresses may not say even from them.
fn claims() -> Vec<NftRule> {
    vec![rule([over(ICMPV6), goto(MESSAGES)], None), rule([over(UDP), goto(DATAGRAMS)], None)]
}

fn datagrams() -> Vec<NftRule> {
    // Source port, destination port, length, checksum: eight bytes at once, which the kernel does not read from a later
    // fragment. (Two it does, from a wrong place.)
    let ports = NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 8 };
    let dhcp = NftExpr::Match {
        field: ports,
        mask: Some(NftValue::Bytes(vec![0, 0, 0xff, 0xff, 0, 0, 0, 0])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![0, 0, 0x02, 0x22, 0, 0, 0, 0]),
    };
    vec![rule([dhcp, drop()], Some("no DHCP servers among guests"))]
}

/// ICMPv6. Which address a message is about is no field that nft 1.0 can look up, neither as text nor as JSON. So it is put into
/// the place of the packet's source or destination, looked up there, and what stood there is put back, as far as it is known.
fn messages() -> Vec<NftRule> {
    let kind = |kind| NftExpr::eq(NftField::IcmpType, NftValue::U8(kind));
    let dad = [is(IPV6), from_nobody6(), kind(135), goto(PROBING)];
    vec![
        rule([kind(134), drop()], Some("no routers among guests")),
        rule([kind(136), goto(ADVERTISED)], None),
        // Neighbour solicitation from nobody: for another's address it would keep that from being used.
        rule(dad, Some("duplicate address detection (RFC 4862)")),
    ]
}

/// What becomes of a message whose address, put in this place, is the guest's own; all others are dropped. Each rule is one with
/// what it rests on: where an address cannot be written, it is not looked up either.
fn about_own(place: NftField, before: Option<Ipv6Addr>, verdict: &NftExpr) -> Vec<NftRule> {
    use NftField::{EtherSaddr, Icmpv6Target, IifName};
    let put = |from| NftExpr::Write { field: place, from };
    let own = [HOSTS[1], NETWORKS[1]].map(|set| {
        let looked_up = [is(IPV6), put(NftFrom::Field(Icmpv6Target)), lookup(&[IifName, EtherSaddr, place], set)];
        let back = before.map(|address| put(NftFrom::Value(NftValue::Ipv6(address))));
        rule(looked_up.into_iter().chain(back).chain([verdict.clone()]), None)
    });
    own.into_iter().chain([rule([drop()], Some("nobody speaks for another's address"))]).collect()
}

/// Neighbour advertisement: what it says of an address counts, not where it comes from.
fn advertised() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IifName, Ip6Daddr, Ip6Saddr};
    let all = NftExpr::eq(Ip6Daddr, NftValue::Ipv6(ALL_NODES));
    let mut rules = vec![rule([is(IPV6), all, goto(TO_ALL)], None)];
    let from_own = |set| rule([is(IPV6), lookup(&[IifName, EtherSaddr, Ip6Saddr], set), goto(TO_ONE)], None);
    rules.extend([HOSTS[1], NETWORKS[1]].map(from_own));
    rules.push(rule([drop()], Some("nobody speaks for another's address")));
    rules
}

fn from_nobody6() -> NftExpr {
    NftExpr::eq(NftField::Ip6Saddr, NftValue::Ipv6(Ipv6Addr::UNSPECIFIED))
}

/// What a guest may send that is bound to its MAC.
fn bound() -> Vec<NftRule> {
    use NftField::{ArpSaddrEther, EtherSaddr, IifName};
    let mut rules = vec![to_the_bridge(), rule([other_than(&[IifName, EtherSaddr], MACS), drop()], None)];
    rules.extend(TAGS.map(|tag| {
        let other = [other_than(&[IifName, ArpSaddrEther], MACS), drop()];
        rule(ethernet_arp(tag, None).into_iter().chain(other), None)
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
    rule([to, drop()], Some("for bridges only (IEEE 802.1D)"))
}

/// The protocols in the ethernet header of frames with ARP: none but ARP's own, and two that carry a tag before it.
const TAGS: [Option<u16>; 3] = [None, Some(0x8100), Some(0x88a8)];

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
