//! The state directory: one file a subject, which is its lock, its journal and its record in one.
//!
//! `S.journal` is only ever appended to while it is in use, a line at a time: an operation as JSON before its first step, then
//! `ok` when it is carried out and verified, or `back` when the earlier state is restored. What a crash can leave is
//! therefore easy to name:
//!
//! * the last line is cut short: no step had begun (or only the closing word is missing, and the line above says so);
//! * the last line is an operation: it was interrupted, and is finished or undone by the next run;
//! * the last line is `ok` or `back`: everything is closed.
//!
//! One open file makes for few system calls; that is what a hotplug call spends its own time on. Nothing is synced: the
//! directory belongs on a tmpfs (`/run/xennet`), which is gone with the boot, as the kernel's state is.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::Stat;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Subject;
use super::journal::{Entry, Journal};
use super::lock::{self, Locked};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::plan::{Goal, Plan};
use crate::private::{self, Holds, Use, json_line, unusable};

const DONE: &[u8] = b"ok\n";
const UNDONE: &[u8] = b"back\n";
/// A longer file is written anew, with its record alone.
const LONG: u64 = 16 * 1024;

/// A state directory.
///
/// ```
/// use xennet_core::exec::StateDir;
/// use xennet_core::{BridgeSpec, Host, Subject};
///
/// // A rehearsal that is remembered: another process that opens the same directory goes on where this one ends.
/// # let place = std::env::temp_dir().join(format!("xennet-doc-{}", std::process::id()));
/// let dir = StateDir::at(place.join("state")); // StateDir::DEFAULT on a real host
/// Host::fake_in(dir.clone())?.ensure_bridge(&BridgeSpec::new("br-dmz".parse()?))?;
///
/// let mut later = Host::fake_in(dir)?;
/// assert_eq!(later.last()?, Some(Subject::Bridge("br-dmz".parse()?)));
/// later.undo_last()?;
/// # std::fs::remove_dir_all(&place).expect("our own directory");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("journal", "/run/xennet"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateDir {
    path: PathBuf,
}

impl StateDir {
    /// Where the state is by default.
    pub const DEFAULT: &'static str = "/run/xennet";

