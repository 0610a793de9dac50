//! Calls of the scripts that made the networks of a Xen host until 4.4: `network-bridge`, `network-nat`, `network-route`.
//!
//! Their arguments are a verb and `NAME=VALUE` in any order. The scripts evaluated them as code; here they are read, and what
//! an option did that xennet does otherwise is a note.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::str::FromStr;

use ipnetwork::Ipv4Network;
use serde::Serialize;

use super::attach::joined;
use super::hint::distance;
use super::{Parsed, findings};
use crate::error::{Error, ErrorKind};
use crate::model::flaw::{Flaw, decimal, quoted};
use crate::model::{
    BridgeNetwork, BridgeSpec, Egress, IfName, NatNetwork, Network, NetworkMode, RoutedNetwork, Subnet,
};

/// One of the scripts.
///
/// There are no others: Xen has shipped no new ones since 4.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum NetworkScript {
    /// Guests are stations on the uplink's own segment.
    #[serde(rename = "network-bridge")]
    Bridge,
    /// Guests are behind dom0's address.
    #[serde(rename = "network-nat")]
    Nat,
    /// Guests' own addresses are visible outside.
    #[serde(rename = "network-route")]
    Route,
}

impl NetworkScript {
    /// Every script.
    pub const ALL: &'static [NetworkScript] = &[NetworkScript::Bridge, NetworkScript::Nat, NetworkScript::Route];

    /// Its file's name.
    pub const fn name(self) -> &'static str {
        match self {
            NetworkScript::Bridge => "network-bridge",
            NetworkScript::Nat => "network-nat",
            NetworkScript::Route => "network-route",
        }
    }

    /// The options that it knows, as Xen's documentation spells them.
    pub const fn options(self) -> &'static [&'static str] {
        match self {
            NetworkScript::Bridge => &["netdev", "bridge", "vifnum", "antispoof"],
            NetworkScript::Nat => &["netdev", "antispoof", "dhcp"],
            NetworkScript::Route => &["netdev"],
        }
    }
}

impl fmt::Display for NetworkScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for NetworkScript {
    type Err = Error;

    /// From the script's path or name.
    fn from_str(path: &str) -> Result<Self, Error> {
        let name = path.rsplit('/').next().unwrap_or(path);
        Self::ALL.iter().copied().find(|script| script.name() == name).ok_or_else(|| {
            let error = Error::new(ErrorKind::Invalid, format!("{} is no network script of Xen's", quoted(path)));
            let nearest = Self::ALL.iter().find(|script| {
                name.starts_with(script.name()) && name.contains('=') || distance(name, script.name()) <= 2
            });
            error.with_object(path).with_hint(match nearest {
                Some(script) if name.contains('=') => {
                    format!("a blank is missing: {script} {}", name.get(script.name().len()..).unwrap_or_default())
                }
                Some(script) => format!("did you mean {script}?"),
                None => {
                    "the scripts are network-bridge, network-nat and network-route; one that calls them is a wrapper"
                        .to_owned()
                }
            })
        })
    }
}

/// What a script is to do.
///
/// There are no others: the scripts of Xen up to 4.4 know these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LegacyVerb {
    /// Make the network.
    Start,
    /// Take it back.
    Stop,
    /// Show it.
    Status,
}

impl LegacyVerb {
    /// Every verb.
    pub const ALL: &'static [LegacyVerb] = &[LegacyVerb::Start, LegacyVerb::Stop, LegacyVerb::Status];

    /// The word.
    pub const fn name(self) -> &'static str {
        match self {
            LegacyVerb::Start => "start",
            LegacyVerb::Stop => "stop",
            LegacyVerb::Status => "status",
        }
    }
}

/// Which bridge `network-bridge` is asked for.
///
/// There are no others: the scripts of Xen up to 4.4 know these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LegacyBridge {
    /// `bridge=null`: nothing is to be done.
    Null,
    /// The bridge of this name.
    Named(IfName),
}

