//! From a network to wanted objects: its bridge, its uplink, this domain's addresses in it, and the settings it needs.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::accept;
use super::table::{Item, TableWish};
use super::uplink::{Among, Move, address_on, carried_routes, learned_anew, neighbour_on, route_through};
use super::want::{LinkTarget, LinkWish, Wanted, WantedLink, Wish, bridge, kind_words};
use super::{Reason, gate, limits};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{BridgeNetwork, BridgeSpec, GuestLinks, IfName, Network, NetworkMode, ResolvedNetwork, Subnet};
use crate::snapshot::{
    AddrGenMode, Address, Family, Link, LinkKind, Neighbour, Part, Route, Scope, Snapshot, SysctlKey,
};
use crate::step::LinkRef;
use crate::tables::gate::GATE;

/// What is to stay when a network is started: what an uplink had of its own before its bridge took it over (nothing, where it
/// has been taken over), and whether the outside's routers are listened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Carried {
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
    /// Its routes, without those that come with the addresses and those that are learned anew; of IPv4's that share a place,
    /// in the kernel's order.
    pub routes: Vec<Route>,
    /// Its permanent and proxy neighbours.
    pub neighbours: BTreeSet<Neighbour>,
    /// Whether the link towards the outside listens to router advertisements, and has to go on when this domain is a router.
    pub listens: bool,
}

pub(super) fn scope(started: &ResolvedNetwork, seen: &Snapshot) -> Scope {
    let items = gate::of_network(started);
    let former = former(started);
    let mut scope = GATE.scope(items.iter().chain(&former));
    scope = scope.union(gate::scope_of_earlier_version(started, seen)).union(accept::scope(started));
    if !items.is_empty() {
        scope = scope.union(GATE.frame_scope(&items, seen));
    }
    if let Some(bridge) = started.network.bridge() {
        scope = scope.with(Part::Link(bridge.name())).with(Part::Made(bridge.name()));
        scope.insert(Part::Addresses(bridge.name()));
    }
    match started.network.mode() {
        NetworkMode::Bridge(b) => {
            if b.uplink.is_some() {
                let defaults = IfName::literal("default");
                scope.insert(Part::Sysctl(SysctlKey::conf(Family::Ipv6, &defaults, "accept_dad")));
            }
            for link in b.uplink.into_iter().chain(b.uplink_name) {
                scope = scope.with(Part::Link(link)).with(Part::Addresses(link));
                scope = scope.with(Part::Routes(link)).with(Part::Neighbours(link));
                scope.insert(Part::Sysctl(SysctlKey::conf(Family::Ipv6, &link, "accept_dad")));
            }
            if b.uplink.is_some() {
                scope = scope.with(Part::Routes(b.bridge.name())).with(Part::Neighbours(b.bridge.name()));
                for (family, key) in carried_settings() {
                    for link in [b.uplink, b.uplink_name, Some(b.bridge.name())].into_iter().flatten() {
                        scope.insert(Part::Sysctl(SysctlKey::conf(family, &link, key)));
                    }
                    // What a new bridge has of itself.
                    scope.insert(Part::Sysctl(SysctlKey::conf(family, &IfName::literal("default"), key)));
                }
            }
        }
        NetworkMode::Nat(_) | NetworkMode::Routed(_) => {
            // The settings of a link go with it.
            scope.extend(started.outside.map(Part::Link));
            for key in settings(started, true).into_keys() {
                scope.insert(Part::Sysctl(key));
            }
        }
    }
    scope
}

/// Settings of the uplink that its bridge has to have as well, for what it receives is what the uplink received.
fn carried_settings() -> impl Iterator<Item = (Family, &'static str)> {
    KEPT_SETTINGS.into_iter().chain(MOVED_SETTINGS)
}

/// Those that a network which is started gets back where somebody has changed them.
const KEPT_SETTINGS: [(Family, &str); 3] =
    [(Family::Ipv4, "rp_filter"), (Family::Ipv6, "accept_ra"), (Family::Ipv6, "autoconf")];

/// Those that are the bridge's own from then on: a network that routes through it may need them otherwise.
const MOVED_SETTINGS: [(Family, &str); 17] = [
    // Before any address could be made.
    (Family::Ipv6, "disable_ipv6"),
    (Family::Ipv6, "accept_ra_defrtr"),
    (Family::Ipv6, "accept_ra_pinfo"),
    (Family::Ipv6, "accept_ra_rt_info_max_plen"),
    (Family::Ipv6, "use_tempaddr"),
    (Family::Ipv6, "accept_redirects"),
    (Family::Ipv6, "proxy_ndp"),
    (Family::Ipv4, "accept_local"),
    (Family::Ipv4, "accept_redirects"),
    (Family::Ipv4, "arp_announce"),
    (Family::Ipv4, "arp_filter"),
    (Family::Ipv4, "arp_ignore"),
    (Family::Ipv4, "log_martians"),
    (Family::Ipv4, "proxy_arp"),
    (Family::Ipv4, "route_localnet"),
    (Family::Ipv4, "send_redirects"),
    (Family::Ipv4, "src_valid_mark"),
];

