//! A host as a recording has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::model::{About, Counters, Filter, Guest, Hub, HubKind, Outside, Picture, Port, Source, Uplink};
use super::networks::{of_network, uplink};
use crate::gather;
use crate::model::{
    Attachment, IfName, MacAddr, Network, NetworkMode, Resolved, Started, Subject, VifId, VifSpec, VlanSpec,
};
use crate::plan::{self, Goal};
use crate::recording::Recording;
use crate::snapshot::{Link, LinkKind, NftTableId, Part, Route, RouteKind, Snapshot};
use crate::tables::guard;
use crate::text::printable;

impl Picture {
    /// A host as it was recorded. What xennet's records say of guests (addresses, filters) is compared with the tables that the kernel
    /// has: a filter is drawn where it is.
    pub fn of_recording(recording: &Recording) -> Picture {
        see(recording, BTreeMap::new())
    }

    /// The same with what is not as it was made, by vif and network: a look at a host knows it
    /// ([`Host::picture`](crate::Host::picture)).
    #[must_use]
    pub(crate) fn with_missing(mut self, missing: &BTreeMap<Subject, Vec<String>>) -> Picture {
        let of = |subject: &Subject| missing.get(subject).cloned().unwrap_or_default();
        for hub in &mut self.hubs {
            hub.missing.extend(hub.networks.iter().flat_map(|name| of(&Subject::Network(*name))));
            for port in &mut hub.ports {
                let Some(id) = port.guest.as_ref().and_then(|guest| guest.vif) else { continue };
                port.missing.extend(of(&Subject::Vif(id)));
                port.missing.extend(of(&Subject::Tap(id)));
            }
        }
        self
    }

    /// Hubs that lead outside by the same way stand side by side: a bridge first, and then what leads to it.
    pub(super) fn in_order(mut self) -> Picture {
        let place = |hub: &Hub, at: usize| match hub.outside {
            Some(Outside::Uplink(link)) => (0, link, at, 0),
            Some(Outside::Hub(bridge)) => match self.hubs.get(bridge).and_then(|hub| hub.outside) {
                Some(Outside::Uplink(link)) => (0, link, bridge, at + 1),
                _ => (1, 0, bridge, at + 1),
            },
            None if hub.kind == HubKind::Nothing => (2, 0, at, 0),
            None => (1, 0, at, 0),
        };
        let order: BTreeMap<_, usize> = gather::map(self.hubs.iter().enumerate().map(|(at, hub)| (place(hub, at), at)));
        let new: BTreeMap<usize, usize> = gather::map(order.values().enumerate().map(|(new, old)| (*old, new)));
        let mut hubs: BTreeMap<usize, Hub> = BTreeMap::new();
        for (old, mut hub) in std::mem::take(&mut self.hubs).into_iter().enumerate() {
            if let Some(Outside::Hub(bridge)) = hub.outside {
                hub.outside = new.get(&bridge).copied().map(Outside::Hub);
            }
            if let Some(at) = new.get(&old) {
                hubs.insert(*at, hub);
            }
        }
        self.hubs = hubs.into_values().collect();
        self
    }
}

/// What is said of a vif elsewhere than in its link.
#[derive(Clone, Debug, Default)]
pub(super) struct Hint {
    pub(super) mac: Option<MacAddr>,
    pub(super) addresses: Vec<IpNetwork>,
    /// The name of its link.
    pub(super) link: Option<IfName>,
    pub(super) attachment: Option<Attachment>,
    pub(super) network: Option<IfName>,
    pub(super) filter: Filter,
    pub(super) vlan: Option<VlanSpec>,
}

impl Hint {
    /// What a vif line says.
    pub(super) fn of_line(vif: &VifSpec) -> Hint {
        Hint {
            mac: vif.mac().map(|mac| mac.get()),
            addresses: vif.ip().to_vec(),
            link: vif.vifname(),
            vlan: vif.vlan().cloned(),
            ..Hint::default()
        }
    }

    fn or(mut self, other: Hint) -> Hint {
        self.mac = self.mac.or(other.mac);
        self.link = self.link.or(other.link);
        self.vlan = self.vlan.or(other.vlan);
        if self.addresses.is_empty() {
            self.addresses = other.addresses;
        }
        self
    }
}

