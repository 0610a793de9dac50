//! `mac generate`: an address for a guest.

use rustix::rand::{GetRandomFlags, getrandom};
use serde_json::json;
use xennet_core::macgen::Scheme;
use xennet_core::{DevId, Errno, Error, ErrorKind, Result};

use crate::cli::MacArgs;
use crate::input;
use crate::output::Output;

pub(super) fn generate(args: &MacArgs, output: &mut Output) -> Result<()> {
    let scheme: Scheme = args.scheme.parse()?;
    let devid: DevId = args.devid.parse()?;
    let seed = args.seed.as_deref().map(input::text).transpose()?;
    if seed.is_some() && !scheme.is_deterministic() {
        output.note(&format!("--seed has no effect: scheme {scheme} draws a new address each time"));
    }
    let mac = scheme.generate(seed.as_deref(), devid, entropy()?)?;
    output.answer(|| mac.to_string(), || json!({ "mac": mac, "scheme": scheme.name() }))
}

/// Six bytes of the kernel's generator. A failure is an error: an address of zeros or of old bytes would be given out twice.
fn entropy() -> Result<[u8; 6]> {
    let mut bytes = [0; 6];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        // Fewer than 256 bytes come at once or not at all (`getrandom(2)`).
        Ok(6) => Ok(bytes),
        Ok(_) => Err(Error::new(ErrorKind::Io, "the kernel's generator gave too few bytes")),
        Err(e) => Err(Error::new(ErrorKind::Io, "the kernel's random number generator gave no bytes")
            .with_errno(Errno(e.raw_os_error()))),
    }
}
