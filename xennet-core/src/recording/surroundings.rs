//! What is around the kernel's objects on a host: other programs' files, hooks, scripts, modules.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::managers;

/// What is around the kernel's objects on a host. [`surroundings::look`](crate::surroundings::look) finds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
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
pub struct Problem {
    /// Its path.
    pub path: String,
    /// What is wrong, in words.
    pub why: String,
}

/// A script's call of a function that newer Xen does not have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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
