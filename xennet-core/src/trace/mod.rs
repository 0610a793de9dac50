//! What happens to a packet, hop by hop: guest, guard, bridge, gate, address translation, routes, uplink; and the way of its answer.
//!
//! It is a simulation over a [`Recording`], and sends nothing: it works on a recording of this host and on one that was made on another
//! machine. [`Question`] says who talks to whom, [`trace`] answers.
//!
//! ```
//! use xennet_core::recording::Taken;
//! use xennet_core::trace::{Question, Traffic, Verdict, trace};
//! use xennet_core::{DomId, Host};
//!
//! let mut host = Host::fake();
//! host.attach(DomId::new(5)?, &"mac=00:16:3e:01:02:05,bridge=xenbr0,isolated,ip=192.0.2.5".parse()?)?;
//! host.attach(DomId::new(6)?, &"mac=00:16:3e:01:02:06,bridge=xenbr0,isolated,ip=192.0.2.6".parse()?)?;
//! let recording = host.record(Taken::default(), None, Err("there is none here".into()));
//!
//! let question = Question::new(&recording, "vif5.0", "vif6.0", Traffic::Icmp, None)?;
//! let answer = trace(&recording, &question);
//! assert_eq!(answer.verdict, Verdict::Dropped);
//! assert_eq!(answer.location.as_deref(), Some("bridge port vif6.0"));
//! # Ok::<(), xennet_core::Error>(())
//! ```
//!
//! What is modelled: the hooks of netfilter in the kernel's order, of our tables and of others'; bridges with their port settings, VLANs
//! and `br_netfilter`; ARP and neighbour discovery, which have to succeed before a packet leaves; policy rules and routes; reverse path
//! filters, forwarding, proxies; connection tracking and address translation. Not modelled: sizes (MTU, fragments), queues and rates,
//! programs that filter elsewhere (XDP, tc), and what is inside of guests.

mod frame;
mod maker;
mod nft;
mod packet;
mod question;
mod route;
#[cfg(test)]
mod tests;
mod walk;
mod world;

use std::fmt;
use std::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::error::json_text;
use crate::recording::Recording;
use crate::schema::written_as;
use crate::version::Version;
pub use frame::{Frames, Judged};
use packet::{Gap, Packet, Upper};
pub use question::{Question, Traffic};
use walk::{Station, Stop, Walk};
use world::World;

/// Whether the first packet of a connection arrives.
///
/// There are no others: yes, no, and not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It arrives.
    Delivered,
    /// It is dropped.
    Dropped,
    /// A rule that cannot be judged decides, or somebody outside.
    Unknown,
}

/// Which of the two ways a hop belongs to.
///
/// There are no others: a packet goes there, and its answer comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// The way of the packet.
    There,
    /// The way of its answer.
    Back,
}

/// What kind of place a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Stage {
    /// A guest.
    Guest,
    /// Somebody is asked for his hardware address.
    Neighbour,
    /// The table `bridge xennet-guard`.
    Guard,
    /// A bridge.
    Bridge,
    /// The table `inet xennet`.
    Gate,
    /// Another program's table.
    Firewall,
    /// An address is translated.
    Nat,
    /// A routing decision.
    Route,
    /// This domain.
    Host,
    /// A link towards the outside.
    Uplink,
    /// Something to know about the way.
    Note,
}

/// One station of the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Hop {
    /// Of the packet or of its answer.
    pub direction: Direction,
    /// What kind of place it is.
    pub stage: Stage,
    /// The place: a link, a bridge, a chain, a route.
    pub at: String,
    /// What happens there.
    pub text: String,
    /// Whether it changes nothing and decides nothing: left out where not everything is told.
    pub detail: bool,
}

/// What happens to a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trace {
    /// Whether it arrives.
    pub verdict: Verdict,
    /// What decided: the table, chain and rule, the route, the link or the setting. `None` where it arrives.
    pub location: Option<String>,
    /// The reason, in words.
    pub why: String,
    /// The source address that the receiver sees.
    pub source_seen: Option<IpAddr>,
    /// Whether its answer comes back; `None` where that is not known, or where it does not arrive. The JSON document has it among the
    /// hops.
    pub answered: Option<bool>,
    /// The way, and the way back.
    pub hops: Vec<Hop>,
    sentence: String,
}

