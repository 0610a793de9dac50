//! What a caller wants of a vif: the wish alone, without what was found or is remembered.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{Guard, HostServices, IfName, Mtu, PacketLog, VifId, VlanSpec};

/// A vif that shall be connected to the world in one of the three modes.
///
/// This is the wish alone. [`ResolvedVif`](super::ResolvedVif) adds where its link was found, and what a record says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attach {
    /// Which vif.
    pub id: VifId,
    /// The name it shall have.
    pub name: IfName,
    /// The MTU it shall have; without one it takes the bridge's (bridge mode) or keeps its own.
    pub mtu: Option<Mtu>,
    /// What the guest may send; `None`: anything. Bridge mode only.
    pub guard: Option<Guard>,
    /// The network that it belongs to, if one is started that it belongs to.
    pub network: Option<IfName>,
    /// How it is connected.
    pub attachment: Attachment,
}

setters! { Attach {
    with_name: name = IfName;
    with_mtu: mtu = impl Into<Option<Mtu>>;
    with_guard: guard = impl Into<Option<Guard>>;
    with_network: network = impl Into<Option<IfName>>;
    with_attachment: attachment = Attachment;
} }

/// A vif that shall be disconnected: no port of any bridge, down, without addresses and routes of ours. A link that is gone already is
/// a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Detach {
    /// Which vif.
    pub id: VifId,
}

impl Detach {
    /// This vif shall be disconnected.
    pub const fn new(id: VifId) -> Self {
        Detach { id }
    }
}

/// A link that is connected by routes, in NAT or routed mode: what the gate has of it follows from this.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Behind {
    /// The name under which it is so.
    pub link: IfName,
    /// How: [`Attachment::Nat`] or [`Attachment::Routed`].
    pub attachment: Attachment,
    /// Those of the guest's addresses that a newer guest has by now, as in a migration: what hides them, and what answers for
    /// them, is that one's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub others: Vec<IpNetwork>,
}

/// What the guard has of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Guarded {
    /// The name under which it has it: the guard knows links by their names.
    pub link: IfName,
    /// What it lets pass.
    pub guard: Guard,
}

impl Attach {
    /// What the guard shall have of the vif: under the name that it shall have.
    pub fn guarded(&self) -> Option<Guarded> {
        let mut guard = self.guard.clone()?;
        if let Attachment::Bridge { vlan: Some(vlan), .. } = &self.attachment {
            guard.tagged |= vlan.has_tagged();
        }
        Some(Guarded { link: self.name, guard })
    }

    /// How the vif shall be connected by routes, under the name that it shall have; `None` in bridge mode.
    pub fn behind(&self) -> Option<Behind> {
        let routes = !matches!(self.attachment, Attachment::Bridge { .. });
        routes.then(|| Behind { link: self.name, attachment: self.attachment.clone(), others: Vec::new() })
    }

    /// The vif under the name that netback gives it, connected to a bridge, without further wishes.
    pub fn to_bridge(id: VifId, bridge: IfName) -> Self {
        let attachment = Attachment::Bridge { bridge, vlan: None, isolated: false };
        Attach { id, name: id.vif_name(), mtu: None, guard: None, network: None, attachment }
    }
}

