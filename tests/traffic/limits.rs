//! What guests reach of this domain itself, and of the LAN behind the egress, in every mode and family. Real network stacks at every end.

use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::Address;
use xennet_core::snapshot::NftTableId;
use xennet_core::step::{AddrStep, NftOp, NftTransaction, Step};
use xennet_core::{
    BridgeSpec, GuestLinks, Guests, HostAccess, LanAccess, NatNetwork, Network, NetworkMode, NetworkState,
    RoutedNetwork, Services, VifSpec,
};
use xennet_tests::talk::{listen, seen};
use xennet_tests::{Guest, NetNs, in_netns};

use super::lab::{LONG, address, domid, name, run};
use super::nat::{Family, Lab, PORT, SHORT, default_route, families, ip, network};

/// The modes, with what is the same in all of them.
fn modes(host: HostAccess, lan: LanAccess, services: &Services) -> [NetworkMode; 3] {
    let nat = |links| -> NatNetwork { network(links).with_host(host).with_lan(lan).with_services(services.clone()) };
    let routed = RoutedNetwork::new().with_subnets(network(GuestLinks::PerVif).subnets);
    let bridge = GuestLinks::Bridge(BridgeSpec::new(name("natbr0")));
    [
        NetworkMode::Nat(nat(GuestLinks::PerVif)),
        NetworkMode::Nat(nat(bridge)),
        NetworkMode::Routed(routed.with_host(host).with_lan(lan).with_services(services.clone())),
    ]
}

const fn hides(mode: &NetworkMode) -> bool {
    matches!(mode, NetworkMode::Nat(_))
}

/// The identifier of the next echo request.
static ECHOES: AtomicU16 = AtomicU16::new(0x1000);

/// Whether an echo request is answered.
fn echoes(from: &NetNs, target: IpAddr, patience: Duration) -> bool {
    from.run(|| {
        let v4 = target.is_ipv4();
        let (family, protocol) =
            if v4 { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
        let socket = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(100))).unwrap();
        // Another identifier each time: one that was answered before belongs to a connection. The kernel puts the checksum of ICMPv6 in.
        let id = ECHOES.fetch_add(1, Ordering::Relaxed);
        let checksum = if v4 { !(0x0800 + id + 1) } else { 0 };
        let mut request = [if v4 { 8 } else { 0x80 }, 0, 0, 0, 0, 0, 0, 1];
        request[2..4].copy_from_slice(&checksum.to_be_bytes());
        request[4..6].copy_from_slice(&id.to_be_bytes());
        let end = Instant::now() + patience;
        let mut packet = [0; 256];
        while Instant::now() < end {
            match target {
                IpAddr::V4(ip) => rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(ip, 0)),
                IpAddr::V6(ip) => {
                    rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV6::new(ip, 0, 0, 0))
                }
            }
            .unwrap();
            while let Ok((length, _)) = rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty()) {
                let message = if v4 { packet.get(20..length) } else { packet.get(..length) };
                if message.is_some_and(|m| m.len() == 8 && m[4..] == request[4..] && matches!(m[0], 0 | 0x81)) {
                    return true;
                }
            }
        }
        false
    })
    .unwrap()
}

/// Whether a datagram arrives.
fn arrives(from: &NetNs, inbox: &UdpSocket, to: SocketAddr, patience: Duration) -> bool {
    inbox.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
    let end = Instant::now() + patience;
    let any = if to.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
    // The port that a client of DHCP asks from; the first byte says that it asks.
    let port = match to.port() {
        67 => 68,
        547 => 546,
        _ => 0,
    };
    while Instant::now() < end {
        from.run(|| UdpSocket::bind((any, port)).unwrap().send_to(b"\x01xennet", to).unwrap()).unwrap();
        if inbox.recv(&mut [0; 16]).is_ok() {
            return true;
        }
    }
    false
}

const fn patience(passes: bool) -> Duration {
    if passes { LONG } else { SHORT }
}

