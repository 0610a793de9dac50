//! nftables transactions.

use serde::{Deserialize, Serialize};

use crate::model::is_nft_name;
use crate::snapshot::{
    NftBase, NftData, NftDataType, NftElement, NftExpr, NftField, NftFrom, NftHeader, NftKey, NftNatTo, NftRule,
    NftSet, NftTableId, NftType, NftValue, NftVerdict, concat, width,
};

/// Changes of one nftables table that happen together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NftTransaction {
    /// The table.
    pub table: NftTableId,
    /// The changes, in order.
    pub ops: Vec<NftOp>,
}

/// One change within an [`NftTransaction`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftOp {
    /// Makes the table; an existing one stays.
    AddTable,
    /// Gives the table these flags ([`NftTable::flags`](crate::snapshot::NftTable::flags)); 0 wakes one that is dormant. Without
    /// a table it makes one.
    SetFlags {
        /// The flags.
        flags: u32,
    },
    /// Removes the table with all that is in it. `ENOENT` without one.
    DelTable,
    /// Makes a chain without rules. `EEXIST` if there is one of this name.
    AddChain {
        /// Its name.
        chain: String,
        /// Where packets come into it from the kernel; `None` for a chain that is only jumped to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        base: Option<NftBase>,
    },
    /// Removes an empty chain. `EBUSY` while it has rules, or while rules or maps lead to it.
    DelChain {
        /// Its name.
        chain: String,
    },
    /// Removes all rules of a chain.
    FlushChain {
        /// Its name.
        chain: String,
    },
    /// Adds a rule behind those that a chain has.
    AddRule {
        /// The chain.
        chain: String,
        /// The rule.
        rule: NftRule,
    },
    /// Adds a rule before those that a chain has.
    InsertRule {
        /// The chain.
        chain: String,
        /// The rule.
        rule: NftRule,
    },
    /// Removes the first rule of a chain that is equal to this one, comment included. `ENOENT` if none is.
    ///
    /// Handles, by which the kernel names rules, are not comparable between two systems or two times; positions move. The
    /// rule itself is what a plan knows, so it is its own name, as for `iptables -D`.
    DelRule {
        /// The chain.
        chain: String,
        /// The rule.
        rule: NftRule,
    },
    /// Makes a set or map, with the elements that it holds. `EEXIST` if there is one of this name.
    AddSet {
        /// Its name.
        set: String,
        /// What it is.
        def: NftSet,
    },
    /// Removes a set or map with its elements. `EBUSY` while a rule uses it.
    DelSet {
        /// Its name.
        set: String,
    },
    /// Adds elements. `EEXIST` if a key is there already, or overlaps one that is.
    AddElements {
        /// The set or map.
        set: String,
        /// The elements with their keys.
        elements: Vec<(NftKey, NftElement)>,
    },
    /// Removes elements. `ENOENT` if one is not there; a range must be given with its own ends.
    DelElements {
        /// The set or map.
        set: String,
        /// Their keys.
        keys: Vec<NftKey>,
    },
}

/// Why an operation can be sent to no kernel: it would be cut, misread or refused without a word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("operation {op}: {message}")]
#[non_exhaustive]
pub struct NftFault {
    /// The index of the operation.
    pub op: usize,
    /// What is wrong: the object, the given value, the rule.
    pub message: String,
}

impl NftTransaction {
    /// Changes of a table.
    pub fn new(table: NftTableId, ops: Vec<NftOp>) -> Self {
        NftTransaction { table, ops }
    }

    /// Whether it makes the table, or a chain in it.
    pub(crate) fn makes(&self) -> bool {
        self.ops.iter().any(|op| matches!(op, NftOp::AddTable | NftOp::AddChain { .. }))
    }

    /// Whether each operation by itself can be put into the kernel's messages: lengths of names, keys, values and
    /// comments, and values that are as long as their fields.
    ///
    /// # Errors
    /// The first operation that cannot, and why. Backends refuse such a transaction with `EINVAL`.
    pub fn check(&self) -> Result<(), NftFault> {
        let table = check_name("table", &self.table.name);
        for (op, change) in self.ops.iter().enumerate() {
            table.clone().and_then(|()| check_op(change)).map_err(|message| NftFault { op, message })?;
        }
        Ok(())
    }
}

