//! Where the outside is: the link that leads there, and this domain's address on it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Host;
use crate::error::Error;
use crate::model::vif::is_single;
use crate::model::{IfName, NetworkMode, ResolvedNetwork, Started, apart, overlap};
use crate::snapshot::{Address, Family, Part, Route, RouteKind, Scope};

impl Host {
    /// The link of the default route with the lowest metric, of IPv4, or else of IPv6.
    ///
    /// # Errors
    /// As [`Backend::observe`](crate::backend::Backend::observe).
    pub fn default_route_link(&mut self) -> Result<Option<IfName>, Error> {
        for all in ["0.0.0.0/0", "::/0"] {
            let Ok(all) = all.parse::<IpNetwork>() else { continue };
            let seen = self.look(&Scope::none().with(Part::Route(all)))?;
            // One that refuses leads nowhere, though the kernel keeps those of IPv6 at loopback.
            let usable = |r: &&Route| {
                r.kind == RouteKind::Unicast && r.destination.prefix() == 0 && r.destination.is_ipv4() == all.is_ipv4()
            };
            let best = seen.routes.iter().filter(usable).min_by_key(|r| r.metric);
            if let Some(link) = best.and_then(|r| r.link.or_else(|| r.next_hops.first().and_then(|h| h.link))) {
                return Ok(Some(link));
            }
        }
        Ok(None)
    }

    /// The uplink that a started network's bridge has taken over from, where this link is such a bridge; any other link is its
    /// own.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`](crate::ErrorKind::StateUnusable).
    pub fn uplink_of(&mut self, link: Option<IfName>) -> Result<Option<IfName>, Error> {
        let Some(link) = link else { return Ok(None) };
        let uplink = |s: &Started| match s.network.mode() {
            NetworkMode::Bridge(b) if b.bridge.name() == link => b.uplink,
            _ => None,
        };
        Ok(self.records.all_started()?.iter().find_map(uplink).or(Some(link)))
    }

    /// The first address of a link that others can reach: no secondary or temporary one, none that is not to be used for anything
    /// new, and none for the link alone.
    pub(crate) fn first_address(&mut self, link: &IfName, family: Family) -> Result<Option<IpAddr>, Error> {
        let seen = self.look(&Scope::none().with(Part::Addresses(*link)))?;
        let good = |a: &&Address| {
            let deprecated = a.lifetime.is_some_and(|(_, preferred)| preferred == 0);
            Family::of(&a.address.ip()) == family && !a.secondary && a.scope == 0 && !deprecated
        };
        Ok(seen.addresses_of(link).filter(good).min_by_key(|a| seen.hidden.position(a)).map(|a| a.address.ip()))
    }

    /// The networks of the LAN behind a network's egress, which its guests do not reach: those that this domain has addresses in there, and those
    /// that it reaches there without a router. None where the guests may reach them.
    pub(super) fn closed_lan(&mut self, started: &ResolvedNetwork) -> Result<Vec<IpNetwork>, Error> {
        let Some(outside) = started.outside.filter(|_| !started.network.lan().is_open()) else {
            return Ok(Vec::new());
        };
        let seen = self.look(&Scope::none().with(Part::Addresses(outside)).with(Part::Routes(outside)))?;
        let own = seen.addresses_of(&outside).filter_map(|a| match a.peer {
            Some(peer) => Some(IpNetwork::from(peer)),
            None => Some(a.address).filter(|n| !is_single(n)),
        });
        let direct = seen.routes.iter().filter(|r| {
            r.link == Some(outside) && r.gateway.is_none() && r.kind == RouteKind::Unicast && r.destination.prefix() > 0
        });
        // Nobody forwards to link-local addresses.
        let is_reached = |n: &IpNetwork| match n.ip() {
            IpAddr::V4(a) => !a.is_link_local(),
            IpAddr::V6(a) => !a.is_unicast_link_local() && !a.is_multicast(),
        };
        Ok(apart(own.chain(direct.map(|r| r.destination)).filter(is_reached)))
    }

    /// The same start, with the LAN as it is by now.
    pub(super) fn with_lan(&mut self, started: ResolvedNetwork) -> Result<ResolvedNetwork, Error> {
        let lan = self.closed_lan(&started)?;
        if lan == started.lan {
            return Ok(started);
        }
        let former_lan = started.lan.iter().filter(|n| !lan.contains(n)).copied().collect();
        Ok(ResolvedNetwork { lan, former_lan, ..started })
    }

    /// The guests' subnets that the outside has, too, and nobody answers for. Each side takes the other's stations for its own
    /// neighbours then, and asks for them on the wrong link.
    pub(super) fn shared_subnets(&mut self, started: &ResolvedNetwork) -> Result<Vec<String>, Error> {
        let Some(outside) = started.outside else { return Ok(Vec::new()) };
        let answers = |family: Family| match (started.network.mode(), family) {
            (NetworkMode::Routed(r), Family::Ipv4) => r.proxy_arp,
            (NetworkMode::Routed(r), Family::Ipv6) => r.proxy_ndp,
            _ => false,
        };
        let seen = self.look(&Scope::none().with(Part::Addresses(outside)))?;
        let mut notes = Vec::new();
        for subnet in started.network.subnets().iter().map(|s| s.network()) {
            let both = |there: &&Address| overlap(there.address, subnet);
            if let Some(there) = seen.addresses_of(&outside).find(both).filter(|_| !answers(Family::of(&subnet.ip()))) {
                notes.push(format!(
                    "network {}: {subnet} of its guests and {} of {outside} overlap: guests and what is there do not find each other; \
                     give the guests a subnet of their own",
                    started.network.name(), there.address
                ));
            }
        }
        Ok(notes)
    }
}

/// That nothing is closed to guests yet that are not to reach the LAN.
pub(super) fn no_lan(started: &ResolvedNetwork) -> Option<String> {
    let outside = started.outside.filter(|_| !started.network.lan().is_open() && started.lan.is_empty())?;
    Some(format!(
        "network {}: {outside} has no addresses, so nobody knows the LAN that is closed to its guests; start the network again when it has some",
        started.network.name()
    ))
}
