//! Settings of the kernel, and routes that drop.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::finding::{Finding, sh};
use super::seen::Seen;
use super::table::Code;
use super::uplinks::default_route;
use crate::model::IfName;
use crate::snapshot::{Family, Route, RouteKind, RuleAction, SysctlKey};

pub(super) fn check(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    reverse_path(seen, out);
    ipv6(seen, out);
    routes(seen, out);
    tables_of_the_kernel(seen, out);
}

fn setting<'a>(seen: &Seen<'a>, key: &SysctlKey) -> Option<&'a str> {
    seen.snapshot().sysctls.get(key)
}

fn of_link<'a>(seen: &Seen<'a>, family: Family, link: &IfName, name: &'static str) -> Option<&'a str> {
    setting(seen, &SysctlKey::conf(family, link, name))
}

fn number(seen: &Seen<'_>, key: &str) -> Option<u64> {
    setting(seen, &key.parse().ok()?)?.trim().parse().ok()
}

/// Whether a link drops packets whose sender is reached through another one: the larger of two settings counts
/// (`IN_DEV_RPFILTER`), and 2 asks only whether there is a way at all.
fn is_strict(seen: &Seen<'_>, link: &IfName) -> bool {
    let value =
        |link: &IfName| of_link(seen, Family::Ipv4, link, "rp_filter").and_then(|v| v.trim().parse().ok()).unwrap_or(0);
    u8::max(value(&IfName::literal("all")), value(link)) == 1
}

fn reverse_path(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let finding = |link: &IfName, cause: String| {
        Finding::new(Code::ReversePath, link, cause)
            .seen(format!("rp_filter of {link}, or of all links, is 1"))
            .by_command(sh!("sysctl -w net/ipv4/conf/{}/rp_filter=2", link))
    };
    for s in seen.started() {
        let (false, Some(outside)) = (s.network.is_bridge(), s.outside) else { continue };
        let best = default_route(seen, Family::Ipv4);
        let leads_elsewhere = best.is_some_and(|r| !r.leads_through(&outside));
        if leads_elsewhere && s.network.routes(false) && is_strict(seen, &outside) {
            let through = best.and_then(|r| r.link).map_or("another link".to_owned(), |l| l.to_string());
            out.push(finding(
                &outside,
                format!(
                    "network {} is reached by {outside}, and the default route leads through {through}",
                    s.network.name()
                ),
            ));
        }
    }
    for vif in &seen.vifs {
        let (Some(a), Some((name, _))) = (vif.attach, vif.link) else { continue };
        let shares = a.attachment.shared().is_some() && a.attachment.guest().iter().any(IpNetwork::is_ipv4);
        if shares && is_strict(seen, name) {
            out.push(finding(name, format!("{} may send from addresses of its other vifs", vif.who())));
        }
    }
}

fn ipv6(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let off = |link: &IfName| of_link(seen, Family::Ipv6, link, "disable_ipv6") == Some("1");
    let mut disabled = |link: &IfName, who: String| {
        if off(link) {
            out.push(
                Finding::new(
                    Code::Ipv6Disabled,
                    link,
                    format!("{who} has IPv6 addresses, and disable_ipv6 of {link} is 1"),
                )
                .by_command(sh!("sysctl -w net/ipv6/conf/{}/disable_ipv6=0", link)),
            );
        }
    };
    for vif in seen.vifs.iter().filter(|vif| vif.is_routed()) {
        if let Some((name, _)) = vif.link.filter(|_| vif.addresses().iter().any(IpNetwork::is_ipv6)) {
            disabled(name, vif.who());
        }
    }
    for s in seen.started().iter().filter(|s| !s.network.is_bridge() && s.network.routes(true)) {
        let own = s.network.bridge().map(|b| b.name());
        for link in own.iter().chain(&s.outside) {
            disabled(link, format!("network {}", s.network.name()));
        }
    }
    let routes = setting(seen, &SysctlKey::forwarding(Family::Ipv6)) == Some("1");
    let best = default_route(seen, Family::Ipv6).filter(|r| r.protocol == Route::BY_ROUTERS);
    if let Some(link) = best.and_then(|r| r.link).filter(|_| routes)
        && of_link(seen, Family::Ipv6, &link, "accept_ra") == Some("1")
    {
        out.push(
            Finding::new(
                Code::RouterAdvertisementsLost,
                link,
                format!("the default route of IPv6 came by a router advertisement on {link}"),
            )
            .seen(format!("IPv6 forwarding is on, and accept_ra of {link} is not 2"))
            .by_command(sh!("sysctl -w net/ipv6/conf/{}/accept_ra=2", link)),
        );
    }
}

/// Whether a route drops what it covers.
fn refuses(route: &Route) -> bool {
    matches!(route.kind, RouteKind::Blackhole | RouteKind::Unreachable | RouteKind::Prohibit)
}

/// What `ip` needs before its object for this family.
const fn six(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "",
        Family::Ipv6 => "-6 ",
    }
}

