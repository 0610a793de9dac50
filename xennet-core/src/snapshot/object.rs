//! The kernel's objects.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::model::{IfName, MacAddr, Tagging, Vid};

/// An address family of the network layer.
///
/// There are no others that Xen's guests are routed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// Both, IPv4 first.
    pub const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// Its name: `IPv4`, `IPv6`.
    pub const fn name(self) -> &'static str {
        match self {
            Family::Ipv4 => "IPv4",
            Family::Ipv6 => "IPv6",
        }
    }

    /// The family of an address.
    pub const fn of(address: &IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Family::Ipv4,
            IpAddr::V6(_) => Family::Ipv6,
        }
    }

    /// The folder of the family in `/proc/sys/net`.
    pub const fn sysctl_folder(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4",
            Family::Ipv6 => "ipv6",
        }
    }
}

/// What a link is made of (`IFLA_INFO_KIND`).
#[doc(alias("veth", "bridge", "tun", "tap", "bond"))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LinkKind {
    /// The loopback link.
    Loopback,
    /// A link without a kind: hardware, or netback's vif.
    Plain,
    /// A bridge.
    Bridge,
    /// One end of a virtual cable.
    Veth,
    /// A tun or tap.
    Tun,
    /// An intermediate functional block.
    Ifb,
    /// A MAC-based VLAN link.
    Macvlan,
    /// Any other kind, by the kernel's name for it.
    Other(String),
}

/// How IPv6 makes its own address for a link (`IFLA_INET6_ADDR_GEN_MODE`).
///
/// Source: `include/uapi/linux/if_link.h`, `enum in6_addr_gen_mode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AddrGenMode {
    /// From the MAC address.
    Eui64,
    /// None is made.
    None,
    /// From a secret, stable for a network.
    StablePrivacy,
    /// As stable-privacy, with a secret of the kernel's own.
    Random,
}

/// A link.
#[doc(alias("interface", "ifconfig"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Link {
    /// The kernel's number of the link. Left out of comparisons.
    pub index: u32,
    /// What it is made of.
    pub kind: LinkKind,
    /// The hardware address; `None` for links without one (or with one that is not six octets long).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The MTU in bytes. A plain number: loopback has more than [`crate::model::Mtu`] allows.
    pub mtu: u32,
    /// The smallest and largest MTU that the kernel takes for it; 0 as the largest: no limit.
    pub mtu_range: (u32, u32),
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Whether ARP is used on it (no `IFF_NOARP`).
    pub arp: bool,
    /// Whether multicast is used on it (`IFF_MULTICAST`).
    pub multicast: bool,
    /// The link it is a port of, usually a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<IfName>,
    /// How IPv6 makes its own address; `None` where the link has no IPv6 (switched off in the kernel, or MTU below 1280).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addr_gen_mode: Option<AddrGenMode>,
    /// The note that an administrator may put on a link (`ip link set … alias`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Transmit queue length.
    pub txqueuelen: u32,
    /// The settings of a bridge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bridge: Option<BridgeState>,
    /// The settings of a bridge port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortState>,
    /// The other end of a veth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<VethPeer>,
}

impl Link {
    /// A link of this kind: down, without MAC and master, with the MTU of Ethernet, ARP and multicast, as hardware begins. Its index is 0
    /// until the kernel, or the fake, gives one.
    pub const fn new(kind: LinkKind) -> Self {
        Link {
            index: 0,
            kind,
            mac: None,
            mtu: 1500,
            mtu_range: (68, 0),
            up: false,
            arp: true,
            multicast: true,
            master: None,
            addr_gen_mode: None,
            alias: None,
            txqueuelen: 1000,
            bridge: None,
            port: None,
            peer: None,
        }
    }
}

