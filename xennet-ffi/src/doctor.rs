//! Recordings of a host, and what is wrong with it, for C.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::path::Path;

use xennet_core::doctor::{self, Code};
use xennet_core::recording::Recording;
use xennet_core::{Error, ErrorKind, surroundings};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::text::Text;

/// For `xennet_host_record`: public addresses, hardware addresses and the names of the host and of domains are replaced by others.
pub const XENNET_RECORD_ANONYMOUS: u32 = 1;

/// Records all that can be seen of a host: links, addresses, routes, settings, nft tables, the records of xennet, what xenstore says of vifs,
/// the networks file, and other programs' files. Changes nothing. Its cost grows with the host.
///
/// \param host The host.
/// \param file The path of the file with the descriptions of networks; NULL for "/etc/xennet/networks.toml".
/// \param file_len Its length in bytes.
/// \param flags 0, or `XENNET_RECORD_ANONYMOUS`.
/// \param document Gets the recording, a JSON document, as `xennet record` writes it: `{"version": 1, "taken", "snapshot", ...}`. What could not
///   be looked at stands in it, in `unseen`.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_record(
    host: Option<&Host>,
    file: Chars,
    file_len: usize,
    flags: u32,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_record", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        if flags & !XENNET_RECORD_ANONYMOUS != 0 {
            return Err(Error::new(ErrorKind::Invalid, format!("flags cannot be {flags}"))
                .with_object("flags")
                .with_hint("0, or XENNET_RECORD_ANONYMOUS"));
        }
        let file = match file.is_null() {
            true => xennet_core::config::networks::PATH,
            false => cast::text(&file, file_len, "file")?,
        };
        let mut recording = host
            .work("xennet_host_record", |core| Ok(surroundings::record(core, Path::new(file), Some(Path::new("/")))))?;
        if flags & XENNET_RECORD_ANONYMOUS != 0 {
            recording = surroundings::anonymous(&recording)?;
        }
        document.write(Some(Box::new(Text::json(&recording))));
        Ok(())
    })
}

/// Says what is wrong with a recorded host, and what mends it. Uses its arguments alone; nothing on this host is read.
///
/// \param recording A JSON document of `xennet_host_record` or `xennet record`.
/// \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
/// \param document Gets a JSON document: `{"version": 1, "findings": [{"code", "level", "object", "title", "cause", "evidence", "fix"}]}`, the
///   worst finding first. `level` is "error", "warning" or "note"; `evidence` has the facts that were observed; `fix` is null, or
///   `{"command", "plan"}`, where `plan` is null, or a plan for `xennet_host_apply_json`. `xennet_doctor_codes` has all codes.
/// \return NULL on success; `XENNET_KIND_INVALID` for a text that is no recording, or one of another version.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_doctor(
    recording: Chars,
    recording_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_doctor", || {
        let document = given(document, "document")?;
        let recording = Recording::from_json(cast::recording(&recording, recording_len, "recording")?)?;
        document.write(Some(Box::new(Text::new(&doctor::document(&doctor::examine(&recording))))));
        Ok(())
    })
}

/// All kinds of findings.
///
/// \param document Gets a JSON document: `{"version": 1, "codes": [{"code", "name", "level", "title", "meaning"}]}`, in the order of the codes. A
///   code is never given to another kind. `enum xennet_finding` has their numbers.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_doctor_codes(document: Option<&mut MaybeUninit<Option<Box<Text>>>>) -> Option<Box<Failure>> {
    fallible("xennet_doctor_codes", || {
        given(document, "document")?.write(Some(Box::new(Text::new(&Code::document()))));
        Ok(())
    })
}
