//! A snapshot as sorted text, one fact a line, as an administrator would type it.

use std::fmt::{self, Write as _};

use super::{
    AddrGenMode, Address, BridgeState, Family, FdbEntry, FdbKind, Link, LinkKind, Neighbour, NeighbourKind, NextHop,
    PortState, PortVlan, Route, RouteKind, Rule, RuleAction, Snapshot, StoreNode, StorePath, StorePermission, VethPeer,
    nft_facts,
};
use crate::model::{IfName, Tagging};

/// What a line is about: its place in the order, and the object's key.
pub(super) type Object = (u8, String);

impl Snapshot {
    /// The facts as sorted lines, each ended by a newline: links, ports, addresses, routes, rules, neighbours, forwarding
    /// entries, VLANs, settings, nft objects, xenstore nodes.
    ///
    /// ```text
    /// ip link add xenbr0 address 02:00:00:00:00:01 mtu 1500 up type bridge stp_state 0 forward_delay 0 …
    /// ip link set vif5.0 master xenbr0
    /// bridge link set dev vif5.0 isolated on
    /// ip address add 192.0.2.1/24 dev xenbr0
    /// ```
    ///
    /// What is usual is left out (`learning on`), so that a line shows what matters.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (_, line) in self.lines() {
            out.push_str(&line);
            out.push('\n');
        }
        out
    }

    /// Every fact with the object that it is about, in order.
    pub(super) fn lines(&self) -> impl Iterator<Item = (Object, String)> + '_ {
        let links = self.links.iter().map(|(n, l)| ((0, n.to_string()), link_line(n, l)));
        let masters = self
            .links
            .iter()
            .filter_map(|(n, l)| l.master.map(|m| ((1, n.to_string()), format!("ip link set {n} master {m}"))));
        let ports = self.links.iter().filter_map(|(n, l)| {
            let settings = port_settings(l.port.as_ref()?);
            (!settings.is_empty()).then(|| ((2, n.to_string()), format!("bridge link set dev {n}{settings}")))
        });
        let addresses = self.addresses.iter().map(|a| {
            let peer = a.peer.map_or_else(String::new, |p| format!(" {p}"));
            ((3, format!("{} {}{peer}", a.link, a.address)), format!("ip address add {a}"))
        });
        let routes = self.routes.iter().map(|r| {
            let via: Vec<_> = r.next_hops.iter().map(|h| h.link).chain([r.link]).flatten().collect();
            let key = format!("{:010} {} {} {} {via:?}", r.table, r.destination, r.tos, r.metric);
            ((4, key), format!("ip route add {r}"))
        });
        let rules = self.rules.iter().map(|r| {
            let line = format!("ip rule add {r}");
            ((5, format!("{:?} {:010} {line}", r.family, r.priority)), line)
        });
        let neighbours = self.neighbours.iter().map(|n| {
            let proxy = n.kind == NeighbourKind::Proxy;
            ((6, format!("{} {} {proxy}", n.link, n.address)), format!("ip neighbour add {n}"))
        });
        let fdb =
            self.fdb.iter().map(|e| ((7, format!("{} {} {:?}", e.link, e.mac, e.vlan)), format!("bridge fdb add {e}")));
        let vlans = self.port_vlans.iter().flat_map(|(port, set)| {
            set.iter()
                .map(move |v| ((8, format!("{port} {:04}", v.vid.get())), format!("bridge vlan add dev {port} {v}")))
        });
        let sysctls = self.sysctls.iter().map(|(k, v)| ((9, k.to_string()), format!("sysctl {k}={v}")));
        let nft = nft_facts(&self.nft).into_iter().enumerate().map(|(at, fact)| {
            let line = format!("nft {fact}");
            // Rules have an order, which is a part of what they say; all else is its own key.
            let key = if fact.starts_with("add rule") { format!("{at:06} {fact}") } else { fact };
            ((10, key), line)
        });
        let store = self.store.iter().map(|(path, node)| ((11, path.to_string()), store_line(path, node)));
        links
            .chain(masters)
            .chain(ports)
            .chain(addresses)
            .chain(routes)
            .chain(rules)
            .chain(neighbours)
            .chain(fdb)
            .chain(vlans)
            .chain(sysctls)
            .chain(nft)
            .chain(store)
    }
}

