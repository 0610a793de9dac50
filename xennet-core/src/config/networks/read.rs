//! One network after the other, each by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::reference::{self, Absent, FORWARD, MODES, NETWORK};
use crate::config::tables::{Key, boolean, in_order, parse, refused, unknown_key};
use crate::gather;
use crate::model::flaw::{Flaw, quoted};
use crate::model::{
    AddressRange, BridgeNetwork, BridgeSpec, DnsDomain, Egress, ForeignChain, GuestLinks, HostAccess, IfName,
    LanAccess, MacAddr, Mtu, NatNetwork, Network, NetworkMode, PacketLog, Place, Policy, PortForward, Protocol,
    RoutedNetwork, Services, Subnet, unusable,
};

type Flawed<T> = Result<T, Box<Flaw>>;
type Value<'a> = Spanned<DeValue<'a>>;
/// Reads the keys of one mode.
type ReadMode = fn(&mut Reader<'_>) -> Flawed<NetworkMode>;

/// A network, and where it says what.
pub(super) struct Found {
    pub(super) network: Network,
    pub(super) places: Places,
}

/// Where the text says what of a network.
pub(super) struct Places {
    /// Where the network's name stands.
    name: Range<usize>,
    /// Where the value of a key stands.
    values: BTreeMap<String, Range<usize>>,
    /// Where the items of a list stand, in their order, each with the values of its own keys.
    items: BTreeMap<&'static str, Vec<Item>>,
}

type Item = (Range<usize>, BTreeMap<String, Range<usize>>);

impl Places {
    /// The place of a key, an item, or an item's key. A key that is left out has the place of the network's name, and an item's key
    /// that of the item.
    pub(super) fn at(&self, place: Place) -> Range<usize> {
        let value = || self.values.get(place.key).unwrap_or(&self.name);
        let item = || self.items.get(place.key)?.get(place.item?);
        let at = item().map(|(whole, parts)| parts.get(place.part).unwrap_or(whole));
        at.unwrap_or_else(value).clone()
    }
}

pub(super) fn networks(text: &str) -> Flawed<Vec<Found>> {
    let mut found = Vec::new();
    for (key, value) in in_order(parse(text)?) {
        if key.text != "network" {
            return Err(unknown_key(&key, &["network"], "part of this file")
                .hint("every network is a table of its own: [network.NAME]"));
        }
        let place = value.span();
        let DeValue::Table(tables) = value.into_inner() else {
            return Err(Flaw::new(place, "network cannot be a single value", "a table for each network")
                .hint("write [network.NAME], and its keys below"));
        };
        for (name, table) in in_order(tables) {
            found.push(network(text, &name, table)?);
        }
    }
    Ok(found)
}

/// Why a bridge has no such switches.
const ON_A_BRIDGE: &str = "on a bridge guests are stations of the LAN as this domain is, and no connections are tracked there; to \
    keep them from this domain let it have no address on the bridge, or filter in nft's family bridge, at hook input: iifname \"vif*\" drop";

fn network(text: &str, name: &Key, table: Value<'_>) -> Flawed<Found> {
    let place = name.span.clone();
    let checked = IfName::check(&name.text).map_err(|rule| {
        Flaw::new(place.clone(), format!("a network cannot be called {}", quoted(&name.text)), rule.to_string())
            .hint("its name stands in vif lines, where a bridge's does")
    })?;
    let DeValue::Table(table) = table.into_inner() else {
        return Err(Flaw::new(place, format!("{} is no table", name.text), "a network is a table of keys")
            .hint(format!("write [network.{}], and its keys below", name.text)));
    };
    let mut reader = Reader::new(text, checked, place.clone(), table, NETWORK.iter().collect());
    let modes = "bridge, nat or routed, in quotes";
    let Some((key, value)) = reader.take("mode") else {
        return Err(Flaw::new(place, format!("network {checked} has no mode"), modes)
            .hint("write mode = \"bridge\", mode = \"nat\" or mode = \"routed\""));
    };
    let word = value.get_ref().as_str().unwrap_or_default().to_owned();
    let mode: ReadMode = match &*word {
        "bridge" => bridge,
        "nat" => nat,
        "routed" => routed,
        _ => return Err(refused(text, &key, value.span(), modes)),
    };
    reader.keys.retain(|key| key.modes.contains(&&*word));
    // What is foreign to the mode is told before what is wrong in the rest.
    if let Some((key, _)) = reader.items.iter().find(|(key, _)| reader.key(&key.text).is_none()) {
        let keys = reference::names(reader.keys.iter().copied());
        let has = |mode: &&&str| reference::find(reference::of_mode(mode), &key.text).is_some();
        let modes: Vec<&str> = MODES.iter().filter(has).copied().collect();
        if modes.is_empty() {
            return Err(unknown_key(key, &keys, &format!("key of a network of mode {word}")));
        }
        if key.text == "accept_in" {
            let message = "accept_in means nothing in mode bridge";
            let rule = "a bridge passes frames on, and the chains of routed packets do not see them";
            return Err(Flaw::new(key.span.clone(), message, rule).other(value.span(), "the mode is given here").hint(
                "leave it out; where br_netfilter sends frames there, switch that off: sysctl -w \
                 net.bridge.bridge-nf-call-iptables=0",
            ));
        }
        return Err(Flaw::new(
            key.span.clone(),
            format!("{} means nothing in mode {word}", key.text),
            format!("a key of mode {}", modes.join(" and ")),
        )
        .other(value.span(), "the mode is given here")
        .hint(match (&*word, &*key.text) {
            ("bridge", "host" | "lan") => ON_A_BRIDGE.to_owned(),
            _ => format!("the keys of mode {word} are {}", keys.join(", ")),
        }));
    }
    let mode = mode(&mut reader)?;
    debug_assert!(reader.items.is_empty(), "nobody reads {}", reader.items[0].0.text);
    let places = Places { name: reader.place, values: reader.values, items: reader.lists };
    match Network::checked(checked, mode) {
        Ok(network) => Ok(Found { network, places }),
        Err(flaw) => Err(flaw.placed(|place| places.at(place))),
    }
}

/// The keys of one network that are not read yet.
struct Reader<'a> {
    text: &'a str,
    name: IfName,
    place: Range<usize>,
    items: Vec<(Key, Value<'a>)>,
    /// What it may have.
    keys: Vec<&'static reference::Key>,
    values: BTreeMap<String, Range<usize>>,
    lists: BTreeMap<&'static str, Vec<Item>>,
}

impl<'a> Reader<'a> {
    fn new(
        text: &'a str,
        name: IfName,
        place: Range<usize>,
        table: DeTable<'a>,
        keys: Vec<&'static reference::Key>,
    ) -> Self {
        let items = in_order(table);
        let values = gather::map(items.iter().map(|(key, value)| (key.text.clone(), value.span())));
        Reader { text, name, place, items, keys, values, lists: BTreeMap::new() }
    }

    /// What the table says of a key.
    fn key(&self, name: &str) -> Option<&'static reference::Key> {
        reference::find(self.keys.iter().copied(), name)
    }

    fn take(&mut self, key: &str) -> Option<(Key, Value<'a>)> {
        debug_assert!(self.key(key).is_some(), "{key} is in no table");
        let at = self.items.iter().position(|(k, _)| k.text == key)?;
        Some(self.items.remove(at))
    }

    fn flag(&mut self, key: &str) -> Flawed<bool> {
        self.take(key).map_or(Ok(false), |(key, value)| boolean(self.text, &key, &value))
    }

    fn number(&mut self, key: &str) -> Flawed<Option<u32>> {
        let most = self.key(key).map_or(u32::MAX, reference::Key::most);
        let Some((key, value)) = self.take(key) else { return Ok(None) };
        let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        match number.filter(|n| *n <= most) {
            Some(n) => Ok(Some(n)),
            None => Err(refused(self.text, &key, value.span(), format!("a whole number, 0 to {most}"))),
        }
    }

    fn mtu(&mut self) -> Flawed<Option<Mtu>> {
        let Some((key, value)) = self.take("mtu") else { return Ok(None) };
        let number = value.get_ref().as_integer().and_then(|n| u32::from_str_radix(n.as_str(), n.radix()).ok());
        match number.map(Mtu::new) {
            Some(Ok(mtu)) => Ok(Some(mtu)),
            Some(Err(e)) => Err(refused(self.text, &key, value.span(), e.to_string())),
            None => Err(refused(self.text, &key, value.span(), "an MTU is 68 to 65517 bytes").hint("write mtu = 1500")),
        }
    }

    /// The value of a key that is one text, made into something.
    fn word<T>(&mut self, key: &str, make: impl Fn(&str) -> Result<T, String>) -> Flawed<Option<T>> {
        let Some((key, value)) = self.take(key) else { return Ok(None) };
        self.made(&key, &value, make).map(Some)
    }

    fn made<T>(&self, key: &Key, value: &Value<'_>, make: impl Fn(&str) -> Result<T, String>) -> Flawed<T> {
        let wrong = |rule: String| refused(self.text, key, value.span(), rule);
        let given = value.get_ref().as_str().ok_or_else(|| wrong("a text in quotes".into()))?;
        make(given).map_err(wrong)
    }

    /// The values of a key that is a list of texts, each with its place.
    fn words<T>(&mut self, key: &str, make: impl Fn(&str) -> Result<T, String>) -> Flawed<Vec<(T, Range<usize>)>> {
        let Some((key, value)) = self.take(key) else { return Ok(Vec::new()) };
        let list = value
            .get_ref()
            .as_array()
            .ok_or_else(|| refused(self.text, &key, value.span(), "a list of texts, each in quotes"))?;
        list.iter().map(|item| Ok((self.made(&key, item, &make)?, item.span()))).collect()
    }

    /// As [`words`](Self::words), and remembers the place of each item.
    fn list<T>(&mut self, key: &'static str, make: impl Fn(&str) -> Result<T, String>) -> Flawed<Vec<T>> {
        let words = self.words(key, make)?;
        self.lists.insert(key, words.iter().map(|(_, place)| (place.clone(), BTreeMap::new())).collect());
        Ok(words.into_iter().map(|(word, _)| word).collect())
    }

    fn link(&mut self, key: &str) -> Flawed<Option<IfName>> {
        self.word(key, |given| IfName::check(given).map_err(|rule| rule.to_string()))
    }

    /// The value that has this word.
    fn named<T: Copy>(
        &mut self,
        key: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
        rule: &str,
    ) -> Flawed<Option<T>> {
        self.word(key, |given| all.iter().copied().find(|one| name(*one) == given).ok_or_else(|| rule.to_owned()))
    }

    fn policy(&mut self) -> Flawed<Option<Policy>> {
        self.named("policy", &Policy::ALL, Policy::name, Policy::RULE)
    }

    fn log(&mut self) -> Flawed<PacketLog> {
        Ok(self.named("log", &PacketLog::ALL, PacketLog::name, PacketLog::RULE)?.unwrap_or_default())
    }

    fn reserved(&mut self) -> Flawed<Vec<IpNetwork>> {
        self.list("reserved", |given| {
            given.parse().map_err(|_| "a network or an address, as in 192.0.2.0/28".to_owned())
        })
    }

    fn access(&mut self) -> Flawed<(HostAccess, LanAccess)> {
        let host = self.named("host", &HostAccess::ALL, HostAccess::name, HostAccess::RULE)?;
        let lan = self.named("lan", &LanAccess::ALL, LanAccess::name, LanAccess::RULE)?;
        Ok((host.unwrap_or_default(), lan.unwrap_or_default()))
    }

    fn egress(&mut self, key: &str) -> Flawed<Egress> {
        Ok(self.link(key)?.map_or(Egress::DefaultRoute, Egress::Link))
    }

    fn subnets(&mut self) -> Flawed<Vec<Subnet>> {
        let mut subnets = self.list("subnets", |given| {
            let network: IpNetwork = given
                .parse()
                .ok()
                .filter(|_| given.contains('/'))
                .ok_or("an address, a slash, and the number of the network's bits, as in 10.0.0.0/24")?;
            Subnet::check(network)
        })?;
        let mut given: Vec<Option<Range<usize>>> = vec![None; subnets.len()];
        for (gateway, place) in self.words("gateways", address)? {
            let wrong = |rule| Flaw::new(place.clone(), format!("{gateway} cannot be a gateway"), rule);
            let Some(at) = subnets.iter().position(|s| s.network().contains(gateway)) else {
                let list: Vec<_> = subnets.iter().map(|s| s.network().to_string()).collect();
                return Err(wrong(match &list[..] {
                    [] => "a gateway is an address of a subnet, and no subnets are given".to_owned(),
                    _ => format!("a gateway is an address of one of the subnets, {}", list.join(" or ")),
                }));
            };
            if let Some(first) = &given[at] {
                let message = format!("{} has two gateways", subnets[at].network());
                return Err(Flaw::new(place, message, "one gateway a subnet").other(first.clone(), "the first is here"));
            }
            subnets[at] = subnets[at].check_gateway(gateway).map_err(wrong)?;
            given[at] = Some(place);
        }
        Ok(subnets)
    }

    fn services(&mut self) -> Flawed<Services> {
        let mut services = Services { dhcp: self.flag("dhcp")?, dns: self.flag("dns")?, ..Services::default() };
        services.range = self.list("range", |given| {
            let rule = "first and last address with a - between them, as in 10.0.0.100-10.0.0.199";
            let (first, last) = given.split_once('-').ok_or(rule)?;
            let (first, last): (IpAddr, IpAddr) =
                (first.trim().parse().map_err(|_| rule)?, last.trim().parse().map_err(|_| rule)?);
            AddressRange::check(first, last).ok_or_else(|| AddressRange::RULE.into())
        })?;
        services.domain = self.word("domain", |given| DnsDomain::check(given).ok_or_else(|| DnsDomain::RULE.into()))?;
        Ok(services)
    }
}

