//! Text in, values out, every error with its position.
//!
//! Three dialects of the same language ([`Dialect`]): ours, which refuses whatever xl would drop or misread; xl's own, bit
//! for bit, with a note for everything it swallows; and that of the older `xm`. What can be read:
//!
//! | text | typed | as xl hands it to libxl | as a document |
//! |---|---|---|---|
//! | one vif spec | [`parse_vif`] | [`parse_vif_xl`] | [`document::vif`] |
//! | `vif = [ ... ]` in a config file | [`parse_vif_list`] | [`parse_vif_list_xl`] | [`document::vif_list`] |
//! | arguments of `xl network-attach` | [`parse_attach`] | [`parse_attach_xl`] | [`document::attach`] |
//! | `rate=` | [`parse_rate`] | [`parse_rate_xl`] | [`document::rate`] |
//! | `vlan=`, `mac=` | [`str::parse`] | | [`document::vlan`], [`document::mac`] |
//! | `/etc/xennet/hotplug.toml` | [`hotplug::Settings::parse`] | | |
//! | `/etc/xennet/networks.toml` | [`networks::parse`] | | [`document::networks()`] |
//!
//! With the feature `import`, what Xen up to 4.4 had can be read, too. `import::import` makes networks of it.
//!
//! | text | typed | as a document |
//! |---|---|---|
//! | `xend-config.sxp` | `parse_xend_config` | `document::xend_config` |
//! | a wrapper script around `network-bridge` | `parse_wrapper` | |
//! | arguments of `network-bridge` and its siblings | `legacy::LegacyCall::parse` | |
//! | `vif = [ ... ]` in a config file of `xm` | [`parse_vif_list`] | [`document::vif_list`] |
//!
//! Nothing here touches the system: whether a bridge exists is asked later.

mod attach;
pub mod document;
mod hint;
pub mod hotplug;
#[cfg(feature = "import")]
pub mod import;
#[cfg(feature = "import")]
pub mod legacy;
pub mod networks;
mod number;
#[cfg(feature = "import")]
mod python;
mod rate;
pub(crate) mod reference;
mod spec;
mod statement;
#[cfg(feature = "import")]
mod sxp;
mod syntax;
mod tables;
#[cfg(feature = "import")]
mod wrapper;
#[cfg(feature = "import")]
mod xend;
mod xl;
mod xm;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Diagnostic, Error, ErrorKind};
use crate::model::VifSpec;
use crate::model::flaw::Flaw;

pub use attach::{parse_attach, parse_attach_xl};
pub use rate::{XlRate, parse_rate, parse_rate_xend, parse_rate_xl};
pub use reference::{VIF_KEYS, VifKey};
pub use statement::{parse_vif_list, parse_vif_list_xl};
#[cfg(feature = "import")]
pub use wrapper::{WrapperCall, parse_wrapper};
#[cfg(feature = "import")]
pub use xend::{XendConfig, parse_xend_config};
pub use xl::XlNic;

/// Whose rules a text is read by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Dialect {
    /// Ours: every value is checked, and what xl drops, guesses or misreads is an error.
    #[default]
    Strict,
    /// What `xl` of Xen 4.17 takes (and `vlan=` of 4.19), with a note for all that it swallows. Where it reads memory
    /// beyond the value (`mac=` with fewer than six groups) we do not follow: the note says so.
    Xl,
    /// What `xm` took until Xen 4.4: blanks around `=` and `,`, decimal rates, `type=netfront`; in files also tuples,
    /// adjacent strings and `+` between strings. Python itself is not run. Values are checked as in `Strict`.
    /// Files are read with the feature `import` only.
    Xm,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: &'static [Dialect] = &[Dialect::Strict, Dialect::Xl, Dialect::Xm];

    /// The name used on the command line and in documents.
    pub const fn name(self) -> &'static str {
        match self {
            Dialect::Strict => "strict",
            Dialect::Xl => "xl",
            Dialect::Xm => "xm",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Dialect {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Self::ALL.iter().copied().find(|d| d.name() == text).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("{} is no dialect", crate::model::flaw::quoted(text)))
                .with_object(text)
                .with_hint("the dialects are strict, xl and xm")
        })
    }
}

