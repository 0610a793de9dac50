//! What has changed while a network was started, and what becomes of it.

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Address, Part, Scope, SysctlKey};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{ErrorKind, Guests, Host, MacAddr};
use xennet_tests::steps::{card, name, run, set, up};
use xennet_tests::{Shared, in_netns};

use super::world::{CLASSIC, LAN, World, address, all, down, fake, network, one, proxy, route, write};

#[test]
fn what_changed_meanwhile_goes_back_as_it_is() {
    let meanwhile = |on: &mut dyn Backend, host: &mut Host| {
        host.start_network(&network(LAN)).unwrap();
        // A lease was renewed with another address, and the administrator made routes and other addresses.
        address(on, "xenbr0", "192.168.0.33/24");
        route(on, "10.7.0.0/16", "xenbr0", "192.168.0.2");
        address(on, "xenbr0", "10.9.0.1/16");
        address(on, "xenbr0", "2001:db8:9::1/64");
        route(on, "2001:db8:a::/48", "xenbr0", "2001:db8:9::2");
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
        all(on)
    };
    let of_new = [
        "ip address add 192.168.0.33/24 dev eth0",
        "ip address add 10.9.0.1/16 dev eth0",
        "ip address add 2001:db8:9::1/64 dev eth0",
        "ip route add 10.7.0.0/16 via 192.168.0.2 dev eth0",
        "ip route add 10.9.0.0/16 dev eth0",
        "ip route add 2001:db8:9::/64 dev eth0",
        "ip route add 2001:db8:a::/48 via 2001:db8:9::2 dev eth0",
    ];
    let of_old = "ip route add default via 192.168.0.1 dev eth0";
    let check = |text: &str, lines: &[&str], what: &str| {
        for line in lines {
            assert!(text.contains(line), "{what}: {line}\n{text}");
        }
        assert!(!text.contains("xenbr0"), "{what}: {text}");
        let is_up = text.lines().any(|l| l.starts_with("ip link add eth0") && l.contains(" up"));
        assert!(is_up, "{what}: what it has been given does not work on a link that is down\n{text}");
    };
    for (make, lines) in [(one as fn(&mut dyn Backend), [&of_new[..], &[of_old]].concat()), (down, of_new.to_vec())] {
        let mut world = fake();
        make(&mut world);
        let on = Shared::new(world);
        let mut host = Host::with_backend(Box::new(on.clone()));
        check(&meanwhile(&mut on.clone(), &mut host), &lines, "fake");
        in_netns("meanwhile::what_changed_meanwhile_goes_back_as_it_is", || {
            let world = World::new();
            let mut on = Netlink::open().unwrap();
            make(&mut on);
            check(&meanwhile(&mut on, &mut world.host()), &lines, "kernel");
        });
    }
}

#[test]
fn what_a_bridge_of_others_was_given_meanwhile_stays_on_it() {
    let mut world = fake();
    one(&mut world);
    let create = LinkStep::Create { name: name("xenbr0"), kind: NewLink::Bridge, change: LinkChange::default() };
    run(&mut world, Step::Link(create));
    set(&mut world, "xenbr0", up());
    address(&mut world, "xenbr0", "10.5.0.1/24");
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    host.start_network(&network(LAN)).unwrap();
    address(&mut on.clone(), "xenbr0", "10.7.0.1/24");
    address(&mut on.clone(), "xenbr0", "2001:db8:7::1/64");
    route(&mut on.clone(), "10.8.0.0/16", "xenbr0", "10.7.0.9");
    proxy(&mut on.clone(), "xenbr0", "10.7.0.77");
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
    let after = all(&mut on.clone());
    let given: Vec<&str> = after.lines().filter(|l| !before.contains(l) && !l.starts_with("order of ")).collect();
    assert_eq!(
        given,
        [
            "ip address add 10.7.0.1/24 dev xenbr0",
            "ip address add 2001:db8:7::1/64 dev xenbr0 nodad",
            "ip route add 10.7.0.0/24 dev xenbr0 proto kernel scope link src 10.7.0.1",
            "ip route add 10.8.0.0/16 via 10.7.0.9 dev xenbr0 proto boot",
            "ip route add 2001:db8:7::/64 dev xenbr0 proto kernel metric 256",
            "ip neighbour add proxy 10.7.0.77 dev xenbr0",
        ]
    );
    assert!(before.lines().all(|l| after.contains(l)), "{after}");
}

