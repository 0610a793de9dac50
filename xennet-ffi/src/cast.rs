//! C's texts as Rust's, and back: the one file with `unsafe` blocks.

#![allow(unsafe_code)]

use std::ffi::{CString, c_char};

use xennet_core::{Error, ErrorKind};

/// The longest text that a function takes, in bytes.
pub const XENNET_TEXT_MAX: usize = 1 << 20;

/// The longest recording that is taken, in bytes: one of ten thousand vifs has some ten million.
pub const XENNET_RECORDING_MAX: usize = 1 << 28;

/// A `const char *` that C gave: a promise that the length beside it is right and that the bytes stay as they are during
/// the call. Rust code cannot make one, so the functions below, which rely on the promise, are safe to call.
///
/// cbindgen:ignore
#[repr(transparent)]
pub struct Chars(*const c_char);

impl Chars {
    /// Whether C gave NULL.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }
}

/// The given bytes.
pub(crate) fn bytes<'a>(chars: &'a Chars, len: usize, name: &str) -> Result<&'a [u8], Error> {
    up_to(chars, len, name, XENNET_TEXT_MAX)
}

/// The given bytes, so many at most. NULL is taken for an empty text of length 0, and for nothing else.
fn up_to<'a>(chars: &'a Chars, len: usize, name: &str, most: usize) -> Result<&'a [u8], Error> {
    if len > most {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("{name} is too long: {len} bytes were given, {most} are taken at most"),
        )
        .with_object(name)
        .with_hint("the length counts the bytes of the text, without the final zero"));
    }
    if len == 0 {
        return Ok(&[]);
    }
    if chars.is_null() {
        return Err(crate::boundary::missing(name));
    }
    // SAFETY: not null; C promises `len` readable bytes that do not change while the borrow of `chars` lasts, which is at
    // most this call; `len` is at most XENNET_RECORDING_MAX, far below isize::MAX; every bit pattern is a u8.
    Ok(unsafe { std::slice::from_raw_parts(chars.0.cast::<u8>(), len) })
}

/// The given text, which must be UTF-8.
pub(crate) fn text<'a>(chars: &'a Chars, len: usize, name: &str) -> Result<&'a str, Error> {
    utf8(bytes(chars, len, name)?, name)
}

/// The given recording's text, which must be UTF-8.
pub(crate) fn recording<'a>(chars: &'a Chars, len: usize, name: &str) -> Result<&'a str, Error> {
    utf8(up_to(chars, len, name, XENNET_RECORDING_MAX)?, name)
}

fn utf8<'a>(bytes: &'a [u8], name: &str) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|e| {
        Error::new(
            ErrorKind::Invalid,
            format!("{name} is not UTF-8: byte {} is not part of a character", e.valid_up_to()),
        )
        .with_object(name)
        .with_hint("give the text as UTF-8; ASCII is UTF-8")
    })
}

/// A text for C, with the final zero. A zero inside would end it early, so it is shown as U+FFFD.
pub(crate) fn c_string(text: &str) -> CString {
    match CString::new(text) {
        Ok(text) => text,
        Err(_) => CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_checked_before_they_are_read() {
        let given = |text: &'static [u8]| Chars(text.as_ptr().cast());
        let null = || Chars(std::ptr::null());
        assert_eq!(text(&given(b"ab\0c"), 4, "it").unwrap(), "ab\0c");
        assert_eq!(text(&null(), 0, "it").unwrap(), "");
        assert_eq!(text(&given(b"ab"), 0, "it").unwrap(), "");
        for (chars, len, message) in [
            (null(), 1, "it is NULL"),
            (given(b"a\xffb"), 3, "it is not UTF-8: byte 1 is not part of a character"),
            (given(b"a\xc3"), 2, "it is not UTF-8: byte 1 is not part of a character"),
            (null(), usize::MAX, "it is too long: 18446744073709551615 bytes were given, 1048576 are taken at most"),
            (null(), XENNET_TEXT_MAX + 1, "it is too long: 1048577 bytes were given, 1048576 are taken at most"),
        ] {
            let e = text(&chars, len, "it").unwrap_err();
            assert_eq!((e.kind(), e.message(), e.object()), (ErrorKind::Invalid, message, Some("it")));
        }
    }

    #[test]
    fn a_zero_inside_does_not_end_a_text() {
        assert_eq!(c_string("a\0b").to_str().unwrap(), "a\u{fffd}b");
    }
}
