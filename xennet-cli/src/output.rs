//! What the command says, and where.

use std::io::{BufWriter, IsTerminal, Stdout, Write};

use serde::Serialize;
use serde_json::json;
use xennet_core::document::Note;
use xennet_core::{Diagnostic, Errno, Error, ErrorKind, Result};

/// Standard output for answers, standard error for the rest.
pub(crate) struct Output {
    json: bool,
    colour: bool,
    status: u8,
    stdout: BufWriter<Stdout>,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        let colour = !json && std::io::stderr().is_terminal() && may_colour();
        Output { json, colour, status: 0, stdout: BufWriter::new(std::io::stdout()) }
    }

    /// Whether answers are JSON documents.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One answer: the document with `--json`, otherwise the text, which gets its final newline here.
    pub(crate) fn answer<D: Serialize>(
        &mut self,
        text: impl FnOnce() -> String,
        document: impl FnOnce() -> D,
    ) -> Result<()> {
        if self.json { self.line(&json!(document()).to_string()) } else { self.line(&text()) }
    }

    /// Text on standard output. An empty one prints nothing, not an empty line.
    pub(crate) fn line(&mut self, text: &str) -> Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let newline: &[u8] = if text.ends_with('\n') { b"" } else { b"\n" };
        self.stdout.write_all(text.as_bytes()).and_then(|()| self.stdout.write_all(newline)).map_err(|e| unwritten(&e))
    }

    /// The answer is one that scripts read from the exit status.
    pub(crate) fn answers_with(&mut self, status: u8) {
        self.status = status;
    }

    /// The exit status of a command that has answered.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// Whether text on standard output is coloured: on a terminal, unless `NO_COLOR` is set.
    pub(crate) fn is_coloured(&self) -> bool {
        !self.json && may_colour() && std::io::stdout().is_terminal()
    }

    /// Everything said so far reaches standard output.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.stdout.flush().map_err(|e| unwritten(&e))
    }

    /// A remark beside the answer.
    pub(crate) fn note(&mut self, text: &str) {
        if self.json {
            complain(&json!(Note::new(text)).to_string());
        } else {
            complain(&self.painted(&format!("note: {text}")));
        }
    }

    /// A remark on a text that was read, with the place.
    pub(crate) fn finding(&mut self, finding: &Diagnostic) {
        if self.json {
            complain(&json!(Note::from(finding)).to_string());
            return;
        }
        let mut text = format!("note: {}", finding.message);
        for line in finding.snippet().lines() {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if let Some(hint) = &finding.hint {
            text.push_str("\nhint: ");
            text.push_str(hint);
        }
        complain(&self.painted(&text));
    }

    /// An error in its long form, or as a document.
    pub(crate) fn error(&mut self, error: &Error) {
        // A reader that went away, as `head` does, knows.
        if error.object() == Some(STDOUT) && error.errno() == Some(Errno::EPIPE) {
            return;
        }
        let error = &error.clone().with_words(WORDS);
        // What was answered before comes first, where both go to one terminal. A second failure adds nothing.
        let _ = self.stdout.flush();
        if self.json {
            complain(&error.to_json());
        } else {
            complain(&self.painted(&error.report()));
        }
    }

    /// The words that start a line of a report stand out on a terminal.
    fn painted(&self, text: &str) -> String {
        if !self.colour {
            return text.to_owned();
        }
        let paint = |line: &str| match line.split_once(':') {
            Some(("error", rest)) => format!("\x1b[1;31merror\x1b[0m:{rest}"),
            Some(("hint", rest)) => format!("\x1b[1;32mhint\x1b[0m:{rest}"),
            Some(("note", rest)) => format!("\x1b[1;36mnote\x1b[0m:{rest}"),
            _ => line.to_owned(),
        };
        text.lines().map(paint).collect::<Vec<_>>().join("\n")
    }
}

/// What the library's hints are called here.
const WORDS: &[(&str, &str)] = &[
    ("cut them off by force", "cut them off: --force"),
    ("stop this one by force", "--force"),
    ("say that the LAN has DHCP", "say that the LAN has DHCP: --dhcp"),
    ("name the LAN's prefix, for example ", "name the LAN's prefix: --prefix "),
    ("or name the gateway", "or name the gateway: --gateway ADDRESS"),
    ("name the gateway, or say that there is no gateway", "name the gateway: --gateway ADDRESS; or --no-gateway"),
    ("another state directory", "another state directory (--state-dir)"),
    ("a state directory", "a state directory (--state-dir)"),
    ("the right state directory", "the right state directory (--state-dir)"),
];

/// Whether the environment lets text be coloured.
fn may_colour() -> bool {
    let set = |name| std::env::var_os(name).is_some_and(|v| !v.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
    !set("NO_COLOR") && !dumb
}

const STDOUT: &str = "standard output";

/// The help or the version, as clap words them, on standard output.
pub(crate) fn help(text: &clap::Error) -> Result<()> {
    text.print().and_then(|()| std::io::stdout().flush()).map_err(|e| unwritten(&e))
}

/// Wrong usage, as clap words it, as an error like others: what is wrong, and as the hint how it is right.
pub(crate) fn usage(e: &clap::Error) -> Error {
    let text = e.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let rest: Vec<String> = paragraphs.filter(|p| !p.is_empty()).collect();
    let error = Error::new(ErrorKind::Invalid, first.trim_start_matches("error: "));
    if rest.is_empty() { error } else { error.with_hint(rest.join("; ")) }
}

fn unwritten(e: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{STDOUT} cannot be written")).with_object(STDOUT).with_errno(Errno::from_io(e))
}

/// A line on standard error; if that is closed too, there is nobody left to tell.
fn complain(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
