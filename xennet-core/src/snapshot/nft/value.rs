//! The data of nftables: types of fields and values of them, and the bytes that the kernel keeps for each.
//!
//! The kernel knows bytes only. The type is a number that the `nft` tool writes beside a set so that it can print it
//! again (`src/datatype.c` of nftables); here it decides how bytes read back become a value.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::model::{IfName, MacAddr};

/// The type of one field of a key, or of a map's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftType {
    /// The name of a link, 16 bytes padded with zeros.
    IfName,
    /// A MAC address, 6 bytes.
    EtherAddr,
    /// An IPv4 address, 4 bytes.
    Ipv4Addr,
    /// An IPv6 address, 16 bytes.
    Ipv6Addr,
    /// A TCP or UDP port, 2 bytes.
    InetService,
    /// A protocol above IP, 1 byte: 6 TCP, 17 UDP, 58 ICMPv6.
    InetProto,
    /// A protocol above ethernet, 2 bytes: 0x0800 IPv4, 0x0806 ARP, 0x86dd IPv6.
    EtherType,
    /// What an ARP packet wants, 2 bytes: 1 request, 2 reply.
    ArpOp,
    /// The index of a link, 4 bytes in the machine's order.
    IfIndex,
    /// A packet mark, 4 bytes in the machine's order.
    Mark,
    /// States of a connection, a bit mask of 4 bytes in the machine's order: 1 invalid, 2 established, 4 related, 8 new.
    CtState,
    /// What has become of a connection, a bit mask of 4 bytes in the machine's order: 1 expected, 2 answered, 4 assured, 8
    /// confirmed, 16 source translated, 32 destination translated, 512 dying.
    CtStatus,
    /// The type of an ICMP message, 1 byte.
    IcmpType,
    /// The type of an ICMPv6 message, 1 byte.
    Icmpv6Type,
    /// To whom a frame was sent, 1 byte: 0 to us, 1 broadcast, 2 multicast, 3 to another station.
    PktType,
    /// The family that a packet is filtered under, 1 byte: 2 IPv4, 7 bridge, 10 IPv6.
    NfProto,
    /// What kind of address the routing tables take an address for, 4 bytes in the machine's order: 1 unicast, 2 local,
    /// 3 broadcast.
    FibType,
    /// Any other type: plain bytes.
    Other {
        /// The number that nft has for it; 0 is none.
        number: u32,
        /// Its length in bytes, 1 to 64.
        bytes: u8,
    },
}

impl NftType {
    /// The number that the `nft` tool has for the type (`include/datatype.h`, `enum datatypes`).
    pub const fn number(self) -> u32 {
        match self {
            NftType::NfProto => 2,
            NftType::Ipv4Addr => 7,
            NftType::Ipv6Addr => 8,
            NftType::EtherAddr => 9,
            NftType::EtherType => 10,
            NftType::ArpOp => 11,
            NftType::InetProto => 12,
            NftType::InetService => 13,
            NftType::IcmpType => 14,
            NftType::Mark => 19,
            NftType::IfIndex => 20,
            NftType::CtState => 26,
            NftType::CtStatus => 28,
            NftType::Icmpv6Type => 29,
            NftType::PktType => 31,
            NftType::FibType => 38,
            NftType::IfName => 41,
            NftType::Other { number, .. } => number,
        }
    }

    /// The type with this number and this length in bytes; [`NftType::Other`] where both do not belong together.
    pub const fn from_number(number: u32, bytes: u8) -> NftType {
        let known = match number {
            2 => NftType::NfProto,
            7 => NftType::Ipv4Addr,
            8 => NftType::Ipv6Addr,
            9 => NftType::EtherAddr,
            10 => NftType::EtherType,
            11 => NftType::ArpOp,
            12 => NftType::InetProto,
            13 => NftType::InetService,
            14 => NftType::IcmpType,
            19 => NftType::Mark,
            20 => NftType::IfIndex,
            26 => NftType::CtState,
            28 => NftType::CtStatus,
            29 => NftType::Icmpv6Type,
            31 => NftType::PktType,
            38 => NftType::FibType,
            41 => NftType::IfName,
            _ => NftType::Other { number, bytes },
        };
        if known.bytes() == bytes { known } else { NftType::Other { number, bytes } }
    }

