//! Every kind of object: made, read back, changed, removed.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use xennet_core::Errno;
use xennet_core::backend::Backend;
use xennet_core::snapshot::{
    AddrGenMode, Family, FdbEntry, FdbKind, LinkKind, Neighbour, NeighbourKind, NextHop, NftFamily, NftTableId, Part,
    PortState, Route, RouteKind, Rule, RuleAction, Scope, Snapshot, SysctlKey, VethPeer,
};
use xennet_core::step::{
    AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, NftOp, NftTransaction,
    PortChange, PortStep, RouteStep, RuleStep, Step, SysctlStep,
};
use xennet_tests::in_netns;

use crate::{Kernel, address, create, mac, name};

#[test]
fn a_bridge_is_made_with_its_settings_in_one_message() {
    in_netns("objects::a_bridge_is_made_with_its_settings_in_one_message", || {
        let mut kernel = Kernel::open();
        let bridge = BridgeChange::default()
            .with_stp(false)
            .with_forward_delay_cs(0)
            .with_ageing_time_cs(12_300)
            .with_multicast_snooping(false);
        let change = LinkChange::default().with_mac(mac(9)).with_mtu(1400).with_up(true).with_bridge(bridge);
        kernel.apply(create("xenbr0", NewLink::Bridge, change));
        let link = kernel.link("xenbr0");
        assert_eq!((link.kind, link.mac, link.mtu, link.up), (LinkKind::Bridge, Some(mac(9)), 1400, true));
        let state = link.bridge.unwrap();
        assert_eq!((state.stp, state.forward_delay_cs, state.ageing_time_cs), (false, 0, 12_300));
        assert!(!state.multicast_snooping);
        assert_eq!((state.mac_fixed, state.mtu_fixed), (None, None), "the kernel does not tell");
        assert_eq!(state.vlan_filtering.is_some(), state.default_pvid.is_some());
        assert!(link.arp && link.multicast && link.port.is_none() && link.master.is_none());

        // And changed, together with what is not the bridge's own.
        let bridge = BridgeChange::default().with_stp(true).with_forward_delay_cs(1500);
        kernel.set("xenbr0", LinkChange::default().with_bridge(bridge).with_mtu(1300));
        let link = kernel.link("xenbr0");
        let state = link.bridge.unwrap();
        assert_eq!((link.mtu, state.stp, state.forward_delay_cs, state.ageing_time_cs), (1300, true, 1500, 12_300));

        kernel.apply(Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) }));
        assert!(!kernel.exists("xenbr0"));
    });
}

#[test]
fn a_veth_is_made_changed_renamed_and_removed() {
    in_netns("objects::a_veth_is_made_changed_renamed_and_removed", || {
        let mut kernel = Kernel::open();
        kernel.veth("eth0", "peer0");
        let link = kernel.link("eth0");
        assert_eq!((link.kind, link.peer, link.up), (LinkKind::Veth, Some(VethPeer::Here(name("peer0"))), false));
        assert_eq!(link.mtu_range, (68, 65535));

        let everything = LinkChange::default()
            .with_mac(mac(1))
            .with_mtu(1280)
            .with_name(name("vif1.0"))
            .with_alias("guest web, first vif".to_owned())
            .with_up(true)
            .with_arp(false)
            .with_multicast(false)
            .with_txqueuelen(321)
            .with_addr_gen_mode(AddrGenMode::None);
        let link = LinkRef::new(name("eth0"), link.index);
        kernel.apply(Step::Link(LinkStep::Set { link, change: everything }));
        let seen = kernel.link("vif1.0");
        assert_eq!(Some(seen.index), link.index);
        assert_eq!((seen.mac, seen.mtu, seen.up, seen.arp, seen.multicast), (Some(mac(1)), 1280, true, false, false));
        assert_eq!(seen.alias.as_deref(), Some("guest web, first vif"));
        assert_eq!((seen.txqueuelen, seen.addr_gen_mode), (321, Some(AddrGenMode::None)));
        assert_eq!(kernel.link("peer0").peer, Some(VethPeer::Here(name("vif1.0"))));

        // Back, by the old reference: it is the number that counts, not the name. Down first: before Linux 6.2 a link that is
        // up keeps its name.
        kernel.apply(Step::Link(LinkStep::Set { link, change: LinkChange::default().with_up(false) }));
        let back = LinkChange::default()
            .with_name(name("eth0"))
            .with_alias(String::new())
            .with_arp(true)
            .with_addr_gen_mode(AddrGenMode::Eui64);
        kernel.apply(Step::Link(LinkStep::Set { link, change: back }));
        let seen = kernel.link("eth0");
        assert_eq!((seen.alias, seen.up, seen.arp, seen.multicast), (None, false, true, false));
        assert_eq!(seen.addr_gen_mode, Some(AddrGenMode::Eui64));

        kernel.apply(Step::Link(LinkStep::Delete { link }));
        assert!(!kernel.exists("eth0") && !kernel.exists("peer0"), "the other end goes too");
    });
}

