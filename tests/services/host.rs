//! Through the front door: networks that are started, and guests that are attached, are served.

use std::fs;

use xennet_core::exec::Subject;
use xennet_core::services::Part;
use xennet_core::{DomId, Guests, Host};

use crate::lab::{Lab, mac, network, on_a_host, sh};

fn host(lab: &Lab) -> Host {
    Host::netlink().unwrap().with_state_dir(lab.dir())
}

fn domid(number: u32) -> DomId {
    DomId::new(number).unwrap()
}

const NETWORKS: &str = "[network.vifs]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\negress = \"eth0\"\ndhcp = true\n\n\
                        [network.shared]\nmode = \"nat\"\nsubnets = [\"10.2.0.0/24\"]\negress = \"eth0\"\nbridge = \"natbr0\"\n\
                        dhcp = true\nrange = [\"10.2.0.9-10.2.0.9\"]\n";

#[test]
fn a_guest_that_is_attached_is_served_until_it_is_detached() {
    on_a_host("host::a_guest_that_is_attached_is_served_until_it_is_detached", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let networks = xennet_core::config::networks::parse(NETWORKS).unwrap();
        let mut host = host(lab);
        for described in networks.iter() {
            host.start_network(described).unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!(host.network_status(described).unwrap().missing, [""; 0]);
        }
        lab.guest(1);
        lab.guest(2);
        let vif = |n: u32, more: &str| format!("mac={},{more}", mac(n)).parse().unwrap();
        host.attach(domid(1), &vif(1, "script=vif-nat,ip=10.1.0.7")).unwrap();
        host.attach(domid(2), &vif(2, "bridge=natbr0")).unwrap();
        assert_eq!(lab.address(1).as_deref(), Some("10.1.0.7"));
        assert_eq!(lab.address(2).as_deref(), Some("10.2.0.9"), "one of the range, where none was named");
        // Also one that is named, by the bridge's name; what is in no subnet is refused.
        host.attach(domid(2), &vif(2, "bridge=natbr0,ip=10.2.0.77")).unwrap();
        assert_eq!(lab.address(2).as_deref(), Some("10.2.0.77"));
        let e = host.attach(domid(2), &vif(2, "bridge=natbr0,ip=10.3.0.1")).unwrap_err();
        assert!(e.to_string().contains("10.3.0.1 is in no subnet of network shared"), "{e}");
        // Another address, of the same guest.
        host.attach(domid(1), &vif(1, "script=vif-nat,ip=10.1.0.8")).unwrap();
        assert_eq!(lab.address(1).as_deref(), Some("10.1.0.8"));
        // A network that is started anew still knows its guests.
        let name = network("vifs");
        host.stop_network(&name, Guests::MustHaveGone).unwrap();
        assert_eq!(lab.pids("vifs"), []);
        host.start_network(networks.get("vifs").unwrap()).unwrap();
        assert_eq!(lab.address(1).as_deref(), Some("10.1.0.8"));
        // What is seen of it when its dnsmasq has died, and put right.
        for (_, pid) in lab.pids("vifs") {
            sh(&format!(
                "kill -9 {pid}; while kill -0 {pid} 2>/dev/null && ! grep -q '^State:.Z' /proc/{pid}/status; do sleep 0.01; done"
            ));
        }
        let missing = host.network_status(networks.get("vifs").unwrap()).unwrap().missing;
        assert!(missing.iter().any(|m| m.contains("dnsmasq does not run")), "{missing:?}");
        host.start_network(networks.get("vifs").unwrap()).unwrap();
        assert_eq!(lab.address(1).as_deref(), Some("10.1.0.8"));
        // Gone is gone.
        host.detach(domid(1), xennet_core::DevId::FIRST).unwrap();
        let hosts = lab.files("vifs").join("hosts");
        assert_eq!(fs::read_dir(hosts).unwrap().count(), 0);
        host.detach(domid(2), xennet_core::DevId::FIRST).unwrap();
        for described in networks.iter() {
            host.stop_network(&described.name(), Guests::MustHaveGone).unwrap();
            assert_eq!(lab.pids(described.name().as_str()), []);
        }
    });
}

