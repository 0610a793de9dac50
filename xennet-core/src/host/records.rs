//! What is remembered of earlier operations, in a directory or in memory.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::exec::{Entry, Held, StateDir, Subject};

/// Where operations are remembered.
pub(super) enum Records {
    Dir(StateDir),
    /// Gone with the process; the last one that changed is at the end.
    Memory(Vec<(Subject, Entry)>),
}

impl Records {
    pub(super) fn record(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        match self {
            Records::Dir(dir) => dir.record(subject),
            Records::Memory(list) => Ok(list.iter().find(|(s, _)| *s == subject).map(|(_, e)| e.clone())),
        }
    }

    /// What a subject is known by, whether the operation was closed or not.
    pub(super) fn known(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        match self {
            Records::Dir(dir) => dir.known(subject),
            Records::Memory(_) => self.record(subject),
        }
    }

    pub(super) fn all(&self) -> Result<BTreeMap<Subject, Entry>, Error> {
        match self {
            Records::Dir(dir) => dir.records(),
            Records::Memory(list) => Ok(list.iter().cloned().collect()),
        }
    }

    pub(super) fn last(&self) -> Result<Option<Subject>, Error> {
        match self {
            Records::Dir(dir) => dir.latest(),
            Records::Memory(list) => Ok(list.last().map(|(s, _)| *s)),
        }
    }

    /// Of a memory only: a directory's records change through its journals.
    pub(super) fn replace(&mut self, subject: Subject, entry: Option<Entry>) {
        if let Records::Memory(list) = self {
            list.retain(|(s, _)| *s != subject);
            list.extend(entry.map(|e| (subject, e)));
        }
    }
}

/// One operation on a subject, from the lock to its end.
pub(super) enum Session {
    Held(Box<Held>),
    Memory(Option<Box<Entry>>),
}

impl Session {
    pub(super) fn record(&self) -> Option<&Entry> {
        match self {
            Session::Held(held) => held.record(),
            Session::Memory(record) => record.as_deref(),
        }
    }
}
