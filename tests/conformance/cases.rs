//! The cases: what the kernel does, and what it refuses.

use xennet_core::snapshot::{
    AddrGenMode, Address, Family, NeighbourKind, NftExpr, NftFamily, NftRule, NftTableId, Route, RouteKind, Rule,
    RuleAction, VethPeer,
};
use xennet_core::step::{
    AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, NftOp, NftTransaction,
    PortChange, PortStep, RouteStep, RuleStep, Step,
};
use xennet_core::{Errno, MacAddr};

use crate::bench::*;

/// One message is not atomic: what was done before the refusal stays.
pub(crate) fn a_refused_change_of_a_link_may_have_happened_in_part(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1), cable("v1", 2)]);
    let change = LinkChange { mtu: Some(1400), up: Some(true), txqueuelen: Some(7), ..under("v1") };
    b.refused(set("v0", change), Errno::EOPNOTSUPP);
    let link = b.link("v0");
    assert_eq!((link.mtu, link.up), (1400, true), "MTU and flags come before the master");
    assert_eq!((link.txqueuelen, link.master), (1000, None), "the queue length comes after it");
}

/// A port that is offered to something that is no bridge has left its own.
pub(crate) fn a_port_loses_its_bridge_to_one_that_is_none(b: &mut Bench<'_>) {
    b.ok([bridge("br0", 9), cable("v0", 1), set("v0", under("br0"))]);
    b.refused(set("v0", under("v0p")), Errno::EOPNOTSUPP);
    assert_eq!(b.link("v0").master, None);
}

pub(crate) fn an_nft_transaction_happens_wholly_or_not_at_all(b: &mut Bench<'_>) {
    let table = NftTableId::new(NftFamily::Inet, "xennet-conformance");
    let rule = NftRule { exprs: vec![NftExpr::Counter], comment: None };
    let ops = vec![
        NftOp::AddTable,
        NftOp::AddChain { chain: "a".into(), base: None },
        NftOp::AddRule { chain: "missing".into(), rule },
    ];
    b.refused(Step::Nft(NftTransaction { table: table.clone(), ops }), Errno::ENOENT);
    assert!(!b.see().nft.contains_key(&table));
}

pub(crate) fn the_last_ipv4_address_takes_every_route_with_it(b: &mut Bench<'_>) {
    b.uplink();
    b.ok([add_route(route("203.0.113.0/24", "eth0"))]);
    b.ok([del(address("eth0", "192.0.2.2/24"))]);
    assert_eq!(b.routes(), [""; 0]);
}

pub(crate) fn one_of_several_addresses_takes_what_leans_on_it(b: &mut Bench<'_>) {
    b.uplink();
    let source = Some("198.51.100.2".parse().expect("an address"));
    b.ok([
        add(address("eth0", "198.51.100.2/24")),
        add_route(xennet_core::snapshot::Route { source, ..route("203.0.113.0/24", "eth0") }),
        del(address("eth0", "198.51.100.2/24")),
    ]);
    assert_eq!(
        b.routes(),
        ["default via 192.0.2.1 dev eth0 proto boot", "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2"]
    );
}

pub(crate) fn an_uplink_keeps_address_and_routes_as_a_port(b: &mut Bench<'_>) {
    b.uplink();
    let before = b.routes();
    b.ok([bridge("xenbr0", 9), set("xenbr0", up()), set("eth0", under("xenbr0"))]);
    assert_eq!(b.routes(), before);
    assert_eq!(b.addresses("eth0"), ["192.0.2.2/24 dev eth0"]);
}

pub(crate) fn two_links_can_have_the_same_address(b: &mut Bench<'_>) {
    b.uplink();
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "192.0.2.2/24"))]);
    assert_eq!(b.routes().iter().filter(|r| r.starts_with("192.0.2.0/24")).count(), 2);
}

pub(crate) fn a_primary_address_takes_its_secondaries_with_it(b: &mut Bench<'_>) {
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        add(address("v0", "192.0.2.1/24")),
        add(address("v0", "192.0.2.2/24")),
        add(address("v0", "198.51.100.1/24")),
    ]);
    assert!(b.addresses("v0").contains(&"192.0.2.2/24 dev v0 secondary".into()));
    b.ok([del(address("v0", "192.0.2.1/24"))]);
    assert_eq!(b.addresses("v0"), ["198.51.100.1/24 dev v0"]);
}

