//! Who has a MAC on a bridge, or an address: one symbolic link each, from the place to the subject.
//!
//! A call that attaches a guest looks up its own places, and so learns of the guest that had one before without a listing. A place is
//! taken before the first step, and left when all that was learned of the guest is forgotten. So one that is found taken by a guest
//! that has gone says that something may be left of it.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::state::StateDir;
use crate::error::Error;
use crate::model::Subject;
use crate::private::{self, Holds, unusable};

/// Their directory, within the state directory.
const STATIONS: &str = "stations";

impl StateDir {
    /// Who has taken a place; `None` if nobody has. One system call where nobody has.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`](crate::ErrorKind::StateUnusable) if it cannot be read.
    pub(crate) fn station(&self, place: &str) -> Result<Option<Subject>, Error> {
        self.check()?;
        let subject = subject_of(&self.place(place))?;
        if subject.is_some() {
            // Nobody else may have put it there.
            private::check_dir(&self.path().join(STATIONS), Holds::OursOnly)?;
        }
        Ok(subject)
    }

    /// Takes a place, whoever had it.
    ///
    /// # Errors
    /// [`ErrorKind::StateFull`](crate::ErrorKind::StateFull), [`ErrorKind::StateUnusable`](crate::ErrorKind::StateUnusable).
    pub(crate) fn take_station(&self, place: &str, subject: Subject) -> Result<(), Error> {
        self.check()?;
        let path = self.place(place);
        let target = subject.to_string();
        loop {
            match symlink(&target, &path) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    private::make_dir(&self.path().join(STATIONS), Holds::OursOnly)?;
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => remove(&path)?,
                Err(e) => return Err(unusable(&path, "cannot be made", &e)),
            }
        }
    }

    /// Leaves a place that this subject has. One that another subject has taken meanwhile stays that one's.
    ///
    /// # Errors
    /// As [`station`](Self::station).
    pub(crate) fn leave_station(&self, place: &str, subject: Subject) -> Result<(), Error> {
        match self.station(place)? {
            Some(has) if has == subject => remove(&self.place(place)),
            _ => Ok(()),
        }
    }

    /// All places that are taken, in no order. A listing.
    ///
    /// # Errors
    /// As [`station`](Self::station).
    pub(crate) fn stations(&self) -> Result<Vec<(String, Subject)>, Error> {
        self.check()?;
        let dir = self.path().join(STATIONS);
        let listing = match fs::read_dir(&dir) {
            Ok(listing) => listing,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(unusable(&dir, "cannot be read", &e)),
        };
        let mut all = Vec::new();
        for entry in listing {
            let entry = entry.map_err(|e| unusable(&dir, "cannot be read", &e))?;
            if let (Ok(place), Some(subject)) = (entry.file_name().into_string(), subject_of(&entry.path())?) {
                all.push((place, subject));
            }
        }
        Ok(all)
    }

    fn place(&self, place: &str) -> PathBuf {
        self.path().join(STATIONS).join(place)
    }
}

/// The subject that a link names. What is no link, or names none, was not made by xennet, and is as good as none.
fn subject_of(path: &Path) -> Result<Option<Subject>, Error> {
    match fs::read_link(path) {
        Ok(target) => Ok(target.to_str().and_then(Subject::from_name)),
        Err(e) if [io::ErrorKind::NotFound, io::ErrorKind::InvalidInput].contains(&e.kind()) => Ok(None),
        Err(e) => Err(unusable(path, "cannot be read", &e)),
    }
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(unusable(path, "cannot be removed", &e)),
        _ => Ok(()),
    }
}
