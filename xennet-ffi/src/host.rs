//! The front door as C sees it.

#![allow(unsafe_code, reason = "#[unsafe(no_mangle)] alone; the test `rules` refuses anything else")]

use std::mem::MaybeUninit;
use std::time::Duration;

use xennet_core::config::networks;
use xennet_core::document::{PlannedRecovery, Recovered, Violations};
use xennet_core::exec::{Applied, Subject};
use xennet_core::picture::{Form, View};
use xennet_core::plan::ShownPlan;
use xennet_core::{BridgeSpec, Budget, DevId, DomId, Error, Overview, surroundings};

use crate::boundary::{Out, fallible, free, given};
use crate::cast::{self, Chars};
use crate::error::Failure;
use crate::log::{Call, Looked, Outcome, Sink};
use crate::plan::Plan;
use crate::sandbox::Namespace;
use crate::settings::{Settings, XENNET_BACKEND_FAKE, XENNET_BACKEND_NETLINK, XENNET_BACKEND_SANDBOX};
use crate::shared::Shared;
use crate::text::{Text, read_json};
use crate::vif;

/// A Xen host, or a rehearsal of one in memory, owned by the caller.
///
/// Several threads may use one at once: their calls wait for each other. After a fork(2) it is the parent's alone: in the child
/// every function but `xennet_host_free` refuses it with `XENNET_KIND_INVALID`, and the child opens one of its own.
pub struct Host {
    core: Shared<xennet_core::Host>,
    budget: Option<Duration>,
    log: Option<Sink>,
    /// Where its sockets are, if not where the threads are that use it: a sandbox.
    namespace: Option<Namespace>,
}

impl Host {
    pub(crate) fn opened(settings: &Settings, backend: u32) -> Result<Self, Error> {
        let namespace = (backend == XENNET_BACKEND_SANDBOX).then(Namespace::new).transpose()?;
        let core = match &namespace {
            Some(namespace) => namespace.run(|| settings.open(backend))?,
            None => settings.open(backend)?,
        };
        Ok(Host { core: Shared::new("host", core), budget: settings.budget, log: settings.log, namespace })
    }

    /// Whether it is in a network namespace that was made for it.
    pub(crate) fn is_sandbox(&self) -> bool {
        self.namespace.is_some()
    }

    /// All of the host's networking, with the names of guests where xenstore tells them.
    fn overview(&self, entry: &'static str) -> Result<Overview, Error> {
        self.work(entry, |core| surroundings::overview(core, networks::PATH.as_ref(), Some("/".as_ref())))
    }

    /// Looks at something of the host, alone; `entry` is the function that was called.
    pub(crate) fn work<R: Send>(
        &self,
        entry: &'static str,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<R, Error> + Send,
    ) -> Result<R, Error> {
        self.told(entry, |core| work(core).map(Looked)).map(|looked| looked.0)
    }

    /// Changes something on the host, and writes what was done for the caller, who may have no use for it.
    pub(crate) fn change(
        &self,
        entry: &'static str,
        done: Out<'_, Text>,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<Applied, Error> + Send,
    ) -> Result<(), Error> {
        self.change_after(entry, done, || Ok(()), work)
    }

    /// The same behind something that is waited for first. Meanwhile other calls may use the host.
    pub(crate) fn change_after(
        &self,
        entry: &'static str,
        done: Out<'_, Text>,
        wait: impl FnOnce() -> Result<(), Error>,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<Applied, Error> + Send,
    ) -> Result<(), Error> {
        let applied = self.logged(entry, || wait().and_then(|()| self.alone(work)))?;
        if let Some(done) = done {
            done.write(Some(Box::new(Text::json(&applied))));
        }
        Ok(())
    }

    /// Does something with the host, alone, and tells the program's log what came of it.
    pub(crate) fn told<R: Outcome + Send>(
        &self,
        entry: &'static str,
        work: impl FnOnce(&mut xennet_core::Host) -> Result<R, Error> + Send,
    ) -> Result<R, Error> {
        self.logged(entry, || self.alone(work))
    }

