//! The gate: what guests in NAT and routed modes may send, whom NAT hides, and what is handed on to them, as one nft table.
//!
//! * What comes in by a guest's link must come from one of its addresses, and what comes in by a private bridge from one of its
//!   network's, besides what a station needs to get an address and to find its neighbours. This stands before connection tracking, so what is forged leaves nothing behind there.
//! * A hidden guest's connections leave by the egress with this domain's address, and by no other link. Nobody reaches it but this
//!   domain, guests that may, and over a connection of its own or one that is handed on: a route outside that leads here is no way
//!   around NAT, whatever link it comes in by.
//! * Connections to any address of this domain can be handed on to guests, from outside, from this domain and from other guests.
//!   Where both ends are behind the same link the source is translated, too, so that answers come back here.
//!
//! Accepting in a table of ours cannot undo what an administrator's own table drops, nor the other way round.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::sync::OnceLock;

use ipnetwork::{IpNetwork, Ipv6Network};

use super::rules::{
    AUTHENTICATION, COUNTING, ICMP, ICMPV6, IGMP, NO_ADDRESS, NO_DHCP_SERVERS, NO_ROUTERS, PIM, TCP, UDP, VIOLATION,
    VRRP, accept, authenticated, back, denied, denied_in, dhcp_client, drop, first_fragment, goto, jump, lookup,
    membership, other_than, over, ports, rule, violation,
};
use super::{Derived, Section, Sections, SetDef, Table, limits, logging};
use crate::gather;
use crate::model::{Network, NetworkMode, Violation};
use crate::snapshot::{
    Family, NftBase, NftChain, NftChainKind, NftCmp, NftExpr, NftField, NftFrom, NftHeader, NftHook, NftKey, NftNat,
    NftNatData, NftNatTo, NftPolicy, NftRule, NftTable, NftTableId, NftType, NftValue,
};

/// Links whose guests may send from declared addresses only.
pub(crate) const LINKS: &str = "links";
/// Link and address of a guest.
pub(crate) const SOURCES: [&str; 2] = ["src4", "src6"];
pub(crate) const SOURCE_NETWORKS: [&str; 2] = ["srcnet4", "srcnet6"];
/// From a link to the number of its domain, if the domain's links may send from each other's addresses. Number and address.
pub(crate) const OF_DOMAIN: &str = "of-domain";
pub(crate) const SHARED: [&str; 2] = ["shared4", "shared6"];
/// Egress and address of a hidden guest.
pub(crate) const HIDDEN: [&str; 2] = ["masq4", "masq6"];
pub(crate) const HIDDEN_NETWORKS: [&str; 2] = ["masqnet4", "masqnet6"];
/// Links of hidden guests: vifs, and private bridges.
pub(crate) const HIDDEN_LINKS: &str = "hidden";
/// Of these, the links of networks without subnets, which every guest may connect to: nobody can tell their guests from others.
pub(crate) const OPEN: &str = "open";
/// A private bridge, twice: what comes from one of its guests and goes to another.
pub(crate) const BRIDGED: &str = "bridged";
/// From which guests' networks one may connect to which hidden guests' networks.
pub(crate) const REACH: [&str; 2] = ["reach4", "reach6"];
/// Networks of guests that are kept from each other.
pub(crate) const APART: [&str; 2] = ["apart4", "apart6"];
/// Private bridge and network of its guests.
pub(crate) const INSIDE: [&str; 2] = ["inside4", "inside6"];
/// From protocol and port of this domain to the address of a guest, and to its port. Two maps: of data with two fields the nft
/// tool prints JSON that it does not read.
pub(crate) const FORWARDS: [&str; 2] = ["forward4", "forward6"];
pub(crate) const PORTS: [&str; 2] = ["port4", "port6"];
/// From protocol and a range of this domain's ports to the address of a guest, whose ports have the same numbers: one element for each
/// range.
pub(crate) const FORWARD_RANGES: [&str; 2] = ["forwardrange4", "forwardrange6"];

