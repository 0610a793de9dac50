//! The call of a toolstack on a world in memory: what only a world that contradicts itself can show.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use xennet_core::backend::fake::Fake;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::hotplug::log::Outcome;
use xennet_core::hotplug::settings::Settings;
use xennet_core::hotplug::{World, begun, call, run};
use xennet_core::snapshot::{Scope, Snapshot};
use xennet_core::step::Step;
use xennet_core::xenstore::{MemoryStore, Store, StoreError};
use xennet_core::{Errno, ErrorKind, Host};

/// A host on which every step says that the link is not there, which is there whenever somebody looks.
struct Contradiction {
    world: Fake,
    steps: Arc<Mutex<usize>>,
}

impl Backend for Contradiction {
    fn capabilities(&self) -> Capabilities {
        self.world.capabilities()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.world.observe(scope)
    }

    fn apply(&mut self, _: &Step) -> Result<(), BackendError> {
        *self.steps.lock().unwrap() += 1;
        Err(BackendError::new(Errno::ENODEV, "vif5.0"))
    }
}

#[test]
fn a_link_that_is_there_and_is_not_ends_the_call_soon_and_fills_no_log() {
    let mut store = Arc::new(Mutex::new(MemoryStore::new(0)));
    store.write("backend/vif/5/0/bridge", b"xenbr0").unwrap();
    let environment = |name: &str| match name {
        "vif" => Some("vif5.0".to_owned()),
        "XENBUS_PATH" => Some("backend/vif/5/0".to_owned()),
        _ => None,
    };
    let read = call::read(["online", "type_if=vif"], &environment);
    assert_eq!(begun("vif-bridge", &read, Duration::ZERO).unwrap().outcome, Outcome::Begun);
    let (held, steps) = (Arc::clone(&store), Arc::new(Mutex::new(0)));
    let counted = Arc::clone(&steps);
    let mut store = |_| -> Result<Box<dyn Store>, StoreError> { Ok(Box::new(Arc::clone(&held))) };
    let mut host = || {
        let backend = Contradiction { world: Fake::example(), steps: Arc::clone(&counted) };
        Ok(Host::with_backend(Box::new(backend)))
    };
    let mut driver_domain = || false;
    let world = World::new(&mut store, &mut host, &mut driver_domain);
    let answer = run("vif-bridge", read, Ok(Settings::default()), world, Duration::ZERO);
    assert_eq!(answer.error.unwrap().kind(), ErrorKind::LinkNotFound);
    let record = answer.record.unwrap();
    let names: Vec<&str> = record.timings.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["read", "wait", "tell"], "what is done again is one entry");
    let steps = *steps.lock().unwrap();
    assert!((2..100).contains(&steps), "it is tried again, and not for ever: {steps}");
}
