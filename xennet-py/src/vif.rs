//! `VifSpec`: what a vif shall be.

use std::collections::BTreeMap;

use pyo3::conversion::FromPyObjectOwned;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString, PyTuple, PyType};
use xennet_core::config::{Dialect, Parsed, parse_vif};
use xennet_core::{ColoKey, DevId, Error, ErrorKind, Mtu, VifParts};

use crate::convert::{Digits, FromText, OrText, Text, call_text, hash_of, kind, texts, to_python};
use crate::error::OrRaise;
use crate::parse::notes;

/// What a vif shall be: what one string of `vif = [ ... ]` says.
///
/// Every key of xl-network-configuration(5) is a keyword. None, an empty tuple and False mean that the key was not given.
/// Values are checked, and equal values are equal specs: `VifSpec(mac="00:16:3E:01:02:03")` has the mac
/// `"00:16:3e:01:02:03"`.
///
///     >>> from xennet import VifSpec
///     >>> vif = VifSpec.parse("mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6")
///     >>> vif
///     VifSpec(mac='00:16:3e:01:02:03', bridge='xenbr0', ip=('192.0.2.6',))
///     >>> str(vif.replace(bridge="br-dmz"))
///     'mac=00:16:3e:01:02:03,bridge=br-dmz,ip=192.0.2.6'
#[pyclass(frozen, eq, module = "xennet")]
#[derive(Clone)]
pub(crate) struct VifSpec(pub(crate) xennet_core::VifSpec, Vec<String>);

impl PartialEq for VifSpec {
    /// What was remarked when a line was read is no part of the value.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for VifSpec {}

impl FromText for VifSpec {
    const WANTED: &'static str = "a VifSpec or a vif line (a str)";
}

impl OrText<'_, VifSpec> {
    /// The spec, and what reading a line has remarked. Who has a spec has its remarks.
    pub(crate) fn spec(&self) -> PyResult<(xennet_core::VifSpec, Vec<String>)> {
        match self {
            OrText::Made(spec) => Ok((spec.get().0.clone(), Vec::new())),
            OrText::Text(line) => {
                let parsed = parse_vif(line, Dialect::Strict).or_raise()?;
                Ok((parsed.value, notes(&parsed.notes)))
            }
        }
    }
}

