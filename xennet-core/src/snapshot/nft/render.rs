//! nft objects as text: nft's own language, one fact a line.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{
    NftCmp, NftData, NftDataType, NftElement, NftExpr, NftField, NftFrom, NftKey, NftNat, NftNatData, NftNatTo,
    NftRule, NftSet, NftTable, NftTableId, NftType, NftValue, NftVerdict,
};
use crate::snapshot::Family;

/// The facts of tables, one a line: what `nft list ruleset` tells, in words that can be typed back behind `nft`. For each
/// table its chains, its sets with their elements, and its rules in order, so that what is named comes first.
pub(crate) fn nft_facts(tables: &BTreeMap<NftTableId, NftTable>) -> Vec<String> {
    let mut out = Vec::new();
    for (id, table) in tables {
        out.push(match table.flags {
            0 => format!("add table {id}"),
            NftTable::DORMANT => format!("add table {id} {{ flags dormant; }}"),
            flags => format!("add table {id} {{ # flags {flags:#x} }}"),
        });
        for (name, chain) in &table.chains {
            out.push(match &chain.base {
                Some(b) => format!(
                    "add chain {id} {name} {{ type {} hook {} priority {}; policy {}; }}",
                    b.kind.name(),
                    b.hook.name(),
                    b.priority,
                    b.policy.name()
                ),
                None => format!("add chain {id} {name}"),
            });
        }
        for (name, set) in &table.sets {
            let noun = if set.data.is_some() { "map" } else { "set" };
            out.push(format!("add {noun} {id} {name} {{ {}}}", declaration(set)));
            for (key, element) in &set.elements {
                out.push(format!("add element {id} {name} {{ {} }}", element_text(set, key, element)));
            }
        }
        for (name, chain) in &table.chains {
            out.extend(chain.rules.iter().map(|rule| format!("add rule {id} {name} {rule}")));
        }
    }
    out
}

fn declaration(set: &NftSet) -> String {
    let types = |t: &[NftType]| t.iter().map(|t| t.name()).collect::<Vec<_>>().join(" . ");
    let mut text = format!("type {}", types(&set.key));
    match &set.data {
        Some(NftDataType::Verdict) => text.push_str(" : verdict"),
        Some(NftDataType::Value(data)) => {
            text.push_str(" : ");
            text.push_str(&types(data));
        }
        None => {}
    }
    text.push_str("; ");
    let mut add = |part: String| {
        text.push_str(&part);
        text.push_str("; ");
    };
    if let Some(size) = set.size {
        add(format!("size {size}"));
    }
    if set.interval {
        add("flags interval".into());
    }
    if set.other_flags != 0 {
        add(format!("# flags {:#x}", set.other_flags));
    }
    if set.counter {
        add("counter".into());
    }
    text
}

fn element_text(set: &NftSet, key: &NftKey, element: &NftElement) -> String {
    let mut text = key_text(&set.key, key);
    if let Some(comment) = &element.comment {
        let _ = write!(text, " comment {}", quoted(comment));
    }
    match (&element.data, &set.data) {
        (Some(NftData::Verdict(v)), _) => {
            let _ = write!(text, " : {v}");
        }
        (Some(NftData::Value(values)), Some(NftDataType::Value(types))) => {
            let _ = write!(text, " : {}", joined(types, values));
        }
        (Some(NftData::Value(values)), _) => {
            let _ = write!(text, " : {}", joined(&[], values));
        }
        (None, _) => {}
    }
    text
}

/// A key as nft writes it: ranges as prefixes where they are some.
pub(crate) fn key_text(types: &[NftType], key: &NftKey) -> String {
    if key.is_catch_all() {
        return "*".into();
    }
    let Some(last) = &key.last else { return joined(types, &key.first) };
    let fields = key.first.iter().zip(last).enumerate().map(|(i, (from, to))| {
        let kind = types.get(i).copied();
        if from == to {
            return value_text(kind, from);
        }
        match prefix_length(&from.bytes(), &to.bytes()) {
            Some(length) if matches!(from, NftValue::Ipv4(_) | NftValue::Ipv6(_)) => format!("{from}/{length}"),
            _ => format!("{}-{}", value_text(kind, from), value_text(kind, to)),
        }
    });
    fields.collect::<Vec<_>>().join(" . ")
}

