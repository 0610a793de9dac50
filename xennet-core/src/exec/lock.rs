//! A lock with a deadline.

use std::fs::{File, TryLockError};
use std::ops::Deref;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::private::unusable;

/// A file that this process has locked exclusively (`flock(2)`), until the value goes, however the process ends.
///
/// The lock belongs to the open file, which a child (`fork(2)`) has open as well. So it is released by an explicit unlock and not by
/// closing: else a child that was forked during an operation would hold the lock as long as it lives. Only the process that took the
/// lock releases it: the copy of this value in a child does nothing.
#[derive(Debug)]
pub(crate) struct Locked {
    file: File,
    process: u32,
}

impl Locked {
    /// Whether this process is the one that took the lock, and no copy of it.
    pub(crate) fn is_ours(&self) -> bool {
        std::process::id() == self.process
    }
}

impl Deref for Locked {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        if self.is_ours() {
            // Where the system refuses that, closing has to do.
            let _ = self.file.unlock();
        }
    }
}

/// How often a waiting caller is asked whether to go on.
const OFTEN: Duration = Duration::from_millis(50);

/// Locks a file exclusively, waiting at most until the deadline.
///
/// # Errors
/// [`ErrorKind::Busy`] when another process holds it for longer.
pub(crate) fn take(file: File, path: &Path, deadline: Duration) -> Result<Locked, Error> {
    take_unless(file, path, deadline, &|| false)
}

/// The same, given up as soon as `interrupted` says so, which is asked every now and then.
///
/// # Errors
/// As [`take`], and [`ErrorKind::Busy`] when it was given up.
pub(crate) fn take_unless(
    file: File,
    path: &Path,
    deadline: Duration,
    interrupted: &dyn Fn() -> bool,
) -> Result<Locked, Error> {
    // The clock is read only where there is something to wait for.
    let mut since = None;
    let mut asked = Duration::ZERO;
    let mut pause = Duration::from_micros(100);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Locked { file, process: std::process::id() }),
            Err(TryLockError::Error(e)) => return Err(unusable(path, "cannot be locked", &e)),
            Err(TryLockError::WouldBlock) => {}
        }
        let waited = since.get_or_insert_with(Instant::now).elapsed();
        let given_up = waited >= asked + OFTEN && {
            asked = waited;
            interrupted()
        };
        if waited >= deadline || given_up {
            let so_far = if given_up { waited } else { deadline };
            let end = if given_up { "; it is not waited for any longer" } else { "" };
            return Err(Error::new(
                ErrorKind::Busy,
                format!("{}: another process has held this lock for {} ms{end}", path.display(), so_far.as_millis()),
            )
            .with_object(path.display().to_string())
            .unchanged()
            .with_hint(format!("see who holds it: fuser {}", path.display())));
        }
        std::thread::sleep(pause.min(deadline - waited));
        pause = (pause * 2).min(Duration::from_millis(10));
    }
}

/// How long a lock is tried for that others only look at: a look takes microseconds.
const LOOKED_AT: Duration = Duration::from_secs(2);

/// Locks a file exclusively; `None` if another process holds it so. A shared lock of a process that only [looks](is_held) is waited for.
///
/// # Errors
/// As [`take`].
pub(crate) fn take_unless_held(file: File, path: &Path) -> Result<Option<Locked>, Error> {
    let end = Instant::now() + LOOKED_AT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(Locked { file, process: std::process::id() })),
            Err(TryLockError::Error(e)) => return Err(unusable(path, "cannot be locked", &e)),
            Err(TryLockError::WouldBlock) if is_held(&file) || Instant::now() >= end => return Ok(None),
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
