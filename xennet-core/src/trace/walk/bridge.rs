//! Bridges: which port a frame may come in by and leave through (`net/bridge/br_input.c`, `br_forward.c`), and br_netfilter.

use super::{Station, Walk, Went, dropped, unknown};
use crate::model::{IfName, Tagging, Vid};
use crate::snapshot::{Family, FdbKind, NftHook, PortState};
use crate::trace::Stage;
use crate::trace::packet::Packet;
use crate::trace::route::{Asked, Way};

impl<'w> Walk<'w> {
    /// Whether a bridge shows its packets to the chains of IP (`br_nf_pre_routing`).
    fn shows(&self, bridge: &IfName, packet: &Packet) -> bool {
        if packet.is_arp() {
            return false;
        }
        let state = self.world.bridge(bridge);
        let (key, own) = match packet.family() {
            Family::Ipv4 => ("net/bridge/bridge-nf-call-iptables", state.is_some_and(|b| b.filters_ipv4)),
            Family::Ipv6 => ("net/bridge/bridge-nf-call-ip6tables", state.is_some_and(|b| b.filters_ipv6)),
        };
        own || self.world.setting(key).unwrap_or(0) != 0
    }

    /// The VLAN of a frame without a tag that comes in by a port, on a bridge that filters by VLAN.
    fn vlan(&self, bridge: &IfName, port: &IfName) -> Went<Option<Vid>> {
        if self.world.bridge(bridge).and_then(|b| b.vlan_filtering) != Some(true) {
            return Ok(None);
        }
        let vlans = self.world.recording.snapshot.port_vlans.get(port);
        match vlans.into_iter().flatten().find(|v| v.pvid) {
            Some(vlan) => Ok(Some(vlan.vid)),
            None => dropped(format!("bridge port {port}"), format!("frames without a tag belong to no VLAN on {port}")),
        }
    }

    pub(super) fn leaves_vlan(&self, port: &IfName, vlan: Option<Vid>) -> Went<()> {
        let Some(vid) = vlan else { return Ok(()) };
        let vlans = self.world.recording.snapshot.port_vlans.get(port);
        match vlans.into_iter().flatten().find(|v| v.vid == vid) {
            None => dropped(format!("bridge port {port}"), format!("{port} is not in VLAN {vid}")),
            Some(v) if v.tagging == Tagging::Tagged && self.world.guest_at(port).is_some() => {
                let why =
                    format!("it leaves {port} with the tag of VLAN {vid}, and whether the guest reads it is not known");
                unknown(Some(format!("bridge port {port}")), why)
            }
            Some(_) => Ok(()),
        }
    }

    /// What a port asks of a frame before any rule does.
    fn comes_in(&mut self, bridge: &IfName, port: &IfName, packet: &Packet) -> Went<Option<Vid>> {
        if let Some(why) = self.world.dead(bridge).filter(|_| !self.world.link(bridge).is_some_and(|l| l.up)) {
            return dropped(format!("bridge {bridge}"), why);
        }
        if let Some(why) = self.world.closed(port) {
            return dropped(format!("bridge port {port}"), why);
        }
        let vlan = self.vlan(bridge, port)?;
        if self.world.port(port).is_some_and(|p| p.locked) {
            let of_station = |e: &&crate::snapshot::FdbEntry| {
                e.link == *port && e.kind == FdbKind::Static && Some(e.mac) == packet.macs.0
            };
            if !self.world.recording.snapshot.fdb.iter().any(|e| of_station(&e)) {
                return dropped(
                    format!("bridge port {port}"),
                    "the port is locked, and the station is not one of its forwarding table",
                );
            }
        }
        Ok(vlan)
    }

    /// A frame that a station sends into a port, and who has the address that it is for.
    pub(super) fn bridge_in(
        &mut self,
        bridge: IfName,
        port: IfName,
        mut frame: Packet,
        dest: (Station, Option<IfName>),
    ) -> Went<(Station, Packet)> {
        let vlan = self.comes_in(&bridge, &port, &frame)?;
        frame.kind = 3;
        self.bridge_hook(NftHook::Prerouting, Some(port), None, &mut frame)?;
        let shown = self.shows(&bridge, &frame);
        let mut dest = dest;
        if shown {
            let before = frame.addresses();
            frame.kind = 0;
            self.ip_hook(NftHook::Prerouting, Some(bridge), None, &mut frame)?;
            frame.kind = 3;
            if frame.addresses().map(|a| a.1) != before.map(|a| a.1) {
                dest = self.translated_at(bridge, &frame)?;
            }
        }
        let (station, to) = dest;
        match (station, to) {
            (Station::Dom0, _) => {
                self.leaves_vlan(&bridge, vlan)?;
                self.detail(Stage::Bridge, format!("bridge {bridge}"), "to dom0");
                self.bridge_hook(NftHook::Input, Some(port), None, &mut frame)?;
                self.input(frame, bridge, shown)
            }
            (station, Some(to)) => {
                self.crosses(&bridge, port, to, vlan, &mut frame, Cast::Known)?;
                self.hop(Stage::Bridge, format!("bridge {bridge}"), format!("from port {port} to port {to}"));
                self.arrive(station, to, frame)
            }
            (_, None) => unknown(Some(format!("bridge {bridge}")), "behind which port the station is, is not known"),
        }
    }

