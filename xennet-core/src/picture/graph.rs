//! The picture as a graph, for programs that find the places themselves: DOT (Graphviz) and Mermaid.

use std::fmt::Write as _;

use super::View;
use super::model::{HubKind, Mark, Outside, Picture, Port};
use super::words::shortened;

/// What a node is, for its form and colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Outside,
    Gateway,
    Uplink,
    Bridge,
    Nat,
    Routed,
    Nothing,
    Vif,
    Guest,
}

struct Node {
    name: String,
    kind: Kind,
    mark: Mark,
    lines: Vec<String>,
}

struct Edge {
    from: String,
    to: String,
    mark: Mark,
    label: String,
}

/// Nodes and edges; those of dom0 are drawn in a frame.
#[derive(Default)]
struct Graph {
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Kind {
    /// The name of its class, its colours (fill and line), and its form in DOT.
    const fn look(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Kind::Outside => ("outside", "#eef1f4", "#8c959f", "ellipse"),
            Kind::Gateway => ("gateway", "#ffffff", "#8c959f", "box"),
            Kind::Uplink => ("uplink", "#ffffff", "#57606a", "box"),
            Kind::Bridge => ("bridge", "#ddf0ff", "#2f7fd1", "box"),
            Kind::Nat => ("nat", "#fff0df", "#c4640f", "box"),
            Kind::Routed => ("routed", "#e0f6e4", "#2c8a45", "box"),
            Kind::Nothing => ("nothing", "#f6f8fa", "#8c959f", "box"),
            Kind::Vif => ("vif", "#ffffff", "#6e7781", "box"),
            Kind::Guest => ("guest", "#ffffff", "#57606a", "box"),
        }
    }

    const fn is_of_dom0(self) -> bool {
        !matches!(self, Kind::Outside | Kind::Gateway | Kind::Guest)
    }

    const ALL: [Kind; 9] = [
        Kind::Outside,
        Kind::Gateway,
        Kind::Uplink,
        Kind::Bridge,
        Kind::Nat,
        Kind::Routed,
        Kind::Nothing,
        Kind::Vif,
        Kind::Guest,
    ];
}

const fn colour(mark: Mark) -> Option<&'static str> {
    match mark {
        Mark::Same => None,
        Mark::Added => Some("#116329"),
        Mark::Changed => Some("#7d4e00"),
        Mark::Removed => Some("#a40e26"),
    }
}

fn graph(picture: &Picture) -> Graph {
    let mut graph = Graph::default();
    let signed = |mark: Mark, text: String| match mark.sign() {
        "" => text,
        sign => format!("{sign} {text}"),
    };
    if !picture.uplinks.is_empty() {
        graph.node("outside", Kind::Outside, Mark::Same, vec!["outside".into()]);
    }
    for (n, uplink) in picture.uplinks.iter().enumerate() {
        let name = format!("uplink{n}");
        let mut lines = vec![signed(uplink.mark, uplink.title())];
        lines.extend(uplink.facts());
        if uplink.gateways.is_empty() {
            graph.edge("outside", &name, uplink.mark, String::new());
        } else {
            let gateway = format!("gateway{n}");
            let told = std::iter::once("gateway".to_owned()).chain(uplink.gateways.iter().map(ToString::to_string));
            graph.node(&gateway, Kind::Gateway, uplink.mark, told.collect());
            graph.edge("outside", &gateway, uplink.mark, String::new());
            graph.edge(&gateway, &name, uplink.mark, String::new());
        }
        graph.node(&name, Kind::Uplink, uplink.mark, lines);
    }
    for (n, hub) in picture.hubs.iter().enumerate() {
        let name = format!("hub{n}");
        let mut lines = vec![signed(hub.mark, hub.title()), hub.nature()];
        lines.extend(hub.facts());
        lines.extend(hub.flaw());
        let kind = match hub.kind {
            HubKind::Bridge => Kind::Bridge,
            HubKind::Nat => Kind::Nat,
            HubKind::Routed => Kind::Routed,
            HubKind::Nothing => Kind::Nothing,
        };
        graph.node(&name, kind, hub.mark, lines);
        let from = match hub.outside {
            Some(Outside::Uplink(at)) => Some(format!("uplink{at}")),
            Some(Outside::Hub(at)) => Some(format!("hub{at}")),
            None => None,
        };
        if let Some(from) = from {
            let label = if hub.kind == HubKind::Nat { "NAT" } else { "" };
            graph.edge(&from, &name, hub.mark, label.to_owned());
        }
        for (m, port) in hub.ports.iter().enumerate() {
            graph.port(&name, &format!("{n}_{m}"), port, &signed);
        }
    }
    graph
}

