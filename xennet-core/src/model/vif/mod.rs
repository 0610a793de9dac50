//! What a vif shall be: every key of `xl-network-configuration(5)` as a typed value.

mod document;
mod ip;
mod kinds;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use super::flaw::Flaw;
use super::{ColoKey, DevId, GuestMac, IfName, Mtu, PacketLog, Policy, RateLimit, VlanSpec, Word};
use crate::error::{Error, ErrorKind};

pub(crate) use document::Trust;
use ip::refusal;
pub(crate) use ip::{Bare, is_single, read_networks, read_prefixes};
use ip::{gateway_beside, gateway_refusal, host_bits};
pub use kinds::{BackendDomain, VifType};

/// One vif of a domain: what one string of `vif = [ ... ]` says.
///
/// `None`, an empty list and `false` mean that the key was not given. As text it is the strict dialect of
/// [`config`](crate::config): `mac=00:16:3e:01:02:03,bridge=xenbr0`; as a document it has the field names of libxl's
/// `device_nic`, with `policy`, `log`, `macs`, `prefix` and `isolated` as additions.
///
/// Every value of this type can be written as text and read back: what a text cannot say, or no vif can be, is refused when the value
/// is made.
///
/// ```
/// use xennet_core::{VifParts, VifSpec};
/// let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6".parse()?;
/// assert_eq!(vif.bridge().unwrap(), "xenbr0");
/// assert_eq!(vif.to_string(), "mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6");
///
/// let same = VifSpec::new()
///     .with_mac("00:16:3e:01:02:03".parse()?)
///     .with_bridge("xenbr0".parse()?)?
///     .with_ip("192.0.2.6".parse().unwrap())?;
/// assert_eq!(same, vif);
///
/// // All keys at once.
/// let mut parts = VifParts::default();
/// parts.bridge = Some("xenbr0".parse()?);
/// parts.isolated = true;
/// assert_eq!(VifSpec::try_from(parts)?.to_string(), "bridge=xenbr0,isolated");
/// assert!(VifSpec::new().with_ip("224.0.0.1".parse().unwrap()).is_err());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("xl.cfg", "xl-network-configuration"))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "document::VifDocument", into = "document::VifDocument")]
pub struct VifSpec(VifParts);

/// The keys and values of a vif, unchecked. [`VifSpec::try_from`] checks them.
///
/// `None`, an empty list and `false` mean that the key was not given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VifParts {
    /// `devid=`: the index in the domain. In a list it is the place in the list unless given.
    pub devid: Option<DevId>,
    /// `mac=`: the guest's address; generated if not given.
    pub mac: Option<GuestMac>,
    /// `bridge=`: the bridge in the backend domain.
    pub bridge: Option<IfName>,
    /// `gatewaydev=` (older: `netdev=`): the link whose address a routed vif borrows.
    pub gatewaydev: Option<IfName>,
    /// `ip=`: the guest's addresses or networks, in the given order, each once. What they stand for is in
    /// [`sources`](VifSpec::sources).
    pub ip: Vec<IpNetwork>,
    /// `prefix=`: whole networks that the guest may send from, beside its addresses; without host bits, each once. An addition of xennet.
    pub prefix: Vec<IpNetwork>,
    /// `macs=`: further MACs of the guest's, as of macvlans or bonds in it, each once. An addition of xennet.
    pub macs: Vec<GuestMac>,
    /// `policy=`: how far what it sends is filtered; as its network says, or by its addresses, if not given. An addition of xennet.
    pub policy: Option<Policy>,
    /// `log=`: where packets that it may not send are logged; as its network says if not given. An addition of xennet.
    pub log: Option<PacketLog>,
    /// `script=`: the hotplug script, a name in Xen's script directory or a path.
    pub script: Option<Word>,
    /// `vifname=`: the name of the link in the backend domain; the tap's gets `-emu` behind it.
    pub vifname: Option<IfName>,
    /// `type=`: with or without an emulated twin.
    pub vif_type: Option<VifType>,
    /// `model=`: what the device model emulates, for example `e1000`.
    pub model: Option<Word>,
    /// `backend=`: the domain that holds the backend.
    pub backend: Option<BackendDomain>,
    /// `rate=`: how fast the guest may send.
    pub rate: Option<RateLimit>,
    /// `mtu=`: the largest packet.
    pub mtu: Option<Mtu>,
    /// `vlan=`: VLAN membership on a VLAN-aware bridge.
    pub vlan: Option<VlanSpec>,
    /// `trusted` or `untrusted`: whether the frontend may trust the backend.
    pub trusted: Option<bool>,
    /// `isolated`: the port may talk to ports that are not isolated only. An addition of xennet; xl does not know it.
    pub isolated: bool,
    /// `forwarddev=`: COLO's forwarding link.
    pub forwarddev: Option<IfName>,
    /// `colo_*=`: carried as they are.
    pub colo: BTreeMap<ColoKey, Word>,
}

