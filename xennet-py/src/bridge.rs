//! `BridgeSpec`: what a bridge shall be.

use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::convert::{Digits, FromText, OrText, Text, call_text, hash_of, made_anew};
use crate::error::OrRaise;
use crate::vif::size;

/// What a bridge shall be. A None means: as it is, or as the kernel makes it.
///
///     >>> from xennet import BridgeSpec
///     >>> BridgeSpec(name="xenbr0", mtu=9000)
///     BridgeSpec(name='xenbr0', mtu=9000)
#[pyclass(frozen, eq, module = "xennet")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BridgeSpec(pub(crate) xennet_core::BridgeSpec);

impl FromText for BridgeSpec {
    const WANTED: &'static str = "a BridgeSpec or a bridge's name";
}

impl OrText<'_, BridgeSpec> {
    pub(crate) fn spec(&self) -> PyResult<xennet_core::BridgeSpec> {
        match self {
            OrText::Made(spec) => Ok(spec.get().0.clone()),
            OrText::Text(name) => Ok(xennet_core::BridgeSpec::new(name.parse().or_raise()?)),
        }
    }
}

#[pymethods]
impl BridgeSpec {
    #[new]
    #[pyo3(signature = (*, name, stp=false, forward_delay=None, mac=None, mtu=None, vlan_filtering=None))]
    fn new(
        name: Text,
        stp: bool,
        forward_delay: Option<Duration>,
        mac: Option<Text>,
        mtu: Option<Digits>,
        vlan_filtering: Option<bool>,
    ) -> PyResult<Self> {
        let mac: Option<xennet_core::MacAddr> = mac.map(|mac| mac.parse()).transpose().or_raise()?;
        let mtu = mtu.map(|m| size(&m)).transpose().or_raise()?;
        let spec = xennet_core::BridgeSpec::new(name.parse().or_raise()?).with_stp(stp).with_mtu(mtu);
        let spec = spec.with_vlan_filtering(vlan_filtering).with_mac(mac).or_raise()?;
        match forward_delay {
            Some(delay) => spec.with_forward_delay(delay).or_raise().map(BridgeSpec),
            None => Ok(BridgeSpec(spec)),
        }
    }

    /// What `copy.replace` calls (Python 3.13): as `replace`.
    #[pyo3(signature = (**changes))]
    fn __replace__<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        BridgeSpec::replace(slf, changes)
    }

    /// The same bridge with other values for these keywords.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        made_anew(&slf.get_type(), &slf.get().fields(slf.py())?, changes)
    }

    /// The bridge's name.
    #[getter]
    fn name(&self) -> String {
        self.0.name().to_string()
    }

    /// Spanning tree protocol.
    #[getter]
    fn stp(&self) -> bool {
        self.0.stp()
    }

    /// How long a new port listens before it forwards: at most 30 seconds, with spanning tree at least 2. Unless given it is 0,
    /// and 15 seconds with spanning tree.
    #[getter]
    fn forward_delay(&self) -> Duration {
        self.0.forward_delay()
    }

    /// The bridge's own address.
    #[getter]
    fn mac(&self) -> Option<String> {
        self.0.mac().map(|m| m.to_string())
    }

    /// The bridge's MTU in bytes; without one it follows its smallest port.
    #[getter]
    fn mtu(&self) -> Option<u32> {
        self.0.mtu().map(xennet_core::Mtu::get)
    }

    /// VLAN filtering.
    #[getter]
    fn vlan_filtering(&self) -> Option<bool> {
        self.0.vlan_filtering()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call_text("BridgeSpec", &self.fields(py)?)
    }

    fn __hash__(&self) -> u64 {
        hash_of(&format!("{:?}", self.0))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}

impl BridgeSpec {
    /// The keywords that make this spec again.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("name", self.name())?;
        if self.0.stp() {
            fields.set_item("stp", true)?;
        }
        if !self.0.has_usual_delay() {
            fields.set_item("forward_delay", self.0.forward_delay())?;
        }
        if let Some(mac) = self.mac() {
            fields.set_item("mac", mac)?;
        }
        if let Some(mtu) = self.mtu() {
            fields.set_item("mtu", mtu)?;
        }
        if let Some(vlan_filtering) = self.0.vlan_filtering() {
            fields.set_item("vlan_filtering", vlan_filtering)?;
        }
        Ok(fields)
    }
}
