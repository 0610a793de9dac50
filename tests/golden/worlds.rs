//! The worlds that the cases start from: named, and made of steps on an empty namespace, so that they are as a kernel
//! would have them.

use xennet_core::backend::Backend as _;
use xennet_core::backend::fake::Fake;
use xennet_core::snapshot::{
    Address, NftBase, NftChainKind, NftExpr, NftFamily, NftHook, NftPolicy, NftRule, NftTableId, NftVerdict, PortVlan,
    Route,
};
use xennet_core::step::{
    AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, NewMaster, NftOp, NftTransaction, PortStep,
    RouteStep, Step,
};
use xennet_core::{
    Attach, Detach, FoundVif, Guard, IfName, MacAddr, RecordedVif, Resolved, ResolvedVif, Tagging, Vid, VifId,
};
use xennet_tests::steps::{card, of_another_version};

pub(crate) fn name(text: &str) -> IfName {
    text.parse().unwrap()
}

pub(crate) fn vif5() -> VifId {
    VifId::from_vif_name("vif5.0").unwrap()
}

/// The world of this name.
pub(crate) fn world(which: &str) -> Fake {
    match which {
        "host" => host(),
        "host-without-bridge" => without_bridge(),
        "vif-gone" => {
            let mut fake = host();
            fake.remove_vif(vif5());
            fake
        }
        "vif-up-with-addresses" => {
            let mut fake = host();
            up_with_addresses(&mut fake);
            fake
        }
        "vif-with-default-route" => {
            let mut fake = host();
            up_with_addresses(&mut fake);
            run(&mut fake, Step::Route(RouteStep::Del(default_route("eth0", "192.0.2.1"))));
            run(&mut fake, Step::Route(RouteStep::Add(default_route("vif5.0", "198.51.100.9"))));
            fake
        }
        "vif-port-of-xenbr1" => {
            let mut fake = host();
            set(&mut fake, "vif5.0", up().with_master(into("xenbr1")));
            fake
        }
        "attached" => {
            let mut fake = host();
            carry_out(&mut fake, &Attach::to_bridge(vif5(), name("xenbr0")).into());
            fake
        }
        "bridge-with-ipv6-uplink" => {
            let mut fake = follows_ports();
            address(&mut fake, "xenbr0", "2001:db8:9::2/64");
            run(&mut fake, Step::Route(RouteStep::Add(default_route("xenbr0", "2001:db8:9::1"))));
            fake
        }
        "guarded" => {
            let mut fake = host();
            carry_out(&mut fake, &guarded("vif5.0", "10.0.0.2").into());
            fake
        }
        "guarded-network" => {
            let mut fake = host();
            carry_out(&mut fake, &guarded("vif5.0", "10.0.0.0/24").into());
            fake
        }
        "guarded-gone" => {
            let mut fake = world("guarded");
            fake.remove_vif(vif5());
            fake
        }
        "guarded-other" => {
            let mut fake = host();
            fake.add_vif(VifId::from_vif_name("vif7.0").unwrap());
            carry_out(&mut fake, &guarded("vif7.0", "10.0.0.7").into());
            fake
        }
        "guard-without-rules" => {
            let mut fake = world("guarded-gone");
            let guard = guarded("vif5.0", "10.0.0.2").guarded().map(Box::new);
            let gone = ResolvedVif::new(
                Detach::new(vif5()),
                FoundVif::named(vif5().vif_name()),
                RecordedVif::default().with_guard(guard),
            );
            carry_out(&mut fake, &Resolved::Detach(gone));
            let chain = "declared".to_owned();
            run(&mut fake, Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::FlushChain { chain }])));
            fake.add_vif(vif5());
            fake
        }
        "guard-of-somebody-else" => {
            let mut fake = host();
            run(&mut fake, Step::Nft(NftTransaction::new(NftTableId::guard(), vec![NftOp::AddTable])));
            fake
        }
        "guard-of-another-version" => {
            let mut fake = world("guarded-other");
            of_another_version(&mut fake, NftTableId::guard());
            fake
        }
        "attached-small" => {
            let mut fake = host();
            carry_out(&mut fake, &case_intent("bridge-mtu-without-ipv6"));
            fake
        }
        "attached-as-web0" => {
            let mut fake = host();
            let wish = Attach::to_bridge(vif5(), name("xenbr0")).with_name(name("web0"));
            carry_out(&mut fake, &wish.into());
            fake
        }
        "attached-with-nat" => {
            let mut fake = host();
            carry_out(&mut fake, &case_intent("nat-v4"));
            fake
        }
        "attached-with-nat-and-tap" => {
            let mut fake = world("attached-with-nat");
            fake.add_hardware(name("vif5.0-emu"), card(MacAddr::BACKEND));
            fake
        }
        "attached-with-nat-gone" => {
            let mut fake = world("attached-with-nat");
            fake.remove_vif(vif5());
            fake
        }
        "with-route-by-hand" => {
            let mut fake = host();
            set(&mut fake, "vif5.0", up());
            let by_hand = Route::to("10.5.0.2/32".parse().unwrap(), name("vif5.0")).with_metric(2);
            run(&mut fake, Step::Route(RouteStep::Add(by_hand)));
            fake
        }
        "attached-routed" => {
            let mut fake = host();
            carry_out(&mut fake, &case_intent("routed-v4-and-v6"));
            fake
        }
        "attached-in-vlans" => {
            let mut fake = vlan_aware();
            carry_out(&mut fake, &case_intent("vlan-trunk"));
            fake
        }
        "name-taken" => {
            let mut fake = host();
            fake.add_hardware(name("web0"), card(MacAddr::new([2, 0, 0, 0, 0, 0x77])));
            fake
        }
        "vlan-aware" => vlan_aware(),
        "jumbo" => {
            let mut fake = host();
            set(&mut fake, "xenbr0", LinkChange::default().with_mtu(9000));
            fake
        }
        "uplink" => uplink(),
        "uplink-without-default-route" => {
            let mut fake = uplink();
            run(&mut fake, Step::Route(RouteStep::Del(default_route("eth0", "192.0.2.1"))));
            run(&mut fake, Step::Route(RouteStep::Del(default_route("eth0", "2001:db8::1"))));
            fake
        }
        "uplink-and-bridge" => {
            let mut fake = uplink();
            bridge(&mut fake, "xenbr0", Some(MacAddr::new([2, 0, 0, 0, 0, 1])));
            address(&mut fake, "xenbr0", "10.9.0.1/24");
            fake
        }
        "uplink-started" => {
            let mut fake = uplink();
            carry_out(&mut fake, &case_intent("start-bridge-uplink"));
            fake
        }
        "uplink-of-other" => {
            let mut fake = uplink();
            bridge(&mut fake, "br9", Some(MacAddr::new([2, 0, 0, 0, 0, 9])));
            set(&mut fake, "eth0", up().with_master(into("br9")));
            fake
        }
        "other-firewalls" => other_firewalls(),
        "other-firewalls-with-accepts" => {
            let mut fake = other_firewalls();
            carry_out(&mut fake, &case_intent("start-nat-accepts"));
            fake
        }
        "bridge-follows-ports" => follows_ports(),
        "attached-follows-ports" => {
            let mut fake = follows_ports();
            carry_out(&mut fake, &Attach::to_bridge(vif5(), name("xenbr0")).into());
            fake
        }
        other => panic!("there is no world \"{other}\""),
    }
}

