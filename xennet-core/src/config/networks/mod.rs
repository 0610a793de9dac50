//! The administrator's networks: `/etc/xennet/networks.toml`.
//!
//! ```toml
//! [network.lan]                   # guests: bridge=xenbr0, or bridge=lan
//! mode = "bridge"
//! uplink = "eth0"                 # its addresses and routes move to the bridge; without one: guests among themselves
//! bridge = "xenbr0"               # the bridge's name; the network's name if left out
//! uplink_name = "peth0"           # what eth0 is called meanwhile; its own name if left out
//! stp = false
//! forward_delay = 0               # seconds
//! mac = "02:00:00:00:00:01"       # the uplink's, or this machine's own, if left out
//! mtu = 1500
//! isolated = false                # guests reach this domain and the outside, and not each other; so in every mode
//! policy = "strict"               # how guests are filtered whose vif lines do not say it: off, mac, strict, disabled; by ip= if left out.
//!                                 # Also where guests of a NAT network share a bridge
//! log = "kernel"                  # where packets that guests may not send are logged: kernel, nflog (group 30830); off if left out; in every mode
//! reserved = ["192.0.2.0/28"]     # addresses that guests with policy mac use only if their vif lines declare them; also where guests of a NAT
//!                                 # network share a bridge
//! vlan_filtering = true           # for vlan= in vif lines; the uplink's VLANs: bridge vlan add dev eth0 vid 100
//!
//! [network.private]               # guests: bridge=private, or script=vif-nat
//! mode = "nat"
//! subnets = ["10.0.0.0/24", "fd00:1::/64"]
//! gateways = ["10.0.0.254"]       # dom0's addresses; the last of an IPv4 subnet, the first of an IPv6 one, if left out
//! egress = "xenbr0"               # where the default route points if left out
//! bridge = "natbr0"               # guests share a private bridge; each has a link of its own if left out
//! dhcp = true
//! dns = true
//! range = ["10.0.0.100-10.0.0.199"]
//! domain = "guests.example"
//! reachable_from = ["10.3.0.0/24"] # guests of other networks, by their addresses, that may connect to guests here; nobody if left out
//! accept_in = ["ip filter DOCKER-USER"] # chains of other firewalls that get rules which accept this network's packets; also in mode routed
//! host = "services"               # what guests reach of dom0 itself: open (all, if left out), services (ICMP, and DHCP and DNS if they are set), closed;
//!                                 # so in mode routed
//! lan = "closed"                  # guests do not reach the LAN behind the egress; open if left out; so in mode routed
//! forward = [{ protocol = "tcp", ports = "8080-8089", to = "10.0.0.1", to_port = 80 }]
//!
//! [network.dmz]                   # guests: bridge=dmz, or script=vif-route
//! mode = "routed"
//! subnets = ["192.0.2.0/28"]
//! uplink = "xenbr0"               # where the default route points if left out
//! source = ["192.168.0.3"]        # dom0's addresses on guests' links; the uplink's first ones if left out
//! proxy_arp = true                # dom0 answers for guests on the uplink: no route is needed outside
//! proxy_ndp = true
//! metric = 2
//! whole_subnets = false           # guests may have every IPv4 address of the subnets: the first, the last, and the gateway's;
//!                                 # their gateway is dom0's source then
//! any_vif = false                 # a guest with several vifs here may send from the address of any of them through each of them; also in mode nat
//! ```

mod change;
mod keys;
mod read;
mod render;

use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};
use crate::model::{IfName, Network, together};

pub use change::{Change, changed};
pub use keys::{contradicts, from_keys, to_keys};
pub use render::render;

/// Where the file is.
pub const PATH: &str = "/etc/xennet/networks.toml";

/// All networks of a host, in the order of the file; by construction they do not contradict each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// The networks in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Network> {
        self.0.iter()
    }

    /// The network of this name.
    pub fn get(&self, name: &str) -> Option<&Network> {
        self.0.iter().find(|n| n.name().as_str() == name)
    }

    /// The network of this name, or which ones there are.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if there is none of this name.
    pub fn named(&self, name: &str) -> Result<&Network, Error> {
        self.get(name).ok_or_else(|| {
            let there: Vec<String> = self.0.iter().map(|n| n.name().to_string()).collect();
            let hint = match &there[..] {
                [] => "there are no networks in it".to_owned(),
                _ => format!("networks there: {}", there.join(", ")),
            };
            Error::new(ErrorKind::Invalid, format!("there is no network {}", quoted(name)))
                .with_object(beginning(name))
                .with_hint(hint)
        })
    }

    /// The names in their order.
    pub fn names(&self) -> Vec<IfName> {
        self.0.iter().map(|n| n.name()).collect()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Reads the text of the file.
///
/// # Errors
/// [`ErrorKind::Invalid`] with the place: no TOML, unknown keys, values that break a rule, keys that
/// a mode does not have; and, with both places, what contradicts itself: subnets that overlap, one uplink or bridge in two
/// networks, an egress that is about to become a port, port forwards for the same port.
///
/// ```
/// use xennet_core::config::networks;
/// let found = networks::parse("[network.lan]\nmode = \"bridge\"\nuplink = \"eth0\"\nbridge = \"xenbr0\"\n")?;
/// assert_eq!(found.get("lan").unwrap().bridge().unwrap().name().as_str(), "xenbr0");
///
/// let twice = "[network.a]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/16\"]\n\n\
///              [network.b]\nmode = \"nat\"\nsubnets = [\"10.0.7.0/24\"]\n";
/// let error = networks::parse(twice).unwrap_err();
/// assert_eq!(error.diagnostic().unwrap().position(), (7, 12));
/// assert!(error.report().contains("3 | subnets = [\"10.0.0.0/16\"]"), "both places are shown");
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn parse(text: &str) -> Result<Networks, Error> {
    let read = read::networks(text).and_then(|found| {
        let networks: Vec<&Network> = found.iter().map(|f| &f.network).collect();
        match together(&networks) {
            Ok(()) => Ok(found),
            Err(flaw) => Err(flaw.placed(|(network, place)| found[network].places.at(place))),
        }
    });
    match read {
        Ok(found) => Ok(Networks(found.into_iter().map(|f| f.network).collect())),
        Err(flaw) => Err(flaw.error(text)),
    }
}

#[cfg(test)]
mod tests;
