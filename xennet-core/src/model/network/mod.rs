//! The networks that an administrator describes: any number on one host, each in one of the three modes.

//!
//! [`NatNetwork`] and its siblings are descriptions: plain fields to fill in. [`Network::new`] checks a description as a whole.
//! Nothing else makes a [`Network`], so a `Network` need not be checked again.

mod accept;
mod access;
mod domain;
mod forward;
mod rules;
mod started;
mod subnet;
mod together;

use std::fmt;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{BridgeSpec, Egress, IfName, Mtu, PacketLog, Policy};
use crate::error::{Error, ErrorKind};

pub use accept::ForeignChain;
pub(crate) use accept::{ForeignFamily, ForeignHook, OWN_PREFIX, is_nft_name, is_own_table};
pub use access::{HostAccess, HostServices, LanAccess};
pub use domain::DnsDomain;
pub(crate) use domain::is_label;
pub use forward::{PortForward, Protocol};
pub(crate) use rules::Place;
pub use started::{Guests, ResolvedNetwork, Started};
pub use subnet::{AddressRange, Subnet};
pub(crate) use subnet::{covering, overlap, unusable};
pub(crate) use together::together;

/// The error of one value that breaks a rule.
fn invalid(value: &dyn fmt::Display, what: &str, rule: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{value} cannot be {what}: {rule}")).with_object(value.to_string())
}

/// One network of `/etc/xennet/networks.toml`.
///
/// Guests are connected to it by its name in their vif line (`bridge=NAME`), or, where it is a bridge, by the bridge's name.
///
/// A `Network` keeps all rules of networks.toml, whether it is read from that file, from a document, or made in Rust.
///
/// ```
/// use xennet_core::{NatNetwork, Network, NetworkMode, Subnet};
/// let mut nat = NatNetwork::new();
/// nat.services.dhcp = true;
/// let without = Network::new("private".parse()?, NetworkMode::Nat(nat.clone())).unwrap_err();
/// assert_eq!(without.message(), "dhcp cannot be true without subnets: guests are served in a subnet");
///
/// nat.subnets = vec![Subnet::new("10.0.0.0/24".parse().unwrap())?];
/// let network = Network::new("private".parse()?, NetworkMode::Nat(nat))?;
/// assert_eq!(network.subnets()[0].gateway().to_string(), "10.0.0.254");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("networks.toml", "virsh net"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "NetworkDocument")]
pub struct Network {
    name: IfName,
    #[serde(flatten)]
    mode: NetworkMode,
}

/// What a document of a network says, before it is checked.
#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct NetworkDocument {
    name: IfName,
    #[serde(flatten)]
    mode: NetworkMode,
}

impl TryFrom<NetworkDocument> for Network {
    type Error = Error;
    fn try_from(d: NetworkDocument) -> Result<Self, Error> {
        Network::new(d.name, d.mode)
    }
}

impl Network {
    /// A network of this name and mode.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the description breaks a rule of the file: a link name that cannot be used, subnets that overlap, a
    /// service without a subnet, a range or a forward outside of the subnets.
    pub fn new(name: IfName, mode: NetworkMode) -> Result<Self, Error> {
        Network::checked(name, mode).map_err(|flaw| flaw.without_place(name.as_str()))
    }

    /// As [`new`](Self::new), with the place of the flaw, for a reader of text.
    pub(crate) fn checked(name: IfName, mode: NetworkMode) -> Result<Self, Box<super::flaw::Flaw<Place>>> {
        rules::check(&name, &mode)?;
        let network = Network { name, mode };
        // The rules between networks also hold within one, for example for the names of its links.
        match together(&[&network]) {
            Ok(()) => Ok(network),
            Err(flaw) => Err(flaw.placed(|(_, place)| place)),
        }
    }

    /// Its name: what a link's name may be, so that it fits where a bridge's name is expected.
    pub const fn name(&self) -> IfName {
        self.name
    }

    /// How guests are connected.
    pub const fn mode(&self) -> &NetworkMode {
        &self.mode
    }

