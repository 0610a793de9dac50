//! Running the command.

use std::process::{Command, Stdio};

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard error as one JSON document a line.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let line = |l| serde_json::from_str(l).unwrap_or_else(|e| panic!("no JSON document: {e}: {l}\n{self:?}"));
        self.stderr.lines().map(line).collect()
    }
}

/// The command, without the variables of the environment that change what it does.
pub(crate) fn xennet() -> Command {
    bare(env!("CARGO_BIN_EXE_xennet"))
}

fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_remove("XENNET_STATE_DIR").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

/// Runs the command with these arguments.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    finish(xennet().args(arguments))
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    outcome(command.output().unwrap())
}

fn outcome(output: std::process::Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("killed: {}", output.status));
    Run { code, stdout: text(output.stdout), stderr: text(output.stderr) }
}
