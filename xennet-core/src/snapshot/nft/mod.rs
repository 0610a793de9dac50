//! nftables objects, as far as NAT and filtering need them: tables, chains, rules, sets and maps.
//!
//! Handles are left out: they are numbers of the kernel's, given anew to the same object made again. Counters are left
//! out too: they run. Stateful objects with a name (`counter`, `quota`, `limit`) and flow tables are not looked at.

mod field;
mod render;
mod rule;
mod same;
mod value;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use crate::gather;
use crate::model::{OWN_PREFIX, is_own_table};
use serde::{Deserialize, Serialize};

use super::object::{is_false, is_zero};

pub use field::*;
pub(crate) use render::key_text;
pub(crate) use render::nft_facts;
pub use rule::*;
pub(crate) use same::attribute;
pub use value::{NftType, NftValue};
pub(crate) use value::{concat, split, width};

/// The family of an nftables table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NftFamily {
    /// IPv4 and IPv6.
    Inet,
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Frames that cross a bridge.
    Bridge,
}

impl From<super::Family> for NftFamily {
    fn from(family: super::Family) -> Self {
        match family {
            super::Family::Ipv4 => NftFamily::Ip,
            super::Family::Ipv6 => NftFamily::Ip6,
        }
    }
}

impl NftFamily {
    /// Every family, in the order of the kernel's numbers.
    pub const ALL: [NftFamily; 4] = [NftFamily::Inet, NftFamily::Ip, NftFamily::Bridge, NftFamily::Ip6];

    /// The kernel's number (`include/uapi/linux/netfilter.h`, `NFPROTO_*`).
    pub const fn number(self) -> u8 {
        match self {
            NftFamily::Inet => 1,
            NftFamily::Ip => 2,
            NftFamily::Bridge => 7,
            NftFamily::Ip6 => 10,
        }
    }

    /// The family with this number, if it is one that xennet deals with.
    pub fn from_number(number: u8) -> Option<NftFamily> {
        Self::ALL.into_iter().find(|f| f.number() == number)
    }

    /// The name in nft's language.
    pub const fn name(self) -> &'static str {
        match self {
            NftFamily::Inet => "inet",
            NftFamily::Ip => "ip",
            NftFamily::Ip6 => "ip6",
            NftFamily::Bridge => "bridge",
        }
    }
}

impl fmt::Display for NftFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which table: family and name.
///
/// There are no other parts: the kernel knows a table by these two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NftTableId {
    /// The family.
    pub family: NftFamily,
    /// The name.
    pub name: Cow<'static, str>,
}

impl NftTableId {
    /// The table of the guard, which lets pass what guests may send at a bridge ([`Guard`](crate::model::Guard)).
    pub const fn guard() -> Self {
        NftTableId { family: NftFamily::Bridge, name: Cow::Borrowed(Self::GUARD) }
    }

    /// The table of the gate, which NAT and routed guests' packets go through: it drops what guests send from addresses that are
    /// not theirs, hides guests behind this domain's address, and hands on connections from outside.
    pub const fn gate() -> Self {
        NftTableId { family: NftFamily::Inet, name: Cow::Borrowed(OWN_PREFIX) }
    }

    /// Whether it is a table that stays where it was made, whoever comes and goes: the [guard's](Self::guard) or the
    /// [gate's](Self::gate).
    pub(crate) fn is_kept(&self) -> bool {
        match self.family {
            NftFamily::Bridge => self.name == Self::GUARD,
            NftFamily::Inet => self.name == OWN_PREFIX,
            _ => false,
        }
    }

    const GUARD: &'static str = "xennet-guard";

    /// The set of such a table that says by its one element which version of it is there: no vif's.
    pub(crate) const VERSION: &'static str = "version";

    /// A table by family and name.
    pub fn new(family: NftFamily, name: impl Into<Cow<'static, str>>) -> Self {
        NftTableId { family, name: name.into() }
    }

