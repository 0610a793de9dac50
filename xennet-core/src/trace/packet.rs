//! A packet as rules see it: headers of which some bytes are known and some are not.

use std::net::IpAddr;

use super::frame::RawFrame;
use crate::model::MacAddr;
use crate::snapshot::Family;

/// Why a byte of a packet, or a statement about it, is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Gap {
    /// The question names no port.
    Port,
    /// It is nothing that a recording tells: a sequence number, the time, how often something has happened.
    Unseen,
    /// The first byte of a hardware address that is not known: of one station, so its lowest bit is 0.
    Station,
    /// How many hops a packet may still go: more than a few, as systems send it.
    Hops,
}

/// A byte that a rule may look at, if it is known.
pub(super) type Byte = Result<u8, Gap>;

/// A byte that can be any.
pub(super) const ANY: Byte = Err(Gap::Unseen);

/// Known bytes.
pub(super) fn known(bytes: &[u8]) -> Vec<Byte> {
    bytes.iter().map(|b| Ok(*b)).collect()
}

/// What is above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upper {
    /// The first segment of a connection (SYN), or its answer (SYN and ACK).
    Tcp { source: u16, target: Option<u16>, answer: bool },
    /// A datagram.
    Udp { source: u16, target: Option<u16> },
    /// ICMP or ICMPv6: the type of the message.
    Icmp { kind: u8 },
    /// Neighbour discovery: solicitation (135) or advertisement (136), and the address that it is about.
    Neighbour { kind: u8, target: std::net::Ipv6Addr },
}

/// What a frame has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// ARP: request (1) or reply (2), with the addresses of sender and target.
    Arp { operation: u16, sender: IpAddr, target: IpAddr },
    /// A packet of IPv4 or IPv6.
    Ip { source: IpAddr, target: IpAddr, upper: Upper },
    /// All its bytes.
    Frame(RawFrame),
}

/// What connection tracking knows of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tracked {
    /// `ct state`: 1 invalid, 2 established, 4 related, 8 new, 64 untracked; `None` before connection tracking has seen it.
    pub(super) state: Option<u32>,
    /// `ct status`.
    pub(super) status: u32,
    /// The connection's mark; `None` where a rule has set it to something that is not known.
    pub(super) mark: Option<u32>,
    /// Whether it is an answer.
    pub(super) reply: bool,
}

/// A hardware address; of one that is not known, that it is a station's.
fn octets(mac: Option<MacAddr>) -> Vec<Byte> {
    mac.map_or_else(|| vec![Err(Gap::Station), ANY, ANY, ANY, ANY, ANY], |m| known(&m.octets()))
}

/// A frame or packet on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    /// The ethernet addresses, sender and receiver; `None` where the packet has no ethernet header yet, or the address is unknown.
    pub(super) macs: (Option<MacAddr>, Option<MacAddr>),
    /// Whether there is an ethernet header.
    pub(super) framed: bool,
    /// What is in it.
    pub(super) content: Content,
    /// `meta mark`; `None` where a rule has set it to something that is not known.
    pub(super) mark: Option<u32>,
    /// `meta pkttype`: 0 to us, 1 broadcast, 2 multicast, 3 to another station.
    pub(super) kind: u8,
    /// What connection tracking knows.
    pub(super) tracked: Tracked,
}

impl Packet {
    /// A packet that no frame carries yet.
    pub(super) fn ip(source: IpAddr, target: IpAddr, upper: Upper) -> Self {
        Packet {
            macs: (None, None),
            framed: false,
            content: Content::Ip { source, target, upper },
            mark: Some(0),
            kind: 0,
            tracked: Tracked { mark: Some(0), ..Tracked::default() },
        }
    }

    /// The same in a frame.
    pub(super) fn framed(mut self, from: Option<MacAddr>, to: Option<MacAddr>) -> Self {
        self.macs = (from, to);
        self.framed = true;
        self
    }

    /// The family; ARP is IPv4's.
    pub(super) fn family(&self) -> Family {
        match &self.content {
            Content::Arp { .. } => Family::Ipv4,
            Content::Ip { target, .. } => Family::of(target),
            Content::Frame(frame) if frame.ethertype() == 0x86dd => Family::Ipv6,
            Content::Frame(_) => Family::Ipv4,
        }
    }

    pub(super) fn is_arp(&self) -> bool {
        matches!(self.content, Content::Arp { .. })
    }

    /// The ethernet protocol.
    pub(super) fn ethertype(&self) -> u16 {
        match &self.content {
            Content::Arp { .. } => 0x0806,
            Content::Ip { target: IpAddr::V4(_), .. } => 0x0800,
            Content::Ip { .. } => 0x86dd,
            Content::Frame(frame) => frame.ethertype(),
        }
    }

    /// The protocol above IP.
    pub(super) fn protocol(&self) -> Option<u8> {
        match &self.content {
            Content::Arp { .. } => None,
            Content::Frame(frame) => frame.protocol(),
            Content::Ip { upper, target, .. } => Some(match upper {
                Upper::Tcp { .. } => 6,
                Upper::Udp { .. } => 17,
                Upper::Icmp { .. } if target.is_ipv4() => 1,
                Upper::Icmp { .. } | Upper::Neighbour { .. } => 58,
            }),
        }
    }

