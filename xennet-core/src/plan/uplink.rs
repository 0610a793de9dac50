//! What connects this domain to the world goes from one link to another without a gap.
//!
//! The order is what counts. The new link has the addresses before anything else happens (Linux lets two links have the same
//! one). Then the cable changes hands: the port joins its bridge, or leaves it. From then on frames come in by the new link,
//! so at once every route is replaced, one message each, in which the kernel puts the new way in the place of the old one. Only
//! then does the old link lose its addresses, and with them what the kernel had made of them. The MAC is the same all the
//! time, so neighbours notice nothing.
//!
//! Where the link gives its name to the bridge, and the kernel is older than Linux 6.2, there is a gap: a link that is up keeps its
//! name there, and one that goes down loses its routes and its IPv6 addresses. It goes down, the bridge is made whole, and only
//! then it comes up again, as a port; on the way back it gets everything again when it has its name and is up.

use ipnetwork::IpNetwork;

use super::Reason;
use super::diff::Path;
use crate::error::Error;
use crate::gather;
use crate::model::{IfName, MacAddr};
use crate::snapshot::{
    AddrGenMode, Address, Family, Link, LinkKind, Neighbour, NextHop, Part, Route, Snapshot, SysctlKey,
};
use crate::step::{AddrStep, LinkChange, LinkStep, NewMaster, RouteStep, Step, SysctlStep};

/// The metric of a route that comes with an IPv6 address (`IP6_RT_PRIO_ADDRCONF`).
const PREFIX_METRIC6: u32 = 256;

/// One move, from the link that has the connectivity to another.
pub(super) struct Move {
    /// The link that shall have it.
    pub(super) to: IfName,
    /// The link with the cable, by its present name.
    pub(super) port: IfName,
    /// Another name that the port has to have before anything else, so that its own is free.
    pub(super) renamed: Option<IfName>,
    /// The name that the port gets when the bridge that had it has gone.
    pub(super) named: Option<IfName>,
    /// It gets its name first, and everything else then: the kernel has a link that gets a name go down.
    pub(super) name_first: bool,
    /// The link that has it, where it is not the port.
    pub(super) from: Option<IfName>,
    /// The bridge that the port shall be in afterwards.
    pub(super) bridge: Option<IfName>,
    /// The MAC that `to` has to have before it gets the cable, where it is not the port's own link.
    pub(super) mac: Option<MacAddr>,
    /// Settings that `to` has to have before frames come in by it.
    pub(super) settings: Vec<(SysctlKey, String)>,
    /// Whether `to` shall be up: not where it leads back to a link that was down.
    pub(super) up: bool,
    /// What `to` shall have, in this order.
    pub(super) addresses: Vec<Address>,
    pub(super) routes: Vec<(Route, Among)>,
}

/// Where a route stands among those of its link with the same destination, type of service and metric. Of IPv4 the first one
/// counts, so their order is state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Among {
    /// There is no other.
    None,
    /// Before the one that comes with an address, or there is no such one.
    Before,
    /// Behind that one.
    Behind,
}

/// The routes of a link that have to be carried over, in the kernel's order, each with its place.
pub(super) fn carried_routes(of: &Snapshot, link: &IfName) -> Vec<(Route, Among)> {
    let mut all: Vec<&Route> = of.routes.iter().filter(|r| r.leads_through(link)).collect();
    all.sort_by_key(|r| of.hidden.rank(r));
    let is_ours = |r: &Route| is_carried(r, of.addresses_of(link));
    let place = |r: &Route| {
        let group: Vec<&&Route> = all.iter().filter(|o| o.has_place_of(r)).collect();
        if r.destination.is_ipv6() || group.len() < 2 {
            return Among::None;
        }
        let own = group.iter().position(|o| **o == r);
        let last = group.iter().rposition(|o| !is_ours(o));
        if own < last || last.is_none() { Among::Before } else { Among::Behind }
    };
    all.iter().filter(|r| is_ours(r)).map(|r| ((*r).clone(), place(r))).collect()
}

/// The order in which addresses have to be added for the kernel to have them in this one: it puts those of IPv4 behind the
/// others, and those of IPv6 before them. A subnet's first address comes first, so that first stays first.
pub(super) fn as_added(in_order: Vec<Address>) -> Vec<Address> {
    let (four, six): (Vec<_>, Vec<_>) = in_order.into_iter().partition(|a| a.address.is_ipv4());
    let mut all = gather::last(four, |a| a.secondary);
    all.extend(six.into_iter().rev());
    all
}

/// The order in which addresses have to be removed for those that are left to stand at any moment as they stood: each family
/// backwards, IPv4 first.
pub(super) fn as_removed(in_order: Vec<Address>) -> Vec<Address> {
    let mut all = as_added(in_order);
    all.reverse();
    gather::last(all, |a| a.address.is_ipv6())
}