pub(crate) fn a_secondary_address_is_promoted_where_that_is_set(b: &mut Bench<'_>) {
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        write("net/ipv4/conf/v0/promote_secondaries", "1"),
        add(address("v0", "192.0.2.9/24")),
        add(address("v0", "192.0.2.3/24")),
        add(address("v0", "192.0.2.2/24")),
        del(address("v0", "192.0.2.9/24")),
    ]);
    // The eldest, not the smallest.
    assert_eq!(b.addresses("v0"), ["192.0.2.2/24 dev v0 secondary", "192.0.2.3/24 dev v0"]);
    assert_eq!(b.routes(), ["192.0.2.0/24 dev v0 proto kernel scope link src 192.0.2.3"]);
}

pub(crate) fn down_and_up_costs_routes_and_ipv6_addresses(b: &mut Bench<'_>) {
    b.uplink();
    b.ok([add(address("eth0", "2001:db8::2/64")), add_route(via("::/0", "2001:db8::1", "eth0"))]);
    assert_eq!(b.routes().len(), 4);
    b.ok([set("eth0", LinkChange { up: Some(false), ..LinkChange::default() })]);
    assert_eq!(b.routes(), [""; 0]);
    b.ok([set("eth0", up())]);
    assert_eq!(b.routes(), ["192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2"]);
    assert_eq!(b.addresses("eth0"), ["192.0.2.2/24 dev eth0"]);
}

pub(crate) fn a_route_wants_its_link_up(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1), add(address("v0", "192.0.2.1/24"))]);
    b.refused(add_route(route("203.0.113.0/24", "v0")), Errno::ENETDOWN);
    b.refused(add_route(route("2001:db8:9::/48", "v0")), Errno::ENETDOWN);
}

pub(crate) fn a_bridge_follows_its_ports_until_told_otherwise(b: &mut Bench<'_>) {
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
    b.ok([
        following_bridge("br0"),
        cable("v0", 2),
        cable("v1", 1),
        set("v0", LinkChange { mtu: Some(1400), ..under("br0") }),
    ]);
    assert_eq!((b.link("br0").mac, b.link("br0").mtu), (Some(mac(2)), 1400));
    b.ok([set("v1", under("br0"))]);
    assert_eq!((b.link("br0").mac, b.link("br0").mtu), (Some(mac(1)), 1400), "the lowest MAC, the smallest MTU");
    b.ok([set("v0", mtu(1300))]);
    assert_eq!(b.link("br0").mtu, 1300);
    b.ok([
        set("br0", LinkChange { mac: Some(mac(7)), mtu: Some(1450), ..LinkChange::default() }),
        set("v0", mtu(1200)),
        delete("v1"),
    ]);
    assert_eq!((b.link("br0").mac, b.link("br0").mtu), (Some(mac(7)), 1450), "set by hand");
}

pub(crate) fn a_bridge_without_ports_has_no_address_left(b: &mut Bench<'_>) {
    b.ok([following_bridge("br0"), cable("v0", 2), set("v0", under("br0")), delete("v0")]);
    assert_eq!((b.link("br0").mac, b.link("br0").mtu), (Some(MacAddr::new([0; 6])), 1500));
}

pub(crate) fn a_bridge_is_no_port(b: &mut Bench<'_>) {
    b.ok([bridge("br0", 1), bridge("br1", 2)]);
    b.refused(set("br0", under("br1")), Errno::ELOOP);
    b.refused(set("br0", under("br0")), Errno::ELOOP);
    b.refused(set("lo", under("br0")), Errno::EINVAL);
}

pub(crate) fn a_port_moves_without_a_word(b: &mut Bench<'_>) {
    b.ok([bridge("br0", 8), bridge("br1", 9), cable("v0", 1), set("v0", under("br0"))]);
    let change = PortChange { isolated: Some(true), ..PortChange::default() };
    b.ok([Step::Port(PortStep::Set { port: at("v0"), change, up: Some(true) })]);
    assert!(b.link("v0").port.is_some_and(|p| p.isolated) && b.link("v0").up);
    b.ok([set("v0", under("br1"))]);
    let link = b.link("v0");
    assert_eq!(link.master, Some(name("br1")));
    assert!(link.port.is_some_and(|p| !p.isolated), "its settings are new again");
}

