//! A fake that outlives the process: the world is a file that every call reads and writes.

use std::fs::TryLockError;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Fake, Netback};
use crate::backend::{Backend, BackendError, Capabilities, Missed};
use crate::error::{Errno, Error, ErrorKind};
use crate::private::{self, Holds, Use};
use crate::snapshot::{Details, Scope, Snapshot};
use crate::step::Step;

/// A [`Fake`] whose world is kept in a file, so that one process finds what another has done, as on a real host.
///
/// The first world is [`Fake::example`]. Steps of several processes happen one after the other, under a lock; a world is
/// written to a file of its own and then renamed, so that a reader never sees half of one. The files are `fake.json` and
/// `fake.lock` in the given directory, which is made when the first step is applied.
#[derive(Debug)]
pub struct Kept {
    dir: PathBuf,
}

impl Kept {
    /// How long a step waits for another process that applies one.
    const DEADLINE: Duration = Duration::from_secs(10);

    /// The fake that is kept in this directory. Nothing is written before a step is applied or a vif appears.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if there is a file that cannot be read, or holds no world.
    pub fn at(dir: impl Into<PathBuf>) -> Result<Self, Error> {
        let kept = Kept { dir: dir.into() };
        private::check_dir(&kept.dir, Holds::Maybe)?;
        kept.load().map_err(|e| {
            Error::new(ErrorKind::StateUnusable, format!("{}: the kept world cannot be read", e.object))
                .with_object(e.object)
                .with_errno(e.errno)
                .with_kernel_message(e.message.unwrap_or_else(|| "no more is known".to_owned()))
                .with_hint("choose another directory, or remove the file to start afresh")
        })?;
        Ok(kept)
    }

    fn file(&self) -> PathBuf {
        self.dir.join("fake.json")
    }

    fn load(&self) -> Result<Fake, BackendError> {
        let file = self.file();
        // No file, or no directory for it: nothing was kept yet.
        let Some(text) = private::read(&file).map_err(failed)? else { return Ok(Fake::example()) };
        // What is not UTF-8 is no JSON either.
        match Fake::load(&String::from_utf8_lossy(&text)) {
            Ok(fake) => Ok(fake.with_netback(Netback::Plays)),
            Err(e) => Err(BackendError::new(Errno::EINVAL, shown(&file)).with_message(e.message())),
        }
    }

    fn save(&self, fake: &Fake) -> Result<(), BackendError> {
        private::replace(&self.file(), fake.save().as_bytes()).map_err(failed)
    }

    /// Loads the world, does something with it, and keeps it if it changed; nobody else does so meanwhile.
    fn alone<T>(&self, work: impl FnOnce(&mut Fake) -> Result<T, BackendError>) -> Result<T, BackendError> {
        let path = self.dir.join("fake.lock");
        let lock = loop {
            private::make_dir(&self.dir, Holds::Maybe).map_err(failed)?;
            // Somebody may be removing the directory.
            if let Some((lock, _)) = private::open(&path, Use::Lock).map_err(failed)? {
                break lock;
            }
        };
        let start = Instant::now();
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if start.elapsed() < Kept::DEADLINE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(
                        BackendError::new(Errno::ETIMEDOUT, shown(&path)).with_message("another process has it")
                    );
                }
                Err(TryLockError::Error(e)) => return Err(BackendError::new(Errno::from_io(&e), shown(&path))),
            }
        }
        let mut fake = self.load()?;
        let before = fake.world().clone();
        let result = work(&mut fake);
        // A refused step may have happened in part, as on the kernel.
        if *fake.world() != before {
            self.save(&fake)?;
        }
        result
    }
}

impl Backend for Kept {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full("fake")
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        Fake::empty().machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        let mut fake = self.load()?;
        let before = fake.world().clone();
        let seen = fake.observe(scope)?;
        if *fake.world() == before {
            return Ok(seen);
        }
        // A vif has appeared: its index is given out for good. Where nothing can be written it is seen all the same, so that
        // a plan can be shown to somebody who may not write here.
        self.alone(|fake| fake.observe(scope)).or(Ok(seen))
    }

    fn details(&mut self) -> Result<(Details, Vec<Missed>), BackendError> {
        self.load()?.details()
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.alone(|fake| fake.apply(step))
    }
}

fn failed(e: Error) -> BackendError {
    let errno = e.errno().unwrap_or(Errno::EPERM);
    BackendError::new(errno, e.object().unwrap_or_default()).with_message(e.message())
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::snapshot::Part;
    use crate::step::{LinkChange, LinkRef, LinkStep};

    /// A directory that is removed at the end.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Self {
            Dir(std::env::temp_dir().join(format!("xennet-kept-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn vif(n: u32) -> crate::model::IfName {
        format!("vif{n}.0").parse().unwrap()
    }

    fn up(n: u32) -> Step {
        let change = LinkChange { up: Some(true), ..LinkChange::default() };
        Step::Link(LinkStep::Set { link: LinkRef::named(vif(n)), change })
    }

    #[test]
    fn another_value_finds_what_the_first_one_did() {
        let dir = Dir::new("finds");
        let mut one = Kept::at(&dir.0).unwrap();
        assert!(!dir.0.exists(), "nothing is written before it is needed");
        one.apply(&up(1)).unwrap();
        let mut two = Kept::at(&dir.0).unwrap();
        let seen = two.observe(&Scope::none().with(Part::Link(vif(1)))).unwrap();
        assert!(seen.links[&vif(1)].up);
    }

    #[test]
    fn steps_of_many_at_once_are_all_kept_and_indexes_are_given_out_once() {
        let dir = Dir::new("many");
        std::thread::scope(|scope| {
            for n in 1..=8 {
                let dir = &dir.0;
                scope.spawn(move || {
                    let mut kept = Kept::at(dir).unwrap();
                    let seen = kept.observe(&Scope::none().with(Part::Link(vif(n)))).unwrap();
                    let index = seen.links[&vif(n)].index;
                    kept.apply(&up(n)).unwrap();
                    let again = kept.observe(&Scope::none().with(Part::Link(vif(n)))).unwrap();
                    assert_eq!(again.links[&vif(n)].index, index);
                });
            }
        });
        let all = Kept::at(&dir.0).unwrap().observe(&Scope::none().with(Part::Links)).unwrap();
        assert!((1..=8).all(|n| all.links[&vif(n)].up), "{}", all.render());
    }

    #[test]
    fn a_file_that_is_no_world_is_refused_and_an_unwritable_place_shows_plans_still() {
        let dir = Dir::new("broken");
        fs::create_dir_all(&dir.0).unwrap();
        fs::write(dir.0.join("fake.json"), "{").unwrap();
        assert_eq!(Kept::at(&dir.0).unwrap_err().kind(), ErrorKind::StateUnusable);

        assert_eq!(Kept::at("/dev/null/x").unwrap_err().errno(), Some(Errno::ENOTDIR));
        let mut nowhere = Kept::at("/proc/xennet-nowhere").unwrap();
        assert!(nowhere.observe(&Scope::none().with(Part::Link(vif(1)))).unwrap().links.contains_key(&vif(1)));
        assert!(nowhere.apply(&up(1)).is_err());
    }
}
