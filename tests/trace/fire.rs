//! Packets, sent and received by raw sockets: each with a number that comes through every translation.
//!
//! Of TCP the number is the sequence number of the segment with SYN, which the receiver's kernel answers, as it answers echo requests; of
//! UDP and ICMP it is in the content. Datagrams are answered here.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};

use crate::stage::Party;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    Icmp,
}

/// A packet.
#[derive(Clone, Debug)]
pub(crate) struct Shot {
    pub(crate) number: u32,
    /// The place of the sender in the list.
    pub(crate) from: usize,
    pub(crate) source: IpAddr,
    pub(crate) target: IpAddr,
    pub(crate) kind: Kind,
    pub(crate) port: u16,
}

/// What was seen of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Who got it, and from whom.
    pub(crate) arrived: Option<(usize, IpAddr)>,
    /// Whether the sender got the answer from whom it asked.
    pub(crate) answered: bool,
}

const MAGIC: u32 = 0x786e_6574;
const SEQUENCE: u32 = 0x5e00_0000;

struct Ear {
    party: usize,
    at: IpAddr,
    kind: Kind,
    socket: OwnedFd,
}

/// The ears of everybody, which are mouths, too; and who takes connections.
pub(crate) struct Ears(Vec<Ear>, Vec<TcpListener>);

/// The ports on which connections are taken.
pub(crate) const PORTS: [u16; 6] = [22, 80, 443, 8080, 20005, 5432];

fn open(at: IpAddr, kind: Kind) -> Option<OwnedFd> {
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let protocol: Protocol = match kind {
        Kind::Tcp => ipproto::TCP,
        Kind::Udp => ipproto::UDP,
        Kind::Icmp if at.is_ipv4() => ipproto::ICMP,
        Kind::Icmp => ipproto::ICMPV6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::RAW, flags, Some(protocol)).unwrap();
    // An address whose link is down cannot be bound, and nobody hears there.
    rustix::net::bind(&socket, &SocketAddr::new(at, 0)).ok()?;
    Some(socket)
}

fn sum(mut sum: u32, bytes: &[u8]) -> u32 {
    for two in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([two[0], two.get(1).copied().unwrap_or(0)]));
    }
    sum
}

fn folded(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    (!u16::try_from(sum).unwrap()).to_be_bytes()
}