/// The two generations of `network-bridge`, which differ in what they took where an option was left out.
///
/// There are no others: Xen has shipped no `network-bridge` of another kind up to 4.4, its last with xend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Generation {
    /// Xen 3.0 and 3.1: the bridge is `xenbr<N>`, and dom0's addresses were on one end of a loopback pair called `eth<N>`.
    #[default]
    Netloop,
    /// Xen 3.2 to 4.4: the bridge takes the name of the uplink, which becomes `p<name>`.
    Renaming,
}

impl Generation {
    /// The generation that came with a version of Xen, 3.0 to 4.4; what follows the second number does not count (`4.1.2`).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for any other text.
    pub fn of_xen(version: &str) -> Result<Self, Error> {
        let mut numbers = version.split('.').map(|n| decimal(n.as_bytes()));
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(3), Some(0 | 1)) => Ok(Generation::Netloop),
            (Some(3), Some(2..=4)) | (Some(4), Some(0..=4)) => Ok(Generation::Renaming),
            _ => Err(Error::new(ErrorKind::Invalid, format!("{} is no version of Xen with xend", quoted(version)))
                .with_object(version)
                .with_hint("xend's networks were there from Xen 3.0 to 4.4, for example 3.1 or 4.1")),
        }
    }
}

/// A call of one of the scripts. What is `None` was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LegacyCall {
    /// The script.
    pub script: NetworkScript,
    /// What it is to do.
    pub verb: LegacyVerb,
    /// The link towards the outside. Left out: see [`netdev`](Self::netdev).
    pub netdev: Option<IfName>,
    /// The bridge, of `network-bridge` alone. Left out: see [`bridge`](Self::bridge).
    pub bridge: Option<LegacyBridge>,
    /// The number of the loopback pair and of the bridge, of `network-bridge` alone.
    pub vifnum: Option<u32>,
    /// Whether forged frames are to be dropped; left out it is no. `network-route` does not have it.
    pub antispoof: Option<bool>,
    /// Whether a DHCP server is to be set up, of `network-nat` alone. Left out it is no, and from Xen 3.3 on yes where
    /// `/etc/dhcpd.conf` exists.
    pub dhcp: Option<bool>,
}

impl LegacyCall {
    /// Reads the arguments of a script: a verb (the first word without `=`) and options, in any order.
    ///
    /// Positions count in the arguments joined with blanks. Options that are obsolete, or that did harm, are noted; so is what the
    /// scripts ignore: a second word without `=`, and an option that they do not know.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with position, rule and hint: no verb, an option that is misspelled, a value that cannot be.
    ///
    /// ```
    /// use xennet_core::config::legacy::{LegacyCall, NetworkScript};
    /// let call = LegacyCall::parse(NetworkScript::Bridge, &["netdev=eth1", "start"])?.value;
    /// assert_eq!(call.netdev.unwrap().as_str(), "eth1");
    ///
    /// let error = LegacyCall::parse(NetworkScript::Bridge, &["start", "brigde=xenbr1"]).unwrap_err();
    /// assert_eq!(error.hint(), Some("did you mean bridge? The options are netdev, bridge, vifnum, antispoof"));
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn parse(script: NetworkScript, arguments: &[impl AsRef<str>]) -> Result<Parsed<Self>, Error> {
        let (text, starts) = joined(arguments);
        let words = arguments.iter().map(AsRef::as_ref).zip(starts);
        let mut reader = Reader { script, found: Found::default(), seen: Vec::new(), notes: Vec::new() };
        let value = reader.read(words, text.len()).map_err(|flaw| flaw.error(&text).with_object(script.name()))?;
        Ok(Parsed { value, notes: findings(reader.notes, &text) })
    }

    /// The link towards the outside: `netdev=`; else, with `vifnum=N`, `eth<N>`; else the device of the default route, if the
    /// caller knows one; else `eth0`.
    pub fn netdev(&self, generation: Generation, default_route: Option<IfName>) -> IfName {
        let numbered = self.vifnum.filter(|_| generation == Generation::Netloop).map(|n| numbered("eth", n));
        self.netdev.or(numbered).or(default_route).unwrap_or_else(|| numbered_0("eth"))
    }