pub(crate) fn a_link_that_is_up_can_be_renamed(b: &mut Bench<'_>) {
    b.uplink();
    let new = set("eth0", LinkChange { name: Some(name("uplink")), ..LinkChange::default() });
    b.ok([write("net/ipv4/conf/eth0/proxy_arp", "1")]);
    if let Err(e) = b.0.apply(&new) {
        // Before Linux 6.2: nothing that we plan renames a link that is up.
        assert_eq!(e.errno, Errno::EBUSY);
        assert!(b.link("eth0").up && !b.has("uplink"));
        return;
    }
    assert!(b.link("uplink").up && !b.has("eth0"));
    assert_eq!(b.link("eth0p").peer, Some(VethPeer::Here(name("uplink"))));
    assert_eq!(b.routes()[0], "default via 192.0.2.1 dev uplink proto boot");
    assert_eq!(b.setting("net/ipv4/conf/uplink/proxy_arp").as_deref(), Some("1"), "settings move along");
    assert_eq!(b.setting("net/ipv4/conf/eth0/proxy_arp"), None);
}

pub(crate) fn renaming_gives_labels_to_all_addresses_but_the_first(b: &mut Bench<'_>) {
    b.ok([
        cable("v0", 1),
        add(address("v0", "192.0.2.1/24")),
        add(address("v0", "198.51.100.1/24")),
        add(Address { label: Some("v0:x".into()), ..address("v0", "203.0.113.1/24") }),
        set("v0", LinkChange { name: Some(name("w")), ..LinkChange::default() }),
    ]);
    assert_eq!(
        b.addresses("w"),
        ["192.0.2.1/24 dev w", "198.51.100.1/24 dev w label w:2", "203.0.113.1/24 dev w label w:x"]
    );
}

pub(crate) fn forwarding_goes_to_every_link_once(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1), write("net/ipv4/ip_forward", "1")]);
    assert_eq!(b.setting("net/ipv4/conf/v0/forwarding").as_deref(), Some("1"));
    assert_eq!(b.setting("net/ipv4/conf/default/forwarding").as_deref(), Some("1"));
    assert_eq!(b.setting("net/ipv4/conf/all/accept_redirects").as_deref(), Some("0"));
    b.ok([write("net/ipv4/conf/v0/forwarding", "0"), write("net/ipv4/ip_forward", "1")]);
    assert_eq!(b.setting("net/ipv4/conf/v0/forwarding").as_deref(), Some("0"), "writing 1 again changes nothing");
    b.ok([cable("v1", 2)]);
    assert_eq!(b.setting("net/ipv4/conf/v1/forwarding").as_deref(), Some("1"), "new links too");
}

pub(crate) fn settings_are_addressed_by_path(b: &mut Bench<'_>) {
    b.ok([cable("vif1.0", 1), write("net/ipv4/conf/vif1.0/proxy_arp", "1")]);
    assert_eq!(b.setting("net/ipv4/conf/vif1.0/proxy_arp").as_deref(), Some("1"));
    b.refused(write("net/ipv4/conf/vif2.0/proxy_arp", "1"), Errno::ENOENT);
    b.refused(write("net/ipv4/conf/vif1.0/proxy_arp", "yes"), Errno::EINVAL);
}

pub(crate) fn the_other_end_of_a_cable_goes_too(b: &mut Bench<'_>) {
    b.ok([bridge("br0", 9), cable("v0", 1), set("v0p", under("br0")), add_station(station("v0p", 0x50))]);
    b.ok([delete("v0")]);
    let seen = b.see();
    assert!(!seen.links.contains_key("v0p") && seen.fdb.iter().all(|e| e.link == "br0"));
    assert_eq!(b.setting("net/ipv4/conf/v0p/forwarding"), None);
}

pub(crate) fn twice_is_once_too_often(b: &mut Bench<'_>) {
    b.uplink();
    let (a, r) = (address("eth0", "192.0.2.2/24"), via("0.0.0.0/0", "192.0.2.1", "eth0"));
    let n = neighbour("eth0", "192.0.2.50", NeighbourKind::Permanent(mac(5)));
    let rule = rule(1000, RuleAction::Table(100));
    b.ok([add_neighbour(n.clone()), Step::Rule(RuleStep::Add(rule.clone()))]);
    b.refused(add(a.clone()), Errno::EEXIST);
    b.refused(add_route(r.clone()), Errno::EEXIST);
    b.refused(add_neighbour(n.clone()), Errno::EEXIST);
    b.refused(Step::Rule(RuleStep::Add(rule.clone())), Errno::EEXIST);
    b.refused(cable("eth0", 1), Errno::EEXIST);
    b.ok([
        Step::Route(RouteStep::Del(r.clone())),
        Step::Neigh(NeighStep::Del(n.clone())),
        Step::Rule(RuleStep::Del(rule.clone())),
        Step::Addr(AddrStep::Del(a.clone())),
    ]);
    b.refused(Step::Route(RouteStep::Del(r)), Errno::ESRCH);
    b.refused(Step::Neigh(NeighStep::Del(n)), Errno::ENOENT);
    b.refused(Step::Rule(RuleStep::Del(rule)), Errno::ENOENT);
    b.refused(Step::Addr(AddrStep::Del(a)), Errno::EADDRNOTAVAIL);
    b.refused(delete("missing"), Errno::ENODEV);
}

