//! The front door: one value that plans, applies, verifies and undoes, for people who want one line.

mod records;
mod show;
mod undo;

use std::fmt;
use std::time::Duration;

use sha2::{Digest, Sha256};

use self::records::{Records, Session};
use crate::backend::Backend;
use crate::backend::fake::{Fake, Kept};
use crate::error::{Error, ErrorKind};
use crate::exec::{self, Applied, Entry, Freshness, Journal, MemoryJournal, StateDir, Subject, observe_for};
use crate::model::{Attach, Attachment, BridgeSpec, Detach, DevId, DomId, IfName, Intent, MacAddr, VifId, VifSpec};
use crate::plan::{self, Goal, Plan};
use crate::snapshot::{LinkKind, Part, Scope, Snapshot};

pub use show::{Shown, ShownBridge, ShownVif};
pub use undo::Recovered;

/// A Xen host, or a rehearsal of one.
///
/// Every method takes the lock of its vif or bridge, first recovers what a crashed run left open there, and leaves either
/// the wanted, verified state or the earlier one.
///
/// ```
/// use xennet_core::{DomId, Host, VifSpec};
///
/// let mut host = Host::fake(); // or Host::netlink()?
/// let vif: VifSpec = "mac=00:16:3e:01:02:03,bridge=xenbr0".parse()?;
/// println!("{}", host.plan_attach(DomId::new(5)?, &vif)?); // nothing happens
/// host.attach(DomId::new(5)?, &vif)?; // verified, or restored and told
/// # Ok::<(), xennet_core::Error>(())
/// ```
pub struct Host {
    backend: Box<dyn Backend + Send>,
    records: Records,
    deadline: Duration,
}

/// Where a vif's link is now.
struct Present {
    name: IfName,
    /// The record's, if the record is still about this link.
    index: Option<u32>,
    /// The bridge that we put it on.
    bridge: Option<IfName>,
}

impl Host {
    /// How long a call waits for another process that works on the same vif or bridge.
    pub const LOCK_DEADLINE: Duration = Duration::from_secs(10);

    /// The real kernel, in the calling thread's network namespace, with the state in `/run/xennet`.
    ///
    /// # Errors
    /// [`ErrorKind::Io`] or [`ErrorKind::Denied`] if no netlink socket can be opened.
    #[cfg(feature = "netlink")]
    pub fn netlink() -> Result<Host, Error> {
        let backend = crate::backend::netlink::Netlink::open()?;
        Ok(Host::with_backend(Box::new(backend)).with_state_dir(StateDir::at(StateDir::DEFAULT)))
    }

    /// A rehearsal in memory: [`Fake::example`], a host with an uplink `eth0`, a bridge `xenbr0`, and a netback that makes
    /// a vif when it is asked for. Nothing outlives the value.
    pub fn fake() -> Host {
        Host::with_backend(Box::new(Fake::example()))
    }

    /// A rehearsal that outlives the process: as [`fake`](Self::fake), with the world and the state kept in this directory.
    ///
    /// # Errors
    /// [`ErrorKind::StateUnusable`] if the directory holds a world that cannot be read.
    pub fn fake_in(dir: StateDir) -> Result<Host, Error> {
        Ok(Host::with_backend(Box::new(Kept::at(dir.path())?)).with_state_dir(dir))
    }

    /// Any backend; operations are remembered in memory until [`with_state_dir`](Self::with_state_dir) is called.
    pub fn with_backend(backend: Box<dyn Backend + Send>) -> Host {
        Host { backend, records: Records::Memory(Vec::new()), deadline: Host::LOCK_DEADLINE }
    }

    /// Remembers operations in this directory.
    #[must_use]
    pub fn with_state_dir(mut self, dir: StateDir) -> Host {
        self.records = Records::Dir(dir);
        self
    }

    /// Waits at most this long for another process that works on the same vif or bridge; 10 s by default.
    #[must_use]
    pub fn with_lock_deadline(mut self, deadline: Duration) -> Host {
        self.deadline = deadline;
        self
    }

    /// The backend, for looking around.
    pub fn backend(&mut self) -> &mut dyn Backend {
        &mut *self.backend
    }

