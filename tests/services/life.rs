//! The life of the process: started once, otherwise, again; ended, and nobody else's.

use std::fs;
use std::process::{Child, Command, Stdio};

use xennet_core::services::{self, Outcome, Part};
use xennet_core::{Budget, ErrorKind, Started};

use crate::lab::{Lab, client, id, network, on_a_host, sh, soon};

const NAT: &str = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\n";

fn start(lab: &Lab, started: &Started) -> Outcome {
    services::start(&lab.dir(), started, Budget::unlimited()).unwrap()
}

/// A program that does nothing, and ends with this value.
struct Idle(Child);

impl Idle {
    fn new() -> Self {
        Idle(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn gone(pid: u32) -> bool {
    // A zombie until whoever inherits it looks.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

/// Zero is one as well: it began outside what this process can see, as in a container, or at the kernel's start.
fn session(process: &str) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(3).unwrap().parse().unwrap()
}

fn kill(pid: u32) {
    sh(&format!("kill -9 {pid}"));
    soon("it is killed", || gone(pid));
}

#[test]
fn it_is_started_once_and_otherwise_when_the_network_is() {
    on_a_host("life::it_is_started_once_and_otherwise_when_the_network_is", |lab| {
        let started = lab.start("a", NAT);
        let first = lab.pids("a");
        assert_eq!(first.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [Part::Dhcp]);
        assert_eq!((start(lab, &started), lab.pids("a")), (Outcome::Unchanged, first.clone()));
        // In a session of its own, with nothing of the caller's.
        let pid = first[0].1;
        assert_ne!(session(&pid.to_string()), session("self"));
        let files = lab.files("a");
        for fd in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
            let to = fs::read_link(fd.unwrap().path()).unwrap();
            let text = to.to_str().unwrap();
            let own = ["socket:", "pipe:", "anon_inode:", "/dev/null"].iter().any(|kind| text.starts_with(kind));
            assert!(own || to.starts_with(&files), "{text}");
        }
        // Not as root, where there is anybody else.
        let alone = fs::read_to_string("/proc/self/setgroups").unwrap().trim() == "deny";
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        assert_eq!(status.contains("\nUid:\t0\t0\t0\t0\n"), alone, "{status}");
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.5"]);
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], None), Budget::unlimited()).unwrap();
        // Names as well: one part is as it was, one is new, and the guest is known to both.
        let more = lab.describe("a", &format!("{NAT}dns = true\n"));
        assert_eq!(start(lab, &more), Outcome::Restarted);
        let second = lab.pids("a");
        assert_eq!(second.iter().map(|(part, _)| *part).collect::<Vec<_>>(), [Part::Dhcp, Part::Dns]);
        assert!(second[0].1 != pid && gone(pid), "guests are told a resolver now");
        assert_eq!(lab.dhcp(1, 5).unwrap()["dns"], "10.0.0.254");
        // Without any service nothing is left.
        let none = lab.describe("a", "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n");
        assert_eq!((start(lab, &none), lab.pids("a")), (Outcome::NotWanted, Vec::new()));
        assert!(second.iter().all(|(_, pid)| gone(*pid)) && !files.exists());
    });
}

#[test]
fn one_that_was_killed_is_started_again_and_knows_its_guests() {
    on_a_host("life::one_that_was_killed_is_started_again_and_knows_its_guests", |lab| {
        let started = lab.start("a", NAT);
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.5"]);
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.6"]);
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], None), Budget::unlimited()).unwrap();
        kill(lab.pids("a")[0].1);
        let status = services::status(&lab.dir(), &network("a")).unwrap();
        assert_eq!((status.len(), status[0].pid), (1, None));
        // Guests come and go all the same.
        services::guest(&lab.dir(), &started, id(2), &client(2, &["10.0.0.6"], None), Budget::unlimited()).unwrap();
        services::no_guest(&lab.dir(), &network("a"), id(2), Budget::unlimited()).unwrap();
        services::guest(&lab.dir(), &started, id(2), &client(2, &["10.0.0.6"], None), Budget::unlimited()).unwrap();
        assert_eq!(lab.pids("a"), []);
        assert_eq!(start(lab, &started), Outcome::Started);
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"));
        assert_eq!(lab.address(2).as_deref(), Some("10.0.0.6"));
        // One that was started by a call which was killed before it wrote that down.
        let pid = lab.pids("a")[0].1;
        fs::remove_file(lab.files("a").join("dhcp.json")).unwrap();
        assert_eq!(start(lab, &started), Outcome::Restarted);
        assert!(gone(pid) && lab.pids("a")[0].1 != pid);
    });
}

#[test]
fn stop_leaves_nothing_behind() {
    on_a_host("life::stop_leaves_nothing_behind", |lab| {
        let started = lab.start("a", &format!("{NAT}dns = true\n"));
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], Some("web")), Budget::unlimited())
            .unwrap();
        let pids = lab.pids("a");
        assert!(services::stop(&lab.dir(), &network("a"), Budget::unlimited()).unwrap());
        assert!(pids.len() == 2 && pids.iter().all(|(_, pid)| gone(*pid)));
        assert!(!lab.files("a").parent().unwrap().exists());
        assert!(!services::stop(&lab.dir(), &network("a"), Budget::unlimited()).unwrap(), "again is nothing");
        services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
        assert!(services::status(&lab.dir(), &network("a")).unwrap().is_empty());
        assert!(!lab.files("a").parent().unwrap().exists());
    });
}

