//! Settings, VLANs and forwarding entries of bridge ports (`net/bridge/br_netlink.c`, `br_vlan.c`, `br_fdb.c`).

use super::World;
use super::bridge::{entry_for, is_station};
use super::updown::{Flags, set_flags};
use crate::error::Errno;
use crate::model::{IfName, MacAddr};
use crate::snapshot::{FdbEntry, FdbKind, LinkKind, Part, PortVlan};
use crate::step::{Implied, PortChange, PortStep};

pub(super) fn step(w: &mut World<'_>, step: &PortStep) -> Result<(), Errno> {
    match step {
        PortStep::Set { port, change, up } => {
            let port = w.find(port)?;
            // Without settings it is a plain RTM_SETLINK, for any link.
            if *change != PortChange::default() {
                set(w, &port, change)?;
            }
            match up {
                None => Ok(()),
                up => set_flags(w, &port, Flags { up: *up, ..Flags::default() }),
            }
        }
        PortStep::VlanAdd { port, vlan } => {
            let port = w.find(port)?;
            vlan_add(w, &port, vlan)
        }
        PortStep::VlanDel { port, vlan } => {
            let port = w.find(port)?;
            vlan_del(w, &port, vlan)
        }
        PortStep::FdbAdd { entry } => fdb_add(w, entry),
        PortStep::FdbDel { entry } => fdb_del(w, entry),
    }
}

/// `rtnl_changelink` with `IFLA_INFO_SLAVE_DATA`, `br_port_slave_changelink`, `br_setport`.
fn set(w: &mut World<'_>, port: &IfName, c: &PortChange) -> Result<(), Errno> {
    let link = w.link_mut(port)?;
    let Some(state) = link.port.as_mut().filter(|_| link.master.is_some()) else {
        return Err(Errno::EOPNOTSUPP);
    };
    let fields = [
        (c.isolated, &mut state.isolated),
        (c.learning, &mut state.learning),
        (c.hairpin, &mut state.hairpin),
        (c.unicast_flood, &mut state.unicast_flood),
        (c.multicast_flood, &mut state.multicast_flood),
        (c.broadcast_flood, &mut state.broadcast_flood),
        (c.neigh_suppress, &mut state.neigh_suppress),
        (c.locked, &mut state.locked),
        (c.bpdu_guard, &mut state.bpdu_guard),
        (c.root_block, &mut state.root_block),
    ];
    for (new, field) in fields {
        *field = new.unwrap_or(*field);
    }
    if let Some(bits) = c.group_forward {
        // Pause frames (`BR_GROUPFWD_MACPAUSE`). The others are set already.
        if bits & 0b10 != 0 {
            return Err(Errno::EINVAL);
        }
        state.group_forward = bits;
    }
    Ok(())
}

/// The bridge that a port, or the bridge itself, belongs to.
fn bridge_of(w: &World<'_>, port: &IfName) -> Result<Option<IfName>, Errno> {
    let link = w.link(port)?;
    Ok(if link.kind == LinkKind::Bridge { Some(*port) } else { link.master })
}

/// Whether a bridge knows VLANs; a bridge that was not looked at is taken to.
fn knows_vlans(w: &World<'_>, bridge: &IfName) -> bool {
    w.now.links.get(bridge).and_then(|l| l.bridge.as_ref()).is_none_or(|b| b.vlan_filtering.is_some())
}

/// `rtnl_bridge_setlink`, `br_afspec`, `br_vlan_add`: an existing VLAN takes the new flags; there is one PVID.
fn vlan_add(w: &mut World<'_>, port: &IfName, vlan: &PortVlan) -> Result<(), Errno> {
    // rtnl_bridge_setlink: no master and no ndo_bridge_setlink.
    let bridge = bridge_of(w, port)?.ok_or(Errno::EOPNOTSUPP)?;
    // nbp_vlan_add of a kernel without CONFIG_BRIDGE_VLAN_FILTERING
    if !knows_vlans(w, &bridge) {
        return Err(Errno::EOPNOTSUPP);
    }
    let set = w.now.port_vlans.entry(*port).or_default();
    let old: Vec<PortVlan> = set.iter().copied().filter(|v| v.vid == vlan.vid || (vlan.pvid && v.pvid)).collect();
    for v in old {
        set.remove(&v);
        if v.vid != vlan.vid {
            // The old PVID stays a member.
            set.insert(PortVlan { pvid: false, ..v });
        }
    }
    set.insert(*vlan);
    Ok(())
}

