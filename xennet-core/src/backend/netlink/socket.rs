//! One blocking netlink socket, whatever the protocol: send, read the answer, check that it is the answer.
//!
//! The kernel handles a request inside `send(2)`, so the answer is there when `send` returns: a request costs two
//! system calls. Waiting for it is bounded all the same ([`DEADLINE`]); waiting for the kernel's own locks within
//! `send` cannot be bounded by anybody.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::sys;
use rustix::buffer::spare_capacity;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::extack;
use super::needs::{self, Feature};
use super::refusal::Refusal;
use super::wire::{ACK, DONE, DUMP, DUMP_INTR, ERROR, HEADER, MULTI, Message, Messages, REQUEST};
use crate::error::Errno;

/// How long an answer is waited for. The kernel answers within `send`; only a lost answer takes this long.
const DEADLINE: Duration = Duration::from_secs(5);

/// Room for one datagram. The kernel lists in pieces of at most 32 KiB (`netlink_dump`); a single object is smaller
/// than 64 KiB, the most that an attribute can say of its length.
const ROOM: usize = 128 * 1024;

/// How often a listing is begun anew when what it lists changes meanwhile.
const TRIES: u32 = 32;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Links, addresses, routes, rules, neighbours (`NETLINK_ROUTE`).
    Route,
    /// nftables (`NETLINK_NETFILTER`).
    Netfilter,
}

impl Protocol {
    const fn number(self) -> isize {
        match self {
            Protocol::Route => sys::protocols::NETLINK_ROUTE,
            Protocol::Netfilter => sys::protocols::NETLINK_NETFILTER,
        }
    }
}

/// A refused message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BatchRefusal {
    /// Which message of the datagram, from 0: the first that was refused.
    pub(crate) index: usize,
    /// Why.
    pub(crate) refusal: Refusal,
}

/// A blocking netlink socket. It belongs to the network namespace in which it was opened, whichever thread uses it.
#[derive(Debug)]
pub(crate) struct Socket {
    socket: Arc<sys::Socket>,
    seq: u32,
    /// The last datagram, and room for the next one.
    input: Vec<u8>,
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    ///
    /// # Errors
    /// The system's refusal: no netlink of this protocol in the kernel (`EPROTONOSUPPORT`), too many open files.
    pub(crate) fn open(protocol: Protocol) -> Result<Self, Refusal> {
        let io = |e: std::io::Error| Refusal::new(Errno::from_io(&e));
        let socket = sys::Socket::new(protocol.number()).map_err(io)?;
        // Connected to the kernel: messages from other processes are refused by the kernel itself. It also chooses the port
        // number.
        socket.connect(&sys::SocketAddr::new(0, 0)).map_err(io)?;
        socket.set_ext_ack(true).map_err(io)?;
        socket.set_cap_ack(true).map_err(io)?;
        if protocol == Protocol::Route {
            // Listings filtered by the kernel (one link's addresses) instead of by us.
            socket.set_netlink_get_strict_chk(true).map_err(|e| Socket::without_filters(io(e)))?;
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(DEADLINE))?;
        Ok(Socket { socket: Arc::new(socket), seq: 0, input: Vec::with_capacity(ROOM) })
    }

    /// The refusal of an option that older kernels do not know.
    fn without_filters(refusal: Refusal) -> Refusal {
        match refusal.errno {
            Errno::ENOPROTOOPT => Feature::FilteredListings.lacking(refusal, &needs::release()),
            _ => refusal,
        }
    }

    /// The descriptor by itself, for what is asked by `ioctl` while a listing is read.
    pub(crate) fn descriptor(&self) -> Arc<impl AsFd + use<>> {
        Arc::clone(&self.socket)
    }

    /// Sends one message and waits for its acknowledgement. `REQUEST` and `ACK` are added to its flags.
    ///
    /// # Errors
    /// The kernel's refusal.
    pub(crate) fn request(&mut self, message: &mut [u8]) -> Result<(), Refusal> {
        add_flags(message, ACK);
        self.batch(message).map_err(|refused| refused.refusal)
    }

