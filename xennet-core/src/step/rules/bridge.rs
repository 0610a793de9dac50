//! Bridges and their ports (`net/bridge/br_if.c`, `br_stp_if.c`, `br_fdb.c`, `br_netlink.c`).

use super::{World, addr6, neigh};
use crate::error::Errno;
use crate::model::{IfName, MacAddr, Tagging, Vid};
use crate::snapshot::{BridgeState, FdbEntry, FdbKind, LinkKind, PortState, PortVlan};
use crate::step::{BridgeChange, Implied};

/// The most ports of a bridge (`BR_MAX_PORTS`, `net/bridge/br_private.h`; number 0 is not used).
const MAX_PORTS: usize = 1023;

/// The MTU of a bridge without ports (`ETH_DATA_LEN`).
const EMPTY_MTU: u32 = 1500;

/// The shortest and the longest forward delay while the spanning tree is on, in hundredths of a second.
const FORWARD_DELAY: std::ops::RangeInclusive<u32> = 200..=3000;

/// What the kernel gives a new bridge (`br_dev_setup`). Whether it knows VLANs is taken from the bridges that are there.
pub(super) fn new_state(w: &World<'_>) -> BridgeState {
    let vlan = !w.now.hidden.bridges_without_vlans
        && w.now.links.values().filter_map(|l| l.bridge.as_ref()).all(|b| b.vlan_filtering.is_some());
    BridgeState { vlan_filtering: vlan.then_some(false), default_pvid: vlan.then_some(1), ..BridgeState::default() }
}

/// `br_changelink`: in the order of the kernel; what was set before a refusal stays.
pub(super) fn change(w: &mut World<'_>, name: &IfName, c: &BridgeChange) -> Result<(), Errno> {
    let link = w.link_mut(name)?;
    // rtnl_changelink: the settings are those of a kind, and the link must be of it.
    let Some(b) = link.bridge.as_mut().filter(|_| link.kind == LinkKind::Bridge) else {
        return Err(Errno::EOPNOTSUPP);
    };
    if let Some(cs) = c.forward_delay_cs {
        // br_set_forward_delay
        if b.stp && !FORWARD_DELAY.contains(&cs) {
            return Err(Errno::ERANGE);
        }
        b.forward_delay_cs = cs;
    }
    if let Some(cs) = c.ageing_time_cs {
        b.ageing_time_cs = cs;
    }
    if let Some(on) = c.stp {
        // br_stp_start brings the delay into its range.
        if on && !b.stp {
            b.forward_delay_cs = b.forward_delay_cs.clamp(*FORWARD_DELAY.start(), *FORWARD_DELAY.end());
        }
        b.stp = on;
    }
    if let Some(on) = c.vlan_filtering {
        // br_vlan_filter_toggle of a kernel without CONFIG_BRIDGE_VLAN_FILTERING
        b.vlan_filtering = Some(b.vlan_filtering.map(|_| on).ok_or(Errno::EOPNOTSUPP)?);
    }
    let old_pvid = b.default_pvid;
    if let Some(pvid) = c.default_pvid {
        // Without VLANs the attribute is not looked at.
        if b.default_pvid.is_some() {
            // br_vlan_set_default_pvid
            if pvid >= 4095 {
                return Err(Errno::EINVAL);
            }
            b.default_pvid = Some(pvid);
        }
    }
    let new_pvid = b.default_pvid;
    if let Some(on) = c.multicast_snooping {
        b.multicast_snooping = on;
    }
    if old_pvid != new_pvid {
        let ports: Vec<IfName> = w.now.ports(name).map(|(n, _)| *n).collect();
        for port in ports.into_iter().chain([*name]) {
            move_default_pvid(w, port, old_pvid, new_pvid);
        }
    }
    Ok(())
}

/// `__br_vlan_set_default_pvid`: members that hold the old default as their PVID go over to the new one.
fn move_default_pvid(w: &mut World<'_>, port: IfName, old: Option<u16>, new: Option<u16>) {
    let vlan =
        |id: Option<u16>| id.and_then(Vid::new).map(|vid| PortVlan { vid, tagging: Tagging::Untagged, pvid: true });
    let has_pvid = w.now.port_vlans.get(&port).is_some_and(|set| set.iter().any(|v| v.pvid));
    let had_old = vlan(old).is_some_and(|v| w.now.port_vlans.get(&port).is_some_and(|set| set.contains(&v)));
    if let Some(gone) = vlan(old).filter(|_| had_old) {
        if let Some(set) = w.now.port_vlans.get_mut(&port) {
            set.remove(&gone);
        }
        w.tell(Implied::VlanGoes(port, gone));
    }
    if let Some(come) = vlan(new).filter(|_| had_old || !has_pvid) {
        w.now.port_vlans.entry(port).or_default().insert(come);
        w.tell(Implied::VlanAppears(port, come));
    }
}

