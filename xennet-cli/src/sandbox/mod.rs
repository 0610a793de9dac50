//! A world to try things out in: the real kernel, and nothing real is touched.
//!
//! [`World`] is a host with an uplink, a bridge and [`Guest`]s, in namespaces of its own; [`Lan`] is one with an uplink alone,
//! on which networks are started. They need no root, no Xen and no other program.

mod guest;
mod lan;
pub mod namespace;
mod outside;
mod ping;
mod talk;
mod wire;
mod world;

pub use guest::{Guest, GuestSpec};
pub use lan::Lan;
pub use world::World;
