//! A plan that somebody was shown, to be carried out as it was shown.

use serde::Deserialize;

use super::Plan;
use crate::error::{Error, ErrorKind};
use crate::model::{Request, Subject};
use crate::read;
use crate::snapshot::Address;
use crate::step::{AddrStep, Step};

/// What a plan promised: what was asked for, and the steps. It is made from a [`Plan`] of a [`Host`](crate::Host), or read from the
/// JSON document of one, and [`Host::apply_shown`](crate::Host::apply_shown) carries it out.
///
/// The steps are not carried out from here: the host plans anew, and goes on only if the same steps come out.
///
/// ```
/// use xennet_core::plan::ShownPlan;
/// use xennet_core::{DomId, ErrorKind, Host};
///
/// let mut host = Host::fake();
/// let plan = host.plan_attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
/// let kept = plan.to_json(); // shown to somebody, stored, sent
///
/// host.apply_shown(&ShownPlan::from_json(&kept)?)?;
/// let e = host.apply(&plan).unwrap_err(); // by now there is nothing left to do
/// assert_eq!(e.kind(), ErrorKind::Stale);
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownPlan {
    request: Request,
    steps: Vec<Step>,
}

/// Refuses documents of a later version, whatever else they hold. A text that is no JSON passes here; the reader of the rest reports it.
fn check_versions(text: &str) -> Result<(), Error> {
    #[derive(Deserialize)]
    struct Head {
        version: Option<serde_json::Value>,
    }
    let heads = serde_json::Deserializer::from_slice(text.as_bytes()).into_iter::<Head>();
    let mut versions = heads.map_while(|head| head.ok()).filter_map(|head| head.version);
    versions.try_for_each(|found| read::check(&found, "plan", Plan::VERSION))
}

/// The document of a plan, as far as it matters here.
#[derive(Deserialize)]
struct Document {
    request: Option<Request>,
    steps: Vec<StepDocument>,
}

#[derive(Deserialize)]
struct StepDocument {
    step: Step,
}

impl ShownPlan {
    /// Reads the JSON document of a plan: [`Plan::to_json`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it is not the document of a plan, or of one that was made without a host, or of a later version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        check_versions(text)?;
        ShownPlan::of(read::json(text).map_err(|e| unreadable(&e))?)
    }

    /// Reads several documents, one after the other, as `xennet --json plan` prints them for several networks.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json), and if there is none.
    pub fn all_from_json(text: &str) -> Result<Vec<Self>, Error> {
        check_versions(text)?;
        let documents = serde_json::Deserializer::from_slice(text.as_bytes()).into_iter::<Document>();
        let plans: Vec<Self> =
            documents.map(|d| ShownPlan::of(d.map_err(|e| unreadable(&e))?)).collect::<Result<_, _>>()?;
        match plans.is_empty() {
            true => Err(Error::new(ErrorKind::Invalid, "there is no plan in it").with_object("plan").unchanged()),
            false => Ok(plans),
        }
    }

    fn of(document: Document) -> Result<Self, Error> {
        let steps = document.steps.into_iter().map(|s| s.step).collect();
        Ok(ShownPlan { request: document.request.ok_or_else(without_host)?, steps })
    }

    /// What was asked for.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// The steps that were shown.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The vif, bridge or network that it is about.
    pub fn subject(&self) -> Subject {
        self.request.subject()
    }

    /// Whether a plan that was made now has the steps that were shown.
    ///
    /// # Errors
    /// [`ErrorKind::Stale`] with what is otherwise.
    pub(crate) fn check(&self, now: &Plan) -> Result<(), Error> {
        let now: Vec<Step> = now.steps().iter().map(|planned| timeless(&planned.step)).collect();
        let shown: Vec<Step> = self.steps.iter().map(timeless).collect();
        // A recovery that finds nothing left to do has succeeded.
        if now == shown || (now.is_empty() && matches!(self.request, Request::Recover(_))) {
            return Ok(());
        }
        let without = |these: &[Step], those: &[Step]| -> Vec<String> {
            these.iter().filter(|step| !those.contains(step)).map(|step| format!("{} {step}", step.sign())).collect()
        };
        let (more, less) = (without(&now, &shown), without(&shown, &now));
        let part = |what: &str, steps: &[String]| (!steps.is_empty()).then(|| format!("{what}: {}", steps.join("; ")));
        let parts = match now.is_empty() {
            true => vec!["nothing of it is left to do".to_owned()],
            false => [part("no longer needed", &less), part("needed now", &more)].into_iter().flatten().collect(),
        };
        let told = match parts.is_empty() {
            true => "the same steps would come in another order, or more often".to_owned(),
            false if more == less => format!("{} (about another link or rule of that name)", parts.join("; ")),
            false => parts.join("; "),
        };
        let subject = self.subject();
        Err(Error::new(ErrorKind::Stale, format!("{subject}: the system has changed since the plan was shown: {told}"))
            .with_object(subject.to_string())
            .with_hint("make a new plan, and look at it")
            .unchanged())
    }
}

impl TryFrom<&Plan> for ShownPlan {
    type Error = Error;

    /// # Errors
    /// [`ErrorKind::Invalid`] of a plan that was made without a host.
    fn try_from(plan: &Plan) -> Result<Self, Error> {
        let request = plan.request().cloned().ok_or_else(without_host)?;
        Ok(ShownPlan { request, steps: plan.steps().iter().map(|p| p.step.clone()).collect() })
    }
}

/// A step without the lifetime of its address, which runs on between two looks.
fn timeless(step: &Step) -> Step {
    let without = |address: &Address| Address { lifetime: None, ..address.clone() };
    match step {
        Step::Addr(AddrStep::Add(address)) => Step::Addr(AddrStep::Add(without(address))),
        Step::Addr(AddrStep::Del(address)) => Step::Addr(AddrStep::Del(without(address))),
        other => other.clone(),
    }
}

fn unreadable(e: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("a plan cannot be read: {e}"))
        .with_object("plan")
        .with_hint("give the JSON document of a plan as this version of xennet makes it")
        .unchanged()
}

fn without_host() -> Error {
    Error::new(ErrorKind::Invalid, "the plan does not say what was asked for: it was made without a host")
        .with_object("plan")
        .with_hint("use a plan that a host has made; xennet_core::exec::apply carries out any other")
        .unchanged()
}
