//! Rules as the programs of the kernel's register machine: known statements, and the expressions that have no words of their own here.
//!
//! Source: `include/uapi/linux/netfilter/nf_tables.h` (numbers of attributes), `net/netfilter/nft_*.c` (what they do).

use std::net::IpAddr;

use super::xt;
use crate::snapshot::{
    Family, NftCmp, NftExpr, NftField, NftFrom, NftHeader, NftNat, NftNatData, NftNatTo, NftRule, NftSource,
    NftVerdict, attribute,
};

/// A register, counted in places of 4 bytes: 0 to 15.
pub(super) type Register = u8;

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Op {
    /// Reads something of the packet.
    Load {
        source: NftSource,
        bytes: u8,
        to: Register,
    },
    /// Looks into the routing tables.
    Fib {
        result: u32,
        flags: u32,
        to: Register,
    },
    /// Something is read that is not known; so many bytes.
    LoadUnknown {
        bytes: u8,
        to: Register,
    },
    /// Whether a header is there that the traced packets do not have.
    Absent {
        present: bool,
        to: Register,
    },
    Immediate {
        bytes: Vec<u8>,
        to: Register,
    },
    /// `to = (from & mask) ^ xor`.
    Mask {
        from: Register,
        to: Register,
        mask: Vec<u8>,
        xor: Vec<u8>,
    },
    /// Swaps bytes in groups of this size.
    Swap {
        from: Register,
        to: Register,
        size: u8,
        bytes: u8,
    },
    Compare {
        at: Register,
        op: NftCmp,
        value: Vec<u8>,
    },
    Range {
        at: Register,
        inverted: bool,
        first: Vec<u8>,
        last: Vec<u8>,
    },
    Lookup {
        set: String,
        at: Register,
        result: Found,
        inverted: bool,
    },
    Verdict(NftVerdict),
    SetMark {
        from: Register,
    },
    /// `ct mark set`.
    SetConnectionMark {
        from: Register,
    },
    /// Something about the packet is written that other rules might look at: the mark, the kind, the class.
    SetUnknown(&'static str),
    Write {
        from: Register,
        header: NftHeader,
        offset: u8,
        bytes: u8,
    },
    Masquerade,
    Redirect {
        port: Option<Register>,
    },
    Nat {
        side: NftNat,
        family: Family,
        address: Option<Register>,
        port: Option<Register>,
    },
    /// The same with what iptables writes into its rules: 16 bytes of an address of the table's family.
    Translate {
        source: bool,
        address: Option<Vec<u8>>,
        port: Option<u16>,
    },
    RedirectTo {
        port: Option<u16>,
    },
    /// Refuses it with a message: dropped.
    Reject,
    NoTrack,
    /// Whether the rule goes on is not known.
    Perhaps(String),
    /// What becomes of the packet is not known.
    Ends(String),
    /// A match of iptables'.
    Xt(xt::Match),
    Nothing,
}

/// Where a lookup puts what it finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nowhere,
    Verdict,
    At(Register),
}

fn number(data: &[u8], kind: u16) -> Option<u32> {
    attribute(data, kind)?.first_chunk::<4>().copied().map(u32::from_be_bytes)
}

fn byte(data: &[u8], kind: u16) -> Option<u8> {
    u8::try_from(number(data, kind)?).ok()
}

fn text(data: &[u8], kind: u16) -> Option<String> {
    let bytes = attribute(data, kind)?;
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end)?).ok().map(str::to_owned)
}

fn value(data: &[u8], kind: u16) -> Option<Vec<u8>> {
    attribute(attribute(data, kind)?, 1).map(<[u8]>::to_vec)
}

fn register(data: &[u8], kind: u16) -> Option<Register> {
    match number(data, kind)? {
        n @ 1..=4 => Register::try_from((n - 1) * 4).ok(),
        n @ 8..=23 => Register::try_from(n - 8).ok(),
        _ => None,
    }
}

fn header(number: u32) -> Option<NftHeader> {
    match number {
        0 => Some(NftHeader::Link),
        1 => Some(NftHeader::Network),
        2 => Some(NftHeader::Transport),
        _ => None,
    }
}

