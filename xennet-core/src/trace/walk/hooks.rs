//! The hooks of netfilter: which chains a packet meets, connection tracking and address translation among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Stop, Walk, Went, dropped, unknown};
use crate::model::IfName;
use crate::snapshot::{Family, NftChainKind, NftFamily, NftHook, NftTable, NftTableId};
use crate::trace::nft::{self, End, Outcome, Place, RuleAt, Translation};
use crate::trace::packet::{Gap, Packet};
use crate::trace::{Direction, Stage, maker};

/// `NF_IP_PRI_CONNTRACK`, `NF_IP_PRI_NAT_DST`, `NF_IP_PRI_NAT_SRC`; IPv6 has the same numbers.
const TRACKING: i32 = -200;
const NAT_TARGET: i32 = -100;
const NAT_SOURCE: i32 = 100;

const NEW: u32 = 8;
const ESTABLISHED: u32 = 2;
const INVALID: u32 = 1;
const UNTRACKED: u32 = 64;
const SOURCE_NAT: u32 = 16;
const TARGET_NAT: u32 = 32;

enum Step<'a> {
    Track,
    Nat,
    Chain(&'a NftTableId, &'a NftTable, &'a str),
}

/// A rule as the answer names it.
pub(in crate::trace) fn told(rule: &RuleAt) -> String {
    let place = format!("table {}, chain {}", rule.table, rule.chain);
    match rule.number {
        None => format!("{place}, {}", rule.text),
        Some(number) => format!("{place}, rule {number}: {}", rule.text),
    }
}

fn nft_family(family: Family) -> NftFamily {
    match family {
        Family::Ipv4 => NftFamily::Ip,
        Family::Ipv6 => NftFamily::Ip6,
    }
}

fn stage_of(id: &NftTableId) -> Stage {
    if *id == NftTableId::guard() {
        Stage::Guard
    } else if *id == NftTableId::gate() {
        Stage::Gate
    } else {
        Stage::Firewall
    }
}

impl<'w> Walk<'w> {
    /// The chains of bridges at a hook.
    pub(super) fn bridge_hook(
        &mut self,
        hook: NftHook,
        iif: Option<IfName>,
        oif: Option<IfName>,
        packet: &mut Packet,
    ) -> Went<()> {
        self.unseen();
        let place = Place { world: self.world, family: NftFamily::Bridge, hook, iif, oif };
        for (_, id, table, chain) in self.world.chains(NftFamily::Bridge, hook) {
            self.chain(place, id, table, chain, packet)?;
        }
        Ok(())
    }

    /// The chains of IP at a hook, in the kernel's order.
    pub(super) fn ip_hook(
        &mut self,
        hook: NftHook,
        iif: Option<IfName>,
        oif: Option<IfName>,
        packet: &mut Packet,
    ) -> Went<()> {
        let world = self.world;
        let family = nft_family(packet.family());
        let place = Place { world, family, hook, iif, oif };
        self.unseen();
        self.legacy(packet.family());
        let mut steps = Vec::new();
        if matches!(hook, NftHook::Prerouting | NftHook::Output) {
            steps.push((TRACKING, Step::Track));
            steps.push((NAT_TARGET, Step::Nat));
        }
        if matches!(hook, NftHook::Postrouting | NftHook::Input) {
            steps.push((NAT_SOURCE, Step::Nat));
        }
        for family in [family, NftFamily::Inet] {
            for (base, id, table, chain) in world.chains(family, hook) {
                if base.kind != NftChainKind::Nat {
                    steps.push((base.priority, Step::Chain(id, table, chain)));
                }
            }
        }
        steps.sort_by_key(|(priority, _)| *priority);
        for (_, step) in steps {
            match step {
                Step::Track => self.track(packet),
                Step::Nat => self.nat(place, packet)?,
                Step::Chain(id, table, chain) => self.chain(place, id, table, chain, packet)?,
            }
        }
        let is_new = packet.tracked.state == Some(NEW) && self.direction == Direction::There;
        if matches!(hook, NftHook::Postrouting | NftHook::Input) && is_new && !packet.is_discovery() {
            self.connection.confirmed = true;
            self.connection.mark = packet.tracked.mark;
        }
        Ok(())
    }

