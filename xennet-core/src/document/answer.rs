//! Documents that are made of several values: the answers of the command, of C and of Python.

use serde::Serialize;

use crate::config::document::Document as Parsed;
use crate::error::{Diagnostic, Error};
use crate::exec::Applied;
use crate::guest::{Format, Rendered};
use crate::host::{self, NetworkStatus, RecoveredSubject, Shown};
use crate::hotplug::log::CallRecord;
use crate::managers::{Manager, Snippet, Warning};
use crate::model::{GuestMac, IfName, Subject};
use crate::plan::Plan;
use crate::version::Version;

/// A remark beside an answer: on standard error with `--json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Note {
    version: Version<1>,
    /// The remark.
    pub note: String,
    /// Where it is about a text: the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// The column in characters, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// The bytes of the text, the first one and the one behind the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<[usize; 2]>,
    /// The rule that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl Note {
    /// A remark.
    pub fn new(text: impl Into<String>) -> Self {
        Note { version: Version, note: text.into(), line: None, column: None, span: None, rule: None, hint: None }
    }
}

impl From<&Diagnostic> for Note {
    fn from(finding: &Diagnostic) -> Self {
        let (line, column) = finding.position();
        Note {
            line: Some(line),
            column: Some(column),
            span: Some([finding.span.start, finding.span.end]),
            rule: Some(finding.rule.clone()),
            hint: finding.hint.clone(),
            ..Note::new(&finding.message)
        }
    }
}

/// What an operation did, and to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Done<'a> {
    /// To which vif, bridge or network: `vif5.0`, `bridge-xenbr0`, `network-lan`. Left out where the caller has named it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// What it did.
    #[serde(flatten)]
    pub applied: &'a Applied,
}

impl<'a> Done<'a> {
    /// What was done to this.
    pub fn to(subject: &Subject, applied: &'a Applied) -> Self {
        Done { subject: Some(subject.to_string()), applied }
    }
}

/// What starting or stopping networks did, one after the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DoneNetworks {
    version: Version<1>,
    /// The networks that were started or stopped.
    pub networks: Vec<DoneNetwork>,
    /// Those that could not be.
    pub failed: Vec<FailedNetwork>,
}

impl DoneNetworks {
    /// One more.
    pub fn add(&mut self, network: IfName, applied: &Applied) {
        self.networks.push(DoneNetwork { network, steps: applied.steps, notes: applied.notes.clone() });
    }

    /// One more that could not be started or stopped.
    pub fn add_failed(&mut self, network: IfName, error: Error) {
        self.failed.push(FailedNetwork { network, error });
    }
}

/// Why one network could not be started or stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FailedNetwork {
    /// Its name.
    pub network: IfName,
    /// Why.
    pub error: Error,
}

/// What starting or stopping one network did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct DoneNetwork {
    /// Its name.
    pub network: IfName,
    /// How many steps were carried out; 0 if everything was as wanted already.
    pub steps: usize,
    /// What the reader should know besides.
    pub notes: Vec<String>,
}

/// What recovering would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedRecovery<'a> {
    version: Version<1>,
    /// One for each vif, bridge and network of which an operation was interrupted or which lacks something.
    pub plans: Vec<PlannedSubject<'a>>,
}

/// What recovering would do for one vif, bridge or network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PlannedSubject<'a> {
    /// `vif5.0`, or `bridge-` or `network-` and a name.
    pub subject: String,
    /// What would be done, a plan that can be carried out; null where something stands in the way.
    pub plan: Option<&'a Plan>,
    /// What stands in the way.
    pub error: Option<&'a Error>,
}

impl<'a> PlannedRecovery<'a> {
    /// What [`Host::plan_recover`](crate::Host::plan_recover) gives.
    pub fn of(plans: impl IntoIterator<Item = (&'a Subject, &'a Result<Plan, Error>)>) -> Self {
        let one = |(subject, plan): (&Subject, &'a Result<Plan, Error>)| PlannedSubject {
            subject: subject.to_string(),
            plan: plan.as_ref().ok(),
            error: plan.as_ref().err(),
        };
        PlannedRecovery { version: Version, plans: plans.into_iter().map(one).collect() }
    }
}

/// What recovering did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Recovered<'a> {
    version: Version<1>,
    /// One for each vif, bridge and network that something was done for.
    pub recovered: Vec<RecoveredSubject<'a>>,
}

impl<'a> Recovered<'a> {
    /// What [`Host::recover`](crate::Host::recover) gives.
    pub fn of(recovered: &'a [(Subject, host::Recovered)]) -> Self {
        let one = |(subject, how): &'a (Subject, host::Recovered)| how.document(*subject);
        Recovered { version: Version, recovered: recovered.iter().map(one).collect() }
    }
}

