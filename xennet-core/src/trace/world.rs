//! What a recording says of the host, in the order in which a packet asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use crate::gather;
use crate::model::{
    Attachment, DevId, DomId, GuestMac, IfName, MacAddr, NetworkMode, Resolved, Started, Subject, VifId, VifSpec,
};
use crate::plan::Goal;
use crate::recording::Recording;
use crate::snapshot::{
    Address, BridgeState, Family, Link, LinkDetails, LinkKind, NftBase, NftFamily, NftHook, NftTable, NftTableId,
    PortForwarding, PortState, Route, Rule, SysctlKey,
};

/// A guest's vif.
#[derive(Clone, Debug)]
pub(super) struct GuestVif<'a> {
    pub(super) id: VifId,
    /// The link by which it is connected now.
    pub(super) link: IfName,
    /// The domain's name.
    pub(super) domain: Option<&'a str>,
    pub(super) mac: Option<MacAddr>,
    /// Its addresses and networks; none where nobody has said which.
    pub(super) addresses: Vec<IpNetwork>,
    pub(super) attachment: Option<&'a Attachment>,
    /// The network that it belongs to.
    pub(super) network: Option<&'a Started>,
}

impl GuestVif<'_> {
    /// The guest's name for people: the domain's, or its number.
    pub(super) fn name(&self) -> String {
        self.domain.map_or_else(|| format!("domain {}", self.id.domid), str::to_owned)
    }

    /// Whether it has an address, as far as that is known.
    pub(super) fn has(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|n| n.contains(address)) || self.link_local().is_some_and(|own| own == address)
    }

    fn link_local(&self) -> Option<IpAddr> {
        let [a, b, c, d, e, f] = self.mac?.octets();
        let own = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
        Some(IpAddr::V6(own.into()))
    }

    /// Its single addresses of a family.
    pub(super) fn hosts(&self, family: Family) -> Vec<IpAddr> {
        let single = |n: &&IpNetwork| crate::model::vif::is_single(n) || n.ip() != n.network();
        let own = self.addresses.iter().filter(single).map(IpNetwork::ip);
        let global = |ip: &IpAddr| !matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local());
        let mut all: Vec<IpAddr> = own.filter(|ip| Family::of(ip) == family).filter(global).collect();
        all.dedup();
        all
    }
}

/// Chains at a hook, by their priority.
pub(super) type Hooked<'a> = Vec<(NftBase, &'a NftTableId, &'a NftTable, &'a str)>;

/// The host of a recording.
pub(super) struct World<'a> {
    pub(super) recording: &'a Recording,
    pub(super) guests: Vec<GuestVif<'a>>,
    by_link: BTreeMap<IfName, usize>,
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    /// Links by this domain's addresses.
    own: BTreeMap<IpAddr, Vec<&'a Address>>,
    addresses: BTreeMap<IfName, Vec<&'a Address>>,
    routes: BTreeMap<(u32, Family, u8), BTreeMap<IpAddr, Vec<&'a Route>>>,
    rules: Vec<&'a Rule>,
    ports: BTreeMap<IfName, Vec<IfName>>,
    hooks: BTreeMap<(NftFamily, NftHook), Hooked<'a>>,
    /// Tables of which the recording has chains without rules.
    unread: BTreeSet<&'a NftTableId>,
}

/// The host part cut off.
pub(super) fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    IpNetwork::new(address, prefix).map_or(address, |n| n.network())
}

