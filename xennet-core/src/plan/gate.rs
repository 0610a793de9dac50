//! The gate's elements: what a guest and a network have in it.

use std::net::IpAddr;

use ipnetwork::IpNetwork;

use super::limits;
use super::table::Item;
use crate::error::Error;
use crate::model::vif::is_single;
use crate::model::{Attach, Attachment, GuestLinks, IfName, NetworkMode, PortForward, ResolvedNetwork, apart};
use crate::snapshot::{Family, NftKey, NftValue, Part, Scope, Snapshot};
use crate::tables::gate::{
    APART, BRIDGED, FORWARD_RANGES, FORWARDS, GATE, HIDDEN, HIDDEN_LINKS, HIDDEN_NETWORKS, INSIDE, LINKS, OF_DOMAIN,
    OPEN, PORTS, REACH, SHARED, SOURCE_NETWORKS, SOURCES, at,
};

fn family_of(network: &IpNetwork) -> usize {
    at(Family::of(&network.ip()))
}

fn address(ip: IpAddr) -> NftValue {
    match ip {
        IpAddr::V4(a) => NftValue::Ipv4(a),
        IpAddr::V6(a) => NftValue::Ipv6(a),
    }
}

/// What a link has to have whose guest may send from these addresses only.
pub(super) fn checked(link: IfName, sources: &[IpNetwork]) -> Vec<Item> {
    let name = NftValue::Name(link);
    let mut out = vec![Item::exact(LINKS, std::slice::from_ref(&name))];
    out.extend(apart(sources.iter().copied()).into_iter().map(|n| {
        let family = family_of(&n);
        Item::network(SOURCES[family], SOURCE_NETWORKS[family], std::slice::from_ref(&name), n)
    }));
    out
}

/// What a link has to have whose guest may also send from the addresses of its other links, which have the same number.
pub(super) fn shared(link: IfName, number: u32, sources: &[IpNetwork]) -> Vec<Item> {
    let number = NftValue::U32(number);
    let data = Some(vec![number.clone()]);
    let mut out = vec![Item { data, ..Item::exact(OF_DOMAIN, &[NftValue::Name(link)]) }];
    // Not networks: of a key with ranges and a number nft makes other rules than ours, since it swaps the number's bytes.
    let single = sources.iter().filter(|n| is_single(n));
    out.extend(single.map(|n| Item::exact(SHARED[family_of(n)], &[number.clone(), address(n.ip())])));
    out
}

/// What has to be looked at to see whether a link is known to the gate at all.
pub(super) fn membership(link: &IfName) -> Scope {
    GATE.scope(&[Item::exact(LINKS, &[NftValue::Name(*link)])])
}

/// What addresses have to have that NAT hides where they leave by this link.
pub(super) fn hidden(egress: IfName, guests: &[IpNetwork]) -> Vec<Item> {
    let name = NftValue::Name(egress);
    let item = |n: IpNetwork| {
        let family = family_of(&n);
        Item::network(HIDDEN[family], HIDDEN_NETWORKS[family], std::slice::from_ref(&name), n)
    };
    apart(guests.iter().copied()).into_iter().map(item).collect()
}

/// What a link has to have behind which a hidden guest is; and, where it is open, whom every other guest may connect to.
pub(super) fn hidden_behind(link: IfName, open: bool) -> Vec<Item> {
    let sets = [HIDDEN_LINKS].into_iter().chain(open.then_some(OPEN));
    sets.map(|set| Item::exact(set, &[NftValue::Name(link)])).collect()
}