const fn on_off(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

fn link_line(name: &IfName, link: &Link) -> String {
    let mut line = format!("ip link add {name}");
    let mut word = |text: fmt::Arguments<'_>| {
        line.push(' ');
        // Writing to a String cannot fail.
        let _ = line.write_fmt(text);
    };
    if let Some(mac) = link.mac {
        word(format_args!("address {mac}"));
    }
    word(format_args!("mtu {}", link.mtu));
    if link.txqueuelen != 1000 {
        word(format_args!("txqueuelen {}", link.txqueuelen));
    }
    word(format_args!("{}", if link.up { "up" } else { "down" }));
    if !link.arp {
        word(format_args!("arp off"));
    }
    if !link.multicast && link.kind != LinkKind::Loopback {
        word(format_args!("multicast off"));
    }
    if let Some(mode) = link.addr_gen_mode.filter(|m| *m != AddrGenMode::Eui64) {
        word(format_args!("addrgenmode {}", gen_mode(mode)));
    }
    if link.addr_gen_mode.is_none() {
        word(format_args!("no-ipv6"));
    }
    if let Some(alias) = &link.alias {
        word(format_args!("alias {alias:?}"));
    }
    match &link.kind {
        LinkKind::Plain => {}
        LinkKind::Loopback => word(format_args!("type loopback")),
        LinkKind::Bridge => word(format_args!("type bridge")),
        LinkKind::Veth => word(format_args!("type veth")),
        LinkKind::Tun => word(format_args!("type tun")),
        LinkKind::Ifb => word(format_args!("type ifb")),
        LinkKind::Macvlan => word(format_args!("type macvlan")),
        LinkKind::Other(kind) => word(format_args!("type {kind}")),
    }
    match &link.peer {
        Some(VethPeer::Here(peer)) => word(format_args!("peer {peer}")),
        Some(VethPeer::Elsewhere) => word(format_args!("peer elsewhere")),
        None => {}
    }
    if let Some(bridge) = &link.bridge {
        word(format_args!("{}", bridge_settings(bridge)));
    }
    line
}

const fn gen_mode(mode: AddrGenMode) -> &'static str {
    match mode {
        AddrGenMode::Eui64 => "eui64",
        AddrGenMode::None => "none",
        AddrGenMode::StablePrivacy => "stable_secret",
        AddrGenMode::Random => "random",
    }
}

fn bridge_settings(b: &BridgeState) -> String {
    let mut out = format!("stp_state {} forward_delay {}", u8::from(b.stp), b.forward_delay_cs);
    if b.ageing_time_cs != 30_000 {
        out.push_str(&format!(" ageing_time {}", b.ageing_time_cs));
    }
    if let Some(on) = b.vlan_filtering {
        out.push_str(&format!(" vlan_filtering {}", u8::from(on)));
    }
    if let Some(pvid) = b.default_pvid.filter(|p| *p != 1) {
        out.push_str(&format!(" vlan_default_pvid {pvid}"));
    }
    if !b.multicast_snooping {
        out.push_str(" mcast_snooping 0");
    }
    out
}

/// The settings of a port that are not the usual ones.
fn port_settings(p: &PortState) -> String {
    let usual = PortState::default();
    let fields = [
        ("isolated", p.isolated, usual.isolated),
        ("learning", p.learning, usual.learning),
        ("hairpin", p.hairpin, usual.hairpin),
        ("flood", p.unicast_flood, usual.unicast_flood),
        ("mcast_flood", p.multicast_flood, usual.multicast_flood),
        ("bcast_flood", p.broadcast_flood, usual.broadcast_flood),
        ("neigh_suppress", p.neigh_suppress, usual.neigh_suppress),
        ("locked", p.locked, usual.locked),
        ("guard", p.bpdu_guard, usual.bpdu_guard),
        ("root_block", p.root_block, usual.root_block),
    ];
    let mut out: String = fields
        .iter()
        .filter(|(_, is, usual)| is != usual)
        .map(|(name, is, _)| format!(" {name} {}", on_off(*is)))
        .collect();
    if p.group_forward != usual.group_forward {
        out.push_str(&format!(" group_fwd_mask {:#x}", p.group_forward));
    }
    out
}

