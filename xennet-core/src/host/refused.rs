//! What a network is not started for, or not once more.

use ipnetwork::IpNetwork;

use super::records::Records;
use super::{Host, joined};
use crate::config::networks;
use crate::error::{Error, ErrorKind};
use crate::exec::Entry;
use crate::model::{IfName, Network, NetworkMode, ResolvedNetwork};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{Family, LinkKind, Part, Route, Rule, Scope, Snapshot};

impl Host {
    /// Refuses to make a port of a link that a started network leaves through: what hides its guests, and answers for them, is
    /// there for that link. A bridge that takes the link's name takes its place, too.
    pub(super) fn check_left_through(&self, network: &Network) -> Result<(), Error> {
        let NetworkMode::Bridge(b) = network.mode() else { return Ok(()) };
        let Some(uplink) = b.uplink.filter(|uplink| *uplink != b.bridge.name()) else { return Ok(()) };
        let through = self.others_through(&network.name(), uplink)?;
        if through.is_empty() {
            return Ok(());
        }
        let message = format!(
            "network {} cannot start: {uplink} would become a port of {}, and started networks leave through it: {}",
            network.name(),
            b.bridge.name(),
            joined(&through)
        );
        let names = through.iter().map(IfName::as_str).collect::<Vec<_>>().join(" ");
        let hint = format!(
            "stop them, then start them after this one: xennet network stop {names}; xennet network start {} {names}",
            network.name()
        );
        Err(Error::new(ErrorKind::Conflict, message).with_object(uplink.as_str()).with_hint(hint).unchanged())
    }

    /// Refuses to change more of a network whose last start may be taken back any moment.
    pub(super) fn check_unguarded(&self, name: &IfName) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) if dir.is_awaited(name) => {
                let message =
                    format!("the last start of network {name} waits for a confirmation, and may be taken back");
                let e = Error::new(ErrorKind::Conflict, message).with_object(name.as_str());
                let hint = format!("first `xennet confirm {name}`, or take it back: `xennet undo network-{name}`");
                Err(e.with_hint(hint).unchanged())
            }
            _ => Ok(()),
        }
    }

    /// Refuses what one file could not describe together with the networks that are started, which may be in it no more.
    pub(super) fn check_beside_started(&self, network: &Network) -> Result<(), Error> {
        let others = self.others_started(&network.name())?;
        let Some((other, why)) = networks::contradicts(network, others.iter().map(|s| &s.network)) else {
            return Ok(());
        };
        let other = other.name();
        let message =
            format!("network {other} is started, and with it network {} cannot be: {}", network.name(), why.message());
        let e = Error::new(ErrorKind::Conflict, message).with_object(network.name().as_str());
        let stop = format!("xennet network stop {other}");
        let hint = why.hint().map_or_else(|| format!("stop it first: {stop}"), |hint| format!("{hint}; or {stop}"));
        Err(e.with_hint(hint).unchanged())
    }

    /// Refuses to make a bridge anew that somebody has removed with all that had moved to it: only stopping puts that back.
    pub(super) fn check_bridge(&mut self, network: &Network, record: Option<&Entry>) -> Result<(), Error> {
        let (NetworkMode::Bridge(b), Some(entry)) = (network.mode(), record) else { return Ok(()) };
        let (Some(uplink), bridge) = (b.uplink, b.bridge.name()) else { return Ok(()) };
        let names: Vec<IfName> = [Some(uplink), b.uplink_name].into_iter().flatten().collect();
        let mut scope = Scope::none().with(Part::Link(bridge));
        for name in &names {
            scope = scope.with(Part::Link(*name)).with(Part::Addresses(*name));
        }
        let now = self.look(&scope)?;
        let global = |on: &Snapshot, link: &IfName| -> Vec<IpNetwork> {
            on.addresses_of(link).filter(|a| a.scope == 0).map(|a| a.address).collect()
        };
        let lost = global(&entry.origin(), &uplink);
        let there: Vec<IpNetwork> = names.iter().flat_map(|name| global(&now, name)).collect();
        let is_whole = now.links.get(&bridge).is_some_and(|l| l.kind == LinkKind::Bridge);
        if is_whole || lost.is_empty() || lost.iter().any(|a| there.contains(a)) {
            return Ok(());
        }
        let message = format!(
            "network {}: somebody has removed {bridge}, and with it this domain's addresses: {}",
            network.name(),
            joined(&lost)
        );
        let hint = format!("`xennet network stop {}` puts them back on {uplink}; then start it again", network.name());
        Err(Error::new(ErrorKind::Conflict, message).with_object(bridge.as_str()).with_hint(hint).unchanged())
    }

    /// Refuses what lies beyond an uplink and what it has, and would not be the same: policy rules that name it, and other
    /// links' routes that its own could be taken for when they are replaced.
    pub(super) fn check_uplink(&mut self, started: &ResolvedNetwork, plan: &Plan) -> Result<(), Error> {
        let (NetworkMode::Bridge(b), Goal::Start { carried, .. }) = (started.network.mode(), plan.goal()) else {
            return Ok(());
        };
        let Some(uplink) = b.uplink else { return Ok(()) };
        let (network, bridge) = (started.network.name(), b.bridge.name());
        let refuse = |message: String, hint: String| {
            let e = Error::new(ErrorKind::Unsupported, format!("network {network}: {message}"));
            Err(e.with_object(uplink.as_str()).with_hint(hint).unchanged())
        };
        if bridge != uplink && !carried.addresses.is_empty() {
            let rules = self.look(&Scope::none().with(Part::Rules))?.rules;
            let on_bridge = |l: Option<IfName>| if l == Some(uplink) { Some(bridge) } else { l };
            let same = |r: &Rule| Rule { iif: on_bridge(r.iif), oif: on_bridge(r.oif), ..r.clone() };
            let named = rules.iter().filter(|r| [r.iif, r.oif].contains(&Some(uplink)));
            let bare = |r: &Rule| Rule { priority: 0, protocol: 0, ..r.clone() };
            let alike = |a: &Rule, b: &Rule| bare(a) == bare(b);
            if let Some(rule) = named.clone().find(|r| !rules.iter().any(|other| alike(other, &same(r)))) {
                let (ip, again) = (if rule.family == Family::Ipv6 { "ip -6" } else { "ip" }, same(rule).to_string());
                let again = again.strip_prefix("family inet6 ").unwrap_or(&again);
                return refuse(
                    format!("the policy rule \"{rule}\" names {uplink}, and would not hold for {bridge}"),
                    format!("add the same for {bridge}, which need not be there yet: {ip} rule add {again}"),
                );
            }
        }
        for route in carried.routes.iter().filter(|r| r.table == Route::MAIN) {
            let there = self.look(&Scope::none().with(Part::Route(route.destination)))?.routes;
            let own = |r: &Route| {
                [Some(uplink), b.uplink_name, Some(bridge)].into_iter().flatten().any(|l| r.leads_through(&l))
            };
            if let Some(other) = there.iter().find(|r| r.has_place_of(route) && !own(r)) {
                return refuse(
                    format!("of the routes \"{route}\" and \"{other}\" the kernel would keep only one"),
                    plan::ANOTHER_METRIC.into(),
                );
            }
        }
        Ok(())
    }
}
