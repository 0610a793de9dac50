//! The kernel's answers as tables, chains, rules, sets and elements. What cannot be read is left out or kept as it is;
//! nothing here fails or panics, whatever the bytes.

use std::collections::BTreeMap;

use super::super::nfnetlink::NFGEN;
use super::super::wire::{Attributes, Message, text};
use super::encode::{CATCH_ALL, DATA_VERDICT, INTERVAL_END, flag, predecessor, range};
use super::expr::{Expr, number, read_verdict, string};
use super::statement::raise;
use crate::model::{Violation, ViolationCount};
use crate::snapshot::{
    NftBase, NftChainKind, NftData, NftDataType, NftElement, NftFamily, NftHook, NftKey, NftPolicy, NftRule, NftSet,
    NftTableId, NftType, NftValue, split, width,
};

fn attributes<'a>(message: &Message<'a>) -> Attributes<'a> {
    Attributes::after(message.body, NFGEN)
}

/// The number of the ruleset's generation (`NFTA_GEN_ID`).
pub(super) fn generation(message: &Message<'_>) -> Option<u32> {
    number(attributes(message), 1)
}

/// Which table the answer is about.
pub(super) fn table(message: &Message<'_>) -> Option<NftTableId> {
    let family = NftFamily::from_number(*message.body.first()?)?;
    Some(NftTableId { family, name: string(attributes(message), 1)?.into() })
}

/// A table's flags (`NFTA_TABLE_FLAGS`).
pub(super) fn table_flags(message: &Message<'_>) -> u32 {
    number(attributes(message), 2).unwrap_or(0)
}

/// A chain of this table: its name and where it is hooked in.
pub(super) fn chain(message: &Message<'_>, table: &NftTableId) -> Option<(String, Option<NftBase>)> {
    any_chain(message).filter(|(of, _, _)| of == table).map(|(_, name, base)| (name, base))
}

/// A chain of any table: that, its name and where it is hooked in.
pub(super) fn any_chain(message: &Message<'_>) -> Option<(NftTableId, String, Option<NftBase>)> {
    let table = table(message)?;
    let a = attributes(message);
    let base = a.find(4).and_then(|hook| {
        let hook = Attributes::of(hook);
        Some(NftBase {
            kind: NftChainKind::from_name(&string(a, 7)?)?,
            hook: NftHook::from_number(number(hook, 1)?)?,
            priority: number(hook, 2)?.cast_signed(),
            policy: if number(a, 5) == Some(0) { NftPolicy::Drop } else { NftPolicy::Accept },
        })
    });
    Some((table, string(a, 3)?, base))
}

/// How often a chain is used (`NFTA_CHAIN_USE`).
pub(super) fn chain_use(message: &Message<'_>) -> Option<u32> {
    number(attributes(message), 6)
}

/// A rule: its chain, its handle and what it is.
pub(super) fn rule(message: &Message<'_>) -> Option<(String, u64, NftRule)> {
    let a = attributes(message);
    let exprs: Vec<Expr> = Attributes::of(a.find(4).unwrap_or(&[]))
        .map(|(_, expr)| {
            let expr = Attributes::of(expr);
            Expr::read(&string(expr, 1).unwrap_or_default(), expr.find(2).unwrap_or(&[]))
        })
        .collect();
    let handle = a.find(3)?.try_into().ok().map(u64::from_be_bytes)?;
    Some((string(a, 2)?, handle, NftRule { exprs: raise(&exprs), comment: comment(a.find(7)) }))
}

/// A set: its name and what it is, without its elements.
pub(super) fn set(message: &Message<'_>) -> Option<(String, NftSet)> {
    let a = attributes(message);
    let flags = number(a, 3).unwrap_or(0);
    let desc = Attributes::of(a.find(9).unwrap_or(&[]));
    let fields: Vec<u32> =
        Attributes::of(desc.find(2).unwrap_or(&[])).filter_map(|(_, field)| number(Attributes::of(field), 1)).collect();
    let data = (flags & flag::MAP != 0).then(|| match number(a, 6).unwrap_or(0) {
        DATA_VERDICT => NftDataType::Verdict,
        kind => NftDataType::Value(types(kind, number(a, 7).unwrap_or(0), &[])),
    });
    let set = NftSet {
        key: types(number(a, 4).unwrap_or(0), number(a, 5)?, &fields),
        data,
        interval: flags & flag::INTERVAL != 0,
        counter: a.find(17).is_some_and(|e| string(Attributes::of(e), 1).as_deref() == Some("counter")),
        size: number(desc, 1).filter(|size| ![0, NftSet::UNTOLD].contains(size)),
        other_flags: flags & !(flag::INTERVAL | flag::MAP | flag::CONCAT | flag::EXPR),
        elements: BTreeMap::new(),
    };
    Some((string(a, 2)?, set))
}

