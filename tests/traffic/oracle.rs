//! What strict must do with any frame, said in plain Rust and from the standards, without a look at the rules.
//!
//! It is the second opinion: `mutate` asks the kernel and this about the same frames, and each difference is a fault of one of them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnetwork::{Ipv4Network, Ipv6Network};
use xennet_tests::frame::{ARP, IPV4, IPV6, Mac, SERVICE_VLAN, VLAN};

/// Whose frames they are.
pub(crate) struct Policy {
    pub(crate) macs: Vec<Mac>,
    pub(crate) v4: Vec<Ipv4Network>,
    pub(crate) v6: Vec<Ipv6Network>,
    /// Whether frames with a VLAN tag are its to send.
    pub(crate) tagged: bool,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass,
    /// Passes as if it came from the address that it is about.
    PassFrom(Ipv6Addr),
    Drop(&'static str),
}

use Verdict::{Drop, Pass, PassFrom};

/// The bytes of one header: of a field that is not there nothing is known.
struct At<'a>(&'a [u8]);

impl<'a> At<'a> {
    fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([self.u8(at)?, self.u8(at + 1)?]))
    }

    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }

    fn from(&self, at: usize) -> At<'a> {
        At(self.0.get(at..).unwrap_or(&[]))
    }
}

impl Policy {
    fn has4(&self, address: [u8; 4]) -> bool {
        self.v4.iter().any(|n| n.contains(Ipv4Addr::from(address)))
    }

    fn has6(&self, address: [u8; 16]) -> bool {
        self.v6.iter().any(|n| n.contains(Ipv6Addr::from(address)))
    }

    /// The judgement.
    pub(crate) fn strict(&self, frame: &[u8]) -> Verdict {
        self.judge(&At(frame)).unwrap_or(Drop("cut short"))
    }

    /// `None` is a frame in which something is missing that must be there.
    fn judge(&self, frame: &At<'_>) -> Option<Verdict> {
        let (to, from): (Mac, Mac) = (frame.bytes(0)?, frame.bytes(6)?);
        if to[..5] == [0x01, 0x80, 0xc2, 0, 0] && to[5] < 16 {
            return Some(Drop("for bridges"));
        }
        let own = self.macs.contains(&from);
        let (kind, packet) = match frame.u16(12)? {
            SERVICE_VLAN => return Some(Drop("802.1ad")),
            VLAN if frame.u16(14)? & 0x0fff != 0 && !self.tagged => return Some(Drop("a VLAN of others")),
            VLAN => (frame.u16(16)?, frame.from(18)),
            kind => (kind, frame.from(14)),
        };
        let verdict = match kind {
            IPV4 => self.ipv4(&packet)?,
            IPV6 => self.ipv6(&packet, from)?,
            ARP => self.arp(&packet, from)?,
            // Only where its place is known.
            0x8035 if frame.u16(12)? == kind => self.rarp(&packet, from)?,
            _ => Drop("another protocol"),
        };
        Some(if own { verdict } else { Drop("another's MAC") })
    }

    fn arp(&self, packet: &At<'_>, from: Mac) -> Option<Verdict> {
        if packet.bytes(0)? != [0, 1, 8, 0, 6, 4] {
            return Some(Drop("another kind of ARP"));
        }
        let (operation, sender, address) = (packet.u16(6)?, packet.bytes(8)?, packet.bytes(14)?);
        // Which of the own MACs does not matter.
        let _ = from;
        if !self.macs.contains(&sender) {
            return Some(Drop("another's MAC in ARP"));
        }
        if self.has4(address) {
            return Some(Pass);
        }
        if operation == 1 && address == [0; 4] && self.has4(packet.bytes(24)?) {
            return Some(Pass);
        }
        Some(Drop("another's address in ARP"))
    }

    fn rarp(&self, packet: &At<'_>, from: Mac) -> Option<Verdict> {
        let (sender, target): (Mac, Mac) = (packet.bytes(8)?, packet.bytes(18)?);
        let announces = packet.bytes(0)? == [0, 1, 8, 0, 6, 4, 0, 3] && packet.bytes(14)? == [0; 4];
        Some(if announces && sender == from && target == from { Pass } else { Drop("RARP") })
    }

