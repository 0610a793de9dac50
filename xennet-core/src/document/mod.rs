//! The JSON documents: all that the command prints with `--json`, that C and Python give and take, and that xennet keeps in files.
//!
//! Each has a name, a version and a schema (JSON Schema, draft 2020-12). The schemas are made of the types (feature `schema`), are in the
//! directory `schemas/` of this package, and are part of every program that uses the library: [`schema`], `xennet schema`.
//!
//! A document says its version in a member of its root: `"version": 1`; what is kept in the state directory calls it `xennet`, as the
//! first xennet did. [`version`](crate::version) says which changes keep the number. [`read`] reads one.
//!
//! ```
//! use xennet_core::document;
//!
//! let plan = document::named("plan")?;
//! assert_eq!((plan.version, plan.is_taken), (1, true));
//! assert!(document::schema("plan")?.contains("https://json-schema.org/draft/2020-12/schema"));
//! assert!(document::named("plna").is_err());
//! # Ok::<(), xennet_core::Error>(())
//! ```

mod answer;
#[cfg(feature = "schema")]
mod generate;
mod library;

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind};
use crate::model::flaw::{beginning, quoted};

pub use crate::read::read;
pub use answer::{
    Calls, CheckedManagers, Confirmed, Demo, DemoEvent, Done, DoneNetwork, DoneNetworks, FailedNetwork, FormatRow,
    Formats, GeneratedMac, GuestWritten, InstallAct, Installed, Note, ParsedVif, PlannedRecovery, PlannedSubject,
    Recorded, Recovered, SchemaRow, Schemas, SnippetFile, SnippetFiles, Snippets, Status,
};
#[cfg(feature = "schema")]
pub use generate::{broken, generated};
pub use library::{Asked, Awaited, Children, LogEvent, ParsedValue, Permissions, StoreEvent, Violations};

/// A kind of JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Document {
    /// Its name: `plan`, `network-status`.
    pub name: &'static str,
    /// The version of it that this library writes.
    pub version: u32,
    /// The member of its root that says the version: `version`, or `xennet` in the state directory. `None` for what is a part of other
    /// documents only.
    pub member: Option<&'static str>,
    /// What it is, in a sentence.
    pub what: &'static str,
    /// The commands that print it with `--json`, by their first words.
    pub commands: &'static [&'static str],
    /// Whether the library also reads it. Only a recording must then have its version.
    pub is_taken: bool,
    /// Its schema as it is in `schemas/`. It refers to those of other documents by their `$id`.
    pub schema: &'static str,
    /// Whether its version has to be there when it is read.
    always_versioned: bool,
    /// Whether its schema describes the input: callers write these documents.
    by_callers: bool,
}

impl Document {
    const fn new(name: &'static str, version: u32, schema: &'static str, what: &'static str) -> Self {
        let member = Some("version");
        let (commands, is_taken, always_versioned, by_callers): (&[&str], _, _, _) = (&[], false, false, false);
        Document { name, version, member, what, commands, is_taken, schema, always_versioned, by_callers }
    }

