//! The face that libxl sees: the same program under the name of a vif script.
//!
//! This is the hot path. It is taken before the command line is looked at by anything else, it starts no other program (but
//! the administrator's hooks), and it ends without tidying up what the end of the process tidies up anyway.

use std::ffi::OsString;

use xennet_core::backend::netlink::close_in_background;
use xennet_core::hotplug::{self, script_of};

use crate::arena;
use crate::names::STATE_DIR;

/// The script's name, its arguments, and where it works, if the process was started as one: by its name, or as `xennet hotplug
/// SCRIPT`. Only the latter is a command, which the command's variable is for; who calls by name has the settings.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<(&str, &[OsString], Elsewhere)> {
    let (program, rest) = arguments.split_first()?;
    if let Some(script) = script_of(program) {
        return Some((script, rest, Elsewhere::default()));
    }
    match rest {
        [command, name, rest @ ..] if command == "hotplug" => {
            let state_dir = std::env::var_os(STATE_DIR).filter(|dir| !dir.is_empty()).map(Into::into);
            Some((script_of(name)?, rest, Elsewhere { state_dir }))
        }
        _ => None,
    }
}

/// Where a call works, if not as the settings say.
#[derive(Default)]
pub(crate) struct Elsewhere {
    pub(crate) state_dir: Option<std::path::PathBuf>,
}

/// Carries out one call. The exit status is 0 or 1, as that of the scripts.
pub(crate) fn main(script: &str, arguments: &[OsString], elsewhere: Elsewhere) -> ! {
    arena::begin();
    tell_defects(script, arguments);
    let answer = hotplug::carry_out(script, arguments, &|name| std::env::var_os(name), elsewhere.state_dir);
    // What is said here is what the user of the toolstack sees.
    for line in answer.lines(script) {
        eprintln!("{line}");
    }
    if answer.closes_slowly {
        // Where no copy can be had, this process waits itself.
        let _ = close_in_background();
    }
    // Without closing anything first: that is what would take time.
    std::process::exit(i32::from(answer.error.is_some()));
}

/// A defect of this program ends it like any other failure: told to the user, and in xenstore where somebody waits.
fn tell_defects(script: &str, arguments: &[OsString]) {
    let (script, arguments) = (script.to_owned(), arguments.to_vec());
    std::panic::set_hook(Box::new(move |panic| {
        let text = hotplug::defect(&panic.to_string());
        eprintln!("{script}: error: {text}");
        if let Err(e) = hotplug::tell_defect(&arguments, &|name| std::env::var_os(name), &text) {
            eprintln!("{script}: note: the reason could not be written to xenstore: {e}");
        }
        std::process::exit(1);
    }));
}
