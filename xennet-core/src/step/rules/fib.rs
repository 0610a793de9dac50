//! Looking up: is an address ours, and which way leads to a gateway (`net/ipv4/fib_*.c`, `net/ipv6/route.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{World, addr};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Address, Family, LinkKind, Route, RouteKind, RuleAction};

/// The table of the kernel's own (`RT_TABLE_LOCAL`).
const LOCAL: u32 = 255;
const DEFAULT: u32 = 253;
const SCOPE_LINK: u8 = 253;

/// `inet_addr_type` is `RTN_LOCAL`: the address of any link, up or down, or of a network on loopback.
pub(super) fn is_local4(w: &World<'_>, ip: Ipv4Addr) -> bool {
    addr::is_station4(ip)
        && w.now
            .addresses
            .iter()
            .any(|a| a.address.ip() == IpAddr::V4(ip) || local_net(w, a).is_some_and(|n| n.contains(ip)))
}

/// The network that is local as a whole because of an address of loopback (`fib_add_ifaddr`, `RTN_LOCAL`). It is made when
/// loopback goes up, which its own address shows, and outlives its going down.
fn local_net(w: &World<'_>, a: &Address) -> Option<Ipv4Network> {
    let link = w.now.links.get(&a.link).filter(|l| l.kind == LinkKind::Loopback)?;
    let been_up = link.up || w.now.addresses_of(&a.link).any(|p| p.address.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST));
    let station = matches!(a.address.ip(), IpAddr::V4(own) if addr::is_station4(own));
    if been_up && station && !a.no_prefix_route && !a.secondary { addr::subnet(a) } else { None }
}

/// The broadcast addresses of a link's networks (`fib_add_ifaddr`), which are in the local table while it is up.
fn is_broadcast4(w: &World<'_>, ip: Ipv4Addr, via: Option<&IfName>) -> bool {
    ip.is_broadcast()
        || w.now.addresses.iter().any(|a| {
            if via.is_some_and(|v| *v != a.link) || !w.is_up(&a.link) {
                return false;
            }
            // Its routes would have the address as their source.
            if !matches!(a.address.ip(), IpAddr::V4(own) if addr::is_station4(own)) {
                return false;
            }
            let of_net = !a.secondary
                && addr::subnet(a).is_some_and(|n| n.prefix() < 31 && n.ip().octets()[0] != 0 && n.broadcast() == ip);
            of_net || (a.broadcast == Some(ip) && !ip.is_unspecified())
        })
}

/// What a look-up found.
struct Found {
    kind: RouteKind,
    link: Option<IfName>,
    has_gateway: bool,
    default: bool,
}

/// A packet that is looked for: the kernel asks with scope, link and destination.
struct Flow<'a> {
    to: IpAddr,
    via: Option<&'a IfName>,
    scope: u8,
}

/// The link that leads to an IPv4 gateway (`fib_check_nh_v4_gw`). `None`: it cannot be known.
pub(super) fn gateway4(
    w: &World<'_>,
    route: &Route,
    hop: &Hop<'_>,
    gateway: Ipv4Addr,
) -> Result<Option<IfName>, Errno> {
    if hop.onlink {
        // A gateway that is simply believed: the link must be given and be up, and the address be a station's.
        if route.scope >= SCOPE_LINK {
            return Err(Errno::EINVAL);
        }
        let link = hop.link.ok_or(Errno::ENODEV)?;
        if !w.link(link)?.up {
            return Err(Errno::ENETDOWN);
        }
        // __inet_dev_addr_type: without a local table everything is a broadcast address.
        let any = w.now.hidden.ipv4_used || w.now.addresses.iter().any(|a| a.address.is_ipv4());
        if w.now.hidden.whole && !any {
            return Err(Errno::EINVAL);
        }
        // inet_addr_type_dev_table is RTN_UNICAST
        let station = !is_local4(w, gateway)
            && !is_broadcast4(w, gateway, None)
            && !gateway.is_multicast()
            && gateway.octets()[0] != 0;
        return if station { Ok(Some(*link)) } else { Err(Errno::EINVAL) };
    }
    if !w.knows_all() {
        return match hop.link {
            Some(link) if !w.link(link)?.up => Err(Errno::ENETDOWN),
            link => Ok(link.copied()),
        };
    }
    let scope = route.scope.saturating_add(1).max(SCOPE_LINK);
    let flow = Flow { to: IpAddr::V4(gateway), via: hop.link, scope };
    let own = (route.table != Route::MAIN && route.table != 0).then(|| in_table(w, route.table, &flow));
    let found = match own {
        Some(Ok(found)) => found,
        _ => by_rules(w, &flow)?,
    };
    if !matches!(found.kind, RouteKind::Unicast | RouteKind::Local) {
        return Err(Errno::EINVAL);
    }
    let link = found.link.ok_or(Errno::EINVAL)?;
    if !w.is_up(&link) {
        return Err(Errno::ENETDOWN);
    }
    Ok(Some(link))
}

