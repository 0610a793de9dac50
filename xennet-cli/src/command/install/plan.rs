//! What is to be done in the directory of the scripts. Pure: what is there comes in, acts come out.

use std::fmt;
use std::path::{Path, PathBuf};

use xennet_core::document::InstallAct;
use xennet_core::{Error, ErrorKind, Result};

/// The scripts that this program can stand in for.
pub(super) const SCRIPTS: &[&str] = &crate::names::SCRIPTS;
/// Every program of ours is called by a name that begins with this, and so a link to one is known as ours.
pub(super) const PROGRAM: &str = "xennet";
/// What `dpkg-divert` calls what it diverts.
const KEPT: &str = ".distrib";

/// A name in the directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// There is nothing of that name.
    Absent,
    /// A symbolic link of ours, and where it leads.
    Ours(PathBuf),
    /// Something else.
    Other,
}

/// What is there for one script.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The script's name and what is there under it.
    pub(super) script: PathBuf,
    pub(super) entry: Entry,
    /// Its trial name, and what is there under that.
    pub(super) trial: PathBuf,
    pub(super) trial_entry: Entry,
    /// Where an original is kept, and whether there is one.
    pub(super) kept: PathBuf,
    pub(super) has_kept: bool,
    /// What dpkg knows of it.
    pub(super) package: Package,
}

/// What dpkg knows of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Package {
    /// Nothing, or there is no dpkg.
    Unknown,
    /// The script belongs to a package, whose next version would bring it back.
    Owned,
    /// As [`Owned`](Self::Owned), and that version goes to where the original is kept.
    Diverted,
    /// A package diverts it: the link in its place is that package's, and goes with it.
    Packaged,
}

/// The names that belong to one script: trial name and kept original.
pub(super) fn names(dir: &Path, script: &str) -> [PathBuf; 3] {
    [dir.join(script), dir.join(format!("{PROGRAM}-{script}")), dir.join(format!("{script}{KEPT}"))]
}

/// One change of the directory. Each has an inverse, so that what was done can be put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A link where nothing was.
    Put { at: PathBuf, to: PathBuf },
    /// The link leads to another place.
    Turn { at: PathBuf, from: PathBuf, to: PathBuf },
    /// The link goes.
    Remove { at: PathBuf, from: PathBuf },
    /// What is there gets another name, and a link has its old one.
    Keep { at: PathBuf, kept: PathBuf, to: PathBuf },
    /// What was kept has its old name again, in place of the link.
    Restore { at: PathBuf, kept: PathBuf, from: PathBuf },
    /// Packages bring their next version under the other name.
    Divert { at: PathBuf, kept: PathBuf },
    /// No more.
    Undivert { at: PathBuf, kept: PathBuf },
}

impl Act {
    /// What takes it back.
    pub(super) fn inverse(&self) -> Act {
        match self.clone() {
            Act::Put { at, to } => Act::Remove { at, from: to },
            Act::Turn { at, from, to } => Act::Turn { at, from: to, to: from },
            Act::Remove { at, from } => Act::Put { at, to: from },
            Act::Keep { at, kept, to } => Act::Restore { at, kept, from: to },
            Act::Restore { at, kept, from } => Act::Keep { at, kept, to: from },
            Act::Divert { at, kept } => Act::Undivert { at, kept },
            Act::Undivert { at, kept } => Act::Divert { at, kept },
        }
    }

    pub(super) fn document(&self) -> InstallAct {
        let (act, at, from, to, kept) = match self {
            Act::Put { at, to } => ("put", at, None, Some(to), None),
            Act::Turn { at, from, to } => ("turn", at, Some(from), Some(to), None),
            Act::Remove { at, from } => ("remove", at, Some(from), None, None),
            Act::Keep { at, kept, to } => ("keep", at, None, Some(to), Some(kept)),
            Act::Restore { at, kept, from } => ("restore", at, Some(from), None, Some(kept)),
            Act::Divert { at, kept } => ("divert", at, None, None, Some(kept)),
            Act::Undivert { at, kept } => ("undivert", at, None, None, Some(kept)),
        };
        let shown = |path: &PathBuf| path.display().to_string();
        let mut document = InstallAct::new(act, shown(at));
        (document.from, document.to, document.kept) = (from.map(shown), to.map(shown), kept.map(shown));
        document
    }
}

