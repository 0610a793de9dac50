use super::*;
use crate::snapshot::Part;

fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

#[test]
fn the_example_reads_as_an_administrator_would_type_it() {
    let mut fake = Fake::example();
    let seen = fake.observe(&Scope::network()).unwrap();
    assert_eq!(
        seen.render(),
        "\
ip link add eth0 address 00:00:5e:00:53:01 mtu 1500 up addrgenmode none
ip link add lo address 00:00:00:00:00:00 mtu 65536 up type loopback
ip link add xenbr0 address 00:00:5e:00:53:01 mtu 1500 up type bridge stp_state 0 forward_delay 0 vlan_filtering 0
ip link set eth0 master xenbr0
ip address add 127.0.0.1/8 dev lo scope host
ip address add ::1/128 dev lo scope host
ip address add 192.0.2.2/24 dev xenbr0 broadcast 192.0.2.255
ip route add default via 192.0.2.1 dev xenbr0 proto boot
ip route add 192.0.2.0/24 dev xenbr0 proto kernel scope link src 192.0.2.2
ip rule add from all lookup local priority 0 protocol kernel
ip rule add from all lookup main priority 32766 protocol kernel
ip rule add from all lookup default priority 32767 protocol kernel
ip rule add family inet6 from all lookup local priority 0 protocol kernel
ip rule add family inet6 from all lookup main priority 32766 protocol kernel
bridge fdb add 00:00:5e:00:53:01 dev xenbr0 local
bridge vlan add dev eth0 vid 1 pvid untagged
"
    );
}

#[test]
fn a_vif_springs_into_being_once() {
    let mut fake = Fake::example();
    let scope = Scope::none().with(Part::Link(name("vif5.0")));
    let seen = fake.observe(&scope).unwrap();
    let link = &seen.links["vif5.0"];
    assert_eq!((link.mac, link.up, link.mtu), (Some(MacAddr::BACKEND), false, 1500));
    fake.world_mut().links.remove("vif5.0");
    assert!(fake.observe(&scope).unwrap().links.is_empty());
    let other = Scope::none().with(Part::Link(name("tap5.0")));
    assert!(fake.observe(&other).unwrap().links.is_empty());
}