#[test]
fn what_the_kernel_leaves_out_when_a_link_is_made() {
    in_netns("objects::what_the_kernel_leaves_out_when_a_link_is_made", || {
        let mut kernel = Kernel::open();
        let change = LinkChange::default()
            .with_alias("a note".to_owned())
            .with_txqueuelen(77)
            .with_multicast(false)
            .with_arp(false);
        kernel.apply(create("v0", NewLink::Veth { peer: name("v1") }, change));
        let link = kernel.link("v0");
        assert_eq!((link.txqueuelen, link.multicast, link.arp), (77, false, false));
        // rtnl_create_link does not read IFLA_IFALIAS, and does not say so.
        assert_eq!(link.alias, None);

        // IFLA_AF_SPEC is refused for a link that has no IPv6 side yet.
        let change = LinkChange::default().with_addr_gen_mode(AddrGenMode::None);
        for (text, kind) in [("br0", NewLink::Bridge), ("v2", NewLink::Veth { peer: name("v3") })] {
            let e = kernel.try_apply(create(text, kind, change.clone())).unwrap_err();
            assert_eq!((e.errno, kernel.exists(text)), (Errno::EAFNOSUPPORT, false));
        }
    });
}

#[test]
fn a_port_gets_its_settings_before_it_goes_up() {
    in_netns("objects::a_port_gets_its_settings_before_it_goes_up", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.veth("vif1.0", "p0");
        kernel.enslave("vif1.0", "br0");
        let link = kernel.link("vif1.0");
        assert_eq!((link.master, link.port), (Some(name("br0")), Some(PortState::default())));

        let index = link.index;
        let all = PortChange::default()
            .with_isolated(true)
            .with_learning(false)
            .with_hairpin(true)
            .with_unicast_flood(false)
            .with_multicast_flood(false)
            .with_broadcast_flood(false)
            .with_neigh_suppress(true)
            .with_locked(true)
            .with_bpdu_guard(true)
            .with_root_block(true)
            .with_group_forward(0xfffd);
        let port = LinkRef::new(name("vif1.0"), index);
        kernel.apply(Step::Port(PortStep::Set { port, change: all, up: Some(true) }));
        let link = kernel.link("vif1.0");
        let expected = PortState::default()
            .with_isolated(true)
            .with_learning(false)
            .with_hairpin(true)
            .with_unicast_flood(false)
            .with_multicast_flood(false)
            .with_broadcast_flood(false)
            .with_neigh_suppress(true)
            .with_locked(true)
            .with_bpdu_guard(true)
            .with_root_block(true)
            .with_group_forward(0xfffd);
        assert_eq!((link.up, link.port), (true, Some(expected)));

        // Each by itself and back to what the kernel gives: no field stands for another.
        type Wanted = fn(&mut PortChange) -> &mut Option<bool>;
        type Seen = fn(&PortState) -> bool;
        let fields: [(Wanted, Seen); 10] = [
            (|c| &mut c.isolated, |p| p.isolated),
            (|c| &mut c.learning, |p| p.learning),
            (|c| &mut c.hairpin, |p| p.hairpin),
            (|c| &mut c.unicast_flood, |p| p.unicast_flood),
            (|c| &mut c.multicast_flood, |p| p.multicast_flood),
            (|c| &mut c.broadcast_flood, |p| p.broadcast_flood),
            (|c| &mut c.neigh_suppress, |p| p.neigh_suppress),
            (|c| &mut c.locked, |p| p.locked),
            (|c| &mut c.bpdu_guard, |p| p.bpdu_guard),
            (|c| &mut c.root_block, |p| p.root_block),
        ];
        for (i, (field, read)) in fields.iter().enumerate() {
            let before = kernel.link("vif1.0").port.unwrap();
            let mut change = PortChange::default();
            *field(&mut change) = Some(!read(&before));
            kernel.set_port("vif1.0", change, None);
            let after = kernel.link("vif1.0").port.unwrap();
            for (j, (_, read)) in fields.iter().enumerate() {
                assert_eq!(read(&after) != read(&before), i == j, "setting {i} changed setting {j}");
            }
        }

        kernel.set("vif1.0", LinkChange::default().with_master(NewMaster::None));
        let link = kernel.link("vif1.0");
        assert_eq!((link.master, link.port, link.up), (None, None, true));
        // Without settings it is a plain change of the link.
        kernel.set_port("vif1.0", PortChange::default(), Some(false));
        assert!(!kernel.link("vif1.0").up);
    });
}