    const fn by(self, commands: &'static [&'static str]) -> Self {
        Document { commands, ..self }
    }

    const fn taken(self) -> Self {
        Document { is_taken: true, ..self }
    }

    const fn taken_with_version(self) -> Self {
        Document { is_taken: true, always_versioned: true, ..self }
    }

    const fn by_callers(self) -> Self {
        Document { is_taken: true, by_callers: true, ..self }
    }

    const fn part(self) -> Self {
        Document { member: None, ..self }
    }

    /// The `$id` of its schema: `urn:xennet:plan:1`.
    pub fn id(&self) -> String {
        format!("urn:xennet:{}:{}", self.name, self.version)
    }

    /// Its schema as text, with those in it that it refers to.
    pub fn bundled(&self) -> String {
        self.bundled_of(&|document| document.schema.to_owned())
    }

    /// The same of these schemas.
    fn bundled_of(&self, schema_of: &dyn Fn(&Document) -> String) -> String {
        let text = schema_of(self);
        let mut needed = BTreeMap::new();
        self.need(&text, schema_of, &mut needed);
        let text = text.trim_end();
        let mut parts: Vec<String> = needed.iter().map(|(id, part)| format!("    \"{id}\": {part}")).collect();
        if parts.is_empty() {
            return format!("{text}\n");
        }
        // The definitions are the last member, where there are any.
        match text.split_once(DEFS) {
            Some((before, defs)) => {
                parts.push(defs.trim_start_matches('\n').to_owned());
                format!("{before}{DEFS}\n{}\n", parts.join(",\n"))
            }
            None => {
                let before = text.trim_end_matches('}').trim_end();
                format!("{before},{DEFS}\n{}\n  }}\n}}\n", parts.join(",\n"))
            }
        }
    }

    /// The documents that a schema refers to, and those that these refer to.
    fn need(&self, text: &str, schema_of: &dyn Fn(&Document) -> String, needed: &mut BTreeMap<String, String>) {
        for document in ALL.iter().filter(|document| document.name != self.name) {
            let id = document.id();
            let is_named = [format!("\"{id}\""), format!("\"{id}#")].iter().any(|name| text.contains(name));
            if is_named && !needed.contains_key(&id) {
                let part = schema_of(document);
                needed.insert(id, part.trim_end().to_owned());
                self.need(&part, schema_of, needed);
            }
        }
    }

    const fn in_state_dir(self) -> Self {
        Document { member: Some("xennet"), ..self }
    }
}

/// Where the definitions of a schema begin.
const DEFS: &str = "\n  \"$defs\": {";

/// A document of this name, whose schema is in the file of this name.
macro_rules! document {
    ($name:literal, $version:literal, $what:literal) => {
        Document::new($name, $version, include_str!(concat!("../../schemas/", $name, ".json")), $what)
    };
}

