//! Links, addresses and cables of the sandbox, made over one netlink socket.
//!
//! These are the few things that on a real host are not ours to make: hardware, netback's vifs, and what lies inside of
//! the guests. Everything that xennet itself does on a host is done in the sandbox through the library as well.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkMessage,
};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use rtnetlink::sys::{Socket, SocketAddr};
use rtnetlink::{AddressMessageBuilder, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use xennet_core::ipnetwork::IpNetwork;
use xennet_core::{Errno, Error, ErrorKind, IfName, MacAddr, Result};

use super::namespace::NetNs;

type Builder = LinkMessageBuilder<LinkUnspec>;

/// One end of a virtual cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The link's name.
    pub(super) name: IfName,
    /// Its hardware address; `None` lets the kernel draw one.
    pub(super) mac: Option<MacAddr>,
}

/// A netlink socket in the network namespace of the thread that opened it.
pub(super) struct Wire {
    socket: Socket,
    sequence: u32,
}

impl Wire {
    /// Opens the socket.
    pub(super) fn open() -> Result<Self> {
        let io = |e| Error::new(ErrorKind::Io, format!("no netlink socket: {e}")).with_object("netlink");
        let mut socket = Socket::new(NETLINK_ROUTE).map_err(io)?;
        socket.bind_auto().map_err(io)?;
        socket.connect(&SocketAddr::new(0, 0)).map_err(io)?;
        Ok(Wire { socket, sequence: 0 })
    }

    /// Makes a virtual cable from here into another namespace. Both ends are down.
    pub(super) fn cable(&mut self, near: End, far: End, into: &NetNs) -> Result<()> {
        let peer = InfoVeth::Peer(with(Builder::default(), far).setns_by_fd(into.raw_fd()).build());
        let veth = LinkMessageBuilder::<LinkVeth>::new_with_info_kind(InfoKind::Veth);
        self.create(near.name, with(veth, near).set_info_data(InfoData::Veth(peer)).build())
    }

    /// Makes a bridge as Xen hosts have it: spanning tree off, no forward delay (the first as the kernel makes it).
    pub(super) fn bridge(&mut self, bridge: End) -> Result<()> {
        let message = LinkMessageBuilder::<LinkBridge>::new_with_info_kind(InfoKind::Bridge).forward_delay(0);
        self.create(bridge.name, with(message, bridge).build())
    }

