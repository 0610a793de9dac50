//! `Host`: the front door.

use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use pyo3::exceptions::{PyBaseException, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};
use pyo3::{IntoPyObjectExt as _, intern};
use rustix::fs::{Mode, OFlags};
use xennet_core::config::networks;
use xennet_core::document::Violations;
use xennet_core::exec::confirm::Told;
use xennet_core::exec::{StateDir, Subject};
use xennet_core::picture::{Form, View};
use xennet_core::recording::Recording;
use xennet_core::step::{LinkChange, LinkStep, NewLink, Step};
use xennet_core::testing::SharedFake;
use xennet_core::{
    DevId, DomId, Errno, Error, ErrorKind, Guests, IfName, Overview, Recovered, VifId, surroundings, tell_guard,
};

use crate::bridge::BridgeSpec;
use crate::convert::{Digits, OrText, Text, time_of, to_python};
use crate::doctor::{self, parsed};
use crate::error::{OrRaise, raised};
use crate::events::{KernelEvents, KernelLinkEvents};
use crate::guest;
use crate::machine::Machine;
use crate::network::{Network, named};
use crate::opening::{Backend, Opened, Settings, binding, copied, faults_of, kind_of_link};
use crate::plan::{Applied, Plan};
use crate::vif::VifSpec;

/// The compiled part of `xennet.Host`, which says what it is.
#[pyclass(frozen, subclass, module = "xennet._xennet")]
pub(crate) struct Host {
    machine: Machine,
    backend: Backend,
    /// The world of a host in memory.
    fake: Option<SharedFake>,
}

/// What was applied, by networks.
type Done = Vec<(IfName, xennet_core::exec::Applied)>;

/// What was applied, and the errors, by names of networks.
type Several<'py> = (Bound<'py, PyDict>, Bound<'py, PyDict>);

impl Host {
    fn work<R: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<R, Error> + Send,
    ) -> PyResult<R> {
        self.machine.work(py, work)
    }

    /// Work that changes the host: what it did is not lost if a signal comes.
    fn change(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<xennet_core::exec::Applied, Error> + Send,
    ) -> PyResult<Applied> {
        let tell = |interrupt: &Bound<'_, PyBaseException>, applied: &_| told(interrupt, Applied::from(applied));
        self.machine.change(py, work, tell).map(|applied| Applied::from(&applied))
    }

    /// What starts or stops several networks. After a signal it begins with no further one.
    fn change_several<'py>(
        &self,
        py: Python<'py>,
        work: impl FnOnce(&mut xennet_core::Host, &mut Done) -> Result<Vec<(IfName, Error)>, Error> + Send,
    ) -> PyResult<Several<'py>> {
        let work = |core: &mut _| {
            let mut done = Vec::new();
            let failed = work(core, &mut done)?;
            Ok((done, failed))
        };
        let (done, failed) = self.machine.change(py, work, |interrupt, (done, failed)| {
            let (applied, failures) = several(py, done, failed)?;
            interrupt.setattr(intern!(py, "failures"), failures)?;
            told(interrupt, applied)
        })?;
        several(py, &done, &failed)
    }

    /// Refuses a network that would be begun with after a signal.
    fn go_on(&self, network: IfName) -> Result<(), Error> {
        match self.machine.is_interrupted() {
            false => Ok(()),
            true => {
                Err(Error::new(ErrorKind::Busy, format!("network {network}: interrupted before it was begun with"))
                    .with_object(format!("network {network}"))
                    .unchanged())
            }
        }
    }

    /// All of the host's networking, with the names of guests where xenstore tells them.
    fn seen(&self, py: Python<'_>) -> PyResult<Overview> {
        self.work(py, |core| surroundings::overview(core, networks::PATH.as_ref(), Some("/".as_ref())))
    }

    /// The host as a recording.
    fn recorded(&self, py: Python<'_>, file: Option<PathBuf>) -> PyResult<Recording> {
        let file = file.unwrap_or_else(|| PathBuf::from(networks::PATH));
        self.work(py, |core| Ok(surroundings::record(core, &file, Some(Path::new("/")))))
    }

    /// The machine, if the kernel tells what happens where the host is.
    fn heard(&self) -> PyResult<&Machine> {
        if self.backend != Backend::Netlink {
            let message = "a host in memory does not change by itself: there is nothing to wait for";
            let e = Error::new(ErrorKind::Unsupported, message).with_object("host");
            return Err(raised(&e.with_hint("look at it after each call: Host.show()")));
        }
        Ok(&self.machine)
    }
}

