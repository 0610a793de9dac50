//! `snippets`: the texts, the files, who runs; and the programs that they are for, where they are.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use xennet_tests::StateDir;

use crate::command::{run, run_as_nobody};

const MANAGERS: [&str; 4] = ["networkmanager", "networkd", "udev", "dhcpcd"];
const FILES: [&str; 4] = [
    "etc/NetworkManager/conf.d/90-xennet.conf",
    "etc/systemd/network/10-xennet.network",
    "etc/systemd/network/10-xennet.link",
    "etc/dhcpcd.conf",
];

#[test]
fn all_are_printed_with_their_places_and_one_as_it_is() {
    let all = run(["snippets", "--bridge", "xenbr0", "--bridge", "lan0"]);
    assert_eq!((all.code, all.stderr.as_str()), (0, ""));
    let document = run(["--json", "snippets", "--bridge", "xenbr0", "--bridge", "lan0"]).json();
    for (at, (manager, file)) in MANAGERS.iter().zip(FILES).enumerate() {
        let one = run(["snippets", manager, "--bridge", "xenbr0", "--bridge", "lan0"]);
        assert_eq!((one.code, one.stderr.as_str()), (0, ""), "{manager}");
        assert!(one.stdout.contains("xenbr0") && one.stdout.contains("lan0"), "{one:?}");
        assert!(all.stdout.contains(&format!("### /{file}")) && all.stdout.contains(&one.stdout), "{manager}");
        assert_eq!(document["snippets"][at]["manager"], *manager);
        assert_eq!(document["snippets"][at]["text"], one.stdout.as_str());
    }
    let unnamed = run(["snippets", "udev"]);
    assert!(unnamed.stderr.starts_with("note: no bridge is named"), "{unnamed:?}");
    for wrong in [&["snippets", "connman"][..], &["snippets", "--force"], &["snippets", "--check", "udev"]] {
        assert_eq!(run(wrong).code, 2, "{wrong:?}");
    }
    let name = run(["snippets", "--bridge", "br;0"]);
    assert_eq!((name.code, name.stdout.as_str()), (2, ""));
    let sandbox = run(["--sandbox", "snippets"]);
    assert!(sandbox.code == 2 && sandbox.stderr.contains("leave --sandbox out"), "{sandbox:?}");
    assert_eq!(run_as_nobody(&["snippets", "udev", "--bridge", "xenbr0"]).code, 0);
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(entries(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

#[test]
fn files_are_written_once_and_those_of_others_are_left_alone() {
    let place = StateDir::new();
    let dir = place.path().to_str().unwrap();
    let write = |more: &[&str]| run([&["snippets", "--bridge", "xenbr0", "--dir", dir], more].concat());
    // Where there is no dhcpcd its file is not made, unless it is named.
    let without = write(&[]);
    assert!(without.code == 0 && without.stderr.starts_with("note: dhcpcd is not here: "), "{without:?}");
    assert!(!place.path().join(FILES[3]).exists());
    for file in &FILES[..3] {
        fs::remove_file(place.path().join(file)).unwrap();
    }
    fs::create_dir_all(place.path().join("usr/sbin")).unwrap();
    fs::write(place.path().join("usr/sbin/dhcpcd"), "").unwrap();
    let first = write(&[]);
    assert_eq!((first.code, first.stderr.as_str()), (0, ""));
    fs::remove_file(place.path().join("usr/sbin/dhcpcd")).unwrap();
    let mut wanted: Vec<PathBuf> = FILES.iter().map(|file| place.path().join(file)).collect();
    wanted.sort();
    assert_eq!(entries(place.path()), wanted);
    for (manager, file) in MANAGERS.iter().zip(FILES) {
        let path = place.path().join(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), run(["snippets", manager, "--bridge", "xenbr0"]).stdout);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert!(first.stdout.contains(&format!("{} is written", path.display())), "{first:?}");
    }
    let again = write(&["--json"]).json();
    assert_eq!(again["files"].as_array().unwrap().len(), 4);
    assert!(again["files"].as_array().unwrap().iter().all(|file| file["written"] == false), "{again}");

    // Somebody has changed one: nothing is written, not even the one that is missing.
    let (conf, link) = (place.path().join(FILES[0]), place.path().join(FILES[2]));
    fs::remove_file(&conf).unwrap();
    fs::write(&link, "[Match]\n").unwrap();
    let refused = write(&[]);
    assert_eq!((refused.code, refused.stdout.as_str()), (18, ""), "{refused:?}");
    let hint = format!("hint: compare it: xennet snippets udev --bridge xenbr0 | diff {} -; --force", link.display());
    assert!(refused.stderr.contains(&hint) && refused.stderr.contains("state: unchanged"), "{refused:?}");
    assert!(!conf.exists() && fs::read_to_string(&link).unwrap() == "[Match]\n");
    assert_eq!(write(&["--force"]).code, 0);
    assert!(fs::read_to_string(&link).unwrap().contains("MACAddressPolicy=none"));
    // One alone.
    fs::remove_file(&conf).unwrap();
    assert_eq!(write(&["networkd"]).code, 0);
    assert!(!conf.exists());
}

#[test]
fn of_dhcpcds_file_only_our_part_changes() {
    let place = StateDir::new();
    let dir = place.path().to_str().unwrap();
    let real = place.path().join("dhcpcd.real");
    let theirs = "hostname\ninterface eth0\nstatic domain_name=example\n";
    fs::write(&real, theirs).unwrap();
    fs::set_permissions(&real, PermissionsExt::from_mode(0o640)).unwrap();
    fs::create_dir(place.path().join("etc")).unwrap();
    symlink("../dhcpcd.real", place.path().join("etc/dhcpcd.conf")).unwrap();
    for bridges in [&["--bridge", "xenbr0"][..], &["--bridge", "xenbr0"], &["--bridge", "lan0", "--bridge", "br1"]] {
        let got = run([&["snippets", "dhcpcd", "--dir", dir], bridges].concat());
        assert_eq!(got.code, 0, "{got:?}");
        let ours = run([&["snippets", "dhcpcd"], bridges].concat()).stdout;
        assert_eq!(fs::read_to_string(&real).unwrap(), format!("{ours}{theirs}"));
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert!(fs::symlink_metadata(place.path().join("etc/dhcpcd.conf")).unwrap().is_symlink());
    }
    fs::write(&real, b"\xff").unwrap();
    let got = run(["snippets", "dhcpcd", "--dir", dir, "--force", "--bridge", "x"]);
    assert!(got.code == 2 && got.stderr.contains("is not UTF-8"), "{got:?}");
    assert_eq!(fs::read(&real).unwrap(), b"\xff");
}

#[test]
fn who_runs_and_would_take_our_links_is_named() {
    let place = StateDir::new();
    let dir = place.path().to_str().unwrap();
    let check = || run(["--json", "snippets", "--check", "--dir", dir, "--bridge", "xenbr0"]);
    assert_eq!(check().code, 0);
    assert_eq!(check().json(), serde_json::json!({ "version": 1, "running": [], "warnings": [] }));
    // One by its process, one by what it has left in /run, and a directory that is there at every boot.
    for (path, text) in [
        ("proc/41/comm", "systemd-network\n"),
        ("proc/self/comm", "dhcpcd\n"),
        ("proc/42/status", ""),
        ("run/systemd/netif/x", ""),
    ] {
        fs::create_dir_all(place.path().join(path).parent().unwrap()).unwrap();
        fs::write(place.path().join(path), text).unwrap();
    }
    fs::create_dir_all(place.path().join("run/NetworkManager")).unwrap();
    // Files of others for other links.
    let put = |path: &str, text: &str| {
        let path = place.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("run/systemd/network/10-netplan-eth0.network", "[Match]\nName=eth0\n[Network]\nDHCP=yes\n");
    put("usr/lib/systemd/network/80-container-ve.network", "[Match]\nName=ve-*\nDriver=veth\n");
    let quiet = check();
    assert_eq!((quiet.code, quiet.json()["warnings"].as_array().unwrap().len()), (18, 1), "{quiet:?}");
    let lists = "interface-name:vif*;interface-name:tap*;interface-name:*-emu;interface-name:xen*";
    put("etc/NetworkManager/NetworkManager.conf", &format!("[keyfile]\nunmanaged-devices={lists}\n"));
    let quiet = check();
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""), "{quiet:?}");
    // What a later file takes back, and one for any link, which a file of the same name in /etc masks.
    put("etc/NetworkManager/conf.d/50-mine.conf", "[keyfile]\nunmanaged-devices=interface-name:vif*\n");
    put("usr/lib/systemd/network/90-all.network", "[Match]\nName=*\n[Network]\nDHCP=yes\n");
    let text = run(["snippets", "--check", "--dir", dir, "--bridge", "xenbr0"]);
    assert!(
        text.stdout.contains(": /etc/NetworkManager/conf.d/50-mine.conf, line 2, does not name tap*\n"),
        "{text:?}"
    );
    assert!(text.stdout.contains(": /usr/lib/systemd/network/90-all.network, line 2, is about vif*\n"), "{text:?}");
    assert!(text.code == 18 && text.stderr.contains("not safe from NetworkManager, systemd-networkd"), "{text:?}");
    put("etc/systemd/network/90-all.network", "");
    assert_eq!(check().json()["warnings"].as_array().unwrap().len(), 1);
    fs::remove_file(place.path().join("etc/systemd/network/90-all.network")).unwrap();
    fs::remove_file(place.path().join("etc/NetworkManager/conf.d/50-mine.conf")).unwrap();
    fs::remove_file(place.path().join("etc/NetworkManager/NetworkManager.conf")).unwrap();

    let found = check().json();
    assert_eq!(found["running"], serde_json::json!(["networkmanager", "networkd"]));
    assert_eq!(found["warnings"][0]["command"], "xennet snippets networkmanager --bridge xenbr0");
    let text = run(["snippets", "--check", "--dir", dir, "--bridge", "xenbr0"]);
    assert!(text.stdout.starts_with("NetworkManager runs, and makes connections of its own"), "{text:?}");
    assert!(text.stdout.contains("\n    xennet snippets networkd --bridge xenbr0\n"), "{text:?}");

    assert_eq!(run(["snippets", "--bridge", "xenbr0", "--bridge", "lan0", "--dir", dir]).code, 0);
    let told = check().json();
    assert_eq!((&told["running"], &told["warnings"]), (&found["running"], &serde_json::json!([])));
    let text = run(["snippets", "--check", "--dir", dir, "--bridge", "xenbr0"]);
    assert!(text.stdout.contains("systemd-networkd runs, and leaves these links alone\n"), "{text:?}");
    let more = run(["--json", "snippets", "--check", "--dir", dir, "--bridge", "other0"]).json();
    assert!(more["warnings"][0]["message"].as_str().unwrap().ends_with("does not name other0"), "{more}");
}

/// A program of this machine. Where it is missing the test says so and ends; where CI is set that is an error, since the test
/// command installs it.
fn tool(name: &str, places: &[&str]) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let dirs = places.iter().copied().chain(path.split(':')).chain(["/usr/sbin", "/sbin"]);
    let found = dirs.map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{name} is not here, and CI is set");
        eprintln!("skipped: {name} is not here");
    }
    found
}

