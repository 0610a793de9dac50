//! One command: whether it calls a network script, and what with.

use std::ops::Range;

use super::WrapperCall;
use super::flow::{Before, Block, Reader, Runs};
use super::shell::{Part, Word};
use crate::config::legacy::{LegacyVerb, NetworkScript};
use crate::model::flaw::{Flaw, quoted};

/// Commands that say, wait or tidy up, and change nothing of a network.
const HARMLESS: &[&str] = &[
    ":", "true", "echo", "printf", "logger", "sleep", "wait", "set", "shift", "exit", "return", "cd", "umask", "trap",
    "test", "[", "[[", "export", "local", "readonly", "declare", "unset", "date",
];
/// Commands that run the command behind them.
const CARRIERS: &[&str] = &["exec", "command", "sudo", "nohup", "env", "sh", "bash", "dash", "time", "!"];
/// How many calls a wrapper makes at most: far beyond any host's links.
const MOST: usize = 1000;
/// What a command may be called that only looks whether something is so.
const TESTS: &[&str] = &["test", "[", "[["];

/// A piece of an expanded word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Known; if it came unquoted from a variable, blanks in it separate words.
    Text { text: String, splits: bool },
    /// The first argument of the wrapper.
    Verb,
    /// All arguments, the verb first.
    All,
    /// All arguments behind the verb, or one of them.
    Options,
    /// What only the shell knows.
    Unknown,
}