fn address(given: &str) -> Result<IpAddr, String> {
    let address: IpAddr = given.parse().map_err(|_| "an address, as in 10.0.0.254".to_owned())?;
    if unusable(address) {
        return Err("the address of a single host".into());
    }
    Ok(address)
}

/// The bridge that these keys describe.
fn bridge_spec(r: &mut Reader<'_>, name: IfName) -> Flawed<BridgeSpec> {
    let mut bridge = BridgeSpec::new(name).with_stp(r.flag("stp")?);
    if let Some(seconds) = r.number("forward_delay")? {
        bridge = bridge.delayed(Duration::from_secs(seconds.into())).map_err(|(message, rule)| {
            Flaw::new(r.at("forward_delay"), message, rule).other(r.at("stp"), "spanning tree is switched on here")
        })?;
    }
    let addressed = r.word("mac", |given| {
        let mac: MacAddr = given.parse().map_err(|_| "six groups of two hex digits with : between them".to_owned())?;
        Ok(bridge.clone().addressed(Some(mac))?)
    })?;
    bridge = addressed.unwrap_or(bridge);
    let on = r.values.contains_key("vlan_filtering").then(|| r.flag("vlan_filtering")).transpose()?;
    Ok(bridge.with_mtu(r.mtu()?).with_vlan_filtering(on))
}

