//! What the kernel refuses, with its own words.

use rustix::mount::MountFlags;
use xennet_cli::sandbox::namespace::{self, NetNs};
use xennet_core::Errno;
use xennet_core::backend::{Backend, BackendError};
use xennet_core::snapshot::{Family, FdbEntry, FdbKind, NextHop, Part, PortVlan, Route, Scope, SysctlKey};
use xennet_core::step::{
    AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, PortChange, PortStep, RouteStep, Step,
    StoreTransaction, SysctlStep,
};
use xennet_core::{Tagging, Vid};
use xennet_tests::in_netns;

use crate::{Kernel, address, create, into, mac, name};

#[track_caller]
fn refused(result: Result<(), BackendError>, errno: Errno, object: &str, sentence: Option<&str>) {
    let e = result.expect_err("this must be refused");
    assert_eq!((e.errno, e.object.as_str(), e.message.as_deref()), (errno, object, sentence));
}

fn set(text: &str, change: LinkChange) -> Step {
    Step::Link(LinkStep::Set { link: LinkRef::named(name(text)), change })
}

#[test]
fn the_kernels_sentences_arrive() {
    in_netns("refusals::the_kernels_sentences_arrive", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.bridge("br1");
        kernel.veth("vif1.0", "p0");

        let small = LinkChange::default().with_mtu(10);
        let e = kernel.try_apply(set("vif1.0", small));
        refused(e, Errno::EINVAL, "vif1.0", Some("mtu less than device minimum"));
        let e = kernel.try_apply(set("br1", into("br0")));
        refused(e, Errno::ELOOP, "br1", Some("Can not enslave a bridge to a bridge"));
        let e = kernel.try_apply(set("vif1.0", into("p0")));
        assert_eq!(e.unwrap_err().errno, Errno::EOPNOTSUPP);

        let add = |route: &Route| Step::Route(RouteStep::Add(route.clone()));
        let mut route = Route::to("192.0.2.9/32".parse().unwrap(), name("vif1.0"));
        let e = kernel.try_apply(add(&route));
        refused(e, Errno::ENETDOWN, "192.0.2.9/32", Some("Device for nexthop is not up"));
        route.gateway = Some("192.0.2.1".parse().unwrap());
        route.scope = 0;
        let e = kernel.try_apply(add(&route));
        refused(e, Errno::ENETUNREACH, "192.0.2.9/32", Some("Nexthop has invalid gateway"));

        kernel.address("vif1.0", "192.0.2.1/24");
        let twice = kernel.try_apply(Step::Addr(AddrStep::Add(address("vif1.0", "192.0.2.1/24"))));
        assert_eq!(twice.unwrap_err().errno, Errno::EEXIST);
        let absent = kernel.try_apply(Step::Addr(AddrStep::Del(address("vif1.0", "192.0.2.9/24"))));
        assert_eq!(absent.unwrap_err().errno, Errno::EADDRNOTAVAIL);

        let e = kernel.try_apply(create("br0", NewLink::Bridge, LinkChange::default()));
        assert_eq!(e.unwrap_err().errno, Errno::EEXIST);
        // Settings of a port for what is none, settings of a bridge for what is none.
        let change = PortChange::default().with_isolated(true);
        let e =
            kernel.try_apply(Step::Port(PortStep::Set { port: LinkRef::named(name("p0")), change, up: Some(true) }));
        assert_eq!(e.unwrap_err().errno, Errno::EOPNOTSUPP);
        assert!(!kernel.link("p0").up, "the settings come before the flags");
        let bridge = BridgeChange::default().with_stp(true);
        let e = kernel.try_apply(set("p0", LinkChange::default().with_bridge(bridge)));
        assert_eq!(e.unwrap_err().errno, Errno::EOPNOTSUPP);
    });
}

#[test]
fn one_message_can_happen_in_part() {
    in_netns("refusals::one_message_can_happen_in_part", || {
        let mut kernel = Kernel::open();
        kernel.veth("vif1.0", "p0");
        let change = into("p0").with_mtu(1400).with_up(true);
        assert_eq!(kernel.try_apply(set("vif1.0", change)).unwrap_err().errno, Errno::EOPNOTSUPP);
        let link = kernel.link("vif1.0");
        assert_eq!((link.mtu, link.up), (1400, true), "only looking again tells");
    });
}

