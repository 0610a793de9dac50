//! An uplink with whatever it has: what is there after a start, and after a stop.

use xennet_core::backend::Backend;
use xennet_core::backend::fake::Fault;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Address, Expiry, NextHop, Part, Route, Scope, Snapshot, SysctlKey};
use xennet_core::step::{AddrStep, LinkStep, RouteStep, Step};
use xennet_core::{Guests, Host, exec};
use xennet_tests::steps::{name, run};
use xennet_tests::{Shared, StateDir, in_netns};

use super::world::{
    CLASSIC, LAN, World, add, address, all, down, fake, network, of_sources, one, proxy, route, via, write,
};

/// What an uplink can have, each of which the scripts lost something of.
type Uplink = (&'static str, fn(&mut dyn Backend));

const UPLINKS: &[Uplink] = &[
    ("nothing", |_| {}),
    ("nothing, and it is down", down),
    ("addresses, while it is down", |on| {
        down(on);
        address(on, "eth0", "192.168.0.3/24");
    }),
    ("one address and a default route", one),
    ("no default route", |on| address(on, "eth0", "192.168.0.3/24")),
    ("two IPv4 addresses of a network, and one with a label", |on| {
        one(on);
        address(on, "eth0", "192.168.0.4/24");
        let labelled = Address::new(name("eth0"), "198.51.100.7/28".parse().unwrap()).with_label("eth0:web".to_owned());
        run(on, Step::Addr(AddrStep::Add(labelled)));
    }),
    ("global IPv6 addresses, and a default route through a link-local one", |on| {
        one(on);
        address(on, "eth0", "2001:db8::3/64");
        address(on, "eth0", "2001:db8:1::3/64");
        route(on, "::/0", "eth0", "fe80::1");
    }),
    ("several routes", |on| {
        one(on);
        route(on, "172.16.0.0/12", "eth0", "192.168.0.2");
        add(on, via("172.16.0.0/12", "eth0", "192.168.0.9").with_metric(50));
        add(on, via("0.0.0.0/0", "eth0", "192.168.0.8").with_table(100));
        address(on, "eth0", "198.51.100.7/28");
        let source = Some("198.51.100.7".parse().unwrap());
        add(on, via("203.0.113.0/24", "eth0", "198.51.100.1").with_metric(7).with_source(source));
    }),
    ("routes as NetworkManager makes them", |on| {
        for (text, to) in [("192.168.0.3/24", "192.168.0.0/24"), ("2001:db8::3/64", "2001:db8::/64")] {
            let no_route =
                Address::new(name("eth0"), text.parse().unwrap()).with_no_prefix_route(true).with_nodad(true);
            let nodad = text.contains(':');
            run(on, Step::Addr(AddrStep::Add(no_route.with_nodad(nodad))));
            let source = Some("192.168.0.3".parse().unwrap()).filter(|_| !nodad);
            add(on, Route::to(to.parse().unwrap(), name("eth0")).with_metric(100).with_protocol(2).with_source(source));
        }
        add(on, via("0.0.0.0/0", "eth0", "192.168.0.1").with_metric(100));
        add(on, via("::/0", "eth0", "2001:db8::1").with_metric(100));
    }),
    ("an IPv6 address that expires", |on| {
        one(on);
        let text = "2001:db8::3/64".parse().unwrap();
        let expires = Address::new(name("eth0"), text).with_lifetime((4000, 3000)).with_nodad(true);
        run(on, Step::Addr(AddrStep::Add(expires)));
    }),
    ("routes with numbers of their own", |on| {
        one(on);
        address(on, "eth0", "2001:db8::3/64");
        // advmss, and a locked MTU.
        add(on, via("10.0.0.0/8", "eth0", "192.168.0.2").with_mtu(1400).with_metrics(vec![(1, 4), (8, 1300)]));
        // As a router advertisement makes it.
        let told = via("::/0", "eth0", "2001:db8::1");
        let expires = Expiry(Some(1800));
        add(
            on,
            told.with_protocol(9)
                .with_metric(1024)
                .with_metrics(vec![(10, 64)])
                .with_expires(expires)
                .with_preference(1),
        );
    }),
    ("addresses with metrics and flags", |on| {
        // As systemd-networkd gives them, and as the kernel makes one of a router advertisement.
        let with = |text: &str, metric, flags| {
            Address::new(name("eth0"), text.parse().unwrap())
                .with_metric(metric)
                .with_flags(flags)
                .with_nodad(text.contains(':'))
        };
        for a in [with("192.168.0.3/24", 77, 0), with("2001:db8::3/64", 88, 0), with("2001:db8:1::3/64", 0, 0x100)] {
            run(on, Step::Addr(AddrStep::Add(a)));
        }
        route(on, "0.0.0.0/0", "eth0", "192.168.0.1");
    }),
    ("routes with several ways", |on| {
        one(on);
        address(on, "eth0", "2001:db8::3/64");
        add(on, ways("10.0.0.0/8", &["192.168.0.2", "192.168.0.4"]));
        add(on, ways("2001:db8:5::/48", &["2001:db8::2", "2001:db8::4"]));
    }),
    ("a main and another address of a hoster's, in no order of numbers", |on| {
        address(on, "eth0", "203.0.113.20/32");
        address(on, "eth0", "192.0.2.5/32");
        add(on, via("0.0.0.0/0", "eth0", "203.0.113.1").with_onlink(true));
    }),
    ("addresses of several lengths, each subnet with further ones", |on| {
        for text in
            ["198.51.100.9/24", "192.0.2.9/26", "198.51.100.3/24", "192.0.2.1/32", "198.51.100.5/24", "10.0.0.7/8"]
        {
            address(on, "eth0", text);
        }
        route(on, "0.0.0.0/0", "eth0", "198.51.100.1");
    }),
    ("several IPv6 addresses, of which the newest counts", |on| {
        for text in ["2001:db8:2::3/64", "2001:db8:3::3/128", "2001:db8:1::3/64", "2001:db8:1::2/64", "fd00::9/64"] {
            address(on, "eth0", text);
        }
        route(on, "::/0", "eth0", "fe80::1");
    }),
    ("a way to the neighbours through the gateway, as hosters ask for it", |on| {
        address(on, "eth0", "203.0.113.10/26");
        let through = via("203.0.113.0/26", "eth0", "203.0.113.1").with_protocol(3);
        run(on, Step::Route(RouteStep::Prepend(through)));
        route(on, "0.0.0.0/0", "eth0", "203.0.113.1");
    }),
    ("routes that compete", |on| {
        one(on);
        for (to, gateway) in [
            ("0.0.0.0/0", "192.168.0.9"),
            ("0.0.0.0/0", "192.168.0.8"),
            ("10.0.0.0/8", "192.168.0.7"),
            ("10.0.0.0/8", "192.168.0.6"),
            ("192.168.0.0/24", "192.168.0.5"),
        ] {
            run(on, Step::Route(RouteStep::Append(via(to, "eth0", gateway))));
        }
        for gateway in ["192.168.0.4", "192.168.0.2"] {
            run(on, Step::Route(RouteStep::Prepend(via("192.168.0.0/24", "eth0", gateway))));
        }
    }),
    ("settings and neighbours", |on| {
        one(on);
        write(on, "net/ipv4/conf/eth0/rp_filter", "2");
        write(on, "net/ipv6/conf/eth0/accept_ra", "0");
        proxy(on, "eth0", "192.168.0.77");
    }),
];

/// A route with several ways through the uplink.
fn ways(to: &str, gateways: &[&str]) -> Route {
    let hop = |gateway: &&str| {
        let gateway = Some(gateway.parse().unwrap());
        NextHop::through(name("eth0")).with_gateway(gateway)
    };
    let next_hops = gateways.iter().map(hop).collect();
    let metric = if to.contains(':') { 1024 } else { 0 };
    Route::to(to.parse().unwrap(), name("eth0"))
        .with_link(None)
        .with_scope(0)
        .with_metric(metric)
        .with_next_hops(next_hops)
}

/// Starts and stops, on a fake and on the kernel; the world is the same before and after.
fn there_and_back(mut look: impl FnMut() -> String, host: &mut Host, text: &str, what: &str) {
    let lan = network(text);
    let before = look();
    let applied = host.start_network(&lan).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
    assert!(applied.steps > 0, "{what}");
    let started = look();
    assert_ne!(before, started, "{what}");
    if !what.contains("down") {
        assert_eq!(of_sources(&before), of_sources(&started), "{what}: what this domain sends from\n{started}");
    }
    let again = host.start_network(&lan).unwrap();
    assert_eq!((again.steps, started_text(&look())), (0, started_text(&started)), "{what}: once more changes nothing");
    let status = host.network_status(&lan).unwrap();
    assert!(status.started && status.missing.is_empty(), "{what}: {status:?}");
    host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
    assert_eq!(look(), before, "{what}: as before\nstarted:\n{started}");
    let twice = host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap();
    assert_eq!((twice.steps, &twice.notes[..]), (0, &["network lan is not started".to_owned()][..]));
    // And again, from where it was.
    host.start_network(&lan).unwrap();
    assert_eq!(started_text(&look()), started_text(&started), "{what}: a second time is as the first");
    host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap();
    assert_eq!(look(), before, "{what}: as before, again");
}

fn started_text(text: &str) -> String {
    // The link-local address of a bridge whose uplink had none comes when it comes.
    text.lines().filter(|l| !l.starts_with("ip rule") && !l.contains(" fe80::")).collect::<Vec<_>>().join("\n")
}

/// Every address and route of the uplink is found again on the bridge.
fn assert_moved(before: &Snapshot, after: &Snapshot, bridge: &str, what: &str) {
    let bridge = name(bridge);
    let gone = name("eth0");
    for a in before.addresses_of(&gone) {
        let same = |b: &&Address| (*b).clone().with_link(gone).with_nodad(a.nodad).with_lifetime(a.lifetime) == *a;
        assert!(after.addresses_of(&bridge).any(|b| same(&b)), "{what}: {a:?}");
    }
    for r in before.routes.iter().filter(|r| r.link == Some(gone)) {
        let same = |n: &&Route| (*n).clone().with_link(r.link) == *r && n.link == Some(bridge);
        assert!(after.routes.iter().any(|n| same(&n)), "{what}: {r:?}\n{}", after.render());
    }
    // The kernel would take the older of two ways of the same metric, and nobody answers behind a port.
    let port = name(if bridge == gone { "peth0" } else { "eth0" });
    assert!(!after.routes.iter().any(|r| r.leads_through(&port)), "{what}: {}", after.render());
}

#[test]
fn an_uplink_comes_back_as_it_was_on_the_fake() {
    for (what, make) in UPLINKS {
        for (text, held) in [(LAN, false), (CLASSIC, false), (CLASSIC, true)] {
            let mut world = fake();
            world.world_mut().hidden.names_held_while_up = held;
            make(&mut world);
            let on = Shared::new(world);
            let mut host = Host::with_backend(Box::new(on.clone()));
            there_and_back(|| all(&mut on.clone()), &mut host, text, what);
        }
    }
}

#[test]
fn an_uplink_comes_back_as_it_was_on_the_kernel() {
    comes_back("state::an_uplink_comes_back_as_it_was_on_the_kernel", &[LAN, CLASSIC], World::host);
}

/// On the kernel, by a host that this makes.
pub(crate) fn comes_back(test: &str, texts: &[&str], host: fn(&World) -> Host) {
    // An ordinary user's test is started again in namespaces of its own: once, and not for each uplink.
    in_netns(test, || each_comes_back(test, texts, host));
}

fn each_comes_back(test: &str, texts: &[&str], host: fn(&World) -> Host) {
    for (what, make) in UPLINKS {
        for text in texts {
            in_netns(test, || {
                let world = World::new();
                let mut on = Netlink::open().unwrap();
                make(&mut on);
                // The kernel's own link-local address comes when it comes.
                if !what.contains("down") {
                    settled(&mut on);
                }
                let before = on.observe(&Scope::network()).unwrap();
                let mut host = host(&world);
                host.start_network(&network(text)).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
                let bridge = if *text == CLASSIC { "eth0" } else { "xenbr0" };
                assert_moved(&before, &on.observe(&Scope::network()).unwrap(), bridge, what);
                host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
                there_and_back(|| all(&mut Netlink::open().unwrap()), &mut host, text, what);
            });
        }
    }
}

/// A stop has its own way, and its own moments in which it can be killed: also where the names are exchanged.
#[test]
fn a_crash_amid_a_stop_or_a_start_is_recovered_to_what_was_before_or_after() {
    for (what, make) in UPLINKS {
        for (text, held) in [(LAN, false), (CLASSIC, false), (CLASSIC, true)] {
            let mut world = fake();
            world.world_mut().hidden.names_held_while_up = held;
            make(&mut world);
            let started = {
                let on = Shared::new(world.clone());
                Host::with_backend(Box::new(on.clone())).start_network(&network(text)).unwrap();
                on.fake()
            };
            let texts = [all(&mut world.clone()), all(&mut started.clone())];
            for stops in [false, true] {
                for step in 0.. {
                    let state = StateDir::new();
                    let on = Shared::new(world.clone());
                    let host =
                        || Host::with_backend(Box::new(on.clone())).with_state_dir(exec::StateDir::at(state.path()));
                    if stops {
                        host().start_network(&network(text)).unwrap();
                    }
                    on.change(|fake| fake.set_faults([Fault::CrashAfter { step }]));
                    let result = match stops {
                        true => host().stop_network(&name("lan"), Guests::MustHaveGone),
                        false => host().start_network(&network(text)),
                    };
                    on.change(|fake| fake.set_faults([]));
                    if result.is_ok() {
                        assert!(step > 0);
                        break;
                    }
                    let at = format!("{what}: names are held: {held}, stops: {stops}, killed after step {step}");
                    host().recover().unwrap_or_else(|e| panic!("{at}: {}", e.report()));
                    let now = all(&mut on.clone());
                    assert!(texts.contains(&now), "{at}\n{now}");
                    host().stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
                    assert_eq!(all(&mut on.clone()), texts[0], "{at}");
                }
            }
        }
    }
}

/// A card that goes down is without a carrier for seconds, and takes addresses and routes along.
#[test]
fn an_uplink_is_up_all_the_time_while_names_are_exchanged() {
    for (what, make) in UPLINKS {
        let mut world = fake();
        make(&mut world);
        let was_up = world.world().links[&name("eth0")].up;
        let mut host = Host::with_backend(Box::new(Shared::new(world)));
        host.start_network(&network(CLASSIC)).unwrap();
        let plan = host.plan_stop(&name("lan"), Guests::MustHaveGone).unwrap().unwrap();
        let is_down = |s: &Step| {
            let Step::Link(LinkStep::Set { link, change }) = s else { return false };
            change.up == Some(false) && [name("peth0"), name("eth0")].contains(&link.name)
        };
        assert_eq!(plan.steps().iter().any(|p| is_down(&p.step)), !was_up, "{what}: {plan}");
    }
}

#[test]
fn a_bridge_is_set_as_its_uplink_was() {
    in_netns("state::a_bridge_is_set_as_its_uplink_was", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        let values = [
            ("net/ipv6/conf/eth0/disable_ipv6", "1"),
            ("net/ipv6/conf/eth0/accept_ra_defrtr", "0"),
            ("net/ipv6/conf/eth0/use_tempaddr", "2"),
            ("net/ipv4/conf/eth0/arp_ignore", "1"),
            ("net/ipv4/conf/eth0/send_redirects", "0"),
        ];
        for (key, value) in values {
            write(&mut on, key, value);
        }
        let mut host = world.host();
        host.start_network(&network(LAN)).unwrap_or_else(|e| panic!("{}", e.report()));
        for (key, value) in values {
            let key: SysctlKey = key.replace("eth0", "xenbr0").parse().unwrap();
            let seen = on.observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap();
            assert_eq!(seen.sysctls.get(&key), Some(value), "{}", key.as_str());
        }
        // What is switched off makes no addresses.
        let seen = on.observe(&Scope::none().with(Part::Addresses(name("xenbr0")))).unwrap();
        assert!(seen.addresses.iter().all(|a| a.address.is_ipv4()), "{seen:?}");
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        for (key, value) in values {
            let key: SysctlKey = key.parse().unwrap();
            let seen = on.observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap();
            assert_eq!(seen.sysctls.get(&key), Some(value), "{}", key.as_str());
        }
    });
}

