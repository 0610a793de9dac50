//! The schemas of documents.

use pyo3::prelude::*;
use xennet_core::document::{self, Schemas};

use crate::convert::to_python;
use crate::error::OrRaise as _;

/// The JSON schema (draft 2020-12) of a document that the package gives or takes, with all that it refers to; without a name the list of all
/// documents. The command and the C ABI have the same documents.
///
///     >>> import xennet
///     >>> xennet.schema("show")["properties"]["version"]["const"]
///     1
///     >>> "plan" in [row["name"] for row in xennet.schema()["schemas"]]
///     True
#[pyfunction]
#[pyo3(signature = (name=None, /))]
pub(crate) fn schema<'py>(py: Python<'py>, name: Option<&str>) -> PyResult<Bound<'py, PyAny>> {
    match name {
        Some(name) => py.import("json")?.call_method1("loads", (document::schema(name).or_raise()?,)),
        None => to_python(py, &Schemas::all()),
    }
}
