//! A host with a bridge, an uplink and guests, and a station at each end.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use xennet_core::backend::Backend;
use xennet_core::backend::netlink::Netlink;
use xennet_core::snapshot::{AddrGenMode, Address, NftTableId, Part, Scope};
use xennet_core::step::{AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, Step};
use xennet_core::{DevId, DomId, Host, IfName, MacAddr, VifId, VifSpec, exec};
use xennet_tests::{Guest, GuestSpec, NetNs, StateDir};

use xennet_tests::frame::{Mac, link_local};
use xennet_tests::station::{Program, Station};
pub(crate) use xennet_tests::steps::{into, name, run, set, up};

/// Somebody's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) mac: Mac,
    pub(crate) v4: Ipv4Addr,
    pub(crate) v6: Ipv6Addr,
}

impl Party {
    /// The guest with this domain id, 1 to 14. Its network is a /28, and in IPv6 a /112.
    pub(crate) fn guest(domid: u8) -> Self {
        Party {
            mac: [0, 0x16, 0x3e, 0, 0, domid],
            v4: Ipv4Addr::new(192, 0, 2, 16 * domid + 1),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, u16::from(domid), 1),
        }
    }

    pub(crate) fn dom0() -> Self {
        Party {
            mac: [2, 0, 0, 0, 0x53, 1],
            v4: Ipv4Addr::new(192, 0, 2, 1),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        }
    }

    /// The station behind the uplink, which is the gateway.
    pub(crate) fn gateway() -> Self {
        Party {
            mac: [2, 0, 0, 0, 0x53, 0xfe],
            v4: Ipv4Addr::new(192, 0, 2, 254),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xfe),
        }
    }

    pub(crate) fn link_local(&self) -> Ipv6Addr {
        link_local(self.mac)
    }
}

/// Switches multicast snooping of the bridge on or off.
pub(crate) fn snooping(on: bool) {
    let change = BridgeChange::default().with_multicast_snooping(on);
    set(&mut Netlink::open().unwrap(), BRIDGE, LinkChange::default().with_bridge(change));
}

/// Long enough for a machine with much else to do; a passing test never waits so long.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) const BRIDGE: &str = "xenbr0";

/// The namespace of the test as dom0, with a bridge and an uplink.
pub(crate) struct Lab {
    pub(crate) program: Program,
    pub(crate) uplink: Guest,
    pub(crate) guests: BTreeMap<u8, Guest>,
    state: StateDir,
}

impl Lab {
    pub(crate) fn build() -> Self {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        let quick = BridgeChange::default().with_forward_delay_cs(0);
        let change = LinkChange::default().with_mac(MacAddr::new(Party::dom0().mac)).with_bridge(quick);
        run(&mut on, Step::Link(LinkStep::Create { name: name(BRIDGE), kind: NewLink::Bridge, change }));
        set(&mut on, BRIDGE, up());
        address(&mut on, BRIDGE, &format!("{}/24", Party::dom0().v4), false);
        address(&mut on, BRIDGE, &format!("{}/64", Party::dom0().v6), false);
        // A cable to a station is a cable to a station, whether it stands for hardware or for a guest.
        let uplink = guest(100, Party::gateway().mac);
        set(&mut on, "vif100.0", LinkChange::default().with_name(name("eth0")));
        set(&mut on, "eth0", into(BRIDGE).with_up(true));
        Lab { program: Program::compile(), uplink, guests: BTreeMap::new(), state: StateDir::new() }
    }

    /// A host that remembers in this lab's directory.
    pub(crate) fn host(&self) -> Host {
        Host::netlink().unwrap().with_state_dir(exec::StateDir::at(self.state.path()))
    }

    /// Starts a guest; its vif is there, attached to nothing.
    pub(crate) fn start(&mut self, domid: u8) {
        self.guests.insert(domid, guest(domid, Party::guest(domid).mac));
    }

    /// Gives a guest's vif the name that its emulated twin has.
    pub(crate) fn as_tap(&self, domid: u8) {
        let twin: IfName = format!("vif{domid}.0-emu").parse().unwrap();
        let change = LinkChange::default().with_name(twin);
        set(&mut Netlink::open().unwrap(), &format!("vif{domid}.0"), change);
    }

    /// Ends a guest: its vif is gone when this returns.
    pub(crate) fn stop(&mut self, domid: u8, vif: &str) {
        // The namespace would take the vif with it, too, but in its own time.
        let mut on = Netlink::open().unwrap();
        run(&mut on, Step::Link(LinkStep::Delete { link: LinkRef::named(name(vif)) }));
        self.guests.remove(&domid);
    }

    pub(crate) fn station(&self, domid: u8) -> Station {
        Station::start(&self.program, self.guests[&domid].namespace(), Guest::LINK)
    }

    pub(crate) fn at_uplink(&self) -> Station {
        Station::start(&self.program, self.uplink.namespace(), Guest::LINK)
    }

    pub(crate) fn at_dom0(&self) -> Station {
        Station::start(&self.program, &NetNs::current().unwrap(), BRIDGE)
    }
}

pub(crate) fn guest(domid: u8, mac: Mac) -> Guest {
    let id = VifId::new(DomId::new(u32::from(domid)).unwrap(), DevId::FIRST);
    Guest::new(&GuestSpec { id, mac: MacAddr::new(mac), addresses: Vec::new() }).unwrap()
}

pub(crate) fn domid(number: u8) -> DomId {
    DomId::new(u32::from(number)).unwrap()
}

/// The vif line of a guest, with more behind it.
pub(crate) fn vif(number: u8, more: &str) -> VifSpec {
    format!("mac={},bridge={BRIDGE}{more}", MacAddr::new(Party::guest(number).mac)).parse().unwrap()
}

/// Adds an address; with or without a look whether somebody has it already (IPv6).
pub(crate) fn address(on: &mut dyn Backend, link: &str, text: &str, look: bool) {
    let address = Address::new(name(link), text.parse().unwrap()).with_nodad(!look);
    run(on, Step::Addr(AddrStep::Add(address)));
}

/// Lets a guest's own kernel talk: the link-local address from the MAC, and these two.
pub(crate) fn addressed(namespace: &NetNs, party: &Party) {
    let work = || {
        let mut on = Netlink::open().unwrap();
        // The kernel makes the link-local address when the link goes up, and takes IPv6 addresses away when it goes down.
        set(&mut on, Guest::LINK, LinkChange::default().with_up(false));
        let eui64 = LinkChange::default().with_addr_gen_mode(AddrGenMode::Eui64);
        set(&mut on, Guest::LINK, eui64);
        set(&mut on, Guest::LINK, up());
        address(&mut on, Guest::LINK, &format!("{}/24", party.v4), false);
        address(&mut on, Guest::LINK, &format!("{}/64", party.v6), true);
    };
    namespace.run(work).unwrap();
}

/// What the guard has of a link, one element a line.
pub(crate) fn elements(about: &str) -> Vec<String> {
    let scope = Scope::none().with(Part::Nft(NftTableId::guard()));
    let all = Netlink::open().unwrap().observe(&scope).unwrap().render();
    let about = format!("\"{about}\"");
    all.lines().filter(|l| l.starts_with("nft add element") && l.contains(&about)).map(str::to_owned).collect()
}