impl Graph {
    fn node(&mut self, name: &str, kind: Kind, mark: Mark, lines: Vec<String>) {
        let lines = lines.iter().map(|line| shortened(line, 80)).collect();
        self.nodes.push(Node { name: name.to_owned(), kind, mark, lines });
    }

    fn edge(&mut self, from: &str, to: &str, mark: Mark, label: String) {
        self.edges.push(Edge { from: from.to_owned(), to: to.to_owned(), mark, label });
    }

    fn port(&mut self, hub: &str, number: &str, port: &Port, signed: &dyn Fn(Mark, String) -> String) {
        let (vif, guest) = (format!("vif{number}"), format!("guest{number}"));
        self.node(&vif, Kind::Vif, port.mark, vec![signed(port.mark, port.title())]);
        let marks = port.flaw().into_iter().chain(port.marks()).collect::<Vec<_>>().join(", ");
        self.edge(hub, &vif, port.mark, marks);
        let mut lines = vec![signed(port.mark, port.owner())];
        lines.extend(port.addresses());
        lines.extend(port.mac());
        lines.extend(port.counters.map(|c| c.of_guest()));
        self.node(&guest, Kind::Guest, port.mark, lines);
        self.edge(&vif, &guest, port.mark, String::new());
    }
}

/// Writing to a string does not fail.
fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Text between quotes in DOT: a backslash begins an escape there, too.
fn dot_text(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            // Graphviz reads entities of HTML in every text.
            '&' => out.push_str("&amp;"),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}

/// Text between quotes in Mermaid, which reads HTML and Markdown there: everything but letters, digits and harmless signs by its number.
/// What would begin a list in Markdown (`- `, `+ `, `1. `) is no harmless sign there.
fn mermaid_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let begins_list = (c == '-' && out.is_empty()) || (c == '.' && rest.peek().is_none_or(|next| *next == ' '));
        let is_harmless =
            c.is_alphanumeric() || matches!(c, ' ' | '.' | ',' | ':' | '-' | '/' | '…' | '×' | '→' | '−' | '·');
        match c {
            c if c.is_control() => out.push('\u{fffd}'),
            c if is_harmless && !begins_list => out.push(c),
            c => add(&mut out, format_args!("#{};", u32::from(c))),
        }
    }
    out
}

