//! The command on a real kernel where something is missing or forbidden: the exit code names what, a hint says what to do,
//! and the kernel is as before.

use std::process::Command;

use xennet_core::ErrorKind;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewLink, NewMaster, Step};
use xennet_tests::{StateDir, in_netns};

use crate::command::{Run, finish, program};

fn build() {
    let mut kernel = Netlink::open().unwrap();
    let name = |text: &str| text.parse().unwrap();
    let mut link = |text: &str, kind| {
        let made = LinkStep::Create { name: name(text), kind, change: LinkChange::default() };
        kernel.apply(&Step::Link(made)).unwrap();
    };
    for bridge in ["xenbr0", "lan0"] {
        link(bridge, NewLink::Bridge);
    }
    for (vif, guest) in [("vif5.0", "guest5"), ("vif6.0", "guest6")] {
        link(vif, NewLink::Veth { peer: name(guest) });
    }
    let master = Some(NewMaster::Bridge(LinkRef::named(name("lan0"))));
    let change = LinkChange::default().with_master(master);
    kernel.apply(&Step::Link(LinkStep::Set { link: LinkRef::named(name("vif6.0")), change })).unwrap();
}

fn look() -> Snapshot {
    Netlink::open().unwrap().observe(&Scope::network()).unwrap()
}

/// Runs the command behind `wrapper`, in words.
fn run(wrapper: &[&str], state: &StateDir, arguments: &[&str]) -> Run {
    let mut command = match wrapper {
        [] => Command::new(program()),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program());
            command
        }
    };
    command.env_remove("XENNET_STATE_DIR").env_remove("NO_COLOR").stdin(std::process::Stdio::null());
    finish(command.arg("--state-dir").arg(state.path()).args(arguments))
}

#[test]
fn every_kind_has_its_exit_code_and_leaves_the_kernel_alone() {
    in_netns("refusals::every_kind_has_its_exit_code_and_leaves_the_kernel_alone", || {
        build();
        let before = look();
        let state = StateDir::new();
        // Root without a single capability: what an ordinary user is, whatever user runs this test.
        let powerless: &[&str] = &["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
        let cases: &[(&[&str], &[&str], ErrorKind)] = &[
            (&[], &["attach", "9", "bridge=xenbr0"], ErrorKind::LinkNotFound),
            (&[], &["attach", "5", "bridge=nowhere0"], ErrorKind::BridgeNotFound),
            (&[], &["attach", "5"], ErrorKind::Invalid),
            (&[], &["attach", "5", "bridge=guest5"], ErrorKind::NotABridge),
            (&[], &["attach", "5", "bridge=xenbr0,vifname=guest6"], ErrorKind::NameTaken),
            (&[], &["attach", "6", "bridge=xenbr0"], ErrorKind::PortOfOther),
            (&[], &["attach", "5", "bridge=xenbr0,script=vif-openvswitch"], ErrorKind::Unsupported),
            (&[], &["attach", "5", "bridge=xenbr0,mtu=7"], ErrorKind::Invalid),
            (&[], &["undo", "vif5.0"], ErrorKind::NothingToUndo),
            (powerless, &["attach", "5", "bridge=xenbr0"], ErrorKind::Denied),
        ];
        for (wrapper, arguments, kind) in cases {
            let got = run(wrapper, &state, arguments);
            assert_eq!((got.code, got.stdout.as_str()), (i32::from(kind.number()), ""), "{arguments:?}: {got:?}");
            assert!(got.stderr.starts_with("error: "), "{arguments:?}: {got:?}");
            let way_out = got.stderr.contains("\nhint: ") || *kind == ErrorKind::Invalid;
            assert!(way_out && !got.stderr.contains("panicked"), "{arguments:?}: {got:?}");
            assert_eq!(before.changes(&look()), [], "{arguments:?}");
        }
        // Whoever may not change anything may still ask what would be done.
        let plan = run(powerless, &state, &["plan", "attach", "5", "bridge=xenbr0"]);
        assert_eq!(plan.code, 0, "{plan:?}");

        let file = state.path().join("vif5.0.journal");
        std::fs::write(&file, "garbage\n").unwrap();
        for arguments in [&["attach", "5", "bridge=xenbr0"][..], &["detach", "5"], &["undo"], &["recover"], &["show"]] {
            let got = run(&[], &state, arguments);
            assert_eq!(got.code, i32::from(ErrorKind::StateUnusable.number()), "{arguments:?}: {got:?}");
            assert!(got.stderr.contains("vif5.0.journal"), "{arguments:?}: {got:?}");
        }
        std::fs::remove_file(&file).unwrap();
        assert_eq!(before.changes(&look()), []);
        assert_eq!(run(&[], &state, &["attach", "5", "bridge=xenbr0"]).code, 0);
    });
}