#[test]
fn an_address_that_was_changed_for_another_of_its_network_goes_back() {
    let change = |on: &mut dyn Backend, host: &mut Host| {
        host.start_network(&network(LAN)).unwrap();
        let old = Address::new(name("xenbr0"), "192.168.0.3/24".parse().unwrap());
        run(on, Step::Addr(AddrStep::Del(old)));
        address(on, "xenbr0", "192.168.0.33/24");
        route(on, "0.0.0.0/0", "xenbr0", "192.168.0.1");
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        let text = all(on);
        assert!(text.contains("ip address add 192.168.0.33/24 dev eth0"), "{text}");
        assert!(
            text.contains("ip route add 192.168.0.0/24 dev eth0 proto kernel scope link src 192.168.0.33"),
            "{text}"
        );
        assert!(text.contains("default via 192.168.0.1 dev eth0") && !text.contains("192.168.0.3/24"), "{text}");
    };
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    change(&mut on.clone(), &mut Host::with_backend(Box::new(on.clone())));
    in_netns("meanwhile::an_address_that_was_changed_for_another_of_its_network_goes_back", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        change(&mut on, &mut world.host());
    });
}

#[test]
fn what_others_took_away_meanwhile_does_not_keep_a_network_from_being_stopped() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    // Somebody removes the bridge, and with it all that dom0 had.
    host.start_network(&network(LAN)).unwrap();
    run(&mut on.clone(), Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) }));
    let status = host.network_status(&network(LAN)).unwrap();
    let lost = "somebody has removed xenbr0, and with it this domain's addresses: 192.168.0.3/24";
    assert!(status.started && status.missing.len() == 1 && status.missing[0].contains(lost), "{status:?}");
    // To make it anew without them would call that started which nobody reaches.
    for e in [host.start_network(&network(LAN)).unwrap_err(), host.plan_start(&network(LAN)).unwrap_err()] {
        assert!(e.kind() == ErrorKind::Conflict && e.to_string().contains(lost), "{e}");
        assert!(e.hint().is_some_and(|h| h.contains("xennet network stop lan")), "{e:?}");
    }
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
    assert_eq!(all(&mut on.clone()), before);
    // Where somebody has put them on the uplink meanwhile, it is made anew.
    host.start_network(&network(LAN)).unwrap();
    run(&mut on.clone(), Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) }));
    one(&mut on.clone());
    host.start_network(&network(LAN)).unwrap();
    assert_eq!(host.network_status(&network(LAN)).unwrap().missing, [""; 0]);
    assert!(all(&mut on.clone()).contains("ip address add 192.168.0.3/24 dev xenbr0"));
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
    assert_eq!(all(&mut on.clone()), before);
    // The uplink itself goes.
    host.start_network(&network(LAN)).unwrap();
    on.change(|fake| fake.remove_hardware(&name("eth0")));
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
    let text = all(&mut on.clone());
    assert!(!text.contains("xenbr0") && !text.contains("eth0"), "{text}");
}

