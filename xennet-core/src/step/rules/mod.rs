//! The transition function: what the kernel does with a step, a file per kind of object.

mod nft;

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
pub fn step(world: &mut Snapshot, step: &Step) -> Result<Effects, Errno> {
    match step {
        Step::Nft(transaction) => nft::apply(&mut world.nft, transaction),
        _ => Err(Errno::EOPNOTSUPP),
    }
}
