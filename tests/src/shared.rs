//! A fake that the test and a `Host` look at together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xennet_core::backend::fake::Fake;
use xennet_core::backend::{Backend, BackendError, Capabilities, Missed};
use xennet_core::snapshot::{Details, Scope, Snapshot};
use xennet_core::step::Step;

/// Something that happens to the world without a step, as when a domain ends.
type Event = Box<dyn FnOnce(&mut Fake) + Send>;

/// A handle to a fake; clones are handles to the same one.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Inside>>);

struct Inside {
    fake: Fake,
    /// Happens before the step with this number, counted from 0.
    event: Option<(usize, Event)>,
    steps: usize,
}

impl Shared {
    /// A handle to this fake.
    pub fn new(fake: Fake) -> Self {
        Shared(Arc::new(Mutex::new(Inside { fake, event: None, steps: 0 })))
    }

    /// The same with something that happens before a step, counted from 0.
    #[must_use]
    pub fn with_event(self, before: usize, event: impl FnOnce(&mut Fake) + Send + 'static) -> Self {
        self.inside().event = Some((before, Box::new(event)));
        self
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        // A panicking test has failed already.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The fake as it is, with its faults.
    pub fn fake(&self) -> Fake {
        self.inside().fake.clone()
    }

    /// Does something to the fake.
    pub fn change(&self, change: impl FnOnce(&mut Fake)) {
        change(&mut self.inside().fake);
    }
}

impl Backend for Shared {
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
        inside.steps += 1;
        inside.fake.apply(step)
    }
}
