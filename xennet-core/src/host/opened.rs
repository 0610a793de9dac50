//! Which process a host belongs to.

use crate::error::{Error, ErrorKind};

/// The process that opened a host.
///
/// A child (`fork(2)`) has a copy of the host with the same sockets: parent and child would read each other's answers from the kernel.
/// What another thread was doing with it stays half done in the child, where that thread does not exist. So a host works only in the
/// process that opened it. [`Host`](crate::Host) checks that itself; faces that lock it check it first, since the lock
/// may be another thread's, which is not in the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenedBy {
    process: u32,
}

impl OpenedBy {
    /// This process.
    pub fn this_process() -> Self {
        OpenedBy { process: std::process::id() }
    }

    /// Whether this is the same process.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] in a copy of it.
    pub fn check(self) -> Result<(), Error> {
        self.check_for("host")
    }

    /// The same for another thing that has sockets: `what` is its name in the message, for example "store".
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_for(self, what: &str) -> Result<(), Error> {
        let here = std::process::id();
        if here == self.process {
            return Ok(());
        }
        let message =
            format!("{what} belongs to process {}, and this is process {here}, a copy of it (fork)", self.process);
        Err(Error::new(ErrorKind::Invalid, message)
            .with_object(what)
            .unchanged()
            .with_hint(format!("open a {what} of its own in the copy, after the fork")))
    }
}
