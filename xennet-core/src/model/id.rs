//! Numbers of domains and of the vifs in them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::IfName;
use crate::error::{Error, ErrorKind};

/// The number of a domain. 0 is dom0; guests get 1 to [`DomId::LAST`].
///
/// Source: `xen/include/public/xen.h`, `DOMID_FIRST_RESERVED` (0x7FF0): numbers from there on are not domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DomId(u16);

impl DomId {
    /// The control domain.
    pub const DOM0: DomId = DomId(0);
    /// The largest number that a domain can have.
    pub const LAST: DomId = DomId(0x7FEF);

    /// Checks the range 0 to 32751.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a number that Xen never gives to a domain.
    pub fn new(number: u32) -> Result<Self, Error> {
        match u16::try_from(number) {
            Ok(n) if n <= Self::LAST.0 => Ok(DomId(n)),
            _ => Err(Error::new(
                ErrorKind::Invalid,
                format!("domain id {number} is out of range: a domain's number is 0 to {}", Self::LAST.0),
            )
            .with_object(number.to_string())
            .with_hint("`xl domid NAME` prints the number of a running domain")),
        }
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// The index of a vif in its domain, from 0.
///
/// The toolstack stores it as text without a limit; xennet takes 0 to 65535, far more than a domain can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DevId(u16);

impl DevId {
    /// The first vif of a domain.
    pub const FIRST: DevId = DevId(0);

    /// Checks the range 0 to 65535.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a larger number.
    pub fn new(number: u32) -> Result<Self, Error> {
        u16::try_from(number).map(DevId).map_err(|_| {
            Error::new(ErrorKind::Invalid, format!("device id {number} is out of range: it is 0 to {}", u16::MAX))
                .with_object(number.to_string())
        })
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

macro_rules! number {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $type {
            type Err = Error;

            /// Decimal digits without sign, blanks or leading zeros.
            fn from_str(text: &str) -> Result<Self, Error> {
                let canonical = text == "0"
                    || (!text.is_empty() && !text.starts_with('0') && text.bytes().all(|b| b.is_ascii_digit()));
                match text.parse::<u32>() {
                    Ok(n) if canonical => $type::new(n),
                    // Digits only, but too many for the type: the range is what the reader must hear of.
                    Err(_) if canonical => $type::new(u32::MAX).map_err(|e| e.with_object(text)),
                    _ => Err(Error::new(
                        ErrorKind::Invalid,
                        format!("{} \"{}\" is not a decimal number", $what, text.escape_debug()),
                    )
                    .with_object(text)),
                }
            }
        }

        impl TryFrom<u32> for $type {
            type Error = Error;
            fn try_from(number: u32) -> Result<Self, Error> {
                $type::new(number)
            }
        }

        impl From<$type> for u32 {
            fn from(value: $type) -> u32 {
                u32::from(value.0)
            }
        }
    };
}
number!(DomId, "domain id");
number!(DevId, "device id");

/// Which vif: domain and index. Names `vif<domid>.<devid>` and `vif<domid>.<devid>-emu` follow from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct VifId {
    /// The guest.
    pub domid: DomId,
    /// The vif in the guest.
    pub devid: DevId,
}

impl VifId {
    /// The vif with this index in this domain.
    pub const fn new(domid: DomId, devid: DevId) -> Self {
        VifId { domid, devid }
    }

    /// The name netback gives the link, `vif<domid>.<devid>`: at most 14 bytes (`vif32751.65535`).
    pub fn vif_name(self) -> IfName {
        IfName::literal(&format!("vif{}.{}", self.domid, self.devid))
    }

    /// The name of the emulated twin, `vif<domid>.<devid>-emu`.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if it would be longer than 15 bytes, as for `vif32751.999-emu`.
    pub fn tap_name(self) -> Result<IfName, Error> {
        self.vif_name().tap()
    }

    /// Reads `vif<domid>.<devid>`; `None` for any other name.
    pub fn from_vif_name(name: &str) -> Option<Self> {
        let (domid, devid) = name.strip_prefix("vif")?.split_once('.')?;
        Some(VifId { domid: domid.parse().ok()?, devid: devid.parse().ok()? })
    }
}

impl fmt::Display for VifId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vif{}.{}", self.domid, self.devid)
    }
}
