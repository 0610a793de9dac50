//! Errors as C sees them.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::{CString, c_char};

use xennet_core::Error;

use crate::boundary::{free, read};
use crate::cast::c_string;

/// What the library's hints are called in C.
const WORDS: &[(&str, &str)] = &[
    ("by force", "with XENNET_GUESTS_ARE_CUT_OFF"),
    ("another state directory", "another state directory (state_dir)"),
];

/// Why a call failed, owned by the caller. It never changes.
///
/// What the accessors return lives until `xennet_error_free`. A part that is not known is NULL or 0.
pub struct Failure {
    kind: u32,
    errno: i32,
    outcome: u32,
    line: u32,
    column: u32,
    message: CString,
    object: Option<CString>,
    kernel_message: Option<CString>,
    step: Option<CString>,
    state: Option<CString>,
    hint: Option<CString>,
    report: CString,
    json: CString,
}

impl Failure {
    pub(crate) fn new(error: &Error) -> Self {
        let error = &error.clone().with_words(WORDS);
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let (line, column) = error.diagnostic().map_or((0, 0), |d| d.position());
        Failure {
            kind: error.kind().number().into(),
            errno: error.errno().map_or(0, |e| e.0),
            outcome: error.outcome().map_or(0, |outcome| outcome.number().into()),
            line: count(line),
            column: count(column),
            message: c_string(error.message()),
            object: error.object().map(c_string),
            kernel_message: error.kernel_message().map(c_string),
            step: error.step().map(c_string),
            state: error.state().map(c_string),
            hint: error.hint().map(c_string),
            report: c_string(&error.report()),
            json: c_string(&error.to_json()),
        }
    }

    #[cfg(test)]
    pub(crate) fn kind(&self) -> u32 {
        self.kind
    }

    #[cfg(test)]
    pub(crate) fn message(&self) -> &str {
        self.message.to_str().unwrap()
    }
}

/// What kind of error it is: one of `XENNET_KIND_*`. A newer library may know kinds that this header does not.
///
/// \return 0 (`XENNET_KIND_NONE`) if `error` is NULL, that is, if the call succeeded.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_kind(error: Option<&Failure>) -> u32 {
    read(error, |e| e.kind)
}

/// The error number that the kernel or xenstored gave, as in `<errno.h>`; 0 if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_errno(error: Option<&Failure>) -> i32 {
    read(error, |e| e.errno)
}

/// The line of the given text that is wrong, from 1; 0 if the error is not about a text.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_line(error: Option<&Failure>) -> u32 {
    read(error, |e| e.line)
}

/// The column of the given text that is wrong, in characters from 1; 0 if the error is not about a text.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_column(error: Option<&Failure>) -> u32 {
    read(error, |e| e.column)
}

/// What went wrong, in one line.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_message(error: Option<&Failure>) -> *const c_char {
    read(error, |e| e.message.as_ptr())
}

/// The link, file or argument that the error is about.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_object(error: Option<&Failure>) -> *const c_char {
    read(error, |e| or_null(&e.object))
}

/// The kernel's own sentence (netlink extended acknowledgement).
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_kernel_message(error: Option<&Failure>) -> *const c_char {
    read(error, |e| or_null(&e.kernel_message))
}

/// The step that failed, for example "step 3 of 5: vif5.0 becomes a port of xenbr0".
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_step(error: Option<&Failure>) -> *const c_char {
    read(error, |e| or_null(&e.step))
}

/// What the failed call has made of the system: one of `XENNET_OUTCOME_*`. A newer library may know others.
///
/// \return 0 (`XENNET_OUTCOME_NONE`) if `error` is NULL, and of an error that is about a value or a text, and about no call that changes
///   something.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_outcome(error: Option<&Failure>) -> u32 {
    read(error, |e| e.outcome)
}

/// The state that the system was left in, for example "restored, 2 steps undone".
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_state(error: Option<&Failure>) -> *const c_char {
    read(error, |e| or_null(&e.state))
}

/// The way out.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_hint(error: Option<&Failure>) -> *const c_char {
    read(error, |e| or_null(&e.hint))
}

/// The whole error for people: several lines without a final newline, without colour. A text that was refused stands in it
/// with a mark under the wrong place.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_report(error: Option<&Failure>) -> *const c_char {
    read(error, |e| e.report.as_ptr())
}

/// The whole error as a JSON document: `kind`, `code`, `message` and, where known, `object`, `errno`, `errno_name`,
/// `kernel_message`, `step`, `outcome`, `state`, `hint`, `line`, `column`, `span`, `rule`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_json(error: Option<&Failure>) -> *const c_char {
    read(error, |e| e.json.as_ptr())
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_error_free(error: Option<Box<Failure>>) {
    free(error);
}

fn or_null(text: &Option<CString>) -> *const c_char {
    text.as_ref().map_or(std::ptr::null(), |t| t.as_ptr())
}
