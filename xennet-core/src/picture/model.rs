//! What a picture shows: layers from the outside to the guests.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::Serialize;

use crate::model::{DomId, IfName, MacAddr, VifId};
use crate::version::Version;

/// A host's network, described networks, or a plan, in layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Picture {
    version: Version<1>,
    /// Whose network it is, and when.
    pub about: About,
    /// The links towards the outside.
    pub uplinks: Vec<Uplink>,
    /// Bridges and routing: what connects guests with each other, with dom0 and with the outside.
    pub hubs: Vec<Hub>,
    /// What is not drawn, and why.
    pub notes: Vec<String>,
}

/// Whose network a picture shows, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct About {
    /// Where it is from.
    pub source: Source,
    /// The host's name; empty if it is not known.
    pub host: String,
    /// The time in seconds since the beginning of 1970 (UTC); 0 if it is not known.
    pub at: u64,
    /// The version of xennet.
    pub xennet: String,
}

/// Where a picture is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Source {
    /// A look at a host.
    Seen,
    /// Networks as they are described.
    Described,
    /// A look at a host, and what a plan would change there.
    Planned,
}

/// What a plan does to something.
///
/// There are no others: two states of a thing compare in these four ways.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Mark {
    /// Nothing.
    #[default]
    Same,
    /// It is added.
    Added,
    /// It is changed.
    Changed,
    /// It is removed.
    Removed,
}

impl Mark {
    /// The sign: `+`, `~`, `−`; empty for [`Mark::Same`].
    pub const fn sign(self) -> &'static str {
        match self {
            Mark::Same => "",
            Mark::Added => "+",
            Mark::Changed => "~",
            Mark::Removed => "−",
        }
    }
}

/// What has gone through a link, as dom0 counts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Counters {
    /// Bytes that dom0 received by it.
    pub rx_bytes: u64,
    /// Bytes that dom0 sent by it.
    pub tx_bytes: u64,
    /// Packets that were dropped, both ways together.
    pub dropped: u64,
}

/// A link towards the outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Uplink {
    /// The link; `None` in a description that leaves it to the default route.
    pub link: Option<IfName>,
    /// What a plan does to it.
    pub mark: Mark,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// dom0's addresses on it; a port of a bridge has none.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNetwork>,
    /// The gateways that default routes lead to through it, or through its bridge.
    pub gateways: Vec<IpAddr>,
    /// Whether it is up.
    pub up: bool,
    /// Whether there is a carrier; `None` if that is not known.
    pub carrier: Option<bool>,
    /// The link that it sits on: of a VLAN.
    pub lower: Option<IfName>,
    /// Its VLAN.
    pub vlan: Option<u16>,
    /// What has gone through it.
    pub counters: Option<Counters>,
}

/// What connects guests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum HubKind {
    /// A bridge.
    Bridge,
    /// dom0 routes, and hides guests behind its own address.
    Nat,
    /// dom0 routes, and guests' own addresses are visible.
    Routed,
    /// Nothing: vifs that are connected to nothing.
    Nothing,
}

/// Where a hub leads to on its way outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Outside {
    /// An uplink, by its place in [`Picture::uplinks`].
    Uplink(usize),
    /// A bridge, by its place in [`Picture::hubs`].
    Hub(usize),
}

/// A bridge, or dom0's routing for one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Hub {
    /// What it is.
    pub kind: HubKind,
    /// Its bridge, where it has one.
    pub bridge: Option<IfName>,
    /// The started or described network that it is, or is of.
    pub networks: Vec<IfName>,
    /// What a plan does to it.
    pub mark: Mark,
    /// Whether its bridge is up; `true` without a bridge.
    pub up: bool,
    /// dom0's addresses on its bridge, or on its guests' vifs.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNetwork>,
    /// The subnets of its network.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub subnets: Vec<IpNetwork>,
    /// Connections from outside that are handed on: `tcp 8080 → 10.0.0.1:80`.
    pub forwards: Vec<String>,
    /// What guests are served with: `DHCP`, `DNS`.
    pub services: Vec<String>,
    /// Who reaches whom, in a few words each: `isolated`, `host closed`, `LAN closed`.
    pub access: Vec<String>,
    /// Where it leads to outside.
    pub outside: Option<Outside>,
    /// What is not as it was made, in the words of a plan.
    pub missing: Vec<String>,
    /// Its ports, with the guests behind them.
    pub ports: Vec<Port>,
}

