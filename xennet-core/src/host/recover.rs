//! Closing what a crash left open, and putting back what others have removed since.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::mend::is_others;
use super::records::Session;
use super::restore::Taken;
use super::{Host, Records, carry_out_in};
use crate::error::{Error, ErrorKind};
use crate::exec::{self, Entry, Held, Journal, Subject, restore_state, verify};
use crate::model::{Detach, FoundVif, IfName, Network, RecordedVif, Request, Resolved, ResolvedVif, Started};
use crate::plan::{Goal, Plan};
use crate::snapshot::{LinkKind, Part, Scope, Snapshot};

/// What recovery did with one interrupted operation, or with a vif or network that had lost something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovered {
    /// The wanted state had been reached: the operation now counts as carried out.
    Finished,
    /// The state before the operation was put back.
    Restored {
        /// How many steps it took.
        steps: usize,
    },
    /// The vif has gone meanwhile (its domain ended), and the operation with it.
    Gone,
    /// Another program had removed something that it needs, and it was put back.
    Mended {
        /// What was put back, a step each, in words.
        done: Vec<String>,
    },
    /// It lacks something that is not put back, since another program uses it in another way.
    Left {
        /// What stands in the way.
        why: String,
    },
    /// The vif had gone without a call, and what was left of it is removed.
    Cleared {
        /// How many steps it took.
        steps: usize,
    },
}

/// What was done with each subject, and the first error: one that fails does not keep the others.
pub(super) type Outcomes = (Vec<(Subject, Recovered)>, Option<Error>);

impl Recovered {
    /// The document for what became of a subject, for serde: `{"subject": "vif5.0", "outcome": "restored", "steps": 2}`; `outcome` is
    /// "finished", "restored", "gone", "cleared", "mended" or "left", `steps` how many it took now. With "mended" stands `done`, what was
    /// put back, and with "left" `why`.
    ///
    /// ```
    /// use xennet_core::Recovered;
    ///
    /// let document = Recovered::Restored { steps: 2 }.document("vif5.0".parse()?);
    /// let text = r#"{"subject":"vif5.0","outcome":"restored","steps":2}"#;
    /// assert_eq!(serde_json::to_string(&document).ok().as_deref(), Some(text));
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn document(&self, subject: Subject) -> RecoveredSubject<'_> {
        let outcome = match self {
            Recovered::Finished => "finished",
            Recovered::Restored { .. } => "restored",
            Recovered::Gone => "gone",
            Recovered::Mended { .. } => "mended",
            Recovered::Left { .. } => "left",
            Recovered::Cleared { .. } => "cleared",
        };
        let (done, why) = match self {
            Recovered::Mended { done } => (Some(done.as_slice()), None),
            Recovered::Left { why } => (None, Some(why.as_str())),
            _ => (None, None),
        };
        RecoveredSubject { subject: subject.to_string(), outcome, steps: self.carried_out().0, done, why }
    }

    /// How many steps it took now, and in words what they did, as far as that is known.
    pub(super) fn carried_out(&self) -> (usize, Vec<String>) {
        match self {
            Recovered::Restored { steps } | Recovered::Cleared { steps } => (*steps, Vec::new()),
            Recovered::Mended { done } => (done.len(), done.clone()),
            Recovered::Finished | Recovered::Gone | Recovered::Left { .. } => (0, Vec::new()),
        }
    }
}

/// What recovering did to one vif, bridge or network, as a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct RecoveredSubject<'a> {
    /// `vif5.0`, or `bridge-` or `network-` and a name.
    pub subject: String,
    /// `finished`, `restored`, `gone`, `cleared`, `mended` or `left`.
    pub outcome: &'static str,
    /// How many steps it took.
    pub steps: usize,
    /// What was put back, a step each, where something was missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub done: Option<&'a [String]>,
    /// What stands in the way, where it is left as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<&'a str>,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recovered::Finished => f.write_str("finished: the wanted state had been reached"),
            Recovered::Restored { steps: 0 } => f.write_str("nothing had been changed yet"),
            Recovered::Restored { steps } => write!(f, "restored: {steps} steps undone"),
            Recovered::Gone => f.write_str("nothing to restore: the vif has gone"),
            Recovered::Mended { done } => {
                write!(f, "lacked something that it needs; put back: {}", done.join("; "))
            }
            Recovered::Left { why } => write!(f, "lacks something that it needs, and is left as it is: {why}"),
            Recovered::Cleared { .. } => f.write_str("cleared away: the vif had gone without a call to disconnect it"),
        }
    }
}

