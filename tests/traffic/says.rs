//! What guests with routes say to this domain: each message that is no guest's beside one that is, watched where this domain's own
//! programs would hear it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SocketFlags, SocketType, recv, socket_with};
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{NftTableId, Route};
use xennet_core::step::{LinkChange, NftOp, NftTransaction, RouteStep, Step};
use xennet_core::{DevId, Guests, Host, MacAddr, VifId, VifSpec, config, exec};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir, in_netns};

use super::lab::{LONG, address, domid, name, run, set, up};
use xennet_tests::frame::{
    self, AUTHENTICATION, DESTINATION, ESP, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, IGMP, IPV4, IPV6, Mac, PIM, SCTP, TCP,
    UDP, VRRP, authenticated, behind, checksum, fragment6, icmpv6, join, link_local, typed, udp,
};
use xennet_tests::station::{Program, Station};

const MAC: Mac = [0, 0x16, 0x3e, 0, 0, 1];
/// netback's.
const DOM0: Mac = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff];
const OWN4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const GATEWAY4: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 254);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x11);
const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 1);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// What tells one message from another: it stands in each.
type Tag = [u8; 8];

/// Packets as they are sent, one after the other: one, or the fragments of one.
pub(crate) struct Said {
    pub(crate) what: &'static str,
    /// In NAT and routed modes.
    pub(crate) passes: bool,
    /// The protocol of the raw socket that hears it.
    heard_by: u8,
    pub(crate) packets: Vec<Vec<u8>>,
    tag: Tag,
}

/// Whose messages they are.
#[derive(Clone, Copy)]
pub(crate) struct Speaker {
    pub(crate) mac: Mac,
    pub(crate) own4: Ipv4Addr,
    pub(crate) own6: Ipv6Addr,
}

impl Speaker {
    /// The guest of this file's networks.
    pub(crate) fn routed() -> Self {
        Speaker { mac: MAC, own4: OWN4, own6: OWN6 }
    }

    /// Where a message goes: to this domain's address of the same scope.
    fn to(&self, from: Ipv6Addr) -> Ipv6Addr {
        if from == self.own6 { GATEWAY6 } else { ROUTER }
    }
}

fn ipv4(s: Speaker, protocol: u8, fragment: u16, content: &[u8]) -> Vec<u8> {
    let total = u16::try_from(20 + content.len()).unwrap();
    let head = join(&[&[0x45, 0], &total.to_be_bytes(), &[0, 7], &fragment.to_be_bytes(), &[64, protocol, 0, 0]]);
    let mut packet = join(&[&head, &s.own4.octets(), &GATEWAY4.octets()]);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    typed(IPV4, &join(&[&packet, content]))
}

fn ipv6(s: Speaker, from: Ipv6Addr, next: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let head = join(&[&[0x60, 0, 0, 0], &length.to_be_bytes(), &[next, 255]]);
    typed(IPV6, &join(&[&head, &from.octets(), &s.to(from).octets(), content]))
}

/// A message of ICMP or IGMP, whose checksums are made the same way.
fn message4(kind: u8, tag: Tag) -> Vec<u8> {
    frame::message4(kind, &join(&[&[0; 4], &tag, &[0; 16]]))
}

fn message6(s: Speaker, from: Ipv6Addr, kind: u8, tag: Tag) -> Vec<u8> {
    icmpv6((from, s.to(from)), kind, &join(&[&[0; 4], &[0; 16], &tag]))
}

/// Gives the fragments of a message an identification of their own: those of an earlier one may still wait for the rest.
fn numbered(packet: &mut [u8], number: usize) {
    let number = u16::try_from(number).unwrap().to_be_bytes();
    if packet[..2] == IPV4.to_be_bytes() {
        packet[6..8].copy_from_slice(&number);
        packet[12..14].fill(0);
        let sum = checksum(&packet[2..22]);
        packet[12..14].copy_from_slice(&sum);
    } else if packet[8] == FRAGMENT {
        packet[48..50].copy_from_slice(&number);
    }
}

/// All of it; each with a number of its own.
struct Corpus {
    speaker: Speaker,
    said: Vec<Said>,
}

impl Corpus {
    fn add(&mut self, what: &'static str, passes: bool, heard_by: u8, make: impl FnOnce(Tag) -> Vec<Vec<u8>>) {
        let mut tag = *b"say\0\0\0\0\0";
        tag[4..].copy_from_slice(&u32::try_from(self.said.len()).unwrap().to_be_bytes());
        let mut packets = make(tag);
        packets.iter_mut().for_each(|packet| numbered(packet, self.said.len()));
        self.said.push(Said { what, passes, heard_by, packets, tag });
    }

