//! From `xend-config.sxp` and the wrappers that it names to the networks that are the same today.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use super::legacy::{Generation, LegacyCall, NetworkScript};
use super::{XendConfig, networks, parse_wrapper, parse_xend_config};
use crate::error::{Diagnostic, Error, ErrorKind, Result};
use crate::model::{IfName, Network, NetworkMode};
use crate::version::Version;

/// A file that is imported: its path, for what is said about it, and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct File {
    /// The path.
    pub path: String,
    /// The text.
    pub text: String,
}

impl File {
    /// A file with its text.
    pub fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        File { path: path.into(), text: text.into() }
    }
}

/// What is imported, and what the files do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Input {
    /// `xend-config.sxp`.
    pub config: Option<File>,
    /// Wrapper scripts, in the order in which they are to count.
    pub wrappers: Vec<File>,
    /// Whose defaults are meant where options are left out; `None`: the first generation's, with a note.
    pub generation: Option<Generation>,
    /// The link of the default route, where no `netdev=` is given; `None`: `eth0`, with a note.
    pub uplink: Option<IfName>,
}

setters! { Input {
    with_config: config = impl Into<Option<File>>;
    with_wrappers: wrappers = Vec<File>;
    with_generation: generation = impl Into<Option<Generation>>;
    with_uplink: uplink = impl Into<Option<IfName>>;
} }

/// The networks, and what should be known about them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Imported {
    version: Version<1>,
    /// The networks in the order of the calls.
    pub networks: Vec<Network>,
    /// The text of `networks.toml` for them, each with a comment that says what it was made of.
    pub text: String,
    /// What was dropped, guessed, or is done otherwise, each with its place: one line each.
    pub notes: Vec<String>,
}

/// The script that xend runs by a config, if that is a wrapper: none of Xen's own.
///
/// # Errors
/// As [`parse_xend_config`].
pub fn wrapper_of(config: &str) -> Result<Option<String>> {
    let argv = parse_xend_config(config)?.value.network_argv;
    let program = argv.and_then(|argv| argv.into_iter().next());
    Ok(program.filter(|path| path.parse::<NetworkScript>().is_err() && base(path) != NO_SCRIPT))
}

/// The program by whose name administrators said that xend was to leave the network alone: `(network-script /bin/true)`.
const NO_SCRIPT: &str = "true";

/// An error in a text, with the file and the line.
fn in_text(e: Error, path: &str) -> Error {
    let line = e.diagnostic().map(|d| format!(", line {}", d.position().0)).unwrap_or_default();
    e.in_file(&format!("{path}{line}"))
}

/// A path's last part.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Makes the networks.
///
/// # Errors
/// [`ErrorKind::Invalid`] for what cannot be read, or names a script that is neither one of Xen's nor among the wrappers;
/// [`ErrorKind::Conflict`] for a bridge with two uplinks.
///
/// ```
/// use xennet_core::config::import::{File, Input, import};
/// let text = "(network-script 'network-bridge bridge=xenbr0 netdev=eth1')\n(vif-script vif-bridge)\n";
/// let imported = import(&Input::default().with_config(File::new("xend-config.sxp", text)))?;
/// assert!(imported.text.ends_with("[network.xenbr0]\nmode = \"bridge\"\nuplink = \"eth1\"\n"));
/// assert_eq!(imported.notes, [""; 0]);
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub fn import(input: &Input) -> Result<Imported> {
    let mut made = Made { input, networks: Vec::new(), comments: Vec::new(), notes: Vec::new() };
    let mut given = Vec::new();
    if let Some(config) = &input.config {
        let parsed = parse_xend_config(&config.text).map_err(|e| in_text(e, &config.path))?;
        made.told(&config.path, &parsed.notes);
        given = made.network_script(&config.path, &parsed.value)?;
        made.vif_script(&config.path, &parsed.value);
    }
    for wrapper in &input.wrappers {
        let parsed = parse_wrapper(&wrapper.text).map_err(|e| in_text(e, &wrapper.path))?;
        made.told(&wrapper.path, &parsed.notes);
        for call in &parsed.value {
            let place = format!("{}, line {}", wrapper.path, call.line);
            let read = call.call(&given).map_err(|e| e.in_file(&place))?;
            made.told(&place, &read.notes);
            made.call(&place, &read.value)?;
        }
        let bridges = parsed.value.iter().filter(|call| call.script == NetworkScript::Bridge.name()).count();
        if bridges > 1 {
            let path = &wrapper.path;
            made.notes
                .push(format!("{path}: with Xen 4.1 to 4.4 only the first bridge of a wrapper was made; here all are"));
        }
    }
    made.finish()
}