fn bridge(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let name = r.link("bridge")?;
    let mut network = BridgeNetwork::new(bridge_spec(r, name.unwrap_or(r.name))?);
    network.uplink = r.link("uplink")?;
    network.uplink_name = r.link("uplink_name")?;
    network.isolated = r.flag("isolated")?;
    network.log = r.log()?;
    network.policy = r.policy()?;
    network.reserved = r.reserved()?;
    Ok(NetworkMode::Bridge(network))
}

fn nat(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let mut network = NatNetwork::new();
    network.egress = r.egress("egress")?;
    network.subnets = r.subnets()?;
    network.mtu = r.mtu()?;
    if let Some(bridge) = r.link("bridge")? {
        network.guests = GuestLinks::Bridge(BridgeSpec::new(bridge).with_mtu(network.mtu));
    }
    network.services = r.services()?;
    network.forwards = forwards(r)?;
    network.any_vif = r.flag("any_vif")?;
    network.isolated = r.flag("isolated")?;
    network.log = r.log()?;
    (network.host, network.lan) = r.access()?;
    network.policy = r.policy()?;
    network.reserved = r.reserved()?;
    network.reachable_from = r.list("reachable_from", |given| {
        given.parse().map_err(|_| "a network or an address, as in 10.3.0.0/24".to_owned())
    })?;
    network.accept_in = r.list("accept_in", ForeignChain::check)?;
    Ok(NetworkMode::Nat(network))
}

