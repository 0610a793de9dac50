//! Kernel settings, as files below `/proc/sys`.
//!
//! `/proc/sys/net` shows the settings of the network namespace of the *reading thread*
//! (`net/sysctl_net.c`, `net_ctl_header_lookup`), not of the process and not of the mount. A netlink socket however
//! stays in the namespace where it was opened. To read or write another namespace's settings by mistake would be
//! silent, so the two are compared first.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

use rustix::process::getpid;
use rustix::thread::gettid;

use super::refusal::Refusal;
use crate::backend::BackendError;
use crate::error::Errno;
use crate::snapshot::SysctlKey;

const ROOT: &str = "/proc/sys/";

/// Which network namespace a thread is in: the kernel's name of it, as in `net:[4026531840]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Namespace(PathBuf);

impl Namespace {
    /// The calling thread's. `None` where `/proc` is not mounted; settings cannot be reached there either.
    pub(crate) fn current() -> Option<Self> {
        // A process's first thread is found with half the steps: each is made anew by the kernel where nobody has gone it
        // before, as in a process that has just begun.
        let is_first = gettid() == getpid();
        let link = if is_first { "/proc/self/ns/net" } else { "/proc/thread-self/ns/net" };
        fs::read_link(link).ok().map(Namespace)
    }
}

/// Refuses when the calling thread is in another namespace than the one that the backend works on.
pub(crate) fn check(opened: Option<&Namespace>) -> Result<(), Refusal> {
    if Namespace::current().as_ref() == opened {
        return Ok(());
    }
    Err(Refusal::new(Errno::EXDEV)
        .with_message("this thread is in another network namespace than the one in which the backend was opened"))
}

/// The file of a setting.
pub(crate) fn path(key: &SysctlKey) -> String {
    format!("{ROOT}{key}")
}

/// The value without its trailing newline; `None` for a setting that does not exist.
pub(crate) fn read(key: &SysctlKey) -> Result<Option<String>, BackendError> {
    let path = path(key);
    match fs::read_to_string(&path) {
        Ok(mut value) => {
            value.truncate(value.trim_end_matches('\n').len());
            Ok(Some(value))
        }
        Err(e) if matches!(Errno::from_io(&e), Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(e) => Err(refusal(&e, path)),
    }
}

/// Writes a value with one `write`, as the kernel wants it.
pub(crate) fn write(key: &SysctlKey, value: &str) -> Result<(), BackendError> {
    let path = path(key);
    // Opened without O_CREAT: a missing setting is ENOENT, not an attempt to make a file in /proc.
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|mut file| file.write_all(value.as_bytes()))
        .map_err(|e| refusal(&e, path))
}

fn refusal(e: &io::Error, path: String) -> BackendError {
    BackendError::new(Errno::from_io(e), path)
}