/// Runs a script in namespaces of its own: links of guests and one of others, and the snippets below `$dir/etc`. Only root can,
/// because the programs give up root's rights.
fn beside_guests(script: &str) -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can run the program that the text is for");
        return None;
    }
    let place = StateDir::new();
    let dir = place.path().to_str().unwrap();
    for manager in MANAGERS {
        assert_eq!(run(["snippets", manager, "--bridge", "xenbr0", "--dir", dir]).code, 0);
    }
    let links = "set -e\nmount -t tmpfs tmpfs /run\nmount -t sysfs sysfs /sys\nip link add vif1.0 type veth peer name tap9\n\
                 ip link add vif1.0-emu type veth peer name eth7\nip link add xenbr0 type bridge\n\
                 for i in vif1.0 tap9 vif1.0-emu eth7 xenbr0; do ip link set $i up; done\n";
    let output = Command::new("unshare")
        .args(["--net", "--mount", "sh", "-c", &format!("{links}{script}")])
        .env("dir", dir)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    Some(text)
}

const OURS: [&str; 4] = ["vif1.0", "tap9", "vif1.0-emu", "xenbr0"];

#[test]
fn networkd_leaves_our_links_alone() {
    let Some(networkd) = tool("systemd-networkd", &["/lib/systemd", "/usr/lib/systemd"]) else { return };
    // A file that fits any link, and comes later.
    let script = format!(
        "printf '[Match]\\nName=*\\n[Network]\\nAddress=192.0.2.77/24\\n' >$dir/etc/systemd/network/90-all.network\n\
         mkdir -p /etc/systemd/network /run/systemd/netif/links /run/systemd/netif/leases /run/systemd/netif/lldp\n\
         mount --bind $dir/etc/systemd/network /etc/systemd/network\n\
         chown -R systemd-network:systemd-network /run/systemd/netif\n\
         # Where nothing in /sys can be written it does not wait for udev.\nmount -o remount,ro,bind /sys\n\
         timeout 20 {} &\nfor i in $(seq 190); do sleep 0.1; ip -o addr show eth7 | grep -q 192.0.2.77 && break; done\n\
         kill $!; wait || true\nip -o -4 addr show | sed 's/^/addr: /'\n",
        networkd.display()
    );
    let Some(said) = beside_guests(&script) else { return };
    assert!(
        said.lines().any(|l| l.starts_with("addr: ") && l.contains("eth7") && l.contains("192.0.2.77/24")),
        "{said}"
    );
    for link in OURS {
        assert!(!said.lines().any(|l| l.starts_with("addr: ") && l.contains(&format!(" {link} "))), "{link}: {said}");
        assert!(!said.contains(&format!("{link}: Configuring")), "{link}: {said}");
    }
    assert!(!said.contains("Unknown key") && !said.contains("Invalid"), "{said}");
}