    /// The bridge that `network-bridge` makes; `None` for `bridge=null`. Where it is left out, the first generation calls it
    /// `xenbr<N>` (`vifnum=`, else the number of the default route's device, else 0), and the second as its uplink.
    pub fn bridge(&self, generation: Generation, default_route: Option<IfName>) -> Option<IfName> {
        match (self.bridge, generation) {
            (Some(LegacyBridge::Null), _) => None,
            (Some(LegacyBridge::Named(name)), _) => Some(name),
            (None, Generation::Renaming) => Some(self.netdev(generation, default_route)),
            (None, Generation::Netloop) => {
                let number = self.vifnum.or_else(|| number_of(default_route?)).unwrap_or(0);
                Some(numbered("xenbr", number))
            }
        }
    }
}

impl LegacyCall {
    /// The network that the call makes, with the defaults of a generation; `None` for `bridge=null`. It is called as its bridge,
    /// or `nat`, or `routed`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where the bridge takes the uplink's name, and that is too long with the `p` before it that the uplink
    /// has to have then, or where a network cannot be called so.
    pub fn network(&self, generation: Generation, default_route: Option<IfName>) -> Result<Option<Network>, Error> {
        let outside = self.netdev.map_or(Egress::DefaultRoute, Egress::Link);
        Some(match self.script {
            NetworkScript::Bridge => {
                let Some(bridge) = self.bridge(generation, default_route) else { return Ok(None) };
                let uplink = self.netdev(generation, default_route);
                let mut network = BridgeNetwork::new(BridgeSpec::new(bridge));
                network.uplink = Some(uplink);
                if bridge == uplink {
                    network.uplink_name = Some(renamed(uplink)?);
                }
                Network::new(bridge, NetworkMode::Bridge(network))
            }
            NetworkScript::Nat => {
                let mut network = NatNetwork::new();
                network.egress = outside;
                if self.dhcp == Some(true) {
                    network.services.dhcp = true;
                    // What the script wrote into the server's file.
                    let subnet = Ipv4Network::new(Ipv4Addr::new(10, 0, 0, 0), 16);
                    network.subnets.extend(subnet.ok().and_then(|n| Subnet::new(n.into()).ok()));
                }
                Network::new(IfName::literal("nat"), NetworkMode::Nat(network))
            }
            NetworkScript::Route => {
                let mut network = RoutedNetwork::new();
                network.uplink = outside;
                network.proxy_arp = true;
                Network::new(IfName::literal("routed"), NetworkMode::Routed(network))
            }
        })
        .transpose()
    }
}

/// What the uplink is called while its bridge has its name.
fn renamed(uplink: IfName) -> Result<IfName, Error> {
    let name = format!("p{uplink}");
    IfName::check(&name).map_err(|rule| {
        let message = format!("{uplink} cannot be called {name} while its bridge has its name: {rule}");
        Error::new(ErrorKind::Invalid, message)
            .with_object(uplink.as_str())
            .with_hint("name the bridge otherwise: bridge=xenbr0")
    })
}

fn numbered(prefix: &str, number: u32) -> IfName {
    // At most five letters and ten digits.
    IfName::literal(&format!("{prefix}{number}"))
}

fn numbered_0(prefix: &str) -> IfName {
    numbered(prefix, 0)
}

/// The number of a link that is called by letters and a number, as `eth1`.
fn number_of(link: IfName) -> Option<u32> {
    let digits = link.as_str().trim_start_matches(|c: char| c.is_ascii_alphabetic());
    decimal(digits.as_bytes()).and_then(|n| u32::try_from(n).ok())
}

#[derive(Default)]
struct Found {
    verb: Option<LegacyVerb>,
    netdev: Option<IfName>,
    bridge: Option<LegacyBridge>,
    vifnum: Option<u32>,
    antispoof: Option<bool>,
    dhcp: Option<bool>,
}

