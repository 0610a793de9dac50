//! Names that several faces of the command share.

/// The variable of the environment that stands for `--state-dir`.
pub(crate) const STATE_DIR: &str = "XENNET_STATE_DIR";

/// The vif scripts that this program stands in for.
pub(crate) const SCRIPTS: [&str; 3] = ["vif-bridge", "vif-nat", "vif-route"];
