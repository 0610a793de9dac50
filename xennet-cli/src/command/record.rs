//! `record`: the network state of a host in one file; and reading such files.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use xennet_core::recording::{Described, Recording, Taken, Unseen};
use xennet_core::xenstore::{Client, Options, Store};
use xennet_core::{Errno, Error, Host, Result};

use super::common::open;
use crate::cli::{BackendName, Global, RecordArgs};
use crate::output::Output;
use crate::{files, input};

pub(super) fn run(global: &Global, args: &RecordArgs, output: &mut Output) -> Result<()> {
    let mut host = open(global)?;
    let text = std::fs::read_to_string(&args.file);
    let described = text.as_ref().ok().map(|text| Described { file: shown(&args.file), text: text.clone() });
    let mut client = match global.backend {
        BackendName::Netlink => {
            Client::open(&Options::default(), &|name| std::env::var_os(name)).map_err(|e| e.to_string())
        }
        // A model of the kernel has no xenstore beside it.
        BackendName::Fake => Err("there is none here".to_owned()),
    };
    let store = client.as_mut().map(|client| client as &mut dyn Store).map_err(|why| why.clone());
    let mut recording = host.record(taken(), described, store);
    if let Err(e) = text
        && e.kind() != ErrorKind::NotFound
    {
        recording.unseen.push(Unseen { what: shown(&args.file), why: e.to_string() });
    }
    if args.anonymous {
        recording = recording.anonymous(key()?)?;
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
    output.answer(|| format!("{path}: written, {} bytes", text.len()), || json!({ "file": path, "bytes": text.len() }))
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

/// A rehearsal on a recorded host.
pub(super) fn read(file: &Path, output: &mut Output) -> Result<Host> {
    let recording = Recording::from_json(&input::file(file)?).map_err(|e| e.in_file(&shown(file)))?;
    tell_unseen(&recording, output);
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

/// A key that nobody knows. It is not kept.
fn key() -> Result<[u8; 16]> {
    let mut key = [0; 16];
    match rustix::rand::getrandom(&mut key, rustix::rand::GetRandomFlags::empty()) {
        Ok(n) if n == key.len() => Ok(key),
        Ok(_) => Err(Error::new(xennet_core::ErrorKind::Io, "no random key could be had")),
        Err(e) => {
            Err(Error::new(xennet_core::ErrorKind::Io, "no random key could be had")
                .with_errno(Errno(e.raw_os_error())))
        }
    }
}
