//! The netlink backend against the real kernel: every kind of step is applied and read back, every part is looked at,
//! and refusals come with the kernel's own words. Links are made of what every kernel has: bridges and veths.

mod details;
mod links;
mod objects;
mod refusals;
mod scopes;

use xennet_core::MacAddr;
use xennet_core::backend::netlink::Netlink;
use xennet_core::backend::{Backend, BackendError};
use xennet_core::snapshot::{Address, Link, Part, Scope, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewLink, PortChange, PortStep, Step};
use xennet_tests::steps::{into, name};

/// A name.
/// A backend in the test's namespace, and short ways to use it.
struct Kernel(Netlink);

impl Kernel {
    fn open() -> Self {
        Kernel(Netlink::open().unwrap())
    }

    fn try_apply(&mut self, step: Step) -> Result<(), BackendError> {
        self.0.apply(&step)
    }

    #[track_caller]
    fn apply(&mut self, step: Step) {
        if let Err(e) = self.0.apply(&step) {
            panic!("{step:?}\nwas refused: {e}");
        }
    }

    #[track_caller]
    fn look(&mut self, part: Part) -> Snapshot {
        self.0.observe(&Scope::from_iter([part])).unwrap()
    }

    #[track_caller]
    fn link(&mut self, text: &str) -> Link {
        self.look(Part::Link(name(text))).links.remove(&name(text)).unwrap_or_else(|| panic!("there is no {text}"))
    }

    fn exists(&mut self, text: &str) -> bool {
        self.look(Part::Link(name(text))).links.contains_key(&name(text))
    }

    #[track_caller]
    fn set(&mut self, text: &str, change: LinkChange) {
        self.apply(Step::Link(LinkStep::Set { link: LinkRef::named(name(text)), change }));
    }

    #[track_caller]
    fn set_port(&mut self, text: &str, change: PortChange, up: Option<bool>) {
        self.apply(Step::Port(PortStep::Set { port: LinkRef::named(name(text)), change, up }));
    }

    #[track_caller]
    fn up(&mut self, text: &str) {
        self.set(text, LinkChange::default().with_up(true));
    }

    #[track_caller]
    fn bridge(&mut self, text: &str) {
        self.apply(create(text, NewLink::Bridge, LinkChange::default()));
    }

    #[track_caller]
    fn veth(&mut self, text: &str, peer: &str) {
        self.apply(create(text, NewLink::Veth { peer: name(peer) }, LinkChange::default()));
    }

    #[track_caller]
    fn enslave(&mut self, port: &str, bridge: &str) {
        self.set(port, into(bridge));
    }

    #[track_caller]
    fn address(&mut self, link: &str, text: &str) {
        self.apply(Step::Addr(AddrStep::Add(address(link, text))));
    }
}

fn create(text: &str, kind: NewLink, change: LinkChange) -> Step {
    Step::Link(LinkStep::Create { name: name(text), kind, change })
}

/// A change of master.
fn address(link: &str, text: &str) -> Address {
    Address::new(name(link), text.parse().unwrap())
}

fn mac(last: u8) -> MacAddr {
    MacAddr::new([0x02, 0, 0, 0, 0, last])
}