    /// Does something, and tells the program's log what came of it.
    fn logged<R: Outcome>(&self, entry: &'static str, body: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
        let call = Call::begin(entry);
        let result = body();
        call.tell(self.log.as_ref(), &result);
        result
    }

    /// Does something with the host, alone, in its namespace and within the time that a call may take.
    fn alone<R: Send>(&self, work: impl FnOnce(&mut xennet_core::Host) -> Result<R, Error> + Send) -> Result<R, Error> {
        self.core.work(|core| {
            if let Some(time) = self.budget {
                core.set_budget(Budget::of(time));
            }
            match &self.namespace {
                Some(namespace) => namespace.run(|| work(core)),
                None => work(core),
            }
        })
    }
}

/// Opens the kernel's networking, in the calling thread's network namespace; the handle stays in that namespace.
///
/// \param state_dir Where journals, locks and records are kept: a path without final zero; NULL for `/run/xennet`.
/// \param state_dir_len Its length in bytes; 0 for `/run/xennet`.
/// \param host Gets the handle.
/// \return NULL on success; else `XENNET_KIND_IO` or `XENNET_KIND_DENIED` if no netlink socket can be opened;
///   `XENNET_KIND_INVALID` for a path with a zero byte in it.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_new_netlink(
    state_dir: Chars,
    state_dir_len: usize,
    host: Option<&mut MaybeUninit<Option<Box<Host>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_new_netlink", || {
        let host = given(host, "host")?;
        let state_dir = cast::path(&state_dir, state_dir_len, "state_dir")?;
        let mut settings = Settings::default();
        if !state_dir.is_empty() {
            settings.keep_state_in(state_dir)?;
        }
        host.write(Some(Box::new(Host::opened(&settings, XENNET_BACKEND_NETLINK)?)));
        Ok(())
    })
}

/// Opens a rehearsal in memory: a host with an uplink `eth0`, a bridge `xenbr0`, and a netback that makes a vif when it is
/// asked for. It needs no permission, and touches nothing real. Nothing outlives the handle.
///
/// \param host Gets the handle.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_new_fake(host: Option<&mut MaybeUninit<Option<Box<Host>>>>) -> Option<Box<Failure>> {
    fallible("xennet_host_new_fake", || {
        given(host, "host")?.write(Some(Box::new(Host::opened(&Settings::default(), XENNET_BACKEND_FAKE)?)));
        Ok(())
    })
}

/// Closes a host. What was attached stays attached. NULL is fine. No other thread may be using it.
///
/// It does not wait: where closing takes the kernel some milliseconds (what was removed from nftables), a thread of the library's
/// does it, which ends within a few tenths of a second. A program that ends earlier loses nothing.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_free(host: Option<Box<Host>>) {
    free(host);
}

/// What `xennet_host_attach` would do. Changes nothing.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
/// \param vif_len Its length in bytes.
/// \param plan Gets the plan.
/// \return NULL on success; else an error, for example `XENNET_KIND_INVALID`, `XENNET_KIND_LINK_NOT_FOUND`,
///   `XENNET_KIND_BRIDGE_NOT_FOUND`, `XENNET_KIND_NOT_A_BRIDGE`, `XENNET_KIND_NAME_TAKEN`, `XENNET_KIND_PORT_OF_OTHER`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_attach(
    host: Option<&Host>,
    domid: u32,
    vif: Chars,
    vif_len: usize,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_attach", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let (domid, (vif, notes)) = (DomId::new(domid)?, vif::spec(&vif, vif_len)?);
        let made = host.work("xennet_host_plan_attach", |core| core.plan_attach(domid, &vif))?.with_notes(notes);
        plan.write(Some(Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Attaches a vif. In bridge mode it becomes a port of its bridge, up, with the backend's MAC and no addresses of its own. In NAT and
/// routed mode (`bridge=` names a started network of that mode, or `script=` is vif-nat or vif-route) it goes up with this domain's
/// address on it and a route to each of the guest's. With addresses in `ip=` the guest may send from these only. The state is
/// verified, or the earlier state is restored and the error says so (`xennet_error_state`). A second call with the same vif changes
/// nothing.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param vif A vif line in the strict dialect, or a JSON document with libxl's field names (`xennet_vif_parse`).
/// \param vif_len Its length in bytes.
/// \param done Gets a JSON document, `{"steps": 3, "notes": []}`: how many steps were carried out, and what the caller should know
///   besides, a sentence each. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_plan_attach`, or for example `XENNET_KIND_DENIED`,
///   `XENNET_KIND_BUSY`, `XENNET_KIND_STATE_FULL`, `XENNET_KIND_KERNEL`, `XENNET_KIND_NOT_VERIFIED`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_attach(
    host: Option<&Host>,
    domid: u32,
    vif: Chars,
    vif_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_attach", || {
        let host = given(host, "host")?;
        let (domid, (vif, notes)) = (DomId::new(domid)?, vif::spec(&vif, vif_len)?);
        host.change("xennet_host_attach", done, |core| {
            let mut applied = core.attach(domid, &vif)?;
            applied.notes.extend(notes);
            Ok(applied)
        })
    })
}

