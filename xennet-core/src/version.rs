//! The versions of JSON documents.
//!
//! A document says its version in a member of its root, `"version": 1`. Adding a member keeps the version, so readers must ignore unknown
//! members. Removing a member, or changing its type or meaning, needs a new version. Documents that users may keep and
//! give back (a plan, a network, a vif) are read with their version or without it; one of another version is refused.

use serde::{Serialize, Serializer};

/// The member of a document that says its version: always the number `N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Version<const N: u32>;

impl<const N: u32> Serialize for Version<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(N)
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
