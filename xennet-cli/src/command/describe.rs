//! `completions` and `man`: what the command line's one definition says of itself. `schema`: what is in documents.

use xennet_core::document::{self, Schemas};
use xennet_core::{Error, ErrorKind, Result};

use super::common::columns;
use crate::cli::definition;
use crate::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: &mut Output) -> Result<()> {
    let mut text = Vec::new();
    let mut command = definition();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut text);
    output.line(&String::from_utf8_lossy(&text))
}

pub(super) fn man(path: &[String], output: &mut Output) -> Result<()> {
    let mut root = definition();
    // Fills in what the commands inherit: the full names and the options that all take.
    root.build();
    let mut command = &root;
    for name in path {
        command = command.find_subcommand(name).ok_or_else(|| {
            let known: Vec<&str> = command.get_subcommands().map(|c| c.get_name()).collect();
            let error = Error::new(ErrorKind::Invalid, format!("\"{}\" is not a command", name.escape_debug()));
            let error = error.with_object(name.as_str());
            error.with_hint(match known.as_slice() {
                [] => format!("{} has no commands below it: leave this word out", command.get_name()),
                known => format!("commands here: {}", known.join(", ")),
            })
        })?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .source(concat!("xennet ", env!("CARGO_PKG_VERSION")))
        .render(&mut text)
        .map_err(|e| Error::new(ErrorKind::Internal, format!("the manual page cannot be made: {e}")))?;
    output.line(&String::from_utf8_lossy(&text))
}

/// The schema of a document, or the list of all documents.
pub(super) fn schema(name: Option<&str>, output: &mut Output) -> Result<()> {
    if let Some(name) = name {
        return output.line(&document::schema(name)?);
    }
    let row = |d: &document::Document| [d.name.to_owned(), d.version.to_string(), d.what.to_owned()];
    output.answer(|| columns(["DOCUMENT", "VERSION", "WHAT"], document::ALL.iter().map(row)), Schemas::all)
}
