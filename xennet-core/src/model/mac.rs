//! MAC addresses with Xen's rules.

use std::fmt;

use macaddr::MacAddr6;
use serde::{Deserialize, Serialize};

/// A MAC address. Printed in lower case with colons, as the kernel, iproute2 and xenstore do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(MacAddr6);

impl MacAddr {
    /// `fe:ff:ff:ff:ff:ff`: the address of every vif and tap in the backend domain. Numerically the largest unicast
    /// address that is locally administered, so a bridge never takes it while it has another port.
    ///
    /// Source: Linux `drivers/net/xen-netback/interface.c`, `xenvif_alloc`.
    pub const BACKEND: MacAddr = MacAddr::new([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff]);

    /// An address from its six octets.
    pub const fn new(octets: [u8; 6]) -> Self {
        MacAddr(MacAddr6::new(octets[0], octets[1], octets[2], octets[3], octets[4], octets[5]))
    }

    /// The six octets.
    pub fn octets(self) -> [u8; 6] {
        self.0.into_array()
    }
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
        let [a, b, c, d, e, g] = self.octets();
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for MacAddr {
    type Error = crate::error::Error;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse::<MacAddr6>()
            .map(MacAddr)
            .map_err(|e| crate::error::Error::new(crate::error::ErrorKind::Invalid, e.to_string()))
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}
