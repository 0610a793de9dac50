//! Other addresses and names in place of those of a recording.
//!
//! The document is what is changed, not its types: whatever text of it is an address becomes another one, also where a later version
//! adds a member.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Described, Recording, Unseen};
use crate::config::networks;
use crate::error::{Error, ErrorKind};
use crate::exec::Entry;
use crate::model::{MacAddr, covering, link_local};
use crate::plan::{Goal, accept};
use crate::snapshot::{NftExpr, NftField, NftTableId, NftType, NftValue};
use crate::tables::guard::{MAC_ENDS, ends};

/// As [`Recording::anonymous`].
pub(super) fn anonymous(of: &Recording, key: [u8; 16]) -> Result<Recording, Error> {
    let broken = |e: serde_json::Error| {
        Error::new(ErrorKind::Internal, format!("the anonymous recording cannot be read again: {e}")).unchanged()
    };
    let mut recording = of.clone();
    recording.taken.host = "host".into();
    name_domains(&mut recording);
    without_comments(&mut recording);
    without_bytes(&mut recording);
    let accepts = without_accepts(&mut recording);
    for link in recording.snapshot.links.values_mut() {
        link.alias = None;
    }
    // By way of its text: `to_value` and `from_value` would be a second writer and a second reader of every type in the library.
    let written = serde_json::to_vec(&recording).map_err(broken)?;
    let mut document: Value = serde_json::from_slice(&written).map_err(broken)?;
    Addresses { key, bits: BTreeMap::new() }.replace(&mut document);
    let mut recording = crate::read::json(&document.to_string()).map_err(broken)?;
    follow_macs(&mut recording);
    let Recording { records, snapshot, .. } = &mut recording;
    for (started, numbers) in records.iter().filter_map(Entry::started).zip(accepts) {
        accept::put(started, &numbers, snapshot);
    }
    Ok(recording)
}

/// What the guard has of MACs as numbers follows them.
fn follow_macs(recording: &mut Recording) {
    let Some(table) = recording.snapshot.nft.get_mut(&NftTableId::guard()) else { return };
    for (at, set) in MAC_ENDS.into_iter().enumerate() {
        let Some(set) = table.sets.get_mut(set) else { continue };
        let followed = std::mem::take(&mut set.elements).into_iter().map(|(mut key, element)| {
            if let [_, NftValue::Mac(mac), end] = &mut key.first[..] {
                *end = ends(*mac)[at].clone();
            }
            (key, element)
        });
        set.elements = followed.collect();
    }
}

/// Domains get their numbers as names.
fn name_domains(recording: &mut Recording) {
    for (path, value) in &mut recording.store {
        let parts: Vec<&str> = path.as_str().split('/').collect();
        match parts[..] {
            ["", "local", "domain", id, "name"] => *value = format!("domain-{id}"),
            ["", "local", "domain", _, "backend", "vif", id, _, "domain"] => *value = format!("domain-{id}"),
            _ => {}
        }
    }
}

/// The descriptions are parsed and written anew, so comments are left out.
fn without_comments(recording: &mut Recording) {
    let Some(Described { file, text }) = &mut recording.described else { return };
    match networks::parse(text) {
        Ok(networks) => *text = networks::render(networks.iter()),
        Err(_) => {
            let why = "it cannot be read, and may have names in it that the others do not".to_owned();
            recording.unseen.push(Unseen { what: file.clone(), why });
            recording.described = None;
        }
    }
}

/// Other programs' rules keep what this library has words for. Addresses may be among the bytes of the rest.
fn without_bytes(recording: &mut Recording) {
    let is_opaque = |field: &NftField| matches!(field, NftField::Payload { .. });
    for rule in recording.details.foreign.values_mut().flat_map(|t| t.chains.values_mut()).flat_map(|c| &mut c.rules) {
        rule.comment = None;
        for expr in &mut rule.exprs {
            match expr {
                NftExpr::Opaque { data, .. } => data.clear(),
                NftExpr::Match { field, .. } if is_opaque(field) => {
                    *expr = NftExpr::Opaque { name: "payload".into(), data: Vec::new() };
                }
                _ => {}
            }
        }
    }
    for set in recording.details.foreign.values_mut().flat_map(|t| t.sets.values_mut()) {
        if set.key.iter().any(|kind| matches!(kind, NftType::Other { .. })) {
            set.elements.clear();
        }
        set.elements.values_mut().for_each(|element| element.comment = None);
    }
}

