//! Addresses: the way of a step, and IPv4 (`net/ipv4/devinet.c`, `net/ipv4/fib_frontend.c`).

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{World, addr6};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Address, Family, LinkKind, Part, Route, RouteKind};
use crate::step::{AddrStep, Implied};

/// The smallest MTU that IPv4 lives on (`IPV4_MIN_MTU`). Only loopback can have less.
pub(super) const MIN_MTU: u32 = 68;

pub(super) fn step(w: &mut World<'_>, step: &AddrStep) -> Result<(), Errno> {
    match step {
        AddrStep::Add(a) if a.address.is_ipv4() => add(w, a),
        AddrStep::Add(a) => addr6::add(w, a),
        AddrStep::Del(a) if a.address.is_ipv4() => del(w, a),
        AddrStep::Del(a) => addr6::del(w, a),
    }
}

/// The IPv4 network that an address makes its link a member of: of the peer, where there is one (`ifa_address`).
pub(super) fn subnet(a: &Address) -> Option<Ipv4Network> {
    let IpNetwork::V4(own) = a.address else { return None };
    let base = match a.peer {
        Some(IpAddr::V4(peer)) => peer,
        _ => own.ip(),
    };
    let whole = Ipv4Network::new(base, own.prefix()).ok()?;
    Ipv4Network::new(whole.network(), own.prefix()).ok()
}

/// Whether an address is one that a single station can have: no group, not "everyone", not "this network".
pub(super) fn is_station4(ip: Ipv4Addr) -> bool {
    !ip.is_multicast() && !ip.is_broadcast() && ip.octets()[0] != 0
}

/// IPv4 addresses of a link in the kernel's order.
pub(super) fn in_order(w: &World<'_>, link: &IfName) -> Vec<Address> {
    let mut all: Vec<Address> = w.now.addresses_of(link).filter(|a| a.address.is_ipv4()).cloned().collect();
    all.sort_by_key(|a| w.now.hidden.position(a));
    all
}

/// `net/ipv4/devinet.c`, `inet_rtm_newaddr` and `__inet_insert_ifa`.
fn add(w: &mut World<'_>, wanted: &Address) -> Result<(), Errno> {
    let link = w.link(&wanted.link)?;
    let IpAddr::V4(ip) = wanted.address.ip() else { return Err(Errno::EINVAL) };
    // nla policy of IFA_LABEL: IFNAMSIZ - 1.
    if wanted.label.as_ref().is_some_and(|l| l.len() > IfName::MAX) {
        return Err(Errno::ERANGE);
    }
    // 0.0.0.0 is dropped without a word, before anything is looked at.
    if ip.is_unspecified() {
        return Ok(());
    }
    // No in_device: inetdev_event, NETDEV_CHANGEMTU.
    if link.mtu < MIN_MTU {
        return Err(Errno::ENOBUFS);
    }
    let a = Address {
        peer: wanted.peer.filter(|p| *p != IpAddr::V4(ip)),
        label: wanted.label.clone().filter(|l| wanted.link != l.as_str()),
        secondary: false,
        // IPv4 keeps no IPv6 flags: IPV6ONLY_FLAGS in __inet_insert_ifa.
        nodad: false,
        ..wanted.clone()
    };
    insert(w, a)
}

/// `find_matching_ifa` and `__inet_insert_ifa`.
fn insert(w: &mut World<'_>, mut a: Address) -> Result<(), Errno> {
    let net = subnet(&a);
    let present = in_order(w, &a.link);
    let same_net: Vec<&Address> = present.iter().filter(|p| subnet(p) == net).collect();
    if same_net.iter().any(|p| p.address.ip() == a.address.ip()) {
        return Err(Errno::EEXIST);
    }
    if same_net.iter().any(|p| p.scope != a.scope) {
        return Err(Errno::EINVAL);
    }
    a.secondary = !same_net.is_empty();
    let place = if a.secondary {
        present.len()
    } else {
        present.iter().rposition(|p| !p.secondary && a.scope <= p.scope).map_or(0, |at| at + 1)
    };
    insert_at(w, &a, &present, place);
    if w.is_up(&a.link) {
        connect(w, &a);
    }
    Ok(())
}

/// Puts an address into the world and into the order of its link.
fn insert_at(w: &mut World<'_>, a: &Address, present: &[Address], place: usize) {
    put_in_order(w, a, present, place);
    w.now.addresses.insert(a.clone());
    w.now.hidden.ipv4_used = true;
}

/// Puts an address into the order of its family's on its link.
pub(super) fn put_in_order(w: &mut World<'_>, a: &Address, present: &[Address], place: usize) {
    let mut order: Vec<_> = present.iter().map(|p| (p.address, p.peer)).collect();
    order.insert(place.min(order.len()), (a.address, a.peer));
    let others = w.now.hidden.address_order.remove(&a.link).unwrap_or_default();
    order.extend(others.into_iter().filter(|(other, _)| other.is_ipv4() != a.address.is_ipv4()));
    w.now.hidden.address_order.insert(a.link, order);
}

