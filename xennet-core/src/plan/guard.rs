//! The guard: what guests may send at a bridge, as one nft table.
//!
//! The table has a constant number of rules, and sets whose elements are per vif: what a packet costs, and what a hotplug
//! call costs, does not grow with the number of guests. It is of the bridge family, so it sees every frame that comes
//! in through a port, to other guests and to this domain alike, and needs no br_netfilter.
//!
//! Vifs are known to it by the names of their links, which is what administrators read in `nft list`. The elements of a vif
//! are added before its link goes up, and go after it is down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use super::Reason;
use crate::error::{Error, ErrorKind};
use crate::model::{Guarded, IfName, MacAddr};
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftCmp, NftElement, NftExpr, NftField, NftHeader, NftHook, NftKey, NftPolicy,
    NftRule, NftSet, NftTable, NftTableId, NftType, NftValue, NftVerdict, Part, Scope, Snapshot,
};
use crate::step::{NftOp, NftTransaction};

/// Links whose guests may use declared addresses only.
const DECLARED: &str = "declared";
/// Links whose guests are bound to their MAC only.
const BOUND: &str = "bound";
/// A chain: what guests say about addresses and roles in IPv6, whatever source they say it from.
const CLAIMS: &str = "claims";
/// Link and MAC.
const MACS: &str = "macs";
/// Link, MAC and a single address.
const HOSTS: [&str; 2] = ["ip4", "ip6"];
/// Link, MAC and a network: a set of ranges, which is slower to change and to search.
const NETWORKS: [&str; 2] = ["net4", "net6"];

/// All reserved addresses that a port may forward (`PortState::group_forward`). Else the bridge would learn the sources of
/// frames to them, and hand them to this domain, before any filter sees them.
pub(super) const RESERVED: u16 = 0xfffd;

/// Which version of the guard this is: a number made from all its rules and sets. A test says which it must be.
const VERSION: u32 = 0x0d07_31f9;
/// How often the kernel counts each chain as used: by its own rules, and by those that lead to it. A test counts, too.
const USES: [(&str, u32); 4] = [("prerouting", 2), (DECLARED, 20), (BOUND, 4), (CLAIMS, 6)];

const IPV4: u16 = 0x0800;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// An element of one of the guard's sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) link: IfName,
    pub(super) set: &'static str,
    pub(super) key: NftKey,
}

/// What the guard has to have of a link.
pub(super) fn items(guarded: &Guarded) -> Vec<Item> {
    let Guarded { link, guard } = guarded;
    let item = |set, fields: &[NftValue]| Item { link: *link, set, key: NftKey::exact(fields.iter().cloned()) };
    let (name, mac) = (NftValue::Name(*link), NftValue::Mac(guard.mac));
    let membership = if guard.addresses.is_some() { DECLARED } else { BOUND };
    let mut out = vec![item(membership, std::slice::from_ref(&name)), item(MACS, &[name.clone(), mac.clone()])];
    for source in guard.sources() {
        let family = usize::from(source.is_ipv6());
        let range = NftKey::network(source);
        let with = |last: &[NftValue]| -> Vec<NftValue> {
            [name.clone(), mac.clone()].into_iter().chain(last.iter().cloned()).collect()
        };
        let set = if range.last.is_some() { NETWORKS[family] } else { HOSTS[family] };
        let key = NftKey { first: with(&range.first), last: range.last.as_deref().map(with) };
        out.push(Item { link: *link, set, key });
    }
    out
}

/// The element that says which version of the guard is there.
fn version() -> NftKey {
    NftKey::exact([NftValue::U32(VERSION)])
}

/// What has to be looked at to see that the guard is there and whole: its version, and how much its chains are used. Where
/// that is not as it must be, all of it.
pub(super) fn frame_scope(seen: &Snapshot) -> Scope {
    let id = NftTableId::guard();
    let mut scope: Scope = USES.iter().map(|(chain, _)| Part::NftUse(id.clone(), (*chain).into())).collect();
    scope.insert(Part::NftElement(id.clone(), NftTableId::GUARD_VERSION.into(), version()));
    if scope.parts().all(|part| seen.scope.contains(part)) && !looks_whole(seen) {
        scope.insert(Part::NftFrame(id));
    }
    scope
}

