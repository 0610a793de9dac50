//! `advise`: from options, and from answers on a terminal.

use std::process::{Command, Stdio};

use xennet_core::config::networks;

use crate::command::{finish, program, run, run_as_nobody};

#[test]
fn the_five_scenarios_by_options() {
    for (options, mode) in [
        (&["--lan=yes", "--addresses=lan", "--reachable=yes", "--uplink=eth0"][..], "bridge"),
        (&["--lan=yes", "--addresses=lan", "--reachable=yes", "--macs=any", "--uplink=eth1"], "bridge"),
        (&["--lan=no"], "nat"),
        (&["--lan=yes", "--addresses=own", "--reachable=no", "--subnet=10.0.0.0/24"], "nat"),
        (&["--lan=yes", "--addresses=own", "--reachable=yes", "--route=yes", "--dom0=192.168.0.3/24"], "routed"),
    ] {
        let text = run([&["advise"], options].concat());
        assert_eq!((text.code, text.stderr.as_str()), (0, ""), "{options:?}");
        let read = networks::parse(&text.stdout).unwrap();
        let network = read.iter().next().unwrap();
        assert_eq!(network.mode_name(), mode, "{options:?}");
        assert!(text.stdout.starts_with(&format!("# Advised: mode {mode}, because\n# - ")), "{text:?}");
        let document = run([&["--json", "advise"], options].concat()).json();
        assert_eq!((&document["network"]["mode"], &document["text"]), (&mode.into(), &text.stdout.as_str().into()));
        assert!(document["reasons"].as_array().unwrap().len() >= 2);
        // The vif line that it names is one that attach takes.
        let vif = document["vif"].as_str().unwrap();
        assert_eq!(run(["parse", "vif", vif]).code, 0, "{vif}");
    }
}

#[test]
fn what_is_missing_or_cannot_be_is_refused_with_the_option() {
    for (options, hint) in [
        (&[][..], "--lan yes|no"),
        (&["--lan=yes"], "--addresses lan|own"),
        (&["--lan=yes", "--addresses=own", "--reachable=yes"], "--route yes|no"),
        (&["--lan=no", "--addresses=lan"], "--addresses own"),
        (&["--lan=no", "--subnet=10.0.0.1/24"], "10.0.0.0/24"),
        (&["--lan=no", "--uplink=a/b"], "a link's name"),
    ] {
        let got = run([&["--json", "advise"], options].concat());
        assert_eq!((got.code, got.stdout.as_str()), (2, ""), "{options:?}: {got:?}");
        assert!(got.json_lines()[0]["hint"].as_str().unwrap().contains(hint), "{options:?}: {got:?}");
    }
    assert_eq!(run(["advise", "--lan=maybe"]).code, 2);
    assert_eq!(run_as_nobody(&["advise", "--lan=no"]).code, 0);
}

/// Types answers on a terminal.
fn typed(answers: &str) -> crate::command::Run {
    let mut command = Command::new("script");
    let line = format!("'{}' advise", program().to_str().unwrap());
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    // The terminal is the one that it makes; what is typed comes through a pipe, which stays open until it has ended.
    let mut typist = Command::new("sh")
        .args(["-c", "printf \"$1\"; exec sleep 5", "sh", answers])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let got = finish(command.stdin(typist.stdout.take().unwrap()));
    typist.kill().unwrap();
    typist.wait().unwrap();
    got
}

#[test]
fn on_a_terminal_what_matters_is_asked() {
    if Command::new("script").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "script is not here, and CI is set");
        eprintln!("skipped: script is not here");
        return;
    }
    let got = typed("yes\nown\nperhaps\nno\nyes\n\n192.168.0.3/24\n10.7.0.0/24\n");
    assert_eq!(got.code, 0, "{got:?}");
    let said = got.stdout.replace('\r', "");
    assert!(said.contains("Is there a network already that this host is part of? [yes/no]"), "{said}");
    assert!(said.contains("reachable cannot be \"perhaps\": answer yes or no\n"), "{said}");
    assert!(!said.contains("Can that network's router"), "what does not matter is not asked: {said}");
    assert!(said.ends_with("[network.private]\nmode = \"nat\"\nsubnets = [\"10.7.0.0/24\"]\ndhcp = true\n"), "{said}");
    let gone = typed("yes\\n\\004");
    assert!(gone.code == 2 && gone.stdout.contains("there is no answer to: Where do guests' addresses"), "{gone:?}");
}