#[test]
fn udev_takes_our_file_for_our_links() {
    let Some(udevadm) = tool("udevadm", &[]) else { return };
    let script = format!(
        "mkdir -p /etc/systemd/network\nmount --bind $dir/etc/systemd/network /etc/systemd/network\n\
         for i in vif1.0 tap9 vif1.0-emu xenbr0 eth7; do echo \"link: $i\"; {} test-builtin net_setup_link /sys/class/net/$i 2>&1; done\n",
        udevadm.display()
    );
    let Some(said) = beside_guests(&script) else { return };
    let of = |link: &str| said.split("link: ").find(|part| part.starts_with(&format!("{link}\n"))).unwrap().to_owned();
    for link in OURS {
        assert!(of(link).contains("ID_NET_LINK_FILE=/etc/systemd/network/10-xennet.link"), "{said}");
        assert!(!of(link).contains("Unknown key") && !of(link).contains("Invalid"), "{said}");
    }
    assert!(!of("eth7").contains("10-xennet.link is applied"), "{said}");
}

#[test]
fn dhcpcd_leaves_our_links_alone() {
    let Some(dhcpcd) = tool("dhcpcd", &[]) else { return };
    let script = format!(
        "printf 'nodev\\ninterface eth0\\nnoipv6\\n' >>$dir/etc/dhcpcd.conf\nmkdir -p /var/lib/dhcpcd\n\
         mount -t tmpfs tmpfs /var/lib/dhcpcd\n\
         timeout 20 {} -f $dir/etc/dhcpcd.conf -B -d -T >$dir/said 2>&1 &\n\
         for i in $(seq 190); do sleep 0.1; grep -q '^eth7: soliciting a DHCP' $dir/said && break; done\n\
         kill $!; wait || true\ncat $dir/said\n",
        dhcpcd.display()
    );
    let Some(said) = beside_guests(&script) else { return };
    assert!(said.contains("\neth7: soliciting a DHCP lease"), "{said}");
    for link in OURS {
        // Some versions say of a bridge that they ignore it.
        for act in ["IAID", "soliciting", "using", "delaying"] {
            assert!(!said.contains(&format!("\n{link}: {act}")), "{link}: {said}");
        }
    }
}

