//! What a host is asked for.

use serde::{Deserialize, Serialize};

use super::{BridgeSpec, DevId, DomId, Guests, IfName, Network, Subject, VifId, VifSpec};

/// What a host is asked for, in the words of the front door: each is a method of [`Host`](crate::Host).
///
/// A plan that a host makes knows what it is for, so that it can be kept as a document and carried out later
/// ([`Host::apply`](crate::Host::apply)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Request {
    /// [`Host::attach`](crate::Host::attach).
    Attach {
        /// The domain.
        domid: DomId,
        /// The vif.
        vif: Box<VifSpec>,
    },
    /// [`Host::detach`](crate::Host::detach).
    Detach {
        /// The domain.
        domid: DomId,
        /// The vif's index in the domain.
        devid: DevId,
    },
    /// [`Host::ensure_bridge`](crate::Host::ensure_bridge).
    Bridge(Box<BridgeSpec>),
    /// [`Host::start_network`](crate::Host::start_network).
    Start(Box<Network>),
    /// [`Host::stop_network`](crate::Host::stop_network).
    Stop {
        /// The network.
        network: IfName,
        /// What becomes of its guests.
        guests: Guests,
    },
    /// [`Host::undo`](crate::Host::undo).
    Undo(Subject),
    /// [`Host::recover`](crate::Host::recover), for one vif, bridge or network.
    Recover(Subject),
}

impl Request {
    /// The vif, bridge or network that it is about.
    pub fn subject(&self) -> Subject {
        match self {
            Request::Attach { domid, vif } => Subject::Vif(VifId::new(*domid, vif.devid().unwrap_or(DevId::FIRST))),
            Request::Detach { domid, devid } => Subject::Vif(VifId::new(*domid, *devid)),
            Request::Bridge(bridge) => Subject::Bridge(bridge.name()),
            Request::Start(network) => Subject::Network(network.name()),
            Request::Stop { network, .. } => Subject::Network(*network),
            Request::Undo(subject) | Request::Recover(subject) => *subject,
        }
    }
}
