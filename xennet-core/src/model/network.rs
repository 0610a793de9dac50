//! The networks that an administrator describes: any number on one host, each in one of the three modes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{BridgeSpec, Egress, IfName, MacAddr, Mtu};

/// One network of `/etc/xennet/networks.toml`.
///
/// Guests are connected to it by its name in their vif line (`bridge=NAME`), or, where it is a bridge, by the bridge's name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Network {
    /// Its name: what a link's name may be, so that it fits where a bridge's name is expected.
    pub name: IfName,
    /// How guests are connected.
    #[serde(flatten)]
    pub mode: NetworkMode,
}

impl Network {
    /// A network of this name and mode.
    pub fn new(name: IfName, mode: NetworkMode) -> Self {
        Network { name, mode }
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
            _ => subnets.iter().any(|s| s.network.is_ipv6() == ipv6),
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

    /// The subnet that an address lies in.
    pub fn subnet_of(&self, address: IpAddr) -> Option<&Subnet> {
        self.subnets().iter().find(|s| s.network.contains(address))
    }
}

/// The mode of a [`Network`], with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
}

impl BridgeNetwork {
    /// A bridge without an uplink.
    pub fn new(bridge: BridgeSpec) -> Self {
        BridgeNetwork { bridge, uplink: None, uplink_name: None }
    }
}

/// Guests that are hidden behind dom0's address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What guests are told.
    #[serde(default)]
    pub services: Services,
    /// The MTU of its guests' vifs; `None`: as netback makes them, or as the vif line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

impl NatNetwork {
    /// NAT towards the default route's link, a vif a guest, without subnets.
    pub fn new() -> Self {
        NatNetwork {
            subnets: Vec::new(),
            egress: Egress::DefaultRoute,
            guests: GuestLinks::PerVif,
            forwards: Vec::new(),
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
#[serde(rename_all = "kebab-case")]
pub enum GuestLinks {
    /// Xen's form: dom0 has an address on each vif, and a route to each guest.
    PerVif,
    /// A private bridge, on which dom0 has the gateways' addresses.
    Bridge(BridgeSpec),
}

/// Guests whose own addresses are visible outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct RoutedNetwork {
    /// What guests' addresses are from, and what the outside needs a route to; without any, every guest has what its vif
    /// line says.
    #[serde(default)]
    pub subnets: Vec<Subnet>,
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
    /// What guests are told.
    #[serde(default)]
    pub services: Services,
    /// The MTU of its guests' vifs; `None`: as netback makes them, or as the vif line says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
}

impl RoutedNetwork {
    /// The metric that Xen's scripts give to a vif's routes.
    pub const METRIC: u32 = 2;

    /// Routed through the default route's link, without subnets.
    pub fn new() -> Self {
        RoutedNetwork {
            subnets: Vec::new(),
            uplink: Egress::DefaultRoute,
            source: Vec::new(),
            proxy_arp: false,
            proxy_ndp: false,
            metric: RoutedNetwork::METRIC,
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

/// A subnet of guests, and dom0's address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Subnet {
    /// The subnet, by its network address.
    pub network: IpNetwork,
    /// dom0's address in it: what guests use as their gateway.
    pub gateway: IpAddr,
}

impl Subnet {
    /// The gateway where none is given: the last usable address of an IPv4 subnet (10.0.0.254 of 10.0.0.0/24), and the first
    /// of an IPv6 subnet (`…::1`).
    pub fn default_gateway(network: IpNetwork) -> IpAddr {
        match network {
            IpNetwork::V4(n) if n.prefix() >= 31 => IpAddr::V4(n.ip()),
            IpNetwork::V4(n) => IpAddr::V4((u32::from(n.broadcast()) - 1).into()),
            IpNetwork::V6(n) if n.prefix() == 128 => IpAddr::V6(n.ip()),
            IpNetwork::V6(n) => IpAddr::V6(Ipv6Addr::from(u128::from(n.network()) + 1)),
        }
    }

    /// The subnet of this network, with the default gateway.
    pub fn new(network: IpNetwork) -> Self {
        Subnet { network, gateway: Subnet::default_gateway(network) }
    }
}

/// Whether two networks, or the networks of two addresses, have an address in common.
pub(crate) fn overlap(a: IpNetwork, b: IpNetwork) -> bool {
    a.contains(b.ip()) || b.contains(a.ip())
}

/// What guests of a network are told by dnsmasq.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Services {
    /// DHCP for IPv4, router advertisements and DHCPv6 for IPv6.
    pub dhcp: bool,
    /// Names: guests may ask dom0, which asks who it asks itself.
    pub dns: bool,
    /// The addresses that are given to guests which nobody named an address for, first and last; where a family is missing,
    /// only guests with an address in their vif line get one of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub range: Vec<(IpAddr, IpAddr)>,
    /// The domain that guests are told, and under which dom0 knows them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

/// Connections to dom0 that are handed on to a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortForward {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Which ports of dom0's, first and last.
    pub ports: (u16, u16),
    /// The guest's address.
    pub to: IpAddr,
    /// Which port of the guest's the first one goes to; the others follow.
    pub to_port: u16,
}

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// The number in an IP header (IANA): 6 or 17.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

/// What becomes of guests that are still connected to a network that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They must have gone: while one is a port of the network's own bridge, or another network leaves through its bridge, the network
    /// is not stopped.
    MustHaveGone,
    /// They are cut off.
    AreCutOff,
}

/// A network that is started, with what was found when it was: what a hotplug call needs to know of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Started {
    /// The network as it was described.
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
    /// The kernel settings that it shares with other networks (as `net/ipv4/ip_forward`), with the values that they had before
    /// any network needed them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// The port forwards that it had until its description was changed, and which are taken away.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<PortForward>,
    /// Whether it is being started once more. What settings its bridge has by then are the bridge's own: another network may need
    /// them so.
    #[serde(skip)]
    pub again: bool,
}

impl Started {
    /// A started network of which nothing had to be found out.
    pub fn new(network: Network) -> Self {
        Started {
            network,
            outside: None,
            source: Vec::new(),
            bridge_mac: None,
            settings: BTreeMap::new(),
            former: Vec::new(),
            again: false,
        }
    }
}
