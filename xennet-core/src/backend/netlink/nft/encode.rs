//! Operations as messages of a batch.

use std::collections::BTreeMap;

use super::super::nfnetlink::{Batch, Writer};
use super::super::wire::{CREATE, EXCL};
use super::expr::{self, Expr};
use super::statement::lower;
use crate::gather;
use crate::snapshot::{
    NftChain, NftData, NftDataType, NftElement, NftKey, NftRule, NftSet, NftType, NftValue, concat, width,
};
use crate::step::{NftOp, NftTransaction};

/// Messages (`enum nf_tables_msg_types`).
pub(super) mod message {
    pub(in super::super) const NEW_TABLE: u16 = 0;
    pub(in super::super) const GET_TABLE: u16 = 1;
    pub(in super::super) const DEL_TABLE: u16 = 2;
    pub(in super::super) const NEW_CHAIN: u16 = 3;
    pub(in super::super) const GET_CHAIN: u16 = 4;
    pub(in super::super) const DEL_CHAIN: u16 = 5;
    pub(in super::super) const NEW_RULE: u16 = 6;
    pub(in super::super) const GET_RULE: u16 = 7;
    pub(in super::super) const DEL_RULE: u16 = 8;
    pub(in super::super) const NEW_SET: u16 = 9;
    pub(in super::super) const GET_SET: u16 = 10;
    pub(in super::super) const DEL_SET: u16 = 11;
    pub(in super::super) const NEW_ELEMENT: u16 = 12;
    pub(in super::super) const GET_ELEMENT: u16 = 13;
    pub(in super::super) const DEL_ELEMENT: u16 = 14;
    pub(in super::super) const GET_GENERATION: u16 = 16;
}

/// `NFT_SET_*` flags.
pub(super) mod flag {
    pub(in super::super) const INTERVAL: u32 = 0x4;
    pub(in super::super) const MAP: u32 = 0x8;
    pub(in super::super) const CONCAT: u32 = 0x80;
    pub(in super::super) const EXPR: u32 = 0x100;
}

/// `NFT_DATA_VERDICT`.
pub(super) const DATA_VERDICT: u32 = 0xffff_ff00;
/// `NFT_SET_ELEM_INTERVAL_END` and `NFT_SET_ELEM_CATCHALL`.
pub(super) const INTERVAL_END: u32 = 1;
pub(super) const CATCH_ALL: u32 = 2;
/// `NLM_F_APPEND`: behind the rules that are there.
const APPEND: u16 = 0x800;
/// `NLM_F_NONREC`: refuse to delete what is not empty.
const NONREC: u16 = 0x100;
/// A nest holds 64 KiB; far less keeps one message in a page or two of the kernel's.
const NEST_LIMIT: usize = 32 * 1024;
/// A handle that no rule has: handles are counted upwards from 1.
const NO_RULE: u64 = u64::MAX;

/// What has to be known of the kernel's state before operations can be put into messages.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// The interval sets with one field. Such a set takes each key as two elements, its ends, and the kernel does not
    /// always see that the ends of one range lie around another: what is in the set has to be known.
    pub(super) ranges: BTreeMap<String, Ranges>,
    /// The interval sets with several fields of which elements are removed, as they are.
    pub(super) wide: BTreeMap<String, NftSet>,
    /// For chains of which rules are deleted: the rules with their handles.
    pub(super) rules: BTreeMap<String, Vec<(NftRule, RuleName)>>,
}

/// The ranges in a set with one field: last values by first values.
#[derive(Debug, Default)]
pub(super) struct Ranges(BTreeMap<Vec<u8>, Vec<u8>>);

impl Ranges {
    pub(super) fn of<'a>(keys: impl Iterator<Item = &'a NftKey>) -> Ranges {
        Ranges(gather::map(keys.filter(|k| !k.is_catch_all()).map(ends)))
    }

    /// The beginning of a range that shares a value with this one.
    fn overlapped(&self, (first, last): &(Vec<u8>, Vec<u8>)) -> Option<&Vec<u8>> {
        self.0.range(..=last.clone()).next_back().filter(|(_, end)| *end >= first).map(|(start, _)| start)
    }
}

