//! The scripts among Xen's own: put there, taken away again, and nothing of others touched.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use xennet_core::ErrorKind;
use xennet_tests::StateDir;

use crate::command::{Run, finish, program, xennet};

const ORIGINAL: &str = "#!/bin/bash\n. $(dirname $0)/vif-common.sh\n";

/// A directory of scripts, and a program to be installed.
struct Place(StateDir);

impl Place {
    fn new() -> Self {
        let place = Place(StateDir::new());
        fs::create_dir(place.scripts()).unwrap();
        place.add("vif-common.sh", "# common\n", 0o644);
        place.program("xennet");
        place
    }

    /// As Xen's package leaves it.
    fn with_original() -> Self {
        let place = Place::new();
        for script in ["vif-bridge", "vif-nat", "vif-route"] {
            place.add(script, ORIGINAL, 0o755);
        }
        place
    }

    fn scripts(&self) -> PathBuf {
        self.0.path().join("scripts")
    }

    fn add(&self, name: &str, text: &str, mode: u32) {
        let path = self.scripts().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn program(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::copy(program(), &path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.canonicalize().unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = xennet();
        command.arg("install-scripts").arg("--dir").arg(self.scripts()).args(arguments);
        if !arguments.contains(&"--undo") && !arguments.contains(&"--binary") {
            command.arg("--binary").arg(self.0.path().join("xennet"));
        }
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        finish(&mut self.command(arguments))
    }

    fn ok(&self, arguments: &[&str]) -> Run {
        let got = self.run(arguments);
        assert_eq!(got.code, 0, "{arguments:?}: {got:?}");
        got
    }

    /// Everything in the directory: name, inode, mode, owner, and what is in it or where it leads.
    fn list(&self) -> Vec<String> {
        list(&self.scripts())
    }

    fn target(&self, name: &str) -> Option<PathBuf> {
        fs::read_link(self.scripts().join(name)).ok()
    }
}

fn list(dir: &Path) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = fs::read_link(&path)
                .map_or_else(|_| fs::read(&path).unwrap(), |to| to.into_os_string().into_encoded_bytes());
            let name = path.file_name().unwrap();
            format!("{name:?} {} {:o} {} {} {content:?}", meta.ino(), meta.mode(), meta.uid(), meta.nlink())
        })
        .collect();
    lines.sort();
    lines
}

fn refused(got: &Run, kind: ErrorKind) {
    assert_eq!((got.code, got.stdout.as_str()), (i32::from(kind.number()), ""), "{got:?}");
    assert!(got.stderr.contains("hint: "), "{got:?}");
}

#[test]
fn a_first_installation_leaves_the_original_alone_and_says_how_to_try_it() {
    let place = Place::with_original();
    let before = place.list();
    let got = place.ok(&[]);
    assert_eq!(place.target("xennet-vif-bridge"), Some(place.0.path().canonicalize().unwrap().join("xennet")));
    assert_eq!(fs::read_to_string(place.scripts().join("vif-bridge")).unwrap(), ORIGINAL);
    let script = place.scripts().join("xennet-vif-bridge");
    assert!(got.stdout.contains(&format!("vif = [ \"bridge=xenbr0,script={}\" ]", script.display())), "{got:?}");
    assert!(got.stdout.contains("vif.default.script=") && got.stdout.contains(" --force\n"), "{got:?}");
    assert!(got.stderr.contains("vif-bridge is not ours and was left alone; --force keeps it as "), "{got:?}");
    assert!(place.ok(&[]).stdout.starts_with("everything is installed already\n"));
    let document = place.ok(&["--json"]).json();
    assert_eq!((&document["acts"], &document["script"]), (&serde_json::json!([]), &script.to_str().into()));
    assert!(place.ok(&["--undo"]).stdout.ends_with("xennet-vif-route is removed\n"));
    assert_eq!(place.list(), before);
}

