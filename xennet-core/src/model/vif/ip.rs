//! The addresses and networks of `ip=`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;

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

/// The place of an address that is probably the gateway of the one before it, as in "192.0.2.5/24 192.0.2.1": the first or the last
/// host of its network, beside an address that is written with the length of that network.
pub(crate) fn gateway_beside(networks: &[IpNetwork]) -> Option<usize> {
    let is_gateway = |pair: &[IpNetwork]| {
        let [own, beside] = pair else { return false };
        let is_host = !is_single(own) && own.ip() != own.network();
        is_host && is_single(beside) && own.ip() != beside.ip() && is_end(own, beside.ip())
    };
    networks.windows(2).position(is_gateway).map(|at| at + 1)
}

/// Whether an address is the first or the last host of a network.
fn is_end(network: &IpNetwork, ip: IpAddr) -> bool {
    let as_number = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(ip.to_bits()),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    let (first, last) = (as_number(network.network()), as_number(network.broadcast()));
    // Both of two addresses are hosts (RFC 3021, RFC 6164).
    let inner = u128::from(last - first > 1);
    network.contains(ip) && [first + inner, last - inner].contains(&as_number(ip))
}

/// Why such a gateway is refused, and the way out.
pub(crate) fn gateway_refusal(own: &IpNetwork, gateway: &IpNetwork) -> (String, String) {
    let (own, gateway) = (Bare(own), Bare(gateway));
    let rule = format!("probably the gateway of {own}, and a gateway is no guest's address");
    let address = own.0.ip();
    (rule, format!("write ip={own}; if the guest has both addresses: ip={address} {gateway}"))
}

/// The words of a value with blanks between them, each with its place: one at least, which may be empty. Blanks at the ends do not count.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let tidy = text.trim_ascii();
    let lead = if tidy.is_empty() { 0 } else { text.len() - text.trim_ascii_start().len() };
    let mut at = lead;
    let all = tidy.split(' ').map(move |word| {
        let start = at;
        at += word.len() + 1;
        (start, word)
    });
    all.filter(move |(start, word)| !word.is_empty() || (*start == lead && tidy.is_empty()))
}

/// Why an address is none of a network's, and the way out: it has host bits.
pub(crate) fn host_bits(network: &IpNetwork) -> Option<(&'static str, String)> {
    (network.ip() != network.network()).then(|| {
        let whole = format!("{}/{}", network.network(), network.prefix());
        (
            "a network has no host bits",
            format!("write prefix={whole} for all of it, or ip={network} for the one address"),
        )
    })
}

/// Reads the value of `prefix=`: networks with blanks between them.
pub(crate) fn read_prefixes(text: &str) -> Result<Vec<IpNetwork>, Box<Flaw>> {
    let one = |(at, word): (usize, &str)| {
        let network = read_network(word).map_err(|flaw| flaw.at(at))?;
        match host_bits(&network) {
            None => Ok(network),
            Some((rule, hint)) => {
                let what = format!("{} is not a network", quoted(word));
                Err(Flaw::new(at..at + word.len(), what, rule).hint(hint))
            }
        }
    };
    words(text).map(one).collect()
}

/// Reads the value of `ip=`: addresses and networks with blanks between them. Blanks at the ends do not count: toolstacks write them.
pub(crate) fn read_networks(text: &str) -> Result<Vec<IpNetwork>, Box<Flaw>> {
    let tidy = text.trim_ascii();
    let mut at = if tidy.is_empty() { 0 } else { text.len() - text.trim_ascii_start().len() };
    // One address is the usual case and must not pay for the others.
    if tidy.is_empty() || !tidy.contains(' ') {
        return Ok(vec![read_network(tidy).map_err(|flaw| flaw.at(at))?]);
    }
    let (mut networks, mut places): (Vec<IpNetwork>, Vec<Range<usize>>) = (Vec::new(), Vec::new());
    for word in tidy.split(' ') {
        let start = at;
        at += word.len() + 1;
        if word.is_empty() {
            continue;
        }
        networks.push(read_network(word).map_err(|flaw| flaw.at(start))?);
        places.push(start..start + word.len());
    }
    let Some(beside) = gateway_beside(&networks) else { return Ok(networks) };
    let (rule, hint) = gateway_refusal(&networks[beside - 1], &networks[beside]);
    let what = format!("{} is not taken for an address of the guest's", Bare(&networks[beside]));
    Err(Flaw::new(places[beside].clone(), what, rule).hint(hint))
}
