//! Names of links.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};

/// The name of a link: 1 to 15 bytes, as the kernel takes it. Kept inline, so copies cost nothing.
///
/// Beyond the kernel's rule only printable ASCII is taken, so that a name can never move a terminal or break a log. A `%` is no
/// part of a name: the kernel takes a text with one for a pattern (`web%d`), and gives the link another name.
///
/// Source: `net/core/dev.c`, `dev_valid_name`, `dev_prep_valid_name`, `__dev_alloc_name`; `include/uapi/linux/if.h`, `IFNAMSIZ` (16 with the final zero).
///
/// ```
/// use xennet_core::IfName;
/// let name: IfName = "vif5.0".parse()?;
/// assert_eq!(name.tap()?.as_str(), "vif5.0-emu");
/// assert!("a-name-that-is-too-long".parse::<IfName>().is_err());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[!-$&-.0-9;-~]{1,15}$")))]
#[serde(try_from = "String", into = "String")]
pub struct IfName {
    // Zero-padded: comparing the arrays compares the names.
    bytes: [u8; IfName::MAX],
    len: u8,
}

/// Which rule a text breaks that was given as the name of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum IfNameError {
    /// Nothing was given.
    #[error("a link's name has 1 to 15 bytes, none were given")]
    Empty,
    /// More than 15 bytes; the given length.
    #[error("a link's name has at most 15 bytes, this one has {0}")]
    TooLong(usize),
    /// `.` or `..`, which would be folders in `/proc/sys`.
    #[error("a link cannot be called \".\" or \"..\"")]
    Dots,
    /// A byte that a name cannot have, and where.
    #[error("{}", bad_byte(*found))]
    BadByte {
        /// The offending character.
        found: char,
        /// Its offset in bytes.
        at: usize,
    },
}

fn bad_byte(found: char) -> String {
    match found {
        '%' => "a link's name has no '%': the kernel takes that for a pattern, and makes up a name".into(),
        _ => {
            let found = found.escape_debug();
            format!("a link's name is printable ASCII without blank, '/', ':' and '%', not '{found}'")
        }
    }
}

impl IfName {
    /// The longest name in bytes.
    pub const MAX: usize = 15;

    /// Checks a text against the rules without building an error message: what parsers call.
    ///
    /// # Errors
    /// The rule that the text breaks.
    pub fn check(text: &str) -> Result<Self, IfNameError> {
        if text.is_empty() {
            return Err(IfNameError::Empty);
        }
        let good = |b: u8| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%');
        // Bytes first: names are read far more often than they are refused.
        if !text.bytes().all(good) {
            let bad = text.char_indices().find(|(_, c)| !u8::try_from(*c).is_ok_and(good));
            if let Some((at, found)) = bad {
                return Err(IfNameError::BadByte { found, at });
            }
        }
        if text.len() > Self::MAX {
            return Err(IfNameError::TooLong(text.len()));
        }
        if text == "." || text == ".." {
            return Err(IfNameError::Dots);
        }
        let mut bytes = [0; Self::MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Ok(IfName { bytes, len: text.len() as u8 })
    }

    /// A name that is valid by construction.
    pub(crate) fn literal(text: &str) -> Self {
        Self::check(text).expect("callers pass names that are valid by construction")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).expect("only ASCII is ever stored")
    }

    /// The name of the tap that belongs to a vif of this name: `-emu` is added.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if that is longer than 15 bytes (names of 12 to 15 bytes).
    pub fn tap(&self) -> Result<IfName, Error> {
        let text = format!("{self}-emu");
        IfName::check(&text).map_err(|_| {
            Error::new(
                ErrorKind::Invalid,
                format!("{self} is too long: its tap would be \"{text}\", {} bytes, and 15 is the most", text.len()),
            )
            .with_object(self.as_str())
            .with_hint("choose a vifname of at most 11 bytes")
        })
    }
}

impl FromStr for IfName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        IfName::check(text).map_err(|rule| {
            Error::new(ErrorKind::Invalid, format!("{} is not a link's name: {rule}", quoted(text)))
                .with_object(beginning(text))
        })
    }
}

impl TryFrom<String> for IfName {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl TryFrom<&str> for IfName {
    type Error = Error;
    fn try_from(text: &str) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<IfName> for String {
    fn from(name: IfName) -> String {
        name.as_str().to_owned()
    }
}

// Order and hash are those of the text, as `Borrow<str>` demands: maps keyed by names can be asked with a `&str`.
impl PartialOrd for IfName {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for IfName {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        // Padding is zero and no name holds a zero byte: comparing the arrays compares the texts.
        self.bytes.cmp(&other.bytes)
    }
}

impl std::hash::Hash for IfName {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl Borrow<str> for IfName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for IfName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq<str> for IfName {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for IfName {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}
