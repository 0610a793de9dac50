//! xenstore: the small database of a Xen host in which toolstack, backends and frontends tell each other what they need.
//!
//! * [`Client`]: a connection to the real daemon, over its socket or the kernel's device; blocking, with deadlines.
//! * [`Store`]: what most callers need of it, as a trait.
//! * [`wire`]: the form of the messages.
//!
//! For tests and rehearsals, with the feature `testing`:
//!
//! * `MemoryStore`: a [`Store`] without a daemon.
//! * `server::Server`: a daemon of our own, with faults as values. The tools of Xen talk to it.
//! * `tree::Tree`: what the daemon does, as a pure state machine.
//!
//! This module stands by itself: who wants nothing but a client of xenstore can use it.
//!
//! ```
//! use std::time::Duration;
//! use xennet_core::xenstore::server::Server;
//! use xennet_core::xenstore::{Client, Store, StoreError};
//!
//! // A server for this example. `Client::open(&Options::default(), &|name| std::env::var_os(name))` finds the real one.
//! let server = Server::start(Default::default())?;
//! let mut store = Client::open(&server.options(), &|_| None)?;
//!
//! // All or nothing; nodes above are made, too. A relative path lies below the home of the own domain.
//! store.write_all(&[("backend/vif/5/0/bridge", b"xenbr0"), ("backend/vif/5/0/state", b"2")])?;
//! // However many, one round trip. What is missing is `None`.
//! let read = store.read_many(&["backend/vif/5/0/bridge", "backend/vif/5/0/mtu"])?;
//! assert_eq!(read, [Some(b"xenbr0".to_vec()), None]);
//! assert_eq!(store.directory("/local/domain/0/backend/vif/5/0")?, Some(vec!["bridge".into(), "state".into()]));
//!
//! // A watch tells at once that it is there, and then of every change.
//! store.watch("backend/vif/5/0/state", "my word")?;
//! store.write("backend/vif/5/0/state", b"4")?;
//! let wait = Duration::from_secs(1);
//! for _ in ["the watch is there", "the state has changed"] {
//!     let event = store.next_event(wait)?.expect("an event");
//!     assert_eq!((event.path.as_str(), event.token.as_str()), ("backend/vif/5/0/state", "my word"));
//! }
//! store.rm("backend/vif/5")?; // and all below it
//! # Ok::<(), StoreError>(())
//! ```

mod check;
mod client;
mod failure;
mod link;
#[cfg(feature = "testing")]
mod memory;
#[cfg(feature = "testing")]
mod serve;
#[cfg(feature = "testing")]
pub mod server;
#[cfg(feature = "testing")]
pub mod tree;
pub mod wire;

pub use client::{Client, Event, Options, Transaction};
pub use failure::{StoreError, StoreErrorKind};
#[cfg(feature = "testing")]
pub use memory::MemoryStore;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::budget::Budget;
use crate::snapshot::StorePermission;

/// What can be done with a store. Paths are absolute, or relative to the home of the own domain.
pub trait Store {
    /// The value of a node. `None`: there is no such node.
    ///
    /// # Errors
    /// A [`StoreError`]; `EACCES`: not allowed.
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.read_many(&[path])?.pop().flatten())
    }

    /// The values of several nodes, in the order of the paths. `None`: there is no such node. Each is read for itself: what
    /// must belong together is read in a transaction.
    ///
    /// # Errors
    /// A [`StoreError`] of the first that failed; `EACCES`: not allowed.
    fn read_many(&mut self, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Sets the value of a node. A node that does not exist is made, and those above it.
    ///
    /// # Errors
    /// A [`StoreError`]; `E2BIG`: path and value do not fit into one message; `ENOSPC`: the quota is used up.
    fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreError>;

    /// Sets several nodes, all or none of them.
    ///
    /// # Errors
    /// As [`write`](Self::write); `EAGAIN`: others kept changing the same nodes.
    fn write_all(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), StoreError>;

    /// Makes a node without a value. One that exists is left as it is.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn mkdir(&mut self, path: &str) -> Result<(), StoreError>;

    /// Removes a node and all below it. One that does not exist is a success.
    ///
    /// # Errors
    /// A [`StoreError`]; `EINVAL`: the root.
    fn rm(&mut self, path: &str) -> Result<(), StoreError>;

    /// The names of the children of a node, however many. `None`: there is no such node.
    ///
    /// # Errors
    /// A [`StoreError`]; `EAGAIN`: the list was too long for one message, and kept changing while it was read.
    fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>, StoreError>;

    /// Who may do what with a node; the owner first. `None`: there is no such node.
    ///
    /// # Errors
    /// A [`StoreError`].
    fn permissions(&mut self, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError>;

    /// Sets who may do what with a node. The first names the owner and says what everyone may.
    ///
    /// # Errors
    /// A [`StoreError`]; `ENOENT`: no such node; `EINVAL`: an empty list.
    fn set_permissions(&mut self, path: &str, list: &[StorePermission]) -> Result<(), StoreError>;

    /// Sets how long all the next operations may take together, where they can take long.
    fn set_budget(&mut self, _budget: Budget) {}
}

/// A store that several hold: each request takes the lock for itself.
impl<S: Store> Store for Arc<Mutex<S>> {
    fn read(&mut self, path: &str) -> Result<Option<Vec<u8>>, StoreError> {
        held(self).read(path)
    }

    fn read_many(&mut self, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        held(self).read_many(paths)
    }

    fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreError> {
        held(self).write(path, value)
    }

    fn write_all(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
        held(self).write_all(pairs)
    }

    fn mkdir(&mut self, path: &str) -> Result<(), StoreError> {
        held(self).mkdir(path)
    }

    fn rm(&mut self, path: &str) -> Result<(), StoreError> {
        held(self).rm(path)
    }

    fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        held(self).directory(path)
    }

    fn permissions(&mut self, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
        held(self).permissions(path)
    }

    fn set_permissions(&mut self, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
        held(self).set_permissions(path, list)
    }

    fn set_budget(&mut self, budget: Budget) {
        held(self).set_budget(budget);
    }
}

/// A panic of another holder has failed its own request, not this one.
fn held<S>(store: &Mutex<S>) -> MutexGuard<'_, S> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}
#[cfg(test)]
mod tests;