/// Privacy extensions: connections lean on temporary addresses, and the kernel makes and removes these by itself.
#[test]
fn temporary_addresses_go_along_as_long_as_they_live() {
    in_netns("state::temporary_addresses_go_along_as_long_as_they_live", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        settled(&mut on);
        write(&mut on, "net/ipv6/conf/eth0/use_tempaddr", "2");
        let text = "2001:db8::3/64".parse().unwrap();
        let made = Address::new(name("eth0"), text).with_lifetime((90_000, 80_000)).with_nodad(true);
        run(&mut on, Step::Addr(AddrStep::Add(made.with_flags(Address::MAKES_TEMPORARY))));
        let addresses = |on: &mut Netlink, link: &str| {
            let seen = on.observe(&Scope::none().with(Part::Addresses(name(link)))).unwrap();
            seen.addresses.into_iter().filter(|a| a.address.is_ipv6() && a.scope == 0).collect::<Vec<_>>()
        };
        let before = addresses(&mut on, "eth0");
        let temporary = before.iter().find(|a| a.is_temporary()).expect("the kernel has made one").address;
        let mut host = world.host();
        host.start_network(&network(LAN)).unwrap_or_else(|e| panic!("{}", e.report()));
        assert!(addresses(&mut on, "xenbr0").iter().any(|a| a.address == temporary && a.lifetime.is_some()));
        assert_eq!(addresses(&mut on, "eth0"), []);
        assert_eq!(host.network_status(&network(LAN)).unwrap().missing, [""; 0]);
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        let after = addresses(&mut on, "eth0");
        assert!(before.iter().all(|b| after.iter().any(|a| a.address == b.address && a.flags == b.flags)), "{after:?}");
    });
}

/// Waits until the uplink has its link-local address.
pub(crate) fn settled(on: &mut dyn Backend) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    loop {
        let seen = on.observe(&Scope::none().with(Part::Addresses(name("eth0")))).unwrap();
        if seen.addresses.iter().any(|a| a.address.to_string().starts_with("fe80:")) {
            return;
        }
        assert!(std::time::Instant::now() < end);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}
