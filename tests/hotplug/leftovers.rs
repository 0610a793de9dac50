//! What a guest leaves behind: when it ends without a call, when its record is lost, and when a newer guest has its address.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, Stdio};

use xennet_core::snapshot::NeighbourKind;
use xennet_core::{BridgeSpec, GuestLinks, NatNetwork, RoutedNetwork, Started};
use xennet_tests::in_netns;

use crate::rig::{Rig, gated, guarded, link, look, name, nat, nat_network, outside, program, routed, routes, subnets};

const MAC: (&str, &str) = ("mac", "00:16:3e:01:02:03");
const BOTH: (&str, &str) = ("ip", "10.1.0.5 fd00:1::5");

fn host() -> Rig {
    let rig = Rig::new();
    outside(&rig, "eth0", "192.0.2.1/24");
    rig
}

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn xennet(rig: &Rig, words: &[&str]) -> Said {
    let mut command = Command::new(program());
    command.arg0("xennet").env("XENNET_STATE_DIR", rig.path("state")).args(words).stdin(Stdio::null());
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// What eth0 answers for.
fn answered() -> Vec<String> {
    let all = look();
    let proxies = all.neighbours.iter().filter(|n| n.link == name("eth0") && n.kind == NeighbourKind::Proxy);
    proxies.map(|n| n.address.to_string()).collect()
}

fn answering_network(which: &str) -> Started {
    let mut mode = RoutedNetwork::new();
    mode.subnets = subnets(&["10.1.0.0/24", "fd00:1::/64"]);
    mode.proxy_ndp = true;
    routed(which, mode)
}

fn bridged_network(which: &str) -> Started {
    let mut mode = NatNetwork::new();
    mode.subnets = subnets(&["10.1.0.0/24", "fd00:1::/64"]);
    mode.guests = GuestLinks::Bridge(BridgeSpec::new(name(which)));
    nat(which, mode)
}

#[test]
fn who_ended_without_a_call_is_cleared_away() {
    in_netns("leftovers::who_ended_without_a_call_is_cleared_away", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        rig.started(&answering_network("dmz"));
        rig.vif("vif1.0", &[("bridge", "lan"), BOTH]);
        rig.ok_of("vif-nat", "vif1.0", "online");
        rig.vif("vif2.0", &[("bridge", "dmz"), ("ip", "10.1.0.6 fd00:1::6")]);
        rig.ok_of("vif-route", "vif2.0", "online");
        rig.vif("vif3.0", &[("bridge", "xenbr0"), MAC, ("ip", "192.0.2.3"), ("vifname", "web0")]);
        rig.ok("vif3.0", "online");
        rig.vif("vif4.0", &[("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:04"), ("ip", "192.0.2.4")]);
        rig.ok("vif4.0", "online");
        for gone in ["vif1.0", "vif2.0", "web0"] {
            rig.remove(gone);
        }
        // What undo cannot do, and what can.
        let got = xennet(&rig, &["undo", "vif1.0"]);
        assert_eq!(got.code, Some(14), "{}", got.stderr);
        assert!(got.stderr.contains("xennet detach 1 0") && got.stderr.contains("xennet recover"), "{}", got.stderr);
        let got = xennet(&rig, &["recover"]);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        for vif in ["vif1.0", "vif2.0", "vif3.0"] {
            assert!(got.stdout.contains(&format!("{vif}: cleared away")), "{}", got.stdout);
        }
        assert_eq!((gated(), answered()), (vec![], vec![]));
        assert!(guarded().iter().all(|e| e.contains("vif4.0")) && guarded().len() == 6, "{:?}", guarded());
        assert_eq!(rig.state().recorded().unwrap().len(), 1, "who is there is still known");
        assert!(!xennet(&rig, &["recover"]).stdout.contains("cleared"));
        // A vif of the same number comes again before anybody has cleared away: the next call does it.
        rig.remove("vif4.0");
        rig.vif("vif4.0", &[("bridge", "lan"), ("ip", "10.1.0.9")]);
        assert!(!xennet(&rig, &["recover"]).stdout.contains("cleared"));
        rig.ok_of("vif-nat", "vif4.0", "online");
        assert_eq!(guarded(), [""; 0]);
        rig.remove("vif4.0");
        rig.ok_of("vif-nat", "vif4.0", "offline");
        assert_eq!((gated(), rig.state().recorded().unwrap()), (vec![], vec![]));
    });
}