/// The command that removes a route.
fn removal(route: &Route) -> String {
    let kind = match route.kind {
        RouteKind::Blackhole => "blackhole ",
        RouteKind::Unreachable => "unreachable ",
        RouteKind::Prohibit => "prohibit ",
        _ => "",
    };
    let through = route.link.map_or(String::new(), |link| sh!(" dev {}", link));
    let family = six(Family::of(&route.destination.ip()));
    format!("ip {family}route del {kind}{}{through} metric {}", route.destination, route.metric)
}

fn routes(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let main: Vec<&Route> = seen.snapshot().routes.iter().filter(|r| r.table == Route::MAIN).collect();
    for vif in &seen.vifs {
        let (Some(a), Some((name, link))) = (vif.attach, vif.link) else { continue };
        if !link.up {
            continue;
        }
        for guest in a.attachment.guest() {
            let covers = |r: &&&Route| r.destination.is_ipv4() == guest.is_ipv4() && r.destination.contains(guest.ip());
            let best = main.iter().filter(covers).max_by_key(|r| (r.destination.prefix(), std::cmp::Reverse(r.metric)));
            let Some(best) = best else { continue };
            let has_own = main.iter().any(|r| r.link == Some(*name) && r.destination.contains(guest.ip()));
            if refuses(best) && has_own {
                out.push(
                    Finding::new(
                        Code::RouteRefuses,
                        vif.id,
                        format!("{} of {} is covered by a route that drops", guest.ip(), vif.who()),
                    )
                    .seen(format!("{:?} {} metric {}", best.kind, best.destination, best.metric).to_lowercase())
                    .by_command(removal(best)),
                );
            } else if !refuses(best) && best.destination.prefix() == guest.prefix() && leads_elsewhere(seen, best, name)
            {
                let through = best.link.map_or("other links".to_owned(), |l| l.to_string());
                out.push(
                    Finding::new(
                        Code::RouteElsewhere,
                        vif.id,
                        format!("{} of {} is reached through {through}", guest.ip(), vif.who()),
                    )
                    .seen(format!("its own link is {name}"))
                    .by_command(removal(best)),
                );
            }
        }
    }
    let guests: Vec<(IpAddr, String)> =
        seen.vifs.iter().filter_map(|vif| Some((vif.attach?.attachment.guest().first()?.ip(), vif.who()))).collect();
    for rule in &seen.snapshot().rules {
        let drops = matches!(rule.action, RuleAction::Blackhole | RuleAction::Unreachable | RuleAction::Prohibit);
        let is_about = |address: &IpAddr| {
            let within = |n: Option<IpNetwork>| n.is_none_or(|n| n.contains(*address));
            Family::of(address) == rule.family
                && (rule.from.is_some() || rule.to.is_some())
                && (within(rule.from) && within(rule.to))
        };
        let hit = guests.iter().find(|(address, _)| is_about(address));
        if let Some((address, who)) =
            hit.filter(|_| drops && !rule.not && rule.mark.is_none() && rule.iif.is_none() && rule.oif.is_none())
        {
            out.push(
                Finding::new(
                    Code::RouteRefuses,
                    format!("rule {}", rule.priority),
                    format!("a policy rule drops packets of {address}, {who}"),
                )
                .look(format!("ip {}rule show priority {}", six(rule.family), rule.priority)),
            );
        }
    }
}

/// Whether a guest's own route leads through another link than its own or its emulated twin's.
fn leads_elsewhere(seen: &Seen<'_>, route: &Route, own: &IfName) -> bool {
    let Some(link) = route.link else { return true };
    let is_twin = link.as_str().strip_suffix("-emu").is_some_and(|v| v == own.as_str());
    // A newer guest that has the address, as in a migration, is meant to be reached.
    let is_newer = seen.vifs.iter().any(|v| v.link.is_some_and(|(name, _)| *name == link) && v.has_record());
    link != *own && !is_twin && !is_newer
}

fn tables_of_the_kernel(seen: &Seen<'_>, out: &mut Vec<Finding>) {
    let (count, max) =
        (number(seen, "net/netfilter/nf_conntrack_count"), number(seen, "net/netfilter/nf_conntrack_max"));
    if let (Some(count), Some(max)) = (count, max)
        && max > 0
        && count.saturating_mul(10) >= max.saturating_mul(9)
    {
        out.push(
            Finding::new(
                Code::ConntrackFull,
                "connection tracking",
                format!("{count} of {max} connections are tracked"),
            )
            .by_command(sh!("sysctl -w net/netfilter/nf_conntrack_max={}", max.saturating_mul(2))),
        );
    }
    let guests = u64::try_from(seen.vifs.iter().filter(|v| v.link.is_some()).count()).unwrap_or(u64::MAX);
    for family in Family::BOTH {
        let key = format!("net/{}/neigh/default/gc_thresh3", family.sysctl_folder());
        let Some(most) = number(seen, &key) else { continue };
        if guests.saturating_mul(10) >= most.saturating_mul(8) {
            let more = guests.saturating_mul(4).max(most.saturating_mul(2));
            out.push(
                Finding::new(
                    Code::NeighbourTableSmall,
                    family.name(),
                    format!("{guests} vifs, and room for {most} neighbours"),
                )
                .by_command(sh!("sysctl -w {}={}", key, more)),
            );
        }
    }
}