setters! { Link {
    with_index: index = u32;
    with_mac: mac = impl Into<Option<MacAddr>>;
    with_mtu: mtu = u32;
    with_up: up = bool;
    with_arp: arp = bool;
    with_multicast: multicast = bool;
    with_master: master = impl Into<Option<IfName>>;
    with_addr_gen_mode: addr_gen_mode = impl Into<Option<AddrGenMode>>;
    with_alias: alias = impl Into<Option<String>>;
    with_txqueuelen: txqueuelen = u32;
    with_bridge: bridge = impl Into<Option<BridgeState>>;
    with_port: port = impl Into<Option<PortState>>;
    with_peer: peer = impl Into<Option<VethPeer>>;
    with_mtu_range: mtu_range = (u32, u32);
} }

/// The other end of a veth.
///
/// There are no others: it is in this namespace or it is not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum VethPeer {
    /// In the same namespace.
    Here(IfName),
    /// In another namespace.
    Elsewhere,
}

/// The settings of a bridge (`IFLA_INFO_DATA` of kind bridge).
///
/// Times are in hundredths of a second, the unit of the netlink attributes (`USER_HZ`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct BridgeState {
    /// Spanning tree protocol of the kernel.
    #[serde(default, skip_serializing_if = "is_false")]
    pub stp: bool,
    /// Forward delay in hundredths of a second.
    pub forward_delay_cs: u32,
    /// How long a learned address is kept, in hundredths of a second.
    pub ageing_time_cs: u32,
    /// Whether frames are filtered by VLAN. `None`: this kernel's bridge knows no VLANs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
    /// The VLAN a new port gets. `None`: this kernel's bridge knows no VLANs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_pvid: Option<u16>,
    /// Whether multicast groups are tracked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub multicast_snooping: bool,
    /// Whether its IPv4 frames go through the chains of routed packets whatever `net.bridge.bridge-nf-call-iptables` says.
    #[serde(default, skip_serializing_if = "is_false")]
    pub filters_ipv4: bool,
    /// The same of IPv6 frames and `net.bridge.bridge-nf-call-ip6tables`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub filters_ipv6: bool,
    /// Whether the MAC was set by hand, so that it no longer follows the ports. `None`: the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac_fixed: Option<bool>,
    /// Whether the MTU was set by hand, so that it no longer follows the ports. `None`: the kernel does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu_fixed: Option<bool>,
}

impl Default for BridgeState {
    /// What the kernel gives a new bridge (`net/bridge/br_device.c`, `br_dev_setup`; Linux 6.1), with VLANs compiled in.
    fn default() -> Self {
        BridgeState {
            stp: false,
            forward_delay_cs: 1500,
            ageing_time_cs: 30_000,
            vlan_filtering: Some(false),
            default_pvid: Some(1),
            multicast_snooping: true,
            filters_ipv4: false,
            filters_ipv6: false,
            mac_fixed: Some(false),
            mtu_fixed: Some(false),
        }
    }
}

setters! { BridgeState {
    with_stp: stp = bool;
    with_forward_delay_cs: forward_delay_cs = u32;
    with_ageing_time_cs: ageing_time_cs = u32;
    with_vlan_filtering: vlan_filtering = impl Into<Option<bool>>;
    with_default_pvid: default_pvid = impl Into<Option<u16>>;
    with_multicast_snooping: multicast_snooping = bool;
    with_filters_ipv4: filters_ipv4 = bool;
    with_filters_ipv6: filters_ipv6 = bool;
    with_mac_fixed: mac_fixed = impl Into<Option<bool>>;
    with_mtu_fixed: mtu_fixed = impl Into<Option<bool>>;
} }

