//! The commands of a page, carried out: on a model of the kernel, or in a network namespace that the page describes.
//!
//! A page's commands are what a user types. `xennet` is a small program here that adds where the model, the state and the files are.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use xennet_core::xenstore::server::{Server, Settings};
use xennet_tests::StateDir;

use crate::command::program;

/// A block between three backquotes.
pub(crate) struct Block<'a> {
    pub(crate) language: &'a str,
    pub(crate) text: &'a str,
    /// The name of the file that it is, from a mark before it: `<!-- file: networks.toml -->`.
    pub(crate) file: Option<&'a str>,
    /// Where its text is in the page.
    start: usize,
}

impl<'a> Block<'a> {
    /// The commands behind this prompt.
    pub(crate) fn commands(&self, prompt: &str) -> Vec<&'a str> {
        self.text.lines().filter_map(|line| line.strip_prefix(prompt)).collect()
    }
}

/// The blocks of a page.
pub(crate) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some(found) = page[at..].find("```") {
        let fence = at + found;
        let line_end = fence + page[fence..].find('\n').unwrap_or(0);
        let start = line_end + 1;
        let end = start + page[start..].find("```").expect("a block ends");
        let before = page[..fence].trim_end().lines().last().unwrap_or_default();
        let file = before.strip_prefix("<!-- file: ").and_then(|rest| rest.strip_suffix(" -->"));
        blocks.push(Block { language: page[fence + 3..line_end].trim(), text: &page[start..end], file, start });
        at = end + 3;
    }
    blocks
}

/// The pictures of a page that are drawn of a file on it: `<!-- drawn: FILE -->` before the picture.
pub(crate) fn pictures(page: &str) -> Vec<(&str, &str)> {
    marked(page, "<!-- drawn: ")
}

fn marked<'a>(page: &'a str, mark: &str) -> Vec<(&'a str, &'a str)> {
    let mut pictures = Vec::new();
    let lines: Vec<&str> = page.lines().collect();
    for pair in lines.windows(2) {
        if let Some(file) = pair[0].strip_prefix(mark).and_then(|rest| rest.strip_suffix(" -->")) {
            let picture = pair[1].split("](").nth(1).and_then(|rest| rest.strip_suffix(')')).expect("a picture");
            pictures.push((picture, file));
        }
    }
    pictures
}

/// The pictures of a page that are copies of others in the tree: `<!-- copy: FILE -->` before the picture.
pub(crate) fn copies(page: &str) -> Vec<(&str, &str)> {
    marked(page, "<!-- copy: ")
}

/// Where a page's commands run.
pub(crate) enum World<'a> {
    /// The example of a host in memory. The prompt is `$`.
    Model,
    /// A network namespace, made by these lines of a comment: `<!-- namespace`, lines, `-->`. The prompt is `dom0#`.
    Namespace { set_up: &'a str },
}

impl<'a> World<'a> {
    pub(crate) fn of(page: &'a str) -> Self {
        match page.split("<!-- namespace\n").nth(1).and_then(|rest| rest.split("-->").next()) {
            Some(set_up) => World::Namespace { set_up },
            None => World::Model,
        }
    }

    pub(crate) fn prompt(&self) -> &'static str {
        match self {
            World::Model => "$ ",
            World::Namespace { .. } => "dom0# ",
        }
    }
}

/// What a namespace would have from the machine on which the tests run.
const EVERY_NAMESPACE: &str = "ip link set lo up
    sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0
    sysctl -qw net.ipv6.conf.all.forwarding=0
    for n in ip ip6; do sysctl -qw net.bridge.bridge-nf-call-${n}tables=0 2>/dev/null || true; done";

/// Until the kernel has told of the uplink's carrier.
const SETTLED: &str = "for n in $(seq 50); do ip link show eth0 | grep -q NO-CARRIER || break; sleep 0.1; done";

