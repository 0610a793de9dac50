//! The state directory is its owner's alone: nobody else reads, writes, locks or forges what is in it.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use xennet_core::ErrorKind;
use xennet_tests::StateDir;

use crate::command::{Run, finish, program, xennet};

const SPEC: &str = "mac=00:16:3e:01:02:03,bridge=xenbr0";
const NAT: &str =
    "[network.lan]\nmode = \"nat\"\nsubnets = [\"10.1.0.0/24\"]\nbridge = \"natbr0\"\negress = \"eth0\"\n";

fn on_fake(state: &Path, arguments: &[&str]) -> Run {
    finish(xennet().args(["--backend", "fake", "--state-dir"]).arg(state).args(arguments))
}

/// Everything below a directory that is no link, and the directory.
fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = vec![dir.to_owned()];
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        match meta.is_dir() {
            true => found.extend(all_below(&path)),
            false => found.extend((!meta.is_symlink()).then_some(path)),
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[track_caller]
fn all_private(state: &Path) {
    for path in all_below(state) {
        let wanted = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode(&path), wanted, "{}: {:o}", path.display(), mode(&path));
    }
}

#[test]
fn whatever_the_umask_is_all_of_it_is_private() {
    for umask in ["000", "022", "077", "777"] {
        let place = StateDir::new();
        let state = place.path().join("state");
        let file = place.path().join("networks.toml");
        fs::write(&file, NAT).unwrap();
        let steps: [&[&str]; 5] = [
            &["attach", "5", SPEC],
            &["network", "start", "lan"],
            &["attach", "6", "mac=00:16:3e:01:02:06,ip=10.1.0.6,bridge=lan"],
            &["attach", "5", "mac=00:16:3e:01:02:03,bridge=xenbr0,mtu=1400"],
            &["detach", "5"],
        ];
        for step in steps {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("umask {umask}; exec \"$0\" \"$@\"")]).arg(program());
            command.args(["--backend", "fake", "--state-dir"]).arg(&state).args(step);
            if step[0] == "network" {
                command.arg("--file").arg(&file);
            }
            let got = finish(command.stdin(Stdio::null()));
            assert_eq!(got.code, 0, "umask {umask}, {step:?}: {got:?}");
            all_private(&state);
        }
        assert!(all_below(&state).len() >= 5, "{:?}", all_below(&state));
    }
}

#[test]
fn what_an_earlier_version_has_left_open_is_closed() {
    let place = StateDir::new();
    let state = place.path().join("state");
    assert_eq!(on_fake(&state, &["attach", "5", SPEC]).code, 0);
    for path in all_below(&state) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    assert_eq!(on_fake(&state, &["attach", "5", "bridge=xenbr0,mtu=1400"]).code, 0);
    all_private(&state);
    // A directory that others can write, but is nobody else's: closed as well.
    fs::set_permissions(&state, Permissions::from_mode(0o777)).unwrap();
    assert_eq!(on_fake(&state, &["detach", "5"]).code, 0);
    all_private(&state);
    // One that holds others' files is not closed to them; and where they can put files into it, it is refused.
    let shared = place.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("letter"), "").unwrap();
    fs::set_permissions(&shared, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(on_fake(&shared, &["attach", "5", SPEC]).code, 0);
    assert_eq!((mode(&shared), mode(&shared.join("vif5.0.journal"))), (0o755, 0o600));
    for open in [0o775, 0o777, 0o1777] {
        fs::set_permissions(&shared, Permissions::from_mode(open)).unwrap();
        refused(&on_fake(&shared, &["attach", "5", SPEC]), &shared, "can be written by other users");
        assert_eq!(mode(&shared), open, "left as it is");
    }
}

#[track_caller]
fn refused(got: &Run, path: &Path, why: &str) {
    assert_eq!(got.code, i32::from(ErrorKind::StateUnusable.number()), "{got:?}");
    let first = got.stderr.lines().next().unwrap_or_default();
    assert!(first.contains(&path.display().to_string()) && first.contains(why), "{got:?}");
    assert!(got.stderr.contains("hint: "), "{got:?}");
}

