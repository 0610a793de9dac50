//! What is ours, and what was taken of it: by the plans that would put it back.

use std::collections::BTreeMap;

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use crate::config::networks;
use crate::error::{Error, ErrorKind};
use crate::host::{ACCEPTS, Host};
use crate::model::{IfName, Network, NetworkMode, Request, Subject, VifId};
use crate::plan::Plan;
use crate::snapshot::{NftFamily, NftKey, NftTableId, NftValue};
use crate::step::{LinkChange, LinkStep, NftOp, PortStep, Step};

pub(super) fn check(seen: &Seen<'_>, host: &mut Host, out: &mut Vec<Finding>) {
    of_others(seen, out);
    lost(seen, host, out);
    gone(seen, out);
    left_elements(seen, out);
    described(seen, host, out);
}

/// Tables with the names of ours that xennet has not made: they have no number of a version.
fn strange<'a>(seen: &Seen<'a>) -> impl Iterator<Item = &'a NftTableId> + use<'a> {
    let tables = seen.snapshot().nft.iter();
    tables.filter(|(id, table)| id.is_kept() && !table.sets.contains_key(NftTableId::VERSION)).map(|(id, _)| id)
}

fn of_others(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for id in strange(seen) {
        let finding = Finding::new(
            Code::TableOfOthers,
            format!("nft table {id}"),
            format!("there is an nft table {id} that xennet has not made"),
        );
        out.push(finding.by_command(sh!("nft delete table {} && xennet recover", id)));
    }
}

/// What a plan would put back, sorted by what it means. Tables that are not whole are told once, whoever needs them.
fn lost(seen: &Seen<'_>, host: &mut Host, out: &mut Vec<Finding>) {
    let plans = match host.plan_recover() {
        Ok(plans) => plans,
        Err(e) => {
            out.push(Finding::new(Code::NotSeen, "records", e.to_string()));
            return;
        }
    };
    let mut tables: BTreeMap<NftTableId, Vec<Subject>> = BTreeMap::new();
    let mut found: BTreeMap<(Subject, Code), Vec<String>> = BTreeMap::new();
    for (subject, plan) in &plans {
        match plan {
            Ok(plan) if plan.is_empty() => left(seen, *subject, plan.notes(), out),
            Ok(plan) => sort(seen, *subject, plan, &mut tables, &mut found),
            Err(e) => {
                if let Some(code) = of_error(seen, *subject, e) {
                    found.entry((*subject, code)).or_default().push(e.to_string());
                }
            }
        }
    }
    for (table, subjects) in tables {
        let code = if table.family == NftFamily::Bridge { Code::GuardDamaged } else { Code::GateDamaged };
        let cause = match seen.snapshot().nft.get(&table) {
            None => format!("there is no nft table {table}"),
            Some(t) if t.flags & crate::snapshot::NftTable::DORMANT != 0 => format!("nft table {table} is dormant"),
            Some(_) => format!("nft table {table} is not as xennet has made it"),
        };
        let needed = subjects.iter().map(|subject| format!("{} needs it", who(seen, *subject)));
        let finding = Finding::new(code, format!("nft table {table}"), cause).all_seen(needed.take(8));
        out.push(match subjects.first() {
            Some(first) => finding.by_request("xennet recover", Request::Recover(*first)),
            None => finding.by_command("xennet recover"),
        });
    }
    for ((subject, code), facts) in found {
        let cause = match code {
            Code::VifOutside => format!("{} is not a port of its bridge", who(seen, subject)),
            Code::VifDown => format!("the link of {} is down", who(seen, subject)),
            Code::ForwardingOff => format!("{} needs this host to route, and forwarding is off", who(seen, subject)),
            _ => format!("{} has not what it needs", who(seen, subject)),
        };
        let command = match subject {
            Subject::Network(name) => sh!("xennet network start {}", name),
            _ => "xennet recover".to_owned(),
        };
        let object = match subject {
            Subject::Network(name) => format!("network {name}"),
            _ => subject.to_string(),
        };
        // What an error says has no plan, and its own way out.
        let is_error = plans.get(&subject).is_some_and(Result::is_err);
        let finding = Finding::new(code, object, cause).all_seen(facts);
        out.push(match is_error {
            true => finding,
            false => finding.by_request(command, Request::Recover(subject)),
        });
    }
}

fn who(seen: &Seen<'_>, subject: Subject) -> String {
    match subject {
        Subject::Vif(id) => seen.who(id),
        Subject::Network(name) => format!("network {name}"),
        other => other.to_string(),
    }
}

