//! Programs to start from. Each is a file of its own beside this one.
