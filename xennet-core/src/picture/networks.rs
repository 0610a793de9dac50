//! Networks as they are described: what starting them would make, and where guests would be.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::model::{About, Filter, Guest, Hub, HubKind, Outside, Picture, Port, Source, Uplink};
use crate::model::{Egress, IfName, Network, NetworkMode, PortForward};

impl Picture {
    /// Networks as they are described, for example in networks.toml. Where their guests would be stands how a guest gets there.
    ///
    /// `host` is whose description it is, and `at` its time in seconds since the beginning of 1970; both may be empty or 0.
    pub fn of_networks<'a>(networks: impl IntoIterator<Item = &'a Network>, host: &str, at: u64) -> Picture {
        let about = About {
            source: Source::Described,
            host: crate::text::printable(host).into_owned(),
            at,
            xennet: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut picture = Picture::of_nothing(about);
        let all: Vec<&Network> = networks.into_iter().collect();
        let uplinks: Vec<Option<Option<IfName>>> = all.iter().map(|network| leads_through(network)).collect();
        for network in &all {
            let mut hub = of_network(network);
            hub.ports.push(expected(network));
            hub.ports.extend(targets(network));
            picture.hubs.push(hub);
        }
        // What leaves through a bridge of another network leads to that bridge.
        let bridges: Vec<Option<IfName>> = picture.hubs.iter().map(|hub| hub.bridge).collect();
        for (at, way) in uplinks.into_iter().enumerate() {
            let Some(link) = way else { continue };
            let through = link.and_then(|link| bridges.iter().position(|bridge| *bridge == Some(link)));
            let outside = match through.filter(|hub| *hub != at) {
                Some(hub) => Outside::Hub(hub),
                None => Outside::Uplink(uplink(&mut picture.uplinks, link)),
            };
            if let Some(hub) = picture.hubs.get_mut(at) {
                hub.outside = Some(outside);
            }
        }
        picture.in_order()
    }
}

/// The place of an uplink, which is added if it is not there yet.
pub(super) fn uplink(uplinks: &mut Vec<Uplink>, link: Option<IfName>) -> usize {
    uplinks.iter().position(|u| u.link == link).unwrap_or_else(|| {
        uplinks.push(Uplink::new(link));
        uplinks.len() - 1
    })
}

/// The link that a network leads outside through: `Some(None)` where that is left to the default route, `None` where it leads nowhere.
fn leads_through(network: &Network) -> Option<Option<IfName>> {
    let egress = |egress: &Egress| match egress {
        Egress::DefaultRoute => Some(None),
        Egress::Link(link) => Some(Some(*link)),
    };
    match network.mode() {
        NetworkMode::Bridge(b) => b.uplink.map(|uplink| Some(b.uplink_name.unwrap_or(uplink))),
        NetworkMode::Nat(n) => egress(&n.egress),
        NetworkMode::Routed(r) => egress(&r.uplink),
    }
}

/// The hub of a network by its description alone.
pub(super) fn of_network(network: &Network) -> Hub {
    let kind = match network.mode() {
        NetworkMode::Bridge(_) => HubKind::Bridge,
        NetworkMode::Nat(_) => HubKind::Nat,
        NetworkMode::Routed(_) => HubKind::Routed,
    };
    let mut hub = Hub { networks: vec![network.name()], ..Hub::new(kind) };
    hub.bridge = network.bridge().map(|bridge| bridge.name());
    hub.subnets = network.subnets().iter().map(|s| s.network()).collect();
    hub.addresses = match network.mode() {
        NetworkMode::Bridge(_) => Vec::new(),
        NetworkMode::Nat(_) => network.subnets().iter().map(|s| IpNetwork::from(s.gateway())).collect(),
        NetworkMode::Routed(r) => {
            let source = r.source.iter().copied().map(IpNetwork::from);
            let gateways = r.gateways().map(|s| IpNetwork::from(s.gateway()));
            source.chain(gateways).collect()
        }
    };
    hub.access = network.access_in_words();
    if let NetworkMode::Nat(n) = network.mode() {
        hub.forwards = n.forwards.iter().map(forward).collect();
    }
    if let Some(services) = network.services() {
        let words = [(services.dhcp, "DHCP"), (services.dns, "DNS")];
        hub.services = words.iter().filter(|(on, _)| *on).map(|(_, word)| (*word).to_owned()).collect();
    }
    hub
}

fn forward(forward: &PortForward) -> String {
    let ports = |(first, last): (u16, u16)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let to = match forward.to() {
        IpAddr::V4(a) => a.to_string(),
        IpAddr::V6(a) => format!("[{a}]"),
    };
    let name = forward.protocol().name();
    format!("{name} {} → {to}:{}", ports(forward.ports()), ports(forward.to_ports()))
}

/// Where the guests of a network will be.
fn expected(network: &Network) -> Port {
    let name = match network.bridge() {
        Some(bridge) if network.is_bridge() => bridge.name(),
        _ => network.name(),
    };
    let filter = match network.mode() {
        NetworkMode::Bridge(_) => Filter::None,
        NetworkMode::Nat(_) | NetworkMode::Routed(_) => Filter::Gate,
    };
    let guest = Guest { name: Some(format!("guests with bridge={name}")), ..Guest::default() };
    Port { filter, guest: Some(guest), ..Port::new(None) }
}

/// The guests that connections are handed on to: these are known before they are there.
fn targets(network: &Network) -> Vec<Port> {
    let NetworkMode::Nat(nat) = network.mode() else { return Vec::new() };
    let mut ports: Vec<Port> = Vec::new();
    for address in nat.forwards.iter().map(|f| IpNetwork::from(f.to())) {
        let is_known = ports.iter().any(|p| p.guest.as_ref().is_some_and(|g| g.addresses.contains(&address)));
        if !is_known {
            let name = format!("guest with ip={}", address.ip());
            let guest = Guest { name: Some(name), addresses: vec![address], ..Guest::default() };
            ports.push(Port { filter: Filter::Gate, guest: Some(guest), ..Port::new(None) });
        }
    }
    ports
}
