//! Other firewalls: by what a trace says of a guest of each kind.

use std::collections::BTreeSet;

use super::finding::{Finding, sh};
use super::seen::{Seen, Vif};
use super::table::Code;
use crate::model::{IfName, NetworkMode};
use crate::snapshot::Family;
use crate::trace::{Direction, Hop, Question, Stage, Trace, Traffic, Verdict, trace};

/// What is asked for one guest of each bridge and network: whether it gets out, and whether it is answered where this host serves it.
pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    if seen.details().foreign.is_empty() {
        return;
    }
    let mut asked: BTreeSet<(Option<IfName>, Option<IfName>, Family)> = BTreeSet::new();
    let mut told: Vec<Finding> = Vec::new();
    for vif in &seen.vifs {
        let Some((_, link)) = vif.link.filter(|(_, l)| l.up) else { continue };
        for family in families(vif) {
            // One guest stands for all that are connected as it is.
            if !asked.insert((link.master, vif.attach.and_then(|a| a.network), family)) {
                continue;
            }
            for (what, to, traffic) in questions(seen, vif) {
                let Ok(question) = Question::new(seen.recording, &vif.id.to_string(), to, traffic, Some(family)) else {
                    continue;
                };
                let Some(finding) = judged(seen, vif, what, &trace(seen.recording, &question)) else { continue };
                match told.iter_mut().find(|f| f.object == finding.object && f.code == finding.code) {
                    // Before the command that shows more.
                    Some(known) => known.evidence.insert(known.evidence.len().saturating_sub(1), finding.cause),
                    None => told.push(finding),
                }
            }
        }
    }
    out.append(&mut told);
}

fn families(vif: &Vif<'_>) -> Vec<Family> {
    let addresses = vif.addresses();
    Family::BOTH.into_iter().filter(|family| addresses.iter().any(|a| Family::of(&a.ip()) == *family)).collect()
}

type Asked = (&'static str, &'static str, Traffic);

fn questions(seen: &Seen<'_>, vif: &Vif<'_>) -> Vec<Asked> {
    let mut all = vec![("to the outside", "outside", Traffic::Tcp(Some(443)))];
    let network = vif.attach.and_then(|a| a.network);
    let started = network.and_then(|name| seen.started().iter().find(|s| s.network.name() == name));
    let served = started.and_then(|s| match s.network.mode() {
        NetworkMode::Bridge(_) => None,
        _ => s.network.services(),
    });
    if served.is_some_and(|s| s.dns) {
        all.push(("to this host's name server", "dom0", Traffic::Udp(Some(53))));
    }
    if served.is_some_and(|s| s.dhcp) {
        all.push(("to this host's DHCP server", "dom0", Traffic::Udp(Some(67))));
    }
    all
}

/// What a trace says about another program's rules.
fn judged(seen: &Seen<'_>, vif: &Vif<'_>, what: &str, answer: &Trace) -> Option<Finding> {
    let is_lost = answer.answered == Some(false);
    let (code, cause) = match answer.verdict {
        Verdict::Delivered if !is_lost => return None,
        Verdict::Delivered => (Code::ForeignDrop, format!("answers to {} {what} are dropped", vif.who())),
        Verdict::Dropped => (Code::ForeignDrop, format!("packets of {} {what} are dropped", vif.who())),
        Verdict::Unknown => {
            (Code::ForeignUnjudged, format!("whether packets of {} {what} pass is not known", vif.who()))
        }
    };
    let last_back = answer.hops.iter().rfind(|h: &&Hop| h.direction == Direction::Back && h.stage == Stage::Firewall);
    let place = answer.location.as_deref().or(last_back.filter(|_| is_lost).map(|h| h.at.as_str()))?;
    // What is ours, or the kernel's, is told elsewhere.
    let table = seen.details().foreign.keys().find(|id| place.contains(&format!("table {id}")))?;
    let to = if what.contains("outside") { "outside tcp 443" } else { "dom0 udp" };
    Some(
        Finding::new(code, format!("nft table {table}"), cause)
            .seen(answer.sentence())
            .seen(format!("{place}: {}", answer.why))
            .look(sh!("xennet trace {} {}", vif.id, to)),
    )
}
