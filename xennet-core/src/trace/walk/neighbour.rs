//! Who has an address: ARP and neighbour discovery, with all the rules that stand in their way.

use std::net::{IpAddr, Ipv6Addr};

use super::bridge::Cast;
use super::{Station, Stop, Walk, Went, dropped};
use crate::model::{IfName, MacAddr};
use crate::snapshot::{Family, LinkKind, NftHook};
use crate::trace::Stage;
use crate::trace::packet::{Content, Packet, Tracked, Upper};
use crate::trace::route::{Asked, Way};

const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The group in which neighbours look for an address.
fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The hardware address of those who are asked for an address.
fn group_of(about: IpAddr) -> MacAddr {
    match about {
        IpAddr::V4(_) => MacAddr::new([0xff; 6]),
        IpAddr::V6(target) => {
            let [.., a, b, c] = target.octets();
            MacAddr::new([0x33, 0x33, 0xff, a, b, c])
        }
    }
}

/// The question of somebody for an address.
fn question(asker: IpAddr, about: IpAddr) -> Packet {
    match about {
        IpAddr::V6(target) => {
            let upper = Upper::Neighbour { kind: SOLICITATION, target };
            let mut packet = Packet::ip(asker, solicited(target).into(), upper);
            packet.kind = 2;
            packet
        }
        IpAddr::V4(_) => arp(REQUEST, asker, about, 1),
    }
}

/// The answer to it.
fn answer(asker: IpAddr, about: IpAddr) -> Packet {
    match about {
        IpAddr::V6(target) => Packet::ip(about, asker, Upper::Neighbour { kind: ADVERTISEMENT, target }),
        IpAddr::V4(_) => arp(REPLY, about, asker, 3),
    }
}

fn arp(operation: u16, sender: IpAddr, target: IpAddr, kind: u8) -> Packet {
    Packet {
        macs: (None, None),
        framed: true,
        content: Content::Arp { operation, sender, target },
        mark: Some(0),
        kind,
        tracked: Tracked { mark: Some(0), ..Tracked::default() },
    }
}

fn cast_of(about: IpAddr) -> Cast {
    if about.is_ipv4() { Cast::All } else { Cast::Group }
}

fn protocol(about: IpAddr) -> &'static str {
    if about.is_ipv4() { "ARP" } else { "neighbour discovery" }
}

/// The reason with what it is about.
fn about<T>(went: Went<T>, address: IpAddr, what: &str) -> Went<T> {
    went.map_err(|stop| {
        let Stop { gap, place, why } = *stop;
        let why = format!("{what} ({}) for {address}: {why}", protocol(address));
        Box::new(Stop { gap, place, why })
    })
}

