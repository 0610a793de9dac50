//! The compiled part of the Python package `xennet`; `python/xennet/__init__.py` is the part that users see.
//!
//! Networking is decided in `xennet-core`, never here.

mod bridge;
mod convert;
mod doctor;
mod error;
mod events;
mod guest;
mod host;
mod machine;
mod network;
mod opening;
mod parse;
mod plan;
mod schema;
mod tools;
mod trace;
mod vif;
mod xenstore;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The compiled part of the package xennet.
#[pymodule(gil_used = false)]
fn _xennet(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_other_interpreters(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("KINDS", error::kinds(module.py())?)?;
    module.add_class::<vif::VifSpec>()?;
    module.add_class::<bridge::BridgeSpec>()?;
    module.add_class::<network::Network>()?;
    module.add("WORDS", tools::words(module.py())?)?;
    module.add_function(wrap_pyfunction!(parse::vif, module)?)?;
    module.add_function(wrap_pyfunction!(parse::vifs, module)?)?;
    module.add_function(wrap_pyfunction!(parse::vif_list, module)?)?;
    module.add_function(wrap_pyfunction!(parse::attach, module)?)?;
    module.add_function(wrap_pyfunction!(parse::rate, module)?)?;
    module.add_function(wrap_pyfunction!(parse::vlan, module)?)?;
    module.add_function(wrap_pyfunction!(parse::mac, module)?)?;
    module.add_function(wrap_pyfunction!(parse::xend_config, module)?)?;
    module.add_function(wrap_pyfunction!(parse::hotplug, module)?)?;
    module.add_function(wrap_pyfunction!(tools::generate_mac, module)?)?;
    module.add_function(wrap_pyfunction!(tools::advise, module)?)?;
    module.add_function(wrap_pyfunction!(tools::import_xend, module)?)?;
    module.add_function(wrap_pyfunction!(tools::wrapper_of, module)?)?;
    module.add_function(wrap_pyfunction!(tools::snippets, module)?)?;
    module.add_function(wrap_pyfunction!(tools::managers_here, module)?)?;
    module.add_function(wrap_pyfunction!(tools::run_hotplug, module)?)?;
    module.add_function(wrap_pyfunction!(tools::guard_start, module)?)?;
    module.add_function(wrap_pyfunction!(tools::told_error, module)?)?;
    module.add_function(wrap_pyfunction!(tools::seconds, module)?)?;
    module.add_function(wrap_pyfunction!(tools::subject_of, module)?)?;
    module.add_class::<error::ErrorDetails>()?;
    module.add_class::<events::KernelEvents>()?;
    module.add_class::<events::KernelLinkEvents>()?;
    module.add_class::<xenstore::StoreConnection>()?;
    module.add_class::<xenstore::StoreServer>()?;
    module.add_function(wrap_pyfunction!(network::parse_networks, module)?)?;
    module.add_function(wrap_pyfunction!(guest::guest_config, module)?)?;
    module.add_function(wrap_pyfunction!(doctor::doctor, module)?)?;
    module.add_function(wrap_pyfunction!(trace::trace, module)?)?;
    module.add_function(wrap_pyfunction!(schema::schema, module)?)?;
    module.add("CODES", doctor::codes(module.py())?)?;
    module.add_class::<plan::Plan>()?;
    module.add_function(wrap_pyfunction!(plan::kept_plan, module)?)?;
    module.add_class::<plan::Step>()?;
    module.add_class::<plan::Applied>()?;
    module.add_class::<host::Host>()
}

/// Refuses to be loaded in another interpreter than the process's first one: classes and caches of the module are there once in a process.
/// Python does that itself from 3.12 on.
fn refuse_other_interpreters(py: Python<'_>) -> PyResult<()> {
    if py.version_info() >= (3, 12) {
        return Ok(());
    }
    // Where there is no such module, nothing makes other interpreters but programs that embed Python.
    let Ok(interpreters) = py.import("_xxsubinterpreters") else { return Ok(()) };
    let (current, main) = (interpreters.call_method0("get_current")?, interpreters.call_method0("get_main")?);
    if current.eq(main)? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "xennet cannot be loaded in another interpreter than the first one of a process (subinterpreter)",
    ))
}