    fn ipv4(&self, packet: &At<'_>) -> Option<Verdict> {
        let (first, total) = (packet.u8(0)?, usize::from(packet.u16(2)?));
        let header = usize::from(first & 15) * 4;
        packet.bytes::<20>(0)?;
        if first >> 4 != 4 || header < 20 || total < header || total > packet.0.len() {
            return Some(Drop("no IPv4 packet"));
        }
        let (fragment, protocol) = (packet.u16(6)?, packet.u8(9)?);
        let (source, target): ([u8; 4], [u8; 4]) = (packet.bytes(12)?, packet.bytes(16)?);
        let (later, whole) = (fragment & 0x1fff != 0, fragment & 0x3fff == 0);
        let upper = packet.from(header);
        let said = match protocol {
            255 => Some("a reserved protocol"),
            112 | 103 => Some("a router's protocol"),
            2 if !whole => Some("IGMP in fragments"),
            2 => (!matches!(typed(&upper)?, 0x12 | 0x16 | 0x17 | 0x22)).then_some("a router's IGMP"),
            _ if later => None,
            17 => udp4(&upper, target, whole)?,
            1 => match typed(&upper)? {
                0 | 8 => None,
                5 | 9 => Some("a router's ICMP"),
                _ => readable(&upper),
            },
            51 => (!matches!(upper.u8(0)?, 4 | 6 | 41 | 50 | 89 | 132)).then_some("behind an authentication header"),
            _ => None,
        };
        if let Some(why) = said {
            return Some(Drop(why));
        }
        if self.has4(source) {
            return Some(Pass);
        }
        let nobody = source == [0; 4];
        // Some read the ports where a later fragment has something else.
        let asks = protocol == 17 && !later && upper.u16(0)? == 68 && upper.u16(2)? == 67 && target == [255; 4];
        let reports = protocol == 2 && target == [224, 0, 0, 22];
        Some(if nobody && (asks || reports) { Pass } else { Drop("another's address") })
    }

    fn ipv6(&self, packet: &At<'_>, from: Mac) -> Option<Verdict> {
        packet.bytes::<40>(0)?;
        let length = usize::from(packet.u16(4)?);
        if packet.u8(0)? >> 4 != 6 || 40 + length > packet.0.len() {
            return Some(Drop("no IPv6 packet"));
        }
        let (next, source, target) = (packet.u8(6)?, packet.bytes(8)?, packet.bytes(24)?);
        let Some((protocol, upper, later)) = chain(packet) else { return Some(Drop("headers that do not end")) };
        let first = next == 44 && packet.u16(42)? & 0xfff8 != 0;
        let own = self.has6(source);
        let said = match protocol {
            255 => Some("a reserved protocol"),
            112 | 103 => Some("a router's protocol"),
            // Behind another header its place is not looked for.
            6 => None,
            // Of these it matters what the first fragment has in it, which is looked for in one place only.
            58 | 17 if later && !first => Some("a later fragment behind a header"),
            _ if later => None,
            58 => return self.icmpv6(packet, &upper, (from, own), length, (source, target)),
            17 => udp6(&upper, target, next)?,
            51 => (!matches!(upper.u8(0)?, 4 | 6 | 41 | 50 | 89 | 132)).then_some("behind an authentication header"),
            _ => None,
        };
        if let Some(why) = said {
            return Some(Drop(why));
        }
        Some(if own { Pass } else { Drop("another's address") })
    }

