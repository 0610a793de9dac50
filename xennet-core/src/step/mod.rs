//! What a change is: a typed step that can be printed, stored, compared and refused, and the pure function that says
//! what the kernel would do with it.

mod display;
mod forget;
mod nft;
mod rules;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{IfName, MacAddr};
use crate::snapshot::{
    AddrGenMode, Address, FdbEntry, Neighbour, PortVlan, Route, Rule, StorePath, StorePermission, SysctlKey,
};

pub use forget::ForgetStep;
pub use nft::*;
pub use rules::step;
pub(crate) use rules::{appear, vanish};

/// A link as a step names it.
///
/// With an index the step is for that very link: if the name has passed to another one meanwhile, the kernel answers
/// `ENODEV` and nothing happens. Without one (the link is made by an earlier step of the same plan) the name decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LinkRef {
    /// The name at the time of the step.
    pub name: IfName,
    /// The index that was observed.
    pub index: Option<u32>,
}

impl LinkRef {
    /// A link by its name alone.
    pub const fn named(name: IfName) -> Self {
        LinkRef { name, index: None }
    }

    /// The very link that had this index when it was looked at; without an index as [`LinkRef::named`].
    pub fn new(name: IfName, index: impl Into<Option<u32>>) -> Self {
        LinkRef { name, index: index.into() }
    }
}

impl fmt::Display for LinkRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// One change, the unit that a backend applies.
///
/// A step prints as a line of a plan.
///
/// ```
/// use xennet_core::step::{LinkChange, LinkRef, LinkStep, Step};
///
/// let link = LinkRef::named("vif5.0".parse()?);
/// let step = Step::Link(LinkStep::Set { link, change: LinkChange::default().with_mtu(1400).with_up(true) });
/// assert_eq!(step.to_string(), "vif5.0: mtu 1400, up");
/// assert_eq!(step.object(), "vif5.0");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("ip link", "bridge link", "ifconfig"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// A link is made, changed or removed.
    Link(LinkStep),
    /// A bridge port, its VLANs or its forwarding entries change.
    Port(PortStep),
    /// An address is added or removed.
    Addr(AddrStep),
    /// A route is added, replaced or removed.
    Route(RouteStep),
    /// A policy rule is added or removed.
    Rule(RuleStep),
    /// A permanent or proxy neighbour is added or removed.
    Neigh(NeighStep),
    /// A kernel setting is written.
    Sysctl(SysctlStep),
    /// nftables objects change, all or none.
    Nft(NftTransaction),
    /// xenstore nodes change, all or none.
    Store(StoreTransaction),
    /// Something that the kernel has learned is forgotten.
    Forget(ForgetStep),
}

/// A change of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum LinkStep {
    /// `ip link add NAME type …`: `RTM_NEWLINK` with `NLM_F_CREATE | NLM_F_EXCL`.
    Create {
        /// Its name.
        name: IfName,
        /// What it is made of.
        kind: NewLink,
        /// Settings that go into the same message.
        change: LinkChange,
    },
    /// `ip link set NAME …`: one `RTM_SETLINK` message. The kernel works through the attributes in its own order and does
    /// not take back what it did when a later one fails.
    Set {
        /// Which.
        link: LinkRef,
        /// What changes.
        change: LinkChange,
    },
    /// `ip link del NAME`.
    Delete {
        /// Which.
        link: LinkRef,
    },
}

/// Kinds of links that xennet makes.
#[doc(alias = "veth")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NewLink {
    /// A bridge.
    Bridge,
    /// A virtual cable; the other end gets this name and is made in the same namespace.
    Veth {
        /// The name of the other end.
        peer: IfName,
    },
}

/// What changes on a link. `None` everywhere: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct LinkChange {
    /// A new hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// A new MTU in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// A new name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<IfName>,
    /// A new note; empty takes it away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// Up or down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub up: Option<bool>,
    /// ARP on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arp: Option<bool>,
    /// Multicast on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast: Option<bool>,
    /// A new master, or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master: Option<NewMaster>,
    /// A new transmit queue length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub txqueuelen: Option<u32>,
    /// How IPv6 makes its own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addr_gen_mode: Option<AddrGenMode>,
    /// Settings of a bridge.
    #[serde(skip_serializing_if = "BridgeChange::is_empty")]
    pub bridge: BridgeChange,
}

setters! { LinkChange {
    with_mac: mac = impl Into<Option<MacAddr>>;
    with_mtu: mtu = impl Into<Option<u32>>;
    with_name: name = impl Into<Option<IfName>>;
    with_alias: alias = impl Into<Option<String>>;
    with_up: up = impl Into<Option<bool>>;
    with_arp: arp = impl Into<Option<bool>>;
    with_multicast: multicast = impl Into<Option<bool>>;
    with_master: master = impl Into<Option<NewMaster>>;
    with_txqueuelen: txqueuelen = impl Into<Option<u32>>;
    with_addr_gen_mode: addr_gen_mode = impl Into<Option<AddrGenMode>>;
    with_bridge: bridge = BridgeChange;
} }