impl Picture {
    /// The picture in the language of Graphviz: `dot -Tsvg`.
    pub fn to_dot(&self, view: &View) -> String {
        let picture = self.grouped(view);
        let graph = graph(&picture);
        let title: Vec<String> =
            [picture.about.title(), picture.about.origin()].into_iter().filter(|t| !t.is_empty()).collect();
        let mut out = String::from("graph xennet {\n");
        add(
            &mut out,
            format_args!("  label=\"{}\";\n", title.iter().map(|t| dot_text(t)).collect::<Vec<_>>().join("\\n")),
        );
        out.push_str("  labelloc=t; rankdir=LR; fontname=\"sans-serif\"; splines=ortho; nodesep=0.2; ranksep=0.6;\n");
        out.push_str("  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=11];\n");
        out.push_str("  edge [fontname=\"sans-serif\", fontsize=9, color=\"#6e7781\"];\n");
        let node = |out: &mut String, node: &Node, indent: &str| {
            let (_, fill, line, shape) = node.kind.look();
            let label = node.lines.iter().map(|line| dot_text(line)).collect::<Vec<_>>().join("\\n");
            let line = colour(node.mark).unwrap_or(line);
            let dashed = if node.mark == Mark::Removed { ", style=\"filled,rounded,dashed\"" } else { "" };
            let name = &node.name;
            add(
                out,
                format_args!(
                    "{indent}{name} [label=\"{label}\", shape={shape}, fillcolor=\"{fill}\", color=\"{line}\"{dashed}];\n"
                ),
            );
        };
        graph.nodes.iter().filter(|n| !n.kind.is_of_dom0()).for_each(|n| node(&mut out, n, "  "));
        out.push_str("  subgraph cluster_dom0 {\n    label=\"dom0\"; style=\"rounded,filled\"; fillcolor=\"#f6f8fa\"; color=\"#afb8c1\";\n");
        graph.nodes.iter().filter(|n| n.kind.is_of_dom0()).for_each(|n| node(&mut out, n, "    "));
        out.push_str("  }\n");
        for edge in &graph.edges {
            let mut options: Vec<String> = Vec::new();
            if !edge.label.is_empty() {
                // A label of its own has no place on an edge with right angles.
                options.push(format!("xlabel=\"{}\"", dot_text(&edge.label)));
            }
            options.extend(colour(edge.mark).map(|colour| format!("color=\"{colour}\"")));
            if edge.mark == Mark::Removed {
                options.push("style=dashed".to_owned());
            }
            let options = if options.is_empty() { String::new() } else { format!(" [{}]", options.join(", ")) };
            add(&mut out, format_args!("  {} -- {}{options};\n", edge.from, edge.to));
        }
        out.push_str("}\n");
        out
    }

    /// The picture as a flow chart of Mermaid, which many readers of Markdown draw.
    pub fn to_mermaid(&self, view: &View) -> String {
        let picture = self.grouped(view);
        let graph = graph(&picture);
        let mut out = String::new();
        // The title is YAML, between quotes that only two characters could end.
        let title: String =
            picture.about.title().chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
        add(&mut out, format_args!("---\ntitle: \"{title}\"\n---\nflowchart LR\n"));
        let node = |out: &mut String, node: &Node, indent: &str| {
            let (class, ..) = node.kind.look();
            let label = node.lines.iter().map(|line| mermaid_text(line)).collect::<Vec<_>>().join("<br/>");
            let (open, close) = if node.kind == Kind::Outside { ("([", "])") } else { ("[", "]") };
            add(out, format_args!("{indent}{}{open}\"{label}\"{close}:::{class}\n", node.name));
        };
        graph.nodes.iter().filter(|n| !n.kind.is_of_dom0()).for_each(|n| node(&mut out, n, "  "));
        if graph.nodes.iter().any(|n| n.kind.is_of_dom0()) {
            out.push_str("  subgraph dom0\n");
            graph.nodes.iter().filter(|n| n.kind.is_of_dom0()).for_each(|n| node(&mut out, n, "    "));
            out.push_str("  end\n");
        }
        for edge in &graph.edges {
            let line = if edge.mark == Mark::Removed { "-.-" } else { "---" };
            let label =
                if edge.label.is_empty() { String::new() } else { format!("|\"{}\"|", mermaid_text(&edge.label)) };
            add(&mut out, format_args!("  {} {line}{label} {}\n", edge.from, edge.to));
        }
        for kind in Kind::ALL.into_iter().filter(|kind| graph.nodes.iter().any(|n| n.kind == *kind)) {
            let (class, fill, line, _) = kind.look();
            // With a dark page, too, text is dark on a light box.
            add(&mut out, format_args!("  classDef {class} fill:{fill},stroke:{line},color:#1c2128\n"));
        }
        for node in &graph.nodes {
            if let Some(colour) = colour(node.mark) {
                let dash = if node.mark == Mark::Removed { ",stroke-dasharray:4 4" } else { "" };
                add(&mut out, format_args!("  style {} stroke:{colour},stroke-width:3px{dash}\n", node.name));
            }
        }
        out
    }
}
