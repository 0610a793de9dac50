//! `xennet guest`: the text alone on standard output, and files in an image that may be hostile.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use xennet_tests::StateDir;

use crate::command::{Run, program, run};

const VIF: &str = "mac=00:16:3e:00:00:06,bridge=xenbr0,ip=192.168.0.6/24";

/// Runs it on a host in memory that knows nothing.
fn guest(state: &StateDir, arguments: &[&str]) -> Run {
    let dir = state.path().join("state");
    let mut all = vec!["--backend", "fake", "--state-dir", dir.to_str().unwrap(), "guest"];
    all.extend(arguments);
    run(all)
}

fn into(state: &StateDir, root: &Path, more: &[&str]) -> Run {
    let mut all = vec![VIF, "--gateway", "192.168.0.1", "--format", "alpine", "--dns", "192.168.0.1", "--into"];
    all.push(root.to_str().unwrap());
    all.extend(more);
    guest(state, &all)
}

/// An image with the directories of a guest, and beside it what it must not reach.
fn image(state: &StateDir) -> (std::path::PathBuf, std::path::PathBuf) {
    let (root, outside) = (state.path().join("image"), state.path().join("outside"));
    fs::create_dir_all(root.join("etc/network")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    (root, outside)
}

fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir).unwrap().next().is_none()
}

