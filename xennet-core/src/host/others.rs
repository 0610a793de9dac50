//! Addresses that a guest cannot have because they are in use: by this domain, by its gateways, by networks as their gateways.
//!
//! Nothing is listed but the addresses of one bridge, and the gateways on one link: where the way to a guest's address ends at a
//! neighbour, the routes through that link. All else is a route look-up for one address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;

use super::place::VifLine;
use super::{Host, joined};
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::vif::{Bare, is_single};
use crate::model::{IfName, Network, NetworkMode, Started, Subnet, covering};
use crate::plan;
use crate::snapshot::{Family, Part, Route, RouteKind, Scope};

/// An address far away, to ask the kernel for the default route: a.root-servers.net. Nothing is sent to it. (A look-up of
/// 0.0.0.0 is answered with loopback, and a listing of the routes grows with the guests.)
const fn far_away(family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => IpAddr::V4(Ipv4Addr::new(198, 41, 0, 4)),
        Family::Ipv6 => IpAddr::V6(Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30)),
    }
}

/// The gateways that routes use, by the link that they are on; each link is asked about once for each family.
struct Gateways<'a> {
    /// The addresses that are asked about.
    guest: &'a [IpNetwork],
    on: BTreeMap<(IfName, Family), BTreeSet<IpAddr>>,
}

impl<'a> Gateways<'a> {
    fn near(guest: &'a [IpNetwork]) -> Self {
        Gateways { guest, on: BTreeMap::new() }
    }

    /// The gateways of all routes through a link that lie in this network of the question.
    fn within(&mut self, host: &mut Host, link: IfName, n: &IpNetwork) -> Result<Vec<IpAddr>, Error> {
        let family = Family::of(&n.ip());
        if !self.on.contains_key(&(link, family)) {
            let all = self.guest.iter().copied().filter(|g| Family::of(&g.ip()) == family);
            let seen = host.look(&Scope::none().with(Part::Via(link, all.reduce(covering).unwrap_or(*n))))?;
            let on_link = |(gateway, on): (IpAddr, Option<IfName>)| (on == Some(link)).then_some(gateway);
            let found = seen.routes.iter().flat_map(|route| route.gateways()).filter_map(on_link);
            self.on.insert((link, family), gather::set(found));
        }
        let (first, last) = (n.network(), n.broadcast());
        Ok(self.on.get(&(link, family)).into_iter().flat_map(|on| on.range(first..=last)).copied().collect())
    }
}

/// The subnets in which this domain has a gateway address.
fn gateways(network: &Network) -> impl Iterator<Item = &Subnet> {
    let has_none = |s: &&Subnet| matches!(network.mode(), NetworkMode::Routed(r) if !r.gateways().any(|g| g == *s));
    network.subnets().iter().filter(move |s| !has_none(s))
}

impl Host {
    /// The route that this domain's packets to an address take. One question.
    fn way_to(&mut self, address: IpAddr) -> Result<Option<Route>, Error> {
        let seen = self.look(&Scope::none().with(Part::Way(address)))?;
        // Nothing else was asked for.
        Ok(seen.routes.into_iter().next())
    }

    /// Refuses, for a guest that is connected by routes, addresses of this domain's own (nothing would ever be sent to the guest),
    /// those of this domain's gateways (it would lose them), and those that a started network gives itself on its guests' links.
    pub(super) fn not_of_others(
        &mut self,
        asked: &VifLine<'_>,
        network: Option<&Started>,
        guest: &[IpNetwork],
    ) -> Result<(), Error> {
        let mut known = Gateways::near(guest);
        for n in guest {
            let Some(way) = self.way_to(n.network())? else { continue };
            if way.kind == RouteKind::Local {
                if !is_single(n) {
                    continue;
                }
                let address = n.ip();
                let message = format!("{address} is an address of this domain's own, perhaps another guest's gateway");
                let hint =
                    format!("give the guest another address; `ip address show to {address}` tells where this one is");
                return Err(asked.refuse(ErrorKind::Conflict, message, hint).with_object(address.to_string()));
            }
            if way.protocol == plan::ROUTE_PROTOCOL {
                // To this guest, or to another one.
                continue;
            }
            if let Some((gateway, link)) = self.gateway_within(n, &way, &mut known)? {
                let on = link.map_or(String::new(), |l| format!(" on {l}"));
                let what =
                    if is_single(n) { format!("{gateway} is") } else { format!("{} contains {gateway},", Bare(n)) };
                let message =
                    format!("{what} the gateway of this domain{on}, which would look for it behind the guest");
                let hint = format!("give the guest another address; `ip route show` lists the routes via {gateway}");
                return Err(asked.refuse(ErrorKind::Conflict, message, hint).with_object(gateway.to_string()));
            }
        }
        // In a network with subnets the address is from these, and no two networks have the same.
        if network.is_some_and(|s| !s.network.subnets().is_empty()) || guest.is_empty() {
            return Ok(());
        }
        for other in self.records.all_started()? {
            let gateways: Vec<IpAddr> = gateways(&other.network).map(|s| s.gateway()).collect();
            if let Some(n) = guest.iter().find(|n| is_single(n) && gateways.contains(&n.ip())) {
                let message = format!("{} is the gateway of network {}", n.ip(), other.network.name());
                let hint = "give the guest another address: ip=".to_owned();
                return Err(asked.refuse(ErrorKind::Conflict, message, hint).with_object(n.ip().to_string()));
            }
        }
        Ok(())
    }

