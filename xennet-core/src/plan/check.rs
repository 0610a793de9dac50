//! Checks of a finished plan by other code than what made it.

use std::collections::BTreeSet;

use super::{Planned, accept, refused};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{Guests, IfName, Resolved};
use crate::snapshot::{Address, LinkKind, Part, Route, Scope, Snapshot};
use crate::step::{Implied, LinkStep, RouteStep, Step, step};

/// Refuses the way to a wish one of whose steps takes a [way out](is_way_out) away. A vif that goes takes along what leads through it.
pub(super) fn there(resolved: &Resolved, steps: &[Planned], now: &Snapshot) -> Result<(), Error> {
    if matches!(resolved, Resolved::Detach(_)) { Ok(()) } else { never_cut_off(steps, now) }
}

/// Refuses a plan one of whose steps takes a [way out](is_way_out) away, itself or by consequence.
///
/// No wish that this library plans needs that, so a plan that does it would cut this domain off by mistake. The exception is a link
/// that has to go down for another name (before Linux 6.2): what it loses has to come back in the same plan.
///
/// # Errors
/// [`ErrorKind::WouldCutOff`], naming step and route.
pub(super) fn never_cut_off(steps: &[Planned], now: &Snapshot) -> Result<(), Error> {
    let takes = |p: &Planned| taken_by(&p.step, &p.effects.implied).next().is_some();
    if !steps.iter().any(takes) {
        return Ok(());
    }
    let mut world = now.clone();
    for (at, planned) in steps.iter().enumerate() {
        let effects = step(&mut world, &planned.step).map_err(|errno| refused(&planned.step, errno))?;
        let comes_with_name = |route: &&Route| goes_down_for_name(steps, at) && is_put_back(steps, at, route);
        // Another one that does the same may have been put beside it before.
        let is_there = |route: &&Route| world.routes.iter().any(|r| comes_back(route, r));
        let mut lost = taken_by(&planned.step, &effects.implied);
        if let Some(route) = lost.find(|route| !comes_with_name(route) && !is_there(route)) {
            return Err(cut_off(steps, at, route));
        }
    }
    Ok(())
}

/// Refuses a plan that changes something in another program's nft table, but for a rule that is marked as a network's.
///
/// # Errors
/// [`ErrorKind::Internal`], naming step and table: no wish that this library plans needs that.
pub(super) fn leaves_others(steps: &[Planned]) -> Result<(), Error> {
    for (at, planned) in steps.iter().enumerate() {
        if let Step::Nft(transaction) = &planned.step
            && !transaction.table.is_own()
            && !transaction.ops.iter().all(accept::is_allowed)
        {
            let message = format!("a step would change the table of another program: {}", planned.step);
            return Err(Error::new(ErrorKind::Internal, message)
                .with_object(planned.step.object())
                .with_step(format!("step {} of {}", at + 1, steps.len()))
                .unchanged());
        }
    }
    Ok(())
}

/// Whether a step puts a link down that gets another name later.
fn goes_down_for_name(steps: &[Planned], at: usize) -> bool {
    let set = |p: &Planned| match &p.step {
        Step::Link(LinkStep::Set { link, change }) => Some((*link, change.clone())),
        _ => None,
    };
    let Some((down, _)) = set(&steps[at]).filter(|(_, change)| change.up == Some(false)) else { return false };
    steps[at..]
        .iter()
        .filter_map(set)
        .any(|(link, change)| link.index.is_some() && link.index == down.index && change.name.is_some())
}

fn is_put_back(steps: &[Planned], at: usize, route: &Route) -> bool {
    let is_it = |p: &Planned| match &p.step {
        Step::Route(RouteStep::Replace(again) | RouteStep::Append(again) | RouteStep::Prepend(again)) => {
            again.has_place_of(route) && (again.gateway == route.gateway || route.protocol == Route::BY_ROUTERS)
        }
        _ => false,
    };
    steps[at..].iter().any(is_it)
}

