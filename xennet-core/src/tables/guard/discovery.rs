//! What guests may say in ICMPv6: of addresses, of their neighbours, of groups.
//!
//! Which address a message is about is no field that nft 1.0 can look up, neither as text nor as JSON. So it is put into the place of the
//! packet's source or destination, looked up there, and what stood there is put back, as far as it is known.
//!
//! A message may have these options, and no others: the sender's link-layer address, which must be the one that the frame comes from, and
//! a nonce (RFC 7527). How many there are is told by the packet's length. Nothing may stand between the IPv6 header and such a message:
//! no system sends it so, and it could not be told how long it is. Signed messages (RFC 3971) have more options; they do not pass.

use std::net::Ipv6Addr;

use super::packets::readable;
use super::{HOSTS, IPV6, MACS, NETWORKS, is, own_mac};
use crate::model::Violation;
use crate::snapshot::{NftExpr, NftField, NftFrom, NftHeader, NftRule, NftValue};
use crate::tables::rules::{
    ICMPV6, NO_ADDRESS, NO_ROUTERS, accept, back, begins_with, denied, goto, lookup, over, rule,
};

/// A chain: messages of ICMPv6.
pub(super) const IPV6_MESSAGES: &str = "messages6";
/// Chains: who looks for a router, who looks for a neighbour or whether an address is free, and what is said of an address.
const LOOKING: &str = "looking";
const SOLICITING: &str = "soliciting";
const PROBING: &str = "probing";
const ADVERTISING: &str = "advertising";
/// Chains: an advertisement whose options are right; to all and to one.
const ADVERTISED: &str = "advertised";
const TO_ALL: &str = "to-all";
const TO_ONE: &str = "to-one";

/// All stations on a link.
pub(super) const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Messages that pass from every own address: echo, and its answer.
const ECHO: [u8; 2] = [128, 129];
/// What routers say: queries for listeners, router advertisement, redirect, renumbering, mobile networks, certificates, multicast router
/// discovery; and inverse discovery, which claims link-layer addresses.
const OF_ROUTERS: [u8; 12] = [130, 134, 137, 138, 141, 142, 145, 147, 149, 151, 152, 153];

