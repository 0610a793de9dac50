//! Many hotplug calls at once: each succeeds, none waits for long, and in the end there is what the calls said, and nothing
//! else.
//!
//! `XENNET_CROWD_SECONDS` says how long the crowd goes on; by default some seconds.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[allow(dead_code, reason = "the other target that uses it needs more of it")]
#[path = "../hotplug/rig.rs"]
mod rig;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::plan::Plan;
use xennet_core::snapshot::{Change, NftKey, NftTableId, NftValue};
use xennet_core::step::{LinkChange, LinkStep, NewLink, NftOp, NftTransaction, Step};
use xennet_core::{DomId, Host};
use xennet_tests::in_netns;

use rig::{Dice, Rig, Run, apply, gated, guarded, link, look, name, nat_network, outside, path_of, set};

const VIFS: usize = 100;
const WORKERS: u64 = 8;

/// One of the crowd's vifs, number 1 to 100: plain, with addresses, renamed, or all of it.
struct Vif {
    made: String,
    link: String,
    guard: usize,
    mtu: u32,
}

impl Vif {
    fn new(number: usize) -> Self {
        let made = format!("vif{number}.0");
        let (link, guard, mtu) = match number % 4 {
            0 => (made.clone(), 0, 1500),
            1 => (made.clone(), 6, 1500),
            2 => (format!("web{number}"), 0, 1400),
            _ => (format!("web{number}"), 7, 1400),
        };
        Vif { made, link, guard, mtu }
    }

    fn build(&self, rig: &Rig, number: usize) {
        let mac = format!("00:16:3e:00:00:{number:02x}");
        let ip = match self.guard {
            6 => format!("192.0.2.{number}"),
            _ => format!("192.0.2.{number} 198.51.100.0/24"),
        };
        let mut nodes = vec![("bridge", "xenbr0"), ("mac", mac.as_str())];
        if self.guard > 0 {
            nodes.push(("ip", &ip));
        }
        if self.link != self.made {
            nodes.extend([("vifname", self.link.as_str()), ("mtu", "1400")]);
        }
        rig.vif(&self.made, &nodes);
    }
}

/// Makes the call, which must be quick, say nothing that is an error, and succeed.
#[track_caller]
fn quick(rig: &Rig, vif: &str, verb: &str) -> (Run, Duration) {
    let start = Instant::now();
    let got = rig.call(vif, verb);
    let took = start.elapsed();
    assert_eq!(got.code, Some(0), "{verb} {vif}: {}", got.stderr);
    assert!(!got.stderr.contains("error"), "{verb} {vif}: {}", got.stderr);
    assert!(took < Duration::from_secs(5), "{verb} {vif} took {took:?}");
    (got, took)
}