#[test]
fn another_process_with_the_number_is_left_alone() {
    on_a_host("life::another_process_with_the_number_is_left_alone", |lab| {
        let started = lab.start("a", NAT);
        let pid = lab.pids("a")[0].1;
        kill(pid);
        let mut other = Idle::new();
        let record = lab.files("a").join("dhcp.json");
        let text = fs::read_to_string(&record).unwrap();
        // The number alone; and the number with the start time, as nobody could have them both.
        let stat = fs::read_to_string(format!("/proc/{}/stat", other.0.id())).unwrap();
        let start_of = stat.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap();
        let number = text.replace(&format!("\"pid\":{pid},"), &format!("\"pid\":{},", other.0.id()));
        assert_ne!(number, text);
        let (before, after) = number.split_once("\"start\":").unwrap();
        let both = format!("{before}\"start\":{start_of},{}", after.split_once(',').unwrap().1);
        for text in [number.clone(), both] {
            fs::create_dir_all(lab.files("a")).unwrap();
            fs::write(&record, text).unwrap();
            fs::write(lab.files("a").join("dhcp.pid"), other.0.id().to_string()).unwrap();
            assert_eq!(lab.pids("a"), []);
            // Neither told nor ended.
            services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], None), Budget::unlimited()).unwrap();
            services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
            services::stop(&lab.dir(), &network("a"), Budget::unlimited()).unwrap();
            assert!(other.runs());
        }
        fs::create_dir_all(lab.files("a")).unwrap();
        fs::write(&record, number).unwrap();
        assert_eq!(start(lab, &started), Outcome::Started);
        assert!(other.runs());
    });
}

#[test]
fn what_dnsmasq_says_is_told() {
    on_a_host("life::what_dnsmasq_says_is_told", |lab| {
        sh("ip address add 10.0.0.254/32 dev eth0");
        let _taken = std::net::TcpListener::bind("10.0.0.254:53").unwrap();
        let started = lab.describe("a", &NAT.replace("dhcp", "dns"));
        let error = services::start(&lab.dir(), &started, Budget::unlimited()).unwrap_err();
        assert_eq!((error.kind(), error.object()), (ErrorKind::Conflict, Some("a")), "{}", error.report());
        assert!(error.message().contains("Address already in use"), "{error}");
        assert_eq!(lab.pids("a"), []);
    });
}

#[test]
fn two_at_once_start_one() {
    on_a_host("life::two_at_once_start_one", |lab| {
        let started = lab.describe("a", NAT);
        let (dir, started) = (lab.dir(), &started);
        let mut outcomes: Vec<Outcome> = std::thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| services::start(&dir, started, Budget::unlimited()).unwrap()));
            both.map(|thread| thread.join().unwrap()).to_vec()
        });
        outcomes.sort_by_key(|outcome| *outcome == Outcome::Started);
        assert_eq!(outcomes, [Outcome::Unchanged, Outcome::Started]);
        assert_eq!(lab.pids("a").len(), 1);
    });
}

#[test]
fn a_bridge_that_is_made_anew_is_another_one() {
    on_a_host("life::a_bridge_that_is_made_anew_is_another_one", |lab| {
        let make = "ip link add natbr0 type bridge; ip address add 10.0.0.254/24 dev natbr0; ip link set natbr0 up";
        sh(make);
        let started = lab.start("a", &format!("{NAT}bridge = \"natbr0\"\nrange = [\"10.0.0.9-10.0.0.9\"]\n"));
        assert_eq!(start(lab, &started), Outcome::Unchanged);
        sh(&format!("ip link delete natbr0; {make}"));
        assert_eq!(start(lab, &started), Outcome::Restarted);
        lab.guest_on(1, "natbr0");
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.9"));
    });
}

#[test]
fn dnsmasq_takes_every_configuration() {
    on_a_host("life::dnsmasq_takes_every_configuration", |lab| {
        let subnets = ["10.0.0.0/8", "172.16.0.0/12", "10.0.0.0/24", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.1/32"];
        let more = ["fd00::/64", "fd00::/65", "fd00::/112", "fd00::/127", "fd00::1/128"];
        let mut texts: Vec<String> = Vec::new();
        for subnet in subnets.iter().chain(&more) {
            for guests in ["", "bridge = \"natbr0\"\n"] {
                for services in [
                    "dhcp = true\n",
                    "dns = true\n",
                    "dhcp = true\ndns = true\ndomain = \"a.b-c.example\"\nmtu = 9000\n",
                ] {
                    texts.push(format!("mode = \"nat\"\nsubnets = [\"{subnet}\"]\n{guests}{services}"));
                }
            }
        }
        texts.push(
            "mode = \"nat\"\nsubnets = [\"10.0.0.0/16\", \"10.1.0.0/16\", \"fd00::/64\", \"fd01::/64\"]\nbridge = \"b.r~=+@-_0\"\n\
             dhcp = true\ndns = true\nrange = [\"10.1.0.1-10.1.0.1\", \"fd01::2-fd01::ffff\"]\n"
                .into(),
        );
        let files = lab.files("x");
        let place = services::Place::new(&files, services::Account::User("nobody"));
        fs::create_dir_all(place.dir).unwrap();
        let mut checked = 0;
        for text in texts {
            let mut started = lab.describe("x", &text);
            started.source = vec!["192.0.2.1".parse().unwrap()];
            for (part, config) in services::config(&started, &place).unwrap() {
                fs::write(place.config(part), &config).unwrap();
                let said = sh(&format!("dnsmasq --conf-file={} --test 2>&1 || true", place.config(part).display()));
                assert!(said.contains("syntax check OK"), "{said}{config}");
                checked += 1;
            }
        }
        assert!(checked > 60);
    });
}
