//! nft tables of xennet's own, the guard and the gate: names, sets, rules, versions.
//!
//! This is the one description of them. The planner makes the tables by it, the backend and the listings know sets by it, and a look
//! at the kernel is compared with it. What a vif or a network has in them is planned in [`plan`](crate::plan).
//!
//! Each has a constant number of rules, and sets whose elements are what vifs and networks have in it. So neither a packet nor a
//! call costs more with every guest. Whether a table is whole is seen by one element, which carries a number made of all its
//! rules and sets, and by how often the kernel counts its chains as used. Only where these do not fit are the rules read.
//!
//! A table stays when the last element has gone, since others may need it next.
//!
//! A table has sections. The first has what every element needs. Each other one stands on the first alone, and is made when its first
//! element is added: a host that only routes does not load address translation, and what no guest needs costs no packet anything.
//!
//! Administrators save rulesets with `nft list ruleset` and load them again. So tables are made of what nft 1.0 has words for, as
//! text and as JSON, and each rule of the very expressions that nft makes of its own words for it: then a table that was saved
//! and loaded is the same table. `tests/rulesets` holds all of them against the nft that is there.

pub(crate) mod gate;
pub(crate) mod guard;
pub(crate) mod limits;
pub(crate) mod logging;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::gather;
use crate::model::Network;
use crate::snapshot::{
    NftChain, NftDataType, NftElement, NftExpr, NftKey, NftRule, NftSet, NftTable, NftTableId, NftType, NftValue, Part,
    Scope, Snapshot,
};
use crate::step::{NftOp, NftTransaction, Step};

/// Sets, and the keys of elements.
pub(crate) type Derived = Vec<(&'static str, Vec<NftKey>)>;

/// A table of xennet's own.
pub(crate) struct Table {
    /// Family and name.
    pub(crate) id: fn() -> NftTableId,
    /// What is always needed, and what may be.
    pub(crate) sections: &'static [Section],
    /// The table with each choice of sections, without any elements; each made only where it is needed.
    pub(crate) frames: [OnceLock<NftTable>; Sections::CHOICES],
    /// All chains, of all sections.
    pub(crate) chains: fn() -> BTreeMap<String, NftChain>,
    /// The keys of elements that follow from those of another version's table, by their sets, which that one has not.
    pub(crate) derived: fn(&NftTable) -> Derived,
    /// The keys of all elements that could follow from those of another version's table.
    pub(crate) follows: fn(&NftTable) -> Derived,
    /// What an administrator does before and after the removal of a foreign table of this name.
    pub(crate) ways_out: [&'static str; 2],
}

/// A part of a table that is made as a whole.
pub(crate) struct Section {
    /// A number made from all rules and sets of this section and the first. A test says which it must be.
    pub(crate) version: u32,
    /// The chains, and how often the kernel counts each as used: by its own rules, and by those that lead to it. A test counts, too.
    pub(crate) uses: &'static [(&'static str, u32)],
    /// The sets that elements of vifs and networks are in.
    pub(crate) sets: &'static [SetDef],
}

impl Section {
    const fn of(version: u32, uses: &'static [(&'static str, u32)], sets: &'static [SetDef]) -> Section {
        Section { version, uses, sets }
    }

    /// Whether it has a set of this name.
    pub(crate) fn has(&self, set: &str) -> bool {
        self.sets.iter().any(|def| def.name == set)
    }

    /// Whether its chains are used as often as they must be.
    fn is_used_in(&self, table: &NftTable) -> bool {
        self.uses.iter().all(|(chain, uses)| match table.uses.get(*chain) {
            // Sections have rules there.
            Some(found) if *chain == logging::NOTED => found >= uses,
            found => found == Some(uses),
        })
    }

    /// The element of the version set that stands for this section.
    pub(crate) fn version(&self) -> NftKey {
        NftKey::exact([NftValue::U32(self.version)])
    }

    /// Whether a table has that element.
    pub(crate) fn has_version(&self, table: &NftTable) -> bool {
        table.sets.get(NftTableId::VERSION).is_some_and(|set| set.elements.contains_key(&self.version()))
    }

    /// Whether a table has something of this section.
    fn is_begun(&self, table: &NftTable) -> bool {
        self.uses.iter().any(|(chain, _)| table.chains.contains_key(*chain))
            || self.sets.iter().any(|set| table.sets.contains_key(set.name))
    }
}

