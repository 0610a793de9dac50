//! The rules for one network as a whole. They are those of networks.toml, wherever the description comes from.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{
    ForeignChain, ForeignHook, LanAccess, NetworkMode, PortForward, RoutedNetwork, Services, Subnet, overlap, unusable,
};
use crate::model::flaw::{Flaw, quoted};
use crate::model::{AddressRange, BridgeSpec, Egress, GuestLinks, IfName, VifId};

/// A place in a description: a key of the file, an item if the key is a list, and a key of that item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The key; empty for the network's name.
    pub(crate) key: &'static str,
    pub(crate) item: Option<usize>,
    pub(crate) part: &'static str,
}

impl Place {
    pub(super) const NAME: Place = Place::key("");

    pub(super) const fn key(key: &'static str) -> Self {
        Place { key, item: None, part: "" }
    }

    pub(super) const fn item(key: &'static str, item: usize) -> Self {
        Place { key, item: Some(item), part: "" }
    }

    const fn part(self, part: &'static str) -> Self {
        Place { part, ..self }
    }
}

type Flawed = Result<(), Box<Flaw<Place>>>;

pub(super) fn check(name: &IfName, mode: &NetworkMode) -> Flawed {
    match mode {
        NetworkMode::Bridge(n) => {
            link("bridge", &n.bridge.name())?;
            whole_seconds(&n.bridge)?;
            for (key, given) in [("uplink", n.uplink), ("uplink_name", n.uplink_name)] {
                given.map_or(Ok(()), |given| link(key, &given))?;
            }
            reserved(&n.reserved, &[])?;
            uplink(&n.bridge.name(), n.uplink, n.uplink_name)
        }
        NetworkMode::Nat(n) => {
            if n.any_vif && n.guests != GuestLinks::PerVif {
                let message = "any_vif means nothing with bridge";
                return Err(Flaw::new(Place::key("any_vif"), message, "it is about guests with links of their own")
                    .hint("leave it out, or leave bridge out"));
            }
            if n.policy.is_some() && n.guests == GuestLinks::PerVif {
                let message = "policy means nothing without bridge";
                return Err(Flaw::new(
                    Place::key("policy"),
                    message,
                    "guests with links of their own send from their addresses only",
                )
                .hint("leave it out, or let guests share a bridge: bridge = \"natbr0\""));
            }
            if !n.reserved.is_empty() && n.guests == GuestLinks::PerVif {
                let message = "reserved means nothing without bridge";
                let rule = "guests with links of their own send from their addresses only";
                return Err(Flaw::new(Place::key("reserved"), message, rule)
                    .hint("leave it out, or let guests share a bridge: bridge = \"natbr0\""));
            }
            reserved(&n.reserved, &n.services.range)?;
            outside("egress", &n.egress)?;
            subnets(&n.subnets)?;
            if let GuestLinks::Bridge(bridge) = &n.guests {
                link("bridge", &bridge.name())?;
                private(bridge, n)?;
            }
            services(&n.services, &n.subnets)?;
            closed_lan(n.lan, &n.subnets)?;
            reachable_from(&n.reachable_from, &n.subnets)?;
            accept_in(&n.accept_in, &n.subnets, &n.services)?;
            forwards(&n.forwards, &n.subnets)
        }
        NetworkMode::Routed(n) => {
            outside("uplink", &n.uplink)?;
            subnets(&n.subnets)?;
            source(&n.source)?;
            if n.metric == 0 {
                let message = "metric cannot be 0";
                return Err(Flaw::new(Place::key("metric"), message, "at least 1: the emulated twin's is one less")
                    .hint("leave it out for 2, which Xen's scripts use"));
            }
            services(&n.services, &n.subnets)?;
            accept_in(&n.accept_in, &n.subnets, &n.services)?;
            closed_lan(n.lan, &n.subnets)?;
            about_subnets(n)
        }
    }
    .and_then(|()| named(name))
}

/// A network's name is used in `bridge=`, even if the network has no bridge.
fn named(name: &IfName) -> Flawed {
    match not_a_link(name) {
        Some(rule) => {
            Err(Flaw::new(Place::NAME, format!("a network cannot be called {}", quoted(name.as_str())), rule)
                .hint("its name stands in vif lines, where a bridge's does"))
        }
        None => Ok(()),
    }
}

