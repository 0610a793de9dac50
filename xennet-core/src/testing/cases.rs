//! The cases: what the kernel does, and what it refuses.

use std::collections::BTreeSet;

use crate::error::Errno;
use crate::model::{IfName, MacAddr, Tagging, Vid};
use crate::snapshot::{
    AddrGenMode, Address, Family, NeighbourKind, NftBase, NftChain, NftChainKind, NftElement, NftExpr, NftFamily,
    NftField, NftHook, NftKey, NftPolicy, NftRule, NftSet, NftTable, NftTableId, NftType, NftValue, NftVerdict, Part,
    PortVlan, Route, RouteKind, Rule, RuleAction, Scope, Snapshot, StorePath, VethPeer,
};
use crate::step::{
    AddrStep, BridgeChange, ForgetStep, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, NftOp,
    NftTransaction, PortChange, PortStep, RouteStep, RuleStep, Step, StoreOp, StoreTransaction,
};

use super::bench::*;
use super::conformance::Case;

macro_rules! all {
    ($($case:ident,)*) => { &[$(Case { name: stringify!($case), run: $case },)*] };
}

/// All of them, in the order in which they are run.
pub(super) const CASES: &[Case] = all![
    a_refused_change_of_a_link_may_have_happened_in_part,
    a_port_loses_its_bridge_to_one_that_is_none,
    an_nft_transaction_happens_wholly_or_not_at_all,
    the_last_ipv4_address_takes_every_route_with_it,
    one_of_several_addresses_takes_what_leans_on_it,
    an_uplink_keeps_address_and_routes_as_a_port,
    two_links_can_have_the_same_address,
    a_primary_address_takes_its_secondaries_with_it,
    a_secondary_address_is_promoted_where_that_is_set,
    down_and_up_costs_routes_and_ipv6_addresses,
    a_route_wants_its_link_up,
    a_bridge_follows_its_ports_until_told_otherwise,
    a_bridge_without_ports_has_no_address_left,
    a_bridge_is_no_port,
    a_port_moves_without_a_word,
    a_link_that_is_up_can_be_renamed,
    renaming_gives_labels_to_all_addresses_but_the_first,
    forwarding_goes_to_every_link_once,
    settings_are_addressed_by_path,
    the_other_end_of_a_cable_goes_too,
    twice_is_once_too_often,
    a_route_is_replaced_in_one_go,
    names_are_taken_once,
    an_index_names_that_very_link,
    hardware_addresses_belong_to_stations,
    an_mtu_has_bounds,
    ipv6_ends_below_1280_bytes,
    ipv6_can_be_switched_off_for_a_link,
    loopback_cannot_be_removed,
    port_settings_want_a_port,
    stations_are_behind_one_port,
    the_spanning_tree_has_bounds_for_its_delay,
    a_gateway_must_be_reachable,
    routes_are_checked,
    an_ipv6_route_outlives_its_source,
    a_new_hardware_address_forgets_the_stations,
    policy_rules_do_not_go_back,
    a_bridge_that_cannot_be_made_leaves_nothing,
    notes_come_and_go,
    broadcast_and_scope_are_kept,
    elements_of_a_set_come_and_go,
    a_rule_is_put_first_and_found_by_its_content,
    a_port_has_the_vlans_that_it_is_given,
    a_store_transaction_happens_wholly_or_not_at_all,
    what_was_never_learned_is_forgotten_all_the_same,
    a_missing_object_is_absent,
    a_narrow_look_sees_what_a_wide_one_sees,
];

/// One message is not atomic: what was done before the refusal stays.
fn a_refused_change_of_a_link_may_have_happened_in_part(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1), cable("v1", 2)])?;
    let change = LinkChange { mtu: Some(1400), up: Some(true), txqueuelen: Some(7), ..under("v1") };
    b.refused(set("v0", change), Errno::EOPNOTSUPP)?;
    let link = b.link("v0")?;
    same!((link.mtu, link.up), (1400, true), "MTU and flags come before the master");
    same!((link.txqueuelen, link.master), (1000, None), "the queue length comes after it");
    Ok(())
}

/// A port that is offered to something that is no bridge has left its own.
fn a_port_loses_its_bridge_to_one_that_is_none(b: &mut Bench<'_>) -> Outcome {
    b.ok([bridge("br0", 9), cable("v0", 1), set("v0", under("br0"))])?;
    b.refused(set("v0", under("v0p")), Errno::EOPNOTSUPP)?;
    same!(b.link("v0")?.master, None);
    Ok(())
}

/// The table of the cases.
fn table() -> NftTableId {
    NftTableId::new(NftFamily::Inet, "xennet-conformance")
}

fn an_nft_transaction_happens_wholly_or_not_at_all(b: &mut Bench<'_>) -> Outcome {
    if !b.0.capabilities().nft {
        return Ok(());
    }
    let table = table();
    let rule = NftRule { exprs: vec![NftExpr::Counter], comment: None };
    let ops = vec![
        NftOp::AddTable,
        NftOp::AddChain { chain: "a".into(), base: None },
        NftOp::AddRule { chain: "missing".into(), rule },
    ];
    b.refused(Step::Nft(NftTransaction { table: table.clone(), ops }), Errno::ENOENT)?;
    holds!(!b.see()?.nft.contains_key(&table));
    Ok(())
}

