//! IP: input, routing decision, forwarding, output.

use std::net::IpAddr;

use super::{Station, Walk, Went, dropped, unknown};
use crate::model::IfName;
use crate::snapshot::{Family, NftHook, Route};
use crate::trace::Stage;
use crate::trace::packet::Packet;
use crate::trace::route::{Asked, Way};

/// How often a packet may come back into this domain: more is a loop.
const ROUNDS: u32 = 8;

fn loopback() -> IfName {
    IfName::literal("lo")
}

impl<'w> Walk<'w> {
    /// A packet comes in by a link (`ip_rcv`, `ipv6_rcv`). A bridge with br_netfilter has shown it to the first hook already.
    pub(super) fn input(&mut self, mut packet: Packet, iif: IfName, hooked: bool) -> Went<(Station, Packet)> {
        self.rounds += 1;
        if self.rounds > ROUNDS {
            return dropped(format!("link {iif}"), "it goes round in circles");
        }
        packet.kind = 0;
        self.enabled(&packet, &iif)?;
        if !hooked {
            self.ip_hook(NftHook::Prerouting, Some(iif), None, &mut packet)?;
        }
        let Some((source, target)) = packet.addresses() else {
            return dropped(format!("link {iif}"), "it is no packet of IP");
        };
        self.martian(source, target, &iif)?;
        let asked = Asked { source: Some(source), target, iif: Some(iif), oif: None, mark: packet.mark.unwrap_or(0) };
        match self.world.way(&asked) {
            Way::Local(link) => {
                self.valid_source(source, target, &iif, None)?;
                self.detail(Stage::Route, format!("address of {link}"), format!("{target} is dom0's"));
                self.ip_hook(NftHook::Input, Some(iif), None, &mut packet)?;
                self.hop(Stage::Host, "dom0", format!("arrives from {source}"));
                Ok((Station::Dom0, packet))
            }
            Way::Out { link, gateway, route, several } => {
                self.forwards(&packet, &iif)?;
                self.valid_source(source, target, &iif, Some(link))?;
                if scoped(source) || scoped(target) {
                    return dropped(format!("link {iif}"), "an address of the link alone is never forwarded");
                }
                self.routed(route, link, gateway, several);
                self.ip_hook(NftHook::Forward, Some(iif), Some(link), &mut packet)?;
                self.transmit(packet, Some(iif), link, gateway)
            }
            Way::Broadcast => dropped(format!("link {iif}"), format!("{target} is a broadcast or multicast address")),
            Way::Refused(what) => dropped(what, format!("dom0 refuses what goes to {target}")),
            Way::None => {
                self.forwards(&packet, &iif)?;
                dropped("routing tables of dom0", format!("dom0 has no route to {target}"))
            }
        }
    }

    fn routed(&mut self, route: &Route, link: IfName, gateway: Option<IpAddr>, several: bool) {
        let via = gateway.map_or_else(|| format!("by {link}"), |g| format!("by {link} to gateway {g}"));
        let more = if several { ", one of several ways" } else { "" };
        self.hop(Stage::Route, format!("route {route}"), format!("{via}{more}"));
    }

    fn enabled(&self, packet: &Packet, link: &IfName) -> Went<()> {
        if packet.family() == Family::Ipv6 && self.world.conf(Family::Ipv6, link.as_str(), "disable_ipv6") != 0 {
            let key = format!("net.ipv6.conf.{link}.disable_ipv6 = 1");
            return dropped(key, format!("IPv6 is switched off on {link}"));
        }
        Ok(())
    }

    /// Whether this domain forwards what comes in by a link.
    fn forwards(&self, packet: &Packet, iif: &IfName) -> Went<()> {
        let world = self.world;
        let (on, key) = match packet.family() {
            // `IN_DEV_FORWARD` of the link alone.
            Family::Ipv4 => {
                let own = format!("net/ipv4/conf/{iif}/forwarding");
                let on = world.setting(&own).or_else(|| world.setting("net/ipv4/ip_forward")).unwrap_or(0);
                let all = world.setting("net/ipv4/ip_forward").unwrap_or(0);
                (on, if all == 0 { "net.ipv4.ip_forward = 0".to_owned() } else { own.replace('/', ".") + " = 0" })
            }
            // `ip6_forward` looks at that of all links.
            Family::Ipv6 => {
                let on = world.conf(Family::Ipv6, "all", "forwarding").max(world.conf(
                    Family::Ipv6,
                    iif.as_str(),
                    "force_forwarding",
                ));
                (on, "net.ipv6.conf.all.forwarding = 0".to_owned())
            }
        };
        if on == 0 {
            return dropped(key, "dom0 does not forward");
        }
        Ok(())
    }

