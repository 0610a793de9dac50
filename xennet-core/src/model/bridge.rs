//! What a bridge shall be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{IfName, MacAddr, Mtu};

/// A bridge as Xen hosts want it: spanning tree off, no forward delay, its own fixed MAC.
///
/// `None` means: as the kernel makes it, and whatever it is on a bridge that exists already.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BridgeSpec {
    /// The bridge's name.
    pub name: IfName,
    /// Spanning tree protocol; off by default, as the Xen scripts set it.
    pub stp: bool,
    /// How long a new port listens before it forwards; 0 by default, as the Xen scripts set it.
    pub forward_delay: Duration,
    /// The bridge's own address. Without one the planner leaves it to the kernel, where it follows the lowest port and
    /// moves when guests come and go; [`Host`](crate::Host) therefore gives a new bridge an address of this host.
    pub mac: Option<MacAddr>,
    /// The bridge's MTU; without one it follows its smallest port.
    pub mtu: Option<Mtu>,
    /// VLAN filtering; `None` leaves it as it is (off on a new bridge).
    pub vlan_filtering: Option<bool>,
}

impl BridgeSpec {
    /// A bridge with the defaults above.
    pub fn new(name: IfName) -> Self {
        BridgeSpec { name, stp: false, forward_delay: Duration::ZERO, mac: None, mtu: None, vlan_filtering: None }
    }
}
