//! `nft flush ruleset` between two calls, and in the middle of them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use xennet_tests::lease::command;
use xennet_tests::{in_netns, slower};

use crate::rig::{Rig, gated, guarded, nat_network, outside};

fn flush() {
    let output = command("nft", &["flush", "ruleset"]).output().unwrap_or_else(|e| panic!("nft: {e}"));
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Ends the flushes, also when a call has failed.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A host with a guest on a bridge and one behind NAT, both connected.
fn host() -> Rig {
    let rig = Rig::new();
    outside(&rig, "eth0", "192.0.2.1/24");
    rig.started(&nat_network("lan"));
    rig.vif("vif1.0", &[("bridge", "xenbr0"), ("mac", "00:16:3e:00:00:01"), ("ip", "192.0.2.6")]);
    rig.ok("vif1.0", "online");
    rig.vif("vif2.0", &[("bridge", "lan"), ("mac", "00:16:3e:00:00:02"), ("ip", "10.1.0.200")]);
    rig.ok_of("vif-nat", "vif2.0", "online");
    rig
}

#[test]
fn the_next_call_puts_back_what_all_others_have_lost() {
    in_netns("flushed::the_next_call_puts_back_what_all_others_have_lost", || {
        let rig = host();
        let before = (guarded(), gated());
        assert!(!before.0.is_empty() && !before.1.is_empty());
        flush();
        assert_eq!((guarded().len(), gated().len()), (0, 0));
        rig.vif("vif3.0", &[("bridge", "xenbr0"), ("mac", "00:16:3e:00:00:03"), ("ip", "192.0.2.7")]);
        rig.ok("vif3.0", "online");
        let now = (guarded(), gated());
        let lost = |before: &[String], now: &[String]| before.iter().filter(|l| !now.contains(l)).count();
        assert_eq!((lost(&before.0, &now.0), lost(&before.1, &now.1)), (0, 0), "{now:?}");
        let log = std::fs::read_to_string(rig.path("xen-hotplug.log")).unwrap();
        assert!(log.contains("put back"), "the call says so: {log}");
        // What somebody has made dormant does nothing: nobody is connected by it.
        let output = command("nft", &["add table bridge xennet-guard { flags dormant; }"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        rig.ok("vif1.0", "online");
        let output = command("nft", &["list", "table", "bridge", "xennet-guard"]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(text.contains("xennet-guard") && !text.contains("dormant"), "{text}");
    });
}

#[test]
fn no_call_fails_because_of_a_flush_in_its_middle() {
    in_netns("flushed::no_call_fails_because_of_a_flush_in_its_middle", || {
        let rig = host();
        let (done, flushes, calls) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    flush();
                    flushes.fetch_add(1, Ordering::Relaxed);
                    // Not in step with the calls.
                    let pause = Duration::from_millis(3 + flushes.load(Ordering::Relaxed) as u64 % 7);
                    std::thread::sleep(pause * slower());
                }
            });
            let _ends = Ends(&done);
            let rig = &rig;
            for number in 4..24 {
                let vif = format!("vif{number}.0");
                let mac = format!("00:16:3e:00:00:{number:02x}");
                let (script, bridge, ip) = match number % 2 {
                    0 => ("vif-bridge", "xenbr0", format!("192.0.2.{number}")),
                    _ => ("vif-nat", "lan", format!("10.1.0.{number}")),
                };
                rig.vif(&vif, &[("bridge", bridge), ("mac", &mac), ("ip", &ip)]);
                for verb in ["online", "online", "offline", "online"] {
                    rig.ok_of(script, &vif, verb);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
                assert_eq!(rig.status(&vif).as_deref(), Some("connected"));
            }
        });
        println!("{} calls, {} flushes", calls.load(Ordering::Relaxed), flushes.load(Ordering::Relaxed));
        // The last flush has taken all: the next call for each table finds everybody.
        rig.ok("vif1.0", "online");
        rig.ok_of("vif-nat", "vif2.0", "online");
        let of = |vif: &str, all: &[String]| all.iter().any(|l| l.contains(&format!("\"{vif}\"")));
        for number in (4..24).chain([1, 2]) {
            let (vif, all) = (
                format!("vif{number}.0"),
                if number % 2 == 0 && number != 2 || number == 1 { guarded() } else { gated() },
            );
            assert!(of(&vif, &all), "{vif}: {all:?}");
        }
    });
}
