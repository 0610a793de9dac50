//! Bridge ports: settings, VLANs, forwarding entries.

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::link::{
    AfSpecBridge, BridgeFlag, BridgeVlanInfo, BridgeVlanInfoFlags, LinkAttribute, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState};
use rtnetlink::{LinkBridgePort, LinkMessageBuilder, LinkUnspec};

use super::link::{given, switched};
use crate::backend::netlink::Netlink;
use crate::backend::netlink::observe::Which;
use crate::backend::netlink::refusal::Refusal;
use crate::error::Errno;
use crate::model::{IfName, Tagging};
use crate::snapshot::{FdbEntry, FdbKind, LinkKind, PortVlan};
use crate::step::{LinkRef, PortChange, PortStep};

/// A message with settings of a bridge port.
type Settings = LinkMessageBuilder<LinkBridgePort>;

pub(super) fn apply(netlink: &mut Netlink, step: &PortStep) -> Result<(), Refusal> {
    match step {
        PortStep::Set { port, change, up } => {
            let index = netlink.number_of(port)?;
            if *change == PortChange::default() {
                let message = given(LinkUnspec::new_with_index(index), *up, switched);
                return netlink.send(0, &Rtnl::SetLink(message.build()));
            }
            // RTM_SETLINK never reads IFLA_LINKINFO. RTM_NEWLINK without NLM_F_CREATE does, before the flags.
            let message = given(LinkBridgePort::new(index), *up, switched);
            netlink.send(0, &Rtnl::NewLink(settings(message, change).build()))
        }
        PortStep::VlanAdd { port, vlan } => {
            let message = vlan_message(netlink, port, vlan)?;
            netlink.send(0, &Rtnl::SetLink(message))
        }
        PortStep::VlanDel { port, vlan } => {
            let message = vlan_message(netlink, port, vlan)?;
            netlink.send(0, &Rtnl::DelLink(message))
        }
        PortStep::FdbAdd { entry } => {
            let message = fdb_message(netlink, entry)?;
            netlink.create(&Rtnl::NewNeighbour(message))
        }
        PortStep::FdbDel { entry } => {
            let message = fdb_message(netlink, entry)?;
            netlink.send(0, &Rtnl::DelNeighbour(message))
        }
    }
}

fn settings(message: Settings, change: &PortChange) -> Settings {
    let message = given(message, change.isolated, Settings::isolated);
    let message = given(message, change.learning, Settings::learning);
    let message = given(message, change.hairpin, Settings::hairpin);
    let message = given(message, change.unicast_flood, Settings::flood);
    let message = given(message, change.multicast_flood, Settings::mcast_flood);
    let message = given(message, change.broadcast_flood, Settings::bcast_flood);
    let message = given(message, change.neigh_suppress, Settings::neigh_suppress);
    let message = given(message, change.locked, Settings::locked);
    let message = given(message, change.bpdu_guard, Settings::guard);
    let message = given(message, change.root_block, Settings::root_block);
    given(message, change.group_forward, Settings::group_fwd_mask)
}

/// A VLAN of a port or of a bridge. The kernel wants to be told which of the two it is (`BRIDGE_FLAGS_SELF`), so it is
/// asked.
fn vlan_message(netlink: &mut Netlink, port: &LinkRef, vlan: &PortVlan) -> Result<LinkMessage, Refusal> {
    let which = port.index.map_or(Which::Name(port.name), Which::Index);
    let (index, bridge) = whether_bridge(netlink, which, &port.name)?;
    let mut flags = BridgeVlanInfoFlags::empty();
    flags.set(BridgeVlanInfoFlags::Pvid, vlan.pvid);
    flags.set(BridgeVlanInfoFlags::Untagged, vlan.tagging == Tagging::Untagged);
    let mut spec = Vec::new();
    if bridge {
        spec.push(AfSpecBridge::Flags(BridgeFlag::LowerDev));
    }
    spec.push(AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid: vlan.vid.get() }));
    let message = LinkUnspec::new_with_index(index).interface_family(AddressFamily::Bridge);
    Ok(message.append_extra_attribute(LinkAttribute::AfSpecBridge(spec)).build())
}

/// A forwarding entry, at a port (`NTF_MASTER`: kept by its bridge) or at a bridge itself (`NTF_SELF`). At a port
/// `NTF_SELF` would add the address to those that the link itself listens to.
fn fdb_message(netlink: &mut Netlink, entry: &FdbEntry) -> Result<NeighbourMessage, Refusal> {
    let (index, bridge) = whether_bridge(netlink, Which::Name(entry.link), &entry.link)?;
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    message.header.flags = if bridge { NeighbourFlags::Own } else { NeighbourFlags::Controller };
    message.header.state = match entry.kind {
        FdbKind::Local => NeighbourState::Permanent,
        FdbKind::Static => NeighbourState::Noarp,
    };
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(entry.mac.octets().to_vec()));
    message.attributes.extend(entry.vlan.map(NeighbourAttribute::Vlan));
    Ok(message)
}

/// The number of a link, and whether it is a bridge.
fn whether_bridge(netlink: &mut Netlink, which: Which, name: &IfName) -> Result<(u32, bool), Refusal> {
    match netlink.fetch_link(which)? {
        Some(told) => Ok((told.link.index, told.link.kind == LinkKind::Bridge)),
        None => Err(Refusal::new(Errno::ENODEV).with_message(format!("there is no link {name}"))),
    }
}
