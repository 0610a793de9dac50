//! `parse`: text in, the document that every face of the library gives for it out.

use std::path::Path;

use serde_json::{Value, json};
use xennet_core::Result;
use xennet_core::config::document::{self, Document};
use xennet_core::config::{Dialect, Parsed, networks};
use xennet_core::document::schema;
use xennet_core::hotplug::settings::DEFAULT_FILE;

use crate::cli::{ParseArgs, ParseWhat};
use crate::input;
use crate::output::Output;

pub(super) fn run(args: &ParseArgs, output: &mut Output) -> Result<()> {
    match &args.what {
        ParseWhat::Networks { schema: true, .. } => return output.line(&schema("networks-file")?),
        ParseWhat::Hotplug { schema: true, .. } => return output.line(&schema("hotplug-file")?),
        _ => {}
    }
    let dialect: Dialect = args.dialect.name.parse()?;
    let parsed = match &args.what {
        ParseWhat::Vif { text } => document::vif(&input::text(text)?, dialect)?,
        ParseWhat::VifList { text } => document::vif_list(&input::lines(text)?, dialect)?,
        ParseWhat::Attach { text } => document::attach(&input::list(text)?, dialect)?,
        ParseWhat::Rate { text } => document::rate(&input::text(text)?, dialect)?,
        ParseWhat::Vlan { text } => without_notes(document::vlan(&input::text(text)?)?),
        ParseWhat::Mac { text } => document::mac(&input::text(text)?, dialect)?,
        ParseWhat::XendConfig { file } => of_file(file, document::xend_config)?,
        ParseWhat::Networks { file, .. } => {
            // Without a file it is the schema that is asked for.
            let file = file.as_deref().unwrap_or(Path::new(networks::PATH));
            of_file(file, |text| document::networks(text).map(without_notes))?
        }
        ParseWhat::Hotplug { file, .. } if file == Path::new(DEFAULT_FILE) && !file.exists() => {
            output.note(&format!("{DEFAULT_FILE} is not there: these are the defaults"));
            without_notes(document::hotplug("")?)
        }
        ParseWhat::Hotplug { file, .. } => of_file(file, |text| document::hotplug(text).map(without_notes))?,
    };
    for note in &parsed.notes {
        output.finding(note);
    }
    output.answer(|| lines(&json!(parsed.value)), || &parsed.value)
}

/// What a file means; an error names it.
fn of_file(file: &Path, read: impl Fn(&str) -> Result<Parsed<Document>>) -> Result<Parsed<Document>> {
    let text = input::file(file)?;
    read(&text).map_err(|e| if file == Path::new("-") { e } else { e.in_file(&file.display().to_string()) })
}

fn without_notes(value: Document) -> Parsed<Document> {
    Parsed::new(value, Vec::new())
}

/// A document for reading: one field a line; the vifs and networks of a list under headings.
fn lines(document: &Value) -> String {
    match ["nics", "networks"].iter().find_map(|list| document.get(list)?.as_array()) {
        Some(items) => {
            let block = |(at, item): (usize, &Value)| format!("[{at}]\n{}", fields(item));
            items.iter().enumerate().map(block).collect::<Vec<_>>().join("\n")
        }
        None => fields(document),
    }
}

fn fields(document: &Value) -> String {
    let Some(fields) = document.as_object() else { return document.to_string() };
    let shown = |value: &Value| match value {
        // Quoted, so that a blank at the end of what xl would take can be seen.
        Value::String(text) => format!("{text:?}"),
        other => other.to_string(),
    };
    // For programs only.
    let fields = fields.iter().filter(|(key, _)| *key != "version");
    fields.map(|(key, value)| format!("{key} = {}", shown(value))).collect::<Vec<_>>().join("\n")
}
