//! The shape of a script: lists, branches, loops, and which of it runs when the wrapper is called with `start`.

use std::collections::BTreeMap;
use std::ops::Range;

use super::WrapperCall;
use super::command::Piece;
use super::shell::{Part, Token, Word};
use crate::model::flaw::Flaw;

/// How deep blocks may be nested: far beyond any use.
const DEPTH: usize = 64;

/// What a command stands in.
pub(super) enum Block {
    /// A `case`; only of one on the verb it is known which branch runs.
    Case { at: usize, on_verb: bool, pattern_next: bool, runs: Runs, taken: bool },
    /// An `if` on the verb.
    If { at: usize, runs: Runs, taken: Runs },
    /// Anything whose commands may run or not, or more than once.
    Other { at: usize, what: String },
}

/// Whether the branch of a `case` runs with `start`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Runs {
    Yes,
    No,
    Unknown,
}

pub(super) struct Reader<'a> {
    pub(super) source: &'a str,
    pub(super) variables: BTreeMap<String, Vec<Piece>>,
    /// Whether the verb has been shifted away.
    pub(super) shifted: bool,
    pub(super) blocks: Vec<Block>,
    /// Where the script ends for `start`.
    pub(super) ended: Option<Range<usize>>,
    pub(super) calls: Vec<WrapperCall>,
    /// Up to where lines are counted, and how many newlines there are.
    counted: (usize, usize),
    pub(super) notes: Vec<Flaw>,
}

