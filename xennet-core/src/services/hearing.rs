//! Whether a dnsmasq can answer questions for names at the gateways' addresses.
//!
//! Where each guest has a link of its own, a gateway's address comes with the first guest. dnsmasq binds its sockets then, and only logs
//! that it cannot (`bind-dynamic`). So this binds the ports as dnsmasq would, address by address, also where the address is not there yet
//! (`IP_FREEBIND`): the kernel gives the answer that dnsmasq would get.

use std::fmt;
use std::fs;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, socket_with, sockopt};

use super::text;

const PORT: u16 = 53;
/// How long dnsmasq may take to notice an address that has come.
const NOTICED: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(20);

/// Why a dnsmasq cannot answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// Another program has the port at this address, or at all.
    Taken { address: IpAddr, protocol: &'static str },
    /// This domain has the address and the port is free, but the dnsmasq does not listen there.
    Unheard { address: IpAddr, protocol: &'static str },
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Obstacle::Taken { address, protocol } => {
                write!(f, "dnsmasq cannot answer at {address}: another program has {protocol} port {PORT}")
            }
            Obstacle::Unheard { address, protocol } => {
                write!(f, "dnsmasq does not listen at {address}, {protocol} port {PORT}")
            }
        }
    }
}

/// What keeps a dnsmasq with this configuration from answering; `own` is its process, if it runs already.
pub(super) fn obstacle(config: &str, own: Option<u32>) -> Option<Obstacle> {
    let addresses: Vec<IpAddr> = text::listens_at(config).collect();
    let until = Instant::now() + if own.is_some() { NOTICED } else { Duration::ZERO };
    loop {
        let found = look(&addresses, own);
        if found.is_none() || Instant::now() >= until {
            return found;
        }
        std::thread::sleep(PAUSE);
    }
}

fn look(addresses: &[IpAddr], own: Option<u32>) -> Option<Obstacle> {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        for address in addresses.iter().copied() {
            if let Some(pid) = own {
                // Without the right to read that process's files its sockets are not known.
                if is_heard(pid, address, protocol)? {
                    continue;
                }
            }
            let name = protocol.name();
            match try_port(address, protocol) {
                Err(Errno::ADDRINUSE) => return Some(Obstacle::Taken { address, protocol: name }),
                Ok(()) if own.is_some() && is_here(address) => {
                    return Some(Obstacle::Unheard { address, protocol: name });
                }
                // Without the right to bind the port this is left to dnsmasq.
                _ => {}
            }
        }
    }
    None
}

#[derive(Clone, Copy)]
enum Protocol {
    Udp,
    Tcp,
}

impl Protocol {
    const fn name(self) -> &'static str {
        match self {
            Protocol::Udp => "UDP",
            Protocol::Tcp => "TCP",
        }
    }

    /// The kernel's table of sockets.
    const fn table(self, address: IpAddr) -> &'static str {
        match (self, address) {
            (Protocol::Udp, IpAddr::V4(_)) => "udp",
            (Protocol::Udp, IpAddr::V6(_)) => "udp6",
            (Protocol::Tcp, IpAddr::V4(_)) => "tcp",
            (Protocol::Tcp, IpAddr::V6(_)) => "tcp6",
        }
    }
}

/// Binds a socket with dnsmasq's options, and closes it.
fn try_port(address: IpAddr, protocol: Protocol) -> Result<(), Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let kind = match protocol {
        Protocol::Udp => SocketType::DGRAM,
        Protocol::Tcp => SocketType::STREAM,
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv4() {
        sockopt::set_ip_freebind(&socket, true)?;
    } else {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    }
    bind(&socket, &SocketAddr::new(address, PORT))
}

/// Whether this domain has the address: then the kernel chooses it as the source of what is sent to it. Nothing is sent.
fn is_here(address: IpAddr) -> bool {
    let any: SocketAddr = if address.is_ipv4() { ([0; 4], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).and_then(|socket| socket.connect((address, PORT)).map(|()| socket));
    socket.and_then(|socket| socket.local_addr()).is_ok_and(|local| local.ip() == address)
}

/// Whether a process has a socket at exactly this address; `None` if that cannot be read.
fn is_heard(pid: u32, address: IpAddr, protocol: Protocol) -> Option<bool> {
    // Of this thread, whose namespace may not be that of the others.
    let table = fs::read_to_string(format!("/proc/thread-self/net/{}", protocol.table(address))).ok()?;
    let at = format!("{}:{PORT:04X}", in_table(address));
    let sockets: Vec<String> = table
        .lines()
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            (fields.next() == Some(&*at)).then(|| fields.nth(7)).flatten().map(|inode| format!("socket:[{inode}]"))
        })
        .collect();
    if sockets.is_empty() {
        return Some(false);
    }
    let files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
    let mut targets = files.filter_map(|file| fs::read_link(file.ok()?.path()).ok());
    Some(targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str())))
}

/// An address as the kernel's tables have it: words of 32 bits, each in this machine's order.
fn in_table(address: IpAddr) -> String {
    let octets = match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    };
    let words = octets.chunks_exact(4).map(|word| word.try_into().map_or(0, u32::from_ne_bytes));
    words.map(|word| format!("{word:08X}")).collect()
}
