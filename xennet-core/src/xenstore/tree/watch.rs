//! Watches and their events.

use crate::error::Errno;
use crate::snapshot::StorePermission;

use super::{Caller, Connection, Tree, absolute, home, parent};
use crate::xenstore::Event;
use crate::xenstore::wire::REL_PATH_MAX;

/// The most events that wait for one connection. Who does not fetch them is cut off ([`Tree::flooded`]).
pub(crate) const EVENTS_MAX: usize = 16_384;

#[derive(Clone, Debug)]
pub(super) struct Watch {
    /// Absolute, or a special name.
    path: String,
    token: String,
    /// How many bytes of a path are left out in its events, for a relative watch.
    cut: usize,
}

impl Watch {
    fn event(&self, path: &str) -> Event {
        let shown = path.get(self.cut..).unwrap_or(path);
        Event { path: shown.to_owned(), token: self.token.clone() }
    }
}

impl Tree {
    /// From now on the connection is told of changes of this node and all below it, or of a special name. One event
    /// comes at once, so that nothing is missed that happened before.
    ///
    /// # Errors
    /// `EINVAL`: neither a path nor a name with `@` in front; `EEXIST`: the same path and token already; `E2BIG`: against the
    /// quota.
    pub fn watch(&mut self, connection: u32, path: &str, token: &str) -> Result<(), Errno> {
        let domid = self.domid(Caller::of(connection));
        let name = self.watched(connection, path)?;
        let held =
            |t: &Tree| t.connections.values().filter(|c| c.domid == domid).map(|c| c.watches.len()).sum::<usize>();
        // xenstored allows one more than it says.
        let full = domid != 0 && self.quota.watches.is_some_and(|max| held(self) > max);
        let me = self.connections.get_mut(&connection).ok_or(Errno::EINVAL)?;
        if me.watches.iter().any(|w| w.path == name && w.token == token) {
            return Err(Errno::EEXIST);
        }
        if full {
            return Err(Errno::E2BIG);
        }
        let relative = !path.starts_with(['/', '@']);
        let cut = if relative { home(domid).len().saturating_add(1) } else { 0 };
        let watch = Watch { path: name, token: token.to_owned(), cut };
        me.tell(watch.event(&watch.path));
        me.watches.push(watch);
        Ok(())
    }

    /// Takes a watch back.
    ///
    /// # Errors
    /// `ENOENT`: there is no such watch.
    pub fn unwatch(&mut self, connection: u32, path: &str, token: &str) -> Result<(), Errno> {
        let name = self.watched(connection, path).map_err(|_| Errno::ENOENT)?;
        let me = self.connections.get_mut(&connection).ok_or(Errno::ENOENT)?;
        let at = me.watches.iter().position(|w| w.path == name && w.token == token).ok_or(Errno::ENOENT)?;
        me.watches.remove(at);
        Ok(())
    }

    /// Takes all watches and transactions of a connection back.
    pub(crate) fn reset(&mut self, connection: u32) {
        if let Some(me) = self.connections.get_mut(&connection) {
            me.watches.clear();
            me.transactions.clear();
        }
    }

    /// The events that wait for a connection, oldest first. They wait no longer.
    pub fn events(&mut self, connection: u32) -> Vec<Event> {
        let Some(connection) = self.connections.get_mut(&connection) else { return Vec::new() };
        connection.waiting.clear();
        connection.events.drain(..).collect()
    }

    /// Whether more than 16,384 events waited for a connection, so that some are lost.
    pub fn flooded(&self, connection: u32) -> bool {
        self.connections.get(&connection).is_some_and(|c| c.flooded)
    }

    fn watched(&self, connection: u32, path: &str) -> Result<String, Errno> {
        // xenstored takes any name with an @. Only two of them ever fire.
        if path.starts_with('@') && path.len() <= REL_PATH_MAX {
            return Ok(path.to_owned());
        }
        absolute(self.domid(Caller::of(connection)), path).ok_or(Errno::EINVAL)
    }

    /// A node changes. Called while it can still be looked at; `before` are the permissions that it had until now.
    pub(super) fn fire(&mut self, at: Caller, path: &str, exact: bool, before: Option<Vec<StorePermission>>) {
        // Nobody watches: nothing to find out. (In a transaction somebody may watch later.)
        if at.transaction == 0 && self.connections.values().all(|c| c.watches.is_empty()) {
            return;
        }
        let mut readers: Vec<Vec<StorePermission>> = before.into_iter().collect();
        readers.extend(self.look(at, path).map(|node| node.permissions.clone()));
        let transaction =
            self.connections.get_mut(&at.connection).and_then(|c| c.transactions.get_mut(&at.transaction));
        match transaction {
            Some(transaction) => transaction.fire(path, exact, readers),
            None => self.tell(path, exact, &readers),
        }
    }

    /// Tells all who watch this node (or, unless `exact`, one above it) and may read it or its parent.
    pub(super) fn tell(&mut self, path: &str, exact: bool, readers: &[Vec<StorePermission>]) {
        let above = self.nodes.get(parent(path)).map(|node| node.permissions.clone());
        let below = |watched: &str| {
            path == watched
                || !exact && (watched == "/" || path.strip_prefix(watched).is_some_and(|rest| rest.starts_with('/')))
        };
        let allowed: Vec<u32> = self
            .connections
            .iter()
            .filter(|(_, c)| readers.iter().chain(&above).any(|list| self.access(c.domid, list).read))
            .map(|(number, _)| *number)
            .collect();
        for number in allowed {
            self.queue(number, path, &below);
        }
    }

    /// Tells all who watch a special name. Only dom0 may.
    pub(super) fn fire_special(&mut self, name: &str) {
        let dom0: Vec<u32> = self.connections.iter().filter(|(_, c)| c.domid == 0).map(|(n, _)| *n).collect();
        for number in dom0 {
            self.queue(number, name, &|watched| watched == name);
        }
    }

    fn queue(&mut self, connection: u32, path: &str, matches: &dyn Fn(&str) -> bool) {
        let Some(connection) = self.connections.get_mut(&connection) else { return };
        let told: Vec<Event> =
            connection.watches.iter().filter(|w| matches(&w.path)).map(|watch| watch.event(path)).collect();
        for event in told {
            connection.tell(event);
        }
    }
}

impl Connection {
    /// Adds an event, unless the very same is waiting already: xenstored does not say a thing twice, either.
    fn tell(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.flooded = true;
        } else if !self.waiting.contains(&event) {
            self.waiting.insert(event.clone());
            self.events.push_back(event);
        }
    }
}