#[test]
fn a_lost_record_bequeaths_nothing() {
    in_netns("leftovers::a_lost_record_bequeaths_nothing", || {
        let rig = host();
        for (script, network, old, new) in [
            ("vif-bridge", "xenbr0", "192.0.2.3 192.0.2.8/29", "192.0.2.4"),
            ("vif-nat", "lan", "10.1.0.5 10.1.0.6 fd00:1::5", "10.1.0.7"),
        ] {
            rig.started(&nat_network("lan"));
            for vif in ["vif1.0", "vif9.0"] {
                let (ip, mac) =
                    if vif == "vif1.0" { (old, "00:16:3e:01:02:03") } else { ("10.1.0.99", "00:16:3e:01:02:09") };
                rig.vif(vif, &[("bridge", network), ("mac", mac), ("ip", ip)]);
                rig.ok_of(script, vif, "online");
            }
            std::fs::remove_dir_all(rig.path("state")).unwrap();
            rig.started(&nat_network("lan"));
            rig.remove("vif1.0");
            rig.vif("vif1.0", &[("bridge", network), ("mac", "00:16:3e:0a:0b:0c"), ("ip", new)]);
            let got = rig.ok_of(script, "vif1.0", "online");
            assert!(got.stderr.contains("what an earlier guest of vif1.0 was allowed is removed"), "{}", got.stderr);
            let all: Vec<String> = guarded().into_iter().chain(gated()).collect();
            let (others, own): (Vec<&String>, Vec<&String>) = all.iter().partition(|e| !e.contains("vif1.0"));
            let stale = ["02:03", "192.0.2.3", "192.0.2.8", "10.1.0.5", "10.1.0.6", "fd00:1::5"];
            assert!(!all.iter().any(|e| stale.iter().any(|s| e.contains(s))), "{script}: {all:#?}");
            assert!(own.iter().any(|e| e.contains(new)), "{script}: {all:#?}");
            assert!(others.iter().any(|e| e.contains("vif9.0")), "another's stay: {all:#?}");
            for vif in ["vif1.0", "vif9.0"] {
                rig.ok_of(script, vif, "offline");
                rig.remove(vif);
            }
            // Of that one nothing was remembered, so nothing could be removed.
            std::fs::remove_dir_all(rig.path("state")).unwrap();
        }
        // Under a name of its own choice nothing is taken from a vif that is there.
        rig.vif("vif1.0", &[("bridge", "xenbr0"), MAC, ("ip", "192.0.2.3"), ("vifname", "web0")]);
        rig.ok("vif1.0", "online");
        let before = guarded();
        rig.vif("vif2.0", &[("bridge", "xenbr0"), MAC, ("ip", "192.0.2.4"), ("vifname", "web0")]);
        rig.fails("vif2.0", "online");
        assert_eq!(guarded(), before);
    });
}