/// The plan of a recovery that takes no steps: a note says what it comes to.
fn noted(subject: Subject, what: &Recovered) -> Plan {
    Plan::nothing().with_notes([format!("{subject}: {what}")])
}

/// The same where another program's use stands in the way. Any other error stays one.
fn left(subject: Subject, e: Error) -> Result<Plan, Error> {
    if is_others(&e) { Ok(noted(subject, &Recovered::Left { why: e.to_string() })) } else { Err(e) }
}

impl Host {
    /// What recovering would do: a plan for each vif, bridge or network of which an operation was interrupted or which lacks something.
    /// An empty plan says in its notes what is to be done without steps. Changes nothing, and takes no locks: of an operation that is
    /// under way this sees the middle.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`]. What stands in the way of one is in its place.
    pub fn plan_recover(&mut self) -> Result<BTreeMap<Subject, Result<Plan, Error>>, Error> {
        let mut subjects = BTreeSet::new();
        if let Records::Dir(dir) = &self.records {
            subjects.extend(dir.interrupted()?);
            subjects.extend(self.mistaken()?.into_iter().map(Subject::Network));
            subjects.extend(self.gone()?);
        }
        subjects.extend(self.started_networks()?.iter().map(|s| Subject::Network(s.network.name())));
        subjects.extend(self.attached()?.into_iter().map(|(subject, _)| subject));
        let mut plans = BTreeMap::new();
        for subject in subjects {
            match self.plan_recover_of(subject) {
                Ok(plan) if plan.is_empty() && plan.notes().is_empty() => {}
                plan => drop(plans.insert(subject, plan)),
            }
        }
        Ok(plans)
    }

    /// What recovering would do for one vif, bridge or network.
    pub(super) fn plan_recover_of(&mut self, subject: Subject) -> Result<Plan, Error> {
        let plan = match self.operation_left_open(subject)? {
            Some(entry) => self.plan_to_close(subject, &entry)?,
            None => self.plan_to_mend(subject)?,
        };
        Ok(plan.asked(Request::Recover(subject)))
    }

    pub(super) fn operation_left_open(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        match &self.records {
            Records::Dir(dir) => dir.open(subject),
            Records::Memory(_) => Ok(None),
        }
    }

    /// How an interrupted operation is closed.
    fn plan_to_close(&mut self, subject: Subject, entry: &Entry) -> Result<Plan, Error> {
        if verify(&entry.goal, &mut *self.backend).is_ok() {
            return Ok(noted(subject, &Recovered::Finished));
        }
        if self.vif_has_gone(subject, entry)? {
            return Ok(noted(subject, &Recovered::Gone));
        }
        let before = self.before_interrupted(entry)?;
        match exec::plan_restore(&before, &mut *self.backend) {
            Ok(Some(plan)) => Ok(plan),
            Ok(None) => Ok(noted(subject, &Recovered::Restored { steps: 0 })),
            Err(_) if self.vif_has_gone(subject, entry)? => Ok(noted(subject, &Recovered::Gone)),
            Err(e) => Err(e.about(&format!("{subject}: an interrupted operation can be neither finished nor undone"))),
        }
    }

    /// What a vif or network lacks, or leaves behind.
    fn plan_to_mend(&mut self, subject: Subject) -> Result<Plan, Error> {
        let record = self.records.record(subject)?;
        match (subject, record) {
            (Subject::Network(name), record) => self.plan_to_mend_network(name, record.as_ref()),
            (Subject::Vif(_) | Subject::Tap(_), Some(record)) => self.plan_to_mend_vif(subject, &record),
            _ => Ok(Plan::nothing()),
        }
    }

