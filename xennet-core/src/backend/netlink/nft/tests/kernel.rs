//! Whole tables: written, read back, and listed by the `nft` tool.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::{Nft, encode};
use super::fixtures::{guard, ip, mac, making, name, nat, verdict};
use super::{in_netns, nft};
use crate::error::Errno;
use crate::snapshot::*;
use crate::step::{NftOp, NftTransaction, Step, step};
use crate::tables::Sections;
use crate::tables::gate::GATE;

macro_rules! here {
    ($test:ident) => {
        if !in_netns(concat!(module_path!(), "::", stringify!($test)).split_once("::").unwrap().1) {
            return;
        }
    };
}
pub(super) use here;

fn id() -> NftTableId {
    NftTableId::new(NftFamily::Inet, "xennet-test")
}

fn transaction(ops: Vec<NftOp>) -> NftTransaction {
    NftTransaction::new(id(), ops)
}

/// The table of our own that has most of what there is.
fn gate() -> (NftTableId, NftTable) {
    (NftTableId::gate(), GATE.frame(Sections::default().with(1).with(2)))
}

fn facts(id: &NftTableId, table: &NftTable) -> String {
    nft_facts(&BTreeMap::from([(id.clone(), table.clone())])).join("\n")
}

#[test]
fn tables_are_read_back_as_they_were_written() {
    here!(tables_are_read_back_as_they_were_written);
    let mut kernel = Nft::open().unwrap();
    let mut world = Snapshot::default();
    for (id, table) in [guard(), nat(), gate()] {
        assert_eq!(kernel.observe(&id), Ok(None));
        let transaction = making(&id, &table);
        kernel.apply(&transaction).unwrap();
        assert_eq!(kernel.observe(&id).unwrap().as_ref(), Some(&table));
        for chain in table.chains.keys() {
            assert_eq!(kernel.observe_use(&id, chain).unwrap(), table.use_of(chain), "{id} {chain}");
        }
        step(&mut world, &Step::Nft(transaction)).unwrap();
        assert_eq!(world.nft.get(&id), Some(&table));
    }
    assert_eq!(kernel.observe_own().unwrap(), world.nft);
}

/// What nft lists, without the handles.
fn listing() -> Option<serde_json::Value> {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(map) => {
                map.remove("handle");
                map.remove("metainfo");
                map.values_mut().for_each(strip);
            }
            serde_json::Value::Array(list) => list.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut all = serde_json::from_str(&nft(&["-j", "list", "ruleset"], "")?).unwrap();
    strip(&mut all);
    // Hash sets list their elements, and tables their sets, in no order.
    let mut flat: Vec<String> = all["nftables"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| {
            let mut object = object.clone();
            for noun in ["set", "map"] {
                if let Some(list) = object.pointer_mut(&format!("/{noun}/elem")).and_then(|e| e.as_array_mut()) {
                    list.sort_by_key(ToString::to_string);
                }
            }
            object.to_string()
        })
        .collect();
    let rules: Vec<String> = flat.iter().filter(|o| o.starts_with("{\"rule\"")).cloned().collect();
    flat.retain(|o| !o.starts_with("{\"rule\""));
    flat.sort();
    Some(serde_json::json!({ "objects": flat, "rules": rules }))
}

#[test]
fn nft_reads_our_objects_and_our_text_as_the_same() {
    here!(nft_reads_our_objects_and_our_text_as_the_same);
    let mut kernel = Nft::open().unwrap();
    for (id, mut table) in [guard(), nat(), gate()] {
        for chain in table.chains.values_mut() {
            // nft 1.0.6 has no word for the one, and reads the other and `arp hlen` as one field of two bytes.
            chain.rules.retain(|r| !["icmpv6 taddr", "arp plen"].iter().any(|w| r.to_string().contains(w)));
        }
        kernel.apply(&making(&id, &table)).unwrap();
        let Some(ours) = listing() else { return };
        assert!(ours["objects"].as_array().unwrap().len() > 4, "{ours:#}");
        kernel.apply(&NftTransaction::new(id.clone(), vec![NftOp::DelTable])).unwrap();
        nft(&["-f", "-"], &facts(&id, &table)).unwrap();
        let theirs = listing().unwrap();
        assert_eq!(theirs["objects"], ours["objects"], "{}", facts(&id, &table));
        assert_eq!(theirs["rules"], ours["rules"], "{}", facts(&id, &table));
        // Of a field with a mask nft loads the bytes only that the mask leaves, where they are whole.
        if id != gate().0 {
            assert_eq!(kernel.observe(&id).unwrap().as_ref(), Some(&table));
        }
        kernel.apply(&NftTransaction::new(id.clone(), vec![NftOp::DelTable])).unwrap();
    }
}