    fn one(&mut self, what: &'static str, passes: bool, heard_by: u8, make: impl FnOnce(Tag) -> Vec<u8>) {
        self.add(what, passes, heard_by, |tag| vec![make(tag)]);
    }
}

fn of_ipv4(c: &mut Corpus) {
    let s = c.speaker;
    for (kind, what, passes) in [
        (5, "redirect", false),
        (9, "router advertisement of ICMP", false),
        (8, "echo request", true),
        (10, "router solicitation of ICMP", true),
        (11, "time exceeded", true),
    ] {
        c.one(what, passes, ICMP, |tag| ipv4(s, ICMP, 0, &message4(kind, tag)));
        let halves = |tag: Tag| {
            let whole = message4(kind, tag);
            vec![ipv4(s, ICMP, 0x2000, &whole[..16]), ipv4(s, ICMP, 2, &whole[16..])]
        };
        c.add(what, passes, ICMP, halves);
    }
    for (kind, what, passes) in [
        (0x11, "query of IGMP", false),
        (0x13, "DVMRP", false),
        (0x12, "report of IGMPv1", true),
        (0x16, "report of IGMPv2", true),
        (0x17, "leave of IGMP", true),
        (0x22, "report of IGMPv3", true),
    ] {
        c.one(what, passes, IGMP, |tag| ipv4(s, IGMP, 0, &message4(kind, tag)));
    }
    for (ports, what, passes) in [
        ((67, 68), "DHCP offer", false),
        ((67, 67), "DHCP relay", false),
        ((1234, 68), "DHCP offer from another port", false),
        ((67, 5000), "DHCP server to another port", false),
        ((68, 67), "DHCP request", true),
        ((1234, 5678), "UDP", true),
    ] {
        c.one(what, passes, UDP, |tag| ipv4(s, UDP, 0, &udp(ports, &tag)));
        let halves = |tag: Tag| {
            let whole = udp(ports, &join(&[&[0; 8], &tag]));
            vec![ipv4(s, UDP, 0x2000, &whole[..16]), ipv4(s, UDP, 2, &whole[16..])]
        };
        c.add(what, passes, UDP, halves);
    }
    // What ports are looked for in is content, and says the ports of a DHCP server.
    let large = |tag: Tag| {
        let whole = udp((1234, 5678), &join(&[&[0, 67, 0, 68].repeat(4), &tag]));
        vec![ipv4(s, UDP, 0x2000, &whole[..8]), ipv4(s, UDP, 1, &whole[8..])]
    };
    c.add("a later fragment like a DHCP offer", true, UDP, large);
    for (protocol, what, passes) in [
        (VRRP, "VRRP", false),
        (PIM, "PIM", false),
        (TCP, "TCP", true),
        (ESP, "ESP", true),
        (SCTP, "SCTP", true),
        (47, "GRE", true),
    ] {
        c.one(what, passes, protocol, |tag| ipv4(s, protocol, 0, &join(&[&[0; 20], &tag])));
    }
    for (next, what, passes) in [
        (ICMP, "ICMP behind AH", false),
        (UDP, "UDP behind AH", false),
        (TCP, "TCP behind AH", true),
        (ESP, "ESP behind AH", true),
    ] {
        c.one(what, passes, AUTHENTICATION, |tag| {
            ipv4(s, AUTHENTICATION, 0, &authenticated(next, &join(&[&[0; 20], &tag])))
        });
    }
}

