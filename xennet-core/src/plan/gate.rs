//! The gate: what guests in NAT and routed modes may send, whom NAT hides, and what is handed on to them, as one nft table.
//!
//! * What comes in by a guest's link must come from one of its addresses, and what comes in by a private bridge from one of its
//!   network's, besides what a station needs to get an address and to find its neighbours. This stands before connection tracking, so what is forged leaves nothing behind there.
//! * A hidden guest's connections leave by the egress with this domain's address. From that link nobody reaches it but over a
//!   connection of its own, or one that is handed on: a route outside that leads here is no way around NAT.
//! * Connections to any address of this domain can be handed on to guests, from outside, from this domain and from other guests.
//!   Where both ends are behind the same link the source is translated, too, so that answers come back here.
//!
//! Accepting in a table of ours cannot undo what an administrator's own table drops, nor the other way round.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::LazyLock;

use ipnetwork::{IpNetwork, Ipv6Network};

use super::rules::{ICMPV6, UDP, accept, back, dhcp_client, drop, goto, jump, lookup, over, ports, rule};
use super::table::{Item, Level, SetDef, Table};
use crate::error::Error;
use crate::gather;
use crate::model::{Attach, Attachment, GuestLinks, IfName, Network, NetworkMode, PortForward, Started, apart};
use crate::snapshot::{
    Family, NftBase, NftChain, NftChainKind, NftCmp, NftExpr, NftField, NftHeader, NftHook, NftNat, NftNatTo,
    NftPolicy, NftRule, NftTableId, NftType, NftValue, Part, Scope, Snapshot,
};

/// Links whose guests may send from declared addresses only.
const LINKS: &str = "links";
/// Link and address of a guest.
const SOURCES: [&str; 2] = ["src4", "src6"];
const SOURCE_NETWORKS: [&str; 2] = ["srcnet4", "srcnet6"];
/// Egress and address of a hidden guest.
const HIDDEN: [&str; 2] = ["masq4", "masq6"];
const HIDDEN_NETWORKS: [&str; 2] = ["masqnet4", "masqnet6"];
/// Private bridge and network of its guests.
const INSIDE: [&str; 2] = ["inside4", "inside6"];
/// From protocol and port of this domain to the address of a guest, and to its port. Two maps: of data with two fields the nft
/// tool prints JSON that it does not read.
const FORWARDS: [&str; 2] = ["forward4", "forward6"];
const PORTS: [&str; 2] = ["port4", "port6"];

/// A chain: what a link with declared addresses may send.
const FROM_GUEST: &str = "from-guest";
/// A chain: what no guest may say, in whatever name.
const MESSAGES: &str = "messages";
/// A chain: what a station says that looks for its neighbours.
const DISCOVERY: &str = "discovery";

/// The table.
pub(super) static GATE: Table = Table {
    id: NftTableId::gate,
    levels: &LEVELS,
    chains,
    ways_out: ["stop the networks with NAT and routes and detach their guests", "start and attach them again"],
};

/// What the gate is for all guests, and what it has more where NAT hides some or hands on to them.
static LEVELS: [Level; 2] = [
    Level {
        version: 0xc528_5f2e,
        uses: &[("prerouting", 1), (FROM_GUEST, 11), (MESSAGES, 7), (DISCOVERY, 10)],
        sets: &CHECKING,
        frame: LazyLock::new(|| GATE.frame(0)),
    },
    Level {
        version: 0x76f4_bc29,
        uses: &[("handing-on", 2), ("handing-on-own", 2), ("hiding", 10), ("forward", 10)],
        sets: &TRANSLATING,
        frame: LazyLock::new(|| GATE.frame(1)),
    },
];

const V4: &[NftType] = &[NftType::IfName, NftType::Ipv4Addr];
const V6: &[NftType] = &[NftType::IfName, NftType::Ipv6Addr];