    /// Brings a link up. IPv6 makes no address of its own on it, so that nothing changes by itself later.
    pub(super) fn up(&mut self, name: IfName) -> Result<()> {
        let quiet = AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)]);
        let message = Builder::default().index(self.index(name)?);
        let message = message.append_extra_attribute(LinkAttribute::AfSpecUnspec(vec![quiet])).build();
        match self.ask(RouteNetlinkMessage::SetLink(message), 0) {
            // A kernel without IPv6 makes no IPv6 addresses anyhow.
            Ok(()) | Err(Errno::EAFNOSUPPORT | Errno::EOPNOTSUPP) => {}
            Err(e) => return Err(failed(name, e)),
        }
        let message = Builder::default().index(self.index(name)?).up().build();
        self.ask(RouteNetlinkMessage::SetLink(message), 0).map_err(|e| failed(name, e))
    }

    /// Plugs a link into a bridge.
    pub(super) fn plug(&mut self, port: IfName, bridge: IfName) -> Result<()> {
        let message = Builder::default().index(self.index(port)?).controller(self.index(bridge)?).build();
        self.ask(RouteNetlinkMessage::SetLink(message), 0).map_err(|e| failed(port, e))
    }

    /// Removes a link, and the other end of its cable.
    pub(super) fn delete(&mut self, name: IfName) -> Result<()> {
        let message = Builder::default().index(self.index(name)?).build();
        self.ask(RouteNetlinkMessage::DelLink(message), 0).map_err(|e| failed(name, e))
    }

    /// Gives a link an address.
    pub(super) fn address(&mut self, name: IfName, address: IpNetwork) -> Result<()> {
        let index = self.index(name)?;
        let message = match address.ip() {
            IpAddr::V4(ip) => {
                AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(ip, address.prefix()).build()
            }
            IpAddr::V6(ip) => {
                AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(ip, address.prefix()).build()
            }
        };
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewAddress(message), flags).map_err(|e| failed(name, e))
    }

    /// Adds a route through a gateway, by default to everywhere.
    pub(super) fn route(&mut self, to: Option<IpNetwork>, via: Ipv4Addr) -> Result<()> {
        let message = RouteMessageBuilder::<Ipv4Addr>::new().gateway(via);
        let message = match to {
            Some(IpNetwork::V4(to)) => message.destination_prefix(to.network(), to.prefix()),
            Some(IpNetwork::V6(to)) => {
                return Err(Error::new(ErrorKind::Invalid, format!("{to} is not reached through {via}")));
            }
            None => message,
        };
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewRoute(message.build()), flags).map_err(|errno| {
            Error::new(ErrorKind::Kernel, format!("a route through {via} of the sandbox cannot be set up"))
                .with_object(via.to_string())
                .with_errno(errno)
        })
    }

    fn create(&mut self, name: IfName, message: LinkMessage) -> Result<()> {
        let flags = NLM_F_CREATE | NLM_F_EXCL;
        self.ask(RouteNetlinkMessage::NewLink(message), flags).map_err(|e| failed(name, e))
    }

    /// A link's number, by netlink: asked by `SIOCGIFINDEX` for a link that is not there the kernel looks for a module.
    fn index(&mut self, name: IfName) -> Result<u32> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.as_str().to_owned()));
        let found = self.answer(RouteNetlinkMessage::GetLink(question), 0, number);
        found.and_then(|number| number.ok_or(Errno::EIO)).map_err(|e| failed(name, e))
    }

    /// Sends one message and waits for its acknowledgement.
    fn ask(&mut self, message: RouteNetlinkMessage, flags: u16) -> std::result::Result<(), Errno> {
        self.answer(message, flags, |_, _| None::<()>).map(drop)
    }

    /// Sends one message and waits for its acknowledgement; what was read of an answer before that.
    fn answer<T>(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
        read: impl Fn(&[u8], u32) -> Option<T>,
    ) -> std::result::Result<Option<T>, Errno> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map_err(|e| Errno::from_io(&e))?;
        let mut found = None;
        loop {
            let (answer, _) = self.socket.recv_from_full().map_err(|e| Errno::from_io(&e))?;
            // Only the acknowledgement of this message counts; there should be nothing else. (Read by hand: the readers for
            // every message there is would be a tenth of the program.)
            if let Some(result) = acknowledged(&answer, self.sequence) {
                return result.map(|()| found);
            }
            found = found.or_else(|| read(&answer, self.sequence));
        }
    }
}

/// What a datagram says of the message with this number: `struct nlmsghdr`, then the number of the error, negative, or 0
/// (`include/uapi/linux/netlink.h`). `None` if it is about something else.
fn acknowledged(datagram: &[u8], sequence: u32) -> Option<std::result::Result<(), Errno>> {
    let word = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    (kind == NLMSG_ERROR && word(8)? == sequence).then_some(())?;
    Some(match word(16)?.cast_signed() {
        0 => Ok(()),
        code => Err(Errno(code.saturating_neg())),
    })
}

/// The number of the link that a datagram is about, the answer to the question with this number: `struct nlmsghdr`, then
/// `struct ifinfomsg` (`include/uapi/linux/rtnetlink.h`).
fn number(datagram: &[u8], sequence: u32) -> Option<u32> {
    let word = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = u16::from_ne_bytes(datagram.get(4..6)?.try_into().ok()?);
    (kind == RTM_NEWLINK && word(8)? == sequence).then(|| word(20))?
}

/// The kind of an acknowledgement.
const NLMSG_ERROR: u16 = 2;
/// The kind of an answer about a link.
const RTM_NEWLINK: u16 = 16;

/// Name and address of an end go into the message.
fn with<T>(message: LinkMessageBuilder<T>, end: End) -> LinkMessageBuilder<T> {
    let message = message.name(end.name.as_str());
    match end.mac {
        Some(mac) => message.address(mac.octets().to_vec()),
        None => message,
    }
}

fn failed(name: IfName, errno: Errno) -> Error {
    let kind = match errno {
        Errno::EPERM | Errno::EACCES => ErrorKind::Denied,
        Errno::EEXIST => ErrorKind::NameTaken,
        Errno::ENODEV => ErrorKind::LinkNotFound,
        _ => ErrorKind::Kernel,
    };
    let mut error = Error::new(kind, format!("{name} of the sandbox cannot be set up"));
    if errno == Errno::EOPNOTSUPP {
        error = error.with_hint("the kernel needs bridges and veth (modprobe bridge; modprobe veth)");
    }
    error.with_object(name.as_str()).with_errno(errno)
}