/// How much of a trace is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Telling {
    /// The sentence alone.
    Minimal,
    /// The sentence, and the hops that change or decide something.
    #[default]
    Usual,
    /// Every hop.
    Full,
}

impl Trace {
    /// The version of the document.
    pub const VERSION: u32 = 1;

    /// The answer in one sentence.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The answer as text.
    pub fn text(&self, telling: Telling) -> String {
        let mut out = self.sentence.clone();
        if telling == Telling::Minimal {
            return out;
        }
        let hops: Vec<&Hop> = self.hops.iter().filter(|h| telling == Telling::Full || !h.detail).collect();
        let mut direction = None;
        for hop in hops {
            if direction != Some(hop.direction) {
                out.push_str(match hop.direction {
                    Direction::There => "\nthe packet:",
                    Direction::Back => "\nits answer:",
                });
                direction = Some(hop.direction);
            }
            // The rule is told in the text already where it decides.
            let line = if hop.text.contains(&hop.at) { hop.text.clone() } else { format!("{}: {}", hop.at, hop.text) };
            out.push_str("\n  ");
            out.push_str(&line);
        }
        out
    }

    /// The text of the JSON document: `{"version":1,"verdict":"delivered","where":null,"why":"…","source_seen":"192.0.2.3","hops":[…]}`.
    /// Serde writes the same document.
    pub fn to_json(&self) -> String {
        json_text(self)
    }
}

impl fmt::Display for Trace {
    /// As [`Telling::Usual`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Telling::Usual))
    }
}

impl Serialize for Trace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Trace { verdict, location, why, source_seen, hops, .. } = self;
        let (verdict, source_seen) = (*verdict, *source_seen);
        Document { version: Version, verdict, location: location.as_deref(), why, source_seen, hops }
            .serialize(serializer)
    }
}

