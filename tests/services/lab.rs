//! A host with a network, its guests, and real clients in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use xennet_core::config::networks;
use xennet_core::services::{self, Client, Outcome, Part};
use xennet_core::{Budget, DevId, DomId, IfName, MacAddr, Started, VifId, exec};
use xennet_tests::lease::{self, command};
pub(crate) use xennet_tests::lease::{patience, soon};
use xennet_tests::{Guest, GuestSpec, StateDir, in_netns};

/// Runs a test in a namespace of its own, if all programs are here.
pub(crate) fn on_a_host(test: &str, case: impl FnOnce(&mut Lab) + Send) {
    if !lease::programs_are_here(test) {
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
            let _ = services::stop(&self.dir(), &started.network.name(), Budget::unlimited());
        }
    }
}

impl Lab {
    pub(crate) fn dir(&self) -> exec::StateDir {
        exec::StateDir::at(self.state.path())
    }

    /// Where a network's files are.
    pub(crate) fn files(&self, network: &str) -> PathBuf {
        self.state.services().join(format!("{network}.d"))
    }

    /// A network of this text, and its services started.
    #[track_caller]
    pub(crate) fn start(&mut self, name: &str, text: &str) -> Started {
        let started = self.describe(name, text);
        assert_eq!(services::start(&self.dir(), &started, Budget::unlimited()).unwrap(), Outcome::Started);
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
        // And this domain's end has none but those that it is given, as xennet makes it.
        sh(&format!("ip link set {0} addrgenmode none; ip link set {0} up", id(domid).vif_name()));
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
        lease::four(self.guests[&domid].namespace(), self.state.path(), tries, "")
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
        let script = lease::script(self.state.path(), "udhcpc", &format!("{body}echo $1 >> {}\n", events.display()));
        let script = script.to_str().unwrap();
        let client = self.guests[&domid].namespace().run(|| {
            let arguments = ["udhcpc", "-i", Guest::LINK, "-n", "-f", "-t", "5", "-T", "1", "-s", script];
            command("busybox", &arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
        });
        let mut client = client.unwrap();
        let says = |event: &str| fs::read_to_string(&events).is_ok_and(|text| text.lines().any(|line| line == event));
        soon("an address", || says("bound"));
        sh(&format!("kill -USR1 {}", client.id()));
        let until = Instant::now() + lease::patience() / 5;
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
        lease::six(self.guests[&domid].namespace(), &place, patience, "")
    }

    /// What the name server at an address says about a name, asked from a guest.
    pub(crate) fn lookup(&self, domid: u32, name: &str, server: &str) -> Option<String> {
        let output = self.within(domid, "busybox", &["timeout", "2", "busybox", "nslookup", name, server]);
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

pub(crate) fn id(domid: u32) -> VifId {
    VifId::new(DomId::new(domid).unwrap(), DevId::FIRST)
}

pub(crate) fn mac(domid: u32) -> MacAddr {
    MacAddr::new([0, 0x16, 0x3e, 0, (domid >> 8) as u8, domid as u8])
}

/// A guest as DHCP sees it.
pub(crate) fn client(domid: u32, addresses: &[&str], name: Option<&str>) -> Client {
    Client::new(mac(domid))
        .with_addresses(addresses.iter().map(|a| a.parse().unwrap()).collect())
        .with_name(name.map(|n| n.parse().unwrap()))
}

/// The name of a network.
pub(crate) fn network(name: &str) -> IfName {
    name.parse().unwrap()
}
