//! Random steps: mostly what somebody could mean, some of it nonsense.

use std::net::{IpAddr, Ipv4Addr};

use xennet_core::snapshot::{
    AddrGenMode, Address, Family, FdbEntry, FdbKind, LinkKind, Neighbour, NeighbourKind, NextHop, PortVlan, Route,
    RouteKind, Rule, RuleAction, Snapshot, SysctlKey,
};
use xennet_core::step::{
    AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NeighStep, NewLink, NewMaster, PortChange, PortStep,
    RouteStep, RuleStep, Step, SysctlStep,
};
use xennet_core::{IfName, MacAddr, Tagging, Vid};

/// SplitMix64: one number in, a stream out.
pub(crate) struct Dice(u64);

impl Dice {
    /// The stream of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn maybe<T>(&mut self, percent: usize, value: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.chance(percent) { Some(value(self)) } else { None }
    }
}

const NAMES: &[&str] =
    &["br0", "br1", "br2", "v0", "v1", "v2", "v3", "v4", "v5", "p0", "p1", "p2", "p3", "p4", "p5", "lo", "gone"];
const MACS: &[[u8; 6]] = &[
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
    [2, 0, 0, 0, 0, 3],
    [2, 0, 0, 0, 0, 0xfe],
    [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff],
    [0, 0x16, 0x3e, 0, 0, 9],
];
const STATIONS: &[[u8; 6]] = &[[2, 1, 0, 0, 0, 1], [2, 1, 0, 0, 0, 2], [3, 1, 0, 0, 0, 3], [0; 6]];
const ADDRESSES4: &[&str] = &[
    "10.0.0.1/24",
    "10.0.0.2/24",
    "10.0.0.3/24",
    "10.0.0.1/25",
    "10.0.1.1/24",
    "10.0.1.1/32",
    "10.0.1.5/16",
    "192.0.2.9/32",
    "0.0.0.0/24",
    "224.0.0.9/24",
];
const ADDRESSES6: &[&str] = &[
    "2001:db8::1/64",
    "2001:db8::2/64",
    "2001:db8::2/128",
    "2001:db8:1::1/128",
    "2001:db8:1::1/48",
    "fe80::5/64",
    "fd00::1/8",
    "::1/128",
    "ff02::9/64",
];
const ROUTES4: &[&str] =
    &["0.0.0.0/0", "10.9.0.0/16", "10.9.8.0/24", "10.0.0.0/24", "172.16.0.1/32", "10.0.1.0/24", "10.9.1.1/16"];
const ROUTES6: &[&str] = &["::/0", "2001:db8:9::/48", "2001:db8::/64", "2001:db8:9::7/128", "2001:db8:9::7/48"];
const GATEWAYS4: &[&str] =
    &["10.0.0.254", "10.0.1.254", "10.0.0.1", "10.0.0.255", "10.9.0.1", "192.0.2.9", "224.0.0.1"];
const GATEWAYS6: &[&str] = &["2001:db8::fe", "2001:db8::1", "2001:db8:9::1", "fe80::1", "ff02::1"];
const NEIGHBOURS: &[&str] = &["10.0.0.50", "10.0.0.51", "2001:db8::50", "fe80::50", "10.0.0.1"];
const TABLES: &[u32] = &[254, 254, 254, 254, 254, 100, 100, 253];

fn name(d: &mut Dice) -> IfName {
    d.pick(NAMES).parse().expect("the table holds names")
}

/// A link that is there, usually.
fn link(d: &mut Dice, world: &Snapshot) -> IfName {
    let real: Vec<_> = world.links.keys().copied().filter(|n| n != "lo" || world.links.len() == 1).collect();
    if real.is_empty() || d.chance(5) { name(d) } else { *d.pick(&real) }
}

fn of_kind(d: &mut Dice, world: &Snapshot, kind: &LinkKind) -> IfName {
    let real: Vec<_> = world.links.iter().filter(|(_, l)| l.kind == *kind).map(|(n, _)| *n).collect();
    if real.is_empty() || d.chance(8) { link(d, world) } else { *d.pick(&real) }
}

