//! A recording, joined: each vif with its link, its record, its nodes and its domain.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use crate::exec::Entry;
use crate::gather;
use crate::model::{
    Attach, Attachment, DevId, DomId, IfName, MacAddr, Network, NetworkMode, Resolved, Started, Subject, VifId, VifSpec,
};
use crate::plan::{Goal, need};
use crate::recording::Recording;
use crate::snapshot::{Details, Link, LinkDetails, LinkKind, NftTableId, Snapshot};
use crate::text::printable;

/// What the checks look at.
pub(super) struct Seen<'a> {
    pub(super) recording: &'a Recording,
    pub(super) vifs: Vec<Vif<'a>>,
    /// The links of vifs.
    of_vifs: BTreeSet<IfName>,
}

/// One vif, and what is known of it from each side.
pub(super) struct Vif<'a> {
    pub(super) id: VifId,
    /// The domain's name, as xenstore has it.
    pub(super) domain: Option<&'a str>,
    pub(super) link: Option<(&'a IfName, &'a Link)>,
    /// The wish that it was attached with by our doing.
    pub(super) attach: Option<&'a Attach>,
    /// Its nodes in xenstore; `None` where there are none, or xenstore was not looked at.
    pub(super) node: Option<Node<'a>>,
}

/// A vif's nodes in xenstore, by their names.
#[derive(Default)]
pub(super) struct Node<'a> {
    pub(super) backend: BTreeMap<&'a str, &'a str>,
    pub(super) frontend: BTreeMap<&'a str, &'a str>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(recording: &'a Recording) -> Self {
        let by_index: BTreeMap<u32, (&IfName, &Link)> =
            gather::map(recording.snapshot.links.iter().map(|(name, link)| (link.index, (name, link))));
        let mut vifs: BTreeMap<VifId, Vif<'a>> = BTreeMap::new();
        let new = |id: VifId| Vif { id, domain: recording.domain_name(id.domid), link: None, attach: None, node: None };
        for entry in &recording.records {
            let Subject::Vif(id) = entry.subject else { continue };
            let Goal::Resolved(Resolved::Attach(a)) = &entry.goal else { continue };
            let vif = vifs.entry(id).or_insert_with(|| new(id));
            vif.attach = Some(&a.wish);
            vif.link = link_of(entry, &a.wish, a.found.device, &by_index, &recording.snapshot);
        }
        for (name, link) in &recording.snapshot.links {
            if let Some(id) = VifId::from_vif_name(name.as_str()) {
                vifs.entry(id).or_insert_with(|| new(id)).link.get_or_insert((name, link));
            }
        }
        for (id, node) in nodes(recording) {
            let vif = vifs.entry(id).or_insert_with(|| new(id));
            if vif.link.is_none() {
                // A vif that another program attached has the name that its node says.
                vif.link = node.backend.get("vifname").and_then(|name| recording.snapshot.links.get_key_value(*name));
            }
            vif.node = Some(node);
        }
        let vifs: Vec<Vif<'a>> = vifs.into_values().collect();
        let of_vifs = gather::set(vifs.iter().filter_map(|vif| vif.link.map(|(name, _)| *name)));
        Seen { recording, vifs, of_vifs }
    }

    pub(super) fn snapshot(&self) -> &'a Snapshot {
        &self.recording.snapshot
    }

    pub(super) fn details(&self) -> &'a Details {
        &self.recording.details
    }

    pub(super) fn link(&self, name: &IfName) -> Option<&'a Link> {
        self.recording.snapshot.links.get(name)
    }

    /// Details of a link; `None` of one that was not looked at.
    pub(super) fn details_of(&self, name: &IfName) -> Option<&'a LinkDetails> {
        self.recording.details.links.get(name)
    }

    pub(super) fn started(&self) -> &'a [Started] {
        &self.recording.networks
    }

    /// Whether this could not be looked at.
    pub(super) fn is_unseen(&self, what: &str) -> bool {
        self.recording.unseen.iter().any(|unseen| unseen.what == what)
    }

    /// Whether xenstore was looked at: without it nothing follows from a missing node.
    pub(super) fn has_store(&self) -> bool {
        !self.recording.store.is_empty()
    }

    /// The started networks whose bridge has an uplink: bridge and uplink, by its present name.
    pub(super) fn uplinks(&self) -> impl Iterator<Item = (&'a Network, IfName, IfName)> + '_ {
        self.started().iter().filter_map(|s| match s.network.mode() {
            NetworkMode::Bridge(b) => {
                Some((&s.network, b.bridge.name(), b.uplink.map(|uplink| b.uplink_name.unwrap_or(uplink))?))
            }
            _ => None,
        })
    }

    /// Bridges with at least one vif, or of a started network.
    pub(super) fn bridges(&self) -> BTreeSet<IfName> {
        let of_vifs =
            self.vifs.iter().flat_map(|vif| [vif.link.and_then(|(_, link)| link.master), vif.bridge()]).flatten();
        let of_networks = self.started().iter().filter_map(|s| s.network.bridge().map(|b| b.name()));
        let is_there = |name: &IfName| self.link(name).is_some_and(|l| l.kind == LinkKind::Bridge);
        gather::set(of_vifs.chain(of_networks).filter(is_there))
    }

    /// Whether a link is one of a guest: a vif or an emulated twin.
    pub(super) fn is_of_guest(&self, name: &IfName) -> bool {
        VifId::from_vif_name(name.as_str()).is_some()
            || name.as_str().ends_with("-emu")
            || name.as_str().starts_with("tap")
            || self.of_vifs.contains(name)
    }

    /// The ports of a bridge that lead elsewhere than to guests.
    pub(super) fn outer_ports(&self, bridge: IfName) -> Vec<(&'a IfName, &'a Link)> {
        let is_port = |(_, l): &(&IfName, &Link)| l.master == Some(bridge);
        self.snapshot().links.iter().filter(is_port).filter(|(name, _)| !self.is_of_guest(name)).collect()
    }

    /// The objects of findings that one thing stands on, itself among them, as findings name them. Empty where there is no such thing.
    pub(super) fn related(&self, what: &str) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let is_vif = |vif: &&Vif<'_>| {
            vif.id.to_string() == what
                || vif.domain == Some(what)
                || vif.id.domid.to_string() == what
                || vif.link.is_some_and(|(name, _)| name.as_str() == what)
        };
        for vif in self.vifs.iter().filter(is_vif) {
            all.insert(vif.id.to_string());
            all.extend(vif.link.map(|(name, _)| name.to_string()));
            self.stands_on(vif, &mut all);
        }
        for s in self.started().iter().filter(|s| s.network.name().as_str() == what) {
            self.of_network(s, &mut all);
            let is_guest = |vif: &&Vif<'_>| {
                let network = vif.attach.and_then(|a| a.network);
                network == Some(s.network.name())
                    || vif.bridge().is_some_and(|b| s.network.bridge().is_some_and(|own| own.name() == b))
            };
            all.extend(self.vifs.iter().filter(is_guest).map(|vif| vif.id.to_string()));
        }
        if self.snapshot().links.keys().any(|name| name.as_str() == what) {
            all.insert(what.to_owned());
        }
        all
    }

    fn stands_on(&self, vif: &Vif<'_>, all: &mut BTreeSet<String>) {
        let network = vif.attach.and_then(|a| a.network).or(vif.bridge());
        let bridge = vif.bridge().or(vif.link.and_then(|(_, link)| link.master));
        all.extend(bridge.map(|b| b.to_string()));
        if let Some(bridge) = bridge {
            all.extend(self.outer_ports(bridge).iter().map(|(name, _)| name.to_string()));
        }
        let is_its = |s: &&Started| {
            Some(s.network.name()) == network || (bridge.is_some() && s.network.bridge().map(|b| b.name()) == bridge)
        };
        for s in self.started().iter().filter(is_its) {
            self.of_network(s, all);
        }
        if vif.attach.is_some_and(|a| a.guard.is_some()) {
            all.insert(format!("nft table {}", NftTableId::guard()));
        }
        // Other programs' tables are told of by the guests that they drop.
    }

    fn of_network(&self, s: &Started, all: &mut BTreeSet<String>) {
        all.insert(format!("network {}", s.network.name()));
        all.insert(s.network.name().to_string());
        all.extend(s.network.bridge().map(|b| b.name().to_string()));
        all.extend(s.outside.map(|o| o.to_string()));
        // What leads outside may be the bridge of another network, with an uplink of its own.
        for (network, bridge, uplink) in self.uplinks() {
            if network.name() == s.network.name() || s.outside == Some(bridge) {
                all.extend([bridge.to_string(), uplink.to_string()]);
            }
        }
        if !s.network.is_bridge() {
            all.insert(format!("nft table {}", NftTableId::gate()));
        }
    }

    /// What a guest is called in a sentence: `web01 (vif5.0)`.
    pub(super) fn who(&self, id: VifId) -> String {
        who(id, self.recording.domain_name(id.domid))
    }
}

