//! What a plan would change: a host before and after its steps, in one picture.

use std::collections::BTreeMap;

use super::model::{Hub, HubKind, Mark, Outside, Picture, Port, Source, Uplink};
use super::see::{Hint, see};
use crate::error::{Error, ErrorKind};
use crate::model::{IfName, Request, Started, Subject, VifId};
use crate::plan::ShownPlan;
use crate::recording::Recording;
use crate::step::step;

impl Picture {
    /// A host as it was recorded, and what these plans would change there, one after the other: what is added, changed and removed is
    /// [marked](Mark).
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] if a step is not possible on that host: the plan was made for another one, or for an earlier state.
    pub fn of_plans(recording: &Recording, plans: &[ShownPlan]) -> Result<Picture, Error> {
        let before = Picture::of_recording(recording);
        let mut after = recording.clone();
        let mut told: BTreeMap<VifId, Hint> = BTreeMap::new();
        for plan in plans {
            for change in plan.steps() {
                step(&mut after.snapshot, change).map_err(|errno| stale(plan, change, errno))?;
            }
            remember(&mut after, &mut told, plan);
        }
        let mut picture = merge(before, see(&after, told));
        picture.about.source = Source::Planned;
        Ok(picture.in_order())
    }
}

fn stale(plan: &ShownPlan, change: &crate::step::Step, errno: crate::error::Errno) -> Error {
    let subject = plan.subject();
    let message = format!("{subject}: the plan does not fit this host: {} {change}", change.sign());
    Error::new(ErrorKind::Stale, message)
        .with_object(subject.to_string())
        .with_errno(errno)
        .with_hint("make the plan anew, or give the recording that it was made on")
        .unchanged()
}

/// What is remembered once a plan is carried out.
fn remember(after: &mut Recording, told: &mut BTreeMap<VifId, Hint>, plan: &ShownPlan) {
    let forget_vif = |after: &mut Recording, id: VifId| after.records.retain(|entry| entry.subject != Subject::Vif(id));
    let forget_network = |after: &mut Recording, name: IfName| after.networks.retain(|n| n.network.name() != name);
    match plan.request() {
        Request::Attach { vif, .. } => {
            if let Subject::Vif(id) = plan.subject() {
                forget_vif(after, id);
                told.insert(id, Hint { network: vif.bridge(), ..Hint::of_line(vif) });
            }
        }
        Request::Detach { domid, devid } => {
            let id = VifId::new(*domid, *devid);
            forget_vif(after, id);
            told.remove(&id);
        }
        Request::Start(network) => {
            let outside = after.networks.iter().find(|n| n.network.name() == network.name()).and_then(|n| n.outside);
            forget_network(after, network.name());
            after.networks.push(Started { outside, ..Started::new((**network).clone()) });
            after.networks.sort_by_key(|started| started.network.name());
        }
        Request::Stop { network, .. } | Request::Undo(Subject::Network(network)) => forget_network(after, *network),
        Request::Undo(Subject::Vif(id)) => forget_vif(after, *id),
        Request::Undo(_) | Request::Recover(_) | Request::Bridge(_) => {}
    }
}

/// What tells a hub before from a hub after.
type Key = (HubKind, Option<IfName>, Vec<IfName>);

fn key(hub: &Hub) -> Key {
    match hub.bridge {
        // A bridge stays the same one when a network takes it over.
        Some(bridge) => (HubKind::Bridge, Some(bridge), Vec::new()),
        None => (hub.kind, None, hub.networks.clone()),
    }
}

