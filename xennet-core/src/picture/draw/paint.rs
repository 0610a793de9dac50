//! Puts everything in its place.

use super::super::font::{fitting, width};
use super::super::model::{HubKind, Mark, Outside, Picture, Source};
use super::measure::{Bar, Block, Columns, GAP, LARGE, LINE, Line, MARGIN, NAME, PAD, Row, SMALL, gateway_block};
use super::{Anchor, Ink, Paint, Scene};

const fn paint_of(kind: HubKind) -> Paint {
    match kind {
        HubKind::Bridge => Paint::Bridge,
        HubKind::Nat => Paint::Nat,
        HubKind::Routed => Paint::Routed,
        HubKind::Nothing => Paint::Nothing,
    }
}

/// What is painted, and what on.
pub(super) struct Painter<'a> {
    pub(super) scene: Scene,
    pub(super) picture: &'a Picture,
    pub(super) bars: Vec<Bar<'a>>,
    pub(super) uplinks: Vec<Block>,
    pub(super) columns: Columns,
    pub(super) between: i32,
}

/// Where the columns begin.
struct Places {
    outside: (i32, i32),
    gateway: (i32, i32),
    frame: i32,
    uplink: (i32, i32),
    trunk: i32,
    branch: i32,
    /// The end of the way of wires, where NAT's mark has its place.
    nat: i32,
    hub: (i32, i32),
    marks: (i32, i32),
    vif: (i32, i32),
    frame_end: i32,
    guest: (i32, i32),
}

const NAT_MARK: i32 = 46;

