//! What is around the kernel's objects on a host: other programs' files, hooks, scripts, modules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::managers;

/// What is around the kernel's objects on a host. [`surroundings::look`](crate::surroundings::look) finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Surroundings {
    /// Programs that manage links, run here, and would take those of guests.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub managers: Vec<managers::Warning>,
    /// Hooks of hotplug calls that cannot run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Problem>,
    /// Hotplug scripts that a vif's node names, and that cannot be started.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scripts: Vec<Problem>,
    /// Scripts that call functions which newer Xen does not have.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub old_calls: Vec<OldCall>,
    /// Modules that calls of started networks need, and that this kernel does not have: each of these calls asks for them again.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub modules: BTreeSet<String>,
    /// The version of Xen (`/sys/hypervisor/version`): `4.17.3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xen: Option<String>,
}

/// A file with something wrong about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// Its path.
    pub path: String,
    /// What is wrong, in words.
    pub why: String,
}

impl Problem {
    /// What is wrong with the file at this path.
    pub fn new(path: impl Into<String>, why: impl Into<String>) -> Self {
        Problem { path: path.into(), why: why.into() }
    }
}

/// A script's call of a function that newer Xen does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OldCall {
    /// The script.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The function.
    pub function: String,
    /// The first version of Xen without it.
    pub since: String,
}

impl OldCall {
    /// A call in line `line` of a file, of a function that Xen has no more since a release.
    pub fn new(path: impl Into<String>, line: usize, function: impl Into<String>, since: impl Into<String>) -> Self {
        OldCall { path: path.into(), line, function: function.into(), since: since.into() }
    }
}
