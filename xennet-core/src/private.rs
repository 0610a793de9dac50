//! Files and directories that belong to the user who runs this, and that nobody else can read, write, lock or put in place.
//!
//! What the state directory says is carried out with the rights of whoever reads it. So a directory is made with mode 0700 and a
//! file with 0600, whatever the umask is; and a file counts only if it is a regular one, of bounded size, that belongs to the
//! reader or to root and that others cannot write. Nothing here waits: a FIFO without a writer is an error as well.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags, Stat};
use serde::Serialize;

use crate::error::{Errno, Error, ErrorKind};

/// A longer file is not one of ours: the longest journal that was seen (a network with 65,535 forwarded ports) has 7 MB.
const LARGEST: u64 = 64 << 20;
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OPEN_MODE: u32 = 0o755;
/// Of how many files it is asked whether a directory that others can look into is ours alone.
const LOOK: usize = 256;

/// What is done with a file that is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is read.
    Read,
    /// It is made where it is missing, read, and written at its end.
    Append,
    /// It is made where it is missing, and only locked: what stands in it does not matter.
    Lock,
}

/// Opens a file that has to be private, and makes it so where it is ours and others can only read it. `None` where it is missing
/// (or, to make it, its directory).
///
/// # Errors
/// [`ErrorKind::StateUnusable`] for what is no regular file, is too large, belongs to another user, or can be written by others;
/// [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`] as the kernel says.
pub(crate) fn open(path: &Path, how: Use) -> Result<Option<(File, Stat)>, Error> {
    let mut options = OpenOptions::new();
    options.read(true).mode(FILE_MODE).custom_flags(FLAGS);
    if how != Use::Read {
        options.append(true).create(true);
    }
    let file = match options.open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(no_file(path, &e)),
    };
    let found = rustix::fs::fstat(&file).map_err(|e| unusable(path, "cannot be read", &e.into()))?;
    check(path, &found, how)?;
    if found.st_uid == euid() && found.st_mode & 0o777 != FILE_MODE {
        file.set_permissions(Permissions::from_mode(FILE_MODE))
            .map_err(|e| unusable(path, "cannot be closed to other users", &e))?;
    }
    Ok(Some((file, found)))
}

/// A link is not followed, a FIFO not waited for, a terminal not taken.
const FLAGS: i32 = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).bits() as i32;

/// The whole of a private file; `None` where it is missing.
///
/// # Errors
/// As [`open`].
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let Some((file, found)) = open(path, Use::Read)? else { return Ok(None) };
    read_open(&file, &found).map(Some).map_err(|e| unusable(path, "cannot be read", &e))
}

/// The whole of a file that [`open`] gave.
///
/// # Errors
/// As `read(2)`.
pub(crate) fn read_open(file: &File, found: &Stat) -> io::Result<Vec<u8>> {
    // With room for all of it and the end, and as of a stream, for which nobody asks how long the file is.
    let mut text = Vec::with_capacity(usize::try_from(found.st_size).unwrap_or(0).saturating_add(32));
    // It may grow meanwhile, and no further than this.
    file.take(LARGEST).read_to_end(&mut text)?;
    Ok(text)
}

/// Makes a private file with this content that is not there yet, whatever was left under its name: for one that is renamed then.
///
/// # Errors
/// [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
pub(crate) fn fresh(path: &Path, text: &[u8]) -> Result<File, Error> {
    let mut options = OpenOptions::new();
    options.append(true).create_new(true).mode(FILE_MODE).custom_flags(FLAGS);
    let made = match options.open(path) {
        // Left by a call that was killed.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => fs::remove_file(path).and_then(|()| options.open(path)),
        other => other,
    };
    let mut file = made.map_err(|e| unusable(path, "cannot be made", &e))?;
    // A umask may have taken more away than others' rights.
    let written = file.set_permissions(Permissions::from_mode(FILE_MODE)).and_then(|()| file.write_all(text));
    match written {
        Ok(()) => Ok(file),
        Err(e) => {
            // Half a file is of no use.
            let _ = fs::remove_file(path);
            Err(unusable(path, "cannot be written", &e))
        }
    }
}

/// Where a file is written before it gets its name: the same place each time, so that a call that is killed leaves one at the most.
pub(crate) fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.new"))
}

/// Puts a text in the place of a private file: it is there whole, or as before. The caller has a lock, so nobody else does the same.
///
/// # Errors
/// As [`fresh`].
pub(crate) fn replace(path: &Path, text: &[u8]) -> Result<(), Error> {
    let whole = draft(path);
    fresh(&whole, text)?;
    fs::rename(&whole, path).map_err(|e| {
        let _ = fs::remove_file(&whole);
        unusable(path, "cannot be written", &e)
    })
}

/// Whether a directory may hold other files than ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// No: it is one that we make ourselves.
    OursOnly,
    /// An administrator chose it, and it may have been there before.
    Maybe,
}

