//! What of a world an observer sees who names a scope: exactly what the kernel's backend would bring.

use std::net::{IpAddr, Ipv4Addr};

use super::{
    Family, Hidden, LinkKind, Neighbour, NeighbourKind, NftChain, NftRule, NftSet, NftTableId, Part, Route, RouteKind,
    Rule, RuleAction, Scope, Snapshot, SysctlKey,
};
use crate::gather;

impl Snapshot {
    /// What an observer sees of this world who names a scope: the parts in it, and nothing else.
    ///
    /// The world must know these parts; one that it does not know looks empty.
    #[must_use]
    pub fn seen(&self, scope: &Scope) -> Snapshot {
        let mut seen = Snapshot::empty(scope.clone());
        for part in scope.parts() {
            look(self, part, &mut seen);
        }
        for bridge in seen.links.values_mut().filter_map(|l| l.bridge.as_mut()) {
            // No listing tells these.
            bridge.mac_fixed = None;
            bridge.mtu_fixed = None;
        }
        let names_held_while_up = self.hidden.names_held_while_up;
        seen.hidden = Hidden { names_held_while_up, ..self.hidden.seen(&seen.addresses, &seen.routes) };
        seen
    }
}

/// The tables in which this domain's own packets to an address look for their route, in order. Such a packet has no source, no link
/// and no mark yet, and comes in by loopback. A rule that refuses or jumps ends the list.
fn tables_to(world: &Snapshot, address: IpAddr) -> Vec<u32> {
    let family = Family::of(&address);
    let mut rules: Vec<_> = world.rules.iter().filter(|r| r.family == family).collect();
    if rules.is_empty() {
        return vec![Route::MAIN];
    }
    rules.sort_by_key(|r| r.priority);
    let fits = |r: &&&Rule| {
        let selects = r.from.is_none_or(|n| n.prefix() == 0)
            && r.to.is_none_or(|n| n.contains(address))
            && r.iif.is_none_or(|l| world.links.get(&l).is_some_and(|l| l.kind == LinkKind::Loopback))
            && r.oif.is_none()
            && r.mark.is_none_or(|(mark, mask)| mark & mask == 0);
        selects != r.not
    };
    let table = |r: &&Rule| match r.action {
        RuleAction::Table(table) => Some(table),
        _ => None,
    };
    let fitting: Vec<&Rule> = rules.iter().filter(fits).copied().collect();
    fitting.iter().filter(|r| r.action != RuleAction::Nop).map_while(table).collect()
}