fn joined(types: &[NftType], values: &[NftValue]) -> String {
    let texts = values.iter().enumerate().map(|(i, v)| value_text(types.get(i).copied(), v));
    texts.collect::<Vec<_>>().join(" . ")
}

/// The length of the prefix that all of `from..=to` and nothing else has.
fn prefix_length(from: &[u8], to: &[u8]) -> Option<u32> {
    let mut length = 0;
    let mut inside = true;
    for (a, b) in from.iter().zip(to) {
        for bit in (0..8).rev() {
            match (inside, a >> bit & 1, b >> bit & 1) {
                (true, x, y) if x == y => length += 1,
                (_, 0, 1) => inside = false,
                _ => return None,
            }
        }
    }
    Some(length)
}

fn value_text(kind: Option<NftType>, value: &NftValue) -> String {
    let word = match (kind, value) {
        (Some(NftType::InetProto), NftValue::U8(n)) => {
            word(&[(1, "icmp"), (6, "tcp"), (17, "udp"), (58, "ipv6-icmp")], *n)
        }
        (Some(NftType::EtherType), NftValue::U16(n)) => {
            word(&[(0x0800, "ip"), (0x0806, "arp"), (0x86dd, "ip6"), (0x8100, "vlan")], *n)
                .or_else(|| Some(format!("{n:#06x}")))
        }
        (Some(NftType::ArpOp), NftValue::U16(n)) => word(&[(1, "request"), (2, "reply")], *n),
        (Some(NftType::PktType), NftValue::U8(n)) => {
            word(&[(0, "host"), (1, "broadcast"), (2, "multicast"), (3, "other")], *n)
        }
        (Some(NftType::NfProto), NftValue::U8(n)) => word(&[(2, "ipv4"), (10, "ipv6")], *n),
        (Some(NftType::IfIndex), NftValue::U32(n)) => Some(n.to_string()),
        (Some(NftType::FibType), NftValue::U32(n)) => {
            word(&[(1, "unicast"), (2, "local"), (3, "broadcast"), (4, "anycast"), (5, "multicast")], *n)
                .or_else(|| Some(n.to_string()))
        }
        (Some(NftType::CtState), NftValue::U32(n)) => {
            bits(&[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")], *n)
        }
        (Some(NftType::CtStatus), NftValue::U32(n)) => {
            let known = [
                (1, "expected"),
                (2, "seen-reply"),
                (4, "assured"),
                (8, "confirmed"),
                (16, "snat"),
                (32, "dnat"),
                (512, "dying"),
            ];
            bits(&known, *n)
        }
        _ => None,
    };
    word.unwrap_or_else(|| value.to_string())
}

fn word<N: PartialEq>(words: &[(N, &str)], number: N) -> Option<String> {
    words.iter().find(|(n, _)| *n == number).map(|(_, w)| (*w).to_owned())
}

fn bits(known: &[(u32, &str)], mask: u32) -> Option<String> {
    let named: Vec<_> = known.iter().filter(|(bit, _)| mask & bit != 0).collect();
    let all = named.iter().map(|(bit, _)| bit).sum::<u32>() == mask;
    (all && !named.is_empty()).then(|| named.iter().map(|(_, w)| *w).collect::<Vec<_>>().join(","))
}

fn quoted(text: &str) -> String {
    // A comment may hold anything but zeros: nothing in it may end the quotes or move a terminal.
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push('\''),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

impl std::fmt::Display for NftVerdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NftVerdict::Accept => f.write_str("accept"),
            NftVerdict::Drop => f.write_str("drop"),
            NftVerdict::Return => f.write_str("return"),
            NftVerdict::Continue => f.write_str("continue"),
            NftVerdict::Jump(chain) => write!(f, "jump {chain}"),
            NftVerdict::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl std::fmt::Display for NftRule {
    /// The rule as it stands behind `nft add rule TABLE CHAIN`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What the rule has matched so far decides how nft calls the type of an ICMP message.
        let mut icmpv6 = false;
        for (i, expr) in self.exprs.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            if let NftExpr::Match { field, op: NftCmp::Eq, value, .. } = expr
                && field.kind() == NftType::InetProto
            {
                icmpv6 = *value == NftValue::U8(58);
            }
            f.write_str(&expr_text(expr, icmpv6))?;
        }
        match &self.comment {
            Some(comment) => write!(f, " comment {}", quoted(comment)),
            None => Ok(()),
        }
    }
}

fn key_fields(key: &[NftField], icmpv6: bool) -> String {
    key.iter().map(|f| field_name(*f, icmpv6)).collect::<Vec<_>>().join(" . ")
}

fn field_name(field: NftField, icmpv6: bool) -> String {
    if icmpv6 && field == NftField::IcmpType { "icmpv6 type".into() } else { field.name() }
}

fn expr_text(expr: &NftExpr, icmpv6: bool) -> String {
    match expr {
        NftExpr::Match { field, mask, op, value } => match_text(*field, mask.as_ref(), *op, value, icmpv6),
        NftExpr::Lookup { key, set, inverted } => {
            format!("{} {}@{set}", key_fields(key, icmpv6), if *inverted { "!= " } else { "" })
        }
        NftExpr::Vmap { key, map } => format!("{} vmap @{map}", key_fields(key, icmpv6)),
        NftExpr::Add { key, set } => format!("add @{set} {{ {} }}", key_fields(key, icmpv6)),
        NftExpr::Counter => "counter".into(),
        NftExpr::Limit { rate, burst } => format!("limit rate {rate}/second burst {burst} packets"),
        NftExpr::Log { prefix, group } => {
            let group = group.map(|group| format!(" group {group}")).unwrap_or_default();
            format!("log prefix {}{group}", quoted(prefix))
        }
        NftExpr::SetMark(mark) => format!("meta mark set {mark:#010x}"),
        NftExpr::Write { field, from } => {
            let from = match from {
                NftFrom::Field(from) => field_name(*from, icmpv6),
                NftFrom::Value(value) => value_text(Some(field.kind()), value),
            };
            format!("{} set {from}", field_name(*field, icmpv6))
        }
        NftExpr::Masquerade => "masquerade".into(),
        NftExpr::Nat { side, family, to } => {
            let verb = match side {
                NftNat::Source => "snat",
                NftNat::Destination => "dnat",
            };
            let family = match family {
                Family::Ipv4 => "ip",
                Family::Ipv6 => "ip6",
            };
            let to = match to {
                NftNatTo::Address { address, port: None } => address.to_string(),
                NftNatTo::Address { address, port: Some(port) } => {
                    std::net::SocketAddr::new(*address, *port).to_string()
                }
                NftNatTo::Map { key, map, data: NftNatData::Address | NftNatData::AddressAndPort } => {
                    format!("{} map @{map}", key_fields(key, icmpv6))
                }
                NftNatTo::Maps { key, address, port } => {
                    let key = key_fields(key, icmpv6);
                    format!("{key} map @{address} : {key} map @{port}")
                }
            };
            format!("{verb} {family} to {to}")
        }
        NftExpr::Verdict(verdict) => verdict.to_string(),
        NftExpr::Opaque { name, data } => format!("# {name} ({} bytes)", data.len()),
    }
}

fn match_text(field: NftField, mask: Option<&NftValue>, op: NftCmp, value: &NftValue, icmpv6: bool) -> String {
    let name = field_name(field, icmpv6);
    // What these share with ports and protocols is the length, not the words.
    let plain = matches!(field, NftField::ArpHtype | NftField::ArpHlen | NftField::ArpPlen);
    let kind = (!plain).then(|| field.kind());
    let sign = if op == NftCmp::Eq { String::new() } else { format!("{} ", op.sign()) };
    let Some(mask) = mask else { return format!("{name} {sign}{}", value_text(kind, value)) };
    let ones: Vec<u8> = mask.bytes();
    let zeros = vec![0; ones.len()];
    let prefix = prefix_length(&zeros, &ones.iter().map(|b| !b).collect::<Vec<_>>());
    match (field.kind(), prefix) {
        (NftType::Ipv4Addr | NftType::Ipv6Addr, Some(length)) => format!("{name} {sign}{value}/{length}"),
        (NftType::CtState | NftType::CtStatus, _) if op == NftCmp::Ne && *value == NftValue::U32(0) => {
            format!("{name} {}", value_text(kind, mask))
        }
        _ => {
            let mut mask = value_text(kind, mask);
            if mask.contains(',') {
                mask = format!("({})", mask.replace(',', " | "));
            }
            format!("{name} & {mask} {} {}", op.sign(), value_text(kind, value))
        }
    }
}
