//! The front door: one value that plans, applies, verifies and undoes, for people who want one line.

mod apply;
mod attach;
mod confirm;
mod detach;
mod firewalls;
mod gone;
mod guest;
mod guests;
mod mend;
mod network;
mod opened;
mod others;
mod outside;
mod overview;
mod picture;
mod place;
mod record;
mod records;
mod recover;
mod refused;
mod restore;
mod several;
mod show;
mod stations;
mod status;
mod undo;
mod vlans;

use std::fmt;
use std::time::{Duration, Instant};

use self::records::{Records, Session};
use crate::backend::Backend;
use crate::backend::fake::{Fake, Kept};
use crate::budget::Budget;
use crate::error::{Error, ErrorKind};
use crate::events::event;
use crate::exec::{self, Applied, Freshness, Journal, MemoryJournal, StateDir, Subject, observe_for};
use crate::model::{BridgeSpec, IfName, Request, Resolved, macgen};
use crate::plan::{self, Plan, ShownPlan};
use crate::snapshot::{LinkKind, Part, Scope, Snapshot};

pub use confirm::{guard_is_there, tell_guard};
pub use opened::OpenedBy;
pub use overview::{Overview, ShownFilter, ShownNetwork, ShownRoute};
pub(crate) use record::ACCEPTS;
pub use recover::{Recovered, RecoveredSubject};
pub use show::{Shown, ShownBridge, ShownVif};
pub use status::{NetworkState, NetworkStatus};

/// A Xen host, or a rehearsal of one.
///
/// Every method takes the lock of its vif or bridge, first recovers what a crashed run left open there, and leaves either
/// the wanted, verified state or the earlier one.
///
/// ```
/// use xennet_core::{DomId, Host, VifSpec};
///
/// let mut host = Host::fake(); // or Host::netlink()?
/// let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0".parse()?;
/// println!("{}", host.plan_attach(DomId::new(5)?, &vif)?); // nothing happens
/// host.attach(DomId::new(5)?, &vif)?; // verified, or restored and told
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub struct Host {
    backend: Box<dyn Backend + Send>,
    records: Records,
    deadline: Duration,
    interrupt: Option<Interrupt>,
    opened: OpenedBy,
    budget: Budget,
    binding: MacBinding,
    /// Whether each lock is kept after its call, and the lock that is held now.
    keeps: bool,
    kept: Option<(Subject, Session)>,
    /// Whether the process ends soon. Then the memory of a plan is left for its end to free.
    ends: bool,
    /// The plan that is to be carried out as it was shown.
    shown: Option<ShownPlan>,
}

/// How often the interrupt is asked while a link is waited for.
const OFTEN: Duration = Duration::from_millis(100);

/// Says whether to give up waiting.
type Interrupt = Box<dyn Fn() -> bool + Send + Sync>;

/// Whether a guest is bound to its MAC where its vif line declares no addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacBinding {
    /// Without `ip=` nothing of what a guest sends is filtered: it may route, bridge, or share an address with others.
    #[default]
    WhereDeclared,
    /// Every guest may send from its own MAC only; what it sends from there is filtered where `ip=` declares addresses.
    Always,
}

impl Host {
    /// How long a call waits for another process that works on the same vif or bridge.
    pub const LOCK_DEADLINE: Duration = Duration::from_secs(10);

    /// The real kernel, in the calling thread's network namespace, with the state in `/run/xennet`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Denied`] if no netlink socket can be opened.
    #[cfg(feature = "netlink")]
    pub fn netlink() -> Result<Host, Error> {
        let backend = crate::backend::netlink::Netlink::open()?;
        Ok(Host::with_backend(Box::new(backend)).with_state_dir(StateDir::at(StateDir::DEFAULT)))
    }

    /// A rehearsal in memory: [`Fake::example`], a host with an uplink `eth0`, a bridge `xenbr0`, and a netback that makes
    /// a vif when it is asked for. Nothing outlives the value.
    #[doc(alias("mock", "rehearsal", "dry-run"))]
    pub fn fake() -> Host {
        Host::with_backend(Box::new(Fake::example()))
    }

