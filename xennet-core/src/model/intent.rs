//! What a caller wants of the system.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{BridgeSpec, Guard, IfName, Mtu, Started, VifId, VlanSpec};

/// One wish that the planner turns into steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "intent", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Intent {
    /// A vif shall be connected.
    Attach(Attach),
    /// A vif shall be disconnected.
    Detach(Detach),
    /// A bridge shall exist with these settings.
    Bridge(BridgeSpec),
    /// A network shall be there for its guests.
    Start(Box<Started>),
}

/// A vif that shall be connected to the world in one of the three modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// Which vif.
    pub id: VifId,
    /// The link's present name: netback's `vif<domid>.<devid>`, or its wanted name if it was renamed already.
    pub device: IfName,
    /// The name it shall have.
    pub name: IfName,
    /// The MTU it shall have; without one it takes the bridge's (bridge mode) or keeps its own.
    pub mtu: Option<Mtu>,
    /// The bridge that a record of ours says it is on. A port of this bridge may be moved to another one; a port of any
    /// other bridge belongs to somebody else and is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_bridge: Option<IfName>,
    /// What the guest may send; `None`: anything. Bridge mode only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guard: Option<Guard>,
    /// What a record of ours says that the guard has of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recorded_guard: Option<Box<Guarded>>,
    /// How it is connected.
    pub attachment: Attachment,
}

/// What the guard has of a link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarded {
    /// The name under which it has it: the guard knows links by their names.
    pub link: IfName,
    /// What it lets pass.
    pub guard: Guard,
}

impl Intent {
    /// The same wish once it is fulfilled: a renamed vif is then found under its new name.
    #[must_use]
    pub fn fulfilled(self) -> Self {
        match self {
            Intent::Attach(a) => Intent::Attach(Attach { device: a.name, ..a }),
            other => other,
        }
    }
}

impl Attach {
    /// What the guard shall have of the vif: under the name that it shall have.
    pub fn guarded(&self) -> Option<Guarded> {
        self.guard.clone().map(|guard| Guarded { link: self.name, guard })
    }

    /// The vif as netback made it, connected to a bridge, without further wishes.
    pub fn to_bridge(id: VifId, bridge: IfName) -> Self {
        let device = id.vif_name();
        let attachment = Attachment::Bridge { bridge, vlan: None, isolated: false };
        Attach {
            id,
            device,
            name: device,
            mtu: None,
            recorded_bridge: None,
            guard: None,
            recorded_guard: None,
            attachment,
        }
    }
}

/// How a vif is connected: the three modes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
        /// The guest's addresses.
        guest: Vec<IpNetwork>,
        /// dom0's addresses on the vif, the guest's gateways; one per family.
        gateway: Vec<IpAddr>,
        /// The link NAT leaves through.
        egress: Egress,
    },
    /// The guest's own address is visible outside; dom0 routes both ways.
    Routed {
        /// The guest's addresses or networks.
        guest: Vec<IpNetwork>,
        /// dom0's addresses, put on the vif and used as source; one per family.
        source: Vec<IpAddr>,
        /// Whether dom0 answers ARP and neighbour solicitations for what lies behind it.
        answer_arp: bool,
    },
}

/// The link NAT leaves through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// Wherever the default route points.
    DefaultRoute,
    /// This link.
    Link(IfName),
}

/// A vif that shall be disconnected: no port of any bridge, down, without addresses and routes of ours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detach {
    /// Which vif.
    pub id: VifId,
    /// The link's present name. A link that is gone already is a success.
    pub device: IfName,
    /// Its index, if it was recorded: a link of the same name with another index is not ours and is left alone.
    pub index: Option<u32>,
    /// What a record of ours says that the guard has of it; it goes with the vif.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<Guarded>,
}