/// What a guest reaches of this domain by each of its addresses: everything, what it may ask for, nothing.
fn to_host(lab: &Lab, family: &Family, host: HostAccess, services: &Services) {
    let (dom0, one) = (&lab.dom0, lab.guests[0].namespace());
    let (all, some) = (host == HostAccess::Open, host != HostAccess::Closed);
    let any: IpAddr = if family.dom0.is_ipv4() { ip("0.0.0.0") } else { ip("::") };
    for at in [family.gateway, family.dom0] {
        let what = format!("{at}, {host:?}");
        let tcp = |port, passes| {
            let server = listen(dom0, at, port);
            let found = seen(one, SocketAddr::new(at, port), &server, patience(passes));
            assert_eq!(found, passes.then_some(family.guests[0]), "TCP {port} of {what}");
        };
        let udp = |port, passes| {
            let inbox = dom0.run(|| UdpSocket::bind((any, port)).unwrap()).unwrap();
            assert_eq!(
                arrives(one, &inbox, SocketAddr::new(at, port), patience(passes)),
                passes,
                "UDP {port} of {what}"
            );
        };
        assert_eq!(echoes(one, at, patience(some)), some, "echo of {what}");
        let names = all || (some && services.dns);
        tcp(7300, all);
        tcp(53, names);
        udp(53, names);
        udp(7301, all);
        udp(if at.is_ipv4() { 67 } else { 547 }, all || (some && services.dhcp));
        udp(if at.is_ipv4() { 547 } else { 67 }, all);
    }
}

/// What does not depend on it: what this domain begins, what is routed, what is handed on.
fn all_else(lab: &Lab, family: &Family, is_hidden: bool) {
    let (outside, one, two) = (lab.outside.namespace(), lab.guests[0].namespace(), lab.guests[1].namespace());
    let own = family.guests[0];
    let server = listen(one, own, 80);
    let direct = SocketAddr::new(own, 80);
    assert!(seen(&lab.dom0, direct, &server, LONG).is_some(), "this domain is answered");
    assert!(echoes(&lab.dom0, own, LONG));
    assert_eq!(seen(two, direct, &server, LONG), Some(family.guests[1]));
    if is_hidden {
        let handed_on = SocketAddr::new(family.dom0, PORT);
        assert!(seen(outside, handed_on, &server, LONG).is_some());
        assert_eq!(seen(&lab.dom0, handed_on, &server, LONG), Some(family.dom0));
        assert!(seen(two, handed_on, &server, LONG).is_some());
    }
}

fn from_guest(lab: &Lab, family: &Family, at: IpAddr, is_hidden: bool, passes: bool) {
    let server = listen(lab.outside.namespace(), at, 7500);
    let found = seen(lab.guests[0].namespace(), SocketAddr::new(at, 7500), &server, patience(passes));
    let who = if is_hidden { family.dom0 } else { family.guests[0] };
    assert_eq!(found, passes.then_some(who), "{at}");
}

fn flush(chains: &[&str]) {
    let ops = chains.iter().map(|chain| NftOp::FlushChain { chain: (*chain).into() }).collect();
    run(&mut Netlink::open().unwrap(), Step::Nft(NftTransaction::new(NftTableId::gate(), ops)));
}

fn host_access(host: HostAccess, services: &Services) {
    for mode in modes(host, LanAccess::Open, services) {
        println!("{mode:?}");
        let is_hidden = hides(&mode);
        let in_it = || {
            let mut lab = Lab::unserved(mode);
            default_route(&lab.outside, "192.0.2.1");
            default_route(&lab.outside, "2001:db8::1");
            for family in families() {
                to_host(&lab, &family, host, services);
                from_guest(&lab, &family, family.outside, is_hidden, true);
                all_else(&lab, &family, is_hidden);
            }
            if host == HostAccess::Closed {
                // It is these rules, and they come back.
                flush(&["from-limited"]);
                families().iter().for_each(|family| to_host(&lab, family, HostAccess::Open, services));
                lab.host.recover().unwrap_or_else(|e| panic!("{}", e.report()));
                families().iter().for_each(|family| to_host(&lab, family, host, services));
            }
            lab.end();
        };
        NetNs::new().unwrap().run(in_it).unwrap();
    }
}

#[test]
fn a_host_that_is_open() {
    in_netns("limits::a_host_that_is_open", || host_access(HostAccess::Open, &Services::default()));
}

