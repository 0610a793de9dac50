//! A finding in the text of one value, before it is known where that text stands.

use std::ops::Range;

use crate::error::{Diagnostic, Error, ErrorKind};

/// What is wrong with a value, and where. In a text the place is a byte range, counted from the start of the value. In a description
/// it is a key.
///
/// Readers of values return it boxed: they are called for every value of every spec, and only a failure may cost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Flaw<P = Range<usize>> {
    pub(crate) span: P,
    pub(crate) message: String,
    pub(crate) rule: String,
    pub(crate) hint: Option<String>,
    /// A second place that the finding is about, and what is there.
    pub(crate) other: Option<(P, String)>,
}

impl<P> Flaw<P> {
    pub(crate) fn new(span: P, message: impl Into<String>, rule: impl Into<String>) -> Box<Self> {
        Box::new(Flaw { span, message: message.into(), rule: rule.into(), hint: None, other: None })
    }

    pub(crate) fn hint(mut self: Box<Self>, hint: impl Into<String>) -> Box<Self> {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn other(mut self: Box<Self>, span: P, what: impl Into<String>) -> Box<Self> {
        self.other = Some((span, what.into()));
        self
    }

    /// Translates the places.
    pub(crate) fn placed<Q>(self, place: impl Fn(P) -> Q) -> Box<Flaw<Q>> {
        Box::new(Flaw {
            span: place(self.span),
            message: self.message,
            rule: self.rule,
            hint: self.hint,
            other: self.other.map(|(at, what)| (place(at), what)),
        })
    }

    /// The finding as an error about this object, without a snippet of text.
    pub(crate) fn without_place(self, object: &str) -> Error {
        let e = Error::new(ErrorKind::Invalid, format!("{}: {}", self.message, self.rule)).with_object(object);
        match self.hint {
            Some(hint) => e.with_hint(hint),
            None => e,
        }
    }
}

impl Flaw {
    /// The same finding in a longer text in which the value starts at `base`.
    pub(crate) fn at(mut self: Box<Self>, base: usize) -> Box<Self> {
        let moved = |span: &Range<usize>| span.start.saturating_add(base)..span.end.saturating_add(base);
        self.span = moved(&self.span);
        self.other = self.other.map(|(span, what)| (moved(&span), what));
        self
    }

    pub(crate) fn diagnostic(self, source: &str) -> Diagnostic {
        Diagnostic {
            source: source.to_owned(),
            span: self.span,
            message: self.message,
            rule: self.rule,
            hint: self.hint,
            other: self.other,
        }
    }

    pub(crate) fn error(self, source: &str) -> Error {
        self.diagnostic(source).into()
    }
}

/// How many characters of a text are shown.
const SHOWN: usize = 64;

/// A text as it stands in a message: escaped, so that no control character reaches a terminal, and cut where it is long.
pub(crate) fn quoted(text: &str) -> String {
    let cut = beginning(text);
    let more = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}{more}\"", cut.escape_debug())
}

/// The beginning of a text, as the object of an error: not all of a megabyte.
pub(crate) fn beginning(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// A decimal number without sign, blanks or leading zeros; `None` for any other text and for one beyond 64 bits.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 20 || (text[0] == b'0' && text.len() > 1) {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| {
        let digit = b.is_ascii_digit().then(|| u64::from(b - b'0'))?;
        n.checked_mul(10)?.checked_add(digit)
    })
}
