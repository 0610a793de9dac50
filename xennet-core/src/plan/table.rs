//! nft tables of xennet's own: how one is looked at, made, kept whole, and how elements come and go.
//!
//! Each has a constant number of rules, and sets whose elements are what vifs and networks have in it, so neither a packet nor a
//! call costs more with every guest. Whether a table is whole is seen by one element, which carries a number made of all its
//! rules and sets, and by how often the kernel counts its chains as used; only where these do not fit are the rules read.
//!
//! A table stays when the last element has gone, since others may need it next.
//!
//! A table can have levels. The lowest has what every element needs. A higher level is made when its first element is added, so that
//! a host that only routes does not load address translation.
//!
//! Administrators save rulesets with `nft list ruleset` and load them again. So tables are made of what nft 1.0 has words for, as
//! text and as JSON, and each rule of the very expressions that nft makes of its own words for it: then a table that was saved
//! and loaded is the same table. `tests/rulesets` holds all of them against the nft that is there.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use ipnetwork::IpNetwork;

use super::{Reason, gate, guard};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::IfName;
use crate::snapshot::{
    NftChain, NftData, NftElement, NftKey, NftSet, NftTable, NftTableId, NftType, NftValue, Part, Scope, Snapshot,
};
use crate::step::{NftOp, NftTransaction, Step};

/// A table of xennet's own.
pub(super) struct Table {
    pub(super) id: fn() -> NftTableId,
    /// From what is always needed to all of it.
    pub(super) levels: &'static [Level],
    /// All chains, of all levels.
    pub(super) chains: fn() -> BTreeMap<String, NftChain>,
    /// What has to be done before a table of this name that is not ours can be removed, and what behind that.
    pub(super) ways_out: [&'static str; 2],
}

/// What a table has more than at the level below.
pub(super) struct Level {
    /// A number made from all rules and sets of this level and those below. A test says which it must be.
    pub(super) version: u32,
    /// The chains, and how often the kernel counts each as used: by its own rules, and by those that lead to it. A test counts, too.
    pub(super) uses: &'static [(&'static str, u32)],
    /// The sets that elements of vifs and networks are in.
    pub(super) sets: &'static [SetDef],
    /// The table at this level, without any elements; made only where it is needed.
    pub(super) frame: LazyLock<NftTable>,
}

impl Level {
    fn version(&self) -> NftKey {
        NftKey::exact([NftValue::U32(self.version)])
    }

    fn has_version(&self, table: &NftTable) -> bool {
        table.sets.get(NftTableId::VERSION).is_some_and(|set| set.elements.contains_key(&self.version()))
    }

    /// Whether a table has something of this level.
    fn is_begun(&self, table: &NftTable) -> bool {
        self.uses.iter().any(|(chain, _)| table.chains.contains_key(*chain))
            || self.sets.iter().any(|set| table.sets.contains_key(set.name))
    }
}

/// A set or map of a table.
pub(super) struct SetDef {
    pub(super) name: &'static str,
    pub(super) key: &'static [NftType],
    pub(super) data: &'static [NftType],
    pub(super) interval: bool,
}

impl SetDef {
    pub(super) const fn of(name: &'static str, key: &'static [NftType]) -> Self {
        SetDef { name, key, data: &[], interval: false }
    }

    pub(super) const fn ranges(name: &'static str, key: &'static [NftType]) -> Self {
        SetDef { name, key, data: &[], interval: true }
    }

    pub(super) fn made(&self) -> NftSet {
        let data = (!self.data.is_empty()).then(|| crate::snapshot::NftDataType::Value(self.data.to_vec()));
        NftSet { key: self.key.to_vec(), data, interval: self.interval, ..NftSet::default() }
    }
}

pub(super) const VERSION: SetDef = SetDef::of(NftTableId::VERSION, &[NftType::Mark]);

/// All of them.
fn all() -> [&'static Table; 2] {
    [&guard::GUARD, &gate::GATE]
}

#[cfg(feature = "netlink")]
fn of_id(id: &NftTableId) -> Option<&'static Table> {
    if !id.is_kept() {
        return None;
    }
    all().into_iter().find(|table| (table.id)() == *id)
}

