//! Reading the list of calls back.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::CallRecord;
use super::sinks::{CALLS, LONG, OLD_CALLS};
use crate::error::{Errno, Error, ErrorKind};
use crate::hotplug::log::Outcome;
use crate::private::{self, Use};

/// Which calls are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those about this vif, named as the kernel does (`vif1.0`) or by its vifname.
    pub vif: Option<String>,
    /// Only those that failed.
    pub failed: bool,
}

impl Filter {
    /// Whether a call is wanted.
    pub fn takes(&self, call: &CallRecord) -> bool {
        let named = |vif: &String| *vif == call.vif || Some(vif) == call.link.as_ref();
        self.vif.as_ref().is_none_or(named) && (!self.failed || call.outcome == Outcome::Error)
    }
}

/// The last calls of the list in the state directory, the oldest first. Lines that are none of ours, or were cut short, are
/// passed over. Without a list there are none.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] if a list is there and cannot be read.
pub fn read_calls(dir: &Path, filter: &Filter, last: usize) -> Result<Vec<CallRecord>, Error> {
    let mut calls = Vec::new();
    for name in [OLD_CALLS, CALLS] {
        let path = dir.join(name);
        let Some((file, _)) = private::open(&path, Use::Read)? else { continue };
        let text = tail(file).map_err(|e| unreadable(&path, &e))?;
        calls.extend(text.split(|b| *b == b'\n').filter_map(record).filter(|call| filter.takes(call)));
    }
    let more = calls.len().saturating_sub(last);
    calls.drain(..more);
    Ok(calls)
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::new(ErrorKind::StateUnusable, format!("{}: cannot be read", path.display()))
        .with_object(path.display().to_string())
        .with_errno(Errno::from_io(e))
        .with_hint("run it as root, or name the right state directory (--state-dir)")
}

/// Gives the calls that come to the list from now on, also when the list becomes the old one meanwhile.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
}

impl Follower {
    /// Follows the list in this state directory, from its end; it need not be there yet.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the list is there and cannot be read.
    pub fn at_the_end(dir: &Path) -> Result<Self, Error> {
        let mut follower = Follower { path: dir.join(CALLS), file: None, rest: Vec::new() };
        if let Some(file) = follower.open()? {
            file.seek(SeekFrom::End(0)).map_err(|e| unreadable(&dir.join(CALLS), &e))?;
        }
        Ok(follower)
    }

    /// The calls since the last time, the oldest first. Does not wait for one.
    ///
    /// # Errors
    /// As [`at_the_end`](Self::at_the_end).
    pub fn news(&mut self) -> Result<Vec<CallRecord>, Error> {
        let mut calls = Vec::new();
        // Another file of that name means that ours is the old list now. A call that was under way then may still write to
        // it, so it is read once more; and the new one from its beginning.
        let renamed = match (&self.file, fs::metadata(&self.path)) {
            (Some(file), Ok(now)) => {
                let ours = file.metadata().map_err(|e| unreadable(&self.path, &e))?;
                (ours.dev(), ours.ino()) != (now.dev(), now.ino())
            }
            _ => false,
        };
        self.read(&mut calls)?;
        if renamed {
            (self.file, self.rest) = (None, Vec::new());
            self.read(&mut calls)?;
        }
        Ok(calls)
    }

    fn open(&mut self) -> Result<Option<&mut File>, Error> {
        if self.file.is_none() {
            self.file = private::open(&self.path, Use::Read)?.map(|(file, _)| file);
        }
        Ok(self.file.as_mut())
    }

    fn read(&mut self, calls: &mut Vec<CallRecord>) -> Result<(), Error> {
        let mut text = std::mem::take(&mut self.rest);
        if let Some(file) = self.open()? {
            let read = file.read_to_end(&mut text);
            read.map_err(|e| unreadable(&self.path, &e))?;
        }
        let complete = text.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        self.rest = text.split_off(complete);
        calls.extend(text.split(|b| *b == b'\n').filter_map(record));
        Ok(())
    }
}

/// The end of a file, as far back as a list of ours can be long.
fn tail(mut file: File) -> io::Result<Vec<u8>> {
    let most = 4 * LONG;
    let length = file.metadata()?.len();
    if length > most {
        file.seek(SeekFrom::Start(length - most))?;
    }
    let mut text = Vec::new();
    file.take(most).read_to_end(&mut text)?;
    Ok(text)
}

