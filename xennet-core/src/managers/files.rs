//! What the files of a manager say about links of guests: ours, and those that an administrator or a distribution has written.

use super::Manager;

/// The links in question: a pattern or a name, and examples of names that match it.
pub(super) struct Links<'a> {
    pub(super) name: &'a str,
    examples: Vec<String>,
    /// How NetworkManager calls their kind, systemd's `Type=`, `Kind=` and `Driver=`.
    kind: [&'static str; 4],
}

impl<'a> Links<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        // Two, so that a file for one link is not taken for one for all of them.
        let (examples, kind): (&[&str], _) = match name {
            "vif*" => (&["vif1.0", "vif4711.2"], ["ethernet", "ether", "", "vif"]),
            "tap*" => (&["tap1.0", "tap4711.2"], ["tun", "ether", "tun", "tun"]),
            "*-emu" => (&["vif1.0-emu", "web0-emu"], ["tun", "ether", "tun", "tun"]),
            _ if name.starts_with("vif") => (&[], ["ethernet", "ether", "", "vif"]),
            _ => (&[], ["bridge", "bridge", "bridge", "bridge"]),
        };
        let examples: Vec<String> = examples.iter().map(|e| (*e).to_owned()).collect();
        Links { name, examples: if examples.is_empty() { vec![name.to_owned()] } else { examples }, kind }
    }

    fn fits(&self, is_so: impl Fn(&str) -> bool) -> Fits {
        match self.examples.iter().filter(|name| is_so(name)).count() {
            0 => Fits::No,
            n if n == self.examples.len() => Fits::Yes,
            _ => Fits::Perhaps,
        }
    }
}

/// Whether something is about links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Fits {
    No,
    /// About some of them, or it depends on more than is known.
    Perhaps,
    Yes,
}

/// What a manager does with links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Does {
    /// It leaves them alone.
    Nothing,
    /// It takes them, because of this file, if it is one that says so.
    Takes(Option<String>),
    /// This file may say so.
    CannotTell(String),
}

/// What the manager does with the links. `files` are in its reading order, each with its path.
pub(super) fn does(manager: Manager, files: &[(String, String)], links: &Links<'_>) -> Does {
    match manager {
        Manager::NetworkManager => by_network_manager(files, links),
        Manager::Networkd => {
            by_first_that_fits(files, links, |file| !file.iter().any(|l| l.is("Link", "Unmanaged") && is_yes(l.value)))
        }
        Manager::Udev => by_first_that_fits(files, links, |file| {
            let policy = file.iter().rev().find(|l| l.is("Link", "MACAddressPolicy"));
            policy.is_some_and(|l| matches!(l.value, "persistent" | "random"))
        }),
        Manager::Dhcpcd => by_dhcpcd(files, links),
    }
}

fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1" | "y" | "t")
}

/// A line `KEY=VALUE` below `[SECTION]`.
struct Line<'a> {
    section: &'a str,
    key: &'a str,
    value: &'a str,
    /// Its number in the file, from 1.
    number: usize,
}

impl Line<'_> {
    fn is(&self, section: &str, key: &str) -> bool {
        self.section == section && self.key == key
    }
}

fn lines(text: &str) -> Vec<Line<'_>> {
    let mut section = "";
    let mut found = Vec::new();
    for (at, line) in text.lines().map(str::trim).enumerate().filter(|(_, l)| !l.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name;
        } else if let Some((key, value)) = line.split_once('=') {
            found.push(Line { section, key: key.trim(), value: value.trim(), number: at + 1 });
        }
    }
    found
}

/// Whether a name matches a pattern of a shell: `*`, `?`, `[...]`.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=name.len()).any(|n| matches(rest, &name[n..])),
        ([b'?', rest @ ..], [_, name @ ..]) => matches(rest, name),
        ([b'[', rest @ ..], [first, name @ ..]) => {
            let Some(end) = rest.iter().skip(1).position(|b| *b == b']').map(|n| n + 1) else { return false };
            let (set, rest) = (&rest[..end], &rest[end + 1..]);
            let (not, set) = match set {
                [b'!' | b'^', set @ ..] => (true, set),
                set => (false, set),
            };
            let ranges = set.windows(3).any(|w| w[1] == b'-' && (w[0]..=w[2]).contains(first));
            (ranges || set.contains(first)) != not && matches(rest, name)
        }
        ([p, rest @ ..], [n, name @ ..]) => p == n && matches(rest, name),
        _ => false,
    }
}

fn is_like(pattern: &str, name: &str) -> bool {
    // Each `*` tries all lengths, so the number of `*` is limited.
    pattern.bytes().filter(|b| *b == b'*').count() <= 4 && matches(pattern.as_bytes(), name.as_bytes())
}

/// A place in a file, for people.
fn place(path: &str, line: usize) -> String {
    format!("{path}, line {line},")
}

/// systemd: the first file that fits a link is the only one.
fn by_first_that_fits(files: &[(String, String)], links: &Links<'_>, takes: impl Fn(&[Line<'_>]) -> bool) -> Does {
    let mut unsure: Vec<(bool, String)> = Vec::new();
    let mut last = (false, None);
    for (path, text) in files {
        let file = lines(text);
        let by_match = file.iter().find(|l| l.section == "Match").or(file.first());
        let at = || place(path, by_match.map_or(1, |l| l.number));
        // A file without a line masks one of its name.
        if file.is_empty() {
            continue;
        }
        match fits(&file, links) {
            Fits::No => {}
            Fits::Perhaps => unsure.push((takes(&file), at())),
            Fits::Yes => {
                last = (takes(&file), Some(at()));
                break;
            }
        }
    }
    match unsure.into_iter().find(|(takes, _)| *takes != last.0) {
        Some((_, place)) => Does::CannotTell(place),
        None if last.0 => Does::Takes(last.1),
        None => Does::Nothing,
    }
}