    /// The length in bytes, without padding.
    pub const fn bytes(self) -> u8 {
        match self {
            NftType::IfName | NftType::Ipv6Addr => 16,
            NftType::EtherAddr => 6,
            NftType::Ipv4Addr
            | NftType::IfIndex
            | NftType::Mark
            | NftType::CtState
            | NftType::CtStatus
            | NftType::FibType => 4,
            NftType::InetService | NftType::EtherType | NftType::ArpOp => 2,
            NftType::InetProto | NftType::IcmpType | NftType::Icmpv6Type | NftType::PktType | NftType::NfProto => 1,
            NftType::Other { bytes, .. } => bytes,
        }
    }

    /// The length in registers of 4 bytes: what the field takes within a concatenation.
    pub const fn words(self) -> u8 {
        self.bytes().div_ceil(4)
    }

    /// Whether the values are in the order of their bytes, so that ranges of them can stand in an interval set.
    pub(crate) const fn ordered(self) -> bool {
        !matches!(
            self,
            NftType::IfName
                | NftType::IfIndex
                | NftType::Mark
                | NftType::CtState
                | NftType::CtStatus
                | NftType::FibType
                | NftType::Other { .. }
        )
    }

    /// The name of the type in nft's language, for example `ipv4_addr`.
    pub const fn name(self) -> &'static str {
        match self {
            NftType::IfName => "ifname",
            NftType::EtherAddr => "ether_addr",
            NftType::Ipv4Addr => "ipv4_addr",
            NftType::Ipv6Addr => "ipv6_addr",
            NftType::InetService => "inet_service",
            NftType::InetProto => "inet_proto",
            NftType::EtherType => "ether_type",
            NftType::ArpOp => "arp_op",
            NftType::IfIndex => "iface_index",
            NftType::Mark => "mark",
            NftType::CtState => "ct_state",
            NftType::CtStatus => "ct_status",
            NftType::IcmpType => "icmp_type",
            NftType::Icmpv6Type => "icmpv6_type",
            NftType::PktType => "pkt_type",
            NftType::NfProto => "nf_proto",
            NftType::FibType => "fib_addrtype",
            NftType::Other { .. } => "integer",
        }
    }

    /// The value that the kernel's bytes stand for. Bytes of another length than the type's, and names that are none,
    /// stay [`NftValue::Bytes`]; fewer bytes than a link's name has are the beginning of a name.
    pub(crate) fn decode(self, bytes: &[u8]) -> NftValue {
        let value = match self {
            NftType::IfName => decode_name(bytes),
            NftType::EtherAddr => <[u8; 6]>::try_from(bytes).ok().map(|b| NftValue::Mac(MacAddr::new(b))),
            NftType::Ipv4Addr => <[u8; 4]>::try_from(bytes).ok().map(|b| NftValue::Ipv4(b.into())),
            NftType::Ipv6Addr => <[u8; 16]>::try_from(bytes).ok().map(|b| NftValue::Ipv6(b.into())),
            NftType::InetService | NftType::EtherType | NftType::ArpOp => {
                <[u8; 2]>::try_from(bytes).ok().map(|b| NftValue::U16(u16::from_be_bytes(b)))
            }
            NftType::InetProto | NftType::IcmpType | NftType::Icmpv6Type | NftType::PktType | NftType::NfProto => {
                <[u8; 1]>::try_from(bytes).ok().map(|b| NftValue::U8(b[0]))
            }
            NftType::IfIndex | NftType::Mark | NftType::CtState | NftType::CtStatus | NftType::FibType => {
                <[u8; 4]>::try_from(bytes).ok().map(|b| NftValue::U32(u32::from_ne_bytes(b)))
            }
            NftType::Other { .. } => None,
        };
        value.unwrap_or_else(|| NftValue::Bytes(bytes.to_vec()))
    }
}

fn decode_name(bytes: &[u8]) -> Option<NftValue> {
    let text = |b| std::str::from_utf8(b).ok().and_then(|t| IfName::check(t).ok());
    if bytes.len() == 16 {
        let end = bytes.iter().position(|b| *b == 0)?;
        return bytes[end..].iter().all(|b| *b == 0).then(|| text(&bytes[..end]))?.map(NftValue::Name);
    }
    (bytes.len() < 16).then(|| text(bytes))?.map(NftValue::NamePrefix)
}

