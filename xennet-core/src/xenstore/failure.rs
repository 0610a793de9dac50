//! What can go wrong between us and xenstore.

use std::fmt;

use crate::error::{Errno, Error, ErrorKind};

/// What kind of failure it was: what a caller can branch on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// The request breaks a rule and was not sent.
    Invalid,
    /// There is no server to talk to.
    NoServer,
    /// The server did not answer before the deadline.
    TimedOut,
    /// The server closed the connection.
    Died,
    /// The server answered, and refused. [`StoreError::errno`] is its word.
    Refused,
    /// The server's answer makes no sense.
    Nonsense,
    /// More events came than there was room for, and some were thrown away.
    Overrun,
    /// An earlier failure made this connection unusable; a new one is needed.
    Unusable,
}

/// A failed operation on xenstore: which operation, on what, why, and the error number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(Box<Parts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Parts {
    kind: StoreErrorKind,
    errno: Errno,
    operation: &'static str,
    object: String,
    reason: String,
}

impl StoreError {
    /// A new error. `operation` is a verb (`"read"`), `object` a path or the name of a server, `reason` a sentence
    /// fragment without the error number.
    pub fn new(
        kind: StoreErrorKind,
        errno: Errno,
        operation: &'static str,
        object: impl Into<String>,
        reason: impl Into<String>,
    ) -> Self {
        StoreError(Box::new(Parts { kind, errno, operation, object: object.into(), reason: reason.into() }))
    }

    /// The server's refusal of this operation on this object.
    pub fn refused(errno: Errno, operation: &'static str, object: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Refused, errno, operation, object, "xenstore refused")
    }

    /// What kind of failure it was.
    pub fn kind(&self) -> StoreErrorKind {
        self.0.kind
    }

    /// The error number: the server's for a refusal, else the system's or the one that fits.
    pub fn errno(&self) -> Errno {
        self.0.errno
    }

    /// The operation, as a verb: `"read"`, `"write"`, `"connect to"`.
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The path or the server that it was about.
    pub fn object(&self) -> &str {
        &self.0.object
    }

    /// Why, without the error number.
    pub fn reason(&self) -> &str {
        &self.0.reason
    }

    /// The way out, where one is known.
    pub fn hint(&self) -> Option<&'static str> {
        match (self.0.kind, self.0.errno) {
            (StoreErrorKind::NoServer, _) => Some(
                "is xenstored running, and is this dom0 or a driver domain? XENSTORED_PATH names a socket or device at \
                 another place",
            ),
            (StoreErrorKind::TimedOut, _) => Some("see whether xenstored is stuck or stopped, then try again"),
            (StoreErrorKind::Died, _) => Some("see whether xenstored is running, then try again"),
            (StoreErrorKind::Nonsense, _) => Some("is it xenstored that answers there? see its log, then try again"),
            (StoreErrorKind::Unusable, _) => Some("open a new connection"),
            (StoreErrorKind::Refused, Errno::EACCES | Errno::EPERM) => {
                Some("xenstore-ls -p shows who may read and write the node")
            }
            (StoreErrorKind::Refused, Errno::ENOSPC) => {
                Some("this domain's share of xenstore is used up (xenstored --entry-nb, --entry-size, --transaction)")
            }
            (StoreErrorKind::Refused, Errno::EAGAIN) => Some("others kept changing the same nodes; try again"),
            _ => None,
        }
    }
}

impl fmt::Display for StoreError {
    /// One line: `cannot read "backend/vif/1/0/bridge" in xenstore: xenstore refused: EACCES`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.sentence(), self.0.errno)
    }
}

impl StoreError {
    fn sentence(&self) -> String {
        let p = &*self.0;
        let object = shown(&p.object).escape_debug().to_string();
        match p.kind {
            StoreErrorKind::NoServer => format!("cannot {} {object}: {}", p.operation, p.reason),
            _ if p.object.is_empty() => format!("cannot {} in xenstore: {}", p.operation, p.reason),
            _ => format!("cannot {} \"{object}\" in xenstore: {}", p.operation, p.reason),
        }
    }
}

/// The longest part of an object that is shown: longer than any path of a vif, and not all of a megabyte.
const SHOWN: usize = 256;

fn shown(object: &str) -> &str {
    object.char_indices().nth(SHOWN).map_or(object, |(end, _)| &object[..end])
}

impl std::error::Error for StoreError {
    /// The error number.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0.errno)
    }
}

impl From<StoreError> for Error {
    fn from(e: StoreError) -> Error {
        let kind = match e.kind() {
            StoreErrorKind::Invalid => ErrorKind::Invalid,
            _ => ErrorKind::Xenstore,
        };
        let error = Error::new(kind, e.sentence()).with_object(shown(e.object())).with_errno(e.errno());
        match e.hint() {
            Some(hint) => error.with_hint(hint),
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_operation_object_reason_and_the_way_out() {
        let e = StoreError::refused(Errno::EACCES, "read", "backend/vif/1/0/bridge");
        assert_eq!(e.to_string(), "cannot read \"backend/vif/1/0/bridge\" in xenstore: xenstore refused: EACCES");
        let whole = Error::from(e);
        assert_eq!(whole.kind(), ErrorKind::Xenstore);
        assert_eq!(whole.object(), Some("backend/vif/1/0/bridge"));
        assert_eq!(whole.errno(), Some(Errno::EACCES));
        assert_eq!(
            whole.report(),
            "error: cannot read \"backend/vif/1/0/bridge\" in xenstore: xenstore refused\n  xenstore: EACCES (permission \
             denied)\nhint: xenstore-ls -p shows who may read and write the node"
        );
        let e = StoreError::new(StoreErrorKind::Invalid, Errno::EINVAL, "write", "/a b", "a path has no spaces");
        assert_eq!(Error::from(e).kind(), ErrorKind::Invalid);
    }

    #[test]
    fn an_object_cannot_break_the_line() {
        let e = StoreError::refused(Errno::EINVAL, "read", "/a\n\u{1b}[31mb");
        assert!(!e.to_string().contains(['\n', '\u{1b}']), "{e}");
        let long = StoreError::refused(Errno::EINVAL, "read", "ä".repeat(1000));
        assert!(long.to_string().contains(&format!("\"{}\"", "ä".repeat(256))), "{long}");
    }
}