/// How many of the kernel's expressions a rule may have. The kernel takes 127, and 4 KiB (`nf_tables_newrule`): none of
/// those that statements are made of has more than 64 bytes there.
const RULE_EXPRESSIONS: usize = 60;

type Check = Result<(), String>;

fn check_op(op: &NftOp) -> Check {
    match op {
        NftOp::AddTable | NftOp::SetFlags { .. } | NftOp::DelTable => Ok(()),
        NftOp::AddChain { chain, .. } | NftOp::DelChain { chain } | NftOp::FlushChain { chain } => {
            check_name("chain", chain)
        }
        NftOp::AddRule { chain, rule } | NftOp::InsertRule { chain, rule } | NftOp::DelRule { chain, rule } => {
            check_name("chain", chain)?;
            check_rule(rule)
        }
        NftOp::AddSet { set, def } => {
            check_name("set", set)?;
            check_set(set, def)?;
            def.elements.iter().try_for_each(|(k, e)| {
                check_key(set, k)?;
                check_element(set, e)
            })
        }
        NftOp::DelSet { set } => check_name("set", set),
        NftOp::AddElements { set, elements } => {
            check_name("set", set)?;
            check_some(set, elements.len())?;
            elements.iter().try_for_each(|(k, e)| {
                check_key(set, k)?;
                check_element(set, e)
            })
        }
        NftOp::DelElements { set, keys } => {
            check_name("set", set)?;
            check_some(set, keys.len())?;
            keys.iter().try_for_each(|k| check_key(set, k))
        }
    }
}

fn check_name(what: &str, name: &str) -> Check {
    if is_nft_name(name) {
        return Ok(());
    }
    let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    Err(format!(
        "\"{shown}\" is no name for a {what}: a letter, '_' or '.', then letters, digits and any of \"_.-/\", at most 255 in all"
    ))
}

/// nft keeps comments in 128 bytes, the final zero included (`NFTNL_UDATA_COMMENT_MAXLEN`).
fn check_comment(comment: Option<&String>) -> Check {
    match comment {
        Some(c) if c.is_empty() || c.len() > 127 || c.contains('\0') => {
            Err(format!("a comment has 1 to 127 bytes, none of them zero; this one has {}", c.len()))
        }
        _ => Ok(()),
    }
}

/// To the kernel, no elements are all elements where some are removed.
fn check_some(set: &str, elements: usize) -> Check {
    if elements == 0 { Err(format!("set {set}: no element is named; leave the operation out")) } else { Ok(()) }
}

fn check_types(set: &str, what: &str, types: &[NftType]) -> Check {
    if let Some(bad) = types.iter().find(|t| t.bytes() == 0 || (types.len() > 1 && t.number() > 63)) {
        return Err(format!("set {set}: a field of type {bad:?} cannot stand in its {what}"));
    }
    if types.is_empty() || types.len() > 16 || width(types) > 64 {
        return Err(format!(
            "set {set}: its {what} has {} fields in {} bytes; 1 to 16 fields in at most 64 bytes are possible",
            types.len(),
            width(types)
        ));
    }
    Ok(())
}

fn check_set(name: &str, set: &NftSet) -> Check {
    check_types(name, "key", &set.key)?;
    if let Some(NftDataType::Value(types)) = &set.data {
        check_types(name, "data", types)?;
    }
    if set.size == Some(0) {
        return Err(format!("set {name}: a size of 0 means no limit to the kernel; leave it out"));
    }
    if set.interval && set.key.len() == 1 && !set.key[0].ordered() {
        return Err(format!("set {name}: values of type {} have no order, so no intervals", set.key[0].name()));
    }
    Ok(())
}