/// One value: a field of an element's key, or what a packet is compared with. It knows its own length and byte order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftValue {
    /// The name of a link.
    Name(IfName),
    /// The beginning of a link's name: `vif` stands for what nft writes as `"vif*"`. In matches only, not in sets.
    NamePrefix(IfName),
    /// A MAC address.
    Mac(MacAddr),
    /// An IPv4 address.
    Ipv4(Ipv4Addr),
    /// An IPv6 address.
    Ipv6(Ipv6Addr),
    /// A number of one byte.
    U8(u8),
    /// A number of two bytes, sent in network order.
    U16(u16),
    /// A number of four bytes, kept in the machine's order: an index or a mark.
    U32(u32),
    /// Any other bytes, as they are.
    Bytes(Vec<u8>),
}

impl NftValue {
    /// The bytes that the kernel keeps, without padding.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.append_to(&mut out);
        out
    }

    /// Adds the bytes that the kernel keeps.
    fn append_to(&self, out: &mut Vec<u8>) {
        match self {
            NftValue::Name(name) => {
                let mut bytes = [0; 16];
                bytes[..name.as_str().len()].copy_from_slice(name.as_str().as_bytes());
                out.extend_from_slice(&bytes);
            }
            NftValue::NamePrefix(name) => out.extend_from_slice(name.as_str().as_bytes()),
            NftValue::Mac(mac) => out.extend_from_slice(&mac.octets()),
            NftValue::Ipv4(a) => out.extend_from_slice(&a.octets()),
            NftValue::Ipv6(a) => out.extend_from_slice(&a.octets()),
            NftValue::U8(n) => out.push(*n),
            NftValue::U16(n) => out.extend_from_slice(&n.to_be_bytes()),
            NftValue::U32(n) => out.extend_from_slice(&n.to_ne_bytes()),
            NftValue::Bytes(bytes) => out.extend_from_slice(bytes),
        }
    }

    /// The same bytes as a value of this type: what the kernel gives back for them.
    #[must_use]
    pub(crate) fn as_type(&self, kind: NftType) -> NftValue {
        kind.decode(&self.bytes())
    }
}

impl fmt::Display for NftValue {
    /// As nft would print it where the type says nothing more.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NftValue::Name(name) => write!(f, "\"{name}\""),
            NftValue::NamePrefix(name) => write!(f, "\"{name}*\""),
            NftValue::Mac(mac) => mac.fmt(f),
            NftValue::Ipv4(a) => a.fmt(f),
            NftValue::Ipv6(a) => a.fmt(f),
            NftValue::U8(n) => n.fmt(f),
            NftValue::U16(n) => n.fmt(f),
            NftValue::U32(n) => write!(f, "{n:#010x}"),
            NftValue::Bytes(bytes) => {
                f.write_str("0x")?;
                bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
        }
    }
}

/// The bytes of several fields, each padded with zeros to a multiple of 4, as the kernel keeps a concatenation. A single
/// field is not padded.
pub(crate) fn concat(values: &[NftValue]) -> Vec<u8> {
    if let [one] = values {
        return one.bytes();
    }
    // Room for a link, a MAC and an address.
    let mut out = Vec::with_capacity(40);
    for value in values {
        value.append_to(&mut out);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// Cuts the bytes of a concatenation into the values of its fields. Where they do not fit, all stay one value of bytes.
pub(crate) fn split(types: &[NftType], bytes: &[u8]) -> Vec<NftValue> {
    if let [one] = types {
        return vec![one.decode(bytes)];
    }
    let mut rest = bytes;
    let mut out = Vec::with_capacity(types.len());
    for kind in types {
        let (own, padded) = (usize::from(kind.bytes()), usize::from(kind.words()) * 4);
        match (rest.get(..own), rest.get(padded..)) {
            (Some(field), Some(after)) => {
                out.push(kind.decode(field));
                rest = after;
            }
            _ => return vec![NftValue::Bytes(bytes.to_vec())],
        }
    }
    if rest.is_empty() { out } else { vec![NftValue::Bytes(bytes.to_vec())] }
}

/// The length of a key or of data of these types, in bytes, as a set declares it.
pub(crate) fn width(types: &[NftType]) -> usize {
    match types {
        [one] => usize::from(one.bytes()),
        many => many.iter().map(|t| usize::from(t.words()) * 4).sum(),
    }
}
