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
mod conntrack;
mod extack;
mod linger;
mod links;
mod machine;
mod needs;
mod nfnetlink;
mod nft;
mod observe;
mod refusal;
mod socket;
mod sysctl;
mod watch;
mod wire;

use std::path::Path;
use std::time::Duration;

use crate::backend::{Backend, BackendError, Capabilities, Missed};
use crate::error::{Errno, Error, ErrorKind};
use crate::model::{IfName, ViolationCount};
use crate::snapshot::{Details, Scope, Snapshot};
use crate::step::{NftOp, NftTransaction, Step};

pub use linger::close_in_background;
pub use links::{LinkEvent, LinkEventKind, LinkEvents};
use nft::Nft;
use socket::{Protocol, Socket};
pub use watch::Events;

/// The network of a namespace, as the kernel has it.
#[derive(Debug)]
pub struct Netlink {
    route: Socket,
    /// The message under construction: kept, so that requests allocate nothing for it.
    out: Vec<u8>,
    /// Opened when it is first needed: most of what is done to a bridge needs no nftables.
    nft: Option<Nft>,
    namespace: Option<sysctl::Namespace>,
    /// Whether a link that is up keeps its name, once it was asked.
    names_held_while_up: Option<bool>,
    /// The process that opened the sockets.
    process: u32,
}

impl Netlink {
    /// Opens the sockets in the calling thread's network namespace. Changes nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] when the kernel gives no socket: no netlink, too many open files; [`ErrorKind::Unsupported`] when it is
    /// older than Linux 4.20, which cannot list what belongs to one link.
    pub fn open() -> Result<Netlink, Error> {
        let route = Socket::open(Protocol::Route).map_err(|refusal| {
            let kind = if refusal.too_old { ErrorKind::Unsupported } else { ErrorKind::Io };
            let mut e = Error::new(kind, "the kernel's routing socket cannot be opened")
                .with_object("netlink")
                .with_errno(refusal.errno)
                .unchanged();
            if refusal.too_old {
                e = e.with_hint("boot a newer kernel; README.md, \"Which kernel\", says what needs which version");
            }
            match refusal.message {
                Some(message) => e.with_kernel_message(message),
                None => e,
            }
        })?;
        let namespace = sysctl::Namespace::current();
        Ok(Netlink {
            route,
            out: Vec::new(),
            nft: None,
            namespace,
            names_held_while_up: None,
            process: std::process::id(),
        })
    }
}

impl Drop for Netlink {
    fn drop(&mut self) {
        // In a copy of the process the closing is not the last one, and waits for nothing.
        if let Some(nft) = self.nft.take().filter(|_| self.process == std::process::id()) {
            linger::close_later(nft);
        }
    }
}

impl Netlink {
    /// Refuses work in a copy of the process (`fork(2)`): over one socket the two would get each other's answers.
    fn check_process(&self) -> Result<(), BackendError> {
        let here = std::process::id();
        if here == self.process {
            return Ok(());
        }
        Err(BackendError::new(Errno::EXDEV, "netlink").with_message(format!(
            "its sockets were opened by process {}, of which this one ({here}) is a copy; open others here",
            self.process
        )))
    }

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

    /// Whether there can be nft tables: to ask the kernel where its module is not loaded would load it.
    fn may_have_tables(&self) -> bool {
        self.nft.as_ref().is_some_and(Nft::has_answered) || nft::is_loaded()
    }
}

impl Backend for Netlink {
    fn capabilities(&self) -> Capabilities {
        // Asking for the number of the current ruleset changes nothing, and tells whether the kernel has nftables and
        // lets us.
        let answers = || Nft::open().is_ok_and(|mut nft| nft.generation().is_ok());
        let nft = self.nft.as_ref().is_some_and(Nft::has_answered) || answers();
        let names_held_while_up = needs::names_held_while_up(&needs::release());
        Capabilities { name: "netlink", bridge_vlan: None, names_held_while_up, nft, xenstore: false, programs: true }
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        machine::id(Path::new("/etc/machine-id"), Path::new("/proc/sys/kernel/random/boot_id"))
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.check_process()?;
        let held = *self.names_held_while_up.get_or_insert_with(|| needs::names_held_while_up(&needs::release()));
        let mut seen = observe::observe(self, scope)?;
        seen.hidden.names_held_while_up = held;
        Ok(seen)
    }

    fn details(&mut self) -> Result<(Details, Vec<Missed>), BackendError> {
        self.check_process()?;
        Ok(observe::details::details(self))
    }

    fn violations(&mut self) -> Result<Vec<ViolationCount>, BackendError> {
        self.check_process()?;
        observe::details::violations(self)
    }

    fn wait(&mut self, link: &IfName, patience: Duration) -> Result<bool, BackendError> {
        self.check_process()?;
        watch::wait(self, link, patience).map_err(|e| e.about(link.as_str()))
    }

    fn prepare(&mut self, tables: &[NftTransaction]) {
        let Ok(nft) = self.nft() else { return };
        for making in tables {
            // A table that is there may have fewer chains.
            let lacks = |op: &NftOp| match op {
                NftOp::AddChain { chain, .. } => matches!(nft.observe_use(&making.table, chain), Ok(None)),
                _ => false,
            };
            if making.ops.iter().any(lacks) {
                nft.load(making);
            }
        }
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.check_process()?;
        apply::apply(self, step)
    }

    fn track_connections(&mut self) -> Result<(), BackendError> {
        sysctl::check(self.namespace.as_ref()).map_err(|e| e.about("tracked connections"))?;
        conntrack::load().map_err(|e| e.about("tracked connections"))
    }
}