/// Whether the section `[Match]` of a file of systemd's is about links. All of its keys have to be.
fn fits(file: &[Line<'_>], links: &Links<'_>) -> Fits {
    let [_, of_type, kind, driver] = links.kind;
    let listed = |value: &str, name: &str| {
        let (not, list) = value.strip_prefix('!').map_or((false, value), |list| (true, list));
        list.split_whitespace().any(|pattern| is_like(pattern, name)) != not
    };
    let one_of = |value: &str, name: &str| if listed(value, name) { Fits::Yes } else { Fits::No };
    let mut fit = Fits::Yes;
    for line in file.iter().filter(|l| l.section == "Match") {
        // The key may be given several times.
        let one = match line.key {
            "Name" | "OriginalName" => {
                let all = file.iter().filter(|l| l.is("Match", line.key));
                let values: Vec<&str> = all.map(|l| l.value).collect();
                links.fits(|name| listed(&values.join(" "), name))
            }
            "Type" => one_of(line.value, of_type),
            "Kind" => one_of(line.value, kind),
            "Driver" => one_of(line.value, driver),
            // Such links are hardware.
            "Path" | "PermanentMACAddress" | "WLANInterfaceType" | "SSID" | "BSSID" => Fits::No,
            "MACAddress"
                if links.name.contains('*') && !line.value.to_ascii_lowercase().contains("fe:ff:ff:ff:ff:ff") =>
            {
                Fits::No
            }
            _ => Fits::Perhaps,
        };
        fit = fit.min(one);
    }
    fit
}

/// NetworkManager: a list of devices that it leaves alone, which each file replaces or goes on with, and sections `[device...]`.
fn by_network_manager(files: &[(String, String)], links: &Links<'_>) -> Does {
    let mut list: Vec<&str> = Vec::new();
    let mut sections: Vec<(&str, String)> = Vec::new();
    let mut last = None;
    for (path, text) in files {
        let file = lines(text);
        for line in &file {
            let (key, how) = match line.key.strip_suffix(['+', '-']) {
                Some(key) => (key.trim_end(), line.key.as_bytes()[line.key.len() - 1]),
                None => (line.key, b'='),
            };
            if line.section == "keyfile" && key == "unmanaged-devices" {
                let specs = specs(line.value);
                match how {
                    b'-' => list.retain(|spec| !specs.contains(spec)),
                    b'+' => list.extend(specs),
                    _ => list = specs,
                }
                last = Some(place(path, line.number));
            }
            if line.section.starts_with("device") && line.key == "managed" && !is_yes(line.value) {
                let all = file.iter().find(|l| l.is(line.section, "match-device"));
                sections.push((all.map_or("*", |l| l.value), place(path, line.number)));
            }
        }
    }
    let is_in = |specs: &[&str], name: &str| {
        let spec = |spec: &str| {
            let spec = spec.trim_start_matches("except:");
            match spec.split_once(':') {
                None => spec == "*" || is_like(spec, name),
                Some(("interface-name", pattern)) => is_like(pattern.trim_start_matches(['=', '~']), name),
                Some(("type", kind)) => kind == links.kind[0],
                Some(("driver", driver)) => is_like(driver, links.kind[3]),
                _ => false,
            }
        };
        let (except, positive): (Vec<&str>, Vec<&str>) = specs.iter().partition(|s| s.starts_with("except:"));
        !except.iter().any(|s| spec(s))
            && (positive.iter().any(|s| spec(s)) || positive.is_empty() && !except.is_empty())
    };
    let left = links.fits(|name| is_in(&list, name) || sections.iter().any(|(value, _)| is_in(&specs(value), name)));
    if left == Fits::Yes {
        Does::Nothing
    } else {
        Does::Takes(last.or(sections.last().map(|(_, place)| place.clone())))
    }
}

fn specs(value: &str) -> Vec<&str> {
    value.split([';', ',', ' ']).map(str::trim).filter(|spec| !spec.is_empty()).collect()
}

/// dhcpcd: what stands before the first `interface` is about all links.
fn by_dhcpcd(files: &[(String, String)], links: &Links<'_>) -> Does {
    let Some((path, text)) = files.first() else { return Does::Takes(None) };
    let general = super::before_interfaces(text);
    let of = |key: &str| -> Vec<&str> {
        let words = |line: &'_ str| line.split([' ', '\t', ',']).filter(|w| !w.is_empty()).count();
        let lines = general.lines().map(str::trim).filter(|l| words(l) > 1 && l.split([' ', '\t']).next() == Some(key));
        lines.flat_map(|l| l.split([' ', '\t', ',']).skip(1)).filter(|w| !w.is_empty()).collect()
    };
    let (deny, allow) = (of("denyinterfaces"), of("allowinterfaces"));
    let left = links.fits(|name| {
        let in_list = |list: &[&str]| list.iter().any(|pattern| is_like(pattern, name));
        in_list(&deny) || !allow.is_empty() && !in_list(&allow)
    });
    if left == Fits::Yes { Does::Nothing } else { Does::Takes(Some(path.clone())) }
}
