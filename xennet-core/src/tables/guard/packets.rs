//! What guests may not say even from their own addresses: what only routers, and who gives out addresses, have to say.
//!
//! A datagram in fragments is judged by the first one, which must have all headers in it (RFC 7112): without it nobody puts the others
//! together. A packet that ends before its headers do could be anything, so it is dropped.
//!
//! Types and ports are read together with bytes behind them: what is longer than four bytes, or of three, the kernel does not read from
//! a later fragment. (Some kernels read two or four from a wrong place.) Nor may a value have its highest bit of 64 set, since nft 1.0
//! does not read that from JSON; nor may the protocol be named in the same rule, since it would make a shorter field of it.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::discovery::IPV6_MESSAGES;
use super::{HOSTS, IPV4, IPV6, is};
use crate::model::Violation;
use crate::snapshot::{NftCmp, NftExpr, NftField, NftHeader, NftRule, NftValue};
use crate::tables::rules::{
    AUTHENTICATION, ICMP, ICMPV6, IGMP, NO_DHCP_SERVERS, NO_ROUTERS, PIM, TCP, UDP, VRRP, accept, authenticated, back,
    begins_with, denied, goto, jump, lookup, membership, over, rule,
};

/// Chains: packets of a family.
pub(super) const IPV4_PACKETS: &str = "packets4";
pub(super) const IPV6_PACKETS: &str = "packets6";
/// Chains: what nearly all frames are, and says nothing about anybody's addresses or role.
pub(super) const PLAIN: [&str; 2] = ["plain4", "plain6"];
const PLAIN_DATAGRAMS: [&str; 2] = ["plain-datagrams4", "plain-datagrams6"];
/// Chains: datagrams of UDP, and those to DHCP servers.
const DATAGRAMS: [&str; 2] = ["datagrams4", "datagrams6"];
const ASKING: [&str; 2] = ["asking4", "asking6"];
/// A chain: messages of ICMP.
const MESSAGES: &str = "messages4";
/// A chain: messages of IGMP.
const GROUPS: &str = "groups";
/// A chain: what comes behind an authentication header.
const AUTHENTICATED: &str = "authenticated";

pub(super) fn chains() -> [(&'static str, Vec<NftRule>); 13] {
    [
        (PLAIN[0], plain(IPV4, NftField::IpSaddr, HOSTS[0], PLAIN_DATAGRAMS[0])),
        (PLAIN[1], plain(IPV6, NftField::Ip6Saddr, HOSTS[1], PLAIN_DATAGRAMS[1])),
        (PLAIN_DATAGRAMS[0], plain_datagrams4()),
        (PLAIN_DATAGRAMS[1], plain_datagrams6()),
        (IPV4_PACKETS, packets4()),
        (IPV6_PACKETS, packets6()),
        (DATAGRAMS[0], datagrams4()),
        (DATAGRAMS[1], datagrams6()),
        (ASKING[0], asking4()),
        (ASKING[1], asking6()),
        (MESSAGES, messages()),
        (GROUPS, groups()),
        (AUTHENTICATED, authenticated()),
    ]
}

fn payload(header: NftHeader, offset: u8, mask: &[u8], op: NftCmp, value: &[u8]) -> NftExpr {
    let field = NftField::Payload { header, offset, bytes: u8::try_from(value.len()).unwrap_or(u8::MAX) };
    let mask = (!mask.is_empty()).then(|| NftValue::Bytes(mask.to_vec()));
    NftExpr::Match { field, mask, op, value: NftValue::Bytes(value.to_vec()) }
}

fn from_port(port: u16) -> NftExpr {
    let [high, low] = port.to_be_bytes();
    payload(NftHeader::Transport, 0, &[0xff, 0xff, 0, 0, 0, 0, 0], NftCmp::Eq, &[high, low, 0, 0, 0, 0, 0])
}

fn to_port(port: u16) -> NftExpr {
    let [high, low] = port.to_be_bytes();
    payload(NftHeader::Transport, 0, &[0, 0, 0xff, 0xff, 0, 0, 0], NftCmp::Eq, &[0, 0, high, low, 0, 0, 0])
}

/// The last rules of a chain: what is above IP can be read, or the packet is dropped.
pub(super) fn readable() -> [NftRule; 2] {
    let there = payload(NftHeader::Transport, 0, &[], NftCmp::Ne, &[0; 8]);
    [rule([there, back()], None), denied([], Violation::Unreadable, Some("what it is comes in another fragment"))]
}

/// The last rules of a family: the protocol above IP is known, or the packet is dropped.
fn told() -> [NftRule; 2] {
    [rule([known(), back()], None), denied([], Violation::Unreadable, Some("its headers do not end here"))]
}

/// That it is known what is above IP, whatever it is: no protocol has this number. Where the headers do not end, or there is no packet at
/// all, the kernel has no number, and no comparison fits.
fn known() -> NftExpr {
    NftExpr::ne(NftField::L4Proto, NftValue::U8(255))
}

/// TCP and UDP from an own address to one station, or to all. Whatever is not told here in a few steps is looked at by the other rules: this
/// is for speed alone.
fn plain(protocol: u16, source: NftField, set: &str, datagrams: &str) -> Vec<NftRule> {
    let own = lookup(&[NftField::IifName, NftField::EtherSaddr, source], set);
    // In this order, since nft puts the family right before the address.
    vec![rule([over(TCP), is(protocol), own, accept()], None), rule([over(UDP), jump(datagrams)], None)]
}

/// Neither DHCP nor for a group. A later fragment, where some kernels find ports, passes by the other rules, too.
fn plain_datagrams4() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IifName, IpDaddr, IpSaddr};
    let to_one = NftExpr::Match {
        field: IpDaddr,
        mask: None,
        op: NftCmp::Lt,
        value: NftValue::Ipv4(Ipv4Addr::new(224, 0, 0, 0)),
    };
    let own = lookup(&[IifName, EtherSaddr, IpSaddr], HOSTS[0]);
    vec![rule(ports_above(68).into_iter().chain([is(IPV4), to_one, own, accept()]), None)]
}

