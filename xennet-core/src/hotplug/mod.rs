//! The call that a toolstack makes for every vif: what Xen's `vif-bridge`, `vif-nat` and `vif-route` did, as a library.
//!
//! netback makes a link for a guest's interface, and libxl calls a script that has to connect it. The script answers in
//! xenstore: `hotplug-status` becomes `connected`, which netback waits for, or `error`, with a reason in `hotplug-error`; libxl
//! itself believes the exit status.
//!
//! * [`call`]: arguments and environment, read as data.
//! * [`run()`]: the call itself; never silent, and nothing is left half done. `carry_out` (feature `netlink`) is the whole of it, as a process
//!   gets it.
//! * [`settings`]: what the administrator has decided.
//! * [`hooks`]: the administrator's programs behind every call.
//! * [`log`]: what is remembered of a call.
//!
//! # A rehearsal
//!
//! The store in memory comes with the feature `testing`.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use xennet_core::Host;
//! use xennet_core::hotplug::{World, call, run, settings::Settings};
//! use xennet_core::xenstore::{MemoryStore, Store};
//!
//! // What libxl writes, and how it calls.
//! let mut store = Arc::new(Mutex::new(MemoryStore::new(0)));
//! for (node, value) in [("bridge", "xenbr0"), ("mac", "00:16:3e:01:02:03"), ("ip", "192.0.2.6")] {
//!     store.write(&format!("backend/vif/5/0/{node}"), value.as_bytes())?;
//! }
//! let environment = |name: &str| match name {
//!     "vif" => Some("vif5.0".to_owned()),
//!     "XENBUS_PATH" => Some("backend/vif/5/0".to_owned()),
//!     _ => None,
//! };
//! let read = call::read(["online", "type_if=vif"], &environment);
//!
//! let held = Arc::clone(&store);
//! let mut connect = |_| Ok(Box::new(Arc::clone(&held)) as Box<dyn Store>);
//! let (mut open, mut is_driver_domain) = (|| Ok(Host::fake()), || false);
//! let world = World::new(&mut connect, &mut open, &mut is_driver_domain);
//! let answer = run("vif-bridge", read, Ok(Settings::default()), world, Duration::ZERO);
//! assert!(answer.error.is_none());
//! assert_eq!(store.read("backend/vif/5/0/hotplug-status")?.unwrap(), b"connected");
//! assert_eq!(store.read("/local/domain/5/device/vif/0/mtu")?.unwrap(), b"1500");
//! # Ok::<(), xennet_core::Error>(())
//! ```

pub mod call;
mod domain;
pub mod hooks;
pub mod log;
mod nodes;
mod run;
#[cfg(feature = "netlink")]
mod script;
pub mod settings;

pub use domain::is_driver_domain;
pub use run::{Answer, World, begun, reason, run, write_failure};
#[cfg(feature = "netlink")]
pub use script::{Caller, Defect, Environment, SCRIPTS, carry_out, script_of};
