//! Killed between any two system calls, then called again, or called for the opposite: the state is that of the last call,
//! exactly, as if nothing had happened.

use std::os::unix::process::ExitStatusExt as _;
use std::time::{Duration, Instant};

use xennet_core::hotplug::log::{Filter, Outcome, read_calls};
use xennet_core::snapshot::{NftTableId, Snapshot};
use xennet_core::step::{NftOp, NftTransaction, Step};
use xennet_tests::in_netns;

use crate::rig::{Rig, apply, gated, guarded, look, nat_network, routed_network};
use crate::trace;

const VIF: &str = "vif5.0";
const NODES: [(&str, &str); 5] =
    [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6"), ("vifname", "web0"), ("mtu", "1400")];
/// Both families, of a network with subnets.
const ROUTED: [(&str, &str); 4] =
    [("mac", "00:16:3e:01:02:03"), ("ip", "10.1.0.5 fd00:1::5"), ("vifname", "web0"), ("mtu", "1400")];

/// What changed between two states, but for the rules of the guard, which stay when they are there.
fn changes(from: &Snapshot, to: &Snapshot) -> Vec<String> {
    let all = from.changes(to);
    let all = all.iter().map(ToString::to_string);
    all.filter(|c| !c.contains("nft add ") || c.contains("nft add element")).collect()
}

/// A vif as netback and libxl make it, with nothing known of it, and none of our tables.
fn fresh(rig: &Rig) {
    fresh_for(rig, "vif-bridge");
}

fn fresh_for(rig: &Rig, script: &str) {
    let now = look();
    // Its other end, whatever it is called now.
    if now.links.keys().any(|l| l.as_str() == "g5.0") {
        rig.remove("g5.0");
    }
    for table in [NftTableId::guard(), NftTableId::gate()] {
        if now.nft.contains_key(&table) {
            apply(Step::Nft(NftTransaction::new(table, vec![NftOp::DelTable])));
        }
    }
    let _ = std::fs::remove_dir_all(rig.path("state"));
    if rig.node("/local/domain").is_some() {
        rig.forget("/local/domain");
    }
    match script {
        "vif-bridge" => rig.vif(VIF, &NODES),
        script => {
            rig.started(&if script == "vif-nat" { nat_network("lan") } else { routed_network("dmz") });
            rig.vif(VIF, &ROUTED);
        }
    }
}

fn sweep(prepared: &[&str], verb: &str, next: &str) {
    sweep_of("vif-bridge", prepared, verb, next);
}

/// Kills `verb` at each of its system calls in turn, behind the `prepared` calls and before the `next` one.
fn sweep_of(script: &str, prepared: &[&str], verb: &str, next: &str) {
    if !trace::is_there() {
        return;
    }
    let rig = Rig::new();
    let prepare = || {
        fresh_for(&rig, script);
        for verb in prepared {
            rig.ok_of(script, VIF, verb);
        }
    };
    fresh_for(&rig, script);
    let new = look();
    rig.ok_of(script, VIF, "online");
    let connected = look();
    rig.ok_of(script, VIF, "offline");
    let detached = look();
    prepare();
    let (calls, status) = trace::syscalls(&rig, &rig.command_of(script, VIF, verb), &[]);
    assert!(status.success(), "{verb}: {status}");
    let places = trace::places(&calls, rig.dir.path());
    assert!(places.len() > 40, "{places:?}");
    let (mut interrupted, mut half, mut killed) = (0, 0, 0);
    for (call, count) in &places {
        let at = format!("{verb} killed at {call} number {count}, then {next}");
        prepare();
        let before = look();
        // The signal is there before the call is made.
        let inject = format!("inject={call}:signal=KILL:when={count}");
        let options = ["-o", "/dev/null", "-e", &format!("trace={call}"), "-e", &inject];
        let status = trace::traced(&rig.command_of(script, VIF, verb), &options).status().unwrap();
        assert!(status.signal() == Some(9) || status.code() == Some(137), "{at}: it was not: {status}");
        interrupted += usize::from(!rig.state().interrupted().unwrap().is_empty());
        half += usize::from(!changes(&before, &look()).is_empty());
        let calls = read_calls(rig.state().path(), &Filter::default(), 100).unwrap();
        let seen = calls.len() > prepared.len();
        let last = calls.last().map(|call| (call.verb.as_str(), call.outcome));
        assert!(
            !seen || matches!(last, Some((v, Outcome::Killed | Outcome::Connected | Outcome::Detached)) if v == verb),
            "{at}: {last:?}"
        );
        assert!(
            seen || (rig.state().interrupted().unwrap().is_empty() && changes(&before, &look()).is_empty()),
            "{at}"
        );
        killed += usize::from(seen && last.is_some_and(|(_, outcome)| outcome == Outcome::Killed));
        rig.ok_of(script, VIF, next);
        if next == "online" {
            assert_eq!(changes(&connected, &look()), [""; 0], "{at}");
            assert_eq!(rig.status(VIF).as_deref(), Some("connected"), "{at}");
            assert_eq!(rig.error(VIF), None, "{at}");
            assert_eq!(rig.node("/local/domain/5/device/vif/0/mtu").as_deref(), Some("1400"), "{at}");
            assert_eq!(rig.state().interrupted().unwrap(), [], "{at}");
            rig.ok_of(script, VIF, "offline");
        }
        let now = look();
        assert!(
            changes(&detached, &now).is_empty() || changes(&new, &now).is_empty(),
            "{at}: {:?}",
            changes(&new, &now)
        );
        assert_eq!((guarded(), gated()), (vec![], vec![]), "{at}");
        assert_eq!(rig.state().interrupted().unwrap(), [], "{at}: nothing stays open");
    }
    println!(
        "{script} {verb}, {next}: killed at each of {} system calls; {interrupted} were interrupted, {half} had changed something, {killed} \
         are in the log as killed",
        places.len()
    );
    assert!(killed > places.len() / 2, "{killed} of {}", places.len());
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

#[test]
fn online_then_online_in_nat_mode() {
    in_netns("kill::online_then_online_in_nat_mode", || sweep_of("vif-nat", &[], "online", "online"));
}

#[test]
fn offline_then_offline_in_nat_mode() {
    in_netns("kill::offline_then_offline_in_nat_mode", || sweep_of("vif-nat", &["online"], "offline", "offline"));
}

#[test]
fn online_then_offline_routed() {
    in_netns("kill::online_then_offline_routed", || sweep_of("vif-route", &[], "online", "offline"));
}

/// The processes that this one has started and that still live, by name: "vif-bridge".
fn children(of: u32) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
        // It may have ended since.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let (name, rest) = stat.split_once('(').and_then(|(_, s)| s.rsplit_once(')')).unwrap();
        let mut rest = rest.split_whitespace();
        let (state, parent) = (rest.next().unwrap(), rest.next().unwrap());
        if parent == of.to_string() && state != "Z" {
            found.push((pid, name.to_owned()));
        }
    }
    found
}

