//! The documents that the command, the C ABI and the Python package give out for a text, all the same.
//!
//! Each has `version` besides.
//!
//! | function | document |
//! |---|---|
//! | [`vif`], [`attach`] | libxl's `device_nic` fields: `devid mac bridge ip model nictype ifname script gatewaydev backend_domname mtu rate_bytes_per_interval rate_interval_usecs trusted vlan coloft_forwarddev colo_*`, and `prefix macs policy isolated` |
//! | [`vif_list`] | `{"nics": [...]}` of those |
//! | [`rate`] | `bytes_per_interval interval_usecs backend_rate` |
//! | [`vlan`] | `pvid tagged untagged text` |
//! | [`mac`] | `mac multicast local xen_oui` |
//! | `xend_config` (feature `import`) | `network_argv vif_script` |
//! | [`hotplug()`] | `deadline hooks hook_deadline log_file syslog state_dir bind_mac isolated`, as in the file |
//! | [`networks()`] | `{"networks": [...]}`, each with `name`, `mode` and what belongs to the mode; [`read_network`] reads one back |

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::*;
use crate::model::{
    BridgeSpec, DevId, GuestMac, IfName, MacAddr, Network, NetworkDocument, Tagging, VifSpec, VlanSpec,
};
use crate::read;
use crate::version::Version;

/// A JSON document: [`Display`](fmt::Display) writes its text, and serde puts it into other documents.
///
/// ```
/// use xennet_core::config::document;
///
/// let vlan = document::vlan("10p/20")?;
/// assert_eq!(vlan.to_string(), r#"{"pvid":10,"tagged":[20],"text":"10p/20","untagged":[10],"version":1}"#);
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Document(Value);

impl Document {
    /// Values of this library are made of texts, numbers, lists and maps with text keys.
    fn of(value: impl Serialize) -> Self {
        Document::part(Root { version: Version, value })
    }

    /// The same for what is part of a document only.
    pub(super) fn part(value: impl Serialize) -> Self {
        Document(serde_json::to_value(value).expect("no map here has keys other than texts"))
    }
}

/// A value as a document of its own.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Root<T> {
    version: Version<1>,
    #[serde(flatten)]
    value: T,
}

/// What `vif=` lists.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Nics<T> {
    /// One for each item of the list.
    nics: Vec<T>,
}

/// What `rate=` says.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Rate {
    /// How many bytes the guest may send in each interval.
    bytes_per_interval: u64,
    /// The interval in microseconds.
    interval_usecs: u32,
    /// The text in the backend's node `rate`.
    backend_rate: String,
}

/// `hotplug.toml`: every key of it, those that it lacks with their defaults.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct HotplugSettings {
    /// How long a call may take in all, in seconds.
    deadline: u64,
    /// The directory of hooks; empty for none.
    hooks: String,
    /// How long hooks may take, in seconds.
    hook_deadline: u64,
    /// The file for administrators; empty for none.
    log_file: String,
    /// Whether syslog is told where there is no journal.
    syslog: bool,
    /// The state directory.
    state_dir: String,
    /// Whether a guest may only send from its own MAC without `ip=`, too.
    bind_mac: bool,
    /// The bridges whose guests are kept from each other.
    isolated: BTreeSet<IfName>,
}

/// What `vlan=` says.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Vlan {
    /// The VLAN of the guest's untagged frames.
    pvid: u16,
    /// The VLANs that the guest gets with tags.
    tagged: Vec<u16>,
    /// The VLANs that the guest gets without.
    untagged: Vec<u16>,
    /// The same as text.
    text: String,
}

/// A hardware address.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct Mac {
    /// The address.
    mac: MacAddr,
    /// Whether it is that of a group.
    multicast: bool,
    /// Whether it is administered locally.
    local: bool,
    /// Whether it is of Xen's own range, 00:16:3e.
    xen_oui: bool,
}