#[test]
fn a_crowd_comes_and_goes() {
    in_netns("a_crowd_comes_and_goes", || {
        let seconds = std::env::var("XENNET_CROWD_SECONDS").map_or(6, |s| s.parse().unwrap());
        let rig = Rig::new();
        let vifs: Vec<Vif> = (1..=VIFS).map(Vif::new).collect();
        (1..).zip(&vifs).for_each(|(number, vif)| vif.build(&rig, number));
        // Which of them nobody calls at the moment, and whether it is attached.
        let idle: Mutex<Vec<(usize, bool)>> = Mutex::new((0..VIFS).map(|at| (at, false)).collect());
        let end = Instant::now() + Duration::from_secs(seconds);
        let work = |worker: u64| {
            let mut dice = Dice(worker);
            let (mut calls, mut longest) = (0_u32, Duration::ZERO);
            while Instant::now() < end {
                let (at, attached) = {
                    let mut idle = idle.lock().unwrap();
                    let which = dice.below(idle.len() as u64) as usize;
                    idle.swap_remove(which)
                };
                let vif = &vifs[at].made;
                if attached {
                    // As netback does.
                    rig.store
                        .tree(|t| t.set(&format!("/local/domain/0/{}/hotplug-status", path_of(vif)), b""))
                        .unwrap();
                }
                let (_, took) = quick(&rig, vif, if attached { "offline" } else { "online" });
                (calls, longest) = (calls + 1, longest.max(took));
                idle.lock().unwrap().push((at, !attached));
            }
            (calls, longest)
        };
        let (calls, longest) = thread::scope(|scope| {
            let all: Vec<_> = (1..=WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
            let all = all.into_iter().map(|t| t.join().unwrap());
            all.fold((0, Duration::ZERO), |(a, b), (c, d)| (a + c, b.max(d)))
        });
        let attached: BTreeSet<usize> =
            idle.into_inner().unwrap().into_iter().filter(|(_, a)| *a).map(|(n, _)| n).collect();
        println!(
            "{calls} calls in {seconds} s by {WORKERS} at once, {} a second, none failed, the longest took {longest:?}; {} vifs stay",
            u64::from(calls) / seconds.max(1),
            attached.len()
        );
        let now = look();
        let recorded = rig.state().records().unwrap();
        for (at, vif) in vifs.iter().enumerate() {
            let is = attached.contains(&at);
            let link = now.links.get(&name(&vif.link)).or_else(|| now.links.get(&name(&vif.made))).unwrap();
            assert_eq!((link.master.is_some(), link.up), (is, is), "{}", vif.made);
            let elements = guarded_of(&now.render(), vif);
            assert_eq!(elements, if is { vif.guard } else { 0 }, "{}", vif.made);
            let owned =
                recorded.iter().find(|(s, _)| s.to_string() == vif.made).is_some_and(|(_, e)| e.owned_link().is_some());
            assert_eq!(owned, is, "{}", vif.made);
            assert_eq!(rig.status(&vif.made).as_deref() == Some("connected"), is, "{}", vif.made);
            assert_eq!(rig.error(&vif.made), None);
            if is {
                // The bridge's own falls to that of its smallest port.
                assert!(link.mtu == vif.mtu || (vif.mtu == 1500 && link.mtu == 1400), "{}: {}", vif.made, link.mtu);
                let told = rig.node(&format!("/local/domain/{}/device/vif/0/mtu", at + 1)).unwrap();
                assert_eq!(told, link.mtu.to_string(), "{}", vif.made);
                assert!(now.links.contains_key(&name(&vif.link)), "{}", vif.link);
            }
        }
        assert_eq!(now.ports(&name("xenbr0")).count(), attached.len());
        assert_eq!(
            guarded().len(),
            attached.iter().map(|at| vifs[*at].guard).sum::<usize>(),
            "nothing else is in the guard"
        );
        assert_eq!(rig.state().interrupted().unwrap(), []);
        the_guard_was_made_once(&rig);
        assert!(u64::from(calls) > seconds * 5, "a crowd, and not a queue");
        for vif in &vifs {
            quick(&rig, &vif.made, "offline");
        }
        assert_eq!((look().ports(&name("xenbr0")).count(), guarded().len()), (0, 0));
    });
}

/// Whoever finds the guard's rules half made, makes them anew; nobody may find them so.
#[track_caller]
fn the_guard_was_made_once(rig: &Rig) {
    let mut again = Vec::new();
    for list in ["calls.log.1", "calls.log"] {
        let text = std::fs::read_to_string(rig.path("state").join(list)).unwrap_or_default();
        again.extend(text.lines().filter(|l| l.contains("emptied")).map(str::to_owned));
    }
    assert!(again.is_empty(), "{} times, first {}", again.len(), again[0]);
}

fn guarded_of(text: &str, vif: &Vif) -> usize {
    let named = |line: &&str| [&vif.made, &vif.link].iter().any(|n| line.contains(&format!("\"{n}\"")));
    text.lines().filter(|l| l.starts_with("nft add element")).filter(named).count()
}

/// Starts these calls at the same moment, and waits for all.
fn at_once(rig: &Rig, calls: &[(&str, &str)]) {
    let barrier = Barrier::new(calls.len());
    thread::scope(|scope| {
        for (vif, verb) in calls {
            let barrier = &barrier;
            scope.spawn(move || {
                barrier.wait();
                quick(rig, vif, verb);
            });
        }
    });
}

#[test]
fn calls_for_one_vif_follow_each_other() {
    in_netns("calls_for_one_vif_follow_each_other", || {
        let rig = Rig::new();
        let vif = Vif::new(3);
        vif.build(&rig, 3);
        quick(&rig, &vif.made, "online");
        let connected = look();
        quick(&rig, &vif.made, "offline");
        let detached = look();
        let (mut ons, mut offs) = (0, 0);
        for round in 0..25 {
            let calls: &[(&str, &str)] = match round % 3 {
                0 => &[("vif3.0", "online"), ("vif3.0", "online")],
                1 => &[("vif3.0", "online"), ("vif3.0", "offline")],
                _ => &[("vif3.0", "offline"), ("vif3.0", "online"), ("vif3.0", "offline"), ("vif3.0", "online")],
            };
            at_once(&rig, calls);
            // The record tells which one had the lock last.
            let records = rig.state().records().unwrap();
            let last_is_on = records.values().next().is_some_and(|entry| entry.owned_link().is_some());
            let expected = if last_is_on { &connected } else { &detached };
            let left: Vec<Change> = expected.changes(&look());
            assert_eq!(left, [], "round {round}: {calls:?}, and online was last: {last_is_on}");
            assert_eq!(guarded().len(), if last_is_on { vif.guard } else { 0 });
            assert_eq!(rig.status(&vif.made).as_deref(), Some("connected"), "it was so once in each round");
            assert_eq!(rig.error(&vif.made), None);
            assert_eq!(rig.state().interrupted().unwrap(), []);
            if last_is_on {
                ons += 1
            } else {
                offs += 1
            }
            assert!(last_is_on || round % 3 != 0);
            rig.nodes(&vif.made, &[("bridge", "xenbr0")]);
        }
        println!("online was last {ons} times, offline {offs} times");
    });
}

#[test]
fn the_first_guarded_ones_come_together() {
    in_netns("the_first_guarded_ones_come_together", || {
        let rig = Rig::new();
        let names: Vec<String> = (1..=12).map(|n| format!("vif{n}.0")).collect();
        for (number, vif) in names.iter().enumerate() {
            let ip = format!("192.0.2.{}", number + 1);
            rig.vif(vif, &[("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", &ip)]);
        }
        for _ in 0..6 {
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "online")).collect();
            at_once(&rig, &calls);
            assert_eq!((guarded().len(), look().ports(&name("xenbr0")).count()), (72, 12));
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "offline")).collect();
            at_once(&rig, &calls);
            assert_eq!((guarded().len(), look().ports(&name("xenbr0")).count()), (0, 0));
            apply(Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::DelTable])));
        }
        assert_eq!(rig.state().interrupted().unwrap(), []);
    });
}

