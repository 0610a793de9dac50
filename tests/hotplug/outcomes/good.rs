//! The situations of `vif-bridge` itself.

use xennet_core::hotplug::log::{Filter, read_calls};
use xennet_core::{IfName, MacAddr};
use xennet_tests::steps::into;

use super::Verdict::{self, Better, Same};
use super::{Seen, call};
use crate::rig::{Rig, guarded, link, look, name, set};

const BRIDGE: (&str, &str) = ("bridge", "xenbr0");

fn master(which: &str) -> Option<IfName> {
    link(which).unwrap().master
}

/// A vif that is in the bridge.
fn online(vif: &str, nodes: &[(&str, &str)]) -> Rig {
    let rig = Rig::new();
    rig.vif(vif, nodes);
    rig.ok(vif, "online");
    rig
}

/// What comes of a situation; `None`: none of those here.
pub(super) fn judge(seen: &Seen) -> Option<Verdict> {
    if seen.script != "vif-bridge" {
        return None;
    }
    Some(match (seen.command.as_str(), seen.situation.as_str()) {
        ("online", "bridge exists, mtu 9000, no mtu node") => {
            let rig = Rig::bare();
            rig.bridge("xenbr0", 9000);
            rig.vif("vif5.0", &[BRIDGE]);
            seen.same(&call(&rig, "vif5.0", "online"));
            let port = link("vif5.0").unwrap();
            assert_eq!((port.up, port.master, port.mtu), (true, Some(name("xenbr0")), 9000));
            assert_eq!(port.mac, Some(MacAddr::BACKEND));
            assert_eq!(look().addresses_of(&name("vif5.0")).count(), 0);
            Same
        }
        ("online", "run a second time") => {
            let rig = online("vif5.0", &[BRIDGE, ("ip", "192.0.2.6"), ("mac", "00:16:3e:01:02:03")]);
            let before = look();
            seen.same(&call(&rig, "vif5.0", "online"));
            assert_eq!(before.changes(&look()), []);
            let calls = read_calls(rig.state().path(), &Filter::default(), 10).unwrap();
            let plans: Vec<bool> = calls.iter().map(|c| c.plan.is_empty()).collect();
            assert_eq!(plans, [false, true]);
            Better("no step is taken: the port stays up, and what filters it is there once")
        }
        ("offline", "normal") => {
            let rig = online("vif5.0", &[BRIDGE]);
            seen.same(&call(&rig, "vif5.0", "offline"));
            let vif = link("vif5.0").unwrap();
            assert_eq!((vif.up, vif.master, vif.mac, vif.mtu), (false, None, Some(MacAddr::BACKEND), 1500));
            assert_eq!(rig.status("vif5.0").as_deref(), Some("connected"));
            Same
        }
        ("offline", "run again, or netdev already gone") => {
            let rig = online("vif5.0", &[BRIDGE]);
            rig.ok("vif5.0", "offline");
            seen.same(&call(&rig, "vif5.0", "offline"));
            rig.vif("vif6.0", &[BRIDGE]);
            rig.ok("vif6.0", "online");
            rig.remove("vif6.0");
            seen.same(&call(&rig, "vif6.0", "offline"));
            Same
        }
        ("online", "netdev missing") => {
            seen.exit_was(1);
            let rig = Rig::new();
            rig.settings("deadline = 1\n");
            rig.nodes("vif5.0", &[BRIDGE]);
            call(&rig, "vif5.0", "online").told(&["link-not-found (3)", "none has come within 875 ms"]);
            Better("it is waited for, and the reason is in the store, where Xen's script writes nothing")
        }
        ("online", "bridge missing") => {
            let rig = Rig::new();
            rig.vif("vif5.0", &[("bridge", "xenbr7")]);
            let before = look();
            let got = call(&rig, "vif5.0", "online");
            seen.same_but_for_the_reason(&got, &["bridge-not-found (4)", "xenbr7", "bridges here: xenbr0"]);
            assert_eq!(before.changes(&look()), []);
            Better("the reason names the bridges that there are")
        }
        ("offline", "bridge missing") => {
            seen.exit_was(1);
            let rig = online("vif5.0", &[BRIDGE, ("ip", "192.0.2.6"), ("mac", "00:16:3e:01:02:03")]);
            rig.nodes("vif5.0", &[("bridge", "xenbr7")]);
            rig.remove("xenbr0");
            call(&rig, "vif5.0", "offline").is(0, &[]);
            assert_eq!(guarded(), [""; 0]);
            assert!(!link("vif5.0").unwrap().up);
            Better("it succeeds, the vif is down, and what filtered it is gone")
        }
        ("online", "no bridge node and no bridge on the host") => {
            let rig = Rig::bare();
            rig.vif("vif5.0", &[]);
            let got = call(&rig, "vif5.0", "online");
            seen.same_but_for_the_reason(&got, &["no bridge= was given, and there is no bridge here", "make a bridge"]);
            Better("the reason says what to do")
        }
        ("online", "no bridge node, bridges br-a and br-b, brctl installed") => {
            seen.exit_was(0);
            two_bridges().told(&["several bridges here: br-a, br-b"]);
            Better("of several bridges none is guessed: the reason lists them")
        }
        ("online", "no bridge node, two empty bridges, no brctl") => {
            seen.same_but_for_the_reason(&two_bridges(), &["several bridges here: br-a, br-b"]);
            Better("the bridges without a port are seen, and listed")
        }
        ("online", "no bridge node, ports on two bridges, no brctl") => {
            let rig = Rig::bare();
            for (bridge, port) in [("br-a", "vif1.0"), ("br-b", "vif2.0")] {
                rig.bridge(bridge, 1500);
                rig.link(port);
                set(port, into(bridge));
            }
            rig.vif("vif5.0", &[]);
            let got = call(&rig, "vif5.0", "online");
            seen.same_but_for_the_reason(&got, &["several bridges here: br-a, br-b"]);
            assert!(got.writes.iter().all(|(_, v)| !v.contains('\n')));
            Better("the reason lists the bridges on one line, and takes no two names for one")
        }
        ("online", "bridge=xenbr1 missing, eth1 is a bridge") => {
            let rig = Rig::bare();
            rig.bridge("eth1", 1500);
            rig.vif("vif7.0", &[("bridge", "xenbr1")]);
            let got = call(&rig, "vif7.0", "online");
            seen.same(&got);
            assert_eq!(master("vif7.0"), Some(name("eth1")));
            assert!(got.run.stderr.contains("eth1 is one, and is taken instead"));
            Same
        }
        ("online", "bridge=lo (not a bridge)") => {
            seen.exit_was(1);
            let rig = Rig::new();
            rig.vif("vif8.0", &[("bridge", "lo")]);
            let before = look();
            let got = call(&rig, "vif8.0", "online");
            got.told(&["not-a-bridge (5)", "bridges here: xenbr0"]);
            assert_eq!(before.changes(&look()), []);
            assert_eq!(rig.node("/local/domain/8/device/vif/0/mtu").as_deref(), Some("1500"));
            Better("nothing is changed, the guest is told no MTU of 65536, and the reason is in the store")
        }
        ("online", "vif already a port of another bridge, no brctl") => {
            seen.exit_was(0);
            of_another();
            Better("somebody else's port is not moved in silence: the reason says whose it is")
        }
        ("online", "vif already a port of another bridge, brctl installed") => {
            seen.exit_was(1);
            of_another();
            Better("the port stays up in its bridge, the guest is told no MTU, and the reason is in the store")
        }
        ("online", "mtu node = abc or '1500 name evil0'") => {
            seen.exit_was(0);
            let rig = Rig::bare();
            rig.bridge("xenbr0", 1400);
            for (domid, mtu) in [(5, "abc"), (6, "1500 name evil0")] {
                let vif = format!("vif{domid}.0");
                rig.vif(&vif, &[BRIDGE, ("mtu", mtu)]);
                let got = call(&rig, &vif, "online");
                let front = format!("/local/domain/{domid}/device/vif/0/mtu");
                let status = format!("{}/hotplug-status", got.directory);
                got.is(0, &[(&front, "1400"), (&status, "connected")]);
                assert_eq!(link(&vif).unwrap().mtu, 1400);
                assert!(got.run.stderr.contains(&format!("mtu is \"{mtu}\", which is no MTU")), "{}", got.run.stderr);
                assert_eq!(link("evil0"), None);
            }
            Better("it is ignored and said so, and the guest is told the MTU that the vif got from its bridge")
        }
        ("online", "mtu node = 70000") => {
            seen.exit_was(0);
            let rig = Rig::new();
            rig.vif("vif5.0", &[BRIDGE, ("mtu", "70000")]);
            let got = call(&rig, "vif5.0", "online");
            got.is(
                0,
                &[
                    ("/local/domain/5/device/vif/0/mtu", "1500"),
                    ("/local/domain/0/backend/vif/5/0/hotplug-status", "connected"),
                ],
            );
            assert_eq!(link("vif5.0").unwrap().mtu, 1500);
            Better("the guest is told the MTU that was read back, not 70000")
        }
        ("online", "vifname=web0") => {
            seen.exit_was(0);
            let rig = Rig::new();
            rig.vif("vif5.0", &[BRIDGE, ("vifname", "web0")]);
            call(&rig, "vif5.0", "online").is(
                0,
                &[
                    ("/local/domain/5/device/vif/0/mtu", "1500"),
                    ("/local/domain/0/backend/vif/5/0/hotplug-status", "connected"),
                ],
            );
            assert_eq!((link("vif5.0"), master("web0")), (None, Some(name("xenbr0"))));
            Better("the MTU is told to the guest, and not at a path that nobody reads or removes")
        }
        ("online", "vifname=web0 exists already") => {
            let rig = taken();
            let before = look();
            let got = call(&rig, "vif6.0", "online");
            seen.same_but_for_the_reason(&got, &["name-taken (6)", "vif6.0", "web0"]);
            assert_eq!(before.changes(&look()), []);
            Better("the reason says which link has the name, and the way out")
        }
        ("offline", "right after the collision above") => {
            let rig = taken();
            rig.fails("vif6.0", "online");
            let before = look();
            seen.same(&call(&rig, "vif6.0", "offline"));
            assert_eq!(before.changes(&look()), []);
            assert!(link("web0").unwrap().up && master("web0").is_some());
            Better("the other domain's web0 stays up in its bridge")
        }
        ("online", "vifname of 16 characters") => {
            let rig = Rig::new();
            rig.vif("vif7.0", &[BRIDGE, ("vifname", "abcdefghijklmnop")]);
            let got = call(&rig, "vif7.0", "online");
            seen.same_but_for_the_reason(&got, &["vifname=abcdefghijklmnop", "at most 15 bytes, this one has 16"]);
            Better("the reason says which rule the name breaks")
        }
        ("add type_if=tap", "vifname of 12..15 characters") => {
            let rig = Rig::new();
            rig.vif("vif8.0", &[BRIDGE, ("type", "vif_ioemu"), ("vifname", "abcdefghijklmno")]);
            rig.link("vif8.0-emu");
            let before = look();
            seen.same_but_for_the_reason(&call(&rig, "vif8.0", "add"), &["at most 11 bytes"]);
            // What libxl calls first.
            call(&rig, "vif8.0", "online").told(&["at most 11 bytes"]);
            assert_eq!(before.changes(&look()), []);
            Better("it is refused at online already, before one half of the two is up")
        }
        ("add type_if=tap", "normal") => {
            let rig = online("vif5.0", &[BRIDGE, ("type", "vif_ioemu")]);
            rig.link("vif5.0-emu");
            seen.same(&call(&rig, "vif5.0", "add"));
            let tap = link("vif5.0-emu").unwrap();
            assert_eq!((tap.up, tap.master, tap.mac), (true, Some(name("xenbr0")), Some(MacAddr::BACKEND)));
            Same
        }
        ("remove type_if=tap", "tap already gone") => {
            let rig = online("vif5.0", &[BRIDGE, ("type", "vif_ioemu")]);
            rig.link("vif5.0-emu");
            rig.ok("vif5.0", "add");
            rig.remove("vif5.0-emu");
            seen.same(&call(&rig, "vif5.0", "remove"));
            seen.same(&call(&rig, "vif5.0", "remove"));
            Same
        }
        _ => return None,
    })
}

/// No bridge is named, and there are two.
fn two_bridges() -> super::Got {
    let rig = Rig::bare();
    rig.bridge("br-a", 1500);
    rig.bridge("br-b", 1500);
    rig.vif("vif5.0", &[]);
    let before = look();
    let got = call(&rig, "vif5.0", "online");
    assert_eq!(before.changes(&look()), []);
    got
}

/// The vif is a port of another bridge than it is to be.
fn of_another() {
    let rig = Rig::new();
    rig.bridge("br-b", 1500);
    rig.vif("vif9.0", &[BRIDGE]);
    set("vif9.0", into("br-b").with_up(true));
    let before = look();
    let got = call(&rig, "vif9.0", "online");
    got.told(&["port-of-other (7)", "vif9.0 is a port of br-b already"]);
    assert_eq!(got.writes.len(), 2, "{:?}", got.writes);
    assert_eq!(before.changes(&look()), []);
}

/// A host on which web0 is another domain's vif.
fn taken() -> Rig {
    let rig = online("vif5.0", &[BRIDGE, ("vifname", "web0")]);
    rig.vif("vif6.0", &[BRIDGE, ("vifname", "web0")]);
    rig
}
