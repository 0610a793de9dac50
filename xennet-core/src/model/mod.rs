//! What is meant: plain values without I/O, clock or randomness. A value of these types is always valid.

mod bridge;
mod id;
mod ifname;
mod intent;
mod mac;
mod net;
mod vlan;

pub use bridge::BridgeSpec;
pub use id::{DevId, DomId, VifId};
pub use ifname::{IfName, IfNameError};
pub use intent::{Attach, Attachment, Detach, Egress, Intent};
pub use mac::MacAddr;
pub use net::{Mtu, MtuError};
pub use vlan::{Tagging, Vid, VlanSpec};