impl<'a> Vif<'a> {
    /// Whether this library attached it.
    pub(super) fn has_record(&self) -> bool {
        self.attach.is_some()
    }

    pub(super) fn who(&self) -> String {
        who(self.id, self.domain)
    }

    /// The bridge that it is to be on: as it was attached, or as its node says.
    pub(super) fn bridge(&self) -> Option<IfName> {
        match (self.attach, &self.node) {
            (Some(Attach { attachment: Attachment::Bridge { bridge, .. }, .. }), _) => Some(*bridge),
            (Some(_), _) => None,
            (None, Some(node)) => node.is_bridged().then(|| node.backend.get("bridge")?.parse().ok()).flatten(),
            (None, None) => None,
        }
    }

    /// The guest's MAC: what it was attached with, or what its node says.
    pub(super) fn mac(&self) -> Option<MacAddr> {
        let declared = self.attach.and_then(|a| a.guard.as_ref()).map(|guard| guard.mac);
        declared.or_else(|| self.node.as_ref()?.backend.get("mac")?.parse().ok())
    }

    /// The guest's single addresses: what it was attached with, or what its node says.
    pub(super) fn addresses(&self) -> Vec<IpNetwork> {
        let declared: Vec<IpNetwork> = match self.attach {
            Some(a) => {
                let guarded = a.guard.iter().filter_map(|g| g.addresses.as_ref()).flatten();
                a.attachment.guest().iter().chain(guarded).copied().collect()
            }
            None => Vec::new(),
        };
        if !declared.is_empty() {
            return declared;
        }
        let text = self.node.as_ref().and_then(|node| node.backend.get("ip")).copied().unwrap_or_default();
        VifSpec::parse_ip(text).unwrap_or_default()
    }

