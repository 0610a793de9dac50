//! What guests were denied is counted: each frame that is dropped, by the vif and the class, and nothing else; and a vif that was detached
//! leaves no count to the next one of its name.

use std::collections::BTreeMap;
use std::time::Instant;

use xennet_core::Violation::{self, *};
use xennet_core::{DevId, Host, ViolationCount, exec};
use xennet_tests::station::Station;
use xennet_tests::{StateDir, in_netns};

use super::corpus::{Rig, SENDER, bytes, published};
use super::lab::{LONG, Party, domid, name, vif};
use xennet_tests::frame::{BROADCAST, ipv4_udp, join, number};

/// Which classes of the published frames are counted as what.
const COUNTED_AS: [(&str, &[Violation]); 13] = [
    ("arp", &[Mac, Address, Protocol]),
    ("detection", &[Mac, Address, Unreadable]),
    ("dhcp", &[DhcpServer, Unreadable, Address, Mac]),
    ("gateway", &[Router, Unreadable]),
    ("groups", &[Router, Unreadable, Mac, Address]),
    ("header", &[Unreadable]),
    ("icmp", &[Router, Address, Unreadable]),
    ("neighbour", &[Mac, Address, Unreadable, Router]),
    ("other", &[BridgeControl, Mac, Address, Protocol, Unreadable]),
    ("protocol", &[BridgeControl, Protocol]),
    ("router", &[Router, Unreadable, Mac, Address, Protocol]),
    ("solicitation", &[Mac, Address, Unreadable]),
    ("source", &[Mac, Address, Unreadable, Protocol]),
];

fn by_class(host: &mut Host, link: &str) -> BTreeMap<Violation, ViolationCount> {
    let all = host.violations().unwrap();
    all.into_iter().filter(|one| one.link == name(link)).map(|one| (one.violation, one)).collect()
}

fn packets(counts: &BTreeMap<Violation, ViolationCount>) -> u64 {
    counts.values().map(|one| one.packets).sum()
}

/// Something that passes arrives after all that was sent before.
fn settled(from: &mut Station, at: &mut Station, turn: u32) {
    let me = Party::guest(SENDER);
    let mut last = join(&[&BROADCAST, &me.mac, &ipv4_udp((me.v4, [255; 4].into()), (9, 9))]);
    number(&mut last, 0x00f8_0000 + turn);
    from.send(1, &last);
    assert!(at.wait(LONG, &last), "own IPv4 arrives");
}

