//! Findings in texts, shown with their place.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A finding in a text: what is wrong, where, by which rule, and the way out.
///
/// Offsets are bytes from the start of [`source`](Self::source).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Diagnostic {
    /// The whole text that was read.
    pub source: String,
    /// The bytes that are wrong; may be empty (something is missing at that point).
    pub span: Range<usize>,
    /// What is wrong, naming the given value.
    pub message: String,
    /// The rule that was broken, as a sentence fragment that can stand under the caret.
    pub rule: String,
    /// The way out, if one is known.
    pub hint: Option<String>,
    /// Another place in the same text that the finding is about: the bytes, and what is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub other: Option<(Range<usize>, String)>,
}

impl Diagnostic {
    /// Line and column of the start of the span, both from 1; the column counts characters.
    pub fn position(&self) -> (usize, usize) {
        self.position_of(self.span.start)
    }

    pub(super) fn position_of(&self, at: usize) -> (usize, usize) {
        let start = floor_char_boundary(&self.source, at);
        let before = &self.source[..start];
        let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |p| p + 1);
        (line, before[line_start..].chars().count() + 1)
    }

    /// How many characters of a line are shown before the place, at it, and behind it.
    const SHOWN: usize = 100;

    /// The line with the error (of a long one the part around the place) and a caret under it, as lines without a final newline:
    ///
    /// ```text
    ///   |
    /// 1 | mac=00:16:3e:01:02,bridge=xenbr0
    ///   |     ^^^^^^^^^^^^^^ six groups of two hex digits are needed
    /// ```
    ///
    /// Where the finding is about two places, both are shown, each with its line.
    pub fn snippet(&self) -> String {
        let mut shown = self.snippet_of(&self.span, &self.rule);
        if let Some((span, what)) = &self.other {
            shown.push('\n');
            shown.push_str(&self.snippet_of(span, what));
        }
        shown
    }

    fn snippet_of(&self, span: &Range<usize>, rule: &str) -> String {
        let (line, _) = self.position_of(span.start);
        let start = floor_char_boundary(&self.source, span.start);
        let end = floor_char_boundary(&self.source, span.end).max(start);
        let line_start = self.source[..start].rfind('\n').map_or(0, |p| p + 1);
        let line_end = self.source[start..].find('\n').map_or(self.source.len(), |p| start + p);
        // What is not seen as itself, or moves what is beside it, would mislead the reader or the terminal.
        let visible = |c: char| match c {
            '\t' => ' ',
            '\'' | '"' | '\\' => c,
            _ if c.escape_debug().count() > 1 => '\u{fffd}',
            _ => c,
        };
        let show = |text: &str| -> String { text.chars().map(visible).collect() };
        // Of a long line the part around the place: nobody finds a caret in a megabyte.
        let first = |text: &str| -> String {
            let end = text.char_indices().nth(Self::SHOWN).map_or(text.len(), |(at, _)| at);
            show(&text[..end]) + if end < text.len() { "..." } else { "" }
        };
        let last = |text: &str| -> String {
            let from = text.char_indices().rev().nth(Self::SHOWN - 1).map_or(0, |(at, _)| at);
            (if from > 0 { "..." } else { "" }).to_owned() + &show(&text[from..])
        };
        let width = line.to_string().len();
        let before = last(&self.source[line_start..start]);
        let marked = first(&self.source[start..end.min(line_end).max(start)]);
        // A mark that was cut does not reach what follows it.
        let whole = self.source[start..end.min(line_end).max(start)].chars().nth(Self::SHOWN).is_none();
        let rest = if whole { first(&self.source[end.min(line_end).max(start)..line_end]) } else { String::new() };
        let carets = "^".repeat(marked.chars().count().max(1));
        let indent = " ".repeat(before.chars().count());
        format!(
            "{blank:width$} |\n{line} | {before}{marked}{rest}\n{blank:width$} | {indent}{carets} {rule}",
            blank = "",
        )
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column) = self.position();
        write!(f, "{} (line {line}, column {column}: {})", self.message, self.rule)
    }
}

impl std::error::Error for Diagnostic {}
