//! What passes between guests in VLANs. Guests send with tags through VLAN links of their own (`eth0.20`), which the `ip`
//! tool makes (of iproute2 or busybox).

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use xennet_tests::{Guest, StateDir};

use super::{beside_a_filtering_bridge, domid, guest, host, mac, spec, trunk};

/// Until something comes that must come.
const LONG: Duration = Duration::from_secs(20);
/// Until it is believed that nothing comes.
const SHORT: Duration = Duration::from_millis(600);

/// Runs `ip` in a guest.
#[track_caller]
fn ip(guest: &Guest, line: &str) {
    let run = || Command::new("ip").args(line.split(' ')).output().expect("the ip tool can be run");
    let output = guest.namespace().run(run).unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Gives a guest a link that sends and takes frames of a VLAN with their tags, and addresses there.
#[track_caller]
fn tagged(guest: &Guest, vid: u16, addresses: &[&str]) {
    ip(guest, &format!("link add link eth0 name eth0.{vid} type vlan id {vid}"));
    for address in addresses {
        ip(guest, &format!("addr add {address} dev eth0.{vid}"));
    }
    ip(guest, &format!("link set eth0.{vid} up"));
}

#[track_caller]
fn reaches(from: &Guest, to: &str) {
    let to: Ipv4Addr = to.parse().unwrap();
    assert!(from.ping(to, LONG).unwrap().is_some(), "{} must reach {to}", from.id());
}

#[track_caller]
fn is_kept_from(from: &Guest, to: &str) {
    let to: Ipv4Addr = to.parse().unwrap();
    assert!(from.ping(to, SHORT).unwrap().is_none(), "{} must not reach {to}", from.id());
}

fn attach(state: &StateDir, number: u8, rest: &str) {
    let line = format!("mac={},bridge=xenbr0,{rest}", mac(number));
    host(state).attach(domid(u32::from(number)), &spec(&line)).unwrap();
}

/// `10.0.VLAN.GUEST` is an address in a VLAN; `192.0.2.GUEST` is on every guest's untagged side, whatever its VLAN.
#[test]
fn guests_meet_in_their_vlans_only() {
    beside_a_filtering_bridge("traffic::guests_meet_in_their_vlans_only", || {
        let state = StateDir::new();
        let one = guest(1, &["192.0.2.1/24", "10.0.10.1/24"]);
        let two = guest(2, &["192.0.2.2/24", "10.0.10.2/24"]);
        let three = guest(3, &["192.0.2.3/24", "10.0.20.3/24"]);
        let four = guest(4, &["192.0.2.4/24", "10.0.10.4/24"]);
        for (number, value) in [(1, "10"), (2, "10p"), (3, "20"), (4, "10p/20/30-32")] {
            attach(&state, number, &format!("vlan={value}"));
        }
        // Access ports.
        reaches(&one, "192.0.2.2");
        reaches(&two, "10.0.10.1");
        is_kept_from(&one, "192.0.2.3");
        is_kept_from(&three, "192.0.2.1");
        // A trunk: its frames without a tag are in its PVID's VLAN, those with one in the tag's.
        tagged(&four, 20, &["10.0.20.4/24"]);
        reaches(&four, "192.0.2.1");
        reaches(&four, "10.0.20.3");
        reaches(&three, "10.0.20.4");
        is_kept_from(&four, "192.0.2.3");
        // A tag does not help a guest into a VLAN that it is not in.
        tagged(&one, 20, &["10.0.20.1/24"]);
        is_kept_from(&one, "10.0.20.3");
        is_kept_from(&one, "10.0.20.4");
        is_kept_from(&three, "10.0.20.1");
        // Nor into VLAN 1, where the bridge itself is.
        tagged(&one, 1, &["10.0.1.1/24"]);
        tagged(&four, 1, &["10.0.1.4/24"]);
        is_kept_from(&one, "10.0.1.4");
        // From one VLAN into another.
        attach(&state, 1, "vlan=20");
        reaches(&one, "192.0.2.3");
        is_kept_from(&one, "192.0.2.2");
        is_kept_from(&two, "192.0.2.1");
    });
}

#[test]
fn the_uplink_sees_the_right_tags() {
    beside_a_filtering_bridge("traffic::the_uplink_sees_the_right_tags", || {
        let state = StateDir::new();
        let outside = guest(99, &["192.0.2.99/24"]);
        trunk("vif99.0", [10, 20, 102, 110]);
        for vid in [10, 20, 102, 110] {
            tagged(&outside, vid, &[&format!("10.0.{vid}.99/24")]);
        }
        let one = guest(1, &["192.0.2.1/24", "10.0.10.1/24"]);
        let two = guest(2, &["10.0.20.2/24"]);
        let three = guest(3, &["10.0.10.3/24"]);
        let four = guest(4, &["10.0.10.4/24", "10.0.110.4/24"]);
        attach(&state, 1, "vlan=10");
        attach(&state, 2, "vlan=20");
        attach(&state, 3, "vlan=10p/100-104");
        attach(&state, 4, "vlan=10p/100+10x4u");
        reaches(&one, "10.0.10.99");
        reaches(&two, "10.0.20.99");
        is_kept_from(&one, "192.0.2.99");
        tagged(&three, 102, &["10.0.102.3/24"]);
        tagged(&three, 110, &["10.0.110.3/24"]);
        reaches(&three, "10.0.10.99");
        reaches(&three, "10.0.102.99");
        is_kept_from(&three, "10.0.110.99");
        // Untagged beside the PVID: what comes in that VLAN goes to the guest without its tag; what the guest sends without one is
        // in the PVID's.
        reaches(&four, "10.0.10.99");
        is_kept_from(&four, "10.0.110.99");
        tagged(&four, 120, &["10.0.120.4/24"]);
        tagged(&outside, 120, &["10.0.120.99/24"]);
        is_kept_from(&four, "10.0.120.99");
    });
}

/// What `ip=` declares holds in every VLAN, with a tag and without.
#[test]
fn the_guard_reads_frames_with_tags() {
    beside_a_filtering_bridge("traffic::the_guard_reads_frames_with_tags", || {
        let state = StateDir::new();
        let one = guest(1, &["10.0.10.1/24"]);
        let two = guest(2, &["10.0.10.2/24"]);
        let three = guest(3, &["10.0.20.3/24"]);
        attach(&state, 2, "vlan=10");
        attach(&state, 3, "vlan=20");
        attach(&state, 1, "vlan=10p/20/30,ip=10.0.10.1 10.0.20.1 10.0.30.0/28");
        tagged(&one, 20, &["10.0.20.1/24"]);
        reaches(&one, "10.0.10.2");
        reaches(&one, "10.0.20.3");
        reaches(&three, "10.0.20.1");
        // Other addresses of its own choice, untagged and tagged.
        for (link, mine, bad, target) in [
            ("eth0", "10.0.10.1/24", "10.0.10.66/24", "10.0.10.2"),
            ("eth0.20", "10.0.20.1/24", "10.0.20.66/24", "10.0.20.3"),
        ] {
            ip(&one, &format!("addr del {mine} dev {link}"));
            ip(&one, &format!("addr add {bad} dev {link}"));
            is_kept_from(&one, target);
            ip(&one, &format!("addr del {bad} dev {link}"));
            ip(&one, &format!("addr add {mine} dev {link}"));
            reaches(&one, target);
        }
        // An address in a declared network.
        let four = guest(4, &["10.0.30.4/24"]);
        attach(&state, 4, "vlan=30");
        tagged(&one, 30, &["10.0.30.5/24"]);
        reaches(&one, "10.0.30.4");
        ip(&one, "addr del 10.0.30.5/24 dev eth0.30");
        ip(&one, "addr add 10.0.30.16/24 dev eth0.30");
        is_kept_from(&one, "10.0.30.4");
        // Another MAC on the tagged side.
        ip(&one, "link set eth0.20 address 00:16:3e:00:00:77");
        is_kept_from(&one, "10.0.20.3");
        reaches(&two, "10.0.10.1");
        let _ = four;
    });
}
