//! Plans as C sees them.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::{CString, c_char};

use xennet_core::Error;
use xennet_core::plan::ShownPlan;

use crate::boundary::{free, read};
use crate::cast::c_string;

/// What a call would do, owned by the caller. It never changes, and outlives the host that it was made for.
pub struct Plan {
    len: usize,
    text: CString,
    json: CString,
    shown: Result<ShownPlan, Error>,
}

impl Plan {
    pub(crate) fn new(plan: &xennet_core::plan::Plan) -> Self {
        Plan {
            shown: ShownPlan::try_from(plan),
            len: plan.steps().len(),
            text: c_string(&plan.to_string()),
            json: c_string(&plan.to_json()),
        }
    }
}

impl Plan {
    /// What it promised.
    pub(crate) fn shown(&self) -> Result<&ShownPlan, Error> {
        self.shown.as_ref().map_err(Clone::clone)
    }
}

/// How many steps there are; 0 if everything is as wanted already.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_plan_len(plan: Option<&Plan>) -> usize {
    read(plan, |plan| plan.len)
}

/// The plan for people: a line for each step, with its sign (+ new, ~ changed, - removed) and its reason, without a final
/// newline; "nothing to do" for an empty plan. It lives until `xennet_plan_free`.
///
/// \return NULL if `plan` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_plan_text(plan: Option<&Plan>) -> *const c_char {
    read(plan, |plan| plan.text.as_ptr())
}

/// The plan as a JSON document: `{"request": {}, "steps": [{"sign", "text", "why", "effects", "step"}], "notes": []}`, which
/// `xennet_host_apply_json` carries out. It lives until `xennet_plan_free`.
///
/// \return NULL if `plan` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_plan_json(plan: Option<&Plan>) -> *const c_char {
    read(plan, |plan| plan.json.as_ptr())
}

/// Frees a plan. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_plan_free(plan: Option<Box<Plan>>) {
    free(plan);
}
