//! VLAN membership of a bridge port.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// A VLAN id: 1 to 4094. 0 and 4095 are reserved by IEEE 802.1Q.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Vid(u16);

impl Vid {
    /// VLAN 1, which the kernel puts on every new port of a VLAN-aware bridge.
    pub const ONE: Vid = Vid(1);

    /// Checks the range 1 to 4094; `None` outside of it.
    pub const fn new(id: u16) -> Option<Self> {
        if id >= 1 && id <= 4094 { Some(Vid(id)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Vid {
    type Error = Error;
    fn try_from(id: u16) -> Result<Self, Error> {
        Vid::new(id).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("VLAN id {id} is out of range: it is 1 to 4094"))
                .with_object(id.to_string())
        })
    }
}

impl From<Vid> for u16 {
    fn from(vid: Vid) -> u16 {
        vid.0
    }
}

impl fmt::Display for Vid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether frames of a VLAN leave a port with their tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tagging {
    /// The guest sees the tag.
    Tagged,
    /// The tag is taken off on the way to the guest.
    Untagged,
}

/// The value of `vlan=`: which VLANs a vif belongs to. There is always exactly one PVID, and it is untagged.
///
/// Source: `xl-network-configuration(5)`, key `vlan`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VlanSpec {
    pub(crate) pvid: Vid,
    pub(crate) vids: BTreeMap<Vid, Tagging>,
}

impl VlanSpec {
    /// One untagged VLAN: an access port.
    pub fn access(pvid: Vid) -> Self {
        VlanSpec { pvid, vids: BTreeMap::from([(pvid, Tagging::Untagged)]) }
    }

    /// The VLAN that the guest's untagged frames belong to.
    pub fn pvid(&self) -> Vid {
        self.pvid
    }

    /// Every VLAN of the port, the PVID included, in ascending order.
    pub fn vids(&self) -> impl Iterator<Item = (Vid, Tagging)> + '_ {
        self.vids.iter().map(|(v, t)| (*v, *t))
    }
}