#[test]
fn forwarding_entries_at_ports_and_at_the_bridge() {
    in_netns("objects::forwarding_entries_at_ports_and_at_the_bridge", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.veth("vif1.0", "p0");
        kernel.veth("vif2.0", "p1");
        kernel.enslave("vif1.0", "br0");
        kernel.enslave("vif2.0", "br0");
        let entry = |link: &str, last, kind| FdbEntry::new(name(link), mac(last), kind);
        let own = kernel.look(Part::Fdb(name("vif1.0"))).fdb;
        let mac_of_port = kernel.link("vif1.0").mac.unwrap();
        // The port's own address, which the bridge keeps for itself; once more in every VLAN of the port, where bridges know VLANs.
        assert_eq!(own.iter().filter(|e| e.vlan.is_none()).count(), 1, "{own:?}");
        assert!(own.iter().all(|e| e.mac == mac_of_port && e.kind == FdbKind::Local));

        let added = [
            entry("vif1.0", 1, FdbKind::Static),
            entry("vif1.0", 2, FdbKind::Local),
            entry("vif2.0", 3, FdbKind::Static),
            entry("br0", 4, FdbKind::Local),
        ];
        for entry in &added {
            kernel.apply(Step::Port(PortStep::FdbAdd { entry: entry.clone() }));
        }
        for link in ["vif1.0", "vif2.0", "br0"] {
            let seen = kernel.look(Part::Fdb(name(link))).fdb;
            assert!(seen.iter().all(|e| e.link == link), "{link}: {seen:?}");
            for entry in added.iter().filter(|e| e.link == link) {
                assert!(seen.contains(entry), "{entry:?} is not in {seen:?}");
            }
        }
        let everything = kernel.look(Part::Network).fdb;
        assert!(added.iter().all(|entry| everything.contains(entry)), "{everything:?}");
        for entry in added {
            kernel.apply(Step::Port(PortStep::FdbDel { entry }));
        }
        assert_eq!(kernel.look(Part::Fdb(name("vif1.0"))).fdb, own);
    });
}

