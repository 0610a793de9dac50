//! A recording of all that can be seen of this host.

use std::collections::{BTreeMap, BTreeSet};

use super::{Host, Records};
use crate::backend::Backend;
use crate::backend::fake::Fake;
use crate::exec::Entry;
use crate::gather;
use crate::model::{Attachment, DevId, DomId, IfName, Resolved, Started, VifId};
use crate::plan::{Goal, accept};
use crate::recording::{Described, Recording, Service, Surroundings, Taken, Unseen, text_of};
use crate::services;
use crate::snapshot::{Family, Link, NftFamily, NftHook, Part, Scope, Snapshot, StorePath, SysctlKey};
use crate::tables;
use crate::xenstore::{Store, StoreError};

/// The settings of a link that affect a guest's packets.
const OF_LINK: [(Family, &[&str]); 2] = [
    (
        Family::Ipv4,
        &[
            "forwarding",
            "rp_filter",
            "proxy_arp",
            "arp_ignore",
            "arp_announce",
            "arp_filter",
            "accept_local",
            "route_localnet",
        ],
    ),
    (Family::Ipv6, &["disable_ipv6", "forwarding", "accept_ra", "proxy_ndp", "autoconf", "accept_dad"]),
];

/// The settings of the host that affect them. A setting that the kernel does not have is left out.
const OF_HOST: [&str; 12] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/bridge/bridge-nf-call-iptables",
    "net/bridge/bridge-nf-call-ip6tables",
    "net/bridge/bridge-nf-call-arptables",
    "net/bridge/bridge-nf-filter-vlan-tagged",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_count",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/ipv4/ping_group_range",
    "net/core/netdev_max_backlog",
];

/// The nodes that a frontend driver writes. A guest can make any number of other nodes beside them.
const OF_FRONTEND: [&str; 10] = [
    "backend",
    "backend-id",
    "feature-gso-tcpv4",
    "feature-no-csum-offload",
    "feature-rx-copy",
    "handle",
    "mac",
    "mtu",
    "multi-queue-num-queues",
    "state",
];

/// How much of a node's value is kept where the guest can write it, in bytes.
const OF_GUEST: usize = 256;

/// Which kernel settings are recorded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    All,
    None,
}

impl Host {
    /// All that can be seen of this host, and what could not be looked at, with the reason. Changes nothing. A listing: it grows with the
    /// host.
    ///
    /// The caller says when and where it is taken, what the file with the descriptions of networks has, and gives a connection to xenstore,
    /// or the reason why there is none; an empty reason where there can be none.
    pub fn record(
        &mut self,
        taken: Taken,
        described: Option<Described>,
        store: Result<&mut dyn Store, String>,
    ) -> Recording {
        self.recorded(taken, described, store, Settings::All)
    }

    /// The same without the settings of links, of which there are more than of all else.
    pub(super) fn glance(&mut self, taken: Taken, store: Result<&mut dyn Store, String>) -> Recording {
        self.recorded(taken, None, store, Settings::None)
    }

    fn recorded(
        &mut self,
        taken: Taken,
        described: Option<Described>,
        store: Result<&mut dyn Store, String>,
        kept: Settings,
    ) -> Recording {
        let mut unseen = Vec::new();
        let (details, missed) = found(&mut unseen, "carriers, counters and learned entries", self.backend.details());
        unseen.extend(missed.into_iter().map(|m| Unseen { what: m.what.into(), why: m.why.to_string() }));
        let networks = found(&mut unseen, "started networks", self.records.all_started());
        let records = found(&mut unseen, "records", self.records.newest_last());
        let snapshot = self.all_seen(&records, kept, &mut unseen);
        let open = match &self.records {
            Records::Dir(dir) => found(&mut unseen, "interrupted operations", dir.interrupted()),
            Records::Memory(_) => Vec::new(),
        };
        let awaited = networks.iter().map(|s| s.network.name()).filter(|name| self.records.is_awaited(name)).collect();
        let services = self.services_of(&networks, &mut unseen);
        let store = match store {
            // Where there can be none, none is missing.
            Err(why) if why.is_empty() => BTreeMap::new(),
            store => found(&mut unseen, "xenstore", store.and_then(|store| nodes(store).map_err(|e| e.to_string()))),
        };
        Recording {
            version: Recording::VERSION,
            taken,
            snapshot,
            details,
            networks,
            records,
            open,
            awaited,
            services,
            surroundings: Surroundings::default(),
            described,
            store,
            unseen,
        }
    }

