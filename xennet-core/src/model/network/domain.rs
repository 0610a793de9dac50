//! The domain that guests are told.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::error::Error;
use crate::model::flaw::quoted;

/// A domain of the DNS, in small letters: words of letters, digits and `-` with dots between them (RFC 1123, 2.1), at most 63 bytes
/// each and 253 together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[a-z0-9-]+(\\.[a-z0-9-]+)*$")))]
#[serde(try_from = "String", into = "String")]
pub struct DnsDomain(String);

impl DnsDomain {
    pub(crate) const RULE: &'static str = "words of letters, digits and - with dots between them, as in guests.example";

    pub(crate) fn check(given: &str) -> Option<Self> {
        (given.len() <= 253 && given.split('.').all(is_label)).then(|| DnsDomain(given.to_ascii_lowercase()))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DnsDomain {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        DnsDomain::check(text).ok_or_else(|| invalid(&quoted(text), "a domain", DnsDomain::RULE))
    }
}

impl TryFrom<String> for DnsDomain {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<DnsDomain> for String {
    fn from(domain: DnsDomain) -> String {
        domain.0
    }
}

impl fmt::Display for DnsDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Whether a text is one word of a domain's name.
pub(crate) fn is_label(text: &str) -> bool {
    let letter = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    (1..=63).contains(&text.len()) && text.bytes().all(letter) && !text.starts_with('-') && !text.ends_with('-')
}
