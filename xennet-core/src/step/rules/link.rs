//! Links (`net/core/rtnetlink.c`, `net/core/dev.c`, `drivers/net/veth.c`).

use super::addr::{self, Reach};
use super::addr6::{self, Ends};
use super::bridge::{self, add_port, del_port, follows_ports, is_station};
use super::updown::{Flags, set_flags};
use super::{World, neigh, sysctl};
use crate::error::Errno;
use crate::gather;
use crate::model::{IfName, MacAddr};
use crate::snapshot::{Address, Family, FdbEntry, FdbKind, Link, LinkKind, Neighbour, Part, Route, VethPeer};
use crate::step::{Implied, LinkChange, LinkRef, LinkStep, NewLink, NewMaster};

/// MTU bounds of a bridge and of a veth (`ETH_MIN_MTU`, `ETH_MAX_MTU`).
const MTU_RANGE: (u32, u32) = (68, 65535);

/// The largest MTU of netback's vif: `ETH_MAX_MTU - VLAN_ETH_HLEN` (`drivers/net/xen-netback/interface.c`).
const NETBACK_MAX_MTU: u32 = 65517;

/// The longest note that netlink takes (`IFALIASZ - 1`).
const ALIAS_MAX: usize = 255;

pub(super) fn step(w: &mut World<'_>, step: &LinkStep) -> Result<(), Errno> {
    match step {
        LinkStep::Create { name, kind, change } => create(w, *name, kind, change),
        LinkStep::Set { link, change } => {
            let name = w.find(link)?;
            set(w, name, change)
        }
        LinkStep::Delete { link } => {
            let name = w.find(link)?;
            delete(w, &name)
        }
    }
}

/// The master that a change names; a name is looked up before anything is sent.
fn master(w: &World<'_>, change: &LinkChange) -> Result<Option<Option<IfName>>, Errno> {
    match &change.master {
        None => Ok(None),
        Some(NewMaster::None) => Ok(Some(None)),
        Some(NewMaster::Bridge(link)) => named(w, link).map(|m| Some(Some(m))),
    }
}

fn named(w: &World<'_>, link: &LinkRef) -> Result<IfName, Errno> {
    match w.find(link) {
        Ok(name) => Ok(name),
        // do_set_master: an index without a link.
        Err(Errno::ENODEV) if link.index.is_some() => Err(Errno::EINVAL),
        Err(e) => Err(e),
    }
}

/// `rtnl_newlink_create`: all or nothing.
fn create(w: &mut World<'_>, name: IfName, kind: &NewLink, change: &LinkChange) -> Result<(), Errno> {
    let master = master(w, change)?;
    // br_validate, veth_validate
    if change.mac.is_some_and(|m| !is_station(m)) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    let wrong_mtu = change.mtu.is_some_and(|m| !(MTU_RANGE.0..=MTU_RANGE.1).contains(&m));
    if wrong_mtu && matches!(kind, NewLink::Veth { .. }) {
        return Err(Errno::EINVAL);
    }
    // rtnl_newlink: NLM_F_EXCL
    if w.now.links.contains_key(&name) {
        return Err(Errno::EEXIST);
    }
    if change.alias.as_ref().is_some_and(|a| a.len() > ALIAS_MAX) {
        return Err(Errno::ERANGE);
    }
    // rtnl_create_link: dev_validate_mtu
    if wrong_mtu {
        return Err(Errno::EINVAL);
    }
    // validate_linkmsg: there is no link yet that IPv6 could be asked about.
    if change.addr_gen_mode.is_some() {
        return Err(Errno::EAFNOSUPPORT);
    }
    let before = w.now.clone();
    let result = build(w, name, kind, change, master);
    if result.is_err() {
        *w.now = before;
        w.implied.clear();
    }
    result
}

