//! Between the statements of a rule and the kernel's expressions.
//!
//! A statement is a fixed run of expressions over registers counted from 0, the way the `nft` tool lays them out. Reading
//! back goes the other way and then *down again*: only if that gives the very expressions that were read, the statements
//! are what the kernel has. Otherwise each expression stays as it is ([`NftExpr::Opaque`]).

use std::net::IpAddr;

use super::super::nfnetlink::Writer;
use super::super::wire::{Attributes, text};
use crate::snapshot::{
    Family, NftCmp, NftExpr, NftField, NftFrom, NftHeader, NftNat, NftNatData, NftNatTo, NftSource, NftVerdict,
};

/// A register: a place of 4 bytes, 0 to 15.
type Register = u8;

/// One expression of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expr {
    Load {
        source: NftSource,
        to: Register,
    },
    /// `register &= mask`.
    Mask {
        at: Register,
        mask: Vec<u8>,
    },
    Compare {
        at: Register,
        op: NftCmp,
        value: Vec<u8>,
    },
    Lookup {
        set: String,
        at: Register,
        result: Found,
        inverted: bool,
    },
    Immediate {
        to: Register,
        value: Vec<u8>,
    },
    SetMark {
        from: Register,
    },
    Verdict(NftVerdict),
    Counter,
    Masquerade,
    /// Puts an address into the header of an IPv6 packet.
    Write {
        from: Register,
        offset: u8,
    },
    Nat {
        side: NftNat,
        family: Family,
        address: Register,
        port: Option<Register>,
    },
    Other {
        name: String,
        data: Vec<u8>,
    },
}

/// Where a lookup puts what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nowhere,
    Verdict,
    At(Register),
}

const META_MARK: u32 = 3;
const LOOKUP_INV: u32 = 1;
/// `NFT_PAYLOAD_L4CSUM_PSEUDOHDR`: the address is part of the checksum above it.
const CSUM_PSEUDO: u32 = 1;
/// `NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel sets these by itself.
const NAT_IMPLIED: u32 = 0b11;
const IPV4: u32 = 2;
const IPV6: u32 = 10;

/// The number of a register on the wire: four of them have numbers of their own for all 16 bytes from there on, and the
/// kernel answers with those (`nft_dump_register`).
fn register(n: Register) -> u32 {
    if n.is_multiple_of(4) { u32::from(n) / 4 + 1 } else { u32::from(n) + 8 }
}

fn from_register(number: u32) -> Option<Register> {
    match number {
        1..=4 => Register::try_from((number - 1) * 4).ok(),
        8..=23 => Register::try_from(number - 8).ok(),
        _ => None,
    }
}

