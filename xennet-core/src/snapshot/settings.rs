//! Kernel settings. Those of a link are one folder, as below `/proc/sys`: a new link's folder is a copy of `default`'s.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Family;
use crate::error::{Error, ErrorKind};
use crate::model::IfName;
use crate::model::flaw::{beginning, quoted};

/// The path of a kernel setting under `/proc/sys`, with slashes: `net/ipv4/conf/vif1.0/proxy_arp`. (Dots would be
/// ambiguous: links have dots in their names.)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
pub struct SysctlKey(String);

impl SysctlKey {
    /// A setting of one link: `net/<family>/conf/<link>/<name>`.
    pub fn conf(family: Family, link: &IfName, name: &'static str) -> Self {
        SysctlKey(format!("{}/{link}/{name}", SysctlKey::folders(family)))
    }

    /// A setting of a link, `all` or `default`, whose folder's name ends with a slash.
    fn in_folder(family: Family, folder: &str, name: &str) -> Self {
        SysctlKey(format!("{}/{folder}{name}", SysctlKey::folders(family)))
    }

    /// The same taken apart: family, folder with its slash, and name.
    fn as_in_folder(&self) -> Option<(Family, &str, &str)> {
        let (family, link, name) = self.as_conf()?;
        let end = self.0.len() - name.len();
        Some((family, &self.0[end - link.len() - 1..end], name))
    }

    /// Where the folders of links are.
    fn folders(family: Family) -> &'static str {
        match family {
            Family::Ipv4 => "net/ipv4/conf",
            Family::Ipv6 => "net/ipv6/conf",
        }
    }

    /// `net/ipv4/ip_forward` or `net/ipv6/conf/all/forwarding`.
    pub fn forwarding(family: Family) -> Self {
        SysctlKey(match family {
            Family::Ipv4 => "net/ipv4/ip_forward".into(),
            Family::Ipv6 => "net/ipv6/conf/all/forwarding".into(),
        })
    }

    /// Whether it makes this domain a router.
    pub(crate) fn is_forwarding(&self) -> bool {
        self.0.ends_with("/forwarding") || self.0.ends_with("/ip_forward")
    }

    /// The path under `/proc/sys`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Family, link and name of a per-link setting.
    pub fn as_conf(&self) -> Option<(Family, &str, &str)> {
        let rest = self.0.strip_prefix("net/")?;
        let (family, rest) = rest.split_once("/conf/")?;
        let family = match family {
            "ipv4" => Family::Ipv4,
            "ipv6" => Family::Ipv6,
            _ => return None,
        };
        let (link, name) = rest.split_once('/')?;
        Some((family, link, name))
    }
}

impl FromStr for SysctlKey {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let ok = text.starts_with("net/")
            && text.len() <= 128
            && text.split('/').all(|part| {
                !part.is_empty() && part != "." && part != ".." && part.bytes().all(|b| b.is_ascii_graphic())
            });
        if ok {
            Ok(SysctlKey(text.to_owned()))
        } else {
            Err(Error::new(
                ErrorKind::Invalid,
                format!("{} is not a network setting: a path below net/ with slashes is needed", quoted(text)),
            )
            .with_object(beginning(text))
            .with_hint("write net/ipv4/conf/vif1.0/proxy_arp, not net.ipv4.conf.vif1.0.proxy_arp"))
        }
    }
}

impl TryFrom<String> for SysctlKey {
    type Error = Error;
    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

impl From<SysctlKey> for String {
    fn from(key: SysctlKey) -> String {
        key.0
    }
}

impl Borrow<str> for SysctlKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Kernel settings by their paths, without the trailing newline.
///
/// In documents it is a list of pairs: `[["net/ipv4/ip_forward", "1"]]`.
///
/// ```
/// use xennet_core::snapshot::Settings;
///
/// let key = "net/ipv4/conf/vif1.0/proxy_arp".parse()?;
/// let mut settings = Settings::default();
/// settings.insert(&key, "1");
/// assert_eq!(settings.get(&key), Some("1"));
/// # Ok::<(), xennet_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `net/ipv4/conf` and `net/ipv6/conf`: by link, `all` or `default`, with a slash behind it, so that the folders are in the order of
    /// their paths. A folder is shared until it is written to.
    ipv4: BTreeMap<Arc<str>, Arc<Folder>>,
    ipv6: BTreeMap<Arc<str>, Arc<Folder>>,
    others: BTreeMap<SysctlKey, String>,
}

