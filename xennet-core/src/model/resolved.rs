//! A wish with what was found for it and what is remembered of it: what the planner works from.
//!
//! The three are types of their own: [`Attach`] and [`Detach`] say what is wanted, [`FoundVif`] what a look at the system has shown,
//! [`RecordedVif`] what a record of an earlier operation says. No planner code reads a record, and no wish holds what was found.

use ipnetwork::IpNetwork;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Attach, Attachment, Behind, BridgeSpec, Detach, Guard, Guarded, IfName, Mtu, ResolvedNetwork, VifId};

/// What the planner turns into steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "intent", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Resolved {
    /// A vif shall be connected.
    Attach(Box<ResolvedVif<Attach>>),
    /// A vif shall be disconnected.
    Detach(ResolvedVif<Detach>),
    /// A bridge shall exist with these settings.
    Bridge(BridgeSpec),
    /// A network shall be there for its guests.
    Start(Box<ResolvedNetwork>),
}

/// A wish for a vif ([`Attach`] or [`Detach`]), resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResolvedVif<W> {
    /// What is wanted.
    pub wish: W,
    /// What was found.
    pub found: FoundVif,
    /// What a record says of it.
    pub recorded: RecordedVif,
}

impl<W> ResolvedVif<W> {
    /// A wish with what was found for it and what a record says.
    pub const fn new(wish: W, found: FoundVif, recorded: RecordedVif) -> Self {
        ResolvedVif { wish, found, recorded }
    }
}

/// What was found of a vif before its plan is made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundVif {
    /// The link's present name: netback's `vif<domid>.<devid>`, or its wanted name if it was renamed already.
    pub device: IfName,
    /// Those of its addresses that have led to another guest until now: the newer one has them, as in a migration.
    pub takes_over: Vec<IpNetwork>,
    /// Those of its addresses that lead to a newer guest by now: it has no route to them any more.
    pub superseded: Vec<IpNetwork>,
}

/// What a record says of a vif that an earlier operation left: what of it is ours, and may be moved or taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordedVif {
    /// The link's number. A link of the same name with another number is not ours; a detach leaves it alone.
    pub index: Option<u32>,
    /// The bridge that it is on. A port of this bridge may be moved to another one; a port of any other bridge belongs to somebody
    /// else and is refused.
    pub bridge: Option<IfName>,
    /// What the guard has of it.
    pub guard: Option<Box<Guarded>>,
    /// How it is connected by routes.
    pub routes: Option<Box<Behind>>,
}

setters! { RecordedVif {
    with_index: index = impl Into<Option<u32>>;
    with_bridge: bridge = impl Into<Option<IfName>>;
    with_guard: guard = impl Into<Option<Box<Guarded>>>;
    with_routes: routes = impl Into<Option<Box<Behind>>>;
} }

impl FoundVif {
    /// A link of this name, whose addresses no other guest has.
    pub fn named(device: IfName) -> Self {
        FoundVif { device, takes_over: Vec::new(), superseded: Vec::new() }
    }
}

impl ResolvedVif<Attach> {
    /// A wish for a link that still has the name that netback gave it, and that no record is about.
    pub fn as_made(wish: Attach) -> Self {
        ResolvedVif { found: FoundVif::named(wish.id.vif_name()), recorded: RecordedVif::default(), wish }
    }

    #[must_use]
    fn fulfilled(mut self) -> Self {
        self.found.device = self.wish.name;
        self
    }
}

impl Resolved {
    /// The same once the wish is fulfilled: a renamed vif is then found under its new name.
    #[must_use]
    pub fn fulfilled(self) -> Self {
        match self {
            Resolved::Attach(a) => a.fulfilled().into(),
            other => other,
        }
    }
}

impl From<ResolvedVif<Attach>> for Resolved {
    fn from(vif: ResolvedVif<Attach>) -> Self {
        Resolved::Attach(Box::new(vif))
    }
}

impl From<ResolvedVif<Detach>> for Resolved {
    fn from(vif: ResolvedVif<Detach>) -> Self {
        Resolved::Detach(vif)
    }
}

impl From<Attach> for Resolved {
    /// As [`ResolvedVif::as_made`].
    fn from(wish: Attach) -> Self {
        ResolvedVif::as_made(wish).into()
    }
}

/// How a record's file has an attach. The names of its fields are those of the first format; a new field has a default.
#[derive(Deserialize)]
struct AttachDocument {
    id: VifId,
    device: IfName,
    name: IfName,
    #[serde(default)]
    mtu: Option<Mtu>,
    #[serde(default)]
    index: Option<u32>,
    #[serde(default)]
    recorded_bridge: Option<IfName>,
    #[serde(default)]
    guard: Option<Guard>,
    #[serde(default)]
    recorded_guard: Option<Box<Guarded>>,
    #[serde(default)]
    recorded_routes: Option<Box<Behind>>,
    #[serde(default)]
    network: Option<IfName>,
    #[serde(default)]
    takes_over: Vec<IpNetwork>,
    #[serde(default)]
    superseded: Vec<IpNetwork>,
    attachment: Attachment,
}

/// The same to be written.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct AttachDocumentOf<'a> {
    id: VifId,
    device: IfName,
    name: IfName,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtu: Option<Mtu>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_bridge: Option<IfName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guard: Option<&'a Guard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_guard: Option<&'a Guarded>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded_routes: Option<&'a Behind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<IfName>,
    #[serde(skip_serializing_if = "<[IpNetwork]>::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    takes_over: &'a [IpNetwork],
    #[serde(skip_serializing_if = "<[IpNetwork]>::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Net>"))]
    superseded: &'a [IpNetwork],
    attachment: &'a Attachment,
}