fn routed(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let mut network = RoutedNetwork::new();
    network.uplink = r.egress("uplink")?;
    network.subnets = r.subnets()?;
    network.mtu = r.mtu()?;
    network.source = r.list("source", address)?;
    network.proxy_arp = r.flag("proxy_arp")?;
    network.proxy_ndp = r.flag("proxy_ndp")?;
    network.metric = r.number("metric")?.unwrap_or(RoutedNetwork::METRIC);
    network.services = r.services()?;
    network.any_vif = r.flag("any_vif")?;
    network.isolated = r.flag("isolated")?;
    network.log = r.log()?;
    (network.host, network.lan) = r.access()?;
    network.whole_subnets = r.flag("whole_subnets")?;
    network.accept_in = r.list("accept_in", ForeignChain::check)?;
    Ok(NetworkMode::Routed(network))
}

const FORWARD_HINT: &str = "write { protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 }";

fn forwards(r: &mut Reader<'_>) -> Flawed<Vec<PortForward>> {
    let Some((key, value)) = r.take("forward") else { return Ok(Vec::new()) };
    let list = value
        .get_ref()
        .as_array()
        .ok_or_else(|| refused(r.text, &key, value.span(), "a list of tables").hint(FORWARD_HINT))?;
    let (mut forwards, mut places) = (Vec::new(), Vec::new());
    for item in list {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(refused(r.text, &key, item.span(), "a table for each forward").hint(FORWARD_HINT));
        };
        let mut one = Reader::new(r.text, r.name, item.span(), table.clone(), FORWARD.iter().collect());
        forwards.push(forward(&mut one)?);
        places.push((item.span(), one.values));
    }
    r.lists.insert("forward", places);
    Ok(forwards)
}

