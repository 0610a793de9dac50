//! The command line of `guest`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use xennet_core::guest::Format;

use super::DialectArg;

#[derive(Args, Debug)]
pub(crate) struct GuestArgs {
    /// The attached vif, for example vif5.0, or a vif line; - for standard input
    #[arg(value_name = "VIF|SPEC", required_unless_present = "list")]
    pub(crate) vif: Option<String>,

    /// The format that the guest's system reads
    #[arg(long, value_name = "FORMAT", required_unless_present = "list", value_parser = PossibleValuesParser::new(Format::ALL.iter().map(|f| f.name())))]
    pub(crate) format: Option<String>,

    /// Writes the file to its place below this directory, the root of the guest's mounted image; existing files are kept
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,

    /// Replaces existing files
    #[arg(long, requires = "into")]
    pub(crate) force: bool,

    /// The network that an address of the guest is in, for example 192.168.0.0/24; may be given several times
    #[arg(long, value_name = "NETWORK")]
    pub(crate) prefix: Vec<String>,

    /// The guest's gateway, at most one per family; a gateway outside the guest's prefixes is reached on the link
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) gateway: Vec<String>,

    /// The guest has no gateway, unless one is named
    #[arg(long)]
    pub(crate) no_gateway: bool,

    /// A name server; may be given several times
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<String>,

    /// A domain in which the guest looks up short names; may be given several times
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) search: Vec<String>,

    /// The guest asks by DHCP, and listens to router advertisements
    #[arg(long)]
    pub(crate) dhcp: bool,

    /// What the guest calls the interface [default: matched by its MAC, or eth0, xn0, Ethernet by its index]
    #[arg(long, value_name = "NAME")]
    pub(crate) interface: Option<String>,

    /// The file that describes the networks, for a vif whose network is not started [default: /etc/xennet/networks.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Lists the formats, and where the text of each belongs
    #[arg(long)]
    pub(crate) list: bool,

    #[command(flatten)]
    pub(crate) dialect: DialectArg,
}

/// The formats of guests' systems, from the same source as the texts.
pub(super) fn formats() -> String {
    let mut text = String::from("Formats:\n");
    for format in Format::ALL {
        text.push_str(&format!("  {:<15} {}: {}\n", format.name(), format.title(), format.place()));
    }
    text.push_str("\nFiles of another vif than the first have its number in their names.");
    text
}