/// What `xennet_host_detach` would do. Changes nothing.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param devid The vif's index in the domain, 0 to 65535.
/// \param plan Gets the plan.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_detach(
    host: Option<&Host>,
    domid: u32,
    devid: u32,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_detach", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let (domid, devid) = (DomId::new(domid)?, DevId::new(devid)?);
        let made = host.work("xennet_host_plan_detach", |core| core.plan_detach(domid, devid))?;
        plan.write(Some(Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Detaches a vif: takes it off its bridge, sets it down, and removes the addresses, routes and rules that were made for it. Succeeds if the vif is
/// gone already.
///
/// \param host The host.
/// \param domid The domain's number, 0 to 32751.
/// \param devid The vif's index in the domain, 0 to 65535.
/// \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_attach`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_detach(
    host: Option<&Host>,
    domid: u32,
    devid: u32,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_detach", || {
        let host = given(host, "host")?;
        let (domid, devid) = (DomId::new(domid)?, DevId::new(devid)?);
        host.change("xennet_host_detach", done, |core| core.detach(domid, devid))
    })
}

/// What `xennet_host_ensure_bridge` would do. Changes nothing.
///
/// \param host The host.
/// \param bridge A JSON document, as `xennet_host_ensure_bridge` takes it.
/// \param bridge_len Its length in bytes.
/// \param plan Gets the plan.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_bridge(
    host: Option<&Host>,
    bridge: Chars,
    bridge_len: usize,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_bridge", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let bridge: BridgeSpec = read_json(cast::text(&bridge, bridge_len, "bridge")?, "bridge")?;
        let made = host.work("xennet_host_plan_bridge", |core| core.plan_bridge(&bridge))?;
        plan.write(Some(Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Makes sure that a bridge exists with these settings, and is up.
///
/// \param host The host.
/// \param bridge A JSON document: `{"name": "xenbr0"}`, and where they matter `"stp"` (false unless given), `"mac"`,
///   `"mtu"` (bytes), `"vlan_filtering"`, `"forward_delay_ms"` (0 unless given; 30000 at most, with `"stp"` 2000 at least). A setting that is
///   left out keeps its value on a bridge that exists.
/// \param bridge_len Its length in bytes.
/// \param done Gets a JSON document, `{"steps": 1, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_attach`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_ensure_bridge(
    host: Option<&Host>,
    bridge: Chars,
    bridge_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_ensure_bridge", || {
        let host = given(host, "host")?;
        let bridge: BridgeSpec = read_json(cast::text(&bridge, bridge_len, "bridge")?, "bridge")?;
        host.change("xennet_host_ensure_bridge", done, |core| core.ensure_bridge(&bridge))
    })
}

/// What there is: the vifs that were attached by xennet, and all bridges with their ports. Its cost grows with the host.
///
/// \param host The host.
/// \param document Gets a JSON document: `{"vifs": [{"vif", "domid", "devid", "link", "mode", "network", "bridge", "up", "mtu", "spec",
///   "obstacles", "missing"}], "bridges": [{"bridge", "mac", "mtu", "up", "ports"}]}`. Of a vif: `link` is its link's
///   present name, or null if the link is gone; `mode` is "bridge", "nat" or "routed"; `network` is the started network that routes connect it to, or
///   null; `bridge` is the bridge that it is a port of, or null; `spec` is the vif line that it was attached with; `obstacles` says what keeps
///   packets from or to its guest: a newer guest with its addresses, another firewall; `missing` says what the vif needs and has lost, a text for
///   each change that `xennet_host_recover` would make.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_show(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_show", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let shown = host.work("xennet_host_show", |core| core.show())?;
        document.write(Some(Box::new(Text::json(&shown))));
        Ok(())
    })
}

