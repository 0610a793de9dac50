//! A network that is started, and described otherwise by now: what it takes over meanwhile, and what of that is taken back.

use std::time::Duration;

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::{Journal as _, Subject};
use xennet_core::step::{LinkChange, RouteStep, Step};
use xennet_core::{ErrorKind, Guests, Host, Network, Recovered, exec};
use xennet_tests::steps::{name, run, set};
use xennet_tests::{Shared, StateDir, in_netns};

use super::world::{self, LAN, World, address, fake, network, one, via};

/// The network `a`, behind NAT.
fn nat(keys: &str) -> Network {
    network(&format!("[network.a]\nmode = \"nat\"\n{keys}\n"))
}

fn forwards(list: &[(&str, &str)]) -> String {
    let one = |(ports, to): &(&str, &str)| {
        format!("{{ protocol = \"tcp\", ports = \"{ports}\", to = \"{to}\", to_port = 80 }}")
    };
    format!("forward = [{}]", list.iter().map(one).collect::<Vec<_>>().join(", "))
}

const SUBNET: &str = "subnets = [\"10.0.0.0/24\"]\n";

fn start(host: &mut Host, network: &Network) -> usize {
    host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report())).steps
}

fn stop(host: &mut Host, network: &Network) {
    host.stop_network(&network.name(), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
}

/// Everything, without the uplink's own address, which comes when it comes.
fn all(on: &mut dyn Backend) -> String {
    world::all(on).lines().filter(|l| !l.contains(" fe80::")).map(|l| format!("{l}\n")).collect()
}

/// What is handed on, as the two maps of nftables have it: family, from where, to where.
fn handed_on(on: &mut dyn Backend) -> Vec<String> {
    let lines = all(on);
    let of = |map: &str| {
        let prefix = format!("nft add element inet xennet {map}");
        let found = lines.lines().filter_map(|l| l.strip_prefix(&prefix)?.strip_suffix(" }"));
        found.map(str::to_owned).collect::<Vec<_>>()
    };
    let (addresses, ports) = (of("forward"), of("port"));
    assert_eq!(addresses.len(), ports.len());
    let both = addresses.iter().zip(&ports).map(|(address, port)| {
        let (from, port) = port.split_once(" : ").unwrap();
        assert!(address.starts_with(from), "{address} has the port of {from}");
        format!("{address} . {port} }}")
    });
    both.collect()
}

/// On a host of each kind: in memory, and in a namespace.
fn on_both(test: &str, make: fn(&mut dyn Backend), try_it: impl Fn(&mut dyn Backend, &mut Host) + Send + Sync) {
    let mut world = fake();
    make(&mut world);
    let on = Shared::new(world);
    try_it(&mut on.clone(), &mut Host::with_backend(Box::new(on.clone())));
    in_netns(test, || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        make(&mut on);
        try_it(&mut on, &mut world.host());
    });
}

