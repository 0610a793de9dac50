use super::*;
use crate::services::again::ignoring_children;

/// A directory of hooks for one test.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xennet-hooks-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Place(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn hook(&self, name: &str, script: &str) {
        self.file(name, &format!("#!/bin/sh\n{script}\n"), 0o755);
    }

    fn run_within(&self, deadline: Duration) -> (Vec<Ran>, Result<(), Error>) {
        let mut ran = Vec::new();
        let environment = [("vif", "vif1.0"), ("dev", "web0 $(x)"), ("PLACE", self.0.to_str().unwrap())];
        let hooks = Hooks { dir: &self.0, verb: "online", environment: &environment, deadline };
        let result = hooks.run(&mut ran);
        (ran, result)
    }

    fn run(&self) -> (Vec<Ran>, Result<(), Error>) {
        self.run_within(Duration::from_secs(20))
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(ran: &[Ran]) -> Vec<&str> {
    ran.iter().map(|r| r.name.as_str()).collect()
}

#[test]
fn executable_hooks_run_in_byte_order_as_programs_with_verb_and_environment() {
    let place = Place::new("order");
    for name in ["20-b.hook", "100-c.hook", "Z.hook", "a.hook", "é.hook"] {
        place.hook(name, "echo $0 \"$@\" \"$vif\" \"$dev\" in=$(cat | wc -c); echo aside >&2; cd /; exit 0");
    }
    place.file("30-off.hook", "#!/bin/sh\nexit 1\n", 0o644);
    for name in [".hidden.hook", "backup.hook~", "hook", "script.sh"] {
        place.hook(name, "exit 1");
    }
    fs::create_dir(place.0.join("40-directory.hook")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.0.join("50-dangling.hook")).unwrap();
    let (ran, result) = place.run();
    result.unwrap();
    assert_eq!(names(&ran), ["100-c.hook", "20-b.hook", "Z.hook", "a.hook", "é.hook"]);
    let path = place.0.join("100-c.hook");
    assert_eq!(ran[0].output, format!("{} online vif1.0 web0 $(x) in=0\naside\n", path.display()));
}

#[test]
fn no_directory_and_no_hooks_are_nothing_to_do() {
    let place = Place::new("none");
    assert_eq!(place.run(), (Vec::new(), Ok(())));
    fs::remove_dir(&place.0).unwrap();
    assert_eq!(place.run(), (Vec::new(), Ok(())));
    fs::write(&place.0, "").unwrap();
    let error = place.run().1.unwrap_err();
    assert_eq!((error.kind(), error.errno()), (ErrorKind::HookFailed, Some(Errno::ENOTDIR)));
    fs::remove_file(&place.0).unwrap();
}

#[test]
fn a_hook_that_does_nothing_is_not_started() {
    let place = Place::new("idle");
    // As Xen ships it.
    place.file("00-vif-local.hook", "#!/bin/bash\n# Allow for local hooks\n", 0o755);
    place.file("01-empty.hook", "", 0o755);
    place.hook("02.hook", "  \n\t# ends without a newline");
    let (ran, result) = place.run();
    assert_eq!((ran, result), (Vec::new(), Ok(())));

    for text in
        ["", "\n\n", "# x", "#!/bin/sh", "#!/bin/sh -e\n#\n", "#! /usr/bin/env bash\n \t\n# x\n", "#!/bin/sh -eu\n"]
    {
        assert!(!has_command(text.as_bytes()), "{text:?}");
    }
    let programs = ["true", "# x\n:", "#!/bin/sh\n:", "#!/usr/local/sbin/notify\n", "#!/bin/sh -c reboot\n# x"];
    let others = ["\u{7f}ELF\u{2}", "#!/bin/sh\r\n", "#!", "#!/bin/bash --rcfile x\n", "#!/usr/bin/env notify\n", "\0"];
    for text in programs.iter().chain(&others) {
        assert!(has_command(text.as_bytes()), "{text:?}");
    }
    // A command behind the first 4 KiB is not overlooked.
    place.hook("03.hook", &format!("{}\necho here", "# x\n".repeat(1100)));
    assert_eq!(place.run().0[0].output, "here\n");
}

#[test]
fn a_hook_without_a_first_line_is_run_by_the_shell() {
    let place = Place::new("noexec");
    place.file("a.hook", "echo \"$0 $1 $vif\"\n", 0o755);
    let (ran, result) = place.run();
    result.unwrap();
    assert_eq!(ran[0].output, format!("{} online vif1.0\n", place.0.join("a.hook").display()));
}

#[test]
fn a_failing_hook_ends_the_run_and_is_quoted() {
    let place = Place::new("fails");
    place.hook("1.hook", "echo fine");
    place
        .hook("2.hook", "echo first; echo 'no such zone: \"dmz\"' >&2; printf '\\n\\033[2J\\n  \\n'; echo >&2; exit 3");
    place.hook("3.hook", "touch $PLACE/third");
    let (ran, result) = place.run();
    let error = result.unwrap_err();
    assert_eq!((names(&ran), place.has("third")), (vec!["1.hook", "2.hook"], false));
    assert_eq!((error.kind(), error.object()), (ErrorKind::HookFailed, place.0.join("2.hook").to_str()));
    assert_eq!(error.message(), "hook 2.hook ended with status 3, saying \"\\u{1b}[2J\"");
    assert!(error.hint().unwrap().contains("2.hook online by hand"), "{error:?}");

    place.hook("2.hook", "kill -TERM $$");
    assert_eq!(place.run().1.unwrap_err().message(), "hook 2.hook was ended by signal 15 (SIGTERM)");
    place.file("2.hook", "#!/nonexistent/interpreter\n", 0o755);
    let error = place.run().1.unwrap_err();
    assert_eq!((error.errno(), error.message()), (Some(Errno::ENOENT), "hook 2.hook cannot be started"));
    assert!(error.hint().unwrap().contains("first line"));
}

#[test]
fn a_hook_that_is_late_is_killed_with_its_children() {
    let place = Place::new("late");
    let (first, second) = ("sleep 100 & echo $! > $PLACE/pid; echo waiting; wait", "touch $PLACE/second");
    place.hook("1.hook", first);
    place.hook("2.hook", second);
    let start = Instant::now();
    let (ran, result) = place.run_within(Duration::from_millis(600));
    let error = result.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert_eq!((names(&ran), ran[0].output.as_str()), (vec!["1.hook"], "waiting\n"));
    assert!(error.message().starts_with("hook 1.hook was not done when the hooks' 600 ms were over, "), "{error}");
    assert!(error.message().ends_with("and was killed; it said \"waiting\" last"), "{error}");
    assert!(error.hint().unwrap().contains("hook_deadline"));
    assert!(!place.has("second"));
    let child: i32 = fs::read_to_string(place.0.join("pid")).unwrap().trim().parse().unwrap();
    // Killed; a zombie at most, until whoever inherits it looks.
    let gone = || match fs::read_to_string(format!("/proc/{child}/stat")) {
        Ok(stat) => stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with(['Z', 'X'])),
        Err(_) => true,
    };
    let until = Instant::now() + Duration::from_secs(5);
    while !gone() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(gone(), "the child of the hook was killed too");
    let (ran, result) = place.run_within(Duration::ZERO);
    assert_eq!(ran, []);
    assert!(result.unwrap_err().message().contains("was not started"));
}

