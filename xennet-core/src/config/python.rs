//! The `vif` statement of a file that xm read. Those were Python programs; Python is not run here, but the forms that people
//! wrote are read: lists and tuples of strings, adjacent strings, and `+` between strings.

use std::ops::Range;

use super::syntax::Atom;
use crate::model::flaw::{Flaw, quoted};

/// The items of the list that the file leaves for `vif`.
pub(super) fn vif_items(source: &str, notes: &mut Vec<Flaw>) -> Result<Vec<Atom>, Box<Flaw>> {
    let mut tokens = Tokens { source, at: 0, depth: 0 };
    let mut items: Option<Vec<Atom>> = None;
    // Whether the next token starts a logical line.
    let mut fresh = true;
    while let Some((token, span)) = tokens.next()? {
        let starts = std::mem::replace(&mut fresh, matches!(token, Token::Newline | Token::Mark(b';')));
        if !starts || token != Token::Word || &source[span.clone()] != "vif" {
            continue;
        }
        let indented = !column_is_free(source, span.start);
        let adds = match tokens.next()? {
            Some((Token::Mark(b'='), _)) => false,
            Some((Token::Adds, _)) => true,
            // Something else that starts with this word, such as vif.append(...).
            Some((_, found)) => {
                let rule = "only vif = [ ... ] and vif += [ ... ] are read: Python is not run";
                return Err(Flaw::new(span.start..found.end, "vif is used in another way", rule)
                    .hint("write the list of vifs out"));
            }
            None => break,
        };
        if indented {
            let rule = "an indented statement depends on a condition, and Python is not run";
            return Err(Flaw::new(span, "vif is set in a block", rule).hint("write it at the start of a line"));
        }
        let list = list(&mut tokens)?;
        match &mut items {
            Some(items) if adds => items.extend(list),
            Some(items) => {
                if !items.is_empty() {
                    notes.push(
                        *Flaw::new(
                            span,
                            format!("this replaces the {} vifs of the earlier statement", items.len()),
                            "the last vif = counts",
                        )
                        .hint("write vif += to add vifs"),
                    );
                }
                *items = list;
            }
            None => items = Some(list),
        }
        // The list took the end of its statement with it.
        fresh = true;
    }
    Ok(items.unwrap_or_default())
}

/// Whether a statement that starts here depends on no block: it starts the line, or follows a `;`.
fn column_is_free(source: &str, at: usize) -> bool {
    let line = source[..at].rfind('\n').map_or(0, |p| p + 1);
    let before = &source[line..at];
    before.is_empty() || before.trim_end().ends_with(';')
}

/// Reads `[ ... ]` or `( ... )` of strings, up to the end of the statement.
fn list(tokens: &mut Tokens<'_>) -> Result<Vec<Atom>, Box<Flaw>> {
    let source = tokens.source;
    let unexpected = |token: Option<(Token, Range<usize>)>, rule: &str| {
        let span = token.map_or(source.len()..source.len(), |(_, span)| span);
        Err(Flaw::new(span.clone(), format!("{} is not expected here", quoted(&source[span])), rule)
            .hint("only lists of plain strings are read: Python is not run"))
    };
    let close = match tokens.next()? {
        Some((Token::Mark(b'['), _)) => b']',
        Some((Token::Mark(b'('), _)) => b')',
        other => return unexpected(other, "vif is a list of strings"),
    };
    let mut atoms: Vec<Atom> = Vec::new();
    loop {
        let mut item: Option<Atom> = None;
        let end = loop {
            match tokens.next()? {
                Some((Token::Text, span)) => {
                    let part = dequote(source, span)?;
                    item = Some(match item {
                        None => part,
                        Some(before) => joined(before, part),
                    });
                }
                // A plus between strings, or the adjacent strings of C and Python: the same.
                Some((Token::Mark(b'+'), _)) if item.is_some() => {}
                other => break other,
            }
        };
        atoms.extend(item.clone());
        match end {
            Some((Token::Mark(b','), _)) if item.is_some() => {}
            Some((Token::Mark(mark), span)) if mark == close => {
                // ('a') is no tuple in Python but a string, of which xm would make one vif per letter.
                if close == b')' && atoms.len() == 1 && item.is_some() {
                    let rule = "a tuple of one has a comma";
                    return Err(Flaw::new(span, "this is a string in brackets, not a tuple", rule).hint("write [ ]"));
                }
                break;
            }
            other => return unexpected(other, "an item is a string; a comma or the closing bracket follows"),
        }
    }
    match tokens.next()? {
        None | Some((Token::Newline | Token::Mark(b';'), _)) => Ok(atoms),
        other => unexpected(other, "the statement ends after the list"),
    }
}

fn joined(before: Atom, after: Atom) -> Atom {
    let places = |atom: &Atom| (0..atom.text.len()).map(|i| atom.place(i..i + 1).start).collect::<Vec<_>>();
    let mut map = places(&before);
    map.extend(places(&after));
    Atom::mapped(before.text + &after.text, map, before.span.start..after.span.end)
}