impl<'a> World<'a> {
    pub(super) fn new(recording: &'a Recording) -> Self {
        let snapshot = &recording.snapshot;
        let mut addresses: BTreeMap<IfName, Vec<&Address>> = BTreeMap::new();
        let mut own: BTreeMap<IpAddr, Vec<&Address>> = BTreeMap::new();
        for address in &snapshot.addresses {
            addresses.entry(address.link).or_default().push(address);
            own.entry(address.address.ip()).or_default().push(address);
        }
        for all in addresses.values_mut().filter(|all| all.len() > 1) {
            all.sort_by_key(|a| (a.address.is_ipv6(), snapshot.hidden.position(a)));
        }
        let mut routes: BTreeMap<_, BTreeMap<IpAddr, Vec<&Route>>> = BTreeMap::new();
        for route in &snapshot.routes {
            let destination = route.destination;
            let family = Family::of(&destination.ip());
            let of_length = routes.entry((route.table, family, destination.prefix())).or_default();
            of_length.entry(destination.network()).or_default().push(route);
        }
        let mut rules: Vec<&Rule> = snapshot.rules.iter().collect();
        rules.sort_by_key(|r| r.priority);
        let mut ports: BTreeMap<IfName, Vec<IfName>> = BTreeMap::new();
        for (name, link) in &snapshot.links {
            if let Some(master) = link.master {
                ports.entry(master).or_default().push(*name);
            }
        }
        let mut world = World {
            recording,
            guests: Vec::new(),
            by_link: BTreeMap::new(),
            by_address: BTreeMap::new(),
            own,
            addresses,
            routes,
            rules,
            ports,
            hooks: BTreeMap::new(),
            unread: BTreeSet::new(),
        };
        world.find_chains();
        world.find_guests();
        world
    }

    fn find_chains(&mut self) {
        let Recording { snapshot, details, .. } = self.recording;
        let own = snapshot.nft.iter().filter(|(id, _)| !details.foreign.contains_key(*id));
        let mut all: Hooked<'a> = Vec::new();
        for (id, table) in own {
            if !id.is_own() {
                // Of others' tables a snapshot has the base chains alone.
                self.unread.insert(id);
            }
            all.extend(bases(id, table));
        }
        for (id, table) in &details.foreign {
            all.extend(bases(id, table));
        }
        for chain in all {
            self.hooks.entry((chain.1.family, chain.0.hook)).or_default().push(chain);
        }
        for chains in self.hooks.values_mut() {
            chains.sort_by_key(|(base, ..)| base.priority);
        }
    }