/// A link of a hub, with what is behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Port {
    /// The link; `None` where it is not there yet.
    pub link: Option<IfName>,
    /// What a plan does to it.
    pub mark: Mark,
    /// Whether it is up.
    pub up: bool,
    /// Whether there is a carrier: of a vif, whether the guest's driver is connected. `None` if that is not known.
    pub carrier: Option<bool>,
    /// The emulated twin of the vif, where that is a port, too.
    pub twin: Option<IfName>,
    /// What is filtered that the guest sends.
    pub filter: Filter,
    /// Whether it may talk to ports that are not isolated only.
    pub isolated: bool,
    /// Its VLANs, as a vif line names them.
    pub vlan: Option<String>,
    /// What is not as it was made, in the words of a plan.
    pub missing: Vec<String>,
    /// What has gone through it.
    pub counters: Option<Counters>,
    /// The guest. `None`: the link is no guest's.
    pub guest: Option<Guest>,
    /// How many links like this one it stands for: 1, or more where guests were put together.
    pub count: usize,
}

/// What is filtered that a guest sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Filter {
    /// Nothing.
    #[default]
    None,
    /// The guard, at a bridge: only from its MAC.
    Mac,
    /// The guard, at a bridge: only from its MAC and addresses.
    Guard,
    /// The gate, where dom0 routes: only from its addresses.
    Gate,
    /// The guard, at a bridge: nothing passes, neither from the guest nor to it.
    Closed,
}

/// A guest behind a link.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Guest {
    /// The vif; `None` for guests that a description expects.
    pub vif: Option<VifId>,
    /// The name of its domain, with control characters escaped.
    pub name: Option<String>,
    /// Its hardware address.
    pub mac: Option<MacAddr>,
    /// Its addresses, or networks behind it.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub addresses: Vec<IpNetwork>,
}

impl Guest {
    /// The domain.
    pub fn domid(&self) -> Option<DomId> {
        self.vif.map(|vif| vif.domid)
    }
}

impl Picture {
    /// The same with remarks of the caller's before its own.
    pub(crate) fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.splice(0..0, notes);
        self
    }

    pub(super) fn of_nothing(about: About) -> Self {
        Picture { version: Version, about, uplinks: Vec::new(), hubs: Vec::new(), notes: Vec::new() }
    }

    /// How many links of guests it shows.
    pub fn guests(&self) -> usize {
        let guests = self.hubs.iter().flat_map(|hub| &hub.ports).filter(|port| port.guest.is_some());
        guests.map(|port| port.count).sum()
    }
}

impl Hub {
    pub(super) fn new(kind: HubKind) -> Self {
        Hub {
            kind,
            bridge: None,
            networks: Vec::new(),
            mark: Mark::Same,
            up: true,
            addresses: Vec::new(),
            subnets: Vec::new(),
            forwards: Vec::new(),
            services: Vec::new(),
            access: Vec::new(),
            outside: None,
            missing: Vec::new(),
            ports: Vec::new(),
        }
    }
}

impl Uplink {
    pub(super) fn new(link: Option<IfName>) -> Self {
        Uplink {
            link,
            mark: Mark::Same,
            mac: None,
            addresses: Vec::new(),
            gateways: Vec::new(),
            up: true,
            carrier: None,
            lower: None,
            vlan: None,
            counters: None,
        }
    }
}

impl Port {
    pub(super) fn new(link: Option<IfName>) -> Self {
        Port {
            link,
            mark: Mark::Same,
            up: true,
            carrier: None,
            twin: None,
            filter: Filter::None,
            isolated: false,
            vlan: None,
            missing: Vec::new(),
            counters: None,
            guest: None,
            count: 1,
        }
    }
}
