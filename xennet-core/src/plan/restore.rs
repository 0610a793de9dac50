//! The way back: an observed earlier state is the wish, all of it.

use super::checked::Draft;
use super::network::silence;
use super::table::TableWish;
use super::want::{LinkTarget, LinkWish, Wanted, WantedLink, Wish};
use super::{Goal, Plan, Planned, Reason, accept, diff, uplink};
use crate::error::Error;
use crate::gather;
use crate::model::{Guests, IfName};
use crate::snapshot::{Link, LinkKind, Neighbour, NeighbourKind, Part, Scope, Snapshot};
use crate::step::{BridgeChange, LinkRef, NewLink, PortChange};

/// Plans the way back to an observed earlier state, as far as that state was observed.
///
/// `now` must be an observation of the same scope. It works from any state in between: after a half-applied step, after
/// a crash, after somebody else's interference. Not restorable: links that somebody else made and that are gone (netback's
/// vifs), indexes, learned entries, lifetimes.
///
/// `around` is `now` with all that the way back could take along: what `now` shows is enough where it is an observation of
/// [`Part::Network`](crate::snapshot::Part::Network). It decides whether the way back is allowed, as the way there is, at each of its steps.
///
/// # Errors
/// As [`super::plan`]. [`ErrorKind::WouldCutOff`](crate::ErrorKind::WouldCutOff) for a default route that would go and not come back;
/// [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for a bridge that would go from under its ports, unless
/// [they are cut off](Guests::AreCutOff), or with addresses or routes that the operation has not brought. A link that is
/// gone and cannot be made by us is left out, not an error: compare [`Plan::after`] with the target to see what stays different.
pub fn restore(target: &Snapshot, now: &Snapshot, around: &Snapshot, guests: Guests) -> Result<Plan, Error> {
    let whole = target.clone().without_torn();
    let seen = whole.without_own_doing(now.clone());
    let wanted = wanted(&whole, &seen);
    let (steps, after) = diff::steps_towards(&wanted, &seen)?;
    let (goal, after) = (Goal::Restore(Box::new(target.clone())), after.into_owned());
    let silenced = wanted.moves.iter().find_map(|m| Some((m.silenced(now)?, m.to)));
    let notes = silenced.map(|(link, on)| silence(link, on)).into_iter().collect();
    Draft { goal, steps, notes, before: now.clone(), after, request: None }.restoring(target, around, guests)
}

/// The steps that the way back would have, for who only asks whether there are any.
pub(crate) fn missing(target: &Snapshot, now: &Snapshot) -> Result<Vec<Planned>, Error> {
    let whole = target.clone().without_torn();
    let seen = whole.without_own_doing(now.clone());
    Ok(diff::steps_towards(&wanted(&whole, &seen), &seen)?.0)
}

const WHY: Reason = Reason::fixed("it was so before");

