//! Guests that are routed: nobody tracks connections for them, so nobody puts fragments together before they are checked.

use std::net::Ipv6Addr;
use std::time::Instant;

use rustix::net::{AddressFamily, SendFlags, SocketAddrV6, SocketFlags, SocketType, ipproto};
use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Part, Scope};
use xennet_core::{DevId, Guests, Host, MacAddr, VifId, VifSpec, config, exec};
use xennet_tests::{Guest, GuestSpec, StateDir, in_netns};

use super::lab::{LONG, address, domid, name, set, up};
use xennet_tests::frame::{DESTINATION, FRAGMENT, ICMPV6, UDP, behind, fragment6, link_local};

const NETWORK: &str = "[network.lan]\nmode = \"routed\"\nsubnets = [\"fd00:1::/64\"]\nuplink = \"eth0\"\n";
const MAC: [u8; 6] = [0, 0x16, 0x3e, 0, 0, 1];
const OWN: &str = "fd00:1::11";

/// How many fragments this namespace has been given to put together.
fn arrived() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
    let line = text.lines().find(|l| l.starts_with("Ip6ReasmReqds")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends a packet as it is.
fn send(guest: &Guest, from: Ipv6Addr, content: &[u8]) {
    let to: Ipv6Addr = "fe80::1".parse().unwrap();
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
    packet.extend([FRAGMENT, 64]);
    packet.extend(from.octets().into_iter().chain(to.octets()).chain(content.iter().copied()));
    let say = || {
        let kind = (AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::RAW));
        let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, kind.3).unwrap();
        rustix::net::sendto(&socket, &packet, SendFlags::empty(), &SocketAddrV6::new(to, 0, 0, 2)).unwrap();
    };
    guest.namespace().run(say).unwrap();
}

#[test]
fn a_fragment_that_may_be_anything_does_not_pass() {
    in_netns("routed::a_fragment_that_may_be_anything_does_not_pass", || {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let id = VifId::new(domid(100), DevId::FIRST);
        let outside = Guest::new(&GuestSpec { id, mac: MacAddr::new([2, 0, 0, 0, 0x53, 0xfe]), addresses: vec![] });
        set(&mut on, "vif100.0", up().with_name(name("eth0")));
        address(&mut on, "eth0", "2001:db8::1/64", false);
        let state = StateDir::new();
        let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        let networks = config::networks::parse(NETWORK).unwrap();
        host.start_network(networks.iter().next().unwrap()).unwrap_or_else(|e| panic!("{}", e.report()));
        let id = VifId::new(domid(1), DevId::FIRST);
        let guest = Guest::new(&GuestSpec { id, mac: MacAddr::new(MAC), addresses: vec![] }).unwrap();
        let addresses = || {
            let mut on = Netlink::open().unwrap();
            address(&mut on, Guest::LINK, &format!("{OWN}/128"), false);
            address(&mut on, Guest::LINK, &format!("{}/64", link_local(MAC)), false);
        };
        guest.namespace().run(addresses).unwrap();
        let vif: VifSpec = format!("mac={},bridge=lan,ip={OWN}", MacAddr::new(MAC)).parse().unwrap();
        host.attach(domid(1), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        let gate = on.observe(&Scope::none().with(Part::Nft(NftTableId::gate()))).unwrap();
        let chains: Vec<&String> = gate.nft[&NftTableId::gate()].chains.keys().collect();
        assert_eq!(
            chains,
            [
                "authenticated",
                "control4",
                "control6",
                "datagrams4",
                "datagrams6",
                "discovery",
                "from-guest",
                "membership",
                "messages",
                "noted",
                "prerouting",
                "violation"
            ],
            "nobody is translated, so nobody tracks"
        );

        let (own, local) = (OWN.parse().unwrap(), link_local(MAC));
        // Router advertisement; its type stands in the first byte.
        let said = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        let header = || behind(DESTINATION, ICMPV6, &[]);
        let datagram = || behind(DESTINATION, UDP, &[]);
        let bad = [
            ("the header chain goes on in the next fragment", own, fragment6(DESTINATION, 0, true, &header())),
            ("the same from link-local", local, fragment6(DESTINATION, 0, true, &header())),
            (
                "its later fragment, in which the chain goes on",
                own,
                fragment6(DESTINATION, 1, false, &behind(DESTINATION, ICMPV6, &said)),
            ),
            (
                "the beginning of a datagram whose ports are behind it",
                own,
                fragment6(DESTINATION, 0, true, &datagram()),
            ),
            ("half a header", own, fragment6(DESTINATION, 0, true, &[ICMPV6, 1, 1, 4, 0, 0, 0, 0])),
            ("the beginning of an advertisement", own, fragment6(ICMPV6, 0, true, &said)),
            ("the same from link-local", local, fragment6(ICMPV6, 0, true, &said)),
            ("a whole one in a fragment header", local, fragment6(ICMPV6, 0, false, &said)),
            (
                "a whole one behind two headers",
                local,
                fragment6(DESTINATION, 0, false, &behind(DESTINATION, ICMPV6, &said)),
            ),
        ];
        let good = [
            ("a first fragment", own, fragment6(UDP, 0, true, &[0; 16])),
            ("a later fragment", own, fragment6(UDP, 9, false, &[0; 16])),
            ("the beginning of a ping", own, fragment6(ICMPV6, 0, true, &[128, 0, 0, 0, 0, 0, 0, 0])),
            ("its end", own, fragment6(ICMPV6, 9, false, &said)),
            ("a whole header chain", own, fragment6(DESTINATION, 0, true, &behind(DESTINATION, UDP, &[0; 16]))),
            ("from link-local", local, fragment6(UDP, 0, true, &[0; 16])),
        ];
        let mut before = arrived();
        let mut passes = |what: &str, from: Ipv6Addr, content: &[u8]| {
            send(&guest, from, content);
            let end = Instant::now() + LONG;
            while arrived() == before {
                assert!(Instant::now() < end, "{what}: does not arrive");
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            before += 1;
            assert_eq!(arrived(), before, "{what}");
        };
        for (what, from, content) in &good {
            passes(what, *from, content);
        }
        for (what, from, content) in &bad {
            send(&guest, *from, content);
            // What is behind it arrives, and is the only one.
            passes(what, own, &good[0].2);
        }
        host.detach(domid(1), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
        drop(outside);
    });
}
