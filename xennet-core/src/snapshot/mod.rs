//! What is: the kernel's objects as plain values, and what part of the system was looked at.
//!
//! A [`Snapshot`] speaks of names, not of interface indexes, so that two of them can be compared by a person and across
//! machines; the index is carried in [`Link::index`] for the kernel's use and left out of comparisons
//! ([`Snapshot::normalised`]).

mod details;
mod diff;
mod hidden;
mod nft;
mod object;
mod render;
mod route;
mod scope;
mod settings;
mod store;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::gather;
use crate::model::IfName;

pub use details::*;
pub use diff::Change;
pub use hidden::Hidden;
pub use nft::*;
pub use object::*;
pub use route::*;
pub use scope::{Part, Scope};
pub use settings::{Settings, SysctlKey};
pub use store::*;

/// The observed state of a part of the system, or of all of it.
///
/// An object that is missing here and lies in [`scope`](Self::scope) does not exist; one outside of the scope was not
/// looked at.
///
/// ```
/// use xennet_core::Host;
/// use xennet_core::snapshot::{LinkKind, Part, Scope};
///
/// let mut host = Host::fake();
/// let bridge = "xenbr0".parse()?;
/// let scope = Scope::none().with(Part::Link(bridge));
/// let snapshot = host.backend().observe(&scope).expect("the fake can always be looked at");
/// assert_eq!(snapshot.links[&bridge].kind, LinkKind::Bridge);
/// assert!(snapshot.routes.is_empty(), "nobody asked for routes");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias = "state")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Snapshot {
    /// What was looked at.
    pub scope: Scope,
    /// Links by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<IfName, Link>,
    /// Addresses of links.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub addresses: BTreeSet<Address>,
    /// Routes of every table but `local`.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub routes: BTreeSet<Route>,
    /// Policy routing rules.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub rules: BTreeSet<Rule>,
    /// Permanent and proxy neighbours; learned ones come and go by themselves and are not state.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub neighbours: BTreeSet<Neighbour>,
    /// Static forwarding entries of bridges; learned ones are not state.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub fdb: BTreeSet<FdbEntry>,
    /// The VLANs of bridge ports, on VLAN-aware bridges.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub port_vlans: BTreeMap<IfName, BTreeSet<PortVlan>>,
    /// Kernel settings, without the trailing newline.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<(SysctlKey, String)>"))]
    #[serde(skip_serializing_if = "Settings::is_empty")]
    pub sysctls: Settings,
    /// nftables tables with all that is in them.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<(NftTableId, NftTable)>"))]
    #[serde(with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub nft: BTreeMap<NftTableId, NftTable>,
    /// xenstore nodes.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<(StorePath, StoreNode)>"))]
    #[serde(with = "pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub store: BTreeMap<StorePath, StoreNode>,
    /// What the kernel keeps to itself. Left out of comparisons.
    #[serde(skip_serializing_if = "Hidden::is_empty")]
    pub hidden: Hidden,
}

impl Snapshot {
    /// An empty snapshot of nothing.
    pub fn empty(scope: Scope) -> Self {
        Snapshot { scope, ..Snapshot::default() }
    }

    /// Whether a bridge of this name was the operation's own to make ([`Part::Made`]).
    pub(crate) fn makes(&self, name: &IfName) -> bool {
        self.scope.contains(&Part::Made(*name))
    }

    /// The link with this index.
    pub fn link_by_index(&self, index: u32) -> Option<(&IfName, &Link)> {
        self.links.iter().find(|(_, l)| l.index == index)
    }

    /// The ports of a bridge, in the order of their names.
    pub fn ports<'a>(&'a self, bridge: &'a IfName) -> impl Iterator<Item = (&'a IfName, &'a Link)> + 'a {
        self.links.iter().filter(move |(_, l)| l.master.as_ref() == Some(bridge))
    }

    /// Of what was looked at, the parts about links that were there and are no bridges: a vif and what is on it, without its
    /// bridge and without a name that was free.
    pub(crate) fn scope_without_bridges(&self) -> Scope {
        let is_vif = |name: &IfName| self.links.get(name).is_some_and(|l| l.kind != LinkKind::Bridge);
        let keep = |part: &Part| match part {
            Part::Link(n) | Part::Addresses(n) | Part::Routes(n) | Part::Neighbours(n) => is_vif(n),
            Part::Fdb(n) | Part::PortVlans(n) => is_vif(n),
            _ => true,
        };
        self.scope.parts().filter(|part| keep(part)).cloned().collect()
    }

