//! The three modes, and the scripts of Xen that stand for them.

use super::{NetworkMode, VifSpec};
use crate::error::{Error, ErrorKind};

/// How a guest is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Bridge,
    Nat,
    Routed,
}

impl Mode {
    /// The script of Xen that connects a vif so.
    const fn script(self) -> &'static str {
        match self {
            Mode::Bridge => "vif-bridge",
            Mode::Nat => "vif-nat",
            Mode::Routed => "vif-route",
        }
    }

    /// The word for it in sentences.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Mode::Bridge => "bridge",
            Mode::Nat => "NAT",
            Mode::Routed => "routed",
        }
    }

    /// The mode that a vif line asks for by `script=`; without it, bridge mode.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] for any other script.
    pub(crate) fn of_vif(vif: &VifSpec) -> Result<Mode, Error> {
        let Some(script) = vif.script() else { return Ok(Mode::Bridge) };
        let name = script.as_str().rsplit('/').next().unwrap_or_default();
        // The same beside Xen's own: `xennet install-scripts`.
        let name = name.strip_prefix("xennet-").unwrap_or(name);
        let known = [Mode::Bridge, Mode::Nat, Mode::Routed].into_iter().find(|mode| mode.script() == name);
        known.ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("script={script} is not a script that xennet replaces"))
                .with_object(script.as_str())
                .with_hint("leave script= out, or write script=vif-bridge, vif-nat or vif-route")
        })
    }

    /// Whether a network is of this mode.
    pub(crate) const fn is_of(self, network: &NetworkMode) -> bool {
        matches!(
            (self, network),
            (Mode::Bridge, NetworkMode::Bridge(_))
                | (Mode::Nat, NetworkMode::Nat(_))
                | (Mode::Routed, NetworkMode::Routed(_))
        )
    }
}
