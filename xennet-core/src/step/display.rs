//! Steps in words: one line each, with a sign.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::{
    AddrStep, BridgeChange, Implied, LinkChange, LinkStep, NeighStep, NewLink, NewMaster, NftOp, NftTransaction,
    PortChange, PortStep, RouteStep, RuleStep, Step, StoreOp,
};
use crate::snapshot::{
    AddrGenMode, Address, FdbEntry, FdbKind, Neighbour, NeighbourKind, NftChainKind, NftCmp, NftExpr, NftField,
    NftHeader, NftKey, NftRule, NftSource, NftTableId, NftValue, PortVlan, Route, RouteKind, Rule, RuleAction,
    key_text,
};

impl Step {
    /// `+` makes something, `~` changes something, `-` takes something away.
    pub fn sign(&self) -> char {
        match self {
            Step::Link(LinkStep::Create { .. })
            | Step::Port(PortStep::VlanAdd { .. } | PortStep::FdbAdd { .. })
            | Step::Addr(AddrStep::Add(_))
            | Step::Route(RouteStep::Add(_) | RouteStep::Append(_) | RouteStep::Prepend(_))
            | Step::Rule(RuleStep::Add(_))
            | Step::Neigh(NeighStep::Add(_)) => '+',
            Step::Link(LinkStep::Set { .. })
            | Step::Port(PortStep::Set { .. })
            | Step::Route(RouteStep::Replace(_))
            | Step::Sysctl(_)
            | Step::Nft(_)
            | Step::Store(_) => '~',
            Step::Link(LinkStep::Delete { .. })
            | Step::Port(PortStep::VlanDel { .. } | PortStep::FdbDel { .. })
            | Step::Addr(AddrStep::Del(_))
            | Step::Route(RouteStep::Del(_))
            | Step::Rule(RuleStep::Del(_))
            | Step::Neigh(NeighStep::Del(_))
            | Step::Forget(_) => '-',
        }
    }
}

impl fmt::Display for Step {
    /// The object, a colon, and what becomes of it: `vif5.0: mac fe:ff:ff:ff:ff:ff, port of xenbr0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Link(LinkStep::Create { name, kind, change }) => {
                match kind {
                    NewLink::Bridge => write!(f, "{name}: new bridge")?,
                    NewLink::Veth { peer } => write!(f, "{name}: new veth, other end {peer}")?,
                }
                let words = link_words(change);
                if words.is_empty() { Ok(()) } else { write!(f, ", {}", words.join(", ")) }
            }
            Step::Link(LinkStep::Set { link, change }) => write!(f, "{link}: {}", link_words(change).join(", ")),
            Step::Link(LinkStep::Delete { link }) => write!(f, "{link}: removed"),
            Step::Port(PortStep::Set { port, change, up }) => {
                let mut words = port_words(change);
                words.extend(up.map(up_word));
                write!(f, "{port}: {}", words.join(", "))
            }
            Step::Port(PortStep::VlanAdd { port, vlan }) => write!(f, "{port}: in {}", Vlan(vlan)),
            Step::Port(PortStep::VlanDel { port, vlan }) => write!(f, "{port}: not in VLAN {}", vlan.vid),
            Step::Port(PortStep::FdbAdd { entry } | PortStep::FdbDel { entry }) => {
                write!(f, "{}: station {}", entry.link, Fdb(entry))
            }
            Step::Addr(AddrStep::Add(a) | AddrStep::Del(a)) => write!(f, "{}: {}", a.link, Addr(a)),
            Step::Route(step) => {
                write!(f, "route {}", Way(step.route()))?;
                match step {
                    RouteStep::Append(_) => f.write_str(", behind the others to there"),
                    RouteStep::Prepend(_) => f.write_str(", before the others to there"),
                    _ => Ok(()),
                }
            }
            Step::Rule(RuleStep::Add(r) | RuleStep::Del(r)) => write!(f, "rule {}", Policy(r)),
            Step::Neigh(NeighStep::Add(n) | NeighStep::Del(n)) => write!(f, "{}: neighbour {}", n.link, Neigh(n)),
            Step::Sysctl(s) => write!(f, "{} = {}", s.key, s.value),
            Step::Nft(t) => write!(f, "nft table {}: {}", t.table, nft_words(t).join(", ")),
            Step::Store(t) => {
                let words: Vec<String> = t.0.iter().map(store_word).collect();
                write!(f, "xenstore: {}", words.join(", "))
            }
            Step::Forget(forget) => f.write_str(&forget.words()),
        }
    }
}