/// What is not put back, since another program has changed it, on purpose as far as we know.
fn left(seen: &Seen<'_>, subject: Subject, notes: &[String], out: &mut Vec<Finding>) {
    let is_missing = |bridge: IfName| seen.link(&bridge).is_none();
    let Some(id) = subject.vif().map(|(id, _)| id) else {
        let Subject::Network(network) = subject else { return };
        // A network without its bridge, and those that leave through it, are told of the bridge.
        let bridges = seen.started().iter().filter(|s| s.network.name() == network || s.outside.is_none());
        let lacks_bridge = bridges.filter_map(|s| s.network.bridge()).any(|b| is_missing(b.name()));
        let outside = seen.started().iter().find(|s| s.network.name() == network).and_then(|s| s.outside);
        if !notes.is_empty() && strange(seen).next().is_none() && !lacks_bridge && !outside.is_some_and(is_missing) {
            let finding =
                Finding::new(Code::NetworkDamaged, who(seen, subject), "it lacks something that is not put back");
            out.push(finding.all_seen(notes.iter().cloned()));
        }
        return;
    };
    let Some(vif) = seen.vifs.iter().find(|vif| vif.id == id) else { return };
    let Some((name, link)) = vif.link else { return };
    match vif.bridge().filter(|bridge| link.master != Some(*bridge)) {
        Some(bridge) if is_missing(bridge) => {}
        Some(bridge) => {
            let on = link.master.map_or("of no bridge".to_owned(), |m| format!("of {m}"));
            out.push(
                Finding::new(
                    Code::VifOutside,
                    vif.id,
                    format!("{} is a port {on}; it was attached to {bridge}", vif.who()),
                )
                .seen("another program has moved it, so `xennet recover` leaves it there")
                .by_command(sh!("ip link set {} master {} && xennet recover", name, bridge)),
            );
        }
        // What stands in the way is told by itself.
        None if strange(seen).next().is_some() => {}
        None => out.push(
            Finding::new(Code::VifLacks, vif.id, format!("{} lacks something that is not put back", vif.who()))
                .all_seen(notes.iter().cloned()),
        ),
    }
}

/// What the steps of a plan mean.
fn sort(
    seen: &Seen<'_>,
    subject: Subject,
    plan: &Plan,
    tables: &mut BTreeMap<NftTableId, Vec<Subject>>,
    found: &mut BTreeMap<(Subject, Code), Vec<String>>,
) {
    let of_vif = matches!(subject, Subject::Vif(_) | Subject::Tap(_));
    let mut steps: BTreeMap<Code, Vec<String>> = BTreeMap::new();
    for planned in plan.steps() {
        let code = match &planned.step {
            // What was not looked at is not known to be missing.
            Step::Nft(t) if seen.is_unseen(&format!("nft table {}", t.table)) => continue,
            Step::Nft(t) if !t.table.is_own() && seen.is_unseen(ACCEPTS) => continue,
            Step::Sysctl(_) if seen.is_unseen("kernel settings") => continue,
            // A link is down while it is moved.
            Step::Link(LinkStep::Set { change, .. }) if of_vif && change.up == Some(false) => continue,
            // Told of the link itself.
            Step::Link(LinkStep::Set { link, change }) if !of_vif && is_told(seen, &link.name, change) => continue,
            Step::Nft(t) if t.table.is_own() && t.ops.iter().any(is_of_frame) => {
                tables.entry(t.table.clone()).or_default().push(subject);
                continue;
            }
            Step::Sysctl(s) if s.key.is_forwarding() => Code::ForwardingOff,
            Step::Link(LinkStep::Set { change, .. }) if of_vif && change.master.is_some() => Code::VifOutside,
            Step::Link(LinkStep::Set { change, .. }) if of_vif && change.up == Some(true) => Code::VifDown,
            Step::Port(PortStep::Set { up: Some(true), .. }) if of_vif => Code::VifDown,
            _ if of_vif => Code::VifLacks,
            _ => Code::NetworkDamaged,
        };
        steps.entry(code).or_default().push(format!("needs: {} {}", planned.step.sign(), planned.step));
    }
    // What else a vif lacks follows from its having been moved: the settings of the port went with the bridge.
    for first in [Code::VifOutside, Code::VifDown] {
        if let Some(mut facts) = steps.remove(&first) {
            facts.extend(std::mem::take(&mut steps).into_values().flatten());
            steps.insert(first, facts);
        }
    }
    for (code, facts) in steps {
        found.entry((subject, code)).or_default().extend(facts);
    }
}

/// Whether a step only puts up a bridge or an uplink that is down.
fn is_told(seen: &Seen<'_>, name: &IfName, change: &LinkChange) -> bool {
    *change == LinkChange { up: Some(true), ..LinkChange::default() } && seen.link(name).is_some_and(|link| !link.up)
}

/// Whether an operation is about what a table is made of, and not about who is in it.
fn is_of_frame(op: &NftOp) -> bool {
    !matches!(op, NftOp::AddElements { .. } | NftOp::DelElements { .. })
}

