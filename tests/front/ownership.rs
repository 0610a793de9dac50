//! Whose is what: names that another vif has, vifs that were made anew, records that are not so any more, two at once.

use xennet_core::backend::Backend;
use xennet_core::backend::fake::{Fake, Netback};
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::Subject;
use xennet_core::snapshot::{Link, Snapshot};
use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewMaster, Step};
use xennet_core::{ErrorKind, Host, VifId, exec};
use xennet_tests::{Shared, StateDir, in_netns};

use super::{FIRST, build, domid, into, kernel, name, on_kernel, set, spec, up, vif, whole};

/// Lets a case act on the world behind the host's back.
pub(super) type World<'a> = &'a mut dyn FnMut(&mut dyn FnMut(&mut dyn Backend));

/// Runs a case in memory and on the kernel.
pub(super) fn both(test: &str, case: impl Fn(&mut Host, World<'_>) + Send + Sync) {
    let state = StateDir::new();
    let shared = Shared::new(super::fake(true));
    let mut host = Host::with_backend(Box::new(shared.clone())).with_state_dir(exec::StateDir::at(state.path()));
    case(&mut host, &mut |act| act(&mut shared.clone()));
    in_netns(test, || {
        build(&mut Netlink::open().unwrap());
        let state = StateDir::new();
        case(&mut on_kernel(&state), &mut |act| act(&mut Netlink::open().unwrap()));
    });
}

fn link(on: &mut dyn Backend, which: &str) -> Option<Link> {
    super::look(on).links.remove(which)
}

#[test]
fn a_name_that_another_domain_has_is_left_to_it() {
    both("ownership::a_name_that_another_domain_has_is_left_to_it", |host, world| {
        host.attach(domid(1), &spec("bridge=xenbr0,vifname=web0")).unwrap();
        let e = host.attach(domid(2), &spec("bridge=xenbr1,vifname=web0")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::NameTaken);
        whole(&e);
        // The refused one detaches: that is about its own vif.
        host.detach(domid(2), FIRST).unwrap();
        world(&mut |on| {
            let web = link(on, "web0").unwrap();
            assert_eq!((web.master, web.up), (Some(name("xenbr0")), true));
            assert!(!link(on, "vif2.0").unwrap().up);
        });
    });
}

#[test]
fn a_vif_that_was_made_anew_is_detached_and_attached() {
    both("ownership::a_vif_that_was_made_anew_is_detached_and_attached", |host, world| {
        for again in ["detach", "attach"] {
            host.attach(domid(1), &spec("bridge=xenbr0")).unwrap();
            // The domain was built anew under the same number, and something connected its vif, with another index.
            world(&mut |on| {
                on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("vif1.0")) })).unwrap();
                vif(on, "vif1.0", "guest1", 0x31);
                if again == "detach" {
                    set(on, "vif1.0", into("xenbr0").with_up(true));
                }
            });
            if again == "detach" {
                assert_eq!(host.detach(domid(1), FIRST).unwrap().steps, 1, "it is not silently skipped");
                world(&mut |on| assert_eq!(link(on, "vif1.0").unwrap().master, None));
            } else {
                host.attach(domid(1), &spec("bridge=xenbr1")).unwrap();
                world(&mut |on| assert_eq!(link(on, "vif1.0").unwrap().master, Some(name("xenbr1"))));
                assert_eq!(host.show().unwrap().vifs.len(), 1);
            }
        }
    });
}

#[test]
fn a_record_without_its_vif_hinders_nothing() {
    both("ownership::a_record_without_its_vif_hinders_nothing", |host, world| {
        host.attach(domid(1), &spec("bridge=xenbr0,vifname=web0")).unwrap();
        world(&mut |on| on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("web0")) })).unwrap());
        let shown = host.show().unwrap();
        assert_eq!((shown.vifs[0].link, shown.vifs[0].up), (None, false), "it is shown as gone");
        let e = host.undo(Subject::Vif(VifId::new(domid(1), FIRST))).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Stale);
        whole(&e);
        let e = host.attach(domid(1), &spec("bridge=xenbr0")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::LinkNotFound);
        whole(&e);
        assert_eq!(host.detach(domid(1), FIRST).unwrap().steps, 0);
        assert_eq!(host.show().unwrap().vifs, [], "and forgotten by a detach");
        // Its name is free for another one.
        host.attach(domid(2), &spec("bridge=xenbr0,vifname=web0")).unwrap();
    });
}