/// Whether a part is about the guard as such, and no vif's.
pub(crate) fn is_of_frame(part: &Part) -> bool {
    match part {
        Part::NftFrame(id) | Part::NftUse(id, _) => id.is_guard(),
        Part::NftElement(id, set, _) => id.is_guard() && set == NftTableId::GUARD_VERSION,
        _ => false,
    }
}

/// Whether version and uses are what they must be. An administrator who replaces one rule by another is not seen by this.
fn looks_whole(seen: &Snapshot) -> bool {
    let Some(table) = seen.nft.get(&NftTableId::guard()) else { return false };
    has_version(table) && USES.iter().all(|(chain, uses)| table.uses.get(*chain) == Some(uses))
}

/// What has to be looked at to add or remove the elements of links.
pub(super) fn scope<'a>(guarded: impl Iterator<Item = &'a Guarded>) -> Scope {
    guarded.flat_map(items).map(|i| Part::NftElement(NftTableId::guard(), i.set.into(), i.key)).collect()
}

/// Which links the guard is to know, and which elements shall go.
#[derive(Default)]
pub(super) struct Wish {
    /// These elements must be there.
    pub(super) present: Vec<Item>,
    /// These must not, unless they are among the others.
    pub(super) absent: Vec<Item>,
    pub(super) why: Option<Reason>,
}

impl Wish {
    /// The guard of a vif, instead of what a record says that it has.
    pub(super) fn instead(guarded: Option<&Guarded>, recorded: Option<&Guarded>) -> Wish {
        let why = match (guarded, recorded) {
            (Some(g), _) if g.guard.addresses.is_some() => "ip= declares what the guest may send",
            (Some(_), _) => "the guest is bound to its MAC",
            (None, _) => "nothing is declared of what the guest may send",
        };
        Wish::new(guarded, recorded, Reason::fixed(why))
    }

    /// No guard any more.
    pub(super) fn gone(recorded: Option<&Guarded>) -> Wish {
        Wish::new(None, recorded, Reason::fixed("the guard of a vif goes with it"))
    }

    fn new(guarded: Option<&Guarded>, recorded: Option<&Guarded>, why: Reason) -> Wish {
        let list = |g: Option<&Guarded>| g.map(items).unwrap_or_default();
        Wish { present: list(guarded), absent: list(recorded), why: Some(why) }
    }

    /// What was seen of the guard, all of it that was looked at.
    pub(super) fn restored(target: &Snapshot, why: Reason) -> Wish {
        let mut wish = Wish { why: Some(why), ..Wish::default() };
        for part in target.scope.parts() {
            let Part::NftElement(table, set, key) = part else { continue };
            let named = [DECLARED, BOUND, MACS].into_iter().chain(HOSTS).chain(NETWORKS).find(|s| s == set);
            let (true, Some(set), Some(NftValue::Name(link))) = (table.is_guard(), named, key.first.first()) else {
                continue;
            };
            let item = Item { link: *link, set, key: key.clone() };
            let was = has(target, &item);
            if was { wish.present.push(item) } else { wish.absent.push(item) }
        }
        wish
    }

    /// What is missing in a world, and what is too much.
    fn difference(&self, now: &Snapshot) -> (Vec<&Item>, Vec<&Item>) {
        let add = self.present.iter().filter(|i| !has(now, i)).collect();
        let del = self.absent.iter().filter(|i| !self.present.contains(i) && has(now, i)).collect();
        (add, del)
    }

