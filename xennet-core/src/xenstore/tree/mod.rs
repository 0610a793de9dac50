//! What xenstored does, as a pure state machine: nodes, permissions, transactions, watches. No I/O, no clock.
//!
//! The rules are those of the C xenstored (`tools/xenstored`, Xen 4.17), including the ones that surprise: removing a
//! node that does not exist is a success if its parent exists; a domain owns what it creates; a transaction copies a
//! node when it first looks at it, and fails at its end if somebody has changed that node meanwhile.
//!
//! Not modelled: live update and the other commands of `CONTROL`, the permissions of the special names, and the removal
//! of what a dead domain owned.

mod domain;
mod transaction;
mod watch;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::error::Errno;
use crate::snapshot::{StoreNode, StorePath, StorePermission};

use super::Event;
use super::wire::{ABS_PATH_MAX, PAYLOAD_MAX, REL_PATH_MAX};
use transaction::Transaction;
use watch::Watch;

/// Who asks: a connection, and the transaction it asks in.
///
/// There are no other parts: a request comes by a connection, within a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The number that [`Tree::connect`] gave.
    pub connection: u32,
    /// The transaction, 0 outside of one.
    pub transaction: u32,
}

impl Caller {
    /// The world itself: a privileged connection that is always there. Tests look and change through it.
    pub const WORLD: Caller = Caller { connection: 0, transaction: 0 };

    /// A connection, outside of transactions.
    pub const fn of(connection: u32) -> Caller {
        Caller { connection, transaction: 0 }
    }

    /// The same connection within this transaction.
    pub const fn within(self, transaction: u32) -> Caller {
        Caller { transaction, ..self }
    }
}

/// How much a domain other than dom0 may have. `None`: as much as it likes.
///
/// Source: the options of `xenstored(8)`: `--entry-nb`, `--watch-nb`, `--transaction`, `--entry-size`, `--perm-nb`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Nodes that it owns.
    pub nodes: Option<usize>,
    /// Watches.
    pub watches: Option<usize>,
    /// Open transactions of one connection.
    pub transactions: Option<usize>,
    /// Bytes of one node: value, names of children and permissions.
    pub node_size: Option<usize>,
    /// Entries in the list of permissions of one node.
    pub permissions: Option<usize>,
}

setters! { Quota {
    with_nodes: nodes = impl Into<Option<usize>>;
    with_watches: watches = impl Into<Option<usize>>;
    with_transactions: transactions = impl Into<Option<usize>>;
    with_node_size: node_size = impl Into<Option<usize>>;
    with_permissions: permissions = impl Into<Option<usize>>;
} }

impl Quota {
    /// What xenstored allows if nobody tells it otherwise.
    pub const XENSTORED: Quota = Quota {
        nodes: Some(1000),
        watches: Some(128),
        transactions: Some(10),
        node_size: Some(2048),
        permissions: Some(5),
    };
}

#[derive(Clone, Debug)]
struct Node {
    value: Vec<u8>,
    permissions: Vec<StorePermission>,
    /// In the order in which they were made, as xenstored lists them.
    children: Vec<String>,
    generation: u64,
}

impl Node {
    /// The size that the quota counts (`struct xs_tdb_record_hdr` and what follows it).
    fn size(&self) -> usize {
        let names = self.children.iter().fold(0_usize, |sum, name| sum.saturating_add(name.len()).saturating_add(1));
        24_usize
            .saturating_add(self.permissions.len().saturating_mul(8))
            .saturating_add(self.value.len())
            .saturating_add(names)
    }
}

#[derive(Clone, Debug)]
struct Connection {
    domid: u16,
    watches: Vec<Watch>,
    transactions: BTreeMap<u32, Transaction>,
    last_transaction: u32,
    events: VecDeque<Event>,
    /// The same events, to find one among them.
    waiting: BTreeSet<Event>,
    flooded: bool,
}

impl Connection {
    fn new(domid: u16) -> Self {
        Connection {
            domid,
            watches: Vec::new(),
            transactions: BTreeMap::new(),
            last_transaction: 0,
            events: VecDeque::new(),
            waiting: BTreeSet::new(),
            flooded: false,
        }
    }
}

/// What somebody may do with a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Access {
    read: bool,
    write: bool,
    owner: bool,
}

