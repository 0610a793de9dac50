//! What is refused before it is sent, by every kind of store alike.

use super::wire::{PAYLOAD_MAX, check_path};
use super::{StoreError, StoreErrorKind};
use crate::error::Errno;
use crate::snapshot::StorePermission;

/// A path must be one.
pub(super) fn path(operation: &'static str, path: &str) -> Result<(), StoreError> {
    check_path(path).map_err(|rule| StoreError::new(StoreErrorKind::Invalid, Errno::EINVAL, operation, path, rule))
}

/// Path and value must fit into one message.
pub(super) fn pair(operation: &'static str, path: &str, value: &[u8]) -> Result<(), StoreError> {
    self::path(operation, path)?;
    let len = path.len().saturating_add(1).saturating_add(value.len());
    if len <= PAYLOAD_MAX {
        return Ok(());
    }
    let rule = format!("path, NUL and value have at most {PAYLOAD_MAX} bytes together, these have {len}");
    Err(StoreError::new(StoreErrorKind::Invalid, Errno::E2BIG, operation, path, rule))
}

/// A list of permissions must have an owner.
pub(super) fn permissions(operation: &'static str, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
    self::path(operation, path)?;
    if !list.is_empty() {
        return Ok(());
    }
    let rule = "the first permission names the owner, so one is needed";
    Err(StoreError::new(StoreErrorKind::Invalid, Errno::EINVAL, operation, path, rule))
}
