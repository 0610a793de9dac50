//! What is written down before the first step, so that a crash can be undone or finished.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::{
    Attach, Attachment, Behind, Detach, FoundVif, Guarded, IfName, RecordedVif, Resolved, ResolvedNetwork, ResolvedVif,
    Subject,
};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::Snapshot;

/// One operation: what was wanted and what was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Entry {
    /// The format of this document: [`Entry::FORMAT`].
    pub xennet: u32,
    /// What it is about.
    pub subject: Subject,
    /// What was wanted.
    pub goal: Goal,
    /// The observed state before the first step: what undo goes back to.
    pub before: Snapshot,
    /// The text that the wish came from, for people: the vif line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The operation before this one on the same subject; it becomes the last one again when this one is undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Box<Entry>>,
}

impl Entry {
    /// The number of the format that this version writes. It reads this one and all earlier ones.
    ///
    /// | format | since | otherwise than the one before |
    /// |---|---|---|
    /// | 1 | the first | |
    /// | 2 | 0.1 | what is empty or usual is left out; a network's file has the number, too |
    pub const FORMAT: u32 = 2;

    /// How it was before all that counts now: of a network that was started since once more, how it was without it.
    pub(crate) fn origin(&self) -> Snapshot {
        let Some(first) = &self.previous else { return self.before.clone() };
        let mut origin = first.before.clone();
        // What a new description has brought, and what it has given up.
        let brought = self.before.scope.clone().without(&origin.scope);
        origin.merge(self.before.seen(&brought));
        if let Goal::Start { started, .. } = &self.goal {
            origin.forget(&plan::given_up(started));
        }
        origin
    }

    /// The entry for a plan on a subject whose last operation was `record`.
    pub fn of(subject: Subject, plan: &Plan, text: Option<String>, record: Option<Entry>) -> Self {
        // What counts again when this one is undone. For an undo that is the operation before the one that it undoes.
        let previous = match plan.goal() {
            // The link has gone, and with it every way back.
            Goal::Resolved(Resolved::Detach(_)) if plan.before().links.is_empty() => None,
            Goal::Resolved(_) => record.map(|r| Box::new(Entry { previous: None, ..r })),
            // It knows how it was without the network.
            Goal::Start { .. } => record.map(|r| Box::new(Entry { before: r.origin(), previous: None, ..r })),
            Goal::Stop(_) => None,
            // It is as it was before it was started once more.
            Goal::Restore(_) if matches!(subject, Subject::Network(_)) => record.and_then(|r| r.previous),
            Goal::Restore(_) => record.and_then(|r| match r.previous {
                Some(previous) => Some(previous),
                None => r.earlier().map(Box::new),
            }),
        };
        Entry {
            xennet: Entry::FORMAT,
            subject,
            goal: plan.goal().clone(),
            before: plan.before().clone().without_frames(),
            text,
            previous,
        }
    }

    /// What counts once this operation is carried out: itself, or for an undo the operation before the undone one.
    pub(super) fn carried_out(self) -> Option<Entry> {
        match self.goal {
            Goal::Resolved(_) | Goal::Start { .. } => Some(self),
            Goal::Restore(_) | Goal::Stop(_) => self.previous.map(|p| *p),
        }
    }

    /// A record without a way back, for a vif that was on a bridge or renamed by our doing before this operation, when the
    /// operation that had done it is remembered no more: it stays ours, and is found, when this operation is undone.
    fn earlier(&self) -> Option<Entry> {
        let (id, device, ours, guarded, behind) = match &self.goal {
            Goal::Resolved(Resolved::Attach(a)) => (
                a.wish.id,
                a.found.device,
                a.recorded.bridge,
                a.recorded.guard.as_deref(),
                a.recorded.routes.as_deref(),
            ),
            Goal::Resolved(Resolved::Detach(d)) => {
                let bridge = d.recorded.index.and(self.before.links.get(&d.found.device)?.master);
                (d.wish.id, d.found.device, bridge, d.recorded.guard.as_deref(), d.recorded.routes.as_deref())
            }
            _ => return None,
        };
        let guarded = guarded.cloned();
        let link = self.before.links.get(&device)?;
        let attached = |bridge, attachment| {
            Resolved::from(ResolvedVif {
                wish: Attach {
                    id,
                    name: device,
                    mtu: None,
                    guard: guarded.clone().map(|g| g.guard),
                    network: None,
                    attachment,
                },
                found: FoundVif::named(device),
                recorded: RecordedVif { bridge, ..RecordedVif::default() },
            })
        };
        let goal = match (link.master.filter(|_| link.master == ours), behind) {
            (Some(bridge), _) => {
                let isolated = link.port.as_ref().is_some_and(|p| p.isolated);
                attached(Some(bridge), Attachment::Bridge { bridge, vlan: None, isolated })
            }
            (None, Some(behind)) => attached(None, behind.attachment.clone()),
            (None, None) if self.subject.to_string() != device.as_str() => Resolved::Detach(ResolvedVif {
                wish: Detach { id },
                found: FoundVif::named(device),
                recorded: RecordedVif {
                    index: Some(link.index),
                    guard: guarded.map(Box::new),
                    ..RecordedVif::default()
                },
            }),
            (None, None) => return None,
        };
        Some(Entry { goal: Goal::Resolved(goal), previous: None, text: None, ..self.clone() })
    }