    fn plan_to_mend_network(&mut self, name: IfName, record: Option<&Entry>) -> Result<Plan, Error> {
        let subject = Subject::Network(name);
        if self.is_mistaken(&name, record)? {
            return Ok(noted(subject, &Recovered::Finished));
        }
        let Some(there) = record.and_then(Entry::started) else { return Ok(Plan::nothing()) };
        let missing = self.network_lacks(there, record)?;
        if missing.is_empty() {
            return Ok(Plan::nothing());
        }
        match self.start_of(&there.network, record) {
            // What is missing may be no step: who serves its guests, for example.
            Ok((_, plan)) if plan.is_empty() => {
                Ok(Plan::nothing().with_notes([format!("network {name} lacks: {}", missing.join("; "))]))
            }
            Ok((_, plan)) => Ok(plan),
            Err(e) => left(subject, e),
        }
    }

    fn plan_to_mend_vif(&mut self, subject: Subject, record: &Entry) -> Result<Plan, Error> {
        if let Some((id, type_if)) = subject.vif()
            && self.is_gone(subject, record)?
        {
            let plan = self.plan_detach_of(id, type_if, record)?;
            return Ok(plan.with_notes([format!("{subject}: its link has gone without a call to disconnect it")]));
        }
        let Some(needed) = self.need_now(subject, record)? else { return Ok(Plan::nothing()) };
        let resolved = Resolved::from(self.follow(subject, needed)?);
        match self.plan_whole(&resolved) {
            Ok(plan) if plan.is_empty() => Ok(Plan::nothing()),
            Ok(plan) => self.told_of_others(plan, subject),
            Err(e) => left(subject, e),
        }
    }

    /// Recovers one vif, bridge or network. `None` where there was nothing to do.
    pub(super) fn recover_subject(&mut self, subject: Subject) -> Result<Option<Recovered>, Error> {
        if self.operation_left_open(subject)?.is_some() {
            return self.with_lock(subject, |host, held| host.recover_held(held, subject));
        }
        if let Subject::Network(name) = subject {
            if self.is_mistaken(&name, self.records.record(subject)?.as_ref())? {
                self.with_lock(subject, |host, _| host.note_recovered(subject))?;
                return Ok(Some(Recovered::Finished));
            }
            return match self.records.started(&name)? {
                Some(started) => self.mend_network(&started),
                None => Ok(None),
            };
        }
        if let Some((id, type_if)) = subject.vif()
            && let Some(record) = self.records.record(subject)?
            && self.is_gone(subject, &record)?
        {
            let steps = self.detach_link(id, type_if)?.steps;
            return Ok(Some(Recovered::Cleared { steps }));
        }
        self.mend_vif(subject)
    }

    /// Closes every operation that a crash left open: finished if its goal had been reached, else undone. Then clears away what is
    /// left of vifs that have gone without a call, and puts back what somebody has taken away of what the started networks and the
    /// attached vifs need, as far as their links are there.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] if a state cannot be put back, with what is left; the other operations are recovered
    /// all the same, and the first error is returned.
    #[doc(alias("rollback", "repair"))]
    pub fn recover(&mut self) -> Result<Vec<(Subject, Recovered)>, Error> {
        let (mut done, mut first_error) = self.close_interrupted()?;
        for started in self.records.all_started()? {
            match self.mend_network(&started) {
                Ok(mended) => done.extend(mended.map(|m| (Subject::Network(started.network.name()), m))),
                Err(e) => drop(first_error.get_or_insert(e)),
            }
        }
        let vifs = self.attached()?;
        self.mend_vifs(vifs, |subject, mended| {
            match mended {
                Ok(mended) => done.push((subject, mended)),
                Err(e) => drop(first_error.get_or_insert(e)),
            }
            Ok(())
        })?;
        first_error.map_or(Ok(done), Err)
    }