/// `rtnl_bridge_dellink`, `br_vlan_delete`, `nbp_vlan_delete`: `ENOENT` for a VLAN the port is not in.
fn vlan_del(w: &mut World<'_>, port: &IfName, vlan: &PortVlan) -> Result<(), Errno> {
    let bridge = bridge_of(w, port)?.ok_or(Errno::EOPNOTSUPP)?;
    // nbp_vlan_delete of a kernel without CONFIG_BRIDGE_VLAN_FILTERING is refused, and br_process_vlan_info drops that.
    if !knows_vlans(w, &bridge) {
        return Ok(());
    }
    let found = w.now.port_vlans.get(port).and_then(|set| set.iter().find(|v| v.vid == vlan.vid)).copied();
    match found {
        Some(v) => {
            if let Some(set) = w.now.port_vlans.get_mut(port) {
                set.remove(&v);
            }
            Ok(())
        }
        None if w.knows(&Part::PortVlans(*port)) => Err(Errno::ENOENT),
        None => Ok(()),
    }
}

/// Which table an entry goes to: `NTF_MASTER` for a port, `NTF_SELF` for a bridge (`rtnl_fdb_add`).
fn table_of(w: &World<'_>, entry: &FdbEntry) -> Result<IfName, Errno> {
    let link = w.link(&entry.link)?;
    // Only for ethernet.
    if link.kind == LinkKind::Loopback {
        return Err(Errno::EINVAL);
    }
    match (link.kind == LinkKind::Bridge, link.master) {
        (true, _) => Ok(entry.link),
        (false, Some(master)) => Ok(master),
        (false, None) => Err(Errno::EOPNOTSUPP),
    }
}

/// `br_fdb_add`, `__br_fdb_add`, `fdb_add_entry`.
fn fdb_add(w: &mut World<'_>, entry: &FdbEntry) -> Result<(), Errno> {
    let link = w.link(&entry.link)?;
    let own = link.kind == LinkKind::Bridge;
    let bridge = table_of(w, entry)?;
    // br_fdb_add: no station has this address.
    if entry.mac == MacAddr::new([0; 6]) {
        return Err(Errno::EINVAL);
    }
    // fdb_add_entry: the bridge itself has local entries only.
    if own && entry.kind != FdbKind::Local {
        return Err(Errno::EINVAL);
    }
    if entry.vlan.is_some() && !knows_vlans(w, &bridge) {
        return Err(Errno::EINVAL);
    }
    if entry_for(w, &bridge, entry.mac, entry.vlan).is_some() {
        return Err(Errno::EEXIST);
    }
    w.now.fdb.insert(entry.clone());
    Ok(())
}

/// `br_fdb_delete`: by port, station and VLAN; how it was kept does not matter.
fn fdb_del(w: &mut World<'_>, entry: &FdbEntry) -> Result<(), Errno> {
    table_of(w, entry)?;
    let found = w.now.fdb.iter().find(|e| e.link == entry.link && e.mac == entry.mac && e.vlan == entry.vlan).cloned();
    match found {
        Some(e) => {
            w.now.fdb.remove(&e);
            if e.kind != entry.kind {
                w.tell(Implied::FdbGoes(e));
            }
            Ok(())
        }
        None if is_station(entry.mac) && !w.knows(&Part::Fdb(entry.link)) => Ok(()),
        None => Err(Errno::ENOENT),
    }
}