/// Which sections a table has, or needs: the first, and any others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sections(usize);

impl Default for Sections {
    /// The first alone.
    fn default() -> Sections {
        Sections(1)
    }
}

impl Sections {
    /// The most that a table may have.
    const MOST: usize = 6;
    const CHOICES: usize = 1 << (Self::MOST - 1);

    /// These and one more, by its place.
    #[must_use]
    pub(crate) const fn with(self, section: usize) -> Sections {
        Sections(self.0 | 1 << section)
    }

    /// These and others.
    #[must_use]
    pub(crate) const fn and(self, others: Sections) -> Sections {
        Sections(self.0 | others.0)
    }

    const fn has(self, section: usize) -> bool {
        self.0 & 1 << section != 0
    }

    /// The first is in every choice.
    const fn choice(self) -> usize {
        self.0 >> 1
    }
}

impl FromIterator<usize> for Sections {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Sections {
        places.into_iter().fold(Sections::default(), Sections::with)
    }
}

/// A set or map of a table.
#[derive(Clone, Copy)]
pub(crate) struct SetDef {
    /// The name.
    pub(crate) name: &'static str,
    /// The types of a key's fields.
    pub(crate) key: &'static [NftType],
    /// The types of what a key leads to; none in a set.
    pub(crate) data: &'static [NftType],
    /// Whether the keys are ranges.
    pub(crate) interval: bool,
    /// Whether packets add its elements, which count them. No snapshot has these elements.
    pub(crate) counts: bool,
}

impl SetDef {
    /// A set of single keys.
    const fn of(name: &'static str, key: &'static [NftType]) -> Self {
        SetDef { name, key, data: &[], interval: false, counts: false }
    }

    /// A set of ranges.
    const fn ranges(name: &'static str, key: &'static [NftType]) -> Self {
        SetDef { name, key, data: &[], interval: true, counts: false }
    }

    /// A set whose elements packets add, and which counts them.
    const fn counting(name: &'static str, key: &'static [NftType]) -> Self {
        SetDef { name, key, data: &[], interval: false, counts: true }
    }

    /// The set without elements.
    pub(crate) fn made(&self) -> NftSet {
        let data = (!self.data.is_empty()).then(|| NftDataType::Value(self.data.to_vec()));
        NftSet { key: self.key.to_vec(), data, interval: self.interval, counter: self.counts, ..NftSet::default() }
    }
}

/// The set of each table whose elements say of which version its sections are.
const VERSION: SetDef = SetDef::of(NftTableId::VERSION, &[NftType::Mark]);

/// All of them.
pub(crate) fn all() -> [&'static Table; 2] {
    [&guard::GUARD, &gate::GATE]
}

/// What a set of one of the tables is like, without its elements.
#[cfg(feature = "netlink")]
pub(crate) fn set_of(id: &NftTableId, name: &str) -> Option<NftSet> {
    if !id.is_kept() {
        return None;
    }
    let table = all().into_iter().find(|table| (table.id)() == *id)?;
    table.sets().chain([&VERSION]).find(|set| set.name == name).map(SetDef::made)
}

/// Whether a table of this name is not as some choice of its sections is made.
#[cfg(feature = "netlink")]
pub(crate) fn is_changed(id: &NftTableId, found: &NftTable) -> bool {
    let table = all().into_iter().find(|table| (table.id)() == *id);
    table.is_some_and(|table| found.frame() != *table.frame_of(table.sections_begun(found)))
}

