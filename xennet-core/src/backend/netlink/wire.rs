//! Netlink's framing: messages in a datagram, attributes in a message. Reading never fails and never panics: what does
//! not fit ends the walk, because a listing must not fail for a part that nobody asked for.
//!
//! Source: `include/uapi/linux/netlink.h` (`struct nlmsghdr`, `struct nlattr`), `man 7 netlink`.

use rtnetlink::packet_core::NetlinkSerializable;
use rtnetlink::packet_route::RouteNetlinkMessage;

/// Bytes of `struct nlmsghdr`: length, kind, flags, sequence number, port.
pub(crate) const HEADER: usize = 16;

/// `NLMSG_ERROR`: a refusal, or with number 0 an acknowledgement.
pub(crate) const ERROR: u16 = 2;
/// `NLMSG_DONE`: the end of a listing.
pub(crate) const DONE: u16 = 3;

/// `NLM_F_REQUEST`.
pub(crate) const REQUEST: u16 = 0x1;
/// `NLM_F_MULTI`: one of several messages, `NLMSG_DONE` comes at the end.
pub(crate) const MULTI: u16 = 0x2;
/// `NLM_F_ACK`: an acknowledgement is wanted.
pub(crate) const ACK: u16 = 0x4;
/// `NLM_F_DUMP_INTR`: the listed objects changed while they were listed.
pub(crate) const DUMP_INTR: u16 = 0x10;
/// `NLM_F_DUMP`: a listing is wanted (`NLM_F_ROOT | NLM_F_MATCH`).
pub(crate) const DUMP: u16 = 0x300;
/// `NLM_F_REPLACE`: what exists makes way for it.
pub(crate) const REPLACE: u16 = 0x100;
/// `NLM_F_EXCL`: refuse if it exists.
pub(crate) const EXCL: u16 = 0x200;
/// `NLM_F_CREATE`: make it if it does not exist.
pub(crate) const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: behind what is like it.
pub(crate) const APPEND: u16 = 0x800;
/// `NLM_F_CAPPED`: the refused request is not repeated in the answer beyond its header.
pub(crate) const CAPPED: u16 = 0x100;
/// `NLM_F_ACK_TLVS`: attributes with the kernel's own words follow.
pub(crate) const ACK_TLVS: u16 = 0x200;

/// Attribute kinds carry two flags on top (`NLA_F_NESTED`, `NLA_F_NET_BYTEORDER`).
const KIND_MASK: u16 = 0x3fff;

/// The next multiple of four, to which messages and attributes are padded; `None` when there is none.
pub(crate) fn aligned(len: usize) -> Option<usize> {
    Some(len.checked_add(3)? & !3)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at.checked_add(2)?)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at.checked_add(4)?)?.try_into().ok().map(u32::from_ne_bytes)
}

/// One message of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// What it is (`RTM_…`, `NLMSG_…`).
    pub(crate) kind: u16,
    /// `NLM_F_…`.
    pub(crate) flags: u16,
    /// The number of the request that it answers.
    pub(crate) seq: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

/// The messages of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let len = usize::try_from(u32_at(self.0, 0)?).ok()?;
        let body = self.0.get(HEADER..len)?;
        let message = Message { kind: u16_at(self.0, 4)?, flags: u16_at(self.0, 6)?, seq: u32_at(self.0, 8)?, body };
        self.0 = aligned(len).and_then(|next| self.0.get(next..)).unwrap_or(&[]);
        Some(message)
    }
}

/// The attributes of a message or of a nest: kind without its flags, and value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attributes<'a>(&'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes that follow a fixed header of this many bytes.
    pub(crate) fn after(body: &'a [u8], header: usize) -> Self {
        Attributes(body.get(header..).unwrap_or(&[]))
    }

    /// The attributes in a nest.
    pub(crate) fn of(nest: &'a [u8]) -> Self {
        Attributes(nest)
    }

    /// The value of the first attribute of this kind.
    pub(crate) fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find_map(|(k, value)| (k == kind).then_some(value))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let len = usize::from(u16_at(self.0, 0)?);
        let kind = u16_at(self.0, 2)? & KIND_MASK;
        let value = self.0.get(4..len)?;
        self.0 = aligned(len).and_then(|next| self.0.get(next..)).unwrap_or(&[]);
        Some((kind, value))
    }
}

/// A one-octet value.
pub(crate) fn u8(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

/// A value of two octets in the machine's order.
pub(crate) fn u16(value: &[u8]) -> Option<u16> {
    u16_at(value, 0)
}

/// A value of four octets in the machine's order.
pub(crate) fn u32(value: &[u8]) -> Option<u32> {
    u32_at(value, 0)
}

/// A text up to its final zero, as the kernel writes it.
pub(crate) fn text(value: &[u8]) -> &[u8] {
    value.split(|b| *b == 0).next().unwrap_or(&[])
}

/// Writes a message of rtnetlink's into `out`, in place of what was there. The sequence number comes with sending.
pub(crate) fn encode(out: &mut Vec<u8>, flags: u16, message: &RouteNetlinkMessage) {
    // The writers skip padding, so what they write into must be zero.
    message.serialize(frame(out, message.message_type(), flags, message.buffer_len()));
}

/// Writes a message that rtnetlink has no type for.
pub(crate) fn encode_raw(out: &mut Vec<u8>, kind: u16, body: &[u8]) {
    frame(out, kind, 0, body.len()).copy_from_slice(body);
}

/// A header and that many zero bytes behind it, which are returned.
fn frame(out: &mut Vec<u8>, kind: u16, flags: u16, body: usize) -> &mut [u8] {
    let len = HEADER.saturating_add(body);
    out.clear();
    out.resize(len, 0);
    let (header, body) = out.split_at_mut(HEADER);
    // Beyond 4 GiB nothing is ever built; the kernel would refuse it as malformed.
    header[..4].copy_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_ne_bytes());
    header[4..6].copy_from_slice(&kind.to_ne_bytes());
    header[6..8].copy_from_slice(&flags.to_ne_bytes());
    body
}
