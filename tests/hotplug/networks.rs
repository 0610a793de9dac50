//! Which network a vif belongs to, and what it has then.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Part, Scope};
use xennet_core::{BridgeNetwork, BridgeSpec, GuestLinks, NatNetwork, Network, NetworkMode, RoutedNetwork, Started};
use xennet_tests::in_netns;

use crate::rig::{
    Rig, addresses, gated, guarded, link, look, name, nat, nat_network, outside, program, routed, routed_network,
    routes, run, setting, subnets,
};

const VIF: &str = "vif5.0";
const MAC: (&str, &str) = ("mac", "00:16:3e:01:02:03");

fn host() -> Rig {
    let rig = Rig::new();
    outside(&rig, "eth0", "192.0.2.1/24");
    rig
}

#[test]
fn by_its_name_whatever_the_script() {
    in_netns("networks::by_its_name_whatever_the_script", || {
        for script in ["vif-bridge", "vif-nat", "vif-route"] {
            let rig = host();
            rig.started(&nat_network("lan"));
            rig.vif(VIF, &[("bridge", "lan"), ("ip", "10.1.0.5 fd00:1::5/64"), MAC]);
            // Only its record was written, so the first call puts the rest of it back, and says so. The next finds it whole.
            rig.ok_of(script, VIF, "online");
            rig.ok_of(script, VIF, "offline");
            let got = rig.ok_of(script, VIF, "online");
            assert_eq!(got.stderr, "", "{script}: a success says nothing");
            assert_eq!(addresses(VIF), ["10.1.0.254/32", "fd00:1::1/64", "fe80::1/64"]);
            assert_eq!(
                routes(VIF),
                [
                    "10.1.0.5/32 dev vif5.0 proto 120 scope link src 10.1.0.254 metric 2",
                    "fd00:1::5/128 dev vif5.0 proto 120 src fd00:1::1 metric 2"
                ]
            );
            let all = look();
            let to_subnet = all.routes.iter().filter(|r| r.link == Some(name(VIF)) && r.destination.prefix() == 64);
            assert_eq!(to_subnet.count(), 1, "of the link-local address only: the subnet is not behind this vif");
            assert_eq!(
                gated(),
                [
                    "hidden { \"vif5.0\" }",
                    "links { \"vif5.0\" }",
                    "masq4 { \"eth0\" . 10.1.0.5 }",
                    "masq6 { \"eth0\" . fd00:1::5 }",
                    "src4 { \"vif5.0\" . 10.1.0.5 }",
                    "src6 { \"vif5.0\" . fd00:1::5 }"
                ]
            );
            assert_eq!(guarded(), [""; 0]);
            for (key, value) in [
                ("ipv4/conf/vif5.0/rp_filter", "1"),
                ("ipv4/conf/vif5.0/proxy_arp", "1"),
                ("ipv6/conf/vif5.0/accept_ra", "0"),
            ] {
                assert_eq!(setting(&format!("net/{key}")).as_deref(), Some(value), "{key}");
            }
            let before = look();
            rig.ok_of(script, VIF, "online");
            assert_eq!(before.changes(&look()), [], "twice is once");
            // What netback leaves to do: the link has gone, and nobody can be asked.
            rig.remove(VIF);
            rig.forget("/local/domain/0/backend");
            rig.ok_of(script, VIF, "offline");
            assert_eq!(gated(), [""; 0]);
            assert_eq!(rig.state().recorded().unwrap(), []);
            rig.remove("eth0");
            rig.remove("xenbr0");
        }
    });
}