#[test]
fn addresses_of_both_families() {
    in_netns("objects::addresses_of_both_families", || {
        let mut kernel = Kernel::open();
        kernel.veth("eth0", "p0");
        kernel.veth("eth1", "p1");
        let all = [
            address("eth0", "192.0.2.1/24").with_broadcast(Ipv4Addr::new(192, 0, 2, 255)),
            address("eth0", "192.0.2.2/24").with_secondary(true),
            address("eth0", "198.51.100.1/32").with_label("eth0:web".to_owned()).with_no_prefix_route(true),
            address("eth0", "10.0.0.1/32").with_peer(Some("10.0.0.2".parse().unwrap())).with_scope(253),
            address("eth0", "2001:db8::1/64").with_nodad(true).with_no_prefix_route(true),
            address("eth0", "2001:db8::2/128").with_peer(Some("2001:db8::3".parse().unwrap())).with_nodad(true),
        ];
        for address in &all {
            kernel.apply(Step::Addr(AddrStep::Add(address.clone())));
        }
        let seen = kernel.look(Part::Addresses(name("eth0"))).addresses;
        assert_eq!(seen.iter().collect::<Vec<_>>(), {
            let mut all: Vec<_> = all.iter().collect();
            all.sort();
            all
        });
        // The other link's are not among them, and its own are.
        assert!(kernel.look(Part::Addresses(name("eth1"))).addresses.is_empty());
        // The last first: the first of a subnet would take the others with it.
        for address in all.iter().rev() {
            kernel.apply(Step::Addr(AddrStep::Del(address.clone())));
        }
        assert!(kernel.look(Part::Addresses(name("eth0"))).addresses.is_empty());

        let mut mortal = address("eth0", "2001:db8::9/64");
        mortal.lifetime = Some((4000, 3000));
        kernel.apply(Step::Addr(AddrStep::Add(mortal)));
        let seen = kernel.look(Part::Addresses(name("eth0"))).addresses;
        let (valid, preferred) = seen.first().unwrap().lifetime.unwrap();
        assert!((3900..=4000).contains(&valid) && (2900..=3000).contains(&preferred), "{valid} {preferred}");
    });
}

fn route(destination: &str, link: &str) -> Route {
    Route::to(destination.parse().unwrap(), name(link))
}

#[test]
fn routes_of_both_families() {
    in_netns("objects::routes_of_both_families", || {
        let mut kernel = Kernel::open();
        for (link, peer) in [("eth0", "p0"), ("eth1", "p1")] {
            kernel.veth(link, peer);
            for end in [link, peer] {
                // No link-local addresses: their routes come by themselves, some milliseconds after the link is up.
                let none = Some(AddrGenMode::None);
                kernel.set(end, LinkChange::default().with_up(true).with_addr_gen_mode(none));
            }
        }
        kernel.address("eth0", "192.0.2.1/24");
        kernel.address("eth1", "198.51.100.1/24");
        kernel.apply(Step::Addr(AddrStep::Add(address("eth0", "2001:db8::1/64").with_nodad(true))));
        let ip = |text: &str| -> Option<IpAddr> { Some(text.parse().unwrap()) };
        let hop = |link: &str, gateway: &str, weight| {
            NextHop::through(name(link)).with_gateway(ip(gateway)).with_weight(weight)
        };
        let v4 = [
            route("10.1.0.1/32", "eth0"),
            route("0.0.0.0/0", "eth0").with_gateway(ip("192.0.2.9")).with_protocol(4),
            route("0.0.0.0/0", "eth0").with_gateway(ip("192.0.2.8")).with_metric(50),
            route("10.2.0.0/16", "eth0").with_source(ip("192.0.2.1")).with_mtu(1234).with_tos(4),
            route("10.3.0.0/16", "eth1").with_table(1000).with_protocol(200),
            route("10.4.0.0/16", "eth0").with_gateway(ip("203.0.113.1")).with_onlink(true),
            route("10.5.0.0/16", "eth0").with_gateway(ip("fe80::1")),
            route("10.6.0.0/16", "eth0").with_kind(RouteKind::Blackhole).with_link(None).with_scope(0),
            route("10.7.0.0/16", "eth0").with_kind(RouteKind::Unreachable).with_link(None).with_scope(0),
            route("10.8.0.0/16", "eth0").with_kind(RouteKind::Prohibit).with_link(None).with_scope(0),
            route("10.9.0.0/16", "eth0")
                .with_link(None)
                .with_scope(0)
                .with_next_hops(vec![hop("eth0", "192.0.2.7", 1), hop("eth1", "198.51.100.7", 5)]),
        ];
        let v6 = [
            route("2001:db8:1::/48", "eth0").with_metric(1024),
            route("::/0", "eth0").with_metric(7).with_gateway(ip("2001:db8::9")).with_protocol(4),
            route("2001:db8:2::1/128", "eth1").with_metric(1024).with_table(77).with_mtu(1300),
            route("2001:db8:3::/48", "eth0")
                .with_metric(1024)
                .with_link(None)
                .with_next_hops(vec![hop("eth0", "2001:db8::7", 1), hop("eth0", "2001:db8::8", 3)]),
            // The kernel hangs IPv6's dead ends on the loopback link.
            route("2001:db8:4::/48", "lo").with_metric(1024).with_kind(RouteKind::Blackhole),
        ];
        let before = kernel.look(Part::Network).routes;
        assert!(!before.is_empty(), "connected routes are there");
        assert!(before.iter().all(|r| r.table != 255));
        for route in v4.iter().chain(&v6) {
            kernel.apply(Step::Route(RouteStep::Add(route.clone())));
        }
        let seen = kernel.look(Part::Network).routes;
        for route in v4.iter().chain(&v6) {
            assert!(seen.contains(route), "{route:#?}\nis not among\n{seen:#?}");
        }
        assert_eq!(seen.len(), before.len() + v4.len() + v6.len());

        let through = kernel.look(Part::Routes(name("eth1"))).routes;
        assert!(through.contains(&v4[4]) && through.contains(&v4[10]) && through.contains(&v6[2]), "{through:#?}");
        assert!(!through.contains(&v4[0]));
        let defaults = kernel.look(Part::Route("0.0.0.0/0".parse().unwrap())).routes;
        assert_eq!(defaults.into_iter().collect::<Vec<_>>(), [v4[1].clone(), v4[2].clone()]);
        let defaults = kernel.look(Part::Route("::/0".parse().unwrap())).routes;
        assert_eq!(defaults.into_iter().collect::<Vec<_>>(), [v6[1].clone()]);

        for route in v4.iter().chain(&v6) {
            kernel.apply(Step::Route(RouteStep::Del(route.clone())));
        }
        assert_eq!(kernel.look(Part::Network).routes, before);
    });
}