/// `br_add_if`.
pub(super) fn add_port(w: &mut World<'_>, bridge: &IfName, port: &IfName) -> Result<(), Errno> {
    let link = w.link(port)?;
    let usable = link.mac.is_some_and(is_station);
    if link.kind == LinkKind::Loopback || !usable {
        return Err(Errno::EINVAL);
    }
    if link.kind == LinkKind::Bridge {
        return Err(Errno::ELOOP);
    }
    // find_portno
    if w.now.ports(bridge).take(MAX_PORTS).count() >= MAX_PORTS {
        return Err(Errno::EXFULL);
    }
    let mac = link.mac.ok_or(Errno::EINVAL)?;
    let ruled = follows_ports(w, bridge);
    let pvid = w.link(bridge)?.bridge.as_ref().and_then(|b| b.default_pvid).and_then(Vid::new);
    let link = w.link_mut(port)?;
    link.master = Some(*bridge);
    link.port = Some(PortState::default());
    add_local(w, bridge, port, mac);
    // nbp_vlan_init
    if let Some(vid) = pvid {
        let vlan = PortVlan { vid, tagging: Tagging::Untagged, pvid: true };
        w.now.port_vlans.entry(*port).or_default().insert(vlan);
        w.tell(Implied::VlanAppears(*port, vlan));
    }
    follow_mac(w, bridge, Event::Joined(*port), ruled.mac);
    follow_mtu(w, bridge, Event::Joined(*port), ruled.mtu);
    Ok(())
}

/// `br_del_if`, `del_nbp`.
pub(super) fn del_port(w: &mut World<'_>, bridge: &IfName, port: &IfName) -> Result<(), Errno> {
    let ruled = follows_ports(w, bridge);
    let link = w.link_mut(port)?;
    link.master = None;
    link.port = None;
    w.tell(Implied::PortLeaves { link: *port, bridge: *bridge });
    // nbp_vlan_flush
    for vlan in w.now.port_vlans.remove(port).unwrap_or_default() {
        w.tell(Implied::VlanGoes(*port, vlan));
    }
    // br_fdb_delete_by_port
    for entry in w.now.fdb.iter().filter(|e| e.link == *port).cloned().collect::<Vec<_>>() {
        match entry.kind {
            FdbKind::Static => drop_entry(w, &entry),
            FdbKind::Local => drop_local(w, bridge, &entry),
        }
    }
    follow_mac(w, bridge, Event::Left, ruled.mac);
    follow_mtu(w, bridge, Event::Left, ruled.mtu);
    Ok(())
}

/// Whether a bridge's address and MTU follow its ports.
#[derive(Clone, Copy)]
pub(super) struct Follows {
    mac: bool,
    mtu: bool,
}

/// Where the kernel does not tell, a bridge follows its ports unless it plainly does not: a bridge whose address or MTU is
/// another than its ports would give it was set by hand.
pub(super) fn follows_ports(w: &World<'_>, bridge: &IfName) -> Follows {
    let none = Follows { mac: false, mtu: false };
    let Some(link) = w.now.links.get(bridge) else { return none };
    let Some(state) = &link.bridge else { return none };
    let known = w.knows_links() && w.now.ports(bridge).next().is_some();
    Follows {
        mac: match state.mac_fixed {
            Some(fixed) => !fixed,
            None => !known || lowest_mac(w, bridge) == link.mac,
        },
        mtu: match state.mtu_fixed {
            Some(fixed) => !fixed,
            None => !known || smallest_mtu(w, bridge) == Some(link.mtu),
        },
    }
}

fn lowest_mac(w: &World<'_>, bridge: &IfName) -> Option<MacAddr> {
    w.now.ports(bridge).filter_map(|(_, l)| l.mac).min()
}

fn smallest_mtu(w: &World<'_>, bridge: &IfName) -> Option<u32> {
    w.now.ports(bridge).map(|(_, l)| l.mtu).min()
}

/// What happened to the ports of a bridge.
#[derive(Clone, Copy)]
pub(super) enum Event {
    Joined(IfName),
    Left,
    Changed,
}

/// `br_stp_recalculate_bridge_id`: the lowest address of the ports, zero without ports.
fn follow_mac(w: &mut World<'_>, bridge: &IfName, event: Event, follows: bool) {
    if !follows {
        return;
    }
    let Some(current) = w.now.links.get(bridge).and_then(|l| l.mac) else { return };
    let new = if w.knows_links() {
        lowest_mac(w, bridge).unwrap_or(ZERO)
    } else {
        // Ports that were not looked at account for the present address.
        match event {
            Event::Joined(port) => w.now.links.get(&port).and_then(|l| l.mac).map_or(current, |m| m.min(current)),
            Event::Left | Event::Changed => current,
        }
    };
    if new != current {
        change_mac(w, bridge, new);
        w.tell(Implied::BridgeMac { bridge: *bridge, mac: new });
    }
}

const ZERO: MacAddr = MacAddr::new([0; 6]);

