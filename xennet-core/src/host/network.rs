//! Networks: started, stopped, looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::records::{Records, Session};
use super::{Host, joined, unchanged};
use crate::error::{Error, ErrorKind};
use crate::exec::{Applied, Entry, Subject};
use crate::gather;
use crate::model::{Egress, IfName, Intent, Network, NetworkMode, Started};
use crate::plan::{self, Goal, Plan};
use crate::services;
use crate::snapshot::{
    Address, Family, Link, LinkKind, Neighbour, Part, Route, RouteKind, Rule, Scope, Snapshot, SysctlKey,
};

/// What becomes of guests that are still connected to a network that is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guests {
    /// They must have gone: while one is a port of the network's own bridge, the network is not stopped.
    MustHaveGone,
    /// They are cut off.
    AreCutOff,
}

/// How a network is, compared with how it was described.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct NetworkStatus {
    /// Its name.
    pub network: IfName,
    /// Its mode: `bridge`, `nat`, `routed`.
    pub mode: String,
    /// Whether it is started.
    pub started: bool,
    /// The link towards the outside, as it was found at start.
    pub outside: Option<IfName>,
    /// What is not as it was made, one change a line, in the words of a plan: what starting it again would do.
    pub missing: Vec<String>,
    /// The ports of its bridge, if it has one.
    pub ports: Vec<IfName>,
    /// What has to be done elsewhere: the routes that the outside needs to reach the guests of a routed network, as commands
    /// for its gateway.
    pub elsewhere: Vec<String>,
    /// What in other firewalls of this host keeps its guests from reaching anybody, unless a rule there accepts their packets.
    pub obstacles: Vec<String>,
}

impl Host {
    /// What starting this network would do. Changes nothing.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network).
    pub fn plan_start(&mut self, network: &Network) -> Result<Plan, Error> {
        let record = self.records.record(Subject::Network(network.name))?;
        check_described(network, record.as_ref())?;
        let started = self.resolve(network, record.as_ref())?;
        let plan = self.plan(&Intent::Start(Box::new(started.clone())))?;
        self.check_uplink(&started, &plan)?;
        Ok(plan.with_notes(self.obstacles(network)).with_notes(self.shared_subnets(&started)?))
    }

    /// Starts a network: its bridge and what its uplink had of its own, this domain's addresses in it, and the settings it needs.
    ///
    /// A network that is started already gets back what it lacks; nothing is changed where nothing is missing.
    ///
    /// The uplink's addresses and routes go over to the bridge without a gap: every address is on the bridge before it leaves the
    /// uplink, and every route is replaced in one go. What comes from outside in between is received all the time.
    ///
    /// # Errors
    /// [`ErrorKind::LinkNotFound`], [`ErrorKind::Invalid`], [`ErrorKind::PortOfOther`], [`ErrorKind::NotABridge`] if the host is
    /// not as the network needs it; [`ErrorKind::Conflict`] if a network of this name is started that was described otherwise;
    /// and as [`attach`](Self::attach).
    pub fn start_network(&mut self, network: &Network) -> Result<Applied, Error> {
        let subject = Subject::Network(network.name);
        let _networks = self.records.hold_networks(self.deadline)?;
        let mut session = self.begin(subject)?;
        let result = self.start_held(&mut session, network);
        self.keep(session, subject);
        result
    }

    fn start_held(&mut self, session: &mut Session, network: &Network) -> Result<Applied, Error> {
        let subject = Subject::Network(network.name);
        check_described(network, session.record())?;
        let mut started = self.resolve(network, session.record())?;
        let plan = self.plan(&Intent::Start(Box::new(started.clone())))?;
        self.check_uplink(&started, &plan)?;
        let plan = plan.with_notes(self.obstacles(network)).with_notes(self.shared_subnets(&started)?);
        self.keep_originals(&mut started, plan.before())?;
        if plan.is_empty() && session.record().is_some() {
            self.serve(&started).map_err(|e| e.with_state("the network is started as before, its services are not"))?;
            self.records.set_started(&started)?;
            return Ok(Applied::nothing(plan));
        }
        let what = format!("cannot start network {}", network.name);
        let again = session.record().is_some();
        let applied = self.carry_out(session, subject, plan, None, &what)?;
        if let Err(e) = self.serve(&started).and_then(|()| self.records.set_started(&started)) {
            let taken_back = match again {
                true => self.undo_held(session, subject).map(|_| ()),
                false => self.take_back(session, &network.name),
            };
            return Err(match taken_back {
                Ok(()) => e.with_state("restored"),
                Err(left) => e.with_state(format!("not restored: {left}")),
            });
        }
        Ok(applied)
    }

