//! A host with a network, its guests, and real clients in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use xennet_core::config::networks;
use xennet_core::services::{self, Client, Outcome, Part};
use xennet_core::{DevId, DomId, IfName, MacAddr, Started, VifId, exec};
use xennet_tests::{Guest, GuestSpec, StateDir, in_netns};

/// What these tests talk to, and the packages that have it.
const PROGRAMS: [(&str, &str); 4] =
    [("dnsmasq", "dnsmasq-base"), ("busybox", "busybox"), ("dhclient", "isc-dhcp-client"), ("ip", "iproute2")];

/// How long is waited for what takes a moment.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Runs a test in a namespace of its own, if all programs are here.
pub(crate) fn on_a_host(test: &str, case: impl FnOnce(&mut Lab) + Send) {
    let found = |program: &str| {
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        path.split(':').any(|dir| PathBuf::from(dir).join(program).is_file())
    };
    let missing: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, p)| *p).collect();
    if !missing.is_empty() {
        let say = format!("{test}: missing; as root: apt-get install {}", missing.join(" "));
        assert!(std::env::var_os("CI").is_none(), "{say}");
        eprintln!("skipped: {say}");
        return;
    }
    in_netns(test, || {
        // The link that the host has anyway, and what dnsmasq makes its identifier of.
        sh(
            "ip link set lo up; ip link add eth0 type veth peer name outside; ip link set eth0 up; ip link set outside up",
        );
        let mut lab = Lab { state: StateDir::new(), started: Vec::new(), guests: BTreeMap::new() };
        case(&mut lab);
    });
}

