//! A call as a process gets it: a script's name, arguments, environment. What the faces of hotplug share: the command under a script's name,
//! and `xennet_hotplug` of the C ABI.

use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::log::Sinks;
use super::run::{Answer, World};
use super::settings::{self, Settings};
use super::{begun, call, is_driver_domain, run, write_failure};
use crate::error::{Error, ErrorKind, panic_words};
use crate::exec::StateDir;
use crate::host::Host;
use crate::xenstore::{Client, Options, Store, StoreError};

/// The vif scripts of Xen that a program may stand in for, by their names.
pub const SCRIPTS: [&str; 3] = ["vif-bridge", "vif-nat", "vif-route"];

/// The script that a program stands in for by its own name or path: one of [`SCRIPTS`], also with `xennet-` before it. The name is given
/// as it stands there.
///
/// ```
/// use xennet_core::hotplug::script_of;
/// assert_eq!(script_of("/etc/xen/scripts/vif-nat".as_ref()), Some("vif-nat"));
/// assert_eq!(script_of("xennet-vif-bridge".as_ref()), Some("xennet-vif-bridge"));
/// assert_eq!(script_of("/usr/bin/xennet".as_ref()), None);
/// ```
pub fn script_of(program: &OsStr) -> Option<&str> {
    let name = Path::new(program).file_name()?.to_str()?;
    SCRIPTS.contains(&name.strip_prefix("xennet-").unwrap_or(name)).then_some(name)
}

/// What the caller of [`carry_out`] does next.
///
/// There are no others: a process ends or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// The process ends with this call, as a hotplug script does.
    Ends,
    /// The process goes on, as a toolstack does.
    GoesOn,
}

/// Looks up a variable of an environment; a program gives `&|name| std::env::var_os(name)`.
pub type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Carries out the call of a vif script on this host: on the kernel, with the xenstored that the environment or the usual places name, by the
/// settings of `hotplug.toml`, and with its logs.
///
/// `script` is one of [`SCRIPTS`]; `arguments` are those behind the program's name. `state_dir` overrides the state directory of the settings.
/// `caller` says whether the process ends with the call: then memory is left for its end to free.
///
/// Never fails by itself: what goes wrong is in the answer, in the logs, and where somebody waits for it, in xenstore. Nothing is printed:
/// [`Answer::lines`] has what belongs on standard error.
pub fn carry_out(
    script: &str,
    arguments: &[OsString],
    environment: &Environment<'_>,
    state_dir: Option<PathBuf>,
    caller: Caller,
) -> Answer {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut settings = Settings::load(&settings::file(environment));
    if let (Ok(settings), Some(dir)) = (&mut settings, state_dir) {
        settings.state_dir = dir;
    }
    let known = settings.clone().unwrap_or_default();
    let arguments: Vec<String> = arguments.iter().map(|a| a.to_string_lossy().into_owned()).collect();
    // A value that is no text is as wrong as any other that means nothing.
    let variable = |name: &str| environment(name).map(|v| v.to_string_lossy().into_owned());
    let read = call::read(arguments.iter().map(String::as_str), &variable);
    let mut store = |deadline: Duration| {
        let options = Options { deadline, ..Options::default() };
        Client::open(&options, environment).map(|client| Box::new(client) as Box<dyn Store>)
    };
    let mut host = || -> Result<Host, Error> {
        let host = Host::netlink()?.with_state_dir(StateDir::at(&known.state_dir));
        Ok(if caller == Caller::Ends { host.ending_soon() } else { host })
    };
    let sinks = Sinks::of(&known);
    // Before anything is waited for: a call that is killed has said that it began.
    let logged = begun(script, &read, now).map(|call| sinks.begin(&call)).unwrap_or_default();
    let mut driver_domain = || is_driver_domain(Path::new("/proc/xen"));
    let world = World { store: &mut store, host: &mut host, driver_domain: &mut driver_domain };
    let answer = run(script, read, settings, world, now);
    if let Some(record) = &answer.record {
        // A log that cannot be written is no reason for a guest to go without network, nor to trouble its owner.
        let _ = sinks.end(logged, record);
    }
    answer
}

/// How a call ended that met a defect of the library.
#[derive(Debug)]
#[non_exhaustive]
pub struct Defect {
    /// What it was, as it is in xenstore.
    pub text: String,
    /// Why it could not be written to xenstore.
    pub unwritten: Option<StoreError>,
}

