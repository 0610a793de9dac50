//! The language of xl's config files: `name = value`, `name += value`, where a value is a quoted text, a number, or a list.
//!
//! Source: `tools/libs/util/libxlu_cfg_l.l`, `libxlu_cfg_y.y` and `xlu__cfgl_dequote` in `libxlu_cfg.c`.

use std::ops::Range;

use super::number::strtoul;
use crate::model::flaw::{Flaw, quoted};

/// A text or number of a config file, with the way back to where it stands.
#[derive(Clone, Debug)]
pub(super) struct Atom {
    /// What it says, escapes resolved.
    pub(super) text: String,
    /// Where it stands, quotes included.
    pub(super) span: Range<usize>,
    /// Whether it was in quotes.
    pub(super) is_string: bool,
    /// Where each byte of `text` comes from; empty if they follow each other from `start`.
    map: Vec<usize>,
    start: usize,
}

impl Atom {
    /// A text that stands in the file as it is.
    pub(super) fn verbatim(text: &str, start: usize, span: Range<usize>, is_string: bool) -> Self {
        Atom { text: text.to_owned(), span, is_string, map: Vec::new(), start }
    }

    /// A text whose bytes come from these places.
    pub(super) fn mapped(text: String, map: Vec<usize>, span: Range<usize>) -> Self {
        Atom { text, start: span.start, span, is_string: true, map }
    }

    /// Where a part of the text stands in the file.
    pub(super) fn place(&self, part: Range<usize>) -> Range<usize> {
        if self.map.is_empty() {
            return self.start.saturating_add(part.start)..self.start.saturating_add(part.end);
        }
        let at = |i: usize| self.map.get(i).copied().unwrap_or(self.span.end.saturating_sub(1));
        let start = at(part.start);
        let end = if part.is_empty() { start } else { at(part.end - 1) + 1 };
        start..end.max(start)
    }

    /// The same finding, placed in the file.
    pub(super) fn placed(&self, mut flaw: Box<Flaw>) -> Box<Flaw> {
        flaw.span = self.place(flaw.span);
        flaw
    }
}

/// What stands behind `=`.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// A text or number.
    Atom(Atom),
    /// A list.
    List(Vec<Value>, Range<usize>),
}

impl Value {
    pub(super) fn span(&self) -> Range<usize> {
        match self {
            Value::Atom(atom) => atom.span.clone(),
            Value::List(_, span) => span.clone(),
        }
    }
}

/// One statement.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    pub(super) name: String,
    pub(super) name_span: Range<usize>,
    pub(super) adds: bool,
    pub(super) value: Value,
}

/// How deep lists may be nested: far beyond any use, and no strain on the stack.
const DEPTH: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Ident,
    Number,
    Text,
    Is,
    Adds,
    Semicolon,
    Open,
    Close,
    Comma,
    Newline,
    End,
}

/// Reads all statements of a file.
///
/// # Errors
/// The first thing that xl's reader stumbles over; and a stray character at the very end of the text, which it does not
/// see: that one goes to `swallowed`, if there is one. A comment at the end that no newline ends, over which xl stumbles, is read as
/// what it is, and goes there, too.
pub(super) fn read(source: &str, swallowed: Option<&mut Vec<Flaw>>) -> Result<Vec<Setting>, Box<Flaw>> {
    let mut reader = Reader { source, at: 0, span: 0..0, token: Token::End, swallowed };
    reader.next()?;
    let mut settings = Vec::new();
    loop {
        match reader.token {
            Token::End => return Ok(settings),
            Token::Newline | Token::Semicolon => reader.next()?,
            Token::Ident => settings.push(reader.setting()?),
            _ => return Err(reader.unexpected("a statement is NAME = VALUE")),
        }
    }
}

struct Reader<'a> {
    source: &'a str,
    swallowed: Option<&'a mut Vec<Flaw>>,
    /// Where the next token is looked for.
    at: usize,
    /// The present token.
    token: Token,
    span: Range<usize>,
}