/// What becomes of a table. Elements word by word, since they are what differs from call to call; what a new one has, `nft list`
/// tells better, and of one that is put right the numbers of its chains, sets and rules say how much of it was not as it has to be.
fn nft_words(t: &NftTransaction) -> Vec<String> {
    let mut words = Vec::new();
    let number = |is: fn(&NftOp) -> bool| t.ops.iter().filter(|op| is(op)).count();
    let rules = number(|op| matches!(op, NftOp::AddRule { .. }));
    let is_removed = number(|op| matches!(op, NftOp::DelTable)) > 0;
    let is_new = number(|op| matches!(op, NftOp::AddTable)) > 0;
    if is_new {
        let made = if is_removed { "made anew" } else { "new" };
        let what = rules_of(t).map(|what| format!(" that {what}")).unwrap_or_default();
        words.push(format!("{made}, with the {rules} rules{what} (nft list table {})", t.table));
    } else if is_removed {
        words.push("removed".to_owned());
    }
    for op in &t.ops {
        match op {
            NftOp::SetFlags { flags: 0 } => words.push("active, not dormant".into()),
            NftOp::SetFlags { flags } => words.push(format!("flags {flags:#x}")),
            _ => {}
        }
    }
    if !is_new {
        let mut count = |one: &str, several: &str, is: fn(&NftOp) -> bool| match number(is) {
            0 => {}
            1 => words.push(format!("1 {one}")),
            n => words.push(format!("{n} {several}")),
        };
        count("new chain", "new chains", |op| matches!(op, NftOp::AddChain { .. }));
        count("chain removed", "chains removed", |op| matches!(op, NftOp::DelChain { .. }));
        count("chain emptied", "chains emptied", |op| matches!(op, NftOp::FlushChain { .. }));
        count("new set", "new sets", |op| matches!(op, NftOp::AddSet { .. }));
        count("set removed", "sets removed", |op| matches!(op, NftOp::DelSet { .. }));
        count("new rule", "new rules", |op| matches!(op, NftOp::AddRule { .. }));
        // Rules in other programs' tables are told word by word.
        if t.table.is_own() {
            count("rule removed", "rules removed", |op| matches!(op, NftOp::DelRule { .. }));
        }
    }
    for op in &t.ops {
        match op {
            // A mark of our own, of use to nobody else.
            NftOp::AddElements { set, .. } | NftOp::DelElements { set, .. } if *set == NftTableId::VERSION => {}
            NftOp::AddElements { set, elements } => {
                words.push(format!("+ {set} {{ {} }}", keys(elements.iter().map(|(key, _)| key))));
            }
            NftOp::InsertRule { chain, rule } => words.push(format!("+ first in {chain}: {}", spelled(rule))),
            NftOp::DelRule { chain, rule } if !t.table.is_own() => {
                words.push(format!("- from {chain}: {}", spelled(rule)))
            }
            NftOp::DelElements { set, keys: gone } => words.push(format!("- {set} {{ {} }}", keys(gone.iter()))),
            _ => {}
        }
    }
    if words.is_empty() {
        words.push("marked as whole".to_owned());
    }
    words
}

/// A rule of ours in another program's table, with its networks as an administrator writes them: of whole bytes only these are read.
fn spelled(rule: &NftRule) -> NftRule {
    let network = |field: NftField, value: &NftValue| {
        let NftSource::Payload(NftHeader::Network, offset, length) = field.source() else { return None };
        let mut bytes = value.bytes();
        let (field, all) = match offset {
            12 => (NftField::IpSaddr, 4),
            16 => (NftField::IpDaddr, 4),
            8 => (NftField::Ip6Saddr, 16),
            24 => (NftField::Ip6Daddr, 16),
            _ => return None,
        };
        bytes.resize(all, 0);
        let address = match <[u8; 4]>::try_from(&bytes[..]) {
            Ok(v4) => IpAddr::from(v4),
            Err(_) => IpAddr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?),
        };
        let network = IpNetwork::new(address, length.checked_mul(8)?).ok()?;
        (usize::from(length) < all).then(|| NftExpr::within(field, network))
    };
    let plain = rule.as_nft_makes_it();
    let exprs = plain.exprs.iter().map(|expr| match expr {
        NftExpr::Match { field, mask: None, op: NftCmp::Eq, value } => network(*field, value).unwrap_or(expr.clone()),
        other => other.clone(),
    });
    NftRule { exprs: exprs.collect(), comment: plain.comment.clone() }
}

