//! Networks as the keys of the file, and as its text.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::{
    BridgeSpec, Egress, GuestLinks, HostAccess, LanAccess, Mtu, Network, NetworkMode, PacketLog, Policy, PortForward,
    RoutedNetwork, Services, Subnet,
};

/// The text that [`parse`](super::parse) reads as these networks: only what differs from what is taken where a key is left
/// out. They must not contradict each other, which is not checked here.
pub fn render<'a>(networks: impl IntoIterator<Item = &'a Network>) -> String {
    let tables: Vec<String> = networks.into_iter().map(table).collect();
    tables.join("\n")
}

fn table(network: &Network) -> String {
    let name = network.name().to_string();
    let bare = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let name = if bare { name } else { quote(&name) };
    let lines: Vec<String> = keys(network).iter().map(|(key, item)| format!("{key} = {item}\n")).collect();
    format!("[network.{name}]\n{}", lines.concat())
}

/// What a key of the file has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Text(String),
    Number(u64),
    Flag(bool),
    Texts(Vec<String>),
    Tables(Vec<Vec<(&'static str, Item)>>),
}

/// The same in a document.
impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Item::Text(text) => text.serialize(serializer),
            Item::Number(number) => number.serialize(serializer),
            Item::Flag(on) => on.serialize(serializer),
            Item::Texts(texts) => texts.serialize(serializer),
            Item::Tables(tables) => {
                let maps = tables.iter().map(|table| table.iter().map(|(key, item)| (*key, item)));
                serializer.collect_seq(maps.map(|table| table.collect::<BTreeMap<_, _>>()))
            }
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Item::Text(text) => f.write_str(&quote(text)),
            Item::Number(number) => number.fmt(f),
            Item::Flag(on) => on.fmt(f),
            Item::Texts(texts) => {
                let quoted: Vec<_> = texts.iter().map(|t| quote(t)).collect();
                write!(f, "[{}]", quoted.join(", "))
            }
            Item::Tables(tables) => {
                let one = |table: &Vec<(&str, Item)>| {
                    let members: Vec<_> = table.iter().map(|(key, item)| format!("{key} = {item}")).collect();
                    format!("  {{ {} }},\n", members.join(", "))
                };
                write!(f, "[\n{}]", tables.iter().map(one).collect::<String>())
            }
        }
    }
}

struct Keys(Vec<(&'static str, Item)>);

impl Keys {
    fn put(&mut self, key: &'static str, item: Item) {
        self.0.push((key, item));
    }

    fn text(&mut self, key: &'static str, value: impl fmt::Display) {
        self.put(key, Item::Text(value.to_string()));
    }

    fn flag(&mut self, key: &'static str, on: bool) {
        if on {
            self.put(key, Item::Flag(true));
        }
    }

    fn list<T: ToString>(&mut self, key: &'static str, values: impl IntoIterator<Item = T>) {
        let texts: Vec<String> = values.into_iter().map(|v| v.to_string()).collect();
        if !texts.is_empty() {
            self.put(key, Item::Texts(texts));
        }
    }

    fn policy(&mut self, policy: Option<Policy>) {
        if let Some(policy) = policy {
            self.text("policy", policy);
        }
    }

    fn log(&mut self, log: PacketLog) {
        if !log.is_off() {
            self.text("log", log);
        }
    }

    fn access(&mut self, host: HostAccess, lan: LanAccess) {
        if !host.is_open() {
            self.text("host", host.name());
        }
        if !lan.is_open() {
            self.text("lan", lan.name());
        }
    }

    fn mtu(&mut self, mtu: Option<Mtu>) {
        if let Some(mtu) = mtu {
            self.put("mtu", Item::Number(mtu.get().into()));
        }
    }

    fn outside(&mut self, key: &'static str, outside: &Egress) {
        if let Egress::Link(link) = outside {
            self.text(key, link);
        }
    }

    fn subnets(&mut self, subnets: &[Subnet]) {
        self.list("subnets", subnets.iter().map(Subnet::network));
        self.list("gateways", subnets.iter().filter(|s| !s.has_default_gateway()).map(Subnet::gateway));
    }

    fn services(&mut self, services: &Services) {
        self.flag("dhcp", services.dhcp);
        self.flag("dns", services.dns);
        self.list("range", &services.range);
        if let Some(domain) = &services.domain {
            self.text("domain", domain);
        }
    }

    fn bridge(&mut self, bridge: &BridgeSpec) {
        self.flag("stp", bridge.stp());
        if !bridge.has_usual_delay() {
            self.put("forward_delay", Item::Number(bridge.forward_delay().as_secs()));
        }
        if let Some(mac) = bridge.mac() {
            self.text("mac", mac);
        }
        self.mtu(bridge.mtu());
        if let Some(on) = bridge.vlan_filtering() {
            self.put("vlan_filtering", Item::Flag(on));
        }
    }
}

/// The keys of a network in the order in which the file usually has them.
pub(super) fn keys(network: &Network) -> Vec<(&'static str, Item)> {
    let mut keys = Keys(Vec::new());
    keys.text("mode", network.mode_name());
    match network.mode() {
        NetworkMode::Bridge(b) => {
            if b.bridge.name() != network.name() {
                keys.text("bridge", b.bridge.name());
            }
            if let Some(uplink) = b.uplink {
                keys.text("uplink", uplink);
            }
            if let Some(name) = b.uplink_name {
                keys.text("uplink_name", name);
            }
            keys.flag("isolated", b.isolated);
            keys.policy(b.policy);
            keys.log(b.log);
            keys.list("reserved", &b.reserved);
            keys.bridge(&b.bridge);
        }
        NetworkMode::Nat(n) => {
            keys.subnets(&n.subnets);
            keys.outside("egress", &n.egress);
            if let GuestLinks::Bridge(bridge) = &n.guests {
                keys.text("bridge", bridge.name());
            }
            keys.flag("isolated", n.isolated);
            keys.access(n.host, n.lan);
            keys.policy(n.policy);
            keys.log(n.log);
            keys.list("reserved", &n.reserved);
            keys.list("reachable_from", &n.reachable_from);
            keys.list("accept_in", &n.accept_in);
            keys.services(&n.services);
            keys.mtu(n.mtu);
            let one = |f: &PortForward| {
                let (first, last) = f.ports();
                let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
                vec![
                    ("protocol", Item::Text(f.protocol().name().into())),
                    ("ports", Item::Text(ports)),
                    ("to", Item::Text(f.to().to_string())),
                    ("to_port", Item::Number(f.to_ports().0.into())),
                ]
            };
            if !n.forwards.is_empty() {
                keys.put("forward", Item::Tables(n.forwards.iter().map(one).collect()));
            }
        }
        NetworkMode::Routed(r) => {
            keys.subnets(&r.subnets);
            keys.flag("whole_subnets", r.whole_subnets);
            keys.flag("any_vif", r.any_vif);
            keys.flag("isolated", r.isolated);
            keys.access(r.host, r.lan);
            keys.log(r.log);
            keys.outside("uplink", &r.uplink);
            keys.list("source", &r.source);
            keys.flag("proxy_arp", r.proxy_arp);
            keys.flag("proxy_ndp", r.proxy_ndp);
            if r.metric != RoutedNetwork::METRIC {
                keys.put("metric", Item::Number(r.metric.into()));
            }
            keys.list("accept_in", &r.accept_in);
            keys.services(&r.services);
            keys.mtu(r.mtu);
        }
    }
    keys.0
}

/// A basic TOML string.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}