impl Reader<'_> {
    fn setting(&mut self) -> Result<Setting, Box<Flaw>> {
        let name_span = self.span.clone();
        let name = self.source[name_span.clone()].to_owned();
        self.next()?;
        let adds = match self.token {
            Token::Is => false,
            Token::Adds => true,
            _ => return Err(self.unexpected("= or += follows a name")),
        };
        self.next()?;
        let value = self.value(0)?;
        match self.token {
            Token::Newline | Token::Semicolon | Token::End => Ok(Setting { name, name_span, adds, value }),
            _ => Err(self.unexpected("a statement ends with its line, or with ;")),
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, Box<Flaw>> {
        let span = self.span.clone();
        match self.token {
            Token::Text => {
                let atom = dequote(self.source, span)?;
                self.next()?;
                Ok(Value::Atom(atom))
            }
            Token::Number => {
                let atom = Atom::verbatim(&self.source[span.clone()], span.start, span, false);
                self.next()?;
                Ok(Value::Atom(atom))
            }
            Token::Open if depth == DEPTH => {
                Err(Flaw::new(span, "lists in lists in lists", format!("lists are nested at most {DEPTH} deep")))
            }
            Token::Open => {
                self.next()?;
                self.newlines()?;
                let mut items = Vec::new();
                while self.token != Token::Close {
                    if self.token == Token::End {
                        return Err(open_list(span));
                    }
                    items.push(self.value(depth + 1)?);
                    self.newlines()?;
                    match self.token {
                        Token::Comma => {
                            self.next()?;
                            self.newlines()?;
                        }
                        Token::Close => {}
                        Token::End => return Err(open_list(span)),
                        _ => return Err(self.unexpected("a comma or ] follows an item of a list")),
                    }
                }
                let whole = span.start..self.span.end;
                self.next()?;
                Ok(Value::List(items, whole))
            }
            _ => Err(self.unexpected("a value is a text in quotes, a number, or a list in [ ]")),
        }
    }

    fn newlines(&mut self) -> Result<(), Box<Flaw>> {
        while self.token == Token::Newline {
            self.next()?;
        }
        Ok(())
    }

    fn unexpected(&self, rule: &str) -> Box<Flaw> {
        let found = match self.token {
            Token::End => "the end of the text".to_owned(),
            Token::Newline => "the end of the line".to_owned(),
            _ => quoted(&self.source[self.span.clone()]),
        };
        let flaw = Flaw::new(self.span.clone(), format!("{found} is not expected here"), rule);
        match self.token {
            Token::Comma => flaw.hint("remove the comma, or add what is missing before it"),
            Token::Ident if rule.starts_with("a value") => flaw.hint("put the text into quotes"),
            Token::Newline if rule.starts_with("a value") => flaw.hint("the value starts on the line of the ="),
            Token::Text if rule.starts_with("a statement ends") => {
                flaw.hint("texts are not added here; write one text")
            }
            _ => flaw,
        }
    }

    /// Goes on to the next token.
    fn next(&mut self) -> Result<(), Box<Flaw>> {
        let bytes = self.source.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t')) {
            self.at += 1;
        }
        let start = self.at;
        let rest = &bytes[start..];
        // Having met a stray character, xl's reader reports it with what follows. At the end nothing follows.
        let stray = !matches!(rest, [b'a'..=b'z' | b'0'..=b'9' | b',' | b'[' | b']' | b'=' | b';' | b'\n'] | []);
        if let Some(swallowed) = self.swallowed.as_deref_mut().filter(|_| stray && rest.len() == 1) {
            let rule = "xl does not see a stray character at the very end";
            swallowed.push(
                *Flaw::new(start..start + 1, format!("{} has no meaning here", quoted(&self.source[start..])), rule)
                    .hint("remove it"),
            );
            self.at = bytes.len();
            self.span = start..self.at;
            self.token = Token::End;
            return Ok(());
        }
        let run = |test: fn(u8) -> bool| 1 + rest[1..].iter().take_while(|b| test(**b)).count();
        let (token, len) = match rest {
            [] => (Token::End, 0),
            [b'a'..=b'z', ..] => (Token::Ident, run(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))),
            [b'0'..=b'9', ..] => (Token::Number, run(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'x'))),
            [b',', ..] => (Token::Comma, 1),
            [b'[', ..] => (Token::Open, 1),
            [b']', ..] => (Token::Close, 1),
            [b'=', ..] => (Token::Is, 1),
            [b'+', b'=', ..] => (Token::Adds, 2),
            [b';', ..] => (Token::Semicolon, 1),
            [b'\n', ..] => (Token::Newline, 1),
            [b'#', ..] => match rest.iter().position(|b| *b == b'\n') {
                Some(end) => (Token::Newline, end + 1),
                None => {
                    let rule = "xl knows a comment only by the end of its line, and stops here";
                    if let Some(swallowed) = self.swallowed.as_deref_mut() {
                        let span = start..bytes.len();
                        let flaw = Flaw::new(span, "the last line is a comment without an end of line", rule);
                        swallowed.push(*flaw.hint("end the last line with a newline"));
                    }
                    (Token::End, rest.len())
                }
            },
            [b'\'' | b'"', ..] => (Token::Text, self.text(rest, start)?),
            _ => return Err(self.stray(start)),
        };
        self.at = start + len;
        self.span = start..self.at;
        self.token = token;
        Ok(())
    }

    /// The length of the quoted text at the start of `rest`.
    fn text(&self, rest: &[u8], start: usize) -> Result<usize, Box<Flaw>> {
        let quote = rest[0];
        let mut i = 1;
        loop {
            match rest.get(i) {
                Some(b) if *b == quote => return Ok(i + 1),
                Some(b'\\') if rest.get(i + 1).is_some_and(|b| *b != b'\n') => i += 2,
                None | Some(b'\n' | b'\\') => {
                    let rule = format!("a text ends with {} on the same line", quote as char);
                    return Err(Flaw::new(start..start + i, "the text is not closed", rule)
                        .hint("add the quote that is missing"));
                }
                Some(_) => i += 1,
            }
        }
    }

    fn stray(&self, start: usize) -> Box<Flaw> {
        let found = self.source[start..].chars().next().unwrap_or('\0');
        let span = start..start + found.len_utf8();
        let flaw = Flaw::new(span, format!("'{}' has no meaning here", found.escape_debug()), "xl: lexical error");
        match found {
            '(' | ')' => flaw.hint("lists are written in [ ]; Python is not run"),
            '+' | '-' | '.' | ':' => flaw.hint("Python is not run; a number other than a plain one goes into quotes"),
            'A'..='Z' => flaw.hint("names are lower case"),
            '_' => flaw.hint("a name starts with a letter"),
            '\r' => flaw.hint("lines end with a newline alone: remove the carriage returns (dos2unix)"),
            '\u{feff}' => flaw.hint("remove the byte order mark"),
            '\0' => flaw.hint("this is not a text file"),
            _ => flaw,
        }
    }
}