    /// A rehearsal that outlives the process: as [`fake`](Self::fake), with the world and the state kept in this directory.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory holds a world that cannot be read.
    pub fn fake_in(dir: StateDir) -> Result<Host, Error> {
        Ok(Host::with_backend(Box::new(Kept::at(dir.path())?)).with_state_dir(dir))
    }

    /// Any backend; operations are remembered in memory until [`with_state_dir`](Self::with_state_dir) is called.
    pub fn with_backend(backend: Box<dyn Backend + Send>) -> Host {
        Host {
            backend,
            records: Records::Memory(records::Memory::default()),
            deadline: Host::LOCK_DEADLINE,
            interrupt: None,
            opened: OpenedBy::this_process(),
            budget: Budget::unlimited(),
            binding: MacBinding::default(),
            keeps: false,
            kept: None,
            ends: false,
            shown: None,
        }
    }

    /// Remembers operations in this directory.
    #[must_use]
    pub fn with_state_dir(mut self, dir: StateDir) -> Host {
        self.records = Records::Dir(dir);
        self
    }

    /// Waits at most this long for another process that works on the same vif or bridge; 10 s by default.
    #[must_use]
    pub fn with_lock_deadline(mut self, deadline: Duration) -> Host {
        self.deadline = deadline;
        self
    }

    /// How long all that is waited for from now on may take together: locks, links, a dnsmasq that is started anew. Each wait has a
    /// limit of its own besides, for example [`with_lock_deadline`](Self::with_lock_deadline).
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// How long a lock is waited for.
    fn patience(&self) -> Duration {
        self.deadline.min(self.budget.left())
    }

    /// Gives up waiting for another process as soon as this says so, with [`ErrorKind::Busy`]. It is asked some times a second, and
    /// only while there is somebody to wait for.
    #[must_use]
    pub fn with_interrupt(mut self, interrupt: impl Fn() -> bool + Send + Sync + 'static) -> Host {
        self.interrupt = Some(Box::new(interrupt));
        self
    }

    /// Binds guests to their MACs even where nothing is declared; by default only where `ip=` declares addresses.
    #[must_use]
    pub fn with_mac_binding(mut self, binding: MacBinding) -> Host {
        self.binding = binding;
        self
    }

    /// Keeps the lock of a vif or bridge after an operation on it, until [`release`](Self::release) or an operation on another one. So
    /// follow-up work happens before the next caller gets in. Without this the lock ends with the operation.
    #[must_use]
    pub fn with_locks_kept(mut self) -> Host {
        self.keeps = true;
        self
    }

    /// For a process that ends after an operation or two: the memory of plans is not freed piece by piece before that.
    #[cfg(feature = "netlink")]
    #[must_use]
    pub(crate) fn ending_soon(mut self) -> Host {
        self.ends = true;
        self
    }

    /// Takes the lock of a vif or bridge ahead of an operation on it, and keeps it, where locks are kept.
    ///
    /// # Errors
    /// [`ErrorKind::Busy`], [`ErrorKind::StateFull`], [`ErrorKind::StateUnusable`].
    pub fn lock(&mut self, subject: Subject) -> Result<(), Error> {
        let session = self.hold(subject)?;
        self.keep(session, subject);
        Ok(())
    }

    /// Gives back a lock that is kept.
    pub fn release(&mut self) {
        self.kept = None;
    }

    /// The backend, for looking around.
    pub fn backend(&mut self) -> &mut dyn Backend {
        &mut *self.backend
    }