fn until<T>(what: &str, look: impl Fn() -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The copy that closes the netfilter socket holds nothing that anybody needs, and does not outlive the call for long.
#[test]
fn the_copy_that_closes_is_killed_or_left_alone() {
    in_netns("kill::the_copy_that_closes_is_killed_or_left_alone", || {
        if !trace::is_there() {
            return;
        }
        let rig = Rig::new();
        for deed in ["the copy is killed", "the call is killed", "both are killed"] {
            fresh(&rig);
            rig.ok(VIF, "online");
            // The call is held up at its very end, so that the copy waits for it.
            let options =
                ["-o", "/dev/null", "-e", "trace=exit_group", "-e", "inject=exit_group:delay_enter=1500000:when=1"];
            let mut strace = trace::traced(&rig.command(VIF, "offline"), &options).spawn().unwrap();
            let one = |of: u32| children(of).into_iter().find(|(_, name)| name == "vif-bridge").map(|(pid, _)| pid);
            let call = until("the call", || one(strace.id()));
            let copy = until("its copy", || one(call));
            let kill = |pid: u32| {
                let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
            };
            if deed != "the call is killed" {
                kill(copy);
            }
            if deed != "the copy is killed" {
                kill(call);
            }
            let status = strace.wait().unwrap();
            assert_eq!(status.success(), deed == "the copy is killed", "{deed}: {status}");
            until("the end of both", || {
                let gone = |pid: u32| !std::path::Path::new(&format!("/proc/{pid}/exe")).exists();
                (gone(call) && gone(copy)).then_some(())
            });
            assert_eq!(guarded(), [""; 0], "{deed}");
            assert_eq!(rig.state().interrupted().unwrap(), [], "{deed}");
            let start = Instant::now();
            rig.ok(VIF, "online");
            assert!(start.elapsed() < Duration::from_secs(5), "{deed}: it holds no lock");
            assert_eq!(guarded().len(), 6, "{deed}");
            rig.ok(VIF, "offline");
        }
    });
}