impl Painter<'_> {
    /// The places of the columns, as beginning and width.
    fn places(&self, gateways: &[Option<Block>]) -> Places {
        let most = |widths: &mut dyn Iterator<Item = i32>| widths.max().unwrap_or(0);
        let rows = || self.bars.iter().flat_map(|bar| &bar.rows);
        let has_outside = !self.picture.uplinks.is_empty();
        let mut x = MARGIN;
        let outside = (x, if has_outside { 96 } else { 0 });
        if has_outside {
            x += outside.1 + GAP;
        }
        let gateway = (x, most(&mut gateways.iter().flatten().map(|block| block.w)));
        if gateway.1 > 0 {
            x += gateway.1 + GAP;
        }
        let frame = x;
        x += 22;
        let uplink = (x, most(&mut self.uplinks.iter().map(|block| block.w)));
        if uplink.1 > 0 {
            x += uplink.1;
        }
        let (trunk, branch) = (x + 20, x + 36);
        let leads_on = self.picture.hubs.iter().any(|hub| hub.outside.is_some());
        let mut nat = branch;
        if leads_on {
            let is_nat = self.picture.hubs.iter().any(|hub| hub.kind == HubKind::Nat && hub.outside.is_some());
            nat = branch + if is_nat { 14 } else { 6 };
            x = nat + if is_nat { NAT_MARK + 14 } else { 14 };
        } else if uplink.1 > 0 {
            x += GAP;
        }
        let hub = (x, most(&mut self.bars.iter().map(|bar| bar.block.w)));
        x += hub.1 + 22;
        let mark = |row: &Row<'_>| match (row.marks.is_empty(), &row.flaw) {
            (true, None) => 0,
            (true, Some(flaw)) => width(flaw, SMALL, false) + 18,
            (false, None) => width(&row.marks, SMALL, false) + 18,
            (false, Some(flaw)) => width(&format!("{flaw} · {}", row.marks), SMALL, false) + 18,
        };
        let marks = (x, most(&mut rows().map(mark)));
        if marks.1 > 0 {
            x += marks.1 + 18;
        }
        let vif = (x, most(&mut rows().map(|row| width(&row.title, 12, true) + 20)));
        if vif.1 > 0 {
            x += vif.1;
        }
        x += 22;
        let least = frame + 22 + self.frame_title();
        let frame_end = x.max(least + 22);
        let guest = (frame_end + GAP, if rows().next().is_some() { self.columns.guest } else { 0 });
        Places { outside, gateway, frame, uplink, trunk, branch, nat, hub, marks, vif, frame_end, guest }
    }

    fn frame_title(&self) -> i32 {
        width("dom0", LARGE, true)
    }

    pub(super) fn paint(&mut self) {
        let gateways: Vec<Option<Block>> = self.picture.uplinks.iter().map(gateway_block).collect();
        let places = self.places(&gateways);
        let top = self.heading();
        // The frame has a title of its own.
        let mut y = top + 44;
        let frame = self.scene.area((places.frame, top, places.frame_end - places.frame, 0), Paint::Dom0, None);
        let title = Line::new("dom0", LARGE, Ink::Strong);
        self.scene.label(Some(frame), Anchor::Start, (places.frame + 22, top + 26), &title, Mark::Same);

        // The hubs of an uplink together, and the uplink in the middle of those that it leads to.
        let mut middles: Vec<Option<i32>> = vec![None; self.picture.uplinks.len()];
        for group in self.groups() {
            let begin = y;
            let (link, members) = group;
            let need = link.and_then(|link| {
                let own = self.uplinks.get(link)?.h;
                Some(own.max(gateways.get(link).and_then(Option::as_ref).map_or(0, |block| block.h)))
            });
            let heights: i32 = members.iter().filter_map(|at| self.bars.get(*at)).map(|bar| bar.h).sum();
            let gaps = 24 * i32::try_from(members.len().saturating_sub(1)).unwrap_or(0);
            let slack = need.map_or(0, |need| (need - heights - gaps).max(0));
            y += slack / 2;
            for at in &members {
                if let Some(bar) = self.bars.get_mut(*at) {
                    bar.y = y;
                    y += bar.h + 24;
                }
            }
            let end = (y - 24).max(begin) + slack.div_euclid(2) + slack % 2;
            let end = if members.is_empty() { begin + need.unwrap_or(0) } else { end };
            if let Some(link) = link {
                let direct: Vec<i32> = members
                    .iter()
                    .filter_map(|at| self.bars.get(*at))
                    .filter(|bar| bar.hub.outside == Some(Outside::Uplink(link)))
                    .map(Bar::middle)
                    .collect();
                let middle = match (direct.first(), direct.last()) {
                    (Some(first), Some(last)) => i32::midpoint(*first, *last),
                    _ => i32::midpoint(begin, end),
                };
                // It needs room for itself above and below.
                let half = need.unwrap_or(0) / 2;
                let middle = middle.clamp(begin + half, (end - half).max(begin + half));
                if let Some(place) = middles.get_mut(link) {
                    *place = Some(middle);
                }
            }
            y = end + 24;
        }
        let bottom = (y - 24).max(top + 60) + 22;
        if let Some(area) = self.scene.areas.get_mut(frame) {
            area.h = bottom - top;
        }

        let hubs = self.hubs(&places, frame);
        self.outside(&places, frame, &gateways, &middles, &hubs);
        self.scene.width = match places.guest.1 {
            0 => places.frame_end + MARGIN,
            w => places.guest.0 + w + MARGIN,
        };
        let heading = self.scene.labels.iter().filter(|l| l.inside.is_none()).map(|l| l.span().1).max().unwrap_or(0);
        self.scene.width = self.scene.width.max(heading + MARGIN).max(480);
        self.legend(bottom + 30);
    }

    /// Title and time; gives where the picture begins.
    fn heading(&mut self) -> i32 {
        let about = &self.picture.about;
        let title = Line::new(fitting(&about.title(), 20, true, 760), 20, Ink::Strong);
        self.scene.label(None, Anchor::Start, (MARGIN, MARGIN + 20), &title, Mark::Same);
        let origin = Line::new(about.origin(), 12, Ink::Faint);
        self.scene.label(None, Anchor::Start, (MARGIN, MARGIN + 42), &origin, Mark::Same);
        MARGIN + if about.origin().is_empty() { 40 } else { 62 }
    }

    /// Uplinks with the hubs that lead outside by them, and hubs that lead nowhere.
    fn groups(&self) -> Vec<(Option<usize>, Vec<usize>)> {
        let root = |mut at: usize| {
            // A way cannot be longer than there are hubs.
            for _ in 0..=self.picture.hubs.len() {
                match self.picture.hubs.get(at).and_then(|hub| hub.outside) {
                    Some(Outside::Uplink(link)) => return Some(link),
                    Some(Outside::Hub(hub)) => at = hub,
                    None => return None,
                }
            }
            None
        };
        let roots: Vec<Option<usize>> = (0..self.picture.hubs.len()).map(root).collect();
        let of = |link: Option<usize>| roots.iter().enumerate().filter(move |(_, r)| **r == link).map(|(at, _)| at);
        let mut groups: Vec<(Option<usize>, Vec<usize>)> =
            (0..self.picture.uplinks.len()).map(|link| (Some(link), of(Some(link)).collect())).collect();
        // Those in use first.
        groups.sort_by_key(|(_, members)| members.is_empty());
        groups.extend(of(None).map(|at| (None, vec![at])));
        groups
    }

    /// Hubs with their ports and guests; gives their areas.
    fn hubs(&mut self, places: &Places, frame: usize) -> Vec<usize> {
        let mut areas = Vec::new();
        let bars = std::mem::take(&mut self.bars);
        for bar in &bars {
            let place = (places.hub.0, bar.y, places.hub.1, bar.h);
            let paint = paint_of(bar.hub.kind);
            let at = self.scene.block(place, paint, Some(frame), &bar.block);
            let tip = std::iter::once(bar.hub.title()).chain([bar.hub.nature()]).chain(bar.hub.facts());
            let tip: Vec<String> = tip.chain(bar.hub.missing.iter().cloned()).collect();
            self.scene.marked(at, bar.hub.mark, false, Some(tip.join("\n")));
            areas.push(at);
            let mut y = bar.y + (bar.h - bar.inner) / 2;
            for row in &bar.rows {
                let middle = y + row.h / 2;
                let vif = self.vif(places, frame, row, middle);
                let start = (places.hub.0 + places.hub.1, middle);
                self.scene.wire(vec![start, (places.vif.0, middle)], row.port.mark, (at, vif));
                self.marks(places, frame, row, middle);
                let guest = self.guest(places, row, y);
                let end = self.scene.areas.get(vif).map_or(places.frame_end, |area| area.x + area.w);
                self.scene.wire(vec![(end, middle), (places.guest.0, middle)], row.port.mark, (vif, guest));
                y += row.h + self.between;
            }
        }
        self.bars = bars;
        areas
    }

    fn vif(&mut self, places: &Places, frame: usize, row: &Row<'_>, middle: i32) -> usize {
        let at = self.scene.area((places.vif.0, middle - 12, places.vif.1, 24), Paint::Vif, Some(frame));
        self.scene.marked(at, row.port.mark, row.port.count > 1, None);
        let line = Line::new(row.title.clone(), 12, Ink::Strong);
        self.scene.label(Some(at), Anchor::Middle, (places.vif.0 + places.vif.1 / 2, middle + 4), &line, row.port.mark);
        at
    }

    fn marks(&mut self, places: &Places, frame: usize, row: &Row<'_>, middle: i32) {
        let (text, paint, ink) = match (&row.flaw, row.marks.is_empty()) {
            (None, true) => return,
            (Some(flaw), true) => (flaw.clone(), Paint::Flaw, Ink::Flaw),
            (Some(flaw), false) => (format!("{flaw} · {}", row.marks), Paint::Flaw, Ink::Flaw),
            (None, false) => (row.marks.clone(), Paint::Filter, Ink::Plain),
        };
        let line = Line::new(text, SMALL, ink);
        let w = line.width() + 18;
        let x = places.marks.0 + (places.marks.1 - w) / 2;
        let at = self.scene.area((x, middle - 9, w, 18), paint, Some(frame));
        self.scene.label(Some(at), Anchor::Middle, (x + w / 2, middle + 4), &line, Mark::Same);
    }

    fn guest(&mut self, places: &Places, row: &Row<'_>, y: i32) -> usize {
        let Row { behind, port, h, .. } = row;
        let is_there = port.guest.as_ref().is_some_and(|guest| guest.vif.is_some());
        let paint = if is_there { Paint::Guest } else { Paint::Expected };
        let (x, w) = places.guest;
        let at = self.scene.area((x, y, w, *h), paint, None);
        self.scene.marked(at, port.mark, port.count > 1, Some(behind.tip.clone()));
        let (left, right) = (x + PAD, x + w - PAD);
        let name = Line::new(behind.name.clone(), NAME, Ink::Strong);
        let mac = behind.mac.as_ref().map(|mac| Line::new(mac.clone(), SMALL, Ink::Faint));
        let mut base = y + if self.columns.dense { 19 } else { 22 };
        // Without more lines the name stands in the middle.
        if !self.columns.dense && behind.addresses.is_empty() && behind.mac.is_none() && behind.counters.is_none() {
            base = y + h / 2 + 5;
        }
        self.scene.label(Some(at), Anchor::Start, (left, base), &name, port.mark);
        if self.columns.dense {
            let address = left + self.columns.name + 16;
            // A name of several guests may take the next column's room.
            for text in &behind.addresses {
                let line = Line::new(text.clone(), SMALL, Ink::Plain);
                self.scene.label(Some(at), Anchor::Start, (address, base), &line, Mark::Same);
            }
            if let Some(mac) = &mac {
                self.scene.label(Some(at), Anchor::End, (right, base), mac, Mark::Same);
            }
        } else {
            let first = base + LINE + 2;
            for (n, text) in behind.addresses.iter().enumerate() {
                base = first + LINE * i32::try_from(n).unwrap_or(0);
                let line = Line::new(text.clone(), SMALL, Ink::Plain);
                self.scene.label(Some(at), Anchor::Start, (left, base), &line, Mark::Same);
            }
            if let Some(mac) = &mac {
                base = base.max(first);
                let (anchor, x) =
                    if behind.addresses.is_empty() { (Anchor::Start, left) } else { (Anchor::End, right) };
                self.scene.label(Some(at), anchor, (x, first), mac, Mark::Same);
            }
        }
        if let Some(counters) = &behind.counters {
            let line = Line::new(counters.clone(), SMALL, Ink::Faint);
            self.scene.label(Some(at), Anchor::Start, (left, base + LINE), &line, Mark::Same);
        }
        at
    }

    /// What is outside, gateways and uplinks, and the wires from uplinks to hubs.
    fn outside(
        &mut self,
        places: &Places,
        frame: usize,
        gateways: &[Option<Block>],
        middles: &[Option<i32>],
        hubs: &[usize],
    ) {
        let all: Vec<i32> = middles.iter().flatten().copied().collect();
        let (Some(first), Some(last)) = (all.iter().min(), all.iter().max()) else {
            self.branches(places, hubs);
            return;
        };
        let line = Line::new("outside", NAME, Ink::Strong);
        let block = Block::new(vec![line], places.outside.1, places.outside.1);
        let (y, h) = (first - 34, last - first + 68);
        let world = self.scene.block((places.outside.0, y, places.outside.1, h), Paint::Outside, None, &block);
        for (n, uplink) in self.picture.uplinks.iter().enumerate() {
            let (Some(middle), Some(block)) = (middles.get(n).copied().flatten(), self.uplinks.get(n)) else {
                continue;
            };
            let place = (places.uplink.0, middle - block.h / 2, places.uplink.1, block.h);
            let link = self.scene.block(place, Paint::Uplink, Some(frame), block);
            let tip: Vec<String> = std::iter::once(uplink.title()).chain(uplink.facts()).collect();
            self.scene.marked(link, uplink.mark, false, Some(tip.join("\n")));
            let out = (places.outside.0 + places.outside.1, middle);
            match gateways.get(n).and_then(Option::as_ref) {
                Some(block) => {
                    let place = (places.gateway.0, middle - block.h / 2, places.gateway.1, block.h);
                    let gateway = self.scene.block(place, Paint::Gateway, None, block);
                    self.scene.wire(vec![out, (places.gateway.0, middle)], uplink.mark, (world, gateway));
                    let from = (places.gateway.0 + places.gateway.1, middle);
                    self.scene.wire(vec![from, (places.uplink.0, middle)], uplink.mark, (gateway, link));
                }
                None => self.scene.wire(vec![out, (places.uplink.0, middle)], uplink.mark, (world, link)),
            }
            let direct = self.bars.iter().zip(hubs).filter(|(bar, _)| bar.hub.outside == Some(Outside::Uplink(n)));
            let direct: Vec<(i32, usize, Mark)> = direct.map(|(bar, at)| (bar.middle(), *at, bar.hub.mark)).collect();
            for (y, hub, mark) in direct {
                let from = (places.uplink.0 + places.uplink.1, middle);
                let points = vec![from, (places.trunk, middle), (places.trunk, y), (places.hub.0, y)];
                self.scene.wire(straight(points), mark, (link, hub));
            }
        }
        self.branches(places, hubs);
    }

    /// The wires of hubs that lead outside through a bridge, and the marks of NAT.
    fn branches(&mut self, places: &Places, hubs: &[usize]) {
        let entries: Vec<(Option<Outside>, i32, usize, Mark, HubKind)> = self
            .bars
            .iter()
            .zip(hubs)
            .map(|(bar, at)| (bar.hub.outside, bar.middle(), *at, bar.hub.mark, bar.hub.kind))
            .collect();
        for (outside, y, hub, mark, kind) in entries {
            if let Some(Outside::Hub(bridge)) = outside
                && let (Some(bar), Some(area)) = (self.bars.get(bridge), hubs.get(bridge))
            {
                let below = bar.y < y;
                let leave = if below { bar.y + bar.h - 12 } else { bar.y + 12 };
                let points = vec![(places.hub.0, leave), (places.branch, leave), (places.branch, y), (places.hub.0, y)];
                self.scene.wire(straight(points), mark, (*area, hub));
            }
            if kind == HubKind::Nat && outside.is_some() {
                let frame = self.scene.areas.iter().position(|area| area.paint == Paint::Dom0);
                let at = self.scene.area((places.nat, y - 9, NAT_MARK, 18), Paint::Nat, frame);
                let line = Line::new("NAT", SMALL, Ink::Strong);
                self.scene.label(Some(at), Anchor::Middle, (places.nat + NAT_MARK / 2, y + 4), &line, Mark::Same);
                self.scene.marked(at, mark, false, Some("guests are hidden behind dom0's address".to_owned()));
            }
        }
    }

    /// What the colours and words mean, in as many lines as it takes.
    fn legend(&mut self, mut y: i32) {
        let mut x = MARGIN;
        for (paint, mark, text) in legend(self.picture) {
            let line = Line::new(text, SMALL, Ink::Faint);
            let swatch = if paint.is_some() { 20 } else { 0 };
            let w = swatch + line.width();
            if x > MARGIN && x + w > self.scene.width - MARGIN {
                x = MARGIN;
                y += 22;
            }
            if let Some(paint) = paint {
                let at = self.scene.area((x, y - 11, 14, 14), paint, None);
                self.scene.marked(at, mark, false, None);
            }
            self.scene.label(None, Anchor::Start, (x + swatch, y), &line, Mark::Same);
            x += w + 22;
        }
        for note in &self.picture.notes {
            y += 22;
            let room = self.scene.width - 2 * MARGIN;
            let line = Line::new(fitting(note, SMALL, false, room), SMALL, Ink::Faint);
            self.scene.label(None, Anchor::Start, (MARGIN, y), &line, Mark::Same);
        }
        self.scene.height = y + MARGIN - 6;
    }
}