    /// What of it is about vifs, if it is about some: their bridges were looked at, and are not theirs.
    ///
    /// Where a vif's small MTU may cost its bridge the addresses, these were looked at, too, and all of it counts.
    pub(crate) fn of_vifs(&self) -> Snapshot {
        let is_bridge = |name: &IfName| self.links.get(name).is_some_and(|l| l.kind == LinkKind::Bridge);
        let may_cost = |part: &Part| matches!(part, Part::Addresses(n) | Part::Routes(n) if is_bridge(n));
        if self.links.keys().all(is_bridge) || self.scope.parts().any(may_cost) {
            return self.clone();
        }
        let of_bridge =
            |part: &Part| matches!(part, Part::Link(n) | Part::Neighbours(n) | Part::Fdb(n) if is_bridge(n));
        self.seen(&self.scope.parts().filter(|part| !of_bridge(part)).cloned().collect())
    }

    /// A later look at the same parts without the links that came meanwhile under names that were free: somebody else's.
    /// A bridge that was the only thing looked at is what was to be made.
    pub(crate) fn without_strangers(&self, mut now: Snapshot) -> Snapshot {
        let known = |name: &IfName, index: u32| {
            let only = self.makes(name) || self.scope.parts().all(|p| *p == Part::Link(*name));
            self.link_by_index(index).is_some() || self.links.contains_key(name) || only
        };
        let strangers: BTreeSet<IfName> =
            gather::set(now.links.iter().filter(|(name, l)| !known(name, l.index)).map(|(name, _)| *name));
        now.links.retain(|name, _| !strangers.contains(name));
        now.addresses.retain(|a| !strangers.contains(&a.link));
        now.routes.retain(|r| r.link.is_none_or(|l| !strangers.contains(&l)));
        now.neighbours.retain(|n| !strangers.contains(&n.link));
        now
    }

    /// A later look without what the kernel has made by itself since: a link that makes its own IPv6 address does so when its carrier
    /// comes, at any moment. Links that had one then, or are to have none, are looked at as they are.
    pub(crate) fn without_own_doing(&self, mut now: Snapshot) -> Snapshot {
        let makes = |name: &IfName| {
            let makes = |l: &Link| l.up && l.addr_gen_mode.is_some_and(|m| m != AddrGenMode::None);
            self.links.get(name).is_some_and(makes) && !self.addresses_of(name).any(Address::is_own)
        };
        now.addresses.retain(|a| !(a.is_own() && makes(&a.link)));
        now.routes.retain(|r| !r.is_of_own_address() || !r.link.is_some_and(|l| makes(&l)));
        now
    }

    /// This look without routes to a link's own IPv6 address that was not there yet when its addresses were looked at: the kernel
    /// makes both.
    pub(crate) fn without_torn(mut self) -> Snapshot {
        let Snapshot { addresses, routes, .. } = &mut self;
        let has_own = |link: &IfName| addresses.iter().any(|a| a.link == *link && a.is_own());
        routes.retain(|r| !r.is_of_own_address() || r.link.is_none_or(|l| has_own(&l)));
        self
    }

    /// This state, as far as it can be had again where `now` lacks some of its bridges: somebody has removed them meanwhile, and
    /// what was a port of theirs is a port of nothing. A snapshot of nothing but a bridge is its own, and stays as it is; so does
    /// the bridge of a network, with all that this domain has on it.
    pub(crate) fn without_lost_bridges(&self, now: &Snapshot) -> Snapshot {
        let mut kept = self.clone();
        let lost = |name: &IfName, link: &Link| {
            link.kind == LinkKind::Bridge
                && !self.makes(name)
                && !now.links.contains_key(name)
                && now.link_by_index(link.index).is_none()
                && !self.scope.parts().all(|p| *p == Part::Link(*name))
        };
        let lost: BTreeSet<IfName> =
            gather::set(self.links.iter().filter(|(name, l)| lost(name, l)).map(|(name, _)| *name));
        if lost.is_empty() {
            return kept;
        }
        kept.links.retain(|name, _| !lost.contains(name));
        kept.addresses.retain(|a| !lost.contains(&a.link));
        kept.routes.retain(|r| r.link.is_none_or(|l| !lost.contains(&l)));
        kept.neighbours.retain(|n| !lost.contains(&n.link));
        for (name, link) in &mut kept.links {
            if link.master.is_some_and(|master| lost.contains(&master)) {
                (link.master, link.port) = (None, None);
                kept.port_vlans.remove(name);
            }
        }
        kept
    }