#[test]
fn a_link_that_is_gone_is_not_confused_with_its_successor() {
    in_netns("refusals::a_link_that_is_gone_is_not_confused_with_its_successor", || {
        let mut kernel = Kernel::open();
        kernel.veth("vif1.0", "p0");
        let old = LinkRef::new(name("vif1.0"), kernel.link("vif1.0").index);
        kernel.apply(Step::Link(LinkStep::Delete { link: old }));
        kernel.veth("vif1.0", "p0");
        let up = LinkChange::default().with_up(true);
        assert_eq!(
            kernel.try_apply(Step::Link(LinkStep::Set { link: old, change: up.clone() })).unwrap_err().errno,
            Errno::ENODEV
        );
        let set = PortStep::Set { port: old, change: PortChange::default(), up: Some(true) };
        assert_eq!(kernel.try_apply(Step::Port(set)).unwrap_err().errno, Errno::ENODEV);
        assert_eq!(kernel.try_apply(Step::Link(LinkStep::Delete { link: old })).unwrap_err().errno, Errno::ENODEV);
        assert!(!kernel.link("vif1.0").up);
        // A number that no link can have is not "no number given": the kernel would go by the new name then.
        for index in [0, u32::MAX] {
            let link = LinkRef::new(name("vif9.0"), index);
            let change = LinkChange::default().with_name(name("vif1.0")).with_up(true);
            let e = kernel.try_apply(Step::Link(LinkStep::Set { link, change })).unwrap_err();
            assert_eq!(e.errno, Errno::ENODEV);
            assert_eq!(kernel.try_apply(Step::Link(LinkStep::Delete { link })).unwrap_err().errno, Errno::ENODEV);
        }
        assert!(!kernel.link("vif1.0").up);
        // By name alone the successor is meant; without one there is nothing.
        kernel.apply(Step::Link(LinkStep::Set { link: LinkRef::named(old.name), change: up.clone() }));
        let e = kernel.try_apply(Step::Link(LinkStep::Set { link: LinkRef::named(name("vif9.0")), change: up }));
        refused(e, Errno::ENODEV, "vif9.0", Some("there is no link vif9.0"));
    });
}

#[test]
fn forwarding_entries_for_what_is_no_port() {
    in_netns("refusals::forwarding_entries_for_what_is_no_port", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.veth("vif1.0", "p0");
        let entry = FdbEntry::new(name("vif1.0"), mac(1), FdbKind::Static);
        let add = |entry: &FdbEntry| Step::Port(PortStep::FdbAdd { entry: entry.clone() });
        assert_eq!(kernel.try_apply(add(&entry)).unwrap_err().errno, Errno::EOPNOTSUPP);
        kernel.enslave("vif1.0", "br0");
        kernel.apply(add(&entry));
        assert_eq!(kernel.try_apply(add(&entry)).unwrap_err().errno, Errno::EEXIST);
        let at_bridge = entry.clone().with_link(name("br0"));
        // At the bridge itself only its own addresses can be.
        refused(kernel.try_apply(add(&at_bridge)), Errno::EINVAL, "br0", None);
        kernel.apply(Step::Port(PortStep::FdbDel { entry: entry.clone() }));
        assert_eq!(kernel.try_apply(Step::Port(PortStep::FdbDel { entry })).unwrap_err().errno, Errno::ENOENT);
    });
}

/// On a kernel without CONFIG_BRIDGE_VLAN_FILTERING every VLAN is refused; on one with it, they are read back.
#[test]
fn vlans_of_ports() {
    in_netns("refusals::vlans_of_ports", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        kernel.veth("vif1.0", "p0");
        kernel.enslave("vif1.0", "br0");
        let vlan = PortVlan::new(Vid::new(5).unwrap(), Tagging::Untagged).with_pvid(true);
        let known = kernel.link("br0").bridge.unwrap().vlan_filtering.is_some();
        // Of what is no port the kernel has nothing to tell, and says EINVAL to the question.
        for text in ["p0", "lo"] {
            assert!(kernel.look(Part::PortVlans(name(text))).port_vlans.is_empty(), "{text}");
        }
        for text in ["vif1.0", "br0"] {
            let port = LinkRef::named(name(text));
            let added = kernel.try_apply(Step::Port(PortStep::VlanAdd { port, vlan }));
            if !known {
                assert_eq!(added.unwrap_err().errno, Errno::EOPNOTSUPP);
                assert!(kernel.look(Part::PortVlans(name(text))).port_vlans.is_empty());
                continue;
            }
            added.unwrap();
            let seen = kernel.look(Part::PortVlans(name(text))).port_vlans;
            assert!(seen[&name(text)].contains(&vlan), "{seen:?}");
            kernel.apply(Step::Port(PortStep::VlanDel { port, vlan }));
            let seen = kernel.look(Part::PortVlans(name(text))).port_vlans;
            assert!(!seen.get(&name(text)).is_some_and(|all| all.contains(&vlan)));
        }
    });
}

#[test]
fn settings_that_cannot_be_written() {
    in_netns("refusals::settings_that_cannot_be_written", || {
        let mut kernel = Kernel::open();
        let write =
            |key: &str, value: &str| Step::Sysctl(SysctlStep { key: key.parse().unwrap(), value: value.to_owned() });
        let e = kernel.try_apply(write("net/ipv4/ip_forward", "many"));
        refused(e, Errno::EINVAL, "/proc/sys/net/ipv4/ip_forward", None);
        let e = kernel.try_apply(write("net/ipv4/conf/vif9.0/proxy_arp", "1"));
        refused(e, Errno::ENOENT, "/proc/sys/net/ipv4/conf/vif9.0/proxy_arp", None);
    });
}

