//! `demo` and `--sandbox`: with and without rights, on the kernel and on the model of it.

use serde_json::Value;

use crate::command::{Run, run, run_as_nobody};

/// Whether this machine lets a process have namespaces. Where it does not, the demo says so and uses the model.
fn has_namespaces(document: &Value, got: &Run) -> bool {
    let on_kernel = document["kernel"].as_bool().unwrap();
    assert!(on_kernel || std::env::var_os("CI").is_none(), "CI is set and the kernel cannot be used: {got:?}");
    assert_eq!(on_kernel, got.stderr.is_empty(), "{got:?}");
    on_kernel
}

/// Every claim of the demo holds, and it makes the claims that it is there for.
fn all_claims_hold(got: &Run, pings: bool) {
    assert_eq!(got.code, 0, "{got:?}");
    let document = got.json();
    assert_eq!(document["broken"], Value::Array(Vec::new()), "{document:#}");
    let events = document["events"].as_array().unwrap();
    let claims: Vec<&Value> = events.iter().filter(|e| e["claim"].is_string()).collect();
    assert!(claims.iter().all(|c| c["holds"] == true), "{document:#}");
    let count = |text: &str| claims.iter().filter(|c| c["claim"].as_str().unwrap().contains(text)).count();
    assert_eq!(count("applied and read back"), 4, "two attached, two detached: {document:#}");
    assert_eq!(count("there is nothing left to do"), 2);
    assert_eq!(count("facts are as they were before, 0 differ"), 1);
    if pings {
        assert_eq!((count("answers in"), count("no answer")), (4, 4), "{document:#}");
    }
    let plans: Vec<&Value> = events.iter().filter(|e| e["steps"].is_array()).collect();
    assert_eq!(plans.len(), 4);
    for step in plans.iter().flat_map(|p| p["steps"].as_array().unwrap()) {
        assert!(!step["why"].as_str().unwrap().is_empty(), "{step}");
    }
}

#[test]
fn the_demo_holds_what_it_claims() {
    let got = run(["demo", "--json"]);
    let pings = has_namespaces(&got.json(), &got);
    all_claims_hold(&got, pings);
}

#[test]
fn the_demo_needs_no_rights() {
    let got = run_as_nobody(&["demo", "--json"]);
    let pings = has_namespaces(&got.json(), &got);
    all_claims_hold(&got, pings);
}

#[test]
fn the_demo_has_a_model_to_fall_back_on() {
    let got = run_as_nobody(&["demo", "--json", "--backend", "fake"]);
    assert_eq!((got.json()["kernel"].as_bool(), got.stderr.as_str()), (Some(false), ""));
    all_claims_hold(&got, false);
}

#[test]
fn the_demo_reads_well() {
    let got = run(["demo"]);
    assert_eq!(got.code, 0, "{got:?}");
    for wanted in
        ["\n$ xennet attach 1 mac=00:16:3e:00:00:01,bridge=xenbr0\n", "\n$ xennet show\n", "\n$ xennet detach 2\n"]
    {
        assert!(got.stdout.contains(wanted), "{wanted} in\n{}", got.stdout);
    }
    assert!(!got.stdout.contains("NOT SO"), "{}", got.stdout);
}
