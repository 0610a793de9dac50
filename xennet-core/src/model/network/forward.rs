//! Connections that are handed on to guests.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{invalid, unusable};
use crate::error::Error;

/// Connections to dom0 that are handed on to a guest.
///
/// ```
/// use xennet_core::{PortForward, Protocol};
/// let web = PortForward::new(Protocol::Tcp, (8080, 8089), "10.0.0.1".parse().unwrap(), 80)?;
/// assert_eq!(web.to_ports(), (80, 89));
/// assert!(PortForward::new(Protocol::Tcp, (9000, 80), "10.0.0.1".parse().unwrap(), 80).is_err());
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("forward", "port forwarding", "dnat"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "ForwardDocument")]
pub struct PortForward {
    protocol: Protocol,
    ports: (u16, u16),
    to: IpAddr,
    to_port: u16,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct ForwardDocument {
    protocol: Protocol,
    ports: (u16, u16),
    to: IpAddr,
    to_port: u16,
}

impl TryFrom<ForwardDocument> for PortForward {
    type Error = Error;
    fn try_from(d: ForwardDocument) -> Result<Self, Error> {
        PortForward::new(d.protocol, d.ports, d.to, d.to_port)
    }
}

impl PortForward {
    /// The rule for dom0's ports.
    pub(crate) const PORTS: &'static str = "a port, 1 to 65535, or two with a - between them, first and last";
    /// The rule for the guest's address.
    pub(crate) const TO: &'static str = "the address of a single host";
    /// The rule for the guest's first port.
    pub(crate) const TO_PORT: &'static str = "ports 1 to 65535, as many as ports";

    /// Forwards dom0's ports, first to last, to as many ports of this address, starting with `to_port`.
    ///
    /// # Errors
    /// [`Invalid`](crate::ErrorKind::Invalid) for port 0, a last port below the first, a range that would end above port 65535, and an
    /// address that no single host can have.
    pub fn new(protocol: Protocol, ports: (u16, u16), to: IpAddr, to_port: u16) -> Result<Self, Error> {
        if !PortForward::are_ports(ports) {
            let given = format!("{}-{}", ports.0, ports.1);
            return Err(invalid(&given, "ports of a forward", PortForward::PORTS));
        }
        if unusable(to) {
            return Err(invalid(&to, "where a forward leads to", PortForward::TO));
        }
        if !PortForward::are_as_many(ports, to_port) {
            return Err(invalid(&to_port, "to_port", PortForward::TO_PORT));
        }
        Ok(PortForward { protocol, ports, to, to_port })
    }

    pub(crate) const fn are_ports((first, last): (u16, u16)) -> bool {
        first > 0 && first <= last
    }

    pub(crate) const fn are_as_many((first, last): (u16, u16), to_port: u16) -> bool {
        to_port > 0 && to_port.checked_add(last - first).is_some()
    }

    /// Of which protocol.
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Which ports of dom0's, first and last.
    pub const fn ports(&self) -> (u16, u16) {
        self.ports
    }

    /// The guest's address.
    pub const fn to(&self) -> IpAddr {
        self.to
    }

    /// Which ports of the guest's they go to, first and last.
    pub const fn to_ports(&self) -> (u16, u16) {
        (self.to_port, self.to_port + (self.ports.1 - self.ports.0))
    }

    /// Whether both forward one port of the same protocol and family.
    pub(crate) fn clashes(&self, other: &PortForward) -> bool {
        self.protocol == other.protocol
            && self.to.is_ipv4() == other.to.is_ipv4()
            && self.ports.0 <= other.ports.1
            && other.ports.0 <= self.ports.1
    }
}

/// A protocol that has ports.
///
/// There are no others: dom0 forwards ports of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }

    /// The number in an IP header (IANA): 6 or 17.
    pub const fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forward_has_as_many_ports_on_both_sides() {
        let forward = |ports, to: &str, to_port| PortForward::new(Protocol::Udp, ports, to.parse().unwrap(), to_port);
        assert_eq!(forward((1, 65535), "10.0.0.1", 1).unwrap().to_ports(), (1, 65535));
        assert_eq!(forward((80, 80), "2001:db8::1", 65535).unwrap().to_ports(), (65535, 65535));
        for (ports, to, to_port) in [
            ((9000, 80), "10.0.0.1", 80),
            ((0, 80), "10.0.0.1", 80),
            ((80, 80), "10.0.0.1", 0),
            ((1, 65535), "2001:db8::1", 60000),
            ((80, 80), "224.0.0.1", 80),
            ((80, 80), "255.255.255.255", 80),
            ((80, 80), "::", 80),
        ] {
            assert!(forward(ports, to, to_port).is_err(), "{ports:?} {to} {to_port}");
        }
        let one = forward((80, 90), "10.0.0.1", 8080).unwrap();
        let text = serde_json::to_string(&one).unwrap();
        assert_eq!(text, r#"{"protocol":"udp","ports":[80,90],"to":"10.0.0.1","to_port":8080}"#);
        assert_eq!(serde_json::from_str::<PortForward>(&text).unwrap(), one);
        assert!(serde_json::from_str::<PortForward>(&text.replace("80,90", "90,80")).is_err());
    }
}
