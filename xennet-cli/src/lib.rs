//! The command `xennet`.
//!
//! It is a library too, so that tests and examples can use the [`sandbox`] in which the command rehearses.

pub mod sandbox;
