//! Files of the system that the command writes.

use std::io;
use std::path::Path;

use xennet_core::{Errno, Error, ErrorKind};

/// The error of a file that cannot be read or written; `what` as in "cannot be written".
pub(crate) fn failed(path: &Path, what: &str, e: &io::Error) -> Error {
    let errno = Errno::from_io(e);
    let error = Error::new(ErrorKind::Io, format!("{}: {what}", path.display()))
        .with_object(path.display().to_string())
        .with_errno(errno)
        .as_before("unchanged");
    match errno {
        Errno::EACCES | Errno::EPERM => error.with_hint("run it as root"),
        Errno::EROFS => error.with_hint("the file system is read-only: name another directory with --dir"),
        _ => error,
    }
}