#[test]
fn hooks_that_cannot_run_are_named() {
    let place = Place::with_original();
    let notes = |place: &Place| {
        let document = place.ok(&["--json"]).json();
        document["notes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    fs::create_dir(place.scripts().join("vif-post.d")).unwrap();
    place.add("vif-post.d/00-vif-local.hook", "#!/bin/bash\n# Allow for local hooks\n", 0o755);
    place.add("vif-post.d/10-fine.hook", "log debug \"$dev\"; mac=$(xenstore_read \"$XENBUS_PATH/mac\")\n", 0o755);
    place.add("vif-post.d/20-off.hook", "handle_iptable\n", 0o644);
    assert!(notes(&place).iter().all(|n| !n.contains(".hook")), "{:?}", notes(&place));
    place.add("vif-post.d/30-lacks.hook", "handle_iptable\n", 0o755);
    let found = notes(&place);
    assert!(found.iter().any(|n| n.contains("30-lacks.hook calls handle_iptable, which only Xen's")), "{found:?}");
    place.add("vif-post.d/40-open.hook", "log debug x\n", 0o777);
    let found = notes(&place);
    assert!(found.iter().any(|n| n.contains("40-open.hook") && n.contains("every call fails")), "{found:?}");
}

#[test]
fn force_keeps_the_original_and_undo_brings_back_exactly_that() {
    for trial_first in [false, true] {
        let place = Place::with_original();
        let before = place.list();
        if trial_first {
            place.ok(&[]);
        }
        let got = place.ok(&["--force"]);
        assert!(got.stdout.contains("vif-bridge.distrib and replaced, by a link to "), "{got:?}");
        assert_eq!(place.target("vif-bridge"), place.target("xennet-vif-bridge"));
        assert!(place.target("vif-bridge").is_some());
        assert_eq!(fs::read_to_string(place.scripts().join("vif-bridge.distrib")).unwrap(), ORIGINAL);
        assert_eq!(place.list().len(), before.len() + 6, "nothing else is left there: {:?}", place.list());
        let once = place.list();
        place.ok(&["--force"]);
        assert_eq!(place.list(), once, "a second time changes nothing");
        place.ok(&["--undo"]);
        assert_eq!(place.list(), before);
        refused(&place.run(&["--undo"]), ErrorKind::NothingToUndo);
    }
}

#[test]
fn there_is_a_script_at_every_moment() {
    use std::sync::atomic::{AtomicBool, Ordering};
    let place = Place::with_original();
    let (script, ended) = (place.scripts().join("vif-bridge"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let mut looks = 0;
            while !ended.load(Ordering::Relaxed) {
                assert!(fs::metadata(&script).is_ok_and(|meta| meta.mode() & 0o111 != 0));
                looks += 1;
            }
            looks
        });
        let turns = [["--force"], ["--undo"]].into_iter().cycle().take(20);
        let codes: Vec<i32> = turns.map(|arguments| place.run(&arguments).code).collect();
        ended.store(true, Ordering::Relaxed);
        assert_eq!(codes, [0; 20]);
        assert!(looks.join().unwrap() > 100);
    });
}

#[test]
fn an_original_that_is_a_link_is_kept_as_one() {
    let place = Place::new();
    symlink("vif-common.sh", place.scripts().join("vif-bridge")).unwrap();
    let before = place.list();
    place.ok(&["--force"]);
    assert_eq!(place.target("vif-bridge.distrib"), Some("vif-common.sh".into()));
    place.ok(&["--undo"]);
    assert_eq!(place.list(), before);
}

#[test]
fn where_there_is_no_original_the_name_is_ours_at_once() {
    let place = Place::new();
    let before = place.list();
    place.ok(&[]);
    assert!(place.target("vif-bridge").is_some() && place.target("xennet-vif-bridge").is_some());
    assert!(!place.ok(&[]).stdout.contains("--force"), "there is nobody to replace");
    let other = place.program("xennet-2");
    let got = place.ok(&["--binary", other.to_str().unwrap()]);
    assert_eq!((got.stdout.matches(" is a link to ").count(), place.target("vif-bridge")), (6, Some(other)));
    place.ok(&["--undo"]);
    assert_eq!(place.list(), before);
}

#[test]
fn what_is_not_recognised_is_refused_and_nothing_is_changed() {
    // A script that was kept already, by whomever.
    let place = Place::with_original();
    place.add("vif-bridge.distrib", "somebody's\n", 0o600);
    let before = place.list();
    refused(&place.run(&["--force"]), ErrorKind::Conflict);
    refused(&place.run(&["--undo"]), ErrorKind::Conflict);
    assert_eq!(place.list(), before);

    // A file of somebody else under our trial name.
    let place = Place::with_original();
    place.add("xennet-vif-bridge", "somebody's\n", 0o755);
    let before = place.list();
    for arguments in [&[][..], &["--force"], &["--undo"]] {
        refused(&place.run(arguments), ErrorKind::Conflict);
    }
    assert_eq!(place.list(), before);

    // An upgrade of a package that put its own in the place of ours.
    let place = Place::with_original();
    place.ok(&["--force"]);
    fs::remove_file(place.scripts().join("vif-bridge")).unwrap();
    place.add("vif-bridge", "newer\n", 0o755);
    let before = place.list();
    refused(&place.run(&["--undo"]), ErrorKind::Conflict);
    refused(&place.run(&["--force"]), ErrorKind::Conflict);
    assert_eq!(place.list(), before);
}

