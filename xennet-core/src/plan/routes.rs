//! From a vif in NAT or routed mode to wanted objects: this domain's address on the vif, a route to each of the guest's
//! addresses, the settings of the link, and what the gate has of it.

use std::collections::BTreeSet;

use ipnetwork::{IpNetwork, Ipv6Network};

use super::table::{Item, TableWish, noted};
use super::want::{Wanted, Wish};
use super::{ROUTE_PROTOCOL, Reason, gate, limits};
use crate::gather;
use crate::model::vif::is_single;
use crate::model::{Attach, Attachment, Behind, IfName, LINK_LOCAL_GATEWAY, ResolvedVif};
use crate::snapshot::{Address, Family, Neighbour, NeighbourKind, Part, Route, Scope, Snapshot, SysctlKey};
use crate::tables::gate::{GATE, HIDDEN_LINKS, OPEN};

/// The gateway of IPv6 guests, with the prefix that link-local addresses have.
const LINK_LOCAL: IpNetwork = match Ipv6Network::new_checked(LINK_LOCAL_GATEWAY, 64) {
    Some(network) => IpNetwork::V6(network),
    None => panic!("a prefix of IPv6 has 128 bits"),
};

/// This domain's addresses on the vif, as they were wished for.
fn ours(attachment: &Attachment) -> &[IpNetwork] {
    match attachment {
        Attachment::Bridge { .. } => &[],
        Attachment::Nat { gateway, .. } => gateway,
        Attachment::Routed { source, .. } => source,
    }
}

fn has(attachment: &Attachment, family: Family) -> bool {
    attachment.guest().iter().chain(ours(attachment)).any(|n| Family::of(&n.ip()) == family)
}

/// What the gate has to have of a link that is connected so.
fn items(behind: &Behind) -> Vec<Item> {
    let guest = behind.attachment.guest();
    let limited = behind.attachment.host().into_iter().flat_map(|host| limits::to_host(behind.link, host));
    let limited = limited.chain(noted(behind.link, behind.attachment.log()));
    if guest.is_empty() {
        return limited.collect();
    }
    let mut items = gate::checked(behind.link, &behind.attachment.sources());
    items.extend(limited);
    if let Attachment::Nat { network, egress, open, .. } = &behind.attachment
        && (network.is_some() || egress.is_some())
    {
        // Without a network nobody can tell its guests from others either.
        items.extend(gate::hidden_behind(behind.link, *open || network.is_none()));
        items.extend(egress.map(|egress| gate::hidden(egress, &still_own(behind))).unwrap_or_default());
    }
    items
}

/// What the gate may have of a link that a record tells of: a gate that replaced an earlier version's lets every guest connect to it.
fn remembered(behind: &Behind) -> Vec<Item> {
    let mut items = items(behind);
    if let Some(hidden) = items.iter().find(|item| item.set == HIDDEN_LINKS) {
        let open = Item { set: OPEN, ..hidden.clone() };
        items.extend((!items.contains(&open)).then_some(open));
    }
    items
}

/// The guest's addresses, but those that another guest has by now.
fn still_own(behind: &Behind) -> Vec<IpNetwork> {
    behind.attachment.guest().iter().filter(|n| !behind.others.contains(&without_host_bits(**n))).copied().collect()
}

/// The scope of all elements that a vif has in our tables.
pub(crate) fn scope_of_vif(a: &Attach) -> Scope {
    let gate = a.behind().map(|behind| GATE.scope(&items(&behind))).unwrap_or_else(Scope::none);
    gate.union(super::guard::scope(a.guarded().iter()))
}

/// The addresses that the vif has to have.
fn addresses(a: &Attach) -> BTreeSet<Address> {
    let mut addresses: BTreeSet<Address> = ours(&a.attachment)
        .iter()
        // What is reached through the vif is what has a route there, not all of the subnet.
        .map(|n| Address { nodad: n.is_ipv6(), no_prefix_route: !is_single(n), ..Address::new(a.name, *n) })
        .collect();
    if a.attachment.guest().iter().any(IpNetwork::is_ipv6) {
        addresses.insert(Address { nodad: true, scope: Route::SCOPE_LINK, ..Address::new(a.name, LINK_LOCAL) });
    }
    addresses
}

/// Whether a vif is up under its name, with the very addresses that it is to have: then nothing of it will go down, and
/// nothing is at stake but the routes that are named. Looking at all of its routes and neighbours means asking for a listing.
pub(super) fn is_settled(a: &ResolvedVif<Attach>, seen: &Snapshot) -> bool {
    let Some(link) = seen.links.get(&a.found.device).filter(|_| a.found.device == a.wish.name) else { return false };
    let key = |x: &Address| x.address;
    let wanted: BTreeSet<IpNetwork> = gather::set(addresses(&a.wish).iter().map(key));
    a.wish.behind().is_some()
        && link.up
        && link.master.is_none()
        && gather::set(seen.addresses_of(&a.found.device).map(key)) == wanted
}

