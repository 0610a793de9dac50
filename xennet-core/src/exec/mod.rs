//! Carrying a plan out: apply, verify, restore; the journal that survives a crash; the lock.
//!
//! *Atomic* means here: a call either reaches the verified wanted state, or restores the observed earlier state and says
//! which; nft and xenstore parts are single transactions; between two steps others can see intermediate states, ordered
//! so that by our model none of them cuts this domain off; after a crash the journal lets the next run restore or finish.
//! Not restorable: interface indexes, learned forwarding entries, connection tracking, lifetimes.

pub mod confirm;
mod journal;
pub(crate) mod lock;
mod look;
mod networks;
mod state;
mod stations;
mod words;

use std::fmt;

use serde::Serialize;

use crate::backend::{Backend, BackendError, Capabilities};
use crate::error::{Errno, Error, ErrorKind, Outcome, json_text};
use crate::events::event;
use crate::model::{Attachment, Guests, Resolved};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{Change, Snapshot};
use crate::step::{LinkStep, NftOp, Step};
use crate::version::Version;

pub use crate::model::Subject;
pub(crate) use journal::Unwritten;
pub use journal::{Entry, Journal, MemoryJournal};
pub use look::observe_for;
use look::verify_amid_own_doing;
pub(crate) use look::{Unverified, look_around, observe_all_whole, observe_whole, verify};
pub(crate) use networks::HeldNetworks;
#[cfg(feature = "schema")]
pub(crate) use networks::StartedFile;
pub(crate) use networks::other_name;
pub use state::{Held, HeldJournal, StateDir};
pub(crate) use words::refused;

/// How much the caller knows about the time between observation and application.
///
/// There are no others: either somebody else may have been there meanwhile or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// The plan may be old (shown to a person, sent over a wire): look again, and refuse if anything differs.
    Check,
    /// The caller observed, planned and applies under one lock.
    JustObserved,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Applied {
    version: Version<1>,
    /// How many steps were carried out; 0 if everything was as wanted already.
    pub steps: usize,
    /// The state that was read back afterwards.
    #[serde(skip)]
    pub after: Snapshot,
    /// What was carried out, in words, a line a step.
    #[serde(skip)]
    pub done: Vec<String>,
    /// What the reader should know besides: the notes of the plan.
    pub notes: Vec<String>,
    /// nftables objects were removed: closing the kernel's connection now waits for its clean-up work, some 5 to 20 ms.
    #[serde(skip)]
    pub closes_slowly: bool,
}

impl Applied {
    /// What an empty plan does.
    pub(crate) fn nothing(plan: Plan) -> Self {
        let notes = plan.notes().to_vec();
        Applied { version: Version, steps: 0, done: Vec::new(), after: plan.into_before(), notes, closes_slowly: false }
    }

    /// The same, with what was put back before that others had lost.
    pub(crate) fn with_put_back(mut self, put_back: Vec<String>) -> Self {
        if !put_back.is_empty() {
            self.steps += put_back.len();
            self.notes.push(
                "another program has changed an nft table of xennet: the elements of other guests are put back".into(),
            );
            self.done.splice(0..0, put_back);
        }
        self
    }

    /// The text of the JSON document of what was done: `{"version": 1, "steps": 2, "notes": []}`. Serde writes the same document.
    pub fn to_json(&self) -> String {
        json_text(self)
    }

    /// What a plan did whose first steps were carried out.
    fn of(plan: &Plan, steps: usize, after: Snapshot) -> Self {
        let carried_out = || plan.steps().iter().take(steps).map(|p| &p.step);
        Applied {
            version: Version,
            steps,
            done: carried_out().map(ToString::to_string).collect(),
            after,
            notes: plan.notes().to_vec(),
            closes_slowly: carried_out().any(removes_from_nftables),
        }
    }
}

