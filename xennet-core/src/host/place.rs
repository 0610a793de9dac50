//! Where a vif belongs: to which network, in which mode, and with which addresses.

use std::net::IpAddr;

use ipnetwork::{IpNetwork, Ipv4Network};

use super::{Host, joined};
use crate::error::{Errno, Error, ErrorKind};
use crate::exec::Subject;
use crate::model::vif::{Bare, is_single};
use crate::model::{
    Attachment, GuestLinks, IfName, Mode, Mtu, NatNetwork, NetworkMode, PacketLog, Policy, Resolved, RoutedNetwork,
    Started, Subnet, TypeIf, VifId, VifSpec, vifnat,
};
use crate::snapshot::{Family, Part, Scope};

/// Where a vif belongs.
pub(super) struct Place {
    pub(super) attachment: Attachment,
    pub(super) mtu: Option<Mtu>,
    /// The started network that it belongs to.
    pub(super) network: Option<Started>,
}

/// A vif, and the line that says what is wanted for it.
pub(super) struct VifLine<'a> {
    pub(super) subject: Subject,
    id: VifId,
    type_if: TypeIf,
    pub(super) vif: &'a VifSpec,
}

impl VifLine<'_> {
    pub(super) fn refuse(&self, kind: ErrorKind, message: String, hint: String) -> Error {
        Error::new(kind, format!("{}: {message}", self.subject))
            .with_object(self.subject.to_string())
            .with_hint(hint)
            .unchanged()
    }

    /// The metric of a link's routes: that of the emulated twin is lower, so it wins until the guest unplugs it.
    const fn metric(&self, metric: u32) -> u32 {
        match self.type_if {
            TypeIf::Vif => metric,
            TypeIf::Tap => metric.saturating_sub(1),
        }
    }

    /// The number of the domain's links that may send from each other's addresses, if the network says so. Emulated twins have one of their
    /// own: they go while the vif stays.
    fn shared(&self, network: Option<&Started>, guest: &[IpNetwork], notes: &mut Vec<String>) -> Option<u32> {
        const TWINS: u32 = 1 << 31;
        let network = network.map(|s| &s.network).filter(|network| network.any_vif() && !guest.is_empty())?;
        if let Some(whole) = guest.iter().find(|n| !is_single(n)) {
            notes.push(format!(
                "any_vif of network {} is about single addresses: {whole} passes by this vif alone",
                network.name()
            ));
        }
        let domain = u32::from(self.id.domid.get());
        Some(match self.type_if {
            TypeIf::Vif => domain,
            TypeIf::Tap => domain | TWINS,
        })
    }

    /// What only a bridge's port can be.
    fn no_port(&self, mode: Mode) -> Result<(), Error> {
        let given = match (&self.vif.vlan(), self.vif.policy()) {
            (Some(vlan), _) => format!("vlan={vlan}"),
            // By routes a guest is bound to its addresses in any case, if it has some.
            (None, Some(policy))
                if policy != Policy::Strict || (mode == Mode::Routed && self.vif.sources().is_empty()) =>
            {
                format!("policy={policy}")
            }
            _ if self.vif.isolated() => "isolated".to_owned(),
            _ if !self.vif.macs().is_empty() => format!("macs={}", self.vif.macs_text()),
            _ => return Ok(()),
        };
        let message = format!("{given} is about a port of a bridge, and in {} mode a vif is none", mode.word());
        Err(self.refuse(ErrorKind::Unsupported, message, "leave it out, or connect the vif to a bridge".into()))
    }

    fn bridge(&self, bridge: IfName, network: Option<&Started>) -> Attachment {
        let isolated = self.vif.isolated() || network.is_some_and(|started| started.network.isolates());
        Attachment::Bridge { bridge, vlan: self.vif.vlan().cloned(), isolated }
    }

    /// What the subnets of a network say about the guest's addresses: whether they are from these, and what this domain's
    /// addresses on the vif are. Empty where there are no subnets.
    fn gateways(&self, started: &Started, guest: &[IpNetwork]) -> Result<Vec<IpNetwork>, Error> {
        let network = &started.network;
        let mut gateways = Vec::new();
        if network.subnets().is_empty() {
            return Ok(gateways);
        }
        let subnets = || network.subnets().iter().map(|s| s.network().to_string()).collect::<Vec<_>>().join(", ");
        for address in guest {
            let subnet = network.subnet_of(address.ip()).filter(|s| s.network().prefix() <= address.prefix());
            let Some(subnet) = subnet else {
                let message = format!("{} is in no subnet of network {}", Bare(address), network.name());
                let hint = format!("give the guest an address of {}: ip=", subnets());
                return Err(self.refuse(ErrorKind::Invalid, message, hint));
            };
            let is_whole = matches!(network.mode(), NetworkMode::Routed(r) if !r.gateways().any(|s| s == subnet));
            if is_whole {
                continue;
            }
            if let Some(what) = reserved(subnet, address) {
                let message = format!("{} is {what} of network {}", Bare(address), network.name());
                let mut hint = format!("give the guest another address of {}", subnet.network());
                if matches!(network.mode(), NetworkMode::Routed(_)) && address.is_ipv4() {
                    hint.push_str(
                        "; where guests are to have every address of it: whole_subnets = true in networks.toml",
                    );
                }
                return Err(self.refuse(ErrorKind::Invalid, message, hint));
            }
            // What serves IPv6 guests goes by the subnet's own prefix length.
            let gateway = match subnet.gateway() {
                IpAddr::V4(_) => IpNetwork::from(subnet.gateway()),
                IpAddr::V6(_) => IpNetwork::new(subnet.gateway(), subnet.network().prefix())
                    .unwrap_or_else(|_| IpNetwork::from(subnet.gateway())),
            };
            if !gateways.contains(&gateway) {
                gateways.push(gateway);
            }
        }
        Ok(gateways)
    }

    /// The guest's addresses in NAT mode.
    fn hidden_guest(&self, started: Option<&Started>) -> Result<Vec<IpNetwork>, Error> {
        if self.vif.ip().is_empty() && self.vif.prefix().is_empty() {
            let usual = vifnat::guest_address(self.id);
            if let Some(network) = started.map(|s| &s.network).filter(|n| !n.subnets().is_empty()) {
                let fits = usual.as_ref().is_ok_and(|a| network.subnet_of(IpAddr::V4(*a)).is_some());
                if !fits {
                    let subnets: Vec<String> = network.subnets().iter().map(|s| s.network().to_string()).collect();
                    let message = format!("its vif line names no address, and network {} has subnets", network.name());
                    let hint = format!("give the guest an address of {}: ip=", subnets.join(", "));
                    return Err(self.refuse(ErrorKind::Invalid, message, hint));
                }
            }
            return Ok(vec![IpNetwork::from(IpAddr::V4(usual?))]);
        }
        Ok(self.vif.sources())
    }
}

