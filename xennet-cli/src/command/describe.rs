//! `completions` and `man`: what the command line's one definition says of itself. `schema`: what is in documents.

use std::fs;
use std::path::Path;

use xennet_core::Result;
use xennet_core::document::{self, Schemas};

use super::common::columns;
use crate::cli::visible_definition;
use crate::files::{after, failed};
use crate::man;
use crate::output::Output;

pub(super) fn completions(shell: clap_complete::Shell, output: &mut Output) -> Result<()> {
    let mut text = Vec::new();
    let mut command = visible_definition();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut text);
    output.line(&String::from_utf8_lossy(&text))
}

pub(super) fn man(words: &[String], dir: Option<&Path>, output: &mut Output) -> Result<()> {
    let Some(dir) = dir else { return output.line(&man::page(words)?) };
    let mut written = Vec::new();
    for page in man::all() {
        let path = dir.join(page.path());
        let put = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, page.text));
        put.map_err(|e| after(&written, failed(&path, "cannot be written", &e)))?;
        written.push(path);
    }
    output.line(&written.iter().map(|path| format!("{}\n", path.display())).collect::<String>())
}

/// The schema of a document, or the list of all documents.
pub(super) fn schema(name: Option<&str>, output: &mut Output) -> Result<()> {
    if let Some(name) = name {
        return output.line(&document::schema(name)?);
    }
    let row = |d: &document::Document| [d.name.to_owned(), d.version.to_string(), d.what.to_owned()];
    output.answer(|| columns(["DOCUMENT", "VERSION", "WHAT"], document::ALL.iter().map(row)), Schemas::all)
}
