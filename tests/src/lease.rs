//! Real DHCP clients, and what they are given.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::{Guest, NetNs, slower};

/// What serves, what asks, and the packages that have it.
pub const PROGRAMS: [(&str, &str); 4] =
    [("dnsmasq", "dnsmasq-base"), ("busybox", "busybox"), ("dhclient", "isc-dhcp-client"), ("ip", "iproute2")];

/// How long is waited for what takes a moment: longer on a machine that is slower.
pub fn patience() -> Duration {
    Duration::from_secs(10) * slower()
}

/// Whether all programs are here; says what is missing, and fails where that must not be.
pub fn programs_are_here(test: &str) -> bool {
    let found = |program: &str| path().split(':').any(|dir| Path::new(dir).join(program).is_file());
    let missing: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| !found(program)).map(|(_, p)| *p).collect();
    if missing.is_empty() {
        return true;
    }
    let say = format!("{test}: missing; as root: apt-get install {}", missing.join(" "));
    assert!(std::env::var_os("CI").is_none(), "{say}");
    eprintln!("skipped: {say}");
    false
}

/// Where an ordinary user does not look for programs, but may use them.
fn path() -> String {
    std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin:/bin"
}

/// A program that asks nobody anything.
pub fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env("LC_ALL", "C").env("PATH", path());
    command
}

/// Looks until it is so.
#[track_caller]
pub fn soon(what: &str, mut look: impl FnMut() -> bool) {
    let until = Instant::now() + patience();
    while !look() {
        assert!(Instant::now() < until, "not within {} s: {what}", patience().as_secs());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A script that a client calls.
pub fn script(dir: &Path, name: &str, body: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("{name}.{number}"));
    fs::write(&path, format!("#!/bin/sh\n{body}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The variables that a client's script has printed.
fn variables(text: &str) -> BTreeMap<String, String> {
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// What a guest is given by DHCP, after `tries` requests at the most, as the client's variables. With them this line of shell is
/// run there.
pub fn four(guest: &NetNs, dir: &Path, tries: u32, line: &str) -> Option<BTreeMap<String, String>> {
    let script = script(dir, "udhcpc", &format!("[ \"$1\" = bound ] || exit 0\nenv\n{line}\n"));
    let (script, tries) = (script.to_str().unwrap(), tries.to_string());
    let arguments = ["udhcpc", "-i", Guest::LINK, "-n", "-q", "-f", "-t", &tries, "-T", "1", "-s", script];
    let mut all = arguments.to_vec();
    for option in ["mtu", "serverid", "domain"] {
        all.extend(["-O", option]);
    }
    let output = guest.run(|| command("busybox", &all).output().unwrap()).unwrap();
    output.status.success().then(|| variables(&String::from_utf8(output.stdout).unwrap()))
}

/// What a guest is given by DHCPv6, within `patience`; otherwise as [`four`]. A client that has no file of earlier leases, which
/// are in this directory, identifies itself anew.
pub fn six(guest: &NetNs, dir: &Path, patience: Duration, line: &str) -> Option<BTreeMap<String, String>> {
    let (given, leases) = (dir.join("given"), dir.join("leases"));
    let body =
        format!("[ \"$reason\" = BOUND6 ] || exit 0\n{line}\nenv > {0}.new && mv {0}.new {0}\n", given.display());
    let script = script(dir, "dhclient", &body);
    // A link's own address is not used before it is known to be no other's.
    soon("the guest's own address", || {
        let arguments = ["-6", "-o", "address", "show", "dev", Guest::LINK, "scope", "link"];
        let seen = guest.run(|| command("ip", &arguments).output().unwrap()).unwrap();
        let seen = String::from_utf8_lossy(&seen.stdout);
        !seen.is_empty() && !seen.contains("tentative")
    });
    let pid = dir.join("pid");
    let texts = [&leases, &pid, &script].map(|path| path.to_str().unwrap().to_owned());
    let arguments =
        ["-6", "-1", "-d", "-cf", "/dev/null", "-lf", &texts[0], "-pf", &texts[1], "-sf", &texts[2], Guest::LINK];
    let mut client = command("dhclient", &arguments);
    client.stdout(Stdio::null()).stderr(Stdio::null());
    let mut client = guest.run(|| client.spawn().unwrap()).unwrap();
    let until = Instant::now() + patience;
    while !given.exists() && Instant::now() < until && client.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(20));
    }
    // It holds its lease, as a guest does that is destroyed.
    client.kill().unwrap();
    client.wait().unwrap();
    fs::read_to_string(&given).ok().map(|text| variables(&text))
}
