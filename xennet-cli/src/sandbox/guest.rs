//! A guest without Xen: a network namespace at the far end of a virtual cable.

use std::net::Ipv4Addr;
use std::time::Duration;

use xennet_core::ipnetwork::IpNetwork;
use xennet_core::{IfName, MacAddr, Result, VifId};

use super::namespace::NetNs;
use super::ping::ping;
use super::wire::{End, Wire};

/// What a guest shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestSpec {
    /// Which vif it has: domain and index.
    pub id: VifId,
    /// The guest's own address on the wire.
    pub mac: MacAddr,
    /// The guest's addresses; may be empty.
    pub addresses: Vec<IpNetwork>,
}

/// A network namespace that plays a guest. Its `eth0` is up; the other end lies in the namespace in which the guest was
/// made, has the name and the MAC that netback gives a vif, and is down, as a new vif is.
///
/// When this value goes, the namespace, the cable and the vif go, a moment later.
#[derive(Debug)]
pub struct Guest {
    id: VifId,
    inside: NetNs,
}

impl Guest {
    /// The name of the link inside of the guest.
    pub const LINK: &str = "eth0";

    /// Makes a guest beside the calling thread's network namespace.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](xennet_core::ErrorKind::Denied) without the permission to make namespaces and links,
    /// [`ErrorKind::NameTaken`](xennet_core::ErrorKind::NameTaken) if there is such a vif already.
    pub fn new(spec: &GuestSpec) -> Result<Self> {
        let inside = NetNs::new()?;
        let link: IfName = Guest::LINK.parse()?;
        let near = End { name: spec.id.vif_name(), mac: Some(MacAddr::BACKEND) };
        Wire::open()?.cable(near, End { name: link, mac: Some(spec.mac) }, &inside)?;
        inside.run(|| -> Result<()> {
            let mut wire = Wire::open()?;
            wire.up("lo".parse()?)?;
            for address in &spec.addresses {
                wire.address(link, *address)?;
            }
            wire.up(link)
        })??;
        Ok(Guest { id: spec.id, inside })
    }

    /// Which vif it has.
    pub fn id(&self) -> VifId {
        self.id
    }

    /// The guest's inside.
    pub fn namespace(&self) -> &NetNs {
        &self.inside
    }

    /// Sends echo requests from the guest until one is answered: how long that took there and back, or `None` if nobody
    /// answered within `patience`.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`](xennet_core::ErrorKind::Denied) without the permission for raw sockets.
    pub fn ping(&self, target: Ipv4Addr, patience: Duration) -> Result<Option<Duration>> {
        self.inside.run(|| ping(target, patience))?
    }
}
