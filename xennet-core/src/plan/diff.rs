//! The difference between what is wanted and what will be, as steps in a safe order.
//!
//! The order within one pass: what our nft tables have to let pass is added, before anything goes up; bridges are made; links are renamed and set (down first where the kernel or the network
//! demands it); addresses are added, then superfluous ones removed; VLANs and port settings are put in force; only then
//! links go up; then routes, neighbours, forwarding entries, rules and settings; last, what the tables have too much. Rules of ours
//! in other programs' tables are removed first and added last. After each step the world is what the
//! transition function says, so what a step implies is seen by the steps behind it. Passes are repeated until one finds
//! nothing to do: a bridge's MAC, for example, can only be put back after the port that moved it has left.

use std::borrow::Cow;
use std::collections::BTreeSet;

use ipnetwork::IpNetwork;

use super::uplink::{as_added, as_removed};
use super::want::{LinkTarget, LinkWish, Wanted, WantedLink, Wish};
use super::{Planned, ROUTE_PROTOCOL, Reason, refused};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{IfName, Mtu};
use crate::snapshot::{AddrGenMode, Address, Link, LinkKind, PortState, Route, Snapshot};
use crate::step::{
    AddrStep, BridgeChange, Implied, LinkChange, LinkRef, LinkStep, NeighStep, NewMaster, PortChange, PortStep,
    RouteStep, RuleStep, Step, SysctlStep, step,
};

/// More passes than any chain of consequences that the kernel has needs.
const PASSES: usize = 4;

/// The steps, and the state that they lead to: what is now, where nothing has to be done.
pub(super) fn steps_towards<'a>(
    wanted: &Wanted,
    now: &'a Snapshot,
) -> Result<(Vec<Planned>, Cow<'a, Snapshot>), Error> {
    let mut path = Path { world: Cow::Borrowed(now), steps: Vec::new(), made: BTreeSet::new() };
    for _ in 0..PASSES {
        let before = path.steps.len();
        path.pass(wanted)?;
        if path.steps.is_empty() {
            return Ok((path.steps, path.world));
        }
        if path.steps.len() == before {
            // Of what follows from the steps, only what was looked at can be compared with another look.
            let after = path.world.seen(&now.scope);
            return Ok((path.steps, Cow::Owned(after)));
        }
    }
    Err(Error::new(
        ErrorKind::Internal,
        format!("the planner does not come to an end: {} steps and still not there", path.steps.len()),
    )
    .unchanged())
}

/// The steps so far and the world that they lead to, which is copied at the first step.
pub(super) struct Path<'a> {
    pub(super) world: Cow<'a, Snapshot>,
    steps: Vec<Planned>,
    /// Links that a step makes: what index they will have is known when they are there.
    made: BTreeSet<IfName>,
}

