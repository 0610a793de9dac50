//! A vif as a document.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{BackendDomain, VifParts, VifSpec, VifType};
use crate::error::{Error, ErrorKind};
use crate::model::{ColoKey, DevId, GuestMac, IfName, Mtu, PacketLog, Policy, RateLimit, VlanSpec, Word};

/// The document of a vif: libxl's field names, texts where libxl has texts.
#[derive(Clone, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
pub(super) struct VifDocument {
    /// The index in the domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    devid: Option<DevId>,
    /// The guest's hardware address.
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<GuestMac>,
    /// The bridge, or the network, that it is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<IfName>,
    /// The guest's addresses, with blanks between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
    /// Whole networks that it may send from beside its addresses, with blanks between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    /// Its further hardware addresses, with blanks between them.
    #[serde(skip_serializing_if = "Option::is_none")]
    macs: Option<String>,
    /// How far what it sends at a bridge is filtered.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<Policy>,
    /// Where packets that it may not send are logged.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<PacketLog>,
    /// The emulated model.
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<Word>,
    /// Whether it has an emulated twin.
    #[serde(skip_serializing_if = "Option::is_none")]
    nictype: Option<VifType>,
    /// The name of its link in the backend domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    ifname: Option<IfName>,
    /// The hotplug script.
    #[serde(skip_serializing_if = "Option::is_none")]
    script: Option<Word>,
    /// The gateway's link.
    #[serde(skip_serializing_if = "Option::is_none")]
    gatewaydev: Option<IfName>,
    /// The backend domain.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend_domname: Option<BackendDomain>,
    /// In bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
    /// How many bytes the guest may send in each interval.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_bytes_per_interval: Option<u64>,
    /// The interval in microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    rate_interval_usecs: Option<u32>,
    /// Whether the frontend may trust the backend.
    #[serde(skip_serializing_if = "Option::is_none")]
    trusted: Option<Trust>,
    /// Its VLANs.
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan: Option<VlanSpec>,
    /// COLO's forwarding link.
    #[serde(skip_serializing_if = "Option::is_none")]
    coloft_forwarddev: Option<IfName>,
    /// Whether it is kept from the other isolated ports of its bridge.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    isolated: bool,
    #[serde(flatten)]
    colo: BTreeMap<ColoKey, Word>,
}

/// libxl's spelling of a `defbool`.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub(crate) enum Trust {
    True,
    False,
}

impl From<VifSpec> for VifDocument {
    fn from(spec: VifSpec) -> Self {
        let ip = (!spec.0.ip.is_empty()).then(|| spec.ip_text());
        let prefix = (!spec.0.prefix.is_empty()).then(|| spec.prefix_text());
        let macs = (!spec.0.macs.is_empty()).then(|| spec.macs_text());
        let v = spec.0;
        VifDocument {
            ip,
            prefix,
            macs,
            policy: v.policy,
            log: v.log,
            devid: v.devid,
            mac: v.mac,
            bridge: v.bridge,
            model: v.model,
            nictype: v.vif_type,
            ifname: v.vifname,
            script: v.script,
            gatewaydev: v.gatewaydev,
            backend_domname: v.backend,
            mtu: v.mtu,
            rate_bytes_per_interval: v.rate.map(RateLimit::bytes_per_interval),
            rate_interval_usecs: v.rate.map(RateLimit::interval_usecs),
            trusted: v.trusted.map(|t| if t { Trust::True } else { Trust::False }),
            vlan: v.vlan,
            coloft_forwarddev: v.forwarddev,
            isolated: v.isolated,
            colo: v.colo,
        }
    }
}

impl TryFrom<VifDocument> for VifSpec {
    type Error = Error;
    fn try_from(d: VifDocument) -> Result<Self, Error> {
        let rate = match (d.rate_bytes_per_interval, d.rate_interval_usecs) {
            (None, None) => None,
            (Some(bytes), usecs) => Some(RateLimit::new(bytes, usecs.unwrap_or(RateLimit::DEFAULT_INTERVAL_USECS))?),
            (None, Some(_)) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    "rate_interval_usecs stands without rate_bytes_per_interval",
                ));
            }
        };
        let ip = match &d.ip {
            Some(text) => VifSpec::parse_ip(text)?,
            None => Vec::new(),
        };
        let prefix = d.prefix.as_deref().map_or_else(|| Ok(Vec::new()), VifSpec::parse_prefix)?;
        let macs = d.macs.as_deref().map_or_else(|| Ok(Vec::new()), VifSpec::parse_macs)?;
        VifSpec::try_from(VifParts {
            devid: d.devid,
            mac: d.mac,
            bridge: d.bridge,
            gatewaydev: d.gatewaydev,
            ip,
            prefix,
            macs,
            policy: d.policy,
            log: d.log,
            script: d.script,
            vifname: d.ifname,
            vif_type: d.nictype,
            model: d.model,
            backend: d.backend_domname,
            rate,
            mtu: d.mtu,
            vlan: d.vlan,
            trusted: d.trusted.map(|t| t == Trust::True),
            isolated: d.isolated,
            forwarddev: d.coloft_forwarddev,
            colo: d.colo,
        })
    }
}