fn build(
    w: &mut World<'_>,
    name: IfName,
    kind: &NewLink,
    change: &LinkChange,
    master: Option<Option<IfName>>,
) -> Result<(), Errno> {
    let fresh = |kind: LinkKind| Link { mtu_range: MTU_RANGE, ..Link::new(kind) };
    let mut own = fresh(match kind {
        NewLink::Bridge => LinkKind::Bridge,
        NewLink::Veth { .. } => LinkKind::Veth,
    });
    own.mtu = change.mtu.unwrap_or(own.mtu);
    own.mac = change.mac;
    own.txqueuelen = change.txqueuelen.unwrap_or(own.txqueuelen);
    let name = match kind {
        NewLink::Bridge => {
            let mut state = bridge::new_state(w);
            // br_stp_recalculate_bridge_id looks at addr_assign_type: an address that was given stays.
            state.mac_fixed = Some(change.mac.is_some());
            own.bridge = Some(state);
            let name = free_name(w, name)?;
            register(w, name, own);
            bridge::change(w, &name, &change.bridge)?;
            // The bridge's own address is the first in its table.
            if let Some(mac) = w.link(&name)?.mac {
                let local = FdbEntry { link: name, mac, vlan: None, kind: FdbKind::Local };
                w.now.fdb.insert(local.clone());
                w.tell(Implied::FdbAppears(local));
            }
            name
        }
        NewLink::Veth { peer } => {
            // veth_newlink registers the other end first.
            let peer = free_name(w, *peer)?;
            register(w, peer, fresh(LinkKind::Veth));
            let name = free_name(w, name)?;
            own.peer = Some(VethPeer::Here(peer));
            register(w, name, own);
            w.link_mut(&peer)?.peer = Some(VethPeer::Here(name));
            w.tell(Implied::LinkAppears(peer));
            name
        }
    };
    // rtnl_configure_link, then do_set_master.
    set_flags(w, &name, Flags { up: change.up, arp: change.arp, multicast: change.multicast })?;
    if let Some(master) = master {
        set_master(w, &name, master)?;
    }
    Ok(())
}

/// `register_netdevice`: a number, an address unless one was given, settings, IPv6.
pub(super) fn register(w: &mut World<'_>, name: IfName, mut link: Link) {
    let highest = w.now.links.values().map(|l| l.index).max().unwrap_or(0).max(w.now.hidden.last_index);
    link.index = highest.saturating_add(1);
    w.now.hidden.last_index = link.index;
    link.mac = Some(link.mac.unwrap_or_else(|| made_up_mac(name, link.index)));
    link.addr_gen_mode = (link.mtu >= 1280).then(|| addr6::default_gen_mode(w));
    let has_ipv6 = link.addr_gen_mode.is_some();
    w.now.links.insert(name, link);
    sysctl::appear(w, &name, Family::Ipv4);
    if has_ipv6 {
        sysctl::appear(w, &name, Family::Ipv6);
    }
    learn_all(w, name);
}

/// Everything about a link that was just made is known.
fn learn_all(w: &mut World<'_>, name: IfName) {
    for part in parts(name) {
        w.learn(part);
    }
}

fn parts(name: IfName) -> [Part; 6] {
    [
        Part::Link(name),
        Part::Addresses(name),
        Part::Routes(name),
        Part::Neighbours(name),
        Part::Fdb(name),
        Part::PortVlans(name),
    ]
}