#[pymethods]
impl VifSpec {
    #[new]
    #[pyo3(signature = (*, devid=None, mac=None, bridge=None, gatewaydev=None, ip=None, script=None, vifname=None,
        r#type=None, model=None, backend=None, rate=None, mtu=None, vlan=None, trusted=None, isolated=false,
        forwarddev=None, colo=None, policy=None, log=None, macs=None, prefix=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python, one for each key of a vif line")]
    fn new(
        devid: Option<Bound<'_, PyAny>>,
        mac: Option<Bound<'_, PyAny>>,
        bridge: Option<Bound<'_, PyAny>>,
        gatewaydev: Option<Bound<'_, PyAny>>,
        ip: Option<Bound<'_, PyAny>>,
        script: Option<Bound<'_, PyAny>>,
        vifname: Option<Bound<'_, PyAny>>,
        r#type: Option<Bound<'_, PyAny>>,
        model: Option<Bound<'_, PyAny>>,
        backend: Option<Bound<'_, PyAny>>,
        rate: Option<Bound<'_, PyAny>>,
        mtu: Option<Bound<'_, PyAny>>,
        vlan: Option<Bound<'_, PyAny>>,
        trusted: Option<Bound<'_, PyAny>>,
        isolated: bool,
        forwarddev: Option<Bound<'_, PyAny>>,
        colo: Option<Bound<'_, PyAny>>,
        policy: Option<Bound<'_, PyAny>>,
        log: Option<Bound<'_, PyAny>>,
        macs: Option<Bound<'_, PyAny>>,
        prefix: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut parts = VifParts::default();
        parts.isolated = isolated;
        for (key, value) in [
            ("devid", devid),
            ("mac", mac),
            ("bridge", bridge),
            ("gatewaydev", gatewaydev),
            ("ip", ip),
            ("script", script),
            ("vifname", vifname),
            ("type", r#type),
            ("model", model),
            ("backend", backend),
            ("rate", rate),
            ("mtu", mtu),
            ("vlan", vlan),
            ("trusted", trusted),
            ("forwarddev", forwarddev),
            ("colo", colo),
            ("policy", policy),
            ("log", log),
            ("macs", macs),
            ("prefix", prefix),
        ] {
            if let Some(value) = value {
                set(&mut parts, key, &value)?;
            }
        }
        Ok(VifSpec(parts.try_into().or_raise()?, Vec::new()))
    }

    /// Reads a vif line: one string of `vif = [ ... ]`.
    ///
    /// `dialect` is "strict" (what xl would drop, guess or misread is an error), "xl" or "xm". What there is to remark is in
    /// `notes`. Raises `Invalid` with the place in the line.
    ///
    ///     >>> from xennet import VifSpec
    ///     >>> VifSpec.parse("bridge=xenbr0,accel=1").notes
    ///     ('accel has no effect (line 1, column 15: xl does not support it)',)
    #[classmethod]
    #[pyo3(signature = (line, /, *, dialect="strict"))]
    fn parse(_class: &Bound<'_, PyType>, line: Text, dialect: &str) -> PyResult<Self> {
        let dialect: Dialect = dialect.parse().or_raise()?;
        Ok(VifSpec::with_notes(parse_vif(&line, dialect).or_raise()?))
    }

    /// What `copy.replace` calls (Python 3.13): as `replace`.
    #[pyo3(signature = (**changes))]
    fn __replace__(&self, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        self.replace(changes)
    }

    /// The same vif with other values for these keys.
    #[pyo3(signature = (**changes))]
    fn replace(&self, changes: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let mut parts = self.0.clone().into_parts();
        for (key, value) in changes.into_iter().flatten() {
            set(&mut parts, &key.extract::<Text>()?, &value)?;
        }
        Ok(VifSpec(parts.try_into().or_raise()?, Vec::new()))
    }

    /// The vif as a dict with libxl's field names: the document that the command and the C ABI have for it.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.0)
    }

    /// What there was to remark when the line was read (`parse`), a sentence each: what has no effect, what xl would have swallowed.
    /// It is no part of the value: equal specs may have other notes, and `replace` and copies have none.
    #[getter]
    fn notes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.1)
    }

    /// The index in the domain.
    #[getter]
    fn devid(&self) -> Option<u16> {
        self.0.devid().map(DevId::get)
    }

    /// The guest's address, in lower case with colons.
    #[getter]
    fn mac(&self) -> Option<String> {
        shown(&self.0.mac())
    }

    /// The bridge in the backend domain.
    #[getter]
    fn bridge(&self) -> Option<String> {
        shown(&self.0.bridge())
    }

    /// The link whose address a routed vif borrows.
    #[getter]
    fn gatewaydev(&self) -> Option<String> {
        shown(&self.0.gatewaydev())
    }

    /// The guest's addresses or networks.
    #[getter]
    fn ip<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let text = self.0.ip_text();
        PyTuple::new(py, text.split_whitespace().collect::<Vec<_>>())
    }

    /// The hotplug script.
    #[getter]
    fn script(&self) -> Option<String> {
        shown(&self.0.script())
    }

    /// The name of the link in the backend domain.
    #[getter]
    fn vifname(&self) -> Option<String> {
        shown(&self.0.vifname())
    }

    /// "vif" or "ioemu".
    #[getter]
    fn r#type(&self) -> Option<String> {
        shown(&self.0.vif_type())
    }

    /// What the device model emulates.
    #[getter]
    fn model(&self) -> Option<String> {
        shown(&self.0.model())
    }

    /// The domain that holds the backend: its name, or the digits of its number.
    #[getter]
    fn backend(&self) -> Option<String> {
        shown(&self.0.backend())
    }

    /// How fast the guest may send, as a vif line has it: "10Mb/s@50ms".
    #[getter]
    fn rate(&self) -> Option<String> {
        shown(&self.0.rate())
    }

    /// The largest packet in bytes.
    #[getter]
    fn mtu(&self) -> Option<u32> {
        self.0.mtu().map(Mtu::get)
    }

    /// VLAN membership, as a vif line has it: "10p/20".
    #[getter]
    fn vlan(&self) -> Option<String> {
        shown(&self.0.vlan())
    }

    /// Whether the frontend may trust the backend.
    #[getter]
    fn trusted(&self) -> Option<bool> {
        self.0.trusted()
    }

    /// Whether the port may talk to ports that are not isolated only.
    #[getter]
    fn isolated(&self) -> bool {
        self.0.isolated()
    }

    /// How far what the guest sends is filtered: "off", "mac", "strict" or "disabled".
    #[getter]
    fn policy(&self) -> Option<String> {
        shown(&self.0.policy())
    }

    /// Where packets that the guest may not send are logged: "off", "kernel" or "nflog".
    #[getter]
    fn log(&self) -> Option<String> {
        shown(&self.0.log())
    }

    /// Further addresses of the guest's on the wire.
    #[getter]
    fn macs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.macs().iter().map(ToString::to_string))
    }

    /// Whole networks that the guest may send from, beside its addresses.
    #[getter]
    fn prefix<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.0.prefix().iter().map(ToString::to_string))
    }

    /// COLO's forwarding link.
    #[getter]
    fn forwarddev(&self) -> Option<String> {
        shown(&self.0.forwarddev())
    }

    /// The `colo_*` keys.
    #[getter]
    fn colo(&self) -> BTreeMap<&'static str, String> {
        self.0.colo().iter().map(|(key, value)| (key.name(), value.to_string())).collect()
    }

    /// The vif line.
    fn __str__(&self) -> String {
        self.0.to_string()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call_text("VifSpec", &self.fields(py)?)
    }

    fn __hash__(&self) -> u64 {
        hash_of(&self.0.to_string())
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}

