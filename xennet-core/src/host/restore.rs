//! The way back from a network: to how it was before, with what has become of its parts since.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Host, joined};
use crate::error::{Error, ErrorKind};
use crate::exec::{self, Entry};
use crate::gather;
use crate::model::{GuestLinks, Guests, IfName, NetworkMode, PortForward, ResolvedNetwork, Started};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{Address, Link, LinkKind, Neighbour, Part, Route, Scope, Snapshot, SysctlKey};
use crate::step::{Step, SysctlStep};

/// What to do when a forward that a network had released belongs to another network now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing is taken back at all.
    IsRefused,
    /// It is left to the other one, and all else is taken back.
    IsLeft,
}

impl Host {
    /// The plan that leads back to how it was before a network was started, with what has become of its parts since.
    pub(super) fn restore_network(&mut self, name: &IfName, entry: &Entry, guests: Guests) -> Result<Plan, Error> {
        let mut target = entry.origin();
        let Some(started) = entry.started().cloned() else {
            return Err(Error::new(ErrorKind::Internal, format!("network {name}: its record is not about a network"))
                .with_object(name.as_str()));
        };
        let known = self.records.started_or_stopping(name)?.unwrap_or_else(|| Started::of(&started));
        // A hotplug call that mended or replaced the table may have added elements that no record names.
        target.scope = target.scope.union(plan::scope_of_network(&started)).union(plan::accept::scope(&started));
        plan::accept::forget(&mut target);
        plan::forget_earlier_version(&mut target, &started);
        let now = self.look(&target.scope)?;
        let mut notes = Vec::new();
        let kept = plan::accept::left(&now);
        if let Some(bridge) = started.network.bridge().map(|b| b.name()) {
            let uplinks: BTreeSet<IfName> = match started.network.mode() {
                NetworkMode::Bridge(b) => gather::set(b.uplink.into_iter().chain(b.uplink_name)),
                _ => BTreeSet::new(),
            };
            let own = target.links.get(&bridge).is_none_or(|l| l.bridge.is_none());
            replaced(&mut target, &now, &uplinks);
            if own && guests == Guests::MustHaveGone {
                let all = self.look(&Scope::none().with(Part::Links))?;
                let ports: Vec<IfName> = all.ports(&bridge).map(|(p, _)| *p).filter(|p| !uplinks.contains(p)).collect();
                if !ports.is_empty() {
                    return Err(Error::new(
                        ErrorKind::Conflict,
                        format!("network {name} cannot be stopped: {bridge} has the ports {}", joined(&ports)),
                    )
                    .with_object(bridge.as_str())
                    .with_hint("shut the guests down, or cut them off by force")
                    .unchanged());
                }
            }
            if guests == Guests::MustHaveGone {
                self.check_others(name, bridge)?;
            }
            if !own {
                let gateways = started.network.subnets().iter().map(|s| s.gateway());
                given_since(&mut target, &now, bridge, &uplinks, &gather::set(gateways));
            }
            if own
                && let NetworkMode::Bridge(b) = started.network.mode()
                && let Some(uplink) = b.uplink
                && now.links.contains_key(&bridge)
            {
                notes = as_it_is_now(&mut target, &now, uplink, bridge);
            }
        }
        // On links of their own guests keep what is theirs, and only the last network takes the forwarding away: nothing is refused.
        if !started.network.is_bridge() {
            notes.extend(self.guests_left(name));
        }
        outside_stays(&mut target, &now, &started);
        self.restore_settings(&mut target, &now, &known)?;
        let now = now.seen(&target.scope);
        Ok(self.restore(&target, &now, guests)?.into_stop().with_notes(notes).with_notes(kept))
    }

    /// The plan that leads back to an earlier state, judged by what is around it now.
    pub(super) fn restore(&mut self, target: &Snapshot, now: &Snapshot, guests: Guests) -> Result<Plan, Error> {
        let around = exec::look_around(target, now, &mut *self.backend).map_err(|e| e.into_observe_error())?;
        plan::restore(target, now, &around, guests)
    }

