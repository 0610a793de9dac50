//! Who talks to whom.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::packet::Gap;
use super::route::{Asked, Way};
use super::walk::Station;
use super::world::{GuestVif, World};
use super::{Trace, Verdict, simulate};
use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};
use crate::model::{DomId, VifId};
use crate::recording::Recording;
use crate::snapshot::Family;

/// What kind of packet it is: the first one of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Traffic {
    /// Any but DHCP: as long as it makes no difference.
    #[default]
    Any,
    /// An echo request.
    Icmp,
    /// A segment with SYN; without a port any, as long as it makes no difference.
    Tcp(Option<u16>),
    /// A datagram; without a port any but those of DHCP, as long as it makes no difference.
    Udp(Option<u16>),
}

impl Traffic {
    /// Reads a protocol (`tcp`, `udp`, `icmp`) and a port.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for another protocol, for a port that is none, and for one without TCP or UDP.
    pub fn parse(protocol: Option<&str>, port: Option<&str>) -> Result<Self, Error> {
        let invalid = |object: &str, message: String, hint: &str| {
            Error::new(ErrorKind::Invalid, message).with_object(beginning(object)).with_hint(hint)
        };
        let number = match port {
            None => None,
            Some(text) => match text.parse::<u16>().ok().filter(|p| *p != 0) {
                Some(port) => Some(port),
                None => {
                    let message = format!("{} is no port", quoted(text));
                    return Err(invalid(text, message, "a port is a number from 1 to 65535"));
                }
            },
        };
        match (protocol, number) {
            (None, None) => Ok(Traffic::Any),
            (Some("tcp"), port) => Ok(Traffic::Tcp(port)),
            (Some("udp"), port) => Ok(Traffic::Udp(port)),
            (Some("icmp"), None) => Ok(Traffic::Icmp),
            (Some("icmp"), Some(port)) => {
                Err(invalid(&port.to_string(), "icmp has no ports".into(), "leave the port out, or name tcp or udp"))
            }
            (None, Some(port)) => {
                Err(invalid(&port.to_string(), "a port needs its protocol".into(), "name tcp or udp before it"))
            }
            (Some(other), _) => {
                let message = format!("{} is none of the protocols tcp, udp and icmp", quoted(other));
                Err(invalid(other, message, "name one of them, or none"))
            }
        }
    }

    /// As it is told behind an address, with another port.
    pub(super) fn with_port(self, port: Option<u16>) -> String {
        match self {
            Traffic::Tcp(_) => Traffic::Tcp(port),
            Traffic::Udp(_) => Traffic::Udp(port),
            other => other,
        }
        .behind()
    }

    fn behind(self) -> String {
        match self {
            Traffic::Any => String::new(),
            other => format!(" {other}"),
        }
    }
}

impl fmt::Display for Traffic {
    /// `tcp/443`, `udp`, `icmp`, `any`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Traffic::Any => f.write_str("any"),
            Traffic::Icmp => f.write_str("icmp"),
            Traffic::Tcp(None) => f.write_str("tcp"),
            Traffic::Udp(None) => f.write_str("udp"),
            Traffic::Tcp(Some(port)) => write!(f, "tcp/{port}"),
            Traffic::Udp(Some(port)) => write!(f, "udp/{port}"),
        }
    }
}

/// One of the two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) station: Station,
    pub(super) address: IpAddr,
    /// As it is told.
    pub(super) name: String,
}

/// Who sends what to whom, on the host of one recording. It has one meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    pub(super) from: End,
    pub(super) to: End,
    pub(super) traffic: Traffic,
}

/// What a text may mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Dom0,
    Outside,
    Domain(DomId),
    Vif(VifId),
    Address(IpAddr),
}

