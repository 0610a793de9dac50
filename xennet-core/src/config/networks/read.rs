//! One network after the other, each by itself.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

use ipnetwork::IpNetwork;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::tables::{Key, boolean, in_order, parse, refused, unknown_key};
use crate::gather;
use crate::model::flaw::{Flaw, quoted};
use crate::model::{
    BridgeNetwork, BridgeSpec, Egress, GuestLinks, IfName, MacAddr, Mtu, NatNetwork, Network, NetworkMode, PortForward,
    Protocol, RoutedNetwork, Services, Subnet, VifId, overlap,
};

type Flawed<T> = Result<T, Box<Flaw>>;
type Value<'a> = Spanned<DeValue<'a>>;
/// Reads the keys of one mode.
type ReadMode = fn(&mut Reader<'_>) -> Flawed<NetworkMode>;

/// A network, and where it says what.
pub(super) struct Found {
    pub(super) network: Network,
    /// Where its name stands.
    pub(super) place: Range<usize>,
    /// Where the value of a key stands.
    pub(super) values: BTreeMap<String, Range<usize>>,
    /// Where each subnet stands, in their order.
    pub(super) subnets: Vec<Range<usize>>,
    /// Where each forward stands, in their order.
    pub(super) forwards: Vec<Range<usize>>,
}

impl Found {
    /// Where this key's value stands; the network's name where it is left out.
    pub(super) fn at(&self, key: &str) -> Range<usize> {
        self.values.get(key).cloned().unwrap_or_else(|| self.place.clone())
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

const BRIDGE_KEYS: [&str; 9] =
    ["mode", "bridge", "forward_delay", "mac", "mtu", "stp", "uplink", "uplink_name", "vlan_filtering"];
const NAT_KEYS: [&str; 11] =
    ["mode", "bridge", "dhcp", "dns", "domain", "egress", "forward", "gateways", "mtu", "range", "subnets"];
const ROUTED_KEYS: [&str; 13] = [
    "mode",
    "dhcp",
    "dns",
    "domain",
    "gateways",
    "metric",
    "mtu",
    "proxy_arp",
    "proxy_ndp",
    "range",
    "source",
    "subnets",
    "uplink",
];

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
    let mut reader = Reader::new(text, checked, place.clone(), table);
    let modes = "bridge, nat or routed, in quotes";
    let Some((key, value)) = reader.take("mode") else {
        return Err(Flaw::new(place, format!("network {checked} has no mode"), modes)
            .hint("write mode = \"bridge\", mode = \"nat\" or mode = \"routed\""));
    };
    let (mode, keys): (ReadMode, &[&str]) = match value.get_ref().as_str() {
        Some("bridge") => (bridge, &BRIDGE_KEYS),
        Some("nat") => (nat, &NAT_KEYS),
        Some("routed") => (routed, &ROUTED_KEYS),
        _ => return Err(refused(text, &key, value.span(), modes)),
    };
    let word = value.get_ref().as_str().unwrap_or_default().to_owned();
    // What is foreign to the mode is told before what is wrong in the rest.
    if let Some((key, _)) = reader.items.iter().find(|(key, _)| !keys.contains(&key.text.as_str())) {
        let elsewhere = [("bridge", &BRIDGE_KEYS[..]), ("nat", &NAT_KEYS[..]), ("routed", &ROUTED_KEYS[..])];
        let modes: Vec<_> = elsewhere.iter().filter(|(_, k)| k.contains(&key.text.as_str())).map(|(m, _)| *m).collect();
        if modes.is_empty() {
            return Err(unknown_key(key, keys, &format!("key of a network of mode {word}")));
        }
        return Err(Flaw::new(
            key.span.clone(),
            format!("{} means nothing in mode {word}", key.text),
            format!("a key of mode {}", modes.join(" and ")),
        )
        .other(value.span(), "the mode is given here")
        .hint(format!("the keys of mode {word} are {}", keys.join(", "))));
    }
    let mode = mode(&mut reader)?;
    Ok(Found {
        network: Network::new(checked, mode),
        place: reader.place,
        values: reader.values,
        subnets: reader.subnets,
        forwards: reader.forwards,
    })
}

/// The keys of one network that are not read yet.
struct Reader<'a> {
    text: &'a str,
    name: IfName,
    place: Range<usize>,
    items: Vec<(Key, Value<'a>)>,
    values: BTreeMap<String, Range<usize>>,
    subnets: Vec<Range<usize>>,
    forwards: Vec<Range<usize>>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, name: IfName, place: Range<usize>, table: DeTable<'a>) -> Self {
        let items = in_order(table);
        let values = gather::map(items.iter().map(|(key, value)| (key.text.clone(), value.span())));
        Reader { text, name, place, items, values, subnets: Vec::new(), forwards: Vec::new() }
    }

    fn take(&mut self, key: &str) -> Option<(Key, Value<'a>)> {
        let at = self.items.iter().position(|(k, _)| k.text == key)?;
        Some(self.items.remove(at))
    }

    fn flag(&mut self, key: &str) -> Flawed<bool> {
        self.take(key).map_or(Ok(false), |(key, value)| boolean(self.text, &key, &value))
    }

    fn number(&mut self, key: &str, most: u32) -> Flawed<Option<u32>> {
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

    fn link(&mut self, key: &str) -> Flawed<Option<IfName>> {
        self.word(key, |given| match IfName::check(given) {
            Ok(name) if name.as_str() == "lo" => Err("a link towards others, and lo leads to this host alone".into()),
            Ok(name) if is_guests(&name) => Err("no link of this form: such names are those of guests' links".into()),
            Ok(name) => Ok(name),
            Err(rule) => Err(rule.to_string()),
        })
    }

    fn egress(&mut self, key: &str) -> Flawed<Egress> {
        Ok(self.link(key)?.map_or(Egress::DefaultRoute, Egress::Link))
    }

    fn subnets(&mut self) -> Flawed<Vec<Subnet>> {
        let networks = self.words("subnets", |given| {
            let network: IpNetwork = given
                .parse()
                .ok()
                .filter(|_| given.contains('/'))
                .ok_or("an address, a slash, and the number of the network's bits, as in 10.0.0.0/24")?;
            if network.ip() != network.network() {
                let right = IpNetwork::new(network.network(), network.prefix()).map_err(|e| e.to_string())?;
                return Err(format!("the network's own address comes before the slash: {right}"));
            }
            if unusable(network.ip()) || network.prefix() < 4 {
                return Err("a network that guests can have addresses of".into());
            }
            Ok(network)
        })?;
        for (at, (network, place)) in networks.iter().enumerate() {
            if let Some((other, first)) = networks[..at].iter().find(|(other, _)| overlap(*other, *network)) {
                let message = format!("{network} and {other} overlap");
                let rule = "every address is in one subnet";
                return Err(Flaw::new(place.clone(), message, rule).other(first.clone(), format!("{other} is here")));
            }
        }
        let mut subnets: Vec<Subnet> = networks.iter().map(|(network, _)| Subnet::new(*network)).collect();
        let mut given: Vec<Option<Range<usize>>> = vec![None; subnets.len()];
        for (gateway, place) in self.words("gateways", address)? {
            let Some(at) = subnets.iter().position(|s| s.network.contains(gateway)) else {
                let list: Vec<_> = subnets.iter().map(|s| s.network.to_string()).collect();
                let rule = match &list[..] {
                    [] => "a gateway is an address of a subnet, and no subnets are given".to_owned(),
                    _ => format!("a gateway is an address of one of the subnets, {}", list.join(" or ")),
                };
                return Err(Flaw::new(place, format!("{gateway} cannot be a gateway"), rule));
            };
            if let Some(first) = &given[at] {
                let message = format!("{} has two gateways", subnets[at].network);
                return Err(Flaw::new(place, message, "one gateway a subnet").other(first.clone(), "the first is here"));
            }
            if let Some(what) = reserved(subnets[at].network, gateway) {
                return Err(Flaw::new(place, format!("{gateway} cannot be a gateway"), what));
            }
            given[at] = Some(place);
            subnets[at].gateway = gateway;
        }
        self.subnets = networks.into_iter().map(|(_, place)| place).collect();
        Ok(subnets)
    }

    fn services(&mut self, subnets: &[Subnet]) -> Flawed<Services> {
        let mut services = Services { dhcp: self.flag("dhcp")?, dns: self.flag("dns")?, ..Services::default() };
        for (key, on) in [("dhcp", services.dhcp), ("dns", services.dns)] {
            if on && subnets.is_empty() {
                let message = format!("{key} cannot be true without subnets");
                return Err(Flaw::new(self.values[key].clone(), message, "guests are served in a subnet")
                    .hint("add subnets = [\"10.0.0.0/24\"]"));
            }
        }
        let ranges = self.words("range", |given| {
            let rule = "first and last address with a - between them, as in 10.0.0.100-10.0.0.199";
            let (first, last) = given.split_once('-').ok_or(rule)?;
            let (first, last): (IpAddr, IpAddr) =
                (first.trim().parse().map_err(|_| rule)?, last.trim().parse().map_err(|_| rule)?);
            if first.is_ipv4() != last.is_ipv4() || first > last {
                return Err("a range goes from a lower to a higher address of one family".into());
            }
            Ok((first, last))
        })?;
        for ((first, last), place) in ranges {
            let wrong = |rule: String| Flaw::new(place.clone(), format!("{first}-{last} cannot be given out"), rule);
            if !services.dhcp {
                return Err(wrong("a range is for dhcp = true".into()));
            }
            let Some(subnet) = subnets.iter().find(|s| s.network.contains(first)) else {
                return Err(wrong("addresses of one of the subnets".into()));
            };
            if !subnet.network.contains(last) {
                return Err(wrong(format!("both ends in one subnet, and {last} is not in {}", subnet.network)));
            }
            if (first..=last).contains(&subnet.gateway) {
                return Err(wrong(format!("the gateway, {}, is not a guest's", subnet.gateway)));
            }
            if let Some(what) = reserved(subnet.network, first).or_else(|| reserved(subnet.network, last)) {
                return Err(wrong(what.into()));
            }
            if services.range.iter().any(|(a, _)| a.is_ipv4() == first.is_ipv4()) {
                return Err(wrong("one range a family".into()));
            }
            services.range.push((first, last));
        }
        services.domain = self.word("domain", |given| {
            let label = |l: &str| {
                (1..=63).contains(&l.len())
                    && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !l.starts_with('-')
                    && !l.ends_with('-')
            };
            if given.len() <= 253 && given.split('.').all(label) {
                Ok(given.to_ascii_lowercase())
            } else {
                Err("words of letters, digits and - with dots between them, as in guests.example".into())
            }
        })?;
        Ok(services)
    }
}

/// Whether a name has the form of a guest's link.
fn is_guests(name: &IfName) -> bool {
    VifId::from_vif_name(name.as_str()).is_some() || name.as_str().ends_with("-emu")
}

fn unusable(address: IpAddr) -> bool {
    address.is_multicast() || address.is_loopback() || address.is_unspecified()
}

fn address(given: &str) -> Result<IpAddr, String> {
    let address: IpAddr = given.parse().map_err(|_| "an address, as in 10.0.0.254".to_owned())?;
    if unusable(address) {
        return Err("the address of a single host".into());
    }
    Ok(address)
}

/// What an address of a subnet is reserved for, if it is.
fn reserved(network: IpNetwork, address: IpAddr) -> Option<&'static str> {
    match network {
        IpNetwork::V4(n) if n.prefix() < 31 && address == IpAddr::V4(n.network()) => {
            Some("the network's own address is no host's")
        }
        IpNetwork::V4(n) if n.prefix() < 31 && address == IpAddr::V4(n.broadcast()) => {
            Some("the broadcast address is no host's")
        }
        IpNetwork::V6(n) if n.prefix() < 127 && address == IpAddr::V6(n.network()) => {
            Some("the network's own address is every router's (RFC 4291, 2.6.1)")
        }
        _ => None,
    }
}

/// The bridge that these keys describe.
fn bridge_spec(r: &mut Reader<'_>, name: IfName) -> Flawed<BridgeSpec> {
    let mut bridge = BridgeSpec::new(name);
    bridge.stp = r.flag("stp")?;
    let delay = r.number("forward_delay", BridgeSpec::LONGEST_DELAY.as_secs() as u32)?;
    bridge.forward_delay = Duration::from_secs(delay.unwrap_or(if bridge.stp { 15 } else { 0 }).into());
    if bridge.stp && bridge.forward_delay < BridgeSpec::SHORTEST_DELAY_WITH_STP {
        let message = "forward_delay is too short for spanning tree";
        return Err(Flaw::new(r.values["forward_delay"].clone(), message, "with stp = true it is 2 to 30 seconds")
            .other(r.values["stp"].clone(), "spanning tree is switched on here"));
    }
    bridge.mac = r.word("mac", |given| {
        let mac: MacAddr = given.parse().map_err(|_| "six groups of two hex digits with : between them".to_owned())?;
        if mac.is_multicast() || mac == MacAddr::ZERO {
            return Err("a single station's address".into());
        }
        Ok(mac)
    })?;
    bridge.mtu = r.mtu()?;
    bridge.vlan_filtering = r.values.contains_key("vlan_filtering").then(|| r.flag("vlan_filtering")).transpose()?;
    Ok(bridge)
}

fn bridge(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let name = r.link("bridge")?;
    let mut network = BridgeNetwork::new(bridge_spec(r, name.unwrap_or(r.name))?);
    network.uplink = r.link("uplink")?;
    network.uplink_name = r.link("uplink_name")?;
    let bridge = network.bridge.name;
    match (network.uplink, network.uplink_name) {
        (None, Some(_)) => {
            return Err(Flaw::new(
                r.values["uplink_name"].clone(),
                "uplink_name without an uplink",
                "a new name for the uplink",
            )
            .hint("name the uplink: uplink = \"eth0\""));
        }
        (_, Some(name)) if name == bridge => {
            let message = format!("the uplink and the bridge would both be called {name}");
            return Err(Flaw::new(r.values["uplink_name"].clone(), message, "another name than the bridge's"));
        }
        (Some(uplink), None) if uplink == bridge => {
            let place = r.values["uplink"].clone();
            return Err(Flaw::new(
                place,
                format!("{uplink} is the bridge's own name"),
                "an uplink is a port of the bridge, and not the bridge",
            )
            .hint(format!(
                "give the bridge another name, bridge = \"xenbr0\", or the uplink, uplink_name = \"p{uplink}\""
            )));
        }
        _ => {}
    }
    Ok(NetworkMode::Bridge(network))
}

fn nat(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let mut network = NatNetwork::new();
    network.egress = r.egress("egress")?;
    network.subnets = r.subnets()?;
    network.mtu = r.mtu()?;
    if let Some(bridge) = r.link("bridge")? {
        if network.subnets.is_empty() {
            let message = format!("{bridge} has no addresses for its guests");
            return Err(Flaw::new(r.values["bridge"].clone(), message, "a private bridge needs subnets")
                .hint("add subnets = [\"10.0.0.0/24\"]"));
        }
        network.guests = GuestLinks::Bridge(BridgeSpec { mtu: network.mtu, ..BridgeSpec::new(bridge) });
    }
    network.services = r.services(&network.subnets)?;
    network.forwards = forwards(r, &network.subnets)?;
    Ok(NetworkMode::Nat(network))
}

fn routed(r: &mut Reader<'_>) -> Flawed<NetworkMode> {
    let mut network = RoutedNetwork::new();
    network.uplink = r.egress("uplink")?;
    network.subnets = r.subnets()?;
    network.mtu = r.mtu()?;
    for (source, place) in r.words("source", address)? {
        if let Some(first) = network.source.iter().find(|s| s.is_ipv4() == source.is_ipv4()) {
            let message = format!("{source} and {first} are of one family");
            return Err(Flaw::new(place, message, "one address a family"));
        }
        network.source.push(source);
    }
    network.proxy_arp = r.flag("proxy_arp")?;
    network.proxy_ndp = r.flag("proxy_ndp")?;
    network.metric = r.number("metric", u32::MAX)?.unwrap_or(RoutedNetwork::METRIC);
    if network.metric == 0 {
        return Err(Flaw::new(
            r.values["metric"].clone(),
            "metric cannot be 0",
            "at least 1: the emulated twin's is one less",
        )
        .hint("leave it out for 2, which Xen's scripts use"));
    }
    network.services = r.services(&network.subnets)?;
    Ok(NetworkMode::Routed(network))
}

const FORWARD_KEYS: [&str; 4] = ["protocol", "ports", "to", "to_port"];
const FORWARD: &str = "write { protocol = \"tcp\", ports = \"8080\", to = \"10.0.0.1\", to_port = 80 }";

fn forwards(r: &mut Reader<'_>, subnets: &[Subnet]) -> Flawed<Vec<PortForward>> {
    let Some((key, value)) = r.take("forward") else { return Ok(Vec::new()) };
    let list = value
        .get_ref()
        .as_array()
        .ok_or_else(|| refused(r.text, &key, value.span(), "a list of tables").hint(FORWARD))?;
    let mut forwards = Vec::new();
    for item in list {
        let DeValue::Table(table) = item.get_ref() else {
            return Err(refused(r.text, &key, item.span(), "a table for each forward").hint(FORWARD));
        };
        let mut one = Reader::new(r.text, r.name, item.span(), table.clone());
        forwards.push(forward(&mut one, subnets)?);
        r.forwards.push(item.span());
    }
    Ok(forwards)
}

fn forward(r: &mut Reader<'_>, subnets: &[Subnet]) -> Flawed<PortForward> {
    if let Some((key, _)) = r.items.iter().find(|(key, _)| !FORWARD_KEYS.contains(&key.text.as_str())) {
        return Err(unknown_key(key, &FORWARD_KEYS, "key of a forward"));
    }
    let missing = |key: &str| {
        Flaw::new(r.place.clone(), format!("this forward has no {key}"), format!("{key} is needed")).hint(FORWARD)
    };
    let lacking = ["protocol", "ports", "to"].into_iter().find(|key| !r.values.contains_key(*key)).map(missing);
    if let Some(flaw) = lacking {
        return Err(flaw);
    }
    let protocol = r.word("protocol", |given| match given {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err("tcp or udp".into()),
    })?;
    let rule = "a port, 1 to 65535, or two with a - between them, first and last";
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|p| *p > 0);
    let ports = match r.take("ports") {
        // A single port may stand without quotes.
        Some((key, value)) if value.get_ref().as_integer().is_some() => {
            let given = value.get_ref().as_integer().map(|n| n.as_str()).unwrap_or_default();
            let one = port(given).ok_or_else(|| refused(r.text, &key, value.span(), rule))?;
            Some((one, one))
        }
        Some((key, value)) => Some(r.made(&key, &value, |given| {
            let (first, last) = given.split_once('-').unwrap_or((given, given));
            port(first).zip(port(last)).filter(|(a, b)| a <= b).ok_or(rule.into())
        })?),
        None => None,
    };
    let to = r.word("to", address)?;
    let to_port = r.number("to_port", 65535)?;
    let (Some(protocol), Some(ports), Some(to)) = (protocol, ports, to) else {
        return Err(
            Flaw::new(r.place.clone(), "this forward is incomplete", "protocol, ports and to are needed").hint(FORWARD)
        );
    };
    let to_port = to_port.map_or(ports.0, |p| u16::try_from(p).unwrap_or(0));
    if to_port == 0 || u32::from(to_port) + u32::from(ports.1 - ports.0) > 65535 {
        return Err(Flaw::new(
            r.at("to_port"),
            format!("to_port cannot be {to_port}"),
            "ports 1 to 65535, as many as ports",
        ));
    }
    match subnets.iter().find(|s| s.network.contains(to)) {
        _ if subnets.is_empty() => {}
        None => {
            let list: Vec<_> = subnets.iter().map(|s| s.network.to_string()).collect();
            let rule = format!("a guest's address, of {}", list.join(" or "));
            return Err(Flaw::new(r.at("to"), format!("{to} is no guest of this network"), rule));
        }
        Some(subnet) if subnet.gateway == to => {
            return Err(Flaw::new(r.at("to"), format!("{to} is this host's own address"), "a guest's address"));
        }
        Some(_) => {}
    }
    Ok(PortForward { protocol, ports, to, to_port })
}

impl Reader<'_> {
    fn at(&self, key: &str) -> Range<usize> {
        self.values.get(key).cloned().unwrap_or_else(|| self.place.clone())
    }
}
