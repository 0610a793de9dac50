//! What the caller adds to a vif line: what only the network outside, or the guest itself, knows.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::GuestLink;
use crate::model::DnsDomain;

/// What the caller knows besides the vif line and the description of its network.
///
/// A bridged guest is a station of a LAN that xennet has no description of. The LAN's prefix, gateway and name servers come from here.
/// In the other modes these override what the network's description gives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct GuestWish {
    /// The networks that the guest's addresses are in, for example 192.168.0.0/24.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub prefix: Vec<IpNetwork>,
    /// The gateways, at most one a family.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub gateway: Vec<IpAddr>,
    /// Whether the guest has no gateway where none is named: it reaches its own network only.
    pub no_gateway: bool,
    /// The name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dns: Vec<IpAddr>,
    /// The domains in which the guest looks up short names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub search: Vec<DnsDomain>,
    /// Whether the guest asks by DHCP (IPv4) and listens to router advertisements (IPv6).
    pub dhcp: bool,
    /// The name of the interface inside the guest. Without it the file matches the MAC where its format can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<GuestLink>,
}