impl Question {
    /// A question, parsed against a recording.
    ///
    /// `from` and `to` are a domain's name, a domain id, a vif (`vif5.0`), `dom0`, `outside` or an IP address. Without a family it is that
    /// of an address that is named; else IPv4 where both ends have it, and IPv6 where they do not.
    ///
    /// `outside` stands for an address that the default route leads to.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] for a question that has two meanings on this host, which are named: a name that two domains have, a domain
    /// with several vifs or addresses that have different answers, traffic without a protocol or port where a rule depends on it;
    /// [`ErrorKind::LinkNotFound`] for a domain or vif that is not there; [`ErrorKind::Invalid`] where an end has no address of the family.
    pub fn new(
        recording: &Recording,
        from: &str,
        to: &str,
        traffic: Traffic,
        family: Option<Family>,
    ) -> Result<Self, Error> {
        let world = World::new(recording);
        let (from, to) = (Named::read(&world, from)?, Named::read(&world, to)?);
        let family = family_of(&world, &from, &to, family)?;
        let mut questions = Vec::new();
        for target in from_to(&world, &to, family, None, false)? {
            for source in from_to(&world, &from, family, Some(target.address), true)? {
                let target = match to.meaning {
                    // This domain's address is the one that the sender would know.
                    Meaning::Dom0 => dom0_for(&world, source.address)
                        .map_or_else(|| target.clone(), |address| End { address, ..target.clone() }),
                    _ => target.clone(),
                };
                let question = Question { from: source, to: target, traffic };
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        let mut answers = Vec::new();
        for question in questions.into_iter().take(64) {
            answers.push(question.with_traffic(&world)?);
        }
        one_of(answers)
    }

    /// To whom, in words.
    pub(super) fn target_text(&self) -> String {
        format!("{}{}", self.to.name, self.traffic.behind())
    }

    /// The question with a protocol, where it names none; and whether ports matter that it does not name. With its answer, where that was
    /// needed for it.
    fn with_traffic(self, world: &World<'_>) -> Result<(Question, Trace), Error> {
        let kinds: &[Traffic] = match self.traffic {
            Traffic::Any => &[Traffic::Icmp, Traffic::Tcp(None), Traffic::Udp(None)],
            _ => &[],
        };
        let (answer, gap) = simulate(world, &self);
        if gap == Some(Gap::Port) {
            return Err(self.port_matters(&answer));
        }
        let mut told = vec![(Traffic::Icmp, answer.clone())];
        for kind in kinds.iter().skip(1) {
            let (answer, gap) = simulate(world, &Question { traffic: *kind, ..self.clone() });
            if gap == Some(Gap::Port) {
                return Err(Question { traffic: *kind, ..self }.port_matters(&answer));
            }
            told.push((*kind, answer));
        }
        let alike = |(_, a): &(Traffic, Trace)| a.verdict == answer.verdict && a.location == answer.location;
        if told.iter().all(alike) {
            return Ok((self, answer));
        }
        let told: Vec<String> = told.iter().map(|(kind, a)| format!("{kind}: {}", in_short(a))).collect();
        Err(Error::new(ErrorKind::Conflict, format!("it depends on the protocol: {}", told.join("; ")))
            .with_object(self.to.name)
            .with_hint("name the protocol: tcp PORT, udp PORT or icmp"))
    }

    fn port_matters(&self, answer: &Trace) -> Error {
        let rule = answer.location.clone().unwrap_or_else(|| "a rule on the way back".into());
        let name = if matches!(self.traffic, Traffic::Udp(_)) { "udp" } else { "tcp" };
        Error::new(ErrorKind::Conflict, format!("it depends on the {name} port: {rule}"))
            .with_object(self.to.name.clone())
            .with_hint(format!("name the protocol and the port: {name} PORT"))
    }
}

fn in_short(answer: &Trace) -> String {
    match (answer.verdict, &answer.location) {
        (Verdict::Delivered, _) => "delivered".into(),
        (Verdict::Dropped, Some(place)) => format!("dropped at {place}"),
        (Verdict::Dropped, None) => "dropped".into(),
        (Verdict::Unknown, _) => "unknown".into(),
    }
}

/// The one question, or the first of several that have the same answer.
fn one_of(answers: Vec<(Question, Trace)>) -> Result<Question, Error> {
    let mut all = answers.iter();
    let Some((first, answer)) = all.next() else {
        return Err(Error::new(ErrorKind::Internal, "a question without ends"));
    };
    if all.all(|(_, a)| a.verdict == answer.verdict) {
        return Ok(first.clone());
    }
    let told = answers.iter().map(|(q, a)| format!("{} to {}: {}", q.from.address, q.to.address, in_short(a)));
    let told: Vec<String> = told.collect();
    Err(Error::new(ErrorKind::Conflict, format!("it depends on which of the addresses is meant: {}", told.join("; ")))
        .with_object(first.from.name.clone())
        .with_hint("name the addresses, or the vif"))
}

/// A text with its one meaning.
struct Named {
    text: String,
    meaning: Meaning,
}

impl Named {
    fn read(world: &World<'_>, text: &str) -> Result<Named, Error> {
        let mut found: Vec<(Meaning, String)> = Vec::new();
        let mut add = |meaning: Meaning, words: String| {
            if !found.iter().any(|(m, _)| *m == meaning) {
                found.push((meaning, words));
            }
        };
        if text == "dom0" || text == "0" {
            add(Meaning::Dom0, "this domain".into());
        }
        if text == "outside" {
            add(Meaning::Outside, "whoever is behind the uplink".into());
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            add(Meaning::Address(address), format!("the address {address}"));
        }
        if let Some(id) = VifId::from_vif_name(text)
            && world.guests.iter().any(|g| g.id == id)
        {
            add(Meaning::Vif(id), format!("the vif {id}"));
        }
        for guest in &world.guests {
            let domid = guest.id.domid;
            if guest.link.as_str() == text && guest.id.vif_name() != guest.link {
                add(Meaning::Vif(guest.id), format!("the vif {} by the name of its link", guest.id));
            }
            if text.parse::<DomId>().is_ok_and(|d| d == domid) {
                add(Meaning::Domain(domid), format!("the domain with the id {domid}"));
            }
            if guest.domain == Some(text) {
                add(Meaning::Domain(domid), format!("domain {domid} by its name"));
            }
        }
        match &found[..] {
            [] => Err(not_found(world, text)),
            [(meaning, _)] => Ok(Named { text: text.to_owned(), meaning: *meaning }),
            several => {
                let words: Vec<&str> = several.iter().map(|(_, words)| words.as_str()).collect();
                Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{} has {} meanings: {}", quoted(text), several.len(), words.join(", or ")),
                )
                .with_object(text)
                .with_hint("name the vif (vif5.0) or an address"))
            }
        }
    }
}