/// What the networking of this host is, in one document. Changes nothing. Its cost grows with the host.
///
/// \param host The host.
/// \param document Gets a JSON document: the members of `xennet_host_show`, and `{"networks": [{"network", "mode", "state", "outside",
///   "bridge", "subnets", "vifs", "missing", "elsewhere"}], "routes": [{"destination", "ways", "by"}], "guest_routes": 0, "filters":
///   [{"table", "own", "rules", "drops"}], "made_by": {}, "managers": [], "picture": {"about", "uplinks", "hubs", "notes"}, "unseen": [{"what",
///   "why"}]}`. `state` is "started", "damaged" or "unconfirmed" by what is there, or null if not all that it needs could be looked
///   at; `made_by` says of each link who has made it; `managers` are programs that may take guests' links; the ports of the picture's hubs have
///   guests' names, addresses, filters and counters; `unseen` is what could not be looked at.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_overview(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_overview", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        document.write(Some(Box::new(Text::json(&host.overview("xennet_host_overview")?))));
        Ok(())
    })
}

/// The packets of guests that were dropped since their vifs were attached. Changes nothing. Its cost grows with the number of counts, not with
/// the host.
///
/// \param host The host.
/// \param document Gets a JSON document: `{"violations": [{"link": "vif5.0", "violation": "mac", "packets": 3, "bytes": 180}]}`, by link and
///   class. `violation` is "bridge-control", "vlan", "mac", "address", "protocol", "router", "dhcp-server", "unreadable", "closed",
///   "isolated", "host" or "lan"; a later version may have more. `link` is the vif's link, its emulated twin's, or
///   the private bridge that the guests share. `bytes` are without the ethernet headers.
/// \return NULL on success.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_violations(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_violations", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let violations = host.work("xennet_host_violations", |core| core.violations())?;
        document.write(Some(Box::new(Text::json(&Violations::of(violations)))));
        Ok(())
    })
}

/// Draws the networking of this host: outside, gateway, uplinks, bridges and routes, vifs, guests. Changes nothing.
///
/// \param host The host.
/// \param form "text" (100 columns), "svg", "dot", "mermaid", or "json" for the model.
/// \param form_len Its length in bytes.
/// \param picture Gets the picture in that form.
/// \return NULL on success; else `XENNET_KIND_INVALID` for another form.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_picture(
    host: Option<&Host>,
    form: Chars,
    form_len: usize,
    picture: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_picture", || {
        let (host, picture) = (given(host, "host")?, given(picture, "picture")?);
        let form: Form = cast::text(&form, form_len, "form")?.parse()?;
        picture.write(Some(Box::new(Text::new(
            &host.overview("xennet_host_picture")?.picture.to_form(form, &View::new()),
        ))));
        Ok(())
    })
}

/// Carries out a plan exactly as it was shown, or changes nothing and says what differs by now. The host plans again and compares the steps; if they
/// are the same, it carries them out as the function would that the plan is of. The host need not be the one that made the plan.
///
/// \param host The host.
/// \param plan The plan.
/// \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
/// \return NULL on success; else `XENNET_KIND_STALE` if the steps differ by now, and nothing was changed; or an error as of the
///   function that the plan is of.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_apply(
    host: Option<&Host>,
    plan: Option<&Plan>,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_apply", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let shown = plan.shown()?;
        host.change("xennet_host_apply", done, |core| core.apply_shown(shown))
    })
}

