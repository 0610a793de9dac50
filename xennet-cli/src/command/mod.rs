//! What the commands do, a file each.

mod describe;
mod mac;
mod parse;

use xennet_core::Result;

use crate::cli::{Cli, Command, MacCommand};
use crate::output::Output;

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<()> {
    match &cli.command {
        Command::Parse(args) => parse::run(args, output),
        Command::Mac(MacCommand::Generate(args)) => mac::generate(args, output),
        Command::Completions { shell } => describe::completions(*shell, output),
        Command::Man { command } => describe::man(command, output),
    }
}