impl<'w> Walk<'w> {
    /// Who on a link has an address that this domain looks for, and behind which port of a bridge.
    pub(super) fn find_for_dom0(
        &mut self,
        oif: &IfName,
        next: IpAddr,
        packet: &Packet,
    ) -> Went<(Station, Option<IfName>)> {
        let world = self.world;
        let (station, port) = self.holder(oif, next)?;
        if let Some(mac) = world.permanent(oif, next) {
            // Nobody is asked, whoever has the address by now.
            return match station {
                Station::Guest(at) if world.guests.get(at).is_some_and(|g| g.mac.is_some_and(|own| own != mac)) => {
                    dropped(
                        format!("ip neigh {next} dev {oif}"),
                        format!("a permanent neighbour entry says that {next} is at {mac}"),
                    )
                }
                _ => Ok((station, port)),
            };
        }
        if self.met.contains(&(Station::Dom0, *oif, next)) {
            return Ok((station, port));
        }
        if world.link(oif).is_some_and(|l| !l.arp && l.kind != LinkKind::Loopback) {
            // Such a link takes its own hardware address for that of every neighbour (arp_constructor, ndisc_constructor).
            return dropped(format!("link {oif}"), format!("ARP is off on {oif}, so nobody is asked for {next}"));
        }
        let own = packet.addresses().map(|a| a.0).filter(|ip| match ip {
            IpAddr::V4(_) => world.links_with(*ip).next().is_some(),
            IpAddr::V6(_) => world.links_with(*ip).any(|l| l == *oif),
        });
        let asker = match (own, next) {
            (Some(own), _) => own,
            (None, IpAddr::V4(_)) => match world.source_on(oif, next, next) {
                Some(own) => own,
                None => IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED),
            },
            // `ndisc_solicit`: a link without an address of its own does not ask.
            (None, IpAddr::V6(_)) => {
                let all = world.addresses_on(oif).iter().map(|a| a.address.ip());
                let mut scoped = all.filter(|ip| matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local()));
                match scoped.next() {
                    Some(own) => own,
                    None => {
                        return dropped(
                            format!("link {oif}"),
                            format!("dom0 has no link-local address on {oif}, and cannot look for {next}"),
                        );
                    }
                }
            }
        };
        about(self.ask_for_dom0(oif, port, station, asker, next), next, "dom0's question")?;
        self.met.insert((Station::Dom0, *oif, next));
        self.met.insert((station, *oif, asker));
        self.detail(Stage::Neighbour, oif.to_string(), format!("{} answers for {next}", self.name(station)));
        Ok((station, port))
    }

    /// Whether an address is this domain's, or a guest's of this host.
    pub(super) fn is_ours(&self, address: IpAddr) -> bool {
        self.world.is_own(address) || !self.world.guests_with(address).is_empty()
    }

    fn ask_for_dom0(
        &mut self,
        oif: &IfName,
        port: Option<IfName>,
        station: Station,
        asker: IpAddr,
        next: IpAddr,
    ) -> Went<()> {
        let own = self.world.link(oif).and_then(|l| l.mac);
        let mut asked = question(asker, next);
        if next.is_ipv6() {
            self.ip_hook(NftHook::Output, None, Some(*oif), &mut asked)?;
            // Its link is set already (`ndisc_alloc_skb`), and `ip6_output` takes it for where it came in.
            self.ip_hook(NftHook::Postrouting, Some(*oif), Some(*oif), &mut asked)?;
        }
        let mut asked = asked.framed(own, Some(group_of(next)));
        if let Some(port) = port {
            self.goes_out(*oif, port, &mut asked, cast_of(next))?;
        }
        let mac = self.mac_of(station, oif, next);
        let mut told = answer(asker, next).framed(mac, own);
        if let Some(port) = port {
            let vlan = self.question_in(oif, &port, &mut told)?;
            self.leaves_vlan(oif, vlan)?;
            self.bridge_hook(NftHook::Input, Some(port), None, &mut told)?;
        }
        if next.is_ipv6() {
            if port.is_none() || !self.has_shown(oif, &told) {
                self.ip_hook(NftHook::Prerouting, Some(*oif), None, &mut told)?;
            }
            self.ip_hook(NftHook::Input, Some(*oif), None, &mut told)?;
        }
        Ok(())
    }

    /// Who on a link of this domain's has an address.
    fn holder(&self, link: &IfName, address: IpAddr) -> Went<(Station, Option<IfName>)> {
        let world = self.world;
        if !world.is_bridge(link) {
            return match world.guest_at(link) {
                None if self.is_ours(address) => dropped(
                    format!("link {link}"),
                    format!("{address} is on this host, and nobody behind {link} has it"),
                ),
                None => Ok((Station::Outside, None)),
                Some(at) => {
                    let knows = world.guests.get(at).is_none_or(|g| g.addresses.is_empty() || g.has(address));
                    if knows {
                        return Ok((Station::Guest(at), None));
                    }
                    let name = self.name(Station::Guest(at));
                    dropped(
                        format!("link {link}"),
                        format!("{name} does not have the address {address}: it does not answer"),
                    )
                }
            };
        }
        match self.on_bridge(link, address, None) {
            Some((Station::Outside, _)) if self.is_ours(address) => {
                dropped(format!("bridge {link}"), format!("{address} is on this host, and nobody on {link} has it"))
            }
            Some((station, port)) => Ok((station, Some(port))),
            None => dropped(format!("bridge {link}"), format!("nobody on {link} has the address {address}")),
        }
    }

    /// Who on a bridge has an address, but for this domain, and behind which port.
    pub(super) fn on_bridge(
        &self,
        bridge: &IfName,
        address: IpAddr,
        asker: Option<IfName>,
    ) -> Option<(Station, IfName)> {
        let world = self.world;
        let here = |at: &usize| world.guests.get(*at).is_some_and(|g| world.bridge_of(&g.link) == Some(*bridge));
        let mut guests: Vec<usize> = world.guests_with(address);
        if guests.is_empty() {
            guests =
                (0..world.guests.len()).filter(|at| world.guests.get(*at).is_some_and(|g| g.has(address))).collect();
        }
        if let Some(at) = guests.into_iter().find(here) {
            return world.guests.get(at).map(|g| (Station::Guest(at), g.link));
        }
        let uplinks = world.uplinks(bridge);
        if asker.is_some_and(|a| uplinks.contains(&a)) {
            return None;
        }
        let known = world.known_mac(bridge, address);
        let learned = known.and_then(|mac| {
            let all = world.recording.details.stations.iter();
            all.filter(|s| s.mac == mac).map(|s| s.port).find(|p| uplinks.contains(p))
        });
        let open = uplinks.iter().find(|p| world.closed(p).is_none());
        learned.or(open.copied()).or(uplinks.first().copied()).map(|port| (Station::Outside, port))
    }

    /// A station asks for an address on its link; who answers, and behind which port.
    pub(super) fn find_for_station(
        &mut self,
        asker: Station,
        link: IfName,
        own: IpAddr,
        next: IpAddr,
    ) -> Went<(Station, Option<IfName>)> {
        let bridge = self.world.bridge_of(&link);
        let segment = bridge.unwrap_or(link);
        let of_dom0 = match bridge {
            None => true,
            Some(bridge) => {
                self.world.links_with(next).next().is_some() && self.on_bridge_guest(&bridge, next).is_none()
            }
        };
        let mut found = match bridge {
            Some(bridge) if !of_dom0 => self.on_bridge(&bridge, next, Some(link)).map(|(s, p)| (s, Some(p))),
            _ => Some((Station::Dom0, None)),
        };
        // Somebody outside does not answer for what this domain answers for, nor for who is on this host: then the question is why this
        // domain does not answer.
        if let (Some(bridge), None | Some((Station::Outside, _))) = (bridge, found)
            && (self.is_ours(next) || self.answers(&bridge, next, own).is_ok())
        {
            found = Some((Station::Dom0, None));
        }
        let Some((holder, port)) = found else {
            return dropped(format!("bridge {segment}"), format!("nobody on {segment} has the address {next}"));
        };
        if self.met.contains(&(asker, segment, next)) {
            return Ok((holder, port));
        }
        let name = format!("the question of {}", self.name(asker));
        about(self.ask_for_station(asker, link, bridge, (own, next), (holder, port)), next, &name)?;
        self.met.insert((asker, segment, next));
        self.met.insert((holder, segment, own));
        self.detail(Stage::Neighbour, segment.to_string(), format!("{} answers for {next}", self.name(holder)));
        Ok((holder, port))
    }

    pub(super) fn on_bridge_guest(&self, bridge: &IfName, address: IpAddr) -> Option<usize> {
        let world = self.world;
        let here = |at: &usize| world.guests.get(*at).is_some_and(|g| world.bridge_of(&g.link) == Some(*bridge));
        world.guests_with(address).into_iter().find(here)
    }

    fn ask_for_station(
        &mut self,
        asker: Station,
        link: IfName,
        bridge: Option<IfName>,
        (own, next): (IpAddr, IpAddr),
        (holder, port): (Station, Option<IfName>),
    ) -> Went<()> {
        let segment = bridge.unwrap_or(link);
        let mac = self.mac_of(asker, &segment, own);
        let mut asked = question(own, next).framed(mac, Some(group_of(next)));
        let mut told = answer(own, next).framed(self.mac_of(holder, &segment, next), mac);
        let vlan = match &bridge {
            Some(bridge) => self.question_in(bridge, &link, &mut asked)?,
            None => None,
        };
        if let (Some(bridge), Some(port)) = (bridge, port) {
            self.crosses(&bridge, link, port, vlan, &mut asked, cast_of(next))?;
            let vlan = self.question_in(&bridge, &port, &mut told)?;
            return self.crosses(&bridge, port, link, vlan, &mut told, Cast::Known);
        }
        // To this domain.
        let shown = bridge.is_some_and(|b| self.has_shown(&b, &asked));
        if let Some(bridge) = &bridge {
            self.leaves_vlan(bridge, vlan)?;
            self.bridge_hook(NftHook::Input, Some(link), None, &mut asked)?;
        }
        if next.is_ipv6() {
            if self.world.conf(Family::Ipv6, segment.as_str(), "disable_ipv6") != 0 {
                let key = format!("net.ipv6.conf.{segment}.disable_ipv6 = 1");
                return dropped(key, format!("IPv6 is switched off on {segment}"));
            }
            if !shown {
                self.ip_hook(NftHook::Prerouting, Some(segment), None, &mut asked)?;
            }
            self.ip_hook(NftHook::Input, Some(segment), None, &mut asked)?;
        }
        self.answers(&segment, next, own)?;
        if next.is_ipv6() {
            told.framed = false;
            self.ip_hook(NftHook::Output, None, Some(segment), &mut told)?;
            self.ip_hook(NftHook::Postrouting, Some(segment), Some(segment), &mut told)?;
            told.framed = true;
        }
        match bridge {
            Some(bridge) => self.goes_out(bridge, link, &mut told, Cast::Known),
            None => Ok(()),
        }
    }

    /// Whether this domain answers on a link for an address (`arp_process`, `ndisc_recv_ns`).
    fn answers(&self, link: &IfName, address: IpAddr, asker: IpAddr) -> Went<()> {
        let world = self.world;
        if world.link(link).is_some_and(|l| !l.arp) {
            return dropped(format!("link {link}"), format!("ARP is off on {link}, so dom0 answers nobody there"));
        }
        if address.is_ipv6() {
            if world.links_with(address).any(|l| l == *link) {
                return Ok(());
            }
            let switched = world.most(Family::Ipv6, link, "proxy_ndp") != 0;
            let forwards = world.conf(Family::Ipv6, link.as_str(), "forwarding") != 0;
            let proxied = world.is_proxied(link, address);
            if switched && forwards && proxied {
                return Ok(());
            }
            let why = if !proxied {
                format!("dom0 does not have {address} on {link}, and does not answer for it there")
            } else if !switched {
                format!("net.ipv6.conf.{link}.proxy_ndp is off")
            } else {
                format!("net.ipv6.conf.{link}.forwarding is off")
            };
            return dropped(format!("link {link}"), why);
        }
        // The kernel routes the question as if it were a packet.
        let asked = Asked { source: Some(asker), target: address, iif: Some(*link), oif: None, mark: 0 };
        let way = world.way(&asked);
        let out = match &way {
            Way::Out { link, .. } => Some(*link),
            _ => None,
        };
        self.valid_source(asker, address, link, out)?;
        match way {
            Way::Local(_) => {
                let ignore = world.most(Family::Ipv4, link, "arp_ignore");
                // `arp_ignore`: 1 for an address of the link, 2 if the asker is in its prefix, too.
                let here = world.addresses_on(link).iter().map(|a| a.address).find(|n| n.ip() == address);
                let beside = here.is_some_and(|n| n.contains(asker));
                if matches!(ignore, 0 | 4..=7) || (ignore == 1 && here.is_some()) || (ignore == 2 && beside) {
                    return Ok(());
                }
                let key = format!("net.ipv4.conf.{link}.arp_ignore = {ignore}");
                dropped(key, format!("dom0 does not answer for {address} on {link}"))
            }
            Way::Out { link: out, .. } => {
                if out == *link {
                    return dropped(
                        format!("link {link}"),
                        format!("dom0 does not answer for {address}: it is on {link} itself"),
                    );
                }
                if world.conf(Family::Ipv4, link.as_str(), "forwarding") == 0 {
                    return dropped(
                        format!("net.ipv4.conf.{link}.forwarding = 0"),
                        format!("dom0 does not answer for {address}"),
                    );
                }
                if world.most(Family::Ipv4, link, "proxy_arp") != 0 || world.is_proxied(link, address) {
                    return Ok(());
                }
                let key = format!("net.ipv4.conf.{link}.proxy_arp = 0");
                dropped(key, format!("dom0 does not answer for {address} on {link}"))
            }
            _ => {
                dropped("routing tables of dom0", format!("dom0 has no route to {address}, and does not answer for it"))
            }
        }
    }
}