/// Does what `xennet_host_apply` does with a plan that was kept as a JSON document (`xennet_plan_json`), perhaps by another process.
///
/// \param host The host.
/// \param json The document.
/// \param json_len Its length in bytes.
/// \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_apply`, or `XENNET_KIND_INVALID` if it is no document of a plan.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_apply_json(
    host: Option<&Host>,
    json: Chars,
    json_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_apply_json", || {
        let host = given(host, "host")?;
        let shown = ShownPlan::from_json(cast::text(&json, json_len, "json")?)?;
        host.change("xennet_host_apply_json", done, |core| core.apply_shown(&shown))
    })
}

/// What `xennet_host_undo` would do. Changes nothing.
///
/// \param host The host.
/// \param subject `vif5.0`, a bridge's name or `bridge-NAME`, or `network-NAME`; NULL for whatever was changed last.
/// \param subject_len Its length in bytes; 0 for whatever was changed last.
/// \param plan Gets the plan.
/// \return NULL on success; else an error, for example `XENNET_KIND_NOTHING_TO_UNDO`, or `XENNET_KIND_CONFLICT` if others use by now
///   what undoing would remove.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_undo(
    host: Option<&Host>,
    subject: Chars,
    subject_len: usize,
    plan: Option<&mut MaybeUninit<Option<Box<Plan>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_undo", || {
        let (host, plan) = (given(host, "host")?, given(plan, "plan")?);
        let subject = undone(&subject, subject_len)?;
        let made = host.work("xennet_host_plan_undo", |core| match subject {
            Some(subject) => core.plan_undo(subject),
            None => core.plan_undo_last(),
        })?;
        plan.write(Some(Box::new(Plan::new(&made))));
        Ok(())
    })
}

/// Puts back what was there before the last operation on a vif, a bridge or a network.
///
/// \param host The host.
/// \param subject `vif5.0`, a bridge's name or `bridge-NAME`, or `network-NAME`; NULL for whatever was changed last.
/// \param subject_len Its length in bytes; 0 for whatever was changed last.
/// \param done Gets a JSON document, `{"steps": 3, "notes": []}`. May be NULL.
/// \return NULL on success; else an error as of `xennet_host_attach`, or `XENNET_KIND_NOTHING_TO_UNDO`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_undo(
    host: Option<&Host>,
    subject: Chars,
    subject_len: usize,
    done: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_undo", || {
        let host = given(host, "host")?;
        let subject = undone(&subject, subject_len)?;
        host.change("xennet_host_undo", done, |core| match subject {
            Some(subject) => core.undo(subject),
            None => core.undo_last(),
        })
    })
}

/// What `xennet_host_recover` would do, for each vif, bridge and network of which an operation was interrupted or which lacks something.
/// Changes nothing.
///
/// \param host The host.
/// \param document Gets a JSON document: `{"version": 1, "plans": [{"subject": "vif5.0", "plan": {}, "error": null}]}`. `plan` is a document as of
///   `xennet_plan_json`, which `xennet_host_apply_json` carries out; where it has no steps its notes say what is to be done. `error` is
///   what stands in the way of this one, a document as of `xennet_error_json`; then `plan` is null.
/// \return NULL on success; else an error, for example `XENNET_KIND_STATE_UNUSABLE`.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_plan_recover(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_plan_recover", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        document.write(Some(Box::new(recoveries(host)?)));
        Ok(())
    })
}

/// Closes every operation that a crash left open: finished if its goal had been reached, else undone. The other functions
/// do the same for the vif, bridge or network they are about. Then puts back what somebody has taken away of what started networks and
/// attached vifs need: rules and elements of nft tables, ports, names, routes, settings.
///
/// \param host The host.
/// \param document Gets a JSON document: `{"version": 1, "recovered": [{"subject": "vif5.0", "outcome": "restored", "steps": 2}]}`;
///   `outcome` is "finished", "restored", "gone", "cleared", "mended" (`done`: what was put back, a text each) or "left" (`why`: what stands
///   in the way), a bridge is `bridge-NAME`, a network `network-NAME`.
/// \return NULL on success; else for example `XENNET_KIND_INTERRUPTED` if a state cannot be put back.
#[unsafe(no_mangle)]
pub extern "C" fn xennet_host_recover(
    host: Option<&Host>,
    document: Option<&mut MaybeUninit<Option<Box<Text>>>>,
) -> Option<Box<Failure>> {
    fallible("xennet_host_recover", || {
        let (host, document) = (given(host, "host")?, given(document, "document")?);
        let recovered = host.work("xennet_host_recover", xennet_core::Host::recover)?;
        document.write(Some(Box::new(Text::json(&Recovered::of(&recovered)))));
        Ok(())
    })
}

