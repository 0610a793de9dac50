//! The host of the sandbox: an uplink, a bridge, guests.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use rustix::mount::MountFlags;
use xennet_core::{DevId, DomId, Errno, Error, ErrorKind, IfName, MacAddr, Result, VifId};

use super::guest::{Guest, GuestSpec};
use super::namespace::{self, NetNs};
use super::outside::{NEAR, cabled, in_lan};
use super::wire::{End, Wire};

/// A host with an uplink and a bridge, and as many guests as are [started](World::start) on it.
///
/// ```text
///   outside 192.0.2.254          guest 1              guest 2
///        eth0                  192.0.2.11 eth0      192.0.2.12 eth0
///          │                         │                    │
///         eth0 (uplink)           vif1.0               vif2.0        both down, ports of nothing
///          │
///       xenbr0 192.0.2.1
/// ```
#[derive(Debug)]
pub struct World {
    guests: BTreeMap<u8, Guest>,
    // Held, not used: with the last descriptor the namespace would go and take the uplink with it.
    _outside: NetNs,
}

impl World {
    /// The bridge.
    pub const BRIDGE: &str = "xenbr0";
    /// The link to the outside, a port of the bridge.
    pub const UPLINK: &str = "eth0";
    /// The state directory of the sandbox: on a tmpfs that nobody else sees.
    pub const STATE_DIR: &str = "/run/xennet";
    /// The address of dom0.
    pub const DOM0: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    /// The address of the station outside.
    pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

    /// Takes this process into namespaces of its own, hides `/run` under an empty tmpfs there, and makes the world.
    ///
    /// Must be called before any thread is started.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] where the host forbids namespaces; the error says what is missing. The process may be in
    /// namespaces of its own after an error too.
    pub fn enter() -> Result<Self> {
        namespace::enter()?;
        hide_run()?;
        World::build()
    }

    /// Makes the world in the calling thread's network namespace, which must have no links of the same names.
    ///
    /// # Errors
    /// As [`Guest::new`].
    pub fn build() -> Result<Self> {
        let (bridge, uplink): (IfName, IfName) = (World::BRIDGE.parse()?, World::UPLINK.parse()?);
        let (mut wire, outside) = cabled(uplink, World::OUTSIDE)?;
        // As on a real host, the bridge has the uplink's address, for good.
        wire.bridge(End { name: bridge, mac: Some(NEAR) })?;
        wire.plug(uplink, bridge)?;
        wire.up(uplink)?;
        wire.up(bridge)?;
        wire.address(bridge, in_lan(World::DOM0)?)?;
        Ok(World { guests: BTreeMap::new(), _outside: outside })
    }

    /// Starts a guest with this domain id, 1 to 99: its vif appears in the calling thread's network namespace, where the
    /// world was made, as if netback had made it.
    ///
    /// # Errors
    /// As [`Guest::new`]; [`ErrorKind::Invalid`] for any other domain id.
    pub fn start(&mut self, domid: u8) -> Result<()> {
        if !(1..=99).contains(&domid) {
            let message = format!("a guest of the sandbox has a domain id of 1 to 99, not {domid}");
            return Err(Error::new(ErrorKind::Invalid, message).with_object(domid.to_string()));
        }
        let id = VifId::new(DomId::new(u32::from(domid))?, DevId::new(0)?);
        let addresses = vec![in_lan(World::address_of(domid))?];
        let guest = Guest::new(&GuestSpec { id, mac: World::mac_of(domid), addresses })?;
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

    /// The guest with this domain id, if it was started.
    pub fn guest(&self, domid: u8) -> Option<&Guest> {
        self.guests.get(&domid)
    }

    /// The address of the guest with this domain id.
    pub const fn address_of(domid: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 0, 2, 10u8.saturating_add(domid))
    }

    /// The MAC of the guest with this domain id, from Xen's range.
    pub const fn mac_of(domid: u8) -> MacAddr {
        MacAddr::new([0x00, 0x16, 0x3e, 0x00, 0x00, domid])
    }
}

/// Puts an empty tmpfs over `/run`, so that neither the host's state nor its xenstored is within reach.
pub(super) fn hide_run() -> Result<()> {
    let path = Path::new("/run");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", path, "tmpfs", flags, Some(c"mode=755")).map_err(|e| {
        Error::new(ErrorKind::Denied, "/run cannot be hidden under a tmpfs")
            .with_object("/run")
            .with_errno(Errno(e.raw_os_error()))
            .with_hint("the sandbox needs a mount namespace in which mounting is allowed, and a directory /run")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use xennet_tests::in_netns;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(150);

    #[test]
    fn guests_answer_when_their_vifs_are_plugged_in_and_not_before() {
        in_netns("sandbox::world::tests::guests_answer_when_their_vifs_are_plugged_in_and_not_before", || {
            let mut world = World::build().unwrap();
            assert!(world.guest(1).is_none());
            assert_eq!(world.start(0).unwrap_err().kind(), ErrorKind::Invalid);
            assert_eq!(world.start(100).unwrap_err().kind(), ErrorKind::Invalid);
            for domid in [1, 2] {
                world.start(domid).unwrap();
            }
            let (one, two) = (world.guest(1).unwrap(), world.guest(2).unwrap());
            assert_eq!(one.ping(World::address_of(2), SHORT).unwrap(), None);
            assert!(one.ping(World::address_of(1), LONG).unwrap().is_some(), "itself, over lo");
            let mut wire = Wire::open().unwrap();
            for guest in [one, two] {
                let vif = guest.id().vif_name();
                wire.plug(vif, World::BRIDGE.parse().unwrap()).unwrap();
                wire.up(vif).unwrap();
            }
            for target in [World::address_of(2), World::DOM0, World::OUTSIDE] {
                assert!(one.ping(target, LONG).unwrap().is_some(), "{target} answers");
            }
            assert!(two.ping(World::address_of(1), LONG).unwrap().is_some());
            assert_eq!(one.ping(World::address_of(3), SHORT).unwrap(), None);
        });
    }

    #[test]
    fn a_guest_goes_with_its_value_and_a_taken_name_is_an_error() {
        in_netns("sandbox::world::tests::a_guest_goes_with_its_value_and_a_taken_name_is_an_error", || {
            let spec = GuestSpec {
                id: VifId::new(DomId::new(7).unwrap(), DevId::new(3).unwrap()),
                mac: World::mac_of(7),
                addresses: Vec::new(),
            };
            let one = Guest::new(&spec).unwrap();
            let refused = Guest::new(&spec).unwrap_err();
            assert_eq!((refused.kind(), refused.object()), (ErrorKind::NameTaken, Some("vif7.3")));
            drop(one);
            // The kernel takes a namespace apart in its own time: the name is free a moment later.
            let end = std::time::Instant::now() + LONG;
            while let Err(e) = Guest::new(&spec) {
                assert!(e.kind() == ErrorKind::NameTaken && std::time::Instant::now() < end, "{e}");
                std::thread::sleep(Duration::from_millis(1));
            }
        });
    }
}