/// How networks are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Status<'a> {
    version: Version<1>,
    /// The networks: those that are described, and those that are started.
    pub networks: &'a [NetworkStatus],
}

impl<'a> Status<'a> {
    /// What [`Host::network_status`](crate::Host::network_status) gives of each.
    pub fn of(networks: &'a [NetworkStatus]) -> Self {
        Status { version: Version, networks }
    }
}

/// The networks whose start was confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Confirmed<'a> {
    version: Version<1>,
    /// Their names.
    pub confirmed: &'a [IfName],
}

impl<'a> Confirmed<'a> {
    /// These.
    pub fn of(confirmed: &'a [IfName]) -> Self {
        Confirmed { version: Version, confirmed }
    }
}

/// A vif line that was read, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ParsedVif {
    version: Version<1>,
    /// The vif: the document `vif`, or in xl's dialect `xl-vif`.
    #[cfg_attr(feature = "schema", schemars(with = "Nic"))]
    pub nic: Parsed,
    /// What has no effect, what xl would have swallowed, a sentence each.
    pub notes: Vec<String>,
}

impl ParsedVif {
    /// What [`config::document::vif`](crate::config::document::vif) gives.
    pub fn of(parsed: &crate::config::Parsed<Parsed>) -> Self {
        let notes = parsed.notes.iter().map(ToString::to_string).collect();
        ParsedVif { version: Version, nic: parsed.value.clone(), notes }
    }
}

/// A vif of either dialect.
#[cfg(feature = "schema")]
#[expect(dead_code, reason = "there is only its schema")]
#[derive(Serialize, schemars::JsonSchema)]
#[serde(untagged)]
enum Nic {
    /// As xennet means it.
    Strict(crate::config::document::Root<crate::model::VifSpec>),
    /// As xl hands it to libxl.
    Xl(crate::config::document::Root<crate::config::XlNic>),
}

/// A hardware address that was generated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GeneratedMac {
    version: Version<1>,
    /// The address.
    pub mac: GuestMac,
    /// By which scheme.
    pub scheme: &'static str,
}

impl GeneratedMac {
    /// This one.
    pub fn new(mac: GuestMac, scheme: &'static str) -> Self {
        GeneratedMac { version: Version, mac, scheme }
    }
}

/// Hotplug calls that are remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Calls<'a> {
    version: Version<1>,
    /// The calls, the oldest first.
    pub calls: &'a [CallRecord],
}

impl<'a> Calls<'a> {
    /// These.
    pub fn of(calls: &'a [CallRecord]) -> Self {
        Calls { version: Version, calls }
    }
}

/// A recording that was written to a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Recorded {
    version: Version<1>,
    /// The file.
    pub file: String,
    /// Its size.
    pub bytes: usize,
}

impl Recorded {
    /// This file.
    pub fn new(file: impl Into<String>, bytes: usize) -> Self {
        Recorded { version: Version, file: file.into(), bytes }
    }
}

/// Files of a guest that were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct GuestWritten<'a> {
    version: Version<1>,
    /// Their paths on this machine.
    pub written: Vec<String>,
    /// What was written.
    pub guest: &'a Rendered,
}

impl<'a> GuestWritten<'a> {
    /// These files.
    pub fn new(written: Vec<String>, guest: &'a Rendered) -> Self {
        GuestWritten { version: Version, written, guest }
    }
}

/// The formats of guests' network configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Formats {
    version: Version<1>,
    /// The formats.
    pub formats: Vec<FormatRow>,
}

/// A format of guests' network configurations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct FormatRow {
    /// Its name.
    pub format: Format,
    /// Who reads it.
    pub title: &'static str,
    /// Where the text belongs.
    pub place: &'static str,
}

impl Formats {
    /// All of them.
    pub fn all() -> Self {
        let row = |format: &Format| FormatRow { format: *format, title: format.title(), place: format.place() };
        Formats { version: Version, formats: Format::ALL.iter().map(row).collect() }
    }
}

/// What keeps other programs off guests' links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Snippets<'a> {
    version: Version<1>,
    /// One for each program.
    pub snippets: &'a [Snippet],
}

impl<'a> Snippets<'a> {
    /// These.
    pub fn of(snippets: &'a [Snippet]) -> Self {
        Snippets { version: Version, snippets }
    }
}

/// Snippets that were written to their files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnippetFiles {
    version: Version<1>,
    /// The files.
    pub files: Vec<SnippetFile>,
}

