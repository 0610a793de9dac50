//! The command line: the one definition that help, man page and completions come from.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use xennet_core::ErrorKind;

/// The networking of a Xen host: planned as data, applied to the kernel, verified, undone
#[derive(Debug, Parser)]
#[command(name = "xennet", version, after_long_help = exit_codes(), subcommand_required = true)]
#[command(infer_long_args = false, infer_subcommands = false, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes, before or behind its name.
#[derive(Args, Debug)]
pub(crate) struct Global {
    /// What is looked at and changed: the kernel, or a model of it that is kept in the state directory
    #[arg(long, global = true, value_enum, default_value_t = BackendName::Netlink)]
    pub(crate) backend: BackendName,

    /// Answers as one JSON document; remarks and errors as JSON, one a line, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Where journals, locks and records are kept
    #[arg(long, global = true, value_name = "DIR", env = "XENNET_STATE_DIR", default_value = "/run/xennet")]
    pub(crate) state_dir: PathBuf,

    /// Runs the command in namespaces of its own on a small host made for it: bridge xenbr0, uplink eth0, unconnected
    /// vif1.0 and vif2.0, and a state directory of its own. Needs no root and touches nothing real
    #[arg(long, global = true)]
    pub(crate) sandbox: bool,
}

/// What is looked at and changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BackendName {
    /// The kernel, over netlink
    Netlink,
    /// A model of the kernel, kept in the state directory
    Fake,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Prints the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page of the command, or of one of its commands, as roff
    Man {
        /// Which command, for example: plan attach
        command: Vec<String>,
    },
}

/// The definition as clap keeps it.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// The table of exit codes, from the same source as the codes.
fn exit_codes() -> String {
    let mut text = String::from("Exit codes:\n   0  done\n");
    for kind in ErrorKind::ALL {
        text.push_str(&format!("  {:>2}  {}\n", kind.number(), kind.meaning()));
    }
    text.push_str(
        "  Wrong usage ends with 2 too.\n\nA text argument of - is read from standard input; -- ends the options.",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent_and_names_every_exit_code() {
        definition().debug_assert();
        for kind in ErrorKind::ALL {
            assert!(exit_codes().contains(kind.meaning()));
        }
    }
}
