//! Programs that manage links, too, and what keeps them off those of Xen guests.
//!
//! NetworkManager, systemd-networkd and dhcpcd take any link that appears for one of theirs unless they are told otherwise: they
//! ask for addresses on vifs, or take them off their bridge. udev gives new taps and bridges a MAC of its own choice. A
//! [`Snippet`] for each of them makes them leave alone vifs (`vif*`), taps (`tap*`, `*-emu`) and the links that are named. [`check`]
//! says which of them would fight us on a host.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::model::IfName;

/// A program that manages links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Manager {
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// udev, which names links and gives them MACs by `.link` files.
    Udev,
    /// dhcpcd, where it looks after all links by itself.
    Dhcpcd,
}

impl Manager {
    /// Every manager.
    pub const ALL: &'static [Manager] = &[Manager::NetworkManager, Manager::Networkd, Manager::Udev, Manager::Dhcpcd];

    /// The name used on the command line and in documents: `networkmanager`, `networkd`, `udev`, `dhcpcd`.
    pub const fn name(self) -> &'static str {
        match self {
            Manager::NetworkManager => "networkmanager",
            Manager::Networkd => "networkd",
            Manager::Udev => "udev",
            Manager::Dhcpcd => "dhcpcd",
        }
    }

    /// What it calls itself.
    pub const fn title(self) -> &'static str {
        match self {
            Manager::NetworkManager => "NetworkManager",
            Manager::Networkd => "systemd-networkd",
            Manager::Udev => "udev",
            Manager::Dhcpcd => "dhcpcd",
        }
    }

    /// Its process as `/proc/PID/comm` has it: 15 bytes at most.
    pub const fn process(self) -> &'static str {
        match self {
            Manager::NetworkManager => "NetworkManager",
            Manager::Networkd => "systemd-network",
            Manager::Udev => "systemd-udevd",
            Manager::Dhcpcd => "dhcpcd",
        }
    }

    /// What it makes below `/run` when it starts: a sign of it where processes of others are hidden. What a package makes at
    /// boot for it is none (systemd makes `/run/systemd/netif` in any case).
    pub const fn traces(self) -> &'static [&'static str] {
        match self {
            Manager::NetworkManager => &["/run/NetworkManager"],
            Manager::Networkd => &["/run/systemd/netif/state"],
            Manager::Udev => &["/run/udev/control"],
            Manager::Dhcpcd => &["/run/dhcpcd.pid", "/run/dhcpcd/pid"],
        }
    }

    /// Where its snippet belongs.
    pub const fn path(self) -> &'static str {
        match self {
            // What a later file of that directory says replaces what an earlier one said.
            Manager::NetworkManager => "/etc/NetworkManager/conf.d/90-xennet.conf",
            // The first file that fits a link is the only one.
            Manager::Networkd => "/etc/systemd/network/10-xennet.network",
            Manager::Udev => "/etc/systemd/network/10-xennet.link",
            Manager::Dhcpcd => "/etc/dhcpcd.conf",
        }
    }

    /// The command after which a changed snippet is in force.
    pub const fn reload(self) -> &'static str {
        match self {
            Manager::NetworkManager => "systemctl reload NetworkManager",
            Manager::Networkd => "networkctl reload",
            Manager::Udev => "udevadm control --reload",
            Manager::Dhcpcd => "systemctl restart dhcpcd",
        }
    }

    /// What it does to links of guests when nobody tells it otherwise.
    const fn harm(self) -> &'static str {
        match self {
            Manager::NetworkManager => {
                "makes connections of its own for vifs and bridges, and can take a vif off its bridge"
            }
            Manager::Networkd => {
                "configures vifs and bridges where a .network file fits any link, and drops what others set there"
            }
            Manager::Udev => "gives new bridges and taps a MAC of its own, after they were made",
            Manager::Dhcpcd => "asks for addresses on vifs and bridges",
        }
    }
}

impl fmt::Display for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The names of guests' links that are not named by an administrator.
const PATTERNS: [&str; 3] = ["vif*", "tap*", "*-emu"];

/// How what is ours begins and ends in a file that belongs to others, too.
const BEGIN: &str = "# Begin of xennet";
const END: &str = "# End of xennet";

/// What makes one manager leave guests' links alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Snippet {
    /// For whom it is.
    pub manager: Manager,
    /// The file that it belongs into: all of it, or for dhcpcd, which has one file, a part at its beginning.
    pub path: &'static str,
    /// Its text.
    pub text: String,
    /// The command that shows it.
    pub command: String,
    /// The names of links that it is about, `*` standing for any text.
    pub names: Vec<String>,
}