/// One way of a route, as the checks see it.
pub(super) struct Hop<'a> {
    pub(super) link: Option<&'a IfName>,
    pub(super) onlink: bool,
}

/// `fib_lookup`: through the policy rules. `ENETUNREACH` where none leads on.
fn by_rules(w: &World<'_>, flow: &Flow<'_>) -> Result<Found, Errno> {
    let family = Family::of(&flow.to);
    let mut priority_from = 0;
    let mut rules: Vec<_> = w.now.rules.iter().filter(|r| r.family == family).collect();
    rules.sort_by_key(|r| r.priority);
    let mut at = 0;
    while let Some(rule) = rules.get(at) {
        at += 1;
        if rule.priority < priority_from {
            continue;
        }
        // The kernel asks as itself: from nowhere, coming in by loopback, without a mark.
        let from = rule.from.is_none_or(|n| n.prefix() == 0 || n.contains(unspecified(family)));
        let to = rule.to.is_none_or(|n| n.contains(flow.to));
        let iif = rule.iif.is_none_or(|l| w.now.links.get(&l).is_some_and(|l| l.kind == LinkKind::Loopback));
        let oif = rule.oif.is_none_or(|l| flow.via == Some(&l));
        let mark = rule.mark.is_none_or(|(mark, mask)| mark & mask == 0);
        if (from && to && iif && oif && mark) == rule.not {
            continue;
        }
        match rule.action {
            RuleAction::Table(table) => match in_table(w, table, flow) {
                Err(Errno::EAGAIN) => {}
                other => return other,
            },
            RuleAction::Goto(target) => priority_from = target,
            RuleAction::Blackhole => return Err(Errno::EINVAL),
            RuleAction::Unreachable => return Err(Errno::ENETUNREACH),
            RuleAction::Prohibit => return Err(Errno::EACCES),
            RuleAction::Nop => {}
        }
    }
    // Without custom rules the kernel does not look at them (fib_has_custom_rules), with the same result.
    if rules.is_empty() {
        for table in [LOCAL, Route::MAIN, DEFAULT] {
            match in_table(w, table, flow) {
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
        }
    }
    Err(Errno::ENETUNREACH)
}

fn unspecified(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    }
}

/// `fib_table_lookup`: the longest prefix whose routes have the scope and the link; `EAGAIN` where there is none.
fn in_table(w: &World<'_>, table: u32, flow: &Flow<'_>) -> Result<Found, Errno> {
    if table == LOCAL {
        return in_local(w, flow);
    }
    let mut fits: Vec<&Route> =
        w.now.routes.iter().filter(|r| r.table == table && same_family_contains(r.destination, flow.to)).collect();
    fits.sort_by_key(|r| (std::cmp::Reverse(r.destination.prefix()), std::cmp::Reverse(r.tos), r.metric));
    for route in fits {
        // An alias with a type of service is for packets that carry it.
        if route.tos != 0 || (flow.to.is_ipv4() && route.scope < flow.scope) {
            continue;
        }
        // IPv6 routes that refuse are at loopback, and no way to anybody who asks for another link (rt6_score_route).
        if flow.to.is_ipv6() && route.link.is_some() && flow.via.is_some() && route.link.as_ref() != flow.via {
            continue;
        }
        match route.kind {
            RouteKind::Blackhole => return Err(Errno::EINVAL),
            RouteKind::Unreachable => return Err(Errno::EHOSTUNREACH),
            RouteKind::Prohibit => return Err(Errno::EACCES),
            RouteKind::Throw => return Err(Errno::EAGAIN),
            _ => {}
        }
        let single = [(route.link, route.gateway)];
        let several: Vec<_> = route.next_hops.iter().map(|h| (h.link, h.gateway)).collect();
        let hops = if several.is_empty() { &single[..] } else { &several[..] };
        let hop = hops.iter().find(|(link, _)| flow.via.is_none_or(|v| link.as_ref() == Some(v)));
        if let Some((link, gateway)) = hop {
            return Ok(Found {
                kind: route.kind,
                link: *link,
                has_gateway: gateway.is_some(),
                default: route.destination.prefix() == 0,
            });
        }
    }
    Err(Errno::EAGAIN)
}

fn same_family_contains(net: IpNetwork, ip: IpAddr) -> bool {
    net.is_ipv4() == ip.is_ipv4() && net.contains(ip)
}