/// Which of the uplink's IPv6 routes its bridge cannot have beside another one: of those with one destination and metric that
/// routers have told, all but the best; and all of them beside one that somebody has made. They are learned anew on the bridge.
pub(super) fn learned_anew(routes: &mut Vec<Route>) -> Vec<Route> {
    let told = |r: &Route| r.destination.is_ipv6() && r.protocol == Route::BY_ROUTERS;
    // RFC 4191: 1 is high, 0 medium, 3 low.
    let rank = |r: &Route| match r.preference {
        1 => 0,
        0 => 1,
        _ => 2,
    };
    let others = routes.clone();
    let is_behind = |r: &Route| {
        let own = others.iter().position(|o| o == r);
        let better = |(at, o): (usize, &Route)| !told(o) || (rank(o), Some(at)) < (rank(r), own);
        told(r) && others.iter().enumerate().any(|(at, o)| o != r && o.has_place_of(r) && better((at, o)))
    };
    let (gone, kept) = std::mem::take(routes).into_iter().partition(is_behind);
    *routes = kept;
    gone
}

impl Move {
    /// The port gives its name to the bridge, if it has to. A link that is up keeps its routes meanwhile, but can be renamed since
    /// Linux 6.2 only.
    pub(super) fn give_name(&self, path: &mut Path<'_>) -> Result<(), Error> {
        let there = |name: &IfName| path.world.links.contains_key(name);
        let Some(name) = self.renamed.filter(|n| *n != self.port && !there(n) && there(&self.port)) else {
            return Ok(());
        };
        self.go_down(path)?;
        let change = LinkChange { name: Some(name), ..LinkChange::default() };
        let link = path.link(self.port);
        path.push(Step::Link(LinkStep::Set { link, change }), &Reason::fixed("the bridge takes its name"))
    }

    /// The port, as long as it has to go down for another name.
    pub(super) fn silenced(&self, now: &Snapshot) -> Option<IfName> {
        let name = if self.name_first { self.named } else { self.renamed };
        let is_up = now.links.get(&self.port).is_some_and(|l| l.up);
        let is_silenced = now.hidden.names_held_while_up && is_up && name.is_some_and(|n| n != self.port);
        is_silenced.then_some(self.port)
    }

    /// Down, where that is needed for another name; and out of its bridge, where that one has the name.
    fn go_down(&self, path: &mut Path<'_>) -> Result<(), Error> {
        let Some(is) = path.world.links.get(&self.port) else { return Ok(()) };
        let change = LinkChange {
            up: self.silenced(&path.world).map(|_| false),
            master: is.master.filter(|_| self.name_first).map(|_| NewMaster::None),
            ..LinkChange::default()
        };
        if change == LinkChange::default() {
            return Ok(());
        }
        let link = path.link(self.port);
        let why =
            Reason::fixed("before Linux 6.2 a link that is up keeps its name: from here on this domain is silent");
        path.push(Step::Link(LinkStep::Set { link, change }), &why)
    }

    /// The port gets its name back, as it gave it: without going down, which would cost a card seconds.
    pub(super) fn take_name(&self, path: &mut Path<'_>) -> Result<(), Error> {
        let there = |name: &IfName| path.world.links.contains_key(name);
        let Some(name) = self.named.filter(|n| *n != self.port && !there(n) && there(&self.port)) else {
            return Ok(());
        };
        let change = LinkChange { name: Some(name), ..LinkChange::default() };
        let link = path.link(self.port);
        path.push(Step::Link(LinkStep::Set { link, change }), &Reason::fixed("it was so before"))?;
        if self.name_first { self.carry_over(path) } else { Ok(()) }
    }

    /// Everything else, when both links are there.
    pub(super) fn carry_out(&self, path: &mut Path<'_>) -> Result<(), Error> {
        if self.name_first && path.world.links.contains_key(&self.port) {
            return self.go_down(path);
        }
        self.carry_over(path)
    }

    fn carry_over(&self, path: &mut Path<'_>) -> Result<(), Error> {
        // In a later pass it may have got its own name back.
        if !path.world.links.contains_key(&self.to) {
            return Ok(());
        }
        self.prepare(path)?;
        self.give_addresses(path)?;
        self.switch(path)?;
        // Those without a gateway first: the others may lean on them.
        for (route, _) in gather::last(self.among(Among::None), |(r, _)| r.gateway.is_some() || !r.next_hops.is_empty())
        {
            if !path.world.routes.contains(route) {
                self.drop_learned(path, route)?;
                path.push(Step::Route(RouteStep::Replace(route.clone())), &ON)?;
            }
        }
        let before: Vec<_> = self.among(Among::Before).collect();
        put_beside(path, before.into_iter().rev(), RouteStep::Prepend)?;
        put_beside(path, self.among(Among::Behind), RouteStep::Append)
    }