    /// Whether its guests are on a bridge with this domain and, if it has an uplink, with the outside.
    pub(crate) const fn is_bridge(&self) -> bool {
        matches!(self.mode, NetworkMode::Bridge(_))
    }

    /// The word for its mode: `bridge`, `nat`, `routed`.
    pub const fn mode_name(&self) -> &'static str {
        match self.mode {
            NetworkMode::Bridge(_) => "bridge",
            NetworkMode::Nat(_) => "nat",
            NetworkMode::Routed(_) => "routed",
        }
    }

    /// Its subnets; none in bridge mode.
    pub fn subnets(&self) -> &[Subnet] {
        match &self.mode {
            NetworkMode::Bridge(_) => &[],
            NetworkMode::Nat(n) => &n.subnets,
            NetworkMode::Routed(r) => &r.subnets,
        }
    }

    /// Whether this domain routes IPv4, or IPv6, for its guests: where it has a subnet of the family. Without subnets guests may have
    /// addresses of either family; IPv4 is routed then, and IPv6 where this domain answers for guests' IPv6 addresses outside.
    pub(crate) fn routes(&self, ipv6: bool) -> bool {
        let subnets = self.subnets();
        match &self.mode {
            NetworkMode::Bridge(_) => false,
            NetworkMode::Routed(r) if subnets.is_empty() => !ipv6 || r.proxy_ndp,
            NetworkMode::Nat(_) if subnets.is_empty() => !ipv6,
            _ => subnets.iter().any(|s| s.network().is_ipv6() == ipv6),
        }
    }

    /// The bridge that is part of it, if one is.
    pub fn bridge(&self) -> Option<&BridgeSpec> {
        match &self.mode {
            NetworkMode::Bridge(b) => Some(&b.bridge),
            NetworkMode::Nat(n) => match &n.guests {
                GuestLinks::PerVif => None,
                GuestLinks::Bridge(bridge) => Some(bridge),
            },
            NetworkMode::Routed(_) => None,
        }
    }

    /// What its guests are told by DHCP and DNS; nothing in bridge mode.
    pub fn services(&self) -> Option<&Services> {
        match &self.mode {
            NetworkMode::Bridge(_) => None,
            NetworkMode::Nat(n) => Some(&n.services),
            NetworkMode::Routed(r) => Some(&r.services),
        }
    }

    /// Chains of other firewalls in which packets of its guests are accepted; none in bridge mode.
    pub(crate) fn accept_in(&self) -> &[ForeignChain] {
        match &self.mode {
            NetworkMode::Bridge(_) => &[],
            NetworkMode::Nat(n) => &n.accept_in,
            NetworkMode::Routed(r) => &r.accept_in,
        }
    }

    /// Whether every guest of this host may connect to its guests: without subnets they cannot be told from others.
    pub(crate) fn is_open(&self) -> bool {
        self.subnets().is_empty() && !self.isolates()
    }

    /// Whether its guests are kept from each other.
    pub(crate) const fn isolates(&self) -> bool {
        match &self.mode {
            NetworkMode::Bridge(b) => b.isolated,
            NetworkMode::Nat(n) => n.isolated,
            NetworkMode::Routed(r) => r.isolated,
        }
    }

    /// How far guests are filtered whose vif lines do not say it. In a network whose guests have links of their own they send from their
    /// addresses only.
    pub const fn policy(&self) -> Option<Policy> {
        match &self.mode {
            NetworkMode::Bridge(b) => b.policy,
            NetworkMode::Nat(n) => n.policy,
            NetworkMode::Routed(_) => None,
        }
    }

    /// Whether a guest may send from the address of any of its vifs through each of them.
    pub(crate) const fn any_vif(&self) -> bool {
        match &self.mode {
            NetworkMode::Bridge(_) => false,
            NetworkMode::Nat(n) => n.any_vif,
            NetworkMode::Routed(r) => r.any_vif,
        }
    }

    /// Where packets that its guests may not send are logged, unless their vif lines say otherwise.
    pub const fn log(&self) -> PacketLog {
        match &self.mode {
            NetworkMode::Bridge(b) => b.log,
            NetworkMode::Nat(n) => n.log,
            NetworkMode::Routed(r) => r.log,
        }
    }

    /// Addresses that its guests do not use unless they declare them.
    pub(crate) fn reserved(&self) -> &[IpNetwork] {
        match &self.mode {
            NetworkMode::Bridge(b) => &b.reserved,
            NetworkMode::Nat(n) => &n.reserved,
            NetworkMode::Routed(_) => &[],
        }
    }

    /// The subnet that an address lies in.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets().iter().find(|s| s.network().contains(address))
    }
}