fn the_last_ipv4_address_takes_every_route_with_it(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([add_route(route("203.0.113.0/24", "eth0"))])?;
    b.ok([del(address("eth0", "192.0.2.2/24"))])?;
    same!(b.routes()?, [""; 0]);
    Ok(())
}

fn one_of_several_addresses_takes_what_leans_on_it(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    let source = Some("198.51.100.2".parse().expect("an address"));
    b.ok([
        add(address("eth0", "198.51.100.2/24")),
        add_route(Route { source, ..route("203.0.113.0/24", "eth0") }),
        del(address("eth0", "198.51.100.2/24")),
    ])?;
    same!(
        b.routes()?,
        ["default via 192.0.2.1 dev eth0 proto boot", "192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2"]
    );
    Ok(())
}

fn an_uplink_keeps_address_and_routes_as_a_port(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    let before = b.routes()?;
    b.ok([bridge("xenbr0", 9), set("xenbr0", up()), set("eth0", under("xenbr0"))])?;
    same!(b.routes()?, before);
    same!(b.addresses("eth0")?, ["192.0.2.2/24 dev eth0"]);
    Ok(())
}

fn two_links_can_have_the_same_address(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "192.0.2.2/24"))])?;
    same!(b.routes()?.iter().filter(|r| r.starts_with("192.0.2.0/24")).count(), 2);
    Ok(())
}

fn a_primary_address_takes_its_secondaries_with_it(b: &mut Bench<'_>) -> Outcome {
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        add(address("v0", "192.0.2.1/24")),
        add(address("v0", "192.0.2.2/24")),
        add(address("v0", "198.51.100.1/24")),
    ])?;
    holds!(b.addresses("v0")?.contains(&"192.0.2.2/24 dev v0 secondary".into()));
    b.ok([del(address("v0", "192.0.2.1/24"))])?;
    same!(b.addresses("v0")?, ["198.51.100.1/24 dev v0"]);
    Ok(())
}

fn a_secondary_address_is_promoted_where_that_is_set(b: &mut Bench<'_>) -> Outcome {
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        write("net/ipv4/conf/v0/promote_secondaries", "1"),
        add(address("v0", "192.0.2.9/24")),
        add(address("v0", "192.0.2.3/24")),
        add(address("v0", "192.0.2.2/24")),
        del(address("v0", "192.0.2.9/24")),
    ])?;
    // The eldest, not the smallest.
    same!(b.addresses("v0")?, ["192.0.2.2/24 dev v0 secondary", "192.0.2.3/24 dev v0"]);
    same!(b.routes()?, ["192.0.2.0/24 dev v0 proto kernel scope link src 192.0.2.3"]);
    Ok(())
}

fn down_and_up_costs_routes_and_ipv6_addresses(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([add(address("eth0", "2001:db8::2/64")), add_route(via("::/0", "2001:db8::1", "eth0"))])?;
    same!(b.routes()?.len(), 4);
    b.ok([set("eth0", LinkChange { up: Some(false), ..LinkChange::default() })])?;
    same!(b.routes()?, [""; 0]);
    b.ok([set("eth0", up())])?;
    same!(b.routes()?, ["192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.2"]);
    same!(b.addresses("eth0")?, ["192.0.2.2/24 dev eth0"]);
    Ok(())
}

fn a_route_wants_its_link_up(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1), add(address("v0", "192.0.2.1/24"))])?;
    b.refused(add_route(route("203.0.113.0/24", "v0")), Errno::ENETDOWN)?;
    b.refused(add_route(route("2001:db8:9::/48", "v0")), Errno::ENETDOWN)?;
    Ok(())
}

fn a_bridge_follows_its_ports_until_told_otherwise(b: &mut Bench<'_>) -> Outcome {
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
    b.ok([
        following_bridge("br0"),
        cable("v0", 2),
        cable("v1", 1),
        set("v0", LinkChange { mtu: Some(1400), ..under("br0") }),
    ])?;
    same!((b.link("br0")?.mac, b.link("br0")?.mtu), (Some(mac(2)), 1400));
    b.ok([set("v1", under("br0"))])?;
    same!((b.link("br0")?.mac, b.link("br0")?.mtu), (Some(mac(1)), 1400), "the lowest MAC, the smallest MTU");
    b.ok([set("v0", mtu(1300))])?;
    same!(b.link("br0")?.mtu, 1300);
    b.ok([
        set("br0", LinkChange { mac: Some(mac(7)), mtu: Some(1450), ..LinkChange::default() }),
        set("v0", mtu(1200)),
        delete("v1"),
    ])?;
    same!((b.link("br0")?.mac, b.link("br0")?.mtu), (Some(mac(7)), 1450), "set by hand");
    Ok(())
}

fn a_bridge_without_ports_has_no_address_left(b: &mut Bench<'_>) -> Outcome {
    b.ok([following_bridge("br0"), cable("v0", 2), set("v0", under("br0")), delete("v0")])?;
    same!((b.link("br0")?.mac, b.link("br0")?.mtu), (Some(MacAddr::new([0; 6])), 1500));
    Ok(())
}

