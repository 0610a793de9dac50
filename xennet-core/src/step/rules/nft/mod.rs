//! What the kernel does with an nftables transaction: all of it, or nothing.
//!
//! Source: Linux `net/netfilter/nf_tables_api.c` and the files of the expressions (`nft_lookup.c`, `nft_nat.c`,
//! `nft_masq.c`, `nft_fib.c`, `nft_set_rbtree.c`, `nft_set_pipapo.c`), each refusal compared with Linux 6.18. What
//! depends on the kernel's configuration is answered as by a kernel with everything but connection tracking for bridges.
//! Opaque expressions are taken as they are: what the kernel thinks of them cannot be known here.

mod rule;

use std::collections::BTreeMap;

use super::Effects;
use crate::error::Errno;
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftData, NftDataType, NftElement, NftExpr, NftFamily, NftField, NftFrom, NftHook,
    NftKey, NftNat, NftNatTo, NftRule, NftSet, NftTable, NftTableId, NftValue, concat, width,
};
use crate::step::{NftOp, NftTransaction};
use rule::{check_rule, fields_of};

/// How deep chains may lead into each other (`include/net/netfilter/nf_tables.h`, `NFT_JUMP_STACK_SIZE`).
const JUMP_STACK_SIZE: usize = 16;

/// The priority of connection tracking; NAT comes behind it (`nf_tables_chain_type_lookup`, `NF_IP_PRI_CONNTRACK`).
const PRIORITY_CONNTRACK: i32 = -200;

/// `NFT_SET_ANONYMOUS` and `NFT_SET_CONSTANT`.
const ANONYMOUS: u32 = 0x1;
const CONSTANT: u32 = 0x2;
/// `NFT_SET_TIMEOUT` and `NFT_SET_EVAL`.
const TIMEOUT: u32 = 0x10;
const DYNAMIC: u32 = 0x20;

/// Applies a transaction to the tables of a world.
///
/// # Errors
/// The error number of the first operation that the kernel would refuse; `EINVAL` for one that cannot be sent
/// ([`NftTransaction::check`]). The tables are as before then.
pub(super) fn apply(
    tables: &mut BTreeMap<NftTableId, NftTable>,
    transaction: &NftTransaction,
) -> Result<Effects, Errno> {
    transaction.check().map_err(|_| Errno::EINVAL)?;
    // The kernel validates once at the end. Only if that fails it goes through the batch again and validates after each
    // change, to find the culprit (`nf_tables_validate`, `NFT_VALIDATE_DO`).
    match attempt(tables, transaction, Validate::AtTheEnd) {
        Err(Refused::AtTheEnd(errno)) => match attempt(tables, transaction, Validate::AfterEach) {
            Err(Refused::AtAnOperation(culprit)) => Err(culprit),
            _ => Err(errno),
        },
        Err(Refused::AtAnOperation(errno)) => Err(errno),
        Ok(()) => Ok(Effects::default()),
    }
}

/// Where a refusal came from.
enum Refused {
    AtAnOperation(Errno),
    AtTheEnd(Errno),
}

fn attempt(
    tables: &mut BTreeMap<NftTableId, NftTable>,
    transaction: &NftTransaction,
    validate: Validate,
) -> Result<(), Refused> {
    let id = &transaction.table;
    // That is some process's, and none of ours (`nft_table_lookup`, `nft_table_has_owner`).
    if tables.get(id).is_some_and(|table| table.flags & NftTable::OWNED != 0) {
        return Err(Refused::AtAnOperation(Errno::EPERM));
    }
    let mut work = Work { tables, id, undo: Vec::new() };
    let done = work.run(&transaction.ops, validate).map_err(Refused::AtAnOperation).and_then(|()| {
        let table = work.tables.get(id);
        table.map_or(Ok(()), validate_table).map_err(Refused::AtTheEnd)
    });
    if done.is_err() {
        work.roll_back();
    }
    done
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Validate {
    AtTheEnd,
    AfterEach,
}

/// How to take one change back.
enum Undo {
    Table(Option<NftTable>),
    Chain(String, Option<NftChain>),
    Set(String, Option<NftSet>),
    Rules(String, Vec<NftRule>),
    AddedRule(String, usize),
    Rule(String, usize, NftRule),
    Element(String, NftKey, Option<NftElement>),
}

/// The table that is worked on, and the way back. Copying it first would cost as much as it has elements.
struct Work<'a> {
    tables: &'a mut BTreeMap<NftTableId, NftTable>,
    id: &'a NftTableId,
    undo: Vec<Undo>,
}

