//! Chains, step by step; and what frames in namespaces do not show: VLANs, rules of iptables, what is not known.

use std::net::{IpAddr, Ipv4Addr};

use super::nft::{self, End, Outcome, Place};
use super::packet::{Gap, Packet, Upper};
use super::world::World;
use super::{Question, Trace, Traffic, Verdict, trace};
use crate::Host;
use crate::model::{DomId, IfName, MacAddr, Tagging, Vid};
use crate::recording::{Recording, Taken, Unseen};
use crate::snapshot::{
    Family, NftBase, NftChain, NftChainKind, NftCmp, NftData, NftDataType, NftElement, NftExpr, NftFamily, NftField,
    NftHook, NftKey, NftPolicy, NftRule, NftSet, NftTable, NftTableId, NftType, NftValue, NftVerdict, PortVlan,
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn tcp(port: Option<u16>) -> Packet {
    Packet::ip(ip("192.0.2.5"), ip("198.51.100.7"), Upper::Tcp { source: 40_000, target: port, answer: false })
}

fn verdict(verdict: NftVerdict) -> NftExpr {
    NftExpr::Verdict(verdict)
}

fn drop_it() -> NftExpr {
    verdict(NftVerdict::Drop)
}

fn port(op: NftCmp, port: u16) -> NftExpr {
    NftExpr::Match { field: NftField::ThDport, mask: None, op, value: NftValue::U16(port) }
}

fn opaque(name: &str, attributes: &[(u16, Vec<u8>)]) -> NftExpr {
    NftExpr::Opaque { name: name.into(), data: nest(attributes) }
}

fn nest(attributes: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, value) in attributes {
        out.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        out.extend(kind.to_ne_bytes());
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

fn be(number: u32) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

/// A table with a chain at forward that accepts, and others.
struct Rules(NftTable);

impl Rules {
    fn new(rules: Vec<Vec<NftExpr>>) -> Self {
        let base =
            NftBase { kind: NftChainKind::Filter, hook: NftHook::Forward, priority: 0, policy: NftPolicy::Accept };
        let mut table = NftTable::default();
        table
            .chains
            .insert("main".into(), NftChain { base: Some(base), rules: rules.into_iter().map(NftRule::new).collect() });
        Rules(table)
    }

    fn chain(mut self, name: &str, rules: Vec<Vec<NftExpr>>) -> Self {
        let rules = rules.into_iter().map(NftRule::new).collect();
        self.0.chains.insert(name.into(), NftChain { base: None, rules });
        self
    }

    fn set(mut self, name: &str, set: NftSet) -> Self {
        self.0.sets.insert(name.into(), set);
        self
    }

    fn run(&self, packet: &Packet) -> Outcome {
        let recording = Host::fake().record(Taken::default(), None, Err(String::new()));
        let world = World::new(&recording);
        let place = Place { world: &world, family: NftFamily::Ip, hook: NftHook::Forward, iif: None, oif: None };
        nft::run(place, &NftTableId::new(NftFamily::Ip, "t"), &self.0, "main", packet)
    }

    fn drops(&self, packet: &Packet) -> bool {
        let outcome = self.run(packet);
        assert!(matches!(outcome.end, End::Accept | End::Drop), "{outcome:?}");
        outcome.end == End::Drop
    }
}

#[test]
fn jumps_come_back_and_gotos_do_not() {
    let more = || vec![vec![port(NftCmp::Eq, 22), drop_it()], vec![port(NftCmp::Eq, 23), verdict(NftVerdict::Return)]];
    let with = |first: NftVerdict| Rules::new(vec![vec![verdict(first)], vec![drop_it()]]).chain("more", more());
    let (jump, goto) = (with(NftVerdict::Jump("more".into())), with(NftVerdict::Goto("more".into())));
    assert!(jump.drops(&tcp(Some(22))) && goto.drops(&tcp(Some(22))));
    assert!(jump.drops(&tcp(Some(23))) && jump.drops(&tcp(Some(24))), "the rule behind it drops");
    // Behind a goto of the base chain comes the policy.
    assert!(!goto.drops(&tcp(Some(23))) && !goto.drops(&tcp(Some(24))));
    let missing = Rules::new(vec![vec![verdict(NftVerdict::Jump("gone".into()))]]).run(&tcp(None));
    assert!(matches!(missing.end, End::Unknown { gap: Gap::Unseen, .. }), "{missing:?}");
    // A recording that was edited.
    let circle = Rules::new(vec![vec![verdict(NftVerdict::Goto("main".into()))]]).run(&tcp(None));
    assert!(matches!(circle.end, End::Unknown { .. }), "{circle:?}");
}

#[test]
fn sets_have_single_keys_ranges_and_concatenations_and_maps_lead_on() {
    let single = |port: u16| NftKey::exact([NftValue::U16(port)]);
    let ports = NftSet {
        key: vec![NftType::InetService],
        interval: true,
        elements: [single(80), NftKey::range(NftValue::U16(440), NftValue::U16(450))]
            .map(|k| (k, NftElement::default()))
            .into(),
        ..NftSet::default()
    };
    let lookup = |inverted| NftExpr::Lookup { key: vec![NftField::ThDport], set: "ports".into(), inverted };
    let rules = Rules::new(vec![vec![lookup(false), drop_it()]]).set("ports", ports.clone());
    let dropped: Vec<u16> =
        [79, 80, 81, 439, 440, 445, 450, 451].into_iter().filter(|p| rules.drops(&tcp(Some(*p)))).collect();
    assert_eq!(dropped, [80, 440, 445, 450]);
    let inverted = Rules::new(vec![vec![lookup(true), drop_it()]]).set("ports", ports);
    assert!(inverted.drops(&tcp(Some(79))) && !inverted.drops(&tcp(Some(80))));

    let to = |verdict| NftElement { data: Some(NftData::Verdict(verdict)), comment: None };
    let pair = |address: &str, port| {
        let IpAddr::V4(address) = ip(address) else { unreachable!() };
        NftKey::exact([NftValue::Ipv4(address), NftValue::U16(port)])
    };
    let all = NftKey { first: Vec::new(), last: None };
    let map = NftSet {
        key: vec![NftType::Ipv4Addr, NftType::InetService],
        data: Some(NftDataType::Verdict),
        elements: [
            (pair("198.51.100.7", 22), to(NftVerdict::Drop)),
            (pair("198.51.100.8", 23), to(NftVerdict::Drop)),
            (all, to(NftVerdict::Return)),
        ]
        .into(),
        ..NftSet::default()
    };
    let vmap = NftExpr::Vmap { key: vec![NftField::IpDaddr, NftField::ThDport], map: "m".into() };
    let rules = Rules::new(vec![vec![vmap], vec![drop_it()]]).set("m", map);
    assert!(rules.drops(&tcp(Some(22))));
    // The catch-all element returns from the base chain, to its policy.
    assert!(!rules.drops(&tcp(Some(23))));
}

#[test]
fn what_is_not_known_matters_only_where_it_decides() {
    let limit = opaque("limit", &[]);
    let decides = Rules::new(vec![vec![limit.clone(), drop_it()]]).run(&tcp(Some(22)));
    let what = End::Unknown { gap: Gap::Unseen, what: "limit".into() };
    assert_eq!((&decides.end, decides.rule.unwrap().number), (&what, Some(1)));
    // It only counts; both ways drop; a later statement is known not to fit.
    let counts = Rules::new(vec![vec![limit.clone(), NftExpr::Counter]]);
    assert!(!counts.drops(&tcp(Some(22))));
    let both = Rules::new(vec![vec![limit.clone(), drop_it()], vec![drop_it()]]);
    assert!(both.drops(&tcp(Some(22))));
    let later = Rules::new(vec![vec![limit.clone(), port(NftCmp::Eq, 80), drop_it()]]);
    assert!(!later.drops(&tcp(Some(22))));
    // A mark that may be set is a difference.
    let marks = Rules::new(vec![vec![limit, NftExpr::SetMark(7)]]).run(&tcp(Some(22)));
    assert!(matches!(marks.end, End::Unknown { .. }), "{marks:?}");
    let unheard = Rules::new(vec![vec![opaque("something-new", &[]), drop_it()]]).run(&tcp(Some(22)));
    assert_eq!(unheard.end, End::Unknown { gap: Gap::Unseen, what: "something-new".into() });
}

#[test]
fn a_port_that_is_not_named_is_asked_for_where_it_decides() {
    let exact = Rules::new(vec![vec![port(NftCmp::Eq, 443), drop_it()]]).run(&tcp(None));
    assert!(matches!(exact.end, End::Unknown { gap: Gap::Port, .. }), "{exact:?}");
    assert!(Rules::new(vec![vec![port(NftCmp::Ge, 0), drop_it()]]).drops(&tcp(None)));
    assert!(!Rules::new(vec![vec![port(NftCmp::Eq, 68), drop_it()]]).drops(&tcp(None)), "nobody means DHCP");
    let map = |data: NftVerdict| NftSet {
        key: vec![NftType::InetService],
        data: Some(NftDataType::Verdict),
        elements: [22, 80]
            .map(|p| {
                (
                    NftKey::exact([NftValue::U16(p)]),
                    NftElement { data: Some(NftData::Verdict(data.clone())), comment: None },
                )
            })
            .into(),
        ..NftSet::default()
    };
    let vmap = || NftExpr::Vmap { key: vec![NftField::ThDport], map: "m".into() };
    let same = Rules::new(vec![vec![vmap()], vec![drop_it()]]).set("m", map(NftVerdict::Drop));
    assert!(same.drops(&tcp(None)), "each way drops");
    let other = Rules::new(vec![vec![vmap()], vec![drop_it()]]).set("m", map(NftVerdict::Accept)).run(&tcp(None));
    assert!(matches!(other.end, End::Unknown { gap: Gap::Port, .. }), "{other:?}");
}

#[test]
fn programs_without_words_are_run_as_the_kernel_runs_them() {
    // ip saddr & 255.255.255.253 == 192.0.2.5, then tcp dport 1000-2000 by `range`, and a verdict: one expression more would make all of
    // them opaque.
    let reg = be(1);
    let rule = vec![
        opaque("payload", &[(1, reg.clone()), (2, be(1)), (3, be(12)), (4, be(4))]),
        opaque(
            "bitwise",
            &[
                (1, reg.clone()),
                (2, reg.clone()),
                (3, be(4)),
                (4, nest(&[(1, vec![255, 255, 255, 253])])),
                (5, nest(&[(1, vec![0; 4])])),
                (6, be(0)),
            ],
        ),
        opaque("cmp", &[(1, reg.clone()), (2, be(0)), (3, nest(&[(1, vec![192, 0, 2, 5])]))]),
        opaque("payload", &[(1, reg.clone()), (2, be(2)), (3, be(2)), (4, be(2))]),
        opaque(
            "range",
            &[(1, reg.clone()), (2, be(0)), (3, nest(&[(1, vec![3, 232])])), (4, nest(&[(1, vec![7, 208])]))],
        ),
        opaque("counter", &[]),
        opaque("immediate", &[(1, be(0)), (2, nest(&[(2, nest(&[(1, be(0))]))]))]),
    ];
    let rules = Rules::new(vec![rule]);
    let dropped: Vec<u16> = [999, 1000, 2000, 2001].into_iter().filter(|p| rules.drops(&tcp(Some(*p)))).collect();
    assert_eq!(dropped, [1000, 2000]);
    let outcome = rules.run(&tcp(Some(1000)));
    assert_eq!(outcome.rule.unwrap().text, "payload range drop");
    // Cut short: nothing is read from what is not there.
    for cut in 0..40 {
        let rule = vec![NftExpr::Opaque {
            name: "payload".into(),
            data: nest(&[(1, reg.clone()), (2, be(1))])[..cut.min(16)].to_vec(),
        }];
        let end = Rules::new(vec![rule]).run(&tcp(Some(1))).end;
        assert!(matches!(end, End::Unknown { .. }), "{end:?}");
    }
}

#[test]
fn matches_of_iptables_are_read_where_they_are_common() {
    let named = |kind: &str, name: &str, revision: u32, info: Vec<u8>| {
        opaque(kind, &[(1, [name.as_bytes(), &[0]].concat()), (2, be(revision)), (3, info)])
    };
    let mut ports = vec![1, 3];
    ports.extend([22u16, 80, 90].iter().flat_map(|p| p.to_ne_bytes()));
    ports.resize(32, 0);
    ports.extend([0, 1, 0]);
    ports.resize(48, 0);
    let rules = Rules::new(vec![vec![named("match", "multiport", 1, ports), drop_it()]]);
    let dropped: Vec<u16> = [21, 22, 23, 80, 85, 90, 91].into_iter().filter(|p| rules.drops(&tcp(Some(*p)))).collect();
    assert_eq!(dropped, [22, 80, 85, 90]);

    let mut conntrack = vec![0; 160];
    conntrack[146] = 1;
    conntrack[150..152].copy_from_slice(&8u16.to_ne_bytes());
    let rules = Rules::new(vec![vec![named("match", "conntrack", 3, conntrack), drop_it()]]);
    let mut packet = tcp(Some(22));
    packet.tracked.state = Some(8);
    assert!(rules.drops(&packet), "new");
    packet.tracked.state = Some(2);
    assert!(!rules.drops(&packet), "established");

    let strange = Rules::new(vec![vec![named("match", "string", 1, vec![0; 16]), drop_it()]]).run(&tcp(None));
    assert_eq!(strange.end, End::Unknown { gap: Gap::Unseen, what: "xt match \"string\"".into() });
    assert_eq!(strange.rule.unwrap().text, "xt match \"string\" drop");
    let mut nat = 3u32.to_ne_bytes().to_vec();
    for _ in 0..2 {
        nat.extend([10, 0, 0, 2]);
        nat.extend([0; 12]);
    }
    nat.extend([0, 80, 0, 80, 0, 0, 0, 0]);
    let outcome = Rules::new(vec![vec![named("target", "DNAT", 2, nat)]]).run(&tcp(Some(5432)));
    let to = nft::Translation::Target { address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2))), port: Some(80) };
    assert_eq!(outcome.translation, Some(to));
}

