//! Names that several faces of the command share.

pub(crate) use xennet_core::hotplug::SCRIPTS;

/// The variable of the environment that stands for `--state-dir`.
pub(crate) const STATE_DIR: &str = "XENNET_STATE_DIR";
