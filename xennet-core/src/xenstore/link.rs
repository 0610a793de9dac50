//! The byte stream to the server: where it is, and sending and receiving with a deadline.
//!
//! On a socket the kernel keeps the time (`SO_RCVTIMEO`), so that waiting costs no system call of its own. On the device
//! there is `poll` before each read.
//!
//! A server takes many requests from a socket at once. Linux's device takes **one**: it has one buffer an open file, queues a
//! pointer into it for the thread that talks to xenstored, and puts the next request into the same buffer, whether the first
//! one was sent or not. So how much may be on its way ([`Link::window`]) and how long a message may be ([`Link::longest`])
//! are properties of the link, and whoever sends asks for them.
//!
//! Source: `drivers/xen/xenbus/xenbus_dev_frontend.c`, `xenbus_file_write`; `xenbus_xs.c`, `xenbus_dev_request_and_reply`.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv, send, socket_with,
};

use super::StoreErrorKind;
use super::wire::{HEADER, Header, Kind, PAYLOAD_MAX};
use crate::error::Errno;

/// Where libxenstore looks for the socket if nobody says otherwise.
const RUNDIR: &str = "/var/run/xenstored";

/// The kernel's way to xenstored, by its name of today and its old one.
const DEVICES: [&str; 2] = ["/dev/xen/xenbus", "/proc/xen/xenbus"];

/// How many requests are on their way on a socket at once. Their answers (at most 64 KiB) fit into its buffer, so a server that
/// writes before it reads on is never blocked by us, nor we by it.
const WINDOW: usize = 16;

/// Room for two messages of the greatest length: a whole one always fits behind the remains of another.
const ROOM: usize = 2 * (HEADER + PAYLOAD_MAX);

/// Room at first, which is enough for a vif's nodes. Twice as much is made where it is full.
const LITTLE_ROOM: usize = 1024;

/// A failure before it is known what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    pub(super) errno: Errno,
    pub(super) reason: String,
}

impl Failure {
    pub(super) fn nonsense(reason: impl Into<String>) -> Self {
        Failure { kind: StoreErrorKind::Nonsense, errno: Errno::EPROTO, reason: reason.into() }
    }

    fn died(errno: Errno, reason: &str) -> Self {
        Failure { kind: StoreErrorKind::Died, errno, reason: reason.into() }
    }

    fn system(errno: rustix::io::Errno) -> Self {
        Failure::died(Errno::of(errno), "the connection failed")
    }

    fn late() -> Self {
        Failure {
            kind: StoreErrorKind::TimedOut,
            errno: Errno::ETIMEDOUT,
            reason: "the server gave no answer in time".into(),
        }
    }
}

/// The places where a server may be, in the order in which they are tried.
///
/// An explicit path is the only place. `XENSTORED_PATH` is, too. Else there is the socket (in `XENSTORED_RUNDIR`, or
/// where Xen puts it), then the device of the kernel by its two names.
///
/// Source: `tools/libs/store/xs.c`, `xs_daemon_socket`, `xs_domain_dev`.
pub(super) fn places(path: Option<&Path>, env: &dyn Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    // An empty variable says as little as one that is not set.
    let env = |name| env(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(only) = path.map(Path::to_owned).or_else(|| env("XENSTORED_PATH")) {
        return vec![only];
    }
    let socket = env("XENSTORED_RUNDIR").unwrap_or_else(|| RUNDIR.into()).join("socket");
    std::iter::once(socket).chain(DEVICES.iter().map(PathBuf::from)).collect()
}

/// The next message of the server, as it lies in the buffer.
pub(super) struct Incoming<'a> {
    pub(super) kind: Kind,
    pub(super) request: u32,
    pub(super) transaction: u32,
    pub(super) body: &'a [u8],
    /// Where the body lies, for who needs it when the message is no longer borrowed ([`Link::bytes`]).
    pub(super) range: Range<usize>,
}

/// A byte stream to a server.
#[derive(Debug)]
pub(super) struct Link {
    descriptor: OwnedFd,
    device: bool,
    input: Vec<u8>,
    /// What is in the buffer and not yet taken.
    start: usize,
    end: usize,
    /// How long the kernel waits by itself.
    waits: Duration,
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Link {
    /// Connects to what is at this place: a socket, or else a device.
    pub(super) fn open(place: &Path, deadline: Duration) -> Result<Self, Errno> {
        match Link::connect(place, deadline) {
            // Nobody connects to a device. Asked first, each connection would cost one more system call.
            Err(_) if fs::metadata(place).is_ok_and(|found| !found.file_type().is_socket()) => {
                let mut open = OpenOptions::new();
                // Whatever it is, it is not to become this process's terminal.
                open.read(true).write(true).custom_flags(OFlags::NOCTTY.bits().cast_signed());
                let device = open.open(place).map_err(|e| Errno::from_io(&e))?;
                Ok(Link::new(device.into(), true, deadline))
            }
            connected => connected,
        }
    }

    fn connect(place: &Path, deadline: Duration) -> Result<Self, Errno> {
        let socket =
            socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).map_err(Errno::of)?;
        let link = Link::over(socket, deadline)?;
        let address = SocketAddrUnix::new(place).map_err(Errno::of)?;
        loop {
            // A server that accepts nobody is waited for as long as for an answer.
            match connect(&link.descriptor, &address) {
                Ok(()) => return Ok(link),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return Err(Errno::ETIMEDOUT),
                Err(errno) => return Err(Errno::of(errno)),
            }
        }
    }

