//! Running the command.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use xennet_tests::StateDir;

/// What a run gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// Standard output as one JSON document.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|e| panic!("no JSON document: {e}\n{self:?}"))
    }

    /// Standard error as one JSON document a line.
    pub(crate) fn json_lines(&self) -> Vec<serde_json::Value> {
        let line = |l| serde_json::from_str(l).unwrap_or_else(|e| panic!("no JSON document: {e}: {l}\n{self:?}"));
        self.stderr.lines().map(line).collect()
    }
}

/// The command: the one that was built with this test, or where `tests/as-user` put it.
pub(crate) fn program() -> std::ffi::OsString {
    std::env::var_os("XENNET_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_xennet").into())
}

/// The command, without the variables of the environment that change what it does.
pub(crate) fn xennet() -> Command {
    bare(program())
}

fn bare(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_remove("XENNET_STATE_DIR")
        .env_remove("XENNET_HOTPLUG_CONFIG")
        .env_remove("NO_COLOR")
        .stdin(Stdio::null());
    command
}

/// Runs the command with these arguments.
pub(crate) fn run<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Run {
    finish(xennet().args(arguments))
}

/// Runs the command with these arguments and this text on standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Run {
    let mut command = xennet();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that does not read its input closes the pipe; that is for the test to judge by the outcome.
    let _ = child.stdin.take().unwrap().write_all(input);
    outcome(&command, child.wait_with_output().unwrap())
}

/// Runs the command as a user without any rights, if this is root; as whoever runs the test otherwise.
pub(crate) fn run_as_nobody(arguments: &[&str]) -> Run {
    let place = StateDir::new();
    let program = place.path().join("xennet");
    std::fs::copy(env!("CARGO_BIN_EXE_xennet"), &program).unwrap();
    for path in [place.path(), &program] {
        std::fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = bare(&program);
    command.args(arguments).current_dir("/");
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    finish(&mut command)
}

/// Runs a command to its end.
pub(crate) fn finish(command: &mut Command) -> Run {
    loop {
        match command.output() {
            // Another thread forked while the program was being copied: its child has the copy open for writing until it
            // becomes a program itself.
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            result => return outcome(command, result.unwrap()),
        }
    }
}

/// What a run gave. Documents of the command are checked against their schemas.
fn outcome(command: &Command, output: std::process::Output) -> Run {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let code = output.status.code().unwrap_or_else(|| panic!("killed: {}", output.status));
    let run = Run { code, stdout: text(output.stdout), stderr: text(output.stderr) };
    if std::path::Path::new(command.get_program()).file_name().is_some_and(|name| name == "xennet") {
        let arguments: Vec<String> = command.get_args().map(|a| a.to_string_lossy().into_owned()).collect();
        xennet_tests::documents::check_command(&arguments, &run.stdout, &run.stderr);
    }
    run
}
