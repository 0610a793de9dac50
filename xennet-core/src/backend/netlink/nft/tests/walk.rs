//! Random transactions on the kernel and on the transition function: the same answer, and the same table afterwards.

use std::collections::BTreeMap;

use super::super::Nft;
use super::fixtures::{ip, mac, name, verdict};
use super::in_netns;
use super::kernel::here;
use crate::model::IfName;
use crate::snapshot::*;
use crate::step::{NftOp, NftTransaction, Step, step};

/// Transactions in one walk, and walks for each family.
const STEPS: usize = 1000;
const WALKS: u64 = 2;

pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % n
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn word(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn chain(&mut self) -> String {
        self.word(&["c1", "c2", "c3", "c4", "b1", "b2"]).into()
    }

    fn set(&mut self) -> String {
        self.word(&["s1", "s2", "s3", "s4", "s5"]).into()
    }

    /// Names of sets say what they mostly are, so that most operations fit.
    fn shape(&mut self, set: &str) -> NftSet {
        let set = if self.one_in(8) { self.set() } else { set.to_owned() };
        let (key, data, interval) = match set.as_str() {
            "s1" => (vec![NftType::IfName, NftType::EtherAddr, NftType::Ipv4Addr], None, false),
            "s2" => (vec![NftType::Ipv4Addr], None, true),
            "s3" => (vec![NftType::IfName], Some(NftDataType::Verdict), false),
            "s4" => (
                vec![NftType::InetProto, NftType::InetService],
                Some(NftDataType::Value(vec![NftType::Ipv4Addr, NftType::InetService])),
                false,
            ),
            _ => match self.below(6) {
                0 => (vec![NftType::Ipv4Addr, NftType::InetService], None, true),
                1 => (vec![NftType::InetService], None, false),
                2 => (vec![NftType::Ipv6Addr], Some(NftDataType::Value(vec![NftType::Mark])), false),
                3 => (vec![NftType::InetService], Some(NftDataType::Verdict), true),
                4 => (vec![NftType::Mark], None, false),
                _ => (vec![NftType::Ipv6Addr], None, true),
            },
        };
        let size = (!interval && self.one_in(4)).then_some(3);
        NftSet { key, data, interval, counter: self.one_in(4), size, ..NftSet::default() }
    }

    fn value(&mut self, kind: NftType) -> NftValue {
        match kind {
            NftType::IfName => name(self.word(&["vif1.0", "vif2.0", "eth0"])),
            NftType::EtherAddr => mac(*self.pick(&[1, 2])),
            NftType::Ipv4Addr => ip(self.word(&["0.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.9", "255.255.255.255"])),
            NftType::Ipv6Addr => ip(self.word(&["::", "fe80::1", "2001:db8::1", "2001:db8::2"])),
            NftType::InetService => NftValue::U16(*self.pick(&[0, 22, 53, 80, 65535])),
            NftType::InetProto => NftValue::U8(*self.pick(&[6, 17])),
            NftType::Mark => NftValue::U32(*self.pick(&[0, 1, 0x0102_0304])),
            _ => NftValue::U16(7),
        }
    }

    fn key(&mut self, set: &NftSet) -> NftKey {
        if self.one_in(40) {
            return NftKey::exact([]);
        }
        let first: Vec<_> = set.key.iter().map(|t| self.value(*t)).collect();
        if !set.interval && !self.one_in(30) || self.one_in(2) {
            return NftKey::exact(first);
        }
        let ends = set.key.iter().zip(&first).map(|(t, a)| self.value(*t).max(a.clone())).collect();
        NftKey { first, last: Some(ends) }
    }

    fn verdict(&mut self) -> NftVerdict {
        match self.below(6) {
            0 => NftVerdict::Accept,
            1 => NftVerdict::Drop,
            2 => NftVerdict::Return,
            3 => NftVerdict::Goto(self.chain()),
            4 => NftVerdict::Continue,
            _ => NftVerdict::Jump(self.chain()),
        }
    }

    fn element(&mut self, set: &NftSet) -> NftElement {
        let data = match &set.data {
            _ if self.one_in(25) => Some(NftData::Value(vec![NftValue::U32(1)])),
            None => None,
            Some(NftDataType::Verdict) => Some(NftData::Verdict(self.verdict())),
            Some(NftDataType::Value(types)) => Some(NftData::Value(types.iter().map(|t| self.value(*t)).collect())),
        };
        let comment = self.one_in(3).then(|| format!("note {}", self.below(9)));
        NftElement { data, comment }
    }

    fn field(&mut self) -> NftField {
        *self.pick(&NftField::NAMED)
    }

    fn expr(&mut self) -> NftExpr {
        let family = *self.pick(&[Family::Ipv4, Family::Ipv4, Family::Ipv6]);
        let side = *self.pick(&[NftNat::Source, NftNat::Destination]);
        match self.below(20) {
            0..=2 => {
                let field = self.field();
                let value = field.kind().decode(&vec![1; usize::from(field.kind().bytes())]);
                let value = if field.kind() == NftType::IfName { self.value(NftType::IfName) } else { value };
                let mask = self.one_in(3).then(|| field.kind().decode(&vec![0xf0; usize::from(field.kind().bytes())]));
                NftExpr::Match { field, mask, op: *self.pick(&NftCmp::ALL), value }
            }
            3 => NftExpr::eq(NftField::OifName, NftValue::NamePrefix(IfName::check("vif").unwrap())),
            4 | 5 => {
                let key = vec![NftField::IifName, NftField::EtherSaddr, NftField::IpSaddr];
                NftExpr::Lookup { key, set: "s1".into(), inverted: self.one_in(3) }
            }
            6 | 7 => NftExpr::Lookup { key: vec![NftField::IpSaddr], set: "s2".into(), inverted: false },
            8 => NftExpr::Vmap { key: vec![NftField::IifName], map: "s3".into() },
            9 => {
                let key = (0..=self.below(3)).map(|_| self.field()).collect();
                let set = self.set();
                match self.below(2) {
                    0 => NftExpr::Lookup { key, set, inverted: self.one_in(2) },
                    _ => NftExpr::Vmap { key, map: set },
                }
            }
            10 => NftExpr::Counter,
            11 => NftExpr::SetMark(9),
            12 => NftExpr::Masquerade,
            13 => {
                let address = if family == Family::Ipv4 { "10.0.0.1" } else { "fe80::1" };
                let port = self.one_in(2).then_some(80);
                let to = NftNatTo::Address { address: address.parse().unwrap(), port };
                NftExpr::Nat { side, family, to }
            }
            14 => {
                let map = if self.one_in(3) { self.set() } else { "s4".into() };
                let data = *self.pick(&[NftNatData::Address, NftNatData::AddressAndPort]);
                let key = vec![NftField::L4Proto, NftField::ThDport];
                NftExpr::Nat { side, family, to: NftNatTo::Map { key, map, data } }
            }
            15 => {
                let mut map = || if self.one_in(3) { self.set() } else { "s4".into() };
                let (address, port) = (map(), map());
                let key = vec![NftField::L4Proto, NftField::ThDport];
                NftExpr::Nat { side, family, to: NftNatTo::Maps { key, address, port } }
            }
            16 if self.one_in(3) => {
                let from = NftField::Payload { header: NftHeader::Transport, offset: 26, bytes: 4 };
                NftExpr::Write { field: NftField::Mark, from: NftFrom::Field(from) }
            }
            16 => {
                let field = *self.pick(&[NftField::Ip6Saddr, NftField::Ip6Daddr]);
                let from = match self.below(3) {
                    0 => NftFrom::Value(NftValue::Ipv6("fe80::1".parse().unwrap())),
                    1 => NftFrom::Field(NftField::Icmpv6Target),
                    _ => NftFrom::Field(NftField::Ip6Daddr),
                };
                NftExpr::Write { field, from }
            }
            17 => NftExpr::Match {
                field: NftField::Payload { header: NftHeader::Network, offset: 12, bytes: 4 },
                mask: None,
                op: NftCmp::Eq,
                value: NftValue::Bytes(vec![10, 0, 0, 1]),
            },
            18 => {
                let (key, set) = match self.below(3) {
                    0 => (vec![NftField::IpSaddr], "s2".into()),
                    1 => (vec![NftField::IifName, NftField::EtherSaddr, NftField::IpSaddr], "s1".into()),
                    _ => ((0..=self.below(2)).map(|_| self.field()).collect(), self.set()),
                };
                NftExpr::Add { key, set }
            }
            _ => verdict(self.verdict()),
        }
    }

    pub(super) fn rule(&mut self) -> NftRule {
        let exprs = (0..=self.below(3)).map(|_| self.expr()).collect();
        NftRule { exprs, comment: self.one_in(3).then(|| "a note".into()) }
    }

    fn base(&mut self) -> NftBase {
        NftBase {
            kind: *self.pick(&[NftChainKind::Filter, NftChainKind::Nat, NftChainKind::Nat, NftChainKind::Route]),
            hook: *self.pick(&NftHook::ALL),
            priority: *self.pick(&[-300, -200, -199, -100, 0, 100, i32::MAX]),
            policy: *self.pick(&[NftPolicy::Accept, NftPolicy::Drop]),
        }
    }

    /// Mostly operations that the model takes, one after the other; else nearly all would fail for their first one.
    pub(super) fn transaction(&mut self, id: &NftTableId, world: &Snapshot) -> NftTransaction {
        let mut scratch = world.clone();
        let mut transaction = NftTransaction::new(id.clone(), Vec::new());
        for _ in 0..=self.below(4) {
            let tries = if self.one_in(8) { 1 } else { 8 };
            for at in 1..=tries {
                let op = self.op(scratch.nft.get(id));
                let alone = Step::Nft(NftTransaction::new(id.clone(), vec![op.clone()]));
                if step(&mut scratch, &alone).is_ok() || at == tries {
                    if !goes_twice(&transaction.ops, &op) {
                        transaction.ops.push(op);
                    }
                    break;
                }
            }
        }
        transaction
    }

    fn op(&mut self, table: Option<&NftTable>) -> NftOp {
        let sets = table.map(|t| &t.sets);
        match self.below(40) {
            0 => NftOp::AddTable,
            1 if self.one_in(4) => NftOp::DelTable,
            1..=5 => {
                let chain = self.chain();
                let base = (chain.starts_with('b') || self.one_in(9)).then(|| self.base());
                NftOp::AddChain { chain, base }
            }
            6 | 7 => NftOp::DelChain { chain: self.chain() },
            8 => NftOp::FlushChain { chain: self.chain() },
            9..=14 => NftOp::AddRule { chain: self.chain(), rule: self.rule() },
            15..=17 => NftOp::InsertRule { chain: self.chain(), rule: self.rule() },
            18..=20 => {
                let chain = self.chain();
                let there = table.and_then(|t| t.chains.get(&chain)).filter(|c| !c.rules.is_empty());
                let rule = match there {
                    Some(c) if !self.one_in(6) => self.pick(&c.rules).clone(),
                    _ => self.rule(),
                };
                NftOp::DelRule { chain, rule }
            }
            21..=25 => {
                let set = self.set();
                let mut def = self.shape(&set);
                if self.one_in(3) {
                    def.elements = (0..self.below(4)).map(|_| (self.key(&def), self.element(&def))).collect();
                }
                NftOp::AddSet { set, def }
            }
            26 | 27 => NftOp::DelSet { set: self.set() },
            n => {
                let set = self.set();
                let there = sets.and_then(|s| s.get(&set)).filter(|_| !self.one_in(20)).cloned();
                let def = there.unwrap_or_else(|| self.shape(&set));
                if n < 35 {
                    let elements = (0..=self.below(3)).map(|_| (self.key(&def), self.element(&def))).collect();
                    return NftOp::AddElements { set, elements };
                }
                let keys: Vec<_> = def.elements.keys().cloned().collect();
                let keys = (0..=self.below(2)).map(|_| match self.one_in(5) || keys.is_empty() {
                    true => self.key(&def),
                    false => self.pick(&keys).clone(),
                });
                NftOp::DelElements { set, keys: keys.collect() }
            }
        }
    }
}