/// One question each, and the answer is what a listing and the model say.
#[test]
fn one_route_through_one_link() {
    in_netns("objects::one_route_through_one_link", || {
        let mut kernel = Kernel::open();
        for (link, peer) in [("vif1.0", "p0"), ("vif2.0", "p1"), ("down0", "p2")] {
            kernel.veth(link, peer);
        }
        for link in ["vif1.0", "vif2.0"] {
            kernel.set(link, LinkChange::default().with_addr_gen_mode(AddrGenMode::None));
            kernel.up(link);
            kernel.address(link, "fe80::1/64");
        }
        kernel.address("vif1.0", "192.0.2.1/32");
        let to = |to: &str, link: &str, metric| Route::to(to.parse().unwrap(), name(link)).with_metric(metric);
        let routes = [
            to("10.0.0.1/32", "vif1.0", 2).with_source(Some("192.0.2.1".parse().unwrap())).with_protocol(120),
            to("10.0.0.1/32", "vif2.0", 1),
            to("10.0.0.1/32", "vif1.0", 7),
            to("10.0.1.0/28", "vif1.0", 2),
            to("10.0.0.0/8", "vif2.0", 0),
            to("10.9.0.0/16", "vif1.0", 3).with_kind(RouteKind::Blackhole).with_link(None),
            to("2001:db8::1/128", "vif1.0", 2),
            to("2001:db8::1/128", "vif2.0", 1),
            to("2001:db8:1::/64", "vif2.0", 1),
        ];
        for route in routes {
            let scope = if route.kind == RouteKind::Blackhole { 0 } else { route.scope };
            kernel.apply(Step::Route(RouteStep::Add(route.with_scope(scope))));
        }
        let all = kernel.look(Part::Network);
        let mut there = 0;
        for link in ["vif1.0", "vif2.0", "down0", "vif9.0", "lo"] {
            for network in [
                "10.0.0.1/32",
                "10.0.0.2/32",
                "10.0.0.0/8",
                "10.0.1.0/28",
                "10.0.1.1/32",
                "10.9.0.0/16",
                "0.0.0.0/0",
                "192.0.2.1/32",
                "2001:db8::1/128",
                "2001:db8::2/128",
                "2001:db8:1::/64",
                "fe80::/64",
                "::/0",
            ] {
                let part = Part::RouteThrough(name(link), network.parse().unwrap());
                let model = all.seen(&Scope::none().with(part.clone()));
                let seen = kernel.look(part);
                assert_eq!(seen.routes, model.routes, "{network} through {link}");
                there += seen.routes.len();
            }
        }
        assert_eq!(there, 9);
        let ways = |kernel: &mut Kernel, all: &Snapshot| {
            let mut own = 0;
            for address in [
                "10.0.0.1",
                "10.0.0.2",
                "10.0.1.5",
                "10.9.9.9",
                "11.0.0.1",
                "192.0.2.1",
                "127.0.0.1",
                "2001:db8::1",
                "2001:db8::2",
                "2001:db8:1::9",
                "2001:db8:9::1",
            ] {
                let part = Part::Way(address.parse().unwrap());
                let model = all.seen(&Scope::none().with(part.clone()));
                let seen = kernel.look(part);
                // The model takes a way past a route that leads nowhere.
                if address != "10.9.9.9" {
                    assert_eq!(seen.routes, model.routes, "{address}");
                }
                own += usize::from(seen.routes.contains(&Route::own(address.parse().unwrap())));
            }
            own
        };
        assert_eq!(ways(&mut kernel, &all), 1);
        // One that is still tested for duplicates is not this domain's yet.
        kernel.apply(Step::Addr(AddrStep::Add(address("vif2.0", "2001:db8::2/64").with_nodad(true))));
        kernel.up("lo");
        // The kernel makes its route a little later.
        let way = "2001:db8::2".parse().unwrap();
        let begin = Instant::now();
        while !kernel.look(Part::Way(way)).routes.contains(&Route::own(way)) {
            assert!(begin.elapsed() < Duration::from_secs(10), "it is not this domain's");
        }
        let all = kernel.look(Part::Network);
        assert_eq!(ways(&mut kernel, &all), 3);
    });
}

