//! What a look at a whole host tells besides its state: what changes by itself, and all of other programs' tables.
//!
//! A [`Snapshot`](super::Snapshot) holds what can be planned and put back. Carriers, counters and learned entries cannot be, so they are
//! apart: they never make two snapshots differ.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::object::{is_false, is_zero};
use super::{NftTable, NftTableId, pairs};
use crate::model::{IfName, MacAddr, ViolationCount};

/// What a look at a whole host tells besides its state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Details {
    /// Of each link, by its name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<IfName, LinkDetails>,
    /// Learned neighbours of this domain (ARP, NDP).
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub neighbours: BTreeSet<LearnedNeighbour>,
    /// Stations that bridges have learned.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stations: BTreeSet<Station>,
    /// nftables tables that are not xennet's, with all that is in them. A rule of iptables-nft is one of these, too.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<(NftTableId, NftTable)>"))]
    #[serde(with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub foreign: BTreeMap<NftTableId, NftTable>,
    /// The packets of guests that the guard and the gate have dropped, by link and class.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub violations: BTreeSet<ViolationCount>,
    /// Tables of iptables-legacy that the kernel has in this namespace: `ip filter`, `ip6 nat`. Their rules are not looked at.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub legacy: BTreeSet<String>,
    /// How many received packets had a wrong checksum, by protocol: `tcp`, `udp`, `udp6`. Of this domain's own packets only
    /// (`/proc/net/snmp`, `/proc/net/snmp6`).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub checksum_errors: BTreeMap<String, u64>,
}

setters! { Details {
    with_foreign: foreign = BTreeMap<NftTableId, NftTable>;
} }

/// What a link is like at this moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct LinkDetails {
    /// Whether it can carry packets (`IFF_LOWER_UP`). Of a vif: the frontend is connected. Of hardware: the cable is plugged in.
    pub carrier: bool,
    /// Its operational state.
    pub state: OperState,
    /// The link that it sits on: of a VLAN, a macvlan or a tunnel (`IFLA_LINK`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lower: Option<IfName>,
    /// Of a bridge port: whether it forwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_state: Option<PortForwarding>,
    /// Of a bridge: whether it asks for multicast groups itself (`multicast_querier`).
    #[serde(skip_serializing_if = "is_false")]
    pub querier: bool,
    /// Of a bridge: whether somebody asks for multicast groups, the bridge or a router in its network. `None`: the kernel does not tell
    /// (before Linux 5.16), or the link is no bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub querier_seen: Option<bool>,
    /// The VLAN of a VLAN link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// What went through it.
    #[serde(skip_serializing_if = "is_zero")]
    pub counters: Counters,
}

setters! { LinkDetails {
    with_carrier: carrier = bool;
    with_state: state = OperState;
} }

/// What went through a link since it was made. Received is what this domain received: of a vif what its guest sent.
///
/// Source: `include/uapi/linux/if_link.h`, `struct rtnl_link_stats64`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Counters {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bad packets received.
    pub rx_errors: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
    /// Packets received and dropped.
    pub rx_dropped: u64,
    /// Packets dropped on the way out.
    pub tx_dropped: u64,
}

/// The operational state of a link (RFC 2863, `IFLA_OPERSTATE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum OperState {
    /// Its driver does not tell; it works if it is up.
    #[default]
    Unknown,
    /// A part of it is missing.
    NotPresent,
    /// It is down, or has no carrier.
    Down,
    /// The link that it sits on is down.
    LowerLayerDown,
    /// It is being tested.
    Testing,
    /// It waits for something: 802.1X, or a program.
    Dormant,
    /// It works.
    Up,
}

/// Whether a bridge port forwards (`IFLA_BRPORT_STATE`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PortForwarding {
    /// No: the port or its bridge is down, or it has no carrier.
    #[default]
    Disabled,
    /// No: the forward delay of the bridge runs, and the spanning tree listens.
    Listening,
    /// No: the forward delay of the bridge runs. Addresses are learned.
    Learning,
    /// Yes.
    Forwarding,
    /// No: the spanning tree has closed it, to break a loop.
    Blocking,
}

/// A neighbour that this domain has learned.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LearnedNeighbour {
    /// The link.
    pub link: IfName,
    /// The address.
    pub address: IpAddr,
    /// Its hardware address; `None` while it has not answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Whether it did not answer, and the kernel has given up asking for now (`NUD_FAILED`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub silent: bool,
}

/// A station that a bridge has learned: behind which port it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Station {
    /// The port.
    pub port: IfName,
    /// The station.
    pub mac: MacAddr,
    /// The VLAN, on a VLAN-aware bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}