    /// Source and destination of IP.
    pub(super) fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.content {
            Content::Arp { .. } | Content::Frame(_) => None,
            Content::Ip { source, target, .. } => Some((source, target)),
        }
    }

    pub(super) fn set_addresses(&mut self, from: Option<IpAddr>, to: Option<IpAddr>) {
        if let Content::Ip { source, target, .. } = &mut self.content {
            *source = from.unwrap_or(*source);
            *target = to.unwrap_or(*target);
        }
    }

    /// Destination port, where it is known.
    pub(super) fn target_port(&self) -> Option<u16> {
        match self.content {
            Content::Ip { upper: Upper::Tcp { target, .. } | Upper::Udp { target, .. }, .. } => target,
            _ => None,
        }
    }

    pub(super) fn set_target_port(&mut self, port: u16) {
        if let Content::Ip { upper: Upper::Tcp { target, .. } | Upper::Udp { target, .. }, .. } = &mut self.content {
            *target = Some(port);
        }
    }

    pub(super) fn set_source_port(&mut self, port: u16) {
        if let Content::Ip { upper: Upper::Tcp { source, .. } | Upper::Udp { source, .. }, .. } = &mut self.content {
            *source = port;
        }
    }

    /// Whether it is a message of neighbour discovery, which connection tracking leaves alone.
    pub(super) fn is_discovery(&self) -> bool {
        matches!(self.content, Content::Ip { upper: Upper::Neighbour { .. }, .. })
    }

    /// The ethernet header, 14 bytes.
    pub(super) fn link_header(&self) -> Option<Vec<Byte>> {
        if let Content::Frame(frame) = &self.content {
            return Some(known(frame.bytes()));
        }
        if !self.framed {
            return None;
        }
        let mut out = octets(self.macs.1);
        out.extend(octets(self.macs.0));
        out.extend(known(&self.ethertype().to_be_bytes()));
        Some(out)
    }

    /// The header of IPv4, IPv6 or ARP, and in IPv6 what is behind it.
    pub(super) fn network_header(&self) -> Vec<Byte> {
        match &self.content {
            Content::Frame(frame) => known(frame.network()),
            Content::Arp { operation, sender, target } => {
                let mut out = known(&[0, 1, 8, 0, 6, 4]);
                out.extend(known(&operation.to_be_bytes()));
                let ip = |ip: &IpAddr| match ip {
                    IpAddr::V4(a) => known(&a.octets()),
                    IpAddr::V6(_) => vec![ANY; 4],
                };
                out.extend(octets(self.macs.0));
                out.extend(ip(sender));
                out.extend(if *operation == 1 { vec![Ok(0); 6] } else { octets(self.macs.1) });
                out.extend(ip(target));
                out
            }
            Content::Ip { source: IpAddr::V4(source), target: IpAddr::V4(target), .. } => {
                let mut out = known(&[0x45, 0]);
                out.extend([ANY; 4]);
                // No fragment; senders of today forbid fragments.
                out.extend(known(&[0x40, 0]));
                out.push(Err(Gap::Hops));
                out.push(self.protocol().ok_or(Gap::Unseen));
                out.extend([ANY; 2]);
                out.extend(known(&source.octets()));
                out.extend(known(&target.octets()));
                out
            }
            Content::Ip { source, target, .. } => {
                let mut out = vec![Ok(0x60), ANY, ANY, ANY];
                // Neighbour discovery with one option, as systems send it; how much others say is not known.
                out.extend(if self.is_discovery() { known(&[0, 32]) } else { vec![ANY; 2] });
                out.push(self.protocol().ok_or(Gap::Unseen));
                out.push(if self.is_discovery() { Ok(255) } else { Err(Gap::Hops) });
                for ip in [source, target] {
                    match ip {
                        IpAddr::V6(a) => out.extend(known(&a.octets())),
                        IpAddr::V4(_) => out.extend([ANY; 16]),
                    }
                }
                out.extend(self.transport_header().unwrap_or_default());
                out
            }
        }
    }

    /// The header of TCP, UDP or ICMP; `None` for ARP.
    pub(super) fn transport_header(&self) -> Option<Vec<Byte>> {
        let upper = match &self.content {
            Content::Ip { upper, .. } => upper,
            Content::Frame(frame) => return frame.transport().map(known),
            Content::Arp { .. } => return None,
        };
        let port = |port: Option<u16>| port.map_or(vec![Err(Gap::Port); 2], |p| known(&p.to_be_bytes()));
        Some(match upper {
            Upper::Tcp { source, target, answer } => {
                let mut out = port(Some(*source));
                out.extend(port(*target));
                out.extend([ANY; 9]);
                out.push(Ok(if *answer { 0x12 } else { 0x02 }));
                out.extend([ANY; 6]);
                out
            }
            Upper::Udp { source, target } => {
                let mut out = port(Some(*source));
                out.extend(port(*target));
                out.extend([ANY; 4]);
                // A client of DHCP asks: BOOTREQUEST, SOLICIT.
                out.extend(matches!(target, Some(67 | 547)).then_some(Ok(1)));
                out
            }
            Upper::Icmp { kind } => {
                let mut out = known(&[*kind, 0]);
                out.extend([ANY; 6]);
                out
            }
            Upper::Neighbour { kind, target } => {
                let mut out = known(&[*kind, 0]);
                out.extend([ANY; 6]);
                out.extend(known(&target.octets()));
                // The link-layer address, of the source or of the target.
                out.extend(known(&[kind - 134, 1]));
                out.extend(octets(self.macs.0));
                out
            }
        })
    }
}
