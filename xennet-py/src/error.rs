//! The library's errors as Python exceptions.

use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use xennet_core::{Error, ErrorKind};

use crate::convert::to_python;

/// Every kind as `(code, name, kind, meaning)`: what `xennet.errors` makes its classes from.
pub(crate) fn kinds(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let kinds = ErrorKind::ALL.iter().map(|k| (k.number(), k.name(), k.slug(), k.meaning()));
    PyTuple::new(py, kinds.collect::<Vec<_>>())
}

/// The exception for an error: what Python sees is decided here and in `xennet/errors.py`, nowhere else.
pub(crate) fn raised(error: &Error) -> PyErr {
    Python::attach(|py| exception(py, error).unwrap_or_else(|failure| failure))
}

/// What the library's hints are called in Python.
const WORDS: &[(&str, &str)] =
    &[("by force", "with force=True"), ("another state directory", "another state directory (state_dir)")];

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let error = &error.clone().with_words(WORDS);
    let errors = py.import("xennet.errors")?;
    let class = errors.getattr(error.kind().name())?.cast_into::<PyType>()?;
    let fields = to_python(py, error)?;
    let value = class.call_method1("_made", (error.to_string(), error.report(), fields))?;
    Ok(PyErr::from_value(value))
}

/// `?` for results of the library.
pub(crate) trait OrRaise<T> {
    fn or_raise(self) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T, Error> {
    fn or_raise(self) -> PyResult<T> {
        self.map_err(|e| raised(&e))
    }
}
