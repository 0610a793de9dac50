//! Registers, and comparisons whose answer may be "not known".

use crate::snapshot::{NftCmp, NftKey, NftSet};
use crate::trace::packet::{Byte, Gap};

use super::program::Register;

/// The registers of the machine: 16 places of 4 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Registers([Byte; 64]);

impl Registers {
    pub(super) const fn new() -> Self {
        Registers([Ok(0); 64])
    }

    /// So many bytes from a register on; what is beyond the last one is not there.
    pub(super) fn read(&self, at: Register, bytes: usize) -> &[Byte] {
        let from = (usize::from(at) * 4).min(64);
        self.0.get(from..(from + bytes).min(64)).unwrap_or(&[])
    }

    /// Writes bytes, and zeros up to the next register, as the kernel does.
    pub(super) fn write(&mut self, at: Register, bytes: &[Byte]) {
        let from = usize::from(at) * 4;
        let padded = bytes.len().next_multiple_of(4);
        let all = bytes.iter().copied().chain(std::iter::repeat(Ok(0))).take(padded);
        for (place, byte) in self.0.iter_mut().skip(from).zip(all) {
            *place = byte;
        }
    }
}

/// Whether all bytes are known; the first gap otherwise.
pub(super) fn all_known(bytes: &[Byte]) -> Result<Vec<u8>, Gap> {
    bytes.iter().copied().collect()
}

/// The ports of DHCP, for IPv4 and IPv6.
const DHCP: [u16; 4] = [67, 68, 546, 547];

/// The fewest hops that a packet has left: systems send with 64 and more, and few routers are on the way.
const HOPS: u8 = 32;

/// Whether a byte that is known is another one.
fn differs(bytes: &[Byte], value: &[u8]) -> bool {
    bytes.iter().zip(value).any(|(b, v)| match b {
        Ok(b) => b != v,
        Err(Gap::Station) => v & 1 == 1,
        Err(Gap::Hops) => *v < HOPS,
        Err(_) => false,
    })
}

/// Bytes against a value of the same length.
pub(super) fn compare(bytes: &[Byte], op: NftCmp, value: &[u8]) -> Result<bool, Gap> {
    let gap = bytes.iter().find_map(|b| b.err());
    // A question without a port is none about DHCP.
    let is_dhcp = |b: &[Byte], v: &[u8]| {
        *b == [Err(Gap::Port); 2] && v.first_chunk().is_some_and(|v| DHCP.contains(&u16::from_be_bytes(*v)))
    };
    let differs = differs(bytes, value) || bytes.windows(2).zip(value.windows(2)).any(|(b, v)| is_dhcp(b, v));
    match (op, gap) {
        (NftCmp::Eq, _) if differs => Ok(false),
        (NftCmp::Ne, _) if differs => Ok(true),
        (NftCmp::Eq, None) => Ok(true),
        (NftCmp::Ne, None) => Ok(false),
        (NftCmp::Eq | NftCmp::Ne, Some(gap)) => Err(gap),
        (_, gap) => {
            let filled = |with: u8| {
                let least = |gap: Gap| if gap == Gap::Hops { with.max(HOPS) } else { with };
                bytes.iter().map(|b| b.unwrap_or_else(least)).collect::<Vec<u8>>()
            };
            let holds = |bytes: &[u8]| match op {
                NftCmp::Lt => bytes < value,
                NftCmp::Le => bytes <= value,
                NftCmp::Gt => bytes > value,
                _ => bytes >= value,
            };
            // Both ends on one side: so is all between.
            match (holds(&filled(0)), holds(&filled(u8::MAX)), gap) {
                (low, high, _) if low == high => Ok(low),
                (_, _, Some(gap)) => Err(gap),
                (low, ..) => Ok(low),
            }
        }
    }
}

/// Whether bytes lie between two values, both included.
pub(super) fn within(bytes: &[Byte], first: &[u8], last: &[u8]) -> Result<bool, Gap> {
    match (compare(bytes, NftCmp::Ge, first), compare(bytes, NftCmp::Le, last)) {
        (Ok(false), _) | (_, Ok(false)) => Ok(false),
        (Ok(true), Ok(true)) => Ok(true),
        (Err(gap), _) | (_, Err(gap)) => Err(gap),
    }
}

/// The bytes of a key's fields, without what pads them.
fn fields<'a>(set: &NftSet, key: &'a [Byte]) -> Vec<&'a [Byte]> {
    if let [_] = &set.key[..] {
        return vec![key];
    }
    let mut at = 0;
    let field = |kind: &crate::snapshot::NftType| {
        let own = key.get(at..at + usize::from(kind.bytes())).unwrap_or(&[]);
        at += usize::from(kind.words()) * 4;
        own
    };
    set.key.iter().map(field).collect()
}

/// How many bytes the key of a set has in registers.
pub(super) fn key_width(set: &NftSet) -> usize {
    crate::snapshot::width(&set.key)
}

/// What a set says of a key.
pub(super) struct Found<'a> {
    /// The element that it surely meets, if there is one.
    pub(super) surely: Option<&'a NftKey>,
    /// Those that it may meet, and why that is not known.
    pub(super) perhaps: Vec<(&'a NftKey, Gap)>,
}

/// Looks a key up. The catch-all element is met by what no other one meets.
pub(super) fn lookup<'a>(set: &'a NftSet, key: &[Byte]) -> Found<'a> {
    let fields = fields(set, key);
    let mut found = Found { surely: None, perhaps: Vec::new() };
    if let Ok(bytes) = all_known(key) {
        let exact = NftKey::exact(crate::snapshot::split(&set.key, &bytes));
        if let Some((key, _)) = set.elements.get_key_value(&exact) {
            found.surely = Some(key);
            return found;
        }
        if !set.interval && set.elements.keys().next().is_none_or(|k| !k.is_catch_all()) {
            return found;
        }
    }
    let mut all = None;
    for element in set.elements.keys() {
        if element.is_catch_all() {
            all = Some(element);
            continue;
        }
        let last = element.last.as_ref().unwrap_or(&element.first);
        let mut gap = None;
        let mut meets = true;
        for ((first, last), field) in element.first.iter().zip(last).zip(&fields) {
            match within(field, &first.bytes(), &last.bytes()) {
                Ok(true) => {}
                Ok(false) => meets = false,
                Err(why) => gap = Some(why),
            }
        }
        match (meets, gap) {
            (false, _) => {}
            (true, None) => {
                found.surely = Some(element);
                return found;
            }
            (true, Some(gap)) => found.perhaps.push((element, gap)),
        }
    }
    if found.perhaps.is_empty() {
        found.surely = all;
    }
    found
}
