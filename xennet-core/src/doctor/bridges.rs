//! Bridges and their ports.

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use super::uplinks::is_uplink;
use crate::model::{BridgeSpec, IfName, Request, Started, Subject};
use crate::snapshot::{Address, BridgeState, Link, LinkKind, PortForwarding};
use crate::text::printable;

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    missing(seen, out);
    for bridge in seen.bridges() {
        let Some((link, state)) = seen.link(&bridge).and_then(|l| Some((l, l.bridge.as_ref()?))) else { continue };
        down(seen, bridge, link, state, out);
        delay(seen, bridge, link, state, out);
        snooping(seen, bridge, state, out);
        two_uplinks(seen, bridge, state, out);
    }
    ports(seen, out);
}

/// Bridges that vifs name and that are not there, or are something else.
fn missing(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let mut named: Vec<(IfName, Vec<String>)> = Vec::new();
    for vif in &seen.vifs {
        let Some(bridge) = vif.bridge() else { continue };
        // The name of a started network stands for how it connects its guests.
        if seen.started().iter().any(|s| s.network.name() == bridge && !s.network.is_bridge()) {
            continue;
        }
        match named.iter_mut().find(|(name, _)| *name == bridge) {
            Some((_, guests)) => guests.push(vif.who()),
            None => named.push((bridge, vec![vif.who()])),
        }
    }
    for (network, bridge, _) in seen.uplinks() {
        if !named.iter().any(|(name, _)| *name == bridge) {
            named.push((bridge, vec![format!("network {}", network.name())]));
        }
    }
    for (bridge, whose) in named {
        let finding = match seen.link(&bridge) {
            None => {
                let others: Vec<&str> = bridges_here(seen);
                let here = if others.is_empty() {
                    "there is no bridge".into()
                } else {
                    format!("bridges here: {}", others.join(", "))
                };
                Finding::new(Code::BridgeMissing, bridge, format!("there is no link {bridge}")).seen(here)
            }
            Some(link) if link.kind != LinkKind::Bridge => {
                Finding::new(Code::NotABridge, bridge, format!("{bridge} is {}", kind(&link.kind)))
            }
            Some(_) => continue,
        };
        let is_missing = finding.code == Code::BridgeMissing;
        let finding = finding.all_seen(whose.iter().map(|who| format!("{who} is to be on it")));
        let started = seen.started().iter().find(|s| s.network.bridge().is_some_and(|b| b.name() == bridge));
        out.push(match started {
            _ if !is_missing => finding.seen("give one of the two another name"),
            Some(s) => match renamed(seen, s) {
                Some(now) => finding.seen(format!("{now} is that bridge by another name")).by_command(sh!(
                    "ip link set {} name {}",
                    now,
                    bridge
                )),
                None => again(seen, finding, s.network.name()),
            },
            None => finding.seen("xennet did not make it, and does not know its uplink and addresses"),
        });
    }
}

/// The bridge of a started network that has another name by now: it has the uplink, or the MAC that it was given.
fn renamed(seen: &Seen<'_>, started: &Started) -> Option<IfName> {
    let uplink = seen.uplinks().find(|(network, _, _)| network.name() == started.network.name());
    let of_uplink = uplink.and_then(|(_, _, uplink)| seen.link(&uplink)?.master);
    let is_it = |name: &IfName, link: &Link| {
        link.kind == LinkKind::Bridge
            && (of_uplink == Some(*name) || (link.mac.is_some() && link.mac == started.bridge_mac))
    };
    seen.snapshot().links.iter().find(|(name, link)| is_it(name, link)).map(|(name, _)| *name)
}

/// How the bridge of a started network is made again. What had moved to it from the uplink comes back by a stop alone.
fn again(seen: &Seen<'_>, finding: Finding, name: IfName) -> Finding {
    match seen.uplinks().any(|(network, _, _)| network.name() == name) {
        true => finding.by_command(sh!("xennet network stop {} --force && xennet network start {}", name, name)),
        false => finding.by_request(sh!("xennet network start {}", name), Request::Recover(Subject::Network(name))),
    }
}

fn bridges_here<'a>(seen: &Seen<'a>) -> Vec<&'a str> {
    let all = seen.snapshot().links.iter();
    all.filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, _)| name.as_str()).collect()
}

fn kind(kind: &LinkKind) -> String {
    match kind {
        LinkKind::Loopback => "the loopback link".into(),
        LinkKind::Plain => "a card, or a vif".into(),
        LinkKind::Bridge => "a bridge".into(),
        LinkKind::Veth => "one end of a veth".into(),
        LinkKind::Tun => "a tun or tap".into(),
        LinkKind::Ifb => "an ifb".into(),
        LinkKind::Macvlan => "a macvlan".into(),
        LinkKind::Other(name) => format!("a link of kind {}", printable(name)),
    }
}

/// The bridge as it is, as a wish: nothing of it changes but that it is there and up.
fn as_it_is(bridge: IfName, state: &BridgeState) -> BridgeSpec {
    let spec = BridgeSpec::new(bridge).with_stp(state.stp);
    let delay = std::time::Duration::from_millis(u64::from(state.forward_delay_cs).saturating_mul(10));
    spec.clone().with_forward_delay(delay).unwrap_or(spec)
}

fn down(seen: &Seen<'_>, bridge: IfName, link: &Link, state: &BridgeState, out: &mut Vec<Finding>) {
    if link.up {
        return;
    }
    let ports = seen.snapshot().ports(&bridge).count();
    let finding = Finding::new(Code::BridgeDown, bridge, format!("bridge {bridge} is down, and has {ports} ports"));
    out.push(finding.by_request(sh!("ip link set {} up", bridge), Request::Bridge(Box::new(as_it_is(bridge, state)))));
}

