//! The arguments of `xl network-attach DOMAIN`: one `key=value` each.

use super::xl::{Outcome, XlNic, no_nul, option};
use super::{Dialect, Parsed, findings, spec, xm};
use crate::error::Error;
use crate::model::VifSpec;
use crate::model::flaw::{Flaw, quoted};

/// Where each argument starts in the text that positions are about: the arguments with a blank between them.
pub(super) fn joined(args: &[impl AsRef<str>]) -> (String, Vec<usize>) {
    let mut text = String::new();
    let mut starts = Vec::with_capacity(args.len());
    for arg in args {
        if !starts.is_empty() {
            text.push(' ');
        }
        starts.push(text.len());
        text.push_str(arg.as_ref());
    }
    (text, starts)
}

/// Reads the arguments that follow the domain's name.
///
/// Each argument is one `key=value` or flag. A comma list in one argument is what everyone tries first: xl loses what
/// stands behind the comma, or makes it part of the value; here it is an error. Positions count in the arguments joined
/// with blanks.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) with position, rule and hint.
///
/// ```
/// use xennet_core::config::{Dialect, parse_attach};
/// assert!(parse_attach(&["mac=00:16:3e:01:02:03", "bridge=br1"], Dialect::Strict).is_ok());
/// let error = parse_attach(&["mac=00:16:3e:01:02:03,bridge=br1"], Dialect::Strict).unwrap_err();
/// assert_eq!(error.hint(), Some("write mac=00:16:3e:01:02:03 bridge=br1"));
/// ```
pub fn parse_attach(args: &[impl AsRef<str>], dialect: Dialect) -> Result<Parsed<VifSpec>, Error> {
    let (text, starts) = joined(args);
    match dialect {
        Dialect::Xl => {
            let Parsed { value, notes } = parse_attach_xl(args)?;
            let value = value.to_spec().map_err(|(key, flaw)| {
                let place = args.iter().zip(&starts).rev().find_map(|(arg, start)| {
                    let value = arg.as_ref().strip_prefix(key)?.strip_prefix('=')?;
                    Some((start + key.len() + 1, value.len()))
                });
                let (at, len) = place.unwrap_or((0, text.len()));
                let mut flaw = flaw;
                if flaw.span.is_empty() || flaw.span.end > len {
                    flaw.span = 0..len;
                }
                flaw.at(at).error(&text)
            })?;
            Ok(Parsed { value, notes })
        }
        Dialect::Strict | Dialect::Xm => {
            let mut builder = spec::Builder::new();
            for (arg, at) in args.iter().zip(&starts) {
                let arg = arg.as_ref();
                one(&mut builder, arg, *at, dialect).map_err(|flaw| flaw.error(&text))?;
            }
            let notes = std::mem::take(&mut builder.notes);
            let value = builder.finish().map_err(|flaw| flaw.error(&text))?;
            Ok(Parsed { value, notes: findings(notes, &text) })
        }
    }
}

fn one(builder: &mut spec::Builder, arg: &str, at: usize, dialect: Dialect) -> Result<(), Box<Flaw>> {
    if let Some(comma) = arg.find(',') {
        let words: Vec<&str> = arg.split(',').map(str::trim).filter(|w| !w.is_empty()).collect();
        return Err(Flaw::new(
            at + comma..at + comma + 1,
            format!("{} has a comma in it", quoted(arg)),
            "each argument is one KEY=VALUE; xl loses or swallows what follows a comma",
        )
        .hint(format!("write {}", words.join(" "))));
    }
    match (arg.split_once('='), dialect) {
        (_, Dialect::Xm) => xm::item(builder, arg, at),
        (Some((key, value)), _) => builder.set(key, value, arg, at),
        (None, _) => builder.flag(arg, at),
    }
}

/// Reads the arguments as xl does and gives what it would hand to libxl.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where xl stops: here also for an unknown key and for a bad `mac` or `type`, which
/// `xl create` only complains of.
///
/// Source: `tools/xl/xl_nic.c`, `main_networkattach`.
pub fn parse_attach_xl(args: &[impl AsRef<str>]) -> Result<Parsed<XlNic>, Error> {
    let (text, starts) = joined(args);
    let mut nic = XlNic::default();
    let mut notes = Vec::new();
    let mut seen = Vec::new();
    for (arg, at) in args.iter().zip(&starts) {
        let arg = arg.as_ref();
        no_nul(arg).map_err(|flaw| flaw.at(*at).error(&text))?;
        if let Some(comma) = arg.find(',') {
            notes.push(
                *Flaw::new(
                    comma..comma + 1,
                    format!("{} has a comma in it", quoted(arg)),
                    "xl takes one KEY=VALUE per argument",
                )
                .hint("write a blank for the comma")
                .at(*at),
            );
        }
        match option(&mut nic, arg, &mut seen, &mut notes, *at).map_err(|flaw| flaw.error(&text))? {
            Outcome::Taken => {}
            Outcome::Complaint(flaw) => return Err(flaw.at(*at).error(&text)),
        }
    }
    Ok(Parsed { value: nic, notes: findings(notes, &text) })
}
