//! The compiled part of the Python package `xennet`; `python/xennet/__init__.py` is the part that users see.
//!
//! Networking is decided in `xennet-core`, never here.

mod bridge;
mod convert;
mod doctor;
mod error;
mod guest;
mod host;
mod network;
mod plan;
mod trace;
mod vif;

use pyo3::prelude::*;

/// The compiled part of the package xennet.
#[pymodule(gil_used = false)]
fn _xennet(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add("KINDS", error::kinds(module.py())?)?;
    module.add_class::<vif::VifSpec>()?;
    module.add_class::<bridge::BridgeSpec>()?;
    module.add_class::<network::Network>()?;
    module.add_function(wrap_pyfunction!(vif::parse_to_document, module)?)?;
    module.add_function(wrap_pyfunction!(network::parse_networks, module)?)?;
    module.add_function(wrap_pyfunction!(guest::guest_config, module)?)?;
    module.add_function(wrap_pyfunction!(doctor::doctor, module)?)?;
    module.add_function(wrap_pyfunction!(trace::trace, module)?)?;
    module.add("CODES", doctor::codes(module.py())?)?;
    module.add_class::<plan::Plan>()?;
    module.add_class::<plan::Step>()?;
    module.add_class::<plan::Applied>()?;
    module.add_class::<host::Host>()
}
