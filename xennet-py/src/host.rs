//! `Host`: the front door.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyType};
use xennet_core::config::networks;
use xennet_core::exec::{StateDir, Subject};
use xennet_core::picture::{Form, View};
use xennet_core::{DevId, DomId, Error, ErrorKind, Guests, OpenedBy, Overview, VifId, surroundings};

use crate::bridge::BridgeSpec;
use crate::convert::{Digits, OrText, to_python};
use crate::doctor::parsed;
use crate::error::{OrRaise, raised};
use crate::guest;
use crate::network::{Network, named};
use crate::plan::{Applied, Plan};
use crate::vif::VifSpec;

/// A Xen host, or a rehearsal of one in memory.
///
/// Made by `Host.netlink()` or `Host.fake()`. Every call that changes something either reaches the wanted state, which is
/// read back, or restores the earlier one and raises an error that says so (`XennetError.state`). A host can be used by
/// several threads; they wait for each other, and other threads run meanwhile. It belongs to the process that made it: a child that
/// was forked makes one of its own, and its parent's raises `Invalid`.
///
///     >>> from xennet import Host
///     >>> host = Host.fake()
///     >>> print(len(host.plan_attach(5, "bridge=xenbr0")) > 0)  # nothing happens
///     True
///     >>> host.attach(5, "bridge=xenbr0").steps > 0
///     True
///     >>> host.attach(5, "bridge=xenbr0")
///     Applied(steps=0)
#[pyclass(frozen, module = "xennet")]
pub(crate) struct Host {
    // Poisoned by a call that panicked: then nothing is known about it any more. Nothing is left of it in a value that goes.
    core: Mutex<Option<xennet_core::Host>>,
    opened: OpenedBy,
    turn: Turn,
    raised: Raised,
}

/// What a signal has raised while something was waited for.
type Raised = Arc<Mutex<Option<PyErr>>>;

impl Host {
    fn on(core: xennet_core::Host) -> Self {
        let raised = Raised::default();
        let seen = Arc::clone(&raised);
        let core = core.with_interrupt(move || interrupted(&seen));
        Host { core: Mutex::new(Some(core)), opened: OpenedBy::this_process(), turn: Turn::default(), raised }
    }

    /// Works on the host with the interpreter free for others.
    fn work<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        // In a copy of the process a lock may be held for ever, by a thread that was not copied.
        self.opened.check().or_raise()?;
        let result = py.detach(|| {
            let _turn = self.turn.take(|| interrupted(&self.raised))?;
            match self.core.lock().as_deref_mut() {
                Ok(Some(core)) => work(core),
                _ => {
                    Err(Error::new(ErrorKind::Internal, "host refuses work: a defect was met in an earlier call on it")
                        .with_object("host")
                        .unchanged()
                        .with_hint("open another one; it recovers what was left open"))
                }
            }
        });
        result.map_err(|e| match e.kind() {
            // Ctrl-C says more than that the lock was not waited for any longer.
            ErrorKind::Busy => self.take_raised().unwrap_or_else(|| raised(&e)),
            _ => raised(&e),
        })
    }

    /// All of the host's networking, with the names of guests where xenstore tells them.
    fn seen(&self, py: Python<'_>) -> PyResult<Overview> {
        self.work(py, |core| surroundings::overview(core, networks::PATH.as_ref(), Some("/".as_ref())))
    }

    fn take_raised(&self) -> Option<PyErr> {
        self.raised.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let core = self.core.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // Closing may take the kernel a while.
        Python::try_attach(|py| py.detach(move || drop(core)));
    }
}

/// Whether a signal came whose handler raises: Python's handlers run in the main thread only, and only when it asks.
fn interrupted(seen: &Raised) -> bool {
    match Python::try_attach(|py| py.check_signals()) {
        Some(Err(e)) => {
            *seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(e);
            true
        }
        _ => false,
    }
}

/// Whose turn it is among the threads of this process. Unlike a `Mutex` it can be given up.
#[derive(Default)]
struct Turn {
    taken: Mutex<bool>,
    free: Condvar,
}

struct Taken<'a>(&'a Turn);

impl Turn {
    fn take(&self, interrupted: impl Fn() -> bool) -> Result<Taken<'_>, Error> {
        const OFTEN: Duration = Duration::from_millis(50);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            let waited = self.free.wait_timeout(taken, OFTEN).unwrap_or_else(PoisonError::into_inner);
            taken = waited.0;
            if waited.1.timed_out() && *taken {
                // Not with the lock: a handler of Python's may take any time.
                drop(taken);
                if interrupted() {
                    let message = "host is at work for another thread; it is not waited for any longer";
                    return Err(Error::new(ErrorKind::Busy, message).with_object("host").unchanged());
                }
                taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
            }
        }
        *taken = true;
        Ok(Taken(self))
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.free.notify_one();
    }
}

