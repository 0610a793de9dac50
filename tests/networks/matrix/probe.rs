//! One try to reach somebody: whether it arrives, from whom, and whether the answer comes back.
//!
//! At the other end a raw socket listens, behind that end's own filters: so the first packet of a connection counts as arrived
//! although no answer to it finds its way.

use std::fmt;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use xennet_tests::NetNs;

/// Long enough for a machine with much else to do; what arrives, arrives at once.
pub(crate) const LONG: Duration = Duration::from_secs(20);
/// The same where something has been wrong already: what else is wrong shall be told before anybody's patience ends.
pub(crate) const LESS: Duration = Duration::from_secs(2);
/// Long enough for what must not arrive. Beside each such row is one in which the same packet arrives.
const SHORT: Duration = Duration::from_millis(600);
/// How often a packet is sent again: neighbours may not be known yet.
const AGAIN: Duration = Duration::from_millis(100);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(2);

/// By what it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Tcp,
    Udp,
    /// An echo request, which the other end's kernel answers.
    Icmp,
}

impl Kind {
    pub(crate) const ALL: &[Kind] = &[Kind::Tcp, Kind::Udp, Kind::Icmp];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Tcp => "TCP",
            Kind::Udp => "UDP",
            Kind::Icmp => "ICMP",
        })
    }
}

/// From where to where.
#[derive(Clone, Copy)]
pub(crate) struct Path<'a> {
    pub(crate) from: &'a NetNs,
    /// The address that it is sent from, where it is not left to the kernel.
    pub(crate) source: Option<IpAddr>,
    /// Whom it is sent to, which may be somebody who hands it on.
    pub(crate) target: IpAddr,
    pub(crate) to: &'a NetNs,
    /// The receiver's address.
    pub(crate) at: IpAddr,
    /// The port that it is sent to, and the receiver's, where it is not any one.
    pub(crate) ports: Option<(u16, u16)>,
}

/// What is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// Nothing arrives.
    Nothing,
    /// It arrives from this address, and who sent it gets the answer from whom it has asked.
    Answered(IpAddr),
    /// It arrives from this address, and the answer is lost.
    Unanswered(IpAddr),
    /// It arrives from this address; who gets the answer does not matter.
    Arrives(IpAddr),
}

/// What was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    from: Option<IpAddr>,
    answered: bool,
}

impl Expected {
    pub(crate) fn is(self, seen: Seen) -> bool {
        let Seen { from, answered } = seen;
        match self {
            Expected::Nothing => seen == Seen::default(),
            Expected::Answered(ip) => from == Some(ip) && answered,
            Expected::Unanswered(ip) => from == Some(ip) && !answered,
            Expected::Arrives(ip) => from == Some(ip),
        }
    }

    /// Whether more could be seen, this long after the start and after something arrived.
    fn waits(self, seen: Seen, patience: Duration, since_start: Duration, since_arrival: Duration) -> bool {
        if seen.answered && seen.from.is_some() {
            return false;
        }
        match self {
            Expected::Nothing => since_start < SHORT,
            Expected::Arrives(_) if seen.from.is_some() => false,
            Expected::Unanswered(_) if seen.from.is_some() => since_arrival < SHORT,
            Expected::Answered(_) | Expected::Unanswered(_) | Expected::Arrives(_) => since_start < patience,
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expected::Nothing => f.write_str("nothing"),
            Expected::Answered(ip) => write!(f, "{ip}, answered"),
            Expected::Unanswered(ip) => write!(f, "{ip}, no answer"),
            Expected::Arrives(ip) => write!(f, "{ip}"),
        }
    }
}

impl Seen {
    /// In the words of what was expected.
    pub(crate) fn beside(self, expected: Expected) -> String {
        match (self.from, self.answered) {
            (None, false) => "nothing".to_owned(),
            // It came to somebody, and not to whom it should.
            (None, true) => "answered by somebody else".to_owned(),
            (Some(ip), _) if matches!(expected, Expected::Arrives(_)) => ip.to_string(),
            (Some(ip), true) => format!("{ip}, answered"),
            (Some(ip), false) => format!("{ip}, no answer"),
        }
    }
}