fn a_bridge_is_no_port(b: &mut Bench<'_>) -> Outcome {
    b.ok([bridge("br0", 1), bridge("br1", 2)])?;
    b.refused(set("br0", under("br1")), Errno::ELOOP)?;
    b.refused(set("br0", under("br0")), Errno::ELOOP)?;
    b.refused(set("lo", under("br0")), Errno::EINVAL)?;
    Ok(())
}

fn a_port_moves_without_a_word(b: &mut Bench<'_>) -> Outcome {
    b.ok([bridge("br0", 8), bridge("br1", 9), cable("v0", 1), set("v0", under("br0"))])?;
    let change = PortChange { isolated: Some(true), ..PortChange::default() };
    b.ok([Step::Port(PortStep::Set { port: at("v0"), change, up: Some(true) })])?;
    holds!(b.link("v0")?.port.is_some_and(|p| p.isolated) && b.link("v0")?.up);
    b.ok([set("v0", under("br1"))])?;
    let link = b.link("v0")?;
    same!(link.master, Some(name("br1")));
    holds!(link.port.is_some_and(|p| !p.isolated), "its settings are new again");
    Ok(())
}

fn a_link_that_is_up_can_be_renamed(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    let new = set("eth0", LinkChange { name: Some(name("uplink")), ..LinkChange::default() });
    b.ok([write("net/ipv4/conf/eth0/proxy_arp", "1")])?;
    if let Err(e) = b.0.apply(&new) {
        // Before Linux 6.2: nothing that we plan renames a link that is up.
        same!(e.errno, Errno::EBUSY);
        holds!(b.link("eth0")?.up && !b.has("uplink")?);
        return Ok(());
    }
    holds!(b.link("uplink")?.up && !b.has("eth0")?);
    same!(b.link("eth0p")?.peer, Some(VethPeer::Here(name("uplink"))));
    same!(b.routes()?.first().map(String::as_str), Some("default via 192.0.2.1 dev uplink proto boot"));
    same!(b.setting("net/ipv4/conf/uplink/proxy_arp")?.as_deref(), Some("1"), "settings move along");
    same!(b.setting("net/ipv4/conf/eth0/proxy_arp")?, None);
    Ok(())
}

fn renaming_gives_labels_to_all_addresses_but_the_first(b: &mut Bench<'_>) -> Outcome {
    b.ok([
        cable("v0", 1),
        add(address("v0", "192.0.2.1/24")),
        add(address("v0", "198.51.100.1/24")),
        add(Address { label: Some("v0:x".into()), ..address("v0", "203.0.113.1/24") }),
        set("v0", LinkChange { name: Some(name("w")), ..LinkChange::default() }),
    ])?;
    same!(
        b.addresses("w")?,
        ["192.0.2.1/24 dev w", "198.51.100.1/24 dev w label w:2", "203.0.113.1/24 dev w label w:x"]
    );
    Ok(())
}

fn forwarding_goes_to_every_link_once(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1), write("net/ipv4/ip_forward", "1")])?;
    same!(b.setting("net/ipv4/conf/v0/forwarding")?.as_deref(), Some("1"));
    same!(b.setting("net/ipv4/conf/default/forwarding")?.as_deref(), Some("1"));
    same!(b.setting("net/ipv4/conf/all/accept_redirects")?.as_deref(), Some("0"));
    b.ok([write("net/ipv4/conf/v0/forwarding", "0"), write("net/ipv4/ip_forward", "1")])?;
    same!(b.setting("net/ipv4/conf/v0/forwarding")?.as_deref(), Some("0"), "writing 1 again changes nothing");
    b.ok([cable("v1", 2)])?;
    same!(b.setting("net/ipv4/conf/v1/forwarding")?.as_deref(), Some("1"), "new links too");
    Ok(())
}

fn settings_are_addressed_by_path(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("vif1.0", 1), write("net/ipv4/conf/vif1.0/proxy_arp", "1")])?;
    same!(b.setting("net/ipv4/conf/vif1.0/proxy_arp")?.as_deref(), Some("1"));
    b.refused(write("net/ipv4/conf/vif2.0/proxy_arp", "1"), Errno::ENOENT)?;
    b.refused(write("net/ipv4/conf/vif1.0/proxy_arp", "yes"), Errno::EINVAL)?;
    Ok(())
}

fn the_other_end_of_a_cable_goes_too(b: &mut Bench<'_>) -> Outcome {
    b.ok([bridge("br0", 9), cable("v0", 1), set("v0p", under("br0")), add_station(station("v0p", 0x50))])?;
    b.ok([delete("v0")])?;
    let seen = b.see()?;
    holds!(!seen.links.contains_key("v0p") && seen.fdb.iter().all(|e| e.link == "br0"));
    same!(b.setting("net/ipv4/conf/v0p/forwarding")?, None);
    Ok(())
}