/// The operations of a rule, and for each the statement that it belongs to.
pub(super) fn program(rule: &NftRule) -> Vec<Op> {
    let mut out = Vec::new();
    // What counts or logs the packet at the end of a rule changes nothing for it.
    let notes = |e: &&NftExpr| matches!(e, NftExpr::Add { .. } | NftExpr::Limit { .. } | NftExpr::Log { .. });
    let ends = rule.exprs.len() - rule.exprs.iter().rev().take_while(notes).count();
    for statement in rule.exprs.iter().take(ends) {
        lower(statement, &mut out);
    }
    out
}

fn load(out: &mut Vec<Op>, key: &[NftField], mut to: Register) {
    for field in key {
        out.push(load_one(field.source(), field.kind().bytes(), to));
        to = to.saturating_add(field.kind().words());
    }
}

fn load_one(source: NftSource, bytes: u8, to: Register) -> Op {
    match source {
        NftSource::Fib(result, flags) => Op::Fib { result, flags, to },
        source => Op::Load { source, bytes, to },
    }
}

/// Where the port is put that a map of its own has.
const SECOND: Register = 4;

fn lower(statement: &NftExpr, out: &mut Vec<Op>) {
    match statement {
        NftExpr::Match { field, mask, op, value } => {
            load(out, &[*field], 0);
            if let Some(mask) = mask {
                let mask = mask.bytes();
                out.push(Op::Mask { from: 0, to: 0, xor: vec![0; mask.len()], mask });
            }
            out.push(Op::Compare { at: 0, op: *op, value: value.bytes() });
        }
        NftExpr::Lookup { key, set, inverted } => {
            load(out, key, 0);
            out.push(Op::Lookup { set: set.clone(), at: 0, result: Found::Nowhere, inverted: *inverted });
        }
        NftExpr::Vmap { key, map } => {
            load(out, key, 0);
            out.push(Op::Lookup { set: map.clone(), at: 0, result: Found::Verdict, inverted: false });
        }
        // A full set ends the rule here.
        NftExpr::Add { .. } => out.push(Op::Perhaps("a set that may be full".into())),
        NftExpr::Limit { .. } => out.push(Op::Perhaps("a limit that may be reached".into())),
        NftExpr::Counter | NftExpr::Log { .. } => out.push(Op::Nothing),
        NftExpr::SetMark(mark) => {
            out.push(Op::Immediate { bytes: mark.to_ne_bytes().to_vec(), to: 0 });
            out.push(Op::SetMark { from: 0 });
        }
        NftExpr::Write { field, from } => {
            match from {
                NftFrom::Field(from) => load(out, &[*from], 0),
                NftFrom::Value(value) => out.push(Op::Immediate { bytes: value.bytes(), to: 0 }),
                NftFrom::Map { key, map } => {
                    load(out, key, 0);
                    out.push(Op::Lookup { set: map.clone(), at: 0, result: Found::At(0), inverted: false });
                }
            }
            match field.source() {
                NftSource::Payload(header, offset, bytes) => out.push(Op::Write { from: 0, header, offset, bytes }),
                _ => out.push(Op::SetMark { from: 0 }),
            }
        }
        NftExpr::Masquerade => out.push(Op::Masquerade),
        NftExpr::Nat { side, family, to } => {
            let port = match to {
                NftNatTo::Address { address, port } => {
                    let bytes = match address {
                        IpAddr::V4(a) => a.octets().to_vec(),
                        IpAddr::V6(a) => a.octets().to_vec(),
                    };
                    out.push(Op::Immediate { bytes, to: 0 });
                    out.extend(port.map(|p| Op::Immediate { bytes: p.to_be_bytes().to_vec(), to: SECOND }));
                    port.map(|_| SECOND)
                }
                NftNatTo::Map { key, map, data } => {
                    load(out, key, 0);
                    out.push(Op::Lookup { set: map.clone(), at: 0, result: Found::At(0), inverted: false });
                    let behind = if *family == Family::Ipv4 { 1 } else { 4 };
                    (*data == NftNatData::AddressAndPort).then_some(behind)
                }
                NftNatTo::Maps { key, address, port } => {
                    for (map, at) in [(address, 0), (port, SECOND)] {
                        load(out, key, at);
                        out.push(Op::Lookup { set: map.clone(), at, result: Found::At(at), inverted: false });
                    }
                    Some(SECOND)
                }
            };
            out.push(Op::Nat { side: *side, family: *family, address: Some(0), port });
        }
        NftExpr::Verdict(verdict) => out.push(Op::Verdict(verdict.clone())),
        NftExpr::Opaque { name, data } => out.push(read(name, data).unwrap_or_else(|| Op::Ends(name.clone()))),
    }
}

