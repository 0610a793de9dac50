//! `network-bridge`, `network-nat` and `network-route` by their names: every situation that was recorded of Xen's own scripts
//! (`legacy-network-scripts.json`), with the same end, or a better one for a reason.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use xennet_core::MacAddr;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Part, Scope};
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{StateDir, in_netns};

/// What became of a situation.
enum Outcome {
    Same,
    /// Why ours is better.
    Better(&'static str),
}
use Outcome::{Better, Same};

/// A host with `eth0`, and the scripts' names.
struct Rig {
    state: StateDir,
}

impl Rig {
    fn new(addresses: &[&str], default: bool) -> Self {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        for (at, link) in ["eth0", "eth1"].into_iter().enumerate() {
            let kind = NewLink::Veth { peer: name(&format!("lan{at}")) };
            let mac = MacAddr::new([2, 0, 0, 0, 0x53, u8::try_from(at).unwrap()]);
            let change = LinkChange::default().with_mac(mac);
            run(&mut on, Step::Link(LinkStep::Create { name: name(link), kind, change }));
            for end in [link, &format!("lan{at}")] {
                set(&mut on, end, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
                set(&mut on, end, up());
            }
        }
        let state = StateDir::new();
        std::fs::create_dir_all(state.path()).unwrap();
        let settings = format!("state_dir = \"{}\"\n", state.path().join("run").display());
        std::fs::write(state.path().join("hotplug.toml"), settings).unwrap();
        for script in ["network-bridge", "network-nat", "network-route"] {
            std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_xennet"), state.path().join(script)).unwrap();
        }
        for address in addresses {
            ip(&["address", "add", address, "dev", "eth0"]);
        }
        if default {
            ip(&["route", "add", "default", "via", "192.168.1.1"]);
        }
        Rig { state }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.state.path().join(name)
    }

    /// Calls a script by its name; the exit status.
    fn call(&self, script: &str, words: &str) -> i32 {
        let mut command = Command::new(self.path(script));
        command
            .args(words.split_whitespace())
            .env("XENNET_HOTPLUG_CONFIG", self.path("hotplug.toml"))
            .stdin(Stdio::null());
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        print!("{script} {words}: {text}");
        output.status.code().unwrap()
    }

    fn succeed(&self, script: &str, words: &str) {
        assert_eq!(self.call(script, words), 0, "{script} {words}");
    }

    fn look(&self) -> String {
        look()
    }
}

fn ip(words: &[&str]) {
    assert!(Command::new("ip").args(words).status().unwrap().success(), "ip {words:?}");
}

fn look() -> String {
    let mut on = Netlink::open().unwrap();
    let forward = Part::Sysctl("net/ipv4/ip_forward".parse().unwrap());
    let proxy = Part::Sysctl("net/ipv4/conf/eth0/proxy_arp".parse().unwrap());
    on.observe(&Scope::network().with(forward).with(proxy)).unwrap().render()
}

#[track_caller]
fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.contains(line), "{line}\n{text}");
    }
}

const ONE: &[&str] = &["192.168.1.86/24", "2001:db8::86/64"];

/// What the script lost: another route, and an IPv6 address.
fn with_more(rig: &Rig) -> String {
    ip(&["route", "add", "172.16.0.0/12", "via", "192.168.1.2"]);
    rig.look()
}

const MOVED: &[&str] = &[
    "ip address add 192.168.1.86/24 dev BRIDGE",
    "ip address add 2001:db8::86/64 dev BRIDGE",
    "ip route add default via 192.168.1.1 dev BRIDGE",
    "ip route add 172.16.0.0/12 via 192.168.1.2 dev BRIDGE",
    "stp_state 0 forward_delay 0",
];

fn moved_to(bridge: &str, text: &str) {
    for line in MOVED {
        has(text, &[&line.replace("BRIDGE", bridge)]);
    }
}