/// Why a plan was not carried out, and what state the system is in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ApplyError {
    /// The system is no longer as it was when the plan was made. Nothing was done.
    Stale(Vec<Change>),
    /// The backend cannot do this step at all. Nothing was done.
    Unsupported {
        /// The step, from 0.
        step: usize,
        /// What it is.
        what: String,
    },
    /// The journal could not be written. Nothing was done.
    Journal(Error),
    /// Looking at the system failed before the first step. Nothing was done.
    Observe(BackendError),
    /// A step was refused.
    Failed {
        /// Which, from 0.
        step: usize,
        /// Of how many.
        of: usize,
        /// The step in words.
        what: String,
        /// The kernel's refusal.
        cause: Box<BackendError>,
        /// What state the system is in.
        recovery: Recovery,
    },
    /// All steps were accepted, but what was read back is not what was wanted.
    NotVerified {
        /// The steps that a new plan would still need.
        missing: Vec<String>,
        /// Why there is no new plan: the vif has gone meanwhile, for example.
        cause: Option<Error>,
        /// What state the system is in.
        recovery: Recovery,
    },
}

/// What state a failed application left the system in. It is part of the failure, so that no message can forget it.
///
/// There are no others: it is as it was, it is not, or it was not touched.
#[derive(Clone, Debug, PartialEq)]
pub enum Recovery {
    /// As it was before, read back and compared.
    Restored {
        /// How many steps it took.
        steps_undone: usize,
    },
    /// Not as before, or not known.
    Incomplete {
        /// What differs from before. Empty if reading the state back failed.
        left: Vec<Change>,
        /// What went wrong on the way back.
        errors: Vec<BackendError>,
    },
    /// Not restored: the way back would remove what others have added since.
    Refused(Box<Error>),
}

impl Recovery {
    /// The same for who only asks which of the three it is.
    pub fn outcome(&self) -> Outcome {
        match self {
            Recovery::Restored { steps_undone: 0 } => Outcome::Unchanged,
            Recovery::Restored { .. } => Outcome::Restored,
            Recovery::Incomplete { .. } | Recovery::Refused(_) => Outcome::Incomplete,
        }
    }
}

impl fmt::Display for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Recovery::Restored { steps_undone: 0 } => f.write_str("unchanged"),
            Recovery::Restored { steps_undone: 1 } => f.write_str("restored, 1 step undone"),
            Recovery::Restored { steps_undone } => write!(f, "restored, {steps_undone} steps undone"),
            Recovery::Incomplete { left, errors } => {
                f.write_str(if left.is_empty() { "not known, reading it back failed" } else { "not restored" })?;
                let mut sep = ": left ";
                for change in left {
                    write!(f, "{sep}{change}")?;
                    sep = ", ";
                }
                sep = "; because ";
                for error in errors {
                    write!(f, "{sep}{error}")?;
                    sep = ", ";
                }
                Ok(())
            }
            Recovery::Refused(e) => {
                write!(f, "not restored: {}", e.message())?;
                e.hint().map_or(Ok(()), |hint| write!(f, "; {hint}"))
            }
        }
    }
}

