//! What is written down before the first step, so that a crash can be undone or finished.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{IfName, Intent, VifId};
use crate::plan::{Goal, Plan};
use crate::snapshot::Snapshot;

/// What an operation is about: the unit of locking, journalling and undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Subject {
    /// A vif.
    Vif(VifId),
    /// A bridge.
    Bridge(IfName),
}

impl fmt::Display for Subject {
    /// The name of its files in the state directory: `vif5.0`, `bridge-xenbr0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Vif(id) => id.fmt(f),
            Subject::Bridge(name) => write!(f, "bridge-{name}"),
        }
    }
}

/// One operation: what was wanted and what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The format of this document: 1.
    pub xennet: u32,
    /// What it is about.
    pub subject: Subject,
    /// What was wanted.
    pub goal: Goal,
    /// The observed state before the first step: what undo goes back to.
    pub before: Snapshot,
    /// The text that the wish came from, for people: the vif line.
    pub text: Option<String>,
    /// The operation before this one on the same subject; it becomes the last one again when this one is undone.
    pub previous: Option<Box<Entry>>,
}

impl Entry {
    /// The entry for a plan.
    pub fn of(subject: Subject, plan: &Plan, text: Option<String>, previous: Option<Entry>) -> Self {
        let previous = previous.map(|p| Box::new(Entry { previous: None, ..p }));
        Entry { xennet: 1, subject, goal: plan.goal().clone(), before: plan.before().clone(), text, previous }
    }

    /// The link that the operation left attached: its index and present name. `None` after a detach.
    pub fn owned_link(&self) -> Option<(u32, IfName)> {
        match &self.goal {
            Goal::Intent(Intent::Attach(a)) => Some((self.before.links.get(&a.device)?.index, a.name)),
            _ => None,
        }
    }
}

/// Where operations are written down.
pub trait Journal {
    /// Writes down, before the first step, what is going to happen.
    ///
    /// # Errors
    /// [`StateFull`](crate::ErrorKind::StateFull) or [`StateUnusable`](crate::ErrorKind::StateUnusable); then nothing
    /// may be applied.
    fn begin(&mut self, plan: &Plan) -> Result<(), Error>;

    /// The goal is reached and verified: the entry becomes the record of the subject.
    ///
    /// # Errors
    /// As [`begin`](Self::begin); the entry then stays open and the next run closes it.
    fn commit(&mut self) -> Result<(), Error>;

    /// The system is as before: the entry is thrown away.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    fn abandon(&mut self) -> Result<(), Error>;
}

/// A journal that is gone with the process: for rehearsals on the fake backend.
#[derive(Debug)]
pub struct MemoryJournal {
    subject: Subject,
    text: Option<String>,
    previous: Option<Entry>,
    open: Option<Entry>,
    /// The last committed entry.
    pub committed: Option<Entry>,
}

impl MemoryJournal {
    /// An empty journal for one operation.
    pub fn new(subject: Subject, text: Option<String>, previous: Option<Entry>) -> Self {
        MemoryJournal { subject, text, previous, open: None, committed: None }
    }
}

impl Journal for MemoryJournal {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        self.open = Some(Entry::of(self.subject, plan, self.text.take(), self.previous.take()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.committed = self.open.take();
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), Error> {
        self.open = None;
        Ok(())
    }
}