impl Access {
    const READ: Access = Access { read: true, write: false, owner: false };
    const WRITE: Access = Access { read: false, write: true, owner: false };
    const OWN: Access = Access { read: false, write: true, owner: true };
    const ALL: Access = Access { read: true, write: true, owner: true };

    fn covers(self, need: Access) -> bool {
        (self.read || !need.read) && (self.write || !need.write) && (self.owner || !need.owner)
    }
}

/// The whole store, with everybody who is connected to it.
///
/// ```
/// use xennet_core::Errno;
/// use xennet_core::xenstore::tree::{Caller, Tree};
///
/// let mut tree = Tree::new();
/// tree.set("/local/domain/5/name", b"web")?; // the nodes above are made, too
/// let guest = Caller::of(tree.connect(5));
/// assert_eq!(tree.read(guest, "name"), Err(Errno::EACCES)); // relative: below /local/domain/5
/// # Ok::<(), Errno>(())
/// ```
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<String, Arc<Node>>,
    connections: BTreeMap<u32, Connection>,
    last_connection: u32,
    /// Counts changes. Each changed node takes the next number, so a node that was changed is told from one that was not.
    generation: u64,
    domains: BTreeSet<u16>,
    /// A device model's domain and the guest that it acts for.
    targets: BTreeMap<u16, u16>,
    quota: Quota,
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// A store with nothing but its root, which belongs to dom0. No quotas.
    pub fn new() -> Self {
        Tree::with_quota(Quota::default())
    }

    /// The same with quotas for domains other than dom0.
    pub fn with_quota(quota: Quota) -> Self {
        let permissions = vec![StorePermission { domid: 0, read: false, write: false }];
        let root = Node { value: Vec::new(), permissions, children: Vec::new(), generation: 1 };
        Tree {
            nodes: BTreeMap::from([("/".to_owned(), Arc::new(root))]),
            connections: BTreeMap::from([(Caller::WORLD.connection, Connection::new(0))]),
            last_connection: 0,
            generation: 1,
            domains: BTreeSet::from([0]),
            targets: BTreeMap::new(),
            quota,
        }
    }

    /// Somebody of this domain connects. The number names the connection from now on; never 0.
    pub fn connect(&mut self, domid: u16) -> u32 {
        loop {
            self.last_connection = self.last_connection.wrapping_add(1).max(1);
            if !self.connections.contains_key(&self.last_connection) {
                self.connections.insert(self.last_connection, Connection::new(domid));
                return self.last_connection;
            }
        }
    }

    /// The connection is gone, and with it its watches and transactions.
    pub fn disconnect(&mut self, connection: u32) {
        if connection != Caller::WORLD.connection {
            self.connections.remove(&connection);
        }
    }

    /// The value of a node, asked by the world. `None`: there is no such node.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path).map(|node| node.value.as_slice())
    }

    /// Sets a node, as dom0 would. Watches fire.
    ///
    /// # Errors
    /// `EINVAL`: not a path.
    pub fn set(&mut self, path: &str, value: &[u8]) -> Result<(), Errno> {
        self.write(Caller::WORLD, path, value)
    }

    /// Every node, as the snapshot of a backend shows them. For tests: comparing, printing.
    pub fn nodes(&self) -> BTreeMap<StorePath, StoreNode> {
        let node = |(path, node): (&String, &Arc<Node>)| {
            let shown = StoreNode { value: node.value.clone(), permissions: node.permissions.clone() };
            // No other path gets in.
            Some((path.parse().ok()?, shown))
        };
        self.nodes.iter().filter_map(node).collect()
    }

    /// The value of a node.
    ///
    /// # Errors
    /// `EINVAL`: not a path; `ENOENT`: no such node or transaction; `EACCES`: not allowed.
    pub fn read(&mut self, at: Caller, path: &str) -> Result<Vec<u8>, Errno> {
        let name = self.enter(at, path)?;
        Ok(self.allowed(at, &name, Access::READ)?.value.clone())
    }

    /// The names of the children of a node, oldest first.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn directory(&mut self, at: Caller, path: &str) -> Result<Vec<String>, Errno> {
        Ok(self.listing(at, path)?.1)
    }

    /// The names of the children of a node, and a number that changes with every change of the node.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn listing(&mut self, at: Caller, path: &str) -> Result<(u64, Vec<String>), Errno> {
        let name = self.enter(at, path)?;
        let node = self.allowed(at, &name, Access::READ)?;
        Ok((node.generation, node.children.clone()))
    }

    /// Who may do what with a node.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn permissions(&mut self, at: Caller, path: &str) -> Result<Vec<StorePermission>, Errno> {
        let name = self.enter(at, path)?;
        Ok(self.allowed(at, &name, Access::READ)?.permissions.clone())
    }

    /// Sets the value of a node. A node that does not exist is made, and the nodes above it; each takes the permissions
    /// of its parent, and belongs to the domain that makes it if that is not dom0.
    ///
    /// # Errors
    /// `EINVAL`: not a path, or a value that fits into no message; `ENOENT`: no such transaction; `EACCES`: not allowed;
    /// `ENOSPC`: against the quota.
    pub fn write(&mut self, at: Caller, path: &str, value: &[u8]) -> Result<(), Errno> {
        if value.len() > PAYLOAD_MAX {
            return Err(Errno::EINVAL);
        }
        let name = self.enter(at, path)?;
        match self.allowed(at, &name, Access::WRITE) {
            Ok(node) => {
                self.fits(at, &node, value.len(), node.value.len())?;
                drop(node);
                self.edit(at, &name, |node| node.value = value.to_vec());
            }
            Err(Errno::ENOENT) => self.create(at, &name, value)?,
            Err(errno) => return Err(errno),
        }
        self.fire(at, &name, false, None);
        Ok(())
    }

    /// Makes a node with no value. One that exists is left as it is.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub fn mkdir(&mut self, at: Caller, path: &str) -> Result<(), Errno> {
        let name = self.enter(at, path)?;
        match self.allowed(at, &name, Access::WRITE) {
            Ok(_) => Ok(()),
            Err(Errno::ENOENT) => {
                self.create(at, &name, &[])?;
                self.fire(at, &name, false, None);
                Ok(())
            }
            Err(errno) => Err(errno),
        }
    }

    /// Removes a node and all below it. A node that does not exist is a success if its parent exists.
    ///
    /// # Errors
    /// `EINVAL`: not a path, or the root; `ENOENT`: neither node nor parent, or no such transaction; `EACCES`.
    pub fn rm(&mut self, at: Caller, path: &str) -> Result<(), Errno> {
        let name = self.enter(at, path)?;
        match self.allowed(at, &name, Access::WRITE) {
            Ok(_) if name == "/" => return Err(Errno::EINVAL),
            Ok(_) => {}
            Err(Errno::ENOENT) => {
                return self.look(at, parent(&name)).map(|_| ()).ok_or(Errno::ENOENT);
            }
            Err(errno) => return Err(errno),
        }
        let mut gone: Vec<String> = Vec::new();
        let mut open = vec![name.clone()];
        while let Some(path) = open.pop() {
            if let Some(node) = self.look(at, &path) {
                open.extend(node.children.iter().map(|child| join(&path, child)));
            }
            gone.push(path);
        }
        // Children before their parents, in the order in which they were made.
        gone.reverse();
        for path in &gone {
            self.fire(at, path, *path != name, None);
        }
        for path in &gone {
            self.put(at, path, None);
        }
        let child = base(&name);
        self.edit(at, parent(&name), |node| node.children.retain(|c| c != child));
        Ok(())
    }

    /// Sets who may do what with a node. The first entry names the owner, and what everyone may do.
    ///
    /// # Errors
    /// `EINVAL`: not a path, or no entry; `ENOENT`; `EACCES`: somebody else's node; `EPERM`: only dom0 gives a node
    /// away; `ENOSPC`: against the quota.
    pub fn set_permissions(&mut self, at: Caller, path: &str, list: &[StorePermission]) -> Result<(), Errno> {
        let name = self.enter(at, path)?;
        let Some(first) = list.first() else { return Err(Errno::EINVAL) };
        let node = self.allowed(at, &name, Access::OWN)?;
        let privileged = self.privileged(at);
        if !privileged && self.quota.permissions.is_some_and(|max| list.len() > max) {
            return Err(Errno::ENOSPC);
        }
        if !privileged && node.permissions.first().map(|p| p.domid) != Some(first.domid) {
            return Err(Errno::EPERM);
        }
        self.fits(at, &node, list.len().saturating_mul(8), node.permissions.len().saturating_mul(8))?;
        let before = node.permissions.clone();
        drop(node);
        self.edit(at, &name, |node| node.permissions = list.to_vec());
        self.fire(at, &name, false, Some(before));
        Ok(())
    }

    /// Where relative paths of this connection begin.
    pub fn home(&self, connection: u32) -> String {
        home(self.domid(Caller::of(connection)))
    }

    fn domid(&self, at: Caller) -> u16 {
        // An unknown connection gets nothing: no domain has this number (`DOMID_INVALID`).
        self.connections.get(&at.connection).map_or(0x7ff4, |c| c.domid)
    }

    fn privileged(&self, at: Caller) -> bool {
        self.domid(at) == 0
    }

    /// Whether the connection is there, and its transaction if it names one.
    pub(super) fn knows(&self, at: Caller) -> bool {
        let connection = self.connections.get(&at.connection);
        connection.is_some_and(|c| at.transaction == 0 || c.transactions.contains_key(&at.transaction))
    }

    /// The start of every operation: the transaction must exist, the path must be one. Returns it absolute.
    fn enter(&self, at: Caller, path: &str) -> Result<String, Errno> {
        let connection = self.connections.get(&at.connection).ok_or(Errno::EINVAL)?;
        if !self.knows(at) {
            return Err(Errno::ENOENT);
        }
        absolute(connection.domid, path).ok_or(Errno::EINVAL)
    }

    /// The node as the caller sees it. A transaction sees it as it was at its first look, with its own changes.
    fn look(&mut self, at: Caller, path: &str) -> Option<Arc<Node>> {
        let transaction =
            self.connections.get_mut(&at.connection).and_then(|c| c.transactions.get_mut(&at.transaction));
        match transaction {
            None => self.nodes.get(path).cloned(),
            Some(transaction) => transaction.look(path, &self.nodes),
        }
    }

    /// Replaces a node, or removes it. Its parent is the caller's business.
    fn put(&mut self, at: Caller, path: &str, node: Option<Node>) {
        self.generation = self.generation.saturating_add(1);
        let node = node.map(|node| Arc::new(Node { generation: self.generation, ..node }));
        let transaction =
            self.connections.get_mut(&at.connection).and_then(|c| c.transactions.get_mut(&at.transaction));
        match (transaction, node) {
            (Some(transaction), node) => transaction.put(path, &self.nodes, node),
            (None, Some(node)) => {
                self.nodes.insert(path.to_owned(), node);
            }
            (None, None) => {
                self.nodes.remove(path);
            }
        }
    }

    /// Changes a node in place. One that does not exist stays so.
    fn edit(&mut self, at: Caller, path: &str, change: impl FnOnce(&mut Node)) {
        self.generation = self.generation.saturating_add(1);
        let transaction =
            self.connections.get_mut(&at.connection).and_then(|c| c.transactions.get_mut(&at.transaction));
        let node = match transaction {
            Some(transaction) => transaction.change(path, &self.nodes),
            None => self.nodes.get_mut(path),
        };
        if let Some(node) = node {
            let node = Arc::make_mut(node);
            change(node);
            node.generation = self.generation;
        }
    }

    /// What the caller may do with a node that has these permissions (`perm_for_conn`): owner and dom0 everything,
    /// then the entry for the domain, then the first entry.
    fn access(&self, domid: u16, permissions: &[StorePermission]) -> Access {
        let target = self.targets.get(&domid);
        let me = |p: &StorePermission| p.domid == domid || Some(&p.domid) == target;
        let Some(first) = permissions.first() else { return Access::ALL };
        if domid == 0 || me(first) {
            return Access::ALL;
        }
        let entry = permissions.get(1..).and_then(|rest| rest.iter().find(|p| me(p))).unwrap_or(first);
        Access { read: entry.read, write: entry.write, owner: false }
    }

    /// The node, if the caller may do this with it. Who may not even look at the nearest node above is not told that the
    /// node does not exist.
    fn allowed(&mut self, at: Caller, path: &str, need: Access) -> Result<Arc<Node>, Errno> {
        let domid = self.domid(at);
        let mut path = path;
        let mut missing = false;
        loop {
            let node = self.look(at, path);
            match node {
                Some(node) if !self.access(domid, &node.permissions).covers(need) => return Err(Errno::EACCES),
                Some(_) if missing => return Err(Errno::ENOENT),
                Some(node) => return Ok(node),
                // The root always exists, so this ends.
                None if path == "/" => return Err(Errno::ENOENT),
                None => {
                    missing = true;
                    path = parent(path);
                }
            }
        }
    }

    /// Whether a node that gets `more` bytes in place of `less` keeps to the quota.
    fn fits(&self, at: Caller, node: &Node, more: usize, less: usize) -> Result<(), Errno> {
        match self.quota.node_size {
            Some(max) if !self.privileged(at) && node.size().saturating_add(more).saturating_sub(less) >= max => {
                Err(Errno::ENOSPC)
            }
            _ => Ok(()),
        }
    }

    /// Makes a node that does not exist, and those above it.
    fn create(&mut self, at: Caller, path: &str, value: &[u8]) -> Result<(), Errno> {
        let mut missing = vec![path];
        let mut above = parent(path);
        let ancestor = loop {
            match self.look(at, above) {
                Some(node) => break node,
                None => missing.push(above),
            }
            above = parent(above);
        };
        let mut permissions = ancestor.permissions.clone();
        if !self.privileged(at) {
            let domid = self.domid(at);
            if let Some(owner) = permissions.first_mut() {
                owner.domid = domid;
            }
            if self.quota.nodes.is_some_and(|max| self.owned(at, domid).saturating_add(missing.len()) > max) {
                return Err(Errno::ENOSPC);
            }
        }
        let new = |value: &[u8], children: Vec<String>| Node {
            value: value.to_vec(),
            permissions: permissions.clone(),
            children,
            generation: 0,
        };
        self.fits(at, &new(value, Vec::new()), 0, 0)?;
        let name = missing.last().map_or("", |p| base(p));
        self.fits(at, &ancestor, name.len().saturating_add(1), 0)?;
        drop(ancestor);
        let mut below: Option<&str> = None;
        for made in &missing {
            let node = match below {
                None => new(value, Vec::new()),
                Some(child) => new(&[], vec![child.to_owned()]),
            };
            self.put(at, made, Some(node));
            below = Some(base(made));
        }
        if let Some(child) = below {
            self.edit(at, above, |node| node.children.push(child.to_owned()));
        }
        Ok(())
    }

    /// How many nodes a domain owns, as the caller sees the tree.
    fn owned(&self, at: Caller, domid: u16) -> usize {
        let mine = |node: &Node| node.permissions.first().is_some_and(|p| p.domid == domid);
        let all = self.nodes.values().filter(|n| mine(n)).count();
        let connection = self.connections.get(&at.connection);
        match connection.and_then(|c| c.transactions.get(&at.transaction)) {
            None => all,
            Some(transaction) => transaction.owned(all, &self.nodes, mine),
        }
    }
}

/// The node of a domain, below which its relative paths lie.
fn home(domid: u16) -> String {
    format!("/local/domain/{domid}")
}

/// The path with its beginning, if it is one (`canonicalize`, `is_valid_nodename`).
fn absolute(domid: u16, path: &str) -> Option<String> {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", home(domid)) };
    if path.starts_with('@') || whole.len() > limit(&whole) {
        return None;
    }
    whole.parse::<StorePath>().is_ok().then_some(whole)
}

/// How long a path may be: the limit counts from the home of a domain where there is one.
fn limit(path: &str) -> usize {
    let rest = path.strip_prefix("/local/domain/").and_then(|rest| rest.split_once('/'));
    match rest {
        Some((domid, rest)) if domid.len() <= 5 && domid.parse::<u32>().is_ok() => {
            path.len().saturating_sub(rest.len()).saturating_add(REL_PATH_MAX).min(ABS_PATH_MAX)
        }
        _ => REL_PATH_MAX,
    }
}

/// The path one up; the root's is the root.
fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

/// The last part of a path.
fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn join(path: &str, child: &str) -> String {
    if path == "/" { format!("/{child}") } else { format!("{path}/{child}") }
}

#[cfg(test)]
mod tests;
