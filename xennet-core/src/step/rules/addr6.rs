//! IPv6 addresses (`net/ipv6/addrconf.c`).

use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::{IpNetwork, Ipv6Network};

use super::neigh::{self, Flush};
use super::{World, addr};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{AddrGenMode, Address, Family, Link, LinkKind, Part, Route, SysctlKey};
use crate::step::Implied;

/// The smallest MTU that IPv6 lives on (`IPV6_MIN_MTU`).
const MIN_MTU: u32 = 1280;

/// The metric of routes that addresses make (`IP6_RT_PRIO_ADDRCONF`).
const CONNECTED_METRIC: u32 = 256;

/// Whether IPv6 was switched off for a link by its setting.
pub(super) fn disabled(w: &World<'_>, link: &IfName) -> bool {
    w.setting(&format!("net/ipv6/conf/{link}/disable_ipv6")).is_some_and(|v| v != 0)
}

/// `rt_scope`: the scope that an IPv6 address has by itself.
fn scope(ip: &Ipv6Addr) -> u8 {
    match ip.segments()[0] {
        _ if ip.is_loopback() => 254,
        s if s & 0xffc0 == 0xfe80 => 253,
        s if s & 0xffc0 == 0xfec0 => 200,
        _ => 0,
    }
}

/// `inet6_rtm_newaddr`, `inet6_addr_add`, `ipv6_add_addr`.
pub(super) fn add(w: &mut World<'_>, wanted: &Address) -> Result<(), Errno> {
    let link = w.link(&wanted.link)?;
    let IpAddr::V6(ip) = wanted.address.ip() else { return Err(Errno::EINVAL) };
    // ipv6_find_idev makes no inet6_dev below 1280 bytes.
    if link.addr_gen_mode.is_none() {
        return Err(Errno::EINVAL);
    }
    if w.now.addresses_of(&wanted.link).any(|p| p.address.ip() == wanted.address.ip()) {
        return Err(Errno::EEXIST);
    }
    let loopback = link.kind == LinkKind::Loopback;
    // addrconf_add_dev
    if disabled(w, &wanted.link) {
        return Err(Errno::EACCES);
    }
    // ipv6_add_addr
    if ip.is_unspecified() || ip.is_multicast() || (ip.is_loopback() && !loopback) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    let a = Address {
        peer: wanted.peer.filter(|p| *p != IpAddr::V6(ip) && !p.is_unspecified()),
        broadcast: None,
        label: None,
        secondary: false,
        scope: scope(&ip),
        ..wanted.clone()
    };
    insert(w, &a);
    if w.is_up(&a.link) {
        connect(w, &a);
    }
    Ok(())
}

/// `ipv6_link_dev_addr`: the wider ones first, and of these the newest.
fn insert(w: &mut World<'_>, a: &Address) {
    let width = |a: &Address| match a.scope {
        0 => 14,
        200 => 5,
        _ => 2,
    };
    let mut present = w.now.addresses_in_order(&a.link);
    present.retain(|p| p.address.is_ipv6());
    let place = present.iter().position(|p| width(p) <= width(a)).unwrap_or(present.len());
    addr::put_in_order(w, a, &present, place);
    w.now.addresses.insert(a.clone());
}

/// An address goes, of which nothing else is said.
fn take_away(w: &mut World<'_>, a: &Address) {
    w.now.addresses.remove(a);
    addr::forget_order(w, a);
}

/// The routes to the network of an address, and to its peer (`addrconf_prefix_route`).
fn connect(w: &mut World<'_>, a: &Address) {
    if !a.no_prefix_route {
        w.kernel_route(prefix_route(a, a.address.ip(), a.address.prefix()));
    }
    if let Some(peer) = a.peer {
        w.kernel_route(prefix_route(a, peer, 128));
    }
}

