//! What the tables of bridges do with a frame, byte by byte.
//!
//! A trace asks about a packet as systems send it, of which some bytes are not known. Here every byte is given. So the rules can be asked
//! about frames that only a hostile guest sends.

use super::maker;
use super::nft::{self, End, Place};
use super::packet::{Content, Packet, Tracked};
use super::world::World;
use crate::model::IfName;
use crate::recording::Recording;
use crate::snapshot::{NftFamily, NftHook};

/// Judges frames by what a recording has of the chains of bridges at prerouting, the guard among them.
///
/// ```
/// use xennet_core::recording::Taken;
/// use xennet_core::trace::{Frames, Judged};
/// use xennet_core::{DomId, Host};
///
/// let mut host = Host::fake();
/// host.attach(DomId::new(5)?, &"mac=00:16:3e:00:00:05,bridge=xenbr0,ip=192.0.2.5".parse()?)?;
/// let recording = host.record(Taken::default(), None, Err("there is none here".into()));
/// let frames = Frames::of(&recording);
/// // An ARP reply from another guest's MAC.
/// let mut frame = vec![0xff; 6];
/// frame.extend([0, 0x16, 0x3e, 0, 0, 6, 8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
/// frame.resize(60, 0);
/// assert!(matches!(frames.judge("vif5.0".parse()?, &frame), Judged::Dropped { .. }));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub struct Frames<'a> {
    world: World<'a>,
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Judged {
    /// It goes on; as this, since a rule may have written into it.
    Passes(Vec<u8>),
    /// A rule drops it.
    Dropped {
        /// Which: its table, its chain and its text.
        rule: String,
        /// Whose it is, and why.
        reason: String,
    },
    /// The recording does not tell, and why.
    Unknown(String),
}

impl<'a> Frames<'a> {
    /// By what this recording has of rules.
    pub fn of(recording: &'a Recording) -> Self {
        Frames { world: World::new(recording) }
    }

    /// What becomes of a frame that comes in through this port of a bridge: from the receiver's MAC address on, without a checksum behind
    /// it. Whether the bridge itself has something against it, as its VLANs, is not asked.
    pub fn judge(&self, port: IfName, frame: &[u8]) -> Judged {
        let hook = NftHook::Prerouting;
        let place = Place { world: &self.world, family: NftFamily::Bridge, hook, iif: Some(port), oif: None };
        let mut packet = Packet {
            macs: (None, None),
            framed: true,
            kind: kind(frame),
            content: Content::Frame(RawFrame { bytes: frame.to_vec() }),
            mark: Some(0),
            tracked: Tracked { mark: Some(0), ..Tracked::default() },
        };
        for (_, id, table, chain) in self.world.chains(NftFamily::Bridge, hook) {
            if self.world.is_unread(id) {
                return Judged::Unknown(format!("the recording does not have the rules of table {id}"));
            }
            let outcome = nft::run(place, id, table, chain, &packet);
            let told = outcome.rule.as_ref().map(super::walk::told).unwrap_or_default();
            match outcome.end {
                End::Accept => packet = outcome.packet,
                End::Drop | End::Reject => {
                    let maker = maker::of(id, outcome.rule.as_ref().map_or(chain, |r| &r.chain), table);
                    return Judged::Dropped { rule: told, reason: format!("dropped by a rule of {maker}") };
                }
                End::Unknown { what, .. } => return Judged::Unknown(format!("{told}: {what}")),
            }
        }
        match packet.content {
            Content::Frame(frame) => Judged::Passes(frame.bytes),
            _ => Judged::Unknown("it is no frame any more".into()),
        }
    }
}

/// `PACKET_BROADCAST`, `PACKET_MULTICAST`, `PACKET_OTHERHOST`: a port is no station.
fn kind(frame: &[u8]) -> u8 {
    match frame {
        [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, ..] => 1,
        [first, ..] if first & 1 == 1 => 2,
        _ => 3,
    }
}

/// The bytes of a frame, read as the kernel reads them at a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RawFrame {
    bytes: Vec<u8>,
}

/// What is above IP: its protocol, and where it begins; `None` for a later fragment, of which the kernel reads nothing.
struct Above {
    protocol: u8,
    at: Option<usize>,
}

