//! The form of the messages, without any I/O.
//!
//! A message is a header of four numbers in the byte order of the host (type, request id, transaction id, length) and
//! at most [`PAYLOAD_MAX`] bytes. Texts within end with a NUL; the value of a node has none. An answer repeats type and
//! ids of its request; a refusal has the type [`Kind::Error`] and carries the *name* of an error number.
//!
//! Sources: `xen/include/public/io/xs_wire.h`, `docs/misc/xenstore.txt`.

use std::fmt;

use crate::error::Errno;
use crate::snapshot::StorePermission;

/// Bytes of a header (`struct xsd_sockmsg`).
pub const HEADER: usize = 16;

/// The most bytes that follow a header (`XENSTORE_PAYLOAD_MAX`).
pub const PAYLOAD_MAX: usize = 4096;

/// The longest absolute path in bytes (`XENSTORE_ABS_PATH_MAX`).
pub(crate) const ABS_PATH_MAX: usize = 3072;

/// The longest relative path in bytes (`XENSTORE_REL_PATH_MAX`).
pub(crate) const REL_PATH_MAX: usize = 2048;

/// The two names that can be watched and are no paths: a domain has come, a domain has gone.
pub(crate) const SPECIAL: [&str; 2] = ["@introduceDomain", "@releaseDomain"];

macro_rules! message_kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)*) => {
        /// What a message is (`enum xsd_sockmsg_type`).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        #[repr(u32)]
        pub enum Kind {
            $($(#[doc = $doc])+ $name = $number,)*
        }

        impl Kind {
            /// Every kind, in the order of the numbers.
            pub const ALL: &'static [Kind] = &[$(Kind::$name),*];

            /// The kind with this number; `None` for a number that this library does not know.
            pub const fn from_number(number: u32) -> Option<Kind> {
                match number { $($number => Some(Kind::$name),)* _ => None }
            }

            /// The name as xenstored writes it into its trace, for example `"read"`.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$name => $text,)* }
            }
        }
    };
}

message_kinds! {
    /// Commands to the daemon itself.
    Control = 0, "control";
    /// The names of a node's children.
    Directory = 1, "directory";
    /// The value of a node.
    Read = 2, "read";
    /// The permissions of a node.
    GetPerms = 3, "getperms";
    /// Asks for events.
    Watch = 4, "watch";
    /// Takes a watch back.
    Unwatch = 5, "unwatch";
    /// Begins a transaction.
    TransactionStart = 6, "t start";
    /// Ends a transaction, with or without putting it in force.
    TransactionEnd = 7, "t end";
    /// Makes a domain known to the daemon.
    Introduce = 8, "introduce";
    /// Makes the daemon forget a domain.
    Release = 9, "release";
    /// The home of a domain.
    GetDomainPath = 10, "getdomainpath";
    /// Sets the value of a node, and makes it.
    Write = 11, "write";
    /// Makes a node.
    Mkdir = 12, "mkdir";
    /// Removes a node and all below it.
    Rm = 13, "rm";
    /// Sets the permissions of a node.
    SetPerms = 14, "setperms";
    /// Something that is watched has changed; comes without being asked for.
    WatchEvent = 15, "w event";
    /// The answer to a refused request: the name of an error number.
    Error = 16, "error";
    /// Whether the daemon knows a domain.
    IsDomainIntroduced = 17, "isdomainintroduced";
    /// A suspended domain goes on.
    Resume = 18, "resume";
    /// One domain may act for another.
    SetTarget = 19, "settarget";
    /// Takes all watches and transactions of the connection back.
    ResetWatches = 21, "resetwatches";
    /// A part of a list of children that is too long for one message.
    DirectoryPart = 22, "directorypart";
}

impl Kind {
    /// The number on the wire.
    pub const fn number(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The head of a message (`struct xsd_sockmsg`). Any sixteen bytes are one; what they mean is for the reader to judge.
///
/// There are no others: it is `struct xsd_sockmsg` of Xen's `xs_wire.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The number of a [`Kind`], or any other.
    pub kind: u32,
    /// Chosen by who asks, repeated in the answer.
    pub request: u32,
    /// The transaction; 0 outside of one.
    pub transaction: u32,
    /// Bytes that follow.
    pub len: u32,
}

impl Header {
    /// The header at the start of these bytes; `None` if they are fewer than [`HEADER`].
    pub fn read(bytes: &[u8]) -> Option<Header> {
        let mut numbers = bytes.get(..HEADER)?.chunks_exact(4).map(|n| {
            // Each piece has exactly four bytes.
            u32::from_ne_bytes([n[0], n[1], n[2], n[3]])
        });
        Some(Header {
            kind: numbers.next()?,
            request: numbers.next()?,
            transaction: numbers.next()?,
            len: numbers.next()?,
        })
    }

