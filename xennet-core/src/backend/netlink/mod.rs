//! The real kernel, over blocking netlink sockets of our own.

mod extack;
mod socket;
mod wire;
