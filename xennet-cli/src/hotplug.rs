//! The face that libxl sees: the same program under the name of a vif script.
//!
//! This is the hot path. It is taken before the command line is looked at by anything else, it starts no other program (but
//! the administrator's hooks), and it ends without tidying up what the end of the process tidies up anyway.

use std::ffi::OsString;
use std::path::PathBuf;

use xennet_core::backend::netlink::close_in_background;
use xennet_core::hotplug::{self, Caller, Defect, script_of};

use crate::arena;
use crate::names::STATE_DIR;

/// The script's name, its arguments and its state directory, if the process was started as a script: by a script's name, or as
/// `xennet hotplug SCRIPT`. Only the second has a state directory, that of the command's variable; otherwise that of the settings counts.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<(&str, &[OsString], Option<PathBuf>)> {
    let (program, rest) = arguments.split_first()?;
    if let Some(script) = script_of(program) {
        return Some((script, rest, None));
    }
    match rest {
        [command, name, rest @ ..] if command == "hotplug" => {
            let state_dir = std::env::var_os(STATE_DIR).filter(|dir| !dir.is_empty()).map(Into::into);
            Some((script_of(name)?, rest, state_dir))
        }
        _ => None,
    }
}

/// Carries out one call. The exit status is 0 or 1, as that of the scripts.
pub(crate) fn main(script: &str, arguments: &[OsString], state_dir: Option<PathBuf>) -> ! {
    arena::begin();
    tell_defects(script, arguments);
    let answer = hotplug::carry_out(script, arguments, &|name| std::env::var_os(name), state_dir, Caller::Ends);
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
        let defect = Defect::tell(&arguments, &|name| std::env::var_os(name), &panic.to_string());
        for line in defect.lines(&script) {
            eprintln!("{line}");
        }
        std::process::exit(1);
    }));
}
