//! The network configuration of one interface in a guest, checked as a whole.

use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;
use serde::Serialize;

use super::connection::Connection;
use super::{GuestLink, GuestWish};
use crate::error::{Error, ErrorKind};
use crate::model::{Attachment, DevId, DnsDomain, GuestMac, Mtu, Started, VifSpec, unusable};
use crate::snapshot::Family;

/// The network configuration of one interface in a guest.
///
/// Made by [`new`](Self::new) or [`attached`](Self::attached) only, so it is always complete: each family has addresses with their prefix
/// lengths, or is served, or is off.
///
/// ```
/// use xennet_core::guest::{Format, GuestConfig, GuestWish};
///
/// let vif = "mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.5/24".parse()?;
/// let mut wish = GuestWish::default();
/// wish.gateway = vec!["192.0.2.1".parse().unwrap()];
/// let config = GuestConfig::new(&vif, None, &wish)?;
/// let rendered = Format::Networkd.render(&config)?;
/// assert!(rendered.files[0].text.contains("Address=192.0.2.5/24"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("cloud-init", "netplan", "ifupdown", "systemd-networkd"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GuestConfig {
    devid: DevId,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<GuestMac>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interface: Option<GuestLink>,
    ipv4: Method,
    ipv6: Method,
    dns: Vec<IpAddr>,
    search: Vec<DnsDomain>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// How the guest gets its addresses of one family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "method", rename_all = "lowercase")]
#[non_exhaustive]
pub enum Method {
    /// It has no addresses of this family, not even a link-local one.
    Off,
    /// IPv4: it asks by DHCP. IPv6: it listens to router advertisements, and asks by DHCPv6 if they say so.
    Auto,
    /// It has fixed addresses.
    Static {
        /// The addresses, each with the prefix length of its network; at least one.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        addresses: Vec<IpNetwork>,
        /// The default gateway, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        gateway: Option<Gateway>,
    },
}

impl Method {
    /// The addresses, where they are static.
    pub fn addresses(&self) -> &[IpNetwork] {
        match self {
            Method::Static { addresses, .. } => addresses,
            Method::Off | Method::Auto => &[],
        }
    }

    /// The gateway, where there is one.
    pub const fn gateway(&self) -> Option<Gateway> {
        match self {
            Method::Static { gateway, .. } => *gateway,
            Method::Off | Method::Auto => None,
        }
    }

    /// Whether DHCP or router advertisements give the guest its addresses.
    pub const fn is_auto(&self) -> bool {
        matches!(self, Method::Auto)
    }
}

/// A gateway of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gateway {
    /// Its address.
    pub address: IpAddr,
    /// Whether it is on the link though it is in none of the guest's prefixes, as a provider's gateway beside a /32. Never set for a
    /// link-local address, which is on the link anyway.
    pub on_link: bool,
}

impl GuestConfig {
    /// The configuration for the guest of a vif.
    ///
    /// `network` is the network that the vif is in; `None` for a bridge that belongs to no network, and where `script=` is that of
    /// another mode and no network of that mode is started. A description that is not started is [`Started::new`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if something that the guest needs is not known (an address, its prefix length, the gateway), or if what
    /// is given contradicts itself.
    pub fn new(vif: &VifSpec, network: Option<&Started>, wish: &GuestWish) -> Result<Self, Error> {
        GuestConfig::made(vif, &Connection::of(vif, network, None)?, wish)
    }