/// The uplink as it is now: under its own name, or under the one that it has while the network is started.
fn uplink<'a>(b: &BridgeNetwork, now: &'a Snapshot) -> Option<(IfName, &'a Link)> {
    let renamed = b.uplink_name.and_then(|n| now.links.get_key_value(&n));
    // Its own name may be the bridge's by now.
    let own = || {
        b.uplink
            .and_then(|n| now.links.get_key_value(&n))
            .filter(|(n, l)| **n != b.bridge.name() || l.kind != LinkKind::Bridge)
    };
    renamed.or_else(own).map(|(name, link)| (*name, link))
}

/// What the uplink has of its own.
pub(super) fn carried(started: &ResolvedNetwork, now: &Snapshot) -> Carried {
    let NetworkMode::Bridge(b) = started.network.mode() else {
        return Carried { listens: listens(started, now), ..Carried::default() };
    };
    let Some((name, link)) = uplink(b, now) else { return Carried::default() };
    if link.master == Some(b.bridge.name()) && now.addresses_of(&name).next().is_none() {
        return Carried::default();
    }
    let mut routes = carried_routes(now, &name).into_iter().map(|(r, _)| r).collect();
    learned_anew(&mut routes);
    Carried {
        addresses: now.addresses_in_order(&name),
        routes,
        neighbours: gather::set(now.neighbours.iter().filter(|n| n.link == name).cloned()),
        listens: false,
    }
}

pub(super) fn want(
    started: &ResolvedNetwork,
    carried: &Carried,
    now: &Snapshot,
) -> Result<(Wanted, Vec<String>), Error> {
    let (mut wanted, mut notes) = match started.network.mode() {
        NetworkMode::Bridge(b) => bridged(started, b, carried, now)?,
        NetworkMode::Nat(n) => match &n.guests {
            GuestLinks::Bridge(bridge) => private_bridge(&made(started, bridge)?, &n.subnets, now)?,
            GuestLinks::PerVif => (Wanted::default(), Vec::new()),
        },
        NetworkMode::Routed(_) => (Wanted::default(), Vec::new()),
    };
    if matches!(started.network.mode(), NetworkMode::Nat(_) | NetworkMode::Routed(_)) {
        if started.outside.is_none() {
            notes.push(format!(
                "there is no default route, and network {} names no link towards the outside: its guests reach this host only, \
                 until it is started again with one",
                started.network.name()
            ));
        }
        notes.extend(loses_router(&started.network));
        wanted.sysctls.extend(settings(started, carried.listens));
        let mut table = tables(started);
        if let Some(wish) = &mut table {
            wish.absent.extend(gate::of_earlier_version(started, now));
        }
        wanted.tables.extend(table);
        wanted.accepts = accept::wanted(started, now)?;
    }
    Ok((wanted, notes))
}

/// What the gate had of it before this start.
fn former(started: &ResolvedNetwork) -> Vec<Item> {
    gate::former(started).into_iter().chain(limits::former(started)).collect()
}

/// What the gate has to have of a network as a whole.
pub(super) fn tables(started: &ResolvedNetwork) -> Option<TableWish> {
    let (items, former) = (gate::of_network(started), former(started));
    if items.is_empty() && former.is_empty() {
        return None;
    }
    let does = match started.network.mode() {
        NetworkMode::Routed(r) if !r.isolated => "limits what its guests reach",
        NetworkMode::Routed(_) => "keeps its guests from each other",
        _ => "hides its guests, and hands on to them",
    };
    let why = Reason::told(format!("network {} {does}", started.network.name()));
    Some(TableWish::new(&GATE, items, former, why))
}

/// dnsmasq repeats its router advertisements on one link of a subnet only (seen of 2.90), and says that it is a router for two
/// and a half hours, the longest time there is (RFC 4861, 6.2.1).
fn loses_router(network: &Network) -> Option<String> {
    let by_dhcp = network.services().is_some_and(|s| s.dhcp) && network.subnets().iter().any(|s| s.network().is_ipv6());
    let way_out = match network.mode() {
        NetworkMode::Nat(n) if n.guests == GuestLinks::PerVif => "let them share a bridge (bridge = \"natbr0\"), or ",
        NetworkMode::Routed(_) => "",
        _ => return None,
    };
    by_dhcp.then(|| {
        format!(
            "guests of network {} that have IPv6 by DHCP forget their router after 9000 s, unless they ask for one again by \
             themselves: {way_out}write the default route in the guest, by way of fe80::1",
            network.name()
        )
    })
}