/// The routes of a vif that are wanted, or were.
pub(super) fn parts(a: &ResolvedVif<Attach>) -> impl Iterator<Item = Part> + '_ {
    let recorded = a.recorded.routes.iter().flat_map(|r| r.attachment.guest());
    a.wish.attachment.guest().iter().chain(recorded).map(|n| Part::RouteThrough(a.found.device, without_host_bits(*n)))
}

fn proxy_arp(link: &IfName, attachment: &Attachment) -> Option<SysctlKey> {
    let answers = match attachment {
        Attachment::Bridge { .. } => false,
        Attachment::Nat { .. } => true,
        Attachment::Routed { answer_arp, .. } => *answer_arp,
    };
    // An IPv6 guest uses the address on its vif as its gateway.
    (answers && has(attachment, Family::Ipv4)).then(|| SysctlKey::conf(Family::Ipv4, link, "proxy_arp"))
}

/// What another link answers for on the guest's behalf.
fn proxies(attachment: &Attachment) -> impl Iterator<Item = Neighbour> + '_ {
    let on = match attachment {
        Attachment::Routed { answer_ndp, .. } => *answer_ndp,
        _ => None,
    };
    let single = |n: &&IpNetwork| n.is_ipv6() && n.prefix() == 128;
    let proxy = move |n: &IpNetwork| Some(Neighbour { link: on?, address: n.ip(), kind: NeighbourKind::Proxy });
    attachment.guest().iter().filter(single).filter_map(proxy)
}

fn proxy_scope(attachment: &Attachment) -> impl Iterator<Item = Part> + '_ {
    proxies(attachment).map(|n| Part::Proxy(n.link, n.address))
}

fn settings(link: &IfName, attachment: &Attachment) -> Vec<(SysctlKey, &'static str, Reason)> {
    let mut all = vec![(
        SysctlKey::conf(Family::Ipv6, link, "accept_ra"),
        "0",
        Reason::fixed("guests are no routers of this domain's"),
    )];
    if has(attachment, Family::Ipv4) {
        let is_elsewhere = matches!(attachment, Attachment::Routed { elsewhere, .. } if !elsewhere.is_empty());
        let (value, why) = match is_elsewhere {
            true => ("2", "what comes from the guest may go to another vif of its"),
            false => ("1", "what comes from the guest is what goes to the guest"),
        };
        all.push((SysctlKey::conf(Family::Ipv4, link, "rp_filter"), value, Reason::fixed(why)));
    }
    let why = Reason::fixed("this domain answers for the addresses that lie behind it");
    all.extend(proxy_arp(link, attachment).map(|key| (key, "1", why)));
    all
}

/// What has to be looked at of the gate.
fn gate_scope(present: &[Item], absent: &[Item], seen: &Snapshot) -> Scope {
    let all = || present.iter().chain(absent);
    let scope = GATE.scope(all());
    // The way back may need what is absent.
    if present.is_empty() { scope } else { scope.union(GATE.frame_scope(all(), seen)) }
}

/// What has to be looked at, besides the vif itself, to connect it by routes, or not by routes any more.
pub(super) fn scope(a: &ResolvedVif<Attach>, seen: &Snapshot) -> Scope {
    let mut scope = Scope::none();
    let behind = a.wish.behind();
    if behind.is_some() {
        scope.extend(settings(&a.found.device, &a.wish.attachment).into_iter().map(|(key, ..)| Part::Sysctl(key)));
    }
    let recorded = a.recorded.routes.as_deref();
    let proxy = recorded.and_then(|r| proxy_arp(&a.found.device, &r.attachment));
    scope.extend(proxy.map(Part::Sysctl));
    scope.extend(proxy_scope(&a.wish.attachment).chain(recorded.into_iter().flat_map(|r| proxy_scope(&r.attachment))));
    let present = behind.as_ref().map(items).unwrap_or_default();
    let absent = recorded.map(remembered).unwrap_or_default();
    scope.union(gate_scope(&present, &absent, seen))
}

/// What has to be looked at, besides the vif itself, to disconnect it.
pub(super) fn scope_gone(device: &IfName, behind: &Behind, seen: &Snapshot) -> Scope {
    let mut scope = gate_scope(&[], &remembered(behind), seen);
    scope.extend(proxy_arp(device, &behind.attachment).map(Part::Sysctl));
    scope.extend(proxy_scope(&behind.attachment));
    scope
}