/// `192.0.2.1/24 dev xenbr0 …`, as behind `ip address add`.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.peer {
            Some(peer) => write!(f, "{} peer {peer}/{} dev {}", self.address.ip(), self.address.prefix(), self.link)?,
            None => write!(f, "{} dev {}", self.address, self.link)?,
        }
        if let Some(broadcast) = self.broadcast {
            write!(f, " broadcast {broadcast}")?;
        }
        if self.scope != 0 {
            write!(f, " scope {}", Scope(self.scope))?;
        }
        if let Some(label) = &self.label {
            write!(f, " label {label}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        for (set, word) in [
            (self.is_temporary(), "temporary"),
            (self.secondary && self.address.is_ipv4(), "secondary"),
            (self.no_prefix_route, "noprefixroute"),
            (self.nodad, "nodad"),
            (self.flags & Address::IS_DUPLICATE != 0, "dadfailed"),
            (self.flags & 0x10 != 0, "home"),
            (self.flags & Address::MAKES_TEMPORARY != 0, "mngtmpaddr"),
            (self.flags & 0x400 != 0, "autojoin"),
        ] {
            if set {
                write!(f, " {word}")?;
            }
        }
        if let Some((valid, preferred)) = self.lifetime {
            write!(f, " valid_lft {valid} preferred_lft {preferred}")?;
        }
        Ok(())
    }
}

/// An `rt_scope` in iproute2's words.
struct Scope(u8);

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("global"),
            200 => f.write_str("site"),
            253 => f.write_str("link"),
            254 => f.write_str("host"),
            n => write!(f, "{n}"),
        }
    }
}

const fn route_kind(kind: RouteKind) -> &'static str {
    match kind {
        RouteKind::Unicast => "unicast",
        RouteKind::Blackhole => "blackhole",
        RouteKind::Unreachable => "unreachable",
        RouteKind::Prohibit => "prohibit",
        RouteKind::Throw => "throw",
        RouteKind::Local => "local",
        RouteKind::Broadcast => "broadcast",
        RouteKind::Anycast => "anycast",
        RouteKind::Multicast => "multicast",
    }
}

/// `RTAX_*` by their numbers, in iproute2's words. The lock is a bit for each of them.
const METRICS: [&str; 18] = [
    "",
    "lock",
    "mtu",
    "window",
    "rtt",
    "rttvar",
    "ssthresh",
    "cwnd",
    "advmss",
    "reordering",
    "hoplimit",
    "initcwnd",
    "features",
    "rto_min",
    "initrwnd",
    "quickack",
    "congctl",
    "fastopen_no_cookie",
];

