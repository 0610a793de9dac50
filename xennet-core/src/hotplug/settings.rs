//! Where the settings of hotplug are found. What they mean: [`Settings`].

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::{Errno, Error, ErrorKind};
use crate::model::flaw::Flaw;

pub use crate::config::hotplug::Settings;

/// Where the file is by default.
pub const DEFAULT_FILE: &str = "/etc/xennet/hotplug.toml";
/// The variable of the environment that names another one.
pub(crate) const FILE_VARIABLE: &str = "XENNET_HOTPLUG_CONFIG";
/// A longer file is none that somebody wrote.
const LONGEST: u64 = 64 * 1024;

/// The path of the file: what the environment names, else the default. An empty variable is an unset one.
///
/// ```
/// use xennet_core::hotplug::settings;
/// assert_eq!(settings::file(|_| None).to_str(), Some("/etc/xennet/hotplug.toml"));
/// ```
pub fn file(environment: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    environment(FILE_VARIABLE).filter(|value| !value.is_empty()).unwrap_or_else(|| DEFAULT_FILE.into()).into()
}

impl Settings {
    /// Reads the file at this path. A missing file is the default, and costs one failed open.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the place, and the file as the object; [`ErrorKind::Io`] if the file is there and cannot be
    /// read.
    pub fn load(path: &Path) -> Result<Self, Error> {
        match text(path) {
            Ok(Some(bytes)) => Settings::read_bytes(&bytes, path),
            Ok(None) => Ok(Settings::default()),
            Err(e) => Err(Error::new(ErrorKind::Io, format!("{}: the settings cannot be read", path.display()))
                .with_object(path.display().to_string())
                .with_errno(Errno::from_io(&e))
                .with_hint("make it a file that root can read, or remove it for the defaults")),
        }
    }

    fn read_bytes(bytes: &[u8], path: &Path) -> Result<Self, Error> {
        let (text, read) = match std::str::from_utf8(bytes) {
            Ok(_) if bytes.len() as u64 > LONGEST => {
                let rule = format!("the settings have at most {LONGEST} bytes");
                (String::new(), Err(Flaw::new(0..0, "too long", rule).hint("is this the right file?")))
            }
            Ok(text) => (text.to_owned(), Settings::read(text)),
            Err(e) => {
                let (at, rule) = (e.valid_up_to(), "the file is UTF-8");
                let text = String::from_utf8_lossy(bytes).into_owned();
                (text, Err(Flaw::new(at..at + 3, "a byte that is no text", rule)))
            }
        };
        read.map_err(|mut flaw| {
            flaw.message = format!("{}: {}", path.display(), flaw.message);
            flaw.error(&text).with_object(path.display().to_string())
        })
    }
}

fn text(path: &Path) -> io::Result<Option<Vec<u8>>> {
    // A pipe that nobody writes to has no end; it is not waited for.
    let file = match OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path) {
        // Where a part of the path is a file there is no such file either.
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(None),
        other => other?,
    };
    // With room from the start a usual file takes two reads.
    let mut text = Vec::with_capacity(4096);
    file.take(LONGEST + 1).read_to_end(&mut text)?;
    Ok(Some(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str, content: &[u8]) -> Self {
            let path = std::env::temp_dir().join(format!("xennet-settings-{}-{name}.toml", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Place(path)
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn the_environment_names_another_file() {
        let path = |value: &str| file(|name| (name == FILE_VARIABLE).then(|| value.into()));
        assert_eq!((path("/x.toml"), path("")), (PathBuf::from("/x.toml"), PathBuf::from(DEFAULT_FILE)));
    }

    #[test]
    fn a_missing_file_is_the_default_and_an_unreadable_one_is_not() {
        for path in ["/nonexistent/hotplug.toml", "/dev/null/hotplug.toml", "/dev/null"] {
            assert_eq!(Settings::load(Path::new(path)).unwrap(), Settings::default(), "{path}");
        }
        let error = Settings::load(Path::new("/proc")).unwrap_err();
        assert_eq!((error.kind(), error.object(), error.errno()), (ErrorKind::Io, Some("/proc"), Some(Errno::EISDIR)));
    }

    #[test]
    fn a_mistake_names_the_file() {
        let good = Place::new("good", b"deadline = 7\n");
        assert_eq!(Settings::load(&good.0).unwrap().deadline.as_secs(), 7);
        let long = [b'#'; 70_000];
        for (name, content, position) in
            [("bad", &b"\nsyslog = 1\n"[..], (2, 10)), ("bytes", b"\n# \xff\n", (2, 3)), ("long", &long, (1, 1))]
        {
            let file = Place::new(name, content);
            let error = Settings::load(&file.0).unwrap_err();
            assert_eq!(error.object(), file.0.to_str());
            assert!(error.message().starts_with(file.0.to_str().unwrap()), "{error}");
            assert_eq!(error.diagnostic().unwrap().position(), position, "{}", error.report());
        }
    }
}