/// Add before delete, for a whole uplink: what an uplink's move is made of.
pub(crate) fn a_route_is_replaced_in_one_go(b: &mut Bench<'_>) {
    b.uplink();
    b.ok([bridge("br0", 9), set("br0", up())]);
    b.ok([add(address("br0", "192.0.2.2/24"))]);
    let old = via("0.0.0.0/0", "192.0.2.1", "eth0");
    let new = Route { link: Some(name("br0")), ..old.clone() };
    b.refused(add_route(new.clone()), Errno::EEXIST);
    b.ok([replace_route(new.clone())]);
    let routes = b.see().routes;
    assert!(routes.contains(&new) && !routes.contains(&old), "{routes:?}");
    // The same once more changes nothing; where there is none, it is made.
    b.ok([replace_route(new.clone()), replace_route(via("198.51.100.0/24", "192.0.2.9", "br0"))]);
    // IPv6: of all ways to a place none is left.
    let six = |gateway: &str, link: &str| via("2001:db8:9::/48", gateway, link);
    b.ok([add(address("br0", "2001:db8::2/64")), add(address("eth0", "2001:db8::2/64"))]);
    b.ok([add_route(six("2001:db8::1", "eth0"))]);
    b.refused(add_route(six("2001:db8::1", "br0")), Errno::EEXIST);
    b.ok([replace_route(six("2001:db8::1", "br0"))]);
    let ways: Vec<_> = b.see().routes.into_iter().filter(|r| r.destination == six("::1", "br0").destination).collect();
    assert!(matches!(&ways[..], [one] if one.link == Some(name("br0"))), "{ways:?}");
}

fn rule(priority: u32, action: RuleAction) -> Rule {
    Rule {
        family: Family::Ipv4,
        priority,
        from: Some("192.0.2.0/24".parse().expect("a network")),
        to: None,
        iif: None,
        oif: None,
        mark: None,
        not: false,
        action,
        protocol: 4,
    }
}

pub(crate) fn names_are_taken_once(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1), cable("v1", 2)]);
    let new = |to| LinkChange { mtu: Some(1400), name: Some(name(to)), ..LinkChange::default() };
    b.refused(set("v0", new("v1")), Errno::EEXIST);
    assert_eq!(b.link("v0").mtu, 1400, "the MTU comes before the name");
    b.ok([set("v0", new("v0"))]);
}

pub(crate) fn an_index_names_that_very_link(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1)]);
    let index = b.link("v0").index;
    let by = |index| LinkRef { name: name("v0"), index: Some(index) };
    let set = |link| Step::Link(LinkStep::Set { link, change: up() });
    b.ok([set(by(index))]);
    b.ok([delete("v0"), cable("v0", 1)]);
    b.refused(set(by(index)), Errno::ENODEV);
    assert!(!b.link("v0").up && b.link("v0").index > index, "indexes are not used twice");
}

pub(crate) fn hardware_addresses_belong_to_stations(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1), bridge("br0", 2)]);
    for link in ["v0", "br0"] {
        for bad in [[1, 0, 0, 0, 0, 0], [0; 6], [0xff; 6]] {
            let change = LinkChange { mac: Some(MacAddr::new(bad)), ..LinkChange::default() };
            b.refused(set(link, change), Errno::EADDRNOTAVAIL);
        }
    }
}

pub(crate) fn an_mtu_has_bounds(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1)]);
    for bad in [0, 67, 65536, u32::MAX] {
        b.refused(set("v0", LinkChange { mtu: Some(bad), ..LinkChange::default() }), Errno::EINVAL);
    }
    b.ok([set("v0", LinkChange { mtu: Some(65535), ..LinkChange::default() })]);
}

