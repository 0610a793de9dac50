//! What a host is made of: its backend and its settings.

use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use pyo3::prelude::*;
use xennet_core::backend::fake::{Fake, Fault, Netback};
use xennet_core::exec::StateDir;
use xennet_core::recording::Recording;
use xennet_core::testing::SharedFake;
use xennet_core::{Errno, Error, ErrorKind, Host, MacBinding, TypeIf};

use crate::error::raised;
use crate::machine::{Machine, in_namespace};

/// What a host works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Netlink,
    Fake,
    Recording,
}

impl Backend {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Backend::Netlink => "netlink",
            Backend::Fake => "fake",
            Backend::Recording => "recording",
        }
    }
}

/// The keywords of what makes a host.
pub(crate) struct Settings {
    pub(crate) state_dir: Option<StateDir>,
    pub(crate) lock_deadline: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    pub(crate) binding: MacBinding,
    pub(crate) faults: Option<Vec<Fault>>,
    pub(crate) namespace: Option<OwnedFd>,
}

/// A host that was made.
pub(crate) struct Opened {
    pub(crate) machine: Machine,
    pub(crate) backend: Backend,
    /// The world of a host in memory.
    pub(crate) fake: Option<SharedFake>,
}

impl Settings {
    /// Makes a host on the backend of this name: "netlink", or with a recording "recording"; any other is the fake.
    pub(crate) fn open(self, backend: &str, recording: Option<&Recording>) -> Result<Opened, Error> {
        let Settings { state_dir, lock_deadline, budget, binding, faults, namespace } = self;
        let in_dir = state_dir.as_ref().filter(|_| faults.is_none());
        let mut fake = None;
        let mut shared = |world: Fake| -> Box<dyn xennet_core::backend::Backend + Send> {
            Box::new(fake.insert(SharedFake::new(world)).clone())
        };
        let (backend, core) = match (backend, recording, in_dir) {
            ("netlink", _, _) => {
                let core = match &namespace {
                    Some(namespace) => in_namespace(namespace.as_fd(), Host::netlink)?,
                    None => Host::netlink(),
                };
                (Backend::Netlink, core?)
            }
            ("recording", Some(recording), _) => {
                let set_up =
                    |world: Fake| shared(world.with_netback(Netback::Plays).with_faults(faults.unwrap_or_default()));
                (Backend::Recording, Host::from_recording_with(recording, set_up))
            }
            (_, _, Some(dir)) => (Backend::Fake, Host::fake_in(dir.clone())?),
            _ => {
                let world = Fake::example().with_faults(faults.unwrap_or_default());
                (Backend::Fake, Host::with_backend(shared(world)))
            }
        };
        let core = match &state_dir {
            Some(dir) => core.with_state_dir(dir.clone()),
            None => core,
        };
        let core = lock_deadline.into_iter().fold(core, Host::with_lock_deadline).with_mac_binding(binding);
        let state_dir = match backend {
            Backend::Netlink => Some(state_dir.unwrap_or_else(|| StateDir::at(StateDir::DEFAULT))),
            _ => state_dir,
        };
        Ok(Opened { machine: Machine::new(core, state_dir, namespace, budget), backend, fake })
    }
}

pub(crate) fn faults_of(document: &str) -> PyResult<Vec<Fault>> {
    serde_json::from_str(document).map_err(|e| {
        let e = Error::new(ErrorKind::Invalid, format!("faults are not understood: {e}")).with_object("faults");
        raised(&e.with_hint("the classes of xennet.faults make faults"))
    })
}

/// A copy of the descriptor of a Python file.
pub(crate) fn copied(file: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    let number: i32 = file.call_method0("fileno")?.extract()?;
    // `/proc/self/fd` opens what the number stands for anew, and borrows nothing.
    std::fs::File::open(format!("/proc/self/fd/{number}")).map(OwnedFd::from).map_err(|e| {
        let e = Error::new(ErrorKind::Io, "the network namespace cannot be held").with_errno(Errno::from_io(&e));
        raised(
            &e.with_object("host")
                .unchanged()
                .with_hint("close files or hosts of this process, or raise its limit: ulimit -n"),
        )
    })
}

/// The words of `MacBinding`.
pub(crate) const BINDINGS: [&str; 2] = ["where-declared", "always"];

pub(crate) fn binding(word: &str) -> Result<MacBinding, Error> {
    match BINDINGS.iter().position(|known| *known == word) {
        Some(0) => Ok(MacBinding::WhereDeclared),
        Some(_) => Ok(MacBinding::Always),
        None => Err(no_word("mac_binding", word, &BINDINGS)),
    }
}

pub(crate) fn kind_of_link(word: &str) -> Result<TypeIf, Error> {
    let all = [TypeIf::Vif, TypeIf::Tap];
    let known = all.iter().find(|kind| kind.name() == word);
    known.copied().ok_or_else(|| no_word("type_if", word, &all.map(TypeIf::name)))
}

/// An argument that has one of a few words.
fn no_word(argument: &str, given: &str, words: &[&str]) -> Error {
    Error::new(ErrorKind::Invalid, format!("{argument} cannot be {given:?}"))
        .with_object(argument)
        .with_hint(format!("it is one of: {}", words.join(", ")))
}