    /// The dnsmasqs of these networks.
    fn services_of(&self, networks: &[Started], unseen: &mut Vec<Unseen>) -> Vec<Service> {
        let mut all = Vec::new();
        for network in networks.iter().map(|s| &s.network) {
            let Some(dir) = self.served_in(network) else { continue };
            let name = network.name();
            let found = found(unseen, &format!("dnsmasq of network {name}"), services::status(dir, &name));
            let one = |d: &services::Daemon| Service {
                network: name,
                part: d.part.name().into(),
                runs: d.pid.is_some(),
                unheard: d.unheard.clone(),
            };
            all.extend(found.iter().map(one));
            if found.is_empty() {
                all.push(Service { network: name, part: String::new(), runs: false, unheard: None });
            }
        }
        all
    }

    /// Whether it is a model of a kernel: nothing of the system that this process runs in belongs to it.
    pub(crate) fn is_in_memory(&self) -> bool {
        !self.backend.capabilities().programs
    }

    /// A rehearsal on what was recorded: the same objects, records and networks in memory. A vif that was not there is not there.
    pub fn from_recording(recording: &Recording) -> Host {
        Host::from_recording_with(recording, |fake| Box::new(fake))
    }

    /// As [`from_recording`](Self::from_recording), on the backend that `set_up` makes of the fake: with a netback that makes vifs of new
    /// guests, with faults, or shared with the caller.
    ///
    /// ```
    /// use xennet_core::backend::fake::Netback;
    /// use xennet_core::{DomId, Host, surroundings};
    /// let recording = surroundings::record(&mut Host::fake(), "networks.toml".as_ref(), None);
    /// let mut rehearsal = Host::from_recording_with(&recording, |fake| Box::new(fake.with_netback(Netback::Plays)));
    /// assert!(rehearsal.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?.steps > 0);
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn from_recording_with(recording: &Recording, set_up: impl FnOnce(Fake) -> Box<dyn Backend + Send>) -> Host {
        let fake = Fake::with_world(recording.snapshot.clone()).with_details(recording.details.clone());
        let mut host = Host::with_backend(set_up(fake));
        host.records = Records::remembering(recording.records.iter().cloned(), recording.networks.iter().cloned());
        host
    }

    /// The kernel's objects, one kind after the other, so that one that cannot be looked at does not hide the others.
    fn all_seen(&mut self, records: &[Entry], kept: Settings, unseen: &mut Vec<Unseen>) -> Snapshot {
        let mut seen = Snapshot::default();
        let mut add = |host: &mut Host, what: &str, scope: Scope| seen.merge(found(unseen, what, host.look(&scope)));
        add(self, "links, addresses, routes and neighbours", Scope::none().with(Part::Routing));
        for table in tables::all() {
            let id = (table.id)();
            add(self, &format!("nft table {id}"), Scope::none().with(Part::Nft(id.clone())));
        }
        for family in NftFamily::ALL {
            let chains = NftHook::ALL.map(|hook| Part::NftOthersAt(family, hook));
            add(self, "other programs' nft chains", Scope::from_iter(chains));
        }
        let accepts = records.iter().filter_map(Entry::started).map(accept::scope);
        add(self, ACCEPTS, accepts.fold(Scope::none(), Scope::union));
        if kept == Settings::All {
            // Those of a bridge's port say nothing: its frames go to the bridge. They are most of the links of a host with many guests. A vif
            // that is to be connected by routes may be a port by mistake.
            let routed: BTreeSet<IfName> = gather::set(records.iter().filter_map(routed_link));
            let counts = |(name, link): &(&IfName, &Link)| {
                let is_vif = VifId::from_vif_name(name.as_str()).is_some();
                (link.master.is_none() && (link.up || is_vif)) || routed.contains(*name)
            };
            let links: Vec<IfName> = seen.links.iter().filter(counts).map(|(name, _)| *name).collect();
            seen.merge(found(unseen, "kernel settings", self.look(&settings(&links))));
        }
        seen
    }
}