#[test]
fn a_vif_that_was_renamed_is_found_again_after_a_detach() {
    both("ownership::a_vif_that_was_renamed_is_found_again_after_a_detach", |host, world| {
        host.attach(domid(1), &spec("bridge=xenbr0,vifname=web0")).unwrap();
        for _ in 0..2 {
            host.detach(domid(1), FIRST).unwrap();
        }
        host.attach(domid(1), &spec("bridge=xenbr1")).unwrap();
        world(&mut |on| assert_eq!(link(on, "vif1.0").unwrap().master, Some(name("xenbr1"))));
    });
}

#[test]
fn a_bridge_that_changed_since_is_not_undone_with_the_vif() {
    both("ownership::a_bridge_that_changed_since_is_not_undone_with_the_vif", |host, world| {
        let subject = Subject::Vif(VifId::new(domid(1), FIRST));
        host.attach(domid(1), &spec("bridge=xenbr0")).unwrap();
        world(&mut |on| set(on, "xenbr0", LinkChange::default().with_mtu(1400)));
        host.undo(subject).unwrap();
        world(&mut |on| assert_eq!(link(on, "xenbr0").unwrap().mtu, 1400));

        host.attach(domid(1), &spec("bridge=xenbr0")).unwrap();
        host.attach(domid(1), &spec("bridge=xenbr1")).unwrap();
        world(&mut |on| on.apply(&Step::Link(LinkStep::Delete { link: LinkRef::named(name("xenbr0")) })).unwrap());
        let e = host.undo(subject).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::Stale, "the bridge that it was on is no more, and is not made again");
        whole(&e);
        world(&mut |on| assert!(link(on, "xenbr0").is_none()));
    });
}

#[test]
fn somebody_elses_port_is_refused_and_ours_that_was_moved_by_hand_too() {
    both("ownership::somebody_elses_port_is_refused_and_ours_that_was_moved_by_hand_too", |host, world| {
        world(&mut |on| set(on, "vif1.0", into("lan0")));
        let e = host.attach(domid(1), &spec("bridge=xenbr0")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PortOfOther);
        whole(&e);
        host.attach(domid(2), &spec("bridge=xenbr0")).unwrap();
        world(&mut |on| set(on, "vif2.0", into("lan0")));
        let e = host.attach(domid(2), &spec("bridge=xenbr0")).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::PortOfOther, "{}", e.report());
        world(&mut |on| {
            set(on, "vif2.0", up().with_master(NewMaster::None));
        });
        host.attach(domid(2), &spec("bridge=xenbr0")).unwrap();
    });
}

/// Two processes attach the same vif at the same moment: both succeed, and one of them does the work.
#[test]
fn two_at_once_do_the_work_once() {
    in_netns("ownership::two_at_once_do_the_work_once", || {
        build(&mut Netlink::open().unwrap());
        let here = xennet_tests::NetNs::current().unwrap();
        for round in 0..10 {
            let state = StateDir::new();
            let steps: Vec<usize> = std::thread::scope(|scope| {
                let attach = || {
                    here.run(|| on_kernel(&state).attach(domid(1), &spec("bridge=xenbr0,mtu=1400")).unwrap().steps)
                        .unwrap()
                };
                let all: Vec<_> = (0..4).map(|_| scope.spawn(attach)).collect();
                all.into_iter().map(|t| t.join().unwrap()).collect()
            });
            assert_eq!(steps.iter().filter(|s| **s > 0).count(), 1, "round {round}: {steps:?}");
            assert_eq!(kernel().links["vif1.0"].master, Some(name("xenbr0")));
            on_kernel(&state).detach(domid(1), FIRST).unwrap();
        }
    });
}

/// A crashed run, and the vif gone before the next one looks.
#[test]
fn a_crashed_run_whose_vif_has_gone_is_closed() {
    let state = StateDir::new();
    let dir = || exec::StateDir::at(state.path());
    let shared = Shared::new(Fake::example().with_netback(Netback::Plays));
    let crash = xennet_core::backend::fake::Fault::CrashAfter { step: 0 };
    shared.change(|fake| fake.set_faults([crash]));
    let host = || Host::with_backend(Box::new(shared.clone())).with_state_dir(dir());
    host().attach(domid(5), &spec("bridge=xenbr0,vifname=web0")).unwrap_err();
    shared.change(|fake| {
        fake.set_faults([]);
        fake.remove_hardware(&name("web0"));
    });
    let before: Snapshot = shared.fake().into_world();
    let recovered = host().recover().unwrap();
    assert_eq!(recovered.len(), 1);
    assert_eq!(recovered[0].1, xennet_core::Recovered::Gone);
    assert_eq!(before.changes(shared.fake().world()), []);
    assert_eq!(host().recover().unwrap(), []);
    // The next life of the vif starts afresh.
    shared.change(|fake| fake.add_vif(VifId::new(domid(5), FIRST)));
    host().attach(domid(5), &spec("bridge=xenbr0")).unwrap();
}
