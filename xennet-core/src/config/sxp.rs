//! S-expressions as xend's reader took them: words, quoted texts, and lists in brackets.
//!
//! Source: `tools/python/xen/xend/sxp.py` of Xen 4.1, `Parser` and `children`; its oddities are kept, each with a note.

use std::ops::Range;

use super::syntax::Atom;
use crate::model::flaw::{Flaw, quoted};

/// A word, a text or a list.
#[derive(Clone, Debug)]
pub(super) enum Sxp {
    /// A word, or a text in quotes with its escapes resolved.
    Atom(Atom),
    /// What stands in brackets, and where, brackets included.
    List(Vec<Sxp>, Range<usize>),
}

impl Sxp {
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Sxp::Atom(atom) => atom.span.clone(),
            Sxp::List(_, span) => span.clone(),
        }
    }

    /// The name of an element: the word or text that a list begins with.
    pub(super) fn name(&self) -> Option<&Atom> {
        match self {
            Sxp::List(items, _) => match items.first() {
                Some(Sxp::Atom(atom)) => Some(atom),
                _ => None,
            },
            Sxp::Atom(_) => None,
        }
    }
}

/// The values of an element: what follows its name, without a list of attributes, `(@ ...)`, in the first place.
pub(super) fn children(items: &[Sxp]) -> &[Sxp] {
    without_attributes(items.get(1..).unwrap_or_default())
}

/// The same for what has no name before it: all values of a file.
pub(super) fn without_attributes(items: &[Sxp]) -> &[Sxp] {
    match items.split_first() {
        Some((first, rest)) if first.name().is_some_and(|name| name.text == "@") => rest,
        _ => items,
    }
}

/// How deep lists may be nested: far beyond any use, and no strain on the stack when they are dropped.
const DEPTH: usize = 64;

/// A list that is still open.
struct Open {
    at: usize,
    items: Vec<Sxp>,
}

/// Reads all values of a text. What xend's reader takes and hardly anybody means goes to `notes`.
///
/// # Errors
/// What xend's reader refuses, and lists more than 64 deep.
pub(super) fn read(source: &str, notes: &mut Vec<Flaw>) -> Result<Vec<Sxp>, Box<Flaw>> {
    let bytes = source.as_bytes();
    let mut open = vec![Open { at: 0, items: Vec::new() }];
    // The first comment in an open list that has a closing bracket in it: the usual reason for a list without end.
    let mut swallowed: Option<usize> = None;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let depth = open.len() - 1;
        match byte {
            b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r' => at += 1,
            b'#' => {
                let end = source[at..].find('\n').map_or(source.len(), |n| at + n);
                if depth > 0 && source[at..end].contains(')') {
                    swallowed.get_or_insert(at);
                }
                if at > 0
                    && !source[..at].ends_with(|c: char| c.is_ascii_whitespace() || c == '\u{b}' || "()'\"".contains(c))
                {
                    let rule = "# begins a comment in the middle of a word, too";
                    let flaw = Flaw::new(at..end, "the rest of the line is a comment", rule);
                    notes.push(*flaw.hint("put the value into quotes, or a blank before the #"));
                }
                at = end;
            }
            b'(' if depth == DEPTH => {
                let rule = format!("lists are nested at most {DEPTH} deep");
                return Err(Flaw::new(at..at + 1, "lists in lists in lists", rule).hint("is this the right text?"));
            }
            b'(' => {
                open.push(Open { at, items: Vec::new() });
                at += 1;
            }
            b')' => {
                let Some(list) = open.pop().filter(|_| depth > 0) else {
                    let rule = "every closing bracket has an opening one; xend stops here with a syntax error";
                    return Err(Flaw::new(at..at + 1, "syntax error: )", rule).hint("remove it"));
                };
                at += 1;
                push(&mut open, Sxp::List(list.items, list.at..at));
            }
            b'\'' | b'"' => {
                let (atom, end) = text(source, at, notes)?;
                push(&mut open, Sxp::Atom(atom));
                at = end;
            }
            // End of transmission: the end of the text, for xend.
            4 if depth == 0 => {
                let rule = "the character 4 (end of transmission) ends the text";
                let flaw = Flaw::new(at..at + 1, "everything from here on is not read", rule);
                notes.push(*flaw.hint("remove the character"));
                break;
            }
            4 => return Err(open_list(&open, swallowed, source)),
            byte if byte.is_ascii_graphic() => {
                let end = at + 1 + source[at + 1..].find(ends_a_word).unwrap_or(source.len() - at - 1);
                push(&mut open, Sxp::Atom(Atom::verbatim(&source[at..end], at, at..end, false)));
                at = end;
            }
            byte => {
                let len = source[at..].chars().next().map_or(1, char::len_utf8);
                let message = format!("invalid character: code {byte}");
                let rule = "outside of quotes a word begins with a printable ASCII character";
                return Err(Flaw::new(at..at + len, message, rule).hint("remove it, or put the value into quotes"));
            }
        }
    }
    match open.pop() {
        Some(file) if open.is_empty() => Ok(file.items),
        Some(last) => {
            open.push(last);
            Err(open_list(&open, swallowed, source))
        }
        None => Ok(Vec::new()),
    }
}

