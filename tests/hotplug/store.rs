//! xenstored in trouble: whatever it does, a vif is connected and told so, or it is as it was before.

use std::thread;
use std::time::{Duration, Instant};

use xennet_core::error::Errno;
use xennet_core::xenstore::server::Fault;
use xennet_core::xenstore::wire::Kind;
use xennet_tests::{in_netns, slower};

use crate::rig::{Rig, guarded, link, name, run};

/// One request for each node, the guest's MTU, the status; a transaction of four for a failure.
const REQUESTS: u32 = 20;

/// What matters of a vif: its link's bridge, whether it is up, its MTU, and what the guard has of it.
fn state(vif: &str, other: &str) -> (Option<String>, bool, u32, usize) {
    let (which, link) = match link(vif) {
        Some(link) => (vif, link),
        None => (other, link(other).unwrap()),
    };
    let guard = guarded().iter().filter(|l| l.contains(&format!("\"{which}\""))).count();
    (link.master.map(|m| m.to_string()), link.up, link.mtu, guard)
}

fn vif(rig: &Rig, number: u32) -> (String, String) {
    let (vif, other) = (format!("vif{number}.0"), format!("web{number}"));
    let mut nodes = vec![("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6"), ("mtu", "1400")];
    if number.is_multiple_of(2) {
        nodes.push(("vifname", &other));
    }
    rig.vif(&vif, &nodes);
    (vif, other)
}

/// One `online` amid faults, on a host whose bridge is there; then one without, and `offline` amid the same faults.
fn amid(faults: &[Fault], number: u32) -> bool {
    let mut rig = Rig::bare();
    let deadline = rig.deadline(1);
    let (vif, other) = vif(&rig, number);
    let before = state(&vif, &other);
    rig.store.set_faults(faults.to_vec());
    let start = Instant::now();
    let got = rig.call(&vif, "online");
    let took = start.elapsed();
    let at = format!("{faults:?}, took {took:?}: {}", got.stderr);
    // Its own time, half a second for each of the last words, and what a busy machine adds.
    assert!(took < deadline * 4, "{at}");
    let now = state(&vif, &other);
    let connected = (Some("xenbr0".to_owned()), true, 1400, 6);
    if got.code == Some(0) {
        assert_eq!(now, connected, "{at}");
        assert_eq!(rig.status(&vif).as_deref(), Some("connected"), "{at}");
    } else {
        assert_eq!((got.code, &now), (Some(1), &before), "{at}");
        assert!(got.stderr.starts_with("vif-bridge: error: ") && got.stderr.contains("xenstore"), "{at}");
        assert!(got.stderr.contains("hint: "), "{at}");
        let told = rig.error(&vif).is_some() && rig.status(&vif).as_deref() == Some("error");
        let deaf = |fault: &Fault| {
            matches!(fault, Fault::Die { .. } | Fault::Silent { .. } | Fault::Slow(_) | Fault::NoAccept)
        };
        assert!(told || faults.iter().any(deaf), "who can be told is told: {at}");
        assert!(told || got.stderr.contains("the reason could not be written to xenstore"), "{at}");
    }
    assert_eq!(rig.state().interrupted().unwrap(), [], "{at}");
    // The daemon is back, with or without its memory.
    if faults.iter().any(|f| matches!(f, Fault::Die { .. })) {
        rig.restart_store();
        rig.nodes(&vif, &[("bridge", "xenbr0"), ("mtu", "1400"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")]);
        if number.is_multiple_of(2) {
            rig.store
                .tree(|t| t.set(&format!("/local/domain/0/backend/vif/{number}/0/vifname"), other.as_bytes()))
                .unwrap();
        }
    }
    rig.store.set_faults(Vec::new());
    rig.ok(&vif, "online");
    assert_eq!((state(&vif, &other), rig.error(&vif)), (connected, None), "{at}");
    assert_eq!(rig.node(&format!("/local/domain/{number}/device/vif/0/mtu")).as_deref(), Some("1400"), "{at}");
    rig.store.set_faults(faults.to_vec());
    rig.store.clear_log();
    rig.ok(&vif, "offline");
    assert_eq!(rig.store.log(), [], "offline asks xenstore for nothing");
    let (master, up, _, guard) = state(&vif, &other);
    assert_eq!((master, up, guard), (None, false, 0), "{at}");
    got.code == Some(0)
}

/// The fault behind each number of requests. Each on a host of its own, a few at the same time, as some wait in vain.
fn at_each_request(fault: fn(u32) -> Fault) {
    let bridge = Rig::new();
    let some = |first: u32| (first..REQUESTS).step_by(4).filter(|after| amid(&[fault(*after)], after + 1)).count();
    let good: usize = thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|first| scope.spawn(move || some(first))).collect();
        all.into_iter().map(|t| t.join().unwrap()).sum()
    });
    drop(bridge);
    println!("{:?}: {good} of {REQUESTS} connected", fault(0));
    assert!(good > 0 && good < REQUESTS as usize, "the sweep must have reached the end of the call");
}

#[test]
fn it_dies_at_each_request() {
    in_netns("store::it_dies_at_each_request", || at_each_request(|after| Fault::Die { after }));
}

#[test]
fn it_falls_silent_at_each_request() {
    in_netns("store::it_falls_silent_at_each_request", || at_each_request(|after| Fault::Silent { after }));
}

#[test]
fn it_answers_nonsense_at_each_request() {
    in_netns("store::it_answers_nonsense_at_each_request", || at_each_request(|after| Fault::Garbage { after }));
}