/// Carries out the situation with this number of the vectors.
fn situation(number: usize) -> Outcome {
    let bridge = "network-bridge";
    match number {
        0 | 1 => {
            let rig = Rig::new(ONE, true);
            with_more(&rig);
            rig.succeed(bridge, "start");
            let after = rig.look();
            moved_to("xenbr0", &after);
            has(&after, &["ip link set eth0 master xenbr0"]);
            Better("nothing is lost, no loopback pair is needed, and the NIC keeps its name")
        }
        2 => {
            let rig = Rig::new(ONE, true);
            let before = with_more(&rig);
            rig.succeed(bridge, "start");
            rig.succeed(bridge, "stop");
            assert_eq!(rig.look(), before);
            Better("stop works, and everything is as before")
        }
        3 => {
            let rig = Rig::new(ONE, true);
            with_more(&rig);
            rig.succeed(bridge, "start netdev=eth0 bridge=eth0");
            let after = rig.look();
            moved_to("eth0", &after);
            has(&after, &["ip link set peth0 master eth0", "ip link add eth0 address 02:00:00:00:53:00"]);
            Better("nothing is lost")
        }
        4 | 5 => {
            let rig = Rig::new(&["192.168.1.86/24", "192.168.1.87/24", "10.7.0.1/16"], true);
            let words = if number == 4 { "start" } else { "start bridge=eth0" };
            let before = rig.look();
            rig.succeed(bridge, words);
            let name = if number == 4 { "xenbr0" } else { "eth0" };
            for address in ["192.168.1.86/24", "192.168.1.87/24", "10.7.0.1/16"] {
                has(&rig.look(), &[&format!("ip address add {address} dev {name}")]);
            }
            has(&rig.look(), &[&format!("ip route add default via 192.168.1.1 dev {name}")]);
            rig.succeed(bridge, &words.replace("start", "stop"));
            assert_eq!(rig.look(), before);
            Better("the host stays reachable")
        }
        6 => {
            let rig = Rig::new(ONE, true);
            ip(&["link", "add", "br7", "type", "bridge"]);
            rig.succeed(bridge, "start");
            has(&rig.look(), &["ip link set eth0 master xenbr0"]);
            Better("another bridge is no reason not to make the one that is asked for")
        }
        7 => {
            let rig = Rig::new(ONE, true);
            rig.succeed(bridge, "start");
            has(&rig.look(), &["ip link set eth0 master xenbr0"]);
            Better("it does not depend on what another program prints")
        }
        8 => {
            let rig = Rig::new(ONE, true);
            rig.succeed(bridge, "start netdev=eth0 bridge=xenbr0");
            rig.succeed(bridge, "start netdev=eth1 bridge=xenbr1");
            has(&rig.look(), &["ip link set eth0 master xenbr0", "ip link set eth1 master xenbr1"]);
            Better("both bridges are made")
        }
        9..=11 => {
            let rig = Rig::new(ONE, false);
            rig.succeed(bridge, "start netdev=eth0 antispoof=yes");
            has(&rig.look(), &["ip address add 192.168.1.86/24 dev xenbr0"]);
            Better("no default route is needed, and no lock is left behind")
        }
        12 => {
            let rig = Rig::new(ONE, true);
            let before = rig.look();
            rig.succeed(bridge, "start antispoof=yes");
            rig.succeed(bridge, "stop antispoof=yes");
            assert_eq!(rig.look(), before);
            Better("the administrator's FORWARD chain is left alone; forged frames are the guard's matter")
        }
        13 => {
            let rig = Rig::new(ONE, true);
            rig.succeed(bridge, "start bridge=eth0");
            let started = rig.look();
            rig.succeed(bridge, "start bridge=eth0");
            assert_eq!(rig.look(), started);
            Same
        }
        14 => {
            let rig = Rig::new(ONE, true);
            let before = rig.look();
            for verb in ["start", "stop"] {
                rig.succeed(bridge, &format!("{verb} bridge=null"));
                assert_eq!(rig.look(), before);
            }
            Same
        }
        15 => {
            let rig = Rig::new(ONE, true);
            rig.succeed("network-nat", "start netdev=eth0");
            has(&rig.look(), &["sysctl net/ipv4/ip_forward=1"]);
            Better("what worked is a success")
        }
        16 => {
            let rig = Rig::new(ONE, true);
            rig.succeed("network-nat", "start");
            let once = rig.look();
            rig.succeed("network-nat", "start");
            assert_eq!(rig.look(), once);
            Better("twice is once")
        }
        17 => {
            let rig = Rig::new(ONE, true);
            let before = rig.look();
            rig.succeed("network-nat", "start");
            rig.succeed("network-nat", "stop");
            assert_eq!(rig.look(), before);
            Better("forwarding is off again")
        }
        18 => {
            let rig = Rig::new(ONE, true);
            rig.succeed("network-nat", "stop");
            Better("stopped is stopped")
        }
        19 => {
            let rig = Rig::new(ONE, true);
            rig.succeed("network-route", "start");
            has(&rig.look(), &["sysctl net/ipv4/ip_forward=1"]);
            Same
        }
        20 => {
            let rig = Rig::new(ONE, true);
            rig.succeed("network-route", "start");
            has(&rig.look(), &["sysctl net/ipv4/ip_forward=1", "sysctl net/ipv4/conf/eth0/proxy_arp=1"]);
            Better("without netdev= the link of the default route is taken")
        }
        21 => {
            let rig = Rig::new(ONE, true);
            let before = rig.look();
            rig.succeed("network-route", "status");
            assert_eq!(rig.look(), before);
            rig.succeed("network-route", "start netdev=eth0");
            has(&rig.look(), &["sysctl net/ipv4/ip_forward=1", "sysctl net/ipv4/conf/eth0/proxy_arp=1"]);
            rig.succeed("network-route", "stop netdev=eth0");
            assert_eq!(rig.look(), before);
            Better("status only looks, and stop undoes")
        }
        22 => {
            let rig = Rig::new(ONE, true);
            let before = rig.look();
            assert_eq!(rig.call("network-route", "start netdev=eth9"), 1);
            assert_eq!(rig.look(), before);
            Better("it fails as the script does, and leaves nothing")
        }
        other => panic!("situation {other} is new: say what becomes of it"),
    }
}

#[test]
fn every_recorded_situation_ends_as_well_or_better() {
    let text = include_str!("../vectors/legacy-network-scripts.json");
    let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    let (mut same, mut better) = (0, 0);
    let mut table = String::new();
    for (number, case) in cases.iter().enumerate() {
        let mut outcome = Same;
        in_netns("legacy::every_recorded_situation_ends_as_well_or_better", || outcome = situation(number));
        let words = ["version", "script", "setup", "command"].map(|key| case[key].as_str().unwrap_or_default());
        let verdict = match outcome {
            Same => {
                same += 1;
                "same".to_owned()
            }
            Better(why) => {
                better += 1;
                format!("better: {why}")
            }
        };
        table.push_str(&format!("{number:2} {}: {verdict}\n", words.join(" ")));
    }
    println!("{table}{same} same, {better} better, of {}", cases.len());
}

#[test]
fn a_wrong_call_is_told_and_changes_nothing() {
    in_netns("legacy::a_wrong_call_is_told_and_changes_nothing", || {
        let rig = Rig::new(ONE, true);
        let before = rig.look();
        for words in ["", "restart", "start brigde=x", "start netdev=a/b"] {
            assert_eq!(rig.call("network-bridge", words), 1, "{words}");
            assert_eq!(rig.look(), before, "{words}");
        }
    });
}