fn prefix_route(of: &Address, ip: IpAddr, prefix: u8) -> Route {
    let destination = IpNetwork::new(ip, prefix)
        .and_then(|n| IpNetwork::new(n.network(), prefix))
        .expect("the prefix length is that of an IPv6 address");
    let metric = if of.metric == 0 { CONNECTED_METRIC } else { of.metric };
    Route { metric, protocol: 2, ..Route::to(destination, of.link) }
}

/// `inet6_addr_del`.
pub(super) fn del(w: &mut World<'_>, wanted: &Address) -> Result<(), Errno> {
    let link = w.link(&wanted.link)?;
    if link.addr_gen_mode.is_none() {
        return Err(Errno::ENXIO);
    }
    let found = w.now.addresses_of(&wanted.link).find(|p| p.address == wanted.address).cloned();
    match found {
        Some(a) => {
            take_away(w, &a);
            disconnect(w, &a);
            if a.flags & Address::MAKES_TEMPORARY != 0 {
                temporaries_go(w, &a);
            }
            Ok(())
        }
        None if w.knows(&Part::Addresses(wanted.link)) => Err(Errno::EADDRNOTAVAIL),
        None => Ok(()),
    }
}

/// `delete_tempaddrs`: what was made for an address goes with it.
fn temporaries_go(w: &mut World<'_>, of: &Address) {
    let net = |p: &Address| IpNetwork::new(p.address.network(), p.address.prefix()).ok();
    let made: Vec<Address> =
        w.now.addresses_of(&of.link).filter(|p| p.is_temporary() && net(p) == net(of)).cloned().collect();
    for a in made {
        take_away(w, &a);
        w.tell(Implied::AddressGoes(a.clone()));
        disconnect(w, &a);
    }
}

/// `ipv6_del_addr`, after the address itself has gone.
fn disconnect(w: &mut World<'_>, a: &Address) {
    let net = |p: &Address| IpNetwork::new(p.address.network(), p.address.prefix()).ok();
    // check_cleanup_prefix_route: another address of the link in the same network keeps the route.
    let shared = w.now.addresses_of(&a.link).any(|p| p.address.is_ipv6() && net(p) == net(a));
    // That of an address which expires is left to expire, too.
    if !a.no_prefix_route
        && a.lifetime.is_none()
        && !shared
        && let Some(destination) = net(a)
    {
        drop_prefix_route(w, &a.link, destination);
    }
    if let Some(peer) = a.peer {
        drop_prefix_route(w, &a.link, IpNetwork::from(peer));
    }
    forget_source(w, a.address.ip());
}

/// `addrconf_get_prefix_route`: the first route of the main table without gateway that fits, by metric.
fn drop_prefix_route(w: &mut World<'_>, link: &IfName, destination: IpNetwork) {
    let fits = w
        .now
        .routes
        .iter()
        .filter(|r| r.table == Route::MAIN && r.destination == destination && r.gateway.is_none())
        .find(|r| r.link.as_ref() == Some(link))
        .cloned();
    if let Some(route) = fits {
        w.now.routes.remove(&route);
        w.tell(Implied::RouteGoes(route));
    }
}

/// `rt6_remove_prefsrc`: routes outlive their source address and go on without one. Only the removal of an address does
/// this; when a link goes down with its addresses, routes through other links keep a source that nobody has.
fn forget_source(w: &mut World<'_>, ip: IpAddr) {
    if w.now.addresses.iter().any(|p| p.address.ip() == ip) {
        return;
    }
    let with: Vec<Route> = w.now.routes.iter().filter(|r| r.source == Some(ip)).cloned().collect();
    for route in with {
        w.now.routes.remove(&route);
        w.tell(Implied::RouteGoes(route.clone()));
        w.kernel_route(Route { source: None, ..route });
    }
}

