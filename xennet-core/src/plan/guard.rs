//! The guard's elements: what a vif has in it.
//!
//! The elements of a vif are added before its link goes up, and go after it is down.

use std::slice;

use super::Reason;
use super::table::{Item, TableWish, noted};
use crate::model::{Guard, Guarded, IfName};
use crate::snapshot::{NftValue, Scope, Snapshot};
use crate::tables::guard::reserved::{OWN, RESERVED_ADDRESSES, WATCHED};
use crate::tables::guard::{BOUND, CLOSED, DECLARED, GUARD, HOSTS, MAC_ENDS, MACS, NETWORKS, TAGGED, ends};

/// What the guard has to have of a link.
pub(super) fn items(guarded: &Guarded) -> Vec<Item> {
    let Guarded { link, guard } = guarded;
    let name = NftValue::Name(*link);
    let noted = noted(*link, guard.log);
    if guard.closed {
        return [Item::exact(CLOSED, &[name])].into_iter().chain(noted).collect();
    }
    let membership = if guard.addresses.is_some() { DECLARED } else { BOUND };
    let mut out = vec![Item::exact(membership, slice::from_ref(&name))];
    out.extend(noted);
    out.extend(guard.addresses.as_ref().filter(|_| guard.tagged).map(|_| tagged(link)));
    if guard.addresses.is_none() && !guard.reserved.is_empty() {
        out.extend(watched(&name, guard));
    }
    let sources = guard.sources();
    for mac in guard.macs() {
        let own = [name.clone(), NftValue::Mac(mac)];
        out.push(Item::exact(MACS, &own));
        if guard.addresses.is_some() {
            let end = |(set, end)| Item::exact(set, &[own[0].clone(), own[1].clone(), end]);
            out.extend(MAC_ENDS.into_iter().zip(ends(mac)).map(end));
        }
        out.extend(sources.iter().map(|source| {
            let family = usize::from(source.is_ipv6());
            Item::network(HOSTS[family], NETWORKS[family], &own, *source)
        }));
    }
    out
}

/// Which addresses its guest may not use.
fn watched(link: &NftValue, guard: &Guard) -> Vec<Item> {
    let mut out = vec![Item::exact(WATCHED, slice::from_ref(link))];
    for (sets, networks) in [(RESERVED_ADDRESSES, &guard.reserved), (OWN, &guard.own)] {
        out.extend(networks.iter().map(|n| {
            let [host, network] = sets[usize::from(n.is_ipv6())];
            Item::network(host, network, slice::from_ref(link), *n)
        }));
    }
    out
}

/// That a link may send frames with a tag. One that a guard of another version had may have this without a record of it.
fn tagged(link: &IfName) -> Item {
    Item::exact(TAGGED, &[NftValue::Name(*link)])
}

/// What has to be looked at to add or remove the elements of links.
pub(super) fn scope<'a>(guarded: impl Iterator<Item = &'a Guarded>) -> Scope {
    let of_link = |g: &Guarded| items(g).into_iter().chain([tagged(&g.link)]).collect::<Vec<_>>();
    GUARD.scope(&guarded.flat_map(of_link).collect::<Vec<_>>())
}

/// What has to be looked at to see that the guard is there, and whole, for a link.
pub(super) fn frame_scope(guarded: &Guarded, seen: &Snapshot) -> Scope {
    GUARD.frame_scope(&items(guarded), seen)
}

/// What has to be looked at to see whether a link is known to the guard at all.
pub(super) fn membership(link: &IfName) -> Scope {
    let name = [NftValue::Name(*link)];
    GUARD.scope(&[DECLARED, BOUND, CLOSED].map(|set| Item::exact(set, &name)))
}

/// The guard of a vif, instead of what a record says that it has.
pub(super) fn instead(guarded: Option<&Guarded>, recorded: Option<&Guarded>) -> TableWish {
    let why = match (guarded, recorded) {
        (Some(g), _) if g.guard.closed => "the guest is closed: nothing passes",
        (Some(g), _) if g.guard.addresses.is_some() => "ip= declares what the guest may send",
        (Some(g), _) if !g.guard.reserved.is_empty() => "the guest is bound to its MAC, and some addresses are others'",
        (Some(_), _) => "the guest is bound to its MAC",
        (None, _) => "nothing is declared of what the guest may send",
    };
    wish(guarded, recorded, Reason::fixed(why))
}

/// No guard any more.
pub(super) fn gone(recorded: Option<&Guarded>) -> TableWish {
    wish(None, recorded, Reason::fixed("the guard of a vif goes with it"))
}

fn wish(guarded: Option<&Guarded>, recorded: Option<&Guarded>, why: Reason) -> TableWish {
    let list = |g: Option<&Guarded>| g.map(items).unwrap_or_default();
    let mut absent = list(recorded);
    absent.extend(recorded.or(guarded).map(|g| tagged(&g.link)));
    TableWish::new(&GUARD, list(guarded), absent, why)
}
