//! The in-memory kernel: a snapshot, the transition function, and faults as values.