/// What is to be done to a file that a snippet belongs into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// Nothing: it is there.
    There,
    /// The file gets this text.
    Write(String),
    /// The file is somebody else's, or was changed since: this would be its text.
    Replace(String),
}

impl Snippet {
    /// What is to be done to its file, which has this text, or is not there.
    pub fn put(&self, present: Option<&str>) -> Put {
        let Some(present) = present else { return Put::Write(self.text.clone()) };
        if self.manager != Manager::Dhcpcd {
            return if present == self.text { Put::There } else { Put::Replace(self.text.clone()) };
        }
        // Of one file for all, ours is a part. It is at the beginning: behind a line "interface" it would not count.
        let line = |marker: &str, from: usize| {
            let at = present.get(from..)?.match_indices(marker).map(|(at, _)| at + from);
            let begins_a_line = |at: &usize| *at == 0 || present.as_bytes()[*at - 1] == b'\n';
            at.into_iter().find(begins_a_line)
        };
        let Some(begin) = line(BEGIN, 0) else { return Put::Write(format!("{}{present}", self.text)) };
        let Some(end) = line(END, begin) else {
            // Where it ends is not known: what follows may be anybody's.
            return Put::Replace(format!("{}{present}", self.text));
        };
        let end = present[end..].find('\n').map_or(present.len(), |n| end + n + 1);
        if before_interfaces(present).len() < begin {
            return Put::Write(format!("{}{}{}", self.text, &present[..begin], &present[end..]));
        }
        match &present[begin..end] {
            ours if ours == self.text => Put::There,
            _ => Put::Write(format!("{}{}{}", &present[..begin], self.text, &present[end..])),
        }
    }
}

impl Snippet {
    /// The first name that its file, which has this text, does not tell the manager to leave alone.
    fn untold(&self, present: &str) -> Option<&str> {
        let (key, needed) = match self.manager {
            Manager::NetworkManager => ("unmanaged-devices", ""),
            Manager::Networkd => ("Name=", "Unmanaged=yes"),
            Manager::Udev => ("OriginalName=", "MACAddressPolicy=none"),
            Manager::Dhcpcd => ("denyinterfaces", ""),
        };
        let counts = if self.manager == Manager::Dhcpcd { before_interfaces(present) } else { present };
        let lines = || counts.lines().map(str::trim);
        let told: Vec<&str> = lines()
            .filter_map(|line| line.strip_prefix(key))
            .flat_map(|rest| rest.split([' ', '\t', ',', ';', '=']))
            .map(|name| name.strip_prefix("interface-name:").unwrap_or(name))
            .collect();
        let whole = needed.is_empty() || lines().any(|line| line == needed);
        self.names.iter().map(String::as_str).find(|name| !whole || !told.contains(name))
    }
}

/// The snippets of all managers, for vifs, taps, and these links: bridges, and vifs that have a name of their own (`vifname=`).
///
/// # Errors
/// [`ErrorKind::Invalid`] for a link whose name means something in one of the files: a name here has letters, digits, `.`, `_`
/// and `-`, and begins with a letter or digit.
///
/// ```
/// use xennet_core::managers::{Manager, snippets};
/// let all = snippets(&["xenbr0".parse()?])?;
/// let networkd = all.iter().find(|s| s.manager == Manager::Networkd).unwrap();
/// assert!(networkd.text.contains("Name=vif* tap* *-emu xenbr0\n"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn snippets(links: &[IfName]) -> Result<Vec<Snippet>> {
    for link in links {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if !link.as_str().bytes().all(plain) || !link.as_str().as_bytes()[0].is_ascii_alphanumeric() {
            return Err(Error::new(ErrorKind::Invalid, format!("{link} cannot be written into the files of others"))
                .with_object(link.as_str())
                .with_hint(
                    "a name there has letters, digits, '.', '_' and '-', and begins with a letter or digit: rename the link",
                ));
        }
    }
    let mut names: Vec<&str> = PATTERNS.to_vec();
    for link in links {
        // Once is enough, and those that the patterns cover are.
        if !names.contains(&link.as_str()) {
            names.push(link.as_str());
        }
    }
    let options: String = links.iter().map(|link| format!(" --bridge {link}")).collect();
    let one = |manager: Manager| Snippet {
        manager,
        path: manager.path(),
        text: text(manager, &names, &options),
        command: format!("xennet snippets {manager}{options}"),
        names: names.iter().map(|name| (*name).to_owned()).collect(),
    };
    Ok(Manager::ALL.iter().map(|manager| one(*manager)).collect())
}