/// Whether elements of a set go that went and came before in the same transaction. In a set of ranges with one field the kernel
/// does not always find them then (`nft_rbtree_deactivate`); no transaction of ours asks for it.
fn goes_twice(ops: &[NftOp], op: &NftOp) -> bool {
    let NftOp::DelElements { set, .. } = op else { return false };
    let went = ops.iter().position(|o| matches!(o, NftOp::DelElements { set: of, .. } if of == set));
    let came = |o: &NftOp| matches!(o, NftOp::AddElements { set: of, .. } if of == set);
    went.is_some_and(|at| ops[at..].iter().any(came))
}

/// A refused transaction costs the kernel a grace period of some 10 ms: one test for each family, so that they wait side
/// by side.
macro_rules! walks {
    ($($test:ident: $family:expr;)*) => {$(
        #[test]
        fn $test() {
            here!($test);
            for walk in 0..WALKS {
                run($family, walk);
            }
        }
    )*};
}

walks! {
    random_transactions_in_inet_tables: NftFamily::Inet;
    random_transactions_in_ip_tables: NftFamily::Ip;
    random_transactions_in_ip6_tables: NftFamily::Ip6;
    random_transactions_in_bridge_tables: NftFamily::Bridge;
}

fn run(family: NftFamily, walk: u64) {
    let mut kernel = Nft::open().unwrap();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let id = NftTableId::new(family, format!("xennet-{walk}"));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (walk << 32 | u64::from(family.number()) << 8 | 1));
    let mut world = Snapshot::default();
    for at in 0..STEPS {
        let before = world.nft.get(&id).cloned();
        let transaction = dice.transaction(&id, &world);
        let model = step(&mut world, &Step::Nft(transaction.clone())).map(drop);
        let real = kernel.apply(&transaction);
        let answer = real.as_ref().map_err(|e| e.errno).copied();
        let was = || nft_facts(&before.iter().map(|t| (id.clone(), t.clone())).collect()).join("\n");
        assert_eq!(
            answer,
            model,
            "{family} walk {walk} step {at}: kernel left, model right; kernel says {real:?}\n{transaction:?}\nbefore:\n{}",
            was()
        );
        *counts.entry(model.map_or_else(|e| e.to_string(), |()| "done".into())).or_default() += 1;
        let seen = kernel.observe(&id).unwrap();
        assert_eq!(
            seen.as_ref(),
            world.nft.get(&id),
            "{family} walk {walk} step {at}: kernel left, model right\n{transaction:?}\nbefore:\n{}",
            was()
        );
    }
    eprintln!("{family} walk {walk}: {counts:?}");
}