const CHECKING: [SetDef; 5] = [
    SetDef::of(LINKS, &[NftType::IfName]),
    SetDef::of(SOURCES[0], V4),
    SetDef::of(SOURCES[1], V6),
    SetDef::ranges(SOURCE_NETWORKS[0], V4),
    SetDef::ranges(SOURCE_NETWORKS[1], V6),
];

const TRANSLATING: [SetDef; 10] = {
    const PORT: &[NftType] = &[NftType::InetProto, NftType::InetService];
    const fn map(name: &'static str, data: &'static [NftType]) -> SetDef {
        SetDef { data, ..SetDef::of(name, PORT) }
    }
    [
        SetDef::of(HIDDEN[0], V4),
        SetDef::of(HIDDEN[1], V6),
        SetDef::ranges(HIDDEN_NETWORKS[0], V4),
        SetDef::ranges(HIDDEN_NETWORKS[1], V6),
        SetDef::ranges(INSIDE[0], V4),
        SetDef::ranges(INSIDE[1], V6),
        map(FORWARDS[0], &[NftType::Ipv4Addr]),
        map(FORWARDS[1], &[NftType::Ipv6Addr]),
        map(PORTS[0], &[NftType::InetService]),
        map(PORTS[1], &[NftType::InetService]),
    ]
};

fn at(family: Family) -> usize {
    match family {
        Family::Ipv4 => 0,
        Family::Ipv6 => 1,
    }
}

fn family_of(network: &IpNetwork) -> usize {
    at(Family::of(&network.ip()))
}

fn address(ip: IpAddr) -> NftValue {
    match ip {
        IpAddr::V4(a) => NftValue::Ipv4(a),
        IpAddr::V6(a) => NftValue::Ipv6(a),
    }
}

/// What a link has to have whose guest may send from these addresses only.
pub(super) fn checked(link: IfName, sources: &[IpNetwork]) -> Vec<Item> {
    let name = NftValue::Name(link);
    let mut out = vec![Item::exact(LINKS, std::slice::from_ref(&name))];
    out.extend(apart(sources.iter().copied()).into_iter().map(|n| {
        let family = family_of(&n);
        Item::network(SOURCES[family], SOURCE_NETWORKS[family], std::slice::from_ref(&name), n)
    }));
    out
}

/// What has to be looked at to see whether a link is known to the gate at all.
pub(super) fn membership(link: &IfName) -> Scope {
    GATE.scope(&[Item::exact(LINKS, &[NftValue::Name(*link)])])
}

/// What addresses have to have that NAT hides where they leave by this link.
pub(super) fn hidden(egress: IfName, guests: &[IpNetwork]) -> Vec<Item> {
    let name = NftValue::Name(egress);
    let item = |n: IpNetwork| {
        let family = family_of(&n);
        Item::network(HIDDEN[family], HIDDEN_NETWORKS[family], std::slice::from_ref(&name), n)
    };
    apart(guests.iter().copied()).into_iter().map(item).collect()
}

/// The level of the gate that a network and its guests need; `None` where they need none.
pub(super) fn level(network: &Network) -> Option<usize> {
    match network.mode() {
        NetworkMode::Bridge(_) => None,
        NetworkMode::Routed(_) => Some(0),
        NetworkMode::Nat(_) => Some(1),
    }
}

/// Whether NAT hides an address of this guest already, whoever had it before.
pub(crate) fn is_hidden(a: &Attach, now: &Snapshot) -> bool {
    match &a.attachment {
        Attachment::Nat { egress: Some(egress), guest, .. } => {
            hidden(*egress, guest).iter().any(|item| GATE.find(now, item).is_some())
        }
        _ => false,
    }
}

/// Whether it is one of the gate's sets that say whom NAT hides.
pub(crate) fn hides(set: &str) -> bool {
    HIDDEN.into_iter().chain(HIDDEN_NETWORKS).any(|name| name == set)
}

