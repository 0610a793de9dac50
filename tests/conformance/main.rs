//! The suite that certifies backends, on the fake and on the kernel: all cases in one world, and each in a world of its own. What was
//! learned, which no step makes, is put in by other programs, and forgotten on both alike.

mod learned;

use std::collections::BTreeSet;

use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::snapshot::{Part, Scope, Snapshot};
use xennet_core::step::{LinkStep, PortStep, Step};
use xennet_core::testing::{Fake, cases, conformance};

#[test]
fn the_fake_conforms() {
    let mut fake = Fake::empty();
    assert_eq!(conformance(&mut fake), Ok(cases().len()));
}

#[test]
fn the_kernel_conforms() {
    xennet_tests::in_netns("the_kernel_conforms", || {
        let mut kernel = Netlink::open().expect("a netlink socket");
        assert_eq!(conformance(&mut kernel), Ok(cases().len()));
    });
}

#[test]
fn every_case_passes_in_a_world_of_its_own() {
    let mut wrong = Vec::new();
    for case in cases() {
        wrong.extend(case.run(&mut Fake::empty()).err().map(|e| format!("fake: {e}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

macro_rules! kernel {
    ($($case:ident,)*) => {
        /// Each in a network namespace of its own.
        mod kernel {
            $(#[test]
            fn $case() {
                xennet_tests::in_netns(concat!("kernel::", stringify!($case)), || {
                    let mut kernel = super::Netlink::open().expect("a netlink socket");
                    let case = super::cases().iter().find(|c| c.name() == stringify!($case)).expect("a case");
                    if let Err(e) = case.run(&mut kernel) {
                        panic!("{e}");
                    }
                });
            })*
        }

        #[test]
        fn every_case_is_run_on_the_kernel() {
            let here: BTreeSet<&str> = [$(stringify!($case)),*].into();
            assert_eq!(here, cases().iter().map(|case| case.name()).collect());
        }
    };
}

kernel! {
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
}

/// A backend that does something wrong.
struct Wrong {
    fake: Fake,
    fault: fn(&Step) -> bool,
    answer: fn(&Step) -> Result<(), BackendError>,
}

impl Backend for Wrong {
    fn capabilities(&self) -> Capabilities {
        self.fake.capabilities()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.fake.observe(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        if (self.fault)(step) { (self.answer)(step) } else { self.fake.apply(step) }
    }
}

/// What is wrong is found and told, and the other cases are still run.
#[test]
fn a_backend_that_lies_is_found() {
    let isolates: fn(&Step) -> bool = |step| matches!(step, Step::Port(PortStep::Set { .. }));
    let mut lies = Wrong { fake: Fake::empty(), fault: isolates, answer: |_| Ok(()) };
    let e = conformance(&mut lies).unwrap_err();
    let failed: Vec<&str> = e.failures.iter().map(|failure| failure.case).collect();
    assert_eq!(failed, ["a_port_moves_without_a_word", "port_settings_want_a_port"]);
    assert_eq!(e.passed, cases().len() - 2);
    let text = e.to_string();
    assert!(
        text.contains("port_settings_want_a_port") && text.contains("it is to be refused with EOPNOTSUPP"),
        "{text}"
    );
}

/// What a case has made stays: the next ones are not run in a world that they do not expect.
#[test]
fn a_backend_that_cannot_be_cleaned_is_told_so() {
    let deletes: fn(&Step) -> bool = |step| matches!(step, Step::Link(LinkStep::Delete { .. }));
    let mut keeps = Wrong { fake: Fake::empty(), fault: deletes, answer: |_| Ok(()) };
    let e = conformance(&mut keeps).unwrap_err();
    let last = e.failures.last().unwrap();
    assert_eq!(last.case, "clean");
    assert!(
        last.what.starts_with("after a_refused_change_of_a_link_may_have_happened_in_part: something is left"),
        "{e}"
    );
}

/// It never touches a network that is in use.
#[test]
fn a_namespace_in_use_is_left_alone() {
    let mut used = Fake::example();
    let before = used.world().clone();
    let e = conformance(&mut used).unwrap_err();
    assert_eq!((e.passed, e.failures.len(), e.failures[0].case), (0, 1, "fresh"));
    assert!(e.to_string().contains("here are: eth0, lo, xenbr0"), "{e}");
    assert_eq!(*used.world(), before);
    assert!(used.observe(&Scope::none().with(Part::Links)).is_ok());
}
