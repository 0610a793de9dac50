//! Where dropped packets are logged.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::flaw::{Flaw, quoted};
use crate::error::Error;

/// Where packets that a guest may not send are logged: `log=` of a vif line, or `log` of its network. They are counted in any case.
///
/// Each line begins with `xennet` and the [class](crate::Violation) of the packet, names the link, and shows the headers. All guests together
/// get at most 5 lines a second for each class, with a burst of 20.
///
/// ```
/// use xennet_core::{PacketLog, VifSpec};
/// let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6,log=kernel".parse()?;
/// assert_eq!(vif.log(), Some(PacketLog::Kernel));
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum PacketLog {
    /// Nowhere.
    #[default]
    Off,
    /// In the kernel's log, at level warning: `journalctl -k`, `dmesg`. For another network namespace than the first the kernel logs
    /// nothing, unless `net.netfilter.nf_log_all_netns` is 1.
    Kernel,
    /// By nfnetlink_log, to whoever listens to the [group](PacketLog::GROUP): ulogd, `tcpdump -i nflog:30830`.
    Nflog,
}

impl PacketLog {
    /// All of them.
    pub const ALL: [PacketLog; 3] = [PacketLog::Off, PacketLog::Kernel, PacketLog::Nflog];

    /// The group of nfnetlink_log.
    pub const GROUP: u16 = 30830;

    /// The word for it in a vif line.
    pub const fn name(self) -> &'static str {
        match self {
            PacketLog::Off => "off",
            PacketLog::Kernel => "kernel",
            PacketLog::Nflog => "nflog",
        }
    }

    pub(crate) const RULE: &str = "log is off, kernel or nflog";

    pub(crate) fn read(text: &str) -> Result<Self, Box<Flaw>> {
        let known = PacketLog::ALL.into_iter().find(|log| log.name() == text);
        known.ok_or_else(|| {
            let flaw = Flaw::new(0..text.len(), format!("{} is no place to log to", quoted(text)), PacketLog::RULE);
            match text {
                "none" | "no" | "0" | "false" => flaw.hint("write log=off"),
                _ => flaw.hint("write log=kernel for the kernel's log, log=nflog for ulogd or tcpdump"),
            }
        })
    }

    pub(crate) fn is_off(&self) -> bool {
        *self == PacketLog::Off
    }
}

impl fmt::Display for PacketLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PacketLog {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        PacketLog::read(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}
