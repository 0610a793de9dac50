//! Networks as C sees them.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;

use xennet_core::config::document;
use xennet_core::document::DoneNetworks;
use xennet_core::{Error, ErrorKind, Guests, IfName, Network};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::log::Several;
use crate::plan::Plan;
use crate::text::Text;

/// Stopping a network is refused while a guest is a port of the network's own bridge, or another network reaches the outside through it.
pub const XENNET_GUESTS_MUST_HAVE_GONE: u32 = 0;
/// Stopping a network disconnects the guests that are still connected to it, and the networks that reach the outside through its bridge.
pub const XENNET_GUESTS_ARE_CUT_OFF: u32 = 1;

/// Reads the text of a `networks.toml`. The networks in it do not contradict each other.
///
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param document Gets a JSON document: `{"networks": [{"name", "mode"}]}`, in the order of the text; `mode` is "bridge", "nat"
///   or "routed", and what belongs to the mode stands beside it. Each item is what `xennet_host_start_network` takes.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, with line and column where the text is wrong.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_networks_parse(
    text: Chars,
    text_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_networks_parse", || {
        let document = given(document, "document")?;
        let networks = document::networks(cast::text(&text, text_len, "text")?)?;
        document.write(Some(Box::new(Text::json(&networks))));
        Ok(())
    })
}

/// Reads the text of a `networks.toml`, and gives one of its networks.
///
/// \param text The text, UTF-8.
/// \param text_len Its length in bytes.
/// \param name The network's name.
/// \param name_len Its length in bytes.
/// \param document Gets the JSON document of the network, which `xennet_host_start_network` takes.
/// \return NULL on success; else an error of kind `XENNET_KIND_INVALID`, as of `xennet_networks_parse`, or because there is no
///   network of this name.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_networks_get(
    text: Chars,
    text_len: usize,
    name: Chars,
    name_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_networks_get", || {
        let document = given(document, "document")?;
        let (text, name) = (cast::text(&text, text_len, "text")?, cast::text(&name, name_len, "name")?);
        document.write(Some(Box::new(Text::json(&document::network(text, name)?))));
        Ok(())
    })
}

/// What `xennet_host_start_network` would do. Changes nothing.
///
/// \param host The host.
/// \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
/// \param network_len Its length in bytes.
/// \param plan Gets the plan.
/// \return NULL on success; else an error, for example `XENNET_KIND_INVALID`, `XENNET_KIND_LINK_NOT_FOUND`,
///   `XENNET_KIND_PORT_OF_OTHER`, `XENNET_KIND_NOT_A_BRIDGE`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_start(
    host: Option<&Host>,
    network: Chars,
    network_len: usize,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_start", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let network = read(&network, network_len)?;
        let made = host.work("xennet_host_plan_start", |core| core.plan_start(&network))?;
        plan.write(Some(Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Starts a network: its bridge and what its uplink had of its own, this domain's addresses in it, the settings it needs, and
/// what its guests are served by. The state is verified, or the earlier state is restored and the error says so
/// (`xennet_error_state`). Of a network that is started already, what it lacks comes back; nothing is changed where nothing is
/// missing. One that is described otherwise by now takes over, while its guests stay: port forwards, DHCP and names, and subnets in
/// addition to those that it has.
///
/// \param host The host.
/// \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
/// \param network_len Its length in bytes.
/// \param done Gets a JSON document, `{"steps": 9, "notes": []}`: how many steps were carried out, and what the caller should know
///   besides, a sentence each. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_plan_start` or of `xennet_host_attach`, or `XENNET_KIND_CONFLICT` if a
///   network of this name is started that was described otherwise in anything else.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_start_network(
    host: Option<&Host>,
    network: Chars,
    network_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_start_network", || {
        let host = given(host, "host")?;
        let network = read(&network, network_len)?;
        host.change("xennet_host_start_network", done, |core| core.start_network(&network))
    })
}

/// What `xennet_host_stop_network` would do. Changes nothing.
///
/// \param host The host.
/// \param name The network's name.
/// \param name_len Its length in bytes.
/// \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
/// \param plan Gets the plan; NULL for a network that is not started, of which there is nothing to stop.
/// \return NULL on success; else an error, for example `XENNET_KIND_CONFLICT` if guests are still connected that must have gone.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_stop(
    host: Option<&Host>,
    name: Chars,
    name_len: usize,
    guests: u32,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_stop", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let (name, guests) = (named(&name, name_len)?, guests_of(guests)?);
        let made = host.work("xennet_host_plan_stop", |core| core.plan_stop(&name, guests))?;
        plan.write(made.map(|made| Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Stops a network: restores what starting it has changed, and nothing else. Succeeds if the network is not started.
///
/// \param host The host.
/// \param name The network's name.
/// \param name_len Its length in bytes.
/// \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
/// \param done Gets a JSON document, `{"steps": 9, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_CONFLICT` if guests are still connected that
///   must have gone.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_stop_network(
    host: Option<&Host>,
    name: Chars,
    name_len: usize,
    guests: u32,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_stop_network", || {
        let host = given(host, "host")?;
        let (name, guests) = (named(&name, name_len)?, guests_of(guests)?);
        host.change("xennet_host_stop_network", done, |core| core.stop_network(&name, guests))
    })
}

