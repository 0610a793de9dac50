//! A host in a namespace, to be damaged.

use std::process::Command;

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::doctor::{self, Code, Finding, Level};
use xennet_core::recording::{Described, Recording, Surroundings, Taken};
use xennet_core::snapshot::PortForwarding;
use xennet_core::xenstore::{MemoryStore, Store};
use xennet_core::{DomId, Guests, Host, exec};
use xennet_tests::StateDir;
use xennet_tests::lease::soon;
use xennet_tests::steps::name;

/// A bridge with an uplink, a default route, and two guests on it; a NAT network and a routed network with a guest each.
pub(crate) const NETWORKS: &str = r#"
[network.lan]
mode = "bridge"
bridge = "xenbr0"
uplink = "eth0"

[network.private]
mode = "nat"
subnets = ["10.1.0.0/24", "fd00:1::/64"]

[network.public]
mode = "routed"
subnets = ["198.51.100.0/28"]
proxy_arp = true
"#;

/// A host on the kernel, and what is beside it.
pub(crate) struct World {
    pub(crate) host: Host,
    pub(crate) store: MemoryStore,
    pub(crate) described: String,
    pub(crate) around: Surroundings,
    // Kept as long as the host uses it.
    _state: StateDir,
}

/// Runs a line of commands, which has to succeed.
#[track_caller]
pub(crate) fn sh(line: &str) {
    let output = Command::new("sh").args(["-ec", line]).output().unwrap();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether no port waits for its carrier or its bridge any more.
pub(crate) fn forwards() -> bool {
    let (details, _) = Netlink::open().unwrap().details().unwrap();
    details.links.values().all(|l| l.port_state.is_none_or(|s| s == PortForwarding::Forwarding))
}

impl World {
    /// A host with nothing wrong about it.
    pub(crate) fn healthy() -> Self {
        sh("ip link set lo up
            ip link add eth0 address 02:00:00:00:00:01 type veth peer name wire
            ip link set eth0 up; ip link set wire up
            ip address add 192.0.2.2/24 dev eth0
            ip route add default via 192.0.2.1");
        for n in 1..=4 {
            sh(&format!(
                "ip link add vif{n}.0 address fe:ff:ff:ff:ff:ff type veth peer name guest{n}; ip link set guest{n} up"
            ));
        }
        let state = StateDir::new();
        let host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        let mut world = World {
            host,
            store: MemoryStore::new(0),
            described: NETWORKS.into(),
            around: Surroundings::default(),
            _state: state,
        };
        for network in networks::parse(NETWORKS).unwrap().iter() {
            world.host.start_network(network).unwrap();
        }
        sh("ip link set xenbr0 type bridge mcast_snooping 0");
        for (n, line) in [
            (1, "bridge=xenbr0,ip=192.0.2.11"),
            (2, "bridge=xenbr0,ip=192.0.2.12 2001:db8::12"),
            (3, "bridge=private,ip=10.1.0.3 fd00:1::3"),
            (4, "bridge=public,ip=198.51.100.4"),
        ] {
            world.attach(n, line);
        }
        soon("every port forwards", forwards);
        world
    }

    /// A guest, as its toolstack starts it.
    pub(crate) fn attach(&mut self, n: u32, line: &str) {
        let line = format!("mac=00:16:3e:00:00:0{n},{line}");
        self.host.attach(DomId::new(n).unwrap(), &line.parse().unwrap()).unwrap();
        self.tell(n, &line);
    }

    /// What xenstore has of a guest that runs.
    pub(crate) fn tell(&mut self, n: u32, line: &str) {
        self.node(&format!("/local/domain/{n}/name"), &format!("guest{n}"));
        let backend = format!("/local/domain/0/backend/vif/{n}/0");
        for part in line.split(',') {
            let (key, value) = part.split_once('=').unwrap();
            self.node(&format!("{backend}/{key}"), value);
        }
        for (key, value) in [("script", "/etc/xen/scripts/vif-bridge"), ("state", "4"), ("hotplug-status", "connected")]
        {
            self.node(&format!("{backend}/{key}"), value);
        }
        self.node(&format!("/local/domain/{n}/device/vif/0/state"), "4");
    }

    pub(crate) fn node(&mut self, path: &str, value: &str) {
        self.store.write(path, value.as_bytes()).unwrap();
    }

    pub(crate) fn no_node(&mut self, path: &str) {
        self.store.rm(path).unwrap();
    }

    pub(crate) fn recording(&mut self) -> Recording {
        let described = Described::new("networks.toml", self.described.clone());
        let mut recording = self.host.record(Taken::default(), Some(described), Ok(&mut self.store));
        recording.surroundings = self.around.clone();
        recording
    }

    /// What doctor says, of a document as it is given to another machine.
    pub(crate) fn findings(&mut self) -> Vec<Finding> {
        let document = self.recording().to_json();
        xennet_tests::documents::check_text("recording", &document);
        let findings = doctor::examine(&Recording::from_json(&document).unwrap());
        xennet_tests::documents::check_text("findings", &doctor::document(&findings));
        findings
    }

    /// What is worse than a note.
    pub(crate) fn bad(&mut self) -> Vec<Finding> {
        let mut all = self.findings();
        all.retain(|f| f.level() != Level::Note);
        all
    }

    #[track_caller]
    pub(crate) fn assert_healthy(&mut self) {
        let bad = self.bad();
        assert!(bad.is_empty(), "{}", told(&bad));
    }

    /// The first finding, which has to be of this kind and about this.
    #[track_caller]
    pub(crate) fn first(&mut self, code: Code, object: &str) -> Finding {
        let all = self.findings();
        let of_level: Vec<&Finding> = all.iter().filter(|f| f.level() == code.level()).collect();
        let first = of_level.first().copied().or(all.first());
        match first {
            Some(f) if f.code == code && f.object == object => f.clone(),
            _ => panic!("{code} of {object} is not the first of its level:\n{}", told(&all)),
        }
    }

    /// Mends what a finding says, as `doctor --fix` does, or by its command.
    #[track_caller]
    pub(crate) fn mend(&mut self, finding: &Finding) {
        let fix = finding.fix.as_ref().unwrap_or_else(|| panic!("there is no way out of {finding}"));
        match &fix.request {
            Some(request) => {
                let plan = self.host.plan_request(request).unwrap();
                self.host.apply(&plan).unwrap_or_else(|e| panic!("{finding}\n{}", e.report()));
            }
            // `xennet` is the host's own method here.
            None => {
                for part in fix.command.split(" && ") {
                    match part {
                        "xennet recover" => drop(self.host.recover().unwrap()),
                        "xennet network stop lan --force" => {
                            self.host.stop_network(&name("lan"), Guests::AreCutOff).unwrap();
                        }
                        "xennet network start lan" => {
                            let all = networks::parse(NETWORKS).unwrap();
                            let lan = all.iter().find(|n| n.name().as_str() == "lan").unwrap();
                            self.host.start_network(lan).unwrap();
                            sh("ip link set xenbr0 type bridge mcast_snooping 0");
                        }
                        part => sh(part),
                    }
                }
            }
        }
    }

    /// Mends all that can be mended, one after the other, until nothing is left.
    #[track_caller]
    pub(crate) fn mend_all(&mut self) {
        for _ in 0..12 {
            let bad = self.bad();
            let Some(first) = bad.iter().find(|f| f.fix.is_some()) else { break };
            self.mend(&first.clone());
        }
        soon("every port forwards", forwards);
        self.assert_healthy();
    }
}

pub(crate) fn told(findings: &[Finding]) -> String {
    findings.iter().map(|f| format!("{f}\n")).collect()
}
