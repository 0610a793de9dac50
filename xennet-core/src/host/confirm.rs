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
use crate::exec::confirm::{Told, Verdict, nobody_waits};
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

/// Writes the outcome of the start to the guard; close `hears` afterwards. `false`: the guard has ended, and nothing will undo the start.
pub fn tell_guard(hears: BorrowedFd<'_>, told: Told) -> bool {
    // Writing to a pipe that nobody reads ends a program by SIGPIPE, unless it ignores that; so it is looked first.
    let mut end = [PollFd::from_borrowed_fd(hears, PollFlags::OUT)];
    let there = poll(&mut end, Some(&Timespec::default())).is_ok_and(|n| n > 0);
    let gone = end[0].revents().intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
    there && !gone && rustix::io::write(hears, told.bytes()).is_ok()
}

impl Host {
    /// Runs the guard of a network's start; call it in a process of its own. It writes `true`, or its error as a line of JSON, to `says` and waits
    /// for a confirmation. It undoes the start if none comes within `patience` after [`Told::Made`] arrives on `hears`, or if `hears` is closed
    /// without a word. Returns how the wait ended.
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
        let (mut awaiting, known) = match begun {
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
                Err(nobody_waits(name).with_hint("a host in memory has no other process that could undo a start"))
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

    /// Starts a network under a guard that runs already ([`exec::confirm`](crate::exec::confirm)), and tells the guard the outcome by `tell`,
    /// which says whether the guard has heard it ([`tell_guard`]). If not, a note says that nothing will undo the start. Where the state
    /// directory cannot be read, nothing is told and nothing is done.
    ///
    /// # Errors
    /// As [`start_network`](Self::start_network); [`ErrorKind::Unsupported`] for a host that remembers in memory, which no other process
    /// can undo anything of.
    pub fn start_confirmed(&mut self, network: &Network, tell: impl FnOnce(Told) -> bool) -> Result<Applied, Error> {
        let name = network.name();
        if matches!(self.records, Records::Memory(_)) {
            let message =
                format!("the start of network {name} cannot wait for a confirmation: this host remembers in memory");
            let hint = "open the host with a state directory, or start the network without confirmation";
            let error = Error::new(ErrorKind::Unsupported, message).with_object(name.as_str());
            return Err(error.with_hint(hint).unchanged());
        }
        let was = self.records.started(&name)?;
        // What only its guests are told is no step.
        let is_new = was.is_none_or(|was| was.network != *network);
        let mut result = self.start_guarded(network);
        let told = match &result {
            Ok(applied) if applied.steps > 0 || is_new => Told::Made,
            Ok(_) => Told::NothingToUndo,
            // The guard undoes what is still open. If the records cannot be read, it may be.
            Err(_) if self.operation_left_open(Subject::Network(name)).map_or(true, |open| open.is_some()) => {
                Told::Nothing
            }
            Err(_) => Told::NothingToUndo,
        };
        let is_heard = tell(told);
        if let Ok(applied) = &mut result
            && told == Told::Made
            && !is_heard
        {
            applied.notes.push(format!("the guard of network {name} has ended: nothing will undo the start by itself"));
        }
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
