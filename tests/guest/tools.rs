//! Where the programs are that guests have.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use xennet_tests::lease::command;

/// The unpacked packages: `None`, with a line that says what is missing, where they are not here.
pub(crate) fn root(test: &str) -> Option<PathBuf> {
    here(test, "root")
}

/// The same with ifupdown-ng.
pub(crate) fn ng(test: &str) -> Option<PathBuf> {
    here(test, "ng")
}

fn here(test: &str, kind: &str) -> Option<PathBuf> {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/guest-tools").join(kind);
    if place.is_dir() {
        return Some(place.canonicalize().unwrap());
    }
    missing(test, "what reads guests' files; to have it: tests/guest-tools");
    None
}

/// Says that something is missing; where it must not be, that is a failure.
pub(crate) fn missing(test: &str, what: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: missing: {what}");
    eprintln!("skipped: {test}: missing: {what}");
}

/// Whether a program is here.
pub(crate) fn has(test: &str, program: &str, package: &str) -> bool {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin:/lib/systemd";
    let found = path.split(':').any(|dir| Path::new(dir).join(program).is_file());
    if !found {
        missing(test, &format!("{program}; as root: apt-get install {package}"));
    }
    found
}

/// A program of the unpacked packages, with their libraries.
pub(crate) fn unpacked(root: &Path, program: &str) -> Command {
    let mut command = command(root.join(program).to_str().unwrap(), &[]);
    let lists = ["usr/lib", "lib"].map(|dir| std::fs::read_dir(root.join(dir)).into_iter().flatten().flatten());
    let is_multiarch = |path: &PathBuf| path.to_string_lossy().ends_with("-linux-gnu");
    let dirs: Vec<String> = lists
        .into_iter()
        .flatten()
        .map(|entry| entry.path())
        .filter(is_multiarch)
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    command.env("LD_LIBRARY_PATH", dirs.join(":"));
    command
}

/// Standard output and standard error of a program that has to succeed.
#[track_caller]
pub(crate) fn said(command: &mut Command, about: &str) -> (String, String) {
    let output: Output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {}\n{out}\n{err}\n{about}", output.status);
    (out, err)
}
