//! The network state of a host at one moment, as one document: a bug report that can be examined on another machine.
//!
//! [`Host::record`](crate::Host::record) makes it, and changes nothing. [`Host::from_recording`](crate::Host::from_recording) makes a
//! rehearsal of it: `show`, `status` and every plan give there what they give on the host itself.
//!
//! The document is JSON. Its version is [`Recording::VERSION`]:
//!
//! | member | what it holds |
//! |---|---|
//! | `version` | the number of this format |
//! | `taken` | when, on which host, with which kernel and which xennet |
//! | `snapshot` | the kernel's objects ([`Snapshot`]): links, addresses, routes, rules, neighbours, forwarding entries, VLANs, settings, our nft tables with all that is in them, the base chains of others' tables |
//! | `details` | what is no state ([`Details`]): carriers, counters, learned entries, other programs' nft tables |
//! | `networks` | the started networks, as hotplug calls know them ([`Started`]) |
//! | `records` | the last operation on each vif, bridge and network ([`Entry`]) |
//! | `open` | operations that were interrupted and not closed yet: their vifs, bridges and networks |
//! | `described` | the file with the networks' descriptions, and its text |
//! | `store` | nodes of xenstore about vifs and their domains, path and value |
//! | `awaited` | networks whose last start waits for a confirmation |
//! | `services` | the dnsmasqs of started networks |
//! | `surroundings` | what is around: other programs' files, hooks, scripts, modules ([`Surroundings`]) |
//! | `unseen` | what could not be looked at, and why |
//!
//! ```
//! use xennet_core::recording::{Recording, Taken};
//! use xennet_core::{DomId, Host};
//!
//! let mut host = Host::fake();
//! host.attach(DomId::new(5)?, &"bridge=xenbr0".parse()?)?;
//! let document = host.record(Taken::default(), None, Err("there is none here".into())).to_json();
//!
//! let mut elsewhere = Host::from_recording(&Recording::from_json(&document)?);
//! assert_eq!(elsewhere.show()?, host.show()?);
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod anonymous;
mod surroundings;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, json_text};
use crate::exec::Entry;
use crate::model::{IfName, Started, Subject};
use crate::snapshot::{Details, Snapshot, StorePath};

pub use surroundings::{OldCall, Problem, Surroundings};

/// The network state of a host at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Recording {
    /// The number of the document's format: [`Recording::VERSION`].
    #[cfg_attr(feature = "schema", schemars(with = "crate::version::Version<{ Recording::VERSION }>"))]
    pub version: u32,
    /// When and where.
    pub taken: Taken,
    /// The kernel's objects.
    pub snapshot: Snapshot,
    /// What is no state: carriers, counters, learned entries, other programs' tables.
    #[serde(default)]
    pub details: Details,
    /// The started networks.
    #[serde(default)]
    pub networks: Vec<Started>,
    /// The last operation on each vif, bridge and network; the newest of all is the last one.
    #[serde(default)]
    pub records: Vec<Entry>,
    /// The subjects of interrupted operations.
    #[serde(default)]
    pub open: Vec<Subject>,
    /// Networks whose last start waits for a confirmation.
    #[serde(default)]
    pub awaited: Vec<IfName>,
    /// The dnsmasqs of started networks.
    #[serde(default)]
    pub services: Vec<Service>,
    /// What is around. [`Host::record`](crate::Host::record) does not look at it.
    #[serde(default)]
    pub surroundings: Surroundings,
    /// The networks as they are described.
    #[serde(default)]
    pub described: Option<Described>,
    /// Nodes of xenstore. What is no UTF-8 in a value is written as `\xNN`.
    #[serde(default)]
    pub store: BTreeMap<StorePath, String>,
    /// What could not be looked at.
    #[serde(default)]
    pub unseen: Vec<Unseen>,
}

/// When and where a recording was made, as the caller says: the library does not read the clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct Taken {
    /// The time, in seconds since the beginning of 1970 (UTC).
    pub at: u64,
    /// The host's name (`uname -n`).
    pub host: String,
    /// The kernel's version (`uname -r`).
    pub kernel: String,
    /// The version of xennet.
    pub xennet: String,
}

setters! { Taken {
    with_at: at = u64;
    with_host: host = impl Into<String>;
    with_kernel: kernel = impl Into<String>;
    with_xennet: xennet = impl Into<String>;
} }

/// A file with descriptions of networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Described {
    /// Its path.
    pub file: String,
    /// Its text, which may have errors.
    pub text: String,
}

