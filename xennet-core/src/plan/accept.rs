//! Rules of a network in chains of other firewalls, which accept what its guests send and get ([`NatNetwork::accept_in`]).
//!
//! Of another program's table nothing else is ever changed. A rule of ours is marked with a comment that names the network, and it is known
//! by its whole content: handles do not outlive a reload of that firewall. The rules tell guests by their private bridge or by the network's
//! subnets, so no hotplug call has to change them.
//!
//! [`NatNetwork::accept_in`]: crate::model::NatNetwork::accept_in

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::Reason;
use crate::error::{Error, ErrorKind};
use crate::gather;
use crate::model::{Egress, ForeignChain, ForeignFamily, ForeignHook, IfName, NetworkMode, ResolvedNetwork, Services};
use crate::snapshot::{
    NftBase, NftChain, NftChainKind, NftExpr, NftFamily, NftField, NftHook, NftRule, NftSource, NftTable, NftTableId,
    NftValue, NftVerdict, Part, Scope, Snapshot,
};
use crate::step::{NftOp, NftTransaction, Step};

/// How the comments of such rules begin; the network's name follows.
const MARK: &str = "xennet network ";

/// Numbers of protocols (IANA), and `NFPROTO_IPV4` and `NFPROTO_IPV6`.
const TCP: u8 = 6;
const UDP: u8 = 17;
const NFPROTO: [u8; 2] = [2, 10];

/// Ports of DHCP servers (IPv4, IPv6) and of name servers.
const DHCP: [u16; 2] = [67, 547];
const DNS: u16 = 53;

/// What another program's chain shall have of ours.
pub(super) struct Accepts {
    table: NftTableId,
    chain: String,
    /// These rules.
    present: Vec<NftRule>,
    /// In this very order: what was there before is put back as it was.
    in_order: bool,
    /// None of these.
    absent: Vec<NftRule>,
    pub(super) why: Reason,
    pub(super) why_not: Reason,
}

impl Accepts {
    /// The chain, if something can be changed in it. One that has gone or that is another process's alone is left: on the way there [`wanted`]
    /// refuses it.
    fn chain<'a>(&self, world: &'a Snapshot) -> Option<&'a NftChain> {
        let table = world.nft.get(&self.table).filter(|t| t.flags & NftTable::OWNED == 0)?;
        table.chains.get(&self.chain)
    }

    fn step(&self, op: impl FnOnce(String) -> NftOp) -> Step {
        Step::Nft(NftTransaction::new(self.table.clone(), vec![op(self.chain.clone())]))
    }

    fn removals<'a>(&'a self, chain: &'a NftChain, rule: &'a NftRule) -> impl Iterator<Item = Step> + 'a {
        let there = chain.rules.iter().filter(move |r| r.is_same(rule));
        there.map(|rule| self.step(|chain| NftOp::DelRule { chain, rule: rule.clone() }))
    }

    /// The steps that remove what is too much, a step a rule.
    pub(super) fn removing(&self, world: &Snapshot) -> Vec<Step> {
        let Some(chain) = self.chain(world) else { return Vec::new() };
        self.absent.iter().flat_map(|rule| self.removals(chain, rule)).collect()
    }

    /// The steps that add what is missing. A rule is put first: where the order counts, those before it are put there once more.
    pub(super) fn adding(&self, world: &Snapshot) -> Vec<Step> {
        let Some(chain) = self.chain(world) else { return Vec::new() };
        let is_missing = |rule: &&NftRule| !has(chain, rule);
        let Some(last) = self.present.iter().rposition(|rule| !has(chain, rule)) else { return Vec::new() };
        let anew: Vec<&NftRule> = match self.in_order {
            true => self.present[..=last].iter().collect(),
            false => self.present.iter().filter(is_missing).collect(),
        };
        let removed = anew.iter().flat_map(|rule| self.removals(chain, rule));
        let added = anew.iter().rev().map(|rule| self.step(|chain| NftOp::InsertRule { chain, rule: (*rule).clone() }));
        removed.chain(added).collect()
    }
}

