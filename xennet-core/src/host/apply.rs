//! Carrying out a plan that was shown.

use super::{Host, Records};
use crate::error::{Error, ErrorKind};
use crate::exec::Applied;
use crate::model::{Request, Subject};
use crate::plan::{Plan, ShownPlan};

impl Host {
    /// Carries out a plan of a host's as it was shown, or says what has changed since.
    ///
    /// The host plans anew, under the lock. Where the same steps come out they are carried out, as by the method that the plan was
    /// asked of ([`Request`]); otherwise nothing is done. What comes up while they are carried out is handled as by that method.
    ///
    /// ```
    /// use xennet_core::{DomId, Host};
    ///
    /// let mut host = Host::fake();
    /// let plan = host.plan_attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
    /// println!("{plan}"); // somebody looks at it, and agrees
    /// assert_eq!(host.apply(&plan)?.steps, plan.steps().len());
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Stale`](crate::ErrorKind::Stale) with what is otherwise by now; [`ErrorKind::Invalid`](crate::ErrorKind::Invalid)
    /// for a plan that no host has made; and as the method.
    pub fn apply(&mut self, plan: &Plan) -> Result<Applied, Error> {
        self.apply_shown(&ShownPlan::try_from(plan)?)
    }

    /// The plan of a request, as the method that it stands for would make it. Changes nothing.
    ///
    /// # Errors
    /// As that method.
    pub fn plan_request(&mut self, request: &Request) -> Result<Plan, Error> {
        match request {
            Request::Attach { domid, vif } => self.plan_attach(*domid, vif),
            Request::Detach { domid, devid } => self.plan_detach(*domid, *devid),
            Request::Bridge(bridge) => self.plan_bridge(bridge),
            Request::Start(network) => self.plan_start(network),
            Request::Stop { network, guests } => {
                self.plan_stop(network, *guests).map(|plan| plan.unwrap_or_else(Plan::nothing))
            }
            Request::Undo(subject) => self.plan_undo(*subject),
            Request::Recover(subject) => self.plan_recover_of(*subject),
        }
    }

    /// As [`apply`](Self::apply), for a plan that was kept as a document.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn apply_shown(&mut self, shown: &ShownPlan) -> Result<Applied, Error> {
        self.check_nothing_open(shown)?;
        self.shown = Some(shown.clone());
        let result = match shown.request() {
            Request::Attach { domid, vif } => self.attach(*domid, vif),
            Request::Detach { domid, devid } => self.detach(*domid, *devid),
            Request::Bridge(bridge) => self.ensure_bridge(bridge),
            Request::Start(network) => self.start_network(network),
            Request::Stop { network, guests } => self.stop_network(network, *guests),
            Request::Undo(subject) => self.undo(*subject),
            Request::Recover(subject) => self.recover_one(*subject),
        };
        self.shown = None;
        result
    }

    /// Refuses a plan if an interrupted operation would be finished or undone first: the plan does not show that. It matters on the same
    /// vif or bridge, and for a network on any network.
    fn check_nothing_open(&self, shown: &ShownPlan) -> Result<(), Error> {
        let subject = shown.subject();
        let open = match (shown.request(), subject, &self.records) {
            (Request::Recover(_), ..) | (_, _, Records::Memory(_)) => None,
            (_, Subject::Network(_), Records::Dir(dir)) => {
                dir.interrupted()?.into_iter().find(|open| matches!(open, Subject::Network(_)))
            }
            (_, subject, Records::Dir(dir)) => dir.open(subject)?.map(|_| subject),
        };
        let Some(open) = open else { return Ok(()) };
        let message = format!("{subject}: an operation on {open} was interrupted, or is under way: it comes first");
        let e = Error::new(ErrorKind::Stale, message).with_object(open.to_string()).unchanged();
        Err(e.with_hint("finish or undo it with `xennet recover`, then make a new plan"))
    }

    /// Whether a plan that was shown is to be carried out, and was not compared yet.
    pub(super) fn is_shown(&self) -> bool {
        self.shown.is_some()
    }

    /// Compares what is about to be done with the plan that was shown, if there is one.
    pub(super) fn check_shown(&mut self, now: &Plan) -> Result<(), Error> {
        match self.shown.take() {
            Some(shown) => shown.check(now),
            None => Ok(()),
        }
    }

    /// Recovers one vif, bridge or network.
    fn recover_one(&mut self, subject: Subject) -> Result<Applied, Error> {
        // A start takes the lock of all networks before that of its own: to take its own here first could block both.
        if subject.vif().is_some() {
            let session = self.hold(subject)?;
            self.kept = Some((subject, session));
        }
        let result = self.recover_as_shown(subject);
        if !self.keeps {
            self.release();
        }
        result
    }

    fn recover_as_shown(&mut self, subject: Subject) -> Result<Applied, Error> {
        let plan = self.plan_recover_of(subject)?;
        self.check_shown(&plan)?;
        let mut applied = Applied::nothing(plan);
        if let Some(recovered) = self.recover_subject(subject)? {
            (applied.steps, applied.done) = recovered.carried_out();
            applied.notes = vec![format!("{subject}: {recovered}")];
        }
        Ok(applied)
    }
}
