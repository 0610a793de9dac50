//! What is refused, with the host as it was, and what is told beside a success.

use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Address, Family, NextHop, RouteKind, Rule, RuleAction};
use xennet_core::step::{AddrStep, LinkChange, LinkStep, Step};
use xennet_core::{ErrorKind, Guests, Host, MacAddr};
use xennet_tests::steps::{card, into, name, run, set};
use xennet_tests::{Shared, in_netns};

use super::world::{LAN, World, add, address, all, fake, network, one, route, via};

#[test]
fn a_host_that_is_not_as_the_network_needs_it_is_left_as_it_is() {
    let mut world = fake();
    one(&mut world);
    run(
        &mut world,
        Step::Link(LinkStep::Create {
            name: name("br9"),
            kind: xennet_core::step::NewLink::Bridge,
            change: LinkChange::default(),
        }),
    );
    let cases = [
        ("mode = \"bridge\"\nuplink = \"eth7\"", ErrorKind::LinkNotFound, "its uplink eth7 is not there"),
        ("mode = \"bridge\"\nuplink = \"br9\"", ErrorKind::Invalid, "br9 cannot be its uplink, it is a bridge"),
        ("mode = \"bridge\"\nbridge = \"eth0\"", ErrorKind::NotABridge, "eth0: exists already and is not a bridge"),
        ("mode = \"nat\"\negress = \"eth7\"", ErrorKind::LinkNotFound, "eth7, towards the outside, is not there"),
        ("mode = \"routed\"\nuplink = \"br9\"", ErrorKind::Invalid, "br9 has no IPv4 address"),
    ];
    for (text, kind, words) in cases {
        let on = Shared::new(world.clone());
        let before = all(&mut on.clone());
        let mut host = Host::with_backend(Box::new(on.clone()));
        let n = network(&format!("[network.n]\n{text}\n"));
        let e = host.start_network(&n).unwrap_err();
        assert_eq!(e.kind(), kind, "{text}: {}", e.report());
        assert!(e.to_string().contains(words), "{text}: {e}");
        assert!(e.hint().is_some() && e.state() == Some("unchanged, nothing was applied"), "{}", e.report());
        assert_eq!(all(&mut on.clone()), before, "{text}");
    }
    // What the uplink has would not be the same on the bridge.
    let encap = via("10.0.0.0/8", "eth0", "192.168.0.2").with_beyond("encap".to_owned());
    let hop = |link, gateway: &str| NextHop::through(name(link)).with_gateway(Some(gateway.parse().unwrap()));
    let next_hops = vec![hop("eth0", "192.168.0.2"), hop("eth1", "192.168.1.2")];
    let both = encap.clone().with_link(None).with_gateway(None).with_next_hops(next_hops);
    for (route, words) in
        [(encap, "xennet cannot make one with encap"), (both.with_beyond(None), "it leads through eth1, too")]
    {
        let mut with = world.clone();
        with.world_mut().routes.insert(route);
        let on = Shared::new(with);
        let before = all(&mut on.clone());
        let e = Host::with_backend(Box::new(on.clone())).start_network(&network(LAN)).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", e.report());
        assert!(e.to_string().contains(words), "{words}: {e}");
        assert!(e.hint().is_some() && e.state() == Some("unchanged, nothing was applied"), "{}", e.report());
        assert_eq!(all(&mut on.clone()), before, "{words}");
    }
    let rule = |iif| Rule::for_all(Family::Ipv4, 1000, RuleAction::Table(100)).with_iif(name(iif)).with_protocol(3);
    let there = Shared::new(world.clone());
    there.change(|fake| fake.world_mut().rules.extend([rule("eth0")]));
    let before = all(&mut there.clone());
    let mut host = Host::with_backend(Box::new(there.clone()));
    let e = host.start_network(&network(LAN)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("\"from all iif eth0 lookup 100 priority 1000"), "{e}");
    assert!(e.hint().unwrap().contains("ip rule add from all iif xenbr0 lookup 100"), "{}", e.report());
    assert_eq!(all(&mut there.clone()), before);
    there.change(|fake| fake.world_mut().rules.extend([rule("xenbr0").with_priority(999)]));
    host.start_network(&network(LAN)).unwrap();
    // Two cards with a router each.
    let second = Shared::new(world.clone());
    second.change(|fake| {
        fake.add_hardware(name("eth1"), card(MacAddr::new([2, 0, 0, 0, 0, 9])));
        fake.world_mut().routes.insert(via("0.0.0.0/0", "eth1", "192.168.1.1"));
    });
    let e = Host::with_backend(Box::new(second)).start_network(&network(LAN)).unwrap_err();
    assert!(e.to_string().contains("dev eth1 proto boot\" the kernel would keep only one"), "{e}");
    let mut with = world.clone();
    let flags = Address::IS_DUPLICATE;
    let found = Address::new(name("eth0"), "2001:db8::3/64".parse().unwrap()).with_flags(flags);
    with.world_mut().addresses.insert(found);
    let e = Host::with_backend(Box::new(Shared::new(with))).start_network(&network(LAN)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.to_string().contains("another station has 2001:db8::3 of eth0, too"), "{e}");
    // A port of another bridge.
    set(&mut world, "eth0", into("br9"));
    let on = Shared::new(world);
    let e = Host::with_backend(Box::new(on)).start_network(&network(LAN)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::PortOfOther);
}

