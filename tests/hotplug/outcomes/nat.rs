//! The situations of `vif-nat`.

use super::Verdict::{self, Better};
use super::{Got, Seen, call_of};
use crate::rig::{Rig, addresses, gated, link, look, outside, routes, setting};

const SCRIPT: &str = "vif-nat";
const VIF: &str = "vif5.0";
const STATUS: (&str, &str) = ("/local/domain/0/backend/vif/5/0/hotplug-status", "connected");
const MTU: (&str, &str) = ("/local/domain/5/device/vif/0/mtu", "1500");

fn host(ip: &str) -> Rig {
    let rig = Rig::bare();
    rig.vif(VIF, &[("ip", ip), ("mac", "00:16:3e:01:02:03")]);
    rig
}

fn online(rig: &Rig) -> Got {
    call_of(rig, SCRIPT, VIF, "online")
}

/// Connected, and the guest told so.
fn connected(got: &Got) {
    got.is(0, &[MTU, STATUS]);
    assert!(link(VIF).unwrap().up);
    assert_eq!(setting("net/ipv4/conf/vif5.0/proxy_arp").as_deref(), Some("1"));
}

/// What comes of a situation; `None`: none of those here.
pub(super) fn judge(seen: &Seen) -> Option<Verdict> {
    if seen.script != SCRIPT {
        return None;
    }
    Some(match (seen.command.as_str(), seen.situation.as_str()) {
        ("online", "ip=10.0.0.1") => {
            seen.exit_was(0);
            let rig = host("10.0.0.1");
            let got = online(&rig);
            connected(&got);
            assert!(
                got.run.stderr.contains("no NAT network is started: nothing hides the guest"),
                "{}",
                got.run.stderr
            );
            assert_eq!(addresses(VIF), ["10.0.0.128/32"]);
            // A metric, and the protocol number that tells whose it is.
            assert_eq!(routes(VIF), ["10.0.0.1/32 dev vif5.0 proto 120 scope link src 10.0.0.128 metric 2"]);
            assert_eq!(gated(), ["links { \"vif5.0\" }", "src4 { \"vif5.0\" . 10.0.0.1 }"]);
            let vif = link(VIF).unwrap();
            assert_eq!((vif.master, vif.mtu, vif.mac), (None, 1500, Some(xennet_core::MacAddr::BACKEND)));
            Better(
                "the same state, and: the guest is told its MTU, it can send from its own address only, and the route has a \
                 metric, below which the emulated twin's has its place",
            )
        }
        ("online", "run again") => {
            seen.exit_was(0);
            let rig = host("10.0.0.1");
            connected(&online(&rig));
            let before = look();
            connected(&online(&rig));
            assert_eq!(before.changes(&look()), []);
            Better("nothing changes, and the status is that of this call, which netback may be waiting for")
        }
        ("offline", "") => {
            let rig = host("10.0.0.1");
            online(&rig);
            seen.same(&call_of(&rig, SCRIPT, VIF, "offline"));
            assert!(!link(VIF).unwrap().up);
            assert_eq!((addresses(VIF), routes(VIF), gated()), (vec![], vec![], vec![]));
            assert_eq!(setting("net/ipv4/conf/vif5.0/proxy_arp").as_deref(), Some("0"));
            Better("the address goes, too, so that the next vif of this name begins anew")
        }
        ("online", "ip=10.0.0.129") => {
            seen.exit_was(1);
            let rig = host("10.0.0.129");
            connected(&online(&rig));
            assert_eq!(addresses(VIF), ["10.0.0.254/32"]);
            assert_eq!(routes(VIF), ["10.0.0.129/32 dev vif5.0 proto 120 scope link src 10.0.0.254 metric 2"]);
            Better("where 127 more is no address, the highest one that is free is taken")
        }
        ("online", "ip has two addresses") => {
            seen.exit_was(1);
            let rig = host("10.0.0.1 10.0.0.2");
            connected(&online(&rig));
            assert_eq!(addresses(VIF), ["10.0.0.128/32"]);
            assert_eq!(routes(VIF).len(), 2);
            assert!(gated().contains(&"src4 { \"vif5.0\" . 10.0.0.2 }".to_owned()));
            Better("several addresses work, those of IPv6 among them")
        }
        ("add type_if=tap", "any") => {
            let rig = host("10.0.0.1");
            outside(&rig, "eth0", "192.0.2.1/24");
            online(&rig);
            rig.link("vif5.0-emu");
            seen.same(&call_of(&rig, SCRIPT, VIF, "add"));
            assert_eq!(addresses("vif5.0-emu"), ["10.0.0.128/32"]);
            let route = "10.0.0.1/32 dev vif5.0-emu proto 120 scope link src 10.0.0.128 metric 1";
            assert_eq!(routes("vif5.0-emu"), [route]);
            seen.same(&call_of(&rig, SCRIPT, VIF, "remove"));
            assert_eq!((addresses("vif5.0-emu"), routes("vif5.0-emu")), (vec![], vec![]));
            assert_eq!((addresses(VIF).len(), routes(VIF).len(), gated().len()), (1, 1, 2), "the vif's own stays");
            Better("an emulated card has network, too, by a route that wins until the guest unplugs it")
        }
        _ => return None,
    })
}