impl VifSpec {
    /// What was read, with what there was to remark.
    pub(crate) fn with_notes(parsed: Parsed<xennet_core::VifSpec>) -> Self {
        VifSpec(parsed.value, notes(&parsed.notes))
    }

    /// The keywords that make this spec again.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        let put = |key: &str, value: Option<Bound<'py, PyAny>>| value.map_or(Ok(()), |v| fields.set_item(key, v));
        let text = |value: Option<String>| value.map(|v| PyString::new(py, &v).into_any());
        put("devid", self.devid().map(|n| n.into_pyobject(py)).transpose()?.map(Bound::into_any))?;
        put("mac", text(self.mac()))?;
        put("bridge", text(self.bridge()))?;
        put("gatewaydev", text(self.gatewaydev()))?;
        put("ip", (!self.0.ip().is_empty()).then(|| self.ip(py)).transpose()?.map(Bound::into_any))?;
        put("script", text(self.script()))?;
        put("vifname", text(self.vifname()))?;
        put("type", text(self.r#type()))?;
        put("model", text(self.model()))?;
        put("backend", text(self.backend()))?;
        put("rate", text(self.rate()))?;
        put("mtu", self.mtu().map(|n| n.into_pyobject(py)).transpose()?.map(Bound::into_any))?;
        put("vlan", text(self.vlan()))?;
        put("trusted", self.0.trusted().map(|t| t.into_pyobject(py).map(|t| t.to_owned().into_any())).transpose()?)?;
        put(
            "isolated",
            self.0.isolated().then(|| true.into_pyobject(py).map(|t| t.to_owned().into_any())).transpose()?,
        )?;
        put("forwarddev", text(self.forwarddev()))?;
        put(
            "colo",
            (!self.0.colo().is_empty()).then(|| self.colo().into_pyobject(py)).transpose()?.map(Bound::into_any),
        )?;
        put("policy", text(self.policy()))?;
        put("log", text(self.log()))?;
        put("macs", (!self.0.macs().is_empty()).then(|| self.macs(py)).transpose()?.map(Bound::into_any))?;
        put("prefix", (!self.0.prefix().is_empty()).then(|| self.prefix(py)).transpose()?.map(Bound::into_any))?;
        Ok(fields)
    }
}

/// Sets what a key says, or with None takes it away.
fn set(parts: &mut VifParts, key: &str, value: &Bound<'_, PyAny>) -> PyResult<()> {
    match key {
        "devid" => parts.devid = given::<Digits>(key, value)?.map(|d| d.0.parse::<DevId>()).transpose().or_raise()?,
        "mac" => parts.mac = parsed(key, value)?,
        "bridge" => parts.bridge = parsed(key, value)?,
        "gatewaydev" => parts.gatewaydev = parsed(key, value)?,
        "ip" => {
            let ip = texts(key, (!value.is_none()).then(|| value.clone()))?;
            parts.ip = match ip.is_empty() {
                true => Vec::new(),
                false => xennet_core::VifSpec::parse_ip(&ip.join(" ")).or_raise()?,
            };
        }
        "script" => parts.script = parsed(key, value)?,
        "vifname" => parts.vifname = parsed(key, value)?,
        "type" => parts.vif_type = parsed(key, value)?,
        "model" => parts.model = parsed(key, value)?,
        "backend" => parts.backend = parsed(key, value)?,
        "rate" => parts.rate = parsed(key, value)?,
        "mtu" => parts.mtu = given::<Digits>(key, value)?.map(|m| size(&m)).transpose().or_raise()?,
        "vlan" => parts.vlan = parsed(key, value)?,
        "trusted" => parts.trusted = truth(key, value)?,
        "isolated" => parts.isolated = truth(key, value)?.unwrap_or(false),
        "policy" => parts.policy = parsed(key, value)?,
        "log" => parts.log = parsed(key, value)?,
        "macs" => {
            let macs = texts(key, (!value.is_none()).then(|| value.clone()))?;
            parts.macs = match macs.is_empty() {
                true => Vec::new(),
                false => xennet_core::VifSpec::parse_macs(&macs.join(" ")).or_raise()?,
            };
        }
        "prefix" => {
            let prefix = texts(key, (!value.is_none()).then(|| value.clone()))?;
            parts.prefix = match prefix.is_empty() {
                true => Vec::new(),
                false => xennet_core::VifSpec::parse_prefix(&prefix.join(" ")).or_raise()?,
            };
        }
        "forwarddev" => parts.forwarddev = parsed(key, value)?,
        "colo" => {
            parts.colo.clear();
            for (key, value) in given::<BTreeMap<String, String>>(key, value)?.unwrap_or_default() {
                parts.colo.insert(ColoKey::try_from(key).or_raise()?, value.parse().or_raise()?);
            }
        }
        _ => return Err(PyTypeError::new_err(format!("VifSpec has no keyword {key}"))),
    }
    Ok(())
}

/// A value of a keyword, or None; a value of another type is refused by the keyword's name.
fn given<'py, T: FromPyObjectOwned<'py>>(key: &str, value: &Bound<'py, PyAny>) -> PyResult<Option<T>> {
    if value.is_none() {
        return Ok(None);
    }
    value.extract::<T>().map(Some).map_err(|e| {
        let e: PyErr = e.into();
        PyTypeError::new_err(format!("{key}: {}", e.value(value.py())))
    })
}

fn truth(key: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<bool>> {
    match value.cast::<PyBool>() {
        Ok(truth) => Ok(Some(truth.is_true())),
        Err(_) if value.is_none() => Ok(None),
        Err(_) => Err(PyTypeError::new_err(format!("{key}: True, False or None is needed, not {}", kind(value)))),
    }
}

fn parsed<T: std::str::FromStr<Err = Error>>(key: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<T>> {
    given::<Text>(key, value)?.map(|text| text.parse()).transpose().or_raise()
}

fn shown<T: ToString>(value: &Option<T>) -> Option<String> {
    value.as_ref().map(ToString::to_string)
}

pub(crate) fn size(digits: &Digits) -> Result<Mtu, Error> {
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message).with_object(digits.0.clone());
    match digits.0.parse() {
        Ok(bytes) => Mtu::new(bytes).map_err(|e| invalid(e.to_string())),
        Err(_) => Err(invalid(format!("an MTU is {} to {} bytes, not {}", Mtu::MIN, Mtu::MAX, digits.0))),
    }
}