    /// The changes that come before any link is touched: what is missing, and what has to make way for it.
    ///
    /// # Errors
    /// [`ErrorKind::Conflict`] if there is a table of the guard's name whose sets are not the guard's.
    pub(super) fn first(&self, now: &Snapshot) -> Result<Option<NftTransaction>, Error> {
        let (add, del) = self.difference(now);
        if add.is_empty() && (self.present.is_empty() || is_framed(now)) {
            return Ok(None);
        }
        let mut ops = framing(now)?;
        // A network that lies around another one may only come when that one has gone.
        ops.extend(deletions(del.into_iter().filter(|d| add.iter().any(|a| a.link == d.link))));
        ops.extend(by_set(add).into_iter().map(|(set, keys)| NftOp::AddElements {
            set: set.into(),
            elements: keys.into_iter().map(|key| (key, NftElement::default())).collect(),
        }));
        Ok(Some(NftTransaction::new(NftTableId::guard(), ops)))
    }

    /// The changes that come when the links are as wanted: what is too much.
    pub(super) fn last(&self, now: &Snapshot) -> Option<NftTransaction> {
        let (_, del) = self.difference(now);
        let ops = deletions(del.into_iter());
        (!ops.is_empty()).then(|| NftTransaction::new(NftTableId::guard(), ops))
    }
}

fn has(world: &Snapshot, item: &Item) -> bool {
    let set = world.nft.get(&NftTableId::guard()).and_then(|table| table.sets.get(item.set));
    set.is_some_and(|set| set.elements.contains_key(&item.key))
}

fn by_set<'a>(items: impl IntoIterator<Item = &'a Item>) -> BTreeMap<&'static str, Vec<NftKey>> {
    let mut sets: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for item in items {
        sets.entry(item.set).or_default().push(item.key.clone());
    }
    sets
}

fn deletions<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<NftOp> {
    by_set(items).into_iter().map(|(set, keys)| NftOp::DelElements { set: set.into(), keys }).collect()
}

/// Whether there is a guard whose chains and sets are not as they must be.
pub(super) fn is_broken(now: &Snapshot) -> bool {
    now.nft.contains_key(&NftTableId::guard()) && !is_framed(now)
}

/// Whether the guard's chains and sets are as they must be, as far as they were looked at.
fn is_framed(now: &Snapshot) -> bool {
    let id = NftTableId::guard();
    if now.scope.contains(&Part::NftFrame(id.clone())) {
        return now.nft.get(&id).is_some_and(|table| table.frame() == *FRAME && has_version(table));
    }
    let looked = USES.iter().any(|(chain, _)| now.scope.contains(&Part::NftUse(id.clone(), (*chain).into())));
    !looked || looks_whole(now)
}

fn has_version(table: &NftTable) -> bool {
    table.sets.get(NftTableId::GUARD_VERSION).is_some_and(|set| set.elements.contains_key(&version()))
}

/// The operations that make the guard what it must be: all of it, or its rules anew.
fn framing(now: &Snapshot) -> Result<Vec<NftOp>, Error> {
    let id = NftTableId::guard();
    let found = now.nft.get(&id);
    if found.is_some() && is_framed(now) {
        return Ok(Vec::new());
    }
    // Made only where it is needed.
    let wanted = &*FRAME;
    let mut ops = Vec::new();
    let rules = |ops: &mut Vec<NftOp>| {
        for (chain, c) in &wanted.chains {
            ops.extend(c.rules.iter().map(|rule| NftOp::AddRule { chain: chain.clone(), rule: rule.clone() }));
        }
    };
    match found {
        None => {
            ops.push(NftOp::AddTable);
            ops.extend(wanted.chains.iter().map(|(name, c)| NftOp::AddChain { chain: name.clone(), base: c.base }));
            ops.extend(wanted.sets.iter().map(|(name, def)| NftOp::AddSet { set: name.clone(), def: def.clone() }));
            rules(&mut ops);
            ops.push(add_version());
        }
        Some(found) => {
            let same_base = |(name, c): (&String, &NftChain)| found.chains.get(name).is_some_and(|f| f.base == c.base);
            if found.frame().sets != wanted.sets || !wanted.chains.iter().all(same_base) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("the nft table {id} is not as this version of xennet makes it, and vifs may depend on it"),
                )
                .with_object(format!("nft table {id}"))
                .with_state("unchanged, nothing was applied")
                .with_hint(format!(
                    "detach the guests with ip=, remove it (nft delete table {id}), and attach them again"
                )));
            }
            ops.extend(wanted.chains.keys().map(|chain| NftOp::FlushChain { chain: chain.clone() }));
            rules(&mut ops);
            if !has_version(found) {
                ops.push(add_version());
            }
        }
    }
    Ok(ops)
}

