//! The picture as SVG: light and dark in one file, with a title and a description for those who do not see it.

use std::fmt::Write as _;

use super::View;
use super::draw::{Anchor, Area, Ink, Label, Paint, Wire, scene};
use super::model::{Mark, Picture};

impl Picture {
    /// The picture as an SVG document (SVG 1.1, with CSS). It is light, and dark where the reader prefers that
    /// (`prefers-color-scheme`).
    pub fn to_svg(&self, view: &View) -> String {
        let scene = scene(self, view);
        let mut out = String::new();
        let (w, h) = (scene.width, scene.height);
        add(
            &mut out,
            format_args!(
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w}\" height=\"{h}\" viewBox=\"0 0 {w} {h}\" role=\"img\" \
                 aria-labelledby=\"title desc\">\n<title id=\"title\">{}</title>\n<desc id=\"desc\">{}</desc>\n<style>\n{}</style>\n",
                escaped(&self.about.title()),
                escaped(&self.summary()),
                style()
            ),
        );
        add(&mut out, format_args!("<rect class=\"page\" width=\"{w}\" height=\"{h}\" rx=\"12\"/>\n"));
        // The frame lies under the wires, all else above them.
        let frames = |area: &&Area| area.paint == Paint::Dom0;
        scene.areas.iter().filter(frames).for_each(|area| add_area(&mut out, area));
        // What changes lies above what stays.
        let mut wires: Vec<&Wire> = scene.wires.iter().collect();
        wires.sort_by_key(|wire| wire.mark);
        wires.into_iter().for_each(|wire| add_wire(&mut out, wire));
        scene.areas.iter().filter(|area| !frames(area)).for_each(|area| add_area(&mut out, area));
        scene.labels.iter().for_each(|label| add_label(&mut out, label));
        out.push_str("</svg>\n");
        out
    }
}

/// Writing to a string does not fail.
fn add(out: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Text for an XML document. Control characters have no place in one, not even escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push('\n'),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

const fn class(paint: Paint) -> &'static str {
    match paint {
        Paint::Outside => "outside",
        Paint::Gateway => "gateway",
        Paint::Dom0 => "dom0",
        Paint::Uplink => "uplink",
        Paint::Bridge => "bridge",
        Paint::Nat => "nat",
        Paint::Routed => "routed",
        Paint::Nothing => "nothing",
        Paint::Filter => "filter",
        Paint::Flaw => "flaw",
        Paint::Vif => "vif",
        Paint::Guest => "guest",
        Paint::Expected => "expected",
    }
}

const fn of_mark(mark: Mark) -> &'static str {
    match mark {
        Mark::Same => "",
        Mark::Added => " added",
        Mark::Changed => " changed",
        Mark::Removed => " removed",
    }
}

fn radius(area: &Area) -> i32 {
    match area.paint {
        Paint::Dom0 => 14,
        Paint::Outside => 24,
        Paint::Filter | Paint::Flaw => area.h / 2,
        Paint::Nat if area.h == 18 => 9,
        _ if area.h <= 14 => 4,
        Paint::Vif => 6,
        _ => 9,
    }
}

fn add_area(out: &mut String, area: &Area) {
    let Area { x, y, w, h, .. } = area;
    let (class, mark, r) = (class(area.paint), of_mark(area.mark), radius(area));
    if area.several {
        // A second sheet behind it.
        let (x, y) = (x + 4, y + 4);
        add(
            out,
            format_args!(
                "<rect class=\"{class}{mark}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{r}\"/>\n"
            ),
        );
    }
    add(out, format_args!("<rect class=\"{class}{mark}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\" rx=\"{r}\""));
    match &area.tip {
        Some(tip) => add(out, format_args!("><title>{}</title></rect>\n", escaped(tip))),
        None => out.push_str("/>\n"),
    }
}

fn add_wire(out: &mut String, wire: &Wire) {
    let mut path = String::new();
    let points = &wire.points;
    for (n, (x, y)) in points.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| points.get(n));
        match (before, points.get(n + 1)) {
            (None, _) => add(&mut path, format_args!("M{x} {y}")),
            (Some(_), None) => add(&mut path, format_args!("L{x} {y}")),
            (Some(a), Some(b)) => {
                // Round corners, as far as both sides have room.
                let reach = |p: &(i32, i32)| (p.0 - x).abs().max((p.1 - y).abs()) / 2;
                let r = reach(a).min(reach(b)).min(8);
                let at = |p: &(i32, i32)| (x + (p.0 - x).signum() * r, y + (p.1 - y).signum() * r);
                let ((ax, ay), (bx, by)) = (at(a), at(b));
                add(&mut path, format_args!("L{ax} {ay}Q{x} {y} {bx} {by}"));
            }
        }
    }
    add(out, format_args!("<path class=\"wire{}\" d=\"{path}\"/>\n", of_mark(wire.mark)));
}

