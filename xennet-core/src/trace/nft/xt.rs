//! Matches and targets of iptables, as iptables-nft puts them into rules (`nft_compat`): the common ones, by the layout of their data.
//!
//! Source: `include/uapi/linux/netfilter/xt_*.h`, `include/uapi/linux/netfilter/nf_nat.h`.

use super::program::Op;

/// A match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Match {
    /// `-m conntrack --ctstate`: the states as `ct state` has them, and the two that come from translation.
    State { states: u32, source_nat: bool, target_nat: bool, inverted: bool },
    /// Ports of TCP or UDP: ranges of source and destination, and whether each is inverted.
    Ports { protocol: u8, source: Vec<(u16, u16)>, target: Vec<(u16, u16)>, either: bool, inverted: (bool, bool) },
    /// `-m addrtype`: bits by route kind, for source and destination.
    AddressType { source: u16, target: u16, inverted: (bool, bool) },
    /// `--icmp-type`: the type, and whether it is any; the codes; whether it is inverted.
    Icmp { protocol: u8, kind: u8, codes: (u8, u8), inverted: bool },
    /// `-m mark`.
    Mark { mark: u32, mask: u32, inverted: bool },
}

fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    data.get(at..)?.first_chunk::<2>().copied().map(u16::from_ne_bytes)
}

fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    data.get(at..)?.first_chunk::<4>().copied().map(u32::from_ne_bytes)
}

pub(super) fn read_match(name: &str, revision: u32, info: &[u8]) -> Op {
    let unknown = || Op::Perhaps(format!("xt match \"{name}\""));
    if name == "comment" {
        return Op::Nothing;
    }
    known_match(name, revision, info).map_or_else(unknown, Op::Xt)
}

fn known_match(name: &str, revision: u32, info: &[u8]) -> Option<Match> {
    match (name, revision) {
        ("conntrack", 3) => {
            let (flags, inverted, states) = (u16_at(info, 146)?, u16_at(info, 148)?, u16_at(info, 150)?);
            // XT_CONNTRACK_STATE alone.
            (flags == 1).then_some(())?;
            let state = u32::from(states & 0b1_1111) | if states & 0x100 != 0 { 64 } else { 0 };
            Some(Match::State {
                states: state,
                source_nat: states & 0x40 != 0,
                target_nat: states & 0x80 != 0,
                inverted: inverted & 1 != 0,
            })
        }
        ("tcp", 0) => {
            let inverted = *info.get(11)?;
            // Flags and options of TCP are looked at, too.
            (*info.get(9)? == 0 && *info.get(8)? == 0).then_some(())?;
            ports(6, info, inverted)
        }
        ("udp", 0) => ports(17, info, *info.get(8)?),
        ("multiport", 1) => {
            let (which, count, inverted) = (*info.first()?, *info.get(1)?, *info.get(47)? != 0);
            let mut ranges = Vec::new();
            let mut at = 0;
            while at < usize::from(count) {
                let first = u16_at(info, 2 + at * 2)?;
                // `pflags`: the first one of a range.
                let is_range = *info.get(32 + at)? != 0;
                at += usize::from(is_range);
                ranges.push((first, if is_range { u16_at(info, 2 + at * 2)? } else { first }));
                at += 1;
            }
            let all = vec![(0, u16::MAX)];
            let (source, target) = match which {
                0 => (ranges, all),
                1 => (all, ranges),
                _ => (ranges.clone(), ranges),
            };
            // Which protocol it is has been matched before.
            let inverted = (inverted && which == 0, inverted && which == 1);
            (which != 2 || *info.get(47)? == 0).then_some(())?;
            Some(Match::Ports { protocol: 0, source, target, either: which == 2, inverted })
        }
        ("addrtype", 1) => {
            let flags = u32_at(info, 4)?;
            // Limited to the link: another question.
            (flags & 0b1100 == 0).then_some(())?;
            let inverted = (flags & 1 != 0, flags & 2 != 0);
            Some(Match::AddressType { source: u16_at(info, 0)?, target: u16_at(info, 2)?, inverted })
        }
        ("icmp" | "icmp6", 0) => Some(Match::Icmp {
            protocol: if name == "icmp" { 1 } else { 58 },
            kind: *info.first()?,
            codes: (*info.get(1)?, *info.get(2)?),
            inverted: *info.get(3)? & 1 != 0,
        }),
        ("mark", 1) => {
            Some(Match::Mark { mark: u32_at(info, 0)?, mask: u32_at(info, 4)?, inverted: *info.get(8)? != 0 })
        }
        _ => None,
    }
}