impl fmt::Display for Act {
    /// What was done, one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Act::Put { at, to } => write!(f, "{} is installed, a link to {}", at.display(), to.display()),
            Act::Turn { at, to, .. } => write!(f, "{} is a link to {} now", at.display(), to.display()),
            Act::Remove { at, .. } => write!(f, "{} is removed", at.display()),
            Act::Keep { at, kept, to } => {
                let (at, kept, to) = (at.display(), kept.display(), to.display());
                write!(f, "{at} is kept as {kept} and replaced, by a link to {to}")
            }
            Act::Restore { at, kept, .. } => write!(f, "{} is as before, from {}", at.display(), kept.display()),
            Act::Divert { at, kept } => {
                write!(f, "{} is diverted to {} for packages", at.display(), kept.display())
            }
            Act::Undivert { at, .. } => write!(f, "{} is no longer diverted for packages", at.display()),
        }
    }
}

/// What is to be done, and what the reader should know besides.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) acts: Vec<Act>,
    pub(super) notes: Vec<String>,
}

/// Whether a script of somebody else's may be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Leave,
    Replace,
}

/// How to get the scripts in.
pub(super) fn install(found: &[Found], binary: &Path, others: Others) -> Result<Plan> {
    let mut plan = Plan::default();
    for one in found {
        let to = || binary.to_owned();
        let Found { script, trial, kept, .. } = one;
        match &one.trial_entry {
            Entry::Other => return Err(unknown(trial, "it is not a link to a program of ours")),
            Entry::Absent => plan.acts.push(Act::Put { at: trial.clone(), to: to() }),
            Entry::Ours(from) => plan.turn(trial, from, binary),
        }
        match (&one.entry, others) {
            (Entry::Absent, _) if one.has_kept => {
                return Err(unknown(kept, &format!("there is no {}", script.display())));
            }
            (Entry::Absent, _) => plan.acts.push(Act::Put { at: script.clone(), to: to() }),
            (Entry::Ours(from), _) => {
                plan.turn(script, from, binary);
                if one.package == Package::Owned && one.has_kept {
                    plan.divert(one);
                }
            }
            (Entry::Other, Others::Leave) => plan.notes.push(format!(
                "{} is not ours and was left alone; --force keeps it as {} and takes its name",
                script.display(),
                kept.display()
            )),
            (Entry::Other, Others::Replace) if one.has_kept => {
                return Err(unknown(kept, "an original is kept there already, and is not overwritten"));
            }
            (Entry::Other, Others::Replace) => {
                match one.package {
                    // First: should a package come in between, its version goes to where the original will be.
                    Package::Owned => plan.divert(one),
                    Package::Diverted | Package::Packaged => {
                        let why = "somebody has diverted it for packages";
                        return Err(unknown(script, &format!("{why}, and nothing is kept as {}", kept.display())));
                    }
                    Package::Unknown => plan.notes.push(format!(
                        "if a package brings {}, its next version puts that back: run this again after it",
                        script.display()
                    )),
                }
                plan.acts.push(Act::Keep { at: script.clone(), kept: kept.clone(), to: to() });
            }
        }
    }
    Ok(plan)
}

