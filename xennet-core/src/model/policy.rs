//! How far a guest on a bridge is filtered.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, quoted};
use crate::error::Error;

/// How far what a guest sends at a bridge is filtered: `policy=` of a vif line, or of its network.
///
/// Where nothing is said, a guest with declared addresses (`ip=`, `prefix=`) is filtered as with [`Strict`](Policy::Strict), and one
/// without them not at all, or by its MAC, as the host is set ([`MacBinding`](crate::MacBinding)).
///
/// ```
/// use xennet_core::{Policy, VifSpec};
/// let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6,policy=mac".parse()?;
/// assert_eq!(vif.policy(), Some(Policy::Mac));
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("spoofing", "antispoof", "anti-spoofing", "nwfilter"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Policy {
    /// Not at all. Declared addresses are addresses only, and bind nobody.
    Off,
    /// The guest sends from its own MACs only, and from any address.
    Mac,
    /// The guest sends from its own MACs and declared addresses only. Without declared addresses nothing passes.
    Strict,
    /// The guest is connected, and nothing passes, neither from it nor to it.
    Disabled,
}

impl Policy {
    /// All of them, from the loosest to the tightest.
    pub const ALL: [Policy; 4] = [Policy::Off, Policy::Mac, Policy::Strict, Policy::Disabled];

    /// The word for it in a vif line.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Off => "off",
            Policy::Mac => "mac",
            Policy::Strict => "strict",
            Policy::Disabled => "disabled",
        }
    }

    pub(crate) const RULE: &str = "policy is off, mac, strict or disabled";

    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        Policy::ALL
            .into_iter()
            .find(|policy| policy.name() == text)
            .ok_or_else(|| Flaw::new(0..text.len(), format!("{} is no policy", quoted(text)), Policy::RULE))
            .map_err(|flaw| match text {
                "none" | "no" | "0" => flaw.hint("write policy=off"),
                "on" | "yes" | "1" => flaw.hint("write policy=strict"),
                "locked" | "closed" => flaw.hint("write policy=disabled"),
                _ => flaw.hint("leave policy= out for the usual: strict with ip=, and off without"),
            })
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        Policy::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}
