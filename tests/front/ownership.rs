//! Whose is what.