/// A set as xennet makes it. nft adds the flag `dynamic` to a set that a rule adds keys to, when it loads a listing. xennet makes these sets
/// without the flag: the JSON of nft 1.0 leaves it out, and the kernel refuses to load a set over one with other flags.
#[cfg(feature = "netlink")]
pub(crate) fn as_made(id: &NftTableId, name: &str, mut set: NftSet) -> NftSet {
    /// `NFT_SET_EVAL`.
    const DYNAMIC: u32 = 0x20;
    if is_counting(id, name) {
        set.other_flags &= !DYNAMIC;
        // Linux before 5.7 makes the set without counters. The guard filters all the same, and counts nothing.
        set.counter = true;
    }
    set
}

/// Whether a chain of a table counts violations.
pub(crate) fn counts(id: &NftTableId, chain: &NftChain) -> bool {
    let counts = |e: &NftExpr| matches!(e, NftExpr::Add { set, .. } if set == rules::VIOLATIONS);
    id.is_kept() && chain.rules.iter().flat_map(|rule| &rule.exprs).any(counts)
}

/// Whether packets add the elements of this set of one of the tables.
#[cfg(feature = "netlink")]
pub(crate) fn is_counting(id: &NftTableId, name: &str) -> bool {
    id.is_kept() && rules::COUNTING.iter().any(|set| set.name == name)
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
    all()
        .into_iter()
        .any(|table| now.nft.contains_key(&(table.id)()) && !table.is_framed(table.sections_seen(now), now))
}

