//! What every host of the sandbox has: an uplink, and a station at its other end.

use std::net::Ipv4Addr;

use xennet_core::ipnetwork::{IpNetwork, Ipv4Network};
use xennet_core::{Error, ErrorKind, IfName, MacAddr, Result};

use super::namespace::NetNs;
use super::wire::{End, Wire};

/// The MAC of the host's end of the uplink.
pub(super) const NEAR: MacAddr = MacAddr::new([0x02, 0x00, 0x5e, 0x00, 0x53, 0x01]);
const FAR: MacAddr = MacAddr::new([0x02, 0x00, 0x5e, 0x00, 0x53, 0xfe]);

/// Makes the uplink in the calling thread's network namespace, down and without addresses, and the namespace at its other end, where a
/// link of the same name has this address.
pub(super) fn cabled(uplink: IfName, address: Ipv4Addr) -> Result<(Wire, NetNs)> {
    let outside = NetNs::new()?;
    let mut wire = Wire::open()?;
    wire.up("lo".parse()?)?;
    wire.cable(End { name: uplink, mac: Some(NEAR) }, End { name: uplink, mac: Some(FAR) }, &outside)?;
    outside.run(|| -> Result<()> {
        let mut wire = Wire::open()?;
        wire.up("lo".parse()?)?;
        wire.address(uplink, in_lan(address)?)?;
        wire.up(uplink)
    })??;
    Ok((wire, outside))
}

/// An address with the length of the LAN's prefix.
pub(super) fn in_lan(address: Ipv4Addr) -> Result<IpNetwork> {
    let network = Ipv4Network::new(address, 24);
    network.map(IpNetwork::V4).map_err(|e| Error::new(ErrorKind::Internal, format!("{address}/24: {e}")))
}