#[test]
fn forwards_come_and_go_while_a_network_is_started() {
    on_both("changed::forwards_come_and_go_while_a_network_is_started", one, |on, host| {
        let before = all(on);
        let first = nat(&format!("{SUBNET}{}", forwards(&[("8080", "10.0.0.1"), ("8090-8093", "10.0.0.2")])));
        start(host, &first);
        let as_first = all(on);
        // One leads elsewhere, one is shorter, one is new; all in one change.
        let second = nat(&format!(
            "{SUBNET}{}",
            forwards(&[("8080", "10.0.0.9"), ("8090-8091", "10.0.0.2"), ("443", "10.0.0.1")])
        ));
        assert_eq!(host.network_status(&second).unwrap().changed, ["forward"]);
        let plan = host.plan_start(&second).unwrap();
        assert_eq!(
            (plan.steps().len(), plan.notes()),
            (1, &["network a: new is its forward".to_owned()][..]),
            "{plan}"
        );
        assert_eq!(start(host, &second), 1);
        assert_eq!(
            handed_on(on),
            [
                "4 { tcp . 443 : 10.0.0.1 . 80 }",
                "4 { tcp . 8080 : 10.0.0.9 . 80 }",
                "4 { tcp . 8090 : 10.0.0.2 . 80 }",
                "4 { tcp . 8091 : 10.0.0.2 . 81 }"
            ]
        );
        let status = host.network_status(&second).unwrap();
        assert_eq!((status.changed, status.missing), (vec![], vec![]));
        assert_eq!(start(host, &second), 0, "once is enough");
        // Taken back it is what it was, and can be started as that.
        host.undo(Subject::Network(first.name())).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(all(on), as_first);
        assert_eq!((start(host, &first), host.started_networks().unwrap()[0].network.clone()), (0, first.clone()));
        // To nothing at all, by way of another one.
        for keys in [second, nat(SUBNET), first.clone(), nat(SUBNET)] {
            start(host, &keys);
        }
        assert_eq!(handed_on(on), [""; 0]);
        stop(host, &first);
        assert_eq!(all(on), before);
    });
}

#[test]
fn subnets_are_added_while_a_network_is_started() {
    on_both("changed::subnets_are_added_while_a_network_is_started", one, |on, host| {
        let before = all(on);
        for bridge in ["", "bridge = \"natbr0\"\n"] {
            let first = nat(&format!("{SUBNET}{bridge}"));
            start(host, &first);
            let as_first = all(on);
            let second = nat(&format!("subnets = [\"10.0.0.0/24\", \"10.1.0.0/24\", \"fd00:1::/64\"]\n{bridge}"));
            assert!(start(host, &second) > 0);
            let text = all(on);
            assert!(text.contains("sysctl net/ipv6/conf/all/forwarding=1"), "{text}");
            for gateway in ["10.1.0.254/24", "fd00:1::1/64"] {
                assert_eq!(text.contains(&format!("{gateway} dev natbr0")), !bridge.is_empty(), "{text}");
            }
            host.undo(Subject::Network(first.name())).unwrap_or_else(|e| panic!("{}", e.report()));
            assert_eq!(all(on), as_first, "{bridge}");
            start(host, &second);
            stop(host, &second);
            assert_eq!(all(on), before, "{bridge}");
        }
    });
}

#[test]
fn a_routed_network_grows_while_it_is_started() {
    on_both("changed::a_routed_network_grows_while_it_is_started", one, |on, host| {
        let before = all(on);
        let routed = |subnets: &str| network(&format!("[network.dmz]\nmode = \"routed\"\nsubnets = [{subnets}]\n"));
        let (first, second) =
            (routed("\"10.0.0.0/24\""), routed("\"10.1.0.0/24\", \"10.0.0.0/24\", \"2001:db8:7::/64\""));
        start(host, &first);
        let as_first = all(on);
        assert!(start(host, &second) > 0);
        let told = ["ip route add 10.1.0.0/24 via 192.168.0.3", "ip route add 10.0.0.0/24 via 192.168.0.3"];
        assert_eq!(host.network_status(&second).unwrap().elsewhere, told);
        host.undo(Subject::Network(first.name())).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(all(on), as_first);
        start(host, &second);
        stop(host, &second);
        assert_eq!(all(on), before);
    });
}

#[test]
fn a_port_that_was_given_up_is_anybodys() {
    on_both("changed::a_port_that_was_given_up_is_anybodys", one, |on, host| {
        let before = all(on);
        let a = nat(&format!("{SUBNET}{}", forwards(&[("8080", "10.0.0.1")])));
        let forward = forwards(&[("8080", "10.1.0.1")]);
        let b = network(&format!("[network.b]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n{forward}\n"));
        start(host, &a);
        let e = host.start_network(&b).unwrap_err();
        assert!(e.kind() == ErrorKind::Conflict && e.to_string().contains("tcp port 8080 is handed on twice"), "{e}");
        start(host, &nat(SUBNET));
        start(host, &b);
        let e = host.undo(Subject::Network(a.name())).unwrap_err();
        assert!(e.to_string().contains("is handed on to 10.1.0.1 already"), "{e}");
        assert_eq!(host.network_status(&nat(SUBNET)).unwrap().missing, [""; 0]);
        stop(host, &a);
        assert_eq!(handed_on(on), ["4 { tcp . 8080 : 10.1.0.1 . 80 }"]);
        stop(host, &b);
        assert_eq!(all(on), before);
    });
}

