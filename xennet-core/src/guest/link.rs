//! The name of an interface inside a guest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::model::DevId;
use crate::model::flaw::{beginning, quoted};

/// The name of an interface inside a guest, of any system: `eth0`, `xn0`, `Local Area Connection 2`.
///
/// At most 255 characters without quotes and control characters. A format of Linux or FreeBSD takes fewer:
/// [`Format::render`](super::Format::render) refuses the others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct GuestLink(String);

impl GuestLink {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What Linux calls the interface of this index, unless a rule of the guest's renames it.
    pub(super) fn linux(devid: DevId) -> Self {
        GuestLink(format!("eth{devid}"))
    }

    /// The name for a format of Linux.
    pub(super) fn checked_linux(&self, format: &str) -> Result<&str, Error> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
        let fits = self.0.len() <= 15 && self.0.bytes().all(good) && !self.0.starts_with(['.', '-']);
        if fits {
            Ok(&self.0)
        } else {
            Err(self.refused(format, "letters, digits and ._- and at most 15 of them", "eth0"))
        }
    }

    /// The name for FreeBSD, where it is part of the name of a shell variable.
    pub(super) fn checked_freebsd(&self, format: &str) -> Result<&str, Error> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        let fits = self.0.len() <= 15 && self.0.bytes().all(good);
        if fits {
            Ok(&self.0)
        } else {
            Err(self.refused(format, "letters, digits and _, and at most 15 of them", "xn0"))
        }
    }

    fn refused(&self, format: &str, rule: &str, example: &str) -> Error {
        let message = format!("interface \"{}\" cannot stand in {format}: its name has {rule}", self.0.escape_debug());
        Error::new(ErrorKind::Unsupported, message)
            .with_object(self.0.as_str())
            .with_hint(format!("name it as the guest does, for example {example}"))
    }
}

impl FromStr for GuestLink {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let good = |c: char| !c.is_control() && !matches!(c, '"' | '\u{2028}' | '\u{2029}');
        let fits = (1..=255).contains(&text.chars().count()) && text.chars().all(good) && text.trim() == text;
        if fits {
            return Ok(GuestLink(text.to_owned()));
        }
        let message = format!(
            "{} is not the name of a guest's interface: 1 to 255 characters, without quotes, control characters and blanks at the ends",
            quoted(text)
        );
        Err(Error::new(ErrorKind::Invalid, message)
            .with_object(beginning(text))
            .with_hint("for example eth0, xn0 or Ethernet"))
    }
}

impl TryFrom<String> for GuestLink {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<GuestLink> for String {
    fn from(link: GuestLink) -> String {
        link.0
    }
}

impl fmt::Display for GuestLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}