/// Why a bridge, an uplink or an egress cannot have this name.
fn not_a_link(name: &IfName) -> Option<&'static str> {
    if name.as_str() == "lo" {
        Some("a link towards others, and lo leads to this host alone")
    } else if VifId::from_vif_name(name.as_str()).is_some() || name.as_str().ends_with("-emu") {
        Some("no link of this form: such names are those of guests' links")
    } else {
        None
    }
}

fn link(key: &'static str, name: &IfName) -> Flawed {
    match not_a_link(name) {
        Some(rule) => Err(Flaw::new(Place::key(key), format!("{key} cannot be {}", quoted(name.as_str())), rule)),
        None => Ok(()),
    }
}

fn outside(key: &'static str, given: &Egress) -> Flawed {
    match given {
        Egress::DefaultRoute => Ok(()),
        Egress::Link(name) => link(key, name),
    }
}

fn whole_seconds(bridge: &BridgeSpec) -> Flawed {
    match bridge.forward_delay().subsec_nanos() {
        0 => Ok(()),
        _ => {
            let message = format!("forward_delay cannot be {} s", bridge.forward_delay().as_secs_f64());
            Err(Flaw::new(Place::key("forward_delay"), message, "a network's is a whole number of seconds"))
        }
    }
}

fn uplink(bridge: &IfName, uplink: Option<IfName>, uplink_name: Option<IfName>) -> Flawed {
    match (uplink, uplink_name) {
        (None, Some(_)) => {
            let message = "uplink_name without an uplink";
            Err(Flaw::new(Place::key("uplink_name"), message, "a new name for the uplink")
                .hint("name the uplink: uplink = \"eth0\""))
        }
        (_, Some(name)) if name == *bridge => {
            let message = format!("the uplink and the bridge would both be called {name}");
            Err(Flaw::new(Place::key("uplink_name"), message, "another name than the bridge's"))
        }
        (Some(uplink), None) if uplink == *bridge => {
            let rule = "an uplink is a port of the bridge, and not the bridge";
            Err(Flaw::new(Place::key("uplink"), format!("{uplink} is the bridge's own name"), rule).hint(format!(
                "give the bridge another name, bridge = \"xenbr0\", or the uplink, uplink_name = \"p{uplink}\""
            )))
        }
        _ => Ok(()),
    }
}

/// A private bridge of a NAT network.
fn private(bridge: &BridgeSpec, network: &super::NatNetwork) -> Flawed {
    let place = Place::key("bridge");
    let name = bridge.name();
    if network.subnets.is_empty() {
        let message = format!("{name} has no addresses for its guests");
        return Err(Flaw::new(place, message, "a private bridge needs subnets").hint("add subnets = [\"10.0.0.0/24\"]"));
    }
    if *bridge != BridgeSpec::new(name).with_mtu(network.mtu) {
        let message = format!("{name} has settings of its own");
        return Err(Flaw::new(place, message, "a private bridge has the network's MTU, and nothing else is set"));
    }
    Ok(())
}

fn subnets(subnets: &[Subnet]) -> Flawed {
    for (at, subnet) in subnets.iter().enumerate() {
        let overlaps = |other: &Subnet| overlap(other.network(), subnet.network());
        if let Some(first) = subnets[..at].iter().position(overlaps) {
            let (given, other) = (subnet.network(), subnets[first].network());
            let message = format!("{given} and {other} overlap");
            return Err(Flaw::new(Place::item("subnets", at), message, "every address is in one subnet")
                .other(Place::item("subnets", first), format!("{other} is here")));
        }
    }
    Ok(())
}

fn source(addresses: &[IpAddr]) -> Flawed {
    for (at, address) in addresses.iter().enumerate() {
        let place = Place::item("source", at);
        if unusable(*address) {
            return Err(Flaw::new(place, format!("source cannot be {address}"), "the address of a single host"));
        }
        if let Some(first) = addresses[..at].iter().find(|other| other.is_ipv4() == address.is_ipv4()) {
            let message = format!("{address} and {first} are of one family");
            return Err(Flaw::new(place, message, "one address a family"));
        }
    }
    Ok(())
}

