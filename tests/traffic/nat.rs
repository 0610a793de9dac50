//! NAT: whom the outside sees, what it cannot reach, and what is handed on. Real network stacks at every end.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Part, Route, Scope};
use xennet_core::step::{LinkChange, RouteStep, Step};
use xennet_core::{
    BridgeSpec, DevId, GuestLinks, Guests, Host, MacAddr, NatNetwork, Network, NetworkMode, PortForward, Protocol,
    Subnet, VifId, VifSpec, exec,
};
use xennet_tests::talk::{listen, seen};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir, in_netns};

use super::lab::{LONG, address, domid, name, run, set, up};
use super::{BridgeFilter, bridge_filter};

/// Long enough for what must not arrive, where something that may has just done so.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

pub(crate) const PORT: u16 = 8080;

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// One family's addresses: dom0's towards the outside, the outside's, those of two guests, their gateway.
pub(crate) struct Family {
    pub(crate) dom0: IpAddr,
    pub(crate) outside: IpAddr,
    pub(crate) guests: [IpAddr; 2],
    pub(crate) gateway: IpAddr,
    forged: IpAddr,
}

pub(crate) fn families() -> [Family; 2] {
    [
        Family {
            dom0: ip("192.0.2.1"),
            outside: ip("192.0.2.254"),
            guests: [ip("10.1.0.1"), ip("10.1.0.2")],
            gateway: ip("10.1.0.254"),
            forged: ip("10.1.0.99"),
        },
        Family {
            dom0: ip("2001:db8::1"),
            outside: ip("2001:db8::fe"),
            guests: [ip("fd00:1::11"), ip("fd00:1::12")],
            gateway: ip("fd00:1::1"),
            forged: ip("fd00:1::99"),
        },
    ]
}

pub(crate) fn network(guests: GuestLinks) -> NatNetwork {
    let mut mode = NatNetwork::new();
    mode.subnets = ["10.1.0.0/24", "fd00:1::/64"].map(|n| Subnet::new(n.parse().unwrap()).unwrap()).into();
    mode.guests = guests;
    mode.forwards =
        families().iter().map(|f| PortForward::new(Protocol::Tcp, (PORT, PORT), f.guests[0], 80).unwrap()).collect();
    mode
}

pub(crate) fn station(number: u8, addresses: &[&str]) -> Guest {
    let id = VifId::new(domid(number), DevId::FIRST);
    let mac = MacAddr::new([0, 0x16, 0x3e, 0, 0, number]);
    let guest = Guest::new(&GuestSpec { id, mac, addresses: Vec::new() }).unwrap();
    guest
        .namespace()
        .run(|| {
            let mut on = Netlink::open().unwrap();
            addresses.iter().for_each(|a| address(&mut on, Guest::LINK, a, false));
        })
        .unwrap();
    guest
}

pub(crate) fn default_route(guest: &Guest, gateway: &str) {
    let to = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
    let route = Route::to(to.parse().unwrap(), name(Guest::LINK)).with_gateway(ip(gateway));
    guest.namespace().run(|| run(&mut Netlink::open().unwrap(), Step::Route(RouteStep::Add(route)))).unwrap();
}

/// This namespace as dom0, with `eth0` towards the outside, and two guests.
pub(crate) struct Lab {
    pub(crate) outside: Guest,
    pub(crate) guests: [Guest; 2],
    pub(crate) host: Host,
    pub(crate) dom0: NetNs,
    _state: Option<StateDir>,
}

impl Lab {
    pub(crate) fn build(guests: GuestLinks) -> Lab {
        Lab::of(NetworkMode::Nat(network(guests)))
    }

    /// With a network of this mode, whose guests have these addresses.
    pub(crate) fn of(mode: NetworkMode) -> Lab {
        let state = StateDir::new();
        let host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        Lab::on(host, Some(state), mode)
    }

    /// The same without a state directory, so that no dnsmasq serves the guests, whatever their network says.
    pub(crate) fn unserved(mode: NetworkMode) -> Lab {
        // With records in memory: nobody else's directory is written to.
        Lab::on(Host::with_backend(Box::new(Netlink::open().unwrap())), None, mode)
    }

