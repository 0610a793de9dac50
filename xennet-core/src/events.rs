//! What happens inside, told to the crate `tracing` with the feature of that name. Without it nothing of this is compiled.

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