/// All files and links of an image, by their paths; a draft that was left behind would be one.
fn files(root: &Path) -> Vec<String> {
    let (mut all, mut dirs) = (Vec::new(), vec![root.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if fs::symlink_metadata(&path).unwrap().is_dir() {
                dirs.push(path);
            } else {
                all.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    all.sort();
    all
}

#[test]
fn the_text_stands_alone_and_remarks_beside_it() {
    let state = StateDir::new();
    let run = guest(&state, &[VIF, "--gateway", "192.168.0.1", "--format", "kernel"]);
    assert_eq!((run.code, run.stdout.as_str()), (0, "ip=192.168.0.6::192.168.0.1:255.255.255.0::eth0:off\n"));
    assert!(run.stderr.lines().all(|line| line.starts_with("note: ")), "{run:?}");
    let run = guest(&state, &[VIF, "--format", "kernel"]);
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains("hint: name the gateway: --gateway ADDRESS; or --no-gateway"), "{run:?}");
    let run = guest(&state, &["bridge=xenbr0,ip=192.168.0.6", "--format", "kernel"]);
    assert!(run.stderr.contains("--prefix 192.168.0.0/24, or write ip=192.168.0.6/24"), "{run:?}");
    let run = guest(&state, &["bridge=xenbr0", "--format", "kernel"]);
    assert!(run.stderr.contains("or say that the LAN has DHCP: --dhcp"), "{run:?}");
    assert_eq!(guest(&state, &["bridge=xenbr0", "--dhcp", "--format", "kernel"]).stdout, "ip=:::::eth0:dhcp\n");
    let run = guest(&state, &[VIF, "--prefix", "24", "--format", "kernel"]);
    assert!(run.code == 2 && run.stderr.contains("give a network"), "{run:?}");
    let run = guest(&state, &["vif7.0", "--format", "kernel"]);
    assert!(run.code == 2 && run.stderr.contains("vif7.0 is not attached"), "{run:?}");
    let list = guest(&state, &["--list"]);
    let help = guest(&state, &["--help"]);
    for format in xennet_core::guest::Format::ALL {
        assert!(list.stdout.contains(format.place()) && help.stdout.contains(format.place()), "{format}");
    }
    assert_eq!(guest(&state, &[VIF]).code, 2, "without a format");
}

#[test]
fn a_vif_is_known_by_its_record_and_a_line_by_its_network() {
    let state = StateDir::new();
    let file = state.path().join("networks.toml");
    fs::write(&file, "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\nmtu = 1400\n").unwrap();
    let dir = state.path().join("state");
    let fake = ["--backend", "fake", "--state-dir", dir.to_str().unwrap()];
    let host = |arguments: &[&str]| run(fake.iter().chain(arguments));
    let line = "mac=00:16:3e:00:00:01,bridge=private,ip=10.0.0.1";
    let file = file.to_str().unwrap();
    let before = guest(&state, &[line, "--file", file, "--format", "networkd"]);
    assert!(before.stdout.contains("\nGateway=10.0.0.254\n") && before.stdout.contains("MTUBytes=1400"), "{before:?}");
    assert_eq!(host(&["network", "start", "private", "--file", file]).code, 0);
    assert_eq!(guest(&state, &[line, "--format", "networkd"]).stdout, before.stdout);
    assert_eq!(host(&["attach", "5", line]).code, 0);
    let attached = guest(&state, &["vif5.0", "--format", "networkd"]);
    assert_eq!(attached.stdout, before.stdout);
    let json = guest(&state, &["vif5.0", "--format", "networkd", "--json"]).json();
    assert_eq!(json["files"][0]["text"], attached.stdout);
    assert_eq!(json["config"]["ipv4"]["gateway"]["address"], "10.0.0.254");
    // Its gateway is dom0's address outside, in none of its prefixes.
    let routed = "[network.dmz]\nmode = \"routed\"\nuplink = \"eth0\"\nsource = [\"192.168.0.3\"]\n";
    fs::write(file, routed).unwrap();
    assert_eq!(host(&["network", "start", "dmz", "--file", file]).code, 0);
    assert_eq!(host(&["attach", "6", "bridge=dmz,ip=203.0.113.9"]).code, 0);
    let routed = guest(&state, &["vif6.0", "--format", "networkd"]);
    assert!(
        routed.stdout.contains("Address=203.0.113.9/32") && routed.stdout.contains("GatewayOnLink=yes"),
        "{routed:?}"
    );
}

#[test]
fn files_are_written_once() {
    let state = StateDir::new();
    let (root, _) = image(&state);
    let run = into(&state, &root, &[]);
    assert_eq!(run.code, 0, "{run:?}");
    let made = ["etc/network/interfaces", "etc/resolv.conf"];
    assert_eq!(files(&root), made);
    let mode = fs::metadata(root.join(made[0])).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o644);
    fs::write(root.join(made[1]), "mine\n").unwrap();
    fs::remove_file(root.join(made[0])).unwrap();
    let run = into(&state, &root, &[]);
    assert!(run.code == 18 && run.stderr.contains("is there already"), "{run:?}");
    assert!(run.stderr.contains("hint: --force replaces it"), "{run:?}");
    // Nothing is written, if not all can be.
    assert_eq!(files(&root), ["etc/resolv.conf"]);
    assert_eq!(fs::read_to_string(root.join(made[1])).unwrap(), "mine\n");
    assert_eq!(into(&state, &root, &["--force"]).code, 0);
    assert_eq!(fs::read_to_string(root.join(made[1])).unwrap(), "nameserver 192.168.0.1\n");
    assert_eq!(files(&root), made);
    // Directories that are missing are made.
    let empty = state.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let run = guest(&state, &[VIF, "--no-gateway", "--format", "netplan", "--into", empty.to_str().unwrap()]);
    assert_eq!((run.code, files(&empty)), (0, vec!["etc/netplan/60-xennet-eth0.yaml".to_owned()]), "{run:?}");
    for format in ["kernel", "netsh"] {
        let run = guest(&state, &[VIF, "--no-gateway", "--format", format, "--into", empty.to_str().unwrap()]);
        assert!(run.code == 2 && run.stderr.contains("is no file of a guest's image"), "{run:?}");
    }
    let run = into(&state, &state.path().join("nowhere"), &[]);
    assert!(run.code != 0 && run.stderr.contains("cannot be opened as the root of an image"), "{run:?}");
}

#[test]
fn links_lead_nowhere_but_into_the_image() {
    let by_proc = ["/proc/self", "root", "OUTSIDE"].join("/");
    for (link, target) in [
        ("etc", "OUTSIDE"),
        ("etc", "../outside"),
        ("etc", "/../../../../../../../../../../../tmp"),
        ("etc/network", "OUTSIDE"),
        ("etc/network", "../../outside"),
        ("etc/network", by_proc.as_str()),
    ] {
        let state = StateDir::new();
        let (root, outside) = image(&state);
        fs::remove_dir_all(root.join(link)).unwrap();
        symlink(target.replace("OUTSIDE", outside.to_str().unwrap()), root.join(link)).unwrap();
        let run = into(&state, &root, &[]);
        // The target does not exist inside the image, so there is nothing to write to.
        assert_ne!(run.code, 0, "{link} -> {target}: {run:?}");
        assert!(is_empty(&outside), "{link} -> {target}");
        let run = into(&state, &root, &["--force"]);
        assert_ne!(run.code, 0, "{link} -> {target}: {run:?}");
        assert!(is_empty(&outside), "{link} -> {target}");
        assert!(!Path::new("/tmp/resolv.conf").exists() && !Path::new("/tmp/network").exists());
    }
}

#[test]
fn links_inside_of_the_image_are_followed_as_the_guest_does() {
    let state = StateDir::new();
    let (root, outside) = image(&state);
    fs::create_dir_all(root.join("usr/etc/network")).unwrap();
    fs::remove_dir_all(root.join("etc")).unwrap();
    symlink("/usr/etc", root.join("etc")).unwrap();
    assert_eq!(into(&state, &root, &[]).code, 0);
    assert_eq!(files(&root), ["etc", "usr/etc/network/interfaces", "usr/etc/resolv.conf"]);
    // More dots than directories end at the image's root.
    fs::remove_file(root.join("etc")).unwrap();
    symlink("../../../../usr2", root.join("etc")).unwrap();
    fs::create_dir_all(root.join("usr2/network")).unwrap();
    assert_eq!(into(&state, &root, &[]).code, 0);
    assert!(root.join("usr2/network/interfaces").exists() && is_empty(&outside));
    // A link that leads to itself.
    fs::remove_file(root.join("etc")).unwrap();
    symlink("etc", root.join("etc")).unwrap();
    let run = into(&state, &root, &[]);
    assert!(run.stderr.contains("leads to itself"), "{run:?}");
}

#[test]
fn what_is_at_the_place_of_a_file_is_never_opened() {
    for kind in ["link", "dangling", "fifo", "directory"] {
        let state = StateDir::new();
        let (root, outside) = image(&state);
        let (place, target) = (root.join("etc/resolv.conf"), outside.join("target"));
        match kind {
            "link" => {
                fs::write(&target, "secret\n").unwrap();
                symlink(&target, &place).unwrap();
            }
            "dangling" => symlink(&target, &place).unwrap(),
            "fifo" => {
                let made = std::process::Command::new("mkfifo").arg(&place).status().unwrap();
                assert!(made.success());
            }
            _ => fs::create_dir(&place).unwrap(),
        }
        let run = into(&state, &root, &[]);
        assert!(run.code != 0 && run.stderr.contains("resolv.conf is "), "{kind}: {run:?}");
        assert!(!root.join("etc/network/interfaces").exists(), "{kind}");
        let forced = into(&state, &root, &["--force"]);
        match kind {
            "directory" => assert_ne!(forced.code, 0, "{forced:?}"),
            _ => {
                assert_eq!(forced.code, 0, "{kind}: {forced:?}");
                let found = fs::symlink_metadata(&place).unwrap().file_type();
                assert!(found.is_file() && !found.is_fifo(), "{kind}");
            }
        }
        // Replaced is the link, and not what it leads to.
        let kept = fs::read_to_string(&target).ok();
        assert_eq!(kept.as_deref(), (kind == "link").then_some("secret\n"), "{kind}");
    }
}

#[test]
fn a_directory_that_is_swapped_meanwhile_leads_nowhere() {
    let state = StateDir::new();
    let (root, outside) = image(&state);
    let (etc, aside) = (root.join("etc"), root.join("aside"));
    symlink(&outside, &aside).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // In one step each: etc is the directory, then a link to the outside, then the directory again.
                let exchange = rustix::fs::RenameFlags::EXCHANGE;
                rustix::fs::renameat_with(rustix::fs::CWD, &etc, rustix::fs::CWD, &aside, exchange).unwrap();
            }
        });
        let mut written = 0;
        for _ in 0..40 {
            let run = into(&state, &root, &["--force"]);
            written += u32::from(run.code == 0);
        }
        stop.store(true, Ordering::Relaxed);
        assert!(written > 0);
    });
    assert!(is_empty(&outside));
    assert!(files(&root).iter().all(|path| !path.contains(".xennet-")), "{:?}", files(&root));
}

#[test]
fn a_place_that_cannot_be_written_is_said_so() {
    let state = StateDir::new();
    let (root, _) = image(&state);
    let is_root = fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"));
    if !is_root {
        fs::set_permissions(root.join("etc/network"), fs::Permissions::from_mode(0o555)).unwrap();
        let run = into(&state, &root, &[]);
        assert!(
            run.code != 0 && run.stderr.contains("run it as root") && run.stderr.contains("state: unchanged"),
            "{run:?}"
        );
        assert!(files(&root).is_empty());
        return;
    }
    // Root may write in any directory, but not in a file system that is read-only.
    let script = "mount -t tmpfs -o ro tmpfs \"$1\" && shift && exec \"$@\"";
    let mut unshare = std::process::Command::new("unshare");
    unshare.args(["--mount", "sh", "-c", script, "sh"]).arg(&root).arg(program());
    unshare.args(["--backend", "fake", "--state-dir"]).arg(state.path().join("state"));
    unshare.args(["guest", VIF, "--no-gateway", "--format", "netplan", "--into"]).arg(&root);
    let output = unshare.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("hint: mount the image for writing"), "{stderr}");
    assert!(stderr.contains("state: unchanged"), "{stderr}");
}