fn mac(d: &mut Dice, of: &[[u8; 6]]) -> MacAddr {
    if d.chance(3) { MacAddr::new([1, 0, 0, 0, 0, 0]) } else { MacAddr::new(*d.pick(of)) }
}

fn ip(d: &mut Dice, of: &[&str]) -> IpAddr {
    d.pick(of).split('/').next().expect("the first part").parse().expect("the table holds addresses")
}

/// The next step of a walk through `world`.
pub(crate) fn step(d: &mut Dice, world: &Snapshot) -> Step {
    match d.below(100) {
        0..8 => create(d, world),
        8..33 => {
            let link = link(d, world);
            let mut change = change(d, world);
            // Loopback below 1280 bytes keeps a half of IPv6 that ends at any next event; nobody needs it.
            if world.links.get(&link).is_some_and(|l| l.kind == LinkKind::Loopback) {
                change.mtu = change.mtu.filter(|m| *m >= 1280);
                // And down after it was up it goes on calling its networks its own.
                change.up = change.up.filter(|up| *up);
            }
            Step::Link(LinkStep::Set { link: LinkRef::named(link), change })
        }
        33..36 => Step::Link(LinkStep::Delete { link: LinkRef::named(link(d, world)) }),
        36..42 => port(d, world),
        42..49 => fdb(d, world),
        49..62 => Step::Addr(AddrStep::Add(address(d, world))),
        62..69 => Step::Addr(AddrStep::Del(existing(d, &world.addresses, |d| address(d, world)))),
        69..79 => Step::Route(RouteStep::Add(route(d, world))),
        79..82 => {
            let new = route(d, world);
            // Where the kernel has several by itself, which one is the first is its history.
            let same = |r: &&Route| r.table == new.table && r.destination.ip() == new.destination.network();
            let first_is_known = world.routes.iter().filter(same).count() < 2;
            Step::Route(if first_is_known { RouteStep::Replace(new) } else { RouteStep::Add(new) })
        }
        82..86 => Step::Route(RouteStep::Del(deleted_route(d, world))),
        86..89 => rule(d, world),
        89..94 => neighbour(d, world),
        _ => sysctl(d, world),
    }
}

fn existing<T: Clone>(d: &mut Dice, of: &std::collections::BTreeSet<T>, otherwise: impl FnOnce(&mut Dice) -> T) -> T {
    if of.is_empty() || d.chance(20) {
        return otherwise(d);
    }
    let at = d.below(of.len());
    of.iter().nth(at).expect("below the length").clone()
}

fn create(d: &mut Dice, world: &Snapshot) -> Step {
    let bridge = d.chance(30) || world.links.len() == 1;
    let all: Vec<IfName> = NAMES.iter().filter_map(|n| n.parse().ok()).collect();
    let free: Vec<&IfName> = all.iter().filter(|n| n.as_str().starts_with(if bridge { "br" } else { "v" })).collect();
    let name = **d.pick(&free);
    let mut c = LinkChange::default()
        .with_mac(d.maybe(70, |d| mac(d, MACS)))
        .with_mtu(d.maybe(15, |d| *d.pick(&[1400, 1500, 9000, 1279, 60])))
        .with_up(d.maybe(50, |_| true))
        .with_arp(d.maybe(5, |_| false))
        .with_txqueuelen(d.maybe(5, |_| 32))
        .with_alias(d.maybe(5, |_| "a note".to_owned()));
    if bridge {
        if d.chance(30) {
            c.bridge = bridge_change(d);
        }
        return Step::Link(LinkStep::Create { name, kind: NewLink::Bridge, change: c });
    }
    if d.chance(20) {
        c.mac = Some(mac(d, MACS));
        c.master = Some(NewMaster::Bridge(LinkRef::named(of_kind(d, world, &LinkKind::Bridge))));
    }
    let peer = if d.chance(95) { format!("p{}", &name.as_str()[1..]) } else { "v1".to_owned() };
    let peer = peer.parse().expect("a short name");
    Step::Link(LinkStep::Create { name, kind: NewLink::Veth { peer }, change: c })
}

