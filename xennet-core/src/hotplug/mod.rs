//! The call that libxl makes for every vif, and what belongs to it: settings, hooks, logging.

pub mod log;
pub mod settings;