/// How to get them out again.
pub(super) fn undo(found: &[Found]) -> Result<Plan> {
    let mut plan = Plan::default();
    let mut packaged = false;
    for one in found {
        let Found { script, trial, kept, .. } = one;
        if matches!(one.entry, Entry::Ours(_)) && one.package == Package::Packaged {
            packaged = true;
            continue;
        }
        match &one.entry {
            Entry::Ours(from) if one.has_kept => {
                plan.acts.push(Act::Restore { at: script.clone(), kept: kept.clone(), from: from.clone() });
                if one.package == Package::Diverted {
                    plan.acts.push(Act::Undivert { at: script.clone(), kept: kept.clone() });
                }
            }
            Entry::Ours(from) => plan.acts.push(Act::Remove { at: script.clone(), from: from.clone() }),
            // Another one has come since: which one is the right one is not ours to say.
            Entry::Other if one.has_kept => {
                let why = format!("{} is not ours, so this is not what it replaced", script.display());
                return Err(unknown(kept, &why));
            }
            Entry::Absent if one.has_kept => return Err(unknown(kept, &format!("there is no {}", script.display()))),
            Entry::Other | Entry::Absent => {}
        }
        match &one.trial_entry {
            Entry::Ours(from) => {
                plan.acts.push(Act::Remove { at: trial.clone(), from: from.clone() });
                let name = trial.file_name().unwrap_or_default().to_string_lossy();
                plan.notes.push(format!(
                    "guests that were started with script={name}, and an xl.conf that names it, still look for it: \
                     detaching their vifs then says that it is missing"
                ));
            }
            Entry::Other => return Err(unknown(trial, "it is not a link to a program of ours")),
            Entry::Absent => {}
        }
    }
    if packaged && plan.acts.is_empty() {
        return Err(Error::new(ErrorKind::NothingToUndo, "the scripts are those of a package")
            .with_hint("remove the package that diverts them (dpkg-divert --list): Xen's own scripts are back then"));
    }
    if plan.acts.is_empty() {
        return Err(Error::new(ErrorKind::NothingToUndo, "none of the scripts is ours")
            .with_hint("is it the right directory (--dir)?"));
    }
    Ok(plan)
}

impl Plan {
    fn turn(&mut self, at: &Path, from: &Path, to: &Path) {
        if from != to {
            self.acts.push(Act::Turn { at: at.to_owned(), from: from.to_owned(), to: to.to_owned() });
        }
    }

    fn divert(&mut self, one: &Found) {
        self.acts.push(Act::Divert { at: one.script.clone(), kept: one.kept.clone() });
    }
}

