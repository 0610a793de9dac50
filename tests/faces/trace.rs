//! `xennet trace`: the sentence, how much is told, the document, exit statuses, and questions that are refused.

use std::fs;

use serde_json::Value;
use xennet_core::recording::{Recording, Taken};
use xennet_core::snapshot::{
    Family, NftBase, NftChain, NftChainKind, NftExpr, NftFamily, NftField, NftHook, NftPolicy, NftRule, NftTable,
    NftTableId, NftValue, NftVerdict, SysctlKey,
};
use xennet_core::trace::{Question, Traffic, trace};
use xennet_core::{DomId, ErrorKind, Host};
use xennet_tests::StateDir;

use crate::command::{Run, run};

/// A host with two guests on its bridge, and the names of their domains.
fn recording() -> Recording {
    let mut host = Host::fake();
    for (domid, last) in [(5, 5), (6, 6)] {
        let vif = format!("mac=00:16:3e:00:00:0{last},bridge=xenbr0,ip=192.0.2.{last}");
        host.attach(DomId::new(domid).unwrap(), &vif.parse().unwrap()).unwrap();
    }
    let mut recording = host.record(Taken::default(), None, Err("there is none here".into()));
    named(&mut recording, 5, "web01");
    named(&mut recording, 6, "db01");
    recording
}

fn named(recording: &mut Recording, domid: u32, name: &str) {
    recording.store.insert(format!("/local/domain/{domid}/name").parse().unwrap(), name.into());
}

fn base(hook: NftHook, policy: NftPolicy) -> Option<NftBase> {
    Some(NftBase::new(NftChainKind::Filter, hook, 0, policy))
}

fn plant(recording: &mut Recording, id: NftTableId, chains: &[(&str, NftChain)]) {
    let chains = chains.iter().map(|(name, chain)| ((*name).to_owned(), chain.clone())).collect();
    recording.details.foreign.insert(id, NftTable::default().with_chains(chains));
}

/// As docker leaves it, with frames of bridges shown to it.
fn docker(recording: &mut Recording) {
    let forward = NftChain::default().with_base(base(NftHook::Forward, NftPolicy::Drop));
    let user = NftChain::default();
    plant(recording, NftTableId::new(NftFamily::Ip, "filter"), &[("FORWARD", forward), ("DOCKER-USER", user)]);
    let key: SysctlKey = "net/bridge/bridge-nf-call-iptables".parse().unwrap();
    recording.snapshot.sysctls.insert(&key, "1");
}

/// Asks a recorded host.
fn ask(recording: &Recording, arguments: &[&str]) -> Run {
    let state = StateDir::new();
    let file = state.path().join("host.json");
    fs::write(&file, recording.to_json()).unwrap();
    let got = run([&["trace", "--from", file.to_str().unwrap()], arguments].concat());
    // A recording without xenstore says so.
    let stderr = got.stderr.lines().filter(|l| !l.contains("xenstore was not looked at")).map(|l| format!("{l}\n"));
    Run { stderr: stderr.collect(), ..got }
}

#[test]
fn the_first_line_is_the_answer_and_below_it_are_the_hops() {
    let host = recording();
    let got = ask(&host, &["web01", "db01", "tcp", "443"]);
    assert_eq!((got.code, got.stderr.as_str()), (0, ""), "{got:?}");
    let mut lines = got.stdout.lines();
    assert_eq!(lines.next(), Some("web01 reaches db01 tcp/443 as 192.0.2.5"));
    assert_eq!(lines.next(), Some("the packet:"));
    assert!(got.stdout.contains("bridge xenbr0: from port vif5.0 to port vif6.0\n"), "{}", got.stdout);
    assert!(got.stdout.contains("\nits answer:\n  vif6.0: db01 sends from 192.0.2.6 to 192.0.2.5\n"), "{}", got.stdout);
    assert!(!got.stdout.contains("00:16:3e"), "names, no hardware addresses: {}", got.stdout);

    let minimal = ask(&host, &["web01", "db01", "tcp", "443", "--minimal"]);
    assert_eq!((minimal.code, minimal.stdout.as_str()), (0, "web01 reaches db01 tcp/443 as 192.0.2.5\n"));
    let full = ask(&host, &["web01", "db01", "tcp", "443", "--full"]);
    assert!(full.stdout.contains("bridge xennet-guard prerouting: accepted"), "{}", full.stdout);
    assert!(full.stdout.contains("xenbr0: db01 answers for 192.0.2.6"), "{}", full.stdout);
    for line in got.stdout.lines() {
        assert!(full.stdout.contains(line), "{line}");
    }
}

