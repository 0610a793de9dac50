//! What is there after a start, and after a stop.

use xennet_core::backend::Backend;
use xennet_core::backend::fake::{Fake, Fault};
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{
    Address, Expiry, Family, NextHop, Part, Route, RouteKind, Rule, RuleAction, Scope, Snapshot, SysctlKey,
};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{ErrorKind, Guests, Host, MacAddr, exec};
use xennet_tests::steps::{card, into, name, run, set, up};
use xennet_tests::{Shared, StateDir, in_netns};

use super::world::{UPLINK_MAC, World, add, address, network, proxy, route, via, write};

const LAN: &str = "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n";
const CLASSIC: &str =
    "[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"eth0\"\nuplink_name = \"peth0\"\n";

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
        let labelled = Address {
            label: Some("eth0:web".into()),
            ..Address::new(name("eth0"), "198.51.100.7/28".parse().unwrap())
        };
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
        add(on, Route { metric: 50, ..via("172.16.0.0/12", "eth0", "192.168.0.9") });
        add(on, Route { table: 100, ..via("0.0.0.0/0", "eth0", "192.168.0.8") });
        address(on, "eth0", "198.51.100.7/28");
        let source = Some("198.51.100.7".parse().unwrap());
        add(on, Route { metric: 7, source, ..via("203.0.113.0/24", "eth0", "198.51.100.1") });
    }),
    ("routes as NetworkManager makes them", |on| {
        for (text, to) in [("192.168.0.3/24", "192.168.0.0/24"), ("2001:db8::3/64", "2001:db8::/64")] {
            let no_route =
                Address { no_prefix_route: true, nodad: true, ..Address::new(name("eth0"), text.parse().unwrap()) };
            let nodad = text.contains(':');
            run(on, Step::Addr(AddrStep::Add(Address { nodad, ..no_route })));
            let source = Some("192.168.0.3".parse().unwrap()).filter(|_| !nodad);
            add(on, Route { metric: 100, protocol: 2, source, ..Route::to(to.parse().unwrap(), name("eth0")) });
        }
        add(on, Route { metric: 100, ..via("0.0.0.0/0", "eth0", "192.168.0.1") });
        add(on, Route { metric: 100, ..via("::/0", "eth0", "2001:db8::1") });
    }),
    ("an IPv6 address that expires", |on| {
        one(on);
        let text = "2001:db8::3/64".parse().unwrap();
        let expires = Address { lifetime: Some((4000, 3000)), nodad: true, ..Address::new(name("eth0"), text) };
        run(on, Step::Addr(AddrStep::Add(expires)));
    }),
    ("routes with numbers of their own", |on| {
        one(on);
        address(on, "eth0", "2001:db8::3/64");
        // advmss, and a locked MTU.
        add(
            on,
            Route { mtu: Some(1400), metrics: vec![(1, 4), (8, 1300)], ..via("10.0.0.0/8", "eth0", "192.168.0.2") },
        );
        // As a router advertisement makes it.
        let told = via("::/0", "eth0", "2001:db8::1");
        let expires = Expiry(Some(1800));
        add(on, Route { protocol: 9, metric: 1024, metrics: vec![(10, 64)], expires, preference: 1, ..told });
    }),
    ("addresses with metrics and flags", |on| {
        // As systemd-networkd gives them, and as the kernel makes one of a router advertisement.
        let with = |text: &str, metric, flags| Address {
            metric,
            flags,
            nodad: text.contains(':'),
            ..Address::new(name("eth0"), text.parse().unwrap())
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
        NextHop { link: Some(name("eth0")), gateway, weight: 1, onlink: false }
    };
    let next_hops = gateways.iter().map(hop).collect();
    let metric = if to.contains(':') { 1024 } else { 0 };
    Route { link: None, scope: 0, metric, next_hops, ..Route::to(to.parse().unwrap(), name("eth0")) }
}

fn down(on: &mut dyn Backend) {
    set(on, "eth0", LinkChange { up: Some(false), ..LinkChange::default() });
}

pub(crate) fn one(on: &mut dyn Backend) {
    address(on, "eth0", "192.168.0.3/24");
    route(on, "0.0.0.0/0", "eth0", "192.168.0.1");
}

fn settings() -> Vec<Part> {
    let conf = |family: &str, name: &str| format!("net/{family}/conf/eth0/{name}");
    let keys = [
        conf("ipv4", "rp_filter"),
        conf("ipv6", "accept_ra"),
        conf("ipv6", "accept_dad"),
        conf("ipv6", "autoconf"),
        conf("ipv4", "proxy_arp"),
        conf("ipv6", "proxy_ndp"),
        "net/ipv4/ip_forward".into(),
        "net/ipv6/conf/all/forwarding".into(),
        "net/ipv4/conf/eth0/forwarding".into(),
    ];
    keys.into_iter().map(|k| Part::Sysctl(k.parse::<SysctlKey>().unwrap())).collect()
}

/// Everything, as text, without what no listing of the kernel tells.
pub(crate) fn all(on: &mut dyn Backend) -> String {
    let scope: Scope = settings().into_iter().chain([Part::Network]).collect();
    let text = on.observe(&scope).unwrap().normalised().render();
    // The tables of NAT and of the guard stay, without elements: another call may need them next.
    let empty = |table: &&str| {
        let element = format!("nft add element {table} ");
        !text.lines().any(|l| l.starts_with(&element) && !l.contains(" version "))
    };
    let left: Vec<&str> = ["inet xennet", "bridge xennet-guard"].into_iter().filter(empty).collect();
    text.lines().filter(|l| !left.iter().any(|table| l.contains(table))).map(|l| format!("{l}\n")).collect()
}

/// Starts and stops, on a fake and on the kernel; the world is the same before and after.
fn there_and_back(mut look: impl FnMut() -> String, host: &mut Host, text: &str, what: &str) {
    let lan = network(text);
    let before = look();
    let applied = host.start_network(&lan).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
    assert!(applied.steps > 0, "{what}");
    let started = look();
    assert_ne!(before, started, "{what}");
    let again = host.start_network(&lan).unwrap();
    assert_eq!((again.steps, started_text(&look())), (0, started_text(&started)), "{what}: once more changes nothing");
    let status = host.network_status(&lan).unwrap();
    assert!(status.started && status.missing.is_empty(), "{what}: {status:?}");
    host.stop_network(&lan.name, Guests::MustHaveGone).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
    assert_eq!(look(), before, "{what}: as before\nstarted:\n{started}");
    let twice = host.stop_network(&lan.name, Guests::MustHaveGone).unwrap();
    assert_eq!((twice.steps, &twice.notes[..]), (0, &["network lan is not started".to_owned()][..]));
    // And again, from where it was.
    host.start_network(&lan).unwrap();
    assert_eq!(started_text(&look()), started_text(&started), "{what}: a second time is as the first");
    host.stop_network(&lan.name, Guests::MustHaveGone).unwrap();
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
        let same = |b: &&Address| Address { link: gone, nodad: a.nodad, lifetime: a.lifetime, ..(*b).clone() } == *a;
        assert!(after.addresses_of(&bridge).any(|b| same(&b)), "{what}: {a:?}");
    }
    for r in before.routes.iter().filter(|r| r.link == Some(gone)) {
        let same = |n: &&Route| Route { link: r.link, ..(*n).clone() } == *r && n.link == Some(bridge);
        assert!(after.routes.iter().any(|n| same(&n)), "{what}: {r:?}\n{}", after.render());
    }
    // The kernel would take the older of two ways of the same metric, and nobody answers behind a port.
    let port = name(if bridge == gone { "peth0" } else { "eth0" });
    assert!(!after.routes.iter().any(|r| r.leads_through(&port)), "{what}: {}", after.render());
}

