//! Plans, their steps, and what was done.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyString, PyTuple};
use serde::Deserialize;
use xennet_core::plan::ShownPlan;
use xennet_core::{Error, ErrorKind};

use crate::convert::{FromText, OrText, call_text, hash_of, made_anew, texts, to_python};
use crate::doctor::parsed;
use crate::error::{OrRaise, raised};

/// What a call would do. Nothing has happened yet.
///
/// `str(plan)` has one line for each step; `len(plan)` is 0, and the plan is false, if everything is as wanted already. Plans are equal if their
/// documents are (`to_dict`). A plan can be pickled.
#[pyclass(frozen, eq, module = "xennet")]
pub(crate) struct Plan(Inner);

enum Inner {
    /// A host has made it.
    Made(Box<xennet_core::plan::Plan>),
    /// It was pickled.
    Kept(Box<Kept>),
}

struct Kept {
    json: String,
    text: String,
    document: Document,
    shown: ShownPlan,
}

/// What Python shows of a plan's document.
#[derive(Deserialize)]
struct Document {
    steps: Vec<Step>,
    notes: Vec<String>,
}

impl Plan {
    pub(crate) fn of(plan: xennet_core::plan::Plan) -> Self {
        Plan(Inner::Made(Box::new(plan)))
    }

    /// What it promised.
    fn shown(&self) -> PyResult<ShownPlan> {
        match &self.0 {
            Inner::Made(plan) => ShownPlan::try_from(&**plan).or_raise(),
            Inner::Kept(kept) => Ok(kept.shown.clone()),
        }
    }
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.to_json() == other.to_json()
    }
}

/// A plan that was pickled: its document, and its text.
#[pyfunction]
pub(crate) fn kept_plan(json: String, text: String) -> PyResult<Plan> {
    let shown = ShownPlan::from_json(&json).or_raise()?;
    let document = serde_json::from_str(&json).map_err(|e| {
        let e = Error::new(ErrorKind::Invalid, format!("the pickled plan is not understood: {e}")).with_object("plan");
        raised(&e.with_hint("make a new plan, and look at it"))
    })?;
    Ok(Plan(Inner::Kept(Box::new(Kept { json, text, document, shown }))))
}

#[pymethods]
impl Plan {
    /// The steps in their order.
    #[getter]
    fn steps<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.0 {
            Inner::Made(plan) => {
                let steps = plan.steps().iter().map(|planned| Step {
                    sign: planned.step.sign().to_string(),
                    text: planned.step.to_string(),
                    why: planned.why.to_string(),
                    effects: planned.effects.implied.iter().map(ToString::to_string).collect(),
                });
                PyTuple::new(py, steps.collect::<Vec<_>>())
            }
            Inner::Kept(kept) => PyTuple::new(py, kept.document.steps.clone()),
        }
    }

    /// What the reader should know besides.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        match &self.0 {
            Inner::Made(plan) => PyTuple::new(py, plan.notes()),
            Inner::Kept(kept) => PyTuple::new(py, &kept.document.notes),
        }
    }

    /// The plan as a dict: the document that the command and the C ABI have for it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match &self.0 {
            Inner::Made(plan) => to_python(py, plan),
            Inner::Kept(kept) => parsed(py, &kept.json),
        }
    }

    /// The same as JSON.
    fn to_json(&self) -> String {
        match &self.0 {
            Inner::Made(plan) => plan.to_json(),
            Inner::Kept(kept) => kept.json.clone(),
        }
    }

    /// The vif ("vif5.0"), bridge ("bridge-xenbr0") or network ("network-lan") that it is about: what `Host.undo` takes.
    #[getter]
    fn subject(&self) -> Option<String> {
        match &self.0 {
            Inner::Made(plan) => plan.request().map(|request| request.subject().to_string()),
            Inner::Kept(kept) => Some(kept.shown.subject().to_string()),
        }
    }

    fn __len__(&self) -> usize {
        match &self.0 {
            Inner::Made(plan) => plan.steps().len(),
            Inner::Kept(kept) => kept.document.steps.len(),
        }
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        self.steps(py)?.try_iter()
    }

    fn __bool__(&self) -> bool {
        self.__len__() > 0
    }

    fn __str__(&self) -> String {
        match &self.0 {
            Inner::Made(plan) => plan.to_string(),
            Inner::Kept(kept) => kept.text.clone(),
        }
    }

    fn __repr__(&self) -> String {
        let subject = self.subject().map_or_else(String::new, |subject| format!(" for {subject}"));
        match self.__len__() {
            0 => format!("<xennet.Plan{subject}: nothing to do>"),
            1 => format!("<xennet.Plan{subject}: 1 step>"),
            several => format!("<xennet.Plan{subject}: {several} steps>"),
        }
    }

    fn __hash__(&self) -> u64 {
        hash_of(&self.__str__())
    }

    /// A plan does not change: it is its own copy.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __deepcopy__<'py>(slf: Bound<'py, Self>, _memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }

    fn __reduce__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyAny>, (String, String))> {
        // Also of a plan that could not be read back: the caller is to hear of it now.
        self.shown()?;
        Ok((py.import("xennet._xennet")?.getattr("kept_plan")?, (self.to_json(), self.__str__())))
    }
}

impl FromText for Plan {
    const WANTED: &'static str = "a Plan or the JSON of one (a str)";
}

impl OrText<'_, Plan> {
    /// What it promised.
    pub(crate) fn shown(&self) -> PyResult<ShownPlan> {
        match self {
            OrText::Made(plan) => plan.get().shown(),
            OrText::Text(json) => ShownPlan::from_json(json).or_raise(),
        }
    }
}

/// One step of a plan.
#[pyclass(frozen, eq, hash, module = "xennet")]
#[derive(Clone, PartialEq, Eq, Hash, Deserialize)]
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
