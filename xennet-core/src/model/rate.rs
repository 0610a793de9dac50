//! How fast a guest may send.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, decimal, quoted};
use crate::error::{Diagnostic, Error, ErrorKind};

/// How many bytes a guest may send in each interval: netback's credit scheduler.
///
/// Both numbers are at least 1: a credit of zero would stop the guest for good, which xl takes without a word.
/// It limits each **queue** of a vif by itself, and what the guest sends only, not what it receives.
///
/// As text it is a speed: digits, `K`, `M` or `G` (powers of 1000) if wanted, `B` (bytes) or `b` (bits), `/s`, and
/// `@` with an interval in `us`, `ms` or `s` if it is not 50 ms: `10Mb/s`, `1MB/s@20ms`. A pair that no speed gives
/// exactly is printed, and read, as `CREDITB/INTERVALus`, for example `7B/3000001us`; that form is ours, xl does not know it.
///
/// Source: `xl-network-configuration(5)`, key `rate`; Linux `drivers/net/xen-netback/xenbus.c`, `xen_net_read_rate`.
///
/// ```
/// use xennet_core::RateLimit;
/// let rate: RateLimit = "10Mb/s".parse()?;
/// assert_eq!((rate.bytes_per_interval(), rate.interval_usecs()), (62500, 50000));
/// assert_eq!(rate.backend_rate(), "62500,50000");
/// assert_eq!(rate.to_string(), "1250KB/s");
/// assert!("1B/s".parse::<RateLimit>().is_err()); // 0.05 bytes per interval: nothing could ever be sent
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("bandwidth", "qos"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "RateDocument", into = "RateDocument")]
pub struct RateLimit {
    bytes_per_interval: u64,
    interval_usecs: u32,
}

/// The document of a rate: the names that xl's JSON has for them.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct RateDocument {
    bytes_per_interval: u64,
    interval_usecs: u32,
}

impl RateLimit {
    /// The interval where none is given: 50 ms.
    pub const DEFAULT_INTERVAL_USECS: u32 = 50_000;

    /// A credit in bytes for each interval in microseconds.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if one of them is zero.
    pub fn new(bytes_per_interval: u64, interval_usecs: u32) -> Result<Self, Error> {
        if bytes_per_interval == 0 || interval_usecs == 0 {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("rate of {bytes_per_interval} bytes per {interval_usecs} us: both numbers must be at least 1"),
            )
            .with_hint("leave rate= out for no limit"));
        }
        Ok(RateLimit { bytes_per_interval, interval_usecs })
    }

    /// The credit: bytes per interval, at least 1.
    pub const fn bytes_per_interval(self) -> u64 {
        self.bytes_per_interval
    }

    /// The interval in microseconds, at least 1.
    pub const fn interval_usecs(self) -> u32 {
        self.interval_usecs
    }

    /// The text of the xenstore node `rate` in the backend: `<bytes>,<microseconds>`.
    pub fn backend_rate(self) -> String {
        format!("{},{}", self.bytes_per_interval, self.interval_usecs)
    }

    /// Reads the text of the xenstore node `rate`: what [`backend_rate`](Self::backend_rate) writes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for any other text, and where a number is zero.
    pub fn from_backend_rate(text: &str) -> Result<Self, Error> {
        let numbers = text.split_once(',').and_then(|(bytes, usecs)| {
            Some((decimal(bytes.as_bytes())?, u32::try_from(decimal(usecs.as_bytes())?).ok()?))
        });
        match numbers {
            Some((bytes, usecs)) => RateLimit::new(bytes, usecs),
            None => Err(Error::from(Diagnostic {
                source: text.to_owned(),
                span: 0..text.len(),
                message: format!("{} is not the text of a rate node", quoted(text)),
                rule: "bytes per interval, a comma, microseconds; both decimal".into(),
                hint: None,
                other: None,
            })),
        }
    }

    /// The speed in bytes per second, rounded down.
    pub fn bytes_per_second(self) -> u64 {
        let exact = u128::from(self.bytes_per_interval) * 1_000_000 / u128::from(self.interval_usecs);
        u64::try_from(exact).unwrap_or(u64::MAX)
    }

    /// Reads the strict form: what parsers of larger texts call.
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        read(text.as_bytes()).ok_or(()).or_else(|()| explain(text))
    }
}