/// Whether an operation on another program's table is one that a network may do there.
pub(super) fn is_allowed(op: &NftOp) -> bool {
    match op {
        NftOp::InsertRule { rule, .. } | NftOp::DelRule { rule, .. } => {
            rule.as_nft_makes_it().comment.is_some_and(|comment| comment.starts_with(MARK))
        }
        _ => false,
    }
}

fn table_of(chain: &ForeignChain) -> NftTableId {
    let family = match chain.family() {
        ForeignFamily::Ip => NftFamily::Ip,
        ForeignFamily::Ip6 => NftFamily::Ip6,
        ForeignFamily::Inet => NftFamily::Inet,
    };
    NftTableId::new(family, chain.table().1.to_owned())
}

const fn nft_hook(hook: ForeignHook) -> NftHook {
    match hook {
        ForeignHook::Forward => NftHook::Forward,
        ForeignHook::Input => NftHook::Input,
    }
}

/// `FIELD == NETWORK` as nft and iptables-nft make it: of whole bytes only these are read. So the rule is the same one where somebody has
/// saved and loaded the ruleset.
fn lies_in(field: NftField, network: IpNetwork) -> NftExpr {
    let address = match network.network() {
        IpAddr::V4(a) => NftValue::Ipv4(a),
        IpAddr::V6(a) => NftValue::Ipv6(a),
    };
    let mut bytes = address.bytes();
    let whole = usize::from(network.prefix() / 8);
    match field.source() {
        _ if whole == bytes.len() => NftExpr::eq(field, address),
        NftSource::Payload(header, offset, _) if network.prefix().is_multiple_of(8) && whole > 0 => {
            bytes.truncate(whole);
            NftExpr::eq(NftField::Payload { header, offset, bytes: network.prefix() / 8 }, NftValue::Bytes(bytes))
        }
        _ => NftExpr::within(field, network),
    }
}

/// What the rules of a network depend on, besides the chain.
struct Of<'a> {
    started: &'a ResolvedNetwork,
    /// The link that guests are not behind.
    outside: Option<IfName>,
    dhcp: bool,
    dns: bool,
}

