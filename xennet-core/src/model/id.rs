//! Numbers of domains and of the vifs in them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::IfName;
use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};

/// The number of a domain. 0 is dom0; guests get 1 to [`DomId::LAST`].
///
/// Source: `xen/include/public/xen.h`, `DOMID_FIRST_RESERVED` (0x7FF0): numbers from there on are not domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("maximum" = 32751)))]
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
            _ => Err(no_domid(&number.to_string())),
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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("maximum" = 65535)))]
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
        u16::try_from(number).map(DevId).map_err(|_| no_devid(&number.to_string()))
    }

    /// The number itself.
    pub const fn get(self) -> u16 {
        self.0
    }
}

fn no_domid(given: &str) -> Error {
    let rule = format!("domain id {given} is out of range: a domain's number is 0 to {}", DomId::LAST);
    Error::new(ErrorKind::Invalid, rule)
        .with_object(given)
        .with_hint("`xl domid NAME` prints the number of a running domain")
}

fn no_devid(given: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("device id {given} is out of range: it is 0 to {}", u16::MAX))
        .with_object(given)
}

macro_rules! number {
    ($type:ident, $what:literal, $out_of_range:ident) => {
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
                    // Digits only, but too many for the type.
                    Err(_) if canonical => Err($out_of_range(text)),
                    _ => Err(Error::new(
                        ErrorKind::Invalid,
                        format!("{} {} is not a decimal number without sign and leading zeros", $what, quoted(text)),
                    )
                    .with_object(beginning(text))),
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
number!(DomId, "domain id", no_domid);
number!(DevId, "device id", no_devid);

/// Which vif: domain and index. Names `vif<domid>.<devid>` and `vif<domid>.<devid>-emu` follow from it.
///
/// There are no other parts: Xen knows an interface by these two.
#[doc(alias = "netback")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

    /// The name that one of its links is made with.
    ///
    /// # Errors
    /// As [`tap_name`](Self::tap_name).
    pub fn link_name(self, type_if: TypeIf) -> Result<IfName, Error> {
        match type_if {
            TypeIf::Vif => Ok(self.vif_name()),
            TypeIf::Tap => self.tap_name(),
        }
    }

    /// Reads `vif<domid>.<devid>-emu`; `None` for any other name.
    pub fn from_tap_name(name: &str) -> Option<Self> {
        Self::from_vif_name(name.strip_suffix("-emu")?)
    }

    /// Reads `vif<domid>.<devid>`; `None` for any other name.
    pub fn from_vif_name(name: &str) -> Option<Self> {
        let (domid, devid) = name.strip_prefix("vif")?.split_once('.')?;
        Some(VifId { domid: domid.parse().ok()?, devid: devid.parse().ok()? })
    }
}

/// Which of a vif's two links in the backend domain: what a hotplug call names by `type_if=`.
///
/// There are no others: libxl says one of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum TypeIf {
    /// Netback's link, `vif<domid>.<devid>`.
    #[default]
    Vif,
    /// The emulated twin of an HVM guest, `vif<domid>.<devid>-emu`, made by the device model.
    Tap,
}

impl TypeIf {
    /// The word of hotplug calls: `vif` or `tap`.
    pub const fn name(self) -> &'static str {
        match self {
            TypeIf::Vif => "vif",
            TypeIf::Tap => "tap",
        }
    }
}

impl fmt::Display for TypeIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for VifId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vif{}.{}", self.domid, self.devid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_none_is_named_as_given() {
        for text in ["32752", "65536", "4294967296", "99999999999999999999"] {
            let e = text.parse::<DomId>().unwrap_err();
            assert_eq!((e.object(), e.kind()), (Some(text), ErrorKind::Invalid));
            assert!(e.message().contains(text) && e.message().contains("0 to 32751"), "{e}");
        }
        assert!("4294967296".parse::<DevId>().unwrap_err().message().contains("4294967296"));
        for text in ["", "05", "+5", "-1", " 5", "5 ", "0x5", "five"] {
            assert!(text.parse::<DomId>().unwrap_err().message().contains("leading zeros"), "{text:?}");
        }
        assert_eq!("32751".parse::<DomId>().unwrap(), DomId::LAST);
    }
}