fn not_found(world: &World<'_>, text: &str) -> Error {
    let mut names: Vec<String> = world.all_names().into_iter().collect();
    names.truncate(20);
    let hint = if names.is_empty() {
        "there are no guests here".to_owned()
    } else {
        format!("guests here: {}", names.join(", "))
    };
    Error::new(ErrorKind::LinkNotFound, format!("{} is no domain, vif or address here", quoted(text)))
        .with_object(beginning(text))
        .with_hint(format!("{hint}; dom0, outside, an id, a vif (vif5.0) or an IP address will do, too"))
}

/// The guests' vifs that are meant.
fn vifs<'w, 'a>(world: &'w World<'a>, meaning: Meaning) -> Vec<(usize, &'w GuestVif<'a>)> {
    let fits = |g: &GuestVif<'_>| match meaning {
        Meaning::Domain(domid) => g.id.domid == domid,
        Meaning::Vif(id) => g.id == id,
        _ => false,
    };
    world.guests.iter().enumerate().filter(|(_, g)| fits(g)).collect()
}

/// Whether an end may have an address of a family.
fn has(world: &World<'_>, named: &Named, family: Family) -> bool {
    match named.meaning {
        Meaning::Address(address) => Family::of(&address) == family,
        Meaning::Dom0 | Meaning::Outside => true,
        meaning => vifs(world, meaning).iter().any(|(_, g)| !g.hosts(family).is_empty()),
    }
}

fn family_of(world: &World<'_>, from: &Named, to: &Named, asked: Option<Family>) -> Result<Family, Error> {
    let both = |family: Family| has(world, from, family) && has(world, to, family);
    if let Some(family) = asked {
        return match both(family) {
            true => Ok(family),
            false => Err(no_address(world, from, to, family)),
        };
    }
    if let Some(family) = Family::BOTH.into_iter().find(|f| both(*f)) {
        return Ok(family);
    }
    let family = [from, to].into_iter().find_map(|n| match n.meaning {
        Meaning::Address(a) => Some(Family::of(&a)),
        _ => None,
    });
    Err(no_address(world, from, to, family.unwrap_or(Family::Ipv4)))
}

fn no_address(world: &World<'_>, from: &Named, to: &Named, family: Family) -> Error {
    let without = [from, to].into_iter().find(|n| !has(world, n, family)).map_or(&from.text, |n| &n.text);
    let (message, hint) = match without.parse::<IpAddr>() {
        Ok(_) => (
            format!("{without} is no {} address, and both ends have to be of one family", family.name()),
            "name addresses of one family",
        ),
        Err(_) => (
            format!("no {} address of {without} is known", family.name()),
            "name the guest's address: an IP address will do",
        ),
    };
    Error::new(ErrorKind::Invalid, message).with_object(without.clone()).with_hint(hint)
}