    fn among(&self, place: Among) -> impl Iterator<Item = &(Route, Among)> {
        self.routes.iter().filter(move |(_, p)| *p == place)
    }

    /// Of what routers have told, the kernel replaces whichever it meets first: only the one that is meant is left for that.
    fn drop_learned(&self, path: &mut Path<'_>, route: &Route) -> Result<(), Error> {
        let is_other = |r: &&Route| {
            r.destination.is_ipv6()
                && r.protocol == Route::BY_ROUTERS
                && r.has_place_of(route)
                && r.link != Some(self.to)
                && (r.link == Some(self.port) || r.link == self.renamed || r.link == self.from)
                && r.gateway != route.gateway
        };
        let others: Vec<Route> = path.world.routes.iter().filter(is_other).cloned().collect();
        for other in others {
            path.push(Step::Route(RouteStep::Del(other)), &Reason::fixed("it is learned anew on the other link"))?;
        }
        Ok(())
    }

    fn prepare(&self, path: &mut Path<'_>) -> Result<(), Error> {
        for (key, value) in &self.settings {
            if path.world.sysctls.get(key) != Some(value.as_str()) {
                let step = SysctlStep { key: key.clone(), value: value.clone() };
                path.push(Step::Sysctl(step), &Reason::fixed("as the uplink has it"))?;
            }
        }
        let Some(link) = path.world.links.get(&self.to) else { return Ok(()) };
        let change = LinkChange {
            up: (link.up != self.up).then_some(self.up),
            mac: self.mac.filter(|mac| link.mac != Some(*mac)),
            ..LinkChange::default()
        };
        if change == LinkChange::default() {
            return Ok(());
        }
        let link = path.link(self.to);
        let why = if self.up { "it takes over the uplink's connectivity" } else { "it was down before" };
        path.push(Step::Link(LinkStep::Set { link, change }), &Reason::fixed(why))
    }

    fn give_addresses(&self, path: &mut Path<'_>) -> Result<(), Error> {
        let key = |a: &Address| (a.address, a.peer);
        let there: Vec<_> = path.world.addresses_of(&self.to).map(key).collect();
        let missing: Vec<Address> = self.addresses.iter().filter(|a| !there.contains(&key(a))).cloned().collect();
        if missing.iter().any(|a| a.address.is_ipv6() && !a.nodad) {
            // They are this domain's own, and were tested for duplicates when they were new: another test of a second would be a
            // second without them.
            let key = SysctlKey::conf(Family::Ipv6, &self.to, "accept_dad");
            if path.world.sysctls.get(&key).is_some_and(|v| v != "0") {
                let why = Reason::fixed("its addresses are not tested again for duplicates");
                path.push(Step::Sysctl(SysctlStep { key, value: "0".into() }), &why)?;
            }
        }
        for address in as_added(missing) {
            let why = Reason::fixed("the other link has it before this one loses it");
            path.push(Step::Addr(AddrStep::Add(address)), &why)?;
        }
        Ok(())
    }

    fn switch(&self, path: &mut Path<'_>) -> Result<(), Error> {
        let port = self.renamed.filter(|n| path.world.links.contains_key(n)).unwrap_or(self.port);
        let Some(is) = path.world.links.get(&port).filter(|l| l.master != self.bridge) else { return Ok(()) };
        // It went down for its name.
        let comes_up = path.world.hidden.names_held_while_up && self.renamed == Some(port) && !is.up;
        let makes_address = is.addr_gen_mode.is_some_and(|m| m != AddrGenMode::None);
        let master = self.bridge.map_or(NewMaster::None, |name| NewMaster::Bridge(path.link(name)));
        let change = LinkChange {
            master: Some(master),
            addr_gen_mode: Some(AddrGenMode::None).filter(|_| comes_up && makes_address),
            ..LinkChange::default()
        };
        let link = path.link(port);
        if !comes_up {
            return path
                .push(Step::Link(LinkStep::Set { link, change }), &Reason::fixed("frames come in by the other link"));
        }
        // With the addresses it would have their routes again.
        for address in as_removed(path.world.addresses_in_order(&port)) {
            if path.world.addresses.contains(&address) {
                let step = AddrStep::Del(Address { label: None, ..address });
                path.push(Step::Addr(step), &Reason::fixed("the bridge has it now"))?;
            }
        }
        path.push(Step::Link(LinkStep::Set { link, change }), &Reason::fixed("frames come in by the other link"))?;
        let change = LinkChange { up: Some(true), ..LinkChange::default() };
        let why = Reason::fixed("this domain is there again, as soon as there is a carrier");
        path.push(Step::Link(LinkStep::Set { link, change }), &why)
    }
}