/// What is not looked at where the chains of others that have rules of networks cannot be read.
pub(crate) const ACCEPTS: &str = "rules of networks in other programs' nft chains";

/// The link of a vif that a record connects by routes.
fn routed_link(entry: &Entry) -> Option<IfName> {
    let Goal::Resolved(Resolved::Attach(a)) = &entry.goal else { return None };
    (!matches!(a.wish.attachment, Attachment::Bridge { .. })).then_some(a.wish.name)
}

/// The settings to read.
fn settings(links: &[IfName]) -> Scope {
    let host = OF_HOST.iter().filter_map(|key| key.parse::<SysctlKey>().ok());
    let all = [IfName::literal("all"), IfName::literal("default")];
    let links = all.iter().chain(links);
    let own = links.flat_map(|link| {
        OF_LINK
            .iter()
            .flat_map(move |(family, names)| names.iter().map(move |name| SysctlKey::conf(*family, link, name)))
    });
    host.chain(own).map(Part::Sysctl).collect()
}

/// The result, or the default; an error is noted, and the same reason only once.
fn found<T: Default, E: ToString>(unseen: &mut Vec<Unseen>, what: &str, result: Result<T, E>) -> T {
    result.unwrap_or_else(|e| {
        let new = Unseen { what: what.into(), why: e.to_string() };
        if !unseen.contains(&new) {
            unseen.push(new);
        }
        T::default()
    })
}

/// The nodes of all vifs of this domain, of their frontends, and the names of their domains.
fn nodes(store: &mut dyn Store) -> Result<BTreeMap<StorePath, String>, StoreError> {
    // Paths are built here, and never taken from values that a guest has written.
    let own = store.read("domid")?.unwrap_or_default();
    let own: u16 = text_of(&own).trim().parse().unwrap_or(0);
    let backend = format!("/local/domain/{own}/backend/vif");
    let mut paths = vec![(format!("/local/domain/{own}/name"), usize::MAX)];
    for domid in store.directory(&backend)?.unwrap_or_default().iter().filter_map(|name| name.parse::<DomId>().ok()) {
        paths.push((format!("/local/domain/{domid}/name"), usize::MAX));
        let devices = store.directory(&format!("{backend}/{domid}"))?.unwrap_or_default();
        for devid in devices.iter().filter_map(|name| name.parse::<DevId>().ok()) {
            let vif = format!("{backend}/{domid}/{devid}");
            let names = store.directory(&vif)?.unwrap_or_default();
            paths.extend(names.into_iter().map(|name| (format!("{vif}/{name}"), usize::MAX)));
            let frontend = format!("/local/domain/{domid}/device/vif/{devid}");
            paths.extend(OF_FRONTEND.iter().map(|name| (format!("{frontend}/{name}"), OF_GUEST)));
        }
    }
    let mut nodes = BTreeMap::new();
    for some in paths.chunks(64) {
        let asked: Vec<&str> = some.iter().map(|(path, _)| path.as_str()).collect();
        for ((path, most), value) in some.iter().zip(store.read_many(&asked)?) {
            if let (Ok(path), Some(value)) = (path.parse(), value) {
                nodes.insert(path, text_of(value.get(..*most).unwrap_or(&value)));
            }
        }
    }
    Ok(nodes)
}
