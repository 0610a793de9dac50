//! The kinds of errors by number, and the version.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::{CStr, CString, c_char};
use std::sync::OnceLock;

use xennet_core::ErrorKind;

use crate::boundary::total;
use crate::cast::c_string;

/// The version of the library that runs, for example "0.1.0"; `XENNET_VERSION` is that of the header. The text is never
/// freed.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => c"",
    };
    VERSION.as_ptr()
}

/// The short name of a kind, as it stands in JSON documents, for example "bridge-not-found". The text is never freed.
///
/// \return NULL for a number that is no kind; the kinds are numbered from 1 without holes, so this ends a loop over them.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_kind_slug(kind: u32) -> *const c_char {
    named(kind, |names| &names.slug)
}

/// What a kind means, as a sentence fragment. The text is never freed.
///
/// \return NULL for a number that is no kind.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_kind_meaning(kind: u32) -> *const c_char {
    named(kind, |names| &names.meaning)
}

struct Names {
    number: u32,
    slug: CString,
    meaning: CString,
}

fn named(kind: u32, which: impl FnOnce(&'static Names) -> &'static CString) -> *const c_char {
    static NAMES: OnceLock<Vec<Names>> = OnceLock::new();
    total(|| {
        let names = NAMES.get_or_init(|| {
            let names = ErrorKind::ALL.iter().map(|k| Names {
                number: k.number().into(),
                slug: c_string(k.slug()),
                meaning: c_string(k.meaning()),
            });
            names.collect()
        });
        names.iter().find(|n| n.number == kind).map_or(std::ptr::null(), |n| which(n).as_ptr())
    })
}
