//! A lock with a deadline.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::private::unusable;

/// Locks a file exclusively (`flock(2)`), waiting at most until the deadline. The lock goes with the file's last
/// descriptor, however the process ends.
///
/// # Errors
/// [`ErrorKind::Busy`] when another process holds it for longer.
pub(crate) fn take(file: &File, path: &Path, deadline: Duration) -> Result<(), Error> {
    // The clock is read only where there is something to wait for.
    let mut end = None;
    let mut pause = Duration::from_micros(100);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(e)) => return Err(unusable(path, "cannot be locked", &e)),
            Err(TryLockError::WouldBlock) => {}
        }
        let now = Instant::now();
        let end = *end.get_or_insert(now + deadline);
        if now >= end {
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{}: another process has held this lock for {} ms", path.display(), deadline.as_millis()),
            )
            .with_object(path.display().to_string())
            .with_state("unchanged, nothing was applied")
            .with_hint(format!("see who holds it: fuser {}", path.display())));
        }
        std::thread::sleep(pause.min(end - now));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// How long a lock is tried for that others only look at: a look takes microseconds.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// Locks a file exclusively, unless another process has it so: false then. Processes that only [look](is_held) are waited for.
///
/// # Errors
/// As [`take`].
pub(crate) fn take_unless_held(file: &File, path: &Path) -> Result<bool, Error> {
    let end = Instant::now() + LOOKED_AT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(e)) => return Err(unusable(path, "cannot be locked", &e)),
            Err(TryLockError::WouldBlock) if is_held(file) || Instant::now() >= end => return Ok(false),
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_micros(100)),
        }
    }
}

/// Whether another process holds a file's lock exclusively. For a moment this takes a shared one, which ends before the answer.
pub(crate) fn is_held(file: &File) -> bool {
    match file.try_lock_shared() {
        Ok(()) => {
            // It goes with the file in any case.
            let _ = file.unlock();
            false
        }
        Err(_) => true,
    }
}