fn of_ipv6(c: &mut Corpus, from: Ipv6Addr) {
    let s = c.speaker;
    let message = move |kind, tag| message6(s, from, kind, tag);
    let whole = move |next, content: &[u8]| ipv6(s, from, next, content);
    // Two fragments behind each other, cut after so many bytes.
    let cut = move |next: u8, content: &[u8], at: usize| {
        let place = u16::try_from(at / 8).unwrap();
        let (first, last) = (fragment6(next, 0, true, &content[..at]), fragment6(next, place, false, &content[at..]));
        vec![whole(FRAGMENT, &first), whole(FRAGMENT, &last)]
    };
    for (kind, what) in [
        (134, "router advertisement"),
        (137, "redirect"),
        (138, "router renumbering"),
        (130, "query of MLD"),
        (151, "multicast router advertisement"),
        (153, "multicast router termination"),
    ] {
        c.one(what, false, ICMPV6, |tag| whole(ICMPV6, &message(kind, tag)));
        let alerting = |tag| whole(HOP_BY_HOP, &behind(HOP_BY_HOP, ICMPV6, &message(kind, tag)));
        c.one(what, false, ICMPV6, alerting);
        let optional = |tag| whole(DESTINATION, &behind(DESTINATION, ICMPV6, &message(kind, tag)));
        c.one(what, false, ICMPV6, optional);
        c.one(what, false, ICMPV6, |tag| whole(FRAGMENT, &fragment6(ICMPV6, 0, false, &message(kind, tag))));
        let nested = |tag| {
            let inner = fragment6(DESTINATION, 0, false, &behind(DESTINATION, ICMPV6, &message(kind, tag)));
            whole(HOP_BY_HOP, &behind(HOP_BY_HOP, FRAGMENT, &inner))
        };
        c.one(what, false, ICMPV6, nested);
        c.one(what, false, AUTHENTICATION, |tag| whole(AUTHENTICATION, &authenticated(ICMPV6, &message(kind, tag))));
        c.add(what, false, ICMPV6, |tag| cut(ICMPV6, &message(kind, tag), 16));
        // The header chain goes on in the second fragment; the same with all of the extension header in the first.
        let chain = |tag| behind(DESTINATION, ICMPV6, &message(kind, tag));
        c.add(what, false, ICMPV6, |tag| cut(DESTINATION, &chain(tag), 8));
        c.add(what, false, ICMPV6, |tag| cut(DESTINATION, &chain(tag), 16));
        let hidden = |tag| behind(DESTINATION, DESTINATION, &chain(tag));
        c.add(what, false, ICMPV6, |tag| cut(DESTINATION, &hidden(tag), 8));
        c.add(what, false, ICMPV6, |tag| cut(DESTINATION, &hidden(tag), 16));
    }
    // This domain's own neighbour discovery hears what is for its link.
    for (kind, what) in [
        (131, "report of MLD"),
        (132, "done of MLD"),
        (143, "report of MLDv2"),
        (133, "router solicitation"),
        (135, "neighbour solicitation"),
        (136, "neighbour advertisement"),
    ] {
        c.one(what, true, ICMPV6, |tag| whole(ICMPV6, &message(kind, tag)));
        let alerting = |tag| whole(HOP_BY_HOP, &behind(HOP_BY_HOP, ICMPV6, &message(kind, tag)));
        c.one(what, true, ICMPV6, alerting);
    }
    c.one("echo", true, ICMPV6, |tag| whole(ICMPV6, &message(128, tag)));
    c.add("echo in fragments", true, ICMPV6, |tag| cut(ICMPV6, &message(128, tag), 16));
    for (ports, what, passes) in [
        ((547, 546), "DHCPv6 reply", false),
        ((547, 547), "DHCPv6 relay", false),
        ((1234, 546), "DHCPv6 reply from another port", false),
        ((546, 547), "DHCPv6 request", true),
        ((1234, 5678), "UDP", true),
    ] {
        let content = move |tag: Tag| udp(ports, &join(&[&[0; 8], &tag]));
        c.one(what, passes, UDP, |tag| whole(UDP, &content(tag)));
        let optional = |tag| whole(DESTINATION, &behind(DESTINATION, UDP, &content(tag)));
        c.one(what, passes, UDP, optional);
        c.add(what, passes, UDP, |tag| cut(UDP, &content(tag), 16));
        c.add(what, passes, UDP, |tag| cut(UDP, &content(tag), 8));
        // Without the ports nobody can tell.
        c.add(what, false, UDP, |tag| cut(DESTINATION, &behind(DESTINATION, UDP, &content(tag)), 8));
        c.one(what, false, AUTHENTICATION, |tag| whole(AUTHENTICATION, &authenticated(UDP, &content(tag))));
    }
    for (protocol, what, passes) in [(VRRP, "VRRP", false), (PIM, "PIM", false), (TCP, "TCP", true), (ESP, "ESP", true)]
    {
        c.one(what, passes, protocol, |tag| whole(protocol, &join(&[&[0; 20], &tag])));
    }
    for (next, what, passes) in [
        (DESTINATION, "an extension header behind AH", false),
        (FRAGMENT, "a fragment behind AH", false),
        (AUTHENTICATION, "AH behind AH", false),
        (TCP, "TCP behind AH", true),
        (ESP, "ESP behind AH", true),
    ] {
        c.one(what, passes, AUTHENTICATION, |tag| {
            whole(AUTHENTICATION, &authenticated(next, &join(&[&[0; 20], &tag])))
        });
    }
}

/// Raw sockets of this domain, one for each family and protocol.
struct Ears(BTreeMap<(bool, u8), OwnedFd>);