/// Takes an address out of the order of its link's.
pub(super) fn forget_order(w: &mut World<'_>, a: &Address) {
    if let Some(order) = w.now.hidden.address_order.get_mut(&a.link) {
        order.retain(|(address, peer)| *address != a.address || *peer != a.peer);
    }
}

/// The route to the network of an address, if it makes one (`fib_add_ifaddr`).
fn connected(w: &World<'_>, a: &Address) -> Option<Route> {
    let net = subnet(a)?;
    let IpAddr::V4(own) = a.address.ip() else { return None };
    let link = w.now.links.get(&a.link)?;
    // On loopback the route is a local one, in the table that is not shown.
    if a.secondary || a.no_prefix_route || link.kind == LinkKind::Loopback {
        return None;
    }
    // ipv4_is_zeronet(prefix); prefix != addr || ifa_prefixlen < 32
    if net.ip().octets()[0] == 0 || (net.ip() == own && net.prefix() == 32) {
        return None;
    }
    // fib_valid_prefsrc: an address that is not a unicast one cannot be the source of a route.
    if !is_station4(own) {
        return None;
    }
    Some(Route {
        source: Some(IpAddr::V4(own)),
        metric: a.metric,
        protocol: 2,
        scope: 253,
        kind: RouteKind::Unicast,
        ..Route::to(IpNetwork::V4(net), a.link)
    })
}

/// Adds the route to the network of an address.
pub(super) fn connect(w: &mut World<'_>, a: &Address) {
    if let Some(route) = connected(w, a) {
        w.kernel_route(route);
    }
}

/// `net/ipv4/devinet.c`, `inet_rtm_deladdr`.
fn del(w: &mut World<'_>, wanted: &Address) -> Result<(), Errno> {
    w.link(&wanted.link)?;
    let net = subnet(&Address { peer: wanted.peer.filter(|p| *p != wanted.address.ip()), ..wanted.clone() });
    let found = in_order(w, &wanted.link).into_iter().find(|p| {
        p.address.ip() == wanted.address.ip()
            && p.address.prefix() == wanted.address.prefix()
            && subnet(p) == net
            && wanted.label.as_ref().is_none_or(|l| p.label.as_deref().unwrap_or(p.link.as_str()) == l)
    });
    match found {
        Some(a) => {
            remove(w, &a, Asked::Yes);
            Ok(())
        }
        None if w.knows(&Part::Addresses(wanted.link)) => Err(Errno::EADDRNOTAVAIL),
        None => Ok(()),
    }
}

/// Whether the removal of an address is what the step asked for, or follows from it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    Yes,
    No,
}

/// `__inet_del_ifa`: an address goes, with its secondaries or with one of them promoted.
pub(super) fn remove(w: &mut World<'_>, a: &Address, asked: Asked) {
    let promotes = ["all", a.link.as_str()]
        .iter()
        .any(|l| w.setting(&format!("net/ipv4/conf/{l}/promote_secondaries")).is_some_and(|v| v != 0));
    let mut followers: Vec<Address> = Vec::new();
    if !a.secondary {
        let net = subnet(a);
        followers = in_order(w, &a.link).into_iter().filter(|p| p.secondary && subnet(p) == net).collect();
        if !promotes {
            for secondary in std::mem::take(&mut followers) {
                take_away(w, &secondary, Asked::No);
            }
        }
        // Their local routes are taken away and put back for the new primary; what had them as source is flushed.
        for secondary in &followers {
            forget_source(w, secondary);
        }
    }
    take_away(w, a, asked);
    if let Some(first) = followers.first() {
        let promoted = Address { secondary: false, ..first.clone() };
        w.now.addresses.remove(first);
        w.tell(Implied::AddressGoes(first.clone()));
        let present = in_order(w, &a.link);
        let place = present.iter().rposition(|p| !p.secondary).map_or(0, |at| at + 1);
        insert_at(w, &promoted, &present, place);
        w.tell(Implied::AddressAppears(promoted.clone()));
        if w.is_up(&a.link) {
            connect(w, &promoted);
        }
    }
    if !w.now.addresses_of(&a.link).any(|p| p.address.is_ipv4()) && w.knows(&Part::Addresses(a.link)) {
        // fib_inetaddr_event: the last address takes everything with it, the default route too.
        disable(w, &a.link, Reach::Everything);
    }
}

