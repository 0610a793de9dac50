//! A plan exists only checked: this file alone can make one.

use serde::Serialize;

use super::{Goal, Planned, check};
use crate::error::{Error, json_text};
use crate::model::{Guests, Request};
use crate::snapshot::{Scope, Snapshot};
use crate::version::Version;

/// What is to become a plan.
pub(super) struct Draft {
    pub(super) goal: Goal,
    pub(super) steps: Vec<Planned>,
    pub(super) notes: Vec<String>,
    pub(super) before: Snapshot,
    pub(super) after: Snapshot,
    pub(super) request: Option<Request>,
}

impl Draft {
    /// The way to a wish.
    pub(super) fn there(self) -> Result<Plan, Error> {
        if let Goal::Resolved(resolved) = &self.goal {
            check::there(resolved, &self.steps, &self.before)?;
        } else {
            check::never_cut_off(&self.steps, &self.before)?;
        }
        self.checked()
    }

    /// The way back to an earlier state, judged by what is around it now.
    pub(super) fn restoring(self, target: &Snapshot, around: &Snapshot, guests: Guests) -> Result<Plan, Error> {
        check::restoring(&self.steps, target, around, guests)?;
        self.checked()
    }

    fn checked(self) -> Result<Plan, Error> {
        check::leaves_others(&self.steps)?;
        let Draft { goal, steps, notes, before, after, request } = self;
        Ok(Plan { version: Version, goal, steps, notes, before, after, request })
    }
}

/// A checked way from an observed state to a wanted one.
///
/// A plan exists only checked: its steps were carried out on a model of the kernel, the end satisfies the goal, and no
/// prefix of it cuts dom0 off. It can be printed (one line a step), written as JSON, and applied
/// ([`crate::exec::apply`]); an empty plan means that nothing needs to be done.
///
/// ```
/// use xennet_core::{DomId, Host};
///
/// let mut host = Host::fake();
/// let plan = host.plan_attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
/// for planned in plan.steps() {
///     println!("{} ({})", planned.step, planned.why);
/// }
///
/// // What was shown is what is done, or nothing.
/// host.apply(&plan)?;
/// assert!(host.plan_attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?.is_empty());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("dry-run", "preview", "rehearsal"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Plan {
    version: Version<{ Plan::VERSION }>,
    #[serde(skip)]
    goal: Goal,
    steps: Vec<Planned>,
    notes: Vec<String>,
    #[serde(skip)]
    before: Snapshot,
    #[serde(skip)]
    after: Snapshot,
    request: Option<Request>,
}

impl Plan {
    /// The version of its JSON document.
    pub const VERSION: u32 = 1;

    /// A plan of no steps, for what is done without any.
    pub(crate) fn nothing() -> Self {
        let (before, after) = (Snapshot::default(), Snapshot::default());
        let goal = Goal::Restore(Box::default());
        Plan { version: Version, goal, steps: Vec::new(), notes: Vec::new(), before, after, request: None }
    }

    /// What it is for.
    pub fn goal(&self) -> &Goal {
        &self.goal
    }

    /// What the host was asked for that made it; `None` of a plan that was made without a host.
    pub fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// The same plan, as the answer to a request.
    #[must_use]
    pub(crate) fn asked(mut self, request: Request) -> Self {
        self.request = Some(request);
        self
    }

    /// The steps in their order.
    pub fn steps(&self) -> &[Planned] {
        &self.steps
    }

    /// Whether nothing needs to be done.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// What the reader should know besides: parts of the wish that have no effect, things that follow.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The plan as a draft, to which something is added.
    pub(super) fn reopened(self) -> Draft {
        let Plan { version: _, goal, steps, notes, before, after, request } = self;
        Draft { goal, steps, notes, before, after, request }
    }

    /// The same way back, as the end of a network.
    #[must_use]
    pub(crate) fn into_stop(mut self) -> Self {
        if let Goal::Restore(target) = self.goal {
            self.goal = Goal::Stop(target);
        }
        self
    }

    /// Adds notes of the caller's.
    #[must_use]
    pub fn with_notes(mut self, notes: impl IntoIterator<Item = String>) -> Self {
        self.notes.extend(notes);
        self
    }

    /// The observed state that the plan was made from.
    pub fn before(&self) -> &Snapshot {
        &self.before
    }

    pub(crate) fn into_before(self) -> Snapshot {
        self.before
    }

    /// The state that the plan leads to, by our model of the kernel.
    pub fn after(&self) -> &Snapshot {
        &self.after
    }

    /// The part of the system that the plan looked at.
    pub fn scope(&self) -> &Scope {
        &self.before.scope
    }

    /// The text of the plan as a JSON document: `request`, `steps` (each `sign`, `text`, `why`, `effects`, `step`), `notes`. Serde
    /// writes the same document. Where a host made the plan, [`ShownPlan::from_json`](super::ShownPlan::from_json) reads it.
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}