/// The table of the kernel's own, which no snapshot shows: it follows from the addresses.
fn in_local(w: &World<'_>, flow: &Flow<'_>) -> Result<Found, Errno> {
    let IpAddr::V4(ip) = flow.to else {
        let own = w
            .now
            .addresses
            .iter()
            .find(|a| a.address.ip() == flow.to && w.is_up(&a.link) && flow.via.is_none_or(|v| *v == a.link));
        return own.map_or(Err(Errno::EAGAIN), |a| {
            Ok(Found { kind: RouteKind::Local, link: Some(a.link), has_gateway: false, default: false })
        });
    };
    let of_link = |a: &&Address| flow.via.is_none_or(|v| *v == a.link);
    if let Some(a) = w.now.addresses.iter().filter(of_link).find(|a| a.address.ip() == flow.to) {
        return Ok(Found { kind: RouteKind::Local, link: Some(a.link), has_gateway: false, default: false });
    }
    if flow.scope <= SCOPE_LINK && is_broadcast4(w, ip, flow.via) {
        return Ok(Found { kind: RouteKind::Broadcast, link: None, has_gateway: false, default: false });
    }
    let loopback = w.now.addresses.iter().filter(of_link).find(|a| local_net(w, a).is_some_and(|n| n.contains(ip)));
    loopback.map_or(Err(Errno::EAGAIN), |a| {
        Ok(Found { kind: RouteKind::Local, link: Some(a.link), has_gateway: false, default: false })
    })
}

/// The link that leads to an IPv6 gateway (`ip6_validate_gw`). `None`: it cannot be known.
pub(super) fn gateway6(w: &World<'_>, table: u32, hop: &Hop<'_>, gateway: Ipv6Addr) -> Result<Option<IfName>, Errno> {
    let link_local = gateway.segments()[0] & 0xffc0 == 0xfe80;
    let is_own = |via: Option<&IfName>| {
        w.now.addresses.iter().any(|a| a.address.ip() == IpAddr::V6(gateway) && via.is_none_or(|v| *v == a.link))
    };
    if hop.onlink {
        let link = hop.link.ok_or(Errno::ENODEV)?;
        if !w.link(link)?.up {
            return Err(Errno::ENETDOWN);
        }
    }
    if is_own(hop.link.filter(|_| link_local)) && !(link_local && hop.link.is_none()) {
        return Err(Errno::EINVAL);
    }
    let mut link = hop.link.copied();
    if !link_local {
        if gateway.is_unspecified() || gateway.is_multicast() || gateway.is_loopback() {
            return Err(Errno::EINVAL);
        }
        if !w.knows_all() {
            return Ok(link);
        }
        if hop.onlink {
            mismatch6(w, hop.link, gateway)?;
        } else {
            link = Some(reach6(w, table, hop.link, gateway)?);
        }
    }
    let link = link.ok_or(Errno::EINVAL)?;
    if w.link(&link)?.kind == LinkKind::Loopback {
        return Err(Errno::EINVAL);
    }
    Ok(Some(link))
}

/// `ip6_route_check_nh_onlink`: a gateway is believed unless the main table leads to it through another link.
fn mismatch6(w: &World<'_>, link: Option<&IfName>, gateway: Ipv6Addr) -> Result<(), Errno> {
    let flow = Flow { to: IpAddr::V6(gateway), via: None, scope: 0 };
    match in_table(w, Route::MAIN, &flow) {
        Ok(found) if !found.default && found.link.as_ref() != link && !is_loopback(w, found.link) => Err(Errno::EINVAL),
        _ => Ok(()),
    }
}

/// A route through loopback that is not local refuses (`fib6_is_reject`).
fn is_loopback(w: &World<'_>, link: Option<IfName>) -> bool {
    link.and_then(|l| w.now.links.get(&l)).is_some_and(|l| l.kind == LinkKind::Loopback)
}

/// `ip6_route_check_nh`: a route without gateway must lead there, through the link if one was given.
fn reach6(w: &World<'_>, table: u32, via: Option<&IfName>, gateway: Ipv6Addr) -> Result<IfName, Errno> {
    let flow = Flow { to: IpAddr::V6(gateway), via, scope: 0 };
    let good = |found: Result<Found, Errno>| match found {
        Ok(Found { kind: RouteKind::Unicast | RouteKind::Local, link, has_gateway: false, .. }) => {
            link.filter(|l| !is_loopback(w, Some(*l)))
        }
        _ => None,
    };
    good(in_table(w, table, &flow)).or_else(|| good(by_rules(w, &flow))).ok_or(Errno::EHOSTUNREACH)
}
