//! Links, with the settings of bridges and bridge ports.
//!
//! Source: `include/uapi/linux/if_link.h`, `net/core/rtnetlink.c` (`rtnl_fill_ifinfo`), `net/bridge/br_netlink.c`.

use crate::backend::netlink::wire::{self, Attributes};
use crate::model::{IfName, MacAddr};
use crate::snapshot::{AddrGenMode, BridgeState, Link, LinkKind, PortState};

/// `RTM_NEWLINK`.
pub(crate) const NEW: u16 = 16;

/// Bytes of `struct ifinfomsg`.
pub(super) const HEADER: usize = 16;

const IFF_UP: u32 = 1;
/// It is up and has a carrier (`include/uapi/linux/if.h`).
pub(crate) const IFF_LOWER_UP: u32 = 1 << 16;
const IFF_NOARP: u32 = 1 << 7;
const IFF_MULTICAST: u32 = 1 << 12;
const ARPHRD_LOOPBACK: u16 = 772;
const AF_INET6: u16 = 10;

const IFLA_ADDRESS: u16 = 1;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
pub(super) const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_TXQLEN: u16 = 13;
pub(super) const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_AF_SPEC: u16 = 26;
pub(super) const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_MIN_MTU: u16 = 50;
const IFLA_MAX_MTU: u16 = 51;

const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;

pub(super) const IFLA_INFO_KIND: u16 = 1;
pub(super) const IFLA_INFO_DATA: u16 = 2;
pub(super) const IFLA_INFO_SLAVE_KIND: u16 = 4;
pub(super) const IFLA_INFO_SLAVE_DATA: u16 = 5;

const IFLA_BR_FORWARD_DELAY: u16 = 1;
const IFLA_BR_AGEING_TIME: u16 = 4;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BR_VLAN_FILTERING: u16 = 7;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BR_NF_CALL_IPTABLES: u16 = 36;
const IFLA_BR_NF_CALL_IP6TABLES: u16 = 37;
const IFLA_BR_VLAN_DEFAULT_PVID: u16 = 39;

const IFLA_BRPORT_MODE: u16 = 4;
const IFLA_BRPORT_GUARD: u16 = 5;
const IFLA_BRPORT_PROTECT: u16 = 6;
const IFLA_BRPORT_LEARNING: u16 = 8;
const IFLA_BRPORT_UNICAST_FLOOD: u16 = 9;
const IFLA_BRPORT_MCAST_FLOOD: u16 = 27;
const IFLA_BRPORT_BCAST_FLOOD: u16 = 30;
const IFLA_BRPORT_GROUP_FWD_MASK: u16 = 31;
const IFLA_BRPORT_NEIGH_SUPPRESS: u16 = 32;
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFLA_BRPORT_LOCKED: u16 = 39;

/// A link as the kernel tells it: other links by their numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its name.
    pub(crate) name: IfName,
    /// All but `master` and `peer`.
    pub(crate) link: Link,
    /// The number of the master.
    pub(crate) master: Option<u32>,
    /// Of a veth: the number of the other end, `None` when it is in another namespace.
    pub(crate) peer: Option<Option<u32>>,
}

/// The name of a link, as far as our rules take it. The kernel also takes bytes that could move a terminal; such a link
/// is shown by a question mark and its number, a name that it is not found under.
pub(crate) fn name(bytes: &[u8], index: u32) -> IfName {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(|text| IfName::check(text).ok())
        .unwrap_or_else(|| IfName::literal(&format!("?{index}")))
}

/// Reads the body of an `RTM_NEWLINK`.
pub(crate) fn read(body: &[u8]) -> Option<Told> {
    let hardware = wire::u16(body.get(2..)?)?;
    let index = wire::u32(body.get(4..)?)?;
    let flags = wire::u32(body.get(8..)?)?;
    let mut link = Link {
        index,
        kind: if hardware == ARPHRD_LOOPBACK { LinkKind::Loopback } else { LinkKind::Plain },
        mac: None,
        mtu: 0,
        mtu_range: (0, 0),
        up: flags & IFF_UP != 0,
        arp: flags & IFF_NOARP == 0,
        multicast: flags & IFF_MULTICAST != 0,
        master: None,
        addr_gen_mode: None,
        alias: None,
        txqueuelen: 0,
        bridge: None,
        port: None,
        peer: None,
    };
    let (mut found, mut master, mut other, mut elsewhere) = (None, None, None, false);
    for (kind, value) in Attributes::after(body, HEADER) {
        match kind {
            IFLA_IFNAME => found = Some(name(wire::text(value), index)),
            IFLA_ADDRESS => link.mac = <[u8; 6]>::try_from(value).ok().map(MacAddr::new),
            IFLA_MTU => link.mtu = wire::u32(value)?,
            IFLA_MIN_MTU => link.mtu_range.0 = wire::u32(value)?,
            IFLA_MAX_MTU => link.mtu_range.1 = wire::u32(value)?,
            IFLA_MASTER => master = wire::u32(value),
            IFLA_LINK => other = wire::u32(value),
            IFLA_LINK_NETNSID => elsewhere = true,
            IFLA_TXQLEN => link.txqueuelen = wire::u32(value)?,
            IFLA_IFALIAS => link.alias = Some(String::from_utf8_lossy(wire::text(value)).into_owned()),
            IFLA_LINKINFO => read_info(value, &mut link),
            IFLA_AF_SPEC => {
                link.addr_gen_mode = Attributes::of(value)
                    .find(AF_INET6)
                    .and_then(|inet6| Attributes::of(inet6).find(IFLA_INET6_ADDR_GEN_MODE))
                    .and_then(wire::u8)
                    .and_then(addr_gen_mode);
            }
            _ => {}
        }
    }
    let peer = match (&link.kind, other) {
        (LinkKind::Veth, Some(other)) => Some((!elsewhere).then_some(other)),
        _ => None,
    };
    Some(Told { name: found?, link, master, peer })
}

