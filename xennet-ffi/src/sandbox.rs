//! A host in a network namespace of its own.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step};
use xennet_core::{Errno, Error, ErrorKind};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::network;

/// A network namespace that goes, with all links in it, when the value does and nobody else is in it.
pub(crate) struct Namespace(OwnedFd);

impl Namespace {
    /// A new one: one loopback link, down. The calling thread stays where it is.
    pub(crate) fn new() -> Result<Self, Error> {
        on_thread(|| {
            cast::leave_network().map_err(|errno| {
                let kind = if errno == Errno::EPERM { ErrorKind::Denied } else { ErrorKind::Io };
                let hint = "run it as root, or in a user namespace of its own: unshare --user --map-root-user PROGRAM; XENNET_BACKEND_FAKE \
                            needs neither";
                io(kind, "a network namespace cannot be had here", errno).with_hint(hint)
            })?;
            let path = "/proc/thread-self/ns/net";
            let file = File::open(path)
                .map_err(|e| io(ErrorKind::Io, &format!("{path} cannot be opened"), Errno::from_io(&e)))?;
            Ok(Namespace(file.into()))
        })
    }

    /// Does something in it, on a thread of its own: kernel settings are those of the namespace of the thread that reads them.
    pub(crate) fn run<R: Send>(&self, work: impl FnOnce() -> Result<R, Error> + Send) -> Result<R, Error> {
        on_thread(|| {
            move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| io(ErrorKind::Io, "its network namespace cannot be entered", Errno(e.raw_os_error())))?;
            work()
        })
    }
}

fn io(kind: ErrorKind, what: &str, errno: Errno) -> Error {
    Error::new(kind, format!("host: {what}")).with_object("host").with_errno(errno).unchanged()
}

/// A panic on the thread is one of the caller.
fn on_thread<R: Send>(work: impl FnOnce() -> Result<R, Error> + Send) -> Result<R, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("xennet-sandbox".to_owned()).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| io(ErrorKind::Io, "no thread can be started", Errno::from_io(&e)))?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Makes a veth pair in a sandbox (`XENNET_BACKEND_SANDBOX`): one end stands for the vif that netback makes on a Xen host, the other for the
/// guest's.
///
/// \param host The host.
/// \param name The name of one link, for example `vif5.0`.
/// \param name_len Its length in bytes.
/// \param peer The name of the other link: the guest's end.
/// \param peer_len Its length in bytes.
/// \return NULL on success; else `XENNET_KIND_UNSUPPORTED` for a host that is no sandbox, `XENNET_KIND_KERNEL` if the kernel refuses it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_make_cable(
    host: Option<&Host>,
    name: Chars,
    name_len: usize,
    peer: Chars,
    peer_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_host_make_cable", || {
        let host = given(host, "host")?;
        let (name, peer) = (network::named_as(&name, name_len, "name")?, network::named_as(&peer, peer_len, "peer")?);
        if !host.is_sandbox() {
            return Err(Error::new(ErrorKind::Unsupported, "host is no sandbox: its links are made by others")
                .with_object("host")
                .unchanged()
                .with_hint("open one with XENNET_BACKEND_SANDBOX; in a rehearsal a vif appears when it is named"));
        }
        let step = Step::Link(LinkStep::Create { name, kind: NewLink::Veth { peer }, change: LinkChange::default() });
        host.work("xennet_host_make_cable", |core| {
            core.backend().apply(&step).map_err(|e| {
                Error::new(ErrorKind::Kernel, format!("link {name} cannot be made"))
                    .with_object(name.as_str())
                    .with_errno(e.errno)
                    .unchanged()
            })
        })
    })
}