/// In containers `/proc/sys` is often mounted read-only. A process of its own, because mounts are a process's, not a
/// thread's.
#[test]
fn settings_on_a_read_only_proc() {
    const INSIDE: &str = "XENNET_TESTS_READ_ONLY_PROC";
    let test = "refusals::settings_on_a_read_only_proc";
    if std::env::var_os(INSIDE).is_none() {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(INSIDE, "1");
        match namespace::isolate(&mut command).output() {
            Ok(output) => {
                let text =
                    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success() && text.contains("1 passed"), "{text}");
            }
            Err(e) if std::env::var_os("CI").is_some() => panic!("{}", namespace::explain(&e).report()),
            Err(e) => eprintln!("skipped: {test}: {}", namespace::explain(&e)),
        }
        return;
    }
    rustix::mount::mount_bind("/proc/sys", "/proc/sys").unwrap();
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    rustix::mount::mount_remount("/proc/sys", flags, "").unwrap();
    let mut kernel = Kernel::open();
    let key = SysctlKey::forwarding(Family::Ipv4);
    let e = kernel.try_apply(Step::Sysctl(SysctlStep { key: key.clone(), value: "1".into() }));
    refused(e, Errno::EROFS, "/proc/sys/net/ipv4/ip_forward", None);
    assert_eq!(kernel.look(Part::Sysctl(key.clone())).sysctls.get(&key), Some("0"));
}

#[test]
fn settings_of_another_namespace_are_not_touched_by_mistake() {
    in_netns("refusals::settings_of_another_namespace_are_not_touched_by_mistake", || {
        let mut kernel = Kernel::open();
        kernel.bridge("br0");
        NetNs::new()
            .unwrap()
            .run(|| {
                // The socket stays where it was opened; /proc/sys goes with the thread.
                let key = SysctlKey::forwarding(Family::Ipv4);
                let written =
                    kernel.try_apply(Step::Sysctl(SysctlStep { key: key.clone(), value: "1".into() })).unwrap_err();
                let read = kernel.0.observe(&Scope::from_iter([Part::Sysctl(key)])).unwrap_err();
                assert_eq!((written.errno, read.errno), (Errno::EXDEV, Errno::EXDEV));
                assert!(kernel.exists("br0"));
            })
            .unwrap();
        assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "0\n");
    });
}

/// What no message can say does not become another message.
#[test]
fn what_does_not_fit_into_a_message() {
    in_netns("refusals::what_does_not_fit_into_a_message", || {
        let mut kernel = Kernel::open();
        for (length, errno) in [(300, Errno::EINVAL), (65_000, Errno::EINVAL), (70_000, Errno::EMSGSIZE)] {
            let change = LinkChange::default().with_alias("x".repeat(length));
            let e = kernel.try_apply(set("lo", change)).unwrap_err();
            assert!(e.errno == errno || length < 70_000 && e.errno == Errno::ERANGE, "{length}: {e}");
        }
        let mut label = address("lo", "192.0.2.1/32");
        label.label = Some("a".repeat(100_000));
        assert_eq!(kernel.try_apply(Step::Addr(AddrStep::Add(label))).unwrap_err().errno, Errno::ERANGE);
        let hop = |weight| NextHop::through(name("lo")).with_weight(weight);
        let ways = |hops: Vec<NextHop>| {
            let route = Route::to("192.0.2.0/24".parse().unwrap(), name("lo"));
            Step::Route(RouteStep::Add(route.with_link(None).with_next_hops(hops)))
        };
        assert_eq!(kernel.try_apply(ways(vec![hop(1); 5000])).unwrap_err().errno, Errno::EMSGSIZE);
        assert_eq!(kernel.try_apply(ways(vec![hop(0)])).unwrap_err().errno, Errno::EINVAL);
        assert_eq!(kernel.try_apply(ways(vec![hop(257)])).unwrap_err().errno, Errno::EINVAL);
    });
}

#[test]
fn what_this_backend_has_not() {
    in_netns("refusals::what_this_backend_has_not", || {
        let mut kernel = Kernel::open();
        let e = kernel.try_apply(Step::Store(StoreTransaction(Vec::new()))).unwrap_err();
        assert_eq!(e.errno, Errno::EOPNOTSUPP);
        assert!(e.message.unwrap().contains("xenstore"));
        let path = "/local/domain/0".parse().unwrap();
        assert_eq!(kernel.0.observe(&Scope::from_iter([Part::Store(path)])).unwrap_err().errno, Errno::EOPNOTSUPP);
        let capabilities = kernel.0.capabilities();
        assert_eq!((capabilities.name, capabilities.xenstore), ("netlink", false));
    });
}