fn look(world: &Snapshot, part: &Part, seen: &mut Snapshot) {
    match part {
        Part::Network => {
            look(world, &Part::Routing, seen);
            let own = world.nft.iter().filter(|(id, _)| NftTableId::is_own(id));
            seen.nft.extend(own.map(|(id, t)| (id.clone(), t.clone())));
        }
        Part::Routing => {
            seen.links.clone_from(&world.links);
            seen.addresses.clone_from(&world.addresses);
            seen.routes.clone_from(&world.routes);
            seen.rules.clone_from(&world.rules);
            seen.neighbours.clone_from(&world.neighbours);
            seen.fdb.clone_from(&world.fdb);
            seen.port_vlans.clone_from(&world.port_vlans);
        }
        Part::Links => seen.links.clone_from(&world.links),
        Part::Link(name) => {
            if let Some(link) = world.links.get(name) {
                seen.links.insert(*name, link.clone());
            }
        }
        Part::Made(_) => {}
        Part::LinkIndex(index) => {
            if let Some((name, link)) = world.link_by_index(*index) {
                seen.links.insert(*name, link.clone());
            }
        }
        Part::Addresses(name) => seen.addresses.extend(world.addresses_of(name).cloned()),
        Part::Routes(name) => {
            seen.routes.extend(world.routes.iter().filter(|r| r.leads_through(name)).cloned());
        }
        Part::Route(destination) => {
            let to = |r: &&Route| {
                r.table == Route::MAIN
                    && r.destination.prefix() == destination.prefix()
                    && r.destination.network() == destination.network()
            };
            seen.routes.extend(world.routes.iter().filter(to).cloned());
        }
        Part::RouteThrough(name, destination) => {
            // `RTM_GETROUTE` looks up the first address of the network. 0.0.0.0 means this host there.
            let first = destination.ip();
            let through = |r: &&Route| r.table == Route::MAIN && r.link == Some(*name) && r.kind == RouteKind::Unicast;
            let there = world.routes.iter().filter(through).filter(|r| r.destination.contains(first));
            let best = there.min_by_key(|r| (std::cmp::Reverse(r.destination.prefix()), r.tos, r.metric));
            let is_found = first != IpAddr::V4(Ipv4Addr::UNSPECIFIED) && world.links.get(name).is_some_and(|l| l.up);
            seen.routes.extend(best.filter(|r| is_found && r.destination == *destination).cloned());
        }
        Part::Way(address) => {
            if world.addresses.iter().any(|a| a.address.ip() == *address) {
                seen.routes.insert(Route::own(*address));
                return;
            }
            let usable = |r: &&Route| r.kind == RouteKind::Unicast && r.destination.contains(*address);
            let longest = |r: &&Route| (std::cmp::Reverse(r.destination.prefix()), r.tos, r.metric);
            let in_table = |table: u32| {
                world.routes.iter().filter(|r| r.table == table).filter(usable).min_by_key(longest).cloned()
            };
            seen.routes.extend(tables_to(world, *address).into_iter().find_map(in_table));
        }
        Part::Via(name, network) => {
            seen.routes.extend(world.routes.iter().filter(|r| r.leads_via(name, network)).cloned());
        }
        Part::Neighbours(name) => {
            seen.neighbours.extend(world.neighbours.iter().filter(|n| n.link == *name).cloned());
        }
        Part::Proxy(name, address) => {
            let proxy = Neighbour { link: *name, address: *address, kind: NeighbourKind::Proxy };
            seen.neighbours.extend(world.neighbours.get(&proxy).cloned());
        }
        Part::Fdb(name) => seen.fdb.extend(world.fdb.iter().filter(|e| e.link == *name).cloned()),
        Part::PortVlans(name) => {
            if let Some(vlans) = world.port_vlans.get(name) {
                seen.port_vlans.insert(*name, vlans.clone());
            }
        }
        Part::Rules => seen.rules.clone_from(&world.rules),
        Part::Sysctl(key) => see_setting(world, key, seen),
        Part::Nft(id) => {
            if let Some(table) = world.nft.get(id) {
                seen.nft.insert(id.clone(), table.clone());
            }
        }
        Part::NftFrame(id) => {
            if let Some(table) = world.nft.get(id) {
                seen.nft.entry(id.clone()).or_default().merge(table.frame());
            }
        }
        Part::NftFlags(id) => {
            if let Some(table) = world.nft.get(id) {
                seen.nft.entry(id.clone()).or_default().flags = table.flags;
            }
        }
        Part::NftUse(id, chain) => {
            let Some(table) = world.nft.get(id) else { return };
            let narrow = seen.nft.entry(id.clone()).or_default();
            narrow.uses.extend(table.use_of(chain).map(|uses| (chain.to_string(), uses)));
        }
        Part::NftElement(id, set, key) => {
            let Some(table) = world.nft.get(id) else { return };
            let narrow = seen.nft.entry(id.clone()).or_default();
            // A set is seen with or without the element.
            if let Some(def) = table.sets.get(&**set) {
                let elements = gather::map(def.elements.get_key_value(key).map(|(k, e)| (k.clone(), e.clone())));
                narrow.merge_set(set.to_string(), NftSet { elements, ..def.frame() });
            }
        }
        Part::NftRule(id, chain, rule) => {
            let Some(table) = world.nft.get(id) else { return };
            seen.see_rule((id, chain, rule), table.flags, table.chains.get(&**chain));
        }
        Part::NftOthersAt(family, hook) => {
            for (id, table) in world.nft.iter().filter(|(id, _)| !id.is_own() && id.family == *family) {
                let at = |chain: &NftChain| chain.base.is_some_and(|base| base.hook == *hook);
                let chains = table.chains.iter().filter(|(_, chain)| at(chain));
                let chains: Vec<_> =
                    chains.map(|(name, c)| (name.clone(), NftChain { base: c.base, rules: Vec::new() })).collect();
                if !chains.is_empty() {
                    seen.nft.entry(id.clone()).or_default().chains.extend(chains);
                }
            }
        }
        Part::Store(path) => {
            if let Some(node) = world.store.get(path) {
                seen.store.insert(path.clone(), node.clone());
            }
        }
        Part::StoreTree(path) => {
            let below = world.store.iter().filter(|(p, _)| p.is_below(path));
            seen.store.extend(below.map(|(p, n)| (p.clone(), n.clone())));
        }
    }
}

impl Snapshot {
    /// Adds what a look for one rule of a chain sees of it: where it is hooked in, and the rule, as often as it is there, among those that
    /// were looked for before. `None` where there is no such chain.
    pub(crate) fn see_rule(
        &mut self,
        (id, chain, rule): (&NftTableId, &str, &NftRule),
        flags: u32,
        found: Option<&NftChain>,
    ) {
        // Who looks at the whole table sees all of its rules.
        let is_whole = self.scope.contains(&Part::Nft(id.clone())) || self.scope.has_frame_of(id);
        let table = self.nft.entry(id.clone()).or_default();
        table.flags |= flags;
        if let Some(found) = found.filter(|_| !is_whole) {
            let seen = table.chains.entry(chain.to_owned()).or_default();
            seen.base = found.base;
            let is_seen = |r: &&NftRule| r.is_same(rule) || seen.rules.contains(r);
            seen.rules = found.rules.iter().filter(is_seen).cloned().collect();
        }
    }
}

fn see_setting(world: &Snapshot, key: &SysctlKey, seen: &mut Snapshot) {
    if let Some(value) = world.sysctls.get(key) {
        seen.sysctls.insert(key, value);
    }
}