    fn icmpv6(
        &self,
        packet: &At<'_>,
        message: &At<'_>,
        (from, own): (Mac, bool),
        length: usize,
        (source, target): ([u8; 16], [u8; 16]),
    ) -> Option<Verdict> {
        let alone = packet.u8(6)? == 58;
        let nobody = source == [0; 16];
        let by_source = |own: bool| if own { Pass } else { Drop("another's address") };
        let option = |at: usize, kind: u8| message.bytes(at) == Some([kind, 1]);
        let own_mac = |at: usize, kind: u8| option(at, kind) && message.bytes(at + 2) == Some(from);
        let kind = typed(message)?;
        Some(match kind {
            128 | 129 => by_source(own),
            133 if !alone => Drop("behind a header"),
            133 if nobody && length == 8 => Pass,
            133 if nobody => Drop("a solicitation from nobody with options"),
            133 if length == 8 || (length == 16 && own_mac(8, 1)) => by_source(own),
            133 => Drop("options of a router solicitation"),
            135 if !alone => Drop("behind a header"),
            135 if nobody => {
                let fits = length == 24 || (length == 32 && option(24, 14));
                if fits && self.has6(message.bytes(8)?) { Pass } else { Drop("detection of another's address") }
            }
            135 => {
                let fits = match length {
                    24 => true,
                    32 => own_mac(24, 1) || option(24, 14),
                    40 => (own_mac(24, 1) && option(32, 14)) || (option(24, 14) && own_mac(32, 1)),
                    _ => false,
                };
                if fits { by_source(own) } else { Drop("options of a solicitation") }
            }
            136 if !alone => Drop("behind a header"),
            136 => {
                let about: [u8; 16] = message.bytes(8)?;
                let all = target == [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
                if !(length == 24 || (length == 32 && own_mac(24, 2))) {
                    Drop("options of an advertisement")
                } else if !self.has6(about) {
                    Drop("an advertisement of another's address")
                } else if all || about == source {
                    by_source(own)
                } else if own {
                    PassFrom(about.into())
                } else {
                    Drop("another's address")
                }
            }
            130 | 134 | 137 | 138 | 141 | 142 | 145 | 147 | 149 | 151 | 152 | 153 => Drop("a router's ICMPv6"),
            _ if readable(message).is_some() => Drop("cut short"),
            131 | 132 | 143 if nobody => Pass,
            _ => by_source(own),
        })
    }
}

/// The type of a message, which must have code and a byte more.
fn typed(message: &At<'_>) -> Option<u8> {
    message.bytes::<3>(0).map(|b| b[0])
}

/// Why it is not to be told what this is: of its first eight bytes some are missing, or there is nothing in them.
fn readable(upper: &At<'_>) -> Option<&'static str> {
    upper.bytes::<8>(0).is_none_or(|b| b == [0; 8]).then_some("cut short")
}

fn udp4(upper: &At<'_>, target: [u8; 4], whole: bool) -> Option<Option<&'static str>> {
    upper.bytes::<7>(0)?;
    let (from, to) = (upper.u16(0)?, upper.u16(2)?);
    Some(match (from, to) {
        (67, _) | (_, 68) => Some("a DHCP server"),
        (_, 67) if !whole => Some("DHCP in fragments"),
        (_, 67) => (upper.u8(8)? != 1).then_some("a DHCP server"),
        _ if target == [224, 0, 0, 102] => Some("a router's protocol"),
        (_, 1985) if target == [224, 0, 0, 2] => Some("a router's protocol"),
        _ => readable(upper),
    })
}

fn udp6(upper: &At<'_>, target: [u8; 16], next: u8) -> Option<Option<&'static str>> {
    upper.bytes::<7>(0)?;
    let (from, to) = (upper.u16(0)?, upper.u16(2)?);
    Some(match (from, to) {
        (547, _) | (_, 546) => Some("a DHCP server"),
        (_, 547) if next != 17 => Some("DHCPv6 behind a header"),
        (_, 547) => matches!(upper.u8(8)?, 0 | 2 | 7 | 10 | 12 | 13).then_some("a DHCP server"),
        _ if target == Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x66).octets() => Some("a router's protocol"),
        _ => readable(upper),
    })
}

/// What stands behind IPv6's headers, where it begins, and whether it is a later fragment of it. `None` if that is not in this packet.
fn chain<'a>(packet: &At<'a>) -> Option<(u8, At<'a>, bool)> {
    let (mut next, mut at) = (packet.u8(6)?, 40);
    loop {
        match next {
            0 | 43 | 60 => {
                let header: [u8; 2] = packet.bytes(at)?;
                // Of a routing header its first four bytes.
                if next == 43 {
                    packet.bytes::<4>(at)?;
                }
                (next, at) = (header[0], at + (usize::from(header[1]) + 1) * 8);
            }
            44 => {
                let follows = packet.u8(at)?;
                packet.u8(at + 1)?;
                if packet.u16(at + 2)? & 0xfff8 != 0 {
                    // What it is a part of is told unless headers follow.
                    return (!matches!(follows, 0 | 43 | 44 | 51 | 60)).then(|| (follows, packet.from(at), true));
                }
                (next, at) = (follows, at + 8);
            }
            51 => {
                packet.bytes::<2>(at)?;
                return Some((51, packet.from(at), false));
            }
            _ => return Some((next, packet.from(at), false)),
        }
    }
}