/// The expressions of a rule's statements.
pub(super) fn lower(statements: &[NftExpr]) -> Vec<Expr> {
    let mut out = Vec::new();
    for statement in statements {
        match statement {
            NftExpr::Match { field, mask, op, value } => {
                out.push(Expr::Load { source: field.source(), to: 0 });
                out.extend(mask.as_ref().map(|m| Expr::Mask { at: 0, mask: m.bytes() }));
                out.push(Expr::Compare { at: 0, op: *op, value: value.bytes() });
            }
            NftExpr::Lookup { key, set, inverted } => {
                load(&mut out, key, 0);
                out.push(Expr::Lookup { set: set.clone(), at: 0, result: Found::Nowhere, inverted: *inverted });
            }
            NftExpr::Vmap { key, map } => {
                load(&mut out, key, 0);
                out.push(Expr::Lookup { set: map.clone(), at: 0, result: Found::Verdict, inverted: false });
            }
            NftExpr::Counter => out.push(Expr::Counter),
            NftExpr::SetMark(mark) => {
                out.push(Expr::Immediate { to: 0, value: mark.to_ne_bytes().to_vec() });
                out.push(Expr::SetMark { from: 0 });
            }
            NftExpr::Masquerade => out.push(Expr::Masquerade),
            NftExpr::Nat { side, family, to } => {
                let port = match to {
                    NftNatTo::Address { address, port } => {
                        let bytes = match address {
                            IpAddr::V4(a) => a.octets().to_vec(),
                            IpAddr::V6(a) => a.octets().to_vec(),
                        };
                        out.push(Expr::Immediate { to: 0, value: bytes });
                        out.extend(port.map(|p| Expr::Immediate { to: 4, value: p.to_be_bytes().to_vec() }));
                        port.map(|_| 4)
                    }
                    NftNatTo::Maps { key, address, port } => {
                        for (map, at) in [(address, 0), (port, SECOND)] {
                            load(&mut out, key, at);
                            out.push(Expr::Lookup { set: map.clone(), at, result: Found::At(at), inverted: false });
                        }
                        Some(SECOND)
                    }
                    NftNatTo::Map { key, map, data } => {
                        load(&mut out, key, 0);
                        let result = Found::At(0);
                        out.push(Expr::Lookup { set: map.clone(), at: 0, result, inverted: false });
                        // The port lies behind the address.
                        (*data == NftNatData::AddressAndPort).then_some(behind_address(*family))
                    }
                };
                out.push(Expr::Nat { side: *side, family: *family, address: 0, port });
            }
            NftExpr::Write { field, from } => {
                out.push(match from {
                    NftFrom::Field(from) => Expr::Load { source: from.source(), to: 0 },
                    NftFrom::Value(value) => Expr::Immediate { to: 0, value: value.bytes() },
                });
                // Nothing else can be written to: the transaction is checked before.
                let NftSource::Payload(_, offset, _) = field.source() else { continue };
                out.push(Expr::Write { from: 0, offset });
            }
            NftExpr::Verdict(verdict) => out.push(Expr::Verdict(verdict.clone())),
            NftExpr::Opaque { name, data } => out.push(Expr::read(name, data)),
        }
    }
    out
}

fn behind_address(family: Family) -> Register {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 4,
    }
}

/// Where the port is put that a map of its own has, and before it the key of that map.
const SECOND: Register = 4;

fn load(out: &mut Vec<Expr>, key: &[NftField], mut to: Register) {
    for field in key {
        out.push(Expr::Load { source: field.source(), to });
        to = to.saturating_add(field.kind().words());
    }
}

/// The statements that these expressions are.
pub(super) fn raise(exprs: &[Expr]) -> Vec<NftExpr> {
    let mut out = Vec::new();
    let mut rest = exprs;
    while let Some(first) = rest.first() {
        let (statement, used) = statement(rest).unwrap_or_else(|| (first.opaque(), 1));
        out.push(statement);
        rest = rest.get(used..).unwrap_or(&[]);
    }
    if lower(&out) == exprs { out } else { exprs.iter().map(Expr::opaque).collect() }
}

/// The statement at the beginning of these expressions, and how many of them it is made of.
fn statement(exprs: &[Expr]) -> Option<(NftExpr, usize)> {
    let simple = |e| Some((e, 1));
    match exprs.first()? {
        Expr::Load { .. } => keyed(exprs),
        Expr::Immediate { to: 0, value } => match exprs.get(1..)? {
            [Expr::Write { from: 0, offset }, ..] => {
                let field = written(*offset)?;
                Some((NftExpr::Write { field, from: NftFrom::Value(field.kind().decode(value)) }, 2))
            }
            [Expr::SetMark { from: 0 }, ..] => {
                let mark = <[u8; 4]>::try_from(value.as_slice()).ok()?;
                Some((NftExpr::SetMark(u32::from_ne_bytes(mark)), 2))
            }
            [Expr::Nat { side, family, address: 0, port: None }, ..] => {
                let to = NftNatTo::Address { address: address(value)?, port: None };
                Some((NftExpr::Nat { side: *side, family: *family, to }, 2))
            }
            [Expr::Immediate { to: 4, value: port }, Expr::Nat { side, family, address: 0, port: Some(4) }, ..] => {
                let port = Some(u16::from_be_bytes(<[u8; 2]>::try_from(port.as_slice()).ok()?));
                let to = NftNatTo::Address { address: address(value)?, port };
                Some((NftExpr::Nat { side: *side, family: *family, to }, 3))
            }
            _ => None,
        },
        Expr::Verdict(verdict) => simple(NftExpr::Verdict(verdict.clone())),
        Expr::Counter => simple(NftExpr::Counter),
        Expr::Masquerade => simple(NftExpr::Masquerade),
        _ => None,
    }
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
    v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from))
}