    fn find_guests(&mut self) {
        let Recording { snapshot, records, networks, store, .. } = self.recording;
        let mut found: BTreeMap<VifId, GuestVif<'a>> = BTreeMap::new();
        let fresh = |id: VifId, link: IfName| GuestVif {
            id,
            link,
            domain: self.recording.domain_name(id.domid),
            mac: None,
            addresses: Vec::new(),
            attachment: None,
            network: None,
        };
        for link in snapshot.links.keys() {
            if let Some(id) = VifId::from_vif_name(link.as_str()) {
                found.insert(id, fresh(id, *link));
            }
        }
        for entry in records {
            let (Subject::Vif(id), Goal::Resolved(Resolved::Attach(resolved))) = (entry.subject, &entry.goal) else {
                continue;
            };
            let wish = &resolved.wish;
            let Some(link) = [wish.name, id.vif_name()].into_iter().find(|l| snapshot.links.contains_key(l)) else {
                continue;
            };
            let guest = found.entry(id).or_insert_with(|| fresh(id, link));
            guest.link = link;
            guest.attachment = Some(&wish.attachment);
            let text: Option<VifSpec> = entry.text.as_deref().and_then(|t| t.parse().ok());
            guest.mac = wish.guard.as_ref().map(|g| g.mac).or_else(|| Some(text.as_ref()?.mac()?.get()));
            let declared = text.as_ref().map(|t| t.ip().to_vec()).unwrap_or_default();
            guest.addresses = match (&declared[..], wish.attachment.guest(), &wish.guard) {
                ([], [], Some(guard)) => guard.addresses.iter().flatten().copied().collect(),
                ([], routed, _) => routed.to_vec(),
                _ => declared,
            };
            let bridge = match &wish.attachment {
                Attachment::Bridge { bridge, .. } => Some(*bridge),
                _ => None,
            };
            let named = match &wish.attachment {
                Attachment::Nat { network, .. } | Attachment::Routed { network, .. } => *network,
                Attachment::Bridge { .. } => wish.network,
            };
            let of = |started: &&Started| {
                Some(started.network.name()) == named.or(wish.network)
                    || bridge.is_some_and(|b| started.network.bridge().is_some_and(|spec| spec.name() == b))
            };
            guest.network = networks.iter().find(of);
        }
        for (path, value) in store {
            let mut parts = path.as_str().rsplit('/');
            let (Some(key), Some(devid), Some(domid), Some("vif")) =
                (parts.next(), parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let (Ok(domid), Ok(devid)) = (domid.parse::<DomId>(), devid.parse::<DevId>()) else { continue };
            let Some(guest) = found.get_mut(&VifId::new(domid, devid)) else { continue };
            match key {
                "mac" if guest.mac.is_none() => guest.mac = value.parse::<GuestMac>().ok().map(GuestMac::get),
                "ip" if guest.addresses.is_empty() => {
                    guest.addresses = VifSpec::parse_ip(value).unwrap_or_default();
                }
                _ => {}
            }
        }
        let mut through: BTreeMap<IfName, Vec<IpNetwork>> = BTreeMap::new();
        for route in snapshot.routes.iter().filter(|r| r.gateway.is_none()) {
            let length = if route.destination.is_ipv4() { 32 } else { 128 };
            if let Some(link) = route.link.filter(|_| route.destination.prefix() == length) {
                through.entry(link).or_default().push(route.destination);
            }
        }
        for guest in found.values_mut().filter(|g| g.addresses.is_empty()) {
            // What is routed to it, and what it has been seen with.
            let routed = through.get(&guest.link).cloned().unwrap_or_default();
            let learned = self.recording.details.neighbours.iter();
            let learned = learned.filter(|n| n.mac.is_some() && (n.mac == guest.mac || n.link == guest.link));
            guest.addresses = routed.into_iter().chain(learned.map(|n| IpNetwork::from(n.address))).collect();
            guest.addresses.dedup();
        }
        self.guests = found.into_values().collect();
        for (at, guest) in self.guests.iter().enumerate() {
            self.by_link.insert(guest.link, at);
            // The emulated twin is the same guest.
            if let Some(twin) = guest.id.tap_name().ok().filter(|twin| snapshot.links.contains_key(twin)) {
                self.by_link.insert(twin, at);
            }
            for address in &guest.addresses {
                self.by_address.entry(address.ip()).or_default().push(at);
            }
        }
    }

    pub(super) fn link(&self, name: &IfName) -> Option<&'a Link> {
        self.recording.snapshot.links.get(name)
    }