/// How a vif is connected: the three modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "mode", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Attachment {
    /// The guest is a station on a bridge.
    Bridge {
        /// The bridge.
        bridge: IfName,
        /// VLAN membership on a VLAN-aware bridge.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<VlanSpec>,
        /// Whether the port may talk to non-isolated ports only (`bridge link set … isolated on`).
        #[serde(default)]
        isolated: bool,
    },
    /// The guest is behind dom0's address.
    Nat {
        /// The network that it belongs to, if one is started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<IfName>,
        /// The guest's addresses. It may send from these only.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        guest: Vec<IpNetwork>,
        /// dom0's addresses on the vif, the guest's gateways, with the prefix lengths that they have there; no connected route
        /// comes of them. The first one of a family is what dom0 speaks to the guest from.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        gateway: Vec<IpNetwork>,
        /// The link NAT leaves through. `None` where nothing is to be hidden by this vif: no network is started, or the vif's
        /// twin has done it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        egress: Option<IfName>,
        /// Whether guests of other networks may connect to it, too: its network has no subnets, so its own guests cannot be told from
        /// them.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        open: bool,
        /// The number that the guest's vifs share if they may send from each other's addresses; their emulated twins share another one. `None`: from
        /// its own alone.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared: Option<u32>,
        /// What it reaches of this domain; `None`: everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostServices>,
        /// Where packets that it may not send are logged.
        #[serde(default, skip_serializing_if = "PacketLog::is_off")]
        log: PacketLog,
        /// The metric of the guest's routes.
        #[serde(default = "metric")]
        metric: u32,
    },
    /// The guest's own address is visible outside; dom0 routes both ways.
    Routed {
        /// The network that it belongs to, if one is started.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        network: Option<IfName>,
        /// The guest's addresses or networks. It may send from these only; without any, from everywhere.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        guest: Vec<IpNetwork>,
        /// Networks whose addresses it may send from, too. Only records of earlier versions have them, where later ones have `shared`. They go
        /// with the vif.
        #[serde(default, skip_serializing_if = "<[IpNetwork]>::is_empty")]
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        elsewhere: Box<[IpNetwork]>,
        /// As in [`Attachment::Nat`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared: Option<u32>,
        /// dom0's addresses, put on the vif with these prefix lengths; no connected route comes of them. The first one of a
        /// family is what dom0 speaks to the guest from.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        source: Vec<IpNetwork>,
        /// Whether dom0 answers ARP on the vif for everything that it has a route to elsewhere.
        answer_arp: bool,
        /// The link on which dom0 answers neighbour solicitations for the guest's single IPv6 addresses; `None`: others
        /// have a route to them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        answer_ndp: Option<IfName>,
        /// What it reaches of this domain; `None`: everything.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<HostServices>,
        /// Where packets that it may not send are logged.
        #[serde(default, skip_serializing_if = "PacketLog::is_off")]
        log: PacketLog,
        /// The metric of the guest's routes.
        #[serde(default = "metric")]
        metric: u32,
    },
}

impl Attachment {
    /// The guest's addresses or networks, where dom0 has routes to them.
    pub fn guest(&self) -> &[IpNetwork] {
        match self {
            Attachment::Bridge { .. } => &[],
            Attachment::Nat { guest, .. } | Attachment::Routed { guest, .. } => guest,
        }
    }

    /// What the guest reaches of this domain, where that is limited.
    pub(crate) const fn host(&self) -> Option<HostServices> {
        match self {
            Attachment::Bridge { .. } => None,
            Attachment::Nat { host, .. } | Attachment::Routed { host, .. } => *host,
        }
    }

    /// Where packets that the guest may not send are logged, where dom0 has routes to it.
    pub(crate) const fn log(&self) -> PacketLog {
        match self {
            Attachment::Bridge { .. } => PacketLog::Off,
            Attachment::Nat { log, .. } | Attachment::Routed { log, .. } => *log,
        }
    }

    /// What the guest may send from, where dom0 has routes to it.
    pub(crate) fn sources(&self) -> Vec<IpNetwork> {
        let elsewhere = match self {
            Attachment::Routed { elsewhere, .. } => &elsewhere[..],
            Attachment::Bridge { .. } | Attachment::Nat { .. } => &[],
        };
        self.guest().iter().chain(elsewhere).copied().collect()
    }

    /// The number of the guest's links that may send from each other's addresses.
    pub(crate) const fn shared(&self) -> Option<u32> {
        match self {
            Attachment::Bridge { .. } => None,
            Attachment::Nat { shared, .. } | Attachment::Routed { shared, .. } => *shared,
        }
    }

    /// The word for the mode: `bridge`, `nat`, `routed`.
    pub const fn mode_name(&self) -> &'static str {
        match self {
            Attachment::Bridge { .. } => "bridge",
            Attachment::Nat { .. } => "nat",
            Attachment::Routed { .. } => "routed",
        }
    }
}

fn metric() -> u32 {
    super::RoutedNetwork::METRIC
}

/// The link NAT leaves through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Egress {
    /// Wherever the default route points.
    DefaultRoute,
    /// This link.
    Link(IfName),
}
