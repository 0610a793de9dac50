//! The JSON document of an error.

use std::ops::Range;

use serde::{Serialize, Serializer};

use super::{Diagnostic, Error, ErrorKind, Outcome};

/// The text of a JSON document, with its keys in alphabetical order.
pub(crate) fn text(document: &impl Serialize) -> String {
    serde_json::to_value(document).expect("no map of this library has keys other than texts").to_string()
}

#[derive(Serialize)]
struct Document<'a> {
    kind: ErrorKind,
    code: u8,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// Where in a text the error is.
#[derive(Serialize)]
struct Place<'a> {
    #[serde(flatten)]
    at: Span,
    rule: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<OtherPlace<'a>>,
}

#[derive(Serialize)]
struct OtherPlace<'a> {
    #[serde(flatten)]
    at: Span,
    what: &'a str,
}

#[derive(Serialize)]
struct Span {
    line: usize,
    column: usize,
    span: [usize; 2],
}

impl Span {
    fn of(d: &Diagnostic, span: &Range<usize>) -> Self {
        let (line, column) = d.position_of(span.start);
        Span { line, column, span: [span.start, span.end] }
    }
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.diagnostic().map(|d| {
            let other = d.other.as_ref().map(|(span, what)| OtherPlace { at: Span::of(d, span), what });
            Place { at: Span::of(d, &d.span), rule: &d.rule, other }
        });
        let document = Document {
            kind: self.kind(),
            code: self.kind().number(),
            message: self.message(),
            object: self.object(),
            errno: self.errno().map(|errno| errno.0),
            errno_name: self.errno().map(|errno| errno.to_string()),
            kernel_message: self.kernel_message(),
            step: self.step(),
            outcome: self.outcome(),
            state: self.state(),
            hint: self.hint(),
            place,
        };
        document.serialize(serializer)
    }
}
