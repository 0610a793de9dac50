//! dnsmasq as a program: where it is, and running it to its end.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::fs::MemfdFlags;
use rustix::process::{Pid, Signal, kill_process_group};

use super::daemon::START;
use super::process;
use crate::budget::Budget;
use crate::error::{Errno, Error, ErrorKind};
use crate::model::IfName;

/// Where it is looked for besides the directories of `PATH`: an ordinary user's often lacks these.
const USUAL: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// How a program that was run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With this status.
    As(ExitStatus),
    /// It has ended, and nobody can say how: the program that uses this library ignores `SIGCHLD`, or waits for all children.
    Unseen,
    /// It had to be killed.
    Late,
}

/// Runs a program that ends soon: how it ended, and what it said.
pub(super) fn run(program: &Path, config: &Path, more: &[&str], budget: Budget) -> Result<(Ended, String), Error> {
    let unable = |what: &str, e: &io::Error| {
        Error::new(ErrorKind::Internal, format!("{} {what}", program.display()))
            .with_object(program.display().to_string())
            .with_errno(Errno::from_io(e))
    };
    // A file, so that nobody has to read while it writes, and nobody waits for those who keep it open.
    let words = rustix::fs::memfd_create("xennet-dnsmasq", MemfdFlags::CLOEXEC).map(File::from);
    let mut words = words.map_err(|e| unable("has no place for what it says", &e.into()))?;
    let copy = || words.try_clone().map(Stdio::from).map_err(|e| unable("has no place for what it says", &e));
    let mut option = OsStr::new("--conf-file=").to_owned();
    option.push(config);
    let mut command = Command::new(program);
    // In its own group, so that what is typed on the caller's terminal does not end it; in English, so that its words mean
    // the same everywhere.
    command.arg(option).args(more).env_clear().env("LC_ALL", "C").env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
    let mut child = loop {
        match command.spawn() {
            // Somebody is writing the file at this moment.
            Err(e) if e.kind() == io::ErrorKind::ExecutableFileBusy && !budget.is_over() => {
                std::thread::sleep(Duration::from_millis(2));
            }
            other => break other.map_err(|e| unable("cannot be started", &e))?,
        }
    };
    let status = wait(&mut child, budget).map_err(|e| unable("cannot be waited for", &e))?;
    let mut said = Vec::new();
    let read = words.rewind().and_then(|()| words.read_to_end(&mut said));
    read.map_err(|e| unable("said something that cannot be read", &e))?;
    Ok((status, last_words(&String::from_utf8_lossy(&said))))
}

/// Waits for a child; kills it with its group when it takes too long.
fn wait(child: &mut Child, budget: Budget) -> io::Result<Ended> {
    let pid = Pid::from_child(child);
    // While it is not waited for, the number is its own.
    let mut look = || match child.try_wait() {
        Ok(status) => Ok(status.map(Ended::As)),
        Err(e) if Errno::from_io(&e) == Errno::ECHILD => Ok(Some(Ended::Unseen)),
        Err(e) => Err(e),
    };
    loop {
        if let Some(ended) = look()? {
            return Ok(ended);
        }
        let left = budget.left();
        if left.is_zero() {
            let _ = kill_process_group(pid, Signal::KILL);
            while look()?.is_none() {
                process::until_end(pid, START);
            }
            return Ok(Ended::Late);
        }
        process::until_end(pid, left);
    }
}

/// What a program said, in one line without its name and without anything that moves a terminal.
fn last_words(said: &str) -> String {
    let lines = said.lines().map(|line| line.trim().trim_start_matches("dnsmasq: ")).filter(|line| !line.is_empty());
    let text = lines.collect::<Vec<_>>().join("; ");
    text.chars().take(400).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The directories that programs are looked for in.
pub(super) fn places() -> Vec<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // An empty word means the directory one is in, which is not for root.
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
    all.extend(USUAL.map(PathBuf::from));
    all
}

/// The dnsmasq of this machine.
pub(super) fn find(places: Vec<PathBuf>, network: &IfName) -> Result<PathBuf, Error> {
    for place in places {
        let path = place.join("dnsmasq");
        let executable = rustix::fs::access(&path, rustix::fs::Access::EXEC_OK).is_ok() && path.is_file();
        if executable {
            // As the kernel names the program of a process.
            return fs::canonicalize(&path).map_err(|e| {
                Error::new(ErrorKind::Io, format!("{} cannot be followed", path.display()))
                    .with_object(path.display().to_string())
                    .with_errno(Errno::from_io(&e))
            });
        }
    }
    Err(Error::new(ErrorKind::Unsupported, format!("network {network} has dhcp or dns, and dnsmasq is not installed"))
        .with_object("dnsmasq")
        .as_before("unchanged, nothing was started")
        .with_hint(format!(
            "apt-get install dnsmasq-base (not dnsmasq, which starts one of its own), or take dhcp and dns out of \
             [network.{network}] in {}",
            crate::config::networks::PATH
        )))
}