    /// The recording could not look at what decides about packets.
    fn unseen(&mut self) {
        let decides = |what: &str| {
            what.contains("nft")
                || ["links, addresses", "kernel settings", "carriers, counters"].iter().any(|w| what.starts_with(w))
        };
        if self.doubt.is_none()
            && let Some(unseen) = self.world.recording.unseen.iter().find(|u| decides(&u.what))
        {
            let why = format!("the recording does not have {}: {}", unseen.what, unseen.why);
            self.doubt = Some(Box::new(Stop { gap: Some(Gap::Unseen), place: Some(unseen.what.clone()), why }));
        }
    }

    /// Tables of iptables-legacy are there, and nobody has read them.
    fn legacy(&mut self, family: Family) {
        let prefix = if family == Family::Ipv4 { "ip " } else { "ip6 " };
        let legacy = &self.world.recording.details.legacy;
        if self.doubt.is_none()
            && let Some(table) = legacy.iter().find(|t| t.starts_with(prefix))
        {
            let why = format!("table {table} is one of iptables-legacy, whose rules cannot be read here");
            let place = Some(format!("table {table} (iptables-legacy)"));
            self.doubt = Some(Box::new(Stop { gap: Some(Gap::Unseen), place, why }));
        }
    }

    /// One chain.
    fn chain(
        &mut self,
        place: Place<'_>,
        id: &NftTableId,
        table: &NftTable,
        chain: &str,
        packet: &mut Packet,
    ) -> Went<()> {
        if self.world.is_unread(id) {
            return self.doubtful(format!("table {id}, chain {chain}"), "the recording does not have its rules".into());
        }
        let outcome = nft::run(place, id, table, chain, packet);
        let where_ = outcome.rule.as_ref().map(told);
        let at = format!("{id} {chain}");
        match outcome.end {
            End::Accept => {
                let text = where_.map_or_else(|| "nothing stops it".to_owned(), |rule| format!("accepted: {rule}"));
                self.detail(stage_of(id), at, text);
                *packet = outcome.packet;
                if outcome.untracked && packet.tracked.state.is_none() {
                    packet.tracked.state = Some(UNTRACKED);
                }
                Ok(())
            }
            End::Drop | End::Reject => {
                let what = if outcome.end == End::Drop { "dropped" } else { "rejected" };
                let maker = maker::of(id, outcome.rule.as_ref().map_or(chain, |r| &r.chain), table);
                let rule = outcome.rule.as_ref().map_or_else(|| at.clone(), told);
                let comment = outcome.rule.as_ref().and_then(|r| comment(table, r));
                let reason = comment.map_or_else(String::new, |c| format!(" ({c})"));
                self.hop(stage_of(id), at, format!("{what}: {rule}"));
                dropped(rule, format!("{what} by a rule of {maker}{reason}"))
            }
            End::Unknown { gap: Gap::Port, .. } => {
                Err(Box::new(Stop { gap: Some(Gap::Port), place: where_, why: "a rule depends on the port".into() }))
            }
            End::Unknown { what, .. } => {
                let why = format!("cannot judge this rule: {what}");
                self.doubtful(where_.unwrap_or(at), why)
            }
        }
    }

    /// It may be dropped here. The packet goes on: if it is dropped later, that is sure.
    fn doubtful(&mut self, place: String, why: String) -> Went<()> {
        self.hop(Stage::Firewall, place.clone(), why.clone());
        if self.doubt.is_none() {
            self.doubt = Some(Box::new(Stop { gap: Some(Gap::Unseen), place: Some(place), why }));
        }
        Ok(())
    }

