//! What differs between two snapshots.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Hidden, NftKey, NftTableId, Snapshot};
use crate::gather;

/// One difference between two snapshots, as facts in the words of an administrator. Printed with its sign.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Change {
    /// A fact that holds in the second only.
    Added(String),
    /// A fact that holds in the first only.
    Removed(String),
    /// A fact about the same object that says something else.
    Changed {
        /// What the first says.
        from: String,
        /// What the second says.
        to: String,
    },
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Added(fact) => write!(f, "+ {fact}"),
            Change::Removed(fact) => write!(f, "- {fact}"),
            Change::Changed { from, to } => write!(f, "~ {from} => {to}"),
        }
    }
}

impl Snapshot {
    /// The snapshot without what two observations of the same state may differ in: indexes, lifetimes, whether a bridge's
    /// address and MTU were set by hand, what the kernel hides, and what was looked at. A table of the guard or the gate that nobody is in
    /// counts as none: it stays where it was made, since other vifs may need it next; and which version it is of does not count.
    pub fn normalised(&self) -> Snapshot {
        let mut s = self.clone();
        for link in s.links.values_mut() {
            link.index = 0;
            if let Some(bridge) = &mut link.bridge {
                bridge.mac_fixed = None;
                bridge.mtu_fixed = None;
            }
        }
        s.addresses = gather::set(s.addresses.into_iter().map(|a| super::Address { lifetime: None, ..a }));
        s.routes = gather::set(s.routes.into_iter().map(|r| super::Route { expires: super::Expiry(None), ..r }));
        s.port_vlans.retain(|_, vlans| !vlans.is_empty());
        for (id, table) in &mut s.nft {
            table.uses.clear();
            if id.is_kept() {
                table.flags = 0;
                table.sets.remove(NftTableId::VERSION);
            }
        }
        s.nft.retain(|id, table| !id.is_kept() || !table.has_no_elements());
        s.hidden = Hidden::default();
        s.scope = super::Scope::none();
        s
    }

    /// What has to change for this snapshot to become `other`, in the order of the objects. Empty if their
    /// [`normalised`](Self::normalised) forms are the same. A chain, or a set without elements, of the guard or the gate counts only if
    /// both snapshots have it: a level that was added to the gate stays. The rules of two versions of xennet are not compared, nor are sets
    /// that one of them has not: elements that follow from others' came with the newer one.
    pub fn changes(&self, other: &Snapshot) -> Vec<Change> {
        let (mut old, mut new) = (self.normalised(), other.normalised());
        // What is temporary in one of them may have gone in the other, or be there as an ordinary address.
        let temporary: BTreeSet<_> = gather::set(
            old.addresses.iter().chain(&new.addresses).filter(|a| a.is_temporary()).map(|a| (a.link, a.address)),
        );
        for snapshot in [&mut old, &mut new] {
            snapshot.addresses.retain(|a| !temporary.contains(&(a.link, a.address)));
        }
        without_frames_of_one(&mut old, &mut new);
        without_rules_of_versions(self, other, [&mut old, &mut new]);
        if old == new {
            return Vec::new();
        }
        let (old, new) = (old.facts(), new.facts());
        let objects: BTreeSet<_> = gather::set(old.keys().chain(new.keys()));
        let mut out = Vec::new();
        for object in objects {
            match (old.get(object), new.get(object)) {
                (Some(from), Some(to)) if from == to => {}
                (Some(from), Some(to)) => out.push(Change::Changed { from: from.clone(), to: to.clone() }),
                (Some(from), None) => out.push(Change::Removed(from.clone())),
                (None, Some(to)) => out.push(Change::Added(to.clone())),
                (None, None) => {}
            }
        }
        out
    }

    /// Every fact, under the object that it is about.
    fn facts(&self) -> BTreeMap<super::render::Object, String> {
        gather::map(self.lines())
    }
}

/// Leaves out the rules of a guard or gate that two versions of xennet made, and the sets that one of them has not: an undo keeps what is
/// newer.
fn without_rules_of_versions(one: &Snapshot, other: &Snapshot, [old, new]: [&mut Snapshot; 2]) {
    let versions = |of: &Snapshot, id: &NftTableId| -> BTreeSet<NftKey> {
        let set = of.nft.get(id).and_then(|table| table.sets.get(NftTableId::VERSION));
        set.into_iter().flat_map(|set| set.elements.keys().cloned()).collect()
    };
    let differ = |id: &NftTableId| {
        let (a, b) = (versions(one, id), versions(other, id));
        !a.is_subset(&b) && !b.is_subset(&a)
    };
    for (id, table) in old.nft.iter_mut().filter(|(id, _)| id.is_kept() && differ(id)) {
        let Some(beside) = new.nft.get_mut(id) else { continue };
        table.chains.clear();
        beside.chains.clear();
        table.sets.retain(|name, _| beside.sets.contains_key(name));
        beside.sets.retain(|name, _| table.sets.contains_key(name));
    }
}

/// Removes from the guard and the gate the chains, and the sets without elements, that only one of the two snapshots has.
fn without_frames_of_one(one: &mut Snapshot, other: &mut Snapshot) {
    for (id, table) in one.nft.iter_mut().filter(|(id, _)| id.is_kept()) {
        let Some(beside) = other.nft.get_mut(id) else { continue };
        table.chains.retain(|name, _| beside.chains.contains_key(name));
        beside.chains.retain(|name, _| table.chains.contains_key(name));
        table.sets.retain(|name, set| !set.elements.is_empty() || beside.sets.contains_key(name));
        beside.sets.retain(|name, set| !set.elements.is_empty() || table.sets.contains_key(name));
    }
}