#[test]
fn it_breaks_off_at_each_request() {
    in_netns("store::it_breaks_off_at_each_request", || at_each_request(|after| Fault::Truncate { after }));
}

#[test]
fn it_refuses_each_request() {
    in_netns("store::it_refuses_each_request", || {
        at_each_request(|after| Fault::RefuseNth { after, errno: Errno::ENOSPC });
    });
}

#[test]
fn it_is_slow_or_refuses_the_end() {
    in_netns("store::it_is_slow_or_refuses_the_end", || {
        let _bridge = Rig::new();
        let refuse = |kind, path: &str, errno| Fault::Refuse { kind, path: path.into(), errno };
        let cases = [
            (vec![Fault::Slow(Duration::from_millis(20) * slower())], true),
            (vec![Fault::Slow(Duration::from_millis(150) * slower())], false),
            (vec![Fault::NoAccept], false),
            (vec![refuse(Kind::Read, "", Errno::EACCES)], false),
            (vec![refuse(Kind::Write, "/local/domain/", Errno::EACCES)], true),
            (vec![refuse(Kind::Write, "/local/domain/", Errno::ENOSPC)], false),
            (vec![refuse(Kind::Write, "/local/domain/", Errno::ENOSPC), Fault::Conflicts(3)], false),
            (vec![Fault::RefuseNth { after: 10, errno: Errno::EACCES }], false),
        ];
        for (number, (faults, good)) in (1..).zip(cases) {
            assert_eq!(amid(&faults, number), good, "{faults:?}");
        }
    });
}

#[test]
fn a_guest_that_cannot_be_told_its_mtu_is_a_note() {
    in_netns("store::a_guest_that_cannot_be_told_its_mtu_is_a_note", || {
        let rig = Rig::new();
        let (vif, _) = vif(&rig, 1);
        let path = "/local/domain/".into();
        rig.store.set_faults(vec![Fault::Refuse { kind: Kind::Write, path, errno: Errno::EACCES }]);
        let got = rig.ok(&vif, "online");
        assert!(got.stderr.contains("note: the guest was not told its MTU of 1400"), "{}", got.stderr);
        assert_eq!(rig.status(&vif).as_deref(), Some("connected"));
    });
}

#[test]
fn what_was_connected_stays_so_when_it_cannot_be_said_again() {
    in_netns("store::what_was_connected_stays_so_when_it_cannot_be_said_again", || {
        let rig = Rig::new();
        let (vif, other) = vif(&rig, 1);
        rig.ok(&vif, "online");
        let before = state(&vif, &other);
        rig.store.set_faults(vec![Fault::RefuseNth { after: 13, errno: Errno::ENOSPC }]);
        let got = rig.fails(&vif, "online");
        assert!(got.stderr.contains("state: the vif is connected as before"), "{}", got.stderr);
        assert_eq!(state(&vif, &other), before);
        // Onto another bridge: that is taken back.
        rig.bridge("br-b", 1500);
        rig.nodes(&vif, &[("bridge", "br-b")]);
        rig.store.set_faults(vec![Fault::RefuseNth { after: 13, errno: Errno::ENOSPC }]);
        let got = rig.fails(&vif, "online");
        assert!(got.stderr.contains("state: restored"), "{}", got.stderr);
        assert_eq!(state(&vif, &other), before);
    });
}

#[test]
fn without_xenstored_the_error_names_where_it_was_looked_for() {
    in_netns("store::without_xenstored_the_error_names_where_it_was_looked_for", || {
        let rig = Rig::new();
        let (vif, other) = vif(&rig, 1);
        rig.ok(&vif, "online");
        rig.ok(&vif, "offline");
        let before = state(&vif, &other);
        let nowhere = rig.path("nowhere");
        let cases = [
            ("XENSTORED_PATH", vec![nowhere.join("socket")]),
            ("XENSTORED_RUNDIR", vec![nowhere.join("socket"), "/dev/xen/xenbus".into(), "/proc/xen/xenbus".into()]),
        ];
        for (variable, places) in cases {
            let value = if variable == "XENSTORED_PATH" { &places[0] } else { &nowhere };
            let call = |verb: &str| run(rig.command(&vif, verb).env_remove("XENSTORED_PATH").env(variable, value));
            let got = call("online");
            assert_eq!(got.code, Some(1));
            for place in &places {
                assert!(got.stderr.contains(place.to_str().unwrap()), "{place:?}: {}", got.stderr);
            }
            assert!(got.stderr.contains("hint: is xenstored running"), "{}", got.stderr);
            assert_eq!(state(&vif, &other), before);
            assert_eq!(call("offline").code, Some(0));
        }
    });
}

#[test]
fn a_reason_is_written_again_when_others_write_too() {
    in_netns("store::a_reason_is_written_again_when_others_write_too", || {
        let rig = Rig::new();
        rig.vif("vif5.0", &[("bridge", "xenbr7")]);
        rig.store.set_faults(vec![Fault::Conflicts(5)]);
        rig.fails("vif5.0", "online");
        assert!(rig.error("vif5.0").unwrap().contains("xenbr7"));
        assert_eq!(rig.status("vif5.0").as_deref(), Some("error"));
        assert_eq!(link("vif5.0").unwrap().master, None);
        rig.store.set_faults(Vec::new());
        rig.nodes("vif5.0", &[("bridge", "xenbr0")]);
        rig.ok("vif5.0", "online");
        assert_eq!(link("vif5.0").unwrap().master, Some(name("xenbr0")));
    });
}
