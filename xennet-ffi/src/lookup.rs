//! Small questions to a host.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::time::Duration;

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::network;
use crate::text::Text;

/// Waits until a link of this name exists.
///
/// \param host The host. Other threads' calls on it wait meanwhile.
/// \param link The link's name.
/// \param link_len Its length in bytes.
/// \param milliseconds How long to wait for it at most.
/// \param came Gets 1 if there is one, else 0.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_await_link(
    host: Option<&Host>,
    link: Chars,
    link_len: usize,
    milliseconds: u32,
    came: Option<&mut MaybeUninit<u32>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_await_link", || {
        let (host, came) = (given(host, "host")?, given(came, "came")?);
        let link = cast::text(&link, link_len, "link")?.parse()?;
        let patience = Duration::from_millis(milliseconds.into());
        let there = host.work("xennet_host_await_link", |core| core.await_link(&link, patience))?;
        came.write(u32::from(there));
        Ok(())
    })
}

/// Says whether there is a bridge of this name.
///
/// \param host The host.
/// \param name The name.
/// \param name_len Its length in bytes.
/// \param is Gets 1 if there is one, else 0.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_is_bridge(
    host: Option<&Host>,
    name: Chars,
    name_len: usize,
    is: Option<&mut MaybeUninit<u32>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_is_bridge", || {
        let (host, is) = (given(host, "host")?, given(is, "is")?);
        let name = network::named(&name, name_len)?;
        is.write(u32::from(host.work("xennet_host_is_bridge", |core| core.is_bridge(&name))?));
        Ok(())
    })
}

/// The link of the default route with the lowest metric, of IPv4, or else of IPv6.
///
/// \param host The host.
/// \param link Gets its name; NULL if there is no default route.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_default_route_link(
    host: Option<&Host>,
    link: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_default_route_link", || {
        let (host, link) = (given(host, "host")?, given(link, "link")?);
        let found = host.work("xennet_host_default_route_link", xennet_core::Host::default_route_link)?;
        link.write(found.map(|name| Box::new(Text::new(name.as_str()))));
        Ok(())
    })
}

/// The uplink of a started network's bridge. A link that is not such a bridge is its own uplink.
///
/// \param host The host.
/// \param link The link's name.
/// \param link_len Its length in bytes.
/// \param uplink Gets the uplink's name; NULL for a bridge that has none.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_uplink_of(
    host: Option<&Host>,
    link: Chars,
    link_len: usize,
    uplink: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_uplink_of", || {
        let (host, uplink) = (given(host, "host")?, given(uplink, "uplink")?);
        let link = cast::text(&link, link_len, "link")?.parse()?;
        let found = host.work("xennet_host_uplink_of", |core| core.uplink_of(Some(link)))?;
        uplink.write(found.map(|name| Box::new(Text::new(name.as_str()))));
        Ok(())
    })
}

/// What was changed last, which `xennet_host_undo` with NULL as its subject would undo.
///
/// \param host The host.
/// \param subject Gets `vif5.0`, `bridge-NAME` or `network-NAME`; NULL if nothing is recorded.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_last(
    host: Option<&Host>,
    subject: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_last", || {
        let (host, subject) = (given(host, "host")?, given(subject, "subject")?);
        let last = host.work("xennet_host_last", |core| core.last())?;
        subject.write(last.map(|last| Box::new(Text::new(&last.to_string()))));
        Ok(())
    })
}