    /// The length as a number of bytes to wait for; `None` if it is more than a message may have.
    pub fn payload(&self) -> Option<usize> {
        usize::try_from(self.len).ok().filter(|len| *len <= PAYLOAD_MAX)
    }
}

/// Adds a message to `out`. The payload is the parts in a row. `false`, and nothing added: longer than [`PAYLOAD_MAX`].
pub fn put(out: &mut Vec<u8>, kind: Kind, request: u32, transaction: u32, parts: &[&[u8]]) -> bool {
    let len = parts.iter().fold(0_usize, |sum, part| sum.saturating_add(part.len()));
    let Some(number) = u32::try_from(len).ok().filter(|_| len <= PAYLOAD_MAX) else { return false };
    out.reserve(HEADER.saturating_add(len));
    for field in [kind.number(), request, transaction, number] {
        out.extend_from_slice(&field.to_ne_bytes());
    }
    for part in parts {
        out.extend_from_slice(part);
    }
    true
}

/// The NUL-terminated texts that a payload consists of. `None`: the last one has no NUL, or one is not UTF-8. (Paths,
/// names and tokens are ASCII; only the value of a node may be anything, and it is never read by this function.)
pub fn texts(payload: &[u8]) -> Option<Vec<&str>> {
    match payload.split_last() {
        None => Some(Vec::new()),
        Some((0, rest)) => rest.split(|b| *b == 0).map(|text| std::str::from_utf8(text).ok()).collect(),
        Some(_) => None,
    }
}

/// The one NUL-terminated text that a payload consists of.
pub fn text(payload: &[u8]) -> Option<&str> {
    match payload.split_last() {
        Some((0, rest)) if !rest.contains(&0) => std::str::from_utf8(rest).ok(),
        _ => None,
    }
}

/// The number behind the name in a refusal. `None` for a name that is not in the table of the protocol.
///
/// Source: `xs_wire.h`, `xsd_errors`.
pub(crate) fn errno_of(name: &str) -> Option<Errno> {
    ERRORS.iter().copied().find(|e| e.name() == Some(name))
}

/// The name that a refusal carries. A number that is not in the table of the protocol becomes `EINVAL`, as libxenstore
/// and xenstored do it.
#[cfg(any(test, feature = "testing"))]
pub(crate) fn error_name(errno: Errno) -> &'static str {
    ERRORS.iter().find(|e| **e == errno).and_then(|e| e.name()).unwrap_or("EINVAL")
}

const ERRORS: &[Errno] = &[
    Errno::EINVAL,
    Errno::EACCES,
    Errno::EEXIST,
    Errno::EISDIR,
    Errno::ENOENT,
    Errno::ENOMEM,
    Errno::ENOSPC,
    Errno::EIO,
    Errno::ENOTEMPTY,
    Errno::ENOSYS,
    Errno::EROFS,
    Errno::EBUSY,
    Errno::EAGAIN,
    Errno::EISCONN,
    Errno::E2BIG,
    Errno::EPERM,
];

/// Checks a path before it is sent. Taken are absolute paths and relative ones (which the daemon reads below the home
/// of the caller's domain) of letters, digits, `-`, `/`, `_`, `@`, without empty parts.
///
/// # Errors
/// The rule that the text breaks, as a sentence fragment.
pub(crate) fn check_path(path: &str) -> Result<(), &'static str> {
    let max = if path.starts_with('/') { ABS_PATH_MAX } else { REL_PATH_MAX };
    if path.is_empty() {
        return Err("a path is not empty");
    }
    if path == "/" {
        return Ok(());
    }
    if path.len() > max {
        return Err("an absolute path has at most 3072 bytes, a relative one 2048");
    }
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'/' | b'_' | b'@')) {
        return Err("a path consists of letters, digits and - / _ @");
    }
    if path.ends_with('/') || path.contains("//") {
        return Err("a path has no empty part and no slash at its end");
    }
    if path.starts_with('@') {
        return Err("a name with @ in front can be watched, not read or written");
    }
    Ok(())
}

/// Checks what is to be watched: a path, or one of the [`SPECIAL`] names.
///
/// # Errors
/// The rule that the text breaks, as a sentence fragment.
pub(crate) fn check_watch(path: &str) -> Result<(), &'static str> {
    if path.starts_with('@') {
        return if SPECIAL.contains(&path) {
            Ok(())
        } else {
            Err("of the names with @ in front there are @introduceDomain and @releaseDomain")
        };
    }
    check_path(path)
}

/// One permission as it is written on the wire and by `xenstore-chmod`: `n0`, `r5`, `w5`, `b5`.
///
/// ```
/// use xennet_core::snapshot::StorePermission;
/// use xennet_core::xenstore::wire::{permission, permission_text};
///
/// let may_read = StorePermission { domid: 5, read: true, write: false };
/// assert_eq!(permission_text(may_read), "r5");
/// assert_eq!(permission("r5"), Some(may_read));
/// ```
pub fn permission_text(permission: StorePermission) -> String {
    let letter = match (permission.read, permission.write) {
        (false, false) => 'n',
        (true, false) => 'r',
        (false, true) => 'w',
        (true, true) => 'b',
    };
    format!("{letter}{}", permission.domid)
}