/// Rules of networks in other programs' chains have addresses among their bytes: they are made anew of the networks as these are called by
/// then. Which are there, for each network.
fn without_accepts(recording: &mut Recording) -> Vec<Vec<Vec<usize>>> {
    let started = recording.records.iter().filter_map(Entry::started);
    let there = started.map(|started| accept::numbers(started, &recording.snapshot)).collect();
    accept::unsee(&mut recording.snapshot);
    for record in &mut recording.records {
        let mut next = Some(record);
        while let Some(entry) = next {
            accept::unsee(&mut entry.before);
            if let Goal::Restore(target) | Goal::Stop(target) = &mut entry.goal {
                accept::unsee(target);
            }
            next = entry.previous.as_deref_mut();
        }
    }
    there
}

/// The replacement of each address.
struct Addresses {
    key: [u8; 16],
    /// Whether the bit behind a prefix is flipped, by family, length and prefix.
    bits: BTreeMap<(bool, u32, u128), bool>,
}

impl Addresses {
    fn replace(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace(item)),
            Value::Object(members) => {
                // An element of an nft set that is an interval.
                let mut old = std::mem::take(members);
                if let [Some(first), Some(last)] = ["first", "last"].map(|end| old.get(end)) {
                    let (mut first, mut last) = (first.clone(), last.clone());
                    self.interval(&mut first, &mut last);
                    old.retain(|name, _| name != "first" && name != "last");
                    members.extend([("first".to_owned(), first), ("last".to_owned(), last)]);
                }
                for (name, mut member) in old {
                    self.replace(&mut member);
                    members.insert(self.text(&name), member);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Both ends of an interval. One that is a network becomes another network.
    fn interval(&mut self, first: &mut Value, last: &mut Value) {
        match (first, last) {
            (Value::Array(first), Value::Array(last)) if first.len() == last.len() => {
                first.iter_mut().zip(last).for_each(|(first, last)| self.interval(first, last));
            }
            (Value::Object(first), Value::Object(last)) if first.keys().eq(last.keys()) => {
                first.values_mut().zip(last.values_mut()).for_each(|(first, last)| self.interval(first, last));
            }
            (Value::String(first), Value::String(last)) => {
                let ends = first.parse::<IpAddr>().ok().zip(last.parse::<IpAddr>().ok());
                if let Some(network) = ends.and_then(|(low, high)| network_between(low, high)) {
                    let other = self.network(network);
                    (*first, *last) = (other.network().to_string(), other.broadcast().to_string());
                } else {
                    (*first, *last) = (self.text(first), self.text(last));
                }
            }
            (first, last) => {
                self.replace(first);
                self.replace(last);
            }
        }
    }

    /// The text with each address in it replaced.
    fn text(&mut self, text: &str) -> String {
        let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(is_part) {
            let (before, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
            out.push_str(before);
            // "feature" has no address at its beginning: a letter or digit beside the word makes it another one.
            let goes_on = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
            match goes_on(before.chars().next_back()) || goes_on(after.chars().next()) {
                true => out.push_str(word),
                false => out.push_str(&self.word(word, length(after))),
            }
            rest = after;
        }
        out + rest
    }

    /// One word. If a prefix length follows, the word may be the address of a network, and is one afterwards, too.
    fn word(&mut self, word: &str, length: Option<u8>) -> String {
        // Punctuation at the end is not part of the word.
        let bare = word.trim_end_matches(['.', ':']);
        for (text, end) in [(word, ""), (bare, &word[bare.len()..])] {
            if let Ok(mac) = text.parse::<MacAddr>()
                && text.len() == 17
            {
                return format!("{}{end}", MacAddr::new(self.mac(mac.octets())));
            }
            if let Ok(address) = text.parse::<IpAddr>() {
                let network = length.and_then(|length| IpNetwork::new(address, length).ok());
                let other = match network.filter(|n| end.is_empty() && n.network() == address) {
                    Some(network) => self.network(network).network(),
                    None => self.ip(address),
                };
                return format!("{other}{end}");
            }
        }
        word.to_owned()
    }

    /// Another network of the same length.
    fn network(&mut self, network: IpNetwork) -> IpNetwork {
        // The length is one of the same family, so it fits.
        IpNetwork::new(self.ip(network.ip()), network.prefix()).unwrap_or(network)
    }

    fn ip(&mut self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(a) if is_everybodys_4(a) => address,
            IpAddr::V4(a) => {
                let bits = self.prefix_preserving(false, u128::from(u32::from(a)) << 96, 8, 32) >> 96;
                Ipv4Addr::from(u32::try_from(bits).unwrap_or(0)).into()
            }
            IpAddr::V6(a) => {
                let given = u128::from(a);
                let network = match is_everybodys_6(a) {
                    true => given,
                    false => self.prefix_preserving(true, given, 16, 64),
                };
                // What a link makes of its hardware address tells it.
                let host = match eui64(a) {
                    Some(mac) => u128::from(link_local(MacAddr::new(self.mac(mac)))),
                    None if is_everybodys_6(a) => given,
                    None => self.prefix_preserving(true, given, 64, 128),
                };
                let low = u128::from(u64::MAX);
                Ipv6Addr::from((network & !low) | (host & low)).into()
            }
        }
    }

    /// The address with bits `first` to `last` flipped or not. Whether a bit is flipped follows from the key and from all bits before it, so
    /// addresses with a common prefix have one afterwards, too.
    fn prefix_preserving(&mut self, six: bool, address: u128, first: u32, last: u32) -> u128 {
        let mut out = address;
        for at in first..last {
            let prefix = if at == 0 { 0 } else { address >> (128 - at) };
            let key = self.key;
            let is_flipped = *self.bits.entry((six, at, prefix)).or_insert_with(|| {
                let mut hash = Sha256::new();
                hash.update(key);
                hash.update([u8::from(six)]);
                hash.update(at.to_be_bytes());
                hash.update(prefix.to_be_bytes());
                hash.finalize().first().is_some_and(|octet| octet & 1 == 1)
            });
            if is_flipped {
                out ^= 1 << (127 - at);
            }
        }
        out
    }

    /// An address of the same maker. No two cards get the same one.
    fn mac(&mut self, octets: [u8; 6]) -> [u8; 6] {
        let is_everybodys = octets == [0; 6] || octets == [0xff; 6] || octets == MacAddr::BACKEND.octets();
        if is_everybodys || octets[0] & 1 == 1 {
            return octets;
        }
        let mut wide = [0; 16];
        wide[..6].copy_from_slice(&octets);
        let out = self.prefix_preserving(true, u128::from_be_bytes(wide), 24, 48).to_be_bytes();
        std::array::from_fn(|i| out[i])
    }
}

/// The prefix length with which a text begins: `/24`.
fn length(text: &str) -> Option<u8> {
    let digits = text.strip_prefix('/')?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The network that goes from one address to the other.
fn network_between(low: IpAddr, high: IpAddr) -> Option<IpNetwork> {
    if low == high || low.is_ipv4() != high.is_ipv4() {
        return None;
    }
    let network = covering(low.into(), high.into());
    (network.network() == low && network.broadcast() == high).then_some(network)
}

/// Addresses that are kept, since any host can have them, or none: they identify nobody.
fn is_everybodys_4(a: Ipv4Addr) -> bool {
    let is_shared = a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64;
    let is_netmask = u32::from(a).leading_ones() + u32::from(a).trailing_zeros() == 32;
    let is_low = a.octets()[0] == 0;
    a.is_private()
        || a.is_loopback()
        || a.is_link_local()
        || a.is_multicast()
        || a.is_documentation()
        || is_shared
        || is_netmask
        || is_low
        || a.octets()[0] >= 240
}

fn is_everybodys_6(a: Ipv6Addr) -> bool {
    let is_documentation = a.segments()[..2] == [0x2001, 0xdb8];
    // As loopback and mapped addresses do.
    let begins_with_zeros = a.segments()[0] == 0;
    is_documentation || begins_with_zeros || a.is_unique_local() || a.is_unicast_link_local() || a.is_multicast()
}

/// The hardware address that an interface identifier was made of.
fn eui64(a: Ipv6Addr) -> Option<[u8; 6]> {
    let o = a.octets();
    (o[11] == 0xff && o[12] == 0xfe).then(|| [o[8] ^ 2, o[9], o[10], o[13], o[14], o[15]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses() -> Addresses {
        Addresses { key: *b"a key of a test!", bits: BTreeMap::new() }
    }

    #[test]
    fn what_is_related_stays_related() {
        let mut a = addresses();
        let v4 = |a: &mut Addresses, text: &str| match a.ip(text.parse().unwrap()) {
            IpAddr::V4(ip) => u32::from(ip),
            IpAddr::V6(_) => panic!("{text}"),
        };
        let (one, two, far) = (v4(&mut a, "8.8.4.4"), v4(&mut a, "8.8.4.200"), v4(&mut a, "8.9.0.1"));
        assert_ne!(one, u32::from(Ipv4Addr::new(8, 8, 4, 4)));
        assert_eq!(one >> 8, two >> 8);
        assert_eq!((one ^ two).leading_zeros(), (4_u32 ^ 200).leading_zeros());
        assert_eq!((one ^ far).leading_zeros(), 15);
        // The network of an address is that of the other one.
        let network = v4(&mut a, "8.8.4.0");
        assert_eq!(network >> 8, one >> 8);
        // No two become one.
        let all: std::collections::BTreeSet<u32> = (0..=255).map(|n| v4(&mut a, &format!("8.8.4.{n}"))).collect();
        assert_eq!(all.len(), 256);
    }

    #[test]
    fn what_tells_nothing_stays() {
        let mut a = addresses();
        for text in [
            "10.1.2.3",
            "192.168.0.1",
            "172.31.9.9",
            "127.0.0.1",
            "169.254.1.1",
            "224.0.0.1",
            "192.0.2.7",
            "100.64.0.1",
            "255.255.255.0",
            "0.0.0.0",
            "fe80::1",
            "ff02::1",
            "::1",
            "::",
            "fd00:1::5",
            "2001:db8::2",
            "fe:ff:ff:ff:ff:ff",
            "ff:ff:ff:ff:ff:ff",
            "33:33:00:00:00:01",
            "feature-ipv6",
            "vif1.0",
            "6.1.0-56-amd64",
            "dead:beef",
            "1500",
            "a.b.c.d",
        ] {
            assert_eq!(a.text(text), text);
        }
    }

    #[test]
    fn a_network_stays_a_network() {
        let mut a = addresses();
        for (text, length) in
            [("8.8.4.0/22", 22), ("8.8.4.128/25", 25), ("2a00:1450::/32", 32), ("2a00:1450:1:2::/64", 64)]
        {
            let told = a.text(text);
            assert_ne!(told, text);
            let network: ipnetwork::IpNetwork = told.parse().unwrap();
            assert_eq!((network.ip(), u32::from(network.prefix())), (network.network(), length), "{told}");
        }
        let mut key = serde_json::json!({ "first": [{ "name": "web0" }, { "ipv4": "8.8.4.0" }], "last": [{ "name": "web0" }, { "ipv4": "8.8.5.255" }] });
        a.replace(&mut key);
        let end = |which: &str| key[which][1]["ipv4"].as_str().unwrap().parse::<IpAddr>().unwrap();
        assert_eq!(network_between(end("first"), end("last")).map(|n| n.prefix()), Some(23), "{key}");
        let whole = serde_json::json!({ "all": "0.0.0.0/0 and ::/0", "first": "x", "last": "8.8.8.8" });
        let mut told = whole.clone();
        a.replace(&mut told);
        assert_eq!((&told["all"], &told["first"]), (&whole["all"], &whole["first"]));
        assert_ne!(told["last"], whole["last"]);
    }

    #[test]
    fn a_hardware_address_keeps_its_maker_and_is_the_same_wherever_it_is_told() {
        let mut a = addresses();
        let told = a.text("mac=00:16:3e:01:02:03,ip=8.8.8.8, fe80::216:3eff:fe01:203/64.");
        let mac = &told["mac=".len().."mac=".len() + 17];
        assert!(mac.starts_with("00:16:3e:") && mac != "00:16:3e:01:02:03", "{told}");
        let expected = link_local(mac.parse().unwrap());
        assert!(told.ends_with(&format!(", {expected}/64.")), "{told}");
        assert!(!told.contains("8.8.8.8") && told.contains(",ip=8."), "{told}");
    }
}
