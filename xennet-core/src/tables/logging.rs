//! What notes dropped packets, beside their counts: a section for the kernel's log, and one for whoever listens to a group of nfnetlink_log.
//!
//! A link that is in the map `loggers` of a table leads to one of the chains. The counting chains look there. The kernel counts each such
//! element as a use of the chain it leads to.

use super::rules::rule;
use super::{Section, SetDef};
use crate::model::{PacketLog, Violation};
use crate::snapshot::{NftChain, NftExpr, NftField, NftType, NftValue, NftVerdict};

/// From a link to a chain that notes what is dropped there.
pub(crate) const LOGGERS: &str = "loggers";

pub(super) const MAP: SetDef = SetDef::verdicts(LOGGERS, &[NftType::IfName]);

/// Chains: one for each place that packets are noted in. `log` is a word of nft's own.
const CHAINS: [(PacketLog, &str); 2] = [(PacketLog::Kernel, "logging"), (PacketLog::Nflog, "reporting")];
/// So many lines of one class a second, of all links of the table together: guests do not fill the log.
const RATE: u32 = 5;
const BURST: u32 = 20;

/// Where a link leads whose dropped packets are noted there.
pub(crate) fn verdict(log: PacketLog) -> Option<NftVerdict> {
    CHAINS.into_iter().find(|(of, _)| *of == log).map(|(_, chain)| NftVerdict::Jump(chain.into()))
}

/// The section of the kernel's log, and that of nfnetlink_log, with the version that it has in a table.
pub(super) const fn kernel(version: u32) -> Section {
    Section { version, uses: &[(CHAINS[0].1, 12)], sets: &[], led_to: true }
}

pub(super) const fn nflog(version: u32) -> Section {
    Section { version, uses: &[(CHAINS[1].1, 12)], sets: &[], led_to: true }
}

pub(super) fn chains() -> [(&'static str, NftChain); 2] {
    CHAINS.map(|(log, chain)| {
        let group = (log == PacketLog::Nflog).then_some(PacketLog::GROUP);
        let line = |class: Violation| {
            let of_class = NftExpr::eq(NftField::Mark, NftValue::U32(class.number()));
            let log = NftExpr::Log { prefix: format!("xennet {class}: "), group };
            rule([of_class, NftExpr::Limit { rate: RATE, burst: BURST }, log], None)
        };
        (chain, NftChain { base: None, rules: Violation::ALL.into_iter().map(line).collect() })
    })
}
