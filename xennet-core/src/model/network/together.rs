//! Contradictions between networks. A finding names both places.

use std::collections::BTreeMap;

use super::rules::handed_on_twice;
use super::{Network, NetworkMode, Place, PortForward, Subnet, overlap};
use crate::model::flaw::Flaw;
use crate::model::{Egress, IfName};

/// A place: the index of the network, and the place in its description.
pub(crate) type In = (usize, Place);
type Flawed = Result<(), Box<Flaw<In>>>;

/// The first contradiction between these networks, if there is one.
pub(crate) fn together(networks: &[&Network]) -> Flawed {
    subnets(networks)?;
    names(networks)?;
    outsides(networks)?;
    forwards(networks)
}

fn subnets(networks: &[&Network]) -> Flawed {
    let mut seen: Vec<(&Network, &Subnet, In)> = Vec::new();
    for (at, network) in networks.iter().enumerate() {
        for (item, subnet) in network.subnets().iter().enumerate() {
            let (given, place) = (subnet.network(), (at, Place::item("subnets", item)));
            if let Some((other, theirs, first)) = seen.iter().find(|(_, s, _)| overlap(s.network(), given)) {
                let theirs = theirs.network();
                let message =
                    format!("{given} of network {} overlaps with {theirs} of network {}", network.name(), other.name());
                return Err(Flaw::new(place, message, "every address is in one network")
                    .other(*first, format!("{theirs} is here")));
            }
            seen.push((network, subnet, place));
        }
    }
    Ok(())
}

/// A link name has one meaning on a host: a bridge, an uplink, or the uplink's new name.
fn names(networks: &[&Network]) -> Flawed {
    let mut taken: BTreeMap<IfName, (In, String)> = BTreeMap::new();
    let mut take = |name: IfName, place: In, what: String| match taken.get(&name) {
        Some((first, theirs)) => {
            let message = format!("{name} is {what}, and {theirs}");
            Err(Flaw::new(place, message, "a link has one place").other(*first, format!("here it is {theirs}")))
        }
        None => {
            taken.insert(name, (place, what));
            Ok(())
        }
    };
    for (at, network) in networks.iter().enumerate() {
        let name = network.name();
        if let Some(bridge) = network.bridge() {
            take(bridge.name(), (at, Place::key("bridge")), format!("the bridge of network {name}"))?;
        }
        if let NetworkMode::Bridge(b) = network.mode() {
            if let Some(uplink) = b.uplink.filter(|u| *u != b.bridge.name()) {
                take(uplink, (at, Place::key("uplink")), format!("the uplink of network {name}"))?;
            }
            if let Some(renamed) = b.uplink_name.filter(|n| Some(*n) != b.uplink) {
                let place = (at, Place::key("uplink_name"));
                take(renamed, place, format!("the uplink's new name in network {name}"))?;
            }
        }
    }
    // A guest's bridge= is a bridge's name or a network's: it must not be two things.
    for (at, network) in networks.iter().enumerate() {
        let name = network.name();
        let own = network.bridge().is_some_and(|b| b.name() == name);
        if let Some((place, what)) = taken.get(&name).filter(|_| !own) {
            let message = format!("{name} is the name of a network, and {what}");
            return Err(Flaw::new((at, Place::NAME), message, "bridge= in a vif line must mean one of them")
                .other(*place, format!("here it is {what}"))
                .hint("give the network another name"));
        }
    }
    Ok(())
}

/// An egress or uplink that is routed through must not become the port of a bridge.
fn outsides(networks: &[&Network]) -> Flawed {
    for (at, network) in networks.iter().enumerate() {
        let (outside, key) = match network.mode() {
            NetworkMode::Bridge(_) => continue,
            NetworkMode::Nat(n) => (&n.egress, "egress"),
            NetworkMode::Routed(r) => (&r.uplink, "uplink"),
        };
        let Egress::Link(link) = outside else { continue };
        let place = (at, Place::key(key));
        for (of, other) in networks.iter().enumerate() {
            let own_bridge = other.bridge().filter(|b| b.name() == *link);
            if own_bridge.is_some() && !other.is_bridge() {
                let message = format!("{link} is the private bridge of network {}", other.name());
                return Err(Flaw::new(place, message, "a link towards the outside")
                    .other((of, Place::key("bridge")), "it is made here"));
            }
            if let NetworkMode::Bridge(b) = other.mode()
                && b.uplink == Some(*link)
                && b.bridge.name() != *link
            {
                let bridge = b.bridge.name();
                let message = format!("{link} has no addresses of its own once network {} is started", other.name());
                return Err(Flaw::new(place, message, format!("they move to {bridge}"))
                    .other((of, Place::key("uplink")), format!("{link} becomes a port of {bridge} here"))
                    .hint(format!("write {key} = \"{bridge}\"")));
            }
        }
    }
    Ok(())
}

fn forwards(networks: &[&Network]) -> Flawed {
    let mut seen: Vec<(&PortForward, In)> = Vec::new();
    for (at, network) in networks.iter().enumerate() {
        let NetworkMode::Nat(n) = network.mode() else { continue };
        for (item, forward) in n.forwards.iter().enumerate() {
            let place = (at, Place::item("forward", item));
            if let Some((other, first)) = seen.iter().find(|(other, _)| other.clashes(forward)) {
                return Err(handed_on_twice(forward, place, other, *first));
            }
            seen.push((forward, place));
        }
    }
    Ok(())
}
