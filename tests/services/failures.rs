//! What goes wrong halfway: guests are served as before, or an error says that they are not.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::config::networks;
use xennet_core::services::{self, Part};
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::Step;
use xennet_core::{Budget, DevId, DomId, Errno, Error, ErrorKind, Guests, Host, Network, Outcome};
use xennet_tests::in_netns;

use crate::lab::{Lab, client, id, mac, network, on_a_host, sh, soon};
use crate::life::gone;

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

fn described(name: &str, more: &str) -> Network {
    let text = format!("[network.{name}]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\negress = \"eth0\"\n{more}");
    networks::parse(&text).unwrap_or_else(|e| panic!("{}", e.report())).iter().next().unwrap().clone()
}

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

/// The kernel, but it refuses one step, after something has happened.
struct Refusing {
    kernel: Netlink,
    left: usize,
    event: fn(&Path),
    files: PathBuf,
}

impl Backend for Refusing {
    fn capabilities(&self) -> Capabilities {
        self.kernel.capabilities()
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        self.kernel.machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.kernel.observe(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.left = self.left.wrapping_sub(1);
        if self.left == usize::MAX {
            (self.event)(&self.files);
            return Err(BackendError::new(Errno::EBUSY, "a step"));
        }
        self.kernel.apply(step)
    }
}

const SHARED: &str = "bridge = \"natbr0\"\ndhcp = true\nrange = [\"10.0.0.9-10.0.0.19\"]\n";

/// Stops a network whose step with this number is refused.
fn stop_refused(lab: &Lab, left: usize, event: fn(&Path)) -> (Host, Result<xennet_core::exec::Applied, Error>) {
    let refusing = Refusing { kernel: Netlink::open().unwrap(), left, event, files: lab.files("a") };
    let mut host = Host::with_backend(Box::new(refusing)).with_state_dir(lab.dir()).with_locks_kept();
    let result = host.stop_network(&network("a"), Guests::AreCutOff);
    (host, result)
}

#[test]
fn a_stop_that_fails_leaves_guests_their_leases() {
    on_a_host("failures::a_stop_that_fails_leaves_guests_their_leases", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let shared = described("a", SHARED);
        let mut host = Host::netlink().unwrap().with_state_dir(lab.dir());
        host.start_network(&shared).unwrap_or_else(|e| panic!("{}", e.report()));
        lab.guest(1);
        host.attach(domid(1), &format!("mac={},bridge=natbr0", mac(1)).parse().unwrap()).unwrap();
        let address = lab.address(1).unwrap();
        let given = leases(lab, "a");
        assert!(given.contains(&address), "{given}");
        for step in 0.. {
            let (_, result) = stop_refused(lab, step, |_| {});
            let Err(e) = result else {
                assert!(step > 2);
                break;
            };
            assert_eq!(e.errno(), Some(Errno::EBUSY), "{}", e.report());
            assert!(e.state().is_some_and(|s| s.starts_with("restored") || s == "unchanged"), "{}", e.report());
            assert_eq!(leases(lab, "a"), given, "step {step}");
            assert_eq!(lab.pids("a").len(), 1, "step {step}");
            assert_eq!(host.network_status(&shared).unwrap().missing, [""; 0], "step {step}");
        }
        assert_eq!(lab.pids("a"), []);
        assert!(!lab.files("a").exists());
    });
}

#[test]
fn the_reason_of_a_failed_stop_is_told_although_more_fails() {
    on_a_host("failures::the_reason_of_a_failed_stop_is_told_although_more_fails", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let shared = described("a", SHARED);
        let mut host = Host::netlink().unwrap().with_state_dir(lab.dir());
        host.start_network(&shared).unwrap_or_else(|e| panic!("{}", e.report()));
        // What it is told is to be written where a directory stands by now.
        let (kept, result) = stop_refused(lab, 1, |files| {
            let _ = fs::remove_file(files.join("bridge.conf"));
            fs::create_dir_all(files.join("bridge.conf/x")).unwrap();
        });
        let e = result.unwrap_err();
        assert_eq!((e.errno(), e.outcome()), (Some(Errno::EBUSY), Some(Outcome::Incomplete)), "{}", e.report());
        let state = e.state().unwrap();
        assert!(state.starts_with("restored") && state.contains("bridge.conf: cannot be"), "{}", e.report());
        // The lock that is to be kept is kept.
        let dir = lab.dir();
        let held = || dir.hold(xennet_core::exec::Subject::Network(network("a")), std::time::Duration::ZERO);
        assert_eq!(held().unwrap_err().kind(), ErrorKind::Busy);
        drop(kept);
        held().unwrap();
        // It is started, and once more it is served.
        assert!(lab.dir().started(&network("a")).unwrap().is_some());
        fs::remove_dir_all(lab.files("a").join("bridge.conf")).unwrap();
        host.start_network(&shared).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(host.network_status(&shared).unwrap().missing, [""; 0]);
        host.stop_network(&network("a"), Guests::MustHaveGone).unwrap();
    });
}

/// Another program that listens, as long as this value lives.
fn holder(address: &str, protocol: &str) -> std::io::Result<OwnedFd> {
    match protocol {
        "UDP" => UdpSocket::bind(address).map(OwnedFd::from),
        _ => TcpListener::bind(address).map(OwnedFd::from),
    }
}

