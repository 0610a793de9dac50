//! The library's errors as Python exceptions.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyTuple};
use xennet_core::{Error, ErrorKind};

use crate::convert::to_python;

/// Every kind as `(code, name, kind, meaning)`: what `xennet.errors` makes its classes from.
pub(crate) fn kinds(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let kinds = ErrorKind::ALL.iter().map(|k| (k.number(), k.name(), k.slug(), k.meaning()));
    PyTuple::new(py, kinds.collect::<Vec<_>>())
}

/// The exception for an error: what Python sees is decided here and in `xennet/errors.py`, nowhere else.
pub(crate) fn raised(error: &Error) -> PyErr {
    made(error.clone())
}

fn made(error: Error) -> PyErr {
    Python::attach(|py| exception(py, error).unwrap_or_else(|failure| failure))
}

/// The same where hints have more words that Python has others for.
pub(crate) fn raised_in(error: &Error, words: &[(&str, &str)]) -> PyErr {
    raised(&error.clone().with_words(words))
}

/// What the library's hints are called in Python.
const WORDS: &[(&str, &str)] =
    &[("by force", "with force=True"), ("another state directory", "another state directory (state_dir)")];

fn exception(py: Python<'_>, error: Error) -> PyResult<PyErr> {
    let class = class_of(py, error.kind())?;
    let value = class.call1((error.to_string(),))?;
    value.setattr(intern!(py, "_details"), Py::new(py, ErrorDetails(error))?)?;
    Ok(PyErr::from_value(value))
}

/// The class of a kind, which stays the same as long as the interpreter is there.
fn class_of(py: Python<'_>, kind: ErrorKind) -> PyResult<Bound<'_, PyAny>> {
    static CLASSES: PyOnceLock<Py<PyDict>> = PyOnceLock::new();
    let classes = CLASSES.get_or_try_init(py, || {
        let classes = py.import("xennet.errors")?.getattr("BY_CODE")?.cast_into::<PyDict>()?;
        Ok::<_, PyErr>(classes.unbind())
    })?;
    match classes.bind(py).get_item(kind.number())? {
        Some(class) => Ok(class),
        None => py.import("xennet.errors")?.getattr("XennetError"),
    }
}

/// What an exception says besides its sentence. It is made of the library's error when somebody asks.
#[pyclass(frozen, module = "xennet._xennet")]
pub(crate) struct ErrorDetails(Error);

#[pymethods]
impl ErrorDetails {
    /// The parts of the error, and its long form as `_report`.
    fn expand<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let error = self.0.clone().with_words(WORDS);
        let fields = to_python(py, &error)?;
        fields.set_item("_report", error.report())?;
        Ok(fields)
    }
}

/// `?` for results of the library.
pub(crate) trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(made)
    }
}