impl SnippetFiles {
    /// One more.
    pub fn add(&mut self, manager: Manager, path: impl Into<String>, written: bool) {
        self.files.push(SnippetFile { manager, path: path.into(), written, reload: manager.reload() });
    }
}

/// A snippet's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SnippetFile {
    /// Whose it is.
    pub manager: Manager,
    /// Its path.
    pub path: String,
    /// Whether it was written; if not, it was there already.
    pub written: bool,
    /// The command that brings it in force.
    pub reload: &'static str,
}

/// Which programs run here that manage links, and which of them would take those of guests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct CheckedManagers<'a> {
    version: Version<1>,
    /// Those that run.
    pub running: &'a [Manager],
    /// Those that would take guests' links.
    pub warnings: &'a [Warning],
}

impl<'a> CheckedManagers<'a> {
    /// These.
    pub fn new(running: &'a [Manager], warnings: &'a [Warning]) -> Self {
        CheckedManagers { version: Version, running, warnings }
    }
}

/// Hotplug scripts that were installed among Xen's own, or removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Installed {
    version: Version<1>,
    /// The directory of scripts.
    pub dir: String,
    /// The program that the scripts are; null where they were removed.
    pub binary: Option<String>,
    /// How a vif names the script.
    pub script: String,
    /// What was done.
    pub acts: Vec<InstallAct>,
    /// What is to be known besides.
    pub notes: Vec<String>,
}

impl Installed {
    /// With nothing done yet.
    pub fn new(dir: impl Into<String>, binary: Option<String>, script: impl Into<String>) -> Self {
        let (acts, notes) = (Vec::new(), Vec::new());
        Installed { version: Version, dir: dir.into(), binary, script: script.into(), acts, notes }
    }
}

/// One thing that was done to a script. What does not belong to it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct InstallAct {
    /// `put`, `turn`, `remove`, `keep`, `restore`, `divert` or `undivert`.
    pub act: &'static str,
    /// The script.
    pub path: String,
    /// Where it pointed before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Where it points now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// Where the file that was there is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

impl InstallAct {
    /// An act on a script.
    pub fn new(act: &'static str, path: impl Into<String>) -> Self {
        InstallAct { act, path: path.into(), ..InstallAct::default() }
    }
}

/// What the demonstration did and saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Demo {
    version: Version<1>,
    /// Whether it ran on the kernel.
    pub kernel: bool,
    /// What happened, in order.
    pub events: Vec<DemoEvent>,
    /// The claims that did not hold.
    pub broken: Vec<String>,
}

impl Demo {
    /// These events.
    pub fn new(kernel: bool, events: Vec<DemoEvent>, broken: Vec<String>) -> Self {
        Demo { version: Version, kernel, events, broken }
    }
}

/// Something that happened in the demonstration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
#[non_exhaustive]
pub enum DemoEvent {
    /// Where it runs.
    Stage {
        /// Whether on the kernel.
        kernel: bool,
    },
    /// One of the modes begins.
    Mode {
        /// Which.
        mode: String,
        /// What it is.
        is: String,
    },
    /// A file with descriptions of networks.
    File {
        /// Its text.
        file: String,
    },
    /// A command that was carried out.
    Command {
        /// Without the program's name.
        command: String,
    },
    /// A claim.
    Claim {
        /// What is claimed.
        claim: String,
        /// Whether it holds.
        holds: bool,
    },
    /// What would have been seen between guests, host and outside, where there is nobody.
    Seen {
        /// Always null.
        seen: (),
    },
    /// Vifs and bridges.
    Shown {
        /// What `show` gives.
        shown: Shown,
    },
    /// How a network is.
    Status {
        /// What `network status` gives of it.
        status: Box<NetworkStatus>,
    },
    /// A command on the gateway outside.
    Outside {
        /// The command.
        outside: String,
    },
    /// All that can be observed, before and after.
    Facts {
        /// A fact a line.
        before: String,
        /// A fact a line.
        after: String,
    },
    /// What is otherwise afterwards.
    Changes {
        /// A change each.
        changes: Vec<String>,
    },
    /// A plan.
    Plan(Box<Plan>),
}

/// All documents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Schemas {
    version: Version<1>,
    /// In the order of their names.
    pub schemas: Vec<SchemaRow>,
}

/// A document, as the list of all has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SchemaRow {
    /// Its name.
    pub name: &'static str,
    /// The version of it that this xennet writes.
    pub version: u32,
    /// What it is.
    pub what: &'static str,
}

impl Schemas {
    /// The list.
    pub fn all() -> Self {
        let row = |d: &super::Document| SchemaRow { name: d.name, version: d.version, what: d.what };
        Schemas { version: Version, schemas: super::ALL.iter().map(row).collect() }
    }
}
