//! Every kind of frame from every kind of guest to every kind of receiver.

use std::net::{Ipv4Addr, Ipv6Addr};

use xennet_core::MacBinding;
use xennet_tests::in_netns;

use super::kinds::{Bound, Cast, Declared, KINDS, Kind};
use super::lab::{LONG, Lab, Party, domid, vif};
use super::{BridgeFilter, bridge_filter};
use xennet_tests::frame::{BROADCAST, Mac, ipv4_udp, join, number};
use xennet_tests::station::Station;

/// How often each frame is sent to one receiver; and again to all.
const TIMES: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Declared { v6: bool },
    Bound,
    Free,
}

/// A guest that sends.
struct Sender {
    domid: u8,
    label: &'static str,
    rule: Rule,
    second: (Ipv4Addr, Ipv6Addr),
    station: Station,
}

impl Sender {
    fn passes(&self, kind: &Kind) -> bool {
        match self.rule {
            Rule::Free => true,
            Rule::Bound => kind.bound == Bound::Pass,
            Rule::Declared { v6 } => match kind.declared {
                Declared::Pass => true,
                Declared::Drop => false,
                Declared::WithV6 => v6,
            },
        }
    }
}

/// Whose name is misused, and which guest receives. The victim is never a receiver: the bridge believes a forged MAC of a
/// guest without `ip=`, and sends the victim's frames elsewhere from then on.
fn others(sender: u8) -> (u8, u8) {
    (if sender == 4 { 5 } else { 4 }, if sender == 2 { 1 } else { 2 })
}

/// Attaches guests 1 to 7, each with another declaration.
fn senders(lab: &mut Lab) -> Vec<Sender> {
    let mut host = lab.host();
    let mut out = Vec::new();
    let mut add = |lab: &Lab, domid, label, rule, second: Option<(&str, &str)>| {
        let own = Party::guest(domid);
        let second = second.map_or((own.v4, own.v6), |(a, b)| (a.parse().unwrap(), b.parse().unwrap()));
        out.push(Sender { domid, label, rule, second, station: lab.station(domid) });
    };
    for domid in 1..=7 {
        lab.start(domid);
    }
    host.attach(domid(1), &vif(1, ",ip=192.0.2.17")).unwrap();
    add(lab, 1, "IPv4", Rule::Declared { v6: false }, None);
    host.attach(domid(2), &vif(2, ",ip=192.0.2.33 2001:db8::2:1")).unwrap();
    add(lab, 2, "both", Rule::Declared { v6: true }, None);
    host.attach(domid(4), &vif(4, ",ip=192.0.2.64/28 2001:db8::4:0/112")).unwrap();
    add(lab, 4, "networks", Rule::Declared { v6: true }, Some(("192.0.2.70", "2001:db8::4:77")));
    let several = ",vifname=web0,ip=192.0.2.81 192.0.2.90 198.51.100.0/24 2001:db8::5:1 2001:db8:5::/48";
    host.attach(domid(5), &vif(5, several)).unwrap();
    add(lab, 5, "several", Rule::Declared { v6: true }, Some(("198.51.100.9", "2001:db8:5::9")));
    lab.as_tap(7);
    host.attach_tap(domid(7), &vif(7, ",ip=192.0.2.113 2001:db8::7:1")).unwrap();
    add(lab, 7, "tap", Rule::Declared { v6: true }, None);
    host.attach(domid(3), &vif(3, "")).unwrap();
    add(lab, 3, "no ip=", Rule::Free, None);
    let mut host = lab.host().with_mac_binding(MacBinding::Always);
    host.attach(domid(6), &vif(6, "")).unwrap();
    add(lab, 6, "MAC only", Rule::Bound, None);
    out
}

/// The same frame is never sent twice by different hands: each ends with a number of its own.
pub(crate) struct Numbers(pub(crate) u32);

impl Numbers {
    pub(crate) fn frame(&mut self, to: Mac, from: Mac, rest: &[u8]) -> Vec<u8> {
        self.0 += 1;
        let mut frame = join(&[&to, &from, rest]);
        number(&mut frame, self.0);
        frame
    }
}

/// What was sent of one kind by one sender.
struct Sent {
    /// To each receiver alone.
    single: [Vec<u8>; 3],
    all: Vec<u8>,
}

