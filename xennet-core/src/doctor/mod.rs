//! What is wrong with the network of a host, and what mends it.
//!
//! [`examine`] looks at a [`Recording`], which is all that was observed of a host, and says what of it keeps guests from the network that they
//! were promised. It does no I/O: a recording of another machine is examined as the host itself is. Each [`Finding`] is a row of one table
//! ([`Code`]), with the facts that were observed and what mends it.
//!
//! What is ours is not judged by a list of its own: the host that is made of the recording is asked what it would put back
//! ([`Host::plan_recover`](crate::Host::plan_recover)).
//!
//! ```
//! use xennet_core::doctor;
//! use xennet_core::recording::Taken;
//! use xennet_core::{DomId, Host};
//!
//! let mut host = Host::fake();
//! host.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
//! let recording = host.record(Taken::default(), None, Err("there is none here".into()));
//! let findings = doctor::examine(&recording);
//! assert!(findings.iter().all(|f| f.level() == doctor::Level::Note));
//! println!("{}", doctor::document(&findings));
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod addresses;
mod bridges;
mod domains;
mod finding;
mod firewalls;
mod mtu;
mod others;
mod ours;
mod seen;
mod services;
mod settings;
mod table;
mod uplinks;

use serde::Serialize;

use crate::error::json_text;
use crate::host::Host;
use crate::recording::Recording;
use crate::version::Version;

pub use finding::{Finding, Fix};
use seen::Seen;
#[cfg(feature = "schema")]
pub(crate) use table::Codes;
pub use table::{Code, Level, RETIRED};

/// The number of the format of [`document`].
pub const VERSION: u32 = 1;

/// What is wrong with a recorded host, the worst first; of one level causes come before what follows from them. Grows with the host.
pub fn examine(recording: &Recording) -> Vec<Finding> {
    let seen = Seen::of(recording);
    let mut host = Host::from_recording(recording);
    let mut found = Vec::new();
    bridges::check(&seen, &mut found);
    uplinks::check(&seen, &mut found);
    addresses::check(&seen, &mut found);
    ours::check(&seen, &mut host, &mut found);
    domains::check(&seen, &mut found);
    mtu::check(&seen, &mut found);
    others::check(&seen, &mut found);
    settings::check(&seen, &mut found);
    services::check(&seen, &mut found);
    // What is left.
    firewalls::check(&seen, &mut found);
    for fix in found.iter_mut().filter_map(|f| f.fix.as_mut()) {
        // What cannot be planned now has a command all the same.
        fix.plan =
            fix.request.as_ref().and_then(|request| host.plan_request(request).ok()).filter(|plan| !plan.is_empty());
    }
    found.sort_by(|a, b| (a.level(), a.code, &a.object).cmp(&(b.level(), b.code, &b.object)));
    found.dedup();
    found
}

/// The findings about one thing, as a person names it: a network, a vif, a link, or a domain's name or number. So are those of what it stands
/// on: a vif's bridge, network and uplink, and the tables that it needs. `None` where this host has no such thing.
pub fn about<'a>(recording: &Recording, findings: &'a [Finding], what: &str) -> Option<Vec<&'a Finding>> {
    let related = Seen::of(recording).related(what);
    let names_it = |text: &str| {
        let is_edge = |c: Option<char>| c.is_none_or(|c| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '-')));
        text.match_indices(what)
            .any(|(at, _)| is_edge(text[..at].chars().next_back()) && is_edge(text[at + what.len()..].chars().next()))
    };
    let is_about = |f: &Finding| {
        related.contains(&f.object)
            || names_it(&f.object)
            || names_it(&f.cause)
            || f.evidence.iter().any(|fact| names_it(fact))
    };
    let found: Vec<&Finding> = findings.iter().filter(|f| is_about(f)).collect();
    (!related.is_empty() || !found.is_empty()).then_some(found)
}

/// The findings as a JSON document: `{"version":1,"findings":[…]}`.
pub fn document(findings: &[Finding]) -> String {
    json_text(&Findings { version: Version, findings })
}

/// What is wrong with a host's network.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Findings<'a> {
    version: Version<VERSION>,
    /// The worst first.
    findings: &'a [Finding],
}

/// The worst level among findings; `None` where there are none.
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Level> {
    findings.into_iter().map(Finding::level).min()
}

#[cfg(test)]
mod tests;
