//! Waiting: for a link to come into being, and for anything to change.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rtnetlink::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, recv};

use super::Netlink;
use super::refusal::Refusal;
use crate::budget::Budget;
use crate::error::{Errno, Error, ErrorKind};
use crate::model::IfName;

/// `RTNLGRP_LINK`: every change of a link is told (`include/uapi/linux/rtnetlink.h`).
pub(super) const LINKS: u32 = 1;

/// The longest wait that is asked of the kernel at once.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// A socket that hears these groups.
pub(super) fn listening(protocol: isize, groups: &[u32]) -> std::io::Result<sys::Socket> {
    let mut socket = sys::Socket::new(protocol)?;
    socket.bind(&sys::SocketAddr::new(0, 0))?;
    groups.iter().try_for_each(|group| socket.add_membership(*group))?;
    Ok(socket)
}

/// Waits until there is a link of this name; whether there is one in time. Nothing is listed and nothing polled: the kernel
/// tells of every new link, and of every renamed one.
pub(super) fn wait(netlink: &mut Netlink, link: &IfName, patience: Duration) -> Result<bool, Refusal> {
    if netlink.index_of(link)?.is_some() {
        return Ok(true);
    }
    let io = |e: std::io::Error| Refusal::new(Errno::from_io(&e));
    let budget = Budget::of(patience);
    let socket = listening(sys::protocols::NETLINK_ROUTE, &[LINKS]).map_err(io)?;
    // What is told is not read: the name is looked up, which is as good, and right even where something was not told because too
    // much happened at once.
    let mut told = [0_u8; 16];
    loop {
        if netlink.index_of(link)?.is_some() {
            return Ok(true);
        }
        let left = budget.left();
        if left.is_zero() {
            return Ok(false);
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(left.min(LONGEST)))?;
        match recv(&socket, &mut told[..], RecvFlags::TRUNC) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// The groups of `NETLINK_ROUTE` that tell of links, addresses and routes (`include/uapi/linux/rtnetlink.h`): `RTNLGRP_LINK`,
/// `RTNLGRP_IPV4_IFADDR`, `RTNLGRP_IPV4_ROUTE`, `RTNLGRP_IPV6_IFADDR`, `RTNLGRP_IPV6_ROUTE`.
const ROUTING: [u32; 5] = [LINKS, 5, 7, 9, 11];
/// `NFNLGRP_NFTABLES` (`include/uapi/linux/netfilter/nfnetlink.h`): every change of an nft table is told.
const NFTABLES: u32 = 7;
/// What belongs together comes within this time: a start of a network is many changes, and one event.
const TOGETHER: Duration = Duration::from_millis(100);
/// Where changes never end, somebody wants to see them all the same.
const AT_MOST: Duration = Duration::from_secs(1);

/// The kernel's notifications of changed links, addresses, routes and nft tables. Nothing is polled.
///
/// Of counters and learned entries there are none.
#[derive(Debug)]
pub struct Events {
    sockets: Vec<sys::Socket>,
    has_tables: bool,
}

impl Events {
    /// Begins to listen, in the calling thread's network namespace. What changes from here on is told.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if the kernel gives no socket.
    pub fn listen() -> Result<Events, Error> {
        let refused = |e: &std::io::Error| {
            Error::new(ErrorKind::Io, "the kernel's events cannot be listened to").with_errno(Errno::from_io(e))
        };
        let mut sockets = vec![listening(sys::protocols::NETLINK_ROUTE, &ROUTING).map_err(|e| refused(&e))?];
        // Ordinary users may not listen to these.
        let tables = listening(sys::protocols::NETLINK_NETFILTER, &[NFTABLES]).ok();
        let has_tables = tables.is_some();
        sockets.extend(tables);
        Ok(Events { sockets, has_tables })
    }

    /// Whether changes of nft tables are told, too: those who may not change them are not told.
    pub fn has_tables(&self) -> bool {
        self.has_tables
    }

    /// Waits until something has changed, and what belongs to it has, too.
    ///
    /// # Errors
    /// [`ErrorKind::Io`](crate::ErrorKind::Io) if waiting fails.
    pub fn wait(&mut self) -> Result<(), Error> {
        self.wait_until(None, true)?;
        self.gather()
    }

    /// The same, for this time at the most, or until a signal. Whether something has changed; what belongs to that may take up to a second
    /// more.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub fn wait_at_most(&mut self, patience: Duration) -> Result<bool, Error> {
        let changed = self.wait_until(Some(patience), false)?;
        if changed {
            self.gather()?;
        }
        Ok(changed)
    }

    /// The descriptors to poll: one of them is readable when something has changed.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.sockets.iter().map(AsFd::as_fd)
    }

    /// Takes what belongs to a change.
    fn gather(&self) -> Result<(), Error> {
        let end = Instant::now() + AT_MOST;
        while Instant::now() < end && self.wait_until(Some(TOGETHER), true)? {}
        Ok(())
    }

    /// Waits for the next event, for this time at the most, and takes all that are there. Whether there was one; at a signal, `at_signal`.
    fn wait_until(&self, patience: Option<Duration>, at_signal: bool) -> Result<bool, Error> {
        let failed = |errno: rustix::io::Errno| {
            Error::new(ErrorKind::Io, "the kernel's events cannot be waited for")
                .with_errno(Errno(errno.raw_os_error()))
        };
        // Longer than the kernel can wait is for ever.
        let patience = patience.and_then(|time| Timespec::try_from(time).ok());
        let mut all: Vec<PollFd<'_>> = self.sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        match poll(&mut all, patience.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(at_signal),
            Err(errno) => return Err(failed(errno)),
        }
        // What is told is not read: everything is looked at anew, which is right even where too much happened at once to be told.
        let mut told = [0_u8; 16];
        for socket in &self.sockets {
            loop {
                match recv(socket, &mut told[..], RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
                    Ok(_) | Err(rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
                    Err(rustix::io::Errno::AGAIN) => break,
                    Err(errno) => return Err(failed(errno)),
                }
            }
        }
        Ok(true)
    }
}
