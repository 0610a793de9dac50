//! The way back: undoing the last operation, and closing what a crash left open.

use std::fmt;

use super::gone::taken_by;
use super::network::started_of;
use super::records::Session;
use super::way_back::Taken;
use super::{Host, Records, unchanged};
use crate::error::{Error, ErrorKind};
use crate::exec::{self, Applied, Entry, Held, Journal, Subject, go_back, verify};
use crate::model::{Guests, IfName, Network, Started};
use crate::plan::Plan;
use crate::snapshot::{Link, LinkKind, Part, Scope};

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
    /// The document for what became of a subject: `{"subject": "vif5.0", "outcome": "restored", "steps": 2}`; `outcome` is
    /// "finished", "restored", "gone", "cleared", "mended" or "left", `steps` how many it took now. With "mended" stands `done`, what was put
    /// back, and with "left" `why`.
    pub fn to_json(&self, subject: Subject) -> serde_json::Value {
        let (outcome, steps) = match self {
            Recovered::Finished => ("finished", 0),
            Recovered::Restored { steps } => ("restored", *steps),
            Recovered::Gone => ("gone", 0),
            Recovered::Mended { done } => ("mended", done.len()),
            Recovered::Left { .. } => ("left", 0),
            Recovered::Cleared { steps } => ("cleared", *steps),
        };
        let mut document = serde_json::json!({ "subject": subject.to_string(), "outcome": outcome, "steps": steps });
        match self {
            Recovered::Mended { done } => document["done"] = serde_json::json!(done),
            Recovered::Left { why } => document["why"] = serde_json::json!(why),
            _ => {}
        }
        document
    }
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

