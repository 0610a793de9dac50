//! Tables of the kinds that filtering and NAT will need.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::model::{IfName, MacAddr};
use crate::snapshot::*;
use crate::step::{NftOp, NftTransaction};

pub(super) fn name(text: &str) -> NftValue {
    NftValue::Name(IfName::check(text).unwrap())
}

pub(super) fn ip(text: &str) -> NftValue {
    match text.parse::<IpAddr>().unwrap() {
        IpAddr::V4(a) => NftValue::Ipv4(a),
        IpAddr::V6(a) => NftValue::Ipv6(a),
    }
}

pub(super) fn mac(last: u8) -> NftValue {
    NftValue::Mac(MacAddr::new([0, 0x16, 0x3e, 0, 0, last]))
}

pub(super) fn verdict(v: NftVerdict) -> NftExpr {
    NftExpr::Verdict(v)
}

/// Filters frames of guests at a bridge by link, MAC and address, ARP and neighbour advertisements included.
pub(super) fn guard() -> (NftTableId, NftTable) {
    use NftField::{
        ArpHlen, ArpOperation, ArpPlen, ArpSaddrEther, ArpSaddrIp, EtherSaddr, IcmpType, Icmpv6Target, IifName,
        Ip6Saddr, IpSaddr, L4Proto, Protocol,
    };
    let guest = |n: u8| (name(&format!("vif{n}.0")), mac(n));
    let v4 = |n: u8| {
        let (link, mac) = guest(n);
        NftKey::exact([link, mac, NftValue::Ipv4(Ipv4Addr::new(10, 0, 0, n))])
    };
    let v6 = |n: u8| {
        let (link, mac) = guest(n);
        NftKey::exact([link, mac, ip(&format!("2001:db8::{n}"))])
    };
    let noted = |n: u8| NftElement { data: None, comment: Some(format!("domain {n}")) };
    let set = |kind: NftType, elements: BTreeMap<NftKey, NftElement>| NftSet {
        key: vec![NftType::IfName, NftType::EtherAddr, kind],
        counter: kind == NftType::Ipv4Addr,
        elements,
        ..NftSet::default()
    };
    let links = NftSet {
        key: vec![NftType::IfName],
        data: Some(NftDataType::Verdict),
        elements: (1..=3)
            .map(|n| {
                let data = Some(NftData::Verdict(NftVerdict::Goto("guest".into())));
                (NftKey::exact([guest(n).0]), NftElement { data, comment: None })
            })
            .collect(),
        ..NftSet::default()
    };
    let in_set = |last: &[NftField], set: &str| {
        let key = [&[IifName, EtherSaddr], last].concat();
        NftExpr::Lookup { key, set: set.into(), inverted: false }
    };
    let arp = NftExpr::eq(Protocol, NftValue::U16(0x0806));
    let rules = vec![
        NftRule::new([
            NftExpr::eq(Protocol, NftValue::U16(0x0800)),
            in_set(&[IpSaddr], "guests4"),
            NftExpr::Counter,
            verdict(NftVerdict::Accept),
        ])
        .with_comment("declared addresses"),
        NftRule::new([
            NftExpr::eq(Protocol, NftValue::U16(0x86dd)),
            NftExpr::eq(L4Proto, NftValue::U8(58)),
            NftExpr::eq(IcmpType, NftValue::U8(136)),
            NftExpr::Lookup { key: vec![IifName, EtherSaddr, Icmpv6Target], set: "guests6".into(), inverted: true },
            verdict(NftVerdict::Drop),
        ]),
        NftRule::new([
            NftExpr::eq(Protocol, NftValue::U16(0x86dd)),
            NftExpr::within(Ip6Saddr, "fe80::/10".parse().unwrap()),
            verdict(NftVerdict::Accept),
        ]),
        NftRule::new([
            NftExpr::eq(Protocol, NftValue::U16(0x86dd)),
            in_set(&[Ip6Saddr], "guests6"),
            verdict(NftVerdict::Accept),
        ]),
        NftRule::new([
            arp,
            NftExpr::eq(ArpHlen, NftValue::U8(6)),
            NftExpr::Match { field: ArpOperation, mask: None, op: NftCmp::Le, value: NftValue::U16(2) },
            NftExpr::eq(ArpPlen, NftValue::U8(4)),
            NftExpr::Lookup { key: vec![IifName, ArpSaddrEther, ArpSaddrIp], set: "guests4".into(), inverted: false },
            verdict(NftVerdict::Accept),
        ]),
        NftRule::new([NftExpr::Counter, verdict(NftVerdict::Drop)]),
    ];
    let entry = NftRule::new([NftExpr::Vmap { key: vec![IifName], map: "links".into() }]);
    let base =
        NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: -300, policy: NftPolicy::Accept };
    let table = NftTable {
        chains: BTreeMap::from([
            ("guard".into(), NftChain { base: Some(base), rules: vec![entry] }),
            ("guest".into(), NftChain { base: None, rules }),
        ]),
        sets: BTreeMap::from([
            ("guests4".into(), set(NftType::Ipv4Addr, (1..=3).map(|n| (v4(n), noted(n))).collect())),
            ("guests6".into(), set(NftType::Ipv6Addr, (1..=2).map(|n| (v6(n), noted(n))).collect())),
            ("links".into(), links),
        ]),
        ..NftTable::default()
    };
    (NftTableId::new(NftFamily::Bridge, "xennet"), table)
}

