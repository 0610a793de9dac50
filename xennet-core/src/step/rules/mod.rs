//! The transition function: what the kernel does with a step, a file per kind of object.
//!
//! Each refusal names the function of the kernel that it comes from; the numbers are those of Linux 6.18. On the way the
//! function tells what the kernel does unasked ([`Effects`]).
//!
//! **How much is known.** A world may be narrow: [`Snapshot::scope`] says what was looked at. A step names objects that
//! the planner has observed, so a link that is missing is refused (`ENODEV`); but nothing is refused because of an object
//! that was not looked at: a route's gateway, for example, is checked only where all links, addresses and routes are known
//! (`Part::Network`, or a fake's whole world), and a bridge whose other ports are unknown keeps its address unless the new
//! port alone decides it.
//!
//! **What is not known.** Sets have no order. Where the kernel takes the eldest of several equal things (two links with the
//! same network, and a gateway in it without a link), the first by name is taken here.
//!
//! **What is left out.** What the kernel does later by itself, without a step: learned forwarding entries and neighbours,
//! addresses that IPv6 makes for a link once it has a carrier, duplicate address detection.

mod addr;
mod addr6;
mod bridge;
mod fib;
mod link;
mod neigh;
mod nft;
mod port;
mod route;
mod rule;
mod store;
mod sysctl;
mod updown;

use super::{Effects, Implied, LinkRef, Step};
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Link, Part, Route, Snapshot};

/// What the kernel would do with `step`.
///
/// The world is changed only as far as the kernel would change it: a refused step may have happened in part, as one
/// `RTM_SETLINK` may.
///
/// # Errors
/// The kernel's error number.
pub fn step(world: &mut Snapshot, step: &Step) -> Result<Effects, Errno> {
    let mut w = World { now: world, implied: Vec::new() };
    match step {
        Step::Link(s) => link::step(&mut w, s)?,
        Step::Port(s) => port::step(&mut w, s)?,
        Step::Addr(s) => addr::step(&mut w, s)?,
        Step::Route(s) => route::step(&mut w, s)?,
        Step::Rule(s) => rule::step(&mut w, s)?,
        Step::Neigh(s) => neigh::step(&mut w, s)?,
        Step::Sysctl(s) => sysctl::step(&mut w, s)?,
        Step::Nft(transaction) => return nft::apply(&mut w.now.nft, transaction),
        Step::Store(s) => store::step(&mut w, s)?,
        // What was learned is no part of a snapshot.
        Step::Forget(_) => {}
    }
    Ok(Effects { implied: w.implied })
}

/// A link appears that no step makes: hardware, or a vif of netback.
pub(crate) fn appear(world: &mut Snapshot, name: IfName, link: Link) {
    link::register(&mut World { now: world, implied: Vec::new() }, name, link);
}

/// A link goes that no step removes: hardware that is pulled out, or a vif whose domain has ended.
pub(crate) fn vanish(world: &mut Snapshot, name: &IfName) {
    link::unregister(&mut World { now: world, implied: Vec::new() }, name);
}

/// The world that a step changes, and what it did unasked so far.
struct World<'a> {
    now: &'a mut Snapshot,
    implied: Vec<Implied>,
}

impl World<'_> {
    /// The name of the link that a step means: its index decides where one is given.
    ///
    /// `ENODEV`: `net/core/rtnetlink.c`, `rtnl_setlink` (`__dev_get_by_index`).
    fn find(&self, link: &LinkRef) -> Result<IfName, Errno> {
        match (self.now.links.get(&link.name), link.index) {
            (Some(_), None) => Ok(link.name),
            (Some(l), Some(i)) if l.index == i => Ok(link.name),
            (_, Some(i)) => self.now.link_by_index(i).map(|(name, _)| *name).ok_or(Errno::ENODEV),
            (None, None) => Err(Errno::ENODEV),
        }
    }

    fn link(&self, name: &IfName) -> Result<&Link, Errno> {
        self.now.links.get(name).ok_or(Errno::ENODEV)
    }

    fn link_mut(&mut self, name: &IfName) -> Result<&mut Link, Errno> {
        self.now.links.get_mut(name).ok_or(Errno::ENODEV)
    }

    fn is_up(&self, name: &IfName) -> bool {
        self.now.links.get(name).is_some_and(|l| l.up)
    }

    fn tell(&mut self, implied: Implied) {
        self.implied.push(implied);
    }

    /// Whether the whole network is known, so that what is missing does not exist.
    fn knows_all(&self) -> bool {
        self.now.hidden.whole || self.now.scope.has_all_links()
    }

    /// Whether all links are known.
    fn knows_links(&self) -> bool {
        self.knows_all() || self.now.scope.contains(&Part::Links)
    }

    /// Whether a part of the network is known.
    fn knows(&self, part: &Part) -> bool {
        self.knows_all() || self.now.scope.contains(part)
    }

    /// Notes that a part is known from now on, because a step made it so.
    fn learn(&mut self, part: Part) {
        if !self.knows(&part) {
            self.now.scope.insert(part);
        }
    }

    /// A kernel setting as a number; `None` if it is not known or not a number.
    fn setting(&self, key: &str) -> Option<i64> {
        let key = key.parse().ok()?;
        self.now.sysctls.get(&key)?.trim().parse().ok()
    }

    /// Removes the routes that a test picks, and tells so.
    fn drop_routes(&mut self, gone: impl Fn(&Route) -> bool) {
        let picked: Vec<Route> = self.now.routes.iter().filter(|r| gone(r)).cloned().collect();
        for route in picked {
            self.now.routes.remove(&route);
            self.tell(Implied::RouteGoes(route));
        }
    }

    /// Adds a route that the kernel makes by itself.
    fn kernel_route(&mut self, route: Route) {
        if !self.now.routes.contains(&route) {
            // fib_magic: NLM_F_APPEND
            let there = self.in_order(&route);
            let at = there.len();
            self.put_in_order(route.clone(), there, at);
            self.tell(Implied::RouteAppears(route));
        }
    }

    /// The routes that have the place of one, in the kernel's order.
    fn in_order(&self, route: &Route) -> Vec<Route> {
        let mut there: Vec<Route> = self.now.routes.iter().filter(|r| r.has_place_of(route)).cloned().collect();
        there.sort_by_key(|r| self.now.hidden.rank(r));
        there
    }

    /// Adds a route at its place among those that are there.
    fn put_in_order(&mut self, route: Route, mut there: Vec<Route>, at: usize) {
        if !there.is_empty() && route.destination.is_ipv4() {
            self.now.hidden.route_order.retain(|r| !r.has_place_of(&route));
            there.insert(at, route.clone());
            self.now.hidden.route_order.append(&mut there);
        }
        self.now.routes.insert(route);
    }
}