impl TryFrom<VifParts> for VifSpec {
    type Error = Error;

    /// Checks what the types of the single keys cannot say. An address that is listed again counts once.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if an emulated vif's tap name would be too long, if an address is none that a guest can have, or if
    /// a link's name has a character that a spec cannot carry.
    fn try_from(mut parts: VifParts) -> Result<Self, Error> {
        parts.check()?;
        // Some toolstacks write an address twice.
        once(&mut parts.ip);
        once(&mut parts.prefix);
        once(&mut parts.macs);
        Ok(VifSpec(parts))
    }
}

impl VifParts {
    fn check(&self) -> Result<(), Error> {
        for (key, name) in [
            ("bridge", self.bridge),
            ("gatewaydev", self.gatewaydev),
            ("vifname", self.vifname),
            ("forwarddev", self.forwarddev),
        ] {
            name.map_or(Ok(()), |name| VifParts::check_name(key, &name))?;
        }
        if let (Some(name), Some(VifType::Ioemu)) = (&self.vifname, self.vif_type) {
            name.tap()?;
        }
        if let Some((ip, rule)) = self.ip.iter().find_map(|ip| refusal(ip).map(|rule| (ip, rule))) {
            return Err(invalid("ip", ip, rule));
        }
        if let Some((prefix, rule)) = self.prefix.iter().find_map(|p| refusal(p).map(|rule| (p, rule))) {
            return Err(invalid("prefix", prefix, rule));
        }
        if let Some((prefix, (rule, hint))) = self.prefix.iter().find_map(|p| host_bits(p).map(|why| (p, why))) {
            return Err(invalid("prefix", prefix, rule).with_hint(hint));
        }
        let Some(at) = gateway_beside(&self.ip) else { return Ok(()) };
        let (rule, hint) = gateway_refusal(&self.ip[at - 1], &self.ip[at]);
        Err(invalid("ip", &Bare(&self.ip[at]), &rule).with_hint(hint))
    }

    /// Whether this key can have this name of a link.
    pub(crate) fn check_name(key: &str, name: &IfName) -> Result<(), Error> {
        if name.as_str().chars().all(Word::takes) {
            return Ok(());
        }
        Err(invalid(key, name, "a name in a vif spec has no comma, quote or backslash"))
    }
}

/// Keeps the first of equal values.
fn once<T: Copy + Ord>(values: &mut Vec<T>) {
    if values.len() > 1 {
        let mut seen = BTreeSet::new();
        values.retain(|value| seen.insert(*value));
    }
}

fn invalid(key: &str, value: &dyn fmt::Display, rule: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{key}={value}: {rule}")).with_object(value.to_string())
}

impl VifSpec {
    /// A vif of which nothing is said: libxl makes up an address and puts it on the default bridge.
    pub fn new() -> Self {
        VifSpec::default()
    }

