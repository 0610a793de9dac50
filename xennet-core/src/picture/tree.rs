//! The picture as text: a tree from the outside to the guests.

use super::View;
use super::model::{Hub, HubKind, Mark, Outside, Picture, Port, Source};
use super::words::shortened;

/// The narrowest text that makes sense.
const NARROWEST: usize = 40;
/// The room between two columns.
const BETWEEN: usize = 2;

impl Picture {
    /// The picture as lines of text, none wider than `width` columns (at least 40).
    pub fn to_text(&self, view: &View, width: usize) -> String {
        let width = width.max(NARROWEST);
        let picture = self.grouped(view);
        let mut lines: Vec<String> = Vec::new();
        lines.push(narrowed(&picture.about.title(), width));
        if !picture.about.origin().is_empty() {
            lines.push(narrowed(&picture.about.origin(), width));
        }
        for (head, children) in roots(&picture) {
            lines.push(String::new());
            lines.push(head);
            branches(&children, "", width, &mut lines);
        }
        if picture.hubs.is_empty() && picture.uplinks.is_empty() {
            lines.extend([String::new(), "no bridges, no networks, no uplinks".to_owned()]);
        }
        let notes = explained(&picture).into_iter().chain(picture.notes.iter().cloned());
        let notes: Vec<String> = notes.flat_map(|note| wrapped(&[note], " ", width, 2)).collect();
        if !notes.is_empty() {
            lines.push(String::new());
            lines.extend(notes);
        }
        let mut text = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
        text.push('\n');
        text
    }
}

/// What the signs mean.
fn explained(picture: &Picture) -> Vec<String> {
    use super::model::Filter;
    let mut notes = Vec::new();
    if picture.about.source == Source::Planned {
        notes.push("+ added  ~ changed  − removed".to_owned());
    }
    let has = |filter| picture.hubs.iter().flat_map(|hub| &hub.ports).any(|port| port.filter == filter);
    let filters = [
        (Filter::Guard, "guard: from its own MAC and addresses only"),
        (Filter::Mac, "guard (MAC): from its own MAC only"),
        (Filter::Gate, "gate: from its own addresses only"),
        (Filter::Closed, "closed: nothing passes, neither from the guest nor to it"),
    ];
    let there: Vec<&str> = filters.iter().filter(|(filter, _)| has(*filter)).map(|(_, text)| *text).collect();
    if !there.is_empty() {
        notes.push(format!("what guests may send: {}", there.join("; ")));
    }
    notes
}

/// A line of the tree, with what hangs on it.
struct Node {
    head: Head,
    children: Vec<Node>,
}

enum Head {
    /// A name, and facts that are put behind it as far as there is room.
    Facts(Vec<String>),
    /// A line of a table.
    Row(Row),
}

#[derive(Clone)]
struct Row {
    link: String,
    owner: String,
    addresses: Vec<String>,
    mac: String,
    marks: String,
    more: Vec<String>,
}

fn signed(mark: Mark, text: &str) -> String {
    match mark.sign() {
        "" => text.to_owned(),
        sign => format!("{sign} {text}"),
    }
}

/// What is outside with all that leads there, and what leads nowhere.
fn roots(picture: &Picture) -> Vec<(String, Vec<Node>)> {
    let children = |outside: Option<Outside>| -> Vec<Node> {
        let of = picture.hubs.iter().enumerate().filter(|(_, hub)| hub.outside == outside);
        of.map(|(at, hub)| hub_node(picture, at, hub, 0)).collect()
    };
    let mut by_gateway: Vec<(String, Vec<Node>)> = Vec::new();
    for (at, uplink) in picture.uplinks.iter().enumerate() {
        let gateways: Vec<String> = uplink.gateways.iter().map(ToString::to_string).collect();
        let facts = uplink.facts().join(", ");
        let title = format!("{}: {facts}", signed(uplink.mark, &uplink.title()));
        let node = Node { head: Head::Facts(vec![title]), children: children(Some(Outside::Uplink(at))) };
        let name = if gateways.is_empty() { String::new() } else { format!("gateway {}", gateways.join(", ")) };
        match by_gateway.iter_mut().find(|(known, _)| *known == name) {
            Some((_, nodes)) => nodes.push(node),
            None => by_gateway.push((name, vec![node])),
        }
    }
    let mut outside: Vec<Node> = Vec::new();
    for (gateway, nodes) in by_gateway {
        match gateway.is_empty() {
            true => outside.extend(nodes),
            false => outside.push(Node { head: Head::Facts(vec![gateway]), children: nodes }),
        }
    }
    let alone: Vec<Node> = picture
        .hubs
        .iter()
        .enumerate()
        .filter(|(_, hub)| hub.outside.is_none())
        .map(|(at, hub)| hub_node(picture, at, hub, 0))
        .collect();
    let parts = [("outside".to_owned(), outside), ("within this host".to_owned(), alone)];
    parts.into_iter().filter(|(_, nodes)| !nodes.is_empty()).collect()
}

