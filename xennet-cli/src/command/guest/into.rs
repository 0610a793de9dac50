//! Files written into the mounted image of a guest, which may be hostile.
//!
//! All links in a path are resolved by the kernel with the image as their root (`openat2(2)`, `RESOLVE_IN_ROOT`), so nothing in the image
//! leads out of it. The directory stays open while the file is made: a path that is swapped meanwhile changes nothing. The file is a new
//! one under a name of its own (`O_EXCL`, `O_NOFOLLOW`), moved to its name when it is whole.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, ResolveFlags};
use rustix::io::Errno as Number;
use xennet_core::guest::{Format, GuestFile};
use xennet_core::{Error, ErrorKind, Result};

use crate::files::{self, after};

/// Writes the files below the root of an image, and returns the paths that were written.
pub(super) fn write(root: &Path, format: Format, files: &[GuestFile], force: bool) -> Result<Vec<PathBuf>> {
    let mut targets = Vec::new();
    for file in files {
        let Some(path) = file.path.as_deref() else {
            return Err(Error::new(ErrorKind::Invalid, format!("{format} is no file of a guest's image"))
                .with_object(format.name())
                .as_before("unchanged")
                .with_hint(format!("leave --into out; it belongs here: {}", format.place())));
        };
        targets.push((path, file));
    }
    let image = Image::open(root)?;
    // All targets are checked before the first file is written.
    for (path, _) in &targets {
        if let Some(present) = image.present(path)? {
            image.check(path, present, force)?;
        }
    }
    let mut written = Vec::new();
    for (path, file) in targets {
        image.put(path, file, force).map_err(|e| after(&written, e))?;
        written.push(image.shown(path));
    }
    Ok(written)
}

/// What a path of the image has already.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Present {
    /// A file, or anything else that a rename replaces.
    File,
    Directory,
}

struct Image<'a> {
    root: &'a Path,
    fd: OwnedFd,
}