/// Rules by other hands: limits, logs, sets without names, ranges, bit fields, rejects. What is not understood is kept so
/// exactly that the table can be made again from what was read. (Not all can: the kernel tells a time limit of 0 with
/// each `add @set`, and takes none for a set without time limits.)
const FOREIGN: &str = "
table inet xennet-test {
    quota much { over 25 mbytes }
    set timed { type ipv4_addr; flags timeout; timeout 1h; }
    set seen { type ipv4_addr . inet_service; size 128; flags dynamic; }
    chain other { }
    chain in {
        type filter hook input priority filter; policy accept;
        ct state vmap { established : accept, related : accept, invalid : drop }
        tcp dport { 22, 80-90 } limit rate 10/second burst 5 packets log prefix \"x: \" counter accept
        udp sport 1000-2000 reject with icmpx type admin-prohibited
        tcp flags & (syn | ack) == syn ct mark set 7
        ip saddr 10.0.0.0/8 ip dscp 4 meta priority set 1:2
        meta mark set meta mark | 1
        ip saddr @timed drop
        vlan id 7 drop
        iifname \"vif*\" oifname != { \"eth0\", \"eth1\" } jump other
        icmpv6 type { nd-neighbor-solicit, nd-router-advert } accept
    }
    chain out {
        type nat hook postrouting priority srcnat;
        masquerade random
        ip saddr 10.0.0.1 meta l4proto tcp snat ip to 192.0.2.1-192.0.2.9:1000-2000
        ip6 saddr fc00::/7 snat ip6 to 2001:db8::1
    }
}
";

#[test]
fn foreign_rules_are_kept_as_they_are() {
    here!(foreign_rules_are_kept_as_they_are);
    if nft(&["-f", "-"], FOREIGN).is_none() {
        return;
    }
    let mut kernel = Nft::open().unwrap();
    let first = kernel.observe(&id()).unwrap().unwrap();
    assert_eq!(first.chains["in"].rules.len(), 10);
    let opaque = |r: &NftRule| r.exprs.iter().any(|e| matches!(e, NftExpr::Opaque { .. }));
    assert!(first.chains["in"].rules[1].exprs.iter().any(|e| matches!(e, NftExpr::Limit { .. })), "a limit has words");
    assert!(opaque(&first.chains["out"].rules[1]), "a range of addresses has no words here");
    assert!(!opaque(&first.chains["out"].rules[2]));
    let again = NftTableId::new(NftFamily::Inet, "xennet-again");
    kernel.apply(&making(&again, &first)).unwrap();
    assert_eq!(kernel.observe(&again).unwrap().unwrap(), first, "{}", facts(&again, &first));
    let ours = nft(&["list", "table", "inet", "xennet-again"], "").unwrap();
    let theirs = nft(&["list", "table", "inet", "xennet-test"], "").unwrap();
    let rules = |text: &str| -> Vec<String> {
        // The quota is an object with a name, which tables here do not have; sets are listed in the order of their making.
        text.lines().map(str::trim).skip_while(|l| !l.starts_with("chain")).map(Into::into).collect()
    };
    let sorted = |text: &str| {
        let mut lines = rules(text);
        lines.sort();
        lines
    };
    assert_eq!(sorted(&ours), sorted(&theirs));
    assert_eq!(kernel.observe(&id()).unwrap().unwrap(), first, "reading changes nothing");
}

