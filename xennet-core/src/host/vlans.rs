//! VLANs of guests that end at their bridge: a bridge lets a VLAN out by those ports only that are in it, and an uplink is in the
//! VLANs that an administrator gives it.

use std::collections::BTreeSet;

use super::{Host, joined};
use crate::error::Error;
use crate::gather;
use crate::model::{Attach, Attachment, IfName, Network, NetworkMode, Vid};
use crate::snapshot::{Part, Scope, Snapshot};

/// The uplink that a started network gave a bridge, by its present name.
fn uplink_of(network: &Network, bridge: &IfName) -> Option<IfName> {
    match network.mode() {
        NetworkMode::Bridge(b) if b.bridge.name() == *bridge => b.uplink_name.or(b.uplink),
        _ => None,
    }
}

impl Host {
    /// What of the VLANs that a vif is to be in does not leave this host. Nothing is looked at for a vif without `vlan=`.
    pub(super) fn vlans_of_vif(&mut self, a: &Attach) -> Result<Option<String>, Error> {
        let Attachment::Bridge { bridge, vlan: Some(vlan), .. } = &a.attachment else { return Ok(None) };
        let all = self.records.all_started()?;
        let Some(uplink) = all.iter().find_map(|s| uplink_of(&s.network, bridge)) else { return Ok(None) };
        let seen = self.look(&Scope::none().with(Part::Link(uplink)).with(Part::PortVlans(uplink)))?;
        let vids = gather::set(vlan.vids().map(|(vid, _)| vid));
        Ok(ending(&seen, bridge, &uplink, &vids, &a.id.to_string()))
    }

    /// What of the VLANs of a network's ports does not leave this host.
    pub(super) fn vlans_of_ports(&mut self, network: &Network, ports: &[IfName]) -> Result<Vec<String>, Error> {
        let Some(bridge) = network.bridge().map(|b| b.name()) else { return Ok(Vec::new()) };
        let Some(uplink) = uplink_of(network, &bridge) else { return Ok(Vec::new()) };
        let filters = self.look(&Scope::none().with(Part::Link(bridge)))?;
        if filters.links.get(&bridge).and_then(|l| l.bridge.as_ref()).is_none_or(|b| b.vlan_filtering != Some(true)) {
            return Ok(Vec::new());
        }
        let mut scope = Scope::none().with(Part::Link(uplink)).with(Part::PortVlans(uplink));
        scope.extend(ports.iter().map(|port| Part::PortVlans(*port)));
        let seen = self.look(&scope)?;
        let of_port = |port: &IfName| {
            let vids = gather::set(seen.port_vlans.get(port).into_iter().flatten().map(|v| v.vid));
            ending(&seen, &bridge, &uplink, &vids, port.as_str())
        };
        Ok(ports.iter().filter(|port| **port != uplink).filter_map(of_port).collect())
    }
}

/// Which of these VLANs an uplink is not in, and what puts it in them.
fn ending(seen: &Snapshot, bridge: &IfName, uplink: &IfName, vids: &BTreeSet<Vid>, whose: &str) -> Option<String> {
    seen.links.get(uplink).filter(|l| l.master == Some(*bridge))?;
    let is_out = |vid: &Vid| seen.port_vlans.get(uplink).is_some_and(|have| have.iter().any(|v| v.vid == *vid));
    let missing: Vec<Vid> = vids.iter().filter(|vid| !is_out(vid)).copied().collect();
    let ranges = ranges(&missing);
    if ranges.is_empty() {
        return None;
    }
    let commands: Vec<String> = ranges.iter().map(|r| format!("bridge vlan add dev {uplink} vid {r}")).collect();
    Some(format!(
        "VLAN {} of {whose} ends at {bridge}, since its uplink {uplink} is not in it: {}",
        joined(&ranges),
        commands.join("; ")
    ))
}

/// Numbers with their neighbours: `10`, `20-29`.
fn ranges(vids: &[Vid]) -> Vec<String> {
    let mut out: Vec<(u16, u16)> = Vec::new();
    for vid in vids.iter().map(|v| v.get()) {
        match out.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(vid) => *last = vid,
            _ => out.push((vid, vid)),
        }
    }
    let text = |(first, last): (u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    out.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_written_as_a_range() {
        let of = |numbers: &[u16]| ranges(&numbers.iter().map(|n| Vid::new(*n).unwrap()).collect::<Vec<_>>());
        assert_eq!(of(&[]), [""; 0]);
        assert_eq!(of(&[1, 10, 11, 12, 20, 4093, 4094]), ["1", "10-12", "20", "4093-4094"]);
    }
}
