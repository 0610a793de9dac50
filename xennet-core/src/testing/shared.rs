//! A fake that a test and a `Host` look at together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backend::fake::Fake;
use crate::backend::{Backend, BackendError, Capabilities, Missed};
use crate::snapshot::{Details, Scope, Snapshot};
use crate::step::Step;

/// Something that happens to the world without a step, as when a domain ends.
type Event = Box<dyn FnOnce(&mut Fake) + Send>;

/// A handle to a fake; clones are handles to the same one. A [`Host`](crate::Host) has one of them, a test another.
///
/// ```
/// use xennet_core::testing::{Fake, SharedFake};
/// use xennet_core::{DevId, DomId, Host, VifId};
///
/// let fake = SharedFake::new(Fake::example());
/// let mut host = Host::with_backend(Box::new(fake.clone()));
/// let domid = DomId::new(5)?;
/// host.attach(domid, &"bridge=xenbr0".parse()?)?;
/// fake.change(|world| world.remove_vif(VifId::new(domid, DevId::FIRST))); // its domain ends
/// assert!(host.show()?.vifs[0].link.is_none());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone)]
pub struct SharedFake(Arc<Mutex<Inside>>);

struct Inside {
    fake: Fake,
    /// Happens before the step with this number, counted from 0.
    event: Option<(usize, Event)>,
    steps: usize,
}

impl SharedFake {
    /// A handle to this fake.
    pub fn new(fake: Fake) -> Self {
        SharedFake(Arc::new(Mutex::new(Inside { fake, event: None, steps: 0 })))
    }

    /// The same with something that happens before a step, counted from 0, for which there is no step: a domain ends, a cable is pulled.
    #[must_use]
    pub fn with_event(self, before: usize, event: impl FnOnce(&mut Fake) + Send + 'static) -> Self {
        self.inside().event = Some((before, Box::new(event)));
        self
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // What panicked is the test, which has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A copy of the fake as it is, with its faults.
    pub fn fake(&self) -> Fake {
        self.inside().fake.clone()
    }

    /// Changes the fake: puts faults in, or does to the world what hardware and other programs do.
    pub fn change(&self, change: impl FnOnce(&mut Fake)) {
        change(&mut self.inside().fake);
    }
}

impl Backend for SharedFake {
    fn capabilities(&self) -> Capabilities {
        self.inside().fake.capabilities()
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        self.inside().fake.machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.inside().fake.observe(scope)
    }

    fn details(&mut self) -> Result<(Details, Vec<Missed>), BackendError> {
        self.inside().fake.details()
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        let mut guard = self.inside();
        let inside = &mut *guard;
        if inside.event.as_ref().is_some_and(|(at, _)| *at == inside.steps)
            && let Some((_, event)) = inside.event.take()
        {
            event(&mut inside.fake);
        }
        inside.steps = inside.steps.saturating_add(1);
        inside.fake.apply(step)
    }
}