    /// What attaching this vif would do. Changes nothing.
    ///
    /// The mode is bridge mode: `script=` must be absent or name `vif-bridge`. Without `bridge=` the only bridge of the
    /// host is taken; if there are several, or none, that is an error.
    ///
    /// # Errors
    /// As [`plan::plan`], and [`ErrorKind::Unsupported`] for a script of another mode.
    pub fn plan_attach(&mut self, domid: DomId, vif: &VifSpec) -> Result<Plan, Error> {
        let id = VifId::new(domid, vif.devid.unwrap_or(DevId::FIRST));
        let record = self.records.record(Subject::Vif(id))?;
        let (intent, notes) = self.attach_intent(id, vif, record.as_ref())?;
        Ok(self.plan(&intent)?.with_notes(notes))
    }

    /// Attaches a vif: a port of its bridge, up, with the backend's MAC and no addresses of its own.
    ///
    /// A second call with the same vif changes nothing; one with another bridge, name or MTU changes only that.
    ///
    /// # Errors
    /// As [`plan_attach`](Self::plan_attach); [`ErrorKind::Busy`], [`ErrorKind::StateFull`],
    /// [`ErrorKind::StateUnusable`] before anything is touched; [`ErrorKind::Denied`], [`ErrorKind::Kernel`],
    /// [`ErrorKind::NotVerified`] with the state the system was left in.
    pub fn attach(&mut self, domid: DomId, vif: &VifSpec) -> Result<Applied, Error> {
        let id = VifId::new(domid, vif.devid.unwrap_or(DevId::FIRST));
        let subject = Subject::Vif(id);
        let session = self.begin(subject)?;
        let (intent, notes) = self.attach_intent(id, vif, session.record())?;
        let plan = self.plan(&intent)?.with_notes(notes);
        let what = match &intent {
            Intent::Attach(Attach { attachment: Attachment::Bridge { bridge, .. }, .. }) => {
                format!("cannot attach {id} to bridge {bridge}")
            }
            _ => format!("cannot attach {id}"),
        };
        // A vif that is as wanted already, but not by our doing, is ours from now on.
        if plan.is_empty() && session.record().is_some() {
            return Ok(Applied::nothing(plan));
        }
        self.carry_out(session, subject, plan, Some(vif.to_string()), &what)
    }

