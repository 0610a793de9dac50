//! Addresses, routes, policy rules, neighbours.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, CacheInfo};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop, RouteNextHopFlags, RouteType,
    RouteVia,
};
use rtnetlink::packet_route::rule::{RuleAction as Action, RuleAttribute, RuleFlags, RuleMessage};

use crate::backend::netlink::Netlink;
use crate::backend::netlink::refusal::Refusal;
use crate::backend::netlink::wire::{APPEND, CREATE, REPLACE};
use crate::error::Errno;
use crate::snapshot::{Address, Family, Neighbour, NeighbourKind, NextHop, Route, RouteKind, Rule, RuleAction};
use crate::step::{AddrStep, NeighStep, RouteStep, RuleStep};

/// packet-route has no type for it.
const IFA_RT_PRIORITY: u16 = 9;

/// The longest label (`IFNAMSIZ` without the final zero): a longer one does not reach the kernel, which would say
/// `ERANGE`.
const LABEL: usize = 15;

/// The most ways of a route: an attribute holds 64 KiB, a way takes up to 32 bytes, and the kernel has its own limits.
const WAYS: usize = 1024;

pub(super) fn family_of(address: &IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

pub(super) fn address(netlink: &mut Netlink, step: &AddrStep) -> Result<(), Refusal> {
    match step {
        AddrStep::Add(address) => {
            let message = address_message(netlink, address)?;
            netlink.create(&Rtnl::NewAddress(message))
        }
        AddrStep::Del(address) => {
            let message = address_message(netlink, address)?;
            netlink.send(0, &Rtnl::DelAddress(message))
        }
    }
}

fn address_message(netlink: &mut Netlink, address: &Address) -> Result<AddressMessage, Refusal> {
    let mut message = AddressMessage::default();
    let own = address.address.ip();
    message.header.family = family_of(&own);
    message.header.prefix_len = address.address.prefix();
    message.header.scope = address.scope.into();
    message.header.index = netlink.number_by_name(&address.link)?;
    let attributes = &mut message.attributes;
    // IFA_ADDRESS is the other end; without one it is the address again.
    attributes.push(AddressAttribute::Local(own));
    attributes.push(AddressAttribute::Address(address.peer.unwrap_or(own)));
    attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
    if let Some(label) = &address.label {
        if label.len() > LABEL {
            return Err(Refusal::new(Errno::ERANGE)
                .with_message(format!("a label has at most {LABEL} bytes, this one has {}", label.len())));
        }
        attributes.push(AddressAttribute::Label(label.clone()));
    }
    let mut flags = AddressFlags::from_bits_retain(address.flags & Address::TRAVELS);
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    flags.set(AddressFlags::Nodad, address.nodad);
    if !flags.is_empty() {
        attributes.push(AddressAttribute::Flags(flags));
    }
    if address.metric != 0 {
        attributes.push(AddressAttribute::Other(DefaultNla::new(IFA_RT_PRIORITY, address.metric.to_ne_bytes().into())));
    }
    if let Some((valid, preferred)) = address.lifetime {
        let mut info = CacheInfo::default();
        info.ifa_valid = valid;
        info.ifa_preferred = preferred;
        attributes.push(AddressAttribute::CacheInfo(info));
    }
    Ok(message)
}

pub(super) fn route(netlink: &mut Netlink, step: &RouteStep) -> Result<(), Refusal> {
    match step {
        RouteStep::Add(route) => {
            let message = route_message(netlink, route)?;
            netlink.create(&Rtnl::NewRoute(message))
        }
        RouteStep::Replace(route) => {
            let message = route_message(netlink, route)?;
            netlink.send(CREATE | REPLACE, &Rtnl::NewRoute(message))
        }
        RouteStep::Append(route) => {
            let message = route_message(netlink, route)?;
            netlink.send(CREATE | APPEND, &Rtnl::NewRoute(message))
        }
        RouteStep::Prepend(route) => {
            let message = route_message(netlink, route)?;
            netlink.send(CREATE, &Rtnl::NewRoute(message))
        }
        RouteStep::Del(route) => {
            let message = route_message(netlink, route)?;
            netlink.send(0, &Rtnl::DelRoute(message))
        }
    }
}

fn route_message(netlink: &mut Netlink, route: &Route) -> Result<RouteMessage, Refusal> {
    let destination = route.destination.ip();
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_of(&destination);
    header.destination_prefix_length = route.destination.prefix();
    header.tos = route.tos;
    // Numbers beyond one octet are told by the attribute alone.
    header.table = u8::try_from(route.table).unwrap_or(0);
    header.protocol = route.protocol.into();
    header.scope = route.scope.into();
    header.kind = match route.kind {
        RouteKind::Unicast => RouteType::Unicast,
        RouteKind::Blackhole => RouteType::BlackHole,
        RouteKind::Unreachable => RouteType::Unreachable,
        RouteKind::Prohibit => RouteType::Prohibit,
        RouteKind::Throw => RouteType::Throw,
        RouteKind::Local => RouteType::Local,
        RouteKind::Broadcast => RouteType::Broadcast,
        RouteKind::Anycast => RouteType::Anycast,
        RouteKind::Multicast => RouteType::Multicast,
    };
    if route.onlink {
        header.flags |= RouteFlags::Onlink;
    }
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    attributes.push(RouteAttribute::Destination(destination.into()));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    if let Some(link) = &route.link {
        attributes.push(RouteAttribute::Oif(netlink.number_by_name(link)?));
    }
    attributes.extend(route.gateway.map(|gateway| gateway_attribute(&destination, gateway)));
    attributes.extend(route.source.map(|source| RouteAttribute::PrefSource(source.into())));
    let others =
        route.metrics.iter().map(|(kind, n)| RouteMetric::Other(DefaultNla::new(*kind, n.to_ne_bytes().into())));
    let metrics: Vec<RouteMetric> = route.mtu.map(RouteMetric::Mtu).into_iter().chain(others).collect();
    if !metrics.is_empty() {
        attributes.push(RouteAttribute::Metrics(metrics));
    }
    attributes.extend(route.expires.0.map(RouteAttribute::Expires));
    if route.preference != 0 {
        attributes.push(RouteAttribute::Preference(route.preference.into()));
    }
    if route.next_hops.len() > WAYS {
        return Err(Refusal::new(Errno::EMSGSIZE)
            .with_message(format!("a route has at most {WAYS} ways, this one has {}", route.next_hops.len())));
    }
    if !route.next_hops.is_empty() {
        let hops = route.next_hops.iter().map(|hop| next_hop(netlink, &destination, hop));
        attributes.push(RouteAttribute::MultiPath(hops.collect::<Result<_, _>>()?));
    }
    Ok(message)
}

/// A gateway of the other family has an attribute of its own (IPv4 routes through an IPv6 neighbour).
fn gateway_attribute(destination: &IpAddr, gateway: IpAddr) -> RouteAttribute {
    match (destination, gateway) {
        (IpAddr::V4(_), IpAddr::V6(gateway)) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (_, gateway) => RouteAttribute::Gateway(RouteAddress::from(gateway)),
    }
}

fn next_hop(netlink: &mut Netlink, destination: &IpAddr, hop: &NextHop) -> Result<RouteNextHop, Refusal> {
    let mut told = RouteNextHop::default();
    // The kernel's field is the weight less one, in one octet.
    told.hops = hop.weight.checked_sub(1).and_then(|hops| u8::try_from(hops).ok()).ok_or_else(|| {
        Refusal::new(Errno::EINVAL).with_message(format!("the weight of a way is 1 to 256, not {}", hop.weight))
    })?;
    if hop.onlink {
        told.flags |= RouteNextHopFlags::Onlink;
    }
    if let Some(link) = &hop.link {
        told.interface_index = netlink.number_by_name(link)?;
    }
    told.attributes.extend(hop.gateway.map(|gateway| gateway_attribute(destination, gateway)));
    Ok(told)
}

pub(super) fn rule(netlink: &mut Netlink, step: &RuleStep) -> Result<(), Refusal> {
    match step {
        RuleStep::Add(rule) => netlink.create(&Rtnl::NewRule(rule_message(rule))),
        RuleStep::Del(rule) => netlink.send(0, &Rtnl::DelRule(rule_message(rule))),
    }
}

fn rule_message(rule: &Rule) -> RuleMessage {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = match rule.family {
        Family::Ipv4 => AddressFamily::Inet,
        Family::Ipv6 => AddressFamily::Inet6,
    };
    let prefix = |network: &Option<IpNetwork>| network.map_or(0, |network| network.prefix());
    header.src_len = prefix(&rule.from);
    header.dst_len = prefix(&rule.to);
    if rule.not {
        header.flags |= RuleFlags::Invert;
    }
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.extend(rule.from.map(|from| RuleAttribute::Source(from.ip())));
    attributes.extend(rule.to.map(|to| RuleAttribute::Destination(to.ip())));
    attributes.extend(rule.iif.map(|link| RuleAttribute::Iifname(link.as_str().to_owned())));
    attributes.extend(rule.oif.map(|link| RuleAttribute::Oifname(link.as_str().to_owned())));
    if let Some((mark, mask)) = rule.mark {
        attributes.push(RuleAttribute::FwMark(mark));
        attributes.push(RuleAttribute::FwMask(mask));
    }
    attributes.push(RuleAttribute::Protocol(rule.protocol.into()));
    header.action = match rule.action {
        RuleAction::Table(table) => {
            header.table = u8::try_from(table).unwrap_or(0);
            attributes.push(RuleAttribute::Table(table));
            Action::ToTable
        }
        RuleAction::Goto(target) => {
            attributes.push(RuleAttribute::Goto(target));
            Action::Goto
        }
        RuleAction::Blackhole => Action::Blackhole,
        RuleAction::Unreachable => Action::Unreachable,
        RuleAction::Prohibit => Action::Prohibit,
        RuleAction::Nop => Action::Nop,
    };
    message
}

pub(super) fn neighbour(netlink: &mut Netlink, step: &NeighStep) -> Result<(), Refusal> {
    match step {
        NeighStep::Add(neighbour) => {
            let message = neighbour_message(netlink, neighbour)?;
            netlink.create(&Rtnl::NewNeighbour(message))
        }
        NeighStep::Del(neighbour) => {
            let message = neighbour_message(netlink, neighbour)?;
            netlink.send(0, &Rtnl::DelNeighbour(message))
        }
    }
}

fn neighbour_message(netlink: &mut Netlink, neighbour: &Neighbour) -> Result<NeighbourMessage, Refusal> {
    let mut message = NeighbourMessage::default();
    let header = &mut message.header;
    header.family = family_of(&neighbour.address);
    header.ifindex = netlink.number_by_name(&neighbour.link)?;
    message.attributes.push(NeighbourAttribute::Destination(match neighbour.address {
        IpAddr::V4(address) => NeighbourAddress::Inet(address),
        IpAddr::V6(address) => NeighbourAddress::Inet6(address),
    }));
    match neighbour.kind {
        NeighbourKind::Permanent(mac) => {
            header.state = NeighbourState::Permanent;
            message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.octets().to_vec()));
        }
        NeighbourKind::Proxy => header.flags = NeighbourFlags::Proxy,
    }
    Ok(message)
}
