//! Looking at what is around the kernel's objects on a host: other programs' files, hooks, scripts, modules.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::networks;
use crate::error::{Errno, Error, ErrorKind};
use crate::gather;
use crate::host::{Host, Overview};
use crate::hotplug::hooks::Hooks;
use crate::managers::{self, Found, Manager, Snippet};
use crate::model::{IfName, Network, NetworkMode};
use crate::recording::{Described, OldCall, Problem, Recording, Surroundings, Taken, Unseen};
use crate::snapshot::LinkKind;
use crate::xenstore::{Client, Options, Store};

/// Where Xen has its hotplug scripts.
const SCRIPTS: &str = "/etc/xen/scripts";
/// Where the hooks of calls are.
const HOOKS: &str = "/etc/xen/scripts/vif-post.d";
/// How much of a script is read.
const MOST: u64 = 256 * 1024;

/// Functions of Xen's `xen-network-common.sh` that scripts of others call, each with the first version without it.
const REMOVED: [(&str, &str); 1] = [("setup_virtual_bridge_port", "4.22")];

/// Scripts of Xen's own, which are upgraded with it.
const OF_XEN: [&str; 14] = [
    "colo-proxy-setup",
    "locking.sh",
    "logging.sh",
    "network-bridge",
    "network-nat",
    "network-route",
    "vif-bridge",
    "vif-common.sh",
    "vif-nat",
    "vif-openvswitch",
    "vif-route",
    "vif-setup",
    "xen-hotplug-common.sh",
    "xen-network-common.sh",
];

/// Modules that calls of NAT and routed networks ask for, by the names that the kernel has for them.
const NEEDED: [&str; 3] = ["nf_tables", "nf_conntrack", "nf_conntrack_netlink"];

/// Looks at what is around a host whose root directory this is, as far as it matters for what was recorded of it; and what of it could not
/// be looked at. Changes nothing, and starts no program.
pub fn look(root: &Path, recording: &Recording) -> (Surroundings, Vec<Unseen>) {
    let mut unseen = Vec::new();
    let mut miss = |what: &str, why: &Error| unseen.push(Unseen { what: what.into(), why: why.to_string() });
    let managers = managers::snippets(&bridges_of(recording))
        .and_then(|snippets| Ok(managers::check(&snippets, &self::managers(root, &snippets)?)))
        .inspect_err(|e| miss("files of link managers", e))
        .unwrap_or_default();
    let hooks = Hooks { dir: &below(root, HOOKS), verb: "online", environment: &[], deadline: Duration::ZERO }
        .broken()
        .inspect_err(|e| miss("hooks", e))
        .unwrap_or_default();
    let old_calls = old_calls(root).inspect_err(|e| miss("hotplug scripts", e)).unwrap_or_default();
    let shown = |(path, why): (PathBuf, String)| Problem { path: format!("/{}", within(root, &path)), why };
    let surroundings = Surroundings {
        managers,
        hooks: hooks.into_iter().map(shown).collect(),
        scripts: scripts(root, recording),
        old_calls,
        modules: modules(root, recording),
        xen: xen(root),
    };
    (surroundings, unseen)
}

/// All that can be seen of a host: what [`Host::record`] tells, with the networks of a file, xenstore, the time and this host's name; and,
/// with a root directory, what is around it, unless it is a host in memory. What cannot be looked at is noted in it. Changes nothing.
///
/// xenstore is looked for where its own tools look for it, by the variables of the environment that they know. A host in memory has none.
///
/// ```
/// use xennet_core::{Host, doctor, surroundings};
///
/// let recording = surroundings::record(&mut Host::fake(), "/etc/xennet/networks.toml".as_ref(), None);
/// assert!(doctor::worst(&doctor::examine(&recording)) > Some(doctor::Level::Warning));
/// ```
pub fn record(host: &mut Host, file: &Path, root: Option<&Path>) -> Recording {
    let shown = || file.display().to_string();
    let text = fs::read_to_string(file);
    let described = text.as_ref().ok().map(|text| Described { file: shown(), text: text.clone() });
    let mut client = match host.is_in_memory() {
        false => Client::open(&Options::default(), &|name| std::env::var_os(name)).map_err(|e| e.to_string()),
        true => Err("there is none here".to_owned()),
    };
    let store = client.as_mut().map(|client| client as &mut dyn Store).map_err(|why| why.clone());
    let mut recording = host.record(taken(), described, store);
    if let Err(e) = text
        && e.kind() != io::ErrorKind::NotFound
    {
        recording.unseen.push(Unseen { what: shown(), why: e.to_string() });
    }
    if let Some(root) = root.filter(|_| !host.is_in_memory()) {
        let (surroundings, unseen) = look(root, &recording);
        recording.surroundings = surroundings;
        recording.unseen.extend(unseen);
    }
    recording
}