/// The address at this place of an IPv6 header.
fn written(offset: u8) -> Option<NftField> {
    let field = NftField::from_source(NftSource::Payload(NftHeader::Network, offset, 16))?;
    matches!(field, NftField::Ip6Saddr | NftField::Ip6Daddr).then_some(field)
}

/// The fields that are loaded one behind the other, from this register on.
fn loaded(exprs: &[Expr], mut next: Register) -> Option<Vec<NftField>> {
    let mut key = Vec::new();
    for expr in exprs {
        match expr {
            Expr::Load { source, to } if *to == next => {
                let field = NftField::from_source(*source)?;
                next = next.saturating_add(field.kind().words());
                key.push(field);
            }
            _ => break,
        }
    }
    Some(key)
}

/// A statement that begins with loading one field or several.
fn keyed(exprs: &[Expr]) -> Option<(NftExpr, usize)> {
    let key = loaded(exprs, 0)?;
    let loads = key.len();
    let field = *key.first()?;
    let kind = field.kind();
    let whole = |bytes: &Vec<u8>| bytes.len() == usize::from(kind.bytes());
    match exprs.get(loads..)? {
        [Expr::Mask { at: 0, mask }, Expr::Compare { at: 0, op, value }, ..]
            if loads == 1 && whole(mask) && whole(value) =>
        {
            let mask = Some(kind.decode(mask));
            Some((NftExpr::Match { field, mask, op: *op, value: kind.decode(value) }, 3))
        }
        [Expr::Compare { at: 0, op, value }, ..] if loads == 1 => {
            Some((NftExpr::Match { field, mask: None, op: *op, value: kind.decode(value) }, 2))
        }
        [Expr::Lookup { set, at: 0, result: Found::Nowhere, inverted }, ..] => {
            Some((NftExpr::Lookup { key, set: set.clone(), inverted: *inverted }, loads + 1))
        }
        [Expr::Lookup { set, at: 0, result: Found::Verdict, inverted: false }, ..] => {
            Some((NftExpr::Vmap { key, map: set.clone() }, loads + 1))
        }
        [Expr::Write { from: 0, offset }, ..] if loads == 1 => {
            Some((NftExpr::Write { field: written(*offset)?, from: NftFrom::Field(field) }, 2))
        }
        [Expr::Lookup { set: address, at: 0, result: Found::At(0), inverted: false }, rest @ ..]
            if loaded(rest, SECOND).as_ref() == Some(&key) =>
        {
            let [
                Expr::Lookup { set: port, at: SECOND, result: Found::At(SECOND), inverted: false },
                Expr::Nat { side, family, address: 0, port: Some(SECOND) },
                ..,
            ] = rest.get(loads..)?
            else {
                return None;
            };
            let to = NftNatTo::Maps { key, address: address.clone(), port: port.clone() };
            Some((NftExpr::Nat { side: *side, family: *family, to }, loads * 2 + 3))
        }
        [
            Expr::Lookup { set, at: 0, result: Found::At(0), inverted: false },
            Expr::Nat { side, family, address: 0, port },
            ..,
        ] => {
            let data = match port {
                None => NftNatData::Address,
                Some(_) => NftNatData::AddressAndPort,
            };
            let to = NftNatTo::Map { key, map: set.clone(), data };
            Some((NftExpr::Nat { side: *side, family: *family, to }, loads + 2))
        }
        _ => None,
    }
}