/// The page with what its commands print now.
pub(crate) fn played(world: &World<'_>, page: &str) -> String {
    let place = StateDir::new();
    let dir = place.path();
    // A page of a namespace may have guests that xenstore knows: its set-up writes the nodes.
    let store = Server::start(Settings::default()).unwrap();
    for sub in ["bin", "etc", "scripts", "work"] {
        std::fs::create_dir(dir.join(sub)).unwrap();
    }
    let own = dir.join("bin/xennet");
    std::fs::write(&own, wrapper(world)).unwrap();
    std::fs::set_permissions(&own, PermissionsExt::from_mode(0o755)).unwrap();
    let path = format!("{}:{}:/usr/sbin:/sbin", dir.join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let shell = |line: &str| {
        let output = Command::new("sh")
            .args(["-c", &format!("{{ {line}\n}} 2>&1")])
            .current_dir(dir.join("work"))
            .env("PATH", &path)
            .env("PLACE", dir)
            .env("PROGRAM", program())
            .env("XENNET_STATE_DIR", dir.join("state"))
            .env("XENSTORED_PATH", store.path())
            .env_remove("NO_COLOR")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let text = text.replace(&format!("{}/etc/", dir.display()), "/etc/xennet/");
        let text = text.replace(&format!("{}/scripts", dir.display()), "/etc/xen/scripts");
        let text = text.replace(own.to_str().unwrap(), "/usr/local/sbin/xennet");
        // The uplink of a namespace is one end of a cable.
        let text = text.replace("@wire", "     ");
        text.lines().map(|line| format!("{}\n", line.trim_end())).collect::<String>()
    };
    for script in ["vif-bridge", "vif-nat", "vif-route"] {
        let path = dir.join("scripts").join(script);
        std::fs::write(&path, "#!/bin/bash\n").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    if let World::Namespace { set_up } = world {
        // Lines `xenstore PATH VALUE` are nodes.
        let (nodes, lines): (Vec<&str>, Vec<&str>) = set_up.lines().partition(|line| line.starts_with("xenstore "));
        for node in nodes {
            let (path, value) = node.trim_start_matches("xenstore ").split_once(' ').unwrap();
            store.tree(|tree| tree.set(path, value.as_bytes()).unwrap());
        }
        let lines = lines.join("\n");
        let done =
            Command::new("sh").args(["-ec", &format!("{EVERY_NAMESPACE}\n{lines}\n{SETTLED}")]).status().unwrap();
        assert!(done.success(), "{set_up}");
    }
    let (mut new, mut at) = (String::new(), 0);
    for block in blocks(page) {
        if let Some(file) = block.file {
            let into = if file.ends_with(".toml") { "etc" } else { "work" };
            std::fs::write(dir.join(into).join(Path::new(file).file_name().unwrap()), block.text).unwrap();
            std::fs::write(dir.join("work").join(Path::new(file).file_name().unwrap()), block.text).unwrap();
        }
        if block.language == "console" {
            new.push_str(&page[at..block.start]);
            for line in block.commands(world.prompt()) {
                new.push_str(&format!("{}{line}\n{}", world.prompt(), shell(line)));
            }
            at = block.start + block.text.len();
        }
    }
    new.push_str(&page[at..]);
    new
}

/// The program `xennet` of a page.
fn wrapper(world: &World<'_>) -> String {
    let model = match world {
        World::Model => "set -- \"$@\" --backend fake\n",
        World::Namespace { .. } => "",
    };
    format!(
        "#!/bin/sh\n\
         case \"$1 $2\" in\n\
         'network start' | 'network stop' | 'network status' | 'plan network-start' | doctor* | record* | guest*)\n\
         set -- \"$@\" --file \"$PLACE/etc/networks.toml\" ;;\n\
         'install-scripts --undo') set -- \"$@\" --dir \"$PLACE/scripts\" ;;\n\
         install-scripts*) set -- \"$@\" --dir \"$PLACE/scripts\" --binary \"$PLACE/bin/xennet\" ;;\n\
         'parse hotplug') [ $# -gt 2 ] || set -- \"$@\" \"$PLACE/etc/hotplug.toml\" ;;\n\
         esac\n{model}exec \"$PROGRAM\" \"$@\"\n"
    )
}