pub(crate) fn ipv6_ends_below_1280_bytes(b: &mut Bench<'_>) {
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "2001:db8::1/64")), set("v0", mtu(1279))]);
    assert_eq!((b.link("v0").addr_gen_mode, b.addresses("v0").len()), (None, 0));
    assert_eq!(b.setting("net/ipv6/conf/v0/forwarding"), None);
    b.refused(add(address("v0", "2001:db8::1/64")), Errno::EINVAL);
    let mode = LinkChange { addr_gen_mode: Some(AddrGenMode::None), ..LinkChange::default() };
    b.refused(set("v0", mode), Errno::EAFNOSUPPORT);
    b.ok([set("v0", mtu(1280)), add(address("v0", "2001:db8::1/64"))]);
}

pub(crate) fn ipv6_can_be_switched_off_for_a_link(b: &mut Bench<'_>) {
    let key = "net/ipv6/conf/v0/disable_ipv6";
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "2001:db8::1/64")), write(key, "1")]);
    assert_eq!((b.addresses("v0").len(), b.routes().len()), (0, 0));
    b.refused(add(address("v0", "2001:db8::1/64")), Errno::EACCES);
    b.refused(add_route(route("2001:db8:9::/48", "v0")), Errno::EACCES);
    b.ok([write(key, "0"), add(address("v0", "2001:db8::1/64"))]);
}

pub(crate) fn loopback_cannot_be_removed(b: &mut Bench<'_>) {
    b.refused(delete("lo"), Errno::EOPNOTSUPP);
    b.ok([set("lo", up())]);
    assert_eq!(b.addresses("lo"), ["127.0.0.1/8 dev lo scope host", "::1/128 dev lo scope host"]);
}

pub(crate) fn port_settings_want_a_port(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1)]);
    let change = PortChange { isolated: Some(true), ..PortChange::default() };
    let step = Step::Port(PortStep::Set { port: at("v0"), change, up: Some(true) });
    b.refused(step, Errno::EOPNOTSUPP);
    assert!(!b.link("v0").up, "the settings come before the flags");
    b.refused(add_station(station("v0", 0x50)), Errno::EOPNOTSUPP);
}

pub(crate) fn stations_are_behind_one_port(b: &mut Bench<'_>) {
    b.ok([bridge("br0", 9), cable("v0", 1), cable("v1", 2), set("v0", under("br0")), set("v1", under("br0"))]);
    b.ok([add_station(station("v0", 0x50))]);
    b.refused(add_station(station("v0", 0x50)), Errno::EEXIST);
    b.refused(add_station(station("v1", 0x50)), Errno::EEXIST);
    b.refused(Step::Port(PortStep::FdbDel { entry: station("v1", 0x50) }), Errno::ENOENT);
    b.ok([set("v0", LinkChange { master: Some(NewMaster::None), ..LinkChange::default() })]);
    assert!(b.see().fdb.iter().all(|e| e.link != "v0"), "a port that leaves takes its stations along");
}

pub(crate) fn the_spanning_tree_has_bounds_for_its_delay(b: &mut Bench<'_>) {
    let bridge_change = |bridge| LinkChange { bridge, ..LinkChange::default() };
    let delay = |cs| bridge_change(BridgeChange { forward_delay_cs: Some(cs), ..BridgeChange::default() });
    let stp = bridge_change(BridgeChange { stp: Some(true), ..BridgeChange::default() });
    b.ok([bridge("br0", 9), set("br0", delay(0)), set("br0", stp)]);
    assert_eq!(b.link("br0").bridge.map(|s| s.forward_delay_cs), Some(200), "brought into its range");
    b.refused(set("br0", delay(0)), Errno::ERANGE);
    b.refused(set("br0", delay(3100)), Errno::ERANGE);
    b.ok([cable("v0", 1)]);
    b.refused(set("v0", delay(0)), Errno::EOPNOTSUPP);
}

pub(crate) fn a_gateway_must_be_reachable(b: &mut Bench<'_>) {
    b.uplink();
    b.ok([add(address("eth0", "2001:db8::2/64"))]);
    let onlink = |r| xennet_core::snapshot::Route { onlink: true, ..r };
    b.refused(add_route(via("203.0.113.0/24", "198.51.100.1", "eth0")), Errno::ENETUNREACH);
    b.refused(add_route(via("203.0.113.0/24", "192.0.2.255", "eth0")), Errno::EINVAL);
    b.refused(add_route(via("2001:db8:9::/48", "2001:db8:8::1", "eth0")), Errno::EHOSTUNREACH);
    b.refused(add_route(via("2001:db8:9::/48", "2001:db8::2", "eth0")), Errno::EINVAL);
    b.ok([
        add_route(onlink(via("203.0.113.0/24", "198.51.100.1", "eth0"))),
        add_route(via("2001:db8:9::/48", "fe80::1", "eth0")),
    ]);
}