#[test]
fn a_failure_in_the_middle_puts_back_what_was_done() {
    // A directory cannot have a second name, so the second act fails.
    let place = Place::new();
    fs::create_dir(place.scripts().join("vif-bridge")).unwrap();
    let names = || {
        let mut names: Vec<_> = fs::read_dir(place.scripts()).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names();
    let got = place.run(&["--force"]);
    assert_eq!(got.code, i32::from(ErrorKind::Io.number()), "{got:?}");
    assert!(got.stderr.contains("\n  state: restored, 1 undone"), "{got:?}");
    assert_eq!(names(), before);
}

#[test]
fn a_program_that_others_can_write_is_refused() {
    let place = Place::with_original();
    let before = place.list();
    let binary = place.program("xennet-open");
    let path = binary.to_str().unwrap();
    for mode in [0o775, 0o757] {
        fs::set_permissions(&binary, Permissions::from_mode(mode)).unwrap();
        for arguments in [&["--binary", path][..], &["--binary", path, "--force"]] {
            let got = place.run(arguments);
            refused(&got, ErrorKind::Invalid);
            assert!(got.stderr.contains(&format!("hint: chmod go-w {path}")), "{got:?}");
        }
    }
    fs::set_permissions(&binary, Permissions::from_mode(0o644)).unwrap();
    refused(&place.run(&["--binary", path]), ErrorKind::Invalid);
    let named = place.program("program");
    let got = place.run(&["--binary", named.to_str().unwrap()]);
    assert!(got.code == 2 && got.stderr.contains("is not called xennet"), "{got:?}");
    // Everybody could put another one there.
    let open = place.0.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o777)).unwrap();
    let inside = place.program("open/xennet");
    let got = place.run(&["--binary", inside.to_str().unwrap()]);
    assert!(got.code == 2 && got.stderr.contains("everybody can replace what is in "), "{got:?}");
    assert_eq!(place.run(&["--binary", "/nonexistent/xennet"]).code, i32::from(ErrorKind::Io.number()));
    assert_eq!(place.list(), before);
}

#[test]
fn wrong_usage_and_a_missing_directory_are_told() {
    let got = finish(xennet().args(["install-scripts", "--dir", "/nonexistent/scripts"]));
    refused(&got, ErrorKind::Io);
    assert!(got.stderr.contains("is Xen installed?"), "{got:?}");
    assert_eq!(finish(xennet().args(["install-scripts", "--undo", "--force"])).code, 2);
    let place = Place::with_original();
    let before = place.list();
    refused(&place.run(&["--sandbox"]), ErrorKind::Invalid);
    assert_eq!(place.list(), before);
}

/// With the real dpkg-divert, on a database of the test's own.
#[test]
fn a_script_of_a_package_is_diverted_and_given_back() {
    if Command::new("dpkg-divert").arg("--version").output().is_err() {
        eprintln!("skipped: there is no dpkg here");
        return;
    }
    let place = Place::with_original();
    let (script, database) = (place.scripts().join("vif-bridge"), place.0.path().join("dpkg"));
    fs::create_dir_all(database.join("info")).unwrap();
    fs::create_dir_all(database.join("updates")).unwrap();
    fs::write(database.join("info/format"), "1\n").unwrap();
    let status = "Package: xen-utils-common\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\
                  Maintainer: x <x@example.org>\nDescription: x\n";
    fs::write(database.join("status"), status).unwrap();
    fs::write(database.join("info/xen-utils-common.list"), format!("/.\n{}\n", script.display())).unwrap();
    let diverted = || {
        let list = Command::new("dpkg-divert").env("DPKG_ADMINDIR", &database).arg("--list").arg(&script).output();
        String::from_utf8(list.unwrap().stdout).unwrap()
    };
    let run = |arguments: &[&str]| finish(place.command(arguments).env("DPKG_ADMINDIR", &database));
    let before = place.list();
    assert_eq!(run(&[]).code, 0);
    assert_eq!(diverted(), "", "nothing is diverted for a trial");
    let got = run(&["--force"]);
    assert!(got.code == 0 && got.stdout.contains(" is diverted to "), "{got:?}");
    assert_eq!(diverted(), format!("local diversion of {0} to {0}.distrib\n", script.display()));
    assert!(run(&["--force"]).stdout.starts_with("everything is installed already"));
    let got = run(&["--undo"]);
    assert!(got.code == 0 && got.stdout.contains(" is no longer diverted"), "{got:?}");
    assert_eq!((diverted().as_str(), place.list()), ("", before.clone()));

    // Another package has diverted it already: nothing is done.
    let mut foreign = Command::new("dpkg-divert");
    foreign.env("DPKG_ADMINDIR", &database).args(["--quiet", "--package", "other", "--no-rename", "--add", "--divert"]);
    assert!(foreign.arg(script.with_extension("other")).arg(&script).status().unwrap().success());
    let got = run(&["--force"]);
    assert_eq!((got.code, place.list()), (i32::from(ErrorKind::Conflict.number()), before), "{got:?}");
    assert!(got.stderr.contains("dpkg-divert refuses to divert"), "{got:?}");
}
