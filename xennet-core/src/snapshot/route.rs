//! Routes and the rules that choose among their tables.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::Family;
use super::object::{is_false, is_zero};
use crate::model::IfName;

/// What a route does with a packet (`rtm_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RouteKind {
    /// Sends it on.
    Unicast,
    /// Drops it silently.
    Blackhole,
    /// Refuses it with "host unreachable".
    Unreachable,
    /// Refuses it with "prohibited".
    Prohibit,
    /// Goes on to the next rule.
    Throw,
    /// Delivers it here.
    Local,
    /// Broadcast.
    Broadcast,
    /// Anycast.
    Anycast,
    /// Multicast.
    Multicast,
}

/// One way of a route with several.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NextHop {
    /// The link it leaves through.
    pub link: Option<IfName>,
    /// The gateway.
    pub gateway: Option<IpAddr>,
    /// Its share, from 1.
    pub weight: u16,
    /// The gateway is reachable although no route says so.
    pub onlink: bool,
}

impl NextHop {
    /// A way through a link, without a gateway, with one share.
    pub const fn through(link: IfName) -> Self {
        NextHop { link: Some(link), gateway: None, weight: 1, onlink: false }
    }
}

setters! { NextHop {
    with_link: link = impl Into<Option<IfName>>;
    with_gateway: gateway = impl Into<Option<IpAddr>>;
    with_weight: weight = u16;
    with_onlink: onlink = bool;
} }

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Route {
    /// The table: 254 main, 253 default. Table 255 (local) is the kernel's own and never appears.
    pub table: u32,
    /// What it is for; `0.0.0.0/0` and `::/0` are the default routes.
    #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))]
    pub destination: IpNetwork,
    /// Type of service; IPv4 only.
    pub tos: u8,
    /// The metric; IPv6 routes have 1024 where none was given.
    pub metric: u32,
    /// What it does with a packet.
    pub kind: RouteKind,
    /// The link it leaves through. `None` for routes without one, and for routes with several ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<IfName>,
    /// The gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The gateway is reachable although no route says so.
    #[serde(default, skip_serializing_if = "is_false")]
    pub onlink: bool,
    /// The source address that dom0's own packets take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// Who made it (`rtm_protocol`): 2 kernel, 3 boot, 4 static.
    pub protocol: u8,
    /// `rt_scope`: 0 global, 253 link, 254 host. Always 0 for IPv6.
    pub scope: u8,
    /// The MTU on this path, if one was set on the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// The ways of a route with several; empty for others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops: Vec<NextHop>,
    /// Its other numbers (`RTAX_*`) by what they are, as the hop limit of a router advertisement's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<(u16, u32)>,
    /// How long it is there. Left out of comparisons.
    #[serde(default, skip_serializing_if = "Expiry::is_never")]
    pub expires: Expiry,
    /// What its router thinks of it (`RTA_PREF`, RFC 4191): 0 medium, 1 high, 3 low; IPv6 only.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub preference: u8,
    /// What else there is about it, which this library can neither make nor change (a tunnel, a nexthop object …): a route
    /// with such can be looked at, and not be moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beyond: Option<String>,
}

setters! { Route {
    with_table: table = u32;
    with_destination: destination = IpNetwork;
    with_tos: tos = u8;
    with_metric: metric = u32;
    with_kind: kind = RouteKind;
    with_link: link = impl Into<Option<IfName>>;
    with_onlink: onlink = bool;
    with_source: source = impl Into<Option<IpAddr>>;
    with_protocol: protocol = u8;
    with_scope: scope = u8;
    with_mtu: mtu = impl Into<Option<u32>>;
    with_next_hops: next_hops = Vec<NextHop>;
    with_metrics: metrics = Vec<(u16, u32)>;
    with_expires: expires = Expiry;
    with_preference: preference = u8;
    with_beyond: beyond = impl Into<Option<String>>;
} }

/// How many seconds something is still there; `None` for ever. Time passes between two looks at the same, so all of these are
/// equal.
///
/// There are no other parts: it is a time, or none.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Expiry(pub Option<u32>);

impl Expiry {
    /// Whether it is there for ever.
    pub(crate) const fn is_never(&self) -> bool {
        self.0.is_none()
    }
}

impl PartialEq for Expiry {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Expiry {}

impl PartialOrd for Expiry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Expiry {
    fn cmp(&self, _: &Self) -> Ordering {
        Ordering::Equal
    }
}

impl Hash for Expiry {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Route {
    /// The number of the main table.
    pub const MAIN: u32 = 254;
    /// The table of the kernel's own (`RT_TABLE_LOCAL`).
    pub const LOCAL: u32 = 255;
    /// The protocol of what the kernel makes itself (`RTPROT_KERNEL`).
    pub(crate) const BY_KERNEL: u8 = 2;
    /// The protocol of what router advertisements told (`RTPROT_RA`).
    pub(crate) const BY_ROUTERS: u8 = 9;
    /// The scope of what is reached on a link without a gateway (`RT_SCOPE_LINK`), of routes and addresses.
    pub(crate) const SCOPE_LINK: u8 = 253;

