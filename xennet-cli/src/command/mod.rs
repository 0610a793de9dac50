//! What the commands do, a file each.

mod describe;

use xennet_core::Result;

use crate::cli::{Cli, Command};
use crate::output::Output;

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<()> {
    match &cli.command {
        Command::Completions { shell } => describe::completions(*shell, output),
        Command::Man { command } => describe::man(command, output),
    }
}
