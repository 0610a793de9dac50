//! Looking: at what a plan needs, and whether a goal is reached.

use super::TRIES;
use crate::backend::{Backend, BackendError};
use crate::error::Error;
use crate::model::Resolved;
use crate::plan::{self, Goal, Planned};
use crate::snapshot::{NeighbourKind, Scope, Snapshot};
use crate::step::{AddrStep, NeighStep, RouteStep, Step};
use crate::tables;

/// Looks at everything that planning this needs, in as few looks as possible (one on the usual way).
///
/// # Errors
/// As [`Backend::observe`].
pub fn observe_for(resolved: &Resolved, on: &mut dyn Backend) -> Result<Snapshot, BackendError> {
    observe(resolved, on, Frames::Look, Snapshot::default())
}

/// The same, with all rules of our nft tables ([`need`](plan::need)). Those that are `known` are not looked at again.
pub(crate) fn observe_whole(
    resolved: &Resolved,
    on: &mut dyn Backend,
    known: Snapshot,
) -> Result<Snapshot, BackendError> {
    observe(resolved, on, Frames::Whole, known)
}

/// As [`observe_whole`], for several wishes at once.
pub(crate) fn observe_all_whole(
    wishes: &[Resolved],
    on: &mut dyn Backend,
    known: Snapshot,
) -> Result<Snapshot, BackendError> {
    let next = |seen: &Snapshot| {
        let missing = wishes.iter().filter_map(|resolved| plan::need::whole_scope(resolved, seen));
        missing.reduce(Scope::union)
    };
    observe_until(&next, on, known)
}

/// Whether the frames of nft tables are looked at. Where elements are found in their sets again, the table is still the one
/// that was looked at before, and reading all its rules a second time would tell nothing more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Frames {
    Look,
    Leave,
    /// All of their rules.
    Whole,
}

fn observe(
    resolved: &Resolved,
    on: &mut dyn Backend,
    frames: Frames,
    known: Snapshot,
) -> Result<Snapshot, BackendError> {
    let next = |seen: &Snapshot| {
        let mut scope = match frames {
            Frames::Whole => plan::need::whole_scope(resolved, seen),
            Frames::Look | Frames::Leave => plan::scope(resolved, seen),
        }?;
        scope.retain(|part| frames != Frames::Leave || !tables::is_of_frame(part));
        (scope != Scope::none()).then_some(scope)
    };
    observe_until(&next, on, known)
}

/// Looks at what is `next` after what was seen, until that is nothing.
fn observe_until(
    next: &dyn Fn(&Snapshot) -> Option<Scope>,
    on: &mut dyn Backend,
    known: Snapshot,
) -> Result<Snapshot, BackendError> {
    let mut seen = known;
    while let Some(scope) = next(&seen) {
        seen.merge(on.observe(&scope)?);
    }
    // The kernel lists rules bit by bit, and amid others' changes a listing may have one twice without saying so. Making the
    // table's anew for that would make the next one's listing wrong, too: they are so only when they are seen so twice.
    for _ in 0..TRIES {
        if !tables::lacks_rules(&seen) {
            break;
        }
        let again = on.observe(&seen.scope)?;
        let same = again.nft == seen.nft;
        seen = again;
        if same {
            break;
        }
    }
    Ok(seen)
}

/// Why a goal is not reached.
pub(crate) struct Unverified {
    pub(super) missing: Vec<Missing>,
    pub(super) cause: Option<Error>,
}

/// What a goal lacks: a step, or, if it cannot be told, why.
pub(crate) struct Missing {
    pub(super) text: String,
    pub(super) step: Option<Step>,
}

/// Whether a step undoes what the kernel has done by itself. A link that gets a carrier while a plan is carried out makes its IPv6
/// address and the route to it; a link that loses it loses its proxy entries. No other program did that.
fn undoes_kernel(step: &Step) -> bool {
    match step {
        Step::Addr(AddrStep::Del(a)) => a.is_made_by_kernel(),
        Step::Route(RouteStep::Del(r)) => r.is_made_by_kernel(),
        Step::Neigh(NeighStep::Add(n)) => n.kind == NeighbourKind::Proxy,
        _ => false,
    }
}

/// As [`verify`], after undoing what the kernel has done by itself meanwhile.
pub(super) fn verify_amid_own_doing(goal: &Goal, on: &mut dyn Backend) -> Result<Snapshot, Unverified> {
    let mut result = verify(goal, on);
    for _ in 0..TRIES {
        let Err(Unverified { missing, cause: None }) = &result else { break };
        let steps: Vec<&Step> = missing.iter().filter_map(|m| m.step.as_ref()).collect();
        if steps.is_empty() || steps.len() < missing.len() || !steps.iter().all(|s| undoes_kernel(s)) {
            break;
        }
        for step in steps {
            // A route goes with its address.
            let _ = on.apply(step);
        }
        result = verify(goal, on);
    }
    result
}

/// Whether the goal is reached: a new plan from what is now has no steps. The
/// answer is what was read, or what is missing.
pub(crate) fn verify(goal: &Goal, on: &mut dyn Backend) -> Result<Snapshot, Unverified> {
    let only = |missing| Unverified { missing, cause: None };
    let unread =
        |e: BackendError| only(vec![Missing { text: format!("reading the state back failed: {e}"), step: None }]);
    let (now, missing) = match goal {
        Goal::Resolved(resolved) => {
            let resolved = resolved.clone().fulfilled();
            let now = observe(&resolved, on, Frames::Leave, Snapshot::default()).map_err(unread)?;
            let missing = plan::missing(&resolved, &now);
            (now, missing)
        }
        Goal::Start { started, carried } => {
            let now =
                observe(&Resolved::Start(started.clone()), on, Frames::Leave, Snapshot::default()).map_err(unread)?;
            let missing = plan::missing_to_start(started, carried, &now);
            (now, missing)
        }
        Goal::Restore(target) | Goal::Stop(target) => {
            let now = on.observe(&target.scope).map_err(unread)?;
            let missing = plan::missing_to_restore(target, &now);
            (now, missing)
        }
    };
    match missing {
        Ok(steps) if steps.is_empty() => Ok(now),
        Ok(steps) => {
            let missing = |p: Planned| Missing { text: p.step.to_string(), step: Some(p.step) };
            Err(only(steps.into_iter().map(missing).collect()))
        }
        Err(e) => Err(Unverified { missing: Vec::new(), cause: Some(e) }),
    }
}

/// What there is now, with what a way back could take along.
pub(crate) fn look_around(target: &Snapshot, now: &Snapshot, on: &mut dyn Backend) -> Result<Snapshot, BackendError> {
    let mut around = now.clone();
    let scope = plan::scope_around(target, now);
    if scope != Scope::none() {
        around.merge(on.observe(&scope)?);
    }
    Ok(around)
}