type Folder = BTreeMap<Arc<str>, String>;

impl Settings {
    /// The value of a setting.
    pub fn get(&self, key: &SysctlKey) -> Option<&str> {
        match key.as_in_folder() {
            Some((family, folder, name)) => self.folders(family).get(folder)?.get(name),
            None => self.others.get(key),
        }
        .map(String::as_str)
    }

    /// Whether there is such a setting.
    pub fn contains_key(&self, key: &SysctlKey) -> bool {
        self.get(key).is_some()
    }

    /// Sets a setting, whether it is there or not.
    pub fn insert(&mut self, key: &SysctlKey, value: impl Into<String>) {
        let value = value.into();
        let Some((family, at, name)) = key.as_in_folder() else {
            self.others.insert(key.clone(), value);
            return;
        };
        let folders = self.folders_mut(family);
        let folder = match folders.get_mut(at) {
            Some(folder) => folder,
            None => folders.entry(at.into()).or_default(),
        };
        let folder = Arc::make_mut(folder);
        match folder.get_mut(name) {
            Some(old) => *old = value,
            None => drop(folder.insert(name.into(), value)),
        }
    }

    /// Writes a setting if it exists. Returns whether its value changed.
    pub fn change(&mut self, key: &SysctlKey, value: &str) -> bool {
        let changes = self.get(key).is_some_and(|old| old != value);
        if changes {
            self.insert(key, value);
        }
        changes
    }

    /// Takes a setting out.
    pub fn remove(&mut self, key: &SysctlKey) {
        let Some((family, at, name)) = key.as_in_folder() else {
            self.others.remove(key);
            return;
        };
        let folders = self.folders_mut(family);
        if let Some(folder) = folders.get_mut(at).filter(|folder| folder.contains_key(name)) {
            let folder = Arc::make_mut(folder);
            folder.remove(name);
            if folder.is_empty() {
                folders.remove(at);
            }
        }
    }

    /// All of them, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (SysctlKey, &str)> {
        let of = |family| {
            self.folders(family).iter().flat_map(move |(at, folder)| {
                folder.iter().map(move |(name, value)| (SysctlKey::in_folder(family, at, name), value.as_str()))
            })
        };
        let between = |from: Bound<&str>, to: Bound<&str>| {
            self.others.range::<str, _>((from, to)).map(|(key, value)| (key.clone(), value.as_str()))
        };
        let [ipv4, ipv6] = [Family::Ipv4, Family::Ipv6].map(SysctlKey::folders);
        between(Bound::Unbounded, Bound::Excluded(ipv4))
            .chain(of(Family::Ipv4))
            .chain(between(Bound::Included(ipv4), Bound::Excluded(ipv6)))
            .chain(of(Family::Ipv6))
            .chain(between(Bound::Included(ipv6), Bound::Unbounded))
    }

    /// Their paths, in the same order.
    pub fn keys(&self) -> impl Iterator<Item = SysctlKey> {
        self.iter().map(|(key, _)| key)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ipv4.is_empty() && self.ipv6.is_empty() && self.others.is_empty()
    }

    /// Takes all of them out.
    pub fn clear(&mut self) {
        *self = Settings::default();
    }

    /// Adds the settings of `others`; they replace those of the same path.
    pub(crate) fn merge(&mut self, others: Settings) {
        for (folders, more) in [(&mut self.ipv4, others.ipv4), (&mut self.ipv6, others.ipv6)] {
            for (at, folder) in more {
                match folders.get_mut(&at) {
                    Some(there) => Arc::make_mut(there).extend(Arc::unwrap_or_clone(folder)),
                    None => drop(folders.insert(at, folder)),
                }
            }
        }
        self.others.extend(others.others);
    }

    /// Gives a new link a copy of `default`'s settings of one family.
    pub(crate) fn appear(&mut self, link: &str, family: Family) {
        let folders = self.folders_mut(family);
        if let Some(default) = folders.get("default/").cloned() {
            folders.insert(folder(link).into(), default);
        }
    }

    /// A link's settings of a family go.
    pub(crate) fn vanish(&mut self, link: &str, family: Family) {
        self.folders_mut(family).remove(&*folder(link));
    }

    /// A link's settings move with its name.
    pub(crate) fn rename(&mut self, old: &str, new: &str) {
        for family in [Family::Ipv4, Family::Ipv6] {
            let folders = self.folders_mut(family);
            if let Some(moved) = folders.remove(&*folder(old)) {
                folders.insert(folder(new).into(), moved);
            }
        }
    }

    fn folders(&self, family: Family) -> &BTreeMap<Arc<str>, Arc<Folder>> {
        match family {
            Family::Ipv4 => &self.ipv4,
            Family::Ipv6 => &self.ipv6,
        }
    }

    fn folders_mut(&mut self, family: Family) -> &mut BTreeMap<Arc<str>, Arc<Folder>> {
        match family {
            Family::Ipv4 => &mut self.ipv4,
            Family::Ipv6 => &mut self.ipv6,
        }
    }
}

