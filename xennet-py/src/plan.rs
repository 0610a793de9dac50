//! Plans, their steps, and what was done.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};
use xennet_core::plan::ShownPlan;

use crate::convert::{FromText, OrText, call_text, hash_of, made_anew, texts, to_python};
use crate::error::OrRaise;

/// What a call would do. Nothing has happened yet.
///
/// `str(plan)` has one line for each step; `len(plan)` is 0, and the plan is false, if everything is as wanted already.
#[pyclass(frozen, eq, module = "xennet")]
#[derive(PartialEq)]
pub(crate) struct Plan(pub(crate) xennet_core::plan::Plan);

#[pymethods]
impl Plan {
    /// The steps in their order.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let steps = self.0.steps().iter().map(|planned| Step {
            sign: planned.step.sign().to_string(),
            text: planned.step.to_string(),
            why: planned.why.to_string(),
            effects: planned.effects.implied.iter().map(ToString::to_string).collect(),
        });
        PyTuple::new(py, steps.collect::<Vec<_>>())
    }

    /// What the reader should know besides.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.notes())
    }

    /// The plan as a dict: the document that the command and the C ABI have for it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }

    /// The same as JSON.
    fn to_json(&self) -> String {
        self.0.to_json()
    }

    /// The vif ("vif5.0"), bridge ("bridge-xenbr0") or network ("network-lan") that it is about: what `Host.undo` takes.
    #[getter]
    fn subject(&self) -> Option<String> {
        self.0.request().map(|request| request.subject().to_string())
    }

    fn __len__(&self) -> usize {
        self.0.steps().len()
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.steps(py)?.try_iter()
    }

    fn __bool__(&self) -> bool {
        !self.0.is_empty()
    }

    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self) -> String {
        format!("<xennet.Plan of {} steps>", self.0.steps().len())
    }

    fn __hash__(&self) -> u64 {
        hash_of(&self.0.to_string())
    }
}

impl FromText for Plan {
    const WANTED: &'static str = "a Plan or the JSON of one (a str)";
}

impl OrText<'_, Plan> {
    /// What it promised.
    pub(crate) fn shown(&self) -> PyResult<ShownPlan> {
        match self {
            OrText::Made(plan) => ShownPlan::try_from(&plan.get().0).or_raise(),
            OrText::Text(json) => ShownPlan::from_json(json).or_raise(),
        }
    }
}

/// One step of a plan.
#[pyclass(frozen, eq, hash, module = "xennet")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Step {
    /// "+" makes, "~" changes, "-" removes.
    #[pyo3(get)]
    sign: String,
    /// What it does.
    #[pyo3(get)]
    text: String,
    /// Why it is needed.
    #[pyo3(get)]
    why: String,
    effects: Vec<String>,
}

#[pymethods]
impl Step {
    #[new]
    #[pyo3(signature = (*, sign, text, why, effects=None))]
    fn new(sign: String, text: String, why: String, effects: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Step { sign, text, why, effects: texts("effects", effects)? })
    }

    /// What the kernel will do besides.
    #[getter]
    fn effects<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.effects)
    }

    /// The same with other values for these keywords.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        made_anew(&slf.get_type(), &slf.get().fields(slf.py())?, changes)
    }

    /// What `copy.replace` calls (Python 3.13): as `replace`.
    #[pyo3(signature = (**changes))]
    fn __replace__<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        Step::replace(slf, changes)
    }

    fn __str__(&self) -> String {
        format!("{} {}", self.sign, self.text)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call_text("Step", &self.fields(py)?)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}

impl Step {
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        for (key, value) in [("sign", &self.sign), ("text", &self.text), ("why", &self.why)] {
            fields.set_item(key, PyString::new(py, value))?;
        }
        if !self.effects.is_empty() {
            fields.set_item("effects", self.effects(py)?)?;
        }
        Ok(fields)
    }
}

/// What was done.
#[pyclass(frozen, eq, hash, module = "xennet")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Applied {
    /// How many steps were carried out; 0 if everything was as wanted already.
    #[pyo3(get)]
    steps: usize,
    notes: Vec<String>,
}

#[pymethods]
impl Applied {
    #[new]
    #[pyo3(signature = (*, steps, notes=None))]
    fn new(steps: usize, notes: Option<Bound<'_, PyAny>>) -> PyResult<Self> {
        Ok(Applied { steps, notes: texts("notes", notes)? })
    }

    /// What the caller should know besides, a sentence each.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.notes)
    }

    /// The same with other values for these keywords.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        made_anew(&slf.get_type(), &slf.get().fields(slf.py())?, changes)
    }

    /// What `copy.replace` calls (Python 3.13): as `replace`.
    #[pyo3(signature = (**changes))]
    fn __replace__<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        Applied::replace(slf, changes)
    }

    /// Whether anything was changed.
    fn __bool__(&self) -> bool {
        self.steps > 0
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call_text("Applied", &self.fields(py)?)
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}

impl Applied {
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("steps", self.steps)?;
        if !self.notes.is_empty() {
            fields.set_item("notes", self.notes(py)?)?;
        }
        Ok(fields)
    }
}

impl From<&xennet_core::exec::Applied> for Applied {
    fn from(applied: &xennet_core::exec::Applied) -> Self {
        Applied { steps: applied.steps, notes: applied.notes.clone() }
    }
}