#[test]
fn a_card_that_took_an_uplinks_place_gets_what_is_this_domains() {
    for (text, port) in [(LAN, "eth0"), (CLASSIC, "peth0")] {
        let mut world = fake();
        one(&mut world);
        let on = Shared::new(world);
        let mut host = Host::with_backend(Box::new(on.clone()));
        host.start_network(&network(text)).unwrap();
        let other = MacAddr::new([2, 0, 0, 0, 0x53, 9]);
        on.change(|fake| {
            fake.remove_hardware(&name(port));
            fake.add_hardware(name(port), card(other));
        });
        host.start_network(&network(text)).unwrap_or_else(|e| panic!("{text}: {}", e.report()));
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
        let text = all(&mut on.clone());
        for line in [
            "ip link add eth0 address 02:00:00:00:53:09 mtu 1500 up",
            "ip address add 192.168.0.3/24 dev eth0",
            "ip route add default via 192.168.0.1 dev eth0",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}

#[test]
fn settings_stay_as_long_as_a_network_needs_them() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    let a = network("[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n");
    let b = network("[network.b]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\", \"fd00::/64\"]\nbridge = \"natbr\"\n");
    let forwards = || all(&mut on.clone()).contains("sysctl net/ipv4/ip_forward=1");
    for order in [["a", "b"], ["b", "a"]] {
        host.start_network(&a).unwrap();
        host.start_network(&b).unwrap();
        host.stop_network(&name(order[0]), Guests::MustHaveGone).unwrap();
        assert!(forwards(), "{order:?}: the other one needs it");
        host.stop_network(&name(order[1]), Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before, "{order:?}: the last one puts back what the first one found");
    }
    // Once more, with nothing to do, and with something: what the first start found is what counts.
    for lost in [false, true] {
        host.start_network(&b).unwrap();
        if lost {
            set(&mut on.clone(), "natbr", LinkChange::default().with_up(false));
        }
        let again = host.start_network(&b).unwrap();
        assert_eq!(again.steps > 0, lost);
        host.stop_network(&b.name(), Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before, "something was lost: {lost}");
    }
    // What was so before stays so.
    write(&mut on.clone(), "net/ipv4/ip_forward", "1");
    host.start_network(&a).unwrap();
    host.stop_network(&name("a"), Guests::MustHaveGone).unwrap();
    assert!(forwards());
}

#[test]
fn a_bridge_that_another_network_routes_through_is_whole() {
    let mut world = fake();
    one(&mut world);
    address(&mut world, "eth0", "2001:db8::3/64");
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    let (lan, nat) = (network(LAN), network("[network.a]\nmode = \"nat\"\nsubnets = [\"fd00::/64\"]\n"));
    host.start_network(&lan).unwrap();
    host.start_network(&nat).unwrap();
    // A router listens to others no more, unless it is told to: the default route may come from there.
    let key: SysctlKey = "net/ipv6/conf/xenbr0/accept_ra".parse().unwrap();
    let listens = || {
        on.clone()
            .observe(&Scope::none().with(Part::Sysctl(key.clone())))
            .unwrap()
            .sysctls
            .get(&key)
            .unwrap()
            .to_owned()
    };
    assert_eq!(listens(), "2");
    assert_eq!(host.network_status(&lan).unwrap().missing, [""; 0]);
    assert_eq!((host.start_network(&lan).unwrap().steps, listens()), (0, "2".to_owned()));
    // What nobody needs is told of.
    write(&mut on.clone(), key.as_str(), "0");
    assert_eq!(host.network_status(&lan).unwrap().missing, [format!("{} = 1", key.as_str())]);
    for name in [nat.name(), lan.name()] {
        host.stop_network(&name, Guests::MustHaveGone).unwrap();
    }
    assert_eq!(all(&mut on.clone()), before);
}

#[test]
fn the_link_towards_the_outside_is_no_part_of_a_network() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    let lan = network(LAN);
    for mode in ["nat", "routed"] {
        let other = network(&format!("[network.a]\nmode = \"{mode}\"\nsubnets = [\"10.0.0.0/24\"]\n"));
        // The bridge that it leads through goes first, by force, and does not come back.
        host.start_network(&lan).unwrap();
        host.start_network(&other).unwrap();
        host.stop_network(&lan.name(), Guests::AreCutOff).unwrap();
        host.stop_network(&other.name(), Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before, "{mode}");
        // What becomes of the link meanwhile is its own matter.
        host.start_network(&other).unwrap();
        let mtu = |mtu| LinkChange::default().with_mtu(mtu);
        set(&mut on.clone(), "eth0", mtu(1400));
        host.stop_network(&other.name(), Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before.replace("mtu 1500", "mtu 1400"), "{mode}");
        set(&mut on.clone(), "eth0", mtu(1500));
    }
}
