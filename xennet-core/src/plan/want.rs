//! From a wish with what was found for it to wanted objects: one pure function per mode.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::accept::Accepts;
use super::table::TableWish;
use super::{Reason, guard, network, routes, uplink};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{Attach, Attachment, BridgeSpec, Detach, IfName, MacAddr, Mtu, Resolved, ResolvedVif, VlanSpec};
use crate::snapshot::{
    AddrGenMode, Address, FdbEntry, Link, LinkKind, Neighbour, Part, PortVlan, Route, Rule, Scope, Snapshot, SysctlKey,
};
use crate::step::{BridgeChange, LinkRef, NewLink, PortChange};
use crate::tables::guard::RESERVED;

/// Wanted objects. What is not mentioned may be as it is.
#[derive(Default)]
pub(super) struct Wanted {
    pub(super) links: Vec<WantedLink>,
    pub(super) addresses: BTreeMap<IfName, Wish<Address>>,
    /// In which order links shall have them, where that is known.
    pub(super) address_order: BTreeMap<IfName, Vec<(IpNetwork, Option<IpAddr>)>>,
    pub(super) routes: BTreeMap<IfName, Wish<Route>>,
    /// The same, where only routes of ours count as too much.
    pub(super) own_routes: BTreeMap<IfName, Wish<Route>>,
    /// Destinations that another link of ours has a route to, which the own one replaces.
    pub(super) taken_over: BTreeSet<IpNetwork>,
    pub(super) neighbours: BTreeMap<IfName, Wish<Neighbour>>,
    /// Whether a link shall answer for an address behind another one.
    pub(super) proxies: BTreeMap<Neighbour, (bool, Reason)>,
    pub(super) fdb: BTreeMap<IfName, Wish<FdbEntry>>,
    pub(super) port_vlans: BTreeMap<IfName, Wish<PortVlan>>,
    pub(super) rules: Option<Wish<Rule>>,
    pub(super) sysctls: BTreeMap<SysctlKey, (String, Reason)>,
    /// What tables of ours shall have.
    pub(super) tables: Vec<TableWish>,
    /// Rules of ours in other programs' tables.
    pub(super) accepts: Vec<Accepts>,
    /// What of one link has to go to another without a gap.
    pub(super) moves: Vec<uplink::Move>,
}

/// Objects of one kind on one link (or of the whole namespace).
pub(super) struct Wish<T> {
    /// These must exist.
    pub(super) items: BTreeSet<T>,
    /// Others must not.
    pub(super) exact: bool,
    pub(super) why: Reason,
}

/// One link: which, and what becomes of it.
pub(super) struct WantedLink {
    /// The present name, and the index if it was observed.
    pub(super) link: LinkRef,
    pub(super) wish: LinkWish,
    pub(super) why: Reason,
}

pub(super) enum LinkWish {
    /// It exists and shall be so.
    Be(LinkTarget),
    /// It shall be made unless it exists, and be so.
    Exist(NewLink, LinkTarget),
    /// It shall be gone.
    Absent,
}

/// Settings of a link; `None`: as it is.
#[derive(Clone, Default)]
pub(super) struct LinkTarget {
    pub(super) name: Option<IfName>,
    pub(super) mac: Option<MacAddr>,
    pub(super) mtu: Option<u32>,
    pub(super) up: Option<bool>,
    pub(super) arp: Option<bool>,
    pub(super) multicast: Option<bool>,
    pub(super) txqueuelen: Option<u32>,
    pub(super) alias: Option<String>,
    /// `Some(None)`: a port of nothing.
    pub(super) master: Option<Option<IfName>>,
    pub(super) addr_gen_mode: Option<AddrGenMode>,
    pub(super) port: PortChange,
    pub(super) bridge: BridgeChange,
}

