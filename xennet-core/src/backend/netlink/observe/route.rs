//! Routes and policy rules.
//!
//! Source: `include/uapi/linux/rtnetlink.h`, `net/ipv4/fib_semantics.c` (`fib_dump_info`), `net/ipv6/route.c`
//! (`rt6_fill_node`); `include/uapi/linux/fib_rules.h`, `net/core/fib_rules.c` (`fib_nl_fill_rule`).

use std::net::IpAddr;

use super::ip::{self, AF_INET, AF_INET6};
use crate::backend::netlink::wire::{self, Attributes};
use crate::model::IfName;
use crate::snapshot::{Expiry, Family, NextHop, Route, RouteKind, Rule, RuleAction};

/// `RTM_NEWROUTE`.
pub(crate) const NEW: u16 = 24;
/// `RTM_NEWRULE`.
pub(crate) const NEW_RULE: u16 = 32;

/// Bytes of `struct rtmsg` and of `struct fib_rule_hdr`.
const HEADER: usize = 12;
/// Bytes of `struct rtnexthop`.
const HOP_HEADER: usize = 8;

const RTM_F_CLONED: u32 = 0x200;
/// `RTM_F_FIB_MATCH`: the entry of the table is wanted, not what follows from it for one packet. Linux 4.13.
pub(crate) const FIB_MATCH: u32 = 0x2000;
const RTNH_F_ONLINK: u32 = 4;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_METRICS: u16 = 8;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_FLOW: u16 = 11;
const RTA_CACHEINFO: u16 = 12;
const RTA_PREF: u16 = 20;
const RTA_ENCAP_TYPE: u16 = 21;
const RTA_NH_ID: u16 = 30;
const RTAX_MTU: u16 = 2;
const RTAX_CC_ALGO: u16 = 16;

/// Reads the body of an `RTM_NEWROUTE`; `name` tells the name of a link. `None` for routes that are not state (the
/// kernel's own table, cached ones) and for those that a [`Route`] cannot say: other families, IPv6 routes chosen by
/// source.
pub(crate) fn read(body: &[u8], mut name: impl FnMut(u32) -> Option<IfName>) -> Option<Route> {
    let [family, prefix, source_prefix, tos, table, protocol, scope, kind]: [u8; 8] = body.get(..8)?.try_into().ok()?;
    let flags = wire::u32(body.get(8..)?)?;
    if !matches!(family, AF_INET | AF_INET6) || source_prefix != 0 || flags & RTM_F_CLONED != 0 {
        return None;
    }
    let (mut destination, mut link, mut table, mut next_hops) = (None, None, u32::from(table), Vec::new());
    let (mut gateway, mut metric, mut source, mut mtu) = (None, 0, None, None);
    let (mut metrics, mut expires, mut preference, mut beyond) = (Vec::new(), None, 0, Vec::new());
    for (kind, value) in Attributes::after(body, HEADER) {
        match kind {
            RTA_DST => destination = Some(value),
            RTA_OIF => link = Some(name(wire::u32(value)?)?),
            RTA_GATEWAY => gateway = ip::address(family, value),
            RTA_VIA => gateway = via(value),
            RTA_PRIORITY => metric = wire::u32(value)?,
            RTA_PREFSRC => source = ip::address(family, value),
            RTA_METRICS => {
                mtu = Attributes::of(value).find(RTAX_MTU).and_then(wire::u32);
                for (kind, value) in Attributes::of(value).filter(|(kind, _)| *kind != RTAX_MTU) {
                    match wire::u32(value).filter(|_| kind != RTAX_CC_ALGO) {
                        Some(number) => metrics.push((kind, number)),
                        None => beyond.push("congctl".to_owned()),
                    }
                }
            }
            RTA_MULTIPATH => next_hops = hops(family, value, &mut name, &mut beyond),
            // struct rta_cacheinfo: clntref, lastuse, expires in hundredths of a second.
            RTA_CACHEINFO => {
                expires = value.get(8..).and_then(wire::u32).and_then(|e| u32::try_from(e.cast_signed() / 100).ok());
            }
            RTA_PREF => preference = wire::u8(value)?,
            RTA_FLOW | RTA_ENCAP_TYPE | RTA_NH_ID => beyond.push(beyond_a_route(kind, value)),
            RTA_TABLE => table = wire::u32(value)?,
            _ => {}
        }
    }
    if table == Route::LOCAL {
        return None;
    }
    Some(Route {
        table,
        destination: ip::network(family, destination, prefix)?,
        tos,
        metric,
        kind: route_kind(kind)?,
        link,
        gateway,
        onlink: flags & RTNH_F_ONLINK != 0 && next_hops.is_empty(),
        source,
        protocol,
        scope,
        mtu,
        next_hops,
        metrics,
        expires: Expiry(expires.filter(|e| *e != 0 && family == AF_INET6)),
        preference,
        beyond: (!beyond.is_empty()).then(|| beyond.join(", ")),
    })
}

