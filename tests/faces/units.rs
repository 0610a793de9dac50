//! The units in `examples/systemd`, as systemd itself reads them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use xennet_tests::StateDir;

use crate::command::{program, run};

const UNITS: [&str; 2] = ["xennet-recover.service", "xennet-networks.service"];

/// Where the sources are.
fn place() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/systemd");
    if fs::metadata(path.join(UNITS[0])).is_err() {
        assert!(std::env::var_os("XENNET_BIN").is_some(), "{} cannot be read", path.display());
        eprintln!("skipped: the sources are not here");
        return None;
    }
    Some(path)
}

/// The words of all lines with this key.
fn words<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    let lines = unit.lines().filter_map(|line| line.split_once('=')).filter(|(k, _)| *k == key);
    lines.flat_map(|(_, value)| value.split_whitespace()).collect()
}

#[test]
fn systemd_takes_the_units_and_their_order_has_no_circle() {
    let Some(source) = place() else { return };
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is not here, and CI is set");
        eprintln!("skipped: systemd-analyze is not here");
        return;
    }
    let dir = StateDir::new();
    let mut paths = Vec::new();
    for unit in UNITS {
        let text = fs::read_to_string(source.join(unit)).unwrap();
        // systemd looks whether the program is there, and the manual page is none of this machine.
        let text = text.replace("/usr/local/sbin/xennet", Path::new(&program()).to_str().unwrap());
        let text: String =
            text.lines().filter(|l| !l.starts_with("Documentation=")).map(|l| format!("{l}\n")).collect();
        paths.push(dir.path().join(unit));
        fs::write(paths.last().unwrap(), text).unwrap();
    }
    // Those that ours stand between, in the order that they have on real hosts.
    let others = [
        (
            "xendomains.service",
            "After=network-online.target\nWants=network-online.target xennet-networks.service",
            "true",
        ),
        ("nftables.service", "DefaultDependencies=no\nBefore=network-pre.target\nWants=network-pre.target", "true"),
        ("networking.service", "After=network-pre.target\nBefore=network.target\nWants=network.target", "true"),
        ("systemd-networkd-wait-online.service", "DefaultDependencies=no\nBefore=network-online.target", "true"),
    ];
    for (unit, order, does) in others {
        let text = format!("[Unit]\n{order}\n[Service]\nType=oneshot\nExecStart=/bin/{does}\n");
        fs::write(dir.path().join(unit), text).unwrap();
        paths.push(dir.path().join(unit));
    }
    let analyze = |paths: &[PathBuf]| {
        let mut command = Command::new("systemd-analyze");
        command.args(["--man=no", "verify"]).args(paths);
        let path = format!("{}:", dir.path().display());
        let output = command.env("SYSTEMD_UNIT_PATH", path).env("SYSTEMD_LOG_LEVEL", "warning").output().unwrap();
        (output.status.success(), String::from_utf8(output.stderr).unwrap())
    };
    let (fine, said) = analyze(&paths);
    let about_ours = |said: &str| said.lines().filter(|l| l.contains("xennet") || l.contains("cycle")).count();
    assert!(fine && about_ours(&said) == 0, "{said}");

    // What is looked at is seen: a key that there is none of, and a circle.
    let wrong = dir.path().join(UNITS[1]);
    let text = fs::read_to_string(&wrong).unwrap();
    fs::write(&wrong, text.replace("RemainAfterExit=", "RemainAfterwards=")).unwrap();
    assert!(about_ours(&analyze(&paths).1) > 0);
    fs::write(&wrong, text.replace("[Service]", "After=xendomains.service\n[Service]")).unwrap();
    assert!(about_ours(&analyze(&paths).1) > 0);
}

#[test]
fn the_units_stand_between_the_firewall_and_the_guests() {
    let Some(source) = place() else { return };
    let unit = |name: &str| fs::read_to_string(source.join(name)).unwrap();
    let (recover, networks) = (unit(UNITS[0]), unit(UNITS[1]));
    for text in [&recover, &networks] {
        for before in ["network-pre.target", "systemd-sysctl.service", "nftables.service"] {
            assert!(words(text, "After").contains(&before), "{before}");
        }
        assert!(words(text, "Before").contains(&"xendomains.service"));
        assert_eq!(words(text, "Type"), ["oneshot"]);
        assert!(!words(text, "TimeoutStartSec").is_empty(), "a oneshot has no deadline of its own");
    }
    assert!(words(&recover, "Before").contains(&UNITS[1]));
    assert!(words(&networks, "After").contains(&UNITS[0]) && words(&networks, "Wants").contains(&UNITS[0]));
    assert!(words(&networks, "Before").contains(&"network-online.target"));
    // It must run again at each start of the networks, so it does not remain.
    assert_eq!((words(&networks, "RemainAfterExit"), words(&recover, "RemainAfterExit")), (vec!["yes"], vec![]));
}

#[test]
fn what_the_units_and_the_page_beside_them_run_are_commands() {
    let Some(source) = place() else { return };
    let page = fs::read_to_string(source.join("README.md")).unwrap();
    let mut typed: Vec<String> = page.lines().filter_map(|l| l.strip_prefix("xennet ")).map(str::to_owned).collect();
    assert!(typed.len() >= 2);
    for unit in UNITS {
        assert!(page.contains(&format!("]({unit})")), "{unit}");
        let text = fs::read_to_string(source.join(unit)).unwrap();
        let run = |l: &str| l.strip_prefix("ExecStart=").or(l.strip_prefix("ExecStop=")).map(str::to_owned);
        let lines: Vec<String> = text.lines().filter_map(run).collect();
        assert!(!lines.is_empty());
        typed.extend(lines.iter().map(|l| l.strip_prefix("/usr/local/sbin/xennet ").unwrap().to_owned()));
    }
    for line in &typed {
        let words: Vec<&str> = line.split_whitespace().chain(["--help"]).collect();
        assert_eq!(run(&words).code, 0, "xennet {line}");
    }
}