/// A chain: what a link with declared addresses may send.
pub(crate) const FROM_GUEST: &str = "from-guest";
/// A chain: what no guest may say, in whatever name.
const MESSAGES: &str = "messages";
/// Chains: of these, the messages of ICMP of each family, the datagrams of UDP, IGMP, and what is behind an authentication header.
const CONTROL: [&str; 2] = ["control4", "control6"];
const DATAGRAMS: [&str; 2] = ["datagrams4", "datagrams6"];
const MEMBERSHIP: &str = "membership";
const AUTHENTICATED: &str = "authenticated";
/// A chain: what a station says that looks for its neighbours.
const DISCOVERY: &str = "discovery";

/// A chain: what is sent from one guest to another that it is kept apart from.
const KEPT_APART: &str = "kept-apart";
/// Chains: what passes through to a hidden guest, and from one.
const TO_HIDDEN: &str = "to-hidden";
const FROM_HIDDEN: &str = "from-hidden";

/// The table.
pub(crate) static GATE: Table = Table {
    id: NftTableId::gate,
    sections: &SECTIONS,
    frames: [const { OnceLock::new() }; Sections::CHOICES],
    chains,
    derived,
    follows,
    ways_out: ["stop the networks with NAT and routes and detach their guests", "start and attach them again"],
};

/// What follows from the elements of another version's gate: which links are those of hidden guests. Earlier versions hid them on the egress
/// alone, and let every guest connect to them. So they stay open to guests until they are attached again.
fn derived(found: &NftTable) -> Derived {
    if found.sets.contains_key(HIDDEN_LINKS) {
        return Vec::new();
    }
    let keys = |sets: [&'static str; 2]| {
        sets.into_iter().filter_map(|set| found.sets.get(set)).flat_map(|s| s.elements.keys())
    };
    // Behind the link, whatever it is.
    let behind = |key: &NftKey| (key.first[1..].to_vec(), key.last.as_ref().map(|last| last[1..].to_vec()));
    let hidden: BTreeSet<_> = [HIDDEN, HIDDEN_NETWORKS].into_iter().flat_map(keys).map(behind).collect();
    let sources = [SOURCES, SOURCE_NETWORKS].into_iter().flat_map(keys);
    let links: BTreeSet<&NftValue> =
        sources.filter(|key| hidden.contains(&behind(key))).filter_map(|key| key.first.first()).collect();
    let bridges: BTreeSet<&NftValue> = keys(INSIDE).filter_map(|key| key.first.first()).collect();
    let one = |link: &&NftValue| NftKey::exact([(*link).clone()]);
    let twice = |link: &&NftValue| NftKey::exact([(*link).clone(), (*link).clone()]);
    vec![
        (HIDDEN_LINKS, links.iter().map(one).collect()),
        (OPEN, links.difference(&bridges).map(one).collect()),
        (BRIDGED, bridges.iter().map(twice).collect()),
    ]
}

/// Every link could be one of a hidden guest.
fn follows(found: &NftTable) -> Derived {
    let links: Vec<NftKey> = found.sets.get(LINKS).into_iter().flat_map(|set| set.elements.keys().cloned()).collect();
    vec![(HIDDEN_LINKS, links.clone()), (OPEN, links)]
}

/// What all guests need; what keeps guests with routes from each other; what hides guests by NAT and hands on to them; what limits what guests
/// reach; the two logs.
static SECTIONS: [Section; 6] = [
    Section::of(
        0x782d_bd09,
        &[
            // In the order of their names, as a scope has them.
            (AUTHENTICATED, 8),
            (CONTROL[0], 3),
            (CONTROL[1], 10),
            (DATAGRAMS[0], 3),
            (DATAGRAMS[1], 5),
            (DISCOVERY, 10),
            (FROM_GUEST, 14),
            (MEMBERSHIP, 6),
            (MESSAGES, 13),
            (logging::NOTED, 1),
            ("prerouting", 1),
            (VIOLATION, 24),
        ],
        &CHECKING,
    ),
    Section::of(0x32ca_fe07, &[("apart", 2), (KEPT_APART, 6)], &KEEPING_APART),
    Section::of(
        0x37cf_fba1,
        &[("forward", 5), (FROM_HIDDEN, 7), ("handing-on", 4), ("handing-on-own", 4), ("hiding", 10), (TO_HIDDEN, 6)],
        &TRANSLATING,
    ),
    limits::section(),
    logging::kernel(0xc33f_e69b),
    logging::nflog(0x0caf_a55b),
];

const V4: &[NftType] = &[NftType::IfName, NftType::Ipv4Addr];
const V6: &[NftType] = &[NftType::IfName, NftType::Ipv6Addr];