/// The networks of a `networks.toml`, in their order.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) struct NetworkList<'a> {
    /// The networks.
    networks: Vec<&'a Network>,
}

impl fmt::Display for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One vif spec; in [`Dialect::Xl`] as xl hands it to libxl. `devid` is 0 unless given: the spec is one string of a list.
///
/// # Errors
/// As [`parse_vif`] and [`parse_vif_xl`].
pub fn vif(text: &str, dialect: Dialect) -> Result<Parsed<Document>, Error> {
    match dialect {
        Dialect::Xl => parse_vif_xl(text).map(|p| p.map(Document::of)),
        _ => parse_vif(text, dialect).map(|p| p.map(|spec| Document::of(spec.numbered(DevId::FIRST)))),
    }
}

/// The `vif` statements of a config file.
///
/// # Errors
/// As [`parse_vif_list`] and [`parse_vif_list_xl`].
pub fn vif_list(text: &str, dialect: Dialect) -> Result<Parsed<Document>, Error> {
    match dialect {
        Dialect::Xl => parse_vif_list_xl(text).map(|p| p.map(|nics| Document::of(Nics { nics }))),
        _ => parse_vif_list(text, dialect).map(|p| p.map(|nics| Document::of(Nics { nics }))),
    }
}

/// The arguments of `xl network-attach`.
///
/// # Errors
/// As [`parse_attach`] and [`parse_attach_xl`].
pub fn attach(args: &[impl AsRef<str>], dialect: Dialect) -> Result<Parsed<Document>, Error> {
    match dialect {
        Dialect::Xl => parse_attach_xl(args).map(|p| p.map(Document::of)),
        _ => parse_attach(args, dialect).map(|p| p.map(Document::of)),
    }
}

/// The value of `rate=`.
///
/// # Errors
/// As [`parse_rate`] and [`parse_rate_xl`].
pub fn rate(text: &str, dialect: Dialect) -> Result<Parsed<Document>, Error> {
    let document = |bytes_per_interval: u64, interval_usecs: u32, backend_rate: String| {
        Document::of(Rate { bytes_per_interval, interval_usecs, backend_rate })
    };
    match dialect {
        Dialect::Xl => {
            parse_rate_xl(text).map(|p| p.map(|r| document(r.bytes_per_interval, r.interval_usecs, r.backend_rate())))
        }
        _ => parse_rate(text, dialect)
            .map(|p| p.map(|r| document(r.bytes_per_interval(), r.interval_usecs(), r.backend_rate()))),
    }
}

/// The file `hotplug.toml`: every key of it, those that it lacks with their defaults.
///
/// # Errors
/// As [`hotplug::Settings::parse`](crate::config::hotplug::Settings::parse).
pub fn hotplug(text: &str) -> Result<Document, Error> {
    let settings = super::hotplug::Settings::parse(text)?;
    let path = |path: &Option<std::path::PathBuf>| path.as_ref().map_or(String::new(), |p| p.display().to_string());
    Ok(Document::of(HotplugSettings {
        deadline: settings.deadline.as_secs(),
        hooks: path(&settings.hooks),
        hook_deadline: settings.hook_deadline.as_secs(),
        log_file: path(&settings.log_file),
        syslog: settings.syslog,
        state_dir: settings.state_dir.display().to_string(),
        bind_mac: settings.bind_mac,
        isolated: settings.isolated,
    }))
}

/// The value of `vlan=`. xl stores any text.
///
/// # Errors
/// [`ErrorKind::Invalid`] with the position of the term.
pub fn vlan(text: &str) -> Result<Document, Error> {
    let vlan: VlanSpec = text.parse()?;
    let ids =
        |wanted: Tagging| -> Vec<u16> { vlan.vids().filter(|(_, t)| *t == wanted).map(|(v, _)| v.get()).collect() };
    let (tagged, untagged) = (ids(Tagging::Tagged), ids(Tagging::Untagged));
    Ok(Document::of(Vlan { pvid: vlan.pvid().get(), tagged, untagged, text: vlan.to_string() }))
}

