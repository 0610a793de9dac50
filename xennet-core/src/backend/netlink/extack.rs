//! The kernel's own words: the answer to a request, with the sentence that may come with a refusal.
//!
//! Source: `Documentation/userspace-api/netlink/intro.rst`, "Ext ACK"; `net/netlink/af_netlink.c`, `netlink_ack`.

use super::refusal::Refusal;
use super::wire::{self, ACK_TLVS, Attributes, CAPPED, ERROR, HEADER, Message};
use crate::error::Errno;

/// `NLMSGERR_ATTR_MSG`: a sentence.
const MSG: u16 = 1;
/// `NLMSGERR_ATTR_OFFS`: where in the request the offending attribute is.
const OFFS: u16 = 2;

/// The longest sentence that is passed on. The kernel's own are below 80 bytes (`NETLINK_MAX_FMTMSG_LEN`).
const LONGEST: usize = 256;

/// Reads an answer (`NLMSG_ERROR`) or the end of a listing (`NLMSG_DONE`): both begin with an error number.
///
/// # Errors
/// The refusal that it carries.
pub(crate) fn read(message: &Message<'_>) -> Result<(), Refusal> {
    let number = match wire::u32(message.body) {
        Some(number) => number.cast_signed(),
        // The end of a listing may come without a number.
        None if message.kind != ERROR => 0,
        None => return Err(Refusal::new(Errno::EIO).with_message("the kernel's answer is cut short")),
    };
    // The end of a listing tells a count in the same place, which is no refusal.
    let errno = match number.checked_neg() {
        Some(errno) if errno > 0 => Errno(errno),
        _ => return Ok(()),
    };
    let mut refusal = Refusal::new(errno);
    refusal.message = sentence(message);
    Err(refusal)
}

