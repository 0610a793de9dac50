//! The commands that read or write files of the system: `install-scripts`, `advise`, `import`, `snippets`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::PossibleValuesParser;
use xennet_core::managers::Manager;

#[derive(Args, Debug)]
pub(crate) struct InstallArgs {
    /// Where Xen's scripts are
    #[arg(long, value_name = "DIR", default_value = "/etc/xen/scripts")]
    pub(crate) dir: PathBuf,

    /// Takes the names of scripts that are not ours; they are kept as vif-bridge.distrib and so on
    #[arg(long)]
    pub(crate) force: bool,

    /// Puts back what was there before, and removes what is ours
    #[arg(long, conflicts_with_all = ["force", "binary"])]
    pub(crate) undo: bool,

    /// The program that is installed; its name begins with xennet [default: this one]
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct AdviseArgs {
    /// Whether there is a network already that this host is part of
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    pub(crate) lan: Option<String>,

    /// Where guests' addresses come from: that network (lan), or a subnet of their own
    #[arg(long, value_name = "WHENCE", value_parser = ["lan", "own"])]
    pub(crate) addresses: Option<String>,

    /// Whether others in that network may begin connections to guests
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    pub(crate) reachable: Option<String>,

    /// Whether that network's router can be given a route to the guests' subnet
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    pub(crate) route: Option<String>,

    /// Whether the uplink carries frames of any MAC, or of this host's one alone (Wi-Fi, many hosters) [default: any]
    #[arg(long, value_name = "MACS", value_parser = ["any", "one"])]
    pub(crate) macs: Option<String>,

    /// Whether guests get their addresses by DHCP [default: no]
    #[arg(long, value_name = "YES|NO", value_parser = ["yes", "no"])]
    pub(crate) dhcp: Option<String>,

    /// The link towards that network [default: eth0, or where the default route points]
    #[arg(long, value_name = "NAME")]
    pub(crate) uplink: Option<String>,

    /// This host's address in that network, for example 192.168.0.3/24
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dom0: Option<String>,

    /// The guests' own subnet, for example 10.0.0.0/24; may be given several times [default: a free one]
    #[arg(long, value_name = "NETWORK")]
    pub(crate) subnet: Vec<String>,
}

#[derive(Args, Debug)]
pub(crate) struct ImportArgs {
    /// The config of xend, or - for standard input [default: /etc/xen/xend-config.sxp, if it is there or nothing else is given]
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// A wrapper script that calls network-bridge and its siblings; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) wrapper: Vec<PathBuf>,

    /// Which Xen the files were for, 3.0 to 4.4: what the bridge is called where they do not say [default: as with 3.1]
    #[arg(long, value_name = "VERSION")]
    pub(crate) xen: Option<String>,

    /// The uplink where the files name none: the link of the default route [default: eth0]
    #[arg(long, value_name = "NAME")]
    pub(crate) uplink: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct SnippetsArgs {
    /// Only this manager's text, without a heading
    #[arg(value_name = "MANAGER", value_parser = PossibleValuesParser::new(Manager::ALL.iter().map(|m| m.name())))]
    pub(crate) manager: Option<String>,

    /// A link that is to be left alone, too: a bridge of guests, or a vif that has a vifname; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) bridge: Vec<String>,

    /// Writes the texts to where they belong below this directory: / for this system, and then for managers only that are installed here. What
    /// is there and differs is refused
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Replaces files that differ
    #[arg(long, requires = "dir")]
    pub(crate) force: bool,

    /// Lists the managers that run on this system (or below --dir) and would take these links for theirs, by all of their files;
    /// ends with 18 if there are any, also where it cannot be told
    #[arg(long, conflicts_with_all = ["force", "manager"])]
    pub(crate) check: bool,
}