/// Makes a private directory, with those above it that are missing, or sees to it that one that is there is private.
///
/// # Errors
/// As [`check_dir`].
pub(crate) fn make_dir(path: &Path, holds: Holds) -> Result<(), Error> {
    if check_dir(path, holds)? {
        return Ok(());
    }
    if let Some(above) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o755).create(above);
        made.map_err(|e| unusable(above, "cannot be made", &e))?;
    }
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        // Another call was quicker.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(|e| unusable(path, "cannot be made", &e))?,
    }
    check_dir(path, Holds::OursOnly).map(|_| ())
}

/// Closes a directory of ours to other users. One that holds others' files, too, stays as it is, if others can put nothing into it.
/// False if there is none.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] for one that belongs to another user, or into which others can put files.
pub(crate) fn check_dir(path: &Path, holds: Holds) -> Result<bool, Error> {
    let found = match rustix::fs::stat(path) {
        Ok(found) => found,
        Err(rustix::io::Errno::NOENT) => return Ok(false),
        Err(e) => return Err(unusable(path, "cannot be looked at", &e.into())),
    };
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        let hint = format!("move it away: mv {0} {0}.old", path.display());
        let e = refused(path, "has to be a directory, and is none", &hint);
        return Err(e.with_errno(Errno::ENOTDIR));
    }
    let (mode, user) = (found.st_mode & 0o7777, found.st_uid);
    let is_own = user == euid();
    if !is_own && user != 0 {
        let hint = format!(
            "choose a state directory of your own, or: chown {} {}",
            if euid() == 0 { "root".to_owned() } else { euid().to_string() },
            path.display()
        );
        return Err(refused(path, &format!("belongs to user {user}, who could change what is carried out"), &hint));
    }
    let is_open_to_all = mode & 0o022 != 0;
    let can_close = is_own && (holds == Holds::OursOnly || (mode & 0o1000 == 0 && is_ours_alone(path)));
    if mode & 0o777 != DIR_MODE && can_close {
        let closed = fs::set_permissions(path, Permissions::from_mode(DIR_MODE));
        closed.map_err(|e| unusable(path, "cannot be closed to other users", &e))?;
    } else if is_open_to_all {
        let why = format!("can be written by other users (mode {mode:04o}), who could change what is carried out");
        let hint = format!("choose a state directory of its own, or: chmod go-w {}", path.display());
        return Err(refused(path, &why, &hint));
    }
    Ok(true)
}

/// Whether there is nothing in a directory that is not ours, as far as it is looked at.
fn is_ours_alone(path: &Path) -> bool {
    let Ok(listing) = fs::read_dir(path) else { return false };
    listing.take(LOOK).all(|entry| {
        entry.is_ok_and(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            ["networks", "stations"].contains(&&*name)
                || [".journal", ".fresh"].iter().any(|end| name.ends_with(end))
                || ["calls.log", "fake.", ".fake."].iter().any(|start| name.starts_with(start))
        })
    })
}

/// Makes a directory that others may look into, and nobody else may change: for a daemon that is another user.
///
/// # Errors
/// [`ErrorKind::StateUnusable`] for what stands there and is not so; [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
pub(crate) fn make_open_dir(path: &Path) -> Result<(), Error> {
    match DirBuilder::new().recursive(true).mode(OPEN_MODE).create(path) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(unusable(path, "cannot be made", &e)),
        _ => {}
    }
    let found = rustix::fs::lstat(path).map_err(|e| unusable(path, "cannot be looked at", &e.into()))?;
    let (mode, user) = (found.st_mode & 0o7777, found.st_uid);
    let away = format!("move it away: mv {0} {0}.old", path.display());
    if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
        return Err(refused(path, "has to be a directory, and is none", &away));
    }
    if user != euid() && user != 0 {
        return Err(refused(path, &format!("belongs to user {user}, who could change what is carried out"), &away));
    }
    if mode != OPEN_MODE && user == euid() {
        let set = fs::set_permissions(path, Permissions::from_mode(OPEN_MODE));
        set.map_err(|e| unusable(path, "cannot be given its mode", &e))?;
    } else if mode & 0o022 != 0 {
        return Err(refused(path, &format!("can be written by other users (mode {mode:04o})"), &away));
    }
    Ok(())
}

