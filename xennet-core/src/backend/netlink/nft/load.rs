//! What a table asks the kernel for, one after the other.
//!
//! nf_tables loads a kind of chain, or an expression, when a transaction has it and nobody had it before: it gives the whole
//! transaction up, runs modprobe for all that this transaction has asked for so far, and works through it from its beginning
//! (`nft_request_module`, `nf_tables_module_autoload`). A table of eight such things costs 8 + 7 + … + 1 runs. So each is asked for in
//! a transaction of its own before, which makes a table and removes it again, and leaves nothing.
//!
//! An expression is asked for by two names, that for the family of the table first. Where the kernel's modules have the second one
//! only, the first name is asked for again with it.

use super::expr::Expr;
use super::statement::lower;
use crate::snapshot::{Family, NftChainKind, NftExpr, NftNatTo, NftRule, NftTableId};
use crate::step::{NftOp, NftTransaction};

/// What every kernel with nftables has in the same module as these themselves (`nft_basic_types`). Not `meta`: for bridges, what it
/// has besides is a module.
const BASIC: [&str; 7] = ["bitwise", "cmp", "dynset", "immediate", "lookup", "payload", "counter"];

const CHAIN: &str = "c";

/// The transactions that ask for what this one needs, one thing each, in the order in which they are needed, with the thing's name.
pub(super) fn asking(transaction: &NftTransaction) -> Vec<(String, NftTransaction)> {
    let probe = |base, rule: Option<NftRule>| {
        let chain = || CHAIN.to_owned();
        let mut ops = vec![NftOp::AddTable, NftOp::AddChain { chain: chain(), base }];
        ops.extend(rule.map(|rule| NftOp::AddRule { chain: chain(), rule }));
        ops.push(NftOp::DelTable);
        NftTransaction::new(NftTableId::new(transaction.table.family, "xennet-probe"), ops)
    };
    let family = transaction.table.family;
    let mut out: Vec<(String, NftTransaction)> = Vec::new();
    let mut ask = |name: String, base, rule| {
        if !out.iter().any(|(known, _)| *known == name) {
            out.push((name, probe(base, rule)));
        }
    };
    for op in &transaction.ops {
        if let NftOp::AddChain { base: Some(base), .. } = op
            && base.kind != NftChainKind::Filter
        {
            ask(format!("{family} chain {}", base.kind.name()), Some(*base), None);
        }
    }
    for op in &transaction.ops {
        let NftOp::AddRule { rule, .. } = op else { continue };
        for statement in rule.exprs.iter().filter_map(alone) {
            // What is looked at in the packet, or what is done: all else of such a statement is basic.
            let exprs = lower(std::slice::from_ref(&statement));
            let Some(name) = exprs.iter().map(Expr::name).find(|name| !BASIC.contains(name)) else { continue };
            ask(format!("{family} {name}"), None, Some(NftRule::new([statement])));
        }
    }
    out
}

/// A statement that asks for the same and needs no set.
fn alone(statement: &NftExpr) -> Option<NftExpr> {
    match statement {
        NftExpr::Match { .. } | NftExpr::Masquerade => Some(statement.clone()),
        NftExpr::Nat { side, family, .. } => {
            let address = match family {
                Family::Ipv4 => std::net::Ipv4Addr::LOCALHOST.into(),
                Family::Ipv6 => std::net::Ipv6Addr::LOCALHOST.into(),
            };
            let to = NftNatTo::Address { address, port: None };
            Some(NftExpr::Nat { side: *side, family: *family, to })
        }
        _ => None,
    }
}