fn hub_node(picture: &Picture, at: usize, hub: &Hub, depth: usize) -> Node {
    let mut facts = hub.facts();
    facts.extend(hub.flaw());
    let first = match hub.kind {
        HubKind::Nothing => "not connected".to_owned(),
        _ => format!("{}: {}", signed(hub.mark, &hub.title()), hub.nature()),
    };
    facts.insert(0, first);
    facts.extend(hub.missing.iter().cloned());
    let mut children: Vec<Node> =
        hub.ports.iter().map(|port| Node { head: Head::Row(row(port)), children: Vec::new() }).collect();
    // No way is longer than this.
    if depth < 4 {
        let behind = picture.hubs.iter().enumerate().filter(|(_, h)| h.outside == Some(Outside::Hub(at)));
        children.extend(behind.map(|(n, hub)| hub_node(picture, n, hub, depth + 1)));
    }
    Node { head: Head::Facts(facts), children }
}

fn row(port: &Port) -> Row {
    let mut more: Vec<String> = port.flaw().into_iter().chain(port.missing.iter().cloned()).collect();
    more.extend(port.counters.map(|c| c.of_guest()));
    Row {
        link: signed(port.mark, &port.title()),
        owner: port.owner(),
        addresses: port.addresses(),
        mac: port.mac().unwrap_or_default(),
        marks: port.marks().join(", "),
        more,
    }
}

/// How many columns of a terminal a text takes: ideographs take two.
pub(crate) fn columns(text: &str) -> usize {
    let wide = |c: char| {
        matches!(u32::from(c),
            0x1100..=0x115f | 0x2e80..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60
            | 0xffe0..=0xffe6 | 0x1f300..=0x1faff | 0x20000..=0x3fffd)
    };
    text.chars().map(|c| if wide(c) { 2 } else { 1 }).sum()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text}{}", " ".repeat(width.saturating_sub(columns(text))))
}

/// A text that takes no more columns than these: of a longer one the middle is left out.
pub(crate) fn narrowed(text: &str, most: usize) -> String {
    let mut kept = most;
    let mut short = shortened(text, kept);
    while columns(&short) > most && kept > 1 {
        kept -= 1;
        short = shortened(text, kept);
    }
    short
}

