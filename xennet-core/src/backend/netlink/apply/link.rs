//! Links.

use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoBridge, InfoData, InfoKind, InfoVeth, LinkAttribute,
    LinkFlags, LinkInfo, LinkMessage,
};

use crate::backend::netlink::Netlink;
use crate::backend::netlink::refusal::Refusal;
use crate::error::Errno;
use crate::snapshot::AddrGenMode;
use crate::step::{BridgeChange, LinkChange, LinkStep, NewLink, NewMaster};

const IFLA_IFALIAS: u16 = 20;

/// The longest text in an attribute, whose length has 16 bits. The kernel takes far less; this is what can be asked at
/// all.
const LONGEST: usize = 0xffff - 8;

pub(super) fn apply(netlink: &mut Netlink, step: &LinkStep) -> Result<(), Refusal> {
    match step {
        LinkStep::Create { name, kind, change } => {
            let mut message = LinkMessage::default();
            message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
            fill(netlink, &mut message, change)?;
            message.attributes.push(LinkAttribute::LinkInfo(match kind {
                NewLink::Bridge => bridge_info(&change.bridge),
                NewLink::Veth { peer } => {
                    let mut end = LinkMessage::default();
                    end.attributes.push(LinkAttribute::IfName(peer.as_str().to_owned()));
                    vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(end)))]
                }
            }));
            netlink.create(&Rtnl::NewLink(message))
        }
        LinkStep::Set { link, change } => {
            let mut message = LinkMessage::default();
            message.header.index = netlink.number_of(link)?;
            fill(netlink, &mut message, change)?;
            if let Some(name) = change.name {
                message.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
            }
            if change.bridge.is_empty() {
                return netlink.send(0, &Rtnl::SetLink(message));
            }
            // RTM_SETLINK never reads IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does, and then goes the same way.
            message.attributes.push(LinkAttribute::LinkInfo(bridge_info(&change.bridge)));
            netlink.send(0, &Rtnl::NewLink(message))
        }
        LinkStep::Delete { link } => {
            let mut message = LinkMessage::default();
            message.header.index = netlink.number_of(link)?;
            netlink.send(0, &Rtnl::DelLink(message))
        }
    }
}

/// Everything of a change but the name and the settings of a bridge.
fn fill(netlink: &mut Netlink, message: &mut LinkMessage, change: &LinkChange) -> Result<(), Refusal> {
    flag(message, LinkFlags::Up, change.up);
    flag(message, LinkFlags::Noarp, change.arp.map(|arp| !arp));
    flag(message, LinkFlags::Multicast, change.multicast);
    let attributes = &mut message.attributes;
    if let Some(mac) = change.mac {
        attributes.push(LinkAttribute::Address(mac.octets().to_vec()));
    }
    if let Some(mtu) = change.mtu {
        attributes.push(LinkAttribute::Mtu(mtu));
    }
    if let Some(alias) = &change.alias {
        if alias.len() > LONGEST {
            return Err(Refusal::new(Errno::EMSGSIZE).with_message("the note does not fit into a message"));
        }
        // Without the final zero that a text would get: a length of nothing is what takes a note away.
        attributes.push(LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec())));
    }
    match &change.master {
        Some(NewMaster::Bridge(bridge)) => attributes.push(LinkAttribute::Controller(netlink.number_of(bridge)?)),
        Some(NewMaster::None) => attributes.push(LinkAttribute::Controller(0)),
        None => {}
    }
    if let Some(len) = change.txqueuelen {
        attributes.push(LinkAttribute::TxQueueLen(len));
    }
    if let Some(mode) = change.addr_gen_mode {
        let mode = match mode {
            AddrGenMode::Eui64 => In6AddrGenMode::Eui64,
            AddrGenMode::None => In6AddrGenMode::None,
            AddrGenMode::StablePrivacy => In6AddrGenMode::StablePrivacy,
            AddrGenMode::Random => In6AddrGenMode::Random,
        };
        attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)])]));
    }
    Ok(())
}

/// A flag that changes, or stays as it is.
pub(super) fn flag(message: &mut LinkMessage, flag: LinkFlags, wanted: Option<bool>) {
    if let Some(on) = wanted {
        message.header.change_mask |= flag;
        message.header.flags.set(flag, on);
    }
}

fn bridge_info(change: &BridgeChange) -> Vec<LinkInfo> {
    let mut data = Vec::new();
    if let Some(stp) = change.stp {
        data.push(InfoBridge::StpState(if stp { BridgeStpState::KernelStp } else { BridgeStpState::Disabled }));
    }
    data.extend(change.forward_delay_cs.map(InfoBridge::ForwardDelay));
    data.extend(change.ageing_time_cs.map(InfoBridge::AgeingTime));
    data.extend(change.vlan_filtering.map(InfoBridge::VlanFiltering));
    data.extend(change.default_pvid.map(InfoBridge::VlanDefaultPvid));
    data.extend(change.multicast_snooping.map(InfoBridge::MulticastSnooping));
    let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    if !data.is_empty() {
        info.push(LinkInfo::Data(InfoData::Bridge(data)));
    }
    info
}
