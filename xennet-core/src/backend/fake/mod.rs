//! The kernel in memory: a world, the transition function, and faults on demand.
//!
//! A toolstack rehearses with it on a machine without Xen and without root; the tests drive it through every fault.
//!
//! ```
//! use xennet_core::backend::{Backend, fake::Fake};
//! use xennet_core::snapshot::Scope;
//!
//! let mut fake = Fake::example();
//! let seen = fake.observe(&Scope::network())?;
//! assert!(seen.render().contains("ip link set eth0 master xenbr0"));
//! # Ok::<(), xennet_core::backend::BackendError>(())
//! ```

mod defaults;
mod fault;
mod kept;
mod learned;

use ipnetwork::IpNetwork;

use super::{Backend, BackendError, Capabilities, Missed};
use crate::error::{Errno, Error, ErrorKind};
use crate::model::{IfName, MacAddr, VifId};
use crate::snapshot::{
    Address, Details, Family, Link, LinkDetails, LinkKind, OperState, PortForwarding, Route, Rule, RuleAction, Scope,
    Snapshot, StoreNode, StorePath, StorePermission,
};
use crate::step::{self, AddrStep, BridgeChange, LinkChange, LinkRef, LinkStep, NewLink, RouteStep, Step};

pub use fault::Fault;
pub use kept::Kept;
pub use learned::Connection;

/// The largest MTU of a vif (`drivers/net/xen-netback/interface.c`: `ETH_MAX_MTU - VLAN_ETH_HLEN`).
const VIF_MAX_MTU: u32 = 65517;

/// What an unanswered call is answered with after [`Fault::CrashAfter`].
const CRASHED: &str = "the process was killed by a fault";

/// The same for every rehearsal, whatever machine it is on.
const MACHINE_ID: &[u8] = b"a rehearsal of xennet";

/// A backend whose kernel is a value in memory.
#[derive(Clone, Debug)]
pub struct Fake {
    world: Snapshot,
    netback: Netback,
    faults: Vec<Fault>,
    steps: usize,
    observations: usize,
    crashed: bool,
    machine_id: Vec<u8>,
    details: Details,
    connections: Vec<Connection>,
}

/// Whether vifs come into being when they are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Netback {
    /// A vif is there if somebody put it into the world.
    #[default]
    Absent,
    /// A link called `vif<domid>.<devid>` springs into being when it is first named by an observation or a step, as
    /// netback makes it: down, `fe:ff:ff:ff:ff:ff`, 1500 bytes. One that was named and removed does not come back by itself.
    Plays,
}

impl Default for Fake {
    fn default() -> Self {
        Fake::empty()
    }
}

impl Fake {
    /// A fresh network namespace: loopback, down, and the settings that Linux 6.18 gives it.
    pub fn empty() -> Self {
        let mut world = Snapshot { sysctls: defaults::settings(), ..Snapshot::default() };
        let lo = Link {
            kind: LinkKind::Loopback,
            mac: Some(MacAddr::new([0; 6])),
            mtu: 65536,
            mtu_range: (0, 0),
            multicast: false,
            ..hardware(1)
        };
        world.links.insert(IfName::literal("lo"), lo);
        for (family, tables) in [(Family::Ipv4, &[255, 254, 253][..]), (Family::Ipv6, &[255, 254])] {
            for (table, priority) in tables.iter().zip([0, 32766, 32767]) {
                let rule = Rule::for_all(family, priority, RuleAction::Table(*table));
                world.rules.insert(Rule { protocol: 2, ..rule });
            }
        }
        let root =
            StoreNode { value: Vec::new(), permissions: vec![StorePermission { domid: 0, read: false, write: false }] };
        world.store.insert("/".parse::<StorePath>().expect("the root is a path"), root);
        Fake::with_world(world)
    }