/// Tries until all that is expected is seen, or until time is over: for what is to arrive, after this one.
pub(crate) fn probe(kind: Kind, path: &Path<'_>, expected: Expected, patience: Duration) -> Seen {
    // Known to nobody else, in this process or another one.
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut receiver = Receiver::new(kind, path, number);
    let port = path.ports.map_or(receiver.port, |(port, _)| port);
    let mut sender = Sender::new(kind, path, port, number);
    let (start, mut seen, mut arrival) = (Instant::now(), Seen::default(), Instant::now());
    while expected.waits(seen, patience, start.elapsed(), arrival.elapsed()) {
        if let Some(ip) = receiver.look().filter(|_| seen.from.is_none()) {
            (seen.from, arrival) = (Some(ip), Instant::now());
        }
        seen.answered |= sender.look();
        std::thread::sleep(LOOK);
    }
    seen
}

fn words(number: u16) -> [u8; 8] {
    let mut words = *b"xennet\0\0";
    words[6..].copy_from_slice(&number.to_be_bytes());
    words
}

fn socket(kind: Kind, raw: bool, v4: bool) -> OwnedFd {
    let family = if v4 { AddressFamily::INET } else { AddressFamily::INET6 };
    let (kind, protocol): (SocketType, Protocol) = match kind {
        Kind::Tcp if raw => (SocketType::RAW, ipproto::TCP),
        Kind::Tcp => (SocketType::STREAM, ipproto::TCP),
        Kind::Udp => (SocketType::DGRAM, ipproto::UDP),
        Kind::Icmp if v4 => (SocketType::RAW, ipproto::ICMP),
        Kind::Icmp => (SocketType::RAW, ipproto::ICMPV6),
    };
    rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, Some(protocol)).unwrap()
}

/// What has come to a raw socket, without the header of IPv4, which those of IPv6 do not show.
fn received(ear: &OwnedFd, v4: bool) -> Option<(Vec<u8>, IpAddr)> {
    let mut packet = [0; 2048];
    let (_, length, from) = rustix::net::recvfrom(ear, &mut packet[..], RecvFlags::empty()).ok()?;
    let from = SocketAddr::try_from(from.unwrap()).unwrap();
    let header = if v4 { usize::from(packet[0] & 15) * 4 } else { 0 };
    Some((packet[header..length].to_vec(), from.ip()))
}

/// The end that is to be reached.
struct Receiver {
    v4: bool,
    number: u16,
    port: u16,
    ears: Ears,
}

enum Ears {
    /// The raw socket, which sees what nobody can answer, and who answers.
    Tcp(OwnedFd, TcpListener, Vec<TcpStream>),
    Udp(UdpSocket),
    Icmp(OwnedFd),
}

impl Receiver {
    fn new(kind: Kind, path: &Path<'_>, number: u16) -> Self {
        let at = SocketAddr::new(path.at, path.ports.map_or(0, |(_, port)| port));
        let raw = || {
            let ear = socket(kind, true, at.is_ipv4());
            rustix::net::bind(&ear, &SocketAddr::new(path.at, 0)).unwrap();
            ear
        };
        let open = || match kind {
            Kind::Tcp => {
                let listener = TcpListener::bind(at).unwrap();
                listener.set_nonblocking(true).unwrap();
                (listener.local_addr().unwrap().port(), Ears::Tcp(raw(), listener, Vec::new()))
            }
            Kind::Udp => {
                let inbox = UdpSocket::bind(at).unwrap();
                inbox.set_nonblocking(true).unwrap();
                (inbox.local_addr().unwrap().port(), Ears::Udp(inbox))
            }
            Kind::Icmp => (0, Ears::Icmp(raw())),
        };
        let (port, ears) = path.to.run(open).unwrap();
        Receiver { v4: at.is_ipv4(), number, port, ears }
    }

    /// Who has been heard, if anybody has; answers.
    fn look(&mut self) -> Option<IpAddr> {
        let mut heard = None;
        match &mut self.ears {
            Ears::Tcp(ear, listener, streams) => {
                while let Some((segment, from)) = received(ear, self.v4) {
                    // The first segment of a connection: SYN without ACK.
                    let first = segment.len() >= 20 && segment[13] & 0x12 == 2;
                    if first && segment[2..4] == self.port.to_be_bytes() {
                        heard = Some(from);
                    }
                }
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(true).unwrap();
                    streams.push(stream);
                }
                for stream in streams {
                    let mut said = [0; 8];
                    if stream.read(&mut said).is_ok_and(|length| length > 0) {
                        // Who has asked may have gone.
                        let _ = stream.write(&said);
                    }
                }
            }
            Ears::Udp(inbox) => {
                let mut said = [0; 8];
                while let Ok((_, from)) = inbox.recv_from(&mut said) {
                    if said == words(self.number) {
                        heard = Some(from.ip());
                        let _ = inbox.send_to(&said, from);
                    }
                }
            }
            Ears::Icmp(ear) => {
                let request = if self.v4 { 8 } else { 128 };
                while let Some((message, from)) = received(ear, self.v4) {
                    if message.len() == 16 && message[0] == request && message[8..] == words(self.number) {
                        heard = Some(from);
                    }
                }
            }
        }
        heard
    }
}

