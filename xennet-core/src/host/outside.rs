//! Where the outside is: the link that leads there, and this domain's address on it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Host;
use crate::error::Error;
use crate::model::{IfName, NetworkMode, ResolvedNetwork, Started, overlap};
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
