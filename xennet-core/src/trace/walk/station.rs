//! What guests and the outside do with a packet before it reaches this domain.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{Station, Walk, Went, dropped};
use crate::model::{Attachment, IfName, LINK_LOCAL_GATEWAY, NetworkMode, Subnet};
use crate::snapshot::{Family, Route};
use crate::trace::Stage;
use crate::trace::packet::Packet;
use crate::trace::route::{Asked, Way};
use crate::trace::world::GuestVif;

impl<'w> Walk<'w> {
    pub(super) fn guest_sends(&mut self, at: usize, packet: Packet) -> Went<(Station, Packet)> {
        let Some(guest) = self.world.guests.get(at) else { return dropped("guest", "no such guest") };
        let Some((source, target)) = packet.addresses() else { return dropped("guest", "no packet of IP") };
        let link = guest.link;
        self.hop(Stage::Guest, link.to_string(), format!("{} sends from {source} to {target}", guest.name()));
        if let Some(why) = self.world.dead(&link) {
            return dropped(format!("link {link}"), why);
        }
        if guest.hosts(Family::of(&target)).contains(&target) {
            return dropped(
                format!("link {link}"),
                format!("{target} is {}'s own address: it does not leave", guest.name()),
            );
        }
        let (station, port) = match self.guest_next(guest, source, target) {
            Some(next) => self.find_for_station(Station::Guest(at), link, source, next)?,
            // To a gateway of its LAN that only the guest knows.
            None => match self.world.bridge_of(&link).and_then(|b| self.world.uplinks(&b).first().copied()) {
                Some(port) => (Station::Outside, Some(port)),
                None => return dropped(format!("link {link}"), format!("{} has no way to {target}", guest.name())),
            },
        };
        let next_mac = self.world.bridge_of(&link).unwrap_or(link);
        let to = self.mac_of(station, &next_mac, target);
        let frame = packet.framed(guest.mac, to);
        self.ingress(link, frame, (station, port))
    }

    fn ingress(&mut self, link: IfName, frame: Packet, dest: (Station, Option<IfName>)) -> Went<(Station, Packet)> {
        match self.world.bridge_of(&link) {
            Some(bridge) => self.bridge_in(bridge, link, frame, dest),
            None => self.input(frame, link, false),
        }
    }

    /// The address that a guest's packet is handed to on its link: the destination, or the guest's gateway. As
    /// [`guest`](crate::guest) configures guests.
    fn guest_next(&self, guest: &GuestVif<'_>, source: IpAddr, target: IpAddr) -> Option<IpAddr> {
        let family = Family::of(&source);
        let network = guest.network.map(|s| &s.network);
        let subnet = network.and_then(|n| match n.mode() {
            NetworkMode::Routed(routed) => routed.gateways().find(|s| s.network().contains(source)),
            _ => n.subnet_of(source),
        });
        let bridge = self.world.bridge_of(&guest.link);
        match (bridge, guest.attachment) {
            (None, attachment) => {
                if let Some(subnet) = subnet.filter(|_| family == Family::Ipv4) {
                    return Some(if subnet.network().contains(target) { target } else { subnet.gateway() });
                }
                if family == Family::Ipv6 {
                    return Some(LINK_LOCAL_GATEWAY.into());
                }
                let given: &[IpNetwork] = match attachment {
                    Some(Attachment::Nat { gateway, .. }) => gateway,
                    Some(Attachment::Routed { source, .. }) => source,
                    _ => &[],
                };
                let gateway = given.iter().map(IpNetwork::ip).find(|ip| ip.is_ipv4());
                let on_vif = || {
                    let all = self.world.addresses_on(&guest.link).iter().map(|a| a.address.ip());
                    all.into_iter().find(|ip| ip.is_ipv4())
                };
                let same_24 = |a: IpAddr| IpNetwork::new(source, 24).is_ok_and(|n| n.contains(a));
                if matches!(attachment, Some(Attachment::Nat { .. })) && same_24(target) {
                    return Some(target);
                }
                // Without a gateway that anybody knows of it asks for the destination itself.
                gateway.or_else(on_vif).or(Some(target))
            }
            (Some(bridge), _) => {
                if let Some(subnet) = subnet {
                    return Some(if subnet.network().contains(target) { target } else { Subnet::gateway(subnet) });
                }
                if self.on_lan(guest, &bridge, source).contains(target) {
                    return Some(target);
                }
                let any = if family == Family::Ipv4 { IpAddr::from([0u8; 4]) } else { IpAddr::from([0u8; 16]) };
                let default = self.world.routes(Route::MAIN, any, 0).iter().find(|r| r.link == Some(bridge))?;
                default.gateway
            }
        }
    }

