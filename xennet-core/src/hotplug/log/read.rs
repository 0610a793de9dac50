//! Reading the list of calls back.

use std::collections::{BTreeMap, BTreeSet};
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
#[non_exhaustive]
pub struct Filter {
    /// Those about this vif, named as the kernel does (`vif1.0`) or by its vifname.
    pub vif: Option<String>,
    /// Only those that failed, or were killed.
    pub failed: bool,
}

setters! { Filter {
    with_vif: vif = impl Into<Option<String>>;
    with_failed: failed = bool;
} }

impl Filter {
    /// Whether a call is wanted.
    pub fn takes(&self, call: &CallRecord) -> bool {
        let named = |vif: &String| *vif == call.vif || Some(vif) == call.link.as_ref();
        let failed = matches!(call.outcome, Outcome::Error | Outcome::Killed);
        self.vif.as_ref().is_none_or(named) && (!self.failed || failed)
    }
}

/// The last calls of the list in the state directory, the oldest first. Lines that are none of ours, or were cut short, are
/// passed over. Without a list there are none.
///
/// A call that has begun and not ended is under way ([`Outcome::Begun`]), or was killed ([`Outcome::Killed`]) if its process is no
/// more.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] if a list is there and cannot be read.
pub fn read_calls(dir: &Path, filter: &Filter, last: usize) -> Result<Vec<CallRecord>, Error> {
    let mut calls = all(dir)?;
    let ended = ended(&calls);
    let open = |call: &&CallRecord| call.outcome == Outcome::Begun && !ended.contains(&key(call));
    let dead: BTreeSet<Key> = calls.iter().filter(open).filter(|call| !lives(call)).map(key).collect();
    if !dead.is_empty() {
        // Its process is gone, so its last line is written.
        calls = all(dir)?;
    }
    let ended = self::ended(&calls);
    calls.retain(|call| call.outcome != Outcome::Begun || !ended.contains(&key(call)));
    for call in calls.iter_mut().filter(|call| call.outcome == Outcome::Begun && dead.contains(&key(call))) {
        killed(call);
    }
    calls.retain(|call| filter.takes(call));
    // The lines come in the order in which calls have ended.
    calls.sort_by_key(|call| call.time_us);
    let more = calls.len().saturating_sub(last);
    calls.drain(..more);
    Ok(calls)
}

/// What stands in both lists, line by line.
fn all(dir: &Path) -> Result<Vec<CallRecord>, Error> {
    let mut calls = Vec::new();
    for name in [OLD_CALLS, CALLS] {
        let path = dir.join(name);
        let Some((file, _)) = private::open(&path, Use::Read)? else { continue };
        let text = tail(file).map_err(|e| unreadable(&path, &e))?;
        calls.extend(text.split(|b| *b == b'\n').filter_map(record));
    }
    Ok(calls)
}

/// What the two lines of a call have in common, and those of no other call.
type Key = (u64, u32);

fn key(call: &CallRecord) -> Key {
    (call.time_us, call.pid)
}

fn ended(calls: &[CallRecord]) -> BTreeSet<Key> {
    calls.iter().filter(|call| call.outcome != Outcome::Begun).map(key).collect()
}

fn killed(call: &mut CallRecord) {
    call.outcome = Outcome::Killed;
    call.notes.push("what it left open is closed by the next call for this vif, or by xennet recover".into());
}

/// Whether the process of a call that has not ended is still that one: it was there when the call began.
fn lives(call: &CallRecord) -> bool {
    // In ticks, of which user space is always told as if there were a hundred a second.
    const TICK_US: u64 = 10_000;
    // The time of the boot is told in whole seconds.
    const BLUR_US: u64 = 2_000_000;
    let started = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", call.pid)).ok()?;
        // The program's name may have blanks and parentheses in it; nothing behind it does.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        let ticks: u64 = fields.nth(18)?.parse().ok()?;
        let boot = fs::read_to_string("/proc/stat").ok()?;
        let boot: u64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
        let started = boot.saturating_mul(1_000_000).saturating_add(ticks.saturating_mul(TICK_US));
        (!matches!(state, "Z" | "X")).then_some(started)
    };
    started().is_some_and(|started| started <= call.time_us.saturating_add(BLUR_US))
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    Error::new(ErrorKind::StateUnusable, format!("{}: cannot be read", path.display()))
        .with_object(path.display().to_string())
        .with_errno(Errno::from_io(e))
        .with_hint("run it as root, or name the right state directory")
}

/// Gives the calls that come to the list from now on, also when the list becomes the old one meanwhile.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    file: Option<File>,
    /// The beginning of a line whose end has not come yet.
    rest: Vec<u8>,
    /// Calls that have begun and not ended yet.
    open: BTreeMap<Key, CallRecord>,
}