    /// What detaching this vif would do. Changes nothing.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan_detach(&mut self, domid: DomId, devid: DevId) -> Result<Plan, Error> {
        let id = VifId::new(domid, devid);
        let record = self.records.record(Subject::Vif(id))?;
        let intent = self.detach_intent(id, record.as_ref())?;
        self.plan(&intent)
    }

    /// Detaches a vif: a port of nothing, down. A vif that is gone already is a success.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn detach(&mut self, domid: DomId, devid: DevId) -> Result<Applied, Error> {
        let id = VifId::new(domid, devid);
        let subject = Subject::Vif(id);
        let session = self.begin(subject)?;
        let intent = self.detach_intent(id, session.record())?;
        let plan = self.plan(&intent)?;
        if plan.is_empty() {
            let gone = plan.before().links.is_empty();
            let attached = session.record().is_some_and(|r| r.owned_link().is_some());
            if gone {
                // What is remembered of it has no use any more.
                self.forget(session, subject)?;
                return Ok(Applied::nothing(plan));
            }
            if !attached {
                return Ok(Applied::nothing(plan));
            }
            // Somebody else has detached it: now that is written down, with the name under which it is found again.
        }
        self.carry_out(session, subject, plan, None, &format!("cannot detach {id}"))
    }

    /// What making or changing this bridge would do. Changes nothing.
    ///
    /// # Errors
    /// As [`plan::plan`].
    pub fn plan_bridge(&mut self, bridge: &BridgeSpec) -> Result<Plan, Error> {
        let spec = self.bridge_with_mac(bridge)?;
        self.plan(&Intent::Bridge(spec))
    }

    /// Makes sure that a bridge exists with these settings. A new bridge without a MAC in the spec gets one that is derived
    /// from this machine's id and the bridge's name, so that it does not follow its ports.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn ensure_bridge(&mut self, bridge: &BridgeSpec) -> Result<Applied, Error> {
        let subject = Subject::Bridge(bridge.name);
        let session = self.begin(subject)?;
        let spec = self.bridge_with_mac(bridge)?;
        let plan = self.plan(&Intent::Bridge(spec))?;
        if plan.is_empty() {
            return Ok(Applied::nothing(plan));
        }
        self.carry_out(session, subject, plan, None, &format!("cannot set up bridge {}", bridge.name))
    }

    /// Takes the subject's lock, and closes what a crash left open.
    fn begin(&mut self, subject: Subject) -> Result<Session, Error> {
        match &self.records {
            Records::Dir(dir) => {
                let mut held = dir.hold(subject, self.deadline)?;
                self.recover_held(&mut held, subject)?;
                Ok(Session::Held(Box::new(held)))
            }
            Records::Memory(_) => Ok(Session::Memory(self.records.record(subject)?.map(Box::new))),
        }
    }

    fn look(&mut self, scope: &Scope) -> Result<Snapshot, Error> {
        self.backend.observe(scope).map_err(|e| e.into_observe_error())
    }

    fn plan(&mut self, intent: &Intent) -> Result<Plan, Error> {
        let now = observe_for(intent, &mut *self.backend).map_err(|e| e.into_observe_error())?;
        plan::plan(intent, &now).map_err(|e| match e.kind() {
            ErrorKind::BridgeNotFound | ErrorKind::NotABridge if e.hint().is_none() => match self.bridges() {
                Ok(bridges) if bridges.is_empty() => e.with_hint("there is no bridge here; make one first"),
                Ok(bridges) => e.with_hint(format!("bridges here: {}", joined(&bridges))),
                // The list is a courtesy; the error stands without it.
                Err(_) => e,
            },
            _ => e,
        })
    }

    /// The names of all bridges. A listing.
    fn bridges(&mut self) -> Result<Vec<IfName>, Error> {
        let all = self.look(&Scope::none().with(Part::Links))?;
        Ok(all.links.iter().filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, _)| *name).collect())
    }

    fn carry_out(
        &mut self,
        session: Session,
        subject: Subject,
        plan: Plan,
        text: Option<String>,
        what: &str,
    ) -> Result<Applied, Error> {
        match session {
            Session::Held(mut held) => carry_out_in(plan, &mut *self.backend, &mut held.journal(text), what),
            Session::Memory(record) => {
                let mut journal = MemoryJournal::new(subject, text, record.map(|r| *r));
                let applied = carry_out_in(plan, &mut *self.backend, &mut journal, what)?;
                self.records.replace(subject, journal.into_record());
                Ok(applied)
            }
        }
    }

    fn forget(&mut self, session: Session, subject: Subject) -> Result<(), Error> {
        match session {
            Session::Held(held) => held.forget(),
            Session::Memory(_) => {
                self.records.replace(subject, None);
                Ok(())
            }
        }
    }

    fn attach_intent(
        &mut self,
        id: VifId,
        vif: &VifSpec,
        record: Option<&Entry>,
    ) -> Result<(Intent, Vec<String>), Error> {
        let mut notes = Vec::new();
        if let Some(script) = &vif.script {
            let name = script.as_str().rsplit('/').next().unwrap_or_default();
            if name != "vif-bridge" {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("{id}: script={script} is not bridge mode, and only bridge mode is attached by a vif line"),
                )
                .with_object(script.as_str())
                .with_state("unchanged, nothing was applied")
                .with_hint("leave script= out, or write script=vif-bridge"));
            }
        }
        let bridge = match vif.bridge {
            Some(bridge) => bridge,
            None => {
                let only = self.only_bridge(id)?;
                notes.push(format!("no bridge= was given: {only} is the only bridge here"));
                only
            }
        };
        if let Some(backend) = &vif.backend {
            notes.push(format!(
                "backend={backend} is not looked at: the vif is attached in the domain that this runs in"
            ));
        }
        if !vif.ip.is_empty() {
            notes.push("ip= is kept in the record; it does not filter what the guest sends".to_owned());
        }
        let present = self.present_device(id, record)?;
        Ok((
            Intent::Attach(Attach {
                id,
                device: present.name,
                name: vif.vifname.unwrap_or(id.vif_name()),
                mtu: vif.mtu,
                recorded_bridge: present.bridge,
                attachment: Attachment::Bridge { bridge, vlan: vif.vlan.clone(), isolated: vif.isolated },
            }),
            notes,
        ))
    }

    fn detach_intent(&mut self, id: VifId, record: Option<&Entry>) -> Result<Intent, Error> {
        let present = self.present_device(id, record)?;
        Ok(Intent::Detach(Detach { id, device: present.name, index: present.index }))
    }

    /// Where the vif's link is now. A link keeps its index when it is renamed, so the record's index finds it under any
    /// name, and never finds another domain's link that took the name.
    ///
    /// Where the record's link is no more, the record is of an earlier life of the vif: netback's name decides, which by
    /// construction is this very vif's.
    fn present_device(&mut self, id: VifId, record: Option<&Entry>) -> Result<Present, Error> {
        let as_made = Present { name: id.vif_name(), index: None, bridge: None };
        let Some((index, name, goal)) = record.and_then(|e| e.link().map(|(i, n)| (i, n, &e.goal))) else {
            return Ok(as_made);
        };
        let seen = self.look(&Scope::none().with(Part::LinkIndex(index)))?;
        let bridge = match goal {
            Goal::Intent(Intent::Attach(Attach { attachment: Attachment::Bridge { bridge, .. }, .. })) => Some(*bridge),
            _ => None,
        };
        Ok(match seen.link_by_index(index) {
            Some((present, _)) if *present == name || *present == id.vif_name() => {
                Present { name: *present, index: Some(index), bridge }
            }
            // Gone, or the index belongs to a link that we know nothing of (indexes are not given out again soon, but the
            // state directory may be older than the kernel).
            _ => as_made,
        })
    }

    fn only_bridge(&mut self, id: VifId) -> Result<IfName, Error> {
        let bridges = self.bridges()?;
        match bridges[..] {
            [only] => Ok(only),
            [] => Err(Error::new(
                ErrorKind::BridgeNotFound,
                format!("{id}: no bridge= was given, and there is no bridge here"),
            )
            .with_hint("make a bridge first, then name it: bridge=NAME")),
            _ => Err(Error::new(
                ErrorKind::BridgeNotFound,
                format!("{id}: no bridge= was given, and there are several bridges here: {}", joined(&bridges)),
            )
            .with_hint("name one: bridge=NAME")),
        }
        .map_err(|e: Error| e.with_object(id.to_string()).with_state("unchanged, nothing was applied"))
    }

    fn bridge_with_mac(&mut self, bridge: &BridgeSpec) -> Result<BridgeSpec, Error> {
        let mut spec = bridge.clone();
        if spec.mac.is_none() && !self.look(&Scope::none().with(Part::Link(spec.name)))?.links.contains_key(&spec.name)
        {
            spec.mac = Some(mac_of_this_machine(&spec.name));
        }
        Ok(spec)
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("backend", &self.backend.capabilities()).finish_non_exhaustive()
    }
}