/// Chains as Docker has them, those of an nftables.conf, and a table that is another process's.
fn other_firewalls() -> Fake {
    let mut fake = uplink();
    let base = |hook| Some(NftBase::new(NftChainKind::Filter, hook, 0, NftPolicy::Drop));
    let chain = |name: &str, base| NftOp::AddChain { chain: name.into(), base };
    let rule = |name: &str, verdict| NftOp::AddRule {
        chain: name.into(),
        rule: NftRule::new([NftExpr::Counter, NftExpr::Verdict(verdict)]),
    };
    let mut make = |family, name: &'static str, ops: Vec<NftOp>| {
        let ops = [NftOp::AddTable].into_iter().chain(ops).collect();
        run(&mut fake, Step::Nft(NftTransaction::new(NftTableId::new(family, name), ops)));
    };
    let docker = [
        chain("FORWARD", base(NftHook::Forward)),
        chain("DOCKER-USER", None),
        rule("FORWARD", NftVerdict::Jump("DOCKER-USER".into())),
        rule("DOCKER-USER", NftVerdict::Return),
    ];
    make(NftFamily::Ip, "filter", docker.into());
    let plain = [chain("forward", base(NftHook::Forward)), chain("input", base(NftHook::Input))];
    make(NftFamily::Inet, "filter", plain.into());
    make(NftFamily::Inet, "firewalld", vec![chain("filter_FORWARD", base(NftHook::Forward))]);
    make(NftFamily::Inet, "firewalld", vec![NftOp::SetFlags { flags: 2 }]);
    fake
}

