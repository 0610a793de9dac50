//! Writing nfnetlink messages: attributes, nests, and the batch that is one nf_tables transaction.
//!
//! Source: `include/uapi/linux/netfilter/nfnetlink.h`; `net/netfilter/nfnetlink.c`, `nfnetlink_rcv_batch`.

use super::wire::HEADER;

/// `NFNL_SUBSYS_NFTABLES`.
const NFTABLES: u16 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 17;
/// `NFNL_BATCH_GENID`.
const GENID: u16 = 1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
/// Bytes of `struct nfgenmsg`: family, version, resource.
pub(super) const NFGEN: usize = 4;

/// The kind of an nf_tables message in a netlink header.
pub(super) const fn kind(message: u16) -> u16 {
    NFTABLES << 8 | message
}

/// Attributes one after the other, each padded to four bytes.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub(super) out: Vec<u8>,
    /// An attribute became longer than its length can say (64 KiB): nothing of this may be sent.
    pub(super) overflow: bool,
}

impl Writer {
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open(kind);
        self.out.extend_from_slice(value);
        self.close(start);
    }

    /// A number in network order, as nf_tables wants all its numbers.
    pub(super) fn be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(super) fn be16(&mut self, kind: u16, value: u16) {
        self.put(kind, &value.to_be_bytes());
    }

    pub(super) fn be64(&mut self, kind: u16, value: u64) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A text with its final zero.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        let start = self.open(kind);
        self.out.extend_from_slice(value.as_bytes());
        self.out.push(0);
        self.close(start);
    }

    pub(super) fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Writer)) {
        let start = self.open(kind | NESTED);
        inside(self);
        self.close(start);
    }

    fn open(&mut self, kind: u16) -> usize {
        let start = self.out.len();
        let [low, high] = kind.to_ne_bytes();
        self.out.extend_from_slice(&[0, 0, low, high]);
        start
    }

    fn close(&mut self, start: usize) {
        let len = u16::try_from(self.out.len() - start).unwrap_or_else(|_| {
            self.overflow = true;
            u16::MAX
        });
        self.out[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.out.resize(self.out.len().next_multiple_of(4), 0);
    }
}

/// One message by itself, as a question is; `kind` is the subsystem and its message.
pub(super) fn question(kind: u16, family: u8, attributes: impl FnOnce(&mut Writer)) -> Vec<u8> {
    // With room from the start: most are of this size.
    let mut w = Writer { out: Vec::with_capacity(128), overflow: false };
    append(&mut w, kind, 0, family, 0, attributes);
    w.out
}

fn append(w: &mut Writer, kind: u16, flags: u16, family: u8, resource: u16, attributes: impl FnOnce(&mut Writer)) {
    let start = w.out.len();
    w.out.extend_from_slice(&[0; HEADER]);
    w.out.extend_from_slice(&[family, 0]);
    w.out.extend_from_slice(&resource.to_be_bytes());
    attributes(w);
    let len = u32::try_from(w.out.len() - start).unwrap_or_else(|_| {
        w.overflow = true;
        u32::MAX
    });
    w.out[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    w.out[start + 4..start + 6].copy_from_slice(&kind.to_ne_bytes());
    w.out[start + 6..start + 8].copy_from_slice(&flags.to_ne_bytes());
}

/// A transaction: all messages between begin and end happen together or not at all.
#[derive(Debug)]
pub(super) struct Batch {
    w: Writer,
    family: u8,
    /// Where the last message begins.
    last: usize,
    /// For each message of the datagram, the begin included, the operation it is for.
    pub(super) origins: Vec<usize>,
}

impl Batch {
    /// Begins a batch. With a generation the kernel refuses it (`ERESTART`) if anything has changed since that one.
    pub(super) fn new(family: u8, generation: Option<u32>) -> Self {
        // With room from the start for what one vif needs.
        let mut w = Writer { out: Vec::with_capacity(512), overflow: false };
        append(&mut w, BATCH_BEGIN, 0, 0, NFTABLES, |w| {
            if let Some(generation) = generation {
                w.be32(GENID, generation);
            }
        });
        Batch { w, family, last: 0, origins: vec![0] }
    }

    /// Adds a message for the operation with this index.
    pub(super) fn add(&mut self, message: u16, flags: u16, operation: usize, attributes: impl FnOnce(&mut Writer)) {
        self.last = self.w.out.len();
        self.origins.push(operation);
        append(&mut self.w, kind(message), flags, self.family, 0, attributes);
    }

    /// Ends the batch; the bytes to send. `None` if an attribute was too long for its length to be told.
    ///
    /// The kernel answers refused messages, and those that ask for it: the last one does, so that there always is an
    /// answer, and one only where all went well.
    pub(super) fn finish(mut self) -> Option<(Vec<u8>, Vec<usize>)> {
        let ack = super::wire::ACK;
        let flags = self.w.out.get_mut(self.last + 6..self.last + 8)?;
        let old = u16::from_ne_bytes([flags[0], flags[1]]);
        flags.copy_from_slice(&(old | ack).to_ne_bytes());
        append(&mut self.w, BATCH_END, 0, 0, NFTABLES, |_| {});
        self.origins.push(0);
        (!self.w.overflow).then_some((self.w.out, self.origins))
    }
}
