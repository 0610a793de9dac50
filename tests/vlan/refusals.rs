//! Where `vlan=` cannot be had: refused with the reason, before anything is changed.

use xennet_core::backend::fake::Fake;
use xennet_core::backend::netlink::Netlink;
use xennet_core::{Error, ErrorKind, Host};
use xennet_tests::{Shared, StateDir, in_netns};

use super::{bridge, domid, guest, host, kernel_filters, look, spec, with_state};

#[track_caller]
fn refused(host: &mut Host, knows: bool) {
    let check = |e: &Error| {
        assert_eq!(e.kind(), ErrorKind::Unsupported, "{}", e.report());
        assert_eq!(e.object(), Some("xenbr0"), "{}", e.report());
        assert!(e.state().unwrap().starts_with("unchanged"), "{}", e.report());
        let way =
            if knows { "ip link set xenbr0 type bridge vlan_filtering 1" } else { "CONFIG_BRIDGE_VLAN_FILTERING" };
        assert!(e.hint().unwrap().contains(way), "{}", e.report());
    };
    for vlan in ["10", "10p/20", "10p/100-104", "10p/100+10x4u/20"] {
        let vif = spec(&format!("bridge=xenbr0,vlan={vlan}"));
        check(&host.plan_attach(domid(1), &vif).unwrap_err());
        check(&host.attach(domid(1), &vif).unwrap_err());
    }
}

#[test]
fn a_bridge_that_does_not_filter_and_a_kernel_that_cannot() {
    for knows in [true, false] {
        let mut fake = Fake::empty();
        fake.world_mut().hidden.bridges_without_vlans = !knows;
        let shared = Shared::new(fake);
        let mut host = Host::with_backend(Box::new(shared.clone()));
        host.ensure_bridge(&"xenbr0".parse().map(xennet_core::BridgeSpec::new).unwrap()).unwrap();
        shared.change(|f| f.add_vif(xennet_core::VifId::new(domid(1), xennet_core::DevId::FIRST)));
        let before = shared.fake().into_world();
        refused(&mut host, knows);
        assert_eq!(before.changes(shared.fake().world()), []);
    }
    in_netns("refusals::a_bridge_that_does_not_filter_and_a_kernel_that_cannot", || {
        bridge(None);
        let _guest = guest(1, &[]);
        let knows = kernel_filters();
        let (before, state) = (look(), StateDir::new());
        refused(&mut host(&state), knows);
        assert_eq!(before.changes(&look()), []);
        // Without vlan= there is nothing to refuse, and the same backend says so of a plan only.
        let mut plain = with_state(Host::with_backend(Box::new(Netlink::open().unwrap())), &state);
        assert!(!plain.plan_attach(domid(1), &spec("bridge=xenbr0")).unwrap().is_empty());
    });
}
