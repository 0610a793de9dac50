//! Hidden guests are hidden on every link: from a second uplink, from the guests of other networks. Real network stacks at every end.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Route};
use xennet_core::step::{LinkChange, NftOp, NftTransaction, RouteStep, Step};
use xennet_core::{BridgeSpec, DevId, GuestLinks, Guests, NetworkMode, RoutedNetwork, VifSpec, config};
use xennet_tests::talk::{listen, seen};
use xennet_tests::{Guest, NetNs, in_netns};

use super::lab::{LONG, address, domid, name, run, set, up};
use super::nat::{Lab, PORT, SHORT, default_route, families, ip, network, station};

/// Two networks more: hidden guests of their own, and guests with routes.
const OTHERS: &str = "[network.other]\nmode = \"nat\"\nsubnets = [\"10.3.0.0/24\", \"fd00:3::/64\"]\negress = \"eth0\"\n\
    [network.dmz]\nmode = \"routed\"\nsubnets = [\"10.2.0.0/24\", \"fd00:2::/64\"]\nuplink = \"eth0\"\n";

/// By family: this domain's address on the second uplink, the station's there, the guest of the other network, the guest with routes.
const SECOND: [[&str; 4]; 2] = [
    ["198.51.100.1", "198.51.100.254", "10.3.0.3", "10.2.0.4"],
    ["2001:db8:2::1", "2001:db8:2::fe", "fd00:3::13", "fd00:2::14"],
];