fn pseudo(source: IpAddr, target: IpAddr, protocol: u8, length: usize) -> u32 {
    let octets = |ip| match ip {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let both = sum(sum(0, &octets(source)), &octets(target));
    both + u32::from(protocol) + u32::try_from(length).unwrap()
}

fn udp(source: IpAddr, target: IpAddr, ports: (u16, u16), number: u32) -> Vec<u8> {
    let mut out = [ports.0.to_be_bytes(), ports.1.to_be_bytes(), 16u16.to_be_bytes(), [0, 0]].concat();
    out.extend(MAGIC.to_be_bytes());
    out.extend(number.to_be_bytes());
    let check = folded(sum(pseudo(source, target, 17, out.len()), &out));
    out[6..8].copy_from_slice(&check);
    out
}

fn source_port(number: u32) -> u16 {
    33_000 + u16::try_from(number % 20_000).unwrap()
}

impl Shot {
    fn bytes(&self) -> Vec<u8> {
        let own = source_port(self.number);
        match self.kind {
            Kind::Udp => udp(self.source, self.target, (own, self.port), self.number),
            Kind::Tcp => {
                let mut out = [own.to_be_bytes(), self.port.to_be_bytes()].concat();
                out.extend((SEQUENCE | self.number).to_be_bytes());
                out.extend([0; 4]);
                out.extend([0x50, 0x02, 0x20, 0, 0, 0, 0, 0]);
                let check = folded(sum(pseudo(self.source, self.target, 6, out.len()), &out));
                out[16..18].copy_from_slice(&check);
                out
            }
            Kind::Icmp => {
                let mut out = vec![if self.source.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
                out.extend(own.to_be_bytes());
                out.extend([0, 1]);
                out.extend(MAGIC.to_be_bytes());
                out.extend(self.number.to_be_bytes());
                if self.source.is_ipv4() {
                    let check = folded(sum(0, &out));
                    out[2..4].copy_from_slice(&check);
                }
                out
            }
        }
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4).map(|b| u32::from_be_bytes(b.try_into().unwrap()))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2).map(|b| u16::from_be_bytes(b.try_into().unwrap()))
}

/// What a message is.
enum Heard {
    First(u32),
    Answer(u32),
}

/// Answers of UDP have this in their number.
const ANSWER: u32 = 1 << 31;

fn heard(kind: Kind, v4: bool, message: &[u8]) -> Option<Heard> {
    match kind {
        Kind::Tcp => {
            let flags = *message.get(13)?;
            let (sequence, acknowledged) = (u32_at(message, 4)?, u32_at(message, 8)?);
            if flags & 0x16 == 0x02 && sequence & 0xff00_0000 == SEQUENCE {
                return Some(Heard::First(sequence & 0xff_ffff));
            }
            let of = acknowledged.wrapping_sub(1);
            (flags & 0x16 == 0x12 && of & 0xff00_0000 == SEQUENCE).then_some(Heard::Answer(of & 0xff_ffff))
        }
        Kind::Udp => {
            (u32_at(message, 8)? == MAGIC).then_some(())?;
            let number = u32_at(message, 12)?;
            Some(if number & ANSWER == 0 { Heard::First(number) } else { Heard::Answer(number & !ANSWER) })
        }
        Kind::Icmp => {
            (u32_at(message, 8)? == MAGIC).then_some(())?;
            let number = u32_at(message, 12)?;
            match (v4, *message.first()?) {
                (true, 8) | (false, 128) => Some(Heard::First(number)),
                (true, 0) | (false, 129) => Some(Heard::Answer(number)),
                _ => None,
            }
        }
    }
}

/// How long nothing has to come before everything has come.
const QUIET: Duration = Duration::from_millis(150);

impl Ears {
    pub(crate) fn new(parties: &[Party]) -> Ears {
        let (mut all, mut listeners) = (Vec::new(), Vec::new());
        for (party, one) in parties.iter().enumerate() {
            let addresses = &one.all;
            let open_all = || {
                let each = addresses.iter().flat_map(|at| [Kind::Tcp, Kind::Udp, Kind::Icmp].map(|kind| (*at, kind)));
                each.filter_map(|(at, kind)| Some(Ear { party, at, kind, socket: open(at, kind)? })).collect::<Vec<_>>()
            };
            all.extend(one.namespace.run(open_all).unwrap());
            let listen = || PORTS.map(|port| TcpListener::bind(("::", port)).unwrap());
            listeners.extend(one.namespace.run(listen).unwrap());
        }
        Ears(all, listeners)
    }

    /// Sends everything, and waits until nothing comes any more.
    pub(crate) fn fire(&self, shots: &[Shot], patience: Duration) -> BTreeMap<u32, Seen> {
        let mut seen: BTreeMap<u32, Seen> = shots.iter().map(|s| (s.number, Seen::default())).collect();
        let by_number: BTreeMap<u32, &Shot> = shots.iter().map(|s| (s.number, s)).collect();
        for (at, shot) in shots.iter().enumerate() {
            let own = |e: &&Ear| e.party == shot.from && e.at == shot.source && e.kind == shot.kind;
            if let Some(ear) = self.0.iter().find(own) {
                // Without a way it does not leave, and that is what counts.
                let to = SocketAddr::new(shot.target, 0);
                let _ = rustix::net::sendto(&ear.socket, &shot.bytes(), SendFlags::empty(), &to);
            }
            if at % 16 == 15 {
                self.listen(&by_number, &mut seen);
            }
        }
        debug_assert!(!self.1.is_empty());
        let begin = Instant::now();
        let mut last = begin;
        while begin.elapsed() < patience || last.elapsed() < QUIET {
            if self.listen(&by_number, &mut seen) {
                last = Instant::now();
            }
            let all = seen.values().all(|s| s.arrived.is_some() && s.answered);
            if all {
                break;
            }
            std::thread::sleep(Duration::from_millis(3));
        }
        seen
    }

    fn listen(&self, shots: &BTreeMap<u32, &Shot>, seen: &mut BTreeMap<u32, Seen>) -> bool {
        let mut any = false;
        for ear in &self.0 {
            let mut packet = [0; 512];
            while let Ok((_, length, from)) = rustix::net::recvfrom(&ear.socket, &mut packet[..], RecvFlags::empty()) {
                let from = SocketAddr::try_from(from.unwrap()).unwrap().ip();
                let header = if ear.at.is_ipv4() { usize::from(packet[0] & 15) * 4 } else { 0 };
                let message = &packet[header.min(length)..length];
                match heard(ear.kind, ear.at.is_ipv4(), message) {
                    Some(Heard::First(number)) => {
                        let Some(entry) = seen.get_mut(&number) else { continue };
                        // This domain's own packets come to itself, too, by the raw socket of its source.
                        if entry.arrived.is_none() {
                            entry.arrived = Some((ear.party, from));
                            any = true;
                            if ear.kind == Kind::Udp {
                                let ports = (u16_at(message, 2).unwrap(), u16_at(message, 0).unwrap());
                                let told = udp(ear.at, from, ports, number | ANSWER);
                                let to = SocketAddr::new(from, 0);
                                let _ = rustix::net::sendto(&ear.socket, &told, SendFlags::empty(), &to);
                            }
                        }
                    }
                    Some(Heard::Answer(number)) => {
                        let (Some(shot), Some(entry)) = (shots.get(&number), seen.get_mut(&number)) else { continue };
                        let right = ear.party == shot.from && ear.at == shot.source && from == shot.target;
                        any |= right && !entry.answered;
                        entry.answered |= right;
                    }
                    None => {}
                }
            }
        }
        any
    }
}
