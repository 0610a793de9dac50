//! DHCP and names for the guests of NAT and routed networks: a dnsmasq of each network's own.
//!
//! Everything that a dnsmasq is told stands in files below `<state dir>-services/NAME.d/`: the state directory is closed to the
//! user that root's dnsmasq becomes (any other user's has its files in `<state dir>/networks/NAME.d/`). It reads nothing of the
//! administrator's but, with `dns = true`, who is asked for names (`/etc/resolv.conf`). [`start`] writes them and starts it,
//! [`stop`] ends exactly what was started. [`guest`] and [`no_guest`] say who comes and goes: each is a small file or two,
//! which a running dnsmasq notices by itself, and which the next one finds.
//!
//! # What must be there
//!
//! dnsmasq tells networks apart by dom0's addresses, never by links' names (`vifname=` changes those):
//!
//! * a network with a private bridge: the gateways with their prefix lengths on the bridge;
//! * a vif a guest: each subnet's gateway on every guest's link (and on its emulated twin's). For IPv4 as a /32 or any
//!   other length; for IPv6 with **the subnet's** length and without a connected route (`ip -6 address add fd00:1::1/64 dev
//!   vif1.0 noprefixroute nodad`), and a link-local address beside it, which router advertisements come from. dnsmasq
//!   overlooks a longer prefix than the subnet's.
//!
//! # How many
//!
//! On a private bridge one dnsmasq does all; it hears that bridge alone. With a vif a guest one does DHCP and router
//! advertisements ([`Part::Dhcp`]), and, where guests may ask for names, another one does that ([`Part::Dns`]): DHCP is
//! heard on links that are not yet known, except the one towards the outside, and names are answered at the gateways'
//! addresses alone, so that several networks and the host's own resolver do not get into each other's way. Requests of guests
//! that a network does not know are ignored by it, since they are another's.
//!
//! # What guests get
//!
//! The address of their vif line, by their MAC; the gateway as router; with `dns = true` the gateway as resolver, else none
//! (dom0's own is often one that only dom0 reaches); domain and MTU where the network has them. In a network with a private
//! bridge, a guest that nobody named an address for gets one of the `range`. What a guest calls itself is not believed. IPv6
//! addresses come by DHCPv6 alone: one that a guest makes itself would have no route, or be dropped as not its own.
//!
//! # What dnsmasq does not do
//!
//! * Router advertisements that nobody asked for are sent on one link of a network only. On a private bridge that is all
//!   there is. With a vif a guest every guest is answered when it asks, as it does when its link comes up, and then uses the
//!   router for two and a half hours, the longest time that can be said; one that does not ask again loses it then. Lasting
//!   IPv6 guests belong on a private bridge.
//! * With a vif a guest names are answered at the gateway's address on whichever link the question comes in: a station
//!   outside that has a route to it has to be kept from it by rules. On a private bridge dnsmasq looks at the link, too.
//! * It forgets a lease only when the guest gives it back, or by being started anew (see [`guest`]).

#[cfg(test)]
pub(crate) mod again;
mod daemon;
mod files;
mod guests;
mod hearing;
mod process;
mod program;
mod text;

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, ErrorKind};
use crate::exec::StateDir;
use crate::model::flaw::{beginning, quoted};
use crate::model::{IfName, MacAddr, Network, VifId, is_label};

pub use daemon::{pause, remark, start, status, stop};
pub use guests::{guest, no_guest};
pub use text::{config, names};

/// A name of one word that a computer can have: letters, digits and `-`, 63 at the most, in lower case.
///
/// ```
/// use xennet_core::services::HostName;
/// assert_eq!("Web-1".parse::<HostName>()?.as_str(), "web-1");
/// assert!("web.guests.example".parse::<HostName>().is_err(), "the domain is the network's");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

impl HostName {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HostName {
    type Err = Error;