/// A vif on xenbr0 with a declared address.
fn guarded(vif: &str, address: &str) -> Attach {
    let id = VifId::from_vif_name(vif).unwrap();
    let guard = Guard::declared("00:16:3e:01:02:03".parse().unwrap(), [address.parse().unwrap()]);
    Attach::to_bridge(id, name("xenbr0")).with_guard(guard)
}

fn case_intent(case: &str) -> Resolved {
    crate::cases::read(case).intent
}

/// `eth0` with dom0's addresses and default route, and a vif of another domain; no bridge; `vif5.0` as netback makes it.
fn without_bridge() -> Fake {
    let mut fake = Fake::empty();
    fake.add_hardware(name("eth0"), card(MacAddr::new([0, 0, 0x5e, 0, 0x53, 1])));
    set(&mut fake, "lo", up());
    set(&mut fake, "eth0", up());
    address(&mut fake, "eth0", "192.0.2.2/24");
    address(&mut fake, "eth0", "2001:db8::2/64");
    run(&mut fake, Step::Route(RouteStep::Add(default_route("eth0", "192.0.2.1"))));
    fake.add_vif(vif5());
    fake
}

/// `eth0` with all that makes moving an uplink hard: several addresses of both families, one of them second in its subnet, and
/// more routes than the default one.
fn uplink() -> Fake {
    let mut fake = without_bridge();
    address(&mut fake, "eth0", "192.0.2.3/24");
    run(&mut fake, Step::Addr(AddrStep::Add(new_address("eth0", "198.51.100.7/28").with_label("eth0:1".to_owned()))));
    let source = Some("198.51.100.7".parse().unwrap());
    let via = |to: &str, gateway: &str| {
        Route::to(to.parse().unwrap(), name("eth0")).with_gateway(Some(gateway.parse().unwrap()))
    };
    for route in [
        via("172.16.0.0/12", "192.0.2.9"),
        via("203.0.113.0/24", "198.51.100.1").with_metric(50).with_source(source),
        via("0.0.0.0/0", "192.0.2.8").with_table(100),
        default_route("eth0", "2001:db8::1"),
        via("2001:db8:9::/48", "2001:db8::9").with_metric(77),
    ] {
        run(&mut fake, Step::Route(RouteStep::Add(route)));
    }
    fake
}

/// The same with two bridges: `xenbr0` without ports, `xenbr1` with another domain's `vif3.0`.
fn host() -> Fake {
    let mut fake = without_bridge();
    bridge(&mut fake, "xenbr0", Some(MacAddr::new([2, 0, 0, 0, 0, 1])));
    bridge(&mut fake, "xenbr1", Some(MacAddr::new([2, 0, 0, 0, 0, 2])));
    let other = VifId::from_vif_name("vif3.0").unwrap();
    fake.add_vif(other);
    set(&mut fake, "vif3.0", up().with_master(into("xenbr1")));
    fake
}

