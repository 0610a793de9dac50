//! Networks: started, stopped, looked at.

use super::outside::no_lan;
use super::records::{Records, Session};
use super::restore::Taken;
use super::undo::nothing_recorded;
use super::{Host, joined};
use crate::config::networks;
use crate::error::{Error, ErrorKind, Outcome};
use crate::exec::{Applied, Entry, Subject};
use crate::model::{
    Egress, ForeignChain, Guests, IfName, Network, NetworkMode, PortForward, Request, Resolved, ResolvedNetwork,
    Started,
};
use crate::plan::{Plan, accept};
use crate::services;
use crate::snapshot::{Family, Part, Scope, Snapshot};
use crate::tables;

impl Host {
    /// What starting this network would do. Changes nothing.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network).
    pub fn plan_start(&mut self, network: &Network) -> Result<Plan, Error> {
        let record = self.records.record(Subject::Network(network.name()))?;
        let plan = self.start_of(network, record.as_ref())?.1;
        let plan = self.plan_with_guests(plan, network)?;
        Ok(plan.asked(Request::Start(Box::new(network.clone()))))
    }

    /// What starting a network means on this host now, and the plan for it.
    pub(super) fn start_of(
        &mut self,
        network: &Network,
        record: Option<&Entry>,
    ) -> Result<(ResolvedNetwork, Plan), Error> {
        let changed = changed(network, record)?;
        if changed.is_some() || started_of(record).is_none() {
            self.check_beside_started(network)?;
        }
        if started_of(record).is_none() {
            self.check_left_through(network)?;
        }
        self.check_bridge(network, record)?;
        let mut started = self.resolve(network, record)?;
        started.former = forwards_given_up(network, record);
        started.former_accept_in = accepts_given_up(network, record);
        let plan = self.plan_whole(&Resolved::Start(Box::new(started.clone())))?;
        self.check_uplink(&started, &plan)?;
        let taken_over = changed.map(|c| format!("network {}: new is its {}", network.name(), c.keys.join(", its ")));
        let plan = plan.with_notes(taken_over);
        let accepted = Ok(accept::in_place(&started, plan.after()));
        let plan = plan.with_notes(self.obstacles(network, accepted)).with_notes(self.shared_subnets(&started)?);
        let plan = plan.with_notes(self.remarks_on_services(network)?).with_notes(no_lan(&started));
        Ok((started, plan))
    }

