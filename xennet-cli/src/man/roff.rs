//! Text as roff, with the macros of man(7).

use std::fmt::Write as _;

/// A manual page that is being written.
pub(super) struct Page(String);

/// How wide a line of the source is at most.
const WIDTH: usize = 78;

impl Page {
    /// The page of this name in this section, and what it is in a line.
    pub(super) fn new(name: &str, section: u8, what: &str) -> Self {
        let mut page = Page(String::from(".ie \\n(.g .ds Aq \\(aq\n.el .ds Aq '\n"));
        let version = env!("CARGO_PKG_VERSION");
        let _ = writeln!(page.0, ".TH {} {section} {DATE} \"xennet {version}\"", name.to_uppercase());
        page.section("NAME");
        let _ = writeln!(page.0, "{} \\- {}", escaped(name), escaped(what));
        page
    }

    pub(super) fn section(&mut self, title: &str) {
        let title = if title.contains(' ') { format!("\"{title}\"") } else { title.to_owned() };
        let _ = writeln!(self.0, ".SH {title}");
    }

    /// The first paragraph of a section.
    pub(super) fn text(&mut self, text: &str) {
        self.fill(text);
    }

    /// A further paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.push_str(".PP\n");
        self.fill(text);
    }

    /// Paragraphs, separated by empty lines.
    pub(super) fn paragraphs(&mut self, text: &str) {
        for (at, text) in text.split("\n\n").filter(|text| !text.trim().is_empty()).enumerate() {
            if at > 0 {
                self.0.push_str(".PP\n");
            }
            self.fill(text);
        }
    }

    /// A term in bold, and what it is.
    pub(super) fn item(&mut self, term: &str, text: &str) {
        let _ = writeln!(self.0, ".TP\n\\fB{}\\fR", escaped(term));
        let mut paragraphs = text.split("\n\n").filter(|text| !text.trim().is_empty());
        self.fill(paragraphs.next().unwrap_or_default());
        for text in paragraphs {
            self.0.push_str(".IP\n");
            self.fill(text);
        }
    }

    /// Lines that stay as they are.
    pub(super) fn lines(&mut self, text: &str) {
        self.0.push_str(".RS 4\n.nf\n");
        for line in text.lines() {
            let _ = writeln!(self.0, "{}", escaped(line));
        }
        self.0.push_str(".fi\n.RE\n");
    }

    /// Commands in bold, a line each.
    pub(super) fn synopsis(&mut self, text: &str) {
        for (at, line) in text.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
            let name = line.split(' ').take_while(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            let name = name.collect::<Vec<_>>().join(" ");
            let rest = &line[name.len()..];
            let break_line = if at > 0 { ".br\n" } else { "" };
            let _ = writeln!(self.0, "{break_line}\\fB{}\\fR{}", escaped(&name), escaped(rest));
        }
    }

    /// Other pages.
    pub(super) fn see_also(&mut self, pages: &[String]) {
        self.section("SEE ALSO");
        let one = |page: &String| match page.split_once('(') {
            Some((name, section)) => format!("\\fB{}\\fR({section}", escaped(name)),
            None => escaped(page),
        };
        let _ = writeln!(self.0, "{}", pages.iter().map(one).collect::<Vec<_>>().join(",\n"));
    }

    pub(super) fn finish(self) -> String {
        self.0
    }

    /// A text in lines of the source that are not too long. What stands between backquotes becomes bold.
    fn fill(&mut self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if !line.is_empty() && line.len() + 1 + word.len() > WIDTH {
                self.line(&line);
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
            // A sentence ends a line of the source, so that roff spaces it as it likes.
            if word.ends_with('.') && word.len() > 3 {
                self.line(&line);
                line.clear();
            }
        }
        if !line.is_empty() {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &str) {
        let mut out = String::new();
        for (at, part) in line.split('`').enumerate() {
            match at % 2 {
                0 => out.push_str(&escaped(part)),
                _ => {
                    let _ = write!(out, "\\fB{}\\fR", escaped(part));
                }
            }
        }
        // A dot or an apostrophe at the start would be a macro.
        let guard = if out.starts_with(['.', '\'']) { "\\&" } else { "" };
        let _ = writeln!(self.0, "{guard}{out}");
    }
}

/// The day on which the texts of the pages were gone through last. Pages are the same in every build.
const DATE: &str = "2026-11-30";

/// A text with what roff would take for its own in another form.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\e"),
            '-' => out.push_str("\\-"),
            '\'' => out.push_str("\\*(Aq"),
            '^' => out.push_str("\\(ha"),
            '~' => out.push_str("\\(ti"),
            '`' => out.push_str("\\(ga"),
            other => out.push(other),
        }
    }
    if out.starts_with('.') { format!("\\&{out}") } else { out }
}
