//! What the kernel keeps to itself and a model of it has to remember.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::{Address, Route};
use crate::gather;
use crate::model::IfName;

/// State that decides what the kernel does next although no listing shows it, or although sets cannot carry it.
///
/// In a snapshot that was observed from a kernel only the order of addresses is known, where a link has several, and whether
/// names are held; [`step`](crate::step::step) then assumes what is usual.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Hidden {
    /// The snapshot is a whole world: whatever is missing does not exist. Otherwise only what lies in the scope is known.
    pub whole: bool,
    /// The last interface index that was given to a link; they are not used twice.
    pub last_index: u32,
    /// The addresses of a link in the kernel's order (address, prefix length and peer), each family's for itself: the order decides
    /// what this domain speaks from, which secondary address is promoted, and which labels a link that is renamed gives to
    /// its addresses.
    #[cfg_attr(feature = "schema", schemars(with = "BTreeMap<IfName, Vec<(crate::schema::Net, Option<IpAddr>)>>"))]
    pub address_order: BTreeMap<IfName, Vec<(IpNetwork, Option<IpAddr>)>>,
    /// The IPv4 routes that share destination, type of service and metric with another one, in the kernel's order: the first counts.
    pub route_order: Vec<Route>,
    /// An IPv4 address has been there once: before that there is no table of local addresses, and no gateway is believed.
    pub ipv4_used: bool,
    /// The kernel was built without VLAN filtering of bridges (`CONFIG_BRIDGE_VLAN_FILTERING`), as some distributions do:
    /// new bridges know no VLANs.
    pub bridges_without_vlans: bool,
    /// The kernel is older than Linux 6.2: a link that is up keeps its name.
    pub names_held_while_up: bool,
    /// Vifs that netback has made in a fake world: one that is gone does not come back by itself.
    pub vifs_seen: BTreeSet<IfName>,
}

impl Hidden {
    /// Whether nothing is remembered. How old the kernel is, each look tells anew.
    pub fn is_empty(&self) -> bool {
        *self == Hidden { names_held_while_up: self.names_held_while_up, ..Hidden::default() }
    }

    /// Where an address stands in the order of its link; those that are not listed come last.
    pub(crate) fn position(&self, address: &Address) -> usize {
        self.address_order
            .get(&address.link)
            .and_then(|order| order.iter().position(|(a, p)| *a == address.address && *p == address.peer))
            .unwrap_or(usize::MAX)
    }

    /// Where a route stands among those that have its place; those that are not listed come last.
    pub(crate) fn rank(&self, route: &Route) -> usize {
        self.route_order.iter().position(|r| r == route).unwrap_or(usize::MAX)
    }

    /// What a look from outside shows of the order of addresses and routes that were seen.
    pub(crate) fn seen(&self, addresses: &BTreeSet<Address>, routes: &BTreeSet<Route>) -> Hidden {
        let several = |link: &IfName| {
            let count = |v4: bool| addresses.iter().filter(|a| a.link == *link && a.address.is_ipv4() == v4).count();
            count(true) > 1 || count(false) > 1
        };
        let shared = |r: &Route| routes.iter().any(|o| o != r && o.has_place_of(r));
        let of_seen = self.address_order.iter().filter(|(link, _)| several(link));
        Hidden {
            address_order: gather::map(of_seen.map(|(link, order)| (*link, order.clone()))),
            route_order: self.route_order.iter().filter(|r| routes.contains(*r) && shared(r)).cloned().collect(),
            ..Hidden::default()
        }
    }
}
