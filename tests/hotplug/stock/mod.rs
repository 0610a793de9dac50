//! Xen's own `vif-bridge` and ours, side by side: each does the same calls in a fresh world that is the same, with the real
//! `ip`, `brctl`, `iptables`, `xenstore-read` and `xenstore-write`, and then the two worlds are compared. Every difference has
//! to be one that is intended, with its reason; the list of a situation is exact.

mod situations;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xennet_tests::{NetNs, in_netns};

use crate::facts::{Facts, is_like};
use crate::rig::{Rig, link};
use situations::{BRIDGES_AND_LINKS, COMING_AND_GOING, FAILURES_AND_TAPS, INTENDED, PARTS, Situation};

/// Whose script is called.
#[derive(Clone, Debug)]
enum Side {
    Ours,
    /// Xen's, in this folder.
    Stock(PathBuf),
}

/// A host on which the calls of a situation are made.
pub(crate) struct World {
    pub(crate) rig: Rig,
    side: Side,
    /// How the calls ended, in order.
    exits: Vec<String>,
}

impl World {
    fn new(side: Side) -> World {
        World { rig: Rig::bare(), side, exits: Vec::new() }
    }

    /// The call that libxl makes.
    pub(crate) fn call(&mut self, vif: &str, verb: &str) {
        let mut command = self.rig.command(vif, verb);
        if let Side::Stock(dir) = &self.side {
            command = stock(&self.rig, dir, &command);
        }
        let output = command.output().unwrap();
        let code = output.status.code().map_or("none".to_owned(), |c| c.to_string());
        self.exits.push(format!("call {}: {verb} {vif} exit {code}", self.exits.len() + 1));
    }

    fn facts(&self) -> Facts {
        Facts::now(&self.rig, &self.exits)
    }

    /// The log of Xen's script, for who looks for the reason of a difference.
    fn log(&self) -> String {
        std::fs::read_to_string(self.rig.path("log/xen-hotplug.log")).unwrap_or_default()
    }
}

/// What Xen's script needs around it: a sysfs of this network namespace, places for locks and its log that are its own, and
/// nobody who listens to syslog.
const AROUND: &str = r#"
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/xen-hotplug
mount -t tmpfs tmpfs /var/log
mkdir -p /var/log/xen
mount --bind "$1" /var/log/xen
if [ -e /dev/log ]; then mount --bind /dev/null /dev/log; fi
if [ -d /etc/xen ]; then mount -t tmpfs tmpfs /etc/xen; fi
shift
exec "$@"
"#;

/// A command in such surroundings: the words that follow are run in them.
fn around(log: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "bash", "-ec", AROUND, "around"]).arg(log).stdin(Stdio::null());
    command
}

/// The same call with the stock script.
fn stock(rig: &Rig, dir: &Path, ours: &Command) -> Command {
    let log = rig.path("log");
    std::fs::create_dir_all(&log).unwrap();
    let script = dir.join("vif-bridge");
    let mut command = around(&log);
    command.arg(&script).args(ours.get_args());
    command.env_clear().envs(ours.get_envs().filter_map(|(k, v)| Some((k, v?)))).env("script", &script);
    command
}

