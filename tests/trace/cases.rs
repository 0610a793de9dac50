//! Named worlds: what has once been answered wrongly.
