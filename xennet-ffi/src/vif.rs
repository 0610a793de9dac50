//! What a vif shall be: reading it.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::config::{self, Dialect};
use xennet_core::document::ParsedVif;
use xennet_core::{Error, VifSpec};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::text::Text;

/// The strict dialect: what xl would drop, guess or misread is an error.
pub const XENNET_DIALECT_STRICT: u32 = 0;
/// The dialect of xl: what xl takes, with a note for all that it swallows.
pub const XENNET_DIALECT_XL: u32 = 1;
/// The dialect of the older xm.
pub const XENNET_DIALECT_XM: u32 = 2;

/// Reads a vif line, one string of `vif = [ ... ]` in a domain's configuration.
///
/// \param dialect `XENNET_DIALECT_*`.
/// \param line The line, UTF-8.
/// \param line_len Its length in bytes.
/// \param document Gets a JSON document: `nic` is the vif with libxl's field names, which `xennet_host_attach` takes in
///   place of a line; `notes` are sentences for the reader: what has no effect, what xl would have swallowed.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_vif_parse(
    dialect: u32,
    line: Chars,
    line_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_vif_parse", || {
        let document = given(document, "document")?;
        let dialect = crate::parse::dialect(dialect)?;
        let text = cast::text(&line, line_len, "line")?;
        let parsed = config::document::vif(text, dialect)?;
        document.write(Some(Box::new(Text::json(&ParsedVif::of(&parsed)))));
        Ok(())
    })
}

/// Reads a vif as the other functions take it: a line in the strict dialect, or a JSON document (which a line never looks
/// like: no key starts with a brace).
///
/// What reading a line remarks goes to the notes of what is done with it.
pub(crate) fn spec(chars: &Chars, len: usize) -> Result<(VifSpec, Vec<String>), Error> {
    let text = cast::text(chars, len, "vif")?;
    if text.trim_ascii_start().starts_with('{') {
        return Ok((crate::text::read_json(text, "vif")?, Vec::new()));
    }
    let parsed = config::parse_vif(text, Dialect::Strict)?;
    Ok((parsed.value, parsed.notes.iter().map(ToString::to_string).collect()))
}