#[test]
fn the_newer_of_two_with_one_address_has_it() {
    in_netns("leftovers::the_newer_of_two_with_one_address_has_it", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        rig.started(&answering_network("dmz"));
        for (script, network) in [("vif-nat", "lan"), ("vif-route", "dmz")] {
            for is_there in [true, false] {
                let at = format!("{script}, the older one's link is there: {is_there}");
                rig.vif("vif5.0", &[("bridge", network), BOTH, MAC]);
                rig.ok_of(script, "vif5.0", "online");
                let alone: Vec<String> = gated().iter().map(|e| e.replace("vif5.0", "vif6.0")).collect();
                let ways: Vec<String> = routes("vif5.0").iter().map(|r| r.replace("vif5.0", "vif6.0")).collect();
                let answers = answered();
                assert_eq!(answers.is_empty(), script == "vif-nat");
                // The domain comes on this host before it has gone from here.
                rig.vif("vif6.0", &[("bridge", network), BOTH, MAC]);
                let got = rig.ok_of(script, "vif6.0", "online");
                assert!(got.stderr.contains("10.1.0.5/32 from vif5.0"), "{at}: {}", got.stderr);
                assert_eq!((routes("vif5.0"), routes("vif6.0")), (vec![], ways.clone()), "{at}");
                let again = rig.ok_of(script, "vif6.0", "online");
                assert_eq!(again.stderr, "", "{at}: once is enough");
                if !is_there {
                    rig.remove("vif5.0");
                }
                rig.ok_of(script, "vif5.0", "offline");
                assert_eq!(routes("vif6.0"), ways, "{at}");
                assert_eq!(gated(), alone, "{at}: what is the newer one's stays");
                assert_eq!(answered(), answers, "{at}");
                rig.ok_of(script, "vif6.0", "offline");
                assert_eq!((gated(), answered()), (vec![], vec![]), "{at}");
                rig.remove("vif6.0");
                if is_there {
                    rig.remove("vif5.0");
                }
                rig.forget("/local/domain");
            }
        }
        // A network, and an emulated twin with a route of its own.
        rig.vif("vif5.0", &[("bridge", "dmz"), ("ip", "10.1.0.16/28")]);
        rig.ok_of("vif-route", "vif5.0", "online");
        rig.link("vif5.0-emu");
        rig.ok_of("vif-route", "vif5.0", "add");
        rig.vif("vif6.0", &[("bridge", "dmz"), ("ip", "10.1.0.16/28")]);
        rig.ok_of("vif-route", "vif6.0", "online");
        rig.link("vif6.0-emu");
        rig.ok_of("vif-route", "vif6.0", "add");
        rig.ok_of("vif-route", "vif5.0", "remove");
        rig.ok_of("vif-route", "vif5.0", "offline");
        assert_eq!((routes("vif6.0").len(), routes("vif6.0-emu").len()), (1, 1));
        rig.ok_of("vif-route", "vif6.0", "remove");
        rig.ok_of("vif-route", "vif6.0", "offline");
        assert_eq!(gated(), [""; 0]);
        // What is an administrator's route is nobody's to take.
        assert!(link("vif6.0").is_some());
        let host = "ip route add 10.1.0.5/32 dev eth0 metric 2";
        assert!(Command::new("sh").args(["-c", host]).status().unwrap().success());
        rig.nodes("vif6.0", &[("bridge", "lan"), ("ip", "10.1.0.5")]);
        let got = rig.fails_of("vif-nat", "vif6.0", "online");
        assert!(got.stderr.contains("is reached through eth0 already"), "{}", got.stderr);
    });
}

