//! Fields of a packet: what rules match, look up and write.

use serde::{Deserialize, Serialize};

use super::value::NftType;

/// What is looked at in a packet.
///
/// Source: `include/uapi/linux/netfilter/nf_tables.h`, `enum nft_meta_keys`, `nft_payload_bases`, `nft_ct_keys`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NftField {
    /// The name of the link it came in through.
    IifName,
    /// The name of the link it leaves through.
    OifName,
    /// The index of the link it came in through.
    Iif,
    /// The index of the link it leaves through.
    Oif,
    /// The protocol above ethernet as the kernel sees it (`meta protocol`).
    Protocol,
    /// The family it is filtered under (`meta nfproto`); tells IPv4 and IPv6 apart in inet tables.
    NfProto,
    /// The protocol above IP, behind all extension headers (`meta l4proto`).
    L4Proto,
    /// The packet mark.
    Mark,
    /// To whom the frame was sent.
    PktType,
    /// Sender's MAC address.
    EtherSaddr,
    /// Receiver's MAC address.
    EtherDaddr,
    /// The protocol number in the ethernet header.
    EtherType,
    /// ARP: kind of hardware address, 1 for ethernet.
    ArpHtype,
    /// ARP: kind of protocol address, 0x0800 for IPv4.
    ArpPtype,
    /// ARP: length of a hardware address, 6 for ethernet.
    ArpHlen,
    /// ARP: length of a protocol address, 4 for IPv4.
    ArpPlen,
    /// ARP: request or reply.
    ArpOperation,
    /// ARP over ethernet: the sender's MAC address as it says.
    ArpSaddrEther,
    /// ARP over ethernet: the sender's IPv4 address as it says.
    ArpSaddrIp,
    /// ARP over ethernet: the MAC address asked for or answered to.
    ArpDaddrEther,
    /// ARP over ethernet: the IPv4 address asked for or answered to.
    ArpDaddrIp,
    /// IPv4: source.
    IpSaddr,
    /// IPv4: destination.
    IpDaddr,
    /// IPv4: protocol.
    IpProtocol,
    /// IPv6: source.
    Ip6Saddr,
    /// IPv6: destination.
    Ip6Daddr,
    /// IPv6: the header after the first.
    Ip6NextHeader,
    /// TCP, UDP: source port.
    ThSport,
    /// TCP, UDP: destination port.
    ThDport,
    /// ICMP and ICMPv6: the type of the message. The protocol tells which of the two.
    IcmpType,
    /// ICMPv6 neighbour solicitation and advertisement: the address asked for.
    Icmpv6Target,
    /// The states of its connection. Not in bridge tables.
    CtState,
    /// What has become of its connection: whether it was translated, for example. Not in bridge tables.
    CtStatus,
    /// The link that the routing tables would send an answer through, if it is the one it came in by; 0 otherwise
    /// (`fib saddr . iif oif`). In inet, ip and ip6 tables.
    FibSaddrOif,
    /// What the routing tables take the destination for (`fib daddr type`). In inet, ip and ip6 tables.
    FibDaddrType,
    /// Any bytes of a header.
    Payload {
        /// Which header.
        header: NftHeader,
        /// The first byte, from the beginning of the header.
        offset: u8,
        /// How many bytes, 1 to 16.
        bytes: u8,
    },
}

/// A header of a packet, with the kernel's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum NftHeader {
    /// Ethernet.
    Link,
    /// IPv4, IPv6, ARP.
    Network,
    /// TCP, UDP, ICMP.
    Transport,
}

/// Where the bytes of a field come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NftSource {
    /// `meta`, with the kernel's number of the key.
    Meta(u32),
    /// `payload`: header, offset, length.
    Payload(NftHeader, u8, u8),
    /// `ct`, with the kernel's number of the key.
    Ct(u32),
    /// `fib`: result and flags.
    Fib(u32, u32),
}