/// Where packets that the guest may not send are logged: its vif line says it, or its network.
pub(super) fn log_of(vif: &VifSpec, network: Option<&Started>) -> PacketLog {
    vif.log().or_else(|| Some(network?.network.log())).unwrap_or_default()
}

/// What an address of a subnet is that no guest can have.
fn reserved(subnet: &Subnet, address: &IpNetwork) -> Option<&'static str> {
    if subnet.gateway() == address.ip() {
        return Some("the gateway");
    }
    let IpNetwork::V4(net) = subnet.network() else { return None };
    let single = address.prefix() == 32 && net.prefix() < 31;
    match address.ip() {
        ip if single && ip == IpAddr::V4(net.network()) => Some("the network's own address"),
        ip if single && ip == IpAddr::V4(net.broadcast()) => Some("the broadcast address"),
        _ => None,
    }
}

impl Host {
    /// How a vif is to be connected, and its MTU.
    ///
    /// `bridge=NAME` names a started network, or a bridge. Without it `script=` counts: for `vif-nat` and `vif-route` the
    /// started network whose subnet the guest's address is in, or the only one of that mode; where none is started, what Xen's
    /// script does.
    pub(super) fn place(
        &mut self,
        id: VifId,
        type_if: TypeIf,
        vif: &VifSpec,
        notes: &mut Vec<String>,
    ) -> Result<Place, Error> {
        let asked = VifLine { subject: Subject::of(id, type_if), id, type_if, vif };
        let mode = Mode::of_vif(vif).map_err(|e| e.about(&asked.subject.to_string()).unchanged())?;
        let named = match vif.bridge() {
            Some(name) => self.records.started(&name)?,
            None => None,
        };
        let network = match named {
            Some(started) => Some(started),
            None if mode == Mode::Bridge => None,
            None => {
                // xl names this one where nobody has named any.
                if let Some(bridge) = vif.bridge().filter(|b| *b != "xenbr0") {
                    notes.push(format!("bridge={bridge} is not looked at: no network of this name is started"));
                }
                self.network_for(&asked, mode)?
            }
        };
        let Some(started) = network else {
            let attachment = match mode {
                Mode::Bridge => {
                    let bridge = self.bridge_for(&asked, notes)?;
                    self.not_of_bridge(&asked, bridge, notes)?;
                    asked.bridge(bridge, None)
                }
                Mode::Nat => self.nat(&asked, None, notes)?,
                Mode::Routed => self.routed(&asked, None, notes)?,
            };
            return Ok(Place { attachment, mtu: vif.mtu(), network: None });
        };
        let (attachment, mtu) = match started.network.mode() {
            NetworkMode::Bridge(b) => {
                self.not_of_bridge(&asked, b.bridge.name(), notes)?;
                (asked.bridge(b.bridge.name(), Some(&started)), vif.mtu())
            }
            NetworkMode::Nat(nat) => {
                let attachment = match &nat.guests {
                    GuestLinks::PerVif => self.nat(&asked, Some((&started, nat)), notes)?,
                    GuestLinks::Bridge(bridge) => {
                        let single = vif.ip().iter().map(|n| IpNetwork::from(n.ip()));
                        let guest: Vec<IpNetwork> = single.chain(vif.prefix().iter().copied()).collect();
                        asked.gateways(&started, &guest)?;
                        self.not_of_bridge(&asked, bridge.name(), notes)?;
                        asked.bridge(bridge.name(), Some(&started))
                    }
                };
                (attachment, vif.mtu().or(nat.mtu))
            }
            NetworkMode::Routed(routed) => {
                (self.routed(&asked, Some((&started, routed)), notes)?, vif.mtu().or(routed.mtu))
            }
        };
        if attachment.guest().iter().any(IpNetwork::is_ipv6)
            && !started.network.routes(true)
            && !started.source.iter().any(IpAddr::is_ipv6)
        {
            notes.push(format!(
                "network {} routes no IPv6: by IPv6 {} reaches this domain only; give the network an IPv6 subnet{}",
                started.network.name(),
                asked.subject,
                if matches!(started.network.mode(), NetworkMode::Routed(_)) { ", or proxy_ndp = true" } else { "" }
            ));
        }
        Ok(Place { attachment, mtu, network: Some(started) })
    }