/// What the gate has to have of a vif, and what it has of it by another wish.
pub(super) fn tables(a: &ResolvedVif<Attach>) -> Option<TableWish> {
    let behind = a.wish.behind();
    let present = behind.as_ref().map(items).unwrap_or_default();
    let absent = a.recorded.routes.as_deref().map(remembered).unwrap_or_default();
    if present.is_empty() && absent.is_empty() {
        return None;
    }
    let why = match &a.wish.attachment {
        Attachment::Nat { egress: Some(_), .. } => {
            "the guest sends from its own addresses, and leaves with this domain's"
        }
        _ if present.is_empty() => "what the gate has of a vif goes with it",
        _ => "the guest may send from its own addresses only",
    };
    Some(TableWish::new(&GATE, present, absent, Reason::fixed(why)))
}

/// Adds what belongs to a vif that is connected by routes, and takes away what is left of another wish.
pub(super) fn want(wanted: &mut Wanted, a: &ResolvedVif<Attach>, now: &Snapshot) {
    let behind = a.wish.behind();
    let recorded = a.recorded.routes.as_deref();
    wanted.tables.extend(tables(a));
    if let Some(recorded) = recorded {
        no_proxies(wanted, recorded);
    }
    if behind.is_none() {
        if let Some(recorded) = recorded {
            no_proxy(wanted, &a.found.device, &a.wish.name, recorded, now);
        }
        return;
    }
    for proxy in proxies(&a.wish.attachment) {
        let why = Reason::fixed("this domain answers for the guest on the uplink");
        wanted.proxies.insert(proxy, (true, why));
    }
    let guest = a.wish.attachment.guest();
    let addresses = addresses(&a.wish);
    let why = Reason::fixed("the guest's gateway is on its vif");
    wanted.addresses.insert(a.wish.name, Wish { items: addresses, exact: true, why });
    let metric = match a.wish.attachment {
        Attachment::Nat { metric, .. } | Attachment::Routed { metric, .. } => metric,
        Attachment::Bridge { .. } => 0,
    };
    let routes = guest.iter().filter(|n| !a.found.superseded.contains(&without_host_bits(**n))).map(|network| {
        let family = Family::of(&network.ip());
        Route {
            metric,
            source: ours(&a.wish.attachment).iter().map(|n| n.ip()).find(|ip| Family::of(ip) == family),
            protocol: ROUTE_PROTOCOL,
            ..Route::to(without_host_bits(*network), a.wish.name)
        }
    });
    let why = Reason::fixed("the guest is reached through its vif");
    wanted.own_routes.insert(a.wish.name, Wish { items: gather::set(routes), exact: true, why });
    wanted.taken_over.extend(a.found.takes_over.iter().map(|n| without_host_bits(*n)));
    let named_now = settings(&a.found.device, &a.wish.attachment);
    for ((key, value, why), (present, ..)) in settings(&a.wish.name, &a.wish.attachment).into_iter().zip(named_now) {
        // A kernel without IPv6, or a link too small for it, has none of its settings.
        if now.sysctls.contains_key(&present) {
            wanted.sysctls.insert(key, (value.into(), why));
        }
    }
}

/// Takes away what belongs to a vif that was connected by routes. Its routes go with its going down.
pub(super) fn want_gone(wanted: &mut Wanted, device: &IfName, behind: &Behind, now: &Snapshot) {
    let why = Reason::fixed("what the gate has of a vif goes with it");
    wanted.tables.push(TableWish::new(&GATE, Vec::new(), remembered(behind), why));
    no_proxy(wanted, device, device, behind, now);
    no_proxies(wanted, behind);
}

fn no_proxies(wanted: &mut Wanted, behind: &Behind) {
    let own = still_own(behind);
    for proxy in proxies(&behind.attachment).filter(|p| own.iter().any(|n| n.ip() == p.address)) {
        wanted.proxies.insert(proxy, (false, Reason::fixed("the guest is not there any more")));
    }
}

fn no_proxy(wanted: &mut Wanted, device: &IfName, name: &IfName, behind: &Behind, now: &Snapshot) {
    let keys = [device, name].map(|link| proxy_arp(link, &behind.attachment));
    if let [Some(present), Some(key)] = keys
        && now.sysctls.contains_key(&present)
    {
        let why = Reason::fixed("nothing lies behind it any more");
        wanted.sysctls.insert(key, ("0".into(), why));
    }
}

fn without_host_bits(address: IpNetwork) -> IpNetwork {
    // The prefix is of the same family, so it fits.
    IpNetwork::new(address.network(), address.prefix()).unwrap_or(address)
}
