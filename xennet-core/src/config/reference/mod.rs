//! The keys of our files and of vif lines: one table each. The readers go by them, and so do the schemas, the manual pages and the book.

mod hotplug;
mod networks;
#[cfg(feature = "schema")]
mod schema;
mod vif;

pub(super) use hotplug::HOTPLUG;
pub(super) use networks::{FORWARD, MODES, NETWORK};
#[cfg(feature = "schema")]
pub(crate) use schema::{hotplug_file, networks_file};
pub use vif::{VIF_KEYS, VifKey};

/// What a key's value is.
#[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "schemas are made of it"))]
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number, from the first to the last.
    Number(u32, u32),
    /// A text in quotes; what it is.
    Text(&'static str),
    /// One of these words in quotes.
    Words(&'static [&'static str]),
    /// A list of texts; what each of them is.
    Texts(&'static str),
    /// A text in quotes, or a whole number without quotes; what it is.
    TextOrNumber(&'static str),
    /// A list of tables, port forwards.
    Tables,
}

/// What holds where a key is left out.
#[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "schemas are made of it"))]
#[derive(Clone, Copy, Debug)]
pub(super) enum Absent {
    /// The same as with this value, as TOML has it.
    Value(&'static str),
    /// What these words say.
    Means(&'static str),
    /// The key has to be there.
    Refused,
}

/// A key of a file.
#[cfg_attr(not(feature = "schema"), allow(dead_code, reason = "schemas are made of it"))]
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The modes of networks that have it. Empty in tables that do not belong to a mode.
    pub(super) modes: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) absent: Absent,
    /// A value as TOML has it.
    pub(super) example: &'static str,
    /// Further lines that the example needs.
    #[cfg_attr(not(test), allow(dead_code, reason = "the tests try the examples"))]
    pub(super) beside: &'static str,
    /// What it does, in plain sentences.
    pub(super) what: &'static str,
    /// Whether a network that is started takes over a change of it.
    pub(super) changes: bool,
}

impl Key {
    const fn new(name: &'static str, kind: Kind, absent: Absent, example: &'static str, what: &'static str) -> Self {
        Key { name, modes: &[], kind, absent, example, beside: "", what, changes: false }
    }

    const fn of(self, modes: &'static [&'static str]) -> Self {
        Key { modes, ..self }
    }

    const fn beside(self, beside: &'static str) -> Self {
        Key { beside, ..self }
    }

    const fn changes(self) -> Self {
        Key { changes: true, ..self }
    }

    /// The largest number that is allowed.
    pub(super) const fn most(&self) -> u32 {
        match self.kind {
            Kind::Number(_, most) => most,
            _ => u32::MAX,
        }
    }
}

/// The key of this name.
pub(super) fn find<'a>(keys: impl IntoIterator<Item = &'a Key>, name: &str) -> Option<&'a Key> {
    keys.into_iter().find(|key| key.name == name)
}

/// The keys of networks of one mode, `mode` first.
pub(super) fn of_mode(mode: &str) -> impl Iterator<Item = &'static Key> {
    NETWORK.iter().filter(move |key| key.modes.contains(&mode))
}

/// The names of keys, in their order.
pub(super) fn names<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<&'static str> {
    keys.into_iter().map(|key| key.name).collect()
}

#[cfg(test)]
mod tests;