/// The document of what recovering would do.
fn recoveries(host: &Host) -> Result<Text, Error> {
    let plans = host.work("xennet_host_plan_recover", xennet_core::Host::plan_recover)?;
    Ok(Text::json(&PlannedRecovery::of(&plans)))
}

/// What is to be undone; `None` for whatever was changed last.
fn undone(subject: &Chars, len: usize) -> Result<Option<Subject>, Error> {
    match cast::text(subject, len, "subject")? {
        "" => Ok(None),
        text => text.parse().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use xennet_core::ErrorKind;
    use xennet_core::backend::fake::Fake;
    use xennet_core::backend::{Backend, BackendError, Capabilities};
    use xennet_core::snapshot::{Scope, Snapshot};
    use xennet_core::step::{LinkChange, LinkRef, LinkStep, NewMaster, Step};
    use xennet_tests::Shared;

    #[test]
    fn recovering_is_planned_and_each_plan_can_be_carried_out() {
        let shared = Shared::new(Fake::example());
        let host = opened(shared.clone());
        shared.change(|fake| fake.add_vif(xennet_core::VifId::new(DomId::new(5).unwrap(), DevId::FIRST)));
        host.work("test", |core| core.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)).unwrap();
        assert_eq!(recoveries(&host).unwrap().document(), json!({ "version": 1, "plans": [] }));
        // Somebody takes the vif off its bridge.
        let change = LinkChange::default().with_master(NewMaster::None);
        let off = Step::Link(LinkStep::Set { link: LinkRef::named("vif5.0".parse().unwrap()), change });
        shared.clone().apply(&off).unwrap();
        let document = recoveries(&host).unwrap().document();
        let [item] = document["plans"].as_array().unwrap().as_slice() else { panic!("{document}") };
        assert_eq!((&item["subject"], &item["error"]), (&json!("vif5.0"), &Value::Null), "{document}");
        let shown = ShownPlan::from_json(&item["plan"].to_string()).unwrap();
        assert!(host.work("test", |core| core.apply_shown(&shown)).unwrap().steps > 0);
        assert_eq!(recoveries(&host).unwrap().document(), json!({ "version": 1, "plans": [] }));
        // What cannot be put back is told by the plan.
        shared.change(|fake| fake.remove_hardware(&"xenbr0".parse().unwrap()));
        let document = recoveries(&host).unwrap().document();
        let plan = &document["plans"][0]["plan"];
        assert!(plan["notes"][0].as_str().unwrap().contains("is left as it is"), "{document}");
        assert_eq!(plan["steps"], json!([]));
    }

    fn opened(backend: impl Backend + Send + 'static) -> Host {
        let core = xennet_core::Host::with_backend(Box::new(backend));
        Host { core: crate::shared::Shared::new("host", core), budget: None, log: None, namespace: None }
    }

    struct Defect;

    impl Backend for Defect {
        fn capabilities(&self) -> Capabilities {
            Capabilities::full("defect")
        }

        fn observe(&mut self, _: &Scope) -> Result<Snapshot, BackendError> {
            panic!("looking")
        }

        fn apply(&mut self, _: &Step) -> Result<(), BackendError> {
            panic!("doing")
        }
    }

    #[test]
    fn a_defect_stays_inside_and_the_handle_refuses_work_from_then_on() {
        let host = opened(Defect);
        let mut document = MaybeUninit::uninit();
        let first = xennet_host_show(Some(&host), Some(&mut document)).unwrap();
        assert_eq!(first.message(), "xennet_host_show: xennet has a defect: looking");
        let second = xennet_host_detach(Some(&host), 5, 0, None).unwrap();
        assert_eq!(second.kind(), u32::from(ErrorKind::Internal.number()));
        assert!(second.message().starts_with("host refuses work"), "{}", second.message());
        xennet_host_free(Some(Box::new(host)));
    }
}