    /// Refuses what lies beyond an uplink and what it has, and would not be the same: policy rules that name it, and other
    /// links' routes that its own could be taken for when they are replaced.
    fn check_uplink(&mut self, started: &Started, plan: &Plan) -> Result<(), Error> {
        let (NetworkMode::Bridge(b), Goal::Start { carried, .. }) = (&started.network.mode, plan.goal()) else {
            return Ok(());
        };
        let Some(uplink) = b.uplink else { return Ok(()) };
        let (network, bridge) = (started.network.name, b.bridge.name);
        let refuse = |message: String, hint: String| {
            let e = Error::new(ErrorKind::Unsupported, format!("network {network}: {message}"));
            Err(unchanged(e.with_object(uplink.as_str()).with_hint(hint)))
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

    /// Starts what the network's guests are served by.
    fn serve(&self, started: &Started) -> Result<(), Error> {
        let Records::Dir(dir) = &self.records else { return Ok(()) };
        // Of a rehearsal nobody can be served.
        if !services::wanted(started) || !self.backend.capabilities().programs {
            return Ok(());
        }
        services::start(dir, started)?;
        self.tell_of_all_guests(started)
    }

    /// Ends what the network's guests were served by.
    fn end_service(&self, name: &IfName) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) => services::stop(dir, name).map(|_| ()),
            Records::Memory(_) => Ok(()),
        }
    }

    /// The way back of a start that was carried out, and is of no use.
    fn take_back(&mut self, session: &mut Session, name: &IfName) -> Result<(), Error> {
        let Some(entry) = session.record().cloned() else { return Ok(()) };
        let plan = self.way_back(name, &entry, Guests::AreCutOff)?;
        self.carry_out(session, Subject::Network(*name), plan, None, &format!("cannot stop network {name}")).map(|_| ())
    }

    /// Takes a start back: a network that it started is stopped, and one that was started before is as it was when it was started
    /// once more. Where its last start is still `known`, the one from before, there is nothing to take back.
    ///
    /// # Errors
    /// As [`stop_network`](Self::stop_network).
    pub fn take_back_start(&mut self, name: &IfName, known: Option<&Entry>) -> Result<(), Error> {
        let subject = Subject::Network(*name);
        // What was interrupted is finished or undone first.
        let session = self.begin(subject)?;
        let unchanged = session.record() == known;
        self.keep(session, subject);
        if unchanged && known.is_some() {
            return Ok(());
        }
        let _networks = self.records.hold_networks(self.deadline)?;
        match known {
            Some(_) => self.undo_start_held(name, Guests::AreCutOff).map(|_| ()),
            None => self.stop_held(name, Guests::AreCutOff).map(|_| ()),
        }
    }

    /// Puts back what was there before the last start of a network.
    pub(super) fn undo_start(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let _networks = self.records.hold_networks(self.deadline)?;
        let applied = self.undo_start_held(name, guests)?;
        self.end_guard(name);
        Ok(applied)
    }

    fn undo_start_held(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let subject = Subject::Network(*name);
        let mut session = self.begin(subject)?;
        if session.record().is_none_or(|r| r.previous.is_none()) {
            self.keep(session, subject);
            return self.stop_held(name, guests);
        }
        let result = self.undo_held(&mut session, subject);
        self.keep(session, subject);
        result
    }

    /// What stopping this network would do. Changes nothing. An empty plan for one that is not started.
    ///
    /// # Errors
    /// As [`stop_network`](Self::stop_network).
    pub fn plan_stop(&mut self, name: &IfName, guests: Guests) -> Result<Option<Plan>, Error> {
        match self.records.record(Subject::Network(*name))? {
            Some(entry) => self.way_back(name, &entry, guests).map(Some),
            None => Ok(None),
        }
    }

    /// Stops a network: puts back what starting it has changed, and nothing else. The bridge's addresses and routes go back to the
    /// uplink as they are now, without a gap. One that is not started is a success.
    ///
    /// Kernel settings that other started networks need stay until the last of them is stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if guests are ports of the network's own bridge; and as [`attach`](Self::attach).
    pub fn stop_network(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let _networks = self.records.hold_networks(self.deadline)?;
        let started = self.records.started(name)?.is_some();
        let applied = self.stop_held(name, guests)?;
        if started {
            self.end_guard(name);
        }
        Ok(applied)
    }

    /// Ends the guard of a start that was taken back by hand: it would take back the next one, too. The lock of the networks is held, so
    /// that this is no confirmation of a start that begins meanwhile.
    fn end_guard(&self, name: &IfName) {
        if let Records::Dir(dir) = &self.records {
            // Mostly there is none.
            let _ = dir.confirm(name);
        }
    }

    fn stop_held(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let subject = Subject::Network(*name);
        let mut session = self.begin(subject)?;
        let Some(entry) = session.record().cloned() else {
            self.end_service(name)?;
            self.records.set_stopped(name)?;
            self.keep(session, subject);
            let mut nothing = Applied::nothing(plan::restore(&Snapshot::default(), &Snapshot::default())?);
            nothing.notes.push(format!("network {name} is not started"));
            return Ok(nothing);
        };
        let plan = self.way_back(name, &entry, guests)?;
        // Nobody new shall find it.
        let known = self.records.started(name)?;
        self.end_service(name)?;
        self.records.set_stopped(name)?;
        let what = format!("cannot stop network {name}");
        let applied = match self.carry_out(&mut session, subject, plan, None, &what) {
            Ok(applied) => applied,
            Err(e) => {
                if let Some(started) = known {
                    self.records.set_started(&started)?;
                    self.serve(&started)?;
                }
                self.keep(session, subject);
                return Err(e);
            }
        };
        self.forget(session, subject)?;
        Ok(applied)
    }

    /// The networks that are started.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn started_networks(&self) -> Result<Vec<Started>, Error> {
        self.records.all_started()
    }

    /// How a network is. Reads the parts of the system that it is made of, and the ports of its bridge.
    ///
    /// # Errors
    /// As [`Backend::observe`](crate::backend::Backend::observe), and [`ErrorKind::StateUnusable`].
    pub fn network_status(&mut self, network: &Network) -> Result<NetworkStatus, Error> {
        let record = self.records.record(Subject::Network(network.name))?;
        let started = started_of(record.as_ref()).cloned();
        let mut status = NetworkStatus {
            network: network.name,
            mode: network.mode_name().to_owned(),
            started: started.is_some(),
            outside: started.as_ref().and_then(|s| s.outside),
            missing: Vec::new(),
            ports: Vec::new(),
            elsewhere: Vec::new(),
            obstacles: self.obstacles(network),
        };
        if let Some(started) = &started {
            match self.plan(&Intent::Start(Box::new(started.clone()))) {
                Ok(plan) => status.missing.extend(plan.steps().iter().map(|p| p.step.to_string())),
                Err(e) => status.missing.push(e.to_string()),
            }
        }
        if let (Some(started), Records::Dir(dir)) = (&started, &self.records)
            && services::wanted(started)
        {
            let ended = services::status(dir, &network.name)?;
            let gone = ended.iter().filter(|d| d.pid.is_none());
            status.missing.extend(gone.map(|d| format!("dnsmasq does not run ({})", d.part.name())));
            if ended.is_empty() {
                status.missing.push("dnsmasq does not run".into());
            }
        }
        if let Some(bridge) = network.bridge() {
            let all = self.look(&Scope::none().with(Part::Links))?;
            status.ports.extend(all.ports(&bridge.name).map(|(port, _)| *port));
        }
        if matches!(network.mode, NetworkMode::Routed(_)) {
            // Of one that is not started, as far as it can be told now.
            let found = started.or_else(|| self.resolve(network, None).ok());
            status.elsewhere = found.as_ref().map(routes_outside).unwrap_or_default();
        }
        Ok(status)
    }

    /// The network with what has to be found out: where the outside is, and which address this domain has there.
    fn resolve(&mut self, network: &Network, record: Option<&Entry>) -> Result<Started, Error> {
        let mut started = Started::new(network.clone());
        // Of one that is started, how it was before: by now settings are as it needs them itself.
        if started_of(record).is_some()
            && let Some(known) = self.records.started(&network.name)?
        {
            started.settings = known.settings;
        }
        if let Some(bridge) = network.bridge() {
            let there = started_of(record).and_then(|s| s.bridge_mac);
            started.bridge_mac = there.or(self.bridge_with_mac(bridge)?.mac.filter(|_| bridge.mac.is_none()));
        }
        let outside = match &network.mode {
            NetworkMode::Bridge(_) => return Ok(started),
            NetworkMode::Nat(n) => &n.egress,
            NetworkMode::Routed(r) => &r.uplink,
        };
        started.outside = match outside {
            Egress::Link(link) => {
                let seen = self.look(&Scope::none().with(Part::Link(*link)))?;
                if !seen.links.contains_key(link) {
                    return Err(unchanged(
                        Error::new(
                            ErrorKind::LinkNotFound,
                            format!("network {}: {link}, towards the outside, is not there", network.name),
                        )
                        .with_object(link.as_str())
                        .with_hint("`ip link` lists the links of this host; is the network that makes it started?"),
                    ));
                }
                Some(*link)
            }
            // What was made for a link stays with it until the network is stopped.
            Egress::DefaultRoute => match started_of(record).and_then(|s| s.outside) {
                Some(outside) => Some(outside),
                None => self.default_route_link()?,
            },
        };
        if let NetworkMode::Routed(r) = &network.mode {
            started.source.clone_from(&r.source);
            for family in [Family::Ipv4, Family::Ipv6] {
                let given = started.source.iter().any(|s| Family::of(s) == family);
                let subnets = network.subnets();
                let needed = match family {
                    Family::Ipv4 => subnets.is_empty() || subnets.iter().any(|s| s.network.is_ipv4()),
                    Family::Ipv6 => subnets.iter().any(|s| s.network.is_ipv6()),
                };
                if given || !needed {
                    continue;
                }
                let Some(outside) = started.outside else { continue };
                match self.first_address(&outside, family)? {
                    Some(address) => started.source.push(address),
                    // IPv6 guests have a gateway on their link all the same.
                    None if family == Family::Ipv6 => {}
                    None => {
                        return Err(unchanged(
                            Error::new(
                                ErrorKind::Invalid,
                                format!(
                                    "network {}: {outside} has no IPv4 address, which would be this domain's on guests' links",
                                    network.name
                                ),
                            )
                            .with_object(outside.as_str())
                            .with_hint("give it one, or name another address of this host: source = [\"192.0.2.1\"]"),
                        ));
                    }
                }
            }
        }
        Ok(started)
    }

    /// The link of the default route with the lowest metric, of IPv4, or else of IPv6.
    ///
    /// # Errors
    /// As [`Backend::observe`](crate::backend::Backend::observe).
    pub fn default_route_link(&mut self) -> Result<Option<IfName>, Error> {
        for all in ["0.0.0.0/0", "::/0"] {
            let Ok(all) = all.parse::<IpNetwork>() else { continue };
            let seen = self.look(&Scope::none().with(Part::Route(all)))?;
            // One that refuses leads nowhere, though the kernel keeps those of IPv6 at loopback.
            let usable = |r: &&Route| {
                r.kind == RouteKind::Unicast && r.destination.prefix() == 0 && r.destination.is_ipv4() == all.is_ipv4()
            };
            let best = seen.routes.iter().filter(usable).min_by_key(|r| r.metric);
            if let Some(link) = best.and_then(|r| r.link.or_else(|| r.next_hops.first().and_then(|h| h.link))) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// The uplink that a started network's bridge has taken over from, where this link is such a bridge; any other link is its
    /// own.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn uplink_of(&mut self, link: Option<IfName>) -> Result<Option<IfName>, Error> {
        let Some(link) = link else { return Ok(None) };
        let uplink = |s: &Started| match &s.network.mode {
            NetworkMode::Bridge(b) if b.bridge.name == link => b.uplink,
            _ => None,
        };
        Ok(self.records.all_started()?.iter().find_map(uplink).or(Some(link)))
    }

    /// The first address of a link that others can reach: no secondary or temporary one, none that is not to be used for anything
    /// new, and none for the link alone.
    pub(crate) fn first_address(&mut self, link: &IfName, family: Family) -> Result<Option<IpAddr>, Error> {
        let seen = self.look(&Scope::none().with(Part::Addresses(*link)))?;
        let good = |a: &&Address| {
            let deprecated = a.lifetime.is_some_and(|(_, preferred)| preferred == 0);
            Family::of(&a.address.ip()) == family && !a.secondary && a.scope == 0 && !deprecated
        };
        Ok(seen.addresses_of(link).filter(good).min_by_key(|a| seen.hidden.position(a)).map(|a| a.address.ip()))
    }

    /// The guests' subnets that the outside has, too, and nobody answers for. Each side takes the other's stations for its own
    /// neighbours then, and asks for them on the wrong link.
    fn shared_subnets(&mut self, started: &Started) -> Result<Vec<String>, Error> {
        let Some(outside) = started.outside else { return Ok(Vec::new()) };
        let answers = |family: Family| match (&started.network.mode, family) {
            (NetworkMode::Routed(r), Family::Ipv4) => r.proxy_arp,
            (NetworkMode::Routed(r), Family::Ipv6) => r.proxy_ndp,
            _ => false,
        };
        let seen = self.look(&Scope::none().with(Part::Addresses(outside)))?;
        let mut notes = Vec::new();
        for subnet in started.network.subnets().iter().map(|s| s.network) {
            let both = |there: &&Address| {
                let there = there.address;
                there.contains(subnet.network()) || subnet.contains(there.network())
            };
            if let Some(there) = seen.addresses_of(&outside).find(both).filter(|_| !answers(Family::of(&subnet.ip()))) {
                notes.push(format!(
                    "network {}: {subnet} of its guests and {} of {outside} overlap: guests and what is there do not find each other; \
                     give the guests a subnet of their own",
                    started.network.name, there.address
                ));
            }
        }
        Ok(notes)
    }

    /// A note that names the guests of a network which are attached by links of their own. What stands in the way of knowing them is
    /// no reason not to stop the network.
    fn guests_left(&mut self, name: &IfName) -> Option<String> {
        let shown = match self.show() {
            Ok(shown) => shown,
            Err(e) => return Some(format!("which guests of network {name} are attached is not known: {e}")),
        };
        let guests: Vec<String> =
            shown.vifs.into_iter().filter(|v| v.network == Some(*name) && v.up).map(|v| v.vif).collect();
        (!guests.is_empty()).then(|| {
            format!(
                "guests of network {name} are still attached, and may be cut off until it is started again: {}",
                guests.join(", ")
            )
        })
    }

    /// Notes how the settings were before any network needed them.
    fn keep_originals(&self, started: &mut Started, before: &Snapshot) -> Result<(), Error> {
        let name = started.network.name;
        let others: Vec<Started> = self.records.all_started()?.into_iter().filter(|s| s.network.name != name).collect();
        for (key, value) in &before.sysctls {
            let key = key.as_str();
            if !is_shared(key, started) || started.settings.contains_key(key) {
                continue;
            }
            let original = others.iter().find_map(|s| s.settings.get(key)).unwrap_or(value);
            started.settings.insert(key.to_owned(), original.clone());
        }
        Ok(())
    }

    /// The plan that leads back to how it was before a network was started, with what has become of its parts since.
    fn way_back(&mut self, name: &IfName, entry: &Entry, guests: Guests) -> Result<Plan, Error> {
        // Where it was started again, the first time knows how it was without it.
        let first = entry.previous.as_deref().unwrap_or(entry);
        let Some(started) = started_of(Some(entry)).cloned() else {
            return Err(Error::new(ErrorKind::Internal, format!("network {name}: its record is not about a network"))
                .with_object(name.as_str()));
        };
        let known = self.records.started(name)?.unwrap_or_else(|| started.clone());
        let now = self.look(&first.before.scope)?;
        let mut target = first.before.clone();
        let mut notes = Vec::new();
        if let Some(bridge) = started.network.bridge().map(|b| b.name) {
            let uplinks: BTreeSet<IfName> = match &started.network.mode {
                NetworkMode::Bridge(b) => gather::set(b.uplink.into_iter().chain(b.uplink_name)),
                _ => BTreeSet::new(),
            };
            let own = first.before.links.get(&bridge).is_none_or(|l| l.bridge.is_none());
            replaced(&mut target, &now, &uplinks);
            if own && guests == Guests::MustHaveGone {
                let all = self.look(&Scope::none().with(Part::Links))?;
                let ports: Vec<IfName> = all.ports(&bridge).map(|(p, _)| *p).filter(|p| !uplinks.contains(p)).collect();
                if !ports.is_empty() {
                    return Err(unchanged(
                        Error::new(
                            ErrorKind::Conflict,
                            format!("network {name} cannot be stopped: {bridge} has the ports {}", joined(&ports)),
                        )
                        .with_object(bridge.as_str())
                        .with_hint("shut the guests down, or cut them off: --force"),
                    ));
                }
            }
            if !own {
                let gateways = started.network.subnets().iter().map(|s| s.gateway);
                given_since(&mut target, &now, bridge, &uplinks, &gather::set(gateways));
            }
            if own
                && let NetworkMode::Bridge(b) = &started.network.mode
                && let Some(uplink) = b.uplink
                && now.links.contains_key(&bridge)
            {
                notes = as_it_is_now(&mut target, &now, uplink, bridge);
            }
        }
        // On links of their own guests keep what is theirs, and only the last network takes the forwarding away: nothing is refused.
        notes.extend(self.guests_left(name));
        if let Some(outside) = started.outside {
            // No part of this network: it stays as it has become, or gone.
            match now.links.get(&outside) {
                Some(link) => {
                    target.links.insert(outside, link.clone());
                }
                None => {
                    target.links.remove(&outside);
                    target.scope.retain(|part| *part != Part::Link(outside));
                }
            }
        }
        self.settle_settings(&mut target, &now, &known)?;
        Ok(plan::restore(&target, &now.seen(&target.scope))?.with_notes(notes))
    }

    /// Settings that others need stay; the last one puts the first value back, unless somebody else has changed it since.
    fn settle_settings(&self, target: &mut Snapshot, now: &Snapshot, known: &Started) -> Result<(), Error> {
        let others: Vec<Started> =
            self.records.all_started()?.into_iter().filter(|s| s.network.name != known.network.name).collect();
        let keys: Vec<SysctlKey> = target.sysctls.keys().cloned().collect();
        for key in keys {
            let Some(original) = known.settings.get(key.as_str()) else { continue };
            let needed = others.iter().any(|s| s.settings.contains_key(key.as_str()));
            let changed = now.sysctls.get(&key).is_none_or(|v| v == "0");
            if needed || changed {
                target.scope.retain(|part| *part != Part::Sysctl(key.clone()));
                target.sysctls.remove(&key);
            } else {
                target.sysctls.insert(key, original.clone());
            }
        }
        Ok(())
    }

    /// An operation on a network that was interrupted is finished, or undone: where the network is started, hotplug calls shall
    /// find it, and its guests be served.
    pub(super) fn note_recovered(&mut self, subject: Subject) -> Result<(), Error> {
        let Subject::Network(name) = subject else { return Ok(()) };
        let record = self.records.record(subject)?;
        let Some(mut started) = started_of(record.as_ref()).cloned() else {
            self.end_service(&name)?;
            return self.records.set_stopped(&name);
        };
        if let Some(entry) = record {
            let first = entry.previous.as_deref().unwrap_or(&entry);
            self.keep_originals(&mut started, &first.before)?;
        }
        self.records.set_started(&started)?;
        self.serve(&started)
    }
}

