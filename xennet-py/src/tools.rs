//! What works without a host: MAC addresses, advice, the files of old and of others, hotplug calls, and the guard of a start.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::fd::AsFd as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use pyo3::prelude::*;
use pyo3::types::PyDict;

use xennet_core::advise::{Question, Situation};
use xennet_core::config::Dialect;
use xennet_core::config::import::{self, File, Input};
use xennet_core::config::legacy::Generation;
use xennet_core::document::CheckedManagers;
use xennet_core::exec::StateDir;
use xennet_core::guest::Format;
use xennet_core::hotplug::{self, Caller, Defect};
use xennet_core::macgen::Scheme;
use xennet_core::managers::{self, Manager};
use xennet_core::picture::Form;
use xennet_core::{Errno, Error, Host, IfName, surroundings};

use crate::convert::{Digits, OrText, Text, texts, time_of, to_python};
use crate::error::{OrRaise, raised, raised_in};
use crate::plan::Plan;

/// The words of the library by the enums that Python has for them.
pub(crate) fn words(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
    let words = PyDict::new(py);
    words.set_item("Dialect", Dialect::ALL.iter().map(|d| d.name()).collect::<Vec<_>>())?;
    words.set_item("MacScheme", Scheme::ALL.iter().map(|s| s.name()).collect::<Vec<_>>())?;
    words.set_item("PictureForm", Form::ALL.iter().map(|f| f.name()).collect::<Vec<_>>())?;
    words.set_item("GuestFormat", Format::ALL.iter().map(|f| f.name()).collect::<Vec<_>>())?;
    words.set_item("Manager", Manager::ALL.iter().map(|m| m.name()).collect::<Vec<_>>())?;
    words.set_item("MacBinding", crate::opening::BINDINGS.to_vec())?;
    words.set_item("Question", Question::ALL.iter().map(|q| q.name()).collect::<Vec<_>>())?;
    Ok(words)
}

/// Makes a guest's address, from the system's generator or from `seed`.
#[pyfunction]
pub(crate) fn generate_mac(scheme: &str, seed: Option<Text>, devid: Digits) -> PyResult<String> {
    let scheme: Scheme = scheme.parse().or_raise()?;
    let devid = devid.0.parse().or_raise()?;
    Ok(scheme.generate(seed.as_deref(), devid, surroundings::entropy().or_raise()?).or_raise()?.to_string())
}

/// What the hints of advice are called in Python.
const ADVICE: &[(&str, &str)] = &[
    ("--addresses own", "addresses=\"own\""),
    ("say it: --", "give the keyword, with one of these answers: "),
    ("name one: --subnet ", "name one in subnets: "),
];

/// Which mode fits; `answers` are questions by their names, with their answers.
#[pyfunction]
pub(crate) fn advise<'py>(py: Python<'py>, answers: Vec<(String, String)>) -> PyResult<Bound<'py, PyAny>> {
    let mut situation = Situation::default();
    for (name, answer) in answers {
        let question: Question = name.parse().or_raise()?;
        situation.answer(question, &answer).map_err(|e| raised_in(&e, ADVICE))?;
    }
    let advice = xennet_core::advise::advise(&situation).map_err(|e| raised_in(&e, ADVICE))?;
    to_python(py, &advice)
}

/// What the notes and hints of an import are called in Python.
const FILES: &[(&str, &str)] =
    &[("name its file: --wrapper ", "give its path in wrappers: "), ("--uplink ", "uplink="), ("--xen ", "xen=")];

/// The networks of Xen up to 4.4; each file is its path and its text.
#[pyfunction]
pub(crate) fn import_xend<'py>(
    py: Python<'py>,
    config: Option<(String, Text)>,
    wrappers: Vec<(String, String)>,
    xen: Option<Text>,
    uplink: Option<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let uplink: Option<IfName> = uplink.map(|link| link.parse()).transpose().or_raise()?;
    let input = Input::default()
        .with_config(config.map(|(path, text)| File::new(path, text.to_owned())))
        .with_wrappers(wrappers.into_iter().map(|(path, text)| File::new(path, text)).collect())
        .with_generation(xen.map(|version| Generation::of_xen(&version)).transpose().or_raise()?)
        .with_uplink(uplink);
    let mut imported = import::import(&input).map_err(|e| raised_in(&e, FILES))?;
    for note in &mut imported.notes {
        for (phrase, word) in FILES {
            *note = note.replace(phrase, word);
        }
    }
    to_python(py, &imported)
}

/// The script that xend runs by this text of a config, if that is a wrapper: none of Xen's own.
#[pyfunction]
#[pyo3(signature = (text, /))]
pub(crate) fn wrapper_of(text: Text) -> PyResult<Option<String>> {
    import::wrapper_of(&text).or_raise()
}