    fn on(mut host: Host, state: Option<StateDir>, mode: NetworkMode) -> Lab {
        let shared = matches!(&mode, NetworkMode::Nat(nat) if nat.guests != GuestLinks::PerVif);
        let network = Network::new(name("lan"), mode).unwrap();
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let outside = station(100, &["192.0.2.254/24", "2001:db8::fe/64"]);
        set(&mut on, "vif100.0", LinkChange::default().with_name(name("eth0")));
        set(&mut on, "eth0", up());
        address(&mut on, "eth0", "192.0.2.1/24", false);
        address(&mut on, "eth0", "2001:db8::1/64", false);
        let way = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(ip("192.0.2.254"));
        run(&mut on, Step::Route(RouteStep::Add(way)));
        host.start_network(&network).unwrap_or_else(|e| panic!("{}", e.report()));
        let pair = [1, 2].map(|number| {
            let v6 = if shared { "64" } else { "128" };
            let guest = station(number, &[&format!("10.1.0.{number}/24"), &format!("fd00:1::1{number}/{v6}")]);
            let line = format!("mac=00:16:3e:00:00:0{number},bridge=lan,ip=10.1.0.{number} fd00:1::1{number}");
            let vif: VifSpec = line.parse().unwrap();
            host.attach(domid(number), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
            default_route(&guest, "10.1.0.254");
            default_route(&guest, if shared { "fd00:1::1" } else { "fe80::1" });
            guest
        });
        Lab { outside, guests: pair, host, dom0: NetNs::current().unwrap(), _state: state }
    }

    pub(crate) fn end(mut self) {
        for number in [1, 2] {
            self.host.detach(domid(number), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        self.host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        let scope = Scope::none().with(Part::Nft(NftTableId::gate()));
        let left = Netlink::open().unwrap().observe(&scope).unwrap().render();
        let left: Vec<&str> = left.lines().filter(|l| l.starts_with("nft add element")).collect();
        assert!(left.iter().all(|l| l.contains(" version ")), "{left:#?}");
    }
}

/// What a guest sends from an address that is not its own does not leave this domain, by whatever address.
fn forged(lab: &Lab, family: &Family) {
    let guest = lab.guests[0].namespace();
    let length = if family.dom0.is_ipv4() { 32 } else { 128 };
    let add = || address(&mut Netlink::open().unwrap(), Guest::LINK, &format!("{}/{length}", family.forged), false);
    guest.run(add).unwrap();
    let inbox = lab.outside.namespace().run(|| UdpSocket::bind((family.outside, 0)).unwrap()).unwrap();
    inbox.set_read_timeout(Some(LONG)).unwrap();
    let to = inbox.local_addr().unwrap();
    let send = |from: IpAddr, words: &[u8]| {
        guest.run(|| UdpSocket::bind((from, 0)).unwrap().send_to(words, to).unwrap()).unwrap();
    };
    for _ in 0..5 {
        send(family.forged, b"forged");
    }
    send(family.guests[0], b"own");
    let mut words = [0; 16];
    let (length, from) = inbox.recv_from(&mut words).unwrap();
    assert_eq!((&words[..length], from.ip()), (&b"own"[..], family.dom0));
    inbox.set_read_timeout(Some(SHORT)).unwrap();
    assert!(inbox.recv_from(&mut words).is_err(), "nothing else arrives");
}

fn on_every_way(lab: &Lab, family: &Family, neighbours_see: IpAddr, filter: BridgeFilter) {
    let (outside, one, two) = (lab.outside.namespace(), lab.guests[0].namespace(), lab.guests[1].namespace());
    let at = |ip, port| SocketAddr::new(ip, port);
    // Outwards: who is seen is dom0.
    let server = listen(outside, family.outside, 7000);
    for guest in [one, two] {
        assert_eq!(seen(guest, at(family.outside, 7000), &server, LONG), Some(family.dom0));
    }
    // Among guests each is itself.
    let server = listen(one, family.guests[0], 80);
    let direct = at(family.guests[0], 80);
    assert_eq!(seen(two, direct, &server, LONG), Some(family.guests[1]));
    assert!(seen(&lab.dom0, direct, &server, LONG).is_some());
    // Inwards, by what is handed on: from outside, from dom0, from the neighbour, from the very guest.
    let handed_on = at(family.dom0, PORT);
    assert_eq!(seen(outside, handed_on, &server, LONG), Some(family.outside), "who comes from outside is not hidden");
    assert_eq!(seen(&lab.dom0, handed_on, &server, LONG), Some(family.dom0));
    assert_eq!(seen(two, handed_on, &server, LONG), Some(neighbours_see));
    // Where br_netfilter translates frames at the bridge, one that is for where it came from stays there.
    if filter != BridgeFilter::On || family.guests[1] == neighbours_see {
        assert!(seen(one, handed_on, &server, LONG).is_some());
    }
    assert!(seen(two, at(family.gateway, PORT), &server, LONG).is_some(), "by any address of dom0");
    // Not by a route, which the outside has all the same.
    let (net, gateway) =
        if family.dom0.is_ipv4() { ("10.1.0.0/24", "192.0.2.1") } else { ("fd00:1::/64", "2001:db8::1") };
    let way = Route::to(net.parse().unwrap(), name(Guest::LINK)).with_gateway(ip(gateway));
    outside.run(|| run(&mut Netlink::open().unwrap(), Step::Route(RouteStep::Add(way)))).unwrap();
    assert_eq!(seen(outside, direct, &server, SHORT), None, "hidden is hidden");
    assert_eq!(seen(outside, handed_on, &server, LONG), Some(family.outside), "and this way goes on");
}

#[test]
fn guests_with_a_vif_each() {
    in_netns("nat::guests_with_a_vif_each", || {
        let lab = Lab::build(GuestLinks::PerVif);
        for family in families() {
            // The neighbour's connection comes from the neighbour: its answers go through dom0 anyway.
            on_every_way(&lab, &family, family.guests[1], BridgeFilter::Absent);
            forged(&lab, &family);
        }
        lab.end();
    });
}

#[test]
fn guests_on_a_private_bridge() {
    in_netns("nat::guests_on_a_private_bridge", || {
        for filter in bridge_filter() {
            println!("{filter}");
            let alone = NetNs::new().unwrap();
            let all = || {
                bridge_filter().find(|way| *way == filter);
                let lab = Lab::build(GuestLinks::Bridge(BridgeSpec::new(name("natbr0"))));
                for family in families() {
                    // Else the answer would come from an address that nobody has asked.
                    on_every_way(&lab, &family, family.gateway, filter);
                    forged(&lab, &family);
                }
                lab.end();
            };
            alone.run(all).unwrap();
        }
    });
}

/// A guest cannot make itself this domain's router, nor be heard under the gateway's own address.
#[test]
fn what_guests_say_about_routers_is_not_heard() {
    in_netns("nat::what_guests_say_about_routers_is_not_heard", || {
        let lab = Lab::build(GuestLinks::PerVif);
        let before = Netlink::open().unwrap().observe(&Scope::network()).unwrap();
        // Router advertisement with a lifetime and a prefix for autoconfiguration (RFC 4861, 4.2 and 4.6.2).
        let mut said = vec![134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        said.extend([3, 4, 64, 0xc0, 0, 0, 0x0e, 0x10, 0, 0, 0x0e, 0x10, 0, 0, 0, 0]);
        said.extend("2001:db8:bad::".parse::<Ipv6Addr>().unwrap().octets());
        lab.guests[0]
            .namespace()
            .run(|| {
                use rustix::net::{AddressFamily, SendFlags, SocketAddrV6, SocketFlags, SocketType, ipproto, sockopt};
                let kind = (AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6));
                let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, kind.3).unwrap();
                sockopt::set_ipv6_multicast_hops(&socket, 255).unwrap();
                let all = SocketAddrV6::new("ff02::1".parse().unwrap(), 0, 0, 2);
                for _ in 0..5 {
                    // Where the link has another number, nothing is sent, and nothing would be shown.
                    rustix::net::sendto(&socket, &said, SendFlags::empty(), &all).unwrap();
                }
            })
            .unwrap();
        // Something that must arrive, behind it.
        let server = listen(lab.outside.namespace(), ip("192.0.2.254"), 7000);
        assert!(seen(lab.guests[0].namespace(), "192.0.2.254:7000".parse().unwrap(), &server, LONG).is_some());
        let after = Netlink::open().unwrap().observe(&Scope::network()).unwrap();
        assert_eq!(before.changes(&after), []);
        lab.end();
    });
}