/// Refuses to start a network that is started, and was described otherwise then.
fn check_described(network: &Network, record: Option<&Entry>) -> Result<(), Error> {
    let name = network.name;
    match started_of(record) {
        Some(there) if there.network != *network => {
            let message = format!("network {name} is started, and was described otherwise then");
            let e = Error::new(ErrorKind::Conflict, message).with_object(name.as_str());
            Err(unchanged(e.with_hint(format!("stop it first: xennet network stop {name}"))))
        }
        _ => Ok(()),
    }
}

fn started_of(record: Option<&Entry>) -> Option<&Started> {
    match &record?.goal {
        Goal::Start { started, .. } => Some(started),
        _ => None,
    }
}

/// Whether a setting is one that several networks can need, and not of a link that is this network's own.
fn is_shared(key: &str, started: &Started) -> bool {
    !matches!(started.network.mode, NetworkMode::Bridge(_)) && key.starts_with("net/")
}

/// The card that an uplink was may have been replaced by another one under the same name, as when its driver was loaded anew:
/// then that one gets back what is this domain's, and keeps what is its own.
fn replaced(target: &mut Snapshot, now: &Snapshot, names: &BTreeSet<IfName>) {
    let is_uplink = |name: &IfName, link: &Link| names.contains(name) && link.kind != LinkKind::Bridge;
    let Some((_, was)) = target.links.iter_mut().find(|(n, l)| is_uplink(n, l)) else { return };
    let there = now.links.iter().filter(|(n, l)| is_uplink(n, l));
    // The very same one, if that is there.
    if let Some(is) = there.map(|(_, l)| l).max_by_key(|l| l.index == was.index).filter(|is| is.index != was.index) {
        *was = Link { master: was.master, up: was.up, addr_gen_mode: was.addr_gen_mode, port: None, ..is.clone() };
    }
}

