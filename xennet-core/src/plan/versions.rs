//! A guard or gate that another version of xennet made, as after an upgrade while guests run.
//!
//! One transaction replaces it by this version's table with the same elements, and those that follow from them. So every packet meets one of the two tables, and no guest
//! loses its elements. A table of the same name without a version element is not xennet's and is left alone.

use super::table::{Item, TableWish, additions, deletions};
use crate::error::Error;
use crate::snapshot::{NftElement, NftKey, NftSet, NftTable, NftTableId, Part, Snapshot};
use crate::step::{NftOp, NftTransaction};
use crate::tables::gate::OPEN;
use crate::tables::guard::TAGGED;
use crate::tables::{self, Section, Sections, SetDef, Table, emptied};

impl Table {
    /// The sets of another version's table that have the same definition in this one, with their elements.
    fn carried<'a>(&self, found: &'a NftTable) -> impl Iterator<Item = (&'static SetDef, &'a NftSet)> {
        self.sets().filter_map(|def| {
            let set = found.sets.get(def.name)?;
            (emptied(set) == def.made()).then_some((def, set))
        })
    }

    /// Whether there is a table of another version that can be replaced.
    pub(super) fn is_replaced(&self, now: &Snapshot) -> bool {
        let id = (self.id)();
        let replaced = |found: &NftTable| !self.fits(found) && self.is_versioned(found);
        now.scope.contains(&Part::Nft(id.clone())) && now.nft.get(&id).is_some_and(replaced)
    }

    /// The operations that replace another version's table by this version's with the same elements.
    ///
    /// They remove the version element first. If another call has replaced the table meanwhile, that element is gone and the kernel
    /// refuses the whole transaction.
    pub(super) fn replacing(&self, sections: Sections, found: &NftTable, now: &Snapshot) -> Result<Vec<NftOp>, Error> {
        let versions = found.sets.get(NftTableId::VERSION).map(|set| set.elements.keys().cloned().collect::<Vec<_>>());
        let Some(versions) = versions.filter(|keys| !keys.is_empty() && self.is_replaced(now)) else {
            return Err(self.is_another());
        };
        let carried: Vec<_> = self.carried(found).filter(|(_, set)| !set.elements.is_empty()).collect();
        let needs = |section: &Section| {
            let mut elements = carried.iter().flat_map(|(def, set)| set.elements.values().map(|e| (def.name, e)));
            elements.any(|(set, element)| section.has(set, element.data.as_ref()))
        };
        let sections = self.sections_with(needs).and(sections);
        let mut ops = vec![NftOp::DelElements { set: NftTableId::VERSION.into(), keys: versions }, NftOp::DelTable];
        ops.extend(self.making(sections).ops);
        ops.extend(carried.into_iter().map(|(def, set)| NftOp::AddElements {
            set: def.name.into(),
            elements: set.elements.iter().map(|(key, element)| (key.clone(), element.clone())).collect(),
        }));
        let derived = (self.derived)(found).into_iter().filter(|(_, keys)| !keys.is_empty());
        ops.extend(derived.map(|(set, keys)| NftOp::AddElements { set: set.into(), elements: plain(keys).collect() }));
        Ok(ops)
    }
}

/// Elements without data.
fn plain(keys: Vec<NftKey>) -> impl Iterator<Item = (NftKey, NftElement)> {
    keys.into_iter().map(|key| (key, NftElement::default()))
}

impl TableWish {
    /// As [`first`](Self::first), if another version's table is replaced: its elements, and those that this wish lacks.
    pub(super) fn instead(&self, now: &Snapshot) -> Result<NftTransaction, Error> {
        let id = (self.table.id)();
        let mut after = now.clone();
        if let Some(found) = after.nft.get_mut(&id) {
            let carried: Vec<&str> = self.table.carried(found).map(|(def, _)| def.name).collect();
            let derived = (self.table.derived)(found);
            found.sets.retain(|name, _| carried.contains(&name.as_str()));
            for (set, keys) in derived {
                found.sets.entry(set.into()).or_default().elements.extend(plain(keys));
            }
        }
        let mut ops = self.table.framing(self.table.sections_for(&self.present), now)?;
        let (add, del) = self.difference(&after);
        ops.extend(deletions(del));
        ops.extend(additions(add));
        Ok(NftTransaction::new(id, ops))
    }
}

/// An earlier state as an earlier version has recorded it, with what this version's tables have more of each link: it was there exactly if
/// what it follows from was. A table that replaced the earlier version's has it.
pub(crate) fn completed(mut before: Snapshot) -> Snapshot {
    for table in tables::all() {
        let id = (table.id)();
        let was = before.nft.get(&id).map(table.derived).unwrap_or_default();
        let mut more = Vec::new();
        for part in before.scope.parts() {
            let Part::NftElement(of, set, key) = part else { continue };
            if *of == id {
                // What would follow if this was the only element.
                let mut alone = NftTable::default();
                let here = NftSet { elements: [(key.clone(), NftElement::default())].into(), ..NftSet::default() };
                alone.sets.insert(set.to_string(), here);
                more.extend((table.follows)(&alone));
            }
        }
        for (set, keys) in more {
            for key in keys {
                let item = Item { set, key, data: None };
                if before.scope.contains(&table.part(&item)) {
                    continue;
                }
                before.scope.insert(table.part(&item));
                // Leave to do more was given by the replacement alone.
                let there = ![TAGGED, OPEN].contains(&set)
                    && was.iter().any(|(of, keys)| *of == set && keys.contains(&item.key));
                if let Some(found) = before.nft.get_mut(&id).filter(|_| there) {
                    let made = || table.sets().find(|def| def.name == set).map(SetDef::made).unwrap_or_default();
                    found.sets.entry(set.into()).or_insert_with(made).elements.insert(item.key, NftElement::default());
                }
            }
        }
    }
    before
}
