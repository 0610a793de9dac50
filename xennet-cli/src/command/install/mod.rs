//! `install-scripts`: the hotplug scripts among Xen's own.

mod apply;
mod plan;

use std::path::{Path, PathBuf};
use std::time::Duration;

use xennet_core::document::Installed;
use xennet_core::hotplug::hooks::Hooks;
use xennet_core::{Error, ErrorKind, Result};

use crate::cli::InstallArgs;
use crate::output::Output;
use plan::{Act, Entry, Others, Plan};

/// Where libxl looks for a script that is given without a directory.
const XEN_DIR: &str = "/etc/xen/scripts";
/// Where the hooks are below it.
const HOOKS: &str = "vif-post.d";

/// The error of a command that the sandbox does not keep from the real files.
pub(super) fn not_in_the_sandbox() -> Error {
    Error::new(ErrorKind::Invalid, "the sandbox is a network of its own, but has the files of this system")
        .with_object("--sandbox")
        .with_hint("leave --sandbox out, and try it on a copy of the scripts (--dir)")
}

pub(super) fn run(args: &InstallArgs, output: &mut Output) -> Result<()> {
    let dir = std::path::absolute(&args.dir).unwrap_or_else(|_| args.dir.clone());
    let found = apply::look(&dir)?;
    let (binary, plan) = if args.undo {
        (None, plan::undo(&found)?)
    } else {
        let binary = apply::binary(args.binary.as_deref())?;
        let others = if args.force { Others::Replace } else { Others::Leave };
        let mut plan = plan::install(&found, &binary, others)?;
        plan.notes.extend(apply::remark(&binary));
        plan.notes.extend(hooks(&dir));
        (Some(binary), plan)
    };
    apply::perform(&plan.acts)?;
    if !output.is_json() {
        plan.notes.iter().for_each(|note| output.note(note));
    }
    let others_left = !args.force && found.iter().any(|one| one.entry == Entry::Other);
    output.answer(
        || done(&plan) + &if args.undo { String::new() } else { usage(&dir, others_left) },
        || document(&dir, binary.as_ref(), &plan),
    )
}

/// What is to be known about the hooks that are there, which were written for Xen's scripts perhaps.
fn hooks(scripts: &Path) -> Vec<String> {
    let dir = scripts.join(HOOKS);
    let hooks = Hooks::new(&dir, "online", &[], Duration::ZERO);
    match hooks.lacking() {
        Ok(lacking) => lacking
            .iter()
            .map(|(hook, functions)| {
                format!(
                    "the hook {} calls {}, which only Xen's script has: where it is called, the hook fails, and with it the call; \
                     change it, or chmod a-x {0}",
                    hook.display(),
                    functions.join(", ")
                )
            })
            .collect(),
        Err(e) => vec![format!("{e}: every call fails until that is changed{}", hint(&e))],
    }
}

fn hint(e: &Error) -> String {
    e.hint().map(|hint| format!("; {hint}")).unwrap_or_default()
}

fn document(dir: &Path, binary: Option<&PathBuf>, plan: &Plan) -> Installed {
    let binary = binary.map(|binary| binary.display().to_string());
    let mut document = Installed::new(dir.display().to_string(), binary, script(dir));
    document.acts = plan.acts.iter().map(Act::document).collect();
    document.notes = plan.notes.clone();
    document
}

/// How a vif names the trial script.
fn script(dir: &Path) -> String {
    let name = format!("{}-vif-bridge", plan::PROGRAM);
    // Elsewhere libxl finds it by its whole path alone.
    if dir == Path::new(XEN_DIR) { name } else { dir.join(name).display().to_string() }
}

/// What was done, an act a line.
fn done(plan: &Plan) -> String {
    if plan.acts.is_empty() {
        return "everything is installed already\n".to_owned();
    }
    plan.acts.iter().map(|act| format!("{act}\n")).collect()
}

/// What can be done with it: on one guest, on all of them, and where that is still open in the place of Xen's own.
fn usage(dir: &Path, others_left: bool) -> String {
    let script = script(dir);
    let mut text = format!(
        "\nto try it on one guest, in its config:\n    vif = [ \"bridge=xenbr0,script={script}\" ]\n\
         for all guests, in /etc/xen/xl.conf:\n    vif.default.script=\"{script}\"\n"
    );
    if others_left {
        let dir = if dir == Path::new(XEN_DIR) { String::new() } else { format!(" --dir {}", dir.display()) };
        text.push_str(&format!("or in the place of Xen's own:\n    xennet install-scripts{dir} --force\n"));
    }
    text
}