/// The kernel draws an address at random; here it is made of name and number, so that the same steps give the same world.
fn made_up_mac(name: IfName, index: u32) -> MacAddr {
    // FNV-1a
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in name.as_str().bytes().chain(index.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let [a, b, c, d, e, f, ..] = hash.to_be_bytes();
    MacAddr::new([(a & 0xfc) | 2, b, c, d, e, f])
}

/// `dev_prep_valid_name`. A pattern (`%d`) is no [`IfName`].
fn free_name(w: &World<'_>, name: IfName) -> Result<IfName, Errno> {
    if w.now.links.contains_key(&name) { Err(Errno::EEXIST) } else { Ok(name) }
}

/// `do_setlink`, and `rtnl_changelink` before it for the settings of a bridge.
///
/// The attributes are worked through in the kernel's order, and what was done stays when a later one is refused: settings
/// of the bridge, MAC, MTU, name, note, flags, master, queue length, IPv6 address generation.
fn set(w: &mut World<'_>, mut name: IfName, change: &LinkChange) -> Result<(), Errno> {
    let mut master = match master(w, change) {
        // do_set_master refuses an index without a link only when it comes to it.
        Err(Errno::EINVAL) => Err(Errno::EINVAL),
        other => Ok(other?),
    };
    // The policy of IFLA_IFALIAS comes before everything else.
    if change.alias.as_ref().is_some_and(|a| a.len() > ALIAS_MAX) {
        return Err(Errno::ERANGE);
    }
    if !change.bridge.is_empty() {
        // rtnl_newlink asks the kind that the message names first, whatever the link is: br_validate.
        if change.mac.is_some_and(|m| !is_station(m)) {
            return Err(Errno::EADDRNOTAVAIL);
        }
        bridge::change(w, &name, &change.bridge)?;
    }
    // validate_linkmsg
    if let Some(mode) = change.addr_gen_mode {
        addr6::validate_gen_mode(w.link(&name)?, mode)?;
    }
    if let Some(mac) = change.mac {
        set_mac(w, &name, mac)?;
    }
    if let Some(mtu) = change.mtu {
        set_mtu(w, &name, mtu)?;
    }
    if let Some(new) = change.name {
        let old = name;
        name = rename(w, name, new)?;
        // The master was looked up by its number, which a new name does not change.
        if master == Ok(Some(Some(old))) {
            master = Ok(Some(Some(name)));
        }
    }
    if let Some(alias) = &change.alias {
        w.link_mut(&name)?.alias = Some(alias.clone()).filter(|a| !a.is_empty());
    }
    set_flags(w, &name, Flags { up: change.up, arp: change.arp, multicast: change.multicast })?;
    if let Some(master) = master? {
        set_master(w, &name, master)?;
    }
    if let Some(len) = change.txqueuelen {
        w.link_mut(&name)?.txqueuelen = len;
    }
    if let Some(mode) = change.addr_gen_mode {
        // inet6_set_link_af: the MTU of the same message may have ended IPv6.
        if w.link(&name)?.addr_gen_mode.is_none() {
            return Err(Errno::EAFNOSUPPORT);
        }
        addr6::set_gen_mode(w, &name, mode);
    }
    Ok(())
}

/// `dev_set_mac_address`.
fn set_mac(w: &mut World<'_>, name: &IfName, mac: MacAddr) -> Result<(), Errno> {
    let link = w.link(name)?;
    // eth_prepare_mac_addr_change: netback's vif has no IFF_LIVE_ADDR_CHANGE; eth_mac_addr asks this first.
    if link.up && link.kind == LinkKind::Plain && link.mtu_range.1 == NETBACK_MAX_MTU {
        return Err(Errno::EBUSY);
    }
    // is_valid_ether_addr
    if !is_station(mac) {
        return Err(Errno::EADDRNOTAVAIL);
    }
    let (kind, master, old) = (link.kind.clone(), link.master, link.mac);
    if kind == LinkKind::Bridge {
        // br_set_mac_address; NET_ADDR_SET even if it is the same.
        if let Some(b) = w.link_mut(name)?.bridge.as_mut() {
            b.mac_fixed = Some(true);
        }
        if old == Some(mac) {
            neigh::stations_changed(w, name);
        } else {
            bridge::change_mac(w, name, mac);
        }
        return Ok(());
    }
    let followed = master.map(|m| (m, follows_ports(w, &m)));
    w.link_mut(name)?.mac = Some(mac);
    neigh::stations_changed(w, name);
    if let Some((bridge, followed)) = followed {
        bridge::port_mac_changed(w, &bridge, name, old, followed);
    }
    Ok(())
}

/// `dev_set_mtu_ext`.
fn set_mtu(w: &mut World<'_>, name: &IfName, mtu: u32) -> Result<(), Errno> {
    let link = w.link(name)?;
    if link.mtu == mtu {
        return Ok(());
    }
    // dev_validate_mtu; 0 as the largest means no limit.
    let (min, max) = link.mtu_range;
    if mtu < min || (max != 0 && mtu > max) || i32::try_from(mtu).is_err() {
        return Err(Errno::EINVAL);
    }
    let followed = link.master.map(|m| (m, follows_ports(w, &m)));
    let link = w.link_mut(name)?;
    let before = std::mem::replace(&mut link.mtu, mtu);
    // br_change_mtu: a number that was asked for stays.
    if let Some(b) = link.bridge.as_mut() {
        b.mtu_fixed = Some(true);
    }
    addr::mtu_changed(w, name, before);
    addr6::mtu_changed(w, name, before);
    if let Some((bridge, followed)) = followed {
        bridge::port_mtu_changed(w, &bridge, followed);
    }
    Ok(())
}

/// `do_set_master`: the old master is left before the new one is tried.
fn set_master(w: &mut World<'_>, name: &IfName, master: Option<IfName>) -> Result<(), Errno> {
    if let Some(old) = w.link(name)?.master {
        if Some(old) == master {
            return Ok(());
        }
        del_port(w, &old, name)?;
    }
    let Some(new) = master else { return Ok(()) };
    if w.link(&new)?.kind != LinkKind::Bridge {
        // no ndo_add_slave
        return Err(Errno::EOPNOTSUPP);
    }
    add_port(w, &new, name)
}

/// `dev_change_name`: everything that is told by name moves; policy rules keep the old one.
fn rename(w: &mut World<'_>, old: IfName, new: IfName) -> Result<IfName, Errno> {
    // dev_change_name before Linux 6.2, where it is the first question.
    if w.now.hidden.names_held_while_up && w.link(&old)?.up {
        return Err(Errno::EBUSY);
    }
    if old == new {
        return Ok(old);
    }
    let new = free_name(w, new)?;
    let link = w.now.links.remove(&old).ok_or(Errno::ENODEV)?;
    w.now.links.insert(new, link);
    for other in w.now.links.values_mut() {
        if other.master == Some(old) {
            other.master = Some(new);
        }
        if other.peer == Some(VethPeer::Here(old)) {
            other.peer = Some(VethPeer::Here(new));
        }
    }
    let s = &mut *w.now;
    let addresses = std::mem::take(&mut s.addresses).into_iter();
    s.addresses = gather::set(addresses.map(|a| if a.link == old { Address { link: new, ..a } } else { a }));
    // What has gone is not to be taken for what comes under its name.
    s.hidden.route_order.retain(|r| s.routes.contains(r));
    let touches = |r: &Route| r.leads_through(&old);
    let moved: Vec<Route> = s.routes.iter().filter(|r| touches(r)).cloned().collect();
    for mut route in moved {
        s.routes.remove(&route);
        for link in route.next_hops.iter_mut().map(|h| &mut h.link).chain([&mut route.link]) {
            if *link == Some(old) {
                *link = Some(new);
            }
        }
        s.routes.insert(route);
    }
    let neighbours = std::mem::take(&mut s.neighbours).into_iter();
    s.neighbours = gather::set(neighbours.map(|n| if n.link == old { Neighbour { link: new, ..n } } else { n }));
    let fdb = std::mem::take(&mut s.fdb).into_iter();
    s.fdb = gather::set(fdb.map(|e| if e.link == old { FdbEntry { link: new, ..e } } else { e }));
    if let Some(vlans) = s.port_vlans.remove(&old) {
        s.port_vlans.insert(new, vlans);
    }
    for route in &mut s.hidden.route_order {
        for link in route.next_hops.iter_mut().map(|h| &mut h.link).chain([&mut route.link]) {
            if *link == Some(old) {
                *link = Some(new);
            }
        }
    }
    if let Some(order) = s.hidden.address_order.remove(&old) {
        s.hidden.address_order.insert(new, order);
    }
    for (was, is) in parts(old).into_iter().zip(parts(new)) {
        if s.scope.contains(&was) {
            s.scope.insert(is);
        }
    }
    sysctl::rename(w, &old, &new);
    addr::relabel(w, &new);
    Ok(new)
}

/// `rtnl_dellink`: only links that rtnetlink made; `EOPNOTSUPP` for hardware, netback's vifs and loopback.
fn delete(w: &mut World<'_>, name: &IfName) -> Result<(), Errno> {
    let link = w.link(name)?;
    if matches!(link.kind, LinkKind::Plain | LinkKind::Loopback) {
        return Err(Errno::EOPNOTSUPP);
    }
    let peer = match link.peer {
        Some(VethPeer::Here(peer)) => Some(peer),
        _ => None,
    };
    unregister(w, name);
    // veth_dellink
    if let Some(peer) = peer.filter(|p| w.now.links.contains_key(p)) {
        unregister(w, &peer);
        w.tell(Implied::LinkGoes(peer));
    }
    Ok(())
}

/// `unregister_netdevice`: a link goes with all that hangs on it.
pub(super) fn unregister(w: &mut World<'_>, name: &IfName) {
    if let Some(master) = w.now.links.get(name).and_then(|l| l.master) {
        let _ = del_port(w, &master, name);
    }
    let ports: Vec<IfName> = w.now.ports(name).map(|(n, _)| *n).collect();
    for port in ports {
        // br_dev_delete; the bridge itself goes next, so what it follows does not matter.
        let _ = del_port(w, name, &port);
    }
    addr::disable(w, name, Reach::LinkDown);
    addr6::disable(w, name, Ends::Off);
    // inetdev_destroy: one after the other, with those that are promoted on the way.
    while let Some(a) = addr::in_order(w, name).first().cloned() {
        addr::remove(w, &a, addr::Asked::No);
    }
    addr::disable(w, name, Reach::LinkGone);
    for entry in w.now.fdb.iter().filter(|e| e.link == *name).cloned().collect::<Vec<_>>() {
        w.now.fdb.remove(&entry);
        w.tell(Implied::FdbGoes(entry));
    }
    w.now.port_vlans.remove(name);
    w.now.hidden.address_order.remove(name);
    sysctl::vanish(w, name, None);
    if let Some(link) = w.now.links.remove(name) {
        w.now.hidden.last_index = w.now.hidden.last_index.max(link.index);
    }
    for part in parts(*name) {
        w.learn(part);
    }
}