    /// Whether an address is that of another guest, which a route of ours leads to, or of this domain's gateway.
    pub(super) fn is_others(&mut self, address: Ipv4Addr) -> Result<bool, Error> {
        let Some(way) = self.way_to(address.into())? else { return Ok(false) };
        if way.kind == RouteKind::Local {
            return Ok(false);
        }
        if way.protocol == plan::ROUTE_PROTOCOL {
            return Ok(way.destination.prefix() == 32);
        }
        let address = IpAddr::from(address).into();
        Ok(self.gateway_within(&address, &way, &mut Gateways::near(&[address]))?.is_some())
    }

    /// The gateway that this domain would lose to a route to these addresses; `way` is the route that leads there now.
    ///
    /// A gateway is a neighbour, so only where the way ends at a neighbour the routes through that link are asked for.
    fn gateway_within(
        &mut self,
        n: &IpNetwork,
        way: &Route,
        known: &mut Gateways<'_>,
    ) -> Result<Option<(IpAddr, Option<IfName>)>, Error> {
        let mut found: Vec<(IpAddr, Option<IfName>)> =
            way.gateways().filter(|(gateway, _)| n.contains(*gateway)).collect();
        if way.gateways().next().is_none() {
            for link in way.next_hops.iter().filter_map(|hop| hop.link).chain(way.link) {
                found.extend(known.within(self, link, n)?.into_iter().map(|gateway| (gateway, Some(link))));
            }
        }
        for (gateway, link) in found {
            // A longer prefix wins.
            let longer = |way: Route| way.destination.prefix() >= n.prefix();
            if is_single(n) || !self.way_to(gateway)?.is_some_and(longer) {
                return Ok(Some((gateway, link)));
            }
        }
        Ok(None)
    }

    /// Refuses a network that gives this domain, on its guests' links, the address of this domain's own gateway.
    pub(super) fn gateways_not_of_others(&mut self, network: &Network) -> Result<(), Error> {
        for subnet in gateways(network) {
            let Some(way) = self.way_to(subnet.gateway())? else { continue };
            if way.kind == RouteKind::Local || way.protocol == plan::ROUTE_PROTOCOL {
                continue;
            }
            let gateway = subnet.gateway().into();
            if self.gateway_within(&gateway, &way, &mut Gateways::near(&[gateway]))?.is_some() {
                let message = format!(
                    "network {}: {}, its gateway in {}, is the gateway of this domain",
                    network.name(),
                    subnet.gateway(),
                    subnet.network()
                );
                let hint = "name another address of the subnet, or this domain's own there: gateways = [\"…\"]";
                let why = Error::new(ErrorKind::Conflict, message).with_object(network.name().as_str()).with_hint(hint);
                return Err(why.unchanged());
            }
        }
        Ok(())
    }

    /// For a port of a bridge: refuses the addresses that this domain has on that bridge, since two stations would have one address. If
    /// the guest has the address of this domain's gateway, that is a note only: the guest may be the router.
    pub(super) fn not_of_bridge(
        &mut self,
        asked: &VifLine<'_>,
        bridge: IfName,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        let guest = asked.vif.sources();
        if guest.is_empty() {
            return Ok(());
        }
        let seen = self.look(&Scope::none().with(Part::Addresses(bridge)))?;
        let own: Vec<IpAddr> = seen.addresses_of(&bridge).map(|a| a.address.ip()).collect();
        for n in &guest {
            let within: Vec<IpAddr> = own.iter().copied().filter(|a| n.contains(*a)).collect();
            let Some(address) = within.first() else { continue };
            if !is_single(n) {
                notes.push(format!(
                    "{n} contains {}, which this domain has on {bridge}: the guest may send from there, too",
                    joined(&within)
                ));
                continue;
            }
            let message = format!("{address} is an address of this domain's own on {bridge}");
            let hint = format!("give the guest another address; `ip address show dev {bridge}` lists this domain's");
            return Err(asked.refuse(ErrorKind::Conflict, message, hint).with_object(address.to_string()));
        }
        for family in [Family::Ipv4, Family::Ipv6] {
            let of_family = |a: &IpAddr| Family::of(a) == family;
            if !own.iter().any(of_family) || !guest.iter().any(|n| of_family(&n.ip())) {
                continue;
            }
            let Some(default) = self.way_to(far_away(family))? else { continue };
            let is_guest = |(gateway, link): &(IpAddr, Option<IfName>)| {
                *link == Some(bridge) && guest.iter().any(|n| n.contains(*gateway))
            };
            if let Some((gateway, _)) = default.gateways().find(is_guest) {
                notes.push(format!(
                    "{gateway} is this domain's gateway on {bridge}: right if {} is the router there, else two stations have \
                     one address",
                    asked.subject
                ));
            }
        }
        Ok(())
    }
}