fn check(path: &Path, found: &Stat, how: Use) -> Result<(), Error> {
    let (mode, user) = (found.st_mode & 0o7777, found.st_uid);
    let shown = path.display();
    let away = format!("see who made it: ls -l {shown}; then move it away: mv {shown} {shown}.old");
    let kind = match FileType::from_raw_mode(found.st_mode) {
        FileType::RegularFile => None,
        FileType::Fifo => Some("a FIFO"),
        FileType::Directory => Some("a directory"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Socket => Some("a socket"),
        _ => Some("something else"),
    };
    if let Some(kind) = kind {
        let e = refused(path, &format!("has to be a regular file, and is {kind}"), &away);
        // As the kernel says where it is opened to be written.
        let is_dir = FileType::from_raw_mode(found.st_mode) == FileType::Directory;
        return Err(if is_dir { e.with_errno(Errno::EISDIR) } else { e });
    }
    if user != euid() && user != 0 {
        return Err(refused(path, &format!("belongs to user {user}, who could change what is carried out"), &away));
    }
    // Of a lock nothing is read that others could have written.
    if how != Use::Lock && mode & 0o022 != 0 {
        let why =
            format!("can be written by other users (mode {mode:04o}), who could have changed what is carried out");
        let hint = format!("look at it, and if it is as it should be: chmod 600 {shown}; else move it away");
        return Err(refused(path, &why, &hint));
    }
    let size = u64::try_from(found.st_size).unwrap_or(u64::MAX);
    if size > LARGEST {
        let why = format!("has {size} bytes, and {LARGEST} at the most could be ours");
        return Err(refused(path, &why, &away));
    }
    Ok(())
}

fn euid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The error of opening; in plain words where the kernel's number says what kind of thing stands there.
fn no_file(path: &Path, e: &io::Error) -> Error {
    let shown = path.display();
    let away = format!("see who made it: ls -l {shown}; then move it away: mv {shown} {shown}.old");
    let kind = match rustix::io::Errno::from_io_error(e) {
        Some(rustix::io::Errno::LOOP) => "a symbolic link",
        Some(rustix::io::Errno::ISDIR) => "a directory",
        Some(rustix::io::Errno::NXIO) => "a socket or a device",
        _ => return unusable(path, "cannot be opened", e),
    };
    refused(path, &format!("has to be a regular file, and is {kind}"), &away).with_errno(Errno::from_io(e))
}

fn refused(path: &Path, why: &str, hint: &str) -> Error {
    Error::new(ErrorKind::StateUnusable, format!("{}: {why}", path.display()))
        .with_object(path.display().to_string())
        .unchanged()
        .with_hint(hint)
}

/// The error of a state directory that cannot be used, with the way out.
pub(crate) fn unusable(path: &Path, what: &str, e: &io::Error) -> Error {
    let errno = Errno::from_io(e);
    let (kind, hint) = match errno {
        Errno::ENOSPC | Errno::EDQUOT => {
            (ErrorKind::StateFull, "make room on that file system, or choose another state directory")
        }
        Errno::EACCES | Errno::EPERM => {
            (ErrorKind::StateUnusable, "run it as root, or choose a state directory of your own")
        }
        Errno::EROFS => (ErrorKind::StateUnusable, "choose a state directory that can be written"),
        Errno::EMFILE => (
            ErrorKind::StateUnusable,
            "this program has as many files open as it may: close what is not needed, or raise the limit (ulimit -n)",
        ),
        Errno::ENFILE => (ErrorKind::StateUnusable, "the system has as many files open as it may: sysctl fs.file-max"),
        _ => (ErrorKind::StateUnusable, "choose another state directory"),
    };
    Error::new(kind, format!("{}: {what}", path.display()))
        .with_object(path.display().to_string())
        .with_errno(errno)
        .unchanged()
        .with_hint(hint)
}

/// A document as one line, as files have them, with its keys in the order of the fields.
pub(crate) fn json_line(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = Line { room: vec![0; Line::MORE], length: 0 };
    serde_json::to_writer(&mut line, document)?;
    let Line { mut room, length } = line;
    room.truncate(length);
    room.push(b'\n');
    Ok(room)
}

/// A line that is being written. serde writes hundreds of small pieces, and a vector that checks its capacity for each of them takes twice
/// as long.
struct Line {
    room: Vec<u8>,
    length: usize,
}

impl io::Write for Line {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    #[inline(always)]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        let end = self.length.saturating_add(piece.len());
        if self.room.len() < end {
            self.grow(end);
        }
        // Most pieces are one byte, and need no call of memcpy.
        match (piece, self.room.get_mut(self.length..end)) {
            ([byte], Some([place])) => *place = *byte,
            (_, Some(place)) => place.copy_from_slice(piece),
            (_, None) => {}
        }
        self.length = end;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Line {
    /// Most lines have up to twice as many bytes.
    const MORE: usize = 2000;

    #[cold]
    fn grow(&mut self, end: usize) {
        let more = (self.room.len() / 2).max(Line::MORE);
        // A new vector: growing one writes the zeros byte by byte.
        let mut room = vec![0; end.saturating_add(more)];
        if let (Some(new), Some(old)) = (room.get_mut(..self.length), self.room.get(..self.length)) {
            new.copy_from_slice(old);
        }
        self.room = room;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_serde_writes() {
        for length in [0, 1, 1900, 1970, 1971, 1972, 1973, 1974, 4000, 9000, 100_000] {
            let document = ("\"\n\u{1}ä", vec!["x".repeat(length)], 7, vec![true; length / 2], "end");
            let mut written = serde_json::to_vec(&document).unwrap();
            written.push(b'\n');
            assert!(json_line(&document).unwrap() == written, "{length}");
        }
    }
}
