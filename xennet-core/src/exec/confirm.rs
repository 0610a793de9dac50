//! Commit-confirm: a change that is taken back unless somebody says in time that it is good.
//!
//! Whoever moves the link that they are logged in by cannot say so afterwards if it went wrong. A guard process holds the deadline:
//! it listens at a socket in the state directory (`networks/NAME.confirm`) before the change begins. Who confirms connects to it
//! and is answered; so there is no moment in which a confirmation is neither in time nor too late. The guard's other end is a
//! pipe from whoever makes the change: if that process dies before it says that the network is started, the guard knows at once.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::StateDir;
use super::lock::{self, Locked};
use super::networks::NETWORKS;
use crate::error::{Errno, Error, ErrorKind};
use crate::model::IfName;
use crate::private::{self, Use, unusable};

/// What the guard says to who confirmed in time.
const KEPT: &[u8] = b"kept\n";

/// A guard's place: somebody can confirm from now on.
#[derive(Debug)]
pub struct Awaiting {
    path: PathBuf,
    listener: UnixListener,
    // Its end gives the lock back.
    lock: Locked,
    // Dropped after the lock: the client that confirmed reads end-of-file once the lock is free.
    answered: Option<UnixStream>,
}

/// How a guard's time ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Somebody confirmed.
    Kept,
    /// Nobody did in time.
    Late,
    /// Whoever makes the change has ended without having said that it is made.
    Died,
    /// Whoever makes the change said that it failed, and that nothing is left to take back.
    Failed,
}

/// What whoever makes the change tells the guard about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Told {
    /// It is made, and the time runs.
    Made,
    /// There is nothing to take back: it failed and is taken back already, or nothing came of it.
    NothingToUndo,
    /// It is not known: as if whoever makes the change had ended without a word.
    Nothing,
}

impl Told {
    /// What is written into the pipe to the guard, before it is closed.
    pub const fn bytes(self) -> &'static [u8] {
        match self {
            Told::Made => MADE,
            Told::NothingToUndo => FAILED,
            Told::Nothing => b"",
        }
    }
}

const MADE: &[u8] = b"made\n";
const FAILED: &[u8] = b"failed\n";

impl StateDir {
    fn confirm_file(&self, name: &IfName) -> PathBuf {
        self.path().join(NETWORKS).join(format!("{name}.confirm"))
    }

    /// Becomes the confirm guard of a network.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if another guard waits for a confirmation of the same network; [`ErrorKind::StateFull`],
    /// [`ErrorKind::StateUnusable`].
    pub fn await_confirmation(&self, name: &IfName) -> Result<Awaiting, Error> {
        self.check()?;
        let path = self.confirm_file(name);
        let guarded = path.with_extension("guard");
        let lock = loop {
            self.make_networks()?;
            let Some((file, _)) = private::open(&guarded, Use::Lock)? else { continue };
            let Some(lock) = lock::take_unless_held(file, &guarded)? else {
                let message = format!("network {name}: its last start waits for a confirmation already");
                return Err(Error::new(ErrorKind::Conflict, message)
                    .with_object(name.as_str())
                    .unchanged()
                    .with_hint(format!("confirm it: xennet confirm {name}")));
            };
            // A guard that ended meanwhile has removed this file, and its name is free for another guard's.
            let links = lock.metadata().map_err(|e| unusable(&guarded, "cannot be read", &e))?.nlink();
            if links > 0 {
                break lock;
            }
        };
        // Of a guard that was killed.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).map_err(|e| unusable(&path, "cannot be made", &e))?;
        // Its directory is closed to others already.
        let closed = fs::set_permissions(&path, fs::Permissions::from_mode(0o600));
        closed.map_err(|e| unusable(&path, "cannot be closed to other users", &e))?;
        listener.set_nonblocking(true).map_err(|e| unusable(&path, "cannot be used", &e))?;
        Ok(Awaiting { path, listener, lock, answered: None })
    }