    fn from_str(given: &str) -> Result<Self, Error> {
        // Digits are a time to dnsmasq, with a unit or without one, and an address to resolvers.
        let number = given.strip_suffix(|c: char| "smhdwSMHDW".contains(c)).unwrap_or(given);
        let is_time = given.contains(|c: char| c.is_ascii_digit()) && number.bytes().all(|b| b.is_ascii_digit());
        if is_label(given) && !is_time && !text::RESERVED.iter().any(|word| given.eq_ignore_ascii_case(word)) {
            return Ok(HostName(given.to_ascii_lowercase()));
        }
        let rule = "one word of letters, digits and - with a letter or digit at either end, 63 at the most, which is not a time \
                    (5, 12h), ignore or infinite";
        Err(Error::new(ErrorKind::Invalid, format!("{} cannot be a guest's name: {rule}", quoted(given)))
            .with_object(beginning(given).escape_debug().to_string())
            .with_hint("leave the name out: the guest gets its addresses all the same"))
    }
}

/// One vif of a guest as DHCP sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// The guest's own address on the wire: what it is known by.
    pub mac: MacAddr,
    /// Its addresses. Those in no subnet of the network are left out; of IPv4 it gets the first.
    pub addresses: Vec<IpAddr>,
    /// Its name, under which dom0 knows it where the network has `dns = true`.
    pub name: Option<HostName>,
}

impl Client {
    /// A client without addresses and name: it gets what is free.
    pub const fn new(mac: MacAddr) -> Self {
        Client { mac, addresses: Vec::new(), name: None }
    }
}

setters! { Client {
    with_addresses: addresses = Vec<IpAddr>;
    with_name: name = impl Into<Option<HostName>>;
} }

/// Which of a network's dnsmasqs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Part {
    /// All services of a network with a private bridge.
    Bridge,
    /// DHCP and router advertisements where each guest has a link of its own.
    Dhcp,
    /// Names where each guest has a link of its own.
    Dns,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 3] = [Part::Bridge, Part::Dhcp, Part::Dns];

    /// What its files are called.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Bridge => "bridge",
            Part::Dhcp => "dhcp",
            Part::Dns => "dns",
        }
    }
}

/// What [`start`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The network has no services: nothing runs now.
    NotWanted,
    /// All was running as it should.
    Unchanged,
    /// Something was started that did not run.
    Started,
    /// Something ran that was to run otherwise or not at all, and does so now.
    Restarted,
}

/// One dnsmasq of a network, and whether it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Daemon {
    /// Which.
    pub part: Part,
    /// Its process; `None` if it has ended since it was started.
    pub pid: Option<u32>,
    /// Why it cannot answer at a gateway's address although it runs, in words.
    pub unheard: Option<String>,
}

/// Whom a dnsmasq runs as, once it has what only root may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Account {
    /// The user of this name.
    User(&'static str),
    /// Root, where no other user could read its files, or where there is no other (a user namespace).
    Root,
    /// As it likes, or as whoever starts it.
    Default,
}

/// Where a network's files are, and whom they are read by: what [`config`] needs besides the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Place<'a> {
    /// The network's directory.
    pub dir: &'a Path,
    /// Whom a dnsmasq runs as.
    pub account: Account,
}

impl<'a> Place<'a> {
    /// Files in a directory, for daemons that run as this account.
    pub const fn new(dir: &'a Path, account: Account) -> Self {
        Place { dir, account }
    }
}

impl Place<'_> {
    /// The configuration of a part.
    pub fn config(&self, part: Part) -> PathBuf {
        self.dir.join(format!("{}.conf", part.name()))
    }

    /// Where a part writes its number.
    pub fn pid(&self, part: Part) -> PathBuf {
        self.dir.join(format!("{}.pid", part.name()))
    }

    /// A file a guest: MAC and addresses, for DHCP.
    pub fn hosts(&self) -> PathBuf {
        self.dir.join("hosts")
    }

    /// A file a guest: addresses and names.
    pub fn names(&self) -> PathBuf {
        self.dir.join("names")
    }

    /// Who was given which address.
    pub fn leases(&self) -> PathBuf {
        self.dir.join("leases")
    }
}

/// Whether a network has any service, and so anything to start.
pub fn wanted(network: &Network) -> bool {
    network.services().is_some_and(|s| s.dhcp || s.dns) && !network.subnets().is_empty()
}

/// The network's directory.
fn place_of<'a>(path: &'a Path, account: Account) -> Place<'a> {
    Place { dir: path, account }
}

/// The name of a guest's files.
fn file_of(id: VifId) -> String {
    id.vif_name().to_string()
}

/// The directory of a network's services.
fn dir_of(dir: &StateDir, network: &IfName) -> PathBuf {
    dir.network_dir(network)
}

#[cfg(test)]
mod tests;