/// What the networking of a host is ([`Host::overview`]), with the networks of a file, xenstore, the time and this host's name; and, with a
/// root directory, the managers of links that run there and may take those of guests. A host in memory has neither. Changes nothing.
///
/// # Errors
/// As [`Host::overview`].
pub fn overview(host: &mut Host, file: &Path, root: Option<&Path>) -> Result<Overview, Error> {
    // Whoever may not read the file, or has errors in it, is told by what is about the file.
    let described = fs::read_to_string(file).ok().and_then(|text| networks::parse(&text).ok());
    let described: Vec<Network> = described.iter().flat_map(|all| all.iter().cloned()).collect();
    let mut client = match host.is_in_memory() {
        false => Client::open(&Options::default(), &|name| std::env::var_os(name)).map_err(|e| e.to_string()),
        true => Err(String::new()),
    };
    let store = client.as_mut().map(|client| client as &mut dyn Store).map_err(|why| why.clone());
    let mut overview = host.overview(taken(), &described, store)?;
    if let Some(root) = root.filter(|_| !host.is_in_memory()) {
        let bridges: Vec<IfName> = overview.shown.bridges.iter().map(|bridge| bridge.bridge).collect();
        let bridges: Vec<IfName> = bridges.into_iter().filter(|name| managers::snippets(&[*name]).is_ok()).collect();
        let found = managers::snippets(&bridges)
            .and_then(|snippets| Ok(managers::check(&snippets, &self::managers(root, &snippets)?)));
        match found {
            Ok(found) => overview.managers = found,
            Err(e) => overview.unseen.push(Unseen { what: "files of link managers".into(), why: e.to_string() }),
        }
    }
    Ok(overview)
}

/// When and where this is.
pub fn taken() -> Taken {
    let system = rustix::system::uname();
    Taken {
        at: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
        host: system.nodename().to_string_lossy().into_owned(),
        kernel: system.release().to_string_lossy().into_owned(),
        xennet: env!("CARGO_PKG_VERSION").into(),
    }
}

/// The same recording with other addresses and names ([`Recording::anonymous`]), by a key that nobody knows and that is not kept.
///
/// # Errors
/// [`ErrorKind::Io`] where the system gives no random numbers; and as [`Recording::anonymous`].
pub fn anonymous(recording: &Recording) -> Result<Recording, Error> {
    recording.anonymous(random()?)
}

/// Bytes of the kernel's generator.
fn random<const N: usize>() -> Result<[u8; N], Error> {
    let none = |why: &str| Error::new(ErrorKind::Io, format!("the kernel's random number generator gave {why}"));
    let mut bytes = [0; N];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        // Fewer than 256 bytes come at once or not at all (`getrandom(2)`).
        Ok(n) if n == N => Ok(bytes),
        Ok(_) => Err(none("too few bytes")),
        Err(e) => Err(none("no bytes").with_errno(Errno(e.raw_os_error()))),
    }
}

/// Six bytes of the kernel's random number generator, for [`Scheme::generate`](crate::macgen::Scheme::generate). A failure is an error: an
/// address made of zeros or of old bytes would be given out twice.
///
/// ```
/// use xennet_core::{DevId, macgen, surroundings};
/// let mac = macgen::Scheme::Local.generate(None, DevId::FIRST, surroundings::entropy()?)?;
/// assert!(mac.get().is_local());
/// # Ok::<(), xennet_core::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Io`] where the kernel gives none.
pub fn entropy() -> Result<[u8; 6], Error> {
    random()
}

/// The bridges whose names a link manager could take for its own.
fn bridges_of(recording: &Recording) -> Vec<IfName> {
    let is_plain = |name: &&IfName| managers::snippets(&[**name]).is_ok();
    let of_guests = |name: &&IfName| {
        let of_network = recording.networks.iter().filter_map(|s| s.network.bridge()).any(|b| b.name() == **name);
        of_network || recording.snapshot.ports(name).any(|(port, _)| port.as_str().starts_with("vif"))
    };
    let bridges = recording.snapshot.links.iter().filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, _)| name);
    bridges.filter(is_plain).filter(of_guests).copied().collect()
}

