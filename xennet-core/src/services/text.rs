//! What stands in a dnsmasq's files. Without I/O.
//!
//! dnsmasq has no quoting that holds everywhere, so nothing is quoted: what is not a number, an address or a checked word is
//! refused.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use ipnetwork::IpNetwork;

use super::{Account, Client, Part, Place};
use crate::error::{Error, ErrorKind};
use crate::model::{AddressRange, GuestLinks, IfName, Mtu, Network, NetworkMode, Services, Started, Subnet};

/// Words with a meaning of their own where a guest's name stands.
pub(super) const RESERVED: [&str; 2] = ["ignore", "infinite"];
/// How long an address is a guest's without asking again. Addresses do not change, so this is the time that DHCP may be away.
const LEASE: &str = "12h";
/// dnsmasq's own limit of 1,000 is lower than the number of guests that a host can have.
const LEASES: u32 = 65_536;
/// How long guests use a router that they do not hear of again: as long as dnsmasq can say. With a vif a guest it repeats
/// its advertisements on one of the links only; on all it answers who asks.
const ROUTER_LIFETIME: u32 = 9_000;
/// How often advertisements are repeated, in seconds: dnsmasq's own number.
const ROUTER_INTERVAL: u32 = 600;

/// The configurations of a network's dnsmasqs; none where it has no services.
///
/// # Errors
/// [`ErrorKind::Unsupported`] for an IPv6 subnet larger than a /64, of which dnsmasq can give no addresses;
/// [`ErrorKind::Invalid`] for IPv6 with an MTU below 1280, and for a directory, a link or a domain whose name cannot stand in a configuration of dnsmasq.
pub fn config(started: &Started, place: &Place<'_>) -> Result<Vec<(Part, String)>, Error> {
    let Some(services) = started.network.services().filter(|_| super::wanted(&started.network)) else {
        return Ok(Vec::new());
    };
    let writer = Writer { started, services, place };
    let bridge = match started.network.mode() {
        NetworkMode::Nat(nat) => match &nat.guests {
            GuestLinks::Bridge(bridge) => Some(bridge.name()),
            GuestLinks::PerVif => None,
        },
        _ => None,
    };
    let mut all = Vec::new();
    match bridge {
        Some(bridge) => {
            let bridge = word(&bridge)?;
            let listen = format!("interface={bridge}\nexcept-interface=lo\n");
            let mut text = writer.head(Part::Bridge)?;
            text.push_str(&listen);
            text.push_str(&writer.dns()?);
            if services.dhcp {
                text.push_str(&writer.dhcp(false)?);
            }
            all.push((Part::Bridge, text));
        }
        None => {
            if services.dhcp {
                let mut text = writer.head(Part::Dhcp)?;
                text.push_str("port=0\ninterface=*\nexcept-interface=lo\n");
                if let Some(outside) = &started.outside {
                    let _ = writeln!(text, "except-interface={}", word(outside)?);
                }
                text.push_str(&writer.dhcp(true)?);
                all.push((Part::Dhcp, text));
            }
            if services.dns {
                let mut text = writer.head(Part::Dns)?;
                for subnet in started.network.subnets() {
                    let _ = writeln!(text, "listen-address={}", subnet.gateway());
                }
                text.push_str(&writer.dns()?);
                all.push((Part::Dns, text));
            }
        }
    }
    Ok(all)
}

/// The addresses at which a configuration tells a dnsmasq to answer questions for names. With a private bridge there are none: it
/// answers on the bridge.
pub(super) fn listens_at(config: &str) -> impl Iterator<Item = IpAddr> {
    config.lines().filter_map(|line| line.strip_prefix("listen-address=")?.parse().ok())
}

/// The line of a guest in the DHCP server's directory of hosts; `None` where there is nothing to say.
pub(crate) fn host_line(started: &Started, client: &Client) -> Option<String> {
    if !super::wanted(&started.network) || !started.network.services().is_some_and(|s| s.dhcp) {
        return None;
    }
    let mut line = client.mac.to_string();
    let inside = addresses(&started.network, client);
    // A second IPv4 address would replace the first.
    if let Some(address) = inside.iter().find(|a| a.is_ipv4()) {
        let _ = write!(line, ",{address}");
    }
    for address in inside.iter().filter(|a| a.is_ipv6()) {
        let _ = write!(line, ",[{address}]");
    }
    if let Some(name) = &client.name {
        let _ = write!(line, ",{name}");
    }
    (!inside.is_empty() || client.name.is_some()).then(|| line + "\n")
}