/// The same of the table that NAT and routed guests go through.
#[test]
fn the_first_hidden_ones_come_together() {
    in_netns("the_first_hidden_ones_come_together", || {
        let rig = Rig::new();
        outside(&rig, "eth0", "192.0.2.1/24");
        rig.started(&nat_network("lan"));
        let names: Vec<String> = (1..=12).map(|n| format!("vif{n}.0")).collect();
        for (number, vif) in names.iter().enumerate() {
            let ip = format!("10.1.0.{0} fd00:1::1{0}", number + 1);
            rig.vif(vif, &[("bridge", "lan"), ("mac", "00:16:3e:01:02:03"), ("ip", &ip)]);
        }
        for _ in 0..6 {
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "online")).collect();
            at_once(&rig, &calls);
            assert_eq!(gated().len(), 12 * 6);
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "offline")).collect();
            at_once(&rig, &calls);
            assert_eq!(gated(), [""; 0]);
            apply(Step::Nft(NftTransaction::new(NftTableId::gate(), vec![NftOp::DelTable])));
        }
        assert_eq!(rig.state().interrupted().unwrap(), []);
    });
}

/// A bridge whose MAC follows its ports changes it while they come and go: that is nobody's failure.
#[test]
fn several_vifs_of_one_domain_on_a_bridge_of_no_fixed_mac() {
    in_netns("several_vifs_of_one_domain_on_a_bridge_of_no_fixed_mac", || {
        let rig = Rig::bare();
        let kind = NewLink::Bridge;
        apply(Step::Link(LinkStep::Create { name: name("xenbr0"), kind, change: LinkChange::default() }));
        set("xenbr0", LinkChange::default().with_up(true));
        let names: Vec<String> = (0..8).map(|n| format!("vif5.{n}")).collect();
        for round in 0..6 {
            for (n, vif) in names.iter().enumerate() {
                let (web, ip) = (format!("web{n}"), format!("192.0.2.{}", n + 1));
                let mut nodes = vec![("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", ip.as_str())];
                if n % 2 == 0 {
                    nodes.extend([("vifname", web.as_str()), ("mtu", "1400")]);
                }
                rig.vif(vif, &nodes);
            }
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "online")).collect();
            at_once(&rig, &calls);
            assert_eq!(look().ports(&name("xenbr0")).count(), 8, "round {round}");
            for vif in &names {
                assert_eq!(rig.status(vif).as_deref(), Some("connected"), "round {round}");
            }
            // One domain ends: netback takes some of them away, and the calls come at the same time.
            (0..8).step_by(3).for_each(|n| rig.remove(&format!("g5.{n}")));
            let calls: Vec<(&str, &str)> = names.iter().map(|vif| (vif.as_str(), "offline")).collect();
            at_once(&rig, &calls);
            assert_eq!((guarded().len(), look().ports(&name("xenbr0")).count()), (0, 0), "round {round}");
            for n in (0..8).filter(|n| n % 3 != 0) {
                rig.remove(&format!("g5.{n}"));
            }
            at_once(&rig, &calls);
            assert_eq!(rig.state().recorded().unwrap(), [], "round {round}");
            assert!(link("xenbr0").is_some_and(|l| l.up));
        }
    });
}

