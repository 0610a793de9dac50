//! Routes (`net/ipv4/fib_frontend.c`, `fib_semantics.c`, `fib_trie.c`; `net/ipv6/route.c`, `ip6_fib.c`).

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::fib::{self, Hop};
use super::{World, addr6};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Address, LinkKind, NextHop, Part, Route, RouteKind};
use crate::step::RouteStep;

/// The metric of an IPv6 route that was given none (`IP6_RT_PRIO_USER`).
const METRIC6: u32 = 1024;

pub(super) fn step(w: &mut World<'_>, step: &RouteStep) -> Result<(), Errno> {
    match step {
        RouteStep::Add(r) if r.destination.is_ipv4() => add4(w, r, Place::MustBeFree),
        RouteStep::Add(r) => add6(w, r, Place::MustBeFree),
        RouteStep::Replace(r) if r.destination.is_ipv4() => add4(w, r, Place::IsTaken),
        RouteStep::Replace(r) => add6(w, r, Place::IsTaken),
        RouteStep::Append(r) if r.destination.is_ipv4() => add4(w, r, Place::IsLast),
        RouteStep::Prepend(r) if r.destination.is_ipv4() => add4(w, r, Place::IsFirst),
        // Of IPv6 they become ways of one route, or stand beside each other without an order that counts.
        RouteStep::Append(r) | RouteStep::Prepend(r) => add6(w, r, Place::IsLast),
        RouteStep::Del(r) => del(w, r),
    }
}

/// What becomes of a route that has the destination and metric of the new one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// `NLM_F_EXCL`
    MustBeFree,
    /// `NLM_F_REPLACE`
    IsTaken,
    /// `NLM_F_APPEND`
    IsLast,
    /// None of these.
    IsFirst,
}

/// Names are looked up before anything is sent.
fn links_exist(w: &World<'_>, r: &Route) -> Result<(), Errno> {
    r.next_hops.iter().filter_map(|h| h.link.as_ref()).chain(&r.link).try_for_each(|l| w.link(l).map(drop))
}

/// Drops its packets or refuses them: `fib_props[].error`, `RTF_REJECT`.
fn is_reject(kind: RouteKind) -> bool {
    matches!(kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit | RouteKind::Throw)
}

/// The widest scope that a route of a kind can have (`fib_props[].scope`).
fn widest_scope(kind: RouteKind) -> u8 {
    match kind {
        RouteKind::Local => 254,
        RouteKind::Broadcast | RouteKind::Anycast => 253,
        _ => 0,
    }
}

/// `fib_table_insert`, `fib_create_info`.
fn add4(w: &mut World<'_>, wanted: &Route, place: Place) -> Result<(), Errno> {
    links_exist(w, wanted)?;
    let mut r = Route { gateway: wanted.gateway.filter(|g| !g.is_unspecified()), ..wanted.clone() };
    // fib_valid_key_len
    if r.destination.network() != r.destination.ip() {
        return Err(Errno::EINVAL);
    }
    if widest_scope(r.kind) > r.scope || r.scope > 254 {
        return Err(Errno::EINVAL);
    }
    if is_reject(r.kind) {
        if r.link.is_some() || r.gateway.is_some() || !r.next_hops.is_empty() {
            return Err(Errno::EINVAL);
        }
    } else if r.scope == 254 {
        if r.next_hops.len() > 1 || r.gateway.is_some() {
            return Err(Errno::EINVAL);
        }
        if r.link.is_none() {
            return Err(Errno::ENODEV);
        }
    } else if r.next_hops.is_empty() {
        let hop = NextHop { link: r.link, gateway: r.gateway, weight: 1, onlink: r.onlink };
        r.link = check_hop4(w, &r, &hop)?;
    } else {
        let mut hops = r.next_hops.clone();
        for hop in &mut hops {
            hop.link = check_hop4(w, &r, hop)?;
        }
        r.next_hops = hops;
        r.onlink = false;
    }
    r.source = r.source.filter(|s| !s.is_unspecified());
    if let Some(source) = r.source
        && !is_reject(r.kind)
        && w.knows_all()
        && !valid_source4(w, &r, source)
    {
        return Err(Errno::EINVAL);
    }
    // fib_table_insert: one route for a destination, type of service and metric, unless the kernel adds them by itself.
    let mut there = w.in_order(&r);
    let at = match (place, there.first()) {
        (Place::MustBeFree, Some(_)) => return Err(Errno::EEXIST),
        (Place::IsTaken, Some(first)) => {
            // The very same route, and not as the first: fa_match.
            if *first != r && there.contains(&r) {
                return Err(Errno::EEXIST);
            }
            w.now.routes.remove(first);
            there.remove(0);
            0
        }
        (Place::IsLast | Place::IsFirst, Some(_)) if there.contains(&r) => return Err(Errno::EEXIST),
        (Place::IsLast, _) => there.len(),
        (_, _) => 0,
    };
    w.put_in_order(r, there, at);
    Ok(())
}