fn forward(r: &mut Reader<'_>) -> Flawed<PortForward> {
    if let Some((key, _)) = r.items.iter().find(|(key, _)| r.key(&key.text).is_none()) {
        return Err(unknown_key(key, &reference::names(FORWARD), "key of a forward"));
    }
    let missing = |key: &str| {
        Flaw::new(r.place.clone(), format!("this forward has no {key}"), format!("{key} is needed")).hint(FORWARD_HINT)
    };
    let needed = FORWARD.iter().filter(|key| matches!(key.absent, Absent::Refused)).map(|key| key.name);
    let lacking = needed.into_iter().find(|key| !r.values.contains_key(*key)).map(missing);
    if let Some(flaw) = lacking {
        return Err(flaw);
    }
    let protocol = r.word("protocol", |given| match given {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err("tcp or udp".into()),
    })?;
    let rule = PortForward::PORTS;
    let port = |text: &str| text.trim().parse::<u16>().ok();
    let ports = |first: &str, last: &str| port(first).zip(port(last)).filter(|ports| PortForward::are_ports(*ports));
    let ports = match r.take("ports") {
        // A single port may stand without quotes.
        Some((key, value)) if value.get_ref().as_integer().is_some() => {
            let given = value.get_ref().as_integer().map(|n| n.as_str()).unwrap_or_default();
            Some(ports(given, given).ok_or_else(|| refused(r.text, &key, value.span(), rule))?)
        }
        Some((key, value)) => Some(r.made(&key, &value, |given| {
            let (first, last) = given.split_once('-').unwrap_or((given, given));
            ports(first, last).ok_or(rule.into())
        })?),
        None => None,
    };
    let to = r.word("to", address)?;
    let to_port = r.number("to_port")?;
    let (Some(protocol), Some(ports), Some(to)) = (protocol, ports, to) else {
        return Err(Flaw::new(r.place.clone(), "this forward is incomplete", "protocol, ports and to are needed")
            .hint(FORWARD_HINT));
    };
    let to_port = to_port.map_or(ports.0, |p| u16::try_from(p).unwrap_or(0));
    if !PortForward::are_as_many(ports, to_port) {
        let message = format!("to_port cannot be {to_port}");
        return Err(Flaw::new(r.at("to_port"), message, PortForward::TO_PORT));
    }
    PortForward::new(protocol, ports, to, to_port)
        .map_err(|e| Flaw::new(r.place.clone(), "this forward cannot be", e.message()))
}

impl Reader<'_> {
    fn at(&self, key: &str) -> Range<usize> {
        self.values.get(key).cloned().unwrap_or_else(|| self.place.clone())
    }
}
