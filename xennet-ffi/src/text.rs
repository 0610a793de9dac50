//! Texts that the library made, owned by the caller.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::{CString, c_char};

use serde::Serialize;
use xennet_core::Error;

use crate::boundary::{free, read};
use crate::cast::c_string;

/// A text that a function returned: UTF-8, usually one JSON document; of xenstore, the bytes of a value. It never changes.
pub struct Text {
    /// With a zero behind the last one.
    bytes: Vec<u8>,
}

impl Text {
    pub(crate) fn new(text: &str) -> Self {
        Text { bytes: c_string(text).into_bytes_with_nul() }
    }

    /// The bytes as they are, zeros among them.
    pub(crate) fn of(mut bytes: Vec<u8>) -> Self {
        bytes.push(0);
        Text { bytes }
    }

    pub(crate) fn json(document: &impl Serialize) -> Self {
        Text { bytes: json(document).into_bytes_with_nul() }
    }

    /// The document that was written.
    #[cfg(test)]
    pub(crate) fn document(&self) -> serde_json::Value {
        serde_json::from_slice(self.bytes.strip_suffix(b"\0").unwrap()).unwrap()
    }
}

/// A JSON document.
pub(crate) fn json(document: &impl Serialize) -> CString {
    c_string(&serde_json::to_string(document).expect("no map of this library has keys other than texts"))
}

/// The bytes of the text, with a zero behind the last one, so that it is a C string as well. They live until
/// `xennet_text_free`.
///
/// \return NULL if `text` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_text_data(text: Option<&Text>) -> *const c_char {
    read(text, |text| text.bytes.as_ptr().cast())
}

/// The length of the text in bytes, without the final zero.
///
/// \return 0 if `text` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_text_len(text: Option<&Text>) -> usize {
    read(text, |text| text.bytes.len() - 1)
}

/// Frees a text. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_text_free(text: Option<Box<Text>>) {
    free(text);
}

/// Reads a JSON document that C gave, with its version or without.
pub(crate) fn read_json<T: serde::de::DeserializeOwned>(text: &str, name: &str) -> Result<T, Error> {
    xennet_core::document::read(text, name, 1)
}