fn plain_datagrams6() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IifName, Ip6NextHeader, Ip6Saddr};
    let to_one = payload(NftHeader::Network, 24, &[], NftCmp::Ne, &[0xff]);
    // No header before it.
    let directly = NftExpr::eq(Ip6NextHeader, NftValue::U8(UDP));
    let own = lookup(&[IifName, EtherSaddr, Ip6Saddr], HOSTS[1]);
    vec![rule(ports_above(547).into_iter().chain([is(IPV6), directly, to_one, own, accept()]), None)]
}

/// Both ports of a datagram are above this one, and its header is there.
fn ports_above(port: u16) -> [NftExpr; 2] {
    let [high, low] = port.to_be_bytes();
    let source = payload(NftHeader::Transport, 0, &[], NftCmp::Gt, &[high, low, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    let to = NftExpr::Match { field: NftField::ThDport, mask: None, op: NftCmp::Gt, value: NftValue::U16(port) };
    [source, to]
}

/// A frame without a tag, and for no group (`PACKET_MULTICAST`), so for no bridge either.
pub(super) fn untagged(protocol: u16) -> [NftExpr; 2] {
    let to_no_group = NftExpr::ne(NftField::PktType, NftValue::U8(2));
    [to_no_group, NftExpr::eq(NftField::EtherType, NftValue::U16(protocol))]
}

fn packets4() -> Vec<NftRule> {
    // Together with the identification before it: two bytes at this place have a name already, in ARP.
    let later = payload(NftHeader::Network, 4, &[0, 0, 0x1f, 0xff], NftCmp::Ne, &[0; 4]);
    let mut rules = vec![rule([over(TCP), back()], None)];
    rules.extend([VRRP, PIM].map(|protocol| denied([over(protocol)], Violation::Router, Some(NO_ROUTERS))));
    rules.push(rule([over(IGMP), goto(GROUPS)], None));
    rules.push(rule([is(IPV4), later, known(), back()], Some("a later fragment")));
    rules.push(rule([over(UDP), goto(DATAGRAMS[0])], None));
    rules.push(rule([over(ICMP), goto(MESSAGES)], None));
    rules.push(rule([over(AUTHENTICATION), goto(AUTHENTICATED)], None));
    rules.extend(told());
    rules
}

fn packets6() -> Vec<NftRule> {
    // The header of a fragment that stands behind the first one: from there the kernel has the protocol, unless headers follow.
    let fragment = NftExpr::eq(NftField::Ip6NextHeader, NftValue::U8(44));
    let later = payload(NftHeader::Network, 40, &[0, 0, 0xff, 0xf8], NftCmp::Ne, &[0; 4]);
    let mut rules = vec![rule([over(TCP), back()], None)];
    rules.extend([VRRP, PIM].map(|protocol| denied([over(protocol)], Violation::Router, Some(NO_ROUTERS))));
    rules.push(rule([is(IPV6), fragment, later, known(), back()], Some("a later fragment")));
    rules.push(rule([over(ICMPV6), goto(IPV6_MESSAGES)], None));
    rules.push(rule([over(UDP), goto(DATAGRAMS[1])], None));
    rules.push(rule([over(AUTHENTICATION), goto(AUTHENTICATED)], None));
    rules.extend(told());
    rules
}

/// Datagrams of IPv4. DHCP clients do not care which port an answer comes from, nor do relays; and they are asked at the port of servers.
fn datagrams4() -> Vec<NftRule> {
    let to = |address| NftExpr::eq(NftField::IpDaddr, NftValue::Ipv4(address));
    let mut rules = vec![
        denied([from_port(67)], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
        denied([to_port(68)], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
        rule([to_port(67), goto(ASKING[0])], None),
        // HSRP, version 2, and GLBP; version 1.
        denied([is(IPV4), to(Ipv4Addr::new(224, 0, 0, 102))], Violation::Router, Some(NO_ROUTERS)),
        denied([is(IPV4), to(Ipv4Addr::new(224, 0, 0, 2)), to_port(1985)], Violation::Router, Some(NO_ROUTERS)),
    ];
    rules.extend(readable());
    rules
}

/// Fragments of IPv4, first or later.
fn in_fragments() -> NftExpr {
    payload(NftHeader::Network, 4, &[0, 0, 0x3f, 0xff], NftCmp::Ne, &[0; 4])
}

/// BOOTREQUEST, the first byte of a message. It could come in a later fragment than the one that seems to have it.
fn asking4() -> Vec<NftRule> {
    let request = payload(NftHeader::Transport, 8, &[], NftCmp::Eq, &[1]);
    vec![
        denied([is(IPV4), in_fragments()], Violation::Unreadable, Some("nobody sends these in fragments")),
        rule([request, back()], None),
        denied([], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
    ]
}

fn datagrams6() -> Vec<NftRule> {
    let routers = NftExpr::eq(NftField::Ip6Daddr, NftValue::Ipv6(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x66)));
    let mut rules = vec![
        denied([to_port(546)], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
        denied([from_port(547)], Violation::DhcpServer, Some(NO_DHCP_SERVERS)),
        rule([to_port(547), goto(ASKING[1])], None),
        // HSRP and GLBP.
        denied([is(IPV6), routers], Violation::Router, Some(NO_ROUTERS)),
    ];
    rules.extend(readable());
    rules
}

/// Advertise, reply, reconfigure, and what relays say (RFC 8415).
fn asking6() -> Vec<NftRule> {
    let said = |op, number| payload(NftHeader::Transport, 8, &[], op, &[number]);
    let behind = NftExpr::ne(NftField::Ip6NextHeader, NftValue::U8(UDP));
    let mut rules = vec![denied([is(IPV6), behind], Violation::Unreadable, Some("nothing stands before DHCPv6"))];
    rules.extend(
        [2, 7, 10, 12, 13]
            .map(|number| denied([said(NftCmp::Eq, number)], Violation::DhcpServer, Some(NO_DHCP_SERVERS))),
    );
    rules.push(rule([said(NftCmp::Ne, 0), back()], None));
    rules.push(denied([], Violation::Unreadable, Some("what it is comes in another fragment")));
    rules
}

/// Messages of ICMP: echo and its answer pass, redirects and router advertisements (RFC 1256) do not.
fn messages() -> Vec<NftRule> {
    let mut rules: Vec<NftRule> = [8, 0].map(|number| rule([begins_with(number), back()], None)).into();
    rules.extend([5, 9].map(|number| denied([begins_with(number)], Violation::Router, Some(NO_ROUTERS))));
    rules.extend(readable());
    rules
}

/// IGMP, which nobody sends in fragments.
fn groups() -> Vec<NftRule> {
    let whole = denied([is(IPV4), in_fragments()], Violation::Unreadable, Some("nobody sends these in fragments"));
    [whole].into_iter().chain(membership()).collect()
}
