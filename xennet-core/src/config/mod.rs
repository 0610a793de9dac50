//! Text in, values out, every error with its position.
