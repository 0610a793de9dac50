//! What Xen's scripts were seen to do (`script-outcomes.json`), situation by situation, and what ours does in the same one:
//! the same, or better for a reason that is asserted. A situation that is not known here, and any other outcome, is a failure.

mod bad;
mod good;
mod nat;
mod route;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use serde_json::Value;
use xennet_core::xenstore::wire::Kind;
use xennet_tests::{NetNs, in_netns};

use crate::rig::{Rig, Run, run};
use crate::vectors::{cases, text};

/// What ours came to, beside what was seen of Xen's.
pub(crate) enum Verdict {
    /// Exit status, writes and the state that is left are those that were seen.
    Same,
    /// Another outcome, and why it is the better one. Whoever says so has asserted it.
    Better(&'static str),
}

/// An outcome that was seen.
pub(crate) struct Seen {
    pub(crate) script: String,
    pub(crate) command: String,
    pub(crate) situation: String,
    exit: i32,
    /// Paths and values in order; `<P>` is the vif's directory.
    writes: Vec<(String, String)>,
}

impl Seen {
    fn of(case: &Value) -> Seen {
        let pair = |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned());
        Seen {
            script: text(case, "script").to_owned(),
            command: text(case, "command").to_owned(),
            situation: text(case, "situation").to_owned(),
            exit: i32::try_from(case["exit"].as_i64().unwrap()).unwrap(),
            writes: case["store_writes"].as_array().unwrap().iter().map(pair).collect(),
        }
    }

    /// Asserts that exit status and writes are those that were seen; the state is the caller's to look at.
    #[track_caller]
    pub(crate) fn same(&self, got: &Got) {
        assert_eq!((got.run.code, &got.writes), (Some(self.exit), &self.written(got)), "{}", got.run.stderr);
    }

    /// Asserts that the exit status is the one that was seen, and that the vif's directory has another reason than the one
    /// that was seen, with all of these words.
    #[track_caller]
    pub(crate) fn same_but_for_the_reason(&self, got: &Got, words: &[&str]) {
        let seen = self.written(got);
        let paths = |writes: &[(String, String)]| writes.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>();
        assert_eq!((got.run.code, paths(&got.writes)), (Some(self.exit), paths(&seen)), "{}", got.run.stderr);
        got.told(words);
    }

    /// The writes that were seen, with whole paths of the vif that the call was about.
    fn written(&self, got: &Got) -> Vec<(String, String)> {
        self.writes.iter().map(|(path, value)| (path.replace("<P>", &got.directory), value.clone())).collect()
    }

    #[track_caller]
    pub(crate) fn exit_was(&self, exit: i32) {
        assert_eq!(self.exit, exit, "what was seen is not what this case is about");
    }
}

/// What came of a call of ours.
pub(crate) struct Got {
    pub(crate) run: Run,
    /// Whole paths and values, in order.
    pub(crate) writes: Vec<(String, String)>,
    /// The vif's directory.
    directory: String,
}

impl Got {
    /// Asserts that the call failed, and that the reason is where the toolstack reads it.
    #[track_caller]
    pub(crate) fn told(&self, words: &[&str]) {
        assert_eq!(self.run.code, Some(1), "{}", self.run.stderr);
        let value = |name: &str| {
            let path = format!("{}/{name}", self.directory);
            self.writes.iter().rfind(|(p, _)| *p == path).map(|(_, v)| v.as_str())
        };
        assert_eq!(value("hotplug-status"), Some("error"), "{:?}", self.writes);
        let reason = value("hotplug-error").unwrap();
        for word in words {
            assert!(reason.contains(word), "{word}: {reason}");
        }
        assert!(reason.contains("state: ") && reason.contains("hint: "), "{reason}");
    }

    #[track_caller]
    pub(crate) fn is(&self, exit: i32, writes: &[(&str, &str)]) {
        let got: Vec<(&str, &str)> = self.writes.iter().map(|(p, v)| (p.as_str(), v.as_str())).collect();
        assert_eq!((self.run.code, &got[..]), (Some(exit), writes), "{}", self.run.stderr);
    }
}

/// Makes a call, and gives what it wrote with whole paths.
pub(crate) fn call(rig: &Rig, vif: &str, verb: &str) -> Got {
    make(rig, vif, &mut rig.command(vif, verb))
}

/// As [`call`], of another script.
pub(crate) fn call_of(rig: &Rig, script: &str, vif: &str, verb: &str) -> Got {
    make(rig, vif, &mut rig.command_of(script, vif, verb))
}

pub(crate) fn make(rig: &Rig, vif: &str, command: &mut Command) -> Got {
    rig.store.clear_log();
    let run = run(command);
    let home = "/local/domain/0";
    let whole = |path: &str| if path.starts_with('/') { path.to_owned() } else { format!("{home}/{path}") };
    let writes = rig.store.log().into_iter().filter(|r| r.kind == Some(Kind::Write));
    let writes = writes.map(|r| (whole(&r.path), String::from_utf8_lossy(&r.value).into_owned())).collect();
    Got { run, writes, directory: whole(&crate::rig::path_of(vif)) }
}

#[test]
fn what_the_scripts_were_seen_to_do() {
    in_netns("outcomes::what_the_scripts_were_seen_to_do", || {
        let (mut same, mut better) = (0, 0);
        let mut wrong: Vec<String> = Vec::new();
        let mut table = String::new();
        for case in cases("script-outcomes.json") {
            let seen = Seen::of(&case);
            let about = format!("{} {}: {}", seen.script, seen.command, seen.situation);
            let alone = NetNs::new().unwrap();
            let judge = || good::judge(&seen).or_else(|| bad::judge(&seen)).or_else(|| nat::judge(&seen));
            let judge = || judge().or_else(|| route::judge(&seen));
            // One that fails is not to hide the others.
            let verdict = match catch_unwind(AssertUnwindSafe(|| alone.run(judge))) {
                Ok(Ok(Some(Verdict::Same))) => {
                    same += 1;
                    "same".to_owned()
                }
                Ok(Ok(Some(Verdict::Better(reason)))) => {
                    better += 1;
                    format!("better: {reason}")
                }
                Ok(Ok(None)) => {
                    wrong.push(about.clone());
                    "DIFFERS: a situation that this test does not know".to_owned()
                }
                Ok(Err(e)) => panic!("{}", e.report()),
                Err(_) => {
                    wrong.push(about.clone());
                    "DIFFERS: see above".to_owned()
                }
            };
            table.push_str(&format!("{about:<92} {verdict}\n"));
        }
        println!("{table}{same} same, {better} better, {} differ", wrong.len());
        assert!(wrong.is_empty(), "{wrong:#?}");
    });
}
