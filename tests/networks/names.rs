//! An uplink that gives its name to the bridge, under a kernel before Linux 6.2, where a link that is up keeps its name: the rule is
//! put before whatever kernel runs here.

use std::time::Duration;

use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::snapshot::{Part, Scope, Snapshot};
use xennet_core::step::{LinkStep, Step};
use xennet_core::{Errno, Guests, Host, IfName, exec};
use xennet_tests::steps::name;
use xennet_tests::{Shared, in_netns};

use super::state::comes_back;
use super::world::{CLASSIC, LAN, World, fake, network, one};

/// A kernel as if it were older.
struct Old(Netlink);

impl Backend for Old {
    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.0.capabilities();
        capabilities.names_held_while_up = true;
        capabilities
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        self.0.machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        let mut seen = self.0.observe(scope)?;
        seen.hidden.names_held_while_up = true;
        Ok(seen)
    }

    fn wait(&mut self, link: &IfName, patience: Duration) -> Result<bool, BackendError> {
        self.0.wait(link, patience)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        if let Step::Link(LinkStep::Set { link, change }) = step
            && change.name.is_some()
            && self.0.observe(&Scope::none().with(Part::Link(link.name)))?.links.get(&link.name).is_some_and(|l| l.up)
        {
            return Err(BackendError::new(Errno::EBUSY, link.name.as_str()));
        }
        self.0.apply(step)
    }
}

fn old(world: &World) -> Host {
    let backend = Box::new(Old(Netlink::open().unwrap()));
    Host::with_backend(backend).with_state_dir(exec::StateDir::at(world.state.path()))
}

#[test]
fn an_uplink_comes_back_where_names_are_held() {
    comes_back("names::an_uplink_comes_back_where_names_are_held", &[CLASSIC], old);
}

/// What a plan says of a link that has to go down, there and back; and that it says nothing where none has to.
#[test]
fn the_gap_is_told() {
    for held in [true, false] {
        let mut world = fake();
        world.world_mut().hidden.names_held_while_up = held;
        one(&mut world);
        let mut host = Host::with_backend(Box::new(Shared::new(world)));
        let says =
            |plan: &xennet_core::plan::Plan| plan.notes().iter().any(|n| n.contains("goes down for its new name"));
        let goes_down = |plan: &xennet_core::plan::Plan| {
            let is_down = |s: &Step| matches!(s, Step::Link(LinkStep::Set { change, .. }) if change.up == Some(false));
            plan.steps().iter().any(|p| is_down(&p.step))
        };
        let plan = host.plan_start(&network(LAN)).unwrap();
        assert!(!says(&plan) && !goes_down(&plan), "{plan}");
        let plan = host.plan_start(&network(CLASSIC)).unwrap();
        assert_eq!((says(&plan), goes_down(&plan)), (held, held), "{plan}");
        host.start_network(&network(CLASSIC)).unwrap();
        let back = host.plan_stop(&name("lan"), Guests::MustHaveGone).unwrap().unwrap();
        assert_eq!((says(&back), goes_down(&back)), (held, held), "{back}");
    }
}

/// The netlink backend knows the rule of the kernel that runs here.
#[test]
fn what_is_said_of_the_kernel_is_so() {
    in_netns("names::what_is_said_of_the_kernel_is_so", || {
        let _world = World::new();
        let mut on = Netlink::open().unwrap();
        let held = on.observe(&Scope::none().with(Part::Link(name("eth0")))).unwrap().hidden.names_held_while_up;
        assert_eq!(on.capabilities().names_held_while_up, held);
        let link = xennet_core::step::LinkRef::named(name("eth0"));
        let change = xennet_core::step::LinkChange::default().with_name(name("eth9"));
        let renamed = on.apply(&Step::Link(LinkStep::Set { link, change })).map_err(|e| e.errno);
        assert_eq!(renamed, if held { Err(Errno::EBUSY) } else { Ok(()) });
    });
}
