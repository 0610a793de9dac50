//! The kinds of frames that guests try, and what the guard has to do with each.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::lab::Party;
use xennet_tests::frame::*;

/// Who there is when somebody sends.
pub(crate) struct Cast {
    pub(crate) me: Party,
    /// A second address that the sender has, too.
    pub(crate) second: (Ipv4Addr, Ipv6Addr),
    pub(crate) to: Party,
    /// Another guest, whose name is misused.
    pub(crate) victim: Party,
    pub(crate) dom0: Party,
    pub(crate) gateway: Party,
}

/// Whether a frame passes from guests with declared addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    Pass,
    Drop,
    /// Passes if IPv6 addresses are declared.
    WithV6,
}

/// Whether it passes from guests that are bound to their MAC. Where nothing is declared everything passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Pass,
    Drop,
}

pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) declared: Declared,
    pub(crate) bound: Bound,
    /// No packet at all, which br_netfilter drops in its own right where it is switched on.
    pub(crate) broken: bool,
    /// The source MAC, and all that is behind it.
    pub(crate) frame: fn(&Cast) -> (Mac, Vec<u8>),
}

const PORTS: (u16, u16) = (1234, 5678);
const STRANGER4: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 77);
const STRANGER: Mac = [2, 0, 0, 0x99, 0x99, 0x99];
const NONE4: Ipv4Addr = Ipv4Addr::UNSPECIFIED;
const NONE6: Ipv6Addr = Ipv6Addr::UNSPECIFIED;
const ALL4: Ipv4Addr = Ipv4Addr::BROADCAST;
const NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const LISTENERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x16);
const DHCP_SERVERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 1, 2);
const ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
const NOBODY: Mac = [0; 6];
/// Record route, and the end of options.
const OPTIONS: [u8; 8] = [7, 7, 4, 0, 0, 0, 0, 0];
const MORE_FRAGMENTS: u16 = 0x2000;

type Frame = fn(&Cast) -> (Mac, Vec<u8>);

const fn kind(name: &'static str, declared: Declared, bound: Bound, frame: Frame) -> Kind {
    Kind { name, declared, bound, broken: false, frame }
}

/// Passes from everybody who has the address.
const fn good(name: &'static str, frame: Frame) -> Kind {
    kind(name, Declared::Pass, Bound::Pass, frame)
}

const fn good6(name: &'static str, frame: Frame) -> Kind {
    kind(name, Declared::WithV6, Bound::Pass, frame)
}

/// Another's address in the sender's own MAC's frame.
const fn forged(name: &'static str, frame: Frame) -> Kind {
    kind(name, Declared::Drop, Bound::Pass, frame)
}

/// Another's MAC.
const fn masked(name: &'static str, frame: Frame) -> Kind {
    kind(name, Declared::Drop, Bound::Drop, frame)
}

const fn broken(name: &'static str, frame: Frame) -> Kind {
    Kind { broken: true, ..forged(name, frame) }
}

fn from4(c: &Cast, source: Ipv4Addr) -> Vec<u8> {
    ipv4_udp((source, c.to.v4), PORTS)
}

fn from6(c: &Cast, source: Ipv6Addr) -> Vec<u8> {
    ipv6_udp((source, c.to.v6), PORTS)
}

fn fragment4(c: &Cast, source: Ipv4Addr, place: u16) -> Vec<u8> {
    typed(IPV4, &ipv4((source, c.to.v4), &[], place, &udp(PORTS, b"xennet")))
}

fn first_fragment6(c: &Cast, source: Ipv6Addr, offset: u16) -> Vec<u8> {
    ipv6((source, c.to.v6), FRAGMENT, &fragment6(UDP, offset, offset == 0, &udp(PORTS, b"xennet..")))
}

/// A message of DHCP: its first byte says whether it is a request or a reply.
fn dhcp(addresses: (Ipv4Addr, Ipv4Addr), ports: (u16, u16), operation: u8) -> Vec<u8> {
    typed(IPV4, &ipv4(addresses, &[], 0, &udp(ports, &[operation, 1, 6, 0, 0, 0, 0, 9])))
}

fn dhcp6(addresses: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), kind: u8) -> Vec<u8> {
    ipv6(addresses, UDP, &udp(ports, &[kind, 0, 0, 9, 0, 8, 0, 2, 0, 0]))
}

