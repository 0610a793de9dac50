//! What goes on while an uplink moves: a TCP stream, and a thousand pings a second.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use xennet_core::Guests;
use xennet_core::backend::netlink::Netlink;
use xennet_tests::in_netns;
use xennet_tests::steps::{set, up};
use xennet_tests::{Guest, NetNs};

use super::state::settled;
use super::world::{World, address, network, route, write};

/// The longest time without an answer that is allowed. A cut of the kernel's own making (a link that comes up, an address that
/// is tested for duplicates) takes a second or more.
const GAP: Duration = Duration::from_millis(50);
/// How often it is tried on a machine that is busy with something else.
const TRIES: usize = 5;

/// Sends an echo request every millisecond until it is told to stop; the longest time from one answer to the next.
fn ping(target: IpAddr, stop: &AtomicBool) -> (usize, Duration) {
    let v4 = target.is_ipv4();
    let (family, protocol) =
        if v4 { (AddressFamily::INET, ipproto::ICMP) } else { (AddressFamily::INET6, ipproto::ICMPV6) };
    let socket = rustix::net::socket_with(family, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol)).unwrap();
    set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_millis(1))).unwrap();
    let (mut answers, mut last, mut longest) = (0, Instant::now(), Duration::ZERO);
    let mut packet = [0; 256];
    while !stop.load(Ordering::Relaxed) {
        // The kernel puts the checksum of ICMPv6 in; that of this ICMP message is always the same.
        let request: [u8; 8] =
            if v4 { [8, 0, 0xe5, 0xca, 0x12, 0x34, 0, 1] } else { [0x80, 0, 0, 0, 0x12, 0x34, 0, 1] };
        let sent = match target {
            IpAddr::V4(ip) => rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(ip, 0)),
            IpAddr::V6(ip) => {
                rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV6::new(ip, 0, 0, 0))
            }
        };
        // Without a way there is no answer either, and that is what counts.
        let _ = sent;
        let next = Instant::now() + Duration::from_millis(1);
        while let Ok((length, _)) = rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty()) {
            let message = if v4 { packet.get(20..length) } else { packet.get(..length) };
            let is_answer = |m: &[u8]| m.len() == 8 && m[4..] == request[4..] && matches!(m[0], 0 | 0x81);
            if message.is_some_and(is_answer) {
                answers += 1;
                longest = longest.max(last.elapsed());
                last = Instant::now();
                break;
            }
        }
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    (answers, longest.max(last.elapsed()))
}

/// A stream through which words go there and back, one after the other, until it is told to stop.
fn stream(at: SocketAddr, stop: &AtomicBool) -> usize {
    let mut stream = TcpStream::connect_timeout(&at, Duration::from_secs(10)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let (words, mut back) = (vec![7_u8; 20_000], vec![0; 20_000]);
    let mut rounds = 0;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(&words).unwrap();
        stream.read_exact(&mut back).unwrap();
        assert_eq!(words, back);
        rounds += 1;
    }
    rounds
}

fn echo(listener: &TcpListener) {
    let mut stream = listener.accept().unwrap().0;
    let mut words = [0; 4096];
    while let Ok(n @ 1..) = stream.read(&mut words) {
        if stream.write_all(&words[..n]).is_err() {
            break;
        }
    }
}

/// Moves the uplink there and back under traffic from the LAN; the longest gaps of IPv4 and IPv6, and how many words went
/// through the stream.
fn moved(world: &World, text: &str) -> [Duration; 2] {
    let lan = network(text);
    let stop = AtomicBool::new(false);
    let listener = TcpListener::bind("192.168.0.3:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let dom0 = NetNs::current().unwrap();
    let from: &NetNs = world.lan.namespace();
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        let four = scope.spawn(|| from.run(|| ping("192.168.0.3".parse().unwrap(), &stop)).unwrap());
        let six = scope.spawn(|| from.run(|| ping("2001:db8::3".parse().unwrap(), &stop)).unwrap());
        let words =
            scope.spawn(|| from.run(|| stream(SocketAddr::new("192.168.0.3".parse().unwrap(), port), &stop)).unwrap());
        let host = scope.spawn(|| {
            dom0.run(|| {
                let mut host = world.host();
                std::thread::sleep(Duration::from_millis(300));
                host.start_network(&lan).unwrap_or_else(|e| panic!("{}", e.report()));
                std::thread::sleep(Duration::from_millis(1500));
                host.stop_network(&lan.name(), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
                std::thread::sleep(Duration::from_millis(1500));
            })
            .unwrap();
            stop.store(true, Ordering::Relaxed);
        });
        host.join().unwrap();
        let ((answers4, gap4), (answers6, gap6)) = (four.join().unwrap(), six.join().unwrap());
        let rounds = words.join().unwrap();
        println!(
            "answers: {answers4} and {answers6}; longest gaps {gap4:.1?} and {gap6:.1?}; {rounds} rounds of the stream"
        );
        assert!(answers4 > 100 && answers6 > 100 && rounds > 100);
        [gap4, gap6]
    })
}

#[test]
fn an_uplink_moves_under_a_stream_and_a_thousand_pings_a_second() {
    in_netns("moving::an_uplink_moves_under_a_stream_and_a_thousand_pings_a_second", || {
        let world = World::new();
        let mut on = Netlink::open().unwrap();
        // Strict, so that a frame that comes in by a link which has no way back is dropped, as on careful hosts.
        write(&mut on, "net/ipv4/conf/all/rp_filter", "1");
        write(&mut on, "net/ipv4/conf/eth0/rp_filter", "1");
        address(&mut on, "eth0", "192.168.0.3/24");
        address(&mut on, "eth0", "192.168.0.4/24");
        address(&mut on, "eth0", "2001:db8::3/64");
        route(&mut on, "0.0.0.0/0", "eth0", "192.168.0.1");
        route(&mut on, "::/0", "eth0", "2001:db8::1");
        settled(&mut on);
        world.in_lan(|on| {
            set(on, Guest::LINK, up());
            address(on, Guest::LINK, "192.168.0.1/24");
            address(on, Guest::LINK, "2001:db8::1/64");
        });
        for bridge in ["bridge = \"xenbr0\"", "bridge = \"eth0\"\nuplink_name = \"peth0\""] {
            let text = format!("[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\n{bridge}\n");
            let best = (0..TRIES).map(|_| moved(&world, &text).into_iter().max().unwrap()).find(|gap| *gap <= GAP);
            assert!(best.is_some(), "{bridge}: more than {GAP:?} without an answer, each of {TRIES} times");
        }
    });
}