    /// The vif's link as the operation left it, attached or detached: its index and name. `None` if there was none.
    pub fn link(&self) -> Option<(u32, IfName)> {
        match &self.goal {
            Goal::Resolved(Resolved::Detach(d)) => {
                Some((self.before.links.get(&d.found.device)?.index, d.found.device))
            }
            _ => self.owned_link(),
        }
    }

    /// What the guard has of the link since the operation.
    pub fn guarded(&self) -> Option<Guarded> {
        match &self.goal {
            Goal::Resolved(Resolved::Attach(a)) => a.wish.guarded(),
            _ => None,
        }
    }

    /// The network that the operation started; `None` if it was another one.
    pub(crate) fn started(&self) -> Option<&ResolvedNetwork> {
        match &self.goal {
            Goal::Start { started, .. } => Some(started),
            _ => None,
        }
    }

    /// How the link is connected by routes since the operation.
    pub fn behind(&self) -> Option<Behind> {
        match &self.goal {
            Goal::Resolved(Resolved::Attach(a)) => a.wish.behind(),
            _ => None,
        }
    }

    /// The link that the operation left attached: its index and present name. `None` after a detach.
    pub fn owned_link(&self) -> Option<(u32, IfName)> {
        match &self.goal {
            Goal::Resolved(Resolved::Attach(a)) => Some((self.before.links.get(&a.found.device)?.index, a.wish.name)),
            _ => None,
        }
    }
}

/// Where operations are written down.
///
/// ```
/// use xennet_core::backend::fake::Fake;
/// use xennet_core::exec::{self, Freshness, MemoryJournal};
/// use xennet_core::{Attach, DevId, DomId, Resolved, Subject, VifId, plan};
///
/// let mut world = Fake::example();
/// let id = VifId::new(DomId::new(5)?, DevId::FIRST);
/// let wish = Resolved::from(Attach::to_bridge(id, "xenbr0".parse()?));
/// let before = exec::observe_for(&wish, &mut world).expect("the fake can always be looked at");
/// let plan = plan::plan(&wish, &before)?;
///
/// // The journal of a host that needs none: a real one writes to a state directory first.
/// let mut journal = MemoryJournal::new(Subject::Vif(id), None, None);
/// exec::apply(&plan, &mut world, &mut journal, Freshness::JustObserved).expect("a world that nobody else changes");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias = "undo log")]
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
    record: Option<Entry>,
    open: Option<Entry>,
}

impl MemoryJournal {
    /// A journal for one operation on a subject whose last operation was `record`.
    pub fn new(subject: Subject, text: Option<String>, record: Option<Entry>) -> Self {
        MemoryJournal { subject, text, record, open: None }
    }

    /// The last operation that counts.
    pub(crate) fn into_record(self) -> Option<Entry> {
        self.record
    }
}

impl Journal for MemoryJournal {
    fn begin(&mut self, plan: &Plan) -> Result<(), Error> {
        self.open = Some(Entry::of(self.subject, plan, self.text.take(), self.record.clone()));
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.record = self.open.take().and_then(Entry::carried_out);
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), Error> {
        self.open = None;
        Ok(())
    }
}

/// A journal that writes nothing, for an operation that leads to what the record says already: after a kill in its middle, the next look
/// finds again what is missing.
#[derive(Debug)]
pub(crate) struct Unwritten;

impl Journal for Unwritten {
    fn begin(&mut self, _: &Plan) -> Result<(), Error> {
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn abandon(&mut self) -> Result<(), Error> {
        Ok(())
    }
}