/// The ends that are meant. Of a sender it is known whom it sends to.
fn from_to(
    world: &World<'_>,
    named: &Named,
    family: Family,
    target: Option<IpAddr>,
    sends: bool,
) -> Result<Vec<End>, Error> {
    let end = |station: Station, address: IpAddr, name: String| End { station, address, name };
    match named.meaning {
        Meaning::Address(address) => {
            let guests = world.guests_with(address);
            let own = world.is_own(address);
            let mut meanings: Vec<End> = guests
                .iter()
                .filter_map(|at| {
                    let guest = world.guests.get(*at)?;
                    Some(end(Station::Guest(*at), address, format!("{} ({address})", guest.name())))
                })
                .collect();
            if own {
                meanings.push(end(Station::Dom0, address, format!("dom0 ({address})")));
            }
            match (&meanings[..], sends) {
                ([], _) => Ok(vec![end(Station::Outside, address, address.to_string())]),
                // To whom it comes, routes and bridges decide.
                ([first, ..], false) => Ok(vec![first.clone()]),
                ([first], true) => Ok(vec![first.clone()]),
                (several, true) => {
                    let names: Vec<&str> = several.iter().map(|e| e.name.as_str()).collect();
                    Err(Error::new(
                        ErrorKind::Conflict,
                        format!("{address} has {} meanings: {}", several.len(), names.join(", or ")),
                    )
                    .with_object(address.to_string())
                    .with_hint("name the vif"))
                }
            }
        }
        Meaning::Dom0 => {
            let target = target.unwrap_or_else(|| representative(world, family));
            match dom0_for(world, target) {
                Some(address) => Ok(vec![end(Station::Dom0, address, "dom0".into())]),
                None => Err(Error::new(ErrorKind::Invalid, format!("dom0 has no {} address", family.name()))
                    .with_object("dom0")
                    .with_hint("name the address that is meant")),
            }
        }
        Meaning::Outside => {
            let address = representative(world, family);
            Ok(vec![end(Station::Outside, address, format!("outside ({address})"))])
        }
        meaning => {
            let all = vifs(world, meaning);
            let several = all.iter().map(|(_, g)| g.hosts(family).len()).sum::<usize>() > 1;
            let name = |guest: &GuestVif<'_>, address: IpAddr| match (several, meaning) {
                (true, _) => format!("{} ({address})", guest.name()),
                (false, Meaning::Vif(id)) if guest.domain.is_none() => id.to_string(),
                _ => guest.name(),
            };
            let ends = all.iter().flat_map(|(at, guest)| {
                guest.hosts(family).into_iter().map(|address| end(Station::Guest(*at), address, name(guest, address)))
            });
            Ok(ends.collect())
        }
    }
}

/// This domain's address towards another one.
fn dom0_for(world: &World<'_>, other: IpAddr) -> Option<IpAddr> {
    let asked = Asked { source: None, target: other, iif: None, oif: None, mark: 0 };
    let way = world.way(&asked);
    let any = || {
        let all = world.own_addresses().map(|a| a.address.ip()).filter(|ip| ip.is_ipv4() == other.is_ipv4());
        let usable = |ip: &IpAddr| !ip.is_loopback() && !matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local());
        all.into_iter().find(usable)
    };
    match way {
        Way::Local(_) => Some(other),
        way => world.own_source(&way, other).or_else(any),
    }
}

/// An address outside: one that only the default route leads to, of those that stand for nobody (RFC 5737, RFC 3849).
fn representative(world: &World<'_>, family: Family) -> IpAddr {
    let candidates: Vec<IpAddr> = match family {
        Family::Ipv4 => ["198.51.100.7", "203.0.113.7", "192.0.2.7"].iter().filter_map(|a| a.parse().ok()).collect(),
        Family::Ipv6 => {
            ["2001:db8:ffff::7", "2001:db8:fffe::7", "3fff::7"].iter().filter_map(|a| a.parse().ok()).collect()
        }
    };
    let by_default = |address: &&IpAddr| {
        let asked = Asked { source: None, target: **address, iif: None, oif: None, mark: 0 };
        matches!(world.way(&asked), Way::Out { route, .. } if route.destination.prefix() == 0)
            && world.guests_with(**address).is_empty()
    };
    if let Some(found) = candidates.iter().find(by_default) {
        return *found;
    }
    // Without a default route: a neighbour on the uplink.
    let on_uplink = world.default_link(family).and_then(|link| {
        let all = world.addresses_on(&link).iter().map(|a| a.address);
        all.filter(|n| Family::of(&n.ip()) == family).find(|n| n.prefix() < 31)
    });
    let free = |ip: &IpAddr| !world.is_own(*ip) && world.guests_with(*ip).is_empty();
    match on_uplink {
        Some(ipnetwork::IpNetwork::V4(n)) => n.iter().skip(1).take(512).map(IpAddr::V4).find(free),
        Some(ipnetwork::IpNetwork::V6(n)) => n.iter().skip(1).take(512).map(IpAddr::V6).find(free),
        None => None,
    }
    .or(candidates.first().copied())
    .unwrap_or(match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7)),
    })
}
