//! One world: its questions, what trace says, and what happens.

use std::time::Duration;

use xennet_core::recording::Recording;
use xennet_core::snapshot::Family;
use xennet_core::trace::{Question, Telling, Trace, Traffic, Verdict, trace};
use xennet_tests::NetNs;

use crate::fire::{Ears, Kind, PORTS, Seen, Shot};
use crate::stage::{Kind as Who, Stage};
use crate::{deeds, firewalls};
use xennet_tests::chance::Chance;

/// What a world told.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) pairs: usize,
    pub(crate) unknown: usize,
    /// How many arrived, and how many of these were answered.
    pub(crate) arrived: usize,
    pub(crate) answered: usize,
    pub(crate) wrong: Vec<String>,
}

const UDP: [u16; 5] = [53, 80, 123, 5353, 20005];

/// How many questions are sent at once.
const QUESTIONS: usize = 110;
/// What is added to the number of a packet that is sent again.
const AGAIN: u32 = 10_000;
/// And how many where each is sent alone.
const FEW: usize = 24;

/// Makes a world, asks, sends and compares.
pub(crate) fn world(chance: &mut Chance, seed: u64) -> Told {
    NetNs::new().unwrap().run(|| here(chance, seed)).unwrap()
}

fn here(chance: &mut Chance, seed: u64) -> Told {
    let mut stage = Stage::new(chance);
    let mut planted = false;
    if chance.percent(75) {
        planted |= firewalls::plant(chance, &mut stage);
    }
    for _ in 0..chance.below(4) {
        deeds::do_one(chance, &mut stage);
    }
    compare(&mut stage, chance, planted, &format!("XENNET_TRACE_SEED={seed}"))
}

/// Asks in a world that is ready.
pub(crate) fn compare(stage: &mut Stage, chance: &mut Chance, planted: bool, name: &str) -> Told {
    let recording = stage.record();
    // Only root may read which tables iptables-legacy has.
    let looked = |what: &str| what == "xenstore" || what == "tables of iptables-legacy";
    assert!(recording.unseen.iter().all(|u| looked(&u.what)), "{:?}", recording.unseen);
    // It has some on every vif.
    let own = recording.snapshot.addresses.iter().map(|a| a.address.ip());
    let own = own.filter(|ip| !ip.is_loopback() && !ip.to_string().starts_with("fe80"));
    if let Some(dom0) = stage.parties.iter_mut().find(|p| p.kind == Who::Dom0) {
        dom0.all = own.collect::<std::collections::BTreeSet<_>>().into_iter().collect();
    }
    let ears = Ears::new(&stage.parties);
    let mut shots: Vec<Shot> =
        (0..QUESTIONS).filter_map(|number| shot(stage, chance, u32::try_from(number).unwrap())).collect();
    let asked: Vec<(String, Traffic, Trace)> = shots.iter().map(|shot| ask(stage, &recording, shot, name)).collect();
    asked.iter().for_each(|(_, _, answer)| xennet_tests::documents::check_text("trace", &answer.to_json()));
    // Who cannot be asked for its hardware address is known to those whom it has asked itself: then each question is put alone.
    let unasked = |a: &Trace| [" (ARP) for ", " (neighbour discovery) for "].iter().any(|w| a.sentence().contains(w));
    let seen = if asked.iter().any(|(_, _, a)| unasked(a)) {
        shots.truncate(FEW);
        let one = |shot: &Shot| {
            stage.forget_neighbours();
            ears.fire(std::slice::from_ref(shot), Duration::from_millis(200) * xennet_tests::slower())
        };
        shots.iter().flat_map(one).collect()
    } else {
        ears.fire(&shots, Duration::from_millis(450) * xennet_tests::slower())
    };
    let mut told = Told::default();
    if std::env::var_os("XENNET_TRACE_LOOK").is_some() {
        look(stage);
    }
    for (shot, (sender, traffic, answer)) in shots.iter().zip(&asked) {
        // Of a link that is down IPv6 addresses are gone.
        let is_dom0 = stage.parties.iter().any(|p| p.kind == Who::Dom0 && p.addresses.contains(&shot.target));
        if is_dom0 && !recording.snapshot.addresses.iter().any(|a| a.address.ip() == shot.target) {
            continue;
        }
        let mut seen = seen[&shot.number];
        let more = answer.verdict == Verdict::Delivered
            && (seen.arrived.is_none() || (answer.answered == Some(true) && !seen.answered));
        if more {
            // A machine with much else to do may be late: once more, as another connection, and with patience.
            let again = Shot { number: shot.number + AGAIN, ..shot.clone() };
            stage.forget_neighbours();
            seen =
                ears.fire(std::slice::from_ref(&again), Duration::from_secs(2) * xennet_tests::slower())[&again.number];
        }
        told.pairs += 1;
        told.arrived += usize::from(seen.arrived.is_some());
        told.answered += usize::from(seen.answered);
        if answer.verdict == Verdict::Unknown {
            told.unknown += 1;
            if planted {
                continue;
            }
        }
        let right = match answer.verdict {
            Verdict::Delivered => {
                seen.arrived.map(|a| a.1) == answer.source_seen
                    && answer.answered.is_none_or(|answered| answered == seen.answered)
                    && (planted || answer.answered.is_some())
            }
            Verdict::Dropped => seen == Seen::default(),
            Verdict::Unknown => false,
        };
        if !right {
            let saw = match seen.arrived {
                None => "nothing arrives".to_owned(),
                Some((who, ip)) => {
                    format!("{} gets it from {ip}, answered: {}", stage.parties[who].name, seen.answered)
                }
            };
            told.wrong.push(format!(
                "{name}: {sender} ({}) to {} {traffic}\n  the kernel: {saw}\n  trace: {}\n  networks {:?}; {}\n",
                shot.source,
                shot.target,
                answer.text(Telling::Full).replace('\n', "\n    "),
                stage.networks,
                stage.story.join("\n  ")
            ));
        }
    }
    told
}