impl Reader<'_> {
    /// A command of these words; whether it only looks whether something is so.
    pub(super) fn simple(&mut self, words: &[&Word], span: Range<usize>, before: Before) -> Result<bool, Box<Flaw>> {
        let runs = self.runs();
        if runs == Runs::No {
            return Ok(false);
        }
        let settings = words.iter().take_while(|w| assignment(w).is_some()).count();
        let declares = words
            .first()
            .and_then(|w| w.bare())
            .is_some_and(|w| matches!(w, "export" | "local" | "readonly" | "declare"));
        for word in words.iter().take(if declares || settings == words.len() { words.len() } else { 0 }) {
            self.assign(word, runs, before);
        }
        if settings == words.len() || declares {
            return Ok(false);
        }
        let mut rest = &words[settings..];
        let mut replaces = false;
        while let Some(name) = rest.first().and_then(|w| w.bare()).map(base)
            && CARRIERS.contains(&name)
            && rest.len() > 1
        {
            replaces |= name == "exec";
            rest = &rest[1..];
            while rest.len() > 1 && rest[0].bare().is_some_and(|w| w.starts_with('-')) {
                rest = &rest[1..];
            }
        }
        let pieces = self.expand(rest[0]);
        let name = command_name(&pieces);
        // A script that is read in is a call if it is one of Xen's.
        let (rest, name) = match name.as_deref() {
            Some("." | "source") if rest.len() > 1 => {
                let read_in = self.expand(rest[1]);
                let script = command_name(&read_in).filter(|n| NetworkScript::ALL.iter().any(|s| s.name() == *n));
                if script.is_some() { (&rest[1..], script) } else { (rest, name) }
            }
            _ => (rest, name),
        };
        if let Some(script) = name.as_deref().filter(|n| n.starts_with("network-") && !n.contains(char::is_whitespace))
        {
            if settings > 0 {
                let flaw =
                    Flaw::new(words[0].span.clone(), "a variable set before a call", "options stand behind the script");
                return Err(flaw.hint("write them behind the verb"));
            }
            self.call(script, &rest[1..], span.clone(), runs, before)?;
            if replaces {
                self.ended.get_or_insert(span);
            }
            return Ok(false);
        }
        let name = name.unwrap_or_default();
        let unconditional = runs == Runs::Yes && before == Before::Nothing;
        match name.as_str() {
            "exit" | "return" if unconditional => {
                self.ended.get_or_insert(span.clone());
            }
            // What its output becomes, and nothing else.
            "exec" => {}
            "shift" => self.shift(runs, before),
            "set" if rest.get(1).and_then(|w| w.bare()).is_none_or(|w| !w.starts_with(['-', '+']) || w == "--") => {
                // Other arguments from here on.
                self.shifted = true;
            }
            _ if HARMLESS.contains(&name.as_str()) => {}
            _ => self.other(&name, rest, span.clone())?,
        }
        if replaces && unconditional {
            self.ended.get_or_insert(span);
        }
        Ok(TESTS.contains(&name.as_str()))
    }

    /// A command that has nothing to do with the network scripts, or is not understood.
    fn other(&mut self, name: &str, words: &[&Word], span: Range<usize>) -> Result<(), Box<Flaw>> {
        if self.ended.is_some() {
            return Ok(());
        }
        let text = &self.source[span.clone()];
        // Whatever is behind a variable may be one of them, too, if a verb is passed to it.
        let given_verb =
            || words[1..].iter().any(|w| self.expand(w).iter().any(|p| matches!(p, Piece::Verb | Piece::All)));
        if NetworkScript::ALL.iter().any(|script| text.contains(script.name())) || name.is_empty() && given_verb() {
            let flaw =
                Flaw::new(span, format!("{} is not understood", quoted(text)), "a call is SCRIPT \"$1\" NAME=VALUE...");
            return Err(
                flaw.hint("write each call on a line of its own: /etc/xen/scripts/network-bridge \"$1\" netdev=eth0")
            );
        }
        let hint = match name {
            "modprobe" | "insmod" => "netloop's loopback pairs are not needed: dom0's addresses are on the bridge",
            "brctl" | "ip" | "ifconfig" | "route" | "ifup" | "ifdown" | "ifenslave" | "vconfig" | "ethtool"
            | "bridge" => "see whether a key of networks.toml says it, or keep it in a script of your own",
            "iptables" | "ip6tables" | "ebtables" | "arptables" | "nft" | "sysctl" => {
                "keep it where the firewall is made, if it is still needed"
            }
            _ => "keep it in a script of your own, if it is still needed",
        };
        let flaw = Flaw::new(
            span,
            format!("{} is not carried over", quoted(text)),
            "xennet takes the networks from a wrapper",
        );
        self.notes.push(*flaw.hint(hint));
        Ok(())
    }

    fn shift(&mut self, runs: Runs, before: Before) {
        // Where it is not sure that it happens, nothing is known of the arguments behind it; the same is true of a second one.
        let sure = runs == Runs::Yes && before == Before::Nothing && !self.shifted;
        self.shifted = true;
        if !sure {
            self.variables.insert("@".to_owned(), vec![Piece::Unknown]);
        }
    }

    fn assign(&mut self, word: &Word, runs: Runs, before: Before) {
        let Some(name) = assignment(word) else { return };
        let mut value = word.clone();
        if let Some(Part::Text { text, .. }) = value.parts.first_mut() {
            text.drain(..=name.len());
            if text.is_empty() {
                value.parts.remove(0);
            }
        }
        let sure = runs == Runs::Yes && matches!(before, Before::Nothing | Before::And);
        let pieces = if sure { self.expand(&value) } else { vec![Piece::Unknown] };
        let len: usize = pieces.iter().map(|p| if let Piece::Text { text, .. } = p { text.len() } else { 0 }).sum();
        // A value that grows with each line (a=$a$a) is nothing that a network is called by.
        let pieces = if pieces.len() > 64 || len > 4096 { vec![Piece::Unknown] } else { pieces };
        self.variables.insert(name.to_owned(), pieces);
    }

    pub(super) fn expand(&self, word: &Word) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for part in &word.parts {
            match part {
                Part::Text { text, .. } => pieces.push(Piece::Text { text: text.clone(), splits: false }),
                Part::Unknown => pieces.push(Piece::Unknown),
                Part::Parameter { name, quoted } => match (name.as_str(), self.variables.get(name)) {
                    (_, Some(value)) => pieces.extend(value.iter().map(|piece| match piece {
                        Piece::Text { text, .. } => Piece::Text { text: text.clone(), splits: !quoted },
                        other => other.clone(),
                    })),
                    ("1", None) if !self.shifted => pieces.push(Piece::Verb),
                    ("@" | "*", None) if !self.shifted => pieces.push(Piece::All),
                    ("@" | "*", None) => pieces.push(Piece::Options),
                    // Where it is known how far the arguments were shifted.
                    (number, None)
                        if number.parse::<u32>().is_ok_and(|n| n > 0) && !self.variables.contains_key("@") =>
                    {
                        pieces.push(Piece::Options);
                    }
                    _ => pieces.push(Piece::Unknown),
                },
            }
        }
        pieces
    }

    fn call(
        &mut self,
        script: &str,
        words: &[&Word],
        span: Range<usize>,
        runs: Runs,
        before: Before,
    ) -> Result<(), Box<Flaw>> {
        let told = quoted(&self.source[span.clone()]);
        if let Some(end) = &self.ended {
            let flaw = Flaw::new(span.clone(), format!("{} never ran", told), "the script ends before it");
            self.notes
                .push(*flaw.other(end.clone(), "it ends here").hint("remove the call, or move it up if it is meant"));
            return Ok(());
        }
        let block = self.blocks.iter().rev().find_map(|block| match block {
            Block::Other { what, .. } => Some(what.as_str()),
            Block::Case { .. } | Block::If { .. } => None,
        });
        if runs == Runs::Unknown {
            let message = format!("a call of {script} in {}", block.unwrap_or("a branch that may run or not"));
            let flaw =
                Flaw::new(span, message, "whether it runs, and how often, is not known without running the wrapper");
            return Err(flaw.hint("write each call on a line of its own, outside of loops, functions and conditions"));
        }
        if matches!(before, Before::IfSo | Before::Or) {
            let message = format!("{} runs on a condition", told);
            let flaw = Flaw::new(span, message, "whether it runs is not known without running the wrapper");
            return Err(flaw.hint("write the call on a line of its own"));
        }
        let known =
            NetworkScript::ALL.iter().find(|s| script.strip_prefix(s.name()).is_some_and(|rest| rest.starts_with('.')));
        let name = match known {
            Some(known) => {
                let message = format!("{script} is taken for {known}");
                let flaw = Flaw::new(span.clone(), message, "a copy of Xen's script, by its name");
                self.notes.push(*flaw.hint("see whether somebody has changed it"));
                known.name()
            }
            None => script,
        };
        let arguments = self.arguments(words)?;
        if self.calls.len() == MOST {
            let flaw =
                Flaw::new(span, format!("{told} is one call too many"), format!("a wrapper makes at most {MOST}"));
            return Err(flaw.hint("is this the right text?"));
        }
        let line = self.line(span.start);
        let mut call = WrapperCall {
            script: name.to_owned(),
            options: Vec::new(),
            passes_options: arguments.passes_options,
            line,
        };
        let mut verb = None;
        for word in arguments.words {
            // As in the scripts' `findCommand`: the first word without `=`.
            if verb.is_some() || word.is_empty() || word.contains('=') {
                call.options.push(word);
            } else {
                verb = Some(word);
            }
        }
        if let Some(verb) = verb.as_deref().filter(|verb| *verb != "start") {
            let what = if LegacyVerb::ALL.iter().any(|v| v.name() == verb) {
                format!("it is called with {verb}")
            } else {
                format!("{} is no verb, and the script fails", quoted(verb))
            };
            let flaw = Flaw::new(span, format!("{told} makes no network"), what);
            self.notes.push(*flaw.hint("xennet network stop takes back what was started"));
            return Ok(());
        }
        if verb.is_none() {
            let flaw = Flaw::new(
                span,
                format!("{} has no verb", told),
                "without one the script says that it knows none, and fails",
            );
            self.notes.push(*flaw.hint("write \"$1\" behind the script; it is taken for start"));
        }
        self.calls.push(call);
        Ok(())
    }

    /// The words that a call is given.
    fn arguments(&self, words: &[&Word]) -> Result<Arguments, Box<Flaw>> {
        let mut found = Arguments::default();
        for word in words {
            let unknown = |message: &str| {
                let flaw = Flaw::new(word.span.clone(), message, "its value is not known without running the wrapper");
                flaw.hint("write the value itself")
            };
            let pieces = self.expand(word);
            match pieces.as_slice() {
                [Piece::Verb] => found.words.push("start".to_owned()),
                [Piece::All] => {
                    found.words.push("start".to_owned());
                    found.passes_options = true;
                }
                [Piece::Options] => found.passes_options = true,
                _ => {
                    let glob = word.parts.iter().any(
                        |p| matches!(p, Part::Text { text, quoted: false } if text.contains(['*', '?', '[', '{'])),
                    );
                    if glob {
                        return Err(unknown("a pattern as an option"));
                    }
                    let mut field = None::<String>;
                    for piece in &pieces {
                        let Piece::Text { text, splits } = piece else {
                            return Err(unknown("an option that only the shell knows"));
                        };
                        if !splits {
                            field.get_or_insert_default().push_str(text);
                            continue;
                        }
                        for (at, part) in text.split([' ', '\t', '\n']).enumerate() {
                            if at > 0 {
                                found.words.extend(field.take());
                            }
                            if !part.is_empty() {
                                field.get_or_insert_default().push_str(part);
                            }
                        }
                    }
                    found.words.extend(field);
                }
            }
        }
        Ok(found)
    }
}

/// What a call is given.
#[derive(Default)]
struct Arguments {
    passes_options: bool,
    /// The wrapper's own verb is among them: `start`.
    words: Vec<String>,
}

/// The name that a word sets, if it is `NAME=...`.
fn assignment(word: &Word) -> Option<&str> {
    let Some(Part::Text { text, quoted: false }) = word.parts.first() else { return None };
    let (name, _) = text.split_once('=')?;
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (!name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(fits)).then_some(name)
}

/// A path's last part.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The name of a command, whose directory need not be known.
fn command_name(pieces: &[Piece]) -> Option<String> {
    let known = pieces.iter().rev().map_while(|piece| match piece {
        Piece::Text { text, .. } => Some(text.as_str()),
        _ => None,
    });
    let mut texts: Vec<&str> = known.collect();
    texts.reverse();
    let end = texts.concat();
    (texts.len() == pieces.len() || end.contains('/')).then(|| base(&end).to_owned())
}
