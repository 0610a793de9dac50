//! The keys of COLO, which are carried and not understood.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::flaw::quoted;
use crate::error::{Error, ErrorKind};

/// One of the 48 `colo_*` keys.
///
/// Source: `tools/xl/xl_parse.c`, `parse_nic_config`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("pattern" = "^colo_[a-z0-9_]+$")))]
#[serde(try_from = "String", into = "String")]
pub struct ColoKey(u8);

const COLO: [&str; 48] = [
    "colo_checkpoint_host",
    "colo_checkpoint_port",
    "colo_compare_notify_dev",
    "colo_compare_out",
    "colo_compare_pri_in",
    "colo_compare_sec_in",
    "colo_filter_mirror_outdev",
    "colo_filter_mirror_queue",
    "colo_filter_redirector0_indev",
    "colo_filter_redirector0_outdev",
    "colo_filter_redirector0_queue",
    "colo_filter_redirector1_indev",
    "colo_filter_redirector1_outdev",
    "colo_filter_redirector1_queue",
    "colo_filter_sec_redirector0_indev",
    "colo_filter_sec_redirector0_outdev",
    "colo_filter_sec_redirector0_queue",
    "colo_filter_sec_redirector1_indev",
    "colo_filter_sec_redirector1_outdev",
    "colo_filter_sec_redirector1_queue",
    "colo_filter_sec_rewriter0_queue",
    "colo_sock_compare_notify_id",
    "colo_sock_compare_notify_ip",
    "colo_sock_compare_notify_port",
    "colo_sock_compare_pri_in_id",
    "colo_sock_compare_pri_in_ip",
    "colo_sock_compare_pri_in_port",
    "colo_sock_compare_sec_in_id",
    "colo_sock_compare_sec_in_ip",
    "colo_sock_compare_sec_in_port",
    "colo_sock_mirror_id",
    "colo_sock_mirror_ip",
    "colo_sock_mirror_port",
    "colo_sock_redirector0_id",
    "colo_sock_redirector0_ip",
    "colo_sock_redirector0_port",
    "colo_sock_redirector1_id",
    "colo_sock_redirector1_ip",
    "colo_sock_redirector1_port",
    "colo_sock_redirector2_id",
    "colo_sock_redirector2_ip",
    "colo_sock_redirector2_port",
    "colo_sock_sec_redirector0_id",
    "colo_sock_sec_redirector0_ip",
    "colo_sock_sec_redirector0_port",
    "colo_sock_sec_redirector1_id",
    "colo_sock_sec_redirector1_ip",
    "colo_sock_sec_redirector1_port",
];

impl ColoKey {
    /// Every key, in the order of the names.
    pub fn all() -> impl Iterator<Item = ColoKey> {
        (0..COLO.len() as u8).map(ColoKey)
    }

    /// The key with this name.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        COLO.binary_search(&name).ok().map(|i| ColoKey(i as u8))
    }

    /// The name, with its `colo_`.
    pub fn name(self) -> &'static str {
        COLO[usize::from(self.0)]
    }
}

impl fmt::Display for ColoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Debug for ColoKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl TryFrom<String> for ColoKey {
    type Error = Error;
    fn try_from(name: String) -> Result<Self, Error> {
        ColoKey::from_name(&name).ok_or_else(|| {
            Error::new(ErrorKind::Invalid, format!("{} is no COLO key", quoted(&name))).with_object(name)
        })
    }
}

impl From<ColoKey> for String {
    fn from(key: ColoKey) -> String {
        key.name().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colo_names_are_sorted_and_found() {
        assert!(COLO.is_sorted());
        assert!(ColoKey::all().all(|k| ColoKey::from_name(k.name()) == Some(k)));
        assert_eq!(ColoKey::from_name("colo_x"), None);
    }
}
