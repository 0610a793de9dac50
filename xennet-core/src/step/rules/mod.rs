//! The transition function: what the kernel does with a step, a file per kind of object.

use super::{Effects, Step};
use crate::error::Errno;
use crate::snapshot::Snapshot;

/// What the kernel would do with `step`.
///
/// The world is changed only as far as the kernel would change it: a refused step may have happened in part, as one
/// `RTM_SETLINK` may.
///
/// # Errors
/// The kernel's error number.
pub fn step(_world: &mut Snapshot, _step: &Step) -> Result<Effects, Errno> {
    Err(Errno::EOPNOTSUPP)
}