/// Where Xen's scripts are, as `tests/stock-scripts` puts them. `None`, said aloud: something is missing that they need.
fn scripts(kind: &str) -> Option<PathBuf> {
    let place = std::env::var_os("XENNET_STOCK_SCRIPTS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/xen-scripts"), PathBuf::from);
    let dir = place.join(kind);
    let path = "/usr/sbin:/usr/bin:/sbin:/bin";
    let there = |program: &&str| path.split(':').any(|p| Path::new(p).join(program).exists());
    let needed =
        ["unshare", "bash", "ip", "brctl", "iptables", "xenstore-read", "xenstore-write", "logger", "awk", "which"];
    let mut missing: Vec<String> = needed.iter().filter(|p| !there(p)).map(|p| (*p).to_owned()).collect();
    if !dir.join("vif-bridge").exists() {
        missing.push(format!("{} (made by tests/stock-scripts)", dir.display()));
    }
    // Rules that look at bridge ports load a module that changes how all bridges of the machine work.
    if kind == "upstream" && std::env::var_os("CI").is_none() && !Path::new("/proc/sys/net/bridge").exists() {
        missing.push("the module br_netfilter (as root: modprobe br_netfilter; it changes all bridges)".to_owned());
    }
    if missing.is_empty() {
        match around(&std::env::temp_dir()).arg("true").output() {
            Ok(output) if output.status.success() => return Some(dir),
            Ok(output) => missing.push(format!(
                "the right to mount a sysfs and a tmpfs, as root has it: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )),
            Err(e) => missing.push(format!("a mount namespace: {e}")),
        }
    }
    let what = format!("Xen's scripts ({kind}) cannot be run: missing {}", missing.join(", "));
    assert!(std::env::var_os("CI").is_none(), "{what}, and CI is set");
    eprintln!("skipped: {what}");
    None
}

/// What came of the calls of a situation, in a world of its own.
fn after(situation: &Situation, side: &Side) -> (Facts, String) {
    let alone = NetNs::new().unwrap();
    let run = || {
        let mut world = World::new(side.clone());
        (situation.calls)(&mut world);
        (world.facts(), world.log())
    };
    alone.run(run).unwrap()
}

/// Whether the kernel was built with VLANs of bridges: each port is in one then, whoever made it a port.
fn bridges_have_vlans() -> bool {
    let rig = Rig::bare();
    rig.bridge("br-vlan", 1500);
    let bridge = link("br-vlan").unwrap().bridge.unwrap();
    rig.remove("br-vlan");
    bridge.vlan_filtering.is_some()
}

/// Compares, prints the table, and gives the situations with differences that nobody intended.
fn compare(kind: &str, part: &[Situation]) {
    let Some(dir) = scripts(kind) else { return };
    let vlans = bridges_have_vlans();
    let there = |pattern: &&str| vlans || !pattern.contains(" vlan ");
    let mut wrong = Vec::new();
    let (mut same, mut named) = (0, 0);
    // One text, so that two tables are not mixed.
    let mut table = format!("{:<52} ours beside Xen's\n", format!("situation ({kind})"));
    for situation in part {
        let (stock, log) = after(situation, &Side::Stock(dir.clone()));
        let (ours, _) = after(situation, &Side::Ours);
        let differences = stock.differences(&ours);
        let expected = situation.intended.iter().filter(|word| kind == "upstream" || !word.ends_with("(upstream)"));
        let expected: Vec<&str> = expected.map(|word| word.trim_end_matches(" (upstream)")).collect();
        let patterns: Vec<&str> =
            expected.iter().filter_map(|word| reason(word)).flat_map(|(p, _)| p).copied().filter(there).collect();
        let mut unmet = patterns.clone();
        unmet.retain(|pattern| !differences.iter().any(|d| is_like(d, pattern)));
        let unnamed: Vec<String> =
            differences.iter().filter(|d| !patterns.iter().any(|pattern| is_like(d, pattern))).cloned().collect();
        let reasons: Vec<&str> = expected.iter().filter_map(|word| Some(reason(word)?.1)).collect();
        let verdict = match (&unnamed[..], &unmet[..], &reasons[..]) {
            ([], [], []) => {
                same += 1;
                "same".to_owned()
            }
            ([], [], reasons) => {
                named += 1;
                format!("intended: {}", reasons.join("; "))
            }
            (unnamed, unmet, _) => {
                wrong.push(situation.name);
                let list = |lines: Vec<String>| lines.iter().map(|l| format!("\n    {l}")).collect::<String>();
                format!(
                    "DIFFERS{}\n  intended, but not so: {unmet:?}\n  all:{}\n  log of Xen's script:{}",
                    list(unnamed.to_vec()),
                    list(differences.clone()),
                    list(log.lines().map(str::to_owned).collect())
                )
            }
        };
        table.push_str(&format!("{:<52} {verdict}\n", situation.name));
    }
    println!("{table}{kind}: {same} same, {named} with intended differences alone, {} differ", wrong.len());
    assert!(wrong.is_empty(), "{wrong:?}: differences that nobody intended; the table is above");
}

/// The patterns of an intended difference, and its reason.
fn reason(word: &str) -> Option<(&'static [&'static str], &'static str)> {
    INTENDED.iter().find(|(name, ..)| *name == word).map(|(_, patterns, reason)| (*patterns, *reason))
}

mod as_debian_ships_it {
    use super::*;

    #[test]
    fn coming_and_going() {
        in_netns("stock::as_debian_ships_it::coming_and_going", || compare("debian", COMING_AND_GOING));
    }

    #[test]
    fn failures_and_taps() {
        in_netns("stock::as_debian_ships_it::failures_and_taps", || compare("debian", FAILURES_AND_TAPS));
    }

    #[test]
    fn bridges_and_links() {
        in_netns("stock::as_debian_ships_it::bridges_and_links", || compare("debian", BRIDGES_AND_LINKS));
    }
}

mod as_xen_ships_it {
    use super::*;

    #[test]
    fn coming_and_going() {
        in_netns("stock::as_xen_ships_it::coming_and_going", || compare("upstream", COMING_AND_GOING));
    }

    #[test]
    fn failures_and_taps() {
        in_netns("stock::as_xen_ships_it::failures_and_taps", || compare("upstream", FAILURES_AND_TAPS));
    }

    #[test]
    fn bridges_and_links() {
        in_netns("stock::as_xen_ships_it::bridges_and_links", || compare("upstream", BRIDGES_AND_LINKS));
    }
}

#[test]
fn every_intended_difference_is_used() {
    for (name, ..) in INTENDED {
        let used =
            PARTS.into_iter().flatten().any(|s| s.intended.iter().any(|w| w.trim_end_matches(" (upstream)") == *name));
        assert!(used, "{name}");
    }
    for word in PARTS.into_iter().flatten().flat_map(|s| s.intended) {
        assert!(reason(word.trim_end_matches(" (upstream)")).is_some(), "{word} has no reason");
    }
}