    /// A state directory at this path; nothing is made before it is needed. A path that cannot be one ([`checked`](Self::checked))
    /// is refused when it is used.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        StateDir { path: path.into() }
    }

    /// A state directory at a path that somebody has given.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for an empty path, which would be the directory that the program happens to be in, and for one with a
    /// NUL byte, which no file has in its name.
    pub fn checked(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let dir = StateDir { path: path.into() };
        dir.check().map(|()| dir)
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let bytes = self.path.as_os_str().as_bytes();
        let message = if bytes.is_empty() {
            "the path of the state directory is empty".to_owned()
        } else if bytes.contains(&0) {
            format!("{:?}: the path of the state directory has a NUL byte in it", self.path)
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Invalid, message)
            .with_object("state_dir")
            .unchanged()
            .with_hint(format!("leave it out for {}, or give the path of another state directory", StateDir::DEFAULT)))
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of a subject.
    pub fn file(&self, subject: Subject) -> PathBuf {
        self.path.join(format!("{subject}.journal"))
    }

    /// Takes the lock of a subject and reads what is written down about it, making the directory if it is missing.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`] when another process holds the lock for longer than the deadline;
    /// [`ErrorKind::StateUnusable`], [`ErrorKind::StateFull`] when the file cannot be made or read, or is not ours.
    pub fn hold(&self, subject: Subject, deadline: Duration) -> Result<Held, Error> {
        self.hold_unless(subject, deadline, &|| false)
    }

    /// The same, given up as soon as `interrupted` says so, which is asked every now and then.
    ///
    /// # Errors
    /// As [`hold`](Self::hold).
    pub(crate) fn hold_unless(
        &self,
        subject: Subject,
        deadline: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Held, Error> {
        self.check()?;
        let path = self.file(subject);
        loop {
            private::make_dir(&self.path, Holds::Maybe)?;
            // Somebody may be removing the directory.
            let Some((file, _)) = private::open(&path, Use::Append)? else { continue };
            let file = lock::take_unless(file, &path, deadline, interrupted)?;
            // Whoever held the lock before us may have removed or replaced the file: then this is not the subject's any more.
            let found = rustix::fs::fstat(&*file).map_err(|e| unusable(&path, "cannot be read", &e.into()))?;
            if found.st_nlink > 0 {
                return Held::read(path, subject, file, &found);
            }
        }
    }

    /// The last operation that was carried out on a subject. Takes no lock.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the file cannot be read or is not ours.
    pub fn record(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        Ok(self.read(subject)?.record)
    }

    /// The last operation on a subject, closed or not. Takes no lock.
    pub(crate) fn known(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        let Written { record, open, .. } = self.read(subject)?;
        Ok(match open {
            // Which of the steps were taken is not known. A detach that was not finished leaves what the record says.
            Some(open) if open.owned_link().is_some() => Some(open),
            _ => record,
        })
    }

    /// The operation on a subject that was interrupted, or is under way. Takes no lock.
    pub(crate) fn open(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        Ok(self.read(subject)?.open)
    }

    fn read(&self, subject: Subject) -> Result<Written, Error> {
        self.check()?;
        let path = self.file(subject);
        match private::read(&path)? {
            Some(text) => parse(&path, &text),
            None => Ok(Written::default()),
        }
    }

    /// Every subject with an operation that was interrupted (or is under way), in their order.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory or a file in it cannot be read. A directory that does not exist has
    /// none.
    pub fn interrupted(&self) -> Result<Vec<Subject>, Error> {
        Ok(self.scan()?.into_iter().filter(|(_, written)| written.open.is_some()).map(|(subject, _)| subject).collect())
    }

    /// Every subject with a record, in their order.
    ///
    /// # Errors
    /// As [`interrupted`](Self::interrupted).
    pub fn recorded(&self) -> Result<Vec<Subject>, Error> {
        Ok(self.records()?.into_keys().collect())
    }

    /// Every record, by its subject. Takes no lock.
    ///
    /// # Errors
    /// As [`interrupted`](Self::interrupted).
    pub fn records(&self) -> Result<BTreeMap<Subject, Entry>, Error> {
        Ok(gather::map(self.scan()?.into_iter().filter_map(|(subject, written)| Some((subject, written.record?)))))
    }

    /// The subject whose record is the newest.
    ///
    /// # Errors
    /// As [`interrupted`](Self::interrupted).
    pub(crate) fn latest(&self) -> Result<Option<Subject>, Error> {
        let mut newest = None;
        for subject in self.recorded()? {
            let path = self.file(subject);
            let time = match fs::metadata(&path).and_then(|m| m.modified()) {
                Ok(time) => time,
                // Forgotten since it was listed.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(unusable(&path, "cannot be read", &e)),
            };
            if newest.is_none_or(|(t, _)| time >= t) {
                newest = Some((time, subject));
            }
        }
        Ok(newest.map(|(_, subject)| subject))
    }

    /// Reads every file once, in the order of the subjects.
    fn scan(&self) -> Result<BTreeMap<Subject, Written>, Error> {
        self.check()?;
        private::check_dir(&self.path, Holds::Maybe)?;
        let listing = match fs::read_dir(&self.path) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(e) => return Err(unusable(&self.path, "cannot be read", &e)),
        };
        let mut found = BTreeMap::new();
        for entry in listing {
            let entry = entry.map_err(|e| unusable(&self.path, "cannot be read", &e))?;
            let subject =
                entry.file_name().to_str().and_then(|n| n.strip_suffix(".journal")).and_then(Subject::from_name);
            if let Some(subject) = subject {
                found.insert(subject, self.read(subject)?);
            }
        }
        Ok(found)
    }
}

/// What a file says.
#[derive(Debug, Default)]
struct Written {
    /// The last operation that counts.
    record: Option<Entry>,
    /// Where its line is in the text of the file, if the line can be copied as it is.
    as_written: Option<Range<usize>>,
    /// An operation that has begun and is not closed.
    open: Option<Entry>,
    /// Bytes up to the end of the last complete line.
    complete: usize,
}

