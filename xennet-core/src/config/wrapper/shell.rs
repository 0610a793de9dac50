//! The words of a shell script, without running anything: what is quoted, what is a variable, what cannot be known.

use std::ops::Range;

use crate::model::flaw::Flaw;

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It stands there as it is; in quotes, or not.
    Text { text: String, quoted: bool },
    /// The value of a variable or of a positional parameter (`1`, `@`, `*`).
    Parameter { name: String, quoted: bool },
    /// What a command prints, or what only the shell knows.
    Unknown,
}

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) parts: Vec<Part>,
    pub(super) span: Range<usize>,
}

impl Word {
    /// The word, if nothing of it is quoted or expanded: what can be a keyword or an assignment.
    pub(super) fn bare(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [Part::Text { text, quoted: false }] => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(Word),
    /// One of [`OPERATORS`].
    Operator(&'static str, Range<usize>),
    Newline(usize),
}

/// The longer ones first.
const OPERATORS: [&str; 20] = [
    "<<<", "&>>", ";;&", "<<-", ";;", ";&", "&&", "||", "&>", "<<", ">>", ">&", "<&", ">|", ";", "&", "|", "<", ">",
    "(",
];

/// Takes a script apart.
///
/// # Errors
/// Quotes, brackets and backquotes without end.
pub(super) fn read(source: &str) -> Result<Vec<Token>, Box<Flaw>> {
    let mut reader = Reader { source, at: 0, tokens: Vec::new(), here: Vec::new() };
    while let Some(c) = reader.peek() {
        let start = reader.at;
        match c {
            '\n' => {
                reader.at += 1;
                reader.tokens.push(Token::Newline(start));
                reader.skip_here_documents();
            }
            _ if c.is_whitespace() => reader.at += c.len_utf8(),
            '\\' if reader.rest().starts_with("\\\n") => reader.at += 2,
            '#' => reader.at += reader.rest().find('\n').unwrap_or(reader.rest().len()),
            ')' => {
                reader.at += 1;
                reader.tokens.push(Token::Operator(")", start..reader.at));
            }
            _ => match OPERATORS.iter().find(|op| reader.rest().starts_with(**op)) {
                Some(op) => {
                    reader.at += op.len();
                    reader.tokens.push(Token::Operator(op, start..reader.at));
                }
                None => {
                    let word = reader.word()?;
                    reader.note_here_document(&word);
                    reader.tokens.push(Token::Word(word));
                }
            },
        }
    }
    Ok(reader.tokens)
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// Here-documents that begin on the next line: where each ends, and whether tabs before that do not count.
    here: Vec<(String, bool)>,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn word(&mut self) -> Result<Word, Box<Flaw>> {
        let start = self.at;
        let mut parts = Parts(Vec::new());
        while let Some(c) = self.peek() {
            match c {
                _ if c.is_whitespace() || matches!(c, ';' | '&' | '|' | '<' | '>' | '(' | ')') => break,
                '\\' => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(c) => {
                            self.at += c.len_utf8();
                            parts.text(c, true);
                        }
                        None => parts.text('\\', true),
                    }
                }
                '\'' => {
                    let text = self.rest()[1..].find('\'').map(|end| &self.rest()[1..=end]);
                    let text = text.ok_or_else(|| without_end(self.at..self.at + 1, "this quote"))?;
                    parts.texts(text);
                    self.at += text.len() + 2;
                }
                '"' => self.double_quotes(&mut parts)?,
                '$' | '`' => {
                    let part = self.expansion(false)?;
                    parts.0.push(part);
                }
                _ => {
                    self.at += c.len_utf8();
                    parts.text(c, false);
                }
            }
        }
        Ok(Word { parts: parts.0, span: start..self.at })
    }