#[test]
fn policy_rules_of_both_families() {
    in_netns("objects::policy_rules_of_both_families", || {
        let mut kernel = Kernel::open();
        let before = kernel.look(Part::Rules).rules;
        // 0 local, 32766 main, 32767 default; IPv6 has no "default".
        assert_eq!(before.len(), 5, "{before:#?}");
        let rule = |family, priority, action| Rule::for_all(family, priority, action).with_protocol(4);
        let all = [
            rule(Family::Ipv4, 100, RuleAction::Table(1000)).with_from(Some("192.0.2.0/24".parse().unwrap())),
            rule(Family::Ipv4, 101, RuleAction::Table(9)).with_to(Some("192.0.2.7/32".parse().unwrap())).with_not(true),
            rule(Family::Ipv4, 102, RuleAction::Goto(32766)).with_mark((0x10, 0xff)),
            rule(Family::Ipv4, 103, RuleAction::Blackhole).with_iif(name("vif1.0")),
            rule(Family::Ipv4, 104, RuleAction::Unreachable).with_oif(name("eth0")),
            rule(Family::Ipv4, 105, RuleAction::Prohibit),
            rule(Family::Ipv4, 106, RuleAction::Nop),
            rule(Family::Ipv6, 100, RuleAction::Table(1000)).with_from(Some("2001:db8::/32".parse().unwrap())),
        ];
        for rule in &all {
            kernel.apply(Step::Rule(RuleStep::Add(rule.clone())));
        }
        let seen = kernel.look(Part::Rules).rules;
        for rule in &all {
            assert!(seen.contains(rule), "{rule:#?}\nis not among\n{seen:#?}");
        }
        assert_eq!(seen.len(), before.len() + all.len());
        for rule in all {
            kernel.apply(Step::Rule(RuleStep::Del(rule)));
        }
        assert_eq!(kernel.look(Part::Rules).rules, before);
    });
}

