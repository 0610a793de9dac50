//! The state directory: locks, open journals, and the record of the last operation on each subject.
//!
//! For a subject `S` there are at most three files: `S.lock`, `S.journal` (an operation that has begun and is not
//! closed), `S.record` (the last one that was carried out). The directory belongs on a tmpfs (`/run/xennet`): it is gone
//! with the boot, as the kernel's state is, so nothing is synced to a disk.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::journal::{Entry, Journal, Subject};
use super::lock::Lock;
use crate::error::{Errno, Error, ErrorKind};
use crate::plan::Plan;

/// A state directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Where the state is by default.
    pub const DEFAULT: &'static str = "/run/xennet";

    /// A state directory at this path; nothing is made before it is needed.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        StateDir { path: path.into() }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, subject: Subject, what: &str) -> PathBuf {
        self.path.join(format!("{subject}.{what}"))
    }

    /// Takes the lock of a subject, making the directory if it is missing.
    ///
    /// # Errors
    /// As [`Lock::take`].
    pub fn lock(&self, subject: Subject, deadline: Duration) -> Result<Lock, Error> {
        let file = self.file(subject, "lock");
        match Lock::take(&file, deadline) {
            Err(e) if e.errno() == Some(Errno::ENOENT) => {
                fs::create_dir_all(&self.path).map_err(|e| unusable(&self.path, "cannot be made", &e))?;
                Lock::take(&file, deadline)
            }
            other => other,
        }
    }

    /// The last operation that was carried out on a subject.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the file cannot be read or is not a document of ours.
    pub fn record(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        read(&self.file(subject, "record")).map_err(Unread::into_error)
    }

    /// The operation on a subject that has begun and is not closed.
    ///
    /// A journal that is cut short was interrupted before the first step: it is removed, and counts as none.
    ///
    /// # Errors
    /// As [`record`](Self::record).
    pub fn open_journal(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        let file = self.file(subject, "journal");
        match read(&file) {
            Err(Unread::CutShort(_)) => {
                remove(&file)?;
                Ok(None)
            }
            other => other.map_err(Unread::into_error),
        }
    }

    /// Every subject with an open journal, in their order.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory cannot be read. A directory that does not exist has none.
    pub fn open_journals(&self) -> Result<Vec<Subject>, Error> {
        self.subjects("journal")
    }

    /// Every subject with a record, in their order.
    ///
    /// # Errors
    /// As [`open_journals`](Self::open_journals).
    pub fn records(&self) -> Result<Vec<Subject>, Error> {
        self.subjects("record")
    }

    fn subjects(&self, what: &str) -> Result<Vec<Subject>, Error> {
        let listing = match fs::read_dir(&self.path) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(&self.path, "cannot be read", &e)),
        };
        let mut found = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|e| unusable(&self.path, "cannot be read", &e))?;
            let name = entry.file_name();
            let Some(stem) = name.to_str().and_then(|n| n.strip_suffix(what)?.strip_suffix('.')) else { continue };
            let subject = match stem.strip_prefix("bridge-") {
                Some(bridge) => bridge.parse().ok().map(Subject::Bridge),
                None => crate::model::VifId::from_vif_name(stem).map(Subject::Vif),
            };
            found.extend(subject);
        }
        found.sort();
        Ok(found)
    }

    /// Removes the record of a subject.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn forget(&self, subject: Subject) -> Result<(), Error> {
        remove(&self.file(subject, "record"))
    }

    /// Puts another record in the place of a subject's, or removes it.
    ///
    /// # Errors
    /// [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
    pub fn replace(&self, subject: Subject, entry: Option<Entry>) -> Result<(), Error> {
        let Some(entry) = entry else { return self.forget(subject) };
        let (fresh, record) = (self.file(subject, "fresh"), self.file(subject, "record"));
        write(&fresh, &entry)?;
        fs::rename(&fresh, &record).map_err(|e| unusable(&record, "cannot be written", &e))
    }

    /// The subject whose record is the newest.
    ///
    /// # Errors
    /// As [`open_journals`](Self::open_journals).
    pub fn latest(&self) -> Result<Option<Subject>, Error> {
        let mut newest = None;
        for subject in self.records()? {
            let file = self.file(subject, "record");
            let time =
                fs::metadata(&file).and_then(|m| m.modified()).map_err(|e| unusable(&file, "cannot be read", &e))?;
            if newest.is_none_or(|(t, _)| time >= t) {
                newest = Some((time, subject));
            }
        }
        Ok(newest.map(|(_, subject)| subject))
    }

    /// A journal for one operation on a subject. The caller holds the subject's lock.
    pub fn journal(&self, subject: Subject, text: Option<String>, previous: Option<Entry>) -> DirJournal {
        DirJournal { dir: self.clone(), subject, text, previous, close: Close::Record }
    }

    /// A journal for undoing the last operation: when it is committed, `previous` becomes the record again.
    pub fn undo_journal(&self, subject: Subject, previous: Option<Entry>) -> DirJournal {
        let close = Close::Previous(previous.clone().map(Box::new));
        DirJournal { dir: self.clone(), subject, text: None, previous, close }
    }
}