pub(crate) fn fake() -> Fake {
    let mut fake = Fake::empty();
    set(&mut fake, "lo", up());
    fake.add_hardware(name("eth0"), card(UPLINK_MAC));
    set(&mut fake, "eth0", up());
    fake
}

#[test]
fn an_uplink_comes_back_as_it_was_on_the_fake() {
    for (what, make) in UPLINKS {
        for text in [LAN, CLASSIC] {
            let mut world = fake();
            make(&mut world);
            let on = Shared::new(world);
            let mut host = Host::with_backend(Box::new(on.clone()));
            there_and_back(|| all(&mut on.clone()), &mut host, text, what);
        }
    }
}

#[test]
fn an_uplink_comes_back_as_it_was_on_the_kernel() {
    for (what, make) in UPLINKS {
        for text in [LAN, CLASSIC] {
            in_netns("state::an_uplink_comes_back_as_it_was_on_the_kernel", || {
                let world = World::new();
                let mut on = Netlink::open().unwrap();
                make(&mut on);
                // The kernel's own link-local address comes when it comes.
                if !what.contains("down") {
                    settled(&mut on);
                }
                let before = on.observe(&Scope::network()).unwrap();
                let mut host = world.host();
                host.start_network(&network(text)).unwrap_or_else(|e| panic!("{what}: {}", e.report()));
                let bridge = if text == CLASSIC { "eth0" } else { "xenbr0" };
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
        for text in [LAN, CLASSIC] {
            let mut world = fake();
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
                    let at = format!("{what}: stops: {stops}, killed after step {step}");
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
            assert_eq!(seen.sysctls.get(&key).map(String::as_str), Some(value), "{}", key.as_str());
        }
        // What is switched off makes no addresses.
        let seen = on.observe(&Scope::none().with(Part::Addresses(name("xenbr0")))).unwrap();
        assert!(seen.addresses.iter().all(|a| a.address.is_ipv4()), "{seen:?}");
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        for (key, value) in values {
            let key: SysctlKey = key.parse().unwrap();
            let seen = on.observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap();
            assert_eq!(seen.sysctls.get(&key).map(String::as_str), Some(value), "{}", key.as_str());
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
        let made = Address { lifetime: Some((90_000, 80_000)), nodad: true, ..Address::new(name("eth0"), text) };
        run(&mut on, Step::Addr(AddrStep::Add(Address { flags: Address::MAKES_TEMPORARY, ..made })));
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
        in_netns("state::what_changed_meanwhile_goes_back_as_it_is", || {
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
    let given: Vec<&str> = after.lines().filter(|l| !before.contains(l)).collect();
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
    in_netns("state::an_address_that_was_changed_for_another_of_its_network_goes_back", || {
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
        host.stop_network(&network.name, Guests::MustHaveGone).unwrap();
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
            set(&mut on.clone(), "natbr", LinkChange { up: Some(false), ..LinkChange::default() });
        }
        let again = host.start_network(&b).unwrap();
        assert_eq!(again.steps > 0, lost);
        host.stop_network(&b.name, Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before, "something was lost: {lost}");
    }
    // What was so before stays so.
    write(&mut on.clone(), "net/ipv4/ip_forward", "1");
    host.start_network(&a).unwrap();
    host.stop_network(&name("a"), Guests::MustHaveGone).unwrap();
    assert!(forwards());
    // And a network that was described otherwise is not silently another one.
    host.start_network(&a).unwrap();
    let other = network("[network.a]\nmode = \"nat\"\nsubnets = [\"10.9.0.0/24\"]\n");
    for e in [host.start_network(&other).unwrap_err(), host.plan_start(&other).unwrap_err()] {
        assert_eq!((e.kind(), e.hint()), (ErrorKind::Conflict, Some("stop it first: xennet network stop a")));
    }
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
    let listens = || on.clone().observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap().sysctls[&key].clone();
    assert_eq!(listens(), "2");
    assert_eq!(host.network_status(&lan).unwrap().missing, [""; 0]);
    assert_eq!((host.start_network(&lan).unwrap().steps, listens()), (0, "2".to_owned()));
    // What nobody needs is told of.
    write(&mut on.clone(), key.as_str(), "0");
    assert_eq!(host.network_status(&lan).unwrap().missing, [format!("{} = 1", key.as_str())]);
    for name in [nat.name, lan.name] {
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
        host.stop_network(&lan.name, Guests::AreCutOff).unwrap();
        host.stop_network(&other.name, Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before, "{mode}");
        // What becomes of the link meanwhile is its own matter.
        host.start_network(&other).unwrap();
        let mtu = |mtu| LinkChange { mtu: Some(mtu), ..LinkChange::default() };
        set(&mut on.clone(), "eth0", mtu(1400));
        host.stop_network(&other.name, Guests::MustHaveGone).unwrap();
        assert_eq!(all(&mut on.clone()), before.replace("mtu 1500", "mtu 1400"), "{mode}");
        set(&mut on.clone(), "eth0", mtu(1500));
    }
}

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
    let encap = Route { beyond: Some("encap".into()), ..via("10.0.0.0/8", "eth0", "192.168.0.2") };
    let second = via("0.0.0.0/0", "eth0", "192.168.0.9");
    let hop = |link, gateway: &str| NextHop {
        link: Some(name(link)),
        gateway: Some(gateway.parse().unwrap()),
        weight: 1,
        onlink: false,
    };
    let next_hops = vec![hop("eth0", "192.168.0.2"), hop("eth1", "192.168.1.2")];
    let both = Route { link: None, gateway: None, next_hops, ..encap.clone() };
    for (route, words) in [
        (encap, "xennet cannot make one with encap"),
        (second, "and \"default via 192.168.0.9 dev eth0 proto boot\" the kernel would keep only one"),
        (Route { beyond: None, ..both }, "it leads through eth1, too"),
    ] {
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
    let rule = |iif| Rule {
        family: Family::Ipv4,
        priority: 1000,
        from: None,
        to: None,
        iif: Some(name(iif)),
        oif: None,
        mark: None,
        not: false,
        action: RuleAction::Table(100),
        protocol: 3,
    };
    let there = Shared::new(world.clone());
    there.change(|fake| fake.world_mut().rules.extend([rule("eth0")]));
    let before = all(&mut there.clone());
    let mut host = Host::with_backend(Box::new(there.clone()));
    let e = host.start_network(&network(LAN)).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Unsupported);
    assert!(e.to_string().contains("\"from all iif eth0 lookup 100 priority 1000"), "{e}");
    assert!(e.hint().unwrap().contains("ip rule add from all iif xenbr0 lookup 100"), "{}", e.report());
    assert_eq!(all(&mut there.clone()), before);
    there.change(|fake| fake.world_mut().rules.extend([Rule { priority: 999, ..rule("xenbr0") }]));
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
    let found = Address { flags, ..Address::new(name("eth0"), "2001:db8::3/64".parse().unwrap()) };
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
fn the_way_out_is_one_and_the_first_address_is_the_kernels_first() {
    in_netns("state::the_way_out_is_one_and_the_first_address_is_the_kernels_first", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        let refuses = |to: &str| Route { kind: RouteKind::Unreachable, link: None, scope: 0, ..via(to, "eth0", "::") };
        add(&mut on, Route { gateway: None, metric: 4096, ..refuses("::/0") });
        let dmz = network("[network.dmz]\nmode = \"routed\"\n");
        let mut host = world.host();
        assert_eq!(host.default_route_link().unwrap(), None, "what refuses is no way");
        address(&mut on, "eth0", "192.168.0.3/24");
        address(&mut on, "eth0", "10.9.0.3/24");
        let old = Address {
            lifetime: Some((4000, 0)),
            nodad: true,
            ..Address::new(name("eth0"), "2001:db8::1/64".parse().unwrap())
        };
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
        host.plan_start(&network(&text)).unwrap().notes().to_vec()
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