/// The end that tries.
struct Sender<'a> {
    kind: Kind,
    path: &'a Path<'a>,
    to: SocketAddr,
    number: u16,
    socket: Option<OwnedFd>,
    /// When something was sent last.
    sent: Option<Instant>,
    /// Whether the words are on their way, where a connection has to be there before.
    said: bool,
}

impl<'a> Sender<'a> {
    fn new(kind: Kind, path: &'a Path<'a>, port: u16, number: u16) -> Self {
        let to = SocketAddr::new(path.target, if kind == Kind::Icmp { 0 } else { port });
        Sender { kind, path, to, number, socket: None, sent: None, said: false }
    }

    /// A socket that hears nobody but whom it asks.
    fn open(&self) -> Option<OwnedFd> {
        let open = || {
            let socket = socket(self.kind, false, self.to.is_ipv4());
            if let Some(source) = self.path.source {
                rustix::net::bind(&socket, &SocketAddr::new(source, 0)).unwrap();
            }
            match rustix::net::connect(&socket, &self.to) {
                Ok(()) | Err(rustix::io::Errno::INPROGRESS) => Some(socket),
                // Without a way it does not leave, and that is what counts.
                Err(_) => None,
            }
        };
        self.path.from.run(open).unwrap()
    }

    /// Sends where it is time; whether the answer has come.
    fn look(&mut self) -> bool {
        let due = self.sent.is_none_or(|sent| sent.elapsed() >= AGAIN);
        if due && self.socket.is_none() {
            (self.socket, self.sent, self.said) = (self.open(), Some(Instant::now()), false);
        }
        let Some(socket) = &self.socket else { return false };
        let words = words(self.number);
        if self.kind == Kind::Tcp {
            // The kernel repeats what is lost. What is refused is tried again.
            let refused = |e| !matches!(e, rustix::io::Errno::AGAIN | rustix::io::Errno::NOTCONN);
            if !self.said {
                match rustix::net::send(socket, &words, SendFlags::NOSIGNAL) {
                    Ok(_) => self.said = true,
                    Err(e) if refused(e) => self.socket = None,
                    Err(_) => {}
                }
                return false;
            }
            let mut answer = [0; 8];
            return match rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()) {
                Ok((_, length)) if length == words.len() => answer == words,
                Err(e) if !refused(e) => false,
                Ok(_) | Err(_) => {
                    self.socket = None;
                    false
                }
            };
        }
        if due || !self.said {
            (self.sent, self.said) = (Some(Instant::now()), true);
            // What the way says of an earlier one is told here.
            let _ = rustix::net::send(socket, &self.message(), SendFlags::empty());
        }
        let mut answer = [0; 256];
        while let Ok((_, length)) = rustix::net::recv(socket, &mut answer[..], RecvFlags::empty()) {
            if answer[..length].ends_with(&words) && (self.kind == Kind::Udp || self.is_reply(&answer)) {
                return true;
            }
        }
        false
    }

    /// Whether it is an echo reply: type 0 behind the header of IPv4, or type 129.
    fn is_reply(&self, answer: &[u8]) -> bool {
        if self.to.is_ipv4() { answer[usize::from(answer[0] & 15) * 4] == 0 } else { answer[0] == 129 }
    }

    /// A datagram's words, or an echo request around them.
    fn message(&self) -> Vec<u8> {
        let words = words(self.number);
        if self.kind == Kind::Udp {
            return words.to_vec();
        }
        let mut message = vec![if self.to.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
        message.extend(self.number.to_be_bytes());
        message.extend([0, 1]);
        message.extend(words);
        if self.to.is_ipv4() {
            let sum: u32 = message.chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
            let folded = (sum & 0xffff) + (sum >> 16);
            message[2..4].copy_from_slice(&(!(folded as u16 + (folded >> 16) as u16)).to_be_bytes());
        }
        message
    }
}
