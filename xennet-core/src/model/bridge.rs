//! What a bridge shall be.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{IfName, MacAddr, Mtu};

/// A bridge as Xen hosts want it: spanning tree off, no forward delay, its own fixed MAC.
///
/// `None` means: as the kernel makes it, and whatever it is on a bridge that exists already.
///
/// As a document it is `{"name": "xenbr0"}`, with the other fields where they matter; `forward_delay` is `forward_delay_ms`
/// there, a whole number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BridgeSpec {
    /// The bridge's name.
    pub name: IfName,
    /// Spanning tree protocol; off by default, as the Xen scripts set it.
    #[serde(default)]
    pub stp: bool,
    /// How long a new port listens before it forwards; 0 by default, as the Xen scripts set it.
    #[serde(default, rename = "forward_delay_ms", with = "milliseconds")]
    pub forward_delay: Duration,
    /// The bridge's own address. Without one the planner leaves it to the kernel, where it follows the lowest port and
    /// moves when guests come and go; [`Host`](crate::Host) therefore gives a new bridge an address of this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// The bridge's MTU; without one it follows its smallest port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<Mtu>,
    /// VLAN filtering; `None` leaves it as it is (off on a new bridge).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan_filtering: Option<bool>,
}

impl BridgeSpec {
    /// A bridge with the defaults above.
    pub fn new(name: IfName) -> Self {
        BridgeSpec { name, stp: false, forward_delay: Duration::ZERO, mac: None, mtu: None, vlan_filtering: None }
    }
}

/// A time as a whole number of milliseconds; the kernel counts in hundredths of a second.
mod milliseconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Intent;

    #[test]
    fn a_document_needs_the_name_alone_and_refuses_unknown_names() {
        let name: IfName = "xenbr0".parse().unwrap();
        let read = |text: &str| serde_json::from_str::<BridgeSpec>(text);
        assert_eq!(read(r#"{"name": "xenbr0"}"#).unwrap(), BridgeSpec::new(name));
        let slow = BridgeSpec { forward_delay: Duration::from_secs(15), stp: true, ..BridgeSpec::new(name) };
        assert_eq!(read(r#"{"name": "xenbr0", "stp": true, "forward_delay_ms": 15000}"#).unwrap(), slow);
        assert_eq!(read(&serde_json::to_string(&slow).unwrap()).unwrap(), slow);
        let intent = Intent::Bridge(slow);
        assert_eq!(serde_json::from_str::<Intent>(&serde_json::to_string(&intent).unwrap()).unwrap(), intent);
        for bad in ["{}", r#"{"name": "a/b"}"#, r#"{"name": "x", "mtu": 67}"#, r#"{"name": "x", "forward_delay": 1}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