    /// Sends several messages in one datagram; waits for one answer to each that has `ACK` among its flags, and at
    /// least one must have. `REQUEST` is added to each.
    ///
    /// No more than 128 answers fit into the default receive buffer. NETLINK_ROUTE goes on behind a refused message and
    /// keeps what it did; NETLINK_NETFILTER does all or nothing.
    ///
    /// # Errors
    /// The first message that was refused.
    pub(crate) fn batch(&mut self, datagram: &mut [u8]) -> Result<(), BatchRefusal> {
        let whole = |refusal| BatchRefusal { index: 0, refusal };
        let first = self.seq.wrapping_add(1);
        let (count, mut awaited) = number(datagram, first).map_err(whole)?;
        self.seq = self.seq.wrapping_add(count);
        self.send(datagram).map_err(whole)?;
        let mut refused: Option<BatchRefusal> = None;
        while awaited > 0 || (refused.is_some() && count > 1) {
            // Behind a refusal it is unknown how many answers come, but all that come are there already.
            let flags = if refused.is_some() { RecvFlags::DONTWAIT } else { RecvFlags::empty() };
            match self.receive(flags) {
                Ok(()) => {}
                Err(Refusal { errno: Errno::EAGAIN, .. }) if refused.is_some() => break,
                Err(refusal) => return Err(whole(refusal)),
            }
            for message in Messages(&self.input) {
                let index = message.seq.wrapping_sub(first);
                if index >= count || message.kind != ERROR {
                    continue;
                }
                awaited = awaited.saturating_sub(1);
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                if let Err(refusal) = extack::read(&message)
                    && refused.as_ref().is_none_or(|earlier| index < earlier.index)
                {
                    refused = Some(BatchRefusal { index, refusal });
                }
            }
        }
        refused.map_or(Ok(()), Err)
    }