/// The routes that have the place of one: its destination, type of service and metric.
fn in_place<'a>(w: &'a World<'_>, r: &Route) -> impl Iterator<Item = &'a Route> + use<'a> {
    let (table, destination, tos, metric) = (r.table, r.destination, r.tos, r.metric);
    w.now
        .routes
        .iter()
        .filter(move |p| p.table == table && p.destination == destination && p.tos == tos && p.metric == metric)
}

/// `fib_check_nh`: which link a way leaves through.
fn check_hop4(w: &World<'_>, r: &Route, hop: &NextHop) -> Result<Option<IfName>, Errno> {
    let seen = Hop { link: hop.link.as_ref(), onlink: hop.onlink };
    match hop.gateway {
        Some(IpAddr::V4(gateway)) => fib::gateway4(w, r, &seen, gateway),
        Some(IpAddr::V6(gateway)) => {
            // fib_check_nh_v6_gw
            let link = fib::gateway6(w, Route::MAIN, &seen, gateway)?;
            if let Some(link) = link {
                usable6(w, &link)?;
            }
            Ok(link)
        }
        // fib_check_nh_nongw
        None if hop.onlink => Err(Errno::EINVAL),
        None => {
            let link = hop.link.ok_or(Errno::ENODEV)?;
            let state = w.link(&link)?;
            // inetdev_by_index
            if state.mtu < super::addr::MIN_MTU {
                return Err(Errno::ENODEV);
            }
            if state.up { Ok(Some(link)) } else { Err(Errno::ENETDOWN) }
        }
    }
}

/// `fib_valid_prefsrc`: an address of this host.
fn valid_source4(w: &World<'_>, r: &Route, source: IpAddr) -> bool {
    let IpAddr::V4(ip) = source else { return false };
    if r.kind == RouteKind::Local && r.destination == IpNetwork::from(source) {
        return true;
    }
    let custom = r.table != Route::MAIN
        && w.now.routes.iter().any(|p| {
            p.table == r.table
                && p.kind == RouteKind::Local
                && p.destination.is_ipv4()
                && p.destination.contains(source)
        });
    custom || fib::is_local4(w, ip)
}

/// Whether IPv6 takes a link for a route (`fib6_nh_init`).
fn usable6(w: &World<'_>, link: &IfName) -> Result<(), Errno> {
    let state = w.link(link)?;
    if state.addr_gen_mode.is_none() {
        return Err(Errno::ENODEV);
    }
    if addr6::disabled(w, link) {
        return Err(Errno::EACCES);
    }
    if !state.up {
        return Err(Errno::ENETDOWN);
    }
    Ok(())
}

/// `ip6_route_add`, `ip6_route_info_create`, `fib6_nh_init`, `fib6_add`.
fn add6(w: &mut World<'_>, wanted: &Route, place: Place) -> Result<(), Errno> {
    links_exist(w, wanted)?;
    let network =
        IpNetwork::new(wanted.destination.network(), wanted.destination.prefix()).map_err(|_| Errno::EINVAL)?;
    let mut r = Route {
        // Bits beyond the prefix are cut off, without a word.
        destination: network,
        tos: 0,
        scope: 0,
        metric: if wanted.metric == 0 { METRIC6 } else { wanted.metric },
        // rtm_to_fib6_config: unspecified becomes boot.
        protocol: if wanted.protocol == 0 { 3 } else { wanted.protocol },
        gateway: wanted.gateway.filter(|g| !g.is_unspecified()),
        source: wanted.source.filter(|s| !s.is_unspecified()),
        ..wanted.clone()
    };
    // fib6_nh_init: asked before it is looked at what kind of route it is.
    if let Some(link) = &r.link
        && w.link(link)?.addr_gen_mode.is_none()
    {
        return Err(Errno::ENODEV);
    }
    if r.onlink && r.next_hops.is_empty() {
        let link = r.link.ok_or(Errno::ENODEV)?;
        if !w.link(&link)?.up {
            return Err(Errno::ENETDOWN);
        }
    }
    if is_reject(r.kind) {
        // Routes that refuse are kept at loopback, whatever was given.
        r.link = Some(loopback(w));
        r.gateway = None;
        r.onlink = false;
    } else if r.next_hops.is_empty() {
        let hop = NextHop { link: r.link, gateway: r.gateway, weight: 1, onlink: r.onlink };
        r.link = check_hop6(w, &r, &hop)?;
    } else {
        let mut hops = r.next_hops.clone();
        for hop in &mut hops {
            hop.link = check_hop6(w, &r, hop)?;
        }
        r.next_hops = hops;
    }
    if let Some(source) = r.source
        && w.knows_all()
        && !w.now.addresses.iter().any(|a| is_source6(a, source, &r))
    {
        return Err(Errno::EINVAL);
    }
    // fib6_add_rt2node: one route for a destination and metric.
    let there: Vec<Route> = in_place(w, &r).cloned().collect();
    if place == Place::MustBeFree && !there.is_empty() {
        return Err(Errno::EEXIST);
    }
    if matches!(place, Place::IsLast | Place::IsFirst) {
        w.now.routes.insert(r);
        return Ok(());
    }
    // Of several ways those go that are of the new one's kind, or else the first (rt6_qualify_for_ecmp).
    let ways = |p: &Route| p.gateway.is_some() || !p.next_hops.is_empty();
    // What a router has told is nobody's further way (RTF_ADDRCONF).
    let told = |p: &Route| p.protocol == Route::BY_ROUTERS;
    let alike: Vec<Route> = there.iter().filter(|p| ways(p) == ways(&r) && !told(p)).cloned().collect();
    let gone = match &alike[..] {
        [] => &there[..there.len().min(1)],
        all if ways(&r) => all,
        [first, ..] => std::slice::from_ref(first),
    };
    for route in gone {
        w.now.routes.remove(route);
    }
    w.now.routes.insert(r);
    Ok(())
}

