//! The way out: uplinks, default routes, the gateway.

use std::net::IpAddr;

use super::finding::{Finding, sh, word};
use super::seen::Seen;
use super::table::Code;
use crate::model::{Egress, IfName, NetworkMode, Request, Subject};
use crate::plan::Goal;
use crate::snapshot::{Family, Link, LinkKind, Route, RouteKind};

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for (network, bridge, uplink) in seen.uplinks() {
        let name = network.name();
        let Some(link) = seen.link(&uplink) else {
            let cards = cards(seen);
            let finding = Finding::new(
                Code::UplinkMissing,
                uplink,
                format!("network {name} leaves by {uplink}, and there is no such link"),
            );
            out.push(finding.seen(format!("cards here: {cards}")));
            continue;
        };
        if seen.link(&bridge).is_some() && link.master != Some(bridge) {
            let now = link.master.map_or("of no bridge".to_owned(), |master| format!("of {master}"));
            out.push(
                Finding::new(Code::UplinkLost, uplink, format!("{uplink} is a port {now}; it belongs to {bridge}"))
                    .seen(format!("network {name} was started with {uplink} as the uplink of {bridge}"))
                    .by_request(sh!("xennet network start {}", name), Request::Recover(Subject::Network(name))),
            );
        }
    }
    for link in outer_links(seen) {
        carrier(seen, link, out);
    }
    default_routes(seen, out);
}

fn cards(seen: &Seen<'_>) -> String {
    let is_card = |name: &&IfName| !seen.is_of_guest(name);
    let plain = seen.snapshot().links.iter().filter(|(_, l)| l.kind == LinkKind::Plain);
    let names: Vec<&str> = plain.map(|(name, _)| name).filter(is_card).map(IfName::as_str).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

/// The links by which guests leave: uplinks of bridges with guests, and those of NAT and routed networks.
fn outer_links(seen: &Seen<'_>) -> Vec<IfName> {
    let mut links: Vec<IfName> = seen.uplinks().map(|(_, _, uplink)| uplink).collect();
    links.extend(seen.started().iter().filter_map(|s| s.outside));
    for bridge in seen.bridges() {
        // Of a bridge of somebody else's every port to the outside counts.
        links.extend(seen.outer_ports(bridge).iter().filter(|(_, l)| is_uplink(l)).map(|(name, _)| **name));
    }
    links.sort_unstable();
    links.dedup();
    links
}

/// Whether a link is one that leads out: a card, or what is made of cards.
pub(super) fn is_uplink(link: &Link) -> bool {
    match &link.kind {
        LinkKind::Plain => true,
        LinkKind::Other(kind) => ["bond", "team", "vlan"].contains(&kind.as_str()),
        _ => false,
    }
}

fn carrier(seen: &Seen<'_>, name: IfName, out: &mut Vec<Finding>) {
    let Some(link) = seen.link(&name) else { return };
    if !link.up {
        // A bridge that is down is a finding of its own.
        if link.bridge.is_none() {
            let finding = Finding::new(Code::UplinkDown, name, format!("{name} is down, and guests leave by it"));
            let of_network =
                seen.uplinks().find(|(_, _, uplink)| *uplink == name).map(|(network, _, _)| network.name());
            out.push(match of_network {
                Some(network) => {
                    finding.by_request(sh!("ip link set {} up", name), Request::Recover(Subject::Network(network)))
                }
                None => finding.by_command(sh!("ip link set {} up", name)),
            });
        }
        return;
    }
    let Some(details) = seen.details_of(&name) else { return };
    // What it sits on has no carrier either, and is where to look.
    if let Some(lower) = details.lower.filter(|lower| !details.carrier && seen.link(lower).is_some()) {
        return carrier(seen, lower, out);
    }
    if !details.carrier && link.bridge.is_none() {
        out.push(
            Finding::new(Code::UplinkWithoutCarrier, name, format!("{name} is up, and has no carrier"))
                .seen(format!("ip link show {name} says NO-CARRIER")),
        );
    }
    let (rx, tx) = (details.counters.rx_errors, details.counters.tx_errors);
    if rx > 0 || tx > 0 {
        out.push(
            Finding::new(Code::LinkErrors, name, format!("{name} has counted {rx} errors received and {tx} sent"))
                .look(sh!("ip -s -s link show {}", name)),
        );
    }
}

/// Whether a route leads out.
fn is_default(route: &Route, family: Family) -> bool {
    route.table == Route::MAIN
        && route.kind == RouteKind::Unicast
        && route.destination.prefix() == 0
        && Family::of(&route.destination.ip()) == family
}

/// The default route that is taken: the one with the lowest metric.
pub(super) fn default_route<'a>(seen: &Seen<'a>, family: Family) -> Option<&'a Route> {
    seen.snapshot().routes.iter().filter(|r| is_default(r, family)).min_by_key(|r| r.metric)
}