fn joined(names: &[IfName]) -> String {
    names.iter().map(IfName::as_str).collect::<Vec<_>>().join(", ")
}

fn carry_out_in(plan: Plan, on: &mut dyn Backend, journal: &mut dyn Journal, what: &str) -> Result<Applied, Error> {
    if plan.is_empty() {
        journal.begin(&plan)?;
        journal.commit()?;
        return Ok(Applied::nothing(plan));
    }
    exec::apply(&plan, on, journal, Freshness::JustObserved).map_err(|e| e.into_error(what))
}

/// A locally administered address that is the same after every boot and differs between machines: the first octets of
/// SHA-256 over the machine's id (`machine-id(5)`) and the link's name. Where there is no machine id the address is random.
fn mac_of_this_machine(name: &IfName) -> MacAddr {
    let mut hash = Sha256::new();
    match std::fs::read("/etc/machine-id") {
        Ok(id) if !id.is_empty() => hash.update(&id),
        _ => {
            let mut entropy = [0_u8; 16];
            // Without entropy the name alone decides, which is still better than a bridge without an address.
            let _ = rustix::rand::getrandom(&mut entropy, rustix::rand::GetRandomFlags::empty());
            hash.update(entropy);
        }
    }
    hash.update(name.as_str().as_bytes());
    let digest = hash.finalize();
    MacAddr::new([digest[0] & 0xfc | 0x02, digest[1], digest[2], digest[3], digest[4], digest[5]])
}