pub(crate) fn routes_are_checked(b: &mut Bench<'_>) {
    b.uplink();
    b.refused(add_route(route("203.0.113.1/24", "eth0")), Errno::EINVAL);
    let source = Some("198.51.100.7".parse().expect("an address"));
    b.refused(add_route(xennet_core::snapshot::Route { source, ..route("203.0.113.0/24", "eth0") }), Errno::EINVAL);
    let blackhole =
        xennet_core::snapshot::Route { kind: RouteKind::Blackhole, scope: 0, ..route("203.0.113.0/24", "eth0") };
    b.refused(add_route(blackhole.clone()), Errno::EINVAL);
    b.ok([add_route(xennet_core::snapshot::Route { link: None, ..blackhole })]);
}

pub(crate) fn an_ipv6_route_outlives_its_source(b: &mut Bench<'_>) {
    let source = Some("2001:db8::2".parse().expect("an address"));
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        add(address("v0", "2001:db8::1/64")),
        add(address("v0", "2001:db8::2/64")),
        add_route(xennet_core::snapshot::Route { source, ..route("2001:db8:9::/48", "v0") }),
        del(address("v0", "2001:db8::2/64")),
    ]);
    assert_eq!(
        b.routes(),
        ["2001:db8::/64 dev v0 proto kernel metric 256", "2001:db8:9::/48 dev v0 proto boot metric 1024"]
    );
}

pub(crate) fn a_new_hardware_address_forgets_the_stations(b: &mut Bench<'_>) {
    let permanent = neighbour("v0", "192.0.2.50", NeighbourKind::Permanent(mac(0x50)));
    let proxy = neighbour("v0", "192.0.2.51", NeighbourKind::Proxy);
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "192.0.2.1/24"))]);
    b.ok([add_neighbour(permanent.clone()), add_neighbour(proxy.clone()), add_neighbour(proxy.clone())]);
    b.ok([set("v0", LinkChange { mac: Some(mac(7)), ..LinkChange::default() })]);
    assert_eq!(b.see().neighbours, std::collections::BTreeSet::from([proxy]));
    b.ok([add_neighbour(permanent), del(address("v0", "192.0.2.1/24"))]);
    assert!(b.see().neighbours.is_empty(), "the last address takes proxies along too");
}

pub(crate) fn policy_rules_do_not_go_back(b: &mut Bench<'_>) {
    b.refused(Step::Rule(RuleStep::Add(rule(1000, RuleAction::Goto(1000)))), Errno::EINVAL);
    b.ok([Step::Rule(RuleStep::Add(rule(1000, RuleAction::Goto(1001))))]);
}

pub(crate) fn a_bridge_that_cannot_be_made_leaves_nothing(b: &mut Bench<'_>) {
    b.ok([cable("v0", 1)]);
    let change = LinkChange { mac: Some(mac(2)), up: Some(true), ..under("v0") };
    let kind = NewLink::Veth { peer: name("v1p") };
    b.refused(Step::Link(LinkStep::Create { name: name("v1"), kind, change }), Errno::EOPNOTSUPP);
    assert!(!b.has("v1") && !b.has("v1p"));
}

pub(crate) fn notes_come_and_go(b: &mut Bench<'_>) {
    let note = |text: &str| LinkChange { alias: Some(text.into()), ..LinkChange::default() };
    b.ok([cable("v0", 1), set("v0", note("guest 5"))]);
    assert_eq!(b.link("v0").alias.as_deref(), Some("guest 5"));
    b.refused(set("v0", note(&"x".repeat(256))), Errno::ERANGE);
    b.ok([set("v0", note(""))]);
    assert_eq!(b.link("v0").alias, None);
}

pub(crate) fn broadcast_and_scope_are_kept(b: &mut Bench<'_>) {
    let a = Address { broadcast: Some(BROADCAST), scope: 253, ..address("v0", "192.0.2.1/24") };
    b.ok([cable("v0", 1), add(a.clone())]);
    assert_eq!(b.addresses("v0"), ["192.0.2.1/24 dev v0 broadcast 192.0.2.255 scope link"]);
    b.refused(add(address("v0", "192.0.2.2/24")), Errno::EINVAL);
}
