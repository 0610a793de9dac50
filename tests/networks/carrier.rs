//! A carrier that comes at any moment of a start or a stop: what the kernel makes by itself then is no stranger's change.

use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::snapshot::{AddrGenMode, Address, Route, Scope, Snapshot};
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step};
use xennet_core::{Guests, Host, exec};
use xennet_tests::steps::{name, run, set, up};
use xennet_tests::{Shared, StateDir, in_netns};

use super::world::{CLASSIC, LAN, UPLINK_MAC, address, all, fake, network, one, route};

/// A kernel on which the other end of the uplink goes up before the call of this number.
struct Late {
    on: Netlink,
    calls: Arc<AtomicUsize>,
    at: usize,
}

impl Late {
    fn call(&mut self) {
        if self.calls.fetch_add(1, Ordering::SeqCst) != self.at {
            return;
        }
        set(&mut self.on, "outside", up());
        // Who has a carrier now makes its address in a moment, or never.
        let end = Instant::now() + Duration::from_millis(150);
        while Instant::now() < end {
            let seen = self.on.observe(&Scope::network()).unwrap();
            if seen.addresses.iter().any(|a| is_own(a) && a.link != name("outside")) {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn is_own(a: &Address) -> bool {
    matches!(a.address.ip(), std::net::IpAddr::V6(ip) if ip.is_unicast_link_local())
}

impl Backend for Late {
    fn capabilities(&self) -> Capabilities {
        self.on.capabilities()
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        self.on.machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.call();
        self.on.observe(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.call();
        self.on.apply(step)
    }
}

/// Without the kernel's own addresses and what belongs to them, and without the other end of the uplink.
fn known(on: &mut dyn Backend) -> String {
    let counts = |l: &&str| !l.contains("fe80::") && !l.starts_with("ip link add outside ");
    all(on).lines().filter(counts).collect::<Vec<_>>().join("\n")
}

/// An uplink without a carrier; its other end is here.
fn without_carrier(on: &mut Netlink) {
    set(on, "lo", up());
    let kind = NewLink::Veth { peer: name("outside") };
    let change = LinkChange::default().with_mac(UPLINK_MAC);
    run(on, Step::Link(LinkStep::Create { name: name("eth0"), kind, change }));
    let own = LinkChange::default().with_addr_gen_mode(AddrGenMode::Eui64);
    set(on, "eth0", own.clone());
    set(on, "outside", own);
    set(on, "eth0", up());
    one(on);
    address(on, "eth0", "2001:db8::3/64");
    route(on, "::/0", "eth0", "2001:db8::1");
}

#[test]
fn a_carrier_comes_at_any_moment() {
    // An ordinary user's test is started again in namespaces of its own: once, and not for each moment.
    in_netns("carrier::a_carrier_comes_at_any_moment", each_moment);
}

fn each_moment() {
    for text in [LAN, CLASSIC] {
        for stops in [false, true] {
            for at in 0.. {
                let mut ended = false;
                in_netns("carrier::a_carrier_comes_at_any_moment", || {
                    let state = StateDir::new();
                    let mut on = Netlink::open().unwrap();
                    without_carrier(&mut on);
                    let before = known(&mut on);
                    let plain = || Host::netlink().unwrap().with_state_dir(exec::StateDir::at(state.path()));
                    if stops {
                        plain().start_network(&network(text)).unwrap_or_else(|e| panic!("{}", e.report()));
                    }
                    let calls = Arc::new(AtomicUsize::new(0));
                    let late = Late { on: Netlink::open().unwrap(), calls: Arc::clone(&calls), at };
                    let mut host = Host::with_backend(Box::new(late)).with_state_dir(exec::StateDir::at(state.path()));
                    let result = match stops {
                        true => host.stop_network(&name("lan"), Guests::MustHaveGone),
                        false => host.start_network(&network(text)),
                    };
                    let moment = format!("stops: {stops}, before call {at}, {text}");
                    result.unwrap_or_else(|e| panic!("{moment}: {}", e.report()));
                    ended = calls.load(Ordering::SeqCst) <= at;
                    if !stops {
                        let status = plain().network_status(&network(text)).unwrap();
                        assert!(status.started && status.missing.is_empty(), "{moment}: {status:?}");
                        plain()
                            .stop_network(&name("lan"), Guests::MustHaveGone)
                            .unwrap_or_else(|e| panic!("{moment}: {}", e.report()));
                    }
                    assert_eq!(known(&mut on), before, "{moment}");
                });
                if ended {
                    println!("stops: {stops}: {at} moments");
                    break;
                }
            }
        }
    }
}

/// The same on the fake, where nothing depends on how fast the kernel is.
#[test]
fn an_address_of_the_kernels_own_comes_before_any_step() {
    let own = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x5301);
    let arrivals = Arc::new(AtomicUsize::new(0));
    let arrived = Arc::clone(&arrivals);
    let arrives = move |world: &mut Snapshot| {
        // Nothing makes an address that was told not to.
        let link = name("eth0");
        let makes = |l: &xennet_core::snapshot::Link| l.up && l.addr_gen_mode == Some(AddrGenMode::Eui64);
        if !world.links.get(&link).is_some_and(makes) {
            return;
        }
        arrived.fetch_add(1, Ordering::SeqCst);
        let text = format!("{own}/64").parse().unwrap();
        world.addresses.insert(Address::new(link, text).with_scope(253));
        world.routes.insert(Route::to("fe80::/64".parse().unwrap(), link).with_protocol(2).with_metric(256));
    };
    for text in [LAN, CLASSIC] {
        for at in 0.. {
            let mut world = fake();
            set(&mut world, "eth0", LinkChange::default().with_addr_gen_mode(AddrGenMode::Eui64));
            one(&mut world);
            let before = known(&mut world);
            let arrives = arrives.clone();
            let on = Shared::new(world).with_event(at, move |fake| arrives(fake.world_mut()));
            let mut host = Host::with_backend(Box::new(on.clone()));
            let applied = host.start_network(&network(text)).unwrap_or_else(|e| panic!("{at}: {}", e.report()));
            host.stop_network(&name("lan"), Guests::MustHaveGone).unwrap_or_else(|e| panic!("{at}: {}", e.report()));
            assert_eq!(known(&mut on.clone()), before, "{at}");
            if at > applied.steps {
                break;
            }
        }
    }
    assert!(arrivals.load(Ordering::SeqCst) > 4, "{arrivals:?}");
}

/// The address comes between two parts of one look: its route was seen without it, and another link has one as well.
#[test]
fn a_route_of_an_address_that_was_not_seen_yet_is_no_obstacle() {
    let mut world = fake();
    one(&mut world);
    let kind = NewLink::Bridge;
    run(&mut world, Step::Link(LinkStep::Create { name: name("other0"), kind, change: LinkChange::default() }));
    set(&mut world, "other0", up());
    for link in ["eth0", "other0"] {
        let own = Route::to("fe80::/64".parse().unwrap(), name(link)).with_protocol(2).with_metric(256);
        world.world_mut().routes.insert(own);
    }
    let mut host = Host::with_backend(Box::new(Shared::new(world)));
    host.start_network(&network(LAN)).unwrap_or_else(|e| panic!("{}", e.report()));
}