impl NftField {
    /// Every field but [`NftField::Payload`].
    pub const NAMED: [NftField; 35] = [
        NftField::IifName,
        NftField::OifName,
        NftField::Iif,
        NftField::Oif,
        NftField::Protocol,
        NftField::NfProto,
        NftField::L4Proto,
        NftField::Mark,
        NftField::PktType,
        NftField::EtherSaddr,
        NftField::EtherDaddr,
        NftField::EtherType,
        NftField::ArpHtype,
        NftField::ArpPtype,
        NftField::ArpHlen,
        NftField::ArpPlen,
        NftField::ArpOperation,
        NftField::ArpSaddrEther,
        NftField::ArpSaddrIp,
        NftField::ArpDaddrEther,
        NftField::ArpDaddrIp,
        NftField::IpSaddr,
        NftField::IpDaddr,
        NftField::IpProtocol,
        NftField::Ip6Saddr,
        NftField::Ip6Daddr,
        NftField::Ip6NextHeader,
        NftField::ThSport,
        NftField::ThDport,
        NftField::IcmpType,
        NftField::Icmpv6Target,
        NftField::CtState,
        NftField::CtStatus,
        NftField::FibSaddrOif,
        NftField::FibDaddrType,
    ];

    /// The type of its values.
    pub const fn kind(self) -> NftType {
        match self {
            NftField::IifName | NftField::OifName => NftType::IfName,
            NftField::Iif | NftField::Oif | NftField::FibSaddrOif => NftType::IfIndex,
            NftField::Protocol | NftField::EtherType | NftField::ArpPtype => NftType::EtherType,
            NftField::NfProto => NftType::NfProto,
            NftField::L4Proto | NftField::IpProtocol | NftField::Ip6NextHeader => NftType::InetProto,
            NftField::Mark => NftType::Mark,
            NftField::PktType => NftType::PktType,
            NftField::EtherSaddr | NftField::EtherDaddr | NftField::ArpSaddrEther | NftField::ArpDaddrEther => {
                NftType::EtherAddr
            }
            NftField::ArpOperation => NftType::ArpOp,
            // Plain numbers; the types only say how long they are and how they are ordered.
            NftField::ArpHtype => NftType::InetService,
            NftField::ArpHlen | NftField::ArpPlen => NftType::InetProto,
            NftField::ArpSaddrIp | NftField::ArpDaddrIp | NftField::IpSaddr | NftField::IpDaddr => NftType::Ipv4Addr,
            NftField::Ip6Saddr | NftField::Ip6Daddr | NftField::Icmpv6Target => NftType::Ipv6Addr,
            NftField::ThSport | NftField::ThDport => NftType::InetService,
            NftField::IcmpType => NftType::IcmpType,
            NftField::CtState => NftType::CtState,
            NftField::CtStatus => NftType::CtStatus,
            NftField::FibDaddrType => NftType::FibType,
            NftField::Payload { bytes, .. } => NftType::Other { number: 4, bytes },
        }
    }

