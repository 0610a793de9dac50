//! Frames, byte by byte.
//!
//! Sources: IEEE 802.3, 802.1Q; RFC 791 (IPv4), 768 (UDP), 826 (ARP), 8200 (IPv6), 4443 (ICMPv6), 1071 (checksum).

use std::net::{Ipv4Addr, Ipv6Addr};

/// A MAC address.
pub type Mac = [u8; 6];

/// To all stations.
pub const BROADCAST: Mac = [0xff; 6];

/// Numbers of protocols in the ethernet header.
pub const IPV4: u16 = 0x0800;
pub const ARP: u16 = 0x0806;
pub const IPV6: u16 = 0x86dd;
pub const VLAN: u16 = 0x8100;
pub const SERVICE_VLAN: u16 = 0x88a8;

/// Numbers of protocols above IP, and of headers behind IPv6's.
pub const ICMP: u8 = 1;
pub const IGMP: u8 = 2;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ICMPV6: u8 = 58;
pub const FRAGMENT: u8 = 44;
pub const ESP: u8 = 50;
pub const AUTHENTICATION: u8 = 51;
pub const PIM: u8 = 103;
pub const VRRP: u8 = 112;
pub const SCTP: u8 = 132;
pub const HOP_BY_HOP: u8 = 0;
pub const DESTINATION: u8 = 60;

/// How much of a frame's end can tell it from others; builders leave it free where that lies inside of an IP packet: who looks at it on
/// the way may cut off what is behind.
pub const NUMBER: usize = 4;

/// Makes a frame unlike all others: a number of at most 20 bits in the flow label of IPv6, where there is none yet, or at the end.
pub fn number(frame: &mut [u8], number: u32) {
    let bytes = number.to_be_bytes();
    let end = frame.len() - NUMBER;
    match frame {
        [_, _, _, _, _, _, _, _, _, _, _, _, 0x86, 0xdd, 0x60, label @ ..]
            if label.len() > 2 && label[..3] == [0; 3] =>
        {
            label[..3].copy_from_slice(&bytes[1..]);
        }
        _ => frame[end..].copy_from_slice(&bytes),
    }
}

/// In hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// One behind the other.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// What is behind the two MAC addresses: protocol and content.
pub fn typed(protocol: u16, content: &[u8]) -> Vec<u8> {
    join(&[&protocol.to_be_bytes(), content])
}

/// A tag in front of what is behind the MAC addresses.
pub fn tagged(protocol: u16, vid: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&protocol.to_be_bytes(), &vid.to_be_bytes(), rest])
}

/// A UDP datagram.
pub fn udp(ports: (u16, u16), content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + content.len()).unwrap();
    // No checksum: the guard does not look at it, and packet sockets do not either.
    join(&[&ports.0.to_be_bytes(), &ports.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], content])
}

/// An IPv4 packet: source and destination, options, the field with flags and fragment offset, content.
pub fn ipv4(addresses: (Ipv4Addr, Ipv4Addr), options: &[u8], fragment: u16, content: &[u8]) -> Vec<u8> {
    let header = 20 + options.len();
    let total = u16::try_from(header + content.len() + NUMBER).unwrap();
    let mut packet = join(&[
        &[0x40 | u8::try_from(header / 4).unwrap(), 0],
        &total.to_be_bytes(),
        &[0, 1],
        &fragment.to_be_bytes(),
        &[64, UDP, 0, 0],
        &addresses.0.octets(),
        &addresses.1.octets(),
        options,
    ]);
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum);
    join(&[&packet, content, &[0; NUMBER]])
}

/// An IPv4 packet with a UDP datagram.
pub fn ipv4_udp(addresses: (Ipv4Addr, Ipv4Addr), ports: (u16, u16)) -> Vec<u8> {
    typed(IPV4, &ipv4(addresses, &[], 0, &udp(ports, b"xennet")))
}

/// An IPv4 packet of another protocol.
pub fn ipv4_of(protocol: u8, addresses: (Ipv4Addr, Ipv4Addr), fragment: u16, content: &[u8]) -> Vec<u8> {
    let mut packet = ipv4(addresses, &[], fragment, content);
    packet[9] = protocol;
    packet[10..12].copy_from_slice(&[0; 2]);
    let sum = checksum(&packet[..20]);
    packet[10..12].copy_from_slice(&sum);
    typed(IPV4, &packet)
}

/// A message of ICMP or IGMP with its checksum: type, code, and the rest.
pub fn message4(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = join(&[&[kind, 0, 0, 0], body]);
    let sum = checksum(&message);
    message[2..4].copy_from_slice(&sum);
    message
}