    /// The bridge of a vif that belongs to no network.
    fn bridge_for(&mut self, asked: &VifLine<'_>, notes: &mut Vec<String>) -> Result<IfName, Error> {
        match asked.vif.bridge() {
            Some(bridge) => Ok(bridge),
            None => {
                let only = self.only_bridge(asked.subject)?;
                notes.push(format!("no bridge= was given: {only} is the only bridge here"));
                Ok(only)
            }
        }
    }

    /// The started network of a mode that a vif belongs to that names none.
    fn network_for(&self, asked: &VifLine<'_>, mode: Mode) -> Result<Option<Started>, Error> {
        network_of(mode, self.records.all_started()?, asked.vif).map_err(|names| {
            let message = format!(
                "several {} networks are started, and the vif line says neither by bridge= nor by ip= to which it belongs",
                mode.word()
            );
            let hint = format!("name one of {}: bridge={}", joined(&names), names[0]);
            asked.refuse(ErrorKind::Invalid, message, hint)
        })
    }

    fn nat(
        &mut self,
        asked: &VifLine<'_>,
        network: Option<(&Started, &NatNetwork)>,
        notes: &mut Vec<String>,
    ) -> Result<Attachment, Error> {
        asked.no_port(Mode::Nat)?;
        let started = network.map(|(started, _)| started);
        let guest = asked.hidden_guest(started)?;
        let egress = started.and_then(|s| s.outside);
        let mut gateway = match started {
            Some(started) => asked.gateways(started, &guest)?,
            None => Vec::new(),
        };
        self.not_of_others(asked, started, &guest)?;
        if gateway.is_empty() && guest.iter().any(IpNetwork::is_ipv4) {
            let router = vifnat::router(&guest, |candidate| self.is_others(candidate))?;
            let Some(router) = router else {
                let message = "every address that could be its gateway's is another's, or its own".to_owned();
                let hint = "give the guest a single address first, and networks behind it: ip=".to_owned();
                return Err(asked.refuse(ErrorKind::Invalid, message, hint));
            };
            gateway.push(IpNetwork::V4(Ipv4Network::from(router)));
        }
        let twin = asked.type_if == TypeIf::Tap;
        match started {
            _ if twin => {}
            None => notes.push(
                "no NAT network is started: nothing hides the guest, and whether this domain forwards is not looked after \
                 (xennet network start)"
                    .into(),
            ),
            Some(s) if egress.is_none() => notes.push(format!(
                "network {} had no way outside when it was started: the guest reaches this host only until it is started again",
                s.network.name()
            )),
            Some(_) => {}
        }
        let shared = asked.shared(started, &guest, notes);
        Ok(Attachment::Nat {
            network: started.map(|s| s.network.name()),
            guest,
            gateway,
            // What hides the vif hides its twin.
            egress: egress.filter(|_| !twin),
            open: started.is_some_and(|s| s.network.is_open()),
            host: started.and_then(|s| s.network.host_services()),
            shared,
            log: log_of(asked.vif, started),
            metric: asked.metric(RoutedNetwork::METRIC),
        })
    }