struct Reader<'a> {
    script: NetworkScript,
    found: Found,
    /// Options that were given, and where.
    seen: Vec<(&'a str, Range<usize>)>,
    notes: Vec<Flaw>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, words: impl Iterator<Item = (&'a str, usize)>, end: usize) -> Result<LegacyCall, Box<Flaw>> {
        for (word, at) in words {
            let place = at..at + word.len();
            match word.split_once('=') {
                None if word.is_empty() => {
                    let rule = "two blanks after one another have an empty argument between them";
                    self.notes.push(*Flaw::new(place, "an empty argument", rule).hint("write one blank"));
                }
                None => self.verb(word, place)?,
                Some((name, value)) => self.option(name, value, at)?,
            }
        }
        let script = self.script;
        let Some(verb) = self.found.verb else {
            let flaw = Flaw::new(end..end, format!("{script} is not told what to do"), "a verb: start, stop or status");
            return Err(flaw.hint("write start"));
        };
        if script == NetworkScript::Route && verb != LegacyVerb::Start {
            let rule = "network-route does the same for every verb, and takes nothing back";
            let flaw = Flaw::new(0..end, format!("{} of network-route", verb.name()), rule);
            self.notes.push(*flaw.hint("xennet network stop puts back what was there before the start"));
        }
        let Found { netdev, bridge, vifnum, antispoof, dhcp, .. } = self.found;
        Ok(LegacyCall { script, verb, netdev, bridge, vifnum, antispoof, dhcp })
    }

    fn verb(&mut self, word: &str, place: Range<usize>) -> Result<(), Box<Flaw>> {
        if let Some(first) = self.found.verb {
            let message = format!("{} is a second word without =", quoted(word));
            let rule = format!("the verb is {} already, and the script ignores all others", first.name());
            let flaw = Flaw::new(place, message, rule);
            self.notes.push(*match self.script.options().contains(&word) {
                true => flaw.hint(format!("write {word}=VALUE without blanks")),
                false => flaw.hint("remove it, or write it as NAME=VALUE"),
            });
            return Ok(());
        }
        let verb = LegacyVerb::ALL.iter().find(|verb| verb.name() == word).ok_or_else(|| {
            let rule = "the first word without = is the verb: start, stop or status";
            let flaw = Flaw::new(place, format!("{} is no verb", quoted(word)), rule);
            match self.script.options().contains(&word) {
                true => flaw.hint(format!("write {word}=VALUE without blanks")),
                false => flaw.hint("write start"),
            }
        })?;
        self.found.verb = Some(*verb);
        Ok(())
    }

    fn option(&mut self, name: &'a str, value: &str, at: usize) -> Result<(), Box<Flaw>> {
        let place = at..at + name.len() + 1 + value.len();
        let value_place = at + name.len() + 1..place.end;
        if !self.script.options().contains(&name) {
            return self.unknown(name, at..at + name.len());
        }
        if let Some((_, first)) = self.seen.iter().find(|(seen, _)| *seen == name) {
            let flaw = Flaw::new(place.clone(), format!("{name}= is given twice"), "the last one counts");
            self.notes.push(*flaw.other(first.clone(), "the first is here").hint("remove one of them"));
        }
        self.seen.push((name, place.clone()));
        let given = Given { script: self.script, name, value, place, value_place };
        if value.is_empty() {
            let rule = "an empty value is as good as none";
            self.notes.push(*Flaw::new(given.place.clone(), format!("{name}= has no value"), rule).hint("remove it"));
        }
        let found = &mut self.found;
        match name {
            "netdev" => found.netdev = given.read(Given::link)?,
            "bridge" => {
                found.bridge = given.read(|given| match given.value {
                    "null" => Ok(LegacyBridge::Null),
                    _ => given.link().map(LegacyBridge::Named),
                })?;
            }
            "vifnum" => found.vifnum = given.read(Given::number)?,
            "antispoof" => found.antispoof = given.yes_or_no(&mut self.notes),
            _ => found.dhcp = given.yes_or_no(&mut self.notes),
        }
        self.notes.extend(given.remark());
        Ok(())
    }

    /// An option that the script sets and never looks at. A misspelled one is an error: the script would take its default.
    fn unknown(&mut self, name: &str, place: Range<usize>) -> Result<(), Box<Flaw>> {
        let (script, known) = (self.script, self.script.options());
        let message = format!("{script} does not know the option {}", quoted(name));
        let options = known.join(", ");
        let nearest = known.iter().map(|k| (distance(&name.to_ascii_lowercase(), k), *k)).min();
        let elsewhere = NetworkScript::ALL.iter().find(|other| other.options().contains(&name));
        if let (None, Some((0..=2, k))) = (elsewhere, nearest) {
            let flaw = Flaw::new(place, message, "this option is unknown");
            return Err(flaw.hint(format!("did you mean {k}? The options are {options}")));
        }
        let flaw = Flaw::new(place, message, "the script ignores it");
        self.notes.push(*match elsewhere {
            Some(other) => flaw.hint(format!("it is one of {other}'s; here the options are {options}")),
            None => flaw.hint(format!("the options are {options}")),
        });
        Ok(())
    }
}