/// The first and the last value of a key.
fn ends(key: &NftKey) -> (Vec<u8>, Vec<u8>) {
    (concat(&key.first), concat(key.last.as_ref().unwrap_or(&key.first)))
}

/// By what the kernel knows a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RuleName {
    /// One that was there.
    Handle(u64),
    /// One that is added in the same batch.
    Id(u32),
}

/// What [`Known`] must hold for a transaction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) sets: Vec<String>,
    pub(super) chains: Vec<String>,
}

impl Needs {
    /// Nothing, if the messages follow from the transaction alone. Then no generation has to be checked either: what the
    /// operations rely on, the kernel checks with each of them.
    pub(super) fn of(transaction: &NftTransaction) -> Needs {
        let mut needs = Needs::default();
        // Sets that this transaction makes are known from it.
        let mut made: Vec<&str> = Vec::new();
        // Names have no order: a set of them alone holds no ranges.
        let single = |key: &NftKey| matches!(key.first[..], [ref v] if !matches!(v, NftValue::Name(_)));
        for op in &transaction.ops {
            let set = match op {
                NftOp::AddSet { set, .. } => {
                    made.push(set);
                    continue;
                }
                NftOp::DelRule { chain, .. } => {
                    if !needs.chains.contains(chain) {
                        needs.chains.push(chain.clone());
                    }
                    continue;
                }
                NftOp::AddElements { set, elements } if elements.iter().any(|(key, _)| single(key)) => set,
                NftOp::DelElements { set, .. } => set,
                _ => continue,
            };
            if !made.contains(&set.as_str()) && !needs.sets.contains(set) {
                needs.sets.push(set.clone());
            }
        }
        needs
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.chains.is_empty()
    }
}

