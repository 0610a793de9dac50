//! Networks in which each guest has a link of its own, several on one host.

use std::time::{Duration, Instant};

use xennet_core::{Budget, ErrorKind, services};

use crate::lab::{Lab, client, id, network, on_a_host, sh, soon};

const NAT: &str = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\ndhcp = true\ndns = true\ndomain = \"a.example\"\n";
const BRIDGE: &str = "mode = \"nat\"\nsubnets = [\"10.3.0.0/24\"]\nbridge = \"natbr0\"\ndhcp = true\ndns = true\n\
                      range = [\"10.3.0.9-10.3.0.9\"]\n";
const ROUTED: &str = "mode = \"routed\"\nsubnets = [\"198.51.100.0/28\"]\ndhcp = true\ndns = true\n";

#[test]
fn two_networks_side_by_side_answer_their_own_guests() {
    on_a_host("vifs::two_networks_side_by_side_answer_their_own_guests", |lab| {
        sh("ip address add 192.0.2.1/24 dev eth0");
        let mut routed = lab.describe("b", ROUTED);
        routed.source = vec!["192.0.2.1".parse().unwrap()];
        let nat = lab.start("a", NAT);
        services::start(&lab.dir(), &routed, Budget::unlimited()).unwrap();
        // A third one has a private bridge, and a range for whoever is there.
        sh("ip link add natbr0 type bridge; ip address add 10.3.0.254/24 dev natbr0; ip link set natbr0 up");
        lab.start("c", BRIDGE);
        lab.guest_on(6, "natbr0");
        assert_eq!((lab.pids("a").len(), lab.pids("b").len(), lab.pids("c").len()), (2, 2, 1));
        // Of the one network, the other, and neither; links are there later than dnsmasq.
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.1"]);
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.2"]);
        lab.guest_beside(3, &["198.51.100.14/32"], &["198.51.100.3"]);
        // As Xen's script makes it: the uplink's address alone.
        lab.guest_beside(4, &["192.0.2.1/32"], &["198.51.100.4"]);
        lab.guest_beside(5, &["10.0.0.254/32"], &["10.0.0.5"]);
        sh("ip link set vif2.0 down; ip link set vif2.0 name web; ip link set web up; ip route add 10.0.0.2 dev web");
        for (started, domid, address, name) in [
            (&nat, 1, "10.0.0.1", "one"),
            (&nat, 2, "10.0.0.2", "two"),
            (&routed, 3, "198.51.100.3", "three"),
            (&routed, 4, "198.51.100.4", "four"),
        ] {
            services::guest(
                &lab.dir(),
                started,
                id(domid),
                &client(domid, &[address], Some(name)),
                Budget::unlimited(),
            )
            .unwrap();
        }
        for (domid, address, router) in [
            (1, "10.0.0.1", "10.0.0.254"),
            (2, "10.0.0.2", "10.0.0.254"),
            (3, "198.51.100.3", "198.51.100.14"),
            (4, "198.51.100.4", "198.51.100.14"),
        ] {
            let given = lab.dhcp(domid, 5).unwrap_or_else(|| panic!("guest {domid} got nothing"));
            assert_eq!((given["ip"].as_str(), given["router"].as_str()), (address, router), "guest {domid}");
        }
        assert_eq!(lab.dhcp(5, 2), None, "nobody has told of it");
        assert_eq!(lab.address(6).as_deref(), Some("10.3.0.9"));
        assert!(lab.renews(6));
        // Each knows its own names, at its own gateway.
        for (domid, address, gateway) in [(1, "10.0.0.1", "10.0.0.254"), (3, "198.51.100.3", "198.51.100.14")] {
            lab.shell(domid, &format!("ip address add {address}/32 dev eth0; ip route add {gateway} dev eth0"));
        }
        soon("names", || lab.lookup(1, "two.a.example", "10.0.0.254").is_some_and(|said| said.contains("10.0.0.2")));
        soon("names", || lab.lookup(3, "four", "198.51.100.14").is_some_and(|said| said.contains("198.51.100.4")));
        assert_eq!(lab.lookup(1, "one.b.example", "10.0.0.254"), None);
        assert_eq!(lab.lookup(3, "two.a.example", "198.51.100.14"), None);
        // Not at the host's address outside, although a guest's link has it, too.
        assert!(!sh("cat /proc/net/udp /proc/net/tcp").contains("010200C0:0035"), "192.0.2.1:53");
        // One goes, the other stays.
        services::stop(&lab.dir(), &network("b"), Budget::unlimited()).unwrap();
        assert_eq!((lab.pids("a").len(), lab.pids("b").len()), (2, 0));
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.1"));
        assert_eq!(lab.dhcp(3, 2), None);
    });
}

/// A guest with this address comes.
fn comes(lab: &mut Lab, started: &xennet_core::Started, domid: u32) {
    lab.guest_beside(domid, &["10.0.0.254/32"], &["10.0.0.7"]);
    services::guest(&lab.dir(), started, id(domid), &client(domid, &["10.0.0.7"], None), Budget::unlimited()).unwrap();
}

