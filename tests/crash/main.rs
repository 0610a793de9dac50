//! Killed between any two system calls, then recovered: the state is the one before or the one after, exactly.
//!
//! `strace` kills the command at its first system call, then at its second, and so on until a run is not killed any more.
//! After each kill `xennet recover` has to close the operation.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{IfName, MacAddr};
use xennet_tests::{StateDir, in_netns};

fn program() -> std::ffi::OsString {
    std::env::var_os("XENNET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_xennet").into())
}

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

fn apply(step: Step) {
    Netlink::open().unwrap().apply(&step).unwrap();
}

fn set(link: &str, change: LinkChange) {
    apply(Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change }));
}

/// Two bridges, and a vif as netback makes it.
fn build() {
    for bridge in ["xenbr0", "xenbr1"] {
        let change = LinkChange { mac: Some(MacAddr::new([2, 0, 0, 0, 0, 1])), ..LinkChange::default() };
        apply(Step::Link(LinkStep::Create { name: name(bridge), kind: NewLink::Bridge, change }));
        set(bridge, LinkChange { up: Some(true), ..LinkChange::default() });
    }
    let kind = NewLink::Veth { peer: name("guest") };
    let change = LinkChange { mac: Some(MacAddr::BACKEND), ..LinkChange::default() };
    apply(Step::Link(LinkStep::Create { name: name("vif5.0"), kind, change }));
}

fn clear() {
    let links = look().links;
    for (link, _) in links.iter().filter(|(n, _)| n.as_str() != "lo" && n.as_str() != "guest") {
        apply(Step::Link(LinkStep::Delete { link: LinkRef::named(*link) }));
    }
}

fn look() -> Snapshot {
    Netlink::open().unwrap().observe(&Scope::network()).unwrap()
}

fn xennet(state: &StateDir) -> Command {
    let mut command = Command::new(program());
    command.stdin(Stdio::null()).arg("--state-dir").arg(state.path());
    command
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Kills `arguments` at every system call in turn; `prepared` are commands that are carried out before.
fn sweep(prepared: &[&[&str]], arguments: &[&str]) {
    if Command::new("strace").arg("-V").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "strace is missing, and CI is set");
        eprintln!("skipped: strace is missing (apt-get install strace)");
        return;
    }
    let prepare = |state: &StateDir| {
        build();
        for line in prepared {
            succeed(xennet(state).args(*line));
        }
    };
    let state = StateDir::new();
    prepare(&state);
    succeed(xennet(&state).args(arguments));
    let after = look();
    clear();
    let (mut killed, mut befores, mut afters) = (0, 0, 0);
    for at in 1.. {
        let state = StateDir::new();
        prepare(&state);
        let before = look();
        assert!(!before.changes(&after).is_empty(), "the command must change something");
        let status = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=all", "-e", &format!("inject=all:signal=KILL:when={at}")])
            .arg(program())
            .arg("--state-dir")
            .arg(state.path())
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        succeed(xennet(&state).arg("recover"));
        let now = look();
        let (from_before, from_after) = (before.changes(&now), after.changes(&now));
        assert!(
            from_before.is_empty() || from_after.is_empty(),
            "{arguments:?} killed at system call {at}: neither before nor after\nagainst before:\n{}\nagainst after:\n{}",
            lines(&from_before),
            lines(&from_after),
        );
        befores += usize::from(from_before.is_empty());
        afters += usize::from(from_after.is_empty());
        let open = std::fs::read_dir(state.path())
            .map(|dir| dir.filter(|f| f.as_ref().unwrap().path().extension().is_some_and(|e| e == "journal")).count());
        assert_eq!(open.unwrap_or(0), 0, "no journal stays open");
        // It has to work again afterwards, whatever was left.
        succeed(xennet(&state).args(arguments));
        assert!(after.changes(&look()).is_empty(), "{arguments:?} after the kill at {at}");
        clear();
        if status.signal() != Some(9) && status.code() != Some(137) {
            assert!(status.success(), "strace: {status}");
            break;
        }
        killed += 1;
    }
    println!("{arguments:?}: killed {killed} times; before {befores}, after {afters}");
    assert!(killed > 50 && befores > 10 && afters > 0, "the sweep must have reached the operation");
}

fn lines<T: ToString>(list: &[T]) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn attach() {
    in_netns("attach", || sweep(&[], &["attach", "5", "bridge=xenbr0,vifname=web0,mtu=1400,isolated"]));
}

#[test]
fn change() {
    in_netns("change", || {
        sweep(&[&["attach", "5", "bridge=xenbr0"]], &["attach", "5", "bridge=xenbr1,vifname=web0,mtu=1300"]);
    });
}

#[test]
fn detach() {
    in_netns("detach", || sweep(&[&["attach", "5", "bridge=xenbr0,vifname=web0"]], &["detach", "5"]));
}

#[test]
fn undo() {
    in_netns("undo", || {
        sweep(&[&["attach", "5", "bridge=xenbr0"], &["attach", "5", "bridge=xenbr1,mtu=1300"]], &["undo", "vif5.0"]);
    });
}
