//! Carrying a plan out: apply, verify, restore; journal, lock, recovery.