    /// Whether the table is one of xennet's own: it is called `xennet` or `xennet-…`. In other tables xennet changes nothing but the rules of a
    /// network ([`NatNetwork::accept_in`](crate::model::NatNetwork::accept_in)).
    pub fn is_own(&self) -> bool {
        is_own_table(&self.name)
    }
}

impl fmt::Display for NftTableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// A table with all that is in it.
#[doc(alias("nftables", "iptables"))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NftTable {
    /// Flags of the kernel's; 0 in every table of xennet's own. [`NftTable::DORMANT`] says that its chains see no packet.
    #[serde(skip_serializing_if = "is_zero")]
    pub flags: u32,
    /// Chains by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub chains: BTreeMap<String, NftChain>,
    /// Sets and maps by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sets: BTreeMap<String, NftSet>,
    /// How often chains are used, of which no more was looked at ([`Part::NftUse`](super::Part::NftUse)): the number of
    /// their rules, and of the rules and elements that lead to them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub uses: BTreeMap<String, u32>,
}

setters! { NftTable {
    with_chains: chains = BTreeMap<String, NftChain>;
    with_sets: sets = BTreeMap<String, NftSet>;
} }

impl NftTable {
    /// `NFT_TABLE_F_DORMANT`: the table is there with all that is in it, and does nothing.
    pub const DORMANT: u32 = 0x1;

    /// `NFT_TABLE_F_OWNER` (Linux 5.12): the table is one process's, and nobody else may change it.
    pub(crate) const OWNED: u32 = 0x2;

    /// Whether a kind of object is missing that a table usually has: chains, rules or sets.
    #[cfg(feature = "netlink")]
    pub(crate) fn is_hollow(&self) -> bool {
        self.chains.is_empty() || self.sets.is_empty() || self.chains.values().all(|chain| chain.rules.is_empty())
    }

    /// How often a chain is used, as the kernel counts it (`NFTA_CHAIN_USE`); `None` if there is no such chain.
    pub(crate) fn use_of(&self, chain: &str) -> Option<u32> {
        let own = self.chains.get(chain)?.rules.len();
        let by_rule = |e: &&NftExpr| matches!(e, NftExpr::Verdict(v) if v.target() == Some(chain));
        let by_map = |e: &&NftElement| matches!(&e.data, Some(NftData::Verdict(v)) if v.target() == Some(chain));
        let rules = self.chains.values().flat_map(|c| &c.rules).flat_map(|r| &r.exprs).filter(by_rule).count();
        let maps = self.sets.values().flat_map(|s| s.elements.values()).filter(by_map).count();
        u32::try_from(own + rules + maps).ok()
    }

    /// Whether none of its sets has an element.
    pub(crate) fn has_no_elements(&self) -> bool {
        self.sets.values().all(|set| set.elements.is_empty())
    }

    /// The table without the elements of its sets.
    pub(crate) fn frame(&self) -> NftTable {
        let sets = self.sets.iter().map(|(name, set)| (name.clone(), set.frame()));
        NftTable { flags: self.flags, chains: self.chains.clone(), sets: gather::map(sets), uses: BTreeMap::new() }
    }

    /// Adds what another look at the same table saw.
    pub(crate) fn merge(&mut self, other: NftTable) {
        self.flags |= other.flags;
        self.chains.extend(other.chains);
        self.uses.extend(other.uses);
        for (name, set) in other.sets {
            self.merge_set(name, set);
        }
    }

    /// Adds what another look at one of its sets saw.
    pub(crate) fn merge_set(&mut self, name: String, set: NftSet) {
        match self.sets.get_mut(&name) {
            Some(known) => known.elements.extend(set.elements),
            None => drop(self.sets.insert(name, set)),
        }
    }
}

/// A chain: a list of rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NftChain {
    /// Where packets come into it from the kernel; `None` for a chain that is only jumped to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<NftBase>,
    /// The rules, first to last.
    pub rules: Vec<NftRule>,
}

setters! { NftChain {
    with_base: base = impl Into<Option<NftBase>>;
    with_rules: rules = Vec<NftRule>;
} }