/// The happy path: `None` for every text that [`explain`] has something to say about.
fn read(text: &[u8]) -> Option<RateLimit> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = decimal(&text[..digits]).filter(|n| (1..=u64::from(u32::MAX)).contains(n))?;
    let (scale, rest) = match &text[digits..] {
        [b'K', rest @ ..] => (1_000, rest),
        [b'M', rest @ ..] => (1_000_000, rest),
        [b'G', rest @ ..] => (1_000_000_000, rest),
        rest => (1, rest),
    };
    let (bits, rest) = match rest {
        [b'B', b'/', b's', rest @ ..] => (1, rest),
        [b'b', b'/', b's', rest @ ..] => (8, rest),
        _ => return None,
    };
    // At most 2^32 × 10^9: no overflow in 64 bits.
    let bytes_per_second = number * scale / bits;
    let interval_usecs = match rest {
        [] => RateLimit::DEFAULT_INTERVAL_USECS,
        [b'@', interval @ ..] => read_interval(interval)?,
        _ => return None,
    };
    let bytes_per_interval = bytes_per_second.checked_mul(u64::from(interval_usecs))? / 1_000_000;
    (bytes_per_interval > 0).then_some(RateLimit { bytes_per_interval, interval_usecs })
}

fn read_interval(text: &[u8]) -> Option<u32> {
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let number = decimal(&text[..digits])?;
    let scale = match &text[digits..] {
        b"us" => 1,
        b"ms" => 1_000,
        b"s" => 1_000_000,
        _ => return None,
    };
    u32::try_from(number.checked_mul(scale)?).ok().filter(|n| *n > 0)
}

