//! Addresses that are others': this domain's, its gateways', the gateways of networks.

use std::time::Duration;

use xennet_core::backend::Backend;
use xennet_core::snapshot::{Family, NextHop, Part, Route, Rule, RuleAction, Scope};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, RouteStep, RuleStep, Step};
use xennet_core::{Egress, ErrorKind, Guests, Host, NatNetwork, Network, NetworkMode, RoutedNetwork, Subnet};

use super::ownership::{World, both};
use super::{FIRST, domid, name, run, set, spec, whole};

fn route(on: &mut dyn Backend, to: &str, link: &str, gateway: Option<&str>) {
    let gateway = gateway.map(|g| g.parse().unwrap());
    let scope = if gateway.is_some() || to.contains(':') { 0 } else { 253 };
    let route = Route::to(to.parse().unwrap(), name(link)).with_gateway(gateway).with_scope(scope);
    run(on, Step::Route(RouteStep::Add(route)));
}

/// The outside is behind `lan0`, which has 192.0.2.1/24, 192.0.2.2/24 and 2001:db8::1/64.
fn with_gateways(world: World<'_>) {
    world(&mut |on| {
        with_carrier(on);
        route(on, "0.0.0.0/0", "lan0", Some("192.0.2.254"));
        route(on, "::/0", "lan0", Some("2001:db8::fe"));
    });
}

