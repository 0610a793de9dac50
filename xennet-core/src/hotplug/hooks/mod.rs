//! The administrator's hooks: programs that run behind every call, as Xen's scripts ran them.
//!
//! Xen's scripts *source* every executable `*.hook` of `/etc/xen/scripts/vif-post.d`. Here they are processes: what one of them
//! does to its variables, its directory or its descriptors stays its own, and one that hangs is ended. A hook that is a shell script
//! is sourced by a shell of its own, which has the functions of Xen's scripts (`prelude.sh`), so hooks that were written for these
//! run.
//!
//! Without a directory, or without hooks in it, this costs one open and no child process. A hook that another user can change is
//! refused, as `sudo` refuses such a file: it would run as root.

mod shell;
mod trust;

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read as _, Seek as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::log::printable;
use crate::error::{Errno, Error, ErrorKind};

/// How much of what a hook prints is kept: the end of it.
const KEPT: usize = 64 * 1024;
/// How much of a hook is read to see whether it does anything.
const LOOK: usize = 4096;
/// How much of its last line stands in an error.
const QUOTED: usize = 200;
/// A process that was killed is gone soon, except where the kernel itself holds it; that is not waited for longer.
const AFTER_KILL: Duration = Duration::from_secs(1);

/// The hooks of one call.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Hooks<'a> {
    /// Where they are.
    pub dir: &'a Path,
    /// What the call is, for example `online`: their only argument.
    pub verb: &'a str,
    /// Variables of the environment, besides those of this process.
    pub environment: &'a [(&'a str, &'a str)],
    /// How long all of them may take together.
    pub deadline: Duration,
}

impl<'a> Hooks<'a> {
    /// The hooks of a directory for a verb, with this environment, each within this time.
    pub const fn new(dir: &'a Path, verb: &'a str, environment: &'a [(&'a str, &'a str)], deadline: Duration) -> Self {
        Hooks { dir, verb, environment, deadline }
    }
}

/// A hook that was started and has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ran {
    /// The name of its file, without the directory.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What it printed, standard output and standard error in their order; of very much the last 64 KiB. Not escaped.
    pub output: String,
}