impl Work<'_> {
    fn run(&mut self, ops: &[NftOp], validate: Validate) -> Result<(), Errno> {
        for op in ops {
            self.one(op)?;
            let may_lead_astray = matches!(
                op,
                NftOp::AddRule { .. } | NftOp::InsertRule { .. } | NftOp::AddElements { .. } | NftOp::AddSet { .. }
            );
            if validate == Validate::AfterEach && may_lead_astray {
                validate_table(self.table()?)?;
            }
        }
        Ok(())
    }

    fn roll_back(self) {
        for undo in self.undo.into_iter().rev() {
            let Some(table) = self.tables.get_mut(self.id) else {
                if let Undo::Table(Some(before)) = undo {
                    self.tables.insert(self.id.clone(), before);
                }
                continue;
            };
            match undo {
                Undo::Table(Some(before)) => *table = before,
                Undo::Table(None) => {
                    self.tables.remove(self.id);
                }
                Undo::Chain(name, before) => put(&mut table.chains, name, before),
                Undo::Set(name, before) => put(&mut table.sets, name, before),
                Undo::Rules(chain, rules) => with(&mut table.chains, &chain, |c| c.rules = rules),
                Undo::AddedRule(chain, at) => with(&mut table.chains, &chain, |c| drop(c.rules.remove(at))),
                Undo::Rule(chain, at, rule) => with(&mut table.chains, &chain, |c| c.rules.insert(at, rule)),
                Undo::Element(set, key, before) => {
                    with(&mut table.sets, &set, |s| put(&mut s.elements, key, before));
                }
            }
        }
    }

    fn table(&self) -> Result<&NftTable, Errno> {
        self.tables.get(self.id).ok_or(Errno::ENOENT)
    }

    fn table_mut(&mut self) -> Result<&mut NftTable, Errno> {
        self.tables.get_mut(self.id).ok_or(Errno::ENOENT)
    }

    fn chain_mut(&mut self, name: &str) -> Result<&mut NftChain, Errno> {
        self.table_mut()?.chains.get_mut(name).ok_or(Errno::ENOENT)
    }

    fn one(&mut self, op: &NftOp) -> Result<(), Errno> {
        match op {
            NftOp::AddTable => {
                if !self.tables.contains_key(self.id) {
                    self.tables.insert(self.id.clone(), NftTable::default());
                    self.undo.push(Undo::Table(None));
                }
            }
            NftOp::SetFlags { flags } => {
                let before = self.tables.get(self.id).cloned();
                self.tables.entry(self.id.clone()).or_default().flags = *flags;
                self.undo.push(Undo::Table(before));
            }
            NftOp::DelTable => {
                let before = self.tables.remove(self.id).ok_or(Errno::ENOENT)?;
                self.undo.push(Undo::Table(Some(before)));
            }
            NftOp::AddChain { chain, base } => {
                let family = self.id.family;
                let table = self.table_mut()?;
                match table.chains.get(chain) {
                    // A policy for a chain that has none is refused before it is seen that the chain exists
                    // (`nf_tables_newchain`).
                    Some(there) if there.base.is_none() && base.is_some() => return Err(Errno::EOPNOTSUPP),
                    Some(_) => return Err(Errno::EEXIST),
                    None => {}
                }
                base.as_ref().map_or(Ok(()), |b| base_chain(family, b))?;
                table.chains.insert(chain.clone(), NftChain { base: *base, rules: Vec::new() });
                self.undo.push(Undo::Chain(chain.clone(), None));
            }
            NftOp::DelChain { chain } => {
                let table = self.table_mut()?;
                let found = table.chains.get(chain).ok_or(Errno::ENOENT)?;
                if !found.rules.is_empty() || leads_to(table, chain) {
                    return Err(Errno::EBUSY);
                }
                let before = table.chains.remove(chain);
                self.undo.push(Undo::Chain(chain.clone(), before));
            }
            NftOp::FlushChain { chain } => {
                let before = std::mem::take(&mut self.chain_mut(chain)?.rules);
                self.undo.push(Undo::Rules(chain.clone(), before));
            }
            NftOp::AddRule { chain, rule } | NftOp::InsertRule { chain, rule } => {
                let table = self.table()?;
                if !table.chains.contains_key(chain) {
                    return Err(Errno::ENOENT);
                }
                check_rule(self.id.family, table, rule)?;
                let rules = &mut self.chain_mut(chain)?.rules;
                let at = if matches!(op, NftOp::InsertRule { .. }) { 0 } else { rules.len() };
                rules.insert(at, rule.canonical());
                self.undo.push(Undo::AddedRule(chain.clone(), at));
            }
            NftOp::DelRule { chain, rule } => {
                let wanted = rule.canonical();
                let rules = &mut self.chain_mut(chain)?.rules;
                let at = rules.iter().position(|r| *r == wanted).ok_or(Errno::ENOENT)?;
                let before = rules.remove(at);
                self.undo.push(Undo::Rule(chain.clone(), at, before));
            }
            NftOp::AddSet { set, def } => {
                let table = self.table_mut()?;
                if table.sets.contains_key(set) {
                    return Err(Errno::EEXIST);
                }
                table.sets.insert(set.clone(), NftSet { elements: BTreeMap::new(), ..def.clone() });
                self.undo.push(Undo::Set(set.clone(), None));
                def.elements.iter().try_for_each(|(key, element)| self.add_element(set, key, element))?;
            }
            NftOp::DelSet { set } => {
                let table = self.table_mut()?;
                if !table.sets.contains_key(set) {
                    return Err(Errno::ENOENT);
                }
                if bound(table, set) {
                    return Err(Errno::EBUSY);
                }
                let before = table.sets.remove(set);
                self.undo.push(Undo::Set(set.clone(), before));
            }
            NftOp::AddElements { set, elements } => {
                let table = self.table()?;
                let found = table.sets.get(set).ok_or(Errno::ENOENT)?;
                if found.other_flags & (ANONYMOUS | CONSTANT) != 0 && bound(table, set) {
                    return Err(Errno::EBUSY);
                }
                elements.iter().try_for_each(|(key, element)| self.add_element(set, key, element))?;
            }
            NftOp::DelElements { set, keys } => {
                let table = self.table()?;
                let found = table.sets.get(set).ok_or(Errno::ENOENT)?;
                if found.other_flags & ANONYMOUS != 0 {
                    return Err(Errno::EOPNOTSUPP);
                }
                if found.other_flags & CONSTANT != 0 && bound(table, set) {
                    return Err(Errno::EBUSY);
                }
                keys.iter().try_for_each(|key| self.del_element(set, key))?;
            }
        }
        Ok(())
    }

    fn add_element(&mut self, set: &str, key: &NftKey, element: &NftElement) -> Result<(), Errno> {
        let table = self.table_mut()?;
        let def = table.sets.get(set).ok_or(Errno::ENOENT)?;
        let key = key_of(def, key)?;
        let data = data_of(table, def, element)?;
        if overlaps(def, &key) {
            return Err(Errno::EEXIST);
        }
        // The catch-all element sorts first and is not counted.
        let extra = def.elements.keys().next().is_some_and(NftKey::is_catch_all);
        let counted = def.elements.len() - usize::from(extra);
        if def.size.is_some_and(|size| counted >= size as usize) && !key.is_catch_all() {
            return Err(Errno::ENFILE);
        }
        let element = NftElement { data, comment: element.comment.clone() };
        with(&mut table.sets, set, |s| drop(s.elements.insert(key.clone(), element)));
        self.undo.push(Undo::Element(set.into(), key, None));
        Ok(())
    }

    fn del_element(&mut self, set: &str, key: &NftKey) -> Result<(), Errno> {
        let table = self.table_mut()?;
        let def = table.sets.get_mut(set).ok_or(Errno::ENOENT)?;
        let key = key_of(def, key)?;
        let before = def.elements.remove(&key).ok_or(Errno::ENOENT)?;
        self.undo.push(Undo::Element(set.into(), key, Some(before)));
        Ok(())
    }
}

fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

fn with<V>(map: &mut BTreeMap<String, V>, key: &str, change: impl FnOnce(&mut V)) {
    if let Some(value) = map.get_mut(key) {
        change(value);
    }
}

/// `nft_chain_parse_hook`: the family has to know the type, the type has to be possible at the hook.
fn base_chain(family: NftFamily, base: &NftBase) -> Result<(), Errno> {
    match (family, base.kind) {
        (_, NftChainKind::Filter) => Ok(()),
        (NftFamily::Bridge, _) => Err(Errno::ENOENT),
        (_, NftChainKind::Nat) if base.hook == NftHook::Forward => Err(Errno::EOPNOTSUPP),
        (_, NftChainKind::Nat) if base.priority <= PRIORITY_CONNTRACK => Err(Errno::EOPNOTSUPP),
        (_, NftChainKind::Route) if base.hook != NftHook::Output => Err(Errno::EOPNOTSUPP),
        _ => Ok(()),
    }
}

/// Whether a rule or a map of the table leads to the chain.
fn leads_to(table: &NftTable, chain: &str) -> bool {
    let by_rule = |e: &NftExpr| matches!(e, NftExpr::Verdict(v) if v.target() == Some(chain));
    let by_map = |e: &NftElement| matches!(&e.data, Some(NftData::Verdict(v)) if v.target() == Some(chain));
    table.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.exprs).any(by_rule)
        || table.sets.values().flat_map(|s| s.elements.values()).any(by_map)
}