pub(super) fn chains() -> [(&'static str, Vec<NftRule>); 8] {
    use NftField::{Ip6Daddr, Ip6Saddr};
    [
        (IPV6_MESSAGES, messages()),
        (LOOKING, looking()),
        (SOLICITING, soliciting()),
        (PROBING, about_own(Ip6Saddr, Some(Ipv6Addr::UNSPECIFIED), &accept())),
        (ADVERTISING, advertising()),
        (ADVERTISED, advertised()),
        (TO_ALL, about_own(Ip6Daddr, Some(ALL_NODES), &back())),
        // Where it came from is the guest's own as well, and stays another one of its addresses.
        (TO_ONE, about_own(Ip6Saddr, None, &accept())),
    ]
}

fn messages() -> Vec<NftRule> {
    let mut rules: Vec<NftRule> = ECHO.map(|number| rule([begins_with(number), back()], None)).into();
    rules.push(rule([begins_with(135), goto(SOLICITING)], None));
    rules.push(rule([begins_with(136), goto(ADVERTISING)], None));
    rules.push(rule([begins_with(133), goto(LOOKING)], None));
    rules.extend(OF_ROUTERS.map(|number| denied([begins_with(number)], Violation::Router, Some(NO_ROUTERS))));
    rules.extend(readable());
    rules
}

/// Something stands before the message.
fn not_alone() -> NftRule {
    let behind = NftExpr::ne(NftField::Ip6NextHeader, NftValue::U8(ICMPV6));
    denied([is(IPV6), behind], Violation::Unreadable, Some("nothing stands before neighbour discovery"))
}

/// That the packet has so many bytes behind the IPv6 header.
fn long(bytes: u16) -> [NftExpr; 2] {
    let field = NftField::Payload { header: NftHeader::Network, offset: 4, bytes: 2 };
    [is(IPV6), NftExpr::eq(field, NftValue::Bytes(bytes.to_be_bytes().to_vec()))]
}

/// The kinds of options, with their length in units of eight bytes.
const SOURCE: [u8; 2] = [1, 1];
const TARGET: [u8; 2] = [2, 1];
const NONCE: [u8; 2] = [14, 1];

/// That there is such an option at this place.
fn option(offset: u8, kind: [u8; 2]) -> NftExpr {
    let field = NftField::Payload { header: NftHeader::Transport, offset, bytes: 2 };
    NftExpr::eq(field, NftValue::Bytes(kind.to_vec()))
}

/// A message of this length, with its link-layer address in an option at one place and perhaps something else at another.
fn told(length: u16, at: u8, kind: [u8; 2], beside: Option<NftExpr>, verdict: NftExpr) -> NftRule {
    let own = own_mac(NftHeader::Transport, at + 2);
    let exprs = long(length).into_iter().chain([option(at, kind)]).chain(beside).chain(own);
    rule(exprs.chain([NftExpr::SetMark(0), verdict]), None)
}

fn looking() -> Vec<NftRule> {
    let from_own_mac = lookup(&[NftField::IifName, NftField::EtherSaddr], MACS);
    let [family, length] = long(8);
    vec![
        not_alone(),
        rule([family, from_nobody(), length, from_own_mac, accept()], Some("router solicitation without an address")),
        denied([is(IPV6), from_nobody()], Violation::Address, Some(NO_ADDRESS)),
        rule(long(8).into_iter().chain([back()]), None),
        told(16, 8, SOURCE, None, back()),
        denied([], Violation::Address, Some("nobody speaks for another's address")),
    ]
}

fn soliciting() -> Vec<NftRule> {
    let detection = |length: u16, nonce: Option<NftExpr>| {
        let [family, length] = long(length);
        let exprs = [family, from_nobody(), length].into_iter().chain(nonce).chain([goto(PROBING)]);
        rule(exprs, Some("duplicate address detection (RFC 4862)"))
    };
    vec![
        not_alone(),
        detection(24, None),
        detection(32, Some(option(24, NONCE))),
        denied([is(IPV6), from_nobody()], Violation::Address, Some(NO_ADDRESS)),
        told(32, 24, SOURCE, None, back()),
        rule(long(24).into_iter().chain([back()]), None),
        rule(long(32).into_iter().chain([option(24, NONCE), back()]), None),
        told(40, 24, SOURCE, Some(option(32, NONCE)), back()),
        told(40, 32, SOURCE, Some(option(24, NONCE)), back()),
        denied([], Violation::Address, Some("nobody speaks for another's address")),
    ]
}

/// Neighbour advertisement: what it says of an address counts, not where it comes from.
fn advertising() -> Vec<NftRule> {
    vec![
        not_alone(),
        told(32, 24, TARGET, None, goto(ADVERTISED)),
        rule(long(24).into_iter().chain([goto(ADVERTISED)]), None),
        denied([], Violation::Address, Some("nobody speaks for another's address")),
    ]
}

fn advertised() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IifName, Ip6Daddr, Ip6Saddr};
    let all = NftExpr::eq(Ip6Daddr, NftValue::Ipv6(ALL_NODES));
    let mut rules = vec![rule([is(IPV6), all, goto(TO_ALL)], None)];
    let from_own = |set| rule([is(IPV6), lookup(&[IifName, EtherSaddr, Ip6Saddr], set), goto(TO_ONE)], None);
    rules.extend([HOSTS[1], NETWORKS[1]].map(from_own));
    rules.push(denied([], Violation::Address, Some("nobody speaks for another's address")));
    rules
}

/// What becomes of a message whose address, put in this place, is the guest's own; all others are dropped. Each rule is one with
/// what it rests on: where an address cannot be written, it is not looked up either.
fn about_own(place: NftField, before: Option<Ipv6Addr>, verdict: &NftExpr) -> Vec<NftRule> {
    use NftField::{EtherSaddr, Icmpv6Target, IifName};
    let put = |from| NftExpr::Write { field: place, from };
    let own = [HOSTS[1], NETWORKS[1]].map(|set| {
        let looked_up = [is(IPV6), put(NftFrom::Field(Icmpv6Target)), lookup(&[IifName, EtherSaddr, place], set)];
        let back = before.map(|address| put(NftFrom::Value(NftValue::Ipv6(address))));
        rule(looked_up.into_iter().chain(back).chain([verdict.clone()]), None)
    });
    own.into_iter().chain([denied([], Violation::Address, Some("nobody speaks for another's address"))]).collect()
}

/// Multicast listener reports and done from nobody, which go with duplicate address detection.
pub(super) fn without_address() -> [NftRule; 3] {
    [131, 132, 143].map(|kind| {
        let said = NftExpr::eq(NftField::IcmpType, NftValue::U8(kind));
        let exprs = [is(IPV6), from_nobody(), over(ICMPV6), said, accept()];
        rule(exprs, Some("duplicate address detection (RFC 4862)"))
    })
}

pub(super) fn from_nobody() -> NftExpr {
    NftExpr::eq(NftField::Ip6Saddr, NftValue::Ipv6(Ipv6Addr::UNSPECIFIED))
}