    pub(super) fn is_routed(&self) -> bool {
        match (self.attach, &self.node) {
            (Some(a), _) => !matches!(a.attachment, Attachment::Bridge { .. }),
            (None, Some(node)) => node.script().is_some_and(|s| s.ends_with("vif-nat") || s.ends_with("vif-route")),
            (None, None) => false,
        }
    }
}

impl<'a> Node<'a> {
    /// The script that its toolstack runs for it.
    pub(super) fn script(&self) -> Option<&'a str> {
        self.backend.get("script").copied()
    }

    /// Whether its script makes it a port of a bridge of Linux.
    pub(super) fn is_bridged(&self) -> bool {
        self.script().is_none_or(|script| script.ends_with("vif-bridge"))
    }

    /// The state of one end (`xen/include/public/io/xenbus.h`, `enum xenbus_state`).
    pub(super) fn state(of: &BTreeMap<&str, &str>) -> Option<u32> {
        of.get("state")?.trim().parse().ok()
    }
}

fn who(id: VifId, domain: Option<&str>) -> String {
    match domain {
        Some(name) => format!("{} ({id})", printable(name)),
        None => id.to_string(),
    }
}

/// What two domains of one guest share of their names: xl gives a domain that migrates a suffix, and libxl that of a device model.
pub(super) fn base_name(name: &str) -> &str {
    ["--incoming", "--migratedaway", "-dm"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Whether several vifs are of one guest: one that migrates, or has a device model of its own.
pub(super) fn are_one_guest(vifs: &[&Vif<'_>]) -> bool {
    let names: BTreeSet<Option<&str>> = gather::set(vifs.iter().map(|v| v.domain.map(base_name)));
    let domains: BTreeSet<DomId> = gather::set(vifs.iter().map(|v| v.id.domid));
    names.len() == 1 && !names.contains(&None) && domains.len() == vifs.len()
}

/// The link of an attached vif: by its index, as every part of this library finds it.
fn link_of<'a>(
    entry: &Entry,
    wish: &Attach,
    device: IfName,
    by_index: &BTreeMap<u32, (&'a IfName, &'a Link)>,
    now: &'a Snapshot,
) -> Option<(&'a IfName, &'a Link)> {
    let was = entry.before.links.get(&device)?;
    let found = *by_index.get(&was.index)?;
    need::is_link_of(wish, was, &wish.id.vif_name(), found, now).then_some(found)
}

/// The nodes of all vifs.
fn nodes(recording: &Recording) -> BTreeMap<VifId, Node<'_>> {
    let mut all: BTreeMap<VifId, Node<'_>> = BTreeMap::new();
    for (path, value) in &recording.store {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        let id = |domid: &str, devid: &str| {
            Some(VifId::new(DomId::new(domid.parse().ok()?).ok()?, DevId::new(devid.parse().ok()?).ok()?))
        };
        match parts[..] {
            ["", "local", "domain", _, "backend", "vif", domid, devid, name] => {
                if let Some(id) = id(domid, devid) {
                    all.entry(id).or_default().backend.insert(name, value);
                }
            }
            ["", "local", "domain", domid, "device", "vif", devid, name] => {
                if let Some(id) = id(domid, devid) {
                    all.entry(id).or_default().frontend.insert(name, value);
                }
            }
            _ => {}
        }
    }
    // A frontend alone is what a guest has written.
    all.retain(|_, node| !node.backend.is_empty());
    all
}