/// `addrconf_ifdown`: addresses, routes and neighbours of IPv6 go. Addresses stay where `keep_addr_on_down` says so and
/// IPv6 itself stays.
pub(super) fn disable(w: &mut World<'_>, link: &IfName, ends: Ends) {
    drop_routes(w, link);
    neigh::flush(w, link, Family::Ipv6, Flush::All);
    let keep = ends == Ends::LinkDown
        && ["all", link.as_str()]
            .iter()
            .any(|l| w.setting(&format!("net/ipv6/conf/{l}/keep_addr_on_down")).is_some_and(|v| v > 0));
    let gone: Vec<Address> = w
        .now
        .addresses_of(link)
        .filter(|a| a.address.is_ipv6() && !(keep && a.scope == 0 && a.lifetime.is_none()))
        .cloned()
        .collect();
    for a in gone {
        take_away(w, &a);
        w.tell(Implied::AddressGoes(a));
    }
}

/// `rt6_disable_ip`: a route with several ways loses those through the link.
fn drop_routes(w: &mut World<'_>, link: &IfName) {
    let through = |r: &Route| r.next_hops.iter().any(|h| h.link.as_ref() == Some(link));
    let several: Vec<Route> = w.now.routes.iter().filter(|r| r.destination.is_ipv6() && through(r)).cloned().collect();
    for route in several {
        w.now.routes.remove(&route);
        w.tell(Implied::RouteGoes(route.clone()));
        let mut left = route;
        left.next_hops.retain(|h| h.link.as_ref() != Some(link));
        match left.next_hops.len() {
            0 => continue,
            1 => {
                let hop = left.next_hops.remove(0);
                left.link = hop.link;
                left.gateway = hop.gateway;
                left.onlink = hop.onlink;
            }
            _ => {}
        }
        w.kernel_route(left);
    }
    w.drop_routes(|r| r.destination.is_ipv6() && r.link.as_ref() == Some(link));
}

/// Why IPv6 ends on a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ends {
    /// The link went down.
    LinkDown,
    /// It was switched off, or its MTU is too small, or the link goes.
    Off,
}

/// `addrconf_notify`, `NETDEV_UP`.
pub(super) fn link_up(w: &mut World<'_>, link: &IfName) {
    let Some(state) = w.now.links.get(link) else { return };
    if state.addr_gen_mode.is_none() || state.mtu < MIN_MTU || disabled(w, link) {
        return;
    }
    let loopback = state.kind == LinkKind::Loopback;
    // addrconf_permanent_addr: addresses that were kept, or given while the link was down, but not those that expire.
    for a in
        w.now.addresses_of(link).filter(|a| a.address.is_ipv6() && a.lifetime.is_none()).cloned().collect::<Vec<_>>()
    {
        connect(w, &a);
    }
    if loopback {
        init_loopback(w, link);
    }
}

/// `init_loopback`
fn init_loopback(w: &mut World<'_>, link: &IfName) {
    let a = Address { scope: 254, ..Address::new(*link, IpNetwork::V6(Ipv6Network::from(Ipv6Addr::LOCALHOST))) };
    if !w.now.addresses_of(link).any(|p| p.address.ip() == a.address.ip()) {
        insert(w, &a);
        w.tell(Implied::AddressAppears(a));
    }
}

/// `addrconf_init_auto_addrs`, which a change of the setting (not of the link's attribute) calls: loopback gets its address,
/// even when it is down.
pub(super) fn write_gen_mode(w: &mut World<'_>, link: &IfName, mode: AddrGenMode) {
    let Some(state) = w.now.links.get(link) else { return };
    let (changed, loopback) = (state.addr_gen_mode != Some(mode), state.kind == LinkKind::Loopback);
    set_gen_mode(w, link, mode);
    if changed && loopback && !disabled(w, link) {
        init_loopback(w, link);
    }
}

