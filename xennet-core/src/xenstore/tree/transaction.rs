//! Transactions: each node is copied when it is first looked at, and compared at the end.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::error::Errno;
use crate::snapshot::StorePermission;

use super::{Caller, Node, Tree};

/// What a transaction has done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Transaction {
    touched: BTreeMap<String, Touched>,
    /// The paths in the order of the first look; watches fire in this order, as xenstored fires them.
    order: Vec<String>,
}

#[derive(Clone, Debug)]
struct Touched {
    /// The generation at the first look; `None`: there was no such node.
    seen: Option<u64>,
    /// The node as the transaction sees it now.
    node: Option<Arc<Node>>,
    modified: bool,
    fire: Option<Fire>,
}

/// A watch to be fired when the transaction is put in force.
#[derive(Clone, Debug)]
struct Fire {
    /// Only for those who watch this very node.
    exact: bool,
    /// Who may read the node, now or before, decides who is told.
    readers: Vec<Vec<StorePermission>>,
}

type Nodes = BTreeMap<String, Arc<Node>>;

impl Transaction {
    fn touch(&mut self, path: &str, nodes: &Nodes) -> &mut Touched {
        if !self.touched.contains_key(path) {
            self.order.push(path.to_owned());
        }
        self.touched.entry(path.to_owned()).or_insert_with(|| {
            let node = nodes.get(path).cloned();
            Touched { seen: node.as_ref().map(|n| n.generation), node, modified: false, fire: None }
        })
    }

    pub(super) fn look(&mut self, path: &str, nodes: &Nodes) -> Option<Arc<Node>> {
        self.touch(path, nodes).node.clone()
    }

    pub(super) fn put(&mut self, path: &str, nodes: &Nodes, node: Option<Arc<Node>>) {
        let touched = self.touch(path, nodes);
        touched.node = node;
        touched.modified = true;
    }

    /// The node, to be changed in place.
    pub(super) fn change(&mut self, path: &str, nodes: &Nodes) -> Option<&mut Arc<Node>> {
        let touched = self.touch(path, nodes);
        touched.modified = true;
        touched.node.as_mut()
    }

    pub(super) fn fire(&mut self, path: &str, exact: bool, readers: Vec<Vec<StorePermission>>) {
        if let Some(touched) = self.touched.get_mut(path) {
            touched.fire = Some(Fire { exact, readers });
        }
    }

    /// How many nodes somebody owns, given how many it owns outside.
    pub(super) fn owned(&self, all: usize, nodes: &Nodes, mine: impl Fn(&Node) -> bool) -> usize {
        self.touched.iter().fold(all, |sum, (path, touched)| {
            let before = nodes.get(path).is_some_and(|n| mine(n));
            let now = touched.node.as_ref().is_some_and(|n| mine(n));
            sum.saturating_add(usize::from(now)).saturating_sub(usize::from(before))
        })
    }
}

impl Tree {
    /// Begins a transaction. The number is unique to the connection and never 0.
    ///
    /// # Errors
    /// `ENOSPC`: against the quota; `EINVAL`: no such connection.
    pub fn start(&mut self, connection: u32) -> Result<u32, Errno> {
        let max = self.quota.transactions;
        let connection = self.connections.get_mut(&connection).ok_or(Errno::EINVAL)?;
        // xenstored allows one more than it says.
        if connection.domid != 0 && max.is_some_and(|max| connection.transactions.len() > max) {
            return Err(Errno::ENOSPC);
        }
        loop {
            connection.last_transaction = connection.last_transaction.wrapping_add(1).max(1);
            let number = connection.last_transaction;
            if let Entry::Vacant(free) = connection.transactions.entry(number) {
                free.insert(Transaction::default());
                return Ok(number);
            }
        }
    }

    /// Ends a transaction: in force and told to who watches, or forgotten.
    ///
    /// # Errors
    /// `ENOENT`: no such transaction; `EAGAIN`: somebody else has changed a node that it looked at or changed. It is
    /// forgotten then, and has to be tried again from its start.
    pub fn end(&mut self, at: Caller, in_force: bool) -> Result<(), Errno> {
        let connection = self.connections.get_mut(&at.connection).ok_or(Errno::EINVAL)?;
        let mut transaction = connection.transactions.remove(&at.transaction).ok_or(Errno::ENOENT)?;
        if !in_force {
            return Ok(());
        }
        let unchanged = |path: &String, t: &Touched| self.nodes.get(path).map(|n| n.generation) == t.seen;
        if !transaction.touched.iter().all(|(path, touched)| unchanged(path, touched)) {
            return Err(Errno::EAGAIN);
        }
        let mut fires = Vec::new();
        for path in transaction.order {
            // Each path stands in the order once, when it was first touched.
            let Some(touched) = transaction.touched.remove(&path) else { continue };
            if touched.modified {
                match touched.node {
                    Some(node) => {
                        self.generation = self.generation.saturating_add(1);
                        let node = Node { generation: self.generation, ..Arc::unwrap_or_clone(node) };
                        self.nodes.insert(path.clone(), Arc::new(node));
                    }
                    None => {
                        self.nodes.remove(&path);
                    }
                }
            }
            fires.extend(touched.fire.map(|fire| (path, fire)));
        }
        for (path, fire) in fires {
            self.tell(&path, fire.exact, &fire.readers);
        }
        Ok(())
    }
}