#[test]
fn an_address_goes_from_one_guest_to_the_next() {
    on_a_host("vifs::an_address_goes_from_one_guest_to_the_next", |lab| {
        let started = lab.start("a", NAT);
        let before = lab.pids("a");
        comes(lab, &started, 1);
        // One that never asked is forgotten without a new process.
        services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
        lab.destroy(1);
        comes(lab, &started, 2);
        assert_eq!(lab.address(2).as_deref(), Some("10.0.0.7"));
        assert_eq!(lab.pids("a"), before);
        // One that did, and is destroyed with its lease, is forgotten with a new one, and names are not touched.
        services::no_guest(&lab.dir(), &network("a"), id(2), Budget::unlimited()).unwrap();
        assert_eq!(lab.dhcp(2, 2), None, "it is unknown at once");
        lab.destroy(2);
        comes(lab, &started, 3);
        assert_eq!(lab.address(3).as_deref(), Some("10.0.0.7"));
        let after = lab.pids("a");
        assert_ne!(after[0], before[0]);
        assert_eq!(after[1], before[1]);
        // The same guest again, after a reboot: the same MAC, and its lease is its own.
        services::no_guest(&lab.dir(), &network("a"), id(3), Budget::unlimited()).unwrap();
        services::guest(&lab.dir(), &started, id(9), &client(3, &["10.0.0.7"], None), Budget::unlimited()).unwrap();
        assert_eq!(lab.address(3).as_deref(), Some("10.0.0.7"));
        assert_eq!(lab.pids("a"), after);
        // The same vif with another address.
        lab.shell(3, "ip address flush dev eth0");
        services::guest(&lab.dir(), &started, id(9), &client(3, &["10.0.0.8"], None), Budget::unlimited()).unwrap();
        soon("the new address", || lab.address(3).as_deref() == Some("10.0.0.8"));
        assert_eq!(lab.pids("a"), after);
    });
}

/// A lease that is in the way needs a dnsmasq that is started anew. Without time for that it is not ended; one that does not end
/// by itself is killed, and the next one runs, all within the budget.
#[test]
fn a_dnsmasq_is_started_anew_within_the_budget_or_not_ended() {
    on_a_host("vifs::a_dnsmasq_is_started_anew_within_the_budget_or_not_ended", |lab| {
        let started = lab.start("a", NAT);
        let before = lab.pids("a");
        comes(lab, &started, 1);
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.7"));
        services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
        lab.destroy(1);
        lab.guest_beside(2, &["10.0.0.254/32"], &["10.0.0.7"]);
        let comes_within = |lab: &Lab, time| {
            let other = client(2, &["10.0.0.7"], None);
            services::guest(&lab.dir(), &started, id(2), &other, Budget::of(time))
        };
        let e = comes_within(lab, Duration::ZERO).unwrap_err();
        assert_eq!((e.kind(), e.state()), (ErrorKind::Busy, Some("dnsmasq runs as before")), "{e}");
        assert_eq!(lab.pids("a"), before);
        services::no_guest(&lab.dir(), &network("a"), id(2), Budget::unlimited()).unwrap();
        // It does nothing any more, not even end.
        sh(&format!("kill -STOP {}", before[0].1));
        let start = Instant::now();
        comes_within(lab, Duration::from_secs(4)).unwrap();
        assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
        let after = lab.pids("a");
        assert!(after[0] != before[0] && after[1] == before[1], "{before:?}, {after:?}");
        assert_eq!(lab.address(2).as_deref(), Some("10.0.0.7"));
    });
}

#[test]
fn guests_come_before_dnsmasq() {
    on_a_host("vifs::guests_come_before_dnsmasq", |lab| {
        let started = lab.describe("a", NAT);
        comes(lab, &started, 1);
        assert_eq!(lab.pids("a"), []);
        services::start(&lab.dir(), &started, Budget::unlimited()).unwrap();
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.7"));
        assert!(lab.renews(1));
    });
}

#[test]
fn many_guests_at_once_get_each_its_own() {
    on_a_host("vifs::many_guests_at_once_get_each_its_own", |lab| {
        let started = lab.start("a", NAT);
        let domids = 1..=8;
        for domid in domids.clone() {
            let address = format!("10.0.0.{domid}");
            lab.guest_beside(domid, &["10.0.0.254/32"], &[&address]);
            services::guest(&lab.dir(), &started, id(domid), &client(domid, &[&address], None), Budget::unlimited())
                .unwrap();
        }
        let lab = &*lab;
        std::thread::scope(|scope| {
            let asking: Vec<_> = domids.map(|domid| (domid, scope.spawn(move || lab.address(domid)))).collect();
            for (domid, asked) in asking {
                assert_eq!(asked.join().unwrap(), Some(format!("10.0.0.{domid}")));
            }
        });
    });
}

#[test]
fn a_storm_of_comings_and_goings_ends_well() {
    on_a_host("vifs::a_storm_of_comings_and_goings_ends_well", |lab| {
        let started = lab.start("a", NAT);
        lab.guest_beside(1, &["10.0.0.254/32"], &["10.0.0.7"]);
        for round in 0..20 {
            // All want the same address, one after the other, faster than dnsmasq looks; then it is the real guest's.
            for domid in 100..110 {
                services::guest(
                    &lab.dir(),
                    &started,
                    id(domid),
                    &client(domid, &["10.0.0.7"], None),
                    Budget::unlimited(),
                )
                .unwrap();
                services::no_guest(&lab.dir(), &network("a"), id(domid), Budget::unlimited()).unwrap();
            }
            services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.7"], None), Budget::unlimited()).unwrap();
            assert_eq!(lab.address(1).as_deref(), Some("10.0.0.7"), "round {round}");
            services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
        }
        assert_eq!(lab.pids("a").len(), 2);
    });
}