/// What the records say of vifs.
fn recorded(recording: &Recording) -> BTreeMap<VifId, Hint> {
    let mut hints = BTreeMap::new();
    for entry in &recording.records {
        let (Subject::Vif(id), Goal::Resolved(Resolved::Attach(a))) = (entry.subject, &entry.goal) else { continue };
        let guard = a.wish.guard.as_ref();
        let declared = guard.and_then(|guard| guard.addresses.as_ref());
        let vlan = match &a.wish.attachment {
            Attachment::Bridge { vlan, .. } => vlan.clone(),
            _ => None,
        };
        let filter = match (&a.wish.attachment, guard, declared) {
            (Attachment::Bridge { .. }, Some(guard), _) if guard.closed => Filter::Closed,
            (Attachment::Bridge { .. }, Some(_), Some(_)) => Filter::Guard,
            (Attachment::Bridge { .. }, Some(_), None) => Filter::Mac,
            (Attachment::Bridge { .. }, None, _) => Filter::None,
            _ if a.wish.attachment.guest().is_empty() => Filter::None,
            _ => Filter::Gate,
        };
        let guest = a.wish.attachment.guest().iter().chain(declared.into_iter().flatten());
        let hint = Hint {
            mac: guard.map(|guard| guard.mac),
            addresses: guest.copied().collect(),
            link: Some(a.wish.name),
            network: match &a.wish.attachment {
                Attachment::Nat { network, .. } | Attachment::Routed { network, .. } => network.or(a.wish.network),
                Attachment::Bridge { .. } => a.wish.network,
            },
            attachment: Some(a.wish.attachment.clone()),
            filter,
            vlan,
        };
        let line = entry.text.as_ref().and_then(|text| text.parse::<VifSpec>().ok());
        hints.insert(id, hint.or(line.as_ref().map(Hint::of_line).unwrap_or_default()));
    }
    hints
}

/// What xenstore says of vifs: the backend's nodes, which toolstacks write.
fn stored(recording: &Recording) -> BTreeMap<VifId, Hint> {
    let mut hints: BTreeMap<VifId, Hint> = BTreeMap::new();
    for (path, value) in &recording.store {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        let ["", "local", "domain", _, "backend", "vif", domid, devid, node] = parts[..] else { continue };
        let (Ok(domid), Ok(devid)) = (domid.parse(), devid.parse()) else { continue };
        let hint = hints.entry(VifId::new(domid, devid)).or_default();
        match node {
            "mac" => hint.mac = value.parse().ok(),
            "ip" => hint.addresses = VifSpec::parse_ip(value).unwrap_or_default(),
            "vifname" => hint.link = value.parse().ok(),
            _ => {}
        }
    }
    hints
}

/// What is looked up often, made once.
struct Look<'a> {
    recording: &'a Recording,
    now: &'a Snapshot,
    hints: BTreeMap<VifId, Hint>,
    /// Links of guests, by their present names, and whether it is the emulated twin.
    vifs: BTreeMap<IfName, (VifId, bool)>,
    addresses: BTreeMap<IfName, Vec<IpNetwork>>,
    /// Networks that somebody has a route to through a link, besides the kernel's own.
    routes: BTreeMap<IfName, Vec<&'a Route>>,
    /// Links that are uplinks because a network says so.
    uplinks: BTreeSet<IfName>,
    default_route: Option<IfName>,
}

impl<'a> Look<'a> {
    fn new(recording: &'a Recording, told: BTreeMap<VifId, Hint>) -> Self {
        let now = &recording.snapshot;
        let mut hints = recorded(recording);
        for (id, hint) in stored(recording).into_iter().chain(told) {
            let known = hints.remove(&id).unwrap_or_default();
            hints.insert(id, known.or(hint));
        }
        let by_link: BTreeMap<IfName, VifId> =
            gather::map(hints.iter().filter_map(|(id, hint)| Some((hint.link?, *id))));
        let vifs = now.links.keys().filter_map(|name| {
            let of_name = |name: &str| {
                let of = |name: &str| VifId::from_vif_name(name).or_else(|| by_link.get(name).copied());
                of(name).map(|id| (id, false)).or_else(|| Some((of(name.strip_suffix("-emu")?)?, true)))
            };
            Some((*name, of_name(name.as_str())?))
        });
        let vifs = gather::map(vifs);
        let mut addresses: BTreeMap<IfName, Vec<IpNetwork>> = BTreeMap::new();
        let links: BTreeSet<IfName> = gather::set(now.addresses.iter().map(|a| a.link));
        for address in now.addresses.iter().filter(|a| !a.is_own()) {
            addresses.entry(address.link).or_default().push(address.address);
        }
        // In the kernel's order where it matters: the first one is dom0's own.
        for link in links.iter().filter(|link| !vifs.contains_key(*link)) {
            let in_order = now.addresses_in_order(link).into_iter().filter(|a| !a.is_own() && !a.is_temporary());
            addresses.insert(*link, in_order.map(|a| a.address).collect());
        }
        let mut routes: BTreeMap<IfName, Vec<&Route>> = BTreeMap::new();
        let is_way = |r: &&Route| r.kind == RouteKind::Unicast && r.protocol != Route::BY_KERNEL;
        for route in now.routes.iter().filter(is_way) {
            routes.entry(route.link.unwrap_or(IfName::literal("-"))).or_default().push(route);
        }
        let uplinks = recording.networks.iter().filter_map(|started| match started.network.mode() {
            NetworkMode::Bridge(b) => b.uplink.map(|uplink| b.uplink_name.unwrap_or(uplink)),
            _ => started.outside,
        });
        let default = now.routes.iter().filter(|r| is_default(r)).min_by_key(|r| (r.destination.is_ipv6(), r.metric));
        let default_route = default.and_then(|r| r.link.or_else(|| r.next_hops.iter().find_map(|hop| hop.link)));
        let uplinks = gather::set(uplinks);
        Look { recording, now, hints, vifs, addresses, routes, uplinks, default_route }
    }