#[cfg(feature = "netlink")]
/// What a set of one of the tables is like, without its elements.
pub(crate) fn set_of(id: &NftTableId, name: &str) -> Option<NftSet> {
    let table = of_id(id)?;
    table.sets().chain([&VERSION]).find(|set| set.name == name).map(SetDef::made)
}

/// Whether a part is about one of the tables as such, and no vif's or network's.
pub(crate) fn is_of_frame(part: &Part) -> bool {
    match part {
        Part::NftFrame(id) | Part::NftFlags(id) | Part::NftUse(id, _) => id.is_kept(),
        Part::NftElement(id, set, _) => id.is_kept() && set == NftTableId::VERSION,
        _ => false,
    }
}

/// Whether one of the tables is there, and by this observation its rules have to be made anew.
pub(crate) fn lacks_rules(now: &Snapshot) -> bool {
    all().into_iter().any(|table| now.nft.contains_key(&(table.id)()) && !table.is_framed(table.level_seen(now), now))
}

/// The same look, but at all rules of the tables: what is seen of a table otherwise tells whether one is missing, not whether one
/// was replaced by another.
pub(super) fn whole(mut scope: Scope) -> Scope {
    let mut ids = Vec::new();
    scope.retain(|part| match part {
        Part::NftUse(id, _) | Part::NftFlags(id) if id.is_kept() => {
            ids.push(id.clone());
            false
        }
        _ => true,
    });
    let looked = all().into_iter().filter(|table| ids.contains(&(table.id)()));
    scope.extend(looked.flat_map(Table::whole_scope));
    scope
}

/// Whether a step makes one of the tables, a level of it, or its rules anew: somebody may have taken something away.
pub(crate) fn mends_table(step: &Step) -> bool {
    let Step::Nft(transaction) = step else { return false };
    let again = |op: &NftOp| matches!(op, NftOp::FlushChain { .. } | NftOp::SetFlags { .. });
    transaction.table.is_kept() && (transaction.makes() || transaction.ops.iter().any(again))
}

/// Whether a step makes one of the tables, or a level of it: then another call may have made it in the meantime.
pub(crate) fn makes_table(step: &Step) -> bool {
    let Step::Nft(transaction) = step else { return false };
    transaction.table.is_kept() && transaction.makes()
}

/// An element of one of a table's sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) set: &'static str,
    pub(super) key: NftKey,
    pub(super) data: Option<Vec<NftValue>>,
}

impl Item {
    pub(super) fn exact(set: &'static str, fields: &[NftValue]) -> Item {
        Item { set, key: NftKey::exact(fields.iter().cloned()), data: None }
    }

    /// An address or a network behind other fields. Networks are in a set of ranges, which is slower to change and to search.
    pub(super) fn network(host: &'static str, ranges: &'static str, before: &[NftValue], network: IpNetwork) -> Item {
        let range = NftKey::network(network);
        let with = |last: &[NftValue]| before.iter().chain(last).cloned().collect::<Vec<_>>();
        let set = if range.last.is_some() { ranges } else { host };
        Item { set, key: NftKey { first: with(&range.first), last: range.last.as_deref().map(with) }, data: None }
    }

    /// The link that the element begins with, if it begins with one.
    fn link(&self) -> Option<&IfName> {
        match self.key.first.first() {
            Some(NftValue::Name(link)) => Some(link),
            _ => None,
        }
    }

    fn element(&self) -> NftElement {
        NftElement { data: self.data.clone().map(NftData::Value), comment: None }
    }
}