#[test]
fn a_host_that_offers_its_services() {
    in_netns("limits::a_host_that_offers_its_services", || {
        host_access(HostAccess::Services, &Services::default().with_dhcp(true).with_dns(true));
    });
}

#[test]
fn a_host_that_has_no_services() {
    in_netns("limits::a_host_that_has_no_services", || {
        host_access(HostAccess::Services, &Services::default());
    });
}

#[test]
fn a_host_that_is_closed() {
    in_netns("limits::a_host_that_is_closed", || {
        host_access(HostAccess::Closed, &Services::default().with_dhcp(true).with_dns(true));
    });
}

/// dom0's address on the guest's link is none that others have, and is closed with the others.
#[test]
fn the_link_local_gateway_is_closed_too() {
    in_netns("limits::the_link_local_gateway_is_closed_too", || {
        for host in [HostAccess::Open, HostAccess::Closed] {
            let in_it = || {
                let [mode, ..] = modes(host, LanAccess::Open, &Services::default());
                let lab = Lab::unserved(mode);
                let server = lab.dom0.run(|| TcpListener::bind("[::]:7302").unwrap()).unwrap();
                server.set_nonblocking(true).unwrap();
                let index = lab.guests[0]
                    .namespace()
                    .run(|| {
                        rustix::net::netdevice::name_to_index(
                            rustix::net::socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap(),
                            Guest::LINK,
                        )
                        .unwrap()
                    })
                    .unwrap();
                let to = SocketAddrV6::new("fe80::1".parse().unwrap(), 7302, 0, index);
                let open = host == HostAccess::Open;
                let found = seen(lab.guests[0].namespace(), to.into(), &server, patience(open));
                assert_eq!(found.is_some(), open, "{host:?}");
                lab.end();
            };
            NetNs::new().unwrap().run(in_it).unwrap();
        }
    });
}

/// By family: a host behind the LAN's router, and what the egress gets in addition.
const BEYOND: [&str; 2] = ["203.0.113.7", "2001:db8:77::7"];
const MORE: [[&str; 2]; 2] = [["198.51.100.1/24", "198.51.100.7"], ["2001:db8:2::1/64", "2001:db8:2::7"]];

#[test]
fn a_lan_that_is_closed() {
    in_netns("limits::a_lan_that_is_closed", || {
        for lan in [LanAccess::Open, LanAccess::Closed] {
            for mode in modes(HostAccess::Open, lan, &Services::default()) {
                println!("{mode:?}");
                NetNs::new().unwrap().run(|| closed_lan(mode, lan == LanAccess::Closed)).unwrap();
            }
        }
    });
}

fn closed_lan(mode: NetworkMode, is_closed: bool) {
    let is_hidden = hides(&mode);
    let described = Network::new(name("lan"), mode.clone()).unwrap();
    let mut lab = Lab::of(mode);
    let mut on = Netlink::open().unwrap();
    default_route(&lab.outside, "192.0.2.1");
    default_route(&lab.outside, "2001:db8::1");
    let add = || {
        let mut on = Netlink::open().unwrap();
        for at in BEYOND.into_iter().chain(MORE.map(|[_, station]| station)) {
            address(&mut on, Guest::LINK, &format!("{at}/{}", if at.contains(':') { 128 } else { 32 }), false);
        }
    };
    lab.outside.namespace().run(add).unwrap();
    default_way(&mut on);
    let way = |lab: &Lab, is_closed: bool| {
        for (family, beyond) in families().iter().zip(BEYOND) {
            from_guest(lab, family, ip(beyond), is_hidden, true);
            from_guest(lab, family, family.outside, is_hidden, !is_closed);
            all_else(lab, family, is_hidden);
            if !is_hidden {
                let server = listen(lab.guests[0].namespace(), family.guests[0], 7501);
                let to = SocketAddr::new(family.guests[0], 7501);
                // It has several addresses.
                let found = seen(lab.outside.namespace(), to, &server, LONG);
                assert!(found.is_some(), "what the LAN begins is answered");
            }
        }
    };
    way(&lab, is_closed);
    if is_closed {
        flush(&["to-lan"]);
        way(&lab, false);
        lab.host.recover().unwrap_or_else(|e| panic!("{}", e.report()));
        way(&lab, true);
        moves(&mut lab, &described, is_hidden);
    }
    lab.end();
}