/// A host with two guests on its bridge.
fn host() -> Recording {
    let mut host = Host::fake();
    for domid in [5, 6] {
        let vif = format!("mac=00:16:3e:00:00:0{domid},bridge=xenbr0,ip=192.0.2.{domid}").parse().unwrap();
        host.attach(DomId::new(domid).unwrap(), &vif).unwrap();
    }
    host.record(Taken::default(), None, Err(String::new()))
}

fn asked(recording: &Recording, from: &str, to: &str) -> Trace {
    let question = Question::new(recording, from, to, Traffic::Tcp(Some(22)), Some(Family::Ipv4)).unwrap();
    trace(recording, &question)
}

#[test]
fn frames_stay_in_their_vlan() {
    let mut recording = host();
    let name = |text: &str| text.parse::<IfName>().unwrap();
    let vlan = |vid: u16, tagging| PortVlan { vid: Vid::new(vid).unwrap(), tagging, pvid: true };
    let bridge = recording.snapshot.links.get_mut(&name("xenbr0")).unwrap().bridge.as_mut().unwrap();
    bridge.vlan_filtering = Some(true);
    let mut set = |port: &str, vid: u16, tagging| {
        recording.snapshot.port_vlans.insert(name(port), [vlan(vid, tagging)].into());
        recording.clone()
    };
    set("xenbr0", 1, Tagging::Untagged);
    set("eth0", 1, Tagging::Untagged);
    set("vif5.0", 10, Tagging::Untagged);
    let same = set("vif6.0", 10, Tagging::Untagged);
    assert_eq!(asked(&same, "vif5.0", "vif6.0").verdict, Verdict::Delivered);
    let dom0 = asked(&same, "vif5.0", "192.0.2.2");
    assert_eq!((dom0.verdict, dom0.location.as_deref()), (Verdict::Dropped, Some("bridge port xenbr0")), "{dom0}");
    let other = asked(&set("vif6.0", 20, Tagging::Untagged), "vif5.0", "vif6.0");
    assert_eq!(other.location.as_deref(), Some("bridge port vif6.0"));
    assert!(other.why.ends_with("vif6.0 is not in VLAN 10"), "{other}");
    let tagged = asked(&set("vif6.0", 10, Tagging::Tagged), "vif5.0", "vif6.0");
    assert_eq!(tagged.verdict, Verdict::Unknown, "{tagged}");
}