/// Where a link's master goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NewMaster {
    /// It becomes a port of this bridge.
    Bridge(LinkRef),
    /// It becomes a port of nothing.
    None,
}

/// What changes on a bridge. `None` everywhere: nothing. Times in hundredths of a second.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct BridgeChange {
    /// Spanning tree on or off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stp: Option<bool>,
    /// Forward delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_delay_cs: Option<u32>,
    /// Ageing time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ageing_time_cs: Option<u32>,
    /// VLAN filtering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
    /// The VLAN a new port gets; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_pvid: Option<u16>,
    /// Multicast snooping.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast_snooping: Option<bool>,
}

setters! { BridgeChange {
    with_stp: stp = impl Into<Option<bool>>;
    with_forward_delay_cs: forward_delay_cs = impl Into<Option<u32>>;
    with_ageing_time_cs: ageing_time_cs = impl Into<Option<u32>>;
    with_vlan_filtering: vlan_filtering = impl Into<Option<bool>>;
    with_default_pvid: default_pvid = impl Into<Option<u16>>;
    with_multicast_snooping: multicast_snooping = impl Into<Option<bool>>;
} }

impl BridgeChange {
    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == BridgeChange::default()
    }
}

/// A change of a bridge port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum PortStep {
    /// `bridge link set dev PORT …`, and the link up or down in the same message if asked for. The port's settings are in
    /// force before the link goes up: `IFLA_LINKINFO`/`IFLA_INFO_SLAVE_DATA` is worked through before the flags.
    Set {
        /// The port.
        port: LinkRef,
        /// What changes.
        change: PortChange,
        /// Up or down, after the settings.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        up: Option<bool>,
    },
    /// `bridge vlan add dev PORT vid …`; an existing VLAN takes the new flags.
    VlanAdd {
        /// The port, or the bridge itself.
        port: LinkRef,
        /// The VLAN.
        vlan: PortVlan,
    },
    /// `bridge vlan del dev PORT vid …`.
    VlanDel {
        /// The port, or the bridge itself.
        port: LinkRef,
        /// The VLAN; only the id counts.
        vlan: PortVlan,
    },
    /// `bridge fdb add …`.
    FdbAdd {
        /// The entry.
        entry: FdbEntry,
    },
    /// `bridge fdb del …`.
    FdbDel {
        /// The entry.
        entry: FdbEntry,
    },
}

/// What changes on a bridge port. `None` everywhere: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct PortChange {
    /// May talk to non-isolated ports only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolated: Option<bool>,
    /// Addresses are learned from its frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learning: Option<bool>,
    /// Frames may leave through the port they came in by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hairpin: Option<bool>,
    /// Frames for unknown stations are sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unicast_flood: Option<bool>,
    /// Multicast frames without known receivers are sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast_flood: Option<bool>,
    /// Broadcast frames are sent to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast_flood: Option<bool>,
    /// ARP and neighbour solicitations are answered by the bridge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub neigh_suppress: Option<bool>,
    /// Only stations of the forwarding table may send.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<bool>,
    /// BPDU guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bpdu_guard: Option<bool>,
    /// Root block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub root_block: Option<bool>,
    /// Which reserved addresses are forwarded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_forward: Option<u16>,
}

setters! { PortChange {
    with_isolated: isolated = impl Into<Option<bool>>;
    with_learning: learning = impl Into<Option<bool>>;
    with_hairpin: hairpin = impl Into<Option<bool>>;
    with_unicast_flood: unicast_flood = impl Into<Option<bool>>;
    with_multicast_flood: multicast_flood = impl Into<Option<bool>>;
    with_broadcast_flood: broadcast_flood = impl Into<Option<bool>>;
    with_neigh_suppress: neigh_suppress = impl Into<Option<bool>>;
    with_locked: locked = impl Into<Option<bool>>;
    with_bpdu_guard: bpdu_guard = impl Into<Option<bool>>;
    with_root_block: root_block = impl Into<Option<bool>>;
    with_group_forward: group_forward = impl Into<Option<u16>>;
} }

/// A change of an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum AddrStep {
    /// `ip address add …`: `NLM_F_CREATE | NLM_F_EXCL`.
    Add(Address),
    /// `ip address del …`.
    Del(Address),
}

/// A change of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RouteStep {
    /// `ip route add …`: `NLM_F_CREATE | NLM_F_EXCL`.
    Add(Route),
    /// `ip route replace …`: `NLM_F_CREATE | NLM_F_REPLACE`. It takes the place of the first route with the same destination
    /// and metric, in one go: no packet meets a table without it.
    Replace(Route),
    /// `ip route append …`: `NLM_F_CREATE | NLM_F_APPEND`. Behind the routes with the same destination and metric, of IPv4.
    Append(Route),
    /// `ip route prepend …`: `NLM_F_CREATE`. Before the routes with the same destination and metric, of IPv4.
    Prepend(Route),
    /// `ip route del …`: every given attribute must match.
    Del(Route),
}

