//! How a host is opened.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::time::Duration;

use xennet_core::backend::fake::{Fake, Fault, Netback};
use xennet_core::backend::netlink::Netlink;
use xennet_core::exec::StateDir;
use xennet_core::recording::Recording;
use xennet_core::{Error, ErrorKind, MacBinding};

use crate::boundary::{fallible, free, given};
use crate::cast::{self, Chars, Context, Log};
use crate::error::Failure;
use crate::host::Host;
use crate::log::Sink;
use crate::text::read_json;

/// The kernel's networking.
pub const XENNET_BACKEND_NETLINK: u32 = 0;
/// A rehearsal: in memory, or in the files of a state directory if the settings name one.
pub const XENNET_BACKEND_FAKE: u32 = 1;
/// The kernel's networking in a new network namespace of the host's own, which has one loopback link, down. Freeing the host removes it. Without
/// a state directory the state is in memory. Opening it needs CAP_SYS_ADMIN. Each call starts a thread and waits for it.
pub const XENNET_BACKEND_SANDBOX: u32 = 2;

/// Guests are bound to their MACs where their vif line declares addresses (`ip=`).
pub const XENNET_MAC_BINDING_WHERE_DECLARED: u32 = 0;
/// Every guest may send from its own MAC only.
pub const XENNET_MAC_BINDING_ALWAYS: u32 = 1;

/// A small dom0: loopback, the uplink `eth0`, the bridge `xenbr0` with an address and the default route; a vif appears when it is named.
pub const XENNET_WORLD_EXAMPLE: u32 = 0;
/// Nothing but loopback, as in a new network namespace; a vif appears when it is named.
pub const XENNET_WORLD_EMPTY: u32 = 1;

/// How a host is opened, owned by the caller: every setting has a default. Hosts that were opened with it do not change with it.
#[derive(Default)]
pub struct Settings {
    state_dir: Option<StateDir>,
    lock_deadline: Option<Duration>,
    pub(crate) budget: Option<Duration>,
    binding: MacBinding,
    world: World,
    faults: Vec<Fault>,
    pub(crate) log: Option<Sink>,
}

/// What a rehearsal begins with.
#[derive(Default)]
enum World {
    #[default]
    Example,
    Empty,
    Recorded(Box<Recording>),
}

impl Settings {
    /// Opens a host of the core.
    pub(crate) fn open(&self, backend: u32) -> Result<xennet_core::Host, Error> {
        let host = match backend {
            XENNET_BACKEND_NETLINK => self.kernel(Some(self.state_dir()))?,
            XENNET_BACKEND_FAKE => self.fake()?,
            XENNET_BACKEND_SANDBOX => self.kernel(self.state_dir.clone())?,
            other => {
                return Err(none_of(
                    "backend",
                    other,
                    "XENNET_BACKEND_NETLINK, XENNET_BACKEND_FAKE and XENNET_BACKEND_SANDBOX",
                ));
            }
        };
        let host = match self.lock_deadline {
            Some(deadline) => host.with_lock_deadline(deadline),
            None => host,
        };
        Ok(host.with_mac_binding(self.binding))
    }

    /// Where the state is: for what is about a state directory and not about a host.
    pub(crate) fn state_dir(&self) -> StateDir {
        self.state_dir.clone().unwrap_or_else(|| StateDir::at(StateDir::DEFAULT))
    }

    /// Whether the state is in a directory, where another process finds it, by the caller's word.
    pub(crate) fn has_state_dir(&self) -> bool {
        self.state_dir.is_some()
    }

    /// Sets where the state is.
    pub(crate) fn keep_state_in(&mut self, path: &OsStr) -> Result<(), Error> {
        self.state_dir = Some(StateDir::checked(path)?);
        Ok(())
    }

    /// The kernel's networking in the calling thread's network namespace, with its state in a directory or in memory.
    fn kernel(&self, state_dir: Option<StateDir>) -> Result<xennet_core::Host, Error> {
        if !self.is_plain() {
            return Err(Error::new(ErrorKind::Invalid, "faults and worlds are for a rehearsal, not for the kernel")
                .with_object("settings")
                .unchanged()
                .with_hint("open it with XENNET_BACKEND_FAKE, or use settings without them"));
        }
        let host = xennet_core::Host::with_backend(Box::new(Netlink::open()?));
        Ok(match state_dir {
            Some(dir) => host.with_state_dir(dir),
            None => host,
        })
    }