fn twice_is_once_too_often(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    let (a, r) = (address("eth0", "192.0.2.2/24"), via("0.0.0.0/0", "192.0.2.1", "eth0"));
    let n = neighbour("eth0", "192.0.2.50", NeighbourKind::Permanent(mac(5)));
    let rule = rule(1000, RuleAction::Table(100));
    b.ok([add_neighbour(n.clone()), Step::Rule(RuleStep::Add(rule.clone()))])?;
    b.refused(add(a.clone()), Errno::EEXIST)?;
    b.refused(add_route(r.clone()), Errno::EEXIST)?;
    b.refused(add_neighbour(n.clone()), Errno::EEXIST)?;
    b.refused(Step::Rule(RuleStep::Add(rule.clone())), Errno::EEXIST)?;
    b.refused(cable("eth0", 1), Errno::EEXIST)?;
    b.ok([
        Step::Route(RouteStep::Del(r.clone())),
        Step::Neigh(NeighStep::Del(n.clone())),
        Step::Rule(RuleStep::Del(rule.clone())),
        Step::Addr(AddrStep::Del(a.clone())),
    ])?;
    b.refused(Step::Route(RouteStep::Del(r)), Errno::ESRCH)?;
    b.refused(Step::Neigh(NeighStep::Del(n)), Errno::ENOENT)?;
    b.refused(Step::Rule(RuleStep::Del(rule)), Errno::ENOENT)?;
    b.refused(Step::Addr(AddrStep::Del(a)), Errno::EADDRNOTAVAIL)?;
    b.refused(delete("missing"), Errno::ENODEV)?;
    Ok(())
}

/// Add before delete, for a whole uplink: what an uplink's move is made of.
fn a_route_is_replaced_in_one_go(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([bridge("br0", 9), set("br0", up())])?;
    b.ok([add(address("br0", "192.0.2.2/24"))])?;
    let old = via("0.0.0.0/0", "192.0.2.1", "eth0");
    let new = Route { link: Some(name("br0")), ..old.clone() };
    b.refused(add_route(new.clone()), Errno::EEXIST)?;
    b.ok([replace_route(new.clone())])?;
    let routes = b.see()?.routes;
    holds!(routes.contains(&new) && !routes.contains(&old), "{routes:?}");
    // The same once more changes nothing; where there is none, it is made.
    b.ok([replace_route(new.clone()), replace_route(via("198.51.100.0/24", "192.0.2.9", "br0"))])?;
    // IPv6: of all ways to a place none is left.
    let six = |gateway: &str, link: &str| via("2001:db8:9::/48", gateway, link);
    b.ok([add(address("br0", "2001:db8::2/64")), add(address("eth0", "2001:db8::2/64"))])?;
    b.ok([add_route(six("2001:db8::1", "eth0"))])?;
    b.refused(add_route(six("2001:db8::1", "br0")), Errno::EEXIST)?;
    b.ok([replace_route(six("2001:db8::1", "br0"))])?;
    let ways: Vec<_> = b.see()?.routes.into_iter().filter(|r| r.destination == six("::1", "br0").destination).collect();
    holds!(matches!(&ways[..], [one] if one.link == Some(name("br0"))), "{ways:?}");
    Ok(())
}

fn rule(priority: u32, action: RuleAction) -> Rule {
    let from = Some("192.0.2.0/24".parse().expect("a network"));
    Rule { from, protocol: 4, ..Rule::for_all(Family::Ipv4, priority, action) }
}

fn names_are_taken_once(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1), cable("v1", 2)])?;
    let new = |to| LinkChange { mtu: Some(1400), name: Some(name(to)), ..LinkChange::default() };
    b.refused(set("v0", new("v1")), Errno::EEXIST)?;
    same!(b.link("v0")?.mtu, 1400, "the MTU comes before the name");
    b.ok([set("v0", new("v0"))])?;
    Ok(())
}

fn an_index_names_that_very_link(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1)])?;
    let index = b.link("v0")?.index;
    let by = |index| LinkRef { name: name("v0"), index: Some(index) };
    let set = |link| Step::Link(LinkStep::Set { link, change: up() });
    b.ok([set(by(index))])?;
    b.ok([delete("v0"), cable("v0", 1)])?;
    b.refused(set(by(index)), Errno::ENODEV)?;
    holds!(!b.link("v0")?.up && b.link("v0")?.index > index, "indexes are not used twice");
    Ok(())
}

fn hardware_addresses_belong_to_stations(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1), bridge("br0", 2)])?;
    for link in ["v0", "br0"] {
        for bad in [[1, 0, 0, 0, 0, 0], [0; 6], [0xff; 6]] {
            let change = LinkChange { mac: Some(MacAddr::new(bad)), ..LinkChange::default() };
            b.refused(set(link, change), Errno::EADDRNOTAVAIL)?;
        }
    }
    Ok(())
}

fn an_mtu_has_bounds(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1)])?;
    for bad in [0, 67, 65536, u32::MAX] {
        b.refused(set("v0", LinkChange { mtu: Some(bad), ..LinkChange::default() }), Errno::EINVAL)?;
    }
    b.ok([set("v0", LinkChange { mtu: Some(65535), ..LinkChange::default() })])?;
    Ok(())
}

fn ipv6_ends_below_1280_bytes(b: &mut Bench<'_>) -> Outcome {
    let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "2001:db8::1/64")), set("v0", mtu(1279))])?;
    same!((b.link("v0")?.addr_gen_mode, b.addresses("v0")?.len()), (None, 0));
    same!(b.setting("net/ipv6/conf/v0/forwarding")?, None);
    b.refused(add(address("v0", "2001:db8::1/64")), Errno::EINVAL)?;
    let mode = LinkChange { addr_gen_mode: Some(AddrGenMode::None), ..LinkChange::default() };
    b.refused(set("v0", mode), Errno::EAFNOSUPPORT)?;
    b.ok([set("v0", mtu(1280)), add(address("v0", "2001:db8::1/64"))])?;
    Ok(())
}

