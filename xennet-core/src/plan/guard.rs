//! The guard's elements: what a vif has in it.
//!
//! The elements of a vif are added before its link goes up, and go after it is down.

use super::Reason;
use super::table::{Item, TableWish};
use crate::model::{Guarded, IfName};
use crate::snapshot::{NftValue, Scope};
use crate::tables::guard::{BOUND, DECLARED, GUARD, HOSTS, MACS, NETWORKS};

/// What the guard has to have of a link.
pub(super) fn items(guarded: &Guarded) -> Vec<Item> {
    let Guarded { link, guard } = guarded;
    let (name, mac) = (NftValue::Name(*link), NftValue::Mac(guard.mac));
    let membership = if guard.addresses.is_some() { DECLARED } else { BOUND };
    let own = [name.clone(), mac];
    let mut out = vec![Item::exact(membership, &[name]), Item::exact(MACS, &own)];
    out.extend(guard.sources().into_iter().map(|source| {
        let family = usize::from(source.is_ipv6());
        Item::network(HOSTS[family], NETWORKS[family], &own, source)
    }));
    out
}

/// What has to be looked at to add or remove the elements of links.
pub(super) fn scope<'a>(guarded: impl Iterator<Item = &'a Guarded>) -> Scope {
    GUARD.scope(&guarded.flat_map(items).collect::<Vec<_>>())
}

/// What has to be looked at to see whether a link is known to the guard at all.
pub(super) fn membership(link: &IfName) -> Scope {
    let name = [NftValue::Name(*link)];
    GUARD.scope(&[Item::exact(DECLARED, &name), Item::exact(BOUND, &name)])
}

/// The guard of a vif, instead of what a record says that it has.
pub(super) fn instead(guarded: Option<&Guarded>, recorded: Option<&Guarded>) -> TableWish {
    let why = match (guarded, recorded) {
        (Some(g), _) if g.guard.addresses.is_some() => "ip= declares what the guest may send",
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
    TableWish::new(&GUARD, list(guarded), list(recorded), why)
}