/// The ways out that a step takes away, itself or by consequence.
fn taken_by<'a>(step: &'a Step, implied: &'a [Implied]) -> impl Iterator<Item = &'a Route> {
    let asked = match step {
        Step::Route(RouteStep::Del(route)) => Some(route),
        _ => None,
    };
    let implied = implied.iter().filter_map(|i| match i {
        Implied::RouteGoes(route) => Some(route),
        _ => None,
    });
    asked.into_iter().chain(implied).filter(|r| is_way_out(r))
}

fn cut_off(steps: &[Planned], at: usize, route: &Route) -> Error {
    let step = &steps[at].step;
    Error::new(ErrorKind::WouldCutOff, format!("a step would cost this domain its route \"{route}\": {step}"))
        .with_object(step.object())
        .with_step(format!("step {} of {}", at + 1, steps.len()))
        .unchanged()
        .with_hint(match route.link {
            Some(link) => format!("move this route off {link} first"),
            None => "keep this route".to_owned(),
        })
}

/// Whether a route leads out of this host: a default route, or one to half of all addresses, since VPNs set `0.0.0.0/1` and
/// `128.0.0.0/1` beside the default route. The table does not matter: policy rules lead to others than main, and rules are not observed
/// here.
fn is_way_out(route: &Route) -> bool {
    route.destination.prefix() <= 1
}

/// What has to be observed besides the target's own scope to judge a way back: ports, addresses and routes of the bridges that it
/// changes or removes, and routes through the links that it may put down.
pub(crate) fn around(target: &Snapshot, now: &Snapshot) -> Scope {
    let mut scope = Scope::none();
    for part in target.scope.parts() {
        let Part::Link(name) = part else { continue };
        // Under its present name, and under its own name, which another link may have taken.
        let by_index = target.links.get(name).and_then(|l| now.link_by_index(l.index));
        for (name, link) in by_index.into_iter().chain(now.links.get_key_value(name)) {
            let is_bridge = link.kind == LinkKind::Bridge;
            if is_bridge {
                scope.insert(Part::Addresses(*name));
            }
            if is_bridge && target.links.get(name).is_none_or(|l| l.kind != LinkKind::Bridge) {
                scope.insert(Part::Links);
            }
            if is_bridge || (link.up && (link.master.is_none() || now.addresses_of(name).next().is_some())) {
                scope.insert(Part::Routes(*name));
            }
        }
    }
    scope.without(&now.scope)
}

/// Refuses a way back that removes what the operation did not add: a [way out](is_way_out) that does not come back, ports, and addresses
/// and routes of bridges. `around` is what is there now.
///
/// # Errors
/// [`ErrorKind::WouldCutOff`], [`ErrorKind::Conflict`].
pub(super) fn restoring(steps: &[Planned], target: &Snapshot, around: &Snapshot, guests: Guests) -> Result<(), Error> {
    if steps.is_empty() {
        return Ok(());
    }
    let mut world = around.clone();
    let (mut lost, mut conflict) = (Vec::new(), None);
    for (at, planned) in steps.iter().enumerate() {
        // A rule in another program's table takes nothing along, and that table may not have been looked at around.
        if matches!(&planned.step, Step::Nft(transaction) if !transaction.table.is_own()) {
            continue;
        }
        if let Step::Link(LinkStep::Delete { link }) = &planned.step {
            is_looked_at(&link.name, around)?;
            if guests == Guests::MustHaveGone && conflict.is_none() {
                conflict = ports_left(&link.name, &world);
            }
        }
        let effects = step(&mut world, &planned.step).map_err(|errno| refused(&planned.step, errno))?;
        lost.extend(taken_by(&planned.step, &effects.implied).map(|route| (at, route.clone())));
    }
    // The card that the route led through is gone: no route can be kept.
    let is_gone = |r: &Route| r.link.is_some_and(|link| !world.links.contains_key(&link));
    let has_end = |route: &Route| target.routes.iter().any(|r| is_gone(r) && comes_back(route, r));
    let is_back = |route: &Route| world.routes.iter().any(|r| comes_back(route, r)) || has_end(route);
    if let Some((at, route)) = lost.iter().find(|(_, route)| !is_back(route)) {
        return Err(cut_off(steps, *at, route));
    }
    conflict.or_else(|| taken_along(target, around, &world)).map_or(Ok(()), Err)
}

