//! Domains: what xenstore says of their vifs, against what the kernel has.

use std::collections::BTreeMap;

use super::finding::{Finding, sh};
use super::seen::{Node, Seen, Vif};
use super::table::Code;
use crate::model::{IfName, Request, Subject};
use crate::text::printable;

/// States of both ends (`xen/include/public/io/xenbus.h`, `enum xenbus_state`).
const STATES: [&str; 9] = [
    "unknown",
    "initialising",
    "waiting",
    "initialised",
    "connected",
    "closing",
    "closed",
    "reconfiguring",
    "reconfigured",
];
const WAITING: u32 = 2;
const CONNECTED: u32 = 4;

fn state_name(state: u32) -> &'static str {
    usize::try_from(state).ok().and_then(|at| STATES.get(at)).copied().unwrap_or("unknown")
}

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for vif in &seen.vifs {
        match &vif.node {
            Some(node) => with_node(seen, vif, node, out),
            None => without_node(seen, vif, out),
        }
    }
    names(seen, out);
    links_names(seen, out);
    around(seen, out);
}

fn with_node(seen: &Seen<'_>, vif: &Vif<'_>, node: &Node<'_>, out: &mut Vec<Finding>) {
    let status = node.backend.get("hotplug-status").copied();
    let (backend, frontend) = (Node::state(&node.backend), Node::state(&node.frontend));
    match status {
        Some("error") => {
            let why = node
                .backend
                .get("hotplug-error")
                .map_or("no reason is given".to_owned(), |e| printable(e).into_owned());
            let cause = format!("the hotplug call of {} failed: {why}", vif.who());
            out.push(Finding::new(Code::HotplugFailed, vif.id, cause).look(sh!("xennet log {}", vif.id)));
        }
        Some("connected") if vif.link.is_none() => {
            out.push(
                Finding::new(
                    Code::VifWithoutLink,
                    vif.id,
                    format!("hotplug-status of {} is connected, and the kernel has no link for it", vif.who()),
                )
                .seen("detach the interface and attach it again"),
            );
        }
        Some("connected") => {
            // A guest without such a driver uses the emulated card.
            let has_twin = vif.link.and_then(|(name, _)| seen.link(&name.tap().ok()?)).is_some_and(|twin| twin.up);
            let waits = frontend != Some(CONNECTED) && backend.is_some_and(|state| state <= CONNECTED) && !has_twin;
            if waits {
                let told = frontend.map_or("has not answered".to_owned(), |state| format!("is {}", state_name(state)));
                out.push(
                    Finding::new(Code::FrontendNotConnected, vif.id, format!("the driver of {} {told}", vif.who()))
                        .seen(format!("netback is {}", backend.map_or("unknown", state_name)))
                        .look(sh!("xl console {}", vif.id.domid)),
                );
            }
        }
        None if backend == Some(WAITING) => {
            let script =
                node.script().map_or("no script is named".to_owned(), |s| format!("its script is {}", printable(s)));
            out.push(
                Finding::new(Code::HotplugMissing, vif.id, format!("{} waits for its hotplug call", vif.who()))
                    .seen("netback is waiting, and there is no hotplug-status")
                    .seen(script)
                    .look(sh!("xennet log {}", vif.id)),
            );
        }
        _ => {}
    }
}

fn without_node(seen: &Seen<'_>, vif: &Vif<'_>, out: &mut Vec<Finding>) {
    if !seen.has_store() {
        return;
    }
    if let Some((name, _)) = vif.link {
        out.push(Finding::new(
            Code::LinkWithoutNode,
            vif.id,
            format!("{name} is there, and xenstore has no vif {} of domain {}", vif.id.devid, vif.id.domid),
        ));
    }
}

/// Names that two domains have.
fn names(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let mut of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (path, name) in &seen.recording.store {
        if let ["", "local", "domain", id, "name"] = path.as_str().split('/').collect::<Vec<_>>()[..] {
            of.entry(name).or_default().push(id);
        }
    }
    for (name, ids) in of.into_iter().filter(|(_, ids)| ids.len() > 1) {
        let name = printable(name);
        out.push(
            Finding::new(Code::DomainNameTwice, &name, format!("domains {} are called {name}", ids.join(" and ")))
                .look("xl list"),
        );
    }
}

/// Names of links that two vifs ask for.
fn links_names(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let mut of: BTreeMap<IfName, Vec<&Vif<'_>>> = BTreeMap::new();
    for vif in &seen.vifs {
        let declared = vif.node.as_ref().and_then(|n| n.backend.get("vifname")).and_then(|name| name.parse().ok());
        let name = declared.or_else(|| vif.attach.map(|a| a.name));
        if let Some(name) = name {
            of.entry(name).or_default().push(vif);
        }
    }
    for (name, vifs) in of {
        if let [first, second, ..] = vifs[..] {
            let who: Vec<String> = vifs.iter().map(|v| v.who()).collect();
            out.push(
                Finding::new(Code::NameCollision, name, format!("{} both want to be called {name}", who.join(" and ")))
                    .seen(format!(
                        "{} came first",
                        if second.link.is_some() && first.link.is_none() { second.who() } else { first.who() }
                    )),
            );
        }
    }
}

/// Scripts and hooks.
fn around(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let around = &seen.recording.surroundings;
    for p in &around.scripts {
        out.push(
            Finding::new(Code::ScriptMissing, &p.path, format!("{}: {}", p.path, p.why)).look(sh!("ls -l {}", p.path)),
        );
    }
    for p in &around.hooks {
        out.push(
            Finding::new(Code::HookBroken, &p.path, format!("{}: {}", p.path, p.why)).look(sh!("ls -l {}", p.path)),
        );
    }
    for call in &around.old_calls {
        out.push(
            Finding::new(
                Code::ScriptOfOldXen,
                &call.path,
                format!("line {} calls {}, which Xen {} does not have any more", call.line, call.function, call.since),
            )
            .seen(
                around
                    .xen
                    .as_ref()
                    .map_or("which Xen this is, is not known".to_owned(), |x| format!("this is Xen {x}")),
            )
            .look(sh!("sed -n {}p {}", call.line, call.path)),
        );
    }
    for subject in &seen.recording.open {
        out.push(
            Finding::new(Code::Interrupted, subject, format!("an operation on {subject} was begun and not ended"))
                .by_request("xennet recover", Request::Recover(*subject)),
        );
    }
    for name in &seen.recording.awaited {
        out.push(
            Finding::new(Code::Unconfirmed, name, format!("the last start of network {name} is not confirmed"))
                .seen(format!("{}", Subject::Network(*name)))
                .by_command(sh!("xennet confirm {}", name)),
        );
    }
}