#[test]
fn who_drops_it_is_named_with_table_chain_and_maker() {
    let mut host = recording();
    docker(&mut host);
    let got = ask(&host, &["web01", "db01", "tcp", "443", "--minimal"]);
    let sentence = "web01 does not reach db01 tcp/443: dropped in table ip filter, chain FORWARD, policy drop; dropped by a rule of docker\n";
    assert_eq!((got.code, got.stdout.as_str(), got.stderr.as_str()), (1, sentence, ""));
    assert_eq!(ask(&host, &["5", "dom0", "icmp"]).code, 0, "it does not pass the bridge");
}

#[test]
fn an_answer_that_is_lost_is_told_and_the_verdict_is_about_the_first_packet() {
    let mut host = recording();
    let only = NftRule::new([
        NftExpr::eq(NftField::EtherType, NftValue::U16(0x0800)),
        NftExpr::eq(NftField::IpSaddr, NftValue::Ipv4([192, 0, 2, 6].into())),
        NftExpr::Verdict(NftVerdict::Drop),
    ]);
    let forward = NftChain::default().with_base(base(NftHook::Forward, NftPolicy::Accept)).with_rules(vec![only]);
    plant(&mut host, NftTableId::new(NftFamily::Bridge, "mine"), &[("forward", forward)]);
    let got = ask(&host, &["web01", "db01", "icmp", "--minimal"]);
    assert_eq!(got.code, 0);
    let begin =
        "web01 reaches db01 icmp as 192.0.2.5, but its answer is dropped at table bridge mine, chain forward, rule 1: ";
    assert!(got.stdout.starts_with(begin), "{}", got.stdout);
}

#[test]
fn the_document_has_what_outsiders_rely_on() {
    let mut host = recording();
    let members = |got: &Run| {
        let document: Value = serde_json::from_str(&got.stdout).unwrap_or_else(|e| panic!("{e}: {got:?}"));
        let mut names: Vec<String> = document.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["hops", "source_seen", "verdict", "version", "where", "why"]);
        assert_eq!(document["version"], 1);
        document
    };
    let got = ask(&host, &["web01", "db01", "tcp", "443", "--json"]);
    let document = members(&got);
    assert_eq!((got.code, &document["verdict"], &document["where"]), (0, &"delivered".into(), &Value::Null));
    assert_eq!(document["source_seen"], "192.0.2.5");
    let hop = &document["hops"][0];
    let told = ["direction", "stage", "at", "text", "detail"].map(|name| !hop[name].is_null());
    assert_eq!(told, [true; 5], "{hop}");
    assert!(document["hops"].as_array().unwrap().iter().any(|hop| hop["direction"] == "back"));

    docker(&mut host);
    let got = ask(&host, &["web01", "db01", "tcp", "443", "--json"]);
    let document = members(&got);
    assert_eq!((got.code, &document["verdict"], &document["source_seen"]), (1, &"dropped".into(), &Value::Null));
    assert_eq!(document["where"], "table ip filter, chain FORWARD, policy drop");

    // A rule that nobody can judge decides.
    let limit = NftRule::new([
        NftExpr::Opaque { name: "limit".into(), data: Vec::new() },
        NftExpr::Verdict(NftVerdict::Accept),
    ]);
    let forward = NftChain::default().with_base(base(NftHook::Forward, NftPolicy::Drop)).with_rules(vec![limit]);
    plant(&mut host, NftTableId::new(NftFamily::Ip, "filter"), &[("FORWARD", forward)]);
    let got = ask(&host, &["web01", "db01", "tcp", "443", "--json"]);
    let document = members(&got);
    assert_eq!((got.code, &document["verdict"]), (2, &"unknown".into()));
    assert_eq!(document["where"], "table ip filter, chain FORWARD, rule 1: limit accept");
    assert_eq!(document["why"], "cannot judge this rule: limit");
}

/// Nothing on standard output, and another status than those of answers where the question is about this host.
fn refused(got: &Run, kind: ErrorKind, words: &[&str]) {
    assert_eq!((got.code, got.stdout.as_str()), (i32::from(kind.number()), ""), "{got:?}");
    for word in words {
        assert!(got.stderr.contains(word), "{word}: {got:?}");
    }
}

