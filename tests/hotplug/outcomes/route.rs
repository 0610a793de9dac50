//! The situations of `vif-route`.

use super::Verdict::{self, Better};
use super::{Got, Seen, call_of, make};
use crate::rig::{Rig, addresses, gated, link, look, outside, routes, setting};

const SCRIPT: &str = "vif-route";
const VIF: &str = "vif5.0";
const STATUS: (&str, &str) = ("/local/domain/0/backend/vif/5/0/hotplug-status", "connected");
const MTU: (&str, &str) = ("/local/domain/5/device/vif/0/mtu", "1500");

/// A host whose address towards the outside is 192.168.0.3, at `eth1`.
fn host(nodes: &[(&str, &str)]) -> Rig {
    let rig = Rig::bare();
    outside(&rig, "eth1", "192.168.0.3/24");
    rig.vif(VIF, nodes);
    rig
}

fn online(rig: &Rig) -> Got {
    make(rig, VIF, rig.command_of(SCRIPT, VIF, "online").env("netdev", "eth1"))
}

fn connected(got: &Got) {
    got.is(0, &[MTU, STATUS]);
    assert!(link(VIF).unwrap().up);
    assert_eq!(addresses(VIF)[0], "192.168.0.3/32");
    assert_eq!(setting("net/ipv4/conf/vif5.0/proxy_arp").as_deref(), Some("1"));
}

/// What comes of a situation; `None`: none of those here.
pub(super) fn judge(seen: &Seen) -> Option<Verdict> {
    if seen.script != SCRIPT {
        return None;
    }
    let ip = [("ip", "10.0.0.1")];
    Some(match (seen.command.as_str(), seen.situation.as_str()) {
        ("online", "netdev up with 192.168.0.3, ip=10.0.0.1") => {
            seen.exit_was(0);
            let rig = host(&ip);
            let got = online(&rig);
            connected(&got);
            assert!(got.run.stderr.contains("no routed network is started"), "{}", got.run.stderr);
            assert_eq!(addresses(VIF), ["192.168.0.3/32"]);
            assert_eq!(routes(VIF), ["10.0.0.1/32 dev vif5.0 proto 120 scope link src 192.168.0.3 metric 2"]);
            assert_eq!(gated(), ["links { \"vif5.0\" }", "src4 { \"vif5.0\" . 10.0.0.1 }"]);
            Better("the same state, and: the guest is told its MTU, and can send from its own address only")
        }
        ("online", "same, run again") => {
            seen.exit_was(1);
            let rig = host(&ip);
            connected(&online(&rig));
            let before = look();
            connected(&online(&rig));
            assert_eq!(before.changes(&look()), []);
            Better("it succeeds, and nothing changes: a vif that works is not marked as failed")
        }
        ("online", "no ip") => {
            seen.exit_was(0);
            let rig = host(&[]);
            let got = online(&rig);
            connected(&got);
            assert!(got.run.stderr.contains("no ip= was given: no route leads to the guest"), "{}", got.run.stderr);
            assert_eq!((routes(VIF), gated()), (vec![], vec![]));
            Better("the same state, and the guest is told its MTU; that no route leads to it is said")
        }
        ("online", "ip=10.0.0.1 bogus 10.0.0.2") => {
            let rig = host(&[("ip", "10.0.0.1 bogus 10.0.0.2")]);
            let before = look();
            let got = online(&rig);
            seen.same_but_for_the_reason(&got, &["invalid (2)", "ip=10.0.0.1 bogus 10.0.0.2", "bogus"]);
            assert_eq!(before.changes(&look()), []);
            Better("the reason says which word is wrong, and nothing was done for the others")
        }
        ("online", "ip=2001:db8::1") => {
            seen.exit_was(1);
            let rig = host(&[("ip", "2001:db8::1")]);
            let got = online(&rig);
            got.is(0, &[MTU, STATUS]);
            assert_eq!(addresses(VIF), ["fe80::1/64"]);
            assert_eq!(routes(VIF), ["2001:db8::1/128 dev vif5.0 proto 120 metric 2"]);
            assert_eq!(setting("net/ipv6/conf/vif5.0/accept_ra").as_deref(), Some("0"));
            Better("IPv6 works, by a gateway that is the same on every vif")
        }
        ("online", "netdev missing or without IPv4") => {
            seen.exit_was(1);
            let rig = host(&ip);
            let before = look();
            let got = make(&rig, VIF, rig.command_of(SCRIPT, VIF, "online").env("netdev", "eth9"));
            got.told(&["link-not-found (3)", "eth9 is not there (gatewaydev= names it)", "gatewaydev=eth0"]);
            assert_eq!(got.writes.len(), 2, "{:?}", got.writes);
            rig.link("eth9");
            let got = make(&rig, VIF, rig.command_of(SCRIPT, VIF, "online").env("netdev", "eth9"));
            got.told(&["invalid (2)", "eth9 has no IPv4 address"]);
            rig.remove("eth9");
            assert_eq!(before.changes(&look()), []);
            Better("the reason names the link, what it lacks and the way out, and no other text comes over it")
        }
        ("offline", "") => {
            let rig = host(&ip);
            online(&rig);
            rig.remove("eth1");
            seen.same(&call_of(&rig, SCRIPT, VIF, "offline"));
            assert!(!link(VIF).unwrap().up);
            assert_eq!((addresses(VIF), routes(VIF), gated()), (vec![], vec![], vec![]));
            Better("the link is down and without an address, and the outside is not asked for")
        }
        _ => return None,
    })
}
