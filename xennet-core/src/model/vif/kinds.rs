//! Two keys of a vif: with or without an emulated twin, and the domain that holds the backend.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::model::flaw::{Flaw, quoted};
use crate::model::{DomId, Word};

/// Whether a vif has an emulated twin. HVM guests only; others are always `vif`.
///
/// There are no others: xl knows these (`xl-network-configuration.5`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum VifType {
    /// `type=vif`: the paravirtual vif alone.
    #[serde(rename = "vif")]
    Vif,
    /// `type=ioemu`: an emulated NIC (a tap) beside it, until the guest's drivers unplug it.
    #[serde(rename = "vif_ioemu")]
    Ioemu,
}

impl VifType {
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        match text {
            "vif" => Ok(VifType::Vif),
            "ioemu" => Ok(VifType::Ioemu),
            _ => {
                let flaw =
                    Flaw::new(0..text.len(), format!("{} is no type of vif", quoted(text)), "type is vif or ioemu");
                Err(match text {
                    "netfront" | "paravirtualised" => flaw.hint("write type=vif"),
                    _ => flaw.hint("leave type= out for the guest's usual one"),
                })
            }
        }
    }
}

impl fmt::Display for VifType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            VifType::Vif => "vif",
            VifType::Ioemu => "ioemu",
        })
    }
}

impl FromStr for VifType {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        VifType::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

/// The domain that holds a vif's backend: a number or a name. Digits alone are a number, as for xl.
///
/// There are no others: xl takes a number or a name.
#[doc(alias("driver domain", "backend domain"))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub enum BackendDomain {
    /// By number.
    Id(DomId),
    /// By name; never digits alone, if it was read from a text.
    Name(Word),
}

impl BackendDomain {
    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().map(BackendDomain::Id).map_err(|_| {
                Flaw::new(
                    0..text.len(),
                    format!("{} is no domain's number", quoted(text)),
                    "0 to 32751, without leading zeros",
                )
            });
        }
        Word::read(text).map(BackendDomain::Name)
    }
}

impl fmt::Display for BackendDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackendDomain::Id(id) => id.fmt(f),
            BackendDomain::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for BackendDomain {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        BackendDomain::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

impl TryFrom<String> for BackendDomain {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<BackendDomain> for String {
    fn from(domain: BackendDomain) -> String {
        domain.to_string()
    }
}
