//! Tables for people: as wide as there is room for, and without leaving anything out.

/// A colour on terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Paint {
    Good,
    Warning,
    Bad,
    Faint,
    Heading,
}

impl Paint {
    const fn code(self) -> &'static str {
        match self {
            Paint::Good => "32",
            Paint::Warning => "33",
            Paint::Bad => "1;31",
            Paint::Faint => "2",
            Paint::Heading => "1",
        }
    }

    /// The text in this colour, if it is to be coloured.
    pub(crate) fn on(self, text: &str, coloured: bool) -> String {
        if coloured && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", self.code()) } else { text.to_owned() }
    }
}

/// One cell: items that may stand in several lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    items: Vec<String>,
    paint: Option<Paint>,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Cell { items: vec![text.into()], paint: None }
    }

    /// Items, which are separated by blanks where there is room.
    pub(crate) fn list(items: impl IntoIterator<Item = String>) -> Self {
        Cell { items: items.into_iter().collect(), paint: None }
    }

    #[must_use]
    pub(crate) fn painted(mut self, paint: Option<Paint>) -> Self {
        self.paint = paint;
        self
    }

    fn is_empty(&self) -> bool {
        self.items.iter().all(String::is_empty)
    }

    fn width(&self) -> usize {
        self.items.iter().map(|item| columns(item) + 1).sum::<usize>().saturating_sub(1)
    }

    /// The lines that it takes in a column of this width.
    fn lines(&self, width: usize) -> Vec<String> {
        let mut lines: Vec<String> = vec![String::new()];
        for item in &self.items {
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(item),
                Some(line) if columns(line) + 1 + columns(item) <= width => {
                    line.push(' ');
                    line.push_str(item);
                }
                _ => lines.push(item.clone()),
            }
        }
        lines
    }
}

/// How many columns of a terminal a text takes.
fn columns(text: &str) -> usize {
    xennet_core::picture::text_columns(text)
}

