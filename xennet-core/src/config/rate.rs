//! `rate=` in three dialects.

use serde::Serialize;

use super::number::strtoul;
use super::{Dialect, Parsed, findings};
use crate::error::Error;
use crate::model::RateLimit;
use crate::model::flaw::{Flaw, quoted};

/// What xl makes of a rate: the two numbers that it hands to libxl. The credit may be 0, which stops the guest's sending
/// for good.
///
/// There are no others: these two are the whole of a rate in libxl's `libxl_device_nic`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct XlRate {
    /// Bytes per interval.
    pub bytes_per_interval: u64,
    /// Microseconds, at least 1.
    pub interval_usecs: u32,
}

impl XlRate {
    /// The text of the xenstore node `rate`.
    pub fn backend_rate(self) -> String {
        format!("{},{}", self.bytes_per_interval, self.interval_usecs)
    }
}

impl TryFrom<XlRate> for RateLimit {
    type Error = Error;

    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for a credit of 0.
    fn try_from(rate: XlRate) -> Result<Self, Error> {
        RateLimit::new(rate.bytes_per_interval, rate.interval_usecs)
    }
}

/// Reads the value of `rate=`.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) with position, rule and hint; in every dialect also for a credit of 0.
pub fn parse_rate(text: &str, dialect: Dialect) -> Result<Parsed<RateLimit>, Error> {
    match dialect {
        Dialect::Strict => Ok(Parsed { value: text.parse()?, notes: Vec::new() }),
        Dialect::Xm => match parse_rate_xend(text) {
            Some(value) => Ok(Parsed { value, notes: Vec::new() }),
            None => Err(unlimited(text).error(text)),
        },
        Dialect::Xl => {
            let Parsed { value, notes } = parse_rate_xl(text)?;
            match RateLimit::try_from(value) {
                Ok(value) => Ok(Parsed { value, notes }),
                Err(_) => Err(zero_credit(text).error(text)),
            }
        }
    }
}

/// Reads the value of `rate=` as xl does, with notes for what it misreads.
///
/// # Errors
/// [`Invalid`](crate::ErrorKind::Invalid) where xl stops.
///
/// Source: `tools/libs/util/libxlu_vif.c`.
pub fn parse_rate_xl(text: &str) -> Result<Parsed<XlRate>, Error> {
    let mut notes = Vec::new();
    let value = read_xl(text, &mut notes).map_err(|flaw| flaw.error(text))?;
    Ok(Parsed { value, notes: findings(notes, text) })
}

/// Reads the value of `rate=` as xend did; `None` is no limit, which it took every text for that it could not read.
///
/// Source: xend 4.1, `tools/python/xen/xend/server/netif.py`, `parseRate`.
pub fn parse_rate_xend(text: &str) -> Option<RateLimit> {
    let bytes = text.as_bytes();
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = xend_number(&bytes[..digits])?;
    let (scale, rest) = match &bytes[digits..] {
        [b'G', rest @ ..] => (1_000_000_000, rest),
        [b'M', rest @ ..] => (1_000_000, rest),
        [b'K', rest @ ..] => (1_000, rest),
        rest => (1, rest),
    };
    let (per, rest) = match rest {
        [b'B', b'/', b's', rest @ ..] => (1, rest),
        [b'b', b'/', b's', rest @ ..] => (8, rest),
        _ => return None,
    };
    let usecs = match rest {
        [] => u128::from(RateLimit::DEFAULT_INTERVAL_USECS),
        [b'@', rest @ ..] => {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let scale = match &rest[digits..] {
                b"s" => 1_000_000,
                b"ms" => 1_000,
                b"us" => 1,
                _ => return None,
            };
            xend_number(&rest[..digits])?.checked_mul(scale)?
        }
        _ => return None,
    };
    let credit = (number.checked_mul(scale)? / per).checked_mul(usecs)? / 1_000_000;
    // Beyond 32 bits xend falls back to no limit, as for zero.
    let (credit, usecs) = (u32::try_from(credit).ok()?, u32::try_from(usecs).ok()?);
    RateLimit::new(u64::from(credit), usecs).ok()
}

/// A number of any length in decimal, leading zeros and all. `None` for none, and for one so long that xend's checks would
/// find it too large in any place.
fn xend_number(digits: &[u8]) -> Option<u128> {
    let significant = &digits[digits.iter().take_while(|b| **b == b'0').count()..];
    if digits.is_empty() || significant.len() > 25 {
        return None;
    }
    Some(significant.iter().fold(0, |n, b| n * 10 + u128::from(b - b'0')))
}