/// The sentence in an answer, made safe to print: no control characters, not too long.
fn sentence(message: &Message<'_>) -> Option<String> {
    if message.flags & ACK_TLVS == 0 {
        return None;
    }
    let skip = match message.kind {
        // The number, then the request's header, then the request itself unless it was capped.
        ERROR => {
            let request = wire::u32(message.body.get(4..)?)?;
            let len = if message.flags & CAPPED == 0 { usize::try_from(request).ok()? } else { HEADER };
            wire::aligned(len.max(HEADER))?.checked_add(4)?
        }
        _ => 4,
    };
    let attributes = Attributes::of(message.body.get(skip..)?);
    let words = wire::text(attributes.find(MSG)?);
    let mut text: String = String::from_utf8_lossy(words)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .take(LONGEST)
        .collect();
    if text.is_empty() {
        return None;
    }
    // "Attribute failed policy validation" alone does not say which.
    if text.to_ascii_lowercase().contains("attribute")
        && let Some(at) = attributes.find(OFFS).and_then(wire::u32)
    {
        text.push_str(&format!(" (at byte {at} of the request)"));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::wire::Messages;
    use super::*;

    /// What Linux 6.18 answered to a RTM_SETLINK of a veth with an MTU of 10, with NETLINK_CAP_ACK and NETLINK_EXT_ACK
    /// on.
    const REFUSED_MTU: &[u8] = &[
        72, 0, 0, 0, 2, 0, 0, 3, 7, 0, 0, 0, 152, 45, 0, 0, 234, 255, 255, 255, 40, 0, 0, 0, 19, 0, 5, 0, 7, 0, 0, 0,
        0, 0, 0, 0, 33, 0, 1, 0, 109, 116, 117, 32, 108, 101, 115, 115, 32, 116, 104, 97, 110, 32, 100, 101, 118, 105,
        99, 101, 32, 109, 105, 110, 105, 109, 117, 109, 0, 0, 0, 0,
    ];

    fn answer(kind: u16, flags: u16, body: &[u8]) -> Result<(), Refusal> {
        read(&Message { kind, flags, seq: 1, body })
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(4 + value.len()).unwrap();
        let mut out = [len.to_ne_bytes(), kind.to_ne_bytes()].concat();
        out.extend(value);
        out.resize(wire::aligned(out.len()).unwrap(), 0);
        out
    }

    fn refusal(errno: i32, request_len: u32, request: &[u8], attributes: &[u8]) -> Vec<u8> {
        let mut body = (-errno).to_ne_bytes().to_vec();
        body.extend(request_len.to_ne_bytes());
        body.extend([0; 12]);
        body.extend(request);
        body.extend(attributes);
        body
    }

    #[test]
    fn the_sentence_is_found_behind_a_capped_and_behind_a_repeated_request() {
        let words = attribute(MSG, b"mtu less than device minimum\0");
        let capped = refusal(22, 40, &[], &words);
        let e = answer(ERROR, CAPPED | ACK_TLVS, &capped).unwrap_err();
        assert_eq!((e.errno, e.message.as_deref()), (Errno::EINVAL, Some("mtu less than device minimum")));
        let whole = refusal(22, 37, &[7; 24], &words);
        assert_eq!(answer(ERROR, ACK_TLVS, &whole).unwrap_err(), e);
        // Without the flag the attributes are not attributes.
        assert_eq!(answer(ERROR, CAPPED, &capped).unwrap_err().message, None);
    }

    #[test]
    fn an_acknowledgement_is_no_refusal_even_with_a_warning() {
        assert_eq!(answer(ERROR, 0, &refusal(0, 16, &[], &[])), Ok(()));
        assert_eq!(answer(ERROR, CAPPED | ACK_TLVS, &refusal(0, 16, &[], &attribute(MSG, b"beware\0"))), Ok(()));
        assert_eq!(answer(wire::DONE, 0, &[]), Ok(()));
        assert_eq!(answer(wire::DONE, 0, &7_i32.to_ne_bytes()), Ok(()));
    }

    #[test]
    fn the_end_of_a_listing_can_refuse_with_a_sentence() {
        let mut body = (-19_i32).to_ne_bytes().to_vec();
        body.extend(attribute(MSG, b"No such device"));
        let e = answer(wire::DONE, ACK_TLVS, &body).unwrap_err();
        assert_eq!((e.errno, e.message.as_deref()), (Errno::ENODEV, Some("No such device")));
    }

    #[test]
    fn an_attribute_without_a_name_is_told_by_its_place() {
        let mut attributes = attribute(MSG, b"Attribute failed policy validation\0");
        attributes.extend(attribute(OFFS, &44_u32.to_ne_bytes()));
        let e = answer(ERROR, CAPPED | ACK_TLVS, &refusal(34, 60, &[], &attributes)).unwrap_err();
        assert_eq!(e.message.as_deref(), Some("Attribute failed policy validation (at byte 44 of the request)"));
    }

    #[test]
    fn odd_sentences_are_made_safe() {
        let e = answer(ERROR, CAPPED | ACK_TLVS, &refusal(1, 16, &[], &attribute(MSG, b"a\x1b[2J\xff\n"))).unwrap_err();
        assert_eq!(e.message.as_deref(), Some("a\u{fffd}[2J\u{fffd}\u{fffd}"));
        let e = answer(ERROR, CAPPED | ACK_TLVS, &refusal(1, 16, &[], &attribute(MSG, &[b'x'; 9000]))).unwrap_err();
        assert_eq!(e.message.unwrap().len(), LONGEST);
        assert_eq!(answer(ERROR, 0, &[1, 2]).unwrap_err().errno, Errno::EIO);
        // The one number that has no negative.
        assert_eq!(answer(ERROR, 0, &i32::MIN.to_ne_bytes()), Ok(()));
    }

    /// Any bytes whatever: no panic, no endless walk, no sentence that could move a terminal.
    #[test]
    fn arbitrary_bytes_are_survived() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let seeds = [REFUSED_MTU.to_vec(), refusal(22, 40, &[], &attribute(MSG, b"text\0")), vec![0; 64]];
        for round in 0..20_000 {
            let mut bytes = seeds[round % seeds.len()].clone();
            for _ in 0..next() % 8 {
                if let Some(at) = usize::try_from(next()).unwrap().checked_rem(bytes.len()) {
                    bytes[at] = next().to_le_bytes()[0];
                }
            }
            bytes.truncate(usize::try_from(next() % 100).unwrap());
            for message in Messages(&bytes) {
                let _ = read(&message);
            }
            for kind in [ERROR, wire::DONE] {
                let flags = u16::try_from(next() & 0xffff).unwrap();
                if let Err(refusal) = answer(kind, flags, &bytes) {
                    assert!(refusal.errno.0 > 0);
                    assert!(refusal.message.is_none_or(|m| !m.chars().any(char::is_control)));
                }
            }
        }
    }

    #[test]
    fn the_kernels_own_bytes() {
        let message = Messages(REFUSED_MTU).next().unwrap();
        let e = read(&message).unwrap_err();
        assert_eq!((e.errno, e.message.as_deref()), (Errno::EINVAL, Some("mtu less than device minimum")));
    }
}