/// What of dhcpcd's file is about all links: what stands before the first line that begins with `interface`.
fn before_interfaces(text: &str) -> &str {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if line.split_whitespace().next() == Some("interface") {
            return &text[..at];
        }
        at += line.len();
    }
    text
}

fn text(manager: Manager, names: &[&str], options: &str) -> String {
    let head = format!(
        "{} leaves the links of Xen guests alone.\n# Written by: xennet snippets{options}\n# In force after: {}\n",
        manager.title(),
        manager.reload()
    );
    let list = names.join(" ");
    match manager {
        Manager::NetworkManager => {
            let specs: Vec<String> = names.iter().map(|name| format!("interface-name:{name}")).collect();
            format!("# {head}[keyfile]\nunmanaged-devices+={}\n", specs.join(";"))
        }
        Manager::Networkd => format!("# {head}[Match]\nName={list}\n\n[Link]\nUnmanaged=yes\n"),
        Manager::Udev => format!("# {head}[Match]\nOriginalName={list}\n\n[Link]\nMACAddressPolicy=none\n"),
        Manager::Dhcpcd => {
            format!("{BEGIN}: {head}# It stands before any line \"interface\".\ndenyinterfaces {list}\n{END}.\n")
        }
    }
}

/// What was found of a manager on a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Whether it runs: its process, or one of its [`traces`](Manager::traces).
    pub running: bool,
    /// The text of the file that its snippet belongs into, if there is one.
    pub file: Option<String>,
}

/// A manager that would fight us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Warning {
    /// Which one.
    pub manager: Manager,
    /// What it does, and why.
    pub message: String,
    /// The command that shows what keeps it off.
    pub command: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.message, self.command)
    }
}

