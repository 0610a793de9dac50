//! What the kernel answers instead of doing what it was asked.

use crate::backend::BackendError;
use crate::error::Errno;

/// A refusal before it is known what it is about: [`about`](Refusal::about) makes an error of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The error number.
    pub(crate) errno: Errno,
    /// The kernel's own sentence, or ours where the kernel was not reached.
    pub(crate) message: Option<String>,
    /// The running kernel is older than what this needs, says the message.
    pub(crate) too_old: bool,
}

impl Refusal {
    pub(crate) fn new(errno: Errno) -> Self {
        Refusal { errno, message: None, too_old: false }
    }

    pub(crate) fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// The error about this object.
    pub(crate) fn about(self, object: impl Into<String>) -> BackendError {
        let mut error = BackendError::new(self.errno, object);
        error.too_old = self.too_old;
        match self.message {
            Some(message) => error.with_message(message),
            None => error,
        }
    }
}

impl From<rustix::io::Errno> for Refusal {
    fn from(errno: rustix::io::Errno) -> Self {
        Refusal::new(Errno::of(errno))
    }
}