/// What makes NetworkManager, systemd-networkd, udev and dhcpcd leave guests' links alone: for each its file, the text that belongs into it, and
/// the command that shows it. `links` are bridges, and vifs with a name of their own.
///
///     >>> import xennet
///     >>> [snippet["manager"] for snippet in xennet.snippets(["xenbr0"])]
///     ['networkmanager', 'networkd', 'udev', 'dhcpcd']
#[pyfunction]
#[pyo3(signature = (links=None))]
pub(crate) fn snippets<'py>(py: Python<'py>, links: Option<Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &managers::snippets(&names(links)?).or_raise()?)
}

/// Which of these programs run here, and which of them would take these links: `{"running": [...], "warnings": [...]}`. `root` is the root of
/// the system that is looked at.
#[pyfunction]
#[pyo3(signature = (links=None, *, root=None))]
pub(crate) fn managers_here<'py>(
    py: Python<'py>,
    links: Option<Bound<'py, PyAny>>,
    root: Option<PathBuf>,
) -> PyResult<Bound<'py, PyAny>> {
    let snippets = managers::snippets(&names(links)?).or_raise()?;
    let root = root.unwrap_or_else(|| PathBuf::from("/"));
    let (running, warnings) = py
        .detach(|| {
            let found = surroundings::managers(&root, &snippets)?;
            Ok::<_, Error>((managers::running(&found), managers::check(&snippets, &found)))
        })
        .or_raise()?;
    to_python(py, &CheckedManagers::new(&running, &warnings))
}

fn names(links: Option<Bound<'_, PyAny>>) -> PyResult<Vec<IfName>> {
    texts("links", links)?.iter().map(|link| link.parse().or_raise()).collect()
}

/// Carries out the call of a vif script: the record of it, and the error.
#[pyfunction]
pub(crate) fn run_hotplug<'py>(
    py: Python<'py>,
    script: String,
    arguments: Vec<OsString>,
    environment: BTreeMap<OsString, OsString>,
    state_dir: Option<PathBuf>,
) -> PyResult<(Bound<'py, PyAny>, Option<Py<PyAny>>)> {
    let variable = |name: &str| environment.get(std::ffi::OsStr::new(name)).cloned();
    let work = || {
        let mut answer = hotplug::carry_out(&script, &arguments, &variable, state_dir, Caller::GoesOn);
        // Its closing may take the kernel a while.
        drop(answer.host.take());
        answer
    };
    let caught = py.detach(|| {
        catch_unwind(AssertUnwindSafe(work)).map_err(|panic| Defect::tell_panic(&arguments, &variable, &*panic))
    });
    let answer = caught.map_err(Error::from).or_raise()?;
    let record = to_python(py, &answer.record)?;
    // A signal that came meanwhile: what came of the call is not lost.
    let signals = py.check_signals().inspect_err(|interrupt| match &answer.error {
        Some(e) => interrupt.set_cause(py, Some(raised(e))),
        // An exception of a class without attributes is raised as it is.
        None => drop(interrupt.value(py).setattr("result", &record)),
    });
    signals?;
    let error = answer.error.as_ref().map(|e| raised(e).into_value(py).into_any());
    Ok((record, error))
}

/// Is the guard of a network's start, in a process of its own: see the core's `Host::guard`. Standard input tells what became of the start, and on
/// standard output one line says that the guard is there, or why not.
#[pyfunction]
pub(crate) fn guard_start(
    py: Python<'_>,
    backend: String,
    state_dir: PathBuf,
    name: Text,
    within: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let (dir, within) = (StateDir::checked(state_dir).or_raise()?, time_of("within", within)?);
    let name: IfName = name.parse().or_raise()?;
    let open = || match backend.as_str() {
        "fake" => Host::fake_in(dir.clone()),
        _ => Ok(Host::netlink()?.with_state_dir(dir.clone())),
    };
    let (hears, says) = (std::io::stdin(), std::io::stdout());
    py.detach(|| Host::guard(&name, &dir, within, (hears.as_fd(), says.as_fd()), open)).or_raise()?;
    Ok(())
}

/// The exception for an error that Python's part has met, or another process has told as its document.
#[pyfunction]
#[pyo3(signature = (code, message, object, hint, errno=None))]
pub(crate) fn told_error(
    py: Python<'_>,
    code: u8,
    message: String,
    object: String,
    hint: String,
    errno: Option<i32>,
) -> Py<PyAny> {
    let kind = xennet_core::ErrorKind::from_number(code).unwrap_or(xennet_core::ErrorKind::Internal);
    let e = Error::new(kind, message).with_object(object).unchanged().with_hint(hint);
    let e = errno.into_iter().fold(e, |e, errno| e.with_errno(Errno(errno)));
    raised(&e).into_value(py).into_any()
}

/// A time in seconds; `name` is what it is called.
#[pyfunction]
pub(crate) fn seconds(name: &str, time: &Bound<'_, PyAny>) -> PyResult<f64> {
    Ok(time_of(name, time)?.as_secs_f64())
}

/// What a plan, or the JSON of one, is about.
#[pyfunction]
pub(crate) fn subject_of(plan: OrText<'_, Plan>) -> PyResult<String> {
    Ok(plan.shown()?.request().subject().to_string())
}