#[test]
fn permanent_and_proxy_neighbours() {
    in_netns("objects::permanent_and_proxy_neighbours", || {
        let mut kernel = Kernel::open();
        kernel.veth("vif1.0", "p0");
        kernel.veth("vif2.0", "p1");
        // With a carrier: a moment after a link has none, its neighbours are forgotten (arp_evict_nocarrier).
        kernel.up("p0");
        kernel.up("vif1.0");
        let neighbour = |link: &str, text: &str, kind| Neighbour::new(name(link), text.parse().unwrap(), kind);
        let mut all = vec![
            neighbour("vif1.0", "192.0.2.1", NeighbourKind::Permanent(mac(1))),
            neighbour("vif1.0", "192.0.2.2", NeighbourKind::Proxy),
            neighbour("vif1.0", "2001:db8::1", NeighbourKind::Permanent(mac(2))),
            neighbour("vif1.0", "2001:db8::2", NeighbourKind::Proxy),
        ];
        let other = neighbour("vif2.0", "192.0.2.2", NeighbourKind::Proxy);
        for neighbour in all.iter().chain([&other]) {
            kernel.apply(Step::Neigh(NeighStep::Add(neighbour.clone())));
        }
        let seen = kernel.look(Part::Neighbours(name("vif1.0"))).neighbours;
        all.sort();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
        assert_eq!(kernel.look(Part::Network).neighbours.len(), 5);
        for neighbour in all {
            kernel.apply(Step::Neigh(NeighStep::Del(neighbour)));
        }
        assert!(kernel.look(Part::Neighbours(name("vif1.0"))).neighbours.is_empty());
        assert_eq!(kernel.look(Part::Network).neighbours.into_iter().collect::<Vec<_>>(), [other]);
    });
}

#[test]
fn settings_are_those_of_the_namespace() {
    in_netns("objects::settings_are_those_of_the_namespace", || {
        let mut kernel = Kernel::open();
        kernel.veth("vif1.0", "p0");
        let key = SysctlKey::conf(Family::Ipv4, &name("vif1.0"), "proxy_arp");
        assert_eq!(kernel.look(Part::Sysctl(key.clone())).sysctls.get(&key), Some("0"));
        kernel.apply(Step::Sysctl(SysctlStep { key: key.clone(), value: "1".into() }));
        assert_eq!(kernel.look(Part::Sysctl(key.clone())).sysctls.get(&key), Some("1"));

        let forwarding = SysctlKey::forwarding(Family::Ipv4);
        kernel.apply(Step::Sysctl(SysctlStep { key: forwarding.clone(), value: "1".into() }));
        let all = SysctlKey::conf(Family::Ipv4, &name("vif1.0"), "forwarding");
        let scope = Scope::from_iter([Part::Sysctl(forwarding.clone()), Part::Sysctl(all.clone())]);
        let seen = kernel.0.observe(&scope).unwrap();
        assert_eq!([&forwarding, &all].map(|key| seen.sysctls.get(key)), [Some("1"); 2]);

        let missing = SysctlKey::conf(Family::Ipv4, &name("vif9.0"), "proxy_arp");
        assert!(kernel.look(Part::Sysctl(missing)).sysctls.is_empty());
    });
}

#[test]
fn an_nft_table_comes_and_goes() {
    in_netns("objects::an_nft_table_comes_and_goes", || {
        let mut kernel = Kernel::open();
        if !kernel.0.capabilities().nft {
            eprintln!("skipped: this kernel has no nftables");
            return;
        }
        let table = NftTableId { family: NftFamily::Bridge, name: "foreign".into() };
        let part = Part::Nft(table.clone());
        let transaction = |op| Step::Nft(NftTransaction::new(table.clone(), vec![op]));
        assert!(kernel.look(part.clone()).nft.is_empty());
        kernel.apply(transaction(NftOp::AddTable));
        assert!(kernel.look(part.clone()).nft.contains_key(&table));
        // The network holds our own tables only.
        assert!(kernel.look(Part::Network).nft.is_empty());
        kernel.apply(transaction(NftOp::DelTable));
        assert!(kernel.look(part).nft.is_empty());
    });
}
