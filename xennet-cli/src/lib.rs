//! The command `xennet`: data goes to standard output, everything else to standard error.
//!
//! - Exit codes are the numbers of [`ErrorKind`](xennet_core::ErrorKind); 0 is success, 2 is wrong usage as well as wrong
//!   text. `trace` and `doctor` answer with 0, 1 or 2, too: their answer is then on standard output.
//! - With `--json` the answer is one JSON document, and standard error has one JSON document a line: errors as
//!   [`Error::to_json`](xennet_core::Error::to_json) makes them, remarks as `{"note": "..."}`; wrong usage is an
//!   error like others there.
//! - Under the name of a vif script (`vif-bridge`, `vif-nat`, `vif-route`) it is that script: what it says goes to standard error, the reason for a failure
//!   to xenstore, and the exit status is 0 or 1.
//! - Colour is for terminals only, and not if `NO_COLOR` is set (<https://no-color.org>).
//!
//! The package is a library too, so that tests and examples can use the [`sandbox`] in which the command rehearses.

pub mod arena;
mod cli;
mod command;
mod files;
mod hotplug;
mod input;
mod legacy;
mod man;
mod names;
mod output;
pub mod sandbox;
mod table;
mod terminal;

use std::process::ExitCode;

pub use man::words;

use output::Output;

/// Runs the command with the arguments of this process: what `main` does.
pub fn main() -> ExitCode {
    let arguments: Vec<std::ffi::OsString> = std::env::args_os().collect();
    if let Some((script, arguments, state_dir)) = hotplug::asked_for(&arguments) {
        hotplug::main(script, arguments, state_dir);
    }
    if let Some((script, arguments)) = legacy::asked_for(&arguments) {
        return legacy::main(script, &arguments);
    }
    if let [_, option] = &arguments[..]
        && (option == "--version" || option == "-V")
    {
        // What scripts ask first, and often: it needs no definition of a command line.
        let mut output = Output::new(false);
        let text = concat!("xennet ", env!("CARGO_PKG_VERSION"));
        let result = output.line(text).and_then(|()| output.finish());
        return end(result, &mut output);
    }
    let cli = match cli::read() {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() && arguments.iter().any(|a| a == "--json") => {
            let mut output = Output::new(true);
            return end(Err(output::usage(&e)), &mut output);
        }
        Err(e) if e.use_stderr() => {
            // Nothing can be said if standard error is closed.
            let _ = e.print();
            return ExitCode::from(xennet_core::ErrorKind::Invalid.number());
        }
        // Help and version are answers, and an answer that is lost is an error.
        Err(e) => return end(output::help(&e), &mut Output::new(false)),
    };
    let mut output = Output::new(cli.global.json);
    let result = command::run(&cli, &mut output).and_then(|()| output.finish());
    end(result, &mut output)
}

/// Whether the command line takes these words, the first of which is the program: what tests of documents ask. Nothing is run.
///
/// # Errors
/// What is wrong with the usage, in clap's words.
pub fn takes(words: &[&str]) -> Result<(), String> {
    cli::definition().try_get_matches_from(words).map(drop).map_err(|e| e.to_string())
}

/// The exit code for a result, and the error's words.
fn end(result: xennet_core::Result<()>, output: &mut Output) -> ExitCode {
    match result {
        Ok(()) => ExitCode::from(output.status()),
        Err(e) => {
            output.error(&e);
            ExitCode::from(e.kind().number())
        }
    }
}