const CHECKING: [SetDef; 10] = [
    SetDef::of(LINKS, &[NftType::IfName]),
    SetDef::of(SOURCES[0], V4),
    SetDef::of(SOURCES[1], V6),
    SetDef::ranges(SOURCE_NETWORKS[0], V4),
    SetDef::ranges(SOURCE_NETWORKS[1], V6),
    COUNTING[0],
    COUNTING[1],
    SetDef { data: &[NftType::Mark], ..SetDef::of(OF_DOMAIN, &[NftType::IfName]) },
    SetDef::of(SHARED[0], &[NftType::Mark, NftType::Ipv4Addr]),
    SetDef::of(SHARED[1], &[NftType::Mark, NftType::Ipv6Addr]),
];

const PAIR4: &[NftType] = &[NftType::Ipv4Addr, NftType::Ipv4Addr];
const PAIR6: &[NftType] = &[NftType::Ipv6Addr, NftType::Ipv6Addr];

const KEEPING_APART: [SetDef; 2] = [SetDef::ranges(APART[0], PAIR4), SetDef::ranges(APART[1], PAIR6)];

const TRANSLATING: [SetDef; 17] = {
    const PORT: &[NftType] = &[NftType::InetProto, NftType::InetService];
    const fn map(name: &'static str, data: &'static [NftType]) -> SetDef {
        SetDef { data, ..SetDef::of(name, PORT) }
    }
    const fn ranges(name: &'static str, data: &'static [NftType]) -> SetDef {
        SetDef { data, ..SetDef::ranges(name, PORT) }
    }
    [
        SetDef::of(HIDDEN[0], V4),
        SetDef::of(HIDDEN[1], V6),
        SetDef::ranges(HIDDEN_NETWORKS[0], V4),
        SetDef::ranges(HIDDEN_NETWORKS[1], V6),
        SetDef::of(HIDDEN_LINKS, &[NftType::IfName]),
        SetDef::of(OPEN, &[NftType::IfName]),
        SetDef::of(BRIDGED, &[NftType::IfName, NftType::IfName]),
        SetDef::ranges(REACH[0], PAIR4),
        SetDef::ranges(REACH[1], PAIR6),
        SetDef::ranges(INSIDE[0], V4),
        SetDef::ranges(INSIDE[1], V6),
        map(FORWARDS[0], &[NftType::Ipv4Addr]),
        map(FORWARDS[1], &[NftType::Ipv6Addr]),
        map(PORTS[0], &[NftType::InetService]),
        map(PORTS[1], &[NftType::InetService]),
        ranges(FORWARD_RANGES[0], &[NftType::Ipv4Addr]),
        ranges(FORWARD_RANGES[1], &[NftType::Ipv6Addr]),
    ]
};