impl Ears {
    fn open(corpus: &[Said]) -> Self {
        let mut ears = BTreeMap::new();
        for said in corpus {
            let v6 = is_ipv6(said);
            let (family, number) = (if v6 { AddressFamily::INET6 } else { AddressFamily::INET }, said.heard_by);
            ears.entry((v6, number)).or_insert_with(|| {
                let protocol = Protocol::from_raw(u32::from(number).try_into().unwrap());
                let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
                socket_with(family, SocketType::RAW, flags, Some(protocol)).unwrap()
            });
        }
        Ears(ears)
    }

    /// Whether something with this tag has come since the last time somebody asked.
    fn hears(&self, v6: bool, protocol: u8, tag: Tag) -> bool {
        let mut buffer = [0; 4096];
        let mut heard = false;
        while let Ok((length, _)) = recv(&self.0[&(v6, protocol)], &mut buffer[..], RecvFlags::empty()) {
            heard |= buffer[..length].windows(tag.len()).any(|part| part == tag);
        }
        heard
    }
}

fn is_ipv6(said: &Said) -> bool {
    said.packets[0][..2] == IPV6.to_be_bytes()
}

/// How many fragments of each family this domain has been given to put together, by whom it concerns.
fn fragments() -> [u64; 2] {
    let v4 = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = v4.lines().filter(|line| line.starts_with("Ip:")).map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let v4 = names.zip(values).find(|(name, _)| *name == "ReasmReqds").unwrap().1.parse().unwrap();
    let v6 = std::fs::read_to_string("/proc/thread-self/net/snmp6").unwrap();
    let v6 = v6.lines().find(|line| line.starts_with("Ip6ReasmReqds")).unwrap();
    [v4, v6.split_whitespace().nth(1).unwrap().parse().unwrap()]
}

/// This namespace as dom0, with a link towards the outside, a network and one guest, whose kernel says nothing.
struct Lab {
    guest: Guest,
    host: Host,
    _outside: Guest,
    _state: StateDir,
}

impl Lab {
    fn build(network: &str) -> Lab {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let id = VifId::new(domid(100), DevId::FIRST);
        let spec = GuestSpec { id, mac: MacAddr::new([2, 0, 0, 0, 0x53, 0xfe]), addresses: vec![] };
        let outside = Guest::new(&spec).unwrap();
        set(&mut on, "vif100.0", up().with_name(name("eth0")));
        address(&mut on, "eth0", "192.0.2.1/24", false);
        address(&mut on, "eth0", "2001:db8::1/64", false);
        let way = Route::to("0.0.0.0/0".parse().unwrap(), name("eth0")).with_gateway(IpAddr::from([192, 0, 2, 254]));
        run(&mut on, Step::Route(RouteStep::Add(way)));
        let state = StateDir::new();
        let mut host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        let networks = config::networks::parse(network).unwrap();
        host.start_network(networks.iter().next().unwrap()).unwrap_or_else(|e| panic!("{}", e.report()));
        let id = VifId::new(domid(1), DevId::FIRST);
        let guest = Guest::new(&GuestSpec { id, mac: MacAddr::new(MAC), addresses: vec![] }).unwrap();
        let silent = || {
            let mut on = Netlink::open().unwrap();
            let quiet = LinkChange::default().with_addr_gen_mode(xennet_core::snapshot::AddrGenMode::None);
            set(&mut on, Guest::LINK, LinkChange::default().with_up(false));
            set(&mut on, Guest::LINK, quiet);
            set(&mut on, Guest::LINK, up());
        };
        guest.namespace().run(silent).unwrap();
        let vif: VifSpec = format!("mac={},bridge=lan,ip={OWN4} {OWN6}", MacAddr::new(MAC)).parse().unwrap();
        host.attach(domid(1), &vif).unwrap_or_else(|e| panic!("{}", e.report()));
        Lab { guest, host, _outside: outside, _state: state }
    }

    fn end(mut self) {
        self.host.detach(domid(1), DevId::FIRST).unwrap_or_else(|e| panic!("{}", e.report()));
        self.host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{}", e.report()));
    }
}