/// The kind of an error that stands in the way of putting something back; `None` where another check tells it.
fn of_error(seen: &Seen<'_>, subject: Subject, e: &Error) -> Option<Code> {
    match e.kind() {
        ErrorKind::BridgeNotFound | ErrorKind::NotABridge | ErrorKind::LinkNotFound => None,
        ErrorKind::NameTaken => None,
        _ if seen.is_unseen(ACCEPTS) && e.object().is_some_and(|object| object.starts_with("nft chain ")) => None,
        _ if strange(seen).next().is_some() => None,
        _ if matches!(subject, Subject::Network(_)) => {
            // An uplink that has gone is told by itself.
            let uplink_gone = seen.uplinks().any(|(_, _, uplink)| seen.link(&uplink).is_none());
            (!uplink_gone).then_some(Code::NetworkDamaged)
        }
        _ => Some(Code::VifLacks),
    }
}

/// Records of vifs whose link has gone without a call.
fn gone(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for vif in seen.vifs.iter().filter(|vif| vif.has_record() && vif.link.is_none()) {
        let has_node = vif.node.is_some();
        let finding = Finding::new(
            Code::RecordOfGone,
            vif.id,
            format!("{} was attached, and the kernel has no link of it", vif.who()),
        );
        let finding = match has_node {
            true => finding.seen("xenstore still has the vif"),
            false => finding.seen("xenstore has no such vif, or was not looked at"),
        };
        out.push(finding.by_request("xennet recover", Request::Recover(Subject::Vif(vif.id))));
    }
}

/// Elements of our tables that name a link which is not there.
fn left_elements(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let recorded: Vec<IfName> = seen.vifs.iter().filter_map(|vif| vif.attach.map(|a| a.name)).collect();
    let is_known = |name: &IfName| {
        seen.link(name).is_some()
            || recorded.contains(name)
            || name.as_str().strip_suffix("-emu").is_some_and(|v| recorded.iter().any(|r| r.as_str() == v))
    };
    for (id, table) in seen.snapshot().nft.iter().filter(|(id, _)| id.is_own()) {
        let mut left: BTreeMap<IfName, usize> = BTreeMap::new();
        for key in table.sets.values().flat_map(|set| set.elements.keys()) {
            for name in links_of(key) {
                if VifId::from_vif_name(name.as_str()).is_some() && !is_known(&name) {
                    *left.entry(name).or_default() += 1;
                }
            }
        }
        for (name, count) in left {
            out.push(
                Finding::new(
                    Code::ElementOfGone,
                    name,
                    format!("nft table {id} has {count} elements of {name}, which is not there"),
                )
                .look(sh!("nft list table {}", id)),
            );
        }
    }
}

fn links_of(key: &NftKey) -> impl Iterator<Item = IfName> + '_ {
    key.first.iter().filter_map(|value| match value {
        NftValue::Name(name) => Some(*name),
        _ => None,
    })
}

/// The networks as they are described, against how they were started.
fn described(seen: &Seen<'_>, host: &mut Host, out: &mut Vec<Finding>) {
    let Some(described) = &seen.recording.described else { return };
    let all = match networks::parse(&described.text) {
        Ok(all) => all,
        Err(e) => {
            out.push(
                Finding::new(Code::DescriptionUnreadable, &described.file, e.to_string())
                    .all_seen(e.report().lines().skip(1).map(str::to_owned))
                    .look(sh!("xennet parse networks {}", described.file)),
            );
            return;
        }
    };
    for network in all.iter() {
        if seen.started().iter().any(|s| s.network.name() == network.name()) {
            status(host, network, out);
        }
    }
}

fn status(host: &mut Host, network: &Network, out: &mut Vec<Finding>) {
    let name = network.name();
    let Ok(status) = host.network_status(network) else { return };
    if !status.changed.is_empty() {
        let stop = match status.needs_stop.is_empty() {
            true => sh!("xennet network start {}", name),
            false => sh!("xennet network stop {} && xennet network start {}", name, name),
        };
        out.push(
            Finding::new(
                Code::StartedOtherwise,
                format!("network {name}"),
                format!("its {} is described otherwise", status.changed.join(", ")),
            )
            .by_command(stop),
        );
    }
    if !status.elsewhere.is_empty() && matches!(network.mode(), NetworkMode::Routed(_)) {
        out.push(
            Finding::new(
                Code::UpstreamRoute,
                format!("network {name}"),
                "the gateway of the outside has to know where the guests are",
            )
            .all_seen(status.elsewhere.iter().map(|command| format!("on the gateway: {command}"))),
        );
    }
    for ending in status.obstacles.iter().filter(|o| o.starts_with("VLAN ")) {
        let (cause, command) = ending.split_once(": ").unwrap_or((ending, ""));
        out.push(Finding::new(Code::VlanEnds, format!("network {name}"), cause).by_command(command));
    }
}