/// What was read, and what the reader should know about the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Parsed<T> {
    /// The value.
    pub value: T,
    /// Findings that did not stop the reading: what xl swallows or misreads, old spellings, likely mistakes.
    pub notes: Vec<Diagnostic>,
}

impl<T> Parsed<T> {
    /// A value with what was remarked on its way.
    pub const fn new(value: T, notes: Vec<Diagnostic>) -> Self {
        Parsed { value, notes }
    }
}

impl<T> Parsed<T> {
    pub(crate) fn map<U>(self, f: impl FnOnce(T) -> U) -> Parsed<U> {
        Parsed { value: f(self.value), notes: self.notes }
    }
}

/// How many notes are told at most. Each carries the text that it is about, which may be long.
const NOTES: usize = 64;

/// Findings as notes; of very many the first ones, and how many there were.
fn findings(flaws: Vec<Flaw>, text: &str) -> Vec<Diagnostic> {
    let all = flaws.len();
    let mut notes: Vec<Diagnostic> = flaws.into_iter().take(NOTES).map(|flaw| flaw.diagnostic(text)).collect();
    if all > NOTES {
        let rule = format!("the first {NOTES} findings of {all} are told");
        notes.push(
            Flaw::new(text.len()..text.len(), "many findings", rule).hint("is this the right text?").diagnostic(text),
        );
    }
    notes
}

/// Reads one vif spec: one string of `vif = [ ... ]`.
///
/// In [`Dialect::Xl`] the text is read as xl reads it and the outcome then checked: what xl would pass on and no vif can
/// have (a bridge called `"br0 "`) is an error here; [`parse_vif_xl`] has it as it is.
///
/// # Errors
/// [`ErrorKind::Invalid`] with position, rule and hint.
///
/// ```
/// use xennet_core::config::{Dialect, parse_vif};
/// let parsed = parse_vif("bridge=xenbr0,netdev=eth1", Dialect::Strict)?;
/// assert_eq!(parsed.value.gatewaydev().unwrap(), "eth1");
/// assert_eq!(parsed.notes[0].hint.as_deref(), Some("write gatewaydev="));
///
/// let error = parse_vif("mac=00:16:3e:01:02,bridge=xenbr0", Dialect::Strict).unwrap_err();
/// assert_eq!(error.diagnostic().unwrap().position(), (1, 5));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn parse_vif(text: &str, dialect: Dialect) -> Result<Parsed<VifSpec>, Error> {
    match dialect {
        Dialect::Strict => spec::read(text).map_err(|flaw| flaw.error(text)),
        Dialect::Xm => xm::read(text).map_err(|flaw| flaw.error(text)),
        Dialect::Xl => {
            let Parsed { value, notes } = parse_vif_xl(text)?;
            let value = value.to_spec().map_err(|(key, flaw)| xl::locate(text, key, flaw).error(text))?;
            Ok(Parsed { value, notes })
        }
    }
}

/// Reads one vif spec as `xl create` does and gives what it would hand to libxl, defaults not filled in.
///
/// # Errors
/// [`ErrorKind::Invalid`] where xl would stop: a bad `rate`, `mtu` or `devid`; and for a text with a NUL character.
pub fn parse_vif_xl(text: &str) -> Result<Parsed<XlNic>, Error> {
    xl::read(text).map_err(|flaw| flaw.error(text))
}

impl FromStr for VifSpec {
    type Err = Error;

    /// The strict dialect; what would only be a note is accepted.
    fn from_str(text: &str) -> Result<Self, Error> {
        parse_vif(text, Dialect::Strict).map(|parsed| parsed.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_findings_is_cut_off() {
        let spec = "x=1,".repeat(10_000);
        let notes = parse_vif_xl(&spec).unwrap().notes;
        assert_eq!(notes.len(), NOTES + 1);
        assert_eq!(notes[NOTES].rule, "the first 64 findings of 10000 are told");
        let file = format!("vif = [ {} ]", "'x=1', ".repeat(10_000));
        assert_eq!(parse_vif_list_xl(&file).unwrap().notes.len(), NOTES + 1);
    }
}