fn add_version() -> NftOp {
    NftOp::AddElements { set: NftTableId::GUARD_VERSION.into(), elements: vec![(version(), NftElement::default())] }
}

/// The guard's sets, without elements.
pub(crate) fn sets() -> impl Iterator<Item = (String, NftSet)> {
    let set = |key: &[NftType], interval| NftSet { key: key.to_vec(), interval, ..NftSet::default() };
    let of_guest = |last| [NftType::IfName, NftType::EtherAddr, last];
    let (v4, v6) = (of_guest(NftType::Ipv4Addr), of_guest(NftType::Ipv6Addr));
    let sets = [
        (DECLARED, set(&[NftType::IfName], false)),
        (BOUND, set(&[NftType::IfName], false)),
        (MACS, set(&[NftType::IfName, NftType::EtherAddr], false)),
        (HOSTS[0], set(&v4, false)),
        (HOSTS[1], set(&v6, false)),
        (NETWORKS[0], set(&v4, true)),
        (NETWORKS[1], set(&v6, true)),
        (NftTableId::GUARD_VERSION, set(&[NftType::Mark], false)),
    ];
    sets.into_iter().map(|(name, set)| (name.into(), set))
}

/// The guard without any vif.
static FRAME: LazyLock<NftTable> = LazyLock::new(frame);

fn frame() -> NftTable {
    use NftField::IifName;
    let entry = vec![
        rule([lookup(&[IifName], DECLARED), goto(DECLARED)], None),
        rule([lookup(&[IifName], BOUND), goto(BOUND)], None),
    ];
    // Behind NF_BR_PRI_NAT_DST_BRIDGED stands nothing that could have changed the frame.
    let base =
        NftBase { kind: NftChainKind::Filter, hook: NftHook::Prerouting, priority: -300, policy: NftPolicy::Accept };
    NftTable {
        chains: BTreeMap::from([
            ("prerouting".into(), NftChain { base: Some(base), rules: entry }),
            (DECLARED.into(), NftChain { base: None, rules: declared() }),
            (BOUND.into(), NftChain { base: None, rules: bound() }),
            (CLAIMS.into(), NftChain { base: None, rules: claims() }),
        ]),
        sets: sets().collect(),
        uses: BTreeMap::new(),
    }
}