impl Follower {
    /// Follows the list in this state directory, from its end; it need not be there yet.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the list is there and cannot be read.
    pub fn at_the_end(dir: &Path) -> Result<Self, Error> {
        let mut follower = Follower { path: dir.join(CALLS), file: None, rest: Vec::new(), open: BTreeMap::new() };
        if let Some(file) = follower.open()? {
            file.seek(SeekFrom::End(0)).map_err(|e| unreadable(&dir.join(CALLS), &e))?;
        }
        Ok(follower)
    }

    /// The calls that have ended since the last time, or were killed, the oldest first. Does not wait for one.
    ///
    /// # Errors
    /// As [`at_the_end`](Self::at_the_end).
    pub fn news(&mut self) -> Result<Vec<CallRecord>, Error> {
        let mut lines = Vec::new();
        let dead: Vec<Key> = self.open.values().filter(|call| !lives(call)).map(key).collect();
        // Another file of that name means that ours is the old list now. A call that was under way then may still write to
        // it, so it is read once more; and the new one from its beginning.
        let renamed = match (&self.file, fs::metadata(&self.path)) {
            (Some(file), Ok(now)) => {
                let ours = file.metadata().map_err(|e| unreadable(&self.path, &e))?;
                (ours.dev(), ours.ino()) != (now.dev(), now.ino())
            }
            _ => false,
        };
        self.read(&mut lines)?;
        if renamed {
            (self.file, self.rest) = (None, Vec::new());
            self.read(&mut lines)?;
        }
        let mut calls = Vec::new();
        for call in lines {
            if call.outcome == Outcome::Begun {
                self.open.insert(key(&call), call);
            } else {
                self.open.remove(&key(&call));
                calls.push(call);
            }
        }
        // What it said last was read by now.
        for mut call in dead.into_iter().filter_map(|key| self.open.remove(&key)) {
            killed(&mut call);
            calls.push(call);
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

    /// Calls that have begun: one that ends, one whose process lives, one whose process is no more, and one whose process has
    /// its number only.
    #[test]
    fn a_call_that_was_killed_is_told_from_one_that_is_under_way() {
        let dir = std::env::temp_dir().join(format!("xennet-begun-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let sinks = Sinks { state_dir: Some(dir.clone()), ..Sinks::default() };
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros() as u64;
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let begun = |vif: &str, pid: u32, time_us: u64| {
            let mut call = CallRecord::new("vif-bridge", "online", time_us);
            (call.vif, call.pid, call.outcome) = (vif.into(), pid, Outcome::Begun);
            call
        };
        let mut follower = Follower::at_the_end(&dir).unwrap();
        let (one, two) = (begun("vif1.0", 1, now), begun("vif2.0", std::process::id(), now));
        let three = begun("vif3.0", child.id(), now);
        let open = sinks.begin(&one);
        for call in [&two, &three] {
            let _ = sinks.begin(call);
        }
        child.wait().unwrap();
        let end = CallRecord { outcome: Outcome::Connected, total_us: 9, ..one };
        assert_eq!(sinks.end(open, &end), []);
        let all = Filter::default();
        let gone = |call: &CallRecord| {
            let mut call = call.clone();
            killed(&mut call);
            call
        };
        assert_eq!(read_calls(&dir, &all, 9).unwrap(), [two, gone(&three), end.clone()]);
        assert_eq!(read_calls(&dir, &Filter { failed: true, ..all.clone() }, 9).unwrap(), [gone(&three)]);
        assert_eq!(gone(&three).lines()[0], "online vif3.0: began and never ended: it was killed");
        // What is under way is told when it ends; whether it was killed, when it was looked at again.
        assert_eq!(follower.news().unwrap(), [end]);
        assert_eq!(follower.news().unwrap(), [gone(&three)]);
        assert_eq!(follower.news().unwrap(), []);
        // A number that another process has by now.
        let old = begun("vif4.0", std::process::id(), now - 3_600_000_000);
        let _ = sinks.begin(&old);
        assert_eq!(read_calls(&dir, &all, 9).unwrap().first(), Some(&gone(&old)), "in the order in which they began");
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn an_end_is_found_also_when_the_list_has_become_the_old_one() {
        let dir = std::env::temp_dir().join(format!("xennet-begun-old-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        let sinks = Sinks { state_dir: Some(dir.clone()), ..Sinks::default() };
        for gone in [false, true] {
            let begun = CallRecord { outcome: Outcome::Begun, ..connected("vif1.0") };
            let open = sinks.begin(&begun);
            std::fs::rename(dir.join(CALLS), dir.join(OLD_CALLS)).unwrap();
            if gone {
                std::fs::remove_file(dir.join(OLD_CALLS)).unwrap();
            }
            assert_eq!(sinks.end(open, &connected("vif1.0")), []);
            assert_eq!(read_calls(&dir, &Filter::default(), 9).unwrap(), [connected("vif1.0")], "{gone}");
            std::fs::remove_dir_all(&dir).unwrap();
        }
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