#[pymethods]
impl Host {
    /// The kernel's networking, in the calling thread's network namespace, in which the host stays.
    ///
    /// Journals, locks and records are kept in `state_dir`, `/run/xennet` unless given. Raises `Invalid` for a path that is empty or
    /// has a NUL in it.
    #[classmethod]
    #[pyo3(signature = (*, state_dir=None))]
    fn netlink(_class: &Bound<'_, PyType>, state_dir: Option<PathBuf>) -> PyResult<Self> {
        let state_dir = state_dir.map(StateDir::checked).transpose().or_raise()?;
        let core = xennet_core::Host::netlink().or_raise()?;
        let core = match state_dir {
            Some(dir) => core.with_state_dir(dir),
            None => core,
        };
        Ok(Host::on(core))
    }

    /// A rehearsal in memory: a host with an uplink `eth0`, a bridge `xenbr0`, and a netback that makes a vif when it is
    /// asked for. It needs no permission and touches nothing real. Nothing outlives the object.
    #[classmethod]
    fn fake(_class: &Bound<'_, PyType>) -> Self {
        Host::on(xennet_core::Host::fake())
    }

    /// What `attach` would do. Changes nothing. `vif` is a `VifSpec` or a vif line.
    #[pyo3(signature = (domid, vif))]
    fn plan_attach(&self, py: Python<'_>, domid: Digits, vif: OrText<'_, VifSpec>) -> PyResult<Plan> {
        let (domid, (vif, notes)) = (domain(&domid)?, vif.spec()?);
        self.work(py, |core| core.plan_attach(domid, &vif)).map(|plan| Plan(plan.with_notes(notes)))
    }

    /// Attaches a vif: in bridge mode as a port of its bridge, up, with the backend's MAC; in NAT and routed mode up, with this
    /// domain's address on it and a route to each of the guest's. What reading a line remarks is in `notes`. A second call with the same vif changes nothing.
    #[pyo3(signature = (domid, vif))]
    fn attach(&self, py: Python<'_>, domid: Digits, vif: OrText<'_, VifSpec>) -> PyResult<Applied> {
        let (domid, (vif, notes)) = (domain(&domid)?, vif.spec()?);
        let mut applied = self.work(py, |core| core.attach(domid, &vif))?;
        applied.notes.extend(notes);
        Ok(Applied::from(&applied))
    }

    /// What `detach` would do. Changes nothing.
    #[pyo3(signature = (domid, devid=None))]
    fn plan_detach(&self, py: Python<'_>, domid: Digits, devid: Option<Digits>) -> PyResult<Plan> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        self.work(py, |core| core.plan_detach(domid, devid)).map(Plan)
    }

    /// Detaches a vif: a port of nothing, down. A vif that is gone already is a success.
    #[pyo3(signature = (domid, devid=None))]
    fn detach(&self, py: Python<'_>, domid: Digits, devid: Option<Digits>) -> PyResult<Applied> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        self.work(py, |core| core.detach(domid, devid)).map(|a| Applied::from(&a))
    }

    /// What `ensure_bridge` would do. Changes nothing.
    #[pyo3(signature = (bridge))]
    fn plan_bridge(&self, py: Python<'_>, bridge: OrText<'_, BridgeSpec>) -> PyResult<Plan> {
        let bridge = bridge.spec()?;
        self.work(py, |core| core.plan_bridge(&bridge)).map(Plan)
    }

    /// Makes sure that a bridge exists with these settings, and is up. `bridge` is a `BridgeSpec` or a name.
    #[pyo3(signature = (bridge))]
    fn ensure_bridge(&self, py: Python<'_>, bridge: OrText<'_, BridgeSpec>) -> PyResult<Applied> {
        let bridge = bridge.spec()?;
        self.work(py, |core| core.ensure_bridge(&bridge)).map(|a| Applied::from(&a))
    }

    /// What `start_network` would do. Changes nothing.
    #[pyo3(signature = (network))]
    fn plan_start(&self, py: Python<'_>, network: &Bound<'_, Network>) -> PyResult<Plan> {
        let network = &network.get().core;
        self.work(py, |core| core.plan_start(network)).map(Plan)
    }