fn ipv6_can_be_switched_off_for_a_link(b: &mut Bench<'_>) -> Outcome {
    let key = "net/ipv6/conf/v0/disable_ipv6";
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "2001:db8::1/64")), write(key, "1")])?;
    same!((b.addresses("v0")?.len(), b.routes()?.len()), (0, 0));
    b.refused(add(address("v0", "2001:db8::1/64")), Errno::EACCES)?;
    b.refused(add_route(route("2001:db8:9::/48", "v0")), Errno::EACCES)?;
    b.ok([write(key, "0"), add(address("v0", "2001:db8::1/64"))])?;
    Ok(())
}

fn loopback_cannot_be_removed(b: &mut Bench<'_>) -> Outcome {
    b.refused(delete("lo"), Errno::EOPNOTSUPP)?;
    b.ok([set("lo", up())])?;
    same!(b.addresses("lo")?, ["127.0.0.1/8 dev lo scope host", "::1/128 dev lo scope host"]);
    Ok(())
}

fn port_settings_want_a_port(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1)])?;
    let change = PortChange { isolated: Some(true), ..PortChange::default() };
    let step = Step::Port(PortStep::Set { port: at("v0"), change, up: Some(true) });
    b.refused(step, Errno::EOPNOTSUPP)?;
    holds!(!b.link("v0")?.up, "the settings come before the flags");
    b.refused(add_station(station("v0", 0x50)), Errno::EOPNOTSUPP)?;
    Ok(())
}

fn stations_are_behind_one_port(b: &mut Bench<'_>) -> Outcome {
    b.ok([bridge("br0", 9), cable("v0", 1), cable("v1", 2), set("v0", under("br0")), set("v1", under("br0"))])?;
    b.ok([add_station(station("v0", 0x50))])?;
    b.refused(add_station(station("v0", 0x50)), Errno::EEXIST)?;
    b.refused(add_station(station("v1", 0x50)), Errno::EEXIST)?;
    b.refused(Step::Port(PortStep::FdbDel { entry: station("v1", 0x50) }), Errno::ENOENT)?;
    b.ok([set("v0", LinkChange { master: Some(NewMaster::None), ..LinkChange::default() })])?;
    holds!(b.see()?.fdb.iter().all(|e| e.link != "v0"), "a port that leaves takes its stations along");
    Ok(())
}

fn the_spanning_tree_has_bounds_for_its_delay(b: &mut Bench<'_>) -> Outcome {
    let bridge_change = |bridge| LinkChange { bridge, ..LinkChange::default() };
    let delay = |cs| bridge_change(BridgeChange { forward_delay_cs: Some(cs), ..BridgeChange::default() });
    let stp = bridge_change(BridgeChange { stp: Some(true), ..BridgeChange::default() });
    b.ok([bridge("br0", 9), set("br0", delay(0)), set("br0", stp)])?;
    same!(b.link("br0")?.bridge.map(|s| s.forward_delay_cs), Some(200), "brought into its range");
    b.refused(set("br0", delay(0)), Errno::ERANGE)?;
    b.refused(set("br0", delay(3100)), Errno::ERANGE)?;
    b.ok([cable("v0", 1)])?;
    b.refused(set("v0", delay(0)), Errno::EOPNOTSUPP)?;
    Ok(())
}

fn a_gateway_must_be_reachable(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([add(address("eth0", "2001:db8::2/64"))])?;
    let onlink = |r| Route { onlink: true, ..r };
    b.refused(add_route(via("203.0.113.0/24", "198.51.100.1", "eth0")), Errno::ENETUNREACH)?;
    b.refused(add_route(via("203.0.113.0/24", "192.0.2.255", "eth0")), Errno::EINVAL)?;
    b.refused(add_route(via("2001:db8:9::/48", "2001:db8:8::1", "eth0")), Errno::EHOSTUNREACH)?;
    b.refused(add_route(via("2001:db8:9::/48", "2001:db8::2", "eth0")), Errno::EINVAL)?;
    b.ok([
        add_route(onlink(via("203.0.113.0/24", "198.51.100.1", "eth0"))),
        add_route(via("2001:db8:9::/48", "fe80::1", "eth0")),
    ])?;
    Ok(())
}

fn routes_are_checked(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.refused(add_route(route("203.0.113.1/24", "eth0")), Errno::EINVAL)?;
    let source = Some("198.51.100.7".parse().expect("an address"));
    b.refused(add_route(Route { source, ..route("203.0.113.0/24", "eth0") }), Errno::EINVAL)?;
    let blackhole = Route { kind: RouteKind::Blackhole, scope: 0, ..route("203.0.113.0/24", "eth0") };
    b.refused(add_route(blackhole.clone()), Errno::EINVAL)?;
    b.ok([add_route(Route { link: None, ..blackhole })])?;
    Ok(())
}

