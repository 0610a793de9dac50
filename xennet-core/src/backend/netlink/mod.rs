//! The real kernel, over blocking netlink sockets of our own.
