//! A process that is nobody's child: known by number and start time, so that another one that gets the number is never meant.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno as Os;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::budget::Budget;
use crate::error::{Errno, Error, ErrorKind};

/// A process that was killed is gone soon, except where the kernel itself holds it.
const AFTER_KILL: Duration = Duration::from_secs(2);
/// How often a kernel before 5.3 is asked, which has no descriptor for a process.
const OFTEN: Duration = Duration::from_millis(5);

/// Number and start time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(super) struct Process {
    /// The number.
    pub(super) pid: u32,
    /// When it was started, in the kernel's ticks since boot (`/proc/PID/stat`, field 22).
    pub(super) start: u64,
}

impl Process {
    /// The process with this number, if there is one that has not ended.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The program's name may have blanks and parentheses in it; nothing behind it does.
        let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
        let state = fields.next()?;
        // Field 3 is the state: Z and X are what is left of a process until somebody has looked.
        let start = fields.nth(18)?.parse().ok()?;
        (!matches!(state, "Z" | "X")).then_some(Process { pid, start })
    }
}

/// Whether it runs.
pub(super) fn is_alive(process: &Process) -> bool {
    Process::of(process.pid).as_ref() == Some(process)
}

/// Whether a process was started with this argument.
pub(super) fn has_argument(pid: u32, argument: &[u8]) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.split(|b| *b == 0).any(|a| a == argument))
}

/// Whether a process runs this program, or one that it was before an upgrade. Where the kernel does not say (to others than
/// root), its arguments have to do.
pub(super) fn runs(pid: u32, program: &Path) -> bool {
    match fs::read_link(format!("/proc/{pid}/exe")) {
        Ok(path) => {
            let path = path.to_string_lossy();
            path.strip_suffix(" (deleted)").unwrap_or(&path) == program.to_string_lossy()
        }
        Err(e) => e.kind() == std::io::ErrorKind::PermissionDenied,
    }
}

/// Sends a signal to a process, if it is still that one and `ours` agrees. False if it is not there.
pub(super) fn signal(process: &Process, ours: impl Fn(u32) -> bool, signal: Signal) -> Result<bool, Error> {
    let Some((pid, fd)) = grip(process, ours) else { return Ok(false) };
    send(pid, fd.as_ref(), signal)
}

/// Ends a process: asks it to, kills it at the deadline, and waits until it is gone, at most to the end of the budget; half of
/// that is for whoever has to be killed. False if it was not there.
pub(super) fn end(
    process: &Process,
    ours: impl Fn(u32) -> bool,
    deadline: Duration,
    budget: Budget,
) -> Result<bool, Error> {
    let Some((pid, fd)) = grip(process, ours) else { return Ok(false) };
    for (what, patience) in [(Signal::TERM, deadline.min(budget.left() / 2)), (Signal::KILL, AFTER_KILL)] {
        send(pid, fd.as_ref(), what)?;
        let wait = budget.at_most(patience);
        loop {
            if !is_alive(process) {
                return Ok(true);
            }
            let left = wait.left();
            if left.is_zero() {
                break;
            }
            sleep_on(fd.as_ref(), left);
        }
    }
    let message = format!("process {} (dnsmasq) does not end although it was killed", process.pid);
    Err(Error::new(ErrorKind::Busy, message).with_hint("the kernel holds it: see cat /proc/PID/stack, and try again"))
}

/// Waits until a process has ended, for the given time at most.
pub(super) fn until_end(pid: Pid, left: Duration) {
    sleep_on(pidfd_open(pid, PidfdFlags::empty()).ok().as_ref(), left);
}

/// Whether a process ends within this time.
pub(super) fn ends(process: &Process, patience: Duration) -> bool {
    let until = Instant::now() + patience;
    let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
    loop {
        if !is_alive(process) {
            return true;
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return false;
        }
        let fd = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        sleep_on(fd.as_ref(), left);
    }
}

/// Takes hold of a process. What a descriptor is of, stays the same; whether it is the right one is asked afterwards.
fn grip(process: &Process, ours: impl Fn(u32) -> bool) -> Option<(Pid, Option<OwnedFd>)> {
    let pid = Pid::from_raw(i32::try_from(process.pid).ok()?)?;
    let fd = match pidfd_open(pid, PidfdFlags::empty()) {
        Ok(fd) => Some(fd),
        Err(Os::SRCH) => return None,
        // A kernel before 5.3.
        Err(_) => None,
    };
    (is_alive(process) && ours(process.pid)).then_some((pid, fd))
}

fn send(pid: Pid, fd: Option<&OwnedFd>, signal: Signal) -> Result<bool, Error> {
    let sent = match fd {
        Some(fd) => pidfd_send_signal(fd, signal),
        None => kill_process(pid, signal),
    };
    match sent {
        Ok(()) => Ok(true),
        Err(Os::SRCH) => Ok(false),
        Err(e) => {
            let kind = if e == Os::PERM { ErrorKind::Denied } else { ErrorKind::Io };
            let message = format!("process {} (dnsmasq) cannot be sent a signal", pid.as_raw_nonzero());
            Err(Error::new(kind, message).with_errno(Errno::of(e)).with_hint("run it as root"))
        }
    }
}

fn sleep_on(fd: Option<&OwnedFd>, left: Duration) {
    let left = if fd.is_some() { left } else { left.min(OFTEN) };
    let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    let mut fds: Vec<PollFd<'_>> = fd.map(|fd| PollFd::new(fd, PollFlags::IN)).into_iter().collect();
    // An interrupted wait is a short one; the caller looks again in any case.
    let _ = poll(&mut fds, Some(&time));
}
