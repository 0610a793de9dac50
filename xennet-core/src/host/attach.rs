//! Attaching: what a vif line asks for, where the vif's link is now, and the retry when another program changes our tables meanwhile.

use ipnetwork::IpNetwork;

use super::gone::Leftover;
use super::records::Session;
use super::recover::Recovered;
use super::stations::{Connections, Known, Newcomer, has_places};
use super::{Host, MacBinding, gone, guests, joined, mend, place};
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::{Applied, Entry, Subject};
use crate::model::{
    Attach, Attachment, Behind, DevId, DomId, FoundVif, Guard, Guarded, IfName, MacAddr, PacketLog, Policy,
    RecordedVif, Request, Resolved, ResolvedVif, Started, TypeIf, VifId, VifSpec, VifType,
};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{Part, Route, Scope, Snapshot};
use crate::tables;

/// What attaching a vif asks for.
struct Asked {
    resolved: Resolved,
    notes: Vec<String>,
    /// The started network that the vif belongs to.
    network: Option<Started>,
    /// Routes of ours that lead the guest's addresses to another guest.
    elsewhere: Vec<Route>,
}

/// How much of our nft tables is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// What a call can afford.
    Usual,
    /// All rules.
    Whole,
}

/// Where a vif's link is now, and what its record says of it.
pub(super) struct Present {
    pub(super) name: IfName,
    /// The index only if the record is still about this link.
    pub(super) recorded: RecordedVif,
}

/// How often an attach is begun anew because another call has made a table of ours meanwhile.
pub(super) const FRAME_TRIES: u32 = 8;

impl Host {
    /// What attaching this vif would do. Changes nothing.
    ///
    /// `bridge=` names a bridge, or a started network, whose mode then counts. Without it, it is `script=` that says the mode:
    ///
    /// * bridge mode (`vif-bridge`, or nothing): the only bridge of the host is taken; if there are several, or none, that is an
    ///   error;
    /// * NAT and routed mode (`vif-nat`, `vif-route`): the started network of that mode whose subnet has the guest's address, or
    ///   the only one. Where none is started the vif gets what Xen's script gives it, and a note says what is missing.
    ///
    /// # Errors
    /// As [`plan::plan`]; [`ErrorKind::Unsupported`] for any other script, and for what only a bridge's port can be;
    /// [`ErrorKind::Invalid`] in bridge mode for `ip=` without `mac=`: the guard lets declared addresses pass from the guest's own
    /// MAC only; in the other modes for addresses that a network does not have, and where it is not clear which network is meant.
    #[doc(alias = "dry-run")]
    pub fn plan_attach(&mut self, domid: DomId, vif: &VifSpec) -> Result<Plan, Error> {
        let id = VifId::new(domid, vif.devid().unwrap_or(DevId::FIRST));
        let record = self.records.record(Subject::Vif(id))?;
        let Asked { resolved, mut notes, network, .. } = self.resolve_attach(id, TypeIf::Vif, vif, record.as_ref())?;
        let left = match self.left_by_earlier(id, TypeIf::Vif, vif.vifname(), record.as_ref()) {
            // A caller without CAP_NET_ADMIN can plan, but cannot read our tables.
            Err(e) if e.kind() == ErrorKind::Denied => {
                notes.push(format!(
                    "whether an earlier guest of {id} left something in xennet's nft tables is not known: {e}"
                ));
                Vec::new()
            }
            left => left?,
        };
        let plan = self.plan_of_vif(&resolved, vif, notes, Look::Whole, &left)?;
        let plan = match &resolved {
            Resolved::Attach(a) => {
                let known = Known::of(&a.wish, vif.mac().map(MacAddr::from));
                let (subject, record) = (Subject::Vif(id), record.as_ref());
                let new =
                    Newcomer { subject, wish: &a.wish, known, network: network.as_ref(), record, is_same_link: false };
                let (_, told) = self.before_newcomer(&new)?;
                plan.with_notes(told)
            }
            _ => plan,
        };
        let plan = self.told_of_others(plan, Subject::Vif(id))?;
        Ok(plan.asked(Request::Attach { domid, vif: Box::new(vif.clone()) }))
    }