/// Reads the lines of a file from the end, as far back as it takes to know what counts.
fn parse(path: &Path, text: &[u8]) -> Result<Written, Error> {
    let complete = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    let mut rest = &text[..complete];
    let mut newest = None;
    // Operations that were undone do not count: the one that does is above them.
    loop {
        let (above, last) = split_last_line(rest);
        if last.is_empty() {
            return Ok(Written { open: newest, complete, ..Written::default() });
        }
        let (above, closing, line) = if last == DONE || last == UNDONE {
            let (above, line) = split_last_line(above);
            (above, Some(last), line)
        } else {
            (above, None, last)
        };
        let mut entry: Entry = read(path, line)?;
        check_format(path, entry.xennet)?;
        let same = entry.xennet == Entry::FORMAT && entry.previous.is_none() && matches!(entry.goal, Goal::Resolved(_));
        // Written again it is of this format.
        entry.xennet = Entry::FORMAT;
        match closing {
            Some(DONE) => {
                let as_written = same.then(|| above.len()..above.len() + line.len());
                return Ok(Written { record: entry.carried_out(), as_written, open: newest, complete });
            }
            Some(_) => {}
            None if newest.is_none() && above.len() + line.len() == complete => newest = Some(entry),
            None => return Err(foreign(path, "an operation in the middle of it was never closed")),
        }
        rest = above;
    }
}

/// Reads a document. One that a newer version has written may be otherwise: then its number is the reason.
pub(super) fn read<T: DeserializeOwned>(path: &Path, text: &[u8]) -> Result<T, Error> {
    #[derive(Deserialize)]
    struct Numbered {
        xennet: u32,
    }
    serde_json::from_slice(text).map_err(|e| match serde_json::from_slice(text) {
        Ok(Numbered { xennet }) if xennet > Entry::FORMAT => newer(path, xennet),
        _ => foreign(path, &e.to_string()),
    })
}

/// Refuses what a newer version has written: it may mean what this one does not know.
pub(super) fn check_format(path: &Path, number: u32) -> Result<(), Error> {
    match number {
        0 => Err(foreign(path, "its format is 0, which there never was")),
        1..=Entry::FORMAT => Ok(()),
        _ => Err(newer(path, number)),
    }
}

fn newer(path: &Path, number: u32) -> Error {
    let message = format!(
        "{}: a newer version of xennet has written this: its format is {number}, and this version reads formats up to {}",
        path.display(),
        Entry::FORMAT
    );
    Error::new(ErrorKind::StateUnusable, message)
        .with_object(path.display().to_string())
        .unchanged()
        .with_hint("install the newer version again; to go back to this one, detach the guests and stop the networks with the newer one first")
}

/// The last line with its newline, and what is above it.
fn split_last_line(text: &[u8]) -> (&[u8], &[u8]) {
    let body = text.strip_suffix(b"\n").unwrap_or(text);
    let start = body.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
    text.split_at(start)
}

/// The file of a subject, locked: nobody else works on the subject until this value goes.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    subject: Subject,
    file: Locked,
    length: u64,
    written: Written,
    /// The whole text, as it was read.
    text: Vec<u8>,
    /// The file is removed, and its name may be another's by now.
    forgotten: bool,
}

