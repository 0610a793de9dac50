//! Faults that are planted in a host in a namespace, found by doctor, and mended as it says.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod beside;
mod edited;
mod firewalls;
mod founding;
mod healthy;
mod planted;
mod world;
