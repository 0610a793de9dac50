//! What the vif's directory in xenstore says, as a vif spec.
//!
//! The nodes are written by the toolstack; a guest may read them and not write. What is wrong in them is therefore a mistake of
//! somebody on our side, and is told in full.
//!
//! Source: `libxl__set_xenstore_nic`, `tools/libs/light/libxl_nic.c`.

use std::str;

use super::call::{Call, shown};
use crate::error::{Error, ErrorKind};
use crate::model::{GuestMac, IfName, Mtu, Policy, TypeIf, VifParts, VifSpec, VifType, VlanSpec};

/// The nodes that are read, below the vif's directory.
pub(super) const NAMES: [&str; 13] = [
    "bridge",
    "ip",
    "prefix",
    "mac",
    "macs",
    "policy",
    "log",
    "vifname",
    "mtu",
    "vlan",
    "isolated",
    "type",
    "hotplug-error",
];

/// What the script of bridge mode is called, also with something before it.
const BRIDGE: &str = "vif-bridge";

/// What was read.
pub(super) struct Nodes {
    /// What the vif shall be.
    pub(super) vif: VifSpec,
    /// An error of an earlier call still stands there.
    pub(super) old_error: bool,
    pub(super) notes: Vec<String>,
}

/// Reads the values of [`NAMES`], in their order, for a call by this script's name.
///
/// # Errors
/// [`ErrorKind::Invalid`], naming the node, the value and the rule.
pub(super) fn read(script: &str, call: &Call, values: &[Option<Vec<u8>>]) -> Result<Nodes, Error> {
    let value = |name: &str| {
        let at = NAMES.iter().position(|n| *n == name)?;
        // An empty node says nothing; `hotplug-status` and its like are made so.
        values.get(at)?.as_deref().filter(|v| !v.is_empty())
    };
    let text = |name: &str| {
        value(name).map(str::from_utf8).transpose().map_err(|_| {
            let given = String::from_utf8_lossy(value(name).unwrap_or_default()).into_owned();
            refused(call, name, &given, "it is not text", None)
        })
    };
    let mut notes = Vec::new();
    let mut vif = VifParts { devid: Some(call.id.devid), ..VifParts::default() };
    // The mode is the script's, and that of most goes without saying.
    if !script.ends_with(BRIDGE) {
        vif.script = Some(script.parse().map_err(|e| refused_by(call, "script", script, &e))?);
    }
    if let Some(netdev) = &call.netdev {
        match link_name(call, "gatewaydev", netdev) {
            Ok(link) => vif.gatewaydev = Some(link),
            Err(e) if vif.script.is_some() => return Err(e),
            // A bridge has no use for it.
            Err(_) => {}
        }
    }
    let node_or = |name: &str, other: Option<&String>| -> Result<Option<String>, Error> {
        Ok(text(name)?.map(str::to_owned).or_else(|| other.cloned()))
    };

    if let Some(bridge) = node_or("bridge", call.bridge.as_ref())? {
        vif.bridge = Some(link_name(call, "bridge", &bridge)?);
    }
    if let Some(name) = text("vifname")? {
        vif.vifname = Some(link_name(call, "vifname", name)?);
    }
    if let Some(ip) = node_or("ip", call.ip.as_ref())?.filter(|ip| !ip.trim_ascii().is_empty()) {
        vif.ip = VifSpec::parse_ip(ip.trim_ascii()).map_err(|e| refused_by(call, "ip", &ip, &e))?;
    }
    // These stand in nodes only: what is in the environment by chance must not loosen a filter.
    if let Some(prefix) = text("prefix")? {
        vif.prefix = VifSpec::parse_prefix(prefix).map_err(|e| refused_by(call, "prefix", prefix, &e))?;
    }
    if let Some(macs) = text("macs")? {
        vif.macs = VifSpec::parse_macs(macs).map_err(|e| refused_by(call, "macs", macs, &e))?;
    }
    if let Some(policy) = text("policy")? {
        vif.policy = Some(policy.parse().map_err(|e| refused_by(call, "policy", policy, &e))?);
    }
    if let Some(log) = text("log")? {
        vif.log = Some(log.parse().map_err(|e| refused_by(call, "log", log, &e))?);
    }
    let is_filtered = match vif.policy {
        Some(policy) => policy != Policy::Off,
        None => !vif.ip.is_empty() || !vif.prefix.is_empty(),
    };
    if let Some(mac) = text("mac")? {
        match mac.parse::<GuestMac>() {
            Ok(mac) => vif.mac = Some(mac),
            // It only matters where the guard has to know it.
            Err(e) if is_filtered => return Err(refused_by(call, "mac", mac, &e)),
            Err(e) => notes.push(format!("{}/mac is not looked at: {}", call.path, e.message())),
        }
    }
    if let Some(mtu) = text("mtu")? {
        match mtu.parse::<u32>().ok().and_then(|n| Mtu::try_from(n).ok()) {
            Some(mtu) => vif.mtu = Some(mtu),
            None => notes.push(format!(
                "{}/mtu is \"{}\", which is no MTU (68 to 65517): the vif takes its bridge's",
                call.path,
                shown(mtu)
            )),
        }
    }
    if let Some(vlan) = text("vlan")? {
        let spec: VlanSpec = vlan.parse().map_err(|e| refused_by(call, "vlan", vlan, &e))?;
        notes.extend(spec.remark_on(vlan));
        vif.vlan = Some(spec);
    }
    match node_or("isolated", call.isolated.as_ref())?.as_deref() {
        None | Some("0") => {}
        Some("1") => vif.isolated = true,
        Some(other) => return Err(refused(call, "isolated", other, "it is 0 or 1", None)),
    }
    match text("type")? {
        Some("vif_ioemu") => vif.vif_type = Some(VifType::Ioemu),
        Some("vif") => vif.vif_type = Some(VifType::Vif),
        _ => {}
    }
    // A tap is an emulated twin, whatever is written.
    if call.verb.type_if() == TypeIf::Tap {
        vif.vif_type = Some(VifType::Ioemu);
    }
    // All else was checked above: a name can still be too long for the tap.
    let name = vif.vifname.map_or_else(String::new, |name| name.to_string());
    let vif = VifSpec::try_from(vif).map_err(|e| refused_by(call, "vifname", &name, &e))?;
    Ok(Nodes { vif, old_error: value("hotplug-error").is_some(), notes })
}

fn link_name(call: &Call, node: &str, text: &str) -> Result<IfName, Error> {
    let name: Result<IfName, Error> = text.parse();
    name.and_then(|name| VifParts::check_name(node, &name).map(|()| name)).map_err(|e| refused_by(call, node, text, &e))
}

fn refused_by(call: &Call, node: &str, value: &str, why: &Error) -> Error {
    let rule = match why.diagnostic() {
        Some(d) => format!("{}: {}", d.message, d.rule),
        None => why.message().to_owned(),
    };
    refused(call, node, value, &rule, why.hint())
}

fn refused(call: &Call, node: &str, value: &str, rule: &str, hint: Option<&str>) -> Error {
    let hint = match hint {
        Some(hint) => format!("put {node}= right in the vif line: {hint}"),
        None => format!("put {node}= right in the vif line"),
    };
    Error::new(ErrorKind::Invalid, format!("{}: {node}={} cannot be used: {rule}", call.id, shown(value)))
        .with_object(format!("{}/{node}", call.path))
        .unchanged()
        .with_hint(hint)
}
