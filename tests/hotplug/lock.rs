//! Waiting for a lock: within the deadline, and for this vif only.

use std::thread;
use std::time::{Duration, Instant};

use xennet_core::VifId;
use xennet_core::exec::Subject;
use xennet_tests::lease::soon;
use xennet_tests::{in_netns, slower};

use crate::rig::{Rig, link, look, name};

#[test]
fn a_vif_that_somebody_holds_hinders_no_other() {
    in_netns("lock::a_vif_that_somebody_holds_hinders_no_other", || {
        let rig = Rig::new();
        let deadline = rig.deadline(1);
        for vif in ["vif5.0", "vif6.0"] {
            rig.vif(vif, &[("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")]);
        }
        let before = look();
        let subject = Subject::Vif(VifId::from_vif_name("vif5.0").unwrap());
        let held = rig.state().hold(subject, Duration::ZERO).unwrap();
        for verb in ["online", "offline"] {
            rig.store.clear_log();
            let start = Instant::now();
            let waiting = thread::scope(|scope| {
                let waiting = scope.spawn(|| (rig.fails("vif5.0", verb), start.elapsed()));
                thread::sleep(deadline / 10);
                rig.ok("vif6.0", "online");
                assert!(start.elapsed() < deadline * 9 / 10, "the other one need not wait: {:?}", start.elapsed());
                rig.ok("vif6.0", "offline");
                waiting.join().unwrap()
            });
            let (got, took) = waiting;
            assert!(took > deadline * 8 / 10 && took < deadline * 5, "{took:?}");
            for part in ["another process has held this lock", "hint: see who holds it: fuser ", "vif5.0.journal"] {
                assert!(got.stderr.contains(part), "{part}: {}", got.stderr);
            }
            let told = rig.error("vif5.0").unwrap();
            assert!(told.starts_with("busy (") && told.contains("fuser"), "{told}");
            assert_eq!(rig.status("vif5.0").as_deref(), Some("error"));
        }
        let now = look();
        let of_vif = |s: &xennet_core::snapshot::Snapshot| s.links[&name("vif5.0")].clone();
        assert_eq!(of_vif(&before), of_vif(&now));
        drop(held);
        rig.ok("vif5.0", "online");
        assert_eq!((link("vif5.0").unwrap().master, rig.error("vif5.0")), (Some(name("xenbr0")), None));
    });
}

/// The lock is held to the last word: what comes next meets what was said.
#[test]
fn a_call_is_over_before_the_next_one_begins() {
    in_netns("lock::a_call_is_over_before_the_next_one_begins", || {
        let rig = Rig::new();
        rig.vif("vif5.0", &[("bridge", "xenbr0")]);
        // The first one fails behind its attach, when the second one is waiting already.
        let hook = rig.path("hooks").join("slow.hook");
        let script = "[ -e \"$0.done\" ] && exit 0\n: >\"$0.done\"";
        std::fs::write(&hook, format!("#!/bin/sh\n{script}\nsleep {}\nexit 1\n", 0.4 * f64::from(slower()))).unwrap();
        std::os::unix::fs::chown(&hook, None, None).unwrap();
        std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        thread::scope(|scope| {
            let first = scope.spawn(|| rig.fails("vif5.0", "online"));
            soon("its hook is called", || rig.path("hooks").join("slow.hook.done").exists());
            let second = scope.spawn(|| rig.ok("vif5.0", "online"));
            let first = first.join().unwrap();
            assert!(first.stderr.contains("state: restored"), "{}", first.stderr);
            second.join().unwrap();
        });
        assert_eq!(link("vif5.0").unwrap().master, Some(name("xenbr0")), "the second one's work stands");
        assert_eq!((rig.status("vif5.0").as_deref(), rig.error("vif5.0")), (Some("connected"), None));
    });
}