/// Parts in lines of this width, broken between parts, and within one only if it has no room alone. Lines but the first are set in.
pub(crate) fn wrapped(parts: &[String], between: &str, width: usize, set_in: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    let room = |first: bool| if first { width } else { width.saturating_sub(set_in).max(1) };
    let last = parts.len().saturating_sub(1);
    for (n, part) in parts.iter().enumerate() {
        let part = if n < last { format!("{part}{}", between.trim_end()) } else { part.clone() };
        let glue = if line.is_empty() { "" } else { " " };
        if columns(&line) + glue.len() + columns(&part) <= room(lines.is_empty()) {
            line.push_str(glue);
            line.push_str(&part);
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for word in part.split(' ') {
            let glue = if line.is_empty() { "" } else { " " };
            if !line.is_empty() && columns(&line) + glue.len() + columns(word) > room(lines.is_empty()) {
                lines.push(std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            // A single word that is too long is broken anywhere.
            for c in word.chars() {
                if columns(&line) + columns(c.encode_utf8(&mut [0; 4])) > room(lines.is_empty()) {
                    lines.push(std::mem::take(&mut line));
                }
                line.push(c);
            }
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    let rest = " ".repeat(set_in);
    lines.into_iter().enumerate().map(|(n, line)| if n == 0 { line } else { format!("{rest}{line}") }).collect()
}

/// The nodes below a line, each with its own.
fn branches(nodes: &[Node], before: &str, width: usize, out: &mut Vec<String>) {
    let room = width.saturating_sub(columns(before) + 3).max(16);
    let rows: Vec<&Row> = nodes
        .iter()
        .filter_map(|node| match &node.head {
            Head::Row(row) => Some(row),
            Head::Facts(_) => None,
        })
        .collect();
    let table = Table::of(&rows, room);
    for (n, node) in nodes.iter().enumerate() {
        let is_last = n + 1 == nodes.len();
        let (here, below) = if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        let lines = match &node.head {
            Head::Facts(facts) => wrapped(facts, ";", room.saturating_sub(3), 2),
            Head::Row(row) => table.lines(row),
        };
        let has_children = if node.children.is_empty() { "" } else { "│" };
        for (n, line) in lines.iter().enumerate() {
            out.push(match n {
                0 => format!("{before}{here}{line}"),
                _ if has_children.is_empty() => format!("{before}{below}{line}"),
                // Lines but the first are set in, and leave room for the line to the children.
                _ => format!("{before}{below}{has_children}{}", line.strip_prefix(' ').unwrap_or(line)),
            });
        }
        branches(&node.children, &format!("{before}{below}"), width, out);
    }
}

/// The widths of the columns of rows; `None` where they have no room side by side.
struct Table {
    widths: Option<[usize; 5]>,
    room: usize,
}

impl Table {
    /// The widest name that a column has room for.
    const OWNER: usize = 34;

    fn of(rows: &[&Row], room: usize) -> Self {
        let most = |of: &dyn Fn(&Row) -> usize| rows.iter().map(|row| of(row)).max().unwrap_or(0);
        let address = most(&|row| row.addresses.iter().map(|a| columns(a)).max().unwrap_or(0));
        let mut widths = [
            most(&|row| columns(&row.link)),
            most(&|row| columns(&row.owner)).min(Table::OWNER),
            address,
            most(&|row| columns(&row.mac)),
            most(&|row| columns(&row.marks)),
        ];
        let all = |widths: &[usize; 5]| widths.iter().filter(|w| **w > 0).map(|w| w + BETWEEN).sum::<usize>();
        let over = (all(&widths)).saturating_sub(room + BETWEEN);
        // A name may be shortened, but stays one that can be told.
        widths[1] = widths[1].saturating_sub(over).max(widths[1].min(16));
        let fits = all(&widths) <= room + BETWEEN;
        Table { widths: fits.then_some(widths), room }
    }

    fn lines(&self, row: &Row) -> Vec<String> {
        let Some(widths) = self.widths else {
            let mut parts = vec![format!("{}  {}", row.link, narrowed(&row.owner, Table::OWNER))];
            parts.extend(row.addresses.iter().cloned());
            parts.extend([&row.mac, &row.marks].into_iter().filter(|part| !part.is_empty()).cloned());
            parts.extend(row.more.iter().cloned());
            return wrapped(&parts, "", self.room, 4);
        };
        let first = row.addresses.first().cloned().unwrap_or_default();
        let owner = narrowed(&row.owner, widths[1]);
        let cells = [&row.link, &owner, &first, &row.mac, &row.marks];
        let cells = cells.iter().zip(widths).filter(|(_, width)| *width > 0);
        let mut lines = vec![cells.map(|(cell, width)| padded(cell, width)).collect::<Vec<_>>().join("  ")];
        let column = |n: usize| widths.iter().take(n).filter(|w| **w > 0).map(|w| w + BETWEEN).sum::<usize>();
        lines.extend(row.addresses.iter().skip(1).map(|address| format!("{}{address}", " ".repeat(column(2)))));
        let set_in = column(1);
        let more = row
            .more
            .iter()
            .flat_map(|more| wrapped(std::slice::from_ref(more), "", self.room.saturating_sub(set_in), 2));
        lines.extend(more.map(|line| format!("{}{line}", " ".repeat(set_in))));
        lines
    }
}
