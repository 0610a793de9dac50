//! What may stand in the vif's directory, and in the words of a call: every key with what is wrong, empty, too long or hostile
//! in it. Whatever it is, it is data, the call answers, and nobody's terminal or log is moved by it.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::Instant;

use xennet_core::Errno;
use xennet_core::xenstore::server::Fault;
use xennet_core::xenstore::wire::Kind;
use xennet_tests::in_netns;

use crate::rig::{Rig, guarded, link, look, path_of, program, run};

const VIF: &str = "vif5.0";
const GOOD: [(&str, &str); 3] = [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")];

/// A host with the vif; its nodes are set later.
fn host() -> Rig {
    let rig = Rig::new();
    rig.vif(VIF, &GOOD);
    rig
}

fn set(rig: &Rig, node: &str, value: &[u8]) {
    let path = format!("/local/domain/0/{}/{node}", path_of(VIF));
    rig.store.tree(|tree| tree.set(&path, value).unwrap());
}

/// The text that `xennet log` shows.
fn log(rig: &Rig) -> String {
    let output =
        Command::new(program()).args(["log", "--last", "1000", "--state-dir"]).arg(rig.path("state")).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_wrong_in_a_node_is_told_in_full() {
    in_netns("nodes::what_is_wrong_in_a_node_is_told_in_full", || {
        let rig = host();
        let before = look();
        let cases: &[(&str, &[u8], &[&str])] = &[
            ("bridge", b"a b", &["bridge=a b cannot be used"]),
            ("bridge", b"x/y", &["bridge=x/y cannot be used"]),
            ("bridge", b"sixteen-bytes-xx", &["bridge=sixteen-bytes-xx", "at most 15 bytes"]),
            ("bridge", b"\xff\xfe", &["bridge=", "it is not text"]),
            ("vifname", b".", &["vifname=. cannot be used"]),
            ("vifname", b"web 0", &["vifname=web 0 cannot be used"]),
            ("vifname", b"web%d", &["vifname=web%d cannot be used", "pattern"]),
            ("vifname", b"100%", &["vifname=100% cannot be used", "pattern"]),
            ("bridge", b"xenbr%d", &["bridge=xenbr%d cannot be used", "pattern"]),
            ("ip", b"300.1.1.1", &["ip=300.1.1.1 cannot be used"]),
            ("ip", b"192.0.2.6,192.0.2.7", &["ip=192.0.2.6,192.0.2.7 cannot be used"]),
            ("ip", b"host.example.org", &["ip=host.example.org cannot be used"]),
            ("ip", b"192.0.2.6 bogus", &["ip=192.0.2.6 bogus cannot be used", "bogus"]),
            ("ip", b"\xc3\x28", &["ip=", "it is not text"]),
            ("mac", b"00:16:3e:01:02", &["mac=00:16:3e:01:02 cannot be used"]),
            ("mac", b"ff:ff:ff:ff:ff:ff", &["mac=ff:ff:ff:ff:ff:ff cannot be used"]),
            ("mac", b"\xff", &["mac=", "it is not text"]),
            ("mtu", b"\xff", &["mtu=", "it is not text"]),
            ("vlan", b"abc", &["vlan=abc cannot be used"]),
            ("vlan", b"5000", &["vlan=5000 cannot be used"]),
            ("vlan", b"0", &["vlan=0 cannot be used"]),
            ("isolated", b"2", &["isolated=2 cannot be used", "it is 0 or 1"]),
            ("isolated", b"yes", &["isolated=yes cannot be used"]),
            ("policy", b"loose", &["policy=loose cannot be used", "policy is off, mac, strict or disabled"]),
            ("policy", b"\xff", &["policy=", "it is not text"]),
            ("prefix", b"192.0.2.5/24", &["prefix=192.0.2.5/24 cannot be used", "no host bits"]),
            ("macs", b"00:16:3e:01:02:04 x", &["macs=00:16:3e:01:02:04 x cannot be used"]),
            ("type", b"\xff", &["type=", "it is not text"]),
        ];
        for (node, value, words) in cases {
            rig.nodes(VIF, &GOOD);
            set(&rig, node, value);
            let got = rig.fails(VIF, "online");
            let told = rig.error(VIF).unwrap();
            assert_eq!(rig.status(VIF).as_deref(), Some("error"));
            let usual =
                ["invalid (2): vif5.0: ", "state: unchanged, nothing was applied", "hint: put ", "in the vif line"];
            for word in words.iter().chain(&usual) {
                assert!(told.contains(word), "{node}: {word}: {told}");
            }
            assert!(got.stderr.contains(words[0]), "{}", got.stderr);
            assert_eq!(before.changes(&look()), [], "{node}={}", value.escape_ascii());
            // As good as none, for the next one.
            set(&rig, node, b"");
        }
    });
}

#[test]
fn what_does_not_matter_is_a_note() {
    in_netns("nodes::what_does_not_matter_is_a_note", || {
        let rig = host();
        rig.nodes(VIF, &[("ip", ""), ("mac", "nonsense"), ("mtu", "9"), ("type", "zzz")]);
        let got = rig.ok(VIF, "online");
        for note in
            ["/mac is not looked at: ", "/mtu is \"9\", which is no MTU (68 to 65517): the vif takes its bridge's"]
        {
            assert!(got.stderr.contains(&format!("vif-bridge: note: backend/vif/5/0{note}")), "{}", got.stderr);
            assert!(log(&rig).contains(note), "{}", log(&rig));
        }
        assert_eq!(link(VIF).unwrap().mtu, 1500);
        assert_eq!(guarded(), [""; 0]);
    });
}

/// A toolstack that writes the address twice and a blank behind it, and one that writes it with its length and its gateway.
#[test]
fn addresses_as_toolstacks_write_them() {
    in_netns("nodes::addresses_as_toolstacks_write_them", || {
        let rig = host();
        rig.nodes(VIF, &[("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.40 192.0.2.40 ")]);
        let got = rig.ok(VIF, "online");
        assert_eq!(got.stderr, "");
        let elements = guarded();
        assert_eq!(elements.iter().filter(|e| e.contains("192.0.2.40")).count(), 1, "{elements:?}");
        rig.ok(VIF, "offline");
        rig.nodes(VIF, &[("ip", "192.0.2.5/24 192.0.2.1")]);
        let got = rig.fails(VIF, "online");
        for word in ["probably the gateway of 192.0.2.5/24", "write ip=192.0.2.5/24", "ip=192.0.2.5 192.0.2.1"] {
            assert!(got.stderr.contains(word), "{word}: {}", got.stderr);
        }
        assert!(log(&rig).contains("probably the gateway of 192.0.2.5/24"), "{}", log(&rig));
        assert_eq!(guarded(), [""; 0]);
    });
}

/// The nodes of a vif that a call reads.
const READ: [&str; 12] =
    ["bridge", "ip", "prefix", "mac", "macs", "policy", "vifname", "mtu", "vlan", "isolated", "type", "hotplug-error"];

#[test]
fn empty_nodes_are_as_good_as_none() {
    in_netns("nodes::empty_nodes_are_as_good_as_none", || {
        let rig = host();
        for node in READ {
            set(&rig, node, b"");
        }
        set(&rig, "ip", b"  ");
        let got = rig.ok(VIF, "online");
        assert!(got.stderr.contains("xenbr0 is the only bridge here"), "{}", got.stderr);
        let port = link(VIF).unwrap();
        assert_eq!((port.up, port.port.map(|p| p.isolated)), (true, Some(false)));
        assert_eq!(guarded(), [""; 0]);
    });
}

#[test]
fn a_guest_is_filtered_by_nodes_and_not_by_the_environment() {
    in_netns("nodes::a_guest_is_filtered_by_nodes_and_not_by_the_environment", || {
        let rig = host();
        let loose = |more: &[(&str, &str)]| {
            let mut command = rig.command(VIF, "online");
            for (name, value) in more {
                command.env(name, value);
            }
            assert_eq!(run(&mut command).code, Some(0));
        };
        set(&rig, "ip", b"192.0.2.6");
        loose(&[("policy", "off"), ("prefix", "/usr"), ("macs", "x")]);
        assert_eq!(guarded().len(), 6, "{:?}", guarded());
        set(&rig, "macs", b"00:16:3e:01:02:04 00:16:3e:01:02:05");
        set(&rig, "prefix", b"198.51.100.0/24");
        rig.ok(VIF, "online");
        // One for the link, and for each of three MACs three, an address, a network, and three link-local addresses.
        assert_eq!(guarded().len(), 1 + 3 * (3 + 1 + 1 + 3), "{:?}", guarded());
        set(&rig, "policy", b"mac");
        rig.ok(VIF, "online");
        assert_eq!(guarded().len(), 1 + 3, "{:?}", guarded());
        set(&rig, "policy", b"disabled");
        rig.ok(VIF, "online");
        assert_eq!(guarded().len(), 1, "{:?}", guarded());
        set(&rig, "policy", b"off");
        rig.ok(VIF, "online");
        assert_eq!(guarded(), [""; 0]);
        // Where nothing is filtered, nobody has to know the MAC.
        set(&rig, "mac", b"x");
        rig.ok(VIF, "online");
        set(&rig, "policy", b"strict");
        assert!(rig.fails(VIF, "online").stderr.contains("mac=x cannot be used"));
    });
}

#[test]
fn a_port_is_isolated_by_node_word_or_setting() {
    in_netns("nodes::a_port_is_isolated_by_node_word_or_setting", || {
        let rig = host();
        let isolated = || link(VIF).unwrap().port.is_some_and(|p| p.isolated);
        set(&rig, "isolated", b"1");
        rig.ok(VIF, "online");
        assert!(isolated());
        // The node counts more than the caller's word, and the administrator's setting most.
        set(&rig, "isolated", b"0");
        assert_eq!(run(rig.command(VIF, "online").arg("isolated=1")).code, Some(0));
        assert!(!isolated());
        rig.settings("isolated = [\"xenbr0\"]\n");
        rig.ok(VIF, "online");
        assert!(isolated());
        rig.settings("");
        set(&rig, "isolated", b"");
        assert_eq!(run(rig.command(VIF, "online").env("isolated", "1")).code, Some(0));
        assert!(isolated());
    });
}

#[test]
fn words_are_data() {
    in_netns("nodes::words_are_data", || {
        let rig = host();
        let file = rig.path("evil");
        let touch = format!("touch {}", file.display());
        set(&rig, "bridge", b"");
        let words = [
            format!("x=1;{touch}"),
            format!("x=$({touch})"),
            format!("bridge=`{touch}`"),
            format!("ip=1;{touch}"),
            format!("PATH={}", rig.path("").display()),
            format!("$({touch})"),
        ];
        for word in &words {
            let got = run(rig.command(VIF, "online").arg(word));
            let (name, _) = word.split_once('=').unwrap_or((word, ""));
            // What has a meaning is refused as a value; what has none is said to have none.
            let code = i32::from(matches!(name, "bridge"));
            assert_eq!(got.code, Some(code), "{word}: {}", got.stderr);
            if !matches!(name, "bridge" | "ip") {
                assert!(got.stderr.contains("means nothing here"), "{}", got.stderr);
            }
            let got = run(rig.command(VIF, "online").env("bridge", word).env("ip", word).env("isolated", word));
            assert_eq!(got.code, Some(1), "{word}");
            assert!(!file.exists(), "{word}");
        }
        assert_eq!(run(rig.command(VIF, "offline").args(&words)).code, Some(0));
        assert!(!file.exists());
    });
}

/// No character that moves a terminal or begins a line, but the ends of lines of ours.
#[track_caller]
fn harmless(what: &str, text: &str) {
    let bad = text
        .chars()
        .find(|c| c.is_control() && *c != '\n' || matches!(*c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'));
    assert_eq!(bad, None, "{what}: {}", text.escape_debug());
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{what}: {text}");
}

#[test]
fn hostile_nodes_move_nothing() {
    in_netns("nodes::hostile_nodes_move_nothing", || {
        let rig = host();
        let file = rig.path("evil");
        let touch = format!("$(touch {0});`touch {0}`;touch {0}", file.display());
        let long = "a".repeat(4000);
        let values: [&[u8]; 9] = [
            b"\x1b[2J\x1b]0;owned\x07",
            b"x\nforged: line",
            b"x\r\nforged: line\0",
            "\u{202e}gnp.exe \u{2066}".as_bytes(),
            b"\xff\xfe\n\x1b[31m",
            b"\"'\\ %s%n {} ${HOME}",
            touch.as_bytes(),
            long.as_bytes(),
            "\u{85}\u{2028}forged".as_bytes(),
        ];
        for node in READ {
            for value in values {
                rig.nodes(VIF, &GOOD);
                set(&rig, node, value);
                let got = rig.call(VIF, "online");
                let what = format!("{node}={}", &value.escape_ascii().to_string().chars().take(60).collect::<String>());
                harmless(&what, &got.stderr);
                match got.code {
                    // Of these no value is a reason to leave a guest without network; an old error is not looked at.
                    Some(0) => assert!(matches!(node, "mtu" | "type" | "hotplug-error"), "{what}"),
                    Some(1) => {
                        let told = rig.error(VIF).unwrap();
                        harmless(&what, &told);
                        assert!(told.len() <= 1003 && !told.contains('\n'), "{what}: {} bytes", told.len());
                        assert_eq!(rig.status(VIF).as_deref(), Some("error"), "{what}");
                    }
                    other => panic!("{what}: {other:?}"),
                }
                assert!(!file.exists(), "{what}");
                set(&rig, node, b"");
            }
        }
        rig.ok(VIF, "offline");
        let text = std::fs::read_to_string(rig.path("xen-hotplug.log")).unwrap();
        harmless("xen-hotplug.log", &text);
        let shown = log(&rig);
        harmless("xennet log", &shown);
        assert!(shown.contains("online vif5.0: error: vif5.0: vlan=\\u{1b}[2J"), "{shown}");
        assert!(shown.contains("offline vif5.0: detached") && text.contains("offline vif5.0: detached"));
    });
}

#[test]
fn hostile_words_move_nothing() {
    in_netns("nodes::hostile_words_move_nothing", || {
        let rig = host();
        let values: [&[u8]; 6] =
            [b"\x1b[2J", b"x\nforged: line", "\u{202e}gnp".as_bytes(), b"\xff\xfe", &[b'a'; 20_000], b"/../..//"];
        for value in values {
            let value = OsStr::from_bytes(value);
            let with = |name: &str| {
                let mut word = OsString::from(name);
                word.push(value);
                word
            };
            let path = with("backend/vif/5/0");
            let online = || rig.command(VIF, "online");
            let mut calls = vec![rig.script("vif-bridge"), online(), online(), online(), online(), online(), online()];
            calls.extend([rig.command(VIF, "add"), rig.command(VIF, "offline")]);
            let [alone, word, variable, type_if, vif, below, instead, tap, offline] = &mut calls[..] else { panic!() };
            alone.arg(value);
            word.arg(value);
            variable.arg(with("x="));
            type_if.arg(with("type_if="));
            vif.env("vif", value);
            below.env("XENBUS_PATH", &path);
            instead.env("XENBUS_PATH", value);
            tap.env("INTERFACE", value);
            offline.env("XENBUS_PATH", &path);
            for call in &mut calls {
                let got = run(call);
                let what = format!("{call:?}").chars().take(300).collect::<String>();
                harmless(&what, &got.stderr);
                assert!(got.stderr.len() < 50_000, "{what}: {} bytes", got.stderr.len());
                assert!(matches!(got.code, Some(0 | 1)), "{what}: {got:?}");
                assert!(got.code == Some(0) || got.stderr.contains("error: "), "{what}: {got:?}");
            }
        }
        harmless("xen-hotplug.log", &std::fs::read_to_string(rig.path("xen-hotplug.log")).unwrap());
        harmless("xennet log", &log(&rig));
        // None of them is the directory of this vif.
        rig.ok(VIF, "online");
    });
}

#[test]
fn a_reason_has_a_limit() {
    in_netns("nodes::a_reason_has_a_limit", || {
        let rig = host();
        for number in 0..80 {
            rig.bridge(&format!("bridge-number{number:02}"), 1500);
        }
        rig.nodes(VIF, &[("bridge", "xenbr7")]);
        let got = rig.fails(VIF, "online");
        let told = rig.error(VIF).unwrap();
        assert!(got.stderr.len() > 1000, "the user is told all: {}", got.stderr);
        assert!(told.len() <= 1003 && told.ends_with("..."), "{}: {told}", told.len());
    });
}

#[test]
fn a_store_that_fails_is_told_apart() {
    in_netns("nodes::a_store_that_fails_is_told_apart", || {
        let rig = host();
        let before = look();
        let refuse = |kind, path: &str, errno| Fault::Refuse { kind, path: path.into(), errno };
        let node = "backend/vif/5/0/ip";
        rig.store.set_faults(vec![refuse(Kind::Read, node, Errno::EACCES)]);
        let got = rig.fails(VIF, "online");
        assert!(got.stderr.contains(node) && got.stderr.contains("EACCES"), "{}", got.stderr);
        assert!(rig.error(VIF).unwrap().contains("state: unchanged"), "{:?}", rig.error(VIF));
        // A connection that breaks is not the end of it: the reason is told on another one.
        for fault in [Fault::Garbage { after: 0 }, Fault::Truncate { after: 0 }] {
            rig.nodes(VIF, &GOOD);
            set(&rig, "hotplug-error", b"");
            rig.store.set_faults(vec![fault.clone()]);
            rig.fails(VIF, "online");
            assert!(rig.error(VIF).unwrap().starts_with("xenstore ("), "{fault:?}: {:?}", rig.error(VIF));
            assert_eq!(rig.status(VIF).as_deref(), Some("error"), "{fault:?}");
        }
        let deadline = rig.deadline(1);
        for faults in [vec![Fault::Silent { after: 0 }], vec![Fault::Garbage { after: 0 }], vec![Fault::NoAccept]] {
            rig.store.set_faults(faults.clone());
            let start = Instant::now();
            let got = rig.fails(VIF, "online");
            assert!(start.elapsed() < deadline * 4, "{faults:?}");
            assert!(got.stderr.contains("xenstore") && got.stderr.contains("hint: "), "{faults:?}: {}", got.stderr);
            assert_eq!(before.changes(&look()), [], "{faults:?}");
        }
        rig.store.set_faults(Vec::new());
        rig.settings("");
        rig.ok(VIF, "online");
        // What connected it works without it; nobody is to wait for a store to be disconnected.
        rig.store.set_faults(vec![Fault::Silent { after: 0 }]);
        rig.ok(VIF, "offline");
        assert!(!link(VIF).unwrap().up);
        rig.store.set_faults(vec![Fault::Die { after: 0 }]);
        rig.fails(VIF, "online");
        rig.ok(VIF, "offline");
    });
}
