//! Addresses that bridges keep to themselves (IEEE 802.1D, table 7-10): 01:80:c2:00:00:00 to 0f.
//!
//! The kernel's bridge does not forward frames to them. It learns their source and hands them to this domain as if they
//! had come in through the port itself, and on that way no filter of bridges sees most of them. Any packet may be in one.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use xennet_core::MacBinding;
use xennet_core::backend::netlink::Netlink;
use xennet_core::step::{BridgeChange, LinkChange};
use xennet_tests::in_netns;

use super::lab::{BRIDGE, LONG, Lab, Party, domid, set, vif};
use xennet_tests::frame::{ICMPV6, Mac, icmpv6, ipv4_udp, ipv6, join, router};
use xennet_tests::station::Station;

fn reserved() -> impl Iterator<Item = Mac> {
    (0..16).map(|last| [0x01, 0x80, 0xc2, 0, 0, last])
}

/// A datagram to dom0, in a frame to anybody.
fn to_dom0(to: Mac, mac: Mac, source: Ipv4Addr, ports: (u16, u16)) -> Vec<u8> {
    join(&[&to, &mac, &ipv4_udp((source, Party::dom0().v4), ports)])
}

/// Where the datagrams came from that dom0 has got until now: one is sent that passes, and arrives last.
fn sources(inbox: &UdpSocket, sender: &mut Station, me: Party) -> Vec<Ipv4Addr> {
    const LAST: u16 = 7777;
    let port = inbox.local_addr().unwrap().port();
    inbox.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let (mut seen, end) = (Vec::new(), Instant::now() + LONG);
    loop {
        assert!(Instant::now() < end, "own frames pass");
        sender.send(1, &to_dom0(Party::dom0().mac, me.mac, me.v4, (LAST, port)));
        while let Ok((_, from)) = inbox.recv_from(&mut [0; 64]) {
            match (from.ip(), from.port()) {
                (_, LAST) => return seen,
                (std::net::IpAddr::V4(ip), _) => seen.push(ip),
                _ => {}
            }
        }
    }
}

/// Default routes of IPv6, with the links they lead through.
fn default_routes() -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap();
    let through_links = |l: &&str| l.starts_with(&format!("{:032} 00", 0)) && !l.ends_with(" lo");
    text.lines().filter(through_links).map(str::to_owned).collect()
}

/// What a guest sends to each of the addresses, in another's name.
fn attack(sender: &mut Station, me: Party, port: u16) {
    let victim = Party::guest(2);
    let nodes = "ff02::1".parse().unwrap();
    let advertisement = icmpv6((me.link_local(), nodes), 134, &router(me.mac));
    for to in reserved() {
        sender.send(3, &to_dom0(to, victim.mac, victim.v4, (1, port)));
        sender.send(3, &to_dom0(to, me.mac, victim.v4, (1, port)));
        sender.send(3, &join(&[&to, &me.mac, &ipv6((me.link_local(), nodes), ICMPV6, &advertisement)]));
    }
}

#[test]
fn frames_to_the_bridge_itself_are_no_way_around() {
    in_netns("reserved::frames_to_the_bridge_itself_are_no_way_around", || {
        let mut lab = Lab::build();
        let mut host = lab.host();
        for number in 1..=4 {
            lab.start(number);
        }
        host.attach(domid(1), &vif(1, ",ip=192.0.2.17 2001:db8::1:1")).unwrap();
        host.attach(domid(2), &vif(2, "")).unwrap();
        host.attach(domid(4), &vif(4, "")).unwrap();
        lab.host().with_mac_binding(MacBinding::Always).attach(domid(3), &vif(3, "")).unwrap();
        let inbox = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let port = inbox.local_addr().unwrap().port();
        let (mut victim, mut uplink) = (lab.station(2), lab.at_uplink());
        let me = Party::guest(2);
        let routes = default_routes();
        let mut number = 0;
        for stp in [false, true] {
            // With spanning tree the bridge keeps one more of the addresses to itself.
            let quick = BridgeChange::default().with_stp(stp);
            set(&mut Netlink::open().unwrap(), BRIDGE, LinkChange::default().with_bridge(quick));
            for domid in [1, 3] {
                let (mut sender, own) = (lab.station(domid), Party::guest(domid));
                assert_eq!(sources(&inbox, &mut sender, own), [] as [Ipv4Addr; 0]);
                // The bridge knows where the victim is.
                sources(&inbox, &mut victim, me);
                attack(&mut sender, own, port);
                assert_eq!(sources(&inbox, &mut sender, own), [] as [Ipv4Addr; 0], "guest {domid}, to dom0");
                assert_eq!(default_routes(), routes, "guest {domid} is no router");
                number += 1;
                let letter =
                    join(&[&me.mac, &Party::gateway().mac, &ipv4_udp((Party::gateway().v4, me.v4), (number, 9))]);
                uplink.send(3, &letter);
                assert!(victim.wait(LONG, &letter), "guest {domid} with spanning tree {stp} got the victim's frames");
                assert_eq!(sender.count(&letter), 0);
                for to in reserved() {
                    let all = [(me.mac, me.v4), (own.mac, me.v4)].map(|(mac, ip)| to_dom0(to, mac, ip, (1, port)));
                    assert_eq!(all.map(|f| victim.count(&f) + uplink.count(&f)), [0, 0], "guest {domid}, to others");
                }
            }
        }
        // Without a guard the kernel does as it always did; so the attack is one.
        let (mut sender, own) = (lab.station(4), Party::guest(4));
        sources(&inbox, &mut sender, own);
        attack(&mut sender, own, port);
        let seen = sources(&inbox, &mut sender, own);
        assert!(seen.contains(&me.v4), "{seen:?}");
    });
}