#[test]
fn a_bridge_with_guests_is_not_taken_from_them() {
    let on = Shared::new(fake());
    let mut host = Host::with_backend(Box::new(on.clone()));
    host.start_network(&network("[network.xenbr0]\nmode = \"bridge\"\n")).unwrap();
    host.attach(xennet_core::DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap()).unwrap_err();
    on.change(|fake| fake.add_vif(xennet_core::VifId::from_vif_name("vif5.0").unwrap()));
    host.attach(xennet_core::DomId::new(5).unwrap(), &"bridge=xenbr0".parse().unwrap()).unwrap();
    let before = all(&mut on.clone());
    let e = host.stop_network(&name("xenbr0"), Guests::MustHaveGone).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Conflict);
    assert!(e.to_string().contains("xenbr0 has the ports vif5.0"), "{e}");
    assert_eq!(all(&mut on.clone()), before);
    host.stop_network(&name("xenbr0"), Guests::AreCutOff).unwrap();
    assert!(!all(&mut on.clone()).contains("xenbr0"));
}

#[test]
fn a_bridge_is_not_taken_from_networks_that_leave_through_it() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    let dmz = "[network.dmz]\nmode = \"routed\"\nuplink = \"xenbr0\"\nsubnets = [\"10.0.0.0/24\"]\nproxy_arp = true\n";
    let dmz = network(dmz);
    host.start_network(&network(LAN)).unwrap();
    host.start_network(&dmz).unwrap();
    let both = all(&mut on.clone());
    let e = host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_err();
    assert_eq!((e.kind(), e.object()), (ErrorKind::Conflict, Some("xenbr0")));
    assert!(e.to_string().contains("others leave through xenbr0: dmz"), "{e}");
    assert_eq!(all(&mut on.clone()), both);
    // Another card comes in the place of the uplink: the bridge's settings are what dmz needs by now.
    on.change(|fake| {
        fake.remove_hardware(&name("eth0"));
        fake.add_hardware(name("eth0"), card(MacAddr::new([0x00, 0x16, 0x3e, 9, 9, 9])));
    });
    host.start_network(&network(LAN)).unwrap();
    for network in [&network(LAN), &dmz] {
        assert_eq!(host.network_status(network).unwrap().missing, [""; 0]);
    }
    host.stop_network(&name("dmz"), Guests::MustHaveGone).unwrap();
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
    let after = all(&mut on.clone());
    assert!(before.lines().filter(|l| l.contains("ip route")).all(|l| after.contains(l)), "{after}");
}

#[test]
fn the_way_out_is_one_and_the_first_address_is_the_kernels_first() {
    in_netns("refused::the_way_out_is_one_and_the_first_address_is_the_kernels_first", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        let refuses = |to: &str| via(to, "eth0", "::").with_kind(RouteKind::Unreachable).with_link(None).with_scope(0);
        add(&mut on, refuses("::/0").with_gateway(None).with_metric(4096));
        let dmz = network("[network.dmz]\nmode = \"routed\"\n");
        let mut host = world.host();
        assert_eq!(host.default_route_link().unwrap(), None, "what refuses is no way");
        address(&mut on, "eth0", "192.168.0.3/24");
        address(&mut on, "eth0", "10.9.0.3/24");
        let old =
            Address::new(name("eth0"), "2001:db8::1/64".parse().unwrap()).with_lifetime((4000, 0)).with_nodad(true);
        run(&mut on, Step::Addr(AddrStep::Add(old)));
        route(&mut on, "0.0.0.0/0", "eth0", "192.168.0.1");
        host.start_network(&dmz).unwrap_or_else(|e| panic!("{}", e.report()));
        let started = host.started_networks().unwrap();
        assert_eq!(
            (started[0].outside, started[0].source.clone()),
            (Some(name("eth0")), vec!["192.168.0.3".parse().unwrap()])
        );
    });
}