/// A migration that fails, or a second guest that was given the address by mistake: the newer one goes, and the older one stays.
#[test]
fn the_older_of_two_has_its_address_again_when_the_newer_goes() {
    in_netns("leftovers::the_older_of_two_has_its_address_again_when_the_newer_goes", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        rig.started(&answering_network("dmz"));
        for (script, network) in [("vif-nat", "lan"), ("vif-route", "dmz")] {
            for how in ["offline", "recover", "undo"] {
                let at = format!("{script}, {how}");
                rig.vif("vif5.0", &[("bridge", network), BOTH, MAC]);
                rig.ok_of(script, "vif5.0", "online");
                let (alone, ways, answers) = (gated(), routes("vif5.0"), answered());
                rig.vif("vif6.0", &[("bridge", network), BOTH, MAC]);
                rig.ok_of(script, "vif6.0", "online");
                assert_eq!(routes("vif5.0"), [""; 0], "{at}");
                // What it has not is the newer one's, and not missing.
                let shown = xennet(&rig, &["show"]);
                let is_damaged = |line: &str| line.starts_with("vif") && line.contains("damaged");
                assert!(!shown.stdout.lines().any(is_damaged), "{at}: {}", shown.stdout);
                let told = "vif5.0: a newer guest, vif6.0, has its 10.1.0.5/32, fd00:1::5/128 by now";
                assert!(shown.stderr.contains(told), "{at}: {}", shown.stderr);
                let again = "vif5.0 has addresses again that this one had";
                if how == "undo" {
                    // As a call that fails in a hook takes back what it has done.
                    let got = xennet(&rig, &["undo", "vif6.0"]);
                    assert!(got.stderr.contains(again), "{at}: {}", got.stderr);
                }
                rig.remove("vif6.0");
                if how == "offline" {
                    let got = rig.ok_of(script, "vif6.0", "offline");
                    assert!(got.stderr.contains(again), "{at}: {}", got.stderr);
                } else if how == "recover" {
                    assert!(xennet(&rig, &["recover"]).stdout.contains("vif6.0: cleared away"), "{at}");
                }
                assert_eq!((gated(), routes("vif5.0"), answered()), (alone, ways, answers), "{at}");
                let recovered = xennet(&rig, &["recover"]).stdout;
                assert!(!recovered.contains("put back"), "{at}: {recovered}");
                assert_eq!(xennet(&rig, &["show"]).stderr, "", "{at}");
                rig.remove("vif5.0");
                rig.ok_of(script, "vif5.0", "offline");
                assert_eq!((gated(), answered()), (vec![], vec![]), "{at}");
                rig.forget("/local/domain");
            }
        }
        // Of three the newest of those that are left has it.
        for vif in ["vif5.0", "vif6.0", "vif7.0"] {
            rig.vif(vif, &[("bridge", "lan"), BOTH, MAC]);
            rig.ok_of("vif-nat", vif, "online");
        }
        for (goes, has) in [("vif7.0", "vif6.0"), ("vif6.0", "vif5.0")] {
            rig.ok_of("vif-nat", goes, "offline");
            assert_eq!(routes(has).len(), 2, "{goes} goes");
        }
    });
}

/// The record of a vif that ended without a call is about a name that another guest has by now.
#[test]
fn a_name_that_another_guest_has_is_that_ones() {
    in_netns("leftovers::a_name_that_another_guest_has_is_that_ones", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        for (script, network, ip) in [("vif-bridge", "xenbr0", "192.0.2.3"), ("vif-nat", "lan", "10.1.0.5")] {
            let nodes = [("bridge", network), MAC, ("ip", ip), ("vifname", "web0")];
            rig.vif("vif5.0", &nodes);
            rig.ok_of(script, "vif5.0", "online");
            rig.remove("web0");
            // The same guest after a reboot.
            rig.vif("vif6.0", &nodes);
            rig.ok_of(script, "vif6.0", "online");
            let (guard, gate) = (guarded(), gated());
            assert!(!guard.is_empty() || !gate.is_empty());
            let got = xennet(&rig, &["recover"]);
            assert!(got.stdout.contains("vif5.0: cleared away"), "{script}: {} {}", got.stdout, got.stderr);
            assert_eq!((guarded(), gated()), (guard, gate), "{script}");
            rig.ok_of(script, "vif6.0", "offline");
            assert_eq!((guarded(), gated()), (vec![], vec![]), "{script}");
            rig.remove("web0");
            rig.forget("/local/domain");
        }
    });
}