/// An expression of the kernel's by its name and attributes. `None` where it is not understood at all.
fn read(name: &str, data: &[u8]) -> Option<Op> {
    Some(match name {
        "meta" => match (number(data, 2)?, register(data, 1), register(data, 3)) {
            (key, Some(to), _) => meta(key, to),
            (3, None, Some(from)) => Op::SetMark { from },
            // NFT_META_PKTTYPE is looked at by other rules; priority, trace and class are not.
            (19, ..) => Op::SetUnknown("meta pkttype"),
            _ => Op::Nothing,
        },
        "payload" => {
            let (header, offset, bytes) = (header(number(data, 2)?), byte(data, 3), byte(data, 4)?);
            match (header, offset, register(data, 1), register(data, 5)) {
                (Some(header), Some(offset), Some(to), _) => {
                    Op::Load { source: NftSource::Payload(header, offset, bytes), bytes, to }
                }
                (_, _, Some(to), _) => Op::LoadUnknown { bytes, to },
                (Some(header), Some(offset), None, Some(from)) => Op::Write { from, header, offset, bytes },
                _ => return None,
            }
        }
        "ct" => match (number(data, 2)?, register(data, 1), register(data, 4)) {
            (key @ (0 | 2 | 3), Some(to), _) => Op::Load { source: NftSource::Ct(key), bytes: 4, to },
            (key @ 1, Some(to), _) => Op::Load { source: NftSource::Ct(key), bytes: 1, to },
            (_, Some(to), _) => Op::LoadUnknown { bytes: 16, to },
            (3, None, Some(from)) => Op::SetConnectionMark { from },
            _ => Op::Nothing,
        },
        "fib" => Op::Fib { result: number(data, 2)?, flags: number(data, 3)?, to: register(data, 1)? },
        "bitwise" => bitwise(data)?,
        "byteorder" => {
            let (size, bytes) = (byte(data, 5)?, byte(data, 4)?);
            Op::Swap { from: register(data, 1)?, to: register(data, 2)?, size, bytes }
        }
        "cmp" => {
            let op = NftCmp::ALL.into_iter().find(|op| number(data, 2) == Some(*op as u32))?;
            Op::Compare { at: register(data, 1)?, op, value: value(data, 3)? }
        }
        "range" => Op::Range {
            at: register(data, 1)?,
            inverted: number(data, 2)? == 1,
            first: value(data, 3)?,
            last: value(data, 4)?,
        },
        "lookup" => {
            let result = match number(data, 3) {
                None => Found::Nowhere,
                Some(0) => Found::Verdict,
                Some(_) => Found::At(register(data, 3)?),
            };
            let inverted = number(data, 5).unwrap_or(0) & 1 == 1;
            Op::Lookup { set: text(data, 1)?, at: register(data, 2)?, result, inverted }
        }
        "immediate" => match number(data, 1)? {
            0 => Op::Verdict(verdict(attribute(data, 2)?)?),
            _ => Op::Immediate { bytes: value(data, 2)?, to: register(data, 1)? },
        },
        "counter" | "log" | "last" | "dup" | "flow_offload" => Op::Nothing,
        "masq" => Op::Masquerade,
        "redir" => Op::Redirect { port: register(data, 1) },
        "nat" => nat(data)?,
        "reject" => Op::Reject,
        "notrack" => Op::NoTrack,
        "exthdr" => Op::Absent { present: number(data, 5).unwrap_or(0) & 1 == 1, to: register(data, 1)? },
        "limit" | "quota" | "connlimit" | "dynset" => Op::Perhaps(name.into()),
        "objref" => match number(data, 1) {
            // NFT_OBJECT_QUOTA, NFT_OBJECT_LIMIT, NFT_OBJECT_CONNLIMIT; the others do not end a rule.
            Some(2 | 4 | 5) | None => Op::Perhaps("a named limit".into()),
            Some(10) => Op::Ends("synproxy".into()),
            Some(_) => Op::Nothing,
        },
        "numgen" | "rt" | "osf" => Op::LoadUnknown { bytes: 16, to: register(data, 1)? },
        "hash" | "socket" | "xfrm" | "tunnel" => {
            Op::LoadUnknown { bytes: 16, to: register(data, 2).or_else(|| register(data, 1))? }
        }
        "match" => xt::read_match(&text(data, 1)?, number(data, 2).unwrap_or(0), attribute(data, 3)?),
        "target" => xt::read_target(&text(data, 1)?, number(data, 2).unwrap_or(0), attribute(data, 3)?),
        _ => return None,
    })
}

