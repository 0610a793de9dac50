//! What a world is like after calls, and how two worlds differ, in lines that a list of intended differences can name.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use xennet_core::snapshot::{Change, Snapshot};

use crate::rig::{Rig, look};

/// The kernel's state, the old firewall's rules, the store, and how the calls ended.
pub(crate) struct Facts {
    network: Snapshot,
    lines: Vec<String>,
}

impl Facts {
    /// As it is now in this thread's namespace.
    pub(crate) fn now(rig: &Rig, exits: &[String]) -> Facts {
        let mut lines = exits.to_vec();
        lines.extend(iptables());
        for (path, node) in rig.store.tree(|tree| tree.nodes()) {
            let permissions: Vec<String> = node.permissions.iter().map(ToString::to_string).collect();
            lines.push(format!(
                "xenstore {path} = \"{}\" ({})",
                String::from_utf8_lossy(&node.value),
                permissions.join(",")
            ));
        }
        Facts { network: look(), lines }
    }

    /// What has to change for this world to become the other, one fact a line: `- ` holds here only, `+ ` there only,
    /// `~ LINK: WAS => IS` for a property of a link that both have.
    pub(crate) fn differences(&self, other: &Facts) -> Vec<String> {
        let mut out = Vec::new();
        for change in self.network.changes(&other.network) {
            match &change {
                Change::Changed { from, to } if from.starts_with("ip link ") => properties(from, to, &mut out),
                _ => out.push(change.to_string()),
            }
        }
        let count = |lines: &[String]| {
            lines.iter().fold(BTreeMap::<String, usize>::new(), |mut all, line| {
                *all.entry(line.clone()).or_default() += 1;
                all
            })
        };
        let (old, new) = (count(&self.lines), count(&other.lines));
        for line in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
            let (was, is) = (old.get(line).unwrap_or(&0), new.get(line).unwrap_or(&0));
            let sign = if was > is { '-' } else { '+' };
            out.extend((0..was.abs_diff(*is)).map(|_| format!("{sign} {line}")));
        }
        out
    }
}

/// The rules of the chain that Xen's scripts write to; nothing where there is no such program.
fn iptables() -> Vec<String> {
    let listed = Command::new("iptables").args(["-w", "-S", "FORWARD"]).stderr(Stdio::null()).output();
    let text = listed.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| format!("iptables {line}")).collect()
}

/// Two lines about a link, as `~ LINK: WAS => IS` for each property that differs.
fn properties(from: &str, to: &str, out: &mut Vec<String>) {
    let (old, new) = (words(from), words(to));
    let link = from.split(' ').nth(3).unwrap_or_default();
    for key in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let value = |all: &BTreeMap<String, String>| all.get(key).cloned().unwrap_or_else(|| "usual".to_owned());
        if value(&old) != value(&new) {
            out.push(format!("~ {link}: {key} {} => {}", value(&old), value(&new)));
        }
    }
}

/// The properties in `ip link add NAME …` and `ip link set NAME …`.
fn words(line: &str) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut words = line.split(' ').skip(4);
    while let Some(word) = words.next() {
        match word {
            "up" | "down" => all.insert("state".to_owned(), word.to_owned()),
            "no-ipv6" => all.insert("ipv6".to_owned(), "none".to_owned()),
            _ => all.insert(word.to_owned(), words.next().unwrap_or_default().to_owned()),
        };
    }
    all
}

/// Whether a text is as a pattern says, in which `*` stands for anything.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[test]
fn patterns() {
    for (text, pattern, like) in [
        ("abc", "abc", true),
        ("abc", "ab", false),
        ("abc", "a*", true),
        ("abc", "*c", true),
        ("abc", "a*c", true),
        ("abcd", "a*c", false),
        ("a1b2c", "a*b*c", true),
        ("aba", "*b", false),
        ("", "*", true),
    ] {
        assert_eq!(is_like(text, pattern), like, "{text} {pattern}");
    }
}