fn ports(protocol: u8, info: &[u8], inverted: u8) -> Option<Match> {
    let range = |at| Some(vec![(u16_at(info, at)?, u16_at(info, at + 2)?)]);
    let inverted = (inverted & 1 != 0, inverted & 2 != 0);
    Some(Match::Ports { protocol, source: range(0)?, target: range(4)?, either: false, inverted })
}

pub(super) fn read_target(name: &str, revision: u32, info: &[u8]) -> Op {
    match name {
        "LOG" | "NFLOG" | "CHECKSUM" | "TCPMSS" | "CLASSIFY" | "CONNMARK" | "TRACE" | "DSCP" | "TOS" => Op::Nothing,
        "REJECT" => Op::Reject,
        "MASQUERADE" => Op::Masquerade,
        "NOTRACK" => Op::NoTrack,
        "DNAT" | "SNAT" => {
            let read = if revision == 0 { translation4(name, info) } else { translation(name, info) };
            read.unwrap_or_else(|| Op::Ends(format!("xt target \"{name}\"")))
        }
        "REDIRECT" if revision == 0 => redirection(info).unwrap_or_else(|| Op::Ends(format!("xt target \"{name}\""))),
        "MARK" => Op::SetUnknown("the mark, by xt target \"MARK\""),
        _ => Op::Ends(format!("xt target \"{name}\"")),
    }
}

/// `NF_NAT_RANGE_MAP_IPS`, `NF_NAT_RANGE_PROTO_SPECIFIED`.
const ADDRESS: u32 = 1;
const PORT: u32 = 2;

/// One address and one port (`struct nf_nat_range2`, and `nf_nat_range` before it): of ranges the kernel takes any.
fn translation(name: &str, info: &[u8]) -> Option<Op> {
    let flags = u32_at(info, 0)?;
    let (first, last) = (info.get(4..20)?, info.get(20..36)?);
    let port = |at| info.get(at..)?.first_chunk::<2>().copied().map(u16::from_be_bytes);
    let (least, most) = (port(36)?, port(38)?);
    let plain = flags & !(ADDRESS | PORT) == 0 && first == last && (flags & PORT == 0 || least == most);
    plain.then_some(())?;
    let address = (flags & ADDRESS != 0).then(|| first.to_vec());
    let port = (flags & PORT != 0).then_some(least);
    Some(Op::Translate { source: name == "SNAT", address, port })
}

/// The same in its first form, for IPv4 (`struct nf_nat_ipv4_multi_range_compat` with one range).
fn translation4(name: &str, info: &[u8]) -> Option<Op> {
    let (count, flags) = (u32_at(info, 0)?, u32_at(info, 4)?);
    let (first, last) = (info.get(8..12)?, info.get(12..16)?);
    let port = |at| info.get(at..)?.first_chunk::<2>().copied().map(u16::from_be_bytes);
    let (least, most) = (port(16)?, port(18)?);
    let plain = count == 1 && flags & !(ADDRESS | PORT) == 0 && first == last && (flags & PORT == 0 || least == most);
    plain.then_some(())?;
    let address = (flags & ADDRESS != 0).then(|| first.to_vec());
    Some(Op::Translate { source: name == "SNAT", address, port: (flags & PORT != 0).then_some(least) })
}

/// To this domain, perhaps to another port (`struct nf_nat_ipv4_multi_range_compat`).
fn redirection(info: &[u8]) -> Option<Op> {
    let flags = u32_at(info, 4)?;
    let port = |at| info.get(at..)?.first_chunk::<2>().copied().map(u16::from_be_bytes);
    let (least, most) = (port(16)?, port(18)?);
    (flags & !PORT == 0 && (flags == 0 || least == most)).then_some(())?;
    Some(Op::RedirectTo { port: (flags & PORT != 0).then_some(least) })
}