impl Path<'_> {
    /// A link as a step names it, by its index if that is known.
    pub(super) fn link(&self, name: IfName) -> LinkRef {
        let index = self.world.links.get(&name).map(|l| l.index);
        LinkRef { name, index: index.filter(|i| *i != 0 && !self.made.contains(&name)) }
    }

    pub(super) fn push(&mut self, s: Step, why: &Reason) -> Result<(), Error> {
        let mut effects = step(self.world.to_mut(), &s).map_err(|errno| refused(&s, errno))?;
        // Every port is in a VLAN by default; that is no news where nobody filters by VLAN.
        if !self.world.links.values().filter_map(|l| l.bridge.as_ref()).any(|b| b.vlan_filtering == Some(true)) {
            effects.implied.retain(|i| !matches!(i, Implied::VlanAppears(..) | Implied::VlanGoes(..)));
        }
        self.steps.push(Planned { step: s, why: why.clone(), effects });
        Ok(())
    }

    fn pass(&mut self, wanted: &Wanted) -> Result<(), Error> {
        for accepts in &wanted.accepts {
            self.push_all(accepts.removing(&self.world), &accepts.why_not)?;
        }
        // Before anything goes up.
        for wish in &wanted.tables {
            if let Some(transaction) = wish.first(&self.world)? {
                self.push(Step::Nft(transaction), &wish.why)?;
            }
        }
        for connectivity in &wanted.moves {
            connectivity.give_name(self)?;
        }
        for link in &wanted.links {
            self.make(link)?;
        }
        for connectivity in &wanted.moves {
            connectivity.carry_out(self)?;
        }
        for link in &wanted.links {
            self.remove(link)?;
        }
        for connectivity in &wanted.moves {
            connectivity.take_name(self)?;
        }
        let targets: Vec<(&WantedLink, &LinkTarget)> = wanted
            .links
            .iter()
            .filter_map(|l| match &l.wish {
                LinkWish::Be(t) | LinkWish::Exist(_, t) => Some((l, t)),
                LinkWish::Absent => None,
            })
            .collect();
        for (link, target) in &targets {
            self.settings(link, target)?;
        }
        for (link, wish) in &wanted.addresses {
            self.addresses(link, wish, wanted)?;
        }
        for (link, wish) in &wanted.port_vlans {
            self.port_vlans(link, wish)?;
        }
        for (link, target) in &targets {
            self.port_and_up(link, target)?;
        }
        // Before the routes: an answer for others is of no use before there is a route, and harmless.
        // Who becomes a router forgets the routes that it has from other routers, unless its links listen to them all the same.
        for (key, (value, why)) in
            gather::last(&wanted.sysctls, |(key, (value, _))| key.is_forwarding() && value != "0")
        {
            if self.world.sysctls.get(key) != Some(value.as_str()) {
                self.push(Step::Sysctl(SysctlStep { key: key.clone(), value: value.clone() }), why)?;
            }
        }
        let routes = wanted.routes.iter().map(|(link, wish)| (link, wish, false));
        for (link, wish, own) in routes.chain(wanted.own_routes.iter().map(|(link, wish)| (link, wish, true))) {
            self.routes(link, wish, own, &wanted.taken_over)?;
        }
        for (link, wish) in &wanted.neighbours {
            let have = self.world.neighbours.iter().filter(|n| n.link == *link).cloned().collect();
            let (add, del) = difference(wish, have, PartialEq::eq);
            self.add_del(add, del, &wish.why, |n| Step::Neigh(NeighStep::Add(n)), |n| Step::Neigh(NeighStep::Del(n)))?;
        }
        for (proxy, (wanted, why)) in &wanted.proxies {
            let step = match (wanted, self.world.neighbours.contains(proxy)) {
                (true, false) => NeighStep::Add(proxy.clone()),
                (false, true) => NeighStep::Del(proxy.clone()),
                _ => continue,
            };
            self.push(Step::Neigh(step), why)?;
        }
        for (link, wish) in &wanted.fdb {
            let have = self.world.fdb.iter().filter(|e| e.link == *link).cloned().collect();
            let (add, del) = difference(wish, have, PartialEq::eq);
            self.add_del(
                add,
                del,
                &wish.why,
                |entry| Step::Port(PortStep::FdbAdd { entry }),
                |entry| Step::Port(PortStep::FdbDel { entry }),
            )?;
        }
        if let Some(wish) = &wanted.rules {
            let have = self.world.rules.iter().cloned().collect();
            let (add, del) = difference(wish, have, PartialEq::eq);
            self.add_del(add, del, &wish.why, |r| Step::Rule(RuleStep::Add(r)), |r| Step::Rule(RuleStep::Del(r)))?;
        }
        // When nothing is up any more that should not be.
        for wish in &wanted.tables {
            if let Some(transaction) = wish.last(&self.world) {
                self.push(Step::Nft(transaction), &wish.why)?;
            }
        }
        // When our own tables check what is let through.
        for accepts in &wanted.accepts {
            self.push_all(accepts.adding(&self.world), &accepts.why)?;
        }
        Ok(())
    }

    fn push_all(&mut self, steps: Vec<Step>, why: &Reason) -> Result<(), Error> {
        steps.into_iter().try_for_each(|step| self.push(step, why))
    }

    fn add_del<T>(
        &mut self,
        add: Vec<T>,
        del: Vec<T>,
        why: &Reason,
        added: impl Fn(T) -> Step,
        deleted: impl Fn(T) -> Step,
    ) -> Result<(), Error> {
        for item in add {
            self.push(added(item), why)?;
        }
        for item in del {
            self.push(deleted(item), why)?;
        }
        Ok(())
    }

    fn make(&mut self, wanted: &WantedLink) -> Result<(), Error> {
        let exists = self.world.links.contains_key(&wanted.link.name);
        match &wanted.wish {
            LinkWish::Exist(kind, target) if !exists => {
                // What the kernel takes in the creating message; the rest follows as a change.
                let change = LinkChange {
                    mac: target.mac,
                    mtu: target.mtu,
                    bridge: target.bridge.clone(),
                    ..LinkChange::default()
                };
                let made = LinkStep::Create { name: wanted.link.name, kind: kind.clone(), change };
                self.made.insert(wanted.link.name);
                self.push(Step::Link(made), &wanted.why)
            }
            _ => Ok(()),
        }
    }

    fn remove(&mut self, wanted: &WantedLink) -> Result<(), Error> {
        let LinkRef { name, index } = wanted.link;
        // In a later pass another link may have got its name back.
        let there = self.world.links.get(&name).is_some_and(|l| index.is_none_or(|i| i == l.index));
        match &wanted.wish {
            LinkWish::Absent if there => self.push(Step::Link(LinkStep::Delete { link: wanted.link }), &wanted.why),
            _ => Ok(()),
        }
    }

    /// Where the link is in the predicted world: under its old or its new name.
    fn find(&self, wanted: &WantedLink, target: &LinkTarget) -> Result<(LinkRef, &Link), Error> {
        let index = wanted.link.index;
        let same = |link: &&Link| index.is_none_or(|i| link.index == i);
        let names = [Some(wanted.link.name), target.name];
        names
            .into_iter()
            .flatten()
            .find_map(|name| Some((LinkRef { name, index }, self.world.links.get(&name).filter(same)?)))
            .ok_or_else(|| {
                Error::new(ErrorKind::LinkNotFound, format!("{}: there is no such link", wanted.link.name))
                    .with_object(wanted.link.name.as_str())
            })
    }

    /// Everything of a link but its port settings and going up.
    fn settings(&mut self, wanted: &WantedLink, target: &LinkTarget) -> Result<(), Error> {
        let (mut at, link) = self.find(wanted, target)?;
        let had_no_ipv6 = link.addr_gen_mode.is_none();
        let moves = target.master.is_some_and(|m| m != link.master);
        // An address change on a link that is up is refused by drivers that cannot do it live, netback among them
        // (eth_mac_addr, IFF_LIVE_ADDR_CHANGE); and a link that is up must not carry frames of its old place to its new one.
        let mac_needs_down = link.kind == LinkKind::Plain && target.mac.is_some_and(|m| Some(m) != link.mac);
        let moved = target.up == Some(true) && (mac_needs_down || (moves && target.master != Some(None)));
        // Before Linux 6.2 a link that is up keeps its name, and the kernel comes to the name of a message before its flags.
        let renamed = target.up.is_some() && target.name.is_some_and(|n| n != at.name);
        if link.up && (moved || renamed) {
            let change = LinkChange { up: Some(false), ..LinkChange::default() };
            let why =
                Reason::fixed(if moved { "it is down while it is moved" } else { "it is down while it is renamed" });
            self.push(Step::Link(LinkStep::Set { link: at, change }), &why)?;
        }
        // The kernel comes to the delay before the spanning tree, and refuses a short one while that is on (br_set_forward_delay).
        let (at_now, link) = self.find(wanted, target)?;
        if link.bridge.as_ref().is_some_and(|b| b.stp) && target.bridge.stp == Some(false) {
            let bridge = BridgeChange { stp: Some(false), ..BridgeChange::default() };
            let change = LinkChange { bridge, ..LinkChange::default() };
            self.push(
                Step::Link(LinkStep::Set { link: LinkRef { index: wanted.link.index, ..at_now }, change }),
                &wanted.why,
            )?;
        }
        let (_, link) = self.find(wanted, target)?;
        let change = LinkChange {
            mac: differs(target.mac, link.mac),
            mtu: target.mtu.filter(|m| *m != link.mtu),
            name: target.name.filter(|n| *n != at.name),
            alias: target.alias.clone().filter(|a| *a != link.alias.clone().unwrap_or_default()),
            up: (link.up && target.up == Some(false)).then_some(false),
            arp: target.arp.filter(|a| *a != link.arp),
            multicast: target.multicast.filter(|m| *m != link.multicast),
            master: target.master.filter(|m| *m != link.master).map(|m| match m {
                Some(name) => NewMaster::Bridge(self.link(name)),
                None => NewMaster::None,
            }),
            txqueuelen: target.txqueuelen.filter(|t| *t != link.txqueuelen),
            // IPv6 leaves a link together with such an MTU, before the kernel comes to this.
            addr_gen_mode: gen_mode_difference(target, link)
                .filter(|_| target.mtu.unwrap_or(link.mtu) >= Mtu::IPV6_MIN),
            bridge: bridge_difference(&target.bridge, link),
        };
        if change != LinkChange::default() {
            at.index = wanted.link.index;
            self.push(Step::Link(LinkStep::Set { link: at, change }), &wanted.why)?;
        }
        // With a larger MTU IPv6 has come back, with what the default says. Where that was not looked at, the mode is set in any case.
        let key = "net/ipv6/conf/default/addr_gen_mode".parse().ok();
        let is_known = key.is_some_and(|key| self.world.sysctls.contains_key(&key));
        let (at, link) = self.find(wanted, target)?;
        let came_back = had_no_ipv6 && link.addr_gen_mode.is_some();
        if let Some(mode) =
            gen_mode_difference(target, link).or(target.addr_gen_mode.filter(|_| came_back && !is_known))
        {
            let change = LinkChange { addr_gen_mode: Some(mode), ..LinkChange::default() };
            self.push(Step::Link(LinkStep::Set { link: at, change }), &wanted.why)?;
        }
        Ok(())
    }

    fn port_and_up(&mut self, wanted: &WantedLink, target: &LinkTarget) -> Result<(), Error> {
        let (at, link) = self.find(wanted, target)?;
        let up = target.up.filter(|u| *u != link.up);
        let change = link.port.as_ref().map(|p| port_difference(&target.port, p)).unwrap_or_default();
        if change != PortChange::default() {
            self.push(Step::Port(PortStep::Set { port: at, change, up }), &wanted.why)
        } else if up.is_some() {
            let change = LinkChange { up, ..LinkChange::default() };
            self.push(Step::Link(LinkStep::Set { link: at, change }), &wanted.why)
        } else {
            Ok(())
        }
    }

    fn addresses(&mut self, link: &IfName, wish: &Wish<Address>, wanted: &Wanted) -> Result<(), Error> {
        let have: Vec<Address> = self.world.addresses_of(link).cloned().collect();
        // Whether one is the first of its subnet, and how long it lives, follows from the others and from time.
        let key = |a: &Address| Address { secondary: false, lifetime: None, ..a.clone() };
        let (add, mut del) = difference(wish, have, |a, b| key(a) == key(b));
        // The kernel makes temporary ones beside others as it sees fit.
        let makes = |a: &Address| a.flags & Address::MAKES_TEMPORARY != 0;
        del.retain(|d| !d.is_temporary() || !wish.items.iter().any(makes));
        let order = wanted.address_order.get(link);
        let place = |a: &Address| order.and_then(|o| o.iter().position(|(b, p)| *b == a.address && *p == a.peer));
        let mut all: Vec<Address> = if order.is_some() { wish.items.iter().cloned().collect() } else { add.clone() };
        all.sort_by_key(|a| place(a).unwrap_or(usize::MAX));
        // An address that is added again comes last, so those that follow it have to be added again, too.
        let (mut primaries, mut secondaries) = (false, false);
        for address in as_added(all) {
            let again = if address.secondary { &mut secondaries } else { &mut primaries };
            if !add.contains(&address) && (address.address.is_ipv6() || !*again) {
                continue;
            }
            // The same one, but for its label or scope: a rename gives labels to all addresses but the first.
            let otherwise =
                |a: &&Address| a.link == address.link && a.address == address.address && a.peer == address.peer;
            if let Some(old) = self.world.addresses.iter().find(otherwise).cloned() {
                *again = true;
                self.push(removal(old), &wish.why)?;
            }
            self.push(Step::Addr(AddrStep::Add(address)), &wish.why)?;
        }
        del.sort_by_key(|a| self.world.hidden.position(a));
        for address in as_removed(del) {
            // Routes from an address go with it only where no other link has the same one, which nobody has looked at.
            for wish in [&wanted.routes, &wanted.own_routes].into_iter().filter_map(|of| of.get(link)) {
                let from = |r: &&Route| r.link == Some(*link) && r.source == Some(address.address.ip());
                let stale = |r: &&Route| from(r) && r.protocol == ROUTE_PROTOCOL && !wish.items.contains(*r);
                let stale: Vec<Route> = self.world.routes.iter().filter(stale).cloned().collect();
                for route in stale.into_iter().filter(|_| wish.exact) {
                    self.push(Step::Route(RouteStep::Del(route)), &wish.why)?;
                }
            }
            // It may have gone with the first address of its subnet.
            if self.world.addresses.contains(&address) {
                self.push(removal(address), &wish.why)?;
            }
        }
        Ok(())
    }

    fn routes(
        &mut self,
        link: &IfName,
        wish: &Wish<Route>,
        own: bool,
        taken_over: &BTreeSet<IpNetwork>,
    ) -> Result<(), Error> {
        let counts = |r: &&Route| r.leads_through(link) && (!own || r.protocol == ROUTE_PROTOCOL);
        let have: Vec<Route> = self.world.routes.iter().filter(counts).cloned().collect();
        // Routes without a gateway first: the others may lean on them.
        let (add, mut del) = difference(wish, have, PartialEq::eq);
        let add = gather::last(add, |r: &Route| r.gateway.is_some() || !r.next_hops.is_empty());
        // The same way, but for its source or whose it is.
        let same = |a: &Route, b: &Route| {
            a.link == b.link && (a.table, a.destination, a.tos, a.metric) == (b.table, b.destination, b.tos, b.metric)
        };
        let stands = |r: &Route| {
            own && (taken_over.contains(&r.destination) || self.world.routes.iter().any(|other| same(r, other)))
        };
        del.retain(|d| !own || !add.iter().any(|a| same(a, d)));
        let (replace, add): (Vec<Route>, Vec<Route>) = add.into_iter().partition(stands);
        for route in replace {
            self.push(Step::Route(RouteStep::Replace(route)), &wish.why)?;
        }
        self.add_del(add, del, &wish.why, |r| Step::Route(RouteStep::Add(r)), |r| Step::Route(RouteStep::Del(r)))
    }

    fn port_vlans(&mut self, link: &IfName, wish: &Wish<crate::snapshot::PortVlan>) -> Result<(), Error> {
        let Some((name, found)) = self.world.links.get_key_value(link) else { return Ok(()) };
        let port = LinkRef { name: *name, index: Some(found.index) };
        let have = self.world.port_vlans.get(link).into_iter().flatten().copied().collect();
        let (add, del) = difference(wish, have, PartialEq::eq);
        let replaced: BTreeSet<_> = add.iter().map(|v| v.vid).collect();
        // The new PVID first: it takes the mark from the old one, so that the port is never without.
        for vlan in gather::last(add, |v| !v.pvid) {
            if self.world.port_vlans.get(link).is_some_and(|now| now.contains(&vlan)) {
                continue;
            }
            self.push(Step::Port(PortStep::VlanAdd { port, vlan }), &wish.why)?;
        }
        for vlan in del.into_iter().filter(|v| !replaced.contains(&v.vid)) {
            let why = Reason::fixed("the guest is not in this VLAN");
            self.push(Step::Port(PortStep::VlanDel { port, vlan }), &why)?;
        }
        Ok(())
    }
}