    /// A backend over this world. Whatever the world does not hold does not exist.
    pub fn with_world(mut world: Snapshot) -> Self {
        world.hidden.whole = true;
        world.hidden.last_index =
            world.links.values().map(|l| l.index).chain([world.hidden.last_index]).max().unwrap_or(0);
        for bridge in world.links.values_mut().filter_map(|l| l.bridge.as_mut()) {
            bridge.mac_fixed = bridge.mac_fixed.or(Some(false));
            bridge.mtu_fixed = bridge.mtu_fixed.or(Some(false));
        }
        Fake {
            world,
            netback: Netback::Absent,
            faults: Vec::new(),
            steps: 0,
            observations: 0,
            crashed: false,
            machine_id: MACHINE_ID.to_vec(),
            details: Details::default(),
            connections: Vec::new(),
        }
    }

    /// A small dom0: loopback, the uplink `eth0` and the bridge `xenbr0` with `192.0.2.2/24`, the default route via
    /// `192.0.2.1`, `eth0` a port of `xenbr0`; netback plays along.
    pub fn example() -> Self {
        let mut fake = Fake::empty().with_netback(Netback::Plays);
        let (lo, eth0, xenbr0) = (IfName::literal("lo"), IfName::literal("eth0"), IfName::literal("xenbr0"));
        let uplink = MacAddr::new([0x00, 0x00, 0x5e, 0x00, 0x53, 0x01]);
        fake.add_hardware(eth0, Link { mac: Some(uplink), ..hardware(0) });
        let up = |name: IfName, change: LinkChange| {
            Step::Link(LinkStep::Set { link: LinkRef::named(name), change: LinkChange { up: Some(true), ..change } })
        };
        let bridge = BridgeChange { stp: Some(false), forward_delay_cs: Some(0), ..BridgeChange::default() };
        let own: IpNetwork = "192.0.2.2/24".parse().expect("a network of RFC 5737");
        let gateway = "192.0.2.1".parse().expect("an address of RFC 5737");
        let steps = [
            up(lo, LinkChange::default()),
            Step::Link(LinkStep::Create {
                name: xenbr0,
                kind: NewLink::Bridge,
                change: LinkChange { mac: Some(uplink), bridge, ..LinkChange::default() },
            }),
            up(
                eth0,
                LinkChange {
                    master: Some(step::NewMaster::Bridge(LinkRef::named(xenbr0))),
                    addr_gen_mode: Some(crate::snapshot::AddrGenMode::None),
                    ..LinkChange::default()
                },
            ),
            up(xenbr0, LinkChange::default()),
            Step::Addr(AddrStep::Add(Address {
                broadcast: Some(std::net::Ipv4Addr::new(192, 0, 2, 255)),
                ..Address::new(xenbr0, own)
            })),
            Step::Route(RouteStep::Add(Route {
                gateway: Some(gateway),
                scope: 0,
                ..Route::to("0.0.0.0/0".parse().expect("the default route"), xenbr0)
            })),
        ];
        for s in &steps {
            step::step(&mut fake.world, s).expect("the example is built of steps that succeed");
        }
        fake
    }