impl Host {
    /// What undoing the last operation on this vif, bridge or network would do. Changes nothing.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    pub fn plan_undo(&mut self, subject: Subject) -> Result<Plan, Error> {
        let record = self.records.record(subject)?;
        match (subject, &record) {
            (Subject::Network(name), Some(entry)) if entry.previous.is_none() => {
                self.way_back(&name, entry, Guests::MustHaveGone)
            }
            _ => self.undo_of(subject, record.as_ref(), Taken::IsRefused, Guests::MustHaveGone),
        }
    }

    /// Puts back what was there before the last operation on this vif, bridge or network.
    ///
    /// # Errors
    /// [`ErrorKind::NothingToUndo`] if nothing is recorded for it; [`ErrorKind::WouldCutOff`] if this domain would lose a default
    /// route; [`ErrorKind::Conflict`] if a bridge would go with what others have on it by now: ports, addresses, routes, a started
    /// network; else as [`attach`](Self::attach).
    pub fn undo(&mut self, subject: Subject) -> Result<Applied, Error> {
        if let Subject::Network(name) = subject {
            return self.undo_start(&name, Guests::MustHaveGone);
        }
        let mut session = self.begin(subject)?;
        let taken = taken_by(session.record());
        let result = self.undo_held(&mut session, subject, Taken::IsRefused, Guests::MustHaveGone);
        self.keep(session, subject);
        let mut applied = result?;
        applied.notes.extend(self.give_back(&taken));
        Ok(applied)
    }

    pub(super) fn undo_held(
        &mut self,
        session: &mut Session,
        subject: Subject,
        taken: Taken,
        guests: Guests,
    ) -> Result<Applied, Error> {
        let plan = self.undo_of(subject, session.record(), taken, guests)?;
        self.carry_out(session, subject, plan, None, &format!("cannot undo the last operation on {subject}"))
    }

    /// The plan that undoes the last operation on a subject, which `record` tells of.
    fn undo_of(
        &mut self,
        subject: Subject,
        record: Option<&Entry>,
        taken: Taken,
        guests: Guests,
    ) -> Result<Plan, Error> {
        let nothing = || {
            let hint = "`xennet show` lists what is recorded";
            let (name, hint) = match subject {
                // A domain's number, perhaps.
                Subject::Bridge(name) if name.as_str().bytes().all(|b| b.is_ascii_digit()) => {
                    (format!("bridge {name}"), format!("a vif is named as in vif{name}.0; {hint}"))
                }
                Subject::Bridge(name) => (format!("bridge {name}"), hint.to_owned()),
                Subject::Network(name) => (format!("network {name}"), hint.to_owned()),
                Subject::Vif(_) | Subject::Tap(_) => (subject.to_string(), hint.to_owned()),
            };
            Error::new(ErrorKind::NothingToUndo, format!("{name}: nothing is recorded that could be undone"))
                .with_object(subject.to_string())
                .with_state("unchanged, nothing was applied")
                .with_hint(hint)
        };
        let entry = record.ok_or_else(nothing)?;
        let now = self.look(&entry.before.scope)?;
        let target = match (subject, started_of(Some(entry))) {
            // Its bridge was looked at, but is not its own: it may have changed since, and that is not ours to undo.
            (Subject::Vif(_) | Subject::Tap(_), _) => entry.before.seen(&entry.before.scope_without_bridges()),
            (Subject::Network(_), Some(started)) => self.before_last_start(started, entry, &now, taken)?,
            (Subject::Bridge(_) | Subject::Network(_), _) => entry.before.clone(),
        };
        let other = |name: &IfName, index: u32| now.links.get(name).is_some_and(|l| l.index != index);
        if let Some((name, _)) = target.links.iter().find(|(n, l)| l.kind != LinkKind::Bridge && other(n, l.index)) {
            return Err(Error::new(
                ErrorKind::NameTaken,
                format!(
                    "cannot undo the last operation on {subject}: its link was called {name}, and now another one is"
                ),
            )
            .with_object(name.as_str())
            .with_state("unchanged, nothing was applied")
            .with_hint(format!("rename or detach what is called {name} now, then undo again")));
        }
        let homeless: Vec<String> = target
            .links
            .iter()
            .filter(|(name, l)| now.links.get(*name).is_none_or(|n| n.master != l.master))
            .filter_map(|(name, l)| Some((name, l.master.filter(|m| !now.links.contains_key(m))?)))
            .map(|(name, master)| format!("- ip link set {name} master {master}"))
            .collect();
        let refused = |e: Error| e.about(&format!("cannot undo the last operation on {subject}"));
        if let Subject::Bridge(bridge) = subject {
            self.check_stands_on(bridge).map_err(refused)?;
        }
        let (plan, left) = if homeless.is_empty() {
            let plan = self.restore(&target, &now, guests).map_err(refused)?;
            let left = target.changes(&plan.after().seen(&target.scope)).iter().map(ToString::to_string).collect();
            // Of a network all comes back that can: of its addresses some may live shorter by now, or have gone by themselves.
            let left = if matches!(subject, Subject::Network(_)) { Vec::new() } else { left };
            (Some(plan), left)
        } else {
            (None, homeless)
        };
        let Some(plan) = plan.filter(|_| left.is_empty()) else {
            return Err(Error::new(
                ErrorKind::Stale,
                format!("cannot undo the last operation on {subject}: this cannot be put back: {}", left.join(", ")),
            )
            .with_object(subject.to_string())
            .with_state("unchanged, nothing was applied")
            .with_hint(match (subject, entry.link()) {
                (Subject::Vif(id) | Subject::Tap(id), Some((index, _))) if now.link_by_index(index).is_none() => format!(
                    "the vif has gone, and only netback can make it again, when its domain is built; what is left of it goes with \
                     `xennet detach {} {}` or `xennet recover`",
                    id.domid, id.devid
                ),
                _ => "a link that is gone can only be made again by whoever made it".to_owned(),
            }));
        };
        // Under the name of another vif it is not as it was made either.
        let as_made = |name: &IfName, l: &Link| l.master.is_none() && name.as_str() == subject.to_string();
        let ours = target.links.iter().any(|(name, l)| l.kind != LinkKind::Bridge && !as_made(name, l));
        if plan.is_empty() && entry.previous.is_none() && ours {
            // It is attached or renamed by our doing, and how it was before that is not known any more.
            return Err(nothing());
        }
        Ok(plan)
    }

    /// Refuses to take a bridge back that a started network stands on.
    fn check_stands_on(&self, bridge: IfName) -> Result<(), Error> {
        let stands = |s: &Started| s.outside == Some(bridge) || s.network.bridge().is_some_and(|b| b.name() == bridge);
        let Some(started) = self.started_networks()?.into_iter().find(stands) else { return Ok(()) };
        let name = started.network.name();
        let message = format!("network {name} is started, and uses {bridge}");
        let hint = format!("stop it first: xennet network stop {name}");
        Err(unchanged(Error::new(ErrorKind::Conflict, message).with_object(bridge.as_str()).with_hint(hint)))
    }

    /// Puts back what was there before the last operation of all.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    pub fn undo_last(&mut self) -> Result<Applied, Error> {
        match self.last()? {
            Some(subject) => self.undo(subject),
            None => Err(Error::new(ErrorKind::NothingToUndo, "nothing is recorded that could be undone").with_hint(
                "a rehearsal remembers its own operations only; on the kernel, is it the right state directory?",
            )),
        }
    }

    /// The subject of the last operation that can be undone.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the state directory cannot be read.
    pub fn last(&self) -> Result<Option<Subject>, Error> {
        self.records.last()
    }

    /// Closes every operation that a crash left open: finished if its goal had been reached, else undone. Then clears away what is
    /// left of vifs that have gone without a call, and puts back what somebody has taken away of what the started networks and the
    /// attached vifs need, as far as their links are there.
    ///
    /// # Errors
    /// [`ErrorKind::Interrupted`] if a state cannot be put back, with what is left; the other operations are recovered
    /// all the same, and the first error is returned.
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
        let (cleared, error) = self.clear_gone()?;
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

    /// The networks whose start or stop was carried out, and of which hotplug calls were not told any more.
    fn mistaken(&self) -> Result<Vec<IfName>, Error> {
        let told: Vec<Started> = self.started_networks()?;
        let records = self.records.all()?;
        let made = records.values().filter_map(|entry| started_of(Some(entry)));
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
        let before = match started_of(Some(&entry)) {
            Some(started) => {
                let now = self.look(&entry.before.scope)?;
                self.before_last_start(started, &entry, &now, Taken::IsLeft)?
            }
            None => entry.before.clone(),
        };
        match go_back(&before, &mut *self.backend) {
            exec::Recovery::Restored { steps_undone } => {
                held.journal(None).abandon()?;
                self.note_recovered(subject)?;
                Ok(Some(Recovered::Restored { steps: steps_undone }))
            }
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
            .with_state(incomplete.to_string())
            .with_hint(format!("put it right by hand, then remove the file {subject}.journal of the state directory"))),
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