impl Expr {
    fn opaque(&self) -> NftExpr {
        let mut w = Writer::default();
        self.attributes(&mut w);
        NftExpr::Opaque { name: self.name().into(), data: w.out }
    }

    /// The kernel's name for it.
    pub(super) fn name(&self) -> &str {
        match self {
            Expr::Load { source, .. } => match source {
                NftSource::Meta(_) => "meta",
                NftSource::Payload(..) => "payload",
                NftSource::Ct(_) => "ct",
                NftSource::Fib(..) => "fib",
            },
            Expr::Mask { .. } => "bitwise",
            Expr::Compare { .. } => "cmp",
            Expr::Lookup { .. } => "lookup",
            Expr::Immediate { .. } | Expr::Verdict(_) => "immediate",
            Expr::SetMark { .. } => "meta",
            Expr::Write { .. } => "payload",
            Expr::Counter => "counter",
            Expr::Masquerade => "masq",
            Expr::Nat { .. } => "nat",
            Expr::Other { name, .. } => name,
        }
    }

    /// Writes it as a list element (`NFTA_LIST_ELEM`, or `NFTA_SET_EXPR` for the one of a set).
    pub(super) fn write(&self, w: &mut Writer, kind: u16) {
        w.nest(kind, |w| {
            w.text(1, self.name());
            w.nest(2, |w| self.attributes(w));
        });
    }

    fn attributes(&self, w: &mut Writer) {
        match self {
            Expr::Load { source: NftSource::Meta(key), to } => {
                w.be32(2, *key);
                w.be32(1, register(*to));
            }
            Expr::Load { source: NftSource::Payload(header, offset, bytes), to } => {
                w.be32(1, register(*to));
                w.be32(2, *header as u32);
                w.be32(3, u32::from(*offset));
                w.be32(4, u32::from(*bytes));
            }
            Expr::Load { source: NftSource::Ct(key), to } => {
                w.be32(1, register(*to));
                w.be32(2, *key);
            }
            Expr::Load { source: NftSource::Fib(result, flags), to } => {
                w.be32(1, register(*to));
                w.be32(2, *result);
                w.be32(3, *flags);
            }
            Expr::Mask { at, mask } => {
                w.be32(1, register(*at));
                w.be32(2, register(*at));
                w.be32(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
                w.nest(4, |w| w.put(1, mask));
                w.nest(5, |w| w.put(1, &vec![0; mask.len()]));
            }
            Expr::Compare { at, op, value } => {
                w.be32(1, register(*at));
                w.be32(2, *op as u32);
                w.nest(3, |w| w.put(1, value));
            }
            Expr::Lookup { set, at, result, inverted } => {
                w.text(1, set);
                w.be32(2, register(*at));
                match result {
                    Found::Nowhere => {}
                    Found::Verdict => w.be32(3, 0),
                    Found::At(to) => w.be32(3, register(*to)),
                }
                if *inverted {
                    w.be32(5, LOOKUP_INV);
                }
            }
            Expr::Immediate { to, value } => {
                w.be32(1, register(*to));
                w.nest(2, |w| w.put(1, value));
            }
            Expr::Verdict(verdict) => {
                w.be32(1, 0);
                w.nest(2, |w| write_verdict(w, verdict));
            }
            Expr::SetMark { from } => {
                w.be32(2, META_MARK);
                w.be32(3, register(*from));
            }
            Expr::Write { from, offset } => {
                w.be32(5, register(*from));
                w.be32(2, NftHeader::Network as u32);
                w.be32(3, u32::from(*offset));
                w.be32(4, 16);
                w.be32(6, 0);
                w.be32(7, 0);
                w.be32(8, CSUM_PSEUDO);
            }
            Expr::Counter | Expr::Masquerade => {}
            Expr::Nat { side, family, address, port } => {
                w.be32(1, *side as u32);
                w.be32(
                    2,
                    match family {
                        Family::Ipv4 => IPV4,
                        Family::Ipv6 => IPV6,
                    },
                );
                w.be32(3, register(*address));
                if let Some(port) = port {
                    w.be32(5, register(*port));
                }
            }
            Expr::Other { data, .. } => w.out.extend_from_slice(data),
        }
    }

    /// Reads an expression by its name and its attributes. What is not exactly one of ours stays as it is.
    pub(super) fn read(name: &str, data: &[u8]) -> Expr {
        let known = match name {
            "meta" => read_meta(data),
            "payload" => read_payload(data),
            "ct" => only(data, &[1, 2]).and_then(|a| {
                Some(Expr::Load { source: NftSource::Ct(number(a, 2)?), to: from_register(number(a, 1)?)? })
            }),
            "fib" => only(data, &[1, 2, 3]).and_then(|a| {
                let source = NftSource::Fib(number(a, 2)?, number(a, 3)?);
                Some(Expr::Load { source, to: from_register(number(a, 1)?)? })
            }),
            "bitwise" => read_mask(data),
            "cmp" => read_compare(data),
            "lookup" => read_lookup(data),
            "immediate" => read_immediate(data),
            // The numbers run; they are not part of what the rule is.
            "counter" => Some(Expr::Counter),
            "masq" => only(data, &[1]).filter(|a| number(*a, 1).unwrap_or(0) == 0).map(|_| Expr::Masquerade),
            "nat" => read_nat(data),
            _ => None,
        };
        known.unwrap_or_else(|| Expr::Other { name: name.into(), data: data.to_vec() })
    }
}

/// The attributes, if there are none but these kinds.
fn only<'a>(data: &'a [u8], kinds: &[u16]) -> Option<Attributes<'a>> {
    Attributes::of(data).all(|(kind, _)| kinds.contains(&kind)).then(|| Attributes::of(data))
}