#[test]
fn taking_a_change_back_leaves_what_is_not_its_own() {
    on_both("changed::taking_a_change_back_leaves_what_is_not_its_own", one, |on, host| {
        let before = all(on);
        let (first, second) = (nat(SUBNET), nat("subnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]"));
        let other = network("[network.b]\nmode = \"nat\"\nsubnets = [\"fd00:2::/64\"]\n");
        for network in [&first, &second, &other] {
            start(host, network);
        }
        set(on, "eth0", LinkChange::default().with_mtu(1400));
        host.undo(Subject::Network(first.name())).unwrap_or_else(|e| panic!("{}", e.report()));
        let text = all(on);
        assert!(text.contains("sysctl net/ipv6/conf/all/forwarding=1"), "the other one needs it\n{text}");
        assert_eq!(host.network_status(&first).unwrap().changed, [""; 0]);
        stop(host, &other);
        assert!(all(on).contains("sysctl net/ipv6/conf/all/forwarding=0"));
        stop(host, &first);
        assert_eq!(all(on), before.replace("mtu 1500", "mtu 1400"));
    });
}

/// Settings that others had raised before, and who have gone meanwhile.
#[test]
fn a_change_that_was_taken_back_leaves_no_setting_behind() {
    on_both("changed::a_change_that_was_taken_back_leaves_no_setting_behind", one, |on, host| {
        let before = all(on);
        let forward = nat(&format!("{SUBNET}{}", forwards(&[("80", "10.0.0.1")])));
        let six = nat("subnets = [\"10.0.0.0/24\", \"fd00:1::/64\"]");
        for (theirs, now) in [("10.1.0.0/24", forward), ("fd00:2::/64", six)] {
            let other = network(&format!("[network.b]\nmode = \"nat\"\nsubnets = [\"{theirs}\"]\n"));
            start(host, &other);
            start(host, &nat(SUBNET));
            start(host, &now);
            stop(host, &other);
            host.undo(Subject::Network(now.name())).unwrap_or_else(|e| panic!("{}", e.report()));
            stop(host, &now);
            assert_eq!(all(on), before, "{theirs}");
        }
    });
}

#[test]
fn a_bridge_keeps_what_it_was_given_when_a_change_is_taken_back() {
    on_both("changed::a_bridge_keeps_what_it_was_given_when_a_change_is_taken_back", one, |on, host| {
        let before = all(on);
        let bridge = "bridge = \"natbr0\"\n";
        start(host, &nat(&format!("{SUBNET}{bridge}")));
        start(host, &nat(&format!("subnets = [\"10.0.0.0/24\", \"10.1.0.0/24\"]\n{bridge}")));
        // One of its own comes with its first port.
        let given = ["fe80::77/64", "10.9.0.1/24"];
        for text in given {
            address(on, "natbr0", text);
        }
        host.undo(Subject::Network(name("a"))).unwrap_or_else(|e| panic!("{}", e.report()));
        let text = world::all(on);
        for text_of in given.into_iter().chain(["10.0.0.254/24"]) {
            assert!(text.contains(&format!("ip address add {text_of} dev natbr0")), "{text}");
        }
        assert!(!text.contains("10.1.0.254"), "{text}");
        stop(host, &nat(SUBNET));
        assert_eq!(all(on), before);
    });
}

