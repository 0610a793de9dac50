//! The JSON document of an error.

use std::io;
use std::ops::Range;

use serde::{Serialize, Serializer};

use super::{Diagnostic, Error, ErrorKind, Outcome};

/// The text of a JSON document, with its keys in alphabetical order.
pub(crate) fn text(document: &impl Serialize) -> String {
    serde_json::to_value(document).expect("no map of this library has keys other than texts").to_string()
}

/// A document as one line, as files have them, with its keys in the order of the fields.
pub(crate) fn line(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = Line { room: vec![0; Line::MORE], length: 0 };
    serde_json::to_writer(&mut line, document)?;
    let Line { mut room, length } = line;
    room.truncate(length);
    room.push(b'\n');
    Ok(room)
}

/// A text under way. It comes in hundreds of pieces of some bytes each, for which a vector that looks for room each time takes twice
/// as long.
struct Line {
    room: Vec<u8>,
    length: usize,
}

impl io::Write for Line {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        self.write_all(piece).map(|()| piece.len())
    }

    #[inline(always)]
    fn write_all(&mut self, piece: &[u8]) -> io::Result<()> {
        let end = self.length.saturating_add(piece.len());
        if self.room.len() < end {
            self.grow(end);
        }
        // Mostly it is a quotation mark, which needs no call.
        match (piece, self.room.get_mut(self.length..end)) {
            ([byte], Some([place])) => *place = *byte,
            (_, Some(place)) => place.copy_from_slice(piece),
            (_, None) => {}
        }
        self.length = end;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Line {
    /// Most are up to twice as long.
    const MORE: usize = 2000;

    #[cold]
    fn grow(&mut self, end: usize) {
        let more = (self.room.len() / 2).max(Line::MORE);
        // Anew, since growing writes the zeros one by one.
        let mut room = vec![0; end.saturating_add(more)];
        if let (Some(new), Some(old)) = (room.get_mut(..self.length), self.room.get(..self.length)) {
            new.copy_from_slice(old);
        }
        self.room = room;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_serde_writes() {
        for length in [0, 1, 4000, 4091, 4092, 4093, 4094, 4095, 9000, 100_000] {
            let document = ("\"\n\u{1}ä", vec!["x".repeat(length)], 7, vec![true; length / 2], "end");
            let mut written = serde_json::to_vec(&document).unwrap();
            written.push(b'\n');
            assert!(line(&document).unwrap() == written, "{length}");
        }
    }
}
