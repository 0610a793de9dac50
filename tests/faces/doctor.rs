//! `xennet doctor`: what it says, what it ends with, and what it mends.

use std::process::Command;

use serde_json::Value;
use xennet_core::doctor::Code;
use xennet_tests::{StateDir, in_netns};

use crate::command::{Run, run};

fn sh(line: &str) {
    assert!(Command::new("sh").args(["-ec", line]).status().unwrap().success(), "{line}");
}

/// A bridge with one guest, in the test's namespace.
fn guest(state: &StateDir) {
    sh("ip link add xenbr0 address 02:00:00:00:00:01 type bridge forward_delay 0 mcast_snooping 0; ip link set xenbr0 up
        ip link add vif5.0 address fe:ff:ff:ff:ff:ff type veth peer name guest5; ip link set guest5 up");
    let run = on(state, &["attach", "5", "bridge=xenbr0,mac=00:16:3e:00:00:05,ip=192.0.2.5"]);
    assert_eq!(run.code, 0, "{run:?}");
}

fn on(state: &StateDir, arguments: &[&str]) -> Run {
    let mut all = vec!["--state-dir", state.path().to_str().unwrap()];
    all.extend(arguments);
    run(all)
}

#[test]
fn a_fault_is_told_ended_with_and_mended() {
    in_netns("doctor::a_fault_is_told_ended_with_and_mended", || {
        let state = StateDir::new();
        guest(&state);
        let well = on(&state, &["doctor"]);
        assert_eq!(well.code, 0, "{well:?}");
        assert!(well.stdout.trim_end().lines().last().unwrap().starts_with("nothing wrong was found; "), "{well:?}");

        sh("ip link set vif5.0 nomaster");
        let ill = on(&state, &["doctor"]);
        assert_eq!((ill.code, ill.stderr.as_str()), (2, ""), "{ill:?}");
        let first = "XN0506 error  vif5.0: A vif is not on its bridge\n    vif5.0 is not a port of its bridge\n";
        assert!(ill.stdout.starts_with(first), "{ill:?}");
        assert!(ill.stdout.contains("\n    fix: xennet recover\n"), "{ill:?}");
        let document: Value = serde_json::from_str(&on(&state, &["--json", "doctor"]).stdout).unwrap();
        assert_eq!(document["version"], 1);
        let finding = &document["findings"][0];
        assert_eq!(
            (&finding["code"], &finding["level"], &finding["object"]),
            (&"XN0506".into(), &"error".into(), &"vif5.0".into())
        );
        assert!(finding["evidence"].as_array().is_some_and(|facts| !facts.is_empty()), "{finding}");
        assert_eq!(finding["fix"]["command"], "xennet recover");
        assert!(finding["fix"]["plan"]["steps"].as_array().is_some_and(|steps| !steps.is_empty()), "{finding}");

        // It asks, and here is nobody to ask.
        let asked = on(&state, &["doctor", "--fix"]);
        assert_eq!(asked.code, 2, "{asked:?}");
        assert!(asked.stderr.contains("standard input is no terminal") && asked.stderr.contains("--yes"), "{asked:?}");
        let mended = on(&state, &["doctor", "--fix", "--yes"]);
        assert_eq!(mended.code, 0, "{mended:?}");
        assert!(mended.stderr.contains("note: XN0506 error  vif5.0: "), "{mended:?}");
        assert!(mended.stderr.contains("steps done"), "{mended:?}");
        assert_eq!(on(&state, &["doctor"]).stdout, well.stdout);
    });
}

#[test]
fn a_warning_ends_with_one_and_one_thing_can_be_asked_for() {
    in_netns("doctor::a_warning_ends_with_one_and_one_thing_can_be_asked_for", || {
        let state = StateDir::new();
        guest(&state);
        sh("ip link set xenbr0 type bridge stp_state 1 forward_delay 400");
        let slow = on(&state, &["doctor", "xenbr0"]);
        assert_eq!(slow.code, 1, "{slow:?}");
        assert!(slow.stdout.contains("XN0206 warning  xenbr0: "), "{slow:?}");
        assert!(slow.stdout.trim_end().ends_with("0 errors, 1 warning, 0 notes"), "{slow:?}");
        // A recording of it says the same elsewhere.
        let file = state.path().join("host.json");
        let file = file.to_str().unwrap();
        assert_eq!(on(&state, &["record", file]).code, 0);
        let elsewhere = run(["doctor", "--from", file, "xenbr0"]);
        assert_eq!((elsewhere.code, elsewhere.stdout), (1, slow.stdout));
        // It is the bridge that this guest stands on.
        let vif = on(&state, &["doctor", "vif5.0"]);
        assert!(vif.code == 1 && vif.stdout.contains("XN0206 warning  xenbr0: "), "{vif:?}");
        let loopback = on(&state, &["doctor", "lo"]);
        assert_eq!(loopback.stdout, "nothing wrong was found\n", "{loopback:?}");
        let nobody = on(&state, &["doctor", "vif6.0"]);
        assert_eq!((nobody.code, nobody.stdout.as_str()), (2, ""), "{nobody:?}");
        assert!(nobody.stderr.contains("there is no network, vif, link or domain \"vif6.0\" here"), "{nobody:?}");
    });
}

#[test]
fn all_kinds_are_explained() {
    let told = run(["doctor", "--codes"]);
    assert_eq!(told.code, 0, "{told:?}");
    for code in Code::ALL {
        assert!(
            told.stdout.contains(&format!("{code} {}  {}\n    {}", code.level(), code.title(), code.meaning())),
            "{code}"
        );
    }
    let document: Value = serde_json::from_str(&run(["doctor", "--codes", "--json"]).stdout).unwrap();
    assert_eq!(document["codes"].as_array().unwrap().len(), Code::ALL.len());
}

#[test]
fn what_is_no_recording_is_refused() {
    let state = StateDir::new();
    let file = state.path().join("host.json");
    std::fs::write(&file, "{\"version\":9}").unwrap();
    let refused = run(["doctor", "--from", file.to_str().unwrap()]);
    assert_eq!((refused.code, refused.stdout.as_str()), (2, ""), "{refused:?}");
    assert!(refused.stderr.contains("is of version 9, and this xennet reads version 1"), "{refused:?}");
}

#[test]
fn the_reference_page_is_the_table() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../xennet-core/FINDINGS.md");
    if std::env::var_os("XENNET_BLESS").is_some() {
        std::fs::write(file, Code::page()).unwrap();
        return;
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), Code::page(), "write it anew with XENNET_BLESS=1");
}

#[test]
fn the_schema_has_the_codes_and_members_of_the_document() {
    let schema: Value = serde_json::from_str(&run(["doctor", "--schema"]).stdout).unwrap();
    let finding = &schema["$defs"]["Finding"];
    let codes: Vec<&str> = Code::ALL.iter().map(|c| c.code()).collect();
    assert_eq!(schema["$defs"]["Code"]["enum"], serde_json::json!(codes));
    let state = StateDir::new();
    let dir = state.path().join("state");
    let told = run(["--backend", "fake", "--state-dir", dir.to_str().unwrap(), "doctor", "--json"]);
    let document: Value = serde_json::from_str(&told.stdout).unwrap();
    let names = |v: &Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&document), names(&schema["properties"]));
    assert_eq!(names(&document["findings"][0]), names(&finding["properties"]));
}
