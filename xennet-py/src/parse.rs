//! Parsers that give a document, as the command and the C ABI have it; and many vif lines at once.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};
use serde_json::json;
use xennet_core::Diagnostic;
use xennet_core::config::document::{self, Document};
use xennet_core::config::{Dialect, Parsed, parse_vif};
use xennet_core::document::ParsedVif;

use crate::convert::{Text, iterated, kind, texts, to_python};
use crate::error::{OrRaise, raised};
use crate::vif::VifSpec;

pub(crate) fn notes(found: &[Diagnostic]) -> Vec<String> {
    found.iter().map(ToString::to_string).collect()
}

/// The document and the notes, which stand beside it under names of their own.
fn with_notes<'py>(py: Python<'py>, name: &str, parsed: &Parsed<Document>) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &json!({ name: parsed.value, "notes": notes(&parsed.notes) }))
}

/// Reads a vif line, and gives what the command and the C ABI give for it: `{"version": 1, "nic": ..., "notes": [...]}`, the document of the vif with libxl's
/// field names, and what there is to remark.
///
/// In the dialect "xl" `nic` is what xl would hand to libxl, even where no vif can be so, which `VifSpec.parse` refuses.
///
///     >>> import xennet
///     >>> xennet.parse_vif("bridge=br0 ,foo=1", dialect="xl")["nic"]["bridge"]
///     'br0 '
#[pyfunction]
#[pyo3(name = "parse_vif", signature = (line, /, *, dialect="strict"))]
pub(crate) fn vif<'py>(py: Python<'py>, line: Text, dialect: &str) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &ParsedVif::of(&document::vif(&line, dialect.parse().or_raise()?).or_raise()?))
}

/// Reads the `vif` statements of an xl config file: `{"nics": [...], "notes": [...]}`. Raises `Invalid` with the line and column.
///
///     >>> import xennet
///     >>> xennet.parse_vif_list('vif = ["bridge=xenbr0", ""]')["nics"]
///     [{'bridge': 'xenbr0', 'devid': 0}, {'devid': 1}]
#[pyfunction]
#[pyo3(name = "parse_vif_list", signature = (text, /, *, dialect="strict"))]
pub(crate) fn vif_list<'py>(py: Python<'py>, text: Text, dialect: &str) -> PyResult<Bound<'py, PyAny>> {
    let parsed = document::vif_list(&text, dialect.parse().or_raise()?).or_raise()?;
    to_python(py, &{
        let mut document = serde_json::to_value(&parsed.value).unwrap_or_default();
        document["notes"] = notes(&parsed.notes).into();
        document
    })
}

/// Reads the arguments of `xl network-attach` behind the domain: `{"nic": ..., "notes": [...]}`.
///
///     >>> import xennet
///     >>> xennet.parse_attach(["bridge=xenbr0", "mtu=1400"])["nic"]["mtu"]
///     1400
#[pyfunction]
#[pyo3(name = "parse_attach", signature = (arguments, /, *, dialect="strict"))]
pub(crate) fn attach<'py>(py: Python<'py>, arguments: Bound<'py, PyAny>, dialect: &str) -> PyResult<Bound<'py, PyAny>> {
    let arguments = texts("arguments", Some(arguments))?;
    to_python(py, &ParsedVif::of(&document::attach(&arguments, dialect.parse().or_raise()?).or_raise()?))
}

/// Reads the value of `rate=`: `{"rate": {"bytes_per_interval", "interval_usecs", "backend_rate"}, "notes": [...]}`.
///
///     >>> import xennet
///     >>> xennet.parse_rate("10Mb/s")["rate"]["bytes_per_interval"]
///     62500
#[pyfunction]
#[pyo3(name = "parse_rate", signature = (text, /, *, dialect="strict"))]
pub(crate) fn rate<'py>(py: Python<'py>, text: Text, dialect: &str) -> PyResult<Bound<'py, PyAny>> {
    with_notes(py, "rate", &document::rate(&text, dialect.parse().or_raise()?).or_raise()?)
}

/// Reads the value of `vlan=`: `{"pvid", "tagged", "untagged", "text"}`.
///
///     >>> import xennet
///     >>> xennet.parse_vlan("10p/20")["tagged"]
///     [20]
#[pyfunction]
#[pyo3(name = "parse_vlan", signature = (text, /))]
pub(crate) fn vlan<'py>(py: Python<'py>, text: Text) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &document::vlan(&text).or_raise()?)
}

/// Reads the value of `mac=`: `{"mac": {"mac", "multicast", "local", "xen_oui"}, "notes": [...]}`.
///
///     >>> import xennet
///     >>> xennet.parse_mac("00:16:3E:01:02:03")["mac"]["mac"]
///     '00:16:3e:01:02:03'
#[pyfunction]
#[pyo3(name = "parse_mac", signature = (text, /, *, dialect="strict"))]
pub(crate) fn mac<'py>(py: Python<'py>, text: Text, dialect: &str) -> PyResult<Bound<'py, PyAny>> {
    with_notes(py, "mac", &document::mac(&text, dialect.parse().or_raise()?).or_raise()?)
}

