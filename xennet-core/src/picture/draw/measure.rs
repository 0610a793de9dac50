//! How much room everything takes.

use super::super::font::{fitting, width};
use super::super::model::{Hub, Mark, Port, Uplink};
use super::Ink;

/// The room around everything.
pub(super) const MARGIN: i32 = 28;
/// The room within a box, left and right of its text.
pub(super) const PAD: i32 = 12;
/// Sizes of text.
pub(super) const LARGE: i32 = 15;
pub(super) const NAME: i32 = 13;
pub(super) const SMALL: i32 = 11;
/// The height of a line of small text.
pub(super) const LINE: i32 = 16;
/// More guests than these stand in one line each.
pub(super) const ROOMY: usize = 14;
/// More facts than these are not shown in a box.
pub(super) const FACTS: usize = 9;
/// The room between two boxes with a wire.
pub(super) const GAP: i32 = 34;

/// A line of a box.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) size: i32,
    pub(super) ink: Ink,
}

impl Line {
    pub(super) fn new(text: impl Into<String>, size: i32, ink: Ink) -> Self {
        Line { text: text.into(), size, ink }
    }

    pub(super) fn width(&self) -> i32 {
        width(&self.text, self.size, self.ink == Ink::Strong)
    }

    pub(super) fn height(&self) -> i32 {
        if self.size > SMALL { LINE + 4 } else { LINE }
    }
}

/// The lines of a box, with its size.
pub(super) struct Block {
    pub(super) lines: Vec<Line>,
    pub(super) w: i32,
    pub(super) h: i32,
}

impl Block {
    pub(super) fn new(mut lines: Vec<Line>, least: i32, most: i32) -> Self {
        for line in &mut lines {
            line.text = fitting(&line.text, line.size, line.ink == Ink::Strong, most - 2 * PAD);
        }
        let w = lines.iter().map(Line::width).max().unwrap_or(0) + 2 * PAD;
        let h = lines.iter().map(Line::height).sum::<i32>() + 16;
        Block { lines, w: w.clamp(least, most.max(least)), h }
    }
}

/// Facts, of which not too many are shown.
pub(super) fn some(facts: Vec<String>) -> impl Iterator<Item = Line> {
    let more = facts.len().saturating_sub(FACTS);
    let (shown, more) = if more > 1 { (FACTS, Some(format!("and {more} more"))) } else { (facts.len(), None) };
    facts.into_iter().take(shown).chain(more).map(|fact| Line::new(fact, SMALL, Ink::Plain))
}

pub(super) fn signed(mark: Mark, text: &str) -> String {
    match mark.sign() {
        "" => text.to_owned(),
        sign => format!("{sign} {text}"),
    }
}

/// A guest's box: in one line, or in several.
pub(super) struct Behind {
    pub(super) name: String,
    pub(super) addresses: Vec<String>,
    pub(super) mac: Option<String>,
    pub(super) counters: Option<String>,
    pub(super) tip: String,
}

impl Behind {
    pub(super) fn of(port: &Port, dense: bool) -> Self {
        let (name, addresses) = (port.owner(), port.addresses());
        let mut tip = vec![name.clone()];
        tip.extend(
            port.guest.as_ref().and_then(|guest| guest.vif).filter(|_| port.count == 1).map(|vif| vif.to_string()),
        );
        tip.extend(addresses.iter().cloned());
        tip.extend(port.mac());
        tip.extend(port.missing.iter().cloned());
        let room = if dense { 190 } else { 250 };
        let name = fitting(&signed(port.mark, &name), NAME, true, if port.count > 1 { 250 } else { room });
        let shown = |all: Vec<String>, most: usize| {
            let more = all.len().saturating_sub(most);
            let (take, rest) = if more > 1 { (most, Some(format!("and {more} more"))) } else { (all.len(), None) };
            all.into_iter().take(take).chain(rest).collect::<Vec<_>>()
        };
        let addresses = match dense {
            true if addresses.len() > 2 => vec![format!("{}, and {} more", addresses[0], addresses.len() - 1)],
            true if addresses.is_empty() => addresses,
            true => vec![fitting(&addresses.join(", "), SMALL, false, 300)],
            false => shown(addresses, 3).into_iter().map(|a| fitting(&a, SMALL, false, 300)).collect(),
        };
        let counters = port.counters.map(|c| c.of_guest());
        Behind { name, addresses, mac: port.mac(), counters, tip: tip.join("\n") }
    }

