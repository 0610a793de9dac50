//! The commands that change a host: on the model of the kernel that a state directory keeps, and in the sandbox.

use xennet_core::ErrorKind;
use xennet_tests::StateDir;

use crate::command::{Run, finish, run, run_with_input, xennet};

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
    assert!(!fake.ok(&["show"]).contains("vif5.0  5       xenbr0"));
}

#[test]
fn what_one_call_does_the_next_one_sees() {
    let fake = Fake::new();
    assert!(fake.ok(&["attach", "5", SPEC]).starts_with("vif5.0: attached, "));
    assert_eq!(fake.ok(&["attach", "5", SPEC]), "vif5.0: attached already\n");
    assert_eq!(fake.ok(&["plan", "attach", "5", SPEC]), "nothing to do\n");
    let shown: serde_json::Value = serde_json::from_str(&fake.ok(&["show", "--json"])).unwrap();
    assert_eq!((&shown["vifs"][0]["vif"], &shown["vifs"][0]["bridge"]), (&"vif5.0".into(), &"xenbr0".into()));
    assert_eq!(shown["vifs"][0]["spec"], SPEC);
    assert!(fake.ok(&["show"]).contains("vif5.0  5       xenbr0  up     00:16:3e:01:02:03\n"));
    assert!(fake.ok(&["detach", "5"]).starts_with("vif5.0: detached, "));
    assert_eq!(fake.ok(&["detach", "5"]), "vif5.0: detached already\n");
    assert_eq!(fake.ok(&["recover"]), "nothing was interrupted, and nothing is missing\n");
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
    assert!(got.stdout.contains("vif5.0  5       xenbr0"), "{got:?}");
    for value in ["", "/dev/null"] {
        let got =
            finish(xennet().env("XENNET_STATE_DIR", value).args(["--backend", "fake", "show", "--state-dir", ""]));
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{got:?}");
    }
}

#[test]
fn what_a_command_calls_a_bridge_undo_understands() {
    let fake = Fake::new();
    for name in ["xenbr0", "bridge-xenbr0"] {
        let got = fake.run(&["undo", name, "--json"]);
        assert_eq!(got.code, i32::from(ErrorKind::NothingToUndo.number()), "{got:?}");
        assert_eq!(got.json_lines()[0]["object"], "bridge-xenbr0");
    }
    let got = fake.run(&["undo", "--json"]);
    assert!(got.json_lines()[0]["hint"].as_str().unwrap().contains("--state-dir"), "{got:?}");
}

#[test]
fn recover_gives_the_document_of_the_other_faces() {
    let fake = Fake::new();
    fake.ok(&["attach", "5", SPEC]);
    // Without its last line the journal is that of an operation that was killed before its end.
    let file = fake.0.path().join("vif5.0.journal");
    let journal = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<&str> = journal.lines().collect();
    std::fs::write(&file, lines[..lines.len() - 1].join("\n") + "\n").unwrap();
    let document: serde_json::Value = serde_json::from_str(&fake.ok(&["recover", "--json"])).unwrap();
    let id = "vif5.0".parse().unwrap();
    assert_eq!(
        document,
        serde_json::json!({ "version": 1, "recovered": [xennet_core::Recovered::Finished.document(id)] })
    );
    assert_eq!(fake.ok(&["recover", "--json"]), "{\"recovered\":[],\"version\":1}\n");
}

