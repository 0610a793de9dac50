//! The kernel's expressions, as they are in its messages.

use super::super::nfnetlink::Writer;
use super::super::wire::{Attributes, text};
use crate::snapshot::{Family, NftCmp, NftExpr, NftHeader, NftNat, NftSource, NftVerdict};

/// A register: a place of 4 bytes, 0 to 15.
pub(super) type Register = u8;

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
    /// Puts a key into a set.
    Add {
        set: String,
        at: Register,
    },
    Verdict(NftVerdict),
    Counter,
    /// So many packets a second.
    Limit {
        rate: u32,
        burst: u32,
    },
    Log {
        prefix: String,
        group: Option<u16>,
    },
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
/// `NFT_DYNSET_OP_ADD`. Older kernels accept `NFT_DYNSET_OP_UPDATE` only on sets with a timeout (`nft_dynset_init`), and without a timeout the
/// two do the same.
const DYNSET_ADD: u32 = 0;
/// `NFT_PAYLOAD_L4CSUM_PSEUDOHDR`: the address is part of the checksum above it.
const CSUM_PSEUDO: u32 = 1;
/// `NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED`: the kernel sets these by itself.
const NAT_IMPLIED: u32 = 0b11;
const IPV4: u32 = 2;
const IPV6: u32 = 10;
/// The unit of a limit's rate, in seconds.
const SECOND: u64 = 1;
/// `NFT_LIMIT_PKTS`.
const PACKETS: u32 = 0;
/// `LOGLEVEL_WARNING`, which the kernel takes where no level is given.
const WARNING: u32 = 4;

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

impl Expr {
    /// The expression as a statement that says nothing of what it means.
    pub(super) fn opaque(&self) -> NftExpr {
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
            Expr::Add { .. } => "dynset",
            Expr::Counter => "counter",
            Expr::Limit { .. } => "limit",
            Expr::Log { .. } => "log",
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
            Expr::Add { set, at } => {
                w.be32(4, register(*at));
                w.be32(3, DYNSET_ADD);
                w.text(1, set);
            }
            Expr::Counter | Expr::Masquerade => {}
            Expr::Limit { rate, burst } => {
                w.be64(1, u64::from(*rate));
                w.be64(2, SECOND);
                w.be32(3, *burst);
                w.be32(4, PACKETS);
            }
            Expr::Log { prefix, group } => {
                if let Some(group) = group {
                    w.be16(1, *group);
                }
                w.text(2, prefix);
            }
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
            "dynset" => read_add(data),
            "immediate" => read_immediate(data),
            // The numbers run; they are not part of what the rule is.
            "counter" => Some(Expr::Counter),
            "limit" => read_limit(data),
            "log" => read_log(data),
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

/// Without a timeout, an inversion and expressions of its own.
fn read_add(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 3, 4, 6, 8, 9])?;
    let forever = a.find(6).is_none_or(|timeout| timeout.iter().all(|byte| *byte == 0));
    let plain = number(a, 3) == Some(DYNSET_ADD) && forever && number(a, 9).unwrap_or(0) == 0;
    let add = Expr::Add { set: string(a, 1)?, at: from_register(number(a, 4)?)? };
    plain.then_some(add)
}

/// Of packets, by the second, and not the other way round.
fn read_limit(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3, 4, 5, 6])?;
    let long = |kind| a.find(kind)?.try_into().ok().map(u64::from_be_bytes);
    let plain = long(2) == Some(SECOND) && number(a, 4).unwrap_or(0) == PACKETS && number(a, 5).unwrap_or(0) == 0;
    plain.then_some(())?;
    Some(Expr::Limit { rate: u32::try_from(long(1)?).ok()?, burst: number(a, 3)? })
}

/// With a prefix, and otherwise as usual.
fn read_log(data: &[u8]) -> Option<Expr> {
    let a = only(data, &[1, 2, 3, 4, 5, 6])?;
    let group = match a.find(1) {
        Some(group) => Some(u16::from_be_bytes(group.try_into().ok()?)),
        None => None,
    };
    let threshold = a.find(4).is_none_or(|threshold| threshold.iter().all(|byte| *byte == 0));
    let usual = |kind, usual| number(a, kind).unwrap_or(usual) == usual;
    (usual(3, 0) && threshold && usual(5, WARNING) && usual(6, 0)).then_some(())?;
    Some(Expr::Log { prefix: string(a, 2)?, group })
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