/// Puts a question to the recording.
fn ask(stage: &Stage, recording: &Recording, shot: &Shot, name: &str) -> (String, Traffic, Trace) {
    let traffic = match shot.kind {
        Kind::Tcp => Traffic::Tcp(Some(shot.port)),
        Kind::Udp => Traffic::Udp(Some(shot.port)),
        Kind::Icmp => Traffic::Icmp,
    };
    let from = &stage.parties[shot.from];
    let sender = match from.kind {
        Who::Lan | Who::Behind => from.name.clone(),
        Who::Dom0 | Who::Outside => shot.source.to_string(),
    };
    let family = Some(Family::of(&shot.target));
    let question = Question::new(recording, &sender, &shot.target.to_string(), traffic, family);
    let question = question.unwrap_or_else(|e| panic!("{name}: {sender} to {}: {}", shot.target, e.report()));
    let answer = trace(recording, &question);
    (sender, traffic, answer)
}

/// A question: somebody, somebody else, and what.
fn shot(stage: &Stage, chance: &mut Chance, number: u32) -> Option<Shot> {
    let parties = &stage.parties;
    let (from, to) = (chance.below(parties.len()), chance.below(parties.len()));
    let v4 = chance.percent(50);
    let of_family = |who: usize| {
        let all = parties[who].addresses.iter().copied().filter(|a| a.is_ipv4() == v4);
        all.collect::<Vec<_>>()
    };
    let (sources, targets) = (of_family(from), of_family(to));
    if from == to && parties[from].kind != Who::Dom0 || sources.is_empty() || targets.is_empty() {
        return None;
    }
    let target = *chance.one(&targets);
    let kinds = (parties[from].kind, parties[to].kind);
    // A guest of the LAN reaches what is behind dom0 by a router outside, of which a recording knows nothing.
    let on_lan =
        |a: &std::net::IpAddr| a.to_string().starts_with("192.168.0.") || a.to_string().starts_with("2001:db8::");
    let by_router = kinds.0 == Who::Lan && matches!(kinds.1, Who::Behind | Who::Dom0) && !on_lan(&target);
    let source = match parties[from].kind {
        Who::Dom0 => source_of_dom0(target)?,
        _ => *chance.one(&sources),
    };
    let back_by_router = kinds.1 == Who::Lan && kinds.0 == Who::Behind && !on_lan(&source);
    if by_router || back_by_router {
        return None;
    }
    if kinds.0 == Who::Dom0 && kinds.1 == Who::Dom0 && source.is_ipv6() != target.is_ipv6() {
        return None;
    }
    let kind = *chance.one(&[Kind::Tcp, Kind::Tcp, Kind::Udp, Kind::Udp, Kind::Icmp]);
    let port = if kind == Kind::Tcp { *chance.one(&PORTS) } else { *chance.one(&UDP) };
    Some(Shot { number, from, source, target, kind, port })
}

/// What dom0 would send from; the kernel says.
fn source_of_dom0(target: std::net::IpAddr) -> Option<std::net::IpAddr> {
    let any = if target.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = std::net::UdpSocket::bind(any).ok()?;
    socket.connect((target, 53)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// What a person looks at who wants to know why.
fn look(stage: &Stage) {
    println!("{}", stage.story.join("\n"));
    for line in [
        "ip neigh",
        "ip -6 neigh",
        "ip rule",
        "ip route",
        "ip -6 route",
        "ip addr",
        "bridge link",
        "nft list ruleset",
        "cat /proc/net/netstat",
        "cat /proc/net/snmp",
    ] {
        let mut words = line.split_whitespace();
        let output = std::process::Command::new(words.next().unwrap()).args(words).output().unwrap();
        println!("# {line}\n{}", String::from_utf8_lossy(&output.stdout));
    }
}
