//! What the schemas of documents need besides the derives: schemas of other crates' types, and of types with a `Serialize` of their own.

/// A type whose schema is what an expression makes.
macro_rules! schema_of {
    ($type:ty, $name:literal, |$generator:pat_param| $schema:expr) => {
        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn schema_id() -> std::borrow::Cow<'static, str> {
                concat!(module_path!(), "::", $name).into()
            }

            fn json_schema($generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $schema
            }
        }
    };
}
pub(crate) use schema_of;

/// A type whose serializer writes this document.
macro_rules! written_as {
    ($type:ty, $name:literal, $document:ty) => {
        $crate::schema::schema_of!($type, $name, |generator| <$document>::json_schema(generator));
    };
}
pub(crate) use written_as;

/// A type that is written as one of these words.
macro_rules! written_as_words {
    ($type:ty, $name:literal, $words:expr) => {
        $crate::schema::schema_of!($type, $name, |_| {
            let words: Vec<&str> = $words;
            schemars::json_schema!({ "type": "string", "enum": words })
        });
    };
}
pub(crate) use written_as_words;

#[cfg(feature = "schema")]
pub(crate) use net::Net;

#[cfg(feature = "schema")]
mod net {
    use std::borrow::Cow;

    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

    /// Stands for an [`IpNetwork`](ipnetwork::IpNetwork): an address, a slash, the length of the prefix.
    pub(crate) struct Net;

    impl JsonSchema for Net {
        fn schema_name() -> Cow<'static, str> {
            "IpNetwork".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            json_schema!({
                "description": "An IPv4 or IPv6 address, a slash, and the length of the prefix: `10.0.0.0/24`, `fd00:1::1/64`.",
                "type": "string",
                "pattern": "^[0-9a-fA-F:.]+/[0-9]{1,3}$",
            })
        }
    }
}
