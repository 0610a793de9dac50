//! What a guest with a link of its own does to this domain's neighbours: by claiming others' addresses, and by saying many.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use xennet_core::GuestLinks;
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_tests::frame::{Arp, BROADCAST, ICMPV6, Mac, icmpv6, ipv6, neighbour};
use xennet_tests::station::{Program, Station};
use xennet_tests::talk::{listen, seen};
use xennet_tests::{Guest, in_netns};

use super::lab::{LONG, name};
use super::matrix::Numbers;
use super::nat::{Lab, families};

const MAC: Mac = [0, 0x16, 0x3e, 0, 0, 1];
/// So few that the table, which the kernel has once for all namespaces, loses nobody's entries.
const MANY: u16 = 64;
const GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const SOLICITED: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 1);

/// Whom this domain knows behind a link.
fn behind(link: &str) -> BTreeSet<IpAddr> {
    let (details, missed) = Netlink::open().unwrap().details().unwrap();
    assert!(missed.iter().all(|m| m.what != "learned neighbours"), "{missed:?}");
    details.neighbours.iter().filter(|n| n.link == name(link)).map(|n| n.address).collect()
}

/// Asks for the gateway, in this name.
fn asks(from: Ipv6Addr) -> Vec<u8> {
    ipv6((from, SOLICITED), ICMPV6, &icmpv6((from, SOLICITED), 135, &neighbour(0, GATEWAY, [(1, MAC)])))
}

/// Says where this address is, to the gateway.
fn claims(from: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    ipv6((from, SOLICITED), ICMPV6, &icmpv6((from, SOLICITED), 136, &neighbour(0x20, address, [(2, MAC)])))
}

#[test]
fn a_guest_speaks_for_its_own_link() {
    in_netns("neighbours::a_guest_speaks_for_its_own_link", || {
        let lab = Lab::build(GuestLinks::PerVif);
        let (one, two) = (lab.guests[0].namespace(), lab.guests[1].namespace());
        let mut station = Station::start(&Program::compile(), one, Guest::LINK);
        let mut numbers = Numbers(0);
        let mut say = |rests: Vec<Vec<u8>>, to: Mac| {
            let frames: Vec<Vec<u8>> = rests.iter().map(|rest| numbers.frame(to, MAC, rest)).collect();
            station.send_all(&frames);
        };
        let reached = || {
            for family in families() {
                let server = listen(two, family.guests[1], 7600);
                let to = SocketAddr::new(family.guests[1], 7600);
                assert!(seen(&lab.dom0, to, &server, LONG).is_some(), "{to} from this domain");
                assert_eq!(seen(one, to, &server, LONG), Some(family.guests[0]));
            }
        };
        reached();
        let (before, other) = (behind("vif1.0"), behind("vif2.0"));
        assert!(other.contains(&families()[0].guests[1]));
        // What of this comes to something, if anything does, is there when this has arrived behind it.
        let known = |what: &str, wanted: usize| {
            let end = Instant::now() + if wanted == 0 { Duration::from_millis(500) } else { LONG };
            loop {
                let new = behind("vif1.0").difference(&before).count();
                if (wanted > 0 && new == wanted) || Instant::now() > end {
                    assert_eq!(new, wanted, "{what}");
                    assert_eq!(behind("vif2.0"), other, "{what}: nobody else's");
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        // IPv4: what comes from another source than one behind the link is no question to this domain (rp_filter).
        let gateway = Ipv4Addr::new(10, 1, 0, 254);
        let many4 = (0..MANY).map(|n| {
            let [high, low] = n.to_be_bytes();
            Ipv4Addr::new(if n % 2 == 0 { 10 } else { 203 }, if n % 2 == 0 { 1 } else { 0 }, high, low | 0x80)
        });
        say(many4.map(|from| Arp::new(1, (MAC, from), ([0; 6], gateway)).bytes()).collect(), BROADCAST);
        known("ARP requests from many addresses", 0);
        let victim = Ipv4Addr::new(10, 1, 0, 2);
        let claimed = [1, 2].map(|operation| Arp::new(operation, (MAC, victim), (BROADCAST, victim)).bytes());
        say(claimed.into(), BROADCAST);
        known("ARP claims", 0);
        // IPv6: from addresses that others could have the gate lets nothing pass.
        let multicast = [0x33, 0x33, 0xff, 0, 0, 1];
        let global = |n: u16| Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 7, n);
        say((0..MANY).map(|n| asks(global(n))).collect(), multicast);
        known("solicitations from many addresses", 0);
        let own: Ipv6Addr = "fd00:1::11".parse().unwrap();
        say(
            (0..MANY).map(|n| claims(own, global(n))).chain([claims(own, "fd00:1::12".parse().unwrap())]).collect(),
            multicast,
        );
        known("advertisements of others' addresses", 0);
        reached();
        // Of link-local addresses a guest may have many, and each that asks is remembered, on its own link.
        let local = |n: u16| Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 7, n);
        say((0..MANY).map(|n| asks(local(n))).collect(), multicast);
        known("solicitations from many link-local addresses", MANY.into());
        reached();
        lab.end();
    });
}
