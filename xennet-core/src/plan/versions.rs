//! A guard or gate that another version of xennet has made: after an upgrade, while guests run.
//!
//! This version's table takes its place in one transaction, with the elements that are in it, so no packet meets neither and no guest
//! is let go of. A table of the same name without a version is somebody else's, and is left alone.

use std::collections::BTreeMap;

use super::table::{Level, SetDef, Table, TableWish, VERSION, additions, deletions};
use crate::error::Error;
use crate::snapshot::{NftSet, NftTable, NftTableId, Part, Snapshot};
use crate::step::{NftOp, NftTransaction};

/// A set without its elements.
fn emptied(set: &NftSet) -> NftSet {
    NftSet { elements: BTreeMap::new(), ..set.clone() }
}

impl Table {
    /// Whether a version of xennet has made it. Nobody else has such a set.
    pub(super) fn is_versioned(&self, found: &NftTable) -> bool {
        found.sets.get(NftTableId::VERSION).is_some_and(|set| emptied(set) == VERSION.made())
    }

    /// The sets of a table of another version whose elements mean the same in this one.
    fn carried<'a>(&self, found: &'a NftTable) -> impl Iterator<Item = (&'static SetDef, &'a NftSet)> {
        self.sets().filter_map(|def| {
            let set = found.sets.get(def.name)?;
            (emptied(set) == def.made()).then_some((def, set))
        })
    }

    /// Whether a table of another version is there, which one of this version takes the place of.
    pub(super) fn is_replaced(&self, now: &Snapshot) -> bool {
        let id = (self.id)();
        let replaced = |found: &NftTable| !self.fits(found) && self.is_versioned(found);
        now.scope.contains(&Part::Nft(id.clone())) && now.nft.get(&id).is_some_and(replaced)
    }

    /// The operations that put this version's table into the place of another version's, with the elements that are in it, in one
    /// transaction: no packet meets neither.
    ///
    /// If another call has done it in the meantime, the versions are no more, and the transaction is refused as a whole.
    pub(super) fn replacing(&self, level: usize, found: &NftTable, now: &Snapshot) -> Result<Vec<NftOp>, Error> {
        let versions = found.sets.get(NftTableId::VERSION).map(|set| set.elements.keys().cloned().collect::<Vec<_>>());
        let Some(versions) = versions.filter(|keys| !keys.is_empty() && self.is_replaced(now)) else {
            return Err(self.is_another());
        };
        let carried: Vec<_> = self.carried(found).filter(|(_, set)| !set.elements.is_empty()).collect();
        let needs = |level: &Level| level.sets.iter().any(|s| carried.iter().any(|(def, _)| def.name == s.name));
        let level = self.levels.iter().rposition(needs).unwrap_or_default().max(level);
        let mut ops = vec![NftOp::DelElements { set: NftTableId::VERSION.into(), keys: versions }, NftOp::DelTable];
        ops.extend(self.making(level).ops);
        ops.extend(carried.into_iter().map(|(def, set)| NftOp::AddElements {
            set: def.name.into(),
            elements: set.elements.iter().map(|(key, element)| (key.clone(), element.clone())).collect(),
        }));
        Ok(ops)
    }
}

impl TableWish {
    /// The same where another version's table makes way: what was in it, and what is missing of this wish.
    pub(super) fn instead(&self, now: &Snapshot) -> Result<NftTransaction, Error> {
        let id = (self.table.id)();
        let mut after = now.clone();
        if let Some(found) = after.nft.get_mut(&id) {
            let carried: Vec<&str> = self.table.carried(found).map(|(def, _)| def.name).collect();
            found.sets.retain(|name, _| carried.contains(&name.as_str()));
        }
        let mut ops = self.table.framing(self.table.level_of(&self.present), now)?;
        let (add, del) = self.difference(&after);
        ops.extend(deletions(del));
        ops.extend(additions(add));
        Ok(NftTransaction::new(id, ops))
    }
}
