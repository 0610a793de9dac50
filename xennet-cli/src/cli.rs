//! The command line: the one definition that help, man page and completions come from.

mod files;
mod guest;
mod parse;
mod trace;

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use xennet_core::ErrorKind;
use xennet_core::macgen::Scheme;

pub(crate) use self::files::{AdviseArgs, ImportArgs, InstallArgs, SnippetsArgs};
pub(crate) use self::guest::GuestArgs;
use self::guest::formats;
pub(crate) use self::parse::{DialectArg, ParseArgs, ParseWhat};
pub(crate) use self::trace::TraceArgs;
use crate::names::{SCRIPTS, STATE_DIR};

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
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The system that is shown and changed: the kernel, or a model of it that is kept in the state directory
    #[arg(long, global = true, value_enum, default_value_t = BackendName::Netlink)]
    pub(crate) backend: BackendName,

    /// Prints the answer as one JSON document (see xennet schema), and notes and errors as JSON documents, one a line, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// The state directory: journals, locks and records [env: XENNET_STATE_DIR] [default: /run/xennet]
    // Read by `read`: clap takes what a variable says for an option that was typed, and shows it in every usage.
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) state_dir: Option<PathBuf>,

    /// Runs the command on a small host of its own, in namespaces: nothing real is touched, and no root is needed
    ///
    /// That host has the bridge xenbr0, the uplink eth0, the vifs vif1.0 and vif2.0, connected to nothing, and a state
    /// directory of its own. It goes when the command ends.
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
    /// Reads a text and prints its meaning, or the place of the error and the rule
    Parse(ParseArgs),
    /// Makes MAC addresses
    #[command(subcommand)]
    Mac(MacCommand),
    /// Shows the steps of a command with their reasons, and changes nothing
    #[command(subcommand)]
    Plan(PlanWhat),
    /// Applies saved plans, or says what has changed since they were made
    ///
    /// xennet --json plan ... makes them. Each plan is made again. If the steps are the same, they are carried out; if not, nothing is done.
    /// Several plans are carried out one after the other. If a plan changes what a later one needs, as two networks that need the same table
    /// do, the later plan is refused: make it again.
    Apply {
        /// A file with the plans as JSON, one after the other; - for standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Connects a vif to its network; restores the earlier state if that fails
    Attach(AttachArgs),
    /// Disconnects a vif
    Detach(DetachArgs),
    /// Shows the networking of this host: networks, uplinks, bridges, vifs with their guests, traffic, routes, filters, and what is missing
    ///
    /// With --json it is one document: vifs and bridges, networks, routes, guest_routes (how many lead to guests), filters, made_by (who has
    /// made each link), managers (programs that may take guests' links), picture (who is where, as of xennet --json picture), and unseen (what could not be looked at, and why).
    Show {
        /// Shows a recorded host instead of this one: a file of xennet record, or - for standard input
        #[arg(long, value_name = "FILE")]
        from: Option<PathBuf>,

        /// Shows it anew whenever links, addresses, routes or nft tables change; with --json one document a line
        #[arg(long, conflicts_with = "from")]
        watch: bool,

        /// Shows only the packets of guests that were dropped since the guests were attached, by link and class
        ///
        /// Classes: bridge-control, vlan, mac, address, protocol, router, dhcp-server, unreadable, closed, isolated, host, lan.
        #[arg(long, conflicts_with = "watch")]
        counters: bool,
    },
    /// Finds problems that cut guests off from their network, and says how to fix them
    ///
    /// Looks at the kernel, xenstore, the records, the networks file and other programs' files, and changes nothing without --fix. WHAT is a
    /// network, a vif (vif5.0), a link, or a domain's name: only findings about it are told. xennet doctor --codes explains all kinds.
    #[command(after_long_help = DOCTOR_EXIT)]
    Doctor(DoctorArgs),
    /// Draws the network: outside, gateway, uplinks, bridges and routes, vifs, guests with name, address and MAC
    ///
    /// Of this host, of a recorded one (--from), of networks as they are described (--described), or of what plans would change (--plan).
    /// As text, if nothing else is asked for: as wide as the terminal, or 100 columns. Many guests that differ in nothing but name and
    /// address are drawn as one.
    Picture(PictureArgs),
    /// Writes the network state of this host into one file, for a bug report
    ///
    /// The file is a JSON document: links, addresses, routes, settings, nft tables, the records of xennet, and what xenstore says of vifs.
    /// What cannot be read is listed in it with the reason. Nothing is changed on the host, and an existing file is kept.
    Record(RecordArgs),
    /// Follows a packet and its answer hop by hop: what drops it, or with which source address it arrives
    ///
    /// FROM and TO are a domain's name, a domain id, a vif (vif5.0), dom0, outside, or an IP address. It is a simulation on what is seen of
    /// the host, or on a recording: nothing is sent. The first line is the answer; below it are the rule, route or link of each hop.
    ///
    /// Exit status: 0 if the packet arrives, 1 if it is dropped, 2 if that is not known, as when a rule decides that cannot be judged. An
    /// error has nothing on standard output: 3 for a domain or vif that is not there, 18 for a question with two meanings on this host,
    /// and others as in xennet --help.
    #[command(verbatim_doc_comment)]
    Trace(TraceArgs),
    /// Starts, stops and shows the networks of /etc/xennet/networks.toml
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Keeps networks that were started with --confirm
    Confirm {
        /// Which; without names all that wait for it
        #[arg(value_name = "NETWORK")]
        names: Vec<String>,
    },
    /// Undoes the last operation
    Undo {
        /// A vif (vif5.0), a bridge, or a network with network- before its name (network-lan); without it the last operation of
        /// all is undone
        #[arg(value_name = "VIF|BRIDGE|NETWORK")]
        what: Option<String>,
    },
    /// Finishes or undoes what a crash interrupted, and restores what attached guests and started networks lack
    Recover,
    /// Lists the last hotplug calls, the newest last: the result, the plan and the times of each
    Log(LogArgs),
    /// Installs the hotplug scripts beside those of Xen, or in their place
    ///
    /// DIR gets xennet-vif-bridge, xennet-vif-nat and xennet-vif-route, for guests that ask for one of them with script=. If DIR has
    /// no vif-bridge, it gets that one too. A vif-bridge that is there is left alone; with --force it is kept as vif-bridge.distrib,
    /// and its name is ours; vif-nat and vif-route likewise. Where dpkg knows the original, a diversion is registered, so that an upgrade does not put it back.
    ///
    /// The program that is installed is run as root by libxl. One that others than root or you can write is refused.
    InstallScripts(InstallArgs),
    /// Recommends one of the three modes, bridge, nat or routed, with the reasons and the text of networks.toml
    ///
    /// Options say what is known. Without options, on a terminal, the command asks. The answer is the text of networks.toml. Its comments have
    /// the reasons, and what has to be done elsewhere.
    Advise(AdviseArgs),
    /// Converts the network files of Xen up to 4.4 to networks.toml: xend-config.sxp, and the wrapper script that it names
    ///
    /// Prints the text. Notes on standard error say what was dropped or guessed, and what differs now. Nothing is run, and nothing
    /// is written. A wrapper that the config names is read from its place, unless --wrapper names another one.
    Import(ImportArgs),
    /// Prints the files that keep other network managers off guests' links, or writes them
    ///
    /// NetworkManager, systemd-networkd, udev and dhcpcd are told to leave vifs (vif*), taps (tap*, *-emu) and the links given
    /// with --bridge as they are. Without --dir nothing is written, and each text is printed with the path that it belongs to.
    Snippets(SnippetsArgs),
    /// Prints the network configuration of a guest in the format of its own system, or writes it into the guest's image
    ///
    /// VIF is an attached vif (vif5.0), or a vif line. Addresses come from ip=, the rest from the vif's network. xennet does not know the LAN
    /// of a bridged guest: give its prefix, gateway and name servers with --prefix, --gateway and --dns, or use --dhcp if the LAN has DHCP.
    /// What a format cannot express is an error, or a note on standard error if the guest can do without it.
    #[command(after_long_help = formats())]
    Guest(Box<GuestArgs>),
    /// Carries out the call of a vif script, with the arguments and the environment of libxl
    ///
    /// The program is called like that too when it has the script's name: xennet install-scripts. The exit status is 0 or 1,
    /// and the reason for a failure is in xenstore.
    Hotplug {
        /// The script
        #[arg(value_parser = PossibleValuesParser::new(SCRIPTS))]
        script: String,
        /// The verb (online, offline, add, remove) and NAME=VALUE, for example: online type_if=vif
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<std::ffi::OsString>,
    },
    /// Demonstrates the three modes on the real kernel, in namespaces of its own
    ///
    /// Needs no root and no Xen. Where namespaces are forbidden, a model of the kernel takes the kernel's place. Ends with
    /// an error if anything was not as claimed.
    Demo,
    /// Prints the JSON schema of a document; without a name the list of all documents
    ///
    /// Every JSON document that xennet prints, takes or keeps has a name, a version (its member "version") and a schema (JSON Schema, draft
    /// 2020-12). C and Python give and take the same documents.
    Schema {
        /// The document, for example: plan
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
    /// Prints the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints a manual page as roff, or writes every page into a directory
    ///
    /// Pages that are of no command: networks.toml, hotplug.toml, xennet-vif, xennet-hotplug. To read a page that is not installed: xennet
    /// man plan attach | man -l -
    Man {
        /// Which command, for example: plan attach; or the name of another page
        #[arg(value_name = "PAGE")]
        command: Vec<String>,

        /// Writes every page below this directory: man1/xennet.1, man5/networks.toml.5, man8/xennet-hotplug.8 and so on
        #[arg(long, value_name = "DIR", conflicts_with = "command")]
        dir: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum MacCommand {
    /// Prints one address for a guest
    Generate(MacArgs),
}

#[derive(Args, Debug)]
pub(crate) struct MacArgs {
    /// How it is made: drawn as libxl does (23 bits), under 00:16:3e (24 bits), locally administered (46 bits); or from
    /// --seed and --devid, always the same, by SHA-256 or as XAPI does
    #[arg(long, value_parser = PossibleValuesParser::new(Scheme::ALL.iter().map(|s| s.name())))]
    pub(crate) scheme: String,

    /// What uuid and xapi make the address from: the domain's UUID, the VM's mac_seed
    #[arg(long, value_name = "TEXT")]
    pub(crate) seed: Option<String>,

    /// The vif's index in the domain, for uuid and xapi
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) devid: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanWhat {
    /// Shows what attach would do
    Attach(AttachArgs),
    /// Shows what detach would do
    Detach(DetachArgs),
    /// Shows what network start would do
    #[command(name = "network-start")]
    Start(NetworkNames),
    /// Shows what network stop would do
    #[command(name = "network-stop")]
    Stop {
        /// Which networks
        #[arg(value_name = "NETWORK", required = true)]
        names: Vec<String>,
    },
    /// Shows what undo would do
    Undo {
        /// A vif (vif5.0), a bridge, or a network (network-lan); without it the last operation of all
        #[arg(value_name = "VIF|BRIDGE|NETWORK")]
        what: Option<String>,
    },
    /// Shows what recover would do
    Recover,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Starts networks: makes bridges, moves uplinks without a gap, sets gateways and forwarding
    ///
    /// A network that is started already gets back what it lacks, and takes over what is new in the file where its guests can stay
    /// as they are. What starts changed, stop puts back.
    Start(StartArgs),
    /// Stops networks: puts back what starting them changed, and nothing else
    Stop(StopArgs),
    /// Shows the state of networks: what is new in the file, what is missing, and what has to be done on other hosts
    Status(NetworkNames),
    /// Waits for a confirmation, and stops the network if none comes
    #[command(hide = true)]
    Guard {
        /// The network
        name: String,
        /// How long it waits
        seconds: u64,
    },
}

#[derive(Args, Debug)]
pub(crate) struct NetworkNames {
    /// Which networks
    #[arg(value_name = "NETWORK")]
    pub(crate) names: Vec<String>,

    /// The file that describes the networks
    #[arg(long, value_name = "FILE", default_value = xennet_core::config::networks::PATH)]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").args(["names", "all"]).required(true))]
pub(crate) struct StartArgs {
    #[command(flatten)]
    pub(crate) which: NetworkNames,

    /// All networks of the file
    #[arg(long)]
    pub(crate) all: bool,

    /// Undoes the start after this many seconds unless `xennet confirm` comes; also if this command is killed meanwhile
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) confirm: Option<u64>,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").args(["names", "all"]).required(true))]
pub(crate) struct StopArgs {
    /// Which networks
    #[arg(value_name = "NETWORK")]
    pub(crate) names: Vec<String>,

    /// All networks that are started
    #[arg(long)]
    pub(crate) all: bool,

    /// Also stops a network that still has guests, or that other networks leave through: they are cut off
    #[arg(long)]
    pub(crate) force: bool,

    /// The file that describes the networks: a name that is neither there nor started is an error
    #[arg(long, value_name = "FILE", default_value = xennet_core::config::networks::PATH)]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct AttachArgs {
    /// The guest's domain id
    #[arg(value_name = "DOMID")]
    pub(crate) domid: String,

    /// The vif spec, for example mac=00:16:3e:01:02:03,bridge=xenbr0; - for standard input
    #[arg(value_name = "SPEC")]
    pub(crate) spec: String,

    /// The filter of what the guest sends: off, mac, strict, disabled; instead of policy= of the spec
    #[arg(long, value_name = "POLICY")]
    pub(crate) policy: Option<String>,

    /// Where packets that the guest may not send are logged: off, kernel, nflog; instead of log= of the spec
    #[arg(long, value_name = "WHERE")]
    pub(crate) log: Option<String>,

    #[command(flatten)]
    pub(crate) dialect: DialectArg,
}

#[derive(Args, Debug)]
pub(crate) struct DetachArgs {
    /// The guest's domain id, or the vif as xennet show names it (vif5.0)
    #[arg(value_name = "DOMID|VIF")]
    pub(crate) domid: String,

    /// The vif's index in the domain [default: 0]
    #[arg(value_name = "DEVID")]
    pub(crate) devid: Option<String>,
}

/// What `doctor` ends with.
const DOCTOR_EXIT: &str = "Exit codes:\n   0  nothing above a note was found\n   1  warnings, and no errors\n   2  errors\n\
                           An error of the command itself ends as with every other command, and says so on standard error.";

#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options")]
pub(crate) struct DoctorArgs {
    /// Only findings about this: a network, a vif, a link, a domain's name
    #[arg(value_name = "WHAT")]
    pub(crate) what: Option<String>,

    /// Mends what xennet can mend: shows each plan, asks, carries it out, and looks again
    #[arg(long, conflicts_with = "from")]
    pub(crate) fix: bool,

    /// With --fix: does not ask
    #[arg(long, requires = "fix")]
    pub(crate) yes: bool,

    /// Examines a recorded host instead of this one: a file of xennet record, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,

    /// Explains every kind of finding, and looks at nothing
    #[arg(long, conflicts_with_all = ["what", "fix", "from"])]
    pub(crate) codes: bool,

    /// Prints the JSON schema of the findings, and looks at nothing
    #[arg(long, conflicts_with_all = ["what", "fix", "from", "codes"])]
    pub(crate) schema: bool,

    /// The file with the descriptions of networks
    #[arg(long, value_name = "FILE", default_value = xennet_core::config::networks::PATH)]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("form").args(["text", "svg", "png", "dot", "mermaid"]))]
pub(crate) struct PictureArgs {
    #[command(flatten)]
    pub(crate) form: PictureForm,

    /// Draws a recorded host instead of this one: a file of xennet record, or - for standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,

    /// Draws the networks of a file as they are described, started or not [default: /etc/xennet/networks.toml]
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = xennet_core::config::networks::PATH, conflicts_with_all = ["from", "plan"])]
    pub(crate) described: Option<PathBuf>,

    /// Marks what plans would add, change and remove: a file with the plans as JSON, as xennet --json plan ... prints them; - for
    /// standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: Option<PathBuf>,

    /// Shows what went through each link
    #[arg(long)]
    pub(crate) counters: bool,

    /// Draws every guest by itself, however many there are
    #[arg(long)]
    pub(crate) all: bool,

    /// Writes it into a file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// In which form a picture is made; one of them, or none.
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "options, of which clap takes one at most")]
pub(crate) struct PictureForm {
    /// As text
    #[arg(long)]
    pub(crate) text: bool,

    /// As SVG, light and dark in one file
    #[arg(long)]
    pub(crate) svg: bool,

    /// As PNG
    #[arg(long)]
    pub(crate) png: bool,

    /// In the language of Graphviz
    #[arg(long)]
    pub(crate) dot: bool,

    /// As a flow chart of Mermaid, for Markdown
    #[arg(long)]
    pub(crate) mermaid: bool,
}

#[derive(Args, Debug)]
pub(crate) struct RecordArgs {
    /// The file, which must not be there yet; - for standard output
    #[arg(value_name = "FILE")]
    pub(crate) path: PathBuf,

    /// Replaces public addresses, hardware addresses and the names of the host and of domains, and leaves comments out
    #[arg(long)]
    pub(crate) anonymous: bool,

    /// The file with the descriptions of networks
    #[arg(long, value_name = "FILE", default_value = xennet_core::config::networks::PATH)]
    pub(crate) file: PathBuf,
}

#[derive(Args, Debug)]
pub(crate) struct LogArgs {
    /// How many calls at most
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) last: usize,

    /// Only calls about this vif, by the kernel's name (vif1.0) or its vifname
    #[arg(long, value_name = "VIF")]
    pub(crate) vif: Option<String>,

    /// Only calls that failed
    #[arg(long)]
    pub(crate) failed: bool,

    /// Waits for further calls and shows them, until it is interrupted; with --json as one document a line
    #[arg(long)]
    pub(crate) follow: bool,
}

/// The definition as clap keeps it.
pub(crate) fn definition() -> clap::Command {
    Cli::command()
}

/// The same without hidden commands, which completions would offer.
pub(crate) fn visible_definition() -> clap::Command {
    fn visible(command: &clap::Command) -> clap::Command {
        // clap keeps names for as long as the process runs, which ends with this.
        let name: &'static str = command.get_name().to_owned().leak();
        let new = clap::Command::new(name).args(command.get_arguments());
        let new = new.about(command.get_about().cloned().unwrap_or_default());
        new.subcommands(command.get_subcommands().filter(|below| !below.is_hide_set()).map(visible))
    }
    visible(&definition()).version(env!("CARGO_PKG_VERSION"))
}

/// The command line of this process.
///
/// # Errors
/// Wrong usage; and what is no error, the help and the version.
pub(crate) fn read() -> Result<Cli, clap::Error> {
    let mut definition = definition();
    let mut matches = definition.try_get_matches_from_mut(std::env::args_os())?;
    let mut cli = Cli::from_arg_matches_mut(&mut matches).map_err(|e| e.format(&mut definition))?;
    if cli.global.state_dir.is_none() {
        // An empty variable is an unset one, as scripts expect; an empty --state-dir is an error.
        cli.global.state_dir = std::env::var_os(STATE_DIR).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    }
    Ok(cli)
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
