//! Neighbours, forwarding entries of bridges, VLANs of bridge ports.
//!
//! Source: `include/uapi/linux/neighbour.h`, `net/core/neighbour.c` (`neigh_fill_info`, `pneigh_fill_info`),
//! `net/bridge/br_fdb.c` (`fdb_fill_info`), `include/uapi/linux/if_bridge.h` (`struct br_vlan_msg`),
//! `net/bridge/br_vlan.c`.

use std::collections::BTreeSet;

use super::ip;
use crate::backend::netlink::wire::{self, Attributes};
use crate::model::{IfName, MacAddr, Tagging, Vid};
use crate::snapshot::{FdbEntry, FdbKind, Neighbour, NeighbourKind, PortVlan};

/// `RTM_NEWNEIGH`.
pub(crate) const NEW: u16 = 28;
/// `RTM_NEWVLAN`.
pub(crate) const NEW_VLAN: u16 = 112;
/// `RTM_GETVLAN`.
pub(crate) const GET_VLAN: u16 = 114;

/// Bytes of `struct ndmsg`.
const HEADER: usize = 12;
/// Bytes of `struct br_vlan_msg`.
pub(crate) const VLAN_HEADER: usize = 8;

/// `AF_BRIDGE`.
pub(crate) const AF_BRIDGE: u8 = 7;

const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;
const NTF_PROXY: u8 = 0x08;
const NTF_EXT_LEARNED: u8 = 0x10;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;

struct Header {
    family: u8,
    index: u32,
    state: u16,
    flags: u8,
}

fn header(body: &[u8]) -> Option<Header> {
    Some(Header {
        family: wire::u8(body)?,
        index: wire::u32(body.get(4..)?)?,
        state: wire::u16(body.get(8..)?)?,
        flags: wire::u8(body.get(10..)?)?,
    })
}

fn mac(attributes: Attributes<'_>) -> Option<MacAddr> {
    <[u8; 6]>::try_from(attributes.find(NDA_LLADDR)?).ok().map(MacAddr::new)
}

/// Reads the body of an `RTM_NEWNEIGH` about a neighbour. `None` for learned ones, which are not state.
pub(crate) fn read(body: &[u8], mut name: impl FnMut(u32) -> Option<IfName>) -> Option<Neighbour> {
    let header = header(body)?;
    let attributes = Attributes::after(body, HEADER);
    let address = ip::address(header.family, attributes.find(NDA_DST)?)?;
    let kind = if header.flags & NTF_PROXY != 0 {
        NeighbourKind::Proxy
    } else if header.state & NUD_PERMANENT != 0 {
        NeighbourKind::Permanent(mac(attributes)?)
    } else {
        return None;
    };
    Some(Neighbour { link: name(header.index)?, address, kind })
}

/// Reads the body of an `RTM_NEWNEIGH` about a forwarding entry. `None` for learned ones, and for the list of addresses
/// that a link itself listens to, which comes in the same listing.
pub(crate) fn read_fdb(body: &[u8], mut name: impl FnMut(u32) -> Option<IfName>) -> Option<FdbEntry> {
    let header = header(body)?;
    if header.family != AF_BRIDGE || header.flags & (NTF_SELF | NTF_EXT_LEARNED) != 0 {
        return None;
    }
    let attributes = Attributes::after(body, HEADER);
    let kind = if header.state & NUD_PERMANENT != 0 {
        FdbKind::Local
    } else if header.state & NUD_NOARP != 0 {
        FdbKind::Static
    } else {
        return None;
    };
    Some(FdbEntry {
        link: name(header.index)?,
        mac: mac(attributes)?,
        vlan: attributes.find(NDA_VLAN).and_then(wire::u16).filter(|vlan| *vlan != 0),
        kind,
    })
}

/// A learned entry: of a link with this number.
pub(crate) struct Learned {
    pub(crate) index: u32,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) mac: Option<MacAddr>,
    pub(crate) vlan: Option<u16>,
    /// Nobody has answered, and the kernel has given up asking for now.
    pub(crate) silent: bool,
}

const NUD_FAILED: u16 = 0x20;

/// Reads the body of an `RTM_NEWNEIGH` about a learned neighbour.
pub(crate) fn read_learned(body: &[u8]) -> Option<Learned> {
    let header = header(body)?;
    let is_fixed = header.flags & NTF_PROXY != 0 || header.state & (NUD_PERMANENT | NUD_NOARP) != 0;
    (!is_fixed && header.state != 0).then_some(())?;
    let attributes = Attributes::after(body, HEADER);
    let address = ip::address(header.family, attributes.find(NDA_DST)?)?;
    let silent = header.state & NUD_FAILED != 0;
    Some(Learned { index: header.index, address: Some(address), mac: mac(attributes), vlan: None, silent })
}

/// Reads the body of an `RTM_NEWNEIGH` about a station that a bridge has learned.
pub(crate) fn read_station(body: &[u8]) -> Option<Learned> {
    let header = header(body)?;
    let is_learned = header.family == AF_BRIDGE && header.state & (NUD_PERMANENT | NUD_NOARP) == 0;
    (is_learned && header.flags & NTF_SELF == 0).then_some(())?;
    let attributes = Attributes::after(body, HEADER);
    let vlan = attributes.find(NDA_VLAN).and_then(wire::u16).filter(|vlan| *vlan != 0);
    Some(Learned { index: header.index, address: None, mac: Some(mac(attributes)?), vlan, silent: false })
}

const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_ENTRY_INFO: u16 = 1;
const BRIDGE_VLANDB_ENTRY_RANGE: u16 = 2;
const BRIDGE_VLAN_INFO_PVID: u16 = 1 << 1;
const BRIDGE_VLAN_INFO_UNTAGGED: u16 = 1 << 2;

/// Reads the body of an `RTM_NEWVLAN`: the number of a port, and its VLANs.
pub(crate) fn read_vlans(body: &[u8]) -> Option<(u32, BTreeSet<PortVlan>)> {
    let index = wire::u32(body.get(4..)?)?;
    let mut vlans = BTreeSet::new();
    for (kind, entry) in Attributes::after(body, VLAN_HEADER) {
        let Some(info) = Attributes::of(entry).find(BRIDGE_VLANDB_ENTRY_INFO) else { continue };
        // struct bridge_vlan_info: flags, VLAN.
        let (Some(flags), Some(first)) = (wire::u16(info), info.get(2..).and_then(wire::u16)) else { continue };
        if kind != BRIDGE_VLANDB_ENTRY {
            continue;
        }
        // Neighbouring VLANs with the same flags come as a range.
        let last = Attributes::of(entry).find(BRIDGE_VLANDB_ENTRY_RANGE).and_then(wire::u16).unwrap_or(first);
        vlans.extend((first..=last).filter_map(Vid::new).map(|vid| PortVlan {
            vid,
            tagging: if flags & BRIDGE_VLAN_INFO_UNTAGGED != 0 { Tagging::Untagged } else { Tagging::Tagged },
            pvid: flags & BRIDGE_VLAN_INFO_PVID != 0,
        }));
    }
    Some((index, vlans))
}