#[test]
fn a_hook_that_prints_without_end_is_drained_and_ended() {
    let place = Place::new("prints");
    place.hook("1.hook", "i=0; while [ $i -lt 20000 ]; do echo \"line $i of many\"; i=$((i+1)); done");
    let (ran, result) = place.run();
    result.unwrap();
    assert!(ran[0].output.len() <= KEPT && ran[0].output.len() > KEPT - 100);
    assert!(ran[0].output.starts_with("line ") && ran[0].output.ends_with("line 19999 of many\n"));
    place.hook("1.hook", "while :; do echo and so on; done");
    let start = Instant::now();
    let (ran, result) = place.run_within(Duration::from_millis(300));
    assert!(result.unwrap_err().message().contains("was killed; it said \"and so on\" last"));
    assert!(ran[0].output.len() <= KEPT && start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_a_hook_leaves_in_the_background_is_not_waited_for_and_not_killed() {
    let place = Place::new("background");
    place.hook("1.hook", "(sleep 2; touch $PLACE/later) & echo started");
    let start = Instant::now();
    let (ran, result) = place.run();
    result.unwrap();
    assert!(start.elapsed() < Duration::from_millis(1500), "the open pipe is not waited for");
    assert_eq!(ran[0].output, "started\n");
    let until = Instant::now() + Duration::from_secs(5);
    while !place.has("later") && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(place.has("later"));
}

#[test]
fn a_hook_that_closes_its_output_is_still_waited_for() {
    let place = Place::new("closes");
    place.hook("1.hook", "echo bye; exec >&- 2>&-; sleep 0.2; touch $PLACE/done; exit 4");
    let (ran, result) = place.run();
    assert!(place.has("done"));
    assert_eq!(ran[0].output, "bye\n");
    assert_eq!(result.unwrap_err().message(), "hook 1.hook ended with status 4, saying \"bye\"");
}

#[test]
fn children_are_seen_to_end_where_nobody_ignores_them() {
    assert!(!children_end_unseen());
}

#[test]
fn hooks_are_told_apart_where_children_are_ignored() {
    ignoring_children("hotplug::hooks::tests::hooks_are_told_apart_where_children_are_ignored", || {
        assert!(children_end_unseen());
        let place = Place::new("ignored");
        place.hook("a.hook", "echo $0 \"$@\" \"$vif\" in=$(cat | wc -c); (exit 3); echo $?");
        place.file("b.hook", "echo no interpreter is named\n", 0o755);
        let (ran, result) = place.run();
        result.unwrap();
        assert_eq!(ran[0].output, format!("{} online vif1.0 in=0\n3\n", place.0.join("a.hook").display()));
        assert_eq!(ran[1].output, "no interpreter is named\n");
        for (script, how) in [
            ("echo oh no; exit 5", "hook c.hook ended with status 5, saying \"oh no\""),
            ("kill -9 $$", "hook c.hook was ended by signal 9 (SIGKILL)"),
        ] {
            place.hook("c.hook", script);
            let (ran, result) = place.run();
            let e = result.unwrap_err();
            assert!(e.kind() == ErrorKind::HookFailed && e.message().starts_with(how), "{e:?}");
            assert_eq!(names(&ran), ["a.hook", "b.hook", "c.hook"]);
        }
        place.hook("c.hook", "sleep 100 & echo $! >\"$PLACE/pid\"; sleep 100");
        let (_, result) = place.run_within(Duration::from_millis(500));
        assert!(result.unwrap_err().message().contains("and was killed"));
        let pid = fs::read_to_string(place.0.join("pid")).unwrap();
        let gone = || {
            fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
                .map_or(true, |stat| stat.rsplit(") ").next().unwrap().starts_with('Z'))
        };
        let until = Instant::now() + Duration::from_secs(10);
        while !gone() {
            assert!(Instant::now() < until, "{pid} still runs");
            std::thread::sleep(Duration::from_millis(5));
        }
    });
}
