//! A lock with a deadline.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::state::unusable;
use crate::error::{Error, ErrorKind};

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