fn bridge_change(d: &mut Dice) -> BridgeChange {
    BridgeChange::default()
        .with_stp(d.maybe(15, |d| d.chance(50)))
        .with_forward_delay_cs(d.maybe(40, |d| *d.pick(&[0, 200, 1500, 3000, 3200])))
        .with_ageing_time_cs(d.maybe(30, |d| *d.pick(&[0, 30_000, 12_000])))
        .with_vlan_filtering(d.maybe(4, |d| d.chance(50)))
        .with_default_pvid(d.maybe(4, |_| 0))
        .with_multicast_snooping(d.maybe(20, |d| d.chance(50)))
}

fn change(d: &mut Dice, world: &Snapshot) -> LinkChange {
    let mut c = LinkChange::default();
    for _ in 0..=d.below(3) {
        match d.below(14) {
            0 | 1 => c.mac = Some(mac(d, MACS)),
            2 | 3 => c.mtu = Some(*d.pick(&[1400, 1500, 1500, 9000, 1280, 1000, 67, 65535, 65536])),
            4 => c.name = Some(name(d)),
            5 => c.alias = Some((*d.pick(&["", "a note", "another"])).to_owned()),
            6..10 => c.up = Some(d.chance(70)),
            10 => c.arp = Some(d.chance(50)),
            11 => c.txqueuelen = Some(*d.pick(&[0, 32, 1000])),
            12 => c.addr_gen_mode = Some(*d.pick(&[AddrGenMode::None, AddrGenMode::StablePrivacy])),
            _ => {
                let to = if d.chance(25) {
                    NewMaster::None
                } else {
                    NewMaster::Bridge(LinkRef::named(of_kind(d, world, &LinkKind::Bridge)))
                };
                c.master = Some(to);
            }
        }
    }
    if d.chance(15) {
        c.master = Some(NewMaster::Bridge(LinkRef::named(of_kind(d, world, &LinkKind::Bridge))));
    }
    if d.chance(5) {
        c.bridge = bridge_change(d);
    }
    c
}

fn port(d: &mut Dice, world: &Snapshot) -> Step {
    let ports: Vec<_> = world.links.iter().filter(|(_, l)| l.master.is_some()).map(|(n, _)| *n).collect();
    let name = if ports.is_empty() || d.chance(15) { link(d, world) } else { *d.pick(&ports) };
    let loopback = world.links.get(&name).is_some_and(|l| l.kind == LinkKind::Loopback);
    let port = LinkRef::named(name);
    if d.chance(12) {
        let vid = *d.pick(&[Vid::ONE, Vid::new(10).expect("in range")]);
        let vlan = PortVlan::new(vid, Tagging::Tagged).with_pvid(d.chance(30));
        return Step::Port(if d.chance(50) {
            PortStep::VlanAdd { port, vlan }
        } else {
            PortStep::VlanDel { port, vlan }
        });
    }
    let change = PortChange::default()
        .with_isolated(d.maybe(40, |d| d.chance(50)))
        .with_learning(d.maybe(30, |d| d.chance(50)))
        .with_hairpin(d.maybe(20, |d| d.chance(50)))
        .with_unicast_flood(d.maybe(20, |d| d.chance(50)))
        .with_multicast_flood(d.maybe(10, |d| d.chance(50)))
        .with_broadcast_flood(d.maybe(10, |d| d.chance(50)))
        .with_neigh_suppress(d.maybe(10, |d| d.chance(50)))
        .with_locked(d.maybe(10, |d| d.chance(50)))
        .with_bpdu_guard(d.maybe(10, |d| d.chance(50)))
        .with_root_block(d.maybe(10, |d| d.chance(50)))
        .with_group_forward(d.maybe(10, |d| *d.pick(&[0, 0xfffd, 0x4000, 0x0002])));
    Step::Port(PortStep::Set { port, change, up: d.maybe(30, |d| d.chance(70)).filter(|up| *up || !loopback) })
}