impl Hooks<'_> {
    /// Runs every executable file `*.hook` of the directory, one behind the other in the order of the bytes of their names,
    /// as the shell's glob has them: names that begin with a dot are left out.
    ///
    /// A hook gets nothing on standard input, and a process group of its own. One that fails ends the run. One that is not
    /// done at the deadline is killed with all that it has started. What a hook leaves running in the background when it
    /// ends well is left alone. A shell script of comments and blank lines alone (Xen ships one) is not started.
    ///
    /// What was started and has ended is added to `ran`, the hook that failed included.
    ///
    /// # Errors
    /// [`ErrorKind::HookFailed`] with the hook as the object: it cannot be started, ended with another status than 0, was ended
    /// by a signal, or was not done in time; or the directory is there and cannot be read.
    pub fn run(&self, ran: &mut Vec<Ran>) -> Result<(), Error> {
        self.run_found(&self.find()?, ran)
    }

    /// Runs those that were [found](Self::find).
    pub(super) fn run_found(&self, hooks: &[PathBuf], ran: &mut Vec<Ran>) -> Result<(), Error> {
        let start = Instant::now();
        for path in hooks {
            let left = self.deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(self.late(path, "was not started: the hooks before it took all the time"));
            }
            self.run_one(path, left, ran)?;
        }
        Ok(())
    }

    /// The hooks that are to be started, in order.
    ///
    /// # Errors
    /// [`ErrorKind::HookFailed`] where the directory is there and cannot be read, and for a hook that other users can change.
    pub fn find(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = self.named()?;
        found.retain(|path| is_wanted(path));
        found.iter().try_for_each(|hook| trust::check(hook))?;
        Ok(found)
    }

    /// The hooks that cannot run as they are, each with the reason. One that is not executable is left out by Xen's scripts and here.
    ///
    /// # Errors
    /// [`ErrorKind::HookFailed`] where the directory is there and cannot be read.
    pub fn broken(&self) -> Result<Vec<(PathBuf, String)>, Error> {
        let mut broken = Vec::new();
        for path in self.named()? {
            let is_executable = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0);
            let lacking = shell::lacking(&path);
            let why = match trust::check(&path) {
                _ if !is_executable => "it is not executable, so no call runs it".to_owned(),
                Err(e) => e.message().to_owned(),
                Ok(()) if !lacking.is_empty() => {
                    format!("it calls {}, which hooks do not have here", lacking.join(", "))
                }
                Ok(()) => continue,
            };
            broken.push((path, why));
        }
        Ok(broken)
    }

    /// The files that are called as hooks are.
    fn named(&self) -> Result<Vec<PathBuf>, Error> {
        let unreadable = |e: &io::Error| {
            let what = "the directory of the hooks cannot be read";
            Error::new(ErrorKind::HookFailed, format!("{}: {what}", self.dir.display()))
                .with_object(self.dir.display().to_string())
                .with_errno(Errno::from_io(e))
                .with_hint("make it a directory that root can read, or set hooks = \"\" in the settings of hotplug")
        };
        let listing = match fs::read_dir(self.dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(|e| unreadable(&e))?,
        };
        let mut names: Vec<OsString> = Vec::new();
        for entry in listing {
            let name = entry.map_err(|e| unreadable(&e))?.file_name();
            let bytes = name.as_bytes();
            if bytes.ends_with(b".hook") && !bytes.starts_with(b".") {
                names.push(name);
            }
        }
        names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        Ok(names.iter().map(|name| self.dir.join(name)).collect())
    }

    /// The hooks that call functions of Xen's scripts which they do not find here, each with these functions.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn lacking(&self) -> Result<Vec<(PathBuf, Vec<&'static str>)>, Error> {
        let found = self.find()?.into_iter().map(|hook| (hook.clone(), shell::lacking(&hook)));
        Ok(found.filter(|(_, functions)| !functions.is_empty()).collect())
    }

    fn run_one(&self, path: &Path, left: Duration, ran: &mut Vec<Ran>) -> Result<(), Error> {
        let start = Instant::now();
        // If this process cannot learn a child's exit status, a shell in between writes it to a file.
        let told = children_end_unseen().then(Told::new).transpose().map_err(|e| unstartable(path, &e))?;
        let started = self.start(path, start + left, told.as_ref());
        let (mut child, pipe) = started.map_err(|e| unstartable(path, &e))?;
        let mut output = Output::default();
        let end = match (follow(&mut child, pipe, start + left, &mut output), told) {
            (End::Lost(Errno::ECHILD), Some(told)) => told.read().map_or(End::Lost(Errno::ECHILD), End::Exited),
            (end, _) => end,
        };
        let output = output.text();
        let said = last_line(&output);
        ran.push(Ran { name: name(path), took: start.elapsed(), output });
        match end {
            End::Exited(status) if status.success() => Ok(()),
            End::Exited(status) => {
                let how = match status.code() {
                    Some(code) => format!("ended with status {code}"),
                    None => format!("was ended by signal {}", signal(status.signal().unwrap_or_default())),
                };
                let how = said.map(|line| format!("{how}, saying \"{line}\"")).unwrap_or(how);
                Err(failed(path, &how).with_hint(self.by_hand(path)))
            }
            End::Late => {
                let how = format!("was not done when the hooks' {} were over, and was killed", show(self.deadline));
                let how = said.map(|line| format!("{how}; it said \"{line}\" last")).unwrap_or(how);
                Err(self.late(path, &how))
            }
            End::Lost(Errno::ECHILD) => Err(failed(path, "has ended, and nobody can say how").with_hint(
                "another part of this program has waited for it; let it wait for its own children only, by their numbers",
            )),
            End::Lost(e) => Err(failed(path, "cannot be waited for").with_errno(e)),
        }
    }

    /// Starts a hook; the pipe has what it prints.
    fn start(&self, path: &Path, until: Instant, told: Option<&Told>) -> io::Result<(Child, PipeReader)> {
        let itself = || vec![path.as_os_str().to_owned()];
        let mut words = shell::words(path).unwrap_or_else(itself);
        if told.is_some() {
            let telling = ["/bin/sh", "-c", Told::SCRIPT, "sh"].map(OsString::from);
            words.splice(0..0, telling);
        }
        let mut by_shell = false;
        loop {
            let (reader, writer) = io::pipe()?;
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]).arg(self.verb).envs(self.environment.iter().copied()).process_group(0);
            let input = told.map(|t| t.0.try_clone().map(Stdio::from)).transpose()?;
            command.stdin(input.unwrap_or_else(Stdio::null)).stdout(writer.try_clone()?).stderr(writer);
            let started = command.spawn();
            // The ends of the pipe that it holds would keep us from seeing that the hook has closed its own.
            drop(command);
            match started {
                // No program and no #!: shells take such a file for their own.
                Err(e) if Errno::from_io(&e) == NOT_EXECUTABLE && !by_shell => {
                    by_shell = true;
                    words.insert(0, "/bin/sh".into());
                }
                // Somebody is writing the file at this moment.
                Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                other => return Ok((other?, reader)),
            }
        }
    }

    fn late(&self, path: &Path, how: &str) -> Error {
        failed(path, how).with_hint(format!(
            "make it quicker or let it work in the background; hook_deadline in the settings of hotplug is {} for all hooks \
             together",
            show(self.deadline)
        ))
    }

    /// How to see what the hook does.
    fn by_hand(&self, path: &Path) -> String {
        let path = path.display();
        format!("run {path} {} by hand to see why; chmod a-x {path} turns it off", self.verb)
    }
}