/// The value of `mac=`, in the dialects other than strict as leniently as the dialect is.
///
/// # Errors
/// [`ErrorKind::Invalid`] with the position.
pub fn mac(text: &str, dialect: Dialect) -> Result<Parsed<Document>, Error> {
    let document = |mac: MacAddr| {
        let (multicast, local, xen_oui) = (mac.is_multicast(), mac.is_local(), mac.is_xen_oui());
        Document::of(Mac { mac, multicast, local, xen_oui })
    };
    match dialect {
        Dialect::Xl => xl::mac(text).map(|p| p.map(document)),
        _ => text.parse::<GuestMac>().map(|mac| Parsed { value: document(mac.get()), notes: Vec::new() }),
    }
}

/// `xend-config.sxp`: what xend ran to make the network (`null` if nothing), and the script of each vif.
///
/// # Errors
/// As [`parse_xend_config`].
#[cfg(feature = "import")]
pub fn xend_config(text: &str) -> Result<Parsed<Document>, Error> {
    parse_xend_config(text).map(|p| p.map(Document::of))
}

/// `networks.toml`: the networks in their order.
///
/// # Errors
/// As [`networks::parse`].
pub fn networks(text: &str) -> Result<Document, Error> {
    let found = super::networks::parse(text)?;
    Ok(networks_of(found.iter()))
}

/// The same of networks that were started or made by the program.
pub fn networks_of<'a>(networks: impl IntoIterator<Item = &'a Network>) -> Document {
    Document::of(NetworkList { networks: networks.into_iter().collect() })
}

/// `networks.toml`: the document of the network of this name, an item of [`networks()`].
///
/// # Errors
/// As [`networks::parse`], and [`ErrorKind::Invalid`] if there is no network of this name.
pub fn network(text: &str, name: &str) -> Result<Document, Error> {
    Ok(Document::of(super::networks::parse(text)?.named(name)?))
}

/// Reads the document of several networks, that of [`networks()`]. Whether they contradict each other is seen when they are started.
///
/// # Errors
/// As [`read_network`].
pub fn read_networks(text: &str) -> Result<Vec<Network>, Error> {
    #[derive(serde::Deserialize)]
    struct Several {
        networks: Vec<NetworkDocument>,
    }
    let several: Several = read::read_with(text, "networks", 1, |e| {
        Error::new(ErrorKind::Invalid, format!("networks is not a document that is understood: {e}"))
            .with_object("networks")
            .with_hint("what reading a networks.toml gives is such a document")
    })?;
    several.networks.into_iter().map(Network::try_from).collect()
}

/// Reads the document of one network, an item of [`networks()`].
///
/// # Errors
/// [`ErrorKind::Invalid`] for a text that is no such document, with unknown names in it too, and for a network that the rules of
/// the file refuse; and for a document of a later version.
pub fn read_network(text: &str) -> Result<Network, Error> {
    let document: NetworkDocument = read::read_with(text, "network", 1, |e| {
        Error::new(ErrorKind::Invalid, format!("network is not a document that is understood: {e}"))
            .with_object("network")
            .with_hint("what reading a networks.toml gives has the documents of its networks")
    })?;
    document.try_into()
}

/// Reads the document of a vif ([`vif`]).
///
/// # Errors
/// [`ErrorKind::Invalid`] for a text that is no such document, and for a value that the rules of a vif refuse.
pub fn read_vif(text: &str) -> Result<VifSpec, Error> {
    read::read(text, "vif", 1)
}

/// Reads the document of a bridge: what serde writes of a [`BridgeSpec`], of which only `name` is necessary.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a text that is no such document, with unknown names in it too, and for a value that the rules of a bridge
/// refuse.
pub fn read_bridge(text: &str) -> Result<BridgeSpec, Error> {
    read::read(text, "bridge", 1)
}