/// What becomes of the record when a journal is committed.
#[derive(Clone, Debug)]
enum Close {
    /// The entry becomes the record.
    Record,
    /// An earlier entry becomes the record again, or there is none any more.
    Previous(Option<Box<Entry>>),
}

/// A journal in a state directory.
#[derive(Debug)]
pub struct DirJournal {
    dir: StateDir,
    subject: Subject,
    text: Option<String>,
    previous: Option<Entry>,
    close: Close,
}

impl Journal for DirJournal {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let entry = Entry::of(self.subject, plan, self.text.take(), self.previous.take());
        let file = self.dir.file(self.subject, "journal");
        // Written in place: a reader that finds it cut short knows that no step had begun.
        write(&file, &entry).inspect_err(|_| {
            // What is left of it would count as cut short anyway.
            let _ = fs::remove_file(&file);
        })
    }

    fn commit(&mut self) -> Result<(), Error> {
        let journal = self.dir.file(self.subject, "journal");
        let record = self.dir.file(self.subject, "record");
        match &self.close {
            Close::Record => fs::rename(&journal, &record).map_err(|e| unusable(&record, "cannot be written", &e)),
            Close::Previous(previous) => {
                self.dir.replace(self.subject, previous.as_deref().cloned())?;
                remove(&journal)
            }
        }
    }

    fn abandon(&mut self) -> Result<(), Error> {
        remove(&self.dir.file(self.subject, "journal"))
    }
}

enum Unread {
    CutShort(PathBuf),
    Other(Error),
}

impl Unread {
    fn into_error(self) -> Error {
        match self {
            Unread::CutShort(path) => {
                Error::new(ErrorKind::StateUnusable, format!("{}: the file is cut short", path.display()))
                    .with_object(path.display().to_string())
                    .with_hint("remove the file; the vif it is about can then be detached, but not undone")
            }
            Unread::Other(e) => e,
        }
    }
}

fn read(path: &Path) -> Result<Option<Entry>, Unread> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Unread::Other(unusable(path, "cannot be read", &e))),
    };
    match serde_json::from_slice(&bytes) {
        Ok(entry) => Ok(Some(entry)),
        Err(e) if e.is_eof() => Err(Unread::CutShort(path.to_owned())),
        Err(e) => Err(Unread::Other(
            Error::new(
                ErrorKind::StateUnusable,
                format!("{}: not a record of this version of xennet: {e}", path.display()),
            )
            .with_object(path.display().to_string())
            .with_hint("if it is from another version, finish with that one; else move the file away"),
        )),
    }
}

fn write(path: &Path, entry: &Entry) -> Result<(), Error> {
    let text = serde_json::to_vec(entry).map_err(|e| {
        Error::new(ErrorKind::Internal, format!("{}: the record cannot be written as JSON: {e}", path.display()))
    })?;
    let made = |e: io::Error| unusable(path, "cannot be written", &e);
    let mut file = fs::File::create(path).map_err(made)?;
    file.write_all(&text).map_err(made)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(path, "cannot be removed", &e)),
        _ => Ok(()),
    }
}

/// The error of a state directory that cannot be used, with the way out.
pub(super) fn unusable(path: &Path, what: &str, e: &io::Error) -> Error {
    let errno = Errno::from_io(e);
    let (kind, hint) = match errno {
        Errno::ENOSPC | Errno::EDQUOT => {
            (ErrorKind::StateFull, "make room on that file system, or choose another state directory (--state-dir)")
        }
        Errno::EACCES | Errno::EPERM => {
            (ErrorKind::StateUnusable, "run it as root, or choose a state directory of your own (--state-dir)")
        }
        Errno::EROFS => (ErrorKind::StateUnusable, "choose a state directory that can be written (--state-dir)"),
        _ => (ErrorKind::StateUnusable, "choose another state directory (--state-dir)"),
    };
    Error::new(kind, format!("{}: {what}", path.display()))
        .with_object(path.display().to_string())
        .with_errno(errno)
        .with_state("unchanged, nothing was applied")
        .with_hint(hint)
}