    /// How it was before the last start of a network, but for what is not its own: the link towards the outside, settings that
    /// others need, what its bridge was given since, and, if that is left to others, what it had given up.
    pub(super) fn before_last_start(
        &self,
        started: &ResolvedNetwork,
        entry: &Entry,
        now: &Snapshot,
        taken: Taken,
    ) -> Result<Snapshot, Error> {
        let mut target = entry.before.clone();
        let mut others_by_now = Scope::none();
        for (part, e) in plan::taken_since(started, now) {
            if taken == Taken::IsRefused {
                return Err(e);
            }
            others_by_now.insert(part);
        }
        let others = self.others_started(&started.network.name())?;
        for forward in &started.former {
            let Some(other) = others.iter().find(|other| hands_on(other, forward)) else { continue };
            let name = other.network.name();
            if taken == Taken::IsRefused {
                let (first, last) = forward.ports();
                let own = started.network.name();
                let message = format!(
                    "network {own} handed on ports {first} to {last} before, and network {name} hands on some of them now"
                );
                let hint = format!("stop that one first: xennet network stop {name}");
                return Err(Error::new(ErrorKind::Conflict, message)
                    .with_object(name.as_str())
                    .with_hint(hint)
                    .unchanged());
            }
            others_by_now = others_by_now.union(plan::scope_of_forward(forward));
        }
        target.forget(&others_by_now);
        outside_stays(&mut target, now, started);
        if let NetworkMode::Nat(nat) = started.network.mode()
            && let GuestLinks::Bridge(bridge) = &nat.guests
        {
            let gateways = gather::set(nat.subnets.iter().map(|s| s.gateway()));
            bridge_stays(&mut target, now, bridge.name(), &gateways);
        }
        // What only this start came to need, others may have raised before it, who have gone meanwhile.
        let originals = match (&entry.previous, self.records.started_or_stopping(&started.network.name())?) {
            (Some(earlier), Some(mut known)) => {
                let had = |key: SysctlKey| earlier.before.scope.contains(&Part::Sysctl(key));
                let is_new = |key: &str| key.parse().is_ok_and(|key| !had(key));
                known.settings.retain(|key, _| is_new(key));
                known.settings
            }
            _ => BTreeMap::new(),
        };
        let set = settings_set(entry);
        let keys: Vec<SysctlKey> = target.sysctls.keys().collect();
        for key in keys {
            match originals.get(key.as_str()) {
                _ if is_needed(&others, &key) => let_be(&mut target, &key),
                Some(original) => target.sysctls.insert(&key, original.as_str()),
                // It found this setting as it needed it: another network had set it, which may be stopped since.
                None if !set.contains(&key) => let_be(&mut target, &key),
                None => {}
            }
        }
        Ok(target)
    }

    /// The other networks that are started and leave through this link.
    pub(super) fn others_through(&self, name: &IfName, link: IfName) -> Result<Vec<IfName>, Error> {
        let others = self.others_started(name)?;
        Ok(others.iter().filter(|s| s.outside == Some(link)).map(|s| s.network.name()).collect())
    }

    /// Refuses to take away a bridge, or what this domain has on it, from networks that leave through it.
    fn check_others(&self, name: &IfName, bridge: IfName) -> Result<(), Error> {
        let through = self.others_through(name, bridge)?;
        if through.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = through.iter().map(IfName::as_str).collect();
        let message = format!("network {name} cannot be stopped: others leave through {bridge}: {}", joined(&through));
        let hint = format!("stop them first: xennet network stop {}; or stop this one by force", names.join(" "));
        Err(Error::new(ErrorKind::Conflict, message).with_object(bridge.as_str()).with_hint(hint).unchanged())
    }

    /// Settings that others need stay; the last one puts the first value back, unless somebody else has changed it since.
    fn restore_settings(&self, target: &mut Snapshot, now: &Snapshot, known: &Started) -> Result<(), Error> {
        let others = self.others_started(&known.network.name())?;
        let keys: Vec<SysctlKey> = target.sysctls.keys().collect();
        for key in keys {
            let Some(original) = known.settings.get(key.as_str()) else { continue };
            let changed = now.sysctls.get(&key).is_none_or(|v| v == "0");
            if is_needed(&others, &key) || changed {
                let_be(target, &key);
            } else {
                target.sysctls.insert(&key, original.as_str());
            }
        }
        Ok(())
    }

    /// A note that names the guests of a network which are attached by links of their own. What stands in the way of knowing them is
    /// no reason not to stop the network.
    fn guests_left(&mut self, name: &IfName) -> Option<String> {
        let shown = match self.show() {
            Ok(shown) => shown,
            Err(e) => return Some(format!("which guests of network {name} are attached is not known: {e}")),
        };
        let guests: Vec<String> =
            shown.vifs.into_iter().filter(|v| v.network == Some(*name) && v.up).map(|v| v.vif).collect();
        (!guests.is_empty()).then(|| {
            format!(
                "guests of network {name} are still attached, and may be cut off until it is started again: {}",
                guests.join(", ")
            )
        })
    }
}

