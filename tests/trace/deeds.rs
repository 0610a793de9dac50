//! What administrators and other programs do to a host.

use crate::stage::{DMZ, LAN, PRIVATE, SHARED, Stage, command, name_is_here, nft, write};
use xennet_tests::chance::Chance;

/// Does one thing.
pub(crate) fn do_one(chance: &mut Chance, stage: &mut Stage) {
    let vif = chance.one(&stage.links).clone();
    let is_port = vif.starts_with("vif") && std::path::Path::new(&format!("/sys/class/net/{vif}/brport")).exists();
    let story = match chance.below(18) {
        0 => setting("net/ipv4/conf/all/rp_filter", chance.one(&["1", "2"])),
        1 => setting(&format!("net/ipv4/conf/{vif}/rp_filter"), chance.one(&["0", "1", "2"])),
        2 => setting("net/ipv4/ip_forward", "0"),
        3 => setting("net/ipv6/conf/all/forwarding", "0"),
        4 => setting(&format!("net/ipv4/conf/{vif}/forwarding"), "0"),
        5 if vif.starts_with("vif") => ip(&format!("ip link set {vif} down")),
        6 => {
            let to = chance.one(&["10.0.0.1", "10.1.0.0/24", "198.51.100.0/24", "192.168.0.8", "10.2.0.2"]);
            let kind = chance.one(&["blackhole", "unreachable", "prohibit"]);
            ip(&format!("ip route add {kind} {to} metric 1"))
        }
        7 => {
            let to = chance.one(&["2001:db8:ffff::/48", "fd00:1::11", "2001:db8:7::12/128"]);
            ip(&format!("ip -6 route add blackhole {to} metric 1"))
        }
        8 => setting(&format!("net/ipv4/conf/{vif}/proxy_arp"), "0"),
        9 => setting(&format!("net/ipv4/conf/{vif}/arp_ignore"), chance.one(&["1", "2"])),
        10 => {
            let which = chance.one(&[
                "from 10.0.0.0/24 blackhole",
                "to 198.51.100.0/24 prohibit",
                "iif eth0 to 10.2.0.0/24 unreachable",
                "from 10.1.0.2 lookup 77",
            ]);
            if which.contains("77") {
                command("ip route add unreachable default table 77");
            }
            ip(&format!("ip rule add {which} priority 50"))
        }
        11 if stage.has(PRIVATE) || stage.has(SHARED) || stage.has(DMZ) => {
            let chains: &[&str] = if stage.has(PRIVATE) || stage.has(SHARED) {
                &["prerouting", "forward", "hiding", "handing-on", "from-guest", "to-hidden", "from-hidden", "messages"]
            } else {
                &["prerouting", "from-guest"]
            };
            rules(&format!("flush chain inet xennet {}", chance.one(chains)))
        }
        12 if stage.has(LAN) || stage.has(SHARED) => {
            rules(&format!("flush chain bridge xennet-guard {}", chance.one(&["prerouting", "declared"])))
        }
        13 if stage.has(LAN) || stage.has(SHARED) => {
            setting("net/bridge/bridge-nf-call-iptables", "1");
            setting("net/bridge/bridge-nf-call-ip6tables", "1")
        }
        14 if is_port => ip(&format!("bridge link set dev {vif} isolated on")),
        15 if is_port => {
            let what = chance.one(&[
                "bcast_flood off",
                "mcast_flood off",
                "learning off flood off",
                "hairpin on",
                "locked on",
            ]);
            ip(&format!("bridge link set dev {vif} {what}"))
        }
        16 if name_is_here("natbr0") => ip("ip link set natbr0 down"),
        17 if vif.starts_with("vif") => setting(&format!("net/ipv6/conf/{vif}/disable_ipv6"), "1"),
        _ => return,
    };
    stage.story.push(story);
}

fn setting(key: &str, value: impl AsRef<str>) -> String {
    let value = value.as_ref();
    let done = write(key, value);
    format!("sysctl {key}={value}{}", if done { "" } else { " (not there)" })
}

fn ip(line: &str) -> String {
    let mut words = line.split_whitespace();
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin";
    let output = std::process::Command::new(words.next().unwrap()).args(words).env("PATH", path).output().unwrap();
    // A second time it is there already.
    format!("{line}{}", if output.status.success() { "" } else { " (refused)" })
}

fn rules(text: &str) -> String {
    nft(text);
    format!("nft {text}")
}