/// The fields of a key or of data, from the number that the nft tool wrote beside them, the length in bytes, and the
/// lengths of the fields where they are told.
fn types(numbers: u32, bytes: u32, fields: &[u32]) -> Vec<NftType> {
    let bytes = u8::try_from(bytes).unwrap_or(u8::MAX);
    let one = || vec![NftType::from_number(numbers, bytes)];
    let mut ids = Vec::new();
    let mut rest = numbers;
    while rest != 0 {
        ids.push(rest & 0x3f);
        rest >>= 6;
    }
    ids.reverse();
    let types: Vec<NftType> = if fields.len() > 1 {
        // Sets that others made may carry any number.
        let named = ids.len() == fields.len();
        let id = |i: usize| if named { ids.get(i).copied().unwrap_or(0) } else { 0 };
        fields.iter().enumerate().map(|(i, len)| NftType::from_number(id(i), u8::try_from(*len).unwrap_or(0))).collect()
    } else if ids.len() > 1 {
        ids.iter().filter_map(|id| known(*id)).collect()
    } else {
        return one();
    };
    let fits = (fields.len() > 1 || types.len() == ids.len()) && width(&types) == usize::from(bytes);
    if fits { types } else { one() }
}

/// The type with this number, with the length that it always has.
fn known(id: u32) -> Option<NftType> {
    [1, 2, 4, 6, 16].into_iter().map(|len| NftType::from_number(id, len)).find(|t| !matches!(t, NftType::Other { .. }))
}

/// An element as the kernel has it: interval sets of one field keep the two ends of a range apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawElement {
    first: Vec<u8>,
    last: Option<Vec<u8>>,
    flags: u32,
    element: NftElement,
}

/// The elements in one message of a listing.
pub(super) fn elements(message: &Message<'_>, set: &NftSet) -> Vec<RawElement> {
    let list = Attributes::of(attributes(message).find(3).unwrap_or(&[]));
    list.map(|(_, element)| {
        let a = Attributes::of(element);
        let bytes = |kind| a.find(kind).and_then(|nest| Attributes::of(nest).find(1)).map(<[u8]>::to_vec);
        let data = match &set.data {
            Some(NftDataType::Verdict) => a.find(2).and_then(read_verdict).map(NftData::Verdict),
            Some(NftDataType::Value(types)) => bytes(2).map(|b| NftData::Value(split(types, &b))),
            None => None,
        };
        RawElement {
            first: bytes(1).unwrap_or_default(),
            last: bytes(10),
            flags: number(a, 3).unwrap_or(0),
            element: NftElement { data, comment: comment(a.find(6)) },
        }
    })
    .collect()
}

/// The counts in one message of a listing, without elements that xennet does not make.
pub(super) fn violations(message: &Message<'_>) -> Vec<ViolationCount> {
    const KEY: [NftType; 2] = [NftType::IfName, NftType::Mark];
    let list = Attributes::of(attributes(message).find(3).unwrap_or(&[]));
    list.filter_map(|(_, element)| {
        let a = Attributes::of(element);
        let key = split(&KEY, Attributes::of(a.find(1)?).find(1)?);
        let [NftValue::Name(link), NftValue::U32(class)] = key[..] else { return None };
        // The counter is one of the element's expressions, of which newer kernels can have several (`NFTA_SET_ELEM_EXPRESSIONS`).
        let counter = a.find(7).or_else(|| Attributes::of(a.find(11)?).next().map(|(_, expr)| expr))?;
        let counter = Attributes::of(counter);
        let data = (string(counter, 1)? == "counter").then(|| Attributes::of(counter.find(2).unwrap_or(&[])))?;
        let long = |kind| data.find(kind)?.try_into().ok().map(u64::from_be_bytes);
        Some(ViolationCount::new(link, Violation::from_number(class)?, long(2)?, long(1)?))
    })
    .collect()
}

/// The elements of a set by their keys.
pub(super) fn keyed(set: &NftSet, mut raw: Vec<RawElement>) -> BTreeMap<NftKey, NftElement> {
    let everything = |e: &RawElement| e.flags & CATCH_ALL != 0;
    let mut out = BTreeMap::new();
    let catch_all = raw.iter().position(everything).map(|at| raw.swap_remove(at));
    if let Some(e) = catch_all {
        out.insert(NftKey::exact([]), e.element);
    }
    if let ([kind], true) = (set.key.as_slice(), set.interval) {
        // The end of one range may be the beginning of the next: the end comes first.
        raw.sort_by(|a, b| a.first.cmp(&b.first).then((b.flags & INTERVAL_END).cmp(&(a.flags & INTERVAL_END))));
        let mut open: Option<RawElement> = None;
        for e in raw {
            if let Some(start) = open.take() {
                let last = predecessor(e.first.clone()).unwrap_or_default();
                out.insert(range(*kind, &start.first, &last), start.element);
            }
            if e.flags & INTERVAL_END == 0 {
                open = Some(e);
            }
        }
        if let Some(start) = open {
            let last = vec![0xff; start.first.len()];
            out.insert(range(*kind, &start.first, &last), start.element);
        }
        return out;
    }
    for e in raw {
        let last = e.last.map(|last| split(&set.key, &last));
        out.insert(NftKey { first: split(&set.key, &e.first), last }.canonical(), e.element);
    }
    out
}

/// The note for people in user data: kind 0 of rules and of elements.
fn comment(userdata: Option<&[u8]>) -> Option<String> {
    let mut rest = userdata?;
    while let [kind, len, after @ ..] = rest {
        let value = after.get(..usize::from(*len))?;
        if *kind == 0 {
            return Some(String::from_utf8_lossy(text(value)).into_owned()).filter(|c| !c.is_empty());
        }
        rest = after.get(usize::from(*len)..)?;
    }
    None
}