fn fdb(d: &mut Dice, world: &Snapshot) -> Step {
    let ports: Vec<_> = world.links.iter().filter(|(_, l)| l.master.is_some()).map(|(n, _)| *n).collect();
    let name = if ports.is_empty() || d.chance(25) { link(d, world) } else { *d.pick(&ports) };
    let kind = if d.chance(30) { FdbKind::Local } else { FdbKind::Static };
    let entry = FdbEntry::new(name, mac(d, STATIONS), kind).with_vlan(d.maybe(4, |_| 10));
    if d.chance(60) {
        return Step::Port(PortStep::FdbAdd { entry });
    }
    Step::Port(PortStep::FdbDel { entry: existing(d, &world.fdb, |_| entry) })
}

fn address(d: &mut Dice, world: &Snapshot) -> Address {
    let v6 = d.chance(35);
    let text = d.pick(if v6 { ADDRESSES6 } else { ADDRESSES4 });
    let link = link(d, world);
    // The route to an IPv6 peer comes a moment later, out of the work that tests addresses.
    let peer = if v6 { None } else { d.maybe(8, |d| ip(d, GATEWAYS4)) };
    Address::new(link, text.parse().expect("the table holds networks"))
        .with_peer(peer)
        .with_broadcast(if v6 { None } else { d.maybe(30, |_| Ipv4Addr::new(10, 0, 0, 255)) })
        .with_scope(if v6 { 0 } else { *d.pick(&[0, 0, 0, 0, 0, 0, 253, 254]) })
        .with_label(if v6 { None } else { d.maybe(6, |_| format!("{link}:x").chars().take(15).collect()) })
        .with_no_prefix_route(d.chance(8))
        .with_nodad(v6)
}

fn route(d: &mut Dice, world: &Snapshot) -> Route {
    let v6 = d.chance(35);
    let destination = d.pick(if v6 { ROUTES6 } else { ROUTES4 }).parse().expect("the table holds networks");
    let gateways = if v6 { GATEWAYS6 } else { GATEWAYS4 };
    let kind = match d.below(20) {
        0 => RouteKind::Blackhole,
        1 => RouteKind::Unreachable,
        2 => RouteKind::Prohibit,
        3 => RouteKind::Throw,
        _ => RouteKind::Unicast,
    };
    let reject = kind != RouteKind::Unicast;
    let gateway = if reject && d.chance(90) { None } else { d.maybe(50, |d| ip(d, gateways)) };
    let usual = if reject || gateway.is_some() || v6 { 0 } else { 253 };
    let mut r = Route::to(destination, link(d, world))
        .with_table(*d.pick(TABLES))
        .with_metric(*d.pick(&[0, 0, 100]))
        .with_kind(kind)
        .with_gateway(gateway)
        .with_onlink(gateway.is_some() && d.chance(12))
        .with_source(d.maybe(20, |d| ip(d, if v6 { ADDRESSES6 } else { ADDRESSES4 })))
        .with_protocol(*d.pick(&[3, 4, 186]))
        .with_scope(if d.chance(95) || v6 { usual } else { *d.pick(&[0, 253, 254]) })
        .with_mtu(d.maybe(5, |_| 1400));
    if (reject && d.chance(90)) || (r.gateway.is_some() && d.chance(30)) {
        r.link = None;
    }
    // Of two ways that are as good as each other the kernel takes the eldest, which no snapshot tells.
    let ways = |g: IpAddr| world.addresses.iter().filter(|a| a.address.is_ipv4() && a.address.contains(g)).count();
    if !v6 && r.link.is_none() && r.gateway.is_some_and(|g| ways(g) > 1) {
        r.link = Some(link(d, world));
    }
    if !v6 && !reject && d.chance(6) {
        let hop = |d: &mut Dice| {
            NextHop::through(link(d, world))
                .with_gateway(d.maybe(80, |d| ip(d, gateways)))
                .with_weight(1 + d.below(3) as u16)
                .with_onlink(d.chance(60))
        };
        r.next_hops = vec![hop(d), hop(d)];
        (r.link, r.gateway, r.onlink, r.scope) = (None, None, false, 0);
    }
    r
}

