//! A state directory for one test.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh, empty directory that is removed with all that is in it when this value goes.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    /// Whether other versions have written into it.
    of_others: bool,
}

impl StateDir {
    /// Makes the directory, below the system's directory for temporary files. No two calls get the same one, in this
    /// process or in another.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("xennet-test-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return StateDir { path, of_others: false },
                // Left behind by a process of the same number that was killed, or made in another pid namespace.
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => panic!("{} cannot be made: {e}", path.display()),
            }
        }
    }

    /// The same for files that other versions have written: what they wrote is read, but is no document of this version.
    #[must_use]
    pub fn of_others(mut self) -> Self {
        self.of_others = true;
        self
    }

    /// Where the files of dnsmasq are, of a state directory that root uses.
    pub fn services(&self) -> PathBuf {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        self.path.with_file_name(format!("{name}-services"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Default for StateDir {
    fn default() -> Self {
        StateDir::new()
    }
}

impl AsRef<Path> for StateDir {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl Drop for StateDir {
    /// What xennet has written into it is checked before it goes. A test that fails already has something more important to say.
    ///
    /// # Panics
    /// As [`check_state`](crate::documents::check_state).
    fn drop(&mut self) {
        let checked = match std::thread::panicking() || self.of_others {
            true => Ok(()),
            false => std::panic::catch_unwind(|| crate::documents::check_state(&self.path)),
        };
        self.remove();
        if let Err(why) = checked {
            std::panic::resume_unwind(why);
        }
    }
}

impl StateDir {
    fn remove(&self) {
        // A test that panics has something more important to say than that its directory could not be removed.
        let _ = std::fs::remove_dir_all(&self.path);
        let _ = std::fs::remove_dir_all(self.services());
    }
}