/// What a guest with declared addresses may send.
fn declared() -> Vec<NftRule> {
    use NftField::{
        ArpDaddrIp, ArpOperation, ArpSaddrEther, ArpSaddrIp, EtherSaddr, IcmpType, Icmpv6Target, IifName, Ip6Saddr,
        IpDaddr, IpSaddr, L4Proto, ThDport, ThSport,
    };
    let mut rules = vec![to_the_bridge()];
    // An address of one's own is no leave to give out addresses. Clients do not care which port the answer comes from.
    let dhcp = [is(IPV4), over(UDP), NftExpr::eq(ThDport, NftValue::U16(68)), first_fragment(), drop()];
    rules.push(rule(dhcp, Some("no DHCP servers among guests")));
    rules.push(rule([is(IPV6), NftExpr::ne(L4Proto, NftValue::U8(TCP)), jump(CLAIMS)], None));
    // What nearly all frames are.
    for (protocol, source, sets) in
        [(IPV4, IpSaddr, [HOSTS[0], NETWORKS[0]]), (IPV6, Ip6Saddr, [HOSTS[1], NETWORKS[1]])]
    {
        for set in sets {
            rules.push(rule([is(protocol), lookup(&[IifName, EtherSaddr, source], set), accept()], None));
        }
    }
    rules.push(rule([other_than(&[IifName, EtherSaddr], MACS), drop()], None));
    let arp = || vec![is(ARP)].into_iter().chain(ethernet_arp()).chain([lookup(&[IifName, ArpSaddrEther], MACS)]);
    for set in [HOSTS[0], NETWORKS[0]] {
        rules.push(rule(arp().chain([lookup(&[IifName, EtherSaddr, ArpSaddrIp], set), accept()]), None));
    }
    let nobody4 = NftValue::Ipv4(Ipv4Addr::UNSPECIFIED);
    let nobody6 = NftValue::Ipv6(Ipv6Addr::UNSPECIFIED);
    // A probe for another's address would keep it from being used.
    for set in [HOSTS[0], NETWORKS[0]] {
        let probe = [
            NftExpr::eq(ArpOperation, NftValue::U16(1)),
            NftExpr::eq(ArpSaddrIp, nobody4.clone()),
            lookup(&[IifName, EtherSaddr, ArpDaddrIp], set),
            accept(),
        ];
        rules.push(rule(arp().chain(probe), Some("ARP probe (RFC 5227)")));
    }
    let dhcp = [
        is(IPV4),
        NftExpr::eq(IpSaddr, nobody4),
        NftExpr::eq(IpDaddr, NftValue::Ipv4(Ipv4Addr::BROADCAST)),
        over(UDP),
        NftExpr::eq(ThSport, NftValue::U16(68)),
        NftExpr::eq(ThDport, NftValue::U16(67)),
        first_fragment(),
        accept(),
    ];
    rules.push(rule(dhcp, Some("DHCP client without an address")));
    let unspecified = |kind, more: Option<NftExpr>| {
        let message = [NftExpr::eq(Ip6Saddr, nobody6.clone()), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind))];
        let exprs = [is(IPV6)].into_iter().chain(message).chain(more).chain([accept()]);
        rule(exprs, Some("duplicate address detection (RFC 4862)"))
    };
    // Neighbour solicitation: of another's address it would keep that from being used.
    for set in [HOSTS[1], NETWORKS[1]] {
        rules.push(unspecified(135, Some(lookup(&[IifName, EtherSaddr, Icmpv6Target], set))));
    }
    // Multicast listener reports and done, which go with it.
    rules.extend([131, 132, 143].map(|kind| unspecified(kind, None)));
    rules.push(rule([drop()], None));
    rules
}

/// What a guest with declared addresses may not say even from them.
fn claims() -> Vec<NftRule> {
    use NftField::{EtherSaddr, IcmpType, Icmpv6Target, IifName};
    let icmp = |kind| [is(IPV6), over(ICMPV6), NftExpr::eq(IcmpType, NftValue::U8(kind))].into_iter();
    // Source port, destination port, length, checksum: eight bytes at once, which the kernel does not read from a later
    // fragment. (Two it does, from a wrong place.)
    let ports = NftField::Payload { header: NftHeader::Transport, offset: 0, bytes: 8 };
    let dhcp = NftExpr::Match {
        field: ports,
        mask: Some(NftValue::Bytes(vec![0, 0, 0xff, 0xff, 0, 0, 0, 0])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![0, 0, 0x02, 0x22, 0, 0, 0, 0]),
    };
    let mut rules = vec![
        rule(icmp(134).chain([drop()]), Some("no routers among guests")),
        rule([is(IPV6), over(UDP), dhcp, drop()], Some("no DHCP servers among guests")),
    ];
    // Neighbour advertisement: what it says of an address counts, not where it comes from.
    for set in [HOSTS[1], NETWORKS[1]] {
        rules.push(rule(icmp(136).chain([lookup(&[IifName, EtherSaddr, Icmpv6Target], set), back()]), None));
    }
    rules.push(rule(icmp(136).chain([drop()]), Some("nobody speaks for another's address")));
    rules
}

/// What a guest may send that is bound to its MAC.
fn bound() -> Vec<NftRule> {
    use NftField::{ArpSaddrEther, EtherSaddr, IifName};
    let arp = vec![is(ARP)].into_iter().chain(ethernet_arp());
    vec![
        to_the_bridge(),
        rule([other_than(&[IifName, EtherSaddr], MACS), drop()], None),
        rule(arp.chain([other_than(&[IifName, ArpSaddrEther], MACS), drop()]), None),
    ]
}