    /// Attaches a vif: in bridge mode as a port of its bridge, up, with the backend's MAC and no addresses of its own. With `ip=`
    /// the guard drops what the guest sends from any other MAC or address ([`Guard`]). In NAT and routed mode: up, with this
    /// domain's address on it and a route to each of the guest's; the guest may send from these only.
    ///
    /// A second call with the same vif changes nothing; one with another bridge, name or MTU changes only that.
    ///
    /// ```
    /// use xennet_core::{DomId, Host};
    ///
    /// let mut host = Host::fake();
    /// let applied = host.attach(DomId::new(5)?, &"mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.5".parse()?)?;
    /// assert!(applied.steps > 0);
    /// for line in &applied.done {
    ///     println!("{line}");
    /// }
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`plan_attach`](Self::plan_attach); [`ErrorKind::Busy`], [`ErrorKind::StateFull`],
    /// [`ErrorKind::StateUnusable`] before anything is touched; [`ErrorKind::Denied`], [`ErrorKind::Kernel`],
    /// [`ErrorKind::NotVerified`] with the state the system was left in.
    #[doc(alias("hotplug", "vif-bridge", "vif-route", "vif-nat", "addif"))]
    pub fn attach(&mut self, domid: DomId, vif: &VifSpec) -> Result<Applied, Error> {
        self.attach_link(VifId::new(domid, vif.devid().unwrap_or(DevId::FIRST)), TypeIf::Vif, vif)
    }

    /// Attaches the emulated twin of a vif in the same way, under the vif's `vifname` with `-emu` behind it.
    ///
    /// # Errors
    /// As [`attach`](Self::attach), and [`ErrorKind::Invalid`] where the tap's name would be too long.
    #[doc(alias("tap", "tun", "qemu"))]
    pub fn attach_tap(&mut self, domid: DomId, vif: &VifSpec) -> Result<Applied, Error> {
        self.attach_link(VifId::new(domid, vif.devid().unwrap_or(DevId::FIRST)), TypeIf::Tap, vif)
    }

    /// Attaches one of the two links of a vif.
    pub(crate) fn attach_link(&mut self, id: VifId, type_if: TypeIf, vif: &VifSpec) -> Result<Applied, Error> {
        let subject = Subject::of(id, type_if);
        let mut session = self.begin(subject)?;
        let known = session.record().and_then(guests::network_of);
        let mut told = None;
        let mut result = self.attach_held(&mut session, id, type_if, vif, &mut told);
        // Who serves a network that it does not belong to, or not any more, has nothing to do with it.
        let elsewhere =
            if result.is_ok() { known.filter(|k| told != Some(*k)) } else { told.filter(|t| known != Some(*t)) };
        if let Some(network) = elsewhere.filter(|_| type_if == TypeIf::Vif) {
            let forgotten = self.forget_guest(&network, id);
            result = result.and_then(|applied| forgotten.map(|()| applied));
        }
        if let (Err(e), Session::Held(held)) = (&result, &mut session) {
            // The way back failed, too, as when the link has gone: with that there is nothing left to go back to.
            if let Some(recovered) =
                held.interrupted().is_some().then(|| self.recover_held(held, subject).ok()).flatten()
            {
                result = Err(match recovered {
                    Some(Recovered::Gone) => e.clone().restored("the vif has gone, and nothing of it is left"),
                    Some(Recovered::Finished) => {
                        e.clone().incomplete("attached all the same: another look found it as wanted")
                    }
                    _ => e.clone().restored("restored"),
                });
            }
        }
        self.keep(session, subject);
        result
    }

    fn attach_held(
        &mut self,
        session: &mut Session,
        id: VifId,
        type_if: TypeIf,
        vif: &VifSpec,
        told: &mut Option<IfName>,
    ) -> Result<Applied, Error> {
        let subject = Subject::of(id, type_if);
        // The plan that was shown came from a look at all rules; the one that is carried out does, too.
        let look = if self.is_shown() { Look::Whole } else { Look::Usual };
        let left = self.left_by_earlier(id, type_if, vif.vifname(), session.record())?;
        if self.is_shown() {
            let Asked { resolved, notes, .. } = self.resolve_attach(id, type_if, vif, session.record())?;
            let plan = self.plan_of_vif(&resolved, vif, notes, Look::Whole, &left)?;
            self.check_shown(&plan)?;
        }
        let mut tries = FRAME_TRIES;
        let mut in_place: Vec<Route> = Vec::new();
        let mut put_back: Vec<String> = Vec::new();
        loop {
            let Asked { mut resolved, mut notes, network, elsewhere } =
                self.resolve_attach(id, type_if, vif, session.record())?;
            if let Resolved::Attach(a) = &mut resolved {
                a.found.takes_over.extend(in_place.iter().map(|r| r.destination));
                notes.extend(gone::taken_over(&in_place));
            }
            if let Some(started) = &network
                && put_back.is_empty()
                && self.guests_are_exposed(started)?
            {
                put_back = self.mend_tables(subject)?;
            }
            let mut plan = match self.plan_of_vif(&resolved, vif, notes, look, &left) {
                Err(e)
                    if e.kind() == ErrorKind::Conflict && e.object().is_some_and(|o| o.starts_with("nft table ")) =>
                {
                    self.close_all_reserved()?;
                    return Err(e);
                }
                plan => plan?,
            };
            if put_back.is_empty() && plan.steps().iter().any(|p| tables::mends_table(&p.step)) {
                put_back = self.mend_tables(subject)?;
                if !put_back.is_empty() {
                    continue;
                }
            }
            let what = match &resolved {
                Resolved::Attach(a) if let Attachment::Bridge { bridge, .. } = &a.wish.attachment => {
                    format!("cannot attach {subject} to bridge {bridge}")
                }
                _ => format!("cannot attach {subject}"),
            };
            if let Some(started) = network.as_ref().filter(|_| type_if == TypeIf::Vif) {
                // Before the link goes up, and the guest asks.
                *told = Some(started.network.name());
                self.tell_of_guest(started, id, vif)?;
            }
            // A vif that is as wanted already, but not by our doing, is ours from now on. A recorded line that cannot be read is replaced.
            let is_readable = |text: &str| text.parse::<VifSpec>().is_ok();
            if plan.is_empty() && session.record().is_some_and(|r| r.text.as_deref().is_none_or(is_readable)) {
                return Ok(Applied::nothing(plan).with_put_back(put_back));
            }
            let makes_table = plan.steps().iter().any(|p| tables::makes_table(&p.step));
            let mut had = None;
            let recorded = session.record().and_then(Entry::owned_link).map(|(index, _)| index);
            let is_same_link = recorded.is_some_and(|index| plan.before().link_by_index(index).is_some());
            // Only an earlier guest of this name can have left counts, and it left a record or elements as well.
            if let Resolved::Attach(a) = &resolved
                && !is_same_link
                && (session.record().is_some() || !left.is_empty())
            {
                plan = plan.with_notes(self.forget_violations(a.wish.name));
            }
            if let Resolved::Attach(a) = &resolved
                && has_places(type_if)
            {
                let known = Known::of(&a.wish, vif.mac().map(MacAddr::from));
                let record = session.record();
                let new = Newcomer { subject, wish: &a.wish, known, network: network.as_ref(), record, is_same_link };
                let (of_former, told) = self.before_newcomer(&new)?;
                let is_left = recorded.is_some() || !left.is_empty() || plan::is_hidden(&a.wish, plan.before());
                plan = plan.with_notes(told);
                if a.found.takes_over.is_empty() && !is_same_link && is_left {
                    // An earlier guest that ended without a call left its record or its elements. Without these there is no search:
                    // the kernel walks its whole connection table for it, which costs ten times as much as the rest of the call.
                    let told = self.forget_connections(a.wish.attachment.guest(), &elsewhere);
                    plan = plan.with_notes(told).with_notes(self.forget_on_bridge(&a.wish));
                } else if !of_former.is_empty() {
                    plan = plan.with_notes(self.forget_connections(&of_former, &elsewhere));
                }
                plan = plan.with_notes(self.take_places(&new)?);
                had = session.record().filter(|r| r.owned_link().is_some()).and_then(Known::recorded);
                had = had.filter(|had| *had != new.known);
            }
            let known = had.map(|had| (had, attached_as(&resolved, vif)));
            match self.carry_out(session, subject, plan, Some(vif.to_string()), &what) {
                // Another call has made the table in the meantime: then only the vif's own part is missing.
                Err(e) if makes_table && tries > 0 && e.errno() == Some(Errno::EEXIST) => tries -= 1,
                // Another program changed the tables during this call.
                Err(e) if tries > 0 && mend::is_of_tables(&e) => {
                    tries -= 1;
                    put_back.clear();
                    if let Session::Held(held) = session {
                        self.recover_held(held, subject)?;
                    }
                }
                Ok(mut applied) => {
                    if let Some((had, has)) = &known {
                        applied.notes.extend(self.leave_places(subject, had, has.as_ref(), Connections::Remain));
                    }
                    return Ok(applied.with_put_back(put_back));
                }
                // Another guest of ours has a route to one of its addresses: that one is older.
                Err(e) if in_place.is_empty() && e.errno() == Some(Errno::EEXIST) => {
                    in_place = self.in_its_place(&resolved)?;
                    if in_place.is_empty() {
                        return Err(self.explained(e, &resolved));
                    }
                }
                Err(e) if e.hint().is_none() => return Err(self.explained(e, &resolved)),
                result => return result,
            }
        }
    }

    /// The plan for a vif, with what else is to be known: other firewalls that may drop what the guest sends. What is `left` of an earlier
    /// guest goes first.
    fn plan_of_vif(
        &mut self,
        resolved: &Resolved,
        line: &VifSpec,
        mut notes: Vec<String>,
        look: Look,
        left: &[Leftover],
    ) -> Result<Plan, Error> {
        let plan = match look {
            _ if !left.is_empty() => self.plan_instead(resolved, left)?,
            Look::Usual => self.plan(resolved)?,
            Look::Whole => self.plan_whole(resolved)?,
        };
        if let Resolved::Attach(vif) = resolved {
            not_of_this_domain(&vif.wish, line, plan.before())?;
            notes.extend(super::show::bridge_is_down(&vif.wish, plan.before()));
            notes.extend(self.obstacles_of_vif(&vif.wish, plan.before()));
            notes.extend(self.vlans_of_vif(&vif.wish)?);
        }
        Ok(plan.with_notes(notes))
    }

    /// A failure in the words of planning, where what was wished for cannot be had any more: its bridge has gone, and all that
    /// the kernel says is that an argument is invalid. Or another link has the route.
    fn explained(&mut self, e: Error, resolved: &Resolved) -> Error {
        let why = match self.plan(resolved) {
            Err(why) if matches!(why.kind(), ErrorKind::BridgeNotFound | ErrorKind::NotABridge) => Some(why),
            _ if e.errno() == Some(Errno::EEXIST) => self.other_way(resolved),
            _ => None,
        };
        let Some(why) = why else { return e };
        let why = why.with_state_of(&e);
        if let Some(step) = e.step() { why.with_step(step) } else { why }
    }

    fn resolve_attach(
        &mut self,
        id: VifId,
        type_if: TypeIf,
        vif: &VifSpec,
        record: Option<&Entry>,
    ) -> Result<Asked, Error> {
        let subject = Subject::of(id, type_if);
        let mut notes = Vec::new();
        let place::Place { attachment, mtu, network } = self.place(id, type_if, vif, &mut notes)?;
        if let Some(backend) = &vif.backend() {
            notes.push(format!(
                "backend={backend} is not looked at: the vif is attached in the domain that this runs in"
            ));
        }
        notes.extend(vif.rate().map(|rate| match type_if {
            TypeIf::Vif => format!(
                "rate={rate} is not set by xennet: netback limits the guest by the node rate, which the toolstack writes"
            ),
            TypeIf::Tap => format!("rate={rate} has no effect on {subject}: netback limits the vif, not its emulated twin"),
        }));
        // Only what comes in by a bridge has a MAC that somebody else could have, too.
        let guard = match attachment {
            Attachment::Bridge { .. } => {
                let given = vif.policy().or_else(|| network.as_ref()?.network.policy());
                let guard = self.guard_of(subject, vif, given, &mut notes)?;
                let guard = self.reserved(subject, vif, guard, network.as_ref(), &mut notes)?;
                if guard.is_none() {
                    let given = vif.log().filter(|log| *log != PacketLog::Off);
                    notes.extend(given.map(|log| format!("log={log} has no effect: {subject} may send anything")));
                }
                guard.map(|guard| guard.with_log(place::log_of(vif, network.as_ref())))
            }
            _ => None,
        };
        let name = match (vif.vifname(), type_if) {
            (Some(name), TypeIf::Vif) => {
                if vif.vif_type() == Some(VifType::Ioemu) {
                    // The twin comes later, when the vif is up: then it would be too late to refuse the name.
                    name.tap().map_err(Error::unchanged)?;
                }
                name
            }
            (Some(name), TypeIf::Tap) => name.tap().map_err(Error::unchanged)?,
            (None, _) => id.link_name(type_if).map_err(Error::unchanged)?,
        };
        let present = self.present_device(id, type_if, record)?;
        let own = gone::own_links(id, type_if, &[present.name, name]);
        let elsewhere = self.led_elsewhere(attachment.guest(), &own)?;
        let has_place = |r: &&Route| Some(r.metric) == gone::metric(&attachment);
        let in_place: Vec<Route> = elsewhere.iter().filter(has_place).cloned().collect();
        notes.extend(gone::taken_over(&in_place));
        let network_name = network.as_ref().map(|s| s.network.name());
        Ok(Asked {
            resolved: Resolved::from(ResolvedVif {
                wish: Attach { id, name, mtu, guard, network: network_name, attachment },
                found: FoundVif {
                    takes_over: in_place.into_iter().map(|r| r.destination).collect(),
                    ..FoundVif::named(present.name)
                },
                recorded: present.recorded,
            }),
            notes,
            network,
            elsewhere,
        })
    }

    /// What the guard lets a port of a bridge send, by the policy that its line or its network gives. Says where that is not what `ip=` and
    /// `macs=` alone would mean.
    fn guard_of(
        &self,
        subject: Subject,
        vif: &VifSpec,
        given: Option<Policy>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Guard>, Error> {
        let is_declared = !vif.sources().is_empty();
        let policy = given.unwrap_or(match self.binding {
            _ if is_declared => Policy::Strict,
            MacBinding::Always => Policy::Mac,
            MacBinding::WhereDeclared => Policy::Off,
        });
        let word = if vif.policy().is_some() { format!("policy={policy}") } else { format!("policy {policy}") };
        if matches!(policy, Policy::Off | Policy::Mac) && is_declared {
            notes.push(format!("{word}: the addresses of {subject} are not looked at in what the guest sends"));
        }
        if policy == Policy::Off {
            if !vif.macs().is_empty() {
                notes.push(format!("macs= of {subject} has no effect: the guest may send from any MAC"));
            }
            return Ok(None);
        }
        let Some(mac) = vif.mac() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("{subject}: what the guest sends is to be filtered, and its MAC is not given"),
            )
            .with_object(subject.to_string())
            .unchanged()
            .with_hint(match given {
                Some(_) => "give mac=, or policy=off for a guest that may send anything".to_owned(),
                None => "give mac= beside ip=: declared addresses pass from the guest's own MAC only".to_owned(),
            }));
        };
        Ok(Some(match policy {
            Policy::Disabled => Guard::closed(mac),
            Policy::Strict if !is_declared => {
                notes.push(format!(
                    "{word}, and no address is declared: nothing passes from {subject} or to it; give ip= or prefix=, or policy=mac"
                ));
                Guard::closed(mac)
            }
            Policy::Strict => {
                notes.extend(vif.networks_in_ip().map(|n| {
                    format!("ip={n} lets the guest send from every address of that network; prefix={n} says so")
                }));
                Guard::declared(mac, vif.sources()).with_further_macs(vif.macs().iter().copied())
            }
            _ => Guard::mac_only(mac).with_further_macs(vif.macs().iter().copied()),
        }))
    }

    /// The guard with the reserved addresses of the guest's network, where policy `mac` would let the guest use them: the network's list, this
    /// domain's addresses on the bridge, and the gateways.
    fn reserved(
        &mut self,
        subject: Subject,
        vif: &VifSpec,
        guard: Option<Guard>,
        started: Option<&Started>,
        notes: &mut Vec<String>,
    ) -> Result<Option<Guard>, Error> {
        let network = started.map(|s| &s.network).filter(|network| !network.reserved().is_empty());
        let Some((network, bridge)) = network.and_then(|network| Some((network, network.bridge()?.name()))) else {
            return Ok(guard);
        };
        let Some(guard) = guard else {
            notes.push(format!(
                "policy off: {subject} may also use the addresses that network {} reserves; policy=mac would keep it from them",
                network.name()
            ));
            return Ok(None);
        };
        if guard.closed || guard.addresses.is_some() {
            return Ok(Some(guard));
        }
        let seen = self.look(&Scope::none().with(Part::Addresses(bridge)))?;
        let ours = seen.addresses_of(&bridge).map(|a| IpNetwork::from(a.address.ip()));
        let gateways = network.subnets().iter().map(|s| IpNetwork::from(s.gateway()));
        let all = network.reserved().iter().copied().chain(ours).chain(gateways);
        Ok(Some(guard.with_reserved(all, vif.sources())))
    }

    /// Where the vif's link is now. A link keeps its index when it is renamed, so the record's index finds it under any
    /// name, and never finds another domain's link that took the name.
    ///
    /// Where the record's link is no more, the record is of an earlier life of the vif: the name that the link was made with
    /// decides, which by construction is this very vif's. What the guard had of that life goes with it.
    pub(super) fn present_device(
        &mut self,
        id: VifId,
        type_if: TypeIf,
        record: Option<&Entry>,
    ) -> Result<Present, Error> {
        let made = id.link_name(type_if).map_err(Error::unchanged)?;
        let guard = record.and_then(Entry::guarded).map(Box::new);
        let routes = match record.and_then(Entry::behind) {
            Some(behind) => Some(Box::new(self.still_behind(behind, id, type_if, made)?)),
            None => None,
        };
        let as_made = Present { name: made, recorded: RecordedVif { guard, routes, ..RecordedVif::default() } };
        let Some((index, name, goal)) = record.and_then(|e| e.link().map(|(i, n)| (i, n, &e.goal))) else {
            return Ok(as_made);
        };
        let seen = self.look(&Scope::none().with(Part::LinkIndex(index)))?;
        let bridge = match goal {
            Goal::Resolved(Resolved::Attach(a)) => match a.wish.attachment {
                Attachment::Bridge { bridge, .. } => Some(bridge),
                _ => None,
            },
            _ => None,
        };
        let now = match seen.link_by_index(index) {
            Some((present, _)) if *present == name || *present == made => Some(*present),
            // Renamed by hand.
            Some(_) if let Some(entry) = record => {
                self.need_now(Subject::of(id, type_if), entry)?.map(|vif| vif.found.device)
            }
            _ => None,
        };
        Ok(match now {
            Some(now) => {
                Present { name: now, recorded: RecordedVif { index: Some(index), bridge, ..as_made.recorded } }
            }
            // Gone, or the index belongs to a link that we know nothing of (indexes are not given out again soon, but the
            // state directory may be older than the kernel).
            None if name != made
                && (self.is_there(&name)? || self.has_lost_name(Subject::of(id, type_if), name)?) =>
            {
                // Another vif has taken the name that this one had: the elements with that name are its own.
                let RecordedVif { guard, routes, .. } = as_made.recorded;
                let guard = guard.map(|g| Box::new(Guarded { link: made, ..*g }));
                let routes = routes.map(|b| Box::new(Behind { link: made, ..*b }));
                Present { recorded: RecordedVif { guard, routes, ..RecordedVif::default() }, ..as_made }
            }
            None => as_made,
        })
    }

    pub(super) fn is_there(&mut self, name: &IfName) -> Result<bool, Error> {
        Ok(self.look(&Scope::none().with(Part::Link(*name)))?.links.contains_key(name))
    }

    pub(super) fn only_bridge(&mut self, subject: Subject) -> Result<IfName, Error> {
        let bridges = self.bridges()?;
        match bridges[..] {
            [only] => Ok(only),
            [] => Err(Error::new(
                ErrorKind::BridgeNotFound,
                format!("{subject}: no bridge= was given, and there is no bridge here"),
            )
            .with_hint("make a bridge first, then name it: bridge=NAME")),
            _ => Err(Error::new(
                ErrorKind::BridgeNotFound,
                format!("{subject}: no bridge= was given, and there are several bridges here: {}", joined(&bridges)),
            )
            .with_hint("name one: bridge=NAME")),
        }
        .map_err(|e: Error| e.with_object(subject.to_string()).unchanged())
    }
}

/// What the kernel will learn of a guest that is attached so.
fn attached_as(resolved: &Resolved, vif: &VifSpec) -> Option<Known> {
    match resolved {
        Resolved::Attach(a) => Some(Known::of(&a.wish, vif.mac().map(MacAddr::from))),
        _ => None,
    }
}

/// Refuses the MAC of a guest that its bridge has: each would get only some of its frames.
fn not_of_this_domain(a: &Attach, line: &VifSpec, seen: &Snapshot) -> Result<(), Error> {
    let (Attachment::Bridge { bridge, .. }, Some(mac)) = (&a.attachment, line.mac().map(MacAddr::from)) else {
        return Ok(());
    };
    if seen.links.get(bridge).and_then(|link| link.mac) != Some(mac) {
        return Ok(());
    }
    let message = format!("{}: {mac} is the MAC of {bridge}: what is sent to the guest would go to this domain", a.id);
    let hint = format!("give the guest another MAC: mac=; `ip link show dev {bridge}` tells this domain's");
    Err(Error::new(ErrorKind::Conflict, message).with_object(a.id.to_string()).with_hint(hint).unchanged())
}