#[test]
fn refusals_carry_number_and_object() {
    here!(refusals_carry_number_and_object);
    let mut kernel = Nft::open().unwrap();
    let mut world = Snapshot::default();
    let plain = |chain: &str| NftOp::AddChain { chain: chain.into(), base: None };
    let jump = |to: &str| NftRule::new([verdict(NftVerdict::Jump(to.into()))]);
    let rule = |chain: &str, rule: NftRule| NftOp::AddRule { chain: chain.into(), rule };
    let addresses = NftSet { key: vec![NftType::Ipv4Addr], ..NftSet::default() };
    let one = |set: &str, value: NftValue| NftOp::AddElements {
        set: set.into(),
        elements: vec![(NftKey::exact([value]), NftElement::default())],
    };
    let lookup = NftRule::new([NftExpr::Lookup { key: vec![NftField::IpSaddr], set: "s".into(), inverted: false }]);
    let base = NftBase { kind: NftChainKind::Filter, hook: NftHook::Forward, priority: 0, policy: NftPolicy::Accept };
    type Answer = Result<(), (Errno, &'static str)>;
    let cases: Vec<(Vec<NftOp>, Answer)> = vec![
        (vec![NftOp::DelTable], Err((Errno::ENOENT, "nft table inet xennet-test"))),
        (vec![plain("c")], Err((Errno::ENOENT, "nft chain inet xennet-test c"))),
        (
            vec![NftOp::AddTable, plain("c"), plain("d"), NftOp::AddSet { set: "s".into(), def: addresses.clone() }],
            Ok(()),
        ),
        (vec![NftOp::AddTable], Ok(())),
        (vec![plain("c")], Err((Errno::EEXIST, "nft chain inet xennet-test c"))),
        (
            vec![NftOp::AddChain { chain: "c".into(), base: Some(base) }],
            Err((Errno::EOPNOTSUPP, "nft chain inet xennet-test c")),
        ),
        (vec![rule("c", jump("nowhere"))], Err((Errno::ENOENT, "nft rule inet xennet-test c \"jump nowhere\""))),
        (vec![rule("c", jump("d")), rule("d", lookup.clone()), one("s", ip("10.0.0.1"))], Ok(())),
        (vec![one("s", ip("10.0.0.2")), one("s", ip("10.0.0.1"))], Err((Errno::EEXIST, "nft set inet xennet-test s"))),
        (vec![one("s", ip("fe80::1"))], Err((Errno::EINVAL, "nft set inet xennet-test s"))),
        (vec![one("t", ip("10.0.0.1"))], Err((Errno::ENOENT, "nft set inet xennet-test t"))),
        (
            vec![NftOp::DelElements { set: "s".into(), keys: vec![NftKey::exact([ip("10.0.0.2")])] }],
            Err((Errno::ENOENT, "nft set inet xennet-test s")),
        ),
        (vec![NftOp::DelSet { set: "s".into() }], Err((Errno::EBUSY, "nft set inet xennet-test s"))),
        (vec![NftOp::DelSet { set: "t".into() }], Err((Errno::ENOENT, "nft set inet xennet-test t"))),
        (
            vec![NftOp::FlushChain { chain: "d".into() }, NftOp::DelChain { chain: "d".into() }],
            Err((Errno::EBUSY, "nft chain inet xennet-test d")),
        ),
        (
            vec![NftOp::DelRule { chain: "d".into(), rule: lookup.clone().with_comment("another") }],
            Err((Errno::ENOENT, "nft rule inet xennet-test d \"ip saddr @s comment \"another\"\"")),
        ),
        // A ring of chains that no packet can come into is taken; one that packets can come into is not.
        (vec![rule("d", jump("c"))], Ok(())),
        (
            vec![NftOp::AddChain { chain: "b".into(), base: Some(base) }, rule("b", jump("c"))],
            Err((Errno::EMLINK, "nft rule inet xennet-test b \"jump c\"")),
        ),
        (
            vec![
                NftOp::DelRule { chain: "d".into(), rule: jump("c") },
                NftOp::DelRule { chain: "c".into(), rule: jump("d") },
                NftOp::DelRule { chain: "d".into(), rule: lookup.clone() },
                NftOp::DelSet { set: "s".into() },
                NftOp::DelChain { chain: "d".into() },
            ],
            Ok(()),
        ),
        (
            vec![NftOp::AddSet { set: "bad name".into(), def: addresses }],
            Err((Errno::EINVAL, "nft set inet xennet-test bad name")),
        ),
        (vec![NftOp::DelTable, NftOp::AddTable], Ok(())),
    ];
    for (ops, expected) in cases {
        let transaction = transaction(ops);
        let real = kernel.apply(&transaction);
        let model = step(&mut world, &Step::Nft(transaction.clone()));
        let real = real.map_err(|e| (e.errno, e.object));
        let real = real.as_ref().map_err(|(errno, object)| (*errno, object.as_str())).copied();
        assert_eq!(real, expected, "{transaction:?}");
        assert_eq!(model.map(drop), expected.map_err(|(errno, _)| errno), "{transaction:?}");
        assert_eq!(kernel.observe(&id()).unwrap().as_ref(), world.nft.get(&id()), "{transaction:?}");
    }
}

/// Found by the walks: the kernel takes a range to the end of all values around others, and takes the beginning of one
/// range and the end of another away together; what is left are halves. The model refuses both, so the backend does.
#[test]
fn ranges_are_whole_or_refused() {
    here!(ranges_are_whole_or_refused);
    let mut kernel = Nft::open().unwrap();
    let range = |a: &str, b: &str| NftKey::range(ip(a), ip(b));
    let def = NftSet {
        key: vec![NftType::Ipv4Addr],
        interval: true,
        elements: [range("10.0.0.2", "10.0.0.9"), range("10.0.0.10", "10.0.0.20")]
            .map(|k| (k, NftElement::default()))
            .into(),
        ..NftSet::default()
    };
    let add = |k: NftKey| {
        transaction(vec![NftOp::AddElements { set: "s".into(), elements: vec![(k, NftElement::default())] }])
    };
    let del = |k: NftKey| transaction(vec![NftOp::DelElements { set: "s".into(), keys: vec![k] }]);
    kernel.apply(&transaction(vec![NftOp::AddTable, NftOp::AddSet { set: "s".into(), def: def.clone() }])).unwrap();
    let errno = |kernel: &mut Nft, t: &NftTransaction| kernel.apply(t).map_err(|e| e.errno);
    let everything = range("0.0.0.0", "255.255.255.255");
    for (transaction, expected) in [
        (add(range("10.0.0.1", "255.255.255.255")), Err(Errno::EEXIST)),
        (add(everything.clone()), Err(Errno::EEXIST)),
        (add(range("10.0.0.5", "10.0.0.6")), Err(Errno::EEXIST)),
        (add(range("10.0.0.1", "10.0.0.30")), Err(Errno::EEXIST)),
        (del(range("10.0.0.2", "10.0.0.20")), Err(Errno::ENOENT)),
        (del(range("10.0.0.2", "10.0.0.8")), Err(Errno::ENOENT)),
        (del(range("10.0.0.3", "10.0.0.9")), Err(Errno::ENOENT)),
        (del(everything.clone()), Err(Errno::ENOENT)),
    ] {
        assert_eq!(errno(&mut kernel, &transaction), expected, "{transaction:?}");
        assert_eq!(kernel.observe(&id()).unwrap().unwrap().sets["s"], def, "{transaction:?}");
    }
    let keys = def.elements.keys().cloned().collect();
    let swap = transaction(vec![
        NftOp::DelElements { set: "s".into(), keys },
        NftOp::AddElements { set: "s".into(), elements: vec![(everything.clone(), NftElement::default())] },
    ]);
    assert_eq!(errno(&mut kernel, &swap), Ok(()));
    let set = &kernel.observe(&id()).unwrap().unwrap().sets["s"];
    assert_eq!(set.elements.keys().collect::<Vec<_>>(), [&everything]);
}

/// Found by the walks: of an interval set with several fields the kernel removes whatever contains the beginning of the
/// given key. The model asks for the very element, so the backend does.
#[test]
fn a_wider_element_is_not_removed_for_a_narrower_one() {
    here!(a_wider_element_is_not_removed_for_a_narrower_one);
    let mut kernel = Nft::open().unwrap();
    let key = |a: &str, b: &str, port: u16| NftKey {
        first: vec![ip(a), NftValue::U16(port)],
        last: Some(vec![ip(b), NftValue::U16(port)]),
    };
    let wide = key("10.0.0.0", "10.255.255.255", 80);
    let def = NftSet {
        key: vec![NftType::Ipv4Addr, NftType::InetService],
        interval: true,
        elements: [(wide.clone(), NftElement::default())].into(),
        ..NftSet::default()
    };
    let del = |k: NftKey| NftOp::DelElements { set: "s".into(), keys: vec![k] };
    kernel.apply(&transaction(vec![NftOp::AddTable, NftOp::AddSet { set: "s".into(), def: def.clone() }])).unwrap();
    for narrow in [NftKey::exact([ip("10.0.0.7"), NftValue::U16(80)]), key("10.0.0.0", "10.0.0.9", 80)] {
        assert_eq!(kernel.apply(&transaction(vec![del(narrow)])).unwrap_err().errno, Errno::ENOENT);
        assert_eq!(kernel.observe(&id()).unwrap().unwrap().sets["s"], def);
    }
    kernel.apply(&transaction(vec![del(wide)])).unwrap();
    assert_eq!(kernel.observe(&id()).unwrap().unwrap().sets["s"].elements.len(), 0);
}

#[test]
fn thousands_of_elements_go_in_one_transaction() {
    here!(thousands_of_elements_go_in_one_transaction);
    let mut kernel = Nft::open().unwrap();
    let key = |n: u32| {
        let link = name(&format!("vif{}.0", n % 1000));
        NftKey::exact([link, mac((n % 251) as u8), NftValue::Ipv4(n.into())])
    };
    let types = vec![NftType::IfName, NftType::EtherAddr, NftType::Ipv4Addr];
    // Some 280 KiB: more than the kernel lets out of a socket that did not ask for a larger buffer.
    let elements = (0..3500).map(|n| (key(n), NftElement::default())).collect();
    let def = NftSet { key: types, elements, ..NftSet::default() };
    let making = transaction(vec![NftOp::AddTable, NftOp::AddSet { set: "s".into(), def: def.clone() }]);
    kernel.apply(&making).unwrap();
    // The kernel makes its table of so many at once larger a little later, and a listing meanwhile lacks some of them.
    let begin = Instant::now();
    while kernel.observe(&id()).unwrap().unwrap().sets["s"] != def {
        assert!(begin.elapsed() < Duration::from_secs(10), "not all are listed");
    }
    let keys = (0..3500).filter(|n| n % 2 == 0).map(key).collect();
    kernel.apply(&transaction(vec![NftOp::DelElements { set: "s".into(), keys }])).unwrap();
    // And smaller.
    while kernel.observe(&id()).unwrap().unwrap().sets["s"].elements.len() != 1750 {
        assert!(begin.elapsed() < Duration::from_secs(20), "not what is left is listed");
    }
}

/// Somebody else changes the ruleset meanwhile: what rests on a reading is read and sent again, and said if in vain.
#[test]
fn others_may_change_the_ruleset_meanwhile() {
    here!(others_may_change_the_ruleset_meanwhile);
    let mut kernel = Nft::open().unwrap();
    let mut other = Nft::open().unwrap();
    let chain = || "c".to_owned();
    let made = transaction(vec![NftOp::AddTable, NftOp::AddChain { chain: chain(), base: None }]);
    let stale = kernel.generation().unwrap();
    kernel.apply(&made).unwrap();
    let (mut datagram, _) = encode::batch(&made, encode::Known::default(), Some(stale)).unwrap();
    let refused = kernel.socket.batch(&mut datagram).unwrap_err();
    assert_eq!((refused.index, refused.refusal.errno), (0, Errno::ERESTART));
    let (mut again, mut left) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let id = NftTableId::new(NftFamily::Ip, "xennet-other");
            for _ in 0..100 {
                other.apply(&NftTransaction::new(id.clone(), vec![NftOp::AddTable])).unwrap();
                other.apply(&NftTransaction::new(id.clone(), vec![NftOp::DelTable])).unwrap();
            }
        });
        for n in 0..200 {
            let rule = NftRule::new([NftExpr::SetMark(n)]);
            kernel.apply(&transaction(vec![NftOp::AddRule { chain: chain(), rule: rule.clone() }])).unwrap();
            match kernel.apply(&transaction(vec![NftOp::DelRule { chain: chain(), rule }])) {
                Ok(()) => again += 1,
                Err(e) => {
                    assert_eq!(e.errno, Errno::ERESTART, "{e}");
                    left += 1;
                }
            }
        }
    });
    assert_eq!(kernel.observe(&id()).unwrap().unwrap().chains["c"].rules.len(), left);
    assert_eq!(again + left, 200);
}
