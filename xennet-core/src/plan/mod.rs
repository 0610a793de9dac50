//! How to get there: wanted objects, the difference to what is, the order, the checks.
//!
//! [`plan`] turns a [`Resolved`] wish and a [`Snapshot`] into a [`Plan`]; [`restore`] plans the way back to an earlier
//! snapshot. Both work alike: the wanted objects are compared with the world *as it will be after the steps so far*,
//! which the transition function ([`crate::step::step`]) predicts. What a step implies (the route that comes with an
//! address, the port that leaves its old bridge) is therefore never planned twice, and a plan that the kernel would
//! refuse is refused before the first system call.

pub(crate) mod accept;
mod check;
mod checked;
mod diff;
mod display;
mod gate;
mod guard;
mod limits;
pub(crate) mod need;
mod network;
mod restore;
mod routes;
mod shown;
mod table;
mod uplink;
mod versions;
mod want;

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

use crate::error::{Error, ErrorKind};
use crate::model::{IfName, Resolved, ResolvedNetwork};
use crate::snapshot::{Scope, Snapshot};
use crate::step::{Effects, Step};
use checked::Draft;
use table::TableWish;

pub(crate) use check::around as scope_around;
pub use checked::Plan;
pub(crate) use gate::{forget_earlier_version, given_up, is_hidden, scope_of_forward, scope_of_network, taken_since};
pub(crate) use network::ANOTHER_METRIC;
pub use network::Carried;
pub(crate) use restore::missing as missing_to_restore;
pub use restore::restore;
pub(crate) use routes::scope_of_vif;
pub use shown::ShownPlan;
pub(crate) use uplink::{is_carried, neighbour_on, route_through};
pub(crate) use versions::completed;

/// The protocol number that marks our routes (`rtm_protocol`), so that they are told from an administrator's.
///
/// Free in `include/uapi/linux/rtnetlink.h`. To see it by name, write `120 xennet` into `/etc/iproute2/rt_protos.d/xennet.conf`.
pub const ROUTE_PROTOCOL: u8 = 120;

/// Why a step is there, as a sentence fragment.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
///
/// Serde writes the item of a plan's document: `sign`, `text`, `why`, `effects` (texts), `step`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Planned {
    /// The change.
    pub step: Step,
    /// Why it is needed.
    pub why: Reason,
    /// What it changes besides what it asks for, by our model of the kernel.
    pub effects: Effects,
}

impl Serialize for Planned {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let effects: Vec<String> = self.effects.implied.iter().map(ToString::to_string).collect();
        let Planned { step, why, .. } = self;
        let (sign, text) = (step.sign().to_string(), step.to_string());
        Document { sign, text, why, effects, step }.serialize(serializer)
    }
}

/// One step of a plan.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    /// What kind of change it is, in one character: `+`, `-`, `~`.
    sign: String,
    /// What the step does.
    text: String,
    /// What it is for.
    why: &'a Reason,
    /// What the kernel does besides.
    effects: Vec<String>,
    /// The change as a value.
    step: &'a Step,
}
crate::schema::written_as!(Planned, "Planned", Document<'static>);

/// What a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Goal {
    /// A wish.
    #[serde(rename = "intent")]
    Resolved(Resolved),
    /// The way back to an earlier state.
    Restore(Box<Snapshot>),
    /// The way back to how it was without a network, after which nothing of it is remembered.
    Stop(Box<Snapshot>),
    /// A network that is started, with what its bridge takes over from the uplink.
    Start {
        /// The network.
        started: Box<ResolvedNetwork>,
        /// What the uplink had when the plan was made.
        carried: Carried,
    },
}

/// Which part of the system must be observed to plan this, given what was observed already.
///
/// Start with an empty snapshot; observe and [merge](Snapshot::merge); ask again, until the answer is `None`. On the usual way (a vif as netback made
/// it) that is one narrow observation. What grows with the host is looked at only where the first look says that it can
/// matter, for example routes through a vif that is up and has addresses.
pub fn scope(resolved: &Resolved, seen: &Snapshot) -> Option<Scope> {
    let missing = want::scope(resolved, seen).without(&seen.scope);
    (missing != Scope::none()).then_some(missing)
}

/// Plans the way from what is to what is wanted.
///
/// # Errors
/// - [`ErrorKind::LinkNotFound`], [`ErrorKind::BridgeNotFound`], [`ErrorKind::NotABridge`], [`ErrorKind::NameTaken`],
///   [`ErrorKind::PortOfOther`]: the system is not as the wish needs it;
/// - [`ErrorKind::Unsupported`]: the wish cannot be fulfilled on this system (VLANs on a bridge without VLAN filtering);
/// - [`ErrorKind::WouldCutOff`]: a step would take dom0's own connectivity;
/// - [`ErrorKind::Kernel`]: by our model the kernel would refuse a step, with the error number it would give.
pub fn plan(resolved: &Resolved, now: &Snapshot) -> Result<Plan, Error> {
    plan_instead(resolved, now.clone(), &Scope::none())
}

/// As [`plan`], from an observation that nobody else needs. An earlier guest of the vif may have `left` elements in our tables: those that
/// the wish does not need are removed before any link is touched.
pub(crate) fn plan_instead(resolved: &Resolved, now: Snapshot, left: &Scope) -> Result<Plan, Error> {
    let (mut wanted, notes) = want::want(resolved, &now)?;
    TableWish::clear_first(&mut wanted.tables, left);
    let (steps, after) = diff::steps_towards(&wanted, &now)?;
    let after = after.into_owned();
    let goal = match resolved {
        Resolved::Start(started) => Goal::Start { started: started.clone(), carried: network::carried(started, &now) },
        resolved => Goal::Resolved(resolved.clone()),
    };
    Draft { goal, steps, notes, before: now, after, request: None }.there()
}

/// What has to be looked at to see whether tables of ours know a link: an element each.
pub(crate) fn membership(link: &IfName) -> Scope {
    guard::membership(link).union(gate::membership(link))
}

/// The steps that a plan would have, for who only asks whether there are any.
pub(crate) fn missing(resolved: &Resolved, now: &Snapshot) -> Result<Vec<Planned>, Error> {
    let (wanted, _) = want::want(resolved, now)?;
    let (steps, _) = diff::steps_towards(&wanted, now)?;
    check::there(resolved, &steps, now)?;
    Ok(steps)
}

/// The steps that are missing to a network that was started when the uplink had this.
pub(crate) fn missing_to_start(
    started: &ResolvedNetwork,
    carried: &Carried,
    now: &Snapshot,
) -> Result<Vec<Planned>, Error> {
    let (wanted, _) = network::want(started, carried, now)?;
    Ok(diff::steps_towards(&wanted, now)?.0)
}

/// The error of a step that the model of the kernel refuses.
fn refused(step: &Step, errno: crate::error::Errno) -> Error {
    Error::new(ErrorKind::Kernel, format!("{}: the kernel would refuse this step: {step}", step.object()))
        .with_object(step.object())
        .with_errno(errno)
        .unchanged()
}