/// The mode of a [`Network`], with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "mode", rename_all = "lowercase")]
#[non_exhaustive]
pub enum NetworkMode {
    /// Guests are stations on a bridge.
    Bridge(BridgeNetwork),
    /// Guests are behind dom0's address.
    Nat(NatNetwork),
    /// Guests' own addresses are visible; dom0 routes both ways.
    Routed(RoutedNetwork),
}

/// A bridge, and the link that connects it to the world.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BridgeNetwork {
    /// The bridge.
    pub bridge: BridgeSpec,
    /// The link that becomes a port; its addresses and routes move to the bridge. `None`: guests among themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink: Option<IfName>,
    /// The name that the uplink has while the network is started, as `peth0` in the days of `network-bridge`; `None`: it
    /// keeps its own. With one the bridge may take the uplink's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uplink_name: Option<IfName>,
    /// Whether guests are kept from each other: they reach this domain and the outside, and no other guest of the network that is kept from the others, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Where packets that its guests may not send are logged, unless their vif lines say otherwise.
    #[serde(default, skip_serializing_if = "PacketLog::is_off")]
    pub log: PacketLog,
    /// How far guests are filtered whose vif lines do not say it; `None`: by their addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Addresses that guests which are bound to their MAC use only if their vif lines declare them. This domain's own addresses on the bridge
    /// are among them if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub reserved: Vec<IpNetwork>,
}

impl BridgeNetwork {
    /// A bridge without an uplink.
    pub fn new(bridge: BridgeSpec) -> Self {
        BridgeNetwork {
            bridge,
            uplink: None,
            uplink_name: None,
            isolated: false,
            log: PacketLog::Off,
            policy: None,
            reserved: Vec::new(),
        }
    }
}

/// Guests that are hidden behind dom0's address.
///
/// ```
/// use xennet_core::{NatNetwork, Network, NetworkMode, PortForward, Protocol, Subnet};
///
/// // Guests in 10.0.0.0/24, behind this domain's address; its port 8080 leads to port 80 of one of them.
/// let web = PortForward::new(Protocol::Tcp, (8080, 8080), "10.0.0.5".parse().unwrap(), 80)?;
/// let nat = NatNetwork::new()
///     .with_subnets(vec![Subnet::new("10.0.0.0/24".parse().unwrap())?])
///     .with_forwards(vec![web]);
/// let network = Network::new("private".parse()?, NetworkMode::Nat(nat))?;
/// assert_eq!(network.mode_name(), "nat");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("masquerade", "snat"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NatNetwork {
    /// What guests' addresses are from; without any, every guest has what its vif line says, or Xen's default for its number.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    /// The link NAT leaves through.
    pub egress: Egress,
    /// How guests are connected to dom0.
    pub guests: GuestLinks,
    /// Connections from outside that are handed on to guests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forwards: Vec<PortForward>,
    /// Whether a guest with several vifs here may send from the address of any of them through each of them. Not with a private bridge.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_vif: bool,
    /// Whether guests are kept from each other: they reach this domain and the outside, and no other guest of the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Where packets that its guests may not send are logged, unless their vif lines say otherwise.
    #[serde(default, skip_serializing_if = "PacketLog::is_off")]
    pub log: PacketLog,
    /// What guests reach of this domain itself.
    #[serde(default, skip_serializing_if = "HostAccess::is_open")]
    pub host: HostAccess,
    /// Whether guests reach the stations of the LAN behind the egress.
    #[serde(default, skip_serializing_if = "LanAccess::is_open")]
    pub lan: LanAccess,
    /// How far guests on a private bridge are filtered whose vif lines do not say it; `None`: by their addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// Addresses that guests on a private bridge which are bound to their MAC use only if their vif lines declare them. The gateways are among them
    /// if there are any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub reserved: Vec<IpNetwork>,
    /// Guests of other networks of this host that may connect to guests of this one, by their addresses: subnets of other networks, or
    /// parts of them. Nobody else than guests is meant, whatever address he has.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    pub reachable_from: Vec<IpNetwork>,
    /// Chains of other firewalls in which packets of its guests are accepted while it is started: rules with the comment `xennet network NAME`
    /// come first in them, and are removed when it is stopped. They tell guests by the subnets or by a private bridge, so there must be subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept_in: Vec<ForeignChain>,
    /// What guests are told.
    #[serde(default)]
    pub services: Services,
    /// The MTU of its guests' vifs; `None`: as netback makes them, or as the vif line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

