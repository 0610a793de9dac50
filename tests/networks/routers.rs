//! Two routers advertise on the uplink: this domain keeps a way out, and learns them anew.

use std::net::{Ipv6Addr, SocketAddrV6};

use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sockopt};
use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{Expiry, Part, Route, Scope};
use xennet_core::step::{RouteStep, Step};
use xennet_core::{Guests, Host};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{Guest, Shared, in_netns};

use super::state::settled;
use super::world::{LAN, World, address, fake, network, one, via};

const ROUTERS: [&str; 2] = ["fe80::a", "fe80::b"];

/// The gateways of the default routes that routers have told, through this link.
fn told(on: &mut dyn Backend, link: &str) -> Vec<String> {
    let all = "::/0".parse().unwrap();
    let seen = on.observe(&Scope::none().with(Part::Route(all))).unwrap();
    let through = seen.routes.iter().filter(|r| r.leads_through(&name(link)) && r.destination.prefix() == 0);
    let hops = through.flat_map(|r| r.next_hops.iter().map(|h| h.gateway).chain([r.gateway])).flatten();
    let mut gateways: Vec<String> = hops.map(|g| g.to_string()).collect();
    gateways.sort();
    gateways
}

/// Both routers say that they are there.
fn advertise(world: &World) {
    world.in_lan(|on| {
        let index = on.observe(&Scope::none().with(Part::Link(name(Guest::LINK)))).unwrap().links[Guest::LINK].index;
        for router in ROUTERS {
            let family = AddressFamily::INET6;
            let raw = SocketType::RAW;
            let socket = rustix::net::socket_with(family, raw, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6)).unwrap();
            sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
            rustix::net::bind(&socket, &SocketAddrV6::new(router.parse().unwrap(), 0, 0, index)).unwrap();
            // RFC 4861, 4.2: hop limit 64, a router for half an hour. The kernel puts the checksum in.
            let message = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
            let everybody: Ipv6Addr = "ff02::1".parse().unwrap();
            rustix::net::sendto(&socket, &message, SendFlags::empty(), &SocketAddrV6::new(everybody, 0, 0, index))
                .unwrap();
        }
    });
}

/// They advertise until this link has learned of both.
fn learned(world: &World, on: &mut dyn Backend, link: &str) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while told(on, link) != ROUTERS {
        assert!(std::time::Instant::now() < end, "{link}: {:?}", told(on, link));
        advertise(world);
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

#[test]
fn two_routers_are_no_obstacle() {
    in_netns("routers::two_routers_are_no_obstacle", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        one(&mut on);
        address(&mut on, "eth0", "2001:db8::3/64");
        settled(&mut on);
        world.in_lan(|on| {
            set(on, Guest::LINK, up());
            for router in ROUTERS {
                address(on, Guest::LINK, &format!("{router}/64"));
            }
        });
        learned(&world, &mut on, "eth0");
        let mut host = world.host();
        for _ in 0..2 {
            let applied = host.start_network(&network(LAN)).unwrap_or_else(|e| panic!("{}", e.report()));
            assert!(applied.notes.iter().any(|n| n.contains("learns it again")), "{:?}", applied.notes);
            assert!(!told(&mut on, "xenbr0").is_empty(), "there is a way out all the time");
            assert!(told(&mut on, "eth0").is_empty());
            learned(&world, &mut on, "xenbr0");
            assert_eq!(host.network_status(&network(LAN)).unwrap().missing, [""; 0]);
            assert_eq!(host.start_network(&network(LAN)).unwrap().steps, 0);
            host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
            assert!(!told(&mut on, "eth0").is_empty(), "and behind it");
            learned(&world, &mut on, "eth0");
        }
    });
}

/// In memory, also beside a route that somebody has made.
#[test]
fn what_routers_have_told_makes_way() {
    let default = |gateway: &str, protocol: u8, preference: u8| {
        via("::/0", "eth0", gateway)
            .with_protocol(protocol)
            .with_preference(preference)
            .with_metric(1024)
            .with_expires(Expiry((protocol == 9).then_some(1800)))
    };
    let cases: [(&[Route], &str); 3] = [
        (&[default("fe80::a", 9, 0), default("fe80::b", 9, 1)], "fe80::b"),
        (&[default("fe80::b", 9, 3), default("fe80::a", 9, 0), default("fe80::c", 9, 0)], "fe80::a"),
        (&[default("fe80::a", 9, 1), default("fe80::c", 3, 0)], "fe80::c"),
    ];
    for (routes, kept) in cases {
        let mut world = fake();
        one(&mut world);
        address(&mut world, "eth0", "2001:db8::3/64");
        for route in routes {
            run(&mut world, Step::Route(RouteStep::Append(route.clone())));
        }
        let on = Shared::new(world);
        let mut host = Host::with_backend(Box::new(on.clone()));
        host.start_network(&network(LAN)).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(
            (told(&mut on.clone(), "xenbr0"), told(&mut on.clone(), "eth0")),
            (vec![kept.to_owned()], Vec::new())
        );
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(told(&mut on.clone(), "eth0"), [kept]);
    }
}
