//! The table: a line a path, what was expected and what was seen.

use std::fmt::Write;
use std::net::IpAddr;

use xennet_tests::NetNs;

use super::probe::{Expected, Kind, LESS, LONG, Path, Seen, probe};

/// Somebody: a name, where that is, and an address.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) name: &'static str,
    pub(crate) namespace: &'a NetNs,
    pub(crate) ip: IpAddr,
}

/// A line before it has been tried.
pub(crate) struct Row<'a> {
    path: String,
    kinds: &'static [Kind],
    tried: Path<'a>,
    expected: Expected,
}

impl<'a> Row<'a> {
    /// By all protocols, to its own address.
    pub(crate) fn new(from: End<'a>, to: End<'a>, expected: Expected) -> Self {
        let tried =
            Path { from: from.namespace, source: None, target: to.ip, to: to.namespace, at: to.ip, ports: None };
        Row { path: format!("{} to {}", from.name, to.name), kinds: Kind::ALL, tried, expected }
    }

    /// A path both of whose ends see the other one's own address.
    pub(crate) fn plain(from: End<'a>, to: End<'a>) -> Self {
        Row::new(from, to, Expected::Answered(from.ip))
    }

    /// From an address that is another's, or nobody's.
    pub(crate) fn forged(from: End<'a>, source: IpAddr, to: End<'a>, expected: Expected) -> Self {
        let row = Row::new(from, to, expected);
        let path = format!("{} as {source}", row.path);
        Row { path, tried: Path { source: Some(source), ..row.tried }, ..row }
    }

    /// By a port of somebody who hands it on.
    pub(crate) fn handed_on(
        from: End<'a>,
        to: End<'a>,
        kinds: &'static [Kind],
        by: (IpAddr, u16),
        port: u16,
        expected: Expected,
    ) -> Self {
        let row = Row::new(from, to, expected);
        let (target, outer) = by;
        let path = format!("{} port {port} by {target} port {outer}", row.path);
        Row { path, kinds, tried: Path { target, ports: Some((outer, port)), ..row.tried }, ..row }
    }
}

/// The lines, and how many are wrong.
#[derive(Default)]
pub(crate) struct Table {
    lines: Vec<[String; 6]>,
    wrong: usize,
}

const HEAD: [&str; 6] = ["mode", "family", "path", "by", "expected", "seen"];

impl Table {
    /// Tries all of these at once. None may ask for a port that another one asks for.
    pub(crate) fn at_once(&mut self, mode: &str, rows: &[Row<'_>]) {
        let name = std::thread::current().name().unwrap_or("a probe").to_owned();
        let patience = if self.wrong == 0 { LONG } else { LESS };
        let seen: Vec<Vec<Seen>> = std::thread::scope(|scope| {
            let running: Vec<Vec<_>> = rows
                .iter()
                .map(|row| {
                    let (tried, expected) = (row.tried, row.expected);
                    let probes = row.kinds.iter().map(|kind| {
                        let thread = std::thread::Builder::new().name(name.clone());
                        thread.spawn_scoped(scope, move || probe(*kind, &tried, expected, patience)).unwrap()
                    });
                    probes.collect()
                })
                .collect();
            let end = |t: std::thread::ScopedJoinHandle<'_, Seen>| {
                t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            running.into_iter().map(|row| row.into_iter().map(end).collect()).collect()
        });
        for (row, seen) in rows.iter().zip(seen) {
            self.add(mode, row, &seen);
        }
    }

    /// Tries one after the other.
    pub(crate) fn in_turn(&mut self, mode: &str, rows: &[Row<'_>]) {
        for row in rows {
            self.at_once(mode, std::slice::from_ref(row));
        }
    }

    fn add(&mut self, mode: &str, row: &Row<'_>, seen: &[Seen]) {
        let family = if row.tried.at.is_ipv4() { "IPv4" } else { "IPv6" };
        let kinds: Vec<String> = row.kinds.iter().map(Kind::to_string).collect();
        let words: Vec<String> = seen.iter().map(|s| s.beside(row.expected)).collect();
        let text = if words.iter().all(|w| *w == words[0]) {
            words[0].clone()
        } else {
            let each: Vec<String> = kinds.iter().zip(&words).map(|(kind, word)| format!("{kind}: {word}")).collect();
            each.join("; ")
        };
        let right = seen.iter().all(|s| row.expected.is(*s));
        self.line(mode, family, &row.path, &kinds.join(" "), (&row.expected.to_string(), &text), right);
    }

    /// A line about something else than packets.
    pub(crate) fn line(&mut self, mode: &str, family: &str, path: &str, by: &str, found: (&str, &str), right: bool) {
        self.wrong += usize::from(!right);
        let seen = if right { found.1.to_owned() } else { format!("{}   <<< WRONG", found.1) };
        self.lines.push([mode, family, path, by, found.0, &seen].map(str::to_owned));
    }

    /// Something that was found as a text.
    pub(crate) fn fact(&mut self, mode: &str, family: &str, path: &str, by: &str, expected: &str, seen: Option<&str>) {
        let text = seen.unwrap_or("nothing");
        self.line(mode, family, path, by, (expected, text), seen == Some(expected));
    }

    /// Prints it; fails if anything is wrong.
    pub(crate) fn end(self) {
        let mut widths = HEAD.map(str::len);
        for line in &self.lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.len());
            }
        }
        let mut text = String::new();
        for line in std::iter::once(&HEAD.map(str::to_owned)).chain(&self.lines) {
            let cells: Vec<String> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
            writeln!(text, "{}", cells.join("  ").trim_end()).unwrap();
        }
        // In one piece, since other tests print as well.
        println!("{text}{} paths, {} wrong", self.lines.len(), self.wrong);
        assert_eq!(self.wrong, 0, "the table above says where");
    }
}
