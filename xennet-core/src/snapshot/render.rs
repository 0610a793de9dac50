//! A snapshot as sorted text, one fact a line, as an administrator would type it.
