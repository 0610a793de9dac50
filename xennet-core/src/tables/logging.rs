//! What logs dropped packets: a section for the kernel's log, and a section for nfnetlink_log.
//!
//! The counting chains jump to the chain `noted`, which is empty in the first section. Each of the two sections has a set of links, a chain with
//! a rule for each class, and a rule in `noted` that leads from the set to the chain. So the kernel loads no module for logs before
//! somebody wants one. (A map from links to chains would need no such rule, but nft 1.0 cannot load its own JSON of such a map.)

use super::rules::{jump, lookup, rule};
use super::{Section, SetDef};
use crate::model::{PacketLog, Violation};
use crate::snapshot::{NftChain, NftExpr, NftField, NftRule, NftType, NftValue};

/// A chain: logs dropped packets of the links that want it.
pub(crate) const NOTED: &str = "noted";

/// Links whose dropped packets go to the kernel's log, and to nfnetlink_log.
const LOGGED: &str = "logged";
const REPORTED: &str = "reported";
/// Chains: a rule for each class. `log` is a keyword of nft.
const LOGGING: &str = "logging";
const REPORTING: &str = "reporting";

/// Lines a second for each class, of all links of the table together, and lines at once. So no guest fills the log.
const RATE: u32 = 5;
const BURST: u32 = 20;

/// The set of links whose packets are logged there.
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