fn services(services: &Services, subnets: &[Subnet]) -> Flawed {
    for (key, on) in [("dhcp", services.dhcp), ("dns", services.dns)] {
        need_subnets(key, on, subnets, "guests are served in a subnet", "10.0.0.0/24")?;
    }
    for (at, range) in services.range.iter().enumerate() {
        let wrong = |rule: String| Flaw::new(Place::item("range", at), format!("{range} cannot be given out"), rule);
        if !services.dhcp {
            return Err(wrong("a range is for dhcp = true".into()));
        }
        let (first, last) = (range.first(), range.last());
        let Some(subnet) = subnets.iter().find(|s| s.network().contains(first)) else {
            return Err(wrong("addresses of one of the subnets".into()));
        };
        if !subnet.network().contains(last) {
            return Err(wrong(format!("both ends in one subnet, and {last} is not in {}", subnet.network())));
        }
        if range.contains(subnet.gateway()) {
            return Err(wrong(format!("the gateway, {}, is not a guest's", subnet.gateway())));
        }
        if let Some(what) = subnet.reserved(first).or_else(|| subnet.reserved(last)) {
            return Err(wrong(what.into()));
        }
        if services.range[..at].iter().any(|other| other.first().is_ipv4() == first.is_ipv4()) {
            return Err(wrong("one range a family".into()));
        }
    }
    Ok(())
}

/// A key that is true needs subnets.
fn need_subnets(key: &'static str, on: bool, subnets: &[Subnet], rule: &str, example: &str) -> Flawed {
    if !on || !subnets.is_empty() {
        return Ok(());
    }
    let message = match key {
        "accept_in" => "accept_in means nothing without subnets".to_owned(),
        _ => format!("{key} cannot be true without subnets"),
    };
    Err(Flaw::new(Place::key(key), message, rule).hint(format!("add subnets = [\"{example}\"]")))
}

fn reserved(given: &[IpNetwork], ranges: &[AddressRange]) -> Flawed {
    for (at, reserved) in given.iter().enumerate() {
        let place = Place::item("reserved", at);
        if reserved.network() != reserved.ip() {
            let message = format!("{reserved} has bits behind its prefix");
            return Err(Flaw::new(place, message, "an address or a network").hint(format!(
                "write {}/{}",
                reserved.network(),
                reserved.prefix()
            )));
        }
        let given_out =
            |range: &&AddressRange| range.first() <= reserved.broadcast() && reserved.network() <= range.last();
        let same_family = |range: &&AddressRange| range.first().is_ipv6() == reserved.is_ipv6();
        if let Some(range) = ranges.iter().filter(same_family).find(given_out) {
            let message = format!("{reserved} is reserved, and {range} is given out");
            return Err(Flaw::new(place, message, "what is given out is for every guest")
                .other(Place::key("range"), "the range is here"));
        }
    }
    Ok(())
}

/// Whose guests are kept from a LAN is known by their addresses.
fn closed_lan(lan: LanAccess, subnets: &[Subnet]) -> Flawed {
    if lan.is_open() || !subnets.is_empty() {
        return Ok(());
    }
    let message = "lan cannot be closed without subnets";
    Err(Flaw::new(Place::key("lan"), message, "whose guests they are is known by their addresses")
        .hint("add subnets = [\"10.0.0.0/24\"]"))
}

/// The keys of a routed network that are about all addresses of its subnets.
fn about_subnets(network: &RoutedNetwork) -> Flawed {
    for (key, on) in [("whole_subnets", network.whole_subnets), ("isolated", network.isolated)] {
        need_subnets(key, on, &network.subnets, "it is about the addresses of the subnets", "198.51.100.160/29")?;
    }
    let is_chosen = |s: &Subnet| s.network().is_ipv4() && !s.has_default_gateway();
    let services = &network.services;
    let excluded =
        [("dhcp", services.dhcp), ("dns", services.dns), ("gateways", network.subnets.iter().any(is_chosen))];
    match excluded.into_iter().find(|(_, on)| *on && network.whole_subnets) {
        None => Ok(()),
        Some((key, _)) => {
            let message = format!("{key} means nothing where guests have every address of the subnets");
            Err(Flaw::new(Place::key(key), message, "with whole_subnets = true this domain has no address in them")
                .other(Place::key("whole_subnets"), "whole_subnets is set here")
                .hint(format!("leave {key} or whole_subnets out")))
        }
    }
}

