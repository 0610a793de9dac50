//! A network with a private bridge.

use xennet_core::{Budget, services};

use crate::lab::{Lab, client, id, on_a_host, sh};

const NETWORK: &str = "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\nbridge = \"natbr0\"\ndhcp = true\ndns = true\n\
                       domain = \"guests.example\"\nmtu = 1400\n";

/// The bridge, and what the planner puts on it.
fn bridge(lab: &mut Lab) {
    sh("ip link add natbr0 type bridge; ip address add 10.0.0.254/24 dev natbr0; ip link set natbr0 up");
    // Somebody outside who knows the way in.
    lab.guest(100);
    // Before Linux 6.2 a link that is up keeps its name.
    sh(
        "ip link set vif100.0 down; ip link set vif100.0 name eth1; ip link set eth1 up; ip address add 192.0.2.1/24 dev eth1",
    );
    lab.shell(100, "ip address add 192.0.2.2/24 dev eth0; ip route add 10.0.0.0/24 via 192.0.2.1");
}

#[test]
fn a_guest_gets_its_own_address_and_all_that_belongs_to_it() {
    on_a_host("bridge::a_guest_gets_its_own_address_and_all_that_belongs_to_it", |lab| {
        bridge(lab);
        let started = lab.start("lan", NETWORK);
        lab.guest_on(1, "natbr0");
        lab.guest_on(2, "natbr0");
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], Some("web")), Budget::unlimited())
            .unwrap();
        let given = lab.dhcp(1, 5).unwrap();
        let get = |key: &str| given.get(key).map(String::as_str);
        assert_eq!((get("ip"), get("mask"), get("router")), (Some("10.0.0.5"), Some("24"), Some("10.0.0.254")));
        assert_eq!((get("dns"), get("domain"), get("mtu")), (Some("10.0.0.254"), Some("guests.example"), Some("1400")));
        assert_eq!(get("serverid"), Some("10.0.0.254"));
        // Without a range a guest that nobody has named an address for gets none.
        assert_eq!(lab.dhcp(2, 2), None);
    });
}

#[test]
fn a_range_is_for_those_without_an_address_and_not_for_others() {
    on_a_host("bridge::a_range_is_for_those_without_an_address_and_not_for_others", |lab| {
        bridge(lab);
        let started = lab.start("lan", &format!("{NETWORK}range = [\"10.0.0.100-10.0.0.101\"]\n"));
        for domid in 1..=4 {
            lab.guest_on(domid, "natbr0");
        }
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], None), Budget::unlimited()).unwrap();
        services::guest(&lab.dir(), &started, id(2), &client(2, &["10.0.0.100"], None), Budget::unlimited()).unwrap();
        assert_eq!(lab.address(3).as_deref(), Some("10.0.0.101"), "the other one is the second guest's");
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"), "outside of the range");
        assert_eq!(lab.address(2).as_deref(), Some("10.0.0.100"));
        assert_eq!(lab.dhcp(4, 2), None, "none is left");
    });
}

#[test]
fn names_are_answered_to_guests_and_not_outside() {
    on_a_host("bridge::names_are_answered_to_guests_and_not_outside", |lab| {
        bridge(lab);
        let started = lab.start("lan", NETWORK);
        lab.guest_on(1, "natbr0");
        lab.shell(1, "ip address add 10.0.0.5/24 dev eth0; ip route add default via 10.0.0.254");
        services::guest(&lab.dir(), &started, id(1), &client(1, &["10.0.0.5"], Some("web")), Budget::unlimited())
            .unwrap();
        for name in ["web", "web.guests.example"] {
            let mut said = None;
            crate::lab::soon("the name is known", || {
                said = lab.lookup(1, name, "10.0.0.254");
                said.is_some()
            });
            assert!(said.as_ref().unwrap().contains("10.0.0.5"), "{said:?}");
        }
        assert!(lab.lookup(1, "10.0.0.5", "10.0.0.254").unwrap().contains("web.guests.example"));
        assert_eq!(lab.lookup(1, "db.guests.example", "10.0.0.254"), None);
        // Neither at the host's own address outside, nor at the inner one, to which the way is known there.
        for server in ["192.0.2.1", "10.0.0.254"] {
            assert_eq!(lab.lookup(100, "web.guests.example", server), None, "{server}");
        }
        assert!(
            !lab.shell(100, "ping -c 1 -W 2 10.0.0.254 || busybox ping -c 1 -W 2 10.0.0.254").is_empty(),
            "the way is there"
        );

        services::no_guest(&lab.dir(), &started.network.name(), id(1), Budget::unlimited()).unwrap();
        crate::lab::soon("the name is forgotten", || lab.lookup(1, "web.guests.example", "10.0.0.254").is_none());
    });
}
