//! The real kernel, over blocking netlink sockets of our own.
//!
//! Messages to the kernel are made with rtnetlink's types; answers are read by a walk of our own, because a listing
//! must not fail for an attribute that nobody asked for, and because most of a link's kilobyte is of no interest here.
//!
//! # Namespaces
//!
//! A [`Netlink`] works on the network namespace that the calling thread was in when it was opened, and stays there when
//! the thread moves on. Kernel settings are the exception: `/proc/sys/net` always shows those of the reading thread's
//! namespace. To read or write another namespace's settings by mistake would be silent, so it is checked: from a thread
//! that is elsewhere, settings are refused with `EXDEV`, and so is the first use of nftables, which opens its socket
//! only then.

mod apply;
mod extack;
mod linger;
mod nft;
mod observe;
mod socket;
mod sysctl;
mod watch;
mod wire;

use std::time::Duration;

use crate::backend::{Backend, BackendError, Capabilities};
use crate::error::{Error, ErrorKind};
use crate::model::IfName;
use crate::snapshot::{Scope, Snapshot};
use crate::step::Step;

pub use linger::close_in_background;
use nft::Nft;
use socket::{Protocol, Socket};

/// The network of a namespace, as the kernel has it.
#[derive(Debug)]
pub struct Netlink {
    route: Socket,
    /// The message under construction: kept, so that requests allocate nothing for it.
    out: Vec<u8>,
    /// Opened when it is first needed: most of what is done to a bridge needs no nftables.
    nft: Option<Nft>,
    namespace: Option<sysctl::Namespace>,
}

impl Netlink {
    /// Opens the sockets in the calling thread's network namespace. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the kernel gives no socket: no netlink, too many open files.
    pub fn open() -> Result<Netlink, Error> {
        let route = Socket::open(Protocol::Route).map_err(|refusal| {
            Error::new(ErrorKind::Io, "the kernel's routing socket cannot be opened")
                .with_object("netlink")
                .with_errno(refusal.errno)
        })?;
        Ok(Netlink { route, out: Vec::new(), nft: None, namespace: sysctl::Namespace::current() })
    }
}

impl Netlink {
    /// The nftables socket. It has to be opened in the namespace of the others, so it is checked that we are still
    /// there.
    fn nft(&mut self) -> Result<&mut Nft, BackendError> {
        let opened = match self.nft.take() {
            Some(nft) => nft,
            None => {
                sysctl::check(self.namespace.as_ref()).map_err(|e| e.about("nftables"))?;
                Nft::open()?
            }
        };
        Ok(self.nft.insert(opened))
    }
}

impl Backend for Netlink {
    fn capabilities(&self) -> Capabilities {
        // Asking for the number of the current ruleset changes nothing, and tells whether the kernel has nftables and
        // lets us.
        let answers = || Nft::open().is_ok_and(|mut nft| nft.generation().is_ok());
        let nft = self.nft.as_ref().is_some_and(Nft::has_answered) || answers();
        Capabilities { name: "netlink", bridge_vlan: None, nft, xenstore: false, programs: true }
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        observe::observe(self, scope)
    }

    fn wait(&mut self, link: &IfName, patience: Duration) -> Result<bool, BackendError> {
        watch::wait(self, link, patience).map_err(|e| e.about(link.as_str()))
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        apply::apply(self, step)
    }
}