pub(super) fn scope(resolved: &Resolved, seen: &Snapshot) -> Scope {
    match resolved {
        Resolved::Attach(a) => {
            let settled = routes::is_settled(a, seen);
            let mut scope = if settled { vif_alone(&a.found.device) } else { vif_scope(&a.found.device, seen) };
            if settled {
                scope.extend(routes::parts(a));
            }
            if a.wish.name != a.found.device {
                scope = scope.with(Part::Link(a.wish.name)).with(Part::Addresses(a.wish.name));
            }
            match &a.wish.attachment {
                Attachment::Bridge { bridge, vlan, .. } => {
                    scope.insert(Part::Link(*bridge));
                    // The bridge may follow, and IPv6 with all its addresses and routes leaves a link with such an MTU.
                    let small = |mtu: u32| mtu < Mtu::IPV6_MIN;
                    if a.wish.mtu.is_some_and(|m| small(m.get()))
                        && seen.links.get(bridge).is_some_and(|b| !small(b.mtu))
                    {
                        scope.insert(Part::Addresses(*bridge));
                        scope.insert(Part::Routes(*bridge));
                    }
                    if vlan.is_some() {
                        scope.insert(Part::PortVlans(a.found.device));
                    }
                }
                Attachment::Nat { .. } | Attachment::Routed { .. } => {}
            }
            scope = scope.union(routes::scope(a, seen));
            let guarded = a.wish.guarded();
            if let Some(guarded) = &guarded {
                scope = scope.union(guard::frame_scope(guarded, seen));
            }
            scope.union(guard::scope(guarded.iter().chain(a.recorded.guard.as_deref())))
        }
        Resolved::Detach(d) => {
            let scope = vif_scope(&d.found.device, seen).union(guard::scope(d.recorded.guard.iter().map(|g| &**g)));
            match &d.recorded.routes {
                Some(behind) => scope.union(routes::scope_gone(&d.found.device, behind, seen)),
                None => scope,
            }
        }
        Resolved::Bridge(b) => Scope::none().with(Part::Link(b.name())),
        Resolved::Start(s) => network::scope(s, seen),
    }
}

fn vif_alone(device: &IfName) -> Scope {
    Scope::none().with(Part::Link(*device)).with(Part::Addresses(*device))
}

/// A vif and its addresses; its routes and neighbours only where it can have some, since finding them means reading all.
fn vif_scope(device: &IfName, seen: &Snapshot) -> Scope {
    let mut scope = vif_alone(device);
    if let Some(link) = seen.links.get(device) {
        if let Some(master) = link.master {
            scope.insert(Part::Link(master));
            // They go when the port leaves; only who knows them can put them back.
            if seen.links.get(&master).and_then(|l| l.bridge.as_ref()).is_some_and(|b| b.default_pvid.is_some()) {
                scope.insert(Part::PortVlans(*device));
            }
        }
        if link.up && (link.master.is_none() || seen.addresses_of(device).next().is_some()) {
            // Both go when the link goes down.
            scope.insert(Part::Routes(*device));
            scope.insert(Part::Neighbours(*device));
        }
    }
    scope
}

pub(super) fn want(resolved: &Resolved, now: &Snapshot) -> Result<(Wanted, Vec<String>), Error> {
    match resolved {
        Resolved::Attach(a) => attach(a, now),
        Resolved::Detach(d) => Ok((detach(d, now), Vec::new())),
        Resolved::Bridge(b) => bridge(b, now),
        Resolved::Start(s) => network::want(s, &network::carried(s, now), now),
    }
}