/// Scripts that vifs' nodes name, and that cannot be started.
fn scripts(root: &Path, recording: &Recording) -> Vec<Problem> {
    let is_script = |path: &str| path.contains("/backend/vif/") && path.ends_with("/script");
    let named: BTreeSet<&str> =
        gather::set(recording.store.iter().filter(|(p, _)| is_script(p.as_str())).map(|(_, value)| value.as_str()));
    let mut problems = Vec::new();
    for script in named.into_iter().filter(|script| !script.is_empty()) {
        // libxl puts its own directory before a name without one.
        let path = if script.starts_with('/') { script.to_owned() } else { format!("{SCRIPTS}/{script}") };
        let why = match fs::metadata(below(root, &path)) {
            Ok(m) if !m.is_file() => "it is no file".to_owned(),
            Ok(m) if m.permissions().mode() & 0o111 == 0 => "it is not executable".to_owned(),
            Ok(_) => continue,
            Err(e) if e.kind() == io::ErrorKind::NotFound => "there is no such file".to_owned(),
            Err(e) => Errno::from_io(&e).to_string(),
        };
        problems.push(Problem { path, why });
    }
    problems
}

/// Calls of functions that newer Xen does not have, in scripts that are not Xen's own.
fn old_calls(root: &Path) -> Result<Vec<OldCall>, Error> {
    let mut calls = Vec::new();
    for dir in [SCRIPTS, HOOKS] {
        for name in names(&below(root, dir))? {
            let path = below(root, dir).join(&name);
            let is_text = fs::metadata(&path).is_ok_and(|m| m.is_file() && m.len() <= MOST);
            if OF_XEN.contains(&name.as_str()) || !is_text {
                continue;
            }
            let Ok(text) = fs::read(&path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) else { continue };
            calls.extend(old_calls_in(&text).into_iter().map(|(line, function, since)| OldCall {
                path: format!("{dir}/{name}"),
                line,
                function: function.into(),
                since: since.into(),
            }));
        }
    }
    Ok(calls)
}

/// The calls in a shell script: line, function, first version without it. A script that has the function itself calls its own.
fn old_calls_in(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let mut calls = Vec::new();
    for (function, since) in REMOVED {
        let defines = |line: &str| {
            let line = line.trim_start().trim_start_matches("function ").trim_start();
            line.strip_prefix(function).is_some_and(|rest| rest.trim_start().starts_with('('))
        };
        if text.lines().any(defines) {
            continue;
        }
        for (at, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or_default();
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if code.split(|c| !is_word(c)).any(|word| word == function) {
                calls.push((at + 1, function, since));
            }
        }
    }
    calls
}

/// Modules that calls of started networks need, and that this kernel has neither in memory nor on disk. Nothing where it cannot be told.
fn modules(root: &Path, recording: &Recording) -> BTreeSet<String> {
    let is_needed = |s: &crate::model::Started| !matches!(s.network.mode(), NetworkMode::Bridge(_));
    let Ok(release) = fs::read_to_string(below(root, "/proc/sys/kernel/osrelease")) else { return BTreeSet::new() };
    let of_kernel =
        |file: &str| fs::read_to_string(below(root, &format!("/lib/modules/{}/{file}", release.trim_end())));
    let (Ok(there), Ok(built_in)) = (of_kernel("modules.dep"), of_kernel("modules.builtin")) else {
        return BTreeSet::new();
    };
    if !recording.networks.iter().any(is_needed) {
        return BTreeSet::new();
    }
    let has = |module: &str| {
        let file = format!("/{module}.ko");
        let names = |line: &str| line.split(':').next().is_some_and(|path| path.contains(&file));
        there.lines().any(names) || built_in.lines().any(names) || below(root, "/sys/module").join(module).exists()
    };
    gather::set(NEEDED.into_iter().filter(|module| !has(module)).map(str::to_owned))
}

/// The version of the hypervisor.
fn xen(root: &Path) -> Option<String> {
    let part = |name: &str| {
        let text = fs::read_to_string(below(root, &format!("/sys/hypervisor/version/{name}"))).ok()?;
        Some(text.trim_end().to_owned())
    };
    Some(format!("{}.{}{}", part("major")?, part("minor")?, part("extra").unwrap_or_default()))
}

/// The managers that run on the host whose root directory this is, and what their files say.
///
/// # Errors
/// [`ErrorKind::Io`] for a file that is there and cannot be read, [`ErrorKind::Invalid`] for one that is no text.
pub fn managers(root: &Path, snippets: &[Snippet]) -> Result<BTreeMap<Manager, Found>, Error> {
    let processes = processes(&root.join("proc"));
    let mut found = BTreeMap::new();
    for snippet in snippets {
        let manager = snippet.manager;
        let mut its =
            processes.iter().filter(|(name, _)| name == manager.process()).map(|(_, is_here)| *is_here).peekable();
        // One in another network namespace has nothing to do with the links of this one.
        let running = match its.peek() {
            Some(_) => its.any(|is_here| is_here),
            None => manager.traces().iter().any(|trace| below(root, trace).exists()),
        };
        let files = if running { files(manager, root)? } else { Vec::new() };
        found.insert(manager, Found { running, files });
    }
    Ok(found)
}