    /// Closes every operation that a crash left open; what was done, and the first error.
    fn close_interrupted(&mut self) -> Result<Outcomes, Error> {
        let Records::Dir(dir) = &self.records else { return Ok((Vec::new(), None)) };
        let mut done = Vec::new();
        let mut first_error = None;
        for subject in dir.interrupted()? {
            match self.with_lock(subject, |host, held| host.recover_held(held, subject)) {
                Ok(recovered) => done.extend(recovered.map(|r| (subject, r))),
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        for name in self.mistaken()? {
            let subject = Subject::Network(name);
            // The lock holder will finish it.
            match self.with_lock(subject, |host, _| host.note_recovered(subject)) {
                Ok(()) => done.push((subject, Recovered::Finished)),
                Err(e) => {
                    first_error.get_or_insert(e);
                }
            }
        }
        let (mut cleared, error) = self.clear_gone()?;
        // What came of one whose operation was closed is said already.
        cleared.retain(|(subject, _)| !done.iter().any(|(closed, _)| closed == subject));
        done.extend(cleared);
        Ok((done, first_error.or(error)))
    }

    /// Works on what is written down of a subject, under its lock, which may be kept from the operation before.
    fn with_lock<T>(
        &mut self,
        subject: Subject,
        work: impl FnOnce(&mut Host, &mut Held) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut session = self.hold(subject)?;
        let Session::Held(held) = &mut session else {
            return Err(Error::new(ErrorKind::Internal, format!("{subject}: there is no state directory")));
        };
        let result = work(self, held);
        self.keep(session, subject);
        result
    }

    /// Whether a network's record and file disagree: a crash came between the two, and hotplug calls read the file.
    pub(super) fn is_mistaken(&self, name: &IfName, record: Option<&Entry>) -> Result<bool, Error> {
        let told = self.records.started(name)?;
        Ok(record.and_then(Entry::started).map(|s| &s.network) != told.as_ref().map(|s| &s.network))
    }

    /// The networks whose record and file disagree. A listing.
    fn mistaken(&self) -> Result<Vec<IfName>, Error> {
        let told: Vec<Started> = self.started_networks()?;
        let records = self.records.all()?;
        let made = records.values().filter_map(Entry::started);
        let made: Vec<&Network> = made.map(|s| &s.network).collect();
        let of_made = made.iter().filter(|m| !told.iter().any(|t| t.network == ***m)).map(|m| m.name());
        let of_told = told.iter().map(|t| t.network.name()).filter(|name| !made.iter().any(|m| m.name() == *name));
        Ok(of_made.chain(of_told).collect())
    }

    /// Closes an interrupted operation: finished if its goal is reached, else undone.
    pub(super) fn recover_held(&mut self, held: &mut Held, subject: Subject) -> Result<Option<Recovered>, Error> {
        let Some(entry) = held.interrupted().cloned() else { return Ok(None) };
        if verify(&entry.goal, &mut *self.backend).is_ok() {
            held.journal(None).commit()?;
            self.note_recovered(subject)?;
            return Ok(Some(Recovered::Finished));
        }
        if self.vif_has_gone(subject, &entry)? {
            // To put back what the guest might send would give it to whoever has its name by now. As attached it is cleared away.
            match &entry.goal {
                Goal::Resolved(Resolved::Attach(a)) => {
                    self.clear_former(subject, &a.recorded)?;
                    held.journal(None).commit()?;
                }
                _ => held.journal(None).abandon()?,
            }
            self.clear_gone_held(held, subject)?;
            return Ok(Some(Recovered::Gone));
        }
        let before = self.before_interrupted(&entry)?;
        match restore_state(&before, &mut *self.backend) {
            exec::Recovery::Restored { steps_undone } => {
                held.journal(None).abandon()?;
                self.note_recovered(subject)?;
                Ok(Some(Recovered::Restored { steps: steps_undone }))
            }
            // Meanwhile.
            _ if self.vif_has_gone(subject, &entry)? => {
                held.journal(None).abandon()?;
                Ok(Some(Recovered::Gone))
            }
            exec::Recovery::Refused(e) => {
                let what = format!("{subject}: an interrupted operation can be neither finished nor undone");
                Err(e.about(&what))
            }
            incomplete => Err(Error::new(
                ErrorKind::Interrupted,
                format!("{subject}: an interrupted operation can be neither finished nor undone"),
            )
            .with_object(subject.to_string())
            .incomplete(incomplete.to_string())
            .with_hint(format!("put it right by hand, then remove the file {subject}.journal of the state directory"))),
        }
    }

    /// Takes away what our tables and the uplink have of a vif whose link has gone, by its record. Where its number has another link by now,
    /// the next operation on that one does it.
    fn clear_gone_held(&mut self, held: &mut Held, subject: Subject) -> Result<(), Error> {
        let record = held.record().filter(|record| record.owned_link().is_some()).cloned();
        let Some((record, (id, type_if))) = record.zip(subject.vif()) else { return Ok(()) };
        if !self.is_gone(subject, &record)? {
            return Ok(());
        }
        let plan = self.plan_detach_of(id, type_if, &record)?;
        if !plan.is_empty() {
            let what = format!("cannot clear away what is left of {subject}");
            carry_out_in(&plan, &mut *self.backend, &mut held.journal(None), &what)?;
        }
        Ok(())
    }

    /// The same of what an interrupted change of it would have replaced.
    fn clear_former(&mut self, subject: Subject, former: &RecordedVif) -> Result<(), Error> {
        let Some((id, type_if)) = subject.vif() else { return Ok(()) };
        let made = id.link_name(type_if).map_err(Error::unchanged)?;
        let (mut guard, mut routes) = (former.guard.clone(), former.routes.clone());
        if self.is_there(&made)? || (guard.is_none() && routes.is_none()) {
            return Ok(());
        }
        // Under a name that another vif has by now all is that one's.
        for link in guard.iter_mut().map(|g| &mut g.link).chain(routes.iter_mut().map(|r| &mut r.link)) {
            if *link != made && (self.is_there(link)? || self.has_lost_name(subject, *link)?) {
                *link = made;
            }
        }
        let routes = match routes {
            Some(behind) => Some(Box::new(self.still_behind(*behind, id, type_if, made)?)),
            None => None,
        };
        let recorded = RecordedVif { guard, routes, ..RecordedVif::default() };
        let resolved = Resolved::from(ResolvedVif::new(Detach { id }, FoundVif::named(made), recorded));
        let plan = self.plan(&resolved)?;
        if !plan.is_empty() {
            let what = format!("cannot clear away what is left of {subject}");
            carry_out_in(&plan, &mut *self.backend, &mut exec::Unwritten, &what)?;
        }
        Ok(())
    }

    /// How it was before an operation that was interrupted, but for what others have by now.
    fn before_interrupted(&mut self, entry: &Entry) -> Result<Snapshot, Error> {
        match entry.started() {
            Some(started) => {
                let now = self.look(&entry.before.scope)?;
                self.before_last_start(started, entry, &now, Taken::IsLeft)
            }
            None => Ok(crate::plan::completed(entry.before.clone())),
        }
    }

    /// Whether the link that an operation was about is no more. Only its maker can make it again, so there is nothing left
    /// to finish or to undo, and the next domain's operations must not wait for it.
    fn vif_has_gone(&mut self, subject: Subject, entry: &Entry) -> Result<bool, Error> {
        let (Subject::Vif(_) | Subject::Tap(_)) = subject else { return Ok(false) };
        let Some((_, link)) = entry.before.links.iter().find(|(_, l)| l.kind != LinkKind::Bridge) else {
            return Ok(true);
        };
        let seen = self.look(&Scope::none().with(Part::LinkIndex(link.index)))?;
        Ok(seen.link_by_index(link.index).is_none())
    }
}