/// The place of a family in what there is for each.
pub(crate) fn at(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

/// The sections of the gate that a network and its guests need; `None` where they need none.
pub(crate) fn sections(network: &Network) -> Option<Sections> {
    let limits = !(network.host().is_open() && network.lan().is_open());
    let own = match network.mode() {
        NetworkMode::Bridge(_) => return None,
        NetworkMode::Routed(r) => r.isolated.then_some(1),
        NetworkMode::Nat(_) => Some(2),
    };
    Some(own.into_iter().chain(limits.then_some(3)).collect())
}

/// Whether it is one of the gate's sets that say whom NAT hides.
pub(crate) fn hides(set: &str) -> bool {
    HIDDEN.into_iter().chain(HIDDEN_NETWORKS).any(|name| name == set)
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
pub(super) fn is(family: Family) -> NftExpr {
    let number = match family {
        Family::Ipv4 => 2,
        Family::Ipv6 => 10,
    };
    NftExpr::eq(NftField::NfProto, NftValue::U8(number))
}

const FAMILIES: [Family; 2] = [Family::Ipv4, Family::Ipv6];

/// `RTN_LOCAL`: an address of this domain.
const LOCAL: u32 = 2;
/// `NF_CT_STATE_BIT`s of invalid, and of established and related.
const INVALID: u32 = 1;
pub(super) const GOING_ON: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const HANDED_ON: u32 = 32;

pub(super) fn source(family: Family) -> NftField {
    match family {
        Family::Ipv4 => NftField::IpSaddr,
        Family::Ipv6 => NftField::Ip6Saddr,
    }
}

pub(super) fn destination(family: Family) -> NftField {
    match family {
        Family::Ipv4 => NftField::IpDaddr,
        Family::Ipv6 => NftField::Ip6Daddr,
    }
}

/// The protocol field of the IP header. In IPv6 it names the next header, so a range does not match ports behind extension headers.
fn protocol(family: Family) -> NftField {
    match family {
        Family::Ipv4 => NftField::IpProtocol,
        Family::Ipv6 => NftField::Ip6NextHeader,
    }
}

fn chains() -> BTreeMap<String, NftChain> {
    use NftChainKind::{Filter, Nat};
    let base = |kind, hook, priority, rules| {
        let base = NftBase { kind, hook, priority, policy: NftPolicy::Accept };
        NftChain { base: Some(base), rules }
    };
    let entry = vec![rule([lookup(&[NftField::IifName], LINKS), goto(FROM_GUEST)], None)];
    let noted = logging::chains().map(|(name, chain)| (name.to_owned(), chain));
    gather::map(limits::chains().into_iter().chain(noted).chain([
        // Where `raw` is, before connection tracking. Fragments are reassembled before it only where somebody tracks connections.
        ("prerouting".into(), base(Filter, NftHook::Prerouting, -300, entry)),
        (FROM_GUEST.into(), NftChain { base: None, rules: from_guest() }),
        (MESSAGES.into(), NftChain { base: None, rules: messages() }),
        (CONTROL[0].into(), NftChain { base: None, rules: control4() }),
        (CONTROL[1].into(), NftChain { base: None, rules: control6() }),
        (DATAGRAMS[0].into(), NftChain { base: None, rules: datagrams4() }),
        (DATAGRAMS[1].into(), NftChain { base: None, rules: datagrams6() }),
        (MEMBERSHIP.into(), NftChain { base: None, rules: membership() }),
        (AUTHENTICATED.into(), NftChain { base: None, rules: authenticated() }),
        (DISCOVERY.into(), NftChain { base: None, rules: discovery() }),
        (VIOLATION.into(), NftChain { base: None, rules: violation() }),
        (KEPT_APART.into(), NftChain { base: None, rules: violation() }),
        ("apart".into(), base(Filter, NftHook::Forward, 0, apart())),
        ("handing-on".into(), base(Nat, NftHook::Prerouting, -100, handing_on())),
        ("handing-on-own".into(), base(Nat, NftHook::Output, -100, handing_on())),
        ("hiding".into(), base(Nat, NftHook::Postrouting, 100, hiding())),
        ("forward".into(), base(Filter, NftHook::Forward, 0, forward())),
        (TO_HIDDEN.into(), NftChain { base: None, rules: to_hidden() }),
        (FROM_HIDDEN.into(), NftChain { base: None, rules: from_hidden() }),
    ]))
}

/// What a link with declared addresses may send.
fn from_guest() -> Vec<NftRule> {
    use NftField::{IifName, Ip6Daddr, Ip6Saddr, IpSaddr};
    let other_than_tcp = NftExpr::ne(NftField::L4Proto, NftValue::U8(TCP));
    let mut rules = vec![rule([is(Family::Ipv4), other_than_tcp, jump(MESSAGES)], None)];
    // What nearly all packets are.
    rules.extend([SOURCES, SOURCE_NETWORKS].map(|sets| {
        let own = lookup(&[IifName, IpSaddr], sets[at(Family::Ipv4)]);
        rule([is(Family::Ipv4), own, accept()], None)
    }));
    let v6 = |more: Vec<NftExpr>, comment| rule([is(Family::Ipv6)].into_iter().chain(more), comment);
    rules.push(v6(vec![jump(MESSAGES)], None));
    rules.extend(
        [SOURCES, SOURCE_NETWORKS]
            .map(|sets| v6(vec![lookup(&[IifName, Ip6Saddr], sets[at(Family::Ipv6)]), accept()], None)),
    );
    rules.push(dhcp_client(is(Family::Ipv4)));
    // Nobody forwards these, so they end here.
    let (from, to) = (NftExpr::within(Ip6Saddr, LINK_LOCAL), NftExpr::within(Ip6Daddr, LINK_LOCAL));
    rules.push(v6(vec![from.clone(), to, accept()], Some("to this domain's own link-local address")));
    rules.push(v6(vec![from, goto(DISCOVERY)], None));
    rules.push(v6(vec![NftExpr::eq(Ip6Saddr, NftValue::Ipv6(Ipv6Addr::UNSPECIFIED)), goto(DISCOVERY)], None));
    rules.extend(FAMILIES.map(of_its_domain));
    rules.push(denied([], Violation::Address, Some(NO_ADDRESS)));
    rules
}

/// Lets a guest send from the address of another of its vifs, if its network says so. The mark holds the number of the guest's domain while
/// the address is looked up.
fn of_its_domain(family: Family) -> NftRule {
    let from = NftFrom::Map { key: vec![NftField::IifName], map: OF_DOMAIN.into() };
    let domain = NftExpr::Write { field: NftField::Mark, from };
    let own = lookup(&[NftField::Mark, source(family)], SHARED[at(family)]);
    rule([is(family), domain, own, NftExpr::SetMark(0), accept()], Some("from another vif of the guest's"))
}

/// What no guest may say, whatever source it says it from: it would speak for routers, for DHCP servers, or for whoever asks who
/// listens to multicast. TCP returns at once.
///
/// Without connection tracking the kernel has not reassembled fragments here. A first fragment must show the type or the ports; later
/// ones pass, since nobody makes a message of them without the first.
fn messages() -> Vec<NftRule> {
    use NftField::L4Proto;
    let of = |family, protocol, chain| rule([is(family), over(protocol), goto(chain)], None);
    vec![
        rule([over(TCP), back()], None),
        of(Family::Ipv6, UDP, DATAGRAMS[at(Family::Ipv6)]),
        of(Family::Ipv4, UDP, DATAGRAMS[at(Family::Ipv4)]),
        // nft takes each of the two for one family's, and says no other word about it.
        rule([over(ICMPV6), goto(CONTROL[at(Family::Ipv6)])], None),
        rule([over(ICMP), goto(CONTROL[at(Family::Ipv4)])], None),
        of(Family::Ipv4, IGMP, MEMBERSHIP),
        rule([over(AUTHENTICATION), goto(AUTHENTICATED)], None),
        denied([over(VRRP)], Violation::Router, Some(NO_ROUTERS)),
        denied([over(PIM)], Violation::Router, Some(NO_ROUTERS)),
        // No packet has 255. Where the headers of IPv6 lead into another fragment, none is known, and no comparison fits.
        rule([NftExpr::ne(L4Proto, NftValue::U8(255)), back()], None),
        denied([], Violation::Unreadable, Some("what it is comes in another fragment")),
    ]
}

/// IPv6: a later fragment, whose fragment header begins where the IPv6 header ends.
fn later_fragment6() -> NftRule {
    // The two bytes behind the two of the fragment header; three bits are no part of the offset.
    let offset = NftField::Payload { header: NftHeader::Network, offset: 42, bytes: 2 };
    let later = NftExpr::Match {
        field: offset,
        mask: Some(NftValue::Bytes(vec![0xff, 0xf8])),
        op: NftCmp::Ne,
        value: NftValue::Bytes(vec![0, 0]),
    };
    let fragment = NftExpr::eq(NftField::Ip6NextHeader, NftValue::U8(FRAGMENT));
    rule([is(Family::Ipv6), fragment, later, back()], Some("a later fragment"))
}

/// ICMPv6.
fn control6() -> Vec<NftRule> {
    let kind = |test: NftExpr| [is(Family::Ipv6), over(ICMPV6), test];
    let said = |(kind_of, why)| {
        denied(kind(NftExpr::eq(NftField::IcmpType, NftValue::U8(kind_of))), Violation::Router, Some(why))
    };
    let mut rules = vec![later_fragment6()];
    rules.extend(NO_GUESTS6.map(said));
    // Any other that is there to be read.
    let other = kind(NftExpr::ne(NftField::IcmpType, NftValue::U8(NO_GUESTS6[0].0)));
    rules.push(rule(other.into_iter().chain([back()]), None));
    rules.push(denied([], Violation::Unreadable, Some("what it is comes in another fragment")));
    rules
}

/// ICMP. A type is in the first fragment.
fn control4() -> Vec<NftRule> {
    let said = |kind| {
        let kind = NftExpr::eq(NftField::IcmpType, NftValue::U8(kind));
        denied([is(Family::Ipv4), over(ICMP), kind, first_fragment()], Violation::Router, Some(NO_ROUTERS))
    };
    [5, 9].map(said).into()
}

/// UDP over IPv4: ports are in the first fragment.
fn datagrams4() -> Vec<NftRule> {
    let port = |field, port| {
        let port = NftExpr::eq(field, NftValue::U16(port));
        let exprs = [is(Family::Ipv4), over(UDP), port, first_fragment()];
        denied(exprs, Violation::DhcpServer, Some(NO_DHCP_SERVERS))
    };
    vec![port(NftField::ThSport, 67), port(NftField::ThDport, 68)]
}

/// UDP over IPv6.
fn datagrams6() -> Vec<NftRule> {
    // Source port, destination port, length, checksum: eight bytes at once, which the kernel does not read from a later
    // fragment. (Two it does, from a wrong place.)
    let header = |op, mask: [u8; 4], value: [u8; 4]| NftExpr::Match {
        field: NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 8 },
        mask: Some(NftValue::Bytes([mask, [0; 4]].concat())),
        op,
        value: NftValue::Bytes([value, [0; 4]].concat()),
    };
    let from_server = header(NftCmp::Eq, [0xff, 0xff, 0, 0], [0x02, 0x23, 0, 0]);
    let not_to_client = header(NftCmp::Ne, [0, 0, 0xff, 0xff], [0, 0, 0x02, 0x22]);
    vec![
        later_fragment6(),
        denied([from_server], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
        rule([not_to_client, back()], None),
        denied(
            [],
            Violation::DhcpServer,
            Some("no DHCP servers among guests, and no ports that come in another fragment"),
        ),
    ]
}

/// `IPPROTO_FRAGMENT`.
const FRAGMENT: u8 = 44;
/// Messages of ICMPv6 that are no guest's: router advertisement and redirect (RFC 4861), router renumbering (RFC 2894), multicast
/// listener query (RFC 3810), multicast router advertisement and termination (RFC 4286).
const NO_GUESTS6: [(u8, &str); 6] = [
    (134, NO_ROUTERS),
    (137, NO_ROUTERS),
    (138, NO_ROUTERS),
    (130, "no multicast routers among guests"),
    (151, "no multicast routers among guests"),
    (153, "no multicast routers among guests"),
];

/// What a station says that has no address yet, or looks for its neighbours.
fn discovery() -> Vec<NftRule> {
    use NftField::IcmpType;
    let said = |kind| rule([is(Family::Ipv6), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind)), accept()], None);
    // Router and neighbour solicitation, neighbour advertisement; reports of multicast listeners, which go with them.
    let mut rules: Vec<NftRule> = [133, 135, 136, 131, 132, 143].map(said).into();
    rules.push(rule([over(UDP), ports(546, 547), accept()], Some("DHCPv6 client")));
    rules.push(denied([], Violation::Address, Some(NO_ADDRESS)));
    rules
}