    /// Starts a network: its bridge and what its uplink had of its own, this domain's addresses in it, the settings it needs,
    /// and what its guests are served by. Of one that is started already, what it lacks comes back. One that is
    /// described otherwise by now takes over, while its guests stay: port forwards, DHCP and names, and subnets in addition to those
    /// that it has.
    ///
    /// Raises `Conflict` if a network of this name is started that was described otherwise in anything else.
    #[pyo3(signature = (network))]
    fn start_network(&self, py: Python<'_>, network: &Bound<'_, Network>) -> PyResult<Applied> {
        let network = &network.get().core;
        self.work(py, |core| core.start_network(network)).map(|a| Applied::from(&a))
    }

    /// What `stop_network` would do. Changes nothing. None for a network that is not started.
    #[pyo3(signature = (name, *, force=false))]
    fn plan_stop(&self, py: Python<'_>, name: &str, force: bool) -> PyResult<Option<Plan>> {
        let (name, guests) = (named(name)?, fate(force));
        Ok(self.work(py, |core| core.plan_stop(&name, guests))?.map(Plan))
    }

    /// Stops a network: puts back what starting it has changed, and nothing else. One that is not started is a success.
    ///
    /// Raises `Conflict` while guests are ports of the network's own bridge, or another network leaves through it; with `force` they
    /// are cut off.
    #[pyo3(signature = (name, *, force=false))]
    fn stop_network(&self, py: Python<'_>, name: &str, force: bool) -> PyResult<Applied> {
        let (name, guests) = (named(name)?, fate(force));
        self.work(py, |core| core.stop_network(&name, guests)).map(|a| Applied::from(&a))
    }

    /// How a network is, compared with how it was described: `{"network": ..., "started": ..., "missing": [...], ...}`.
    /// Changes nothing.
    #[pyo3(signature = (network))]
    fn network_status<'py>(&self, py: Python<'py>, network: &Bound<'py, Network>) -> PyResult<Bound<'py, PyAny>> {
        let network = &network.get().core;
        let status = self.work(py, |core| core.network_status(network))?;
        to_python(py, &status)
    }