/// The files of a manager below a root in the order in which it reads them, each with its path and its text.
fn files(manager: Manager, root: &Path) -> Result<Vec<(String, String)>, Error> {
    let (places, extension) = manager.files();
    // By name, or, of those that are read one place after the other, by place and name.
    let by_place = manager == Manager::NetworkManager;
    let mut found: BTreeMap<(usize, String), String> = BTreeMap::new();
    for (at, place) in places.iter().enumerate() {
        let paths = match place.strip_suffix('/') {
            Some(place) => {
                entries(&below(root, place), extension)?.into_iter().map(|n| format!("{place}/{n}")).collect()
            }
            None => vec![(*place).to_owned()],
        };
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            if !found.keys().any(|(_, known)| *known == name) {
                found.insert((if by_place { places.len() - at } else { 0 }, name), path);
            }
        }
    }
    let mut files = Vec::new();
    for path in found.into_values() {
        if let Some(text) = read(&below(root, &path))? {
            files.push((path, text));
        }
    }
    Ok(files)
}

/// The names in a directory that end so; none where there is no such directory.
fn entries(dir: &Path, extension: &str) -> Result<Vec<String>, Error> {
    let mut names = names(dir)?;
    names.retain(|name| name.ends_with(&format!(".{extension}")) && !name.starts_with('.'));
    Ok(names)
}

/// The names in a directory, in their order; none where there is no such directory.
fn names(dir: &Path) -> Result<Vec<String>, Error> {
    let listing = match fs::read_dir(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        listing => listing.map_err(|e| unreadable(dir, &e))?,
    };
    let mut names: Vec<String> = listing.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    names.sort_unstable();
    Ok(names)
}

/// The processes that can be seen, by their names, and whether each is in the network namespace of this thread; none where there is no
/// `/proc`. One whose namespace cannot be told, as another user's, may be in it.
fn processes(proc: &Path) -> Vec<(String, bool)> {
    let Ok(entries) = fs::read_dir(proc) else { return Vec::new() };
    let own = fs::read_link(proc.join("thread-self/ns/net")).ok();
    let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
    // A process that ends meanwhile is none.
    let of = |entry: fs::DirEntry| {
        let name = fs::read_to_string(entry.path().join("comm")).ok()?;
        let is_here = match (&own, fs::read_link(entry.path().join("ns/net"))) {
            (Some(own), Ok(namespace)) => *own == namespace,
            // It is another user's, or this is a copy of a `/proc`.
            (Some(_), Err(e)) if e.kind() == io::ErrorKind::PermissionDenied => true,
            (None, _) => true,
            // It has ended, and its parent has not asked for its status.
            (Some(_), Err(_)) => return None,
        };
        Some((name.trim_end().to_owned(), is_here))
    };
    let entries = entries.filter_map(io::Result::ok).filter(|entry| is_process(&entry.file_name()));
    entries.filter_map(of).collect()
}

/// A path of the host whose root directory this is.
fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// The path of a file below a root, without the `/` at its beginning.
fn within(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string().trim_start_matches('/').to_owned()
}

fn read(path: &Path) -> Result<Option<String>, Error> {
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(Error::new(ErrorKind::Invalid, format!("{} is not UTF-8", path.display()))
                .with_object(path.display().to_string())
                .with_hint("look at it, and move it away if it is not needed")
                .unchanged()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(unreadable(path, &e)),
    }
}

fn unreadable(path: &Path, e: &io::Error) -> Error {
    let errno = Errno::from_io(e);
    let error = Error::new(ErrorKind::Io, format!("{}: cannot be read", path.display()))
        .with_object(path.display().to_string())
        .with_errno(errno)
        .unchanged();
    if matches!(errno, Errno::EACCES | Errno::EPERM) { error.with_hint("run it as root") } else { error }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_of_a_function_that_has_gone_is_found_by_its_line() {
        let text = "#!/bin/sh\n. \"$dir/vif-common.sh\"\n# setup_virtual_bridge_port is old\nsetup_virtual_bridge_port \"$dev\"\n";
        assert_eq!(old_calls_in(text), [(4, "setup_virtual_bridge_port", "4.22")]);
        assert_eq!(old_calls_in("my_setup_virtual_bridge_port x\n"), []);
        assert_eq!(old_calls_in("setup_virtual_bridge_port() {\n :\n}\nsetup_virtual_bridge_port x\n"), []);
    }
}