fn attach(a: &ResolvedVif<Attach>, now: &Snapshot) -> Result<(Wanted, Vec<String>), Error> {
    let device = now.links.get(&a.found.device).ok_or_else(|| {
        Error::new(ErrorKind::LinkNotFound, format!("{}: there is no such link", a.found.device))
            .with_object(a.found.device.as_str())
            .unchanged()
            .with_hint(format!(
                "netback makes {} when domain {} is built; is the domain running (`xl list`), and is its backend this domain?",
                a.wish.id, a.wish.id.domid
            ))
    })?;
    if a.wish.name != a.found.device
        && let Some(other) = now.links.get(&a.wish.name)
        && other.index != device.index
    {
        return Err(Error::new(
            ErrorKind::NameTaken,
            format!("{}: cannot be renamed to {}, another link has this name", a.found.device, a.wish.name),
        )
        .with_object(a.wish.name.as_str())
        .unchanged()
        .with_hint(format!(
            "choose another vifname, or remove the link {} (index {}) if nobody uses it",
            a.wish.name, other.index
        )));
    }
    let mut notes = Vec::new();
    let mut wanted = Wanted {
        tables: vec![guard::instead(a.wish.guarded().as_ref(), a.recorded.guard.as_deref())],
        ..Wanted::default()
    };
    let mut target = LinkTarget {
        name: Some(a.wish.name),
        mtu: a.wish.mtu.map(|m| m.get()),
        up: Some(true),
        addr_gen_mode: Some(AddrGenMode::None),
        ..LinkTarget::default()
    };
    let why;
    match &a.wish.attachment {
        Attachment::Bridge { bridge, vlan, isolated } => {
            let found = bridge_of(a, device, bridge, now)?;
            target.mac = Some(MacAddr::BACKEND);
            target.mtu = target.mtu.or(Some(found.mtu));
            target.master = Some(Some(*bridge));
            target.port.isolated = Some(*isolated);
            target.port.learning = Some(true);
            target.port.group_forward = match (&a.wish.guard, &a.recorded.guard) {
                (Some(_), _) => Some(RESERVED),
                // As it was made. Where it was never ours it may be as somebody has set it.
                (None, Some(_)) => Some(0),
                (None, None) => None,
            };
            why = Reason::told(format!("{} is to be connected", a.wish.id));
            let reason = Reason::fixed("a bridge port has no addresses of its own");
            wanted.addresses.insert(a.wish.name, Wish { items: BTreeSet::new(), exact: true, why: reason });
            if let Some(vlan) = vlan {
                wanted.port_vlans.insert(a.wish.name, vlan_wish(a, bridge, found, vlan)?);
            }
            if let Some(mtu) = a.wish.mtu
                && mtu.get() < found.mtu
            {
                notes.push(format!(
                    "{bridge} has an MTU of {} and {} of {mtu}: unless {bridge}'s MTU was set by hand it falls to that of its \
                     smallest port",
                    found.mtu, a.wish.name
                ));
            }
        }
        Attachment::Nat { .. } => {
            target.master = Some(None);
            why = Reason::told(format!("{} is to be connected behind this domain's address", a.wish.id));
        }
        Attachment::Routed { .. } => {
            target.master = Some(None);
            why = Reason::told(format!("{} is to be connected by routes", a.wish.id));
        }
    }
    routes::want(&mut wanted, a, now);
    if target.master == Some(None)
        && let Some(master) = device.master
        && Some(master) != a.recorded.bridge
    {
        return Err(port_of_other(a, master));
    }
    let link = LinkRef { name: a.found.device, index: Some(device.index) };
    wanted.links.push(WantedLink { link, wish: LinkWish::Be(target), why });
    Ok((wanted, notes))
}

/// The bridge, if it is there, is one, and the vif is free to become its port.
fn bridge_of<'a>(
    a: &ResolvedVif<Attach>,
    device: &Link,
    bridge: &IfName,
    now: &'a Snapshot,
) -> Result<&'a Link, Error> {
    let found = now.links.get(bridge).ok_or_else(|| {
        Error::new(
            ErrorKind::BridgeNotFound,
            format!("cannot attach {} to bridge {bridge}: there is no such link", a.found.device),
        )
        .with_object(bridge.as_str())
        .unchanged()
    })?;
    if found.kind != LinkKind::Bridge {
        return Err(Error::new(
            ErrorKind::NotABridge,
            format!("cannot attach {} to {bridge}: it is not a bridge but {}", a.found.device, kind_words(&found.kind)),
        )
        .with_object(bridge.as_str())
        .unchanged());
    }
    match device.master {
        Some(master) if master != *bridge && Some(master) != a.recorded.bridge => Err(port_of_other(a, master)),
        _ => Ok(found),
    }
}

fn port_of_other(a: &ResolvedVif<Attach>, master: IfName) -> Error {
    Error::new(
        ErrorKind::PortOfOther,
        format!("{} is a port of {master} already, and not by our doing", a.found.device),
    )
    .with_object(a.found.device.as_str())
    .unchanged()
    .with_hint(format!("take it off first if that is a mistake: ip link set {} nomaster", a.found.device))
}