/// IPv6 beyond the LAN, which the lab has no way to.
fn default_way(on: &mut Netlink) {
    use xennet_core::snapshot::Route;
    use xennet_core::step::RouteStep;
    let way = Route::to("::/0".parse().unwrap(), name("eth0")).with_gateway(ip("2001:db8::fe"));
    run(on, Step::Route(RouteStep::Add(way)));
}

/// The egress gets an address of another network, and loses it again: `status` tells, and the next start takes it over.
fn moves(lab: &mut Lab, described: &Network, is_hidden: bool) {
    let mut on = Netlink::open().unwrap();
    let status = |lab: &mut Lab| lab.host.network_status(described).unwrap();
    let start = |lab: &mut Lab| lab.host.start_network(described).unwrap_or_else(|e| panic!("{}", e.report()));
    assert_eq!((status(lab).state, status(lab).missing), (NetworkState::Started, vec![]));
    let more = |on: &mut Netlink| MORE.iter().for_each(|[own, _]| address(on, "eth0", own, false));
    let less = |on: &mut Netlink| {
        for [own, _] in MORE {
            run(on, Step::Addr(AddrStep::Del(Address::new(name("eth0"), own.parse().unwrap()))));
        }
    };
    let reaches = |lab: &Lab, passes: bool| {
        for (family, [own, station]) in families().iter().zip(MORE) {
            let server = listen(lab.outside.namespace(), ip(station), 7502);
            let found = seen(lab.guests[0].namespace(), SocketAddr::new(ip(station), 7502), &server, patience(passes));
            assert_eq!(found.is_some(), passes, "{own}, {family:?}, hidden: {is_hidden}", family = family.dom0);
        }
    };
    // Beyond the LAN's router at first.
    reaches(lab, true);
    more(&mut on);
    let told = status(lab);
    assert_eq!(told.state, NetworkState::Damaged);
    assert!(told.missing.concat().contains("198.51.100.0/24"), "{:?}", told.missing);
    start(lab);
    assert_eq!((status(lab).state, status(lab).missing), (NetworkState::Started, vec![]));
    reaches(lab, false);
    less(&mut on);
    assert_eq!(status(lab).state, NetworkState::Damaged);
    start(lab);
    assert_eq!(status(lab).state, NetworkState::Started);
    reaches(lab, true);
    // The same by way of undo.
    more(&mut on);
    start(lab);
    lab.host.undo_last().unwrap_or_else(|e| panic!("{}", e.report()));
    less(&mut on);
    assert_eq!((status(lab).state, status(lab).missing), (NetworkState::Started, vec![]));
}

/// Who stays while its network is stopped and started keeps what it reached, and `status` names it.
#[test]
fn a_guest_that_was_attached_before() {
    in_netns("limits::a_guest_that_was_attached_before", || {
        let [open, ..] = modes(HostAccess::Open, LanAccess::Open, &Services::default());
        let [closed, ..] = modes(HostAccess::Closed, LanAccess::Open, &Services::default());
        let mut lab = Lab::of(open);
        let closed = Network::new(name("lan"), closed).unwrap();
        lab.host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
        lab.host.start_network(&closed).unwrap_or_else(|e| panic!("{}", e.report()));
        let said = lab.host.network_status(&closed).unwrap().access;
        let before = ["vif1.0", "vif2.0"].map(|vif| {
            format!(
                "{vif} was attached when host was another, and reaches what it reached then until it is attached again"
            )
        });
        assert_eq!(said, [&["guests do not reach this domain".to_owned()][..], &before].concat());
        let vif: VifSpec = "mac=00:16:3e:00:00:01,bridge=lan,ip=10.1.0.1 fd00:1::11".parse().unwrap();
        lab.host.attach(domid(1), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        assert_eq!(lab.host.network_status(&closed).unwrap().access[1..], before[1..]);
        for family in families() {
            to_host(&lab, &family, HostAccess::Closed, &Services::default());
        }
        lab.end();
    });
}
