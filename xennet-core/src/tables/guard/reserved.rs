//! Addresses that are nobody's but the guests' that declare them, for guests that are bound to their MAC and may use any other address.
//!
//! A section of its own: a host without such guests has none of it. A watched link has the addresses that it may not take, and those of
//! them that are its guest's own. They may not be the source of a packet or the sender of ARP, nor be tested or claimed: who tests an
//! address keeps another from using it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::discovery::{ALL_NODES, from_nobody};
use super::{IPV4, IPV6, TAGS, ethernet_arp, is};
use crate::model::Violation;
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftExpr, NftField, NftFrom, NftHook, NftPolicy, NftRule, NftType, NftValue,
};
use crate::tables::rules::{ICMPV6, accept, begins_with, denied_in, goto, lookup, other_than, over, rule, violation};
use crate::tables::{Section, SetDef};

/// Links whose guests may use every address but reserved ones.
pub(crate) const WATCHED: &str = "watched";
/// Link and reserved addresses, which its guest may not use; of each family single ones, and networks.
pub(crate) const RESERVED_ADDRESSES: [[&str; 2]; 2] = [["reserved4", "reservednet4"], ["reserved6", "reservednet6"]];
/// Link and those of these that are its guest's own.
pub(crate) const OWN: [[&str; 2]; 2] = [["own4", "ownnet4"], ["own6", "ownnet6"]];

/// Chains: what comes in by a watched link; of that ICMPv6; tests of addresses, and claims to all and to one.
const FROM_WATCHED: &str = "from-watched";
const MESSAGES: &str = "watched-messages";
const PROBING: &str = "watched-probing";
const CLAIMING: &str = "watched-claiming";
const TO_ALL: &str = "watched-to-all";
/// A chain: what says something of a reserved address.
const TAKEN: &str = "taken";

const WHY: Option<&str> = Some("a reserved address");

pub(super) const fn section() -> Section {
    Section::of(
        0x47a9_fee0,
        &[(FROM_WATCHED, 14), (TAKEN, 22), ("watching", 1), (CLAIMING, 4), (MESSAGES, 3), (PROBING, 4), (TO_ALL, 4)],
        &SETS,
    )
}

const SETS: [SetDef; 9] = {
    use NftType::{IfName, Ipv4Addr, Ipv6Addr};
    const V4: &[NftType] = &[IfName, Ipv4Addr];
    const V6: &[NftType] = &[IfName, Ipv6Addr];
    [
        SetDef::of(WATCHED, &[IfName]),
        SetDef::of(RESERVED_ADDRESSES[0][0], V4),
        SetDef::of(RESERVED_ADDRESSES[1][0], V6),
        SetDef::ranges(RESERVED_ADDRESSES[0][1], V4),
        SetDef::ranges(RESERVED_ADDRESSES[1][1], V6),
        SetDef::of(OWN[0][0], V4),
        SetDef::of(OWN[1][0], V6),
        SetDef::ranges(OWN[0][1], V4),
        SetDef::ranges(OWN[1][1], V6),
    ]
};

pub(super) fn chains() -> [(&'static str, NftChain); 7] {
    // Behind what binds the MAC.
    let base =
        NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: -299, policy: NftPolicy::Accept };
    let entry = vec![rule([lookup(&[NftField::IifName], WATCHED), goto(FROM_WATCHED)], None)];
    let of = |rules| NftChain { base: None, rules };
    [
        ("watching", NftChain { base: Some(base), rules: entry }),
        (FROM_WATCHED, of(from_watched())),
        (MESSAGES, of(messages())),
        (TAKEN, of(violation())),
        (PROBING, of(about(NftField::Ip6Saddr, Some(Ipv6Addr::UNSPECIFIED)))),
        (CLAIMING, of(claiming())),
        (TO_ALL, of(about(NftField::Ip6Daddr, Some(ALL_NODES)))),
    ]
}

/// That an address is reserved, and not the guest's own: by itself, and within a network.
fn reserved(family: usize, address: NftField) -> [[NftExpr; 3]; 2] {
    let key = [NftField::IifName, address];
    let [host, network] = OWN[family];
    RESERVED_ADDRESSES[family].map(|set| [lookup(&key, set), other_than(&key, host), other_than(&key, network)])
}

/// Drops what says something of a reserved address.
fn taken(before: &[NftExpr], family: usize, address: NftField) -> [NftRule; 2] {
    reserved(family, address)
        .map(|reserved| denied_in(TAKEN, before.iter().cloned().chain(reserved), Violation::Address, WHY))
}

fn from_watched() -> Vec<NftRule> {
    use NftField::{ArpDaddrIp, ArpSaddrIp, Ip6Saddr, IpSaddr};
    let mut rules = [taken(&[is(IPV4)], 0, IpSaddr), taken(&[is(IPV6)], 1, Ip6Saddr)].concat();
    for tag in TAGS {
        rules.extend(taken(&ethernet_arp(tag, None), 0, ArpSaddrIp));
        let mut probe = ethernet_arp(tag, Some(1));
        probe.push(NftExpr::eq(ArpSaddrIp, NftValue::Ipv4(Ipv4Addr::UNSPECIFIED)));
        rules.extend(taken(&probe, 0, ArpDaddrIp));
    }
    rules.push(rule([over(ICMPV6), goto(MESSAGES)], None));
    rules
}

fn messages() -> Vec<NftRule> {
    vec![
        rule([is(IPV6), from_nobody(), begins_with(135), goto(PROBING)], None),
        rule([begins_with(136), goto(CLAIMING)], None),
    ]
}

/// Neighbour advertisement: what it says of an address counts, not where it comes from.
fn claiming() -> Vec<NftRule> {
    let all = NftExpr::eq(NftField::Ip6Daddr, NftValue::Ipv6(ALL_NODES));
    // To one station it arrives as from the address that it is about.
    let rules = vec![rule([is(IPV6), all, goto(TO_ALL)], None)];
    rules.into_iter().chain(about(NftField::Ip6Saddr, None)).collect()
}

/// Drops a message about a reserved address: which it is about is put into this place, looked up there, and what stood there is put
/// back, as far as it is known (see [`discovery`](super::discovery)).
fn about(place: NftField, before: Option<Ipv6Addr>) -> Vec<NftRule> {
    let put = |from| NftExpr::Write { field: place, from };
    let about = [is(IPV6), put(NftFrom::Field(NftField::Icmpv6Target))];
    let mut rules: Vec<NftRule> = taken(&about, 1, place).into();
    rules.extend(before.map(|address| rule([is(IPV6), put(NftFrom::Value(NftValue::Ipv6(address))), accept()], None)));
    rules
}