impl Of<'_> {
    fn bridge(&self) -> Option<IfName> {
        self.started.network.bridge().map(|b| b.name())
    }

    fn rule(&self, exprs: impl IntoIterator<Item = NftExpr>) -> NftRule {
        // The order of iptables, which counts in every rule: so it lists them as its own.
        let end = [NftExpr::Counter, NftExpr::Verdict(NftVerdict::Accept)];
        let mark = format!("{MARK}{}", self.started.network.name());
        NftRule::new(exprs.into_iter().chain(end)).with_comment(mark).canonical()
    }

    /// What comes in from where guests are.
    fn where_guests_are(&self) -> Option<NftExpr> {
        let name = |link| NftValue::Name(link);
        match self.bridge() {
            Some(bridge) => Some(NftExpr::eq(NftField::IifName, name(bridge))),
            // An address tells a guest where it does not come from outside.
            None => self.outside.map(|outside| NftExpr::ne(NftField::IifName, name(outside))),
        }
    }

    /// An address of each subnet whose packets the chain sees: the source, or the destination.
    fn subnets(&self, chain: &ForeignChain, [v4, v6]: [NftField; 2]) -> Vec<Vec<NftExpr>> {
        let seen = |network: &IpNetwork| chain.family().sees(network.is_ipv6());
        let subnets = self.started.network.subnets().iter().map(|s| s.network()).filter(seen);
        let one = |network: IpNetwork| {
            let of_family = NftExpr::eq(NftField::NfProto, NftValue::U8(NFPROTO[usize::from(network.is_ipv6())]));
            let of_family = (chain.family() == ForeignFamily::Inet).then_some(of_family);
            let field = if network.is_ipv6() { v6 } else { v4 };
            of_family.into_iter().chain([lies_in(field, network)]).collect()
        };
        subnets.map(one).collect()
    }

    fn rules(&self, chain: &ForeignChain, hook: ForeignHook) -> Vec<NftRule> {
        match hook {
            ForeignHook::Forward => self.forward(chain),
            ForeignHook::Input => self.input(chain),
        }
    }

    /// What comes from guests and what goes to them.
    fn forward(&self, chain: &ForeignChain) -> Vec<NftRule> {
        if let Some(bridge) = self.bridge() {
            let by = |field| self.rule([NftExpr::eq(field, NftValue::Name(bridge))]);
            return vec![by(NftField::IifName), by(NftField::OifName)];
        }
        let from = self.subnets(chain, [NftField::IpSaddr, NftField::Ip6Saddr]);
        let to = self.subnets(chain, [NftField::IpDaddr, NftField::Ip6Daddr]);
        let from = from.into_iter().map(|source| self.rule(self.where_guests_are().into_iter().chain(source)));
        from.chain(to.into_iter().map(|destination| self.rule(destination))).collect()
    }

    /// What guests ask this host for. Who asks for an address has none yet.
    fn input(&self, chain: &ForeignChain) -> Vec<NftRule> {
        let port = |protocol, port| {
            [
                NftExpr::eq(NftField::L4Proto, NftValue::U8(protocol)),
                NftExpr::eq(NftField::ThDport, NftValue::U16(port)),
            ]
        };
        let mut rules = Vec::new();
        let subnets = self.started.network.subnets();
        for ipv6 in [false, true] {
            let has = subnets.iter().any(|s| s.network().is_ipv6() == ipv6);
            if self.dhcp && has && chain.family().sees(ipv6) {
                let server = port(UDP, DHCP[usize::from(ipv6)]);
                rules.push(self.rule(self.where_guests_are().into_iter().chain(server)));
            }
        }
        if self.dns {
            let sources = match self.bridge() {
                Some(_) => vec![Vec::new()],
                None => self.subnets(chain, [NftField::IpSaddr, NftField::Ip6Saddr]),
            };
            for source in sources {
                for protocol in [UDP, TCP] {
                    let all =
                        self.where_guests_are().into_iter().chain(source.iter().cloned()).chain(port(protocol, DNS));
                    rules.push(self.rule(all));
                }
            }
        }
        rules
    }
}

/// The rules that a network needs in a chain.
fn needed(started: &ResolvedNetwork, chain: &ForeignChain, hook: ForeignHook) -> Vec<NftRule> {
    let none = Services::default();
    let services = started.network.services().unwrap_or(&none);
    Of { started, outside: started.outside, dhcp: services.dhcp, dns: services.dns }.rules(chain, hook)
}

/// All rules that a network may have put into a chain, by an earlier description as well.
fn possible(started: &ResolvedNetwork, chain: &ForeignChain) -> BTreeSet<NftRule> {
    let egress = match started.network.mode() {
        NetworkMode::Nat(n) => &n.egress,
        NetworkMode::Routed(r) => &r.uplink,
        NetworkMode::Bridge(_) => return BTreeSet::new(),
    };
    // It may have been started before there was a default route.
    let before = (*egress == Egress::DefaultRoute).then_some(None);
    let hooks: &[ForeignHook] = match chain.hook() {
        Some(ForeignHook::Forward) => &[ForeignHook::Forward],
        Some(ForeignHook::Input) => &[ForeignHook::Input],
        None => &[ForeignHook::Forward, ForeignHook::Input],
    };
    let outsides = [started.outside].into_iter().chain(before);
    let all = outsides.map(|outside| Of { started, outside, dhcp: true, dns: true });
    gather::set(all.flat_map(|of| hooks.iter().flat_map(move |hook| of.rules(chain, *hook)).collect::<Vec<_>>()))
}