const LINK_LOCAL: IpNetwork = match Ipv6Network::new_checked(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10) {
    Some(network) => IpNetwork::V6(network),
    None => panic!("a prefix of IPv6 has 128 bits"),
};

/// Connections to an address of this domain that others can reach, too.
fn handing_on() -> Vec<NftRule> {
    let rules = FAMILIES.into_iter().flat_map(|family| {
        let to_us = NftExpr::eq(NftField::FibDaddrType, NftValue::U32(LOCAL));
        // What this domain says to itself stays so.
        let outer = match family {
            // 127.0.0.0/8 by its first byte.
            Family::Ipv4 => {
                let first = NftField::Payload { header: NftHeader::Network, offset: 16, bytes: 1 };
                NftExpr::ne(first, NftValue::Bytes(vec![127]))
            }
            Family::Ipv6 => NftExpr::ne(NftField::Ip6Daddr, NftValue::Ipv6(Ipv6Addr::LOCALHOST)),
        };
        let key = vec![NftField::L4Proto, NftField::ThDport];
        let (address, port) = (FORWARDS[at(family)].into(), PORTS[at(family)].into());
        let one = NftNatTo::Maps { key, address, port };
        // In keys with ranges nft swaps the bytes of `meta l4proto`, which an expression of ours does not; a header's field needs no swap.
        let key = vec![protocol(family), NftField::ThDport];
        let many = NftNatTo::Map { key, map: FORWARD_RANGES[at(family)].into(), data: NftNatData::Address };
        [one, many].map(move |to| {
            let translated = NftExpr::Nat { side: NftNat::Destination, family, to };
            rule([to_us.clone(), is(family), outer.clone(), translated], None)
        })
    });
    rules.collect()
}

