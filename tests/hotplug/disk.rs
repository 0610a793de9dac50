//! A state directory that is full or cannot be used, and logs that cannot be written.

use std::fs;
use std::process::Command;

use xennet_core::snapshot::Link;
use xennet_tests::in_netns;

use crate::rig::{Rig, guarded, link, look, name, program};

const NODES: [(&str, &str); 3] = [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")];

/// Starts this program again for one inner test, behind `prepare`, in a mount namespace of its own.
fn in_mounts(prepare: &str, inner: &str) {
    let test = std::env::current_exe().unwrap();
    let script = format!("{prepare} && exec \"$0\" --exact {inner} --ignored --nocapture --test-threads=1");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).arg(test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{inner}: {text}");
}

fn gone(link: Option<Link>) -> bool {
    link.is_some_and(|l| l.master.is_none() && !l.up)
}

/// A host whose state is at `/mnt/state`, with a vif of each kind: as it was made, and renamed.
fn host() -> Rig {
    let rig = Rig::new();
    rig.settings("state_dir = \"/mnt/state\"");
    rig.vif("vif5.0", &NODES);
    let mut renamed = NODES.to_vec();
    renamed.extend([("vifname", "web0"), ("mtu", "1400")]);
    rig.vif("vif6.0", &renamed);
    rig
}

/// Leaves no byte free on the file system of `/mnt`.
fn fill() {
    let mut size = 256 * 1024;
    while fs::write("/mnt/filling", vec![b'x'; size]).is_err() {
        size -= 1024;
        assert!(size > 0);
    }
}

#[test]
fn a_full_state_directory() {
    in_netns("disk::a_full_state_directory", || {
        in_mounts("mount -t tmpfs -o size=64k tmpfs /mnt", "disk::inside_a_full_state_directory");
    });
}

#[test]
#[ignore = "started by a_full_state_directory in a mount namespace of its own"]
fn inside_a_full_state_directory() {
    let rig = host();
    fs::create_dir("/mnt/state").unwrap();
    fill();
    let before = look();
    for vif in ["vif5.0", "vif6.0"] {
        let got = rig.fails(vif, "online");
        assert!(got.stderr.contains("ENOSPC") && got.stderr.contains("hint: make room"), "{}", got.stderr);
        assert!(rig.error(vif).unwrap().starts_with("state-full ("), "{:?}", rig.error(vif));
        assert_eq!(rig.status(vif).as_deref(), Some("error"));
        rig.ok(vif, "offline");
    }
    assert_eq!(before.changes(&look()), []);
    fs::remove_file("/mnt/filling").unwrap();
    rig.ok("vif5.0", "online");
    rig.ok("vif6.0", "online");
    assert_eq!(guarded().len(), 12);
    fill();
    // The domains end all the same.
    let got = rig.ok("vif5.0", "offline");
    assert!(got.stderr.contains("note: this could not be written down: "), "{}", got.stderr);
    assert!(gone(link("vif5.0")) && link("web0").unwrap().up, "and the other one is another's");
    rig.ok("vif6.0", "offline");
    assert!(gone(link("web0")), "what is remembered of a renamed one can be read");
    assert_eq!(guarded(), [""; 0]);
    rig.ok("vif5.0", "offline");
    fs::remove_file("/mnt/filling").unwrap();
    for verb in ["online", "offline", "offline", "online"] {
        for vif in ["vif5.0", "vif6.0"] {
            assert!(!rig.ok(vif, verb).stderr.contains("written down"));
        }
    }
    assert_eq!(guarded().len(), 12);
    assert_eq!(xennet_core::exec::StateDir::at("/mnt/state").interrupted().unwrap(), []);
}

#[test]
fn a_read_only_state_directory() {
    in_netns("disk::a_read_only_state_directory", || {
        in_mounts("mount -t tmpfs tmpfs /mnt", "disk::inside_a_read_only_state_directory");
    });
}

#[test]
#[ignore = "started by a_read_only_state_directory in a mount namespace of its own"]
fn inside_a_read_only_state_directory() {
    let rig = host();
    rig.ok("vif6.0", "online");
    let mount = |how: &str| assert!(Command::new("mount").args(["-o", how, "/mnt"]).status().unwrap().success());
    mount("remount,bind,ro");
    let got = rig.fails("vif5.0", "online");
    assert!(got.stderr.contains("EROFS") && got.stderr.contains("hint: "), "{}", got.stderr);
    assert!(rig.error("vif5.0").unwrap().starts_with("state-unusable ("), "{:?}", rig.error("vif5.0"));
    for vif in ["vif5.0", "vif6.0"] {
        let got = rig.ok(vif, "offline");
        assert!(got.stderr.contains("note: this could not be written down: "), "{}", got.stderr);
    }
    assert!(gone(link("vif5.0")) && gone(link("web0")));
    assert_eq!(guarded(), [""; 0]);
    // The link goes before the call, as it mostly does.
    rig.remove("web0");
    rig.ok("vif6.0", "offline");
    mount("remount,bind,rw");
    rig.ok("vif6.0", "offline");
    assert_eq!(xennet_core::exec::StateDir::at("/mnt/state").recorded().unwrap(), []);
}

#[test]
fn a_state_directory_that_is_none() {
    in_netns("disk::a_state_directory_that_is_none", || {
        let rig = Rig::new();
        let file = rig.path("file");
        fs::write(&file, "").unwrap();
        let broken = format!("state_dir = \"{}\"", file.display());
        let mut renamed = NODES.to_vec();
        renamed.push(("vifname", "web0"));
        rig.vif("vif5.0", &NODES);
        rig.vif("vif6.0", &renamed);
        rig.settings(&broken);
        let before = look();
        let got = rig.fails("vif5.0", "online");
        assert!(got.stderr.contains("ENOTDIR") && got.stderr.contains("hint: "), "{}", got.stderr);
        assert!(rig.error("vif5.0").unwrap().starts_with("state-unusable ("), "{:?}", rig.error("vif5.0"));
        assert_eq!(before.changes(&look()), []);
        rig.settings("");
        rig.ok("vif5.0", "online");
        rig.ok("vif6.0", "online");
        rig.settings(&broken);
        let got = rig.ok("vif5.0", "offline");
        assert!(got.stderr.contains("note: this could not be written down: "), "{}", got.stderr);
        assert!(got.stderr.contains("only vif5.0 was looked for"), "{}", got.stderr);
        assert!(gone(link("vif5.0")));
        assert_eq!(guarded().iter().filter(|l| l.contains("\"vif5.0\"")).count(), 0);
        // Whose web0 is cannot be known: it is left alone, and so is what guards it.
        rig.ok("vif6.0", "offline");
        assert_eq!((link("web0").unwrap().master, guarded().len()), (Some(name("xenbr0")), 6));
        rig.settings("");
        rig.ok("vif6.0", "offline");
        assert!(gone(link("web0")) && guarded().is_empty());
    });
}

#[test]
fn a_journal_that_cannot_be_read() {
    in_netns("disk::a_journal_that_cannot_be_read", || {
        let rig = Rig::new();
        rig.vif("vif5.0", &NODES);
        rig.ok("vif5.0", "online");
        let journal = rig.path("state").join("vif5.0.journal");
        let good = fs::read(&journal).unwrap();
        fs::write(&journal, "{\"xennet\":99}\n").unwrap();
        let got = rig.fails("vif5.0", "online");
        assert!(got.stderr.contains("vif5.0.journal") && got.stderr.contains("hint: "), "{}", got.stderr);
        assert_eq!(link("vif5.0").unwrap().master, Some(name("xenbr0")));
        rig.ok("vif5.0", "offline");
        assert!(gone(link("vif5.0")) && guarded().is_empty());
        assert_eq!(fs::read_to_string(&journal).unwrap(), "{\"xennet\":99}\n", "another version's is left to it");
        fs::write(&journal, good).unwrap();
        rig.ok("vif5.0", "online");
        assert_eq!(guarded().len(), 6);
    });
}

#[test]
fn logs_that_cannot_be_written() {
    in_netns("disk::logs_that_cannot_be_written", || {
        // No journal and no syslog: both sockets are below these.
        let hidden = "mount -t tmpfs tmpfs /run && if [ -S /dev/log ]; then mount --bind /dev/null /dev/log; fi";
        in_mounts(hidden, "disk::inside_without_logs");
    });
}

#[test]
#[ignore = "started by logs_that_cannot_be_written in a mount namespace of its own"]
fn inside_without_logs() {
    let rig = Rig::new();
    assert!(program().exists());
    rig.vif("vif5.0", &NODES);
    let deep = rig.path("deep/er/xen-hotplug.log");
    fs::create_dir(rig.path("directory.log")).unwrap();
    fs::create_dir_all(rig.path("state/calls.log")).unwrap();
    for log in [deep.clone(), rig.path("directory.log"), "/dev/full".into(), "/proc/none/x.log".into()] {
        rig.settings(&format!("log_file = \"{}\"\nsyslog = true", log.display()));
        for verb in ["online", "offline"] {
            let got = rig.ok("vif5.0", verb);
            assert_eq!(got.stderr, "", "{verb}, {}: nobody is troubled with it", log.display());
        }
    }
    assert_eq!(fs::read_to_string(deep).unwrap().lines().count(), 2, "a directory that is missing is made");
    rig.settings("log_file = \"/proc/none/x.log\"\nsyslog = true");
    rig.nodes("vif5.0", &[("bridge", "xenbr7")]);
    assert!(rig.fails("vif5.0", "online").stderr.contains("xenbr7"), "an error is told as ever");
}