impl Table {
    pub(super) fn sets(&self) -> impl Iterator<Item = &'static SetDef> {
        self.levels.iter().flat_map(|level| level.sets)
    }

    /// The chains of a level and those below, and how often each is used.
    fn uses(&self, level: usize) -> impl Iterator<Item = &'static (&'static str, u32)> {
        self.levels.iter().take(level + 1).flat_map(|level| level.uses)
    }

    fn frame_at(&self, level: usize) -> &'static NftTable {
        &self.levels[level].frame
    }

    /// The level that the table must have for these elements.
    pub(super) fn level_of<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> usize {
        let has = |level: &Level, item: &Item| level.sets.iter().any(|set| set.name == item.set);
        let level = |item: &Item| self.levels.iter().position(|level| has(level, item)).unwrap_or_default();
        items.into_iter().map(level).max().unwrap_or_default()
    }

    /// The level that was looked at.
    fn level_seen(&self, now: &Snapshot) -> usize {
        let id = (self.id)();
        if now.scope.contains(&Part::NftFrame(id.clone())) {
            return now.nft.get(&id).map_or(0, |table| self.level_begun(table));
        }
        let asked = |level: &Level| {
            level.uses.iter().any(|(chain, _)| now.scope.contains(&Part::NftUse(id.clone(), (*chain).into())))
        };
        self.levels.iter().rposition(asked).unwrap_or_default()
    }

    /// The highest level that a table has something of.
    fn level_begun(&self, table: &NftTable) -> usize {
        self.levels.iter().rposition(|level| level.is_begun(table)).unwrap_or_default()
    }

    /// What has to be looked at to see that the table is there and whole for these elements: its version, and how much its chains
    /// are used. Where that is not as it must be, all of it.
    pub(super) fn frame_scope<'a>(&self, items: impl IntoIterator<Item = &'a Item>, seen: &Snapshot) -> Scope {
        let (id, level) = ((self.id)(), self.level_of(items));
        let mut scope: Scope = self.uses(level).map(|(chain, _)| Part::NftUse(id.clone(), (*chain).into())).collect();
        scope.insert(Part::NftFlags(id.clone()));
        scope.insert(Part::NftElement(id.clone(), NftTableId::VERSION.into(), self.levels[level].version()));
        if scope.parts().all(|part| seen.scope.contains(part)) && !self.looks_whole(level, seen) {
            scope.extend(self.whole_scope());
        }
        // A table that replaces one of another version gets its elements.
        if seen.scope.contains(&Part::NftFrame(id.clone()))
            && seen.nft.get(&id).is_some_and(|found| !self.fits(found) && self.is_versioned(found))
        {
            scope.insert(Part::Nft(id));
        }
        scope
    }

    /// What has to be looked at to see all rules and sets of the table, and which levels it has.
    fn whole_scope(&self) -> impl Iterator<Item = Part> {
        let id = (self.id)();
        let frame = Part::NftFrame(id.clone());
        let version = move |level: &Level| Part::NftElement(id.clone(), NftTableId::VERSION.into(), level.version());
        self.levels.iter().map(version).chain([frame])
    }

    /// What has to be looked at to add or remove elements.
    pub(super) fn scope<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> Scope {
        items.into_iter().map(|i| self.part(i)).collect()
    }

    pub(super) fn part(&self, item: &Item) -> Part {
        Part::NftElement((self.id)(), item.set.into(), item.key.clone())
    }

    /// Whether version, flags and uses are what they must be. An administrator who replaces one rule by another is not seen by this.
    fn looks_whole(&self, level: usize, seen: &Snapshot) -> bool {
        let Some(table) = seen.nft.get(&(self.id)()) else { return false };
        table.flags == 0
            && self.levels[level].has_version(table)
            && self.uses(level).all(|(chain, uses)| table.uses.get(*chain) == Some(uses))
    }

    /// Whether chains and sets are as they must be for this level, as far as they were looked at.
    fn is_framed(&self, level: usize, now: &Snapshot) -> bool {
        let id = (self.id)();
        let level = level.max(self.level_seen(now));
        if now.scope.contains(&Part::NftFrame(id.clone())) {
            let table = now.nft.get(&id);
            return table.is_some_and(|t| t.frame() == *self.frame_at(level) && self.levels[level].has_version(t));
        }
        let looked =
            |(chain, _): &'static (&'static str, u32)| now.scope.contains(&Part::NftUse(id.clone(), (*chain).into()));
        !self.uses(level).all(looked) || self.looks_whole(level, now)
    }

    /// What a key leads to in this world, if the element is there.
    pub(super) fn find<'a>(&self, world: &'a Snapshot, item: &Item) -> Option<&'a NftElement> {
        world.nft.get(&(self.id)())?.sets.get(item.set)?.elements.get(&item.key)
    }

    fn has(&self, world: &Snapshot, item: &Item) -> bool {
        self.find(world, item).is_some_and(|found| found.data == item.element().data)
    }

    /// The error of an element that is there, and leads elsewhere than this one.
    pub(super) fn taken_by_other(&self, now: &Snapshot, item: &Item) -> Option<Error> {
        let found = self.find(now, item).filter(|found| found.data != item.element().data)?;
        Some(self.taken(item, found))
    }

    /// The error of an element that leads elsewhere.
    fn taken(&self, item: &Item, other: &NftElement) -> Error {
        let id = (self.id)();
        let types = self.sets().find(|set| set.name == item.set);
        let key = crate::snapshot::key_text(types.map_or(&[], |set| set.key), &item.key);
        let one = |value: &NftValue| match value {
            NftValue::U16(port) => format!("port {port}"),
            other => other.to_string(),
        };
        let to = |values: &[NftValue]| values.iter().map(one).collect::<Vec<_>>().join(" ");
        let there = match &other.data {
            Some(NftData::Value(values)) => to(values),
            _ => "elsewhere".into(),
        };
        let wanted = item.data.as_deref().map_or_else(String::new, to);
        Error::new(
            ErrorKind::Conflict,
            format!("{key} cannot be handed on to {wanted}: it is handed on to {there} already"),
        )
        .with_object(format!("nft set {id} {}", item.set))
        .unchanged()
        .with_hint(format!("stop the network that it belongs to, or look at `nft list map {id} {}`", item.set))
    }

    /// The table at a level, without any elements.
    pub(super) fn frame(&self, level: usize) -> NftTable {
        let sets = self.levels.iter().take(level + 1).flat_map(|level| level.sets).chain([&VERSION]);
        let mut chains = (self.chains)();
        chains.retain(|name, _| self.uses(level).any(|(chain, _)| chain == name));
        NftTable { chains, sets: gather::map(sets.map(|set| (set.name.to_owned(), set.made()))), ..NftTable::default() }
    }

    /// How the table is made where there is none.
    pub(super) fn making(&self, level: usize) -> NftTransaction {
        let mut ops = vec![NftOp::AddTable];
        ops.extend(self.adding(&NftTable::default(), level));
        NftTransaction::new((self.id)(), ops)
    }

    /// The operations that add what a table lacks to a level: chains with their rules, sets, versions.
    fn adding<'a>(&self, found: &'a NftTable, level: usize) -> impl Iterator<Item = NftOp> + use<'a> {
        let wanted = self.frame_at(level);
        let chains = || wanted.chains.iter().filter(|(name, _)| !found.chains.contains_key(*name));
        let sets = wanted.sets.iter().filter(|(name, _)| !found.sets.contains_key(*name));
        let versions = self.levels.iter().take(level + 1).filter(|level| !level.has_version(found)).map(|level| {
            let elements = vec![(level.version(), NftElement::default())];
            NftOp::AddElements { set: NftTableId::VERSION.into(), elements }
        });
        chains()
            .map(|(name, c)| NftOp::AddChain { chain: name.clone(), base: c.base })
            .chain(sets.map(|(name, def)| NftOp::AddSet { set: name.clone(), def: def.clone() }))
            .chain(chains().flat_map(rules))
            .chain(versions.collect::<Vec<_>>())
    }

    /// The operations that make the table what it must be: all of it, what a level has more, or its rules anew.
    pub(super) fn framing(&self, level: usize, now: &Snapshot) -> Result<Vec<NftOp>, Error> {
        let Some(found) = now.nft.get(&(self.id)()) else { return Ok(self.making(level).ops) };
        if self.is_framed(level, now) {
            return Ok(Vec::new());
        }
        if !self.fits(found) {
            return self.replacing(level, found, now);
        }
        let begun = self.level_begun(found);
        let as_made = self.frame_at(begun);
        let mut ops = Vec::new();
        if found.flags & NftTable::DORMANT != 0 {
            ops.push(NftOp::SetFlags { flags: 0 });
        }
        if found.chains != as_made.chains {
            ops.extend(as_made.chains.keys().map(|chain| NftOp::FlushChain { chain: chain.clone() }));
            ops.extend(as_made.chains.iter().flat_map(rules));
        }
        ops.extend(self.adding(found, level.max(begun)));
        Ok(ops)
    }

    /// Whether it is a table of this version, but for its rules.
    pub(super) fn fits(&self, found: &NftTable) -> bool {
        let as_made = self.frame_at(self.level_begun(found));
        let same_base = |(name, c): (&String, &NftChain)| found.chains.get(name).is_some_and(|f| f.base == c.base);
        found.flags & !NftTable::DORMANT == 0
            && found.frame().sets == as_made.sets
            && as_made.chains.iter().all(same_base)
            && found.chains.keys().all(|name| as_made.chains.contains_key(name))
    }

    /// The error for a table of this name that xennet did not make.
    pub(super) fn is_another(&self) -> Error {
        let (id, [before, behind]) = ((self.id)(), self.ways_out);
        let message = format!("there is an nft table {id} that xennet did not make");
        Error::new(ErrorKind::Conflict, message)
            .with_object(format!("nft table {id}"))
            .unchanged()
            .with_hint(format!("{before}, remove it (nft delete table {id}), and {behind}"))
    }
}