/// A bridge that is made for a network, with an address of its own, so that it does not follow its ports.
fn made(started: &ResolvedNetwork, bridge: &BridgeSpec) -> Result<BridgeSpec, Error> {
    bridge.clone().with_mac(bridge.mac().or(started.bridge_mac))
}

/// The bridge of a private network, with the gateways on it.
fn private_bridge(spec: &BridgeSpec, subnets: &[Subnet], now: &Snapshot) -> Result<(Wanted, Vec<String>), Error> {
    let (mut wanted, notes) = bridge(spec, now)?;
    let gateways = subnets.iter().filter_map(|s| {
        let address = IpNetwork::new(s.gateway(), s.network().prefix()).ok()?;
        Some(Address { nodad: address.is_ipv6(), ..Address::new(spec.name(), address) })
    });
    let why = Reason::fixed("guests use it as their gateway");
    wanted.addresses.insert(spec.name(), Wish { items: gather::set(gateways), exact: false, why });
    Ok((wanted, notes))
}

/// A bridge with its uplink.
fn bridged(
    started: &ResolvedNetwork,
    b: &BridgeNetwork,
    carried: &Carried,
    now: &Snapshot,
) -> Result<(Wanted, Vec<String>), Error> {
    let Some(uplink_of) = b.uplink else { return bridge(&made(started, &b.bridge)?, now) };
    let (name, link) = find_uplink(started, b, uplink_of, now)?;
    let to = b.bridge.name();
    // What it had may be told by either of its names.
    let own = [uplink_of, b.uplink_name.unwrap_or(uplink_of)];
    for route in &carried.routes {
        movable(started, route, &own, &carried.routes)?;
    }
    if let Some(a) = carried.addresses.iter().find(|a| a.flags & Address::IS_DUPLICATE != 0) {
        let ip = a.address.ip();
        let message = format!("network {}: another station has {ip} of {uplink_of}, too", started.network.name());
        return Err(Error::new(ErrorKind::Conflict, message).with_object(uplink_of.as_str()).unchanged().with_hint(
            format!("give it another address, or remove it: ip address del {} dev {uplink_of}", a.address),
        ));
    }
    // The name that the bridge is to have may still be the uplink's.
    let without_uplink = Snapshot { links: others(now, &name), ..now.clone() };
    let mtu = b.bridge.mtu().or_else(|| link.mtu.try_into().ok());
    let spec = b.bridge.clone().with_mtu(mtu).with_mac(b.bridge.mac().or(link.mac))?;
    let (mut wanted, mut notes) = bridge(&spec, &without_uplink)?;
    // Nothing of IPv6 is tested again for duplicates: it was when it was new.
    let addresses: Vec<Address> = carried
        .addresses
        .iter()
        // The kernel has made it of the uplink's MAC.
        .filter(|a| a.scope != Route::SCOPE_LINK || spec.mac() == link.mac)
        .map(|a| Address { nodad: a.address.is_ipv6(), ..address_on(to, a) })
        .collect();
    let places = carried_routes(now, &name);
    let place = |r: &Route| places.iter().find(|(p, _)| p == r).map_or(Among::None, |(_, place)| *place);
    let on_bridge = |r: &Route| route_through(to, own[1], &route_through(to, own[0], r));
    let routes: Vec<(Route, Among)> = carried.routes.iter().map(|r| (on_bridge(r), place(r))).collect();
    let present = b.uplink_name.unwrap_or(name);
    let settled = link.master == Some(to) || (started.is_started && now.links.contains_key(&to));
    wanted.moves.push(Move {
        to,
        port: name,
        renamed: b.uplink_name,
        named: None,
        name_first: false,
        from: None,
        bridge: Some(to),
        mac: spec.mac(),
        settings: carried_settings()
            .filter_map(|(family, key)| {
                let value = now.sysctls.get(&SysctlKey::conf(family, &name, key))?;
                let on_bridge = SysctlKey::conf(family, &to, key);
                // A network that routes through the bridge has it go on listening to routers.
                let raised = key == "accept_ra" && now.sysctls.get(&on_bridge).is_some_and(|v| v == "2");
                let moved = MOVED_SETTINGS.contains(&(family, key));
                (!(raised || moved) || !settled).then(|| (on_bridge, value.to_owned()))
            })
            .collect(),
        up: true,
        addresses: addresses.clone(),
        routes: routes.clone(),
    });
    let why = Reason::told(format!("{uplink_of} is the uplink of network {}", started.network.name()));
    let target = LinkTarget {
        master: Some(Some(to)),
        up: Some(true),
        mtu: b.bridge.mtu().map(|m| m.get()),
        addr_gen_mode: Some(AddrGenMode::None),
        ..LinkTarget::default()
    };
    let at = LinkRef { name, index: Some(link.index) };
    wanted.links.push(WantedLink { link: at, wish: LinkWish::Be(LinkTarget { name: Some(present), ..target }), why });
    let moved = || Reason::fixed("the bridge has it now");
    wanted.address_order.insert(to, addresses.iter().map(|a| (a.address, a.peer)).collect());
    wanted.addresses.insert(to, Wish { items: gather::set(addresses), exact: false, why: moved() });
    wanted.addresses.insert(present, Wish { items: BTreeSet::new(), exact: true, why: moved() });
    let routes = gather::set(routes.into_iter().map(|(r, _)| r));
    wanted.routes.insert(to, Wish { items: routes, exact: false, why: moved() });
    notes.extend(learned_note(&places, carried, uplink_of, to));
    if !carried.addresses.is_empty() {
        // The connected route of an address that expires outlives it, and nobody answers behind a port.
        wanted.routes.insert(present, Wish { items: BTreeSet::new(), exact: true, why: moved() });
    }
    let neighbours = gather::set(carried.neighbours.iter().map(|n| neighbour_on(to, n)));
    wanted.neighbours.insert(to, Wish { items: neighbours, exact: false, why: moved() });
    wanted.neighbours.insert(present, Wish { items: BTreeSet::new(), exact: true, why: moved() });
    if let Some(leased) = carried.addresses.iter().find(|a| a.lifetime.is_some() && a.address.is_ipv4()) {
        notes.push(format!(
            "{} of {uplink_of} expires, so something renews it (a DHCP client?): let that work on {to} from now on",
            leased.address.ip()
        ));
    }
    if b.bridge.vlan_filtering() == Some(true) && link.master != Some(to) {
        notes.push(format!(
            "{to} filters by VLAN, and {present} is a member of VLAN 1 only, as every new port: for any other VLAN of guests to leave \
             this host, add it after each start: bridge vlan add dev {present} vid 100"
        ));
    }
    if let Some(silent) = wanted.moves.iter().find_map(|m| m.silenced(now)) {
        notes.push(silence(silent, to));
    }
    if spec.stp() && link.master != Some(to) {
        notes.push(format!(
            "spanning tree is on: {to} carries nothing for {} s after {uplink_of} has joined it",
            spec.forward_delay().as_secs() * 2
        ));
    }
    Ok((wanted, notes))
}

