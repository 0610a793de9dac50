//! What notes dropped packets, beside their counts: a section for the kernel's log, and one for whoever listens to a group of nfnetlink_log.
//!
//! The counting chains jump to the chain `noted`, which is empty in the first section. Each of the two sections has a set of links, a chain with
//! a line for each class, and a rule in `noted` that leads from the set to the chain. So nothing of the kernel's modules for logs is
//! loaded before somebody wants it. (A map from links to chains would need no such rule, but nft 1.0 does not load its own JSON of one.)

use super::rules::{jump, lookup, rule};
use super::{Section, SetDef};
use crate::model::{PacketLog, Violation};
use crate::snapshot::{NftChain, NftExpr, NftField, NftRule, NftType, NftValue};

/// A chain: what is done with dropped packets, beside counting them.
pub(crate) const NOTED: &str = "noted";

/// Links whose dropped packets are noted in the kernel's log, and by nfnetlink_log.
const LOGGED: &str = "logged";
const REPORTED: &str = "reported";
/// Chains: a line for each class. `log` is a word of nft's own.
const LOGGING: &str = "logging";
const REPORTING: &str = "reporting";

/// So many lines of one class a second, of all links of the table together: guests do not fill the log.
const RATE: u32 = 5;
const BURST: u32 = 20;

/// The set of links whose packets are noted there.
pub(crate) fn set(log: PacketLog) -> Option<&'static str> {
    match log {
        PacketLog::Off => None,
        PacketLog::Kernel => Some(LOGGED),
        PacketLog::Nflog => Some(REPORTED),
    }
}

const SETS: [[SetDef; 1]; 2] = [[SetDef::of(LOGGED, &[NftType::IfName])], [SetDef::of(REPORTED, &[NftType::IfName])]];

/// The section of the kernel's log, and that of nfnetlink_log, with the version that it has in a table.
pub(super) const fn kernel(version: u32) -> Section {
    Section::of(version, &[(LOGGING, 13)], &SETS[0])
}

pub(super) const fn nflog(version: u32) -> Section {
    Section::of(version, &[(REPORTING, 13)], &SETS[1])
}

pub(super) fn chains() -> [(&'static str, NftChain); 3] {
    let of = |rules| NftChain { base: None, rules };
    let leads = |set, chain| rule([lookup(&[NftField::IifName], set), jump(chain)], None);
    let both = vec![leads(LOGGED, LOGGING), leads(REPORTED, REPORTING)];
    [(NOTED, of(both)), (LOGGING, of(lines(None))), (REPORTING, of(lines(Some(PacketLog::GROUP))))]
}

fn lines(group: Option<u16>) -> Vec<NftRule> {
    let line = |class: Violation| {
        let of_class = NftExpr::eq(NftField::Mark, NftValue::U32(class.number()));
        let log = NftExpr::Log { prefix: format!("xennet {class}: "), group };
        rule([of_class, NftExpr::Limit { rate: RATE, burst: BURST }, log], None)
    };
    Violation::ALL.into_iter().map(line).collect()
}