#[test]
fn a_locked_port_and_a_bridge_that_is_down_are_named() {
    let mut recording = host();
    let name = |text: &str| text.parse::<IfName>().unwrap();
    recording.snapshot.links.get_mut(&name("vif5.0")).unwrap().port.as_mut().unwrap().locked = true;
    let locked = asked(&recording, "vif5.0", "vif6.0");
    assert_eq!(locked.location.as_deref(), Some("bridge port vif5.0"));
    assert!(locked.why.contains("the port is locked"), "{locked}");
    let mut recording = host();
    recording.snapshot.links.get_mut(&name("xenbr0")).unwrap().up = false;
    let down = asked(&recording, "vif5.0", "vif6.0");
    assert_eq!((down.verdict, down.location.as_deref()), (Verdict::Dropped, Some("bridge xenbr0")), "{down}");
}

#[test]
fn tables_of_iptables_legacy_make_an_answer_unsure_where_packets_meet_them() {
    let mut recording = host();
    recording.details.legacy.insert("ip filter".into());
    recording.snapshot.sysctls.insert(&"net/bridge/bridge-nf-call-iptables".parse().unwrap(), "0");
    assert_eq!(asked(&recording, "vif5.0", "vif6.0").verdict, Verdict::Delivered, "bridges do not show their frames");
    let local = asked(&recording, "dom0", "vif6.0");
    assert_eq!(
        (local.verdict, local.location.as_deref()),
        (Verdict::Unknown, Some("table ip filter (iptables-legacy)"))
    );
    // What is dropped later is dropped.
    recording.snapshot.links.get_mut(&"vif6.0".parse::<IfName>().unwrap()).unwrap().up = false;
    assert_eq!(asked(&recording, "dom0", "vif6.0").verdict, Verdict::Dropped);
}