/// The guest keeps its link all the while: what changes is what it is told.
#[test]
fn what_guests_are_told_changes_while_they_stay() {
    on_a_host("host::what_guests_are_told_changes_while_they_stay", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let described = |more: &str| {
            let text = format!("[network.a]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\negress = \"eth0\"\n{more}");
            xennet_core::config::networks::parse(&text).unwrap().iter().next().unwrap().clone()
        };
        let mut host = host(lab);
        let plain = described("");
        host.start_network(&plain).unwrap_or_else(|e| panic!("{}", e.report()));
        lab.guest(1);
        host.attach(domid(1), &format!("mac={},script=vif-nat,ip=10.1.0.7", mac(1)).parse().unwrap()).unwrap();
        let served = |lab: &Lab| lab.pids("a").iter().map(|(part, _)| *part).collect::<Vec<_>>();
        assert_eq!(served(lab), []);
        // The one that is there already is known, too.
        for (keys, parts) in
            [("dhcp = true\n", &[Part::Dhcp][..]), ("dhcp = true\ndns = true\n", &[Part::Dhcp, Part::Dns])]
        {
            let applied = host.start_network(&described(keys)).unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!((applied.steps, served(lab)), (0, parts.to_vec()), "{keys}");
            assert_eq!(lab.address(1).as_deref(), Some("10.1.0.7"));
        }
        assert_eq!(lab.dhcp(1, 5).unwrap()["dns"], "10.1.0.254");
        // Taken back it is as it was before the last change, and what it is described as says so.
        host.undo(Subject::Network(network("a"))).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(served(lab), [Part::Dhcp]);
        assert_eq!(host.network_status(&described("dhcp = true\n")).unwrap().changed, [""; 0]);
        let dir = lab.files("a");
        assert_eq!(fs::read_dir(dir.join("hosts")).unwrap().count(), 1);
        // Of nothing, nothing is left.
        host.start_network(&plain).unwrap_or_else(|e| panic!("{}", e.report()));
        assert!(served(lab).is_empty() && !dir.exists());
        host.detach(domid(1), xennet_core::DevId::FIRST).unwrap();
        host.stop_network(&network("a"), Guests::MustHaveGone).unwrap();
    });
}

#[test]
fn a_dnsmasq_of_root_is_another_user_although_the_state_is_closed() {
    on_a_host("host::a_dnsmasq_of_root_is_another_user_although_the_state_is_closed", |lab| {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
        sh("ip address add 192.0.2.1/24 dev eth0");
        let networks = xennet_core::config::networks::parse(NETWORKS).unwrap();
        let plan = host(lab).plan_start(networks.get("shared").unwrap()).unwrap();
        assert!(!plan.notes().iter().any(|n| n.contains("runs as root")), "{:?}", plan.notes());
        host(lab).start_network(networks.get("shared").unwrap()).unwrap();
        let mode = |path: &std::path::Path| fs::metadata(path).unwrap().mode() & 0o7777;
        assert_eq!(mode(lab.dir().path()), 0o700);
        // In a user namespace of an ordinary user there is nobody else, and root is that user.
        let alone = fs::read_to_string("/proc/self/setgroups").unwrap().trim() == "deny";
        let pids = lab.pids("shared");
        assert!(!pids.is_empty());
        for (_, pid) in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let uids =
                status.lines().find_map(|l| l.strip_prefix("Uid:")).unwrap().split_whitespace().map(str::to_owned);
            let is_root = uids.collect::<Vec<_>>().iter().all(|uid| uid == "0");
            assert_eq!(is_root, alone, "{status}");
        }
        // It serves all the same.
        lab.guest(2);
        host(lab).attach(domid(2), &format!("mac={},bridge=natbr0", mac(2)).parse().unwrap()).unwrap();
        assert_eq!(lab.address(2).as_deref(), Some("10.2.0.9"));
        host(lab).stop_network(&network("shared"), Guests::AreCutOff).unwrap();
        assert!(!lab.files("shared").exists());
        // Where no other user can come, it is root, and that is said.
        if !alone {
            let closed = lab.dir().path().join("closed");
            fs::create_dir(&closed).unwrap();
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
            let dir = xennet_core::exec::StateDir::at(closed.join("state"));
            let mut host = Host::netlink().unwrap().with_state_dir(dir);
            let applied = host.start_network(networks.get("shared").unwrap()).unwrap();
            let said =
                applied.notes.iter().any(|n| n.contains("runs as root") && n.contains("no other user can enter"));
            assert!(said, "{:?}", applied.notes);
            host.stop_network(&network("shared"), Guests::AreCutOff).unwrap();
        }
    });
}