/// Reads a `xend-config.sxp`: `{"config": {"network_argv", "vif_script"}, "notes": [...]}`.
///
///     >>> import xennet
///     >>> xennet.parse_xend_config("(vif-script vif-bridge)")["config"]["vif_script"]
///     'vif-bridge'
#[pyfunction]
#[pyo3(name = "parse_xend_config", signature = (text, /))]
pub(crate) fn xend_config<'py>(py: Python<'py>, text: Text) -> PyResult<Bound<'py, PyAny>> {
    with_notes(py, "config", &document::xend_config(&text).or_raise()?)
}

/// Reads a `hotplug.toml`: every key of it, those that it lacks with their defaults.
///
///     >>> import xennet
///     >>> xennet.parse_hotplug("bind_mac = true")["bind_mac"]
///     True
#[pyfunction]
#[pyo3(name = "parse_hotplug", signature = (text, /))]
pub(crate) fn hotplug<'py>(py: Python<'py>, text: Text) -> PyResult<Bound<'py, PyAny>> {
    to_python(py, &document::hotplug(&text).or_raise()?)
}

/// Reads many vif lines: one `VifSpec` each, in their order. Faster than `VifSpec.parse` in a loop.
///
/// `lines` are several texts, or one text of which each line is one. `errors` is "raise" (the first line that is wrong raises `Invalid`, with the
/// number of the line from 1 in its `object`) or "return" (the exception stands in the place of the spec).
///
///     >>> import xennet
///     >>> xennet.parse_vifs(["bridge=xenbr0", "bridge=xenbr1,mtu=1400"])[1].mtu
///     1400
#[pyfunction]
#[pyo3(name = "parse_vifs", signature = (lines, /, *, dialect="strict", errors="raise"))]
pub(crate) fn vifs<'py>(
    py: Python<'py>,
    lines: &Bound<'py, PyAny>,
    dialect: &str,
    errors: &str,
) -> PyResult<Bound<'py, PyList>> {
    let dialect: Dialect = dialect.parse().or_raise()?;
    let returns = match errors {
        "raise" => false,
        "return" => true,
        other => {
            return Err(PyValueError::new_err(format!("errors cannot be {other:?}: it is \"raise\" or \"return\"")));
        }
    };
    if let Ok(text) = lines.cast::<PyString>() {
        let text = Text::from_python(text)?;
        return specs(py, text.lines(), dialect, returns);
    }
    let items = match lines.cast::<PyList>() {
        Ok(list) => list.clone(),
        Err(_) => {
            let wrong = || PyTypeError::new_err(format!("lines are several texts, or one text, not {}", kind(lines)));
            PyList::new(py, iterated(lines, wrong)?.collect::<PyResult<Vec<_>>>()?)?
        }
    };
    // One text is brought over in a third of the time that many take.
    let joined = PyString::new(py, "\n").call_method1("join", (&items,));
    let joined = joined.map_err(|_| match items.iter().position(|item| !item.is_instance_of::<PyString>()) {
        Some(at) => {
            let what = items.get_item(at).map_or_else(|_| "this".to_owned(), |item| kind(&item));
            PyTypeError::new_err(format!("lines are texts, and the one at {at} is not, but {what}"))
        }
        None => PyTypeError::new_err("lines are texts that UTF-8 can say"),
    })?;
    let joined = joined.cast_into::<PyString>()?;
    let text = Text::from_python(&joined)
        .map_err(|_| PyTypeError::new_err("lines are texts that UTF-8 can say, and one has a lone surrogate"))?;
    if items.is_empty() {
        return Ok(PyList::empty(py));
    }
    let all: Vec<&str> = text.split('\n').collect();
    if all.len() == items.len() {
        return specs(py, all.into_iter(), dialect, returns);
    }
    // A line has a newline in it, which is for the parser to refuse.
    let all: Vec<String> = items.iter().map(|item| item.extract()).collect::<PyResult<_>>()?;
    specs(py, all.iter().map(String::as_str), dialect, returns)
}

fn specs<'py, 'a>(
    py: Python<'py>,
    lines: impl Iterator<Item = &'a str>,
    dialect: Dialect,
    returns: bool,
) -> PyResult<Bound<'py, PyList>> {
    let mut specs = Vec::with_capacity(lines.size_hint().0);
    for (at, line) in lines.enumerate() {
        specs.push(match parse_vif(line, dialect) {
            Ok(parsed) => Bound::new(py, VifSpec::with_notes(parsed))?.into_any(),
            Err(e) if returns => raised(&e).into_value(py).into_bound(py).into_any(),
            Err(e) => return Err(raised(&e.in_file(&format!("line {}", at + 1)))),
        });
    }
    PyList::new(py, specs)
}