/// The networks that are started, in the order in which they can be stopped: a network comes before the bridge through which it reaches the outside.
///
/// \param host The host.
/// \param document Gets a JSON document: `{"networks": [{"name", "mode"}]}`, each as of `xennet_networks_parse`, as it was described when it was
///   started.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_started_networks(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_started_networks", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let started = host.work("xennet_host_started_networks", |core| core.started_in_order_of_stop())?;
        let networks: Vec<&Network> = started.iter().map(|started| &started.network).collect();
        document.write(Some(Box::new(Text::json(&document::networks_of(networks)))));
        Ok(())
    })
}

/// Starts several networks in the order in which they depend on each other. If one cannot be started, the others are started all the same. One that
/// conflicts with another network is tried again after others were started.
///
/// \param host The host.
/// \param networks The JSON document of `xennet_networks_parse`.
/// \param networks_len Its length in bytes.
/// \param document Gets a JSON document: `{"networks": [{"network", "steps", "notes"}], "failed": [{"network", "error"}]}`; `error` is a document as of
///   `xennet_error_json`.
/// \return NULL on success, which is also when some are in `failed`; else `XENNET_KIND_INVALID` for a text that is no such document.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_start_networks(
    host: Option<&Host>,
    networks: Chars,
    networks_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_start_networks", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let networks = document::read_networks(cast::text(&networks, networks_len, "networks")?)?;
        let all = host.told("xennet_host_start_networks", |core| {
            let mut done = Vec::new();
            let failed = core.start_networks(&networks, |core, network| {
                done.push((network.name(), core.start_network(network)?));
                Ok(())
            });
            Ok(Several { done, failed })
        })?;
        document.write(Some(Box::new(Text::json(&several(all)))));
        Ok(())
    })
}

/// Stops all networks that are started on the host, also those that another program started, in the order of `xennet_host_started_networks`. If one
/// cannot be stopped, the others are stopped all the same.
///
/// \param host The host.
/// \param guests What becomes of guests that are still connected, `XENNET_GUESTS_*`.
/// \param document Gets a JSON document: `{"networks": [{"network", "steps", "notes"}], "failed": [{"network", "error"}]}`.
/// \return NULL on success, which is also when some are in `failed`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_stop_networks(
    host: Option<&Host>,
    guests: u32,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_stop_networks", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let guests = guests_of(guests)?;
        let all = host.told("xennet_host_stop_networks", |core| {
            let mut done = Vec::new();
            let failed = core.stop_networks(None, |core, name| {
                done.push((*name, core.stop_network(name, guests)?));
                Ok(())
            })?;
            Ok(Several { done, failed })
        })?;
        document.write(Some(Box::new(Text::json(&several(all)))));
        Ok(())
    })
}

/// The document of what was done to several networks.
fn several(all: Several) -> DoneNetworks {
    let mut document = DoneNetworks::default();
    for (network, applied) in &all.done {
        document.add(*network, applied);
    }
    for (network, error) in all.failed {
        document.add_failed(network, error);
    }
    document
}

/// How a network is, compared with how it was described. Changes nothing.
///
/// \param host The host.
/// \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
/// \param network_len Its length in bytes.
/// \param document Gets a JSON document: `{"network", "mode", "state", "started", "outside", "changed", "needs_stop", "missing",
///   "ports", "access", "elsewhere", "obstacles"}`: `state` is "stopped", "started", "damaged" (something is missing) or "unconfirmed" (its last start
///   waits for a confirmation); `outside` is the link towards the outside that was found at start, of a bridge its uplink, or null; `changed`
///   has the keys of networks.toml whose values differ from those at start, `needs_stop` those of them that starting it once more does not
///   apply; `missing` says what is not as it was made, a sentence each; `ports` are the ports of the network's bridge, or, where it has none,
///   the links of its guests; `access` says who reaches whom by its keys, a sentence each; `elsewhere` has the commands that the gateway outside needs to reach guests of a routed network; `obstacles` says
///   what keeps packets from guests: what other firewalls drop, unless a rule there accepts it, and VLANs of guests that the bridge's uplink is not in.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_network_status(
    host: Option<&Host>,
    network: Chars,
    network_len: usize,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_network_status", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let network = read(&network, network_len)?;
        let status = host.work("xennet_host_network_status", |core| core.network_status(&network))?;
        document.write(Some(Box::new(Text::json(&status))));
        Ok(())
    })
}

pub(crate) fn read(chars: &Chars, len: usize) -> Result<Network, Error> {
    document::read_network(cast::text(chars, len, "network")?)
}

pub(crate) fn named(chars: &Chars, len: usize) -> Result<IfName, Error> {
    named_as(chars, len, "name")
}

/// The same of another argument.
pub(crate) fn named_as(chars: &Chars, len: usize, argument: &str) -> Result<IfName, Error> {
    cast::text(chars, len, argument)?.parse()
}

fn guests_of(guests: u32) -> Result<Guests, Error> {
    match guests {
        XENNET_GUESTS_MUST_HAVE_GONE => Ok(Guests::MustHaveGone),
        XENNET_GUESTS_ARE_CUT_OFF => Ok(Guests::AreCutOff),
        other => Err(Error::new(ErrorKind::Invalid, format!("{other} says nothing of guests"))
            .with_object("guests")
            .with_hint("xennet.h lists what it can be: XENNET_GUESTS_MUST_HAVE_GONE and XENNET_GUESTS_ARE_CUT_OFF")),
    }
}
