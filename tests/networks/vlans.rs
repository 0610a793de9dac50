//! VLANs of guests on a bridge with an uplink: a VLAN that does not leave the host is named, with the command that lets it out.

use xennet_core::snapshot::PortVlan;
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewLink, PortStep, Step};
use xennet_core::{DomId, Guests, Host, MacAddr, Tagging, Vid};
use xennet_tests::Shared;
use xennet_tests::steps::{name, run};

use super::world::{LAN, all, fake, network, one};

#[test]
fn a_vlan_that_ends_at_the_bridge_is_told_until_the_uplink_is_in_it() {
    let mut world = fake();
    one(&mut world);
    let change = LinkChange::default().with_mac(MacAddr::BACKEND);
    let kind = NewLink::Veth { peer: name("guest5") };
    run(&mut world, Step::Link(LinkStep::Create { name: name("vif5.0"), kind, change }));
    let on = Shared::new(world);
    let before = all(&mut on.clone());
    let mut host = Host::with_backend(Box::new(on.clone()));
    let lan = network(&format!("{LAN}vlan_filtering = true\n"));

    let started = host.start_network(&lan).unwrap_or_else(|e| panic!("{}", e.report()));
    let says = |texts: &[String], what: &str| texts.iter().any(|t| t.contains(what));
    assert!(says(&started.notes, "bridge vlan add dev eth0 vid 100"), "{:?}", started.notes);
    assert_eq!(host.network_status(&lan).unwrap().obstacles, [""; 0]);

    let vif = "bridge=xenbr0,vlan=100p/200-202".parse().unwrap();
    let domid = DomId::new(5).unwrap();
    let told = "VLAN 100, 200-202 of vif5.0 ends at xenbr0, since its uplink eth0 is not in it: bridge vlan add dev eth0 vid 100; \
                bridge vlan add dev eth0 vid 200-202";
    assert_eq!(host.plan_attach(domid, &vif).unwrap().notes(), [told]);
    assert_eq!(host.attach(domid, &vif).unwrap().notes, [told]);
    assert_eq!(host.network_status(&lan).unwrap().obstacles, [told]);

    // As an administrator lets it out.
    for vid in [100, 200, 202] {
        let vlan = PortVlan::new(Vid::new(vid).unwrap(), Tagging::Tagged);
        run(&mut on.clone(), Step::Port(PortStep::VlanAdd { port: LinkRef::named(name("eth0")), vlan }));
    }
    let told =
        "VLAN 201 of vif5.0 ends at xenbr0, since its uplink eth0 is not in it: bridge vlan add dev eth0 vid 201";
    let status = host.network_status(&lan).unwrap();
    assert_eq!((&status.obstacles[..], &status.missing[..]), (&[told.to_owned()][..], &[][..]));
    assert_eq!(host.attach(domid, &vif).unwrap().notes, [told], "once more says it again");
    // Nobody else is bothered.
    let plain = "bridge=xenbr0".parse().unwrap();
    host.detach(domid, xennet_core::DevId::FIRST).unwrap();
    assert_eq!(host.plan_attach(domid, &plain).unwrap().notes(), [""; 0]);
    host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap();
    let gone = |text: &str| text.lines().filter(|l| !l.contains("vif5.0")).collect::<Vec<_>>().join("\n");
    assert_eq!(gone(&all(&mut on.clone())), gone(&before), "the uplink's VLANs went with its bridge");
}
