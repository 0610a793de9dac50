//! What there is to see.

use std::collections::BTreeMap;

use ipnetwork::IpNetwork;

use super::{Host, joined};
use crate::backend::BackendError;
use crate::error::Error;
use crate::exec::Subject;
use crate::gather;
use crate::model::vif::{Bare, is_single};
use crate::model::{Attach, Attachment, DevId, DomId, IfName, MacAddr, Resolved, VifId, ViolationCount};
use crate::plan::Goal;
use crate::snapshot::{LinkKind, Part, Route, Scope, Snapshot};
use crate::version::Version;

/// What there is to see: the vifs that are attached by our doing, and the bridges with their ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Shown {
    version: Version<1>,
    /// Attached vifs, in the order of domain and index.
    pub vifs: Vec<ShownVif>,
    /// Bridges, in the order of their names.
    pub bridges: Vec<ShownBridge>,
}

/// One attached vif.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownVif {
    /// `vif<domid>.<devid>`, or `vif<domid>.<devid>-emu` for its emulated twin, whatever the link is called now.
    pub vif: String,
    /// The domain.
    pub domid: DomId,
    /// The index in the domain.
    pub devid: DevId,
    /// The link's present name; `None` if the link is gone.
    pub link: Option<IfName>,
    /// How it was attached: `bridge`, `nat`, `routed`.
    pub mode: String,
    /// The network that it belongs to, where it is connected by routes, and one was started.
    pub network: Option<IfName>,
    /// The bridge it is a port of.
    pub bridge: Option<IfName>,
    /// Whether the link is up.
    pub up: bool,
    /// The link's MTU in bytes; 0 if the link is gone.
    pub mtu: u32,
    /// The vif line that it was attached with.
    pub spec: Option<String>,
    /// What keeps its guest from being reached by its addresses or from reaching anybody: a newer guest that has addresses of its,
    /// as in a migration, another guest on its bridge that has them, too, a bridge that is down, and other firewalls of this host,
    /// unless a rule there accepts its packets.
    pub obstacles: Vec<String>,
    /// What it needs and has not, one change a line, in the words of a plan: what `recover` would do.
    pub missing: Vec<String>,
}

/// One bridge.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ShownBridge {
    /// Its name.
    pub bridge: IfName,
    /// Its MAC.
    pub mac: Option<MacAddr>,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// Its ports, in the order of their names: `vif9.0` comes before `vif10.0`.
    pub ports: Vec<IfName>,
}

impl Host {
    /// Attached vifs and all bridges. A listing: its cost grows with the host.
    ///
    /// # Errors
    /// As [`Backend::observe`](crate::backend::Backend::observe), and
    /// [`ErrorKind::StateUnusable`](crate::ErrorKind::StateUnusable).
    pub fn show(&mut self) -> Result<Shown, Error> {
        self.shown_with(Err)
    }

    /// The packets of guests that were dropped since their vifs were attached: one count for each link and class, in this order. The guard
    /// counts by vif and by emulated twin. The gate counts by vif, or by private bridge. A guest whose packets all passed has no counts.
    ///
    /// Reads as many elements as there are counts, whatever number of guests there is.
    ///
    /// # Errors
    /// As [`Backend::violations`](crate::backend::Backend::violations).
    #[doc(alias("nft list set", "drops", "spoofing"))]
    pub fn violations(&mut self) -> Result<Vec<ViolationCount>, Error> {
        self.backend.violations().map_err(BackendError::into_observe_error)
    }