    /// Connection tracking (`nf_conntrack_in`).
    fn track(&mut self, packet: &mut Packet) {
        if packet.tracked.state.is_some() {
            return;
        }
        let c = &self.connection;
        let translated = |one: bool, bit: u32| if one { bit } else { 0 };
        let status = translated(c.source.is_some(), SOURCE_NAT) | translated(c.target.is_some(), TARGET_NAT);
        if packet.is_discovery() {
            // The kernel keeps it out (`nf_conntrack_icmpv6`).
            packet.tracked.state = Some(UNTRACKED);
            return;
        }
        let is_datagram = packet.protocol() == Some(17);
        let tracked = &mut packet.tracked;
        tracked.mark = c.mark;
        match self.direction {
            Direction::There => {
                tracked.state = Some(NEW);
                tracked.mark = Some(0);
            }
            Direction::Back if c.confirmed => {
                tracked.state = Some(ESTABLISHED);
                // Answered, confirmed.
                tracked.status = status | 2 | 8;
                tracked.reply = true;
            }
            // An answer to what was never seen: of UDP it looks like a first packet.
            Direction::Back => {
                tracked.state = Some(if is_datagram { NEW } else { INVALID });
                tracked.mark = Some(0);
            }
        }
    }

    fn has_nat(&self, family: NftFamily) -> bool {
        let nat = |f: NftFamily, hook| self.world.chains(f, hook).iter().any(|c| c.0.kind == NftChainKind::Nat);
        NftHook::ALL.into_iter().any(|hook| nat(family, hook) || nat(NftFamily::Inet, hook))
    }

    /// Address translation (`nf_nat_inet_fn`).
    fn nat(&mut self, place: Place<'_>, packet: &mut Packet) -> Went<()> {
        if !matches!(packet.tracked.state, Some(NEW | ESTABLISHED)) || !self.has_nat(place.family) {
            return Ok(());
        }
        let of_target = matches!(place.hook, NftHook::Prerouting | NftHook::Output);
        if packet.tracked.reply {
            self.untranslate(of_target, packet);
            return Ok(());
        }
        let done = if of_target { &mut self.connection.done_target } else { &mut self.connection.done_source };
        if std::mem::replace(done, true) {
            return Ok(());
        }
        let world = self.world;
        let mut chains: Vec<_> = [place.family, NftFamily::Inet]
            .into_iter()
            .flat_map(|family| world.chains(family, place.hook))
            .filter(|c| c.0.kind == NftChainKind::Nat)
            .collect();
        chains.sort_by_key(|c| c.0.priority);
        let mut chosen: Option<(i32, Outcome)> = None;
        for (base, id, table, chain) in chains {
            if let Some((priority, outcome)) = &chosen {
                // The later one of two with the same priority is asked first; which one that is no listing tells.
                if *priority == base.priority {
                    let other = nft::run(place, id, table, chain, packet);
                    if other.translation.is_some() && other.translation != outcome.translation {
                        let rule = other.rule.as_ref().map(told);
                        return unknown(
                            rule,
                            "two chains of the same priority translate it, and which is asked first is not known",
                        );
                    }
                }
                continue;
            }
            if world.is_unread(id) {
                return unknown(Some(format!("table {id}, chain {chain}")), "the recording does not have its rules");
            }
            let outcome = nft::run(place, id, table, chain, packet);
            match &outcome.end {
                End::Accept if outcome.translation.is_some() => chosen = Some((base.priority, outcome)),
                End::Accept => *packet = outcome.packet,
                End::Drop | End::Reject => {
                    let rule = outcome.rule.as_ref().map_or_else(|| format!("{id} {chain}"), told);
                    let maker = maker::of(id, chain, table);
                    return dropped(rule, format!("dropped by a rule of {maker}"));
                }
                End::Unknown { gap, what } => {
                    let why = if *gap == Gap::Port {
                        "a rule depends on the port".to_owned()
                    } else {
                        format!("cannot judge this rule: {what}")
                    };
                    return Err(Box::new(Stop { gap: Some(*gap), place: outcome.rule.as_ref().map(told), why }));
                }
            }
        }
        match chosen {
            Some((_, outcome)) => self.translate(place, outcome, packet),
            None => Ok(()),
        }
    }