/// The record of a line.
fn record(line: &[u8]) -> Option<CallRecord> {
    // A line that was cut short, by a full file system, is continued by the next one. Within a record's texts the quote would
    // be escaped, so this is the beginning of one.
    const BEGINNING: &[u8] = b"{\"xennet\":";
    let start = line.windows(BEGINNING.len()).rposition(|part| part == BEGINNING)?;
    let call: CallRecord = serde_json::from_slice(&line[start..]).ok()?;
    (call.xennet == CallRecord::FORMAT).then_some(call)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{connected, refused};
    use super::super::{Sinks, Unwritten};
    use super::*;

    fn written(dir: &Path, calls: &[CallRecord]) {
        let sinks = Sinks { state_dir: Some(dir.to_owned()), ..Sinks::default() };
        let failed: Vec<Unwritten> = calls.iter().flat_map(|call| sinks.tell(call)).collect();
        assert_eq!(failed, []);
    }

    #[test]
    fn what_is_told_is_read_back_through_filters_and_past_damage() {
        let dir = std::env::temp_dir().join(format!("xennet-calls-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let all = Filter::default();
        assert_eq!(read_calls(&dir, &all, 9).unwrap(), [], "no directory, no calls");
        let mut renamed = connected("vif3.0");
        renamed.link = Some("web0".into());
        let calls = [connected("vif1.0"), refused("vif2.0"), renamed];
        written(&dir, &calls);
        assert_eq!(read_calls(&dir, &all, 9).unwrap(), calls);
        assert_eq!(read_calls(&dir, &all, 2).unwrap(), calls[1..]);
        assert_eq!(read_calls(&dir, &Filter { failed: true, ..all.clone() }, 9).unwrap(), calls[1..2]);
        for name in ["vif3.0", "web0"] {
            assert_eq!(read_calls(&dir, &Filter { vif: Some(name.into()), failed: false }, 9).unwrap(), calls[2..]);
        }
        // The older list comes first; a cut line is passed over, and so is what another version or somebody else wrote.
        std::fs::rename(dir.join(CALLS), dir.join(OLD_CALLS)).unwrap();
        let line = serde_json::to_string(&refused("vif4.0")).unwrap();
        let foreign = line.replace("\"xennet\":1", "\"xennet\":2");
        let damaged = format!("hello\n\u{0}\n{{}}\n{foreign}\n{}{line}\n{}", &line[..40], &line[..line.len() - 1]);
        std::fs::write(dir.join(CALLS), damaged).unwrap();
        let found = read_calls(&dir, &all, 9).unwrap();
        assert_eq!((found.len(), &found[..3], &found[3]), (4, &calls[..], &refused("vif4.0")));
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::create_dir_all(dir.join(CALLS)).unwrap();
        let error = read_calls(&dir, &all, 9).unwrap_err();
        assert_eq!((error.kind(), error.errno()), (ErrorKind::StateUnusable, Some(Errno::EISDIR)));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_list_is_followed_also_into_the_next_one() {
        let dir = std::env::temp_dir().join(format!("xennet-follow-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let mut early = Follower::at_the_end(&dir).unwrap();
        assert_eq!(early.news().unwrap(), []);
        written(&dir, &[connected("vif1.0")]);
        let mut late = Follower::at_the_end(&dir).unwrap();
        assert_eq!((early.news().unwrap(), late.news().unwrap()), (vec![connected("vif1.0")], vec![]));
        written(&dir, &[connected("vif2.0"), refused("vif3.0")]);
        for follower in [&mut early, &mut late] {
            assert_eq!(follower.news().unwrap(), [connected("vif2.0"), refused("vif3.0")]);
            assert_eq!(follower.news().unwrap(), []);
        }
        written(&dir, &[connected("vif4.0")]);
        std::fs::rename(dir.join(CALLS), dir.join(OLD_CALLS)).unwrap();
        assert_eq!(early.news().unwrap(), [connected("vif4.0")], "no new list yet");
        written(&dir, &[connected("vif5.0")]);
        assert_eq!(early.news().unwrap(), [connected("vif5.0")]);
        assert_eq!(late.news().unwrap(), [connected("vif4.0"), connected("vif5.0")]);
        // A line comes in two parts.
        let line = serde_json::to_string(&connected("vif6.0")).unwrap() + "\n";
        let append = |text: &str| {
            use std::io::Write as _;
            let mut file = std::fs::OpenOptions::new().append(true).open(dir.join(CALLS)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append(&line[..50]);
        assert_eq!(early.news().unwrap(), []);
        append(&line[50..]);
        assert_eq!(early.news().unwrap(), [connected("vif6.0")]);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
