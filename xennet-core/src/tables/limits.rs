//! What guests of NAT and routed networks reach besides other guests and the Internet, as a section of the gate: this domain itself, and
//! the LAN behind the egress. A host on which no network limits these has nothing of this.
//!
//! * What comes in for this domain by a limited link passes if this domain has begun it, if it looks for neighbours, or if it asks for one of
//!   the services that the link has. The hook tells what is for this domain, so every address of it counts, and nothing that is handed on or
//!   routed does.
//! * What leaves by an egress to its LAN is dropped where it comes from a network of guests that do not reach it. Guests' sources are checked
//!   where they come in, so elements grow with networks and not with guests.

use super::gate::{GOING_ON, LINKS, at, destination, is, source};
use super::rules::{ICMP, ICMPV6, TCP, UDP, accept, denied_in, goto, lookup, other_than, over, rule, violation};
use super::{Section, SetDef};
use crate::model::Violation;
use crate::snapshot::{
    Family, NftBase, NftChain, NftChainKind, NftExpr, NftField, NftHook, NftPolicy, NftRule, NftType, NftValue,
};

/// Links whose guests reach only a part of this domain.
pub(crate) const LIMITED: &str = "limited";
/// Of these, the links whose guests may ask: for an echo, for routers, for addresses, for names.
pub(crate) const ASKING: &str = "asking";
pub(crate) const ASKING_DHCP: &str = "asking-dhcp";
pub(crate) const ASKING_DNS: &str = "asking-dns";
/// Egress, network of guests, and network of the LAN there, which they do not reach.
pub(crate) const LAN: [&str; 2] = ["lan4", "lan6"];
/// The same of one guest and one station.
pub(crate) const LAN_HOSTS: [&str; 2] = ["lanhost4", "lanhost6"];

/// A chain: what comes in for this domain by a limited link.
const FROM_LIMITED: &str = "from-limited";

/// A chain: what guests do not reach.
const NOT_REACHED: &str = "not-reached";

/// What the gate has more where a network limits what its guests reach.
pub(super) const fn section() -> Section {
    Section::of(0xd268_0aaa, &[(FROM_LIMITED, 20), (NOT_REACHED, 10), ("to-host", 1), ("to-lan", 5)], &SETS)
}

const SETS: [SetDef; 8] = {
    use NftType::{IfName, Ipv4Addr, Ipv6Addr};
    const LINK: &[NftType] = &[IfName];
    [
        SetDef::of(LIMITED, LINK),
        SetDef::of(ASKING, LINK),
        SetDef::of(ASKING_DHCP, LINK),
        SetDef::of(ASKING_DNS, LINK),
        SetDef::ranges(LAN[0], &[IfName, Ipv4Addr, Ipv4Addr]),
        SetDef::ranges(LAN[1], &[IfName, Ipv6Addr, Ipv6Addr]),
        SetDef::of(LAN_HOSTS[0], &[IfName, Ipv4Addr, Ipv4Addr]),
        SetDef::of(LAN_HOSTS[1], &[IfName, Ipv6Addr, Ipv6Addr]),
    ]
};

pub(super) fn chains() -> [(String, NftChain); 4] {
    let base = |hook, rules| {
        let base = NftBase { kind: NftChainKind::Filter, hook, priority: 0, policy: NftPolicy::Accept };
        NftChain { base: Some(base), rules }
    };
    let entry = vec![rule([lookup(&[NftField::IifName], LIMITED), goto(FROM_LIMITED)], None)];
    [
        ("to-host".into(), base(NftHook::Input, entry)),
        (FROM_LIMITED.into(), NftChain { base: None, rules: from_limited() }),
        (NOT_REACHED.into(), NftChain { base: None, rules: violation() }),
        ("to-lan".into(), base(NftHook::Forward, to_lan())),
    ]
}

/// What comes in for this domain by a limited link. Connections are tracked here, so fragments are put together by now.
fn from_limited() -> Vec<NftRule> {
    use NftField::{IcmpType, IifName, ThDport};
    let message = |family, protocol, kind| {
        rule([is(family), over(protocol), NftExpr::eq(IcmpType, NftValue::U8(kind)), accept()], None)
    };
    let of6 = |kind| message(Family::Ipv6, ICMPV6, kind);
    let port = |before: &[NftExpr], number, set, what: Option<&str>| {
        let port = NftExpr::eq(ThDport, NftValue::U16(number));
        rule(before.iter().cloned().chain([port, lookup(&[IifName], set), accept()]), what)
    };
    let mut rules = vec![rule([NftExpr::ct_state(GOING_ON), accept()], Some("begun by this domain"))];
    // Neighbour solicitation and advertisement: who does not answer is not found.
    rules.extend([135, 136].map(of6));
    let denied = |exprs: &[NftExpr], why| denied_in(NOT_REACHED, exprs.iter().cloned(), Violation::Host, Some(why));
    rules.push(denied(&[other_than(&[IifName], ASKING)], "this domain is closed to the guest"));
    // Router solicitation, echo request, and errors: unreachable, too big, time exceeded, parameter problem.
    rules.extend([133, 128, 1, 2, 3, 4].map(of6));
    rules.extend([8, 3, 11, 12].map(|kind| message(Family::Ipv4, ICMP, kind)));
    rules.push(port(&[is(Family::Ipv4), over(UDP)], 67, ASKING_DHCP, Some("DHCP")));
    rules.push(port(&[is(Family::Ipv6), over(UDP)], 547, ASKING_DHCP, Some("DHCPv6")));
    rules.push(port(&[over(UDP)], 53, ASKING_DNS, Some("DNS")));
    rules.push(port(&[over(TCP)], 53, ASKING_DNS, Some("DNS")));
    rules.push(denied(&[], "no service of this network's"));
    rules
}

/// What leaves to the LAN. What a station there has begun, and answers to it, pass.
fn to_lan() -> Vec<NftRule> {
    let closed = |family| {
        [LAN, LAN_HOSTS].map(|sets| {
            let ends = [NftField::OifName, source(family), destination(family)];
            let from = lookup(&[NftField::IifName], LINKS);
            let exprs = [from, is(family), lookup(&ends, sets[at(family)])];
            denied_in(NOT_REACHED, exprs, Violation::Lan, Some("the LAN is closed to the guest"))
        })
    };
    let mut rules = vec![rule([NftExpr::ct_state(GOING_ON), accept()], None)];
    rules.extend([Family::Ipv4, Family::Ipv6].into_iter().flat_map(closed));
    rules
}
