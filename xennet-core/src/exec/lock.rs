//! One lock per subject, with a deadline.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::state::unusable;
use crate::error::{Error, ErrorKind};

/// An exclusive lock (`flock(2)`), released when it is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct Lock {
    // Closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Takes the lock, waiting at most until the deadline.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when another process holds it for longer; [`ErrorKind::StateUnusable`],
    /// [`ErrorKind::StateFull`] when the file cannot be made.
    pub fn take(path: &Path, deadline: Duration) -> Result<Lock, Error> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|e| unusable(path, "cannot be opened", &e))?;
        let end = Instant::now() + deadline;
        let mut pause = Duration::from_micros(100);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock { _file: file }),
                Err(TryLockError::WouldBlock) if Instant::now() < end => {
                    std::thread::sleep(pause.min(end.saturating_duration_since(Instant::now())));
                    pause = (pause * 2).min(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::new(
                        ErrorKind::Busy,
                        format!(
                            "{}: another process has held this lock for {} ms",
                            path.display(),
                            deadline.as_millis()
                        ),
                    )
                    .with_object(path.display().to_string())
                    .with_state("unchanged, nothing was applied")
                    .with_hint(format!("see who holds it: fuser {}", path.display())));
                }
                Err(TryLockError::Error(e)) => return Err(unusable(path, "cannot be locked", &e)),
            }
        }
    }
}