/// What a link's folder is kept under.
fn folder(link: &str) -> String {
    format!("{link}/")
}

impl FromIterator<(SysctlKey, String)> for Settings {
    fn from_iter<I: IntoIterator<Item = (SysctlKey, String)>>(all: I) -> Self {
        let mut settings = Settings::default();
        for (key, value) in all {
            settings.insert(&key, value);
        }
        settings
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for Settings {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        Ok(Vec::<(SysctlKey, String)>::deserialize(input)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(path: &str) -> SysctlKey {
        path.parse().unwrap()
    }

    #[test]
    fn settings_are_told_in_the_order_of_their_paths() {
        let paths = [
            "net/bridge/bridge-nf-call-iptables",
            "net/ipv4/conf/all/forwarding",
            "net/ipv4/conf/vif1.0-emu/proxy_arp",
            "net/ipv4/conf/vif1.0/forwarding",
            "net/ipv4/conf/vif1.0/proxy_arp",
            "net/ipv4/ip_forward",
            "net/ipv6/conf/all/forwarding",
            "net/netfilter/nf_conntrack_max",
        ];
        let mut settings: Settings = paths.iter().rev().map(|path| (key(path), "1".to_owned())).collect();
        assert_eq!(settings.keys().map(String::from).collect::<Vec<_>>(), paths);
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.starts_with(r#"[["net/bridge/bridge-nf-call-iptables","1"],"#), "{text}");
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
        for path in paths {
            assert!(settings.contains_key(&key(path)));
            settings.remove(&key(path));
            assert!(!settings.contains_key(&key(path)));
        }
        assert!(settings.is_empty());
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn the_settings_of_a_link_come_move_and_go_with_it() {
        let of = |link: &str| key(&format!("net/ipv6/conf/{link}/hop_limit"));
        let mut settings = Settings::default();
        settings.insert(&of("default"), "64");
        settings.appear("a", Family::Ipv6);
        settings.appear("a", Family::Ipv4);
        assert!(settings.change(&of("a"), "1") && !settings.change(&of("a"), "1") && !settings.change(&of("b"), "1"));
        settings.appear("c", Family::Ipv6);
        settings.rename("a", "b");
        let seen = [of("a"), of("b"), of("c"), of("default")].map(|key| settings.get(&key).map(str::to_owned));
        assert_eq!(seen, [None, Some("1".into()), Some("64".into()), Some("64".into())]);
        settings.vanish("b", Family::Ipv4);
        assert!(settings.contains_key(&of("b")));
        settings.vanish("b", Family::Ipv6);
        assert!(!settings.contains_key(&of("b")));
    }
}
