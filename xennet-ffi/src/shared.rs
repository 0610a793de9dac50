//! What several threads of one process use at once.

use std::sync::Mutex;

use xennet_core::{Error, ErrorKind, OpenedBy};

/// A value behind a handle: one call at a time, in the process that opened it, and none any more after a defect was met in one.
pub(crate) struct Shared<T> {
    // Poisoned by a call that panicked: then nothing is known about it any more.
    value: Mutex<T>,
    opened: OpenedBy,
    what: &'static str,
}

impl<T> Shared<T> {
    /// `what` is its name in messages.
    pub(crate) fn new(what: &'static str, value: T) -> Self {
        Shared { value: Mutex::new(value), opened: OpenedBy::this_process(), what }
    }

    /// Does something with the value, alone.
    pub(crate) fn work<R>(&self, work: impl FnOnce(&mut T) -> Result<R, Error>) -> Result<R, Error> {
        // In a copy of the process the lock may be held for ever, by a thread that was not copied.
        self.opened.check_for(self.what)?;
        match self.value.lock() {
            Ok(mut value) => work(&mut value),
            Err(_) => {
                let message = format!("{} refuses work: a defect was met in an earlier call on it", self.what);
                Err(Error::new(ErrorKind::Internal, message)
                    .with_object(self.what)
                    .unchanged()
                    .with_hint("free the handle and open another; a new host recovers what was left open"))
            }
        }
    }
}