/// The step that removes an address, whatever its label has become: a rename of its link may have changed it.
fn removal(address: Address) -> Step {
    Step::Addr(AddrStep::Del(Address { label: None, ..address }))
}

/// A link without IPv6 makes no addresses of its own either.
fn gen_mode_difference(target: &LinkTarget, link: &Link) -> Option<AddrGenMode> {
    target.addr_gen_mode.filter(|m| link.addr_gen_mode.is_some_and(|have| have != *m))
}

fn differs<T: PartialEq + Copy>(wanted: Option<T>, have: Option<T>) -> Option<T> {
    wanted.filter(|w| Some(*w) != have)
}

/// What must be added and removed, by what counts as the same.
fn difference<T: Clone>(wish: &Wish<T>, have: Vec<T>, same: impl Fn(&T, &T) -> bool) -> (Vec<T>, Vec<T>) {
    let add = wish.items.iter().filter(|w| !have.iter().any(|h| same(w, h))).cloned().collect();
    let has = |h: &T| wish.items.iter().any(|w| same(w, h));
    let del = if wish.exact { have.into_iter().filter(|h| !has(h)).collect() } else { Vec::new() };
    (add, del)
}

fn bridge_difference(wanted: &BridgeChange, link: &Link) -> BridgeChange {
    let Some(have) = &link.bridge else { return BridgeChange::default() };
    BridgeChange {
        stp: wanted.stp.filter(|v| *v != have.stp),
        forward_delay_cs: wanted.forward_delay_cs.filter(|v| *v != have.forward_delay_cs),
        ageing_time_cs: wanted.ageing_time_cs.filter(|v| *v != have.ageing_time_cs),
        vlan_filtering: differs(wanted.vlan_filtering, have.vlan_filtering),
        default_pvid: differs(wanted.default_pvid, have.default_pvid),
        multicast_snooping: wanted.multicast_snooping.filter(|v| *v != have.multicast_snooping),
    }
}

fn port_difference(wanted: &PortChange, have: &PortState) -> PortChange {
    PortChange {
        isolated: wanted.isolated.filter(|v| *v != have.isolated),
        learning: wanted.learning.filter(|v| *v != have.learning),
        hairpin: wanted.hairpin.filter(|v| *v != have.hairpin),
        unicast_flood: wanted.unicast_flood.filter(|v| *v != have.unicast_flood),
        multicast_flood: wanted.multicast_flood.filter(|v| *v != have.multicast_flood),
        broadcast_flood: wanted.broadcast_flood.filter(|v| *v != have.broadcast_flood),
        neigh_suppress: wanted.neigh_suppress.filter(|v| *v != have.neigh_suppress),
        locked: wanted.locked.filter(|v| *v != have.locked),
        bpdu_guard: wanted.bpdu_guard.filter(|v| *v != have.bpdu_guard),
        root_block: wanted.root_block.filter(|v| *v != have.root_block),
        group_forward: wanted.group_forward.filter(|v| *v != have.group_forward),
    }
}