#[test]
fn a_table_whose_rules_were_not_recorded_cannot_be_judged() {
    let mut recording = host();
    let base = NftBase { kind: NftChainKind::Filter, hook: NftHook::Forward, priority: 0, policy: NftPolicy::Drop };
    let table = NftTable {
        chains: [("FORWARD".into(), NftChain { base: Some(base), rules: Vec::new() })].into(),
        ..NftTable::default()
    };
    // As the recordings of before had others' tables: base chains alone.
    recording.snapshot.nft.insert(NftTableId::new(NftFamily::Bridge, "filter"), table.clone());
    let told = asked(&recording, "vif5.0", "vif6.0");
    assert_eq!((told.verdict, told.why.as_str()), (Verdict::Unknown, "the recording does not have its rules"));
    recording.details.foreign.insert(NftTableId::new(NftFamily::Bridge, "filter"), table.clone());
    assert_eq!(asked(&recording, "vif5.0", "vif6.0").verdict, Verdict::Dropped);
    let dormant = NftTable { flags: NftTable::DORMANT, ..table };
    recording.details.foreign.insert(NftTableId::new(NftFamily::Bridge, "filter"), dormant);
    assert_eq!(asked(&recording, "vif5.0", "vif6.0").verdict, Verdict::Delivered, "a dormant table does nothing");
}

