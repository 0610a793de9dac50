//! What several networks cannot be together. Both places are told.

use std::collections::BTreeMap;
use std::ops::Range;

use super::read::Found;
use crate::model::flaw::Flaw;
use crate::model::{Egress, IfName, NetworkMode, PortForward, Subnet, overlap};

pub(super) fn together(found: &[Found]) -> Result<(), Box<Flaw>> {
    subnets(found)?;
    names(found)?;
    outsides(found)?;
    forwards(found)
}

fn subnets(found: &[Found]) -> Result<(), Box<Flaw>> {
    let mut seen: Vec<(&Found, Subnet, &Range<usize>)> = Vec::new();
    for f in found {
        for (subnet, place) in f.network.subnets().iter().zip(&f.subnets) {
            if let Some((other, theirs, first)) = seen.iter().find(|(_, s, _)| overlap(s.network, subnet.network)) {
                let message = format!(
                    "{} of network {} overlaps with {} of network {}",
                    subnet.network, f.network.name, theirs.network, other.network.name
                );
                return Err(Flaw::new(place.clone(), message, "every address is in one network")
                    .other(Range::clone(first), format!("{} is here", theirs.network)));
            }
            seen.push((f, *subnet, place));
        }
    }
    Ok(())
}

/// What a name that a network gives, or takes, is there.
fn names(found: &[Found]) -> Result<(), Box<Flaw>> {
    let mut taken: BTreeMap<IfName, (Range<usize>, String)> = BTreeMap::new();
    let mut take = |name: IfName, place: Range<usize>, what: String| match taken.get(&name) {
        Some((first, theirs)) => {
            let message = format!("{name} is {what}, and {theirs}");
            Err(Flaw::new(place, message, "a link has one place").other(first.clone(), format!("here it is {theirs}")))
        }
        None => {
            taken.insert(name, (place, what));
            Ok(())
        }
    };
    for f in found {
        let network = f.network.name;
        if let Some(bridge) = f.network.bridge() {
            take(bridge.name, f.at("bridge"), format!("the bridge of network {network}"))?;
        }
        if let NetworkMode::Bridge(b) = &f.network.mode {
            if let Some(uplink) = b.uplink.filter(|u| *u != b.bridge.name) {
                take(uplink, f.at("uplink"), format!("the uplink of network {network}"))?;
            }
            if let Some(name) = b.uplink_name.filter(|n| Some(*n) != b.uplink) {
                take(name, f.at("uplink_name"), format!("the uplink's new name in network {network}"))?;
            }
        }
    }
    // A guest's bridge= is a bridge's name or a network's: it must not be two things.
    for f in found {
        let own = f.network.bridge().is_some_and(|b| b.name == f.network.name);
        if let Some((place, what)) = taken.get(&f.network.name).filter(|_| !own) {
            let message = format!("{} is the name of a network, and {what}", f.network.name);
            return Err(Flaw::new(f.place.clone(), message, "bridge= in a vif line must mean one of them")
                .other(place.clone(), format!("here it is {what}"))
                .hint("give the network another name"));
        }
    }
    Ok(())
}

/// Links towards the outside must not be about to become ports.
fn outsides(found: &[Found]) -> Result<(), Box<Flaw>> {
    for f in found {
        let (outside, key) = match &f.network.mode {
            NetworkMode::Bridge(_) => continue,
            NetworkMode::Nat(n) => (&n.egress, "egress"),
            NetworkMode::Routed(r) => (&r.uplink, "uplink"),
        };
        let Egress::Link(link) = outside else { continue };
        for other in found {
            let own_bridge = other.network.bridge().filter(|b| b.name == *link);
            if own_bridge.is_some() && !matches!(other.network.mode, NetworkMode::Bridge(_)) {
                let message = format!("{link} is the private bridge of network {}", other.network.name);
                return Err(Flaw::new(f.at(key), message, "a link towards the outside")
                    .other(other.at("bridge"), "it is made here"));
            }
            if let NetworkMode::Bridge(b) = &other.network.mode
                && b.uplink == Some(*link)
                && b.bridge.name != *link
            {
                let bridge = b.bridge.name;
                let message =
                    format!("{link} has no addresses of its own once network {} is started", other.network.name);
                return Err(Flaw::new(f.at(key), message, format!("they move to {bridge}"))
                    .other(other.at("uplink"), format!("{link} becomes a port of {bridge} here"))
                    .hint(format!("write {key} = \"{bridge}\"")));
            }
        }
    }
    Ok(())
}

fn forwards(found: &[Found]) -> Result<(), Box<Flaw>> {
    let mut seen: Vec<(&PortForward, &Range<usize>)> = Vec::new();
    for f in found {
        let NetworkMode::Nat(n) = &f.network.mode else { continue };
        for (forward, place) in n.forwards.iter().zip(&f.forwards) {
            let clash = seen.iter().find(|(other, _)| {
                other.protocol == forward.protocol
                    && other.to.is_ipv4() == forward.to.is_ipv4()
                    && other.ports.0 <= forward.ports.1
                    && forward.ports.0 <= other.ports.1
            });
            if let Some((other, first)) = clash {
                let port = forward.ports.0.max(other.ports.0);
                let message = format!("{} port {port} is handed on twice", forward.protocol.name());
                return Err(Flaw::new(place.clone(), message, "a port goes to one guest")
                    .other(Range::clone(first), format!("here it goes to {}", other.to)));
            }
            seen.push((forward, place));
        }
    }
    Ok(())
}
