//! The arguments of `trace`.

use std::path::PathBuf;

use clap::Args;

/// Who talks to whom, and how much is told.
#[derive(Args, Debug)]
pub(crate) struct TraceArgs {
    /// Who sends: a domain's name, a domain id, a vif (vif5.0), dom0, outside, or an IP address
    pub(crate) from: String,
    /// To whom
    pub(crate) to: String,
    /// tcp, udp or icmp; without it any, as long as it makes no difference
    pub(crate) protocol: Option<String>,
    /// The port that it is sent to; without it any, as long as it makes no difference
    pub(crate) port: Option<String>,
    /// The answer alone, in one sentence
    #[arg(long, conflicts_with = "full")]
    pub(crate) minimal: bool,
    /// Every chain that the packet meets, and every question for a neighbour
    #[arg(long)]
    pub(crate) full: bool,
    /// IPv4, where both ends have both families (the default)
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    pub(crate) ipv4: bool,
    /// IPv6
    #[arg(short = '6', long)]
    pub(crate) ipv6: bool,
    /// Asks a recorded host instead of this one: a file of xennet record, or - for standard input
    // `from` is the argument.
    #[arg(id = "recording", long = "from", value_name = "FILE")]
    pub(crate) recording: Option<PathBuf>,
}