fn send(sender: &mut Sender, kind: &Kind, numbers: &mut Numbers) -> Sent {
    let (victim, other) = others(sender.domid);
    let receivers = [Party::guest(other), Party::dom0(), Party::gateway()];
    let cast = |to| Cast {
        me: Party::guest(sender.domid),
        second: sender.second,
        to,
        victim: Party::guest(victim),
        dom0: Party::dom0(),
        gateway: Party::gateway(),
    };
    let single = receivers.map(|to| {
        let (mac, rest) = (kind.frame)(&cast(to));
        numbers.frame(to.mac, mac, &rest)
    });
    let (mac, rest) = (kind.frame)(&cast(receivers[0]));
    let all = numbers.frame(BROADCAST, mac, &rest);
    for frame in single.iter().chain([&all]) {
        sender.station.send(TIMES, frame);
    }
    Sent { single, all }
}

/// Runs the matrix over the attached guests; a line for every frame that went where it should not, or did not arrive.
fn matrix(
    senders: &mut [Sender],
    (dom0, uplink): (&mut Station, &mut Station),
    numbers: &mut Numbers,
    filter: BridgeFilter,
) -> Vec<String> {
    let mut wrong = Vec::new();
    print!("{:<46}", "guest, dom0, uplink: frames that arrived of 6");
    println!("{}", senders.iter().map(|s| format!("{:>11}", s.label)).collect::<String>());
    for kind in KINDS {
        let mut line = format!("{:<46}", kind.name);
        for index in 0..senders.len() {
            let sender = &mut senders[index];
            let sent = send(sender, kind, numbers);
            // When this has arrived, what was sent before has arrived or never will.
            let me = Party::guest(sender.domid);
            let last = numbers.frame(BROADCAST, me.mac, &ipv4_udp((me.v4, Ipv4Addr::BROADCAST), (9, 9)));
            sender.station.send(1, &last);
            let passes = sender.passes(kind);
            // Broken packets of others are br_netfilter's to judge where it is switched on.
            let known = !(kind.broken && passes && filter == BridgeFilter::On);
            let label = sender.label;
            let (_, other) = others(sender.domid);
            let mut seen = [0; 3];
            for (place, count) in seen.iter_mut().enumerate() {
                let station = match place {
                    0 => &mut senders.iter_mut().find(|s| s.domid == other).unwrap().station,
                    1 => &mut *dom0,
                    _ => &mut *uplink,
                };
                assert!(station.wait(LONG, &last), "{label}: own IPv4 arrives");
                *count = station.count(&sent.single[place]) + station.count(&sent.all);
            }
            let expected = if passes { u64::from(2 * TIMES) } else { 0 };
            let right = !known || seen == [expected; 3];
            let mark = if !known {
                '?'
            } else if passes {
                '+'
            } else {
                '-'
            };
            line.push_str(&format!(
                "{:>11}",
                format!("{mark}{} {} {}{}", seen[0], seen[1], seen[2], if right { "" } else { " !" })
            ));
            if !right {
                wrong.push(format!("{} from the guest with {label}: {seen:?} arrived, not {expected}", kind.name));
            }
        }
        println!("{line}");
    }
    for station in senders.iter_mut().map(|s| &mut s.station).chain([dom0, uplink]) {
        assert_eq!(station.lost(), 0, "every frame was counted");
    }
    wrong
}

/// Waits until every port forwards, which is a moment after it has come up.
fn forwarding(senders: &mut [Sender], uplink: &mut Station, numbers: &mut Numbers) {
    for sender in senders {
        let me = Party::guest(sender.domid);
        let frame = numbers.frame(BROADCAST, me.mac, &ipv4_udp((me.v4, Ipv4Addr::BROADCAST), (9, 9)));
        sender.station.until_heard(uplink, LONG, &frame);
    }
}

#[test]
fn guests_send_what_is_theirs_and_nothing_else() {
    in_netns("matrix::guests_send_what_is_theirs_and_nothing_else", || {
        let mut lab = Lab::build();
        let mut senders = senders(&mut lab);
        let (mut dom0, mut uplink) = (lab.at_dom0(), lab.at_uplink());
        let (mut wrong, mut numbers) = (Vec::new(), Numbers(0));
        forwarding(&mut senders, &mut uplink, &mut numbers);
        // br_netfilter shows bridged packets to the rules for routed ones, and checks them first. The guard must not care.
        for filter in bridge_filter() {
            println!("\n{filter}; + passes, - is dropped");
            wrong.extend(matrix(&mut senders, (&mut dom0, &mut uplink), &mut numbers, filter));
        }
        assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    });
}
