//! The README's chapter on guests without a network: each transcript is what the commands print on such a host.

use std::path::Path;
use std::process::Command;

use xennet_core::config::networks;
use xennet_core::xenstore::server::{Server, Settings};
use xennet_core::{DomId, Host, exec};
use xennet_tests::lease::soon;
use xennet_tests::{StateDir, in_netns};

use super::command::program;

const NETWORKS: &str = r#"
[network.lan]
mode = "bridge"
bridge = "xenbr0"
uplink = "eth0"

[network.private]
mode = "nat"
subnets = ["10.1.0.0/24"]

[network.public]
mode = "routed"
subnets = ["198.51.100.0/28"]
proxy_arp = true
"#;

/// Number, name and vif line of each guest.
const GUESTS: [(u32, &str, &str); 3] = [
    (5, "web01", "bridge=xenbr0,ip=192.0.2.5"),
    (6, "build", "bridge=private,ip=10.1.0.6"),
    (7, "mail", "bridge=public,ip=198.51.100.7"),
];

fn sh(line: &str) {
    assert!(Command::new("sh").args(["-ec", line]).status().unwrap().success(), "{line}");
}

/// A host with a guest in each mode, each known to xenstore by its name.
fn host(state: &StateDir, store: &Server) {
    sh("ip link set lo up
        ip link add eth0 address 02:00:00:00:00:01 type veth peer name wire
        ip link set eth0 up; ip link set wire up
        ip address add 192.0.2.2/24 dev eth0; ip route add default via 192.0.2.1
        for n in ip ip6; do sysctl -qw net.bridge.bridge-nf-call-${n}tables=0 2>/dev/null || true; done");
    let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
    for network in networks::parse(NETWORKS).unwrap().iter() {
        host.start_network(network).unwrap();
    }
    sh("ip link set xenbr0 type bridge mcast_snooping 0");
    for (n, name, line) in GUESTS {
        sh(&format!(
            "ip link add vif{n}.0 address fe:ff:ff:ff:ff:ff type veth peer name guest{n}; ip link set guest{n} up"
        ));
        let line = format!("mac=00:16:3e:00:00:0{n},{line}");
        host.attach(DomId::new(n).unwrap(), &line.parse().unwrap()).unwrap();
        let backend = format!("/local/domain/0/backend/vif/{n}/0");
        let mut nodes = vec![(format!("/local/domain/{n}/name"), name)];
        nodes.extend(
            line.split(',').filter_map(|part| part.split_once('=')).map(|(k, v)| (format!("{backend}/{k}"), v)),
        );
        nodes.extend([("state", "4"), ("hotplug-status", "connected")].map(|(k, v)| (format!("{backend}/{k}"), v)));
        nodes.push((format!("/local/domain/{n}/device/vif/0/state"), "4"));
        store.tree(|tree| nodes.iter().for_each(|(path, value)| tree.set(path, value.as_bytes()).unwrap()));
    }
    soon("the bridge's ports forward", || {
        let ports = Command::new("bridge").args(["link", "show"]).output().unwrap();
        let text = String::from_utf8_lossy(&ports.stdout).into_owned();
        text.lines().all(|line| line.contains("state forwarding"))
    });
}

/// The commands of a transcript, carried out one after the other, with what they print.
fn played(commands: &[&str], state: &StateDir, store: &Server) -> String {
    let place = program();
    let place = Path::new(&place).parent().unwrap();
    let path = format!("{}:{}:/usr/sbin:/sbin", place.display(), std::env::var("PATH").unwrap_or_default());
    let mut printed = String::new();
    for line in commands {
        let output = Command::new("sh")
            .args(["-c", &format!("{line} 2>&1")])
            .env("PATH", &path)
            .env("XENNET_STATE_DIR", state.path())
            .env("XENSTORED_PATH", store.path())
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        printed.push_str(&format!("# {line}\n{}", String::from_utf8_lossy(&output.stdout)));
    }
    printed
}

/// The transcript behind a mark in the README: where it is, and its commands.
fn transcript<'a>(readme: &'a str, mark: &str) -> (std::ops::Range<usize>, Vec<&'a str>) {
    let mark = format!("<!-- transcript: {mark} -->\n```console\n");
    let start = readme.find(&mark).unwrap_or_else(|| panic!("the README has no {mark}")) + mark.len();
    let end = start + readme[start..].find("```\n").unwrap();
    // A fact of doctor begins with a blank, and a command with the prompt of root.
    (start..end, readme[start..end].lines().filter_map(|line| line.strip_prefix("# ")).collect())
}

fn compare(test: &str, mark: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let Ok(readme) = std::fs::read_to_string(&file) else {
        assert!(std::env::var_os("XENNET_BIN").is_some(), "{} cannot be read", file.display());
        eprintln!("skipped: the sources are not here");
        return;
    };
    in_netns(&format!("troubleshooting::{test}"), || {
        let (state, store) = (StateDir::new(), Server::start(Settings::default()).unwrap());
        host(&state, &store);
        let (place, commands) = transcript(&readme, mark);
        let printed = played(&commands, &state, &store);
        if std::env::var_os("XENNET_BLESS").is_some() {
            let mut new = readme.clone();
            new.replace_range(place, &printed);
            std::fs::write(&file, new).unwrap();
            return;
        }
        assert_eq!(&readme[place], printed, "write it anew with XENNET_BLESS=1, one test at a time");
    });
}

#[test]
fn a_bridged_guest() {
    compare("a_bridged_guest", "bridge");
}

#[test]
fn a_hidden_guest() {
    compare("a_hidden_guest", "nat");
}

#[test]
fn a_routed_guest() {
    compare("a_routed_guest", "routed");
}