/// A number of four bytes in network order.
pub(super) fn number(attributes: Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind)?.try_into().ok().map(u32::from_be_bytes)
}

/// A text; `None` if it is not UTF-8.
pub(super) fn string(attributes: Attributes<'_>, kind: u16) -> Option<String> {
    std::str::from_utf8(text(attributes.find(kind)?)).ok().map(str::to_owned)
}

/// The bytes in a nest of data (`NFTA_DATA_VALUE`).
fn value(attributes: Attributes<'_>, kind: u16) -> Option<&[u8]> {
    Attributes::of(attributes.find(kind)?).find(1)
}

fn read_meta(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3])?;
    match (number(a, 2)?, number(a, 1), number(a, 3)) {
        (key, Some(to), None) => Some(Expr::Load { source: NftSource::Meta(key), to: from_register(to)? }),
        (META_MARK, None, Some(from)) => Some(Expr::SetMark { from: from_register(from)? }),
        _ => None,
    }
}

fn read_payload(data: &[u8]) -> Option<Expr> {
    if let Some(write) = only(data, &[2, 3, 4, 5, 6, 7, 8]).filter(|a| a.find(5).is_some()) {
        let is = |kind, value| number(write, kind) == Some(value);
        let address = is(2, NftHeader::Network as u32) && is(4, 16);
        let checksum = number(write, 6).unwrap_or(0) == 0 && number(write, 7).unwrap_or(0) == 0 && is(8, CSUM_PSEUDO);
        (address && checksum).then_some(())?;
        let from = from_register(number(write, 5)?)?;
        return Some(Expr::Write { from, offset: u8::try_from(number(write, 3)?).ok()? });
    }
    let a = only(data, &[1, 2, 3, 4])?;
    let header = match number(a, 2)? {
        0 => NftHeader::Link,
        1 => NftHeader::Network,
        2 => NftHeader::Transport,
        _ => return None,
    };
    let (offset, bytes) = (u8::try_from(number(a, 3)?).ok()?, u8::try_from(number(a, 4)?).ok()?);
    Some(Expr::Load { source: NftSource::Payload(header, offset, bytes), to: from_register(number(a, 1)?)? })
}

