//! What happens to links.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use xennet_core::backend::netlink::LinkEvents;

use crate::boundary::{Descriptor, fallible, free, given, read};
use crate::error::Failure;
use crate::shared::Shared;
use crate::text::Text;

/// The links of a network namespace, watched; owned by the caller. It needs no permission.
///
/// Several threads may use one at once: their calls wait for each other. After a fork(2) it is the parent's alone, as a host is.
pub struct Links {
    events: Shared<LinkEvents>,
    fd: i32,
}

/// Begins to listen to what happens to links, in the calling thread's network namespace.
///
/// \param links Gets the handle.
/// \return NULL on success; else `XENNET_KIND_IO` if the kernel gives no socket.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_links_new(links: Option<&mut MaybeUninit<Option<Box<Links>>>>) -> Option<Box<Failure>> {
    fallible("xennet_links_new", || {
        let links = given(links, "links")?;
        let events = LinkEvents::listen()?;
        let fd = events.as_fd().as_raw_fd();
        links.write(Some(Box::new(Links { events: Shared::new("links", events), fd })));
        Ok(())
    })
}

/// Ends listening. NULL is fine. No other thread may be using it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_links_free(links: Option<Box<Links>>) {
    free(links);
}

/// The descriptor to poll: it is readable when something has happened. It belongs to the handle: do not read from it or close it.
///
/// Before polling, call `xennet_links_next_event` until it gives NULL: one read may bring several events.
///
/// \return -1 if `links` is NULL.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_links_fd(links: Option<&Links>) -> i32 {
    read(links, |links| Descriptor(links.fd)).0
}

/// The next event of a link.
///
/// \param links The handle.
/// \param milliseconds How long to wait for one; 0 for not at all.
/// \param document Gets a JSON document, `{"event": "appeared", "link": "vif5.0", "index": 7, "up": false, "carrier": false, "mtu": 1500, "mac":
///   "fe:ff:ff:ff:ff:ff", "master": null}`; NULL if nothing has happened within this time. `event` is "appeared", "changed", "gone", or "lost": so
///   much happened at once that some of it was not told, and everything is to be looked at anew. `index` stays the same when a link is renamed;
///   `master` is that of the bridge that it is a port of.
/// \return NULL on success; else `XENNET_KIND_IO` if the kernel cannot be heard.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_links_next_event(
    links: Option<&Links>,
    milliseconds: u32,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_links_next_event", || {
        let (links, document) = (given(links, "links")?, given(document, "document")?);
        let event = links.events.work(|events| events.next(Duration::from_millis(milliseconds.into())))?;
        document.write(event.map(|event| Box::new(Text::json(&event))));
        Ok(())
    })
}
