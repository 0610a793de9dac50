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

/// Every claim of the demo holds, and it makes the claims that it is there for: in each of the three modes.
fn all_claims_hold(got: &Run, on_kernel: bool) {
    assert_eq!(got.code, 0, "{got:?}");
    let document = got.json();
    assert_eq!(document["broken"], Value::Array(Vec::new()), "{document:#}");
    let events = document["events"].as_array().unwrap();
    let claims: Vec<&str> = events.iter().filter_map(|e| e["claim"].as_str()).collect();
    assert!(events.iter().all(|e| e["holds"] != false), "{document:#}");
    let modes: Vec<&str> = events.iter().filter_map(|e| e["mode"].as_str()).collect();
    assert_eq!(modes, ["1 of 3: bridge", "2 of 3: NAT", "3 of 3: routed"]);
    let count = |text: &str| claims.iter().filter(|c| c.contains(text)).count();
    assert_eq!(count("applied and read back"), 14, "3 networks and 4 guests come and go: {claims:#?}");
    assert_eq!(count("there is nothing left to do"), 4);
    assert_eq!(count("facts about this host's network are as they were before, 0 differ"), 3);
    let plans: Vec<&Value> = events.iter().filter(|e| e["steps"].is_array()).collect();
    assert_eq!(plans.len(), 7, "3 networks, 4 guests");
    for step in plans.iter().flat_map(|p| p["steps"].as_array().unwrap()) {
        assert!(!step["why"].as_str().unwrap().is_empty(), "{step}");
    }
    let status = events.iter().find(|e| e["status"].is_object()).expect("what the outside needs is shown");
    assert_eq!(status["status"]["elsewhere"][0], "ip route add 10.1.0.0/24 via 192.168.0.3", "{status:#}");
    if !on_kernel {
        assert_eq!(events.iter().filter(|e| e.get("seen").is_some_and(Value::is_null)).count(), 23, "{events:#?}");
        return;
    }
    let said = |text: &str| assert_eq!(count(text), 1, "{text}: {claims:#?}");
    // Guest to gateway, guest to outside, outside to guest: what each mode promises.
    said("guest 1 pings guest 2 (192.168.0.12): it answers in");
    said("guest 1 pings the outside (192.168.0.1): it answers in");
    said("guest 1 pings the outside (192.168.0.1): no answer");
    said("the outside pings guest 1 (192.168.0.11): it answers in");
    said("guest 3 pings its gateway, which is the host (10.0.0.254): it answers in");
    said("guest 3 pings the outside (192.168.0.1): it answers in");
    said("the outside pings guest 3 (10.0.0.1): no answer");
    said("the outside connects to 192.168.0.3:8080, and guest 3 gets it at port 80, from 192.168.0.1");
    said("guest 4 pings its gateway, which is the host (10.1.0.254): it answers in");
    said("guest 4 pings the outside (192.168.0.1): no answer");
    said("guest 4 pings the outside (192.168.0.1): it answers in");
    said("the outside pings guest 4 (10.1.0.1): it answers in");
    // Whose address arrives, and what forged packets meet.
    for (guest, seen, own, other) in [
        (1, "192.168.0.11", "192.168.0.11", "192.168.0.99"),
        (3, "192.168.0.3", "10.0.0.1", "10.0.0.77"),
        (4, "10.1.0.1", "10.1.0.1", "10.1.0.77"),
    ] {
        said(&format!("guest {guest} connects to the outside, which sees {seen}:"));
        said(&format!("guest {guest} sends 3 packets from {own}, its own address: 3 arrive outside"));
        said(&format!("guest {guest} sends 3 packets from {other}, which it was not given: 0 arrive outside"));
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
    for wanted in [
        "\n$ xennet network start lan\n",
        "\n$ xennet attach 1 mac=00:16:3e:00:00:01,bridge=xenbr0,ip=192.168.0.11\n",
        "\n$ xennet show\n",
        "\n$ xennet detach 2\n",
        "\n$ xennet network stop dmz\n",
    ] {
        assert!(got.stdout.contains(wanted), "{wanted} in\n{}", got.stdout);
    }
    let lines = got.stdout.lines().count();
    assert!((60..150).contains(&lines), "a minute to read, not {lines} lines:\n{}", got.stdout);
    assert!(!got.stdout.contains("NOT SO"), "{}", got.stdout);
}