/// What has to be looked at to see which rules of a network are there, also of chains that its description does not name any more.
pub(crate) fn scope(started: &ResolvedNetwork) -> Scope {
    let chains = started.network.accept_in().iter().chain(&started.former_accept_in);
    let part = |chain: &ForeignChain| {
        let (id, name) = (table_of(chain), chain.chain().to_owned());
        let parts = possible(started, chain).into_iter();
        parts.map(move |rule| Part::NftRule(id.clone(), name.clone().into(), rule))
    };
    chains.flat_map(part).collect()
}

fn has(chain: &NftChain, rule: &NftRule) -> bool {
    chain.rules.iter().any(|r| r.is_same(rule))
}

fn found<'a>(now: &'a Snapshot, chain: &ForeignChain) -> Option<&'a NftChain> {
    now.nft.get(&table_of(chain))?.chains.get(chain.chain())
}

/// The hook that the packets of a chain come from.
///
/// # Errors
/// Why it is none that something could be accepted at.
fn hook_of(chain: &ForeignChain, base: Option<&NftBase>) -> Result<ForeignHook, String> {
    let Some(base) = base else { return Ok(chain.hook().unwrap_or(ForeignHook::Forward)) };
    let (hook, kind) = (base.hook.name(), base.kind.name());
    let seen = match base.hook {
        NftHook::Forward => ForeignHook::Forward,
        NftHook::Input => ForeignHook::Input,
        _ => return Err(format!("is hooked in at {hook}: accepts are for chains at forward and at input")),
    };
    if base.kind != NftChainKind::Filter {
        return Err(format!("is of type {kind}: accepts are for chains of type filter"));
    }
    match chain.hook() {
        Some(named) if named != seen => Err(format!("is hooked in at {hook}, and not at {}", named.name())),
        _ => Ok(seen),
    }
}

/// The rules that a network shall have in other programs' chains, and those that it shall not have any more.
///
/// # Errors
/// [`ErrorKind::Conflict`] for a chain that is not there or is none that something can be accepted in; [`ErrorKind::Unsupported`] for one
/// that only its owner may change.
pub(super) fn wanted(started: &ResolvedNetwork, now: &Snapshot) -> Result<Vec<Accepts>, Error> {
    let mut all: Vec<Accepts> = Vec::new();
    for chain in started.network.accept_in() {
        let present = present(started, chain, now)?;
        all.push(Accepts { present, ..of_chain(started, chain) });
    }
    for chain in &started.former_accept_in {
        if !all.iter().any(|a| a.table == table_of(chain) && a.chain == chain.chain()) {
            all.push(of_chain(started, chain));
        }
    }
    for part in scope(started).parts() {
        let Part::NftRule(table, chain, rule) = part else { continue };
        if let Some(of) = all.iter_mut().find(|a| a.table == *table && a.chain == *chain)
            && !of.present.contains(rule)
        {
            of.absent.push(rule.clone());
        }
    }
    Ok(all)
}

/// A chain that shall have nothing.
fn of_chain(started: &ResolvedNetwork, chain: &ForeignChain) -> Accepts {
    let network = started.network.name();
    Accepts {
        table: table_of(chain),
        chain: chain.chain().to_owned(),
        present: Vec::new(),
        in_order: false,
        absent: Vec::new(),
        why: Reason::told(format!("network {network} has its packets accepted there")),
        why_not: Reason::told(format!("network {network} does not need it any more")),
    }
}