#[test]
fn a_question_with_two_meanings_is_refused_with_both() {
    let mut host = recording();
    refused(&ask(&host, &["web02", "db01"]), ErrorKind::LinkNotFound, &["\"web02\"", "guests here: db01, web01"]);
    refused(&ask(&host, &["web01", "2001:db8::1"]), ErrorKind::Invalid, &["no IPv6 address of web01 is known"]);
    refused(&ask(&host, &["192.0.2.5", "2001:db8::1"]), ErrorKind::Invalid, &["both ends have to be of one family"]);
    refused(&ask(&host, &["web01", "db01", "sctp"]), ErrorKind::Invalid, &["none of the protocols tcp, udp and icmp"]);
    refused(&ask(&host, &["web01", "db01", "icmp", "8"]), ErrorKind::Invalid, &["icmp has no ports"]);
    refused(&ask(&host, &["web01", "db01", "tcp", "0"]), ErrorKind::Invalid, &["\"0\" is no port"]);
    named(&mut host, 6, "web01");
    let two = ["\"web01\" has 2 meanings: domain 5 by its name, or domain 6 by its name"];
    refused(&ask(&host, &["web01", "dom0"]), ErrorKind::Conflict, &two);
    named(&mut host, 6, "outside");
    refused(
        &ask(&host, &["web01", "outside"]),
        ErrorKind::Conflict,
        &["whoever is behind the uplink, or domain 6 by its name"],
    );
    named(&mut host, 6, "5");
    refused(&ask(&host, &["dom0", "5"]), ErrorKind::Conflict, &["the domain with the id 5, or domain 6 by its name"]);
}

#[test]
fn ports_and_protocols_are_asked_for_where_they_matter() {
    let mut host = recording();
    assert_eq!(ask(&host, &["web01", "db01"]).code, 0, "they do not matter here");
    let https = NftRule::new([
        NftExpr::eq(NftField::L4Proto, NftValue::U8(6)),
        NftExpr::eq(NftField::ThDport, NftValue::U16(443)),
        NftExpr::Verdict(NftVerdict::Drop),
    ]);
    let forward = NftChain::default().with_base(base(NftHook::Forward, NftPolicy::Accept)).with_rules(vec![https]);
    plant(&mut host, NftTableId::new(NftFamily::Bridge, "mine"), &[("forward", forward)]);
    for question in [&["web01", "db01", "tcp"][..], &["web01", "db01"]] {
        let words = ["it depends on the tcp port: table bridge mine, chain forward, rule 1", "tcp PORT"];
        refused(&ask(&host, question), ErrorKind::Conflict, &words);
    }
    assert_eq!(ask(&host, &["web01", "db01", "udp"]).code, 0);
    assert_eq!(ask(&host, &["web01", "db01", "tcp", "443"]).code, 1);
    assert_eq!(ask(&host, &["web01", "db01", "tcp", "80"]).code, 0);
    let icmp = NftRule::new([NftExpr::eq(NftField::L4Proto, NftValue::U8(1)), NftExpr::Verdict(NftVerdict::Drop)]);
    let forward = NftChain::default().with_base(base(NftHook::Forward, NftPolicy::Accept)).with_rules(vec![icmp]);
    plant(&mut host, NftTableId::new(NftFamily::Bridge, "mine"), &[("forward", forward)]);
    refused(
        &ask(&host, &["web01", "db01"]),
        ErrorKind::Conflict,
        &["it depends on the protocol: icmp: dropped", "tcp: delivered"],
    );
}

#[test]
fn a_live_host_is_recorded_first() {
    let state = StateDir::new();
    let dir = state.path().join("state");
    let fake =
        |arguments: &[&str]| run([&["--backend", "fake", "--state-dir", dir.to_str().unwrap()], arguments].concat());
    for domid in ["5", "6"] {
        let vif = format!("mac=00:16:3e:00:00:0{domid},bridge=xenbr0,isolated,ip=192.0.2.{domid}");
        assert_eq!(fake(&["attach", domid, &vif]).code, 0);
    }
    let got = fake(&["trace", "vif5.0", "vif6.0", "udp", "53", "--minimal"]);
    assert_eq!(got.code, 1, "{got:?}");
    let why = "the question of domain 5 (ARP) for 192.0.2.6: the ports vif5.0 and vif6.0 are isolated from each other";
    assert_eq!(got.stdout, format!("vif5.0 does not reach vif6.0 udp/53: dropped at bridge port vif6.0; {why}\n"));
    assert_eq!(fake(&["trace", "vif5.0", "dom0"]).code, 0);
    let help = run(["trace", "--help"]);
    assert!(
        help.stdout.contains("Exit status: 0 if the packet arrives, 1 if it is dropped, 2 if that is not known"),
        "{help:?}"
    );
}

#[test]
fn the_library_says_what_the_command_says() {
    let host = recording();
    let question = Question::new(&host, "web01", "db01", Traffic::Tcp(Some(443)), Some(Family::Ipv4)).unwrap();
    let got = ask(&host, &["web01", "db01", "tcp", "443", "--json"]);
    let document: Value = serde_json::from_str(&trace(&host, &question).to_json()).unwrap();
    assert_eq!(document, serde_json::from_str::<Value>(&got.stdout).unwrap());
    assert_eq!(trace(&host, &question).to_string() + "\n", ask(&host, &["web01", "db01", "tcp", "443"]).stdout);
}