#[test]
fn a_world_survives_being_saved() {
    let fake = Fake::example();
    assert_eq!(Fake::load(&fake.save()).unwrap().world(), fake.world());
    assert_eq!(Fake::load("{").unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn faults_strike_where_they_say() {
    let change = LinkChange { mtu: Some(1400), txqueuelen: Some(7), ..LinkChange::default() };
    let set = Step::Link(LinkStep::Set { link: LinkRef::named(name("eth0")), change });
    let state = |f: &Fake| (f.world().links["eth0"].mtu, f.world().links["eth0"].txqueuelen);
    let before = (1500, 1000);

    let mut f = Fake::example().with_faults([Fault::FailAt { step: 1, errno: Errno::EBUSY }]);
    f.apply(&Step::Store(step::StoreTransaction(Vec::new()))).unwrap();
    assert_eq!(f.apply(&set).unwrap_err().errno, Errno::EBUSY);
    assert_eq!(state(&f), before);
    f.apply(&set).unwrap();
    assert_eq!(state(&f), (1400, 7));

    let mut f = Fake::example().with_faults([Fault::HalfApply { step: 0 }]);
    assert_eq!(f.apply(&set).unwrap_err().errno, Errno::EIO);
    assert_eq!(state(&f), (1400, 1000));

    let mut f = Fake::example().with_faults([Fault::LieOnce { step: 0 }]);
    f.apply(&set).unwrap();
    assert_eq!(state(&f), before);

    let mut f = Fake::example().with_faults([Fault::CrashAfter { step: 0 }]);
    assert!(f.apply(&set).is_err() && f.has_crashed());
    assert!(f.observe(&Scope::network()).is_err() && f.apply(&set).is_err());
    assert_eq!(f.into_world().links["eth0"].mtu, 1400);

    let other = LinkChange { mtu: Some(9000), ..LinkChange::default() };
    let does = Box::new(Step::Link(LinkStep::Set { link: LinkRef::named(name("xenbr0")), change: other }));
    let fault = Fault::Intruder { before: 0, does };
    let text = serde_json::to_string(&fault).unwrap();
    assert_eq!(serde_json::from_str::<Fault>(&text).unwrap(), fault);
    let mut f = Fake::example().with_faults([fault]);
    f.apply(&set).unwrap();
    assert_eq!(f.world().links["xenbr0"].mtu, 9000);

    let mut f = Fake::example().with_faults([Fault::DumpInterrupted { times: 2 }]);
    assert_eq!(f.observe(&Scope::none()).unwrap_err().errno, Errno::EINTR);
    assert!(f.observe(&Scope::none()).is_err());
    f.observe(&Scope::none()).unwrap();
}

#[test]
fn a_part_brings_what_the_kernel_would_bring() {
    let mut f = Fake::example();
    let seen = f.observe(&Scope::none().with(Part::Link(name("eth0")))).unwrap();
    assert_eq!(seen.links.keys().map(ToString::to_string).collect::<Vec<_>>(), ["eth0"]);
    assert_eq!(seen.links["eth0"].master, Some(name("xenbr0")), "told by name, and not looked at");
    let seen = f.observe(&Scope::none().with(Part::Link(name("xenbr0")))).unwrap();
    assert!(seen.links["xenbr0"].bridge.as_ref().unwrap().mac_fixed.is_none() && seen.hidden.is_empty());
    let seen = f.observe(&Scope::none().with(Part::Routes(name("xenbr0")))).unwrap();
    assert_eq!(seen.routes.len(), 2);
    let seen = f.observe(&Scope::none().with(Part::Route("0.0.0.0/0".parse().unwrap()))).unwrap();
    assert_eq!(seen.routes.len(), 1);
    let key: crate::snapshot::SysctlKey = "net/ipv4/ip_forward".parse().unwrap();
    assert_eq!(f.observe(&Scope::none().with(Part::Sysctl(key.clone()))).unwrap().sysctls.get(&key), Some("0"));
}

#[test]
fn changes_are_told_with_their_signs() {
    let before = Fake::example();
    let mut after = before.clone();
    let text = |f: &Fake| before.world().changes(f.world()).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(text(&after).is_empty());
    let delete = Step::Link(LinkStep::Set {
        link: LinkRef::named(name("xenbr0")),
        change: LinkChange { up: Some(false), ..LinkChange::default() },
    });
    after.apply(&delete).unwrap();
    assert_eq!(
        text(&after),
        [
            "~ ip link add xenbr0 address 00:00:5e:00:53:01 mtu 1500 up type bridge stp_state 0 forward_delay 0 \
             vlan_filtering 0 => ip link add xenbr0 address 00:00:5e:00:53:01 mtu 1500 down type bridge stp_state 0 \
             forward_delay 0 vlan_filtering 0",
            "- ip route add default via 192.0.2.1 dev xenbr0 proto boot",
            "- ip route add 192.0.2.0/24 dev xenbr0 proto kernel scope link src 192.0.2.2",
        ]
    );
}

#[test]
fn netback_takes_a_vif_away_which_no_step_can() {
    let mut f = Fake::example();
    let before = f.clone();
    let (id, vif) = (VifId::from_vif_name("vif3.0").unwrap(), LinkRef::named(name("vif3.0")));
    let master = Some(step::NewMaster::Bridge(LinkRef::named(name("xenbr0"))));
    let change = LinkChange { master, up: Some(true), ..LinkChange::default() };
    f.apply(&Step::Link(LinkStep::Set { link: vif, change })).unwrap();
    let refused = f.apply(&Step::Link(LinkStep::Delete { link: vif })).unwrap_err();
    assert_eq!(refused.errno, Errno::EOPNOTSUPP);
    f.remove_vif(id);
    assert_eq!(before.world().changes(f.world()), []);
    f.remove_vif(id);
    assert!(f.apply(&Step::Link(LinkStep::Delete { link: vif })).is_err(), "it does not come back by itself");
}
