//! MAC addresses with Xen's rules.

use std::fmt;
use std::str::FromStr;

use macaddr::MacAddr6;
use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, quoted};
use crate::error::{Error, ErrorKind};

/// A MAC address. Printed in lower case with colons, as the kernel, iproute2 and xenstore do.
///
/// As text it is six groups of two hexadecimal digits with `:` between them, nothing else.
///
/// ```
/// use xennet_core::MacAddr;
/// let mac: MacAddr = "00:16:3E:01:02:03".parse()?;
/// assert_eq!(mac.to_string(), "00:16:3e:01:02:03");
/// assert!(mac.is_xen_oui() && !mac.is_multicast() && !mac.is_local());
/// assert!("0:16:3e:1:2:3".parse::<MacAddr>().is_err());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("hwaddr", "ethernet address"))]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$")))]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(MacAddr6);

impl MacAddr {
    /// `fe:ff:ff:ff:ff:ff`: the address of every vif and tap in the backend domain. Numerically the largest unicast
    /// address that is locally administered, so a bridge never takes it while it has another port.
    ///
    /// Source: Linux `drivers/net/xen-netback/interface.c`, `xenvif_alloc`.
    pub const BACKEND: MacAddr = MacAddr::new([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

    /// `ff:ff:ff:ff:ff:ff`: every station of the segment.
    pub const BROADCAST: MacAddr = MacAddr::new([0xff; 6]);

    /// `00:00:00:00:00:00`: no address; xl takes it as "make one".
    pub const ZERO: MacAddr = MacAddr::new([0; 6]);

    /// `00:16:3e`: the vendor's range that was given to the Xen project.
    pub const XEN_OUI: [u8; 3] = [0x00, 0x16, 0x3e];

    /// An address from its six octets.
    pub const fn new(octets: [u8; 6]) -> Self {
        MacAddr(MacAddr6::new(octets[0], octets[1], octets[2], octets[3], octets[4], octets[5]))
    }

    /// The six octets.
    pub fn octets(self) -> [u8; 6] {
        self.0.into_array()
    }

    /// Whether it names a group of stations (bit 0 of the first octet); the broadcast address is one of them.
    pub fn is_multicast(self) -> bool {
        self.octets()[0] & 1 == 1
    }

    /// Whether it is `ff:ff:ff:ff:ff:ff`.
    pub fn is_broadcast(self) -> bool {
        self == Self::BROADCAST
    }

    /// Whether it is `00:00:00:00:00:00`.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Whether it is locally administered (bit 1 of the first octet): given out here and not by a vendor.
    pub fn is_local(self) -> bool {
        self.octets()[0] & 2 == 2
    }

    /// Whether it lies in the Xen project's range `00:16:3e`.
    pub fn is_xen_oui(self) -> bool {
        self.octets()[..3] == Self::XEN_OUI
    }

    /// Reads an address as leniently as people write them: groups of one or two hexadecimal digits, with `:`, `-` or
    /// `.` between them; or twelve digits in a row; or three groups of four with dots. For texts that people type into
    /// a form; a configuration is read with [`str::parse`].
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the position.
    pub fn parse_lenient(text: &str) -> Result<Self, Error> {
        read_lenient(text).map_err(|flaw| flaw.error(text))
    }

    /// Whether libxl's own reader would take the text for an address (`libxl__parse_mac`), and which one it would be.
    ///
    /// That reader is not the one of `mac=` in a vif spec ([`config`](crate::config)); it serves `xl network-detach` and
    /// addresses that are read back from xenstore. It takes a sign or a blank for the first of the two characters of a
    /// group, and stops after six groups without a look at what follows a `:`.
    ///
    /// Source: `tools/libs/light/libxl_internal.c`, `libxl__parse_mac`.
    pub fn parse_as_libxl(text: &str) -> Option<Self> {
        let mut octets = [0u8; 6];
        let mut rest = text.as_bytes();
        for octet in &mut octets {
            let (group, after) = rest.split_at_checked(2)?;
            let hex = |b: u8| (b as char).to_digit(16).map(|d| d as u8);
            *octet = match (group[0], hex(group[1])?) {
                (b' ' | b'\t'..=b'\r' | b'+', low) => low,
                (b'-', low) => low.wrapping_neg(),
                (high, low) => (hex(high)? << 4) | low,
            };
            rest = match after {
                [] => after,
                [b':', after @ ..] => after,
                _ => return None,
            };
        }
        Some(MacAddr::new(octets))
    }

    /// Reads the strict form: what parsers of larger texts call.
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        // The happy path first and without a branch per rule; `explain` finds out what is wrong.
        let bytes: &[u8; 17] = match text.as_bytes().try_into() {
            Ok(bytes) => bytes,
            Err(_) => return Err(explain(text)),
        };
        let mut octets = [0u8; 6];
        let mut bad = 0u8;
        for (i, octet) in octets.iter_mut().enumerate() {
            let (high, low) = (HEX[usize::from(bytes[i * 3])], HEX[usize::from(bytes[i * 3 + 1])]);
            bad |= (high | low) & 0xf0;
            if i < 5 {
                bad |= bytes[i * 3 + 2] ^ b':';
            }
            *octet = (high << 4) | (low & 0x0f);
        }
        if bad == 0 { Ok(MacAddr::new(octets)) } else { Err(explain(text)) }
    }
}

/// The value of each hexadecimal digit, 0xff for every other byte.
const HEX: [u8; 256] = {
    let mut table = [0xff; 256];
    let mut i = 0;
    while i < 10 {
        table[b'0' as usize + i] = i as u8;
        i += 1;
    }
    let mut i = 0;
    while i < 6 {
        table[b'a' as usize + i] = 10 + i as u8;
        table[b'A' as usize + i] = 10 + i as u8;
        i += 1;
    }
    table
};

const RULE: &str = "six groups of two hexadecimal digits with ':' between them";

/// Why `text` is not in the strict form, at the first place that breaks it.
fn explain(text: &str) -> Box<Flaw> {
    let flaw = |span, rule: &str| {
        let flaw = Flaw::new(span, format!("{} is not a MAC address", quoted(text)), rule);
        match read_lenient(text) {
            Ok(mac) => flaw.hint(format!("write {mac}")),
            Err(_) => flaw.hint("for example 00:16:3e:01:02:03; without mac= one is generated"),
        }
    };
    if text.is_empty() {
        return flaw(0..0, RULE);
    }
    let mut at = 0;
    for (i, group) in text.split(':').enumerate() {
        let span = at..at + group.len();
        if i == 6 {
            return flaw(at - 1..text.len(), "six groups are needed, here is a seventh");
        }
        if let Some(p) = group.find(|c: char| !c.is_ascii_hexdigit()) {
            let found = group[p..].chars().next().map_or(0, char::len_utf8);
            let rule = match &group[p..p + found] {
                "-" | "." => "groups are separated by ':'".to_owned(),
                _ => format!("{}, and this is no hexadecimal digit", RULE),
            };
            return flaw(at + p..at + p + found, &rule);
        }
        if group.len() != 2 {
            return flaw(span, "each group has exactly two hexadecimal digits");
        }
        at += group.len() + 1;
    }
    flaw(0..text.len(), RULE)
}

fn read_lenient(text: &str) -> Result<MacAddr, Box<Flaw>> {
    let fail = || {
        Err(Flaw::new(0..text.len(), format!("{} is not a MAC address", quoted(text)), RULE)
            .hint("for example 00:16:3e:01:02:03"))
    };
    let separator = text.bytes().find(|b| !b.is_ascii_hexdigit());
    let mut octets = [0u8; 6];
    let groups: Vec<&str> = match separator {
        None => vec![text],
        Some(s @ (b':' | b'-' | b'.')) => text.split(s as char).collect(),
        Some(_) => return fail(),
    };
    if !groups.iter().all(|g| !g.is_empty() && g.bytes().all(|b| b.is_ascii_hexdigit())) {
        return fail();
    }
    let digits: String = match groups.len() {
        6 if groups.iter().all(|g| g.len() <= 2) => groups.iter().map(|g| format!("{g:0>2}")).collect(),
        3 if groups.iter().all(|g| g.len() == 4) => groups.concat(),
        1 if text.len() == 12 => text.to_owned(),
        _ => return fail(),
    };
    for (octet, pair) in octets.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        *octet = (HEX[usize::from(pair[0])] << 4) | HEX[usize::from(pair[1])];
    }
    Ok(MacAddr::new(octets))
}

