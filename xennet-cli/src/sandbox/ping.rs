//! ICMP echo: whether a station answers, and how fast.
//!
//! Source: RFC 792, "Echo or Echo Reply Message"; RFC 1071 for the checksum; `raw(7)`.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use xennet_core::{Error, ErrorKind, Result};

const ECHO_REPLY: u8 = 0;
const ECHO_REQUEST: u8 = 8;

/// How long one request waits for its answer before the next is sent.
const ROUND: Duration = Duration::from_millis(100);

/// Sends echo requests from the calling thread's network namespace until one is answered: the time that this took
/// there and back, or `None` if nobody answered within `patience`.
///
/// # Errors
/// [`ErrorKind::Denied`] without `CAP_NET_RAW`.
pub(super) fn ping(target: Ipv4Addr, patience: Duration) -> Result<Option<Duration>> {
    let failed = |e: Errno| {
        let kind = if e == Errno::PERM { ErrorKind::Denied } else { ErrorKind::Io };
        Error::new(kind, format!("{target} cannot be pinged"))
            .with_object(target.to_string())
            .with_errno(xennet_core::Errno(e.raw_os_error()))
    };
    let socket =
        rustix::net::socket_with(AddressFamily::INET, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMP))
            .map_err(failed)?;
    let id = std::process::id().to_be_bytes();
    let start = Instant::now();
    let mut sequence = 0_u16;
    while let Some(left) = patience.checked_sub(start.elapsed()).filter(|d| !d.is_zero()) {
        sequence = sequence.wrapping_add(1);
        let round = left.min(ROUND);
        let request = echo(ECHO_REQUEST, [id[2], id[3]], sequence);
        let sent = Instant::now();
        match rustix::net::sendto(&socket, &request, SendFlags::empty(), &SocketAddrV4::new(target, 0)) {
            Ok(_) => {}
            // No way there yet: the cable may be plugged in while we wait.
            Err(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN) => {
                std::thread::sleep(round);
                continue;
            }
            Err(e) => return Err(failed(e)),
        }
        let answer = echo(ECHO_REPLY, [id[2], id[3]], sequence);
        while let Some(left) = round.checked_sub(sent.elapsed()).filter(|d| !d.is_zero()) {
            // A timeout of zero would wait for ever; the kernel rounds down to microseconds.
            let wait = left.max(Duration::from_millis(1));
            set_socket_timeout(&socket, Timeout::Recv, Some(wait)).map_err(failed)?;
            let mut packet = [0; 256];
            match rustix::net::recv(&socket, &mut packet[..], RecvFlags::empty()) {
                Ok((length, _)) if payload(&packet[..length]) == Some(&answer[..]) => return Ok(Some(sent.elapsed())),
                Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
                Err(e) => return Err(failed(e)),
            }
        }
    }
    Ok(None)
}

/// An echo request or reply.
fn echo(kind: u8, id: [u8; 2], sequence: u16) -> [u8; 16] {
    let mut packet = [0; 16];
    packet[0] = kind;
    packet[4..6].copy_from_slice(&id);
    packet[6..8].copy_from_slice(&sequence.to_be_bytes());
    packet[8..14].copy_from_slice(b"xennet");
    let sum = checksum(&packet);
    packet[2..4].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// The internet checksum of a packet whose checksum field is zero.
fn checksum(packet: &[u8]) -> u16 {
    // At most 65535 words of 16 bits: the sum fits.
    let words = packet.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w.get(1).copied().unwrap_or(0)])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What an IPv4 packet carries, as raw sockets hand it out.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let header = usize::from(packet.first()? & 0x0f).checked_mul(4)?;
    packet.get(header..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        for (kind, sequence) in [(ECHO_REQUEST, 0), (ECHO_REPLY, 0xffff), (ECHO_REQUEST, 0x1234)] {
            assert_eq!(checksum(&echo(kind, [0xfe, 0xdc], sequence)), 0);
        }
        // RFC 1071, section 3, the example; and an odd length.
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
        assert_eq!(checksum(&[0xff]), 0x00ff);
    }

    #[test]
    fn payload_survives_any_packet() {
        assert_eq!(payload(&[]), None);
        assert_eq!(payload(&[0x4f; 10]), None);
        let mut packet = vec![0x45; 20];
        packet.push(7);
        assert_eq!(payload(&packet), Some(&[7u8][..]));
    }
}