const ON: Reason = Reason::fixed("the way leads through the other link from now on");

/// Puts routes that share a place into their order. Routes that follow a missing one have to be put there again.
fn put_beside<'a>(
    path: &mut Path<'_>,
    routes: impl Iterator<Item = &'a (Route, Among)>,
    place: fn(Route) -> RouteStep,
) -> Result<(), Error> {
    let mut again = false;
    for (route, _) in routes {
        let is_there = path.world.routes.contains(route);
        if is_there && again {
            path.push(Step::Route(RouteStep::Del(route.clone())), &Reason::fixed("it comes behind another one"))?;
        }
        if !is_there || again {
            path.push(Step::Route(place(route.clone())), &ON)?;
            again = true;
        }
    }
    Ok(())
}

/// The same address on another link.
pub(super) fn address_on(link: IfName, a: &Address) -> Address {
    Address { link, ..a.clone() }
}

/// Whether a route has to be carried over: those that the kernel makes for one of these addresses come with it.
///
/// Not all that say they are the kernel's are: NetworkManager tells it to make none, and makes them itself, with a metric.
pub(crate) fn is_carried<'a>(r: &Route, addresses: impl IntoIterator<Item = &'a Address>) -> bool {
    if r.is_of_own_address() {
        return false;
    }
    let usual = if r.destination.is_ipv4() { 0 } else { PREFIX_METRIC6 };
    let comes_with = |a: &Address| {
        let metric = if a.metric == 0 { usual } else { a.metric };
        let place = a.peer.unwrap_or(a.address.ip());
        let network = IpNetwork::new(place, a.address.prefix()).map(|n| n.network());
        r.metric == metric
            && !a.no_prefix_route
            && network == Ok(r.destination.ip())
            && a.address.prefix() == r.destination.prefix()
    };
    r.protocol != Route::BY_KERNEL || !addresses.into_iter().any(comes_with)
}

/// The same route through another link.
pub(crate) fn route_through(link: IfName, from: IfName, r: &Route) -> Route {
    let other = |l: Option<IfName>| l.map(|l| if l == from { link } else { l });
    let next_hops = r.next_hops.iter().map(|h| NextHop { link: other(h.link), ..h.clone() }).collect();
    Route { link: other(r.link), next_hops, ..r.clone() }
}

/// The same neighbour on another link.
pub(crate) fn neighbour_on(link: IfName, n: &Neighbour) -> Neighbour {
    Neighbour { link, ..n.clone() }
}

/// The moves that lead back: of links that had addresses of their own and are ports by an operation's doing, or had none and
/// were ports.
pub(super) fn restoring(target: &Snapshot, now: &Snapshot) -> Vec<Move> {
    let to = |present: IfName, port: IfName, named: IfName, bridge: Option<IfName>| {
        let addresses = target.addresses_in_order(&named).iter().map(|a| address_on(present, a)).collect();
        let routes = carried_routes(target, &named).into_iter();
        let routes = routes.map(|(r, place)| (route_through(present, named, &r), place)).collect();
        let from = now.links.get(&port).and_then(|l| l.master);
        let mac = bridge.and_then(|b| target.links.get(&b)?.mac);
        let up = target.links.get(&named).is_none_or(|l| l.up);
        let (renamed, named, settings) = (None, None, Vec::new());
        Move {
            to: present,
            port,
            renamed,
            named,
            name_first: false,
            from,
            bridge,
            mac,
            settings,
            up,
            addresses,
            routes,
        }
    };
    let moved = |(name, was): (&IfName, &Link)| {
        let (present, is) = now.link_by_index(was.index)?;
        if was.kind == LinkKind::Bridge || !target.scope.contains(&Part::Addresses(*name)) {
            return None;
        }
        let made =
            target.scope.parts().find_map(|part| if let Part::Made(bridge) = part { Some(*bridge) } else { None })?;
        let ours = |master: Option<IfName>| master.is_none_or(|m| m == made);
        if !ours(was.master) || !ours(is.master) {
            return None;
        }
        // Also where the cable is in place again: routes may still be on their way.
        // A link that was down goes down again in any case, and gets its name then.
        let name_of = Some(*name).filter(|_| was.up);
        let name_first = now.hidden.names_held_while_up && name_of.is_some_and(|n| n != *present);
        Some(match was.master {
            None if name_first => Move { named: name_of, name_first, ..to(*name, *present, *name, None) },
            None => Move { named: name_of, ..to(*present, *present, *name, None) },
            Some(bridge) => Move { renamed: name_of, ..to(bridge, *present, bridge, Some(bridge)) },
        })
    };
    target.links.iter().filter_map(moved).collect()
}