/// A kind of link in words, with its article.
pub(crate) fn kind_words(kind: &LinkKind) -> String {
    match kind {
        LinkKind::Loopback => "the loopback link".into(),
        LinkKind::Plain => "an ethernet link".into(),
        LinkKind::Bridge => "a bridge".into(),
        LinkKind::Veth => "a veth link".into(),
        LinkKind::Tun => "a tun or tap link".into(),
        LinkKind::Ifb => "an ifb link".into(),
        LinkKind::Macvlan => "a macvlan link".into(),
        LinkKind::Other(name) => format!("a link of kind {name}"),
    }
}

fn vlan_wish(a: &ResolvedVif<Attach>, bridge: &IfName, found: &Link, vlan: &VlanSpec) -> Result<Wish<PortVlan>, Error> {
    let refuse = |rule: &str, hint: String| {
        Err(Error::new(ErrorKind::Unsupported, format!("cannot put {} into VLANs: {bridge} {rule}", a.found.device))
            .with_object(bridge.as_str())
            .unchanged()
            .with_hint(hint))
    };
    match found.bridge.as_ref().and_then(|b| b.vlan_filtering) {
        Some(true) => {}
        Some(false) => {
            return refuse(
                "does not filter by VLAN",
                format!("switch it on: ip link set {bridge} type bridge vlan_filtering 1"),
            );
        }
        None => {
            return refuse(
                "cannot filter by VLAN on this kernel",
                "the kernel needs CONFIG_BRIDGE_VLAN_FILTERING; remove vlan= to attach without VLANs".into(),
            );
        }
    }
    let items = gather::set(vlan.vids().map(|(vid, tagging)| PortVlan { vid, tagging, pvid: vid == vlan.pvid() }));
    Ok(Wish { items, exact: true, why: Reason::fixed("the vif line names these VLANs, and no others") })
}

fn detach(d: &ResolvedVif<Detach>, now: &Snapshot) -> Wanted {
    let mut wanted = Wanted { tables: vec![guard::gone(d.recorded.guard.as_deref())], ..Wanted::default() };
    if let Some(behind) = &d.recorded.routes {
        routes::want_gone(&mut wanted, &d.found.device, behind, now);
    }
    // Gone already, or another link under the same name: both are as they should be.
    let Some(link) = now.links.get(&d.found.device).filter(|l| d.recorded.index.is_none_or(|index| index == l.index))
    else {
        return wanted;
    };
    let target = LinkTarget { up: Some(false), master: Some(None), ..LinkTarget::default() };
    let why = Reason::told(format!("{} is to be disconnected", d.wish.id));
    let link = LinkRef { name: d.found.device, index: Some(link.index) };
    wanted.links.push(WantedLink { link, wish: LinkWish::Be(target), why });
    let why = Reason::fixed("a disconnected vif has no addresses");
    wanted.addresses.insert(d.found.device, Wish { items: BTreeSet::new(), exact: true, why });
    wanted
}

pub(super) fn bridge(b: &BridgeSpec, now: &Snapshot) -> Result<(Wanted, Vec<String>), Error> {
    let hundredths = u32::try_from(b.forward_delay().as_millis() / 10).unwrap_or(u32::MAX);
    let target = LinkTarget {
        mac: b.mac(),
        mtu: b.mtu().map(|m| m.get()),
        up: Some(true),
        bridge: BridgeChange {
            stp: Some(b.stp()),
            forward_delay_cs: Some(hundredths),
            vlan_filtering: b.vlan_filtering(),
            ..BridgeChange::default()
        },
        ..LinkTarget::default()
    };
    let index = match now.links.get(&b.name()) {
        None => None,
        Some(link) if link.kind == LinkKind::Bridge => Some(link.index),
        Some(link) => {
            return Err(Error::new(
                ErrorKind::NotABridge,
                format!("{}: exists already and is not a bridge but {}", b.name(), kind_words(&link.kind)),
            )
            .with_object(b.name().as_str())
            .unchanged()
            .with_hint("choose another name for the bridge"));
        }
    };
    let mut wanted = Wanted::default();
    wanted.links.push(WantedLink {
        link: LinkRef { name: b.name(), index },
        wish: LinkWish::Exist(NewLink::Bridge, target),
        why: Reason::told(format!("bridge {} is wanted", b.name())),
    });
    Ok((wanted, Vec::new()))
}