/// Carries a plan out: journal, steps, verification; on any failure the way back.
///
/// An empty plan changes nothing and writes no journal.
///
/// # Errors
/// [`ApplyError`]; after every variant but the last two nothing was changed, and those two say in [`Recovery`] what state
/// the system is in.
pub fn apply(
    plan: &Plan,
    on: &mut dyn Backend,
    journal: &mut dyn Journal,
    freshness: Freshness,
) -> Result<Applied, ApplyError> {
    if freshness == Freshness::Check {
        let now = on.observe(plan.scope()).map_err(ApplyError::Observe)?;
        let changes = plan.before().changes(&now);
        if !changes.is_empty() {
            return Err(ApplyError::Stale(changes));
        }
    }
    if plan.is_empty() {
        return Ok(Applied::nothing(plan.clone()));
    }
    can_do(plan, on)?;
    journal.begin(plan).map_err(ApplyError::Journal)?;
    let goal = as_planned(plan);
    let of = plan.steps().len();
    for (at, planned) in plan.steps().iter().enumerate() {
        if let Err(cause) = on.apply(&planned.step) {
            event!(warn, step = %planned.step, number = at + 1, of, error = %cause, "a step is refused");
            // It may be as wanted all the same: a vif that is to be detached and is gone, an answer that was lost.
            if let Ok(after) = verify(&goal, on) {
                let _ = journal.commit();
                return Ok(Applied::of(plan, at, after));
            }
            // What somebody else has made under the same name meanwhile is not ours to remove.
            let recovery = if at == 0 && cause.errno == Errno::EEXIST && is_creation(&planned.step) {
                Recovery::Restored { steps_undone: 0 }
            } else {
                restore_state(plan.before(), on)
            };
            close(journal, &recovery);
            return Err(ApplyError::Failed {
                step: at,
                of,
                what: planned.step.to_string(),
                cause: Box::new(cause),
                recovery,
            });
        }
        event!(debug, step = %planned.step, why = %planned.why, number = at + 1, of, "a step is done");
    }
    match verify_amid_own_doing(&goal, on) {
        Ok(after) => {
            event!(debug, steps = of, "the wanted state is read back");
            // The wanted state is reached and read back. A journal that cannot be closed is no reason to report failure:
            // the next run finds it, sees the wanted state, and closes it.
            let _ = journal.commit();
            Ok(Applied::of(plan, of, after))
        }
        Err(Unverified { missing, cause }) => {
            event!(warn, missing = missing.len(), "what was read back is not the wanted state");
            let recovery = restore_state(plan.before(), on);
            close(journal, &recovery);
            let missing = missing.into_iter().map(|m| m.text).collect();
            Err(ApplyError::NotVerified { missing, cause, recovery })
        }
    }
}

/// What a plan has to reach. A vif that takes its bridge's MTU takes the one that the bridge had: if others change it
/// meanwhile, by joining it, this one has come before them.
fn as_planned(plan: &Plan) -> Goal {
    let mut goal = plan.goal().clone();
    if let Goal::Resolved(Resolved::Attach(a)) = &mut goal
        && a.wish.mtu.is_none()
        && matches!(a.wish.attachment, Attachment::Bridge { .. })
    {
        a.wish.mtu = plan.after().links.get(&a.wish.name).and_then(|link| link.mtu.try_into().ok());
    }
    goal
}

fn removes_from_nftables(step: &Step) -> bool {
    let Step::Nft(transaction) = step else { return false };
    transaction.ops.iter().any(|op| {
        matches!(
            op,
            NftOp::DelTable
                | NftOp::DelChain { .. }
                | NftOp::FlushChain { .. }
                | NftOp::DelRule { .. }
                | NftOp::DelSet { .. }
                | NftOp::DelElements { .. }
        )
    })
}

/// Whether a step makes a link, all or nothing.
fn is_creation(step: &Step) -> bool {
    matches!(step, Step::Link(LinkStep::Create { .. }))
}

/// Closes the journal after a way back; an incomplete one stays open for `recover`.
fn close(journal: &mut dyn Journal, recovery: &Recovery) {
    if matches!(recovery, Recovery::Restored { .. }) {
        // As with `commit`: a journal that stays behind is closed by the next run.
        let _ = journal.abandon();
    }
}

/// Refuses steps that the backend cannot do at all, before the first one. The backend is asked only where it matters:
/// finding out may cost a conversation with the kernel.
fn can_do(plan: &Plan, on: &dyn Backend) -> Result<(), ApplyError> {
    let mut capabilities = None;
    for (step, planned) in plan.steps().iter().enumerate() {
        let mut can = |what: fn(&Capabilities) -> bool| what(capabilities.get_or_insert_with(|| on.capabilities()));
        let possible = match &planned.step {
            Step::Nft(_) => can(|c| c.nft),
            Step::Store(_) => can(|c| c.xenstore),
            _ => true,
        };
        if !possible {
            return Err(ApplyError::Unsupported { step, what: planned.step.to_string() });
        }
    }
    Ok(())
}

/// How often the way back is looked for: something else may get in between, and a listing may be interrupted.
const TRIES: usize = 4;

/// The way back to an observed state: look, plan, apply; again if something else got in between. The last thing is a look,
/// so the reported state is the observed one.
pub(crate) fn restore_state(before: &Snapshot, on: &mut dyn Backend) -> Recovery {
    let recovery = undo_to(before, on);
    event!(warn, state = %recovery, "undo ended");
    recovery
}