/// The picture after, with what was there before and is not any more.
fn merge(before: Picture, mut after: Picture) -> Picture {
    let links: Vec<Option<IfName>> = before.uplinks.iter().map(|uplink| uplink.link).collect();
    let keys: Vec<Key> = before.hubs.iter().map(key).collect();
    for uplink in &mut after.uplinks {
        let was = before.uplinks.iter().find(|was| was.link == uplink.link);
        uplink.mark =
            was.map_or(Mark::Added, |was| if plain(was) == plain(uplink) { Mark::Same } else { Mark::Changed });
    }
    for was in before.uplinks {
        if !after.uplinks.iter().any(|uplink| uplink.link == was.link) {
            after.uplinks.push(Uplink { mark: Mark::Removed, ..was });
        }
    }
    for hub in before.hubs {
        let at = after.hubs.iter().position(|now| key(now) == key(&hub));
        match at.and_then(|at| after.hubs.get_mut(at)) {
            Some(now) => {
                // Known already as it is after: what it is now is compared below.
                now.ports = ports(hub.ports.clone(), std::mem::take(&mut now.ports));
            }
            None => {
                let outside = hub.outside.and_then(|outside| match outside {
                    Outside::Uplink(at) => {
                        let link = links.get(at)?;
                        after.uplinks.iter().position(|uplink| uplink.link == *link).map(Outside::Uplink)
                    }
                    Outside::Hub(at) => {
                        let key_of = keys.get(at)?;
                        after.hubs.iter().position(|now| key(now) == *key_of).map(Outside::Hub)
                    }
                });
                let ports = hub.ports.iter().map(|port| Port { mark: Mark::Removed, ..port.clone() }).collect();
                after.hubs.push(Hub { mark: Mark::Removed, outside, ports, ..hub });
                continue;
            }
        }
        if let Some(now) = at.and_then(|at| after.hubs.get_mut(at)) {
            now.mark = if same(&hub, now) { Mark::Same } else { Mark::Changed };
        }
    }
    for hub in after.hubs.iter_mut().filter(|hub| !keys.contains(&key(hub))) {
        hub.mark = Mark::Added;
        hub.ports.iter_mut().for_each(|port| port.mark = Mark::Added);
    }
    without_what_is_connected(&mut after);
    // Whether a guest is connected to a new port is not known yet.
    let new = after.hubs.iter_mut().flat_map(|hub| &mut hub.ports).filter(|port| port.mark == Mark::Added);
    new.for_each(|port| port.carrier = None);
    after
}

/// An uplink without what says nothing about its place.
fn plain(uplink: &Uplink) -> Uplink {
    Uplink { mark: Mark::Same, counters: None, gateways: Vec::new(), ..uplink.clone() }
}

fn same(was: &Hub, now: &Hub) -> bool {
    let facts = |hub: &Hub| {
        let hub = Hub { ports: Vec::new(), outside: None, mark: Mark::Same, missing: Vec::new(), ..hub.clone() };
        (hub.kind, hub.networks, hub.up, hub.addresses, hub.subnets, hub.forwards, hub.services, hub.access)
    };
    facts(was) == facts(now)
}

/// The ports of a hub that stays.
fn ports(was: Vec<Port>, now: Vec<Port>) -> Vec<Port> {
    let plain = |port: &Port| Port { mark: Mark::Same, counters: None, missing: Vec::new(), ..port.clone() };
    let key = |port: &Port| (port.guest.as_ref().and_then(|guest| guest.vif), port.link);
    let mut all = now;
    for port in &mut all {
        port.mark = match was.iter().find(|was| key(was) == key(port)) {
            None => Mark::Added,
            Some(was) if plain(was) == plain(port) => Mark::Same,
            Some(_) => Mark::Changed,
        };
    }
    for (at, port) in was.into_iter().enumerate() {
        if !all.iter().any(|now| key(now) == key(&port)) {
            all.insert(at.min(all.len()), Port { mark: Mark::Removed, ..port });
        }
    }
    all
}

/// A vif that a plan connects was connected to nothing before, and one that it disconnects is so afterwards: that needs no second mark.
fn without_what_is_connected(picture: &mut Picture) {
    let link_of = |port: &Port| (port.guest.as_ref().and_then(|guest| guest.vif), port.mark);
    let connected: Vec<_> = picture
        .hubs
        .iter()
        .filter(|hub| hub.kind != HubKind::Nothing)
        .flat_map(|hub| hub.ports.iter().map(link_of))
        .filter(|(vif, mark)| vif.is_some() && matches!(mark, Mark::Added | Mark::Removed))
        .map(|(vif, _)| vif)
        .collect();
    for hub in picture.hubs.iter_mut().filter(|hub| hub.kind == HubKind::Nothing) {
        hub.ports.retain(|port| port.mark == Mark::Same || !connected.contains(&link_of(port).0));
    }
    picture.hubs.retain(|hub| hub.kind != HubKind::Nothing || !hub.ports.is_empty());
}
