//! What the commands do, a file each.

mod advise;
mod common;
mod demo;
mod describe;
mod doctor;
mod guest;
mod host;
mod import;
mod install;
mod log;
mod mac;
mod network;
mod parse;
mod picture;
mod record;
mod show;
mod snippets;
mod trace;

use xennet_core::Result;

use crate::cli::{Cli, Command, MacCommand};
use crate::output::Output;

pub(crate) use network::table as network_table;

/// Runs the command that was asked for.
pub(crate) fn run(cli: &Cli, output: &mut Output) -> Result<()> {
    let global = &cli.global;
    // Held until the command has ended: the world goes with the value.
    let _world = match cli.command {
        // The demo makes its own.
        Command::Demo => None,
        Command::InstallScripts(_) if global.sandbox => return Err(install::not_in_the_sandbox()),
        Command::Snippets(_) if global.sandbox => return Err(snippets::not_in_the_sandbox()),
        _ if global.sandbox => Some(host::enter_sandbox(global, output)?),
        _ => None,
    };
    match &cli.command {
        Command::Parse(args) => parse::run(args, output),
        Command::Mac(MacCommand::Generate(args)) => mac::generate(args, output),
        Command::Plan(what) => host::plan(global, what, output),
        Command::Apply { file } => host::apply(global, file, output),
        Command::Attach(args) => host::attach(global, args, output),
        Command::Detach(args) => host::detach(global, args, output),
        Command::Doctor(args) => doctor::run(global, args, output),
        Command::Show { from, watch, counters } => {
            let look = match (watch, counters) {
                (true, _) => show::Look::Again,
                (false, true) => show::Look::Counters,
                (false, false) => show::Look::Once,
            };
            show::run(global, from.as_deref(), look, output)
        }
        Command::Picture(args) => picture::run(global, args, output),
        Command::Record(args) => record::run(global, args, output),
        Command::Trace(args) => trace::run(global, args, output),
        Command::Network(what) => network::run(global, what, output),
        Command::Confirm { names } => network::confirm(global, names, output),
        Command::Undo { what } => host::undo(global, what.as_deref(), output),
        Command::Recover => host::recover(global, output),
        Command::Log(args) => log::run(global, args, output),
        Command::InstallScripts(args) => install::run(args, output),
        Command::Advise(args) => advise::run(args, output),
        Command::Import(args) => import::run(args, output),
        Command::Snippets(args) => snippets::run(args, output),
        Command::Guest(args) => guest::run(global, args, output),
        Command::Hotplug { script, arguments } => host::hotplug(global, script, arguments),
        Command::Demo => demo::run(global, output),
        Command::Schema { name } => describe::schema(name.as_deref(), output),
        Command::Completions { shell } => describe::completions(*shell, output),
        Command::Man { command, dir } => describe::man(command, dir.as_deref(), output),
    }
}
