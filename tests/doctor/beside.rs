//! Faults that take more than a command: in xenstore, in files, in other machines.

use std::net::UdpSocket;

use xennet_core::doctor::{Code, Finding};
use xennet_core::recording::{OldCall, Problem};
use xennet_tests::in_netns;
use xennet_tests::lease::soon;

use crate::world::{NETWORKS, World, sh, told};

/// Plants a fault, expects it found, and gone when it is mended by hand.
fn beside(
    test: &str,
    fault: impl FnOnce(&mut World) + Send,
    code: Code,
    object: &str,
    mend: impl FnOnce(&mut World, &Finding) + Send,
) {
    in_netns(&format!("beside::{test}"), || {
        let mut world = World::healthy();
        world.assert_healthy();
        fault(&mut world);
        let finding = world.first(code, object);
        mend(&mut world, &finding);
        let all = world.findings();
        assert!(!all.iter().any(|f| f.code == code && f.object == object), "{}", told(&all));
        world.assert_healthy();
    });
}

macro_rules! nodes {
    ($($test:ident: $path:literal $bad:literal $good:literal => $code:ident $object:literal;)*) => {
        $(#[test]
        fn $test() {
            let (mut set, back) = (|w: &mut World| w.node($path, $bad), |w: &mut World, _: &Finding| w.node($path, $good));
            beside(stringify!($test), &mut set, Code::$code, $object, back);
        })*
    };
}

// What xenstore says, and what it says when all is well.
nodes! {
    a_failed_call: "/local/domain/0/backend/vif/2/0/hotplug-status" "error" "connected" => HotplugFailed "vif2.0";
    a_frontend_that_waits: "/local/domain/2/device/vif/0/state" "1" "4" => FrontendNotConnected "vif2.0";
    one_name_twice: "/local/domain/3/name" "guest2" "guest3" => DomainNameTwice "guest2";
    another_mtu: "/local/domain/1/device/vif/0/mtu" "9000" "1500" => MtuOfFrontend "vif1.0";
}

#[test]
fn a_call_that_never_came() {
    let status = "/local/domain/0/backend/vif/2/0/hotplug-status";
    beside(
        "a_call_that_never_came",
        |w| {
            w.no_node(status);
            w.node("/local/domain/0/backend/vif/2/0/state", "2");
        },
        Code::HotplugMissing,
        "vif2.0",
        |w, _| {
            w.node(status, "connected");
            w.node("/local/domain/0/backend/vif/2/0/state", "4");
        },
    );
}

#[test]
fn a_vif_that_only_xenstore_has() {
    beside(
        "a_vif_that_only_xenstore_has",
        |w| w.tell(7, "mac=00:16:3e:00:00:07,bridge=xenbr0"),
        Code::VifWithoutLink,
        "vif7.0",
        |w, _| {
            w.no_node("/local/domain/0/backend/vif/7");
            w.no_node("/local/domain/7");
        },
    );
}

#[test]
fn a_vif_that_only_the_kernel_has() {
    beside(
        "a_vif_that_only_the_kernel_has",
        |_| sh("ip link add vif9.0 type veth peer name guest9"),
        Code::LinkWithoutNode,
        "vif9.0",
        |_, _| sh("ip link del vif9.0"),
    );
}

#[test]
fn a_domain_that_has_gone() {
    beside(
        "a_domain_that_has_gone",
        |w| {
            sh("ip link del vif1.0");
            w.no_node("/local/domain/0/backend/vif/1");
            w.no_node("/local/domain/1");
        },
        Code::RecordOfGone,
        "vif1.0",
        |w, finding| w.mend(finding),
    );
}

#[test]
fn an_element_of_a_link_that_nobody_has() {
    beside(
        "an_element_of_a_link_that_nobody_has",
        |_| sh("nft add element inet xennet src4 '{ \"vif77.0\" . 10.1.0.77 }'"),
        Code::ElementOfGone,
        "vif77.0",
        |_, _| sh("nft delete element inet xennet src4 '{ \"vif77.0\" . 10.1.0.77 }'"),
    );
}

#[test]
fn two_guests_with_one_mac() {
    beside(
        "two_guests_with_one_mac",
        |w| {
            w.node("/local/domain/0/backend/vif/8/0/mac", "00:16:3e:00:00:01");
            w.node("/local/domain/0/backend/vif/8/0/bridge", "xenbr0");
        },
        Code::MacTwice,
        "vif8.0",
        |w, _| w.no_node("/local/domain/0/backend/vif/8"),
    );
}

#[test]
fn two_guests_with_one_address() {
    beside(
        "two_guests_with_one_address",
        |w| {
            w.node("/local/domain/8/name", "guest8");
            w.node("/local/domain/0/backend/vif/8/0/ip", "192.0.2.11");
        },
        Code::AddressTwice,
        "vif8.0",
        |w, _| {
            w.no_node("/local/domain/0/backend/vif/8");
            w.no_node("/local/domain/8");
        },
    );
}

#[test]
fn a_guest_with_the_hosts_address() {
    beside(
        "a_guest_with_the_hosts_address",
        |_| sh("ip address add 192.0.2.12/24 dev xenbr0"),
        Code::AddressOfHost,
        "vif2.0",
        |_, _| sh("ip address del 192.0.2.12/24 dev xenbr0"),
    );
}

#[test]
fn a_guest_with_the_gateways_address() {
    beside(
        "a_guest_with_the_gateways_address",
        |_| sh("ip route replace default via 192.0.2.12"),
        Code::AddressOfGateway,
        "vif2.0",
        |_, _| sh("ip route replace default via 192.0.2.1"),
    );
}