/// All documents, in the order of their names.
pub const ALL: &[Document] = &[
    document!("advice", 1, "The mode that fits a situation, and what follows from it.").by(&["advise"]),
    document!("asked", 1, "A question that matters for which mode fits."),
    document!("awaited", 1, "The networks whose last start waits for a confirmation."),
    document!("bridge", 1, "A bridge that is wanted.").by_callers(),
    document!("call", 1, "A hotplug call that is remembered.").by(&["log"]).in_state_dir(),
    document!("calls", 1, "Hotplug calls that are remembered.").by(&["log"]),
    document!("checked-managers", 1, "Which programs run here that manage links, too.").by(&["snippets"]),
    document!("children", 1, "The children of a node of xenstore."),
    document!("codes", 1, "All kinds of findings.").by(&["doctor"]),
    document!("confirmed", 1, "The networks whose start was confirmed.").by(&["confirm"]),
    document!("demo", 1, "What the demonstration did and saw.").by(&["demo"]),
    document!("done", 1, "What an operation did.").by(&["apply", "attach", "detach", "undo"]),
    document!("done-networks", 1, "What starting or stopping networks did.").by(&["network start", "network stop"]),
    document!("error", 1, "What went wrong: with --json on standard error."),
    document!("findings", 1, "What is wrong with a host's network, and what mends it.").by(&["doctor"]),
    document!("formats", 1, "The formats of guests' network configurations.").by(&["guest"]),
    document!("generated-mac", 1, "A hardware address for a guest.").by(&["mac generate"]),
    document!("guest", 1, "The network configuration of a guest in the format of its own system.").by(&["guest"]),
    document!("guest-wish", 1, "What is known about a guest and its LAN.").by_callers(),
    document!("guest-written", 1, "Files of a guest that were written.").by(&["guest"]),
    document!("hotplug-file", 1, "The file hotplug.toml, its values as JSON.").part(),
    document!("hotplug-settings", 1, "The settings of hotplug calls.").by(&["parse hotplug"]),
    document!("import", 1, "The networks of Xen up to 4.4 as networks.toml.").by(&["import"]),
    document!("installed", 1, "Hotplug scripts that were installed or removed.").by(&["install-scripts"]),
    document!("link-event", 1, "Something that has happened to a link."),
    document!("log-event", 1, "Something that happens in a call, for a program's log."),
    document!("mac", 1, "A hardware address.").by(&["parse mac"]),
    document!("network", 1, "A network that is wanted.").by_callers(),
    document!("network-status", 1, "How a network is, compared with how it was described."),
    document!("networks", 1, "The networks of a networks.toml.").by(&["parse networks"]).taken(),
    document!("networks-file", 1, "The file networks.toml, its values as JSON.").part(),
    document!("note", 1, "A remark beside an answer: with --json on standard error."),
    document!("overview", 1, "The networking of a host at one glance.").by(&["show"]),
    document!("parsed-value", 1, "A value that was read from a text, and what is to be said of it."),
    document!("parsed-vif", 1, "A vif line that was read, and what is to be said of it."),
    document!("permissions", 1, "Who may do what with a node of xenstore."),
    document!("picture", 1, "A host's network, described networks, or a plan, in layers.").by(&["picture"]),
    document!("plan", 1, "What would be done, a step at a time.").by(&["plan"]).taken(),
    document!("planned-recovery", 1, "What recovering would do."),
    document!("rate", 1, "A limit of a guest's rate.").by(&["parse rate"]),
    document!("record", 2, "An operation on a vif, bridge or network: a line of a journal.").in_state_dir(),
    document!("recorded", 1, "A recording that was written to a file.").by(&["record"]),
    document!("recording", 1, "The network state of a host at one moment.").by(&["record"]).taken_with_version(),
    document!("recovered", 1, "What recovering did.").by(&["recover"]),
    document!("schemas", 1, "All documents.").by(&["schema"]),
    document!("show", 1, "Attached vifs, and bridges with their ports."),
    document!("snapshot", 1, "What of a host was observed: a part of recordings and records.").part().taken(),
    document!("snippet-files", 1, "What keeps other programs off guests' links, written to files.").by(&["snippets"]),
    document!("snippets", 1, "What keeps other programs off guests' links.").by(&["snippets"]),
    document!("started-network", 2, "A started network, as hotplug calls know it.").in_state_dir(),
    document!("status", 1, "How networks are.").by(&["network status"]),
    document!("store-event", 1, "An event of a watch of xenstore."),
    document!("trace", 1, "What happens to a packet.").by(&["trace"]),
    document!("vif", 1, "A vif, with libxl's field names.").by(&["parse attach", "parse vif"]).by_callers(),
    document!("vifs", 1, "The vifs of a config file.").by(&["parse vif-list"]),
    document!("violations", 1, "The packets of guests that were dropped, by link and class.").by(&["show --counters"]),
    document!("vlan", 1, "The VLANs of a vif.").by(&["parse vlan"]),
    document!("xend-config", 1, "What xend ran for the network.").by(&["parse xend-config"]),
    document!("xl-vif", 1, "A vif as xl hands it to libxl, with nothing checked.").by(&["parse attach", "parse vif"]),
    document!("xl-vifs", 1, "The vifs of a config file as xl hands them to libxl.").by(&["parse vif-list"]),
];

/// The document of this name.
///
/// # Errors
/// [`ErrorKind::Invalid`] for a name that no document has.
pub fn named(name: &str) -> Result<&'static Document, Error> {
    ALL.iter().find(|document| document.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|document| document.name).collect();
        Error::new(ErrorKind::Invalid, format!("{} is not the name of a document", quoted(name)))
            .with_object(beginning(name))
            .with_hint(format!("documents: {}", names.join(", ")))
    })
}

/// The schema of the document of this name: JSON Schema, draft 2020-12, as text, with all that it refers to.
///
/// # Errors
/// As [`named`].
pub fn schema(name: &str) -> Result<String, Error> {
    named(name).map(Document::bundled)
}

#[cfg(all(test, feature = "schema"))]
mod tests;
