//! `mac generate`: an address for a guest.

use xennet_core::document::GeneratedMac;
use xennet_core::macgen::Scheme;
use xennet_core::{DevId, Result, surroundings};

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
    let mac = scheme.generate(seed.as_deref(), devid, surroundings::entropy()?)?;
    output.answer(|| mac.to_string(), || GeneratedMac::new(mac, scheme.name()))
}