impl RawFrame {
    const ETHERNET: usize = 14;
    const TAG: usize = 4;

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([*self.bytes.get(at)?, *self.bytes.get(at + 1)?]))
    }

    /// Whether there is a VLAN tag, which the kernel takes out of the frame.
    fn is_tagged(&self) -> bool {
        matches!(self.u16(12), Some(0x8100 | 0x88a8))
    }

    fn network_at(&self) -> usize {
        if self.is_tagged() { RawFrame::ETHERNET + RawFrame::TAG } else { RawFrame::ETHERNET }
    }

    /// The protocol behind the ethernet header and a tag. Below 0x600 it is a length (IEEE 802.3): `ETH_P_802_2`.
    pub(super) fn ethertype(&self) -> u16 {
        match self.u16(self.network_at() - 2) {
            Some(protocol) if protocol >= 0x600 => protocol,
            _ => 4,
        }
    }

    pub(super) fn network(&self) -> &[u8] {
        self.bytes.get(self.network_at()..).unwrap_or(&[])
    }

    pub(super) fn protocol(&self) -> Option<u8> {
        self.above().map(|above| above.protocol)
    }

    pub(super) fn transport(&self) -> Option<&[u8]> {
        let at = self.above()?.at?;
        Some(self.network().get(at..).unwrap_or(&[]))
    }

    /// As `nft_set_pktinfo_ipv4_validate` and `nft_set_pktinfo_ipv6_validate` find it.
    fn above(&self) -> Option<Above> {
        let packet = self.network();
        match self.ethertype() {
            0x0800 => above_ipv4(packet),
            0x86dd => above_ipv6(packet),
            _ => None,
        }
    }

    /// Writes into the network header, and puts the checksum above it right. `false` if it ends before.
    pub(super) fn write(&mut self, offset: usize, new: &[u8]) -> bool {
        let at = self.network_at() + offset;
        let Some(old) = self.bytes.get(at..at + new.len()).map(<[u8]>::to_vec) else { return false };
        let sum = self.above().and_then(|above| {
            let within = match above.protocol {
                6 => 16,
                17 => 6,
                58 => 2,
                _ => return None,
            };
            above.at.map(|at| self.network_at() + at + within)
        });
        let Some(place) = self.bytes.get_mut(at..at + new.len()) else { return false };
        place.copy_from_slice(new);
        if let Some((at, before)) = sum.and_then(|at| Some((at, self.u16(at)?))) {
            // A datagram without a checksum keeps none.
            if self.protocol() != Some(17) || before != 0 {
                let after = follow(before, &old, new).to_be_bytes();
                if let Some(place) = self.bytes.get_mut(at..at + 2) {
                    place.copy_from_slice(&after);
                }
            }
        }
        true
    }
}

/// A checksum after some of what it is made of has changed (RFC 1624).
fn follow(before: u16, old: &[u8], new: &[u8]) -> u16 {
    let words = |bytes: &[u8], turn: u16| -> u32 {
        let word = |w: &[u8]| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)]) ^ turn);
        bytes.chunks(2).map(word).sum()
    };
    let mut sum = u32::from(!before) + words(old, 0xffff) + words(new, 0);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

fn above_ipv4(packet: &[u8]) -> Option<Above> {
    let header = packet.first_chunk::<20>()?;
    let at = usize::from(header[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    if header[0] >> 4 != 4 || at < 20 || total < at || total > packet.len() {
        return None;
    }
    let later = u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0;
    Some(Above { protocol: header[9], at: (!later).then_some(at) })
}

/// As `ipv6_find_hdr`, which stops at an authentication header.
fn above_ipv6(packet: &[u8]) -> Option<Above> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let header = packet.first_chunk::<40>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    if header[0] >> 4 != 6 || 40 + length > packet.len() {
        return None;
    }
    let (mut next, mut at) = (header[6], 40);
    loop {
        if !matches!(next, HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION) {
            return Some(Above { protocol: next, at: Some(at) });
        }
        let here = packet.get(at..).filter(|rest| rest.len() > 1)?;
        match next {
            AUTHENTICATION => return Some(Above { protocol: next, at: Some(at) }),
            FRAGMENT => {
                let place = u16::from_be_bytes([*here.get(2)?, *here.get(3)?]);
                if place & 0xfff8 != 0 {
                    let follows = matches!(here[0], HOP_BY_HOP | ROUTING | FRAGMENT | AUTHENTICATION | DESTINATION);
                    return (!follows).then_some(Above { protocol: here[0], at: None });
                }
                at += 8;
            }
            ROUTING if here.len() < 4 => return None,
            _ => at += (usize::from(here[1]) + 1) * 8,
        }
        next = here[0];
    }
}
