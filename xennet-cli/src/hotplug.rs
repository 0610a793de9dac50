//! The face that libxl sees: the same program under the name of a vif script.
//!
//! This is the hot path. It is taken before the command line is looked at by anything else, it starts no other program (but
//! the administrator's hooks), and it ends without tidying up what the end of the process tidies up anyway.

use std::ffi::OsString;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use xennet_core::backend::netlink::close_in_background;
use xennet_core::exec::StateDir;
use xennet_core::hotplug::log::Sinks;
use xennet_core::hotplug::settings::{self, Settings};
use xennet_core::hotplug::{self, World, call};
use xennet_core::xenstore::{Client, Options, Store};
use xennet_core::{Error, Host, Result};

use crate::arena;
use crate::names::{SCRIPTS, STATE_DIR};

/// The name of a program, if it is one of a script: `vif-bridge`, or `xennet-vif-bridge` beside the original.
fn script(program: &OsString) -> Option<&str> {
    let name = Path::new(program).file_name()?.to_str()?;
    SCRIPTS.contains(&name.strip_prefix("xennet-").unwrap_or(name)).then_some(name)
}

/// The script's name, its arguments, and where it works, if the process was started as one: by its name, or as `xennet hotplug
/// SCRIPT`. Only the latter is a command, which the command's variable is for; who calls by name has the settings.
pub(crate) fn asked_for(arguments: &[OsString]) -> Option<(&str, &[OsString], Elsewhere)> {
    let (program, rest) = arguments.split_first()?;
    if let Some(script) = script(program) {
        return Some((script, rest, Elsewhere::default()));
    }
    match rest {
        [command, name, rest @ ..] if command == "hotplug" => {
            let state_dir = std::env::var_os(STATE_DIR).filter(|dir| !dir.is_empty()).map(Into::into);
            Some((script(name)?, rest, Elsewhere { state_dir }))
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
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut settings = Settings::load(&settings::file(|name| std::env::var_os(name)));
    if let (Ok(settings), Some(dir)) = (&mut settings, elsewhere.state_dir) {
        settings.state_dir = dir;
    }
    let known = settings.clone().unwrap_or_default();
    let arguments: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    // A value that is no text is as wrong as any other that means nothing.
    let environment = |name: &str| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned());
    let read = call::read(arguments.iter().map(String::as_str), &environment);
    let mut store = |deadline| {
        let options = Options { deadline, ..Options::default() };
        Client::open(&options, &|name| std::env::var_os(name)).map(|client| Box::new(client) as Box<dyn Store>)
    };
    let mut host = || -> Result<Host, Error> { Ok(Host::netlink()?.with_state_dir(StateDir::at(&known.state_dir))) };
    let sinks = Sinks::of(&known);
    // Before anything is waited for: a call that is killed has said that it began.
    let begun = hotplug::begun(script, &read, now).map(|call| sinks.begin(&call)).unwrap_or_default();
    let mut driver_domain = || hotplug::is_driver_domain(Path::new("/proc/xen"));
    let world = World { store: &mut store, host: &mut host, driver_domain: &mut driver_domain };
    let answer = hotplug::run(script, read, settings, world, now);
    if let Some(record) = &answer.record {
        // A log that cannot be written is no reason for a guest to go without network, nor to trouble its owner.
        let _ = sinks.end(begun, record);
    }
    // What is said here is what the user of the toolstack sees.
    if let Some(e) = &answer.error {
        eprintln!("{script}: {}", e.report());
    }
    for note in &answer.notes {
        eprintln!("{script}: note: {note}");
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
    let (script, connects) = (script.to_owned(), arguments.iter().any(|a| a == "online" || a == "add"));
    std::panic::set_hook(Box::new(move |panic| {
        let text = format!("internal (1): a defect of xennet: {panic}");
        eprintln!("{script}: error: {text}");
        if let (Some(path), true) = (std::env::var_os("XENBUS_PATH"), connects) {
            let path = path.to_string_lossy();
            let text = text.replace(char::is_control, " ");
            let told = Client::open(&Options::default(), &|name| std::env::var_os(name))
                .and_then(|mut store| hotplug::write_failure(&mut store, &path, &text));
            if let Err(e) = told {
                eprintln!("{script}: note: the reason could not be written to xenstore: {e}");
            }
        }
        std::process::exit(1);
    }));
}