/// The lines of a guest in the name server's directory; `None` where it has no name or no addresses, or the network no names.
pub fn names(started: &Started, client: &Client) -> Option<String> {
    let services = started.network.services().filter(|s| s.dns && super::wanted(&started.network))?;
    let name = client.name.as_ref()?;
    // The first name of an address is what it is called when somebody asks for the address.
    let full = services.domain.as_ref().map(|domain| format!("{name}.{domain} "));
    let full = full.unwrap_or_default();
    let lines: String =
        addresses(&started.network, client).iter().map(|address| format!("{address} {full}{name}\n")).collect();
    (!lines.is_empty()).then_some(lines)
}

/// The addresses of a guest that are in the network.
pub(super) fn addresses(network: &Network, client: &Client) -> Vec<IpAddr> {
    client.addresses.iter().copied().filter(|a| network.subnet_of(*a).is_some()).collect()
}

struct Writer<'a> {
    started: &'a Started,
    services: &'a Services,
    place: &'a Place<'a>,
}

impl Writer<'_> {
    /// What all have.
    fn head(&self, part: Part) -> Result<String, Error> {
        let mut text =
            format!("# Network {}: written by xennet, and written anew when it starts.\n", self.started.network.name());
        let _ = writeln!(text, "pid-file={}", path(&self.place.pid(part))?);
        match self.place.account {
            Account::User(name) => {
                let _ = writeln!(text, "user={name}");
            }
            // Without a group none is changed to, which is forbidden in a user namespace.
            Account::Root => text.push_str("user=root\ngroup=\n"),
            Account::Default => {}
        }
        // Sockets for the addresses that are there, and for those that come.
        text.push_str("bind-dynamic\n");
        Ok(text)
    }

    /// Names, or that there are none.
    fn dns(&self) -> Result<String, Error> {
        if !self.services.dns {
            return Ok("port=0\n".into());
        }
        let mut text = String::from("no-hosts\ndomain-needed\n");
        let _ = writeln!(text, "hostsdir={}", path(&self.place.names())?);
        if let Some(domain) = &self.services.domain {
            // Nobody outside is asked for guests.
            let _ = writeln!(text, "local=/{domain}/");
        }
        Ok(text)
    }

    /// DHCP, with or without a link for each guest.
    fn dhcp(&self, per_vif: bool) -> Result<String, Error> {
        let mut text = String::from("dhcp-authoritative\nno-ping\n");
        let _ = writeln!(text, "dhcp-lease-max={LEASES}");
        let _ = writeln!(text, "dhcp-leasefile={}", path(&self.place.leases())?);
        let _ = writeln!(text, "dhcp-hostsdir={}", path(&self.place.hosts())?);
        // Else one guest could be called as another, or as a proxy that everybody looks for.
        text.push_str("dhcp-ignore-names\n");
        let ranges = if per_vif { &[] } else { self.services.range.as_slice() };
        if ranges.is_empty() {
            // Somebody else's guest, who is answered by somebody else.
            text.push_str("dhcp-ignore=tag:!known\n");
        }
        if let Some(domain) = &self.services.domain {
            let _ = writeln!(text, "domain={domain}");
        }
        let subnets = self.started.network.subnets();
        let mtu = mtu(&self.started.network);
        for (number, subnet) in subnets.iter().enumerate() {
            let ranges = ranges.iter().filter(|range| subnet.network().contains(range.first()));
            self.subnet(&mut text, number, subnet, ranges, per_vif)?;
            if let (IpNetwork::V4(_), Some(mtu)) = (subnet.network(), mtu) {
                let _ = writeln!(text, "dhcp-option=tag:s{number},option:mtu,{}", mtu.get());
            }
        }
        if subnets.iter().any(|s| s.network().is_ipv6()) {
            if let Some(domain) = &self.services.domain {
                let _ = writeln!(text, "dhcp-option=option6:domain-search,{domain}");
            }
            if let Some(small) = mtu.filter(|m| m.get() < Mtu::IPV6_MIN) {
                let name = &self.started.network.name();
                let rule = format!("links with IPv6 have {} bytes at least", Mtu::IPV6_MIN);
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("network {name}: no IPv6 with mtu = {}: {rule}", small.get()),
                )
                .with_object(name.as_str())
                .with_hint(format!("write mtu = {} or more, or leave the IPv6 subnets out", Mtu::IPV6_MIN)));
            }
            text.push_str("enable-ra\n");
            let mtu = mtu.map(|m| format!("mtu:{},", m.get())).unwrap_or_default();
            if per_vif {
                let _ = writeln!(text, "ra-param=*,{mtu}{ROUTER_INTERVAL},{ROUTER_LIFETIME}");
            } else if !mtu.is_empty() {
                let _ = writeln!(text, "ra-param=*,{mtu}{ROUTER_INTERVAL}");
            }
        }
        Ok(text)
    }

    fn subnet<'r>(
        &self,
        text: &mut String,
        number: usize,
        subnet: &Subnet,
        ranges: impl Iterator<Item = &'r AddressRange>,
        per_vif: bool,
    ) -> Result<(), Error> {
        let network = subnet.network().network();
        let (option, gateway) = match subnet.network() {
            IpNetwork::V4(_) => ("option", subnet.gateway().to_string()),
            IpNetwork::V6(_) => ("option6", format!("[{}]", subnet.gateway())),
        };
        let length = match subnet.network() {
            IpNetwork::V4(n) => n.mask().to_string(),
            IpNetwork::V6(n) if n.prefix() < 64 => {
                let message = format!("network {}: no DHCP for {n}", self.started.network.name());
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{message}: dnsmasq knows IPv6 subnets of /64 and smaller ones"),
                )
                .with_object(n.to_string())
                .with_hint(format!("give a part of it as the subnet, for example {}/64", n.network())));
            }
            IpNetwork::V6(n) => n.prefix().to_string(),
        };
        // With a link for each guest, all that is sent goes through dom0: no other guest is on the link.
        let off_link = if per_vif && subnet.network().is_ipv6() { ",off-link" } else { "" };
        let mut dynamic = false;
        for range in ranges {
            dynamic = true;
            let (first, last) = (range.first(), range.last());
            let _ = writeln!(text, "dhcp-range=set:s{number},{first},{last},{length},{LEASE}");
        }
        if !dynamic {
            let _ = writeln!(text, "dhcp-range=set:s{number},{network},static{off_link},{length},{LEASE}");
        }
        if per_vif && subnet.network().is_ipv4() {
            // Xen's form of a routed guest: dom0 has the uplink's address on the vif, and maybe none of the subnet.
            for source in self.started.source.iter().filter(|a| a.is_ipv4() && !subnet.network().contains(**a)) {
                let _ = writeln!(text, "shared-network={source},{network}");
            }
        }
        if subnet.network().is_ipv4() {
            let _ = writeln!(text, "dhcp-option=tag:s{number},option:router,{gateway}");
        }
        // An empty option keeps dnsmasq from naming itself.
        let dns = if self.services.dns { format!(",{gateway}") } else { String::new() };
        let _ = writeln!(text, "dhcp-option=tag:s{number},{option}:dns-server{dns}");
        Ok(())
    }
}

