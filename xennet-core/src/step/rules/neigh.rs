//! Neighbours (`net/core/neighbour.c`).

use super::World;
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{Family, Neighbour, NeighbourKind, Part};
use crate::step::{Implied, NeighStep};

pub(super) fn step(w: &mut World<'_>, step: &NeighStep) -> Result<(), Errno> {
    match step {
        NeighStep::Add(n) => add(w, n),
        NeighStep::Del(n) => del(w, n),
    }
}

/// `neigh_add`.
fn add(w: &mut World<'_>, n: &Neighbour) -> Result<(), Errno> {
    if is_unseen(w, n) {
        w.now.neighbours.insert(n.clone());
        return Ok(());
    }
    let link = w.link(&n.link)?;
    match n.kind {
        // pneigh_lookup makes or finds: adding twice is no error.
        // pndisc_constructor wants IPv6 on the link, and its refusal is taken for a lack of memory.
        NeighbourKind::Proxy if n.address.is_ipv6() && link.addr_gen_mode.is_none() => return Err(Errno::ENOBUFS),
        NeighbourKind::Proxy => {}
        NeighbourKind::Permanent(_) => {
            // ndisc_allow_add, arp_constructor
            if n.address.is_ipv6() && (link.addr_gen_mode.is_none() || super::addr6::disabled(w, &n.link)) {
                return Err(Errno::EINVAL);
            }
            if permanent(w, n).is_some() {
                return Err(Errno::EEXIST);
            }
        }
    }
    w.now.neighbours.insert(n.clone());
    Ok(())
}

/// Whether it is a proxy that was looked at, on a link that was not: it is assumed to be there.
fn is_unseen(w: &World<'_>, n: &Neighbour) -> bool {
    n.kind == NeighbourKind::Proxy
        && w.now.scope.contains(&Part::Proxy(n.link, n.address))
        && !w.now.links.contains_key(&n.link)
        && !w.knows_links()
        && !w.knows(&Part::Link(n.link))
}

fn permanent(w: &World<'_>, n: &Neighbour) -> Option<Neighbour> {
    let fits =
        |p: &&Neighbour| p.link == n.link && p.address == n.address && matches!(p.kind, NeighbourKind::Permanent(_));
    w.now.neighbours.iter().find(fits).cloned()
}

/// `neigh_delete`: `ENOENT` for a missing one.
fn del(w: &mut World<'_>, n: &Neighbour) -> Result<(), Errno> {
    if !is_unseen(w, n) {
        w.link(&n.link)?;
    }
    let present = match n.kind {
        NeighbourKind::Proxy => w.now.neighbours.get(n).cloned(),
        NeighbourKind::Permanent(_) => permanent(w, n),
    };
    match present {
        Some(present) => {
            w.now.neighbours.remove(&present);
            Ok(())
        }
        None if w.knows(&Part::Neighbours(n.link)) || w.knows(&Part::Proxy(n.link, n.address)) => Err(Errno::ENOENT),
        None => Ok(()),
    }
}

/// Which neighbours of a link are forgotten.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Flush {
    /// `neigh_ifdown`: proxies too.
    All,
    /// `neigh_changeaddr`: proxies stay.
    Stations,
}

/// The neighbours of a link go.
pub(super) fn flush(w: &mut World<'_>, link: &IfName, family: Family, which: Flush) {
    let gone: Vec<Neighbour> = w
        .now
        .neighbours
        .iter()
        .filter(|n| n.link == *link && Family::of(&n.address) == family)
        .filter(|n| which == Flush::All || n.kind != NeighbourKind::Proxy)
        .cloned()
        .collect();
    for n in gone {
        w.now.neighbours.remove(&n);
        w.tell(Implied::NeighbourGoes(n));
    }
}

/// The link's own hardware address, or its use of ARP, changed: what was known behind it counts no longer.
pub(super) fn stations_changed(w: &mut World<'_>, link: &IfName) {
    flush(w, link, Family::Ipv4, Flush::Stations);
    flush(w, link, Family::Ipv6, Flush::Stations);
}