/// Whoever takes a start back may have to try again, and must not take back more.
#[test]
fn a_change_is_taken_back_once() {
    let dir = StateDir::new();
    let state = exec::StateDir::at(dir.path());
    let mut host = Host::fake_in(state.clone()).unwrap();
    let of = |port: &str| nat(&format!("{SUBNET}{}", forwards(&[(port, "10.0.0.1")])));
    start(&mut host, &of("80"));
    start(&mut host, &of("81"));
    let (there, known) = (all(host.backend()), state.record(Subject::Network(name("a"))).unwrap());
    start(&mut host, &of("82"));
    for _ in 0..2 {
        host.undo_start(&name("a"), known.as_ref()).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(
            (all(host.backend()), host.started_networks().unwrap()[0].network.clone()),
            (there.clone(), of("81"))
        );
    }
    stop(&mut host, &of("81"));
    host.undo_start(&name("a"), known.as_ref()).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!(host.started_networks().unwrap(), []);
}

#[test]
fn what_a_killed_start_leaves_open_is_closed_without_what_is_not_its_own() {
    let dir = StateDir::new();
    let state = exec::StateDir::at(dir.path());
    let mut host = Host::fake_in(state.clone()).unwrap();
    let of = |net: &str, keys: &str| {
        nat(&format!("subnets = [\"10.0.0.0/24\"{net}]\nbridge = \"natbr0\"\negress = \"eth0\"\n{keys}"))
    };
    let (first, second) = (of("", ""), of(", \"10.1.0.0/24\"", &forwards(&[("80", "10.0.0.1")])));
    start(&mut host, &first);
    let there = all(host.backend());
    let plan = host.plan_start(&second).unwrap();
    assert!(plan.steps().len() > 1, "{plan}");
    let subject = Subject::Network(first.name());
    state.hold(subject, Duration::ZERO).unwrap().journal(None).begin(&plan).unwrap();
    run(host.backend(), plan.steps()[0].step.clone());
    set(host.backend(), "eth0", LinkChange::default().with_mtu(1400));
    let recovered = host.recover().unwrap();
    assert_eq!(recovered, [(subject, Recovered::Restored { steps: 1 })]);
    // Its bridge has the MTU of its port.
    assert_eq!(all(host.backend()), there.replace("53:01 mtu 1500", "53:01 mtu 1400"));
    assert_eq!(host.network_status(&first).unwrap().missing, [""; 0]);
}

/// With the first start none was found: what the second one makes for it goes with the network, too.
#[test]
fn a_way_out_that_comes_later_is_given_back() {
    let make = |on: &mut dyn Backend| address(on, "eth0", "192.168.0.3/24");
    on_both("changed::a_way_out_that_comes_later_is_given_back", make, |on, host| {
        let way = via("0.0.0.0/0", "eth0", "192.168.0.1");
        for keys in [format!("{SUBNET}bridge = \"natbr0\""), format!("{SUBNET}{}", forwards(&[("80", "10.0.0.1")]))] {
            let before = all(on);
            start(host, &nat(&keys));
            assert_eq!(host.started_networks().unwrap()[0].outside, None);
            run(on, Step::Route(RouteStep::Add(way.clone())));
            start(host, &nat(&keys));
            assert_eq!(host.started_networks().unwrap()[0].outside, Some(name("eth0")));
            stop(host, &nat(&keys));
            run(on, Step::Route(RouteStep::Del(way.clone())));
            assert_eq!(all(on), before, "{keys}");
        }
    });
}