/// The same look, but at all rules of the tables: what is seen of a table otherwise tells whether one is missing, not whether one
/// was replaced by another.
pub(crate) fn whole(mut scope: Scope) -> Scope {
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

/// Whether a step makes one of the tables, a section of it, or its rules anew: somebody may have taken something away.
pub(crate) fn mends_table(step: &Step) -> bool {
    let Step::Nft(transaction) = step else { return false };
    let again = |op: &NftOp| matches!(op, NftOp::FlushChain { .. } | NftOp::SetFlags { .. });
    transaction.table.is_kept() && (transaction.makes() || transaction.ops.iter().any(again))
}

/// Whether a step makes one of the tables, or a section of it: then another call may have made it in the meantime.
pub(crate) fn makes_table(step: &Step) -> bool {
    let Step::Nft(transaction) = step else { return false };
    transaction.table.is_kept() && transaction.makes()
}

/// How the tables are made that a network's guests will need.
pub(crate) fn of_network(network: &Network) -> Vec<NftTransaction> {
    let gate = gate::sections(network).map(|sections| gate::GATE.making(sections));
    // On a private bridge as well the addresses of a guest can be declared.
    let guard = network.bridge().map(|_| guard::GUARD.making(Sections::default()));
    gate.into_iter().chain(guard).collect()
}

impl Table {
    /// The sets of all sections, without that of the versions.
    pub(crate) fn sets(&self) -> impl Iterator<Item = &'static SetDef> {
        self.sections.iter().flat_map(|section| section.sets)
    }

    /// Some sections of the table.
    pub(crate) fn chosen(&self, sections: Sections) -> impl Iterator<Item = &'static Section> + use<> {
        self.sections.iter().enumerate().filter(move |(at, _)| sections.has(*at)).map(|(_, section)| section)
    }

    /// Those sections of which this holds, and the first.
    pub(crate) fn sections_with(&self, holds: impl Fn(&Section) -> bool) -> Sections {
        self.sections.iter().enumerate().filter(|(_, section)| holds(section)).map(|(at, _)| at).collect()
    }

    /// The chains of some sections, and how often each is used.
    pub(crate) fn uses(&self, sections: Sections) -> impl Iterator<Item = &'static (&'static str, u32)> + use<> {
        self.chosen(sections).flat_map(|section| section.uses)
    }

    /// As [`frame`](Self::frame), made once.
    pub(crate) fn frame_of(&self, sections: Sections) -> &NftTable {
        self.frames[sections.choice()].get_or_init(|| self.frame(sections))
    }

    /// The sections that were looked at.
    fn sections_seen(&self, now: &Snapshot) -> Sections {
        let id = (self.id)();
        if now.scope.has_frame_of(&id) {
            return now.nft.get(&id).map_or_else(Sections::default, |table| self.sections_begun(table));
        }
        self.sections_with(|section| section.uses.iter().any(|(chain, _)| now.scope.has_use_of(&id, chain)))
    }

    /// The sections that a table has something of.
    pub(crate) fn sections_begun(&self, table: &NftTable) -> Sections {
        self.sections_with(|section| section.is_begun(table))
    }

    /// What has to be looked at to see all rules and sets of the table, and which sections it has.
    pub(crate) fn whole_scope(&self) -> impl Iterator<Item = Part> {
        let id = (self.id)();
        let frame = Part::NftFrame(id.clone());
        let version =
            move |section: &Section| Part::NftElement(id.clone(), NftTableId::VERSION.into(), section.version());
        self.sections.iter().map(version).chain([frame])
    }

    /// Whether a table has the versions of these sections.
    fn has_versions(&self, sections: Sections, table: &NftTable) -> bool {
        self.chosen(sections).all(|section| section.has_version(table))
    }

    /// Whether versions, flags and uses are what they must be. An administrator who replaces one rule by another is not seen by this.
    pub(crate) fn looks_whole(&self, sections: Sections, seen: &Snapshot) -> bool {
        let Some(table) = seen.nft.get(&(self.id)()) else { return false };
        table.flags == 0
            && self.has_versions(sections, table)
            && (self.uses(sections).map(|(chain, uses)| (*chain, uses)).eq(table.uses.iter().map(|(c, u)| (&**c, u)))
                || self.chosen(sections).all(|section| section.is_used_in(table)))
    }

    /// Whether chains and sets are as they must be for these sections, as far as they were looked at.
    pub(crate) fn is_framed(&self, sections: Sections, now: &Snapshot) -> bool {
        let id = (self.id)();
        let sections = sections.and(self.sections_seen(now));
        if now.scope.has_frame_of(&id) {
            let table = now.nft.get(&id);
            return table.is_some_and(|t| t.frame() == *self.frame_of(sections) && self.has_versions(sections, t));
        }
        !self.uses(sections).all(|(chain, _)| now.scope.has_use_of(&id, chain)) || self.looks_whole(sections, now)
    }

    /// The table with some sections, without any elements.
    pub(crate) fn frame(&self, sections: Sections) -> NftTable {
        let sets = self.chosen(sections).flat_map(|section| section.sets).chain([&VERSION]);
        let mut chains = (self.chains)();
        chains.retain(|name, _| self.uses(sections).any(|(chain, _)| chain == name));
        if let Some(noted) = chains.get_mut(logging::NOTED) {
            let looks_up =
                |e: &NftExpr| matches!(e, NftExpr::Lookup { set, .. } if self.chosen(sections).any(|s| s.has(set)));
            noted.rules.retain(|rule| rule.exprs.iter().any(looks_up));
        }
        NftTable { chains, sets: gather::map(sets.map(|set| (set.name.to_owned(), set.made()))), ..NftTable::default() }
    }

    /// How the table is made where there is none.
    pub(crate) fn making(&self, sections: Sections) -> NftTransaction {
        let mut ops = vec![NftOp::AddTable];
        ops.extend(self.adding(&NftTable::default(), sections));
        NftTransaction::new((self.id)(), ops)
    }

    /// The operations that add the sections that a table lacks: chains with their rules, sets, versions.
    pub(crate) fn adding<'a>(
        &'a self,
        found: &'a NftTable,
        sections: Sections,
    ) -> impl Iterator<Item = NftOp> + use<'a> {
        let wanted = self.frame_of(sections);
        let chains = || wanted.chains.iter().filter(|(name, _)| !found.chains.contains_key(*name));
        let sets = wanted.sets.iter().filter(|(name, _)| !found.sets.contains_key(*name));
        let versions = self.chosen(sections).filter(|section| !section.has_version(found)).map(|section| {
            let elements = vec![(section.version(), NftElement::default())];
            NftOp::AddElements { set: NftTableId::VERSION.into(), elements }
        });
        chains()
            .map(|(name, c)| NftOp::AddChain { chain: name.clone(), base: c.base })
            .chain(sets.map(|(name, def)| NftOp::AddSet { set: name.clone(), def: def.clone() }))
            .chain(chains().flat_map(rules))
            .chain(versions.collect::<Vec<_>>())
    }

    /// Whether it is a table of this version, but for its rules.
    pub(crate) fn fits(&self, found: &NftTable) -> bool {
        let as_made = self.frame_of(self.sections_begun(found));
        let same_base = |(name, c): (&String, &NftChain)| found.chains.get(name).is_some_and(|f| f.base == c.base);
        found.flags & !NftTable::DORMANT == 0
            && found.frame().sets == as_made.sets
            && as_made.chains.iter().all(same_base)
            && found.chains.keys().all(|name| as_made.chains.contains_key(name))
    }

    /// Whether some version of xennet made it: no other program makes such a set.
    pub(crate) fn is_versioned(&self, found: &NftTable) -> bool {
        found.sets.get(NftTableId::VERSION).is_some_and(|set| emptied(set) == VERSION.made())
    }
}

