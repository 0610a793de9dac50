//! `Network`: one network of `networks.toml`.

use std::collections::BTreeMap;
use std::time::Duration;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyTuple, PyType};
use serde_json::{Map, Value};
use xennet_core::config::{document, networks};
use xennet_core::{IfName, NetworkMode};

use crate::convert::{Digits, Text, call_text, hash_of, kind, made_anew, texts, to_python, to_value};
use crate::error::OrRaise;

/// One network: what a table `[network.NAME]` of networks.toml says.
///
/// Every key of the file is a keyword, with the same meaning in the same modes ("bridge", "nat", "routed"); `forward_delay` is
/// a timedelta of whole seconds, `mtu` is in bytes. None, an empty tuple and False mean that the key was not given. Values are
/// checked by the rules of the file (`Invalid`), and equal networks are equal however they were written.
///
///     >>> from xennet import Network
///     >>> network = Network(name="private", mode="nat", subnets=["10.0.0.0/24"], dhcp=True)
///     >>> network
///     Network(name='private', mode='nat', subnets=('10.0.0.0/24',), dhcp=True)
///     >>> network.gateways
///     ('10.0.0.254',)
///     >>> print(network.replace(dhcp=False))
///     [network.private]
///     mode = "nat"
///     subnets = ["10.0.0.0/24"]
#[pyclass(frozen, eq, module = "xennet")]
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) core: xennet_core::Network,
    /// What the file says where it is not what is taken without.
    keys: Map<String, Value>,
}

/// What a forward's key can have.
enum Word {
    Text(String),
    Number(Digits),
}

impl<'py> FromPyObject<'_, 'py> for Word {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        match object.cast::<PyString>() {
            Ok(text) => Ok(Word::Text(Text::from_python(&text)?.to_owned())),
            Err(_) => object.extract().map(Word::Number).map_err(|_| {
                PyTypeError::new_err(format!("a text or a whole number is needed in forward, not {}", kind(&object)))
            }),
        }
    }
}

/// The keywords in their order.
const KEYWORDS: [&str; 31] = [
    "mode",
    "bridge",
    "uplink",
    "uplink_name",
    "stp",
    "forward_delay",
    "mac",
    "mtu",
    "vlan_filtering",
    "subnets",
    "gateways",
    "egress",
    "source",
    "proxy_arp",
    "proxy_ndp",
    "whole_subnets",
    "any_vif",
    "isolated",
    "host",
    "lan",
    "reserved",
    "policy",
    "log",
    "reachable_from",
    "accept_in",
    "metric",
    "dhcp",
    "dns",
    "range",
    "domain",
    "forward",
];