fn addr_gen_mode(number: u8) -> Option<AddrGenMode> {
    match number {
        0 => Some(AddrGenMode::Eui64),
        1 => Some(AddrGenMode::None),
        2 => Some(AddrGenMode::StablePrivacy),
        3 => Some(AddrGenMode::Random),
        _ => None,
    }
}

fn read_info(nest: &[u8], link: &mut Link) {
    let info = Attributes::of(nest);
    if let Some(kind) = info.find(IFLA_INFO_KIND) {
        link.kind = match wire::text(kind) {
            b"bridge" => LinkKind::Bridge,
            b"veth" => LinkKind::Veth,
            b"tun" => LinkKind::Tun,
            b"ifb" => LinkKind::Ifb,
            b"macvlan" => LinkKind::Macvlan,
            other => LinkKind::Other(String::from_utf8_lossy(other).into_owned()),
        };
    }
    if link.kind == LinkKind::Bridge {
        link.bridge = info.find(IFLA_INFO_DATA).map(read_bridge);
    }
    if info.find(IFLA_INFO_SLAVE_KIND).is_some_and(|kind| wire::text(kind) == b"bridge") {
        link.port = info.find(IFLA_INFO_SLAVE_DATA).map(read_port);
    }
}

fn read_bridge(nest: &[u8]) -> BridgeState {
    let mut bridge = BridgeState {
        stp: false,
        forward_delay_cs: 0,
        ageing_time_cs: 0,
        vlan_filtering: None,
        default_pvid: None,
        multicast_snooping: false,
        filters_ipv4: false,
        filters_ipv6: false,
        mac_fixed: None,
        mtu_fixed: None,
    };
    for (kind, value) in Attributes::of(nest) {
        match kind {
            // 1 the kernel's, 2 a program's: both are "on".
            IFLA_BR_STP_STATE => bridge.stp = wire::u32(value).is_some_and(|state| state != 0),
            IFLA_BR_FORWARD_DELAY => bridge.forward_delay_cs = wire::u32(value).unwrap_or(0),
            IFLA_BR_AGEING_TIME => bridge.ageing_time_cs = wire::u32(value).unwrap_or(0),
            IFLA_BR_MCAST_SNOOPING => bridge.multicast_snooping = on(value),
            IFLA_BR_NF_CALL_IPTABLES => bridge.filters_ipv4 = on(value),
            IFLA_BR_NF_CALL_IP6TABLES => bridge.filters_ipv6 = on(value),
            IFLA_BR_VLAN_FILTERING => bridge.vlan_filtering = Some(on(value)),
            IFLA_BR_VLAN_DEFAULT_PVID => bridge.default_pvid = wire::u16(value),
            _ => {}
        }
    }
    // A kernel without CONFIG_BRIDGE_VLAN_FILTERING says "off" too, but has no default PVID to tell.
    if bridge.default_pvid.is_none() {
        bridge.vlan_filtering = None;
    }
    bridge
}

fn read_port(nest: &[u8]) -> PortState {
    let mut port = PortState::default();
    for (kind, value) in Attributes::of(nest) {
        let field = match kind {
            IFLA_BRPORT_MODE => &mut port.hairpin,
            IFLA_BRPORT_GUARD => &mut port.bpdu_guard,
            IFLA_BRPORT_PROTECT => &mut port.root_block,
            IFLA_BRPORT_LEARNING => &mut port.learning,
            IFLA_BRPORT_UNICAST_FLOOD => &mut port.unicast_flood,
            IFLA_BRPORT_MCAST_FLOOD => &mut port.multicast_flood,
            IFLA_BRPORT_BCAST_FLOOD => &mut port.broadcast_flood,
            IFLA_BRPORT_NEIGH_SUPPRESS => &mut port.neigh_suppress,
            IFLA_BRPORT_ISOLATED => &mut port.isolated,
            IFLA_BRPORT_LOCKED => &mut port.locked,
            IFLA_BRPORT_GROUP_FWD_MASK => {
                port.group_forward = wire::u16(value).unwrap_or_default();
                continue;
            }
            _ => continue,
        };
        *field = on(value);
    }
    port
}

fn on(value: &[u8]) -> bool {
    wire::u8(value).is_some_and(|flag| flag != 0)
}
