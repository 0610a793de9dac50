//! A host with an uplink, a bridge, networks and guests.

use std::collections::BTreeMap;

use xennet_core::backend::Backend as _;
use xennet_core::backend::netlink::Netlink;
use xennet_core::config::networks;
use xennet_core::snapshot::{AddrGenMode, Address, NftTable, NftTableId, Part, Scope};
use xennet_core::step::{AddrStep, LinkChange, LinkStep, NewLink, Step};
use xennet_core::{DomId, Host, MacAddr, MacBinding, Network, VifSpec, exec};
use xennet_tests::StateDir;
use xennet_tests::steps::{name, run, set, up};

/// The calling thread's namespace as a host, with `eth0` towards the outside and the bridge `xenbr0`.
pub(crate) struct Dom0 {
    host: Host,
    networks: Vec<Network>,
    vifs: Vec<(DomId, VifSpec)>,
    _state: StateDir,
}

/// A link whose other end is nobody's.
fn link(on: &mut Netlink, which: &str, mac: MacAddr) {
    let kind = NewLink::Veth { peer: name(&format!("g{which}")) };
    let change = LinkChange::default().with_mac(mac).with_addr_gen_mode(AddrGenMode::None);
    // Creating a link refuses an address generation mode.
    let made = change.clone().with_addr_gen_mode(None);
    run(on, Step::Link(LinkStep::Create { name: name(which), kind, change: made }));
    set(on, which, change);
}

impl Dom0 {
    /// A host whose networks are started, and whose guests are attached.
    pub(crate) fn new(text: &str, vifs: &[(u32, &str)]) -> Self {
        let mut on = Netlink::open().unwrap();
        set(&mut on, "lo", up());
        link(&mut on, "eth0", MacAddr::new([2, 0, 0, 0, 0x53, 1]));
        set(&mut on, "eth0", up());
        run(&mut on, Step::Addr(AddrStep::Add(Address::new(name("eth0"), "192.0.2.1/24".parse().unwrap()))));
        let change = LinkChange::default().with_mac(MacAddr::new([2, 0, 0, 0, 0x53, 2]));
        run(&mut on, Step::Link(LinkStep::Create { name: name("xenbr0"), kind: NewLink::Bridge, change }));
        set(&mut on, "xenbr0", up());
        let state = StateDir::new();
        let host = Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
        let networks = networks::parse(text).unwrap_or_else(|e| panic!("{}", e.report())).iter().cloned().collect();
        let line = |(number, line): &(u32, &str)| {
            link(&mut on, &format!("vif{number}.0"), MacAddr::BACKEND);
            let line = format!("mac=00:16:3e:00:00:{number:02x},{line}");
            (DomId::new(*number).unwrap(), line.parse().unwrap_or_else(|e| panic!("{line}: {e}")))
        };
        let vifs = vifs.iter().map(line).collect();
        let mut dom0 = Dom0 { host: host.with_mac_binding(MacBinding::Always), networks, vifs, _state: state };
        dom0.put_right();
        dom0
    }

    /// Starts all its networks and attaches all its guests.
    pub(crate) fn put_right(&mut self) {
        for network in &self.networks {
            self.host.start_network(network).unwrap_or_else(|e| panic!("{}", e.report()));
        }
        for (domid, vif) in &self.vifs {
            self.host.attach(*domid, vif).unwrap_or_else(|e| panic!("{vif}: {}", e.report()));
        }
    }

    /// The tables that are ours, with all that is in them.
    pub(crate) fn tables(&self) -> BTreeMap<NftTableId, NftTable> {
        let parts = [NftTableId::guard(), NftTableId::gate()].map(Part::Nft);
        Netlink::open().unwrap().observe(&parts.into_iter().collect::<Scope>()).unwrap().nft
    }

    /// Nothing that networks and guests need has to be done.
    pub(crate) fn is_whole(&mut self, what: &str) {
        for network in &self.networks {
            let status = self.host.network_status(network).unwrap();
            assert!(status.started && status.missing.is_empty() && status.changed.is_empty(), "{what}: {status:?}");
            let plan = self.host.plan_start(network).unwrap();
            assert!(plan.is_empty(), "{what}: {plan}");
        }
        for (domid, vif) in &self.vifs {
            let plan = self.host.plan_attach(*domid, vif).unwrap();
            assert!(plan.is_empty(), "{what}: {vif}: {plan}");
        }
    }
}