fn meta(key: u32, to: Register) -> Op {
    // `enum nft_meta_keys`: how many bytes each has.
    let bytes = match key {
        6 | 7 | 17 | 18 | 26 | 27 => 16,
        1 | 8 | 9 => 2,
        15 | 16 | 19 => 1,
        29 => 8,
        _ => 4,
    };
    match key {
        1 | 3..=9 | 15..=19 => Op::Load { source: NftSource::Meta(key), bytes, to },
        _ => Op::LoadUnknown { bytes, to },
    }
}

fn bitwise(data: &[u8]) -> Option<Op> {
    let (from, to) = (register(data, 1)?, register(data, 2)?);
    match number(data, 6).unwrap_or(0) {
        0 => Some(Op::Mask { from, to, mask: value(data, 4)?, xor: value(data, 5)? }),
        _ => Some(Op::LoadUnknown { bytes: byte(data, 3)?, to }),
    }
}

fn nat(data: &[u8]) -> Option<Op> {
    let side = if number(data, 1)? == 0 { NftNat::Source } else { NftNat::Destination };
    let family = match number(data, 2)? {
        2 => Family::Ipv4,
        10 => Family::Ipv6,
        _ => return None,
    };
    let ranges = number(data, 4).is_some_and(|max| number(data, 3) != Some(max))
        || number(data, 6).is_some_and(|max| number(data, 5) != Some(max));
    // NF_NAT_RANGE_NETMAP and others of which the address depends.
    if ranges || number(data, 7).unwrap_or(0) & !0b0111 != 0 {
        return Some(Op::Ends("nat to a range of addresses".into()));
    }
    Some(Op::Nat { side, family, address: register(data, 3), port: register(data, 5) })
}

fn verdict(data: &[u8]) -> Option<NftVerdict> {
    let inner = attribute(data, 2)?;
    Some(match number(inner, 1)?.cast_signed() {
        0 => NftVerdict::Drop,
        1 => NftVerdict::Accept,
        -1 => NftVerdict::Continue,
        -3 => NftVerdict::Jump(text(inner, 2)?),
        -4 => NftVerdict::Goto(text(inner, 2)?),
        -5 => NftVerdict::Return,
        _ => return None,
    })
}

/// A rule with expressions that have no words here: what it reads and does, by the kernel's names.
pub(super) fn told(rule: &NftRule) -> String {
    let mut words: Vec<String> = Vec::new();
    for statement in &rule.exprs {
        let word = match statement {
            NftExpr::Opaque { name, data } if name == "match" || name == "target" => {
                format!("xt {name} \"{}\"", text(data, 1).unwrap_or_default())
            }
            NftExpr::Opaque { name, data } if name == "immediate" => match read(name, data) {
                Some(Op::Verdict(verdict)) => verdict.to_string(),
                _ => continue,
            },
            NftExpr::Opaque { name, .. } if ["cmp", "bitwise", "byteorder", "counter"].contains(&name.as_str()) => {
                continue;
            }
            NftExpr::Opaque { name, .. } => name.clone(),
            NftExpr::Counter => continue,
            other => NftRule::new([other.clone()]).to_string(),
        };
        if words.last() != Some(&word) {
            words.push(word);
        }
    }
    match &rule.comment {
        Some(comment) => format!("{} (\"{comment}\")", words.join(" ")),
        None => words.join(" "),
    }
}