    pub(super) fn details(&self, name: &IfName) -> Option<&'a LinkDetails> {
        self.recording.details.links.get(name)
    }

    pub(super) fn bridge(&self, name: &IfName) -> Option<&'a BridgeState> {
        self.link(name).filter(|l| l.kind == LinkKind::Bridge)?.bridge.as_ref()
    }

    pub(super) fn is_bridge(&self, name: &IfName) -> bool {
        self.link(name).is_some_and(|l| l.kind == LinkKind::Bridge)
    }

    pub(super) fn port(&self, name: &IfName) -> Option<&'a PortState> {
        self.link(name)?.port.as_ref()
    }

    /// The bridge that a link is a port of.
    pub(super) fn bridge_of(&self, name: &IfName) -> Option<IfName> {
        self.link(name)?.master.filter(|m| self.is_bridge(m))
    }

    /// The ports of a bridge.
    pub(super) fn ports(&self, bridge: &IfName) -> &[IfName] {
        self.ports.get(bridge).map_or(&[], Vec::as_slice)
    }

    /// Why nothing goes through a link: it is down, or has no carrier.
    pub(super) fn dead(&self, name: &IfName) -> Option<String> {
        let Some(link) = self.link(name) else { return Some(format!("link {name} is not there")) };
        if !link.up {
            return Some(format!("link {name} is down"));
        }
        let details = self.details(name)?;
        (!details.carrier && link.kind != LinkKind::Loopback).then(|| format!("link {name} has no carrier"))
    }

    /// Why a bridge port does not forward.
    pub(super) fn closed(&self, port: &IfName) -> Option<String> {
        if let Some(why) = self.dead(port) {
            return Some(why);
        }
        let state = self.details(port)?.port_state?;
        let word = match state {
            PortForwarding::Forwarding => return None,
            PortForwarding::Disabled => "is disabled",
            PortForwarding::Listening | PortForwarding::Learning => "does not forward yet: the forward delay runs",
            PortForwarding::Blocking => "is blocked by the spanning tree",
        };
        Some(format!("bridge port {port} {word}"))
    }

    /// The guest behind a link.
    pub(super) fn guest_at(&self, link: &IfName) -> Option<usize> {
        self.by_link.get(link).copied()
    }

    /// The guests that have an address.
    pub(super) fn guests_with(&self, address: IpAddr) -> Vec<usize> {
        if let Some(found) = self.by_address.get(&address) {
            return found.clone();
        }
        let among =
            |g: &GuestVif<'_>| g.addresses.iter().any(|n| !crate::model::vif::is_single(n) && n.contains(address));
        self.guests.iter().enumerate().filter(|(_, g)| among(g)).map(|(at, _)| at).collect()
    }

    /// A setting, if the recording has it.
    pub(super) fn setting(&self, key: &str) -> Option<i64> {
        let key: SysctlKey = key.parse().ok()?;
        self.recording.snapshot.sysctls.get(&key)?.trim().parse().ok()
    }

    /// A setting of a link; 0 where it is not known.
    pub(super) fn conf(&self, family: Family, link: &str, name: &str) -> i64 {
        self.setting(&format!("net/{}/conf/{link}/{name}", family.sysctl_folder())).unwrap_or(0)
    }

    /// The larger one of a link's setting and that of all links (`IN_DEV_MAXCONF`, and `IN_DEV_ORCONF` for switches).
    pub(super) fn most(&self, family: Family, link: &IfName, name: &str) -> i64 {
        self.conf(family, "all", name).max(self.conf(family, link.as_str(), name))
    }

    /// This domain's addresses on a link, in the kernel's order.
    pub(super) fn addresses_on(&self, link: &IfName) -> &[&'a Address] {
        self.addresses.get(link).map_or(&[], Vec::as_slice)
    }

    /// The links that have an address of this domain's. An IPv4 address works while its link is down, too: its local route stays
    /// (`fib_sync_down_dev`).
    pub(super) fn links_with(&self, address: IpAddr) -> impl Iterator<Item = IfName> + '_ {
        let all = self.own.get(&address).map_or(&[][..], Vec::as_slice);
        let usable = |a: &&&Address| {
            a.address.is_ipv4() || (a.flags & Address::IS_DUPLICATE == 0 && self.link(&a.link).is_some_and(|l| l.up))
        };
        all.iter().filter(usable).map(|a| a.link)
    }

    /// Whether somebody has given this domain an address, whether its link is up or not.
    pub(super) fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains_key(&address)
    }

    pub(super) fn own_addresses(&self) -> impl Iterator<Item = &'a Address> + '_ {
        self.recording.snapshot.addresses.iter()
    }

    pub(super) fn rules(&self, family: Family) -> impl Iterator<Item = &'a Rule> + '_ {
        self.rules.iter().copied().filter(move |r| r.family == family)
    }

    /// The routes of a table to exactly this network.
    pub(super) fn routes(&self, table: u32, network: IpAddr, prefix: u8) -> &[&'a Route] {
        let of_length = self.routes.get(&(table, Family::of(&network), prefix));
        of_length.and_then(|m| m.get(&network)).map_or(&[], Vec::as_slice)
    }

    /// The base chains at a hook, lowest priority first.
    pub(super) fn chains(&self, family: NftFamily, hook: NftHook) -> &Hooked<'a> {
        static NONE: Hooked<'static> = Vec::new();
        self.hooks.get(&(family, hook)).unwrap_or(&NONE)
    }

    /// Whether a table's rules are missing in the recording.
    pub(super) fn is_unread(&self, id: &NftTableId) -> bool {
        self.unread.contains(id)
    }

    /// The started network of a bridge, or of the link of a guest.
    pub(super) fn network_of_bridge(&self, bridge: &IfName) -> Option<&'a Started> {
        self.recording.networks.iter().find(|s| s.network.bridge().is_some_and(|b| b.name() == *bridge))
    }

    /// The ports of a bridge behind which the outside is.
    pub(super) fn uplinks(&self, bridge: &IfName) -> Vec<IfName> {
        let named = self.network_of_bridge(bridge).and_then(|s| match s.network.mode() {
            NetworkMode::Bridge(b) => b.uplink_name.or(b.uplink),
            _ => None,
        });
        let of_guest = |p: &IfName| {
            self.guest_at(p).is_some() || VifId::from_tap_name(p.as_str()).is_some() || p.as_str().starts_with("tap")
        };
        let others: Vec<IfName> = self.ports(bridge).iter().copied().filter(|p| !of_guest(p)).collect();
        match named.filter(|n| others.contains(n)) {
            Some(first) => std::iter::once(first).chain(others.into_iter().filter(|p| *p != first)).collect(),
            None => others,
        }
    }

    /// The hardware address by which an address is known on a link.
    pub(super) fn known_mac(&self, link: &IfName, address: IpAddr) -> Option<MacAddr> {
        let learned = self.recording.details.neighbours.iter();
        learned.filter(|n| n.link == *link && n.address == address).find_map(|n| n.mac)
    }

    /// The single bits of permanent neighbours of a link.
    pub(super) fn permanent(&self, link: &IfName, address: IpAddr) -> Option<MacAddr> {
        let found = self.recording.snapshot.neighbours.iter().find(|n| n.link == *link && n.address == address);
        match found?.kind {
            crate::snapshot::NeighbourKind::Permanent(mac) => Some(mac),
            crate::snapshot::NeighbourKind::Proxy => {
                let all = self.recording.snapshot.neighbours.iter();
                all.filter(|n| n.link == *link && n.address == address).find_map(|n| match n.kind {
                    crate::snapshot::NeighbourKind::Permanent(mac) => Some(mac),
                    crate::snapshot::NeighbourKind::Proxy => None,
                })
            }
        }
    }

    /// Whether this domain answers on a link for an address that is elsewhere.
    pub(super) fn is_proxied(&self, link: &IfName, address: IpAddr) -> bool {
        use crate::snapshot::{Neighbour, NeighbourKind};
        let proxy = Neighbour { link: *link, address, kind: NeighbourKind::Proxy };
        self.recording.snapshot.neighbours.contains(&proxy)
    }

    /// The default route of a family with the smallest metric.
    fn default_route(&self, family: Family) -> Option<&'a Route> {
        let any: IpAddr = match family {
            Family::Ipv4 => std::net::Ipv4Addr::UNSPECIFIED.into(),
            Family::Ipv6 => std::net::Ipv6Addr::UNSPECIFIED.into(),
        };
        self.routes(Route::MAIN, any, 0).iter().copied().min_by_key(|r| r.metric)
    }

    /// This domain's link to the outside, by the default routes and the started networks.
    pub(super) fn default_link(&self, family: Family) -> Option<IfName> {
        let of_route = |r: &Route| r.link.or_else(|| r.next_hops.first().and_then(|h| h.link));
        let by_route = self.default_route(family).and_then(of_route);
        by_route.or_else(|| self.recording.networks.iter().find_map(|s| s.outside))
    }

    /// The gateway of the default route.
    pub(super) fn default_gateway(&self, family: Family) -> Option<IpAddr> {
        self.default_route(family).and_then(|r| r.gateways().next()).map(|(gateway, _)| gateway)
    }

    /// Names of all links with addresses.
    pub(super) fn all_names(&self) -> BTreeSet<String> {
        gather::set(self.guests.iter().map(GuestVif::name))
    }
}

fn bases<'a>(
    id: &'a NftTableId,
    table: &'a NftTable,
) -> impl Iterator<Item = (NftBase, &'a NftTableId, &'a NftTable, &'a str)> {
    let is_dormant = table.flags & NftTable::DORMANT != 0;
    let base = move |(name, chain): (&'a String, &'a crate::snapshot::NftChain)| {
        Some((chain.base.filter(|_| !is_dormant)?, id, table, name.as_str()))
    };
    table.chains.iter().filter_map(base)
}