/// The command finds the networks where its variable says, as the other commands do, which started them there; a script by its
/// own name goes by the settings alone, whosever environment it has.
#[test]
fn the_command_has_its_variable_and_the_script_its_settings() {
    in_netns("networks::the_command_has_its_variable_and_the_script_its_settings", || {
        let rig = host();
        rig.started(&nat_network("private"));
        rig.settings(&format!("state_dir = \"{}\"", rig.path("elsewhere").display()));
        rig.vif(VIF, &[("ip", "10.1.0.5"), ("bridge", "private")]);
        let call = |words: &[&str]| {
            let mut command = Command::new(program());
            let script = rig.command_of("vif-nat", VIF, "online");
            command.env_clear().envs(script.get_envs().filter_map(|(name, value)| Some((name, value?))));
            command.env("XENNET_STATE_DIR", rig.path("state")).arg0(words[0]).args(&words[1..]);
            run(command.arg("online").arg("type_if=vif"))
        };
        let got = call(&["xennet", "hotplug", "vif-nat"]);
        assert_eq!((got.code, addresses(VIF)), (Some(0), vec!["10.1.0.254/32".to_owned()]), "{}", got.stderr);
        let got = call(&["vif-nat"]);
        assert_eq!(got.code, Some(0), "{}", got.stderr);
        assert!(got.stderr.contains("no network of this name is started"), "{}", got.stderr);
    });
}

#[test]
fn by_its_address_or_because_it_is_the_only_one() {
    in_netns("networks::by_its_address_or_because_it_is_the_only_one", || {
        let rig = host();
        let mut other = NatNetwork::new();
        other.subnets = subnets(&["10.2.0.0/16"]);
        other.mtu = Some(1400.try_into().unwrap());
        rig.started(&nat_network("lan"));
        rig.started(&nat("wide", other));
        rig.started(&routed_network("dmz"));

        rig.vif(VIF, &[("ip", "10.2.3.4")]);
        rig.ok_of("vif-nat", VIF, "online");
        assert_eq!((addresses(VIF), link(VIF).unwrap().mtu), (vec!["10.2.255.254/32".to_owned()], 1400));
        assert_eq!(rig.node("/local/domain/5/device/vif/0/mtu").as_deref(), Some("1400"), "the guest is told");
        // The vif line's own counts more.
        rig.nodes(VIF, &[("mtu", "1300")]);
        rig.ok_of("vif-nat", VIF, "online");
        assert_eq!(rig.node("/local/domain/5/device/vif/0/mtu").as_deref(), Some("1300"));

        rig.vif("vif6.0", &[]);
        let got = rig.fails_of("vif-nat", "vif6.0", "online");
        assert!(got.stderr.contains("several NAT networks are started"), "{}", got.stderr);
        assert!(got.stderr.contains("name one of lan, wide: bridge=lan"), "{}", got.stderr);
        rig.nodes("vif6.0", &[("ip", "192.168.9.9"), ("bridge", "wide")]);
        let got = rig.fails_of("vif-nat", "vif6.0", "online");
        assert!(got.stderr.contains("192.168.9.9 is in no subnet of network wide"), "{}", got.stderr);
        for (ip, what) in [
            ("10.2.255.254", "the gateway"),
            ("10.2.0.0/32", "the network's own address"),
            ("10.2.255.255", "the broadcast address"),
        ] {
            rig.nodes("vif6.0", &[("ip", ip), ("bridge", "wide")]);
            let got = rig.fails_of("vif-nat", "vif6.0", "online");
            assert!(got.stderr.contains(what) && got.stderr.contains("hint: "), "{}", got.stderr);
        }

        // The only routed one. Its own gateway in the subnet is beside dom0's address.
        rig.vif("vif7.0", &[("ip", "10.1.0.7")]);
        rig.ok_of("vif-route", "vif7.0", "online");
        assert_eq!(addresses("vif7.0"), ["10.1.0.254/32", "192.0.2.1/32"]);
        assert_eq!(routes("vif7.0"), ["10.1.0.7/32 dev vif7.0 proto 120 scope link src 192.0.2.1 metric 2"]);
        rig.link("vif7.0-emu");
        rig.ok_of("vif-route", "vif7.0", "add");
        assert_eq!(routes("vif7.0-emu"), ["10.1.0.7/32 dev vif7.0-emu proto 120 scope link src 192.0.2.1 metric 1"]);
        rig.ok_of("vif-route", "vif7.0", "remove");
        rig.ok_of("vif-route", "vif7.0", "offline");
        rig.ok_of("vif-nat", VIF, "offline");
        assert_eq!(gated(), [""; 0]);
    });
}