#[test]
fn a_vif_that_another_toolstack_has_connected_is_known_by_xenstore() {
    let mut recording = host();
    let name = |text: &str| text.parse::<IfName>().unwrap();
    let mut link = recording.snapshot.links[&name("vif6.0")].clone();
    link.index = 77;
    recording.snapshot.links.insert(name("vif7.0"), link);
    if let Some(details) = recording.details.links.get(&name("vif6.0")).cloned() {
        recording.details.links.insert(name("vif7.0"), details);
    }
    let nameless = Question::new(&recording, "vif7.0", "5", Traffic::Icmp, None).unwrap_err();
    assert!(nameless.message().contains("address of vif7.0 is known"), "{nameless}");
    let mut tell = |path: &str, value: &str| {
        recording.store.insert(path.parse().unwrap(), value.into());
    };
    tell("/local/domain/7/name", "mail");
    tell("/local/domain/0/backend/vif/7/0/mac", "00:16:3e:00:00:07");
    tell("/local/domain/0/backend/vif/7/0/ip", "192.0.2.7");
    let told = asked(&recording, "mail", "vif5.0");
    assert_eq!(told.sentence(), "mail reaches vif5.0 tcp/22 as 192.0.2.7");
    assert_eq!(told.answered, Some(true));
    assert_eq!(asked(&recording, "5", "7").sentence(), "domain 5 reaches mail tcp/22 as 192.0.2.5");
}