crate::schema::written_as!(ResolvedVif<Attach>, "ResolvedAttach", AttachDocumentOf<'static>);

impl Serialize for ResolvedVif<Attach> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ResolvedVif { wish, found, recorded } = self;
        AttachDocumentOf {
            id: wish.id,
            device: found.device,
            name: wish.name,
            mtu: wish.mtu,
            index: recorded.index,
            recorded_bridge: recorded.bridge,
            guard: wish.guard.as_ref(),
            recorded_guard: recorded.guard.as_deref(),
            recorded_routes: recorded.routes.as_deref(),
            network: wish.network,
            takes_over: &found.takes_over,
            superseded: &found.superseded,
            attachment: &wish.attachment,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ResolvedVif<Attach> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let d = AttachDocument::deserialize(deserializer)?;
        Ok(ResolvedVif {
            wish: Attach {
                id: d.id,
                name: d.name,
                mtu: d.mtu,
                guard: d.guard,
                network: d.network,
                attachment: d.attachment,
            },
            found: FoundVif { device: d.device, takes_over: d.takes_over, superseded: d.superseded },
            recorded: RecordedVif {
                index: d.index,
                bridge: d.recorded_bridge,
                guard: d.recorded_guard,
                routes: d.recorded_routes,
            },
        })
    }
}

/// How a record's file has a detach.
#[derive(Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct DetachDocument {
    id: VifId,
    device: IfName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    index: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bridge: Option<IfName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    guarded: Option<Box<Guarded>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behind: Option<Box<Behind>>,
}

crate::schema::written_as!(ResolvedVif<Detach>, "ResolvedDetach", DetachDocument);

impl Serialize for ResolvedVif<Detach> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let RecordedVif { index, bridge, guard, routes } = self.recorded.clone();
        let (id, device) = (self.wish.id, self.found.device);
        DetachDocument { id, device, index, bridge, guarded: guard, behind: routes }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ResolvedVif<Detach> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let d = DetachDocument::deserialize(deserializer)?;
        Ok(ResolvedVif {
            wish: Detach { id: d.id },
            found: FoundVif::named(d.device),
            recorded: RecordedVif { index: d.index, bridge: d.bridge, guard: d.guarded, routes: d.behind },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolved() -> ResolvedVif<Attach> {
        let id = VifId::from_vif_name("vif5.0").unwrap();
        let (bridge, name) = ("xenbr0".parse().unwrap(), "web0".parse().unwrap());
        let guard = Guard::mac_only("00:16:3e:01:02:03".parse().unwrap());
        let attachment = Attachment::Routed {
            network: Some(bridge),
            guest: vec!["192.0.2.5".parse().unwrap()],
            elsewhere: Box::default(),
            source: vec!["192.0.2.1".parse().unwrap()],
            answer_arp: true,
            answer_ndp: None,
            host: None,
            log: crate::PacketLog::Off,
            metric: 2,
        };
        let routes = Behind { link: name, attachment: attachment.clone(), others: Vec::new() };
        ResolvedVif {
            wish: Attach {
                name,
                mtu: Some(1400.try_into().unwrap()),
                guard: Some(guard.clone()),
                network: Some(bridge),
                attachment,
                ..Attach::to_bridge(id, bridge)
            },
            found: FoundVif {
                takes_over: vec!["192.0.2.6".parse().unwrap()],
                superseded: vec!["192.0.2.7".parse().unwrap()],
                ..FoundVif::named(id.vif_name())
            },
            recorded: RecordedVif {
                index: Some(7),
                bridge: Some(bridge),
                guard: Some(Box::new(Guarded { link: name, guard })),
                routes: Some(Box::new(routes)),
            },
        }
    }

    #[test]
    fn a_file_says_all_of_it_under_the_names_of_the_first_format() {
        let attach = resolved();
        let text = serde_json::to_value(&attach).unwrap();
        let mut names: Vec<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        let attached = "attachment device guard id index mtu name network recorded_bridge recorded_guard recorded_routes \
                        superseded takes_over";
        assert_eq!(names.join(" "), attached);
        assert_eq!(serde_json::from_value::<ResolvedVif<Attach>>(text).unwrap(), attach);

        let ResolvedVif { wish, recorded, .. } = attach;
        let detach = ResolvedVif { wish: Detach { id: wish.id }, found: FoundVif::named(wish.name), recorded };
        let text = serde_json::to_value(&detach).unwrap();
        let mut names: Vec<&str> = text.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names.join(" "), "behind bridge device guarded id index");
        assert_eq!(serde_json::from_value::<ResolvedVif<Detach>>(text).unwrap(), detach);
    }

    #[test]
    fn what_a_file_does_not_say_is_unknown() {
        let wish = Attach::to_bridge(VifId::from_vif_name("vif5.0").unwrap(), "xenbr0".parse().unwrap());
        let text = r#"{"id":{"domid":5,"devid":0},"device":"vif5.0","name":"vif5.0",
            "attachment":{"mode":"bridge","bridge":"xenbr0"},"of a later version":1}"#;
        let read: ResolvedVif<Attach> = serde_json::from_str(text).unwrap();
        assert_eq!(read, ResolvedVif::as_made(wish));
    }
}