impl Drop for Held {
    /// A refused operation on a subject that nothing is known of leaves no file behind.
    fn drop(&mut self) {
        if self.length == 0 && !self.forgotten && self.file.is_ours() {
            // An empty file that stays says as little as none.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Held {
    fn read(path: PathBuf, subject: Subject, file: Locked, found: &Stat) -> Result<Self, Error> {
        let text = private::read_open(&file, found).map_err(|e| unusable(&path, "cannot be read", &e))?;
        let written = parse(&path, &text)?;
        if written.complete < text.len() {
            // Cut short by a crash: it was never said.
            file.set_len(written.complete as u64).map_err(|e| unusable(&path, "cannot be written", &e))?;
        }
        Ok(Held { path, subject, file, length: written.complete as u64, written, text, forgotten: false })
    }

    /// The last operation that was carried out on the subject.
    pub fn record(&self) -> Option<&Entry> {
        self.written.record.as_ref()
    }

    /// An operation on the subject that was interrupted.
    pub fn interrupted(&self) -> Option<&Entry> {
        self.written.open.as_ref()
    }

    /// A journal for one operation; `text` is what the wish came from, for people.
    pub fn journal(&mut self, text: Option<String>) -> HeldJournal<'_> {
        HeldJournal { held: self, text }
    }

    /// Forgets the subject: there is nothing that could be undone any more.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn forget(mut self) -> Result<(), Error> {
        self.forgotten = true;
        match fs::remove_file(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(&self.path, "cannot be removed", &e)),
            _ => Ok(()),
        }
    }

    fn append(&mut self, line: &[u8]) -> Result<(), Error> {
        if let Err(e) = (&*self.file).write_all(line) {
            // Half a line would be taken for a crash; if it cannot even be cut off, the next reader does it.
            let _ = self.file.set_len(self.length);
            return Err(unusable(&self.path, "cannot be written", &e));
        }
        self.length += line.len() as u64;
        Ok(())
    }

    /// Begins the file anew, with the record alone.
    fn shorten(&mut self) -> Result<(), Error> {
        let fresh = self.path.with_extension("fresh");
        let mut text = Vec::new();
        if let Some(record) = &self.written.record {
            text = line(&self.path, record)?;
            text.extend_from_slice(DONE);
        }
        let file = private::fresh(&fresh, &text)?;
        // Locked before it has its name, so that nobody gets in between.
        let file = lock::take(file, &fresh, Duration::ZERO)?;
        fs::rename(&fresh, &self.path).map_err(|e| unusable(&fresh, "cannot be written", &e))?;
        self.length = text.len() as u64;
        self.file = file;
        Ok(())
    }
}

fn line(path: &Path, entry: &Entry) -> Result<Vec<u8>, Error> {
    json_line(entry).map_err(|e| {
        Error::new(ErrorKind::Internal, format!("{}: the journal cannot be written as JSON: {e}", path.display()))
    })
}

/// The line of an entry whose previous entry was read as a line. That line is copied: to write it anew takes as long as all the rest.
fn line_before(path: &Path, entry: &Entry, previous: &[u8]) -> Result<Vec<u8>, Error> {
    let mut text = line(path, entry)?;
    // It is the last field of the object.
    text.truncate(text.len().saturating_sub(b"}\n".len()));
    text.extend_from_slice(b",\"previous\":");
    text.extend_from_slice(previous.trim_ascii_end());
    text.extend_from_slice(b"}\n");
    Ok(text)
}

/// The journal of one operation on a subject that is held.
#[derive(Debug)]
pub struct HeldJournal<'a> {
    held: &'a mut Held,
    text: Option<String>,
}

impl Journal for HeldJournal<'_> {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        let held = &mut *self.held;
        if held.length > LONG {
            held.shorten()?;
        }
        let mut entry = Entry::of(held.subject, plan, self.text.take(), held.written.record.clone());
        let as_written = held.written.as_written.clone().and_then(|place| held.text.get(place));
        let line = match (as_written, plan.goal(), entry.previous.take()) {
            (Some(text), Goal::Resolved(_), Some(previous)) => {
                let line = line_before(&held.path, &entry, text)?;
                entry.previous = Some(previous);
                line
            }
            (_, _, previous) => {
                entry.previous = previous;
                line(&held.path, &entry)?
            }
        };
        held.append(&line)?;
        held.written.open = Some(entry);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.held.append(DONE)?;
        self.held.written.as_written = None;
        self.held.written.record = self.held.written.open.take().and_then(Entry::carried_out);
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), Error> {
        self.held.append(UNDONE)?;
        self.held.written.open = None;
        Ok(())
    }
}

pub(super) fn foreign(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::StateUnusable, format!("{}: not a record of xennet's: {why}", path.display()))
        .with_object(path.display().to_string())
        .unchanged()
        .with_hint(
            "move the file away, and attach or detach the vif anew; of a network, put its links right by hand first",
        )
}

#[cfg(test)]
mod tests;
