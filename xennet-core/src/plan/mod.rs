//! How to get there: wanted objects, the difference to what is, the order, the checks.
//!
//! [`plan`] turns an [`Intent`] and a [`Snapshot`] into a [`Plan`]; [`restore`] plans the way back to an earlier
//! snapshot. Both work alike: the wanted objects are compared with the world *as it will be after the steps so far*,
//! which the transition function ([`crate::step::step`]) predicts. What a step implies (the route that comes with an
//! address, the port that leaves its old bridge) is therefore never planned twice, and a plan that the kernel would
//! refuse is refused before the first system call.

mod check;
mod diff;
mod display;
mod gate;
mod guard;
pub(crate) mod need;
mod network;
mod restore;
mod routes;
mod table;
mod uplink;
mod want;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::model::{Intent, Started};
use crate::snapshot::{Scope, Snapshot};
use crate::step::{Effects, Step};

pub(crate) use gate::{given_up, hides, taken_since};
pub(crate) use network::ANOTHER_METRIC;
pub use network::Carried;
pub(crate) use restore::missing as missing_to_restore;
pub use restore::restore;
#[cfg(feature = "netlink")]
pub(crate) use table::set_of;
pub(crate) use table::{is_of_frame, lacks_rules, makes_table, mends_table};
pub(crate) use uplink::{is_carried, neighbour_on, route_through};

/// The protocol number that marks our routes (`rtm_protocol`), so that they are told from an administrator's.
///
/// Free in `include/uapi/linux/rtnetlink.h`. To see it by name, write `120 xennet` into `/etc/iproute2/rt_protos.d/xennet.conf`.
pub const ROUTE_PROTOCOL: u8 = 120;

/// Why a step is there, as a sentence fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    pub(crate) const fn fixed(text: &'static str) -> Self {
        Reason(Cow::Borrowed(text))
    }

    pub(crate) fn told(text: String) -> Self {
        Reason(Cow::Owned(text))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A step of a plan, with its reason and what the kernel will do besides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Planned {
    /// The change.
    pub step: Step,
    /// Why it is needed.
    pub why: Reason,
    /// What it changes besides what it asks for, by our model of the kernel.
    pub effects: Effects,
}

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// A wish.
    Intent(Intent),
    /// The way back to an earlier state.
    Restore(Box<Snapshot>),
    /// The way back to how it was without a network, after which nothing of it is remembered.
    Stop(Box<Snapshot>),
    /// A network that is started, with what its bridge takes over from the uplink.
    Start {
        /// The network.
        started: Box<Started>,
        /// What the uplink had when the plan was made.
        carried: Carried,
    },
}

/// A checked way from an observed state to a wanted one.
///
/// A plan exists only checked: its steps were carried out on a model of the kernel, the end satisfies the goal, and no
/// prefix of it cuts dom0 off. It can be printed (one line a step), written as JSON, and applied
/// ([`crate::exec::apply`]); an empty plan means that nothing needs to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Plan {
    goal: Goal,
    steps: Vec<Planned>,
    notes: Vec<String>,
    before: Snapshot,
    #[serde(skip)]
    after: Snapshot,
}

impl Plan {
    /// What it is for.
    pub fn goal(&self) -> &Goal {
        &self.goal
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

    /// The plan as a JSON document: `steps` (each `sign`, `text`, `why`, `effects`, `step`), `notes`.
    pub fn to_json(&self) -> serde_json::Value {
        let steps: Vec<serde_json::Value> = self
            .steps
            .iter()
            .map(|p| {
                serde_json::json!({
                    "sign": p.step.sign().to_string(),
                    "text": p.step.to_string(),
                    "why": p.why.as_str(),
                    "effects": p.effects.implied.iter().map(ToString::to_string).collect::<Vec<_>>(),
                    "step": p.step,
                })
            })
            .collect();
        serde_json::json!({ "steps": steps, "notes": self.notes })
    }
}

/// Which part of the system must be observed to plan this intent, given what was observed already.
///
/// Start with an empty snapshot; observe and [merge](Snapshot::merge); ask again, until the answer is `None`. On the usual way (a vif as netback made
/// it) that is one narrow observation. What grows with the host is looked at only where the first look says that it can
/// matter, for example routes through a vif that is up and has addresses.
pub fn scope(intent: &Intent, seen: &Snapshot) -> Option<Scope> {
    let mut missing = want::scope(intent, seen);
    missing.retain(|part| !seen.scope.contains(part));
    (missing != Scope::none()).then_some(missing)
}

/// Plans the way from what is to what is wanted.
///
/// # Errors
/// - [`ErrorKind::LinkNotFound`], [`ErrorKind::BridgeNotFound`], [`ErrorKind::NotABridge`], [`ErrorKind::NameTaken`],
///   [`ErrorKind::PortOfOther`]: the system is not as the intent needs it;
/// - [`ErrorKind::Unsupported`]: the wish cannot be fulfilled on this system (VLANs on a bridge without VLAN filtering);
/// - [`ErrorKind::WouldCutOff`]: a step would take dom0's own connectivity;
/// - [`ErrorKind::Kernel`]: by our model the kernel would refuse a step, with the error number it would give.
pub fn plan(intent: &Intent, now: &Snapshot) -> Result<Plan, Error> {
    plan_from(intent, now.clone())
}

/// As [`plan`], from an observation that nobody else needs.
pub(crate) fn plan_from(intent: &Intent, now: Snapshot) -> Result<Plan, Error> {
    let (wanted, notes) = want::want(intent, &now)?;
    let (steps, after) = checked_steps(intent, &wanted, &now)?;
    let after = after.into_owned();
    let goal = match intent {
        Intent::Start(started) => Goal::Start { started: started.clone(), carried: network::carried(started, &now) },
        intent => Goal::Intent(intent.clone()),
    };
    Ok(Plan { goal, steps, notes, before: now, after })
}

/// The steps that a plan would have, for who only asks whether there are any.
pub(crate) fn missing(intent: &Intent, now: &Snapshot) -> Result<Vec<Planned>, Error> {
    let (wanted, _) = want::want(intent, now)?;
    Ok(checked_steps(intent, &wanted, now)?.0)
}

/// The steps, and the state that they lead to.
fn checked_steps<'a>(
    intent: &Intent,
    wanted: &want::Wanted,
    now: &'a Snapshot,
) -> Result<(Vec<Planned>, Cow<'a, Snapshot>), Error> {
    let (steps, after) = diff::steps_towards(wanted, now)?;
    if !matches!(intent, Intent::Detach(_)) {
        check::never_cut_off(&steps)?;
    }
    Ok((steps, after))
}

/// The steps that are missing to a network that was started when the uplink had this.
pub(crate) fn missing_to_start(started: &Started, carried: &Carried, now: &Snapshot) -> Result<Vec<Planned>, Error> {
    let (wanted, _) = network::want(started, carried, now)?;
    Ok(diff::steps_towards(&wanted, now)?.0)
}

/// The gate without any guest, for the tests of those who carry it to the kernel.
#[cfg(test)]
pub(crate) fn gate_frame() -> (crate::snapshot::NftTableId, crate::snapshot::NftTable) {
    (crate::snapshot::NftTableId::gate(), gate::GATE.frame())
}

/// The error of a step that the model of the kernel refuses.
fn refused(step: &Step, errno: crate::error::Errno) -> Error {
    Error::new(ErrorKind::Kernel, format!("{}: the kernel would refuse this step: {step}", step.object()))
        .with_object(step.object())
        .with_errno(errno)
        .with_state("unchanged, nothing was applied")
}
