//! The expressions and rules that the guard and the gate share, made as the nft tool makes them of its own words.

use std::net::Ipv4Addr;

use super::{SetDef, logging};
use crate::model::Violation;
use crate::snapshot::{NftCmp, NftExpr, NftField, NftHeader, NftRule, NftType, NftValue, NftVerdict};

/// Numbers of protocols (IANA). That of VRRP is CARP's as well.
pub(super) const ICMP: u8 = 1;
pub(super) const IGMP: u8 = 2;
pub(super) const TCP: u8 = 6;
pub(super) const UDP: u8 = 17;
pub(super) const AUTHENTICATION: u8 = 51;
pub(super) const ICMPV6: u8 = 58;
pub(super) const PIM: u8 = 103;
pub(super) const VRRP: u8 = 112;

/// The sets of each table that count dropped packets: by link and class, and by link alone. The second tells with one question whether a link
/// has counts. The first has at most one element for each link in the other sets and each class.
pub(crate) const COUNTING: [SetDef; 2] =
    [SetDef::counting(VIOLATIONS, &[NftType::IfName, NftType::Mark]), SetDef::counting(OFFENDERS, &[NftType::IfName])];
pub(crate) const VIOLATIONS: &str = "violations";
pub(crate) const OFFENDERS: &str = "offenders";

/// A chain: counts a packet by the class in its mark, logs it if its link wants that, and drops it.
pub(crate) const VIOLATION: &str = "violation";

/// Why a rule drops.
pub(super) const NO_ADDRESS: &str = "no address of this guest";
pub(super) const NO_ROUTERS: &str = "no routers among guests";
pub(super) const NO_DHCP_SERVERS: &str = "no DHCP servers among guests";

pub(super) fn rule(exprs: impl IntoIterator<Item = NftExpr>, comment: Option<&str>) -> NftRule {
    // As the kernel gives it back, so that the two can be compared.
    NftRule { exprs: exprs.into_iter().collect(), comment: comment.map(str::to_owned) }.canonical()
}

/// A rule that counts and drops the packets that it matches.
pub(super) fn denied(exprs: impl IntoIterator<Item = NftExpr>, class: Violation, comment: Option<&str>) -> NftRule {
    denied_in(VIOLATION, exprs, class, comment)
}

/// The same with the counting chain of another section than the first. Each section has its own, so the use count of a chain is the same
/// whatever other sections there are.
pub(super) fn denied_in(
    chain: &str,
    exprs: impl IntoIterator<Item = NftExpr>,
    class: Violation,
    comment: Option<&str>,
) -> NftRule {
    let mark = NftExpr::SetMark(class.number());
    rule(exprs.into_iter().chain([mark, goto(chain)]), comment)
}

/// A chain that [`denied`] leads to.
pub(super) fn violation() -> Vec<NftRule> {
    use NftField::{IifName, Mark};
    let add = |key: &[NftField], set: &str| rule([NftExpr::Add { key: key.to_vec(), set: set.into() }], None);
    vec![
        add(&[IifName, Mark], VIOLATIONS),
        add(&[IifName], OFFENDERS),
        rule([jump(logging::NOTED)], None),
        rule([drop()], None),
    ]
}

pub(super) fn over(protocol: u8) -> NftExpr {
    NftExpr::eq(NftField::L4Proto, NftValue::U8(protocol))
}

/// IPv4: not a later fragment, where ports are looked for in the middle of a datagram.
pub(super) fn first_fragment() -> NftExpr {
    // Together with the identification before it: two bytes at this place have a name already, in ARP.
    NftExpr::Match {
        field: NftField::Payload { header: NftHeader::Network, offset: 4, bytes: 4 },
        mask: Some(NftValue::Bytes(vec![0, 0, 0x1f, 0xff])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![0; 4]),
    }
}

/// The first byte behind the IP header and its options: the type of a message. Three bytes are read, since the kernel does not read these
/// from a later fragment. The protocol stands in the rule that leads here: of a rule that knows it nft makes another one, and nft 1.0.6
/// aborts where it is an authentication header.
pub(super) fn begins_with(byte: u8) -> NftExpr {
    NftExpr::Match {
        field: NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 3 },
        mask: Some(NftValue::Bytes(vec![0xff, 0, 0])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![byte, 0, 0]),
    }
}

/// IGMP: reports and leaves pass. Every other message is one of a multicast router. A query makes a bridge take the guest for such a router,
/// and send it what its neighbours listen to.
pub(super) fn membership() -> Vec<NftRule> {
    let said = |(kind, what)| rule([begins_with(kind), back()], Some(what));
    let mut rules: Vec<NftRule> = [
        (0x12, "membership report, IGMPv1"),
        (0x16, "membership report, IGMPv2"),
        (0x17, "leave group"),
        (0x22, "membership report, IGMPv3"),
    ]
    .map(said)
    .into();
    rules.push(denied([], Violation::Router, Some("no multicast routers among guests")));
    rules
}

/// What may stand behind an authentication header, where the kernel does not look further. Of everything else the rules could not tell what
/// it says.
pub(super) fn authenticated() -> Vec<NftRule> {
    let next = |(protocol, what)| rule([begins_with(protocol), back()], Some(what));
    let those = [(TCP, "TCP"), (50, "ESP"), (4, "IPv4"), (41, "IPv6"), (89, "OSPF"), (132, "SCTP")];
    let mut rules: Vec<NftRule> = those.map(next).into();
    let why = "what it is stands behind an authentication header";
    rules.push(denied([], Violation::Unreadable, Some(why)));
    rules
}

/// The ports of the two sides, which the nft tool compares at once.
pub(super) fn ports(source: u16, destination: u16) -> NftExpr {
    let both = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    NftExpr::eq(NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 4 }, NftValue::Bytes(both))
}

/// Who has no address yet asks for one.
pub(super) fn dhcp_client(over_ipv4: NftExpr) -> NftRule {
    let exprs = [
        over_ipv4,
        NftExpr::eq(NftField::IpSaddr, NftValue::Ipv4(Ipv4Addr::UNSPECIFIED)),
        NftExpr::eq(NftField::IpDaddr, NftValue::Ipv4(Ipv4Addr::BROADCAST)),
        over(UDP),
        ports(68, 67),
        first_fragment(),
        accept(),
    ];
    rule(exprs, Some("DHCP client without an address"))
}

pub(super) fn lookup(key: &[NftField], set: &str) -> NftExpr {
    NftExpr::Lookup { key: key.to_vec(), set: set.into(), inverted: false }
}

pub(super) fn other_than(key: &[NftField], set: &str) -> NftExpr {
    NftExpr::Lookup { key: key.to_vec(), set: set.into(), inverted: true }
}

pub(super) fn accept() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Accept)
}

pub(super) fn drop() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Drop)
}

pub(super) fn back() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Return)
}

pub(super) fn jump(chain: &str) -> NftExpr {
    NftExpr::Verdict(NftVerdict::Jump(chain.into()))
}

pub(super) fn goto(chain: &str) -> NftExpr {
    NftExpr::Verdict(NftVerdict::Goto(chain.into()))
}