/// Whether a rule of the table uses the set.
fn bound(table: &NftTable, set: &str) -> bool {
    table.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.exprs).any(|e| match e {
        NftExpr::Lookup { set: name, .. }
        | NftExpr::Add { set: name, .. }
        | NftExpr::Vmap { map: name, .. }
        | NftExpr::Write { from: NftFrom::Map { map: name, .. }, .. }
        | NftExpr::Nat { to: NftNatTo::Map { map: name, .. }, .. } => name == set,
        NftExpr::Nat { to: NftNatTo::Maps { address, port, .. }, .. } => address == set || port == set,
        _ => false,
    })
}

/// The key as the set keeps it; `EINVAL` if it does not fit (`nft_setelem_parse_key`, `nft_setelem_valid_key_end`).
fn key_of(set: &NftSet, key: &NftKey) -> Result<NftKey, Errno> {
    if key.is_catch_all() {
        return Ok(key.clone());
    }
    let fits = |fields: &[NftValue]| concat(fields).len() == width(&set.key);
    if !fits(&key.first) || key.last.as_deref().is_some_and(|last| !set.interval || !fits(last)) {
        return Err(Errno::EINVAL);
    }
    let typed = key.typed(&set.key);
    let falling = |last: &Vec<NftValue>| typed.first.iter().zip(last).any(|(a, b)| a.bytes() > b.bytes());
    if typed.last.as_ref().is_some_and(falling) { Err(Errno::EINVAL) } else { Ok(typed) }
}

