//! Which part of the system is looked at, or may be touched.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{NftFamily, NftHook, NftKey, NftRule, NftTableId, StorePath, SysctlKey};
use crate::model::IfName;

/// One part of the system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Part {
    /// All links, addresses, routes, rules, neighbours, forwarding entries, port VLANs, and our own nft tables. A listing:
    /// its cost grows with the host. (Sysctls and xenstore are looked at only where named.)
    Network,
    /// All of [`Part::Network`] but the nft tables, which need more rights. A listing.
    Routing,
    /// All links, nothing else. A listing.
    Links,
    /// One link by its name, with the settings of bridge and port. Its master is told by name, and not looked at.
    Link(IfName),
    /// A bridge of this name is the operation's own: one that was not there before goes on the way back. Nothing is looked at;
    /// [`Part::Link`] stands beside it.
    Made(IfName),
    /// Which link has this index.
    LinkIndex(u32),
    /// The addresses of one link, both families.
    Addresses(IfName),
    /// The routes that leave through one link, both families, all tables but `local`. A listing of the routes.
    Routes(IfName),
    /// The route with this exact destination in the main table, any metric.
    Route(#[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))] ipnetwork::IpNetwork),
    /// The route with this exact destination, without host bits, through this link, in the main table; of several the one with
    /// the lowest metric. One question, whatever other routes there are. A link that is down has none.
    ///
    /// It is found by its first address: a more specific route to that address through the same link hides it, and IPv4's
    /// default route is never found.
    RouteThrough(IfName, #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))] ipnetwork::IpNetwork),
    /// The route that this domain's own packets to an address take, by policy rules and tables, or a local one
    /// ([`Route::own`](super::Route::own)) where the address is this domain's. One question.
    Way(std::net::IpAddr),
    /// The routes through one link whose gateway lies in this network, also one of several gateways, all tables but `local`. The
    /// kernel walks all routes of that family for it, and tells those through the link.
    Via(IfName, #[cfg_attr(feature = "schema", schemars(with = "crate::schema::Net"))] ipnetwork::IpNetwork),
    /// The permanent and proxy neighbours of one link, both families.
    Neighbours(IfName),
    /// Whether one link answers for this address, which lies behind another one. A listing of the proxies of that link.
    Proxy(IfName, std::net::IpAddr),
    /// The static forwarding entries of one bridge port or bridge.
    Fdb(IfName),
    /// The VLANs of one bridge port.
    PortVlans(IfName),
    /// All policy rules.
    Rules,
    /// One kernel setting.
    Sysctl(SysctlKey),
    /// One nft table with all that is in it.
    Nft(NftTableId),
    /// One nft table without the elements of its sets: its chains, rules and sets.
    NftFrame(NftTableId),
    /// Whether there is this nft table, and its flags, without anything that is in it.
    NftFlags(NftTableId),
    /// How often a chain of a table is used: cheaper than its rules, and another number when one of them has gone.
    NftUse(NftTableId, Cow<'static, str>),
    /// One element of a set, by table, set and key; and what kind of set it is, whether the element is there or not.
    NftElement(NftTableId, Cow<'static, str>, NftKey),
    /// The base chains of one family at one hook, of all tables but our own, without their rules: what others do with packets
    /// there. A listing of the chains of that family. Where the kernel has nf_tables as a module that is not loaded, nobody has a
    /// table, and looking does not load it.
    NftOthersAt(NftFamily, NftHook),
    /// One rule of a chain, by table, chain and content, comment included, as often as it is there; and whether there is the chain, and where
    /// it is hooked in, whether the rule is there or not. Iptables' form of the same rule counts, too. A listing of the chain's rules.
    NftRule(NftTableId, Cow<'static, str>, NftRule),
    /// One xenstore node, without its children.
    Store(StorePath),
    /// A xenstore node and all below it.
    StoreTree(StorePath),
}

/// A set of [`Part`]s: what [`Backend::observe`](crate::backend::Backend::observe) looks at.
///
/// ```
/// use xennet_core::snapshot::{Part, Scope};
///
/// let links: Scope = ["vif5.0", "xenbr0"].iter().map(|name| Ok(Part::Link(name.parse()?))).collect::<Result<_, xennet_core::Error>>()?;
/// let both = links.with(Part::Rules);
/// assert_eq!(both.parts().count(), 3);
/// # Ok::<(), xennet_core::Error>(())
/// ```
// In order, each once. There are a dozen of them: in one piece they take less memory, and less to copy and give back, than in
// a tree, each node of which has room for eleven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(from = "Vec<Part>")]
pub struct Scope(Vec<Part>);

impl Scope {
    /// Nothing.
    pub fn none() -> Self {
        Scope::default()
    }

    /// The whole network: see [`Part::Network`].
    pub fn network() -> Self {
        Scope::from_iter([Part::Network])
    }

    /// Adds a part.
    #[must_use]
    pub fn with(mut self, part: Part) -> Self {
        self.insert(part);
        self
    }

    /// Adds a part in place.
    pub fn insert(&mut self, part: Part) {
        // They mostly come in their order.
        if self.0.last().is_none_or(|last| *last < part) {
            self.0.push(part);
        } else if let Err(at) = self.0.binary_search(&part) {
            self.0.insert(at, part);
        }
    }

    /// Whether this very part is named.
    pub fn contains(&self, part: &Part) -> bool {
        self.0.binary_search(part).is_ok()
    }

    /// Whether all links are looked at, and what belongs to them.
    pub(crate) fn has_all_links(&self) -> bool {
        self.contains(&Part::Network) || self.contains(&Part::Routing)
    }

    /// The parts in a fixed order.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// Both together.
    #[must_use]
    pub fn union(mut self, other: Scope) -> Self {
        if self.0.is_empty() {
            return other;
        }
        // What is named later mostly comes later.
        if self.0.last() < other.0.first() || other.0.is_empty() {
            self.0.extend(other.0);
            return self;
        }
        // Both are in order: each part is compared once, where a search would compare it with several.
        let mut merged = Vec::with_capacity(self.0.len().saturating_add(other.0.len()));
        let mut own = self.0.drain(..).peekable();
        for part in other.0 {
            while let Some(before) = own.next_if(|o| *o < part) {
                merged.push(before);
            }
            own.next_if_eq(&part);
            merged.push(part);
        }
        merged.extend(own);
        Scope(merged)
    }

    /// What of it the other one does not name.
    #[must_use]
    pub(crate) fn without(mut self, other: &Scope) -> Self {
        // Both are in order, and mostly the same: each part is compared about once, where a search would compare it with several.
        let mut others = other.0.iter();
        let mut next = others.next();
        self.0.retain(|part| {
            loop {
                match next.map(|o| o.cmp(part)) {
                    Some(Ordering::Less) => next = others.next(),
                    Some(Ordering::Equal) => return false,
                    Some(Ordering::Greater) | None => return true,
                }
            }
        });
        self
    }

    /// Whether the other one names all of it.
    pub(crate) fn is_within(&self, other: &Scope) -> bool {
        let mut others = other.0.iter();
        self.0.iter().all(|part| others.by_ref().find(|o| *o >= part) == Some(part))
    }

    /// Whether the frame of this nft table is named.
    pub(crate) fn has_frame_of(&self, table: &NftTableId) -> bool {
        self.0.iter().any(|part| matches!(part, Part::NftFrame(id) if id == table))
    }

    /// Whether it is named how often a chain of an nft table is used.
    pub(crate) fn has_use_of(&self, table: &NftTableId, chain: &str) -> bool {
        self.0.iter().any(|part| matches!(part, Part::NftUse(id, c) if c == chain && id == table))
    }

    /// Keeps the parts that are so.
    pub fn retain(&mut self, keep: impl FnMut(&Part) -> bool) {
        self.0.retain(keep);
    }
}

impl Extend<Part> for Scope {
    fn extend<T: IntoIterator<Item = Part>>(&mut self, parts: T) {
        for part in parts {
            self.insert(part);
        }
    }
}

impl FromIterator<Part> for Scope {
    fn from_iter<T: IntoIterator<Item = Part>>(parts: T) -> Self {
        let mut scope = Scope::none();
        scope.extend(parts);
        scope
    }
}

impl From<Vec<Part>> for Scope {
    fn from(parts: Vec<Part>) -> Self {
        Scope::from_iter(parts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_parts_are_what_sets_are() {
        let of = |numbers: u32| (0..5).filter(|n| numbers >> n & 1 == 1).map(Part::LinkIndex).collect::<Scope>();
        for (a, b) in (0..32).flat_map(|a| (0..32).map(move |b| (a, b))) {
            assert_eq!(of(a).union(of(b)), of(a | b), "{a} and {b}");
            assert_eq!(of(a).without(&of(b)), of(a & !b), "{a} without {b}");
            assert_eq!(of(a).is_within(&of(b)), a & !b == 0, "{a} within {b}");
        }
    }
}
