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

use super::Reason;
use super::table::{
    ICMPV6, Item, SetDef, TCP, Table, TableWish, UDP, accept, back, dhcp_client, drop, first_fragment, goto, jump,
    lookup, other_than, over, rule,
};
use crate::gather;
use crate::model::{Guarded, MacAddr};
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftCmp, NftExpr, NftField, NftHeader, NftHook, NftPolicy, NftRule, NftTableId,
    NftType, NftValue, Scope,
};

/// Links whose guests may use declared addresses only.
const DECLARED: &str = "declared";
/// Links whose guests are bound to their MAC only.
const BOUND: &str = "bound";
/// A chain: what guests say about addresses and roles in IPv6, whatever source they say it from.
const CLAIMS: &str = "claims";
/// Link and MAC.
const MACS: &str = "macs";
/// Link, MAC and a single address.
const HOSTS: [&str; 2] = ["ip4", "ip6"];
/// Link, MAC and a network: a set of ranges, which is slower to change and to search.
const NETWORKS: [&str; 2] = ["net4", "net6"];

/// All reserved addresses that a port may forward (`PortState::group_forward`). Else the bridge would learn the sources of
/// frames to them, and hand them to this domain, before any filter sees them.
pub(super) const RESERVED: u16 = 0xfffd;

/// The table.
pub(super) static GUARD: Table = Table {
    id: NftTableId::guard,
    version: 0x0d07_31f9,
    uses: &[("prerouting", 2), (DECLARED, 20), (BOUND, 4), (CLAIMS, 6)],
    sets: &SETS,
    chains,
    frame: LazyLock::new(|| GUARD.frame()),
    ways_out: ["detach the guests with ip=", "attach them again"],
};

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

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// What the guard has to have of a link.
pub(super) fn items(guarded: &Guarded) -> Vec<Item> {
    let Guarded { link, guard } = guarded;
    let (name, mac) = (NftValue::Name(*link), NftValue::Mac(guard.mac));
    let membership = if guard.addresses.is_some() { DECLARED } else { BOUND };
    let own = [name.clone(), mac];
    let mut out = vec![Item::exact(membership, &[name]), Item::exact(MACS, &own)];
    out.extend(guard.sources().into_iter().map(|source| {
        let family = usize::from(source.is_ipv6());
        Item::network(HOSTS[family], NETWORKS[family], &own, source)
    }));
    out
}

/// What has to be looked at to add or remove the elements of links.
pub(super) fn scope<'a>(guarded: impl Iterator<Item = &'a Guarded>) -> Scope {
    GUARD.scope(&guarded.flat_map(items).collect::<Vec<_>>())
}

/// The guard of a vif, instead of what a record says that it has.
pub(super) fn instead(guarded: Option<&Guarded>, recorded: Option<&Guarded>) -> TableWish {
    let why = match (guarded, recorded) {
        (Some(g), _) if g.guard.addresses.is_some() => "ip= declares what the guest may send",
        (Some(_), _) => "the guest is bound to its MAC",
        (None, _) => "nothing is declared of what the guest may send",
    };
    wish(guarded, recorded, Reason::fixed(why))
}

/// No guard any more.
pub(super) fn gone(recorded: Option<&Guarded>) -> TableWish {
    wish(None, recorded, Reason::fixed("the guard of a vif goes with it"))
}

fn wish(guarded: Option<&Guarded>, recorded: Option<&Guarded>, why: Reason) -> TableWish {
    let list = |g: Option<&Guarded>| g.map(items).unwrap_or_default();
    TableWish::new(&GUARD, list(guarded), list(recorded), why)
}

fn chains() -> BTreeMap<String, NftChain> {
    use NftField::IifName;
    let entry = vec![
        rule([lookup(&[IifName], DECLARED), goto(DECLARED)], None),
        rule([lookup(&[IifName], BOUND), goto(BOUND)], None),
    ];
    // Behind NF_BR_PRI_NAT_DST_BRIDGED stands nothing that could have changed the frame.
    let base =
        NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: -300, policy: NftPolicy::Accept };
    gather::map([
        ("prerouting".into(), NftChain { base: Some(base), rules: entry }),
        (DECLARED.into(), NftChain { base: None, rules: declared() }),
        (BOUND.into(), NftChain { base: None, rules: bound() }),
        (CLAIMS.into(), NftChain { base: None, rules: claims() }),
    ])
}