/// `203.0.113.0/24 via 192.0.2.1 dev xenbr0 …`, as behind `ip route add`.
impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.kind != RouteKind::Unicast {
            write!(f, "{} ", route_kind(self.kind))?;
        }
        match (self.destination.prefix(), self.destination.is_ipv4()) {
            (0, true) => f.write_str("default")?,
            (0, false) => f.write_str("::/0")?,
            _ => write!(f, "{}", self.destination)?,
        }
        if self.tos != 0 {
            write!(f, " tos {:#04x}", self.tos)?;
        }
        let hop = NextHop { link: self.link, gateway: self.gateway, weight: 1, onlink: self.onlink };
        write!(f, "{hop}")?;
        if self.table != Route::MAIN {
            write!(f, " table {}", self.table)?;
        }
        match self.protocol {
            2 => f.write_str(" proto kernel")?,
            3 => f.write_str(" proto boot")?,
            4 => f.write_str(" proto static")?,
            n => write!(f, " proto {n}")?,
        }
        if self.scope != 0 {
            write!(f, " scope {}", Scope(self.scope))?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        for (kind, number) in &self.metrics {
            match METRICS.get(usize::from(*kind)) {
                Some(word) => write!(f, " {word} {number}")?,
                None => write!(f, " metric-{kind} {number}")?,
            }
        }
        for hop in &self.next_hops {
            write!(f, " nexthop{hop} weight {}", hop.weight)?;
        }
        if let Some(seconds) = self.expires.0 {
            write!(f, " expires {seconds}")?;
        }
        match self.preference {
            0 => {}
            1 => f.write_str(" pref high")?,
            3 => f.write_str(" pref low")?,
            n => write!(f, " pref {n}")?,
        }
        if let Some(more) = &self.beyond {
            write!(f, " ({more})")?;
        }
        Ok(())
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        if let Some(link) = self.link {
            write!(f, " dev {link}")?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        Ok(())
    }
}

/// `from 192.0.2.0/24 lookup 100 priority 1000`, as behind `ip rule add`.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.family == Family::Ipv6 {
            f.write_str("family inet6 ")?;
        }
        if self.not {
            f.write_str("not ")?;
        }
        match self.from {
            Some(from) => write!(f, "from {from}")?,
            None => f.write_str("from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(iif) = self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " oif {oif}")?;
        }
        if let Some((mark, mask)) = self.mark {
            write!(f, " fwmark {mark:#x}/{mask:#x}")?;
        }
        match self.action {
            RuleAction::Table(255) => f.write_str(" lookup local")?,
            RuleAction::Table(254) => f.write_str(" lookup main")?,
            RuleAction::Table(253) => f.write_str(" lookup default")?,
            RuleAction::Table(table) => write!(f, " lookup {table}")?,
            RuleAction::Goto(target) => write!(f, " goto {target}")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Prohibit => f.write_str(" prohibit")?,
            RuleAction::Nop => f.write_str(" nop")?,
        }
        write!(f, " priority {}", self.priority)?;
        match self.protocol {
            0 => Ok(()),
            2 => f.write_str(" protocol kernel"),
            n => write!(f, " protocol {n}"),
        }
    }
}

/// `192.0.2.7 lladdr 00:16:3e:01:02:03 dev vif5.0`, as behind `ip neighbour add`.
impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NeighbourKind::Permanent(mac) => write!(f, "{} lladdr {mac} dev {} nud permanent", self.address, self.link),
            NeighbourKind::Proxy => write!(f, "proxy {} dev {}", self.address, self.link),
        }
    }
}

/// `00:16:3e:01:02:03 dev vif5.0 master static`, as behind `bridge fdb add`.
impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.mac, self.link)?;
        if let Some(vlan) = self.vlan {
            write!(f, " vlan {vlan}")?;
        }
        f.write_str(match self.kind {
            FdbKind::Local => " local",
            FdbKind::Static => " static",
        })
    }
}

/// `vid 10 pvid untagged`, as in `bridge vlan add`.
impl fmt::Display for PortVlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vid {}", self.vid)?;
        if self.pvid {
            f.write_str(" pvid")?;
        }
        if self.tagging == Tagging::Untagged {
            f.write_str(" untagged")?;
        }
        Ok(())
    }
}

fn store_line(path: &StorePath, node: &StoreNode) -> String {
    let permissions: Vec<String> = node.permissions.iter().map(ToString::to_string).collect();
    format!("xenstore {path} = \"{}\" ({})", node.value.escape_ascii(), permissions.join(" "))
}

/// `n0`, `r5`, `w5`, `b5`, as `xenstore-chmod` takes them.
impl fmt::Display for StorePermission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match (self.read, self.write) {
            (false, false) => 'n',
            (true, false) => 'r',
            (false, true) => 'w',
            (true, true) => 'b',
        };
        write!(f, "{letter}{}", self.domid)
    }
}