/// An option as it was given.
struct Given<'a> {
    script: NetworkScript,
    name: &'a str,
    value: &'a str,
    place: Range<usize>,
    value_place: Range<usize>,
}

impl Given<'_> {
    /// The value, if there is one.
    fn read<T>(&self, read: impl FnOnce(&Self) -> Result<T, Box<Flaw>>) -> Result<Option<T>, Box<Flaw>> {
        if self.value.is_empty() { Ok(None) } else { read(self).map(Some) }
    }

    fn wrong(&self, rule: impl Into<String>) -> Box<Flaw> {
        Flaw::new(self.value_place.clone(), format!("{} cannot be {}", self.name, quoted(self.value)), rule)
    }

    fn link(&self) -> Result<IfName, Box<Flaw>> {
        IfName::check(self.value)
            .map_err(|rule| self.wrong(rule.to_string()).hint(format!("name a link: {}=eth0", self.name)))
    }

    fn number(&self) -> Result<u32, Box<Flaw>> {
        let number = decimal(self.value.as_bytes()).and_then(|n| u32::try_from(n).ok());
        number.ok_or_else(|| self.wrong("a number, as in eth0's 0").hint(format!("write {}=0", self.name)))
    }

    /// Whether it is `yes`. The scripts take anything else for no.
    fn yes_or_no(&self, notes: &mut Vec<Flaw>) -> Option<bool> {
        if !matches!(self.value, "" | "yes" | "no") {
            let message = format!("{} has the value {}", self.name, quoted(self.value));
            let flaw =
                Flaw::new(self.value_place.clone(), message, "only yes is yes; the script takes all else for no");
            notes.push(*flaw.hint(format!("write {0}=yes, or {0}=no", self.name)));
        }
        (!self.value.is_empty()).then_some(self.value == "yes")
    }

    /// What the script did with this option that xennet does otherwise.
    fn remark(&self) -> Option<Flaw> {
        let told =
            |message: &str, rule: &str, hint: &str| Some(*Flaw::new(self.place.clone(), message, rule).hint(hint));
        match (self.script, self.name, self.value) {
            (NetworkScript::Bridge, "antispoof", "yes") => told(
                "antispoof=yes emptied the FORWARD chain of iptables and left it closed",
                "the administrator's rules went with it, stop did not put them back, and guests could still forge IPv6, ARP and \
                 each other's addresses",
                "xennet leaves FORWARD alone: write ip= in each vif spec, and the guest is held to it; bind_mac = true in \
                 hotplug.toml holds all others to their MACs",
            ),
            (NetworkScript::Nat, "antispoof", "yes") => told(
                "antispoof=yes did nothing",
                "network-nat takes the option, and has no rules for it",
                "write ip= in each vif spec: xennet holds the guest to it",
            ),
            (NetworkScript::Bridge, "vifnum", value) if !value.is_empty() => told(
                "vifnum= numbers a loopback pair that there is none of",
                "it came with Xen 3.0 and 3.1 and is ignored from 3.2 on; dom0's addresses are on the bridge now",
                "name what it stood for: netdev= and bridge=",
            ),
            (NetworkScript::Bridge, "bridge", "null") => told(
                "bridge=null does nothing",
                "no bridge is made, whatever else is given",
                "remove the call, or name a bridge",
            ),
            (NetworkScript::Nat, "dhcp", "yes") => told(
                "dhcp=yes wrote a line into dhcpd.conf",
                "one subnet, 10.0.0.0 with the netmask 255.255.0.0, in the system's own file, and the server was restarted",
                "write subnets and dhcp = true in networks.toml: xennet has a server of its own for a network, and edits no file \
                 of others",
            ),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
