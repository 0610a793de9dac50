//! Connections between namespaces, and who is seen at their other end.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::NetNs;

/// Listens in a namespace.
pub fn listen(namespace: &NetNs, at: IpAddr, port: u16) -> TcpListener {
    let listener = namespace.run(|| TcpListener::bind((at, port)).unwrap()).unwrap();
    listener.set_nonblocking(true).unwrap();
    listener
}

/// Connects until it succeeds or time is over; whom the other end saw.
pub fn seen(from: &NetNs, to: SocketAddr, listener: &TcpListener, patience: Duration) -> Option<IpAddr> {
    let end = Instant::now() + patience;
    let _stream = from
        .run(|| {
            while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                // Neighbours are not known yet, perhaps.
                match TcpStream::connect_timeout(&to, left) {
                    Ok(stream) => return Some(stream),
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
            None
        })
        .unwrap()?;
    loop {
        match listener.accept() {
            Ok((_, peer)) => return Some(peer.ip()),
            Err(e) if e.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(e) => panic!("connected, and never accepted: {e}"),
        }
    }
}