    /// Confirms a network: what was changed for it stays.
    ///
    /// # Errors
    /// [`ErrorKind::NothingToUndo`] if no start of this network waits for a confirmation.
    pub fn confirm(&self, name: &IfName) -> Result<(), Error> {
        self.check()?;
        let path = self.confirm_file(name);
        let nobody = || {
            let hint = "was it confirmed before, or taken back because nobody did? `xennet network status` tells";
            nobody_waits(name).with_hint(hint)
        };
        let mut stream = match UnixStream::connect(&path) {
            Ok(stream) => stream,
            Err(e) if matches!(Errno::from_io(&e), Errno::ENOENT | ECONNREFUSED) => return Err(nobody()),
            Err(e) => return Err(unusable(&path, "cannot be connected to", &e)),
        };
        let mut answer = Vec::new();
        // The answer counts also where its end does not come in time: a slow process has given it.
        let _ = stream.set_read_timeout(Some(ANSWER)).and_then(|()| stream.read_to_end(&mut answer));
        // Else it was too late: connected, and not accepted.
        if answer == KEPT { Ok(()) } else { Err(nobody()) }
    }

    /// The networks whose last start waits for a confirmation.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`].
    pub fn awaited(&self) -> Result<Vec<IfName>, Error> {
        self.check()?;
        let dir = self.path().join(NETWORKS);
        let listing = match fs::read_dir(&dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(&dir, "cannot be read", &e)),
        };
        let mut names = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|e| unusable(&dir, "cannot be read", &e))?;
            let name = entry.file_name();
            let name = name.to_str().and_then(|n| n.strip_suffix(".confirm")).and_then(|n| IfName::check(n).ok());
            // A guard that was killed leaves its socket, and holds no lock.
            names.extend(name.filter(|n| self.is_awaited(n)));
        }
        names.sort();
        Ok(names)
    }

    /// Whether the last start of a network waits for a confirmation.
    pub(crate) fn is_awaited(&self, name: &IfName) -> bool {
        let guarded = self.confirm_file(name).with_extension("guard");
        // A guard holds an exclusive lock. A shared one is in no other look's way, and the next guard knows it from a guard's.
        matches!(private::open(&guarded, Use::Read), Ok(Some((file, _))) if lock::is_held(&file))
    }
}

/// `ECONNREFUSED`: a socket that nobody listens at.
const ECONNREFUSED: Errno = Errno(111);
/// How long who confirms waits for the guard's answer, which comes at once.
const ANSWER: Duration = Duration::from_secs(5);

