//! What the networking of this host is, for people and programs: one look at all of it.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::status::{NetworkState, routes_outside, uplink_of};
use super::{Host, Shown};
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::Entry;
use crate::gather;
use crate::managers::Warning;
use crate::model::{Attach, IfName, Network, Resolved, Started, Subject, VifId, ViolationCount};
use crate::picture::Picture;
use crate::plan::{self, need};
use crate::recording::{Recording, Taken, Unseen};
use crate::snapshot::{LinkKind, NftPolicy, NftTable, Route, RouteKind};
use crate::text::printable;
use crate::xenstore::Store;

/// What the networking of a host is. Its document has the members of [`Shown`], and these beside them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Overview {
    /// Attached vifs, and bridges.
    #[serde(flatten)]
    pub shown: Shown,
    /// Networks: started ones, and described ones that are not started.
    pub networks: Vec<ShownNetwork>,
    /// Routes of the main table, but for those to guests.
    pub routes: Vec<ShownRoute>,
    /// How many routes lead to guests.
    pub guest_routes: usize,
    /// nft tables: xennet's own, and those of other programs.
    pub filters: Vec<ShownFilter>,
    /// The packets of guests that were dropped, by link and class.
    pub violations: Vec<ViolationCount>,
    /// Who has made each link, as far as it can be told: `xennet, for network lan`, `Xen's netback`, `hardware`, `another program`.
    pub made_by: BTreeMap<IfName, String>,
    /// Programs that manage links, run here, and do not leave those of guests and their bridges alone.
    pub managers: Vec<Warning>,
    /// Who is where, in layers: names, addresses, filters and counters of guests and uplinks.
    pub picture: Picture,
    /// What could not be looked at.
    pub unseen: Vec<Unseen>,
}

/// A network, started or described.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownNetwork {
    /// Its name.
    pub network: IfName,
    /// Its mode: `bridge`, `nat`, `routed`.
    pub mode: String,
    /// How it is, in a word: by what is there, and not by what was once started. `None`: not all that it needs could be looked at.
    pub state: Option<NetworkState>,
    /// The link towards the outside; of a bridge its uplink.
    pub outside: Option<IfName>,
    /// Its bridge, where it has one.
    pub bridge: Option<IfName>,
    /// Its subnets.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub subnets: Vec<IpNetwork>,
    /// Its guests that are there: their vifs.
    pub vifs: Vec<String>,
    /// What it lacks, without its guests, in the words of a plan.
    pub missing: Vec<String>,
    /// What its description says about who reaches whom, a sentence each: keys `isolated`, `reachable_from`, `host`, `lan` and `any_vif`.
    pub access: Vec<String>,
    /// What has to be done elsewhere: the routes that the outside needs, as commands for its gateway.
    pub elsewhere: Vec<String>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownRoute {
    /// What it is for.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub destination: IpNetwork,
    /// Its gateways, and the links that it leaves through: `via 192.0.2.1 on eth0`, one way each.
    pub ways: Vec<String>,
    /// Who has made it: `kernel`, `boot`, `static`, `DHCP`, `router advertisement`, or the number of its protocol.
    pub by: String,
}

/// An nft table, or one of iptables-legacy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownFilter {
    /// Its family and name.
    pub table: String,
    /// Whether it is xennet's.
    pub own: bool,
    /// How many rules it has; `None` if that was not looked at.
    pub rules: Option<usize>,
    /// Where it drops what none of its rules decides about: the hooks, `forward`.
    pub drops: Vec<String>,
}

impl Host {
    /// All of this host's networking at one glance, as far as it can be seen: what could not be looked at is said in
    /// [`Overview::unseen`]. A listing: its cost grows with the host.
    ///
    /// `described` are the networks that are described, started or not. `store` is a connection to xenstore, or the reason why there is
    /// none; an empty one where there can be none.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the records cannot be read.
    pub fn overview(
        &mut self,
        taken: Taken,
        described: &[Network],
        store: Result<&mut dyn Store, String>,
    ) -> Result<Overview, Error> {
        let recording = self.glance(taken, store);
        overview(self, &recording, described)
    }

    /// The same of a recorded host.
    ///
    /// # Errors
    /// As [`overview`](Self::overview).
    pub fn overview_of(recording: &Recording) -> Result<Overview, Error> {
        let described = recording.described.as_ref().and_then(|d| crate::config::networks::parse(&d.text).ok());
        let described: Vec<Network> = described.iter().flat_map(|all| all.iter().cloned()).collect();
        overview(&mut Host::from_recording(recording), recording, &described)
    }

    /// What a started network lacks, without its guests, and what is to be done elsewhere.
    fn seen_of(&mut self, started: &Started) -> Result<(Vec<String>, Vec<String>), Error> {
        let record = self.records.record(Subject::Network(started.network.name()))?;
        let resolved = record.as_ref().and_then(Entry::started).cloned().unwrap_or_else(|| started.resolved());
        Ok((self.network_lacks(&resolved, record.as_ref())?, routes_outside(&resolved)))
    }
}

