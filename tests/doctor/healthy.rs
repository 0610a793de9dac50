//! Hosts of all kinds with nothing wrong about them: no finding above a note.

use xennet_core::config::networks;
use xennet_core::doctor::{self, Level};
use xennet_core::recording::Taken;
use xennet_core::{DomId, Host, exec};
use xennet_tests::lease::soon;
use xennet_tests::{StateDir, in_netns};

use crate::world::{forwards, sh, told};

/// A host: its uplink, networks, guests, and what is done besides, before and after they come.
struct Healthy {
    before: &'static str,
    networks: &'static str,
    guests: &'static [&'static str],
    after: &'static str,
}

const USUAL: &str = "ip address add 192.0.2.2/24 dev eth0; ip route add default via 192.0.2.1";
const HOST: Healthy = Healthy { before: USUAL, networks: "", guests: &[], after: "" };

/// A firewall that has a policy to drop, and accepts what this host is for.
const DOCKER: &str = "
    nft add table ip filter
    nft add chain ip filter DOCKER-USER
    nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'
    nft add rule ip filter FORWARD counter jump DOCKER-USER
    nft add rule ip filter FORWARD oifname docker0 ct state related,established counter accept
    nft add rule ip filter DOCKER-USER iifname eth0 accept
    nft add rule ip filter DOCKER-USER oifname eth0 accept";

const FIREWALLD: &str = "
    nft add table inet firewalld
    nft add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; policy accept; }'
    nft add rule inet firewalld filter_FORWARD ct state established,related accept
    nft add rule inet firewalld filter_FORWARD iifname { xenbr0, vif1.0, vif2.0 } accept
    nft add rule inet firewalld filter_FORWARD oifname { xenbr0, vif1.0, vif2.0 } accept
    nft add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited";

fn healthy(test: &str, host: &Healthy) {
    in_netns(&format!("healthy::{test}"), || {
        sh("ip link set lo up
            ip link add eth0 address 02:00:00:00:00:01 type veth peer name wire
            ip link set eth0 up; ip link set wire up");
        for n in 1..=host.guests.len() {
            sh(&format!(
                "ip link add vif{n}.0 address fe:ff:ff:ff:ff:ff type veth peer name guest{n}; ip link set guest{n} up"
            ));
        }
        sh(host.before);
        let state = StateDir::new();
        let mut on = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        for network in networks::parse(host.networks).unwrap().iter() {
            on.start_network(network).unwrap();
        }
        for (n, line) in (1..).zip(host.guests) {
            let line = format!("mac=00:16:3e:00:00:0{n},{line}");
            on.attach(DomId::new(n).unwrap(), &line.parse().unwrap()).unwrap();
        }
        sh(host.after);
        soon("every port forwards", forwards);
        let recording = on.record(Taken::default(), None, Err("there is none here".into()));
        let mut found = doctor::examine(&recording);
        found.retain(|f| f.level() != Level::Note);
        assert!(found.is_empty(), "{}", told(&found));
    });
}

macro_rules! healthy {
    ($($test:ident: $host:expr;)*) => {
        $(#[test]
        fn $test() {
            healthy(stringify!($test), &$host);
        })*
    };
}

const BRIDGE: &str = "[network.lan]\nmode = \"bridge\"\nbridge = \"xenbr0\"\nuplink = \"eth0\"\n";
const NAT: &str = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\negress = \"eth0\"\n";
const NAT_BRIDGE: &str = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00:1::/64\"]\nbridge = \"natbr0\"\negress = \"eth0\"\n";
const ROUTED: &str =
    "[network.public]\nmode = \"routed\"\nsubnets = [\"198.51.100.0/28\"]\nuplink = \"eth0\"\nproxy_arp = true\n";

healthy! {
    nothing_at_all: HOST;
    a_bridge_with_an_uplink: Healthy {
        networks: BRIDGE, guests: &["bridge=xenbr0,ip=192.0.2.11", "bridge=xenbr0"], ..HOST
    };
    a_bridge_that_an_administrator_made: Healthy {
        before: "ip link add xenbr0 type bridge forward_delay 0; ip link set eth0 master xenbr0; ip link set xenbr0 up
                 ip address add 192.0.2.2/24 dev xenbr0; ip route add default via 192.0.2.1",
        guests: &["bridge=xenbr0", "bridge=xenbr0,ip=192.0.2.12 2001:db8::12"],
        ..HOST
    };
    guests_among_themselves: Healthy {
        before: "ip link add lonely type bridge; ip link set lonely up",
        guests: &["bridge=lonely", "bridge=lonely,isolated"],
        ..HOST
    };
    nat_with_a_link_each: Healthy {
        networks: NAT, guests: &["bridge=private,ip=10.1.0.1", "bridge=private,ip=10.1.0.2"], ..HOST
    };
    nat_with_a_private_bridge: Healthy {
        networks: NAT_BRIDGE, guests: &["bridge=private,ip=10.1.0.1", "bridge=private,ip=10.1.0.2 fd00:1::2"], ..HOST
    };
    nat_without_a_way_out: Healthy { before: "ip address add 192.0.2.2/24 dev eth0", networks: NAT, guests: &["bridge=private,ip=10.1.0.1"], ..HOST };
    routed_with_answers_outside: Healthy { networks: ROUTED, guests: &["bridge=public,ip=198.51.100.3"], ..HOST };
    routed_in_ipv6: Healthy {
        before: "ip address add 2001:db8::2/64 dev eth0 nodad; ip -6 route add default via 2001:db8::1",
        networks: "[network.six]\nmode = \"routed\"\nsubnets = [\"2001:db8:1::/64\"]\nuplink = \"eth0\"\nproxy_ndp = true\n",
        guests: &["bridge=six,ip=2001:db8:1::5"],
        ..HOST
    };
    docker_that_accepts: Healthy {
        networks: NAT, guests: &["bridge=private,ip=10.1.0.1"], after: DOCKER, ..HOST
    };
    firewalld_that_accepts: Healthy {
        networks: BRIDGE, guests: &["bridge=xenbr0,ip=192.0.2.11", "bridge=xenbr0"], after: FIREWALLD, ..HOST
    };
    docker_and_firewalld_that_accept: Healthy {
        networks: ROUTED,
        guests: &["bridge=public,ip=198.51.100.3"],
        after: "nft add table ip filter
            nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'
            nft add rule ip filter FORWARD ip daddr 198.51.100.0/28 accept
            nft add rule ip filter FORWARD ip saddr 198.51.100.0/28 accept
            nft add table inet firewalld
            nft add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; policy accept; }'
            nft add rule inet firewalld filter_FORWARD ct state established,related accept
            nft add rule inet firewalld filter_FORWARD iifname vif1.0 accept
            nft add rule inet firewalld filter_FORWARD reject",
        ..HOST
    };
    a_name_of_its_own: Healthy { networks: BRIDGE, guests: &["bridge=xenbr0,vifname=web0"], ..HOST };
    two_default_routes: Healthy {
        before: "ip address add 192.0.2.2/24 dev eth0; ip route add default via 192.0.2.1
                 ip route add default via 192.0.2.254 metric 100",
        networks: BRIDGE,
        guests: &["bridge=xenbr0"],
        ..HOST
    };
}