    /// Whether nothing is set that a rehearsal in memory alone can have.
    fn is_plain(&self) -> bool {
        self.faults.is_empty() && matches!(self.world, World::Example)
    }

    fn fake(&self) -> Result<xennet_core::Host, Error> {
        if let Some(dir) = &self.state_dir {
            if !self.is_plain() {
                let message = "a rehearsal in a directory begins with the example, and has no faults";
                return Err(Error::new(ErrorKind::Invalid, message)
                    .with_object("settings")
                    .unchanged()
                    .with_hint("leave state_dir out for a rehearsal in memory, or leave world and faults out"));
            }
            return xennet_core::Host::fake_in(dir.clone());
        }
        let fake = match &self.world {
            World::Example => Fake::example(),
            World::Empty => Fake::empty().with_netback(Netback::Plays),
            World::Recorded(_) if !self.faults.is_empty() => {
                let message = "a rehearsal of a recorded host has no faults";
                return Err(Error::new(ErrorKind::Invalid, message)
                    .with_object("settings")
                    .unchanged()
                    .with_hint("leave faults out, or begin with XENNET_WORLD_EXAMPLE"));
            }
            World::Recorded(recording) => return Ok(xennet_core::Host::from_recording(recording)),
        };
        Ok(xennet_core::Host::with_backend(Box::new(fake.with_faults(self.faults.clone()))))
    }
}

/// The error of a number that is none of a list.
pub(crate) fn none_of(argument: &str, number: u32, list: &str) -> Error {
    Error::new(ErrorKind::Invalid, format!("{argument} cannot be {number}"))
        .with_object(argument)
        .unchanged()
        .with_hint(format!("xennet.h lists what it can be: {list}"))
}

/// New settings: each has its default.
///
/// \param settings Gets the settings.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_new(
    settings: Option<&mut MaybeUninit<Option<Box<Settings>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_new", || {
        given(settings, "settings")?.write(Some(Box::new(Settings::default())));
        Ok(())
    })
}

/// Where journals, locks and records are kept. By default `/run/xennet`, and of a rehearsal nowhere: it is in memory. With one, a rehearsal is kept
/// there, so that another process finds what this one has done.
///
/// \param settings The settings.
/// \param path The path, without final zero.
/// \param path_len Its length in bytes.
/// \return NULL on success; else `XENNET_KIND_INVALID` for an empty path, or one with a zero byte in it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_state_dir(
    settings: Option<&mut Settings>,
    path: Chars,
    path_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_state_dir", || {
        let settings = given(settings, "settings")?;
        settings.keep_state_in(cast::path(&path, path_len, "path")?)
    })
}

/// How long a call waits for another process that works on the same vif, bridge or network. By default 10 s.
///
/// \param settings The settings.
/// \param milliseconds The time; 0 for not at all.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_lock_deadline(
    settings: Option<&mut Settings>,
    milliseconds: u32,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_lock_deadline", || {
        given(settings, "settings")?.lock_deadline = Some(Duration::from_millis(milliseconds.into()));
        Ok(())
    })
}

/// How long all that one call waits for may take together: locks, links, a dnsmasq that is started anew. By default there is no such limit, and
/// each wait has its own.
///
/// \param settings The settings.
/// \param milliseconds The time; 0 for no limit.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_budget(settings: Option<&mut Settings>, milliseconds: u32) -> Option<Box<Failure>> {
    fallible("xennet_settings_budget", || {
        let time = (milliseconds > 0).then(|| Duration::from_millis(milliseconds.into()));
        given(settings, "settings")?.budget = time;
        Ok(())
    })
}

/// Whether guests are bound to their MACs where their vif lines declare no addresses.
///
/// \param settings The settings.
/// \param binding `XENNET_MAC_BINDING_*`.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_mac_binding(settings: Option<&mut Settings>, binding: u32) -> Option<Box<Failure>> {
    fallible("xennet_settings_mac_binding", || {
        given(settings, "settings")?.binding = match binding {
            XENNET_MAC_BINDING_WHERE_DECLARED => MacBinding::WhereDeclared,
            XENNET_MAC_BINDING_ALWAYS => MacBinding::Always,
            other => {
                return Err(none_of(
                    "binding",
                    other,
                    "XENNET_MAC_BINDING_WHERE_DECLARED and XENNET_MAC_BINDING_ALWAYS",
                ));
            }
        };
        Ok(())
    })
}