/// What was found is nothing that we have made.
fn unknown(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("{} is in the way: {why}", path.display()))
        .with_object(path.display().to_string())
        .as_before("unchanged")
        .with_hint("look at it, and move it away or put it back by hand")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entry: Entry, trial_entry: Entry, has_kept: bool, package: Package) -> [Found; 1] {
        let [script, trial, kept] = names(Path::new("/s"), "vif-bridge");
        [Found { script, entry, trial, trial_entry, kept, has_kept, package }]
    }

    fn ours(path: &str) -> Entry {
        Entry::Ours(path.into())
    }

    fn words(plan: &Plan) -> Vec<String> {
        plan.acts.iter().map(Act::to_string).collect()
    }

    const NEW: &str = "/b/xennet";

    #[test]
    fn every_state_of_the_directory_has_one_plan() {
        use Entry::{Absent, Other};
        use Package::{Diverted, Owned, Packaged, Unknown};
        let put = "/s/xennet-vif-bridge is installed, a link to /b/xennet";
        let turned = "/s/xennet-vif-bridge is a link to /b/xennet now";
        let keep = "/s/vif-bridge is kept as /s/vif-bridge.distrib and replaced, by a link to /b/xennet";
        let divert = "/s/vif-bridge is diverted to /s/vif-bridge.distrib for packages";
        let cases: Vec<([Found; 1], Others, Vec<&str>)> = vec![
            (found(Other, Absent, false, Owned), Others::Leave, vec![put]),
            (found(Other, Absent, true, Unknown), Others::Leave, vec![put]),
            (
                found(Absent, Absent, false, Unknown),
                Others::Leave,
                vec![put, "/s/vif-bridge is installed, a link to /b/xennet"],
            ),
            (found(Other, Absent, false, Unknown), Others::Replace, vec![put, keep]),
            (found(Other, ours(NEW), false, Owned), Others::Replace, vec![divert, keep]),
            (found(Other, ours("/old/xennet"), false, Unknown), Others::Replace, vec![turned, keep]),
            (found(ours(NEW), ours(NEW), true, Diverted), Others::Replace, vec![]),
            (found(ours(NEW), ours(NEW), true, Packaged), Others::Replace, vec![]),
            (found(ours(NEW), ours(NEW), true, Owned), Others::Leave, vec![divert]),
            (
                found(ours("/old/xennet"), Absent, true, Unknown),
                Others::Leave,
                vec![put, "/s/vif-bridge is a link to /b/xennet now"],
            ),
        ];
        for (found, others, wanted) in cases {
            let plan = install(&found, Path::new(NEW), others).unwrap();
            assert_eq!(words(&plan), wanted, "{found:?}");
        }
        for (found, others) in [
            (found(Other, Absent, true, Unknown), Others::Replace),
            (found(Absent, Absent, true, Unknown), Others::Leave),
            (found(Other, Other, false, Unknown), Others::Leave),
            (found(Other, Absent, false, Diverted), Others::Replace),
            (found(Other, Absent, false, Packaged), Others::Replace),
        ] {
            let error = install(&found, Path::new(NEW), others).unwrap_err();
            assert!(error.kind() == ErrorKind::Conflict && error.hint().is_some(), "{found:?}");
        }
        // The links of a package stay until it is removed.
        let packaged = undo(&found(ours(NEW), ours(NEW), true, Packaged)).unwrap_err();
        assert_eq!(packaged.kind(), ErrorKind::NothingToUndo);
    }

    #[test]
    fn undoing_takes_what_is_ours_and_refuses_what_is_not_known() {
        use Entry::{Absent, Other};
        use Package::{Diverted, Unknown};
        let restored = "/s/vif-bridge is as before, from /s/vif-bridge.distrib";
        let (trial, script) = ("/s/xennet-vif-bridge is removed", "/s/vif-bridge is removed");
        let undiverted = "/s/vif-bridge is no longer diverted for packages";
        for (found, wanted) in [
            (found(ours(NEW), ours(NEW), true, Diverted), vec![restored, undiverted, trial]),
            (found(ours(NEW), ours(NEW), false, Unknown), vec![script, trial]),
            (found(Other, ours(NEW), false, Diverted), vec![trial]),
            (found(ours("/old/xennet"), Absent, true, Unknown), vec![restored]),
        ] {
            assert_eq!(words(&undo(&found).unwrap()), wanted);
        }
        for (found, kind) in [
            (found(Other, ours(NEW), true, Unknown), ErrorKind::Conflict),
            (found(Absent, ours(NEW), true, Unknown), ErrorKind::Conflict),
            (found(ours(NEW), Other, true, Unknown), ErrorKind::Conflict),
            (found(Other, Absent, false, Unknown), ErrorKind::NothingToUndo),
            (found(Absent, Absent, false, Unknown), ErrorKind::NothingToUndo),
        ] {
            assert_eq!(undo(&found).unwrap_err().kind(), kind, "{found:?}");
        }
    }

    #[test]
    fn the_inverse_of_an_inverse_is_the_act() {
        let [at, from, kept] = names(Path::new("/s"), "vif-bridge");
        let to = PathBuf::from(NEW);
        for act in [
            Act::Put { at: at.clone(), to: to.clone() },
            Act::Turn { at: at.clone(), from: from.clone(), to: to.clone() },
            Act::Keep { at: at.clone(), kept: kept.clone(), to },
            Act::Divert { at, kept },
        ] {
            assert_eq!(act.inverse().inverse(), act);
            assert_ne!(act.inverse(), act);
        }
    }
}
