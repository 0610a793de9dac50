//! The kernel's error numbers, by name and in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A kernel error number (`errno(3)`), always positive.
///
/// ```
/// use xennet_core::Errno;
/// assert_eq!(Errno::EOPNOTSUPP.to_string(), "EOPNOTSUPP");
/// assert_eq!(Errno(95), Errno::EOPNOTSUPP);
/// ```
///
/// There are no other parts: it is a number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Errno(pub i32);

macro_rules! errnos {
    ($($name:ident = $number:literal, $text:literal;)*) => {
        impl Errno {
            $(#[doc = concat!("`", stringify!($name), "`: ", $text, " (`asm-generic/errno-base.h`, `errno.h`).")]
              pub const $name: Errno = Errno($number);)*

            /// The symbolic name, for example `"EPERM"`; `None` for a number that this library has no name for.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 { $($number => Some(stringify!($name)),)* _ => None }
            }

            /// What the number means, as `strerror(3)` says it; `None` for a number that this library does not know.
            pub const fn text(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }
        }
    };
}

errnos! {
    EPERM = 1, "operation not permitted";
    ENOENT = 2, "no such object";
    ESRCH = 3, "no such entry";
    EINTR = 4, "interrupted system call";
    EIO = 5, "input/output error";
    ENXIO = 6, "no such device or address";
    E2BIG = 7, "argument list too long";
    EBADF = 9, "bad file descriptor";
    ECHILD = 10, "no child processes";
    EAGAIN = 11, "try again";
    ENOMEM = 12, "out of memory";
    EACCES = 13, "permission denied";
    EBUSY = 16, "device or resource busy";
    EEXIST = 17, "exists already";
    EXDEV = 18, "on another device";
    ENODEV = 19, "no such device";
    ENOTDIR = 20, "not a directory";
    EISDIR = 21, "is a directory";
    EINVAL = 22, "invalid argument";
    ENFILE = 23, "too many open files in system";
    EMFILE = 24, "too many open files";
    EFBIG = 27, "file too large";
    ENOSPC = 28, "no space left on device";
    EROFS = 30, "read-only file system";
    EDOM = 33, "argument out of domain";
    ERANGE = 34, "result out of range";
    ENAMETOOLONG = 36, "name too long";
    ENOTEMPTY = 39, "not empty";
    ELOOP = 40, "too many levels";
    EMLINK = 31, "too many links";
    EXFULL = 54, "exchange full";
    ENODATA = 61, "no data available";
    EPROTO = 71, "protocol error";
    ENOTUNIQ = 76, "name not unique";
    EMSGSIZE = 90, "message too long";
    ENOPROTOOPT = 92, "protocol not available";
    EPROTONOSUPPORT = 93, "protocol not supported";
    EOPNOTSUPP = 95, "operation not supported";
    EAFNOSUPPORT = 97, "address family not supported";
    EADDRINUSE = 98, "address in use";
    EADDRNOTAVAIL = 99, "no such address";
    ENETDOWN = 100, "network is down";
    ENETUNREACH = 101, "network is unreachable";
    ENOBUFS = 105, "no buffer space";
    ETIMEDOUT = 110, "timed out";
    EHOSTUNREACH = 113, "no route to host";
    EDQUOT = 122, "quota exceeded";
    ERESTART = 85, "interrupted, to be tried again";
    ECONNREFUSED = 111, "connection refused";
    ECONNRESET = 104, "connection reset by peer";
    EISCONN = 106, "is connected already";
    ENOSYS = 38, "function not implemented";
    EPIPE = 32, "broken pipe";
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Errno {}

impl Errno {
    /// The number of an error of rustix, whose types are no part of what this library shows.
    pub(crate) fn of(e: rustix::io::Errno) -> Self {
        Errno(e.raw_os_error())
    }

    /// The number behind an I/O error; `EIO` where the error carries none.
    pub fn from_io(e: &std::io::Error) -> Self {
        e.raw_os_error().map_or(Errno::EIO, Errno)
    }
}
