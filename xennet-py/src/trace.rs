//! What happens to a packet on a recorded host, for Python.

use pyo3::prelude::*;
use xennet_core::Error;
use xennet_core::recording::Recording;
use xennet_core::trace::{Question, Traffic};

use crate::convert::{Digits, Text};
use crate::doctor::{parsed, read};
use crate::error::OrRaise;

/// What happens to a packet on a recorded host, hop by hop, and to its answer: `{"version": 1, "verdict": "delivered", "where": None, "why":
/// ..., "source_seen": ..., "hops": [...]}`. Nothing is sent, and nothing on this host is read.
///
/// `recording` is what `Host.record` gives, or the text of a file of `xennet record`. `source` and `target` are a domain's name, a domain id,
/// a vif ("vif5.0"), "dom0", "outside" or an IP address; `protocol` is "tcp", "udp" or "icmp". Raises `Conflict` for a question that has two
/// meanings on that host, and where a rule depends on a protocol or port that is not named; `LinkNotFound` for a domain or vif that is not there.
///
///     >>> import xennet
///     >>> host = xennet.Host.fake()
///     >>> _ = host.attach(5, "mac=00:16:3e:12:34:56,ip=192.0.2.5,bridge=xenbr0")
///     >>> xennet.trace(host.record(), "vif5.0", "dom0")["verdict"]
///     'delivered'
#[pyfunction]
#[pyo3(signature = (recording, source, target, /, protocol=None, port=None))]
pub(crate) fn trace<'py>(
    py: Python<'py>,
    recording: &Bound<'py, PyAny>,
    source: Text,
    target: Text,
    protocol: Option<Text>,
    port: Option<Digits>,
) -> PyResult<Bound<'py, PyAny>> {
    let recording = read(recording)?;
    let text = py.detach(|| document(&recording, &source, &target, protocol.as_deref(), port.as_ref())).or_raise()?;
    parsed(py, &text)
}

/// The answer as a JSON document.
pub(crate) fn document(
    recording: &Recording,
    source: &str,
    target: &str,
    protocol: Option<&str>,
    port: Option<&Digits>,
) -> Result<String, Error> {
    let question =
        Question::new(recording, source, target, Traffic::parse(protocol, port.map(|port| port.0.as_str()))?, None)?;
    Ok(xennet_core::trace::trace(recording, &question).to_json())
}
