//! What the kernel has learned by itself, and is to forget.

use std::net::IpAddr;

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::model::{IfName, MacAddr, Vid};

/// Something that the kernel has learned, and is to forget: it was about a guest that has gone, and the next one would inherit it.
///
/// Learned entries are no state: a [`Snapshot`](crate::snapshot::Snapshot) has none of them, so nothing is put back and no plan has such a
/// step. To forget is idempotent: where nothing was learned it succeeds, also where there is no such link. The kernel learns again what it
/// needs.
#[doc(alias("conntrack -D", "ip neigh flush", "bridge fdb flush"))]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ForgetStep {
    /// The tracked connections that one of these addresses has begun, or that have gone to one of them, whatever NAT has made of the
    /// packets: `conntrack -D --orig-src ADDRESS`, `conntrack -D --reply-src ADDRESS`.
    ///
    /// Source: `net/netfilter/nf_conntrack_netlink.c`, `ctnetlink_del_conntrack`. Loads no module.
    Connections {
        /// Single addresses, or networks for all that is in them.
        #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
        addresses: Vec<IpNetwork>,
    },
    /// Behind which port a bridge has learned a station. Static entries stay: `bridge fdb del MAC dev PORT master`.
    ///
    /// Source: `net/bridge/br_fdb.c`, `br_fdb_get`, `br_fdb_delete`.
    Station {
        /// The bridge.
        bridge: IfName,
        /// The station.
        mac: MacAddr,
        /// The VLAN, on a bridge that filters by VLAN.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<Vid>,
        /// What was learned at this port may stay: the station is there now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        except: Option<IfName>,
    },
    /// The hardware addresses that this domain has learned of neighbours on a link (ARP, NDP). Permanent and proxy entries stay:
    /// `ip neigh del ADDRESS dev LINK`.
    ///
    /// Source: `net/core/neighbour.c`, `neigh_get`, `neigh_delete`.
    Neighbours {
        /// The link.
        link: IfName,
        /// Their addresses.
        addresses: Vec<IpAddr>,
    },
    /// The counts of packets from a link that the guard and the gate have dropped ([`Violation`](crate::model::Violation)):
    /// `nft delete element bridge xennet-guard violations { LINK . 0x1, … }`.
    ///
    /// Source: `net/netfilter/nf_tables_api.c`, `nft_get_set_elem`, `nft_del_setelem`. Loads no module.
    Violations {
        /// The link.
        link: IfName,
    },
}

impl ForgetStep {
    /// The object in words: the addresses, the station, or the link.
    pub(crate) fn object(&self) -> String {
        match self {
            ForgetStep::Connections { addresses } => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("tracked connections of {}", all.join(", "))
            }
            ForgetStep::Station { mac, .. } => format!("station {mac}"),
            ForgetStep::Neighbours { link, .. } | ForgetStep::Violations { link } => link.to_string(),
        }
    }

    /// The step in words.
    pub(super) fn words(&self) -> String {
        match self {
            ForgetStep::Connections { .. } => format!("{}: forgotten", self.object()),
            ForgetStep::Station { bridge, mac, vlan, except } => {
                let vlan = vlan.map_or_else(String::new, |vlan| format!(" in VLAN {vlan}"));
                let except = except.map_or_else(String::new, |port| format!(" unless behind {port}"));
                format!("{bridge}: learned station {mac}{vlan} forgotten{except}")
            }
            ForgetStep::Neighbours { link, addresses } => {
                let all: Vec<String> = addresses.iter().map(ToString::to_string).collect();
                format!("{link}: learned neighbours forgotten: {}", all.join(", "))
            }
            ForgetStep::Violations { link } => format!("{link}: counted violations forgotten"),
        }
    }
}
