//! Between the statements of a rule and the kernel's expressions.
//!
//! A statement is a fixed run of expressions over registers counted from 0, the way the `nft` tool lays them out. Reading
//! back goes the other way and then *down again*: only if that gives the very expressions that were read, the statements
//! are what the kernel has. Otherwise each expression stays as it is ([`NftExpr::Opaque`]).

use std::net::IpAddr;

use super::expr::{Expr, Found, Register};
use crate::snapshot::{Family, NftExpr, NftField, NftFrom, NftHeader, NftNatData, NftNatTo, NftSource};

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
            NftExpr::Add { key, set } => {
                load(&mut out, key, 0);
                out.push(Expr::Add { set: set.clone(), at: 0 });
            }
            NftExpr::Counter => out.push(Expr::Counter),
            NftExpr::Limit { rate, burst } => out.push(Expr::Limit { rate: *rate, burst: *burst }),
            NftExpr::Log { prefix, group } => out.push(Expr::Log { prefix: prefix.clone(), group: *group }),
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
                out.push(match field.source() {
                    NftSource::Payload(_, offset, _) => Expr::Write { from: 0, offset },
                    // Nothing else can be written to but the mark: the transaction is checked before.
                    _ => Expr::SetMark { from: 0 },
                });
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
        Expr::Limit { rate, burst } => simple(NftExpr::Limit { rate: *rate, burst: *burst }),
        Expr::Log { prefix, group } => simple(NftExpr::Log { prefix: prefix.clone(), group: *group }),
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
        [Expr::Add { set, at: 0 }, ..] => Some((NftExpr::Add { key, set: set.clone() }, loads + 1)),
        [Expr::Lookup { set, at: 0, result: Found::Verdict, inverted: false }, ..] => {
            Some((NftExpr::Vmap { key, map: set.clone() }, loads + 1))
        }
        [Expr::Write { from: 0, offset }, ..] if loads == 1 => {
            Some((NftExpr::Write { field: written(*offset)?, from: NftFrom::Field(field) }, 2))
        }
        [Expr::SetMark { from: 0 }, ..] if loads == 1 && kind.bytes() == 4 => {
            Some((NftExpr::Write { field: NftField::Mark, from: NftFrom::Field(field) }, 2))
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
