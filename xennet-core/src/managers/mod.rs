//! Programs that manage links, too, and what keeps them off those of Xen guests.
//!
//! NetworkManager, systemd-networkd and dhcpcd take any link that appears for one of theirs unless they are told otherwise: they
//! ask for addresses on vifs, or take them off their bridge. udev gives new taps and bridges a MAC of its own choice. A
//! [`Snippet`] for each of them makes them leave alone vifs (`vif*`), taps (`tap*`, `*-emu`) and the links that are named. [`check`]
//! says which of them would fight us on a host, by all of their files.

mod files;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use self::files::Does;
use crate::error::{Error, ErrorKind, Result};
use crate::model::IfName;

/// A program that manages links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

    /// Where its files are: single ones, and directories (with `/` at their end) of files with this extension. Of files of one name in
    /// several directories the one in the first directory counts.
    pub const fn files(self) -> (&'static [&'static str], &'static str) {
        match self {
            // Read in this order, of which the last one wins: the distribution's, those of this boot, the main one, the administrator's.
            Manager::NetworkManager => (
                &[
                    "/etc/NetworkManager/conf.d/",
                    "/etc/NetworkManager/NetworkManager.conf",
                    "/run/NetworkManager/conf.d/",
                    "/usr/lib/NetworkManager/conf.d/",
                ],
                "conf",
            ),
            Manager::Networkd => (NETWORKD, "network"),
            Manager::Udev => (NETWORKD, "link"),
            Manager::Dhcpcd => (&["/etc/dhcpcd.conf"], ""),
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

/// Where systemd-networkd and udev have their files.
const NETWORKD: &[&str] = &[
    "/etc/systemd/network/",
    "/run/systemd/network/",
    "/usr/local/lib/systemd/network/",
    "/usr/lib/systemd/network/",
    "/lib/systemd/network/",
];

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
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
///
/// There are no others: the file is right, or not there, or another's.
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
#[non_exhaustive]
pub struct Found {
    /// Whether it runs: its process, or one of its [`traces`](Manager::traces).
    pub running: bool,
    /// Its files in the order in which it reads them ([`Manager::files`]), each with its path and its text.
    pub files: Vec<(String, String)>,
}

setters! { Found {
    with_running: running = bool;
    with_files: files = Vec<(String, String)>;
} }

/// A manager that would fight us.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// The managers that run, in the order of [`Manager::ALL`].
pub fn running(found: &BTreeMap<Manager, Found>) -> Vec<Manager> {
    found.iter().filter(|(_, found)| found.running).map(|(manager, _)| *manager).collect()
}

/// The managers that run and would take some of these links, in the order of [`Manager::ALL`]: by what all of their files say, an
/// administrator's and a distribution's as well as the snippet's own. Where a file asks for more than a link's name and kind, the
/// warning says that it cannot be told.
pub fn check(snippets: &[Snippet], found: &BTreeMap<Manager, Found>) -> Vec<Warning> {
    let warning = |snippet: &Snippet| {
        let manager = snippet.manager;
        let here = found.get(&manager).filter(|found| found.running)?;
        let of = |name: &String| (name.clone(), files::does(manager, &here.files, &files::Links::of(name)));
        let all: Vec<(String, Does)> =
            snippet.names.iter().map(of).filter(|(_, does)| *does != Does::Nothing).collect();
        // What is sure comes first.
        let (name, does) = all.iter().find(|(_, d)| matches!(d, Does::Takes(_))).or(all.first())?;
        let title = manager.title();
        let message = match (does, manager) {
            (Does::CannotTell(path), _) => {
                format!("{title} runs, and whether {path} is about {name} cannot be told: it asks for more than a name")
            }
            (Does::Takes(Some(path)), Manager::Networkd | Manager::Udev) => {
                format!("{title} runs, and {}: {path} is about {name}", manager.harm())
            }
            (Does::Takes(Some(path)), _) => {
                format!("{title} runs, and {}: {path} does not name {name}", manager.harm())
            }
            _ => format!("{title} runs, and {}: there is no {}", manager.harm(), snippet.path),
        };
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
        let cut = old.replace("# End of xennet.\n", "");
        assert_eq!(snippet.put(Some(&cut)), Put::Replace(format!("{}{cut}", snippet.text)));
        let last = moved.trim_end_matches(theirs).trim_end();
        assert_eq!(snippet.put(Some(last)), Put::Write(format!("{last}\n")));
    }

    /// The links of which a manager's files, each as path and text, do not say that it leaves them alone.
    fn taken(manager: Manager, files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, String)> = files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
        let names = ["vif*", "tap*", "*-emu", "xenbr0"];
        let told = |name: &&str| match files::does(manager, &files, &files::Links::of(name)) {
            Does::Nothing => None,
            Does::Takes(_) => Some((*name).to_owned()),
            Does::CannotTell(_) => Some(format!("{name}?")),
        };
        names.iter().filter_map(told).collect()
    }

    const ALL: [&str; 4] = ["vif*", "tap*", "*-emu", "xenbr0"];

    #[test]
    fn what_our_own_snippets_say_is_enough() {
        for snippet in snippets(&[name("xenbr0")]).unwrap() {
            let later = [("10", snippet.text.as_str()), ("90", "[Match]\nName=*\n[Network]\nDHCP=yes\n")];
            assert_eq!(taken(snippet.manager, &later[..1]), [""; 0], "{}", snippet.manager);
            if matches!(snippet.manager, Manager::Networkd | Manager::Udev) {
                assert_eq!(taken(snippet.manager, &later), [""; 0], "{}", snippet.manager);
            }
        }
    }

    #[test]
    fn network_managers_own_lists_count() {
        let of = |text: &str| taken(Manager::NetworkManager, &[("a", text)]);
        assert_eq!(taken(Manager::NetworkManager, &[]), ALL);
        assert_eq!(of("[keyfile]\nunmanaged-devices=interface-name:vif*\n"), ["tap*", "*-emu", "xenbr0"]);
        for all in [
            "[keyfile]\nunmanaged-devices=interface-name:vif*;interface-name:tap*;interface-name:*-emu;interface-name:xenbr*\n",
            "[keyfile]\nunmanaged-devices=*,except:interface-name:eth0\n",
            "[keyfile]\nunmanaged-devices = except:interface-name:eth*;\n",
            "[keyfile]\nunmanaged-devices=type:ethernet;type:tun;type:bridge\n",
            "[device-xen]\nmatch-device=interface-name:vif[0-9]*;interface-name:tap*;interface-name:*-emu;type:bridge\nmanaged=0\n",
        ] {
            assert_eq!(of(all), [""; 0], "{all}");
        }
        for none in [
            "unmanaged-devices=*\n",
            "[keyfile]\n#unmanaged-devices=*\n",
            "[keyfile]\nunmanaged-devices=mac:00:16:3e:00:00:01\n",
            "[keyfile]\nunmanaged-devices=interface-name:vif1.0\n",
            "[device]\nmanaged=1\n",
        ] {
            assert_eq!(of(none), ALL, "{none}");
        }
        // A later file replaces the list, or goes on with it.
        let first = ("a", "[keyfile]\nunmanaged-devices=*\n");
        for (second, left) in [("=interface-name:x", &ALL[..]), ("+=interface-name:x", &[]), ("-=*", &ALL)] {
            let text = format!("[keyfile]\nunmanaged-devices{second}\n");
            assert_eq!(taken(Manager::NetworkManager, &[first, ("b", &text)]), left, "{second}");
        }
    }

    #[test]
    fn of_systemds_files_the_first_that_fits_counts() {
        let of = |files: &[(&str, &str)]| taken(Manager::Networkd, files);
        // It manages no link without a file.
        assert_eq!(of(&[]), [""; 0]);
        for (text, taken) in [
            ("[Match]\nName=eth0\n[Network]\nDHCP=yes\n", &[][..]),
            ("[Match]\nName=eth* en*\n[Network]\nDHCP=yes\n", &[]),
            ("[Match]\nMACAddress=00:11:22:33:44:55\n", &["xenbr0?"]),
            ("[Match]\nKind=veth\nName=ve-*\n", &[]),
            ("[Match]\nType=wlan\n", &[]),
            ("[Match]\nPath=pci-0000:02:00.0\n", &[]),
            ("[Match]\nName=*\n", &ALL),
            ("[Network]\nDHCP=yes\n", &ALL),
            ("[Match]\nType=ether\n", &["vif*", "tap*", "*-emu"]),
            ("[Match]\nName=!eth0\n", &ALL),
            ("[Match]\nName=xenbr0\n", &["xenbr0"]),
            ("[Match]\nName=*\nHost=build1\n", &["vif*?", "tap*?", "*-emu?", "xenbr0?"]),
            ("[Match]\nName=*\n[Link]\nUnmanaged=true\n", &[]),
        ] {
            assert_eq!(of(&[("x", text)]), taken, "{text}");
        }
        let all = ("90", "[Match]\nName=*\n");
        assert_eq!(of(&[("10", "[Match]\nName=vif*\n[Link]\nUnmanaged=yes\n"), all]), ["tap*", "*-emu?", "xenbr0"]);
        assert_eq!(of(&[("10", ""), all]), ALL);
        let default = ("99-default.link", "[Match]\nOriginalName=*\n[Link]\nMACAddressPolicy=persistent\n");
        assert_eq!(taken(Manager::Udev, &[default]), ALL);
        let none = ("73-xen.link", "[Match]\nOriginalName=vif* tap* *-emu xenbr*\n[Link]\nMACAddressPolicy=none\n");
        assert_eq!(taken(Manager::Udev, &[none, default]), [""; 0]);
        assert_eq!(taken(Manager::Udev, &[]), [""; 0]);
    }

    #[test]
    fn dhcpcd_is_told_by_either_list() {
        let of = |text: &str| taken(Manager::Dhcpcd, &[("/etc/dhcpcd.conf", text)]);
        assert_eq!(taken(Manager::Dhcpcd, &[]), ALL);
        assert_eq!(of("hostname\n"), ALL);
        assert_eq!(of("denyinterfaces br*,*-emu,vif*\ndenyinterfaces tap*\n"), ["xenbr0"]);
        assert_eq!(of("allowinterfaces eth0 wlan*\n"), [""; 0]);
        assert_eq!(of("interface eth0\ndenyinterfaces *\n"), ALL);
        assert_eq!(of("#denyinterfaces *\n"), ALL);
    }

    #[test]
    fn a_manager_that_runs_untold_is_named_with_the_command_that_helps() {
        let all = snippets(&[name("xenbr0")]).unwrap();
        assert_eq!(check(&all, &BTreeMap::new()), []);
        let every = |running: bool, files: &[(&str, &str)]| -> BTreeMap<Manager, Found> {
            let files: Vec<(String, String)> = files.iter().map(|(p, t)| ((*p).to_owned(), (*t).to_owned())).collect();
            Manager::ALL.iter().map(|m| (*m, Found { running, files: files.clone() })).collect()
        };
        assert_eq!(check(&all, &every(false, &[])), []);
        let warnings = check(&all, &every(true, &[]));
        // Without a file the others do nothing.
        assert_eq!(warnings.iter().map(|w| w.manager).collect::<Vec<_>>(), [Manager::NetworkManager, Manager::Dhcpcd]);
        for w in &warnings {
            assert_eq!(w.command, format!("xennet snippets {} --bridge xenbr0", w.manager));
            let start = format!("{} runs, and ", w.manager.title());
            assert!(w.message.starts_with(&start) && w.message.ends_with(w.manager.path()), "{w}");
        }
        let any = [("/x/all", "[Match]\nName=*\nOriginalName=*\n[Link]\nMACAddressPolicy=persistent\n")];
        let warnings = check(&all, &every(true, &any));
        assert_eq!(warnings.len(), 4);
        assert!(warnings[1].message.ends_with(": /x/all, line 2, is about vif*"), "{}", warnings[1]);
        let host = [("/x/host", "[Match]\nHost=a\n[Link]\nMACAddressPolicy=persistent\n")];
        let warnings = check(&all, &every(true, &host));
        assert!(
            warnings[1].message.contains("whether /x/host, line 2, is about vif* cannot be told"),
            "{}",
            warnings[1]
        );
    }
}
