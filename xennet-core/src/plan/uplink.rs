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

use std::collections::BTreeSet;

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

/// `RTPROT_KERNEL` (`include/uapi/linux/rtnetlink.h`): routes that come and go with addresses.
const BY_THE_KERNEL: u8 = 2;
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
    /// The bridge that the port shall be in afterwards.
    pub(super) bridge: Option<IfName>,
    /// The MAC that `to` has to have before it gets the cable, where it is not the port's own link.
    pub(super) mac: Option<MacAddr>,
    /// Settings that `to` has to have before frames come in by it.
    pub(super) settings: Vec<(SysctlKey, String)>,
    /// Whether `to` shall be up: not where it leads back to a link that was down.
    pub(super) up: bool,
    /// What `to` shall have.
    pub(super) addresses: BTreeSet<Address>,
    pub(super) routes: BTreeSet<Route>,
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
        for route in gather::last(&self.routes, |r| r.gateway.is_some() || !r.next_hops.is_empty()) {
            if !path.world.routes.contains(route) {
                let why = Reason::fixed("the way leads through the other link from now on");
                path.push(Step::Route(RouteStep::Replace(route.clone())), &why)?;
            }
        }
        Ok(())
    }

    fn prepare(&self, path: &mut Path<'_>) -> Result<(), Error> {
        for (key, value) in &self.settings {
            if path.world.sysctls.get(key) != Some(value) {
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
        let missing: Vec<&Address> = self.addresses.iter().filter(|a| !there.contains(&key(a))).collect();
        if missing.iter().any(|a| a.address.is_ipv6() && !a.nodad) {
            // They are this domain's own, and were tested for duplicates when they were new: another test of a second would be a
            // second without them.
            let key = SysctlKey::conf(Family::Ipv6, &self.to, "accept_dad");
            if path.world.sysctls.get(&key).is_some_and(|v| v != "0") {
                let why = Reason::fixed("its addresses are not tested again for duplicates");
                path.push(Step::Sysctl(SysctlStep { key, value: "0".into() }), &why)?;
            }
        }
        // A subnet's first address first, so that first stays first.
        for address in gather::last(missing, |a| a.secondary) {
            let why = Reason::fixed("the other link has it before this one loses it");
            path.push(Step::Addr(AddrStep::Add(address.clone())), &why)?;
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
        let have: Vec<Address> = path.world.addresses_of(&port).cloned().collect();
        for address in have {
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
    r.protocol != BY_THE_KERNEL || !addresses.into_iter().any(comes_with)
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
pub(super) fn back(target: &Snapshot, now: &Snapshot) -> Vec<Move> {
    let to = |present: IfName, port: IfName, named: IfName, bridge: Option<IfName>| {
        let addresses = gather::set(target.addresses_of(&named).map(|a| address_on(present, a)));
        let through = target.routes.iter().filter(|r| r.leads_through(&named));
        let routes = through.filter(|r| is_carried(r, target.addresses_of(&named)));
        let routes = gather::set(routes.map(|r| route_through(present, named, r)));
        let mac = bridge.and_then(|b| target.links.get(&b)?.mac);
        let up = target.links.get(&named).is_none_or(|l| l.up);
        Move {
            to: present,
            port,
            renamed: None,
            named: None,
            name_first: false,
            bridge,
            mac,
            settings: Vec::new(),
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
