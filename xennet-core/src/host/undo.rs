//! The way back: undoing the last operation.

use super::Host;
use super::gone::taken_by;
use super::records::Session;
use super::restore::Taken;
use crate::error::{Error, ErrorKind};
use crate::exec::{Applied, Entry, Subject};
use crate::model::{Guests, IfName, Request, Started};
use crate::plan::Plan;
use crate::snapshot::{Link, LinkKind};

impl Host {
    /// What undoing the last operation on this vif, bridge or network would do. Changes nothing.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    pub fn plan_undo(&mut self, subject: Subject) -> Result<Plan, Error> {
        let record = self.records.record(subject)?;
        let plan = match (subject, &record) {
            (Subject::Network(name), Some(entry)) if entry.previous.is_none() => {
                self.restore_network(&name, entry, Guests::MustHaveGone)
            }
            _ => self.undo_of(subject, record.as_ref(), Taken::IsRefused, Guests::MustHaveGone),
        };
        Ok(plan?.asked(Request::Undo(subject)))
    }

    /// Puts back what was there before the last operation on this vif, bridge or network.
    ///
    /// ```
    /// use xennet_core::{DevId, DomId, Host, Subject, VifId};
    ///
    /// let mut host = Host::fake();
    /// let before = host.show()?;
    /// host.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
    /// host.undo(Subject::Vif(VifId::new(DomId::new(5)?, DevId::FIRST)))?;
    /// assert_eq!(host.show()?, before);
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::NothingToUndo`] if nothing is recorded for it, as of a network that is not started; [`ErrorKind::WouldCutOff`] if this
    /// domain would lose a default route; [`ErrorKind::Conflict`] if a bridge would go with what others have on it by now: ports, addresses, routes, a started
    /// network; else as [`attach`](Self::attach).
    #[doc(alias("rollback", "revert"))]
    pub fn undo(&mut self, subject: Subject) -> Result<Applied, Error> {
        if let Subject::Network(name) = subject {
            return self.undo_network(&name, Guests::MustHaveGone);
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
        self.check_shown(&plan)?;
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
        let entry = record.ok_or_else(|| nothing_recorded(subject))?;
        let before = crate::plan::completed(entry.before.clone());
        let now = self.look(&before.scope)?;
        let target = match (subject, entry.started()) {
            // Its bridge was looked at, but is not its own: it may have changed since, and that is not ours to undo.
            (Subject::Vif(_) | Subject::Tap(_), _) => before.seen(&before.scope_without_bridges()),
            (Subject::Network(_), Some(started)) => self.before_last_start(started, entry, &now, taken)?,
            (Subject::Bridge(_) | Subject::Network(_), _) => before,
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
            .unchanged()
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
            .unchanged()
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
            return Err(nothing_recorded(subject));
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
        Err(Error::new(ErrorKind::Conflict, message).with_object(bridge.as_str()).with_hint(hint).unchanged())
    }

    /// What undoing the last operation of all would do. Changes nothing.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    pub fn plan_undo_last(&mut self) -> Result<Plan, Error> {
        let subject = self.some_last()?;
        self.plan_undo(subject)
    }

    /// Puts back what was there before the last operation of all.
    ///
    /// # Errors
    /// As [`undo`](Self::undo).
    #[doc(alias("rollback", "revert"))]
    pub fn undo_last(&mut self) -> Result<Applied, Error> {
        let subject = self.some_last()?;
        self.undo(subject)
    }

    /// The subject of the last operation; an error where there is none.
    fn some_last(&self) -> Result<Subject, Error> {
        self.last()?.ok_or_else(|| {
            let e = Error::new(ErrorKind::NothingToUndo, "nothing is recorded that could be undone");
            e.with_hint(
                "a rehearsal remembers its own operations only; on the kernel, is it the right state directory?",
            )
        })
    }

    /// The subject of the last operation that can be undone.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the state directory cannot be read.
    pub fn last(&self) -> Result<Option<Subject>, Error> {
        self.records.last()
    }
}

/// The error for a vif, bridge or network that no record is about.
pub(super) fn nothing_recorded(subject: Subject) -> Error {
    let hint = "`xennet show` lists what is recorded";
    let (name, hint) = match subject {
        // A domain's number, perhaps.
        Subject::Bridge(name) if name.as_str().bytes().all(|b| b.is_ascii_digit()) => {
            (format!("bridge {name}"), format!("a vif is named as in vif{name}.0; {hint}"))
        }
        Subject::Bridge(name) => (format!("bridge {name}"), hint.to_owned()),
        Subject::Network(name) => {
            (format!("network {name}"), "`xennet network status` says which networks are started".to_owned())
        }
        Subject::Vif(_) | Subject::Tap(_) => (subject.to_string(), hint.to_owned()),
    };
    Error::new(ErrorKind::NothingToUndo, format!("{name}: nothing is recorded that could be undone"))
        .with_object(subject.to_string())
        .unchanged()
        .with_hint(hint)
}