/// The operations that add the rules of further sections to the chain that all of them share. `was` is the table with the sections that it
/// has, and with their rules.
pub(crate) fn noting(was: &NftTable, wanted: &NftTable) -> Vec<NftOp> {
    let (Some(was), Some(wanted)) = (was.chains.get(logging::NOTED), wanted.chains.get(logging::NOTED)) else {
        return Vec::new();
    };
    let there = |rule: &NftRule| was.rules.contains(rule);
    let missing = wanted.rules.iter().enumerate().filter(|(_, rule)| !there(rule));
    let op = |(at, rule): (usize, &NftRule)| {
        let (chain, rule) = (logging::NOTED.to_owned(), rule.clone());
        match wanted.rules[at..].iter().any(there) {
            true => NftOp::InsertRule { chain, rule },
            false => NftOp::AddRule { chain, rule },
        }
    };
    missing.map(op).collect()
}

/// The operations that add the rules of a chain.
pub(crate) fn rules((name, chain): (&String, &NftChain)) -> impl Iterator<Item = NftOp> {
    chain.rules.iter().map(|rule| NftOp::AddRule { chain: name.clone(), rule: rule.clone() })
}

/// A set without its elements.
pub(crate) fn emptied(set: &NftSet) -> NftSet {
    NftSet { elements: BTreeMap::new(), ..set.clone() }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::snapshot::nft_facts;

    #[test]
    fn versions_and_uses_are_those_of_the_rules() {
        // All of them at once: a changed rule of the first changes every section.
        let mut wrong = Vec::new();
        for table in all() {
            let id = (table.id)();
            let all = (table.chains)();
            let every = table.sections_with(|_| true);
            assert!(table.sections.len() <= Sections::MOST);
            assert_eq!(*table.frame_of(every), table.frame(every));
            assert_eq!(all.len(), table.uses(every).count(), "{id}: every chain is counted");
            for (at, section) in table.sections.iter().enumerate() {
                let sections = Sections::default().with(at);
                let frame = table.frame(sections);
                let facts = nft_facts(&BTreeMap::from([(id.clone(), frame.clone())])).join("\n");
                let digest = Sha256::digest(facts.as_bytes());
                let version = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
                let mut used: Vec<(&str, Option<u32>)> = table
                    .uses(sections)
                    .map(|(chain, least)| match frame.use_of(chain) {
                        Some(n) if *chain == logging::NOTED => (*chain, Some(n.min(*least))),
                        n => (*chain, n),
                    })
                    .collect();
                // Also of the first: no other leads to it.
                let wanted: Vec<_> = table.uses(sections).map(|(chain, n)| (*chain, Some(*n))).collect();
                if used != wanted {
                    let used = used.split_off(if at == 0 { 0 } else { used.len() - section.uses.len() });
                    wrong.push(format!("{id}, section {at}: put these numbers into its uses: {used:?}"));
                }
                if version != section.version {
                    wrong.push(format!("{id}, section {at}: its version is {version:#010x}"));
                }
            }
        }
        assert!(wrong.is_empty(), "the rules have changed:\n{}", wrong.join("\n"));
    }
}
