//! `record`: the network state of a host in one file; and reading such files.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use xennet_core::config::networks;
use xennet_core::document::Recorded;
use xennet_core::recording::Recording;
use xennet_core::surroundings;
use xennet_core::{Error, Overview, Result};

use super::common::open;
use crate::cli::{BackendName, Global, RecordArgs};
use crate::output::Output;
use crate::{files, input};

pub(super) fn run(global: &Global, args: &RecordArgs, output: &mut Output) -> Result<()> {
    let mut recording = whole(global, &args.file)?;
    if args.anonymous {
        recording = surroundings::anonymous(&recording)?;
    }
    tell_unseen(&recording, output);
    let text = recording.to_json() + "\n";
    if args.path == Path::new("-") {
        return output.line(text.trim_end());
    }
    // It names every guest's permissions, so only its owner may read it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    let path = shown(&args.path);
    written.map_err(|e| match e.kind() {
        ErrorKind::AlreadyExists => Error::new(xennet_core::ErrorKind::Conflict, format!("{path} is there already"))
            .with_object(&path)
            .as_before("unchanged")
            .with_hint("name another file, or remove that one first"),
        _ => files::failed(&args.path, "cannot be written", &e),
    })?;
    output.answer(|| format!("{path}: written, {} bytes", text.len()), || Recorded::new(&path, text.len()))
}

/// All that can be seen of this host, with the descriptions of networks in this file. In the sandbox other programs' files are not its own.
pub(super) fn whole(global: &Global, file: &Path) -> Result<Recording> {
    let is_here = global.backend == BackendName::Netlink && !global.sandbox;
    Ok(surroundings::record(&mut open(global)?, file, is_here.then_some(Path::new("/"))))
}

/// This host at one glance, with the networks that are described.
pub(super) fn overview(global: &Global) -> Result<Overview> {
    let is_here = global.backend == BackendName::Netlink && !global.sandbox;
    surroundings::overview(&mut open(global)?, Path::new(networks::PATH), is_here.then_some(Path::new("/")))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What a recording lacks, as remarks.
fn tell_unseen(recording: &Recording, output: &mut Output) {
    for unseen in &recording.unseen {
        output.note(&format!("{} was not looked at: {}", unseen.what, unseen.why));
    }
}

/// A recording in a file, with remarks on what it lacks.
pub(super) fn recorded(file: &Path, output: &mut Output) -> Result<Recording> {
    let recording = from_file(file)?;
    tell_unseen(&recording, output);
    Ok(recording)
}

/// A recording of a file.
pub(super) fn from_file(file: &Path) -> Result<Recording> {
    Recording::from_json(&input::file(file)?).map_err(|e| e.in_file(&shown(file)))
}
