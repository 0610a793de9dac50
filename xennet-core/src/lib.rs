//! The networking of a Xen host as a library.
//!
//! On a Xen host dom0 connects every guest (domU) to the world: netback makes a link `vif<domid>.<devid>` for each of a
//! guest's interfaces, and somebody has to make it a port of a bridge, or route to it. That somebody has been shell
//! scripts. This crate does it as a library: it plans, shows, applies, verifies and undoes.
//!
//! # One complete example
//!
//! ```
//! use xennet_core::{BridgeSpec, DevId, DomId, Host, VifSpec};
//!
//! // A rehearsal in memory; `Host::netlink()` is the same on the real kernel.
//! let mut host = Host::fake();
//! host.ensure_bridge(&BridgeSpec::new("br-dmz".parse()?))?;
//!
//! let domid = DomId::new(5)?;
//! let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=br-dmz,isolated".parse()?;
//!
//! let plan = host.plan_attach(domid, &vif)?; // nothing happens
//! assert_eq!(plan.steps().len(), 2);
//! println!("{plan}"); // one line a step, with its reason
//!
//! host.attach(domid, &vif)?; // verified, or restored and told
//! assert!(host.plan_attach(domid, &vif)?.is_empty()); // a second call changes nothing
//!
//! let typo = host.attach(domid, &"bridge=br-dzm".parse()?).unwrap_err();
//! assert_eq!(typo.kind(), xennet_core::ErrorKind::BridgeNotFound);
//! assert_eq!(typo.hint(), Some("bridges here: br-dmz, xenbr0"));
//!
//! host.detach(domid, DevId::FIRST)?;
//! # Ok::<(), xennet_core::Error>(())
//! ```
//!
//! # Six words
//!
//! * **Wish**: what somebody wants ([`Attach`], [`Network`]); with what was found for it, and what is remembered, it is [`Resolved`].
//! * **Snapshot** ([`snapshot::Snapshot`]): what was observed.
//! * **Scope** ([`snapshot::Scope`]): which part of the system.
//! * **Step** ([`step::Step`]): one change, a value that can be printed, stored, compared and refused.
//! * **Effect** ([`step::Effects`]): what a step changes besides what it asks for.
//! * **Plan** ([`plan::Plan`]): checked steps from a snapshot to what is wanted.
//!
//! # Modules, from the bottom up
//!
//! * [`model`]: values that are always valid; re-exported here.
//! * [`config`]: text in, values out, every error with its position.
//! * [`advise`]: which of the three modes fits a situation, and why.
//! * [`guest`]: the network configuration of a guest, in the format of its own system.
//! * [`managers`]: programs that manage links, too, and what keeps them off those of guests.
//! * [`snapshot`], [`step`]: what is, and what a change is. [`step::step`] is the transition function: what the Linux
//!   kernel would do with a step.
//! * [`plan`]: from a wish and a snapshot to a plan, and back to an earlier snapshot.
//! * [`xenstore`]: a client of xenstored; with the feature `testing` a xenstored, too.
//! * [`backend`]: observe, and apply one step; on the kernel ([`backend::netlink`], feature `netlink`, on by default) or
//!   in memory ([`backend::fake`]).
//! * [`exec`]: apply, verify, restore; the journal that survives a crash.
//! * [`trace`]: what happens to a packet, hop by hop, by a recording.
//! * [`services`]: a dnsmasq for a network: DHCP and names for its guests.
//! * [`Host`]: the front door.
//! * [`picture`]: a host, described networks, or a plan, drawn: as text, SVG, DOT and Mermaid.
//! * [`hotplug`]: the call that libxl makes for every vif, and what belongs to it.
//! * [`surroundings`]: what is around the kernel's objects: other programs' files, hooks, scripts.
//! * [`doctor`]: what is wrong with a host's network, and what mends it.
//! * [`document`]: every JSON document, with its version and its schema.
//! * `testing`: what certifies a backend, and rehearses faults (feature `testing`).
//!
//! # Calls block, and from async code
//!
//! Every call does its work in the calling thread and returns when it is done. What it may wait for has a limit each: another process that
//! works on the same vif, bridge or network 10 s ([`Host::with_lock_deadline`]), an answer of the kernel 5 s, a dnsmasq that starts 10 s
//! or ends 5 s, xenstored 10 s ([`xenstore::Options`]). [`Host::set_budget`] sets one [`Budget`] for all of these together. A call that waits
//! for nobody takes some hundred microseconds.
//!
//! There is no feature `async`: a future could only hide the thread that waits in the system calls, and one that is dropped half way would
//! leave a system that is neither as before nor as wanted. With tokio a call runs in `spawn_blocking`. A [`Host`] can be sent to another thread
//! (`Send`) and not be shared by two (`Sync`): have one for each thread, or one in a mutex. Hosts in several threads are as apart as
//! processes are: the locks of the state directory keep them from each other's vifs. [`Host::with_interrupt`] gives up waiting for a lock
//! when a task is cancelled; what has begun is carried out or put back.
//!
//! ```
//! use std::sync::atomic::{AtomicBool, Ordering};
//! use std::sync::{Arc, Mutex};
//! use xennet_core::{DomId, Host};
//!
//! let cancelled = Arc::new(AtomicBool::new(false));
//! let asked = Arc::clone(&cancelled);
//! let host = Arc::new(Mutex::new(Host::fake().with_interrupt(move || asked.load(Ordering::Relaxed))));
//!
//! // With tokio: tokio::task::spawn_blocking(move || ...).await
//! let work = std::thread::spawn(move || {
//!     let vif = "bridge=xenbr0".parse()?;
//!     host.lock().expect("nobody has panicked").attach(DomId::new(5)?, &vif)
//! });
//! assert!(work.join().expect("no panic")?.steps > 0);
//! # Ok::<(), xennet_core::Error>(())
//! ```
//!
//! What comes by itself has a descriptor to poll (`AsFd`), so that an event loop waits for it without a thread: watches of xenstore
//! ([`xenstore::Client`]), and what happens to links (`backend::netlink::LinkEvents`).
//!
//! # Features
//!
//! * `netlink` (default): the backend of the real kernel.
//! * `import`: readers of what Xen up to 4.4 had: `xend-config.sxp`, its wrapper scripts, the arguments of its network scripts, and
//!   the config files of `xm`.
//! * `tracing`: events of the crate `tracing`: operations and their outcomes (`info`, and `warn` for what fails), locks, steps and
//!   verification (`debug`). Without the feature nothing of it is compiled.
//! * `schema`: `schemars::JsonSchema` for the types of JSON documents. The schemas themselves need no feature: [`document::schema`].
//! * `testing`: for whoever writes a backend, or tests what is built on this crate: [`testing`](mod@testing) has the suite that certifies a
//!   backend, a fake to share with a host, a xenstored and a store in memory.

#[macro_use]
mod setters;

pub mod advise;
pub mod backend;
mod budget;
pub mod config;
pub mod doctor;
pub mod document;
pub mod error;
mod events;
pub mod exec;
mod gather;
pub mod guest;
mod host;
pub mod hotplug;
pub mod managers;
pub mod model;
pub mod picture;
pub mod plan;
mod private;
mod read;
pub mod recording;
mod schema;
pub mod services;
pub mod snapshot;
pub mod step;
pub mod surroundings;
mod tables;
#[cfg(feature = "testing")]
pub mod testing;
mod text;
pub mod trace;
pub mod version;
pub mod xenstore;

pub use budget::Budget;
pub use error::{Diagnostic, Errno, Error, ErrorKind, Outcome, Result};
pub use host::{
    Host, MacBinding, NetworkState, NetworkStatus, OpenedBy, Overview, Recovered, RecoveredSubject, Shown, ShownBridge,
    ShownFilter, ShownNetwork, ShownRoute, ShownVif, guard_is_there, tell_guard,
};
pub use ipnetwork;
pub use macaddr;
pub use model::*;
