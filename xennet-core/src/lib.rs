//! The networking of a Xen host as a library.

pub mod backend;
pub mod config;
pub mod error;
pub mod exec;
mod host;
pub mod model;
pub mod plan;
pub mod snapshot;
pub mod step;

pub use error::{Diagnostic, Errno, Error, ErrorKind, Result};
pub use host::{Host, Recovered, Shown, ShownBridge, ShownVif};
pub use ipnetwork;
pub use macaddr;
pub use model::*;
