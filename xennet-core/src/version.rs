//! The versions of JSON documents.
//!
//! A document says its version in a member of its root, `"version": 1`. Another member of it makes no new version, so who reads a document
//! must ignore what they do not know. A member that goes, or that gets another type or meaning, does. Documents that users may keep and
//! give back (a plan, a network, a vif) are read with their version or without it; one of another version is refused.

use serde::de::{self, Deserialize, Deserializer};
use serde::{Serialize, Serializer};

/// The member of a document that says its version: always the number `N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version<const N: u32>;

impl<const N: u32> Version<N> {
    /// The number.
    pub const fn number(self) -> u32 {
        N
    }
}

impl<const N: u32> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
    }
}

impl<'de, const N: u32> Deserialize<'de> for Version<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u64::deserialize(deserializer)? {
            n if n == u64::from(N) => Ok(Version),
            n => Err(de::Error::custom(format!("it is of version {n}, and this xennet reads version {N}"))),
        }
    }
}

#[cfg(feature = "schema")]
impl<const N: u32> schemars::JsonSchema for Version<N> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("Version{N}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "The version of this document.", "type": "integer", "const": N })
    }
}