fn deleted_route(d: &mut Dice, world: &Snapshot) -> Route {
    let mut r = existing(d, &world.routes, |d| route(d, world));
    match d.below(12) {
        0 => r.metric = 0,
        1 => r.link = None,
        2 => r.gateway = None,
        3 => r.protocol = 0,
        4 => r.metric = 7,
        _ => {}
    }
    r
}

fn rule(d: &mut Dice, world: &Snapshot) -> Step {
    let family = if d.chance(30) { Family::Ipv6 } else { Family::Ipv4 };
    let pool = if family == Family::Ipv6 { ROUTES6 } else { ROUTES4 };
    let network = |d: &mut Dice| d.pick(&pool[1..4]).parse().expect("the table holds networks");
    let new = |d: &mut Dice| {
        Rule::for_all(
            family,
            100 + d.below(6) as u32,
            match d.below(12) {
                0 => RuleAction::Goto(100 + d.below(8) as u32),
                1 => RuleAction::Blackhole,
                2 => RuleAction::Unreachable,
                3 => RuleAction::Prohibit,
                4 => RuleAction::Nop,
                _ => RuleAction::Table(*d.pick(TABLES)),
            },
        )
        .with_from(d.maybe(40, network))
        .with_to(d.maybe(20, network))
        .with_iif(d.maybe(15, |d| link(d, world)))
        .with_oif(d.maybe(10, |d| link(d, world)))
        .with_mark(d.maybe(15, |_| (7, 0xff)))
        .with_not(d.chance(8))
        .with_protocol(*d.pick(&[0, 3, 4]))
    };
    if d.chance(55) {
        return Step::Rule(RuleStep::Add(new(d)));
    }
    // The kernel's own three stay: without them a host does not know itself.
    let made = world.rules.iter().filter(|r| (1..32766).contains(&r.priority)).cloned().collect();
    Step::Rule(RuleStep::Del(existing(d, &made, new)))
}

fn neighbour(d: &mut Dice, world: &Snapshot) -> Step {
    // On loopback the kernel keeps 0.0.0.0 for whatever IPv4 neighbour is given (arp_constructor); nobody needs it.
    let new = |d: &mut Dice| {
        Neighbour::new(
            Some(link(d, world))
                .filter(|l| world.links.get(l).is_none_or(|l| l.kind != LinkKind::Loopback))
                .unwrap_or_else(|| "never".parse().expect("a name")),
            ip(d, NEIGHBOURS),
            if d.chance(40) { NeighbourKind::Proxy } else { NeighbourKind::Permanent(mac(d, MACS)) },
        )
    };
    if d.chance(65) {
        return Step::Neigh(NeighStep::Add(new(d)));
    }
    Step::Neigh(NeighStep::Del(existing(d, &world.neighbours, new)))
}

fn sysctl(d: &mut Dice, world: &Snapshot) -> Step {
    let l = link(d, world);
    let key = match d.below(16) {
        0 | 1 => "net/ipv4/ip_forward".to_owned(),
        2 => "net/ipv4/conf/all/forwarding".to_owned(),
        3 => format!("net/ipv4/conf/{l}/forwarding"),
        4 | 5 => format!("net/ipv4/conf/{l}/proxy_arp"),
        6 | 7 => format!("net/ipv4/conf/{l}/promote_secondaries"),
        8 => "net/ipv4/conf/all/promote_secondaries".to_owned(),
        9 => "net/ipv6/conf/all/forwarding".to_owned(),
        10 => format!("net/ipv6/conf/{l}/forwarding"),
        11 | 12 => format!("net/ipv6/conf/{l}/disable_ipv6"),
        13 => format!("net/ipv6/conf/{l}/keep_addr_on_down"),
        14 => format!("net/ipv6/conf/{l}/addr_gen_mode"),
        _ => (*d.pick(&["net/ipv6/conf/all/disable_ipv6", "net/ipv4/nonsense"])).to_owned(),
    };
    let values: &[&str] =
        if key.ends_with("addr_gen_mode") { &["1", "2", "9"] } else { &["0", "0", "1", "1", "1", "2", "x", "-1"] };
    let key: SysctlKey = key.parse().expect("a path below net/");
    Step::Sysctl(SysctlStep { key, value: (*d.pick(values)).to_owned() })
}
