//! One suite, two backends: every case runs on the fake, and on the kernel in a network namespace of its own.

mod bench;
mod cases;

use bench::Bench;
use xennet_core::backend::Backend;

/// What the kernel does by itself later is switched off: IPv6 makes no addresses, asks no router and tests none.
fn prepare(backend: &mut dyn Backend) {
    for (key, value) in [
        ("net/ipv6/conf/default/addr_gen_mode", "1"),
        ("net/ipv6/conf/default/accept_ra", "0"),
        ("net/ipv6/conf/default/accept_dad", "0"),
        ("net/ipv4/conf/default/promote_secondaries", "0"),
        ("net/ipv4/conf/all/promote_secondaries", "0"),
    ] {
        Bench(backend).ok([bench::write(key, value)]);
    }
}

macro_rules! suite {
    ($($case:ident,)*) => {
        mod fake {
            $(#[test]
            fn $case() {
                let mut backend = xennet_core::backend::fake::Fake::empty();
                super::prepare(&mut backend);
                super::cases::$case(&mut super::Bench(&mut backend));
            })*
        }

        mod kernel {
            $(#[test]
            fn $case() {
                xennet_tests::in_netns(concat!("kernel::", stringify!($case)), || {
                    let mut backend = xennet_core::backend::netlink::Netlink::open().expect("a netlink socket");
                    super::prepare(&mut backend);
                    super::cases::$case(&mut super::Bench(&mut backend));
                });
            })*
        }
    };
}

suite! {
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
    a_route_is_replaced_in_one_go,
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
}
