//! systemd-networkd, in namespaces of its own, and netplan, which writes for it: what the kernel has afterwards.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::Value;
use xennet_core::guest::Format;
use xennet_tests::StateDir;
use xennet_tests::lease::command;

use crate::seen::{Seen, Told, network_file, told};
use crate::tools::{has, root, said, unpacked};

/// Starts networkd with one file after the other, each in namespaces of its own with a link of the file's MAC and name, and writes down
/// what the kernel has. Without udev, which networkd does not wait for where `/sys` cannot be written.
const SCRIPT: &str = r#"
set -e
dir=$1 mac=$2 link=$3
mount -t tmpfs tmpfs /run
mount -t sysfs -o ro sysfs /sys
mkdir -p /run/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp
chown -R systemd-network:systemd-network /run/systemd/netif
cp "$dir/network" /run/systemd/network/10-guest.network
ip link set lo up
# What is found out of others with the same address takes seconds.
echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
ip link add "$link" address "$mac" type veth peer name beside
ip link set beside mtu 9000 up
index=$(cat "/sys/class/net/$link/ifindex")
SYSTEMD_LOG_LEVEL=warning /lib/systemd/systemd-networkd >"$dir/log" 2>&1 &
networkd=$!
state="/run/systemd/netif/links/$index"
tries=0
until grep -q ADMIN_STATE=configured "$state" 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 1200 ] || { cat "$dir/log" "$state" >&2; kill "$networkd"; exit 1; }
    sleep 0.05
done
ip -json address show dev "$link" >"$dir/address"
ip -json route show table main dev "$link" >"$dir/route"
ip -json -6 route show table main dev "$link" >"$dir/route6"
cp "$state" "$dir/state"
kill "$networkd"
wait "$networkd" || true
"#;

fn json(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    if text.trim().is_empty() { Vec::new() } else { serde_json::from_str(&text).unwrap() }
}

/// What the kernel and networkd have of a link.
fn seen(dir: &Path) -> Seen {
    let mut seen = Seen::default();
    let [link] = &json(&dir.join("address"))[..] else { panic!("one link") };
    seen.mtu = link["mtu"].as_u64().map(|n| u32::try_from(n).unwrap());
    for info in link["addr_info"].as_array().unwrap().iter().filter(|info| info["scope"] == "global") {
        let text = format!("{}/{}", info["local"].as_str().unwrap(), info["prefixlen"]);
        seen.addresses.insert(text.parse().unwrap());
    }
    for route in json(&dir.join("route")).into_iter().chain(json(&dir.join("route6"))) {
        if route["dst"] != "default" {
            continue;
        }
        let gateway: IpAddr = route["gateway"].as_str().unwrap().parse().unwrap();
        seen.gateways.insert(gateway);
        if route["flags"].as_array().is_some_and(|flags| flags.iter().any(|f| f == "onlink")) {
            seen.on_link.insert(gateway);
        }
    }
    for line in fs::read_to_string(dir.join("state")).unwrap().lines() {
        match line.split_once('=') {
            Some(("DNS", servers)) => seen.dns.extend(servers.split_whitespace().map(|s| s.parse::<IpAddr>().unwrap())),
            Some(("DOMAINS", domains)) => seen.search.extend(domains.split_whitespace().map(str::to_owned)),
            _ => {}
        }
    }
    seen
}

fn run(state: &StateDir, told: &Told, network: &str) -> Seen {
    let dir = state.path().join("guest");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(dir.join("network"), network).unwrap();
    fs::set_permissions(dir.join("network"), fs::Permissions::from_mode(0o644)).unwrap();
    let mac = told.case.config.mac().map_or("02:00:00:00:00:01".to_owned(), |mac| mac.get().to_string());
    let arguments = ["--net", "--mount", "--fork", "--kill-child", "--pid", "--mount-proc", "sh", "-c", SCRIPT, "sh"];
    let mut unshare = command("unshare", &arguments);
    said(unshare.arg(&dir).args([mac, told.link()]), network);
    seen(&dir)
}

/// networkd gives up its rights to the user systemd-network, which a user namespace of one user has not.
fn can_run(test: &str) -> bool {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {test}: networkd starts as root only");
        return false;
    }
    has(test, "systemd-networkd", "systemd") && has(test, "ip", "iproute2") && has(test, "unshare", "util-linux")
}

#[test]
fn networkd_makes_of_it_what_was_meant() {
    if !can_run("networkd") {
        return;
    }
    let state = StateDir::new();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for told in told(Format::Networkd, |_| false) {
        let mut wanted = Seen::of(&told.case.config);
        // What the file says is read by ourselves, too, which knows of DHCP.
        told.check(network_file(&told.main().text), &wanted);
        if wanted.auto != [false, false] {
            continue;
        }
        // A link has 1500 without more.
        wanted.mtu = wanted.mtu.or(Some(1500));
        told.check(run(&state, &told, &told.main().text), &wanted);
    }
}

#[test]
fn netplan_makes_of_it_what_was_meant() {
    let Some(root) = root("netplan") else { return };
    let state = StateDir::new();
    fs::set_permissions(state.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let with_networkd = can_run("netplan, as networkd has it");
    for (number, told) in told(Format::Netplan, |_| false).into_iter().enumerate() {
        let guest = state.path().join(format!("netplan-{number}"));
        let path = guest.join(told.main().path.as_deref().unwrap().trim_start_matches('/'));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &told.main().text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(told.main().mode)).unwrap();
        let mut generate = unpacked(&root, "usr/libexec/netplan/generate");
        let (_, err) = said(generate.args(["--root-dir", guest.to_str().unwrap()]), &told.main().text);
        assert_eq!(err, "", "{}", told.main().text);
        let made =
            fs::read_to_string(guest.join(format!("run/systemd/network/10-netplan-{}.network", told.link()))).unwrap();
        let mut wanted = Seen::of(&told.case.config);
        told.check(network_file(&made), &wanted);
        // Every tenth is carried out. A veth's address is no permanent one.
        if with_networkd && number % 10 == 0 && wanted.auto == [false, false] {
            wanted.mtu = wanted.mtu.or(Some(1500));
            told.check(run(&state, &told, &made.replace("PermanentMACAddress=", "MACAddress=")), &wanted);
        }
        fs::remove_dir_all(&guest).unwrap();
    }
}