/// `ipv6_chk_addr`: an address of any link; one that holds for its link or host only must be of the route's link.
fn is_source6(a: &Address, source: IpAddr, r: &Route) -> bool {
    let narrow = matches!(a.scope, 253 | 254);
    a.address.ip() == source && (!narrow || r.leads_through(&a.link))
}

fn loopback(w: &World<'_>) -> IfName {
    let known = w.now.links.iter().find(|(_, l)| l.kind == LinkKind::Loopback).map(|(n, _)| *n);
    known.unwrap_or_else(|| IfName::literal("lo"))
}

fn check_hop6(w: &World<'_>, r: &Route, hop: &NextHop) -> Result<Option<IfName>, Errno> {
    let seen = Hop { link: hop.link.as_ref(), onlink: hop.onlink };
    if let Some(link) = &hop.link
        && w.link(link)?.addr_gen_mode.is_none()
    {
        return Err(Errno::ENODEV);
    }
    let link = match hop.gateway {
        Some(IpAddr::V6(gateway)) => fib::gateway6(w, r.table, &seen, gateway)?,
        Some(IpAddr::V4(_)) => return Err(Errno::EINVAL),
        None => Some(hop.link.ok_or(Errno::ENODEV)?),
    };
    if let Some(link) = &link {
        usable6(w, link)?;
    }
    Ok(link)
}

/// `fib_table_delete`, `ip6_route_del`: the first route that fits; what is not given fits anything.
fn del(w: &mut World<'_>, wanted: &Route) -> Result<(), Errno> {
    links_exist(w, wanted)?;
    let v4 = wanted.destination.is_ipv4();
    // fib_valid_key_len
    if v4 && wanted.destination.network() != wanted.destination.ip() {
        return Err(Errno::EINVAL);
    }
    let destination =
        IpNetwork::new(wanted.destination.network(), wanted.destination.prefix()).map_err(|_| Errno::EINVAL)?;
    let fits = |r: &&Route| {
        let place = r.table == wanted.table
            && r.destination == destination
            && (wanted.metric == 0 || r.metric == wanted.metric)
            && (wanted.protocol == 0 || r.protocol == wanted.protocol);
        if !v4 {
            return place
                && wanted.link.is_none_or(|l| r.link == Some(l))
                && wanted.gateway.is_none_or(|g| r.gateway == Some(g));
        }
        place
            && r.tos == wanted.tos
            && r.kind == wanted.kind
            && r.scope == wanted.scope
            && wanted.source.is_none_or(|s| r.source == Some(s))
            && wanted.mtu.is_none_or(|m| r.mtu == Some(m))
            && wanted.metrics.iter().all(|m| r.metrics.contains(m))
            && wanted.link.is_none_or(|l| r.link == Some(l))
            && wanted.gateway.is_none_or(|g| r.gateway == Some(g))
            && (wanted.next_hops.is_empty() || r.next_hops == wanted.next_hops)
    };
    match w.now.routes.iter().find(fits).cloned() {
        Some(r) => {
            w.now.routes.remove(&r);
            Ok(())
        }
        None if knows_route(w, wanted) && meets_null(w, wanted) => Err(Errno::ENOENT),
        None if knows_route(w, wanted) => Err(Errno::ESRCH),
        None => Ok(()),
    }
}

/// `__ip6_del_rt`: where there is no default route, the entry that says so (at loopback, of the kernel) is met, and it
/// cannot be deleted. A table is there while it has routes; the main one always.
fn meets_null(w: &World<'_>, r: &Route) -> bool {
    let mut in_table = w.now.routes.iter().filter(|p| p.table == r.table && p.destination.is_ipv6()).peekable();
    r.destination.is_ipv6()
        && r.destination.prefix() == 0
        && r.gateway.is_none()
        && r.metric == 0
        && matches!(r.protocol, 0 | 2)
        && r.link.is_none_or(|l| w.now.links.get(&l).is_some_and(|l| l.kind == LinkKind::Loopback))
        && (r.table == Route::MAIN || in_table.peek().is_some())
        && in_table.all(|p| p.destination.prefix() != 0)
}

fn knows_route(w: &World<'_>, r: &Route) -> bool {
    r.link.is_some_and(|l| w.knows(&Part::Routes(l)) || w.knows(&Part::RouteThrough(l, r.destination)))
        || w.knows_all()
        || (r.table == Route::MAIN && w.knows(&Part::Route(r.destination)))
}