/// It ends. A process that another test begins has the socket, too, until it runs its program.
fn ends(one: OwnedFd, address: &str, protocol: &str) {
    drop(one);
    soon("the port is free", || holder(address, protocol).is_ok());
}

/// The gateway's address comes with the first guest: until then nothing listens there.
#[test]
fn a_port_that_another_program_has_is_told_before_the_first_guest_asks() {
    on_a_host("failures::a_port_that_another_program_has_is_told_before_the_first_guest_asks", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let both = described("a", "dhcp = true\ndns = true\n");
        let mut host = Host::netlink().unwrap().with_state_dir(lab.dir());
        for (address, protocol) in
            [("0.0.0.0:53", "UDP"), ("0.0.0.0:53", "TCP"), ("[::]:53", "UDP"), ("[::]:53", "TCP")]
        {
            let one = holder(address, protocol).unwrap();
            let e = host.start_network(&both).unwrap_err();
            assert_eq!((e.kind(), e.object()), (ErrorKind::Conflict, Some("a")), "{}", e.report());
            assert!(e.message().contains(&format!("10.0.0.254: another program has {protocol} port 53")), "{e}");
            assert!(e.hint().unwrap().contains("ss -lnptu") && e.outcome() == Some(Outcome::Restored), "{e:?}");
            assert!(lab.pids("a").is_empty() && !lab.files("a").exists(), "nothing of it is left");
            ends(one, address, protocol);
        }
        // Addresses that are nothing to it, as of this domain's own resolver.
        let own = holder("127.0.0.53:53", "UDP").unwrap();
        let outside = holder("192.0.2.1:53", "TCP").unwrap();
        host.start_network(&both).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(host.network_status(&both).unwrap().missing, [""; 0]);
        ends(own, "127.0.0.53:53", "UDP");
        ends(outside, "192.0.2.1:53", "TCP");
        // Another program comes before the first guest, and stays.
        let one = holder("0.0.0.0:53", "UDP").unwrap();
        let taken = "dnsmasq cannot answer at 10.0.0.254: another program has UDP port 53";
        assert_eq!(host.network_status(&both).unwrap().missing, [taken]);
        lab.guest(1);
        host.attach(domid(1), &format!("mac={},script=vif-nat,ip=10.0.0.5", mac(1)).parse().unwrap()).unwrap();
        assert_eq!(host.network_status(&both).unwrap().missing, [taken]);
        let pids = lab.pids("a");
        let e = host.start_network(&both).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
        assert_eq!(lab.pids("a"), pids, "guests get addresses all the while");
        ends(one, "0.0.0.0:53", "UDP");
        // By itself it looks again when the next address comes.
        let missing = host.network_status(&both).unwrap().missing;
        assert_eq!(missing, ["dnsmasq does not listen at 10.0.0.254, UDP port 53"]);
        host.start_network(&both).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(host.network_status(&both).unwrap().missing, [""; 0]);
        let restarted = lab.pids("a");
        assert_eq!(restarted.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [Part::Dhcp, Part::Dns]);
        assert!(restarted[0] == pids[0] && restarted[1] != pids[1]);
        // It is heard now, and nothing is done any more.
        host.start_network(&both).unwrap();
        assert_eq!(lab.pids("a"), restarted);
        host.detach(domid(1), DevId::FIRST).unwrap();
        host.stop_network(&network("a"), Guests::MustHaveGone).unwrap();
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

/// The line is what its guest would be told by.
#[test]
fn a_recorded_vif_line_that_cannot_be_read_is_told_with_a_way_out() {
    on_a_host("failures::a_recorded_vif_line_that_cannot_be_read_is_told_with_a_way_out", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let served = described("a", "dhcp = true\n");
        let mut host = Host::netlink().unwrap().with_state_dir(lab.dir());
        host.start_network(&served).unwrap_or_else(|e| panic!("{}", e.report()));
        lab.guest(1);
        let vif = format!("mac={},script=vif-nat,ip=10.0.0.5", mac(1)).parse().unwrap();
        host.attach(domid(1), &vif).unwrap();
        let journal = lab.dir().file("vif1.0".parse().unwrap());
        let text = fs::read_to_string(&journal).unwrap();
        let line = format!("\"text\":\"{vif}\"");
        assert!(text.contains(&line), "{text}");
        let damage = || fs::write(&journal, text.replace(&line, "\"text\":\"ip=10.0.0.5,colour=red\"")).unwrap();
        damage();
        let e = host.start_network(&served).unwrap_err();
        assert_eq!((e.kind(), e.object()), (ErrorKind::StateUnusable, Some("vif1.0")), "{}", e.report());
        assert!(e.message().contains("the vif line \"ip=10.0.0.5,colour=red\" that is recorded of it"), "{e}");
        assert!(e.hint().unwrap().starts_with("attach vif1.0 anew"), "{}", e.report());
        assert_eq!(lab.pids("a").len(), 1, "other guests are served");
        // The way out is one.
        host.attach(domid(1), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        host.start_network(&served).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"));
        // The vif can go although its line cannot be read.
        damage();
        host.detach(domid(1), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        host.stop_network(&network("a"), Guests::MustHaveGone).unwrap();
    });
}