#[pymethods]
impl Network {
    #[new]
    #[pyo3(signature = (*, name, mode, bridge=None, uplink=None, uplink_name=None, stp=false, forward_delay=None, mac=None,
        mtu=None, vlan_filtering=None, subnets=None, gateways=None, egress=None, source=None, proxy_arp=false,
        proxy_ndp=false, whole_subnets=false, any_vif=false, isolated=false, reachable_from=None, metric=None, dhcp=false, dns=false,
        range=None, domain=None, forward=None, policy=None, log=None, accept_in=None, host=None, lan=None, reserved=None))]
    #[expect(
        clippy::too_many_arguments,
        clippy::fn_params_excessive_bools,
        reason = "keywords of Python, one for each key of a network"
    )]
    fn new(
        name: Text,
        mode: Text,
        bridge: Option<Text>,
        uplink: Option<Text>,
        uplink_name: Option<Text>,
        stp: bool,
        forward_delay: Option<Duration>,
        mac: Option<Text>,
        mtu: Option<Digits>,
        vlan_filtering: Option<bool>,
        subnets: Option<Bound<'_, PyAny>>,
        gateways: Option<Bound<'_, PyAny>>,
        egress: Option<Text>,
        source: Option<Bound<'_, PyAny>>,
        proxy_arp: bool,
        proxy_ndp: bool,
        whole_subnets: bool,
        any_vif: bool,
        isolated: bool,
        reachable_from: Option<Bound<'_, PyAny>>,
        metric: Option<Digits>,
        dhcp: bool,
        dns: bool,
        range: Option<Bound<'_, PyAny>>,
        domain: Option<Text>,
        forward: Option<Vec<BTreeMap<String, Word>>>,
        policy: Option<Text>,
        log: Option<Text>,
        accept_in: Option<Bound<'_, PyAny>>,
        host: Option<Text>,
        lan: Option<Text>,
        reserved: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let mut keys = Map::new();
        let mut put = |key: &str, value: Value| keys.insert(key.to_owned(), value);
        put("mode", (*mode).into());
        for (key, text) in [
            ("bridge", bridge),
            ("uplink", uplink),
            ("uplink_name", uplink_name),
            ("mac", mac),
            ("egress", egress),
            ("domain", domain),
            ("policy", policy),
            ("log", log),
            ("host", host),
            ("lan", lan),
        ] {
            put(key, text.as_deref().into());
        }
        for (key, on) in [
            ("stp", stp),
            ("proxy_arp", proxy_arp),
            ("proxy_ndp", proxy_ndp),
            ("whole_subnets", whole_subnets),
            ("any_vif", any_vif),
            ("isolated", isolated),
            ("dhcp", dhcp),
            ("dns", dns),
        ] {
            put(key, on.then_some(true).into());
        }
        put("vlan_filtering", vlan_filtering.into());
        put("forward_delay", forward_delay.map(seconds).into());
        put("mtu", mtu.map(number).into());
        put("metric", metric.map(number).into());
        for (key, list) in [
            ("subnets", subnets),
            ("gateways", gateways),
            ("source", source),
            ("reachable_from", reachable_from),
            ("accept_in", accept_in),
            ("reserved", reserved),
            ("range", range),
        ] {
            let list = texts(key, list)?;
            put(key, (!list.is_empty()).then_some(list).into());
        }
        let forwards = forward.unwrap_or_default().into_iter().map(|one| {
            let word = |word| match word {
                Word::Text(text) => Value::from(text),
                Word::Number(digits) => number(digits),
            };
            Value::Object(one.into_iter().map(|(key, value)| (key, word(value))).collect())
        });
        let forwards: Vec<Value> = forwards.collect();
        put("forward", (!forwards.is_empty()).then_some(forwards).into());
        Network::of(networks::from_keys(&name, &keys).or_raise()?)
    }

    /// Reads the JSON document of one network, as `to_json`, the command and the C ABI give it. Raises `Invalid`.
    #[classmethod]
    #[pyo3(signature = (document, /))]
    fn from_json(_class: &Bound<'_, PyType>, document: Text) -> PyResult<Self> {
        Network::of(document::read_network(&document).or_raise()?)
    }

    /// What `copy.replace` calls (Python 3.13): as `replace`.
    #[pyo3(signature = (**changes))]
    fn __replace__<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        Network::replace(slf, changes)
    }

    /// The same network with other values for these keywords.
    #[pyo3(signature = (**changes))]
    fn replace<'py>(slf: &Bound<'py, Self>, changes: Option<&Bound<'py, PyDict>>) -> PyResult<Bound<'py, PyAny>> {
        made_anew(&slf.get_type(), &slf.get().fields(slf.py())?, changes)
    }

    /// The network as a dict: the document that the command and the C ABI have for it, with what was left out filled in.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &self.core)
    }

    /// The same as JSON.
    fn to_json(&self) -> PyResult<String> {
        Ok(to_value(&self.core)?.to_string())
    }

    /// Its name, which stands in guests' vif lines: `bridge=NAME`.
    #[getter]
    fn name(&self) -> String {
        self.core.name().to_string()
    }

    /// "bridge", "nat" or "routed".
    #[getter]
    fn mode(&self) -> &str {
        self.core.mode_name()
    }

    /// The name of its bridge; in mode "bridge" the network's name unless given; None if guests have a link of their own each.
    #[getter]
    fn bridge(&self) -> Option<String> {
        self.core.bridge().map(|b| b.name().to_string())
    }

    /// The link towards the outside that becomes a port of the bridge, or through which is routed. None: guests among
    /// themselves, or where the default route points.
    #[getter]
    fn uplink(&self) -> Option<&str> {
        self.text("uplink")
    }

    /// What the uplink is called while the network is started; None: as before.
    #[getter]
    fn uplink_name(&self) -> Option<&str> {
        self.text("uplink_name")
    }

    /// Spanning tree protocol on the bridge.
    #[getter]
    fn stp(&self) -> bool {
        self.flag("stp")
    }

    /// How long a new port of the bridge listens before it forwards; None without a bridge.
    #[getter]
    fn forward_delay(&self) -> Option<Duration> {
        self.core.bridge().map(|b| b.forward_delay())
    }

    /// The bridge's address; None: the uplink's, or this machine's own.
    #[getter]
    fn mac(&self) -> Option<&str> {
        self.text("mac")
    }

    /// The MTU in bytes, of the bridge or of guests' vifs.
    #[getter]
    fn mtu(&self) -> Option<u64> {
        self.keys.get("mtu").and_then(Value::as_u64)
    }

    /// VLAN filtering on the bridge, for `vlan=` in vif lines.
    #[getter]
    fn vlan_filtering(&self) -> Option<bool> {
        self.keys.get("vlan_filtering").and_then(Value::as_bool)
    }

    /// What guests' addresses are from: "10.0.0.0/24".
    #[getter]
    fn subnets<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core.subnets().iter().map(|s| s.network().to_string()).collect::<Vec<_>>())
    }

    /// This domain's address in each of the subnets, in their order.
    #[getter]
    fn gateways<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.core.subnets().iter().map(|s| s.gateway().to_string()).collect::<Vec<_>>())
    }

    /// The link NAT leaves through; None: where the default route points.
    #[getter]
    fn egress(&self) -> Option<&str> {
        self.text("egress")
    }

    /// This domain's addresses on guests' links in mode "routed", one a family; the uplink's first ones where not given.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "source")
    }

    /// Whether this domain answers ARP on the uplink for guests.
    #[getter]
    fn proxy_arp(&self) -> bool {
        self.flag("proxy_arp")
    }

    /// Whether this domain answers neighbour solicitations on the uplink for guests.
    #[getter]
    fn proxy_ndp(&self) -> bool {
        self.flag("proxy_ndp")
    }

    /// Whether guests may have every address of the IPv4 subnets; this domain has none of them then, whatever `gateways` says.
    #[getter]
    fn whole_subnets(&self) -> bool {
        self.flag("whole_subnets")
    }

    /// Whether a guest may send by each of its vifs from any address of the subnets.
    #[getter]
    fn any_vif(&self) -> bool {
        self.flag("any_vif")
    }

    /// Whether guests are kept from each other.
    #[getter]
    fn isolated(&self) -> bool {
        self.flag("isolated")
    }

    /// How far guests on a bridge are filtered whose vif lines do not say it: "off", "mac", "strict" or "disabled".
    #[getter]
    fn policy(&self) -> Option<&str> {
        self.text("policy")
    }

    /// Where packets that guests may not send are logged, if their vif lines do not say it: "kernel" or "nflog"; None: nowhere.
    #[getter]
    fn log(&self) -> Option<&str> {
        self.text("log")
    }

    /// What guests reach of this domain itself in modes "nat" and "routed": "open", "services" or "closed"; None where nothing is said, which is
    /// "open".
    #[getter]
    fn host(&self) -> Option<&str> {
        self.text("host")
    }

    /// Whether guests reach the stations of the LAN behind the egress in modes "nat" and "routed": "open" or "closed"; None where nothing is
    /// said, which is "open".
    #[getter]
    fn lan(&self) -> Option<&str> {
        self.text("lan")
    }

    /// Addresses that guests on a bridge which are bound to their MAC use only if their vif lines declare them.
    #[getter]
    fn reserved<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "reserved")
    }

    /// Guests of other networks, by their addresses, that may connect to guests of this one in mode "nat".
    #[getter]
    fn reachable_from<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "reachable_from")
    }

    /// Chains of other firewalls in which packets of guests are accepted while the network is started, in modes "nat" and "routed":
    /// family, table and chain as nft writes them, `("ip filter DOCKER-USER",)`.
    #[getter]
    fn accept_in<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "accept_in")
    }

    /// The metric of guests' routes in mode "routed".
    #[getter]
    fn metric(&self) -> Option<u32> {
        match &self.core.mode() {
            NetworkMode::Routed(routed) => Some(routed.metric),
            _ => None,
        }
    }

    /// Whether guests get addresses by DHCP and router advertisements.
    #[getter]
    fn dhcp(&self) -> bool {
        self.flag("dhcp")
    }

    /// Whether guests may ask this domain for names.
    #[getter]
    fn dns(&self) -> bool {
        self.flag("dns")
    }

    /// What is given to guests without an address of their own, one a family: "10.0.0.100-10.0.0.199".
    #[getter]
    fn range<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "range")
    }

    /// The domain that guests are told.
    #[getter]
    fn domain(&self) -> Option<&str> {
        self.text("domain")
    }

    /// Connections from outside that are handed on to guests: `({"protocol": "tcp", "ports": "80", "to": ..., "to_port": 80},)`.
    #[getter]
    fn forward<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        self.list(py, "forward")
    }

    /// The table of networks.toml.
    fn __str__(&self) -> String {
        networks::render([&self.core]).trim_end().to_owned()
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        call_text("Network", &self.fields(py)?)
    }

    fn __hash__(&self) -> u64 {
        hash_of(&networks::render([&self.core]))
    }

    fn __getnewargs_ex__<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyTuple>, Bound<'py, PyDict>)> {
        Ok((PyTuple::empty(py), self.fields(py)?))
    }
}