/// The rules that a network shall have in a chain that its description names.
fn present(started: &ResolvedNetwork, chain: &ForeignChain, now: &Snapshot) -> Result<Vec<NftRule>, Error> {
    let (network, id, name) = (started.network.name(), table_of(chain), chain.chain());
    let there = found(now, chain).ok_or_else(|| not_there(started, chain, now))?;
    let wrong = |why: String| {
        let message = format!("network {network}: nft chain {id} {name} {why}");
        let hint = format!("`nft list chain {id} {name}` shows it; name another chain in accept_in, or leave it out");
        error(ErrorKind::Conflict, chain, message).with_hint(hint)
    };
    let hook = hook_of(chain, there.base.as_ref()).map_err(wrong)?;
    let rules = needed(started, chain, hook);
    if rules.is_empty() {
        return Err(wrong("is hooked in at input, and the network has neither dhcp nor dns to be asked for".into()));
    }
    let is_owned = now.nft.get(&id).is_some_and(|table| table.flags & NftTable::OWNED != 0);
    if is_owned && rules.iter().any(|rule| !has(there, rule)) {
        return Err(owned(started, chain));
    }
    Ok(rules)
}

fn error(kind: ErrorKind, chain: &ForeignChain, message: String) -> Error {
    Error::new(kind, message).with_object(format!("nft chain {} {}", table_of(chain), chain.chain())).unchanged()
}

fn not_there(started: &ResolvedNetwork, chain: &ForeignChain, now: &Snapshot) -> Error {
    let (network, id, name) = (started.network.name(), table_of(chain), chain.chain());
    let what = match now.nft.contains_key(&id) {
        true => format!("nft table {id} has no chain {name}"),
        false => format!("there is no nft table {id}"),
    };
    let message = format!("network {network}: {what}, and accept_in names chain {id} {name}");
    error(ErrorKind::Conflict, chain, message).with_hint(
        "start the firewall that makes it first; `nft list chains` shows which chains there are, and those of iptables-legacy are \
         none of them; or leave it out of accept_in",
    )
}

fn owned(started: &ResolvedNetwork, chain: &ForeignChain) -> Error {
    let (network, id, name) = (started.network.name(), table_of(chain), chain.chain());
    let message = format!(
        "network {network}: nothing can be accepted in nft chain {id} {name}: the table has the flag owner, and only the program that \
         made it may change it"
    );
    let hint = match &*id.name {
        "firewalld" => {
            "let firewalld do it, with a policy between zones (firewall-cmd --permanent --new-policy guests, then --policy guests \
             --add-ingress-zone, --add-egress-zone and --set-target ACCEPT), or write NftablesTableOwner=no into \
             /etc/firewalld/firewalld.conf; or leave it out of accept_in"
        }
        _ => "let that program accept the packets; or leave the chain out of accept_in",
    };
    error(ErrorKind::Unsupported, chain, message).with_hint(hint)
}

/// The rules that were there in an earlier state, in their order, and none of those that were not.
pub(super) fn restored(target: &Snapshot, why: &Reason) -> Vec<Accepts> {
    let mut all: Vec<Accepts> = Vec::new();
    for part in target.scope.parts() {
        let Part::NftRule(table, chain, rule) = part else { continue };
        let at = all.iter().position(|a| a.table == *table && a.chain == *chain).unwrap_or_else(|| {
            let (table, chain) = (table.clone(), chain.to_string());
            let (present, absent) = (Vec::new(), Vec::new());
            let (why, why_not) = (why.clone(), why.clone());
            all.push(Accepts { table, chain, present, in_order: true, absent, why, why_not });
            all.len() - 1
        });
        let was = target.nft.get(table).and_then(|t| t.chains.get(&**chain)).is_some_and(|c| has(c, rule));
        if was { all[at].present.push(rule.clone()) } else { all[at].absent.push(rule.clone()) }
    }
    for of in &mut all {
        let rules = target.nft.get(&of.table).and_then(|t| t.chains.get(&of.chain)).map(|c| &c.rules[..]);
        let rules = rules.unwrap_or_default();
        of.present.sort_by_key(|rule| rules.iter().position(|r| r.is_same(rule)));
    }
    all
}