/// Whether a network hands on one of these ports.
fn hands_on(started: &Started, forward: &PortForward) -> bool {
    match started.network.mode() {
        NetworkMode::Nat(nat) => nat.forwards.iter().any(|own| own.clashes(forward)),
        _ => false,
    }
}

/// The settings that a start has changed.
fn settings_set(entry: &Entry) -> BTreeSet<SysctlKey> {
    let Goal::Start { started, carried } = &entry.goal else { return BTreeSet::new() };
    let steps = plan::missing_to_start(started, carried, &entry.before).unwrap_or_default();
    gather::set(steps.into_iter().filter_map(|planned| match planned.step {
        Step::Sysctl(SysctlStep { key, .. }) => Some(key),
        _ => None,
    }))
}

/// Whether one of these networks needs a setting.
fn is_needed(others: &[Started], key: &SysctlKey) -> bool {
    others.iter().any(|s| s.settings.contains_key(key.as_str()))
}

/// Leaves a setting as it is.
fn let_be(target: &mut Snapshot, key: &SysctlKey) {
    target.sysctls.remove(key);
    target.scope.retain(|part| !matches!(part, Part::Sysctl(k) if k == key));
}

/// The link towards the outside is no part of a network: it stays as it has become, or gone.
fn outside_stays(target: &mut Snapshot, now: &Snapshot, started: &ResolvedNetwork) {
    let Some(outside) = started.outside else { return };
    match now.links.get(&outside) {
        Some(link) => {
            target.links.insert(outside, link.clone());
        }
        None => {
            target.links.remove(&outside);
            target.scope.retain(|part| *part != Part::Link(outside));
        }
    }
}

/// A private bridge keeps what it got since, as its link-local address and the MTU of its ports; only the gateways that came with the
/// start go.
fn bridge_stays(target: &mut Snapshot, now: &Snapshot, bridge: IfName, gateways: &BTreeSet<IpAddr>) {
    let (Some(was), Some(is)) = (target.links.get_mut(&bridge), now.links.get(&bridge)) else { return };
    if was.index != is.index {
        return;
    }
    (was.mac, was.mtu) = (is.mac, is.mtu);
    let before: BTreeSet<IpNetwork> = gather::set(target.addresses_of(&bridge).map(|a| a.address));
    let is_new = |a: &&Address| gateways.contains(&a.address.ip()) && !before.contains(&a.address);
    target.addresses.retain(|a| a.link != bridge);
    target.addresses.extend(now.addresses_of(&bridge).filter(|a| !is_new(a)).cloned());
}

/// The card that an uplink was may have been replaced by another one under the same name, as when its driver was loaded anew:
/// then that one gets back what is this domain's, and keeps what is its own.
fn replaced(target: &mut Snapshot, now: &Snapshot, names: &BTreeSet<IfName>) {
    let is_uplink = |name: &IfName, link: &Link| names.contains(name) && link.kind != LinkKind::Bridge;
    let Some((_, was)) = target.links.iter_mut().find(|(n, l)| is_uplink(n, l)) else { return };
    let there = now.links.iter().filter(|(n, l)| is_uplink(n, l));
    // The very same one, if that is there.
    if let Some(is) = there.map(|(_, l)| l).max_by_key(|l| l.index == was.index).filter(|is| is.index != was.index) {
        *was = Link { master: was.master, up: was.up, addr_gen_mode: was.addr_gen_mode, port: None, ..is.clone() };
    }
}

/// A bridge that was there before keeps what somebody has given it since: what is neither the uplink's nor the network's own.
fn given_since(
    target: &mut Snapshot,
    now: &Snapshot,
    bridge: IfName,
    uplinks: &BTreeSet<IfName>,
    gateways: &BTreeSet<IpAddr>,
) {
    let before = target.clone();
    let was =
        |link: &IfName, a: &Address| before.addresses_of(link).any(|b| b.address == a.address && b.peer == a.peer);
    let is_ours =
        |a: &Address| uplinks.iter().any(|u| was(u, a)) || (gateways.contains(&a.address.ip()) && !was(&bridge, a));
    let (ours, others): (Vec<&Address>, Vec<&Address>) = now.addresses_of(&bridge).partition(|a| is_ours(a));
    target.addresses.extend(others.into_iter().filter(|a| !was(&bridge, a)).cloned());
    let moved = |r: &Route| uplinks.iter().any(|u| before.routes.contains(&plan::route_through(*u, bridge, r)));
    let given = now.routes.iter().filter(|r| r.leads_through(&bridge));
    let given = given.filter(|r| !moved(r) && plan::is_carried(r, ours.iter().copied()));
    target.routes.extend(given.cloned());
    let moved = |n: &Neighbour| uplinks.iter().any(|u| before.neighbours.contains(&plan::neighbour_on(*u, n)));
    target.neighbours.extend(now.neighbours.iter().filter(|n| n.link == bridge && !moved(n)).cloned());
}

