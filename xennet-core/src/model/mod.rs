//! What is meant: plain values without I/O, clock or randomness. A value of these types is always valid.

mod bridge;
mod colo;
pub(crate) mod flaw;
mod guard;
mod id;
mod ifname;
mod mac;
pub mod macgen;
mod mode;
mod net;
mod network;
mod packet_log;
mod policy;
mod rate;
mod request;
mod resolved;
mod subject;
pub(crate) mod vif;
pub mod vifnat;
mod violation;
mod vlan;
mod wish;
mod word;

pub use bridge::BridgeSpec;
pub use colo::ColoKey;
pub use guard::Guard;
pub(crate) use guard::{apart, link_local};
pub use id::{DevId, DomId, TypeIf, VifId};
pub use ifname::{IfName, IfNameError};
pub use mac::{GuestMac, MacAddr};
pub(crate) use mode::Mode;
pub(crate) use net::LINK_LOCAL_GATEWAY;
pub use net::{Mtu, MtuError};
pub use network::{
    AddressRange, BridgeNetwork, DnsDomain, ForeignChain, GuestLinks, Guests, HostAccess, HostServices, LanAccess,
    NatNetwork, Network, NetworkMode, PortForward, Protocol, ResolvedNetwork, RoutedNetwork, Services, Started, Subnet,
};
pub(crate) use network::{
    ForeignFamily, ForeignHook, NetworkDocument, OWN_PREFIX, Place, covering, is_label, is_nft_name, is_own_table,
    overlap, together, unusable,
};
pub use packet_log::PacketLog;
pub use policy::Policy;
pub use rate::RateLimit;
pub use request::Request;
pub use resolved::{FoundVif, RecordedVif, Resolved, ResolvedVif};
pub use subject::Subject;
pub use vif::{BackendDomain, VifParts, VifSpec, VifType};
pub use violation::{Violation, ViolationCount};
pub use vlan::{Tagging, Vid, VlanSpec};
pub use wish::{Attach, Attachment, Behind, Detach, Egress, Guarded};
pub use word::Word;