struct Made<'a> {
    input: &'a Input,
    networks: Vec<Network>,
    /// What each of them was made of.
    comments: Vec<String>,
    notes: Vec<String>,
}

impl Made<'_> {
    fn told(&mut self, place: &str, notes: &[Diagnostic]) {
        for note in notes {
            let line = if note.source.contains('\n') { format!(", line {}", note.position().0) } else { String::new() };
            let hint = note.hint.as_deref().map(|hint| format!("; {hint}")).unwrap_or_default();
            self.notes.push(format!("{place}{line}: {} ({}){hint}", note.message, note.rule));
        }
    }

    /// What xend runs: one of Xen's scripts is a call, any other one is a wrapper, whose options are given back.
    fn network_script(&mut self, path: &str, config: &XendConfig) -> Result<Vec<String>> {
        let Some(argv) = &config.network_argv else {
            self.notes.push(format!("{path}: xend makes no network"));
            return Ok(Vec::new());
        };
        let place = format!("{path}, network-script");
        let (program, arguments) =
            argv.split_first().ok_or_else(|| Error::new(ErrorKind::Internal, "an empty argv"))?;
        let unknown = match program.parse::<NetworkScript>() {
            Ok(script) => {
                let read = LegacyCall::parse(script, arguments).map_err(|e| e.in_file(&place))?;
                self.told(&place, &read.notes);
                self.call(&place, &read.value)?;
                if let Some(wrapper) = self.input.wrappers.first() {
                    self.notes.push(format!("{}: xend does not run it: {path} names {script}", wrapper.path));
                }
                return Ok(Vec::new());
            }
            Err(unknown) => unknown,
        };
        let name = base(program);
        if name == NO_SCRIPT {
            self.notes.push(format!("{place}: {program} does nothing: the network was made by somebody else"));
            return Ok(Vec::new());
        }
        let Some(first) = self.input.wrappers.first() else {
            let hint = match unknown.hint() {
                Some(hint) if hint.starts_with("a blank is missing") || hint.starts_with("did you mean") => {
                    hint.to_owned()
                }
                _ => format!("if {name} is a wrapper, name its file: --wrapper {program}"),
            };
            return Err(unknown.in_file(&place).with_hint(hint));
        };
        if !self.input.wrappers.iter().any(|wrapper| base(&wrapper.path) == name) {
            let note = format!("{place}: it names {name}, and the wrapper is {}: xend never ran that one", first.path);
            self.notes.push(note);
        }
        // The verb stands before them.
        Ok(arguments.get(1..).unwrap_or_default().to_vec())
    }

    fn vif_script(&mut self, path: &str, config: &XendConfig) {
        let name = base(config.vif_script.split(' ').next().unwrap_or_default());
        let mode = match name {
            "vif-bridge" => "bridge",
            "vif-nat" => "nat",
            "vif-route" => "routed",
            _ => {
                let note =
                    "is none of Xen's: what it did is not carried over; name a network in each vif spec, bridge=NAME";
                self.notes.push(format!("{path}: the script of vifs, {name}, {note}"));
                return;
            }
        };
        // A wrapper is read later, and may make networks of all modes.
        if let Some(network) = self.networks.first().filter(|network| network.mode_name() != mode) {
            let note = format!(
                "{path}: {name} does not go with a network of mode {}: guests had none of it; here a vif spec names its network, \
                 bridge={}",
                network.mode_name(),
                network.name()
            );
            self.notes.push(note);
        }
    }

    /// The network of one call.
    fn call(&mut self, place: &str, call: &LegacyCall) -> Result<()> {
        self.told_defaults(place, call);
        let generation = self.input.generation.unwrap_or_default();
        let network = call.network(generation, self.input.uplink).map_err(|e| e.in_file(place))?;
        let Some(mut network) = network else { return Ok(()) };
        if call.script != NetworkScript::Bridge {
            let name = self.free(network.name().as_str());
            network = Network::new(name, network.mode().clone()).map_err(|e| e.in_file(place))?;
        }
        if let Some(earlier) = self.networks.iter().find(|earlier| earlier.name() == network.name()) {
            if *earlier == network {
                self.notes.push(format!("{place}: network {} is made a second time, and counts once", network.name()));
                return Ok(());
            }
            return Err(two_uplinks(place, earlier, &network));
        }
        self.networks.push(network);
        self.comments.push(format!("{} ({place})", told_again(call)));
        Ok(())
    }

    /// What was taken where the call leaves it out.
    fn told_defaults(&mut self, place: &str, call: &LegacyCall) {
        let generation = self.input.generation.unwrap_or_default();
        match call.script {
            NetworkScript::Route if call.netdev.is_none() => {
                let note = "from Xen 3.1 to 4.0 network-route failed to let dom0 answer ARP for guests without netdev=; here it does";
                self.notes.push(format!("{place}: {note}"));
            }
            NetworkScript::Bridge => {
                let Some(bridge) = call.bridge(generation, self.input.uplink) else { return };
                let uplink = call.netdev(generation, self.input.uplink);
                if call.bridge.is_none() && self.input.generation.is_none() {
                    self.notes.push(format!(
                        "{place}: without bridge= the bridge is called {bridge}, as with Xen 3.0 and 3.1; from 3.2 on it took the \
                         name of {uplink}: --xen 4.1"
                    ));
                }
                if call.netdev.is_none() && self.input.uplink.is_none() {
                    self.notes.push(format!(
                        "{place}: without netdev= the uplink is taken to be {uplink}; name another one: --uplink NAME"
                    ));
                }
            }
            _ => {}
        }
    }

    /// A name that no network has yet.
    fn free(&self, name: &str) -> IfName {
        let taken = |name: &IfName| self.networks.iter().any(|network| network.name() == *name);
        let numbered = (2u32..).map(|n| IfName::literal(&format!("{name}{n}")));
        [IfName::literal(name)].into_iter().chain(numbered).find(|name| !taken(name)).unwrap_or(IfName::literal(name))
    }

    fn finish(self) -> Result<Imported> {
        let mut text = String::new();
        for (network, comment) in self.networks.iter().zip(&self.comments) {
            let blank = if text.is_empty() { "" } else { "\n" };
            // A path may have anything in it, and a comment is one line.
            let _ = write!(text, "{blank}# {}\n{}", comment.escape_debug(), networks::render([network]));
        }
        // Each is right by itself; together they may contradict each other.
        let read = networks::parse(&text).map_err(|e| {
            let hint = e.hint().map_or_else(|| "change what the networks are made of".to_owned(), str::to_owned);
            e.with_object("the networks that were imported").with_hint(hint)
        })?;
        let same = read.iter().eq(self.networks.iter());
        if !same {
            return Err(
                Error::new(ErrorKind::Internal, "the networks do not read back as they were written").with_object(text)
            );
        }
        Ok(Imported { version: Version, networks: self.networks, text, notes: self.notes })
    }
}

