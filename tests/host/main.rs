//! The front door: whatever the last operation was, undo puts back what was there before it, in memory and on the kernel.

use xennet_core::exec::Subject;
use xennet_core::{BridgeSpec, DevId, DomId, Error, ErrorKind, Host, Mtu};
use xennet_tests::{StateDir, World, in_netns};

/// One operation of a host on which vif1.0 and the bridges xenbr0 and br1 exist.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Attach(&'static str),
    Detach,
    Bridge(&'static str, u32),
}

impl Operation {
    fn run(self, host: &mut Host) -> Result<usize, Error> {
        let domid = DomId::new(1)?;
        match self {
            Operation::Attach(vif) => host.attach(domid, &vif.parse()?),
            Operation::Detach => host.detach(domid, DevId::FIRST),
            Operation::Bridge(name, mtu) => {
                host.ensure_bridge(&BridgeSpec::new(name.parse()?).with_mtu(Mtu::new(mtu).unwrap()))
            }
        }
        .map(|applied| applied.steps)
    }

    fn subject(self) -> Subject {
        match self {
            Operation::Attach(_) | Operation::Detach => "vif1.0".parse().unwrap(),
            Operation::Bridge(name, _) => name.parse().unwrap(),
        }
    }
}

const OPERATIONS: [Operation; 9] = [
    Operation::Attach("bridge=xenbr0"),
    Operation::Attach("bridge=br1"),
    Operation::Detach,
    Operation::Attach("bridge=xenbr0,isolated"),
    Operation::Attach("bridge=xenbr0,mtu=1400"),
    Operation::Bridge("br1", 1300),
    Operation::Attach("bridge=xenbr0,vifname=web0"),
    Operation::Bridge("br2", 1500),
    Operation::Attach("bridge=br2,vifname=web1,isolated"),
];

/// Every operation: carried out, undone, carried out again.
fn to_and_fro(host: &mut Host) {
    for (name, mtu) in [("xenbr0", 1500), ("br1", 1500)] {
        Operation::Bridge(name, mtu).run(host).unwrap();
    }
    for operation in OPERATIONS {
        let before = host.show().unwrap();
        let fail = |e: Error| -> usize { panic!("{operation:?}: {}", e.report()) };
        let steps = operation.run(host).unwrap_or_else(fail);
        assert!(steps > 0, "{operation:?}");
        let after = host.show().unwrap();
        assert_ne!(before, after, "{operation:?}");

        assert!(host.undo(operation.subject()).map(|a| a.steps).unwrap_or_else(fail) > 0, "{operation:?}");
        assert_eq!(host.show().unwrap(), before, "{operation:?}");
        operation.run(host).unwrap_or_else(fail);
        let again = host.show().unwrap();
        // A bridge that was made anew has another index, which is not shown; all else is the same.
        assert_eq!(again, after, "{operation:?}");
    }
    assert_eq!(host.recover().unwrap(), []);
}

#[test]
fn undo_puts_back_whatever_was_there_in_memory() {
    to_and_fro(&mut Host::fake());
}

#[test]
fn undo_puts_back_whatever_was_there_on_the_kernel() {
    in_netns("undo_puts_back_whatever_was_there_on_the_kernel", || {
        let mut world = World::build().unwrap();
        world.start(1).unwrap();
        let state = StateDir::new();
        let dir = xennet_core::exec::StateDir::at(state.path());
        to_and_fro(&mut Host::netlink().unwrap().with_state_dir(dir));
    });
}

#[test]
fn the_last_operation_of_all_is_undone_first_and_then_nothing_is_left() {
    let mut host = Host::fake();
    let start = host.show().unwrap();
    Operation::Attach("bridge=xenbr0").run(&mut host).unwrap();
    let attached = host.show().unwrap();
    Operation::Bridge("br1", 1500).run(&mut host).unwrap();
    host.undo_last().unwrap();
    assert_eq!(host.show().unwrap(), attached);
    host.undo_last().unwrap();
    assert_eq!(host.show().unwrap(), start);
    assert_eq!(host.undo_last().unwrap_err().kind(), ErrorKind::NothingToUndo);
    assert_eq!(host.undo("vif1.0".parse().unwrap()).unwrap_err().kind(), ErrorKind::NothingToUndo);
}

/// A detached vif keeps the name that it was given, and is found by it: after one detach and after two.
fn attach_again(mut host: Host) {
    let domid = DomId::new(1).unwrap();
    for detaches in [1, 2] {
        assert!(host.attach(domid, &"bridge=xenbr0,vifname=web0".parse().unwrap()).unwrap().steps > 0);
        for at in 0..detaches {
            let steps = host.detach(domid, DevId::FIRST).unwrap().steps;
            assert_eq!(steps > 0, at == 0);
            assert_eq!(host.show().unwrap().vifs, [], "nothing is attached");
        }
    }
    let plan = host.plan_attach(domid, &"bridge=xenbr0".parse().unwrap()).unwrap();
    assert!(plan.to_string().contains("renamed to vif1.0"), "{plan}");
    host.attach(domid, &"bridge=xenbr0".parse().unwrap()).unwrap();
}

#[test]
fn a_renamed_vif_is_attached_again() {
    attach_again(Host::fake());
    let state = StateDir::new();
    attach_again(Host::fake_in(xennet_core::exec::StateDir::at(state.path())).unwrap());
}