/// A bridge that was there before keeps what somebody has given it since: what is neither the uplink's nor the network's own.
fn given_since(
    target: &mut Snapshot,
    now: &Snapshot,
    bridge: IfName,
    uplinks: &BTreeSet<IfName>,
    gateways: &BTreeSet<IpAddr>,
) {
    let before = target.clone();
    let was =
        |link: &IfName, a: &Address| before.addresses_of(link).any(|b| b.address == a.address && b.peer == a.peer);
    let is_ours =
        |a: &Address| uplinks.iter().any(|u| was(u, a)) || (gateways.contains(&a.address.ip()) && !was(&bridge, a));
    let (ours, others): (Vec<&Address>, Vec<&Address>) = now.addresses_of(&bridge).partition(|a| is_ours(a));
    target.addresses.extend(others.into_iter().filter(|a| !was(&bridge, a)).cloned());
    let moved = |r: &Route| uplinks.iter().any(|u| before.routes.contains(&plan::route_through(*u, bridge, r)));
    let given = now.routes.iter().filter(|r| r.leads_through(&bridge));
    let given = given.filter(|r| !moved(r) && plan::is_carried(r, ours.iter().copied()));
    target.routes.extend(given.cloned());
    let moved = |n: &Neighbour| uplinks.iter().any(|u| before.neighbours.contains(&plan::neighbour_on(*u, n)));
    target.neighbours.extend(now.neighbours.iter().filter(|n| n.link == bridge && !moved(n)).cloned());
}

