//! What a bridge shall be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{IfName, MacAddr, Mtu};
use crate::error::{Error, ErrorKind};

/// A bridge as Xen hosts want it: spanning tree off, no forward delay, its own fixed MAC.
///
/// `None` means: as the kernel makes it, and whatever it is on a bridge that exists already.
///
/// As a document it is `{"name": "xenbr0"}`, with the other fields where they matter; `forward_delay` is `forward_delay_ms`
/// there, a whole number.
///
/// ```
/// use std::time::Duration;
/// use xennet_core::{BridgeSpec, Mtu};
/// let bridge = BridgeSpec::new("xenbr0".parse()?).with_mtu(Mtu::new(9000)?).with_stp(true);
/// assert_eq!(bridge.forward_delay(), Duration::from_secs(15));
/// assert!(bridge.with_forward_delay(Duration::ZERO).is_err(), "spanning tree needs some");
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[doc(alias("brctl", "virbr"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "BridgeDocument")]
pub struct BridgeSpec {
    name: IfName,
    stp: bool,
    #[cfg_attr(feature = "schema", schemars(with = "u64"))]
    #[serde(rename = "forward_delay_ms", serialize_with = "milliseconds::serialize")]
    forward_delay: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<MacAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    vlan_filtering: Option<bool>,
}

#[derive(Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
struct BridgeDocument {
    /// Its name.
    name: IfName,
    /// Whether it takes part in the spanning tree.
    #[serde(default)]
    stp: bool,
    /// The forward delay in milliseconds.
    #[cfg_attr(feature = "schema", schemars(with = "Option<u64>"))]
    #[serde(default, rename = "forward_delay_ms", deserialize_with = "milliseconds::deserialize")]
    forward_delay: Option<Duration>,
    /// Its own hardware address; without one it gets one of this machine.
    #[serde(default)]
    mac: Option<MacAddr>,
    /// In bytes.
    #[serde(default)]
    mtu: Option<Mtu>,
    /// Whether it tells VLANs apart.
    #[serde(default)]
    vlan_filtering: Option<bool>,
}

impl TryFrom<BridgeDocument> for BridgeSpec {
    type Error = Error;
    fn try_from(d: BridgeDocument) -> Result<Self, Error> {
        let bridge = BridgeSpec::new(d.name).with_stp(d.stp).with_mtu(d.mtu).with_vlan_filtering(d.vlan_filtering);
        let bridge = bridge.with_mac(d.mac)?;
        match d.forward_delay {
            Some(delay) => bridge.with_forward_delay(delay),
            None => Ok(bridge),
        }
    }
}

impl BridgeSpec {
    /// The longest forward delay: what IEEE 802.1D allows, and the kernel with spanning tree (`BR_MAX_FORWARD_DELAY`).
    pub const LONGEST_DELAY: Duration = Duration::from_secs(30);
    /// The shortest forward delay with spanning tree (`BR_MIN_FORWARD_DELAY`); the kernel refuses another one, or changes it
    /// silently.
    pub const SHORTEST_DELAY_WITH_STP: Duration = Duration::from_secs(2);
    /// The default forward delay with spanning tree: that of IEEE 802.1D and of the kernel.
    pub const USUAL_DELAY_WITH_STP: Duration = Duration::from_secs(15);

    /// A bridge with the defaults above.
    pub const fn new(name: IfName) -> Self {
        BridgeSpec { name, stp: false, forward_delay: Duration::ZERO, mac: None, mtu: None, vlan_filtering: None }
    }

    /// Turns spanning tree on or off. Turned on, it raises a forward delay that is too short for it to the
    /// [usual one](Self::USUAL_DELAY_WITH_STP).
    #[must_use]
    pub fn with_stp(mut self, on: bool) -> Self {
        self.stp = on;
        if on && self.forward_delay < Self::SHORTEST_DELAY_WITH_STP {
            self.forward_delay = Self::USUAL_DELAY_WITH_STP;
        }
        self
    }

    /// Whether the forward delay is the default: 0, or [15 seconds](Self::USUAL_DELAY_WITH_STP) with spanning tree.
    pub fn has_usual_delay(&self) -> bool {
        self.forward_delay == BridgeSpec::new(self.name).with_stp(self.stp).forward_delay
    }

    /// Sets the forward delay: how long a new port listens before it forwards.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a forward delay that is too long, too short for spanning tree, or finer than the kernel counts.
    pub fn with_forward_delay(self, delay: Duration) -> Result<Self, Error> {
        let name = self.name;
        self.delayed(delay).map_err(|(message, rule)| refused(name, &message, rule))
    }

    /// The same for a reader, who names the key: the error is a message and the rule.
    pub(crate) fn delayed(self, delay: Duration) -> Result<Self, (String, &'static str)> {
        let (how, rule) = if delay > Self::LONGEST_DELAY {
            ("is too long", "it is 0 to 30 seconds, and 0 is usual")
        } else if self.stp && delay < Self::SHORTEST_DELAY_WITH_STP {
            ("does not go with spanning tree", "with spanning tree it is 2 to 30 seconds")
        } else if !delay.subsec_nanos().is_multiple_of(10_000_000) {
            ("is no number of hundredths of a second", "the kernel counts in hundredths of a second")
        } else {
            return Ok(BridgeSpec { forward_delay: delay, ..self });
        };
        Err((format!("a forward delay of {} s {how}", delay.as_secs_f64()), rule))
    }

    /// Sets the bridge's address. `None` leaves it to the kernel or to [`Host`](crate::Host), as [`mac`](Self::mac) says.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a multicast address and for 00:00:00:00:00:00.
    pub fn with_mac(self, mac: impl Into<Option<MacAddr>>) -> Result<Self, Error> {
        let (name, mac) = (self.name, mac.into());
        let given = mac.unwrap_or(MacAddr::ZERO);
        self.addressed(mac).map_err(|rule| refused(name, &format!("mac cannot be {given}"), rule))
    }

    /// The same for a reader, who names the key: the error is the rule.
    pub(crate) fn addressed(self, mac: Option<MacAddr>) -> Result<Self, &'static str> {
        match mac {
            Some(mac) if mac.is_multicast() || mac == MacAddr::ZERO => Err("a single station's address"),
            _ => Ok(BridgeSpec { mac, ..self }),
        }
    }

    /// Sets the bridge's MTU. `None`: it follows its smallest port.
    #[must_use]
    pub fn with_mtu(mut self, mtu: impl Into<Option<Mtu>>) -> Self {
        self.mtu = mtu.into();
        self
    }

    /// Turns VLAN filtering on or off. `None` leaves it as it is (off on a new bridge).
    #[must_use]
    pub fn with_vlan_filtering(mut self, on: impl Into<Option<bool>>) -> Self {
        self.vlan_filtering = on.into();
        self
    }

    /// The bridge's name.
    pub const fn name(&self) -> IfName {
        self.name
    }

    /// Spanning tree protocol; off by default, as the Xen scripts set it.
    pub const fn stp(&self) -> bool {
        self.stp
    }

    /// How long a new port listens before it forwards; 0 by default, as the Xen scripts set it. At most
    /// [`LONGEST_DELAY`](Self::LONGEST_DELAY), in hundredths of a second, and with spanning tree at least
    /// [`SHORTEST_DELAY_WITH_STP`](Self::SHORTEST_DELAY_WITH_STP).
    pub const fn forward_delay(&self) -> Duration {
        self.forward_delay
    }

    /// The bridge's own address. Without one the planner leaves it to the kernel, where it follows the lowest port and
    /// moves when guests come and go; [`Host`](crate::Host) therefore gives a new bridge an address of this host.
    pub const fn mac(&self) -> Option<MacAddr> {
        self.mac
    }

    /// The bridge's MTU; without one it follows its smallest port.
    pub const fn mtu(&self) -> Option<Mtu> {
        self.mtu
    }

    /// VLAN filtering; `None` leaves it as it is (off on a new bridge).
    pub const fn vlan_filtering(&self) -> Option<bool> {
        self.vlan_filtering
    }
}

