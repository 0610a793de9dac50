//! Guests that have nothing but a DHCP client: what they are told, and how far they come with it.

use std::collections::BTreeMap;

use xennet_tests::lease::{self, command, patience, soon};
use xennet_tests::{NetNs, StateDir};

use super::picture::{Both, Lan, in_guest};
use super::probe::Expected;
use super::table::{End, Row, Table};
use super::{DOM0, ip};
use crate::world::write;

const FILE: &str = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]\ndhcp = true\n\n\
                    [network.shared]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00:2::/64\"]\nbridge = \"natbr0\"\n\
                    dhcp = true\nrange = [\"10.1.0.100-10.1.0.100\", \"fd00:2::100-fd00:2::100\"]\n\n\
                    [network.dmz]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\", \"2001:db8:7::/64\"]\ndhcp = true\n";

/// A guest: mode, vif line, the addresses that it is to be told.
const SEATS: [(&str, &str, Both); 4] = [
    ("NAT, a vif a guest", "script=vif-nat,ip=10.0.0.1 fd00:1::11", ["10.0.0.1", "fd00:1::11"]),
    ("NAT, a private bridge", "bridge=natbr0,ip=10.1.0.1 fd00:2::11", ["10.1.0.1", "fd00:2::11"]),
    ("NAT, a private bridge, the range", "bridge=shared", ["10.1.0.100", "fd00:2::100"]),
    ("routed", "script=vif-route,ip=10.2.0.1 2001:db8:7::11", ["10.2.0.1", "2001:db8:7::11"]),
];

/// As a client's own script does it.
const FOUR: &str = "ip address add $ip/$mask dev $interface && ip route add default via $router dev $interface";
const SIX: &str = "ip address add $new_ip6_address/128 dev $interface nodad";

fn shell(namespace: &NetNs, line: &str) -> String {
    let output = namespace.run(|| command("sh", &["-ec", line]).output().unwrap()).unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

pub(super) fn all() {
    let mut table = Table::default();
    let lan = Lan::new();
    let mut dom0 = lan.dom0(203, DOM0);
    dom0.start(FILE);
    let mut inmates = Vec::new();
    for ((mode, line, told), number) in SEATS.into_iter().zip(11..) {
        let inmate = dom0.guest(number, line);
        let inside = inmate.namespace();
        // As a real one: with an IPv6 address of its own, from which it looks for routers.
        in_guest(&inmate.guest, |on| write(on, "net/ipv6/conf/eth0/addr_gen_mode", "0"));
        let place = StateDir::new();
        let get = |given: Option<BTreeMap<String, String>>, key: &str| given.and_then(|mut g| g.remove(key));
        let given = get(lease::four(inside, place.path(), 5, FOUR), "ip");
        table.fact(mode, "IPv4", "guest is given", "DHCP", told[0], given.as_deref());
        let given = get(lease::six(inside, place.path(), patience(), SIX), "new_ip6_address");
        table.fact(mode, "IPv6", "guest is given", "DHCP", told[1], given.as_deref());
        soon("a router", || !shell(inside, "ip -6 route show default").is_empty());
        for family in [0, 1] {
            let guest = End { name: "guest", namespace: inside, ip: ip(told[family]) };
            let neighbour = End {
                name: "neighbour",
                namespace: lan.neighbour.namespace(),
                ip: ip(["192.168.0.5", "2001:db8::5"][family]),
            };
            let seen =
                if mode == "routed" { Expected::Unanswered(guest.ip) } else { Expected::Answered(ip(DOM0[family])) };
            table.at_once(mode, &[Row::new(guest, neighbour, seen)]);
        }
        inmates.push(inmate);
    }
    assert_eq!(dom0.missing(), [""; 0]);
    dom0.end(inmates);
    table.end();
}
