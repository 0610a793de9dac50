//! Networks: what starting and stopping them leaves, and what goes through them meanwhile.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod carrier;
mod changed;
mod firewalls;
mod matrix;
mod meanwhile;
mod moving;
mod names;
mod refused;
mod routers;
mod state;
mod together;
mod vlans;
mod world;
