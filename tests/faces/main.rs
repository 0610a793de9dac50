//! The command as its users meet it: a process with arguments, two outputs and an exit code.

#![allow(clippy::unwrap_used, reason = "all of this is tests")]

mod advise;
mod book;
mod command;
mod demo;
mod describe;
mod doctor;
mod faces_md;
mod guest;
mod guide;
mod host;
mod import;
mod install;
mod kernel;
mod legacy;
mod log;
mod parse;
mod picture;
mod private;
mod readme;
mod record;
mod refusals;
mod show;
mod snippets;
mod trace;
mod troubleshooting;
mod units;