/// Rows under headings. A column in which no row has anything is left out.
pub(crate) struct Table {
    headings: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

const BETWEEN: usize = 2;

impl Table {
    pub(crate) fn new(headings: impl IntoIterator<Item = &'static str>) -> Self {
        Table { headings: headings.into_iter().collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, row: Vec<Cell>) {
        self.rows.push(row);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Its lines. Where not all has room in a line, lists are broken between items; where that is not enough, each row becomes a
    /// paragraph.
    pub(crate) fn render(&self, width: usize, coloured: bool) -> String {
        let has = |n: usize| self.rows.iter().any(|row| row.get(n).is_some_and(|cell| !cell.is_empty()));
        let used: Vec<usize> = (0..self.headings.len()).filter(|n| has(*n)).collect();
        let cell = |row: &Vec<Cell>, n: usize| row.get(n).cloned().unwrap_or_default();
        let heading = |n: usize| self.headings.get(n).copied().unwrap_or_default();
        let most = |n: usize, of: &dyn Fn(&Cell) -> usize| {
            self.rows.iter().map(|row| of(&cell(row, n))).chain([columns(heading(n))]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = used.iter().map(|n| most(*n, &Cell::width)).collect();
        let longest = |c: &Cell| c.items.iter().map(|item| columns(item)).max().unwrap_or(0);
        let least: Vec<usize> = used.iter().map(|n| most(*n, &longest)).collect();
        let total = |widths: &[usize]| widths.iter().sum::<usize>() + BETWEEN * widths.len().saturating_sub(1);
        // The widest list gives way first.
        while total(&widths) > width {
            let widest =
                widths.iter().zip(&least).enumerate().filter(|(_, (w, l))| w > l).max_by_key(|(_, (w, _))| **w);
            let Some((at, _)) = widest else { return self.paragraphs(&used, width, coloured) };
            let over = total(&widths) - width;
            if let (Some(w), Some(l)) = (widths.get_mut(at), least.get(at)) {
                *w = w.saturating_sub(over).max(*l);
            }
        }
        // A list that is broken between items may need less than it got.
        for (n, width) in used.iter().zip(&mut widths) {
            *width = most(*n, &|cell: &Cell| cell.lines(*width).iter().map(|line| columns(line)).max().unwrap_or(0));
        }
        let mut out = String::new();
        let put = |out: &mut String, parts: Vec<(String, Option<Paint>)>| {
            let mut line = String::new();
            let last = parts.iter().rposition(|(text, _)| !text.is_empty()).unwrap_or(0);
            for (n, ((text, paint), width)) in parts.iter().zip(&widths).enumerate().take(last + 1) {
                let padding = if n == last { 0 } else { width.saturating_sub(columns(text)) + BETWEEN };
                let text = paint.map_or_else(|| text.clone(), |paint| paint.on(text, coloured));
                line.push_str(&text);
                line.push_str(&" ".repeat(padding));
            }
            out.push_str(&line);
            out.push('\n');
        };
        put(&mut out, used.iter().map(|n| (heading(*n).to_owned(), Some(Paint::Heading))).collect());
        for row in &self.rows {
            let cells: Vec<(Vec<String>, Option<Paint>)> = used
                .iter()
                .zip(&widths)
                .map(|(n, width)| {
                    let cell = cell(row, *n);
                    (cell.lines(*width), cell.paint)
                })
                .collect();
            let lines = cells.iter().map(|(lines, _)| lines.len()).max().unwrap_or(0);
            for line in 0..lines {
                let of = |(lines, paint): &(Vec<String>, Option<Paint>)| {
                    (lines.get(line).cloned().unwrap_or_default(), *paint)
                };
                put(&mut out, cells.iter().map(of).collect());
            }
        }
        out
    }

    /// Each row by itself: its first cell, and below it what the others say.
    fn paragraphs(&self, used: &[usize], width: usize, coloured: bool) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (place, n) in used.iter().enumerate() {
                let (Some(cell), Some(heading)) = (row.get(*n), self.headings.get(*n)) else { continue };
                if cell.is_empty() {
                    continue;
                }
                let text = cell.items.join(" ");
                let told = if place == 0 { text } else { format!("{} {text}", heading.to_lowercase()) };
                let paint = if place == 0 { Some(Paint::Heading) } else { cell.paint };
                let painted = paint.map_or_else(|| told.clone(), |paint| paint.on(&told, coloured));
                let (glue, room) = if line.is_empty() { ("", 0) } else { (", ", 2) };
                if room > 0 && visible(&line) + room + columns(&told) > width {
                    out.push_str(&line);
                    out.push_str(",\n");
                    line = format!("    {painted}");
                } else {
                    line.push_str(glue);
                    line.push_str(&painted);
                }
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }
}

/// How many columns a text takes that may be coloured.
fn visible(text: &str) -> usize {
    let mut plain = String::new();
    let mut in_code = false;
    for c in text.chars() {
        match c {
            '\x1b' => in_code = true,
            'm' if in_code => in_code = false,
            _ if in_code => {}
            c => plain.push(c),
        }
    }
    columns(&plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["VIF", "DOMAIN", "NOTHING", "ADDRESSES", "STATE"]);
        let list = Cell::list(["192.0.2.1".to_owned(), "2001:db8::1".to_owned()]);
        let state = Cell::new("damaged").painted(Some(Paint::Bad));
        table.push(vec![Cell::new("vif1.0"), Cell::new("web"), Cell::new(""), list, state]);
        table.push(vec![
            Cell::new("vif10.0"),
            Cell::new("名前"),
            Cell::new(""),
            Cell::new("192.0.2.10"),
            Cell::new("up"),
        ]);
        table
    }

    #[test]
    fn a_table_is_as_wide_as_there_is_room_for_and_leaves_nothing_out() {
        let wide = "VIF      DOMAIN  ADDRESSES              STATE\nvif1.0   web     192.0.2.1 2001:db8::1  damaged\n\
                    vif10.0  名前    192.0.2.10             up\n";
        assert_eq!(table().render(100, false), wide);
        let narrow = "VIF      DOMAIN  ADDRESSES    STATE\nvif1.0   web     192.0.2.1    damaged\n                 2001:db8::1\n\
                      vif10.0  名前    192.0.2.10   up\n";
        assert_eq!(table().render(40, false), narrow);
        let paragraphs = table().render(24, false);
        for fact in ["vif1.0", "domain web", "192.0.2.1 2001:db8::1", "state damaged", "vif10.0"] {
            assert!(paragraphs.contains(fact), "{fact}: {paragraphs}");
        }
    }

    #[test]
    fn colours_take_no_room() {
        let strip = |text: &str| {
            let mut plain = String::new();
            text.split('\x1b').enumerate().for_each(|(n, part)| {
                plain.push_str(if n == 0 { part } else { part.split_once('m').unwrap().1 });
            });
            plain
        };
        for width in [24, 40, 100] {
            let coloured = table().render(width, true);
            assert!(
                coloured.contains("\x1b[1;31mdamaged\x1b[0m") || coloured.contains("\x1b[1;31mstate damaged\x1b[0m")
            );
            assert_eq!(strip(&coloured), table().render(width, false));
        }
    }
}
