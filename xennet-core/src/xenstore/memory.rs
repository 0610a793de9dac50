//! A store in memory: what [`super::server::Server`] does, without a socket.

use super::tree::{Caller, Tree};
use super::{Store, StoreError, check};
use crate::error::Errno;
use crate::snapshot::StorePermission;

/// A [`Store`] in this process, for tests and rehearsals of what needs no server.
///
/// ```
/// use xennet_core::xenstore::{MemoryStore, Store};
///
/// let mut store = MemoryStore::new(0);
/// store.write("backend/vif/1/0/state", b"2")?;
/// assert_eq!(store.tree().get("/local/domain/0/backend/vif/1/0/state"), Some(b"2".as_slice()));
/// # Ok::<(), xennet_core::xenstore::StoreError>(())
/// ```
#[derive(Clone, Debug)]
pub struct MemoryStore {
    tree: Tree,
    me: Caller,
}

impl MemoryStore {
    /// An empty store, used by this domain.
    pub fn new(domid: u16) -> Self {
        MemoryStore::over(Tree::new(), domid)
    }

    /// A store that holds something already, used by this domain.
    pub fn over(mut tree: Tree, domid: u16) -> Self {
        let me = Caller::of(tree.connect(domid));
        MemoryStore { tree, me }
    }

    /// What is in it, for looking and changing from outside.
    pub fn tree(&mut self) -> &mut Tree {
        &mut self.tree
    }

    fn do_in<T>(
        &mut self,
        operation: &'static str,
        path: &str,
        f: impl FnOnce(&mut Tree, Caller) -> Result<T, Errno>,
    ) -> Result<T, StoreError> {
        check::path(operation, path)?;
        f(&mut self.tree, self.me).map_err(|errno| StoreError::refused(errno, operation, path))
    }
}

fn found<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(e) if e.errno() == Errno::ENOENT => Ok(None),
        Err(e) => Err(e),
    }
}

impl Store for MemoryStore {
    fn read_many(&mut self, paths: &[&str]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        paths.iter().map(|path| found(self.do_in("read", path, |t, me| t.read(me, path)))).collect()
    }

    fn write(&mut self, path: &str, value: &[u8]) -> Result<(), StoreError> {
        self.write_all(&[(path, value)])
    }

    fn write_all(&mut self, pairs: &[(&str, &[u8])]) -> Result<(), StoreError> {
        const WHAT: &str = "write";
        for (path, value) in pairs {
            check::pair(WHAT, path, value)?;
        }
        let refused = |errno| StoreError::refused(errno, WHAT, "");
        let number = self.tree.start(self.me.connection).map_err(refused)?;
        let within = self.me.within(number);
        for (path, value) in pairs {
            if let Err(e) = self.do_in(WHAT, path, |tree, _| tree.write(within, path, value)) {
                self.tree.end(within, false).map_err(refused)?;
                return Err(e);
            }
        }
        self.tree.end(within, true).map_err(refused)
    }

    fn mkdir(&mut self, path: &str) -> Result<(), StoreError> {
        self.do_in("make", path, |t, me| t.mkdir(me, path))
    }

    fn rm(&mut self, path: &str) -> Result<(), StoreError> {
        found(self.do_in("remove", path, |t, me| t.rm(me, path))).map(|_| ())
    }

    fn directory(&mut self, path: &str) -> Result<Option<Vec<String>>, StoreError> {
        found(self.do_in("list", path, |t, me| t.directory(me, path)))
    }

    fn permissions(&mut self, path: &str) -> Result<Option<Vec<StorePermission>>, StoreError> {
        found(self.do_in("read the permissions of", path, |t, me| t.permissions(me, path)))
    }

    fn set_permissions(&mut self, path: &str, list: &[StorePermission]) -> Result<(), StoreError> {
        const WHAT: &str = "set the permissions of";
        check::permissions(WHAT, path, list)?;
        self.do_in(WHAT, path, |t, me| t.set_permissions(me, path, list))
    }
}