fn an_ipv6_route_outlives_its_source(b: &mut Bench<'_>) -> Outcome {
    let source = Some("2001:db8::2".parse().expect("an address"));
    b.ok([
        cable("v0", 1),
        set("v0", up()),
        add(address("v0", "2001:db8::1/64")),
        add(address("v0", "2001:db8::2/64")),
        add_route(Route { source, ..route("2001:db8:9::/48", "v0") }),
        del(address("v0", "2001:db8::2/64")),
    ])?;
    same!(
        b.routes()?,
        ["2001:db8::/64 dev v0 proto kernel metric 256", "2001:db8:9::/48 dev v0 proto boot metric 1024"]
    );
    Ok(())
}

fn a_new_hardware_address_forgets_the_stations(b: &mut Bench<'_>) -> Outcome {
    let permanent = neighbour("v0", "192.0.2.50", NeighbourKind::Permanent(mac(0x50)));
    let proxy = neighbour("v0", "192.0.2.51", NeighbourKind::Proxy);
    b.ok([cable("v0", 1), set("v0", up()), add(address("v0", "192.0.2.1/24"))])?;
    b.ok([add_neighbour(permanent.clone()), add_neighbour(proxy.clone()), add_neighbour(proxy.clone())])?;
    b.ok([set("v0", LinkChange { mac: Some(mac(7)), ..LinkChange::default() })])?;
    same!(b.see()?.neighbours, BTreeSet::from([proxy]));
    b.ok([add_neighbour(permanent), del(address("v0", "192.0.2.1/24"))])?;
    holds!(b.see()?.neighbours.is_empty(), "the last address takes proxies along too");
    Ok(())
}

fn policy_rules_do_not_go_back(b: &mut Bench<'_>) -> Outcome {
    b.refused(Step::Rule(RuleStep::Add(rule(1000, RuleAction::Goto(1000)))), Errno::EINVAL)?;
    b.ok([Step::Rule(RuleStep::Add(rule(1000, RuleAction::Goto(1001))))])?;
    Ok(())
}

fn a_bridge_that_cannot_be_made_leaves_nothing(b: &mut Bench<'_>) -> Outcome {
    b.ok([cable("v0", 1)])?;
    let change = LinkChange { mac: Some(mac(2)), up: Some(true), ..under("v0") };
    let kind = NewLink::Veth { peer: name("v1p") };
    b.refused(Step::Link(LinkStep::Create { name: name("v1"), kind, change }), Errno::EOPNOTSUPP)?;
    holds!(!b.has("v1")? && !b.has("v1p")?);
    Ok(())
}

fn notes_come_and_go(b: &mut Bench<'_>) -> Outcome {
    let note = |text: &str| LinkChange { alias: Some(text.into()), ..LinkChange::default() };
    b.ok([cable("v0", 1), set("v0", note("guest 5"))])?;
    same!(b.link("v0")?.alias.as_deref(), Some("guest 5"));
    b.refused(set("v0", note(&"x".repeat(256))), Errno::ERANGE)?;
    b.ok([set("v0", note(""))])?;
    same!(b.link("v0")?.alias, None);
    Ok(())
}

fn broadcast_and_scope_are_kept(b: &mut Bench<'_>) -> Outcome {
    let a = Address { broadcast: Some(BROADCAST), scope: 253, ..address("v0", "192.0.2.1/24") };
    b.ok([cable("v0", 1), add(a.clone())])?;
    same!(b.addresses("v0")?, ["192.0.2.1/24 dev v0 broadcast 192.0.2.255 scope link"]);
    b.refused(add(address("v0", "192.0.2.2/24")), Errno::EINVAL)?;
    Ok(())
}

fn elements_of_a_set_come_and_go(b: &mut Bench<'_>) -> Outcome {
    if !b.0.capabilities().nft {
        return Ok(());
    }
    let change = |ops: &[NftOp]| Step::Nft(NftTransaction { table: table(), ops: ops.to_vec() });
    let key = |link: &str| NftKey::exact([NftValue::Name(name(link))]);
    let add = |links: &[&str]| {
        let elements = links.iter().map(|link| (key(link), NftElement::default())).collect();
        NftOp::AddElements { set: "links".into(), elements }
    };
    let del = |link: &str| NftOp::DelElements { set: "links".into(), keys: vec![key(link)] };
    let def = NftSet { key: vec![NftType::IfName], ..NftSet::default() };
    b.ok([change(&[NftOp::AddTable, NftOp::AddSet { set: "links".into(), def }, add(&["vif1.0", "vif2.0"])])])?;
    b.refused(change(&[del("vif1.0"), add(&["vif3.0"]), add(&["vif2.0"])]), Errno::EEXIST)?;
    b.refused(change(&[add(&["vif3.0"]), del("vif9.0")]), Errno::ENOENT)?;
    b.ok([change(&[del("vif2.0")])])?;
    for (link, is_there) in [("vif1.0", true), ("vif2.0", false), ("vif3.0", false)] {
        let seen = b.look(&Scope::none().with(Part::NftElement(table(), "links".into(), key(link))))?;
        let elements = seen.nft.get(&table()).and_then(|t| t.sets.get("links")).map(|set| &set.elements);
        let Some(elements) = elements else { return Err(format!("the set is missing in a look at {link}")) };
        same!(elements.keys().cloned().collect::<Vec<_>>(), Vec::from_iter(is_there.then(|| key(link))));
    }
    Ok(())
}

