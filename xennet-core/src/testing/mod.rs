//! For whoever writes a backend, or tests what is built on this crate (feature `testing`).
//!
//! * [`conformance`] certifies a backend: what the Linux kernel does with each kind of step, and what it refuses.
//! * [`SharedFake`] is a fake that a test and a [`Host`](crate::Host) look at together: the test changes the world meanwhile, and puts
//!   [`Fault`]s in.
//! * [`server`] is a xenstored, and [`MemoryStore`] a store in memory.
//!
//! ```
//! use xennet_core::backend::Backend;
//! use xennet_core::testing::{Fake, conformance};
//!
//! # struct Mine(Fake);
//! # impl Backend for Mine {
//! #     fn capabilities(&self) -> xennet_core::backend::Capabilities { self.0.capabilities() }
//! #     fn observe(&mut self, scope: &xennet_core::snapshot::Scope)
//! #         -> Result<xennet_core::snapshot::Snapshot, xennet_core::backend::BackendError> { self.0.observe(scope) }
//! #     fn apply(&mut self, step: &xennet_core::step::Step)
//! #         -> Result<(), xennet_core::backend::BackendError> { self.0.apply(step) }
//! # }
//! # impl Mine { fn open() -> Self { Mine(Fake::empty()) } }
//! let mut mine = Mine::open(); // of a fresh network namespace
//! let passed = conformance(&mut mine)?;
//! assert!(passed > 40);
//! # Ok::<(), xennet_core::testing::NotConforming>(())
//! ```
//!
//! A fault is rehearsed with the host itself:
//!
//! ```
//! use xennet_core::testing::{Fake, Fault, SharedFake};
//! use xennet_core::{DomId, Errno, Host, Outcome};
//!
//! let fake = SharedFake::new(Fake::example().with_faults([Fault::FailAt { step: 1, errno: Errno::ENOMEM }]));
//! let mut host = Host::with_backend(Box::new(fake.clone()));
//! let e = host.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?).unwrap_err();
//! assert_eq!(e.outcome(), Some(Outcome::Restored));
//! assert!(fake.fake().world().links["vif5.0"].master.is_none());
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod bench;
mod cases;
mod conformance;
mod shared;

pub use crate::backend::fake::{Fake, Fault, Netback};
pub use crate::xenstore::{MemoryStore, server, tree};
pub use conformance::{Case, Failure, NotConforming, cases, conformance};
pub use shared::SharedFake;