/// Sends all of it; what arrived that must not, and did not that must. Where `all`, everything is to arrive.
fn wrong(lab: &Lab, program: &Program, corpus: &[Said], all: bool) -> Vec<String> {
    let ears = Ears::open(corpus);
    let mut mouth = Station::start(program, lab.guest.namespace(), Guest::LINK);
    let (mut wrong, speaker) = (Vec::new(), Speaker::routed());
    for (number, said) in corpus.iter().enumerate() {
        let before = fragments();
        for packet in &said.packets {
            mouth.send(1, &frame(packet));
        }
        let v6 = is_ipv6(said);
        // What is sent behind it, and arrives.
        let mut tag = *b"end\0\0\0\0\0";
        tag[4..].copy_from_slice(&u32::try_from(number).unwrap().to_be_bytes());
        let last = udp((9, 9), &tag);
        let heard = ears.hears(v6, said.heard_by, said.tag);
        let last = frame(&if v6 { ipv6(speaker, OWN6, UDP, &last) } else { ipv4(speaker, UDP, 0, &last) });
        mouth.send(1, &last);
        let (end, mut again) = (Instant::now() + LONG, Instant::now());
        let mut heard_later = false;
        loop {
            if said.heard_by == UDP {
                // The same socket hears both.
                let mut buffer = [0; 4096];
                let mut over = false;
                while let Ok((length, _)) = recv(&ears.0[&(v6, UDP)], &mut buffer[..], RecvFlags::empty()) {
                    let has = |tag: Tag| buffer[..length].windows(tag.len()).any(|part| part == tag);
                    heard_later |= has(said.tag);
                    over |= has(tag);
                }
                if over {
                    break;
                }
            } else if ears.hears(v6, UDP, tag) {
                heard_later |= ears.hears(v6, said.heard_by, said.tag);
                break;
            }
            assert!(Instant::now() < end, "{}: what is behind it arrives", said.what);
            // A machine with much else to do drops packets by itself.
            if again.elapsed() > Duration::from_secs(1) {
                mouth.send(1, &last);
                again = Instant::now();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let arrived = heard || heard_later;
        let given = fragments()[usize::from(v6)] - before[usize::from(v6)];
        let family = if v6 { "IPv6" } else { "IPv4" };
        let (what, tag) = (said.what, u32::from_be_bytes([said.tag[4], said.tag[5], said.tag[6], said.tag[7]]));
        if all {
            if !arrived && given == 0 {
                wrong.push(format!("{family}, {what} ({tag}) does not arrive without the gate"));
            }
        } else if arrived != said.passes {
            wrong.push(format!("{family}, {what} ({tag}): {}", if arrived { "arrives" } else { "is lost" }));
        }
    }
    wrong
}

/// All messages.
pub(crate) fn messages(speaker: Speaker) -> Vec<Said> {
    let mut corpus = Corpus { speaker, said: Vec::new() };
    of_ipv4(&mut corpus);
    of_ipv6(&mut corpus, speaker.own6);
    of_ipv6(&mut corpus, link_local(speaker.mac));
    corpus.said
}

/// A packet in a frame to this domain.
pub(crate) fn frame(packet: &[u8]) -> Vec<u8> {
    join(&[&DOM0, &MAC, packet])
}

fn check(network: &str, then: impl FnOnce(&Lab, &Program, &[Said])) {
    let (program, corpus) = (Program::compile(), messages(Speaker::routed()));
    let lab = Lab::build(network);
    let wrong = wrong(&lab, &program, &corpus, false);
    let passing = corpus.iter().filter(|said| said.passes).count();
    println!("{} messages that are no guest's, {passing} that are", corpus.len() - passing);
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), corpus.len(), wrong.join("\n"));
    then(&lab, &program, &corpus);
    lab.end();
}

const SUBNETS: &str = "subnets = [\"10.1.0.0/24\", \"fd00:1::/64\"]\n";

#[test]
fn a_hidden_guest_says_what_is_a_guests_to_say() {
    in_netns("says::a_hidden_guest_says_what_is_a_guests_to_say", || {
        check(&format!("[network.lan]\nmode = \"nat\"\n{SUBNETS}"), |_, _, _| {});
    });
}

#[test]
fn a_routed_guest_says_what_is_a_guests_to_say() {
    in_netns("says::a_routed_guest_says_what_is_a_guests_to_say", || {
        // And without the gate all of it arrives, so it is the gate that keeps it.
        check(&format!("[network.lan]\nmode = \"routed\"\n{SUBNETS}uplink = \"eth0\"\n"), |_, program, corpus| {
            NetNs::new().unwrap().run(|| without_gate(program, corpus)).unwrap();
        });
    });
}

fn without_gate(program: &Program, corpus: &[Said]) {
    let mut lab = Lab::build(&format!("[network.lan]\nmode = \"routed\"\n{SUBNETS}uplink = \"eth0\"\n"));
    let gone = NftTransaction::new(NftTableId::gate(), vec![NftOp::DelTable]);
    run(&mut Netlink::open().unwrap(), Step::Nft(gone));
    let wrong = wrong(&lab, program, corpus, true);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    lab.host.recover().unwrap_or_else(|e| panic!("{}", e.report()));
    lab.end();
}