/// How a chain is hooked into the path of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NftBase {
    /// What it is for.
    pub kind: NftChainKind,
    /// Where it is.
    pub hook: NftHook,
    /// Its place among the chains of the hook, lower first. 0 is where filters are; NAT needs more than -200, where
    /// connection tracking is.
    pub priority: i32,
    /// What becomes of packets that no rule decided about.
    pub policy: NftPolicy,
}

impl NftBase {
    /// A hook, with what becomes of packets that no rule decides about.
    pub const fn new(kind: NftChainKind, hook: NftHook, priority: i32, policy: NftPolicy) -> Self {
        NftBase { kind, hook, priority, policy }
    }
}

/// What a base chain is for.
///
/// There are no others: nf_tables has these three types of chains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NftChainKind {
    /// Accepts and drops.
    Filter,
    /// Sees the first packet of each connection and may translate its addresses.
    Nat,
    /// Packets that it changes are routed again.
    Route,
}

impl NftChainKind {
    /// The kernel's name for it.
    pub const fn name(self) -> &'static str {
        match self {
            NftChainKind::Filter => "filter",
            NftChainKind::Nat => "nat",
            NftChainKind::Route => "route",
        }
    }

    /// The kind with this name.
    #[cfg(feature = "netlink")]
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [NftChainKind::Filter, NftChainKind::Nat, NftChainKind::Route].into_iter().find(|k| k.name() == name)
    }
}

/// Where a base chain sees packets.
///
/// Source: `include/uapi/linux/netfilter.h`, `NF_INET_*`; `netfilter_bridge.h`, `NF_BR_*` has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NftHook {
    /// Before it is decided where they go.
    Prerouting,
    /// Packets for this machine.
    Input,
    /// Packets that pass through.
    Forward,
    /// Packets that this machine sends.
    Output,
    /// Just before they leave.
    Postrouting,
}

impl NftHook {
    /// Every hook, in the order of the kernel's numbers.
    pub const ALL: [NftHook; 5] =
        [NftHook::Prerouting, NftHook::Input, NftHook::Forward, NftHook::Output, NftHook::Postrouting];

    /// The kernel's number, 0 to 4.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The hook with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|h| h.number() == number)
    }

    /// The name in nft's language.
    pub const fn name(self) -> &'static str {
        match self {
            NftHook::Prerouting => "prerouting",
            NftHook::Input => "input",
            NftHook::Forward => "forward",
            NftHook::Output => "output",
            NftHook::Postrouting => "postrouting",
        }
    }
}

/// What becomes of packets that no rule of a base chain decided about.
///
/// There are no others: the kernel refuses any other verdict as a policy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum NftPolicy {
    /// They go on.
    #[default]
    Accept,
    /// They are dropped.
    Drop,
}

impl NftPolicy {
    /// The name in nft's language.
    pub const fn name(self) -> &'static str {
        match self {
            NftPolicy::Accept => "accept",
            NftPolicy::Drop => "drop",
        }
    }
}

/// A set, or a map from keys to verdicts or values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NftSet {
    /// The fields of a key, 1 to 16 of them and at most 64 bytes in all; more than one are a concatenation.
    pub key: Vec<NftType>,
    /// What a key leads to; `None` for a plain set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<NftDataType>,
    /// Whether keys may be ranges. Single keys of such a set are ranges of one.
    #[serde(skip_serializing_if = "is_false")]
    pub interval: bool,
    /// Whether each element counts the packets that met it.
    #[serde(skip_serializing_if = "is_false")]
    pub counter: bool,
    /// The most elements it may hold; `None` for no limit, and for 65,535: the kernel gives that to a set without a limit when a rule puts
    /// keys into it, as nft does ([`NftExpr::Add`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u32>,
    /// Flags of the kernel's that this library has no word for (`NFT_SET_ANONYMOUS` 0x1, `NFT_SET_CONSTANT` 0x2,
    /// `NFT_SET_TIMEOUT` 0x10, `NFT_SET_EVAL` 0x20, `NFT_SET_OBJECT` 0x40); 0 in every set of xennet's own.
    #[serde(skip_serializing_if = "is_zero")]
    pub other_flags: u32,
    /// The elements by their keys.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<(NftKey, NftElement)>"))]
    #[serde(with = "crate::snapshot::pairs", skip_serializing_if = "BTreeMap::is_empty")]
    pub elements: BTreeMap<NftKey, NftElement>,
}

