//! A vif's connection, and what follows from it for the guest's addresses and gateways.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::GuestWish;
use super::config::{Method, gateway, invalid};
use crate::error::Error;
use crate::model::vif::is_single;
use crate::model::{
    Attachment, DnsDomain, GuestLinks, LINK_LOCAL_GATEWAY, Mode, Mtu, Network, NetworkMode, Started, Subnet, VifSpec,
    vifnat,
};
use crate::snapshot::Family;

/// What the guest's link is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    /// A port of a bridge with a LAN behind it, whose prefixes and gateway no description has.
    Lan,
    /// A port of the private bridge of a NAT network: the neighbours are on the link.
    Private,
    /// A link to dom0 alone, in NAT mode. dom0 answers ARP for the guest's neighbours, but no neighbour solicitations.
    Nat,
    /// The same in routed mode.
    Routed,
}

/// A vif's connection: its network, and its attachment if it is attached.
pub(super) struct Connection<'a> {
    segment: Segment,
    network: Option<&'a Started>,
    attachment: Option<&'a Attachment>,
    /// The addresses of `ip=`; without `ip=` those that the attachment gave the guest.
    given: Vec<IpNetwork>,
}

impl<'a> Connection<'a> {
    pub(super) fn of(
        vif: &VifSpec,
        network: Option<&'a Started>,
        attachment: Option<&'a Attachment>,
    ) -> Result<Self, Error> {
        let segment = match (network.map(|s| s.network.mode()), attachment) {
            (Some(NetworkMode::Nat(nat)), _) if matches!(nat.guests, GuestLinks::Bridge(_)) => Segment::Private,
            (_, Some(Attachment::Bridge { .. })) | (Some(NetworkMode::Bridge(_)), _) => Segment::Lan,
            (_, Some(Attachment::Nat { .. })) | (Some(NetworkMode::Nat(_)), _) => Segment::Nat,
            (_, Some(Attachment::Routed { .. })) | (Some(NetworkMode::Routed(_)), _) => Segment::Routed,
            (None, None) => match Mode::of_vif(vif)? {
                Mode::Bridge => Segment::Lan,
                Mode::Nat => Segment::Nat,
                Mode::Routed => Segment::Routed,
            },
        };
        let given = match attachment {
            Some(attachment) if vif.ip().is_empty() => attachment.guest().to_vec(),
            _ => vif.ip().to_vec(),
        };
        Ok(Connection { segment, network, attachment, given })
    }