/// Notes what could not be looked at, as for want of rights. Records that are damaged, or not ours, end the look.
fn noted<T: Default>(result: Result<T, Error>, what: &str, unseen: &mut Vec<Unseen>) -> Result<T, Error> {
    match result {
        Ok(found) => Ok(found),
        Err(e) if e.kind() == ErrorKind::StateUnusable && !e.errno().is_some_and(is_denied) => Err(e),
        Err(e) => {
            unseen.push(Unseen { what: what.to_owned(), why: e.to_string() });
            Ok(T::default())
        }
    }
}

fn is_denied(errno: Errno) -> bool {
    [Errno::EACCES, Errno::EPERM].contains(&errno)
}

fn overview(host: &mut Host, recording: &Recording, described: &[Network]) -> Result<Overview, Error> {
    let mut unseen = recording.unseen.clone();
    let mut not_known = Vec::new();
    let shown = host.shown_with(|e| noted(Err(e), "what attached vifs lack", &mut not_known));
    unseen.extend(not_known);
    let shown = noted(shown, "attached vifs", &mut unseen)?;
    let mut missing: BTreeMap<Subject, Vec<String>> =
        gather::map(shown.vifs.iter().filter_map(|vif| Some((vif.vif.parse().ok()?, vif.missing.clone()))));
    let vifs_are_known = unseen.len() == recording.unseen.len();
    let attached: BTreeMap<VifId, &Attach> = gather::map(recording.records.iter().filter_map(attached_by));
    let started = noted(host.started_networks(), "started networks", &mut unseen)?;
    let mut networks = Vec::new();
    for started in &started {
        let network = &started.network;
        let what = format!("what network {} lacks", network.name());
        let before = unseen.len();
        let (lacks, elsewhere) = noted(host.seen_of(started), &what, &mut unseen)?;
        let is_guest = |vif: &&super::ShownVif| {
            let wish = attached.get(&VifId::new(vif.domid, vif.devid));
            vif.link.is_some() && wish.is_some_and(|wish| need::is_guest(wish, network))
        };
        let guests: Vec<&super::ShownVif> = shown.vifs.iter().filter(is_guest).collect();
        let whole = lacks.is_empty() && guests.iter().all(|vif| vif.missing.is_empty());
        let state = match (recording.awaited.contains(&network.name()), whole) {
            (true, _) => Some(NetworkState::Unconfirmed),
            (false, false) => Some(NetworkState::Damaged),
            (false, true) if unseen.len() == before && vifs_are_known => Some(NetworkState::Started),
            (false, true) => None,
        };
        missing.insert(Subject::Network(network.name()), lacks.clone());
        networks.push(ShownNetwork {
            vifs: guests.iter().map(|vif| vif.vif.clone()).collect(),
            state,
            outside: started.outside.or_else(|| uplink_of(network)),
            missing: lacks,
            access: network.access_in_sentences(&started.lan),
            elsewhere,
            ..ShownNetwork::stopped(network)
        });
    }
    let is_new = |network: &&Network| !started.iter().any(|s| s.network.name() == network.name());
    networks.extend(described.iter().filter(is_new).map(ShownNetwork::stopped));
    networks.sort_by_key(|network| network.network);
    missing.retain(|_, lacks| !lacks.is_empty());
    let is_guests = |route: &&Route| route.protocol == plan::ROUTE_PROTOCOL;
    let main = || recording.snapshot.routes.iter().filter(|route| route.table == Route::MAIN);
    let told = |route: &&Route| !is_guests(route) && !route.is_of_own_address() && route.kind != RouteKind::Multicast;
    let notes = networks.iter().flat_map(|network| {
        let name = network.network;
        network.elsewhere.iter().map(move |route| format!("network {name}: the outside needs a route: {route}"))
    });
    let picture = Picture::of_recording(recording).with_missing(&missing).with_notes(notes);
    Ok(Overview {
        routes: main().filter(told).map(ShownRoute::of).collect(),
        guest_routes: main().filter(is_guests).count(),
        filters: filters(recording),
        violations: recording.details.violations.iter().copied().collect(),
        made_by: made_by(recording),
        managers: recording.surroundings.managers.clone(),
        shown,
        networks,
        picture,
        unseen,
    })
}

/// The wish of an attached vif.
fn attached_by(entry: &Entry) -> Option<(VifId, &Attach)> {
    match (&entry.subject, &entry.goal) {
        (Subject::Vif(id), plan::Goal::Resolved(Resolved::Attach(a))) => Some((*id, &a.wish)),
        _ => None,
    }
}

