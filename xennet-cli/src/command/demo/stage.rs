//! Where the demo takes place: on the kernel, or on a model of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use xennet_core::backend::fake::Fake;
use xennet_core::backend::{Backend, BackendError, Capabilities};
use xennet_core::ipnetwork::IpNetwork;
use xennet_core::snapshot::{Address, Route, Scope, Snapshot};
use xennet_core::step::{AddrStep, LinkChange, LinkRef, LinkStep, NewMaster, RouteStep, Step};
use xennet_core::{DevId, DomId, Error, ErrorKind, Host, IfName, Result, VifId};

use crate::cli::{BackendName, Global};
use crate::output::Output;
use crate::sandbox::Lan;

/// Where the demo takes place.
pub(super) enum Stage {
    /// The real kernel, in a world of its own.
    Kernel(Lan),
    /// A model of the kernel, in memory.
    Model(Arc<Mutex<Fake>>),
}

impl Stage {
    pub(super) fn open(global: &Global, output: &mut Output) -> Result<(Host, Stage)> {
        if global.backend == BackendName::Netlink {
            match Lan::enter() {
                Ok(lan) => return Ok((Host::netlink()?, Stage::Kernel(lan))),
                Err(e) if e.kind() == ErrorKind::Denied => {
                    output.note(&format!(
                        "{e}; a model of the kernel takes the kernel's place, and nobody can be pinged in it"
                    ));
                    if let Some(hint) = e.hint() {
                        output.note(hint);
                    }
                }
                Err(e) => return Err(e),
            }
        }
        let fake = Arc::new(Mutex::new(model()?));
        let host = Host::with_backend(Box::new(Shared(Arc::clone(&fake))));
        Ok((host, Stage::Model(fake)))
    }

    /// The host and its guests, where there is somebody to ping.
    pub(super) fn lan(&self) -> Option<&Lan> {
        match self {
            Stage::Kernel(lan) => Some(lan),
            Stage::Model(_) => None,
        }
    }

    /// A domain is built.
    pub(super) fn start(&mut self, domid: u8, address: IpNetwork, gateway: std::net::Ipv4Addr) -> Result<()> {
        match self {
            Stage::Kernel(lan) => lan.start(domid, address, gateway),
            // Netback makes the vif there when it is first named.
            Stage::Model(_) => Ok(()),
        }
    }

    /// A domain ends.
    pub(super) fn stop(&mut self, domid: u8) -> Result<()> {
        match self {
            Stage::Kernel(lan) => lan.stop(domid),
            Stage::Model(fake) => {
                locked(fake).remove_vif(id(domid)?);
                Ok(())
            }
        }
    }
}

/// The vif of a domain of the demo.
pub(super) fn id(domid: u8) -> Result<VifId> {
    Ok(VifId::new(DomId::new(u32::from(domid))?, DevId::new(0)?))
}

/// The same host as [`Lan`] is: of the example its uplink, which gets the address that the bridge has there.
fn model() -> Result<Fake> {
    let mut fake = Fake::example();
    let (eth0, xenbr0): (IfName, IfName) = (Lan::UPLINK.parse()?, "xenbr0".parse()?);
    let internal = |e: &dyn std::fmt::Display| Error::new(ErrorKind::Internal, format!("the model of a host: {e}"));
    let own: IpNetwork = format!("{}/24", Lan::HOST).parse().map_err(|e| internal(&e))?;
    let everywhere: IpNetwork = "0.0.0.0/0".parse().map_err(|e| internal(&e))?;
    let leaves = LinkChange::default().with_master(NewMaster::None);
    let steps = [
        Step::Link(LinkStep::Set { link: LinkRef::named(eth0), change: leaves }),
        Step::Link(LinkStep::Delete { link: LinkRef::named(xenbr0) }),
        Step::Addr(AddrStep::Add(Address::new(eth0, own))),
        Step::Route(RouteStep::Add(Route::to(everywhere, eth0).with_gateway(Some(Lan::OUTSIDE.into())))),
    ];
    for step in &steps {
        fake.apply(step).map_err(|e| internal(&e))?;
    }
    Ok(fake)
}

/// A fake that the host works on while the demo plays netback in it.
struct Shared(Arc<Mutex<Fake>>);

impl Backend for Shared {
    fn capabilities(&self) -> Capabilities {
        locked(&self.0).capabilities()
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        locked(&self.0).machine_id()
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        locked(&self.0).observe(scope)
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        locked(&self.0).apply(step)
    }
}

fn locked(fake: &Mutex<Fake>) -> MutexGuard<'_, Fake> {
    // A panic elsewhere leaves a world that is still worth looking at.
    fake.lock().unwrap_or_else(PoisonError::into_inner)
}