    /// Where the bytes come from.
    pub(crate) const fn source(self) -> NftSource {
        use NftHeader::{Link, Network, Transport};
        use NftSource::{Ct, Fib, Meta, Payload};
        match self {
            NftField::Protocol => Meta(1),
            NftField::Mark => Meta(3),
            NftField::Iif => Meta(4),
            NftField::Oif => Meta(5),
            NftField::IifName => Meta(6),
            NftField::OifName => Meta(7),
            NftField::NfProto => Meta(15),
            NftField::L4Proto => Meta(16),
            NftField::PktType => Meta(19),
            NftField::EtherDaddr => Payload(Link, 0, 6),
            NftField::EtherSaddr => Payload(Link, 6, 6),
            NftField::EtherType => Payload(Link, 12, 2),
            NftField::ArpHtype => Payload(Network, 0, 2),
            NftField::ArpPtype => Payload(Network, 2, 2),
            NftField::ArpHlen => Payload(Network, 4, 1),
            NftField::ArpPlen => Payload(Network, 5, 1),
            NftField::ArpOperation => Payload(Network, 6, 2),
            NftField::ArpSaddrEther => Payload(Network, 8, 6),
            NftField::ArpSaddrIp => Payload(Network, 14, 4),
            NftField::ArpDaddrEther => Payload(Network, 18, 6),
            NftField::ArpDaddrIp => Payload(Network, 24, 4),
            NftField::IpProtocol => Payload(Network, 9, 1),
            NftField::IpSaddr => Payload(Network, 12, 4),
            NftField::IpDaddr => Payload(Network, 16, 4),
            NftField::Ip6NextHeader => Payload(Network, 6, 1),
            NftField::Ip6Saddr => Payload(Network, 8, 16),
            NftField::Ip6Daddr => Payload(Network, 24, 16),
            NftField::ThSport => Payload(Transport, 0, 2),
            NftField::ThDport => Payload(Transport, 2, 2),
            NftField::IcmpType => Payload(Transport, 0, 1),
            NftField::Icmpv6Target => Payload(Transport, 8, 16),
            NftField::CtState => Ct(0),
            NftField::CtStatus => Ct(2),
            // NFT_FIB_RESULT_OIF with NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF; NFT_FIB_RESULT_ADDRTYPE with NFTA_FIB_F_DADDR.
            NftField::FibSaddrOif => Fib(1, 0b1001),
            NftField::FibDaddrType => Fib(3, 0b10),
            NftField::Payload { header, offset, bytes } => Payload(header, offset, bytes),
        }
    }

    /// The field that is read from there; `None` for a source without a field.
    pub(crate) fn from_source(source: NftSource) -> Option<NftField> {
        Self::NAMED.into_iter().find(|f| f.source() == source).or(match source {
            NftSource::Payload(header, offset, bytes) => Some(NftField::Payload { header, offset, bytes }),
            _ => None,
        })
    }

    /// The name in nft's language.
    pub fn name(self) -> String {
        let name = match self {
            NftField::IifName => "iifname",
            NftField::OifName => "oifname",
            NftField::Iif => "iif",
            NftField::Oif => "oif",
            NftField::Protocol => "meta protocol",
            NftField::NfProto => "meta nfproto",
            NftField::L4Proto => "meta l4proto",
            NftField::Mark => "meta mark",
            NftField::PktType => "meta pkttype",
            NftField::EtherSaddr => "ether saddr",
            NftField::EtherDaddr => "ether daddr",
            NftField::EtherType => "ether type",
            NftField::ArpHtype => "arp htype",
            NftField::ArpPtype => "arp ptype",
            NftField::ArpHlen => "arp hlen",
            NftField::ArpPlen => "arp plen",
            NftField::ArpOperation => "arp operation",
            NftField::ArpSaddrEther => "arp saddr ether",
            NftField::ArpSaddrIp => "arp saddr ip",
            NftField::ArpDaddrEther => "arp daddr ether",
            NftField::ArpDaddrIp => "arp daddr ip",
            NftField::IpSaddr => "ip saddr",
            NftField::IpDaddr => "ip daddr",
            NftField::IpProtocol => "ip protocol",
            NftField::Ip6Saddr => "ip6 saddr",
            NftField::Ip6Daddr => "ip6 daddr",
            NftField::Ip6NextHeader => "ip6 nexthdr",
            NftField::ThSport => "th sport",
            NftField::ThDport => "th dport",
            NftField::IcmpType => "icmp type",
            NftField::Icmpv6Target => "icmpv6 taddr",
            NftField::CtState => "ct state",
            NftField::CtStatus => "ct status",
            NftField::FibSaddrOif => "fib saddr . iif oif",
            NftField::FibDaddrType => "fib daddr type",
            NftField::Payload { header, offset, bytes } => {
                let header = match header {
                    NftHeader::Link => "ll",
                    NftHeader::Network => "nh",
                    NftHeader::Transport => "th",
                };
                return format!("@{header},{},{}", u32::from(offset) * 8, u32::from(bytes) * 8);
            }
        };
        name.into()
    }
}

impl NftField {
    pub(crate) fn canonical(self) -> NftField {
        NftField::from_source(self.source()).unwrap_or(self)
    }
}