/// The batch for a transaction, and for each message the index of its operation. `None` if something in it is too long to
/// be told to the kernel.
pub(super) fn batch(
    transaction: &NftTransaction,
    mut known: Known,
    generation: Option<u32>,
) -> Option<(Vec<u8>, Vec<usize>)> {
    let table = &*transaction.table.name;
    let mut b = Batch::new(transaction.table.family.number(), generation);
    let mut next_id = 1_u32;
    for (i, op) in transaction.ops.iter().enumerate() {
        match op {
            NftOp::AddTable => b.add(message::NEW_TABLE, CREATE, i, |w| w.text(1, table)),
            NftOp::SetFlags { flags } => b.add(message::NEW_TABLE, CREATE, i, |w| {
                w.text(1, table);
                w.be32(2, *flags);
            }),
            NftOp::DelTable => {
                known.rules.values_mut().for_each(Vec::clear);
                known.ranges.clear();
                known.wide.clear();
                b.add(message::DEL_TABLE, 0, i, |w| w.text(1, table));
            }
            NftOp::AddChain { chain, base } => b.add(message::NEW_CHAIN, CREATE | EXCL, i, |w| {
                w.text(1, table);
                w.text(3, chain);
                write_chain(w, &NftChain { base: *base, rules: Vec::new() });
            }),
            NftOp::DelChain { chain } => {
                forget(&mut known, chain);
                b.add(message::DEL_CHAIN, NONREC, i, |w| {
                    w.text(1, table);
                    w.text(3, chain);
                });
            }
            NftOp::FlushChain { chain } => {
                forget(&mut known, chain);
                b.add(message::DEL_RULE, 0, i, |w| {
                    w.text(1, table);
                    w.text(2, chain);
                });
            }
            NftOp::AddRule { chain, rule } | NftOp::InsertRule { chain, rule } => {
                let id = next_id;
                next_id = next_id.checked_add(1)?;
                // Without NLM_F_APPEND it comes first (`nf_tables_newrule`).
                let is_first = matches!(op, NftOp::InsertRule { .. });
                if let Some(rules) = known.rules.get_mut(chain) {
                    let at = if is_first { 0 } else { rules.len() };
                    rules.insert(at, (rule.canonical(), RuleName::Id(id)));
                }
                let flags = if is_first { CREATE } else { CREATE | APPEND };
                b.add(message::NEW_RULE, flags, i, |w| {
                    w.text(1, table);
                    w.text(2, chain);
                    w.nest(4, |w| lower(&rule.exprs).iter().for_each(|e| e.write(w, 1)));
                    if let Some(comment) = &rule.comment {
                        w.put(7, &userdata_text(0, comment));
                    }
                    w.be32(9, id);
                });
            }
            NftOp::DelRule { chain, rule } => {
                let name = take(&mut known, chain, rule);
                b.add(message::DEL_RULE, 0, i, |w| {
                    w.text(1, table);
                    w.text(2, chain);
                    match name {
                        // The kernel's own refusal, at its place among the other operations'.
                        None => w.be64(3, NO_RULE),
                        Some(RuleName::Handle(handle)) => w.be64(3, handle),
                        Some(RuleName::Id(id)) => w.be32(9, id),
                    }
                });
            }
            NftOp::AddSet { set, def } => {
                let id = next_id;
                next_id = next_id.checked_add(1)?;
                known.ranges.remove(set);
                known.wide.remove(set);
                if def.interval && def.key.len() == 1 {
                    known.ranges.insert(set.clone(), Ranges::default());
                } else if def.interval {
                    let elements = def.elements.iter().map(|(k, e)| (k.typed(&def.key), e.clone())).collect();
                    known.wide.insert(set.clone(), NftSet { elements, ..def.clone() });
                }
                b.add(message::NEW_SET, CREATE | EXCL, i, |w| {
                    w.text(1, table);
                    w.text(2, set);
                    write_set(w, def);
                    w.be32(10, id);
                });
                let elements = def.elements.iter().map(|(k, e)| (k, Some(e)));
                add_elements(&mut b, message::NEW_ELEMENT, i, (table, set), known.ranges.get_mut(set), elements);
            }
            NftOp::DelSet { set } => {
                known.ranges.remove(set);
                known.wide.remove(set);
                b.add(message::DEL_SET, 0, i, |w| {
                    w.text(1, table);
                    w.text(2, set);
                });
            }
            NftOp::AddElements { set, elements } => {
                if let Some(wide) = known.wide.get_mut(set) {
                    let added = elements.iter().map(|(k, e)| (k.typed(&wide.key), e.clone()));
                    let added: Vec<_> = added.collect();
                    wide.elements.extend(added);
                }
                let elements = elements.iter().map(|(k, e)| (k, Some(e)));
                add_elements(&mut b, message::NEW_ELEMENT, i, (table, set), known.ranges.get_mut(set), elements);
            }
            NftOp::DelElements { set, keys } => {
                let keys = match known.wide.get_mut(set) {
                    Some(wide) => keys.iter().flat_map(|k| std::iter::repeat_n(k, removals(wide, k))).collect(),
                    None => keys.iter().collect::<Vec<_>>(),
                };
                let keys = keys.into_iter().map(|k| (k, None));
                add_elements(&mut b, message::DEL_ELEMENT, i, (table, set), known.ranges.get_mut(set), keys);
            }
        }
    }
    b.finish()
}

/// How often the removal of an element of an interval set with several fields is told to the kernel.
///
/// The kernel removes whatever contains the beginning of the key (`nft_set_pipapo.c`, `nft_pipapo_deactivate`): without the
/// element itself that would be another, wider one. Told once more than there are such elements, it finds none at last
/// and refuses it all.
fn removals(set: &mut NftSet, key: &NftKey) -> usize {
    let key = key.typed(&set.key);
    if set.elements.remove(&key).is_some() {
        return 1;
    }
    set.elements.keys().filter(|k| k.holds(&key.first)).count().saturating_add(1)
}