    /// Its keys and values, to change some of them.
    pub fn into_parts(self) -> VifParts {
        self.0
    }

    /// The same vif with this address.
    #[must_use]
    pub fn with_mac(mut self, mac: GuestMac) -> Self {
        self.0.mac = Some(mac);
        self
    }

    /// The same vif on this bridge.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the name has a character that a spec cannot carry.
    pub fn with_bridge(mut self, bridge: IfName) -> Result<Self, Error> {
        self.0.bridge = Some(bridge);
        self.0.try_into()
    }

    /// The same vif with one more guest address or network; one that it has already counts once.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if this is none that a guest can have.
    pub fn with_ip(mut self, ip: IpNetwork) -> Result<Self, Error> {
        self.0.ip.push(ip);
        self.0.try_into()
    }

    /// The same vif with this index in its domain.
    #[must_use]
    pub fn with_devid(mut self, devid: DevId) -> Self {
        self.0.devid = Some(devid);
        self
    }

    /// The same vif with this index unless it has one: what a place in a list means.
    #[must_use]
    pub fn numbered(mut self, devid: DevId) -> Self {
        self.0.devid.get_or_insert(devid);
        self
    }

    /// The same vif with this name in the backend domain.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] if the name has a character that a spec cannot carry, or is too long for the name of an emulated twin.
    pub fn with_vifname(mut self, vifname: IfName) -> Result<Self, Error> {
        self.0.vifname = Some(vifname);
        self.0.try_into()
    }