/// The default route that a bridge took over from its uplink, as the command that makes it again.
fn carried(seen: &Seen<'_>, family: Family) -> Option<String> {
    seen.recording.records.iter().find_map(|entry| {
        let Goal::Start { started, carried } = &entry.goal else { return None };
        let bridge = started.network.bridge().map(|b| b.name())?;
        let route = carried.routes.iter().find(|r| is_default(r, family))?;
        let six = if family == Family::Ipv6 { "-6 " } else { "" };
        Some(format!("ip {six}route add default via {} dev {}", route.gateway?, word(&bridge)))
    })
}

fn default_routes(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    for s in seen.started() {
        let egress = match s.network.mode() {
            NetworkMode::Nat(n) => &n.egress,
            NetworkMode::Routed(r) => &r.uplink,
            NetworkMode::Bridge(_) => continue,
        };
        if *egress != Egress::DefaultRoute {
            continue;
        }
        for family in Family::BOTH {
            // Guests of a NAT network that had no way out in IPv6 were promised none.
            let has_way = family == Family::Ipv4 || s.source.iter().any(|a| Family::of(a) == family);
            let is_needed = s.network.routes(family == Family::Ipv6) && has_way;
            // One in another table may be what policy rules lead to.
            let elsewhere =
                seen.snapshot().routes.iter().any(|r| is_default(&Route { table: Route::MAIN, ..r.clone() }, family));
            if is_needed && !elsewhere {
                let name = s.network.name();
                let cause =
                    format!("network {name} leaves by the default route of {}, and there is none", family.name());
                let was = s.outside.map_or("unknown".to_owned(), |o| o.to_string());
                let finding = Finding::new(Code::NoDefaultRoute, format!("network {name}"), cause)
                    .seen(format!("at its start it led to {was}"));
                out.push(match carried(seen, family) {
                    Some(command) => finding.by_command(command),
                    None => finding,
                });
            }
        }
    }
    for family in Family::BOTH {
        let Some(best) = default_route(seen, family) else { continue };
        let gateways: Vec<(IpAddr, Option<IfName>)> =
            best.gateways().map(|(to, link)| (to, link.or(best.link))).collect();
        for n in &seen.details().neighbours {
            if n.silent
                && gateways.contains(&(n.address, Some(n.link)))
                && !(seen.started().is_empty() && seen.vifs.is_empty())
            {
                out.push(
                    Finding::new(
                        Code::GatewaySilent,
                        n.address,
                        format!("{} was asked on {}, and is silent", n.address, n.link),
                    )
                    .seen(format!("the default route of {} leads to it", family.name()))
                    .look(sh!("ip neigh show {}", n.address)),
                );
            }
        }
        let all = seen.snapshot().routes.iter().filter(|r| is_default(r, family));
        let same: Vec<String> =
            all.filter(|r| r.metric == best.metric).filter_map(|r| Some(r.link?.to_string())).collect();
        if same.len() > 1 {
            out.push(
                Finding::new(
                    Code::MultipleDefaultRoutes,
                    family.name(),
                    format!("default routes through {} have metric {}", same.join(" and "), best.metric),
                )
                .look("ip route show default"),
            );
        }
    }
}