/// Of one that is there twice, both are seen.
fn a_rule_is_put_first_and_found_by_its_content(b: &mut Bench<'_>) -> Outcome {
    if !b.0.capabilities().nft {
        return Ok(());
    }
    let change = |ops: &[NftOp]| Step::Nft(NftTransaction { table: table(), ops: ops.to_vec() });
    let rule = |link: &str| {
        let from = NftExpr::eq(NftField::IifName, NftValue::Name(name(link)));
        NftRule::new([from, NftExpr::Counter, NftExpr::Verdict(NftVerdict::Accept)]).with_comment("of a case")
    };
    let chain = || "theirs".to_owned();
    let insert = |link: &str| NftOp::InsertRule { chain: chain(), rule: rule(link) };
    let remove = |link: &str| NftOp::DelRule { chain: chain(), rule: rule(link) };
    let base = NftBase::new(NftChainKind::Filter, NftHook::Forward, 0, NftPolicy::Accept);
    let seen = |b: &mut Bench<'_>, chain: &str, link: &str| {
        let part = Part::NftRule(table(), chain.to_owned().into(), rule(link));
        b.look(&Scope::none().with(part)).map(|seen| seen.nft.get(&table()).cloned())
    };
    same!(seen(b, "theirs", "v0")?, None, "no table");
    b.refused(change(&[insert("v0")]), Errno::ENOENT)?;
    let last = NftOp::AddRule { chain: chain(), rule: rule("v9") };
    b.ok([change(&[NftOp::AddTable, NftOp::AddChain { chain: chain(), base: Some(base) }, last])])?;
    b.ok([change(&[insert("v0")]), change(&[insert("v1"), insert("v0")])])?;
    let whole = b.look(&Scope::none().with(Part::Nft(table())))?;
    let rules = whole.nft.get(&table()).and_then(|t| t.chains.get("theirs")).map(|c| c.rules.clone());
    same!(rules, Some(["v0", "v1", "v0", "v9"].map(rule).into()));
    for (link, times) in [("v0", 2), ("v1", 1), ("v2", 0)] {
        let found = seen(b, "theirs", link)?.and_then(|t| t.chains.get("theirs").cloned());
        same!(found, Some(NftChain { base: Some(base), rules: vec![rule(link); times] }), "{link}");
    }
    same!(seen(b, "missing", "v0")?, Some(NftTable::default()), "a table without that chain");
    b.refused(change(&[remove("v1"), remove("v1")]), Errno::ENOENT)?;
    b.ok([change(&[remove("v0")])])?;
    let left = seen(b, "theirs", "v0")?.and_then(|t| t.chains.get("theirs").map(|c| c.rules.len()));
    same!(left, Some(1));
    Ok(())
}

fn a_port_has_the_vlans_that_it_is_given(b: &mut Bench<'_>) -> Outcome {
    if b.0.capabilities().bridge_vlan != Some(true) {
        return Ok(());
    }
    let vlan = PortVlan { vid: Vid::new(100).expect("a VLAN"), tagging: Tagging::Tagged, pvid: false };
    let port = at("v0");
    let filters = LinkChange {
        bridge: BridgeChange { vlan_filtering: Some(true), ..BridgeChange::default() },
        ..LinkChange::default()
    };
    b.ok([bridge("br0", 9), set("br0", filters), cable("v0", 1), set("v0", under("br0"))])?;
    b.ok([Step::Port(PortStep::VlanAdd { port, vlan })])?;
    let vlans = |b: &mut Bench<'_>| -> Outcome<BTreeSet<PortVlan>> {
        let seen = b.look(&Scope::none().with(Part::PortVlans(name("v0"))))?;
        Ok(seen.port_vlans.get("v0").cloned().unwrap_or_default())
    };
    holds!(vlans(b)?.contains(&vlan));
    b.ok([Step::Port(PortStep::VlanDel { port, vlan })])?;
    holds!(!vlans(b)?.contains(&vlan));
    Ok(())
}

fn a_store_transaction_happens_wholly_or_not_at_all(b: &mut Bench<'_>) -> Outcome {
    if !b.0.capabilities().xenstore {
        return Ok(());
    }
    let path = |text: &str| text.parse::<StorePath>().expect("cases use valid paths");
    let write = |text: &str| StoreOp::Write { path: path(text), value: b"1".to_vec() };
    let change = |ops: &[StoreOp]| Step::Store(StoreTransaction(ops.to_vec()));
    let tree = Scope::none().with(Part::StoreTree(path("/xennet-conformance")));
    b.refused(change(&[write("/xennet-conformance/a"), StoreOp::Rm { path: path("/missing/b") }]), Errno::ENOENT)?;
    holds!(b.look(&tree)?.store.is_empty());
    b.ok([change(&[write("/xennet-conformance/a/b")])])?;
    same!(b.look(&tree)?.store.len(), 3, "nodes above are made");
    b.ok([change(&[StoreOp::Rm { path: path("/xennet-conformance") }])])?;
    holds!(b.look(&tree)?.store.is_empty());
    Ok(())
}