    /// The same. `unseen` decides about the error of a look at what vifs lack, which needs more rights than the rest.
    pub(super) fn shown_with(&mut self, mut unseen: impl FnMut(Error) -> Result<(), Error>) -> Result<Shown, Error> {
        let now = self.look(&Scope::none().with(Part::Links))?;
        let (mut vifs, mut subjects, mut attached) = (Vec::new(), Vec::new(), Vec::new());
        let mut needs = Vec::new();
        for (subject, entry) in self.records.all()? {
            let (Subject::Vif(id) | Subject::Tap(id)) = subject else { continue };
            let Some((index, _)) = entry.owned_link() else { continue };
            let link = now.link_by_index(index);
            let mut obstacles = Vec::new();
            if let Some(mut a) = super::mend::need_of(subject, &entry, &now) {
                let superseding = self.superseding(subject, &a)?;
                obstacles.extend(led_to(subject, &superseding));
                a.found.superseded = superseding.into_iter().map(|r| r.destination).collect();
                needs.push((subject, a));
            }
            let attach = match &entry.goal {
                Goal::Resolved(Resolved::Attach(a)) => Some(&a.wish),
                _ => None,
            };
            let attachment = attach.map(|a| &a.attachment);
            let network = match attachment {
                Some(Attachment::Nat { network, .. } | Attachment::Routed { network, .. }) => *network,
                _ => None,
            };
            vifs.push(ShownVif {
                vif: subject.to_string(),
                domid: id.domid,
                devid: id.devid,
                link: link.map(|(name, _)| *name),
                mode: attachment.map_or("bridge", Attachment::mode_name).to_owned(),
                network,
                bridge: link.and_then(|(_, l)| l.master),
                up: link.is_some_and(|(_, l)| l.up),
                mtu: link.map_or(0, |(_, l)| l.mtu),
                spec: entry.text,
                obstacles,
                missing: Vec::new(),
            });
            subjects.push(subject);
            // A link that has gone reaches nobody for another reason.
            attached.extend(attach.filter(|_| link.is_some()).map(|a| (vifs.len() - 1, a.clone())));
        }
        let mut lacks = match self.vifs_lack(needs) {
            Ok(lacks) => lacks,
            Err(e) => unseen(e).map(|()| BTreeMap::new())?,
        };
        for (vif, subject) in vifs.iter_mut().zip(&subjects) {
            vif.missing = lacks.remove(subject).unwrap_or_default();
        }
        let obstacles = self.obstacles_of_vifs(&attached.iter().map(|(_, a)| a).collect::<Vec<_>>(), &now);
        for ((at, _), obstacles) in attached.iter().zip(obstacles) {
            vifs[*at].obstacles.extend(obstacles);
        }
        for (at, a) in &attached {
            let why = bridge_is_down(a, &now).map(|why| format!("{}: {why}", vifs[*at].vif));
            vifs[*at].obstacles.extend(why);
        }
        for (at, other, address) in declared_twice(&attached) {
            let text = format!("{}: {} on the same bridge has {}, too", vifs[at].vif, vifs[other].vif, Bare(&address));
            vifs[at].obstacles.push(text);
        }
        let bridges = now.links.iter().filter(|(_, l)| l.kind == LinkKind::Bridge).map(|(name, l)| ShownBridge {
            bridge: *name,
            mac: l.mac,
            mtu: l.mtu,
            up: l.up,
            ports: by_number(now.ports(name).map(|(port, _)| *port)),
        });
        Ok(Shown { version: Version, vifs, bridges: bridges.collect() })
    }
}

/// That nothing goes through the bridge of a vif.
pub(super) fn bridge_is_down(a: &Attach, seen: &Snapshot) -> Option<String> {
    let Attachment::Bridge { bridge, .. } = a.attachment else { return None };
    let is_down = seen.links.get(&bridge).is_some_and(|link| !link.up);
    is_down.then(|| format!("bridge {bridge} is down, and nothing goes through it: ip link set {bridge} up"))
}

/// The addresses that guests of two vifs on one bridge may send from: either vif, the other one, the address.
fn declared_twice(attached: &[(usize, Attach)]) -> Vec<(usize, usize, IpNetwork)> {
    let mut of: BTreeMap<(IfName, IpNetwork), Vec<(usize, VifId)>> = BTreeMap::new();
    for (at, a) in attached {
        let Attachment::Bridge { bridge, .. } = a.attachment else { continue };
        let addresses = a.guard.iter().filter_map(|g| g.addresses.as_ref()).flatten();
        for n in addresses.filter(|n| is_single(n)) {
            of.entry((bridge, *n)).or_default().push((*at, a.id));
        }
    }
    let mut found = Vec::new();
    for ((_, address), vifs) in of {
        for (at, id) in &vifs {
            // The emulated twin has the same ones.
            found.extend(vifs.iter().find(|(_, other)| other != id).map(|(other, _)| (*at, *other, address)));
        }
    }
    found
}

/// That addresses of a vif lead to a newer guest, and to which.
fn led_to(subject: Subject, superseding: &[Route]) -> Option<String> {
    let all = |told: fn(&Route) -> Option<String>| {
        joined(&gather::set(superseding.iter().filter_map(told)).into_iter().collect::<Vec<String>>())
    };
    let addresses = all(|r| Some(r.destination.to_string()));
    let links = all(|r| r.link.map(|l| l.to_string()));
    (!superseding.is_empty()).then(|| format!("{subject}: a newer guest, {links}, has its {addresses} by now"))
}

/// Names in their order, with numbers in theirs.
pub(super) fn by_number(names: impl Iterator<Item = IfName>) -> Vec<IfName> {
    // As text of equal length numbers are in order; a name has no longer ones.
    let key = |name: &IfName| {
        let (mut key, mut number) = (String::new(), String::new());
        for c in name.as_str().chars().chain(['\0']) {
            if c.is_ascii_digit() {
                number.push(c);
                continue;
            }
            if !number.is_empty() {
                key.push_str(&format!("{number:0>15}"));
                number.clear();
            }
            key.push(c);
        }
        key
    };
    gather::set(names.map(|name| (key(&name), name))).into_iter().map(|(_, name)| name).collect()
}
