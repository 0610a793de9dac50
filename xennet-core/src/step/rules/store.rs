//! xenstore nodes (`tools/xenstored/core.c`).

use super::World;
use crate::error::Errno;
use crate::snapshot::{Part, StoreNode, StorePath, StorePermission};
use crate::step::{StoreOp, StoreTransaction};

/// The most bytes that one message carries (`XENSTORE_PAYLOAD_MAX`, `xen/include/public/io/xs_wire.h`).
const PAYLOAD_MAX: usize = 4096;

/// All or nothing: a transaction.
pub(super) fn step(w: &mut World<'_>, transaction: &StoreTransaction) -> Result<(), Errno> {
    let mut touched: Vec<(StorePath, Option<StoreNode>)> = Vec::new();
    for op in &transaction.0 {
        if let Err(errno) = apply(w, op, &mut touched) {
            for (path, before) in touched.into_iter().rev() {
                match before {
                    Some(node) => w.now.store.insert(path, node),
                    None => w.now.store.remove(&path),
                };
            }
            return Err(errno);
        }
    }
    Ok(())
}

type Touched = Vec<(StorePath, Option<StoreNode>)>;

fn apply(w: &mut World<'_>, op: &StoreOp, touched: &mut Touched) -> Result<(), Errno> {
    match op {
        StoreOp::Write { path, value } => {
            // Path, a zero, value: libxenstore sends nothing longer (E2BIG, xs_talkv).
            if path.as_str().len().saturating_add(1).saturating_add(value.len()) > PAYLOAD_MAX {
                return Err(Errno::E2BIG);
            }
            match w.now.store.get(path).cloned() {
                Some(node) => put(w, touched, path, StoreNode { value: value.clone(), ..node }),
                None => make(w, touched, path, value.clone()),
            }
            Ok(())
        }
        StoreOp::Mkdir { path } => {
            if !w.now.store.contains_key(path) {
                make(w, touched, path, Vec::new());
            }
            Ok(())
        }
        StoreOp::Rm { path } => rm(w, touched, path),
        StoreOp::SetPerms { path, permissions } => match w.now.store.get(path).cloned() {
            _ if permissions.is_empty() => Err(Errno::EINVAL),
            Some(node) => {
                put(w, touched, path, StoreNode { permissions: permissions.clone(), ..node });
                Ok(())
            }
            None if knows(w, path) => Err(Errno::ENOENT),
            None => Ok(()),
        },
    }
}

/// Whether a node that is missing is known not to exist.
fn knows(w: &World<'_>, path: &StorePath) -> bool {
    w.now.hidden.whole
        || w.now.scope.parts().any(|p| match p {
            Part::Store(p) => p == path,
            Part::StoreTree(p) => path.is_below(p),
            _ => false,
        })
}

fn put(w: &mut World<'_>, touched: &mut Touched, path: &StorePath, node: StoreNode) {
    let before = w.now.store.insert(path.clone(), node);
    touched.push((path.clone(), before));
}

/// `construct_node`: the nodes above are made too, and each takes its parent's permissions.
fn make(w: &mut World<'_>, touched: &mut Touched, path: &StorePath, value: Vec<u8>) {
    let permissions = match path.parent() {
        Some(parent) => {
            // Whether an unobserved node above exists cannot be known; it is not invented.
            if !w.now.store.contains_key(&parent) && knows(w, &parent) {
                make(w, touched, &parent, Vec::new());
            }
            w.now.store.get(&parent).map(|n| n.permissions.clone())
        }
        None => None,
    };
    let permissions = permissions.unwrap_or_else(|| vec![StorePermission { domid: 0, read: false, write: false }]);
    put(w, touched, path, StoreNode { value, permissions });
}

/// `do_rm`: a missing node whose parent exists is a success; the root cannot be removed.
fn rm(w: &mut World<'_>, touched: &mut Touched, path: &StorePath) -> Result<(), Errno> {
    let Some(parent) = path.parent() else { return Err(Errno::EINVAL) };
    if !w.now.store.contains_key(path) && knows(w, path) && knows(w, &parent) && !w.now.store.contains_key(&parent) {
        return Err(Errno::ENOENT);
    }
    let gone: Vec<StorePath> = w
        .now
        .store
        .range(path.clone()..)
        .map(|(p, _)| p)
        .take_while(|p| p.as_str().starts_with(path.as_str()))
        .cloned()
        .collect();
    for below in gone.into_iter().filter(|p| p.is_below(path)) {
        let before = w.now.store.remove(&below);
        touched.push((below, before));
    }
    Ok(())
}