impl<'a> Image<'a> {
    fn open(root: &'a Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(root, flags, Mode::empty()).map_err(|e| {
            failed(root, "cannot be opened as the root of an image", e)
                .with_hint("name the directory where the guest's file system is mounted")
        })?;
        Ok(Image { root, fd })
    }

    /// The path as the caller sees it, for messages.
    fn shown(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A directory of the image; `None` where there is none.
    fn dir(&self, path: &str) -> Result<Option<OwnedFd>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            match rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), resolve) {
                Ok(fd) => return Ok(Some(fd)),
                Err(Number::NOENT) => return Ok(None),
                // A directory was renamed meanwhile, and the kernel cannot tell whether the way led out.
                Err(Number::AGAIN | Number::INTR) => {}
                Err(Number::NOSYS) => {
                    return Err(Error::new(ErrorKind::Unsupported, "this kernel cannot resolve links inside an image")
                        .with_object("openat2")
                        .as_before("unchanged")
                        .with_hint("openat2(2) is there since Linux 5.6; without --into the text is printed"));
                }
                Err(e) => return Err(failed(&self.shown(path), "cannot be opened as a directory of the image", e)),
            }
        }
    }

    /// The same; directories that are missing are made.
    fn made_dir(&self, path: &str) -> Result<OwnedFd> {
        if let Some(fd) = self.dir(path)? {
            return Ok(fd);
        }
        let (parent, name) = split(path);
        let above = self.made_dir(parent)?;
        match rustix::fs::mkdirat(&above, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Number::EXIST) => {}
            Err(e) => return Err(failed(&self.shown(path), "cannot be made", e)),
        }
        match self.dir(path)? {
            Some(fd) => Ok(fd),
            None => {
                Err(Error::new(ErrorKind::Conflict, format!("{} is a link to nothing", self.shown(path).display()))
                    .with_object(self.shown(path).display().to_string())
                    .as_before("unchanged")
                    .with_hint("look at it inside the image, and make the directory that it names"))
            }
        }
    }

    fn present(&self, path: &str) -> Result<Option<Present>> {
        let (parent, name) = split(path);
        let Some(dir) = self.dir(parent)? else { return Ok(None) };
        match rustix::fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir() => Ok(Some(Present::Directory)),
            Ok(_) => Ok(Some(Present::File)),
            Err(Number::NOENT) => Ok(None),
            Err(e) => Err(failed(&self.shown(path), "cannot be looked at", e)),
        }
    }

    fn check(&self, path: &str, present: Present, force: bool) -> Result<()> {
        match present {
            Present::File if force => Ok(()),
            Present::File => Err(self.is_there(path, "is there already", "--force replaces it")),
            Present::Directory => {
                Err(self.is_there(path, "is a directory", "look at it inside the image, and move it away"))
            }
        }
    }

    fn is_there(&self, path: &str, what: &str, hint: &str) -> Error {
        let shown = self.shown(path).display().to_string();
        Error::new(ErrorKind::Conflict, format!("{shown} {what}"))
            .with_object(shown)
            .as_before("unchanged")
            .with_hint(hint)
    }

    fn put(&self, path: &str, file: &GuestFile, force: bool) -> Result<()> {
        let (parent, name) = split(path);
        let dir = self.made_dir(parent)?;
        let draft = format!(".{name}.xennet-{:016x}", random());
        let result = self.draft(&dir, &draft, path, file).and_then(|()| self.place(&dir, &draft, path, name, force));
        if result.is_err() {
            // The first error is the one to report.
            let _ = rustix::fs::unlinkat(&dir, draft.as_str(), AtFlags::empty());
        }
        result
    }

    fn draft(&self, dir: &OwnedFd, draft: &str, path: &str, file: &GuestFile) -> Result<()> {
        let wrong = |e: Number| failed(&self.shown(path), "cannot be written", e);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(dir, draft, flags, Mode::from_raw_mode(0o600)).map_err(wrong)?;
        let mut open = File::from(fd);
        let io = |e: std::io::Error| wrong(Number::from_io_error(&e).unwrap_or(Number::IO));
        open.write_all(file.text.as_bytes()).map_err(io)?;
        rustix::fs::fchmod(open.as_fd(), Mode::from_raw_mode(file.mode)).map_err(wrong)?;
        open.sync_all().map_err(io)
    }

    /// Gives the draft its name.
    fn place(&self, dir: &OwnedFd, draft: &str, path: &str, name: &str, force: bool) -> Result<()> {
        let wrong = |e: Number| match e {
            Number::EXIST => self.is_there(path, "is there already", "--force replaces it"),
            e => failed(&self.shown(path), "cannot be written", e),
        };
        if force {
            return rustix::fs::renameat(dir, draft, dir, name).map_err(wrong);
        }
        match rustix::fs::renameat_with(dir, draft, dir, name, RenameFlags::NOREPLACE) {
            // A file system that cannot do both at once: a second name is never given over another file.
            Err(Number::INVAL) => {
                rustix::fs::linkat(dir, draft, dir, name, AtFlags::empty()).map_err(wrong)?;
                rustix::fs::unlinkat(dir, draft, AtFlags::empty()).map_err(wrong)
            }
            done => done.map_err(wrong),
        }
    }
}

/// The directory of a path, and the name in it.
fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some(both) => both,
        None => ("/", path),
    }
}

/// A random number, so that two calls at once write two drafts.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // If it fails, the number is 0. At worst the draft exists already, and `O_EXCL` makes that an error.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_ne_bytes(bytes)
}

fn failed(path: &Path, what: &str, e: Number) -> Error {
    let error = files::failed(path, what, &e.into());
    match e {
        Number::ROFS => error.with_hint("mount the image for writing"),
        Number::LOOP => error.with_hint("a link in the image leads to itself: look at it inside the image"),
        _ => error,
    }
}