setters! { NftSet {
    with_key: key = Vec<NftType>;
    with_data: data = impl Into<Option<NftDataType>>;
    with_interval: interval = bool;
} }

impl NftSet {
    /// The size that is none.
    #[cfg(feature = "netlink")]
    pub(crate) const UNTOLD: u32 = 0xffff;

    /// The set without its elements.
    pub(crate) fn frame(&self) -> NftSet {
        NftSet {
            key: self.key.clone(),
            data: self.data.clone(),
            interval: self.interval,
            counter: self.counter,
            size: self.size,
            other_flags: self.other_flags,
            elements: BTreeMap::new(),
        }
    }
}

/// What the keys of a map lead to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftDataType {
    /// A verdict: where the packet goes next.
    Verdict,
    /// Values of these types, for example an address and a port.
    Value(Vec<NftType>),
}

/// The key of an element.
///
/// There are no other parts: a key is one value or an interval.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NftKey {
    /// One value for each field of the set's key; for a range, the first one of it. Empty: the catch-all element, which
    /// meets what no other element meets (`*`).
    pub first: Vec<NftValue>,
    /// The last value of a range, included, field by field; `None` for a single key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Vec<NftValue>>,
}

impl NftKey {
    /// A single key.
    pub fn exact(fields: impl IntoIterator<Item = NftValue>) -> Self {
        NftKey { first: fields.into_iter().collect(), last: None }
    }

    /// A range of one field, both ends included.
    pub fn range(first: NftValue, last: NftValue) -> Self {
        let last = (first != last).then(|| vec![last]);
        NftKey { first: vec![first], last }
    }

    /// All addresses of a network. Host bits are ignored.
    pub fn network(network: ipnetwork::IpNetwork) -> Self {
        match network {
            ipnetwork::IpNetwork::V4(n) => NftKey::range(NftValue::Ipv4(n.network()), NftValue::Ipv4(n.broadcast())),
            ipnetwork::IpNetwork::V6(n) => NftKey::range(NftValue::Ipv6(n.network()), NftValue::Ipv6(n.broadcast())),
        }
    }

    /// Whether it is the catch-all element.
    pub(crate) fn is_catch_all(&self) -> bool {
        self.first.is_empty()
    }

    /// A range of one value becomes a single key.
    pub(crate) fn canonical(mut self) -> Self {
        if self.last.as_ref() == Some(&self.first) {
            self.last = None;
        }
        self
    }

    /// Whether a point lies in the key, field by field.
    pub(crate) fn holds(&self, point: &[NftValue]) -> bool {
        let last = self.last.as_ref().unwrap_or(&self.first);
        !self.is_catch_all()
            && self.first.iter().zip(last).zip(point).all(|((a, b), p)| {
                let p = p.bytes();
                a.bytes() <= p && p <= b.bytes()
            })
    }

    /// The key as the kernel gives it back from a set with these fields.
    pub(crate) fn typed(&self, types: &[NftType]) -> NftKey {
        let typed = |fields: &[NftValue]| split(types, &concat(fields));
        if self.is_catch_all() {
            return self.clone();
        }
        NftKey { first: typed(&self.first), last: self.last.as_deref().map(typed) }.canonical()
    }
}

/// An element, beside its key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct NftElement {
    /// What the key leads to, in maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<NftData>,
    /// A note for people, 1 to 127 bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

setters! { NftElement {
    with_data: data = impl Into<Option<NftData>>;
    with_comment: comment = impl Into<Option<String>>;
} }

/// What a map's key leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftData {
    /// A verdict.
    Verdict(NftVerdict),
    /// One value for each field of the map's data.
    Value(Vec<NftValue>),
}
