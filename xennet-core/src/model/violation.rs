//! Classes of packets that guests may not send, and their counts.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::IfName;

/// A class of packets that the policy or the network of a guest does not let it send.
///
/// The kernel counts them by link and class. The guard and the gate set the mark of a packet to the [number](Self::number) of its class, count
/// it in the set `violations` of their table, and drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Violation {
    /// A frame for the bridge itself: spanning tree, LLDP, link aggregation, port authentication (IEEE 802.1D).
    BridgeControl,
    /// A VLAN tag of a VLAN that the guest is not in, or a provider's tag (IEEE 802.1ad).
    Vlan,
    /// A source MAC, or a sender's MAC in ARP, that is not the guest's.
    Mac,
    /// An address that is not the guest's: as the source, or claimed in ARP or neighbour discovery.
    Address,
    /// Neither IP nor ARP.
    Protocol,
    /// What only routers say: router advertisements, redirects, multicast queries, VRRP, HSRP, PIM.
    Router,
    /// What only DHCP servers and relays say.
    DhcpServer,
    /// A packet whose headers cannot be read: they continue in another fragment, stand behind an authentication header, or extension headers
    /// stand where no system puts them.
    Unreadable,
    /// Any packet of a closed guest (`policy=disabled`, or `policy=strict` without an address).
    Closed,
    /// To a neighbour of a network whose guests are kept from each other.
    Isolated,
    /// To this domain, by a guest that does not reach it, or only its services (`host`).
    Host,
    /// To the LAN behind the egress, by a guest that does not reach it (`lan`).
    Lan,
}

impl Violation {
    /// Every class, in the order of their numbers.
    pub const ALL: [Violation; 12] = [
        Violation::BridgeControl,
        Violation::Vlan,
        Violation::Mac,
        Violation::Address,
        Violation::Protocol,
        Violation::Router,
        Violation::DhcpServer,
        Violation::Unreadable,
        Violation::Closed,
        Violation::Isolated,
        Violation::Host,
        Violation::Lan,
    ];

    /// The number that stands for it in the mark of a packet, and in the sets `violations`: 1 to 12.
    pub const fn number(self) -> u32 {
        self as u32 + 1
    }

    /// The class with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.number() == number)
    }

    /// The word for it, as in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Violation::BridgeControl => "bridge-control",
            Violation::Vlan => "vlan",
            Violation::Mac => "mac",
            Violation::Address => "address",
            Violation::Protocol => "protocol",
            Violation::Router => "router",
            Violation::DhcpServer => "dhcp-server",
            Violation::Unreadable => "unreadable",
            Violation::Closed => "closed",
            Violation::Isolated => "isolated",
            Violation::Host => "host",
            Violation::Lan => "lan",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The packets of one class that were dropped from a guest since its vif was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ViolationCount {
    /// The guest's link on this host: `vif5.0`, or the name that the vif was given.
    pub link: IfName,
    /// The class.
    pub violation: Violation,
    /// Frames or packets.
    pub packets: u64,
    /// Their bytes, without the ethernet headers.
    pub bytes: u64,
}

impl ViolationCount {
    /// A count.
    pub const fn new(link: IfName, violation: Violation, packets: u64, bytes: u64) -> Self {
        ViolationCount { link, violation, packets, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_a_number_and_a_word() {
        for (at, class) in Violation::ALL.into_iter().enumerate() {
            assert_eq!(class.number() as usize, at + 1);
            assert_eq!(Violation::from_number(class.number()), Some(class));
            assert_eq!(serde_json::to_value(class).unwrap(), class.name());
        }
        assert_eq!(Violation::from_number(0), None);
        assert_eq!(Violation::from_number(13), None);
    }
}
