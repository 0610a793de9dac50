//! The JSON document of an error.

use std::ops::Range;

use serde::{Serialize, Serializer};

use super::{Diagnostic, Error, ErrorKind, Outcome};
use crate::version::Version;

/// The text of a JSON document, with its keys in alphabetical order.
pub(crate) fn text(document: &impl Serialize) -> String {
    let written = serde_json::to_vec(document).expect("no map of this library has keys other than texts");
    // Sorted by way of its text: `to_value` would be a second writer of every type in the library.
    serde_json::from_slice::<serde_json::Value>(&written).expect("it was just written").to_string()
}

/// What went wrong.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    version: Version<1>,
    /// What kind of error it is.
    kind: ErrorKind,
    /// The number of the kind: the exit code of the command.
    code: u8,
    /// What went wrong, in a sentence.
    message: &'a str,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    object: Option<&'a str>,
    /// The number of the kernel's refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<i32>,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno_name: Option<String>,
    /// The kernel's own words.
    #[serde(skip_serializing_if = "Option::is_none")]
    kernel_message: Option<&'a str>,
    /// At which step of a plan.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    /// What the call has made of the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// The state of the system in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    /// The way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'a str>,
    /// Where in a text the error is.
    #[serde(flatten)]
    place: Option<Place<'a>>,
}

/// Where in a text the error is.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Place<'a> {
    #[serde(flatten)]
    at: Span,
    /// The rule that was broken.
    rule: &'a str,
    /// Another place that the error is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    other: Option<OtherPlace<'a>>,
}

/// Another place in the text.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct OtherPlace<'a> {
    #[serde(flatten)]
    at: Span,
    /// What is there.
    what: &'a str,
}

#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Span {
    /// The line, from 1.
    line: usize,
    /// The column in characters, from 1.
    column: usize,
    /// The bytes of the text, the first one and the one behind the last.
    span: [usize; 2],
}

impl Span {
    fn of(d: &Diagnostic, span: &Range<usize>) -> Self {
        let (line, column) = d.position_of(span.start);
        Span { line, column, span: [span.start, span.end] }
    }
}

crate::schema::written_as!(Error, "Error", Document<'static>);

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let place = self.diagnostic().map(|d| {
            let other = d.other.as_ref().map(|(span, what)| OtherPlace { at: Span::of(d, span), what });
            Place { at: Span::of(d, &d.span), rule: &d.rule, other }
        });
        let document = Document {
            version: Version,
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