    /// Asks for one object and reads the answer.
    ///
    /// # Errors
    /// The kernel's refusal: `ENODEV` or `ENOENT` for an object that does not exist.
    pub(crate) fn get<T>(&mut self, message: &mut [u8], read: impl FnOnce(&Message<'_>) -> T) -> Result<T, Refusal> {
        self.seq = self.seq.wrapping_add(1);
        number(message, self.seq)?;
        self.send(message)?;
        loop {
            self.receive(RecvFlags::empty())?;
            for message in Messages(&self.input) {
                if message.seq != self.seq {
                    continue;
                }
                if message.kind != ERROR {
                    return Ok(read(&message));
                }
                extack::read(&message)?;
                return Err(
                    Refusal::new(Errno::EIO).with_message("the kernel acknowledged the question and gave no answer")
                );
            }
        }
    }

    /// Asks for a listing and reads every object of it. `DUMP` is added to the flags. A listing that the kernel marks
    /// as interrupted is thrown away and begun anew, up to [`TRIES`] times: the one place where this is done.
    ///
    /// # Errors
    /// The kernel's refusal; `EINTR` for a listing that was interrupted again and again.
    pub(crate) fn dump<T>(
        &mut self,
        message: &mut [u8],
        mut read: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Result<Vec<T>, Refusal> {
        add_flags(message, DUMP);
        for _ in 0..TRIES {
            let mut found = Vec::new();
            match self.dump_once(message, |object| found.extend(read(object))) {
                Ok(()) => return Ok(found),
                Err(Refusal { errno: Errno::EINTR, .. }) => {}
                Err(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::new(Errno::EINTR).with_message(format!(
            "what was listed changed meanwhile, {TRIES} times in a row; try again when it is calmer"
        )))
    }

    /// One try. Reads to the end even when it knows that it was for nothing, so that the next request finds no remains.
    fn dump_once(&mut self, message: &mut [u8], mut read: impl FnMut(&Message<'_>)) -> Result<(), Refusal> {
        self.seq = self.seq.wrapping_add(1);
        number(message, self.seq)?;
        self.send(message)?;
        let mut interrupted = false;
        loop {
            self.receive(RecvFlags::empty())?;
            for message in Messages(&self.input) {
                if message.seq != self.seq {
                    continue;
                }
                interrupted |= message.flags & DUMP_INTR != 0;
                match message.kind {
                    DONE | ERROR => {
                        extack::read(&message)?;
                        return if interrupted { Err(Refusal::new(Errno::EINTR)) } else { Ok(()) };
                    }
                    _ => read(&message),
                }
                if message.flags & MULTI == 0 {
                    return Ok(());
                }
            }
        }
    }

    fn send(&self, datagram: &[u8]) -> Result<(), Refusal> {
        loop {
            match send(&self.socket, datagram, SendFlags::empty()) {
                Ok(sent) if sent == datagram.len() => return Ok(()),
                Ok(_) => return Err(Refusal::new(Errno::EIO).with_message("the request was sent in part only")),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// One datagram, in place of the last one.
    fn receive(&mut self, flags: RecvFlags) -> Result<(), Refusal> {
        self.input.clear();
        loop {
            // With MSG_TRUNC the true length comes back even when the buffer was too short.
            match recv(&self.socket, spare_capacity(&mut self.input), flags | RecvFlags::TRUNC) {
                Ok((read, len)) if len == read => return Ok(()),
                Ok((_, len)) => {
                    return Err(Refusal::new(Errno::EMSGSIZE)
                        .with_message(format!("the kernel's answer has {len} bytes, there is room for {ROOM}")));
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if !flags.contains(RecvFlags::DONTWAIT) => {
                    return Err(Refusal::new(Errno::ETIMEDOUT)
                        .with_message(format!("the kernel gave no answer within {} s", DEADLINE.as_secs())));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Adds flags to the first message.
fn add_flags(message: &mut [u8], flags: u16) {
    if let Some(field) = message.get_mut(6..8) {
        let old = u16::from_ne_bytes([field[0], field[1]]);
        field.copy_from_slice(&(old | flags).to_ne_bytes());
    }
}

/// Gives the messages of a datagram their sequence numbers, from `seq`, and the flag `REQUEST`. Returns how many they
/// are, and how many of them want an acknowledgement.
fn number(datagram: &mut [u8], mut seq: u32) -> Result<(u32, u32), Refusal> {
    let (mut count, mut acks) = (0_u32, 0_u32);
    let mut rest = datagram;
    while rest.len() >= HEADER {
        let len = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let len = usize::try_from(len).ok().and_then(super::wire::aligned).filter(|len| *len >= HEADER);
        add_flags(rest, REQUEST);
        rest[8..12].copy_from_slice(&seq.to_ne_bytes());
        acks = acks.saturating_add(u32::from(u16::from_ne_bytes([rest[6], rest[7]]) & ACK != 0));
        count = count.saturating_add(1);
        seq = seq.wrapping_add(1);
        rest = len.and_then(|len| rest.get_mut(len..)).unwrap_or(&mut []);
    }
    if count == 0 {
        return Err(Refusal::new(Errno::EINVAL).with_message("a request without a message"));
    }
    Ok((count, acks))
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_route::RouteNetlinkMessage;
    use rtnetlink::packet_route::link::{LinkAttribute, LinkMessage};

    use super::super::wire::{self, encode};
    use super::*;

    fn by_name(name: &str) -> Vec<u8> {
        let mut link = LinkMessage::default();
        link.attributes.push(LinkAttribute::IfName(name.into()));
        let mut out = Vec::new();
        encode(&mut out, 0, &RouteNetlinkMessage::GetLink(link));
        out
    }

    /// A change of a link that cannot exist: refused whoever asks, changes nothing.
    fn of_no_link() -> Vec<u8> {
        let mut link = LinkMessage::default();
        link.header.index = i32::MAX.unsigned_abs();
        let mut out = Vec::new();
        encode(&mut out, ACK, &RouteNetlinkMessage::SetLink(link));
        out
    }

    #[test]
    fn one_object_is_fetched_and_a_missing_one_is_refused() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let index = |m: &Message<'_>| (m.kind, wire::u32(&m.body[4..]));
        assert_eq!(socket.get(&mut by_name("lo"), index), Ok((16, Some(1))));
        assert_eq!(socket.get(&mut by_name("no-such-link"), index).unwrap_err().errno, Errno::ENODEV);
        // The refusal left nothing behind that the next question would stumble over.
        assert_eq!(socket.get(&mut by_name("lo"), index), Ok((16, Some(1))));
    }

    #[test]
    fn a_listing_has_every_object_once_and_ends() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut message = Vec::new();
        encode(&mut message, 0, &RouteNetlinkMessage::GetLink(LinkMessage::default()));
        for _ in 0..3 {
            let mut found = socket.dump(&mut message, |m| wire::u32(&m.body[4..])).unwrap();
            assert!(found.contains(&1), "the loopback link is always there");
            let all = found.len();
            found.dedup();
            assert_eq!(found.len(), all);
        }
    }

    #[test]
    fn strict_checking_is_on_and_its_sentence_arrives() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut link = LinkMessage::default();
        link.header.index = 1;
        let mut message = Vec::new();
        encode(&mut message, 0, &RouteNetlinkMessage::GetLink(link));
        let refusal = socket.dump(&mut message, |_| Some(())).unwrap_err();
        assert_eq!(refusal.errno, Errno::EINVAL);
        assert_eq!(refusal.message.as_deref(), Some("Filter by device index not supported for link dumps"));
    }

    #[test]
    fn a_batch_names_the_first_refused_message() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        let mut datagram = by_name("lo");
        // A get without ACK in front: its answer must not be taken for an acknowledgement.
        datagram.extend(of_no_link());
        datagram.extend(of_no_link());
        let refused = socket.batch(&mut datagram).unwrap_err();
        assert_eq!(refused.index, 1);
        // An ordinary user is refused before the link is looked for.
        assert!(matches!(refused.refusal.errno, Errno::ENODEV | Errno::EPERM), "{refused:?}");
        assert_eq!(socket.get(&mut by_name("lo"), |m| m.kind), Ok(16));
    }

    #[test]
    fn answers_to_earlier_questions_are_passed_over() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        for _ in 0..3 {
            // Asked and never read, as after a deadline that ran out.
            let mut unread = by_name("lo");
            number(&mut unread, 0xdead_0000).unwrap();
            socket.send(&unread).unwrap();
        }
        assert_eq!(socket.get(&mut by_name("no-such-link"), |m| m.kind).unwrap_err().errno, Errno::ENODEV);
        let mut late = of_no_link();
        number(&mut late, 0xdead_0000).unwrap();
        socket.send(&late).unwrap();
        let mut message = Vec::new();
        encode(&mut message, 0, &RouteNetlinkMessage::GetLink(LinkMessage::default()));
        assert!(socket.dump(&mut message, |m| Some(m.kind)).unwrap().iter().all(|kind| *kind == 16));
    }

    #[test]
    fn malformed_requests_are_refused_by_whoever_sees_it_first() {
        let mut socket = Socket::open(Protocol::Route).unwrap();
        assert_eq!(socket.request(&mut []).unwrap_err().errno, Errno::EINVAL);
        assert_eq!(socket.request(&mut [0; 15]).unwrap_err().errno, Errno::EINVAL);
        let mut message = by_name("lo");
        // A kind that does not exist.
        message[4..6].copy_from_slice(&999_u16.to_ne_bytes());
        assert_eq!(socket.request(&mut message).unwrap_err().errno, Errno::EOPNOTSUPP);
        assert_eq!(socket.get(&mut by_name("lo"), |m| m.kind), Ok(16));
    }

    #[test]
    fn messages_are_numbered_and_counted() {
        let mut datagram = of_no_link();
        datagram.extend(by_name("lo"));
        assert_eq!(number(&mut datagram, u32::MAX).unwrap(), (2, 1));
        let seqs: Vec<u32> = Messages(&datagram).map(|m| m.seq).collect();
        assert_eq!(seqs, [u32::MAX, 0]);
        assert!(Messages(&datagram).all(|m| m.flags & REQUEST != 0));
        // A length that leads nowhere ends the walk.
        datagram[..4].copy_from_slice(&3_u32.to_ne_bytes());
        assert_eq!(number(&mut datagram, 1).unwrap().0, 1);
        datagram[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(number(&mut datagram, 1).unwrap().0, 1);
    }
}