/// An attribute that a [`Route`] cannot say.
fn beyond_a_route(kind: u16, value: &[u8]) -> String {
    match kind {
        RTA_FLOW => "realms".into(),
        RTA_ENCAP_TYPE => "encap".into(),
        _ => wire::u32(value).map_or_else(|| "nexthop object".into(), |id| format!("nexthop object {id}")),
    }
}

/// Whether the body is that of a route to this domain's own address.
pub(crate) fn is_own(body: &[u8]) -> bool {
    body.get(7).is_some_and(|kind| route_kind(*kind) == Some(RouteKind::Local))
}

/// `struct rtvia`: a gateway of another family than the destination.
fn via(value: &[u8]) -> Option<IpAddr> {
    let family = u8::try_from(wire::u16(value)?).ok()?;
    ip::address(family, value.get(2..)?)
}

fn hops(
    family: u8,
    mut rest: &[u8],
    name: &mut impl FnMut(u32) -> Option<IfName>,
    beyond: &mut Vec<String>,
) -> Vec<NextHop> {
    let mut all = Vec::new();
    while let Some(len) = wire::u16(rest).map(usize::from) {
        let (Some(flags), Some(more), Some(index)) =
            (rest.get(2), rest.get(3), rest.get(4..HOP_HEADER).and_then(wire::u32))
        else {
            break;
        };
        let Some(attributes) = rest.get(HOP_HEADER..len) else { break };
        let attributes = Attributes::of(attributes);
        let others = attributes.filter(|(kind, _)| matches!(*kind, RTA_FLOW | RTA_ENCAP_TYPE));
        beyond.extend(others.map(|(kind, value)| beyond_a_route(kind, value)));
        all.push(NextHop {
            link: name(index),
            gateway: attributes
                .find(RTA_GATEWAY)
                .and_then(|value| ip::address(family, value))
                .or_else(|| attributes.find(RTA_VIA).and_then(via)),
            weight: u16::from(*more).saturating_add(1),
            onlink: u32::from(*flags) & RTNH_F_ONLINK != 0,
        });
        rest = wire::aligned(len).and_then(|next| rest.get(next..)).unwrap_or(&[]);
    }
    all
}

fn route_kind(number: u8) -> Option<RouteKind> {
    match number {
        1 => Some(RouteKind::Unicast),
        2 => Some(RouteKind::Local),
        3 => Some(RouteKind::Broadcast),
        4 => Some(RouteKind::Anycast),
        5 => Some(RouteKind::Multicast),
        6 => Some(RouteKind::Blackhole),
        7 => Some(RouteKind::Unreachable),
        8 => Some(RouteKind::Prohibit),
        9 => Some(RouteKind::Throw),
        _ => None,
    }
}

const FIB_RULE_INVERT: u32 = 2;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PROTOCOL: u16 = 21;

/// Reads the body of an `RTM_NEWRULE`. What a [`Rule`] cannot say (ports, user ids, tunnels) is left out.
pub(crate) fn read_rule(body: &[u8]) -> Option<Rule> {
    let [family, to_prefix, from_prefix, _, table, _, _, action]: [u8; 8] = body.get(..8)?.try_into().ok()?;
    let flags = wire::u32(body.get(8..)?)?;
    let (mut table, mut target) = (u32::from(table), 0);
    let mut rule = Rule {
        family: match family {
            AF_INET => Family::Ipv4,
            AF_INET6 => Family::Ipv6,
            _ => return None,
        },
        priority: 0,
        from: None,
        to: None,
        iif: None,
        oif: None,
        mark: None,
        not: flags & FIB_RULE_INVERT != 0,
        action: RuleAction::Nop,
        protocol: 0,
    };
    let (mut mark, mut mask) = (0, None);
    for (kind, value) in Attributes::after(body, HEADER) {
        match kind {
            FRA_DST => rule.to = ip::network(family, Some(value), to_prefix),
            FRA_SRC => rule.from = ip::network(family, Some(value), from_prefix),
            // 0 as the number: a rule names its link by name, and the link need not exist.
            FRA_IIFNAME => rule.iif = Some(super::link::name(wire::text(value), 0)),
            FRA_OIFNAME => rule.oif = Some(super::link::name(wire::text(value), 0)),
            FRA_GOTO => target = wire::u32(value)?,
            FRA_PRIORITY => rule.priority = wire::u32(value)?,
            FRA_FWMARK => mark = wire::u32(value)?,
            FRA_FWMASK => mask = wire::u32(value),
            FRA_TABLE => table = wire::u32(value)?,
            FRA_PROTOCOL => rule.protocol = wire::u8(value)?,
            _ => {}
        }
    }
    rule.mark = mask.map(|mask| (mark, mask));
    rule.action = match action {
        1 => RuleAction::Table(table),
        2 => RuleAction::Goto(target),
        3 => RuleAction::Nop,
        6 => RuleAction::Blackhole,
        7 => RuleAction::Unreachable,
        8 => RuleAction::Prohibit,
        _ => return None,
    };
    Some(rule)
}