/// A provider routes eight addresses here, and guests use all of them.
#[test]
fn guests_have_every_address_of_whole_subnets() {
    in_netns("networks::guests_have_every_address_of_whole_subnets", || {
        let rig = host();
        let network = |whole: bool| {
            let mut mode = RoutedNetwork::new();
            mode.subnets = subnets(&["198.51.100.160/29", "fd00:1::/64"]);
            mode.whole_subnets = whole;
            routed("dmz", mode)
        };
        rig.started(&network(false));
        for (last, what) in [(160, "the network's own address"), (166, "the gateway"), (167, "the broadcast address")] {
            let vif = format!("vif{}.0", last - 100);
            rig.vif(&vif, &[("ip", &format!("198.51.100.{last}"))]);
            let got = rig.fails_of("vif-route", &vif, "online");
            assert!(got.stderr.contains(what) && got.stderr.contains("whole_subnets = true"), "{}", got.stderr);
        }
        rig.started(&network(true));
        for last in 160..=167 {
            let vif = format!("vif{last}.0");
            let ip = format!("198.51.100.{last} fd00:1::{last}");
            rig.vif(&vif, &[("ip", &ip)]);
            rig.ok_of("vif-route", &vif, "online");
            assert_eq!(addresses(&vif), ["192.0.2.1/32", "fd00:1::1/64", "fe80::1/64"], "{vif}");
            assert!(routes(&vif)[0].starts_with(&format!("198.51.100.{last}/32 dev {vif} ")), "{:?}", routes(&vif));
        }
        rig.vif("vif9.0", &[("ip", "fd00:1::1")]);
        let got = rig.fails_of("vif-route", "vif9.0", "online");
        assert!(got.stderr.contains("fd00:1::1 is the gateway"), "an IPv6 subnet keeps it: {}", got.stderr);
    });
}

/// A guest with two vifs in one network, whose routes all lead through the first one.
#[test]
fn a_guest_answers_by_another_vif_where_the_network_says_so() {
    in_netns("networks::a_guest_answers_by_another_vif_where_the_network_says_so", || {
        let rig = host();
        for any in [false, true] {
            let mut mode = RoutedNetwork::new();
            mode.subnets = subnets(&["203.0.113.0/24", "fd00:1::/64"]);
            mode.any_vif = any;
            rig.started(&routed("dmz", mode));
            for (vif, ip) in [("vif1.0", "203.0.113.21"), ("vif1.1", "203.0.113.22")] {
                rig.vif(vif, &[("ip", ip), ("bridge", "dmz")]);
                rig.ok_of("vif-route", vif, "online");
                let rp_filter = setting(&format!("net/ipv4/conf/{vif}/rp_filter"));
                assert_eq!(rp_filter.as_deref(), Some(if any { "2" } else { "1" }), "{vif}");
            }
            let elements = gated().join("\n");
            let shared = [
                "of-domain { \"vif1.0\" : 0x00000001 }",
                "of-domain { \"vif1.1\" : 0x00000001 }",
                "shared4 { 0x00000001 . 203.0.113.21 }",
                "shared4 { 0x00000001 . 203.0.113.22 }",
            ];
            assert_eq!(shared.map(|one| elements.contains(one)), [any; 4], "{elements}");
            assert!(!elements.contains("srcnet4"), "of no other guest's addresses: {elements}");
            if any {
                // What the first vif had goes with it, from the second one as well.
                rig.ok_of("vif-route", "vif1.0", "offline");
                assert!(!gated().join("\n").contains("203.0.113.21"), "{:?}", gated());
                rig.ok_of("vif-route", "vif1.0", "online");
            }
            for vif in ["vif1.0", "vif1.1"] {
                rig.ok_of("vif-route", vif, "offline");
                rig.remove(vif);
            }
            assert_eq!(gated(), [""; 0]);
        }
    });
}