    /// What tells this system from others.
    #[must_use]
    pub fn with_machine_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.machine_id = id.into();
        self
    }

    /// What is no state. Of a link that is not in it, the carrier follows from the world: a link that is up has one.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = details;
        self
    }

    /// What is no state, to be changed by hand.
    pub fn details_mut(&mut self) -> &mut Details {
        &mut self.details
    }

    /// Whether vifs spring into being when they are named.
    #[must_use]
    pub fn with_netback(mut self, netback: Netback) -> Self {
        self.netback = netback;
        self
    }

    /// Puts faults in. Steps and observations are counted from here.
    #[must_use]
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = Fault>) -> Self {
        self.set_faults(faults);
        self
    }

    /// Puts other faults in, or none. Steps and observations are counted from here.
    pub fn set_faults(&mut self, faults: impl IntoIterator<Item = Fault>) {
        self.faults = faults.into_iter().collect();
        self.steps = 0;
        self.observations = 0;
        self.crashed = false;
    }

    /// The world as it is, with what no observer sees.
    pub fn world(&self) -> &Snapshot {
        &self.world
    }

    /// The world, to be changed by hand, as hardware and other programs do.
    pub fn world_mut(&mut self) -> &mut Snapshot {
        &mut self.world
    }

    /// Takes the world out, also after a crash.
    pub fn into_world(self) -> Snapshot {
        self.world
    }

    /// Whether a [`Fault::CrashAfter`] has struck.
    pub fn has_crashed(&self) -> bool {
        self.crashed
    }

    /// How many steps were asked for since the faults were put in, without those that [forget](Step::Forget): no plan has them.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// A link appears that no step makes: hardware, or a vif of netback. It gets the next index, and settings.
    pub fn add_hardware(&mut self, name: IfName, link: Link) {
        step::appear(&mut self.world, name, link);
    }

    /// A vif as netback makes it: down, `fe:ff:ff:ff:ff:ff`, 1500 bytes.
    ///
    /// Source: `drivers/net/xen-netback/interface.c`, `xenvif_alloc`.
    pub fn add_vif(&mut self, id: VifId) {
        self.add_hardware(id.vif_name(), vif());
    }

    /// A vif goes, with all that hangs on it, as netback takes it away when its domain ends. Nothing happens if there is none.
    ///
    /// No step does this: the kernel refuses to delete a vif, which has no `dellink` operation, with `EOPNOTSUPP`.
    pub fn remove_vif(&mut self, id: VifId) {
        self.remove_hardware(&id.vif_name());
    }

    /// A link goes that no step removes, with all that hangs on it: hardware that is pulled out, or a vif that was renamed.
    /// Nothing happens if there is none.
    pub fn remove_hardware(&mut self, name: &IfName) {
        if self.world.links.contains_key(name) {
            step::vanish(&mut self.world, name);
        }
    }

    /// The world as a JSON document, to be [loaded](Self::load) later.
    pub fn save(&self) -> String {
        serde_json::to_string(&self.world).expect("a world holds only what JSON can say")
    }

    /// A backend over a world that was [saved](Self::save).
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a text that is no such document.
    pub fn load(text: &str) -> Result<Self, Error> {
        crate::read::json(text).map(Fake::with_world).map_err(|e| {
            Error::new(ErrorKind::Invalid, format!("the saved world cannot be read: {e}"))
                .with_hint("it is a document that an earlier fake wrote; remove it to start afresh")
        })
    }

    /// Netback plays along: a vif that is named for the first time comes into being.
    fn vif_appears(&mut self, name: &IfName) {
        if self.netback == Netback::Plays
            && !self.world.links.contains_key(name)
            && VifId::from_vif_name(name.as_str()).is_some()
            && !self.world.hidden.vifs_seen.contains(name)
        {
            self.world.hidden.vifs_seen.insert(*name);
            self.add_hardware(*name, vif());
        }
    }

    fn alive(&self, object: &str) -> Result<(), BackendError> {
        if self.crashed {
            return Err(BackendError::new(Errno::EIO, object).with_message(CRASHED));
        }
        Ok(())
    }

    fn fault(&self, at: usize) -> Option<&Fault> {
        self.faults.iter().find(|f| match f {
            Fault::FailAt { step, .. } | Fault::HalfApply { step } | Fault::LieOnce { step } => *step == at,
            _ => false,
        })
    }

    fn perform(&mut self, step: &Step) -> Result<(), BackendError> {
        match step::step(&mut self.world, step) {
            Ok(_) => {
                if let Step::Forget(step) = step {
                    self.forget(step);
                }
                Ok(())
            }
            Err(errno) => Err(BackendError::new(errno, step.object())),
        }
    }
}

/// What follows from the world: a link that is up carries packets, and a port forwards at once.
fn derived(world: &Snapshot, link: &Link) -> LinkDetails {
    let has_carrier = link.up;
    let forwards = link.master.and_then(|master| world.links.get(&master)).is_some_and(|master| master.up);
    LinkDetails {
        carrier: has_carrier,
        state: if has_carrier { OperState::Up } else { OperState::Down },
        port_state: link.port.as_ref().map(|_| match has_carrier && forwards {
            true => PortForwarding::Forwarding,
            false => PortForwarding::Disabled,
        }),
        querier_seen: link.bridge.as_ref().map(|_| false),
        ..LinkDetails::default()
    }
}