/// What the rules of our own tables are for.
fn rules_of(t: &NftTransaction) -> Option<&'static str> {
    let translates = |op: &NftOp| match op {
        NftOp::AddChain { base: Some(base), .. } => base.kind == NftChainKind::Nat,
        _ => false,
    };
    match t.ops.iter().any(translates) {
        _ if !t.table.is_own() => None,
        true => Some("check, hide and hand on what guests send and get"),
        false => Some("check what guests send"),
    }
}

fn keys<'a>(keys: impl Iterator<Item = &'a NftKey>) -> String {
    keys.map(|key| key_text(&[], key)).collect::<Vec<_>>().join(", ")
}

fn up_word(up: bool) -> String {
    if up { "up" } else { "down" }.to_owned()
}

fn on_off(name: &str, on: bool) -> String {
    format!("{name} {}", if on { "on" } else { "off" })
}

fn link_words(c: &LinkChange) -> Vec<String> {
    let mut words = Vec::new();
    // In the order in which an administrator would tell it, not the kernel's.
    words.extend((c.up == Some(false)).then(|| up_word(false)));
    words.extend(c.name.map(|n| format!("renamed to {n}")));
    words.extend(c.mac.map(|m| format!("mac {m}")));
    words.extend(c.mtu.map(|m| format!("mtu {m}")));
    words.extend(c.master.map(|m| match m {
        NewMaster::Bridge(b) => format!("becomes a port of {b}"),
        NewMaster::None => "leaves its bridge".to_owned(),
    }));
    words.extend(c.addr_gen_mode.map(|m| match m {
        AddrGenMode::None => "no IPv6 address of its own".to_owned(),
        AddrGenMode::Eui64 => "IPv6 address from its MAC".to_owned(),
        AddrGenMode::StablePrivacy => "stable private IPv6 address".to_owned(),
        AddrGenMode::Random => "random IPv6 address".to_owned(),
    }));
    words.extend(c.arp.map(|on| on_off("arp", on)));
    words.extend(c.multicast.map(|on| on_off("multicast", on)));
    words.extend(c.txqueuelen.map(|n| format!("txqueuelen {n}")));
    words.extend(c.alias.as_ref().map(|a| format!("alias \"{}\"", a.escape_debug())));
    words.extend(bridge_words(&c.bridge));
    words.extend((c.up == Some(true)).then(|| up_word(true)));
    if words.is_empty() {
        words.push("no change".to_owned());
    }
    words
}

fn bridge_words(b: &BridgeChange) -> Vec<String> {
    let seconds = |cs: u32| match cs % 100 {
        0 => format!("{} s", cs / 100),
        rest => format!("{}.{rest:02} s", cs / 100),
    };
    let mut words = Vec::new();
    words.extend(b.stp.map(|on| on_off("spanning tree", on)));
    words.extend(b.forward_delay_cs.map(|t| format!("forward delay {}", seconds(t))));
    words.extend(b.ageing_time_cs.map(|t| format!("ageing time {}", seconds(t))));
    words.extend(b.vlan_filtering.map(|on| on_off("VLAN filtering", on)));
    words.extend(b.default_pvid.map(|v| format!("default VLAN {v}")));
    words.extend(b.multicast_snooping.map(|on| on_off("multicast snooping", on)));
    words
}

fn port_words(p: &PortChange) -> Vec<String> {
    [
        ("isolated", p.isolated),
        ("learning", p.learning),
        ("hairpin", p.hairpin),
        ("unicast flood", p.unicast_flood),
        ("multicast flood", p.multicast_flood),
        ("broadcast flood", p.broadcast_flood),
        ("neighbour suppression", p.neigh_suppress),
        ("locked", p.locked),
        ("BPDU guard", p.bpdu_guard),
        ("root block", p.root_block),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(on_off(name, value?)))
    .chain(p.group_forward.map(|bits| match bits {
        0 => "reserved addresses kept to the bridge".into(),
        bits => format!("reserved addresses forwarded {bits:#x}"),
    }))
    .collect()
}

fn store_word(op: &StoreOp) -> String {
    match op {
        StoreOp::Write { path, value } => format!("{path} = \"{}\"", value.escape_ascii()),
        StoreOp::Mkdir { path } => format!("make {path}"),
        StoreOp::Rm { path } => format!("remove {path}"),
        StoreOp::SetPerms { path, .. } => format!("permissions of {path}"),
    }
}

struct Vlan<'a>(&'a PortVlan);

impl fmt::Display for Vlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tagging = match self.0.tagging {
            crate::model::Tagging::Tagged => "tagged",
            crate::model::Tagging::Untagged => "untagged",
        };
        write!(f, "VLAN {} {tagging}{}", self.0.vid, if self.0.pvid { ", PVID" } else { "" })
    }
}