/// What a rehearsal begins with.
///
/// \param settings The settings.
/// \param world `XENNET_WORLD_*`.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_world(settings: Option<&mut Settings>, world: u32) -> Option<Box<Failure>> {
    fallible("xennet_settings_world", || {
        given(settings, "settings")?.world = match world {
            XENNET_WORLD_EXAMPLE => World::Example,
            XENNET_WORLD_EMPTY => World::Empty,
            other => return Err(none_of("world", other, "XENNET_WORLD_EXAMPLE and XENNET_WORLD_EMPTY")),
        };
        Ok(())
    })
}

/// Lets a rehearsal begin with a recorded host: the same objects, records and networks.
///
/// \param settings The settings.
/// \param recording A JSON document of `xennet_host_record` or `xennet record`.
/// \param recording_len Its length in bytes, at most `XENNET_RECORDING_MAX`.
/// \return NULL on success; `XENNET_KIND_INVALID` for a text that is no recording, or one of another version.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_recording(
    settings: Option<&mut Settings>,
    recording: Chars,
    recording_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_recording", || {
        let settings = given(settings, "settings")?;
        let recording = Recording::from_json(cast::recording(&recording, recording_len, "recording")?)?;
        settings.world = World::Recorded(Box::new(recording));
        Ok(())
    })
}

/// What goes wrong in a rehearsal in memory. Steps are counted from 0, from when the host is opened.
///
/// \param settings The settings.
/// \param faults A JSON document, a list of `{"fail-at": {"step": 1, "errno": 16}}`, `{"half-apply": {"step": 1}}`, `{"lie-once": {"step": 1}}`,
///   `{"crash-after": {"step": 1}}`, `{"dump-interrupted": {"times": 2}}`, `{"intruder": {"before": 1, "does": STEP}}`, where `STEP` is a
///   `step` of a plan's document.
/// \param faults_len Its length in bytes.
/// \return NULL on success; `XENNET_KIND_INVALID` for a text that is no such list.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_faults(
    settings: Option<&mut Settings>,
    faults: Chars,
    faults_len: usize,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_faults", || {
        let settings = given(settings, "settings")?;
        settings.faults = read_json(cast::text(&faults, faults_len, "faults")?, "faults")?;
        Ok(())
    })
}

/// Sets the function that gets the log messages of calls on the host.
///
/// The thread that called the library calls it, before that call returns and after the host's lock is released: the function may use the host. It must
/// return: no `longjmp`, no exception (one that leaves it ends the program), no `pthread_exit`. Several threads may be in it at once. Its
/// arguments live until it returns.
///
/// \param settings The settings.
/// \param function Gets `context`, the level (`XENNET_LOG_*`), a sentence, and a JSON document: `{"event", "call", ...}`, where `event` is "step"
///   (`number`, `text`), "note" (`text`), "done" (`took_us`) or "failed" (`took_us`, `error`). NULL for no function.
/// \param context What the function gets as its first argument. It has to live as long as hosts that were opened with these settings.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_log(
    settings: Option<&mut Settings>,
    function: Log,
    context: Context,
) -> Option<Box<Failure>> {
    fallible("xennet_settings_log", || {
        given(settings, "settings")?.log = Sink::new(function, context);
        Ok(())
    })
}

/// Frees settings. Hosts that were opened with them stay open. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_settings_free(settings: Option<Box<Settings>>) {
    free(settings);
}

/// Opens a host.
///
/// \param settings How; NULL for the defaults.
/// \param backend `XENNET_BACKEND_*`. The kernel's networking is that of the calling thread's network namespace, and the handle stays in it.
/// \param host Gets the handle.
/// \return NULL on success; else `XENNET_KIND_IO` or `XENNET_KIND_DENIED` if no netlink socket can be opened; `XENNET_KIND_INVALID` for settings
///   that the backend cannot have; `XENNET_KIND_STATE_UNUSABLE` if the directory holds a rehearsal that cannot be read.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_new(
    settings: Option<&Settings>,
    backend: u32,
    host: Option<&mut MaybeUninit<Option<Box<Host>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_new", || {
        let host = given(host, "host")?;
        let defaults = Settings::default();
        host.write(Some(Box::new(Host::opened(settings.unwrap_or(&defaults), backend)?)));
        Ok(())
    })
}
