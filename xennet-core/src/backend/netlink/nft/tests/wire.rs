//! Messages without a kernel: what is written is read back, and nothing that is read can do harm.

use super::super::super::nfnetlink::Writer;
use super::super::encode::{self, Known, Needs};
use super::super::expr::Expr;
use super::super::statement::{lower, raise};
use super::super::{super::wire::Message, super::wire::Messages, decode};
use super::fixtures::{guard, making, nat};
use super::walk::Dice;
use crate::snapshot::*;
use crate::step::{NftOp, NftTransaction, Step, step};

#[test]
fn statements_become_expressions_and_statements_again() {
    let mut dice = Dice(0x1234_5678_9abc_def1);
    for _ in 0..20_000 {
        let rule = dice.rule();
        let exprs = lower(&rule.exprs);
        assert_eq!(raise(&exprs), rule.canonical().exprs);
        // Through the bytes, too, expression by expression: an opaque one is the same bytes.
        for expr in exprs {
            let mut w = Writer::default();
            expr.write(&mut w, 1);
            let NftExpr::Opaque { name, data } = &raise(&[Expr::Other { name: "x".into(), data: w.out.clone() }])[0]
            else {
                panic!("what has no words stays opaque")
            };
            assert_eq!((name.as_str(), data), ("x", &w.out));
            let nest = super::super::super::wire::Attributes::of(&w.out).find(1).unwrap();
            let inside = super::super::super::wire::Attributes::of(nest);
            let name = super::super::expr::string(inside, 1).unwrap();
            assert_eq!(Expr::read(&name, inside.find(2).unwrap()), expr);
        }
    }
}

#[test]
fn values_survive_their_bytes() {
    let (_, guard) = guard();
    let (_, nat) = nat();
    for set in guard.sets.values().chain(nat.sets.values()) {
        for key in set.elements.keys() {
            assert_eq!(key.typed(&set.key), *key);
        }
    }
    // A name that is none, a type that is unknown, bytes that are too few: kept as they are.
    assert_eq!(NftType::IfName.decode(&[b'a', b'/', 0, 0]), NftValue::Bytes(vec![b'a', b'/', 0, 0]));
    assert_eq!(NftType::Ipv4Addr.decode(&[1, 2]), NftValue::Bytes(vec![1, 2]));
    assert_eq!(NftType::from_number(7, 6), NftType::Other { number: 7, bytes: 6 });
}

#[test]
fn tables_and_transactions_survive_json() {
    let mut dice = Dice(77);
    let id = NftTableId::new(NftFamily::Ip, "t");
    let mut world = Snapshot::default();
    for _ in 0..500 {
        let transaction = dice.transaction(&id, &world);
        let text = serde_json::to_string(&transaction).unwrap();
        assert_eq!(serde_json::from_str::<NftTransaction>(&text).unwrap(), transaction);
        // A refused transaction leaves the world as it was, whatever its first operations did.
        let before = world.clone();
        if step(&mut world, &Step::Nft(transaction)).is_err() {
            assert_eq!(world, before);
        }
        let text = serde_json::to_string(&world).unwrap();
        assert_eq!(serde_json::from_str::<Snapshot>(&text).unwrap(), world);
    }
}

