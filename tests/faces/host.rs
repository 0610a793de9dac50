//! The commands that change a host: on the model of the kernel that a state directory keeps, and in the sandbox.

use xennet_core::ErrorKind;
use xennet_tests::StateDir;

use crate::command::{Run, finish, run, xennet};

const SPEC: &str = "mac=00:16:3e:01:02:03,bridge=xenbr0";

/// A host in memory that outlives one call.
struct Fake(StateDir);

impl Fake {
    fn new() -> Self {
        Fake(StateDir::new())
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let dir = self.0.path().to_str().unwrap();
        finish(xennet().args(["--backend", "fake", "--state-dir", dir]).args(arguments))
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let got = self.run(arguments);
        assert_eq!(got.code, 0, "{arguments:?}: {got:?}");
        got.stdout
    }
}

fn refused(got: &Run, kind: ErrorKind) {
    assert_eq!((got.code, got.stdout.as_str()), (i32::from(kind.number()), ""), "{got:?}");
    assert!(got.stderr.starts_with("error: "), "{got:?}");
}

#[test]
fn a_plan_has_one_line_a_step_with_sign_and_reason_and_does_nothing() {
    let fake = Fake::new();
    let plan = fake.ok(&["plan", "attach", "5", SPEC]);
    assert!(plan.lines().count() >= 2, "{plan}");
    for line in plan.lines() {
        assert!(line.starts_with(['+', '~', '-']) && line.contains("  # "), "{line}");
    }
    let document: serde_json::Value = serde_json::from_str(&fake.ok(&["plan", "attach", "5", SPEC, "--json"])).unwrap();
    assert_eq!(document["steps"].as_array().unwrap().len(), plan.lines().count());
    assert_eq!(fake.ok(&["plan", "attach", "5", SPEC]), plan, "nothing has changed");
    assert!(!fake.ok(&["show"]).contains("vif5.0"));
}

#[test]
fn what_one_call_does_the_next_one_sees() {
    let fake = Fake::new();
    assert!(fake.ok(&["attach", "5", SPEC]).starts_with("vif5.0: attached, "));
    assert_eq!(fake.ok(&["attach", "5", SPEC]), "vif5.0: attached already\n");
    assert_eq!(fake.ok(&["plan", "attach", "5", SPEC]), "nothing to do\n");
    let shown: serde_json::Value = serde_json::from_str(&fake.ok(&["show", "--json"])).unwrap();
    assert_eq!((&shown["vifs"][0]["vif"], &shown["vifs"][0]["bridge"]), (&"vif5.0".into(), &"xenbr0".into()));
    assert!(fake.ok(&["show"]).contains(SPEC));
    assert!(fake.ok(&["detach", "5"]).starts_with("vif5.0: detached, "));
    assert_eq!(fake.ok(&["detach", "5"]), "vif5.0: detached already\n");
    assert_eq!(fake.ok(&["recover"]), "nothing was interrupted\n");
}

#[test]
fn what_a_spec_leaves_open_is_told() {
    let fake = Fake::new();
    let plan = fake.run(&["plan", "attach", "5", "mac=00:16:3e:01:02:03"]);
    let done = fake.run(&["attach", "5", "mac=00:16:3e:01:02:03"]);
    assert_eq!((plan.code, done.code), (0, 0));
    assert!(plan.stderr.starts_with("note: no bridge= was given"), "{plan:?}");
    assert_eq!(done.stderr, plan.stderr);
    let document = fake.run(&["attach", "5", "mac=00:16:3e:01:02:03", "--json"]);
    assert_eq!((document.json()["steps"].as_u64(), document.stderr.as_str()), (Some(0), ""));
    assert_eq!(document.json()["notes"].as_array().unwrap().len(), 1);
}

#[test]
fn undo_puts_back_the_state_before() {
    let fake = Fake::new();
    refused(&fake.run(&["undo"]), ErrorKind::NothingToUndo);
    refused(&fake.run(&["undo", "vif5.0"]), ErrorKind::NothingToUndo);
    fake.ok(&["attach", "5", SPEC]);
    assert!(fake.ok(&["undo"]).starts_with("vif5.0: as before, "));
    refused(&fake.run(&["undo"]), ErrorKind::NothingToUndo);
    fake.ok(&["attach", "5", SPEC]);
    assert!(fake.ok(&["undo", "vif5.0"]).starts_with("vif5.0: as before, "));
}