/// The settings of a bridge port (`IFLA_INFO_SLAVE_DATA` of kind bridge).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct PortState {
    /// May talk to non-isolated ports only.
    #[serde(skip_serializing_if = "is_false")]
    pub isolated: bool,
    /// Addresses are learned from its frames.
    #[serde(skip_serializing_if = "is_true")]
    pub learning: bool,
    /// Frames may leave through the port they came in by.
    #[serde(skip_serializing_if = "is_false")]
    pub hairpin: bool,
    /// Frames for unknown stations are sent to it.
    #[serde(skip_serializing_if = "is_true")]
    pub unicast_flood: bool,
    /// Multicast frames without known receivers are sent to it.
    #[serde(skip_serializing_if = "is_true")]
    pub multicast_flood: bool,
    /// Broadcast frames are sent to it.
    #[serde(skip_serializing_if = "is_true")]
    pub broadcast_flood: bool,
    /// ARP and neighbour solicitations are answered by the bridge.
    #[serde(skip_serializing_if = "is_false")]
    pub neigh_suppress: bool,
    /// Only stations of the forwarding table may send.
    #[serde(skip_serializing_if = "is_false")]
    pub locked: bool,
    /// Spanning tree packets from it are dropped and the port is blocked (BPDU guard).
    #[serde(skip_serializing_if = "is_false")]
    pub bpdu_guard: bool,
    /// It can never become the way to the root bridge.
    #[serde(skip_serializing_if = "is_false")]
    pub root_block: bool,
    /// Which of the addresses that bridges keep to themselves are forwarded (and filtered) like any other when they come in
    /// here: a bit for each from 01:80:c2:00:00:00 on. The kernel refuses bit 1.
    #[serde(skip_serializing_if = "is_zero")]
    pub group_forward: u16,
}

setters! { PortState {
    with_isolated: isolated = bool;
    with_learning: learning = bool;
    with_hairpin: hairpin = bool;
    with_unicast_flood: unicast_flood = bool;
    with_multicast_flood: multicast_flood = bool;
    with_broadcast_flood: broadcast_flood = bool;
    with_neigh_suppress: neigh_suppress = bool;
    with_locked: locked = bool;
    with_bpdu_guard: bpdu_guard = bool;
    with_root_block: root_block = bool;
    with_group_forward: group_forward = u16;
} }

impl Default for PortState {
    /// What the kernel gives a new port (`net/bridge/br_if.c`, `new_nbp`).
    fn default() -> Self {
        PortState {
            isolated: false,
            learning: true,
            hairpin: false,
            unicast_flood: true,
            multicast_flood: true,
            broadcast_flood: true,
            neigh_suppress: false,
            locked: false,
            bpdu_guard: false,
            root_block: false,
            group_forward: 0,
        }
    }
}

/// An address of a link.
///
/// The kernel tells addresses apart by link, address, prefix length (and peer) for IPv4, by link and address for IPv6.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Address {
    /// The link.
    pub link: IfName,
    /// The address with its prefix length; host bits are kept.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub address: IpNetwork,
    /// The other end of a point-to-point link, when it differs from the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<IpAddr>,
    /// The broadcast address (IPv4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<Ipv4Addr>,
    /// `rt_scope`: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// The label (IPv4), when it differs from the link's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// IPv4: not the first of its subnet; goes when the first goes, unless `promote_secondaries` is set. IPv6: a temporary
    /// one, which goes with the address that it was made for. Set by the kernel; ignored when an address is added.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secondary: bool,
    /// No connected route is made for it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_prefix_route: bool,
    /// No duplicate address detection (IPv6).
    #[serde(default, skip_serializing_if = "is_false")]
    pub nodad: bool,
    /// The metric of its connected route (`IFA_RT_PRIORITY`); 0 where none was given.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub metric: u32,
    /// Flags that only travel ([`Address::TRAVELS`]), and [`Address::IS_DUPLICATE`].
    #[serde(default, skip_serializing_if = "is_zero")]
    pub flags: u32,
    /// Remaining lifetimes in seconds, valid and preferred; `None` for ever. Left out of comparisons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<(u32, u32)>,
}

setters! { Address {
    with_link: link = IfName;
    with_peer: peer = impl Into<Option<IpAddr>>;
    with_broadcast: broadcast = impl Into<Option<Ipv4Addr>>;
    with_scope: scope = u8;
    with_label: label = impl Into<Option<String>>;
    with_secondary: secondary = bool;
    with_no_prefix_route: no_prefix_route = bool;
    with_nodad: nodad = bool;
    with_metric: metric = u32;
    with_flags: flags = u32;
    with_lifetime: lifetime = impl Into<Option<(u32, u32)>>;
} }

