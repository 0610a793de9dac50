//! What goes wrong halfway: guests are served as before, or an error says that they are not.

use std::fs;
use std::path::Path;
use std::process::Command;

use xennet_core::services;
use xennet_core::{Budget, Errno, ErrorKind, Outcome};
use xennet_tests::in_netns;

use crate::lab::{Lab, client, id, network, on_a_host, sh};
use crate::life::gone;

fn leases(lab: &Lab, network: &str) -> String {
    fs::read_to_string(lab.files(network).join("leases")).unwrap()
}

/// Starts this program again for one inner test, in a mount namespace of its own.
fn in_mounts(inner: &str) {
    let program = std::env::current_exe().unwrap();
    let script = format!("exec \"$0\" --exact {inner} --ignored --nocapture --test-threads=1");
    let output = Command::new("unshare").args(["-m", "sh", "-c", &script]).arg(program).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{inner}: {text}");
}

/// Fills the file system of a directory, but for as many pages of 4 KiB.
fn fill(dir: &Path, pages: usize) {
    let filling = dir.join("filling");
    let mut size = 256 * 4096;
    while fs::write(&filling, vec![b'x'; size]).is_err() {
        size -= 4096;
    }
    fs::write(&filling, vec![b'x'; size - pages * 4096]).unwrap();
}

#[test]
fn a_lease_that_cannot_be_taken_out_costs_nobody_the_dnsmasq() {
    in_netns("failures::a_lease_that_cannot_be_taken_out_costs_nobody_the_dnsmasq", || {
        in_mounts("failures::inside_leases_that_cannot_be_written");
    });
}

#[test]
#[ignore = "started by a_lease_that_cannot_be_taken_out_costs_nobody_the_dnsmasq in a mount namespace of its own"]
fn inside_leases_that_cannot_be_written() {
    on_a_host("failures::inside_leases_that_cannot_be_written", |lab| {
        let files = lab.files("a");
        let services = files.parent().unwrap().to_owned();
        fs::create_dir(&services).unwrap();
        sh(&format!("mount -t tmpfs -o size=128k,mode=755 tmpfs {}", services.display()));
        let started = lab.start("a", "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\n");
        let dir = lab.dir();
        let tell = |n: u32, address: &str| {
            services::guest(&dir, &started, id(n), &client(n, &[address], None), Budget::unlimited())
        };
        for (n, address) in [(1, "10.0.0.5"), (3, "10.0.0.7")] {
            lab.guest_beside(n, &["10.0.0.254/32"], &[address]);
            tell(n, address).unwrap();
            assert_eq!(lab.address(n).as_deref(), Some(address));
        }
        // Its lease stays, and its address is the next one's.
        lab.destroy(1);
        services::no_guest(&dir, &network("a"), id(1), Budget::unlimited()).unwrap();
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.5"]);
        let first = lab.pids("a");
        // Room for what is written of the guest, and not for the leases.
        fill(&services, 1);
        let e = tell(2, "10.0.0.5").unwrap_err();
        assert_eq!((e.kind(), e.errno()), (ErrorKind::StateFull, Some(Errno::ENOSPC)), "{}", e.report());
        assert_eq!(lab.pids("a"), first);
        fs::remove_file(services.join("filling")).unwrap();
        assert_eq!(lab.address(3).as_deref(), Some("10.0.0.7"), "who has nothing to do with it is served");
        // A file that nothing can take the place of.
        let before = leases(lab, "a");
        let file = files.join("leases").display().to_string();
        sh(&format!("mount --bind {file} {file}"));
        let e = tell(2, "10.0.0.5").unwrap_err();
        assert_eq!((e.errno(), e.outcome()), (Some(Errno::EBUSY), Some(Outcome::Unchanged)), "{}", e.report());
        assert!(lab.pids("a").len() == 1 && before == leases(lab, "a"), "{}", e.report());
        assert_eq!(lab.address(3).as_deref(), Some("10.0.0.7"));
        // dnsmasq has it open.
        sh(&format!("umount -l {file}"));
        // Tried again it is done.
        tell(2, "10.0.0.5").unwrap();
        assert_eq!(lab.address(2).as_deref(), Some("10.0.0.5"));
        services::stop(&dir, &network("a"), Budget::unlimited()).unwrap();
        sh(&format!("umount -l {}", services.display()));
    });
}

/// What another version has written of a dnsmasq that runs, or nobody can read.
#[test]
fn a_dnsmasq_of_another_version_serves_on_or_is_restarted() {
    on_a_host("failures::a_dnsmasq_of_another_version_serves_on_or_is_restarted", |lab| {
        let text = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\n";
        let started = lab.start("a", text);
        let (dir, file) = (lab.dir(), lab.files("a").join("dhcp.json"));
        let start = || services::start(&dir, &started, Budget::unlimited());
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.5"]);
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.6"]);
        let tell = |n: u32, address: &str| {
            services::guest(&dir, &started, id(n), &client(n, &[address], None), Budget::unlimited())
        };
        // Before there was a number.
        let written = fs::read_to_string(&file).unwrap();
        let number = "{\"xennet\":2,";
        assert!(written.starts_with(number), "{written}");
        fs::write(&file, written.replace(number, "{")).unwrap();
        assert_eq!(start().unwrap(), services::Outcome::Unchanged);
        let newer = written.replace(number, "{\"xennet\":3,\"more\":[1],");
        let fewer = written.replace("\"program\":", "\"was\":");
        let other = written.replace("\"config\":", "\"config\":7,\"was\":");
        let moved = written.replace("\"pid\":", "\"number\":");
        assert!([&newer, &fewer, &other, &moved].iter().all(|text| **text != written));
        for text in [&newer, &fewer, &other, &moved, "", "hello", "[]", "{}"] {
            let before = lab.pids("a");
            fs::write(&file, text).unwrap();
            assert_eq!(lab.pids("a"), before, "{text}: it is found");
            // Guests come and go.
            tell(1, "10.0.0.5").unwrap_or_else(|e| panic!("{text}: {}", e.report()));
            assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"), "{text}");
            // Also where its dnsmasq has to be restarted for it.
            services::no_guest(&dir, &network("a"), id(1), Budget::unlimited()).unwrap();
            tell(2, "10.0.0.5").unwrap_or_else(|e| panic!("{text}: {}", e.report()));
            assert_eq!(lab.pids("a").len(), 1, "{text}");
            services::no_guest(&dir, &network("a"), id(2), Budget::unlimited()).unwrap();
            // A start writes down what this version knows.
            fs::write(&file, text).unwrap();
            // What it was told is known without its number and its program.
            let outcome = match text.contains("\"xennet\":2") && !text.contains("\"config\":7") {
                true => services::Outcome::Unchanged,
                false => services::Outcome::Restarted,
            };
            assert_eq!(start().unwrap(), outcome, "{text}");
            assert_eq!(start().unwrap(), services::Outcome::Unchanged, "{text}");
        }
        fs::write(&file, "hello").unwrap();
        let (_, pid) = lab.pids("a")[0];
        assert!(services::stop(&dir, &network("a"), Budget::unlimited()).unwrap());
        assert!(gone(pid));
    });
}
