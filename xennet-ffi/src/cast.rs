//! C's texts, lists, descriptors and functions as Rust's, and back: the one file with `unsafe` blocks.

#![allow(unsafe_code)]

use std::ffi::{CStr, CString, OsStr, c_char, c_void};
use std::os::fd::{BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;

use xennet_core::{Errno, Error, ErrorKind};

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

/// A `char *const *` that C gave, as `main` gets them: a promise that it points to texts with a final zero, so many as the number beside it says
/// or up to a NULL, and that none of them changes during the call.
///
/// cbindgen:ignore
#[repr(transparent)]
pub struct Strings(*const *const c_char);

/// The most texts that a list may have.
const STRINGS_MAX: usize = 1 << 16;

impl Strings {
    /// Whether C gave NULL.
    pub(crate) fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The texts up to the first NULL, so many at most.
    pub(crate) fn read(&self, most: usize, name: &str) -> Result<Vec<&OsStr>, Error> {
        if self.0.is_null() && most > 0 {
            return Err(crate::boundary::missing(name));
        }
        let mut texts = Vec::new();
        for at in 0..most {
            if at == STRINGS_MAX {
                return Err(Error::new(ErrorKind::Invalid, format!("{name} has more than {STRINGS_MAX} texts"))
                    .with_object(name)
                    .with_hint("does it end with NULL?"));
            }
            // SAFETY: C promises as many readable pointers as it says, or a NULL behind the last one, behind which nothing is read.
            let text = unsafe { self.0.add(at).read() };
            if text.is_null() {
                break;
            }
            // SAFETY: not null; C promises a zero behind the text, and that it does not change while the borrow of `self` lasts.
            texts.push(OsStr::from_bytes(unsafe { CStr::from_ptr(text) }.to_bytes()));
        }
        Ok(texts)
    }
}

/// A function of the program for log messages (`xennet_settings_log`). It gets its context, the level (`XENNET_LOG_*`), a sentence and a JSON
/// document. A C++ exception that leaves it ends the program.
//
// `C-unwind` makes that defined: Rust's `catch_unwind` refuses the exception.
pub type Log = Option<extern "C-unwind" fn(*mut c_void, u32, *const c_char, *const c_char)>;

/// A `void *` of C's that its function gets back. Nothing is ever read behind it.
///
/// cbindgen:ignore
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct Context(pub(crate) *mut c_void);

// SAFETY: the pointer is handed back to C and not followed; the header says that C's function is called by any thread that calls with the
// object.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

/// Moves the calling thread into a new network namespace.
pub(crate) fn leave_network() -> Result<(), Errno> {
    // SAFETY: the function is unsafe for the sake of flags that give threads different memory or descriptors; this flag does not.
    let left = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) };
    left.map_err(|e| Errno(e.raw_os_error()))
}

/// A descriptor that C gave, for the time of a call.
pub(crate) fn descriptor<'a>(fd: i32, name: &str) -> Result<BorrowedFd<'a>, Error> {
    let fd: RawFd = fd;
    if fd < 0 {
        return Err(Error::new(ErrorKind::Invalid, format!("{name} is {fd}, which is no descriptor"))
            .with_object(name)
            .with_hint("give an open descriptor, as of pipe(2)"));
    }
    // SAFETY: not -1; C promises that it stays open during the call. One that is not open is answered with EBADF by the system.
    Ok(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The given bytes.
pub(crate) fn bytes<'a>(chars: &'a Chars, len: usize, name: &str) -> Result<&'a [u8], Error> {
    up_to(chars, len, name, XENNET_TEXT_MAX)
}

/// The longest path that the system takes, in bytes, without the final zero (`PATH_MAX`).
const PATH_MAX: usize = 4095;

/// The given path: bytes, of any encoding.
pub(crate) fn path<'a>(chars: &'a Chars, len: usize, name: &str) -> Result<&'a OsStr, Error> {
    up_to(chars, len, name, PATH_MAX).map(OsStr::from_bytes)
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
    fn a_list_ends_with_its_number_or_with_null() {
        let (one, two) = (c"one".as_ptr(), c"two".as_ptr());
        let pointers = [one, two, std::ptr::null(), one];
        let list = || Strings(pointers.as_ptr());
        assert_eq!(list().read(1, "list").unwrap(), ["one"]);
        assert_eq!(list().read(usize::MAX, "list").unwrap(), ["one", "two"]);
        assert!(Strings(std::ptr::null()).read(0, "list").unwrap().is_empty());
        assert_eq!(Strings(std::ptr::null()).read(1, "list").unwrap_err().message(), "list is NULL");
        let endless = vec![one; STRINGS_MAX + 1];
        let e = Strings(endless.as_ptr()).read(usize::MAX, "list").unwrap_err();
        assert_eq!(e.message(), "list has more than 65536 texts");
        assert_eq!(descriptor(-1, "said").unwrap_err().message(), "said is -1, which is no descriptor");
    }

    #[test]
    fn a_zero_inside_does_not_end_a_text() {
        assert_eq!(c_string("a\0b").to_str().unwrap(), "a\u{fffd}b");
    }
}