fn guest(lab: &mut Lab, number: u8, network: &str) -> Guest {
    let own = if network == "other" { ["10.3.0.3", "fd00:3::13"] } else { ["10.2.0.4", "fd00:2::14"] };
    let guest = station(number, &[&format!("{}/24", own[0]), &format!("{}/128", own[1])]);
    let line = format!("mac=00:16:3e:00:00:0{number},bridge={network},ip={} {}", own[0], own[1]);
    let vif: VifSpec = line.parse().unwrap();
    lab.host.attach(domid(number), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
    default_route(&guest, if network == "other" { "10.3.0.254" } else { "10.2.0.254" });
    default_route(&guest, "fe80::1");
    guest
}

/// Takes the guests and the networks of [`OTHERS`] away, and all else.
fn end(mut lab: Lab) {
    for number in [3, 4] {
        lab.host.detach(domid(number), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    for network in ["other", "dmz"] {
        lab.host.stop_network(&name(network), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    lab.end();
}

/// A connection from somewhere to somewhere: who is seen there.
struct Way<'a> {
    what: &'static str,
    from: &'a NetNs,
    to: (&'a NetNs, IpAddr),
    /// Who is seen; nobody where it must not arrive.
    seen: Option<IpAddr>,
    /// Who is seen where the rules are gone.
    without: Option<IpAddr>,
}

fn check(ways: &[Way<'_>], with_rules: bool, family: usize) {
    for way in ways {
        let (namespace, at) = way.to;
        let wanted = if with_rules { way.seen } else { way.without };
        let server = listen(namespace, at, 7100);
        let patience = if wanted.is_some() { LONG } else { SHORT };
        let found = seen(way.from, SocketAddr::new(at, 7100), &server, patience);
        assert_eq!(found, wanted, "{}, family {family}, with the rules: {with_rules}", way.what);
    }
}

fn hidden_on_every_link(links: GuestLinks) {
    let mut lab = Lab::build(links);
    let mut on = Netlink::open().unwrap();
    let second = station(101, &["198.51.100.254/24", "2001:db8:2::fe/64"]);
    set(&mut on, "vif101.0", LinkChange::default().with_name(name("eth1")));
    set(&mut on, "eth1", up());
    for [dom0, ..] in SECOND {
        let length = if dom0.contains(':') { 64 } else { 24 };
        address(&mut on, "eth1", &format!("{dom0}/{length}"), false);
    }
    default_route(&second, "198.51.100.1");
    default_route(&second, "2001:db8:2::1");
    // The first uplink has routes to all guests, too.
    default_route(&lab.outside, "192.0.2.1");
    default_route(&lab.outside, "2001:db8::1");
    for network in config::networks::parse(OTHERS).unwrap().iter() {
        lab.host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
    }
    let (other, dmz) = (guest(&mut lab, 3, "other"), guest(&mut lab, 4, "dmz"));
    let all = |with_rules: bool| {
        for (number, family) in families().iter().enumerate() {
            let [second_dom0, outside2, other_at, dmz_at] = SECOND[number].map(ip);
            let [one, two] = [0, 1].map(|at| lab.guests[at].namespace());
            let [own, neighbour] = family.guests;
            let (first, second, other, dmz) =
                (lab.outside.namespace(), second.namespace(), other.namespace(), dmz.namespace());
            let way =
                |what, from, to, seen: Option<IpAddr>, without: Option<IpAddr>| Way { what, from, to, seen, without };
            let ways = [
                way("by the first uplink", first, (one, own), None, Some(family.outside)),
                way("by the second uplink", second, (one, own), None, Some(outside2)),
                way("by the second uplink to the other network", second, (other, other_at), None, Some(outside2)),
                way("from the other hidden network", other, (one, own), None, Some(other_at)),
                way("to the other hidden network", one, (other, other_at), None, Some(own)),
                way("from a routed guest", dmz, (one, own), None, Some(dmz_at)),
                way("out by the second uplink", one, (second, outside2), None, Some(own)),
                way("out by the egress", one, (first, family.outside), Some(family.dom0), Some(family.dom0)),
                way("out of the other network", other, (first, family.outside), Some(family.dom0), Some(family.dom0)),
                way("to the neighbour", one, (two, neighbour), Some(own), Some(own)),
                way("to a routed guest", one, (dmz, dmz_at), Some(own), Some(own)),
                way("to a routed guest by the second uplink", second, (dmz, dmz_at), Some(outside2), Some(outside2)),
                way("from a routed guest outwards", dmz, (second, outside2), Some(dmz_at), Some(dmz_at)),
            ];
            check(&ways, with_rules, number);
            // What is handed on is handed on by every link.
            let server = listen(one, own, 80);
            for (from, at, who) in [(first, family.dom0, family.outside), (second, second_dom0, outside2)] {
                assert_eq!(seen(from, SocketAddr::new(at, PORT), &server, LONG), Some(who));
            }
        }
    };
    all(true);
    // It is these rules that keep them apart.
    let flush = ["to-hidden", "from-hidden"].map(|chain| NftOp::FlushChain { chain: chain.into() });
    run(&mut on, Step::Nft(NftTransaction::new(NftTableId::gate(), flush.into())));
    all(false);
    lab.host.recover().unwrap_or_else(|e| panic!("{}", e.report()));
    all(true);
    end(lab);
}

#[test]
fn guests_with_a_vif_each() {
    in_netns("hidden::guests_with_a_vif_each", || hidden_on_every_link(GuestLinks::PerVif));
}

#[test]
fn guests_on_a_private_bridge() {
    in_netns("hidden::guests_on_a_private_bridge", || {
        hidden_on_every_link(GuestLinks::Bridge(BridgeSpec::new(name("natbr0"))));
    });
}

/// Guests of a network that keeps them from each other reach the outside and this domain, as ever, and not each other.
#[test]
fn guests_that_are_kept_from_each_other() {
    in_netns("hidden::guests_that_are_kept_from_each_other", || {
        let routed = RoutedNetwork::new().with_subnets(network(GuestLinks::PerVif).subnets);
        let bridge = GuestLinks::Bridge(BridgeSpec::new(name("natbr0")));
        for isolated in [false, true] {
            let nat = |links| NetworkMode::Nat(network(links).with_isolated(isolated));
            let routed = NetworkMode::Routed(routed.clone().with_isolated(isolated));
            for mode in [nat(GuestLinks::PerVif), nat(bridge.clone()), routed] {
                println!("{mode:?}");
                NetNs::new().unwrap().run(|| kept_apart(mode, isolated)).unwrap();
            }
        }
    });
}

fn kept_apart(mode: NetworkMode, isolated: bool) {
    let hides = matches!(mode, NetworkMode::Nat(_));
    let (lab, dom0) = (Lab::of(mode), NetNs::current().unwrap());
    default_route(&lab.outside, "192.0.2.1");
    default_route(&lab.outside, "2001:db8::1");
    let [one, two] = [0, 1].map(|at| lab.guests[at].namespace());
    let outside = lab.outside.namespace();
    for family in families() {
        let [own, neighbour] = family.guests;
        let to = |namespace, at, from, patience| {
            let server = listen(namespace, at, 7300);
            seen(from, SocketAddr::new(at, 7300), &server, patience)
        };
        let patience = if isolated { SHORT } else { LONG };
        assert_eq!(to(two, neighbour, one, patience), (!isolated).then_some(own));
        assert_eq!(to(one, own, two, patience), (!isolated).then_some(neighbour));
        assert_eq!(to(outside, family.outside, one, LONG), Some(if hides { family.dom0 } else { own }));
        let to_dom0 = to(&dom0, family.dom0, one, LONG);
        assert_eq!(to_dom0, Some(own));
        if !hides {
            assert_eq!(to(one, own, outside, LONG), Some(family.outside));
        }
    }
    lab.end();
}

/// Guests that a network says it can be reached from, and no others.
#[test]
fn guests_that_may_connect() {
    in_netns("hidden::guests_that_may_connect", || {
        let from = ["10.3.0.0/24", "fd00:3::/64"].map(|n| n.parse().unwrap()).into();
        let mut lab = Lab::of(NetworkMode::Nat(network(GuestLinks::PerVif).with_reachable_from(from)));
        for network in config::networks::parse(OTHERS).unwrap().iter() {
            lab.host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        let (other, dmz) = (guest(&mut lab, 3, "other"), guest(&mut lab, 4, "dmz"));
        default_route(&lab.outside, "192.0.2.1");
        // Who has the address but is no guest.
        let stranger = ["10.3.0.77/32", "fd00:3::77/128"];
        let add = || stranger.iter().for_each(|a| address(&mut Netlink::open().unwrap(), Guest::LINK, a, false));
        lab.outside.namespace().run(add).unwrap();
        for (number, family) in families().iter().enumerate() {
            let [_, _, other_at, _] = SECOND[number].map(ip);
            let (one, own) = (lab.guests[0].namespace(), family.guests[0]);
            let way = |what, from, to, seen| Way { what, from, to, seen, without: None };
            let ways = [
                way("from the network that is named", other.namespace(), (one, own), Some(other_at)),
                way("not in the other direction", one, (other.namespace(), other_at), None),
                way("from another one", dmz.namespace(), (one, own), None),
            ];
            check(&ways, true, number);
        }
        let inbox = lab.guests[0].namespace().run(|| UdpSocket::bind("10.1.0.1:7400").unwrap()).unwrap();
        inbox.set_read_timeout(Some(SHORT)).unwrap();
        let say = |namespace: &NetNs, from: &str| {
            namespace.run(|| UdpSocket::bind((ip(from), 0)).unwrap().send_to(b"x", "10.1.0.1:7400").unwrap()).unwrap();
        };
        say(lab.outside.namespace(), "10.3.0.77");
        assert!(inbox.recv(&mut [0; 8]).is_err(), "the outside is no guest, whatever its address");
        inbox.set_read_timeout(Some(LONG)).unwrap();
        say(other.namespace(), "10.3.0.3");
        assert_eq!(inbox.recv(&mut [0; 8]).unwrap(), 1);
        end(lab);
    });
}

/// A route that leads elsewhere than by the egress: guests do not leave there, and come back when the network is started again.
#[test]
fn a_default_route_that_moved() {
    in_netns("hidden::a_default_route_that_moved", || {
        let lab = Lab::build(GuestLinks::PerVif);
        let mut on = Netlink::open().unwrap();
        let second = station(101, &["198.51.100.254/24"]);
        set(&mut on, "vif101.0", LinkChange::default().with_name(name("eth1")));
        set(&mut on, "eth1", up());
        address(&mut on, "eth1", "198.51.100.1/24", false);
        let far = IpAddr::from([203, 0, 113, 7]);
        for station in [&second, &lab.outside] {
            station
                .namespace()
                .run(|| address(&mut Netlink::open().unwrap(), Guest::LINK, "203.0.113.7/32", false))
                .unwrap();
        }
        default_route(&second, "198.51.100.1");
        let from = lab.guests[0].namespace();
        let by = |station: &Guest, patience| {
            let server = listen(station.namespace(), far, 7200);
            seen(from, SocketAddr::new(far, 7200), &server, patience)
        };
        assert_eq!(by(&lab.outside, LONG), Some(families()[0].dom0));
        let way = Route::to("203.0.113.0/24".parse().unwrap(), name("eth1")).with_gateway(ip("198.51.100.254"));
        run(&mut on, Step::Route(RouteStep::Add(way.clone())));
        assert_eq!(by(&second, SHORT), None, "neither translated nor as it is");
        run(&mut on, Step::Route(RouteStep::Del(way)));
        assert_eq!(by(&lab.outside, LONG), Some(families()[0].dom0));
        lab.end();
    });
}