/// What leaves with an address of this domain.
fn hiding() -> Vec<NftRule> {
    let mut rules = Vec::new();
    for family in FAMILIES {
        for sets in [HIDDEN, HIDDEN_NETWORKS] {
            let leaves = lookup(&[NftField::OifName, source(family)], sets[at(family)]);
            rules.push(rule([is(family), leaves, NftExpr::Masquerade], None));
        }
        let both = [source(family), destination(family)].map(|f| lookup(&[NftField::OifName, f], INSIDE[at(family)]));
        let handed_on = [NftExpr::ct_status(HANDED_ON), is(family)];
        let inside = handed_on.clone().into_iter().chain(both).chain([NftExpr::Masquerade]);
        rules.push(rule(inside, Some("handed on to a neighbour on the same bridge")));
        // Else the guest would see a packet from itself.
        for sets in [SOURCES, SOURCE_NETWORKS] {
            let itself = lookup(&[NftField::OifName, source(family)], sets[at(family)]);
            let exprs = handed_on.clone().into_iter().chain([itself, NftExpr::Masquerade]);
            rules.push(rule(exprs, Some("handed on to where it came from")));
        }
    }
    rules
}

/// Guests with routes that are kept from each other. Both directions are dropped, so connections need not be tracked.
fn apart() -> Vec<NftRule> {
    let between = |family| {
        let ends = lookup(&[source(family), destination(family)], APART[at(family)]);
        let exprs = [lookup(&[NftField::IifName], LINKS), is(family), ends];
        denied_in(KEPT_APART, exprs, Violation::Isolated, Some("kept from its neighbours"))
    };
    FAMILIES.map(between).into()
}