    /// The configuration for the guest of an attached vif: its addresses and gateways are those of the attachment.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn attached(
        vif: &VifSpec,
        attachment: &Attachment,
        network: Option<&Started>,
        wish: &GuestWish,
    ) -> Result<Self, Error> {
        GuestConfig::made(vif, &Connection::of(vif, network, Some(attachment))?, wish)
    }

    fn made(vif: &VifSpec, connection: &Connection<'_>, wish: &GuestWish) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let methods = connection.methods(wish, &mut notes)?;
        let [ipv4, ipv6] = methods;
        let is_static = [&ipv4, &ipv6].iter().any(|m| !m.addresses().is_empty());
        let told = |given: bool| is_static && !given;
        let dns = if told(!wish.dns.is_empty()) { connection.dns(&[&ipv4, &ipv6]) } else { wish.dns.clone() };
        let search = if told(!wish.search.is_empty()) { connection.search() } else { wish.search.clone() };
        if is_static && dns.is_empty() && ![&ipv4, &ipv6].iter().any(|m| m.is_auto()) {
            notes.push("no name server is known: the guest is told none".to_owned());
        }
        let config = GuestConfig {
            devid: vif.devid().unwrap_or(DevId::FIRST),
            mac: vif.mac(),
            interface: wish.interface.clone(),
            ipv4,
            ipv6,
            dns: once_each(dns),
            search: once_each(search),
            mtu: vif.mtu().or(connection.mtu()),
            notes,
        };
        config.check()?;
        Ok(config)
    }

    /// The rules that hold whatever the network is.
    fn check(&self) -> Result<(), Error> {
        for (family, method) in [(Family::Ipv4, &self.ipv4), (Family::Ipv6, &self.ipv6)] {
            for address in method.addresses() {
                if let Some(what) = reserved(address) {
                    let message = format!("{address} cannot be the guest's: it is {what}");
                    let hint = format!("give the guest another address of {}/{}", address.network(), address.prefix());
                    return Err(invalid(&address.to_string(), message, hint));
                }
            }
            let Some(gateway) = method.gateway() else { continue };
            if unusable(gateway.address) {
                let message = format!("{} cannot be a gateway: no single host has this address", gateway.address);
                return Err(invalid(&gateway.address.to_string(), message, "name the router's own address".into()));
            }
            if method.addresses().iter().any(|a| a.ip() == gateway.address) {
                let message =
                    format!("{} is the guest's own address, and its {} gateway", gateway.address, family.name());
                return Err(invalid(&gateway.address.to_string(), message, "name the router's address".into()));
            }
        }
        if let Some(server) = self.dns.iter().find(|a| unusable(**a) && !a.is_loopback()) {
            let message = format!("{server} cannot be a name server: no single host has this address");
            return Err(invalid(&server.to_string(), message, "name the server's own address".into()));
        }
        let is_off = |a: &IpAddr| [&self.ipv6, &self.ipv4][usize::from(a.is_ipv4())] == &Method::Off;
        if let Some(server) = self.dns.iter().find(|a| is_off(a) && !a.is_loopback()) {
            let word = Family::of(server).name();
            let message = format!("{server} cannot be the guest's name server: the guest has no {word} address");
            let hint =
                format!("name a server of the other family, or give the guest an {word} address in the vif line: ip=");
            return Err(invalid(&server.to_string(), message, hint));
        }
        if let Some(mtu) = self.mtu.filter(|m| m.get() < Mtu::IPV6_MIN && self.ipv6 != Method::Off) {
            let message =
                format!("mtu={mtu} is too small for the guest's IPv6: links with IPv6 have {} bytes", Mtu::IPV6_MIN);
            let hint = format!("write mtu={} or more, or leave the IPv6 addresses out", Mtu::IPV6_MIN);
            return Err(invalid(&format!("mtu={mtu}"), message, hint));
        }
        Ok(())
    }

    /// The vif's index in its domain, which is the number of the guest's interface.
    pub const fn devid(&self) -> DevId {
        self.devid
    }

    /// The MAC address of the vif line, if there is one: the guest can match the interface by it.
    pub const fn mac(&self) -> Option<GuestMac> {
        self.mac
    }

    /// The interface's name in the guest, if the caller has named it.
    pub const fn interface(&self) -> Option<&GuestLink> {
        self.interface.as_ref()
    }

    /// The interface's name: as the caller has named it, or as Linux does.
    pub(super) fn linux_name(&self) -> GuestLink {
        self.interface.clone().unwrap_or_else(|| GuestLink::linux(self.devid))
    }

    /// The MAC, where it is to be matched: the caller's name for the interface goes before it.
    pub(super) fn matched_mac(&self) -> Option<GuestMac> {
        self.mac.filter(|_| self.interface.is_none())
    }

    /// IPv4.
    pub const fn ipv4(&self) -> &Method {
        &self.ipv4
    }

    /// IPv6.
    pub const fn ipv6(&self) -> &Method {
        &self.ipv6
    }

    /// The name servers; none where DHCP names them.
    pub fn dns(&self) -> &[IpAddr] {
        &self.dns
    }

    /// The domains in which short names are looked up.
    pub fn search(&self) -> &[DnsDomain] {
        &self.search
    }

    /// The MTU in bytes; `None`: the guest's own default.
    pub const fn mtu(&self) -> Option<Mtu> {
        self.mtu
    }

    /// Notes for the reader, one sentence each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All static addresses, IPv4 first.
    pub fn addresses(&self) -> impl Iterator<Item = &IpNetwork> {
        self.ipv4.addresses().iter().chain(self.ipv6.addresses())
    }

    /// The comment at the head of a file.
    pub(super) fn head(&self) -> String {
        let whose = self.mac.map(|mac| format!(" ({})", mac.get())).unwrap_or_default();
        format!("vif {}{whose} of this guest, as xennet connects it", self.devid)
    }
}

/// Why no host can have this address of its prefix; `None` if a host can.
fn reserved(address: &IpNetwork) -> Option<&'static str> {
    match address {
        IpNetwork::V4(n) if n.prefix() < 31 && n.ip() == n.network() => Some("the network's own address"),
        IpNetwork::V4(n) if n.prefix() < 31 && n.ip() == n.broadcast() => Some("the broadcast address"),
        _ => None,
    }
}

/// Whether a gateway is outside of the guest's prefixes.
pub(super) fn gateway(address: IpAddr, addresses: &[IpNetwork]) -> Gateway {
    let is_link_local = matches!(address, IpAddr::V6(a) if a.is_unicast_link_local());
    Gateway { address, on_link: !is_link_local && !addresses.iter().any(|n| n.contains(address)) }
}

pub(super) fn invalid(object: &str, message: String, hint: String) -> Error {
    Error::new(ErrorKind::Invalid, message).with_object(object).with_hint(hint)
}

/// The mask of an IPv4 prefix length.
pub(super) fn mask(address: &IpNetwork) -> Ipv4Addr {
    match address {
        IpNetwork::V4(n) => n.mask(),
        IpNetwork::V6(_) => Ipv4Addr::BROADCAST,
    }
}

fn once_each<T: PartialEq>(items: Vec<T>) -> Vec<T> {
    let mut once = Vec::new();
    for item in items {
        if !once.contains(&item) {
            once.push(item);
        }
    }
    once
}