fn wanted(target: &Snapshot, now: &Snapshot) -> Wanted {
    let address_order = target.hidden.address_order.clone();
    let mut wanted = Wanted { tables: TableWish::restored(target, &WHY), address_order, ..Wanted::default() };
    wanted.accepts = accept::restored(target, &WHY);
    wanted.moves = uplink::restoring(target, now);
    // Bridges last: their MAC and MTU follow their ports, and come back by themselves when the ports do. (A bridge that
    // must be made again is made before anything else.)
    let links = gather::last(&target.links, |(_, link)| link.kind == LinkKind::Bridge);
    // Without a port that is gone for good they are what they are: setting them by hand would fix what followed the port.
    let port_is_gone = links.iter().any(|(_, l)| l.kind != LinkKind::Bridge && now.link_by_index(l.index).is_none());
    for (name, link) in links {
        let present = now.link_by_index(link.index).or_else(|| {
            now.links.get_key_value(name).filter(|(_, l)| l.kind == link.kind && link.kind == LinkKind::Bridge)
        });
        let wish = match (present, &link.kind) {
            (Some(_), LinkKind::Bridge) if port_is_gone => {
                LinkWish::Be(LinkTarget { mac: None, mtu: None, ..exactly(name, link) })
            }
            (Some(_), _) => LinkWish::Be(exactly(name, link)),
            (None, LinkKind::Bridge) => LinkWish::Exist(NewLink::Bridge, exactly(name, link)),
            // Only whoever made it can make it again.
            (None, _) => continue,
        };
        let at = present.map_or(LinkRef::named(*name), |(name, l)| LinkRef { name: *name, index: Some(l.index) });
        wanted.links.push(WantedLink { link: at, wish, why: WHY });
    }
    for (name, link) in &now.links {
        // Another link under the name of one that was there has taken it while that one had another.
        let taken = target.links.get(name).is_some_and(|l| l.kind == LinkKind::Bridge || !target.makes(name));
        let known = target.link_by_index(link.index).is_some() || taken;
        // A plan for a bridge looks at nothing else. Anything else that appeared meanwhile is somebody else's.
        let own = target.scope == Scope::none().with(Part::Link(*name)) || target.makes(name);
        if !known && link.kind == LinkKind::Bridge && own {
            let at = LinkRef { name: *name, index: Some(link.index) };
            let why = Reason::fixed("it was not there before");
            wanted.links.push(WantedLink { link: at, wish: LinkWish::Absent, why });
        }
    }
    // A link keeps its index when it is renamed, so its objects are found under the target's name again.
    let there = |name: &IfName| {
        target.links.get(name).is_some_and(|l| l.kind == LinkKind::Bridge || now.link_by_index(l.index).is_some())
    };
    for part in target.scope.parts() {
        match part {
            Part::Addresses(l) if there(l) => {
                wanted.addresses.insert(*l, exact(target.addresses_of(l).cloned()));
            }
            Part::Routes(l) if there(l) => {
                wanted.routes.insert(*l, exact(target.routes.iter().filter(|r| r.leads_through(l)).cloned()));
            }
            Part::RouteThrough(l, _) if there(l) && !target.scope.contains(&Part::Routes(*l)) => {
                // Of ours, none but those were looked at that are named.
                wanted.own_routes.insert(*l, exact(target.routes.iter().filter(|r| r.link == Some(*l)).cloned()));
            }
            Part::Neighbours(l) if there(l) => {
                wanted.neighbours.insert(*l, exact(target.neighbours.iter().filter(|n| n.link == *l).cloned()));
            }
            Part::Fdb(l) if there(l) => {
                wanted.fdb.insert(*l, exact(target.fdb.iter().filter(|e| e.link == *l).cloned()));
            }
            Part::Proxy(link, address) => {
                let proxy = Neighbour { link: *link, address: *address, kind: NeighbourKind::Proxy };
                let was = target.neighbours.contains(&proxy);
                wanted.proxies.insert(proxy, (was, WHY));
            }
            // VLANs go with the port: only a link that was one has some to be put back.
            Part::PortVlans(l) if there(l) && target.links.get(l).is_some_and(|link| link.master.is_some()) => {
                wanted.port_vlans.insert(*l, exact(target.port_vlans.get(l).into_iter().flatten().copied()));
            }
            Part::Rules => wanted.rules = Some(exact(target.rules.iter().cloned())),
            Part::Sysctl(key) => {
                // The settings of a link go with it.
                let link = key.as_conf().map(|(_, link, _)| link).filter(|l| !["all", "default"].contains(l));
                let there = link.and_then(|l| IfName::check(l).ok()).is_none_or(|l| there(&l));
                if let Some(value) = target.sysctls.get(key).filter(|_| there) {
                    wanted.sysctls.insert(key.clone(), (value.to_owned(), WHY));
                }
            }
            _ => {}
        }
    }
    wanted
}

fn exact<T: Ord>(items: impl Iterator<Item = T>) -> Wish<T> {
    Wish { items: gather::set(items), exact: true, why: WHY }
}

fn exactly(name: &IfName, link: &Link) -> LinkTarget {
    LinkTarget {
        name: Some(*name),
        mac: link.mac,
        mtu: Some(link.mtu),
        up: Some(link.up),
        arp: Some(link.arp),
        multicast: Some(link.multicast),
        txqueuelen: Some(link.txqueuelen),
        alias: Some(link.alias.clone().unwrap_or_default()),
        master: Some(link.master),
        addr_gen_mode: link.addr_gen_mode,
        port: link.port.as_ref().map(port).unwrap_or_default(),
        bridge: link.bridge.as_ref().map(bridge).unwrap_or_default(),
    }
}

fn port(p: &crate::snapshot::PortState) -> PortChange {
    PortChange {
        isolated: Some(p.isolated),
        learning: Some(p.learning),
        hairpin: Some(p.hairpin),
        unicast_flood: Some(p.unicast_flood),
        multicast_flood: Some(p.multicast_flood),
        broadcast_flood: Some(p.broadcast_flood),
        neigh_suppress: Some(p.neigh_suppress),
        locked: Some(p.locked),
        bpdu_guard: Some(p.bpdu_guard),
        root_block: Some(p.root_block),
        group_forward: Some(p.group_forward),
    }
}

fn bridge(b: &crate::snapshot::BridgeState) -> BridgeChange {
    BridgeChange {
        stp: Some(b.stp),
        forward_delay_cs: Some(b.forward_delay_cs),
        ageing_time_cs: Some(b.ageing_time_cs),
        vlan_filtering: b.vlan_filtering,
        default_pvid: b.default_pvid,
        multicast_snooping: Some(b.multicast_snooping),
    }
}