    /// A stream socket that is connected already, or is about to be.
    pub(super) fn over(socket: OwnedFd, deadline: Duration) -> Result<Self, Errno> {
        let link = Link::new(socket, false, deadline);
        for timeout in [Timeout::Recv, Timeout::Send] {
            set_socket_timeout(&link.descriptor, timeout, Some(link.waits)).map_err(Errno::of)?;
        }
        Ok(link)
    }

    fn new(descriptor: OwnedFd, device: bool, deadline: Duration) -> Self {
        Link { descriptor, device, input: vec![0; LITTLE_ROOM], start: 0, end: 0, waits: positive(deadline) }
    }

    /// Whether this is the kernel's device. It answers `WATCH` and `UNWATCH` by itself, and forgets their request id.
    pub(super) fn is_device(&self) -> bool {
        self.device
    }

    /// How many requests may be on their way at once: so many are sent, then all their answers are awaited.
    pub(super) fn window(&self) -> usize {
        if self.device { 1 } else { WINDOW }
    }

    /// How long what follows a message's header may be, in bytes. The device's buffer is for both together.
    pub(super) fn longest(&self) -> usize {
        if self.device { PAYLOAD_MAX - HEADER } else { PAYLOAD_MAX }
    }

    /// Sends whole messages: of at most a [window](Self::window), none [too long](Self::longest).
    pub(super) fn send(&mut self, messages: &[u8], until: Instant) -> Result<(), Failure> {
        if self.device {
            return self.send_to_device(messages);
        }
        let mut rest = messages;
        while !rest.is_empty() {
            // Without a signal: a server that went away must not kill who asks it.
            match send(&self.descriptor, rest, SendFlags::NOSIGNAL) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => match left(until) {
                    Some(time) => {
                        set_socket_timeout(&self.descriptor, Timeout::Send, Some(time)).map_err(Failure::system)?
                    }
                    None => return Err(Failure::late()),
                },
                Err(errno @ (rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET)) => {
                    return Err(Failure::died(Errno::of(errno), "the server closed the connection"));
                }
                Err(errno) => return Err(Failure::system(errno)),
            }
        }
        Ok(())
    }

    /// One message in one write. (What followed it in the same write would be thrown away.)
    fn send_to_device(&mut self, message: &[u8]) -> Result<(), Failure> {
        let mut rest = message;
        while !rest.is_empty() {
            match rustix::io::write(&self.descriptor, rest) {
                Ok(0) => return Err(Failure::died(Errno::EIO, "the device takes nothing")),
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // A watch that xenstored refuses: there is no answer, and the buffer is empty again.
                Err(errno) if rest.len() == message.len() => {
                    let reason = "the device refused the request".into();
                    return Err(Failure { kind: StoreErrorKind::Refused, errno: Errno::of(errno), reason });
                }
                Err(errno) => return Err(Failure::system(errno)),
            }
        }
        Ok(())
    }

    /// The next message. `None`: none has come in time; what has come of one stays.
    pub(super) fn receive(&mut self, until: Instant) -> Result<Option<Incoming<'_>>, Failure> {
        let (head, end) = loop {
            let waiting = &self.input[self.start..self.end];
            if let Some(head) = Header::read(waiting) {
                let Some(len) = head.payload() else {
                    return Err(Failure::nonsense(format!(
                        "the server says that its message has {} bytes, but a message has at most {PAYLOAD_MAX}",
                        head.len
                    )));
                };
                let whole = HEADER.saturating_add(len);
                if waiting.len() >= whole {
                    break (head, self.start.saturating_add(whole));
                }
            }
            if !self.more(until)? {
                return Ok(None);
            }
        };
        let Some(kind) = Kind::from_number(head.kind) else {
            return Err(Failure::nonsense(format!("the server sent a message of the unknown type {}", head.kind)));
        };
        let body = self.start.saturating_add(HEADER)..end;
        self.start = end;
        let Header { request, transaction, .. } = head;
        Ok(Some(Incoming { kind, request, transaction, body: &self.input[body.clone()], range: body }))
    }

    /// The body of the message that was received last.
    pub(super) fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.input.get(range).unwrap_or_default()
    }

    /// Fetches some more bytes. `false`: none came in time.
    fn more(&mut self, until: Instant) -> Result<bool, Failure> {
        // The remains of one message to the front: then there is room for all the rest of it.
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start > 0 {
            self.input.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end.saturating_sub(self.start));
        }
        if self.end == self.input.len() {
            self.input.resize(self.end.saturating_mul(2).min(ROOM), 0);
        }
        loop {
            let Some(time) = left(until) else { return Ok(false) };
            let got = if self.device { self.read(time) } else { self.recv(time) };
            match got {
                Ok(0) => return Err(Failure::died(Errno::ECONNRESET, "the server closed the connection")),
                Ok(count) => {
                    self.end = self.end.saturating_add(count);
                    return Ok(true);
                }
                Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
                Err(errno @ rustix::io::Errno::CONNRESET) => {
                    return Err(Failure::died(Errno::of(errno), "the server closed the connection"));
                }
                Err(errno) => return Err(Failure::system(errno)),
            }
        }
    }

    fn recv(&mut self, time: Duration) -> rustix::io::Result<usize> {
        // The kernel's own time is set anew only when it would wait far too long; a little is within what anybody means
        // by a deadline.
        if self.waits > time.saturating_add(self.waits / 8) {
            set_socket_timeout(&self.descriptor, Timeout::Recv, Some(time))?;
            self.waits = time;
        }
        let got = recv(&self.descriptor, &mut self.input[self.end..], RecvFlags::empty());
        match got {
            // Waited in vain, and it was not long enough: from now on longer.
            Err(rustix::io::Errno::AGAIN) if self.waits < time => {
                let rest = positive(time.saturating_sub(self.waits));
                set_socket_timeout(&self.descriptor, Timeout::Recv, Some(rest))?;
                self.waits = rest;
                Err(rustix::io::Errno::AGAIN)
            }
            Err(errno) => Err(errno),
            Ok((count, _)) => Ok(count),
        }
    }

    fn read(&mut self, time: Duration) -> rustix::io::Result<usize> {
        let time = Timespec::try_from(time).map_err(|_| rustix::io::Errno::INVAL)?;
        let mut polled = [PollFd::new(&self.descriptor, PollFlags::IN)];
        if poll(&mut polled, Some(&time))? == 0 {
            return Err(rustix::io::Errno::AGAIN);
        }
        rustix::io::read(&self.descriptor, &mut self.input[self.end..])
    }
}

