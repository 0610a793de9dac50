//! What drops guests' packets, by traces: other firewalls, and whatever no other check has found.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::finding::{Finding, sh};
use super::seen::{Seen, Vif};
use super::table::{Code, Level};
use super::uplinks::default_route;
use crate::gather;
use crate::model::{IfName, NetworkMode, VifId};
use crate::recording::Recording;
use crate::snapshot::{Family, NftExpr, NftValue};
use crate::trace::{Direction, Hop, Question, Stage, Trace, Traffic, Verdict, trace};

/// What is asked for one guest of each bridge and network, and for those that another program's rule names: whether it gets out, and whether
/// it is answered where this host serves it. `found` is what the other checks have found.
pub(super) fn check(seen: &Seen<'_>, found: &mut Vec<Finding>) {
    let recording = with_addresses(seen);
    let named = named_by_others(seen);
    let mut asked: BTreeSet<(Option<IfName>, Option<IfName>, Family)> = BTreeSet::new();
    let mut told: Vec<Finding> = Vec::new();
    for vif in &seen.vifs {
        let Some((name, link)) = vif.link.filter(|(_, l)| l.up) else { continue };
        for family in families(seen, vif) {
            // One guest stands for all that are connected as it is.
            let is_first = asked.insert((link.master, vif.attach.and_then(|a| a.network), family));
            if !is_first && !named.contains(name) {
                continue;
            }
            for (what, to, traffic) in questions(seen, vif, family) {
                let Ok(question) = Question::new(&recording, &vif.id.to_string(), to, traffic, Some(family)) else {
                    continue;
                };
                let answer = trace(&recording, &question);
                let finding =
                    by_others(seen, vif, what, &answer).or_else(|| by_anything(seen, vif, what, &answer, found));
                let Some(finding) = finding else { continue };
                match told.iter_mut().find(|f| f.object == finding.object && f.code == finding.code) {
                    // Before the command that shows more.
                    Some(known) if !known.evidence.contains(&finding.cause) && known.cause != finding.cause => {
                        known.evidence.insert(known.evidence.len().saturating_sub(1), finding.cause);
                    }
                    Some(_) => {}
                    None => told.push(finding),
                }
            }
        }
    }
    found.append(&mut told);
}

/// The families in which a guest is asked for. Of a guest on a bridge that nobody has declared addresses of, IPv4.
fn families(seen: &Seen<'_>, vif: &Vif<'_>) -> Vec<Family> {
    let addresses = vif.addresses();
    if addresses.is_empty() {
        return stand_in(seen, vif).map(|_| Family::Ipv4).into_iter().collect();
    }
    Family::BOTH.into_iter().filter(|family| addresses.iter().any(|a| Family::of(&a.ip()) == *family)).collect()
}

/// An address that a guest on a bridge could have, where nobody has declared one: a free one of this host's network there.
fn stand_in(seen: &Seen<'_>, vif: &Vif<'_>) -> Option<IpAddr> {
    let bridge = vif.link?.1.master?;
    let taken: BTreeSet<IpAddr> = gather::set(
        seen.snapshot()
            .addresses
            .iter()
            .map(|a| a.address.ip())
            .chain(seen.details().neighbours.iter().map(|n| n.address)),
    );
    let network = seen.snapshot().addresses_of(&bridge).find_map(|a| match a.address {
        IpNetwork::V4(n) if n.prefix() < 31 => Some(n),
        _ => None,
    })?;
    // The last ones: gateways mostly have the first.
    let (first, last) = (u32::from(network.network()), u32::from(network.broadcast()));
    (first + 1..last).rev().take(64).map(|a| IpAddr::V4(a.into())).find(|a| !taken.contains(a))
}

/// The recording, with an address for each guest that is asked for and has none.
fn with_addresses<'a>(seen: &Seen<'a>) -> Cow<'a, Recording> {
    let mut recording = Cow::Borrowed(seen.recording);
    let mut bridges: BTreeSet<IfName> = BTreeSet::new();
    for vif in seen.vifs.iter().filter(|vif| vif.addresses().is_empty()) {
        let Some(bridge) = vif.link.and_then(|(_, link)| link.master) else { continue };
        let Some(address) = stand_in(seen, vif).filter(|_| bridges.insert(bridge)) else { continue };
        let node = format!("/local/domain/0/backend/vif/{}/{}/ip", vif.id.domid, vif.id.devid);
        if let Ok(path) = node.parse() {
            recording.to_mut().store.insert(path, address.to_string());
        }
    }
    recording
}

/// Links that rules of other programs name.
fn named_by_others(seen: &Seen<'_>) -> BTreeSet<IfName> {
    let rules = seen.details().foreign.values().flat_map(|t| t.chains.values()).flat_map(|c| &c.rules);
    gather::set(rules.flat_map(|r| &r.exprs).filter_map(|expr| match expr {
        NftExpr::Match { value: NftValue::Name(name), .. } => Some(*name),
        _ => None,
    }))
}

type Asked = (&'static str, &'static str, Traffic);

fn questions(seen: &Seen<'_>, vif: &Vif<'_>, family: Family) -> Vec<Asked> {
    let mut all = Vec::new();
    if leads_out(seen, vif, family) {
        all.push(("to the outside", "outside", Traffic::Tcp(Some(443))));
    }
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

/// Whether a guest was promised a way out: its bridge has one, or this host routes for it and has one itself.
fn leads_out(seen: &Seen<'_>, vif: &Vif<'_>, family: Family) -> bool {
    match vif.link.and_then(|(_, link)| link.master) {
        Some(bridge) if !vif.is_routed() => !seen.outer_ports(bridge).is_empty(),
        _ => default_route(seen, family).is_some(),
    }
}

fn question_text(id: VifId, what: &str) -> String {
    match what {
        "to the outside" => sh!("xennet trace {} outside tcp 443", id),
        _ => sh!("xennet trace {} dom0 udp", id),
    }
}

/// What a trace says about another program's rules.
fn by_others(seen: &Seen<'_>, vif: &Vif<'_>, what: &str, answer: &Trace) -> Option<Finding> {
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
    let place = (!answer.sentence().contains(place)).then(|| place.to_owned());
    Some(
        Finding::new(code, format!("nft table {table}"), cause)
            .seen(answer.sentence())
            .all_seen(place)
            .look(question_text(vif.id, what)),
    )
}

/// A packet that is dropped, where no other finding tells why.
fn by_anything(seen: &Seen<'_>, vif: &Vif<'_>, what: &str, answer: &Trace, found: &[Finding]) -> Option<Finding> {
    // Without the settings a trace takes them for unset.
    if answer.verdict != Verdict::Dropped || seen.is_unseen("kernel settings") {
        return None;
    }
    let related = seen.related(&vif.id.to_string());
    let is_told = |f: &Finding| {
        f.level() == Level::Error && (related.contains(&f.object) || f.cause.contains(&vif.id.to_string()))
    };
    if found.iter().any(is_told) {
        return None;
    }
    Some(
        Finding::new(Code::PacketsDropped, vif.id, format!("packets of {} {what} are dropped", vif.who()))
            .seen(answer.sentence())
            .look(question_text(vif.id, what)),
    )
}