/// The operations that add the rules of a chain.
fn rules((name, chain): (&String, &NftChain)) -> impl Iterator<Item = NftOp> {
    chain.rules.iter().map(|rule| NftOp::AddRule { chain: name.clone(), rule: rule.clone() })
}

/// What one of the tables is to have, and which elements shall go.
pub(super) struct TableWish {
    pub(super) table: &'static Table,
    /// These elements must be there.
    pub(super) present: Vec<Item>,
    /// These must not, unless they are among the others.
    pub(super) absent: Vec<Item>,
    pub(super) why: Reason,
}

impl TableWish {
    pub(super) fn new(table: &'static Table, present: Vec<Item>, absent: Vec<Item>, why: Reason) -> TableWish {
        TableWish { table, present, absent, why }
    }

    /// Of several wishes one for each table.
    pub(super) fn together(wishes: impl IntoIterator<Item = TableWish>, why: &Reason) -> Vec<TableWish> {
        let mut all: Vec<TableWish> =
            all().into_iter().map(|table| TableWish::new(table, Vec::new(), Vec::new(), why.clone())).collect();
        for wish in wishes {
            if let Some(of_table) = all.iter_mut().find(|w| std::ptr::eq(w.table, wish.table)) {
                of_table.present.extend(wish.present);
                of_table.absent.extend(wish.absent);
            }
        }
        for wish in &mut all {
            // Several may need the same one.
            wish.present.sort();
            wish.present.dedup();
        }
        all.retain(|wish| !wish.present.is_empty() || !wish.absent.is_empty());
        all
    }

