//! A recording of all that can be seen of this host.

use std::collections::BTreeMap;

use super::{Host, Records};
use crate::error::Error;
use crate::model::{DevId, DomId, IfName};
use crate::recording::{Described, Recording, Taken, Unseen, text_of};
use crate::snapshot::{Family, NftFamily, NftHook, Part, Scope, Snapshot, StorePath, SysctlKey};
use crate::tables;
use crate::xenstore::{Store, StoreError};

/// The settings of a link that decide what becomes of a guest's packets.
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

/// Those of the whole host. What a kernel does not have is left out.
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

/// What a frontend writes. A guest may make any number of other nodes there.
const OF_FRONTEND: [&str; 9] = [
    "backend",
    "backend-id",
    "feature-gso-tcpv4",
    "feature-no-csum-offload",
    "feature-rx-copy",
    "handle",
    "mac",
    "multi-queue-num-queues",
    "state",
];

/// The most that is kept of a node that a guest may write, in bytes.
const OF_GUEST: usize = 256;

impl Host {
    /// All that can be seen of this host, and what could not be looked at, with the reason. Changes nothing.
    ///
    /// Who made it, and when, is the caller's to say; so are the file with the descriptions of networks, and the connection to xenstore. A
    /// listing: it grows with the host.
    pub fn record(&mut self, taken: Taken, described: Option<Described>, store: Option<&mut dyn Store>) -> Recording {
        let mut unseen = Vec::new();
        let snapshot = self.all_seen(&mut unseen);
        let networks = noted(&mut unseen, "started networks", self.records.all_started());
        let records = noted(&mut unseen, "records", self.records.newest_last());
        let open = match &self.records {
            Records::Dir(dir) => noted(&mut unseen, "interrupted operations", dir.interrupted()),
            Records::Memory(_) => Vec::new(),
        };
        let mut recording = Recording {
            version: Recording::VERSION,
            taken,
            snapshot,
            networks,
            records,
            open,
            described,
            store: BTreeMap::new(),
            unseen,
        };
        match store {
            None => recording.unseen.push(of("xenstore", "there is none here")),
            Some(store) => {
                if let Err(e) = nodes(store, &mut recording) {
                    recording.unseen.push(of("xenstore", &e.to_string()));
                }
            }
        }
        recording
    }

    /// A rehearsal on what was recorded: the same objects, records and networks in memory.
    pub fn from_recording(recording: &Recording) -> Host {
        let fake = crate::backend::fake::Fake::with_world(recording.snapshot.clone());
        let mut host = Host::with_backend(Box::new(fake));
        host.records = Records::remembering(recording.records.iter().cloned(), recording.networks.iter().cloned());
        host
    }

    /// The kernel's objects, one kind after the other, so that one that cannot be looked at does not hide the others.
    fn all_seen(&mut self, unseen: &mut Vec<Unseen>) -> Snapshot {
        let mut seen = Snapshot::default();
        let mut add = |host: &mut Host, what: &str, scope: Scope| {
            let found = host.look(&scope);
            // What all of a kind say is told once.
            let told = unseen.len();
            let more = noted(unseen, what, found);
            if unseen.get(told).is_some_and(|new| unseen.iter().take(told).any(|old| old == new)) {
                unseen.truncate(told);
            }
            seen.merge(more);
        };
        add(self, "links, addresses, routes and neighbours", Scope::none().with(Part::Routing));
        for table in tables::all() {
            let id = (table.id)();
            add(self, &format!("nft table {id}"), Scope::none().with(Part::Nft(id.clone())));
        }
        for family in NftFamily::ALL {
            let chains = NftHook::ALL.map(|hook| Part::NftOthersAt(family, hook));
            add(self, "other programs' nft chains", Scope::from_iter(chains));
        }
        let links: Vec<IfName> = seen.links.keys().copied().collect();
        seen.merge(noted(unseen, "kernel settings", self.look(&settings(&links))));
        seen
    }
}

/// The settings that are looked at.
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

fn of(what: &str, why: &str) -> Unseen {
    Unseen { what: what.into(), why: why.into() }
}

/// What was found, or nothing and a note.
fn noted<T: Default>(unseen: &mut Vec<Unseen>, what: &str, found: Result<T, Error>) -> T {
    found.unwrap_or_else(|e| {
        unseen.push(of(what, &e.to_string()));
        T::default()
    })
}

/// The nodes of all vifs of this domain, of their frontends, and the names of their domains.
fn nodes(store: &mut dyn Store, recording: &mut Recording) -> Result<(), StoreError> {
    // Paths are made here, and never taken from what a guest has written.
    let own = store.read("domid")?.unwrap_or_default();
    let own: u16 = text_of(&own).trim().parse().unwrap_or(0);
    let backend = format!("/local/domain/{own}/backend/vif");
    let number = |name: String| name.parse::<u16>().ok();
    let mut paths = vec![(format!("/local/domain/{own}/name"), usize::MAX)];
    for domid in store.directory(&backend)?.unwrap_or_default().into_iter().filter_map(number) {
        if DomId::new(u32::from(domid)).is_err() {
            continue;
        }
        paths.push((format!("/local/domain/{domid}/name"), usize::MAX));
        let devices = store.directory(&format!("{backend}/{domid}"))?.unwrap_or_default();
        for devid in devices.into_iter().filter_map(number).filter(|d| DevId::new(u32::from(*d)).is_ok()) {
            let vif = format!("{backend}/{domid}/{devid}");
            let names = store.directory(&vif)?.unwrap_or_default();
            paths.extend(names.into_iter().map(|name| (format!("{vif}/{name}"), usize::MAX)));
            let frontend = format!("/local/domain/{domid}/device/vif/{devid}");
            paths.extend(OF_FRONTEND.iter().map(|name| (format!("{frontend}/{name}"), OF_GUEST)));
        }
    }
    for some in paths.chunks(64) {
        let asked: Vec<&str> = some.iter().map(|(path, _)| path.as_str()).collect();
        for ((path, most), value) in some.iter().zip(store.read_many(&asked)?) {
            if let (Ok(path), Some(value)) = (path.parse::<StorePath>(), value) {
                recording.store.insert(path, text_of(value.get(..*most).unwrap_or(&value)));
            }
        }
    }
    Ok(())
}