/// What stands before a command in its list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    Nothing,
    /// `&&` after a command that only looks.
    IfSo,
    /// `&&` after another one.
    And,
    /// `||`.
    Or,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Reader {
            source,
            variables: BTreeMap::new(),
            shifted: false,
            blocks: Vec::new(),
            ended: None,
            calls: Vec::new(),
            counted: (0, 0),
            notes: Vec::new(),
        }
    }

    /// The line of a place, from 1. Places come in their order.
    pub(super) fn line(&mut self, at: usize) -> usize {
        let (from, lines) = self.counted;
        let more = self.source.as_bytes().get(from..at).unwrap_or_default();
        self.counted = (at, lines + more.iter().filter(|b| **b == b'\n').count());
        self.counted.1 + 1
    }

    pub(super) fn script(&mut self, tokens: &[Token]) -> Result<(), Box<Flaw>> {
        let mut at = 0;
        let mut before = Before::Nothing;
        while at < tokens.len() {
            if let [.., last] = self.blocks.as_slice()
                && self.blocks.len() > DEPTH
            {
                let (Block::Case { at, .. } | Block::If { at, .. } | Block::Other { at, .. }) = last;
                let flaw = Flaw::new(
                    *at..*at + 1,
                    "blocks in blocks in blocks",
                    format!("they are nested at most {DEPTH} deep"),
                );
                return Err(flaw.hint("is this the right text?"));
            }
            if matches!(self.blocks.last(), Some(Block::Case { pattern_next: true, .. })) {
                at = self.pattern(tokens, at)?;
                continue;
            }
            match &tokens[at] {
                Token::Newline(_) => {
                    // A list goes on behind && and ||.
                    if !matches!(tokens.get(at.wrapping_sub(1)), Some(Token::Operator("&&" | "||", _))) {
                        before = Before::Nothing;
                    }
                    at += 1;
                }
                Token::Operator(op, span) => {
                    match *op {
                        "(" => self.open(span.start, "a subshell"),
                        ")" => self.close(span.clone(), ")")?,
                        ";;" | ";&" | ";;&" => self.end_of_branch(span.clone())?,
                        _ => {}
                    }
                    before = Before::Nothing;
                    at += 1;
                }
                Token::Word(_) => {
                    let (looks, next) = self.command(tokens, at, before)?;
                    let conditional = matches!(before, Before::IfSo | Before::Or);
                    before = match tokens.get(next) {
                        Some(Token::Operator("&&", _)) if looks || conditional => Before::IfSo,
                        Some(Token::Operator("&&", _)) => Before::And,
                        Some(Token::Operator("||", _)) => Before::Or,
                        _ => Before::Nothing,
                    };
                    at = next + usize::from(before != Before::Nothing);
                }
            }
        }
        match self.blocks.last() {
            None => Ok(()),
            Some(Block::Case { at, .. } | Block::If { at, .. } | Block::Other { at, .. }) => {
                let flaw = Flaw::new(*at..*at + 1, "what begins here is never ended", "a shell stops here, too");
                Err(flaw.hint("end it with esac, fi, done, } or )"))
            }
        }
    }

    fn open(&mut self, at: usize, what: impl Into<String>) {
        self.blocks.push(Block::Other { at, what: what.into() });
    }

    fn close(&mut self, span: Range<usize>, with: &str) -> Result<(), Box<Flaw>> {
        match self.blocks.pop() {
            Some(_) => Ok(()),
            None => Err(Flaw::new(span, format!("{with} ends nothing"), "a shell stops here, too").hint("remove it")),
        }
    }

    /// The pattern of a branch, or the end of the `case`.
    fn pattern(&mut self, tokens: &[Token], mut at: usize) -> Result<usize, Box<Flaw>> {
        let mut matches = Runs::No;
        let Some(&Block::Case { at: begin, taken, on_verb, .. }) = self.blocks.last() else { return Ok(at) };
        loop {
            match tokens.get(at) {
                Some(Token::Newline(_) | Token::Operator("|" | "(", _)) => {}
                Some(Token::Word(word)) if word.bare() == Some("esac") => {
                    self.blocks.pop();
                    return Ok(at + 1);
                }
                Some(Token::Word(word)) => {
                    let this = match word.parts.as_slice() {
                        [Part::Text { text, quoted: false }] if text == "*" => Runs::Yes,
                        [Part::Text { text, quoted: false }] if text.contains(['*', '?', '[']) => Runs::Unknown,
                        [Part::Text { text, .. }] if text == "start" => Runs::Yes,
                        [Part::Text { .. }] => Runs::No,
                        _ => Runs::Unknown,
                    };
                    matches = match (matches, this) {
                        (Runs::Yes, _) | (_, Runs::Yes) => Runs::Yes,
                        (Runs::Unknown, _) | (_, Runs::Unknown) => Runs::Unknown,
                        _ => Runs::No,
                    };
                }
                Some(Token::Operator(")", _)) => {
                    if let Some(Block::Case { pattern_next, runs, taken: any, .. }) = self.blocks.last_mut() {
                        *pattern_next = false;
                        // The first branch that fits is the only one.
                        *runs = match (on_verb, taken) {
                            (false, _) => Runs::Unknown,
                            (true, true) => Runs::No,
                            (true, false) => matches,
                        };
                        *any = taken || matches == Runs::Yes;
                    }
                    return Ok(at + 1);
                }
                Some(Token::Operator(_, span)) => {
                    let flaw =
                        Flaw::new(span.clone(), "this is no branch of a case", "a branch is PATTERN) COMMANDS ;;");
                    return Err(flaw.hint("write start) before the commands"));
                }
                None => {
                    let flaw = Flaw::new(begin..begin + 4, "this case is never ended", "a shell stops here, too");
                    return Err(flaw.hint("end it with esac"));
                }
            }
            at += 1;
        }
    }

    fn end_of_branch(&mut self, span: Range<usize>) -> Result<(), Box<Flaw>> {
        match self.blocks.last_mut() {
            Some(Block::Case { pattern_next, .. }) => *pattern_next = true,
            _ => {
                let flaw = Flaw::new(span, ";; outside of a case", "a shell stops here, too");
                return Err(flaw.hint("write ; or end the line"));
            }
        }
        Ok(())
    }

    /// One command, from its first word on: whether it only looks at something, and where the next token is that does not
    /// belong to it.
    fn command(&mut self, tokens: &[Token], start: usize, before: Before) -> Result<(bool, usize), Box<Flaw>> {
        if let Some(next) = self.keyword(tokens, start)? {
            return Ok((false, next));
        }
        let mut words: Vec<&Word> = Vec::new();
        let mut at = start;
        loop {
            match tokens.get(at) {
                Some(Token::Word(word)) => {
                    // The number of what is redirected: 2>&1.
                    let number = word.bare().is_some_and(|w| w.bytes().all(|b| b.is_ascii_digit()));
                    let redirected = matches!(tokens.get(at + 1), Some(Token::Operator(op, span)) if redirects(op) && span.start == word.span.end);
                    if !(number && redirected) {
                        words.push(word);
                    }
                    at += 1;
                }
                Some(Token::Operator(op, _)) if redirects(op) => at += 2,
                // NAME ( ) is a function; what it does stands behind.
                Some(Token::Operator("(", _)) if words.len() == 1 => {
                    let Some(Token::Operator(")", _)) = tokens.get(at + 1) else { break };
                    return Ok((false, at + 2));
                }
                _ => break,
            }
        }
        let at = at.min(tokens.len());
        let (Some(first), Some(last)) = (words.first(), words.last()) else { return Ok((false, at)) };
        let span = first.span.start..last.span.end;
        Ok((self.simple(&words, span, before)?, at))
    }

    /// The words that shape a script; `None` if a command begins here.
    fn keyword(&mut self, tokens: &[Token], at: usize) -> Result<Option<usize>, Box<Flaw>> {
        let Token::Word(word) = &tokens[at] else { return Ok(None) };
        let Some(text) = word.bare() else { return Ok(None) };
        let begin = word.span.start;
        match text {
            "case" => {
                let subject = match tokens.get(at + 1) {
                    Some(Token::Word(subject)) => self.expand(subject),
                    _ => Vec::new(),
                };
                let is_in = |token: Option<&Token>| matches!(token, Some(Token::Word(w)) if w.bare() == Some("in"));
                if !is_in(tokens.get(at + 2)) {
                    let flaw =
                        Flaw::new(word.span.clone(), "a case without in", "case WORD in PATTERN) COMMANDS ;; esac");
                    return Err(flaw.hint("write case \"$1\" in"));
                }
                let on_verb = subject == [Piece::Verb];
                self.blocks.push(Block::Case { at: begin, on_verb, pattern_next: true, runs: Runs::No, taken: false });
                return Ok(Some(at + 3));
            }
            "if" => match self.condition(tokens, at + 1) {
                Some((runs, next)) => {
                    self.blocks.push(Block::If { at: begin, runs, taken: runs });
                    return Ok(Some(next));
                }
                None => self.open(begin, "an if"),
            },
            "elif" => {
                let known = self.condition(tokens, at + 1);
                if let Some(Block::If { runs, taken, .. }) = self.blocks.last_mut() {
                    let this = known.map_or(Runs::Unknown, |(runs, _)| runs);
                    (*runs, *taken) = match (*taken, this) {
                        (Runs::Yes, _) => (Runs::No, Runs::Yes),
                        (Runs::No, this) => (this, this),
                        // Whether an earlier branch ran is not known.
                        (Runs::Unknown, Runs::No) => (Runs::No, Runs::Unknown),
                        (Runs::Unknown, _) => (Runs::Unknown, Runs::Unknown),
                    };
                }
                return Ok(Some(known.map_or(at + 1, |(_, next)| next)));
            }
            "else" => {
                if let Some(Block::If { runs, taken, .. }) = self.blocks.last_mut() {
                    *runs = match *taken {
                        Runs::Yes => Runs::No,
                        Runs::No => Runs::Yes,
                        Runs::Unknown => Runs::Unknown,
                    };
                }
            }
            "while" | "until" => self.open(begin, "a loop"),
            "for" | "select" => {
                self.open(begin, "a loop");
                if let Some(name) =
                    tokens.get(at + 1).and_then(|t| if let Token::Word(w) = t { w.bare() } else { None })
                {
                    self.variables.insert(name.to_owned(), vec![Piece::Unknown]);
                }
                let ends = |token: &Token| matches!(token, Token::Newline(_) | Token::Operator(";", _));
                return Ok(Some(tokens[at..].iter().position(ends).map_or(tokens.len(), |n| at + n)));
            }
            // Its name is a word like the name of a command; what it does stands in { }.
            "function" => {
                let brackets = matches!(tokens.get(at + 2), Some(Token::Operator("(", _)));
                return Ok(Some((at + if brackets { 4 } else { 2 }).min(tokens.len())));
            }
            "{" => self.open(begin, "a function, or a group in { }"),
            "fi" | "done" | "esac" | "}" => self.close(word.span.clone(), text)?,
            "then" | "do" => {}
            _ => return Ok(None),
        }
        Ok(Some(at + 1))
    }

    /// A comparison of the verb with a word, up to the end of its line or a `;`: whether it is so with `start`, and where the
    /// next token is.
    fn condition(&self, tokens: &[Token], at: usize) -> Option<(Runs, usize)> {
        let word = |token: &Token| match token {
            Token::Word(word) => Some(word.clone()),
            _ => None,
        };
        let words: Vec<Word> = tokens.get(at..)?.iter().map_while(word).take(6).collect();
        let next = at + words.len();
        let bare: Vec<Option<&str>> = words.iter().map(Word::bare).collect();
        let (left, operator, right) = match bare.as_slice() {
            [Some("["), _, operator, _, Some("]")]
            | [Some("[["), _, operator, _, Some("]]")]
            | [Some("test"), _, operator, _] => (&words[1], *operator, &words[3]),
            _ => return None,
        };
        if !matches!(tokens.get(next), Some(Token::Newline(_) | Token::Operator(";", _)))
            || self.expand(left) != [Piece::Verb]
        {
            return None;
        }
        let [Part::Text { text, .. }] = right.parts.as_slice() else { return None };
        let same = match operator {
            Some("=" | "==") => text == "start",
            Some("!=") => text != "start",
            _ => return None,
        };
        Some((if same { Runs::Yes } else { Runs::No }, next))
    }

    /// Whether what is read now runs with `start`.
    pub(super) fn runs(&self) -> Runs {
        let mut runs = Runs::Yes;
        for block in &self.blocks {
            match block {
                Block::Case { runs: this, .. } | Block::If { runs: this, .. } => match this {
                    Runs::No => return Runs::No,
                    Runs::Yes => {}
                    Runs::Unknown => runs = Runs::Unknown,
                },
                Block::Other { .. } => runs = Runs::Unknown,
            }
        }
        runs
    }
}

fn redirects(operator: &str) -> bool {
    operator.contains(['<', '>'])
}