    /// The error of a guest's address that another link has a route to.
    pub(super) fn other_way(&mut self, resolved: &Resolved) -> Option<Error> {
        let Resolved::Attach(a) = resolved else { return None };
        for network in a.wish.attachment.guest() {
            // What cannot be looked at leaves the error as it is.
            let seen = self.look(&Scope::none().with(Part::Route(*network))).ok()?;
            let other = seen.routes.iter().filter_map(|r| r.link).find(|l| ![a.found.device, a.wish.name].contains(l));
            if let Some(other) = other {
                let message = format!("cannot attach {}: {network} is reached through {other} already", a.wish.id);
                let hint = format!("give one of the two another address, or detach {other}");
                let why = Error::new(ErrorKind::Conflict, message).with_errno(Errno::EEXIST);
                return Some(why.with_object(network.to_string()).with_hint(hint));
            }
        }
        None
    }

    fn routed(
        &mut self,
        asked: &VifLine<'_>,
        network: Option<(&Started, &RoutedNetwork)>,
        notes: &mut Vec<String>,
    ) -> Result<Attachment, Error> {
        asked.no_port(Mode::Routed)?;
        let guest = asked.vif.sources();
        let mut source: Vec<IpNetwork> = Vec::new();
        for family in [Family::Ipv4, Family::Ipv6] {
            let of_guest = guest.iter().any(|n| Family::of(&n.ip()) == family);
            // Xen's script knows IPv4 only, and gives the vif an address even without one of the guest's.
            if of_guest || (guest.is_empty() && family == Family::Ipv4) {
                source.extend(self.source(asked, network, family)?.map(IpNetwork::from));
            }
        }
        if let Some((started, _)) = network {
            for gateway in asked.gateways(started, &guest)? {
                if !source.iter().any(|s| s.ip() == gateway.ip()) {
                    source.push(gateway);
                }
            }
        }
        self.not_of_others(asked, network.map(|(started, _)| started), &guest)?;
        if guest.is_empty()
            && let Some((started, _)) = network.filter(|(_, routed)| !routed.lan.is_open())
        {
            let message = format!(
                "no ip= was given, and network {} has lan = \"closed\": what its guests send is known by their addresses",
                started.network.name()
            );
            return Err(asked.refuse(ErrorKind::Invalid, message, "give the guest an address: ip=".into()));
        }
        if guest.is_empty() {
            notes.push("no ip= was given: no route leads to the guest".into());
        }
        if network.is_none() && asked.type_if == TypeIf::Vif {
            notes.push(
                "no routed network is started: whether this domain forwards is not looked after (xennet network start)"
                    .into(),
            );
        }
        let shared = asked.shared(network.map(|(started, _)| started), &guest, notes);
        Ok(Attachment::Routed {
            network: network.map(|(started, _)| started.network.name()),
            guest,
            elsewhere: Box::default(),
            shared,
            source,
            answer_arp: true,
            answer_ndp: network.and_then(|(started, r)| started.outside.filter(|_| r.proxy_ndp)),
            host: network.and_then(|(started, _)| started.network.host_services()),
            log: log_of(asked.vif, network.map(|(started, _)| started)),
            metric: asked.metric(network.map_or(RoutedNetwork::METRIC, |(_, r)| r.metric)),
        })
    }