/// One bridge that filters by VLAN, with the uplink in VLANs 1, 10 and 20.
fn vlan_aware() -> Fake {
    let mut fake = Fake::empty();
    fake.add_hardware(name("eth0"), card(MacAddr::new([0, 0, 0x5e, 0, 0x53, 1])));
    set(&mut fake, "lo", up());
    bridge(&mut fake, "xenbr0", Some(MacAddr::new([0, 0, 0x5e, 0, 0x53, 1])));
    let filtering = BridgeChange::default().with_vlan_filtering(true);
    set(&mut fake, "xenbr0", LinkChange::default().with_bridge(filtering));
    set(&mut fake, "eth0", up().with_master(into("xenbr0")));
    for vid in [10, 20] {
        let vlan = PortVlan::new(Vid::new(vid).unwrap(), Tagging::Tagged);
        run(&mut fake, Step::Port(PortStep::VlanAdd { port: LinkRef::named(name("eth0")), vlan }));
    }
    address(&mut fake, "xenbr0", "192.0.2.2/24");
    run(&mut fake, Step::Route(RouteStep::Add(default_route("xenbr0", "192.0.2.1"))));
    fake.add_vif(vif5());
    fake
}

/// A bridge whose MAC and MTU were never set by hand, with one port.
fn follows_ports() -> Fake {
    let mut fake = without_bridge();
    bridge(&mut fake, "xenbr0", None);
    fake.add_hardware(name("eth1"), card(MacAddr::new([0, 0, 0x5e, 0, 0x53, 9])));
    set(&mut fake, "eth1", up().with_master(into("xenbr0")));
    fake
}

fn up_with_addresses(fake: &mut Fake) {
    set(fake, "vif5.0", up());
    address(fake, "vif5.0", "198.51.100.1/24");
    address(fake, "vif5.0", "198.51.100.2/24");
    address(fake, "vif5.0", "2001:db8:5::1/64");
    let far = Route::to("203.0.113.0/24".parse().unwrap(), name("vif5.0"))
        .with_gateway(Some("198.51.100.9".parse().unwrap()));
    run(fake, Step::Route(RouteStep::Add(far)));
}

fn carry_out(fake: &mut Fake, intent: &Resolved) {
    let now = xennet_core::exec::observe_for(intent, fake).unwrap();
    let plan = xennet_core::plan::plan(intent, &now).unwrap();
    for planned in plan.steps() {
        run(fake, planned.step.clone());
    }
}

#[track_caller]
pub(crate) fn run(fake: &mut Fake, step: Step) {
    if let Err(e) = fake.apply(&step) {
        panic!("the world cannot be made: {step:?}: {e}");
    }
}

#[track_caller]
fn set(fake: &mut Fake, link: &str, change: LinkChange) {
    run(fake, Step::Link(LinkStep::Set { link: LinkRef::named(name(link)), change }));
}

fn up() -> LinkChange {
    LinkChange::default().with_up(true)
}

fn into(bridge: &str) -> Option<NewMaster> {
    Some(NewMaster::Bridge(LinkRef::named(name(bridge))))
}

fn bridge(fake: &mut Fake, which: &str, mac: Option<MacAddr>) {
    let quick = BridgeChange::default().with_forward_delay_cs(0);
    let change = LinkChange::default().with_mac(mac).with_bridge(quick);
    run(fake, Step::Link(LinkStep::Create { name: name(which), kind: NewLink::Bridge, change }));
    set(fake, which, up());
}

pub(crate) fn new_address(link: &str, text: &str) -> Address {
    Address::new(name(link), text.parse().unwrap())
}

fn address(fake: &mut Fake, link: &str, text: &str) {
    run(fake, Step::Addr(AddrStep::Add(new_address(link, text))));
}

fn default_route(link: &str, gateway: &str) -> Route {
    let gateway: std::net::IpAddr = gateway.parse().unwrap();
    let (everything, metric) = if gateway.is_ipv4() { ("0.0.0.0/0", 0) } else { ("::/0", 1024) };
    Route::to(everything.parse().unwrap(), name(link)).with_gateway(gateway).with_metric(metric)
}