    fn double_quotes(&mut self, parts: &mut Parts) -> Result<(), Box<Flaw>> {
        let start = self.at;
        self.at += 1;
        let before = parts.0.len();
        loop {
            match self.peek() {
                None => return Err(without_end(start..start + 1, "this quote")),
                Some('"') => {
                    self.at += 1;
                    if parts.0.len() == before {
                        // "" is a word, too.
                        parts.texts("");
                    }
                    return Ok(());
                }
                Some('\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some('\n') => self.at += 1,
                        Some(c @ ('$' | '`' | '"' | '\\')) => {
                            self.at += 1;
                            parts.text(c, true);
                        }
                        _ => parts.text('\\', true),
                    }
                }
                Some('$' | '`') => {
                    let part = self.expansion(true)?;
                    parts.0.push(part);
                }
                Some(c) => {
                    self.at += c.len_utf8();
                    parts.text(c, true);
                }
            }
        }
    }

    /// What begins with `$` or a backquote.
    fn expansion(&mut self, quoted: bool) -> Result<Part, Box<Flaw>> {
        let start = self.at;
        let parameter = |name: &str| Part::Parameter { name: name.to_owned(), quoted };
        self.at += 1;
        if self.source[start..].starts_with('`') {
            let end = self.rest().find('`').ok_or_else(|| without_end(start..start + 1, "this backquote"))?;
            self.at += end + 1;
            return Ok(Part::Unknown);
        }
        match self.peek() {
            Some('(') => {
                self.bracket(start, '(', ')')?;
                Ok(Part::Unknown)
            }
            Some('{') => {
                self.bracket(start, '{', '}')?;
                let inner = &self.source[start + 2..self.at - 1];
                // xend always gives a verb, so that what stands for a missing one never counts.
                let verb = inner.strip_prefix('1').is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '-']));
                Ok(match inner {
                    _ if verb => parameter("1"),
                    "@" | "*" => parameter(inner),
                    // The old way to write "$@".
                    "1+\"$@\"" | "1:+\"$@\"" => parameter("@"),
                    _ if !inner.is_empty() && inner.bytes().all(in_a_name) => parameter(inner),
                    _ => Part::Unknown,
                })
            }
            Some(c @ ('@' | '*' | '0'..='9')) => {
                self.at += 1;
                Ok(parameter(c.encode_utf8(&mut [0; 4])))
            }
            Some('#' | '?' | '$' | '!' | '-') => {
                self.at += 1;
                Ok(Part::Unknown)
            }
            _ => {
                let len = self.rest().bytes().take_while(|b| in_a_name(*b)).count();
                let name = &self.rest()[..len];
                self.at += len;
                Ok(if name.is_empty() { Part::Text { text: "$".to_owned(), quoted } } else { parameter(name) })
            }
        }
    }

    /// Goes behind the bracket that closes the one here. Quotes in between hide brackets.
    fn bracket(&mut self, start: usize, open: char, close: char) -> Result<(), Box<Flaw>> {
        let (mut depth, mut quote) = (0usize, None);
        while let Some(c) = self.peek() {
            self.at += c.len_utf8();
            match (quote, c) {
                (Some('\''), '\'') | (Some('"'), '"') => quote = None,
                (Some('\''), _) => {}
                (_, '\\') => self.at += self.peek().map_or(0, char::len_utf8),
                (None, '\'' | '"') => quote = Some(c),
                (None, _) if c == open => depth += 1,
                (None, _) if c == close && depth == 1 => return Ok(()),
                (None, _) if c == close => depth -= 1,
                _ => {}
            }
        }
        Err(without_end(start..start + 2, "this bracket"))
    }

    /// After `<<` stands the line that ends what the next lines are.
    fn note_here_document(&mut self, word: &Word) {
        if let Some(Token::Operator(op @ ("<<" | "<<-"), _)) = self.tokens.last() {
            let text = |part: &Part| match part {
                Part::Text { text, .. } => text.clone(),
                Part::Parameter { .. } | Part::Unknown => String::new(),
            };
            self.here.push((word.parts.iter().map(text).collect(), *op == "<<-"));
        }
    }

    fn skip_here_documents(&mut self) {
        for (end, tabs) in std::mem::take(&mut self.here) {
            while !self.rest().is_empty() {
                let line = self.rest().split('\n').next().unwrap_or_default();
                self.at = (self.at + line.len() + 1).min(self.source.len());
                if (if tabs { line.trim_start_matches('\t') } else { line }) == end {
                    break;
                }
            }
        }
    }
}

fn in_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The pieces of a word so far; text of one kind is kept together.
struct Parts(Vec<Part>);

impl Parts {
    fn text(&mut self, c: char, quoted: bool) {
        match self.0.last_mut() {
            Some(Part::Text { text, quoted: so_far }) if *so_far == quoted => text.push(c),
            _ => self.0.push(Part::Text { text: c.to_string(), quoted }),
        }
    }

    /// A text in quotes, which may be empty.
    fn texts(&mut self, more: &str) {
        match self.0.last_mut() {
            Some(Part::Text { text, quoted: true }) => text.push_str(more),
            _ => self.0.push(Part::Text { text: more.to_owned(), quoted: true }),
        }
    }
}

fn without_end(span: Range<usize>, what: &str) -> Box<Flaw> {
    Flaw::new(span, format!("{what} is never closed"), "a shell stops here, too").hint("close it")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(source: &str) -> Vec<String> {
        let part = |part: &Part| match part {
            Part::Text { text, quoted: true } => format!("'{text}'"),
            Part::Text { text, quoted: false } => text.clone(),
            Part::Parameter { name, quoted: true } => format!("\"${name}\""),
            Part::Parameter { name, quoted: false } => format!("${name}"),
            Part::Unknown => "?".to_owned(),
        };
        let token = |token: &Token| match token {
            Token::Word(word) => word.parts.iter().map(part).collect(),
            Token::Operator(op, _) => format!("<{op}>"),
            Token::Newline(_) => "/".to_owned(),
        };
        read(source).unwrap_or_else(|flaw| panic!("{source}: {}", flaw.message)).iter().map(token).collect()
    }

    #[test]
    fn words_quotes_variables_and_operators() {
        for (source, wanted) in [
            ("a \"$1\" b='c d'\n", "a \"$1\" b='c d' /"),
            ("a\\\n  b # c 'd\ne#f", "a b / e#f"),
            ("x=\"a$b${c}d\" ${1:-start} ${d:-e} $@ \"$*\" $# $", "x='a'\"$b\"\"$c\"'d' $1 ? $@ \"$*\" ? $"),
            ("$(dirname \"$0\" ')')/n `b`/n ${0%/*}/n", "?/n ?/n ?/n"),
            (
                "a||b&&c;d|e&f;;g)(h>i 2>&1 <j",
                "a <||> b <&&> c <;> d <|> e <&> f <;;> g <)> <(> h <>> i 2 <>&> 1 <<> j",
            ),
            ("cat <<E >f\n'x\nE\nb <<-'F G'\n\tF G\nc", "cat <<<> E <>> f / b <<<-> 'F G' / c"),
            ("a\\ b 'é'\"\\$\\x\" \"\"", "a' 'b 'é$\\x' ''"),
        ] {
            assert_eq!(shown(source).join(" "), wanted, "{source}");
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        for source in ["'a", "a \"b", "`a", "$(a", "${a", "\"$(a\"", "$(a ')'", "x\\\n'"] {
            assert!(read(source).unwrap_err().message.contains("never closed"), "{source}");
        }
    }
}