/// Connections are tracked by addresses: the next guest that has one would get the late answers of the one before.
#[test]
fn connections_of_who_has_gone_are_forgotten() {
    if Command::new("conntrack").arg("--version").output().is_err() {
        assert!(std::env::var_os("CI").is_none(), "conntrack is missing, and CI is set");
        eprintln!("skipped: conntrack is missing (apt-get install conntrack)");
        return;
    }
    in_netns("leftovers::connections_of_who_has_gone_are_forgotten", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        let shell = |line: &str| {
            let output = Command::new("sh").args(["-ec", line]).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let tracked = |guest: &str| {
            let all = shell("conntrack -L 2>/dev/null");
            all.lines().filter(|line| line.contains(&format!("={guest} "))).count()
        };
        let connect = |guest: u32| {
            // Begun by the guest and hidden, begun outside and handed on to it, and over IPv6.
            shell(&format!(
                "conntrack -I -p udp -t 300 -s 10.1.0.{guest} -d 203.0.113.9 --sport 4000 --dport 53 -r 203.0.113.9 -q 192.0.2.1 \
                 --reply-port-src 53 --reply-port-dst 4{guest}; \
                 conntrack -I -p udp -t 300 -s 203.0.113.7 -d 192.0.2.1 --sport 5{guest} --dport 80 -r 10.1.0.{guest} \
                 -q 203.0.113.7 --reply-port-src 80 --reply-port-dst 5{guest}; \
                 conntrack -I -p udp -t 300 -s fd00:1::{guest} -d 2001:db8::9 --sport 4000 --dport 53 -r 2001:db8::9 \
                 -q fd00:1::{guest} --reply-port-src 53 --reply-port-dst 4000"
            ));
        };
        let both = |guest: u32| (tracked(&format!("10.1.0.{guest}")), tracked(&format!("fd00:1::{guest}")));
        for vif in ["vif5.0", "vif6.0"] {
            let last = &vif[3..4];
            rig.vif(vif, &[("bridge", "lan"), ("ip", &format!("10.1.0.{last} fd00:1::{last}"))]);
            rig.ok_of("vif-nat", vif, "online");
            connect(last.parse().unwrap());
        }
        assert_eq!((both(5), both(6)), ((2, 1), (2, 1)));
        rig.ok_of("vif-nat", "vif5.0", "online");
        assert_eq!(both(5), (2, 1), "who is there keeps its own");
        rig.remove("vif5.0");
        rig.ok_of("vif-nat", "vif5.0", "offline");
        assert_eq!((both(5), both(6)), ((0, 0), (2, 1)));
        // In a migration they are the newer one's.
        rig.vif("vif7.0", &[("bridge", "lan"), ("ip", "10.1.0.6 fd00:1::6")]);
        rig.ok_of("vif-nat", "vif7.0", "online");
        rig.ok_of("vif-nat", "vif6.0", "offline");
        assert_eq!(both(6), (2, 1));
        rig.ok_of("vif-nat", "vif7.0", "offline");
        assert_eq!(both(6), (0, 0));
        // On a private bridge no route of ours leads to a guest.
        rig.bridge("hid", 1500);
        rig.started(&bridged_network("hid"));
        let on_bridge = |vif: &str, guest: u32| {
            let (mac, ip) = (format!("00:16:3e:01:02:{guest:02}"), format!("10.1.0.{guest} fd00:1::{guest}"));
            rig.vif(vif, &[("bridge", "hid"), ("mac", &mac), ("ip", &ip)]);
            rig.ok(vif, "online");
        };
        for (vif, guest) in [("vif11.0", 11), ("vif12.0", 12)] {
            on_bridge(vif, guest);
            connect(guest);
        }
        rig.ok("vif11.0", "online");
        assert_eq!((both(11), both(12)), ((2, 1), (2, 1)), "who is there keeps its own");
        rig.remove("vif11.0");
        rig.ok("vif11.0", "offline");
        assert_eq!((both(11), both(12)), ((0, 0), (2, 1)));
        on_bridge("vif13.0", 12);
        rig.ok("vif12.0", "offline");
        assert_eq!(both(12), (2, 1), "in a migration they are the newer one's");
        rig.remove("vif13.0");
        on_bridge("vif13.0", 12);
        assert_eq!(both(12), (0, 0), "the link of its number is another one");
        // Nobody told of the end: the next guest with the address begins anew, by another name and by the same.
        rig.vif("vif8.0", &[("bridge", "lan"), ("ip", "10.1.0.8 fd00:1::8")]);
        rig.ok_of("vif-nat", "vif8.0", "online");
        for (former, next) in [("vif8.0", "vif9.0"), ("vif9.0", "vif9.0")] {
            connect(8);
            assert_eq!(both(8), (2, 1));
            rig.remove(former);
            rig.vif(next, &[("bridge", "lan"), ("ip", "10.1.0.8 fd00:1::8")]);
            rig.ok_of("vif-nat", next, "online");
            assert_eq!(both(8), (0, 0), "{next}");
        }
    });
}