fn push(open: &mut [Open], value: Sxp) {
    if let Some(list) = open.last_mut() {
        list.items.push(value);
    }
}

/// Whether a word ends before this character. A quote does not end one.
fn ends_a_word(c: char) -> bool {
    matches!(
        c,
        '{' | '}' | '(' | ')' | '<' | '>' | '[' | ']' | ';' | '#' | ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r'
    )
}

fn open_list(open: &[Open], swallowed: Option<usize>, source: &str) -> Box<Flaw> {
    let at = open.last().map_or(0, |list| list.at);
    let flaw = Flaw::new(at..at + 1, "unexpected EOF: this bracket is never closed", "every ( has its )");
    match swallowed {
        Some(comment) => {
            let line = source[..comment].bytes().filter(|b| *b == b'\n').count() + 1;
            flaw.hint(format!("the comment on line {line} has a ) in it, which does not count: # begins a comment anywhere outside of quotes"))
        }
        None => flaw.hint("add the )"),
    }
}

/// A text in quotes that opens at `start`, and where it ends.
fn text(source: &str, start: usize, notes: &mut Vec<Flaw>) -> Result<(Atom, usize), Box<Flaw>> {
    let bytes = source.as_bytes();
    let quote = bytes[start];
    let mut said = Said { bytes: Vec::new(), map: Vec::new() };
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => {
                let message = "unexpected EOF: this quote is never closed";
                let rule = "the closing quote is the same as the opening one, ' or \"";
                return Err(Flaw::new(start..start + 1, message, rule).hint("add the closing quote"));
            }
            Some(byte) if *byte == quote => break,
            Some(b'\\') => at = escape(source, at, &mut said, notes)?,
            Some(byte) => {
                said.add(*byte, at);
                at += 1;
            }
        }
    }
    let span = start..at + 1;
    let atom = match String::from_utf8(said.bytes) {
        Ok(text) => Atom::mapped(text, said.map, span),
        Err(e) => {
            let rule = "xennet reads texts as UTF-8; what is none is replaced";
            notes.push(
                *Flaw::new(span.clone(), "the escapes of this text are not UTF-8", rule).hint("write the characters"),
            );
            let text = String::from_utf8_lossy(e.as_bytes()).into_owned();
            let map = vec![start; text.len()];
            Atom::mapped(text, map, span)
        }
    };
    Ok((atom, at + 1))
}

/// What a text says, and where each of its bytes stands.
struct Said {
    bytes: Vec<u8>,
    map: Vec<usize>,
}

impl Said {
    fn add(&mut self, byte: u8, at: usize) {
        self.bytes.push(byte);
        self.map.push(at);
    }
}

