//! Bridges and their ports.

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use super::uplinks::is_uplink;
use crate::model::{BridgeSpec, IfName, Request, Subject};
use crate::snapshot::{Address, BridgeState, Link, LinkKind, PortForwarding};

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
            _ if !is_missing => finding.by_command(sh!("ip link set {} name OTHER", bridge)),
            Some(s) => {
                let name = s.network.name();
                // What had moved to it from the uplink comes back by a stop alone.
                match seen.uplinks().any(|(network, _, _)| network.name() == name) {
                    true => {
                        finding.by_command(sh!("xennet network stop {} --force && xennet network start {}", name, name))
                    }
                    false => finding
                        .by_request(sh!("xennet network start {}", name), Request::Recover(Subject::Network(name))),
                }
            }
            None => finding.by_request(
                sh!("ip link add {} type bridge && ip link set {} up", bridge, bridge),
                Request::Bridge(Box::new(BridgeSpec::new(bridge))),
            ),
        });
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
        LinkKind::Other(name) => format!("a link of kind {}", super::seen::printable(name)),
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

fn delay(seen: &Seen<'_>, bridge: IfName, link: &Link, state: &BridgeState, out: &mut Vec<Finding>) {
    // Without the spanning tree a port forwards at once (br_make_forwarding).
    if !state.stp || state.forward_delay_cs == 0 || !link.up {
        return;
    }
    let wanted = |s: &BridgeSpec| s.name() == bridge && s.stp();
    if seen.started().iter().filter_map(|s| s.network.bridge()).any(wanted) {
        return;
    }
    let seconds = f64::from(state.forward_delay_cs) / 100.0;
    out.push(
        Finding::new(
            Code::ForwardDelay,
            bridge,
            format!("a new port of {bridge} forwards after {:.0} seconds", seconds * 2.0),
        )
        .seen(format!("the spanning tree is on, and the forward delay is {seconds:.0} seconds"))
        .by_request(
            sh!("ip link set {} type bridge stp_state 0 forward_delay 0", bridge),
            Request::Bridge(Box::new(BridgeSpec::new(bridge))),
        ),
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
                .seen("the spanning tree is off")
                .by_command(sh!("ip link set {} type bridge stp_state 1", bridge)),
        );
    }
}

/// What is wrong with a port, whoever's it is.
fn ports(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for (name, link) in &seen.snapshot().links {
        let Some(bridge) = link.master.filter(|m| seen.link(m).is_some_and(|m| m.kind == LinkKind::Bridge)) else {
            continue;
        };
        let state = seen.details_of(name).and_then(|d| d.port_state);
        let waits = match state {
            Some(PortForwarding::Blocking) => Some("blocking"),
            Some(PortForwarding::Listening) => Some("listening"),
            Some(PortForwarding::Learning) => Some("learning"),
            _ => None,
        };
        if let Some(waits) = waits {
            out.push(
                Finding::new(Code::PortBlocked, name, format!("{name} is {waits} on {bridge}"))
                    .seen(sh!("bridge link show dev {}", name))
                    .by_command(sh!("ip link set {} type bridge stp_state 0", bridge)),
            );
        }
        let counts = |a: &&Address| !a.is_own() && !a.is_temporary();
        let addresses: Vec<&Address> = seen.snapshot().addresses_of(name).filter(counts).collect();
        for address in addresses {
            let of_guest = seen.is_of_guest(name);
            let (code, cause) = match of_guest {
                true => (Code::AddressOnVif, format!("{} is on {name}, which is a port of {bridge}", address.address)),
                false => (Code::AddressOnPort, format!("{} is on {name}, a port of {bridge}", address.address)),
            };
            let command = match of_guest {
                true => sh!("ip address del {} dev {}", address.address, name),
                false => sh!(
                    "ip address add {} dev {} && ip address del {} dev {}",
                    address.address,
                    bridge,
                    address.address,
                    name
                ),
            };
            out.push(Finding::new(code, name, cause).by_command(command));
        }
    }
}
