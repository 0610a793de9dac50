//! A call ends within its budget, whatever is held or hangs, with its reason in `hotplug-error` and the log.

use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use xennet_core::NatNetwork;
use xennet_core::VifId;
use xennet_core::exec::Subject;
use xennet_core::hotplug::log::{CallRecord, Filter, Outcome, read_calls};
use xennet_tests::in_netns;

use crate::rig::{Rig, link, look, nat, outside, program, run, subnets};

const VIF: &str = "vif5.0";

fn calls(rig: &Rig) -> Vec<CallRecord> {
    read_calls(rig.state().path(), &Filter::default(), 100).unwrap()
}

/// The last call failed with these words: in the log, and in the store with the status.
#[track_caller]
fn told(rig: &Rig, words: &str) {
    let reason = rig.error(VIF).unwrap();
    assert!(reason.contains(words), "{words}: {reason}");
    assert_eq!(rig.status(VIF).as_deref(), Some("error"));
    let all = calls(rig);
    let last = all.last().unwrap();
    assert!(last.outcome == Outcome::Error && last.error.as_ref().unwrap().message.contains(words), "{last:?}");
}

/// The lock is free when the call begins, and held when the link has come that it waited for: what is left is little.
#[test]
fn a_lock_that_is_taken_while_the_link_is_waited_for_has_what_is_left() {
    in_netns("budget::a_lock_that_is_taken_while_the_link_is_waited_for_has_what_is_left", || {
        let rig = Rig::new();
        rig.settings("deadline = 4");
        rig.nodes(VIF, &[("bridge", "xenbr0")]);
        let start = Instant::now();
        thread::scope(|scope| {
            let call = scope.spawn(|| (rig.fails(VIF, "online"), start.elapsed()));
            // It has let the lock go for as long as it waits.
            thread::sleep(Duration::from_millis(1500));
            let subject = Subject::Vif(VifId::from_vif_name(VIF).unwrap());
            let _held = rig.state().hold(subject, Duration::from_secs(20)).unwrap();
            thread::sleep(Duration::from_millis(1500));
            rig.link(VIF);
            let (_, took) = call.join().unwrap();
            // With the whole time for each of the two it would be seven seconds.
            assert!(took < Duration::from_millis(6500), "{took:?}");
        });
        told(&rig, "another process has held this lock");
        assert_eq!(link(VIF).unwrap().master, None);
    });
}

/// Who serves a network is asked to note the guest, and somebody holds that lock.
#[test]
fn the_lock_of_a_networks_services_is_waited_for_within_the_call() {
    in_netns("budget::the_lock_of_a_networks_services_is_waited_for_within_the_call", || {
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        let mut served = NatNetwork::new();
        served.subnets = subnets(&["10.1.0.0/24", "fd00:1::/64"]);
        served.services.dhcp = true;
        rig.started(&nat("lan", served));
        rig.vif(VIF, &[("mac", "00:16:3e:01:02:03"), ("ip", "10.1.0.5"), ("bridge", "lan")]);
        for verb in ["online", "offline"] {
            rig.ok_of("vif-nat", VIF, verb);
        }
        let before = look();
        let places = ["state-services", "state/networks"].map(|dir| rig.path(dir).join("lan.d/lock"));
        let lock = || {
            let file = File::options().write(true).open(places.iter().find(|place| place.exists()).unwrap()).unwrap();
            file.lock().unwrap();
            file
        };
        let held = lock();
        rig.settings("deadline = 2");
        let start = Instant::now();
        rig.fails_of("vif-nat", VIF, "online");
        // Each of the two waits of its own would be 15 s.
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        told(&rig, "lan.d/lock: another process has held this lock");
        assert_eq!(before.changes(&look()), []);
        drop(held);
        rig.ok_of("vif-nat", VIF, "online");
        let held = lock();
        let start = Instant::now();
        rig.fails_of("vif-nat", VIF, "offline");
        assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
        told(&rig, "lan.d/lock: another process has held this lock");
        drop(held);
        rig.ok_of("vif-nat", VIF, "offline");
    });
}

/// In dom0 hooks have a time of their own. In a driver domain dom0 waits for all of it together, and not long.
#[test]
fn in_a_driver_domain_the_hooks_of_a_removal_have_what_the_call_leaves() {
    in_netns("budget::in_a_driver_domain_the_hooks_of_a_removal_have_what_the_call_leaves", || {
        let rig = Rig::new();
        rig.settings("deadline = 1\nhook_deadline = 8");
        let hook = rig.path("hooks").join("50-slow.hook");
        std::fs::write(&hook, "#!/bin/sh\n[ \"$1\" = offline ] || exit 0\necho waiting\nsleep 2\n").unwrap();
        std::fs::set_permissions(&hook, std::fs::Permissions::from_mode(0o755)).unwrap();
        for (path, ends) in [
            ("backend/vif/5/0", true),
            ("/local/domain/0/backend/vif/5/0", true),
            ("/local/domain/3/backend/vif/5/0", false),
        ] {
            if link(VIF).is_none() {
                rig.vif(VIF, &[("bridge", "xenbr0")]);
            }
            rig.ok(VIF, "online");
            let got = run(rig.command(VIF, "offline").env("XENBUS_PATH", path));
            assert_eq!(got.code, Some(i32::from(!ends)), "{path}: {}", got.stderr);
            assert_eq!(got.stderr.contains("50-slow.hook was not done when the hooks'"), !ends, "{}", got.stderr);
            assert_eq!(link(VIF).unwrap().master, None, "{path}");
            let last = calls(&rig).pop().unwrap();
            assert_eq!((last.verb.as_str(), last.outcome == Outcome::Detached), ("offline", ends), "{last:?}");
        }
    });
}

/// A call that waits for a link which does not come, once it has said that it began.
fn waiting(rig: &Rig) -> Child {
    rig.settings("deadline = 20");
    rig.nodes(VIF, &[("bridge", "xenbr0")]);
    let known = calls(rig).len();
    let child = rig.command(VIF, "online").spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while calls(rig).len() == known {
        assert!(Instant::now() < end, "it never said that it began");
        thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
fn a_call_that_is_killed_while_it_waits_leaves_a_trace() {
    in_netns("budget::a_call_that_is_killed_while_it_waits_leaves_a_trace", || {
        let rig = Rig::new();
        let log = |words: &[&str]| {
            let output =
                Command::new(program()).arg("log").args(words).arg("--state-dir").arg(rig.path("state")).output();
            String::from_utf8(output.unwrap().stdout).unwrap()
        };
        for signal in [Signal::KILL, Signal::TERM] {
            let mut child = waiting(&rig);
            assert!(log(&["--last", "1"]).contains("online vif5.0: under way\n"), "{}", log(&[]));
            assert!(!log(&["--failed", "--last", "1"]).contains("under way"));
            kill_process(Pid::from_child(&child), signal).unwrap();
            child.wait().unwrap();
            for words in [&["--last", "1"][..], &["--failed", "--last", "1"], &["--vif", VIF, "--last", "1"]] {
                let told = log(words);
                assert!(told.contains("online vif5.0: began and never ended: it was killed\n"), "{told}");
                assert!(told.contains(&format!("by vif-bridge[{}] for backend/vif/5/0", child.id())), "{told}");
            }
        }
        rig.settings("");
        rig.link(VIF);
        rig.ok(VIF, "online");
        let outcomes: Vec<Outcome> = calls(&rig).iter().map(|call| call.outcome).collect();
        assert_eq!(outcomes, [Outcome::Killed, Outcome::Killed, Outcome::Connected]);
    });
}