/// The escape that begins at `start`, and where it ends.
fn escape(source: &str, start: usize, said: &mut Said, notes: &mut Vec<Flaw>) -> Result<usize, Box<Flaw>> {
    let bytes = source.as_bytes();
    let cut = || {
        let message = "unexpected EOF: the text ends within an escape";
        Flaw::new(start..source.len(), message, "an escape is \\ and what it stands for").hint("close the quote")
    };
    let digits = |from: usize, most: usize, is_digit: fn(&u8) -> bool| -> usize {
        bytes[from..].iter().take(most).take_while(|b| is_digit(b)).count()
    };
    let letter = *bytes.get(start + 1).ok_or_else(cut)?;
    let known = match letter {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'r' => b'\r',
        b'\\' | b'\'' | b'"' => letter,
        b'0'..=b'7' => {
            let len = digits(start + 1, 3, |b| matches!(b, b'0'..=b'7'));
            let end = start + 1 + len;
            if end == bytes.len() {
                return Err(cut());
            }
            let value = bytes[start + 1..end].iter().fold(0u16, |n, b| n * 8 + u16::from(b - b'0'));
            let byte = u8::try_from(value).map_err(|_| {
                let message = format!("invalid octal escape: out of range {}", &source[start + 1..end]);
                Flaw::new(start..end, message, "an octal escape is \\0 to \\377").hint("write the character itself")
            })?;
            said.add(byte, start);
            return Ok(end);
        }
        b'x' => {
            let len = digits(start + 2, 2, u8::is_ascii_hexdigit);
            let end = start + 2 + len;
            if len < 2 {
                // A text that goes on makes xend fail, too: its reader uses a name there that does not exist.
                let flaw = if end == bytes.len() {
                    cut()
                } else {
                    let rule = "a hexadecimal escape has two digits; xend fails here";
                    Flaw::new(start..end, "a hexadecimal escape with too few digits", rule)
                };
                return Err(flaw.hint("write the character itself"));
            }
            // xend counts letters from 0 instead of 10.
            let digit = |b: u8| u8::from_str_radix(char::from(b).encode_utf8(&mut [0; 4]), 16).unwrap_or(0);
            let as_xend = |b: u8| if b.is_ascii_digit() { b - b'0' } else { digit(b) - 10 };
            let byte = as_xend(bytes[start + 2]) * 16 + as_xend(bytes[start + 3]);
            if bytes[start + 2..end].iter().any(|b| !b.is_ascii_digit()) {
                let message = format!("xend takes {} for the character {byte}", &source[start..end]);
                let rule = "xend reads the letters of a hexadecimal escape as 0 to 5";
                notes.push(*Flaw::new(start..end, message, rule).hint("write the character itself"));
            }
            said.add(byte, start);
            return Ok(end);
        }
        _ => {
            let len = source[start + 1..].chars().next().map_or(1, char::len_utf8);
            let message = format!("{} stands for a single \\", quoted(&source[start..start + 1 + len]));
            let rule = "an escape that xend does not know loses its character";
            notes.push(*Flaw::new(start..start + 1 + len, message, rule).hint("write \\\\ for a \\"));
            // xend loses the first byte of the character alone; the rest would not be text.
            said.add(b'\\', start);
            return Ok(start + 1 + len);
        }
    };
    said.add(known, start);
    Ok(start + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values as one text: words bare, lists in brackets.
    fn shown(values: &[Sxp]) -> String {
        let one = |value: &Sxp| match value {
            Sxp::Atom(atom) => format!("{:?}", atom.text),
            Sxp::List(items, _) => format!("({})", shown(items)),
        };
        values.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn words_texts_and_lists() {
        for (source, wanted, remarks) in [
            ("", "", 0),
            ("(a b)(c) d", r#"("a" "b") ("c") "d""#, 0),
            ("( a\n(b 'c d')\t) # x )\n", r#"("a" ("b" "c d"))"#, 0),
            // Quotes begin a text between words alone.
            ("(a'b c')", r#"("a'b" "c'")"#, 0),
            ("('a''b'c)", r#"("a" "b" "c")"#, 0),
            // These end words, and begin new ones.
            ("a;b{c}<d>[e]", r#""a" ";b" "{c" "}" "<d" ">" "[e" "]""#, 0),
            (r#"'\a\b\t\n\v\f\r\\\'\"'"#, r#""\u{7}\u{8}\t\n\u{b}\u{c}\r\\'\"""#, 0),
            (r"'\101\7\1018\18'", r#""A\u{7}A8\u{1}8""#, 0),
            (r"'\x41\x6f'", r#""Ae""#, 1),
            (r"'a\qb\é\8'", r#""a\\b\\\\""#, 3),
            (r"'\377'", "\"\u{fffd}\"", 1),
            ("(a#b\n)", r#"("a")"#, 1),
            ("(a)#b", r#"("a")"#, 0),
            ("a \u{4}(((", r#""a""#, 1),
            ("'\u{4}é' aé", "\"\\u{4}é\" \"aé\"", 0),
        ] {
            let mut notes = Vec::new();
            let values = read(source, &mut notes).unwrap();
            assert_eq!(shown(&values), wanted, "{source}");
            assert_eq!(notes.len(), remarks, "{source}: {notes:?}");
        }
    }

    #[test]
    fn what_xends_reader_refuses() {
        for (source, span, message, hint) in [
            ("(a (b)", 0..1, "unexpected EOF", "add the )"),
            ("(a (b", 3..4, "unexpected EOF", "add the )"),
            ("\n(a # b)\n", 1..2, "unexpected EOF", "the comment on line 2 has a ) in it"),
            ("(a \u{4} )", 0..1, "unexpected EOF", "add the )"),
            ("a 'b", 2..3, "unexpected EOF", "closing quote"),
            ("'a\\", 2..3, "unexpected EOF", "close the quote"),
            ("'\\12", 1..4, "unexpected EOF", "close the quote"),
            ("'\\x1", 1..4, "unexpected EOF", "the character itself"),
            (")", 0..1, "syntax error: )", "remove it"),
            ("'\\400'", 1..5, "invalid octal escape: out of range 400", "the character itself"),
            ("'\\xg'", 1..3, "hexadecimal escape with too few digits", "the character itself"),
            ("(é)", 1..3, "invalid character: code 195", "quotes"),
            ("\u{1}", 0..1, "invalid character: code 1", "quotes"),
        ] {
            let flaw = read(source, &mut Vec::new()).unwrap_err();
            assert_eq!(flaw.span, span, "{source}");
            assert!(flaw.message.contains(message), "{source}: {}", flaw.message);
            assert!(flaw.hint.as_deref().is_some_and(|h| h.contains(hint)), "{source}: {:?}", flaw.hint);
        }
    }

    #[test]
    fn deep_lists_are_refused_before_they_cost_the_stack() {
        let deep = |n: usize| "(".repeat(n) + &")".repeat(n);
        assert!(read(&deep(DEPTH), &mut Vec::new()).is_ok());
        assert!(read(&deep(1_000_000), &mut Vec::new()).unwrap_err().rule.contains("64 deep"));
    }

    #[test]
    fn attributes_are_no_values() {
        let values = read("(a (@ x) b c) (a b)", &mut Vec::new()).unwrap();
        for value in &values {
            let Sxp::List(items, _) = value else { panic!("{value:?}") };
            assert!(shown(children(items)).starts_with(r#""b""#));
        }
        assert_eq!(shown(without_attributes(&values)), shown(&values));
    }
}