    /// Addresses that no packet may have (`ip_route_input_slow`).
    fn martian(&self, source: IpAddr, target: IpAddr, iif: &IfName) -> Went<()> {
        if *iif == loopback() {
            return Ok(());
        }
        let local = |ip: IpAddr| ip.is_loopback();
        let allowed = source.is_ipv4() && self.world.most(Family::Ipv4, iif, "route_localnet") != 0;
        if (local(source) || local(target)) && !allowed {
            return dropped(format!("link {iif}"), "an address of loopback came in by another link");
        }
        let unusable =
            matches!(source, IpAddr::V4(a) if a.is_unspecified() || a.is_broadcast()) || source.is_multicast();
        if unusable {
            return dropped(format!("link {iif}"), format!("{source} is no source"));
        }
        Ok(())
    }

    /// Whether a source may come in by a link (`fib_validate_source`): whether the answer would leave by it. IPv4 only: IPv6 does not look.
    pub(super) fn valid_source(&self, source: IpAddr, target: IpAddr, iif: &IfName, oif: Option<IfName>) -> Went<()> {
        if source.is_ipv6() || *iif == loopback() {
            return Ok(());
        }
        let world = self.world;
        let filter = world.most(Family::Ipv4, iif, "rp_filter");
        let accepts_local = world.most(Family::Ipv4, iif, "accept_local") != 0;
        let is_local = world.links_with(source).next().is_some();
        if is_local && !accepts_local {
            return dropped(format!("link {iif}"), format!("{source} is dom0's own address (a martian source)"));
        }
        if filter == 0 {
            return Ok(());
        }
        let all = world.conf(Family::Ipv4, "all", "rp_filter");
        let name = if all >= world.conf(Family::Ipv4, iif.as_str(), "rp_filter") { "all" } else { iif.as_str() };
        let key = format!("net.ipv4.conf.{name}.rp_filter = {filter}");
        // The answer's way, from the destination; as if it had come in by where the packet goes.
        let way = world.way(&Asked { source: Some(target), target: source, iif: oif, oif: None, mark: 0 });
        let has_address = world.addresses_on(iif).iter().any(|a| a.address.is_ipv4());
        match way {
            Way::Out { route, .. } if route.leads_through(iif) => Ok(()),
            Way::Local(_) => Ok(()),
            Way::Out { link, .. } if filter == 1 || !has_address => {
                dropped(key, format!("{source} came in by {iif}, and dom0 reaches it by {link}"))
            }
            // Loose: any way will do.
            Way::Out { .. } => Ok(()),
            Way::Broadcast => dropped(format!("link {iif}"), format!("{source} is no source")),
            Way::Refused(_) | Way::None => {
                dropped(key, format!("{source} came in by {iif}, and dom0 has no route to it"))
            }
        }
    }

    /// This domain sends (`ip_queue_xmit`, `ip6_xmit`).
    pub(super) fn output(&mut self, mut packet: Packet) -> Went<(Station, Packet)> {
        let Some((source, target)) = packet.addresses() else { return unknown(None, "no packet of IP") };
        let way = self.own_way(&packet, source, target)?;
        let oif = match &way {
            Way::Out { link, .. } => *link,
            _ => loopback(),
        };
        let mark = packet.mark;
        self.ip_hook(NftHook::Output, None, Some(oif), &mut packet)?;
        let Some((source, now)) = packet.addresses() else { return unknown(None, "no packet of IP") };
        // `ip_route_me_harder`, where the destination or the mark is another one.
        let way = if now != target || packet.mark != mark { self.own_way(&packet, source, now)? } else { way };
        match way {
            Way::Out { link, gateway, route, several } => {
                self.routed(route, link, gateway, several);
                self.transmit(packet, None, link, gateway)
            }
            _ => {
                self.next = Some(now);
                self.ip_hook(NftHook::Postrouting, None, Some(loopback()), &mut packet)?;
                self.input(packet, loopback(), false)
            }
        }
    }