struct Fdb<'a>(&'a FdbEntry);

impl fmt::Display for Fdb<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.mac.fmt(f)?;
        if let Some(vlan) = self.0.vlan {
            write!(f, " in VLAN {vlan}")?;
        }
        f.write_str(match self.0.kind {
            FdbKind::Local => ", here",
            FdbKind::Static => ", static",
        })
    }
}

struct Addr<'a>(&'a Address);

impl fmt::Display for Addr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {}", self.0.address)?;
        if let Some(peer) = self.0.peer {
            write!(f, " peer {peer}")?;
        }
        if let Some(label) = &self.0.label {
            write!(f, " label {}", label.escape_debug())?;
        }
        Ok(())
    }
}

struct Way<'a>(&'a Route);

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        if r.kind != RouteKind::Unicast {
            write!(f, "{} ", format!("{:?}", r.kind).to_lowercase())?;
        }
        if r.destination.prefix() == 0 {
            f.write_str("default")?;
        } else {
            r.destination.fmt(f)?;
        }
        if let Some(gateway) = r.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = r.link {
            write!(f, " dev {link}")?;
        }
        for hop in &r.next_hops {
            f.write_str(" nexthop")?;
            if let Some(gateway) = hop.gateway {
                write!(f, " via {gateway}")?;
            }
            if let Some(link) = hop.link {
                write!(f, " dev {link}")?;
            }
            write!(f, " weight {}", hop.weight)?;
        }
        if let Some(source) = r.source {
            write!(f, " src {source}")?;
        }
        if r.metric != 0 {
            write!(f, " metric {}", r.metric)?;
        }
        if r.table != Route::MAIN {
            write!(f, " table {}", r.table)?;
        }
        Ok(())
    }
}

struct Policy<'a>(&'a Rule);

impl fmt::Display for Policy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let r = self.0;
        let mut text = format!("{}:", r.priority);
        if r.not {
            text.push_str(" not");
        }
        match &r.from {
            Some(from) => write!(text, " from {from}")?,
            None => text.push_str(" from all"),
        }
        if let Some(to) = &r.to {
            write!(text, " to {to}")?;
        }
        if let Some((mark, mask)) = r.mark {
            write!(text, " fwmark {mark:#x}/{mask:#x}")?;
        }
        if let Some(iif) = r.iif {
            write!(text, " iif {iif}")?;
        }
        if let Some(oif) = r.oif {
            write!(text, " oif {oif}")?;
        }
        match r.action {
            RuleAction::Table(t) => write!(text, " lookup {t}")?,
            RuleAction::Goto(p) => write!(text, " goto {p}")?,
            other => write!(text, " {}", format!("{other:?}").to_lowercase())?,
        }
        f.write_str(&text)
    }
}

struct Neigh<'a>(&'a Neighbour);

impl fmt::Display for Neigh<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            NeighbourKind::Permanent(mac) => write!(f, "{} is {mac}", self.0.address),
            NeighbourKind::Proxy => write!(f, "{} is answered for here", self.0.address),
        }
    }
}

impl fmt::Display for Implied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Implied::LinkAppears(link) => write!(f, "{link} appears"),
            Implied::LinkGoes(link) => write!(f, "{link} goes"),
            Implied::PortLeaves { link, bridge } => write!(f, "{link} leaves {bridge}"),
            Implied::BridgeMac { bridge, mac } => write!(f, "{bridge} takes the MAC {mac}"),
            Implied::BridgeMtu { bridge, mtu } => write!(f, "{bridge} takes the MTU {mtu}"),
            Implied::AddressAppears(a) => write!(f, "{} gets {}", a.link, Addr(a)),
            Implied::AddressGoes(a) => write!(f, "{} loses {}", a.link, Addr(a)),
            Implied::RouteAppears(r) => write!(f, "route {} appears", Way(r)),
            Implied::RouteGoes(r) => write!(f, "route {} goes", Way(r)),
            Implied::NeighbourGoes(n) => write!(f, "{} loses neighbour {}", n.link, Neigh(n)),
            Implied::FdbGoes(e) => write!(f, "{} loses station {}", e.link, Fdb(e)),
            Implied::FdbAppears(e) => write!(f, "{} gets station {}", e.link, Fdb(e)),
            Implied::VlanAppears(link, v) => write!(f, "{link} is in {}", Vlan(v)),
            Implied::VlanGoes(link, v) => write!(f, "{link} leaves {}", Vlan(v)),
            Implied::Sysctl { key, value } => write!(f, "{key} = {value}"),
            Implied::Other(text) => f.write_str(text),
        }
    }
}
