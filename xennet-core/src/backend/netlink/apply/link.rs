//! Links.

use rtnetlink::packet_core::DefaultNla;
use rtnetlink::packet_route::RouteNetlinkMessage as Rtnl;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, BridgeStpState, In6AddrGenMode, InfoKind, LinkAttribute,
};
use rtnetlink::{LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth};

use crate::backend::netlink::Netlink;
use crate::backend::netlink::refusal::Refusal;
use crate::error::Errno;
use crate::snapshot::AddrGenMode;
use crate::step::{BridgeChange, LinkChange, LinkStep, NewLink, NewMaster};

const IFLA_IFALIAS: u16 = 20;

/// The longest text in an attribute, whose length has 16 bits. The kernel takes far less; this is what can be asked at
/// all.
const LONGEST: usize = 0xffff - 8;

/// A message with settings of a bridge.
type Settings = LinkMessageBuilder<LinkBridge>;

pub(super) fn apply(netlink: &mut Netlink, step: &LinkStep) -> Result<(), Refusal> {
    match step {
        LinkStep::Create { name, kind, change } => {
            let message = match kind {
                NewLink::Bridge => {
                    // Not `LinkBridge::new`, which also sets `IFF_UP`.
                    let new = Settings::new(name.as_str());
                    bridge(fill(netlink, new, change)?, &change.bridge).build()
                }
                NewLink::Veth { peer } => fill(netlink, LinkVeth::new(name.as_str(), peer.as_str()), change)?.build(),
            };
            netlink.create(&Rtnl::NewLink(message))
        }
        LinkStep::Set { link, change } => {
            let index = netlink.number_of(link)?;
            if change.bridge.is_empty() {
                let message = fill(netlink, LinkUnspec::new_with_index(index), change)?;
                return netlink.send(0, &Rtnl::SetLink(named(message, change).build()));
            }
            // RTM_SETLINK never reads IFLA_LINKINFO; RTM_NEWLINK without NLM_F_CREATE does, and then goes the same way.
            let is_there = Settings::new_with_info_kind(InfoKind::Bridge).index(index);
            let message = named(fill(netlink, is_there, change)?, change);
            netlink.send(0, &Rtnl::NewLink(bridge(message, &change.bridge).build()))
        }
        LinkStep::Delete { link } => {
            let message = LinkUnspec::new_with_index(netlink.number_of(link)?);
            netlink.send(0, &Rtnl::DelLink(message.build()))
        }
    }
}

/// A message that says something more, where there is something to say.
pub(super) fn given<B, V>(message: B, value: Option<V>, say: impl FnOnce(B, V) -> B) -> B {
    match value {
        Some(value) => say(message, value),
        None => message,
    }
}

/// Up or down.
pub(super) fn switched<T>(message: LinkMessageBuilder<T>, up: bool) -> LinkMessageBuilder<T> {
    if up { message.up() } else { message.down() }
}

/// Everything of a change but the name and the settings of a bridge.
fn fill<T>(
    netlink: &mut Netlink,
    message: LinkMessageBuilder<T>,
    change: &LinkChange,
) -> Result<LinkMessageBuilder<T>, Refusal> {
    let message = given(message, change.up, switched);
    let message = given(message, change.arp, LinkMessageBuilder::arp);
    let message = given(message, change.multicast, LinkMessageBuilder::multicast);
    let message = given(message, change.mac, |message, mac| message.address(mac.octets().to_vec()));
    let mut message = given(message, change.mtu, LinkMessageBuilder::mtu);
    if let Some(alias) = &change.alias {
        if alias.len() > LONGEST {
            return Err(Refusal::new(Errno::EMSGSIZE).with_message("the note does not fit into a message"));
        }
        // Without the final zero that a text would get: a length of nothing is what takes a note away.
        let note = DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec());
        message = message.append_extra_attribute(LinkAttribute::Other(note));
    }
    let message = match &change.master {
        Some(NewMaster::Bridge(bridge)) => message.controller(netlink.number_of(bridge)?),
        Some(NewMaster::None) => message.nocontroller(),
        None => message,
    };
    let message = given(message, change.txqueuelen, LinkMessageBuilder::txqueuelen);
    Ok(given(message, change.addr_gen_mode, |message, mode| {
        let mode = match mode {
            AddrGenMode::Eui64 => In6AddrGenMode::Eui64,
            AddrGenMode::None => In6AddrGenMode::None,
            AddrGenMode::StablePrivacy => In6AddrGenMode::StablePrivacy,
            AddrGenMode::Random => In6AddrGenMode::Random,
        };
        let spec = vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(mode)])];
        message.append_extra_attribute(LinkAttribute::AfSpecUnspec(spec))
    }))
}

/// The new name of a link that is there.
fn named<T>(message: LinkMessageBuilder<T>, change: &LinkChange) -> LinkMessageBuilder<T> {
    given(message, change.name, |message, name| message.name(name.as_str()))
}

/// The settings of a bridge.
fn bridge(message: Settings, change: &BridgeChange) -> Settings {
    let message = given(message, change.stp, |message, on| {
        message.stp_state(if on { BridgeStpState::KernelStp } else { BridgeStpState::Disabled })
    });
    let message = given(message, change.forward_delay_cs, Settings::forward_delay);
    let message = given(message, change.ageing_time_cs, Settings::ageing_time);
    let message = given(message, change.vlan_filtering, Settings::vlan_filtering);
    let message = given(message, change.default_pvid, Settings::vlan_default_pvid);
    given(message, change.multicast_snooping, Settings::mcast_snooping)
}