pub(super) fn unlimited(text: &str) -> Box<Flaw> {
    let rule = "digits, K, M or G if wanted, B/s or b/s, and @ with us, ms or s if wanted";
    Flaw::new(0..text.len(), format!("{} is not a rate", quoted(text)), rule)
        .hint("xend took it for no limit without a word; leave rate= out for that")
}

pub(super) fn zero_credit(text: &str) -> Box<Flaw> {
    let rule = "less than one byte per interval: the guest could never send";
    Flaw::new(0..text.len(), format!("{} gives a credit of 0", quoted(text)), rule)
        .hint("use a longer interval or a higher rate")
}

/// xl's reading; spans count from the start of `text`.
pub(super) fn read_xl(text: &str, notes: &mut Vec<Flaw>) -> Result<XlRate, Box<Flaw>> {
    let (speed, interval) = match text.split_once('@') {
        Some((speed, interval)) => (speed, Some(interval)),
        None => (text, None),
    };
    let stop = |span, what: &str| {
        Err(Flaw::new(span, format!("{} is not a rate", quoted(text)), format!("xl stops here: {what}"))
            .hint("for example 10Mb/s or 1MB/s@20ms"))
    };
    if speed.is_empty() {
        return stop(0..0, "no rate specified");
    }
    let bytes = speed.as_bytes();
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let unit = &bytes[digits..];
    let form = digits > 0 && matches!(unit, [b'B' | b'b', b'/', b's'] | [b'G' | b'M' | b'K', b'B' | b'b', b'/', b's']);
    if !form {
        return stop(0..speed.len(), "invalid rate");
    }
    let number = strtoul(bytes, 0);
    if number.value == 0 || number.value > u64::from(u32::MAX) {
        return stop(0..digits, "rate overflow");
    }
    octal_note(&bytes[..digits], number.value, 0, notes);
    // C goes on where the number ended, which for a text such as 018MB/s is before an 8: neither suffix nor bits then.
    let rest = &bytes[number.len..];
    let scale = match rest.first() {
        Some(b'G') => 1_000_000_000,
        Some(b'M') => 1_000_000,
        Some(b'K') => 1_000,
        _ => 1,
    };
    let bits = rest.first() == Some(&b'b') || rest.get(1) == Some(&b'b');
    // At most 2^32 × 10^9, which 64 bits hold.
    let bytes_per_sec = number.value * scale / if bits { 8 } else { 1 };

    let at = speed.len() + 1;
    let interval_usecs = match interval {
        None => RateLimit::DEFAULT_INTERVAL_USECS,
        Some(interval) => {
            let bytes = interval.as_bytes();
            let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
            let unit = &bytes[digits..];
            if digits == 0 || !matches!(unit, b"" | b"m" | b"u" | b"s" | b"ms" | b"us") {
                return stop(at..text.len(), "invalid replenishment interval");
            }
            let number = strtoul(bytes, 0);
            let scale = match bytes.get(number.len) {
                None | Some(b's') => 1_000_000,
                Some(b'm') => 1_000,
                _ => 1,
            };
            let usecs = Some(number.value)
                .filter(|n| (1..=u64::from(u32::MAX)).contains(n))
                .and_then(|n| n.checked_mul(scale))
                .and_then(|n| u32::try_from(n).ok());
            let Some(usecs) = usecs else {
                return stop(at..text.len(), "replenishment interval overflow");
            };
            octal_note(&bytes[..digits], number.value, at, notes);
            if unit.is_empty() {
                notes.push(
                    *Flaw::new(
                        at..text.len(),
                        "an interval without a unit",
                        "xl takes seconds, its manual says microseconds",
                    )
                    .hint(format!("write @{interval}s or @{interval}us")),
                );
            } else if matches!(unit, b"m" | b"u") {
                notes.push(
                    *Flaw::new(at..text.len(), "half a unit", "xl takes m for ms and u for us")
                        .hint(format!("write @{interval}s")),
                );
            }
            usecs
        }
    };
    let Some(product) = bytes_per_sec.checked_mul(u64::from(interval_usecs)) else {
        return stop(0..text.len(), "rate overflow");
    };
    let rate = XlRate { bytes_per_interval: product / 1_000_000, interval_usecs };
    if rate.bytes_per_interval == 0 {
        notes.push(*zero_credit(text));
    }
    Ok(rate)
}

fn octal_note(digits: &[u8], value: u64, at: usize, notes: &mut Vec<Flaw>) {
    if digits.len() > 1 && digits[0] == b'0' {
        notes.push(
            *Flaw::new(at..at + digits.len(), format!("a leading zero: xl reads {value}"), "C takes it for octal")
                .hint("write the number without leading zeros"),
        );
    }
}