/// What somebody has set stays: only what was learned is forgotten.
fn what_was_never_learned_is_forgotten_all_the_same(b: &mut Bench<'_>) -> Outcome {
    b.ok([
        bridge("br0", 9),
        set("br0", up()),
        cable("v0", 1),
        set("v0", LinkChange { up: Some(true), ..under("br0") }),
    ])?;
    b.ok([add(address("br0", "198.51.100.1/24")), add_station(station("v0", 0x50))])?;
    for kind in [NeighbourKind::Permanent(mac(7)), NeighbourKind::Proxy] {
        b.ok([add_neighbour(neighbour("br0", "198.51.100.9", kind))])?;
    }
    let before = b.see()?;
    let text = |text: &str| text.parse().expect("cases use valid addresses");
    for link in ["br0", "v0", "missing"] {
        let (link, except) = (name(link), None);
        let addresses = ["198.51.100.9", "198.51.100.10", "2001:db8::9"].map(|a| a.parse().expect("an address")).into();
        b.ok([
            Step::Forget(ForgetStep::Station { bridge: link, mac: mac(0x50), vlan: None, except }),
            Step::Forget(ForgetStep::Station { bridge: link, mac: mac(0x51), vlan: Vid::new(7), except }),
            Step::Forget(ForgetStep::Neighbours { link, addresses }),
        ])?;
    }
    for addresses in [vec![], vec![text("198.51.100.9/32"), text("198.51.100.0/24"), text("2001:db8::/32")]] {
        b.ok([Step::Forget(ForgetStep::Connections { addresses })])?;
    }
    let changes: Vec<String> = before.changes(&b.see()?).iter().map(ToString::to_string).collect();
    holds!(changes.is_empty(), "{}", changes.join("; "));
    Ok(())
}

fn a_missing_object_is_absent(b: &mut Bench<'_>) -> Outcome {
    let scope: Scope = narrow(&name("missing"), u32::MAX, "203.0.113.0/24", "203.0.113.1").into_iter().collect();
    let seen = b.look(&scope)?;
    same!(seen.normalised(), Snapshot::default());
    same!(seen.scope, scope, "a look tells what was looked at");
    Ok(())
}

/// Parts of the system that are about one link, and one place.
fn narrow(link: &IfName, index: u32, to: &str, address: &str) -> Vec<Part> {
    let to = to.parse().expect("cases use valid networks");
    let address = address.parse().expect("cases use valid addresses");
    vec![
        Part::Link(*link),
        Part::LinkIndex(index),
        Part::Addresses(*link),
        Part::Routes(*link),
        Part::Route(to),
        Part::RouteThrough(*link, to),
        Part::Way(address),
        Part::Via(*link, to),
        Part::Neighbours(*link),
        Part::Proxy(*link, address),
        Part::Fdb(*link),
        Part::PortVlans(*link),
    ]
}

/// Every part by itself, compared with the same part of the whole.
fn a_narrow_look_sees_what_a_wide_one_sees(b: &mut Bench<'_>) -> Outcome {
    b.uplink()?;
    b.ok([
        bridge("br0", 9),
        set("br0", up()),
        add(address("br0", "198.51.100.1/24")),
        add(address("br0", "2001:db8::1/64")),
        cable("v0", 1),
        set("v0", LinkChange { up: Some(true), ..under("br0") }),
        add_station(station("v0", 0x50)),
        add_route(via("203.0.113.0/24", "198.51.100.9", "br0")),
        add_route(via("198.51.101.0/24", "198.51.100.9", "br0")),
        add_route(via("198.51.101.0/28", "198.51.100.8", "br0")),
        add_route(via("2001:db8:9::/48", "2001:db8::9", "br0")),
        add_route(via("::/0", "2001:db8::1:9", "br0")),
        add_neighbour(neighbour("br0", "198.51.100.9", NeighbourKind::Permanent(mac(7)))),
        add_neighbour(neighbour("br0", "203.0.113.9", NeighbourKind::Proxy)),
        Step::Rule(RuleStep::Add(rule(1000, RuleAction::Table(100)))),
    ])?;
    let whole = b.see()?;
    let mut parts = vec![Part::Links, Part::Routing, Part::Rules, Part::Network];
    for (link, to, address) in [
        ("br0", "203.0.113.0/24", "203.0.113.9"),
        ("br0", "198.51.101.0/24", "198.51.101.1"),
        ("br0", "198.51.101.0/28", "198.51.101.99"),
        ("br0", "2001:db8:9::/48", "2001:db8:9::1"),
        ("br0", "::/0", "2001:db8:8::1"),
        ("eth0", "0.0.0.0/0", "192.0.2.7"),
        ("v0", "198.51.100.0/24", "198.51.100.1"),
        ("lo", "127.0.0.0/8", "8.8.8.8"),
    ] {
        let link = name(link);
        let index = whole.links.get(&link).map_or(0, |l| l.index);
        parts.extend(narrow(&link, index, to, address));
    }
    for part in parts {
        let scope = Scope::none().with(part.clone());
        let (seen, of_whole) = (b.look(&scope)?, whole.seen(&scope));
        let differences: Vec<String> = of_whole.changes(&seen).iter().map(ToString::to_string).collect();
        holds!(differences.is_empty(), "{part:?}: {}", differences.join("; "));
    }
    Ok(())
}