fn read_mask(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3, 4, 5, 6])?;
    let (mask, xor) = (value(a, 4)?, value(a, 5)?);
    let plain = number(a, 6).unwrap_or(0) == 0 && number(a, 1)? == number(a, 2)? && xor.iter().all(|b| *b == 0);
    let whole = usize::try_from(number(a, 3)?).ok()? == mask.len() && xor.len() == mask.len();
    (plain && whole).then_some(())?;
    Some(Expr::Mask { at: from_register(number(a, 1)?)?, mask: mask.to_vec() })
}

fn read_compare(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3])?;
    let op = NftCmp::ALL.into_iter().find(|op| number(a, 2) == Some(*op as u32))?;
    Some(Expr::Compare { at: from_register(number(a, 1)?)?, op, value: value(a, 3)?.to_vec() })
}

fn read_lookup(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3, 5])?;
    let result = match number(a, 3) {
        None => Found::Nowhere,
        Some(0) => Found::Verdict,
        Some(to) => Found::At(from_register(to)?),
    };
    let inverted = match number(a, 5).unwrap_or(0) {
        0 => false,
        LOOKUP_INV => true,
        _ => return None,
    };
    Some(Expr::Lookup { set: string(a, 1)?, at: from_register(number(a, 2)?)?, result, inverted })
}

fn read_immediate(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2])?;
    match number(a, 1)? {
        0 => read_verdict(a.find(2)?).map(Expr::Verdict),
        to => Some(Expr::Immediate { to: from_register(to)?, value: value(a, 2)?.to_vec() }),
    }
}

fn read_nat(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3, 4, 5, 6, 7])?;
    let side = match number(a, 1)? {
        0 => NftNat::Source,
        1 => NftNat::Destination,
        _ => return None,
    };
    let family = match number(a, 2)? {
        IPV4 => Family::Ipv4,
        IPV6 => Family::Ipv6,
        _ => return None,
    };
    // Ranges of addresses or ports, and other flags than those which the kernel sets itself.
    let ranges = number(a, 4).is_some_and(|max| number(a, 3) != Some(max))
        || number(a, 6).is_some_and(|max| number(a, 5) != Some(max));
    if ranges || number(a, 7).unwrap_or(0) & !NAT_IMPLIED != 0 {
        return None;
    }
    let port = match number(a, 5) {
        Some(port) => Some(from_register(port)?),
        None => None,
    };
    Some(Expr::Nat { side, family, address: from_register(number(a, 3)?)?, port })
}

/// Writes a verdict into a nest of data (`NFTA_DATA_VERDICT`).
pub(super) fn write_verdict(w: &mut Writer, verdict: &NftVerdict) {
    let code: i32 = match verdict {
        NftVerdict::Drop => 0,
        NftVerdict::Accept => 1,
        NftVerdict::Continue => -1,
        NftVerdict::Jump(_) => -3,
        NftVerdict::Goto(_) => -4,
        NftVerdict::Return => -5,
    };
    w.nest(2, |w| {
        w.be32(1, code.cast_unsigned());
        if let Some(chain) = verdict.target() {
            w.text(2, chain);
        }
    });
}

/// Reads a verdict from a nest of data.
pub(super) fn read_verdict(data: &[u8]) -> Option<NftVerdict> {
    let a = Attributes::of(Attributes::of(data).find(2)?);
    Some(match number(a, 1)?.cast_signed() {
        0 => NftVerdict::Drop,
        1 => NftVerdict::Accept,
        -1 => NftVerdict::Continue,
        -3 => NftVerdict::Jump(string(a, 2)?),
        -4 => NftVerdict::Goto(string(a, 2)?),
        -5 => NftVerdict::Return,
        _ => return None,
    })
}
