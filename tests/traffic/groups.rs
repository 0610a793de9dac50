//! Multicast on a bridge with snooping: whom the bridge takes for a router, and what such a guest would read.

use std::time::Duration;

use xennet_tests::frame::{
    HOP_BY_HOP, ICMPV6, IGMP, PIM, behind, checksum, icmpv6, ipv4_of, ipv4_udp, ipv6, join, message4,
};
use xennet_tests::{NetNs, in_netns};

use super::bridge_filter;
use super::corpus::{Rig, SENDER};
use super::lab::{LONG, Party, domid, snooping, vif};

/// A guest that a bridge with snooping takes for a router would read what its neighbours listen to.
#[test]
fn nobody_reads_its_neighbours_groups() {
    in_netns("groups::nobody_reads_its_neighbours_groups", || {
        let (mut read, mut asked) = (Vec::new(), 0);
        for guarded in [true, false] {
            let in_it = || {
                bridge_filter().next();
                let mut rig = Rig::build();
                for guest in [3, 4] {
                    rig.lab.start(guest);
                }
                snooping(true);
                let mut host = if guarded {
                    rig.attach("")
                } else {
                    let mut host = rig.lab.host();
                    host.attach(domid(1), &vif(1, "")).unwrap();
                    host.attach(domid(SENDER), &vif(SENDER, "")).unwrap();
                    host
                };
                for guest in [3, 4] {
                    host.attach(domid(guest), &vif(guest, "")).unwrap();
                }
                let mut watch = rig.watch();
                watch.forwarding();
                let (mut speaker, mut listener) = (rig.lab.station(3), rig.lab.station(4));
                let attacks = groups();
                asked = attacks.len();
                // Somebody else's querier, since a bridge without one sends everything to everybody; and a listener.
                let queries = [query(&Party::gateway()), query6(&Party::gateway())];
                let mut uplink = rig.lab.at_uplink();
                uplink.send_all(&queries);
                listener.send_all(&[report(&Party::guest(4))]);
                std::thread::sleep(Duration::from_millis(1500));
                watch.from.send_all(&attacks);
                let said = stream(&Party::guest(3));
                speaker.until_heard(&mut listener, LONG, &said);
                speaker.send(5, &said);
                std::thread::sleep(Duration::from_millis(200));
                watch.from.count(&said)
            };
            read.push(NetNs::new().unwrap().run(in_it).unwrap());
        }
        assert_eq!(read[0], 0, "guarded, with {asked} attacks");
        assert!(read[1] > 0, "without a guard it reads them: {read:?}");
    });
}

fn ip_multicast(group: [u8; 4]) -> [u8; 6] {
    [0x01, 0x00, 0x5e, group[1] & 0x7f, group[2], group[3]]
}

fn igmp(of: &Party, to: [u8; 4], kind: u8, group: [u8; 4]) -> Vec<u8> {
    let message = message4(kind, &group);
    join(&[&ip_multicast(to), &of.mac, &ipv4_of(IGMP, (of.v4, to.into()), 0, &message)])
}

fn query(of: &Party) -> Vec<u8> {
    let mut frame = igmp(of, [224, 0, 0, 1], 0x11, [0; 4]);
    // A response time, as version 2 has it.
    frame[35] = 10;
    let sum = checksum(&{
        let mut m = frame[34..42].to_vec();
        m[2..4].fill(0);
        m
    });
    frame[36..38].copy_from_slice(&sum);
    frame
}

fn query6(of: &Party) -> Vec<u8> {
    let addresses = (of.link_local(), "ff02::1".parse().unwrap());
    let body = join(&[&[0, 10, 0, 0], &[0; 16]]);
    let message = icmpv6(addresses, 130, &body);
    let packet = ipv6(addresses, HOP_BY_HOP, &behind(HOP_BY_HOP, ICMPV6, &message));
    let mut frame = join(&[&[0x33, 0x33, 0, 0, 0, 1], &of.mac, &packet]);
    // The hop limit that a report or query must have.
    frame[21] = 1;
    frame
}

/// Everything that is known to make a port one that a router is behind.
fn groups() -> Vec<Vec<u8>> {
    let me = Party::guest(SENDER);
    let pim: [u8; 4] = [224, 0, 0, 13];
    let hello =
        join(&[&ip_multicast(pim), &me.mac, &ipv4_of(PIM, (me.v4, pim.into()), 0, &[0x20, 0, 0xdf, 0xff, 0, 0, 0, 0])]);
    let all6 = "ff02::6a".parse().unwrap();
    let mrd = icmpv6((me.link_local(), all6), 151, &[0; 4]);
    let mut discovered = join(&[&[0x33, 0x33, 0, 0, 0, 0x6a], &me.mac, &ipv6((me.link_local(), all6), 58, &mrd)]);
    discovered[21] = 1;
    vec![query(&me), query6(&me), hello, igmp(&me, [224, 0, 0, 106], 0x30, [0; 4]), discovered]
}

const GROUP: [u8; 4] = [239, 1, 2, 3];

fn report(of: &Party) -> Vec<u8> {
    igmp(of, GROUP, 0x16, GROUP)
}

fn stream(of: &Party) -> Vec<u8> {
    join(&[&ip_multicast(GROUP), &of.mac, &ipv4_udp((of.v4, GROUP.into()), (5000, 5000))])
}