#[test]
fn what_cannot_change_meanwhile_is_named() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    let mut refused = |was: &str, is: &str, keys: &str| {
        let (was, is) = (network(was), network(is));
        start(&mut host, &was);
        let there = all(&mut on.clone());
        for e in [host.plan_start(&is).unwrap_err(), host.start_network(&is).unwrap_err()] {
            let message = format!(
                "network {} is started, and was described otherwise then: its {keys} cannot change meanwhile",
                was.name()
            );
            assert_eq!((e.kind(), e.message()), (ErrorKind::Conflict, message.as_str()));
            assert_eq!(e.hint(), Some(format!("stop it first: xennet network stop {}", was.name()).as_str()));
        }
        let status = host.network_status(&is).unwrap();
        assert_eq!(status.needs_stop.join(", its "), keys);
        assert_eq!((status.mode, status.missing), (was.mode_name().to_owned(), vec![]), "of what is started");
        assert_eq!(all(&mut on.clone()), there);
        stop(&mut host, &was);
    };
    let a = |keys: &str| format!("[network.a]\nmode = \"nat\"\n{keys}\n");
    let two = a("subnets = [\"10.0.0.0/24\", \"10.1.0.0/24\"]");
    refused(&two, &a(SUBNET), "subnets");
    refused(&two, &two.replace("10.1.0.0/24", "10.1.0.0/16"), "subnets");
    refused(&a(""), &a(SUBNET), "subnets");
    refused(&a(SUBNET), &a(&format!("{SUBNET}mtu = 1400")), "mtu");
    refused(&a(SUBNET), &a(&format!("{SUBNET}gateways = [\"10.0.0.1\"]")), "gateways");
    // What could be taken over is not half of it.
    refused(&a(SUBNET), &a(&format!("{SUBNET}egress = \"eth0\"\ndns = true\nbridge = \"br\"")), "bridge, its egress");
    refused(&a(&format!("{SUBNET}bridge = \"br\"\nmtu = 1400")), &a(&format!("{SUBNET}bridge = \"br\"")), "mtu");
    let routed = format!("[network.a]\nmode = \"routed\"\n{SUBNET}proxy_arp = true\n");
    refused(&a(SUBNET), &routed, "mode, its proxy_arp");
    refused(LAN, &format!("{LAN}stp = true\n"), "stp");
}

/// One that has another name in the file by now is another network.
#[test]
fn a_network_is_not_started_beside_one_that_it_contradicts() {
    let mut world = fake();
    one(&mut world);
    let on = Shared::new(world);
    let mut host = Host::with_backend(Box::new(on.clone()));
    let cases = [
        (
            LAN.to_owned(),
            LAN.replace("[network.lan]", "[network.wan]"),
            "xenbr0 is the bridge of network wan, and the bridge of network lan",
            "stop it first: xennet network stop lan",
        ),
        (
            LAN.to_owned(),
            "[network.a]\nmode = \"routed\"\nuplink = \"eth0\"\n".into(),
            "eth0 has no addresses of its own once network lan is started",
            "write uplink = \"xenbr0\"; or xennet network stop lan",
        ),
        (
            format!("[network.b]\nmode = \"nat\"\n{SUBNET}"),
            "[network.c]\nmode = \"nat\"\nsubnets = [\"10.0.0.128/25\"]\n".into(),
            "10.0.0.128/25 of network c overlaps with 10.0.0.0/24 of network b",
            "stop it first: xennet network stop b",
        ),
    ];
    for (first, second, why, hint) in cases {
        let (first, second) = (network(&first), network(&second));
        start(&mut host, &first);
        let there = all(&mut on.clone());
        for e in [host.plan_start(&second).unwrap_err(), host.start_network(&second).unwrap_err()] {
            assert_eq!((e.kind(), e.hint()), (ErrorKind::Conflict, Some(hint)));
            assert!(e.message().contains(why), "{e}");
        }
        assert_eq!(all(&mut on.clone()), there);
        stop(&mut host, &first);
        start(&mut host, &second);
        stop(&mut host, &second);
    }
    // What it takes over must not contradict them either.
    let other = network("[network.b]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\n");
    start(&mut host, &nat(SUBNET));
    start(&mut host, &other);
    let e = host.start_network(&nat("subnets = [\"10.0.0.0/24\", \"10.1.0.0/16\"]")).unwrap_err();
    assert!(e.to_string().contains("network b is started, and with it network a cannot be: "), "{e}");
}
