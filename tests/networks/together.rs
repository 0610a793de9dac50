//! Several networks and one uplink; and both families alike.

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NeighbourKind, Part, Scope, SysctlKey};
use xennet_core::{DevId, DomId, ErrorKind, Guests, Host, VifId, VifSpec};
use xennet_tests::steps::name;
use xennet_tests::{Shared, in_netns};

use super::world::{LAN, World, address, all, fake, network, of_sources, one, route};

const PRIVATE: &str = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n";
const BEHIND_A_BRIDGE: &str = "[network.private]\nmode = \"nat\"\nbridge = \"natbr\"\nsubnets = [\"10.0.0.0/24\"]\n";
const SEEN: &str = "[network.seen]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\"]\nproxy_arp = true\n";

/// A link that started networks leave through does not become a port; those networks start after its bridge.
fn in_both_orders(on: &mut dyn Backend, host: &mut Host, text: &str) {
    let (lan, other) = (network(LAN), network(text));
    let before = all(on);
    host.start_network(&other).unwrap_or_else(|e| panic!("{}", e.report()));
    let started = all(on);
    for e in [host.plan_start(&lan).unwrap_err(), host.start_network(&lan).unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
        let way_out = format!("xennet network stop {0}; xennet network start lan {0}", other.name());
        assert!(e.report().contains(&way_out), "{}", e.report());
    }
    assert_eq!(all(on), started);
    host.stop_network(&other.name(), Guests::MustHaveGone).unwrap();
    assert_eq!(all(on), before);
    // The way that was told.
    host.start_network(&lan).unwrap_or_else(|e| panic!("{}", e.report()));
    host.start_network(&other).unwrap_or_else(|e| panic!("{}", e.report()));
    let status = host.network_status(&other).unwrap();
    assert_eq!((status.outside, &status.missing[..]), (Some(name("xenbr0")), &[][..]));
    assert_eq!(of_sources(&all(on)), of_sources(&before));
    for again in [&lan, &other] {
        assert_eq!(host.start_network(again).unwrap().steps, 0, "{}", again.name());
    }
    let e = host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
    host.stop_network(&other.name(), Guests::MustHaveGone).unwrap();
    host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap();
    assert_eq!(all(on), before);
}

#[test]
fn a_link_that_others_leave_through_becomes_no_port() {
    for text in [PRIVATE, BEHIND_A_BRIDGE, SEEN] {
        let mut world = fake();
        one(&mut world);
        let on = Shared::new(world);
        in_both_orders(&mut on.clone(), &mut Host::with_backend(Box::new(on.clone())), text);
    }
    in_netns("together::a_link_that_others_leave_through_becomes_no_port", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        super::state::settled(&mut on);
        for text in [PRIVATE, BEHIND_A_BRIDGE, SEEN] {
            in_both_orders(&mut on, &mut world.host(), text);
        }
    });
}

fn setting(on: &mut dyn Backend, key: &str) -> String {
    let key: SysctlKey = key.parse().unwrap();
    on.observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap().sysctls.get(&key).unwrap().to_owned()
}

/// Without subnets guests may have addresses of both families, and what is answered for is routed.
#[test]
fn both_families_are_routed_where_both_are_answered_for() {
    let mut world = fake();
    one(&mut world);
    address(&mut world, "eth0", "2001:db8::3/64");
    route(&mut world, "::/0", "eth0", "2001:db8::1");
    let (domid, vif) = (DomId::new(5).unwrap(), "mac=00:16:3e:00:00:05,bridge=seen,ip=192.168.0.50 2001:db8::50");
    let vif: VifSpec = vif.parse().unwrap();
    world.add_vif(VifId::new(domid, DevId::FIRST));
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    let text = "[network.seen]\nmode = \"routed\"\nuplink = \"eth0\"\nproxy_arp = true\n";
    // What is dead is told.
    host.start_network(&network(text)).unwrap();
    let applied = host.attach(domid, &vif).unwrap_or_else(|e| panic!("{}", e.report()));
    let told = |n: &String| n.contains("network seen routes no IPv6") && n.contains("proxy_ndp = true");
    assert!(applied.notes.iter().any(told), "{:?}", applied.notes);
    host.detach(domid, DevId::FIRST).unwrap();
    host.stop_network(&name("seen"), Guests::MustHaveGone).unwrap();
    let text = format!("{text}proxy_ndp = true\n");
    host.start_network(&network(&text)).unwrap();
    let applied = host.attach(domid, &vif).unwrap_or_else(|e| panic!("{}", e.report()));
    assert!(!applied.notes.iter().any(told), "{:?}", applied.notes);
    let on = &mut on.clone();
    for key in [
        "net/ipv4/ip_forward",
        "net/ipv6/conf/all/forwarding",
        "net/ipv4/conf/eth0/proxy_arp",
        "net/ipv6/conf/eth0/proxy_ndp",
    ] {
        assert_eq!(setting(on, key), "1", "{key}");
    }
    let seen = on.observe(&Scope::none().with(Part::Neighbours(name("eth0")))).unwrap();
    let answers = |n: &xennet_core::snapshot::Neighbour| {
        n.kind == NeighbourKind::Proxy && n.address.to_string() == "2001:db8::50"
    };
    assert!(seen.neighbours.iter().any(answers), "{seen:?}");
}

/// Where a network leaves, and who is in it, in whatever way its guests are connected.
#[test]
fn who_is_in_a_network_and_where_it_leaves() {
    let mut world = fake();
    one(&mut world);
    for domid in 9..15 {
        world.add_vif(VifId::new(DomId::new(domid).unwrap(), DevId::FIRST));
    }
    let mut host = Host::with_backend(Box::new(Shared::new(world)));
    let routed = SEEN.replace("proxy_arp", "uplink = \"xenbr0\"\nproxy_arp");
    let networks = [LAN, PRIVATE, &routed].map(network);
    for network in &networks {
        host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    for (domids, line) in
        [([9, 10], "bridge=xenbr0"), ([11, 12], "bridge=private,ip=10.0.0."), ([13, 14], "bridge=seen,ip=10.2.0.")]
    {
        for domid in domids {
            let line = if line.contains("ip=") { format!("{line}{domid}") } else { line.to_owned() };
            host.attach(DomId::new(domid).unwrap(), &line.parse().unwrap())
                .unwrap_or_else(|e| panic!("{}", e.report()));
        }
    }
    let mut seen = |which: usize| {
        let status = host.network_status(&networks[which]).unwrap();
        assert_eq!(status.missing, [""; 0]);
        (
            status.outside.unwrap().to_string(),
            status.ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        )
    };
    assert_eq!(seen(0), ("eth0".into(), "eth0 vif9.0 vif10.0".into()));
    assert_eq!(seen(1), ("xenbr0".into(), "vif11.0 vif12.0".into()));
    assert_eq!(seen(2), ("xenbr0".into(), "vif13.0 vif14.0".into()));
    let bridges = host.show().unwrap().bridges;
    let ports: Vec<String> = bridges[0].ports.iter().map(ToString::to_string).collect();
    assert_eq!(ports.join(" "), "eth0 vif9.0 vif10.0");
}
