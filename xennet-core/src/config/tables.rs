//! What the readers of TOML files have in common: keys and values in the order of the text, and what is said of wrong ones.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::hint::distance;
use crate::model::flaw::{Flaw, quoted};

/// A key and where it stands.
pub(super) struct Key {
    pub(super) text: String,
    pub(super) span: Range<usize>,
}

/// The text as a table.
pub(super) fn parse(text: &str) -> Result<DeTable<'_>, Box<Flaw>> {
    // The first finding: those behind it are often its consequences.
    DeTable::parse(text).map(Spanned::into_inner).map_err(|e| {
        let span = e.span().unwrap_or(text.len()..text.len());
        // Not the text itself, which the snippet shows.
        let message = "this is not TOML".to_owned();
        let hint = match e.message().contains("duplicate") {
            true => "each [TABLE], and each key in it, stands once",
            false => "a line is KEY = VALUE; text stands in quotes",
        };
        Flaw::new(span, message, e.message().replace('\n', ", ")).hint(hint)
    })
}

/// The keys and values in the order of the text, so that the first mistake is told first.
pub(super) fn in_order(table: DeTable<'_>) -> Vec<(Key, Spanned<DeValue<'_>>)> {
    let mut items: Vec<_> = table
        .into_iter()
        .map(|(key, value)| (Key { span: key.span(), text: key.into_inner().into_owned() }, value))
        .collect();
    items.sort_by_key(|(key, _)| key.span.start);
    items
}

/// The finding that a key is none of those that are known; `what` as in "no setting of hotplug".
pub(super) fn unknown_key(key: &Key, known: &[&str], what: &str) -> Box<Flaw> {
    let lower = key.text.to_ascii_lowercase().replace('-', "_");
    let keys = known.join(", ");
    let nearest = known.iter().map(|name| (distance(&lower, name), *name)).min();
    let hint = match nearest {
        Some((0..=2, name)) => format!("did you mean {name}? The keys are {keys}"),
        _ => format!("the keys are {keys}"),
    };
    Flaw::new(key.span.clone(), format!("{} is no {what}", quoted(&key.text)), "this key is unknown").hint(hint)
}

/// The finding that a value breaks a rule, with the value as it was given.
pub(super) fn refused(text: &str, key: &Key, span: Range<usize>, rule: impl Into<String>) -> Box<Flaw> {
    let given = text.get(span.clone()).unwrap_or_default();
    Flaw::new(span, format!("{} cannot be {}", key.text, shown(given)), rule)
}

/// A value as it was given, with the quotes that it has, fit for one line.
fn shown(given: &str) -> String {
    match given.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => quoted(inner),
        // In a list or a table the quotes are part of what was written.
        None => quoted(given).trim_matches('"').replace("\\\"", "\""),
    }
}

pub(super) fn boolean(text: &str, key: &Key, value: &Spanned<DeValue<'_>>) -> Result<bool, Box<Flaw>> {
    value.get_ref().as_bool().ok_or_else(|| {
        refused(text, key, value.span(), "true or false, without quotes").hint(format!("write {} = true", key.text))
    })
}
