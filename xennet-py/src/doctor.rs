//! What is wrong with a recorded host, for Python.

use pyo3::prelude::*;
use pyo3::types::PyString;
use serde_json::Value;
use xennet_core::doctor::{Code, document, examine};
use xennet_core::recording::Recording;
use xennet_core::{Error, ErrorKind};

use crate::convert::to_python;
use crate::error::{OrRaise, raised};

/// What is wrong with a recorded host, and what mends it: `{"version": 1, "findings": [...]}`, the worst finding first.
///
/// `recording` is what `Host.record` gives, or the text of a file of `xennet record`. Uses its arguments alone; nothing on this host is read.
/// Raises `Invalid` for what is no recording, or one of another version.
///
///     >>> import xennet
///     >>> recording = xennet.Host.fake().record()
///     >>> {finding["level"] for finding in xennet.doctor(recording)["findings"]}
///     {'note'}
#[pyfunction]
#[pyo3(signature = (recording, /))]
pub(crate) fn doctor<'py>(py: Python<'py>, recording: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let recording = read(recording)?;
    let text = py.detach(|| document(&examine(&recording)));
    parsed(py, &text)
}

/// A recording from a document or its text.
pub(crate) fn read(recording: &Bound<'_, PyAny>) -> PyResult<Recording> {
    match recording.cast::<PyString>() {
        Ok(text) => Recording::from_json(&text.to_cow()?).or_raise(),
        Err(_) => {
            let text = recording.py().import("json")?.call_method1("dumps", (recording,))?;
            Recording::from_json(&text.extract::<String>()?).or_raise()
        }
    }
}

/// The table of all kinds, as it stands in the document.
pub(crate) fn codes(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    // Not by Python's own module: it would be loaded with the package.
    let document: Value = serde_json::from_str(&Code::document())
        .map_err(|e| raised(&Error::new(ErrorKind::Internal, format!("the table of kinds cannot be read: {e}"))))?;
    to_python(py, &document["codes"])
}

pub(crate) fn parsed<'py>(py: Python<'py>, document: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (document,))
}
