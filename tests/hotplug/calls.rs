//! What a call does: the state, the nodes, the words.

use xennet_core::snapshot::{AddrGenMode, StorePermission};
use xennet_core::xenstore::tree::Caller;
use xennet_core::{IfName, MacAddr};
use xennet_tests::in_netns;
use xennet_tests::steps::into;

use crate::rig::{Rig, guarded, link, look, name, set};

const VIF: &str = "vif5.0";
const NODES: [(&str, &str); 3] = [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")];

#[test]
fn online_and_offline() {
    in_netns("calls::online_and_offline", || {
        let rig = Rig::new();
        rig.vif(VIF, &NODES);
        let got = rig.ok(VIF, "online");
        assert_eq!(got.stderr, "", "a success says nothing");
        assert_eq!(
            rig.writes(),
            ["/local/domain/5/device/vif/0/mtu = 1500", "backend/vif/5/0/hotplug-status = connected"]
        );
        let port = link(VIF).unwrap();
        assert_eq!((port.master, port.up, port.mac), (Some(name("xenbr0")), true, Some(MacAddr::BACKEND)));
        assert_eq!(port.addr_gen_mode, Some(AddrGenMode::None));
        assert_eq!(guarded().len(), 6);

        let before = look();
        assert_eq!(rig.ok(VIF, "online").stderr, "");
        assert_eq!(before.changes(&look()), [], "twice is once");
        assert_eq!(rig.status(VIF).as_deref(), Some("connected"));

        rig.writes();
        rig.ok(VIF, "offline");
        let port = link(VIF).unwrap();
        assert_eq!((port.master, port.up), (None, false));
        assert_eq!(guarded(), [""; 0]);
        rig.ok(VIF, "offline");
        assert_eq!(rig.writes(), [""; 0], "offline says nothing in the store");
    });
}

#[test]
fn offline_after_the_link_and_the_nodes_have_gone() {
    in_netns("calls::offline_after_the_link_and_the_nodes_have_gone", || {
        let rig = Rig::new();
        rig.vif(VIF, &NODES);
        rig.ok(VIF, "online");
        rig.remove(VIF);
        rig.store.tree(|tree| tree.nodes().len());
        rig.ok(VIF, "offline");
        assert_eq!(guarded(), [""; 0]);
        rig.ok(VIF, "offline");
        assert_eq!(rig.state().recorded().unwrap(), [], "nothing is remembered of it");
        // A domain that never had a vif here, as after a failed creation.
        rig.ok("vif9.3", "offline");
    });
}

#[test]
fn a_taken_name_stays_its_owners() {
    in_netns("calls::a_taken_name_stays_its_owners", || {
        let rig = Rig::new();
        for vif in ["vif5.0", "vif6.0"] {
            rig.vif(vif, &[("bridge", "xenbr0"), ("vifname", "web0")]);
        }
        rig.ok("vif5.0", "online");
        rig.fails("vif6.0", "online");
        let told = rig.error("vif6.0").unwrap();
        assert!(told.starts_with("name-taken (6): ") && told.contains("web0") && told.contains("hint: "), "{told}");
        assert_eq!(rig.status("vif6.0").as_deref(), Some("error"));
        // As libxl does for a vif that failed.
        rig.ok("vif6.0", "offline");
        let web = link("web0").unwrap();
        assert_eq!((web.master, web.up), (Some(name("xenbr0")), true), "the other domain's is as it was");
    });
}

#[test]
fn a_missing_bridge_is_told_with_those_that_there_are() {
    in_netns("calls::a_missing_bridge_is_told_with_those_that_there_are", || {
        let rig = Rig::new();
        rig.bridge("br-lan", 1500);
        rig.vif(VIF, &[("bridge", "xenbr7")]);
        let before = look();
        let got = rig.fails(VIF, "online");
        assert!(got.stderr.contains("bridges here: br-lan, xenbr0"), "{}", got.stderr);
        assert!(rig.error(VIF).unwrap().contains("bridges here: br-lan, xenbr0"));
        assert_eq!(before.changes(&look()), []);
        rig.ok(VIF, "offline");
        // A later success takes the old error away.
        rig.nodes(VIF, &[("bridge", "xenbr0")]);
        rig.ok(VIF, "online");
        assert_eq!((rig.error(VIF), rig.status(VIF).as_deref()), (None, Some("connected")));
    });
}

#[test]
fn the_old_name_of_a_bridge_is_found_and_said() {
    in_netns("calls::the_old_name_of_a_bridge_is_found_and_said", || {
        let rig = Rig::bare();
        rig.bridge("eth1", 1500);
        rig.vif(VIF, &[("bridge", "xenbr1")]);
        let got = rig.ok(VIF, "online");
        assert!(
            got.stderr.contains("note: there is no bridge xenbr1; eth1 is one, and is taken instead"),
            "{}",
            got.stderr
        );
        assert_eq!(link(VIF).unwrap().master, Some(name("eth1")));
    });
}

#[test]
fn the_guest_is_told_the_mtu_that_its_link_has() {
    in_netns("calls::the_guest_is_told_the_mtu_that_its_link_has", || {
        let rig = Rig::new();
        rig.bridge("jumbo0", 9000);
        let told = |rig: &Rig, vif: &str| {
            let domid = vif.trim_start_matches("vif").split('.').next().unwrap().to_owned();
            rig.node(&format!("/local/domain/{domid}/device/vif/0/mtu")).unwrap()
        };
        let cases = [
            (&[("bridge", "jumbo0")][..], "9000", 9000),
            (&[("bridge", "jumbo0"), ("mtu", "1400"), ("vifname", "web0")], "1400", 1400),
            (&[("bridge", "xenbr0"), ("mtu", "abc")], "1500", 1500),
            (&[("bridge", "xenbr0"), ("mtu", "70000")], "1500", 1500),
            (&[("bridge", "xenbr0"), ("mtu", "1500 name evil0")], "1500", 1500),
        ];
        for (domid, (nodes, text, mtu)) in (1..).zip(cases) {
            let vif = format!("vif{domid}.0");
            rig.vif(&vif, nodes);
            rig.ok(&vif, "online");
            let link_name = nodes.iter().find(|(n, _)| *n == "vifname").map_or(vif.as_str(), |(_, v)| v);
            assert_eq!((told(&rig, &vif).as_str(), link(link_name).unwrap().mtu), (text, mtu), "{nodes:?}");
        }
        let wrong = rig.store.tree(|tree| tree.nodes().keys().any(|p| p.as_str().contains("web0")));
        assert!(!wrong, "the renamed link's name is in no path");
    });
}

#[test]
fn taps_join_in_under_their_own_name() {
    in_netns("calls::taps_join_in_under_their_own_name", || {
        let rig = Rig::new();
        let mut nodes = NODES.to_vec();
        nodes.extend([("type", "vif_ioemu"), ("vifname", "web0")]);
        rig.vif(VIF, &nodes);
        rig.link("vif5.0-emu");
        rig.ok(VIF, "online");
        rig.writes();
        rig.ok(VIF, "add");
        assert_eq!(rig.writes(), [""; 0], "the status is the vif's");
        for which in ["web0", "web0-emu"] {
            let port = link(which).unwrap();
            assert_eq!(
                (port.master, port.up, port.mac),
                (Some(name("xenbr0")), true, Some(MacAddr::BACKEND)),
                "{which}"
            );
        }
        assert_eq!(guarded().iter().filter(|l| l.contains("\"web0-emu\"")).count(), 6);
        rig.ok(VIF, "remove");
        assert_eq!(link("web0-emu").unwrap().master, None);
        assert!(link("web0").unwrap().up);
        rig.remove("web0-emu");
        rig.ok(VIF, "remove");
        assert_eq!(guarded().len(), 6, "those of the vif");
    });
}

#[test]
fn a_name_that_is_too_long_for_the_twin_is_refused_before_anything_happens() {
    in_netns("calls::a_name_that_is_too_long_for_the_twin_is_refused_before_anything_happens", || {
        let rig = Rig::new();
        rig.vif(VIF, &[("bridge", "xenbr0"), ("type", "vif_ioemu"), ("vifname", "abcdefghijkl")]);
        rig.fails(VIF, "online");
        assert!(rig.error(VIF).unwrap().contains("at most 11 bytes"), "{:?}", rig.error(VIF));
        assert!(link(VIF).is_some_and(|l| !l.up));
        rig.nodes(VIF, &[("bridge", "xenbr0"), ("type", "vif"), ("vifname", "abcdefghijkl")]);
        rig.ok(VIF, "online");
        rig.nodes("vif6.0", &[("bridge", "xenbr0"), ("vifname", "abcdefghijklmnop")]);
        rig.fails("vif6.0", "online");
        assert!(rig.error("vif6.0").unwrap().contains("vifname=abcdefghijklmnop"), "{:?}", rig.error("vif6.0"));
    });
}

#[test]
fn a_bridge_is_guessed_only_where_there_is_one() {
    in_netns("calls::a_bridge_is_guessed_only_where_there_is_one", || {
        let rig = Rig::bare();
        rig.vif(VIF, &[]);
        rig.fails(VIF, "online");
        rig.bridge("br-a", 1500);
        let got = rig.ok(VIF, "online");
        assert!(got.stderr.contains("br-a is the only bridge here"), "{}", got.stderr);
        rig.bridge("br-b", 1500);
        rig.vif("vif6.0", &[]);
        rig.fails("vif6.0", "online");
        assert!(rig.error("vif6.0").unwrap().contains("several bridges here: br-a, br-b"));
        // The caller's words count where the store has none.
        let got = crate::rig::run(rig.command("vif6.0", "online").env("bridge", "br-a").arg("bridge=br-b"));
        assert_eq!((got.code, link("vif6.0").unwrap().master), (Some(0), Some(name("br-b"))));
    });
}

#[test]
fn another_ones_port_is_not_taken() {
    in_netns("calls::another_ones_port_is_not_taken", || {
        let rig = Rig::new();
        rig.bridge("br-b", 1500);
        rig.vif(VIF, &[("bridge", "xenbr0")]);
        set(VIF, into("br-b"));
        rig.fails(VIF, "online");
        assert!(rig.error(VIF).unwrap().starts_with("port-of-other (7)"));
        assert_eq!(link(VIF).unwrap().master, Some(name("br-b")));
    });
}

#[test]
fn a_driver_domain_has_its_own_number() {
    in_netns("calls::a_driver_domain_has_its_own_number", || {
        let rig = Rig::new();
        rig.store.set_domid(3);
        rig.link(VIF);
        rig.store.tree(|tree| {
            // Its home is its own, and the guest's is not.
            let dom0 = Caller::of(tree.connect(0));
            tree.mkdir(dom0, "/local/domain/3").unwrap();
            let own = StorePermission { domid: 3, read: false, write: false };
            tree.set_permissions(dom0, "/local/domain/3", &[own]).unwrap();
            tree.write(dom0, "/local/domain/3/backend/vif/5/0/bridge", b"xenbr0").unwrap();
            tree.write(dom0, "/local/domain/5/device/vif/0/mtu", b"1500").unwrap();
        });
        let got = rig.ok(VIF, "online");
        assert!(got.stderr.contains("the guest was not told its MTU of 1500"), "{}", got.stderr);
        assert_eq!(rig.node("/local/domain/3/backend/vif/5/0/hotplug-status").as_deref(), Some("connected"));
        let links: Vec<IfName> = look().links.into_keys().collect();
        assert!(links.contains(&name(VIF)));
    });
}