/// What happens to a packet.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Document<'a> {
    version: Version<{ Trace::VERSION }>,
    /// Whether it arrives.
    verdict: Verdict,
    /// What decided: the table, chain and rule, the route, the link or the setting; null where it arrives.
    #[serde(rename = "where")]
    location: Option<&'a str>,
    /// The reason, in words.
    why: &'a str,
    /// The source address that the receiver sees.
    source_seen: Option<IpAddr>,
    /// The way, and the way back.
    hops: &'a [Hop],
}
written_as!(Trace, "Trace", Document<'static>);

/// Follows the first packet of a connection, and its answer.
pub fn trace(recording: &Recording, question: &Question) -> Trace {
    simulate(&World::new(recording), question).0
}

/// The source port of a new connection: one of those that systems give out.
const SOURCE_PORT: u16 = 40_000;

fn first(question: &Question) -> Upper {
    match question.traffic {
        Traffic::Tcp(target) => Upper::Tcp { source: SOURCE_PORT, target, answer: false },
        Traffic::Udp(target) => Upper::Udp { source: SOURCE_PORT, target },
        Traffic::Icmp | Traffic::Any => Upper::Icmp { kind: if question.to.address.is_ipv4() { 8 } else { 128 } },
    }
}

fn answer_to(packet: &Packet) -> Option<Packet> {
    let packet::Content::Ip { source, target, upper } = &packet.content else { return None };
    let (source, target) = (*source, *target);
    let upper = match *upper {
        Upper::Tcp { source, target, .. } => {
            Upper::Tcp { source: target.unwrap_or(0), target: Some(source), answer: true }
        }
        Upper::Udp { source, target } => Upper::Udp { source: target.unwrap_or(0), target: Some(source) },
        Upper::Icmp { kind: 8 } => Upper::Icmp { kind: 0 },
        Upper::Icmp { .. } => Upper::Icmp { kind: 129 },
        Upper::Neighbour { .. } => return None,
    };
    Some(Packet::ip(target, source, upper))
}

/// The answer, and whether it hangs on a port that the question does not name.
fn simulate(world: &World<'_>, question: &Question) -> (Trace, Option<Gap>) {
    let mut walk = Walk::new(world);
    let (source, target) = (question.from.address, question.to.address);
    let went = walk.send(question.from.station, Packet::ip(source, target, first(question)));
    let doubt = walk.doubt.take();
    let (station, packet) = match (went, doubt) {
        (Err(stop), doubt) => {
            // What is surely dropped later is dropped, whatever is not known before.
            let stop = if stop.gap.is_some() { doubt.unwrap_or(stop) } else { stop };
            return (stopped(question, &stop, walk.hops), stop.gap);
        }
        (Ok(_), Some(stop)) => return (stopped(question, &stop, walk.hops), stop.gap),
        (Ok(arrived), None) => arrived,
    };
    let seen = packet.addresses().map(|a| a.0);
    walk.turn();
    let back = answer_to(&packet).map(|answer| walk.send(station, answer));
    let doubt = walk.doubt.take();
    let mut gap = None;
    let mut answered = Some(true);
    let lost = match (back, doubt) {
        (Some(Ok((receiver, answer))), doubt) => {
            let right = receiver == question.from.station && answer.addresses() == Some((target, source));
            match (right, doubt) {
                (true, None) => None,
                (true, Some(stop)) => {
                    answered = None;
                    Some(lost(&stop))
                }
                (false, _) => {
                    answered = Some(false);
                    let from = answer.addresses().map_or_else(String::new, |a| a.0.to_string());
                    let who = walk.name(receiver);
                    Some(format!("but its answer does not come back to it: {who} gets it, from {from}"))
                }
            }
        }
        (Some(Err(stop)), _) => {
            gap = stop.gap.filter(|gap| *gap == Gap::Port);
            answered = stop.gap.is_none().then_some(false);
            Some(lost(&stop))
        }
        (None, _) => None,
    };
    let receiver = receiver(world, question, station, &packet);
    let seen_text = seen.map_or_else(String::new, |s| format!(" as {s}"));
    let mut sentence = format!("{} reaches {receiver}{seen_text}", question.from.name);
    let why = match &lost {
        None => "nothing stops it, and its answer comes back".to_owned(),
        Some(lost) => format!("nothing stops it, {lost}"),
    };
    if let Some(lost) = &lost {
        sentence.push_str(", ");
        sentence.push_str(lost);
    }
    for note in &walk.notes {
        sentence.push_str("; ");
        sentence.push_str(note);
    }
    let hops = walk.hops;
    (Trace { verdict: Verdict::Delivered, location: None, why, source_seen: seen, answered, hops, sentence }, gap)
}

fn lost(stop: &Stop) -> String {
    let place = stop.place.as_ref().map_or_else(String::new, |p| format!(" at {p}"));
    match stop.gap {
        None => format!("but its answer is dropped{place}: {}", stop.why),
        Some(_) => format!("but whether its answer comes back is not known{place}: {}", stop.why),
    }
}

/// Who gets it, and by what address it was asked for.
fn receiver(world: &World<'_>, question: &Question, station: Station, packet: &Packet) -> String {
    let asked = question.target_text();
    let Some((_, target)) = packet.addresses() else { return asked };
    let port = packet.target_port();
    let same_port = match question.traffic {
        Traffic::Tcp(asked) | Traffic::Udp(asked) => asked == port,
        _ => true,
    };
    if target == question.to.address && same_port {
        return asked;
    }
    let name = match station {
        Station::Guest(at) => world.guests.get(at).map_or_else(String::new, world::GuestVif::name),
        Station::Dom0 => "dom0".into(),
        Station::Outside => target.to_string(),
    };
    format!("{name}{} through {asked}", question.traffic.with_port(port))
}

fn stopped(question: &Question, stop: &Stop, hops: Vec<Hop>) -> Trace {
    let place = stop.place.clone().unwrap_or_default();
    let ends = format!("{} and {}", question.from.name, question.target_text());
    let (verdict, sentence) = match stop.gap {
        None => {
            let text = format!("{} does not reach {}: dropped", question.from.name, question.target_text());
            let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
            (Verdict::Dropped, format!("{text}{}; {}", place.replacen(" at table ", " in table ", 1), stop.why))
        }
        Some(_) => {
            let place = if place.is_empty() { String::new() } else { format!(", {place}") };
            (Verdict::Unknown, format!("what becomes of a packet between {ends} is not known{place}; {}", stop.why))
        }
    };
    Trace {
        verdict,
        location: stop.place.clone(),
        why: stop.why.clone(),
        source_seen: None,
        answered: None,
        hops,
        sentence,
    }
}