    fn addresses_of(&self, link: &IfName) -> Vec<IpNetwork> {
        self.addresses.get(link).cloned().unwrap_or_default()
    }

    /// Whether a link that is no guest's leads outside.
    fn is_uplink(&self, name: &IfName, link: &Link) -> bool {
        const OF_HARDWARE: [&str; 5] = ["eth", "en", "peth", "bond", "wl"];
        if self.vifs.contains_key(name) || link.kind == LinkKind::Bridge {
            return false;
        }
        self.uplinks.contains(name)
            || match &link.kind {
                LinkKind::Plain | LinkKind::Macvlan => true,
                LinkKind::Other(kind) => kind != "dummy",
                // In a container the link towards the outside is one.
                LinkKind::Veth => OF_HARDWARE.iter().any(|begin| name.as_str().starts_with(begin)),
                _ => false,
            }
    }

    fn uplink(&self, link: IfName) -> Uplink {
        let mut uplink = Uplink::new(Some(link));
        let Some(seen) = self.now.links.get(&link) else {
            uplink.up = false;
            return uplink;
        };
        uplink.mac = seen.mac;
        uplink.up = seen.up;
        uplink.addresses = self.addresses_of(&link);
        if let Some(details) = self.recording.details.links.get(&link) {
            uplink.carrier = Some(details.carrier);
            uplink.lower = details.lower;
            uplink.vlan = details.vlan;
            uplink.counters = Some(counted(&details.counters));
        }
        let through = [Some(link), seen.master];
        let gateways = self.now.routes.iter().filter(|r| is_default(r)).flat_map(Route::gateways);
        for (gateway, _) in gateways.filter(|(_, on)| through.contains(on)) {
            if !uplink.gateways.contains(&gateway) {
                uplink.gateways.push(gateway);
            }
        }
        uplink
    }

    /// The filter that the kernel has for a link; by the records where its tables could not be looked at.
    fn filter(&self, link: &IfName, hint: &Hint) -> Filter {
        let mut seen = Filter::None;
        for part in plan::membership(link).parts() {
            let Part::NftElement(id, set, key) = part else { continue };
            let was_looked_at = self.now.nft.contains_key(id) || self.now.scope.contains(&Part::Nft(id.clone()));
            if !was_looked_at {
                let is_guards = matches!(hint.filter, Filter::Guard | Filter::Mac | Filter::Closed);
                if is_guards == (*id == NftTableId::guard()) {
                    seen = seen.max(hint.filter);
                }
                continue;
            }
            let has = self.now.nft.get(id).and_then(|table| table.sets.get(&**set));
            if has.is_some_and(|set| set.elements.contains_key(key)) {
                seen = match (*id == NftTableId::guard(), &**set) {
                    (false, _) => Filter::Gate,
                    (true, guard::CLOSED) => Filter::Closed,
                    (true, guard::BOUND) => seen.max(Filter::Mac),
                    (true, _) => seen.max(Filter::Guard),
                };
            }
        }
        seen
    }