setters! { NatNetwork {
    with_subnets: subnets = Vec<Subnet>;
    with_egress: egress = Egress;
    with_guests: guests = GuestLinks;
    with_forwards: forwards = Vec<PortForward>;
    with_any_vif: any_vif = bool;
    with_isolated: isolated = bool;
    with_log: log = PacketLog;
    with_host: host = HostAccess;
    with_lan: lan = LanAccess;
    with_policy: policy = impl Into<Option<Policy>>;
    with_reserved: reserved = Vec<IpNetwork>;
    with_reachable_from: reachable_from = Vec<IpNetwork>;
    with_accept_in: accept_in = Vec<ForeignChain>;
    with_services: services = Services;
    with_mtu: mtu = impl Into<Option<Mtu>>;
} }

impl NatNetwork {
    /// NAT towards the default route's link, a vif a guest, without subnets.
    pub fn new() -> Self {
        NatNetwork {
            subnets: Vec::new(),
            egress: Egress::DefaultRoute,
            guests: GuestLinks::PerVif,
            forwards: Vec::new(),
            any_vif: false,
            isolated: false,
            log: PacketLog::Off,
            host: HostAccess::Open,
            lan: LanAccess::Open,
            policy: None,
            reserved: Vec::new(),
            reachable_from: Vec::new(),
            accept_in: Vec::new(),
            services: Services::default(),
            mtu: None,
        }
    }
}

impl Default for NatNetwork {
    fn default() -> Self {
        NatNetwork::new()
    }
}

/// How the guests of a NAT network are connected to dom0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum GuestLinks {
    /// Xen's form: dom0 has an address on each vif, and a route to each guest.
    PerVif,
    /// A private bridge, on which dom0 has the gateways' addresses. It has the network's MTU and no other settings.
    Bridge(BridgeSpec),
}

