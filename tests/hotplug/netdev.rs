//! Links that come late, never, or go at any moment; bridges that go.

use std::os::unix::process::ExitStatusExt as _;
use std::thread;
use std::time::{Duration, Instant};

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::step::{LinkRef, LinkStep, Step};
use xennet_tests::lease::patience;
use xennet_tests::{in_netns, slower};

use crate::rig::{Dice, Rig, guarded, link, name};
use crate::trace;

const VIF: &str = "vif5.0";
const NODES: [(&str, &str); 3] = [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")];

/// Removes a link, if it is still there.
fn vanish(which: &str) {
    let _ = Netlink::open().unwrap().apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name(which)) }));
}

/// Nothing of this vif is left: not in the guard, not open in the journal. Another call that found no table puts back what all guests
/// had in it, and takes out again before it ends who has gone meanwhile: that is waited for.
#[track_caller]
fn nothing_is_left(rig: &Rig, vif: &str, other: &str, at: &str) {
    let of_vif = |line: &String| [vif, other].iter().any(|name| line.contains(&format!("\"{name}\"")));
    let mut left = Vec::new();
    let until = Instant::now() + patience();
    while Instant::now() < until {
        left = guarded().into_iter().filter(of_vif).collect();
        if left.is_empty() {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(left, [""; 0], "{at}");
    let open = rig.state().interrupted().unwrap();
    assert!(!open.iter().any(|s| s.to_string() == vif), "{at}: {open:?}");
}

#[test]
fn a_link_that_comes_late_is_waited_for_and_not_asked_for() {
    in_netns("netdev::a_link_that_comes_late_is_waited_for_and_not_asked_for", || {
        let rig = Rig::new();
        // As it is without settings, but on a machine that is slower.
        let deadline = rig.deadline(10);
        for (vif, part) in [("vif1.0", 50), ("vif2.0", 10)] {
            let late = deadline / part;
            rig.nodes(vif, &NODES);
            let start = Instant::now();
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(late);
                    rig.link(vif);
                });
                rig.ok(vif, "online");
                let took = start.elapsed();
                // No sooner than the link, and long before the deadline.
                assert!(took >= late && took < deadline * 6 / 10, "{took:?}");
            });
            assert_eq!(
                (link(vif).unwrap().master, rig.status(vif).as_deref()),
                (Some(name("xenbr0")), Some("connected"))
            );
        }
        if !trace::is_there() {
            return;
        }
        rig.nodes("vif3.0", &NODES);
        let (calls, status) = thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(deadline * 7 / 100);
                rig.link("vif3.0");
            });
            trace::syscalls(&rig, &rig.command("vif3.0", "online"), &[])
        });
        assert!(status.success());
        let polls = calls.iter().filter(|c| c.name.contains("sleep") || c.name.contains("timer")).count();
        assert_eq!(polls, 0, "nobody sleeps and looks again");
        assert!(calls.len() < 400, "{}", trace::counts(&calls));
    });
}

#[test]
fn a_link_that_never_comes_is_told_in_time() {
    in_netns("netdev::a_link_that_never_comes_is_told_in_time", || {
        let rig = Rig::new();
        rig.settings("deadline = 1");
        rig.nodes(VIF, &NODES);
        let start = Instant::now();
        let got = rig.fails(VIF, "online");
        let took = start.elapsed();
        assert!(took > Duration::from_millis(800) && took < Duration::from_millis(5000), "{took:?}");
        assert!(got.stderr.contains("none has come within 875 ms") && got.stderr.contains("hint: "), "{}", got.stderr);
        let told = rig.error(VIF).unwrap();
        assert!(told.contains("vif5.0") && told.contains("none has come within 875 ms"), "{told}");
        assert_eq!(rig.status(VIF).as_deref(), Some("error"));
        nothing_is_left(&rig, VIF, VIF, "never came");
        rig.ok(VIF, "offline");
    });
}

/// Calls each of many vifs several times while something else happens; `away` is what goes, after a time.
fn amid(rig: &Rig, verb: &str, away: fn(u64) -> String, prepare: impl Fn(&Rig, u64) + Sync) {
    let rounds = |vif_number: u64| {
        let mut dice = Dice(vif_number);
        let (vif, other) = (format!("vif{vif_number}.0"), format!("web{vif_number}"));
        let (mut good, mut bad) = (0, 0);
        for round in 0..7 {
            prepare(rig, vif_number);
            if verb == "offline" {
                rig.ok(&vif, "online");
            }
            // A call takes some milliseconds in all.
            let pause = Duration::from_micros(dice.below(12_000)) * slower();
            let got = thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(pause);
                    vanish(&away(vif_number));
                });
                rig.call(&vif, verb)
            });
            let at = format!("{verb} {vif}, round {round}, {} gone after {pause:?}: {}", away(vif_number), got.stderr);
            match got.code {
                Some(0) => good += 1,
                Some(1) if verb == "online" => {
                    bad += 1;
                    assert!(got.stderr.starts_with("vif-bridge: error: "), "{at}");
                    assert_eq!(rig.status(&vif).as_deref(), Some("error"), "{at}");
                    assert!(rig.error(&vif).is_some_and(|e| e.contains("hint: ")), "{at} {:?}", rig.error(&vif));
                    nothing_is_left(rig, &vif, &other, &at);
                }
                _ => panic!("{at}"),
            }
            let after = rig.call(&vif, "offline");
            assert_eq!(after.code, Some(0), "{at} then offline: {}", after.stderr);
            nothing_is_left(rig, &vif, &other, &at);
            vanish(&format!("g{vif_number}.0"));
            rig.ok(&vif, "offline");
            rig.forget(&format!("/local/domain/0/backend/vif/{vif_number}"));
        }
        (good, bad)
    };
    let (good, bad) = thread::scope(|scope| {
        let threads: Vec<_> = (1..=8).map(|n| scope.spawn(move || rounds(n))).collect();
        threads.into_iter().map(|t| t.join().unwrap()).fold((0, 0), |(a, b), (c, d)| (a + c, b + d))
    });
    println!("{verb}: {good} good, {bad} told why not");
    assert_eq!(rig.state().recorded().unwrap(), [], "nothing is remembered of them");
}