/// Points without those on a straight way.
fn straight(points: Vec<(i32, i32)>) -> Vec<(i32, i32)> {
    let mut kept: Vec<(i32, i32)> = Vec::new();
    for point in points {
        if kept.last() == Some(&point) {
            continue;
        }
        if let [.., a, b] = kept[..]
            && ((a.0 == b.0 && b.0 == point.0) || (a.1 == b.1 && b.1 == point.1))
        {
            kept.pop();
        }
        kept.push(point);
    }
    kept
}

/// What is explained: only what is there.
fn legend(picture: &Picture) -> Vec<(Option<Paint>, Mark, &'static str)> {
    use super::super::model::Filter;
    let ports = || picture.hubs.iter().flat_map(|hub| &hub.ports);
    let has_kind = |kind| picture.hubs.iter().any(|hub| hub.kind == kind);
    let has_filter = |filter| ports().any(|port| port.filter == filter);
    let is_damaged = picture.hubs.iter().any(|hub| !hub.missing.is_empty()) || ports().any(|p| !p.missing.is_empty());
    let has_mark = |mark| {
        picture.uplinks.iter().map(|u| u.mark).chain(picture.hubs.iter().map(|h| h.mark)).any(|m| m == mark)
            || ports().any(|port| port.mark == mark)
    };
    let planned = picture.about.source == Source::Planned;
    let items = [
        (has_kind(HubKind::Bridge), Some(Paint::Bridge), Mark::Same, "bridge"),
        (has_kind(HubKind::Nat), Some(Paint::Nat), Mark::Same, "NAT: guests are hidden behind dom0's address"),
        (has_kind(HubKind::Routed), Some(Paint::Routed), Mark::Same, "routed: guests' addresses are seen outside"),
        (
            has_filter(Filter::Guard),
            Some(Paint::Filter),
            Mark::Same,
            "guard: a guest sends from its own MAC and addresses only",
        ),
        (has_filter(Filter::Mac), Some(Paint::Filter), Mark::Same, "guard (MAC): a guest sends from its own MAC only"),
        (has_filter(Filter::Gate), Some(Paint::Filter), Mark::Same, "gate: a guest sends from its own addresses only"),
        (has_filter(Filter::Closed), Some(Paint::Filter), Mark::Same, "closed: nothing passes from the guest or to it"),
        (is_damaged, Some(Paint::Flaw), Mark::Same, "damaged: not as it was made; xennet show says what is missing"),
        (planned && has_mark(Mark::Added), Some(Paint::Guest), Mark::Added, "+ added"),
        (planned && has_mark(Mark::Changed), Some(Paint::Guest), Mark::Changed, "~ changed"),
        (planned && has_mark(Mark::Removed), Some(Paint::Guest), Mark::Removed, "− removed"),
    ];
    items.into_iter().filter(|(there, ..)| *there).map(|(_, paint, mark, text)| (paint, mark, text)).collect()
}