/// Reads one permission; `None` if the text is not one.
pub fn permission(text: &str) -> Option<StorePermission> {
    let (letter, number) = (text.as_bytes().first()?, text.get(1..)?);
    let (read, write) = match letter {
        b'n' => (false, false),
        b'r' => (true, false),
        b'w' => (false, true),
        b'b' => (true, true),
        _ => return None,
    };
    // `parse` would take a sign.
    if !number.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(StorePermission { domid: number.parse().ok()?, read, write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_the_numbers_of_the_header() {
        for kind in Kind::ALL {
            assert_eq!(Kind::from_number(kind.number()), Some(*kind));
        }
        let numbers: Vec<u32> = Kind::ALL.iter().map(|k| k.number()).collect();
        assert_eq!(numbers, (0..=22).filter(|n| *n != 20).collect::<Vec<_>>());
        assert_eq!((Kind::Write.number(), Kind::Error.number(), Kind::DirectoryPart.number()), (11, 16, 22));
        assert_eq!(Kind::from_number(20), None);
        assert_eq!(Kind::from_number(u32::MAX), None);
    }

    #[test]
    fn messages_are_laid_out_as_the_header_says() {
        let mut out = Vec::new();
        assert!(put(&mut out, Kind::Write, 7, 9, &[b"/a\0", b"x"]));
        let head: Vec<u8> = [11_u32, 7, 9, 4].iter().flat_map(|n| n.to_ne_bytes()).collect();
        assert_eq!(out, [head.as_slice(), b"/a\0x"].concat());
        assert_eq!(Header::read(&out), Some(Header { kind: 11, request: 7, transaction: 9, len: 4 }));
        assert_eq!(Header::read(&out[..15]), None);
        let before = out.clone();
        assert!(!put(&mut out, Kind::Write, 7, 9, &[&[0; PAYLOAD_MAX], b"x"]), "one byte too many");
        assert_eq!(out, before, "and nothing of it is left behind");
        assert!(put(&mut out, Kind::Write, 7, 9, &[&[0; PAYLOAD_MAX]]));
    }

    #[test]
    fn a_length_is_never_taken_at_its_word() {
        let header = |len| Header { kind: 2, request: 0, transaction: 0, len };
        assert_eq!(header(4096).payload(), Some(4096));
        assert_eq!(header(4097).payload(), None);
        assert_eq!(header(u32::MAX).payload(), None);
    }

    #[test]
    fn texts_need_their_nul() {
        assert_eq!(texts(b""), Some(vec![]));
        assert_eq!(texts(b"a\0\0b\0"), Some(vec!["a", "", "b"]));
        assert_eq!(texts(b"a\0b"), None);
        assert_eq!(texts(b"\xff\0"), None);
        assert_eq!(text(b"a\0"), Some("a"));
        assert_eq!(text(b"\0"), Some(""));
        assert_eq!(text(b"a\0b\0"), None);
        assert_eq!(text(b"a"), None);
        assert_eq!(text(b""), None);
    }

    #[test]
    fn errors_travel_by_name() {
        for errno in ERRORS {
            assert_eq!(errno_of(error_name(*errno)), Some(*errno));
        }
        assert_eq!(error_name(Errno::ENETDOWN), "EINVAL");
        assert_eq!(errno_of("ENETDOWN"), None);
    }

    #[test]
    fn paths() {
        for good in ["/", "/a", "/local/domain/0/backend/vif/1/0", "backend/vif/1/0/bridge", "a@b", "device-model_0"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        for bad in ["", "/a/", "a/", "//", "/a//b", "/a b", "/a\0b", "/\u{e9}", "@introduceDomain", "/a.b"] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
        assert!(check_path(&format!("/{}", "a".repeat(3071))).is_ok());
        assert!(check_path(&format!("/{}", "a".repeat(3072))).is_err());
        assert!(check_path(&"a".repeat(2048)).is_ok());
        assert!(check_path(&"a".repeat(2049)).is_err());
        assert_eq!(check_watch("@releaseDomain"), Ok(()));
        assert!(check_watch("@releasedomain").is_err());
        assert_eq!(check_watch("device"), Ok(()));
    }

    #[test]
    fn permissions_read_back() {
        for text in ["n0", "r5", "w65535", "b7"] {
            assert_eq!(permission(text).map(permission_text).as_deref(), Some(text));
        }
        for bad in ["", "r", "x5", "r-1", "r+1", "r65536", "r5 ", "\u{e9}5", "5"] {
            assert_eq!(permission(bad), None, "{bad:?}");
        }
    }
}