impl Awaiting {
    /// Waits until somebody confirms, or the time is over. It runs from when the change is made, which `maker` tells
    /// ([`Told`], or its end).
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the kernel cannot say what happens; the change has to be taken back then.
    pub fn wait(&mut self, maker: BorrowedFd<'_>, patience: Duration) -> Result<Verdict, Error> {
        let mut deadline = None;
        let mut said = Vec::new();
        loop {
            let left = deadline.map(|end: Instant| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|l| l.is_zero()) {
                return Ok(Verdict::Late);
            }
            let mut events = vec![PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN)];
            if deadline.is_none() {
                events.push(PollFd::from_borrowed_fd(maker, PollFlags::IN));
            }
            let timeout = left.and_then(|left| Timespec::try_from(left).ok());
            match poll(&mut events, timeout.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(self.broken(e)),
            }
            let (confirmed, told) =
                (!events[0].revents().is_empty(), events.get(1).is_some_and(|e| !e.revents().is_empty()));
            if told {
                match self.hear(maker, &mut said)? {
                    Some(Verdict::Kept) => deadline = Some(Instant::now() + patience),
                    Some(other) => return Ok(other),
                    None => {}
                }
            }
            // Before the change is made there is nothing to confirm: who connects waits.
            if confirmed && deadline.is_some() && self.answer() {
                return Ok(Verdict::Kept);
            }
            if confirmed && deadline.is_none() {
                // Not to spin while the change is being made.
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// What the maker says: `Kept` stands for "it is made".
    fn hear(&self, maker: BorrowedFd<'_>, said: &mut Vec<u8>) -> Result<Option<Verdict>, Error> {
        let mut bytes = [0; 64];
        match rustix::io::read(maker, &mut bytes) {
            Ok(0) => Ok(Some(Verdict::Died)),
            Ok(n) => {
                said.extend(&bytes[..n]);
                Ok(match &said[..] {
                    MADE => Some(Verdict::Kept),
                    FAILED => Some(Verdict::Failed),
                    _ => None,
                })
            }
            Err(rustix::io::Errno::INTR) => Ok(None),
            Err(e) => Err(self.broken(e)),
        }
    }

    /// Whether somebody who wants to confirm was told that it counts.
    fn answer(&mut self) -> bool {
        let Ok((mut stream, _)) = self.listener.accept() else { return false };
        // A client that disconnected did not confirm.
        let heard = stream.write_all(KEPT).is_ok();
        if heard {
            self.answered = Some(stream);
        }
        heard
    }

    fn broken(&self, e: rustix::io::Errno) -> Error {
        Error::new(ErrorKind::Io, format!("{}: waiting for a confirmation failed", self.path.display()))
            .with_object(self.path.display().to_string())
            .with_errno(Errno::of(e))
    }
}

impl Drop for Awaiting {
    fn drop(&mut self) {
        if self.lock.is_ours() {
            let _ = fs::remove_file(&self.path);
            let _ = fs::remove_file(self.path.with_extension("guard"));
        }
    }
}

/// The refusal of a confirmation that nobody waits for.
pub(crate) fn nobody_waits(name: &IfName) -> Error {
    Error::new(ErrorKind::NothingToUndo, format!("network {name}: nobody waits for a confirmation"))
        .with_object(name.as_str())
        .unchanged()
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn when_it_is_confirmed_nobody_waits_any_more() {
        let place = std::env::temp_dir().join(format!("xennet-confirmed-{}", std::process::id()));
        let (dir, name) = (StateDir::at(&place), "lan".parse::<IfName>().unwrap());
        for _ in 0..50 {
            let mut guard = dir.await_confirmation(&name).unwrap();
            let (maker, mut made) = std::io::pipe().unwrap();
            made.write_all(Told::Made.bytes()).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(move || {
                    let verdict = guard.wait(maker.as_fd(), Duration::from_secs(60)).unwrap();
                    assert_eq!(verdict, Verdict::Kept);
                    std::thread::sleep(Duration::from_millis(2));
                });
                dir.confirm(&name).unwrap();
                assert!(!dir.is_awaited(&name));
                assert!(dir.awaited().unwrap().is_empty());
            });
        }
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn who_only_looks_is_in_no_guards_way_and_a_guard_is_alone() {
        let place = std::env::temp_dir().join(format!("xennet-confirm-{}", std::process::id()));
        let (dir, name) = (StateDir::at(&place), "lan".parse::<IfName>().unwrap());
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = dir.is_awaited(&name);
                        let _ = dir.awaited();
                    }
                });
            }
            for round in 0..300 {
                // A file that an earlier guard has left, and none.
                if round % 2 == 0 {
                    drop(private::open(&dir.confirm_file(&name).with_extension("guard"), Use::Lock).unwrap());
                }
                let guard = dir.await_confirmation(&name).unwrap_or_else(|e| panic!("round {round}: {e}"));
                assert!(dir.is_awaited(&name));
                assert_eq!(dir.await_confirmation(&name).unwrap_err().kind(), ErrorKind::Conflict);
                drop(guard);
                assert!(!dir.is_awaited(&name));
            }
            done.store(true, Ordering::Relaxed);
        });
        fs::remove_dir_all(&place).unwrap();
    }

    #[test]
    fn a_guard_never_holds_a_file_without_a_name() {
        let place = std::env::temp_dir().join(format!("xennet-guards-{}", std::process::id()));
        let (dir, name) = (StateDir::at(&place), "lan".parse::<IfName>().unwrap());
        let path = dir.confirm_file(&name).with_extension("guard");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(guard) = dir.await_confirmation(&name) else { continue };
                        let held = guard.lock.metadata().unwrap();
                        assert_eq!((held.nlink(), held.ino()), (1, fs::metadata(&path).unwrap().ino()));
                    }
                });
            }
        });
        fs::remove_dir_all(&place).unwrap();
    }
}