/// What is to be known of a link that goes down for another name.
pub(super) fn silence(link: IfName, on: IfName) -> String {
    format!(
        "{link} goes down for its new name, since Linux before 6.2 cannot rename a link that is up: this domain is cut off until \
         {on} has its addresses and the card has a carrier again, usually some seconds; VLAN devices on {link} lose their \
         routes. Without uplink_name, with another name for the bridge, nothing goes down"
    )
}

/// Refuses what would not be the same on the bridge.
fn movable(started: &ResolvedNetwork, r: &Route, uplink: &[IfName; 2], all: &[Route]) -> Result<(), Error> {
    let refuse = |message: String, hint: &str| {
        let message = format!("network {}: the route \"{r}\" cannot be moved: {message}", started.network.name());
        Err(Error::new(ErrorKind::Unsupported, message).with_object(uplink[0].as_str()).unchanged().with_hint(hint))
    };
    const AGAIN: &str = "remove it, and add it again when the network is started";
    if let Some(more) = &r.beyond {
        return refuse(format!("xennet cannot make one with {more}"), AGAIN);
    }
    if let Some(other) = r.next_hops.iter().filter_map(|h| h.link).find(|l| !uplink.contains(l)) {
        return refuse(format!("it leads through {other}, too"), AGAIN);
    }
    // Of IPv4 they stand one behind the other.
    if let Some(other) = all.iter().find(|o| *o != r && o.has_place_of(r) && r.destination.is_ipv6()) {
        return refuse(format!("of it and \"{other}\" the kernel would keep only one"), ANOTHER_METRIC);
    }
    Ok(())
}

