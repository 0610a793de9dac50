//! What vifs and networks have in the [tables](crate::tables): how elements come and go, and how a table is made or kept whole for them.

use std::collections::{BTreeMap, BTreeSet};

use ipnetwork::IpNetwork;

use super::Reason;
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{IfName, PacketLog};
use crate::snapshot::{NftData, NftElement, NftKey, NftTable, NftTableId, NftValue, Part, Scope, Snapshot};
use crate::step::{NftOp, NftTransaction};
use crate::tables::{self, Section, Sections, Table, logging, rules};

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

/// That dropped packets of a link are logged there.
pub(super) fn noted(link: IfName, log: PacketLog) -> Option<Item> {
    Some(Item::exact(logging::set(log)?, &[NftValue::Name(link)]))
}

impl Table {
    /// The sections that the table must have for these elements.
    pub(super) fn sections_for<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> Sections {
        let needed = |item: &Item| self.sections_with(|section| section.has(item.set));
        items.into_iter().map(needed).fold(Sections::default(), Sections::and)
    }

    /// What has to be looked at to see that the table is there and whole for these elements: its version, and how much its chains
    /// are used. Where that is not as it must be, all of it.
    pub(super) fn frame_scope<'a>(&self, items: impl IntoIterator<Item = &'a Item>, seen: &Snapshot) -> Scope {
        let (id, sections) = ((self.id)(), self.sections_for(items));
        // In the order of parts, so that none is moved.
        let mut scope = Scope::none().with(Part::NftFlags(id.clone()));
        scope.extend(self.uses(sections).map(|(chain, _)| Part::NftUse(id.clone(), (*chain).into())));
        let version = |section: &Section| Part::NftElement(id.clone(), NftTableId::VERSION.into(), section.version());
        scope.extend(self.chosen(sections).map(version));
        if scope.is_within(&seen.scope) && !self.looks_whole(sections, seen) {
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

    /// What has to be looked at to add or remove elements.
    pub(super) fn scope<'a>(&self, items: impl IntoIterator<Item = &'a Item>) -> Scope {
        items.into_iter().map(|i| self.part(i)).collect()
    }

    pub(super) fn part(&self, item: &Item) -> Part {
        Part::NftElement((self.id)(), item.set.into(), item.key.clone())
    }

    /// The elements that are in a scope, without what they lead to.
    fn items<'a>(&'static self, scope: &'a Scope) -> impl Iterator<Item = Item> + 'a {
        let id = (self.id)();
        scope.parts().filter_map(move |part| match part {
            Part::NftElement(of, set, key) if *of == id => {
                let set = self.sets().map(|def| def.name).find(|name| name == set)?;
                Some(Item { set, key: key.clone(), data: None })
            }
            _ => None,
        })
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

    /// The operations that make the table what it must be: all of it, what it lacks of some sections, or its rules anew.
    pub(super) fn framing(&self, sections: Sections, now: &Snapshot) -> Result<Vec<NftOp>, Error> {
        let Some(found) = now.nft.get(&(self.id)()) else { return Ok(self.making(sections).ops) };
        if self.is_framed(sections, now) {
            return Ok(Vec::new());
        }
        if !self.fits(found) {
            return self.replacing(sections, found, now);
        }
        let begun = self.sections_begun(found);
        let as_made = self.frame_of(begun);
        let mut ops = Vec::new();
        if found.flags & NftTable::DORMANT != 0 {
            ops.push(NftOp::SetFlags { flags: 0 });
        }
        if found.chains != as_made.chains {
            ops.extend(as_made.chains.keys().map(|chain| NftOp::FlushChain { chain: chain.clone() }));
            ops.extend(as_made.chains.iter().flat_map(rules));
        }
        ops.extend(self.adding(found, sections.and(begun)));
        ops.extend(tables::noting(as_made, self.frame_of(sections.and(begun))));
        Ok(ops)
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

/// What one of the tables is to have, and which elements shall go.
pub(super) struct TableWish {
    pub(super) table: &'static Table,
    /// These elements must be there.
    pub(super) present: Vec<Item>,
    /// These must not, unless they are among the others.
    pub(super) absent: Vec<Item>,
    /// The same, for what goes before any link is touched.
    pub(super) left: Vec<Item>,
    pub(super) why: Reason,
}

impl TableWish {
    pub(super) fn new(table: &'static Table, present: Vec<Item>, absent: Vec<Item>, why: Reason) -> TableWish {
        TableWish { table, present, absent, left: Vec::new(), why }
    }

    /// Adds that these elements go first: an earlier guest left them.
    pub(super) fn clear_first(wishes: &mut Vec<TableWish>, left: &Scope) {
        let why = Reason::fixed("an earlier guest left it, and its record was lost");
        for table in tables::all() {
            let left: Vec<Item> = table.items(left).collect();
            match wishes.iter_mut().find(|wish| std::ptr::eq(wish.table, table)) {
                _ if left.is_empty() => {}
                Some(wish) => {
                    if wish.present.is_empty() {
                        wish.why = why.clone();
                    }
                    wish.left = left;
                }
                None => {
                    let wish = TableWish::new(table, Vec::new(), Vec::new(), why.clone());
                    wishes.push(TableWish { left, ..wish });
                }
            }
        }
    }

    /// Of several wishes one for each table.
    pub(super) fn together(wishes: impl IntoIterator<Item = TableWish>, why: &Reason) -> Vec<TableWish> {
        let mut all: Vec<TableWish> =
            tables::all().into_iter().map(|table| TableWish::new(table, Vec::new(), Vec::new(), why.clone())).collect();
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
            let mut wish = TableWish::new(table, Vec::new(), Vec::new(), why.clone());
            for item in table.items(&target.scope) {
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
        tables::all().into_iter().map(of_table).filter(|w| !w.present.is_empty() || !w.absent.is_empty()).collect()
    }

    /// What is missing in a world, and what is too much.
    pub(super) fn difference(&self, now: &Snapshot) -> (Vec<&Item>, Vec<&Item>) {
        let add = self.present.iter().filter(|i| !self.table.has(now, i)).collect();
        let goes = || self.absent.iter().chain(&self.left);
        let present = if goes().next().is_none() { BTreeMap::new() } else { by_key(&self.present) };
        let stays = |i: &Item| present.get(&(i.set, &i.key)).is_some_and(|p| self.table.has(now, p));
        // What leads elsewhere is somebody else's by now; also where it is another map that leads elsewhere from the same key.
        let mut as_it_was: BTreeMap<(Option<char>, &NftKey), bool> = BTreeMap::new();
        for item in self.absent.iter().filter(|i| i.data.is_some()) {
            // One that somebody has removed leads nowhere.
            let is_own = self.table.find(now, item).is_none() || self.table.has(now, item);
            *as_it_was.entry((family_of(item), &item.key)).or_insert(true) &= is_own;
        }
        let is_own = |i: &Item| as_it_was.get(&(family_of(i), &i.key)).copied().unwrap_or_default();
        let there = |i: &Item| self.table.find(now, i).is_some() && (i.data.is_none() || is_own(i));
        // What an earlier guest has left a record can tell, too.
        let mut told = BTreeSet::new();
        let del = goes().filter(|i| there(i) && !stays(i) && told.insert((i.set, &i.key)));
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
        let sections = self.table.sections_for(&self.present);
        // A network that lies around another one may only come when that one has gone.
        let makes_way = |d: &&Item| add.iter().any(|a| a.link() == d.link()) || self.left.contains(d);
        let (way, _): (Vec<&Item>, Vec<&Item>) = del.into_iter().partition(makes_way);
        if add.is_empty() && way.is_empty() && (self.present.is_empty() || self.table.is_framed(sections, now)) {
            return Ok(None);
        }
        let mut ops = if self.present.is_empty() { Vec::new() } else { self.table.framing(sections, now)? };
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