impl Described {
    /// A file with its text.
    pub fn new(file: impl Into<String>, text: impl Into<String>) -> Self {
        Described { file: file.into(), text: text.into() }
    }
}

/// A dnsmasq of a started network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Service {
    /// The network.
    pub network: IfName,
    /// Which of its dnsmasqs: `bridge`, `dhcp`, `dns` ([`Part::name`](crate::services::Part::name)); empty where none was started.
    pub part: String,
    /// Whether it runs.
    pub runs: bool,
    /// Why guests are not heard although it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unheard: Option<String>,
}

impl Service {
    /// A service of a network, and whether it runs.
    pub fn new(network: IfName, part: impl Into<String>, runs: bool) -> Self {
        Service { network, part: part.into(), runs, unheard: None }
    }
}

setters! { Service {
    with_unheard: unheard = impl Into<Option<String>>;
} }

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Unseen {
    /// What: `nft table inet xennet`, `xenstore`.
    pub what: String,
    /// Why, in the words of the error.
    pub why: String,
}

impl Unseen {
    /// Something that could not be looked at, with the reason.
    pub fn new(what: impl Into<String>, why: impl Into<String>) -> Self {
        Unseen { what: what.into(), why: why.into() }
    }
}

impl Recording {
    /// The number of the format that this version writes and reads.
    pub const VERSION: u32 = 1;

    /// Reads a document.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a text that is no recording, that was cut short or edited so that it cannot be read, with the line and
    /// column; and for one of another version.
    pub fn from_json(text: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: Option<u64>,
        }
        let unreadable = |e: &serde_json::Error| {
            // The reader quotes what it does not know.
            let why = e.to_string().escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'");
            Error::new(ErrorKind::Invalid, format!("the recording cannot be read: {why}"))
                .with_object("recording")
                .with_hint("it was cut short or changed; `xennet record FILE` makes one")
                .unchanged()
        };
        // The version first: what else a document of another one holds may be unreadable for that very reason.
        let found: Version = crate::read::json(text).map_err(|e| unreadable(&e))?;
        match found.version {
            Some(version) if version == u64::from(Self::VERSION) => {}
            Some(version) => {
                return Err(Error::new(
                    ErrorKind::Invalid,
                    format!("the recording is of version {version}, and this xennet reads version {}", Self::VERSION),
                )
                .with_object("recording")
                .with_hint("read it with the xennet that made it, or a newer one")
                .unchanged());
            }
            None => {
                return Err(Error::new(ErrorKind::Invalid, "this JSON document is no recording: it has no version")
                    .with_object("recording")
                    .with_hint("`xennet record FILE` makes one")
                    .unchanged());
            }
        }
        crate::read::json(text).map_err(|e| unreadable(&e))
    }

    /// The document.
    pub fn to_json(&self) -> String {
        json_text(self)
    }

    /// The same recording with other addresses and names: it can be given away, and everything that the addresses have to do with each
    /// other stays so.
    ///
    /// * Public addresses get others, of which the same ones share a prefix; the first 8 bits of an IPv4 address and the first 16 of an
    ///   IPv6 address stay. Private, local and documentation addresses stay as they are.
    /// * Of a hardware address the maker stays, and the rest is another one.
    /// * Other programs' rules lose their comments and what this library cannot read of them: there may be addresses in it.
    /// * The host, domains and what else is named freely get names by numbers. Links and networks keep theirs: these are what the
    ///   report is about.
    ///
    /// `key` decides which: two recordings with the same key have the same addresses. It must not be known to those who are given the
    /// document, or they can find out the addresses again.
    ///
    /// # Errors
    /// [`ErrorKind::Internal`] where the result cannot be read as a recording again.
    pub fn anonymous(&self, key: [u8; 16]) -> Result<Self, Error> {
        anonymous::anonymous(self, key)
    }

    /// The name of a domain, where xenstore has told it.
    pub fn domain_name(&self, domid: crate::model::DomId) -> Option<&str> {
        let path: StorePath = format!("/local/domain/{}/name", domid.get()).parse().ok()?;
        self.store.get(&path).map(String::as_str)
    }
}

/// The text of a node's value.
pub(crate) fn text_of(value: &[u8]) -> String {
    let mut out = String::new();
    for chunk in value.utf8_chunks() {
        out.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|b| out.push_str(&format!("\\x{b:02x}")));
    }
    out
}
