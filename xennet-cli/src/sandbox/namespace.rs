//! The namespace switch: the only place of the command that leaves the namespaces it was started in.
//!
//! Three ways out, from small to large: a [`NetNs`] of its own for a thread ([`NetNs::new`], [`NetNs::run`]), private
//! namespaces for this process ([`enter`]), and private namespaces for a process that is about to start
//! ([`isolate`]). A namespace goes, with all links in it, when the last descriptor and the last thread are gone.
//!
//! Source: `namespaces(7)`, `user_namespaces(7)`, `network_namespaces(7)`, `mount_namespaces(7)`.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountPropagationFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags};
use xennet_core::{Error, ErrorKind, Result};

/// A network namespace that is kept alive by this value.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
}

impl NetNs {
    /// A new, empty network namespace: one loopback link, down. The calling thread stays where it is.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] without `CAP_SYS_ADMIN` in the user namespace; [`enter`] gets it.
    pub fn new() -> Result<Self> {
        on_thread(|| {
            unshare(UnshareFlags::NEWNET).map_err(|e| refused("a network namespace", e))?;
            NetNs::current()
        })?
    }

    /// The network namespace of the calling thread.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] where `/proc` is not mounted.
    pub fn current() -> Result<Self> {
        let path = "/proc/thread-self/ns/net";
        let file = File::open(path).map_err(|e| {
            Error::new(ErrorKind::Io, format!("{path} cannot be opened: {e}"))
                .with_object(path)
                .with_hint("mount the proc file system on /proc")
        })?;
        Ok(NetNs { fd: file.into() })
    }

    /// Runs `work` in this namespace, on a thread of its own, and waits for it. Sockets opened by it stay in this
    /// namespace wherever they are used later.
    ///
    /// # Errors
    /// [`ErrorKind::Denied`] if the kernel does not let us in.
    ///
    /// # Panics
    /// If `work` panics, with its message.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        on_thread(|| {
            rustix::thread::move_into_link_name_space(self.fd.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| refused("entering a network namespace", e))?;
            Ok(work())
        })?
    }

    /// The number of the descriptor, as netlink messages want it (`IFLA_NET_NS_FD`).
    pub fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Runs `work` on a new thread and hands on its panic, so that a failed assertion in a namespace is a failed test.
fn on_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T> {
    std::thread::scope(|scope| {
        // The name is kept, so that a panic on the new thread is reported under the name of the one that asked for it.
        let name = std::thread::current().name().unwrap_or("namespace").to_owned();
        let thread = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Error::new(ErrorKind::Io, format!("no thread can be started: {e}")))?;
        thread.join().map_or_else(|panic| std::panic::resume_unwind(panic), Ok)
    })
}

/// Gives this process a network and a mount namespace of its own; where it may not have them, a user namespace around
/// them in which it is root.
///
/// In the new mount namespace nothing that is mounted reaches the outside. Every thread started later is inside too.
///
/// # Errors
/// [`ErrorKind::Denied`] where the host forbids user namespaces, or if the process has a second thread already and needs
/// one. Some of the namespaces may be new after an error too.
pub fn enter() -> Result<()> {
    let plain = UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    match unshare(plain) {
        Ok(()) => {}
        Err(Errno::PERM) => {
            let ids = Ids::of_process();
            unshare(plain | UnshareFlags::NEWUSER).map_err(|e| refused("a user namespace", e))?;
            ids.become_root().map_err(|e| refused("the id maps of a user namespace", e))?;
        }
        Err(e) => return Err(refused("a network and a mount namespace", e)),
    }
    keep_mounts_private().map_err(|e| refused("private mounts", e))
}

/// Makes a program start in user, network and mount namespaces of its own, as root of them.
///
/// `Command::spawn` fails with the kernel's error number where the host forbids them; [`explain`] words it.
#[expect(unsafe_code, reason = "a program can only be moved between fork and exec by Command::pre_exec")]
pub fn isolate(command: &mut Command) -> &mut Command {
    let ids = Ids::of_process();
    let flags = UnshareFlags::NEWUSER | UnshareFlags::NEWNET | UnshareFlags::NEWNS;
    // JUSTIFICATION: a user namespace can only be entered by a process with a single thread. This process may have
    // many (a test runner has); its child has exactly one between fork and exec, and only `pre_exec` runs there.
    // SAFETY: between fork and exec of a process with threads only async-signal-safe work is allowed: no allocation, no
    // lock. The closure makes plain system calls (unshare, open, write, close, mount) through rustix's raw
    // backend with constant paths, and formats its numbers into arrays that were filled before the fork. What it
    // returns is a number in an `io::Error`, which does not allocate either.
    unsafe {
        command.pre_exec(move || {
            unshare(flags)?;
            ids.become_root()?;
            keep_mounts_private()?;
            Ok(())
        })
    }
}