#[test]
fn a_bridge_that_belongs_to_a_network() {
    in_netns("networks::a_bridge_that_belongs_to_a_network", || {
        let rig = host();
        rig.bridge("natbr0", 1500);
        let mut private = NatNetwork::new();
        private.subnets = subnets(&["10.1.0.0/24"]);
        private.guests = GuestLinks::Bridge(BridgeSpec::new(name("natbr0")));
        rig.started(&nat("lan", private));
        let bridge = BridgeNetwork::new(BridgeSpec::new(name("xenbr0")));
        rig.started(&Started::new(Network::new(name("office"), NetworkMode::Bridge(bridge)).unwrap()));
        rig.vif(VIF, &[("bridge", "lan"), ("ip", "10.1.0.5/24"), MAC]);
        rig.ok(VIF, "online");
        assert_eq!((link(VIF).unwrap().master, guarded().is_empty()), (Some(name("natbr0")), false));
        // What hides its guests is the network's own. It is not there, as after a flush: the call puts it back.
        let hides = gated();
        assert!(hides.contains(&"masqnet4 { \"eth0\" . 10.1.0.0/24 }".to_owned()) && hides.len() == 6, "{hides:?}");
        // To another network, and back to none.
        rig.nodes(VIF, &[("bridge", "office")]);
        rig.ok_of("vif-nat", VIF, "online");
        assert_eq!(link(VIF).unwrap().master, Some(name("xenbr0")));
        rig.nodes(VIF, &[("bridge", "xenbr0"), ("ip", "10.1.0.5/24")]);
        rig.ok(VIF, "offline");
        rig.vif("vif6.0", &[("bridge", "lan"), ("ip", "10.9.0.5"), MAC]);
        let got = rig.fails("vif6.0", "online");
        assert!(got.stderr.contains("10.9.0.5 is in no subnet of network lan"), "{}", got.stderr);
    });
}

#[test]
fn from_mode_to_mode() {
    in_netns("networks::from_mode_to_mode", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        rig.started(&routed_network("dmz"));
        rig.vif(VIF, &[("bridge", "lan"), ("ip", "10.1.0.5"), MAC, ("vifname", "web0")]);
        let fresh = look();
        rig.ok(VIF, "online");
        for bridge in ["xenbr0", "dmz", "lan", "xenbr0", "lan"] {
            rig.nodes(VIF, &[("bridge", bridge)]);
            rig.ok(VIF, "online");
            let web = link("web0").unwrap();
            assert_eq!((web.master.is_some(), web.up), (bridge == "xenbr0", true), "{bridge}");
            assert_eq!(
                (gated().is_empty(), guarded().is_empty()),
                (bridge == "xenbr0", bridge != "xenbr0"),
                "{bridge}"
            );
            let ours = match bridge {
                "xenbr0" => vec![],
                "dmz" => vec!["10.1.0.254/32", "192.0.2.1/32"],
                _ => vec!["10.1.0.254/32"],
            };
            assert_eq!(addresses("web0"), ours, "{bridge}");
            let proxy = setting("net/ipv4/conf/web0/proxy_arp");
            assert_eq!(proxy.as_deref(), Some(if bridge == "xenbr0" { "0" } else { "1" }), "{bridge}");
        }
        rig.ok(VIF, "offline");
        assert_eq!((gated(), guarded()), (vec![], vec![]));
        let left: Vec<String> = fresh.changes(&look()).iter().map(ToString::to_string).collect();
        assert!(left.iter().all(|c| !c.contains("address add") && !c.contains("route add")), "{left:#?}");
    });
}