fn forget(known: &mut Known, chain: &str) {
    if let Some(rules) = known.rules.get_mut(chain) {
        rules.clear();
    }
}

fn take(known: &mut Known, chain: &str, rule: &NftRule) -> Option<RuleName> {
    let wanted = rule.canonical();
    let rules = known.rules.get_mut(chain)?;
    let at = rules.iter().position(|(r, _)| *r == wanted)?;
    Some(rules.remove(at).1)
}

fn write_chain(w: &mut Writer, chain: &NftChain) {
    if let Some(base) = &chain.base {
        w.nest(4, |w| {
            w.be32(1, base.hook.number());
            w.be32(2, base.priority.cast_unsigned());
        });
        w.be32(5, base.policy as u32 ^ 1);
        w.text(7, base.kind.name());
    }
}

/// Whether the kernel is told of the single fields of a key: for ranges it has to know them, and of fields without a known type the
/// lengths could not be read back. Else the nft tool does not tell, and to the kernel a set that is told otherwise is another set.
fn tells_fields(set: &NftSet) -> bool {
    set.key.len() > 1 && (set.interval || set.key.iter().any(|t| matches!(t, NftType::Other { .. })))
}

fn write_set(w: &mut Writer, set: &NftSet) {
    let mut flags = set.other_flags;
    for (is, bit) in
        [(set.interval, flag::INTERVAL), (set.data.is_some(), flag::MAP), (tells_fields(set), flag::CONCAT)]
    {
        flags |= if is { bit } else { 0 };
    }
    w.be32(3, flags);
    w.be32(4, type_number(&set.key));
    w.be32(5, u32::try_from(width(&set.key)).unwrap_or(u32::MAX));
    let mut userdata = userdata_number(0, byte_order(&set.key));
    match &set.data {
        None => {}
        Some(NftDataType::Verdict) => {
            w.be32(6, DATA_VERDICT);
            userdata.extend(userdata_number(1, 0));
        }
        Some(NftDataType::Value(types)) => {
            w.be32(6, type_number(types));
            w.be32(7, u32::try_from(width(types)).unwrap_or(u32::MAX));
            userdata.extend(userdata_number(1, byte_order(types)));
        }
    }
    w.nest(9, |w| {
        if let Some(size) = set.size {
            w.be32(1, size);
        }
        if tells_fields(set) {
            w.nest(2, |w| {
                for field in &set.key {
                    w.nest(1, |w| w.be32(1, u32::from(field.bytes())));
                }
            });
        }
    });
    if set.counter {
        Expr::Counter.write(w, 17);
    }
    w.put(13, &userdata);
}

/// The number that the nft tool has for a concatenation: six bits a field, the first on top (`include/datatype.h`).
fn type_number(types: &[NftType]) -> u32 {
    match types {
        [one] => one.number(),
        many => many.iter().fold(0, |all, t| all << 6 | t.number() & 0x3f),
    }
}

/// How the nft tool has to read a key of one field (`enum byteorder`): without it, names print as nothing at all.
fn byte_order(types: &[NftType]) -> u32 {
    const HOST: u32 = 1;
    const BIG: u32 = 2;
    match types {
        [
            NftType::IfName
            | NftType::IfIndex
            | NftType::Mark
            | NftType::CtState
            | NftType::CtStatus
            | NftType::FibType,
        ] => HOST,
        [_] => BIG,
        _ => 0,
    }
}

/// A number in user data, as nft's library packs it: kind, length, value in the machine's order.
fn userdata_number(kind: u8, value: u32) -> Vec<u8> {
    let mut out = vec![kind, 4];
    out.extend(value.to_ne_bytes());
    out
}