/// A timeout of nothing would mean to wait for ever.
fn positive(time: Duration) -> Duration {
    // A day is as good as for ever, and fits into every representation of time.
    time.clamp(Duration::from_millis(1), Duration::from_secs(86_400))
}

/// What is left until then, if anything is.
fn left(until: Instant) -> Option<Duration> {
    let time = until.saturating_duration_since(Instant::now());
    (!time.is_zero()).then(|| positive(time))
}

/// The moment when a wait that begins now ends.
pub(super) fn until(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(positive(time)).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: Option<&str>, env: &[(&str, &str)]) -> Vec<String> {
        let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, v)| OsString::from(v));
        places(path.map(Path::new), &lookup).iter().map(|p| p.display().to_string()).collect()
    }

    #[test]
    fn what_is_no_socket_takes_one_request_at_a_time() {
        let short = Duration::from_millis(10);
        // A character device, as the kernel's way to xenstored is one.
        let device = Link::open(Path::new("/dev/null"), short).unwrap();
        assert!(device.is_device());
        assert_eq!((device.window(), device.longest()), (1, PAYLOAD_MAX - HEADER));
        let (one, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        let socket = Link::over(one.into(), short).unwrap();
        assert!(!socket.is_device());
        assert_eq!((socket.window(), socket.longest()), (WINDOW, PAYLOAD_MAX));
    }

    #[test]
    fn the_server_is_looked_for_where_libxenstore_looks() {
        assert_eq!(found(None, &[]), ["/var/run/xenstored/socket", "/dev/xen/xenbus", "/proc/xen/xenbus"]);
        assert_eq!(found(None, &[("XENSTORED_RUNDIR", "/x")]), ["/x/socket", "/dev/xen/xenbus", "/proc/xen/xenbus"]);
        assert_eq!(found(None, &[("XENSTORED_PATH", "/y"), ("XENSTORED_RUNDIR", "/x")]), ["/y"]);
        assert_eq!(found(Some("/z"), &[("XENSTORED_PATH", "/y")]), ["/z"]);
        assert_eq!(found(None, &[("XENSTORED_PATH", "")]).len(), 3);
    }
}