impl From<Defect> for Error {
    /// An error for a caller that goes on.
    fn from(defect: Defect) -> Self {
        Error::new(ErrorKind::Internal, defect.text)
    }
}

impl Defect {
    /// Ends a call that met a defect, described by `words`. If the call is `online` or `add`, the text is written to xenstore: the toolstack
    /// waits for these only.
    pub fn tell(arguments: &[OsString], environment: &Environment<'_>, words: &str) -> Self {
        let text = format!("internal (1): a defect of xennet: {words}");
        let connects = arguments.iter().any(|a| a == "online" || a == "add");
        let written = match environment("XENBUS_PATH").filter(|_| connects) {
            Some(path) => Client::open(&Options::default(), environment).and_then(|mut store| {
                write_failure(&mut store, &path.to_string_lossy(), &text.replace(char::is_control, " "))
            }),
            None => Ok(()),
        };
        Defect { text, unwritten: written.err() }
    }

    /// The same for a panic that was caught (`std::panic::catch_unwind`).
    pub fn tell_panic(arguments: &[OsString], environment: &Environment<'_>, panic: &(dyn Any + Send)) -> Self {
        Defect::tell(arguments, environment, panic_words(panic))
    }

    /// The lines for standard error, each behind the script's name.
    pub fn lines(&self, script: &str) -> Vec<String> {
        let note = |e: &StoreError| format!("{script}: note: the reason could not be written to xenstore: {e}");
        let error = format!("{script}: error: {}", self.text);
        std::iter::once(error).chain(self.unwritten.iter().map(note)).collect()
    }
}

impl Answer {
    /// The lines for standard error, where the user of the toolstack sees them: the error with its report, and the notes, each behind the
    /// script's name.
    pub fn lines(&self, script: &str) -> Vec<String> {
        let error = self.error.iter().map(|e| format!("{script}: {}", e.report()));
        error.chain(self.notes.iter().map(|note| format!("{script}: note: {note}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_call_that_means_nothing_touches_nothing_and_one_without_a_verb_is_told() {
        let settings = std::env::temp_dir().join(format!("xennet-script-{}.toml", std::process::id()));
        std::fs::write(&settings, "log_file = \"\"\nsyslog = false\n").unwrap();
        let environment = |name: &str| (name == settings::FILE_VARIABLE).then(|| settings.clone().into_os_string());
        let state = std::env::temp_dir().join(format!("xennet-script-{}", std::process::id()));
        let call = |arguments: &[&str]| {
            let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
            carry_out("vif-bridge", &arguments, &environment, Some(state.clone()), Caller::GoesOn)
        };
        let nothing = call(&["online", "type_if=tap"]);
        assert!(nothing.error.is_none() && nothing.record.is_none() && nothing.lines("vif-bridge").is_empty());
        assert!(!state.exists(), "nothing was logged");
        let none = call(&[]);
        assert_eq!(none.error.as_ref().unwrap().kind(), ErrorKind::Invalid);
        assert!(none.lines("vif-bridge")[0].starts_with("vif-bridge: error: no verb was given\n"), "{none:?}");
        std::fs::remove_file(&settings).unwrap();
        std::fs::remove_dir_all(&state).unwrap();
    }

    #[test]
    fn a_defect_is_told_to_xenstore_only_where_somebody_waits() {
        let nowhere = |name: &str| (name != "XENBUS_PATH").then(|| OsString::from("/nonexistent"));
        let told = Defect::tell(&["online".into()], &nowhere, "odd");
        assert_eq!(told.text, "internal (1): a defect of xennet: odd");
        assert_eq!(told.lines("vif-bridge"), ["vif-bridge: error: internal (1): a defect of xennet: odd"]);
        let path =
            |name: &str| Some(OsString::from(if name == "XENBUS_PATH" { "backend/vif/5/0" } else { "/nonexistent" }));
        assert!(Defect::tell(&["offline".into()], &path, "odd").unwritten.is_none());
        let told = Defect::tell(&["online".into()], &path, "odd");
        assert!(told.unwritten.as_ref().is_some_and(|e| e.hint().is_some()), "{told:?}");
        let lines = told.lines("vif-bridge");
        assert!(
            lines.len() == 2 && lines[1].starts_with("vif-bridge: note: the reason could not be written"),
            "{lines:?}"
        );
    }
}
