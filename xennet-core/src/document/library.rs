//! Documents that functions of C and Python give.

use serde::Serialize;

use crate::advise::Question;
use crate::config::document::Document as Parsed;
use crate::error::Error;
use crate::model::{IfName, ViolationCount};
use crate::snapshot::StorePermission;
use crate::version::Version;
use crate::xenstore::Event;

/// The networks whose last start waits for a confirmation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Awaited<'a> {
    version: Version<1>,
    /// Their names.
    pub awaited: &'a [IfName],
}

impl<'a> Awaited<'a> {
    /// These.
    pub fn of(awaited: &'a [IfName]) -> Self {
        Awaited { version: Version, awaited }
    }
}

/// The packets of guests that were dropped.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Violations {
    version: Version<1>,
    /// By link and class, in this order.
    pub violations: Vec<ViolationCount>,
}

impl Violations {
    /// These counts.
    pub fn of(violations: Vec<ViolationCount>) -> Self {
        Violations { version: Version, violations }
    }
}

/// A question that matters for which mode fits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Asked {
    version: Version<1>,
    /// Its name.
    pub name: &'static str,
    /// The question.
    pub text: &'static str,
    /// The words for answers; none where the answer is a name or an address.
    pub answers: &'static [&'static str],
}

impl Asked {
    /// This one.
    pub fn of(question: Question) -> Self {
        Asked { version: Version, name: question.name(), text: question.text(), answers: question.answers() }
    }
}

/// A value that was read from a text, and what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ParsedValue {
    version: Version<1>,
    /// The value, a document of its own: `vif`, `vifs`, `rate`, `mac`, `vlan`, `xend-config`.
    pub value: Parsed,
    /// What has no effect, what xl would have swallowed, a sentence each.
    pub notes: Vec<String>,
}

impl ParsedValue {
    /// What a function of [`config::document`](crate::config::document) gives.
    pub fn of(parsed: &crate::config::Parsed<Parsed>) -> Self {
        let notes = parsed.notes.iter().map(ToString::to_string).collect();
        ParsedValue { version: Version, value: parsed.value.clone(), notes }
    }
}

/// The children of a node of xenstore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Children {
    version: Version<1>,
    /// Their names, without the path.
    pub children: Vec<String>,
}

impl Children {
    /// These.
    pub fn of(children: Vec<String>) -> Self {
        Children { version: Version, children }
    }
}

/// Who may do what with a node of xenstore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Permissions {
    version: Version<1>,
    /// The first one is the owner, whose access is that of everybody who is not named.
    pub permissions: Vec<StorePermission>,
}

impl Permissions {
    /// These.
    pub fn of(permissions: Vec<StorePermission>) -> Self {
        Permissions { version: Version, permissions }
    }
}

/// An event of a watch of xenstore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct StoreEvent {
    version: Version<1>,
    /// The node that has changed, or a special name. Relative if the watch is.
    pub path: String,
    /// What the watch was given.
    pub token: String,
}

impl StoreEvent {
    /// This one.
    pub fn of(event: Event) -> Self {
        StoreEvent { version: Version, path: event.path, token: event.token }
    }
}

/// Something that happens in a call, for a program's log. What does not belong to it is left out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LogEvent<'a> {
    version: Version<1>,
    /// `step`, `note`, `done` or `failed`.
    pub event: &'static str,
    /// The function that was called.
    pub call: &'static str,
    /// The number of the step, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub number: Option<usize>,
    /// The step or the note.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<&'a str>,
    /// How long the call took, in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a Error>,
}

impl LogEvent<'_> {
    /// An event of a call.
    pub fn new(event: &'static str, call: &'static str) -> Self {
        LogEvent { version: Version, event, call, number: None, text: None, took_us: None, error: None }
    }
}