    fn port(&self, name: IfName, link: &Link) -> Port {
        let mut port = Port { up: link.up, ..Port::new(Some(name)) };
        port.isolated = link.port.as_ref().is_some_and(|port| port.isolated);
        if let Some(details) = self.recording.details.links.get(&name) {
            port.carrier = Some(details.carrier);
            port.counters = Some(counted(&details.counters));
        }
        if let Some((id, is_twin)) = self.vifs.get(&name) {
            let hint = self.hints.get(id).cloned().unwrap_or_default();
            let mut addresses = hint.addresses.clone();
            if addresses.is_empty() {
                let routes = self.routes.get(&name).into_iter().flatten();
                addresses = routes.map(|route| route.destination).collect();
            }
            port.filter = self.filter(&name, &hint);
            port.vlan = hint.vlan.as_ref().map(ToString::to_string);
            port.guest = Some(Guest {
                vif: Some(*id),
                name: self.recording.domain_name(id.domid).map(|name| printable(name).into_owned()),
                mac: hint.mac,
                addresses,
            });
            port.twin = is_twin.then_some(name);
        }
        port
    }
}

fn counted(counters: &crate::snapshot::Counters) -> Counters {
    Counters {
        rx_bytes: counters.rx_bytes,
        tx_bytes: counters.tx_bytes,
        dropped: counters.rx_dropped.saturating_add(counters.tx_dropped),
    }
}

fn is_default(route: &Route) -> bool {
    route.table == Route::MAIN && route.destination.prefix() == 0 && route.kind == RouteKind::Unicast
}

/// The picture of a recording, with what a plan says of vifs that the recording does not know yet.
pub(super) fn see(recording: &Recording, told: BTreeMap<VifId, Hint>) -> Picture {
    let look = Look::new(recording, told);
    let taken = &recording.taken;
    let mut picture = Picture::of_nothing(About {
        source: Source::Seen,
        host: printable(&taken.host).into_owned(),
        at: taken.at,
        xennet: printable(&taken.xennet).into_owned(),
    });
    let mut ways: Vec<Option<IfName>> = Vec::new();
    for started in &recording.networks {
        let (hub, way) = of_started(started, &look);
        picture.hubs.push(hub);
        ways.push(way);
    }
    for (name, link) in look.now.links.iter().filter(|(_, link)| link.kind == LinkKind::Bridge) {
        if !picture.hubs.iter().any(|hub| hub.bridge == Some(*name)) {
            let hub = Hub { bridge: Some(*name), addresses: look.addresses_of(name), ..Hub::new(HubKind::Bridge) };
            picture.hubs.push(Hub { up: link.up, ..hub });
            ways.push(None);
        }
    }
    let bridges: BTreeMap<IfName, usize> =
        gather::map(picture.hubs.iter().enumerate().filter_map(|(at, hub)| Some((hub.bridge?, at))));
    for (name, link) in &look.now.links {
        match link.master.and_then(|master| bridges.get(&master)) {
            Some(at)
                if look.is_uplink(name, link) && ways.get(*at).is_some_and(|way| way.is_none_or(|w| w == *name)) =>
            {
                if let Some(way) = ways.get_mut(*at) {
                    *way = Some(*name);
                }
            }
            Some(at) => {
                if let Some(hub) = picture.hubs.get_mut(*at) {
                    hub.ports.push(look.port(*name, link));
                }
            }
            None if link.master.is_none() && look.vifs.contains_key(name) => {
                let port = look.port(*name, link);
                let at = place_of(&port, &look, &mut picture.hubs, &mut ways);
                if let Some(hub) = picture.hubs.get_mut(at) {
                    hub.ports.push(port);
                }
            }
            None => {}
        }
    }
    for (at, way) in ways.into_iter().enumerate() {
        let Some(link) = way else { continue };
        let outside = match bridges.get(&link).filter(|bridge| **bridge != at) {
            Some(bridge) => Outside::Hub(*bridge),
            None => Outside::Uplink(uplink(&mut picture.uplinks, Some(link))),
        };
        if let Some(hub) = picture.hubs.get_mut(at) {
            hub.outside = Some(outside);
        }
    }
    // Links of dom0 alone.
    for (name, link) in &look.now.links {
        let is_used = look.default_route == Some(*name) || look.addresses.get(name).is_some_and(|all| !all.is_empty());
        if link.master.is_none() && is_used && look.is_uplink(name, link) {
            uplink(&mut picture.uplinks, Some(*name));
        }
    }
    for uplink in &mut picture.uplinks {
        *uplink = uplink.link.map_or_else(|| uplink.clone(), |link| look.uplink(link));
    }
    picture.hubs.iter_mut().for_each(|hub| hub.ports = in_order_of_guests(std::mem::take(&mut hub.ports)));
    picture.notes.extend(
        recording
            .unseen
            .iter()
            .map(|unseen| format!("not looked at: {} ({})", printable(&unseen.what), printable(&unseen.why))),
    );
    picture.in_order()
}

