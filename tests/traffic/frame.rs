//! Frames, byte by byte.
//!
//! Sources: IEEE 802.3, 802.1Q; RFC 791 (IPv4), 768 (UDP), 826 (ARP), 8200 (IPv6), 4443 (ICMPv6), 1071 (checksum).

use std::net::{Ipv4Addr, Ipv6Addr};

pub(crate) type Mac = [u8; 6];

pub(crate) const BROADCAST: Mac = [0xff; 6];

pub(crate) const IPV4: u16 = 0x0800;
pub(crate) const ARP: u16 = 0x0806;
pub(crate) const IPV6: u16 = 0x86dd;
pub(crate) const VLAN: u16 = 0x8100;
pub(crate) const SERVICE_VLAN: u16 = 0x88a8;

pub(crate) const UDP: u8 = 17;
pub(crate) const ICMPV6: u8 = 58;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const DESTINATION: u8 = 60;

/// How much of a frame's end tells it from others; builders leave it free. It lies inside of IP packets: who looks at them on
/// the way may cut off what is behind.
pub(crate) const NUMBER: usize = 4;

pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// What is behind the two MAC addresses: protocol and content.
pub(crate) fn typed(protocol: u16, content: &[u8]) -> Vec<u8> {
    join(&[&protocol.to_be_bytes(), content])
}

/// A tag in front of what is behind the MAC addresses.
pub(crate) fn tagged(protocol: u16, vid: u16, rest: &[u8]) -> Vec<u8> {
    join(&[&protocol.to_be_bytes(), &vid.to_be_bytes(), rest])
}

pub(crate) fn udp(ports: (u16, u16), content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + content.len()).unwrap();
    // No checksum: the guard does not look at it, and packet sockets do not either.
    join(&[&ports.0.to_be_bytes(), &ports.1.to_be_bytes(), &length.to_be_bytes(), &[0, 0], content])
}

/// An IPv4 packet: source and destination, options, the field with flags and fragment offset, content.
pub(crate) fn ipv4(addresses: (Ipv4Addr, Ipv4Addr), options: &[u8], fragment: u16, content: &[u8]) -> Vec<u8> {
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
pub(crate) fn ipv4_udp(addresses: (Ipv4Addr, Ipv4Addr), ports: (u16, u16)) -> Vec<u8> {
    typed(IPV4, &ipv4(addresses, &[], 0, &udp(ports, b"xennet")))
}

pub(crate) struct Arp {
    /// Kind of hardware, kind of protocol, length of an address of each.
    pub(crate) kinds: (u16, u16, u8, u8),
    pub(crate) operation: u16,
    pub(crate) sender: (Mac, Ipv4Addr),
    pub(crate) target: (Mac, Ipv4Addr),
}

impl Arp {
    pub(crate) fn new(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr)) -> Self {
        Arp { kinds: (1, IPV4, 6, 4), operation, sender, target }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
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
pub(crate) fn ipv6(addresses: (Ipv6Addr, Ipv6Addr), next: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len() + NUMBER).unwrap();
    let header = join(&[
        &[0x60, 0, 0, 0],
        &length.to_be_bytes(),
        // Neighbour discovery counts with this hop limit only.
        &[next, 255],
        &addresses.0.octets(),
        &addresses.1.octets(),
    ]);
    typed(IPV6, &join(&[&header, content, &[0; NUMBER]]))
}

pub(crate) fn ipv6_udp(addresses: (Ipv6Addr, Ipv6Addr), ports: (u16, u16)) -> Vec<u8> {
    ipv6(addresses, UDP, &udp(ports, b"xennet"))
}

/// An ICMPv6 message with its checksum: type, and what is behind code and checksum.
pub(crate) fn icmpv6(addresses: (Ipv6Addr, Ipv6Addr), kind: u8, body: &[u8]) -> Vec<u8> {
    let mut message = join(&[&[kind, 0, 0, 0], body]);
    let length = u32::try_from(message.len()).unwrap();
    let pseudo = [&addresses.0.octets()[..], &addresses.1.octets(), &length.to_be_bytes(), &[0, 0, 0, ICMPV6]];
    let sum = checksum(&join(&[&join(&pseudo), &message]));
    message[2..4].copy_from_slice(&sum);
    message
}

/// Neighbour solicitation or advertisement: flags, the address that it is about, an option with a MAC address.
pub(crate) fn neighbour(flags: u8, target: Ipv6Addr, option: Option<(u8, Mac)>) -> Vec<u8> {
    let option = option.map(|(kind, mac)| join(&[&[kind, 1], &mac])).unwrap_or_default();
    join(&[&[flags, 0, 0, 0], &target.octets(), &option])
}

/// A router advertisement with a source link-layer address: hop limit, flags, lifetime of half an hour, no timers.
pub(crate) fn router(mac: Mac) -> Vec<u8> {
    join(&[&[64, 0, 0x07, 0x08], &[0; 8], &[1, 1], &mac])
}

/// A multicast listener report, version 2, with one record: whoever sends it listens to a solicited-node group.
pub(crate) fn listener(group: Ipv6Addr) -> Vec<u8> {
    join(&[&[0, 0, 0, 1], &[4, 0, 0, 0], &group.octets()])
}

/// An extension header of eight bytes in front of something: with a router alert, as listener reports have it, or padding.
pub(crate) fn behind(kind: u8, next: u8, content: &[u8]) -> Vec<u8> {
    let options: [u8; 6] = if kind == HOP_BY_HOP { [5, 2, 0, 0, 1, 0] } else { [1, 4, 0, 0, 0, 0] };
    join(&[&[next, 0], &options, content])
}

/// A fragment header in front of something: offset in units of eight bytes, and whether more follow.
pub(crate) fn fragment6(next: u8, offset: u16, more: bool, content: &[u8]) -> Vec<u8> {
    join(&[&[next, 0], &(offset << 3 | u16::from(more)).to_be_bytes(), &[0, 0, 0, 9], content])
}

pub(crate) fn checksum(bytes: &[u8]) -> [u8; 2] {
    let words = bytes.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

/// The link-local address that IPv6 makes from a MAC address.
pub(crate) fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// The multicast group in which neighbours look for this address.
pub(crate) fn solicited(target: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = target.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}
