//! Text that was given as an argument, in a file, or on standard input.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use xennet_core::{Errno, Error, ErrorKind, Result};

/// The most that is read from standard input or a file, in bytes. The largest domain config is a few KiB.
const MOST: u64 = 16 << 20;

/// The text itself, or all of standard input if it is `-`, without the newline at its end.
pub(crate) fn text(argument: &str) -> Result<String> {
    if argument != "-" {
        return Ok(argument.to_owned());
    }
    let mut text = stdin()?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// The text itself, or all of standard input if it is `-`: a text of several lines, whose last one ends with a newline.
pub(crate) fn lines(argument: &str) -> Result<String> {
    if argument == "-" { stdin() } else { Ok(argument.to_owned()) }
}

/// The arguments themselves, or the lines of standard input if there is exactly one and it is `-`.
pub(crate) fn list(arguments: &[String]) -> Result<Vec<String>> {
    match arguments {
        [one] if one == "-" => Ok(stdin()?.lines().map(str::to_owned).collect()),
        _ => Ok(arguments.to_vec()),
    }
}

/// The text of a file, or all of standard input if it is `-`.
pub(crate) fn file(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        return stdin();
    }
    let name = path.display().to_string();
    let file = File::open(path).map_err(|e| {
        // Nothing is wrong with the system where another file was meant.
        let kind = if e.kind() == std::io::ErrorKind::NotFound { ErrorKind::Invalid } else { ErrorKind::Io };
        let error = Error::new(kind, format!("{name} cannot be read")).with_object(&name);
        error.with_errno(Errno::from_io(&e)).with_hint("name the file, or - for standard input")
    })?;
    read(file, &name)
}

fn stdin() -> Result<String> {
    read(std::io::stdin().lock(), "standard input")
}

/// All that a source of this name has.
fn read(source: impl Read, name: &str) -> Result<String> {
    let named = |e: Error| e.with_object(name);
    let mut bytes = Vec::new();
    source.take(MOST + 1).read_to_end(&mut bytes).map_err(|e| {
        named(Error::new(ErrorKind::Io, format!("{name} cannot be read")).with_errno(Errno::from_io(&e)))
    })?;
    if bytes.len() as u64 > MOST {
        let message = format!("{name} has more than {MOST} bytes, the most that is read");
        return Err(named(Error::new(ErrorKind::Invalid, message)));
    }
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        named(Error::new(ErrorKind::Invalid, format!("{name} is not UTF-8 from byte {at} on")))
    })
}
