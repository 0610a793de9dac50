//! The terminal that standard output may be.

use std::io::IsTerminal as _;

/// How wide text is where nobody says how wide it can be.
pub(crate) const USUAL: usize = 100;

/// How many columns a line on standard output has room for.
pub(crate) fn width() -> usize {
    let stdout = std::io::stdout();
    if !stdout.is_terminal() {
        return USUAL;
    }
    match rustix::termios::tcgetwinsize(&stdout) {
        Ok(size) if size.ws_col > 0 => usize::from(size.ws_col),
        _ => USUAL,
    }
}