    /// What was seen of the tables, all of it that was looked at.
    pub(super) fn restored(target: &Snapshot, why: &Reason) -> Vec<TableWish> {
        let of_table = |table: &'static Table| {
            let id = (table.id)();
            let mut wish = TableWish::new(table, Vec::new(), Vec::new(), why.clone());
            for part in target.scope.parts() {
                let Part::NftElement(of, set, key) = part else { continue };
                let named = table.sets().map(|def| def.name).find(|name| name == set);
                let (true, Some(set)) = (*of == id, named) else { continue };
                let item = Item { set, key: key.clone(), data: None };
                match table.find(target, &item) {
                    Some(found) => {
                        let data = match &found.data {
                            Some(NftData::Value(values)) => Some(values.clone()),
                            _ => None,
                        };
                        // It may lead elsewhere by now.
                        wish.absent.extend(data.is_some().then(|| item.clone()));
                        wish.present.push(Item { data, ..item });
                    }
                    None => wish.absent.push(item),
                }
            }
            wish
        };
        all().into_iter().map(of_table).filter(|w| !w.present.is_empty() || !w.absent.is_empty()).collect()
    }

    /// What is missing in a world, and what is too much.
    pub(super) fn difference(&self, now: &Snapshot) -> (Vec<&Item>, Vec<&Item>) {
        let add = self.present.iter().filter(|i| !self.table.has(now, i)).collect();
        let present = if self.absent.is_empty() { BTreeMap::new() } else { by_key(&self.present) };
        let stays = |i: &Item| present.get(&(i.set, &i.key)).is_some_and(|p| self.table.has(now, p));
        // What leads elsewhere is somebody else's by now; also where it is another map that leads elsewhere from the same key.
        let mut as_it_was: BTreeMap<(Option<char>, &NftKey), bool> = BTreeMap::new();
        for item in self.absent.iter().filter(|i| i.data.is_some()) {
            *as_it_was.entry((family_of(item), &item.key)).or_insert(true) &= self.table.has(now, item);
        }
        let there = |i: &Item| match &i.data {
            Some(_) => as_it_was.get(&(family_of(i), &i.key)).copied().unwrap_or_default(),
            None => self.table.find(now, i).is_some(),
        };
        let del = self.absent.iter().filter(|i| there(i) && !stays(i));
        (add, del.collect())
    }

    /// The changes that come before any link is touched: what is missing, and what has to make way for it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if there is a table of this name that no version of xennet has made, or if somebody else has an element that
    /// leads elsewhere.
    pub(super) fn first(&self, now: &Snapshot) -> Result<Option<NftTransaction>, Error> {
        if self.table.is_replaced(now) && !self.present.is_empty() {
            return self.instead(now).map(Some);
        }
        let (add, del) = self.difference(now);
        let level = self.table.level_of(&self.present);
        if add.is_empty() && (self.present.is_empty() || self.table.is_framed(level, now)) {
            return Ok(None);
        }
        let mut ops = self.table.framing(level, now)?;
        // A network that lies around another one may only come when that one has gone.
        let makes_way = |d: &&Item| add.iter().any(|a| a.link() == d.link());
        let (way, _): (Vec<&Item>, Vec<&Item>) = del.into_iter().partition(makes_way);
        let gone = by_key(way.iter().copied());
        for item in &add {
            let taken = self.table.taken_by_other(now, item);
            if let Some(e) = taken.filter(|_| !gone.contains_key(&(item.set, &item.key))) {
                return Err(e);
            }
        }
        ops.extend(deletions(way));
        ops.extend(additions(add));
        Ok(Some(NftTransaction::new((self.table.id)(), ops)))
    }

    /// The changes that come when the links are as wanted: what is too much.
    pub(super) fn last(&self, now: &Snapshot) -> Option<NftTransaction> {
        let (_, del) = self.difference(now);
        let ops = deletions(del);
        (!ops.is_empty()).then(|| NftTransaction::new((self.table.id)(), ops))
    }
}