fn refused(bridge: IfName, message: &str, rule: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{bridge}: {message}"))
        .with_object(bridge.as_str())
        .unchanged()
        .with_hint(rule)
}

/// A time as a whole number of milliseconds; the kernel counts in hundredths of a second.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        u64::deserialize(deserializer).map(|ms| Some(Duration::from_millis(ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Resolved;

    #[test]
    fn a_forward_delay_is_what_a_bridge_can_have() {
        let name: IfName = "xenbr0".parse().unwrap();
        let check = |stp: bool, ms| {
            let with = BridgeSpec::new(name).with_stp(stp).with_forward_delay(Duration::from_millis(ms));
            with.map(|_| ()).map_err(|e| e.message().to_owned())
        };
        let refused = |what: &str| Err(format!("xenbr0: a forward delay of {what}"));
        for fine in [(false, 0), (false, 10), (false, 30_000), (true, 2000), (true, 15_000), (true, 30_000)] {
            assert_eq!(check(fine.0, fine.1), Ok(()), "{fine:?}");
        }
        for (stp, ms, what) in [
            (false, 30_010, "30.01 s is too long"),
            (true, 100_000_000, "100000 s is too long"),
            (true, 0, "0 s does not go with spanning tree"),
            (true, 1990, "1.99 s does not go with spanning tree"),
            (false, 5, "0.005 s is no number of hundredths of a second"),
        ] {
            assert_eq!(check(stp, ms), refused(what));
        }
        let longest = BridgeSpec::new(name).with_forward_delay(Duration::MAX);
        assert_eq!(longest.unwrap_err().kind(), ErrorKind::Invalid);
        for bad in ["00:00:00:00:00:00", "01:00:5e:00:00:01", "ff:ff:ff:ff:ff:ff"] {
            assert!(BridgeSpec::new(name).with_mac(bad.parse::<MacAddr>().unwrap()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_needs_the_name_alone_and_refuses_unknown_names() {
        let name: IfName = "xenbr0".parse().unwrap();
        let read = |text: &str| serde_json::from_str::<BridgeSpec>(text);
        assert_eq!(read(r#"{"name": "xenbr0"}"#).unwrap(), BridgeSpec::new(name));
        let slow = BridgeSpec::new(name).with_stp(true);
        assert_eq!(read(r#"{"name": "xenbr0", "stp": true, "forward_delay_ms": 15000}"#).unwrap(), slow);
        assert_eq!(read(r#"{"name": "xenbr0", "stp": true}"#).unwrap(), slow);
        assert_eq!(read(&serde_json::to_string(&slow).unwrap()).unwrap(), slow);
        let wish = Resolved::Bridge(slow);
        assert_eq!(serde_json::from_str::<Resolved>(&serde_json::to_string(&wish).unwrap()).unwrap(), wish);
        for bad in [
            "{}",
            r#"{"name": "a/b"}"#,
            r#"{"name": "x", "mtu": 67}"#,
            r#"{"name": "x", "forward_delay": 1}"#,
            r#"{"name": "x", "stp": true, "forward_delay_ms": 0}"#,
            r#"{"name": "x", "mac": "01:00:5e:00:00:01"}"#,
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