/// A link of hardware: down, ethernet's MTU.
fn hardware(index: u32) -> Link {
    let addr_gen_mode = Some(crate::snapshot::AddrGenMode::Eui64);
    Link { index, mtu_range: (68, 65535), addr_gen_mode, ..Link::new(LinkKind::Plain) }
}

fn vif() -> Link {
    // XENVIF_QUEUE_LENGTH is 32.
    Link { mac: Some(MacAddr::BACKEND), mtu_range: (68, VIF_MAX_MTU), txqueuelen: 32, ..hardware(0) }
}

impl Backend for Fake {
    fn capabilities(&self) -> Capabilities {
        Capabilities::full("fake")
    }

    fn machine_id(&self) -> Result<Vec<u8>, BackendError> {
        Ok(self.machine_id.clone())
    }

    fn observe(&mut self, scope: &Scope) -> Result<Snapshot, BackendError> {
        self.alive("observation")?;
        let at = self.observations;
        self.observations = at.saturating_add(1);
        if self.faults.iter().any(|f| matches!(f, Fault::DumpInterrupted { times } if at < *times)) {
            return Err(BackendError::new(Errno::EINTR, "observation").with_message("the listing was interrupted"));
        }
        for part in scope.parts() {
            if let crate::snapshot::Part::Link(name) = part {
                self.vif_appears(name);
            }
        }
        Ok(self.world.seen(scope))
    }

    fn details(&mut self) -> Result<(Details, Vec<Missed>), BackendError> {
        self.alive("observation")?;
        let mut details = self.details.clone();
        details.links.retain(|name, _| self.world.links.contains_key(name));
        for (name, link) in &self.world.links {
            details.links.entry(*name).or_insert_with(|| derived(&self.world, link));
        }
        Ok((details, Vec::new()))
    }

    fn apply(&mut self, step: &Step) -> Result<(), BackendError> {
        self.alive(&step.object())?;
        if let Step::Forget(_) = step {
            // No plan has such a step, so nobody who counts a plan's steps knows of it.
            return self.perform(step);
        }
        let at = self.steps;
        self.steps = at.saturating_add(1);
        let intruders: Vec<Step> = self
            .faults
            .iter()
            .filter_map(|f| match f {
                Fault::Intruder { before, does } if *before == at => Some((**does).clone()),
                _ => None,
            })
            .collect();
        for does in intruders {
            // Whether the other one succeeds is not our business.
            let _ = self.perform(&does);
        }
        if let Step::Link(LinkStep::Set { link, .. }) = step {
            self.vif_appears(&link.name);
        }
        let result = match self.fault(at).cloned() {
            Some(Fault::FailAt { errno, .. }) => {
                Err(BackendError::new(errno, step.object()).with_message("refused by a fault"))
            }
            Some(Fault::HalfApply { .. }) => {
                let _ = self.perform(&first_half(step));
                Err(BackendError::new(Errno::EIO, step.object()).with_message("a fault: it happened in part"))
            }
            Some(Fault::LieOnce { .. }) => Ok(()),
            _ => self.perform(step),
        };
        if self.faults.iter().any(|f| matches!(f, Fault::CrashAfter { step } if *step == at)) {
            self.crashed = true;
            return Err(BackendError::new(Errno::EIO, step.object()).with_message(CRASHED));
        }
        result
    }
}

/// Of a change of a link all that the kernel does before the last attribute; any other step as it is.
fn first_half(step: &Step) -> Step {
    let Step::Link(LinkStep::Set { link, change }) = step else { return step.clone() };
    let mut c = change.clone();
    let flags = c.up.is_some() || c.arp.is_some() || c.multicast.is_some();
    // From the end of the kernel's order; the first that is there is left out.
    if c.addr_gen_mode.take().is_none()
        && c.txqueuelen.take().is_none()
        && c.master.take().is_none()
        && !flags
        && c.alias.take().is_none()
        && c.name.take().is_none()
        && c.mtu.take().is_none()
    {
        c.mac = None;
    }
    if flags && c == *change {
        (c.up, c.arp, c.multicast) = (None, None, None);
    }
    Step::Link(LinkStep::Set { link: *link, change: c })
}

#[cfg(test)]
mod tests;