fn mtu(network: &Network) -> Option<Mtu> {
    match network.mode() {
        NetworkMode::Bridge(_) => None,
        NetworkMode::Nat(nat) => nat.mtu,
        NetworkMode::Routed(routed) => routed.mtu,
    }
}

/// A link's name, if it means itself in a configuration: commas, stars and number signs do not.
fn word(name: &IfName) -> Result<&str, Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"._-+@=~".contains(&b);
    if name.as_str().bytes().all(good) {
        Ok(name.as_str())
    } else {
        Err(refused("link", name.as_str(), "letters, digits and ._-+@=~"))
    }
}

/// A path, if it means itself in a configuration.
fn path(path: &Path) -> Result<&str, Error> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@=~:".contains(&b);
    path.to_str().filter(|text| text.starts_with('/') && text.bytes().all(good)).ok_or_else(|| {
        let rule = "an absolute path of letters, digits and /._-+@=~:";
        refused("path", &path.to_string_lossy(), rule).with_hint("choose another state directory")
    })
}

fn refused(what: &str, given: &str, rule: &str) -> Error {
    let given = given.escape_debug();
    Error::new(ErrorKind::Invalid, format!("{what} \"{given}\" cannot stand in a configuration of dnsmasq: {rule}"))
        .with_object(given.to_string())
        .with_hint("give it another name")
}
