//! Real network stacks behind the guard: what guests do with their own addresses works.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use xennet_core::backend::netlink::Netlink;
use xennet_tests::{Guest, NetNs, in_netns};

use super::lab::{LONG, Lab, Party, address, addressed, domid, vif};

/// Flags of an address in `/proc/net/if_inet6` (`include/uapi/linux/if_addr.h`).
const TENTATIVE: u32 = 0x40;
const DUPLICATE: u32 = 0x08;

/// Waits until the kernel of a guest has found nobody else with its addresses.
fn settled(namespace: &NetNs, wanted: &[Ipv6Addr]) {
    let end = Instant::now() + LONG;
    loop {
        let text = namespace.run(|| std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap()).unwrap();
        let flags = |address: &Ipv6Addr| {
            let digits: String = address.octets().iter().map(|b| format!("{b:02x}")).collect();
            let line = text.lines().find(|l| l.starts_with(&digits))?;
            u32::from_str_radix(line.split_whitespace().nth(4)?, 16).ok()
        };
        let states: Vec<_> = wanted.iter().map(flags).collect();
        assert!(states.iter().flatten().all(|f| f & DUPLICATE == 0), "somebody else claims an address:\n{text}");
        if states.iter().all(|f| f.is_some_and(|f| f & TENTATIVE == 0)) {
            return;
        }
        assert!(Instant::now() < end, "addresses stay tentative:\n{text}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sends ICMPv6 echo requests from the calling thread's namespace until one is answered.
fn ping6(target: Ipv6Addr) -> bool {
    let kind = (AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6));
    let socket = rustix::net::socket_with(kind.0, kind.1, kind.2, kind.3).unwrap();
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(200))).unwrap();
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        // The kernel puts the checksum in.
        let request = *b"\x80\0\0\0\x12\x34\0\x01xennet";
        if rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV6::new(target, 0, 0, 0)).is_err() {
            std::thread::sleep(Duration::from_millis(20));
            continue;
        }
        let mut packet = [0; 256];
        while let Ok((length, _)) = rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty()) {
            if packet[0] == 0x81 && packet[4..length] == request[4..] {
                return true;
            }
        }
    }
    false
}

/// A TCP connection from one namespace to another: words go both ways.
fn talk(from: &NetNs, to: &NetNs, at: IpAddr) {
    let listener = to.run(|| TcpListener::bind((at, 0)).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = listener.accept().unwrap().0;
            let mut words = vec![0; 100_000];
            stream.read_exact(&mut words).unwrap();
            stream.write_all(&words).unwrap();
        });
        from.run(|| {
            let mut stream = TcpStream::connect_timeout(&SocketAddr::new(at, port), LONG).unwrap();
            stream.set_read_timeout(Some(LONG)).unwrap();
            // More than fits into one frame, so that segmentation and its offload are part of it.
            let (words, mut back) = (vec![7; 100_000], vec![0; 100_000]);
            stream.write_all(&words).unwrap();
            stream.read_exact(&mut back).unwrap();
            assert_eq!(words, back);
        })
        .unwrap();
    });
}

#[test]
fn guests_with_declared_addresses_talk_to_each_other_and_to_dom0() {
    in_netns("stacks::guests_with_declared_addresses_talk_to_each_other_and_to_dom0", || {
        let mut lab = Lab::build();
        let mut host = lab.host();
        let dom0 = NetNs::current().unwrap();
        for number in 1..=2 {
            lab.start(number);
            let party = Party::guest(number);
            addressed(lab.guests[&number].namespace(), &party);
            host.attach(domid(number), &vif(number, &format!(",ip={} {}", party.v4, party.v6))).unwrap();
        }
        let (one, two) = (&lab.guests[&1], &lab.guests[&2]);
        for number in 1..=2 {
            let party = Party::guest(number);
            settled(lab.guests[&number].namespace(), &[party.link_local(), party.v6]);
        }
        let (first, second) = (Party::guest(1), Party::guest(2));
        for (from, target) in [(one, second), (two, first), (one, Party::dom0()), (two, Party::dom0())] {
            assert!(from.ping(target.v4, LONG).unwrap().is_some(), "{} answers", target.v4);
            assert!(from.namespace().run(|| ping6(target.v6)).unwrap(), "{} answers", target.v6);
        }
        let (one, two) = (one.namespace(), two.namespace());
        for (from, to, at) in [(one, two, second), (two, one, first), (one, &dom0, Party::dom0()), (&dom0, one, first)]
        {
            talk(from, to, at.v4.into());
            talk(from, to, at.v6.into());
        }
        undeclared(one, &dom0);
    });
}

/// An address that the guest gives itself is of no use to it.
fn undeclared(guest: &NetNs, dom0: &NetNs) {
    guest
        .run(|| {
            let mut on = Netlink::open().unwrap();
            address(&mut on, Guest::LINK, "192.0.2.200/24", false);
            address(&mut on, Guest::LINK, "2001:db8::200/64", false);
        })
        .unwrap();
    let (me, server) = (Party::guest(1), Party::dom0());
    for (own, other, at) in [
        (IpAddr::from(me.v4), "192.0.2.200".parse().unwrap(), IpAddr::from(server.v4)),
        (me.v6.into(), "2001:db8::200".parse().unwrap(), server.v6.into()),
    ] {
        let inbox = dom0.run(|| UdpSocket::bind((at, 0)).unwrap()).unwrap();
        inbox.set_read_timeout(Some(LONG)).unwrap();
        let to = inbox.local_addr().unwrap();
        let send = |from: IpAddr| {
            guest.run(|| UdpSocket::bind((from, 0)).unwrap().send_to(b"xennet", to).unwrap()).unwrap();
        };
        for _ in 0..5 {
            send(other);
        }
        send(own);
        // The first to arrive is the last that was sent.
        let (_, from) = inbox.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from.ip(), own, "{other} is not declared");
    }
}