    /// The same vif, filtered so, whatever its network says.
    #[must_use]
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.0.policy = Some(policy);
        self
    }

    /// The same vif. Packets that it may not send are logged there, whatever its network says.
    #[must_use]
    pub fn with_log(mut self, log: PacketLog) -> Self {
        self.0.log = Some(log);
        self
    }

    /// The same vif, whose port may talk to ports that are not isolated only.
    #[must_use]
    pub fn with_isolated(mut self) -> Self {
        self.0.isolated = true;
        self
    }

    /// `devid=`: the index in the domain. In a list it is the place in the list unless given.
    pub const fn devid(&self) -> Option<DevId> {
        self.0.devid
    }

    /// `mac=`: the guest's address; generated if not given.
    pub const fn mac(&self) -> Option<GuestMac> {
        self.0.mac
    }

    /// `bridge=`: the bridge in the backend domain.
    pub const fn bridge(&self) -> Option<IfName> {
        self.0.bridge
    }

    /// `gatewaydev=` (older: `netdev=`): the link whose address a routed vif borrows.
    pub const fn gatewaydev(&self) -> Option<IfName> {
        self.0.gatewaydev
    }

    /// `ip=`: the guest's addresses or networks, in the given order, each once. What they stand for is in
    /// [`sources`](VifSpec::sources).
    pub fn ip(&self) -> &[IpNetwork] {
        &self.0.ip
    }

    /// `prefix=`: whole networks that the guest may send from, beside its addresses. An addition of xennet; xl does not know it.
    pub fn prefix(&self) -> &[IpNetwork] {
        &self.0.prefix
    }

    /// `macs=`: further MACs of the guest's. An addition of xennet; xl does not know it.
    pub fn macs(&self) -> &[GuestMac] {
        &self.0.macs
    }

    /// `policy=`: how far what the guest sends is filtered. An addition of xennet; xl does not know it.
    pub const fn policy(&self) -> Option<Policy> {
        self.0.policy
    }

    /// `log=`: where packets that the guest may not send are logged. An addition of xennet; xl does not know it.
    pub const fn log(&self) -> Option<PacketLog> {
        self.0.log
    }

    /// `script=`: the hotplug script, a name in Xen's script directory or a path.
    pub const fn script(&self) -> Option<&Word> {
        self.0.script.as_ref()
    }

    /// `vifname=`: the name of the link in the backend domain; the tap's gets `-emu` behind it.
    pub const fn vifname(&self) -> Option<IfName> {
        self.0.vifname
    }

    /// `type=`: with or without an emulated twin.
    pub const fn vif_type(&self) -> Option<VifType> {
        self.0.vif_type
    }

    /// `model=`: what the device model emulates, for example `e1000`.
    pub const fn model(&self) -> Option<&Word> {
        self.0.model.as_ref()
    }

    /// `backend=`: the domain that holds the backend.
    pub const fn backend(&self) -> Option<&BackendDomain> {
        self.0.backend.as_ref()
    }

    /// `rate=`: how fast the guest may send.
    pub const fn rate(&self) -> Option<RateLimit> {
        self.0.rate
    }

    /// `mtu=`: the largest packet.
    pub const fn mtu(&self) -> Option<Mtu> {
        self.0.mtu
    }

    /// `vlan=`: VLAN membership on a VLAN-aware bridge.
    pub const fn vlan(&self) -> Option<&VlanSpec> {
        self.0.vlan.as_ref()
    }

    /// `trusted` or `untrusted`: whether the frontend may trust the backend.
    pub const fn trusted(&self) -> Option<bool> {
        self.0.trusted
    }

    /// `isolated`: the port may talk to ports that are not isolated only. An addition of xennet; xl does not know it.
    pub const fn isolated(&self) -> bool {
        self.0.isolated
    }

    /// `forwarddev=`: COLO's forwarding link.
    pub const fn forwarddev(&self) -> Option<IfName> {
        self.0.forwarddev
    }

    /// `colo_*=`: carried as they are.
    pub const fn colo(&self) -> &BTreeMap<ColoKey, Word> {
        &self.0.colo
    }

    /// The addresses and networks that the guest may send from: those of `ip=` and of `prefix=`. In `ip=` an address with host bits and
    /// a prefix length (192.0.2.5/24) stands for that one address; without host bits (192.0.2.0/24) it stands for the network, as in
    /// `prefix=`, which says so.
    pub fn sources(&self) -> Vec<IpNetwork> {
        let single = |n: &IpNetwork| if n.ip() == n.network() { *n } else { IpNetwork::from(n.ip()) };
        self.0.ip.iter().map(single).chain(self.0.prefix.iter().copied()).collect()
    }

    /// Networks among the addresses of `ip=`.
    pub(crate) fn networks_in_ip(&self) -> impl Iterator<Item = &IpNetwork> {
        self.0.ip.iter().filter(|n| n.ip() == n.network() && !is_single(n))
    }

    /// Reads addresses and networks as `ip=` has them: with blanks between them, at least one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the place in the text.
    ///
    /// ```
    /// use xennet_core::VifSpec;
    /// assert_eq!(VifSpec::parse_ip("192.0.2.6 2001:db8::/64")?.len(), 2);
    /// # Ok::<(), xennet_core::Error>(())
    /// ```
    pub fn parse_ip(text: &str) -> Result<Vec<IpNetwork>, Error> {
        read_networks(text).map_err(|flaw| flaw.error(text).with_object(text))
    }

    /// The addresses as the text of `ip=`: with blanks between them, a single host without its prefix length.
    pub fn ip_text(&self) -> String {
        listed(self.0.ip.iter().map(Bare))
    }

    /// The networks as the text of `prefix=`.
    pub(crate) fn prefix_text(&self) -> String {
        listed(self.0.prefix.iter().map(Bare))
    }

    /// The MACs as the text of `macs=`: with blanks between them.
    pub(crate) fn macs_text(&self) -> String {
        listed(&self.0.macs)
    }

    /// Reads MACs as `macs=` has them: with blanks between them, at least one.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the place in the text.
    pub fn parse_macs(text: &str) -> Result<Vec<GuestMac>, Error> {
        read_macs(text).map_err(|flaw| flaw.error(text).with_object(text))
    }

    /// Reads networks as `prefix=` has them: with blanks between them, at least one, without host bits.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] with the place in the text.
    pub fn parse_prefix(text: &str) -> Result<Vec<IpNetwork>, Error> {
        read_prefixes(text).map_err(|flaw| flaw.error(text).with_object(text))
    }
}