fn undo_to(before: &Snapshot, on: &mut dyn Backend) -> Recovery {
    let mut errors = Vec::new();
    let mut undone = 0;
    let mut left = Vec::new();
    for tries_left in (0..=TRIES).rev() {
        let now = match on.observe(&before.scope) {
            Ok(now) => now,
            Err(e) => {
                note(&mut errors, e);
                // What was seen before the last steps is not so any more.
                left.clear();
                continue;
            }
        };
        let target = to_restore(before, &now);
        left = left_of(&target, &now);
        if left.is_empty() {
            return Recovery::Restored { steps_undone: undone };
        }
        if tries_left == 0 {
            break;
        }
        let around = match look_around(&target, &now, on) {
            Ok(around) => around,
            Err(e) => {
                note(&mut errors, e);
                continue;
            }
        };
        let way = match plan::restore(&target, &now, &around, Guests::MustHaveGone) {
            Ok(way) => way,
            Err(e) if matches!(e.kind(), ErrorKind::Conflict | ErrorKind::WouldCutOff) => {
                let state = format!("not restored: {}", e.message());
                return Recovery::Refused(Box::new(if undone == 0 { e } else { e.incomplete(state) }));
            }
            Err(e) => {
                note(&mut errors, BackendError::new(e.errno().unwrap_or(Errno::EIO), e.to_string()));
                break;
            }
        };
        if way.is_empty() {
            break;
        }
        for planned in way.steps() {
            match on.apply(&planned.step) {
                Ok(()) => undone += 1,
                Err(e) => {
                    note(&mut errors, e);
                    break;
                }
            }
        }
    }
    Recovery::Incomplete { left, errors }
}

/// Each try may fail in the same way: that is told once.
fn note(errors: &mut Vec<BackendError>, error: BackendError) {
    if !errors.contains(&error) {
        errors.push(error);
    }
}

/// The plan of the way back to an observed state, as it would be taken now. `None` where it is as before.
pub(crate) fn plan_restore(before: &Snapshot, on: &mut dyn Backend) -> Result<Option<Plan>, Error> {
    let now = on.observe(&before.scope).map_err(BackendError::into_observe_error)?;
    let target = to_restore(before, &now);
    let left = left_of(&target, &now);
    if left.is_empty() {
        return Ok(None);
    }
    let around = look_around(&target, &now, on).map_err(BackendError::into_observe_error)?;
    let plan = plan::restore(&target, &now, &around, Guests::MustHaveGone)?;
    if plan.is_empty() {
        let left: Vec<String> = left.iter().map(ToString::to_string).collect();
        return Err(Error::new(ErrorKind::Interrupted, format!("this cannot be put back: {}", left.join(", "))));
    }
    Ok(Some(plan))
}

/// What is to be put back. Bridges are other vifs' as well: what has become of them meanwhile is not ours to put back, nor to make
/// again.
fn to_restore(before: &Snapshot, now: &Snapshot) -> Snapshot {
    before.without_lost_bridges(now).of_vifs().without_torn()
}

/// What differs from what is to be put back, but for what the kernel does by itself and what others have added.
fn left_of(target: &Snapshot, now: &Snapshot) -> Vec<Change> {
    let seen = target.without_own_doing(now.seen(&target.scope));
    target.changes(&target.without_strangers(seen))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Scope;

    /// A system that cannot be looked at.
    struct Blind;

    impl Backend for Blind {
        fn capabilities(&self) -> Capabilities {
            Capabilities::full("blind")
        }

        fn observe(&mut self, _: &Scope) -> Result<Snapshot, BackendError> {
            Err(BackendError::new(Errno::EIO, "observation"))
        }

        fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
            Err(BackendError::new(Errno::EIO, step.object()))
        }
    }

    #[test]
    fn what_fails_in_each_try_is_told_once() {
        let told = restore_state(&Snapshot::default(), &mut Blind).to_string();
        assert_eq!(told.matches("observation").count(), 1, "{told}");
    }
}
