//! IPv6: router advertisements that a kernel takes, and DHCPv6.

use std::time::Duration;

use xennet_core::{Budget, services};

use crate::lab::{Lab, client, id, network, on_a_host, patience, sh, soon};

const SHORT: Duration = Duration::from_secs(3);

/// As the planner has it: a host that does not forward tells guests that it is no router, and they forget it.
fn forward() {
    sh("echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
}

/// Waits until the guest's kernel has a router, and says what it has learned.
#[track_caller]
fn router(lab: &Lab, domid: u32) -> String {
    let mut routes = String::new();
    soon("a router", || {
        routes = lab.shell(domid, "ip -6 route show default");
        routes.contains("proto ra")
    });
    routes
}

#[test]
fn guests_on_a_private_bridge_get_a_router_and_their_address() {
    on_a_host("six::guests_on_a_private_bridge_get_a_router_and_their_address", |lab| {
        forward();
        sh("ip link add natbr0 type bridge; ip link set natbr0 up; ip address add 10.0.0.254/24 dev natbr0; \
            ip address add fd00:1::1/64 dev natbr0 nodad");
        let started = lab.start(
            "lan",
            "mode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\nbridge = \"natbr0\"\ndhcp = true\ndns = true\n\
             domain = \"guests.example\"\nrange = [\"fd00:1::100-fd00:1::1ff\"]\nmtu = 1400\n",
        );
        lab.guest_on(1, "natbr0");
        lab.guest_on(2, "natbr0");
        services::guest(
            &lab.dir(),
            &started,
            id(1),
            &client(1, &["10.0.0.5", "fd00:1::5"], Some("web")),
            Budget::unlimited(),
        )
        .unwrap();
        assert!(router(lab, 1).contains("via fe80::"));
        soon("the MTU", || lab.shell(1, "cat /proc/sys/net/ipv6/conf/eth0/mtu").trim() == "1400");
        assert!(!lab.shell(1, "ip -6 -o address show dev eth0").contains("fd00:1:"), "no address of its own making");
        let given = lab.dhcp6(1, patience()).unwrap();
        assert_eq!(given["new_ip6_address"], "fd00:1::5");
        assert_eq!(given["new_dhcp6_name_servers"], "fd00:1::1");
        assert_eq!(given["new_dhcp6_domain_search"].trim_end_matches('.'), "guests.example");
        let range = lab.dhcp6(2, patience()).unwrap();
        assert!(range["new_ip6_address"].starts_with("fd00:1::1"), "{range:?}");
        assert_eq!(lab.address(1).as_deref(), Some("10.0.0.5"), "the other family beside it");
    });
}

#[test]
fn guests_on_links_of_their_own_get_a_router_and_their_address() {
    on_a_host("six::guests_on_links_of_their_own_get_a_router_and_their_address", |lab| {
        forward();
        let text = |subnet: &str| format!("mode = \"nat\"\nsubnets = [\"{subnet}\"]\ndhcp = true\ndns = true\n");
        let a = lab.start("a", &text("fd00:a::/64"));
        let b = lab.start("b", &text("fd00:b::/80"));
        for (started, domid, gateway, address) in [
            (&a, 1, "fd00:a::1/64", "fd00:a::5"),
            (&a, 2, "fd00:a::1/64", "fd00:a::6"),
            (&b, 3, "fd00:b::1/80", "fd00:b::5"),
        ] {
            lab.guest_beside(domid, &[gateway], &[address]);
            let name = format!("guest{domid}");
            services::guest(
                &lab.dir(),
                started,
                id(domid),
                &client(domid, &[address], Some(&name)),
                Budget::unlimited(),
            )
            .unwrap();
        }
        lab.guest_beside(4, &["fd00:a::1/64"], &[]);
        for (domid, address) in [(1, "fd00:a::5"), (2, "fd00:a::6"), (3, "fd00:b::5")] {
            assert!(router(lab, domid).contains("via fe80::1 "), "guest {domid}");
            // All goes through dom0: no other guest is on the link.
            let routes = lab.shell(domid, "ip -6 route show");
            assert!(!routes.contains("fd00:"), "{routes}");
            let given = lab.dhcp6(domid, patience()).unwrap_or_else(|| panic!("guest {domid} got nothing"));
            assert_eq!(given["new_ip6_address"], address, "guest {domid}");
        }
        assert_eq!(lab.dhcp6(4, SHORT), None, "nobody has told of it");
        // Names over the way that was advertised.
        lab.shell(1, "ip address add fd00:a::5/128 dev eth0 nodad");
        soon("names", || lab.lookup(1, "guest2", "fd00:a::1").is_some_and(|said| said.contains("fd00:a::6")));
        assert_eq!(lab.lookup(1, "guest3", "fd00:a::1"), None);
    });
}

#[test]
fn another_system_on_the_same_mac_gets_the_address_after_a_reboot() {
    on_a_host("six::another_system_on_the_same_mac_gets_the_address_after_a_reboot", |lab| {
        let started = lab.start("a", "mode = \"nat\"\nsubnets = [\"fd00:a::/64\"]\ndhcp = true\n");
        lab.guest_beside(1, &["fd00:a::1/64"], &["fd00:a::5"]);
        let comes = |lab: &Lab| {
            services::guest(&lab.dir(), &started, id(1), &client(1, &["fd00:a::5"], None), Budget::unlimited())
                .unwrap();
        };
        comes(lab);
        assert_eq!(lab.dhcp6(1, patience()).unwrap()["new_ip6_address"], "fd00:a::5");
        let before = lab.pids("a");
        comes(lab);
        assert_eq!(lab.pids("a"), before, "the same again is nothing");
        // An identifier that is made of the time is another one a second later.
        std::thread::sleep(Duration::from_millis(1100));
        services::no_guest(&lab.dir(), &network("a"), id(1), Budget::unlimited()).unwrap();
        comes(lab);
        assert_eq!(lab.dhcp6(1, patience()).unwrap()["new_ip6_address"], "fd00:a::5");
    });
}
