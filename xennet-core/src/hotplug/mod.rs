//! The call that libxl makes for every vif, and what belongs to it: settings, hooks, logging.

pub mod hooks;
pub mod log;
pub mod settings;