/// The managers that run and are not told by their snippet's file to leave all of its links alone, in the order of
/// [`Manager::ALL`]. Whether an administrator has told one the same by other files is not looked at.
pub fn check(snippets: &[Snippet], found: &BTreeMap<Manager, Found>) -> Vec<Warning> {
    let warning = |snippet: &Snippet| {
        let manager = snippet.manager;
        let here = found.get(&manager).filter(|found| found.running)?;
        let why = match &here.file {
            None => format!("there is no {}", snippet.path),
            Some(file) => format!("{} does not name {}", snippet.path, snippet.untold(file)?),
        };
        let message = format!("{} runs, and {}: {why}", manager.title(), manager.harm());
        Some(Warning { manager, message, command: snippet.command.clone() })
    };
    snippets.iter().filter_map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> IfName {
        text.parse().unwrap()
    }

    fn of(manager: Manager) -> Snippet {
        let all = snippets(&[name("xenbr0"), name("lan.7"), name("xenbr0")]).unwrap();
        all.into_iter().find(|s| s.manager == manager).unwrap()
    }

    #[test]
    fn each_manager_is_told_all_names_once() {
        for (manager, line) in [
            (
                Manager::NetworkManager,
                "\n[keyfile]\nunmanaged-devices+=interface-name:vif*;interface-name:tap*;interface-name:*-emu;\
                 interface-name:xenbr0;interface-name:lan.7\n",
            ),
            (Manager::Networkd, "\n[Match]\nName=vif* tap* *-emu xenbr0 lan.7\n\n[Link]\nUnmanaged=yes\n"),
            (Manager::Udev, "\n[Match]\nOriginalName=vif* tap* *-emu xenbr0 lan.7\n\n[Link]\nMACAddressPolicy=none\n"),
            (Manager::Dhcpcd, "\ndenyinterfaces vif* tap* *-emu xenbr0 lan.7\n# End of xennet.\n"),
        ] {
            let snippet = of(manager);
            assert!(snippet.text.ends_with(line), "{}", snippet.text);
            let head = snippet.text.strip_suffix(line).unwrap();
            assert!(head.lines().all(|l| l.starts_with("# ")), "{head}");
            assert!(head.contains(manager.reload()) && head.contains(" --bridge lan.7"), "{head}");
        }
    }

    #[test]
    fn a_name_that_means_something_in_a_file_is_refused() {
        for bad in ["br;0", "br*", "br,0", "br=0", "\"br\"", "#br", "-br", "br\\0", "br[0]", "br'0"] {
            let error = snippets(&[name("xenbr0"), name(bad)]).unwrap_err();
            assert_eq!((error.kind(), error.object()), (ErrorKind::Invalid, Some(bad)));
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn a_file_of_its_own_is_written_and_one_of_others_is_not_taken_for_it() {
        let snippet = of(Manager::Networkd);
        assert_eq!(snippet.put(None), Put::Write(snippet.text.clone()));
        assert_eq!(snippet.put(Some(&snippet.text)), Put::There);
        for other in ["", "[Match]\nName=eth0\n", &snippet.text[1..]] {
            assert_eq!(snippet.put(Some(other)), Put::Replace(snippet.text.clone()));
        }
    }

    #[test]
    fn in_a_file_for_all_only_our_part_changes() {
        let snippet = of(Manager::Dhcpcd);
        let theirs = "hostname\ninterface eth0\nstatic domain_name=x # Begin of xennet\n";
        let Put::Write(first) = snippet.put(Some(theirs)) else { panic!() };
        assert_eq!(first, format!("{}{theirs}", snippet.text));
        assert_eq!(snippet.put(Some(&first)), Put::There);
        let moved = format!("hostname\n{}{theirs}", snippet.text);
        assert_eq!(snippet.put(Some(&moved)), Put::There);
        let old = moved.replace("xenbr0", "xenbr9");
        assert_eq!(snippet.put(Some(&old)), Put::Write(moved.clone()));
        let behind = format!("{theirs}{}hostname\n", snippet.text);
        assert_eq!(snippet.put(Some(&behind)), Put::Write(format!("{}{theirs}hostname\n", snippet.text)));
        assert_eq!((snippet.untold(&behind), snippet.untold(&moved)), (Some("vif*"), None));
        let cut = old.replace("# End of xennet.\n", "");
        assert_eq!(snippet.put(Some(&cut)), Put::Replace(format!("{}{cut}", snippet.text)));
        let last = moved.trim_end_matches(theirs).trim_end();
        assert_eq!(snippet.put(Some(last)), Put::Write(format!("{last}\n")));
    }

    #[test]
    fn a_manager_that_runs_untold_is_named_with_the_command_that_helps() {
        let all = snippets(&[name("xenbr0")]).unwrap();
        let none = BTreeMap::new();
        assert_eq!(check(&all, &none), []);
        let every = |running: bool, file: Option<&str>| -> BTreeMap<Manager, Found> {
            Manager::ALL.iter().map(|m| (*m, Found { running, file: file.map(str::to_owned) })).collect()
        };
        assert_eq!(check(&all, &every(false, None)), []);
        let warnings = check(&all, &every(true, None));
        assert_eq!(warnings.iter().map(|w| w.manager).collect::<Vec<_>>(), Manager::ALL);
        for w in &warnings {
            assert_eq!(w.command, format!("xennet snippets {} --bridge xenbr0", w.manager));
            let start = format!("{} runs, and ", w.manager.title());
            assert!(w.message.starts_with(&start) && w.message.ends_with(w.manager.path()), "{w}");
        }
        let ends = |file: &str| -> Vec<String> {
            let warnings = check(&all, &every(true, Some(file)));
            warnings.iter().map(|w| w.message.rsplit(' ').next().unwrap().to_owned()).collect()
        };
        assert_eq!(ends("x\n"), ["vif*"; 4]);
        assert_eq!(ends("#denyinterfaces vif* tap* *-emu xenbr0"), ["vif*"; 4]);
        // Others may have worded it their way.
        assert_eq!(ends("denyinterfaces br*,*-emu,vif*\ndenyinterfaces tap*\n"), ["vif*", "vif*", "vif*", "xenbr0"]);
        assert_eq!(ends("Name=vif* tap* *-emu xenbr0\n")[1], "vif*");
        assert_eq!(ends("Name=vif* xenbr0 tap*\nName=*-emu\n Unmanaged=yes\n").len(), 3);
        let told: BTreeMap<Manager, Found> =
            all.iter().map(|s| (s.manager, Found { running: true, file: Some(s.text.clone()) })).collect();
        assert_eq!(check(&all, &told), []);
        // A file that names more than is asked for is as good.
        assert_eq!(check(&snippets(&[]).unwrap(), &told), []);
    }
}