/// Maps of one family have one name but for a word before its number.
fn family_of(item: &Item) -> Option<char> {
    item.set.chars().last()
}

fn by_key<'a>(items: impl IntoIterator<Item = &'a Item>) -> BTreeMap<(&'static str, &'a NftKey), &'a Item> {
    gather::map(items.into_iter().map(|i| ((i.set, &i.key), i)))
}

fn by_set<'a>(items: impl IntoIterator<Item = &'a Item>) -> BTreeMap<&'static str, Vec<&'a Item>> {
    let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        sets.entry(item.set).or_default().push(item);
    }
    sets
}

pub(super) fn additions<'a>(items: impl IntoIterator<Item = &'a Item>) -> impl Iterator<Item = NftOp> {
    by_set(items).into_iter().map(|(set, items)| NftOp::AddElements {
        set: set.into(),
        elements: items.into_iter().map(|i| (i.key.clone(), i.element())).collect(),
    })
}

pub(super) fn deletions<'a>(items: impl IntoIterator<Item = &'a Item>) -> Vec<NftOp> {
    let sets = by_set(items).into_iter();
    sets.map(|(set, items)| NftOp::DelElements {
        set: set.into(),
        keys: items.into_iter().map(|i| i.key.clone()).collect(),
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::snapshot::nft_facts;

    #[test]
    fn versions_and_uses_are_those_of_the_rules() {
        for table in all() {
            let id = (table.id)();
            let all = (table.chains)();
            assert_eq!(*table.frame_at(table.levels.len() - 1), table.frame(table.levels.len() - 1));
            assert_eq!(all.len(), table.uses(usize::MAX - 1).count(), "{id}: every chain is counted");
            for (at, level) in table.levels.iter().enumerate() {
                let facts = nft_facts(&BTreeMap::from([(id.clone(), level.frame.clone())])).join("\n");
                let digest = Sha256::digest(facts.as_bytes());
                let version = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
                let used: Vec<(&str, Option<u32>)> =
                    table.uses(at).map(|(chain, _)| (*chain, level.frame.use_of(chain))).collect();
                // Also of the levels below: nothing above leads to them.
                let wanted: Vec<(&str, Option<u32>)> = table.uses(at).map(|(chain, n)| (*chain, Some(*n))).collect();
                assert_eq!(used, wanted, "{id}, level {at}: the rules have changed: put these numbers into its uses");
                assert_eq!(version, level.version, "{id}, level {at}: the rules have changed: it is {version:#010x}");
            }
        }
    }
}