#[pymethods]
impl Host {
    #[new]
    #[pyo3(signature = (backend, /, *, state_dir=None, lock_deadline=None, budget=None, mac_binding="where-declared", faults=None,
        recording=None, namespace=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of Python")]
    fn new(
        backend: &str,
        state_dir: Option<PathBuf>,
        lock_deadline: Option<Bound<'_, PyAny>>,
        budget: Option<Bound<'_, PyAny>>,
        mac_binding: &str,
        faults: Option<&str>,
        recording: Option<&Bound<'_, PyAny>>,
        namespace: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let settings = Settings {
            state_dir: state_dir.map(StateDir::checked).transpose().or_raise()?,
            lock_deadline: lock_deadline.map(|time| time_of("lock_deadline", &time)).transpose()?,
            budget: budget.map(|time| time_of("budget", &time)).transpose()?,
            binding: binding(mac_binding).or_raise()?,
            faults: faults.map(faults_of).transpose()?,
            namespace: namespace.map(copied).transpose()?,
        };
        let recording = recording.map(doctor::read).transpose()?;
        if backend == "recording" && recording.is_none() {
            return Err(PyTypeError::new_err("recording is a document of Host.record or its text, not None"));
        }
        let Opened { machine, backend, fake } = settings.open(backend, recording.as_ref()).or_raise()?;
        Ok(Host { machine, backend, fake })
    }

    /// What the host works on: "netlink", "fake" or "recording".
    #[getter]
    fn backend(&self) -> &str {
        self.backend.name()
    }

    /// Where operations are remembered; None: in memory, and gone with the host.
    #[getter]
    fn state_dir(&self) -> Option<&Path> {
        self.machine.state_dir.as_ref().map(StateDir::path)
    }

    /// Ends every wait of a call on this host in any thread: for a lock, for a link, for its turn. That call raises `Busy`, and has changed
    /// nothing. A call that is changing something goes on to its end.
    fn interrupt(&self) {
        self.machine.interrupt();
    }

    /// Whether this process has made it, and is not a copy of that one (fork).
    fn _is_ours(&self) -> bool {
        self.machine.check_process().is_ok()
    }

    /// Whether its world is in the memory of this process alone.
    #[getter]
    fn _in_memory(&self) -> bool {
        self.fake.is_some()
    }