fn check_key(set: &str, key: &NftKey) -> Check {
    let bad = |v: &&NftValue| match v {
        NftValue::NamePrefix(_) => true,
        NftValue::Bytes(b) => b.is_empty(),
        _ => false,
    };
    let both = || key.first.iter().chain(key.last.iter().flatten());
    if let Some(v) = both().find(bad) {
        return Err(format!("set {set}: {v} is no value of a key"));
    }
    let Some(last) = &key.last else {
        return if concat(&key.first).len() <= 64 {
            Ok(())
        } else {
            Err(format!("set {set}: a key has more than 64 bytes"))
        };
    };
    let ascending = key.first.len() == last.len()
        && key.first.iter().zip(last).all(|(a, b)| {
            let (a, b) = (a.bytes(), b.bytes());
            a.len() == b.len() && a <= b
        });
    if key.first.is_empty() || !ascending || concat(last).len() > 64 {
        return Err(format!(
            "set {set}: a range goes from a lower to a higher value of the same length, in every field"
        ));
    }
    Ok(())
}

fn check_element(set: &str, element: &NftElement) -> Check {
    check_comment(element.comment.as_ref()).map_err(|m| format!("set {set}: {m}"))?;
    match &element.data {
        Some(NftData::Verdict(v)) => check_verdict(v),
        Some(NftData::Value(values)) if values.is_empty() || concat(values).len() > 64 => {
            Err(format!("set {set}: the data of an element has 1 to 64 bytes"))
        }
        _ => Ok(()),
    }
}

fn check_verdict(verdict: &NftVerdict) -> Check {
    verdict.target().map_or(Ok(()), |chain| check_name("chain", chain))
}

fn check_fields(fields: &[NftField]) -> Check {
    fields.iter().try_for_each(|f| check_field(*f))?;
    let bytes: usize = fields.iter().map(|f| usize::from(f.kind().words()) * 4).sum();
    if fields.is_empty() || bytes > 64 {
        return Err(format!(
            "a key of {} fields in {bytes} bytes cannot be looked up: 1 to 64 bytes are possible",
            fields.len()
        ));
    }
    Ok(())
}

fn check_field(field: NftField) -> Check {
    match field {
        NftField::Payload { bytes, .. } if bytes == 0 || bytes > 16 => {
            Err(format!("{} bytes of a header cannot be read at once: 1 to 16 can", bytes))
        }
        // The kernel checks nothing here; a read across the end of the ethernet header would silently never match.
        NftField::Payload { header: NftHeader::Link, offset, bytes } if u16::from(offset) + u16::from(bytes) > 18 => {
            Err(format!(
                "an ethernet header with a VLAN tag has 18 bytes, {offset} to {} lie behind it",
                u16::from(offset) + u16::from(bytes)
            ))
        }
        _ => Ok(()),
    }
}

fn check_rule(rule: &NftRule) -> Check {
    check_comment(rule.comment.as_ref())?;
    let expressions: usize = rule.exprs.iter().map(expressions).sum();
    if expressions > RULE_EXPRESSIONS {
        return Err(format!(
            "a rule is made of at most {RULE_EXPRESSIONS} of the kernel's expressions, this one of {expressions}: use a set"
        ));
    }
    rule.exprs.iter().try_for_each(check_expr)
}

/// Of how many of the kernel's expressions a statement is made.
fn expressions(statement: &NftExpr) -> usize {
    match statement {
        NftExpr::Match { mask, .. } => 2 + usize::from(mask.is_some()),
        NftExpr::Lookup { key, .. } | NftExpr::Vmap { key, .. } | NftExpr::Add { key, .. } => {
            key.len().saturating_add(1)
        }
        NftExpr::SetMark(_) | NftExpr::Write { .. } => 2,
        NftExpr::Nat { to: NftNatTo::Address { port, .. }, .. } => 2 + usize::from(port.is_some()),
        NftExpr::Nat { to: NftNatTo::Map { key, .. }, .. } => key.len().saturating_add(2),
        NftExpr::Nat { to: NftNatTo::Maps { key, .. }, .. } => key.len().saturating_mul(2).saturating_add(3),
        NftExpr::Counter
        | NftExpr::Limit { .. }
        | NftExpr::Log { .. }
        | NftExpr::Masquerade
        | NftExpr::Verdict(_)
        | NftExpr::Opaque { .. } => 1,
    }
}

