//! Where everything stands: boxes, labels and wires, in pixels.
//!
//! Layers go from the left to the right: outside, gateway, uplink, hub, vif, guest. A hub is a bar as high as its ports together, so that
//! each port's wire is straight, and no two wires cross.

mod measure;
mod paint;

use super::View;
use super::font::width;
use super::model::{Mark, Picture};
use measure::{Bar, Behind, Block, Columns, Line, ROOMY, bar, uplink_block};
use paint::Painter;

/// What an area is, for its colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Paint {
    Outside,
    Gateway,
    Dom0,
    Uplink,
    Bridge,
    Nat,
    Routed,
    Nothing,
    Filter,
    Flaw,
    Vif,
    Guest,
    Expected,
}

/// A box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) w: i32,
    pub(super) h: i32,
    pub(super) paint: Paint,
    pub(super) mark: Mark,
    /// Whether it stands for several.
    pub(super) several: bool,
    /// The area that it lies in.
    pub(super) inside: Option<usize>,
    /// More than there is room for.
    pub(super) tip: Option<String>,
}

/// How a label looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ink {
    Strong,
    Plain,
    Faint,
    Flaw,
}

/// Where a label begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A line of text; `y` is its base line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) x: i32,
    pub(super) y: i32,
    pub(super) size: i32,
    pub(super) anchor: Anchor,
    pub(super) ink: Ink,
    pub(super) mark: Mark,
    pub(super) text: String,
    /// The area that it stands in.
    pub(super) inside: Option<usize>,
}

impl Label {
    pub(super) fn is_bold(&self) -> bool {
        self.ink == Ink::Strong
    }

    /// Where it begins and ends.
    pub(super) fn span(&self) -> (i32, i32) {
        let width = width(&self.text, self.size, self.is_bold());
        match self.anchor {
            Anchor::Start => (self.x, self.x + width),
            Anchor::Middle => (self.x - (width + 1) / 2, self.x + (width + 1) / 2),
            Anchor::End => (self.x - width, self.x),
        }
    }
}

/// A line with right angles between two areas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) points: Vec<(i32, i32)>,
    pub(super) mark: Mark,
    pub(super) ends: (usize, usize),
}

/// A picture with places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scene {
    pub(super) width: i32,
    pub(super) height: i32,
    pub(super) areas: Vec<Area>,
    pub(super) labels: Vec<Label>,
    pub(super) wires: Vec<Wire>,
}

impl Scene {
    fn area(&mut self, (x, y, w, h): (i32, i32, i32, i32), paint: Paint, inside: Option<usize>) -> usize {
        self.areas.push(Area { x, y, w, h, paint, mark: Mark::Same, several: false, inside, tip: None });
        self.areas.len() - 1
    }

    fn label(&mut self, inside: Option<usize>, anchor: Anchor, (x, y): (i32, i32), line: &Line, mark: Mark) {
        let Line { text, size, ink } = line;
        if !text.is_empty() {
            self.labels.push(Label { x, y, size: *size, anchor, ink: *ink, mark, text: text.clone(), inside });
        }
    }

    fn marked(&mut self, at: usize, mark: Mark, several: bool, tip: Option<String>) {
        if let Some(area) = self.areas.get_mut(at) {
            (area.mark, area.several, area.tip) = (mark, several, tip);
        }
    }

    /// A box with its lines in the middle of its height.
    fn block(&mut self, place: (i32, i32, i32, i32), paint: Paint, inside: Option<usize>, block: &Block) -> usize {
        let (x, y, w, h) = place;
        let at = self.area(place, paint, inside);
        let mut base = y + (h - block.h) / 2 + 8;
        for line in &block.lines {
            base += line.height();
            self.label(Some(at), Anchor::Middle, (x + w / 2, base - 4), line, Mark::Same);
        }
        at
    }

    fn wire(&mut self, points: Vec<(i32, i32)>, mark: Mark, ends: (usize, usize)) {
        let mut points = points;
        points.dedup();
        self.wires.push(Wire { points, mark, ends });
    }
}

/// The places of all of a picture.
pub(super) fn scene(picture: &Picture, view: &View) -> Scene {
    let picture = &picture.grouped(view);
    let count: usize = picture.hubs.iter().map(|hub| hub.ports.len()).sum();
    let dense = count > ROOMY;
    let mut bars: Vec<Bar<'_>> = picture.hubs.iter().map(|hub| bar(hub, dense)).collect();
    let columns = {
        let all: Vec<&Behind> = bars.iter().flat_map(|bar| bar.rows.iter().map(|row| &row.behind)).collect();
        Columns::of(&all, dense)
    };
    let between = if dense { 8 } else { 12 };
    for bar in &mut bars {
        bar.rows.iter_mut().for_each(|row| row.h = columns.height(&row.behind));
        let gaps = between * i32::try_from(bar.rows.len().saturating_sub(1)).unwrap_or(0);
        bar.inner = bar.rows.iter().map(|row| row.h).sum::<i32>() + gaps;
        bar.h = bar.inner.max(bar.block.h);
    }
    let uplinks: Vec<Block> = picture.uplinks.iter().map(uplink_block).collect();
    let mut painter = Painter { scene: Scene::default(), picture, bars, uplinks, columns, between };
    painter.paint();
    painter.scene
}