/// A vif of its own, half of them renamed, on a bridge.
fn vif_on(rig: &Rig, number: u64, bridge: &str) {
    let (vif, other, ip) = (format!("vif{number}.0"), format!("web{number}"), format!("192.0.2.{number}"));
    let mut nodes = vec![("bridge", bridge), ("mac", "00:16:3e:01:02:03"), ("ip", &ip)];
    if number.is_multiple_of(2) {
        nodes.extend([("vifname", other.as_str()), ("mtu", "1400")]);
    }
    rig.vif(&vif, &nodes);
}

#[test]
fn a_link_goes_while_it_is_connected() {
    in_netns("netdev::a_link_goes_while_it_is_connected", || {
        let rig = Rig::new();
        rig.deadline(1);
        amid(&rig, "online", |n| format!("g{n}.0"), |rig, n| vif_on(rig, n, "xenbr0"));
    });
}

#[test]
fn a_link_goes_while_it_is_disconnected() {
    in_netns("netdev::a_link_goes_while_it_is_disconnected", || {
        let rig = Rig::new();
        rig.deadline(1);
        amid(&rig, "offline", |n| format!("g{n}.0"), |rig, n| vif_on(rig, n, "xenbr0"));
    });
}

#[test]
fn a_bridge_goes_while_a_vif_joins_it() {
    in_netns("netdev::a_bridge_goes_while_a_vif_joins_it", || {
        let rig = Rig::bare();
        rig.deadline(1);
        amid(
            &rig,
            "online",
            |n| format!("br{n}"),
            |rig, n| {
                rig.bridge(&format!("br{n}"), 1500);
                vif_on(rig, n, &format!("br{n}"));
            },
        );
    });
}

#[test]
fn a_bridge_goes_while_a_vif_leaves_it() {
    in_netns("netdev::a_bridge_goes_while_a_vif_leaves_it", || {
        let rig = Rig::bare();
        rig.deadline(1);
        amid(
            &rig,
            "offline",
            |n| format!("br{n}"),
            |rig, n| {
                rig.bridge(&format!("br{n}"), 1500);
                vif_on(rig, n, &format!("br{n}"));
            },
        );
    });
}

/// The way back from an interrupted call leads to a bridge that is no more.
#[test]
fn a_bridge_goes_after_a_call_was_killed() {
    in_netns("netdev::a_bridge_goes_after_a_call_was_killed", || {
        if !trace::is_there() {
            return;
        }
        let rig = Rig::bare();
        let mut open = 0;
        for verb in ["online", "offline"] {
            for count in 1..60 {
                let at = format!("{verb} killed at sendto number {count}");
                rig.bridge("br-a", 1500);
                rig.bridge("br-b", 1500);
                vif_on(&rig, 6, "br-a");
                rig.ok("vif6.0", "online");
                if verb == "online" {
                    rig.nodes("vif6.0", &[("bridge", "br-b"), ("vifname", "web6")]);
                }
                let inject = format!("inject=sendto:signal=KILL:when={count}");
                let options = ["-o", "/dev/null", "-e", "trace=sendto", "-e", &inject];
                let status = trace::traced(&rig.command("vif6.0", verb), &options).status().unwrap();
                open += usize::from(!rig.state().interrupted().unwrap().is_empty());
                rig.remove("br-a");
                let got = rig.call("vif6.0", "offline");
                assert_eq!(got.code, Some(0), "{at}: {}", got.stderr);
                nothing_is_left(&rig, "vif6.0", "web6", &at);
                let web = link("web6").unwrap_or_else(|| panic!("{at}: it keeps its name"));
                assert_eq!((web.master, web.up), (None, false), "{at}");
                ["g6.0", "br-b"].iter().for_each(|which| rig.remove(which));
                rig.ok("vif6.0", "offline");
                rig.forget("/local/domain/0/backend");
                if status.success() {
                    break;
                }
                assert!(status.signal() == Some(9) || status.code() == Some(137), "{at}: {status}");
            }
        }
        assert!(open > 5, "the sweep must have reached the operation");
    });
}