/// What is wrong with a text that [`read`] did not take; our own exact form is taken here, as it is rare.
fn explain(text: &str) -> Result<RateLimit, Box<Flaw>> {
    if let Some((bytes, usecs)) = text.split_once("B/").and_then(|(b, i)| Some((b, i.strip_suffix("us")?))) {
        let (bytes, usecs) = (decimal(bytes.as_bytes()), decimal(usecs.as_bytes()));
        if let (Some(bytes @ 1..), Some(Ok(usecs @ 1..))) = (bytes, usecs.map(u32::try_from)) {
            return Ok(RateLimit { bytes_per_interval: bytes, interval_usecs: usecs });
        }
    }
    let message = format!("{} is not a rate", quoted(text));
    let flaw = |span, rule: &str, hint: String| Err(Flaw::new(span, message.clone(), rule).hint(hint));
    let form = "a number, K, M or G if wanted, then B/s (bytes) or b/s (bits)";
    let example = || "for example 10Mb/s or 1MB/s@20ms; without rate= there is no limit".to_owned();
    let (speed, interval) = match text.split_once('@') {
        Some((speed, interval)) => (speed, Some(interval)),
        None => (text, None),
    };
    let digits = speed.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = speed.split_at(digits);
    if digits == 0 {
        return flaw(0..speed.len(), form, example());
    }
    if number.len() > 1 && number.starts_with('0') {
        let decimal = number.trim_start_matches('0');
        let hint = match u64::from_str_radix(number, 8) {
            Ok(octal) if !decimal.is_empty() => {
                format!("write {decimal}{unit} for {decimal}, or {octal}{unit} for what xl makes of it: it reads octal")
            }
            _ => "write the number without leading zeros: xl would read it as octal".to_owned(),
        };
        return flaw(0..digits, "a decimal number without leading zeros", hint);
    }
    let scale = match unit {
        "B/s" | "b/s" => 1,
        "KB/s" | "Kb/s" => 1_000,
        "MB/s" | "Mb/s" => 1_000_000,
        "GB/s" | "Gb/s" => 1_000_000_000u64,
        _ => {
            let hint = match unit.trim_start_matches(' ').as_bytes() {
                [b'k' | b'm' | b'g', b'b' | b'B', b'/', b's'] => "K, M and G are upper case".to_owned(),
                [b'.', ..] => "write a whole number with a smaller unit: 10500KB/s for 10.5MB/s".to_owned(),
                [] | [b'B' | b'b'] | [b'K' | b'M' | b'G', b'B' | b'b'] => "add /s".to_owned(),
                [b'b', b'p', b's'] | [_, b'b', b'p', b's'] => "write b/s for bps".to_owned(),
                _ => example(),
            };
            return flaw(digits..speed.len(), form, hint);
        }
    };
    let Some(number) = decimal(number.as_bytes()).filter(|n| (1..=u64::from(u32::MAX)).contains(n)) else {
        return flaw(
            0..digits,
            "the number before the unit is 1 to 4294967295",
            "use K, M or G for a larger rate, or leave rate= out for no limit".to_owned(),
        );
    };
    let at = speed.len() + 1;
    let usecs = match interval {
        None => RateLimit::DEFAULT_INTERVAL_USECS,
        Some(interval) => match read_interval(interval.as_bytes()) {
            Some(usecs) => usecs,
            None => {
                let digits = interval.bytes().take_while(u8::is_ascii_digit).count();
                let (n, unit) = interval.split_at(digits);
                let span = at..text.len();
                return match unit {
                    "" if digits > 0 => flaw(
                        span,
                        "the interval has a unit: us, ms or s",
                        format!("write @{n}us, @{n}ms or @{n}s: the manual says microseconds, xl takes seconds"),
                    ),
                    "m" | "u" => flaw(span, "the interval has a unit: us, ms or s", format!("write @{interval}s")),
                    "us" | "ms" | "s" if n.len() > 1 && n.starts_with('0') => flaw(
                        at..at + digits,
                        "a decimal number without leading zeros",
                        "xl would read it as octal".to_owned(),
                    ),
                    "us" | "ms" | "s" if digits > 0 => flaw(
                        span,
                        "the interval is 1 to 4294967295 microseconds",
                        "50ms is what is used where none is given".to_owned(),
                    ),
                    _ => flaw(span, "the interval is a number and us, ms or s", "for example @20ms".to_owned()),
                };
            }
        },
    };
    let bits = if unit.ends_with("b/s") { 8 } else { 1 };
    match (number * scale / bits).checked_mul(u64::from(usecs)) {
        None => flaw(
            0..text.len(),
            "bytes per second times the interval in microseconds must be below 2^64",
            "use a shorter interval".to_owned(),
        ),
        Some(credit) => {
            debug_assert!(credit < 1_000_000, "every other reason was found above");
            flaw(
                0..text.len(),
                "less than one byte per interval: the guest could never send",
                "use a longer interval or a higher rate".to_owned(),
            )
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (credit, usecs) = (u128::from(self.bytes_per_interval), u128::from(self.interval_usecs));
        // Every speed from `lowest` to `highest` gives this credit; the roundest one is printed.
        let lowest = (credit * 1_000_000).div_ceil(usecs);
        let highest = ((credit + 1) * 1_000_000).div_ceil(usecs) - 1;
        for (unit, scale) in [("G", 1_000_000_000u128), ("M", 1_000_000), ("K", 1_000), ("", 1)] {
            let number = lowest.div_ceil(scale);
            let speed = number * scale;
            if speed > highest || number > u128::from(u32::MAX) || speed * usecs > u128::from(u64::MAX) {
                continue;
            }
            write!(f, "{number}{unit}B/s")?;
            return match self.interval_usecs {
                RateLimit::DEFAULT_INTERVAL_USECS => Ok(()),
                t if t % 1_000_000 == 0 => write!(f, "@{}s", t / 1_000_000),
                t if t % 1_000 == 0 => write!(f, "@{}ms", t / 1_000),
                t => write!(f, "@{t}us"),
            };
        }
        write!(f, "{}B/{}us", self.bytes_per_interval, self.interval_usecs)
    }
}

impl FromStr for RateLimit {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        RateLimit::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<RateDocument> for RateLimit {
    type Error = Error;
    fn try_from(d: RateDocument) -> Result<Self, Error> {
        RateLimit::new(d.bytes_per_interval, d.interval_usecs)
    }
}

impl From<RateLimit> for RateDocument {
    fn from(r: RateLimit) -> Self {
        RateDocument { bytes_per_interval: r.bytes_per_interval, interval_usecs: r.interval_usecs }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_the_roundest_speed() {
        for (given, printed) in [
            ("8Gb/s", "1GB/s"),
            ("10Mb/s", "1250KB/s"),
            ("1MB/s@20ms", "1MB/s@20ms"),
            ("80Mb/s@1s", "10MB/s@1s"),
            ("160b/s", "20B/s"),
            ("10MB/s@50us", "10MB/s@50us"),
            ("7B/3000001us", "7B/3000001us"),
            ("1B/1us", "1MB/s@1us"),
        ] {
            let rate: RateLimit = given.parse().unwrap();
            assert_eq!(rate.to_string(), printed);
            assert_eq!(printed.parse::<RateLimit>().unwrap(), rate);
            assert_eq!(RateLimit::from_backend_rate(&rate.backend_rate()).unwrap(), rate);
        }
        let largest = RateLimit::new(u64::MAX, 1).unwrap();
        assert_eq!(largest.to_string().parse::<RateLimit>().unwrap(), largest);
    }

    #[test]
    fn hints_say_the_way_out() {
        let hint = |text: &str| text.parse::<RateLimit>().unwrap_err().hint().unwrap_or_default().to_owned();
        assert_eq!(hint("010MB/s"), "write 10MB/s for 10, or 8MB/s for what xl makes of it: it reads octal");
        assert_eq!(hint("10mb/s"), "K, M and G are upper case");
        assert_eq!(hint("10MB/s@50"), "write @50us, @50ms or @50s: the manual says microseconds, xl takes seconds");
        assert_eq!(hint("10MB/s@50m"), "write @50ms");
        assert_eq!(hint("10MB"), "add /s");
    }
}
