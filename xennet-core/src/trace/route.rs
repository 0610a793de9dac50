//! Which way a packet goes by policy rules and routing tables (`fib_lookup`, `fib6_rule_lookup`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::world::{World, masked};
use crate::model::IfName;
use crate::snapshot::{Address, Family, LinkKind, Route, RouteKind, Rule, RuleAction};

/// `RTN_*` of `include/uapi/linux/rtnetlink.h`.
const UNICAST: u32 = 1;
const LOCAL: u32 = 2;
const BROADCAST: u32 = 3;
const MULTICAST: u32 = 5;
const UNREACHABLE: u32 = 7;

/// What decides about the way of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) source: Option<IpAddr>,
    pub(super) target: IpAddr,
    /// The link it came in by; `None` for this domain's own.
    pub(super) iif: Option<IfName>,
    /// The link it has to leave through.
    pub(super) oif: Option<IfName>,
    pub(super) mark: u32,
}

/// How good a source is, by the rules of RFC 6724: whether its scope reaches there, how narrow it is, whether it is on the link, whether it
/// has the label of the destination, and how long their common prefix is.
type Score = (bool, u32, bool, bool, u8);

/// Where it goes.
#[derive(Clone, Debug)]
pub(super) enum Way<'a> {
    /// To this domain; the link that has the address.
    Local(IfName),
    /// To everybody on a link.
    Broadcast,
    Out {
        link: IfName,
        gateway: Option<IpAddr>,
        route: &'a Route,
        several: bool,
    },
    /// A route or a rule refuses it.
    Refused(String),
    None,
}

