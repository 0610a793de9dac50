//! DHCP and names by a real dnsmasq, asked by real clients.
//!
//! What is configured is no evidence; an address that a client gets is, and one that another client does not get.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod bridge;
mod failures;
mod host;
mod lab;
mod life;
mod six;
mod vifs;