#[test]
fn a_vif_whose_link_is_gone_is_shown_as_gone() {
    let fake = Fake::new();
    fake.ok(&["attach", "5", SPEC]);
    // The next call finds the model as it was at first, where domain 5 has no vif yet.
    std::fs::remove_file(fake.0.path().join("fake.json")).unwrap();
    let shown = fake.ok(&["show"]);
    let row: Vec<&str> = shown.lines().find(|l| l.starts_with("vif5.0")).unwrap().split_whitespace().collect();
    assert_eq!(row, ["vif5.0", "5", "-", "gone"]);
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

#[test]
fn networks_are_named_or_all_are_meant() {
    let fake = Fake::new();
    for what in ["start", "stop"] {
        for (arguments, words) in [(&[][..], "<NETWORK|--all>"), (&["lan", "--all"], "cannot be used with")] {
            let got = fake.run(&[&["network", what], arguments].concat());
            assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{got:?}");
            assert!(got.stderr.contains(words), "{got:?}");
        }
    }
}

/// What is done already and what had nothing to do are two things: the second is recorded now, and a stop takes it back.
#[test]
fn a_start_and_a_stop_without_a_step_say_whether_it_was_so_before() {
    let fake = Fake::new();
    let file = fake.0.path().join("networks.toml").display().to_string();
    // On the model of the kernel, xenbr0 is there and up.
    std::fs::write(&file, "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\n").unwrap();
    let start = ["network", "start", "lan", "--file", &file];
    assert_eq!(fake.ok(&start), "network lan: started, nothing had to be changed\n");
    assert_eq!(fake.ok(&start), "network lan: started already\n");
    let stop = ["network", "stop", "lan", "--file", &file];
    assert_eq!(fake.ok(&stop), "network lan: stopped, nothing had to be put back\n");
    assert_eq!(fake.ok(&stop), "network lan: stopped already\n");
}

/// Others read the count otherwise.
#[test]
fn a_series_of_vlans_is_told_with_its_ids() {
    let fake = Fake::new();
    let got = fake.run(&["plan", "attach", "5", "bridge=xenbr0,vlan=10p/100+10x4"]);
    assert!(got.stderr.starts_with("note: vlan=10p/100+10x4 is VLANs 10, 100, 110, 120, 130, 140: ID+STEP"), "{got:?}");
    let plain = fake.run(&["plan", "attach", "5", "bridge=xenbr0,vlan=10p/100-104"]);
    assert!(!plain.stderr.contains("others read COUNT otherwise"), "{plain:?}");
}

#[test]
fn the_number_of_a_domain_is_no_bridge() {
    let got = Fake::new().run(&["undo", "9"]);
    refused(&got, ErrorKind::NothingToUndo);
    assert!(got.stderr.contains("bridge 9: nothing is recorded") && got.stderr.contains("as in vif9.0"), "{got:?}");
}

/// What a variable says was not typed.
#[test]
fn a_usage_shows_no_option_that_comes_from_the_environment() {
    let got = finish(xennet().env("XENNET_STATE_DIR", "/dev/null/state").arg("attach"));
    assert!(got.code == 2 && got.stderr.contains("\nUsage: xennet attach <DOMID> <SPEC>\n"), "{got:?}");
    let help = finish(xennet().args(["attach", "--help"]));
    assert!(help.stdout.contains("[env: XENNET_STATE_DIR]"), "{help:?}");
}

/// A name that is mistyped is told, with those that there are; what is described and was stopped before is no mistake.
#[test]
fn a_stop_of_what_nobody_knows_is_an_error() {
    let fake = Fake::new();
    let file = fake.0.path().join("networks.toml").display().to_string();
    std::fs::write(&file, "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\n").unwrap();
    let stop = |name: &'static str| ["network", "stop", name, "--file", file.as_str()];
    if !std::path::Path::new("/etc/xennet/networks.toml").exists() {
        let got = fake.run(&["network", "stop", "lna"]);
        refused(&got, ErrorKind::Invalid);
        assert!(
            got.stderr.contains("network lna is not started, and /etc/xennet/networks.toml cannot be read"),
            "{got:?}"
        );
    }
    let got = fake.run(&stop("lna"));
    refused(&got, ErrorKind::Invalid);
    assert!(got.stderr.contains("lna") && got.stderr.contains("lan"), "{got:?}");
    fake.ok(&stop("lan"));
    fake.ok(&["network", "start", "lan", "--file", &file]);
    std::fs::write(&file, "").unwrap();
    fake.ok(&stop("lan"));
    refused(&fake.run(&stop("lan")), ErrorKind::Invalid);
}

/// Of a rehearsal no guest is served: that is told, and is nothing that is missing.
#[test]
fn a_rehearsal_of_a_network_with_dhcp_is_whole() {
    let fake = Fake::new();
    let file = fake.0.path().join("networks.toml").display().to_string();
    let text = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\negress = \"xenbr0\"\ndhcp = true\n";
    std::fs::write(&file, text).unwrap();
    let on = |verb: &[&'static str]| fake.run(&[verb, &["--file", &file]].concat());
    let said = "network private: this rehearsal starts no dnsmasq, which would serve addresses (DHCP)";
    for verb in [&["plan", "network-start", "private"][..], &["network", "start", "private"]] {
        let got = on(verb);
        assert!(got.code == 0 && got.stderr.contains(said), "{got:?}");
    }
    let status = on(&["network", "status"]);
    assert!(status.stdout.contains("started") && !status.stdout.contains("damaged"), "{status:?}");
    fake.ok(&["network", "stop", "private"]);
}

#[test]
fn a_file_of_networks_that_is_not_there_is_told_with_what_writes_one() {
    let fake = Fake::new();
    for arguments in [&["network", "start", "lan"][..], &["network", "status"], &["plan", "network-start", "lan"]] {
        let got = fake.run(&[arguments, &["--file", "/nonexistent/networks.toml"]].concat());
        refused(&got, ErrorKind::Invalid);
        assert!(got.stderr.contains("/nonexistent/networks.toml cannot be read"), "{got:?}");
        assert!(got.stderr.contains("hint: ") && got.stderr.contains("xennet advise"), "{got:?}");
    }
}

#[test]
fn a_file_without_networks_and_one_with_a_network_twice_are_told() {
    let fake = Fake::new();
    let file = fake.0.path().join("networks.toml").display().to_string();
    let start = ["network", "start", "--all", "--file", &file];
    std::fs::write(&file, "# none yet\n").unwrap();
    let got = fake.run(&start);
    assert!(got.code == 0 && got.stderr == format!("note: there is no network in {file}\n"), "{got:?}");
    std::fs::write(&file, "[network.a]\nmode = \"bridge\"\n\n[network.a]\nmode = \"nat\"\n").unwrap();
    let got = fake.run(&start);
    refused(&got, ErrorKind::Invalid);
    assert!(got.stderr.contains("duplicate key") && got.stderr.contains("stands once"), "{got:?}");
    assert!(!got.stderr.contains("KEY = VALUE"), "{got:?}");
}

/// In which order the networks of a file change is nobody's concern: what one gives up, one before it can have.
#[test]
fn what_is_new_in_a_file_is_taken_over_whatever_its_order() {
    let fake = Fake::new();
    let file = fake.0.path().join("networks.toml").display().to_string();
    let describe = |b: &str, a: &str| {
        let one = |name: &str, net: u8, keys: &str| {
            format!("[network.{name}]\nmode = \"nat\"\negress = \"eth0\"\nsubnets = [\"10.{net}.0.0/24\"]\n{keys}\n")
        };
        std::fs::write(&file, [one("b", 2, b), one("a", 1, a)].concat()).unwrap();
    };
    let forward =
        |port: u16, net: u8| format!("forward = [{{ protocol = \"tcp\", ports = {port}, to = \"10.{net}.0.1\" }}]");
    let start = ["network", "start", "--all", "--file", &file];
    describe("", &forward(80, 1));
    fake.ok(&start);
    describe(&forward(80, 2), "");
    assert_eq!(
        fake.ok(&["network", "status", "--file", &file]).lines().skip(3).collect::<Vec<_>>(),
        [
            "",
            "b: new, and does not hold until it is started once more: forward",
            "a: new, and does not hold until it is started once more: forward"
        ]
    );
    assert_eq!(fake.ok(&start), "network a: changed, 1 step, verified\nnetwork b: changed, 1 step, verified\n");
    // What contradicts all the same is told once.
    describe(&forward(81, 2), &forward(80, 1));
    fake.ok(&start);
    describe(&forward(80, 2), &forward(81, 1));
    let got = fake.run(&start);
    refused(&got, ErrorKind::Conflict);
    assert_eq!(got.stderr.matches("tcp port 80 is handed on twice").count(), 1, "{got:?}");
    assert_eq!(got.stderr.matches("tcp port 81 is handed on twice").count(), 1, "{got:?}");
}

#[test]
fn a_plan_that_was_kept_is_carried_out_as_it_was_shown_or_not_at_all() {
    let fake = Fake::new();
    let dir = StateDir::new();
    let file = dir.path().join("plan.json");
    std::fs::write(&file, fake.ok(&["plan", "attach", "5", SPEC, "--json"])).unwrap();
    let file = file.to_str().unwrap();
    assert!(fake.ok(&["apply", file]).starts_with("vif5.0: as planned, "));
    let late = fake.run(&["apply", file]);
    refused(&late, ErrorKind::Stale);
    assert!(
        late.stderr.contains("nothing of it is left to do") && late.stderr.contains("state: unchanged"),
        "{late:?}"
    );
    // Several, one after the other, from standard input.
    let plans = fake.ok(&["plan", "undo", "vif5.0", "--json"]) + &fake.ok(&["plan", "detach", "7", "--json"]);
    let on_input = ["--backend", "fake", "--state-dir", fake.0.path().to_str().unwrap(), "apply", "-"];
    let piped = run_with_input(&on_input, plans.as_bytes());
    assert_eq!(piped.code, 0, "{piped:?}");
    assert_eq!(piped.stdout.lines().count(), 2, "{piped:?}");
    assert!(!fake.ok(&["show"]).contains("vif5.0  5       xenbr0"));
    for (text, words) in [("", "no plan in it"), ("{}", "cannot be read"), ("plan", "cannot be read")] {
        let got = run_with_input(&on_input, text.as_bytes());
        refused(&got, ErrorKind::Invalid);
        assert!(got.stderr.contains(words), "{got:?}");
    }
    assert_eq!(fake.ok(&["plan", "recover"]), "nothing was interrupted, and nothing is missing\n");
}