    /// Closes the host, after the call that another thread may be in. Later calls raise `Invalid`. A second time nothing happens.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.machine.close(py)
    }

    /// What `attach` would do. Changes nothing. `vif` is a `VifSpec` or a vif line.
    #[pyo3(signature = (domid, vif))]
    fn plan_attach(&self, py: Python<'_>, domid: Digits, vif: OrText<'_, VifSpec>) -> PyResult<Plan> {
        let (domid, (vif, notes)) = (domain(&domid)?, vif.spec()?);
        self.work(py, |core| core.plan_attach(domid, &vif)).map(|plan| Plan::of(plan.with_notes(notes)))
    }

    /// Attaches a vif: in bridge mode as a port of its bridge, up, with the backend's MAC; in NAT and routed mode up, with this
    /// domain's address on it and a route to each of the guest's. What reading a line remarks is in `notes`. A second call with the same vif changes nothing.
    #[pyo3(signature = (domid, vif))]
    fn attach(&self, py: Python<'_>, domid: Digits, vif: OrText<'_, VifSpec>) -> PyResult<Applied> {
        let (domid, (vif, notes)) = (domain(&domid)?, vif.spec()?);
        self.change(py, |core| {
            let mut applied = core.attach(domid, &vif)?;
            applied.notes.extend(notes);
            Ok(applied)
        })
    }

    /// What `detach` would do. Changes nothing.
    #[pyo3(signature = (domid, devid=None))]
    fn plan_detach(&self, py: Python<'_>, domid: Digits, devid: Option<Digits>) -> PyResult<Plan> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        self.work(py, |core| core.plan_detach(domid, devid)).map(Plan::of)
    }

    /// Detaches a vif: a port of nothing, down. A vif that is gone already is a success.
    #[pyo3(signature = (domid, devid=None))]
    fn detach(&self, py: Python<'_>, domid: Digits, devid: Option<Digits>) -> PyResult<Applied> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        self.change(py, |core| core.detach(domid, devid))
    }

    /// Attaches the emulated twin of a vif, which the device model of an HVM guest has made (`vif5.0-emu`): as a port of the vif's bridge.
    #[pyo3(signature = (domid, vif))]
    fn attach_tap(&self, py: Python<'_>, domid: Digits, vif: OrText<'_, VifSpec>) -> PyResult<Applied> {
        let (domid, (vif, notes)) = (domain(&domid)?, vif.spec()?);
        self.change(py, |core| {
            let mut applied = core.attach_tap(domid, &vif)?;
            applied.notes.extend(notes);
            Ok(applied)
        })
    }

    /// Detaches the emulated twin of a vif.
    #[pyo3(signature = (domid, devid=None))]
    fn detach_tap(&self, py: Python<'_>, domid: Digits, devid: Option<Digits>) -> PyResult<Applied> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        self.change(py, |core| core.detach_tap(domid, devid))
    }

    /// Detaches a vif, or with `type_if` "tap" its emulated twin, where nothing can be written down, because the state directory is full or
    /// cannot be used. When a domain ends its vif has to go all the same.
    #[pyo3(signature = (domid, devid=None, *, type_if="vif"))]
    fn detach_unwritten(
        &self,
        py: Python<'_>,
        domid: Digits,
        devid: Option<Digits>,
        type_if: &str,
    ) -> PyResult<Applied> {
        let (domid, devid) = (domain(&domid)?, index(devid)?);
        let type_if = kind_of_link(type_if).or_raise()?;
        self.change(py, |core| core.detach_unwritten(domid, devid, type_if))
    }

    /// Waits until there is a link of this name, for `timeout` at the most (a timedelta, or seconds). Whether there is one. Ctrl-C and
    /// `interrupt` end the wait. In memory nothing comes by itself, and nothing is waited for.
    #[pyo3(signature = (link, timeout))]
    fn await_link(&self, py: Python<'_>, link: Text, timeout: &Bound<'_, PyAny>) -> PyResult<bool> {
        let (link, timeout) = (named(&link)?, time_of("timeout", timeout)?);
        self.work(py, |core| core.await_link(&link, timeout))
    }

    /// Whether there is a bridge of this name.
    #[pyo3(signature = (name))]
    fn is_bridge(&self, py: Python<'_>, name: Text) -> PyResult<bool> {
        let name = named(&name)?;
        self.work(py, |core| core.is_bridge(&name))
    }

    /// The link of the default route with the lowest metric, of IPv4, or else of IPv6; None without a default route.
    fn default_route_link(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.work(py, |core| core.default_route_link())?.map(|link| link.to_string()))
    }

    /// The uplink that a started network's bridge has taken over from, where this link is such a bridge; any other link is its own.
    #[pyo3(signature = (link))]
    fn uplink_of(&self, py: Python<'_>, link: Text) -> PyResult<Option<String>> {
        let link = named(&link)?;
        Ok(self.work(py, |core| core.uplink_of(Some(link)))?.map(|link| link.to_string()))
    }

    /// What `ensure_bridge` would do. Changes nothing.
    #[pyo3(signature = (bridge))]
    fn plan_bridge(&self, py: Python<'_>, bridge: OrText<'_, BridgeSpec>) -> PyResult<Plan> {
        let bridge = bridge.spec()?;
        self.work(py, |core| core.plan_bridge(&bridge)).map(Plan::of)
    }

    /// Makes sure that a bridge exists with these settings, and is up. `bridge` is a `BridgeSpec` or a name.
    #[pyo3(signature = (bridge))]
    fn ensure_bridge(&self, py: Python<'_>, bridge: OrText<'_, BridgeSpec>) -> PyResult<Applied> {
        let bridge = bridge.spec()?;
        self.change(py, |core| core.ensure_bridge(&bridge))
    }

    /// What `start_network` would do. Changes nothing.
    #[pyo3(signature = (network))]
    fn plan_start(&self, py: Python<'_>, network: &Bound<'_, Network>) -> PyResult<Plan> {
        let network = &network.get().core;
        self.work(py, |core| core.plan_start(network)).map(Plan::of)
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
        self.change(py, |core| core.start_network(network))
    }

    /// What `stop_network` would do. Changes nothing. None for a network that is not started.
    #[pyo3(signature = (name, *, force=false))]
    fn plan_stop(&self, py: Python<'_>, name: Text, force: bool) -> PyResult<Option<Plan>> {
        let (name, guests) = (named(&name)?, fate(force));
        Ok(self.work(py, |core| core.plan_stop(&name, guests))?.map(Plan::of))
    }

    /// What `Host.stop_networks` is made of: what was done, and the errors, by network.
    fn _stop_networks<'py>(&self, py: Python<'py>, names: Option<Vec<Text>>, force: bool) -> PyResult<Several<'py>> {
        let guests = fate(force);
        let names =
            names.map(|names| names.iter().map(|name| named(name)).collect::<PyResult<Vec<_>>>()).transpose()?;
        self.change_several(py, |core, done| {
            core.stop_networks(names.as_deref(), |core, name| {
                self.go_on(*name)?;
                done.push((*name, core.stop_network(name, guests)?));
                Ok(())
            })
        })
    }

    /// Stops a network: puts back what starting it has changed, and nothing else. One that is not started is a success.
    ///
    /// Raises `Conflict` while guests are ports of the network's own bridge, or another network leaves through it; with `force` they
    /// are cut off.
    #[pyo3(signature = (name, *, force=false))]
    fn stop_network(&self, py: Python<'_>, name: Text, force: bool) -> PyResult<Applied> {
        let (name, guests) = (named(&name)?, fate(force));
        self.change(py, |core| core.stop_network(&name, guests))
    }

    /// The networks that are started, as they were described then.
    fn started_networks<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let started = self.work(py, |core| core.started_networks())?;
        let networks = started.into_iter().map(|started| Network::of(started.network));
        PyTuple::new(py, networks.collect::<PyResult<Vec<_>>>()?)
    }

    /// The names of the networks that are started, in the order in which they can be stopped: what leaves through a bridge before it.
    fn in_order_of_stop(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.work(py, |core| core.in_order_of_stop())?.iter().map(ToString::to_string).collect())
    }

    /// What `Host.start_networks` is made of: what was applied, and what failed, by names.
    fn _start_networks<'py>(&self, py: Python<'py>, networks: Vec<Bound<'py, Network>>) -> PyResult<Several<'py>> {
        let networks: Vec<_> = networks.iter().map(|network| network.get().core.clone()).collect();
        self.change_several(py, |core, done| {
            Ok(core.start_networks(&networks, |core, network| {
                self.go_on(network.name())?;
                done.push((network.name(), core.start_network(network)?));
                Ok(())
            }))
        })
    }

    /// What `Host.start_confirmed` is made of: what was applied, and whether the guard undoes it unless it is confirmed. `hears` is the number of the
    /// pipe to the guard. No Python runs while the guard is told: an exception of a signal's handler would come between.
    fn _start_confirmed(&self, py: Python<'_>, network: &Bound<'_, Network>, hears: i32) -> PyResult<(Applied, bool)> {
        let network = &network.get().core;
        // Without waiting: a guard that has ended reads no more.
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let hears = rustix::fs::open(format!("/proc/self/fd/{hears}"), flags, Mode::empty()).map_err(|e| {
            let message =
                format!("the start of network {} is not made: its guard cannot be told of it", network.name());
            let error = Error::new(ErrorKind::Io, message).with_object(network.name().as_str()).unchanged();
            raised(
                &error
                    .with_errno(Errno(e.raw_os_error()))
                    .with_hint("has it ended, is /proc there, are there free descriptors?"),
            )
        })?;
        let work = |core: &mut xennet_core::Host| {
            let mut is_pending = false;
            let applied = core.start_confirmed(network, |told| {
                let heard = tell_guard(hears.as_fd(), told);
                is_pending = heard && told == Told::Made;
                heard
            })?;
            Ok((applied, is_pending))
        };
        let tell = |interrupt: &Bound<'_, PyBaseException>, (applied, is_pending): &_| {
            told(interrupt, (Applied::from(applied), *is_pending))
        };
        let (applied, is_pending) = self.machine.change(py, work, tell)?;
        Ok((Applied::from(&applied), is_pending))
    }

    /// Confirms the last start of a network (`start_confirmed`): it stays. Any process may do that. Raises `NothingToUndo` if nobody waits
    /// for it, or not any more.
    #[pyo3(signature = (name))]
    fn confirm(&self, py: Python<'_>, name: Text) -> PyResult<()> {
        let name = named(&name)?;
        self.machine.change(py, |core| core.confirm(&name), |interrupt, ()| told(interrupt, py.None()))
    }

    /// The names of the networks whose last start waits for a confirmation.
    fn awaited(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.work(py, |core| core.awaited())?.iter().map(ToString::to_string).collect())
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

    /// The packets of guests that were dropped since their vifs were attached: `{"violations": [{"link": "vif5.0", "violation": "mac",
    /// "packets": 3, "bytes": 180}]}`, by link and class. Its cost grows with the number of counts, not with the host.
    fn violations<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let violations = self.work(py, |core| core.violations())?;
        to_python(py, &Violations::of(violations))
    }

    /// All that can be seen of the host, as one document, as `xennet record` writes it: `{"version": 1, "taken": ..., "snapshot": ...}`. What
    /// could not be looked at stands in it, in `unseen`. Its cost grows with the host.
    ///
    /// `file` has the descriptions of networks. With `anonymous` public addresses, hardware addresses and the names of the host and of domains
    /// are replaced by others.
    #[pyo3(signature = (*, file=None, anonymous=false))]
    fn record<'py>(&self, py: Python<'py>, file: Option<PathBuf>, anonymous: bool) -> PyResult<Bound<'py, PyAny>> {
        let recording = self.recorded(py, file)?;
        let document = py.detach(|| match anonymous {
            true => surroundings::anonymous(&recording).map(|recording| recording.to_json()),
            false => Ok(recording.to_json()),
        });
        parsed(py, &document.or_raise()?)
    }

    /// What happens to a packet on this host, as `xennet.trace` gives it: the host is recorded first. Nothing is sent, and nothing is changed.
    #[pyo3(signature = (source, target, /, protocol=None, port=None))]
    fn trace<'py>(
        &self,
        py: Python<'py>,
        source: Text,
        target: Text,
        protocol: Option<Text>,
        port: Option<Digits>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let recording = self.recorded(py, None)?;
        let document =
            py.detach(|| crate::trace::document(&recording, &source, &target, protocol.as_deref(), port.as_ref()));
        parsed(py, &document.or_raise()?)
    }

    /// What the networking of this host is: what `show` gives, and networks, routes, filters, who is where (`picture`), and what could not
    /// be looked at (`unseen`). Names of guests are there where xenstore tells them. Its cost grows with the host.
    fn overview<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let overview = self.seen(py)?;
        to_python(py, &overview)
    }

    /// What `Host.picture` is made of.
    fn _picture(&self, py: Python<'_>, form: &str, counters: bool, every_guest: bool) -> PyResult<String> {
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
        interface: Option<Text>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let wish = guest::wish([prefix, gateway, dns, search], no_gateway, dhcp, interface.as_deref())?;
        let attached = match &vif {
            OrText::Text(name) => VifId::from_vif_name(name),
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
        self.change(py, |core| core.apply_shown(&shown))
    }

    /// What `undo` would do. Nothing happens.
    #[pyo3(signature = (subject=None))]
    fn plan_undo(&self, py: Python<'_>, subject: Option<Text>) -> PyResult<Plan> {
        let subject = subject.map(|subject| subject.parse::<Subject>()).transpose().or_raise()?;
        let plan = self.work(py, |core| match subject {
            Some(subject) => core.plan_undo(subject),
            None => core.plan_undo_last(),
        })?;
        Ok(Plan::of(plan))
    }

    /// What `undo` without an argument would undo: the vif ("vif5.0"), bridge ("bridge-xenbr0") or network ("network-lan") that was changed
    /// last. None if nothing is recorded.
    fn last(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.work(py, |core| core.last())?.map(|subject| subject.to_string()))
    }

    /// What `recover` would do: a plan for each vif, bridge or network, by its name. Nothing happens. Raises what stands in the way of
    /// the first that cannot be recovered.
    fn plan_recover<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let plans = self.work(py, |core| core.plan_recover())?;
        let document = PyDict::new(py);
        for (subject, plan) in plans {
            document.set_item(subject.to_string(), Plan::of(plan.or_raise()?))?;
        }
        Ok(document)
    }

    /// Puts back what was there before the last operation on a vif ("vif5.0") or bridge ("xenbr0"); None for
    /// whatever was changed last.
    #[pyo3(signature = (subject=None))]
    fn undo(&self, py: Python<'_>, subject: Option<Text>) -> PyResult<Applied> {
        let subject = subject.map(|subject| subject.parse::<Subject>()).transpose().or_raise()?;
        self.change(py, |core| match subject {
            Some(subject) => core.undo(subject),
            None => core.undo_last(),
        })
    }

    /// The kernel's tidings of what changes where the host is; `Host.watch` is made of it.
    fn _events(&self, py: Python<'_>) -> PyResult<KernelEvents> {
        KernelEvents::listen(py, self.heard()?)
    }

    /// The same of links, one by one; `Host.link_events` is made of it.
    fn _link_events(&self, py: Python<'_>) -> PyResult<KernelLinkEvents> {
        KernelLinkEvents::listen(py, self.heard()?)
    }

    /// Has other things go wrong from now on, or nothing: what `Host.set_faults` is made of.
    fn _set_faults(&self, faults: &str) -> PyResult<()> {
        let faults = faults_of(faults)?;
        match &self.fake {
            Some(fake) => {
                self.machine.check_process()?;
                fake.change(|fake| fake.set_faults(faults));
                Ok(())
            }
            None => Err(raised(
                &Error::new(ErrorKind::Unsupported, "only a host whose world is in memory has faults")
                    .with_object("host")
                    .with_hint(
                        "Host.fake() without a state_dir, or with faults, has one; so has a rehearsal: Host.rehearse()",
                    ),
            )),
        }
    }

    /// Makes a pair of links that are connected with each other, in a sandbox: what netback's vif is there.
    fn _make_cable(&self, py: Python<'_>, name: Text, peer: Text) -> PyResult<()> {
        let (name, peer) = (named(&name)?, named(&peer)?);
        let step = Step::Link(LinkStep::Create { name, kind: NewLink::Veth { peer }, change: LinkChange::default() });
        self.work(py, |core| {
            core.backend().apply(&step).map_err(|e| {
                let made = Error::new(ErrorKind::Kernel, format!("link {name} cannot be made"));
                made.with_object(name.as_str()).with_errno(e.errno).unchanged()
            })
        })
    }

    /// The host as it is now, as a recording in the core's own form: what `Host.rehearse` begins with.
    fn _recorded(&self, py: Python<'_>, file: Option<PathBuf>) -> PyResult<String> {
        Ok(self.recorded(py, file)?.to_json())
    }

    /// Closes every operation that a crash left open: `[{"subject": "vif5.0", "outcome": "restored", "steps": 2}]`. Then puts back
    /// what somebody has taken away of what started networks and attached vifs need.
    fn recover<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let document = |recovered: &[(Subject, Recovered)]| {
            to_python(py, &recovered.iter().map(|(subject, how)| how.document(*subject)).collect::<Vec<_>>())
        };
        let work = |core: &mut xennet_core::Host| core.recover();
        let recovered = self.machine.change(py, work, |interrupt, recovered| told(interrupt, document(recovered)?))?;
        document(&recovered)
    }
}

/// Writes the result of a call on the exception that is raised in its place.
fn told<'py>(interrupt: &Bound<'py, PyBaseException>, result: impl IntoPyObject<'py>) -> PyResult<()> {
    let result = result.into_bound_py_any(interrupt.py())?;
    interrupt.setattr(intern!(interrupt.py(), "result"), result)
}

fn domain(digits: &Digits) -> PyResult<DomId> {
    digits.0.parse().or_raise()
}

fn several<'py>(
    py: Python<'py>,
    done: &[(IfName, xennet_core::exec::Applied)],
    failed: &[(IfName, Error)],
) -> PyResult<Several<'py>> {
    let (applied, failures) = (PyDict::new(py), PyDict::new(py));
    for (name, one) in done {
        applied.set_item(name.as_str(), Applied::from(one))?;
    }
    for (name, error) in failed {
        failures.set_item(name.as_str(), raised(error).into_value(py))?;
    }
    Ok((applied, failures))
}

fn fate(force: bool) -> Guests {
    if force { Guests::AreCutOff } else { Guests::MustHaveGone }
}

fn index(digits: Option<Digits>) -> PyResult<DevId> {
    digits.map_or(Ok(DevId::FIRST), |d| d.0.parse().or_raise())
}
