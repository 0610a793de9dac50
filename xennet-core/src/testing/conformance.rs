//! Whether a backend does what the Linux kernel does.

use std::collections::BTreeMap;
use std::fmt;

use super::bench::{Bench, Outcome, write};
use super::cases::CASES;
use crate::backend::Backend;
use crate::error::Errno;
use crate::model::IfName;
use crate::snapshot::{LinkKind, Snapshot};
use crate::step::{
    AddrStep, LinkChange, LinkRef, LinkStep, NeighStep, NftOp, NftTransaction, RouteStep, RuleStep, Step,
};

/// What the kernel does by itself later is switched off: IPv6 makes no addresses, asks no router and tests none.
const QUIET: [(&str, &str); 5] = [
    ("net/ipv6/conf/default/addr_gen_mode", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv4/conf/default/promote_secondaries", "0"),
    ("net/ipv4/conf/all/promote_secondaries", "0"),
];

/// What cases write besides; 0 in a fresh namespace.
const WRITTEN: &str = "net/ipv4/ip_forward";

/// One thing that a backend must do.
#[derive(Clone, Copy)]
pub struct Case {
    pub(super) name: &'static str,
    pub(super) run: fn(&mut Bench<'_>) -> Outcome,
}

impl Case {
    /// What is asked for, in words joined by underscores: `a_bridge_is_no_port`.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Runs the case on a backend of a fresh network namespace, and leaves there what it has made.
    ///
    /// A backend that says that it cannot do what a case is about ([`Capabilities`](crate::backend::Capabilities)) passes it.
    ///
    /// # Errors
    /// [`Failure`]: what the backend did, and what was expected.
    pub fn run(&self, backend: &mut dyn Backend) -> Result<(), Failure> {
        let run = |mut b: Bench<'_>| {
            b.ok(QUIET.map(|(key, value)| write(key, value)))?;
            (self.run)(&mut b)
        };
        run(Bench(backend)).map_err(|what| Failure { case: self.name, what })
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// A case that a backend does not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{case}: {what}")]
#[non_exhaustive]
pub struct Failure {
    /// The case's name; `fresh` if the backend was at no fresh namespace, and `clean` if what a case had made could not be removed.
    pub case: &'static str,
    /// What the backend did, and what was expected.
    pub what: String,
}

/// A backend that does not do what the kernel does.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NotConforming {
    /// How many cases it passes.
    pub passed: usize,
    /// Those that it does not pass; one at least.
    pub failures: Vec<Failure>,
}

impl fmt::Display for NotConforming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the backend does not do what the kernel does: {} cases pass, and these do not", self.passed)?;
        self.failures.iter().try_for_each(|failure| write!(f, "\n  {failure}"))
    }
}

/// As it is displayed: it is what a test prints that unwraps it.
impl fmt::Debug for NotConforming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotConforming {}

/// The cases. Each can be [run](Case::run) by itself, as a test of its own.
pub fn cases() -> &'static [Case] {
    CASES
}

/// Certifies a backend: runs all [`cases`] on it, one after another, and removes what each has made. How many it has passed.
///
/// The backend must be at a fresh network namespace of Linux 5.10 or later, or at a model of one: loopback, down, and no other link. It
/// changes that namespace; never give it the one that a machine's network is in.
///
/// # Errors
/// [`NotConforming`], with every case that fails. If the namespace is not fresh, the error says so and nothing is changed.
pub fn conformance(backend: &mut dyn Backend) -> Result<usize, NotConforming> {
    let failed = |case, what| NotConforming { passed: 0, failures: vec![Failure { case, what }] };
    let first = fresh(backend).map_err(|what| failed("fresh", what))?;
    let mut failures = Vec::new();
    let mut passed = 0;
    for case in CASES {
        match case.run(backend) {
            Ok(()) => passed += 1,
            Err(failure) => failures.push(failure),
        }
        if let Err(what) = clean(backend, &first) {
            // What the next ones would see is not what they expect.
            failures.push(Failure { case: "clean", what: format!("after {}: {what}", case.name) });
            break;
        }
    }
    if failures.is_empty() { Ok(passed) } else { Err(NotConforming { passed, failures }) }
}

/// What is there at the beginning.
struct First {
    network: Snapshot,
    settings: BTreeMap<&'static str, String>,
}

fn fresh(backend: &mut dyn Backend) -> Outcome<First> {
    let mut b = Bench(backend);
    let network = b.see()?;
    let is_lo = |name: &IfName| name.as_str() == "lo";
    if network.links.len() != 1 || !network.links.iter().all(|(n, l)| is_lo(n) && l.kind == LinkKind::Loopback && !l.up)
    {
        let names: Vec<String> = network.links.keys().map(ToString::to_string).collect();
        return Err(format!(
            "a fresh network namespace is needed, which has loopback, down, and no other link; here are: {}",
            names.join(", ")
        ));
    }
    let mut settings = BTreeMap::new();
    for key in QUIET.iter().map(|(key, _)| *key).chain([WRITTEN]) {
        settings.insert(key, b.setting(key)?.ok_or_else(|| format!("there is no setting {key}"))?);
    }
    Ok(First { network, settings })
}

/// Removes what is not as it was.
fn clean(backend: &mut dyn Backend, first: &First) -> Outcome {
    let mut b = Bench(backend);
    let now = b.see()?;
    let kept = &first.network;
    for name in now.links.keys().filter(|name| !kept.links.contains_key(*name)) {
        let gone = b.0.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(*name) }));
        // The other end of a cable went with the first.
        if let Err(e) = gone.or_else(|e| if e.errno == Errno::ENODEV { Ok(()) } else { Err(e) }) {
            return Err(format!("{name} cannot be removed: {e}"));
        }
    }
    let tables = now.nft.keys().filter(|id| !kept.nft.contains_key(id));
    let tables = tables.map(|id| Step::Nft(NftTransaction { table: id.clone(), ops: vec![NftOp::DelTable] }));
    b.ok(tables)?;
    b.ok(now.rules.difference(&kept.rules).map(|rule| Step::Rule(RuleStep::Del(rule.clone()))))?;
    for (key, value) in &first.settings {
        b.ok([write(key, value)])?;
    }
    if let Some(lo) = kept.links.keys().next().filter(|name| now.links.get(*name).is_some_and(|l| l.up)) {
        let down = LinkChange { up: Some(false), ..LinkChange::default() };
        b.ok([Step::Link(LinkStep::Set { link: LinkRef::named(*lo), change: down })])?;
    }
    // What does not hang on a link that has gone: loopback's addresses, routes to nowhere.
    let now = b.see()?;
    b.ok(now.addresses.difference(&kept.addresses).map(|a| Step::Addr(AddrStep::Del(a.clone()))))?;
    let now = b.see()?;
    b.ok(now.routes.difference(&kept.routes).map(|r| Step::Route(RouteStep::Del(r.clone()))))?;
    b.ok(now.neighbours.difference(&kept.neighbours).map(|n| Step::Neigh(NeighStep::Del(n.clone()))))?;
    let now = b.see()?;
    if now.normalised() != kept.normalised() {
        return Err(format!("something is left:\n{}\ninstead of:\n{}", now.render(), kept.render()));
    }
    for (key, value) in &first.settings {
        let now = b.setting(key)?;
        if now.as_ref() != Some(value) {
            return Err(format!("{key} is {now:?} and cannot be set back to {value}"));
        }
    }
    Ok(())
}