impl<'a> World<'a> {
    /// The way of a packet.
    pub(super) fn way(&self, asked: &Asked) -> Way<'a> {
        let family = Family::of(&asked.target);
        let mut rules: Vec<&Rule> = self.rules(family).collect();
        let usual: Vec<Rule> = [(0, Route::LOCAL), (32766, Route::MAIN), (32767, 253)]
            .map(|(priority, table)| Rule::for_all(family, priority, RuleAction::Table(table)))
            .into();
        if rules.is_empty() {
            rules = usual.iter().collect();
        }
        let mut from = 0;
        while let Some(rule) = rules.get(from) {
            from += 1;
            if !self.selects(rule, asked) {
                continue;
            }
            let refused = |what: &str| Way::Refused(format!("rule {} {what}", rule.priority));
            match rule.action {
                RuleAction::Table(table) => {
                    if let Some(way) = self.in_table(table, asked) {
                        return way;
                    }
                }
                RuleAction::Goto(priority) => {
                    // Forwards only, so it ends.
                    let next = rules.iter().position(|r| r.priority >= priority);
                    from = next.filter(|at| *at >= from).unwrap_or(rules.len());
                }
                RuleAction::Blackhole => return refused("blackhole"),
                RuleAction::Unreachable => return refused("unreachable"),
                RuleAction::Prohibit => return refused("prohibit"),
                RuleAction::Nop => {}
            }
        }
        Way::None
    }

    fn selects(&self, rule: &Rule, asked: &Asked) -> bool {
        let own = asked.iif.is_none();
        let is_loopback = |l: IfName| self.link(&l).is_some_and(|l| l.kind == LinkKind::Loopback);
        let from = match (rule.from, asked.source) {
            (None, _) => true,
            (Some(n), Some(source)) => n.contains(source),
            (Some(n), None) => n.prefix() == 0,
        };
        let fits = from
            && rule.to.is_none_or(|n| n.contains(asked.target))
            && rule.iif.is_none_or(|l| if own { is_loopback(l) } else { asked.iif == Some(l) })
            && rule.oif.is_none_or(|l| asked.oif == Some(l))
            && rule.mark.is_none_or(|(mark, mask)| asked.mark & mask == mark & mask);
        fits != rule.not
    }

    /// The way by one table; `None`: the next rule.
    fn in_table(&self, table: u32, asked: &Asked) -> Option<Way<'a>> {
        if table == Route::LOCAL {
            return self.local(asked);
        }
        let family = Family::of(&asked.target);
        let longest = if family == Family::Ipv4 { 32 } else { 128 };
        for prefix in (0..=longest).rev() {
            let mut here: Vec<&&Route> = self.routes(table, masked(asked.target, prefix), prefix).iter().collect();
            here.sort_by_key(|r| (std::cmp::Reverse(r.tos), r.metric, self.recording.snapshot.hidden.rank(r)));
            for route in here.into_iter().filter(|r| r.tos == 0) {
                match route.kind {
                    RouteKind::Throw => return None,
                    RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit => {
                        return Some(Way::Refused(format!("route {route}")));
                    }
                    RouteKind::Local => return Some(Way::Local(route.link.unwrap_or(IfName::literal("lo")))),
                    RouteKind::Unicast => {}
                    _ => continue,
                }
                if let Some(way) = self.out(route, asked) {
                    return Some(way);
                }
            }
        }
        None
    }

    fn out(&self, route: &'a Route, asked: &Asked) -> Option<Way<'a>> {
        // An address of a link alone is on the link that is named.
        let scoped = matches!(asked.target, IpAddr::V6(a) if a.is_unicast_link_local());
        let wanted = asked.oif.or(asked.iif.filter(|_| scoped));
        let fits = |link: IfName| wanted.is_none_or(|w| w == link);
        let one = route.link.map(|link| (link, route.gateway));
        let hops = route.next_hops.iter().filter_map(|h| Some((h.link?, h.gateway)));
        let all: Vec<(IfName, Option<IpAddr>)> = one.into_iter().chain(hops).filter(|(l, _)| fits(*l)).collect();
        let (link, gateway) = *all.first()?;
        Some(Way::Out { link, gateway, route, several: all.len() > 1 })
    }

    fn local(&self, asked: &Asked) -> Option<Way<'a>> {
        let target = asked.target;
        if let IpAddr::V4(a) = target {
            if a.is_loopback() {
                return self.link(&IfName::literal("lo")).filter(|l| l.up).map(|_| Way::Local(IfName::literal("lo")));
            }
            if a.is_broadcast() || a.is_multicast() || self.is_broadcast(a) {
                return Some(Way::Broadcast);
            }
        }
        if matches!(target, IpAddr::V6(a) if a.is_multicast()) {
            return Some(Way::Broadcast);
        }
        let scoped = matches!(target, IpAddr::V6(a) if a.is_unicast_link_local());
        let on = asked.oif.or(asked.iif).filter(|_| scoped);
        self.links_with(target).find(|l| on.is_none_or(|on| on == *l)).map(Way::Local)
    }

    fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.own_addresses().any(|a| {
            self.link(&a.link).is_some_and(|l| l.up)
                && match a.address {
                    ipnetwork::IpNetwork::V4(n) => {
                        a.broadcast == Some(address)
                            || (n.prefix() < 31 && !a.no_prefix_route && n.broadcast() == address)
                    }
                    ipnetwork::IpNetwork::V6(_) => false,
                }
        })
    }

    /// What the routing tables take an address for (`inet_addr_type`).
    pub(super) fn address_type(&self, address: IpAddr, on: Option<IfName>) -> u32 {
        let asked = Asked { source: None, target: address, iif: None, oif: None, mark: 0 };
        match address {
            IpAddr::V4(a) if a.is_multicast() => MULTICAST,
            IpAddr::V6(a) if a.is_multicast() => MULTICAST,
            _ => match self.local(&asked) {
                Some(Way::Local(_)) if on.is_none_or(|on| self.links_with(address).any(|l| l == on)) => LOCAL,
                Some(Way::Broadcast) => BROADCAST,
                _ if address.is_ipv4() => UNICAST,
                _ => match self.way(&asked) {
                    Way::None | Way::Refused(_) => UNREACHABLE,
                    _ => UNICAST,
                },
            },
        }
    }

    /// The link that an address is reached through (`fib … oif`); with a link: that one, if it is one of the ways.
    pub(super) fn leads_to(&self, address: IpAddr, on: Option<IfName>) -> Option<IfName> {
        let asked = Asked { source: None, target: address, iif: None, oif: None, mark: 0 };
        let asked = if address.is_ipv6() { Asked { oif: on, ..asked } } else { asked };
        match self.way(&asked) {
            Way::Out { link, route, .. } => match on {
                None => Some(link),
                Some(on) => route.leads_through(&on).then_some(on),
            },
            Way::Local(link) if on.is_none() => Some(link),
            _ => None,
        }
    }

    /// What this domain sends from towards an address through a link (`inet_select_addr`, `ipv6_dev_get_saddr`).
    pub(super) fn source_on(&self, link: &IfName, next: IpAddr, target: IpAddr) -> Option<IpAddr> {
        match target {
            IpAddr::V4(_) => self.source4(link, next),
            IpAddr::V6(target) => self.source6(Some(link), target),
        }
    }

    fn source4(&self, link: &IfName, next: IpAddr) -> Option<IpAddr> {
        let on = |link: &IfName| {
            let all = self.addresses_on(link).iter().copied();
            all.filter(|a| a.address.is_ipv4() && !a.secondary && a.scope <= Route::SCOPE_LINK)
        };
        let usable = |a: &&Address| a.scope == 0;
        on(link)
            .filter(usable)
            .find(|a| a.address.contains(next))
            .or_else(|| on(link).find(usable))
            .or_else(|| {
                let up = self.recording.snapshot.links.iter().filter(|(_, l)| l.up);
                up.flat_map(|(name, _)| on(name)).find(usable)
            })
            .map(|a| a.address.ip())
    }

    fn source6(&self, link: Option<&IfName>, target: Ipv6Addr) -> Option<IpAddr> {
        let scope = |a: &Ipv6Addr| if a.is_unicast_link_local() { 2 } else { 14 };
        let mut best: Option<(IpAddr, Score)> = None;
        // The kernel looks at the addresses of a link in its order, the youngest first, and changes its mind for a better one only.
        for a in self.own_addresses() {
            let IpAddr::V6(own) = a.address.ip() else { continue };
            if own.is_loopback() || !self.link(&a.link).is_some_and(|l| l.up) || a.flags & Address::IS_DUPLICATE != 0 {
                continue;
            }
            let same_link = link.is_none_or(|l| *l == a.link);
            if target.is_unicast_link_local() && !same_link {
                continue;
            }
            // Rule 2: the smallest scope that reaches there.
            let reaches = scope(&own) >= scope(&target);
            let wide = if reaches { u32::MAX - scope(&own) } else { scope(&own) };
            let same = u8::try_from((u128::from(own) ^ u128::from(target)).leading_zeros()).unwrap_or(0);
            let score = (reaches, wide, same_link, label(own) == label(target), same.min(a.address.prefix()));
            if best.is_none_or(|(_, known)| score > known) {
                best = Some((a.address.ip(), score));
            }
        }
        best.map(|(ip, _)| ip)
    }

    /// The source of this domain's own packets.
    pub(super) fn own_source(&self, way: &Way<'_>, target: IpAddr) -> Option<IpAddr> {
        match way {
            Way::Local(_) => Some(target),
            Way::Out { link, gateway, route, .. } => {
                route.source.or_else(|| self.source_on(link, gateway.unwrap_or(target), target))
            }
            _ => None,
        }
    }
}

/// The label of an address in the default policy table (RFC 6724).
fn label(address: Ipv6Addr) -> u8 {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => 0,
        [0x2002, ..] => 2,
        [0x2001, 0, ..] => 6,
        [a, ..] if a & 0xfe00 == 0xfc00 => 5,
        _ => 1,
    }
}
