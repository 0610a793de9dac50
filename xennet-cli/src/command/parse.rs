//! `parse`: text in, the document that every face of the library gives for it out.

use serde_json::Value;
use xennet_core::Result;
use xennet_core::config::{Dialect, Parsed, document};

use crate::cli::{ParseArgs, ParseWhat};
use crate::input;
use crate::output::Output;

pub(super) fn run(args: &ParseArgs, output: &mut Output) -> Result<()> {
    let dialect: Dialect = args.dialect.name.parse()?;
    let parsed = match &args.what {
        ParseWhat::Vif { text } => document::vif(&input::text(text)?, dialect)?,
        ParseWhat::VifList { text } => document::vif_list(&input::lines(text)?, dialect)?,
        ParseWhat::Attach { text } => document::attach(&input::list(text)?, dialect)?,
        ParseWhat::Rate { text } => document::rate(&input::text(text)?, dialect)?,
        ParseWhat::Vlan { text } => Parsed { value: document::vlan(&input::text(text)?)?, notes: Vec::new() },
        ParseWhat::Mac { text } => document::mac(&input::text(text)?, dialect)?,
        ParseWhat::XendConfig { file } => document::xend_config(&input::file(file)?)?,
        ParseWhat::Networks { file } => Parsed { value: document::networks(&input::file(file)?)?, notes: Vec::new() },
    };
    for note in &parsed.notes {
        output.finding(note);
    }
    output.answer(|| lines(&parsed.value), || parsed.value.clone())
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
    fields.iter().map(|(key, value)| format!("{key} = {}", shown(value))).collect::<Vec<_>>().join("\n")
}
