//! A host on a LAN, with no network for guests yet.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use xennet_core::ipnetwork::IpNetwork;
use xennet_core::{DevId, DomId, Error, ErrorKind, IfName, MacAddr, Result, VifId};

use super::guest::{Guest, GuestSpec};
use super::namespace::{self, NetNs};
use super::outside::{cabled, in_lan};
use super::ping::ping;
use super::talk::{arrivals, meet};
use super::wire::Wire;
use super::world::hide_run;

/// A host with an uplink and nothing else, the gateway of its LAN, and as many guests as are [started](Lan::start).
///
/// ```text
///   the outside, 192.168.0.1          guest 1
///        eth0                           eth0
///          │                              │
///         eth0 192.168.0.3             vif1.0   down, a port of nothing
///   the host
/// ```
#[derive(Debug)]
pub struct Lan {
    guests: BTreeMap<u8, Guest>,
    outside: NetNs,
}

impl Lan {
    /// The link to the outside.
    pub const UPLINK: &str = "eth0";
    /// The host's address.
    pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 3);
    /// The address of the gateway of the LAN, which is all that there is outside.
    pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 168, 0, 1);
    /// Where the outside listens for those who connect.
    const PORT: u16 = 2049;

    /// Takes this process into namespaces of its own, as [`World::enter`](super::World::enter), and makes the host there.
    ///
    /// # Errors
    /// As [`World::enter`](super::World::enter).
    pub fn enter() -> Result<Self> {
        namespace::enter()?;
        hide_run()?;
        Lan::build()
    }

    /// Makes the host in the calling thread's network namespace, which must have no links of the same names.
    ///
    /// # Errors
    /// As [`Guest::new`].
    pub fn build() -> Result<Self> {
        let uplink: IfName = Lan::UPLINK.parse()?;
        let (mut wire, outside) = cabled(uplink, Lan::OUTSIDE)?;
        wire.address(uplink, in_lan(Lan::HOST)?)?;
        wire.up(uplink)?;
        wire.route(None, Lan::OUTSIDE)?;
        Ok(Lan { guests: BTreeMap::new(), outside })
    }

    /// Starts a guest with this domain id, address and gateway: its vif appears in the calling thread's network namespace, where
    /// the host was made, as if netback had made it.
    ///
    /// # Errors
    /// As [`Guest::new`].
    pub fn start(&mut self, domid: u8, address: IpNetwork, gateway: Ipv4Addr) -> Result<()> {
        let id = VifId::new(DomId::new(u32::from(domid))?, DevId::new(0)?);
        let guest = Guest::new(&GuestSpec { id, mac: Lan::mac_of(domid), addresses: vec![address] })?;
        guest.namespace().run(|| Wire::open()?.route(None, gateway))??;
        self.guests.insert(domid, guest);
        Ok(())
    }

    /// Ends the guest with this domain id: its vif is gone when this returns. Nothing happens if it was not started.
    ///
    /// # Errors
    /// [`ErrorKind::Kernel`] if the vif cannot be removed.
    pub fn stop(&mut self, domid: u8) -> Result<()> {
        match self.guests.remove(&domid) {
            Some(guest) => Wire::open()?.delete(guest.id().vif_name()),
            None => Ok(()),
        }
    }

    /// The MAC of the guest with this domain id, from Xen's range.
    pub const fn mac_of(domid: u8) -> MacAddr {
        MacAddr::new([0x00, 0x16, 0x3e, 0x00, 0x00, domid])
    }

    /// How long an echo from a guest there and back takes, or from the outside (`None`); `None` without an answer.
    ///
    /// # Errors
    /// [`ErrorKind::LinkNotFound`] for a guest that was not started; as [`Guest::ping`].
    pub fn ping(&self, from: Option<u8>, target: Ipv4Addr, patience: Duration) -> Result<Option<Duration>> {
        match from {
            Some(domid) => self.guest(domid)?.ping(target, patience),
            None => self.outside.run(|| ping(target, patience))?,
        }
    }

    /// The address from which a guest's connection to the outside comes there; `None` if there is no connection.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn seen_outside(&self, domid: u8, patience: Duration) -> Result<Option<IpAddr>> {
        let to = SocketAddrV4::new(Lan::OUTSIDE, Lan::PORT);
        meet(self.guest(domid)?.namespace(), to, &self.outside, Lan::PORT, patience)
    }

    /// Connects from the outside to an address while a guest listens at a port: the address that the guest sees; `None` if there
    /// is no connection.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn seen_inside(&self, to: SocketAddrV4, domid: u8, port: u16, patience: Duration) -> Result<Option<IpAddr>> {
        meet(&self.outside, to, self.guest(domid)?.namespace(), port, patience)
    }

    /// Sends datagrams from an address of a guest to the outside: how many arrive.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn arrive(&self, domid: u8, source: Ipv4Addr, datagrams: usize, patience: Duration) -> Result<usize> {
        let from = self.guest(domid)?.namespace();
        arrivals((from, source), (&self.outside, Lan::OUTSIDE), datagrams, patience)
    }

    /// A guest takes an address that nobody has given it.
    ///
    /// # Errors
    /// As [`ping`](Self::ping).
    pub fn take_address(&self, domid: u8, address: IpNetwork) -> Result<()> {
        let link: IfName = Guest::LINK.parse()?;
        self.guest(domid)?.namespace().run(|| Wire::open()?.address(link, address))?
    }

    /// The gateway outside gets a route to a network.
    ///
    /// # Errors
    /// [`ErrorKind::Kernel`] if there is one already.
    pub fn route_outside(&self, to: IpNetwork, via: Ipv4Addr) -> Result<()> {
        self.outside.run(|| Wire::open()?.route(Some(to), via))?
    }

    fn guest(&self, domid: u8) -> Result<&Guest> {
        self.guests.get(&domid).ok_or_else(|| {
            Error::new(ErrorKind::LinkNotFound, format!("guest {domid} was not started")).with_object(domid.to_string())
        })
    }
}