    fn own_way(&self, packet: &Packet, source: IpAddr, target: IpAddr) -> Went<Way<'w>> {
        let asked = Asked { source: Some(source), target, iif: None, oif: None, mark: packet.mark.unwrap_or(0) };
        match self.world.way(&asked) {
            way @ (Way::Local(_) | Way::Out { .. }) => Ok(way),
            Way::Broadcast => {
                dropped("routing tables of dom0", format!("{target} is a broadcast or multicast address"))
            }
            Way::Refused(what) => dropped(what, format!("dom0 refuses what goes to {target}")),
            Way::None => dropped("routing tables of dom0", format!("dom0 has no route to {target}")),
        }
    }

    /// A packet leaves this domain through a link.
    fn transmit(
        &mut self,
        mut packet: Packet,
        iif: Option<IfName>,
        oif: IfName,
        gateway: Option<IpAddr>,
    ) -> Went<(Station, Packet)> {
        let Some((_, target)) = packet.addresses() else { return unknown(None, "no packet of IP") };
        let next = gateway.unwrap_or(target);
        self.next = Some(next);
        self.ip_hook(NftHook::Postrouting, iif, Some(oif), &mut packet)?;
        self.enabled(&packet, &oif)?;
        if let Some(why) = self.dead_below(&oif) {
            return dropped(format!("link {oif}"), why);
        }
        let (station, port) = self.find_for_dom0(&oif, next, &packet)?;
        let to = self.mac_of(station, &oif, next);
        let from = self.world.link(&oif).and_then(|l| l.mac);
        let mut frame = packet.framed(from, to);
        if let Some(port) = port {
            self.bridge_out(oif, port, &mut frame)?;
        }
        self.arrive(station, port.unwrap_or(oif), frame)
    }

    /// Why nothing leaves by a link, or by the one that it sits on.
    pub(super) fn dead_below(&self, link: &IfName) -> Option<String> {
        let mut link = *link;
        for _ in 0..4 {
            if let Some(why) = self.world.dead(&link) {
                return Some(why);
            }
            match self.world.details(&link).and_then(|d| d.lower) {
                Some(lower) if self.world.link(&lower).is_some() && lower != link => link = lower,
                _ => return None,
            }
        }
        None
    }

    /// A frame reaches the end of a cable.
    pub(super) fn arrive(&mut self, station: Station, link: IfName, frame: Packet) -> Went<(Station, Packet)> {
        let (source, target) = match frame.addresses() {
            Some(addresses) => addresses,
            None => return unknown(None, "no packet of IP"),
        };
        match station {
            Station::Guest(at) => {
                let Some(guest) = self.world.guests.get(at) else { return unknown(None, "no such guest") };
                if !guest.addresses.is_empty() && !guest.has(target) {
                    return dropped(
                        format!("link {link}"),
                        format!("{} does not have the address {target}", guest.name()),
                    );
                }
                // A martian source (`ip_route_input_slow`); IPv6 takes it.
                if source.is_ipv4() && guest.hosts(Family::Ipv4).contains(&source) {
                    let why = format!(
                        "{} gets it from its own address {source}, and no system takes such a packet",
                        guest.name()
                    );
                    return dropped(format!("link {link}"), why);
                }
                self.hop(Stage::Guest, link.to_string(), format!("{} gets it from {source}", guest.name()));
            }
            Station::Outside => {
                if self.is_ours(target) {
                    return self.strayed(&link, source, target);
                }
                self.hop(Stage::Uplink, link.to_string(), format!("leaves with source {source}"));
            }
            Station::Dom0 => {}
        }
        Ok((station, frame))
    }

    /// A packet for somebody on this host has left it. Where it would leave again if it came back, it never arrives.
    fn strayed(&self, link: &IfName, source: IpAddr, target: IpAddr) -> Went<(Station, Packet)> {
        let iif = self.world.bridge_of(link).unwrap_or(*link);
        let asked = Asked { source: Some(source), target, iif: Some(iif), oif: None, mark: 0 };
        match self.world.way(&asked) {
            Way::Out { link: again, route, .. } if again == iif && self.on_bridge_guest(&iif, target).is_none() => {
                let why = format!("{target} is on this host, and dom0 has no route to it but one to the outside");
                dropped(format!("route {route}"), why)
            }
            _ => {
                let why =
                    format!("it leaves by {link} to a gateway outside, and what that does with {target} is not known");
                unknown(Some(format!("link {link}")), why)
            }
        }
    }
}

fn scoped(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local())
}