/// The mistake of who copies the LAN's subnet: nothing fails, and nobody finds anybody.
#[test]
fn a_subnet_that_the_outside_has_too_is_told() {
    let mut world = fake();
    one(&mut world);
    let mut host = Host::with_backend(Box::new(Shared::new(world)));
    let mut notes = |text: &str| {
        let network = network(&format!("[network.a]\n{text}\n"));
        let planned = host.plan_start(&network).unwrap().notes().to_vec();
        assert_eq!(host.start_network(&network).unwrap().notes, planned);
        host.stop_network(&network.name(), Guests::MustHaveGone).unwrap();
        planned
    };
    for subnet in ["192.168.0.0/24", "192.168.0.128/25", "192.168.0.0/16"] {
        let told = notes(&format!("mode = \"nat\"\nsubnets = [\"{subnet}\"]"));
        assert!(
            told.len() == 1 && told[0].contains(&format!("{subnet} of its guests and 192.168.0.3/24 of eth0 overlap")),
            "{told:?}"
        );
    }
    assert_eq!(notes("mode = \"nat\"\nsubnets = [\"192.168.1.0/24\"]"), [""; 0]);
    let routed = "mode = \"routed\"\nuplink = \"eth0\"\nsubnets = [\"192.168.0.128/25\"]";
    assert_eq!(notes(routed).len(), 1);
    // With proxy ARP this is how it is meant.
    assert_eq!(notes(&format!("{routed}\nproxy_arp = true")), [""; 0]);
}

/// Each on a link of its own: a network can be stopped and started with other forwards, and who is cut off meanwhile is told.
#[test]
fn guests_without_a_bridge_are_named_when_their_network_stops() {
    let mut world = fake();
    one(&mut world);
    world.add_vif(xennet_core::VifId::from_vif_name("vif5.0").unwrap());
    let mut host = Host::with_backend(Box::new(Shared::new(world)));
    host.start_network(&network("[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n")).unwrap();
    host.start_network(&network("[network.b]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n")).unwrap();
    let domid = xennet_core::DomId::new(5).unwrap();
    host.attach(domid, &"bridge=a,ip=10.0.0.1,script=vif-nat".parse().unwrap()).unwrap();
    let note = "guests of network a are still attached, and may be cut off until it is started again: vif5.0";
    let plan = host.plan_stop(&name("a"), Guests::MustHaveGone).unwrap().unwrap();
    assert_eq!(plan.notes(), [note]);
    assert_eq!(host.stop_network(&name("b"), Guests::MustHaveGone).unwrap().notes, [""; 0]);
    assert_eq!(host.stop_network(&name("a"), Guests::MustHaveGone).unwrap().notes, [note]);
}

#[test]
fn what_the_outside_has_to_know_is_told() {
    let mut world = fake();
    one(&mut world);
    address(&mut world, "eth0", "2001:db8::3/64");
    let mut host = Host::with_backend(Box::new(Shared::new(world)));
    let dmz = network(
        "[network.dmz]\nmode = \"routed\"\nsubnets = [\"10.0.0.0/24\", \"2001:db8:7::/64\"]\nproxy_ndp = true\n",
    );
    host.start_network(&dmz).unwrap();
    let status = host.network_status(&dmz).unwrap();
    assert_eq!(status.elsewhere, ["ip route add 10.0.0.0/24 via 192.168.0.3"], "IPv6 is answered for on the uplink");
    assert_eq!(status.outside, Some(name("eth0")));
}

#[test]
fn a_router_that_guests_will_forget_is_told() {
    let notes = |keys: &str| {
        let mut world = fake();
        one(&mut world);
        let mut host = Host::with_backend(Box::new(Shared::new(world)));
        let text = format!("[network.private]\nmode = \"nat\"\negress = \"eth0\"\n{keys}\n");
        let notes = host.plan_start(&network(&text)).unwrap().notes().to_vec();
        // Who serves them is told of each that is served, and at first.
        let (served, others): (Vec<_>, Vec<_>) = notes.into_iter().partition(|n| n.contains("dnsmasq"));
        assert_eq!(served.len(), usize::from(keys.contains("dhcp")), "{served:?}");
        others
    };
    let six = "subnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]";
    let told = notes(&format!("{six}\ndhcp = true"));
    assert!(
        told[0].contains("forget their router after 9000 s") && told[0].contains("bridge = \"natbr0\""),
        "{told:?}"
    );
    for keys in [six, &format!("{six}\ndhcp = true\nbridge = \"natbr0\""), "subnets = [\"10.0.0.0/24\"]\ndhcp = true"] {
        assert!(notes(keys).is_empty(), "{keys}");
    }
}