/// A text in user data, with its final zero. Texts are checked to be at most 127 bytes long.
fn userdata_text(kind: u8, text: &str) -> Vec<u8> {
    let mut out = vec![kind, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    out
}

/// Elements as the kernel takes them, in as many messages as they need.
fn add_elements<'a>(
    b: &mut Batch,
    message: u16,
    op: usize,
    (table, set): (&str, &str),
    mut ranges: Option<&mut Ranges>,
    elements: impl Iterator<Item = (&'a NftKey, Option<&'a NftElement>)>,
) {
    let flags = if message == message::NEW_ELEMENT { CREATE | EXCL } else { 0 };
    let mut list = Writer::default();
    let mut send = |list: Writer| {
        b.add(message, flags, op, |w| {
            w.text(1, table);
            w.text(2, set);
            w.overflow |= list.overflow;
            w.put(3 | 0x8000, &list.out);
        });
    };
    for (key, element) in elements {
        match &mut ranges {
            Some(ranges) if key.first.len() == 1 => write_range(&mut list, key, element, ranges),
            _ => write_key(&mut list, key, element),
        }
        if list.out.len() > NEST_LIMIT {
            send(std::mem::take(&mut list));
        }
    }
    // An empty list would mean "all elements" where some are deleted.
    if !list.out.is_empty() {
        send(list);
    }
}

pub(super) fn write_key(w: &mut Writer, key: &NftKey, element: Option<&NftElement>) {
    if key.is_catch_all() {
        return write_element(w, CATCH_ALL, &[], None, element);
    }
    let last = key.last.as_deref().map(concat);
    write_element(w, 0, &concat(&key.first), last.as_deref(), element);
}

/// A range of a set with one field: its first value, and the first one behind it. A range to the end of all values has no
/// second element.
///
/// The kernel looks at the neighbours of each of the two only. It takes a range without an end around others, and it
/// takes the beginning of one and the end of another away together (`nft_set_rbtree.c`). Where that would happen, a
/// third element follows that is refused for what is wrong, and with it the whole transaction.
fn write_range(w: &mut Writer, key: &NftKey, element: Option<&NftElement>, ranges: &mut Ranges) {
    let (first, last) = ends(key);
    write_element(w, 0, &first, None, element);
    if let Some(behind) = successor(last.clone()) {
        write_element(w, INTERVAL_END, &behind, None, None);
    }
    if let Some(element) = element {
        let range = (first, last);
        if let Some(start) = ranges.overlapped(&range) {
            write_element(w, 0, start, None, Some(&NftElement { data: element.data.clone(), comment: None }));
        }
        ranges.0.insert(range.0, range.1);
    } else {
        if ranges.0.get(&first) != Some(&last) {
            write_element(w, 0, &first, None, None);
        }
        ranges.0.remove(&first);
    }
}

fn write_element(w: &mut Writer, flags: u32, first: &[u8], last: Option<&[u8]>, element: Option<&NftElement>) {
    w.nest(1, |w| {
        if flags != 0 {
            w.be32(3, flags);
        }
        if flags & CATCH_ALL == 0 {
            w.nest(1, |w| w.put(1, first));
        }
        if let Some(last) = last {
            w.nest(10, |w| w.put(1, last));
        }
        match element.and_then(|e| e.data.as_ref()) {
            Some(NftData::Verdict(verdict)) => w.nest(2, |w| expr::write_verdict(w, verdict)),
            Some(NftData::Value(values)) => w.nest(2, |w| w.put(1, &concat(values))),
            None => {}
        }
        if let Some(comment) = element.and_then(|e| e.comment.as_ref()) {
            w.put(6, &userdata_text(0, comment));
        }
    });
}

/// The next value in the order of the bytes; `None` behind the last one.
fn successor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return Some(bytes);
        }
    }
    None
}

/// The value before, in the order of the bytes; `None` before the first one.
pub(super) fn predecessor(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    for byte in bytes.iter_mut().rev() {
        let borrow = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrow {
            return Some(bytes);
        }
    }
    None
}

/// A key of one field from the kernel's two elements.
pub(super) fn range(kind: NftType, first: &[u8], last: &[u8]) -> NftKey {
    let value = |bytes: &[u8]| -> NftValue { kind.decode(bytes) };
    NftKey { first: vec![value(first)], last: Some(vec![value(last)]) }.canonical()
}
