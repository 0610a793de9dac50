//! The C ABI of xennet. Its documentation for users is the header, `include/xennet.h`, which is generated from here.
//!
//! Who decides what:
//!
//! - [`cast`] turns C's pointers into Rust's references: the only file with `unsafe` blocks. Handles need none, since
//!   `Option<&T>` and `Option<Box<T>>` *are* C's nullable pointers.
//! - [`boundary`] decides what becomes of NULL and of a panic; every function enters through it.
//! - [`shared`] lets several threads of one process use a handle, one call at a time.
//! - The other files hold the exported functions, a few lines each. They allow `unsafe_code` for `#[unsafe(no_mangle)]`
//!   alone, which the compiler cannot tell from other uses; the test `rules` reads the files and refuses any other.
//!
//! Networking is decided in `xennet-core`, never here.

#![deny(unsafe_code)]

pub mod advice;
mod boundary;
pub mod cast;
pub mod confirm;
pub mod doctor;
pub mod error;
pub mod guest;
pub mod host;
pub mod hotplug;
pub mod kind;
pub mod links;
pub mod log;
pub mod lookup;
pub mod network;
pub mod parse;
pub mod plan;
pub mod sandbox;
pub mod schema;
pub mod settings;
mod shared;
pub mod store;
pub mod tap;
pub mod text;
pub mod trace;
pub mod vif;
