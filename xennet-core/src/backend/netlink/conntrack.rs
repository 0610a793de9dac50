//! Connection tracking: what the kernel remembers of the connections of an address is forgotten.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink_conntrack.h`, `net/netfilter/nf_conntrack_netlink.c`
//! (`ctnetlink_dump_table`, `ctnetlink_del_conntrack`). The kernel filters a listing by address (`CTA_FILTER`, Linux 5.8), so it
//! sends only the connections of that address. By an IPv6 address Linux 6.18 was seen to send all but those: there all IPv6
//! connections are listed, once. Removing by a filter needs Linux 6.9, so each connection is removed by its own tuple.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

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
///
/// How many connections there are, if that is so.
fn tracking() -> Option<usize> {
    let count = tracked()?.parse().unwrap_or(usize::MAX);
    (count > 0 && nft::is_in_memory("nf_conntrack_netlink")).then_some(count)
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

/// Up to so many connections are all listed at once. For each listing the kernel walks its whole table, filtered or not (11 ms for 262,144
/// buckets with nothing in them); to send one connection takes a microsecond or two.
const FEW: usize = 8192;

/// Up to so many single IPv4 addresses are asked for one by one, each with two listings that the kernel filters. For more, one listing of
/// the family is cheaper.
const ONE_BY_ONE: usize = 4;

/// Forgets every connection that one of these addresses has begun, or that has gone to one of them.
pub(super) fn forget(addresses: &[IpNetwork]) -> Result<(), Refusal> {
    let Some(count) = tracking().filter(|_| !addresses.is_empty()) else { return Ok(()) };
    let mut socket = Socket::open(Protocol::Netfilter)?;
    let families: &[u8] = if count <= FEW { &[AF_UNSPEC] } else { &[AF_INET, AF_INET6] };
    for family in families.iter().copied() {
        let is_of = |n: &IpNetwork| [AF_UNSPEC, family_of(n)].contains(&family);
        let own: Vec<IpNetwork> = addresses.iter().copied().filter(is_of).collect();
        if own.is_empty() {
            continue;
        }
        let about = |m: &Message<'_>| connection(m, &own);
        let mut found = Vec::new();
        for mut listing in listings(&own, family) {
            found.extend(match socket.dump(&mut listing, about) {
                // This kernel does not filter.
                Err(refusal) if refusal.errno == Errno::EOPNOTSUPP => socket.dump(&mut all(family), about)?,
                connections => connections?,
            });
        }
        for connection in found {
            let Connection { family, named } = connection;
            let mut order = question(DELETE, family, |w| w.out.extend_from_slice(&named));
            match socket.request(&mut order) {
                // It has ended by itself, or was in both listings.
                Err(refusal) if refusal.errno == Errno::ENOENT => {}
                done => done?,
            }
        }
    }
    Ok(())
}

/// Any family (`AF_UNSPEC`).
const AF_UNSPEC: u8 = 0;

/// A connection as it is named to be removed.
struct Connection {
    family: u8,
    named: Vec<u8>,
}

/// What lists all connections of a family.
fn all(family: u8) -> Vec<u8> {
    question(GET, family, |_| {})
}

/// What lists the connections of addresses of a family, or of both. Who began one is its source; answers come from whom it has gone to, whatever the
/// packet was sent to first.
fn listings(addresses: &[IpNetwork], family: u8) -> Vec<Vec<u8>> {
    let single = |n: &IpNetwork| match n {
        IpNetwork::V4(n) if n.prefix() == 32 => Some(n.ip().octets()),
        _ => None,
    };
    let singles: Option<Vec<[u8; 4]>> = addresses.iter().map(single).collect();
    let Some(singles) = singles.filter(|singles| family == AF_INET && singles.len() <= ONE_BY_ONE) else {
        return vec![all(family)];
    };
    let by = |octets: &[u8; 4], tuple: u16, flags: u16, other: u16| {
        question(GET, AF_INET, |w| {
            w.nest(tuple, |w| w.nest(TUPLE_IP, |w| w.put(SOURCE[0], octets)));
            w.nest(FILTER, |w| {
                w.put(flags, &BY_SOURCE.to_ne_bytes());
                w.put(other, &0_u32.to_ne_bytes());
            });
        })
    };
    let both = |octets: &[u8; 4]| {
        [by(octets, ORIGINAL, FILTER_ORIGINAL, FILTER_REPLY), by(octets, REPLY, FILTER_REPLY, FILTER_ORIGINAL)]
    };
    singles.iter().flat_map(both).collect()
}

/// What names a connection, as attributes: its first direction, its zone and its number. `None` for one of other addresses.
fn connection(message: &Message<'_>, addresses: &[IpNetwork]) -> Option<Connection> {
    let all = Attributes::after(message.body, NFGEN);
    let comes_from = |tuple: u16| {
        let ip = Attributes::of(Attributes::of(all.find(tuple)?).find(TUPLE_IP)?);
        let four = ip.find(SOURCE[0]).and_then(|octets| <[u8; 4]>::try_from(octets).ok()).map(IpAddr::from);
        let source = four.or_else(|| Some(<[u8; 16]>::try_from(ip.find(SOURCE[1])?).ok()?.into()))?;
        Some(addresses.iter().any(|n| n.contains(source)))
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
    Some(Connection { family: *message.body.first()?, named: w.out })
}

/// `CTA_IP_V4_SRC`, `CTA_IP_V6_SRC`.
const SOURCE: [u16; 2] = [1, 3];

fn family_of(network: &IpNetwork) -> u8 {
    if network.is_ipv4() { AF_INET } else { AF_INET6 }
}