/// A call as it would be typed.
fn told_again(call: &LegacyCall) -> String {
    let yes_or_no = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let bridge = |bridge| match bridge {
        super::legacy::LegacyBridge::Null => "null".to_owned(),
        super::legacy::LegacyBridge::Named(name) => name.to_string(),
    };
    let values: BTreeMap<&str, Option<String>> = BTreeMap::from([
        ("netdev", call.netdev.map(|n| n.to_string())),
        ("bridge", call.bridge.map(bridge)),
        ("vifnum", call.vifnum.map(|n| n.to_string())),
        ("antispoof", call.antispoof.map(yes_or_no)),
        ("dhcp", call.dhcp.map(yes_or_no)),
    ]);
    let mut text = format!("{} {}", call.script, call.verb.name());
    for option in call.script.options() {
        if let Some(Some(value)) = values.get(option) {
            let _ = write!(text, " {option}={value}");
        }
    }
    text
}

fn two_uplinks(place: &str, earlier: &Network, network: &Network) -> Error {
    let uplink = |network: &Network| match network.mode() {
        NetworkMode::Bridge(bridge) => bridge.uplink.map(|name| name.to_string()).unwrap_or_default(),
        _ => String::new(),
    };
    let message = format!("{} would have two uplinks, {} and {}", network.name(), uplink(earlier), uplink(network));
    Error::new(ErrorKind::Conflict, message)
        .with_object(place)
        .with_hint("a network has one uplink: give each link a bridge of its own, or make a bond of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn config(text: &str) -> Input {
        Input { config: Some(file("c.sxp", text)), ..Input::default() }
    }

    fn made(input: &Input) -> Imported {
        let made = import(input).unwrap_or_else(|e| panic!("{input:?}\n{}", e.report()));
        assert_eq!(networks::parse(&made.text).unwrap().iter().cloned().collect::<Vec<_>>(), made.networks);
        made
    }

    #[test]
    fn the_three_recipes_are_the_three_modes() {
        for (mode, text, notes) in [
            ("bridge", "[network.xenbr0]\nmode = \"bridge\"\nuplink = \"eth0\"\n", 2),
            ("nat", "[network.nat]\nmode = \"nat\"\n", 0),
            ("route", "[network.routed]\nmode = \"routed\"\nproxy_arp = true\n", 1),
        ] {
            let found = made(&config(&format!("(network-script network-{mode})\n(vif-script vif-{mode})\n")));
            assert_eq!(found.text, format!("# network-{mode} start (c.sxp, network-script)\n{text}"));
            assert_eq!(found.notes.len(), notes, "{:?}", found.notes);
        }
    }

    #[test]
    fn what_is_left_out_is_as_in_the_generation_that_is_named() {
        let text = "(network-script network-bridge)";
        let name = |text: &str| Some(text.parse().unwrap());
        let cases = [
            (Some(Generation::Netloop), name("eth1"), "[network.xenbr1]\nmode = \"bridge\"\nuplink = \"eth1\"\n"),
            (
                Some(Generation::Renaming),
                name("eth1"),
                "[network.eth1]\nmode = \"bridge\"\nuplink = \"eth1\"\nuplink_name = \"peth1\"\n",
            ),
        ];
        for (generation, uplink, wanted) in cases {
            let found = made(&Input { generation, uplink, ..config(text) });
            assert!(found.text.ends_with(&format!(")\n{wanted}")), "{}", found.text);
            assert_eq!(found.notes, [""; 0]);
        }
        let long = Input { generation: Some(Generation::Renaming), uplink: name("enxaabbccddeeff"), ..config(text) };
        assert!(import(&long).unwrap_err().hint().unwrap().contains("bridge=xenbr0"));
    }

    #[test]
    fn a_wrapper_makes_all_its_bridges() {
        let wrapper = "#!/bin/sh\n/etc/xen/scripts/network-bridge $1 netdev=eth0 bridge=xenbr0\n\n\
                       /etc/xen/scripts/network-bridge $1 netdev=eth1 bridge=xenbr1\n";
        let text = "(network-script network-bridge-wrapper)\n";
        let wanted = "# network-bridge start netdev=eth0 bridge=xenbr0 (/s/network-wrapper, line 2)\n\
                      [network.xenbr0]\nmode = \"bridge\"\nuplink = \"eth0\"\n\n\
                      # network-bridge start netdev=eth1 bridge=xenbr1 (/s/network-wrapper, line 4)\n\
                      [network.xenbr1]\nmode = \"bridge\"\nuplink = \"eth1\"\n";
        let found = made(&Input { wrappers: vec![file("/s/network-wrapper", wrapper)], ..config(text) });
        assert_eq!(found.text, wanted);
        // The names differ, as in a well-known recipe; and Xen 4.1 made one bridge alone.
        assert_eq!(found.notes.len(), 2, "{:?}", found.notes);
        assert!(found.notes[0].contains("xend never ran that one") && found.notes[1].contains("here all are"));
        assert_eq!(wrapper_of(text).unwrap().unwrap(), "/etc/xen/scripts/network-bridge-wrapper");
        for none in ["(network-script network-nat)", "(network-script /bin/true)", "", "(network-script '')"] {
            assert_eq!(wrapper_of(none).unwrap(), None);
        }

        let passed = "(network-script 'my-wrapper bridge=br9')";
        let wrapper = file("my-wrapper", "network-bridge \"$@\" netdev=eth0\n");
        let found = made(&Input { wrappers: vec![wrapper.clone()], ..config(passed) });
        assert!(found.text.contains("[network.br9]"), "{}", found.text);
        let alone = made(&Input { wrappers: vec![wrapper], ..Input::default() });
        assert!(alone.text.contains("[network.xenbr0]"), "{}", alone.text);
    }

    #[test]
    fn nothing_that_is_dropped_or_done_otherwise_is_silent() {
        for (text, note) in [
            ("(vif-script vif-nat)", "xend makes no network"),
            ("(network-script /bin/true)", "/bin/true does nothing: the network was made by somebody else"),
            ("(network-script network-bridge bridge=x)", "c.sxp: \"bridge=x\" is dropped"),
            (
                "\n(network-script network-nat)\n(vif-script vif-bridge)",
                "vif-bridge does not go with a network of mode nat",
            ),
            ("(network-script network-nat)(vif-script my-vif)", "the script of vifs, my-vif, is none of Xen's"),
            ("(network-script 'network-nat dhcp=yes')", "c.sxp, network-script: dhcp=yes wrote a line"),
            ("(network-script 'network-bridge antispoof=yes')", "emptied the FORWARD chain"),
            ("(network-script 'network-bridge bridge=null')", "bridge=null does nothing"),
            ("\n(network-script network-nat)\n(network-script x)", "c.sxp, line 3: a second network-script"),
        ] {
            let found = made(&config(text));
            assert!(found.notes.iter().any(|n| n.contains(note)), "{text}: {:?}", found.notes);
            assert!(found.notes.iter().all(|n| !n.contains('\n')), "{:?}", found.notes);
        }
        let dhcp = made(&config("(network-script 'network-nat dhcp=yes netdev=eth1')(vif-script vif-nat)"));
        assert!(dhcp.text.ends_with("subnets = [\"10.0.0.0/16\"]\negress = \"eth1\"\ndhcp = true\n"), "{}", dhcp.text);
    }

    #[test]
    fn what_cannot_be_the_same_is_refused() {
        let wrapper = |text: &str| Input { wrappers: vec![file("w", text)], ..Input::default() };
        for (input, kind, message, hint) in [
            (
                config("(network-script w)"),
                ErrorKind::Invalid,
                "no network script of Xen's",
                "--wrapper /etc/xen/scripts/w",
            ),
            (
                config("(network-script 'network-bridgebridge=x')"),
                ErrorKind::Invalid,
                "no network script",
                "a blank is missing: network-bridge bridge=x",
            ),
            (
                config("(network-script 'network-bridge netdev=a/b')"),
                ErrorKind::Invalid,
                "netdev cannot be",
                "name a link",
            ),
            (config("(network-script"), ErrorKind::Invalid, "unexpected EOF", "add the )"),
            (wrapper("for i in 1; do network-bridge $1; done"), ErrorKind::Invalid, "in a loop", "a line of its own"),
            (wrapper("network-bridge-bonding $1"), ErrorKind::Invalid, "no network script", "the scripts are"),
            (
                wrapper("network-bridge $1 netdev=eth0 bridge=b\nnetwork-bridge $1 netdev=eth1 bridge=b"),
                ErrorKind::Conflict,
                "b would have two uplinks, eth0 and eth1",
                "a bond",
            ),
            (
                wrapper("network-bridge $1 netdev=eth0 bridge=a\nnetwork-bridge $1 netdev=eth0 bridge=b"),
                ErrorKind::Invalid,
                "eth0 is the uplink of network b",
                "",
            ),
            (
                wrapper("network-bridge $1 netdev=eth0 bridge=a\nnetwork-nat $1 netdev=eth0"),
                ErrorKind::Invalid,
                "eth0 has no addresses of its own",
                "write egress = \"a\"",
            ),
        ] {
            let error = import(&input).map(|i| panic!("{}", i.text)).unwrap_err();
            assert_eq!(error.kind(), kind, "{}", error.report());
            assert!(error.report().contains(message), "{}", error.report());
            assert!(error.hint().unwrap().contains(hint) && error.object().is_some(), "{}", error.report());
        }
        for (text, place) in [
            ("\nnetwork-bridge $1 netdev=eth0:1\n", "w, line 2: netdev cannot be \"eth0:1\""),
            ("\n\nnetwork-bridge $1 netdev=$X\n", "w, line 3: an option that only the shell knows"),
            ("network-bridge $1 brigde=b\n", "w, line 1: network-bridge does not know the option \"brigde\""),
            ("network-bridge-bonding $1\n", "w, line 1: "),
        ] {
            let error = import(&wrapper(text)).map(|i| panic!("{}", i.text)).unwrap_err();
            assert!(error.message().starts_with(place), "{}", error.report());
        }
        let twice = made(&wrapper("network-bridge $1\nnetwork-bridge start\nnetwork-nat $1\nnetwork-nat $1"));
        assert_eq!(twice.networks.iter().map(|n| n.name().to_string()).collect::<Vec<_>>(), ["xenbr0", "nat", "nat2"]);
        assert!(twice.notes.iter().any(|n| n == "w, line 2: network xenbr0 is made a second time, and counts once"));
    }
}