/// Runs a line of shell here; it has to succeed.
#[track_caller]
pub(crate) fn sh(line: &str) -> String {
    let output = command("sh", &["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C");
    command.env("PATH", std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin");
    command
}

/// Looks until it is so.
#[track_caller]
pub(crate) fn soon(what: &str, mut look: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !look() {
        assert!(Instant::now() < until, "not within {} s: {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The host; what was started ends with it.
pub(crate) struct Lab {
    state: StateDir,
    started: Vec<Started>,
    guests: BTreeMap<u32, Guest>,
}

impl Drop for Lab {
    fn drop(&mut self) {
        for started in &self.started {
            // The test that panics has said why.
            let _ = services::stop(&self.dir(), &started.network.name);
        }
    }
}

impl Lab {
    pub(crate) fn dir(&self) -> exec::StateDir {
        exec::StateDir::at(self.state.path())
    }

    /// Where a network's files are.
    pub(crate) fn files(&self, network: &str) -> PathBuf {
        self.state.path().join("networks").join(format!("{network}.d"))
    }

    /// A network of this text, and its services started.
    #[track_caller]
    pub(crate) fn start(&mut self, name: &str, text: &str) -> Started {
        let started = self.describe(name, text);
        assert_eq!(services::start(&self.dir(), &started).unwrap(), Outcome::Started);
        started
    }

    /// A network of this text, not started.
    #[track_caller]
    pub(crate) fn describe(&mut self, name: &str, text: &str) -> Started {
        let all = networks::parse(&format!("[network.{name}]\n{text}")).unwrap();
        let mut started = Started::new(all.get(name).unwrap().clone());
        started.outside = Some("eth0".parse().unwrap());
        self.started.push(started.clone());
        started
    }

    /// The numbers of a network's processes.
    #[track_caller]
    pub(crate) fn pids(&self, network: &str) -> Vec<(Part, u32)> {
        let all = services::status(&self.dir(), &network.parse().unwrap()).unwrap();
        all.iter().filter_map(|d| Some((d.part, d.pid?))).collect()
    }

    /// A guest that has no addresses, and its vif, which is up.
    pub(crate) fn guest(&mut self, domid: u32) {
        let spec = GuestSpec { id: id(domid), mac: mac(domid), addresses: Vec::new() };
        let guest = Guest::new(&spec).unwrap();
        self.guests.insert(domid, guest);
        // As a real one: with an IPv6 address of its own, which it makes when there is somebody at the other end.
        self.shell(domid, "ip link set eth0 addrgenmode eui64");
        sh(&format!("ip link set {} up", id(domid).vif_name()));
    }

    /// A guest on a bridge.
    pub(crate) fn guest_on(&mut self, domid: u32, bridge: &str) {
        self.guest(domid);
        sh(&format!("ip link set {} master {bridge}", id(domid).vif_name()));
    }

    /// A guest on a link of its own, on which dom0 has these addresses, with a route to the guest's.
    pub(crate) fn guest_beside(&mut self, domid: u32, dom0: &[&str], guest: &[&str]) {
        self.guest(domid);
        let vif = id(domid).vif_name();
        for address in dom0 {
            let more = if address.contains(':') { "noprefixroute nodad" } else { "" };
            sh(&format!("ip address add {address} dev {vif} {more}"));
        }
        for address in guest {
            sh(&format!("ip route add {address} dev {vif}"));
        }
        if dom0.iter().any(|a| a.contains(':')) {
            sh(&format!("ip address add fe80::1/64 dev {vif} nodad"));
        }
    }

    /// The guest goes, with its vif.
    pub(crate) fn destroy(&mut self, domid: u32) {
        self.guests.remove(&domid).unwrap();
        let vif = id(domid).vif_name();
        soon("the vif is gone", || !sh("ip -o link").contains(&format!("{vif}@")));
    }

    /// Runs a program in a guest.
    pub(crate) fn within(&self, domid: u32, program: &str, arguments: &[&str]) -> Output {
        self.guests[&domid].namespace().run(|| command(program, arguments).output().unwrap()).unwrap()
    }

    /// A line of shell in a guest.
    #[track_caller]
    pub(crate) fn shell(&self, domid: u32, line: &str) -> String {
        let output = self.within(domid, "sh", &["-ec", line]);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What a guest is given by DHCP, after `tries` requests at the most, as the client's variables.
    pub(crate) fn dhcp(&self, domid: u32, tries: u32) -> Option<BTreeMap<String, String>> {
        let script = self.script("udhcpc", "[ \"$1\" = bound ] && env || exit 0\n");
        let (script, tries) = (script.to_str().unwrap(), tries.to_string());
        let arguments = ["udhcpc", "-i", Guest::LINK, "-n", "-q", "-f", "-t", &tries, "-T", "1", "-s", script];
        let mut all = arguments.to_vec();
        for option in ["mtu", "serverid", "domain"] {
            all.extend(["-O", option]);
        }
        let output = self.within(domid, "busybox", &all);
        output.status.success().then(|| variables(&String::from_utf8(output.stdout).unwrap()))
    }

    /// The address that a guest is given.
    pub(crate) fn address(&self, domid: u32) -> Option<String> {
        self.dhcp(domid, 5)?.remove("ip")
    }

    /// Whether a guest that has an address can keep it by asking the one who gave it, and nobody else.
    pub(crate) fn renews(&self, domid: u32) -> bool {
        let events = self.state.path().join(format!("events.{domid}"));
        let _ = fs::remove_file(&events);
        let body = "case $1 in bound) ip address replace $ip/32 dev eth0; ip route replace $serverid dev eth0;; esac\n";
        let script = self.script("udhcpc", &format!("{body}echo $1 >> {}\n", events.display()));
        let script = script.to_str().unwrap();
        let client = self.guests[&domid].namespace().run(|| {
            let arguments = ["udhcpc", "-i", Guest::LINK, "-n", "-f", "-t", "5", "-T", "1", "-s", script];
            command("busybox", &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let mut client = client.unwrap();
        let says = |event: &str| fs::read_to_string(&events).is_ok_and(|text| text.lines().any(|line| line == event));
        soon("an address", || says("bound"));
        sh(&format!("kill -USR1 {}", client.id()));
        let until = Instant::now() + Duration::from_secs(2);
        while !says("renew") && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(20));
        }
        client.kill().unwrap();
        client.wait().unwrap();
        says("renew")
    }

    /// What a guest is given by DHCPv6, within `patience`. A client that has no file of earlier leases identifies itself anew.
    pub(crate) fn dhcp6(&self, domid: u32, patience: Duration) -> Option<BTreeMap<String, String>> {
        let place = self.state.path().join(format!("guest.{domid}"));
        let _ = fs::remove_dir_all(&place);
        fs::create_dir(&place).unwrap();
        let (given, leases) = (place.join("given"), place.join("leases"));
        let script = self.script(
            "dhclient",
            &format!("[ \"$reason\" = BOUND6 ] && env > {0}.new && mv {0}.new {0}; exit 0\n", given.display()),
        );
        // A link's own address is not used before it is known to be no other's.
        soon("the guest's own address", || {
            let seen = self.shell(domid, "ip -6 -o address show dev eth0 scope link");
            !seen.is_empty() && !seen.contains("tentative")
        });
        let pid = place.join("pid");
        let texts = [&leases, &pid, &script].map(|path| path.to_str().unwrap().to_owned());
        let mut client = self.guests[&domid].namespace().run(|| {
            let arguments =
                ["-6", "-1", "-d", "-cf", "/dev/null", "-lf", &texts[0], "-pf", &texts[1], "-sf", &texts[2], "eth0"];
            let mut command = command("dhclient", &arguments);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let client = client.as_mut().unwrap();
        let until = Instant::now() + patience;
        while !given.exists() && Instant::now() < until && client.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
        // It holds its lease, as a guest does that is destroyed.
        client.kill().unwrap();
        client.wait().unwrap();
        fs::read_to_string(&given).ok().map(|text| variables(&text))
    }

    /// A script that a client calls.
    fn script(&self, name: &str, body: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.state.path().join(format!("{name}.{number}"));
        fs::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// What the name server at an address says about a name, asked from a guest.
    pub(crate) fn lookup(&self, domid: u32, name: &str, server: &str) -> Option<String> {
        let output = self.within(domid, "busybox", &["timeout", "2", "busybox", "nslookup", name, server]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// The variables that a client's script has printed.
fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

pub(crate) fn id(domid: u32) -> VifId {
    VifId::new(DomId::new(domid).unwrap(), DevId::FIRST)
}

pub(crate) fn mac(domid: u32) -> MacAddr {
    MacAddr::new([0, 0x16, 0x3e, 0, (domid >> 8) as u8, domid as u8])
}

/// A guest as DHCP sees it.
pub(crate) fn client(domid: u32, addresses: &[&str], name: Option<&str>) -> Client {
    Client {
        mac: mac(domid),
        addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
        name: name.map(|n| n.parse().unwrap()),
    }
}

/// The name of a network.
pub(crate) fn network(name: &str) -> IfName {
    name.parse().unwrap()
}