/// Makes an earlier state one without rules of ours: a ruleset that was saved meanwhile, and loaded, has brought them before the network was
/// started.
pub(crate) fn forget(target: &mut Snapshot) {
    for part in target.scope.parts() {
        if let Part::NftRule(table, chain, rule) = part
            && let Some(chain) = target.nft.get_mut(table).and_then(|t| t.chains.get_mut(&**chain))
        {
            chain.rules.retain(|r| !r.is_same(rule));
        }
    }
}

/// The rules of a network that stay where they are when it is stopped, in words: only their owner may remove them.
pub(crate) fn left(now: &Snapshot) -> Vec<String> {
    let owned = |part: &Part| {
        let Part::NftRule(id, chain, rule) = part else { return None };
        let table = now.nft.get(id).filter(|table| table.flags & NftTable::OWNED != 0)?;
        let there = has(table.chains.get(&**chain)?, rule);
        there.then(|| {
            format!(
                "nft chain {id} {chain} keeps a rule of ours ({rule}): the table has the flag owner, and only the program that made it may \
                 change it"
            )
        })
    };
    now.scope.parts().filter_map(owned).collect()
}

/// Which of a network's rules are there, by their number, for each chain that its description names.
pub(crate) fn numbers(started: &ResolvedNetwork, now: &Snapshot) -> Vec<Vec<usize>> {
    let of_chain = |chain: &ForeignChain| {
        let there = found(now, chain)?;
        let rules = needed(started, chain, hook_of(chain, there.base.as_ref()).ok()?);
        Some(rules.iter().enumerate().filter(|(_, rule)| has(there, rule)).map(|(at, _)| at).collect())
    };
    started.network.accept_in().iter().map(|chain| of_chain(chain).unwrap_or_default()).collect()
}

/// Puts the rules with these [numbers] into a world that has none of them.
pub(crate) fn put(started: &ResolvedNetwork, numbers: &[Vec<usize>], world: &mut Snapshot) {
    world.scope = std::mem::take(&mut world.scope).union(scope(started));
    for (chain, numbers) in started.network.accept_in().iter().zip(numbers) {
        let table = world.nft.get_mut(&table_of(chain));
        let Some(there) = table.and_then(|t| t.chains.get_mut(chain.chain())) else { continue };
        let Ok(hook) = hook_of(chain, there.base.as_ref()) else { continue };
        let rules = needed(started, chain, hook).into_iter().enumerate();
        there.rules.extend(rules.filter(|(at, _)| numbers.contains(at)).map(|(_, rule)| rule));
    }
}

/// Takes all such rules out of what was seen, as if nobody had looked at them.
pub(crate) fn unsee(seen: &mut Snapshot) {
    let parts: Vec<Part> = seen.scope.parts().filter(|part| matches!(part, Part::NftRule(..))).cloned().collect();
    for part in &parts {
        if let Part::NftRule(table, chain, _) = part
            && let Some(chain) = seen.nft.get_mut(table).and_then(|t| t.chains.get_mut(&**chain))
        {
            chain.rules.clear();
        }
    }
    seen.scope.retain(|part| !matches!(part, Part::NftRule(..)));
}

/// A chain of another program's in which all rules of a network are in place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InPlace {
    /// The table.
    pub(crate) table: NftTableId,
    /// The chain.
    pub(crate) chain: String,
    /// Where its packets come from.
    pub(crate) hook: NftHook,
}

