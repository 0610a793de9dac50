//! What happens to links, link by link, as the kernel tells it.

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use rtnetlink::sys;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, recv};
use serde::Serialize;

use super::Netlink;
use super::observe::link::{self, IFF_LOWER_UP, NEW};
use super::watch::{LINKS, listening};
use super::wire::Messages;
use crate::backend::Backend as _;
use crate::budget::Budget;
use crate::error::{Errno, Error, ErrorKind};
use crate::model::{IfName, MacAddr};
use crate::snapshot::{Part, Scope};
use crate::version::Version;

/// `RTM_DELLINK`.
const DEL: u16 = 17;
/// `AF_UNSPEC`: the link itself. `AF_BRIDGE` is about it as a port of a bridge, and its end is not the link's.
const AF_UNSPEC: u8 = 0;
/// Room for what is told at once: a message about a link has one to three kilobytes.
const ROOM: usize = 64 << 10;

/// What has happened to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum LinkEventKind {
    /// It has come into being, here or in another namespace before.
    Appeared,
    /// Something about it has changed, its name perhaps.
    Changed,
    /// It has gone.
    Gone,
    /// The socket buffer overflowed and events are lost: list the links again. Names no link.
    Lost,
}

/// Something that has happened to a link, and how the link is by then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LinkEvent {
    version: Version<1>,
    /// What has happened.
    pub event: LinkEventKind,
    /// The link's name; `None` where some were lost.
    pub link: Option<IfName>,
    /// Its number in the kernel, which stays the same when it is renamed; 0 where some were lost.
    pub index: u32,
    /// Whether it is switched on.
    pub up: bool,
    /// Whether it is switched on and has a carrier.
    pub carrier: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its MAC.
    pub mac: Option<MacAddr>,
    /// The number of the bridge that it is a port of.
    pub master: Option<u32>,
}

impl LinkEvent {
    fn lost() -> Self {
        LinkEvent {
            version: Version,
            event: LinkEventKind::Lost,
            link: None,
            index: 0,
            up: false,
            carrier: false,
            mtu: 0,
            mac: None,
            master: None,
        }
    }
}

/// The links of a network namespace, watched: an event for each that appears, changes or goes. Nothing is polled.
///
/// ```no_run
/// use std::time::Duration;
/// use xennet_core::backend::netlink::LinkEvents;
///
/// let mut events = LinkEvents::listen()?;
/// while let Some(event) = events.next(Duration::from_secs(60))? {
///     println!("{:?} {:?}", event.link, event.event);
/// }
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Debug)]
pub struct LinkEvents {
    socket: sys::Socket,
    /// For looking again where events were lost: in the same namespace as the socket, whatever thread asks.
    netlink: Netlink,
    /// The links that are there, by their numbers: the kernel tells of a new one as of any change.
    known: BTreeMap<u32, IfName>,
    events: VecDeque<LinkEvent>,
    room: Vec<u8>,
}

impl AsFd for LinkEvents {
    /// For `poll`: readable when something has happened. Call [`LinkEvents::next`] until it returns `None` before polling: one read can
    /// bring several events.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl LinkEvents {
    /// Begins to listen, in the calling thread's network namespace. What happens from here on is told.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the kernel gives no socket; as [`Netlink::open`].
    pub fn listen() -> Result<LinkEvents, Error> {
        let socket = listening(sys::protocols::NETLINK_ROUTE, &[LINKS]).map_err(|e| {
            Error::new(ErrorKind::Io, "cannot subscribe to the kernel's link events")
                .with_object("netlink")
                .with_errno(Errno::from_io(&e))
        })?;
        let (known, events, room) = (BTreeMap::new(), VecDeque::new(), vec![0; ROOM]);
        let mut events = LinkEvents { socket, netlink: Netlink::open()?, known, events, room };
        events.learn()?;
        Ok(events)
    }

    /// The next event. `None`: nothing has happened within this time.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] if the kernel cannot be heard.
    pub fn next(&mut self, wait: Duration) -> Result<Option<LinkEvent>, Error> {
        let budget = Budget::of(wait);
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if !self.told(budget)? {
                return Ok(None);
            }
            self.take()?;
        }
    }

    /// Waits until the kernel tells something; `false` when the time is over.
    fn told(&self, budget: Budget) -> Result<bool, Error> {
        loop {
            // Longer than the kernel can wait is for ever.
            let timeout = Timespec::try_from(budget.left()).ok();
            match poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], timeout.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(failed(errno)),
            }
        }
    }

    /// Reads one datagram, if there is one.
    fn take(&mut self) -> Result<(), Error> {
        let len = match recv(&self.socket, &mut self.room[..], RecvFlags::TRUNC | RecvFlags::DONTWAIT) {
            Ok((len, _)) if len <= ROOM => len,
            // More than a message about one link ever has, or more messages than the socket holds.
            Ok(_) | Err(rustix::io::Errno::NOBUFS) => {
                self.learn()?;
                self.events.push_back(LinkEvent::lost());
                return Ok(());
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
            Err(errno) => return Err(failed(errno)),
        };
        for message in Messages(&self.room[..len]) {
            if let (NEW | DEL, Some(&AF_UNSPEC)) = (message.kind, message.body.first())
                && let Some(event) = event(&mut self.known, message.kind, message.body)
            {
                self.events.push_back(event);
            }
        }
        Ok(())
    }

    /// Learns which links are there.
    fn learn(&mut self) -> Result<(), Error> {
        let seen = self.netlink.observe(&Scope::none().with(Part::Links)).map_err(|e| e.into_observe_error())?;
        self.known = seen.links.iter().map(|(name, link)| (link.index, *name)).collect();
        Ok(())
    }
}

/// What a message is about; `None` for one that cannot be read.
fn event(known: &mut BTreeMap<u32, IfName>, kind: u16, body: &[u8]) -> Option<LinkEvent> {
    let flags = super::wire::u32(body.get(8..)?)?;
    let told = link::read(body)?;
    let index = told.link.index;
    let event = match (kind, known.contains_key(&index)) {
        (DEL, _) => LinkEventKind::Gone,
        (_, true) => LinkEventKind::Changed,
        (_, false) => LinkEventKind::Appeared,
    };
    match event {
        LinkEventKind::Gone => known.remove(&index),
        _ => known.insert(index, told.name),
    };
    Some(LinkEvent {
        version: Version,
        event,
        link: Some(told.name),
        index,
        up: told.link.up,
        carrier: told.link.up && flags & IFF_LOWER_UP != 0,
        mtu: told.link.mtu,
        mac: told.link.mac,
        master: told.master,
    })
}

fn failed(errno: rustix::io::Errno) -> Error {
    Error::new(ErrorKind::Io, "cannot receive the kernel's link events")
        .with_object("netlink")
        .with_errno(Errno::of(errno))
}