pub(super) fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
pub(super) const fn is_true(flag: &bool) -> bool {
    *flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it so")]
pub(super) const fn is_false(flag: &bool) -> bool {
    !*flag
}

impl Address {
    /// A permanent address of global scope on a link, with nothing special about it.
    pub fn new(link: IfName, address: IpNetwork) -> Self {
        Address {
            link,
            address,
            peer: None,
            broadcast: None,
            scope: 0,
            label: None,
            secondary: false,
            no_prefix_route: false,
            nodad: false,
            metric: 0,
            flags: 0,
            lifetime: None,
        }
    }

    /// Whether it is one that a link makes for itself: an IPv6 address of the link alone.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self.address, IpNetwork::V6(a) if a.ip().is_unicast_link_local())
    }

    /// Whether the kernel may have made it, on its own or because a router said so: these come with a carrier, at any moment.
    pub(crate) fn is_made_by_kernel(&self) -> bool {
        let by_router = self.address.is_ipv6() && self.lifetime.is_some() && !self.no_prefix_route;
        self.is_own() || self.is_temporary() || (by_router && self.address.prefix() == 64)
    }

    /// `IFA_F_HOMEADDRESS`, `IFA_F_MANAGETEMPADDR` and `IFA_F_MCAUTOJOIN`.
    pub const TRAVELS: u32 = 0x10 | Address::MAKES_TEMPORARY | 0x400;
    /// `IFA_F_MANAGETEMPADDR`: the kernel makes temporary addresses beside it, where the link is to have some (RFC 8981).
    pub const MAKES_TEMPORARY: u32 = 0x100;

    /// `IFA_F_DADFAILED`: another station has it, so it is not used. Set by the kernel.
    pub const IS_DUPLICATE: u32 = 0x08;

    /// Whether it is a temporary one of the kernel's own making: they come and go.
    pub fn is_temporary(&self) -> bool {
        self.secondary && self.address.is_ipv6()
    }
}

/// A permanent or proxy neighbour.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Neighbour {
    /// The link.
    pub link: IfName,
    /// The address.
    pub address: IpAddr,
    /// What is said about it.
    pub kind: NeighbourKind,
}

impl Neighbour {
    /// What is said about an address on a link.
    pub const fn new(link: IfName, address: IpAddr, kind: NeighbourKind) -> Self {
        Neighbour { link, address, kind }
    }
}

/// What is said about a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NeighbourKind {
    /// Its hardware address is fixed.
    Permanent(MacAddr),
    /// dom0 answers for it on this link (`ip neigh add proxy …`).
    Proxy,
}

/// A static entry of a bridge's forwarding table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FdbEntry {
    /// The port (or the bridge itself) that the station is behind.
    pub link: IfName,
    /// The station.
    pub mac: MacAddr,
    /// The VLAN, on a VLAN-aware bridge.
    pub vlan: Option<u16>,
    /// How it is kept.
    pub kind: FdbKind,
}

impl FdbEntry {
    /// A station behind a port, in no VLAN.
    pub const fn new(link: IfName, mac: MacAddr, kind: FdbKind) -> Self {
        FdbEntry { link, mac, vlan: None, kind }
    }
}

setters! { FdbEntry {
    with_link: link = IfName;
    with_mac: mac = MacAddr;
    with_vlan: vlan = impl Into<Option<u16>>;
} }

/// How a forwarding entry is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FdbKind {
    /// The address belongs to the bridge itself: frames for it are delivered here (`permanent`, `local`).
    Local,
    /// A station behind the port, never forgotten (`static`).
    Static,
}

/// A VLAN of a bridge port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortVlan {
    /// The VLAN.
    pub vid: Vid,
    /// Whether frames leave with their tag.
    pub tagging: Tagging,
    /// Whether untagged frames from the port belong to it.
    pub pvid: bool,
}

impl PortVlan {
    /// A VLAN that untagged frames do not belong to.
    pub const fn new(vid: Vid, tagging: Tagging) -> Self {
        PortVlan { vid, tagging, pvid: false }
    }
}

setters! { PortVlan {
    with_pvid: pvid = bool;
} }