    fn translate(&mut self, place: Place<'_>, outcome: Outcome, packet: &mut Packet) -> Went<()> {
        let rule = outcome.rule.as_ref().map_or_else(String::new, told);
        let stage =
            if outcome.rule.as_ref().is_some_and(|r| r.table == NftTableId::gate()) { Stage::Gate } else { Stage::Nat };
        let Some(translation) = outcome.translation else { return Ok(()) };
        let Some((source, target)) = packet.addresses() else { return Ok(()) };
        let at = rule.clone();
        let new_source = match &translation {
            Translation::Masquerade => {
                let next = self.next.unwrap_or(target);
                let own = place.oif.and_then(|link| self.world.source_on(&link, next, target));
                match own {
                    Some(own) => Some(own),
                    None => return dropped(rule, "masquerade: the link it leaves through has no address"),
                }
            }
            Translation::Source { address, .. } => Some(address.unwrap_or(source)),
            _ => None,
        };
        if let Some(new) = new_source {
            if let Translation::Source { port: Some(port), .. } = &translation {
                packet.set_source_port(*port);
            }
            if new != source {
                packet.set_addresses(Some(new), None);
                packet.tracked.status |= SOURCE_NAT;
                self.connection.source = Some((source, new));
            }
            self.hop(stage, at, format!("source {source} becomes {new}"));
            return Ok(());
        }
        let (new, port) = match &translation {
            Translation::Target { address, port } => (address.unwrap_or(target), *port),
            Translation::Redirect { port } => {
                let local: Option<IpAddr> = match (place.hook, target) {
                    (NftHook::Output, IpAddr::V4(_)) => Some(Ipv4Addr::LOCALHOST.into()),
                    (NftHook::Output, IpAddr::V6(_)) => Some(Ipv6Addr::LOCALHOST.into()),
                    _ => place.iif.and_then(|link| {
                        let all = self.world.addresses_on(&link).iter().map(|a| a.address.ip());
                        all.filter(|ip| ip.is_ipv4() == target.is_ipv4()).find(|ip| ip.is_ipv4() || !is_local6(*ip))
                    }),
                };
                match local {
                    Some(local) => (local, *port),
                    None => return dropped(rule, "redirect: the link it came in by has no address"),
                }
            }
            _ => return Ok(()),
        };
        let before = packet.target_port();
        if let Some(port) = port {
            packet.set_target_port(port);
        }
        if new != target || (port.is_some() && port != before) {
            packet.set_addresses(None, Some(new));
            packet.tracked.status |= TARGET_NAT;
            self.connection.target = Some((target, new, before));
        }
        let port_text = port.map_or_else(String::new, |p| format!(" port {p}"));
        self.hop(stage, at, format!("destination {target} becomes {new}{port_text}"));
        Ok(())
    }

    /// An answer gets the addresses that the first packet had (`nf_nat_packet`).
    fn untranslate(&mut self, of_target: bool, packet: &mut Packet) {
        let Some((source, target)) = packet.addresses() else { return };
        match (of_target, self.connection.source, self.connection.target) {
            (true, Some((before, behind)), _) if target == behind => {
                packet.set_addresses(None, Some(before));
                self.hop(Stage::Nat, "connection tracking", format!("destination {target} becomes {before}"));
            }
            (false, _, Some((before, behind, port))) if source == behind => {
                packet.set_addresses(Some(before), None);
                if let Some(port) = port {
                    packet.set_source_port(port);
                }
                self.hop(Stage::Nat, "connection tracking", format!("source {source} becomes {before}"));
            }
            _ => {}
        }
    }
}

fn is_local6(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(a) if a.is_unicast_link_local())
}

fn comment(table: &NftTable, rule: &RuleAt) -> Option<String> {
    table.chains.get(&rule.chain)?.rules.get(rule.number?.checked_sub(1)?)?.comment.clone()
}