fn add_label(out: &mut String, label: &Label) {
    let ink = match label.ink {
        Ink::Strong => "strong",
        Ink::Plain => "plain",
        Ink::Faint => "faint",
        Ink::Flaw => "bad",
    };
    let anchor = match label.anchor {
        Anchor::Start => "",
        Anchor::Middle => " text-anchor=\"middle\"",
        Anchor::End => " text-anchor=\"end\"",
    };
    let (x, y, size) = (label.x, label.y, label.size);
    let (mark, text) = (of_mark(label.mark), escaped(&label.text));
    add(
        out,
        format_args!("<text class=\"{ink}{mark}\" x=\"{x}\" y=\"{y}\" font-size=\"{size}\"{anchor}>{text}</text>\n"),
    );
}

/// Colours of one scheme.
pub(super) struct Scheme {
    pub(super) page: &'static str,
    pub(super) ink: &'static str,
    pub(super) faint: &'static str,
    pub(super) wire: &'static str,
    /// Of areas, by class: the fill and the line.
    pub(super) areas: [(&'static str, &'static str, &'static str); 13],
    /// Of what a plan adds, changes and removes: line and text.
    pub(super) added: &'static str,
    pub(super) changed: &'static str,
    pub(super) removed: &'static str,
    /// Text about what is damaged.
    pub(super) bad: &'static str,
}

pub(super) const LIGHT: Scheme = Scheme {
    page: "#ffffff",
    ink: "#1c2128",
    faint: "#57606a",
    wire: "#6e7781",
    areas: [
        ("outside", "#eef1f4", "#8c959f"),
        ("gateway", "#ffffff", "#8c959f"),
        ("dom0", "#f6f8fa", "#afb8c1"),
        ("uplink", "#ffffff", "#57606a"),
        ("bridge", "#ddf0ff", "#2f7fd1"),
        ("nat", "#fff0df", "#c4640f"),
        ("routed", "#e0f6e4", "#2c8a45"),
        ("nothing", "#f6f8fa", "#8c959f"),
        ("filter", "#efe8fd", "#8250df"),
        ("flaw", "#ffebe9", "#cf222e"),
        ("vif", "#ffffff", "#6e7781"),
        ("guest", "#ffffff", "#57606a"),
        ("expected", "#ffffff", "#8c959f"),
    ],
    added: "#116329",
    changed: "#7d4e00",
    removed: "#a40e26",
    bad: "#a40e26",
};

pub(super) const DARK: Scheme = Scheme {
    page: "#0d1117",
    ink: "#e6edf3",
    faint: "#9aa4af",
    wire: "#7d8590",
    areas: [
        ("outside", "#1c2129", "#6e7681"),
        ("gateway", "#161b22", "#6e7681"),
        ("dom0", "#12171e", "#3d444d"),
        ("uplink", "#1a2029", "#8b949e"),
        ("bridge", "#0c2d4f", "#4f9cf0"),
        ("nat", "#3b2207", "#e08a3c"),
        ("routed", "#0f3019", "#46a758"),
        ("nothing", "#12171e", "#6e7681"),
        ("filter", "#2b1d4a", "#a47be8"),
        ("flaw", "#3f1216", "#f85149"),
        ("vif", "#1a2029", "#7d8590"),
        ("guest", "#161b22", "#8b949e"),
        ("expected", "#12171e", "#6e7681"),
    ],
    added: "#56d364",
    changed: "#e3b341",
    removed: "#ff8f87",
    bad: "#ff9a92",
};

fn rules(scheme: &Scheme) -> String {
    let mut css = String::new();
    add(&mut css, format_args!(".page{{fill:{}}}\n", scheme.page));
    for (class, fill, line) in scheme.areas {
        add(&mut css, format_args!(".{class}{{fill:{fill};stroke:{line}}}\n"));
    }
    let Scheme { ink, faint, wire, added, changed, removed, bad, .. } = scheme;
    add(&mut css, format_args!(".wire{{fill:none;stroke:{wire}}}\n"));
    add(
        &mut css,
        format_args!(".strong,.plain{{fill:{ink};stroke:none}}\n.faint{{fill:{faint}}}\n.bad{{fill:{bad}}}\n"),
    );
    for (class, colour) in [("added", added), ("changed", changed), ("removed", removed)] {
        add(&mut css, format_args!("rect.{class},path.{class}{{stroke:{colour}}}\ntext.{class}{{fill:{colour}}}\n"));
    }
    css
}

/// The style sheet. Classes only, and no variables: some programs that read SVG know no more of CSS.
fn style() -> String {
    let shape = "\
text{font-family:\"DejaVu Sans\",system-ui,-apple-system,\"Segoe UI\",Roboto,\"Helvetica Neue\",Arial,sans-serif}
.strong{font-weight:bold}
rect{stroke-width:1.25}
.page{stroke:none}
.bridge,.nat,.routed{stroke-width:1.75}
.wire{stroke-width:1.5}
.outside,.expected,.nothing{stroke-dasharray:5 4}
.added,.changed{stroke-width:2.25}
.removed{stroke-width:2;stroke-dasharray:4 4}
text.removed,text.added,text.changed{stroke-width:0}
";
    let dark: String = rules(&DARK).lines().map(|line| format!("{line}\n")).collect();
    format!("{}{shape}@media (prefers-color-scheme:dark){{\n{dark}}}\n", rules(&LIGHT))
}
