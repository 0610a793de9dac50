//! xenstore's nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};

/// An absolute path in xenstore.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^/")))]
#[serde(try_from = "String", into = "String")]
pub struct StorePath(String);

impl StorePath {
    /// The longest absolute path in bytes (`XENSTORE_ABS_PATH_MAX`, `xen/include/public/io/xs_wire.h`).
    pub const MAX: usize = 3072;

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path one up; `None` for `/`.
    pub fn parent(&self) -> Option<StorePath> {
        let at = self.0.rfind('/')?;
        match (at, self.0.len()) {
            (0, 1) => None,
            (0, _) => Some(StorePath("/".into())),
            _ => Some(StorePath(self.0[..at].into())),
        }
    }

    /// Whether this path is the other one or lies below it.
    pub(crate) fn is_below(&self, other: &StorePath) -> bool {
        other.0 == "/"
            || self.0.strip_prefix(other.0.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for StorePath {
    type Err = Error;

    /// Takes what xenstored takes: letters, digits, `-`, `/`, `_`, `@`; no empty part, no slash at the end.
    fn from_str(text: &str) -> Result<Self, Error> {
        let bytes = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_' | b'@');
        let ok = text == "/"
            || (text.starts_with('/')
                && !text.ends_with('/')
                && !text.contains("//")
                && text.len() <= Self::MAX
                && text.bytes().all(bytes));
        if ok {
            Ok(StorePath(text.to_owned()))
        } else {
            Err(Error::new(ErrorKind::Invalid, format!("{} is not an absolute xenstore path", quoted(text)))
                .with_object(beginning(text)))
        }
    }
}

impl TryFrom<String> for StorePath {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<StorePath> for String {
    fn from(path: StorePath) -> String {
        path.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A xenstore node: its value and who may read and write it. Children are nodes of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StoreNode {
    /// Any bytes, at most 4096 with the path; usually text without a final zero.
    pub value: Vec<u8>,
    /// The owner first, then exceptions, as in `xenstore-chmod`: `n0`, `r5`, `b3`, `w1`.
    pub permissions: Vec<StorePermission>,
}

impl StoreNode {
    /// A node with this value and these permissions, its owner first.
    pub fn new(value: impl Into<Vec<u8>>, permissions: Vec<StorePermission>) -> Self {
        StoreNode { value: value.into(), permissions }
    }
}

/// What one domain may do with a node.
///
/// There are no other parts: the protocol of xenstore has a domain and two bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct StorePermission {
    /// The domain. In the first entry of a list: the owner, and the access is that of everyone else.
    pub domid: u16,
    /// May read.
    pub read: bool,
    /// May write.
    pub write: bool,
}