#[test]
fn two_guests_do_not_get_into_each_others_way() {
    in_netns("networks::two_guests_do_not_get_into_each_others_way", || {
        let rig = host();
        rig.started(&nat("lan", NatNetwork::new()));
        // What would be the second one's gateway is the first one's address.
        rig.vif("vif1.0", &[("ip", "10.0.0.128")]);
        rig.ok_of("vif-nat", "vif1.0", "online");
        rig.vif("vif2.0", &[("ip", "10.0.0.1")]);
        rig.ok_of("vif-nat", "vif2.0", "online");
        assert_eq!(addresses("vif2.0"), ["10.0.0.254/32"]);
        let before = look();
        rig.ok_of("vif-nat", "vif2.0", "online");
        assert_eq!(before.changes(&look()), []);
        // The same address twice: the newer one has it (tests/hotplug/leftovers.rs).
        rig.vif("vif3.0", &[("ip", "10.0.0.1")]);
        let got = rig.ok_of("vif-nat", "vif3.0", "online");
        assert!(got.stderr.contains("10.0.0.1/32 from vif2.0"), "{}", got.stderr);
        assert_eq!((routes("vif2.0").len(), routes("vif3.0").len()), (0, 1));
        rig.ok_of("vif-nat", "vif2.0", "online");
        assert_eq!((routes("vif2.0").len(), routes("vif3.0").len()), (1, 0));
        rig.ok_of("vif-nat", "vif3.0", "offline");
        assert_eq!(routes("vif2.0").len(), 1);
        assert!(gated().contains(&"masq4 { \"eth0\" . 10.0.0.1 }".to_owned()), "the second one's is still there");
        // What is a guest's gateway is no guest's address.
        for (script, ip) in [("vif-nat", "10.0.0.254"), ("vif-route", "192.0.2.1")] {
            rig.nodes("vif3.0", &[("ip", ip)]);
            let before = look();
            let got = rig.fails_of(script, "vif3.0", "online");
            assert!(got.stderr.contains(&format!("{ip} is an address of this domain's own")), "{}", got.stderr);
            assert_eq!(before.changes(&look()), []);
        }
        // Without an address of its own, the one of its number.
        rig.vif("vif300.2", &[]);
        rig.ok_of("vif-nat", "vif300.2", "online");
        assert_eq!(routes("vif300.2"), ["10.1.44.3/32 dev vif300.2 proto 120 scope link src 10.1.44.130 metric 2"]);
        for vif in ["vif1.0", "vif2.0", "vif300.2"] {
            rig.ok_of("vif-nat", vif, "offline");
        }
        assert_eq!(gated(), [""; 0]);
    });
}

#[test]
fn what_only_a_port_can_be_is_refused() {
    in_netns("networks::what_only_a_port_can_be_is_refused", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        for (node, value) in [("vlan", "10"), ("isolated", "1")] {
            rig.vif(VIF, &[("bridge", "lan"), ("ip", "10.1.0.5"), (node, value)]);
            let before = look();
            let got = rig.fails_of("vif-nat", VIF, "online");
            assert!(got.stderr.contains("is about a port of a bridge"), "{}", got.stderr);
            assert_eq!(before.changes(&look()), []);
            rig.remove(VIF);
            rig.forget("/local/domain");
        }
    });
}

/// The record cannot be read: what our tables have of the vif goes all the same, and nothing of another's.
#[test]
fn offline_without_a_record() {
    in_netns("networks::offline_without_a_record", || {
        let rig = host();
        rig.started(&nat_network("lan"));
        for (vif, ip) in [(VIF, "10.1.0.5 fd00:1::5"), ("vif6.0", "10.1.0.6")] {
            rig.vif(vif, &[("bridge", "lan"), ("ip", ip)]);
            rig.ok_of("vif-nat", vif, "online");
        }
        rig.remove(VIF);
        std::fs::write(rig.path("state").join(format!("{VIF}.journal")), "{ this is none\n").unwrap();
        rig.ok_of("vif-nat", VIF, "offline");
        assert_eq!(
            gated(),
            [
                "hidden { \"vif6.0\" }",
                "links { \"vif6.0\" }",
                "masq4 { \"eth0\" . 10.1.0.6 }",
                "src4 { \"vif6.0\" . 10.1.0.6 }"
            ]
        );
        rig.ok_of("vif-nat", "vif6.0", "offline");
        // The table stays for the next one.
        let scope = Scope::none().with(Part::NftFrame(NftTableId::gate()));
        let seen = Netlink::open().unwrap().observe(&scope).unwrap();
        assert!(seen.nft.contains_key(&NftTableId::gate()) && gated().is_empty());
    });
}