#[test]
fn what_is_no_file_of_ours_is_named_and_nothing_waits_for_it() {
    type Make = fn(&Path);
    let kinds: [(&str, Make); 6] = [
        ("is a FIFO", |path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success())),
        ("is a symbolic link", |path| std::os::unix::fs::symlink("elsewhere", path).unwrap()),
        ("is a directory", |path| fs::create_dir(path).unwrap()),
        ("is a socket", |path| drop(std::os::unix::net::UnixListener::bind(path).unwrap())),
        ("bytes", |path| File::create(path).unwrap().set_len(60 << 30).unwrap()),
        ("can be written by other users", |path| {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        }),
    ];
    for (why, make) in kinds {
        let place = StateDir::new();
        let state = place.path().join("state");
        assert_eq!(on_fake(&state, &["attach", "6", SPEC]).code, 0);
        let journal = state.join("vif5.0.journal");
        make(&journal);
        refused(&on_fake(&state, &["attach", "5", SPEC]), &journal, why);
        refused(&on_fake(&state, &["show"]), &journal, why);
        refused(&on_fake(&state, &["recover"]), &journal, why);
        assert!(!state.join("elsewhere").exists(), "no file was made where a link leads");
        assert_eq!(on_fake(&state, &["detach", "6"]).code, 0, "others' calls go on");
        // The same of a started network's file, and of the world of the fake.
        let network = state.join("networks/lan.json");
        fs::create_dir_all(network.parent().unwrap()).unwrap();
        make(&network);
        refused(&on_fake(&state, &["attach", "6", "ip=10.1.0.6,bridge=lan,script=vif-nat"]), &network, why);
        fs::remove_file(state.join("fake.json")).unwrap();
        make(&state.join("fake.json"));
        let got = on_fake(&state, &["attach", "6", SPEC]);
        assert_eq!(got.code, i32::from(ErrorKind::StateUnusable.number()), "{got:?}");
        assert!(got.stderr.contains(why), "{got:?}");
    }
}

#[test]
fn another_user_can_neither_hold_a_lock_nor_forge_what_is_carried_out() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: another user is needed, and only root can be one");
        return;
    }
    let place = StateDir::new();
    fs::set_permissions(place.path(), Permissions::from_mode(0o755)).unwrap();
    let state = place.path().join("state");
    assert_eq!(on_fake(&state, &["attach", "5", SPEC]).code, 0);
    let journal = state.join("vif5.0.journal");
    let mut flock = Command::new("flock");
    flock.arg("--nonblock").arg(&journal).args(["sleep", "30"]).uid(65534).gid(65534);
    let got = finish(&mut flock);
    assert!(got.code != 0 && got.stderr.contains("ermission denied"), "{got:?}");
    assert_eq!(on_fake(&state, &["detach", "5"]).code, 0);
    // A directory, and a file, of somebody else.
    assert_eq!(on_fake(&state, &["attach", "5", SPEC]).code, 0);
    std::os::unix::fs::chown(&journal, Some(65534), None).unwrap();
    refused(&on_fake(&state, &["detach", "5"]), &journal, "belongs to user 65534");
    std::os::unix::fs::chown(&journal, Some(0), None).unwrap();
    std::os::unix::fs::chown(&state, Some(65534), None).unwrap();
    refused(&on_fake(&state, &["detach", "5"]), &state, "belongs to user 65534");
    // Its own directory is that user's to use.
    let own = place.path().join("own");
    fs::create_dir(&own).unwrap();
    std::os::unix::fs::chown(&own, Some(65534), None).unwrap();
    let copy = place.path().join("xennet");
    fs::copy(program(), &copy).unwrap();
    fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&copy);
    command.args(["--backend", "fake", "--state-dir"]).arg(&own).args(["attach", "5", SPEC]).current_dir("/");
    let got = finish(command.uid(65534).gid(65534));
    assert_eq!(got.code, 0, "{got:?}");
    assert_eq!(mode(&own), 0o700);
}
