//! Connection tracking: what the kernel remembers of the connections of an address is forgotten.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, `net/netfilter/nf_conntrack_netlink.c`
//! (`ctnetlink_dump_table`, `ctnetlink_del_conntrack`). The kernel filters a listing by address (`CTA_FILTER`, Linux 5.8), so it
//! sends only the connections of that address. By an IPv6 address Linux 6.18 was seen to send all but those: there all IPv6
//! connections are listed, once. Removing by a filter needs Linux 6.9, so each connection is removed by its own tuple.

use std::net::IpAddr;

use super::nfnetlink::{NFGEN, Writer, question};
use super::nft;
use super::observe::ip::{AF_INET, AF_INET6};
use super::refusal::Refusal;
use super::socket::{Protocol, Socket};
use super::wire::{Attributes, Message};
use crate::error::Errno;

/// `NFNL_SUBSYS_CTNETLINK`.
const CTNETLINK: u16 = 1;
/// `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = CTNETLINK << 8 | 1;
const DELETE: u16 = CTNETLINK << 8 | 2;

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
    tracked().is_some_and(|count| count != "0") && nft::is_in_memory("nf_conntrack_netlink")
}

/// How many connections are tracked; `None` where nothing that tracks is loaded.
fn tracked() -> Option<String> {
    let count = std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").ok()?;
    Some(count.trim().to_owned())
}

/// Asks for something small, so that the kernel loads what answers. Where nothing tracks connections nothing is loaded.
pub(super) fn load() -> Result<(), Refusal> {
    if tracked().is_none() {
        return Ok(());
    }
    // IPCTNL_MSG_CT_GET_STATS
    const STATS: u16 = CTNETLINK << 8 | 5;
    let mut socket = Socket::open(Protocol::Netfilter)?;
    match socket.get(&mut question(STATS, AF_INET, |_| {}), |_| ()) {
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
    let mut found = Vec::new();
    for mut listing in listings(address) {
        let about = |m: &Message<'_>| connection(m, address);
        found.extend(match socket.dump(&mut listing, about) {
            // This kernel does not filter.
            Err(refusal) if refusal.errno == Errno::EOPNOTSUPP => socket.dump(&mut all(address), about)?,
            connections => connections?,
        });
    }
    for connection in found {
        let mut order = question(DELETE, family(address), |w| w.out.extend_from_slice(&connection));
        match socket.request(&mut order) {
            // It has ended by itself, or was in both listings.
            Err(refusal) if refusal.errno == Errno::ENOENT => {}
            done => done?,
        }
    }
    Ok(())
}

/// What lists all connections of an address's family.
fn all(address: IpAddr) -> Vec<u8> {
    question(GET, family(address), |_| {})
}

/// What lists the connections of an address. Who began one is its source; answers come from whom it has gone to, whatever the
/// packet was sent to first.
fn listings(address: IpAddr) -> Vec<Vec<u8>> {
    if address.is_ipv6() {
        return vec![all(address)];
    }
    let (kind, octets) = address_of(address);
    let by = |tuple: u16, flags: u16, other: u16| {
        question(GET, AF_INET, |w| {
            w.nest(tuple, |w| w.nest(TUPLE_IP, |w| w.put(kind, &octets)));
            w.nest(FILTER, |w| {
                w.put(flags, &BY_SOURCE.to_ne_bytes());
                w.put(other, &0_u32.to_ne_bytes());
            });
        })
    };
    vec![by(ORIGINAL, FILTER_ORIGINAL, FILTER_REPLY), by(REPLY, FILTER_REPLY, FILTER_ORIGINAL)]
}

/// What names a connection, as attributes: its first direction, its zone and its number. `None` for one of other addresses.
fn connection(message: &Message<'_>, address: IpAddr) -> Option<Vec<u8>> {
    let all = Attributes::after(message.body, NFGEN);
    let (kind, octets) = address_of(address);
    let comes_from = |tuple: u16| {
        let ip = Attributes::of(Attributes::of(all.find(tuple)?).find(TUPLE_IP)?);
        Some(ip.find(kind)? == octets)
    };
    if ![ORIGINAL, REPLY].into_iter().any(|tuple| comes_from(tuple) == Some(true)) {
        return None;
    }
    let original = all.find(ORIGINAL)?;
    let mut w = Writer::default();
    w.nest(ORIGINAL, |w| w.out.extend_from_slice(original));
    for kind in [ZONE, ID] {
        if let Some(value) = all.find(kind) {
            w.put(kind, value);
        }
    }
    Some(w.out)
}

/// `CTA_IP_V4_SRC`, `CTA_IP_V6_SRC`, and the address.
fn address_of(address: IpAddr) -> (u16, Vec<u8>) {
    match address {
        IpAddr::V4(a) => (1, a.octets().to_vec()),
        IpAddr::V6(a) => (3, a.octets().to_vec()),
    }
}

fn family(address: IpAddr) -> u8 {
    if address.is_ipv4() { AF_INET } else { AF_INET6 }
}
