//! Named worlds: what has once been answered wrongly, asked again with many packets.

use xennet_tests::in_netns;

use crate::ask::compare;
use crate::stage::{DMZ, LAN, NEAR, PRIVATE, SHARED, Stage, command, nft};
use xennet_tests::chance::Chance;

/// Puts questions to a host with these networks, after something was done to it.
fn case(name: &str, networks: &[&'static str], change: impl FnOnce() + Send) {
    let test = format!("cases::{name}");
    in_netns(&test, || {
        let mut chance = Chance::new(7);
        let mut stage = Stage::with(networks, &mut chance);
        change();
        stage.story.push(name.into());
        let told = compare(&mut stage, &mut chance, false, name);
        assert!(told.pairs > 15 && told.arrived > 5, "{} pairs, {} arrived", told.pairs, told.arrived);
        assert!(told.wrong.is_empty(), "{}", told.wrong.join("\n"));
    });
}

/// `fib_validate_source` looks for the answer's way with the packet's destination as its source: a rule about that source decides, too.
#[test]
fn a_policy_rule_about_the_destination_decides_in_the_reverse_path_filter() {
    case("a_policy_rule_about_the_destination_decides_in_the_reverse_path_filter", &[PRIVATE, SHARED], || {
        command("ip route add unreachable default table 77");
        command("ip rule add from 10.1.0.2 lookup 77 priority 50");
    });
}

/// The local route of an IPv4 address stays while its link is down; its network's route goes.
#[test]
fn an_ipv4_address_works_while_its_link_is_down() {
    case("an_ipv4_address_works_while_its_link_is_down", &[PRIVATE, SHARED, DMZ], || {
        command("ip link set natbr0 down")
    });
}

/// What would leave to the outside again if it came back never arrives: it is dropped, and not "not known".
#[test]
fn what_strays_outside_is_dropped() {
    case("what_strays_outside_is_dropped", &[LAN, PRIVATE, DMZ], || {
        command("ip route del 10.0.0.2/32");
        command("ip route del 10.2.0.1/32");
    });
}

/// `fib saddr . iif oif missing` is never so for what comes in by loopback (`nft_fib_is_loopback`).
#[test]
fn the_fib_is_not_asked_about_loopback() {
    case("the_fib_is_not_asked_about_loopback", &[LAN, SHARED], || {
        nft("table inet fw { chain pre { type filter hook prerouting priority raw + 10; \
             meta nfproto ipv6 fib saddr . mark . iif oif missing drop; meta nfproto ipv4 fib saddr . iif oif 0 drop; }; }");
    });
}

/// `arp_ignore = 2` asks for the asker's prefix, too.
#[test]
fn arp_ignore_looks_at_the_prefix_of_the_asker() {
    case("arp_ignore_looks_at_the_prefix_of_the_asker", &[PRIVATE, NEAR], || {
        crate::stage::write("net/ipv4/conf/all/arp_ignore", "2");
    });
}

/// What this domain sends to find its neighbours has a link before it is sent (`ndisc_alloc_skb`): at postrouting it seems to have come in.
#[test]
fn neighbour_discovery_comes_in_by_the_link_it_leaves_through() {
    case("neighbour_discovery_comes_in_by_the_link_it_leaves_through", &[PRIVATE, DMZ], || {
        nft("table inet mine { chain post { type filter hook postrouting priority 0; iifname \"vif12.0\" drop; }; }");
    });
}

/// A permanent neighbour entry is believed, whoever has the address.
#[test]
fn a_permanent_neighbour_entry_is_believed() {
    case("a_permanent_neighbour_entry_is_believed", &[PRIVATE, DMZ], || {
        command("ip neigh replace 10.2.0.1 lladdr 02:00:00:00:00:99 dev vif12.0 nud permanent");
    });
}

/// A link without ARP takes its own hardware address for that of every neighbour (`arp_constructor`).
#[test]
fn a_link_without_arp_reaches_nobody() {
    case("a_link_without_arp_reaches_nobody", &[PRIVATE, DMZ], || command("ip link set vif12.0 arp off"));
}
