//! Other firewalls: those that drop guests' packets, and those that accept what they must.

use xennet_core::doctor::{Code, Level};
use xennet_tests::in_netns;

use crate::world::{World, sh, told};

/// As docker makes it.
const DOCKER: &str = "
    nft add table ip filter
    nft add chain ip filter DOCKER-USER
    nft add chain ip filter FORWARD '{ type filter hook forward priority 0; policy drop; }'
    nft add rule ip filter FORWARD counter jump DOCKER-USER
    nft add rule ip filter FORWARD oifname docker0 ct state related,established counter accept";

/// As firewalld makes it, without the zones.
const FIREWALLD: &str = "
    nft add table inet firewalld
    nft add chain inet firewalld filter_FORWARD '{ type filter hook forward priority 10; policy accept; }'
    nft add rule inet firewalld filter_FORWARD ct state established,related accept";

/// Plants a firewall, expects what it drops found first, and gone with a rule of its own that accepts.
fn dropped(test: &str, firewall: &str, code: Code, place: &str, accept: &str) {
    in_netns(&format!("firewalls::{test}"), || {
        let mut world = World::healthy();
        world.assert_healthy();
        sh(firewall);
        let all = world.findings();
        let first = all.iter().find(|f| f.level() == code.level());
        assert!(first.is_some_and(|f| f.code == code && f.object.contains(place)), "{}", told(&all));
        sh(accept);
        let all = world.findings();
        assert!(!all.iter().any(|f| f.code == code), "{}", told(&all));
        assert!(all.iter().all(|f| f.level() == Level::Note), "{}", told(&all));
    });
}

#[test]
fn dockers_policy_drops_what_is_routed() {
    let accept = "nft insert rule ip filter DOCKER-USER oifname xenbr0 accept
                  nft insert rule ip filter DOCKER-USER iifname xenbr0 accept";
    dropped("dockers_policy_drops_what_is_routed", DOCKER, Code::ForeignDrop, "ip filter", accept);
}

#[test]
fn firewallds_last_rule_rejects() {
    let reject = format!("{FIREWALLD}\n nft add rule inet firewalld filter_FORWARD reject with icmpx admin-prohibited");
    let accept = "nft insert rule inet firewalld filter_FORWARD oifname xenbr0 accept";
    dropped("firewallds_last_rule_rejects", &reject, Code::ForeignDrop, "firewalld", accept);
}

#[test]
fn a_rule_that_cannot_be_judged_is_told() {
    let unknown = "nft add table ip odd
                   nft add chain ip odd f '{ type filter hook forward priority 0; policy accept; }'
                   nft add rule ip odd f numgen random mod 2 0 drop";
    dropped("a_rule_that_cannot_be_judged_is_told", unknown, Code::ForeignUnjudged, "odd", "nft delete table ip odd");
}

#[test]
fn what_accepts_guests_is_no_finding() {
    in_netns("firewalls::what_accepts_guests_is_no_finding", || {
        let mut world = World::healthy();
        sh(&format!(
            "{DOCKER}
             nft add rule ip filter DOCKER-USER oifname xenbr0 accept
             nft add rule ip filter DOCKER-USER iifname xenbr0 accept
             {FIREWALLD}
             nft add rule inet firewalld filter_FORWARD iifname {{ vif3.0, vif4.0, xenbr0 }} accept
             nft add rule inet firewalld filter_FORWARD reject"
        ));
        world.assert_healthy();
    });
}