/// A link without a carrier has no IPv6 address that anything could be sent to.
fn with_carrier(on: &mut dyn Backend) {
    set(on, "other1", LinkChange::default().with_up(true));
    let address = "2001:db8::1".parse().unwrap();
    let (own, scope) = (Route::own(address), Scope::none().with(Part::Way(address)));
    while !on.observe(&scope).unwrap().routes.contains(&own) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[track_caller]
fn refused(host: &mut Host, text: &str, words: &str) {
    for e in [host.plan_attach(domid(1), &spec(text)).unwrap_err(), host.attach(domid(1), &spec(text)).unwrap_err()] {
        assert_eq!(e.kind(), ErrorKind::Conflict, "{text}: {}", e.report());
        assert!(e.to_string().contains(words), "{text}: {}", e.report());
        whole(&e);
    }
}

#[track_caller]
fn notes(host: &mut Host, dom: u32, text: &str) -> String {
    let applied = host.attach(domid(dom), &spec(text)).unwrap_or_else(|e| panic!("{text}: {}", e.report()));
    let notes = applied.notes.join("\n");
    host.detach(domid(dom), FIRST).unwrap();
    notes
}

#[test]
fn of_this_domains_gateways() {
    both("others::of_this_domains_gateways", |host, world| {
        with_gateways(world);
        for script in ["vif-route", "vif-nat"] {
            for (ip, words) in [
                ("192.0.2.1", "192.0.2.1 is an address of this domain's own"),
                ("2001:db8::1", "2001:db8::1 is an address of this domain's own"),
                ("192.0.2.254", "192.0.2.254 is the gateway of this domain on lan0"),
                ("2001:db8::fe", "2001:db8::fe is the gateway of this domain on lan0"),
                ("198.51.100.7 192.0.2.254", "192.0.2.254 is the gateway of this domain on lan0"),
                // More of the subnet than the connected route has.
                ("192.0.2.240/28", "192.0.2.240/28 contains 192.0.2.254, the gateway of this domain"),
            ] {
                refused(host, &format!("script={script},gatewaydev=lan0,ip={ip}"), words);
            }
            // Its neighbours, as with proxy ARP, and networks that leave the gateway where it is.
            for ip in ["192.0.2.253", "192.0.2.128/26", "2001:db8::fd"] {
                notes(host, 1, &format!("script={script},gatewaydev=lan0,ip={ip}"));
            }
        }
        notes(host, 1, "script=vif-route,gatewaydev=lan0,ip=192.0.0.0/16");
        // What the guest is connected with is no gateway's either: 192.0.2.127 + 127.
        let plan = host.plan_attach(domid(1), &spec("script=vif-nat,ip=192.0.2.127")).unwrap();
        let steps = plan.steps().iter().map(|p| p.step.to_string()).collect::<Vec<_>>().join("\n");
        assert!(!steps.contains("192.0.2.254") && steps.contains("192.0.2.253"), "{steps}");
    });
}

/// A provider's gateway that is in no connected route, and several gateways.
#[test]
fn of_gateways_that_are_reached_in_other_ways() {
    both("others::of_gateways_that_are_reached_in_other_ways", |host, world| {
        world(&mut |on| {
            with_carrier(on);
            let onlink = |to: &str, gateway: &str| {
                Route::to(to.parse().unwrap(), name("lan0"))
                    .with_gateway(Some(gateway.parse().unwrap()))
                    .with_onlink(true)
            };
            run(on, Step::Route(RouteStep::Add(onlink("0.0.0.0/0", "203.0.113.1"))));
            let hop = |gateway: &str| NextHop::through(name("lan0")).with_gateway(Some(gateway.parse().unwrap()));
            let several = Route::to("10.0.0.0/8".parse().unwrap(), name("lan0"))
                .with_link(None)
                .with_scope(0)
                .with_next_hops(vec![hop("192.0.2.7"), hop("192.0.2.8")]);
            run(on, Step::Route(RouteStep::Add(several)));
        });
        refused(host, "script=vif-route,gatewaydev=lan0,ip=203.0.113.1", "203.0.113.1 is the gateway");
        refused(host, "script=vif-route,gatewaydev=lan0,ip=203.0.113.0/29", "203.0.113.0/29 contains 203.0.113.1");
        notes(host, 1, "script=vif-route,gatewaydev=lan0,ip=203.0.113.2");
        for script in ["vif-route", "vif-nat"] {
            for gateway in ["192.0.2.7", "192.0.2.8"] {
                let words = format!("{gateway} is the gateway of this domain on lan0");
                refused(host, &format!("script={script},gatewaydev=lan0,ip={gateway}"), &words);
                refused(host, &format!("script={script},gatewaydev=lan0,ip=192.0.2.30 {gateway}"), &words);
            }
            notes(host, 1, &format!("script={script},gatewaydev=lan0,ip=192.0.2.9"));
        }
        refused(host, "script=vif-route,gatewaydev=lan0,ip=192.0.2.0/29", "192.0.2.0/29 contains 192.0.2.7");
    });
}

/// Routes beside the default route: to one network, to both halves of everything, and of a table that a rule leads to.
#[test]
fn of_gateways_of_any_route() {
    both("others::of_gateways_of_any_route", |host, world| {
        with_gateways(world);
        world(&mut |on| {
            for (to, gateway) in [
                ("10.0.0.0/8", "192.0.2.7"),
                ("0.0.0.0/1", "192.0.2.8"),
                ("128.0.0.0/1", "192.0.2.8"),
                ("2001:db8:5::/48", "2001:db8::7"),
                ("::/1", "2001:db8::8"),
                ("8000::/1", "2001:db8::8"),
            ] {
                route(on, to, "lan0", Some(gateway));
            }
            for (family, to, gateway) in
                [(Family::Ipv4, "0.0.0.0/0", "192.0.2.9"), (Family::Ipv6, "::/0", "2001:db8::9")]
            {
                let gateway = Some(gateway.parse().unwrap());
                let own = Route::to(to.parse().unwrap(), name("lan0")).with_gateway(gateway).with_table(100);
                run(on, Step::Route(RouteStep::Add(own)));
                let from = if family == Family::Ipv4 { "198.51.100.0/24" } else { "2001:db8:9::/48" };
                let rule = Rule::for_all(family, 1000, RuleAction::Table(100));
                let rule = rule.with_from(Some(from.parse().unwrap())).with_protocol(4);
                run(on, Step::Rule(RuleStep::Add(rule)));
            }
        });
        for gateway in ["192.0.2.254", "192.0.2.7", "192.0.2.8", "192.0.2.9"] {
            let words = format!("{gateway} is the gateway of this domain on lan0");
            for script in ["vif-route", "vif-nat"] {
                refused(host, &format!("script={script},gatewaydev=lan0,ip={gateway}"), &words);
            }
        }
        for gateway in ["2001:db8::fe", "2001:db8::7", "2001:db8::8", "2001:db8::9"] {
            let words = format!("{gateway} is the gateway of this domain on lan0");
            refused(host, &format!("script=vif-route,gatewaydev=lan0,ip={gateway}"), &words);
        }
        for ip in ["192.0.2.10", "2001:db8::a", "10.0.0.7"] {
            notes(host, 1, &format!("script=vif-route,gatewaydev=lan0,ip={ip}"));
        }
        // All of this domain's packets take the other table.
        world(&mut |on| {
            let rule = Rule::for_all(Family::Ipv4, 900, RuleAction::Table(100));
            run(on, Step::Rule(RuleStep::Add(rule.with_protocol(4))));
        });
        refused(
            host,
            "script=vif-route,gatewaydev=lan0,ip=192.0.2.9",
            "192.0.2.9 is the gateway of this domain on lan0",
        );
    });
}

#[test]
fn of_a_networks_gateway() {
    both("others::of_a_networks_gateway", |host, world| {
        with_gateways(world);
        let mut nat = NatNetwork::new();
        nat.subnets = vec![Subnet::new("10.1.0.0/24".parse().unwrap()).unwrap()];
        nat.egress = Egress::Link(name("lan0"));
        let mut routed = RoutedNetwork::new();
        routed.uplink = Egress::Link(name("lan0"));
        routed.proxy_arp = true;
        let hidden = Network::new(name("hidden"), NetworkMode::Nat(nat)).unwrap();
        let open = Network::new(name("open"), NetworkMode::Routed(routed.clone())).unwrap();
        for network in [&hidden, &open] {
            host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        let e = host.attach(domid(1), &spec("bridge=hidden,ip=10.1.0.254")).unwrap_err();
        assert!(e.to_string().contains("10.1.0.254 is the gateway of network hidden"), "{}", e.report());
        refused(host, "bridge=open,ip=10.1.0.254", "10.1.0.254 is the gateway of network hidden");
        refused(host, "bridge=open,ip=192.0.2.254", "192.0.2.254 is the gateway of this domain");
        notes(host, 1, "bridge=open,ip=192.0.2.9");
        // A network whose own gateway would be this domain's.
        let mut shared = routed;
        shared.subnets = vec![Subnet::new("192.0.2.0/24".parse().unwrap()).unwrap()];
        host.stop_network(&open.name(), Guests::MustHaveGone).unwrap();
        let e = host.start_network(&Network::new(name("shared"), NetworkMode::Routed(shared)).unwrap()).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Conflict, "{}", e.report());
        assert!(
            e.to_string().contains("192.0.2.254, its gateway in 192.0.2.0/24, is the gateway of this domain"),
            "{e}"
        );
        whole(&e);
    });
}

#[test]
fn of_this_domain_on_a_bridge() {
    both("others::of_this_domain_on_a_bridge", |host, world| {
        with_gateways(world);
        let on = |bridge: &str, ip: &str| format!("mac=00:16:3e:00:00:01,bridge={bridge},ip={ip}");
        for ip in ["192.0.2.1", "192.0.2.1/24", "192.0.2.9 192.0.2.2", "2001:db8::1"] {
            refused(host, &on("lan0", ip), "of this domain's own on lan0");
            // On another bridge nobody meets.
            assert_eq!(notes(host, 1, &on("xenbr0", ip)), "");
        }
        let said = notes(host, 1, &on("lan0", "192.0.2.0/28"));
        assert!(said.contains("192.0.2.0/28 contains 192.0.2.1, 192.0.2.2, which this domain has on lan0"), "{said}");
        for (ip, gateway) in [("192.0.2.254", "192.0.2.254"), ("2001:db8::fe", "2001:db8::fe")] {
            let said = notes(host, 1, &on("lan0", ip));
            assert!(
                said.contains(&format!("{gateway} is this domain's gateway on lan0: right if vif1.0 is")),
                "{said}"
            );
            assert_eq!(notes(host, 1, &on("xenbr0", ip)), "");
        }
        assert_eq!(notes(host, 1, &on("lan0", "192.0.2.9 2001:db8::9")), "");
        // A newer domain of the same guest has its address, as in a migration.
        host.attach(domid(1), &spec(&on("lan0", "192.0.2.9"))).unwrap();
        assert_eq!(host.show().unwrap().vifs[0].obstacles, [""; 0]);
        host.attach(domid(2), &spec(&on("lan0", "192.0.2.9 192.0.2.10"))).unwrap();
        host.attach(domid(3), &spec(&on("xenbr0", "192.0.2.9"))).unwrap();
        let shown = host.show().unwrap().vifs;
        assert_eq!(shown[0].obstacles, ["vif1.0: vif2.0 on the same bridge has 192.0.2.9, too"]);
        assert_eq!(shown[1].obstacles, ["vif2.0: vif1.0 on the same bridge has 192.0.2.9, too"]);
        assert_eq!(shown[2].obstacles, [""; 0]);
    });
}

#[test]
fn of_a_bridge_that_is_down_is_told() {
    both("others::of_a_bridge_that_is_down_is_told", |host, world| {
        world(&mut |on| set(on, "xenbr2", LinkChange::default().with_up(false)));
        let applied = host.attach(domid(1), &spec("bridge=xenbr2")).unwrap();
        let told = "bridge xenbr2 is down, and nothing goes through it: ip link set xenbr2 up";
        assert_eq!(applied.notes, [told]);
        assert_eq!(host.show().unwrap().vifs[0].obstacles, [format!("vif1.0: {told}")]);
        world(&mut |on| set(on, "xenbr2", LinkChange::default().with_up(true)));
        assert_eq!(host.show().unwrap().vifs[0].obstacles, [""; 0]);
    });
}

/// Two guests with one MAC are told by one look-up, whether their addresses are declared or not. The bridge's own MAC is refused.
#[test]
fn the_mac_of_another_station() {
    both("others::the_mac_of_another_station", |host, world| {
        let line = |mac: &str, bridge: &str, more: &str| format!("mac={mac},bridge={bridge}{more}");
        let (one, two) = ("00:16:3e:00:00:01", "00:16:3e:00:00:02");
        refused(host, &line("02:00:00:00:00:01", "xenbr0", ""), "02:00:00:00:00:01 is the MAC of xenbr0");
        assert_eq!(notes(host, 1, &line("02:00:00:00:00:01", "xenbr1", "")), "");
        host.attach(domid(1), &spec(&line(one, "xenbr0", ",ip=192.0.2.9"))).unwrap();
        // Another MAC, and another bridge.
        assert_eq!(notes(host, 2, &line(two, "xenbr0", "")), "");
        assert_eq!(notes(host, 2, &line(one, "xenbr1", ",ip=192.0.2.9")), "");
        let both = line(one, "xenbr0", ",ip=192.0.2.9 192.0.2.10");
        for (text, has) in [
            (line(one, "xenbr0", ""), "vif1.0 on xenbr0 has the MAC 00:16:3e:00:00:01, too"),
            (both.clone(), "vif1.0 on xenbr0 has the MAC 00:16:3e:00:00:01 and 192.0.2.9/32, too"),
        ] {
            let plan = host.plan_attach(domid(2), &spec(&text)).unwrap();
            assert!(plan.notes().iter().any(|note| note.contains(has)), "{:?}", plan.notes());
            let said = notes(host, 2, &text);
            assert!(said.contains(has), "{said}");
            // The one that came last has gone again, and left its place.
            assert_eq!(notes(host, 3, &line(two, "xenbr0", "")), "");
            host.attach(domid(1), &spec(&line(one, "xenbr0", ",ip=192.0.2.11"))).unwrap();
            host.attach(domid(1), &spec(&line(one, "xenbr0", ",ip=192.0.2.9"))).unwrap();
        }
        // Who is not there any more is nobody: its domain ended without a call.
        world(&mut |on| {
            let gone = LinkRef::named(name("vif1.0"));
            run(on, Step::Link(LinkStep::Delete { link: gone }));
        });
        assert_eq!(notes(host, 2, &both), "");
    });
}
