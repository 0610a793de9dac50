//! `xennet record` and `show --from`: a host in a file, read as the host itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;
use xennet_tests::StateDir;

use crate::command::{Run, run};

/// Runs it on a host in memory.
fn fake(state: &StateDir, arguments: &[&str]) -> Run {
    let dir = state.path().join("state");
    let mut all = vec!["--backend", "fake", "--state-dir", dir.to_str().unwrap()];
    all.extend(arguments);
    run(all)
}

fn recorded(state: &StateDir, more: &[&str]) -> (String, Run) {
    let file = state.path().join("host.json").to_str().unwrap().to_owned();
    let mut all = vec!["record", file.as_str(), "--file", "/nonexistent/networks.toml"];
    all.extend(more);
    let run = fake(state, &all);
    (file, run)
}

#[test]
fn what_is_recorded_is_shown_as_the_host_shows_it() {
    let state = StateDir::new();
    let attached = fake(&state, &["attach", "5", "mac=00:16:3e:12:34:56,bridge=xenbr0,ip=8.8.4.4"]);
    assert_eq!(attached.code, 0, "{attached:?}");
    let (file, done) = recorded(&state, &[]);
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (0, "note: xenstore was not looked at: there is none here\n"),
        "{done:?}"
    );
    assert!(done.stdout.starts_with(&format!("{file}: written, ")), "{done:?}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "nobody else reads it");
    let (live, read) = (fake(&state, &["show"]), run(["show", "--from", &file]));
    let unseen = "\nNOT LOOKED AT\nxenstore: there is none here\n";
    assert_eq!(
        (read.code, read.stdout),
        (0, live.stdout + unseen),
        "a model of the kernel lacks no xenstore, and has none"
    );
    let (live, read) = (fake(&state, &["--json", "show"]).json(), run(["--json", "show", "--from", &file]).json());
    for member in ["vifs", "bridges", "networks", "routes", "guest_routes", "filters", "made_by"] {
        assert_eq!(read[member], live[member], "{member}");
        assert!(!read[member].is_null(), "{member}");
    }
    for member in ["hubs", "uplinks"] {
        assert_eq!(read["picture"][member], live["picture"][member], "{member}");
    }
    // A second one does not write over it.
    let (_, again) = recorded(&state, &[]);
    assert!(again.code != 0 && again.stderr.contains("is there already"), "{again:?}");
    assert!(again.stderr.contains("hint: name another file"), "{again:?}");

    fs::remove_file(&file).unwrap();
    let (_, anonymous) = recorded(&state, &["--anonymous"]);
    assert_eq!(anonymous.code, 0, "{anonymous:?}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(!text.contains("8.8.4.4") && !text.contains("12:34:56"));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&document["version"], &document["taken"]["host"]), (&1.into(), &"host".into()));
    let shown = run(["show", "--from", &file]);
    assert!(shown.code == 0 && shown.stdout.contains("vif5.0"), "{shown:?}");
}

#[test]
fn a_file_that_is_no_recording_is_refused_with_its_place() {
    let state = StateDir::new();
    let (file, done) = recorded(&state, &[]);
    assert_eq!(done.code, 0, "{done:?}");
    let text = fs::read_to_string(&file).unwrap();
    for (text, words) in [
        (text[..text.len() / 2].to_owned(), "cannot be read: EOF"),
        (text.replacen("\"version\":1", "\"version\":7", 1), "is of version 7, and this xennet reads version 1"),
        ("[network.lan]".to_owned(), "line 1 column"),
    ] {
        fs::write(&file, &text).unwrap();
        let refused = run(["show", "--from", &file]);
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(words) && refused.stderr.contains("host.json"), "{refused:?}");
    }
}