    /// Where a frame goes whose destination was translated at a bridge (`br_nf_pre_routing_finish`).
    fn translated_at(&mut self, bridge: IfName, frame: &Packet) -> Went<(Station, Option<IfName>)> {
        let Some((source, target)) = frame.addresses() else { return unknown(None, "no packet of IP") };
        let asked = Asked { source: Some(source), target, iif: Some(bridge), oif: None, mark: frame.mark.unwrap_or(0) };
        match self.world.way(&asked) {
            Way::Out { link, gateway, .. } if link == bridge => {
                self.find_for_dom0(&bridge, gateway.unwrap_or(target), frame)
            }
            _ => Ok((Station::Dom0, None)),
        }
    }

    /// A frame crosses a bridge from port to port.
    pub(super) fn crosses(
        &mut self,
        bridge: &IfName,
        from: IfName,
        to: IfName,
        vlan: Option<Vid>,
        frame: &mut Packet,
        cast: Cast,
    ) -> Went<()> {
        let at = || format!("bridge port {to}");
        let port = |name: &IfName| self.world.port(name).cloned().unwrap_or_default();
        let (one, other): (PortState, PortState) = (port(&from), port(&to));
        if from == to && !one.hairpin {
            return dropped(at(), "the bridge sends no frame back to the port it came in by");
        }
        if one.isolated && other.isolated {
            return dropped(at(), format!("the ports {from} and {to} are isolated from each other"));
        }
        if let Some(why) = self.world.closed(&to) {
            return dropped(at(), why);
        }
        self.leaves_vlan(&to, vlan)?;
        floods(&to, &other, cast)?;
        self.bridge_hook(NftHook::Forward, Some(from), Some(to), frame)?;
        let shown = self.shows(bridge, frame);
        if shown {
            self.ip_hook(NftHook::Forward, Some(*bridge), Some(*bridge), frame)?;
        }
        self.bridge_hook(NftHook::Postrouting, None, Some(to), frame)?;
        if shown {
            self.next = frame.addresses().map(|a| a.1);
            self.ip_hook(NftHook::Postrouting, None, Some(*bridge), frame)?;
        }
        Ok(())
    }

    /// A frame of this domain's leaves a bridge by a port.
    pub(super) fn bridge_out(&mut self, bridge: IfName, to: IfName, frame: &mut Packet) -> Went<()> {
        self.goes_out(bridge, to, frame, Cast::Known)
    }

    pub(super) fn goes_out(&mut self, bridge: IfName, to: IfName, frame: &mut Packet, cast: Cast) -> Went<()> {
        if let Some(why) = self.world.closed(&to) {
            return dropped(format!("bridge port {to}"), why);
        }
        let vlan = self.vlan(&bridge, &bridge)?;
        self.leaves_vlan(&to, vlan)?;
        floods(&to, &self.world.port(&to).cloned().unwrap_or_default(), cast)?;
        self.bridge_hook(NftHook::Output, None, Some(to), frame)?;
        self.bridge_hook(NftHook::Postrouting, None, Some(to), frame)
    }

    /// A question for a neighbour comes in by a port.
    pub(super) fn question_in(&mut self, bridge: &IfName, port: &IfName, frame: &mut Packet) -> Went<Option<Vid>> {
        let vlan = self.comes_in(bridge, port, frame)?;
        self.bridge_hook(NftHook::Prerouting, Some(*port), None, frame)?;
        if self.shows(bridge, frame) {
            self.ip_hook(NftHook::Prerouting, Some(*bridge), None, frame)?;
        }
        Ok(vlan)
    }

    /// Whether the chains of IP have been asked for a frame of a bridge already.
    pub(super) fn has_shown(&self, bridge: &IfName, frame: &Packet) -> bool {
        self.shows(bridge, frame)
    }
}

/// To whom a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cast {
    /// To one station, which has been heard.
    Known,
    /// To all.
    All,
    /// To a group.
    Group,
}

/// Whether a port gets frames that are not for one known station (`br_flood`).
fn floods(to: &IfName, port: &PortState, cast: Cast) -> Went<()> {
    let closed = match cast {
        Cast::Known if !port.learning && !port.unicast_flood => {
            "learning is off, and frames for unknown stations are not sent"
        }
        Cast::All if !port.broadcast_flood => "broadcasts are not sent",
        Cast::Group if !port.multicast_flood => "multicasts are not sent",
        _ => return Ok(()),
    };
    dropped(format!("bridge port {to}"), format!("{closed} to {to}"))
}