#[test]
fn what_cannot_be_told_to_the_kernel_is_refused_before() {
    let id = NftTableId::new(NftFamily::Ip, "t");
    let rule = |exprs: Vec<NftExpr>| NftOp::AddRule { chain: "c".into(), rule: NftRule::new(exprs) };
    let set = |def: NftSet| NftOp::AddSet { set: "s".into(), def };
    let keyed = |key: Vec<NftType>| NftSet { key, ..NftSet::default() };
    let key = |k: NftKey| NftOp::DelElements { set: "s".into(), keys: vec![k] };
    let wrong = [
        NftOp::AddChain { chain: "a b".into(), base: None },
        NftOp::AddChain { chain: "c".repeat(256), base: None },
        NftOp::DelChain { chain: String::new() },
        NftOp::DelSet { set: "s%d".into() },
        rule(vec![NftExpr::eq(NftField::IpSaddr, NftValue::U16(1))]),
        rule(vec![NftExpr::eq(NftField::IpSaddr, NftValue::Bytes(Vec::new()))]),
        rule(vec![NftExpr::Lookup { key: Vec::new(), set: "s".into(), inverted: false }]),
        rule(vec![NftExpr::Lookup { key: vec![NftField::IifName; 5], set: "s".into(), inverted: false }]),
        rule(vec![NftExpr::Opaque { name: "x".into(), data: vec![0; 5000] }]),
        rule(vec![NftExpr::Verdict(NftVerdict::Jump("a\0b".into()))]),
        rule(vec![NftExpr::eq(NftField::IpSaddr, NftValue::U32(1)); 41]),
        NftOp::AddRule { chain: "c".into(), rule: NftRule::default().with_comment("x".repeat(128)) },
        set(keyed(Vec::new())),
        set(keyed(vec![NftType::IfName; 5])),
        set(keyed(vec![NftType::EtherAddr; 17])),
        set(NftSet { interval: true, ..keyed(vec![NftType::IfName]) }),
        set(NftSet { size: Some(0), ..keyed(vec![NftType::Mark]) }),
        key(NftKey { first: vec![NftValue::U8(2)], last: Some(vec![NftValue::U8(1)]) }),
        key(NftKey { first: vec![NftValue::U8(2)], last: Some(vec![NftValue::U16(3)]) }),
        key(NftKey { first: Vec::new(), last: Some(Vec::new()) }),
        key(NftKey::exact(vec![NftValue::Bytes(vec![0; 65])])),
        NftOp::AddElements { set: "s".into(), elements: Vec::new() },
        NftOp::DelElements { set: "s".into(), keys: Vec::new() },
    ];
    for op in wrong {
        let fault = NftTransaction::new(id.clone(), vec![NftOp::AddTable, op.clone()]).check().unwrap_err();
        assert_eq!(fault.op, 1, "{op:?}");
        assert!(fault.message.len() > 20 && !fault.message.contains('\0'), "{fault}");
    }
}

/// Any bytes whatever, cut and changed: no panic, no endless walk.
#[test]
fn arbitrary_answers_are_survived() {
    let (id, table) = nat();
    let (bytes, _) = encode::batch(&making(&id, &table), Known::default(), Some(7)).unwrap();
    assert!(Needs::of(&making(&id, &table)).is_empty());
    let mut dice = Dice(4711);
    for _ in 0..3_000 {
        let mut bytes = bytes.clone();
        for _ in 0..dice.below(12) {
            let at = dice.below(bytes.len());
            bytes[at] = u8::try_from(dice.below(256)).unwrap();
        }
        bytes.truncate(dice.below(bytes.len() + 1));
        let skip = dice.below(64).min(bytes.len());
        let odd = Message { kind: 0, flags: 0, seq: 0, body: &bytes[skip..] };
        for message in Messages(&bytes).chain([odd]) {
            let _ = decode::generation(&message);
            let _ = decode::table(&message);
            let _ = decode::chain(&message, &id);
            if let Some((_, _, rule)) = decode::rule(&message) {
                let _ = (rule.to_string(), lower(&rule.exprs));
            }
            let def = decode::set(&message).map_or_else(|| table.sets["networks"].clone(), |(_, set)| set);
            for set in [&def, &table.sets["forwards"], &table.sets["networks"]] {
                let elements = decode::keyed(set, decode::elements(&message, set));
                let set = NftSet { elements, ..set.clone() };
                let shown = NftTable { sets: [("s".into(), set)].into(), ..NftTable::default() };
                let _ = nft_facts(&[(id.clone(), shown)].into());
            }
        }
    }
}