impl RouteStep {
    /// The route that it is about.
    pub fn route(&self) -> &Route {
        match self {
            RouteStep::Add(r)
            | RouteStep::Replace(r)
            | RouteStep::Append(r)
            | RouteStep::Prepend(r)
            | RouteStep::Del(r) => r,
        }
    }
}

/// A change of a policy rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RuleStep {
    /// `ip rule add …`: `NLM_F_CREATE | NLM_F_EXCL`.
    Add(Rule),
    /// `ip rule del …`.
    Del(Rule),
}

/// A change of a neighbour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NeighStep {
    /// `ip neighbour add …`: `NLM_F_CREATE | NLM_F_EXCL`.
    Add(Neighbour),
    /// `ip neighbour del …`.
    Del(Neighbour),
}

/// A kernel setting that is written.
///
/// There are no other parts: the kernel takes a path and a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SysctlStep {
    /// Which.
    pub key: SysctlKey,
    /// The new value, without newline.
    pub value: String,
}

/// Changes of xenstore that happen together or not at all.
///
/// There are no other parts: a transaction is its changes, and its document their list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct StoreTransaction(pub Vec<StoreOp>);

/// One change within a [`StoreTransaction`].
///
/// There are no others: these are all requests of `xs_wire.h` that change nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum StoreOp {
    /// Writes a value; missing nodes above are made, with the permissions of their parent.
    Write {
        /// The node.
        path: StorePath,
        /// Its new value.
        value: Vec<u8>,
    },
    /// Makes a node with an empty value unless it exists.
    Mkdir {
        /// The node.
        path: StorePath,
    },
    /// Removes a node and all below it. Removing a missing node whose parent exists succeeds.
    Rm {
        /// The node.
        path: StorePath,
    },
    /// Sets who may do what.
    SetPerms {
        /// The node.
        path: StorePath,
        /// The new list, owner first.
        permissions: Vec<StorePermission>,
    },
}

/// What a step changed besides what it asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Effects {
    /// In the order in which the kernel does it.
    pub implied: Vec<Implied>,
}

/// Something the kernel does by itself in answer to a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Implied {
    /// A link came into being (the other end of a veth).
    LinkAppears(IfName),
    /// A link disappears (the other end of a veth).
    LinkGoes(IfName),
    /// A link leaves a bridge.
    PortLeaves {
        /// The link.
        link: IfName,
        /// The bridge it was a port of.
        bridge: IfName,
    },
    /// A bridge takes another MAC, because its ports changed.
    BridgeMac {
        /// The bridge.
        bridge: IfName,
        /// Its new address.
        mac: MacAddr,
    },
    /// A bridge takes another MTU, because its ports changed.
    BridgeMtu {
        /// The bridge.
        bridge: IfName,
        /// Its new MTU.
        mtu: u32,
    },
    /// An address appears.
    AddressAppears(Address),
    /// An address disappears.
    AddressGoes(Address),
    /// A route appears.
    RouteAppears(Route),
    /// A route disappears.
    RouteGoes(Route),
    /// A neighbour entry disappears.
    NeighbourGoes(Neighbour),
    /// A forwarding entry disappears.
    FdbGoes(FdbEntry),
    /// A forwarding entry appears.
    FdbAppears(FdbEntry),
    /// A VLAN appears on a port.
    VlanAppears(IfName, PortVlan),
    /// A VLAN disappears from a port.
    VlanGoes(IfName, PortVlan),
    /// A kernel setting changes.
    Sysctl {
        /// Which.
        key: SysctlKey,
        /// Its new value.
        value: String,
    },
    /// Something else, in words.
    Other(String),
}

impl Step {
    /// The object that the step is about: a link, a setting, a table.
    pub fn object(&self) -> String {
        match self {
            Step::Link(LinkStep::Create { name, .. }) => name.to_string(),
            Step::Link(LinkStep::Set { link, .. } | LinkStep::Delete { link }) => link.to_string(),
            Step::Port(
                PortStep::Set { port, .. } | PortStep::VlanAdd { port, .. } | PortStep::VlanDel { port, .. },
            ) => port.to_string(),
            Step::Port(PortStep::FdbAdd { entry } | PortStep::FdbDel { entry }) => entry.link.to_string(),
            Step::Addr(AddrStep::Add(a) | AddrStep::Del(a)) => a.link.to_string(),
            Step::Route(r) => r.route().destination.to_string(),
            Step::Rule(RuleStep::Add(r) | RuleStep::Del(r)) => format!("rule {}", r.priority),
            Step::Neigh(NeighStep::Add(n) | NeighStep::Del(n)) => n.address.to_string(),
            Step::Sysctl(s) => s.key.to_string(),
            Step::Nft(t) => format!("nft table {}", t.table.name),
            Step::Store(t) => match t.0.first() {
                Some(
                    StoreOp::Write { path, .. }
                    | StoreOp::Mkdir { path }
                    | StoreOp::Rm { path }
                    | StoreOp::SetPerms { path, .. },
                ) => path.to_string(),
                None => "xenstore".into(),
            },
            Step::Forget(f) => f.object(),
        }
    }
}