/// `ENOEXEC`: the kernel knows no way to run the file.
const NOT_EXECUTABLE: Errno = Errno(8);

fn failed(path: &Path, how: &str) -> Error {
    Error::new(ErrorKind::HookFailed, format!("hook {} {how}", name(path))).with_object(path.display().to_string())
}

fn unstartable(path: &Path, e: &io::Error) -> Error {
    let errno = Errno::from_io(e);
    let hint = match errno {
        Errno::ENOENT => "is the program that its first line (#!) names installed?",
        Errno::EACCES => "may this user run it, and is its file system mounted without noexec?",
        _ => "run it by hand to see why",
    };
    failed(path, "cannot be started").with_errno(errno).with_hint(hint)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_else(|| OsStr::new("?")).to_string_lossy().into_owned()
}

/// The number of a signal, and the name of those that end programs most.
fn signal(number: i32) -> String {
    const NAMES: [(i32, &str); 12] = [
        (1, "HUP"),
        (2, "INT"),
        (3, "QUIT"),
        (4, "ILL"),
        (6, "ABRT"),
        (7, "BUS"),
        (8, "FPE"),
        (9, "KILL"),
        (11, "SEGV"),
        (13, "PIPE"),
        (14, "ALRM"),
        (15, "TERM"),
    ];
    match NAMES.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("{number} (SIG{name})"),
        None => number.to_string(),
    }
}

/// Whole seconds as such, else milliseconds.
pub(super) fn show(time: Duration) -> String {
    if time.subsec_millis() == 0 && time.as_secs() > 0 {
        format!("{} s", time.as_secs())
    } else {
        format!("{} ms", time.as_millis())
    }
}

/// Whether this process ignores `SIGCHLD`, and is not told how its children end (`waitpid(2)`): the program that uses this library
/// may, and what it ignores stays ignored in a program that it becomes.
fn children_end_unseen() -> bool {
    const SIGCHLD: u32 = 17;
    let Ok(status) = fs::read_to_string("/proc/self/status") else { return false };
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & 1 << (SIGCHLD - 1) != 0)
}

/// Where a shell writes how a hook ended.
struct Told(File);

impl Told {
    /// Standard input of the shell is the file; the hook's is empty, as ever.
    const SCRIPT: &'static str = "\"$@\" </dev/null; echo $? >&0";

    fn new() -> io::Result<Self> {
        Ok(Told(memfd_create("xennet-hook", MemfdFlags::CLOEXEC).map(File::from)?))
    }

    /// Nothing if the shell was ended before it could.
    fn read(mut self) -> Option<ExitStatus> {
        let mut text = String::new();
        self.0.rewind().ok()?;
        self.0.read_to_string(&mut text).ok()?;
        let status: i32 = text.trim().parse().ok()?;
        // What a shell says of signals.
        Some(ExitStatus::from_raw(if status > 128 { status - 128 } else { status << 8 }))
    }
}

/// How a hook ended.
enum End {
    Exited(ExitStatus),
    Late,
    /// Nobody can say.
    Lost(Errno),
}