impl From<MacAddr6> for MacAddr {
    fn from(mac: MacAddr6) -> Self {
        MacAddr(mac)
    }
}

impl From<MacAddr> for MacAddr6 {
    fn from(mac: MacAddr) -> Self {
        mac.0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Digit by digit: through six numbers of the formatter's it costs five times as much, and MACs are written often.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b':'; 17];
        for (pair, octet) in text.chunks_mut(3).zip(self.octets()) {
            pair[0] = DIGITS[usize::from(octet >> 4)];
            pair[1] = DIGITS[usize::from(octet & 0xf)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        MacAddr::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<String> for MacAddr {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

/// A MAC address that a guest's frontend can have: unicast, not zero, and not the backend's own.
///
/// Xen's tools check none of this: a multicast address gives a guest that no switch learns, and
/// `fe:ff:ff:ff:ff:ff` one that the bridge takes for its own port.
///
/// ```
/// use xennet_core::{GuestMac, MacAddr};
/// assert!("00:16:3e:01:02:03".parse::<GuestMac>().is_ok());
/// for bad in ["01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00", "fe:ff:ff:ff:ff:ff"] {
///     assert!(bad.parse::<GuestMac>().is_err());
/// }
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$")))]
#[serde(try_from = "String", into = "String")]
pub struct GuestMac(MacAddr);

impl GuestMac {
    /// Checks the rules.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a multicast, broadcast or zero address and for [`MacAddr::BACKEND`].
    pub fn new(mac: MacAddr) -> Result<Self, Error> {
        match refusal(mac) {
            None => Ok(GuestMac(mac)),
            Some((rule, hint)) => {
                Err(Error::new(ErrorKind::Invalid, format!("{mac} cannot be a guest's address: {rule}"))
                    .with_object(mac.to_string())
                    .with_hint(hint))
            }
        }
    }

    /// A generator's result, which is a guest's address by construction.
    pub(super) fn generated(octets: [u8; 6]) -> Option<Self> {
        let mac = MacAddr::new(octets);
        refusal(mac).is_none().then_some(GuestMac(mac))
    }

    /// The address.
    pub const fn get(self) -> MacAddr {
        self.0
    }

    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        let mac = MacAddr::read(text)?;
        match refusal(mac) {
            None => Ok(GuestMac(mac)),
            Some((rule, hint)) => {
                Err(Flaw::new(0..text.len(), format!("{mac} cannot be a guest's address"), rule).hint(hint))
            }
        }
    }
}

/// Why a guest cannot have this address, and the way out.
fn refusal(mac: MacAddr) -> Option<(&'static str, &'static str)> {
    if mac.is_broadcast() {
        Some(("it is the broadcast address", "use an address of one station, for example under 00:16:3e"))
    } else if mac.is_multicast() {
        Some(("it is a multicast address (bit 0 of the first octet is set)", "clear that bit"))
    } else if mac.is_zero() {
        Some(("all zero means no address (xl takes it as unset)", "leave mac= out to have one generated"))
    } else if mac == MacAddr::BACKEND {
        Some(("every vif has it on the backend's side", "use an address under 00:16:3e, or leave mac= out"))
    } else {
        None
    }
}

impl TryFrom<MacAddr> for GuestMac {
    type Error = Error;
    fn try_from(mac: MacAddr) -> Result<Self, Error> {
        GuestMac::new(mac)
    }
}

impl From<GuestMac> for MacAddr {
    fn from(mac: GuestMac) -> MacAddr {
        mac.0
    }
}

impl FromStr for GuestMac {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        GuestMac::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<String> for GuestMac {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<GuestMac> for String {
    fn from(mac: GuestMac) -> String {
        mac.to_string()
    }
}

impl fmt::Display for GuestMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for GuestMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strict_takes_exactly_one_spelling() {
        assert_eq!(MacAddr::read("00:16:3E:a0:Bc:ff").unwrap().octets(), [0, 0x16, 0x3e, 0xa0, 0xbc, 0xff]);
        for bad in [
            "",
            "0:16:3e:01:02:03",
            "00-16-3e-01-02-03",
            "00:16:3e:01:02",
            "00:16:3e:01:02:03:04",
            "00:16:3e:01:02:03 ",
            " 00:16:3e:01:02:03",
            "00:16:3e:01:02:0g",
            "00163e010203",
            "00:16:3e:01:02;03",
            "00:16:3e:01:0é:3",
        ] {
            let flaw = MacAddr::read(bad).unwrap_err();
            assert!(flaw.span.end <= bad.len(), "{bad}: {flaw:?}");
        }
        assert_eq!(MacAddr::read("00-16-3e-01-02-03").unwrap_err().hint.as_deref(), Some("write 00:16:3e:01:02:03"));
        assert_eq!(MacAddr::read("00:16:3e:01:02:03:04").unwrap_err().span, 17..20);
    }

    #[test]
    fn lenient_takes_what_people_write() {
        for text in ["00:16:3e:01:02:03", "0-16-3E-1-2-3", "00.16.3e.01.02.03", "00163e010203", "0016.3e01.0203"] {
            assert_eq!(MacAddr::parse_lenient(text).unwrap().to_string(), "00:16:3e:01:02:03", "{text}");
        }
        for text in ["00:16-3e:01:02:03", "00163e01020", "00:16:3e:01:02:", "0x0:16:3e:01:02:03", "016:3e:01:02:03:04"]
        {
            assert!(MacAddr::parse_lenient(text).is_err(), "{text}");
        }
    }
}