fn reachable_from(given: &[IpNetwork], subnets: &[Subnet]) -> Flawed {
    for (at, from) in given.iter().enumerate() {
        let place = Place::item("reachable_from", at);
        let wrong = |message: String, rule: &str| Flaw::new(place, message, rule.to_owned());
        if subnets.is_empty() {
            let message = "reachable_from means nothing without subnets".to_owned();
            return Err(wrong(message, "guests of such a network can be reached from every guest of this host"));
        }
        if from.network() != from.ip() {
            let message = format!("{from} has bits behind its prefix");
            return Err(wrong(message, "a network").hint(format!("write {}/{}", from.network(), from.prefix())));
        }
        if let Some(own) = subnets.iter().find(|s| overlap(s.network(), *from)) {
            let message = format!("{from} overlaps with {} of this network", own.network());
            return Err(wrong(message, "addresses of guests in other networks")
                .hint("guests of the network reach each other, unless isolated is true"));
        }
        if !subnets.iter().any(|s| s.network().is_ipv6() == from.is_ipv6()) {
            let family = if from.is_ipv6() { "IPv6" } else { "IPv4" };
            let message = format!("{from} reaches nobody: the network has no {family} subnet");
            return Err(wrong(message, "a network of a family that guests have"));
        }
    }
    Ok(())
}

/// Chains of other firewalls. The rules there tell a network's packets by its private bridge or by its subnets: so their number does not
/// grow with guests, and no hotplug call changes them.
fn accept_in(chains: &[ForeignChain], subnets: &[Subnet], services: &Services) -> Flawed {
    need_subnets("accept_in", !chains.is_empty(), subnets, "rules there tell guests by their subnets", "10.0.0.0/24")?;
    for (at, chain) in chains.iter().enumerate() {
        let place = Place::item("accept_in", at);
        if let Some(first) = chains[..at].iter().position(|other| other.is_same(chain)) {
            let (family, table) = chain.table();
            let message = format!("{family} {table} {} is named twice", chain.chain());
            return Err(Flaw::new(place, message, "a chain has the accepts of a network once")
                .other(Place::item("accept_in", first), "the first is here"));
        }
        if !subnets.iter().any(|s| chain.family().sees(s.network().is_ipv6())) {
            let (family, _) = chain.table();
            let sees = if chain.family().sees(true) { "IPv6" } else { "IPv4" };
            let message = format!("nothing could be accepted in {chain}: the network has no {sees} subnet");
            return Err(Flaw::new(place, message, format!("a table of family {family} sees {sees} packets only")));
        }
        if chain.hook() == Some(ForeignHook::Input) && !services.dhcp && !services.dns {
            let message = format!("nothing could be accepted in {chain}: the network has neither dhcp nor dns");
            return Err(Flaw::new(place, message, "an input chain gets accepts for DHCP and DNS"));
        }
    }
    Ok(())
}

fn forwards(forwards: &[PortForward], subnets: &[Subnet]) -> Flawed {
    for (at, forward) in forwards.iter().enumerate() {
        let place = Place::item("forward", at);
        let to = forward.to();
        match subnets.iter().find(|s| s.network().contains(to)) {
            _ if subnets.is_empty() => {}
            None => {
                let list: Vec<_> = subnets.iter().map(|s| s.network().to_string()).collect();
                let rule = format!("a guest's address, of {}", list.join(" or "));
                return Err(Flaw::new(place.part("to"), format!("{to} is no guest of this network"), rule));
            }
            Some(subnet) if subnet.gateway() == to => {
                let message = format!("{to} is this host's own address");
                return Err(Flaw::new(place.part("to"), message, "a guest's address"));
            }
            Some(subnet) => {
                if let Some(what) = subnet.reserved(to) {
                    return Err(Flaw::new(place.part("to"), format!("{to} is no guest's address"), what));
                }
            }
        }
        if let Some(first) = forwards[..at].iter().position(|other| other.clashes(forward)) {
            return Err(handed_on_twice(forward, place, &forwards[first], Place::item("forward", first)));
        }
    }
    Ok(())
}

/// Two forwards use one port.
pub(super) fn handed_on_twice<P>(forward: &PortForward, at: P, other: &PortForward, first: P) -> Box<Flaw<P>> {
    let port = forward.ports().0.max(other.ports().0);
    let message = format!("{} port {port} is handed on twice", forward.protocol().name());
    Flaw::new(at, message, "a port goes to one guest").other(first, format!("here it goes to {}", other.to()))
}
