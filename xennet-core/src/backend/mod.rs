//! The boundary to the world: observe a part of it, apply one step. Nothing here decides anything.

pub mod fake;
#[cfg(feature = "netlink")]
pub mod netlink;

use std::time::Duration;

use crate::error::Errno;
use crate::model::{IfName, ViolationCount};
use crate::snapshot::{Details, Part, Scope, Snapshot};
use crate::step::{NftTransaction, Step};

/// Something that can be looked at and changed: the kernel, or a model of it.
///
/// A backend never decides: it has no "if it exists already". What is asked for is tried, and the answer comes back.
///
/// A backend of one's own wraps another one, or talks to something else; the suite of the feature `testing` certifies it.
///
/// ```
/// use xennet_core::backend::fake::Fake;
/// use xennet_core::backend::{Backend, BackendError, Capabilities};
/// use xennet_core::snapshot::{Scope, Snapshot};
/// use xennet_core::step::Step;
/// use xennet_core::{DomId, Host};
///
/// /// Prints what it does.
/// struct Loud(Fake);
///
/// impl Backend for Loud {
///     fn capabilities(&self) -> Capabilities {
///         self.0.capabilities()
///     }
///     fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
///         self.0.observe(scope)
///     }
///     fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
///         println!("{step}");
///         self.0.apply(step)
///     }
/// }
///
/// let mut host = Host::with_backend(Box::new(Loud(Fake::example())));
/// host.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("netlink", "mock"))]
pub trait Backend {
    /// What this backend can do, found without side effects.
    fn capabilities(&self) -> Capabilities;

    /// Looks at the parts of the system that `scope` names. A missing object is simply absent from the answer.
    ///
    /// # Errors
    /// When the looking itself fails: no permission, an answer that cannot be read, a listing that was interrupted again
    /// and again.
    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError>;

    /// Looks at what is no state: carriers, counters, learned entries, and other programs' tables, of the whole host; and what of it could
    /// not be looked at. A listing.
    ///
    /// A backend that does not say has none.
    ///
    /// # Errors
    /// When nothing of it can be looked at.
    fn details(&mut self) -> Result<(Details, Vec<Missed>), BackendError> {
        Ok((Details::default(), Vec::new()))
    }

    /// The packets of guests that the guard and the gate have dropped: one count for each link and class, in this order. A part of
    /// [`details`](Self::details), which a backend may have a shorter way to.
    ///
    /// # Errors
    /// As [`details`](Self::details).
    fn violations(&mut self) -> Result<Vec<ViolationCount>, BackendError> {
        Ok(self.details()?.0.violations.into_iter().collect())
    }

    /// Waits until there is a link of this name, for the given time at the most; whether there is one now.
    ///
    /// A backend in which nothing happens by itself looks once and does not wait.
    ///
    /// # Errors
    /// As [`observe`](Self::observe).
    fn wait(&mut self, link: &IfName, patience: Duration) -> Result<bool, BackendError> {
        let _ = patience;
        Ok(self.observe(&Scope::none().with(Part::Link(*link)))?.links.contains_key(link))
    }

    /// Has the system load what tables like these need to be made, where they are not there: then making them does not take
    /// longer than anything else. What cannot be loaded is told when it is needed. Changes nothing that can be observed.
    fn prepare(&mut self, tables: &[NftTransaction]) {
        let _ = tables;
    }

    /// Applies one step.
    ///
    /// # Errors
    /// The kernel's refusal. A refused step may have happened in part; only looking again tells.
    fn apply(&mut self, step: &Step) -> Result<(), BackendError>;

    /// What tells this system from others, and stays the same: the MACs of bridges that are given none are made of it.
    ///
    /// # Errors
    /// Where there is nothing of the kind, as of a backend that does not say.
    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        Err(BackendError::new(Errno::EOPNOTSUPP, "the machine's id").with_message("this backend knows none"))
    }

    /// Makes ready for [`ForgetStep::Connections`](crate::step::ForgetStep::Connections), which loads no module: this may.
    ///
    /// # Errors
    /// The system's refusal.
    fn track_connections(&mut self) -> Result<(), BackendError> {
        Ok(())
    }
}

/// Something that a backend could not look at.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missed {
    /// What, in words: `learned neighbours`.
    pub what: &'static str,
    /// Why.
    pub why: BackendError,
}

impl Missed {
    /// This could not be looked at, for this reason.
    pub const fn new(what: &'static str, why: BackendError) -> Self {
        Missed { what, why }
    }
}

/// What a backend can do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// `"netlink"` or `"fake"`.
    pub name: &'static str,
    /// Bridges can filter by VLAN. `None`: not known before it is tried.
    pub bridge_vlan: Option<bool>,
    /// A link that is up keeps its name: the kernel is older than Linux 6.2.
    pub names_held_while_up: bool,
    /// nftables can be used.
    pub nft: bool,
    /// xenstore can be used.
    pub xenstore: bool,
    /// It is the system that this process runs in: programs that are started are of use to its guests.
    pub programs: bool,
}

impl Capabilities {
    /// The capabilities of a backend of this name that can do everything in its own world.
    pub const fn full(name: &'static str) -> Self {
        Capabilities {
            name,
            bridge_vlan: Some(true),
            names_held_while_up: false,
            nft: true,
            xenstore: true,
            programs: false,
        }
    }
}

/// A backend's refusal: the error number, the kernel's own sentence, and what it was about.
///
/// The number is the [source](std::error::Error::source) of the refusal, and of the [`Error`](crate::Error) that is made of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{object}: {errno}{}", message.as_ref().map(|m| format!(" ({m})")).unwrap_or_default())]
#[non_exhaustive]
pub struct BackendError {
    /// The error number.
    #[source]
    pub errno: Errno,
    /// The kernel's own sentence (netlink extended ack), if it gave one.
    pub message: Option<String>,
    /// The object: a link, a file below `/proc/sys`, a table.
    pub object: String,
    /// The running kernel is older than what this needs; the message says what that is, and the versions.
    pub too_old: bool,
}

impl BackendError {
    /// A refusal with this number, about this object.
    pub fn new(errno: Errno, object: impl Into<String>) -> Self {
        BackendError { errno, message: None, object: object.into(), too_old: false }
    }

    /// Adds the kernel's own sentence.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }
}