/// The data as the map keeps it (`nft_setelem_parse_data`).
fn data_of(table: &NftTable, set: &NftSet, element: &NftElement) -> Result<Option<NftData>, Errno> {
    match (&set.data, &element.data) {
        (None, None) => Ok(None),
        (Some(NftDataType::Verdict), Some(NftData::Verdict(v))) => {
            v.target().map_or(Ok(()), |chain| jump_target(table, chain))?;
            Ok(Some(NftData::Verdict(v.clone())))
        }
        (Some(NftDataType::Value(types)), Some(NftData::Value(values))) if concat(values).len() == width(types) => {
            Ok(Some(NftData::Value(crate::snapshot::split(types, &concat(values)))))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// `nft_verdict_init`.
fn jump_target(table: &NftTable, chain: &str) -> Result<(), Errno> {
    match table.chains.get(chain) {
        None => Err(Errno::ENOENT),
        Some(c) if c.base.is_some() => Err(Errno::EOPNOTSUPP),
        Some(_) => Ok(()),
    }
}

/// Whether the set has an element that this one would contradict.
fn overlaps(set: &NftSet, key: &NftKey) -> bool {
    if set.elements.contains_key(key) {
        return true;
    }
    if !set.interval || key.is_catch_all() {
        return false;
    }
    let last = key.last.as_ref().unwrap_or(&key.first);
    if set.key.len() > 1 {
        // Only both ends are looked up; a range around an existing one passes (`nft_pipapo_insert`).
        return set.elements.keys().any(|k| k.holds(&key.first) || k.holds(last));
    }
    set.elements.keys().filter(|k| !k.is_catch_all()).any(|k| {
        let end = k.last.as_ref().unwrap_or(&k.first);
        concat(&k.first) <= concat(last) && concat(&key.first) <= concat(end)
    })
}

/// `nft_table_validate`: from each base chain, along every jump, what stands there must be possible there.
fn validate_table(table: &NftTable) -> Result<(), Errno> {
    for chain in table.chains.values() {
        if let Some(base) = &chain.base {
            let mut seen = BTreeMap::new();
            validate_chain(table, base, chain, 0, &mut seen)?;
        }
    }
    Ok(())
}

/// `seen`: chains that were found good, with the deepest level at which they were.
fn validate_chain<'a>(
    table: &'a NftTable,
    base: &NftBase,
    chain: &'a NftChain,
    level: usize,
    seen: &mut BTreeMap<&'a str, usize>,
) -> Result<(), Errno> {
    if level == JUMP_STACK_SIZE {
        return Err(Errno::EMLINK);
    }
    for expr in chain.rules.iter().flat_map(|r| &r.exprs) {
        possible(base, expr)?;
        let by_rule = match expr {
            NftExpr::Verdict(v) => v.target(),
            _ => None,
        };
        // A map of verdicts counts even where it is only asked whether it has the key (`nft_lookup_validate`).
        let map = match expr {
            NftExpr::Vmap { map, .. } | NftExpr::Lookup { set: map, .. } => table.sets.get(map),
            _ => None,
        };
        let by_map = map.into_iter().flat_map(|m| m.elements.values()).filter_map(|e| match &e.data {
            Some(NftData::Verdict(v)) => v.target(),
            _ => None,
        });
        for name in by_rule.into_iter().chain(by_map) {
            if seen.get(name).is_some_and(|deepest| *deepest > level) {
                continue;
            }
            if let Some(target) = table.chains.get(name) {
                validate_chain(table, base, target, level + 1, seen)?;
                seen.insert(name, level + 1);
            }
        }
    }
    Ok(())
}

/// What each expression's own validation asks of the base chain.
fn possible(base: &NftBase, expr: &NftExpr) -> Result<(), Errno> {
    use NftHook::{Forward, Input, Output, Postrouting, Prerouting};
    let hooks: &[NftHook] = match expr {
        NftExpr::Masquerade => &[Postrouting],
        NftExpr::Nat { side: NftNat::Source, .. } => &[Postrouting, Input],
        NftExpr::Nat { side: NftNat::Destination, .. } => &[Prerouting, Output],
        _ => &NftHook::ALL,
    };
    let translates = matches!(expr, NftExpr::Masquerade | NftExpr::Nat { .. });
    if translates && base.kind != NftChainKind::Nat || !hooks.contains(&base.hook) {
        return Err(Errno::EOPNOTSUPP);
    }
    let towards = fields_of(expr).contains(&NftField::FibSaddrOif);
    if towards && ![Prerouting, Input, Forward].contains(&base.hook) {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}