/// `addrconf_notify`, `NETDEV_CHANGEMTU`: below 1280 bytes IPv6 leaves the link with its settings, and comes back fresh.
pub(super) fn mtu_changed(w: &mut World<'_>, link: &IfName, before: u32) {
    let Some(state) = w.now.links.get(link) else { return };
    match (state.mtu < MIN_MTU, state.addr_gen_mode.is_some()) {
        // addrconf_ifdown(dev, dev != loopback): loopback loses its addresses but not IPv6.
        (true, true) if state.kind == LinkKind::Loopback => disable(w, link, Ends::LinkDown),
        (true, true) => {
            disable(w, link, Ends::Off);
            if let Ok(l) = w.link_mut(link) {
                l.addr_gen_mode = None;
            }
            super::sysctl::vanish(w, link, Some(Family::Ipv6));
        }
        (false, false) => {
            let mode = default_gen_mode(w);
            if let Ok(l) = w.link_mut(link) {
                l.addr_gen_mode = Some(mode);
            }
            super::sysctl::appear(w, link, Family::Ipv6);
            if w.is_up(link) {
                link_up(w, link);
            }
        }
        (false, true) => follow_mtu(w, link, before),
        (true, false) => {}
    }
}

/// `rt6_mtu_change`: a route whose MTU is that of its link, or more than the link now has, takes the link's.
fn follow_mtu(w: &mut World<'_>, link: &IfName, before: u32) {
    let Some(now) = w.now.links.get(link).map(|l| l.mtu) else { return };
    let follows = |r: &&Route| {
        r.destination.is_ipv6() && r.link.as_ref() == Some(link) && r.mtu.is_some_and(|m| m >= now || m == before)
    };
    let moved: Vec<Route> = w.now.routes.iter().filter(follows).filter(|r| r.mtu != Some(now)).cloned().collect();
    for route in moved {
        w.now.routes.remove(&route);
        w.tell(Implied::RouteGoes(route.clone()));
        w.kernel_route(Route { mtu: Some(now), ..route });
    }
}

/// How a new link makes its IPv6 address (`net/ipv6/conf/default/addr_gen_mode`).
pub(super) fn default_gen_mode(w: &World<'_>) -> AddrGenMode {
    w.setting("net/ipv6/conf/default/addr_gen_mode").and_then(gen_mode).unwrap_or(AddrGenMode::Eui64)
}

/// The mode behind a number (`enum in6_addr_gen_mode`).
pub(super) fn gen_mode(number: i64) -> Option<AddrGenMode> {
    match number {
        0 => Some(AddrGenMode::Eui64),
        1 => Some(AddrGenMode::None),
        2 => Some(AddrGenMode::StablePrivacy),
        3 => Some(AddrGenMode::Random),
        _ => None,
    }
}

/// The number of a mode.
pub(super) fn gen_mode_number(mode: AddrGenMode) -> u8 {
    match mode {
        AddrGenMode::Eui64 => 0,
        AddrGenMode::None => 1,
        AddrGenMode::StablePrivacy => 2,
        AddrGenMode::Random => 3,
    }
}

/// Sets how a link makes its address, and the setting that shows it.
pub(super) fn set_gen_mode(w: &mut World<'_>, link: &IfName, mode: AddrGenMode) {
    if let Ok(l) = w.link_mut(link) {
        l.addr_gen_mode = Some(mode);
    }
    let key = SysctlKey::conf(Family::Ipv6, link, "addr_gen_mode");
    w.now.sysctls.change(&key, &gen_mode_number(mode).to_string());
}

/// Whether IPv6 takes a mode for a link: `inet6_validate_link_af`.
pub(super) fn validate_gen_mode(link: &Link, mode: AddrGenMode) -> Result<(), Errno> {
    if link.addr_gen_mode.is_none() {
        return Err(Errno::EAFNOSUPPORT);
    }
    // check_stable_privacy: there is no secret unless somebody wrote one, which no step does.
    if mode == AddrGenMode::StablePrivacy {
        return Err(Errno::EINVAL);
    }
    Ok(())
}
