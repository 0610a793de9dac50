//! What guests of a NAT or routed network reach besides the Internet: this domain itself, and the LAN that it is in.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{Network, NetworkMode};

/// What guests of a NAT or routed network reach of this domain itself: `host = "services"`.
///
/// It holds for every address of this domain, not for the gateway's alone. What this domain begins itself is answered in any case, and
/// packets that it only routes, or hands on by a forward, are no packets to it.
///
/// ```
/// use xennet_core::{HostAccess, NatNetwork};
/// assert_eq!(NatNetwork::new().with_host(HostAccess::Services).host.name(), "services");
/// ```
#[doc(alias("INPUT", "firewall zone"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum HostAccess {
    /// Everything that listens here.
    #[default]
    Open,
    /// What a guest needs: neighbour discovery, router solicitations, echo requests and errors of ICMP and ICMPv6, and DHCP and DNS where the
    /// network has them.
    Services,
    /// Neighbour discovery alone.
    Closed,
}

impl HostAccess {
    /// All of them, from the loosest to the tightest.
    pub const ALL: [HostAccess; 3] = [HostAccess::Open, HostAccess::Services, HostAccess::Closed];

    /// The word for it in networks.toml.
    pub const fn name(self) -> &'static str {
        match self {
            HostAccess::Open => "open",
            HostAccess::Services => "services",
            HostAccess::Closed => "closed",
        }
    }

    pub(crate) const RULE: &str = "host is open, services or closed";

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, HostAccess::Open)
    }
}

/// Whether guests of a NAT or routed network reach the stations of the LAN behind its egress: `lan = "closed"`.
///
/// The LAN is what the egress has addresses in when the network is started. A router there is passed on the way to others all the same.
#[doc(alias("RFC 1918", "local network access"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LanAccess {
    /// They do.
    #[default]
    Open,
    /// They do not, but for answers to connections that a station there has begun.
    Closed,
}

impl LanAccess {
    /// Both of them.
    pub const ALL: [LanAccess; 2] = [LanAccess::Open, LanAccess::Closed];

    /// The word for it in networks.toml.
    pub const fn name(self) -> &'static str {
        match self {
            LanAccess::Open => "open",
            LanAccess::Closed => "closed",
        }
    }

    pub(crate) const RULE: &str = "lan is open or closed";

    pub(crate) const fn is_open(&self) -> bool {
        matches!(self, LanAccess::Open)
    }
}

/// What guests reach of this domain, where their network limits it: beside neighbour discovery, and answers to what this domain has begun.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct HostServices {
    /// Echo requests, errors, and router solicitations.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub icmp: bool,
    /// Addresses: UDP ports 67 of IPv4 and 547 of IPv6.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dhcp: bool,
    /// Names: UDP and TCP port 53.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dns: bool,
}

impl Network {
    /// What its guests reach of this domain; on a bridge this domain is a station as others are.
    pub(crate) const fn host(&self) -> HostAccess {
        match &self.mode {
            NetworkMode::Bridge(_) => HostAccess::Open,
            NetworkMode::Nat(n) => n.host,
            NetworkMode::Routed(r) => r.host,
        }
    }

    /// Whether its guests reach the stations of the LAN behind its egress.
    pub(crate) const fn lan(&self) -> LanAccess {
        match &self.mode {
            NetworkMode::Bridge(_) => LanAccess::Open,
            NetworkMode::Nat(n) => n.lan,
            NetworkMode::Routed(r) => r.lan,
        }
    }

    /// The services of this domain that its guests reach; `None`: everything.
    pub(crate) fn host_services(&self) -> Option<HostServices> {
        let serves = |of: fn(&super::Services) -> bool| self.services().is_some_and(of);
        match self.host() {
            HostAccess::Open => None,
            HostAccess::Services => Some(HostServices { icmp: true, dhcp: serves(|s| s.dhcp), dns: serves(|s| s.dns) }),
            HostAccess::Closed => Some(HostServices::default()),
        }
    }

    /// What its keys say about who reaches whom, and may send what, a sentence each; nothing of a network without such keys.
    pub(crate) fn access_in_sentences(&self, lan: &[IpNetwork]) -> Vec<String> {
        let mut said = Vec::new();
        if self.isolates() {
            said.push("guests do not reach each other".to_owned());
        }
        if let NetworkMode::Nat(nat) = &self.mode
            && !nat.reachable_from.is_empty()
        {
            said.push(format!("guests with addresses of {} may connect", listed(&nat.reachable_from)));
        }
        if !self.reserved().is_empty() {
            said.push(format!("reserved for guests that declare them: {}", listed(self.reserved())));
        }
        if let Some(HostServices { icmp, dhcp, dns }) = self.host_services() {
            let words = [(icmp, "ICMP"), (dhcp, "DHCP"), (dns, "DNS")];
            let open: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
            said.push(match &open[..] {
                [] => "guests do not reach this domain".to_owned(),
                _ => format!("of this domain guests reach only {}", open.join(", ")),
            });
        }
        match lan {
            _ if self.lan().is_open() => {}
            [] => said.push("guests do not reach the LAN".to_owned()),
            _ => said.push(format!("guests do not reach the LAN: {}", listed(lan))),
        }
        if self.any_vif() {
            said.push("a guest may send from the address of any of its vifs through each of them".to_owned());
        }
        said
    }

    /// The same in a few words.
    pub(crate) fn access_in_words(&self) -> Vec<String> {
        let isolated = self.isolates().then(|| "isolated".to_owned());
        let host = (!self.host().is_open()).then(|| format!("host {}", self.host().name()));
        let lan = (!self.lan().is_open()).then(|| format!("LAN {}", self.lan().name()));
        let any_vif = self.any_vif().then(|| "any vif".to_owned());
        let reachable = match &self.mode {
            NetworkMode::Nat(nat) if !nat.reachable_from.is_empty() => {
                Some(format!("reachable from {}", listed(&nat.reachable_from)))
            }
            _ => None,
        };
        [isolated, host, lan, any_vif, reachable].into_iter().flatten().collect()
    }
}

fn listed(networks: &[IpNetwork]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
