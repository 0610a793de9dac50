//! Events for the crate `tracing` (feature `tracing`). Without the feature they compile to nothing.

/// An event: its level, fields, and a message, as the macros of `tracing` take them.
#[cfg(feature = "tracing")]
macro_rules! event {
    ($level:ident, $($what:tt)+) => { ::tracing::$level!($($what)+) };
}

/// Nothing.
#[cfg(not(feature = "tracing"))]
macro_rules! event {
    ($level:ident, $($what:tt)+) => {{}};
}

pub(crate) use event;
