//! A world to try things out in: the real kernel, and nothing real is touched.
//!
//! [`World`] is a host with an uplink, a bridge and [`Guest`]s, in namespaces of its own. It needs no root, no Xen and
//! no other program.

mod guest;
pub mod namespace;
mod ping;
mod wire;
mod world;

pub use guest::{Guest, GuestSpec};
pub use world::World;