    /// Starts a network: its bridge and what its uplink had of its own, this domain's addresses in it, and the settings it needs.
    ///
    /// A network that is started already gets back what it lacks, and so do its guests that are there. So do guests of no network whose
    /// elements in our nft tables are lost. Nothing is changed where nothing is missing. A network that is described otherwise by now takes
    /// over what it can while its guests and its uplink stay as they are ([`networks::changed`] says what that is). What is handed on to a guest by a forward that is no more goes on until it ends.
    ///
    /// The uplink's addresses and routes go over to the bridge without a gap: every address is on the bridge before it leaves the
    /// uplink, and every route is replaced in one go. What comes from outside in between is received all the time.
    ///
    /// ```
    /// use xennet_core::config::networks;
    /// use xennet_core::{Guests, Host, NetworkState};
    ///
    /// let mut host = Host::fake();
    /// let text = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\n";
    /// let networks = networks::parse(text)?;
    /// let network = networks.named("private")?;
    /// println!("{}", host.plan_start(network)?); // nothing happens
    ///
    /// host.start_network(network)?;
    /// assert_eq!(host.network_status(network)?.state, NetworkState::Started);
    /// host.stop_network(&network.name(), Guests::MustHaveGone)?;
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::LinkNotFound`], [`ErrorKind::Invalid`], [`ErrorKind::PortOfOther`], [`ErrorKind::NotABridge`] if the host is
    /// not as the network needs it; [`ErrorKind::Conflict`] if a network of this name is started that was described otherwise in
    /// what it cannot take over, if one is started that contradicts it ([`networks::contradicts`]), if its last start
    /// waits for a confirmation, for one whose bridge was removed since with this domain's addresses, or where a chain of
    /// [`accept_in`](crate::model::NatNetwork::accept_in) is not there or takes no accepts; [`ErrorKind::Unsupported`] for such a chain that
    /// only the program which made it may change; and as [`attach`](Self::attach).
    #[doc(alias("up", "ifup", "net-start", "network-bridge", "network-nat", "network-route"))]
    pub fn start_network(&mut self, network: &Network) -> Result<Applied, Error> {
        self.start(network, false)
    }

    /// As [`start_network`](Self::start_network), for a caller that runs a confirm guard ([`exec::confirm`](crate::exec::confirm)). Of a network that is
    /// guarded, any other start that would change something is refused: the guard could not take back both.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network).
    pub fn start_guarded(&mut self, network: &Network) -> Result<Applied, Error> {
        self.start(network, true)
    }

    fn start(&mut self, network: &Network, is_guarded: bool) -> Result<Applied, Error> {
        let mut applied = self.start_alone(network, is_guarded)?;
        self.mend_guests(network, &mut applied)?;
        Ok(applied)
    }

    /// Starts a network, and leaves its guests as they are.
    pub(super) fn start_alone(&mut self, network: &Network, is_guarded: bool) -> Result<Applied, Error> {
        let subject = Subject::Network(network.name());
        let _networks = self.records.hold_networks(self.patience(), &self.interrupted())?;
        self.close_others(&network.name())?;
        let mut session = self.begin(subject)?;
        let result = self.start_held(&mut session, network, is_guarded);
        self.keep(session, subject);
        result
    }

    fn start_held(&mut self, session: &mut Session, network: &Network, is_guarded: bool) -> Result<Applied, Error> {
        let subject = Subject::Network(network.name());
        let is_known = started_of(session.record()).is_some_and(|s| s.network == *network);
        let (resolved, plan) = self.start_of(network, session.record())?;
        if self.is_shown() {
            let whole = self.plan_with_guests(plan.clone(), network)?;
            self.check_shown(&whole)?;
        }
        // What guests will need is there before the first one comes.
        self.backend.prepare(&tables::of_network(network));
        let mut started = Started::of(&resolved);
        // The values from before its first start: what the kernel has now, the network itself has set.
        if resolved.is_started
            && let Some(known) = self.records.started_or_stopping(&network.name())?
        {
            started.settings = known.settings;
        }
        self.keep_originals(&mut started, plan.before())?;
        if plan.is_empty() && is_known {
            self.serve(&started).map_err(|e| e.incomplete("the network is started as before, its services are not"))?;
            self.records.set_started(&started)?;
            return Ok(Applied::nothing(plan));
        }
        if !is_guarded {
            self.check_unguarded(&network.name())?;
        }
        let what = format!("cannot start network {}", network.name());
        let again = session.record().is_some();
        let mut applied = self.carry_out(session, subject, plan, None, &what)?;
        if !network.is_bridge()
            && let Err(e) = self.backend.track_connections()
        {
            applied.notes.push(format!("tracked connections of guests that leave will remain: {e}"));
        }
        if let Err(e) = self.serve(&started).and_then(|()| self.records.set_started(&started)) {
            let taken_back = match (again, is_known) {
                (true, true) => self.undo_held(session, subject, Taken::IsLeft, Guests::AreCutOff).map(|_| ()),
                (true, false) => self.undo_start_held(session, subject, Taken::IsLeft, Guests::AreCutOff).map(|_| ()),
                (false, _) => self.undo_first_start(session, &network.name()),
            };
            return Err(match taken_back {
                Ok(()) => e.restored("restored"),
                Err(left) => e.incomplete(format!("not restored: {left}")),
            });
        }
        Ok(applied)
    }

    /// What there is to know of how its guests will be served: what runs for them besides, which is no step.
    fn remarks_on_services(&self, network: &Network) -> Result<Vec<String>, Error> {
        let Some(wanted) = network.services().filter(|_| services::wanted(network)) else {
            return Ok(Vec::new());
        };
        let name = network.name();
        let what = match (wanted.dhcp, wanted.dns) {
            (true, true) => "addresses (DHCP) and names (DNS)",
            (true, false) => "addresses (DHCP)",
            _ => "names (DNS)",
        };
        Ok(match self.served_in(network) {
            Some(dir) => [Some(format!("network {name}: a dnsmasq of its own serves its guests with {what}"))]
                .into_iter()
                .chain([services::remark(dir, &name)?])
                .flatten()
                .collect(),
            None if self.backend.capabilities().programs => {
                vec![format!("network {name}: no dnsmasq serves {what}, which needs a state directory")]
            }
            None => vec![format!("network {name}: this rehearsal starts no dnsmasq, which would serve {what}")],
        })
    }

    /// Starts what the network's guests are served by; ends what they are not served by any more.
    fn serve(&self, started: &Started) -> Result<(), Error> {
        let Records::Dir(dir) = &self.records else { return Ok(()) };
        if !services::wanted(&started.network) {
            return services::stop(dir, &started.network.name(), self.budget).map(|_| ());
        }
        // Of a rehearsal nobody can be served.
        if !self.backend.capabilities().programs {
            return Ok(());
        }
        services::start(dir, started, self.budget)?;
        self.tell_of_all_guests(started)
    }

    /// Ends what the network's guests were served by.
    fn end_service(&self, name: &IfName) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) => services::stop(dir, name, self.budget).map(|_| ()),
            Records::Memory(_) => Ok(()),
        }
    }

    /// Ends what the network's guests were served by, and keeps what it knows of them.
    fn pause_service(&self, name: &IfName) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) => services::pause(dir, name, self.budget).map(|_| ()),
            Records::Memory(_) => Ok(()),
        }
    }

    /// Undoes the first start of a network, whose steps were carried out before something else failed.
    fn undo_first_start(&mut self, session: &mut Session, name: &IfName) -> Result<(), Error> {
        let Some(entry) = session.record().cloned() else { return Ok(()) };
        let subject = Subject::Network(*name);
        let plan = self.restore_network(name, &entry, Guests::AreCutOff)?;
        self.carry_out(session, subject, plan, None, &format!("cannot stop network {name}"))?;
        // A network can have two dnsmasqs, of which one runs.
        self.note_recovered(subject)
    }

    /// Takes a start back: a network that it started is stopped, and one that was started before is as it was when it was started
    /// once more. Where its last start is still `known`, the one from before, there is nothing to take back.
    ///
    /// # Errors
    /// As [`stop_network`](Self::stop_network).
    pub fn undo_start(&mut self, name: &IfName, known: Option<&Entry>) -> Result<(), Error> {
        let subject = Subject::Network(*name);
        // What was interrupted is finished or undone first.
        let session = self.begin(subject)?;
        let unchanged = session.record() == known;
        self.keep(session, subject);
        if unchanged && known.is_some() {
            return Ok(());
        }
        let _networks = self.records.hold_networks(self.patience(), &self.interrupted())?;
        if known.is_none() {
            return self.stop_held(name, Guests::AreCutOff).map(|_| ());
        }
        let mut session = self.begin(subject)?;
        // An earlier try, or somebody by hand, may have come so far.
        let is_undone = session.record().is_none_or(|r| r.previous.is_none());
        let result = match is_undone {
            true => self.note_recovered(subject),
            false => self.undo_start_held(&mut session, subject, Taken::IsLeft, Guests::AreCutOff).map(|_| ()),
        };
        self.keep(session, subject);
        result
    }

    /// Puts back what was there before the last start of a network.
    pub(super) fn undo_network(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let subject = Subject::Network(*name);
        let _networks = self.records.hold_networks(self.patience(), &self.interrupted())?;
        self.close_others(name)?;
        let mut session = self.begin(subject)?;
        let Some(record) = session.record() else {
            self.keep(session, subject);
            return Err(nothing_recorded(subject));
        };
        let applied = if record.previous.is_none() {
            self.keep(session, subject);
            self.stop_held(name, guests)?
        } else {
            let result = self.undo_start_held(&mut session, subject, Taken::IsRefused, guests);
            self.keep(session, subject);
            result?
        };
        self.end_guard(name);
        Ok(applied)
    }

    /// Undoes a start of a network that was started before: it may be described as before by that.
    fn undo_start_held(
        &mut self,
        session: &mut Session,
        subject: Subject,
        taken: Taken,
        guests: Guests,
    ) -> Result<Applied, Error> {
        let applied = self.undo_held(session, subject, taken, guests)?;
        self.note_recovered(subject)?;
        Ok(applied)
    }

    /// What stopping this network would do. Changes nothing. An empty plan for one that is not started.
    ///
    /// # Errors
    /// As [`stop_network`](Self::stop_network).
    pub fn plan_stop(&mut self, name: &IfName, guests: Guests) -> Result<Option<Plan>, Error> {
        match self.records.record(Subject::Network(*name))? {
            Some(entry) => {
                let plan = self.restore_network(name, &entry, guests)?;
                Ok(Some(plan.asked(Request::Stop { network: *name, guests })))
            }
            None => Ok(None),
        }
    }

    /// Stops a network: puts back what starting it has changed, and nothing else. The bridge's addresses and routes go back to the
    /// uplink as they are now, without a gap. One that is not started is a success.
    ///
    /// Kernel settings that other started networks need stay until the last of them is stopped.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if guests are ports of the network's own bridge, or another network leaves through it; and as
    /// [`attach`](Self::attach).
    #[doc(alias("down", "ifdown", "net-destroy"))]
    pub fn stop_network(&mut self, name: &IfName, guests: Guests) -> Result<Applied, Error> {
        let _networks = self.records.hold_networks(self.patience(), &self.interrupted())?;
        self.close_others(name)?;
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
        let stopped = match session.record().cloned() {
            Some(entry) => self.stop_in(&mut session, name, &entry, guests).map(Some),
            None => Ok(None),
        };
        match stopped {
            Ok(Some(applied)) => {
                self.forget(session, subject)?;
                let left = self.end_service(name).and_then(|()| self.records.set_stopped(name));
                left.map_err(|e| e.incomplete("the network is stopped, and files of it are left: stop it once more"))?;
                Ok(applied)
            }
            Ok(None) => {
                let nothing = self.nothing_to_stop(name);
                self.keep(session, subject);
                nothing
            }
            Err(e) => {
                self.keep(session, subject);
                Err(self.with_guests_back(name, e))
            }
        }
    }

    /// After a stop that failed: a bridge that was removed and made anew has lost its ports.
    fn with_guests_back(&mut self, name: &IfName, e: Error) -> Error {
        if e.outcome() != Some(Outcome::Restored) {
            return e;
        }
        let again = self.records.started(name).and_then(|started| match started {
            Some(started) => self.mend_guests(&started.network, &mut Applied::nothing(Plan::nothing())),
            None => Ok(()),
        });
        // A guest's lock has taken the place of the network's.
        let again = if self.keeps { again.and(self.lock(Subject::Network(*name))) } else { again };
        match again {
            Ok(()) => e,
            Err(more) => also(e, &more.to_string()),
        }
    }

    fn nothing_to_stop(&mut self, name: &IfName) -> Result<Applied, Error> {
        self.check_shown(&Plan::nothing())?;
        self.end_service(name)?;
        self.records.set_stopped(name)?;
        let mut nothing = Applied::nothing(Plan::nothing());
        let others: Vec<IfName> = self.others_started(name)?.iter().map(|s| s.network.name()).collect();
        let which = if others.is_empty() { String::new() } else { format!("; started are: {}", joined(&others)) };
        nothing.notes.push(format!("network {name} is not started{which}"));
        Ok(nothing)
    }

    /// Carries out the stop of a network that is started. After an error it is started and served as before, with the same leases, as far as
    /// that can be; the error says what cannot.
    fn stop_in(
        &mut self,
        session: &mut Session,
        name: &IfName,
        entry: &Entry,
        guests: Guests,
    ) -> Result<Applied, Error> {
        let subject = Subject::Network(*name);
        let plan = self.restore_network(name, entry, guests)?;
        self.check_shown(&plan)?;
        let known = self.records.started_or_stopping(name)?;
        // No new guest may find it.
        let applied = self.pause_service(name).and_then(|()| self.records.set_stopping(name)).and_then(|()| {
            let what = format!("cannot stop network {name}");
            self.carry_out(session, subject, plan, None, &what)
        });
        let (Err(e), Some(started)) = (&applied, known) else { return applied };
        let again = [self.records.set_started(&started), self.serve(&started)];
        let failed: Vec<String> = again.into_iter().filter_map(Result::err).map(|more| more.to_string()).collect();
        if failed.is_empty() {
            return applied;
        }
        Err(also(e.clone(), &format!("not served as before: {}", failed.join("; "))))
    }

    /// Finishes or undoes interrupted operations on other networks, while what they began on is still there. The caller holds the lock of
    /// the networks, so no other process works on them. What can be neither finished nor undone stays open: the next call on that
    /// network reports it.
    fn close_others(&mut self, name: &IfName) -> Result<(), Error> {
        let Records::Dir(dir) = &self.records else { return Ok(()) };
        let dir = dir.clone();
        // One lock at a time, and the network's own is no other's.
        if self.kept.as_ref().is_some_and(|(kept, _)| *kept != Subject::Network(*name)) {
            self.release();
        }
        for other in dir.journalled_networks()?.into_iter().filter(|other| other != name) {
            let subject = Subject::Network(other);
            let Ok(mut held) = dir.hold(subject, self.patience()) else { continue };
            if self.recover_held(&mut held, subject).is_err() {
                continue;
            }
            if self.is_mistaken(&other, held.record())? {
                self.note_recovered(subject)?;
            }
        }
        Ok(())
    }

    /// The networks that are started.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn started_networks(&self) -> Result<Vec<Started>, Error> {
        self.records.all_started()
    }

    /// The networks that are started, but this one.
    pub(super) fn others_started(&self, name: &IfName) -> Result<Vec<Started>, Error> {
        let mut others = self.started_networks()?;
        others.retain(|s| s.network.name() != *name);
        Ok(others)
    }

    /// The network with what has to be found out: where the outside is, and which address this domain has there.
    pub(super) fn resolve(&mut self, network: &Network, record: Option<&Entry>) -> Result<ResolvedNetwork, Error> {
        let mut started =
            ResolvedNetwork { is_started: started_of(record).is_some(), ..ResolvedNetwork::new(network.clone()) };
        if let Some(bridge) = network.bridge() {
            let there = started_of(record).and_then(|s| s.bridge_mac);
            started.bridge_mac = there.or(self.bridge_with_mac(bridge)?.mac().filter(|_| bridge.mac().is_none()));
        }
        let outside = match network.mode() {
            NetworkMode::Bridge(_) => return Ok(started),
            NetworkMode::Nat(n) => &n.egress,
            NetworkMode::Routed(r) => &r.uplink,
        };
        started.outside = match outside {
            Egress::Link(link) => {
                let seen = self.look(&Scope::none().with(Part::Link(*link)))?;
                if !seen.links.contains_key(link) {
                    return Err(Error::new(
                        ErrorKind::LinkNotFound,
                        format!("network {}: {link}, towards the outside, is not there", network.name()),
                    )
                    .with_object(link.as_str())
                    .with_hint("`ip link` lists the links of this host; is the network that makes it started?")
                    .unchanged());
                }
                Some(*link)
            }
            // What was made for a link stays with it until the network is stopped.
            Egress::DefaultRoute => match started_of(record).and_then(|s| s.outside) {
                Some(outside) => Some(outside),
                None => self.default_route_link()?,
            },
        };
        if let NetworkMode::Routed(r) = network.mode() {
            started.source.clone_from(&r.source);
            for family in [Family::Ipv4, Family::Ipv6] {
                let given = started.source.iter().any(|s| Family::of(s) == family);
                if given || !network.routes(family == Family::Ipv6) {
                    continue;
                }
                let Some(outside) = started.outside else { continue };
                match self.first_address(&outside, family)? {
                    Some(address) => started.source.push(address),
                    // IPv6 guests have a gateway on their link all the same.
                    None if family == Family::Ipv6 => {}
                    None => {
                        return Err(Error::new(
                                ErrorKind::Invalid,
                                format!(
                                    "network {}: {outside} has no IPv4 address, which would be this domain's on guests' links",
                                    network.name()
                                ),
                            )
                            .with_object(outside.as_str())
                            .with_hint("give it one, or name another address of this host: source = [\"192.0.2.1\"]").unchanged());
                    }
                }
            }
        }
        started.lan = started_of(record).map(|s| s.lan.clone()).unwrap_or_default();
        let started = self.with_lan(started)?;
        if !started.is_started {
            self.gateways_not_of_others(network)?;
        }
        Ok(started)
    }

    /// Notes how the settings were before any network needed them.
    fn keep_originals(&self, started: &mut Started, before: &Snapshot) -> Result<(), Error> {
        let others = self.others_started(&started.network.name())?;
        for (key, value) in before.sysctls.iter() {
            let key = key.as_str();
            if !is_shared(key, started) || started.settings.contains_key(key) {
                continue;
            }
            let original = others.iter().find_map(|s| s.settings.get(key)).map_or(value, String::as_str);
            started.settings.insert(key.to_owned(), original.to_owned());
        }
        Ok(())
    }

    /// An operation on a network that was interrupted is finished, or undone: where the network is started, hotplug calls shall
    /// find it, and its guests be served.
    pub(super) fn note_recovered(&mut self, subject: Subject) -> Result<(), Error> {
        let Subject::Network(name) = subject else { return Ok(()) };
        let record = self.records.record(subject)?;
        let Some(mut started) = started_of(record.as_ref()).map(Started::of) else {
            self.end_service(&name)?;
            return self.records.set_stopped(&name);
        };
        if let Some(entry) = record {
            let origin = entry.origin();
            // What is known of settings is more than this record says: others may have raised them before, who have gone.
            if let Some(known) = self.records.started_or_stopping(&name)? {
                let is_own = |key: &str| key.parse().is_ok_and(|key| origin.sysctls.contains_key(&key));
                started.settings.extend(known.settings.into_iter().filter(|(key, _)| is_own(key)));
            }
            self.keep_originals(&mut started, &origin)?;
        }
        self.records.set_started(&started)?;
        self.serve(&started)
    }
}

/// The same error, where something else failed after it.
fn also(e: Error, more: &str) -> Error {
    let state = e.state().map(|state| format!("{state}; ")).unwrap_or_default();
    e.incomplete(format!("{state}{more}"))
}

/// What is new about a network that is started, if anything is.
///
/// # Errors
/// [`ErrorKind::Conflict`] for what it cannot take over.
fn changed(network: &Network, record: Option<&Entry>) -> Result<Option<networks::Change>, Error> {
    let Some(there) = started_of(record).filter(|there| there.network != *network) else { return Ok(None) };
    let name = network.name();
    let change = networks::changed(&there.network, network);
    if change.needs_stop.is_empty() {
        return Ok(Some(change));
    }
    let message = format!(
        "network {name} is started, and was described otherwise then: its {} cannot change meanwhile",
        change.needs_stop.join(", its ")
    );
    let e = Error::new(ErrorKind::Conflict, message).with_object(name.as_str());
    Err(e.with_hint(format!("stop it first: xennet network stop {name}")).unchanged())
}

/// The port forwards that a network has by its last start, and shall not have any more.
fn forwards_given_up(network: &Network, record: Option<&Entry>) -> Vec<PortForward> {
    let NetworkMode::Nat(is) = network.mode() else { return Vec::new() };
    match started_of(record).map(|s| s.network.mode()) {
        Some(NetworkMode::Nat(was)) => was.forwards.iter().filter(|f| !is.forwards.contains(f)).copied().collect(),
        _ => Vec::new(),
    }
}

/// The chains of other firewalls that a network's last start has put rules into, and in which it shall have none any more.
fn accepts_given_up(network: &Network, record: Option<&Entry>) -> Vec<ForeignChain> {
    let was = started_of(record).map(|s| s.network.accept_in()).unwrap_or_default();
    was.iter().filter(|chain| !network.accept_in().contains(chain)).cloned().collect()
}

fn started_of(record: Option<&Entry>) -> Option<&ResolvedNetwork> {
    record?.started()
}

/// Whether a setting is one that several networks can need, and not of a link that is this network's own.
fn is_shared(key: &str, started: &Started) -> bool {
    !started.network.is_bridge() && key.starts_with("net/")
}
