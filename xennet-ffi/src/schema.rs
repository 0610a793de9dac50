//! The schemas of documents, for C.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::document;

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::text::Text;

/// Gives the JSON schema (draft 2020-12) of a document that functions of this header give or take, or the list of all documents.
///
/// A document says its version in its member `version`. Another member of it makes no new version: a reader ignores what it does not know.
/// What is given to a function may leave the version out; one of another version is refused.
///
/// \param name The document's name: "plan", "show", "error"; NULL for the list.
/// \param name_len Its length in bytes; 0 for the list.
/// \param schema Gets the schema with all that it refers to; of the list `{"version": 1, "schemas": [{"name", "version", "what"}]}`.
/// \return NULL on success; else `XENNET_KIND_INVALID` for a name that no document has.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_schema(
    name: Chars,
    name_len: usize,
    schema: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_schema", || {
        let schema = given(schema, "schema")?;
        schema.write(Some(Box::new(match cast::text(&name, name_len, "name")? {
            "" => Text::json(&document::Schemas::all()),
            name => Text::new(&document::schema(name)?),
        })));
        Ok(())
    })
}
