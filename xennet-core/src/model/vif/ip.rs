//! The addresses and networks of `ip=`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnetwork::IpNetwork;

use crate::model::flaw::{Flaw, decimal, quoted};

/// An address or network as it is written in a spec: `/32` and `/128` left out.
pub(crate) struct Bare<'a>(pub(crate) &'a IpNetwork);

impl fmt::Display for Bare<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_single(self.0) { self.0.ip().fmt(f) } else { self.0.fmt(f) }
    }
}

/// How many bits an address of this family has: 32 or 128.
const fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether it is a single address, and no network.
pub(crate) fn is_single(network: &IpNetwork) -> bool {
    network.prefix() == bits_of(network.ip())
}

/// Why this cannot be a guest's address or network.
pub(crate) fn refusal(network: &IpNetwork) -> Option<&'static str> {
    let ip = network.ip();
    if ip.is_multicast() {
        Some("a multicast address is no guest's")
    } else if ip.is_loopback() {
        Some("a loopback address is no guest's")
    } else if is_single(network) && ip.is_unspecified() {
        Some("the unspecified address is no guest's")
    } else if ip == IpAddr::V4(Ipv4Addr::BROADCAST) {
        Some("the broadcast address is no guest's")
    } else if is_mask(ip) {
        Some("a mask is no guest's address: write ADDRESS/LENGTH, as in 192.0.2.5/24, and leave the gateway out")
    } else {
        None
    }
}

/// Whether an address is a mask of a network, as in "192.0.2.5 255.255.255.0 192.0.2.1".
fn is_mask(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.octets()[0] == 255 && u32::from(ip).leading_ones() + u32::from(ip).trailing_zeros() >= 32,
        IpAddr::V6(_) => false,
    }
}

/// Reads one address or network: `ADDRESS` or `ADDRESS/BITS`.
pub(crate) fn read_network(text: &str) -> Result<IpNetwork, Box<Flaw>> {
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    let fail = |span, rule: &str| Err(Flaw::new(span, format!("{} is not an address", quoted(text)), rule));
    let Ok(ip) = address.parse::<IpAddr>() else {
        let hint = if text.is_empty() {
            "leave ip= out for none"
        } else if address.contains('%') {
            "leave the zone out"
        } else if address.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            "four numbers from 0 to 255 with dots between them, without leading zeros"
        } else if address.contains(':') {
            "eight groups of hexadecimal digits, '::' for zeros"
        } else {
            "a host name is not looked up: write its address"
        };
        return fail(0..address.len(), "an IPv4 or IPv6 address, with /BITS for a network").map_err(|f| f.hint(hint));
    };
    let bits = bits_of(ip);
    let prefix = match prefix {
        None => bits,
        Some(prefix) => match decimal(prefix.as_bytes()) {
            Some(n @ 0..=128) if n <= u64::from(bits) => n as u8,
            _ => {
                let rule = format!("the number of bits is 0 to {bits}");
                return match prefix.contains('.') {
                    true => fail(address.len() + 1..text.len(), &rule).map_err(|f| f.hint("write bits, not a mask")),
                    false => fail(address.len() + 1..text.len(), &rule),
                };
            }
        },
    };
    let Ok(network) = IpNetwork::new(ip, prefix) else {
        return fail(0..text.len(), "the number of bits is 0 to 32 (IPv4) or 128 (IPv6)");
    };
    match refusal(&network) {
        None => Ok(network),
        Some(rule) => fail(0..text.len(), rule),
    }
}

/// Reads the value of `ip=`: addresses and networks with blanks between them.
pub(crate) fn read_networks(text: &str) -> Result<Vec<IpNetwork>, Box<Flaw>> {
    // One address is the usual case and must not pay for the others.
    if !text.contains(' ') {
        return Ok(vec![read_network(text)?]);
    }
    let mut networks: Vec<IpNetwork> = Vec::new();
    let mut at = 0;
    for word in text.split(' ') {
        let start = at;
        at += word.len() + 1;
        if word.is_empty() {
            // Blanks between words are as good as one; at the ends they are somebody's mistake.
            if start == 0 || start >= text.len() {
                return Err(Flaw::new(
                    start.min(text.len() - 1)..start + 1,
                    "a blank at the end of ip=",
                    "one blank between addresses",
                )
                .hint("remove the blank"));
            }
            continue;
        }
        networks.push(read_network(word).map_err(|flaw| flaw.at(start))?);
    }
    Ok(networks)
}
