//! Which VLANs a guest's port is in: as the line says, and at no time in others.

use std::collections::BTreeSet;
use std::time::Duration;

use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::exec::Subject;
use xennet_core::snapshot::{Part, PortVlan, Scope, Snapshot};
use xennet_core::step::Step;
use xennet_core::{DevId, Host, IfName, Vid, VifId};
use xennet_tests::StateDir;

use super::{beside_a_filtering_bridge, domid, guest, host, look, name, spec, vlans, vlans_of, with_state};

/// The kernel, and a look at the guest's port after every step.
struct Watched(Netlink);

impl Backend for Watched {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        self.0.machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.0.observe(scope)
    }

    fn wait(&mut self, link: &IfName, patience: Duration) -> Result<bool, BackendError> {
        self.0.wait(link, patience)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.0.apply(step)?;
        let port = name("vif1.0");
        let seen = self.0.observe(&Scope::none().with(Part::Link(port)).with(Part::PortVlans(port)))?;
        let link = &seen.links[&port];
        if link.up && link.master.is_some() {
            let now = &seen.port_vlans[&port];
            assert!(now.iter().all(|v| v.vid != Vid::ONE), "in VLAN 1 after {step:?}: {now:?}");
            assert_eq!(now.iter().filter(|v| v.pvid).count(), 1, "after {step:?}: {now:?}");
        }
        Ok(())
    }
}

/// None of them has VLAN 1.
const VALUES: [&str; 10] = [
    "10",
    "20",
    "10p",
    "10p/20",
    "20p/10",
    "10p/20u",
    "10p/100-104",
    "200p/100+10x4u",
    "10p/20u/30/100-104/200+5x3u",
    "4094p/2-40",
];

#[test]
fn a_port_is_in_the_vlans_of_its_line_and_no_others() {
    beside_a_filtering_bridge("membership::a_port_is_in_the_vlans_of_its_line_and_no_others", || {
        let _guest = guest(1, &[]);
        let state = StateDir::new();
        let mut host = with_state(Host::with_backend(Box::new(Watched(Netlink::open().unwrap()))), &state);
        let vif = Subject::Vif(VifId::new(domid(1), DevId::FIRST));
        for value in VALUES {
            let before = look();
            let line = spec(&format!("bridge=xenbr0,vlan={value}"));
            assert!(host.attach(domid(1), &line).unwrap().steps > 0, "{value}");
            assert_eq!(vlans_of("vif1.0"), vlans(value), "{value}");
            let attached = look();
            assert!(attached.links[&name("vif1.0")].up);
            assert_eq!(host.attach(domid(1), &line).unwrap().steps, 0, "{value}: twice is once");
            assert_eq!(attached.changes(&look()), [], "{value}");
            host.undo(vif).unwrap();
            assert_eq!(before.changes(&look()), [], "{value}: undone");
            host.attach(domid(1), &line).unwrap();
            assert_eq!(attached.changes(&look()), [], "{value}: again");
            host.detach(domid(1), DevId::FIRST).unwrap();
            assert_eq!(vlans_of("vif1.0"), BTreeSet::new(), "{value}: detached");
            host.undo(vif).unwrap();
            assert_eq!(attached.changes(&look()), [], "{value}: detaching undone");
            host.detach(domid(1), DevId::FIRST).unwrap();
        }
    });
}

#[test]
fn from_any_set_of_vlans_to_any_other_and_back() {
    beside_a_filtering_bridge("membership::from_any_set_of_vlans_to_any_other_and_back", || {
        let _guest = guest(1, &[]);
        let state = StateDir::new();
        let mut host = with_state(Host::with_backend(Box::new(Watched(Netlink::open().unwrap()))), &state);
        let line = |value: &str| spec(&format!("bridge=xenbr0,vlan={value}"));
        for one in VALUES {
            host.attach(domid(1), &line(one)).unwrap();
            for two in VALUES.into_iter().filter(|two| vlans(two) != vlans(one)) {
                let before = look();
                let index = before.links[&name("vif1.0")].index;
                assert!(host.attach(domid(1), &line(two)).unwrap().steps > 0, "{one} to {two}");
                assert_eq!(vlans_of("vif1.0"), vlans(two), "{one} to {two}");
                host.undo(Subject::Vif(VifId::new(domid(1), DevId::FIRST))).unwrap();
                assert_eq!(before.changes(&look()), [], "{one} to {two} and back");
                assert_eq!(before.links[&name("vif1.0")].index, index);
            }
        }
    });
}

#[test]
fn a_port_that_fell_into_other_vlans_is_taken_out_of_them() {
    beside_a_filtering_bridge("membership::a_port_that_fell_into_other_vlans_is_taken_out_of_them", || {
        let _guest = guest(1, &[]);
        let state = StateDir::new();
        let mut host = host(&state);
        let line = spec("bridge=xenbr0,vlan=10p/20");
        host.attach(domid(1), &line).unwrap();
        for value in ["1p/10/20", "10p/20/30", "10p/20u", "10", "20p/10"] {
            let port = xennet_core::step::LinkRef::named(name("vif1.0"));
            let (wanted, have): (BTreeSet<PortVlan>, _) = (vlans(value), vlans_of("vif1.0"));
            for vlan in have.iter().filter(|v| !wanted.iter().any(|w| w.vid == v.vid)) {
                super::run(Step::Port(xennet_core::step::PortStep::VlanDel { port, vlan: *vlan }));
            }
            for vlan in &wanted {
                super::run(Step::Port(xennet_core::step::PortStep::VlanAdd { port, vlan: *vlan }));
            }
            assert_eq!(vlans_of("vif1.0"), wanted);
            assert!(host.attach(domid(1), &line).unwrap().steps > 0, "{value}");
            assert_eq!(vlans_of("vif1.0"), vlans("10p/20"), "from {value}");
        }
    });
}

/// As many VLANs as there are: several messages of an answer.
#[test]
fn a_port_in_every_vlan() {
    beside_a_filtering_bridge("membership::a_port_in_every_vlan", || {
        let _guest = guest(1, &[]);
        let state = StateDir::new();
        let mut host = host(&state);
        let value = "1p/2+2x2045u/3+2x2045";
        let line = spec(&format!("bridge=xenbr0,vlan={value}"));
        host.attach(domid(1), &line).unwrap();
        assert_eq!(vlans_of("vif1.0"), vlans(value));
        assert_eq!(host.attach(domid(1), &line).unwrap().steps, 0);
        host.detach(domid(1), DevId::FIRST).unwrap();
    });
}
