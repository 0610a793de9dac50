//! The list of hotplug calls, as `xennet log` shows it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use xennet_core::hotplug::log::{CallRecord, Outcome, Sinks};
use xennet_core::{Errno, Error, ErrorKind};
use xennet_tests::StateDir;

use crate::command::{Run, finish, xennet};

fn call(vif: &str, at: u64) -> CallRecord {
    let mut call = CallRecord::new("vif-bridge", "online", 1_795_600_800_000_000 + at * 1_000_000);
    (call.vif, call.pid, call.total_us) = (vif.into(), 1234, 1349);
    (call.outcome, call.bridge, call.mtu) = (Outcome::Connected, Some("xenbr0".into()), Some(1500));
    call.xenbus_path = Some("backend/vif/1/0".into());
    call.plan = vec!["vif1.0 becomes a port of xenbr0".into()];
    call.timings = vec![("observe".into(), 200), ("apply".into(), 700)];
    call
}

/// A state directory with calls in it.
fn told(calls: &[CallRecord]) -> StateDir {
    let dir = StateDir::new();
    let sinks = Sinks::default().with_state_dir(dir.path().to_owned());
    assert!(calls.iter().all(|call| sinks.tell(call).is_empty()));
    dir
}

fn log(dir: &StateDir, arguments: &[&str]) -> Run {
    let got = finish(xennet().arg("log").args(arguments).arg("--state-dir").arg(dir.path()));
    assert_eq!(got.code, 0, "{got:?}");
    got
}

fn failed(vif: &str, at: u64) -> CallRecord {
    let mut call = call(vif, at);
    let error = Error::new(ErrorKind::NotABridge, "cannot attach vif2.0 to bridge eth0")
        .with_step("step 1 of 2: vif2.0 becomes a port of eth0")
        .with_errno(Errno::EOPNOTSUPP)
        .restored("restored, 1 step undone")
        .with_hint("bridges here: xenbr0");
    call.fail(&error);
    call
}

#[test]
fn calls_are_shown_with_plan_error_notes_and_times() {
    let mut noted = call("vif1.0", 0);
    noted.notes = vec!["ip= filters".into()];
    let dir = told(&[noted, failed("vif2.0", 1)]);
    let got = log(&dir, &[]);
    assert_eq!(got.stderr, "");
    assert_eq!(
        got.stdout,
        "2026-11-25 10:00:00Z online vif1.0: connected to xenbr0, mtu 1500 (1.3 ms)\n    note: ip= filters\n    vif1.0 \
         becomes a port of xenbr0\n    times: observe 0.2 ms, apply 0.7 ms\n    by vif-bridge[1234] for backend/vif/1/0\n\
         2026-11-25 10:00:01Z online vif2.0: error: cannot attach vif2.0 to bridge eth0 (1.3 ms)\n      at step 1 of 2: \
         vif2.0 becomes a port of eth0\n      kernel: EOPNOTSUPP (operation not supported)\n      state: restored, 1 step \
         undone\n    hint: bridges here: xenbr0\n    vif1.0 becomes a port of xenbr0\n    times: observe 0.2 ms, apply 0.7 \
         ms\n    by vif-bridge[1234] for backend/vif/1/0\n"
    );
}

#[test]
fn calls_are_chosen_by_number_vif_and_failure() {
    let calls: Vec<CallRecord> =
        (0..30).map(|n| if n % 10 == 0 { failed("vif2.0", n) } else { call(&format!("vif{n}.0"), n) }).collect();
    let dir = told(&calls);
    let shown = |arguments: &[&str]| {
        let document = log(&dir, &[arguments, &["--json"]].concat()).json();
        serde_json::from_value::<Vec<CallRecord>>(document["calls"].clone()).unwrap()
    };
    assert_eq!(shown(&[]), calls[20..]);
    assert_eq!(shown(&["--last", "1"]), calls[29..]);
    assert_eq!(shown(&["--failed"]), [calls[0].clone(), calls[10].clone(), calls[20].clone()]);
    assert_eq!(shown(&["--vif", "vif7.0", "--last", "99"]), calls[7..8]);
    assert_eq!(shown(&["--vif", "vif7.0", "--failed"]), []);
    assert_eq!(finish(xennet().args(["log", "--last", "many"])).code, 2);
}

#[test]
fn an_empty_list_is_no_error_and_an_unusable_one_is() {
    let dir = StateDir::new();
    let got = log(&dir, &[]);
    assert!(got.stdout.is_empty() && got.stderr.starts_with("note: no such call is remembered in "), "{got:?}");
    assert_eq!(log(&dir, &["--json"]).json(), serde_json::json!({ "version": 1, "calls": [] }));
    std::fs::create_dir(dir.path().join("calls.log")).unwrap();
    let got = finish(xennet().arg("log").arg("--state-dir").arg(dir.path()));
    assert_eq!(got.code, i32::from(ErrorKind::StateUnusable.number()), "{got:?}");
}

#[test]
fn the_settings_say_where_the_list_is() {
    let dir = told(&[call("vif1.0", 0)]);
    let file = dir.path().join("hotplug.toml");
    std::fs::write(&file, format!("state_dir = {:?}\n", dir.path())).unwrap();
    let got = finish(xennet().arg("log").env("XENNET_HOTPLUG_CONFIG", &file));
    assert!(got.code == 0 && got.stdout.starts_with("2026-11-25 10:00:00Z online vif1.0: "), "{got:?}");
    std::fs::write(&file, "statedir = 1\n").unwrap();
    let got = finish(xennet().arg("log").env("XENNET_HOTPLUG_CONFIG", &file));
    assert!(got.stderr.contains("hotplug.toml: \"statedir\" is no setting of hotplug (line 1, column 1"), "{got:?}");
}

#[test]
fn a_forged_text_stays_in_its_line() {
    let forged = "vif1.0\n2026-11-25 10:00:00Z online vif9.0: connected\u{1b}[2J";
    let mut call = call(forged, 0);
    (call.plan, call.xenbus_path) = (vec![forged.into()], Some(forged.into()));
    (call.script, call.timings) = (forged.into(), vec![(forged.into(), 1)]);
    let got = log(&told(&[call]), &[]);
    assert_eq!(got.stdout.lines().count(), 4);
    assert!(!got.stdout.contains('\u{1b}'), "{got:?}");
}

#[test]
fn a_follower_sees_the_next_call() {
    let dir = told(&[call("vif1.0", 0)]);
    let sinks = Sinks::default().with_state_dir(dir.path().to_owned());
    let mut command = xennet();
    command.args(["log", "--follow", "--failed", "--json", "--state-dir"]).arg(dir.path()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for at in 1..3 {
        // The second one waits for what comes after the first one was seen.
        assert!([call("vif1.0", at), failed("vif2.0", at)].iter().all(|call| sinks.tell(call).is_empty()));
        let shown: CallRecord = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!(shown, failed("vif2.0", at));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