    fn network(&self) -> Option<&'a Network> {
        self.network.map(|s| &s.network)
    }

    /// How the guest gets its addresses, IPv4 and IPv6.
    pub(super) fn methods(&self, wish: &GuestWish, notes: &mut Vec<String>) -> Result<[Method; 2], Error> {
        let is_address = |n: &&IpNetwork| is_single(n) || n.ip() != n.network();
        let addresses: Vec<IpNetwork> = self.given.iter().filter(is_address).copied().collect();
        let served = self.served(wish, &addresses)?;
        let networks: Vec<String> = self.given.iter().filter(|n| !is_address(n)).map(ToString::to_string).collect();
        if addresses.is_empty() && served == [false, false] {
            return Err(self.no_address(&networks));
        }
        if !networks.is_empty() {
            notes.push(format!(
                "{}: a network, whose addresses the guest may use; none of it is set up in the guest",
                networks.join(", ")
            ));
        }
        self.check_wish(wish, &addresses, served)?;
        let mut methods = [Method::Off, Method::Off];
        for ((family, served), method) in Family::BOTH.into_iter().zip(served).zip(&mut methods) {
            let own: Vec<IpNetwork> = addresses.iter().filter(|a| Family::of(&a.ip()) == family).copied().collect();
            *method = match own.first() {
                _ if served => Method::Auto,
                None => Method::Off,
                Some(first) => {
                    let addresses = self.with_prefixes(&own, wish)?;
                    let router = self.router(family, first, wish)?.map(|router| gateway(router, &addresses));
                    Method::Static { addresses, gateway: router }
                }
            };
        }
        Ok(methods)
    }

    /// The error for a vif without an address.
    fn no_address(&self, networks: &[String]) -> Error {
        let message = match networks {
            [] => "the vif line names no address of the guest, and no DHCP tells it one".to_owned(),
            all => format!("ip={}: a network, and no address of the guest", all.join(" ")),
        };
        let hint = match (self.segment, networks.first()) {
            (_, Some(network)) => format!("name the guest's address before it: ip=ADDRESS {network}"),
            (Segment::Lan, None) => {
                "name it in the vif line: ip=192.168.0.6/24; or say that the LAN has DHCP".to_owned()
            }
            (_, None) => match self.network().and_then(|n| n.subnets().first()) {
                Some(subnet) => format!("name an address of {} in the vif line: ip=", subnet.network()),
                None => "name it in the vif line: ip=10.0.0.1".to_owned(),
            },
        };
        invalid("ip", message, hint)
    }

    /// Whether each family is served by DHCP or router advertisements, and the guest shall ask.
    fn served(&self, wish: &GuestWish, addresses: &[IpNetwork]) -> Result<[bool; 2], Error> {
        let has = |family: Family| addresses.iter().any(|a| Family::of(&a.ip()) == family);
        if self.segment == Segment::Lan {
            // Declared addresses are the only ones that the guest may send from.
            return Ok(Family::BOTH.map(|family| wish.dhcp && (self.given.is_empty() || has(family))));
        }
        let services = self.network().and_then(|n| n.services().map(|s| (n, s))).filter(|(_, s)| s.dhcp);
        let Some((network, services)) = services else {
            if !wish.dhcp {
                return Ok([false, false]);
            }
            let name =
                self.network().map_or_else(|| "the vif's network".to_owned(), |n| format!("network {}", n.name()));
            let message = format!("the guest cannot ask by DHCP: {name} has no DHCP");
            let hint = "write dhcp = true in networks.toml, or let the guest have its address without".to_owned();
            return Err(invalid("dhcp", message, hint));
        };
        Ok(Family::BOTH.map(|family| {
            let of_family = |address: IpAddr| Family::of(&address) == family;
            // On a link of its own a guest is only told the addresses of its vif line.
            let range = self.segment == Segment::Private && services.range.iter().any(|r| of_family(r.first()));
            let told = network.subnets().iter().any(|s| of_family(s.network().ip()));
            if has(family) { wish.dhcp && told } else { self.given.is_empty() && range }
        }))
    }

    /// Refuses a prefix or gateway of the caller's that nothing here would use.
    fn check_wish(&self, wish: &GuestWish, addresses: &[IpNetwork], served: [bool; 2]) -> Result<(), Error> {
        if let Some(prefix) = wish.prefix.iter().find(|p| !addresses.iter().any(|a| p.contains(a.ip()))) {
            let message = format!("prefix {prefix} has none of the guest's addresses in it");
            return Err(invalid(
                &prefix.to_string(),
                message,
                "name the network of one of them, or leave it out".into(),
            ));
        }
        let mut seen = [false, false];
        for router in &wish.gateway {
            let family = Family::of(router);
            let at = usize::from(family == Family::Ipv6);
            let (message, hint) = if std::mem::replace(&mut seen[at], true) {
                (format!("{router} is a second {} gateway", family.name()), "name one gateway a family")
            } else if served[at] {
                (
                    format!(
                        "{router} cannot be the gateway: the guest is told its {} gateway by the network",
                        family.name()
                    ),
                    "leave the gateway out, or DHCP",
                )
            } else if !addresses.iter().any(|a| Family::of(&a.ip()) == family) {
                (
                    format!("{router} cannot be the gateway: the guest has no {} address", family.name()),
                    "leave the gateway out, or give the guest an address of its family in the vif line: ip=",
                )
            } else {
                continue;
            };
            return Err(invalid(&router.to_string(), message, hint.to_owned()));
        }
        Ok(())
    }

    /// The subnet of an address in which dom0 has the gateway.
    fn subnet(&self, address: IpAddr) -> Option<&'a Subnet> {
        let network = self.network()?;
        let subnet = network.subnet_of(address)?;
        match network.mode() {
            NetworkMode::Routed(routed) => routed.gateways().find(|s| *s == subnet),
            _ => Some(subnet),
        }
    }

    /// The guest's addresses of one family with the lengths of the prefixes that are on its link.
    fn with_prefixes(&self, own: &[IpNetwork], wish: &GuestWish) -> Result<Vec<IpNetwork>, Error> {
        let mut all = Vec::new();
        for address in own {
            if let Some(network) = self.network().filter(|n| !n.subnets().is_empty())
                && network.subnet_of(address.ip()).is_none()
            {
                let subnets: Vec<String> = network.subnets().iter().map(|s| s.network().to_string()).collect();
                let message = format!("{} is in no subnet of network {}", address.ip(), network.name());
                let hint = format!("give the guest an address of {}: ip=", subnets.join(", "));
                return Err(invalid(&address.ip().to_string(), message, hint));
            }
            let said = wish.prefix.iter().find(|p| p.contains(address.ip())).map(IpNetwork::prefix);
            let single = if address.is_ipv4() { 32 } else { 128 };
            let length = match said {
                Some(length) => length,
                None => match (self.segment, self.subnet(address.ip())) {
                    (Segment::Lan, _) if is_single(address) => return Err(unknown_prefix(address.ip())),
                    (Segment::Lan, _) => address.prefix(),
                    (Segment::Private, Some(subnet)) => subnet.network().prefix(),
                    (Segment::Nat | Segment::Routed, Some(subnet)) if address.is_ipv4() => subnet.network().prefix(),
                    // Xen's vif-nat: dom0's address is in the guest's own /24.
                    (Segment::Nat, None) if same_24(own.first(), address) => 24,
                    // Nobody but dom0 is on the link.
                    _ => single,
                },
            };
            let with = IpNetwork::new(address.ip(), length);
            let with = with.map_err(|e| invalid(&address.to_string(), e.to_string(), "name another prefix".into()))?;
            if !all.iter().any(|a: &IpNetwork| a.ip() == with.ip()) {
                all.push(with);
            }
        }
        Ok(all)
    }

    /// The guest's gateway of one family.
    fn router(&self, family: Family, first: &IpNetwork, wish: &GuestWish) -> Result<Option<IpAddr>, Error> {
        let of_family = |list: &[IpAddr]| list.iter().copied().find(|a| Family::of(a) == family);
        if let Some(given) = of_family(&wish.gateway) {
            return Ok(Some(given));
        }
        if wish.no_gateway {
            return Ok(None);
        }
        let subnet = self.subnet(first.ip()).map(Subnet::gateway);
        let router = match (self.segment, family) {
            (Segment::Lan, _) => None,
            (Segment::Private, _) => subnet,
            (Segment::Nat | Segment::Routed, Family::Ipv6) => Some(LINK_LOCAL_GATEWAY.into()),
            (Segment::Nat, Family::Ipv4) => match (subnet, self.attachment) {
                (Some(subnet), _) => Some(subnet),
                (None, Some(Attachment::Nat { gateway, .. })) => {
                    gateway.iter().map(IpNetwork::ip).find(IpAddr::is_ipv4)
                }
                (None, _) => vifnat::router(&self.sources(), |_| Ok::<bool, Error>(false))?.map(IpAddr::V4),
            },
            (Segment::Routed, Family::Ipv4) => subnet.or_else(|| self.source()),
        };
        match router {
            Some(router) => Ok(Some(router)),
            None => Err(self.unknown_gateway(family, first.ip())),
        }
    }

    /// What the guest may send from, as the attachment of its vif has it.
    fn sources(&self) -> Vec<IpNetwork> {
        let host = |n: &IpNetwork| if n.ip() == n.network() { *n } else { IpNetwork::from(n.ip()) };
        self.given.iter().map(host).collect()
    }

    /// dom0's IPv4 address on a routed vif.
    fn source(&self) -> Option<IpAddr> {
        let described = self.network.and_then(|started| match started.network.mode() {
            NetworkMode::Routed(routed) => routed.source.iter().chain(&started.source).copied().find(IpAddr::is_ipv4),
            _ => None,
        });
        let attached = match self.attachment {
            Some(Attachment::Routed { source, .. }) => source.iter().map(IpNetwork::ip).find(IpAddr::is_ipv4),
            _ => None,
        };
        attached.or(described)
    }

    fn unknown_gateway(&self, family: Family, address: IpAddr) -> Error {
        let message = format!("the {} gateway of {address} is not known", family.name());
        let hint = match self.segment {
            Segment::Routed => {
                "it is this domain's address on the vif: start the network or attach the vif first, or name the gateway"
            }
            _ => "name the gateway, or say that there is no gateway",
        };
        invalid(&address.to_string(), message, hint.to_owned())
    }

    /// The name servers of the network, where the guest has an address of their subnet.
    pub(super) fn dns(&self, methods: &[&Method]) -> Vec<IpAddr> {
        if !self.network().and_then(Network::services).is_some_and(|s| s.dns) {
            return Vec::new();
        }
        let addresses = methods.iter().flat_map(|m| m.addresses());
        addresses.filter_map(|a| self.subnet(a.ip())).map(Subnet::gateway).collect()
    }

    /// The domain that the network's guests are told.
    pub(super) fn search(&self) -> Vec<DnsDomain> {
        self.network().and_then(Network::services).and_then(|s| s.domain.clone()).into_iter().collect()
    }

    /// The MTU of the network's guests.
    pub(super) fn mtu(&self) -> Option<Mtu> {
        match self.network()?.mode() {
            NetworkMode::Bridge(bridge) => bridge.bridge.mtu(),
            NetworkMode::Nat(nat) => nat.mtu,
            NetworkMode::Routed(routed) => routed.mtu,
        }
    }
}

/// Whether both are in one /24.
fn same_24(first: Option<&IpNetwork>, other: &IpNetwork) -> bool {
    match (first.map(IpNetwork::ip), other.ip()) {
        (Some(IpAddr::V4(a)), IpAddr::V4(b)) => a.octets()[..3] == b.octets()[..3],
        _ => false,
    }
}

fn unknown_prefix(address: IpAddr) -> Error {
    let length = if address.is_ipv4() { 24 } else { 64 };
    let example = IpNetwork::new(address, length).map_or_else(|_| address.to_string(), |n| n.network().to_string());
    let message = format!("the prefix length of {address} is not known: xennet has no description of the guest's LAN");
    let hint = format!(
        "name the LAN's prefix, for example {example}/{length}, or write ip={address}/{length} in the vif line"
    );
    invalid(&address.to_string(), message, hint)
}
