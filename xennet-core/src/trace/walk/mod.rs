//! The way of a packet through the host, as Linux takes it.

mod bridge;
mod hooks;
mod ip;
mod neighbour;
mod station;

pub(super) use hooks::told;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::packet::{Gap, Packet};
use super::world::World;
use super::{Direction, Hop, Stage};
use crate::model::{IfName, MacAddr};

/// Somebody who sends or receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Station {
    /// This domain.
    Dom0,
    /// The guest with this place in the list of the world.
    Guest(usize),
    /// Whoever is behind an uplink.
    Outside,
}

/// Why a packet goes no further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    /// It is not known whether it goes further, and why.
    pub(super) gap: Option<Gap>,
    /// What decided: a rule, a route, a link, a setting.
    pub(super) place: Option<String>,
    /// Why, in words.
    pub(super) why: String,
}

pub(super) type Went<T> = Result<T, Box<Stop>>;

/// A packet that was dropped.
fn dropped<T>(place: impl Into<String>, why: impl Into<String>) -> Went<T> {
    Err(Box::new(Stop { gap: None, place: Some(place.into()), why: why.into() }))
}

/// A packet of which it is not known what becomes of it.
fn unknown<T>(place: Option<String>, why: impl Into<String>) -> Went<T> {
    Err(Box::new(Stop { gap: Some(Gap::Unseen), place, why: why.into() }))
}

/// What connection tracking remembers of the one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Connection {
    /// Whether the first packet has gone through to the end.
    confirmed: bool,
    /// The source before and behind its translation, with the port behind it where that was translated.
    source: Option<(IpAddr, IpAddr)>,
    /// The destination before and behind its translation, with the port before it.
    target: Option<(IpAddr, IpAddr, Option<u16>)>,
    done_source: bool,
    done_target: bool,
    mark: Option<u32>,
}

/// A packet's way.
pub(super) struct Walk<'w> {
    pub(super) world: &'w World<'w>,
    pub(super) hops: Vec<Hop>,
    pub(super) direction: Direction,
    /// The first rule of which it is not known whether it drops the packet.
    pub(super) doubt: Option<Box<Stop>>,
    connection: Connection,
    /// Who knows which address, because they have spoken.
    met: BTreeSet<(Station, IfName, IpAddr)>,
    /// Of an outgoing packet: the gateway, or the destination.
    next: Option<IpAddr>,
    /// How often a packet has come back to where it was.
    rounds: u32,
    pub(super) notes: Vec<String>,
}

impl<'w> Walk<'w> {
    pub(super) fn new(world: &'w World<'w>) -> Self {
        Walk {
            world,
            hops: Vec::new(),
            direction: Direction::There,
            doubt: None,
            connection: Connection { mark: Some(0), ..Connection::default() },
            met: BTreeSet::new(),
            next: None,
            rounds: 0,
            notes: Vec::new(),
        }
    }

    /// From here on it is the answer's way.
    pub(super) fn turn(&mut self) {
        self.direction = Direction::Back;
        self.rounds = 0;
    }

    fn hop(&mut self, stage: Stage, at: impl Into<String>, text: impl Into<String>) {
        self.add(stage, at.into(), text.into(), false);
    }

    /// A hop that is told only where everything is.
    fn detail(&mut self, stage: Stage, at: impl Into<String>, text: impl Into<String>) {
        self.add(stage, at.into(), text.into(), true);
    }

    fn add(&mut self, stage: Stage, at: String, text: String, detail: bool) {
        let hop = Hop { direction: self.direction, stage, at, text, detail };
        // A question for a neighbour meets the same rules as its answer.
        if self.hops.last() != Some(&hop) {
            self.hops.push(hop);
        }
    }

    pub(super) fn name(&self, station: Station) -> String {
        match station {
            Station::Dom0 => "dom0".into(),
            Station::Outside => "the outside".into(),
            Station::Guest(at) => self.world.guests.get(at).map_or_else(String::new, |g| g.name()),
        }
    }

    fn mac_of(&self, station: Station, link: &IfName, address: IpAddr) -> Option<MacAddr> {
        match station {
            Station::Dom0 => self.world.link(link)?.mac,
            Station::Guest(at) => self.world.guests.get(at)?.mac,
            Station::Outside => self.world.known_mac(link, address),
        }
    }

    /// Sends a packet; who gets it, and what it is by then.
    pub(super) fn send(&mut self, from: Station, packet: Packet) -> Went<(Station, Packet)> {
        match from {
            Station::Dom0 => self.output(packet),
            Station::Guest(at) => self.guest_sends(at, packet),
            Station::Outside => self.outside_sends(packet),
        }
    }
}
