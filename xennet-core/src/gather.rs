//! Ordered collections and short orders, made without sorting.
//!
//! `collect` into a set or map sorts first, by a routine of several KiB for every type. Here it is a handful of objects each
//! time: putting them in one after the other is as fast, and the program, which has to be brought into memory for each hotplug
//! call, is smaller by a twentieth.

use std::collections::{BTreeMap, BTreeSet};

/// A set of these.
pub(crate) fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// A map of these; the last of equal keys counts.
pub(crate) fn map<K: Ord, V>(items: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(items);
    map
}

/// The same items: first those for which `is_last` is false, then the others. Within both the order stays.
pub(crate) fn last<T>(items: impl IntoIterator<Item = T>, is_last: impl Fn(&T) -> bool) -> Vec<T> {
    let (mut behind, mut first) = (Vec::new(), Vec::new());
    for item in items {
        if is_last(&item) { behind.push(item) } else { first.push(item) }
    }
    first.append(&mut behind);
    first
}