/// A message of ICMP, IGMP, or another protocol of IPv4, from the own address.
fn own4(c: &Cast, protocol: u8, to: Ipv4Addr, content: &[u8]) -> (Mac, Vec<u8>) {
    (c.me.mac, ipv4_of(protocol, (c.me.v4, to), 0, content))
}

/// An ICMPv6 message from the own link-local address.
fn own6(c: &Cast, to: Ipv6Addr, kind: u8, body: &[u8]) -> (Mac, Vec<u8>) {
    (c.me.mac, message(c.me.link_local(), to, kind, body))
}

fn fragments6(c: &Cast, to: Ipv6Addr, next: u8, place: (u16, bool), content: &[u8]) -> (Mac, Vec<u8>) {
    (c.me.mac, ipv6((c.me.link_local(), to), FRAGMENT, &fragment6(next, place.0, place.1, content)))
}

fn arp(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Vec<u8> {
    Arp::new(operation, sender, target).bytes()
}

fn arp_kinds(c: &Cast, kinds: (u16, u16, u8, u8)) -> Vec<u8> {
    Arp { kinds, ..Arp::new(1, (c.me.mac, c.me.v4), (NOBODY, c.to.v4)) }.bytes()
}

fn message(from: Ipv6Addr, to: Ipv6Addr, kind: u8, body: &[u8]) -> Vec<u8> {
    ipv6((from, to), ICMPV6, &icmpv6((from, to), kind, body))
}

fn rarp(operation: u16, sender: Mac, address: Ipv4Addr, target: Mac) -> Vec<u8> {
    typed(0x8035, &Arp::new(operation, (sender, address), (target, NONE4)).bytes()[2..])
}

fn detection(target: Ipv6Addr) -> Vec<u8> {
    message(NONE6, solicited(target), 135, &neighbour(0, target, []))
}

fn claim(from: Ipv6Addr, target: Ipv6Addr, mac: Mac) -> Vec<u8> {
    // Solicited is not set, override is.
    message(from, NODES, 136, &neighbour(0x20, target, [(2, mac)]))
}

/// The message of an advertisement of the gateway's address.
fn claimed(c: &Cast) -> Vec<u8> {
    icmpv6((c.me.link_local(), NODES), 136, &neighbour(0x20, c.gateway.v6, [(2, c.me.mac)]))
}

/// With the lower 16 bits of the flow label. In a later fragment some kernels take them for a port.
fn labelled(mut packet: Vec<u8>, label: u16) -> Vec<u8> {
    packet[4..6].copy_from_slice(&label.to_be_bytes());
    packet
}

/// Behind four bytes that nothing is in, options with a MAC address.
fn options(all: &[(u8, Mac)]) -> Vec<u8> {
    let options = all.iter().flat_map(|(kind, mac)| [&[*kind, 1], &mac[..]].concat());
    [0; 4].into_iter().chain(options).collect()
}

fn report(from: Ipv6Addr, group: Ipv6Addr) -> Vec<u8> {
    let inner = icmpv6((from, LISTENERS), 143, &listener(group));
    ipv6((from, LISTENERS), HOP_BY_HOP, &behind(HOP_BY_HOP, ICMPV6, &inner))
}

fn advertisement(from: Ipv6Addr, mac: Mac) -> Vec<u8> {
    message(from, NODES, 134, &router(mac))
}

#[rustfmt::skip]
pub(crate) const KINDS: &[Kind] = &[
    good("IPv4: own", |c| (c.me.mac, from4(c, c.me.v4))),
    good("IPv4: own second address", |c| (c.me.mac, from4(c, c.second.0))),
    forged("IPv4: another guest's", |c| (c.me.mac, from4(c, c.victim.v4))),
    forged("IPv4: unrelated", |c| (c.me.mac, from4(c, STRANGER4))),
    forged("IPv4: dom0's", |c| (c.me.mac, from4(c, c.dom0.v4))),
    forged("IPv4: the gateway's", |c| (c.me.mac, from4(c, c.gateway.v4))),
    forged("IPv4: 0.0.0.0, no DHCP", |c| (c.me.mac, from4(c, NONE4))),
    forged("IPv4: 255.255.255.255", |c| (c.me.mac, from4(c, ALL4))),
    forged("IPv4: 127.0.0.1", |c| (c.me.mac, from4(c, Ipv4Addr::LOCALHOST))),
    masked("IPv4: own, another guest's MAC", |c| (c.victim.mac, from4(c, c.me.v4))),
    masked("IPv4: own, unrelated MAC", |c| (STRANGER, from4(c, c.me.v4))),
    masked("IPv4: another guest's, its MAC", |c| (c.victim.mac, from4(c, c.victim.v4))),
    good("IPv4 with options: own", |c| (c.me.mac, typed(IPV4, &ipv4((c.me.v4, c.to.v4), &OPTIONS, 0, &udp(PORTS, b"xennet"))))),
    forged("IPv4 with options: another guest's", |c| (c.me.mac, typed(IPV4, &ipv4((c.victim.v4, c.to.v4), &OPTIONS, 0, &udp(PORTS, b"xennet"))))),
    good("IPv4 first fragment: own", |c| (c.me.mac, fragment4(c, c.me.v4, MORE_FRAGMENTS))),
    forged("IPv4 first fragment: another guest's", |c| (c.me.mac, fragment4(c, c.victim.v4, MORE_FRAGMENTS))),
    good("IPv4 later fragment: own", |c| (c.me.mac, fragment4(c, c.me.v4, 2))),
    forged("IPv4 later fragment: another guest's", |c| (c.me.mac, fragment4(c, c.victim.v4, 2))),
    broken("IPv4 cut before the source", |c| (c.me.mac, from4(c, c.me.v4)[..10].to_vec())),
    broken("IPv4 cut behind the source: another guest's", |c| (c.me.mac, from4(c, c.victim.v4)[..22].to_vec())),
    broken("IPv4 cut to its protocol number", |c| (c.me.mac, typed(IPV4, &[0; NUMBER]))),
    broken("IPv6 under IPv4's protocol number", |c| (c.me.mac, typed(IPV4, &from6(c, c.me.v6)[2..]))),

    good("DHCP: request from 0.0.0.0", |c| (c.me.mac, dhcp((NONE4, ALL4), (68, 67), 1))),
    good("DHCP: request from own", |c| (c.me.mac, dhcp((c.me.v4, c.to.v4), (68, 67), 1))),
    forged("DHCP: answer to a relay", |c| (c.me.mac, dhcp((c.me.v4, c.to.v4), (67, 67), 2))),
    forged("DHCP: answer to a relay from another port", |c| (c.me.mac, dhcp((c.me.v4, c.to.v4), (1067, 67), 2))),
    forged("DHCP: a relay's request", |c| (c.me.mac, dhcp((c.me.v4, c.to.v4), (67, 67), 1))),
    forged("DHCP: request from 0.0.0.0 to one station", |c| (c.me.mac, ipv4_udp((NONE4, c.to.v4), (68, 67)))),
    forged("DHCP: request from another guest's", |c| (c.me.mac, ipv4_udp((c.victim.v4, ALL4), (68, 67)))),
    forged("DHCP: later fragment from 0.0.0.0", |c| (c.me.mac, typed(IPV4, &ipv4((NONE4, ALL4), &[], 2, &udp((68, 67), b"xennet"))))),
    masked("DHCP: request, another guest's MAC", |c| (c.victim.mac, ipv4_udp((NONE4, ALL4), (68, 67)))),
    masked("DHCP: request, unrelated MAC", |_| (STRANGER, ipv4_udp((NONE4, ALL4), (68, 67)))),
    forged("DHCP: answer as the gateway", |c| (c.me.mac, ipv4_udp((c.gateway.v4, ALL4), (67, 68)))),
    forged("DHCP: answer from 0.0.0.0", |c| (c.me.mac, ipv4_udp((NONE4, ALL4), (67, 68)))),
    forged("DHCP: answer from own", |c| (c.me.mac, ipv4_udp((c.me.v4, c.to.v4), (67, 68)))),
    forged("DHCP: answer from own and another port", |c| (c.me.mac, ipv4_udp((c.me.v4, ALL4), (1067, 68)))),
    good("DHCP: none, a later fragment from own", |c| (c.me.mac, typed(IPV4, &ipv4((c.me.v4, c.to.v4), &[], 2, &udp((67, 68), b"xennet"))))),

    good("IGMP: report", |c| own4(c, IGMP, "224.0.0.251".parse().unwrap(), &message4(0x16, &[224, 0, 0, 251]))),
    good("IGMPv3: report from 0.0.0.0", |c| (c.me.mac, ipv4_of(IGMP, (NONE4, "224.0.0.22".parse().unwrap()), 0, &message4(0x22, &[0, 0, 0, 1, 4, 0, 0, 0, 239, 1, 1, 1])))),
    forged("IGMP: query", |c| own4(c, IGMP, "224.0.0.1".parse().unwrap(), &message4(0x11, &[0; 4]))),
    forged("IGMP: query from 0.0.0.0", |c| (c.me.mac, ipv4_of(IGMP, (NONE4, "224.0.0.1".parse().unwrap()), 0, &message4(0x11, &[0; 4])))),
    forged("IGMP: multicast router", |c| own4(c, IGMP, "224.0.0.106".parse().unwrap(), &message4(0x30, &[0; 4]))),
    forged("IGMP: a first fragment", |c| (c.me.mac, ipv4_of(IGMP, (c.me.v4, "224.0.0.1".parse().unwrap()), MORE_FRAGMENTS, &message4(0x16, &[0; 4])))),
    forged("PIM: hello", |c| own4(c, 103, "224.0.0.13".parse().unwrap(), &[0x20, 0, 0xdf, 0xff, 0, 0, 0, 0])),
    forged("VRRP", |c| own4(c, 112, "224.0.0.18".parse().unwrap(), &[0x31, 1, 255, 1, 0, 1, 0, 0])),
    forged("VRRP behind an authentication header", |c| own4(c, AUTHENTICATION, "224.0.0.18".parse().unwrap(), &authenticated(112, &[0x31, 1, 255, 1, 0, 1, 0, 0]))),
    forged("HSRP", |c| (c.me.mac, ipv4_udp((c.me.v4, "224.0.0.2".parse().unwrap()), (1985, 1985)))),
    forged("GLBP", |c| (c.me.mac, ipv4_udp((c.me.v4, "224.0.0.102".parse().unwrap()), (3222, 3222)))),
    forged("ICMP: redirect", |c| own4(c, ICMP, c.to.v4, &message4(5, &c.me.v4.octets()))),
    forged("ICMP: router advertisement", |c| own4(c, ICMP, "224.0.0.1".parse().unwrap(), &message4(9, &[1, 2, 7, 8]))),
    good("ICMP: router solicitation", |c| own4(c, ICMP, "224.0.0.2".parse().unwrap(), &message4(10, &[0; 4]))),
    good("ICMP: echo request", |c| own4(c, ICMP, c.to.v4, &message4(8, &[0, 9, 0, 1]))),
    good("IPv4: own multicast", |c| (c.me.mac, from4(&Cast { to: Party { v4: "239.1.2.3".parse().unwrap(), ..c.to }, ..*c }, c.me.v4))),

    good("ARP: request", |c| (c.me.mac, arp(1, (c.me.mac, c.me.v4), (NOBODY, c.to.v4)))),
    good("ARP: reply", |c| (c.me.mac, arp(2, (c.me.mac, c.me.v4), (c.to.mac, c.to.v4)))),
    good("ARP: reply for the second address", |c| (c.me.mac, arp(2, (c.me.mac, c.second.0), (c.to.mac, c.to.v4)))),
    good("ARP: announcement", |c| (c.me.mac, arp(1, (c.me.mac, c.me.v4), (NOBODY, c.me.v4)))),
    good("ARP: probe", |c| (c.me.mac, arp(1, (c.me.mac, NONE4), (NOBODY, c.me.v4)))),
    forged("ARP: reply as the gateway", |c| (c.me.mac, arp(2, (c.me.mac, c.gateway.v4), (c.to.mac, c.to.v4)))),
    forged("ARP: request as the gateway", |c| (c.me.mac, arp(1, (c.me.mac, c.gateway.v4), (NOBODY, c.to.v4)))),
    forged("ARP: announcement as the gateway", |c| (c.me.mac, arp(2, (c.me.mac, c.gateway.v4), (BROADCAST, c.gateway.v4)))),
    forged("ARP: announcement as another guest", |c| (c.me.mac, arp(1, (c.me.mac, c.victim.v4), (NOBODY, c.victim.v4)))),
    forged("ARP: reply from 0.0.0.0", |c| (c.me.mac, arp(2, (c.me.mac, NONE4), (c.to.mac, c.to.v4)))),
    masked("ARP: reply, another's MAC inside", |c| (c.me.mac, arp(2, (c.victim.mac, c.me.v4), (c.to.mac, c.to.v4)))),
    masked("ARP: reply, another's MAC outside", |c| (c.victim.mac, arp(2, (c.me.mac, c.me.v4), (c.to.mac, c.to.v4)))),
    masked("ARP: reply, all of another's", |c| (c.victim.mac, arp(2, (c.victim.mac, c.victim.v4), (c.to.mac, c.to.v4)))),
    masked("ARP: probe, another's MAC inside", |c| (c.me.mac, arp(1, (c.victim.mac, NONE4), (NOBODY, c.me.v4)))),
    masked("ARP: probe, another's MAC outside", |c| (c.victim.mac, arp(1, (c.me.mac, NONE4), (NOBODY, c.me.v4)))),
    forged("ARP: probe for another's address", |c| (c.me.mac, arp(1, (c.me.mac, NONE4), (NOBODY, c.victim.v4)))),
    forged("ARP for other hardware (IEEE 802)", |c| (c.me.mac, arp_kinds(c, (6, IPV4, 6, 4)))),
    forged("ARP with hardware addresses of 8", |c| (c.me.mac, arp_kinds(c, (1, IPV4, 8, 4)))),
    forged("ARP with protocol addresses of 16", |c| (c.me.mac, arp_kinds(c, (1, IPV4, 6, 16)))),
    forged("ARP for another protocol", |c| (c.me.mac, arp_kinds(c, (1, IPV6, 6, 4)))),
    forged("ARP cut before the sender", |c| (c.me.mac, [&arp_kinds(c, (1, IPV4, 6, 4))[..10], &[0; NUMBER]].concat())),
    good("RARP: own MAC", |c| (c.me.mac, rarp(3, c.me.mac, NONE4, c.me.mac))),
    masked("RARP: own MAC, another guest's frame", |c| (c.victim.mac, rarp(3, c.me.mac, NONE4, c.me.mac))),
    forged("RARP: another guest's MAC", |c| (c.me.mac, rarp(3, c.victim.mac, NONE4, c.victim.mac))),
    forged("RARP: another guest's MAC asked for", |c| (c.me.mac, rarp(3, c.me.mac, NONE4, c.victim.mac))),
    forged("RARP: an address in it", |c| (c.me.mac, rarp(3, c.me.mac, c.me.v4, c.me.mac))),
    forged("RARP: reply", |c| (c.me.mac, rarp(4, c.me.mac, NONE4, c.me.mac))),

    good6("IPv6: own", |c| (c.me.mac, from6(c, c.me.v6))),
    good6("IPv6: own second address", |c| (c.me.mac, from6(c, c.second.1))),
    good("IPv6: own link-local", |c| (c.me.mac, from6(c, c.me.link_local()))),
    forged("IPv6: another guest's", |c| (c.me.mac, from6(c, c.victim.v6))),
    forged("IPv6: dom0's", |c| (c.me.mac, from6(c, c.dom0.v6))),
    forged("IPv6: another's link-local", |c| (c.me.mac, from6(c, c.victim.link_local()))),
    forged("IPv6: ::", |c| (c.me.mac, from6(c, NONE6))),
    forged("IPv6: ::1", |c| (c.me.mac, from6(c, Ipv6Addr::LOCALHOST))),
    masked("IPv6: own, another guest's MAC", |c| (c.victim.mac, from6(c, c.me.v6))),
    masked("IPv6: own link-local, unrelated MAC", |c| (STRANGER, from6(c, c.me.link_local()))),
    good6("IPv6 first fragment: own", |c| (c.me.mac, first_fragment6(c, c.me.v6, 0))),
    good6("IPv6 later fragment: own", |c| (c.me.mac, first_fragment6(c, c.me.v6, 2))),
    forged("IPv6 first fragment: another guest's", |c| (c.me.mac, first_fragment6(c, c.victim.v6, 0))),
    forged("IPv6 later fragment: another guest's", |c| (c.me.mac, first_fragment6(c, c.victim.v6, 2))),
    broken("IPv6 cut before the source", |c| (c.me.mac, from6(c, c.me.v6)[..10].to_vec())),
    broken("IPv6 cut behind the source: another guest's", |c| (c.me.mac, from6(c, c.victim.v6)[..42].to_vec())),
    good("DHCPv6: request", |c| (c.me.mac, dhcp6((c.me.link_local(), DHCP_SERVERS), (546, 547), 1))),
    forged("DHCPv6: answer to a relay", |c| (c.me.mac, dhcp6((c.me.link_local(), c.to.link_local()), (1547, 547), 13))),
    forged("DHCPv6: a relay's request", |c| (c.me.mac, dhcp6((c.me.link_local(), DHCP_SERVERS), (1546, 547), 12))),
    forged("DHCPv6: answer from own link-local", |c| (c.me.mac, ipv6_udp((c.me.link_local(), c.to.link_local()), (547, 546)))),
    forged("DHCPv6: answer from another port", |c| (c.me.mac, ipv6_udp((c.me.link_local(), c.to.link_local()), (1547, 546)))),
    forged("DHCPv6: answer behind an extension header", |c| (c.me.mac, ipv6((c.me.link_local(), c.to.link_local()), DESTINATION, &behind(DESTINATION, UDP, &udp((547, 546), b"xennet"))))),
    good("DHCPv6: none, a later fragment from own", |c| (c.me.mac, labelled(ipv6((c.me.link_local(), c.to.v6), FRAGMENT, &fragment6(UDP, 2, false, &udp((547, 546), b"xennet"))), 546))),

    good("DAD: own link-local", |c| (c.me.mac, detection(c.me.link_local()))),
    good6("DAD: own", |c| (c.me.mac, detection(c.me.v6))),
    masked("DAD: another guest's MAC", |c| (c.victim.mac, detection(c.me.link_local()))),
    forged("DAD: another's address", |c| (c.me.mac, detection(c.victim.v6))),
    forged("DAD: the gateway's link-local", |c| (c.me.mac, detection(c.gateway.link_local()))),
    good("MLDv2: report from ::", |c| (c.me.mac, report(NONE6, solicited(c.me.v6)))),
    good("MLDv2: report from own link-local", |c| (c.me.mac, report(c.me.link_local(), solicited(c.me.v6)))),
    good("MLDv1: report from ::", |c| (c.me.mac, message(NONE6, solicited(c.me.v6), 131, &[&[0; 4][..], &solicited(c.me.v6).octets()].concat()))),
    forged("MLD: query from ::", |c| (c.me.mac, message(NONE6, NODES, 130, &[0; 20]))),
    forged("ICMPv6: echo request from ::", |c| (c.me.mac, message(NONE6, c.to.v6, 128, &[0; 4]))),
    good("RS: from ::", |c| (c.me.mac, message(NONE6, ROUTERS, 133, &[0; 4]))),
    masked("RS: from ::, another guest's MAC", |c| (c.victim.mac, message(NONE6, ROUTERS, 133, &[0; 4]))),
    forged("RS: from ::, with a link-layer address", |c| (c.me.mac, message(NONE6, ROUTERS, 133, &options(&[(1, c.me.mac)])))),
    good("RS: from own link-local", |c| own6(c, ROUTERS, 133, &[0; 4])),
    good("RS: own link-layer address", |c| own6(c, ROUTERS, 133, &options(&[(1, c.me.mac)]))),
    forged("RS: another guest's link-layer address", |c| own6(c, ROUTERS, 133, &options(&[(1, c.victim.mac)]))),
    forged("RS: another guest's behind the own", |c| own6(c, ROUTERS, 133, &options(&[(1, c.me.mac), (1, c.victim.mac)]))),
    forged("ND: advertisement from ::", |c| (c.me.mac, claim(NONE6, c.me.v6, c.me.mac))),
    good("ND: solicitation", |c| (c.me.mac, message(c.me.link_local(), solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(1, c.me.mac)])))),
    forged("ND: solicitation with another's link-layer address", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(1, c.victim.mac)]))),
    forged("ND: solicitation with another's behind the own", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(1, c.me.mac), (1, c.victim.mac)]))),
    forged("ND: solicitation with another's behind a nonce", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(14, STRANGER), (1, c.victim.mac)]))),
    good("ND: solicitation with a nonce", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(1, c.me.mac), (14, STRANGER)]))),
    good("ND: solicitation with a nonce first", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, [(14, STRANGER), (1, c.me.mac)]))),
    good("ND: solicitation without options", |c| own6(c, solicited(c.to.v6), 135, &neighbour(0, c.to.v6, []))),
    good("DAD: own link-local with a nonce", |c| (c.me.mac, message(NONE6, solicited(c.me.link_local()), 135, &neighbour(0, c.me.link_local(), [(14, STRANGER)])))),
    forged("DAD: own link-local with a link-layer address", |c| (c.me.mac, message(NONE6, solicited(c.me.link_local()), 135, &neighbour(0, c.me.link_local(), [(1, c.victim.mac)])))),
    forged("ND: own, another's link-layer address", |c| own6(c, NODES, 136, &neighbour(0x20, c.me.link_local(), [(2, c.victim.mac)]))),
    forged("ND: own, another's link-layer address behind the own", |c| own6(c, NODES, 136, &neighbour(0x20, c.me.link_local(), [(2, c.me.mac), (2, c.victim.mac)]))),
    good("ND: own without a link-layer address", |c| own6(c, NODES, 136, &neighbour(0x20, c.me.link_local(), []))),
    forged("ND: own behind an extension header", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), DESTINATION, &behind(DESTINATION, ICMPV6, &icmpv6((c.me.link_local(), NODES), 136, &neighbour(0x20, c.me.link_local(), [(2, c.victim.mac)])))))),
    good("ND: advertisement of own link-local", |c| (c.me.mac, claim(c.me.link_local(), c.me.link_local(), c.me.mac))),
    good6("ND: advertisement of own", |c| (c.me.mac, claim(c.me.v6, c.me.v6, c.me.mac))),
    good6("ND: advertisement of own from link-local", |c| (c.me.mac, claim(c.me.link_local(), c.me.v6, c.me.mac))),
    forged("ND: advertisement as the gateway", |c| (c.me.mac, claim(c.gateway.v6, c.gateway.v6, c.me.mac))),
    forged("ND: advertisement of the gateway's from own", |c| (c.me.mac, claim(c.me.link_local(), c.gateway.v6, c.me.mac))),
    forged("ND: the same behind an extension header", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), DESTINATION, &behind(DESTINATION, ICMPV6, &claimed(c))))),
    forged("ND: the same in a fragment header", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), FRAGMENT, &fragment6(ICMPV6, 0, false, &claimed(c))))),
    forged("ND: the beginning of an advertisement", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), FRAGMENT, &fragment6(ICMPV6, 0, true, &claimed(c)[..16])))),
    good("ICMPv6: none, a later fragment like an advertisement", |c| (c.me.mac, ipv6((c.me.link_local(), c.to.v6), FRAGMENT, &fragment6(ICMPV6, 2, false, &claimed(c))))),
    forged("RA: from own link-local", |c| (c.me.mac, advertisement(c.me.link_local(), c.me.mac))),
    forged("RA: behind an extension header", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), HOP_BY_HOP, &behind(HOP_BY_HOP, ICMPV6, &icmpv6((c.me.link_local(), NODES), 134, &router(c.me.mac)))))),
    forged("RA: behind an authentication header", |c| (c.me.mac, ipv6((c.me.link_local(), NODES), AUTHENTICATION, &authenticated(ICMPV6, &icmpv6((c.me.link_local(), NODES), 134, &router(c.me.mac)))))),
    forged("RA: a first fragment without the type", |c| fragments6(c, NODES, DESTINATION, (0, true), &behind(DESTINATION, ICMPV6, b""))),
    forged("RA: a later fragment with the type", |c| fragments6(c, NODES, DESTINATION, (1, false), &icmpv6((c.me.link_local(), NODES), 134, &router(c.me.mac)))),
    forged("RA: a first fragment that ends in its headers", |c| fragments6(c, NODES, DESTINATION, (0, true), &[DESTINATION, 1, 1, 4, 0, 0, 0, 0])),
    forged("RA: a first fragment behind one", |c| fragments6(c, NODES, FRAGMENT, (0, false), &fragment6(ICMPV6, 0, true, &icmpv6((c.me.link_local(), NODES), 134, &router(c.me.mac))))),
    forged("redirect from own link-local", |c| own6(c, c.to.link_local(), 137, &[&[0; 4][..], &c.me.link_local().octets(), &c.victim.v6.octets()].concat())),
    forged("MLD: query from own link-local", |c| own6(c, NODES, 130, &[0; 20])),
    forged("multicast router from own link-local", |c| own6(c, "ff02::6a".parse().unwrap(), 151, &[0; 4])),
    good("echo request from own link-local", |c| own6(c, c.to.link_local(), 128, &[0, 9, 0, 1])),
    good("TCP behind an authentication header", |c| (c.me.mac, ipv6((c.me.link_local(), c.to.link_local()), AUTHENTICATION, &authenticated(6, &[9; 20])))),
    forged("RA: from another's link-local", |c| (c.me.mac, advertisement(c.victim.link_local(), c.victim.mac))),
    masked("RA: all of another's", |c| (c.victim.mac, advertisement(c.victim.link_local(), c.victim.mac))),

    forged("802.1Q: IPv4 own", |c| (c.me.mac, tagged(VLAN, 5, &from4(c, c.me.v4)))),
    forged("802.1Q: ARP request", |c| (c.me.mac, tagged(VLAN, 5, &arp(1, (c.me.mac, c.me.v4), (NOBODY, c.to.v4))))),
    good("802.1Q: priority only, ARP request", |c| (c.me.mac, tagged(VLAN, 0x2000, &arp(1, (c.me.mac, c.me.v4), (NOBODY, c.to.v4))))),
    forged("802.1ad: priority only, IPv4 own", |c| (c.me.mac, tagged(SERVICE_VLAN, 0x2000, &from4(c, c.me.v4)))),
    good("802.1Q: priority only, IPv4 own", |c| (c.me.mac, tagged(VLAN, 0x2000, &from4(c, c.me.v4)))),
    forged("802.1ad: IPv4 own", |c| (c.me.mac, tagged(SERVICE_VLAN, 5, &from4(c, c.me.v4)))),
    forged("802.1Q: IPv4 another guest's", |c| (c.me.mac, tagged(VLAN, 5, &from4(c, c.victim.v4)))),
    forged("802.1Q: priority only, IPv4 another guest's", |c| (c.me.mac, tagged(VLAN, 0x2000, &from4(c, c.victim.v4)))),
    forged("802.1Q: IPv6 another guest's", |c| (c.me.mac, tagged(VLAN, 5, &from6(c, c.victim.v6)))),
    forged("802.1Q: ARP reply as the gateway", |c| (c.me.mac, tagged(VLAN, 5, &arp(2, (c.me.mac, c.gateway.v4), (c.to.mac, c.to.v4))))),
    forged("802.1Q: IPX", |c| (c.me.mac, tagged(VLAN, 5, &typed(0x8137, &[0xff; 30])))),
    masked("802.1Q: IPv4 own, another guest's MAC", |c| (c.victim.mac, tagged(VLAN, 5, &from4(c, c.me.v4)))),
    forged("802.1ad: IPv4 another guest's", |c| (c.me.mac, tagged(SERVICE_VLAN, 5, &from4(c, c.victim.v4)))),
    forged("802.1Q twice: IPv4 own", |c| (c.me.mac, tagged(VLAN, 5, &tagged(VLAN, 6, &from4(c, c.me.v4))))),
    forged("802.1ad and 802.1Q: IPv4 own", |c| (c.me.mac, tagged(SERVICE_VLAN, 5, &tagged(VLAN, 6, &from4(c, c.me.v4))))),
    forged("802.1Q twice: IPv4 another guest's", |c| (c.me.mac, tagged(VLAN, 5, &tagged(VLAN, 6, &from4(c, c.victim.v4))))),

    forged("IPX", |c| (c.me.mac, typed(0x8137, &[0xff; 30]))),
    forged("LLDP", |c| (c.me.mac, typed(0x88cc, &[2, 7, 4, 0, 0x16, 0x3e, 0, 0, 1]))),
    forged("802.3 with LLC: spanning tree", |c| (c.me.mac, typed(38, &[&[0x42, 0x42, 3][..], &[0; 35]].concat()))),
    forged("802.3 with LLC and SNAP: IPv4", |c| (c.me.mac, typed(60, &[&[0xaa, 0xaa, 3, 0, 0, 0][..], &from4(c, c.me.v4)].concat()))),
    forged("PPPoE: IPv4 own", |c| (c.me.mac, typed(0x8864, &[&[0x11, 0, 0, 1, 0, 36, 0, 0x21][..], &from4(c, c.me.v4)[2..]].concat()))),
    forged("MPLS: IPv4 own", |c| (c.me.mac, typed(0x8847, &[&[0, 0, 0x11, 64][..], &from4(c, c.me.v4)[2..]].concat()))),
    forged("EAPOL", |c| (c.me.mac, typed(0x888e, &[1, 1, 0, 0, 0, 0, 0, 0]))),
    forged("wake on LAN", |c| (c.me.mac, typed(0x0842, &[0xff; 30]))),
];