    /// Whether it has the destination, type of service and metric of another one, so that whoever replaces one of them may meet
    /// either.
    pub(crate) fn has_place_of(&self, other: &Route) -> bool {
        let place = |r: &Route| (r.table, r.destination, r.tos, r.metric);
        place(self) == place(other)
    }

    /// Whether the kernel has made it with a link's own IPv6 address, with which it comes and goes.
    pub(crate) fn is_of_own_address(&self) -> bool {
        // IP6_RT_PRIO_ADDRCONF; NetworkManager's have another one.
        const METRIC: u32 = 256;
        let is_link_local =
            matches!(self.destination, IpNetwork::V6(d) if d.prefix() == 64 && d.ip().is_unicast_link_local());
        is_link_local && self.protocol == Route::BY_KERNEL && self.metric == METRIC && self.gateway.is_none()
    }

    /// Whether the kernel has made it, with an address or because a router said so.
    pub(crate) fn is_made_by_kernel(&self) -> bool {
        [Route::BY_KERNEL, Route::BY_ROUTERS].contains(&self.protocol) && self.destination.is_ipv6()
    }

    /// The gateways, each with the link that it is on.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, Option<IfName>)> + '_ {
        let several = self.next_hops.iter().map(|hop| (hop.gateway, hop.link));
        [(self.gateway, self.link)].into_iter().chain(several).filter_map(|(gateway, link)| Some((gateway?, link)))
    }

    /// Whether a gateway on this link lies in this network.
    pub(crate) fn leads_via(&self, link: &IfName, network: &IpNetwork) -> bool {
        self.gateways().any(|(gateway, on)| on == Some(*link) && network.contains(gateway))
    }

    /// Whether it leads through a link, by its only way or by one of several.
    pub fn leads_through(&self, link: &IfName) -> bool {
        self.link == Some(*link) || self.next_hops.iter().any(|h| h.link == Some(*link))
    }

    /// A unicast route of the main table through a link, with the scope the kernel's tools would give it.
    pub fn to(destination: IpNetwork, link: IfName) -> Self {
        Route { link: Some(link), ..Route::nowhere(destination) }
    }

    /// Sets [`gateway`](Route::gateway). A route with a gateway has global scope.
    #[must_use]
    pub fn with_gateway(mut self, gateway: impl Into<Option<IpAddr>>) -> Self {
        self.gateway = gateway.into();
        if self.gateway.is_some() {
            self.scope = 0;
        }
        self
    }

    /// The route to an address of this domain's own, whatever link it is on.
    pub fn own(address: IpAddr) -> Self {
        Route {
            table: Route::LOCAL,
            kind: RouteKind::Local,
            protocol: Route::BY_KERNEL,
            scope: 254,
            ..Route::nowhere(address.into())
        }
    }

    /// What routes have in common where nothing special is said.
    fn nowhere(destination: IpNetwork) -> Self {
        Route {
            table: Route::MAIN,
            destination,
            tos: 0,
            metric: 0,
            kind: RouteKind::Unicast,
            link: None,
            gateway: None,
            onlink: false,
            source: None,
            protocol: 3,
            scope: if destination.is_ipv4() { 253 } else { 0 },
            mtu: None,
            next_hops: Vec::new(),
            metrics: Vec::new(),
            expires: Expiry(None),
            preference: 0,
            beyond: None,
        }
    }
}

/// A policy routing rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rule {
    /// The family it is for.
    pub family: Family,
    /// Rules are tried in ascending order.
    pub priority: u32,
    /// Only packets from here.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Net>"))]
    pub from: Option<IpNetwork>,
    /// Only packets to there.
    #[cfg_attr(feature = "schema", schemars(with = "Option<crate::schema::Net>"))]
    pub to: Option<IpNetwork>,
    /// Only packets that came in by this link.
    pub iif: Option<IfName>,
    /// Only packets that leave through this link.
    pub oif: Option<IfName>,
    /// Only packets with this mark, under this mask.
    pub mark: Option<(u32, u32)>,
    /// The rule holds for all other packets.
    pub not: bool,
    /// What is done.
    pub action: RuleAction,
    /// Who made it; 0 unspecified, 2 kernel, 3 boot, 4 static.
    pub protocol: u8,
}

setters! { Rule {
    with_priority: priority = u32;
    with_from: from = impl Into<Option<IpNetwork>>;
    with_to: to = impl Into<Option<IpNetwork>>;
    with_iif: iif = impl Into<Option<IfName>>;
    with_oif: oif = impl Into<Option<IfName>>;
    with_mark: mark = impl Into<Option<(u32, u32)>>;
    with_not: not = bool;
    with_protocol: protocol = u8;
} }

impl Rule {
    /// A rule for all packets of a family, which does not say who made it.
    pub const fn for_all(family: Family, priority: u32, action: RuleAction) -> Self {
        Rule {
            family,
            priority,
            from: None,
            to: None,
            iif: None,
            oif: None,
            mark: None,
            not: false,
            action,
            protocol: 0,
        }
    }
}

/// What a policy rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RuleAction {
    /// Looks the destination up in this table.
    Table(u32),
    /// Goes on at the rule with this priority.
    Goto(u32),
    /// Drops silently.
    Blackhole,
    /// Refuses: no route.
    Unreachable,
    /// Refuses: prohibited.
    Prohibit,
    /// Does nothing.
    Nop,
}