    /// This domain's own address on a routed vif. IPv6 guests can do without: they have a gateway on the link.
    fn source(
        &mut self,
        asked: &VifLine<'_>,
        network: Option<(&Started, &RoutedNetwork)>,
        family: Family,
    ) -> Result<Option<IpAddr>, Error> {
        let of_family = |list: &[IpAddr]| list.iter().copied().find(|a| Family::of(a) == family);
        if let Some(given) = network.and_then(|(_, routed)| of_family(&routed.source)) {
            return Ok(Some(given));
        }
        let (link, why) = match asked.vif.gatewaydev() {
            Some(link) => (link, "gatewaydev= names it"),
            None => {
                if let Some(found) = network.and_then(|(started, _)| of_family(&started.source)) {
                    return Ok(Some(found));
                }
                match network.and_then(|(started, _)| started.outside) {
                    Some(link) => (link, "the network's way outside"),
                    None => match self.default_route_link()? {
                        Some(link) => (link, "the default route leads through it"),
                        None => (IfName::literal("eth0"), "what Xen's script takes where nothing is said"),
                    },
                }
            }
        };
        let address = self.first_address(&link, family)?;
        if address.is_some() || family == Family::Ipv6 {
            return Ok(address);
        }
        let there = self.look(&Scope::none().with(Part::Link(link)))?.links.contains_key(&link);
        let (kind, lacks) =
            if there { (ErrorKind::Invalid, "has no IPv4 address") } else { (ErrorKind::LinkNotFound, "is not there") };
        let message = format!("{link} {lacks} ({why}), and its address would be this domain's on the vif");
        let hint = format!("give {link} an address, or name a link that has one: gatewaydev=eth0");
        Err(asked.refuse(kind, message, hint).with_object(link.as_str()))
    }
}

/// The network of a mode that a vif belongs to whose line names none: the one that has the guest's address in a subnet, or the only one.
/// Where several can be meant, their names are the error.
pub(super) fn network_of(mode: Mode, networks: Vec<Started>, vif: &VifSpec) -> Result<Option<Started>, Vec<IfName>> {
    let mut of_mode: Vec<Started> = networks.into_iter().filter(|s| mode.is_of(s.network.mode())).collect();
    let has = |s: &Started| vif.ip().iter().chain(vif.prefix()).any(|n| s.network.subnet_of(n.ip()).is_some());
    if let Some(at) = of_mode.iter().position(has) {
        return Ok(Some(of_mode.swap_remove(at)));
    }
    if of_mode.len() > 1 {
        return Err(of_mode.iter().map(|s| s.network.name()).collect());
    }
    Ok(of_mode.pop())
}