/// The chains in which all rules of a network are in place.
pub(crate) fn in_place(started: &ResolvedNetwork, now: &Snapshot) -> Vec<InPlace> {
    let one = |chain: &ForeignChain| {
        let there = found(now, chain)?;
        let hook = hook_of(chain, there.base.as_ref()).ok()?;
        let rules = needed(started, chain, hook);
        let is_whole = !rules.is_empty() && rules.iter().all(|rule| has(there, rule));
        is_whole.then(|| InPlace { table: table_of(chain), chain: chain.chain().to_owned(), hook: nft_hook(hook) })
    };
    started.network.accept_in().iter().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{NatNetwork, Network, Subnet};
    use crate::plan::{Planned, check};
    use crate::step::Effects;

    fn rules(subnets: &[&str], chain: &str, hook: ForeignHook, outside: Option<&str>) -> Vec<String> {
        let subnets = subnets.iter().map(|s| Subnet::new(s.parse().unwrap()).unwrap()).collect();
        let mut nat = NatNetwork::new().with_subnets(subnets).with_accept_in(vec![chain.parse().unwrap()]);
        (nat.services.dhcp, nat.services.dns) = (true, true);
        let mut started = ResolvedNetwork::new(Network::new("lan".parse().unwrap(), NetworkMode::Nat(nat)).unwrap());
        started.outside = outside.map(|link| link.parse().unwrap());
        let chain = &started.network.accept_in()[0];
        let all = needed(&started, chain, hook);
        assert!(all.iter().all(|rule| possible(&started, chain).contains(rule)));
        all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_chain_gets_rules_for_what_it_sees() {
        let end = "counter accept comment \"xennet network lan\"";
        let both = ["10.0.16.0/20", "fd00:1::/64"];
        let forward = rules(&both, "ip6 filter FORWARD", ForeignHook::Forward, Some("eth0"));
        assert_eq!(
            forward,
            [
                format!("iifname != \"eth0\" @nh,64,64 0xfd00000100000000 {end}"),
                format!("@nh,192,64 0xfd00000100000000 {end}")
            ]
        );
        // What is no whole number of bytes is compared by its bits.
        let forward = rules(&both, "ip filter FORWARD", ForeignHook::Forward, None);
        assert_eq!(forward, [format!("ip saddr 10.0.16.0/20 {end}"), format!("ip daddr 10.0.16.0/20 {end}")]);
        let input = rules(&both, "ip filter INPUT hook input", ForeignHook::Input, Some("eth0"));
        let from = "iifname != \"eth0\"";
        assert_eq!(
            input,
            [
                format!("{from} meta l4proto udp th dport 67 {end}"),
                format!("{from} ip saddr 10.0.16.0/20 meta l4proto udp th dport 53 {end}"),
                format!("{from} ip saddr 10.0.16.0/20 meta l4proto tcp th dport 53 {end}"),
            ]
        );
        assert_eq!(rules(&both, "inet filter forward", ForeignHook::Forward, None).len(), 4);
        assert_eq!(rules(&both, "inet filter input", ForeignHook::Input, None).len(), 6);
    }

    #[test]
    fn no_plan_changes_anything_else_of_others() {
        let rule = |comment: &str| NftRule::new([NftExpr::Verdict(NftVerdict::Accept)]).with_comment(comment);
        let chain = || "FORWARD".to_owned();
        let judged = |table: NftTableId, op: NftOp| {
            let step = Step::Nft(NftTransaction::new(table, vec![op]));
            let why = Reason::fixed("a test");
            check::leaves_others(&[Planned { step, why, effects: Effects::default() }]).is_ok()
        };
        let theirs = || NftTableId::new(NftFamily::Ip, "filter");
        for (op, is_ours) in [
            (NftOp::InsertRule { chain: chain(), rule: rule("xennet network lan") }, true),
            (NftOp::DelRule { chain: chain(), rule: rule("xennet network lan") }, true),
            (NftOp::DelRule { chain: chain(), rule: rule("theirs") }, false),
            (NftOp::InsertRule { chain: chain(), rule: NftRule::default() }, false),
            (NftOp::AddRule { chain: chain(), rule: rule("xennet network lan") }, false),
            (NftOp::FlushChain { chain: chain() }, false),
            (NftOp::DelTable, false),
        ] {
            assert_eq!(judged(theirs(), op.clone()), is_ours, "{op:?}");
            assert!(judged(NftTableId::gate(), op));
        }
    }
}