/// Hides a network behind the address of the egress link, and forwards ports into it.
pub(super) fn nat() -> (NftTableId, NftTable) {
    use NftField::{CtState, FibDaddrType, FibSaddrOif, IifName, IpDaddr, IpSaddr, L4Proto, OifName, ThDport};
    let base = |kind, hook, priority| Some(NftBase { kind, hook, priority, policy: NftPolicy::Accept });
    let networks = NftSet {
        key: vec![NftType::Ipv4Addr],
        interval: true,
        elements: ["10.0.0.0/24", "10.0.1.0/24", "192.168.7.9/32", "255.255.255.0/24"]
            .map(|n| (NftKey::network(n.parse().unwrap()), NftElement::default()))
            .into(),
        ..NftSet::default()
    };
    let forwards = NftSet {
        key: vec![NftType::InetProto, NftType::InetService],
        data: Some(NftDataType::Value(vec![NftType::Ipv4Addr, NftType::InetService])),
        elements: [(6, 8080, 80), (17, 53, 5353)]
            .map(|(proto, from, to)| {
                let data = Some(NftData::Value(vec![ip("10.0.0.5"), NftValue::U16(to)]));
                let comment = Some(format!("port {from}"));
                (NftKey::exact([NftValue::U8(proto), NftValue::U16(from)]), NftElement { data, comment })
            })
            .into(),
        ..NftSet::default()
    };
    let hosts = NftSet {
        key: vec![NftType::Ipv4Addr],
        data: Some(NftDataType::Value(vec![NftType::Ipv4Addr])),
        elements: BTreeMap::from([(
            NftKey::exact([ip("192.0.2.7")]),
            NftElement { data: Some(NftData::Value(vec![ip("10.0.0.7")])), comment: None },
        )]),
        ..NftSet::default()
    };
    let dnat = |to| NftExpr::Nat { side: NftNat::Destination, family: Family::Ipv4, to };
    let postrouting = vec![
        NftRule::new([
            NftExpr::eq(OifName, name("eth0")),
            NftExpr::Lookup { key: vec![IpSaddr], set: "networks".into(), inverted: false },
            NftExpr::Lookup { key: vec![IpDaddr], set: "networks".into(), inverted: true },
            NftExpr::Counter,
            NftExpr::Masquerade,
        ])
        .with_comment("hidden behind eth0"),
        NftRule::new([
            NftExpr::eq(OifName, NftValue::NamePrefix(IfName::check("vif").unwrap())),
            NftExpr::within(IpSaddr, "10.0.0.0/20".parse().unwrap()),
            NftExpr::Nat {
                side: NftNat::Source,
                family: Family::Ipv4,
                to: NftNatTo::Address { address: "192.0.2.1".parse().unwrap(), port: None },
            },
        ]),
    ];
    let prerouting = vec![
        NftRule::new([
            NftExpr::eq(FibDaddrType, NftValue::U32(2)),
            dnat(NftNatTo::Map {
                key: vec![L4Proto, ThDport],
                map: "forwards".into(),
                data: NftNatData::AddressAndPort,
            }),
        ]),
        NftRule::new([
            NftExpr::eq(IifName, name("eth0")),
            dnat(NftNatTo::Map { key: vec![IpDaddr], map: "hosts".into(), data: NftNatData::Address }),
        ]),
        NftRule::new([
            NftExpr::eq(L4Proto, NftValue::U8(6)),
            NftExpr::eq(ThDport, NftValue::U16(2222)),
            dnat(NftNatTo::Address { address: "10.0.0.9".parse().unwrap(), port: Some(22) }),
        ]),
    ];
    let forward = vec![
        NftRule::new([NftExpr::ct_state(6), verdict(NftVerdict::Accept)]),
        NftRule::new([NftExpr::ct_state(1), verdict(NftVerdict::Drop)]),
        NftRule::new([NftExpr::ct_status(0x20), verdict(NftVerdict::Accept)]),
        NftRule::new([
            NftExpr::Match {
                field: NftField::CtStatus,
                mask: Some(NftValue::U32(0x30)),
                op: NftCmp::Eq,
                value: NftValue::U32(0),
            },
            NftExpr::Counter,
        ]),
        NftRule::new([NftExpr::eq(FibSaddrOif, NftValue::U32(0)), verdict(NftVerdict::Drop)]),
        NftRule::new([NftExpr::ne(CtState, NftValue::U32(8)), NftExpr::SetMark(7), verdict(NftVerdict::Return)]),
        NftRule::new([
            NftExpr::Match {
                field: NftField::Mark,
                mask: Some(NftValue::U32(0xff)),
                op: NftCmp::Eq,
                value: NftValue::U32(7),
            },
            verdict(NftVerdict::Jump("later".into())),
        ]),
    ];
    let table = NftTable {
        chains: BTreeMap::from([
            (
                "postrouting".into(),
                NftChain { base: base(NftChainKind::Nat, NftHook::Postrouting, 100), rules: postrouting },
            ),
            (
                "prerouting".into(),
                NftChain { base: base(NftChainKind::Nat, NftHook::Prerouting, -100), rules: prerouting },
            ),
            ("forward".into(), NftChain { base: base(NftChainKind::Filter, NftHook::Forward, 0), rules: forward }),
            ("later".into(), NftChain::default()),
        ]),
        sets: BTreeMap::from([("networks".into(), networks), ("forwards".into(), forwards), ("hosts".into(), hosts)]),
        ..NftTable::default()
    };
    (NftTableId::new(NftFamily::Ip, "xennet-nat"), table)
}

/// Operations that make a table from nothing: what is named comes before what names it.
pub(super) fn making(id: &NftTableId, table: &NftTable) -> NftTransaction {
    let mut ops = vec![NftOp::AddTable];
    ops.extend(table.chains.iter().map(|(chain, c)| NftOp::AddChain { chain: chain.clone(), base: c.base }));
    ops.extend(table.sets.iter().map(|(set, def)| NftOp::AddSet { set: set.clone(), def: def.clone() }));
    for (chain, c) in &table.chains {
        ops.extend(c.rules.iter().map(|rule| NftOp::AddRule { chain: chain.clone(), rule: rule.clone() }));
    }
    NftTransaction::new(id.clone(), ops)
}
