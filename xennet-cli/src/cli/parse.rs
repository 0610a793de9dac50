//! `parse`: which text is read, and by whose rules.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};
use xennet_core::config::Dialect;

#[derive(Args, Debug)]
pub(crate) struct ParseArgs {
    #[command(subcommand)]
    pub(crate) what: ParseWhat,

    #[command(flatten)]
    pub(crate) dialect: DialectArg,
}

#[derive(Args, Debug)]
pub(crate) struct DialectArg {
    /// The rules to read by: strict refuses what xl drops or misreads; xl reads as xl does; xm as the older xm did
    #[arg(id = "dialect", long = "dialect", global = true, value_name = "DIALECT", default_value = Dialect::Strict.name(), value_parser = dialects())]
    pub(crate) name: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ParseWhat {
    /// Reads one vif spec: one string of vif = [ ... ]
    Vif {
        /// The spec, or - for standard input
        text: String,
    },
    /// Reads the vif statements of a domain config
    VifList {
        /// The whole config, or - for standard input
        text: String,
    },
    /// Reads the arguments of xl network-attach behind the domain
    Attach {
        /// The arguments, one key=value each; a single - for standard input with one argument a line
        text: Vec<String>,
    },
    /// Reads the value of rate=
    Rate {
        /// The rate, or - for standard input
        text: String,
    },
    /// Reads the value of vlan=
    Vlan {
        /// The VLANs, or - for standard input
        text: String,
    },
    /// Reads the value of mac=
    Mac {
        /// The address, or - for standard input
        text: String,
    },
    /// Reads the file xend-config.sxp of Xen up to 4.4: which network script xend ran, and the script of each vif
    ///
    /// Remarks tell what xend dropped without a word: options outside of the quotes, second definitions, definitions within
    /// other brackets.
    XendConfig {
        /// The file, or - for standard input
        file: PathBuf,
    },
    /// Checks the file networks.toml, and prints each network as the document that the C library and the Python package take
    Networks {
        /// The file, or - for standard input
        #[arg(required_unless_present = "schema")]
        file: Option<PathBuf>,

        /// Prints the JSON schema of the file: every key with its type, its default, an example and what it does
        #[arg(long, conflicts_with = "file")]
        schema: bool,
    },
    /// Checks the file hotplug.toml, and prints every setting of hotplug calls
    Hotplug {
        /// The file, or - for standard input
        #[arg(default_value = xennet_core::hotplug::settings::DEFAULT_FILE)]
        file: PathBuf,

        /// Prints the JSON schema of the file: every key with its type, its default, an example and what it does
        #[arg(long, conflicts_with = "file")]
        schema: bool,
    },
}

fn dialects() -> PossibleValuesParser {
    PossibleValuesParser::new(Dialect::ALL.iter().map(|d| d.name()))
}
