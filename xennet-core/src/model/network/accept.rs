//! Chains of other firewalls, in which a network has its packets accepted.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::invalid;
use crate::error::Error;
use crate::model::flaw::quoted;

/// A chain of another firewall: the family, the table and the chain, as nft writes them, and where its packets come from if that cannot be
/// seen: `ip filter DOCKER-USER`, `inet filter input hook input`.
///
/// A base chain says its hook itself. A chain that is only jumped to is taken for one of the forward hook, unless `hook input` stands behind
/// its name.
///
/// ```
/// use xennet_core::ForeignChain;
/// let docker: ForeignChain = "ip filter DOCKER-USER".parse()?;
/// assert_eq!(docker.to_string(), "ip filter DOCKER-USER");
/// assert!("ip filter ufw-user-input hook input".parse::<ForeignChain>().is_ok());
/// assert!("bridge filter FORWARD".parse::<ForeignChain>().is_err(), "packets that are routed do not pass there");
/// assert!("inet xennet forward".parse::<ForeignChain>().is_err(), "a table of our own");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("docker", "ufw", "firewalld"))]
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^(ip|ip6|inet) [A-Za-z0-9_./-]+ [A-Za-z0-9_./-]+( hook (forward|input))?$")))]
#[serde(try_from = "String", into = "String")]
pub struct ForeignChain {
    family: ForeignFamily,
    table: String,
    chain: String,
    hook: Option<ForeignHook>,
}

/// The family of a table whose chains see packets that are routed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ForeignFamily {
    Ip,
    Ip6,
    Inet,
}

impl ForeignFamily {
    const ALL: [ForeignFamily; 3] = [ForeignFamily::Ip, ForeignFamily::Ip6, ForeignFamily::Inet];

    const fn name(self) -> &'static str {
        match self {
            ForeignFamily::Ip => "ip",
            ForeignFamily::Ip6 => "ip6",
            ForeignFamily::Inet => "inet",
        }
    }

    /// Whether packets of IPv6, or of IPv4, pass there.
    pub(crate) const fn sees(self, ipv6: bool) -> bool {
        match self {
            ForeignFamily::Ip => !ipv6,
            ForeignFamily::Ip6 => ipv6,
            ForeignFamily::Inet => true,
        }
    }
}

/// Where the packets of a chain come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum ForeignHook {
    /// They pass through this host.
    Forward,
    /// They are for this host.
    Input,
}

impl ForeignHook {
    const ALL: [ForeignHook; 2] = [ForeignHook::Forward, ForeignHook::Input];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            ForeignHook::Forward => "forward",
            ForeignHook::Input => "input",
        }
    }
}

impl ForeignChain {
    pub(crate) const RULE: &'static str = "family (ip, ip6 or inet), table and chain as nft writes them, as in ip filter DOCKER-USER; for a chain that only \
         input chains lead to, followed by hook input";

    /// The rule that a text breaks.
    pub(crate) fn check(given: &str) -> Result<Self, String> {
        let words: Vec<&str> = given.split_whitespace().collect();
        let (family, table, chain, hook) = match words[..] {
            [family, table, chain] => (family, table, chain, None),
            [family, table, chain, "hook", hook] => (family, table, chain, Some(hook)),
            _ => return Err(ForeignChain::RULE.to_owned()),
        };
        if family == "bridge" {
            return Err(format!(
                "{}; a chain of family bridge sees frames, and the packets of this network are routed",
                ForeignChain::RULE
            ));
        }
        let family = ForeignFamily::ALL.into_iter().find(|f| f.name() == family).ok_or(ForeignChain::RULE)?;
        if is_own_table(table) {
            return Err(format!("a chain of another firewall, and table {} {table} is xennet's own", family.name()));
        }
        if ![table, chain].into_iter().all(is_nft_name) {
            return Err(ForeignChain::RULE.to_owned());
        }
        let hook = match hook {
            None => None,
            Some(word) => {
                Some(ForeignHook::ALL.into_iter().find(|h| h.name() == word).ok_or("hook forward or hook input")?)
            }
        };
        Ok(ForeignChain { family, table: table.to_owned(), chain: chain.to_owned(), hook })
    }

    pub(crate) const fn family(&self) -> ForeignFamily {
        self.family
    }

    /// The family's and the table's name.
    pub(crate) fn table(&self) -> (&'static str, &str) {
        (self.family.name(), &self.table)
    }

    pub(crate) fn chain(&self) -> &str {
        &self.chain
    }

    /// The hook that is named.
    pub(crate) const fn hook(&self) -> Option<ForeignHook> {
        self.hook
    }

    /// Whether both name one chain, perhaps with different hooks.
    pub(crate) fn is_same(&self, other: &ForeignChain) -> bool {
        (self.family, &self.table, &self.chain) == (other.family, &other.table, &other.chain)
    }
}

/// How the names of xennet's own nft tables begin.
pub(crate) const OWN_PREFIX: &str = "xennet";

/// Whether a table of this name is one of xennet's own: `xennet` or `xennet-…`.
pub(crate) fn is_own_table(name: &str) -> bool {
    name.strip_prefix(OWN_PREFIX).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether nft's language can write this name of a table, chain or set, and the kernel takes it: at most 255 bytes (`NFT_NAME_MAXLEN`). The
/// kernel reads `%` in a set's name as a template.
pub(crate) fn is_nft_name(name: &str) -> bool {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b'.');
    first && name.len() <= 255 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
}

impl FromStr for ForeignChain {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        ForeignChain::check(text).map_err(|rule| invalid(&quoted(text), "a chain of another firewall", &rule))
    }
}

impl TryFrom<String> for ForeignChain {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<ForeignChain> for String {
    fn from(chain: ForeignChain) -> String {
        chain.to_string()
    }
}

impl fmt::Display for ForeignChain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.family.name(), self.table, self.chain)?;
        match self.hook {
            Some(hook) => write!(f, " hook {}", hook.name()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_read_as_nft_writes_them() {
        for (given, written) in [
            ("ip filter DOCKER-USER", "ip filter DOCKER-USER"),
            ("  inet   firewalld filter_FORWARD ", "inet firewalld filter_FORWARD"),
            ("ip6 filter ufw6-user-forward", "ip6 filter ufw6-user-forward"),
            ("ip filter ufw-user-input hook input", "ip filter ufw-user-input hook input"),
            ("inet filter forward hook forward", "inet filter forward hook forward"),
            ("inet xennetlike forward", "inet xennetlike forward"),
        ] {
            let chain: ForeignChain = given.parse().unwrap();
            assert_eq!(chain.to_string(), written);
            let text = serde_json::to_string(&chain).unwrap();
            assert_eq!(serde_json::from_str::<ForeignChain>(&text).unwrap(), chain);
        }
        for wrong in [
            "",
            "filter FORWARD",
            "ip filter",
            "ip filter FORWARD input",
            "ip filter FORWARD hook",
            "ip filter FORWARD hook output",
            "arp filter FORWARD",
            "bridge filter FORWARD",
            "inet xennet forward",
            "inet xennet-more forward",
            "ip filter 9chain",
            "ip fil%ter FORWARD",
            "ip filter FORWARD; hook input",
        ] {
            assert!(wrong.parse::<ForeignChain>().is_err(), "{wrong:?}");
        }
        let e = "inet xennet forward".parse::<ForeignChain>().unwrap_err();
        assert_eq!(
            e.message(),
            "\"inet xennet forward\" cannot be a chain of another firewall: a chain of another firewall, and table inet xennet is \
             xennet's own"
        );
    }
}