impl Network {
    pub(crate) fn of(core: xennet_core::Network) -> PyResult<Self> {
        let keys = match to_value(&networks::to_keys(&core))? {
            Value::Object(keys) => keys,
            _ => Map::new(),
        };
        Ok(Network { core, keys })
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.keys.get(key).and_then(Value::as_str)
    }

    fn flag(&self, key: &str) -> bool {
        self.keys.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    fn list<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyTuple>> {
        let items = self.keys.get(key).and_then(Value::as_array).into_iter().flatten();
        PyTuple::new(py, items.map(|item| to_python(py, item)).collect::<PyResult<Vec<_>>>()?)
    }

    /// The keywords that make this network again.
    fn fields<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let fields = PyDict::new(py);
        fields.set_item("name", self.name())?;
        let mut keys: Vec<(&String, &Value)> = self.keys.iter().collect();
        keys.sort_by_key(|(key, _)| KEYWORDS.iter().position(|k| k == key));
        for (key, value) in keys {
            match value {
                Value::Array(_) => fields.set_item(key, self.list(py, key)?)?,
                _ if key == "forward_delay" => fields.set_item(key, self.forward_delay())?,
                value => fields.set_item(key, to_python(py, value)?)?,
            }
        }
        Ok(fields)
    }
}

/// Reads the text of a networks.toml: its networks in their order, which do not contradict each other.
///
/// Raises `Invalid` with the line and column of what is wrong.
///
///     >>> import xennet
///     >>> text = '[network.lan]\nmode = "bridge"\nuplink = "eth0"\nbridge = "br-lan"\n'
///     >>> xennet.parse_networks(text)
///     (Network(name='lan', mode='bridge', bridge='br-lan', uplink='eth0'),)
#[pyfunction]
#[pyo3(signature = (text, /))]
pub(crate) fn parse_networks<'py>(py: Python<'py>, text: Text) -> PyResult<Bound<'py, PyTuple>> {
    let found = networks::parse(&text).or_raise()?;
    PyTuple::new(py, found.iter().map(|n| Network::of(n.clone())).collect::<PyResult<Vec<_>>>()?)
}

/// A network's name.
pub(crate) fn named(name: &str) -> PyResult<IfName> {
    name.parse().or_raise()
}

/// A time as the file has it: whole seconds. What is not whole is refused there.
fn seconds(time: Duration) -> Value {
    match time.subsec_nanos() {
        0 => time.as_secs().into(),
        _ => time.as_secs_f64().into(),
    }
}

/// A whole number of any size; what no number of a document can be is refused as the text that it is.
fn number(digits: Digits) -> Value {
    digits.0.parse().map_or_else(|_| Value::from(digits.0.clone()), Value::Number)
}
