//! What an operation is about.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::{IfName, TypeIf, VifId};
use crate::error::Error;

/// What an operation is about: the unit of locking, journalling and undoing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Subject {
    /// A vif.
    Vif(VifId),
    /// The emulated twin of a vif.
    Tap(VifId),
    /// A bridge.
    Bridge(IfName),
    /// A network, by its name.
    Network(IfName),
}

impl Subject {
    /// One of the two links of a vif.
    pub const fn of(id: VifId, type_if: TypeIf) -> Self {
        match type_if {
            TypeIf::Vif => Subject::Vif(id),
            TypeIf::Tap => Subject::Tap(id),
        }
    }

    /// The vif, and which of its links it is; `None` for what is no vif's.
    pub(crate) const fn vif(self) -> Option<(VifId, TypeIf)> {
        match self {
            Subject::Vif(id) => Some((id, TypeIf::Vif)),
            Subject::Tap(id) => Some((id, TypeIf::Tap)),
            Subject::Bridge(_) | Subject::Network(_) => None,
        }
    }

    /// Reads `vif<domid>.<devid>`, `vif<domid>.<devid>-emu`, `bridge-<name>` or `network-<name>`; `None` for any other text.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        if let Some(bridge) = name.strip_prefix("bridge-") {
            return bridge.parse().ok().map(Subject::Bridge);
        }
        match name.strip_prefix("network-") {
            Some(network) => network.parse().ok().map(Subject::Network),
            None => Subject::of_vif(name),
        }
    }

    fn of_vif(name: &str) -> Option<Self> {
        VifId::from_vif_name(name).map(Subject::Vif).or_else(|| VifId::from_tap_name(name).map(Subject::Tap))
    }
}

impl fmt::Display for Subject {
    /// The name of its file in the state directory: `vif5.0`, `vif5.0-emu`, `bridge-xenbr0`. For a vif or tap it is the name
    /// that its link was made with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Vif(id) => id.fmt(f),
            Subject::Tap(id) => write!(f, "{id}-emu"),
            Subject::Bridge(name) => write!(f, "bridge-{name}"),
            Subject::Network(name) => write!(f, "network-{name}"),
        }
    }
}

impl FromStr for Subject {
    type Err = Error;

    /// Reads what `Display` writes. A name that is neither a vif's or tap's nor starts with `bridge-` is a bridge's own.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Some(subject) = Subject::of_vif(text) {
            return Ok(subject);
        }
        if let Some(network) = text.strip_prefix("network-") {
            return network.parse().map(Subject::Network);
        }
        let name = text.strip_prefix("bridge-").unwrap_or(text).parse();
        name.map(Subject::Bridge)
            .map_err(|e: Error| e.with_hint("name a vif, as in vif5.0, a bridge, or a network, as in network-lan"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back() {
        for text in [
            "vif5.0",
            "vif5.0-emu",
            "bridge-xenbr0",
            "bridge-vif5.0-emu",
            "bridge-bridge-x",
            "bridge-vif5.0",
            "network-lan",
        ] {
            assert_eq!(text.parse::<Subject>().unwrap().to_string(), text);
        }
        assert_eq!("xenbr0".parse::<Subject>().unwrap().to_string(), "bridge-xenbr0");
        for bad in ["", "bridge-", "a/b", "bridge-a-name-that-is-too-long"] {
            let e = bad.parse::<Subject>().unwrap_err();
            assert_eq!(
                (e.kind(), e.hint()),
                (
                    crate::ErrorKind::Invalid,
                    Some("name a vif, as in vif5.0, a bridge, or a network, as in network-lan")
                )
            );
        }
    }
}
