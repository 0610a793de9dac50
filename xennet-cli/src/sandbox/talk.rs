//! Conversations between two namespaces: whom the other end sees, and how many packets arrive.

use std::io::{Error as IoError, ErrorKind as IoKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use xennet_core::{Error, ErrorKind, Result};

use super::namespace::NetNs;

/// How long to wait before something is tried again.
const PAUSE: Duration = Duration::from_millis(10);

/// Connects from one namespace to `to`, while the other one listens at `port`: the address that the listener sees, or `None` if
/// no connection came about within `patience`.
pub(super) fn meet(
    from: &NetNs,
    to: SocketAddrV4,
    at: &NetNs,
    port: u16,
    patience: Duration,
) -> Result<Option<IpAddr>> {
    let failed = |e: IoError| failed(to, &e);
    let listener = at.run(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?.map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let end = Instant::now() + patience;
    let connected = from.run(|| {
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            match TcpStream::connect_timeout(&SocketAddr::V4(to), left) {
                Ok(stream) => return Some(stream),
                // No way there yet, or nobody answers.
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        None
    })?;
    if connected.is_none() {
        return Ok(None);
    }
    loop {
        match listener.accept() {
            Ok((_, peer)) => return Ok(Some(peer.ip())),
            Err(e) if e.kind() == IoKind::WouldBlock && Instant::now() < end => std::thread::sleep(PAUSE),
            Err(e) if e.kind() == IoKind::WouldBlock => return Ok(None),
            Err(e) => return Err(failed(e)),
        }
    }
}

/// Sends datagrams from an address of one namespace to an address of the other: how many have arrived there when all have, or
/// when `patience` is over.
pub(super) fn arrivals(
    (from, source): (&NetNs, Ipv4Addr),
    (at, to): (&NetNs, Ipv4Addr),
    datagrams: usize,
    patience: Duration,
) -> Result<usize> {
    let failed = |e: IoError| failed(SocketAddrV4::new(to, 0), &e);
    let receiver = at.run(|| UdpSocket::bind((to, 0)))?.map_err(failed)?;
    let there = receiver.local_addr().map_err(failed)?;
    let sender = from.run(|| UdpSocket::bind((source, 0)))?.map_err(failed)?;
    for _ in 0..datagrams {
        sender.send_to(b"xennet", there).map_err(failed)?;
    }
    let end = Instant::now() + patience;
    let mut arrived = 0;
    while arrived < datagrams
        && let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
    {
        receiver.set_read_timeout(Some(left)).map_err(failed)?;
        match receiver.recv(&mut [0; 64]) {
            Ok(_) => arrived += 1,
            Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::TimedOut | IoKind::Interrupted) => {}
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(arrived)
}

fn failed(to: SocketAddrV4, e: &IoError) -> Error {
    let message = format!("a conversation with {} cannot be had: {e}", to.ip());
    Error::new(ErrorKind::Io, message).with_object(to.ip().to_string())
}