/// The shortest delay that a bridge with a spanning tree takes, in hundredths of a second (`BR_MIN_FORWARD_DELAY`).
const SHORTEST_DELAY: u32 = 200;

fn delay(seen: &Seen<'_>, bridge: IfName, link: &Link, state: &BridgeState, out: &mut Vec<Finding>) {
    // Without the spanning tree a port forwards at once (br_make_forwarding).
    if !state.stp || state.forward_delay_cs <= SHORTEST_DELAY || !link.up {
        return;
    }
    let wanted = |s: &BridgeSpec| s.name() == bridge && s.stp();
    if seen.started().iter().filter_map(|s| s.network.bridge()).any(wanted) {
        return;
    }
    let seconds = f64::from(state.forward_delay_cs) / 100.0;
    // The tree itself may be what keeps a loop closed, so it stays.
    out.push(
        Finding::new(
            Code::ForwardDelay,
            bridge,
            format!("a new port of {bridge} forwards after {:.0} seconds", seconds * 2.0),
        )
        .seen(format!("the spanning tree is on, and the forward delay is {seconds:.0} seconds"))
        .by_command(sh!("ip link set {} type bridge forward_delay {}", bridge, SHORTEST_DELAY)),
    );
}

fn snooping(seen: &Seen<'_>, bridge: IfName, state: &BridgeState, out: &mut Vec<Finding>) {
    let asked = seen.details_of(&bridge).and_then(|d| d.querier_seen);
    let has_guests = seen.snapshot().ports(&bridge).any(|(name, _)| seen.is_of_guest(name));
    if state.multicast_snooping && asked == Some(false) && has_guests {
        out.push(
            Finding::new(Code::SnoopingWithoutQuerier, bridge, format!("{bridge} tracks groups, and knows no querier"))
                .seen("multicast_snooping is 1, multicast_querier is 0, and no router has asked")
                .by_command(sh!("ip link set {} type bridge mcast_snooping 0", bridge)),
        );
    }
}

fn two_uplinks(seen: &Seen<'_>, bridge: IfName, state: &BridgeState, out: &mut Vec<Finding>) {
    let has_carrier = |name: &IfName| seen.details_of(name).is_none_or(|d| d.carrier);
    let outer = seen.outer_ports(bridge);
    let cards: Vec<String> = outer
        .iter()
        .filter(|(name, link)| is_uplink(link) && link.up && has_carrier(name))
        .map(|(name, _)| name.to_string())
        .collect();
    if cards.len() > 1 && !state.stp {
        out.push(
            Finding::new(Code::TwoUplinks, bridge, format!("{} are ports of {bridge}", cards.join(" and ")))
                .seen("the spanning tree is off"),
        );
    }
}

/// What is wrong with a port, whoever's it is.
fn ports(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for (name, link) in &seen.snapshot().links {
        let Some(bridge) = link.master.filter(|m| seen.link(m).is_some_and(|m| m.kind == LinkKind::Bridge)) else {
            continue;
        };
        blocked(seen, *name, link, bridge, out);
        let counts = |a: &&Address| !a.is_own() && !a.is_temporary();
        let addresses: Vec<&Address> = seen.snapshot().addresses_of(name).filter(counts).collect();
        for address in addresses {
            let of_guest = seen.is_of_guest(name);
            let (code, cause) = match of_guest {
                true => (Code::AddressOnVif, format!("{} is on {name}, which is a port of {bridge}", address.address)),
                false => (Code::AddressOnPort, format!("{} is on {name}, a port of {bridge}", address.address)),
            };
            let finding = Finding::new(code, name, cause);
            out.push(match of_guest {
                true => finding.by_command(sh!("ip address del {} dev {}", address.address, name)),
                // Its routes go with it, so a command alone could cost this host its way out.
                false => finding.seen(format!("move the address and the routes of {name} to {bridge}")),
            });
        }
    }
}

/// A port that does not forward, although it could. One that waits for the forward delay is told of its bridge, and one that the spanning
/// tree has closed has a reason as long as another one leads out.
fn blocked(seen: &Seen<'_>, name: IfName, link: &Link, bridge: IfName, out: &mut Vec<Finding>) {
    let forwards =
        |name: &IfName| seen.details_of(name).is_some_and(|d| d.port_state == Some(PortForwarding::Forwarding));
    let is_up = link.up && seen.link(&bridge).is_some_and(|b| b.up);
    let Some(details) = seen.details_of(&name).filter(|d| is_up && d.carrier) else { return };
    let has_tree = seen.link(&bridge).and_then(|l| l.bridge.as_ref()).is_some_and(|b| b.stp);
    let is_closed_by_tree = has_tree
        && !seen.is_of_guest(&name)
        && seen.outer_ports(bridge).iter().any(|(other, _)| **other != name && forwards(other));
    let (state, is_set) = match details.port_state {
        Some(PortForwarding::Blocking) => ("blocking", !has_tree),
        Some(PortForwarding::Disabled) => ("disabled", true),
        _ => return,
    };
    if is_closed_by_tree || !seen.bridges().contains(&bridge) {
        return;
    }
    let finding = Finding::new(Code::PortBlocked, name, format!("{name} is {state} on {bridge}"))
        .look(sh!("bridge -d link show dev {}", name));
    out.push(if is_set { finding.by_command(sh!("bridge link set dev {} state 3", name)) } else { finding });
}
