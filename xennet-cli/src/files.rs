//! Files of the system that the command writes.

use std::io;
use std::path::{Path, PathBuf};

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

/// The error for one file of several, which says what was written before it.
pub(crate) fn after(written: &[PathBuf], error: Error) -> Error {
    if written.is_empty() {
        return error.as_before("unchanged");
    }
    let list: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
    error.incomplete(format!("written before it: {}", list.join(", ")))
}
