//! Commit-confirm: a start that is undone unless somebody says in time that it is good.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::time::Duration;

use xennet_core::document::Awaited;
use xennet_core::exec::confirm::Verdict;
use xennet_core::{Error, ErrorKind, IfName, guard_is_there, tell_guard};

use crate::boundary::{fallible, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::host::Host;
use crate::network;
use crate::settings::{Settings, XENNET_BACKEND_FAKE, XENNET_BACKEND_SANDBOX};
use crate::text::Text;

/// Somebody confirmed in time.
pub const XENNET_VERDICT_KEPT: u32 = 0;
/// Nobody confirmed in time, and the guard undid the start.
pub const XENNET_VERDICT_LATE: u32 = 1;
/// The process that started the network ended without telling the guard the outcome, and the guard undid the start.
pub const XENNET_VERDICT_DIED: u32 = 2;
/// The start failed, or changed nothing: there is nothing to undo.
pub const XENNET_VERDICT_FAILED: u32 = 3;

/// Runs the guard of a network's start: waits for `xennet_host_confirm`, and undoes the start if that does not come in time. Call it in a process of
/// its own that outlives the caller of `xennet_host_start_guarded`: a child that is forked before the caller has threads, or another program.
/// Returns when the start is confirmed or undone, or when there is nothing to undo.
///
/// The two processes talk over two pipes. `xennet network guard NAME SECONDS` is such a process, too: `hears` is its standard input, `says` its
/// standard output.
///
/// \param settings How a host is opened: its state directory is that of the host that starts the network. NULL for the defaults.
/// \param backend `XENNET_BACKEND_*`, as of that host: `XENNET_BACKEND_NETLINK`, or `XENNET_BACKEND_FAKE` with a state directory.
/// \param name The network's name.
/// \param name_len Its length in bytes.
/// \param seconds How long the guard waits for a confirmation after the network is started.
/// \param hears The read end of the pipe over which the guard gets the outcome of the start. Close the write end in this process first.
/// \param says The write end of the pipe over which the guard says that it is ready.
/// \param verdict Gets `XENNET_VERDICT_*`.
/// \return NULL on success; else `XENNET_KIND_UNSUPPORTED` for a backend whose changes no other process can undo; `XENNET_KIND_CONFLICT` if another
///   guard waits for a confirmation of the same network; an error as of `xennet_host_undo` if the start could not be undone.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_guard(
    settings: Option<&Settings>,
    backend: u32,
    name: Chars,
    name_len: usize,
    seconds: u32,
    hears: i32,
    says: i32,
    verdict: Option<&mut MaybeUninit<u32>>,
) -> Option<Box<Failure>> {
    fallible("xennet_guard", || {
        let verdict = given(verdict, "verdict")?;
        let defaults = Settings::default();
        let settings = settings.unwrap_or(&defaults);
        let name = network::named(&name, name_len)?;
        let pipes = (cast::descriptor(hears, "hears")?, cast::descriptor(says, "says")?);
        let patience = Duration::from_secs(seconds.into());
        can_undo(&name, settings, backend)?;
        // What cannot be opened is to be told now, not when the start has to be undone.
        drop(settings.open(backend)?);
        let ended = xennet_core::Host::guard(&name, &settings.state_dir(), patience, pipes, || settings.open(backend))?;
        verdict.write(match ended {
            Verdict::Kept => XENNET_VERDICT_KEPT,
            Verdict::Late => XENNET_VERDICT_LATE,
            Verdict::Died => XENNET_VERDICT_DIED,
            Verdict::Failed => XENNET_VERDICT_FAILED,
            other => return Err(Error::new(ErrorKind::Internal, format!("the C ABI has no number for {other:?}"))),
        });
        Ok(())
    })
}

/// Refuses a backend whose changes this process, which has not made them, cannot undo.
fn can_undo(name: &IfName, settings: &Settings, backend: u32) -> Result<(), Error> {
    match backend {
        XENNET_BACKEND_SANDBOX => Err(in_sandbox(name, "backend XENNET_BACKEND_SANDBOX")),
        XENNET_BACKEND_FAKE if !settings.has_state_dir() => {
            let message = format!(
                "network {name}: a guard with backend XENNET_BACKEND_FAKE and no state directory cannot undo its start: a rehearsal in memory is \
                 in the process that opened it"
            );
            let hint = "give both processes the same directory (xennet_settings_state_dir)";
            Err(unsupported(name, message).with_hint(hint))
        }
        _ => Ok(()),
    }
}

/// The refusal of a guard where a host is in a namespace of its own; `what` says so.
fn in_sandbox(name: &IfName, what: &str) -> Error {
    let message = format!(
        "network {name}: no guard can undo a start with {what}: only the process that opened a sandbox can enter its network namespace"
    );
    let hint = "start it with xennet_host_start_network, or open the host with XENNET_BACKEND_NETLINK in a network namespace that \
                both processes are in";
    unsupported(name, message).with_hint(hint)
}

fn unsupported(name: &IfName, message: String) -> Error {
    Error::new(ErrorKind::Unsupported, message).with_object(name.as_str()).unchanged()
}

/// Starts a network under a guard (`xennet_guard`): waits until the guard is ready, starts the network, and tells the guard the outcome. Close both
/// descriptors afterwards. While it waits for the guard, other threads may use the host.
///
/// \param host The host.
/// \param network The JSON document of one network, an item of what `xennet_networks_parse` gives.
/// \param network_len Its length in bytes.
/// \param said The read end of the pipe whose write end is the guard's `says`.
/// \param hears The write end of the pipe whose read end is the guard's `hears`.
/// \param done Gets a JSON document, `{"steps": 9, "notes": []}`. May be NULL.
/// \return NULL on success; else the guard's error if it is not ready, and nothing was changed; `XENNET_KIND_UNSUPPORTED` for a sandbox, or a
///   rehearsal in memory, of which no other process can undo anything; or an error as of `xennet_host_start_network`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_start_guarded(
    host: Option<&Host>,
    network: Chars,
    network_len: usize,
    said: i32,
    hears: i32,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_start_guarded", || {
        let host = given(host, "host")?;
        let network = network::read(&network, network_len)?;
        let (said, hears) = (cast::descriptor(said, "said")?, cast::descriptor(hears, "hears")?);
        if host.is_sandbox() {
            return Err(in_sandbox(&network.name(), "a host of XENNET_BACKEND_SANDBOX"));
        }
        host.change_after(
            "xennet_host_start_guarded",
            done,
            || guard_is_there(&network.name(), said),
            |core| core.start_confirmed(&network, |told| tell_guard(hears, told)),
        )
    })
}

/// Confirms the last start of a network: it stays.
///
/// \param host A host with the same state directory.
/// \param name The network's name.
/// \param name_len Its length in bytes.
/// \return NULL on success; else `XENNET_KIND_NOTHING_TO_UNDO` if no guard waits for a confirmation of this network.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_confirm(host: Option<&Host>, name: Chars, name_len: usize) -> Option<Box<Failure>> {
    fallible("xennet_host_confirm", || {
        let host = given(host, "host")?;
        let name = network::named(&name, name_len)?;
        host.work("xennet_host_confirm", |core| core.confirm(&name))
    })
}

/// The networks whose last start waits for a confirmation.
///
/// \param host A host with the same state directory.
/// \param document Gets a JSON document: `{"awaited": ["lan"]}`.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_awaited(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_awaited", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let names = host.work("xennet_host_awaited", |core| core.awaited())?;
        document.write(Some(Box::new(Text::json(&Awaited::of(&names)))));
        Ok(())
    })
}