/// The error for a refusal of [`isolate`]'s namespaces, with what is missing.
pub fn explain(error: &std::io::Error) -> Error {
    match Errno::from_io_error(error) {
        Some(errno) => refused("a user namespace", errno),
        None => Error::new(ErrorKind::Io, format!("the process cannot be started: {error}")),
    }
}

/// Separates the calling thread (or the process, if it is the only one) from its namespaces.
#[expect(unsafe_code, reason = "the one call that makes namespaces is marked unsafe for the sake of one flag")]
fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    // Taken out so that the safety below does not depend on the callers.
    let flags = flags.difference(UnshareFlags::FILES);
    // JUSTIFICATION: without unshare(2) there is no namespace; rustix has no safe form of it.
    // SAFETY: the function is unsafe only because CLONE_FILES would give threads different tables of file descriptors;
    // that flag has just been removed.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Nothing that is mounted from now on in this mount namespace is seen outside of it.
fn keep_mounts_private() -> rustix::io::Result<()> {
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// The lines for `uid_map` and `gid_map`, written out beforehand so that nothing is allocated after a fork.
#[derive(Clone, Copy)]
struct Ids {
    uid_map: Line,
    gid_map: Line,
}

impl Ids {
    fn of_process() -> Self {
        Ids {
            uid_map: Line::root_is(rustix::process::geteuid().as_raw()),
            gid_map: Line::root_is(rustix::process::getegid().as_raw()),
        }
    }

    /// Inside a fresh user namespace: makes this process its root.
    fn become_root(&self) -> rustix::io::Result<()> {
        // Before an ordinary user may map its group, it must give up setgroups(2) (`user_namespaces(7)`). The file is
        // missing before Linux 3.19, and so is the rule.
        match write_to(c"/proc/self/setgroups", b"deny") {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(e) => return Err(e),
        }
        write_to(c"/proc/self/uid_map", self.uid_map.bytes())?;
        write_to(c"/proc/self/gid_map", self.gid_map.bytes())
    }
}

fn write_to(path: &std::ffi::CStr, bytes: &[u8]) -> rustix::io::Result<()> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, bytes).map(|_| ())
}

/// One line of an id map: inside 0 is the given id outside, for one id.
#[derive(Clone, Copy)]
struct Line {
    bytes: [u8; Line::MAX],
    len: usize,
}

impl Line {
    /// `"0 4294967295 1"`.
    const MAX: usize = 14;

    fn root_is(outside: u32) -> Self {
        let text = format!("0 {outside} 1");
        let mut bytes = [0; Line::MAX];
        let len = text.len().min(Line::MAX);
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Line { bytes, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What a refusal by the kernel means here and what can be done about it.
fn refused(what: &str, errno: Errno) -> Error {
    let hint = match errno {
        Errno::PERM | Errno::ACCESS => {
            "user namespaces are forbidden here: run as root, or allow them (sysctl kernel.unprivileged_userns_clone=1, \
             kernel.apparmor_restrict_unprivileged_userns=0; in a container its seccomp profile must let unshare through)"
        }
        Errno::NOSPC | Errno::USERS => "raise the sysctls user.max_user_namespaces and user.max_net_namespaces",
        Errno::INVAL | Errno::NOSYS => {
            "the kernel needs CONFIG_USER_NS and CONFIG_NET_NS, and / must be a mount point (no chroot)"
        }
        // Not a matter of what the host allows: out of memory, a missing /dev/null.
        _ => {
            return Error::new(ErrorKind::Io, format!("making {what} failed"))
                .with_errno(xennet_core::Errno(errno.raw_os_error()));
        }
    };
    Error::new(ErrorKind::Denied, format!("{what} cannot be had here"))
        .with_errno(xennet_core::Errno(errno.raw_os_error()))
        .with_hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_map_line_holds_the_largest_id() {
        assert_eq!(Line::root_is(u32::MAX).bytes(), b"0 4294967295 1");
        assert_eq!(Line::root_is(0).bytes(), b"0 0 1");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let e = explain(&std::io::Error::from_raw_os_error(1));
        assert_eq!((e.kind(), e.errno()), (ErrorKind::Denied, Some(xennet_core::Errno::EPERM)));
        assert!(e.hint().unwrap().contains("user namespaces are forbidden"));
        assert_eq!(explain(&std::io::Error::other("x")).kind(), ErrorKind::Io);
        assert_eq!(explain(&std::io::Error::from_raw_os_error(2)).kind(), ErrorKind::Io, "nothing that was forbidden");
    }
}