/// What a guest with declared addresses may send.
fn declared() -> Vec<NftRule> {
    use NftField::{
        ArpDaddrIp, ArpOperation, ArpSaddrEther, ArpSaddrIp, EtherSaddr, IcmpType, Icmpv6Target, IifName, Ip6Saddr,
        IpSaddr, L4Proto, ThDport,
    };
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
    let arp = || vec![is(ARP)].into_iter().chain(ethernet_arp()).chain([lookup(&[IifName, ArpSaddrEther], MACS)]);
    for set in [HOSTS[0], NETWORKS[0]] {
        rules.push(rule(arp().chain([lookup(&[IifName, EtherSaddr, ArpSaddrIp], set), accept()]), None));
    }
    let nobody4 = NftValue::Ipv4(Ipv4Addr::UNSPECIFIED);
    let nobody6 = NftValue::Ipv6(Ipv6Addr::UNSPECIFIED);
    // A probe for another's address would keep it from being used.
    for set in [HOSTS[0], NETWORKS[0]] {
        let probe = [
            NftExpr::eq(ArpOperation, NftValue::U16(1)),
            NftExpr::eq(ArpSaddrIp, nobody4.clone()),
            lookup(&[IifName, EtherSaddr, ArpDaddrIp], set),
            accept(),
        ];
        rules.push(rule(arp().chain(probe), Some("ARP probe (RFC 5227)")));
    }
    rules.push(dhcp_client(is(IPV4)));
    let unspecified = |kind, more: Option<NftExpr>| {
        let message = [NftExpr::eq(Ip6Saddr, nobody6.clone()), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind))];
        let exprs = [is(IPV6)].into_iter().chain(message).chain(more).chain([accept()]);
        rule(exprs, Some("duplicate address detection (RFC 4862)"))
    };
    // Neighbour solicitation: of another's address it would keep that from being used.
    for set in [HOSTS[1], NETWORKS[1]] {
        rules.push(unspecified(135, Some(lookup(&[IifName, EtherSaddr, Icmpv6Target], set))));
    }
    // Multicast listener reports and done, which go with it.
    rules.extend([131, 132, 143].map(|kind| unspecified(kind, None)));
    rules.push(rule([drop()], None));
    rules
}

/// What a guest with declared addresses may not say even from them.
fn claims() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IcmpType, Icmpv6Target, IifName};
    let icmp = |kind| [is(IPV6), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind))].into_iter();
    // Source port, destination port, length, checksum: eight bytes at once, which the kernel does not read from a later
    // fragment. (Two it does, from a wrong place.)
    let ports = NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 8 };
    let dhcp = NftExpr::Match {
        field: ports,
        mask: Some(NftValue::Bytes(vec![0, 0, 0xff, 0xff, 0, 0, 0, 0])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![0, 0, 0x02, 0x22, 0, 0, 0, 0]),
    };
    let mut rules = vec![
        rule(icmp(134).chain([drop()]), Some("no routers among guests")),
        rule([is(IPV6), over(UDP), dhcp, drop()], Some("no DHCP servers among guests")),
    ];
    // Neighbour advertisement: what it says of an address counts, not where it comes from.
    for set in [HOSTS[1], NETWORKS[1]] {
        rules.push(rule(icmp(136).chain([lookup(&[IifName, EtherSaddr, Icmpv6Target], set), back()]), None));
    }
    rules.push(rule(icmp(136).chain([drop()]), Some("nobody speaks for another's address")));
    rules
}

/// What a guest may send that is bound to its MAC.
fn bound() -> Vec<NftRule> {
    use NftField::{ArpSaddrEther, EtherSaddr, IifName};
    let arp = vec![is(ARP)].into_iter().chain(ethernet_arp());
    vec![
        to_the_bridge(),
        rule([other_than(&[IifName, EtherSaddr], MACS), drop()], None),
        rule(arp.chain([other_than(&[IifName, ArpSaddrEther], MACS), drop()]), None),
    ]
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

/// ARP for IPv4 over ethernet: only there the fields are where they are looked for.
fn ethernet_arp() -> [NftExpr; 4] {
    use NftField::{ArpHlen, ArpHtype, ArpPlen, ArpPtype};
    [
        NftExpr::eq(ArpHtype, NftValue::U16(1)),
        NftExpr::eq(ArpPtype, NftValue::U16(IPV4)),
        NftExpr::eq(ArpHlen, NftValue::U8(6)),
        NftExpr::eq(ArpPlen, NftValue::U8(4)),
    ]
}

fn is(protocol: u16) -> NftExpr {
    NftExpr::eq(NftField::Protocol, NftValue::U16(protocol))
}