#[test]
fn each_frame_that_a_bridge_drops_is_counted_once() {
    in_netns("counts::each_frame_that_a_bridge_drops_is_counted_once", || {
        let rig = Rig::build();
        let mut host = rig.attach(",vifname=web0");
        rig.watch().forwarding();
        let (mut from, mut at) = (rig.lab.station(SENDER), rig.lab.station(1));
        assert_eq!(host.violations().unwrap(), []);
        let mut classes: BTreeMap<String, Vec<(bool, Vec<u8>)>> = BTreeMap::new();
        for entry in published("bridge") {
            let frames = entry.frames.iter().map(|f| (f.verdict.as_deref() == Some("drop"), bytes(&f.bytes)));
            classes.entry(entry.class.clone()).or_default().extend(frames);
        }
        let mut before = BTreeMap::new();
        for (turn, (class, frames)) in (0..).zip(classes) {
            for (sends_dropped, what) in [(false, "legitimate"), (true, "hostile")] {
                let sent: Vec<Vec<u8>> =
                    frames.iter().filter(|(dropped, _)| *dropped == sends_dropped).map(|(_, f)| f.clone()).collect();
                from.send_all(&sent);
                settled(&mut from, &mut at, turn * 2 + u32::from(sends_dropped));
                let now = by_class(&mut host, "web0");
                let more = packets(&now) - packets(&before);
                let wanted = if sends_dropped { sent.len() as u64 } else { 0 };
                assert_eq!(more, wanted, "{class}: {} {what} frames were sent", sent.len());
                let grew = |one: &&ViolationCount| {
                    before.get(&one.violation).is_none_or(|b: &ViolationCount| b.packets < one.packets)
                };
                let words: Vec<Violation> = now.values().filter(grew).map(|one| one.violation).collect();
                if sends_dropped {
                    println!("{class}: {wanted} frames, as {words:?}");
                    let known = COUNTED_AS.iter().find(|(of, _)| *of == class);
                    let known = known.map_or(&[Vlan, Unreadable, Address, Protocol][..], |(_, classes)| classes);
                    assert!(words.iter().all(|word| known.contains(word)), "{class}: {words:?}");
                }
                before = now;
            }
        }
        // Nothing is counted of who has sent nothing, or only what it may.
        assert_eq!(host.violations().unwrap().len(), before.len());
        assert!(before.values().all(|one| one.bytes >= one.packets), "{before:?}");

        // An elapsed time beside the figure, for people.
        let begun = Instant::now();
        host.detach(domid(SENDER), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        println!("detached in {:?} with {} counts", begun.elapsed(), before.len());
        assert_eq!(host.violations().unwrap(), []);
    });
}

#[test]
fn the_next_vif_of_a_name_begins_with_nothing() {
    in_netns("counts::the_next_vif_of_a_name_begins_with_nothing", || {
        let mut rig = Rig::build();
        let mut host = rig.attach("");
        rig.watch().forwarding();
        let (mut from, mut at) = (rig.lab.station(SENDER), rig.lab.station(1));
        let forged =
            join(&[&BROADCAST, &[2, 0, 0, 0, 0, 9], &ipv4_udp(([192, 0, 2, 33].into(), [255; 4].into()), (9, 9))]);
        from.send(3, &forged);
        settled(&mut from, &mut at, 1);
        let counted = by_class(&mut host, "vif2.0");
        assert_eq!((counted.len(), counted[&Mac].packets), (1, 3), "{counted:?}");
        // To attach it again as it is, or with another address, is no new vif.
        for more in ["", " 192.0.2.99"] {
            let addresses = format!(",ip=192.0.2.33 2001:db8::2:1 198.51.100.0/24 2001:db8:5::/48{more}");
            host.attach(domid(SENDER), &vif(SENDER, &addresses)).unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!(by_class(&mut host, "vif2.0"), counted);
        }
        // Its domain ended without a call: another link of that name is another guest's, whatever policy it has.
        for (turn, more) in [",ip=192.0.2.33", ",policy=mac", ",policy=disabled", ""].into_iter().enumerate() {
            rig.lab.stop(SENDER, "vif2.0");
            rig.lab.start(SENDER);
            host.attach(domid(SENDER), &vif(SENDER, more)).unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!(host.violations().unwrap(), [], "{more}");
            let mut from = rig.lab.station(SENDER);
            let wanted = match turn {
                0 | 1 => Some(Mac),
                2 => Some(Closed),
                _ => None,
            };
            // The first frames may come before the port forwards.
            let end = Instant::now() + LONG;
            while let Some(class) = wanted {
                from.send(1, &forged);
                let counted = by_class(&mut host, "vif2.0");
                if counted.contains_key(&class) {
                    assert_eq!(counted.len(), 1, "{counted:?}");
                    break;
                }
                assert!(Instant::now() < end, "{more}: {counted:?}");
            }
        }
        // Records that are lost leave no counts either, once the link has gone.
        host.detach(domid(SENDER), DevId::FIRST).unwrap();
        host.attach(domid(SENDER), &vif(SENDER, ",policy=mac")).unwrap();
        let mut from = rig.lab.station(SENDER);
        let end = Instant::now() + LONG;
        while host.violations().unwrap().is_empty() {
            from.send(1, &forged);
            assert!(Instant::now() < end);
        }
        drop(from);
        let elsewhere = StateDir::new();
        let mut other = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(elsewhere.path()));
        rig.lab.stop(SENDER, "vif2.0");
        other.recover().unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(other.violations().unwrap(), []);
    });
}