fn check_expr(expr: &NftExpr) -> Check {
    match expr {
        NftExpr::Match { field, mask, value, .. } => {
            check_field(*field)?;
            let (want, got) = (usize::from(field.kind().bytes()), value.bytes().len());
            if let Some(m) = mask.as_ref().filter(|m| m.bytes().len() != want || got != want) {
                return Err(format!(
                    "{} has {want} bytes: it cannot be masked with the {} bytes of {m} and compared with the {got} of {value}",
                    field.name(),
                    m.bytes().len()
                ));
            }
            // A shorter value is a comparison with the beginning of the field: what nft makes of `iifname "vif*"`.
            if got == 0 || got > want || (got < want && field.kind() != NftType::IfName) {
                return Err(format!(
                    "{} has {want} bytes: it cannot be compared with the {got} bytes of {value}",
                    field.name()
                ));
            }
            Ok(())
        }
        NftExpr::Lookup { key, set: name, .. } | NftExpr::Vmap { key, map: name } | NftExpr::Add { key, set: name } => {
            check_fields(key)?;
            check_name("set", name)
        }
        NftExpr::Nat { to: NftNatTo::Map { key, map, .. }, .. } => {
            check_fields(key)?;
            check_name("map", map)
        }
        NftExpr::Nat { to: NftNatTo::Maps { key, address, port }, .. } => {
            // The key of the second one is put behind the address that the first one has given.
            check_fields(key)?;
            let bytes: usize = key.iter().map(|f| usize::from(f.kind().words()) * 4).sum();
            if bytes > 48 {
                return Err(format!(
                    "a key of {bytes} bytes cannot be looked up in two maps: 1 to 48 bytes are possible"
                ));
            }
            check_name("map", address)?;
            check_name("map", port)
        }
        NftExpr::Write { field, from } => {
            match (field.canonical(), from) {
                (NftField::Mark, NftFrom::Value(_)) => {
                    return Err("meta mark is set to a number by a statement of its own".into());
                }
                (NftField::Ip6Saddr | NftField::Ip6Daddr | NftField::Mark, _) => {}
                _ => {
                    let name = field.name();
                    return Err(format!("{name} cannot be written to: ip6 saddr, ip6 daddr and meta mark can"));
                }
            }
            let (what, got) = match from {
                NftFrom::Field(from) => {
                    check_field(*from)?;
                    (from.name(), usize::from(from.kind().bytes()))
                }
                NftFrom::Value(value) => (value.to_string(), value.bytes().len()),
            };
            let want = usize::from(field.kind().bytes());
            if got == want {
                Ok(())
            } else {
                Err(format!("{} has {want} bytes: the {got} of {what} cannot be written to it", field.name()))
            }
        }
        NftExpr::Nat { family, to: NftNatTo::Address { address, port }, .. } => {
            if crate::snapshot::Family::of(address) != *family {
                return Err(format!("{address} is no address of the family that is translated"));
            }
            if *port == Some(0) {
                return Err("port 0 is no port: leave it out to keep the port as it is".into());
            }
            Ok(())
        }
        NftExpr::Verdict(verdict) => check_verdict(verdict),
        NftExpr::Opaque { name, data } => {
            if name.is_empty() || name.len() > 31 || name.contains('\0') || data.len() > 4096 {
                return Err(format!(
                    "an opaque expression has a name of 1 to 31 bytes and at most 4096 bytes of data, not {} and {}",
                    name.len(),
                    data.len()
                ));
            }
            Ok(())
        }
        NftExpr::Limit { rate: 0, .. } => Err("a limit of 0 packets a second fits none: use at least 1".into()),
        NftExpr::Log { prefix, .. } if prefix.is_empty() || prefix.len() > 127 || prefix.contains('\0') => {
            Err(format!("the prefix of a log has 1 to 127 bytes, and no NUL, not {} bytes", prefix.len()))
        }
        NftExpr::Counter | NftExpr::Limit { .. } | NftExpr::Log { .. } | NftExpr::SetMark(_) | NftExpr::Masquerade => {
            Ok(())
        }
    }
}
