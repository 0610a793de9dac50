//! What a guest is told, read by the programs that guests have: 200 random vifs, and what each program makes of their files.
//!
//! `tests/guest-tools` brings the programs, without installing them. A program's answer becomes a [`seen::Seen`], which has to be that of the
//! intent.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod cloud;
mod interfaces;
mod keyfile;
mod networkd;
mod plain;
mod random;
mod seen;
mod tools;