/// Whether one way out replaces another, perhaps through another link. Routers advertise theirs again.
fn comes_back(lost: &Route, there: &Route) -> bool {
    let gateways = |r: &Route| -> BTreeSet<_> {
        gather::set(r.next_hops.iter().map(|h| h.gateway).chain(r.next_hops.is_empty().then_some(r.gateway)))
    };
    is_way_out(there)
        && (there.table, there.destination) == (lost.table, lost.destination)
        && there.kind == lost.kind
        && (gateways(there) == gateways(lost) || lost.protocol == Route::BY_ROUTERS)
}

/// Refuses to remove a bridge whose ports, addresses and routes were not observed.
fn is_looked_at(bridge: &IfName, around: &Snapshot) -> Result<(), Error> {
    let knows = |part: Part| {
        let scope = &around.scope;
        around.hidden.whole || scope.has_all_links() || scope.contains(&part)
    };
    if knows(Part::Links) && knows(Part::Addresses(*bridge)) && knows(Part::Routes(*bridge)) {
        return Ok(());
    }
    let message = format!("{bridge}: the way back was planned without looking at what hangs on it by now");
    Err(Error::new(ErrorKind::Internal, message).with_object(bridge.as_str()).unchanged())
}

fn ports_left(bridge: &IfName, world: &Snapshot) -> Option<Error> {
    let ports: Vec<&str> = world.ports(bridge).map(|(port, _)| port.as_str()).collect();
    let first = ports.first()?;
    let message = format!("{bridge} cannot be removed, it has the ports {}", ports.join(", "));
    let hint = format!("shut the guests down, or take them off: ip link set {first} nomaster");
    Some(Error::new(ErrorKind::Conflict, message).with_object(bridge.as_str()).with_hint(hint).unchanged())
}

/// An address or route of a bridge that was no part of the operation and would be lost.
fn taken_along(target: &Snapshot, around: &Snapshot, after: &Snapshot) -> Option<Error> {
    let is_bridge = |link: &IfName| around.links.get(link).is_some_and(|l| l.kind == LinkKind::Bridge);
    let is_strange =
        |link: &IfName, part: Part| is_bridge(link) && !target.scope.contains(&part) && !target.scope.has_all_links();
    let has = |a: &Address| after.addresses.iter().any(|b| b.address.ip() == a.address.ip());
    let address = around
        .addresses
        .iter()
        .find(|a| a.scope != Route::SCOPE_LINK && is_strange(&a.link, Part::Addresses(a.link)) && !has(a))
        .map(|a| {
            (a.link, format!("the address {}", a.address), format!("ip address del {} dev {}", a.address, a.link))
        });
    let route = || {
        let through = |r: &Route| r.link.filter(|link| is_strange(link, Part::Routes(*link)));
        let lost = |r: &&Route| r.protocol != Route::BY_KERNEL && !after.routes.contains(*r);
        let (link, r) = around.routes.iter().filter(lost).find_map(|r| Some((through(r)?, r)))?;
        let ip = if r.destination.is_ipv4() { "ip" } else { "ip -6" };
        Some((link, format!("the route \"{r}\""), format!("{ip} route del {r}")))
    };
    let (link, what, command) = address.or_else(route)?;
    let message = format!("{link} has been given {what} since, which would be lost");
    Some(
        Error::new(ErrorKind::Conflict, message)
            .with_object(link.as_str())
            .with_hint(format!("take it off first, or keep the bridge: {command}"))
            .unchanged(),
    )
}