/// A note about the routes of the uplink that the bridge does not get.
fn learned_note(places: &[(Route, Among)], carried: &Carried, uplink: IfName, bridge: IfName) -> Option<String> {
    let left: Vec<String> =
        places.iter().map(|(r, _)| r).filter(|r| !carried.routes.contains(r)).map(|r| format!("\"{r}\"")).collect();
    (!left.is_empty()).then(|| {
        format!(
            "{bridge} does not get {} of {uplink}, since another route has its place; it learns it again from the router",
            left.join(", ")
        )
    })
}

/// The way out where two routes have the same destination and metric.
pub(crate) const ANOTHER_METRIC: &str = "give one of them another metric, or make them one route with several ways";

fn others(now: &Snapshot, name: &IfName) -> BTreeMap<IfName, Link> {
    gather::map(now.links.iter().filter(|(n, _)| *n != name).map(|(n, l)| (*n, l.clone())))
}

/// The uplink, if it is there, and free to become a port.
fn find_uplink<'a>(
    started: &ResolvedNetwork,
    b: &BridgeNetwork,
    named: IfName,
    now: &'a Snapshot,
) -> Result<(IfName, &'a Link), Error> {
    let network = started.network.name();
    let refuse = |kind, message: String, hint: String| {
        Error::new(kind, message).with_object(named.as_str()).unchanged().with_hint(hint)
    };
    let Some((name, link)) = uplink(b, now) else {
        let message = format!("network {network}: its uplink {named} is not there");
        return Err(refuse(ErrorKind::LinkNotFound, message, "`ip link` lists the links of this host".into()));
    };
    if matches!(link.kind, LinkKind::Bridge | LinkKind::Loopback) {
        let message = format!("network {network}: {name} cannot be its uplink, it is {}", kind_words(&link.kind));
        let hint = match link.kind {
            LinkKind::Bridge => format!("to use it as it is, write bridge = \"{name}\" and no uplink"),
            _ => "name the link that leads outside".into(),
        };
        return Err(refuse(ErrorKind::Invalid, message, hint));
    }
    if let Some(master) = link.master.filter(|m| *m != b.bridge.name()) {
        let message = format!("network {network}: its uplink {name} is a port of {master} already");
        let hint = format!("write bridge = \"{master}\", or take it off first: ip link set {name} nomaster");
        return Err(refuse(ErrorKind::PortOfOther, message, hint));
    }
    Ok((name, link))
}

/// Whether the link towards the outside listens to router advertisements: always, or as long as this domain is no router.
fn listens(started: &ResolvedNetwork, now: &Snapshot) -> bool {
    let Some(outside) = started.outside else { return false };
    let routes = now.sysctls.get(&SysctlKey::forwarding(Family::Ipv6)).is_some_and(|v| v != "0");
    match now.sysctls.get(&SysctlKey::conf(Family::Ipv6, &outside, "accept_ra")) {
        Some("2") => true,
        Some("1") => !routes,
        _ => false,
    }
}

/// The settings that NAT and routed networks need.
fn settings(started: &ResolvedNetwork, listens: bool) -> BTreeMap<SysctlKey, (String, Reason)> {
    let [v4, v6] = [Family::Ipv4, Family::Ipv6].map(|family| {
        started.network.routes(family == Family::Ipv6)
            || started.source.iter().any(|source| Family::of(source) == family)
    });
    let mut wanted = BTreeMap::new();
    for (family, _) in [(Family::Ipv4, v4), (Family::Ipv6, v6)].into_iter().filter(|(_, needed)| *needed) {
        let why = Reason::fixed("this domain routes for its guests");
        wanted.insert(SysctlKey::forwarding(family), ("1".into(), why));
    }
    if let Some(outside) = started.outside {
        // A router does not listen to router advertisements, unless it is told to (accept_ra 2): without, a host that has its
        // default route from one would lose it.
        if v6 && listens {
            let accept_ra = SysctlKey::conf(Family::Ipv6, &outside, "accept_ra");
            let why = Reason::fixed("a router that goes on listening to router advertisements there");
            wanted.insert(accept_ra, ("2".into(), why));
        }
        if let NetworkMode::Routed(r) = started.network.mode() {
            let why = || Reason::fixed("this domain answers for its guests on the uplink");
            if r.proxy_arp && v4 {
                wanted.insert(SysctlKey::conf(Family::Ipv4, &outside, "proxy_arp"), ("1".into(), why()));
            }
            if r.proxy_ndp && v6 {
                wanted.insert(SysctlKey::conf(Family::Ipv6, &outside, "proxy_ndp"), ("1".into(), why()));
            }
        }
    }
    wanted
}
