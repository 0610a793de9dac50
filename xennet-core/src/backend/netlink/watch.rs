//! Waiting for a link to come into being.

use std::time::{Duration, Instant};

use rtnetlink::sys;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{RecvFlags, recv};

use super::Netlink;
use super::refusal::Refusal;
use crate::error::Errno;
use crate::model::IfName;

/// `RTNLGRP_LINK`: every change of a link is told (`include/uapi/linux/rtnetlink.h`).
const LINKS: u32 = 1;

/// Waits until there is a link of this name; whether there is one in time. Nothing is listed and nothing polled: the kernel
/// tells of every new link, and of every renamed one.
pub(super) fn wait(netlink: &mut Netlink, link: &IfName, patience: Duration) -> Result<bool, Refusal> {
    if netlink.index_of(link)?.is_some() {
        return Ok(true);
    }
    let io = |e: std::io::Error| Refusal::new(Errno::from_io(&e));
    let end = Instant::now() + patience;
    let mut socket = sys::Socket::new(sys::protocols::NETLINK_ROUTE).map_err(io)?;
    socket.bind(&sys::SocketAddr::new(0, 0)).map_err(io)?;
    socket.add_membership(LINKS).map_err(io)?;
    // What is told is not read: the name is looked up, which is as good, and right even where something was not told because too
    // much happened at once.
    let mut told = [0_u8; 16];
    loop {
        if netlink.index_of(link)?.is_some() {
            return Ok(true);
        }
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        set_socket_timeout(&socket, Timeout::Recv, Some(left))?;
        match recv(&socket, &mut told[..], RecvFlags::TRUNC) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR | rustix::io::Errno::NOBUFS) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
