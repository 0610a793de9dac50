//! Many guests in one place: those of the same network that differ in nothing but name and address become one.

use super::View;
use super::model::{Counters, Filter, Guest, Hub, Mark, Picture, Port};

/// Fewer than these stay as they are.
const LEAST: usize = 4;

impl Picture {
    /// The picture as a view wants it.
    pub(super) fn grouped(&self, view: &View) -> Picture {
        let mut picture = self.clone();
        let all: usize = picture.hubs.iter().map(|hub| hub.ports.len()).sum();
        if all > view.most {
            for hub in &mut picture.hubs {
                together(hub);
            }
        }
        if !view.counters {
            picture.uplinks.iter_mut().for_each(|uplink| uplink.counters = None);
            picture.hubs.iter_mut().flat_map(|hub| &mut hub.ports).for_each(|port| port.counters = None);
        }
        picture
    }
}

/// What the members of a group have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key<'a> {
    mark: Mark,
    works: bool,
    has_twin: bool,
    filter: Filter,
    isolated: bool,
    vlan: Option<&'a str>,
}

fn key(port: &Port) -> Option<Key<'_>> {
    let alike = port.guest.as_ref().is_some_and(|guest| guest.vif.is_some()) && port.missing.is_empty();
    alike.then_some(Key {
        mark: port.mark,
        works: port.up && port.carrier != Some(false),
        has_twin: port.twin.is_some(),
        filter: port.filter,
        isolated: port.isolated,
        vlan: port.vlan.as_deref(),
    })
}

fn together(hub: &mut Hub) {
    let ports = std::mem::take(&mut hub.ports);
    let mut keys: Vec<_> = ports.iter().filter_map(key).collect();
    keys.sort_unstable();
    let mut counted: Vec<(_, usize)> = Vec::new();
    for key in keys {
        match counted.last_mut().filter(|(last, _)| *last == key) {
            Some((_, count)) => *count += 1,
            None => counted.push((key, 1)),
        }
    }
    counted.retain(|(_, count)| *count >= LEAST);
    // A group stands where its first member stood.
    let mut groups: Vec<(usize, Vec<&Port>)> = Vec::new();
    for (place, port) in ports.iter().enumerate() {
        let large = key(port).is_some_and(|of| counted.iter().any(|(key, _)| *key == of));
        match groups
            .iter_mut()
            .find(|(_, members)| large && members.first().is_some_and(|first| key(first) == key(port)))
        {
            Some((_, members)) => members.push(port),
            None => groups.push((place, vec![port])),
        }
    }
    hub.ports = groups.into_iter().filter_map(|(_, members)| one(&members)).collect();
}

fn one(members: &[&Port]) -> Option<Port> {
    let (first, last) = (*members.first()?, *members.last()?);
    if members.len() == 1 {
        return Some(first.clone());
    }
    let addresses = |port: &Port| port.guest.as_ref().map(|guest| guest.addresses.clone()).unwrap_or_default();
    let mut ends = addresses(first);
    ends.truncate(1);
    ends.extend(addresses(last).into_iter().next());
    let names = |port: &Port| port.guest.as_ref().and_then(|guest| guest.name.clone());
    let name = match (names(first), names(last)) {
        (Some(first), Some(last)) => Some(format!("{first} … {last}")),
        _ => None,
    };
    let counted: Vec<Counters> = members.iter().filter_map(|port| port.counters).collect();
    let sum = |of: fn(&Counters) -> u64| counted.iter().map(of).fold(0, u64::saturating_add);
    let counters = (!counted.is_empty()).then(|| Counters {
        rx_bytes: sum(|c| c.rx_bytes),
        tx_bytes: sum(|c| c.tx_bytes),
        dropped: sum(|c| c.dropped),
    });
    let guest = Guest { name, addresses: ends, ..first.guest.clone()? };
    Some(Port { count: members.len(), counters, guest: Some(Guest { mac: None, ..guest }), ..first.clone() })
}