/// Reads what a child prints until it ends; kills it with its group at the deadline.
fn follow(child: &mut Child, mut pipe: PipeReader, until: Instant, output: &mut Output) -> End {
    let pid = Pid::from_child(child);
    // The end of the output is not the end of the hook, nor the other way round: both are waited for at once. A kernel before
    // 5.3 has no descriptor for a process; then it is asked often.
    let end = pidfd_open(pid, PidfdFlags::empty()).ok();
    // Without it a daemon that the hook has started could keep us reading.
    let _ = rustix::io::ioctl_fionbio(&pipe, true);
    let mut open = true;
    let result = loop {
        match child.try_wait() {
            Ok(Some(status)) => break End::Exited(status),
            Ok(None) => {}
            Err(e) => break End::Lost(Errno::from_io(&e)),
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break End::Late;
        }
        wait(end.as_ref(), open.then_some(&pipe), left);
        open = open && output.take(&mut pipe);
    };
    if matches!(result, End::Late) {
        // It was not waited for yet, so the number is still its own. Only an error that says that there is nobody left, which is what is wanted.
        let _ = kill_process_group(pid, Signal::KILL);
        let until = Instant::now() + AFTER_KILL;
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            wait(end.as_ref(), None, until.saturating_duration_since(Instant::now()));
        }
    }
    if open {
        output.take(&mut pipe);
    }
    result
}

/// Waits until the child has ended or printed something, for the given time at most.
fn wait(end: Option<&OwnedFd>, pipe: Option<&PipeReader>, left: Duration) {
    const OFTEN: Duration = Duration::from_millis(5);
    let left = if end.is_some() { left } else { left.min(OFTEN) };
    let time = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
    let mut fds = Vec::with_capacity(2);
    fds.extend(end.map(|fd| PollFd::new(fd, PollFlags::IN)));
    fds.extend(pipe.map(|fd| PollFd::new(fd, PollFlags::IN)));
    // An interrupted wait is a short one; the caller looks again in any case.
    let _ = poll(&mut fds, Some(&time));
}

/// What a hook printed.
#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    cut: bool,
}

impl Output {
    /// Takes what is in the pipe now, and no more than a hook that prints without end leaves time for. False at its end.
    fn take(&mut self, pipe: &mut PipeReader) -> bool {
        let mut block = [0; 16 * 1024];
        // As much as the kernel keeps in a pipe.
        for _ in 0..4 {
            match pipe.read(&mut block) {
                Ok(0) => return false,
                Ok(n) => self.bytes.extend_from_slice(&block[..n]),
                Err(e) => return matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
            }
            if self.bytes.len() > 2 * KEPT {
                self.shorten();
            }
        }
        true
    }

    fn shorten(&mut self) {
        if let Some(more) = self.bytes.len().checked_sub(KEPT).filter(|more| *more > 0) {
            self.bytes.drain(..more);
            self.cut = true;
        }
    }

    fn text(mut self) -> String {
        self.shorten();
        // A line that lost its beginning says something else than was printed.
        if self.cut
            && let Some(at) = self.bytes.iter().position(|b| *b == b'\n')
        {
            self.bytes.drain(..=at);
        }
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// The last line that has anything on it, escaped and cut, for an error.
fn last_line(output: &str) -> Option<String> {
    let line = output.lines().rev().map(str::trim).find(|line| !line.is_empty())?;
    let cut: String = line.chars().take(QUOTED).collect();
    let more = if cut.len() < line.len() { "..." } else { "" };
    Some(format!("{}{more}", printable(&cut)))
}

/// Whether a file is an executable one that does anything.
fn is_wanted(path: &Path) -> bool {
    // Not to be stopped by a FIFO without a writer.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    match fs::OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => match file.metadata() {
            Ok(meta) => meta.is_file() && meta.permissions().mode() & 0o111 != 0 && does_something(file),
            Err(_) => false,
        },
        // A program may be one to run and not to read.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        }
        // A link to nothing: the shell's test says no, too.
        Err(_) => false,
    }
}

/// False only for a shell script without a single command. What cannot be told is run.
fn does_something(mut file: File) -> bool {
    let mut text = [0; LOOK];
    let mut length = 0;
    while length < LOOK {
        match file.read(&mut text[length..]) {
            Ok(0) => break,
            Ok(n) => length += n,
            Err(_) => return true,
        }
    }
    length == LOOK || has_command(&text[..length])
}

/// Whether a script has anything but comments and blank lines.
fn has_command(text: &[u8]) -> bool {
    let blank = |b: &u8| matches!(b, b' ' | b'\t');
    let idle = |line: &[u8]| line.iter().find(|b| !blank(b)).is_none_or(|first| *first == b'#');
    let mut lines = text.split(|b| *b == b'\n');
    match text.strip_prefix(b"#!") {
        Some(_) => {
            // The program that the first line names may do something by itself; a shell does not.
            let first = lines.next().unwrap_or_default();
            shell::shell(&first[2..]).is_none() || !lines.all(idle)
        }
        None => !lines.all(idle),
    }
}

#[cfg(test)]
mod tests;
