//! What is remembered of earlier operations, in a directory or in memory.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::exec::{Entry, Held, HeldNetworks, StateDir, Subject, other_name};
use crate::gather;
use crate::model::{IfName, Started};

/// Where operations are remembered.
pub(super) enum Records {
    Dir(StateDir),
    /// Gone with the process; the last one that changed is at the end.
    Memory(Memory),
}

/// What is remembered without a directory.
#[derive(Default)]
pub(super) struct Memory {
    entries: Vec<(Subject, Entry)>,
    networks: BTreeMap<IfName, Started>,
    stations: BTreeMap<String, Subject>,
}

impl Records {
    /// A memory of these.
    pub(super) fn remembering(entries: impl Iterator<Item = Entry>, networks: impl Iterator<Item = Started>) -> Self {
        Records::Memory(Memory {
            entries: entries.map(|entry| (entry.subject, entry)).collect(),
            networks: gather::map(networks.map(|started| (started.network.name(), started))),
            stations: BTreeMap::new(),
        })
    }

    /// All entries, that of the newest operation at the end.
    pub(super) fn newest_last(&self) -> Result<Vec<Entry>, Error> {
        let (mut all, last) = (self.all()?, self.last()?);
        let newest = last.and_then(|subject| all.remove(&subject));
        Ok(all.into_values().chain(newest).collect())
    }

    pub(super) fn record(&self, subject: Subject) -> Result<Option<Entry>, Error> {
        match self {
            Records::Dir(dir) => dir.record(subject),
            Records::Memory(m) => Ok(m.entries.iter().find(|(s, _)| *s == subject).map(|(_, e)| e.clone())),
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
            Records::Memory(m) => Ok(gather::map(m.entries.iter().cloned())),
        }
    }

    pub(super) fn last(&self) -> Result<Option<Subject>, Error> {
        match self {
            Records::Dir(dir) => dir.latest(),
            Records::Memory(m) => Ok(m.entries.last().map(|(s, _)| *s)),
        }
    }

    /// Whether the last start of a network waits for a confirmation; a memory has no guards.
    pub(super) fn is_awaited(&self, name: &IfName) -> bool {
        match self {
            Records::Dir(dir) => dir.is_awaited(name),
            Records::Memory(_) => false,
        }
    }

    /// Of a memory only: a directory's records change through its journals.
    pub(super) fn replace(&mut self, subject: Subject, entry: Option<Entry>) {
        if let Records::Memory(m) = self {
            m.entries.retain(|(s, _)| *s != subject);
            m.entries.extend(entry.map(|e| (subject, e)));
        }
    }

    /// The lock of all networks; a memory has one user.
    pub(super) fn hold_networks(
        &self,
        deadline: Duration,
        interrupted: &dyn Fn() -> bool,
    ) -> Result<Option<HeldNetworks>, Error> {
        match self {
            Records::Dir(dir) => dir.hold_networks_unless(deadline, interrupted).map(Some),
            Records::Memory(_) => Ok(None),
        }
    }

    pub(super) fn started(&self, name: &IfName) -> Result<Option<Started>, Error> {
        match self {
            Records::Dir(dir) => dir.started(name),
            Records::Memory(m) => {
                let by_bridge = || m.networks.values().find(|s| other_name(s) == Some(*name));
                Ok(m.networks.get(name).or_else(by_bridge).cloned())
            }
        }
    }

    /// The same of one whose stop was begun.
    pub(super) fn started_or_stopping(&self, name: &IfName) -> Result<Option<Started>, Error> {
        match self {
            Records::Dir(dir) => dir.started_or_stopping(name),
            Records::Memory(_) => self.started(name),
        }
    }

    /// A network shall not be found any more, and what is known of it shall be until it is stopped.
    pub(super) fn set_stopping(&mut self, name: &IfName) -> Result<(), Error> {
        match self {
            Records::Dir(dir) => dir.set_stopping(name),
            Records::Memory(_) => self.set_stopped(name),
        }
    }

    /// Who has taken a place ([`StateDir::station`]).
    pub(super) fn station(&self, place: &str) -> Result<Option<Subject>, Error> {
        match self {
            Records::Dir(dir) => dir.station(place),
            Records::Memory(m) => Ok(m.stations.get(place).copied()),
        }
    }

    /// Takes a place, whoever had it.
    pub(super) fn take_station(&mut self, place: &str, subject: Subject) -> Result<(), Error> {
        match self {
            Records::Dir(dir) => dir.take_station(place, subject),
            Records::Memory(m) => {
                m.stations.insert(place.to_owned(), subject);
                Ok(())
            }
        }
    }

    /// Leaves a place, if this subject has it.
    pub(super) fn leave_station(&mut self, place: &str, subject: Subject) -> Result<(), Error> {
        match self {
            Records::Dir(dir) => dir.leave_station(place, subject),
            Records::Memory(m) => {
                m.stations.retain(|p, has| p != place || *has != subject);
                Ok(())
            }
        }
    }

    /// All places that are taken. A listing.
    pub(super) fn stations(&self) -> Result<Vec<(String, Subject)>, Error> {
        match self {
            Records::Dir(dir) => dir.stations(),
            Records::Memory(m) => Ok(m.stations.iter().map(|(place, has)| (place.clone(), *has)).collect()),
        }
    }

    pub(super) fn all_started(&self) -> Result<Vec<Started>, Error> {
        match self {
            Records::Dir(dir) => dir.all_started(),
            Records::Memory(m) => Ok(m.networks.values().cloned().collect()),
        }
    }

    pub(super) fn set_started(&mut self, started: &Started) -> Result<(), Error> {
        match self {
            Records::Dir(dir) => dir.set_started(started),
            Records::Memory(m) => {
                m.networks.insert(started.network.name(), started.clone());
                Ok(())
            }
        }
    }

    pub(super) fn set_stopped(&mut self, name: &IfName) -> Result<(), Error> {
        match self {
            Records::Dir(dir) => dir.set_stopped(name),
            Records::Memory(m) => {
                m.networks.remove(name);
                Ok(())
            }
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