#[test]
fn network_manager_adds_our_links_to_what_it_leaves_alone() {
    // Not one of what the test command installs: it would begin to manage this machine's network.
    let path = ["/usr/sbin/NetworkManager", "/usr/bin/NetworkManager"].into_iter().find(|p| Path::new(p).exists());
    let Some(path) = path else {
        eprintln!("skipped: NetworkManager is not here");
        return;
    };
    let place = StateDir::new();
    let dir = place.path();
    assert_eq!(run(["snippets", "--bridge", "xenbr0", "--dir", dir.to_str().unwrap()]).code, 0);
    let main = dir.join("NetworkManager.conf");
    fs::write(&main, "[keyfile]\nunmanaged-devices=interface-name:mine0\n").unwrap();
    let option = |name: &str, value: &Path| format!("--{name}={}", value.display());
    let output = Command::new(path)
        .arg(option("config", &main))
        .arg(option("config-dir", &dir.join("etc/NetworkManager/conf.d")))
        .arg(option("system-config-dir", &dir.join("none")))
        .arg(option("intern-config", &dir.join("none")))
        .arg("--print-config")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let line = said.lines().find(|l| l.starts_with("unmanaged-devices=")).unwrap_or_else(|| panic!("{output:?}"));
    let list: Vec<&str> = line.split_once('=').unwrap().1.split([',', ';']).collect();
    for name in ["mine0", "vif*", "tap*", "*-emu", "xenbr0"] {
        assert!(list.contains(&format!("interface-name:{name}").as_str()), "{name}: {line}");
    }
}
