//! One fault each: the first finding is the right one, what it says mends it, and doctor is silent afterwards.

use xennet_core::doctor::Code;
use xennet_tests::in_netns;

use crate::world::{World, sh};

/// Plants a fault by commands, and expects it found, mended and gone.
fn planted(test: &str, fault: &str, code: Code, object: &str, undo: Option<&str>) {
    in_netns(&format!("planted::{test}"), || {
        let mut world = World::healthy();
        world.assert_healthy();
        sh(fault);
        let finding = world.first(code, object);
        match undo {
            // What mends it is not for a command.
            Some(undo) => sh(undo),
            None => world.mend(&finding),
        }
        world.mend_all();
        assert!(!world.findings().iter().any(|f| f.code == code && f.object == object), "it is gone");
    });
}

macro_rules! planted {
    ($($test:ident: $fault:literal => $code:ident $object:literal $(undo $undo:literal)?;)*) => {
        $(#[test]
        fn $test() {
            let undo: &[&str] = &[$($undo)?];
            planted(stringify!($test), $fault, Code::$code, $object, undo.first().copied());
        })*
    };
}

planted! {
    a_bridge_that_is_down: "ip link set xenbr0 down" => BridgeDown "xenbr0";
    an_uplink_that_is_down: "ip link set eth0 down" => UplinkDown "eth0";
    a_network_without_its_setting: "sysctl -qw net.ipv4.conf.xenbr0.proxy_arp=0" => NetworkDamaged "network public";
    a_vif_that_was_moved: "ip link add br1 type bridge; ip link set br1 up; ip link set vif1.0 master br1" => VifOutside "vif1.0";
    a_vif_that_was_taken_off: "ip link set vif1.0 nomaster" => VifOutside "vif1.0";
    a_vif_that_is_down: "ip link set vif1.0 down" => VifDown "vif1.0";
    a_flushed_ruleset: "nft flush ruleset" => GuardDamaged "nft table bridge xennet-guard";
    a_gate_that_was_deleted: "nft delete table inet xennet" => GateDamaged "nft table inet xennet";
    a_dormant_guard: "nft add table bridge xennet-guard '{ flags dormant; }'"
        => GuardDamaged "nft table bridge xennet-guard";
    forwarding_that_is_off: "sysctl -qw net.ipv4.ip_forward=0" => ForwardingOff "network private";
    a_route_that_was_deleted: "ip route del 10.1.0.3" => VifLacks "vif3.0";
    the_spanning_tree: "ip link set xenbr0 type bridge stp_state 1 forward_delay 400" => ForwardDelay "xenbr0";
    an_address_on_a_port: "ip address add 192.0.2.77/24 dev eth0" => AddressOnPort "eth0" undo "ip address del 192.0.2.77/24 dev eth0";
    an_address_on_a_vif: "ip address add 169.254.3.4/16 dev vif1.0" => AddressOnVif "vif1.0";
    ipv6_that_is_off: "sysctl -qw net.ipv6.conf.vif3/0.disable_ipv6=1" => Ipv6Disabled "vif3.0";
    no_default_route: "ip route del default" => NoDefaultRoute "network private";
    a_missing_bridge: "ip link del xenbr0" => BridgeMissing "xenbr0";
    an_uplink_that_was_taken_off: "ip link set eth0 nomaster" => UplinkLost "eth0";
    a_guard_with_another_rule: "nft flush chain bridge xennet-guard prerouting" => GuardDamaged "nft table bridge xennet-guard";
    a_lost_element: "nft flush set inet xennet masq4" => VifLacks "vif3.0";
    a_blackhole: "ip route add blackhole 10.1.0.3/32 metric 1" => RouteRefuses "vif3.0";
    an_unreachable_rule: "ip rule add to 198.51.100.4 priority 50 unreachable" => RouteRefuses "rule 50" undo "ip rule del priority 50";
    a_route_elsewhere: "ip link add d0 type bridge; ip link set d0 up; ip route add 198.51.100.4/32 dev d0 metric 1"
        => RouteElsewhere "vif4.0";
    reverse_path: "ip link add out1 type veth peer name out2; ip link set out1 up; ip link set out2 up; ip route add default dev out1 metric 1;
                   ip route del default via 192.0.2.1; sysctl -qw net.ipv4.conf.xenbr0.rp_filter=1" => ReversePath "xenbr0"
        // A hidden guest would leave by that way as it is, and is dropped there.
        undo "ip route del default dev out1; ip route add default via 192.0.2.1";
    a_small_port: "ip link set xenbr0 mtu 1500; ip link set vif1.0 mtu 1400; ip link set xenbr0 mtu 1500"
        => MtuOfPort "vif1.0";
    a_small_uplink: "ip link set eth0 mtu 1280" => MtuOfUplink "vif1.0" undo "ip link set eth0 mtu 1500";
    a_closed_port: "bridge link set dev vif1.0 state 0" => PortBlocked "vif1.0";
    multicast_snooping: "ip link set xenbr0 type bridge mcast_snooping 1" => SnoopingWithoutQuerier "xenbr0";
}