    pub(super) fn name_width(&self) -> i32 {
        width(&self.name, NAME, true)
    }

    pub(super) fn address_width(&self) -> i32 {
        self.addresses.iter().map(|a| width(a, SMALL, false)).max().unwrap_or(0)
    }

    pub(super) fn mac_width(&self) -> i32 {
        self.mac.as_ref().map_or(0, |mac| width(mac, SMALL, false))
    }

    pub(super) fn counters_width(&self) -> i32 {
        self.counters.as_ref().map_or(0, |text| width(text, SMALL, false))
    }
}

/// The widths of the columns of guests.
pub(super) struct Columns {
    pub(super) dense: bool,
    pub(super) name: i32,
    pub(super) guest: i32,
}

impl Columns {
    pub(super) fn of(all: &[&Behind], dense: bool) -> Self {
        let most = |of: fn(&Behind) -> i32| all.iter().map(|b| of(b)).max().unwrap_or(0);
        let gap = |width: i32| if width > 0 { width + 16 } else { 0 };
        let (name, address, mac) = (most(Behind::name_width), most(Behind::address_width), most(Behind::mac_width));
        let counters = most(Behind::counters_width);
        let guest = match dense {
            true => name + gap(address) + gap(mac),
            false => name.max(address + gap(mac)),
        };
        Columns { dense, name, guest: guest.max(counters).max(130) + 2 * PAD }
    }

    pub(super) fn height(&self, behind: &Behind) -> i32 {
        let counters = if behind.counters.is_some() { LINE } else { 0 };
        match self.dense {
            true => 28 + counters,
            false => {
                let lines = behind.addresses.len().max(usize::from(behind.mac.is_some()));
                let lines = i32::try_from(lines).unwrap_or(4);
                (14 + LINE + 2 + lines * LINE + counters).max(36)
            }
        }
    }
}

/// A port with what is measured of it.
pub(super) struct Row<'a> {
    pub(super) port: &'a Port,
    pub(super) behind: Behind,
    pub(super) marks: String,
    pub(super) flaw: Option<String>,
    pub(super) title: String,
    pub(super) h: i32,
}

/// A hub with what is measured of it.
pub(super) struct Bar<'a> {
    pub(super) hub: &'a Hub,
    pub(super) block: Block,
    pub(super) rows: Vec<Row<'a>>,
    /// The height of the rows with the room between them, and of the bar.
    pub(super) inner: i32,
    pub(super) h: i32,
    pub(super) y: i32,
}

impl Bar<'_> {
    pub(super) fn middle(&self) -> i32 {
        self.y + self.h / 2
    }
}

pub(super) fn uplink_block(uplink: &Uplink) -> Block {
    let mut lines = vec![Line::new(signed(uplink.mark, &uplink.title()), LARGE, Ink::Strong)];
    let mut facts = uplink.facts();
    let state = (!facts.is_empty()).then(|| facts.remove(0));
    lines.extend(state.map(|state| Line::new(state, SMALL, Ink::Faint)));
    lines.extend(some(facts));
    Block::new(lines, 96, 300)
}

pub(super) fn hub_block(hub: &Hub) -> Block {
    let mut lines = vec![Line::new(signed(hub.mark, &hub.title()), LARGE, Ink::Strong)];
    lines.push(Line::new(hub.nature(), SMALL, Ink::Faint));
    lines.extend(some(hub.facts()));
    lines.extend(hub.flaw().map(|flaw| Line::new(flaw, SMALL, Ink::Flaw)));
    Block::new(lines, 132, 320)
}

pub(super) fn gateway_block(uplink: &Uplink) -> Option<Block> {
    if uplink.gateways.is_empty() {
        return None;
    }
    let mut lines = vec![Line::new("gateway", NAME, Ink::Strong)];
    lines.extend(some(uplink.gateways.iter().map(ToString::to_string).collect()));
    Some(Block::new(lines, 96, 320))
}

/// A hub with its ports, not yet as high as they are.
pub(super) fn bar(hub: &Hub, dense: bool) -> Bar<'_> {
    let row = |port| Row {
        port,
        behind: Behind::of(port, dense),
        marks: port.marks().join(" · "),
        flaw: port.flaw().map(|_| "damaged".to_owned()),
        title: port.title(),
        h: 0,
    };
    let rows: Vec<Row<'_>> = hub.ports.iter().map(row).collect();
    Bar { hub, block: hub_block(hub), rows, inner: 0, h: 0, y: 0 }
}