/// Guests whose own addresses are visible outside.
#[doc(alias("routed", "proxy arp"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RoutedNetwork {
    /// What guests' addresses are from, and what the outside needs a route to; without any, every guest has what its vif
    /// line says.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
    /// Whether guests may have every address of the IPv4 subnets, including the network, broadcast and gateway addresses. dom0 then
    /// has no address in them, and guests use [`source`](Self::source) as their gateway.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub whole_subnets: bool,
    /// Whether a guest with several vifs here may send from the address of any of them through each of them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_vif: bool,
    /// Whether guests are kept from each other: they reach this domain and the outside, and no other guest of the network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub isolated: bool,
    /// Where packets that its guests may not send are logged, unless their vif lines say otherwise.
    #[serde(default, skip_serializing_if = "PacketLog::is_off")]
    pub log: PacketLog,
    /// What guests reach of this domain itself.
    #[serde(default, skip_serializing_if = "HostAccess::is_open")]
    pub host: HostAccess,
    /// Whether guests reach the stations of the LAN behind the uplink.
    #[serde(default, skip_serializing_if = "LanAccess::is_open")]
    pub lan: LanAccess,
    /// The link towards the outside, whose first address is dom0's on every vif.
    pub uplink: Egress,
    /// dom0's addresses on every vif, at most one a family; where one is missing, the uplink's first is taken.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub source: Vec<IpAddr>,
    /// Whether dom0 answers ARP on the uplink for its guests, so that stations there need no route.
    #[serde(default)]
    pub proxy_arp: bool,
    /// Whether dom0 answers neighbour solicitations on the uplink for its guests.
    #[serde(default)]
    pub proxy_ndp: bool,
    /// The metric of guests' routes; 2 is Xen's. The emulated twin's is one less.
    pub metric: u32,
    /// Chains of other firewalls in which packets of its guests are accepted while it is started: rules with the comment `xennet network NAME`
    /// come first in them, and are removed when it is stopped. They tell guests by the subnets or by a private bridge, so there must be subnets.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub accept_in: Vec<ForeignChain>,
    /// What guests are told.
    #[serde(default)]
    pub services: Services,
    /// The MTU of its guests' vifs; `None`: as netback makes them, or as the vif line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

setters! { RoutedNetwork {
    with_subnets: subnets = Vec<Subnet>;
    with_whole_subnets: whole_subnets = bool;
    with_any_vif: any_vif = bool;
    with_isolated: isolated = bool;
    with_log: log = PacketLog;
    with_host: host = HostAccess;
    with_lan: lan = LanAccess;
    with_uplink: uplink = Egress;
    with_source: source = Vec<IpAddr>;
    with_proxy_arp: proxy_arp = bool;
    with_proxy_ndp: proxy_ndp = bool;
    with_metric: metric = u32;
    with_accept_in: accept_in = Vec<ForeignChain>;
    with_services: services = Services;
    with_mtu: mtu = impl Into<Option<Mtu>>;
} }

impl RoutedNetwork {
    /// The metric that Xen's scripts give to a vif's routes.
    pub(crate) const METRIC: u32 = 2;

    /// The subnets in which dom0 has a gateway address.
    pub fn gateways(&self) -> impl Iterator<Item = &Subnet> {
        self.subnets.iter().filter(|s| !(self.whole_subnets && s.network().is_ipv4()))
    }

    /// Routed through the default route's link, without subnets.
    pub fn new() -> Self {
        RoutedNetwork {
            subnets: Vec::new(),
            whole_subnets: false,
            any_vif: false,
            isolated: false,
            log: PacketLog::Off,
            host: HostAccess::Open,
            lan: LanAccess::Open,
            uplink: Egress::DefaultRoute,
            source: Vec::new(),
            proxy_arp: false,
            proxy_ndp: false,
            metric: RoutedNetwork::METRIC,
            accept_in: Vec::new(),
            services: Services::default(),
            mtu: None,
        }
    }
}

impl Default for RoutedNetwork {
    fn default() -> Self {
        RoutedNetwork::new()
    }
}

/// What guests of a network are told by dnsmasq.
#[doc(alias("dhcp", "dnsmasq", "dns"))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Services {
    /// DHCP for IPv4, router advertisements and DHCPv6 for IPv6.
    pub dhcp: bool,
    /// Names: guests may ask dom0, which asks who it asks itself.
    pub dns: bool,
    /// The addresses that are given to guests which nobody named an address for, at most one range a family; where a family is
    /// missing, only guests with an address in their vif line get one of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub range: Vec<AddressRange>,
    /// The domain that guests are told, and under which dom0 knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<DnsDomain>,
}

setters! { Services {
    with_dhcp: dhcp = bool;
    with_dns: dns = bool;
    with_range: range = Vec<AddressRange>;
    with_domain: domain = impl Into<Option<DnsDomain>>;
} }
