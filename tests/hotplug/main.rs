//! Hotplug calls: the program under the name of a script, a real kernel in a namespace of its own, and a xenstored that is
//! spoken to over its socket.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod budget;
mod calls;
mod devd;
mod device;
mod disk;
mod facts;
mod firewalls;
mod flushed;
mod hooks;
mod hot_path;
mod hvm;
mod kill;
mod leftovers;
mod lock;
mod netdev;
mod networks;
mod nodes;
mod outcomes;
mod recorded;
mod rig;
mod stock;
mod store;
mod trace;
mod vectors;
mod xenbus;
