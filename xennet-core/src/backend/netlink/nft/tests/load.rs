//! What each of our tables asks the kernel for.

use std::collections::BTreeSet;

use super::super::Nft;
use super::super::expr::Expr;
use super::super::load::asking;
use super::super::statement::lower;
use super::in_netns;
use super::kernel::here;
use crate::config::networks;

use crate::step::{NftOp, NftTransaction};
use crate::tables;

/// The kinds of chains, and the expressions that are not basic, in the order in which they are asked for.
fn asked(transaction: &NftTransaction) -> Vec<String> {
    let basic = ["bitwise", "cmp", "dynset", "immediate", "lookup", "payload", "counter"];
    let mut out: Vec<String> = Vec::new();
    let mut add = |word: String| {
        if !out.contains(&word) {
            out.push(word);
        }
    };
    for op in &transaction.ops {
        match op {
            NftOp::AddChain { base: Some(base), .. } => add(format!("chain {}", base.kind.name())),
            NftOp::AddRule { rule, .. } => {
                let exprs = lower(&rule.exprs);
                let names = exprs.iter().map(Expr::name).filter(|n| !basic.contains(n));
                names.for_each(|n| add(format!("expr {n}")));
            }
            _ => {}
        }
    }
    out
}

fn made(mode: &str) -> Vec<NftTransaction> {
    let text = format!("[network.a]\n{mode}\n");
    let networks = networks::parse(&text).unwrap_or_else(|e| panic!("{}", e.report()));
    tables::of_network(networks.iter().next().unwrap())
}

#[test]
fn each_mode_asks_for_what_is_listed_here_and_no_more() {
    let guard = ("bridge xennet-guard", &["chain filter", "expr meta"][..]);
    let gate = (
        "inet xennet",
        &["chain filter", "chain nat", "expr meta", "expr ct", "expr fib", "expr nat", "expr masq"][..],
    );
    for (mode, wanted) in [
        ("mode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"", &[guard][..]),
        ("mode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]", &[gate]),
        ("mode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"", &[gate, guard]),
        // Nobody is translated, so nothing of that is asked for.
        ("mode = \"routed\"\nsubnets = [\"10.1.0.0/24\"]", &[("inet xennet", &["chain filter", "expr meta"])]),
    ] {
        let tables = made(mode);
        let ids: Vec<String> = tables.iter().map(|t| t.table.to_string()).collect();
        assert_eq!(ids, wanted.iter().map(|(id, _)| *id).collect::<Vec<_>>(), "{mode}");
        for (table, (_, words)) in tables.iter().zip(wanted) {
            let of_table: BTreeSet<String> = asked(table).into_iter().collect();
            assert_eq!(of_table, words.iter().map(|w| (*w).to_owned()).collect(), "{mode}: {}", table.table);
            // Each by itself: a transaction with two would load the first one twice.
            let probes: Vec<Vec<String>> = asking(table).iter().map(|(_, probe)| asked(probe)).collect();
            assert!(probes.iter().all(|words| words.len() == 1), "{mode}: {probes:?}");
            let probed: BTreeSet<String> = probes.into_iter().flatten().collect();
            let mut lacks: Vec<&String> = of_table.difference(&probed).collect();
            lacks.retain(|word| *word != "chain filter");
            assert_eq!(lacks, Vec::<&String>::new(), "{mode}");
        }
    }
}

#[test]
fn what_is_asked_for_leaves_nothing() {
    here!(what_is_asked_for_leaves_nothing);
    let mut kernel = Nft::open().unwrap();
    for table in made("mode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"") {
        for (_, probe) in asking(&table) {
            kernel.apply(&probe).unwrap_or_else(|e| panic!("{probe:?}: {e}"));
        }
        kernel.load(&table);
        assert!(kernel.observe_own().unwrap().is_empty());
        // Once is enough, and the table is made behind it as ever.
        let before = kernel.generation().unwrap();
        kernel.load(&table);
        assert_eq!(kernel.generation().unwrap(), before);
        kernel.apply(&table).unwrap();
        assert_eq!(kernel.generation().unwrap(), before + 1);
        kernel.apply(&NftTransaction::new(table.table.clone(), vec![NftOp::DelTable])).unwrap();
    }
}
