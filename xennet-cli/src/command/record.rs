//! `record`: all that can be seen of a host in one file, and hosts that are read from such files.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use xennet_core::recording::{Described, Recording, Taken, Unseen};
use xennet_core::xenstore::{Client, Options, Store};
use xennet_core::{Errno, Error, ErrorKind, Host, Result};

use super::common::open;
use crate::cli::{BackendName, Global, RecordArgs};
use crate::output::Output;
use crate::{files, input};

pub(super) fn run(global: &Global, args: &RecordArgs, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    let described = std::fs::read_to_string(&args.file);
    let described = described.map(|text| Described { file: args.file.display().to_string(), text });
    // A model of the kernel has no xenstore beside it.
    let store = match global.backend {
        BackendName::Netlink => Some(Client::open(&Options::default(), &|name| std::env::var_os(name))),
        BackendName::Fake => None,
    };
    let text = described.as_ref().ok().cloned();
    let mut recording = match store {
        Some(Ok(mut store)) => host.record(taken(), text, Some(&mut store as &mut dyn Store)),
        Some(Err(e)) => {
            let mut recording = host.record(taken(), text, None);
            recording.unseen.retain(|unseen| unseen.what != "xenstore");
            recording.unseen.push(Unseen { what: "xenstore".into(), why: e.to_string() });
            recording
        }
        None => host.record(taken(), text, None),
    };
    if let Err(e) = described
        && e.kind() != std::io::ErrorKind::NotFound
    {
        recording.unseen.push(Unseen { what: args.file.display().to_string(), why: e.to_string() });
    }
    if args.anonymous {
        recording = recording.anonymous(key()?)?;
    }
    for unseen in &recording.unseen {
        output.note(&format!("{} was not looked at: {}", unseen.what, unseen.why));
    }
    let text = recording.to_json() + "\n";
    if args.path == Path::new("-") {
        return output.line(text.trim_end());
    }
    // It tells what every guest may do: nobody else is to read it.
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.path);
    let written = file.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            let shown = args.path.display().to_string();
            Error::new(ErrorKind::Conflict, format!("{shown} is there already"))
                .with_object(&shown)
                .as_before("unchanged")
                .with_hint("name another file, or remove that one first")
        }
        _ => files::failed(&args.path, "cannot be written", &e),
    })?;
    let path = args.path.display().to_string();
    output.answer(|| format!("{path}: written, {} bytes", text.len()), || json!({ "file": path, "bytes": text.len() }))
}

/// A rehearsal on a recorded host.
pub(super) fn read(file: &Path, output: &mut Output) -> Result<Host> {
    let recording = Recording::from_json(&input::file(file)?).map_err(|e| e.in_file(&file.display().to_string()))?;
    for unseen in &recording.unseen {
        output.note(&format!("{} was not looked at: {}", unseen.what, unseen.why));
    }
    Ok(Host::from_recording(&recording))
}

/// When and where.
fn taken() -> Taken {
    let system = rustix::system::uname();
    Taken {
        at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        host: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        xennet: env!("CARGO_PKG_VERSION").into(),
    }
}

/// A key that nobody knows, and that is forgotten.
fn key() -> Result<[u8; 16]> {
    let mut key = [0; 16];
    match rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty()) {
        Ok(n) if n == key.len() => Ok(key),
        Ok(_) => Err(Error::new(ErrorKind::Io, "no random key could be had")),
        Err(e) => Err(Error::new(ErrorKind::Io, "no random key could be had").with_errno(Errno(e.raw_os_error()))),
    }
}
