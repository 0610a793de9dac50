//! A network that is started: what was found for it, and what is remembered of it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{ForeignChain, Network, PortForward};
use crate::model::{IfName, MacAddr};

/// What becomes of guests that are still connected to a network that is stopped.
///
/// There are no others: it is a yes or a no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Guests {
    /// They must have gone: while one is a port of the network's own bridge, or another network leaves through its bridge, the network
    /// is not stopped.
    MustHaveGone,
    /// They are cut off.
    AreCutOff,
}

/// A network that shall be started, with what was found for it: what its plan is made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ResolvedNetwork {
    /// The network as it is described.
    pub network: Network,
    /// The link towards the outside, as resolved: the NAT's egress, the routed network's uplink. `None` where there was no
    /// default route, and for bridges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<IfName>,
    /// dom0's addresses on guests' vifs in a routed network, at most one a family.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<IpAddr>,
    /// The address of its bridge, where the bridge is made for it and neither the description nor an uplink says one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_mac: Option<MacAddr>,
    /// The networks of the LAN behind its egress, which its guests do not reach. None where they may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub lan: Vec<IpNetwork>,
    /// The port forwards that it had until its description was changed, and which are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<PortForward>,
    /// The chains of other firewalls in which its packets were accepted until its description was changed, and are not any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former_accept_in: Vec<ForeignChain>,
    /// The networks of the LAN that it was closed to until now, and which are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub former_lan: Vec<IpNetwork>,
    /// Whether it was found started, and is only started once more. What settings its bridge has by then are the bridge's own: another
    /// network may need them so. A record is about a start that has happened, and has no use for it.
    #[serde(skip)]
    pub is_started: bool,
}

impl ResolvedNetwork {
    /// A network that is not started, for which nothing had to be found out.
    pub fn new(network: Network) -> Self {
        ResolvedNetwork {
            network,
            outside: None,
            source: Vec::new(),
            bridge_mac: None,
            lan: Vec::new(),
            former: Vec::new(),
            former_accept_in: Vec::new(),
            former_lan: Vec::new(),
            is_started: false,
        }
    }

    /// The same start once more.
    #[must_use]
    pub(crate) fn once_more(&self) -> Self {
        ResolvedNetwork { is_started: true, former: Vec::new(), former_accept_in: Vec::new(), ..self.clone() }
    }
}

/// What is remembered of a network that is started: what a hotplug call needs to know of it, and what its stop puts back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Started {
    /// The network as it was described.
    pub network: Network,
    /// As [`ResolvedNetwork::outside`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<IfName>,
    /// As [`ResolvedNetwork::source`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<IpAddr>,
    /// As [`ResolvedNetwork::bridge_mac`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge_mac: Option<MacAddr>,
    /// As [`ResolvedNetwork::lan`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub lan: Vec<IpNetwork>,
    /// The kernel settings that it shares with other networks (as `net/ipv4/ip_forward`), with the values that they had before
    /// any network needed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

impl Started {
    /// A started network of which nothing had to be found out.
    pub fn new(network: Network) -> Self {
        Started::of(&ResolvedNetwork::new(network))
    }

    /// What is to be remembered of a network that was started so, before any setting is known to be shared.
    pub fn of(resolved: &ResolvedNetwork) -> Self {
        let ResolvedNetwork { network, outside, source, bridge_mac, lan, .. } = resolved.clone();
        Started { network, outside, source, bridge_mac, lan, settings: BTreeMap::new() }
    }

    /// What the network needs by this: the same start once more.
    pub(crate) fn resolved(&self) -> ResolvedNetwork {
        let Started { network, outside, source, bridge_mac, lan, .. } = self.clone();
        ResolvedNetwork { outside, source, bridge_mac, lan, is_started: true, ..ResolvedNetwork::new(network) }
    }
}
