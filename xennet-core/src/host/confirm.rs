//! Commit-confirm: a start under a guard, and how the guard undoes it.
//!
//! The guard is a process of its own ([`Host::guard`]), so that it outlives whoever makes the change. The two talk over two pipes: the guard
//! says in one line that it is there, or why not ([`guard_is_there`]); whoever makes the change tells what has become of it ([`Told`]).

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;

use super::Host;
use super::records::Records;
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::confirm::{Told, Verdict};
use crate::exec::{Applied, Entry, StateDir, Subject};
use crate::model::{IfName, Network};

/// What the guard says when it is there.
const THERE: &str = "true\n";
/// The longest line of a guard that is believed to be one.
const LINE_MAX: usize = 64 << 10;

/// How often a guard tries to undo a start; with the pauses in between about a minute and a half.
const TRIES: usize = 24;
/// The first pause and the longest one. Each is twice as long as the one before.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a guard says that cannot be one.
#[derive(Deserialize)]
struct Refused {
    code: u8,
    message: String,
    hint: Option<String>,
}

/// Reads what the guard of a network says first: that it is there.
///
/// # Errors
/// Its own error if it cannot be the guard; [`ErrorKind::Io`] if it says nothing that is understood, as when it has ended.
pub fn guard_is_there(name: &IfName, said: BorrowedFd<'_>) -> Result<(), Error> {
    let trouble = |why: String| {
        let what = "the guard process that would take the network back cannot be started";
        Error::new(ErrorKind::Io, format!("{what}: {why}")).with_object(name.as_str()).unchanged()
    };
    let (mut line, mut byte) = (Vec::new(), [0_u8]);
    while !line.ends_with(b"\n") && line.len() < LINE_MAX {
        match rustix::io::read(said, &mut byte) {
            Ok(0) => break,
            Ok(_) => line.extend(byte),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(trouble("it cannot be heard".into()).with_errno(Errno::of(e))),
        }
    }
    if line == THERE.as_bytes() {
        return Ok(());
    }
    let Ok(why) = serde_json::from_slice::<Refused>(&line) else { return Err(trouble("it said nothing".into())) };
    let kind = ErrorKind::from_number(why.code).unwrap_or(ErrorKind::Internal);
    let error = Error::new(kind, why.message).with_object(name.as_str()).unchanged();
    Err(why.hint.into_iter().fold(error, Error::with_hint))
}

/// Tells the guard what has become of the change: the other end of what it hears is then to be closed. `false`: the guard has gone, and nothing
/// will undo the change by itself.
pub fn tell_guard(hears: BorrowedFd<'_>, told: Told) -> bool {
    // Writing to a pipe that nobody reads ends a program by SIGPIPE, unless it ignores that; so it is looked first.
    let mut end = [PollFd::from_borrowed_fd(hears, PollFlags::OUT)];
    let there = poll(&mut end, Some(&Timespec::default())).is_ok_and(|n| n > 0);
    let gone = end[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    there && !gone && rustix::io::write(hears, told.bytes()).is_ok()
}

impl Host {
    /// Is the guard of a network's start, in a process of its own: says on `says` that it is there (or its error, as a line of JSON), listens for a
    /// confirmation, and undoes the start if none comes within `patience` from when `hears` tells that it is made ([`Told`]), or if that end is
    /// closed without a word. Returns how that ended; nobody has to be waiting for it.
    ///
    /// # Errors
    /// As [`StateDir::await_confirmation`]; of undoing, as [`undo_unconfirmed`](Self::undo_unconfirmed).
    pub fn guard(
        name: &IfName,
        dir: &StateDir,
        patience: Duration,
        (hears, says): (BorrowedFd<'_>, BorrowedFd<'_>),
        open: impl FnMut() -> Result<Host, Error>,
    ) -> Result<Verdict, Error> {
        let begun = dir.await_confirmation(name).and_then(|a| Ok((a, dir.record(Subject::Network(*name))?)));
        let (awaiting, known) = match begun {
            Ok(begun) => begun,
            Err(e) => {
                // Whoever does not hear it has ended.
                let _ = rustix::io::write(says, format!("{}\n", e.to_json()).as_bytes());
                return Err(e);
            }
        };
        // Not to end with the terminal that it is to guard against the loss of. Where it is its own session already, all is well.
        let _ = rustix::process::setsid();
        // Whoever does not hear it has ended, which is seen next.
        let _ = rustix::io::write(says, THERE.as_bytes());
        let verdict = awaiting.wait(hears, patience);
        if matches!(verdict, Ok(Verdict::Kept | Verdict::Failed)) {
            return verdict;
        }
        Host::undo_unconfirmed(name, known.as_ref(), open)?;
        verdict
    }

    /// Confirms the last start of a network: it stays.
    ///
    /// # Errors
    /// As [`StateDir::confirm`]; [`ErrorKind::NothingToUndo`] for a host that remembers in memory, where nobody waits.
    pub fn confirm(&self, name: &IfName) -> Result<(), Error> {
        match &self.records {
            Records::Dir(dir) => dir.confirm(name),
            Records::Memory(_) => {
                let message = format!("network {name}: nobody waits for a confirmation");
                Err(Error::new(ErrorKind::NothingToUndo, message)
                    .with_object(name.as_str())
                    .unchanged()
                    .with_hint("a host in memory has no other process that could undo a start"))
            }
        }
    }

    /// The networks whose last start waits for a confirmation.
    ///
    /// # Errors
    /// As [`StateDir::awaited`].
    pub fn awaited(&self) -> Result<Vec<IfName>, Error> {
        match &self.records {
            Records::Dir(dir) => dir.awaited(),
            Records::Memory(_) => Ok(Vec::new()),
        }
    }

    /// Starts a network under a guard that was called before ([`exec::confirm`](crate::exec::confirm)), and tells the guard what has
    /// become of it. Where the state directory cannot be read, nothing is told and nothing is done.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network).
    pub fn start_confirmed(&mut self, network: &Network, tell: impl FnOnce(Told)) -> Result<Applied, Error> {
        let name = network.name();
        let was = self.records.started(&name)?;
        // What only its guests are told is no step.
        let is_new = was.is_none_or(|was| was.network != *network);
        let result = self.start_guarded(network);
        tell(match &result {
            Ok(applied) if applied.steps > 0 || is_new => Told::Made,
            Ok(_) => Told::NothingToUndo,
            // The guard undoes what is still open. If the records cannot be read, it may be.
            Err(_) if self.operation_left_open(Subject::Network(name)).map_or(true, |open| open.is_some()) => {
                Told::Nothing
            }
            Err(_) => Told::NothingToUndo,
        });
        result
    }

    /// Undoes a start that nobody confirmed; the guard calls this. Another process may hold the lock for a while, so this tries for about a
    /// minute and a half, each time with a newly opened host.
    ///
    /// `known` is what was recorded of the network before the start.
    ///
    /// # Errors
    /// As [`undo_start`](Self::undo_start), of the last try.
    pub fn undo_unconfirmed(
        name: &IfName,
        known: Option<&Entry>,
        mut open: impl FnMut() -> Result<Host, Error>,
    ) -> Result<(), Error> {
        let (mut pause, longest) = PAUSES;
        for _ in 1..TRIES {
            if open().and_then(|mut host| host.undo_start(name, known)).is_ok() {
                return Ok(());
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(longest);
        }
        open().and_then(|mut host| host.undo_start(name, known))
    }
}