/// An authentication header (RFC 4302) with a check value of 12 bytes in front of something.
pub fn authenticated(next: u8, content: &[u8]) -> Vec<u8> {
    join(&[&[next, 4, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1], &[0; 12], content])
}

/// An ARP packet.
pub struct Arp {
    /// Kind of hardware, kind of protocol, length of an address of each.
    pub kinds: (u16, u16, u8, u8),
    /// Request or reply.
    pub operation: u16,
    /// Who speaks.
    pub sender: (Mac, Ipv4Addr),
    /// About whom, or to whom.
    pub target: (Mac, Ipv4Addr),
}

impl Arp {
    /// ARP for IPv4 over ethernet.
    pub fn new(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        Arp { kinds: (1, IPV4, 6, 4), operation, sender, target }
    }

    /// What is behind the two MAC addresses of a frame.
    pub fn bytes(&self) -> Vec<u8> {
        let (hardware, protocol, hardware_length, protocol_length) = self.kinds;
        let packet = join(&[
            &hardware.to_be_bytes(),
            &protocol.to_be_bytes(),
            &[hardware_length, protocol_length],
            &self.operation.to_be_bytes(),
            &self.sender.0,
            &self.sender.1.octets(),
            &self.target.0,
            &self.target.1.octets(),
            // The shortest frame that ethernet allows has this much more.
            &[0; 14],
        ]);
        typed(ARP, &packet)
    }
}

/// An IPv6 packet, with the protocol number behind its ethernet addresses.
pub fn ipv6(addresses: (Ipv6Addr, Ipv6Addr), next: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    let header = join(&[
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        // Neighbour discovery counts with this hop limit only.
        &[next, 255],
        &addresses.0.octets(),
        &addresses.1.octets(),
    ]);
    typed(IPV6, &join(&[&header, content]))
}

/// An IPv6 packet with a UDP datagram.
pub fn ipv6_udp(addresses: (Ipv6Addr, Ipv6Addr), ports: (u16, u16)) -> Vec<u8> {
    ipv6(addresses, UDP, &udp(ports, b"xennet"))
}

/// An ICMPv6 message with its checksum: type, and what is behind code and checksum.
pub fn icmpv6(addresses: (Ipv6Addr, Ipv6Addr), kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = join(&[&[kind, 0, 0, 0], body]);
    let length = u32::try_from(message.len()).unwrap();
    let pseudo = [&addresses.0.octets()[..], &addresses.1.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6]];
    let sum = checksum(&join(&[&join(&pseudo), &message]));
    message[2..4].copy_from_slice(&sum);
    message
}

/// Neighbour solicitation or advertisement: flags, the address that it is about, options with a MAC address, or with six other bytes.
pub fn neighbour(flags: u8, target: Ipv6Addr, options: impl IntoIterator<Item = (u8, Mac)>) -> Vec<u8> {
    let options: Vec<u8> = options.into_iter().flat_map(|(kind, mac)| join(&[&[kind, 1], &mac])).collect();
    join(&[&[flags, 0, 0, 0], &target.octets(), &options])
}

/// A router advertisement with a source link-layer address: hop limit, flags, lifetime of half an hour, no timers.
pub fn router(mac: Mac) -> Vec<u8> {
    join(&[&[64, 0, 0x07, 0x08], &[0; 8], &[1, 1], &mac])
}

/// A multicast listener report, version 2, with one record: whoever sends it listens to a solicited-node group.
pub fn listener(group: Ipv6Addr) -> Vec<u8> {
    join(&[&[0, 0, 0, 1], &[4, 0, 0, 0], &group.octets()])
}

/// An extension header of eight bytes in front of something: with a router alert, as listener reports have it, or padding.
pub fn behind(kind: u8, next: u8, content: &[u8]) -> Vec<u8> {
    let options: [u8; 6] = if kind == HOP_BY_HOP { [5, 2, 0, 0, 1, 0] } else { [1, 4, 0, 0, 0, 0] };
    join(&[&[next, 0], &options, content])
}

/// A fragment header in front of something: offset in units of eight bytes, and whether more follow.
pub fn fragment6(next: u8, offset: u16, more: bool, content: &[u8]) -> Vec<u8> {
    join(&[&[next, 0], &(offset << 3 | u16::from(more)).to_be_bytes(), &[0, 0, 0, 9], content])
}

/// The checksum of IP and of what is above it (RFC 1071).
pub fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// The link-local address that IPv6 makes from a MAC address.
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The multicast group in which neighbours look for this address.
pub fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}