    /// What there is: `{"vifs": [...], "bridges": [...]}`. Its cost grows with the host.
    fn show<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let shown = self.work(py, |core| core.show())?;
        to_python(py, &shown)
    }

    /// All that can be seen of the host, as one document, as `xennet record` writes it: `{"version": 1, "taken": ..., "snapshot": ...}`. What
    /// could not be looked at stands in it, in `unseen`. Its cost grows with the host.
    ///
    /// `file` has the descriptions of networks. With `anonymous` public addresses, hardware addresses and the names of the host and of domains
    /// are replaced by others.
    #[pyo3(signature = (*, file=None, anonymous=false))]
    fn record<'py>(&self, py: Python<'py>, file: Option<PathBuf>, anonymous: bool) -> PyResult<Bound<'py, PyAny>> {
        let file = file.unwrap_or_else(|| PathBuf::from(xennet_core::config::networks::PATH));
        let document = self.work(py, |core| {
            let recording = surroundings::record(core, &file, Some(Path::new("/")));
            Ok(if anonymous { surroundings::anonymous(&recording)?.to_json() } else { recording.to_json() })
        })?;
        parsed(py, &document)
    }

    /// What happens to a packet on this host, as `xennet.trace` gives it: the host is recorded first. Nothing is sent, and nothing is changed.
    #[pyo3(signature = (source, target, /, protocol=None, port=None))]
    fn trace<'py>(
        &self,
        py: Python<'py>,
        source: &str,
        target: &str,
        protocol: Option<&str>,
        port: Option<u16>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let file = PathBuf::from(xennet_core::config::networks::PATH);
        let document = self.work(py, |core| {
            let recording = surroundings::record(core, &file, Some(Path::new("/")));
            crate::trace::document(&recording, source, target, protocol, port)
        })?;
        parsed(py, &document)
    }

    /// What the networking of this host is: what `show` gives, and networks, routes, filters, who is where (`picture`), and what could not
    /// be looked at (`unseen`). Names of guests are there where xenstore tells them. Its cost grows with the host.
    fn overview<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let overview = self.seen(py)?;
        to_python(py, &overview)
    }

    /// The networking of this host, drawn: outside, gateway, uplinks, bridges and routes, vifs, guests. `form` is "text" (100 columns),
    /// "svg", "dot", "mermaid", or "json". With `counters` what went through each link is shown; with `every_guest` no guests are
    /// put together, however many there are.
    #[pyo3(signature = (form="text", *, counters=false, every_guest=false))]
    fn picture(&self, py: Python<'_>, form: &str, counters: bool, every_guest: bool) -> PyResult<String> {
        let form: Form = form.parse().or_raise()?;
        let mut view = View::new();
        if counters {
            view = view.with_counters();
        }
        if every_guest {
            view = view.with_every_guest();
        }
        Ok(self.seen(py)?.picture.to_form(form, &view))
    }

    /// The network configuration of the vif's guest, as `xennet.guest_config` gives it. The vif is an attached one by its
    /// name (`vif5.0`), or a `VifSpec` or vif line, whose network is the started one that it belongs to.
    #[pyo3(signature = (vif, *, format, prefix=None, gateway=None, no_gateway=false, dns=None, search=None, dhcp=false, interface=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn guest_config<'py>(
        &self,
        py: Python<'py>,
        vif: OrText<'py, VifSpec>,
        format: &str,
        prefix: Option<Bound<'py, PyAny>>,
        gateway: Option<Bound<'py, PyAny>>,
        no_gateway: bool,
        dns: Option<Bound<'py, PyAny>>,
        search: Option<Bound<'py, PyAny>>,
        dhcp: bool,
        interface: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wish = guest::wish([prefix, gateway, dns, search], no_gateway, dhcp, interface)?;
        let attached = match &vif {
            OrText::Text(name) => VifId::from_vif_name(&name.to_cow()?),
            OrText::Made(_) => None,
        };
        let (config, remarks) = match attached {
            Some(id) => (self.work(py, |core| core.guest_config(id, &wish))?, Vec::new()),
            None => {
                let (spec, remarks) = vif.spec()?;
                (self.work(py, |core| core.guest_config_of(&spec, &[], &wish))?, remarks)
            }
        };
        guest::rendered(py, &config, remarks, format)
    }

    /// Carries out a plan as it was shown, or raises `Stale` with what has changed since. The plan is a `Plan`, or the JSON of one
    /// (`Plan.to_json()`) that was kept.
    fn apply(&self, py: Python<'_>, plan: OrText<'_, Plan>) -> PyResult<Applied> {
        let shown = plan.shown()?;
        let applied = self.work(py, |core| core.apply_shown(&shown))?;
        Ok(Applied::from(&applied))
    }

    /// What `undo` would do. Nothing happens.
    fn plan_undo(&self, py: Python<'_>, subject: &str) -> PyResult<Plan> {
        let subject = subject.parse::<Subject>().or_raise()?;
        self.work(py, |core| core.plan_undo(subject)).map(Plan)
    }

    /// What `recover` would do: a plan for each vif, bridge or network, by its name. Nothing happens. Raises what stands in the way of
    /// the first that cannot be recovered.
    fn plan_recover<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let plans = self.work(py, |core| core.plan_recover())?;
        let document = PyDict::new(py);
        for (subject, plan) in plans {
            document.set_item(subject.to_string(), Plan(plan.or_raise()?))?;
        }
        Ok(document)
    }

    /// Puts back what was there before the last operation on a vif ("vif5.0") or bridge ("xenbr0"); None for
    /// whatever was changed last.
    #[pyo3(signature = (subject=None))]
    fn undo(&self, py: Python<'_>, subject: Option<&str>) -> PyResult<Applied> {
        let subject = subject.map(str::parse::<Subject>).transpose().or_raise()?;
        let applied = self.work(py, |core| match subject {
            Some(subject) => core.undo(subject),
            None => core.undo_last(),
        })?;
        Ok(Applied::from(&applied))
    }

    /// Closes every operation that a crash left open: `[{"subject": "vif5.0", "outcome": "restored", "steps": 2}]`. Then puts back
    /// what somebody has taken away of what started networks and attached vifs need.
    fn recover<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let recovered = self.work(py, |core| core.recover())?;
        to_python(py, &recovered.iter().map(|(subject, how)| how.document(*subject)).collect::<Vec<_>>())
    }
}

fn domain(digits: &Digits) -> PyResult<DomId> {
    digits.0.parse().or_raise()
}

fn fate(force: bool) -> Guests {
    if force { Guests::AreCutOff } else { Guests::MustHaveGone }
}

fn index(digits: Option<Digits>) -> PyResult<DevId> {
    digits.map_or(Ok(DevId::FIRST), |d| d.0.parse().or_raise())
}