    /// The snapshot without the frames of nft tables, as if nobody had looked at them: they are never put back, and long.
    pub(crate) fn without_frames(mut self) -> Snapshot {
        let framed: Vec<NftTableId> = self
            .scope
            .parts()
            .filter_map(|part| match part {
                Part::NftFrame(id) | Part::NftFlags(id) | Part::NftUse(id, _) => Some(id.clone()),
                _ => None,
            })
            .collect();
        if !framed.is_empty() {
            let of_frame = |part: &Part| matches!(part, Part::NftFrame(_) | Part::NftFlags(_) | Part::NftUse(..));
            self.scope.retain(|part| !of_frame(part));
            let scope = &self.scope;
            let named = |id: &NftTableId, set: &String| {
                scope.parts().any(|part| matches!(part, Part::NftElement(i, s, _) if i == id && s == set))
            };
            for (id, table) in self.nft.iter_mut().filter(|(id, _)| framed.contains(id)) {
                table.flags = 0;
                table.chains.clear();
                table.uses.clear();
                table.sets.retain(|name, _| named(id, name));
            }
        }
        self
    }

    /// Leaves out these elements of nftables' sets, as if they had not been looked at.
    pub(crate) fn forget(&mut self, elements: &Scope) {
        for part in elements.parts() {
            if let Part::NftElement(id, set, key) = part
                && let Some(set) = self.nft.get_mut(id).and_then(|table| table.sets.get_mut(&**set))
            {
                set.elements.remove(key);
            }
        }
        self.scope.retain(|part| !elements.contains(part));
    }

    /// Adds what another look at other parts saw.
    pub fn merge(&mut self, other: Snapshot) {
        if *self == Snapshot::default() {
            *self = other;
            return;
        }
        self.scope = std::mem::take(&mut self.scope).union(other.scope);
        self.links.extend(other.links);
        self.addresses.extend(other.addresses);
        self.routes.extend(other.routes);
        self.rules.extend(other.rules);
        self.neighbours.extend(other.neighbours);
        self.fdb.extend(other.fdb);
        for (port, vlans) in other.port_vlans {
            self.port_vlans.entry(port).or_default().extend(vlans);
        }
        self.sysctls.merge(other.sysctls);
        for (id, table) in other.nft {
            self.nft.entry(id).or_default().merge(table);
        }
        self.store.extend(other.store);
        self.hidden.address_order.extend(other.hidden.address_order);
        self.hidden.names_held_while_up |= other.hidden.names_held_while_up;
        let known = std::mem::take(&mut self.hidden.route_order);
        let new = other.hidden.route_order.into_iter().filter(|r| !known.contains(r)).collect::<Vec<_>>();
        self.hidden.route_order = known.into_iter().chain(new).collect();
    }

    /// The addresses of a link in the kernel's order, IPv4's first.
    pub(crate) fn addresses_in_order(&self, link: &IfName) -> Vec<Address> {
        let mut all: Vec<Address> = self.addresses_of(link).cloned().collect();
        all.sort_by_key(|a| (a.address.is_ipv6(), self.hidden.position(a)));
        all
    }

    /// The addresses of a link.
    pub fn addresses_of<'a>(&'a self, link: &'a IfName) -> impl Iterator<Item = &'a Address> + 'a {
        self.addresses.iter().filter(move |a| a.link == *link)
    }
}

/// Maps whose keys are not strings, written as a list of pairs.
pub(crate) mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::gather;

    pub(crate) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_seq(map.iter())
    }

    pub(crate) fn deserialize<'de, K: Deserialize<'de> + Ord, V: Deserialize<'de>, D: Deserializer<'de>>(
        input: D,
    ) -> Result<BTreeMap<K, V>, D::Error> {
        Ok(gather::map(Vec::<(K, V)>::deserialize(input)?))
    }
}