/// Resolves a Python string without prefix: the escapes that such files had.
fn dequote(source: &str, span: Range<usize>) -> Result<Atom, Box<Flaw>> {
    let quotes = if source[span.clone()].len() >= 6 && is_triple(&source[span.clone()]) { 3 } else { 1 };
    let inner = span.start + quotes..span.end - quotes;
    let raw = &source[inner.clone()];
    if !raw.contains('\\') {
        return Ok(Atom::verbatim(raw, inner.start, span, true));
    }
    let (mut text, mut map) = (String::new(), Vec::new());
    let mut chars = raw.char_indices();
    while let Some((at, c)) = chars.next() {
        let resolved = match c {
            '\\' => match chars.next() {
                Some((_, c @ ('\\' | '\'' | '"'))) => Some(c),
                Some((_, '\n')) => None,
                Some((_, 'n')) => Some('\n'),
                Some((_, 't')) => Some('\t'),
                _ => {
                    let place = inner.start + at;
                    let rule = "the escapes are \\\\ \\' \\\" \\n \\t";
                    return Err(Flaw::new(place..place + 1, "an escape that is not read here", rule));
                }
            },
            c => Some(c),
        };
        if let Some(c) = resolved {
            map.extend(std::iter::repeat_n(inner.start + at, c.len_utf8()));
            text.push(c);
        }
    }
    Ok(Atom::mapped(text, map, span))
}

fn is_triple(text: &str) -> bool {
    text.starts_with("'''") || text.starts_with("\"\"\"")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Word,
    Text,
    Adds,
    /// The end of a logical line: a newline outside of brackets.
    Newline,
    Mark(u8),
}

/// Python's tokens, as far as statements must be told apart.
struct Tokens<'a> {
    source: &'a str,
    at: usize,
    depth: usize,
}

impl Tokens<'_> {
    fn next(&mut self) -> Result<Option<(Token, Range<usize>)>, Box<Flaw>> {
        let bytes = self.source.as_bytes();
        loop {
            let start = self.at;
            let rest = &bytes[start..];
            let (token, len) = match rest {
                [] => return Ok(None),
                [b' ' | b'\t' | b'\r' | 0x0c, ..] => (None, 1),
                [b'\\', b'\n', ..] => (None, 2),
                [b'#', ..] => (None, rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
                [b'\n', ..] if self.depth > 0 => (None, 1),
                [b'\n', ..] => (Some(Token::Newline), 1),
                [b'\'' | b'"', ..] => (Some(Token::Text), self.text(rest, start)?),
                [b'+', b'=', ..] => (Some(Token::Adds), 2),
                [b'=', b'=', ..] => (Some(Token::Mark(b'~')), 2),
                [b, ..] if b.is_ascii_alphanumeric() || *b == b'_' || !b.is_ascii() => {
                    let word = |b: &&u8| b.is_ascii_alphanumeric() || **b == b'_' || !b.is_ascii();
                    (Some(Token::Word), rest.iter().take_while(word).count())
                }
                [b, ..] => {
                    match b {
                        b'[' | b'(' | b'{' => self.depth += 1,
                        b']' | b')' | b'}' => self.depth = self.depth.saturating_sub(1),
                        _ => {}
                    }
                    (Some(Token::Mark(*b)), 1)
                }
            };
            self.at += len;
            if let Some(token) = token {
                return Ok(Some((token, start..self.at)));
            }
        }
    }

    /// The length of the string at the start of `rest`.
    fn text(&self, rest: &[u8], start: usize) -> Result<usize, Box<Flaw>> {
        let quote = rest[0];
        let triple = rest.starts_with(&[quote; 3]);
        let mut i = if triple { 3 } else { 1 };
        loop {
            match rest.get(i) {
                Some(b'\\') => i += 2,
                Some(b) if *b == quote && !triple => return Ok(i + 1),
                Some(_) if triple && rest[i..].starts_with(&[quote; 3]) => return Ok(i + 3),
                Some(b'\n') if !triple => break,
                Some(_) => i += 1,
                None => break,
            }
        }
        let end = (start + i).min(self.source.len());
        Err(Flaw::new(start..end, "the string is not closed", "a string ends with its quote on the same line")
            .hint("add the quote that is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(source: &str) -> Result<Vec<String>, String> {
        let mut notes = Vec::new();
        vif_items(source, &mut notes)
            .map(|atoms| atoms.into_iter().map(|a| a.text).collect())
            .map_err(|flaw| source[flaw.span].to_owned())
    }

    #[test]
    fn reads_the_forms_that_people_wrote() {
        for source in [
            "vif = [ 'a=1', 'b=2' ]",
            "vif = ( 'a=1', 'b=2' )",
            "import os\ndef f(x):\n    return [x, 'vif']\nvif=[ 'a=' \"1\",\n  'b=' + '2', # two\n]\nname='vif = x'\n",
            "vif = ['a=1']; vif += ['b=2']",
            "vif = \\\n [ '''a=1''', 'b\\\n=2' ]",
            "vif = ['x']\nvif = ['a=1', 'b=2']",
        ] {
            assert_eq!(items(source), Ok(vec!["a=1".into(), "b=2".into()]), "{source}");
        }
        assert_eq!(items("name = 'x'\nvifs = 3\n"), Ok(vec![]));
    }

    #[test]
    fn refuses_what_would_need_python() {
        for (source, at) in [
            ("vif = [ 'a=%s' % x ]", "%"),
            ("vif = [ f(1) ]", "f"),
            ("vif = other", "other"),
            ("if x:\n    vif = ['a=1']\n", "vif"),
            ("vif.append('a=1')", "vif."),
            ("vif = ('a=1')", ")"),
            ("vif = ['a=1'] + more", "+"),
            ("vif = ['a=1\n']", "'a=1"),
        ] {
            assert_eq!(items(source), Err(at.into()), "{source}");
        }
    }
}