/// What a network has to have as a whole, whoever its guests are.
pub(super) fn of_network(started: &Started) -> Vec<Item> {
    let NetworkMode::Nat(nat) = started.network.mode() else { return Vec::new() };
    let mut out = of_bridge(started);
    out.extend(nat.forwards.iter().flat_map(handed_on));
    out
}

/// What a network has to have whose guests are on a private bridge, whatever is handed on to them.
pub(super) fn of_bridge(started: &Started) -> Vec<Item> {
    let NetworkMode::Nat(nat) = started.network.mode() else { return Vec::new() };
    let mut out = Vec::new();
    if let GuestLinks::Bridge(bridge) = &nat.guests {
        // Guests come and go on the bridge without this table knowing of them.
        let subnets: Vec<IpNetwork> = nat.subnets.iter().map(|s| s.network()).collect();
        out.extend(started.outside.map(|egress| hidden(egress, &subnets)).unwrap_or_default());
        // Nobody is hidden whose address is none of the network's: it would leave as it is.
        out.extend(checked(bridge.name(), &subnets));
        out.extend(apart(subnets).into_iter().map(|n| {
            let set = INSIDE[family_of(&n)];
            Item::network(set, set, &[NftValue::Name(bridge.name())], n)
        }));
    }
    out
}

/// What a network had before its description was changed, some of which it may have still.
pub(super) fn former(started: &Started) -> Vec<Item> {
    started.former.iter().flat_map(handed_on).collect()
}

/// Of what a network had before its description was changed, that which is another's to have by now.
pub(crate) fn given_up(started: &Started) -> Scope {
    let own = GATE.scope(&of_network(started));
    let mut scope = GATE.scope(&former(started));
    scope.retain(|part| !own.contains(part));
    scope
}

/// Of what a network has given up, that which another one has by now, and the errors of wanting it back.
pub(crate) fn taken_since(started: &Started, now: &Snapshot) -> Vec<(Part, Error)> {
    let given_up = given_up(started);
    let taken = |item: &Item| {
        let part = GATE.part(item);
        GATE.taken_by_other(now, item).filter(|_| given_up.contains(&part)).map(|e| (part, e))
    };
    former(started).iter().filter_map(taken).collect()
}

/// The elements of a forward, two a port.
fn handed_on(forward: &PortForward) -> impl Iterator<Item = Item> {
    let ((first, last), (to_first, to_last)) = (forward.ports(), forward.to_ports());
    let (protocol, to) = (forward.protocol(), forward.to());
    let family = at(Family::of(&to));
    (first..=last).zip(to_first..=to_last).flat_map(move |(port, to_port)| {
        let key = [NftValue::U8(protocol.number()), NftValue::U16(port)];
        let leads = |set, data| Item { data: Some(vec![data]), ..Item::exact(set, &key) };
        [leads(FORWARDS[family], address(to)), leads(PORTS[family], NftValue::U16(to_port))]
    })
}

/// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
fn is(family: Family) -> NftExpr {
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
const GOING_ON: u32 = 2 | 4;
/// `IPS_DST_NAT`.
const HANDED_ON: u32 = 32;

fn source(family: Family) -> NftField {
    match family {
        Family::Ipv4 => NftField::IpSaddr,
        Family::Ipv6 => NftField::Ip6Saddr,
    }
}

fn destination(family: Family) -> NftField {
    match family {
        Family::Ipv4 => NftField::IpDaddr,
        Family::Ipv6 => NftField::Ip6Daddr,
    }
}

fn chains() -> BTreeMap<String, NftChain> {
    use NftChainKind::{Filter, Nat};
    let base = |kind, hook, priority, rules| {
        let base = NftBase { kind, hook, priority, policy: NftPolicy::Accept };
        NftChain { base: Some(base), rules }
    };
    let entry = vec![rule([lookup(&[NftField::IifName], LINKS), goto(FROM_GUEST)], None)];
    gather::map([
        // Where `raw` is, before connection tracking. Fragments are reassembled before it only where somebody tracks connections.
        ("prerouting".into(), base(Filter, NftHook::Prerouting, -300, entry)),
        (FROM_GUEST.into(), NftChain { base: None, rules: from_guest() }),
        (MESSAGES.into(), NftChain { base: None, rules: messages() }),
        (DISCOVERY.into(), NftChain { base: None, rules: discovery() }),
        ("handing-on".into(), base(Nat, NftHook::Prerouting, -100, handing_on())),
        ("handing-on-own".into(), base(Nat, NftHook::Output, -100, handing_on())),
        ("hiding".into(), base(Nat, NftHook::Postrouting, 100, hiding())),
        ("forward".into(), base(Filter, NftHook::Forward, 0, forward())),
    ])
}

/// What a link with declared addresses may send.
fn from_guest() -> Vec<NftRule> {
    use NftField::{IifName, Ip6Daddr, Ip6Saddr, IpSaddr};
    // What nearly all packets are.
    let mut rules: Vec<NftRule> = [SOURCES, SOURCE_NETWORKS]
        .map(|sets| {
            let own = lookup(&[IifName, IpSaddr], sets[at(Family::Ipv4)]);
            rule([is(Family::Ipv4), own, accept()], None)
        })
        .into();
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
    rules.push(rule([drop()], None));
    rules
}

/// ICMPv6 that no guest may send: router advertisements and redirects. A fragmented message is judged by its first fragment, which must
/// contain the type: without connection tracking the kernel has not reassembled it here.
fn messages() -> Vec<NftRule> {
    use NftField::{IcmpType, Ip6NextHeader, L4Proto};
    // The two bytes behind the two of a fragment header that begins where the IPv6 header ends; three bits are no part of the offset.
    let offset = NftField::Payload { header: NftHeader::Network, offset: 42, bytes: 2 };
    let later = NftExpr::Match {
        field: offset,
        mask: Some(NftValue::Bytes(vec![0xff, 0xf8])),
        op: NftCmp::Ne,
        value: NftValue::Bytes(vec![0, 0]),
    };
    let fragment = NftExpr::eq(Ip6NextHeader, NftValue::U8(FRAGMENT));
    let kind = |test: NftExpr, verdict, comment| rule([is(Family::Ipv6), over(ICMPV6), test, verdict], comment);
    let said = |kind_of| NftExpr::eq(IcmpType, NftValue::U8(kind_of));
    vec![
        rule([NftExpr::ne(L4Proto, NftValue::U8(ICMPV6)), back()], None),
        rule([is(Family::Ipv6), fragment, later, back()], Some("a later fragment")),
        kind(said(ROUTER_ADVERTISEMENT), drop(), Some("no routers among guests")),
        kind(said(REDIRECT), drop(), Some("no routers among guests")),
        // Any other that is there to be read.
        kind(NftExpr::ne(IcmpType, NftValue::U8(ROUTER_ADVERTISEMENT)), back(), None),
        rule([drop()], Some("what it is comes in another fragment")),
    ]
}

/// `IPPROTO_FRAGMENT`.
const FRAGMENT: u8 = 44;
/// Messages of ICMPv6 (RFC 4861).
const ROUTER_ADVERTISEMENT: u8 = 134;
const REDIRECT: u8 = 137;

/// What a station says that has no address yet, or looks for its neighbours.
fn discovery() -> Vec<NftRule> {
    use NftField::IcmpType;
    let said = |kind| rule([is(Family::Ipv6), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind)), accept()], None);
    // Router and neighbour solicitation, neighbour advertisement; reports of multicast listeners, which go with them.
    let mut rules: Vec<NftRule> = [133, 135, 136, 131, 132, 143].map(said).into();
    rules.push(rule([over(UDP), ports(546, 547), accept()], Some("DHCPv6 client")));
    rules.push(rule([drop()], None));
    rules
}