/// An element about what goes from addresses of one network to those of another, of the same family.
fn between(sets: [&'static str; 2], from: IpNetwork, to: IpNetwork) -> Item {
    let (from_range, to_range) = (NftKey::network(from), NftKey::network(to));
    let last = |range: &NftKey| range.last.clone().unwrap_or_else(|| range.first.clone());
    let last: Vec<NftValue> = last(&from_range).into_iter().chain(last(&to_range)).collect();
    let first: Vec<NftValue> = from_range.first.into_iter().chain(to_range.first).collect();
    let last = (first != last).then_some(last);
    Item { set: sets[family_of(&to)], key: NftKey { first, last }, data: None }
}

/// Whether NAT hides an address of this guest already, whoever had it before.
pub(crate) fn is_hidden(a: &Attach, now: &Snapshot) -> bool {
    match &a.attachment {
        Attachment::Nat { egress: Some(egress), guest, .. } => {
            hidden(*egress, guest).iter().any(|item| GATE.find(now, item).is_some())
        }
        _ => false,
    }
}

/// What a network has to have as a whole, whoever its guests are.
pub(super) fn of_network(started: &ResolvedNetwork) -> Vec<Item> {
    let mut out = of_guests(started);
    if let NetworkMode::Nat(nat) = started.network.mode() {
        out.extend(nat.forwards.iter().flat_map(handed_on));
    }
    out
}

/// What a network has to have for its guests, whatever is handed on to them: who may connect to them, and, on a private bridge, what hides
/// them. Everybody may connect to guests that NAT does not hide, unless the network keeps its guests apart.
pub(super) fn of_guests(started: &ResolvedNetwork) -> Vec<Item> {
    let mut out = limits::of_network(started);
    out.extend(between_guests(started));
    out
}

/// Who may connect to a network's guests, and, on a private bridge, what hides them and what they may send.
fn between_guests(started: &ResolvedNetwork) -> Vec<Item> {
    let subnets: Vec<IpNetwork> = started.network.subnets().iter().map(|s| s.network()).collect();
    let isolates = started.network.isolates();
    let nat = match started.network.mode() {
        NetworkMode::Nat(nat) => nat,
        NetworkMode::Routed(_) if isolates => return pairs(APART, &subnets, &subnets).collect(),
        _ => return Vec::new(),
    };
    let others = pairs(REACH, &apart(nat.reachable_from.iter().copied()), &subnets).collect::<Vec<_>>();
    let GuestLinks::Bridge(bridge) = &nat.guests else {
        let own = if isolates { &[] } else { &subnets[..] };
        return pairs(REACH, own, &subnets).chain(others).collect();
    };
    // Guests come and go on the bridge without this table knowing of them.
    let name = NftValue::Name(bridge.name());
    let mut out = started.outside.map(|egress| hidden(egress, &subnets)).unwrap_or_default();
    out.extend(hidden_behind(bridge.name(), false));
    out.extend(others);
    out.extend((!isolates).then(|| Item::exact(BRIDGED, &[name.clone(), name.clone()])));
    // Nobody is hidden whose address is none of the network's: it would leave as it is.
    out.extend(checked(bridge.name(), &subnets));
    out.extend(apart(subnets).into_iter().map(|n| {
        let set = INSIDE[family_of(&n)];
        Item::network(set, set, std::slice::from_ref(&name), n)
    }));
    out
}

/// Elements for what goes from each of these networks to each of those of its family.
fn pairs(sets: [&'static str; 2], from: &[IpNetwork], to: &[IpNetwork]) -> impl Iterator<Item = Item> + use<> {
    let same = |(a, b): &(IpNetwork, IpNetwork)| a.is_ipv6() == b.is_ipv6();
    let all: Vec<_> = to.iter().flat_map(|to| from.iter().map(|from| (*from, *to))).filter(same).collect();
    all.into_iter().map(move |(from, to)| between(sets, from, to))
}

/// What a network had before its description was changed, some of which it may have still.
pub(super) fn former(started: &ResolvedNetwork) -> Vec<Item> {
    started.former.iter().flat_map(handed_on).collect()
}

/// The forwards that a changed description releases: another network may have them by now.
pub(crate) fn given_up(started: &ResolvedNetwork) -> Scope {
    GATE.scope(&former(started)).without(&GATE.scope(&of_network(started)))
}

/// Of what a network has given up, that which another one has by now, and the errors of wanting it back.
pub(crate) fn taken_since(started: &ResolvedNetwork, now: &Snapshot) -> Vec<(Part, Error)> {
    let given_up = given_up(started);
    let taken = |item: &Item| {
        let part = GATE.part(item);
        GATE.taken_by_other(now, item).filter(|_| given_up.contains(&part)).map(|e| (part, e))
    };
    former(started).iter().filter_map(taken).collect()
}

/// The elements that earlier versions made of a network's ranges, two for each port. A gate that replaced an earlier one still has them.
/// If the first port of a range has none, nothing of that range is looked for.
pub(super) fn of_earlier_version(started: &ResolvedNetwork, now: &Snapshot) -> Vec<Item> {
    let is_there = |item: &Item| GATE.find(now, item).is_some() && GATE.taken_by_other(now, item).is_none();
    let ranges = ranges_of(started).filter(|range| singly(range).next().is_some_and(|first| is_there(&first)));
    ranges.flat_map(singly).collect()
}

/// The scope of these elements: at first of one for each range, and of all where that one is there.
pub(super) fn scope_of_earlier_version(started: &ResolvedNetwork, seen: &Snapshot) -> Scope {
    let first: Vec<Item> = ranges_of(started).filter_map(|range| singly(range).next()).collect();
    GATE.scope(&first).union(GATE.scope(&of_earlier_version(started, seen)))
}

/// Removes from an earlier state what an earlier version made of a network's ranges: it was the network's own.
pub(crate) fn forget_earlier_version(target: &mut Snapshot, started: &ResolvedNetwork) {
    let Some(table) = target.nft.get_mut(&(GATE.id)()) else { return };
    for range in ranges_of(started) {
        let (protocol, (first, last)) = (range.protocol().number(), range.ports());
        let covers = |key: &NftKey| matches!(key.first[..], [NftValue::U8(p), NftValue::U16(port)] if p == protocol && (first..=last).contains(&port));
        let family = at(Family::of(&range.to()));
        for set in [FORWARDS[family], PORTS[family]] {
            if let Some(set) = table.sets.get_mut(set) {
                set.elements.retain(|key, _| !covers(key));
            }
        }
    }
}

/// The scope of all elements that a network has in the gate, also those that its record does not name.
pub(crate) fn scope_of_network(started: &ResolvedNetwork) -> Scope {
    GATE.scope(&of_network(started))
}

/// The scope of a forward's elements.
pub(crate) fn scope_of_forward(forward: &PortForward) -> Scope {
    GATE.scope(&handed_on(forward))
}

/// The forwards of a network that are ranges, with those that it has given up.
fn ranges_of(started: &ResolvedNetwork) -> impl Iterator<Item = &PortForward> {
    let forwards = match started.network.mode() {
        NetworkMode::Nat(nat) => nat.forwards.as_slice(),
        _ => &[],
    };
    forwards.iter().chain(&started.former).filter(|forward| is_range(forward))
}

/// Whether a forward has several ports and keeps their numbers.
fn is_range(forward: &PortForward) -> bool {
    let (ports, to_ports) = (forward.ports(), forward.to_ports());
    ports == to_ports && ports.0 < ports.1
}

/// Two elements a port.
fn singly(forward: &PortForward) -> impl Iterator<Item = Item> + use<> {
    let ((first, last), (to_first, to_last)) = (forward.ports(), forward.to_ports());
    let (protocol, to) = (forward.protocol(), forward.to());
    let family = at(Family::of(&to));
    (first..=last).zip(to_first..=to_last).flat_map(move |(port, to_port)| {
        let key = [NftValue::U8(protocol.number()), NftValue::U16(port)];
        let leads = |set, data| Item { data: Some(vec![data]), ..Item::exact(set, &key) };
        [leads(FORWARDS[family], address(to)), leads(PORTS[family], NftValue::U16(to_port))]
    })
}

/// The elements of a forward: one for all ports that stay what they are, else two a port.
fn handed_on(forward: &PortForward) -> Vec<Item> {
    if !is_range(forward) {
        return singly(forward).collect();
    }
    let ((first, last), protocol) = (forward.ports(), NftValue::U8(forward.protocol().number()));
    let set = FORWARD_RANGES[at(Family::of(&forward.to()))];
    let key = |port| [protocol.clone(), NftValue::U16(port)];
    let mut range = Item { data: Some(vec![address(forward.to())]), ..Item::exact(set, &key(first)) };
    range.key.last = Some(key(last).into());
    vec![range]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BridgeSpec, HostAccess, LanAccess, NatNetwork, Network, Protocol, Services, Subnet};
    use crate::plan::Reason;
    use crate::plan::table::TableWish;
    use crate::snapshot::{NftTable, NftTableId, nft_facts};
    use crate::step::{NftOp, Step, step};
    use crate::tables::Sections;
    use crate::tables::gate::FROM_GUEST;

    fn elements(items: Vec<Item>) -> Vec<String> {
        let mut world = Snapshot::default();
        carry_out(&mut world, TableWish::new(&GATE, items, Vec::new(), Reason::fixed("")));
        let facts = nft_facts(&world.nft);
        facts
            .iter()
            .filter_map(|f| f.strip_prefix("add element inet xennet "))
            .filter(|f| !f.starts_with("version"))
            .map(str::to_owned)
            .collect()
    }

    fn carry_out(world: &mut Snapshot, wish: TableWish) {
        if let Some(first) = wish.first(world).unwrap() {
            step(world, &Step::Nft(first)).unwrap();
        }
        if let Some(last) = wish.last(world) {
            step(world, &Step::Nft(last)).unwrap();
        }
    }

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn networks(list: &[&str]) -> Vec<IpNetwork> {
        list.iter().map(|n| n.parse().unwrap()).collect()
    }

    fn subnets(list: &[&str]) -> Vec<Subnet> {
        networks(list).into_iter().map(|n| Subnet::new(n).unwrap()).collect()
    }

    fn started(forwards: &[PortForward]) -> ResolvedNetwork {
        let nat = NatNetwork {
            subnets: subnets(&["10.1.0.0/24", "fd00:1::/64"]),
            guests: GuestLinks::Bridge(BridgeSpec::new(name("natbr0"))),
            forwards: forwards.to_vec(),
            ..NatNetwork::new()
        };
        ResolvedNetwork {
            outside: Some(name("eth0")),
            ..ResolvedNetwork::new(Network::new(name("lan"), NetworkMode::Nat(nat)).unwrap())
        }
    }

    /// A forward of two ports to this port and the next.
    fn web(to_port: u16) -> PortForward {
        PortForward::new(Protocol::Tcp, (8080, 8081), "10.1.0.5".parse().unwrap(), to_port).unwrap()
    }

    #[test]
    fn what_a_guest_has() {
        let guest = networks(&["10.0.5.1", "10.0.6.0/25", "10.0.6.7", "2001:db8::5"]);
        let mut items = checked(name("vif5.0"), &guest);
        items.extend(hidden(name("eth0"), &guest));
        items.extend(hidden_behind(name("vif5.0"), true));
        assert_eq!(
            elements(items),
            [
                "hidden { \"vif5.0\" }",
                "links { \"vif5.0\" }",
                "masq4 { \"eth0\" . 10.0.5.1 }",
                "masq6 { \"eth0\" . 2001:db8::5 }",
                "masqnet4 { \"eth0\" . 10.0.6.0/25 }",
                "open { \"vif5.0\" }",
                "src4 { \"vif5.0\" . 10.0.5.1 }",
                "src6 { \"vif5.0\" . 2001:db8::5 }",
                "srcnet4 { \"vif5.0\" . 10.0.6.0/25 }",
            ]
        );
    }

    #[test]
    fn what_a_network_has() {
        let six = PortForward::new(Protocol::Udp, (53, 53), "fd00:1::5".parse().unwrap(), 80).unwrap();
        assert_eq!(
            elements(of_network(&started(&[web(80), six]))),
            [
                "bridged { \"natbr0\" . \"natbr0\" }",
                "forward4 { tcp . 8080 : 10.1.0.5 }",
                "forward4 { tcp . 8081 : 10.1.0.5 }",
                "forward6 { udp . 53 : fd00:1::5 }",
                "hidden { \"natbr0\" }",
                "inside4 { \"natbr0\" . 10.1.0.0/24 }",
                "inside6 { \"natbr0\" . fd00:1::/64 }",
                "links { \"natbr0\" }",
                "masqnet4 { \"eth0\" . 10.1.0.0/24 }",
                "masqnet6 { \"eth0\" . fd00:1::/64 }",
                "port4 { tcp . 8080 : 80 }",
                "port4 { tcp . 8081 : 81 }",
                "port6 { udp . 53 : 80 }",
                "srcnet4 { \"natbr0\" . 10.1.0.0/24 }",
                "srcnet6 { \"natbr0\" . fd00:1::/64 }",
            ]
        );
        let mut per_vif = NatNetwork::new();
        per_vif.subnets = subnets(&["10.1.0.0/24", "10.2.0.0/25", "fd00:1::/64"]);
        let per_vif = ResolvedNetwork::new(Network::new(name("lan"), NetworkMode::Nat(per_vif)).unwrap());
        assert_eq!(
            elements(of_network(&per_vif)),
            [
                "reach4 { 10.1.0.0/24 . 10.1.0.0/24 }",
                "reach4 { 10.1.0.0/24 . 10.2.0.0/25 }",
                "reach4 { 10.2.0.0/25 . 10.1.0.0/24 }",
                "reach4 { 10.2.0.0/25 . 10.2.0.0/25 }",
                "reach6 { fd00:1::/64 . fd00:1::/64 }",
            ]
        );
        let many = PortForward::new(Protocol::Tcp, (1, 65535), "10.1.0.5".parse().unwrap(), 1).unwrap();
        assert_eq!(
            elements(handed_on(&many)),
            ["forwardrange4 { tcp . 1-65535 : 10.1.0.5 }"],
            "however many ports: one element"
        );
    }

    #[test]
    fn what_a_network_has_that_limits_what_its_guests_reach() {
        let resolved = |nat: NatNetwork| ResolvedNetwork {
            outside: Some(name("eth0")),
            lan: networks(&["192.0.2.0/24", "198.51.100.7/32", "2001:db8::/64"]),
            ..ResolvedNetwork::new(Network::new(name("lan"), NetworkMode::Nat(nat)).unwrap())
        };
        let per_vif = NatNetwork::new()
            .with_subnets(subnets(&["10.1.0.0/24", "fd00:1::/64"]))
            .with_isolated(true)
            .with_host(HostAccess::Services)
            .with_lan(LanAccess::Closed);
        assert_eq!(
            elements(of_network(&resolved(per_vif.clone()))),
            [
                "lan4 { \"eth0\" . 10.1.0.0/24 . 192.0.2.0/24 }",
                "lan4 { \"eth0\" . 10.1.0.0/24 . 198.51.100.7 }",
                "lan6 { \"eth0\" . fd00:1::/64 . 2001:db8::/64 }",
            ]
        );
        let alone = per_vif.clone().with_subnets(subnets(&["10.1.0.9/32"])).with_host(HostAccess::Open);
        assert_eq!(
            elements(of_network(&resolved(alone))),
            ["lan4 { \"eth0\" . 10.1.0.9 . 192.0.2.0/24 }", "lanhost4 { \"eth0\" . 10.1.0.9 . 198.51.100.7 }",]
        );
        let bridged = per_vif
            .with_guests(GuestLinks::Bridge(BridgeSpec::new(name("natbr0"))))
            .with_services(Services::default().with_dns(true))
            .with_lan(LanAccess::Open);
        let limits: Vec<String> = elements(crate::plan::limits::of_network(&resolved(bridged.clone())));
        assert_eq!(limits, ["asking { \"natbr0\" }", "asking-dns { \"natbr0\" }", "limited { \"natbr0\" }"]);
        let closed = elements(crate::plan::limits::of_network(&resolved(bridged.with_host(HostAccess::Closed))));
        assert_eq!(closed, ["limited { \"natbr0\" }"]);
        // Nobody else has the section.
        let items = of_network(&started(&[]));
        assert_eq!(GATE.sections_for(&items), Sections::default().with(2));
    }

    #[test]
    fn a_port_that_leads_elsewhere_is_not_taken_and_changes_when_it_is_ones_own() {
        let why = || Reason::fixed("");
        let mut world = Snapshot::default();
        let (old, new) = (of_network(&started(&[web(80)])), of_network(&started(&[web(90)])));
        carry_out(&mut world, TableWish::new(&GATE, old.clone(), Vec::new(), why()));
        let before = world.clone();
        let e = TableWish::new(&GATE, new.clone(), Vec::new(), why()).first(&world).unwrap_err();
        assert_eq!(e.message(), "tcp . 8080 cannot be handed on to port 90: it is handed on to port 80 already");
        assert_eq!(e.hint(), Some("stop the network that it belongs to, or look at `nft list map inet xennet port4`"));
        carry_out(&mut world, TableWish::new(&GATE, new.clone(), old.clone(), why()));
        assert!(
            new.iter()
                .all(|i| TableWish::new(&GATE, vec![i.clone()], Vec::new(), why()).first(&world).unwrap().is_none())
        );
        // What somebody else has changed is not ours to remove.
        let changed = world.clone();
        carry_out(&mut world, TableWish::new(&GATE, Vec::new(), old.clone(), why()));
        let ports = |world: &Snapshot| world.nft[&NftTableId::gate()].sets["forward4"].elements.len();
        assert_eq!((ports(&changed), ports(&world)), (2, 2));
        // And the way back.
        let scope: Scope = GATE.scope(&old);
        for wish in TableWish::restored(&before.seen(&scope), &why()) {
            carry_out(&mut world, wish);
        }
        assert_eq!(world.changes(&before), []);
        assert!(scope.parts().all(|p| matches!(p, Part::NftElement(..))));
    }

    /// A look as calls take it: what a wish names, in a second look what the first one shows to matter.
    fn look(world: &Snapshot, items: &[Item]) -> Snapshot {
        let mut seen = world.seen(&GATE.scope(items));
        for _ in 0..2 {
            let more = GATE.frame_scope(items, &seen);
            seen.merge(world.seen(&more));
        }
        seen
    }

    fn first(world: &Snapshot, items: &[Item]) -> Vec<NftOp> {
        let wish = TableWish::new(&GATE, items.to_vec(), Vec::new(), Reason::fixed(""));
        wish.first(&look(world, items)).unwrap().map(|transaction| transaction.ops).unwrap_or_default()
    }

    fn take(world: &mut Snapshot, items: &[Item]) -> Vec<NftOp> {
        let ops = first(world, items);
        step(world, &Step::Nft(crate::step::NftTransaction::new(NftTableId::gate(), ops.clone()))).unwrap();
        ops
    }

    #[test]
    fn who_is_not_hidden_asks_for_no_translation() {
        let guest = checked(name("vif1.0"), &networks(&["10.0.5.1"]));
        let hidden = hidden(name("eth0"), &networks(&["10.0.6.1"]));
        let mut world = Snapshot::default();
        take(&mut world, &guest);
        let gate = |world: &Snapshot| world.nft[&NftTableId::gate()].clone();
        assert_eq!(gate(&world).frame(), GATE.frame(Sections::default()));
        assert_eq!(first(&world, &guest), []);
        // The first hidden guest adds the rest, and does not touch what is there.
        let ops = take(&mut world, &hidden);
        assert!(!ops.iter().any(|op| matches!(op, NftOp::AddTable | NftOp::FlushChain { .. })), "{ops:?}");
        assert_eq!(gate(&world).frame(), GATE.frame(Sections::default().with(2)));
        assert_eq!([first(&world, &guest), first(&world, &hidden)], [vec![], vec![]]);
        // Made at once it is the same.
        let mut at_once = Snapshot::default();
        take(&mut at_once, &hidden);
        take(&mut at_once, &guest);
        assert_eq!(gate(&at_once), gate(&world));
    }

    #[test]
    fn what_is_damaged_is_put_right_by_who_needs_it() {
        let guest = checked(name("vif1.0"), &networks(&["10.0.5.1"]));
        let hidden = hidden(name("eth0"), &networks(&["10.0.6.1"]));
        let flush = |world: &mut Snapshot, chain: &str| {
            let op = NftOp::FlushChain { chain: chain.into() };
            step(world, &Step::Nft(crate::step::NftTransaction::new(NftTableId::gate(), vec![op]))).unwrap();
        };
        let mut both = Snapshot::default();
        take(&mut both, &hidden);
        take(&mut both, &guest);
        let whole = both.clone();
        flush(&mut both, "hiding");
        assert_eq!(first(&both, &guest), [], "nobody of its is translated");
        assert!(take(&mut both, &hidden).iter().any(|op| matches!(op, NftOp::FlushChain { .. })));
        assert_eq!(both.nft, whole.nft);
        flush(&mut both, FROM_GUEST);
        take(&mut both, &guest);
        assert_eq!(both.nft, whole.nft);
        // Damaged below, and to be extended.
        let mut world = Snapshot::default();
        take(&mut world, &guest);
        flush(&mut world, FROM_GUEST);
        take(&mut world, &hidden);
        assert_eq!(world.nft, whole.nft);
    }

    #[test]
    fn a_gate_that_nobody_is_in_counts_as_none() {
        let mut world = Snapshot::default();
        let items = of_network(&started(&[web(80)]));
        carry_out(&mut world, TableWish::new(&GATE, items.clone(), Vec::new(), Reason::fixed("")));
        assert_ne!(world.changes(&Snapshot::default()), []);
        carry_out(&mut world, TableWish::new(&GATE, Vec::new(), items, Reason::fixed("")));
        assert_ne!(world.nft, [].into());
        assert_eq!(world.changes(&Snapshot::default()), []);
        let _: &NftTable = &world.nft[&NftTableId::gate()];
    }
}
