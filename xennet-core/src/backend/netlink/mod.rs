//! The real kernel, over blocking netlink sockets of our own.

mod extack;
mod nft;
mod socket;
mod wire;