/// The hub of a started network, and the link that it leads outside through.
fn of_started(started: &Started, look: &Look<'_>) -> (Hub, Option<IfName>) {
    let mut hub = of_network(&started.network);
    if let Some(bridge) = hub.bridge {
        hub.up = look.now.links.get(&bridge).is_some_and(|link| link.up);
        hub.addresses = look.addresses_of(&bridge);
    } else if !started.source.is_empty() {
        let gateways = hub.addresses.iter().filter(|a| !started.source.contains(&a.ip())).copied();
        hub.addresses = started.source.iter().copied().map(IpNetwork::from).chain(gateways).collect();
    }
    let way = match started.network.mode() {
        // As the ports of its bridge are.
        NetworkMode::Bridge(_) => None,
        _ => started.outside.or_else(|| egress_of(&started.network)).or(look.default_route),
    };
    (hub, way)
}

fn egress_of(network: &Network) -> Option<IfName> {
    use crate::model::Egress;
    match network.mode() {
        NetworkMode::Nat(n) => Some(&n.egress),
        NetworkMode::Routed(r) => Some(&r.uplink),
        NetworkMode::Bridge(_) => None,
    }
    .and_then(|egress| match egress {
        Egress::Link(link) => Some(*link),
        Egress::DefaultRoute => None,
    })
}

/// The hub of a vif that is no port of a bridge: by its record, or else by the routes through it. It is added if it is not there yet.
fn place_of(port: &Port, look: &Look<'_>, hubs: &mut Vec<Hub>, ways: &mut Vec<Option<IfName>>) -> usize {
    let guest = port.guest.as_ref();
    let hint = guest.and_then(|guest| look.hints.get(&guest.vif?));
    let has_routes = port.link.as_ref().is_some_and(|link| look.routes.contains_key(link));
    let within = |hub: &Hub| {
        let holds = |address: IpAddr| hub.subnets.iter().any(|subnet| subnet.contains(address));
        hub.bridge.is_none() && guest.is_some_and(|g| g.addresses.iter().any(|address| holds(address.ip())))
    };
    let named = hint.and_then(|hint| hint.network);
    let of_network =
        hubs.iter().position(|hub| hub.bridge.is_none() && named.is_some_and(|n| hub.networks.contains(&n)));
    if let Some(at) = of_network.or_else(|| has_routes.then(|| hubs.iter().position(within)).flatten()) {
        return at;
    }
    let (kind, way) = match hint.and_then(|hint| hint.attachment.as_ref()) {
        Some(Attachment::Nat { egress, .. }) => (HubKind::Nat, egress.or(look.default_route)),
        Some(Attachment::Routed { .. }) => (HubKind::Routed, look.default_route),
        _ if has_routes => (HubKind::Routed, look.default_route),
        _ => (HubKind::Nothing, None),
    };
    let is_it = |(hub, w): (&Hub, &Option<IfName>)| {
        hub.kind == kind && hub.networks.is_empty() && hub.bridge.is_none() && *w == way
    };
    hubs.iter().zip(ways.iter()).position(is_it).unwrap_or_else(|| {
        let mut hub = Hub::new(kind);
        // What dom0 has on this vif it has on all of them.
        if kind != HubKind::Nothing
            && let Some(link) = &port.link
        {
            hub.addresses = look.addresses_of(link);
        }
        hubs.push(hub);
        ways.push(way);
        hubs.len() - 1
    })
}

/// Guests in the order of their domains, other links behind them; the emulated twin of a vif is part of it.
fn in_order_of_guests(ports: Vec<Port>) -> Vec<Port> {
    let mut guests: BTreeMap<(VifId, bool), Port> = BTreeMap::new();
    let mut others = Vec::new();
    for port in ports {
        match port.guest.as_ref().and_then(|guest| guest.vif) {
            Some(id) => drop(guests.insert((id, port.twin.is_some()), port)),
            None => others.push(port),
        }
    }
    let mut all: Vec<Port> = Vec::new();
    for ((id, is_twin), port) in guests {
        match all.last_mut().filter(|last| is_twin && last.guest.as_ref().and_then(|g| g.vif) == Some(id)) {
            Some(vif) => vif.twin = port.link,
            None => all.push(Port { twin: None, ..port }),
        }
    }
    all.extend(others);
    all
}