const LINK_LOCAL: IpNetwork = match Ipv6Network::new_checked(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10) {
    Some(network) => IpNetwork::V6(network),
    None => panic!("a prefix of IPv6 has 128 bits"),
};

/// Connections to an address of this domain that others can reach, too.
fn handing_on() -> Vec<NftRule> {
    let rules = FAMILIES.map(|family| {
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
        let to = NftNatTo::Maps {
            key: vec![NftField::L4Proto, NftField::ThDport],
            address: FORWARDS[at(family)].into(),
            port: PORTS[at(family)].into(),
        };
        rule([to_us, is(family), outer, NftExpr::Nat { side: NftNat::Destination, family, to }], None)
    });
    rules.into()
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

/// What passes through.
fn forward() -> Vec<NftRule> {
    let hidden = |link: NftField, end: fn(Family) -> NftField, more: Option<NftExpr>, comment: &'static str| {
        FAMILIES.into_iter().flat_map(move |family| {
            let more = more.clone();
            [HIDDEN, HIDDEN_NETWORKS].map(move |sets| {
                let of_hidden = [is(family), lookup(&[link, end(family)], sets[at(family)])];
                rule(more.clone().into_iter().chain(of_hidden).chain([drop()]), Some(comment))
            })
        })
    };
    let mut rules = vec![rule([NftExpr::ct_state(GOING_ON), accept()], None)];
    // Address translation leaves alone what belongs to no connection.
    rules.extend(hidden(NftField::OifName, source, Some(NftExpr::ct_state(INVALID)), "would leave untranslated"));
    rules.push(rule([NftExpr::ct_status(HANDED_ON), accept()], None));
    rules.extend(hidden(NftField::IifName, destination, None, "hidden from outside"));
    rules
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::model::{BridgeSpec, NatNetwork, Network, Protocol, Subnet};
    use crate::plan::Reason;
    use crate::plan::table::TableWish;
    use crate::snapshot::{NftTable, nft_facts};
    use crate::step::{NftOp, Step, step};

    fn elements(items: Vec<Item>) -> Vec<String> {
        let mut world = Snapshot::default();
        carry_out(&mut world, TableWish::new(&GATE, items, Vec::new(), Reason::fixed("")));
        let facts = nft_facts(&world.nft);
        facts
            .iter()
            .filter_map(|f| f.strip_prefix("add element inet xennet "))
            .filter(|f| !f.starts_with("version"))
            .map(str::to_owned)
            .collect()
    }

    fn carry_out(world: &mut Snapshot, wish: TableWish) {
        if let Some(first) = wish.first(world).unwrap() {
            step(world, &Step::Nft(first)).unwrap();
        }
        if let Some(last) = wish.last(world) {
            step(world, &Step::Nft(last)).unwrap();
        }
    }

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn networks(list: &[&str]) -> Vec<IpNetwork> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn started(forwards: &[PortForward]) -> Started {
        let nat = NatNetwork {
            subnets: networks(&["10.1.0.0/24", "fd00:1::/64"]).into_iter().map(|n| Subnet::new(n).unwrap()).collect(),
            guests: GuestLinks::Bridge(BridgeSpec::new(name("natbr0"))),
            forwards: forwards.to_vec(),
            ..NatNetwork::new()
        };
        Started {
            outside: Some(name("eth0")),
            ..Started::new(Network::new(name("lan"), NetworkMode::Nat(nat)).unwrap())
        }
    }

    /// A forward of two ports to this port and the next.
    fn web(to_port: u16) -> PortForward {
        PortForward::new(Protocol::Tcp, (8080, 8081), "10.1.0.5".parse().unwrap(), to_port).unwrap()
    }

    #[test]
    fn what_a_guest_has() {
        let guest = networks(&["10.0.5.1", "10.0.6.0/25", "10.0.6.7", "2001:db8::5"]);
        let mut items = checked(name("vif5.0"), &guest);
        items.extend(hidden(name("eth0"), &guest));
        assert_eq!(
            elements(items),
            [
                "links { \"vif5.0\" }",
                "masq4 { \"eth0\" . 10.0.5.1 }",
                "masq6 { \"eth0\" . 2001:db8::5 }",
                "masqnet4 { \"eth0\" . 10.0.6.0/25 }",
                "src4 { \"vif5.0\" . 10.0.5.1 }",
                "src6 { \"vif5.0\" . 2001:db8::5 }",
                "srcnet4 { \"vif5.0\" . 10.0.6.0/25 }",
            ]
        );
    }

    #[test]
    fn what_a_network_has() {
        let six = PortForward::new(Protocol::Udp, (53, 53), "fd00:1::5".parse().unwrap(), 80).unwrap();
        assert_eq!(
            elements(of_network(&started(&[web(80), six]))),
            [
                "forward4 { tcp . 8080 : 10.1.0.5 }",
                "forward4 { tcp . 8081 : 10.1.0.5 }",
                "forward6 { udp . 53 : fd00:1::5 }",
                "inside4 { \"natbr0\" . 10.1.0.0/24 }",
                "inside6 { \"natbr0\" . fd00:1::/64 }",
                "links { \"natbr0\" }",
                "masqnet4 { \"eth0\" . 10.1.0.0/24 }",
                "masqnet6 { \"eth0\" . fd00:1::/64 }",
                "port4 { tcp . 8080 : 80 }",
                "port4 { tcp . 8081 : 81 }",
                "port6 { udp . 53 : 80 }",
                "srcnet4 { \"natbr0\" . 10.1.0.0/24 }",
                "srcnet6 { \"natbr0\" . fd00:1::/64 }",
            ]
        );
        let many = PortForward::new(Protocol::Tcp, (1, 65535), "10.1.0.5".parse().unwrap(), 1).unwrap();
        assert_eq!(handed_on(&many).count(), 2 * 65535);
    }

    #[test]
    fn a_port_that_leads_elsewhere_is_not_taken_and_changes_when_it_is_ones_own() {
        let why = || Reason::fixed("");
        let mut world = Snapshot::default();
        let (old, new) = (of_network(&started(&[web(80)])), of_network(&started(&[web(90)])));
        carry_out(&mut world, TableWish::new(&GATE, old.clone(), Vec::new(), why()));
        let before = world.clone();
        let e = TableWish::new(&GATE, new.clone(), Vec::new(), why()).first(&world).unwrap_err();
        assert_eq!(e.message(), "tcp . 8080 cannot be handed on to port 90: it is handed on to port 80 already");
        assert_eq!(e.hint(), Some("stop the network that it belongs to, or look at `nft list map inet xennet port4`"));
        carry_out(&mut world, TableWish::new(&GATE, new.clone(), old.clone(), why()));
        assert!(
            new.iter()
                .all(|i| TableWish::new(&GATE, vec![i.clone()], Vec::new(), why()).first(&world).unwrap().is_none())
        );
        // What somebody else has changed is not ours to remove.
        let changed = world.clone();
        carry_out(&mut world, TableWish::new(&GATE, Vec::new(), old.clone(), why()));
        let ports = |world: &Snapshot| world.nft[&NftTableId::gate()].sets["forward4"].elements.len();
        assert_eq!((ports(&changed), ports(&world)), (2, 2));
        // And the way back.
        let scope: Scope = GATE.scope(&old);
        for wish in TableWish::restored(&before.seen(&scope), &why()) {
            carry_out(&mut world, wish);
        }
        assert_eq!(world.changes(&before), []);
        assert!(scope.parts().all(|p| matches!(p, Part::NftElement(..))));
    }

    /// A look as calls take it: what a wish names, in a second look what the first one shows to matter.
    fn look(world: &Snapshot, items: &[Item]) -> Snapshot {
        let mut seen = world.seen(&GATE.scope(items));
        for _ in 0..2 {
            let more = GATE.frame_scope(items, &seen);
            seen.merge(world.seen(&more));
        }
        seen
    }

    fn first(world: &Snapshot, items: &[Item]) -> Vec<NftOp> {
        let wish = TableWish::new(&GATE, items.to_vec(), Vec::new(), Reason::fixed(""));
        wish.first(&look(world, items)).unwrap().map(|transaction| transaction.ops).unwrap_or_default()
    }

    fn take(world: &mut Snapshot, items: &[Item]) -> Vec<NftOp> {
        let ops = first(world, items);
        step(world, &Step::Nft(crate::step::NftTransaction::new(NftTableId::gate(), ops.clone()))).unwrap();
        ops
    }

    #[test]
    fn who_is_not_hidden_asks_for_no_translation() {
        let guest = checked(name("vif1.0"), &networks(&["10.0.5.1"]));
        let hidden = hidden(name("eth0"), &networks(&["10.0.6.1"]));
        let mut world = Snapshot::default();
        take(&mut world, &guest);
        let gate = |world: &Snapshot| world.nft[&NftTableId::gate()].clone();
        assert_eq!(gate(&world).frame(), GATE.frame(0));
        assert_eq!(first(&world, &guest), []);
        // The first hidden guest adds the rest, and does not touch what is there.
        let ops = take(&mut world, &hidden);
        assert!(!ops.iter().any(|op| matches!(op, NftOp::AddTable | NftOp::FlushChain { .. })), "{ops:?}");
        assert_eq!(gate(&world).frame(), GATE.frame(1));
        assert_eq!([first(&world, &guest), first(&world, &hidden)], [vec![], vec![]]);
        // Made at once it is the same.
        let mut at_once = Snapshot::default();
        take(&mut at_once, &hidden);
        take(&mut at_once, &guest);
        assert_eq!(gate(&at_once), gate(&world));
    }

    #[test]
    fn what_is_damaged_is_put_right_by_who_needs_it() {
        let guest = checked(name("vif1.0"), &networks(&["10.0.5.1"]));
        let hidden = hidden(name("eth0"), &networks(&["10.0.6.1"]));
        let flush = |world: &mut Snapshot, chain: &str| {
            let op = NftOp::FlushChain { chain: chain.into() };
            step(world, &Step::Nft(crate::step::NftTransaction::new(NftTableId::gate(), vec![op]))).unwrap();
        };
        let mut both = Snapshot::default();
        take(&mut both, &hidden);
        take(&mut both, &guest);
        let whole = both.clone();
        flush(&mut both, "hiding");
        assert_eq!(first(&both, &guest), [], "nobody of its is translated");
        assert!(take(&mut both, &hidden).iter().any(|op| matches!(op, NftOp::FlushChain { .. })));
        assert_eq!(both.nft, whole.nft);
        flush(&mut both, FROM_GUEST);
        take(&mut both, &guest);
        assert_eq!(both.nft, whole.nft);
        // Damaged below, and to be extended.
        let mut world = Snapshot::default();
        take(&mut world, &guest);
        flush(&mut world, FROM_GUEST);
        take(&mut world, &hidden);
        assert_eq!(world.nft, whole.nft);
    }

    #[test]
    fn a_gate_that_nobody_is_in_counts_as_none() {
        let mut world = Snapshot::default();
        let items = of_network(&started(&[web(80)]));
        carry_out(&mut world, TableWish::new(&GATE, items.clone(), Vec::new(), Reason::fixed("")));
        assert_ne!(world.changes(&Snapshot::default()), []);
        carry_out(&mut world, TableWish::new(&GATE, Vec::new(), items, Reason::fixed("")));
        assert_ne!(world.nft, [].into());
        assert_eq!(world.changes(&Snapshot::default()), []);
        let _: &NftTable = &world.nft[&NftTableId::gate()];
    }
}