/// The kernel lists rules bit by bit. Whoever reads them while others add and remove elements, or try in vain to make the guard
/// that is there, must not take them for anything else than they are.
#[test]
fn the_rules_of_the_guard_are_read_whole() {
    in_netns("the_rules_of_the_guard_are_read_whole", || {
        let rig = Rig::new();
        rig.link("vif1.0");
        let plan = |ip: &str| {
            let vif = format!("bridge=xenbr0,mac=00:16:3e:01:02:03,ip={ip}").parse().unwrap();
            let mut host = Host::netlink().unwrap().with_state_dir(rig.state());
            host.plan_attach(DomId::new(1).unwrap(), &vif).unwrap()
        };
        let guard = |plan: &Plan| match &plan.steps()[0].step {
            Step::Nft(transaction) => transaction.clone(),
            other => panic!("{other}"),
        };
        let make = guard(&plan("192.0.2.1"));
        apply(Step::Nft(make.clone()));
        // As long as it takes on a machine that does much else; at least so long that all of them are at it.
        let (begun, reads) = (Instant::now(), AtomicU32::new(0));
        let goes_on = || {
            let few = reads.load(Ordering::Relaxed) <= 100 && begun.elapsed() < Duration::from_secs(60);
            few || begun.elapsed() < Duration::from_secs(3)
        };
        let write = |number: usize| {
            let mut on = Netlink::open().unwrap();
            let ip = format!("198.51.100.{number}");
            let add = guard(&plan(&ip));
            let of_ip = NftValue::Ipv4(ip.parse().unwrap());
            let (set, key) = elements(&add).find(|(_, key)| key.first.contains(&of_ip)).unwrap();
            let del = NftTransaction::new(NftTableId::guard(), vec![NftOp::DelElements { set, keys: vec![key] }]);
            while goes_on() {
                if number == 1 {
                    assert!(on.apply(&Step::Nft(make.clone())).is_err(), "there is one");
                } else {
                    // A removal gives up where others never stop, and then there is nothing to add.
                    let _ = on.apply(&Step::Nft(add.clone()));
                    let _ = on.apply(&Step::Nft(del.clone()));
                }
            }
        };
        let read = || {
            while goes_on() {
                let plan = plan("192.0.2.1").to_string();
                assert!(!plan.contains("emptied"), "{plan}");
                reads.fetch_add(1, Ordering::Relaxed);
            }
        };
        thread::scope(|scope| {
            let write = &write;
            (1..=3).for_each(|number| drop(scope.spawn(move || write(number))));
            (0..3).for_each(|_| drop(scope.spawn(read)));
        });
        let reads = reads.into_inner();
        println!("the guard was read {reads} times");
        assert!(reads > 100);
    });
}

fn elements(transaction: &NftTransaction) -> impl Iterator<Item = (String, NftKey)> {
    let all = transaction.ops.iter().filter_map(|op| match op {
        NftOp::AddElements { set, elements } => Some(elements.iter().map(|(key, _)| (set.clone(), key.clone()))),
        _ => None,
    });
    all.flatten()
}
