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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct BridgeSpec {
    /// The bridge's name.
    pub name: IfName,
    /// Spanning tree protocol; off by default, as the Xen scripts set it.
    #[serde(default)]
    pub stp: bool,
    /// How long a new port listens before it forwards; 0 by default, as the Xen scripts set it. At most
    /// [`LONGEST_DELAY`](Self::LONGEST_DELAY), in hundredths of a second, and with spanning tree at least
    /// [`SHORTEST_DELAY_WITH_STP`](Self::SHORTEST_DELAY_WITH_STP).
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
    /// The longest forward delay: what IEEE 802.1D allows, and the kernel with spanning tree (`BR_MAX_FORWARD_DELAY`).
    pub const LONGEST_DELAY: Duration = Duration::from_secs(30);
    /// The shortest forward delay with spanning tree (`BR_MIN_FORWARD_DELAY`); the kernel refuses another one, or changes it
    /// silently.
    pub const SHORTEST_DELAY_WITH_STP: Duration = Duration::from_secs(2);

    /// A bridge with the defaults above.
    pub fn new(name: IfName) -> Self {
        BridgeSpec { name, stp: false, forward_delay: Duration::ZERO, mac: None, mtu: None, vlan_filtering: None }
    }

    /// Checks what no single field can: the rules are those of a network's bridge, too.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a forward delay that is too long, too short for spanning tree, or finer than the kernel counts.
    pub fn check(&self) -> Result<(), Error> {
        let delay = self.forward_delay;
        let (how, rule) = if delay > Self::LONGEST_DELAY {
            ("is too long", "it is 0 to 30 seconds, and 0 is usual")
        } else if self.stp && delay < Self::SHORTEST_DELAY_WITH_STP {
            ("does not go with spanning tree", "with spanning tree it is 2 to 30 seconds")
        } else if !delay.subsec_nanos().is_multiple_of(10_000_000) {
            ("is no number of hundredths of a second", "the kernel counts in hundredths of a second")
        } else {
            return Ok(());
        };
        Err(Error::new(
            ErrorKind::Invalid,
            format!("{}: a forward delay of {} s {how}", self.name, delay.as_secs_f64()),
        )
        .with_object(self.name.as_str())
        .with_state("unchanged, nothing was applied")
        .with_hint(rule))
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
    fn a_forward_delay_is_what_a_bridge_can_have() {
        let name: IfName = "xenbr0".parse().unwrap();
        let check = |stp, ms| {
            let spec = BridgeSpec { stp, forward_delay: Duration::from_millis(ms), ..BridgeSpec::new(name) };
            spec.check().map_err(|e| e.message().to_owned())
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
        let longest = BridgeSpec { forward_delay: Duration::MAX, ..BridgeSpec::new(name) };
        assert_eq!(longest.check().unwrap_err().kind(), ErrorKind::Invalid);
    }

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