    /// The network that a guest of a LAN takes for its own link.
    fn on_lan(&self, guest: &GuestVif<'_>, bridge: &IfName, source: IpAddr) -> IpNetwork {
        let told = guest.addresses.iter().find(|n| n.ip() == source && !crate::model::vif::is_single(n)).copied();
        let of_dom0 = || {
            let all = self.world.addresses_on(bridge).iter().map(|a| a.address);
            all.into_iter().find(|n| n.contains(source))
        };
        let usual = || IpNetwork::new(source, if source.is_ipv4() { 24 } else { 64 }).ok();
        told.or_else(of_dom0).or_else(usual).unwrap_or_else(|| IpNetwork::from(source))
    }

    pub(super) fn outside_sends(&mut self, packet: Packet) -> Went<(Station, Packet)> {
        let Some((source, target)) = packet.addresses() else { return dropped("outside", "no packet of IP") };
        let family = Family::of(&source);
        let world = self.world;
        let asked = Asked { source: None, target: source, iif: None, oif: None, mark: 0 };
        let (link, router) = match world.way(&asked) {
            Way::Out { link, gateway, .. } if world.guest_at(&link).is_none() => (link, gateway.unwrap_or(source)),
            _ => match world.default_link(family) {
                Some(link) => (link, world.default_gateway(family).unwrap_or(source)),
                None => {
                    let why =
                        format!("this host has no {} way to the outside, so nothing comes in by one", family.name());
                    return dropped("routing tables of dom0", why);
                }
            },
        };
        let port = if world.is_bridge(&link) {
            match self.on_bridge(&link, router, None) {
                Some((Station::Outside, port)) => port,
                _ => return dropped(format!("bridge {link}"), format!("{link} has no port towards the outside")),
            }
        } else {
            link
        };
        self.hop(Stage::Uplink, port.to_string(), format!("comes in from {source} to {target}"));
        if let Some(why) = self.dead_below(&port) {
            return dropped(format!("link {port}"), why);
        }
        let own: Vec<IpNetwork> =
            world.addresses_on(&link).iter().map(|a| a.address).filter(|n| n.is_ipv4() == source.is_ipv4()).collect();
        let direct = own.iter().any(|n| n.contains(target) && n.prefix() < if target.is_ipv4() { 32 } else { 128 });
        let beside = matches!(self.on_bridge(&link, target, Some(port)), Some((Station::Guest(_), _)));
        let next = if direct || beside {
            target
        } else {
            let usable = |n: &&IpNetwork| !matches!(n.ip(), IpAddr::V6(a) if a.is_unicast_link_local());
            let mine = own.iter().filter(usable).find(|n| n.contains(router)).or_else(|| own.iter().find(usable));
            let Some(mine) = mine else {
                let why = format!("dom0 has no {} address on {link}, so nobody outside has a way here", family.name());
                return dropped(format!("link {link}"), why);
            };
            if !world.is_own(target) {
                let note = format!("this needs a route there: ip route add {target} via {}", mine.ip());
                self.hop(Stage::Note, "outside", note.clone());
                self.notes.push(note);
            }
            mine.ip()
        };
        let asker = if own.iter().any(|n| n.contains(source)) { source } else { router };
        let (station, to) = self.find_for_station(Station::Outside, port, asker, next)?;
        let from = world.known_mac(&link, router);
        let to_mac = self.mac_of(station, &link, next);
        let frame = packet.framed(from, to_mac);
        self.ingress(port, frame, (station, to))
    }
}