#[test]
fn every_wrong_argument_is_refused_before_anything_happens() {
    let fake = Fake::new();
    for arguments in [
        &["attach", "x", SPEC][..],
        &["attach", "-1", SPEC],
        &["attach", "99999", SPEC],
        &["attach", "5", "bridge="],
        &["attach", "5", "bridge=a/b"],
        &["attach", "5"],
        &["detach", "5", "x"],
        &["plan"],
        &["undo", "not/a/name"],
        &["--backend", "real", "show"],
    ] {
        let got = fake.run(arguments);
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{arguments:?}: {got:?}");
    }
    assert_eq!(std::fs::read_dir(fake.0.path()).unwrap().count(), 0, "the state directory is untouched");
    refused(&fake.run(&["attach", "5", "bridge=nosuch"]), ErrorKind::BridgeNotFound);
    refused(&fake.run(&["attach", "5", "bridge=eth0"]), ErrorKind::NotABridge);
}

#[test]
fn an_unusable_state_directory_is_an_error_of_its_own() {
    let got = run(["--backend", "fake", "--state-dir", "/dev/null/state", "attach", "5", SPEC]);
    refused(&got, ErrorKind::StateUnusable);
    let got =
        finish(xennet().env("XENNET_STATE_DIR", "/dev/null/state").args(["--backend", "fake", "attach", "5", SPEC]));
    refused(&got, ErrorKind::StateUnusable);
}

#[test]
fn an_empty_variable_is_an_unset_one_and_an_empty_option_is_wrong_usage() {
    let got = finish(xennet().env("XENNET_STATE_DIR", "").args(["parse", "mac", "00:16:3e:01:02:03"]));
    assert_eq!((got.code, got.stderr.as_str()), (0, ""));
    let fake = Fake::new();
    let dir = fake.0.path();
    let arguments = ["--backend", "fake", "attach", "5", SPEC, "--state-dir"];
    let got = finish(xennet().env("XENNET_STATE_DIR", "").args(arguments).arg(dir));
    assert_eq!(got.code, 0, "{got:?}");
    let got = finish(xennet().env("XENNET_STATE_DIR", dir).args(["--backend", "fake", "show"]));
    assert!(got.stdout.contains(SPEC), "{got:?}");
    for value in ["", "/dev/null"] {
        let got =
            finish(xennet().env("XENNET_STATE_DIR", value).args(["--backend", "fake", "show", "--state-dir", ""]));
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{got:?}");
    }
}

#[test]
fn the_sandbox_gives_any_command_a_world_on_the_real_kernel() {
    let got = run(["--sandbox", "attach", "1", SPEC]);
    if got.code == i32::from(ErrorKind::Denied.number()) && std::env::var_os("CI").is_none() {
        eprintln!("skipped: {}", got.stderr);
        return;
    }
    assert!(got.code == 0 && got.stdout.starts_with("vif1.0: attached, "), "{got:?}");
    // A world of its own each time: nothing is left of the one before.
    let shown = run(["show", "--sandbox", "--json"]).json();
    assert_eq!(shown["vifs"], serde_json::Value::Array(Vec::new()));
    assert_eq!(
        (&shown["bridges"][0]["bridge"], &shown["bridges"][0]["ports"]),
        (&"xenbr0".into(), &vec!["eth0"].into())
    );
    for (arguments, kind) in [
        (["attach", "1", "bridge=nosuch"], ErrorKind::BridgeNotFound),
        (["attach", "1", "bridge=eth0"], ErrorKind::NotABridge),
        (["attach", "9", SPEC], ErrorKind::LinkNotFound),
    ] {
        refused(&run([&["--sandbox"], &arguments[..]].concat()), kind);
    }
    assert_eq!(run(["--sandbox", "--backend", "fake", "show"]).code, 2);
    let got = run(["--sandbox", "--state-dir", "/dev/null/state", "attach", "1", SPEC]);
    assert!(got.code == 0 && got.stderr.starts_with("note: --state-dir has no effect"), "{got:?}");
}