    /// What making or changing this bridge would do. Changes nothing.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan_bridge(&mut self, bridge: &BridgeSpec) -> Result<Plan, Error> {
        let spec = self.bridge_with_mac(bridge)?;
        Ok(self.plan(&Resolved::Bridge(spec))?.asked(Request::Bridge(Box::new(bridge.clone()))))
    }

    /// Makes sure that a bridge exists with these settings. A new bridge without a MAC in the spec gets one that is derived
    /// from this machine's id and the bridge's name, so that it does not follow its ports.
    ///
    /// ```
    /// use xennet_core::{BridgeSpec, Host, Mtu};
    ///
    /// let mut host = Host::fake();
    /// let bridge = BridgeSpec::new("br-dmz".parse()?).with_mtu(Mtu::new(1400)?);
    /// assert!(host.ensure_bridge(&bridge)?.steps > 0);
    /// assert_eq!(host.ensure_bridge(&bridge)?.steps, 0, "it is there, and as it shall be");
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    #[doc(alias("brctl", "addbr"))]
    pub fn ensure_bridge(&mut self, bridge: &BridgeSpec) -> Result<Applied, Error> {
        let subject = Subject::Bridge(bridge.name());
        let mut session = self.begin(subject)?;
        let spec = self.bridge_with_mac(bridge)?;
        let plan = self.plan(&Resolved::Bridge(spec))?;
        self.check_shown(&plan)?;
        if plan.is_empty() {
            return Ok(Applied::nothing(plan));
        }
        self.carry_out(&mut session, subject, plan, None, &format!("cannot set up bridge {}", bridge.name()))
    }

    /// Waits until there is a link of this name, for the given time at the most; whether there is one. Asks the
    /// [interrupt](Self::with_interrupt) some times a second.
    ///
    /// # Errors
    /// As [`Backend::wait`]; [`ErrorKind::Busy`] if the interrupt gave up.
    pub fn await_link(&mut self, link: &IfName, patience: Duration) -> Result<bool, Error> {
        self.opened.check()?;
        let waits = self.budget.at_most(patience);
        // Nobody can interrupt a wait in the kernel.
        let slice = if self.interrupt.is_some() { OFTEN } else { Duration::MAX };
        loop {
            let begun = Instant::now();
            if self.backend.wait(link, waits.left().min(slice)).map_err(|e| e.into_observe_error())? {
                return Ok(true);
            }
            // A backend in which nothing happens by itself does not wait.
            if waits.is_over() || begun.elapsed() < slice {
                return Ok(false);
            }
            if self.interrupted()() {
                let message = format!("link {link} is not waited for any longer");
                return Err(Error::new(ErrorKind::Busy, message).with_object(link.as_str()).unchanged());
            }
        }
    }

    /// Whether there is a bridge of this name.
    ///
    /// # Errors
    /// As [`Backend::observe`].
    pub fn is_bridge(&mut self, name: &IfName) -> Result<bool, Error> {
        let seen = self.look(&Scope::none().with(Part::Link(*name)))?;
        Ok(seen.links.get(name).is_some_and(|l| l.kind == LinkKind::Bridge))
    }

    /// Takes the subject's lock, and closes what a crash left open.
    fn begin(&mut self, subject: Subject) -> Result<Session, Error> {
        let mut session = self.hold(subject)?;
        if let Session::Held(held) = &mut session {
            self.recover_held(held, subject)?;
        }
        Ok(session)
    }

    /// Takes the subject's lock, if it is not kept.
    fn hold(&mut self, subject: Subject) -> Result<Session, Error> {
        self.opened.check()?;
        match self.kept.take() {
            Some((kept, session)) if kept == subject => return Ok(session),
            // One lock at a time: two that are waited for in two orders would be waited for until the deadline.
            other => drop(other),
        }
        Ok(match &self.records {
            Records::Dir(dir) => {
                let held = dir.hold_unless(subject, self.patience(), &self.interrupted())?;
                event!(debug, %subject, "the lock is taken");
                Session::Held(Box::new(held))
            }
            Records::Memory(_) => Session::Memory(self.records.record(subject)?.map(Box::new)),
        })
    }

    /// Whether to give up waiting for a lock.
    fn interrupted(&self) -> impl Fn() -> bool {
        || self.interrupt.as_ref().is_some_and(|interrupt| interrupt())
    }

    /// Keeps the lock, if it is to be kept.
    fn keep(&mut self, session: Session, subject: Subject) {
        self.kept = self.keeps.then_some((subject, session));
    }

    fn look(&mut self, scope: &Scope) -> Result<Snapshot, Error> {
        self.opened.check()?;
        self.backend.observe(scope).map_err(|e| e.into_observe_error())
    }

    fn plan(&mut self, resolved: &Resolved) -> Result<Plan, Error> {
        self.opened.check()?;
        let now = observe_for(resolved, &mut *self.backend).map_err(|e| e.into_observe_error())?;
        self.plan_from(resolved, now, &Scope::none())
    }

    /// The same, by a look at all rules of our nft tables.
    fn plan_whole(&mut self, resolved: &Resolved) -> Result<Plan, Error> {
        self.opened.check()?;
        let now = exec::observe_whole(resolved, &mut *self.backend, Snapshot::default());
        self.plan_from(resolved, now.map_err(|e| e.into_observe_error())?, &Scope::none())
    }

    /// The plan from what was seen; what is `left` of an earlier guest goes first.
    fn plan_from(&mut self, resolved: &Resolved, now: Snapshot, left: &Scope) -> Result<Plan, Error> {
        plan::plan_instead(resolved, now, left).map_err(|e| match e.kind() {
            ErrorKind::BridgeNotFound | ErrorKind::NotABridge if e.hint().is_none() => match self.bridges() {
                Ok(bridges) if bridges.is_empty() => e.with_hint("there is no bridge here; make one first"),
                Ok(bridges) => e.with_hint(format!("bridges here: {}", joined(&bridges))),
                // The list is a courtesy; the error stands without it.
                Err(_) => e,
            },
            _ => e,
        })
    }

    /// The names of all bridges. A listing.
    fn bridges(&mut self) -> Result<Vec<IfName>, Error> {
        let all = self.look(&Scope::none().with(Part::Links))?;
        Ok(all.links.iter().filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, _)| *name).collect())
    }

    fn carry_out(
        &mut self,
        session: &mut Session,
        subject: Subject,
        plan: Plan,
        text: Option<String>,
        what: &str,
    ) -> Result<Applied, Error> {
        let done = match session {
            Session::Held(held) => {
                let done = carry_out_in(&plan, &mut *self.backend, &mut held.journal(text), what);
                if self.ends {
                    // It is memory alone: nothing in it has to be closed.
                    std::mem::forget(plan);
                }
                done
            }
            Session::Memory(record) => {
                let mut journal = MemoryJournal::new(subject, text, record.as_deref().cloned());
                let done = carry_out_in(&plan, &mut *self.backend, &mut journal, what);
                if done.is_ok() {
                    *record = journal.into_record().map(Box::new);
                    self.records.replace(subject, record.as_deref().cloned());
                }
                done
            }
        };
        #[cfg(feature = "tracing")]
        match &done {
            Ok(applied) => event!(info, %subject, steps = applied.steps, "done"),
            Err(error) => event!(warn, %subject, kind = error.kind().slug(), state = error.state(), %error, "failed"),
        }
        done
    }

    fn forget(&mut self, session: Session, subject: Subject) -> Result<(), Error> {
        match session {
            Session::Held(held) => held.forget(),
            Session::Memory(_) => {
                self.records.replace(subject, None);
                Ok(())
            }
        }
    }

    fn bridge_with_mac(&mut self, bridge: &BridgeSpec) -> Result<BridgeSpec, Error> {
        let (spec, name) = (bridge.clone(), bridge.name());
        if spec.mac().is_none() && !self.look(&Scope::none().with(Part::Link(name)))?.links.contains_key(&name) {
            let machine = self.backend.machine_id().map_err(|e| {
                let e = e.into_observe_error();
                e.with_hint(format!("give bridge {name} a MAC (mac=): otherwise one is made of the machine's id"))
            })?;
            return spec.with_mac(macgen::of_machine(&machine, &name));
        }
        Ok(spec)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("backend", &self.backend.capabilities()).finish_non_exhaustive()
    }
}

fn joined<T: ToString>(names: &[T]) -> String {
    names.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn carry_out_in(plan: &Plan, on: &mut dyn Backend, journal: &mut dyn Journal, what: &str) -> Result<Applied, Error> {
    if plan.is_empty() {
        journal.begin(plan)?;
        journal.commit()?;
        return Ok(Applied::nothing(plan.clone()));
    }
    exec::apply(plan, on, journal, Freshness::JustObserved).map_err(|e| e.into_error(what))
}