/// Spanning tree, link aggregation, port authentication, LLDP: what the ends of a cable say to each other. Guests are no
/// bridges. Here because their ports forward it ([`RESERVED`]).
fn to_the_bridge() -> NftRule {
    let to = NftExpr::Match {
        field: NftField::EtherDaddr,
        mask: Some(NftValue::Mac(MacAddr::new([0xff, 0xff, 0xff, 0xff, 0xff, 0xf0]))),
        op: NftCmp::Eq,
        value: NftValue::Mac(MacAddr::new([0x01, 0x80, 0xc2, 0, 0, 0])),
    };
    rule([to, drop()], Some("for bridges only (IEEE 802.1D)"))
}

/// ARP for IPv4 over ethernet: only there the fields are where they are looked for.
fn ethernet_arp() -> [NftExpr; 4] {
    use NftField::{ArpHlen, ArpHtype, ArpPlen, ArpPtype};
    [
        NftExpr::eq(ArpHtype, NftValue::U16(1)),
        NftExpr::eq(ArpPtype, NftValue::U16(IPV4)),
        NftExpr::eq(ArpHlen, NftValue::U8(6)),
        NftExpr::eq(ArpPlen, NftValue::U8(4)),
    ]
}

fn rule(exprs: impl IntoIterator<Item = NftExpr>, comment: Option<&str>) -> NftRule {
    // As the kernel gives it back, so that the two can be compared.
    NftRule { exprs: exprs.into_iter().collect(), comment: comment.map(str::to_owned) }.canonical()
}

fn is(protocol: u16) -> NftExpr {
    NftExpr::eq(NftField::Protocol, NftValue::U16(protocol))
}

fn over(protocol: u8) -> NftExpr {
    NftExpr::eq(NftField::L4Proto, NftValue::U8(protocol))
}

/// IPv4: not a later fragment, where ports are looked for in the middle of a datagram.
fn first_fragment() -> NftExpr {
    // Together with the identification before it: two bytes at this place have a name already, in ARP.
    NftExpr::Match {
        field: NftField::Payload { header: NftHeader::Network, offset: 4, bytes: 4 },
        mask: Some(NftValue::Bytes(vec![0, 0, 0x1f, 0xff])),
        op: NftCmp::Eq,
        value: NftValue::Bytes(vec![0; 4]),
    }
}

fn lookup(key: &[NftField], set: &str) -> NftExpr {
    NftExpr::Lookup { key: key.to_vec(), set: set.into(), inverted: false }
}

fn other_than(key: &[NftField], set: &str) -> NftExpr {
    NftExpr::Lookup { key: key.to_vec(), set: set.into(), inverted: true }
}

fn accept() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Accept)
}

fn drop() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Drop)
}

fn back() -> NftExpr {
    NftExpr::Verdict(NftVerdict::Return)
}

fn jump(chain: &str) -> NftExpr {
    NftExpr::Verdict(NftVerdict::Jump(chain.into()))
}

fn goto(chain: &str) -> NftExpr {
    NftExpr::Verdict(NftVerdict::Goto(chain.into()))
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;
    use crate::snapshot::nft_facts;

    #[test]
    fn version_and_uses_are_those_of_the_rules() {
        let facts = nft_facts(&BTreeMap::from([(NftTableId::guard(), FRAME.clone())])).join("\n");
        let digest = Sha256::digest(facts.as_bytes());
        let version = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let uses: Vec<(&str, Option<u32>)> = USES.iter().map(|(chain, _)| (*chain, FRAME.use_of(chain))).collect();
        assert_eq!(FRAME.chains.len(), USES.len(), "every chain is counted");
        let wanted: Vec<(&str, Option<u32>)> = USES.iter().map(|(chain, n)| (*chain, Some(*n))).collect();
        assert_eq!(uses, wanted, "the rules have changed: put these numbers into USES");
        assert_eq!(version, VERSION, "the rules have changed: put {version:#010x} into VERSION");
    }
}
