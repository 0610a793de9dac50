//! How networks are.

use std::fmt;

use super::Host;
use super::show::by_number;
use crate::config::networks;
use crate::error::Error;
use crate::exec::{Entry, Subject};
use crate::model::{IfName, Network, NetworkMode, ResolvedNetwork};
use crate::snapshot::{Family, Part, Scope};
use crate::version::Version;

/// How a network is, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NetworkState {
    /// It is not started.
    Stopped,
    /// It is started, and as it was made.
    Started,
    /// It is started, and something that it or its guests need is missing ([`NetworkStatus::missing`]).
    Damaged,
    /// Its last start waits for a confirmation, without which it is taken back.
    Unconfirmed,
}

impl NetworkState {
    /// The word in documents and tables.
    pub const fn slug(self) -> &'static str {
        match self {
            NetworkState::Stopped => "stopped",
            NetworkState::Started => "started",
            NetworkState::Damaged => "damaged",
            NetworkState::Unconfirmed => "unconfirmed",
        }
    }
}

impl fmt::Display for NetworkState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.slug())
    }
}

/// How a network is, compared with how it was described.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct NetworkStatus {
    version: Version<1>,
    /// Its name.
    pub network: IfName,
    /// Its mode: `bridge`, `nat`, `routed`.
    pub mode: String,
    /// How it is, in a word.
    pub state: NetworkState,
    /// Whether it is started.
    pub started: bool,
    /// The link towards the outside, as it was found at start; of a bridge its uplink.
    pub outside: Option<IfName>,
    /// What is described otherwise than when it was started, by the keys of networks.toml. Starting it once more takes that over,
    /// but for what `needs_stop` says.
    pub changed: Vec<String>,
    /// What of that holds only after a stop and a start.
    pub needs_stop: Vec<String>,
    /// What is not as it was made, one change a line, in the words of a plan: what starting it again would do. Of a guest that is
    /// there the vif stands before it: `vif1.0: …`. So are guests of no network that our nft tables have lost.
    pub missing: Vec<String>,
    /// The ports of its bridge; where it has none, and each guest a link of its own, the links of the guests that are there. `vif9.0`
    /// comes before `vif10.0`.
    pub ports: Vec<IfName>,
    /// What its description says about who reaches whom, a sentence each: keys `isolated`, `reachable_from`, `host`, `lan` and `any_vif`.
    pub access: Vec<String>,
    /// What has to be done elsewhere: the routes that the outside needs to reach the guests of a routed network, as commands
    /// for its gateway.
    pub elsewhere: Vec<String>,
    /// What on this host keeps its guests from reaching anybody: what other firewalls drop, unless a rule there accepts it, and the
    /// VLANs of guests that the uplink of their bridge is not in.
    pub obstacles: Vec<String>,
}

impl Host {
    /// How a network is; of one that is started, as it was described then. Reads the parts of the system that it is made of,
    /// and the ports of its bridge.
    ///
    /// # Errors
    /// As [`Backend::observe`](crate::backend::Backend::observe), and
    /// [`ErrorKind::StateUnusable`](crate::ErrorKind::StateUnusable).
    pub fn network_status(&mut self, network: &Network) -> Result<NetworkStatus, Error> {
        let record = self.records.record(Subject::Network(network.name()))?;
        let started = record.as_ref().and_then(Entry::started).cloned();
        let described = network;
        let network = started.as_ref().map_or(described, |s| &s.network);
        let change = networks::changed(network, described);
        let accepted = match &started {
            Some(started) => self.accepted_in(started),
            None => Ok(Vec::new()),
        };
        let mut status = NetworkStatus {
            version: Version,
            network: network.name(),
            mode: network.mode_name().to_owned(),
            state: NetworkState::Stopped,
            started: started.is_some(),
            outside: started.as_ref().and_then(|s| s.outside.or_else(|| uplink_of(&s.network))),
            changed: change.keys,
            needs_stop: change.needs_stop,
            missing: Vec::new(),
            ports: Vec::new(),
            access: network.access_in_sentences(started.as_ref().map_or(&[], |s| &s.lan)),
            elsewhere: Vec::new(),
            obstacles: self.obstacles(network, accepted),
        };
        if let Some(started) = &started {
            status.missing = self.network_lacks(started, record.as_ref())?;
            status.missing.extend(self.guests_lack(network)?);
        }
        if status.started {
            status.state = match (self.records.is_awaited(&status.network), status.missing.is_empty()) {
                (true, _) => NetworkState::Unconfirmed,
                (false, true) => NetworkState::Started,
                (false, false) => NetworkState::Damaged,
            };
        }
        if let Some(bridge) = network.bridge() {
            let all = self.look(&Scope::none().with(Part::Links))?;
            status.ports = by_number(all.ports(&bridge.name()).map(|(port, _)| *port));
            if let Some(started) = &started {
                status.obstacles.extend(self.vlans_of_ports(&started.network, &status.ports)?);
            }
        } else if started.is_some() {
            let guests = self.guests_of(network)?;
            let host = network.host_services();
            status.access.extend(guests.iter().filter(|(_, a)| a.wish.attachment.host() != host).map(|(subject, _)| {
                format!("{subject} was attached when host was another, and reaches what it reached then until it is attached again")
            }));
            status.ports = by_number(guests.into_iter().map(|(_, a)| a.found.device));
        }
        if matches!(network.mode(), NetworkMode::Routed(_)) {
            // Of one that is not started, as far as it can be told now.
            let found = started.clone().or_else(|| self.resolve(network, None).ok());
            status.elsewhere = found.as_ref().map(routes_outside).unwrap_or_default();
        }
        Ok(status)
    }
}

/// The name that the uplink of a bridge has while its network is started.
pub(super) fn uplink_of(network: &Network) -> Option<IfName> {
    let NetworkMode::Bridge(b) = network.mode() else { return None };
    b.uplink.map(|uplink| b.uplink_name.unwrap_or(uplink))
}

/// The routes that stations and gateways outside need, as commands (the founding document's fifth step).
pub(super) fn routes_outside(started: &ResolvedNetwork) -> Vec<String> {
    let NetworkMode::Routed(r) = started.network.mode() else { return Vec::new() };
    let answered = |family| match family {
        Family::Ipv4 => r.proxy_arp,
        Family::Ipv6 => r.proxy_ndp,
    };
    let via = |family| started.source.iter().find(|s| Family::of(s) == family);
    let commands = started.network.subnets().iter().filter_map(|s| {
        let family = Family::of(&s.network().ip());
        let via = via(family)?;
        (!answered(family)).then(|| format!("ip route add {} via {via}", s.network()))
    });
    commands.collect()
}
