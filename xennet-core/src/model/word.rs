//! Texts that stand unquoted in a vif spec.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, quoted};
use crate::error::Error;

/// A text that a vif spec can carry as it is: not empty, and without blanks, control characters, commas, quotes and
/// backslashes, which mean something to a spec, to a config file or to a shell that reads the value later.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[^\\s,\"'\\\\]+$")))]
#[serde(try_from = "String", into = "String")]
pub struct Word(Box<str>);

impl Word {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a spec can carry this character in a value.
    pub(crate) fn takes(c: char) -> bool {
        !(c.is_whitespace() || c.is_control() || matches!(c, ',' | '\'' | '"' | '\\'))
    }

    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        // ASCII needs no table lookups: the usual case first.
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b'\'' | b'"' | b'\\');
        if !text.is_empty() && (text.bytes().all(plain) || text.chars().all(Word::takes)) {
            return Ok(Word(text.into()));
        }
        let rule =
            "a value has at least one character, and no blanks, control characters, commas, quotes or backslashes";
        Err(match text.char_indices().find(|(_, c)| !Word::takes(*c)) {
            None => Flaw::new(0..0, "an empty value", rule),
            Some((at, c)) => {
                Flaw::new(at..at + c.len_utf8(), format!("{} cannot stand in a vif spec", quoted(text)), rule)
            }
        })
    }
}

impl FromStr for Word {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Word::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<String> for Word {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<Word> for String {
    fn from(word: Word) -> String {
        word.0.into()
    }
}

impl AsRef<str> for Word {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}