impl ShownNetwork {
    fn stopped(network: &Network) -> Self {
        ShownNetwork {
            network: network.name(),
            mode: network.mode_name().to_owned(),
            state: Some(NetworkState::Stopped),
            outside: uplink_of(network),
            bridge: network.bridge().map(|bridge| bridge.name()),
            subnets: network.subnets().iter().map(|subnet| subnet.network()).collect(),
            vifs: Vec::new(),
            missing: Vec::new(),
            access: network.access_in_sentences(&[]),
            elsewhere: Vec::new(),
        }
    }
}

impl ShownRoute {
    fn of(route: &Route) -> Self {
        let way = |gateway: Option<std::net::IpAddr>, link: Option<IfName>| {
            let via = gateway.map(|gateway| format!("via {gateway}"));
            let on = link.map(|link| format!("on {link}"));
            via.into_iter().chain(on).collect::<Vec<_>>().join(" ")
        };
        let ways = match (&route.next_hops[..], route.kind) {
            ([], RouteKind::Unicast) => vec![way(route.gateway, route.link)],
            ([], RouteKind::Blackhole) => vec!["dropped".to_owned()],
            ([], RouteKind::Unreachable | RouteKind::Prohibit) => vec!["refused".to_owned()],
            ([], _) => vec!["to no link".to_owned()],
            (hops, _) => hops.iter().map(|hop| way(hop.gateway, hop.link)).collect(),
        };
        ShownRoute { destination: route.destination, ways, by: protocol(route.protocol) }
    }
}

/// Who makes routes with this protocol number. Source: `include/uapi/linux/rtnetlink.h`, `RTPROT_*`.
fn protocol(number: u8) -> String {
    match number {
        2 => "kernel".to_owned(),
        3 => "boot".to_owned(),
        4 => "static".to_owned(),
        9 => "router advertisement".to_owned(),
        11 => "zebra".to_owned(),
        12 => "bird".to_owned(),
        16 => "DHCP".to_owned(),
        18 => "keepalived".to_owned(),
        186 => "BGP".to_owned(),
        188 => "OSPF".to_owned(),
        plan::ROUTE_PROTOCOL => "xennet".to_owned(),
        number => format!("protocol {number}"),
    }
}

fn filters(recording: &Recording) -> Vec<ShownFilter> {
    let of = |name: String, table: &NftTable, own: bool| {
        let drops = table.chains.values().filter_map(|chain| chain.base.as_ref());
        let drops = drops.filter(|base| base.policy == NftPolicy::Drop).map(|base| base.hook.name().to_owned());
        let rules = table.chains.values().map(|chain| chain.rules.len()).sum();
        ShownFilter { table: printable(&name).into_owned(), own, rules: Some(rules), drops: drops.collect() }
    };
    let own = recording.snapshot.nft.iter().filter(|(id, _)| id.is_kept());
    let own = own.map(|(id, table)| of(id.to_string(), table, true));
    let foreign = recording.details.foreign.iter().map(|(id, table)| of(id.to_string(), table, false));
    let legacy = recording.details.legacy.iter().map(|name| ShownFilter {
        table: format!("{} (iptables-legacy)", printable(name)),
        own: false,
        rules: None,
        drops: Vec::new(),
    });
    own.chain(foreign).chain(legacy).collect()
}

fn made_by(recording: &Recording) -> BTreeMap<IfName, String> {
    let mut ours: BTreeMap<IfName, String> = BTreeMap::new();
    for entry in &recording.records {
        let was_there = |name: &IfName| entry.origin().links.contains_key(name);
        match entry.subject {
            Subject::Bridge(name) if !was_there(&name) => drop(ours.insert(name, "xennet".to_owned())),
            Subject::Network(network) => {
                let started = recording.networks.iter().find(|s| s.network.name() == network);
                let bridge = started.and_then(|s| s.network.bridge()).map(|bridge| bridge.name());
                if let Some(bridge) = bridge.filter(|bridge| !was_there(bridge)) {
                    ours.insert(bridge, format!("xennet, for network {network}"));
                }
            }
            _ => {}
        }
    }
    let of = |(name, link): (&IfName, &crate::snapshot::Link)| {
        let vif = VifId::from_vif_name(name.as_str()).is_some();
        let vif = vif || VifId::from_tap_name(name.as_str()).is_some();
        let by = match (ours.get(name), &link.kind) {
            (Some(ours), _) => ours.clone(),
            (None, LinkKind::Loopback) => "kernel".to_owned(),
            (None, LinkKind::Plain) if vif => "Xen's netback".to_owned(),
            (None, LinkKind::Tun) if vif => "device model".to_owned(),
            (None, LinkKind::Plain) => "hardware".to_owned(),
            (None, _) => "another program".to_owned(),
        };
        (*name, by)
    };
    gather::map(recording.snapshot.links.iter().map(of))
}