#[test]
fn what_a_recording_could_not_look_at_makes_an_answer_unsure() {
    let mut recording = host();
    let unseen = |what: &str| Unseen { what: what.into(), why: "denied".into() };
    recording.unseen.push(unseen("counters of wrong checksums"));
    assert_eq!(asked(&recording, "vif5.0", "vif6.0").verdict, Verdict::Delivered, "it decides nothing");
    recording.unseen.push(unseen("other programs' nft tables"));
    let told = asked(&recording, "vif5.0", "vif6.0");
    assert_eq!((told.verdict, told.location.as_deref()), (Verdict::Unknown, Some("other programs' nft tables")));
    assert_eq!(told.why, "the recording does not have other programs' nft tables: denied");
}

#[test]
fn a_domain_with_several_addresses_is_asked_about_where_it_matters() {
    let mut host = Host::fake();
    let mut attach = |domid: u32, spec: &str| {
        host.attach(DomId::new(domid).unwrap(), &spec.parse().unwrap()).unwrap();
    };
    attach(5, "mac=00:16:3e:00:00:05,bridge=xenbr0,ip=192.0.2.5 192.0.2.15");
    attach(6, "mac=00:16:3e:00:00:06,bridge=xenbr0,ip=192.0.2.6");
    let mut recording = host.record(Taken::default(), None, Err(String::new()));
    let ask = |recording: &Recording| Question::new(recording, "5", "6", Traffic::Tcp(Some(22)), None);
    let told = trace(&recording, &ask(&recording).unwrap());
    assert_eq!(told.sentence(), "domain 5 (192.0.2.5) reaches domain 6 tcp/22 as 192.0.2.5");
    let from = NftExpr::eq(NftField::IpSaddr, NftValue::Ipv4(Ipv4Addr::new(192, 0, 2, 15)));
    let is = NftExpr::eq(NftField::EtherType, NftValue::U16(0x0800));
    let base = NftBase { kind: NftChainKind::Filter, hook: NftHook::Forward, priority: 0, policy: NftPolicy::Accept };
    let chain = NftChain { base: Some(base), rules: vec![NftRule::new([is, from, drop_it()])] };
    let table = NftTable { chains: [("forward".into(), chain)].into(), ..NftTable::default() };
    recording.details.foreign.insert(NftTableId::new(NftFamily::Bridge, "mine"), table);
    let refused = ask(&recording).unwrap_err();
    assert_eq!(refused.kind(), crate::ErrorKind::Conflict);
    assert!(
        refused.message().contains("192.0.2.5 to 192.0.2.6: delivered; 192.0.2.15 to 192.0.2.6: dropped"),
        "{refused}"
    );
    assert_eq!(asked(&recording, "192.0.2.15", "6").verdict, Verdict::Dropped);
}

#[test]
fn hardware_addresses_that_nobody_knows_are_not_made_up() {
    let mut recording = host();
    let rule = |mac: [u8; 6]| {
        let base =
            NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: 0, policy: NftPolicy::Accept };
        let exprs = [
            NftExpr::eq(NftField::EtherSaddr, NftValue::Mac(MacAddr::new(mac))),
            NftExpr::eq(NftField::EtherType, NftValue::U16(0x0800)),
            drop_it(),
        ];
        let chain = NftChain { base: Some(base), rules: vec![NftRule::new(exprs)] };
        NftTable { chains: [("pre".into(), chain)].into(), ..NftTable::default() }
    };
    let id = NftTableId::new(NftFamily::Bridge, "mine");
    recording.details.foreign.insert(id.clone(), rule([2, 0, 0, 0, 0, 9]));
    assert_eq!(asked(&recording, "198.51.100.7", "vif6.0").verdict, Verdict::Unknown);
    assert_eq!(asked(&recording, "vif5.0", "vif6.0").verdict, Verdict::Delivered, "a guest's is known");
    // No station sends from the address of a group.
    recording.details.foreign.insert(id, rule([1, 0, 0, 0, 0, 9]));
    assert_eq!(asked(&recording, "198.51.100.7", "vif6.0").verdict, Verdict::Delivered);
}
