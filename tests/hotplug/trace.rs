//! The program under `strace`: what it asked the kernel for, and killed or held up at one of its system calls.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use crate::rig::Rig;

/// Whether there is a `strace`; where `CI` is set there has to be one.
pub(crate) fn is_there() -> bool {
    let there = Command::new("strace").arg("-V").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "strace is missing, and CI is set");
    if !there {
        eprintln!("skipped: strace is missing (apt-get install strace)");
    }
    there
}

/// The same command under strace with these options. It follows children.
pub(crate) fn traced<S: AsRef<OsStr>>(command: &Command, options: &[S]) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-f", "-qq"]).args(options).arg(command.get_program()).args(command.get_args());
    traced.env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    for (name, value) in command.get_envs() {
        traced.env(name, value.unwrap_or_default());
    }
    traced
}

/// One system call: the process, its name, and the rest of its line.
#[derive(Clone, Debug)]
pub(crate) struct Syscall {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) line: String,
}

/// Runs a command under strace; what it asked for, in order, and how it ended.
pub(crate) fn syscalls(rig: &Rig, command: &Command, options: &[&str]) -> (Vec<Syscall>, ExitStatus) {
    let trace = rig.path("trace");
    let mut all = options.to_vec();
    all.extend(["-o", trace.to_str().unwrap()]);
    let status = traced(command, &all).status().unwrap();
    let text = std::fs::read_to_string(&trace).unwrap();
    std::fs::remove_file(&trace).unwrap();
    (text.lines().filter_map(read).collect(), status)
}

/// "1234  openat(AT_FDCWD, ..." ; what is not the beginning of a call is a signal, an end, or the rest of a call.
fn read(line: &str) -> Option<Syscall> {
    let (pid, call) = line.split_once(char::is_whitespace)?;
    let (name, _) = call.trim().split_once('(')?;
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    is_name.then(|| Syscall { pid: pid.parse().unwrap(), name: name.to_owned(), line: call.trim().to_owned() })
}

/// The system calls of the first process from the first one that names this path, each with the number of calls of the same
/// name up to it: what strace needs to find it again.
pub(crate) fn places(calls: &[Syscall], from: &Path) -> Vec<(String, usize)> {
    let from = from.to_str().unwrap();
    let mut counts = BTreeMap::new();
    let mut begun = false;
    let mut found = Vec::new();
    for call in calls.iter().filter(|c| c.pid == calls[0].pid) {
        let count = counts.entry(call.name.clone()).or_insert(0);
        *count += 1;
        begun |= call.name != "execve" && call.line.contains(from);
        if begun {
            found.push((call.name.clone(), *count));
        }
    }
    found
}

/// How often each system call was made, for people.
pub(crate) fn counts(calls: &[Syscall]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for call in calls {
        *counts.entry(call.name.as_str()).or_insert(0) += 1;
    }
    let mut list: Vec<_> = counts.into_iter().collect();
    list.sort_by_key(|(name, count)| (std::cmp::Reverse(*count), *name));
    let words: Vec<String> = list.iter().map(|(name, count)| format!("{name} {count}")).collect();
    format!("{} system calls: {}", calls.len(), words.join(", "))
}
