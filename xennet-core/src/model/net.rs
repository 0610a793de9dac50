//! Sizes of packets, and the address that is the same on every guest's link.

use std::fmt;
use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The largest packet a link carries, in bytes without the ethernet header: 68 to 65517.
///
/// 68 is the smallest that IPv4 allows and that the kernel takes for ethernet (`include/uapi/linux/if_ether.h`,
/// `ETH_MIN_MTU`); 65517 (65535 − 18) is the most that netback takes for a vif (`xenvif_change_mtu`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("minimum" = 68, "maximum" = 65517)))]
#[serde(try_from = "u32", into = "u32")]
pub struct Mtu(u16);

/// This domain's address on the vif of every IPv6 guest that it has a route to: a gateway that is the same everywhere.
pub(crate) const LINK_LOCAL_GATEWAY: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);

/// A number that is no [`Mtu`].
///
/// There are no other parts: it is the number that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an MTU is 68 to 65517 bytes, not {0}")]
pub struct MtuError(pub u32);

impl From<MtuError> for Error {
    fn from(e: MtuError) -> Self {
        Error::new(ErrorKind::Invalid, e.to_string()).with_object(e.0.to_string())
    }
}

impl Mtu {
    /// 68 bytes.
    pub const MIN: Mtu = Mtu(68);
    /// 65517 bytes.
    pub const MAX: Mtu = Mtu(65517);
    /// The smallest MTU in bytes that IPv6 lives on (RFC 8200, section 5). Linux ends IPv6 on a link with less (`IPV6_MIN_MTU`).
    pub const IPV6_MIN: u32 = 1280;
    /// 1500 bytes, ethernet's usual size.
    pub const ETHERNET: Mtu = Mtu(1500);

    /// Checks the range.
    ///
    /// # Errors
    /// [`MtuError`] outside of 68 to 65517.
    pub fn new(bytes: u32) -> Result<Self, MtuError> {
        match u16::try_from(bytes) {
            Ok(n) if (Self::MIN.0..=Self::MAX.0).contains(&n) => Ok(Mtu(n)),
            _ => Err(MtuError(bytes)),
        }
    }

    /// Bytes.
    pub const fn get(self) -> u32 {
        self.0 as u32
    }
}

impl TryFrom<u32> for Mtu {
    type Error = MtuError;
    fn try_from(bytes: u32) -> Result<Self, MtuError> {
        Mtu::new(bytes)
    }
}

impl From<Mtu> for u32 {
    fn from(mtu: Mtu) -> u32 {
        mtu.get()
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