fn open_list(bracket: Range<usize>) -> Box<Flaw> {
    Flaw::new(bracket, "the list is not closed", "a list ends with ]").hint("add the ] that is missing")
}

/// Resolves the escapes of a quoted text.
fn dequote(source: &str, span: Range<usize>) -> Result<Atom, Box<Flaw>> {
    let inner = span.start + 1..span.end - 1;
    let raw = &source[inner.clone()];
    if let Some(at) = raw.find('\0') {
        let at = inner.start + at;
        return Err(Flaw::new(at..at + 1, "a NUL character in a text", "C ends a text there").hint("remove it"));
    }
    if !raw.contains('\\') {
        return Ok(Atom::verbatim(raw, inner.start, span, true));
    }
    let bytes = raw.as_bytes();
    let (mut text, mut map) = (Vec::with_capacity(bytes.len()), Vec::with_capacity(bytes.len()));
    let mut i = 0;
    while let Some(b) = bytes.get(i) {
        let start = i;
        i += 1;
        if *b != b'\\' {
            text.push(*b);
            map.push(inner.start + start);
            continue;
        }
        let flaw = |end: usize, rule: &str| {
            let end = raw.len().min((end..).find(|e| raw.is_char_boundary(*e)).unwrap_or(raw.len()));
            Flaw::new(
                inner.start + start..inner.start + end,
                format!("{} is no escape", quoted(&raw[start..end])),
                rule,
            )
        };
        // The reader of tokens saw to it that something follows.
        let escaped = bytes.get(i).copied().unwrap_or(b'\\');
        i += 1;
        let resolved = match escaped {
            b'"' | b'\'' | b'\\' => escaped,
            b'a' => 0x07,
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            b'x' => {
                return Err(flaw(i, "xl refuses every \\x: its check wants more digits than it reads")
                    .hint("write the character itself"));
            }
            b'0'..=b'7' => {
                // xl reads a number of two or three decimal digits behind the first one, and then drops it.
                let digits = &bytes[i..bytes.len().min(i + 3)];
                let number = strtoul(digits, 10);
                if number.len < 2 {
                    return Err(
                        flaw(i, "xl wants at least three digits in a number escape").hint("write the character itself")
                    );
                }
                i += number.len;
                continue;
            }
            _ => {
                return Err(flaw(i, "the escapes are \\\" \\' \\\\ \\a \\b \\f \\n \\r \\t \\v")
                    .hint("write \\\\ for a backslash"));
            }
        };
        text.push(resolved);
        map.push(inner.start + start);
    }
    let text = String::from_utf8(text).expect("whole characters were copied, and escapes resolve to ASCII");
    Ok(Atom::mapped(text, map, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(source: &str) -> Vec<String> {
        read(source, None).unwrap().into_iter().map(|s| s.name).collect()
    }

    #[test]
    fn skips_what_it_is_not_asked_for() {
        let source =
            "# a guest\nname = \"x\" # its name\nmemory = 512; vcpus=2\n\n;;\ndisk = [ 'a', # first\n 'b',\n]\nx += []";
        assert_eq!(names(source), ["name", "memory", "vcpus", "disk", "x"]);
        assert_eq!(names(""), Vec::<String>::new());
    }

    #[test]
    fn stops_where_xl_stops() {
        for (bad, at) in [
            ("vif = (\n", 6),
            ("VIF = []", 0),
            ("vif = ['a' 'b']", 11),
            ("vif = ['a',, 'b']", 11),
            ("vif = [,]", 7),
            ("vif = 'a' + 'b'", 10),
            ("vif =\n[]", 5),
            ("vif = ['a\n']", 7),
            ("a = 1 b = 2", 6),
            ("a = -1", 4),
            ("a = 1\r\n", 5),
            ("a = [", 4),
            ("= 1", 0),
            ("a 1", 2),
            ("a = '\\q'", 5),
            ("a = '\\x41'", 5),
            ("a = '\\1'", 5),
            ("a = 'x\\", 4),
        ] {
            assert_eq!(read(bad, None).map_err(|f| f.span.start).err(), Some(at), "{bad:?}");
        }
        assert!(read(&format!("a = {}", "[".repeat(100_000)), None).is_err());
        // A last character alone is out of xl's sight.
        let mut swallowed = Vec::new();
        assert_eq!(read("a = 1\n#", Some(&mut swallowed)).unwrap().len(), 1);
        assert_eq!(swallowed[0].span, 6..7);
        // Many editors leave the last line without an end.
        for (text, settings) in [("# no newline", 0), ("a = 1\n# end", 1), ("a = [ 'x' ] # end", 1), ("a = 1\n#", 1)] {
            assert_eq!(read(text, None).unwrap().len(), settings, "{text}");
            let mut swallowed = Vec::new();
            assert_eq!(read(text, Some(&mut swallowed)).unwrap().len(), settings, "{text}");
            assert_eq!(swallowed.len(), 1, "{text}");
        }
        assert!(read("a = [ 'x' # end ]", None).is_err(), "the comment has the bracket");
    }

    #[test]
    fn escapes_keep_the_way_back() {
        let source = r#"v = 'a\'b\\c\112d'"#;
        let settings = read(source, None).unwrap();
        let Value::Atom(atom) = &settings[0].value else { panic!() };
        assert_eq!(atom.text, r"a'b\cd", "xl drops numeric escapes");
        assert_eq!(&source[atom.place(1..2)], r"\");
        assert_eq!(&source[atom.place(5..6)], "d");
        assert_eq!(atom.place(6..6), source.len() - 1..source.len() - 1);
    }
}
