//! The guest's network configuration, for Python.

use pyo3::prelude::*;
use serde_json::{Value, json};
use xennet_core::guest::{Format, GuestConfig, GuestWish};
use xennet_core::{Error, ErrorKind, Started};

use crate::convert::{OrText, Text, texts, to_python};
use crate::error::{OrRaise, raised};
use crate::network::Network;
use crate::vif::VifSpec;

/// The network configuration of a guest in the format of its own system: `{"format": ..., "files": [{"path", "mode",
/// "text"}], "notes": [...], "config": {...}}`. Uses its arguments alone; nothing on the host is read.
///
/// `network` is the network that the vif is in; None for a bridge that belongs to no network. `prefix`, `gateway`, `dns` and `search` say what
/// the network's description does not, as of a LAN. `format` is "ifupdown", "netplan", "cloud-init-v1", "cloud-init-v2", "networkd",
/// "networkmanager", "kernel", "alpine", "freebsd" or "netsh". Raises `Unsupported` for what a format cannot say.
///
///     >>> import xennet
///     >>> told = xennet.guest_config("bridge=xenbr0,ip=192.168.0.6/24", format="kernel", gateway=["192.168.0.1"])
///     >>> told["files"][0]["text"]
///     'ip=192.168.0.6::192.168.0.1:255.255.255.0::eth0:off\n'
#[pyfunction]
#[pyo3(signature = (vif, *, format, network=None, prefix=None, gateway=None, no_gateway=false, dns=None, search=None, dhcp=false,
    interface=None))]
#[expect(clippy::too_many_arguments, reason = "keywords of Python")]
pub(crate) fn guest_config<'py>(
    py: Python<'py>,
    vif: OrText<'py, VifSpec>,
    format: &str,
    network: Option<&Bound<'py, Network>>,
    prefix: Option<Bound<'py, PyAny>>,
    gateway: Option<Bound<'py, PyAny>>,
    no_gateway: bool,
    dns: Option<Bound<'py, PyAny>>,
    search: Option<Bound<'py, PyAny>>,
    dhcp: bool,
    interface: Option<Text>,
) -> PyResult<Bound<'py, PyAny>> {
    let (spec, remarks) = vif.spec()?;
    let wish = wish([prefix, gateway, dns, search], no_gateway, dhcp, interface.as_deref())?;
    let network = network.map(|network| Started::new(network.get().core.clone()));
    let config = GuestConfig::new(&spec, network.as_ref(), &wish).or_raise()?;
    rendered(py, &config, remarks, format)
}

/// What the keywords say.
pub(crate) fn wish(
    lists: [Option<Bound<'_, PyAny>>; 4],
    no_gateway: bool,
    dhcp: bool,
    interface: Option<&str>,
) -> PyResult<GuestWish> {
    let mut document = json!({ "no_gateway": no_gateway, "dhcp": dhcp, "interface": interface });
    for (name, list) in ["prefix", "gateway", "dns", "search"].into_iter().zip(lists) {
        document[name] = Value::from(texts(name, list)?);
    }
    serde_json::from_value(document).map_err(|e| {
        raised(&Error::new(ErrorKind::Invalid, format!("the keyword arguments do not describe a guest: {e}")))
    })
}

pub(crate) fn rendered<'py>(
    py: Python<'py>,
    config: &GuestConfig,
    remarks: Vec<String>,
    format: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let rendered = format.parse::<Format>().and_then(|format| format.render(config)).or_raise()?;
    to_python(py, &rendered.with_remarks(remarks))
}