/// What passes through. Established connections end here; of a new one both ends are looked at.
fn forward() -> Vec<NftRule> {
    use NftField::{IifName, OifName};
    let untranslated =
        [NftExpr::ct_state(INVALID), lookup(&[IifName], HIDDEN_LINKS), other_than(&[OifName], LINKS), drop()];
    vec![
        rule([NftExpr::ct_state(GOING_ON), accept()], None),
        // Address translation leaves alone what belongs to no connection.
        rule(untranslated, Some("would leave untranslated")),
        rule([NftExpr::ct_status(HANDED_ON), accept()], None),
        rule([lookup(&[OifName], HIDDEN_LINKS), goto(TO_HIDDEN)], None),
        rule([lookup(&[IifName], HIDDEN_LINKS), goto(FROM_HIDDEN)], None),
    ]
}

/// To a hidden guest: from guests only, whose addresses are checked where they come in, and from those of them that may.
fn to_hidden() -> Vec<NftRule> {
    use NftField::{IifName, OifName};
    let mut rules = vec![rule([lookup(&[IifName, OifName], BRIDGED), accept()], Some("neighbours on one bridge"))];
    rules.extend(FAMILIES.map(|family| {
        let reach = lookup(&[source(family), destination(family)], REACH[at(family)]);
        rule([lookup(&[IifName], LINKS), is(family), reach, accept()], None)
    }));
    rules.push(rule([lookup(&[IifName], LINKS), lookup(&[OifName], OPEN), accept()], Some("without subnets")));
    rules.push(rule([drop()], Some("hidden on every link but its network's")));
    rules
}

/// From a hidden guest: to other guests as it is, and by the egress with an address of this domain.
fn from_hidden() -> Vec<NftRule> {
    let mut rules = vec![rule([lookup(&[NftField::OifName], LINKS), accept()], Some("to guests with routes"))];
    for family in FAMILIES {
        for sets in [HIDDEN, HIDDEN_NETWORKS] {
            let leaves = lookup(&[NftField::OifName, source(family)], sets[at(family)]);
            rules.push(rule([is(family), leaves, accept()], None));
        }
    }
    rules.push(rule([drop()], Some("would leave untranslated")));
    rules
}
