//! Killed between any two system calls, then called again, or called for the opposite: the state is that of the last call,
//! exactly, as if nothing had happened.

use std::os::unix::process::ExitStatusExt as _;

use xennet_core::snapshot::{NftTableId, Snapshot};
use xennet_core::step::{NftOp, NftTransaction, Step};
use xennet_tests::in_netns;

use crate::rig::{Rig, apply, guarded, look};
use crate::trace;

const VIF: &str = "vif5.0";
const NODES: [(&str, &str); 5] =
    [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6"), ("vifname", "web0"), ("mtu", "1400")];

/// What changed between two states, but for the rules of the guard, which stay when they are there.
fn changes(from: &Snapshot, to: &Snapshot) -> Vec<String> {
    let all = from.changes(to);
    let all = all.iter().map(ToString::to_string);
    all.filter(|c| !c.contains("nft add ") || c.contains("nft add element")).collect()
}

/// A vif as netback and libxl make it, with nothing known of it, and no guard.
fn fresh(rig: &Rig) {
    let now = look();
    // Its other end, whatever it is called now.
    if now.links.keys().any(|l| l.as_str() == "g5.0") {
        rig.remove("g5.0");
    }
    if now.nft.contains_key(&NftTableId::guard()) {
        apply(Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::DelTable])));
    }
    let _ = std::fs::remove_dir_all(rig.path("state"));
    if rig.node("/local/domain").is_some() {
        rig.forget("/local/domain");
    }
    rig.vif(VIF, &NODES);
}

/// Kills `verb` at each of its system calls in turn, behind the `prepared` calls and before the `next` one.
fn sweep(prepared: &[&str], verb: &str, next: &str) {
    if !trace::is_there() {
        return;
    }
    let rig = Rig::new();
    let prepare = || {
        fresh(&rig);
        for verb in prepared {
            rig.ok(VIF, verb);
        }
    };
    fresh(&rig);
    let new = look();
    rig.ok(VIF, "online");
    let connected = look();
    rig.ok(VIF, "offline");
    let detached = look();
    prepare();
    let (calls, status) = trace::syscalls(&rig, &rig.command(VIF, verb), &[]);
    assert!(status.success(), "{verb}: {status}");
    let places = trace::places(&calls, rig.dir.path());
    assert!(places.len() > 40, "{places:?}");
    let (mut interrupted, mut half) = (0, 0);
    for (call, count) in &places {
        let at = format!("{verb} killed at {call} number {count}, then {next}");
        prepare();
        let before = look();
        // The signal is there before the call is made.
        let inject = format!("inject={call}:signal=KILL:when={count}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let status = trace::traced(&rig.command(VIF, verb), &options).status().unwrap();
        assert!(status.signal() == Some(9) || status.code() == Some(137), "{at}: it was not: {status}");
        interrupted += usize::from(!rig.state().interrupted().unwrap().is_empty());
        half += usize::from(!changes(&before, &look()).is_empty());
        rig.ok(VIF, next);
        if next == "online" {
            assert_eq!(changes(&connected, &look()), [""; 0], "{at}");
            assert_eq!(rig.status(VIF).as_deref(), Some("connected"), "{at}");
            assert_eq!(rig.error(VIF), None, "{at}");
            assert_eq!(rig.node("/local/domain/5/device/vif/0/mtu").as_deref(), Some("1400"), "{at}");
            assert_eq!(rig.state().interrupted().unwrap(), [], "{at}");
            rig.ok(VIF, "offline");
        }
        let now = look();
        assert!(
            changes(&detached, &now).is_empty() || changes(&new, &now).is_empty(),
            "{at}: {:?}",
            changes(&new, &now)
        );
        assert_eq!(guarded(), [""; 0], "{at}");
        assert_eq!(rig.state().interrupted().unwrap(), [], "{at}: nothing stays open");
    }
    println!(
        "{verb}, {next}: killed at each of {} system calls; {interrupted} were interrupted, {half} had changed something",
        places.len()
    );
    assert!(interrupted > 5 && half > 5, "the sweep must have reached the operation");
}

#[test]
fn online_then_online() {
    in_netns("kill::online_then_online", || sweep(&[], "online", "online"));
}

#[test]
fn online_then_offline() {
    in_netns("kill::online_then_offline", || sweep(&[], "online", "offline"));
}

#[test]
fn offline_then_offline() {
    in_netns("kill::offline_then_offline", || sweep(&["online"], "offline", "offline"));
}

#[test]
fn offline_then_online() {
    in_netns("kill::offline_then_online", || sweep(&["online"], "offline", "online"));
}