/// What the bridge has now is what the uplink shall have: addresses that were renewed, or added or removed meanwhile. Notes
/// what it cannot have.
fn as_it_is_now(target: &mut Snapshot, now: &Snapshot, uplink: IfName, bridge: IfName) -> Vec<String> {
    let key = |a: &Address| (a.address, a.peer);
    let before: BTreeMap<_, Address> = gather::map(target.addresses_of(&uplink).map(|a| (key(a), a.clone())));
    target.addresses.retain(|a| a.link != uplink || a.scope == Route::SCOPE_LINK);
    for a in now.addresses_of(&bridge).filter(|a| a.scope != Route::SCOPE_LINK) {
        let as_before = before.get(&key(a)).cloned().unwrap_or_else(|| Address { nodad: false, ..a.clone() });
        target.addresses.insert(Address {
            link: uplink,
            lifetime: a.lifetime,
            secondary: as_before.secondary,
            ..as_before
        });
    }
    let through = |r: &Route, link: IfName| r.leads_through(&link);
    let of_uplink: Vec<Address> = before.values().cloned().collect();
    let carried: BTreeSet<Route> =
        gather::set(target.routes.iter().filter(|r| through(r, uplink) && plan::is_carried(r, &of_uplink)).cloned());
    target.routes.retain(|r| !carried.contains(r));
    // An uplink that was down goes down again, unless the bridge has been given something since.
    let mut is_used = target.addresses_of(&uplink).any(|a| !before.contains_key(&key(a)));
    // Connected routes follow from the addresses.
    let (connected, others): (Vec<&Route>, Vec<&Route>) =
        now.routes.iter().filter(|r| through(r, bridge)).partition(|r| !plan::is_carried(r, now.addresses_of(&bridge)));
    let others = others.into_iter().map(|r| plan::route_through(uplink, bridge, r));
    let mut notes = Vec::new();
    // What was there before comes first, and what the kernel learns again last.
    let others = gather::last(others, |r| !carried.contains(r));
    for route in gather::last(others, |r| r.protocol == Route::BY_ROUTERS) {
        // IPv4 keeps both, one after the other.
        let is_taken = |r: &&Route| **r != route && through(r, uplink) && r.has_place_of(&route);
        let taken = target.routes.iter().find(is_taken).filter(|_| route.destination.is_ipv6());
        let why = match (&route.beyond, taken) {
            (Some(more), _) => format!("xennet cannot make one with {more}"),
            // The kernel learns it again.
            (None, Some(_)) if route.protocol == Route::BY_ROUTERS => continue,
            (None, Some(other)) => format!("\"{other}\" has its place"),
            _ if route.next_hops.iter().any(|h| h.link != Some(uplink)) => "it leads through another link, too".into(),
            _ => {
                is_used |= !carried.contains(&route);
                target.routes.insert(route);
                continue;
            }
        };
        notes.push(format!("{uplink} does not get the route \"{route}\", which {bridge} has: {why}"));
    }
    // In the order that the bridge has them in.
    let order = now.addresses_in_order(&bridge).into_iter().map(|a| key(&a)).collect();
    target.hidden.address_order.insert(uplink, order);
    let of_uplink_now = |r: &Route| plan::route_through(uplink, bridge, r);
    target.hidden.route_order =
        now.hidden.route_order.iter().filter(|r| through(r, bridge)).map(of_uplink_now).collect();
    let Some(link) = target.links.get_mut(&uplink) else { return notes };
    link.up |= is_used;
    let is_up = link.up;
    let addresses: Vec<Address> = target.addresses_of(&uplink).cloned().collect();
    let is_there = |ip: IpAddr| addresses.iter().any(|a| a.address.ip() == ip);
    let has = |r: &Route| !plan::is_carried(r, &addresses) && r.source.is_none_or(is_there);
    target.routes.retain(|r| !through(r, uplink) || plan::is_carried(r, &of_uplink) || has(r));
    let connected = connected.into_iter().map(|r| plan::route_through(uplink, bridge, r));
    target.routes.extend(connected.filter(|r| is_up && has(r)));
    target.neighbours.retain(|n| n.link != uplink);
    for n in now.neighbours.iter().filter(|n| n.link == bridge) {
        target.neighbours.insert(plan::neighbour_on(uplink, n));
    }
    notes
}