/// `RTPROT_RA`.
const BY_ROUTERS: u8 = 9;

/// What the bridge has now is what the uplink shall have: addresses that were renewed, or added or removed meanwhile. Notes
/// what it cannot have.
fn as_it_is_now(target: &mut Snapshot, now: &Snapshot, uplink: IfName, bridge: IfName) -> Vec<String> {
    const LINK: u8 = 253;
    let key = |a: &Address| (a.address, a.peer);
    let before: BTreeMap<_, Address> = gather::map(target.addresses_of(&uplink).map(|a| (key(a), a.clone())));
    target.addresses.retain(|a| a.link != uplink || a.scope == LINK);
    for a in now.addresses_of(&bridge).filter(|a| a.scope != LINK) {
        let as_before = before.get(&key(a)).cloned().unwrap_or_else(|| Address { nodad: false, ..a.clone() });
        target.addresses.insert(Address {
            link: uplink,
            lifetime: a.lifetime,
            secondary: as_before.secondary,
            ..as_before
        });
    }
    let through = |r: &Route, link: IfName| r.leads_through(&link);
    let of_uplink: Vec<Address> = before.values().cloned().collect();
    let carried: BTreeSet<Route> =
        gather::set(target.routes.iter().filter(|r| through(r, uplink) && plan::is_carried(r, &of_uplink)).cloned());
    target.routes.retain(|r| !carried.contains(r));
    // An uplink that was down goes down again, unless the bridge has been given something since.
    let mut is_used = target.addresses_of(&uplink).any(|a| !before.contains_key(&key(a)));
    // Connected routes follow from the addresses.
    let (connected, others): (Vec<&Route>, Vec<&Route>) =
        now.routes.iter().filter(|r| through(r, bridge)).partition(|r| !plan::is_carried(r, now.addresses_of(&bridge)));
    let others = others.into_iter().map(|r| plan::route_through(uplink, bridge, r));
    let mut notes = Vec::new();
    // What was there before comes first.
    for route in gather::last(others, |r| !carried.contains(r)) {
        let taken = target.routes.iter().find(|r| **r != route && through(r, uplink) && r.has_place_of(&route));
        let why = match (&route.beyond, taken) {
            (Some(more), _) => format!("xennet cannot make one with {more}"),
            // The kernel learns it again.
            (None, Some(_)) if route.protocol == BY_ROUTERS => continue,
            (None, Some(other)) => format!("\"{other}\" has its place"),
            _ if route.next_hops.iter().any(|h| h.link != Some(uplink)) => "it leads through another link, too".into(),
            _ => {
                is_used |= !carried.contains(&route);
                target.routes.insert(route);
                continue;
            }
        };
        notes.push(format!("{uplink} does not get the route \"{route}\", which {bridge} has: {why}"));
    }
    let Some(link) = target.links.get_mut(&uplink) else { return notes };
    link.up |= is_used;
    let is_up = link.up;
    let addresses: Vec<Address> = target.addresses_of(&uplink).cloned().collect();
    let is_there = |ip: IpAddr| addresses.iter().any(|a| a.address.ip() == ip);
    let has = |r: &Route| !plan::is_carried(r, &addresses) && r.source.is_none_or(is_there);
    target.routes.retain(|r| !through(r, uplink) || plan::is_carried(r, &of_uplink) || has(r));
    let connected = connected.into_iter().map(|r| plan::route_through(uplink, bridge, r));
    target.routes.extend(connected.filter(|r| is_up && has(r)));
    target.neighbours.retain(|n| n.link != uplink);
    for n in now.neighbours.iter().filter(|n| n.link == bridge) {
        target.neighbours.insert(plan::neighbour_on(uplink, n));
    }
    notes
}

/// The routes that stations and gateways outside need, as commands (the founding document's fifth step).
fn routes_outside(started: &Started) -> Vec<String> {
    let NetworkMode::Routed(r) = &started.network.mode else { return Vec::new() };
    let answered = |family| match family {
        Family::Ipv4 => r.proxy_arp,
        Family::Ipv6 => r.proxy_ndp,
    };
    let via = |family| started.source.iter().find(|s| Family::of(s) == family);
    let commands = started.network.subnets().iter().filter_map(|s| {
        let family = Family::of(&s.network.ip());
        let via = via(family)?;
        (!answered(family)).then(|| format!("ip route add {} via {via}", s.network))
    });
    commands.collect()
}