/// Values with blanks between them.
fn listed(values: impl IntoIterator<Item = impl fmt::Display>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(" ")
}

/// Reads the value of `macs=`.
pub(crate) fn read_macs(text: &str) -> Result<Vec<GuestMac>, Box<Flaw>> {
    ip::words(text).map(|(at, word)| GuestMac::read(word).map_err(|flaw| flaw.at(at))).collect()
}

impl fmt::Display for VifSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        let mut item = |key: &str, value: Option<&dyn fmt::Display>| {
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            match value {
                Some(value) => write!(f, "{comma}{key}={value}"),
                None => write!(f, "{comma}{key}"),
            }
        };
        macro_rules! keys {
            ($($key:literal = $field:ident;)*) => {
                $(if let Some(value) = &self.0.$field { item($key, Some(value))?; })*
            };
        }
        keys! { "devid" = devid; "mac" = mac; "bridge" = bridge; "gatewaydev" = gatewaydev; }
        if !self.0.ip.is_empty() {
            item("ip", Some(&self.ip_text()))?;
        }
        if !self.0.prefix.is_empty() {
            item("prefix", Some(&self.prefix_text()))?;
        }
        if !self.0.macs.is_empty() {
            item("macs", Some(&self.macs_text()))?;
        }
        keys! {
            "policy" = policy; "log" = log; "script" = script; "vifname" = vifname; "type" = vif_type; "model" = model; "backend" = backend;
            "rate" = rate; "mtu" = mtu; "vlan" = vlan; "forwarddev" = forwarddev;
        }
        match self.0.trusted {
            Some(true) => item("trusted", None)?,
            Some(false) => item("untrusted", None)?,
            None => {}
        }
        if self.0.isolated {
            item("isolated", None)?;
        }
        for (key, value) in &self.0.colo {
            item(key.name(), Some(value))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_reads_back_and_refuses_unknown_names() {
        let spec: VifSpec =
            "mac=00:16:3e:01:02:03,bridge=br0,ip=10.0.0.1 2001:db8::/64,rate=10Mb/s,type=ioemu,vifname=web0,\
                             untrusted,isolated,policy=strict,log=nflog,prefix=10.1.0.0/16 10.2.0.0/16,\
                             macs=00:16:3e:01:02:04 00:16:3e:01:02:05,vlan=10p/20,colo_sock_mirror_id=x,backend=3,mtu=9000"
                .parse()
                .unwrap();
        let doc = serde_json::to_value(&spec).unwrap();
        assert_eq!(doc["nictype"], "vif_ioemu");
        assert_eq!(doc["ip"], "10.0.0.1 2001:db8::/64");
        assert_eq!(doc["trusted"], "False");
        assert_eq!(doc["rate_bytes_per_interval"], 62500);
        assert_eq!(serde_json::from_value::<VifSpec>(doc).unwrap(), spec);
        assert_eq!(spec.to_string().parse::<VifSpec>().unwrap(), spec);
        for bad in [
            r#"{"brigde":"br0"}"#,
            r#"{"mac":"01:00:5e:00:00:01"}"#,
            r#"{"ifname":"aaaaaaaaaaaa","nictype":"vif_ioemu"}"#,
            r#"{"rate_interval_usecs":5}"#,
            r#"{"ip":"0.0.0.0"}"#,
            r#"{"prefix":"10.0.0.1/24"}"#,
            r#"{"macs":"00:16:3e:01:02:04 01:00:5e:00:00:01"}"#,
            r#"{"policy":"loose"}"#,
            r#"{"log":"syslog"}"#,
        ] {
            assert!(serde_json::from_str::<VifSpec>(bad).is_err(), "{bad}");
        }
    }
}