/// One address goes, with its connected route and the routes that have it as source (`fib_del_ifaddr`).
fn take_away(w: &mut World<'_>, a: &Address, asked: Asked) {
    w.now.addresses.remove(a);
    forget_order(w, a);
    if asked == Asked::No {
        w.tell(Implied::AddressGoes(a.clone()));
    }
    if let Some(route) = connected(w, a) {
        // fib_magic(RTM_DELROUTE) takes the first route that fits: destination, type, scope, source, link, protocol.
        let fits = w.now.routes.iter().find(|r| Route { metric: route.metric, ..(*r).clone() } == route).cloned();
        if let Some(fits) = fits {
            w.now.routes.remove(&fits);
            w.tell(Implied::RouteGoes(fits));
        }
    }
    forget_source_unless_local(w, a);
}

fn forget_source_unless_local(w: &mut World<'_>, a: &Address) {
    if !matches!(a.address.ip(), IpAddr::V4(ip) if super::fib::is_local4(w, ip)) {
        forget_source(w, a);
    }
}

/// `fib_sync_down_addr`: only routes of the main table lose their life with their source.
fn forget_source(w: &mut World<'_>, a: &Address) {
    let ip = a.address.ip();
    w.drop_routes(|r| r.table == Route::MAIN && r.source == Some(ip) && r.destination.is_ipv4());
}

/// How much goes when IPv4 is switched off on a link.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// The link went down: what is local to the host stays.
    LinkDown,
    /// The last address went.
    Everything,
    /// The link itself goes: a route with several ways goes even if others are left.
    LinkGone,
}

/// `fib_disable_ip`: routes through the link go, and its neighbours (`arp_ifdown`), permanent and proxy ones too.
pub(super) fn disable(w: &mut World<'_>, link: &IfName, reach: Reach) {
    let down: Vec<IfName> = w.now.links.iter().filter(|(_, l)| !l.up).map(|(n, _)| *n).collect();
    w.drop_routes(|r| {
        if r.destination.is_ipv6() {
            return false;
        }
        if !r.next_hops.is_empty() {
            let through = r.next_hops.iter().any(|h| h.link.as_ref() == Some(link));
            let all = r.next_hops.iter().all(|h| h.link.is_none_or(|l| l == *link || down.contains(&l)));
            return through && (all || reach == Reach::LinkGone);
        }
        r.link.as_ref() == Some(link) && (r.scope != 254 || reach != Reach::LinkDown)
    });
    super::neigh::flush(w, link, Family::Ipv4, super::neigh::Flush::All);
}

/// The address that loopback gets whenever it goes up (`inetdev_event`, `NETDEV_UP`).
fn loopback_address(link: IfName) -> Address {
    Address {
        scope: 254,
        ..Address::new(link, IpNetwork::V4(Ipv4Network::new(Ipv4Addr::LOCALHOST, 8).expect("8 is a prefix length")))
    }
}

/// `inetdev_event`, `NETDEV_UP`: each address connects its network again.
pub(super) fn link_up(w: &mut World<'_>, link: &IfName) {
    let Some(state) = w.now.links.get(link).filter(|l| l.mtu >= MIN_MTU) else { return };
    let loopback = state.kind == LinkKind::Loopback;
    let known: Vec<Address> = in_order(w, link);
    if loopback && insert(w, loopback_address(*link)).is_ok() {
        let made = in_order(w, link).into_iter().filter(|a| !known.contains(a)).map(Implied::AddressAppears);
        w.implied.extend(made.collect::<Vec<_>>());
    }
    for a in in_order(w, link) {
        connect(w, &a);
    }
}

/// `inetdev_event`, `NETDEV_CHANGEMTU`: below 68 bytes IPv4 leaves the link, and comes back fresh.
pub(super) fn mtu_changed(w: &mut World<'_>, link: &IfName, before: u32) {
    let Some(now) = w.now.links.get(link).map(|l| l.mtu) else { return };
    match (before >= MIN_MTU, now >= MIN_MTU) {
        (true, false) => {
            for a in in_order(w, link) {
                if w.now.addresses.contains(&a) {
                    remove(w, &a, Asked::No);
                }
            }
            disable(w, link, Reach::Everything);
            super::sysctl::vanish(w, link, Some(Family::Ipv4));
        }
        // inetdev_init only: not even loopback gets its address back before it goes up again.
        (false, true) => super::sysctl::appear(w, link, Family::Ipv4),
        _ => {}
    }
}

/// `inetdev_changename`: every address but the first gets a label made of the new name, and a number if it had none.
pub(super) fn relabel(w: &mut World<'_>, link: &IfName) {
    for (at, a) in in_order(w, link).into_iter().enumerate() {
        let label = (at > 0).then(|| {
            let old = a.label.as_deref().unwrap_or("");
            let suffix = old.find(':').map_or_else(|| format!(":{}", at + 1), |dot| old[dot..].to_owned());
            let name = link.as_str();
            let kept = name.len().min(IfName::MAX.saturating_sub(suffix.len()));
            format!("{}{suffix}", name.get(..kept).unwrap_or(name))
        });
        if label != a.label {
            w.now.addresses.remove(&a);
            w.now.addresses.insert(Address { label, ..a });
        }
    }
}
