//! Connection tracking: what the kernel remembers of the connections of an address is forgotten.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, `net/netfilter/nf_conntrack_netlink.c`
//! (`ctnetlink_dump_table`, `ctnetlink_del_conntrack`). A listing is filtered by the kernel (`CTA_FILTER`, Linux 5.8): of all
//! connections of the host only those of the address are sent. By an IPv6 address the kernel takes all others instead
//! (`ctnetlink_filter_match_tuple` has the comparison the wrong way round): there all IPv6 connections are listed. To remove by a filter it takes Linux 6.9, so they are removed by their
//! own tuples, one by one.

use std::net::IpAddr;

use super::nft;
use super::socket::{Protocol, Refusal, Socket};
use super::wire::{Attributes, HEADER, Message};
use crate::error::Errno;

/// `NFNL_SUBSYS_CTNETLINK`.
const CTNETLINK: u16 = 1;
/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = CTNETLINK << 8 | 1;
const DELETE: u16 = CTNETLINK << 8 | 2;
/// Bytes of `struct nfgenmsg`.
const NFGEN: usize = 4;

const NESTED: u16 = 0x8000;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`, `CTA_FILTER`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;
/// `CTA_FILTER_ORIG_FLAGS`, `CTA_FILTER_REPLY_FLAGS`.
const FILTER_ORIGINAL: u16 = 1;
const FILTER_REPLY: u16 = 2;
/// `CTA_TUPLE_IP`.
const TUPLE_IP: u16 = 1;
/// `CTA_FILTER_F_CTA_IP_SRC`.
const BY_SOURCE: u32 = 1;

/// Whether connections can be forgotten without loading a module: to ask would load it (`nfnetlink_rcv_msg`,
/// `request_module("nfnetlink-subsys-1")`), and where nothing is tracked nothing has to be forgotten.
fn is_tracking() -> bool {
    let tracked = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    let is_some = tracked.is_ok_and(|count| count.trim() != "0");
    is_some && nft::is_in_memory("nf_conntrack_netlink")
}

/// Asks for something small, so that the kernel loads what answers. Without that nothing is tracked that could be forgotten.
pub(super) fn load() -> Result<(), Refusal> {
    // IPCTNL_MSG_CT_GET_STATS
    const STATS: u16 = CTNETLINK << 8 | 5;
    let mut socket = Socket::open(Protocol::Netfilter)?;
    let mut question = message(STATS, IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), |_| {});
    match socket.get(&mut question, |_| ()) {
        Ok(()) => Ok(()),
        // This kernel has no such module.
        Err(refusal) if [Errno::EINVAL, Errno::EOPNOTSUPP].contains(&refusal.errno) => Ok(()),
        Err(refusal) => Err(refusal),
    }
}

/// Forgets every connection that an address has begun, or that has gone to it.
pub(super) fn forget(address: IpAddr) -> Result<(), Refusal> {
    if !is_tracking() {
        return Ok(());
    }
    let mut socket = Socket::open(Protocol::Netfilter)?;
    // Who began it has the address as its source. Answers come from whom it has gone to, whatever the packet was sent to first.
    for (tuple, flags) in [(ORIGINAL, FILTER_ORIGINAL), (REPLY, FILTER_REPLY)] {
        let mut question = message(GET, address, |out| {
            if address.is_ipv6() {
                return;
            }
            nest(out, tuple, |out| nest(out, TUPLE_IP, |out| source(out, address)));
            nest(out, FILTER, |out| {
                put(out, flags, &BY_SOURCE.to_ne_bytes());
                let other = if flags == FILTER_ORIGINAL { FILTER_REPLY } else { FILTER_ORIGINAL };
                put(out, other, &0_u32.to_ne_bytes());
            });
        });
        let read = |m: &Message<'_>| connection(m, tuple, address);
        let found = match socket.dump(&mut question, read) {
            // A kernel before 5.8 does not filter.
            Err(refusal) if refusal.errno == Errno::EOPNOTSUPP => return Ok(()),
            found => found?,
        };
        for connection in found {
            let mut order = message(DELETE, address, |out| out.extend_from_slice(&connection));
            match socket.request(&mut order) {
                // It has ended by itself.
                Err(refusal) if refusal.errno == Errno::ENOENT => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// What names a connection, as attributes: its first direction, its zone and its number. `None` for one of another address.
fn connection(message: &Message<'_>, tuple: u16, address: IpAddr) -> Option<Vec<u8>> {
    let all = Attributes::after(message.body, NFGEN);
    let ip = Attributes::of(Attributes::of(all.find(tuple)?).find(TUPLE_IP)?);
    let (kind, octets) = address_of(address);
    if ip.find(kind)? != octets {
        return None;
    }
    let mut out = Vec::new();
    put(&mut out, ORIGINAL | NESTED, all.find(ORIGINAL)?);
    for kind in [ZONE, ID] {
        if let Some(value) = all.find(kind) {
            put(&mut out, kind, value);
        }
    }
    Some(out)
}

/// `CTA_IP_V4_SRC`, `CTA_IP_V6_SRC`, and the address.
fn address_of(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(a) => (1, a.octets().to_vec()),
        IpAddr::V6(a) => (3, a.octets().to_vec()),
    }
}

fn source(out: &mut Vec<u8>, address: IpAddr) {
    let (kind, octets) = address_of(address);
    put(out, kind, &octets);
}

fn message(kind: u16, address: IpAddr, inside: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    let family = if address.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut out = vec![0; HEADER];
    out.extend_from_slice(&[family, 0, 0, 0]);
    inside(&mut out);
    let length = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_ne_bytes());
    out[4..6].copy_from_slice(&kind.to_ne_bytes());
    out
}

fn put(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    // The longest is a tuple of some dozen bytes.
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_ne_bytes());
    out.extend_from_slice(&kind.to_ne_bytes());
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

fn nest(out: &mut Vec<u8>, kind: u16, inside: impl FnOnce(&mut Vec<u8>)) {
    let mut value = Vec::new();
    inside(&mut value);
    put(out, kind | NESTED, &value);
}