/// `br_stp_change_bridge_id` with `br_fdb_change_mac_address`, and `NETDEV_CHANGEADDR`.
pub(super) fn change_mac(w: &mut World<'_>, bridge: &IfName, new: MacAddr) {
    let Ok(link) = w.link_mut(bridge) else { return };
    let old = link.mac.replace(new);
    let own = old.map(|mac| FdbEntry { link: *bridge, mac, vlan: None, kind: FdbKind::Local });
    if let Some(own) = own.filter(|e| w.now.fdb.contains(e)) {
        drop_local(w, bridge, &own);
    }
    add_local(w, bridge, bridge, new);
    neigh::stations_changed(w, bridge);
}

/// `br_mtu_auto_adjust`: the smallest MTU of the ports, 1500 without ports.
fn follow_mtu(w: &mut World<'_>, bridge: &IfName, event: Event, follows: bool) {
    if !follows {
        return;
    }
    let Some(current) = w.now.links.get(bridge).map(|l| l.mtu) else { return };
    let new = if w.knows_links() {
        smallest_mtu(w, bridge).unwrap_or(EMPTY_MTU)
    } else {
        match event {
            Event::Joined(port) => w.now.links.get(&port).map_or(current, |l| l.mtu.min(current)),
            Event::Left | Event::Changed => current,
        }
    };
    if new != current {
        if let Ok(link) = w.link_mut(bridge) {
            link.mtu = new;
        }
        w.tell(Implied::BridgeMtu { bridge: *bridge, mtu: new });
        addr6::mtu_changed(w, bridge, current);
    }
}

/// A port has another MTU (`br_device_event`, `NETDEV_CHANGEMTU`).
pub(super) fn port_mtu_changed(w: &mut World<'_>, bridge: &IfName, followed: Follows) {
    follow_mtu(w, bridge, Event::Changed, followed.mtu);
}

/// A port has another address (`br_device_event`, `NETDEV_CHANGEADDR`; `br_fdb_changeaddr`).
pub(super) fn port_mac_changed(
    w: &mut World<'_>,
    bridge: &IfName,
    port: &IfName,
    old: Option<MacAddr>,
    followed: Follows,
) {
    let own = old.map(|mac| FdbEntry { link: *port, mac, vlan: None, kind: FdbKind::Local });
    if let Some(own) = own.filter(|e| w.now.fdb.contains(e)) {
        drop_local(w, bridge, &own);
    }
    if let Some(mac) = w.now.links.get(port).and_then(|l| l.mac) {
        add_local(w, bridge, port, mac);
    }
    follow_mac(w, bridge, Event::Changed, followed.mac);
}

/// `is_valid_ether_addr`: neither a group nor zero.
pub(super) fn is_station(mac: MacAddr) -> bool {
    mac.octets()[0] & 1 == 0 && mac != ZERO
}

/// The entry for a station in the table of a bridge.
pub(super) fn entry_for(w: &World<'_>, bridge: &IfName, mac: MacAddr, vlan: Option<u16>) -> Option<FdbEntry> {
    let of_bridge = |e: &&FdbEntry| {
        e.mac == mac
            && e.vlan == vlan
            && (e.link == *bridge || w.now.links.get(&e.link).is_some_and(|l| l.master.as_ref() == Some(bridge)))
    };
    w.now.fdb.iter().find(of_bridge).cloned()
}

/// `fdb_add_local`: the address of a port or of the bridge itself; the first of several with the same one keeps it.
fn add_local(w: &mut World<'_>, bridge: &IfName, link: &IfName, mac: MacAddr) {
    if !is_station(mac) {
        return;
    }
    match entry_for(w, bridge, mac, None) {
        Some(e) if e.kind == FdbKind::Local => return,
        Some(e) => drop_entry(w, &e),
        None => {}
    }
    let entry = FdbEntry { link: *link, mac, vlan: None, kind: FdbKind::Local };
    w.now.fdb.insert(entry.clone());
    w.tell(Implied::FdbAppears(entry));
}

/// `fdb_delete_local`: another port with the same address takes the entry over, or the bridge itself.
fn drop_local(w: &mut World<'_>, bridge: &IfName, entry: &FdbEntry) {
    drop_entry(w, entry);
    let other = w.now.ports(bridge).find(|(n, l)| **n != entry.link && l.mac == Some(entry.mac)).map(|(n, _)| *n);
    let own =
        (entry.link != *bridge && w.now.links.get(bridge).is_some_and(|l| l.mac == Some(entry.mac))).then_some(*bridge);
    if let Some(link) = other.or(own) {
        let entry = FdbEntry { link, ..entry.clone() };
        w.now.fdb.insert(entry.clone());
        w.tell(Implied::FdbAppears(entry));
    }
}

fn drop_entry(w: &mut World<'_>, entry: &FdbEntry) {
    if w.now.fdb.remove(entry) {
        w.tell(Implied::FdbGoes(entry.clone()));
    }
}
