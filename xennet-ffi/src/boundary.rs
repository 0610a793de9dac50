//! What becomes of NULL and of a panic, decided once for every function of the ABI.
//!
//! | the function | an argument is NULL | a panic inside |
//! |---|---|---|
//! | answers with an error ([`fallible`]) | error `XENNET_KIND_INVALID` that names it | error `XENNET_KIND_INTERNAL` |
//! | reads from a handle ([`read`]) | NULL, 0 | NULL, 0 |
//! | frees a handle ([`free`]) | nothing happens | the handle is gone, some memory may leak |
//! | is a whole program ([`program`]) | told on standard error, exit status 1 | the same |

use std::any::Any;
use std::ffi::c_char;
use std::io::Write as _;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};

use xennet_core::error::panic_words;
use xennet_core::{Error, ErrorKind};

use crate::error::Failure;

/// Where a function writes its result: a pointer to C's variable, which may be uninitialised, or NULL.
pub(crate) type Out<'a, T> = Option<&'a mut MaybeUninit<Option<Box<T>>>>;

/// Runs the body of a function that can fail. NULL (`None`) means success.
///
/// What a panic may have left half done lies behind a handle; [`Host`](crate::host::Host) refuses work from then on, and
/// the other handles never change. So nothing broken can be seen afterwards.
pub(crate) fn fallible(entry: &'static str, body: impl FnOnce() -> Result<(), Error>) -> Option<Box<Failure>> {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return None,
        Ok(Err(error)) => error,
        Err(panic) => panicked(entry, &*panic),
    };
    Some(Box::new(Failure::new(&error)))
}

/// Runs what does the work of a whole program: it says by itself what goes wrong, and its result is an exit status.
pub(crate) fn program(entry: &'static str, body: impl FnOnce() -> Result<i32, Error>) -> i32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(error)) => error,
        Err(panic) => panicked(entry, &*panic),
    };
    say(&format!("{entry}: {}", error.report()));
    1
}

/// Says a line on standard error. Where that is closed there is nobody to tell.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Reads from a handle that may be NULL.
pub(crate) fn read<T: ?Sized, R: Nothing>(handle: Option<&T>, body: impl FnOnce(&T) -> R) -> R {
    match handle {
        Some(handle) => total(|| body(handle)),
        None => R::nothing(),
    }
}

/// Runs the body of a function that cannot fail.
pub(crate) fn total<R: Nothing>(body: impl FnOnce() -> R) -> R {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|_| R::nothing())
}

/// Frees a handle that may be NULL.
pub(crate) fn free<T>(handle: Option<Box<T>>) {
    total(|| drop(handle));
}

/// The value of an argument that must not be NULL.
pub(crate) fn given<T>(argument: Option<T>, name: &str) -> Result<T, Error> {
    argument.ok_or_else(|| missing(name))
}

/// The error of an argument that is NULL.
pub(crate) fn missing(name: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{name} is NULL"))
        .with_object(name)
        .with_hint("xennet.h says what it must point to")
}

/// What a function that has no error to return answers when it has nothing to say.
pub(crate) trait Nothing {
    fn nothing() -> Self;
}

impl Nothing for () {
    fn nothing() {}
}

impl Nothing for *const c_char {
    fn nothing() -> Self {
        std::ptr::null()
    }
}

/// The number of a descriptor; -1 is none.
pub(crate) struct Descriptor(pub(crate) i32);

impl Nothing for Descriptor {
    fn nothing() -> Self {
        Descriptor(-1)
    }
}

macro_rules! zero {
    ($($number:ty),*) => {$(
        impl Nothing for $number {
            fn nothing() -> Self {
                0
            }
        }
    )*};
}
zero!(u32, i32, usize);

fn panicked(entry: &str, panic: &(dyn Any + Send)) -> Error {
    Error::new(ErrorKind::Internal, format!("{entry}: xennet has a defect: {}", panic_words(panic)))
        .with_object(entry)
        .incomplete("unknown; the handle that was used in the call refuses further work")
        .with_hint("free the handle and open another; please report this")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    extern "C" fn fails() -> Option<Box<Failure>> {
        fallible("fails", || panic!("number {}", 5))
    }

    #[test]
    fn a_panic_becomes_an_error_or_nothing() {
        let failure = fails().unwrap();
        assert_eq!(failure.kind(), u32::from(ErrorKind::Internal.number()));
        assert_eq!(failure.message(), "fails: xennet has a defect: number 5");
        assert_eq!(total::<usize>(|| panic!("here")), 0);
        assert!(read::<_, *const c_char>(Some(&1), |_| std::panic::panic_any(7)).is_null());
        let failure = fallible("odd", || std::panic::panic_any(7)).unwrap();
        assert!(failure.message().ends_with("a panic without words"));
    }

    #[test]
    fn a_panic_while_freeing_stays_inside() {
        struct Bad;
        impl Drop for Bad {
            fn drop(&mut self) {
                panic!("in drop");
            }
        }
        free(Some(Box::new(Bad)));
        free::<Bad>(None);
    }

    #[test]
    fn null_reads_as_nothing() {
        assert_eq!(read::<u8, u32>(None, |_| 5), 0);
        assert_eq!(read::<u8, i32>(Some(&5), |n| i32::from(*n)), 5);
        assert!(read::<CStr, *const c_char>(None, CStr::as_ptr).is_null());
    }
}