#[test]
fn a_guest_with_a_mac_of_the_host() {
    beside(
        "a_guest_with_a_mac_of_the_host",
        |_| sh("ip link add other type bridge; ip link set other address 00:16:3e:00:00:02"),
        Code::MacOfHost,
        "vif2.0",
        |_, _| sh("ip link del other"),
    );
}

#[test]
fn a_mac_that_is_a_groups() {
    beside(
        "a_mac_that_is_a_groups",
        |w| w.node("/local/domain/0/backend/vif/8/0/mac", "01:00:5e:00:00:01"),
        Code::MacUnusable,
        "vif8.0",
        |w, _| w.no_node("/local/domain/0/backend/vif/8"),
    );
}

#[test]
fn a_guests_mac_behind_the_uplink() {
    beside(
        "a_guests_mac_behind_the_uplink",
        |_| sh("bridge fdb add 00:16:3e:00:00:01 dev eth0 master dynamic"),
        Code::MacElsewhere,
        "vif1.0",
        |_, _| sh("bridge fdb del 00:16:3e:00:00:01 dev eth0 master"),
    );
}

#[test]
fn an_address_that_another_machine_answers_for() {
    beside(
        "an_address_that_another_machine_answers_for",
        |_| sh("ip neigh replace 192.0.2.11 lladdr 02:00:00:00:00:99 dev xenbr0 nud stale"),
        Code::AddressElsewhere,
        "vif1.0",
        |_, _| sh("ip neigh del 192.0.2.11 dev xenbr0"),
    );
}

#[test]
fn a_gateway_that_is_silent() {
    beside(
        "a_gateway_that_is_silent",
        |w| {
            UdpSocket::bind("0.0.0.0:0").unwrap().send_to(b"x", "203.0.113.9:9").unwrap();
            soon("it was asked", || {
                w.recording().details.neighbours.iter().any(|n| n.silent && n.address.to_string() == "192.0.2.1")
            });
        },
        Code::GatewaySilent,
        "192.0.2.1",
        |_, _| sh("ip neigh replace 192.0.2.1 lladdr 02:00:00:00:00:77 dev xenbr0 nud stale"),
    );
}

#[test]
fn a_vif_that_nobody_attached_with_another_mac() {
    beside(
        "a_vif_that_nobody_attached_with_another_mac",
        |w| {
            sh("ip link add vif9.0 address 02:00:00:00:00:09 type veth peer name guest9
                ip link set vif9.0 master xenbr0; ip link set vif9.0 up; ip link set guest9 up");
            w.tell(9, "mac=00:16:3e:00:00:09,bridge=xenbr0");
        },
        Code::BackendMac,
        "vif9.0",
        |w, finding| w.mend(finding),
    );
}

#[test]
fn a_network_that_was_described_otherwise() {
    beside(
        "a_network_that_was_described_otherwise",
        |w| w.described = NETWORKS.replace("10.1.0.0/24", "10.1.0.0/25"),
        Code::StartedOtherwise,
        "network private",
        |w, _| w.described = NETWORKS.into(),
    );
}

#[test]
fn what_only_a_trace_tells() {
    for (n, (fault, end)) in [
        ("ip rule add prohibit pref 100", "ip rule del prohibit pref 100"),
        ("ip rule add iif vif3.0 blackhole pref 100", "ip rule del iif vif3.0 blackhole pref 100"),
        ("sysctl -qw net/ipv4/conf/vif3.0/forwarding=0", "sysctl -qw net/ipv4/conf/vif3.0/forwarding=1"),
        (
            "ip rule add from 10.1.0.0/24 lookup 78 pref 50; ip route add prohibit default table 78",
            "ip rule del pref 50; ip route flush table 78",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        in_netns("beside::what_only_a_trace_tells", || {
            let mut world = World::healthy();
            world.assert_healthy();
            sh(fault);
            let bad = world.bad();
            assert!(bad.iter().any(|f| f.code == Code::PacketsDropped && f.object == "vif3.0"), "{n}: {}", told(&bad));
            sh(end);
            world.assert_healthy();
        });
    }
}

#[test]
fn a_masquerade_of_others() {
    beside(
        "a_masquerade_of_others",
        |_| {
            sh("nft add table ip nat
                nft add chain ip nat post '{ type nat hook postrouting priority 100; }'
                nft add rule ip nat post oifname xenbr0 masquerade");
        },
        Code::ForeignMasquerade,
        "nft table ip nat",
        |_, _| sh("nft delete table ip nat"),
    );
}

#[test]
fn a_networks_file_with_an_error() {
    beside(
        "a_networks_file_with_an_error",
        |w| w.described = "[network.lan]\nmode = \"brigde\"\n".into(),
        Code::DescriptionUnreadable,
        "networks.toml",
        |w, _| w.described = NETWORKS.into(),
    );
}

#[test]
fn a_script_that_is_not_there() {
    beside(
        "a_script_that_is_not_there",
        |w| w.around.scripts.push(Problem::new("/etc/xen/scripts/vif-mine", "there is no such file")),
        Code::ScriptMissing,
        "/etc/xen/scripts/vif-mine",
        |w, _| w.around.scripts.clear(),
    );
}

#[test]
fn a_hook_and_an_old_script() {
    beside(
        "a_hook_and_an_old_script",
        |w| {
            let call = OldCall::new("/etc/xen/scripts/vif-mine", 12, "setup_virtual_bridge_port", "4.22");
            w.around.old_calls.push(call);
            w.around.hooks.push(Problem::new("/etc/xen/scripts/vif-post.d/50-x.hook", "others can change it"));
        },
        Code::ScriptOfOldXen,
        "/etc/xen/scripts/vif-mine",
        |w, _| {
            assert!(w.findings().iter().any(|f| f.code == Code::HookBroken));
            w.around = Default::default();
        },
    );
}
