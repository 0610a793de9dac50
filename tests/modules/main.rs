//! What is loaded behind our back: how often the kernel runs modprobe, and for what.
//!
//! Counted where a script stands in the place of modprobe that adds a line to the file `$XENNET_MODPROBE_LOG` (tests/debian-kernel).
//! One test, alone in its machine: whoever else is there would be counted, too.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

#[allow(dead_code, reason = "hotplug calls need more of it")]
#[path = "../hotplug/rig.rs"]
mod rig;

use std::path::PathBuf;
use std::process::Command;

use xennet_tests::in_netns;

use rig::{Rig, outside};

const NETWORKS: &str = "
[network.lan]
mode = \"bridge\"
uplink = \"eth1\"
bridge = \"br7\"
[network.nat]
mode = \"nat\"
egress = \"eth0\"
subnets = [\"10.1.0.0/24\", \"fd00:1::/64\"]
forward = [{ protocol = \"tcp\", ports = \"8080\", to = \"10.1.0.5\", to_port = 80 }]
[network.own]
mode = \"nat\"
egress = \"eth0\"
subnets = [\"10.3.0.0/24\"]
bridge = \"natbr0\"
[network.dmz]
mode = \"routed\"
subnets = [\"10.2.0.0/24\", \"fd00:2::/64\"]
";

/// Of whom it is known how often modprobe ran, and for what.
struct Counted {
    log: PathBuf,
    all: Vec<String>,
}

impl Counted {
    /// What was asked for since the last time: the last word of each line.
    fn since(&mut self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.log).unwrap();
        let all: Vec<String> =
            text.lines().filter_map(|l| l.split_whitespace().next_back()).map(str::to_owned).collect();
        let new = all[self.all.len()..].to_vec();
        self.all = all;
        new
    }

    fn none(&mut self, what: &str) {
        let new = self.since();
        assert!(new.is_empty(), "{what}: modprobe ran {} times: {new:?}", new.len());
        println!("{what}: 0");
    }

    fn some(&mut self, what: &str) -> Vec<String> {
        let new = self.since();
        println!("{what}: {} {new:?}", new.len());
        new
    }
}

#[test]
fn nothing_is_loaded_in_a_call_once_networks_are_started() {
    let Some(log) = std::env::var_os("XENNET_MODPROBE_LOG").map(PathBuf::from) else {
        eprintln!(
            "skipped: nobody counts here how often modprobe runs ($XENNET_MODPROBE_LOG): tests/debian-kernel modules"
        );
        return;
    };
    in_netns("nothing_is_loaded_in_a_call_once_networks_are_started", || {
        let rig = Rig::bare();
        outside(&rig, "eth0", "192.0.2.1/24");
        outside(&rig, "eth1", "198.51.100.1/24");
        let file = rig.path("networks.toml");
        std::fs::write(&file, NETWORKS).unwrap();
        let xennet = |words: &[&str]| {
            let mut command = Command::new(rig::program());
            let output = command.arg("--state-dir").arg(rig.path("state")).args(words).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let mut counted = Counted { log, all: Vec::new() };
        counted.since();
        let before = counted.all.len();
        // Routed mode first, which needs the least.
        for network in ["dmz", "lan", "nat", "own"] {
            let (good, text) = xennet(&["network", "start", network, "--file", file.to_str().unwrap()]);
            assert!(good, "{network}: {text}");
            let new = counted.some(&format!("network start {network}"));
            if network == "dmz" {
                let translates = |module: &&String| {
                    ["nat", "masq", "fib", "conntrack"].iter().any(|word| module.contains(word))
                        || module.ends_with("-ct")
                };
                assert_eq!(new.iter().find(translates), None, "nobody is translated");
                rig.vif("vif4.0", &[("bridge", "dmz"), ("ip", "10.2.0.4"), ("mac", "00:16:3e:00:00:04")]);
                rig.ok_of("vif-route", "vif4.0", "online");
                counted.none("the first routed guest");
            }
        }
        let mac = |n: usize| format!("00:16:3e:00:00:{n:02x}");
        let guests = [
            ("vif-bridge", "br7", "198.51.100.7 2001:db8::7"),
            ("vif-bridge", "lan", "198.51.100.64/26"),
            ("vif-bridge", "br7", ""),
            ("vif-nat", "nat", "10.1.0.5 fd00:1::5"),
            ("vif-route", "dmz", "10.2.0.5 fd00:2::5"),
            ("vif-bridge", "own", "10.3.0.5"),
        ];
        for (at, (script, bridge, ip)) in guests.iter().enumerate() {
            let (vif, mac) = (format!("vif{}.0", at + 5), mac(at));
            let renamed = format!("dummy{at}");
            let mut nodes = vec![("bridge", *bridge), ("mac", &*mac)];
            if !ip.is_empty() {
                nodes.push(("ip", *ip));
            }
            if at % 2 == 0 {
                nodes.push(("vifname", &*renamed));
            }
            rig.vif(&vif, &nodes);
            for verb in ["online", "online"] {
                rig.ok_of(script, &vif, verb);
                counted.none(&format!("{script} {verb} {bridge} {ip}"));
            }
            // As netback leaves it.
            rig.remove(if at % 2 == 0 { &renamed } else { &vif });
            for _ in 0..2 {
                rig.ok_of(script, &vif, "offline");
                counted.none(&format!("{script} offline, the link gone, {bridge} {ip}"));
            }
            let call = rig::run(&mut rig.command_of(script, &vif, "online"));
            assert_eq!(call.code, Some(1), "{script} without its link");
            counted.none(&format!("{script} online without its link"));
        }
        assert!(!xennet(&["attach", "99", "bridge=br7"]).0);
        counted.none("attach without its link");
        rig.ok_of("vif-route", "vif4.0", "offline");
        counted.none("vif-route offline, the link there");
        for network in ["own", "nat", "lan", "dmz"] {
            let (good, text) = xennet(&["network", "stop", network]);
            assert!(good, "{network}: {text}");
            counted.none(&format!("network stop {network}"));
        }
        // For each expression the name with the family's number comes first. Where no module has it, it is asked for once more.
        let mut once: Vec<&String> = counted.all[before..].iter().filter(|m| !is_of_family(m)).collect();
        once.sort();
        let twice: Vec<_> = once.windows(2).filter(|pair| pair[0] == pair[1]).collect();
        assert!(twice.is_empty(), "asked for twice: {twice:?}");
        let links = ["netdev-", "dummy", "vif", "br7", "natbr0", "eth"];
        let named: Vec<_> = counted.all[before..].iter().filter(|m| links.iter().any(|l| m.starts_with(l))).collect();
        assert!(named.is_empty(), "asked for by a link's name: {named:?}");
    });
}

/// `nft-expr-1-masq`.
fn is_of_family(module: &str) -> bool {
    module.strip_prefix("nft-expr-").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}
